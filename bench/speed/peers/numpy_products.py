"""NumPy, written for speed: buffers made once, products by BLAS into them, nothing allocated.

The bias is one more weight behind an input of 1; inputs, that 1 and targets lie side by side, so
that one `take` gathers a batch; deltas carry -(learning rate / batch size) from the output on, so
that a product of them is added to the weights as it is.

Tried, on one run of 64-32-10 at batch size 1: `matmul` for `dot` (1.7 times as long: it is no BLAS
call for an outer product), a mask of `z > 0` for `sign` (3 times as long for the slope), indexing
for `take` into a buffer (twice as long for the batch), biases apart (4 more calls a layer).

Many runs at once are stacked in front, where `matmul` calls BLAS for each (one wide product of the
first layer for all runs, whose inputs are the same: no faster, and slower at 32 and 128). Where
layers are as small as XOR's a call costs more than its product: runs then lie side by side as the
last axis, the first layer is one product for all of them, and the others are sums over the few
units by `einsum`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.speed.peers import Params, Run, Work, flatten
from kernels.network import LEAKY_SLOPE, Network

Array = NDArray[np.float32]
SMALL = 8  # units of a layer up to which runs lie side by side


class RunsFirst:
    """One run, or runs stacked: weights (runs, n_in + 1, n_out), units (runs, batch, n_out)."""

    units = -1

    def __init__(self, work: Work) -> None:
        self.runs = work.params.shape[:-1]
        self.product: Any = np.matmul if work.many else np.ndarray.dot
        self.rate = work.rates(3)

    def weights(self, W: Array, b: Array) -> Array:
        """Lay out a layer's weights, the bias as the last row."""
        return np.concatenate([W.swapaxes(-1, -2), b[..., None, :]], axis=-2)

    def taken_apart(self, weights: Array) -> tuple[Array, Array]:
        """W (runs, n_out, n_in) and b (runs, n_out) again."""
        return weights[..., :-1, :].swapaxes(-1, -2), weights[..., -1, :]

    def empty(self, batch_size: int, n: int) -> Array:
        """Room for n units of a batch."""
        return np.ones((*self.runs, batch_size, n), np.float32)

    def of_data(self, rows: Array) -> Array:
        """Data of a batch, to be subtracted from units."""
        return rows

    def without_bias(self, units: Array) -> Array:
        """Units (or the rows of weights behind them) without the last one, which is 1."""
        return units[..., :-1]

    def forward(self, a: Array, W: Array, z: Array) -> Callable[[], object]:
        """Z = a W."""
        return partial(self.product, a, W, z)

    def backward(self, d: Array, W: Array, before: Array) -> Callable[[], object]:
        """Give the deltas before a layer: d W^T, without the bias."""
        transposed = W[..., :-1, :].swapaxes(-1, -2)
        return partial(self.product, d, transposed, before)

    def gradient(self, a: Array, d: Array, G: Array) -> Callable[[], object]:
        """G = a^T d; of stacked runs at batch size 1, an outer product that `matmul` is slow at."""
        transposed = a.swapaxes(-1, -2)
        outer = d.ndim == 3 and d.shape[1] == 1
        return partial(np.multiply if outer else self.product, transposed, d, G)


class RunsLast(RunsFirst):
    """Many runs side by side: weights (n_in + 1, n_out, runs), units (batch, n_out, runs)."""

    units = -2

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.rate = np.reshape(work.learning_rate, (1, 1, -1))

    def weights(self, W: Array, b: Array) -> Array:
        """Lay out a layer's weights, the bias as the last row."""
        return np.ascontiguousarray(super().weights(W, b).transpose(1, 2, 0))

    def taken_apart(self, weights: Array) -> tuple[Array, Array]:
        """W (runs, n_out, n_in) and b (runs, n_out) again."""
        return super().taken_apart(weights.transpose(2, 0, 1))

    def empty(self, batch_size: int, n: int) -> Array:
        """Room for n units of a batch."""
        return np.ones((batch_size, n, *self.runs), np.float32)

    def of_data(self, rows: Array) -> Array:
        """Data of a batch, to be subtracted from units."""
        return rows[:, :, None]

    def without_bias(self, units: Array) -> Array:
        """Units without the last one, which is 1."""
        return units[..., :-1, :]

    def forward(self, a: Array, W: Array, z: Array) -> Callable[[], object]:
        """Z = a W; inputs are the same for all runs."""
        if a.ndim == 2:
            return partial(np.dot, a, W.reshape(len(W), -1), out=z.reshape(len(z), -1))
        return partial(np.einsum, "bir,ior->bor", a, W, out=z)

    def backward(self, d: Array, W: Array, before: Array) -> Callable[[], object]:
        """Give the deltas before a layer: d W^T, without the bias."""
        return partial(np.einsum, "bor,ior->bir", d, W[:-1], out=before)

    def gradient(self, a: Array, d: Array, G: Array) -> Callable[[], object]:
        """G = a^T d."""
        if a.ndim == 2:
            return partial(np.dot, a.T, d.reshape(len(d), -1), out=G.reshape(len(G), -1))
        return partial(np.einsum, "bir,bor->ior", a, d, out=G)


def activation(network: Network, z: Array, a: Array, slope: Array) -> Callable[[], None]:
    """Return what puts the hidden activation of z into a, and its derivative into slope."""

    def relu() -> None:
        np.maximum(z, 0, out=a)
        np.sign(a, out=slope)

    def tanh() -> None:
        np.tanh(z, out=a)
        np.multiply(a, a, out=slope)
        np.subtract(1, slope, out=slope)

    def leaky_relu() -> None:
        np.multiply(z, LEAKY_SLOPE, out=slope)
        np.maximum(z, slope, out=a)
        slope.fill(LEAKY_SLOPE)
        np.putmask(slope, z > 0, 1)

    return {"relu": relu, "tanh": tanh, "leaky_relu": leaky_relu}[network.activation]


def output_delta(network: Network, z: Array, targets: Array, axis: int) -> Callable[[], None]:
    """Return what turns the logits z, in place, into the derivative of the loss by them."""
    total = np.empty_like(z.take([0], axis))
    y_hat = np.empty_like(z)

    def softmax() -> None:
        np.maximum.reduce(z, axis=axis, out=total, keepdims=True)
        np.subtract(z, total, out=z)
        np.exp(z, out=z)
        np.add.reduce(z, axis=axis, out=total, keepdims=True)
        np.divide(z, total, out=z)
        np.subtract(z, targets, out=z)

    def linear() -> None:
        np.subtract(z, targets, out=z)

    def sigmoid() -> None:
        np.negative(z, out=z)
        np.exp(z, out=z)
        np.add(z, 1, out=z)
        np.reciprocal(z, out=z)
        np.subtract(z, targets, out=z)

    def sigmoid_of_squares() -> None:
        sigmoid()
        np.add(z, targets, out=y_hat)
        np.multiply(z, y_hat, out=z)
        np.subtract(1, y_hat, out=y_hat)
        np.multiply(z, y_hat, out=z)

    return {
        ("softmax", "ce"): softmax,
        ("linear", "half_mse"): linear,
        ("sigmoid", "bce"): sigmoid,
        ("sigmoid", "half_mse"): sigmoid_of_squares,
    }[network.output, network.loss]


def update_of(
    work: Work, layout: RunsFirst, weights: Sequence[Array], x: Array, targets: Array
) -> Callable[[], None]:
    """Return one update of the weights in place, from the batch in x and targets."""
    n_layers, batch_size = len(weights), len(x)
    widths = work.network.widths[1:]
    z = [layout.empty(batch_size, width) for width in widths]  # then deltas
    a = [x, *(layout.empty(batch_size, width + 1) for width in widths[:-1])]
    slopes = [np.empty_like(one) for one in z[:-1]]
    gradients = [np.empty_like(one) for one in weights]
    steps: list[Callable[[], object]] = []
    for k in range(n_layers):
        steps.append(layout.forward(a[k], weights[k], z[k]))
        if k < n_layers - 1:
            shown = layout.without_bias(a[k + 1])
            steps.append(activation(work.network, z[k], shown, slopes[k]))
    steps.append(output_delta(work.network, z[-1], targets, layout.units))
    scale = np.asarray(layout.rate, np.float32) / -np.float32(batch_size)
    steps.append(partial(np.multiply, z[-1], scale, out=z[-1]))
    for k in range(n_layers - 1, 0, -1):
        steps.append(layout.backward(z[k], weights[k], z[k - 1]))
        steps.append(partial(np.multiply, z[k - 1], slopes[k - 1], out=z[k - 1]))
    for k in range(n_layers):
        steps.append(layout.gradient(a[k], z[k], gradients[k]))
        steps.append(partial(np.add, weights[k], gradients[k], out=weights[k]))

    def update() -> None:
        for step in steps:
            step()

    return update


def prepare(work: Work) -> Run:
    """Make buffers for a batch and all that is computed of it, and views of them, once."""
    network = work.network
    small = work.many and max(network.widths[1:]) <= SMALL
    layout = RunsLast(work) if small else RunsFirst(work)
    targets = work.targets
    if network.output == "softmax":
        targets = np.eye(network.n_outputs, dtype=np.float32)[np.asarray(work.y, np.int64)]
    data = np.hstack([work.X, np.ones((len(work.X), 1), np.float32), targets])
    batch = np.empty((work.batch_size, data.shape[1]), np.float32)
    x, y = np.split(batch, [network.n_inputs + 1], axis=1)
    first = [layout.weights(W, b) for W, b in network.unpack(work.params)]
    weights = [one.copy() for one in first]
    update = update_of(work, layout, weights, x, layout.of_data(y))

    def run(passes: int, _: bool) -> Params:
        for one, start in zip(weights, first, strict=True):
            np.copyto(one, start)
        with np.errstate(over="ignore"):  # exp(-z) of a sigmoid may: its reciprocal is then 0
            for _number in range(passes):
                for rows in work.order:
                    data.take(rows, 0, batch, "clip")
                    update()
        return flatten([layout.taken_apart(one) for one in weights])

    return run
