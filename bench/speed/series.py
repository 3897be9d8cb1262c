"""Runs as series over time: one for each benchmark and measure of quality on each machine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.analysis.change_points import Newest, Step, change_points, judge_newest, segments
from bench.speed.history import Run
from bench.speed.timings import COLUMNS

SPEED, QUALITY = "speed", "quality"
LEAST = math.log(1.01)  # smaller steps of seconds matter to nobody
MATERIAL = math.log(1.05)  # of quality: below it a change is not for the worse
AT = ", B = "  # between operation and batch size
ABSENT = "not in the newest run"
WORSE, BETTER, SAME, FEW = "worse", "better", "no change", "too few points to tell"
NOISY, TOO_NOISY = "too noisy to tell", math.log(2)  # where even this change would not be seen


class Point(NamedTuple):
    """A run's value with its 95% interval; `run` counts the runs of the machine from 1."""

    run: int
    time: datetime
    commit: str
    dirty: bool
    value: float
    low: float
    high: float
    at: str = ""


@dataclass(frozen=True)
class Series:
    """One benchmark, or one measure of quality, on one machine.

    Parameters
    ----------
    kind
        "speed" (seconds over those of the reference workload) or "quality".
    group, name
        Case in words, or study; operation and batch size, or measure.
    worse
        The bad direction, "higher" or "lower".
    points
        In the order of time.
    steps
        Those of the finite values' logarithms; `start` counts all points.
    newest
        What the newest point is: "worse", "better", "no change", "too noisy to tell", "too few
        points to tell" or "not in the newest run".
    change
        Factor by which it differs from the level before; NaN where there is none.
    limit
        Factor of the level up or down by which the newest may differ unnoticed; inf where nothing
        can be told.
    rests_on
        Points since the step that it makes visible, or of the level that it is held against.
    """

    kind: str
    group: str
    name: str
    worse: str
    points: tuple[Point, ...]
    steps: tuple[Step, ...]
    newest: str = FEW
    change: float = math.nan
    limit: float = math.inf
    rests_on: int = 0

    @property
    def title(self) -> str:
        """Group and name."""
        return f"{self.group}: {self.name}"


@dataclass(frozen=True)
class Machine:
    """A machine with its series and its runs, in the order of time."""

    fingerprint: dict[str, str]
    series: tuple[Series, ...]
    runs: tuple[Run, ...] = field(repr=False)

    @property
    def newest(self) -> Run:
        """The newest run."""
        return self.runs[-1]


def machines_of(runs: Iterable[Run]) -> list[Machine]:
    """Part the runs by machine, that of the newest run first.

    Parameters
    ----------
    runs
        In the order of time.
    """
    by_machine: dict[Any, list[Run]] = {}
    for run in runs:
        by_machine.setdefault(run.fingerprint, []).append(run)
    newest_first = sorted(by_machine.values(), key=lambda own: own[-1].time, reverse=True)
    return [Machine(dict(own[0].fingerprint), _series(own), tuple(own)) for own in newest_first]


def _series(runs: Sequence[Run]) -> tuple[Series, ...]:
    """All series of one machine, judged together."""
    points: dict[tuple[str, str, str, str], list[Point]] = {}
    for number, run in enumerate(runs, 1):
        when = (number, run.time, run.commit, run.dirty)
        for t in run.timings:
            key = (SPEED, t.title, f"{t.operation}{AT}{t.batch_size}", "higher")
            bounds = t.relative_low, t.relative_high
            points.setdefault(key, []).append(Point(*when, t.relative_seconds, *bounds))
        for m in run.metrics:
            key = (QUALITY, m.study, m.name, m.worse)
            points.setdefault(key, []).append(Point(*when, m.value, m.low, m.high, m.at))
    return tuple(_judged(*key, points[key], len(points), len(runs)) for key in _in_order(points))


def _in_order(keys: Iterable[tuple[str, str, str, str]]) -> list[tuple[str, str, str, str]]:
    """Speed first; groups and operations as they appear first, batch sizes ascending."""
    keys = list(keys)
    groups = list(dict.fromkeys(group for _, group, *_ in keys))
    operations = list(dict.fromkeys(name.split(AT)[0] for _, _, name, _ in keys))

    def place(key: tuple[str, str, str, str]) -> tuple[bool, int, int, int]:
        kind, group, name, _ = key
        operation, _, size = name.partition(AT)
        column = COLUMNS.index(size) if kind == SPEED and size in COLUMNS else 0
        return kind != SPEED, groups.index(group), operations.index(operation), column

    return sorted(keys, key=place)


def _judged(
    kind: str, group: str, name: str, worse: str, points: list[Point], tests: int, n_runs: int
) -> Series:
    """A series with its steps, and what its newest point is: nothing where the run lacks it.

    Both are corrected for the number of series, so that the level before is the one that is drawn.
    """
    values = np.array([point.value for point in points])
    known = np.flatnonzero(np.isfinite(values) & (values > 0))
    logs = np.log(values[known])
    least = LEAST if kind == SPEED else MATERIAL
    steps = change_points(logs, least, tests)
    steps = [step._replace(start=int(known[step.start])) for step in steps]
    found = Series(kind, group, name, worse, tuple(points), tuple(steps))
    if points[-1].run != n_runs:
        return _told(found, ABSENT, math.nan, math.inf, 0)
    if kind == QUALITY:
        return _judge_quality(found)
    newest = judge_newest(
        logs, *np.log([points[-1].low or np.inf, points[-1].high]), tests=tests, least=least
    )
    return _told(found, _word(newest, worse), *newest[1:])


def _word(newest: Newest, worse: str) -> str:
    """Say for the better or for the worse."""
    if newest.found in ("higher", "lower"):
        return WORSE if newest.found == worse else BETTER
    if newest.found == "too few points":
        return FEW
    return NOISY if newest.limit > TOO_NOISY else SAME


def _told(series: Series, newest: str, change: float, limit: float, rests_on: int) -> Series:
    """The series with what its newest point is; change and limit are logarithms."""
    change, limit = math.exp(change), math.exp(limit)
    return replace(series, newest=newest, change=change, limit=limit, rests_on=rests_on)


def _judge_quality(series: Series) -> Series:
    """Hold the newest point against the last one of another commit, or else the one before.

    Training gives the same numbers on the same machine until the code changes, so runs do not tell
    the noise: the intervals, over seeds, do. A change is one beyond both intervals, by 5% at least.
    What is less, commit after commit, does not add up here: the series over time shows it. Holding
    against the best so far would, but never forgive a choice that was made, nor a lucky run.
    """
    if len(series.points) < 2:
        return _told(series, FEW, math.nan, math.inf, len(series.points) - 1)
    *earlier, now = series.points
    others = [one for one in earlier if (one.commit, one.dirty) != (now.commit, now.dirty)]
    before = (others or earlier)[-1]
    a, b = (before, now) if series.worse == "higher" else (now, before)  # a < b is worse
    change = _log_ratio(now.value, before.value)
    if abs(change) < MATERIAL:
        return _told(series, SAME, change, MATERIAL, 1)
    if b.low > a.high or (math.isinf(b.value) and math.isfinite(a.high)):
        return _told(series, WORSE, change, MATERIAL, 1)
    better = a.low > b.high or (math.isinf(a.value) and math.isfinite(b.high))
    return _told(series, BETTER if better else SAME, change, MATERIAL, 1)


def _log_ratio(now: float, before: float) -> float:
    """Log of now over before; 0 where both are not reached or both 0."""
    if now == before:
        return 0.0
    with np.errstate(divide="ignore"):
        return float(np.log(now) - np.log(before))


def points_frame(machines: Sequence[Machine]) -> pd.DataFrame:
    """Return a row per point, what figures and series.csv show.

    Columns: `machine` (1 is that of the newest run), `kind, group, name, worse, run, time, commit,
    dirty, value, low, high, at`; `level` (median of the stretch between steps), `step` (factor by
    which the level rises at this point, NaN where it does not); `newest, change` (of the series);
    `relative, relative_low, relative_high, relative_level`: over the first level.
    """
    rows = []
    for number, machine in enumerate(machines, 1):
        for one in machine.series:
            head = {"machine": number, "kind": one.kind, "group": one.group, "name": one.name}
            tail = {"worse": one.worse, "newest": one.newest, "change": one.change}
            levels = _levels(one)
            sizes = {step.start: math.exp(step.size) for step in one.steps}
            for place, point in enumerate(one.points):
                shown = {"level": levels[place], "step": sizes.get(place, math.nan)}
                rows.append(head | tail | point._asdict() | shown | _relative(point, levels, place))
    return pd.DataFrame(rows)


def _levels(series: Series) -> list[float]:
    """Median of the stretch that each point belongs to."""
    values = np.array([point.value for point in series.points])
    return [
        float(np.median(values[start:stop]))
        for start, stop in segments(len(values), series.steps)
        for _ in range(start, stop)
    ]


def _relative(point: Point, levels: Sequence[float], place: int) -> dict[str, float]:
    """A point and its level over the first level."""
    first = levels[0] if levels[0] > 0 and math.isfinite(levels[0]) else math.nan
    numbers = {"": point.value, "_low": point.low, "_high": point.high, "_level": levels[place]}
    return {f"relative{name}": value / first for name, value in numbers.items()}
