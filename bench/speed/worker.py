"""A process of its own for one program: `python -m bench.speed.worker PROGRAM CORE`.

It reads pickled requests from standard input and answers each on standard output: first a problem,
then pairs (request, value) of `Trainer`. It ends with its input.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from dataclasses import dataclass

import numpy as np

from bench.problems import Problem
from bench.speed.peers import PEERS, CannotDoError, Params, Peer, Run, Work, start_of
from kernels import sample_order

PASS_SAMPLES = 4096  # a pass has that many samples, but at least 2 and at most 64 updates
PASS_UPDATES = (2, 64)
MEASURED_SECONDS = 0.015
ATTEMPTS = 20  # to get a positive time
LEARNING_RATE = 0.01


def work_of(problem: Problem, batch_size: int) -> Work:
    """Return what every program is to do at a batch size: seed 0's parameters and batches."""
    updates = int(np.clip(PASS_SAMPLES // batch_size, *PASS_UPDATES))
    samples = updates * batch_size
    order = sample_order(0, problem.n_train, -(-samples // problem.n_train))
    return Work(
        network=problem.network,
        params=start_of(problem),
        X=problem.X_train,
        y=problem.y_train,
        order=order.ravel()[:samples].reshape(updates, batch_size).astype(np.int64),
        learning_rate=LEARNING_RATE,
    )


@dataclass
class Prepared:
    """A program ready to train at one batch size.

    Parameters
    ----------
    run
        As of `Peer.prepare`.
    updates
        Of a pass.
    passes
        That take long enough to be timed.
    """

    run: Run
    updates: int
    passes: int = 1

    def difference(self) -> float:
        """Seconds of the passes alone."""
        short = self._seconds(1)
        return self._seconds(1 + self.passes) - short

    def _seconds(self, passes: int) -> float:
        start = time.perf_counter()
        self.run(passes, True)
        return time.perf_counter() - start


class Trainer:
    """One program at work on one problem: what a worker does on request."""

    def __init__(self, peer: Peer, problem: Problem) -> None:
        self.peer, self.problem = peer, problem
        self._ready: dict[int, Prepared] = {}

    def prepare(self, batch_size: int) -> tuple[Params, float]:
        """Train 2 passes; return the parameters and the seconds from the start to them.

        The seconds are the program's start at this batch size: where it compiles, compilation.
        Then choose how many passes take long enough to be timed.
        """
        work = work_of(self.problem, batch_size)
        start = time.perf_counter()
        run = self.peer.prepare(work)
        params = run(2, False)
        start_seconds = time.perf_counter() - start
        ready = Prepared(run, updates=len(work.order))
        while ready.passes < 1 << 20 and ready.difference() < MEASURED_SECONDS:
            ready.passes *= 2
        self._ready[batch_size] = ready
        return params, start_seconds

    def measure(self, batch_size: int) -> float:
        """Seconds per update: a long training less a short one, so that a call's own cost cancels.

        Building the estimator, checking input, evaluating before and after are such costs. Where
        the short one took longer, because something else held the core, both are done again.
        """
        ready = self._ready[batch_size]
        for _ in range(ATTEMPTS):
            seconds = ready.difference()
            if seconds > 0:
                return seconds / (ready.passes * ready.updates)
        raise CannotDoError("could not be timed: something else held the core all the time")


def answer(trainer: Trainer, request: str, value: int) -> tuple[bool, object]:
    """(True, result), or (False, why there is none)."""
    try:
        return True, getattr(trainer, request)(value)
    except CannotDoError as error:
        return False, str(error)
    except Exception as error:  # of a library: told by the process that asks
        return False, f"failed with {type(error).__name__}: {error}"


def main() -> None:
    """Serve requests until standard input ends."""
    program, core = sys.argv[1], int(sys.argv[2])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    # Answers keep the standard output to themselves: what a library prints goes to the error stream
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    trainer = Trainer(PEERS[program], pickle.load(sys.stdin.buffer))
    while True:
        try:
            request, value = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(answer(trainer, request, value), answers)
        answers.flush()


if __name__ == "__main__":
    main()
