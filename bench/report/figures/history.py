"""Speed and quality over runs: the newest beside the level before it, and all of them in time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups, records
from bench.speed.series import AT, BETTER, QUALITY, SPEED, WORSE, Machine, points_frame
from bench.speed.timings import COLUMNS

WORSE_COLOUR = draw.PROGRAM_COLOURS["PyTorch"]
BETTER_COLOUR = draw.PROGRAM_COLOURS["scikit-learn"]
LARGEST_NUMBER = 1024  # stands for the full batch on the scale of colours
RATIOS = (0.1, 0.2, 0.5, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.5, 2, 3, 5, 10, 30, 100)
NAMED = 3  # steps that a title names

NEWEST = (
    "A row an operation (a dot a batch size, per sample at the top) or a measure of quality; bars "
    "are 95% intervals, of the newest run's own rounds or seeds. "
    "Triangles mark changes, up for larger; hollow dots have too few points before them to tell."
)
OVER_TIME = (
    "A panel each, a dot a run (numbered in the order of time), as a ratio to the first level, "
    "with its 95% interval; hollow: with uncommitted changes. The line is the median of each "
    "stretch between steps; a dotted line and a factor mark a step, a triangle a newest run that "
    "is a change."
)


def newest_data(machines: Sequence[Machine]) -> pd.DataFrame:
    """The newest run of the first machine over the level before it, a row per series.

    Columns: `kind, group, name, worse, newest, change`, `low, high` (interval of the newest point,
    over the same level), `runs` (of the machine). Series without a level before are left out.
    """
    rows = []
    for one in machines[0].series:
        now = one.points[-1]
        if np.isfinite(one.change) and one.change > 0 and np.isfinite(now.value):
            scale = one.change / now.value
            shown = {"low": now.low * scale, "high": now.high * scale}
            head = {"kind": one.kind, "group": one.group, "name": one.name, "worse": one.worse}
            told = {"newest": one.newest, "change": one.change, "runs": len(machines[0].runs)}
            rows.append(head | told | shown)
    return pd.DataFrame(rows)


def newest_title(data: pd.DataFrame) -> str:
    """How many are worse or better, and the worst."""
    worse, better = (data[data["newest"] == word] for word in (WORSE, BETTER))
    of = words.plural(len(data), "series", "series")
    if worse.empty and better.empty:
        return f"Newest run: no change in {of}"
    told = f"Newest run: {len(worse)} of {of} worse, {len(better)} better"
    rows = worse if len(worse) else better
    first = rows.loc[np.log(rows["change"]).abs().idxmax()]
    return f"{told}; {_name(first)} is {words.number(first['change'], 3)} times the level before"


def _name(row: pd.Series) -> str:
    """A series in words: network or study, and what."""
    return f"{_short(row['group'])}, {row['name']}"


def _short(group: str) -> str:
    """A case's network, or a study's name."""
    return str(group).split()[0]


def newest_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A dot a series on rows of operations."""
    rows = data.assign(row=[_row(one) for one in records(data)])
    names = list(dict.fromkeys(rows["row"]))
    margins = draw.Margins(left=1.75, right=0.2, top=0.5, bottom=0.44)
    height = 0.27 * len(names) + margins.top + margins.bottom
    figure, (axes,) = draw.panels(1, narrow=narrow, height=height, margins=margins, width=draw.HERO)
    draw.head(axes, "Newest over before")
    low, high = draw.finite_range(data["change"], pad=1.04)
    low, high = min(low, 0.9), max(high, 1.1)
    draw.log_axis(axes, "x", low, high, draw.plain)
    axes.xaxis.set_major_locator(FixedLocator(_ratios(low, high)))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names, fontsize=7.5 if narrow else 8.5)
    axes.axvline(1, color=draw.MUTED, lw=0.8)
    for one in records(rows):
        place = names.index(one.row) + _shift(one)
        colour, marker, face = _mark(one._asdict())
        if one.low > 0 and np.isfinite(one.high):  # else too few rounds for an interval
            ends = np.clip([one.low, one.high], low, high)
            axes.plot(ends, [place] * 2, color=colour, lw=0.9, alpha=0.7)
        axes.plot(one.change, place, marker, color=colour, mfc=face, ms=4.2, mew=1, zorder=4)
    draw.seeds_note(figure, data["runs"], "run")
    return figure


def _ratios(low: float, high: float) -> list[float]:
    """Round ratios for the ticks of an axis, 1 among them, at most eight."""
    inside = [x for x in RATIOS if low <= x <= high]
    return inside if len(inside) <= 8 else [x for x in inside if x in (0.1, 0.5, 1, 2, 10, 100)]


def _row(one: Any) -> str:
    """Name of the row that a series stands in."""
    name = one.name.split(AT)[0] if one.kind == SPEED else one.name
    return f"{_short(one.group)}, {name.replace(' to the target', '').replace('largest ', '')}"


def _shift(one: Any) -> float:
    """Place of a batch size within its row."""
    size = one.name.partition(AT)[2]
    if one.kind == QUALITY or size not in COLUMNS:
        return 0.0
    return 0.15 * (COLUMNS.index(size) - (len(COLUMNS) - 1) / 2)


def _mark(one: Any) -> tuple[str, str, str]:
    """Colour, marker and fill of a series' newest point."""
    if one["newest"] in (WORSE, BETTER):
        colour = WORSE_COLOUR if one["newest"] == WORSE else BETTER_COLOUR
        return colour, "^" if one["change"] > 1 else "v", colour
    size = one["name"].partition(AT)[2]
    number = int(size) if size.isdigit() else LARGEST_NUMBER
    colour = draw.batch_colour(number, LARGEST_NUMBER) if one["kind"] == SPEED else draw.INK
    return colour, "o", draw.PAPER if one["newest"].startswith("too few") else colour


def over_time_data(
    machines: Sequence[Machine], machine: int, kind: str, group: str | None
) -> pd.DataFrame:
    """Rows of `points_frame` of one machine and kind, and of one case (None: of all)."""
    data = points_frame(machines)
    own = (data["machine"] == machine) & (data["kind"] == kind)
    if group is not None:
        own &= data["group"] == group
    return data[own].reset_index(drop=True)


def over_time_title(data: pd.DataFrame) -> str:
    """The steps, newest first, in one sentence."""
    of = words.plural(int(data["run"].max()), "run")
    subject = data["group"].iloc[0] if data["kind"].iloc[0] == SPEED else "How well networks learn"
    steps = data[data["step"].notna()].sort_values("run", ascending=False)
    if steps.empty:
        n = words.plural(data.groupby(["group", "name"]).ngroups, "series", "series")
        return f"{subject}: no step in {n}, {of}"
    told = [
        f"{one.name} is {words.number(one.step, 3)} times as large from {one.commit[:7]} on"
        for one in steps[:NAMED].itertuples()
    ]
    more = len(steps) - len(told)
    return f"{subject}, {of}: {words.join([*told, *([f'{more} more'] if more else [])])}"


def over_time_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A panel a series."""
    panels = [rows for _, own in groups(data, "group") for _, rows in groups(own, "name")]
    figure, all_axes = draw.small_multiples(len(panels), narrow=narrow, height=1.5)
    values = data[["relative", "relative_level"]].to_numpy()
    low, high = draw.finite_range(values, pad=1.06)
    low, high = min(low, 0.89), max(high, 1.12)
    for axes, rows in zip(all_axes, panels, strict=True):
        draw.log_axis(axes, "y", low, high, draw.plain)
        axes.yaxis.set_major_locator(FixedLocator(_ratios(low, high)))
        axes.set_xlim(0.4, data["run"].max() + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        first = rows.iloc[0]
        name = first["name"] if first["kind"] == SPEED else f"{first['group']}: {first['name']}"
        axes.set_title(name, loc="left", fontsize=7, pad=3)
        _panel(axes, rows)
    draw.seeds_note(figure, data["run"].max(), "run")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    """Points with their intervals, levels, steps."""
    low, high = axes.get_ylim()
    known = rows[(rows["relative_low"] > 0) & np.isfinite(rows["relative_high"])]
    lower, upper = (known[f"relative_{end}"].clip(low, high) for end in ("low", "high"))
    axes.vlines(known["run"], lower, upper, color=draw.MUTED, lw=0.8, alpha=0.7)
    for dirty, face in ((False, draw.INK), (True, draw.PAPER)):
        own = rows[rows["dirty"] == dirty]
        axes.plot(own["run"], own["relative"], "o", color=draw.INK, mfc=face, ms=2.6, mew=0.7)
    now = rows.iloc[-1]
    if now["newest"] in (WORSE, BETTER):
        colour, marker = _mark(now)[:2]
        axes.plot(now["run"], now["relative"], marker, color=colour, ms=5, zorder=4)
    ends = [0, *np.flatnonzero(rows["step"].notna()), len(rows)]
    for start, stop in pairwise(ends):
        own = rows.iloc[start:stop]
        span = [own["run"].iloc[0] - 0.5, own["run"].iloc[-1] + 0.5]
        axes.plot(span, [own["relative_level"].iloc[0]] * 2, color=draw.INK, lw=1.3, alpha=0.55)
    for one in rows[rows["step"].notna()].itertuples():
        worse = (one.step > 1) == (one.worse == "higher")
        colour = WORSE_COLOUR if worse else BETTER_COLOUR
        axes.axvline(one.run - 0.5, color=colour, lw=1.1, linestyle=(0, (1, 1.2)))
        arrow = "▲" if one.step > 1 else "▼"
        axes.annotate(f"{arrow} × {words.number(one.step, 3)}", (one.run - 0.5, 0.98), va="top",
                      xycoords=axes.get_xaxis_transform(), xytext=(2, 0), fontsize=7,
                      textcoords="offset points", color=colour)  # fmt: skip


def figures(machines: Sequence[Machine]) -> dict[str, FigureSpec]:
    """Return the figures in the order of the page: the newest run, then each machine's history.

    The first one, which belongs beside the answer, is there where something came before.
    """
    found = {}
    if len(newest_data(machines)):
        found["newest"] = FigureSpec(newest_data, newest_figure, newest_title, NEWEST)
    for number, machine in enumerate(machines, 1):
        cases = dict.fromkeys(one.group for one in machine.series if one.kind == SPEED)
        parts: list[tuple[str, str, str | None]] = [
            (f"speed_{place}", SPEED, case) for place, case in enumerate(cases, 1)
        ]
        if any(one.kind == QUALITY for one in machine.series):
            parts.append(("quality", QUALITY, None))
        for name, kind, group in parts:
            found[name if number == 1 else f"{name}_machine_{number}"] = FigureSpec(
                partial(over_time_data, machine=number, kind=kind, group=group),
                over_time_figure,
                over_time_title,
                OVER_TIME,
            )
    return found
