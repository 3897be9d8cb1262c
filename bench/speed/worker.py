"""A process of its own for one program: `python -m bench.speed.worker PROGRAM CORE`.

PROGRAM is a name in `bench.speed.peers.PEERS` or a user's file, CORE the number of the core that it
stays on, or "all". It reads pickled pairs (request, value) of `Trainer` from standard input and
answers each on standard output. It ends with its input.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from traceback import extract_tb
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_info

from bench.problems import Problem
from bench.speed.peak import fma_peak
from bench.speed.peers import (
    CannotDoError,
    OwnPeer,
    Params,
    Peer,
    Program,
    Run,
    Work,
    program_of,
)
from bench.speed.process import Requests, pin
from bench.speed.subject import Subject

MEASURED_SECONDS = 0.015
EPOCH_SECONDS = 0.03  # a pass of an epoch may take, where a pass is to be one
PEAK_SECONDS = 0.01
SGEMM_CALLS = 3
ATTEMPTS = 20  # to get a positive time
TOLD = 300  # letters of an exception, at most: compilers tell pages

Outcome = Literal["done", "cannot do", "failed"]


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

    def settle(self) -> float:
        """Choose how many passes take long enough to be timed; return the seconds of an update."""
        while (seconds := self.difference()) < MEASURED_SECONDS and self.passes < 1 << 20:
            self.passes *= 2
        return seconds / (self.passes * self.updates)


class Trainer:
    """One program at work on one subject: what a worker does on request."""

    def __init__(self, program: Program, subject: Subject | Problem) -> None:
        self.program = program
        self.take(subject)

    def take(self, subject: Subject | Problem) -> None:
        """Work on this subject from now on."""
        self.subject = Subject.of(subject) if isinstance(subject, Problem) else subject
        self._ready: dict[int, Prepared] = {}

    def work(self, batch_size: int, updates: int | None = None) -> Work:
        """Return what is trained at a batch size, as `Subject.work` makes it."""
        return self.subject.work(batch_size, updates)

    def prepare(self, batch_size: int) -> tuple[Params, float]:
        """Train 2 passes; return the parameters and the seconds from the start to them.

        The seconds are the program's start at this batch size: where it compiles, compilation.
        Then choose how many passes take long enough to be timed.
        """
        work = self.work(batch_size)
        start = time.perf_counter()
        run = self.program.prepare(work)
        params = _checked(run(2, False), work)
        start_seconds = time.perf_counter() - start
        self._ready[batch_size] = Prepared(run, updates=len(work.order))
        self._ready[batch_size].settle()
        return params, start_seconds

    def lengthen(self, batch_size: int) -> None:
        """Let a pass be a whole epoch, or as much of one as does not take too long.

        Data that lie in the nearest cache because only few samples are visited make a fast program
        faster than it is; a slow one does not notice.
        """
        ready = self._ready[batch_size]
        seconds = ready.difference() / (ready.passes * ready.updates)
        updates = self.subject.n // batch_size
        if seconds > 0:
            updates = min(updates, int(EPOCH_SECONDS / seconds))
        if updates > ready.updates:
            longer = Prepared(self.program.prepare(self.work(batch_size, updates)), updates)
            longer.run(1, False)
            longer.settle()
            self._ready[batch_size] = longer

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

    def train(self, work: Work) -> Params:
        """Parameters after one pass of other work."""
        return _checked(self.program.prepare(work)(1, False), work)

    def yardsticks(self, size: int) -> tuple[float, float]:
        """Operations per second of fused multiply-adds, and of NumPy's sgemm on size x size."""
        a, b = np.ones((2, size, size), np.float32)
        out = np.empty_like(a)
        seconds = []
        for _ in range(SGEMM_CALLS):
            start = time.perf_counter()
            np.matmul(a, b, out=out)
            seconds.append(time.perf_counter() - start)
        return fma_peak(PEAK_SECONDS), 2 * size**3 / median(seconds)

    def about(self, _: object) -> dict[str, str]:
        """Version of the program's package, and what computes its products."""
        if not isinstance(self.program, Peer):
            return {"version": "", "arithmetic": blas()}
        told = self.program.arithmetic()
        number = version(self.program.distribution or self.program.needs)
        return {"version": number, "arithmetic": blas() if told is None else told}


def _checked(params: Params, work: Work) -> Params:
    """The parameters, if they can be those of the work.

    Raises
    ------
    TypeError
        For what is no array of numbers of that shape.
    """
    shape = getattr(params, "shape", None)
    if shape != work.params.shape:
        found = f"shape {shape}" if shape is not None else type(params).__name__
        raise TypeError(
            f"run(passes, own_order) must return parameters of shape {work.params.shape}, "
            f"got {found}"
        )
    return np.asarray(params, dtype=np.float32)


def blas() -> str:
    """Name, version and architecture of the BLAS libraries in this process, as they chose it."""
    told = []
    for library in threadpool_info():
        if library["user_api"] == "blas":
            n = library["num_threads"]
            owner = Path(library["filepath"]).parent.name.split(".")[0]  # numpy.libs, scipy.libs
            told.append(
                f"{library['internal_api']} {library['version']} "
                f"{library.get('architecture', '')} of {owner}, {n} thread{'s' * (n != 1)}"
            )
    return "; ".join(sorted(told))


def answer(trainer: Trainer, request: str, value: object) -> tuple[Outcome, object]:
    """("done", result), or why there is none."""
    try:
        return "done", getattr(trainer, request)(value)
    except CannotDoError as error:
        return "cannot do", str(error)
    except Exception as error:  # of a library: told by the process that asks
        told = " ".join(str(error).split())[:TOLD]
        return "failed", f"failed with {type(error).__name__}: {told}{_place(trainer, error)}"


def _place(trainer: Trainer, error: Exception) -> str:
    """Return where an exception came from in a user's file, in words; "" where it did not."""
    if not isinstance(trainer.program, OwnPeer):
        return ""
    path = str(trainer.program.path)
    lines = [one.lineno for one in extract_tb(error.__traceback__) if one.filename == path]
    return f" (line {lines[-1]})" if lines else ""


def main() -> None:
    """Serve requests until standard input ends."""
    program, core = sys.argv[1:]
    if core != "all":
        pin(int(core))
    requests = Requests()
    trainer = Trainer(program_of(program), requests.read())
    requests.serve(lambda message: answer(trainer, *message))


if __name__ == "__main__":
    main()
