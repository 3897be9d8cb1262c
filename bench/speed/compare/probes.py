"""What the quality gate asks of both sides: a battery of small computations, and a small study.

`kernels` is the side's own: `child.py` has chosen it. Only its public functions are
called, with arguments that they have always had; data and parameters are made here. A probe is as
short as shows what it is for, so that what two sides round otherwise stays a matter of roundings,
and few kernels are compiled: each way of training once or twice, not rules x dtypes x engines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernels

Array = NDArray[Any]
Arrays = dict[str, Array]

PAIRS = (("sigmoid", "bce"), ("sigmoid", "half_mse"), ("softmax", "ce"), ("linear", "half_mse"))
ACTIVATIONS = ("relu", "tanh", "leaky_relu")


@dataclass(frozen=True)
class Probe:
    """A small computation.

    Parameters
    ----------
    call
        Gives its results by name. Whole numbers, flags and hashes are held against each other to
        the bit.
    dtype
        What is computed in.
    terms
        How many roundings enter a result.
    own
        Whether they are relative to each number itself, where no sum cancels; else to the largest
        number of its array.
    """

    call: Callable[[], Arrays]
    dtype: type = np.float64
    terms: float = 1.0
    own: bool = False


def run(name: str) -> dict[str, Any]:
    """What a probe or a study finds: a dict that can be pickled, of plain values and arrays."""
    probe = PROBES.get(name)
    if probe is None:
        return {"kind": "study", "arrays": STUDIES[name]()}
    return {
        "kind": "probe",
        "arrays": probe.call(),
        "dtype": np.dtype(probe.dtype).name,
        "terms": probe.terms,
        "own": probe.own,
    }


# Data


def start(network: kernels.Network, dtype: type, runs: int | None = None) -> Array:
    """Parameters uniform within 1 / sqrt(fan-in), biases too: (n_params,) or (runs, n_params)."""
    rng = np.random.default_rng(1)
    layers = []
    for n_in, n_out in zip(network.widths[:-1], network.widths[1:], strict=True):
        drawn = rng.uniform(-1, 1, ((runs or 1), (n_in + 1) * n_out))
        layers.append(drawn / np.sqrt(n_in))
    params: Array = np.concatenate(layers, axis=1).astype(dtype)
    return params if runs else np.asarray(params[0])


def samples(network: kernels.Network, n: int) -> tuple[Array, Array]:
    """Inputs (n, n_inputs), and what a linear teacher says of them: classes or targets."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((n, network.widths[0]))
    logits = X @ rng.standard_normal((network.widths[0], network.widths[-1]))
    logits += rng.standard_normal(logits.shape)
    if network.output == "softmax":
        return X, logits.argmax(axis=1)
    return X, (logits > 0).astype(float) if network.output == "sigmoid" else logits


def permutations(n: int, epochs: int) -> Array:
    """An order of n samples for each epoch: (epochs, n)."""
    return np.random.default_rng(3).random((epochs, n)).argsort(axis=1)


def hash_of(values: Array) -> Array:
    """The bits of an array, shortened: (8,) uint8."""
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
    return np.frombuffer(digest[:8], np.uint8)


# Without kernels


def initial_parameters(dtype: type) -> Arrays:
    """All schemes, one network and several."""
    network = kernels.Network((5, 4, 2))
    return {
        f"{scheme} {size}": kernels.init_params(
            network, seed=3, scheme=scheme, dtype=dtype, size=size
        )
        for scheme in ("he", "uniform_fan_in", "truncated_normal")
        for size in (None, 3)
    }


def orders() -> Arrays:
    """Permutations of several seeds, and the standard grid of evaluations."""
    found = {f"order of seed {seed}": kernels.sample_order(seed, 13, 3) for seed in range(3)}
    for n, total in ((4, 1000), (100, 100), (1437, 28_740), (10, 0)):
        found[f"grid of {n}, {total}"] = kernels.checkpoint_grid(n, total)
    return found


def shapes() -> Arrays:
    """How many parameters a network has, and which of its units are ever active."""
    found = {}
    for activation in ACTIVATIONS:
        network = kernels.Network((4, 6, 5, 2), activation, "linear", "half_mse")
        params = start(network, np.float64, 3)
        params[1, :30] = -np.abs(params[1, :30])  # some units never are, where inputs are positive
        X = np.abs(samples(network, 9)[0])
        found[f"active {activation}"] = kernels.active_units(network, params, X)
        found[f"parameters {activation}"] = np.array(network.n_params)
    return found


def refusals() -> Arrays:
    """Labels, indices and inputs that no kernel may meet: whether each is refused."""
    network = kernels.Network((2, 3), output="softmax", loss="ce")
    params, X, y = start(network, np.float64), np.zeros((3, 2)), np.zeros(3, np.int64)
    given: dict[str, Any] = {"batch_size": 1, "learning_rate": 0.0, "epochs": 1}
    broken: dict[str, Callable[[], object]] = {
        "label below 0": lambda: kernels.loss(network, params, X, y - 1),
        "label beyond the last": lambda: kernels.loss(network, params, X, y + 3),
        "input not finite": lambda: kernels.loss(network, params, X + np.nan, y),
        "index below 0": lambda: kernels.train(network, params, X, y, order=[[0, -1]], **given),
        "index beyond the last": lambda: kernels.train(network, params, X, y, order=[[3]], **given),
    }
    return {name: np.array(_refused(call)) for name, call in broken.items()}


def _refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except ValueError:
        return True
    return False


# At given parameters


def each_network(widths: tuple[int, ...]) -> dict[str, kernels.Network]:
    """Networks of all outputs, losses and activations that are legal."""
    return {
        f"{activation} {output} {loss}": kernels.Network(widths, activation, output, loss)
        for output, loss in PAIRS
        for activation in ACTIVATIONS
    }


def activations_of_layers() -> Arrays:
    """Pre-activations and activations, and what is predicted from them, on more than a chunk."""
    found: Arrays = {}
    for name, network in each_network((5, 9, 4, 3)).items():
        params, (X, _) = start(network, np.float64), samples(network, 19)
        z, a = kernels.forward(network, params, X)
        for layer, (before, after) in enumerate(zip(z, a, strict=True)):
            found[f"{name} z{layer}"], found[f"{name} a{layer}"] = before, after
        found[f"{name} prediction"] = np.asarray(kernels.predict(network, params, X))
    return found


def wild_activations() -> Arrays:
    """A parameter that is NaN or infinite, and tanh far out: what is not finite stays so."""
    found: Arrays = {}
    for activation in ACTIVATIONS:
        network = kernels.Network((3, 4, 2), activation, "linear", "half_mse")
        for wild in (np.nan, np.inf, 40.0):
            params, (X, _) = start(network, np.float64), samples(network, 5)
            params[1] = wild
            _, a = kernels.forward(network, params, X)
            found |= {f"{activation} {wild} {k}": values for k, values in enumerate(a)}
    return found


def gradients_of_samples() -> Arrays:
    """Each sample's own gradient."""
    found = {}
    for name, network in each_network((5, 9, 4, 3)).items():
        params, (X, y) = start(network, np.float64), samples(network, 19)
        found[name] = kernels.per_sample_gradients(network, params, X, y)
    return found


def slopes_at_zero() -> Arrays:
    """Units whose pre-activation is exactly 0: ReLU's slope there is 0, those of others are not."""
    found = {}
    for activation in ACTIVATIONS:
        network = kernels.Network((3, 4, 2), activation)
        params = start(network, np.float64)
        params[:16] = 0.0  # the first layer's
        X, y = samples(network, 5)
        found[activation] = kernels.per_sample_gradients(network, params, X, y)
    return found


FAR = (0.0, -2.0, -30.0, -87.5, -104.0, -200.0, -709.5, -720.0, -740.0)


def far_tails() -> Arrays:
    """Gradients where outputs are all but certain; those of what is right would cancel."""
    wide = kernels.Network((1, len(FAR)), output="softmax", loss="ce")
    params: Array = np.concatenate([FAR, np.zeros(len(FAR))])
    G = kernels.per_sample_gradients(wide, params, [[1.0]], [0])
    found = {"softmax": G[:, 1 : len(FAR)]}
    single = kernels.Network((1, 1))
    for sign, y in ((1.0, 0), (-1.0, 1)):
        X = sign * np.array(FAR)[:, None]
        found[f"sigmoid {y}"] = kernels.per_sample_gradients(
            single, [1.0, 0.0], X, np.full(len(X), y)
        )
    return found


def far_losses(dtype: type, runs: int | None) -> Arrays:
    """Losses of answers that are surely right or surely wrong, sample by sample."""
    single, found = kernels.Network((1, 1)), {}
    wide = kernels.Network((2, 3), output="softmax", loss="ce")
    for size in (0.5, 15.0, 80.0, 1e4):
        for sign in (1.0, -1.0):
            X, name = [[sign * size]], f"{sign * size}"
            params: Array = np.array([1.0, 0.0], dtype)
            found[f"sigmoid {name}"] = loss_of(single, params, runs, X, [1])
            params = np.array([1, 0, 0, 1, 0, 0, 0, 0, 0], dtype)
            found[f"softmax {name}"] = loss_of(wide, params, runs, [[sign * size, 3.0]], [1])
    return found


def loss_of(network: kernels.Network, params: Array, runs: int | None, X: Any, y: Any) -> Array:
    """Loss as `evaluate` gives it for one network, or for several alike."""
    many = params if runs is None else np.repeat(params[None], runs, axis=0)
    return np.asarray(kernels.evaluate(network, many, X, y)["loss"])


def scores(dtype: type, runs: int | None) -> Arrays:
    """Loss and accuracy or rmse of all pairs and activations; one of several runs is lost."""
    found: Arrays = {}
    for name, network in each_network((5, 9, 4, 3)).items():
        params, (X, y) = start(network, dtype, runs), samples(network, 19)
        if runs is not None:
            params[1, 0] = np.nan
        for kind, value in kernels.evaluate(network, params, X, y).items():
            found[f"{name} {kind}"] = np.asarray(value)
    return found


def loss_of_many_samples() -> Arrays:
    """A mean over very many samples, which are summed in float64 whatever the dtype."""
    network = kernels.Network((3, 4, 2), "relu", "softmax", "ce")
    X, y = samples(network, 5)
    X, y = np.tile(X, (8000, 1)), np.tile(y, 8000)
    params = start(network, np.float32, 2)
    return {"loss": np.asarray(kernels.evaluate(network, params, X, y)["loss"])}


def averaged_gradients(dtype: type) -> Arrays:
    """Loss and averaged gradient over more than a chunk."""
    found: Arrays = {}
    for name, network in each_network((5, 18, 4, 3)).items():
        params, (X, y) = start(network, dtype), samples(network, 35)
        value, found[name] = kernels.loss_and_gradient(network, params, X, y)
        found[f"{name} loss"] = np.array([value, kernels.loss(network, params, X, y)])
    return found


# Training


def result_of(result: kernels.Result) -> Arrays:
    """What a result says."""
    found = {
        name: np.asarray(getattr(result, name))
        for name in ("params", "loss", "accuracy", "rmse", "examples", "updates", "diverged")
        if getattr(result, name) is not None
    }
    for name, of_set in result.eval.items():
        found[f"{name} loss"] = np.asarray(of_set.loss)
    return found


def train(
    network: kernels.Network, dtype: type, n: int, runs: int | None, **options: Any
) -> kernels.Result:
    """Train on samples of the teacher: one network, or runs with a start and a rate each.

    The order of samples and the checkpoints are made here, too: what a side does with a seed, and
    its grid of checkpoints, are probes of their own.
    """
    X, y = samples(network, n)
    given: dict[str, Any] = {"learning_rate": 0.05, "epochs": 2, "checkpoints": (n // 3, n)}
    given |= options
    if "seed" not in given:
        given.setdefault("order", permutations(n, given["epochs"]))
    if runs is not None:
        given["learning_rate"] = given["learning_rate"] * np.geomspace(0.1, 1.0, runs)
    given.setdefault("params", start(network, dtype, runs))
    return kernels.train(network, given.pop("params"), X, y, **given)


def each_batch_size(
    network: kernels.Network,
    dtype: type,
    n: int,
    runs: int | None,
    batch_sizes: tuple[int | str, ...],
    **options: Any,
) -> Arrays:
    """Results of training with each batch size."""
    return {
        f"B={size} {name}": values
        for size in batch_sizes
        for name, values in result_of(
            train(network, dtype, n, runs, batch_size=size, **options)
        ).items()
    }


def entering(widths: tuple[int, ...], updates: int) -> float:
    """How many roundings enter what so many updates end at.

    A number is a sum over the inputs of each layer, forward and back, and what one update rounds
    the next one starts from: at these rates errors add up, and hardly grow.
    """
    return 2.0 * sum(widths) * updates


def training(
    widths: tuple[int, ...],
    dtype: type,
    runs: int | None,
    batch_sizes: tuple[int | str, ...],
    *,
    kind: tuple[str, str, str] = ("relu", "softmax", "ce"),
    n: int = 23,
    **options: Any,
) -> Probe:
    """Make a probe of training."""
    network = kernels.Network(widths, *kind)
    smallest = min(n if size == "full" else int(size) for size in batch_sizes)
    updates = options.get("epochs", 2) * -(-n // smallest)
    call = partial(each_batch_size, network, dtype, n, runs, batch_sizes, **options)
    return Probe(call, dtype, entering(widths, updates))


def continued(
    network: kernels.Network, dtype: type, runs: int | None, rule: str, size: int
) -> Arrays:
    """Two epochs, then two more from the state of the first two."""
    order = permutations(23, 4)
    train_on = partial(train, network, dtype, 23, runs, batch_size=size, rule=rule)
    first = train_on(order=order[:2])
    second = train_on(order=order[2:], params=first.params, state=first.state)
    at_once = train_on(order=order, epochs=4)
    return {**result_of(second), "same as at once": same(second.params, at_once.params)}


def by_seed() -> Arrays:
    """Training in the order of a seed, and going on in it: that of `sample_order`."""
    network = kernels.Network((2, 2, 1))
    train_on = partial(train, network, np.float32, 23, 2, batch_size=2, seed=5)
    first = train_on()
    second = train_on(params=first.params, state=first.state)
    in_order = train_on(order=kernels.sample_order(5, 23, 4), epochs=4)
    return {
        "same as at once": same(second.params, train_on(epochs=4).params),
        "same as in the seed's order": same(second.params, in_order.params),
    }


def same(a: Array, b: Array) -> Array:
    """Whether two arrays are equal, as an array."""
    return np.array(np.array_equal(a, b))


def order_given() -> Arrays:
    """An order that repeats samples and leaves some out, checkpoints, sets to evaluate."""
    network = kernels.Network((20, 7, 3), "tanh", "softmax", "ce")
    order = np.random.default_rng(4).integers(0, 23, (2, 11))
    more: dict[str, Any] = {
        "checkpoints": [3, 10, 15],
        "eval_sets": {"test": samples(network, 9)},
        "order": order,
    }
    sizes = (1, 3, "full")
    return each_batch_size(network, np.float32, 23, None, sizes, **more)


def company() -> Arrays:
    """Whether checkpoints, threads and other runs leave the bits of a run as they are."""
    network = kernels.Network((20, 7, 3), "relu", "softmax", "ce")
    params, rates = start(network, np.float32, 20), np.geomspace(0.01, 0.1, 20)
    X, y = samples(network, 23)

    def bits(some: slice, **options: Any) -> Array:
        given: dict[str, Any] = {"batch_size": 3, "epochs": 2, "checkpoints": (), **options}
        given["order"] = permutations(23, 2)
        result = kernels.train(network, params[some], X, y, learning_rate=rates[some], **given)
        return np.asarray(result.params)

    alone = bits(slice(17, 18))
    changed = {
        "runs": bits(slice(None))[17:18],
        "checkpoints": bits(slice(17, 18), checkpoints=[3, 9, 12, 26]),
        "threads": bits(slice(None), threads=2)[17:18],
    }
    return {name: same(alone, other) for name, other in changed.items()}


def diverging(widths: tuple[int, ...], runs: int | None, batch_size: int) -> Arrays:
    """Rates at which all overflows at once: that is told, and NaN stays NaN."""
    network = kernels.Network(widths, "relu", "linear", "half_mse")
    rate = 1e12 if runs is None else np.array([1e-3, 1e12, 1e12])
    X, y = samples(network, 23)
    params = start(network, np.float32, runs)
    given: dict[str, Any] = {"batch_size": batch_size, "epochs": 3, "checkpoints": ()}
    result = kernels.train(network, params, X, y, learning_rate=rate, **given)
    return {
        "diverged": np.asarray(result.diverged),
        "params finite": np.asarray(np.isfinite(result.params).all(axis=-1)),
        "loss finite": np.asarray(np.isfinite(result.loss)[..., -1]),
    }


def lost(runs: int | None) -> Arrays:
    """A run that starts with a NaN stays lost."""
    network = kernels.Network((20, 7, 3), "relu", "softmax", "ce")
    params = start(network, np.float32, runs)
    params[..., 5] = np.nan
    result = train(network, np.float32, 23, runs, batch_size=3, params=params)
    return {"diverged": np.asarray(result.diverged), "loss": np.isnan(result.loss)}


def scare(runs: int | None) -> Arrays:
    """One infinite logit on the way, all finite before and after: diverged, also going on.

    The first step lifts w so that w x overflows on the huge sample, where the error is 0; the last
    takes w down again.
    """
    network = kernels.Network((1, 1))
    X, y = np.array([[3e38], [-1], [1]], np.float32), [1, 0, 0]
    params = np.array([1, 0], np.float32) if runs is None else np.array([[1, 0]], np.float32)
    given: dict[str, Any] = {"batch_size": 1, "learning_rate": 1.0, "epochs": 1, "checkpoints": ()}
    first = kernels.train(network, params, X, y, order=[[1, 0, 2]], **given)
    calm = kernels.train(network, params, X, y, order=[[2, 0, 2]], **given)
    second = kernels.train(
        network, first.params, X, y, order=[[2, 2, 2]], state=first.state, **given
    )
    results = {"scared": first, "calm": calm, "later": second}
    return {name: np.asarray(result.diverged) for name, result in results.items()}


def another_adam() -> Arrays:
    """Adam with an epsilon and betas that show."""
    network = kernels.Network((10, 7, 3), "tanh", "softmax", "ce")
    rule = kernels.Adam(beta1=0.5, beta2=0.8, epsilon=0.1)
    return each_batch_size(network, np.float64, 23, None, (1,), rule=rule)


F4, F8 = np.float32, np.float64
SMALL = ("relu", "sigmoid", "bce")
WIDE = kernels.Network((20, 7, 3), "relu", "softmax", "ce")
NARROW = kernels.Network((10, 7, 3), "relu", "softmax", "ce")
FORWARD = 2.0 * (5 + 18 + 4 + 3)  # roundings of a number at given parameters, forward and back
FEW = 8.0  # of a quantile
SHARP = 64.0  # of a number without a sum: range reduction and polynomial, with room

# In this order: what is compiled soonest shows most errors soonest (`tests/prove_quality.py`)
PROBES: dict[str, Probe] = {
    "initial parameters, float32": Probe(partial(initial_parameters, F4), F4, FEW, own=True),
    "initial parameters, float64": Probe(partial(initial_parameters, F8), F8, FEW, own=True),
    "orders and grids": Probe(orders),
    "shapes": Probe(shapes),
    "refusals": Probe(refusals),
    "activations, float64": Probe(activations_of_layers, F8, FORWARD),
    "wild activations, float64": Probe(wild_activations, F8, FORWARD),
    "gradients of samples, float64": Probe(gradients_of_samples, F8, FORWARD),
    "slopes at 0, float64": Probe(slopes_at_zero, F8, FORWARD),
    "far tails, float64": Probe(far_tails, F8, SHARP, own=True),
    "scores, block, float32": Probe(partial(scores, F4, 19), F4, FORWARD),
    "far losses, block, float32": Probe(partial(far_losses, F4, 2), F4, SHARP, own=True),
    "many samples, block, float32": Probe(loss_of_many_samples, F4, FORWARD),
    "one infinite logit, block": Probe(partial(scare, 1)),
    "2-2-1 unrolled, float32": training((2, 2, 1), F4, 50, (1, 2, 3, "full"), kind=SMALL),
    "2-2-1 unrolled, one group": training((2, 2, 1), F4, 2, (1,), kind=SMALL),
    "order of a seed": Probe(by_seed),
    "2-3-2-1 unrolled, tanh": training(
        (2, 3, 2, 1), F4, 50, (1, 3), kind=("tanh", "sigmoid", "half_mse")
    ),
    "2-3-2 unrolled, leaky": training(
        (2, 3, 2), F4, 50, (1, 3), kind=("leaky_relu", "linear", "half_mse")
    ),
    "block, SGD, float32": training((20, 7, 3), F4, 19, (1, 2, 3, 8)),
    "block, SGD, step by step": training((10, 9, 4, 3), F4, 19, (1, 3), kind=("tanh", *PAIRS[2])),
    "company of a run": Probe(company),
    "block, diverging": Probe(partial(diverging, (20, 7, 2), 3, 3)),
    "block, lost": Probe(partial(lost, 3)),
    "block, momentum, B=1": training((10, 7, 3), F4, 19, (1,), rule="momentum", learning_rate=0.01),
    "block, Adam, summed": training((20, 7, 3), F4, 19, (8, "full"), rule="adam"),
    "2-2-1 unrolled, float64": training((2, 2, 1), F8, 9, (1, 3), kind=SMALL),
    "scores, float64": Probe(partial(scores, F8, None), F8, FORWARD),
    "far losses, float64": Probe(partial(far_losses, F8, None), F8, SHARP, own=True),
    "Adam, B=1, float64": Probe(another_adam, F8, entering((10, 7, 3), 46)),
    "Adam, continued": Probe(
        partial(continued, NARROW, F8, None, "adam", 1), F8, entering((10, 7, 3), 92)
    ),
    "Nesterov, summed, float64": training(
        (20, 7, 3), F8, None, (8, 32), rule="nesterov", learning_rate=0.01
    ),
    "Nesterov, summed, continued": Probe(
        partial(continued, WIDE, F8, None, "nesterov", 8), F8, entering((20, 7, 3), 12)
    ),
    "Nesterov, looking ahead, float64": training(
        (20, 7, 3), F8, None, (1, 3), rule="nesterov", learning_rate=0.01
    ),
    "gradients, float32": Probe(partial(averaged_gradients, F4), F4, FORWARD + 35),
    "one run, SGD, float32": training((20, 21, 3), F4, None, (1, 2, 3, 8)),
    "one run, SGD, no hidden layer": training((20, 2), F4, None, (1, 3), kind=SMALL),
    "one run, SGD, deep": training((10, 9, 17, 3), F4, None, (1, 3), kind=("tanh", *PAIRS[2])),
    "one run, order given": Probe(order_given, F4, entering((20, 7, 3), 22)),
    "one run, diverging": Probe(partial(diverging, (20, 7, 2), None, 3)),
    "one run, lost": Probe(partial(lost, None)),
    "one infinite logit, one run": Probe(partial(scare, None)),
    "one run, SGD, summed": training((20, 7, 3), F4, None, (32, "full"), n=45, epochs=4),
    "one run, momentum, looking ahead": training(
        (20, 7, 3), F4, None, (1, 4), rule="momentum", learning_rate=0.01
    ),
}


# The study

SEEDS = 36  # a third of them tune
RATES = 32  # four to each factor of 2
N, CLASSES, EPOCHS = 128, 4, 12


def clusters() -> tuple[Array, Array]:
    """128 points of four overlapping clusters, two to a class, in 18 dimensions."""
    rng = np.random.default_rng(7)
    centres = 0.75 * rng.standard_normal((2 * CLASSES, 18))
    labels = np.arange(N) % len(centres)
    X = centres[labels] + rng.standard_normal((N, 18))
    return X.astype(np.float32), labels % CLASSES


def study(batch_size: int, largest: float, rule: str = "sgd", n_inputs: int = 18) -> Arrays:
    """Trajectories of 36 seeds at 32 rates, each seed with its start and order at all rates.

    Returns
    -------
    dict
        "loss" (seeds, rates, checkpoints), "diverged" (seeds, rates), "updates" (checkpoints,),
        "rates" ascending, "constant": loss of the constant answer, "bits" of final parameters.
    """
    network = kernels.Network((n_inputs, 12, CLASSES), "relu", "softmax", "ce")
    X, y = clusters()
    X = X[:, :n_inputs].copy()
    rates = largest * 2.0 ** (np.arange(1 - RATES, 1) / 4)
    given: dict[str, Any] = {"batch_size": batch_size, "epochs": EPOCHS, "learning_rate": rates}
    results = []
    for seed in range(SEEDS):
        params = np.asarray(kernels.init_params(network, seed=seed, dtype=np.float32))
        results.append(kernels.train(network, params, X, y, seed=seed, rule=rule, **given))
    return {
        "loss": np.array([result.loss for result in results]),
        "diverged": np.array([result.diverged for result in results]),
        "updates": np.asarray(results[0].updates),
        "rates": rates,
        "constant": np.array(np.log(CLASSES)),
        "bits": hash_of(np.array([result.params for result in results])),
    }


STUDIES: dict[str, Callable[[], Arrays]] = {
    "SGD, B=1": partial(study, 1, 0.7),
    "SGD, B=8": partial(study, 8, 4.0),
    "momentum, B=1": partial(study, 1, 0.12, "momentum", 12),
    "Adam, B=32": partial(study, 32, 3.0, "adam"),
}
