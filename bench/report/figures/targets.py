"""Time-to-target: against the batch size on three axes, and against the learning rate."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.rates import coarse_rates
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups, records


def answer_data(evidence: Evidence) -> pd.DataFrame:
    """Seconds to the target, a row per program and batch size, each at its own best rate.

    Columns: `program, batch_size, learning_rate, seconds, seconds_low, seconds_high` (inf: not
    reached), `in_set` (cannot be told apart from the best), `recommended, n_seeds, target,
    budget_epochs, n_train`; empty where nothing reached the target, and for
    populations, whose answer is a share.
    """
    if evidence.population is not None or not np.isfinite(evidence.programs["seconds"]).any():
        return pd.DataFrame()
    data = evidence.programs.copy()
    advice = {r.program: r for r in evidence.recommendations if r.axis == "seconds"}
    pairs = list(zip(data["program"], data["batch_size"], strict=True))
    data["in_set"] = [p in advice and b in advice[p].batch_sizes for p, b in pairs]
    data["recommended"] = [p in advice and b == advice[p].cheapest for p, b in pairs]
    summary = _tuned(evidence)[["batch_size", "n_seeds", "budget_epochs"]]
    data = data.merge(summary, on="batch_size")
    data["target"] = evidence.target
    data["n_train"] = evidence.problem.n_train
    columns = ["program", "batch_size", "learning_rate", "seconds", "seconds_low", "seconds_high"]
    columns += ["in_set", "recommended", "n_seeds", "target", "budget_epochs", "n_train"]
    return data[columns]


def _tuned(evidence: Evidence) -> pd.DataFrame:
    """The summary's rows of tuned arms at the middle target."""
    summary = evidence.summary
    return summary[(summary["protocol"] == "tuned") & (summary["target"] == evidence.target)]


def answer_title(data: pd.DataFrame) -> str:
    """The fastest batch size of each program, with its time."""
    best = data[data["recommended"]]
    n_train = int(data["n_train"].iloc[0])
    if best.empty:
        return "No batch size could be recommended"
    parts = [
        f"{row.program} {words.with_batch(int(row.batch_size), n_train)} "
        f"({words.duration(row.seconds)})"
        for row in records(best)
    ]
    return f"The fastest to the target: {words.join(parts)}"


def _program_line(axes: Axes, rows: pd.DataFrame, program: str) -> draw.EndLabel:
    """One program's seconds with their interval; filled points cannot be told apart."""
    colour = draw.PROGRAM_COLOURS.get(program, draw.OTHER_PROGRAM_COLOUR)
    marker = draw.PROGRAM_MARKERS.get(program, "v")
    dash = draw.PROGRAM_DASHES.get(program, (0, (1, 1)))
    reached = rows[np.isfinite(rows["seconds"])]
    draw.band(axes, reached["batch_size"], reached["seconds_low"], reached["seconds_high"], colour)
    axes.plot(reached["batch_size"], reached["seconds"], color=colour, linestyle=dash, lw=1.6)
    for fill, points in (
        (colour, reached[reached["in_set"]]),
        (draw.PAPER, reached[~reached["in_set"]]),
    ):
        axes.plot(
            points["batch_size"], points["seconds"], marker, color=colour, mfc=fill, ms=5, mew=1.2
        )
    draw.not_reached(axes, list(rows.loc[np.isinf(rows["seconds"]), "batch_size"]), colour)
    best = rows[rows["recommended"]]
    text = program
    for row in records(best):
        label = words.batch_label(int(row.batch_size), int(row.n_train))
        text = f"{program}\nbest {label}: {words.duration(row.seconds)}"
    last = reached.iloc[-1] if len(reached) else rows.iloc[-1]
    height = last["seconds"] if len(reached) else axes.get_ylim()[1]
    return draw.EndLabel(last["batch_size"], height, text, colour)


def _programs(axes: Axes, data: pd.DataFrame) -> None:
    """Seconds against batch size, a line a program, named at their right ends."""
    low, high = draw.finite_range(data["seconds"], data["seconds_low"], data["seconds_high"])
    draw.log_axis(axes, "y", low / 1.25, high * 1.4, draw.brief_duration)
    ends = [_program_line(axes, rows, str(program)) for program, rows in groups(data, "program")]
    draw.end_labels(axes, ends)


def _answer_unit(data: pd.DataFrame) -> str:
    """What the picture's marks are; where a triangle stands for "not reached", so it says."""
    missing = data.loc[np.isinf(data["seconds"]), "budget_epochs"]
    if missing.empty:
        return "median, 95% interval"
    return f"median, 95% interval; △ {words.not_within(words.number(missing.max()) + ' passes')}"


def answer_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """The picture of the first screen: seconds to the target, the recommended point ringed."""
    margins = draw.Margins(left=0.56, right=1.06 if narrow else 1.16, top=0.5, bottom=0.62)
    figure, (axes,) = draw.panels(
        1, narrow=narrow, height=3.5 if narrow else 4.2, margins=margins, width=draw.HERO
    )
    batch_sizes = sorted(set(data["batch_size"]))
    draw.batch_axis(axes, batch_sizes, int(data["n_train"].iloc[0]), ends=True)
    target = words.number(data["target"].iloc[0])
    draw.head(axes, f"Time to a training loss of {target}", _answer_unit(data))
    _programs(axes, data)
    best = data[data["recommended"]]
    axes.plot(
        best["batch_size"], best["seconds"], "o", ms=13, mfc="none", mec=draw.INK, mew=1.6, zorder=6
    )
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def time_to_target_data(evidence: Evidence) -> pd.DataFrame:
    """Medians of time-to-target and their intervals: protocols on two axes, programs on the third.

    Columns: `axis ("epochs"|"updates"|"seconds"), line` (protocol or program), `batch_size,
    learning_rate, value, low, high` (inf: not reached), `n_seeds, target, budget_epochs, n_train`;
    empty where nothing reached the target.
    """
    summary = evidence.summary[evidence.summary["target"] == evidence.target]
    base = float(evidence.options["base_batch_size"])
    shown = summary[(summary["protocol"] == "tuned") | (summary["base_batch_size"] == base)]
    names = {
        "tuned": "tuned for each",
        "same": f"same as at {words.number(base)}",
        "linear": f"linear from {words.number(base)}",
    }
    shown = shown[shown["protocol"].isin(names)]
    parts = []
    for axis in ("epochs", "updates"):
        part = shown.rename(columns={axis: "value", f"{axis}_low": "low", f"{axis}_high": "high"})
        parts.append(part.assign(axis=axis, line=part["protocol"].map(names)))
    counts = _tuned(evidence)[["batch_size", "n_seeds", "budget_epochs"]]
    programs = evidence.programs.merge(counts, on="batch_size").rename(
        columns={"seconds": "value", "seconds_low": "low", "seconds_high": "high"}
    )
    parts.append(programs.assign(axis="seconds", line=programs["program"]))
    if not any(np.isfinite(part["value"]).any() for part in parts):
        return pd.DataFrame()
    columns = ["axis", "line", "batch_size", "learning_rate", "value", "low", "high"]
    data = pd.concat([p[[*columns, "n_seeds", "budget_epochs"]] for p in parts], ignore_index=True)
    return data.assign(target=evidence.target, n_train=evidence.problem.n_train)


def time_to_target_title(data: pd.DataFrame) -> str:
    """Passes and updates of the first and of the last arm, tuned."""
    tuned = data[data["line"].str.startswith("tuned")].sort_values("batch_size")
    n_train = int(data["n_train"].iloc[0])
    ends = {
        axis: [
            words.number(value) if math.isfinite(value) else "not reached"
            for value in tuned.loc[tuned["axis"] == axis, "value"].iloc[[0, -1]]
        ]
        for axis in ("epochs", "updates")
    }
    first, last = (int(tuned["batch_size"].iloc[place]) for place in (0, -1))
    if first == last:
        return (
            f"{words.sentence(words.with_batch(first, n_train))}, passes to the target: "
            f"{ends['epochs'][0]}, updates: {ends['updates'][0]}"
        )
    passes, updates = (f"from {ends[axis][0]} to {ends[axis][1]}" for axis in ends)
    span = f"From {words.batch_name(first, n_train)} to {words.batch_name(last, n_train)}"
    return f"{span}, passes to the target go {passes}, updates {updates}"


_LINE_STYLES = {
    "tuned": (draw.INK, "solid", 1.7),
    "same": (draw.MUTED, (0, (1, 1.3)), 1.4),
    "linear": (draw.MUTED, (0, (5, 2)), 1.4),
}


def _protocols(axes: Axes, data: pd.DataFrame) -> None:
    """The three protocols as lines; points of the tuned one in the batch sizes' colours."""
    low, high = draw.finite_range(data["value"], data["low"], data["high"])
    draw.log_axis(axes, "y", low / 1.1, high * 1.35, draw.plain)
    ends = []
    for name, rows in groups(data, "line"):
        line = str(name)
        colour, dash, width = _LINE_STYLES[line.split()[0]]
        reached = rows[np.isfinite(rows["value"])]
        axes.plot(
            reached["batch_size"], reached["value"], color=colour, linestyle=dash, linewidth=width
        )
        if line.startswith("tuned"):
            draw.band(axes, rows["batch_size"], rows["low"], rows["high"], colour)
            n_train = int(rows["n_train"].iloc[0])
            for row in records(reached):
                shade = draw.batch_colour(int(row.batch_size), n_train)
                axes.plot(row.batch_size, row.value, "o", color=shade, ms=5.5, zorder=4)
            draw.not_reached(axes, list(rows.loc[np.isinf(rows["value"]), "batch_size"]), colour)
        if len(reached):
            last = reached.iloc[-1]
            ends.append(draw.EndLabel(last["batch_size"], last["value"], line.split()[0], colour))
    draw.end_labels(axes, ends)


def time_to_target_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Three panels against the batch size: passes, updates, and time for each program."""
    margins = draw.Margins(left=0.52, right=0.78, top=0.56)
    figure, axes = draw.panels(3, narrow=narrow, height=3.5, margins=margins)
    heads = {
        "epochs": ("Passes over the data", "by how the rate is chosen"),
        "updates": ("Updates of the weights", "by how the rate is chosen"),
        "seconds": ("Time", "by program, rate tuned"),
    }
    batch_sizes = sorted(set(data["batch_size"]))
    n_train = int(data["n_train"].iloc[0])
    for panel, (axis, (title, unit)) in zip(axes, heads.items(), strict=True):
        rows = data[data["axis"] == axis]
        draw.head(panel, title, unit)
        draw.batch_axis(panel, batch_sizes, n_train)
        if axis == "seconds":
            named = rows.rename(columns={"line": "program", "value": "seconds"})
            named = named.rename(columns={"low": "seconds_low", "high": "seconds_high"})
            _programs(panel, named.assign(in_set=True, recommended=False))
        else:
            _protocols(panel, rows)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def learning_rate_data(evidence: Evidence) -> pd.DataFrame:
    """Passes to the target against the learning rate, a row per batch size and rate.

    Rates of the coarse lattice (or those given), and the picks. Columns: `batch_size,
    learning_rate, epochs, epochs_low, epochs_high` (inf: not reached), `picked, n_seeds, target,
    n_train`; empty where nothing reached the target.
    """
    cells = evidence.cells
    n_train = evidence.problem.n_train
    picks = dict(zip(evidence.picks["batch_size"], evidence.picks["learning_rate"], strict=True))
    data = cells[["batch_size", "learning_rate", "epochs", "n_seeds"]].assign(
        epochs_low=cells["examples_low"] / n_train,
        epochs_high=cells["examples_high"] / n_train,
        picked=np.isclose(cells["learning_rate"], cells["batch_size"].map(picks), rtol=1e-6),
        target=evidence.target,
        n_train=n_train,
    )
    if not np.isfinite(data["epochs"]).any():
        return pd.DataFrame()
    shown = data["picked"] | ~np.isnan(coarse_rates(data["learning_rate"].to_numpy(float)))
    return data[shown].sort_values(["batch_size", "learning_rate"], ignore_index=True)


def learning_rate_title(data: pd.DataFrame) -> str:
    """The best rates of the first and the last arm."""
    picked = data[data["picked"]].drop_duplicates("batch_size")
    n_train = int(data["n_train"].iloc[0])
    if picked.empty:
        return "No learning rate was picked"
    parts = [
        f"{words.number(row.learning_rate)} {words.with_batch(int(row.batch_size), n_train)}"
        for row in records(picked.iloc[[0, -1]].drop_duplicates("batch_size"))
    ]
    return f"The best learning rate is {words.join(parts)}"


def learning_rate_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Passes to the target against the rate: a line a batch size, the picks marked."""
    batch_sizes = sorted(set(data["batch_size"]))
    n_train = int(data["n_train"].iloc[0])
    above = draw.key_height(len(batch_sizes), narrow=narrow)
    figure, (axes,) = draw.panels(
        1, narrow=narrow, height=3.6, margins=draw.Margins(top=0.56), above=above, width=9.0
    )
    draw.batch_key(figure, batch_sizes, n_train, narrow=narrow)
    draw.head(axes, "Passes to the target", "median; lines end where it is not reached")
    draw.log_axis(axes, "y", *draw.finite_range(data["epochs"]), draw.plain)
    reached = data[np.isfinite(data["epochs"])]
    draw.log_axis(axes, "x", *draw.finite_range(reached["learning_rate"]), draw.plain)
    axes.set_xlabel("learning rate", loc="left")
    for index, batch_size in enumerate(batch_sizes):
        arm = reached[reached["batch_size"] == batch_size]
        colour = draw.batch_colour(batch_size, n_train)
        dash = draw.batch_dash(index, len(batch_sizes))
        axes.plot(arm["learning_rate"], arm["epochs"], color=colour, linestyle=dash, linewidth=1.5)
        pick = arm[arm["picked"]]
        axes.plot(pick["learning_rate"], pick["epochs"], "o", color=colour, ms=6.5, zorder=4)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


FIGURES = {
    "answer": FigureSpec(
        answer_data,
        answer_figure,
        answer_title,
        "Time to the target against the batch size, a line a program, each batch size at its own "
        "best learning rate: median and 95% interval. Ringed: the fastest. Filled points cannot "
        "be told apart from it.",
    ),
    "time_to_target": FigureSpec(
        time_to_target_data,
        time_to_target_figure,
        time_to_target_title,
        "Median and 95% interval over seeds of the passes, the updates and the time to the target "
        "against the batch size. Tuned: each batch size at its own best rate; same: the base's "
        "rate everywhere; linear: the base's rate in proportion to the batch size.",
    ),
    "learning_rate": FigureSpec(
        learning_rate_data,
        learning_rate_figure,
        learning_rate_title,
        "Median passes to the target against the learning rate, a line a batch size. Points: the "
        "rate picked on the tuning seeds.",
    ),
}
