"""Seconds per update of each program that can train a problem: the third axis of every study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
import scipy  # which loads scipy.optimize on first use
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems import Problem
from bench.speed.peers import OURS, PEERS, CannotDoError, Params, start_of
from bench.speed.process import EndedError, Process, measuring_core
from bench.speed.subject import Subject

ROUNDS = 6  # the least and the greatest of 6 rounds enclose the median with 97%
# Batch sizes at and beside powers of two; 100 is held against what lies between 64 and 128
POWER_GROUPS = ((31, 32, 33), (64, 100, 127, 128))
POWER_ROUNDS = 9  # the second least and the second greatest enclose the median with 96%
# Two programs do the same where their parameters differ by less than this share of the way that
# they went: float32's rounding (6e-8), grown over at most 128 updates to 1e-5, or to 4e-4 where
# it puts a ReLU on the other side of 0. A wrong rate, order or mean gives 1e-2 and more.
AGREEMENT = 1e-3

GIVEN = "your program"


class FailedError(CannotDoError):
    """A program raised an exception, gave something else than parameters, or ended."""


class Timed(Protocol):
    """What can be timed: a worker, or what stands in for one."""

    def prepare(self, batch_size: int) -> tuple[Params, float]:
        """Parameters after 2 passes at a batch size, and the seconds that the start took."""

    def measure(self, batch_size: int) -> float:
        """Seconds per update of one round."""


class Worker(Process):
    """A program in a process of its own, pinned to one core where the system lets it.

    Ends with the `with` block that it stands in. Requests raise CannotDoError where the program
    has no such training, and FailedError where it fails.

    Parameters
    ----------
    program
        A name in PEERS, or the path of a user's file.
    subject
        What it is to train first.
    all_cores
        Whether it may use all cores of this process, with as many threads as it likes.
    """

    def __init__(
        self, program: str, subject: Problem | Subject, *, all_cores: bool = False
    ) -> None:
        core = "all" if all_cores else str(measuring_core())
        super().__init__(
            ["bench.speed.worker", program, core],
            all_cores=all_cores,
            environment={"JAX_PLATFORMS": "cpu"},
        )
        self.send(Subject.of(subject) if isinstance(subject, Problem) else subject)

    def __enter__(self) -> Worker:
        return self

    def prepare(self, batch_size: int) -> tuple[Params, float]:
        """Parameters after 2 passes at a batch size, and the seconds that the start took."""
        return cast(tuple[Params, float], self.ask("prepare", batch_size))

    def measure(self, batch_size: int) -> float:
        """Seconds per update of one round, at a batch size that was prepared."""
        return cast(float, self.ask("measure", batch_size))

    def ask(self, request: str, value: object = None) -> object:
        """Return what a method of `bench.speed.worker.Trainer` gives there."""
        try:
            self.send((request, value))
            outcome, answer = self.receive()
        except EndedError as error:
            raise FailedError(str(error)) from None
        if outcome == "failed":
            raise FailedError(answer)
        if outcome == "cannot do":
            raise CannotDoError(answer)
        return answer


def given_cost(problem: Problem, c0: float, c1: float) -> pd.DataFrame:
    """Rows, as of `measure_seconds`, of the user's own program: an update takes c0 + c1 B."""
    sizes = measured_batch_sizes(problem)
    seconds = [c0 + c1 * size for size in sizes]
    rows = {"program": GIVEN, "batch_size": sizes, "mean_batch": np.array(sizes, float)}
    rows |= dict.fromkeys(("seconds_per_update", "low", "high"), seconds)
    return pd.DataFrame(rows | {"c0": c0, "c1": c1})


def measured_batch_sizes(problem: Problem) -> list[int]:
    """1, 4, 16, ... of the problem's batch sizes, and the full batch."""
    *sizes, full = problem.batch_sizes
    return [*sizes[::2], full]


def power_batch_sizes(problem: Problem) -> list[int]:
    """Powers of two and their neighbours, as far as they are mini-batches of the problem."""
    groups = [group for group in POWER_GROUPS if max(group) <= problem.n_train / 2]
    return [size for group in groups for size in group]


def installed(programs: Iterable[str] | None) -> list[str]:
    """Programs to measure besides ours: those named, or all of studies that are installed.

    Raises
    ------
    InputError
        For a name that is none of PEERS, or is not installed.
    """
    if programs is None:
        return [
            name
            for name, peer in PEERS.items()
            if peer.in_studies and peer.installed and name != OURS
        ]
    for name in programs:
        if name not in PEERS:
            raise InputError(f"programs: {name!r} is none of {', '.join(PEERS)}")
        if not PEERS[name].installed:
            raise InputError(f"programs: {name} is not installed here, leave it out")
    return [name for name in programs if name != OURS]


def distance(params: Params, ours: Params, start: Params) -> float:
    """|params - ours| as a share of |ours - start|, the way that training went; the worst run's.

    A run that went nowhere (a dead network) may not go anywhere else.
    """
    went = np.linalg.norm(ours.astype(np.float64) - start, axis=-1)
    apart = np.linalg.norm(params.astype(np.float64) - ours, axis=-1)
    shares = np.where(apart > 0, np.inf, 0.0)
    return float(np.max(np.divide(apart, went, out=shares, where=went > 0)))


def linear_cost(
    batch_sizes: NDArray[np.int64], seconds: NDArray[np.float64]
) -> tuple[float, float]:
    """(c0, c1) of seconds = c0 + c1 B: least squares of relative errors, neither below 0."""
    columns = np.column_stack([1.0 / seconds, batch_sizes / seconds])
    (c0, c1), _ = scipy.optimize.nnls(columns, np.ones(len(seconds)))
    return float(c0), float(c1)


def prepare_all(
    workers: Mapping[str, Timed], batch_size: int, start: Params
) -> tuple[dict[str, float], dict[str, CannotDoError]]:
    """Let each program train; tell those that cannot, or end elsewhere than our engine does.

    Parameters
    ----------
    workers
        Programs by name, ours first.
    batch_size
        At which to train.
    start
        The parameters that all start from.

    Returns
    -------
    start_seconds, left_out
        By program: the seconds that its start took, or why it is not compared.

    Raises
    ------
    RuntimeError
        Where our own engine fails.
    """
    start_seconds: dict[str, float] = {}
    left_out: dict[str, CannotDoError] = {}
    ours: Params | None = None
    for program, worker in workers.items():
        try:
            params, seconds = worker.prepare(batch_size)
            ours = params if ours is None else ours
            if not (apart := distance(params, ours, start)) < AGREEMENT:
                raise CannotDoError(f"ends at other parameters: {apart:.1g} of the way off")
        except CannotDoError as reason:
            if program == OURS:
                raise RuntimeError(f"our own engine, batch size {batch_size}: {reason}") from None
            left_out[program] = reason
        else:
            start_seconds[program] = seconds
    return start_seconds, left_out


class Measurement:
    """Programs side by side on one problem: their rounds, and why some were left out."""

    def __init__(self, problem: Problem, workers: Mapping[str, Timed]) -> None:
        self.problem, self.workers = problem, dict(workers)
        self.left_out: dict[str, str] = {}
        self.start_seconds = dict.fromkeys(workers, 0.0)
        self.rows: list[dict[str, Any]] = []

    def run(self) -> pd.DataFrame:
        """Measure all batch sizes; a program that was left out on the way has no rows."""
        for batch_size in measured_batch_sizes(self.problem):
            self._prepare(batch_size)
            self._measure(batch_size)
        frame = pd.DataFrame(self.rows)
        frame = frame[~frame["program"].isin(self.left_out)]
        frame = frame.sort_values(["program", "batch_size"], key=_ours_first, ignore_index=True)
        for _, rows in frame.groupby("program"):
            costs = linear_cost(
                rows["batch_size"].to_numpy(), rows["seconds_per_update"].to_numpy()
            )
            frame.loc[rows.index, ["c0", "c1"]] = costs
        frame.attrs = {"left_out": self.left_out, "start_seconds": self.start_seconds}
        return frame

    def run_powers(self) -> pd.DataFrame:
        """Measure at and beside powers of two: all batch sizes of a program in each of its turns.

        So that two batch sizes are compared within a few moments; which of them comes first
        changes from round to round.
        """
        sizes = power_batch_sizes(self.problem)
        for batch_size in sizes:
            self._prepare(batch_size)
        rows = [
            (program, size, number, worker.measure(size) / size)
            for number in range(POWER_ROUNDS)
            for program, worker in self.workers.items()
            for size in np.roll(sizes, number).tolist()
        ]
        columns = ["program", "batch_size", "round", "seconds_per_sample"]
        frame = pd.DataFrame(rows, columns=columns)
        order = ["program", "batch_size", "round"]
        frame = frame.sort_values(order, key=_ours_first, ignore_index=True)
        frame.attrs = {"left_out": self.left_out}
        return frame

    def _prepare(self, batch_size: int) -> None:
        """Let each program train; leave out those that end elsewhere than our engine does."""
        start_seconds, left_out = prepare_all(self.workers, batch_size, start_of(self.problem))
        for program, seconds in start_seconds.items():
            self.start_seconds[program] += seconds
        for program, reason in left_out.items():
            self.left_out[program] = f"batch size {batch_size}: {reason}"
            del self.workers[program]

    def _measure(self, batch_size: int) -> None:
        """Time each program once a round, in turns: a slow moment of the machine hits all."""
        rounds: dict[str, list[float]] = {program: [] for program in self.workers}
        for _ in range(ROUNDS):
            for program, worker in self.workers.items():
                rounds[program].append(worker.measure(batch_size))
        for program, seconds in rounds.items():
            about = {"program": program, "batch_size": batch_size, "mean_batch": float(batch_size)}
            self.rows.append(about | of_rounds(seconds))


def of_rounds(seconds: Sequence[float]) -> dict[str, float]:
    """Seconds per update from those of `ROUNDS` rounds: `seconds_per_update, low, high`."""
    middle = float(np.median(seconds))
    return {"seconds_per_update": middle, "low": min(seconds), "high": max(seconds)}


def _ours_first(column: pd.Series[Any]) -> pd.Series[Any]:
    return column.map(list(PEERS).index) if column.name == "program" else column


SECONDS = ("mean_batch", "seconds_per_update", "low", "high")


def complete(timings: pd.DataFrame, problem: Problem) -> bool:
    """Whether a table read from a file is one of `measure_seconds` or `measure_powers` here."""
    of_powers = "round" in timings
    names = ("seconds_per_sample",) if of_powers else SECONDS
    if not {"program", "batch_size", *names, *(() if of_powers else ("c0", "c1"))} <= {*timings}:
        return False
    numbers = timings[list(names)]
    if not all(pd.api.types.is_numeric_dtype(kind) for kind in numbers.dtypes):
        return False
    sizes = power_batch_sizes(problem) if of_powers else measured_batch_sizes(problem)
    rounds = POWER_ROUNDS if of_powers else 1
    by_program = timings.groupby("program").batch_size
    return bool(
        (np.isfinite(numbers) & (numbers > 0)).to_numpy().all()
        and all(sorted(found) == sorted(sizes * rounds) for _, found in by_program)
    )


@contextmanager
def _measurement(problem: Problem, programs: Iterable[str]) -> Iterator[Measurement]:
    """Start the programs' processes; end them with the `with` block."""
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, problem)) for name in programs}
        yield Measurement(problem, workers)


def measure_seconds(problem: Problem, programs: Iterable[str] | None = None) -> pd.DataFrame:
    """Measure seconds per update at several batch sizes, of our engine of one run and of others.

    Each program is in a process of its own, all pinned to the same core, and takes turns with the
    others. It is timed only after it has trained to the same parameters as ours, to rounding, from
    the same start and order, with plain SGD in float32; otherwise it is left out and the reason
    told. Compilation and each call's own costs (checks, evaluation) are not in the figures;
    gathering or shuffling a batch's rows is.

    Parameters
    ----------
    problem
        What to train on.
    programs
        Of `bench.speed.peers.PEERS`; None for all of studies that are installed. Ours is always
        measured.

    Returns
    -------
    DataFrame
        A row per program and batch size: `program, batch_size, mean_batch` (whole batches only, so
        it is the same number), `seconds_per_update` (median of 6 rounds), `low, high` (their least
        and greatest: a 97% interval), `c0, c1` (of c0 + c1 B, in seconds, fitted to the program's
        rows). In `attrs`: `left_out`, a reason for each program that was, and `start_seconds`, for
        each program, what the first calls took: compilation, where there is any.

    Raises
    ------
    InputError
        For a program that is unknown or not installed.
    RuntimeError
        Where our own engine fails.
    """
    with _measurement(problem, [OURS, *installed(programs)]) as measurement:
        return measurement.run()


def measure_powers(problem: Problem, programs: Iterable[str] | None = None) -> pd.DataFrame:
    """Measure seconds per sample at powers of two and beside them, as `measure_seconds` does.

    Parameters
    ----------
    problem
        What to train on: batch sizes above half of its training samples are left out.
    programs
        As of `measure_seconds`.

    Returns
    -------
    DataFrame
        A row per program, batch size (31, 32, 33, 64, 100, 127, 128) and round: `program,
        batch_size, round` (0 to 8), `seconds_per_sample`; no rows where no batch size is small
        enough. In `attrs`: `left_out`, a reason for each program that was.

    Raises
    ------
    InputError
        For a program that is unknown or not installed.
    RuntimeError
        Where our own engine fails.
    """
    names = [OURS, *installed(programs)] if power_batch_sizes(problem) else []
    with _measurement(problem, names) as measurement:
        return measurement.run_powers()
