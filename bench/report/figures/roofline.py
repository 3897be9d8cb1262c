"""Kernels under the roof, what a sample costs in small batches, and the bandwidth of the memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups, records
from bench.speed.bandwidth import KIB, MIB
from bench.speed.peers import OURS
from bench.speed.roofline import Roofline

WIDTH = 7.6
WAY = ["program", "runs", "look_ahead"]
SHOWN = ["network", "batch_size", "n_train", *WAY, "seconds", "low", "high"]
ROOM = (24, 10)  # points beside and above a name, in which another one would touch it
ONE_RUN_COLOUR = draw.OTHER_PROGRAM_COLOUR
SIZES = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": 1024 * MIB}


class Look(NamedTuple):
    """How a way of training is drawn."""

    name: str
    colour: str
    dash: Any
    marker: str
    filled: bool


def look(program: str, runs: int, look_ahead: bool) -> Look:
    """Return name, colour, dashes and marker of a way of training."""
    if program != OURS:
        colour = draw.PROGRAM_COLOURS.get(program, draw.OTHER_PROGRAM_COLOUR)
        marker = draw.PROGRAM_MARKERS.get(program, "v")
        return Look(program, colour, draw.PROGRAM_DASHES.get(program, "dotted"), marker, True)
    how = "look-ahead" if look_ahead else "step by step"
    colour, marker = (draw.INK, "o") if runs > 1 else (ONE_RUN_COLOUR, "s")
    dash = "solid" if look_ahead else (0, (4, 1.6))
    return Look(f"{words.plural(runs, 'run')}, {how}", colour, dash, marker, look_ahead)


def _ways(data: pd.DataFrame) -> list[tuple[Look, pd.DataFrame]]:
    """Each way's look and rows, in the order in which they were measured."""
    return [(look(*way), rows) for way, rows in data.groupby(WAY, sort=False)]


def _of_case(roofline: Roofline, case: str) -> pd.DataFrame:
    """A case's rows, with the widths of its network."""
    rows = roofline.rows[roofline.rows["case"] == case]
    return rows.assign(network=rows["title"].str.split(n=1).str[0])


def small_batches_data(roofline: Roofline, case: str) -> pd.DataFrame:
    """Seconds per sample over those at the way's own best batch size, a row per way and batch size.

    Columns: `network, batch_size, n_train, program, runs, look_ahead, seconds, low, high` (per
    sample and run), `relative, relative_low, relative_high`.
    """
    rows = _of_case(roofline, case)
    best = rows.groupby(WAY)["seconds"].transform("min")
    relative = {
        f"relative{end}": rows[column] / best
        for end, column in (("", "seconds"), ("_low", "low"), ("_high", "high"))
    }
    return rows[SHOWN].assign(**relative).reset_index(drop=True)


def small_batches_title(data: pd.DataFrame) -> str:
    """What a sample costs in the smallest batches: each program, and ours in both ways."""
    least = data["batch_size"].min()
    rows = data[data["batch_size"] == least].set_index(WAY)["relative"]
    told = [
        f"{program} {words.number(rows[program, 1, False])}"
        for program in dict.fromkeys(data["program"])
        if program != OURS
    ]
    told.append(f"batchbench step by step {words.number(rows[OURS, 1, False])}")
    first, *others = [*told, f"with look-ahead {words.number(rows[OURS, 1, True])}"]
    name, number = first.rsplit(maxsplit=1)
    return (
        f"{_trained(data)}: {words.join([f'{name} takes {number}', *others])} times as long for a "
        "sample as at its best batch size"
    )


def _trained(data: pd.DataFrame) -> str:
    """The network and the smallest batch size: "64-32-10 trained per sample"."""
    where = words.with_batch(int(data["batch_size"].min()), int(data["n_train"].iloc[0]))
    return f"{data['network'].iloc[0]} trained {where}"


def small_batches_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A line a way, named at its smallest batch size with what a sample costs there."""
    margins = draw.Margins(left=1.78, right=0.4, top=0.56)
    figure, (axes,) = draw.panels(1, narrow=narrow, height=4.4, margins=margins, width=draw.HERO)
    draw.head(axes, "Time of a sample", "relative to the best batch size")
    sizes, n_train = sorted(set(data["batch_size"])), int(data["n_train"].iloc[0])
    draw.batch_axis(axes, sizes, n_train)
    _, high = draw.finite_range(data["relative"], pad=1.5)
    draw.log_axis(axes, "y", 0.9, max(high, 4.0), draw.plain)
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", length=0)
    starts = []
    for style, rows in _ways(data):
        draw.band(axes, rows["batch_size"], rows["relative_low"], rows["relative_high"],
                  style.colour, 0.12)  # fmt: skip
        _path(axes, rows["batch_size"], rows["relative"], style)
        first = rows.iloc[0]
        text = f"{style.name}  {words.number(first['relative'])}"
        starts.append(draw.EndLabel(first["batch_size"], first["relative"], text, style.colour))
    _start_labels(axes, starts, size=9.0 if narrow else 8.5)
    return figure


def _path(axes: Axes, x: pd.Series, y: pd.Series, style: Look) -> None:
    """A way's line with its points."""
    face = style.colour if style.filled else draw.PAPER
    axes.plot(
        x, y, color=style.colour, linestyle=style.dash, marker=style.marker, mfc=face, ms=4, lw=1.5,
        mew=1.1,
    )  # fmt: skip


def _start_labels(axes: Axes, labels: Sequence[draw.EndLabel], size: float = 8.5) -> None:
    """Name lines at their left ends, moved apart where they would overlap."""
    height = draw.panel_points(axes)[1]
    starts = (axes.transScale + axes.transLimits).transform([(one.x, one.y) for one in labels])
    places = draw.spread(starts[:, 1] * height, size * 1.3, size * 0.4, height)
    for label, (x, y), place in zip(labels, starts, places, strict=True):
        axes.annotate(
            label.text,
            (x, y),
            xycoords="axes fraction",
            xytext=(-12, place - y * height),
            textcoords="offset points",
            color=label.colour,
            fontsize=size,
            ha="right",
            va="center",
            arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.5, "shrinkB": 4},
            annotation_clip=False,
        )


def roofline_data(roofline: Roofline, case: str) -> pd.DataFrame:
    """Points under the roof, a row per way and batch size, and beside them the roofs.

    Columns: those of `Roofline.rows` but `case, title`; `network`, `peak` (flops per second), and
    a column `bandwidth_NAME` (bytes per second) for each level.
    """
    rows = _of_case(roofline, case).drop(columns=["case", "title"])
    bandwidths = {f"bandwidth_{one.name}": one.training for one in roofline.roofs.levels}
    return rows.assign(peak=roofline.roofs.peak, **bandwidths).reset_index(drop=True)


def roofline_title(data: pd.DataFrame) -> str:
    """What look-ahead changes in the smallest batches of a block."""
    least = data["batch_size"].min()
    block = data[(data["batch_size"] == least) & (data["runs"] > 1)].set_index("look_ahead")
    step, ahead = block.loc[False], block.loc[True]
    (less, more), (slow, fast), (of, with_it) = (
        [words.number(row[column] / unit) for row in (step, ahead)]
        for column, unit in (("intensity", 1), ("speed", 1e9), ("share", 0.01))
    )
    return (
        f"{_trained(data)}: {block['runs'].iloc[0]} runs do {less} flops a byte of weights step by "
        f"step, {more} with look-ahead: {slow} and {fast} GF/s, {of}% and {with_it}% of their "
        "nearest roof"
    )


def roofline_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Flops per second against flops per byte: the roofs, and a path over B for each way."""
    margins = draw.Margins(left=1.24, right=0.42, top=0.56, bottom=0.52)
    above = 0.06 + 0.2 * math.ceil(data.groupby(WAY).ngroups / (2 if narrow else 3))
    figure, (axes,) = draw.panels(
        1, narrow=narrow, height=4.9, margins=margins, width=WIDTH, above=above
    )
    draw.head(axes, "Speed", "GF/s")
    low, high = draw.finite_range(data["intensity"], pad=1.6)
    draw.log_axis(axes, "x", low, min(high, 400 * low), draw.plain)
    peak = data["peak"].iloc[0] / 1e9
    lowest = data.loc[data["intensity"] <= axes.get_xlim()[1], "speed"].min() / 1e9
    draw.log_axis(axes, "y", lowest / 1.6, peak * 1.5, draw.plain)
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("flops per byte of the weights' level", loc="left")
    _roofs(axes, data)
    for style, rows in _ways(data):
        _path(axes, rows["intensity"], rows["speed"] / 1e9, style)
    _batch_names(axes, data)
    _look_ahead_arrow(axes, data)
    _key(figure, [style for style, _ in _ways(data)], narrow=narrow)
    return figure


def _roofs(axes: Axes, data: pd.DataFrame) -> None:
    """The fma peak, and a slope for each level, named where it begins."""
    left, right = axes.get_xlim()
    bottom = axes.get_ylim()[0]
    peak = data["peak"].iloc[0] / 1e9
    bandwidths = {
        name.removeprefix("bandwidth_"): data[name].iloc[0] / 1e9
        for name in data.columns
        if name.startswith("bandwidth_")
    }
    axes.plot([peak / max(bandwidths.values()), right], [peak, peak], color=draw.MUTED, lw=1.8)
    axes.annotate(f"fma peak, {words.number(peak, 3)} GF/s", (right, peak), xytext=(0, 5),
                  textcoords="offset points", ha="right", color=draw.MUTED, fontsize=8)  # fmt: skip
    names = []
    for name, bandwidth in bandwidths.items():
        start = max(left, bottom / bandwidth)
        ends = np.array([start, peak / bandwidth])
        axes.plot(ends, ends * bandwidth, color=draw.MUTED, lw=1.1)
        text = f"{name}, {words.number(bandwidth)} GB/s"
        names.append(draw.EndLabel(start, start * bandwidth, text, draw.MUTED))
    _start_labels(axes, names, size=8)


def _batch_names(axes: Axes, data: pd.DataFrame) -> None:
    """Name the first batch size of each path, and the last where it is seen and there is room."""
    names = [(style, rows.iloc[0], (0, -11), "center") for style, rows in _ways(data)]
    names += [(style, rows.iloc[-1], (6, 0), "left") for style, rows in _ways(data)]
    right, taken = axes.get_xlim()[1], np.empty((0, 2))
    for style, row, shift, side in names:
        at = axes.transData.transform((row["intensity"], row["speed"] / 1e9))
        at = at * 72 / axes.figure.dpi + shift  # points
        covered = (np.abs(taken - at) < ROOM).all(axis=1).any()
        if row["intensity"] > right or (side == "left" and covered):
            continue
        taken = np.vstack([taken, at])
        axes.annotate(
            words.batch_label(int(row["batch_size"]), int(row["n_train"])),
            (row["intensity"], row["speed"] / 1e9),
            xytext=shift,
            textcoords="offset points",
            color=style.colour,
            fontsize=8,
            ha=side,
            va="center",
        )


def _look_ahead_arrow(axes: Axes, data: pd.DataFrame) -> None:
    """An arrow from step by step to look-ahead, of the block at the smallest batch size."""
    block = data[(data["batch_size"] == data["batch_size"].min()) & (data["runs"] > 1)]
    start, end = (
        block.loc[block["look_ahead"] == ahead, ["intensity", "speed"]].iloc[0] / [1, 1e9]
        for ahead in (False, True)
    )
    if start["intensity"] == end["intensity"]:  # a batch of a chunk or more: one way for both
        return
    bend = {"arrowstyle": "->", "connectionstyle": "arc3,rad=0.25", "color": draw.INK, "lw": 0.8,
            "shrinkA": 5, "shrinkB": 5}  # fmt: skip
    axes.annotate("", tuple(end), xytext=tuple(start), arrowprops=bend)


def _key(figure: Figure, styles: Sequence[Look], *, narrow: bool) -> None:
    """Name colours, dashes and markers above the panel."""
    width, height = figure.get_size_inches()
    columns, step = (2, 1.7) if narrow else (3, 2.1)
    for place, style in enumerate(styles):
        row, column = divmod(place, columns)
        x, y = 0.1 + column * step, height - draw.TITLE - 0.14 - 0.2 * row
        handle = Line2D(
            [x / width, (x + 0.15) / width, (x + 0.3) / width],
            [y / height] * 3,
            transform=figure.transFigure,
            color=style.colour,
            linestyle=style.dash,
            marker=style.marker,
            markevery=[1],
            mfc=style.colour if style.filled else draw.PAPER,
            ms=4,
        )
        figure.add_artist(handle)
        figure.text((x + 0.36) / width, y / height, style.name, va="center", fontsize=8.5)


def bandwidth_data(roofline: Roofline) -> pd.DataFrame:
    """Bytes per second against the working set, with the level that it is counted to.

    Columns: `working_set` (bytes), `training, reading` (bytes per second), `level, capacity`
    (bytes, inf for memory), `level_training` (what the roofs are drawn with).
    """
    curve, levels = roofline.curve, roofline.roofs.levels
    own = [next(one for one in levels if size <= one.capacity) for size in curve.sizes]
    return pd.DataFrame({
        "working_set": curve.sizes, "training": curve.training, "reading": curve.reading,
        "level": [one.name for one in own], "capacity": [one.capacity for one in own],
        "level_training": [one.training for one in own],
    })  # fmt: skip


def bandwidth_title(data: pd.DataFrame) -> str:
    """What each level moves."""
    told = [
        f"{row.level} {words.number(row.level_training / 1e9)}"
        for row in records(data.drop_duplicates("level"))
    ]
    return f"GB/s to and from each level, as a step of training moves them: {words.join(told)}"


def bandwidth_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Both sweeps against the working set, and the levels."""
    margins = draw.Margins(left=0.5, right=0.8, top=0.56, bottom=0.52)
    figure, (axes,) = draw.panels(1, narrow=narrow, height=3.1, margins=margins, width=WIDTH)
    draw.head(axes, "Bandwidth", "GB/s")
    low, high = float(data["working_set"].min()), float(data["working_set"].max())
    draw.log_axis(axes, "x", low / 1.2, high * 1.2, byte_size)
    axes.xaxis.set_major_locator(FixedLocator([low * 8**k for k in range(9)]))
    axes.set_ylim(0, 1.12 * float(data[["training", "reading"]].to_numpy().max()) / 1e9)
    axes.yaxis.set_major_locator(draw.few_ticks())
    axes.set_xlabel("bytes gone over again and again", loc="left")
    ends = []
    for name, colour, text in (
        ("training", draw.INK, "training"),
        ("reading", draw.PROGRAM_COLOURS["JAX"], "reading"),
    ):
        axes.plot(data["working_set"], data[name] / 1e9, "o-", color=colour, ms=3, lw=1.5)
        ends.append(draw.EndLabel(high, data[name].iloc[-1] / 1e9, text, colour))
    draw.end_labels(axes, ends)
    for _, rows in groups(data, "level"):
        first = rows.iloc[0]
        span = [first["working_set"], rows["working_set"].iloc[-1]]
        axes.plot(span, [first["level_training"] / 1e9] * 2, color=draw.MUTED, lw=6, alpha=0.25)
        axes.annotate(first["level"], (math.sqrt(span[0] * span[1]), 0.97), ha="center", va="top",
                      xycoords=axes.get_xaxis_transform(), color=draw.MUTED)  # fmt: skip
        axes.axvline(span[0] / 2**0.25, color=draw.GRID, lw=0.8)
    return figure


def byte_size(value: float) -> str:
    """Write bytes in the unit that suits them: 32768 is "32 KiB"."""
    unit = max((unit for unit, size in SIZES.items() if value >= size), key=lambda u: SIZES[u])
    return f"{value / SIZES[unit]:.3g} {unit}"


def figures(roofline: Roofline) -> dict[str, FigureSpec]:
    """Return the figures of what was measured, in the order of the page: by case, then the roofs.

    The first one belongs beside the answer.
    """
    found = {}
    for case in dict.fromkeys(roofline.rows["case"]):
        found[f"small_batches_{case}"] = FigureSpec(
            partial(small_batches_data, case=case), small_batches_figure, small_batches_title,
            SMALL_BATCHES.format(title=_title_of(roofline, case)),
        )  # fmt: skip
        found[f"roofline_{case}"] = FigureSpec(
            partial(roofline_data, case=case), roofline_figure, roofline_title,
            UNDER_THE_ROOF.format(title=_title_of(roofline, case)),
        )  # fmt: skip
    bandwidth = FigureSpec(bandwidth_data, bandwidth_figure, bandwidth_title, BANDWIDTH)
    return found | {"bandwidth": bandwidth}


def _title_of(roofline: Roofline, case: str) -> str:
    """A case in words."""
    return str(roofline.rows.loc[roofline.rows["case"] == case, "title"].iloc[0])


SMALL_BATCHES = (
    "{title}: seconds per sample at each batch size over those at the same program's best batch "
    "size; bands reach from the least to the greatest round. A program whose updates cost nothing "
    "beside their samples would be a flat line at 1. Where no program is named it is batchbench."
)
UNDER_THE_ROOF = (
    "{title}: a path from batch size 1 to the full batch for each way of training. No kernel can "
    "be above the horizontal line, which is the arithmetic, nor above the slope of the level that "
    "its weights come from. Bytes are those of weights, counted by the definition below; flops "
    "those that every way needs. Hollow points are step by step, filled ones with look-ahead, "
    "the arrow leads from one to the other at the smallest batch size; "
    "paths that end at the right edge go on beyond it. Where no program is named it is batchbench."
)
BANDWIDTH = (
    "Bytes per second over ever larger working sets, the best of several sweeps: one that reads "
    "the set and then reads and writes it, as a step of training does its weights (bytes of both "
    "are counted), and one that only reads. Broad lines: what the roofs are drawn with."
)
