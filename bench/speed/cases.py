"""What the kernels are timed on: small, middle and large networks at batch sizes from 1 to N."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.problems import load_problem
from kernels import Network, init_params, sample_order

BATCH_SIZES = (1, 8, 32, 128)
LANES = 16  # runs of a block: with AVX-512 and float32, as many as a vector has lanes


@dataclass(frozen=True, eq=False)
class Case:
    """A network with its data, float32, and how long it is trained when training is timed."""

    title: str
    network: Network
    X: NDArray[np.float32]
    y: NDArray[Any]
    epochs: int

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.X)

    @property
    def params(self) -> NDArray[np.float32]:
        """Initial parameters of one run, (n_params,)."""
        return np.asarray(init_params(self.network, seed=0, dtype=np.float32), dtype=np.float32)

    @property
    def order(self) -> NDArray[np.int64]:
        """The samples in the order of all epochs, (epochs, n)."""
        return sample_order(0, self.n, self.epochs)

    def batch_size(self, name: str) -> int:
        """Return the number that a batch size of the tables stands for: "full" is n."""
        return self.n if name == "full" else int(name)


def _of_problem(name: str, epochs: int) -> Case:
    problem = load_problem(name)
    widths = "-".join(map(str, problem.network.widths))
    title = f"{widths} on {problem.name}, N = {problem.n_train}"
    return Case(title, problem.network, problem.X_train, problem.y_train, epochs)


def _synthetic() -> Case:
    """Return a network for images of 28 x 28 pixels, on noise: speed does not tell them apart."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((256, 784), dtype=np.float32)
    network = Network((784, 128, 10), output="softmax", loss="ce")
    return Case("784-128-10 on noise, N = 256", network, X, rng.integers(0, 10, 256), 4)


CASES = {
    "xor": lambda: _of_problem("notes", epochs=2500),
    "digits": lambda: _of_problem("digits", epochs=10),
    "wide": _synthetic,
}


@cache
def case(name: str) -> Case:
    """Return the case of a name: xor, digits or wide."""
    return CASES[name]()


def batch_size_names(name: str) -> list[str]:
    """Names of a case's batch sizes: those below N, and "full"."""
    return [str(size) for size in BATCH_SIZES if size < case(name).n] + ["full"]
