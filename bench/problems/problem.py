"""A problem: data, split, network, initialization, and what counts as learned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.streams import stream
from kernels import Network

if TYPE_CHECKING:
    from bench.problems.table import Table

Targets = NDArray[np.int64] | NDArray[np.float32]
Samples = tuple[NDArray[np.float32], Targets]

# A split of more than twice as many samples is evaluated on a random part of it, the same for all
# runs: an evaluation of a million samples would take longer than the training between two of them
SCORED = 25_000
# Fewest updates that a run must get out of `examples_budget` for its batch size to be an arm
LEAST_UPDATES = 100


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, their split, the network that learns them, and its initialization.

    Parameters
    ----------
    name
        Short name, also the study's folder: "digits".
    title
        One line for people: "Handwritten digits (scikit-learn), 1797 x 64".
    network
        What is trained.
    X_train, X_test
        float32, (n_train, n_inputs) and (n_test, n_inputs); 0 rows where nothing is held out.
    y_train, y_test
        int64 classes (n,) of a classifier, float32 targets (n,) or (n, n_outputs) of a regression.
    feature_names, class_names
        Names of the columns of X and of the classes (empty for a regression).
    preparation
        What was done to the data, a sentence each.
    population
        Networks per block of a population study; None for one network a seed.
    factors
        In what a population is varied, one factor at a time: the levels of each, as of
        `bench.problems.xor.variants`.
    scheme
        Initialization, as in `kernels.init_params`.
    targets
        Three training losses to reach, descending; None where a pilot finds them.
    updates_budget
        Updates a run is given at every batch size; None for max(30 epochs, 300 updates).
    examples_budget
        Examples at which a run ends, after a whole epoch, however many epochs or updates it has
        had; None for no such limit.
    longer
        Times its budget that a population's networks which failed are given after all; 1: none.
    seeds
        Number of seeds of a whole study; None for the usual one.
    table
        The user's own table that this was made of, and how; None for data that we know.
    """

    name: str
    title: str
    network: Network
    X_train: NDArray[np.float32]
    y_train: Targets
    X_test: NDArray[np.float32]
    y_test: Targets
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    preparation: tuple[str, ...]
    population: int | None = None
    factors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scheme: str = "he"
    targets: tuple[float, ...] | None = None
    updates_budget: int | None = None
    examples_budget: int | None = None
    longer: int = 1
    seeds: int | None = None
    table: Table | None = None

    def __post_init__(self) -> None:
        # The hash below is taken once: what it stands for must not be changed through the problem
        for name in ("X_train", "y_train", "X_test", "y_test"):
            view = getattr(self, name).view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)

    @property
    def _arrays(self) -> tuple[NDArray[np.generic], ...]:
        return (self.X_train, self.y_train, self.X_test, self.y_test)

    @property
    def n_train(self) -> int:
        """Number of training samples, N."""
        return len(self.X_train)

    @property
    def has_test(self) -> bool:
        """Whether samples are held out."""
        return len(self.X_test) > 0

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The arms: 1, 2, 4, ... up to N/2, and N (full batch).

        With `examples_budget` without those that 100 updates would take beyond it.
        """
        sizes = [2**k for k in range(self.n_train.bit_length()) if 2**k <= self.n_train / 2]
        limit = self.examples_budget or np.inf
        return tuple(b for b in (*sizes, self.n_train) if b == 1 or LEAST_UPDATES * b <= limit)

    @cached_property
    def scored(self) -> Samples:
        """Training samples (X, y) that give the training loss: all, or a random 25,000 of many."""
        return _part(self.X_train, self.y_train)

    @cached_property
    def scored_test(self) -> Samples:
        """The same of the test split."""
        return _part(self.X_test, self.y_test)

    def constant_loss(self) -> float:
        """Full-train loss of the best predictor that ignores its input.

        Cross-entropies: the entropy of the classes' shares, in nats; squared error: half the
        variance of the targets, summed over outputs.
        """
        if self.network.loss == "ce":
            return _entropy(np.bincount(self.y_train) / self.n_train)
        y = self.y_train.astype(np.float64).reshape(self.n_train, -1)
        if self.network.loss == "bce":
            return sum(_entropy(np.array([p, 1.0 - p])) for p in y.mean(axis=0))
        return float(0.5 * y.var(axis=0).sum())

    def content_hash(self) -> str:
        """Return the sha256, in hex, of data, split, network and scheme: of all but the words."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        digest = hashlib.sha256(repr((self.network, self.scheme)).encode())
        digest.update(repr((len(self.scored[0]), len(self.scored_test[0]))).encode())
        for array in self._arrays:
            digest.update(repr((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).data)
        return digest.hexdigest()


def _part(X: NDArray[np.float32], y: Targets) -> Samples:
    """All samples, or a random part of many."""
    if len(X) <= 2 * SCORED:
        return X, y
    rows = np.sort(stream("scored samples").permutation(len(X))[:SCORED])
    return X[rows], y[rows]


def _entropy(shares: NDArray[np.float64]) -> float:
    """-sum p log p in nats, with 0 log 0 = 0."""
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())


def with_options(
    problem: Problem, hidden: Sequence[int] | None = None, activation: str | None = None
) -> Problem:
    """Return the problem with other hidden layers or another activation.

    Parameters
    ----------
    problem
        Where data, output and loss come from.
    hidden
        Widths of the hidden layers; () for none; None leaves them.
    activation
        Of the hidden layers; None leaves it.

    Raises
    ------
    InputError
        For a width below 1 or an unknown activation.
    """
    old = problem.network
    widths = old.widths
    if hidden is not None:
        widths = (old.n_inputs, *hidden, old.n_outputs)
    try:
        network = Network(widths, activation or old.activation, old.output, old.loss)
    except ValueError as error:
        raise InputError(f"hidden or activation: {error}") from None
    return replace(problem, network=network)
