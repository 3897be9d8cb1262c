"""The notes' equations in plain NumPy: one sample at a time, in float64, to be read and trusted.

Everything faster in this package is tested against this file. It is slow on purpose: each line is
one equation, and an average over a batch is the mean of what its samples give one by one.

Layers are counted l = 1 .. L; a(0) = x is the input, a(L) = y_hat the output, z(L) the logits.

Forward
    F1   z(l) = W(l) a(l-1) + b(l)                       pre-activations
    F2   a(l) = f(z(l)),  l < L                          f: ReLU, tanh or leaky ReLU
    F3   y_hat = g(z(L))                                 g: sigmoid, softmax or the identity
Loss of one sample, summed over the outputs k
    L1   -sum_k [y_k log y_hat_k + (1 - y_k) log(1 - y_hat_k)]     (sigmoid, bce)
    L2   -sum_k y_k log y_hat_k                                    (softmax, ce)
    L3   1/2 sum_k (y_k - y_hat_k)^2                               (sigmoid or linear, half_mse)
    L4   the loss of a batch is the mean of its samples' losses
Backward, delta(l) = dL/dz(l)
    B1a  delta(L) = y_hat - y                            (sigmoid, bce), (softmax, ce)
    B1b  delta(L) = (y_hat - y) y_hat (1 - y_hat)        (sigmoid, half_mse)
    B1c  delta(L) = y_hat - y                            (linear, half_mse)
    B2   delta(l-1) = (W(l)^T delta(l)) * f'(z(l-1))     elementwise product *
    B3   dL/dW(l)_ij = delta(l)_i a(l-1)_j
    B4   dL/db(l)_i = delta(l)_i
    B5   the gradient of a batch is the mean of its samples' gradients
Update of all parameters w by the averaged gradient g, learning rate eta, update t = 1, 2, ...
    U1   w <- w - eta g                                              sgd
    U2   v <- beta v + g                                             momentum, nesterov; first v = 0
    U3   w <- w - eta v                                              momentum
    U4   w <- w - eta (g + beta v)                                   nesterov
    U5   m <- beta1 m + (1 - beta1) g                                adam; first m = v = 0
    U6   v <- beta2 v + (1 - beta2) g^2                              adam
    U7   w <- w - eta (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)

Sources: F1 to B5 and U1 are the lecture notes', for any depth. U2 and U3 are Polyak's heavy ball
without dampening. U4 is Nesterov's step in the form of Sutskever et al. (2013), with w taken at the
look-ahead point. U5 to U7 are Adam (Kingma & Ba 2015, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.network import LEAKY_SLOPE, Network

Vector = NDArray[np.float64]
# Training may overflow: infinity and NaN are then the right answer, and no warning is due.
_overflow_is_an_answer = np.errstate(over="ignore", invalid="ignore")


# F2: hidden activations f, each beside its derivative f'. A NaN stays a NaN in all of them.


def relu(z: Vector) -> Vector:
    """max(z, 0)."""
    return np.maximum(z, 0.0)


def relu_slope(z: Vector) -> Vector:
    """1 where z > 0, else 0: at exactly 0 the slope is 0, as in the notes."""
    return np.where(z > 0.0, 1.0, 0.0)


def tanh_slope(z: Vector) -> Vector:
    """1 - tanh(z)^2."""
    return 1.0 - np.tanh(z) ** 2


def leaky_relu(z: Vector) -> Vector:
    """Z where it is above 0, else 0.01 z."""
    return np.where(z > 0.0, z, LEAKY_SLOPE * z)


def leaky_relu_slope(z: Vector) -> Vector:
    """1 where z > 0, else 0.01."""
    return np.where(z > 0.0, 1.0, LEAKY_SLOPE)


def _tanh(z: Vector) -> Vector:
    return np.tanh(z)


HIDDEN: dict[str, tuple[Callable[[Vector], Vector], Callable[[Vector], Vector]]] = {
    "relu": (relu, relu_slope),
    "tanh": (_tanh, tanh_slope),
    "leaky_relu": (leaky_relu, leaky_relu_slope),
}


# F3: outputs g. No exponential of a positive number is taken, so none overflows.


def sigmoid(z: Vector) -> Vector:
    """1 / (1 + exp(-z)), written for z < 0 as exp(z) / (1 + exp(z))."""
    e: Vector = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0.0, 1.0, e) / (1.0 + e))


def log_softmax(z: Vector) -> Vector:
    """log(exp(z_k) / sum_j exp(z_j)): the largest logit is subtracted first, which cancels."""
    shifted: Vector = z - z.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def softmax(z: Vector) -> Vector:
    """exp(z_k) / sum_j exp(z_j)."""
    e: Vector = np.exp(z - z.max())
    return np.asarray(e / e.sum())


OUTPUT: dict[str, Callable[[Vector], Vector]] = {
    "sigmoid": sigmoid,
    "softmax": softmax,
    "linear": lambda z: z,
}


# L1 to L3 and B1: the loss of one sample and its derivative by the logits, from the logits z.


def bce(z: Vector, y: Vector) -> float:
    """L1, with log y_hat = -log(1 + exp(-z)) put in: no logarithm of a rounded probability."""
    return float(np.sum(np.maximum(z, 0.0) - y * z + np.log1p(np.exp(-np.abs(z)))))


def bce_delta(z: Vector, y: Vector) -> Vector:
    """B1a: y_hat - y."""
    return sigmoid(z) - y


def ce(z: Vector, y: Vector) -> float:
    """L2: -sum_k y_k log y_hat_k."""
    return float(-np.sum(y * log_softmax(z)))


def ce_delta(z: Vector, y: Vector) -> Vector:
    """B1a: y_hat - y (the y_k of a sample add up to 1)."""
    return softmax(z) - y


def sigmoid_half_mse(z: Vector, y: Vector) -> float:
    """L3: 1/2 sum_k (y_k - y_hat_k)^2, y_hat = sigmoid(z)."""
    return float(0.5 * np.sum((y - sigmoid(z)) ** 2))


def sigmoid_half_mse_delta(z: Vector, y: Vector) -> Vector:
    """B1b: (y_hat - y) y_hat (1 - y_hat); the last factor is the slope of the sigmoid."""
    y_hat = sigmoid(z)
    return np.asarray((y_hat - y) * y_hat * (1.0 - y_hat))


def linear_half_mse(z: Vector, y: Vector) -> float:
    """L3: 1/2 sum_k (y_k - y_hat_k)^2, y_hat = z."""
    return float(0.5 * np.sum((y - z) ** 2))


def linear_half_mse_delta(z: Vector, y: Vector) -> Vector:
    """B1c: y_hat - y, y_hat = z."""
    return z - y


LOSS: dict[
    tuple[str, str], tuple[Callable[[Vector, Vector], float], Callable[[Vector, Vector], Vector]]
] = {
    ("sigmoid", "bce"): (bce, bce_delta),
    ("softmax", "ce"): (ce, ce_delta),
    ("sigmoid", "half_mse"): (sigmoid_half_mse, sigmoid_half_mse_delta),
    ("linear", "half_mse"): (linear_half_mse, linear_half_mse_delta),
}


# One sample


def target_vector(network: Network, y: ArrayLike) -> Vector:
    """Target of one sample, (n_outputs,), from a class, a number, or the target itself.

    A class of a network with several outputs becomes 1 at its place and 0 elsewhere.

    Raises
    ------
    ValueError
        For a class that is not one of 0 .. n_outputs - 1, or a target of another length.
    """
    target, k = np.asarray(y, dtype=np.float64), network.n_outputs
    if target.shape == (k,):
        return target
    if target.shape != () or (k > 1 and not network.is_classifier):
        raise ValueError(f"y must hold {k} target(s) a sample, got shape {target.shape}")
    if k == 1:
        return target.reshape(1)
    if target not in range(k):
        raise ValueError(f"y must be a class of 0 to {k - 1}, got {target}")
    one_hot = np.zeros(k)
    one_hot[int(target)] = 1.0
    return one_hot


@_overflow_is_an_answer
def forward_reference(
    network: Network, params: ArrayLike, x: ArrayLike
) -> tuple[list[Vector], list[Vector]]:
    """Pre-activations z and activations a of each layer for one sample x (n_inputs,).

    Returns
    -------
    z, a : list of ndarray
        A layer an entry, (width,) each, without the input; a[-1] is the output y_hat.

    Raises
    ------
    ValueError
        For x or params of another length than the network's.
    """
    a = np.asarray(x, dtype=np.float64)
    if a.shape != (network.n_inputs,):
        raise ValueError(f"x must have shape ({network.n_inputs},), got {a.shape}")
    zs, activations = [], []
    f, _ = HIDDEN[network.activation]
    g = OUTPUT[network.output]
    for layer, (W, b) in enumerate(_layers(network, params), start=1):
        z = W @ a + b  # F1: z = W a + b
        a = g(z) if layer == network.n_layers else f(z)  # F3, F2: a = f(z)
        zs.append(z)
        activations.append(a)
    return zs, activations


@_overflow_is_an_answer
def gradient_reference(network: Network, params: ArrayLike, x: ArrayLike, y: ArrayLike) -> Vector:
    """Gradient of the loss of one sample by back-propagation, (n_params,), laid out as params.

    Parameters
    ----------
    network, params
        The network and its parameters (n_params,).
    x, y
        One sample (n_inputs,) and its class, or its target(s).
    """
    deltas = deltas_reference(network, params, x, y)
    _, activations = forward_reference(network, params, x)
    inputs = [np.asarray(x, dtype=np.float64), *activations[:-1]]
    pieces = []
    for delta, a in zip(deltas, inputs, strict=True):
        dW = np.outer(delta, a)  # B3: dL/dW_ij = delta_i a_j
        db = delta  # B4: dL/db_i = delta_i
        pieces += [dW.ravel(), db]
    return np.concatenate(pieces)


@_overflow_is_an_answer
def deltas_reference(
    network: Network, params: ArrayLike, x: ArrayLike, y: ArrayLike
) -> list[Vector]:
    """Derivative of the loss of one sample by each layer's z: a layer an entry, (width,) each."""
    zs, _ = forward_reference(network, params, x)
    _, slope = HIDDEN[network.activation]
    _, output_delta = LOSS[network.output, network.loss]
    delta = output_delta(zs[-1], target_vector(network, y))  # B1: delta(L) = dL/dz(L)
    deltas = [delta]
    layers = _layers(network, params)
    for i in range(network.n_layers - 1, 0, -1):  # from the last layer back to the first
        W, _ = layers[i]
        delta = (W.T @ delta) * slope(zs[i - 1])  # B2: delta(l-1) = (W^T delta) * f'(z(l-1))
        deltas.insert(0, delta)
    return deltas


def _layers(network: Network, params: ArrayLike) -> list[tuple[Vector, Vector]]:
    """W and b of each layer in float64."""
    w = np.asarray(params, dtype=np.float64)
    if w.shape != (network.n_params,):
        raise ValueError(f"params must have shape ({network.n_params},), got {w.shape}")
    return [(np.asarray(W, w.dtype), np.asarray(b, w.dtype)) for W, b in network.unpack(w)]


# A batch: the mean over its samples


def _samples(X: ArrayLike, y: ArrayLike) -> list[tuple[Vector, Vector]]:
    """Pairs of a sample and its label."""
    rows, labels = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if rows.ndim != 2 or labels.ndim == 0 or len(rows) != len(labels) or len(rows) == 0:
        raise ValueError(
            f"X must be (n, n_inputs) and y have one entry for each of 1 or more rows, "
            f"got shapes {rows.shape} and {labels.shape}"
        )
    return list(zip(rows, labels, strict=True))


@_overflow_is_an_answer
def loss_reference(network: Network, params: ArrayLike, X: ArrayLike, y: ArrayLike) -> float:
    """L4: mean over samples of the loss; X (n, n_inputs), y (n,) or (n, n_outputs)."""
    sample_loss, _ = LOSS[network.output, network.loss]
    losses = []
    for x_i, y_i in _samples(X, y):
        zs, _ = forward_reference(network, params, x_i)
        losses.append(sample_loss(zs[-1], target_vector(network, y_i)))
    return float(np.mean(losses))


@_overflow_is_an_answer
def averaged_gradient_reference(
    network: Network, params: ArrayLike, X: ArrayLike, y: ArrayLike
) -> Vector:
    """B5: mean over samples of the gradients, (n_params,); X (n, n_inputs), y (n,) or (n, k)."""
    gradients = [gradient_reference(network, params, x_i, y_i) for x_i, y_i in _samples(X, y)]
    return np.asarray(np.mean(gradients, axis=0))


# Updates


class Memory(NamedTuple):
    """What a rule remembers: t updates done, m and v (n_params,), 0 at the start."""

    t: int
    m: Vector
    v: Vector


def _sgd(w: Vector, g: Vector, eta: float, memory: Memory) -> tuple[Vector, Memory]:
    return w - eta * g, memory  # U1: w <- w - eta g


def _momentum(
    w: Vector, g: Vector, eta: float, memory: Memory, *, beta: float
) -> tuple[Vector, Memory]:
    v = beta * memory.v + g  # U2: v <- beta v + g
    return w - eta * v, memory._replace(v=v)  # U3: w <- w - eta v


def _nesterov(
    w: Vector, g: Vector, eta: float, memory: Memory, *, beta: float
) -> tuple[Vector, Memory]:
    v = beta * memory.v + g  # U2: v <- beta v + g
    return w - eta * (g + beta * v), memory._replace(v=v)  # U4: w <- w - eta (g + beta v)


def _adam(
    w: Vector,
    g: Vector,
    eta: float,
    memory: Memory,
    *,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> tuple[Vector, Memory]:
    t = memory.t + 1
    m = beta1 * memory.m + (1.0 - beta1) * g  # U5: m <- beta1 m + (1 - beta1) g
    v = beta2 * memory.v + (1.0 - beta2) * g**2  # U6: v <- beta2 v + (1 - beta2) g^2
    m_hat = m / (1.0 - beta1**t)
    v_hat = v / (1.0 - beta2**t)
    step = m_hat / (np.sqrt(v_hat) + epsilon)
    return w - eta * step, Memory(t, m, v)  # U7: w <- w - eta m_hat / (sqrt(v_hat) + epsilon)


# Name of each rule -> its step, and its parameters where it is given by name only
RULES: dict[str, tuple[Callable[..., tuple[Vector, Memory]], dict[str, float]]] = {
    "sgd": (_sgd, {}),
    "momentum": (_momentum, {"beta": 0.9}),
    "nesterov": (_nesterov, {"beta": 0.9}),
    "adam": (_adam, {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}),
}


def _step_of(rule: object) -> Callable[[Vector, Vector, float, Memory], tuple[Vector, Memory]]:
    """Return the step (w, g, eta, memory) -> (w, memory) of a rule's name or of its object."""
    name = rule if isinstance(rule, str) else type(rule).__name__.lower()
    if name not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    step, defaults = RULES[name]
    given = (
        defaults if isinstance(rule, str) else {key: float(getattr(rule, key)) for key in defaults}
    )
    return lambda w, g, eta, memory: step(w, g, eta, memory, **given)


class TrainedReference(NamedTuple):
    """What `train_reference` gives."""

    params: Vector
    """Parameters after the last update, (n_params,)."""
    trajectory: Vector
    """Row u: the parameters after u updates, (n_updates + 1, n_params)."""
    examples: NDArray[np.int64]
    """Entry u: samples seen after u updates, (n_updates + 1,)."""


@_overflow_is_an_answer
def train_reference(
    network: Network,
    params: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    *,
    batch_size: int | Literal["full"],
    learning_rate: float,
    order: ArrayLike,
    rule: object = "sgd",
) -> TrainedReference:
    """Train: one update for each batch, batches being consecutive cuts of each epoch's order.

    Parameters
    ----------
    network, params
        The network and its initial parameters (n_params,), which are left as they are.
    X, y
        Samples (n, n_inputs) and labels (n,) or (n, n_outputs).
    batch_size
        1 or more, or "full" for a whole row of `order`; more than n is n. The last batch of an
        epoch may be shorter and is averaged over its own size.
    learning_rate
        Eta.
    order
        (epochs, m) indices into X, a row an epoch.
    rule
        "sgd", "momentum", "nesterov", "adam" (beta 0.9; 0.9, 0.999, 1e-8), or an object of such a
        class name with the attributes beta, or beta1, beta2 and epsilon.

    Raises
    ------
    ValueError
        For shapes that do not match, a batch size below 1, an index out of range or another rule.
    """
    samples = _samples(X, y)
    epochs = np.asarray(order)
    if epochs.ndim != 2 or epochs.size == 0 or epochs.min() < 0 or epochs.max() >= len(samples):
        raise ValueError(f"order must be (epochs, m) indices of 0 to {len(samples) - 1}")
    size = epochs.shape[1] if batch_size == "full" else min(batch_size, len(samples))
    if size < 1:
        raise ValueError(f"batch_size must be 1 or more, or 'full', got {batch_size}")
    step = _step_of(rule)
    w = np.array(params, dtype=np.float64)
    memory = Memory(0, np.zeros_like(w), np.zeros_like(w))
    trajectory, batch_sizes = [w], [0]
    for epoch in epochs:
        for start in range(0, len(epoch), size):
            batch = epoch[start : start + size]
            # B5: each batch is averaged over its own size, the ragged last one too
            g = np.mean([gradient_reference(network, w, *samples[i]) for i in batch], axis=0)
            w, memory = step(w, g, learning_rate, memory)
            trajectory.append(w)
            batch_sizes.append(len(batch))
    return TrainedReference(w, np.array(trajectory), np.cumsum(batch_sizes, dtype=np.int64))
