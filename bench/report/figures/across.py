"""Several problems in one picture: what each batch size costs, and the critical batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.across import Results
from bench.analysis.recommend import MARGIN
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups, records

_STYLES: tuple[tuple[str, Any, str], ...] = (
    (draw.INK, "solid", "o"),
    (draw.PROGRAM_COLOURS["scikit-learn"], (0, (6, 2)), "s"),
    (draw.PROGRAM_COLOURS["PyTorch"], (0, (2, 1.5)), "D"),
    (draw.PROGRAM_COLOURS["JAX"], (0, (6, 2, 1.5, 2)), "^"),
    (draw.OTHER_PROGRAM_COLOUR, (0, (1, 1.3)), "v"),
)
"""Colour, dashes and marker of each problem, in their order."""
HIGHEST = 256.0  # ratio up to which the axis goes: beyond it a batch size is out of the question


def costs_data(results: Sequence[Results]) -> pd.DataFrame:
    """Time of each batch size over the best's, by passes (program "") and by program's seconds.

    Columns: `problem, program, batch_size, ratio, low, high, chosen` (recommended), `n_train,
    n_seeds`; empty where nothing reached the target on any problem.
    """
    parts = []
    for one in results:
        rows = one.table("ratios")
        if rows.empty:
            continue
        seeds = int(one.summary["n_seeds"].max())
        about = {"problem": one.name, "n_train": one.n_train, "n_seeds": seeds}
        rows = rows.assign(program=rows["program"].fillna(""), **about)
        chosen = {(row["program"], row["batch_size"]) for row in one.recommended}
        arms = zip(rows["program"], rows["batch_size"], strict=True)
        parts.append(rows.assign(chosen=[arm in chosen for arm in arms]))
    columns = ["problem", "program", "batch_size", "ratio", "low", "high", "chosen"]
    columns += ["n_train", "n_seeds"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame()


def passes_data(results: Sequence[Results]) -> pd.DataFrame:
    """The rows of `costs_data` by passes over the data."""
    data = costs_data(results)
    return data[data["program"] == ""].reset_index(drop=True) if len(data) else data


def seconds_data(results: Sequence[Results]) -> pd.DataFrame:
    """The rows of `costs_data` by the seconds of programs."""
    data = costs_data(results)
    return data[data["program"] != ""].reset_index(drop=True) if len(data) else data


def _range(values: pd.Series) -> str:
    """The least and the greatest of some ratios, in words."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return "unknown"
    low, high = words.number(finite.min()), words.number(finite.max())
    return low if low == high else f"{low} to {high}"


def passes_title(data: pd.DataFrame) -> str:
    """What per sample and full batch cost in passes, from problem to problem."""
    ends = {
        "per sample": data.loc[data["batch_size"] == 1, "ratio"],
        "full batch": data.loc[data["batch_size"] == data["n_train"], "ratio"],
    }
    told = [f"{name} {_range(ratios)}" for name, ratios in ends.items() if len(ratios)]
    n_problems = data["problem"].nunique()
    return (
        f"Passes over the fewest, on {words.plural(n_problems, 'problem')}: "
        f"{words.join(told)} times as many"
    )


def seconds_title(data: pd.DataFrame) -> str:
    """The range of the recommended batch sizes, for each program."""
    parts = []
    for program, rows in groups(data[data["chosen"]], "program"):
        least, most = (
            rows.loc[place] for place in (rows["batch_size"].idxmin(), rows["batch_size"].idxmax())
        )
        ends = words.batch_ends(
            *((int(row["batch_size"]), int(row["n_train"])) for row in (least, most))
        )
        parts.append(f"{' to '.join(dict.fromkeys(ends))} in {program}")
    return f"The recommended batch size is {words.join(parts)}, from problem to problem"


def _ratio_text(value: float) -> str:
    """A tick of the axis of ratios."""
    return f"{draw.plain(value)}×"


def _problems(axes: Axes, data: pd.DataFrame, names: Sequence[str]) -> None:
    """One line a problem: ratio and interval against the batch size, its full batch hollow."""
    ends = []
    for name, rows in groups(data, "problem"):
        colour, dash, marker = _STYLES[names.index(str(name)) % len(_STYLES)]
        rows = rows.sort_values("batch_size")
        reached = rows[np.isfinite(rows["ratio"])]
        draw.band(axes, reached["batch_size"], reached["low"], reached["high"], colour, alpha=0.1)
        axes.plot(reached["batch_size"], reached["ratio"], color=colour, linestyle=dash, lw=1.6)
        full = reached["batch_size"] == reached["n_train"]
        for fill, points in ((colour, reached[~full]), (draw.PAPER, reached[full])):
            axes.plot(points["batch_size"], points["ratio"], marker, color=colour, mfc=fill, ms=4.5)
        draw.not_reached(axes, list(rows.loc[np.isinf(rows["ratio"]), "batch_size"]), colour)
        if len(reached):
            last = reached.iloc[-1]
            height = min(last["ratio"], axes.get_ylim()[1])
            ends.append(draw.EndLabel(last["batch_size"], height, str(name), colour))
    draw.end_labels(axes, ends)


def _cost_axes(axes: Axes, data: pd.DataFrame, *, width: float) -> None:
    """Logarithmic axes of the batch size and of the ratio, the margin shaded."""
    last = int(data["batch_size"].max())
    sizes = [2**k for k in range(last.bit_length()) if 2**k < last]
    stride = max(1, math.ceil(len(sizes) / width))
    axes.set(xscale="log", xlim=(data["batch_size"].min() / 1.25, last * 1.25))
    axes.set_xticks(sizes[::stride], [words.count(b) for b in sizes[::stride]])
    axes.minorticks_off()
    axes.set_xlabel("batch size", loc="left")
    low, high = draw.finite_range(data["ratio"])
    low = min(low, 0.85)
    draw.log_axis(axes, "y", low, min(high, HIGHEST) * 1.2, _ratio_text)
    axes.axhspan(low, MARGIN, color=draw.SHADE, zorder=0)


def passes_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """The picture of the first screen: passes over the fewest, a line a problem."""
    margins = draw.Margins(left=0.52, right=0.98, top=0.56, bottom=0.5)
    figure, (axes,) = draw.panels(
        1, narrow=narrow, height=3.6 if narrow else 4.2, margins=margins, width=draw.HERO
    )
    _cost_axes(axes, data, width=6)
    draw.head(axes, "Passes to the target over the fewest", _unit(data))
    _problems(axes, data, list(dict.fromkeys(data["problem"])))
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def _unit(data: pd.DataFrame) -> str:
    """What the marks are; where a triangle stands for "not reached", so it says."""
    told = "median, 95% interval; hollow: full batch"
    return f"{told}; △ not reached" if np.isinf(data["ratio"]).any() else told


def seconds_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A panel a program: its time over that of its best batch size, a line a problem."""
    programs = list(dict.fromkeys(data["program"]))
    margins = draw.Margins(left=0.5, right=0.98, top=0.56)
    figure, axes = draw.panels(len(programs), narrow=narrow, height=3.6, margins=margins)
    names = list(dict.fromkeys(data["problem"]))
    for panel, program in zip(axes, programs, strict=True):
        rows = data[data["program"] == program]
        _cost_axes(panel, data, width=6 if narrow else 16 / len(programs))
        draw.head(panel, f"Time in {program}", "over its best batch size's")
        _problems(panel, rows, names)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def critical_data(results: Sequence[Results]) -> pd.DataFrame:
    """The critical batch size of each problem, to the middle target, beside the noise scale.

    Columns: `problem, critical, noise`, each with `_low` and `_high` (NaN: no noise scale),
    `n_train, n_seeds`; a problem whose critical batch size is not identified has no row.
    """
    rows = []
    for one in results:
        critical, noise = one.critical(), one.noise_scale()
        if critical is None:
            continue
        row: dict[str, Any] = {"problem": one.name}
        for name, found in (("critical", critical), ("noise", noise)):
            ends = found[:3] if found else (np.nan,) * 3
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        rows.append(row | {"n_train": one.n_train, "n_seeds": critical.n})
    return pd.DataFrame(rows)


def critical_title(data: pd.DataFrame) -> str:
    """The least and the greatest critical batch size, and how far the noise scale is from it."""
    by = data.set_index("problem")["critical"]
    if len(by) == 1:
        told = f"The critical batch size is {words.number(by.iloc[0])} on {by.index[0]}"
    else:
        told = (
            f"The critical batch size goes from {words.number(by.min())} on {by.idxmin()} to "
            f"{words.number(by.max())} on {by.idxmax()}"
        )
    ratios = (data["noise"] / data["critical"]).dropna()
    return f"{told}; the noise scale is {_range(ratios)} times as large" if len(ratios) else told


_MARKS = (
    ("critical", -0.16, draw.INK, "o"),
    ("noise", 0.16, draw.PROGRAM_COLOURS["scikit-learn"], "D"),
)
"""Column, place within the row, colour and marker of what the figure of critical sizes shows."""


def critical_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A row a problem: critical batch size and noise scale with intervals, and all samples."""
    margins = draw.Margins(left=1.1, right=0.5, top=0.56)
    height = 1.15 + 0.44 * len(data)
    figure, (axes,) = draw.panels(1, narrow=narrow, height=height, margins=margins, width=9.0)
    draw.head(axes, "Critical batch size", "○; ◇ noise scale; tick: full batch")
    shown = [name for name in data if name not in ("problem", "n_seeds")]
    ends = draw.finite_range(*(data[name] for name in shown))
    draw.log_axis(axes, "x", *ends, lambda value: words.number(value))
    axes.set(ylim=(len(data) - 0.4, -0.6))
    axes.grid(visible=False)
    axes.grid(axis="x", color=draw.GRID, linewidth=0.8)
    axes.set_yticks(np.arange(len(data)), list(data["problem"]))
    axes.tick_params(axis="y", labelcolor=draw.INK)
    for place, row in enumerate(records(data)):
        for name, off, colour, marker in _MARKS:
            value, *bounds = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
            if not np.isnan(value):
                bar = np.clip(bounds, *ends)
                axes.plot(bar, [place + off] * 2, color=colour, linewidth=2)
                axes.plot(value, place + off, marker, color=colour, mfc=draw.PAPER, ms=6, mew=1.5)
        axes.plot(row.n_train, place, "|", color=draw.MUTED, ms=16, mew=1.4)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


FIGURES: dict[str, FigureSpec] = {
    "passes": FigureSpec(
        passes_data,
        passes_figure,
        passes_title,
        "Passes to the target of each batch size over those of the batch size that needs the "
        "fewest, a line a problem, each batch size at its own best learning rate: median ratio by "
        "seed and 95% interval. Shaded: within the margin of 1.25.",
    ),
    "seconds": FigureSpec(
        seconds_data,
        seconds_figure,
        seconds_title,
        "The same for the time in each program, which counts what starting an update costs.",
    ),
    "critical": FigureSpec(
        critical_data,
        critical_figure,
        critical_title,
        "The batch size up to which larger batches save updates about in proportion (of the fitted "
        "hyperbola, or where that does not fit, the one that doubles the passes), and the gradient "
        "noise scale over the run, each with its 95% interval.",
    ),
}
