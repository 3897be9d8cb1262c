"""Timings and quality over time: one small file a run, in pytest-benchmark's own JSON format.

What that format has no place for stands under a key of its own, which pytest-benchmark's tools pass
over.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pytest_benchmark.utils import get_machine_id, safe_dumps

from bench.speed.metrics import Metric
from bench.speed.timings import Timing

if TYPE_CHECKING:
    import pytest

FOLDER = "history"
OURS, FORMAT = "batchbench", 1
NUMBER, WORSE = (int, float), ("higher", "lower")
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run of `pytest --benchmark`.

    Parameters
    ----------
    path
        Its file.
    time
        When it was stored, in UTC.
    commit, dirty
        Full hash, and whether there were uncommitted changes.
    fingerprint
        What the machine is told by, and what else moves timings (`bench.speed.machine`).
    timings, metrics
        What was measured.
    """

    path: Path
    time: datetime
    commit: str
    dirty: bool
    fingerprint: tuple[tuple[str, str], ...]
    timings: tuple[Timing, ...]
    metrics: tuple[Metric, ...]


def as_json(config: pytest.Config, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Return the run as pytest-benchmark would save it, and the quality beside it."""
    session: Any = config.pluginmanager.get_plugin("pytest-benchmark")
    commit = config.hook.pytest_benchmark_generate_commit_info(config=config)
    run: dict[str, Any] = config.hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=session.benchmarks,
        include_data=False,
        machine_info=session.get_machine_info(),
        commit_info=commit,
    )
    run[OURS] = {"format": FORMAT, "quality": [without_infinity(asdict(one)) for one in metrics]}
    return run


def without_infinity(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write infinity, which JSON does not know, as null."""
    return {
        name: None if isinstance(value, float) and math.isinf(value) else value
        for name, value in values.items()
    }


def save(folder: Path, run: dict[str, Any]) -> Path:
    """Write a run under the next number; the file is complete as soon as it has its name.

    The folder in between and the form of the name are those in which pytest-benchmark looks for
    runs: `--benchmark-compare` and its command line find them.
    """
    folder = folder / get_machine_id()
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name[:4]) for path in folder.glob("[0-9][0-9][0-9][0-9]_*.json")]
    when = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    dirty = "_uncommitted-changes" if run["commit_info"]["dirty"] else ""
    name = f"{max(numbers, default=0) + 1:04}_{run['commit_info']['id']}_{when}{dirty}.json"
    temporary = folder / f"{name}.{os.getpid()}.tmp"
    with temporary.open("w", encoding="ascii") as file:
        file.write(safe_dumps(run, ensure_ascii=True))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / name)
    return folder / name


def read(folder: Path) -> tuple[list[Run], list[str]]:
    """Read all runs below a folder, in the order in which they were stored.

    Returns
    -------
    runs
        Those of these benchmarks.
    notes
        A line for each file that is no such run: it is skipped and named.
    """
    runs, notes = [], []
    for path in sorted(folder.rglob("*.json")):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            why = not_ours(run)
            if not why:
                runs.append(_run(path, run))
        except DAMAGE as error:
            why = f"not a whole run of these benchmarks ({type(error).__name__})"
        if why:
            notes.append(f"skipped {path}: {why}")
    return sorted(runs, key=lambda run: (run.time, run.path)), notes


def not_ours(run: Any) -> str:
    """Why the content of a file is not read; "" where it is."""
    if not {"machine_info", "commit_info", "benchmarks"} <= run.keys():
        return "not a run of pytest-benchmark"
    if OURS in run:
        number = run[OURS]["format"]
        return "" if number == FORMAT else f"of another version (format {number}, not {FORMAT})"
    if any("relative_seconds" in b["extra_info"] for b in run["benchmarks"]):
        return ""  # saved by pytest-benchmark itself (`--benchmark-save`)
    if "fingerprint" in run["machine_info"]:
        return "of an older version, without the reference workload"
    return "a run of other benchmarks"


def _run(path: Path, run: dict[str, Any]) -> Run:
    """Return what a file holds."""
    time = datetime.fromisoformat(run["datetime"])
    own = run.get(OURS, {"quality": []})
    found = Run(
        path=path,
        time=time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC),
        commit=str(run["commit_info"]["id"]),
        dirty=bool(run["commit_info"]["dirty"]),
        fingerprint=_pairs(run["machine_info"]["fingerprint"]),
        timings=tuple(_timings(run["benchmarks"])),
        metrics=tuple(Metric(**_fields(Metric, metric)) for metric in own["quality"]),
    )
    for timing in found.timings:
        _check_timing(timing)
    for metric in found.metrics:
        _check_metric(metric)
    return found


def _check_timing(t: Timing) -> None:
    """Raise ValueError where it is none: what is not positive has no logarithm."""
    positive = (t.seconds, t.samples, t.flops, t.peak, t.first_call, t.reference)
    if not all(math.isfinite(x) and x > 0 for x in (*positive, t.relative_seconds)):
        raise ValueError("a timing is of positive numbers")
    if not _ascending(0.0, t.relative_low, t.relative_seconds, t.relative_high):
        raise ValueError("an interval holds its value")


def _check_metric(m: Metric) -> None:
    """Raise ValueError where it is none; infinity is a number here."""
    if m.n < 0 or m.worse not in WORSE:
        raise ValueError("a measure has a number of runs and a bad direction")
    if not _ascending(0.0, m.low, m.value, m.high):
        raise ValueError("an interval holds its value")


def _ascending(*numbers: float) -> bool:
    """Whether none is smaller than the one before, but for rounding; False with a NaN."""
    return all(a <= b or math.isclose(a, b) for a, b in pairwise(numbers))


def _pairs(fingerprint: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((str(key), str(value)) for key, value in fingerprint.items()))


def _timings(benchmarks: Sequence[Mapping[str, Any]]) -> Iterator[Timing]:
    """Return the timings that were stored with the benchmarks."""
    for benchmark in benchmarks:
        if "relative_seconds" in benchmark["extra_info"]:
            yield Timing(**_fields(Timing, benchmark["extra_info"]))


def _fields(kind: type[Timing] | type[Metric], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record, infinity where null is stored; TypeError for another type."""
    found = {}
    for name, wanted in get_type_hints(kind).items():
        value = math.inf if stored[name] is None else stored[name]
        if isinstance(value, bool) or not isinstance(value, NUMBER if wanted is float else wanted):
            raise TypeError(name)
        found[name] = float(value) if wanted is float else value
    return found


def last_timings(
    folder: Path, fingerprint: Mapping[str, str]
) -> tuple[dict[tuple[str, str, str], float], list[str]]:
    """Find, for each timing, the newest earlier one of the same machine.

    Returns
    -------
    before
        `Timing.relative_seconds` by `Timing.key`.
    notes
        Those of `read`.
    """
    runs, notes = read(folder)
    same = [run for run in runs if run.fingerprint == _pairs(fingerprint)]
    return {t.key: t.relative_seconds for run in same for t in run.timings}, notes
