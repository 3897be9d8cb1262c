"""Programs side by side: nanoseconds per sample against the batch size, a line a program."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups, records
from bench.speed.peers import OURS
from bench.speed.side_by_side import CASES

LIMIT = "fma peak"
COLUMNS = ["case", "batch_size", "program", "ns", "ns_low", "ns_high", "ratio", "limit", "rounds"]


def lines_data(standings: pd.DataFrame) -> pd.DataFrame:
    """What is drawn of standings, with the `limit`: ns of a sample (and run) at the fma peak."""
    return standings.assign(limit=standings["ns"] * standings["share_of_peak"])[COLUMNS]


def first_data(standings: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first case."""
    data = lines_data(standings)
    return data[data["case"] == data["case"].iloc[0]].reset_index(drop=True)


def others_data(standings: pd.DataFrame) -> pd.DataFrame:
    """The rows of the other cases."""
    data = lines_data(standings)
    return data[data["case"] != data["case"].iloc[0]].reset_index(drop=True)


def title(data: pd.DataFrame) -> str:
    """What our times are of the fastest other program's: by batch size, or over several cases."""
    ours = data[data["program"] == OURS].dropna(subset="ratio").sort_values("batch_size")
    cases = list(dict.fromkeys(data["case"]))
    where = f"With {CASES[cases[0]].what}, batchbench" if len(cases) == 1 else "batchbench"
    if ours.empty:
        return f"{where} takes {words.number(data['ns'].min())} ns a sample at the least"
    if len(cases) > 1:
        low, high = (words.number(end) for end in (ours["ratio"].min(), ours["ratio"].max()))
        return f"{where} takes {low} to {high} times as long as the fastest other program"
    first, *others = (
        f"{words.number(row.ratio)} times as long{' as the fastest other program' * (not place)} "
        f"at batch size {words.count(row.batch_size)}"
        for place, row in enumerate(records(ours.iloc[[0, -1][: len(ours)]]))
    )
    return f"{where} takes {words.join([first, *others])}"


def _lines(axes: Axes, data: pd.DataFrame) -> None:
    """One line a program with its intervals, named at its end; the limit at the peak below."""
    sizes = sorted(set(data["batch_size"]))
    low, high = draw.finite_range(data["ns_low"], data["ns_high"], data["limit"], pad=1.3)
    pad = (sizes[-1] / sizes[0]) ** 0.05 if len(sizes) > 1 else 1.5
    axes.set(xscale="log", xlim=(sizes[0] / pad, sizes[-1] * pad))
    axes.set_xticks(sizes, [words.count(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("batch size", loc="left")
    draw.log_axis(axes, "y", low, high, draw.plain)
    ends = []
    for name, rows in groups(data, "program"):
        rows = rows.sort_values("batch_size")
        colour = draw.PROGRAM_COLOURS.get(name, draw.OTHER_PROGRAM_COLOUR)
        dash = draw.PROGRAM_DASHES.get(name, (0, (1, 1.3)))
        marker = draw.PROGRAM_MARKERS.get(name, "v")
        draw.band(axes, rows["batch_size"], rows["ns_low"], rows["ns_high"], colour)
        width = 2.2 if name == OURS else 1.4
        axes.plot(rows["batch_size"], rows["ns"], color=colour, linestyle=dash, lw=width)
        axes.plot(rows["batch_size"], rows["ns"], marker, color=colour, ms=4.5)
        last = rows.iloc[-1]
        ends.append(draw.EndLabel(last["batch_size"], last["ns"], str(name), colour))
    limit = float(data["limit"].median())
    axes.axhline(limit, color=draw.MUTED, linewidth=0.9)
    ends.append(draw.EndLabel(sizes[-1] * pad, limit, LIMIT, draw.MUTED))
    draw.end_labels(axes, ends)


def _panels(data: pd.DataFrame, narrow: bool, width: float, height: float) -> Figure:
    """A panel a case."""
    cases: Sequence[str] = list(dict.fromkeys(data["case"]))
    margins = draw.Margins(left=0.8, right=1.22, top=0.58, bottom=0.52)
    figure, axes = draw.panels(
        len(cases), narrow=narrow, height=height, margins=margins, width=width
    )
    for panel, case in zip(axes, cases, strict=True):
        _lines(panel, data[data["case"] == case])
        many = CASES[case].runs > 1
        draw.head(
            panel, words.sentence(CASES[case].what), f"ns per sample{' and run' if many else ''}"
        )
    draw.seeds_note(figure, data["rounds"], "round")
    return figure


def first_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """The picture of the first screen: one case."""
    return _panels(data, narrow, draw.HERO, 4.0)


def others_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """The other cases, a panel each."""
    return _panels(data, narrow, draw.WIDE, 3.8)


READING = (
    "Time of a sample (of many runs: and run) on one core, median over rounds with its 95% "
    "interval; the line below is what the arithmetic takes at the fma peak of the same core."
)
FIGURES: dict[str, FigureSpec] = {
    "first": FigureSpec(first_data, first_figure, title, READING),
    "others": FigureSpec(others_data, others_figure, title, READING),
}
