"""What programs train when they are timed, and the work that this is at a batch size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.problems import Problem
from bench.speed.peers import Params, Rates, Targets, Work, start_of
from kernels import Network, sample_order

PASS_SAMPLES = 4096  # a pass has that many samples, but at least 2 and at most 64 updates
PASS_UPDATES = (2, 64)
LEARNING_RATE = 0.01
TIMED_ROWS = 65_536  # at most: rows enough to leave the processor's cache, and quickly handed over


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with its start, its data and its learning rate; of one run, or of many at once.

    Parameters
    ----------
    network
        What is trained.
    params
        float32, (n_params,), or (n_runs, n_params) for many runs at once.
    X, y
        float32, (n, n_inputs); classes or targets as in a problem.
    learning_rate
        A number, or (n_runs,), float32.
    """

    network: Network
    params: Params
    X: NDArray[np.float32]
    y: Targets
    learning_rate: Rates = LEARNING_RATE

    @classmethod
    def of(cls, problem: Problem) -> Subject:
        """Take seed 0's run on a problem: some of its training rows, and nothing else."""
        rows = slice(TIMED_ROWS)
        return cls(problem.network, start_of(problem), problem.X_train[rows], problem.y_train[rows])

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.X)

    @property
    def n_runs(self) -> int:
        """Number of runs that are trained at once."""
        return 1 if self.params.ndim == 1 else len(self.params)

    def work(self, batch_size: int, updates: int | None = None) -> Work:
        """Return what every program is to do: a pass of whole batches in the order of seed 0.

        Parameters
        ----------
        batch_size
            Of every update.
        updates
            Of a pass; by default as many as 4096 samples are, but 2 to 64.
        """
        if updates is None:
            updates = int(np.clip(PASS_SAMPLES // batch_size, *PASS_UPDATES))
        samples = updates * batch_size
        order = sample_order(0, self.n, -(-samples // self.n)).ravel()[:samples]
        return Work(
            network=self.network,
            params=self.params,
            X=self.X,
            y=self.y,
            order=order.reshape(updates, batch_size).astype(np.int64),
            learning_rate=self.learning_rate,
        )
