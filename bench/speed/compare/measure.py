"""Time two sides in turns: pairs of fresh processes, interleaved blocks, planned looks."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from bench.experiments.progress import Reporter, stage
from bench.speed.compare import quality
from bench.speed.compare.judge import Row, judge, looks, settled
from bench.speed.compare.sides import Side
from bench.speed.process import EndedError, Process, measuring_core

BASE, HEAD = "BASE", "HEAD"
# Turns of a block: a steady drift hits both sides alike, whichever comes first
ORDERS = ((BASE, HEAD, HEAD, BASE), (HEAD, BASE, BASE, HEAD))
PAIR_SECONDS = 10.0  # of the budget for a pair of processes, with its start
PAIRS = (5, 30)
# A turn takes about so long: the shorter, the more alike are the moments of a block's four turns.
# On a machine whose speed jumped by 1.4 many times a second, pairs of processes differed by 1.1%
# with turns of 3 ms, and by 5% with 12 ms.
TURN_SECONDS = 3e-3
LEAST_BLOCKS = 4  # of each benchmark in each pair of processes


class SideError(RuntimeError):
    """A side failed: an error of the comparison, never a verdict."""


class FailedError(SideError):
    """A side's kernels raised an error; its process goes on."""


class LackingError(Exception):
    """A side has no such function, rule or argument."""


class SideProcess(Process):
    """A side in a process of its own, with its own compiled code."""

    def __init__(self, name: str, side: Side) -> None:
        self.name, self.side = name, side
        super().__init__(
            ["bench.speed.compare.child", str(side.folder)],
            environment={"XDG_CACHE_HOME": str(side.folder)},
        )

    def __enter__(self) -> SideProcess:
        return self

    def ask(self, request: str, *arguments: object) -> Any:
        """Return what a method of `bench.speed.compare.child.Child` gives there.

        Raises
        ------
        LackingError
            Where the side's kernels have no such thing.
        SideError
            Where the side fails, or its process ends.
        """
        try:
            self.send((request, arguments))
            outcome, answer = self.receive()
        except EndedError as error:
            outcome, answer = "ended", str(error)
        if outcome == "lacking":
            raise LackingError(answer)
        if outcome != "done":
            kind = FailedError if outcome == "failed" else SideError
            raise kind(f"{self.name} ({self.side.label}), {_told(request, arguments)}: {answer}")
        return answer


def _told(request: str, arguments: Sequence[object]) -> str:
    return f"{request} {arguments[0]}" if arguments else request


@dataclass(frozen=True)
class Times:
    """Seconds of a call in one interleaved block of one benchmark: the mean of two turns a side."""

    pair: int
    block: int
    benchmark: str
    base: float
    head: float


@dataclass
class Measured:
    """What was measured so far.

    Attributes
    ----------
    times
        All blocks, in the order of time.
    rows
        The verdicts, by benchmark: of the last look, or of that after which it was left alone.
    lacking
        For each benchmark that one side lacks: the side that has it ("" for none), and why.
    pairs
        Planned pairs of processes.
    """

    times: list[Times] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)
    lacking: dict[str, tuple[str, str]] = field(default_factory=dict)
    pairs: int = 0

    def frame(self) -> pd.DataFrame:
        """The blocks as a frame: `pair, block, benchmark, base, head`."""
        return pd.DataFrame([vars(one) for one in self.times], columns=[*Times.__annotations__])


def planned_pairs(budget: float) -> int:
    """Number of pairs of processes in so many seconds."""
    return int(np.clip(round(budget / PAIR_SECONDS), *PAIRS))


def compile_sides(
    sides: Mapping[str, Side], benchmarks: Sequence[str], measured: Measured, progress: Reporter
) -> None:
    """Compile all benchmarks on both sides, a process a core; note what a side lacks.

    Raises
    ------
    SideError
        Where a side fails.
    """
    tasks = [(name, benchmark) for benchmark in benchmarks for name in sides]
    if sides[BASE].content == sides[HEAD].content:  # what one compiles, the other finds
        tasks = [(BASE, benchmark) for benchmark in benchmarks]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

    started: list[SideProcess] = []

    def compile_one(task: tuple[str, str]) -> str:
        name, benchmark = task
        with SideProcess(name, sides[name]) as process:
            started.append(process)
            try:
                process.ask("prepare", benchmark)
            except LackingError as error:
                return str(error)
            except FailedError as error:
                if name == HEAD:
                    raise
                return str(error)  # BASE cannot do it: an error that HEAD has not, or a refusal
        return ""

    lacking: dict[str, dict[str, str]] = {}
    with (
        stage(progress, "compiling", len(tasks), len(tasks)),
        ThreadPoolExecutor(cores) as pool,
    ):
        try:
            for (name, benchmark), why in zip(tasks, pool.map(compile_one, tasks), strict=True):
                progress.advance(1)
                if why:
                    lacking.setdefault(benchmark, {})[name] = why
        except BaseException:  # Ctrl-C above all: nothing goes on
            pool.shutdown(wait=False, cancel_futures=True)
            for process in started:
                process.kill()
            raise
    for benchmark, by_side in lacking.items():
        (having,) = [name for name in sides if name not in by_side] or [""]
        measured.lacking[benchmark] = having, "; ".join(by_side.values())


def learn(sides: Mapping[str, Side], progress: Reporter, *, accept_different: bool) -> quality.Gate:
    """Pass both sides through the quality gate.

    Raises
    ------
    SideError
        Where a side fails.
    """
    names = quality.names()
    with (
        stage(progress, "computing and learning", len(names), len(names)),
        SideProcess(BASE, sides[BASE]) as base,
        SideProcess(HEAD, sides[HEAD]) as head,
    ):
        gate = quality.gate(
            base, head, accept_different=accept_different, tell=lambda _: progress.advance(1)
        )
    for row in gate.failed:
        raise SideError(f"{row.name}: {row.note}")
    return gate


def measure(
    sides: Mapping[str, Side],
    benchmarks: Sequence[str],
    measured: Measured,
    progress: Reporter,
    *,
    budget: float,
    tolerance: float,
) -> None:
    """Time the benchmarks that both sides have, and judge them at the planned looks.

    Parameters
    ----------
    sides
        BASE and HEAD, compiled.
    benchmarks
        Names.
    measured
        Is filled step by step: after an interruption it has what was measured until then.
    progress
        Is told how far it is.
    budget
        Seconds of all pairs of processes, with their starts. Every benchmark gets 4 blocks in each
        pair even where that takes longer.
    tolerance
        As of `judge`.

    Raises
    ------
    SideError
        Where a side fails.
    """
    names = [name for name in benchmarks if name not in measured.lacking]
    measured.pairs = planned_pairs(budget)
    planned, rng, start = looks(measured.pairs), np.random.default_rng(), time.monotonic()
    open_names = list(names)
    with stage(progress, "timing in turns", measured.pairs, measured.pairs):
        for pair in range(measured.pairs):
            if not open_names:
                break
            # The end is planned too: benchmarks that are settled leave their time to the others
            until = start + budget * (pair + 1) / measured.pairs
            with _processes(sides, open_names) as processes:
                measured.times += _blocks(pair, open_names, processes, until, rng)
            progress.advance(1)
            if (level := planned.get(pair + 1)) is not None:
                rows = _judged(measured, open_names, tolerance, level, len(names))
                measured.rows |= rows
                open_names = [n for n in open_names if not settled(rows[n], tolerance)]


def _judged(
    measured: Measured, names: Sequence[str], tolerance: float, level: float, family: int
) -> dict[str, Row]:
    frame, found = measured.frame(), {}
    for name in names:
        pairs = [rows for _, rows in frame[frame["benchmark"] == name].groupby("pair")]
        base, head = ([rows[side].to_numpy() for rows in pairs] for side in ("base", "head"))
        found[name] = judge(name, base, head, tolerance=tolerance, level=level, family=family)
    return found


@contextmanager
def _processes(sides: Mapping[str, Side], names: Sequence[str]) -> Iterator[dict[str, SideProcess]]:
    """Start a process a side, both at once, ready for the benchmarks and then on one core."""
    with (
        ThreadPoolExecutor(2) as pool,  # outermost: its threads end with the processes
        SideProcess(BASE, sides[BASE]) as base,
        SideProcess(HEAD, sides[HEAD]) as head,
    ):

        def get_ready(process: SideProcess) -> None:
            for name in names:
                process.ask("prepare", name)
            process.ask("pin", measuring_core())

        list(pool.map(get_ready, (base, head)))
        yield {BASE: base, HEAD: head}


def _blocks(
    pair: int,
    names: Sequence[str],
    processes: Mapping[str, SideProcess],
    until: float,
    rng: np.random.Generator,
) -> list[Times]:
    """Blocks of all benchmarks in random order, again and again until the time is over."""
    calls = {name: _calls(name, processes) for name in names}
    times: list[Times] = []
    block = 0
    while block < LEAST_BLOCKS or time.monotonic() < until:
        for name in rng.permutation(np.array(names)).tolist():
            turns: dict[str, list[float]] = {BASE: [], HEAD: []}
            for side in ORDERS[rng.integers(2)]:
                turns[side].append(processes[side].ask("turn", name, calls[name]))
            base, head = (math.sqrt(one * other) for one, other in (turns[BASE], turns[HEAD]))
            times.append(Times(pair, block, name, base, head))
        block += 1
    return times


def _calls(name: str, processes: Mapping[str, SideProcess]) -> int:
    """Calls of a turn, the same on both sides; each side is warm then."""
    seconds = max(cast(float, process.ask("turn", name, 1)) for process in processes.values())
    return max(1, round(TURN_SECONDS / seconds))
