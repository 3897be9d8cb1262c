"""Kernels under the roof: what this core can do at most, and what each way of training does of it.

Everything is measured on one core in one run: the fma peak, the bandwidth of each level of memory,
and the seconds per sample of each way of training at each batch size, in turns.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import InputError
from bench.experiments.progress import Reporter, stage
from bench.experiments.run import COMPILING
from bench.speed import cases, warm_up
from bench.speed.bandwidth import (
    Curve,
    best_curve,
    levels,
    measure_curve,
    read_caches,
    working_sets,
)
from bench.speed.cases import Case
from bench.speed.peak import fma_peak
from bench.speed.peers import OURS, PEERS, CannotDoError, Params, Run, Work
from bench.speed.process import measuring_core
from bench.speed.seconds import AGREEMENT, Timed, Worker, distance
from bench.speed.subject import LEARNING_RATE, Subject
from bench.speed.traffic import Roofs, Way, bound
from bench.speed.worker import Trainer
from kernels import train

NAME = "roofline"
LANES = cases.LANES
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, "full")
CASES, BOTH = ("digits", "wide"), "both"
OTHERS = ("NumPy", "JAX")
ROUNDS = 6  # the least and the greatest of 6 enclose the median with 97%
MOST_ROUNDS = 10_000
PEAK_SECONDS = 0.02
BLOCK_SAMPLES = 256
OUR_WAYS = tuple(Way(OURS, runs, ahead) for runs in (LANES, 1) for ahead in (True, False))
# About what a round of a way at a batch size takes, and its start: to tell beforehand
ROUND_SECONDS, START_SECONDS = 0.06, {OURS: 0.15, "NumPy": 0.4, "JAX": 1.2}


@dataclass(frozen=True)
class Engine:
    """Our engine as a program to be timed, with look-ahead or step by step."""

    look_ahead: bool

    def prepare(self, work: Work) -> Run:
        """Train with one call: its checks are in its time, evaluations of a single sample too."""

        def run(passes: int, _: bool) -> Params:
            result = train(
                work.network,
                work.params,
                work.X,
                work.y,
                batch_size=work.batch_size,
                learning_rate=work.learning_rate,
                epochs=passes,
                order=np.tile(work.order.ravel(), (passes, 1)),
                checkpoints=(),
                scored=(work.X[:1], work.y[:1]),
                look_ahead=self.look_ahead,
            )
            return np.asarray(result.params, dtype=np.float32)

        return run


class Block(Subject):
    """A subject of many runs, whose passes are shorter, for each sample is trained on by all."""

    def work(self, batch_size: int, updates: int | None = None) -> Work:
        """Return what is to be done: by default at least 2 updates, and about 256 samples."""
        return super().work(batch_size, updates or max(2, BLOCK_SAMPLES // batch_size))


@dataclass(frozen=True)
class Roofline:
    """What was measured.

    Parameters
    ----------
    roofs
        The fma peak, and the levels of memory.
    curve
        Bandwidth against working set, from which the levels are read.
    caches_told
        Whether the system tells the sizes of its caches.
    rows
        A row per case, way and batch size: `case, title, program, runs, look_ahead, batch_size,
        n_train, seconds, low, high` (per sample and run: median, least and greatest round),
        `flops` (per sample and run), `level` (that the weights live in), `intensity` (flops per
        byte from there), `speed` (flops per second), `roof, roof_speed` (the nearest), `share`
        (of that roof), `peak_share`.
    left_out
        Programs that were not measured to the end, and why.
    taken
        Share of the time that something else had the core while the bandwidth was measured.
    """

    roofs: Roofs
    curve: Curve
    caches_told: bool
    rows: pd.DataFrame
    left_out: dict[str, str]
    taken: float


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Parameters
    ----------
    case
        "digits" (64-32-10), "wide" (784-128-10), or "both".
    batch_sizes
        Numbers, and "full".
    rounds
        Of each way at each batch size.

    Raises
    ------
    InputError
        For a value that makes no sense.
    """

    case: str = BOTH
    batch_sizes: Sequence[int | str] = BATCH_SIZES
    rounds: int = ROUNDS

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"--rounds: measure at least 1, got {self.rounds}")
        if self.rounds > MOST_ROUNDS:
            raise InputError(f"--rounds: measure at most {MOST_ROUNDS:,}, got {self.rounds:,}")
        if self.case not in (*CASES, BOTH):
            raise InputError(f"--case: {self.case!r} is none of {', '.join((*CASES, BOTH))}")
        for size in self.batch_sizes:
            if size != "full" and (not isinstance(size, int) or size < 1):
                raise InputError(f"--batch-sizes: write numbers from 1 on, or full, got {size}")

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the cases."""
        return CASES if self.case == BOTH else (self.case,)

    def sizes(self, n: int) -> list[int]:
        """Batch sizes of n samples, ascending; those above n are the full batch."""
        return sorted({n if size == "full" else min(int(size), n) for size in self.batch_sizes})

    def seconds(self, programs: Sequence[str]) -> float:
        """About how long it takes, whatever the machine: what is short is repeated."""
        cells = len(self.cases) * len(self.batch_sizes)
        ways = [*OUR_WAYS, *map(Way, programs)]
        starts = sum(START_SECONDS[way.program] for way in ways)
        return 5 + cells * (starts + len(ways) * self.rounds * ROUND_SECONDS)


def subject_of(case: Case, runs: int = 1) -> Subject:
    """Return what is trained in a case: one run, or a block of runs from the same start."""
    if runs == 1:
        return Subject(case.network, case.params, case.X, case.y)
    params = np.tile(case.params, (runs, 1))
    return Block(case.network, params, case.X, case.y, np.full(runs, LEARNING_RATE, np.float32))


def programs() -> list[str]:
    """Names of the other programs that are installed."""
    return [name for name in OTHERS if name in PEERS and PEERS[name].installed]


@contextmanager
def pinned() -> Iterator[None]:
    """Keep this process on the core that workers are measured on, where the system lets it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before, core = os.sched_getaffinity(0), measuring_core()
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(plan: Plan, progress: Reporter) -> Roofline:
    """Measure roofs and ways of training.

    Raises
    ------
    RuntimeError
        Where our own engine, without look-ahead or as a block, ends at other parameters.
    """
    compile_ways(plan.cases[0], progress)
    caches = read_caches()
    sets = working_sets(caches)
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    with pinned():
        curves, peaks = [watched_curve(sets)], [fma_peak(PEAK_SECONDS)]
        for name in plan.cases:
            sizes = plan.sizes(cases.case(name).n)
            with (
                timed_ways(name, programs()) as ways,
                stage(progress, name, len(sizes), len(sizes)),
            ):
                for size in sizes:
                    rows += measure_size(name, size, ways, plan.rounds, left_out)
                    peaks.append(fma_peak(PEAK_SECONDS))
                    progress.advance(1)
            curves.append(watched_curve(sets))
    curve = best_curve([one for one, _ in curves])
    taken = float(np.mean([share for _, share in curves]))
    roofs = Roofs(float(np.median(peaks)), tuple(levels(curve, caches)))
    return Roofline(roofs, curve, bool(caches), judged(pd.DataFrame(rows), roofs), left_out, taken)


def watched_curve(sets: Sequence[int]) -> tuple[Curve, float]:
    """A curve, and the share of the time that something else had this process's core meanwhile."""
    began, busy = time.perf_counter(), time.process_time()
    curve = measure_curve(sets)
    own = (time.process_time() - busy) / (time.perf_counter() - began)
    return curve, max(0.0, 1.0 - own)


def compile_ways(case: str, progress: Reporter) -> None:
    """Compile both engines before anything is timed, and say so where they are not kept yet."""
    if warm_up.nothing_compiled():
        progress.say(COMPILING)
    for runs in (LANES, 1):
        for size in warm_up.BATCH_SIZES:
            Engine(look_ahead=True).prepare(subject_of(cases.case(case), runs).work(size))(1, False)


@contextmanager
def timed_ways(case: str, others: Sequence[str]) -> Iterator[dict[Way, Timed]]:
    """Our engine in this process, and the other programs' processes, which end with the block."""
    subjects = {runs: subject_of(cases.case(case), runs) for runs in (1, LANES)}
    with ExitStack() as stack:
        ways: dict[Way, Timed] = {
            way: Trainer(Engine(way.look_ahead), subjects[way.runs]) for way in OUR_WAYS
        }
        yield ways | {Way(p): stack.enter_context(Worker(p, subjects[1])) for p in others}


def measure_size(
    case: str, size: int, ways: dict[Way, Timed], rounds: int, left_out: dict[str, str]
) -> list[dict[str, Any]]:
    """Rows of one batch size, ways in turns; those that end at other parameters are left out."""
    about = cases.case(case)
    for way, timed in list(ways.items()):
        try:
            subject = subject_of(about, way.runs)
            expected = Engine(look_ahead=False).prepare(subject.work(size))(2, False)
            apart = distance(timed.prepare(size)[0], expected, subject.params)
            if not apart < AGREEMENT:
                raise CannotDoError(f"ends at other parameters: {apart:.1g} of the way off")
        except CannotDoError as reason:
            if way.program == OURS:
                raise RuntimeError(f"{way}, batch size {size}: {reason}") from None
            left_out[way.program] = f"{about.title}, batch size {size}: {reason}"
            del ways[way]
    found: dict[Way, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, timed in ways.items():
            found[way].append(timed.measure(size) / (size * way.runs))
    told = {"case": case, "title": about.title, "n_train": about.n, "batch_size": size}
    return [
        {**told, **way._asdict(), "seconds": float(np.median(seconds)), "low": min(seconds),
         "high": max(seconds)}
        for way, seconds in found.items()
    ]  # fmt: skip


def judged(rows: pd.DataFrame, roofs: Roofs) -> pd.DataFrame:
    """Rows with the roof of each, and its share of it: the columns from `flops` on."""
    networks = {name: cases.case(name).network for name in set(rows["case"])}
    found = []
    for row in rows.to_dict("records"):
        way = Way(row["program"], row["runs"], row["look_ahead"])
        near = bound(way, networks[row["case"]], row["batch_size"], roofs)
        speed = near.flops / row["seconds"]
        found.append({
            "flops": near.flops, "level": near.level, "intensity": near.intensity, "speed": speed,
            "roof": near.roof, "roof_speed": near.speed, "share": speed / near.speed,
            "peak_share": speed / roofs.peak,
        })  # fmt: skip
    return pd.concat([rows, pd.DataFrame(found)], axis=1)
