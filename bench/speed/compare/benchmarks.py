"""What is timed on both sides: calls of the kernels' public functions, a few milliseconds each.

`kernels` is the side's own: `child.py` has chosen it. Everything is made from random
numbers, so that both sides get the same whatever data sets they know. Speed depends on sizes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernels

Call = Callable[[], object]
Floats = NDArray[np.float32]

RATE = 0.01
DIGITS, IMAGES = (64, 32, 10), (784, 128, 10)


def data(
    widths: tuple[int, ...], n: int
) -> tuple[kernels.Network, Floats, Floats, NDArray[np.int64]]:
    """A network for classes, its initial parameters, (n, n_inputs) features and (n,) labels."""
    network = kernels.Network(widths, output="softmax", loss="ce")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, widths[0]), dtype=np.float32)
    params = np.asarray(kernels.init_params(network, seed=0, dtype=np.float32))
    return network, params, X, rng.integers(0, widths[-1], n)


def train(
    widths: tuple[int, ...], n: int, batch_size: int | str, epochs: int, runs: int = 1, **rule: Any
) -> Call:
    """One call of `train`, which also evaluates before and after; with many runs, a rate each."""
    network, params, X, y = data(widths, n)
    rates = RATE if runs == 1 else np.geomspace(RATE / 10, RATE, runs)
    order = kernels.sample_order(0, n, epochs)
    given: dict[str, Any] = {
        "batch_size": batch_size,
        "learning_rate": rates,
        "epochs": epochs,
        "order": order,
    }
    return lambda: kernels.train(network, params, X, y, **given, checkpoints=(), **rule)


def xor() -> Call:
    """256 networks 2-2-1, trained sample by sample."""
    network = kernels.Network((2, 2, 1))
    params = kernels.init_params(network, seed=0, size=256, dtype=np.float32)
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0])
    given: dict[str, Any] = {"batch_size": 1, "learning_rate": 0.1, "epochs": 250}
    return lambda: kernels.train(network, params, X, y, **given, checkpoints=())


def gradient(batch_size: int, calls: int) -> Call:
    """Many calls of `loss_and_gradient`: what a call itself costs is most of it."""
    network, params, X, y = data(DIGITS, batch_size)

    def call() -> None:
        for _ in range(calls):
            kernels.loss_and_gradient(network, params, X, y)

    return call


def evaluate() -> Call:
    """Loss and accuracy on many samples."""
    network, params, X, y = data(DIGITS, 8192)
    return lambda: kernels.evaluate(network, params, X, y)


def momentum(rule: str, batch_size: int) -> Call:
    """Training by another rule."""
    return train(DIGITS, 1024, batch_size, 4, rule=rule)


BENCHMARKS: dict[str, Callable[[], Call]] = {
    "64-32-10 run B=1": partial(train, DIGITS, 1024, 1, 8),
    "64-32-10 run B=32": partial(train, DIGITS, 1024, 32, 8),
    "64-32-10 run full": partial(train, DIGITS, 1024, "full", 8),
    "64-32-10 momentum B=1": partial(momentum, "momentum", 1),
    "64-32-10 Adam B=8": partial(momentum, "adam", 8),
    "64-32-10 block B=1": partial(train, DIGITS, 512, 1, 1, runs=16),
    "64-32-10 block B=32": partial(train, DIGITS, 512, 32, 1, runs=16),
    "784-128-10 run B=1": partial(train, IMAGES, 128, 1, 1),
    "784-128-10 run B=32": partial(train, IMAGES, 128, 32, 1),
    "2-2-1 block B=1": xor,
    "64-32-10 gradient B=32": partial(gradient, 32, 10),
    "64-32-10 evaluate": evaluate,
}
