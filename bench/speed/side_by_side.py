"""Programs side by side: the same training in each, checked to end alike, timed in turns."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from bench.errors import InputError
from bench.experiments.progress import Reporter, stage
from bench.problems import load_problem
from bench.speed.flops import step_flops
from bench.speed.peers import OURS, PEERS, CannotDoError, Params, Work
from bench.speed.seconds import AGREEMENT, FailedError, Worker, distance, installed, prepare_all
from bench.speed.subject import Subject
from kernels import Network, init_params
from kernels.reference import train_reference

ROUNDS = 9  # the second least and the second greatest enclose the median with 96%
ROUNDS_ALL_CORES = 3
MOST_ROUNDS = 10_000
ONE, ALL = "one", "all"  # cores
SGEMM_SIZE = 768
# Of about what a program takes at a batch size, to tell beforehand: its start, and a round
START_SECONDS, ROUND_SECONDS, PROCESS_SECONDS = {"PyTorch compiled": 4.0, "JAX": 1.5}, 0.06, 2.0
CHECKED_SAMPLES = 128  # of a batch, at most, where a user's file is held against the reference


@dataclass(frozen=True)
class Case:
    """What is trained in all programs, in words and as a subject, and at which batch sizes."""

    what: str
    data: str
    make: Callable[[], Subject]
    batch_sizes: tuple[int | str, ...]
    runs: int = 1


def digits() -> Subject:
    """All 1797 digits, training and test rows: speed asks for none held out."""
    problem = load_problem("digits")
    X = np.concatenate([problem.X_train, problem.X_test])
    y = np.concatenate([problem.y_train, problem.y_test])
    return Subject(problem.network, _start(problem.network), X, y)


def wide() -> Subject:
    """A network for images of 28 x 28 pixels, on 2048 rows of noise: speed does not mind."""
    rng = np.random.default_rng(0)
    network = Network((784, 128, 10), output="softmax", loss="ce")
    X = rng.standard_normal((2048, 784), dtype=np.float32)
    return Subject(network, _start(network), X, rng.integers(0, 10, len(X)))


def blocks() -> Subject:
    """16 runs on the digits at once, from the same start, with 16 learning rates."""
    one = digits()
    rates = np.geomspace(1e-3, 1e-2, 16).astype(np.float32)
    return Subject(one.network, np.tile(one.params, (16, 1)), one.X, one.y, rates)


def xor() -> Subject:
    """1024 networks that learn XOR: 64 starts at each of 16 learning rates."""
    problem = load_problem("notes")
    starts = init_params(problem.network, seed=0, size=64, dtype=np.float32)
    rates = np.repeat(np.geomspace(1e-2, 1, 16), 64).astype(np.float32)
    params = np.tile(np.asarray(starts, np.float32), (16, 1))
    return Subject(problem.network, params, problem.X_train, problem.y_train, rates)


def _start(network: Network) -> Params:
    return np.asarray(init_params(network, seed=0, dtype=np.float32), np.float32)


CASES = {
    "digits": Case("one run of 64-32-10", "1,797 digits", digits, (1, 8, 32, 128, "full")),
    "wide": Case("one run of 784-128-10", "2,048 rows of noise", wide, (1, 8, 32, 128, 512)),
    "blocks": Case("16 runs of 64-32-10", "1,797 digits", blocks, (1, 8, 32, 128, "full"), 16),
    "xor": Case("1,024 runs of 2-2-1", "XOR", xor, (1, 4), 1024),
}


@dataclass(frozen=True)
class Plan:
    """What to time.

    Parameters
    ----------
    cases
        Of CASES; none for all.
    batch_sizes
        Numbers, and "full"; None for each case's own. What exceeds a case's samples is left out.
    rounds
        Of each program at each batch size on one core.
    programs
        Of PEERS, besides ours; None for all that are installed.
    own
        Files of the user's.

    Raises
    ------
    InputError
        For a name that is unknown, a program that is not installed, a number below 1, a file that
        is not there.
    """

    cases: Sequence[str] = ()
    batch_sizes: Sequence[int | str] | None = None
    rounds: int = ROUNDS
    programs: Sequence[str] | None = None
    own: Sequence[Path] = ()

    def __post_init__(self) -> None:
        if unknown := [name for name in self.cases if name not in CASES]:
            raise InputError(f"--case: {unknown[0]!r} is none of {', '.join(CASES)}")
        if self.rounds < 1:
            raise InputError(f"--rounds: measure at least 1, got {self.rounds}")
        if self.rounds > MOST_ROUNDS:
            raise InputError(f"--rounds: measure at most {MOST_ROUNDS:,}, got {self.rounds:,}")
        for size in self.batch_sizes or ():
            if size != "full" and (not isinstance(size, int) or size < 1):
                raise InputError(f"--batch-sizes: 1 or more, or full, got {size!r}")
        own_programs(self.own)
        self.peers()

    def case_names(self) -> list[str]:
        """Cases to time, in the order of CASES."""
        return [name for name in CASES if name in self.cases or not self.cases]

    def peers(self) -> list[str]:
        """Programs besides ours and the user's."""
        if self.programs is None:
            return [name for name, peer in PEERS.items() if peer.installed and name != OURS]
        return installed(self.programs)

    def all_programs(self) -> dict[str, str]:
        """What each program is for a worker, by its name: ours first, the user's last."""
        return {name: name for name in (OURS, *self.peers())} | own_programs(self.own)

    def sizes(self, case: str, n: int) -> list[int]:
        """Batch sizes of a case of n samples, ascending; none where all given ones are larger."""
        given = CASES[case].batch_sizes if self.batch_sizes is None else self.batch_sizes
        numbers = {n if size == "full" else int(size) for size in given}
        return sorted(size for size in numbers if size <= n)

    def subjects(self) -> dict[str, Subject]:
        """What is trained, by case."""
        return {name: CASES[name].make() for name in self.case_names()}

    def cells(self, subjects: Mapping[str, Subject]) -> list[tuple[str, int]]:
        """Cases and batch sizes to compare.

        Raises
        ------
        InputError
            Where no case has one of the batch sizes.
        """
        found = [(name, b) for name, one in subjects.items() for b in self.sizes(name, one.n)]
        if not found:
            raise InputError("--batch-sizes: all of them exceed the samples, take smaller ones")
        return found

    def foreseen(self, cores: str, n_cells: int) -> float:
        """About how long all of it takes, in seconds."""
        return sum(
            PROCESS_SECONDS + n_cells * self.seconds(cores, program)
            for program in self.all_programs()
        )

    def seconds(self, cores: str, program: str) -> float:
        """About how long a program takes at a batch size."""
        rounds = self.rounds if cores == ONE else ROUNDS_ALL_CORES
        return START_SECONDS.get(program, 0.3) + rounds * ROUND_SECONDS


def own_programs(paths: Sequence[Path]) -> dict[str, str]:
    """Absolute paths of the user's files by their names, without the ending.

    Raises
    ------
    InputError
        For a file that is not there or no Python file, and for a name that is taken.
    """
    found: dict[str, str] = {}
    for path in paths:
        if not path.is_file():
            raise InputError(f"--peer {path}: there is no such file")
        if path.suffix != ".py":
            raise InputError(f"--peer {path}: write a Python file, its name ending in .py")
        if path.stem in PEERS or path.stem in found:
            raise InputError(f"--peer {path}: another program has that name, rename the file")
        found[path.stem] = str(path.resolve())
    return found


@dataclass
class Measured:
    """What was measured so far.

    Attributes
    ----------
    rounds
        A row per case, number of cores ("one" or "all"), batch size, program and round: `case,
        cores, batch_size, program, round, seconds` (per sample and run), `peak, sgemm` (operations
        per second, measured in that round; NaN on all cores), `flops` (per sample and run),
        `start_seconds`.
    left_out
        Why, by case, cores, batch size (0 for all of them) and program.
    about
        Version and arithmetic by cores and program.
    """

    rounds: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[tuple[str, str, int, str], str] = field(default_factory=dict)
    about: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """The rounds as a frame."""
        return pd.DataFrame(self.rounds)


def settings() -> list[str]:
    """On one core, and, where this process may use more, on all."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return [ONE, ALL] if len(allowed or range(os.cpu_count() or 1)) > 1 else [ONE]


def measure(
    plan: Plan, subjects: Mapping[str, Subject], measured: Measured, progress: Reporter
) -> None:
    """Time all programs on one core and on all.

    Parameters
    ----------
    plan, subjects
        What to time, and `plan.subjects()`.
    measured
        Holds why programs are left out of whole cases (`check_own`). It is filled step by step:
        after an interruption it has what was measured until then.
    progress
        Is told how far it is.

    Raises
    ------
    InputError
        Where no case has one of the batch sizes.
    RuntimeError
        Where our own engine fails.
    """
    cells, programs = plan.cells(subjects), plan.all_programs()
    for cores in settings():
        name, foreseen = f"on {cores} core{'s' * (cores == ALL)}", plan.foreseen(cores, len(cells))
        with (
            stage(progress, name, len(cells) * len(programs), foreseen),
            _workers(programs, next(iter(subjects.values())), cores) as workers,
        ):
            for case, subject in subjects.items():
                for worker in workers.values():
                    _take(worker, subject)
                for size in (size for name, size in cells if name == case):
                    cell = Cell(case, cores, size, subject)
                    _measure_cell(cell, plan, workers, measured, progress)


@contextmanager
def _workers(
    programs: Mapping[str, str], subject: Subject, cores: str
) -> Iterator[dict[str, Worker]]:
    """Start the programs' processes; end them with the `with` block."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Worker(program, subject, all_cores=cores == ALL))
            for name, program in programs.items()
        }


def _take(worker: Worker, subject: Subject) -> None:
    """Give a process other work; one that has ended says so when it is asked to train."""
    try:
        worker.ask("take", subject)
    except CannotDoError:
        return


def _about(worker: Worker) -> dict[str, str]:
    """Version and arithmetic of a program that has trained."""
    return cast(dict[str, str], worker.ask("about"))


@dataclass(frozen=True)
class Cell:
    """What is compared with each other: one case at one batch size, on one core or on all."""

    case: str
    cores: str
    batch_size: int
    subject: Subject


def _measure_cell(
    cell: Cell,
    plan: Plan,
    workers: Mapping[str, Worker],
    measured: Measured,
    progress: Reporter,
) -> None:
    """Let all programs train alike, then time them in turns; left-out ones are told."""
    size = cell.batch_size
    known = {p for p in workers for k in (0, size) if (cell.case, ONE, k, p) in measured.left_out}
    racing = {program: worker for program, worker in workers.items() if program not in known}
    starts, left_out = prepare_all(racing, size, cell.subject.params)
    racing = {program: racing[program] for program in starts}
    _each(racing, left_out, lambda worker: worker.ask("lengthen", size))
    flops = step_flops(cell.subject.network)
    about = {"case": cell.case, "cores": cell.cores, "batch_size": size, "flops": flops}
    rows: list[dict[str, Any]] = []
    for number in range(plan.rounds if cell.cores == ONE else ROUNDS_ALL_CORES):
        about |= {"round": number, **_yardsticks(workers[OURS], cell.cores)}
        for program, seconds in _each(racing, left_out, lambda one: one.measure(size)).items():
            per_sample = seconds / (size * cell.subject.n_runs)
            start = {"program": program, "start_seconds": starts[program]}
            rows.append({**about, **start, "seconds": per_sample})
    measured.rounds += [row for row in rows if row["program"] in racing]
    measured.about |= {(cell.cores, p): _about(worker) for p, worker in racing.items()}
    for program, reason in left_out.items():
        measured.left_out[cell.case, cell.cores, size, program] = str(reason)
    for program in workers:
        progress.advance(plan.seconds(cell.cores, program))


def _each(
    racing: dict[str, Worker],
    left_out: dict[str, CannotDoError],
    ask: Callable[[Worker], Any],
) -> dict[str, Any]:
    """Ask each program in turn; one that cannot do it is out of the race."""
    found = {}
    for program, worker in list(racing.items()):
        try:
            found[program] = ask(worker)
        except CannotDoError as reason:
            if program == OURS:
                raise RuntimeError(f"our own engine: {reason}") from None
            left_out[program] = reason
            del racing[program]
    return found


def _yardsticks(worker: Worker, cores: str) -> dict[str, float]:
    """The fma peak and sgemm of this moment; unknown on all cores."""
    if cores == ALL:
        return {"peak": math.nan, "sgemm": math.nan}
    peak, sgemm = cast(tuple[float, float], worker.ask("yardsticks", SGEMM_SIZE))
    return {"peak": peak, "sgemm": sgemm}


# A user's own file


def check_own(plan: Plan, subjects: Mapping[str, Subject], measured: Measured) -> None:
    """Hold the user's files against the reference, before anything is timed.

    On batches of at most 128 samples, for the reference is slow; whole batches are compared with
    our engine when they are timed.

    Raises
    ------
    InputError
        Where a file fails.
    """
    for name, path in own_programs(plan.own).items():
        with Worker(path, next(iter(subjects.values()))) as worker:
            for case, size in plan.cells(subjects):
                if (case, ONE, 0, name) in measured.left_out:
                    continue
                batch = min(size, CHECKED_SAMPLES)
                work = subjects[case].work(batch, max(1, CHECKED_SAMPLES // batch))
                try:
                    apart = from_reference(cast(Params, worker.ask("train", work)), work)
                    if not apart < AGREEMENT:
                        raise CannotDoError(
                            f"batch size {size}: ends at other parameters than the reference, "
                            f"{apart:.1g} of the way off"
                        )
                except FailedError as reason:
                    raise InputError(f"--peer {Path(path).name}: {reason}") from None
                except CannotDoError as reason:
                    measured.left_out[case, ONE, 0, name] = str(reason)


def from_reference(params: Params, work: Work) -> float:
    """How far parameters are from the reference's after a pass, as `distance` tells it.

    Of many runs the first and the last are looked at, the farther counts.
    """
    found, starts = np.atleast_2d(params), np.atleast_2d(work.params)
    rates = np.broadcast_to(work.learning_rate, len(starts))
    apart = []
    for run in dict.fromkeys((0, len(starts) - 1)):
        reference = train_reference(
            work.network,
            starts[run],
            work.X,
            work.y,
            batch_size="full",  # a row of the order
            learning_rate=float(rates[run]),
            order=work.order,
        )
        apart.append(distance(found[run], reference.params.astype(np.float32), starts[run]))
    return max(apart, key=lambda value: math.inf if math.isnan(value) else value)
