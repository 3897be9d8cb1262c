"""Simulate, count, tell: the table of `batchbench calibrate`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from io import StringIO
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from bench import csv_files
from bench.analysis.intervals import VERDICTS, proportion_interval
from bench.calibration import equal_arms
from bench.calibration.registry import CASES
from bench.errors import InputError
from bench.experiments.crew import POLL_SECONDS, asked_to_stop
from bench.experiments.files import put
from bench.experiments.progress import Reporter, Silent, stage

Floats = NDArray[np.float64]

SIMULATIONS = 2000
MOST_SIMULATIONS, MOST_WORKERS = 1_000_000, 1024
ENOUGH, NOMINAL = 0.93, 0.95  # coverage that is asked for, and that is stated
EQUAL_ARMS = "equal arms"
PER_REPETITION = 10  # simulations of an interval for each repetition of equal arms
ALLOWED = 0.08  # share of these repetitions that may give a verdict
ACQUITTED = ("no material difference", "undecided")
CHUNK = 50  # simulations at once


class Task(NamedTuple):
    """Some simulations of a case at a size, or some repetitions of equal arms."""

    name: str
    size: int
    numbers: range


class Calibration(NamedTuple):
    """What was found.

    Parameters
    ----------
    coverage
        A row per interval and size: `name, size, unit, simulations, coverage, low, high` (of the
        coverage, Clopper-Pearson), `beyond_low, beyond_high` (shares in which the truth lies
        below and above the interval), `median_width, width ("factor"|"difference"), truth, remark`.
    equal_arms
        A row per measure: `measure, seeds, repetitions`, a count for each verdict, `wrong` (the
        verdicts that chance alone made), `allowed`.
    """

    coverage: pd.DataFrame
    equal_arms: pd.DataFrame

    @property
    def passed(self) -> bool:
        """Whether no interval is significantly short, and equal arms are seldom told apart."""
        short = (self.coverage.get("remark", pd.Series(dtype=str)) == "short").any()
        told = self.equal_arms
        return not short and (told.empty or bool((told.wrong <= told.allowed).all()))


def calibrate(
    simulations: int = SIMULATIONS,
    only: str = "",
    workers: int | None = None,
    progress: Reporter | None = None,
) -> Calibration:
    """Simulate what studies report, with known truth, and count how often intervals hold it.

    Parameters
    ----------
    simulations
        Of each interval at each size; a tenth as many repetitions of equal arms.
    only
        Part of the names to simulate; "" for all.
    workers
        Processes; None for one a core. Results do not depend on it.
    progress
        Told how far it is.

    Raises
    ------
    InputError
        Where no name holds `only`, or a number is too small.
    """
    if not 1 <= simulations <= MOST_SIMULATIONS:
        raise InputError(f"simulations: give 1 to {MOST_SIMULATIONS:,}, got {simulations:,}")
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise InputError(f"workers: give 1 to {MOST_WORKERS:,}, got {workers:,}")
    names = [name for name in [*CASES, EQUAL_ARMS] if only.lower() in name.lower()]
    if not names:
        raise InputError(
            f"only: no name holds {only!r}; there are {'; '.join([*CASES, EQUAL_ARMS])}"
        )
    tasks = list(_tasks(names, simulations))
    found: dict[tuple[str, int], list[Any]] = {}
    for task, results in _run(tasks, workers or os.cpu_count() or 1, progress or Silent()):
        found.setdefault((task.name, task.size), []).extend(results)
    rows = [
        coverage_row(name, size, np.array(found[name, size]))
        for name in names
        if name in CASES
        for size in CASES[name].sizes
    ]
    verdicts = found.get((EQUAL_ARMS, equal_arms.SEEDS), [])
    return Calibration(pd.DataFrame(rows), equal_arms_table(verdicts))


def _tasks(names: Sequence[str], simulations: int) -> Iterator[Task]:
    """All tasks, each round of them the same mixture of cheap and dear: the time left is even."""
    for start in range(0, simulations, CHUNK):
        numbers = range(start, min(start + CHUNK, simulations))
        for name in names:
            if name == EQUAL_ARMS:
                repetitions = range(-(-start // PER_REPETITION), -(-numbers.stop // PER_REPETITION))
                yield Task(name, equal_arms.SEEDS, repetitions)
            else:
                yield from (Task(name, size, numbers) for size in CASES[name].sizes)


def simulate(task: Task) -> list[Any]:
    """Bounds (low, high) of each simulation, or the verdicts of each repetition."""
    if task.name == EQUAL_ARMS:
        return [equal_arms.repetition(number) for number in task.numbers]
    case = CASES[task.name]
    estimates = (case.estimate(task.name, task.size, number) for number in task.numbers)
    return [(estimate.low, estimate.high) for estimate in estimates]


def _run(
    tasks: Sequence[Task], workers: int, progress: Reporter
) -> Iterable[tuple[Task, list[Any]]]:
    """Each task with its results, in any order."""
    with stage(progress, "Simulating", len(tasks), len(tasks)):
        if workers > 1:
            return _in_processes(tasks, workers, progress)
        found = []
        for task in tasks:
            found.append((task, simulate(task)))
            progress.advance(1)
        return found


def _in_processes(
    tasks: Sequence[Task], workers: int, progress: Reporter
) -> list[tuple[Task, list[Any]]]:
    """The same with many processes; Ctrl-C and SIGTERM let the tasks in flight finish."""
    found, waiting = [], iter(tasks)
    with (
        asked_to_stop() as stop,
        ProcessPoolExecutor(workers, get_context("spawn"), _start_worker) as pool,
    ):
        with _signals_held():  # which the processes that start now inherit
            running = {pool.submit(simulate, task): task for task in islice(waiting, 2 * workers)}
        while running and not stop.is_set():
            done, _ = wait(running, POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                found.append((running.pop(future), future.result()))
                progress.advance(1)
                running |= {pool.submit(simulate, task): task for task in islice(waiting, 1)}
        for future in running:
            future.cancel()
    if stop.is_set():
        raise KeyboardInterrupt
    return found


@contextmanager
def _signals_held() -> Iterator[None]:
    """Put off Ctrl-C, where the system can: it is for this process alone to handle."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and one thread to each process; end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def coverage_row(name: str, size: int, bounds: Floats) -> dict[str, Any]:
    """The row of `Calibration.coverage` of a case at a size, from its bounds (simulations, 2)."""
    case, (low, high) = CASES[name], bounds.T
    below, above = case.true_value < low, case.true_value > high
    covered = int(((low <= case.true_value) & (case.true_value <= high)).sum())
    share = proportion_interval(covered, len(bounds))
    with np.errstate(divide="ignore", invalid="ignore"):
        widths = high / low if case.ratio else high - low
    return {
        "name": name,
        "size": size,
        "unit": case.unit,
        "simulations": len(bounds),
        "coverage": share.value,
        "low": share.low,
        "high": share.high,
        "beyond_low": float(below.mean()),
        "beyond_high": float(above.mean()),
        "median_width": float(np.median(np.where(np.isnan(widths), np.inf, widths))),
        "width": "factor" if case.ratio else "difference",
        "truth": case.true_value,
        "remark": remark(share.low, share.high),
    }


def remark(low: float, high: float) -> str:
    """What the interval of a coverage says: "short", "conservative", or nothing."""
    if high < ENOUGH:
        return "short"
    return "conservative" if low > NOMINAL else ""


def equal_arms_table(verdicts: Sequence[dict[str, str]]) -> pd.DataFrame:
    """Return `Calibration.equal_arms` from the verdicts by measure of each repetition."""
    rows: list[dict[str, Any]] = []
    for measure in equal_arms.MEASURES if verdicts else ():
        counts = dict.fromkeys(VERDICTS, 0)
        for found in verdicts:
            counts[found[measure]] += 1
        wrong = sum(count for verdict, count in counts.items() if verdict not in ACQUITTED)
        about = {"measure": measure, "seeds": equal_arms.SEEDS, "repetitions": len(verdicts)}
        rows.append(about | counts | {"wrong": wrong, "allowed": int(ALLOWED * len(verdicts))})
    return pd.DataFrame(rows)


def write(found: Calibration, folder: Path) -> list[Path]:
    """Write coverage.csv and equal_arms.csv, those that have rows; return their paths.

    Raises
    ------
    InputError
        Where the folder cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in found._asdict().items():
            if len(table):
                path = folder / f"{name}.csv"
                text = StringIO()
                csv_files.write(table, text)
                put(path, text.getvalue().encode())
                paths.append(path)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    return paths


def show(found: Calibration, console: Console) -> None:
    """Print the tables."""
    if len(found.coverage):
        console.print(_coverage_shown(found.coverage))
    if len(found.equal_arms):
        console.print(_equal_arms_shown(found.equal_arms))


def _coverage_shown(coverage: pd.DataFrame) -> Table:
    """The table of coverage."""
    simulations = coverage.simulations.iloc[0]
    table = Table(title=f"Coverage of 95% intervals in {simulations:,} simulations")
    for name in ("interval", "data"):
        table.add_column(name)
    for name in ("covered", "its own interval", "median width"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in coverage.itertuples():
        width = f"{row.median_width:.3g}" if np.isfinite(row.median_width) else "open"
        factor = "x " if row.width == "factor" and width != "open" else ""
        table.add_row(
            row.name,
            f"{row.size} {row.unit}",
            f"{row.coverage:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            f"{factor}{width}",
            row.remark,
        )
    return table


def _equal_arms_shown(told: pd.DataFrame) -> Table:
    """The table of equal arms."""
    first = told.iloc[0]
    table = Table(
        title=f"Equal arms told apart in {first.repetitions} repetitions of {first.seeds} seeds"
    )
    table.add_column("measure")
    for name in (*VERDICTS, "wrong", "allowed"):
        table.add_column(name, justify="right")
    for row in told.to_dict("records"):
        counts = (str(row[name]) for name in (*VERDICTS, "wrong", "allowed"))
        table.add_row(row["measure"], *counts)
    return table
