"""The unit of work: one problem, rule, batch size and order of samples, a rate in each lane."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import kernels
from bench.experiments import rules
from bench.problems import Problem

# Runs in the SIMD lanes of one block, computed in this type
LANES = 16
DTYPE = np.float32
UPDATE_PARAMS = 150
# Raise it when what a block's file holds changes
FORMAT = 1

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Runs that share everything but the learning rate and, in a population, the start.

    Parameters
    ----------
    rule
        Name of the update rule, as of `rules.rule_of`: "sgd".
    batch_size
        Samples per update; N for full batch.
    learning_rates
        Up to 16, ascending.
    seed
        Of the initial parameters and of the order of samples.
    epochs
        Budget: passes over the training samples.
    population
        Networks that start from `init_params(seed=seed, size=population)`; None for the one of
        `init_params(seed=seed)`.
    checkpoints
        Examples seen at which to evaluate; None for the standard grid.
    networks
        Which of the population's networks are trained, ascending; None for all.
    """

    rule: str
    batch_size: int
    learning_rates: tuple[float, ...]
    seed: int
    epochs: int
    population: int | None = None
    checkpoints: tuple[int, ...] | None = None
    networks: tuple[int, ...] | None = None

    @property
    def n_networks(self) -> int:
        """Number of networks at each rate."""
        return (self.population or 1) if self.networks is None else len(self.networks)

    def work(self, problem: Problem) -> float:
        """Rough amount of work, in multiplications of a forward pass, for order and prediction.

        An evaluation is a forward pass, a third of a training step; each update costs as much as
        `UPDATE_PARAMS` further parameters, by a rule with a memory `rules.UPDATE_COST` times all of
        them more.
        """
        n, n_params = problem.n_train, problem.network.n_params
        n_evaluations = (
            kernels.checkpoint_grid(n, self.epochs * n).size
            if self.checkpoints is None
            else len(self.checkpoints)
        )
        n_scored = len(problem.scored[0]) + len(problem.scored_test[0])
        samples = self.epochs * n + n_evaluations * n_scored / 3
        updates = self.epochs * -(-n // self.batch_size)
        lanes = -(-len(self.learning_rates) * self.n_networks // LANES) * LANES
        each = UPDATE_PARAMS + rules.UPDATE_COST.get(self.rule, 0.0) * n_params
        return float(lanes * (n_params * samples + each * updates))

    def key(self, problem: Problem) -> str:
        """Return the sha256, in hex, of all that determines the result, kernels included."""
        content: tuple[object, ...] = (
            FORMAT,
            problem.content_hash(),
            rules.content(self.rule, self.batch_size),
            self.batch_size,
            tuple(rate.hex() for rate in self.learning_rates),
            self.seed,
            self.epochs,
            self.population,
            self.checkpoints,
            np.dtype(DTYPE).name,
            kernels.KERNEL_HASH,
            kernels.INSTRUCTION_SET,
        )
        content += () if self.networks is None else (self.networks,)
        return hashlib.sha256(repr(content).encode()).hexdigest()

    def __str__(self) -> str:
        rates = f"{self.learning_rates[0]:.4g} to {self.learning_rates[-1]:.4g}"
        return f"{self.rule}, batch size {self.batch_size}, seed {self.seed}, rates {rates}"


@dataclass(frozen=True, eq=False)
class BlockResult:
    """What the runs of a block did: C evaluations of (n_networks, n_rates) runs.

    Parameters
    ----------
    examples, updates
        int64 (C,): seen and done at each evaluation, from 0.
    loss, score
        float64 (n_networks, n_rates, C) on the whole training split; score is accuracy or rmse.
    test_loss, test_score
        The same on the test split; NaN where there is none.
    diverged
        bool (n_networks, n_rates): ever non-finite.
    dead_start, dead_end
        bool (n_networks, n_rates): a hidden layer without an active unit on any training sample,
        before the first and after the last update; a diverged run is not called dead.
    params
        Final parameters of a population, float32 (n_networks, n_rates, n_params); else None.
    """

    examples: NDArray[np.int64]
    updates: NDArray[np.int64]
    loss: Floats = field(repr=False)
    score: Floats = field(repr=False)
    test_loss: Floats = field(repr=False)
    test_score: Floats = field(repr=False)
    diverged: Bools = field(repr=False)
    dead_start: Bools = field(repr=False)
    dead_end: Bools = field(repr=False)
    params: NDArray[np.float32] | None = field(default=None, repr=False)
