"""Rules of thumb: scaling the learning rate, held-out scores, and powers of two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence
from bench.analysis.intervals import median_interval
from bench.analysis.thumb import power_ratios, reach
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups, records
from bench.report.thumb import reaches_told

_SCALINGS: dict[str, tuple[str, str, Any, str]] = {
    "linear": ("linear", draw.INK, "solid", "o"),
    "square root": ("square root", draw.PROGRAM_COLOURS["scikit-learn"], (0, (6, 2)), "s"),
}
"""Label, colour, dashes and marker of each way to scale."""


def scaling_data(evidence: Evidence) -> pd.DataFrame:
    """Time at a scaled learning rate over that at the tuned one, a row per base, rule, batch size.

    Columns: `base_batch_size, protocol ("linear"|"square root"), batch_size, ratio, low, high`
    (inf: not reached; 1 at the base itself), `verdict, reach_from, reach_to` (all between are
    within the margin), `margin, n_seeds, n_train`; empty where no scaled rate was run.
    """
    rows = pd.DataFrame([row for row in evidence.claims if row["claim"] == "R2"])
    if rows.empty:
        return rows
    parts = []
    for (base, protocol), mine in rows.groupby(["base_batch_size", "protocol"], sort=False):
        verdicts = dict(zip(mine["batch_size"], mine["verdict"], strict=True))
        ends = reach(verdicts, int(base))
        part = mine[["batch_size", "effect", "low", "high", "verdict", "margin", "n_seeds"]]
        itself = {"batch_size": base, "verdict": "base", "margin": mine["margin"].iloc[0]}
        itself |= dict.fromkeys(("effect", "low", "high"), 1.0)
        itself |= {"n_seeds": mine["n_seeds"].max()}
        part = pd.concat([part, pd.DataFrame([itself])]).sort_values("batch_size")
        about = {"base_batch_size": base, "protocol": protocol}
        parts.append(part.assign(**about, reach_from=ends[0], reach_to=ends[1]))
    data = pd.concat(parts, ignore_index=True).rename(columns={"effect": "ratio"})
    return data.assign(n_train=evidence.problem.n_train)


def scaling_title(data: pd.DataFrame) -> str:
    """From which to which batch size each rule stays within the margin, from each base."""
    first = data.drop_duplicates(["protocol", "base_batch_size"])
    ends = {
        (str(row.protocol), int(row.base_batch_size)): (int(row.reach_from), int(row.reach_to))
        for row in records(first)
    }
    return reaches_told(ends, float(first["margin"].iloc[0]), int(first["n_train"].iloc[0]))


def scaling_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A panel a base: time over that of the tuned rate, by way to scale, the margin shaded."""
    bases = list(dict.fromkeys(data["base_batch_size"]))
    n_train, sizes = int(data["n_train"].iloc[0]), sorted(set(data["batch_size"]))
    margins = draw.Margins(left=0.52, right=0.98, top=0.56)
    width = draw.WIDE if len(bases) > 1 else 6.4
    figure, axes = draw.panels(len(bases), narrow=narrow, height=3.3, margins=margins, width=width)
    low, high = draw.finite_range(data["ratio"], data["low"], data["high"])
    missed = np.isinf(data["ratio"]).any()
    unit = "time over the tuned rate's" + ("; △ not reached" if missed else "")
    for panel, base in zip(axes, bases, strict=True):
        name = words.batch_name(int(base), n_train)
        draw.head(panel, f"Scaled from {name}", unit)
        draw.batch_axis(panel, sizes, n_train)
        draw.log_axis(panel, "y", min(low, 0.75), max(high, 2.0), draw.plain)
        margin = float(data["margin"].iloc[0])
        panel.axhspan(panel.get_ylim()[0], margin, color=draw.SHADE, zorder=0)
        panel.axvline(base, color=draw.MUTED, linewidth=0.7)
        mine = data[data["base_batch_size"] == base]
        draw.end_labels(panel, [_scaled_line(panel, rows) for _, rows in groups(mine, "protocol")])
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def _scaled_line(axes: Axes, rows: pd.DataFrame) -> draw.EndLabel:
    """One rule's ratios with their intervals; its label is left to the caller."""
    label, colour, dash, marker = _SCALINGS[str(rows["protocol"].iloc[0])]
    reached = rows[np.isfinite(rows["ratio"])]
    draw.band(axes, reached["batch_size"], reached["low"], reached["high"], colour, alpha=0.12)
    axes.plot(reached["batch_size"], reached["ratio"], color=colour, linestyle=dash, lw=1.5)
    axes.plot(reached["batch_size"], reached["ratio"], marker, color=colour, ms=4.5)
    draw.not_reached(axes, list(rows.loc[np.isinf(rows["ratio"]), "batch_size"]), colour)
    last = reached.iloc[-1]
    return draw.EndLabel(last["batch_size"], last["ratio"], label, colour)


_MOMENTS = {
    "at_1": "At the same training loss",
    "best": "At its best",
}
"""Columns of `Evidence.generalization` that are drawn."""


def generalization_data(evidence: Evidence) -> pd.DataFrame:
    """Medians of the held-out score at the middle target and at its best, by batch size.

    Columns: `moment ("at_1"|"best"), batch_size, learning_rate, value, low, high, n_seeds` (runs
    that have a score there), `score ("accuracy"|"rmse"), n_test, target, n_train`; empty where
    nothing is held out.
    """
    table = evidence.generalization
    if table.empty:
        return table
    rows = []
    for moment in _MOMENTS:
        for (size, rate), runs in table.groupby(["batch_size", "learning_rate"]):
            found = median_interval(runs[moment].to_numpy(float))
            if found.n:
                rows.append([moment, size, rate, found.value, found.low, found.high, found.n])
    names = ["moment", "batch_size", "learning_rate", "value", "low", "high", "n_seeds"]
    return pd.DataFrame(rows, columns=names).assign(
        score="accuracy" if evidence.problem.network.is_classifier else "rmse",
        n_test=len(evidence.problem.scored_test[0]),
        target=evidence.target,
        n_train=evidence.problem.n_train,
    )


def _score(value: float, score: str) -> str:
    """A score: an accuracy with three digits as a percentage, an rmse with three digits."""
    return f"{100 * value:.3g}%" if score == "accuracy" else words.number(value, 3)


def generalization_title(data: pd.DataFrame) -> str:
    """The first and the last arm's scores, at the same training loss and at best."""
    n_train, score = int(data["n_train"].iloc[0]), str(data["score"].iloc[0])
    parts = []
    for moment, rows in groups(data, "moment"):
        ends = rows.iloc[[0, -1]].drop_duplicates("batch_size")
        told = words.join(
            f"{_score(row.value, score)} {words.with_batch(int(row.batch_size), n_train)}"
            for row in records(ends)
        )
        parts.append(f"{_MOMENTS[str(moment)].lower()} {told}")
    name = "accuracy" if score == "accuracy" else "error (RMSE)"
    return f"Held-out {name}: {'; '.join(parts)}"


def generalization_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Two panels against the batch size: the held-out score at the target, and at its best."""
    moments = list(dict.fromkeys(data["moment"]))
    n_train, score = int(data["n_train"].iloc[0]), str(data["score"].iloc[0])
    margins = draw.Margins(left=0.62, top=0.56)
    figure, axes = draw.panels(len(moments), narrow=narrow, height=3.2, margins=margins)
    low, high = draw.finite_range(data["low"], data["value"], data["high"], pad=1.0)
    pad = max(0.08 * (high - low), 0.002)
    for panel, moment in zip(axes, moments, strict=True):
        rows = data[data["moment"] == moment]
        title = _MOMENTS[moment]
        if moment == "at_1":
            title = f"At a training loss of {words.number(data['target'].iloc[0])}"
        draw.head(panel, title, "median, 95% interval over seeds")
        draw.batch_axis(panel, sorted(set(data["batch_size"])), n_train)
        panel.set_ylim(low - pad, high + pad)
        panel.yaxis.set_major_locator(draw.few_ticks())
        panel.yaxis.set_major_formatter(lambda value, _: _score(value, score))
        draw.band(panel, rows["batch_size"], rows["low"], rows["high"], draw.INK, alpha=0.08)
        for row in records(rows):
            colour = draw.batch_colour(int(row.batch_size), n_train)
            ends = np.clip([row.low, row.high], *panel.get_ylim())
            panel.plot([row.batch_size] * 2, ends, color=colour, linewidth=2)
            panel.plot(row.batch_size, row.value, "o", color=colour, mfc=draw.PAPER, ms=6, mew=1.6)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def powers_data(evidence: Evidence) -> pd.DataFrame:
    """Seconds per sample at powers of two and beside them, a row per program and batch size.

    Columns: `program, batch_size, seconds_per_sample, low, high` (median and its interval over
    rounds), `ratio` (beside over at a power of two; NaN at one), `power, n_rounds`; empty where
    it was not measured.
    """
    if evidence.powers.empty:
        return evidence.powers
    ratios = {(p, b): found.value for (p, b, _), found in power_ratios(evidence.powers).items()}
    rows = []
    for (program, size), rounds in evidence.powers.groupby(["program", "batch_size"], sort=False):
        found = median_interval(rounds["seconds_per_sample"].to_numpy(float))
        power = int(size).bit_count() == 1
        ratio = ratios.get((str(program), int(size)), np.nan)
        rows.append([program, size, found.value, found.low, found.high, ratio, power, found.n])
    names = ["program", "batch_size", "seconds_per_sample", "low", "high", "ratio", "power"]
    return pd.DataFrame(rows, columns=[*names, "n_rounds"])


def powers_title(data: pd.DataFrame) -> str:
    """The least and the largest ratio of each program."""
    parts = []
    for program, rows in groups(data, "program"):
        low, high = (words.number(x) for x in (rows["ratio"].min(), rows["ratio"].max()))
        span = low if low == high else f"{low} to {high}"
        parts.append(f"{span} times as long in {program}")
    return f"Beside a power of two a sample takes {words.join(parts)}"


def powers_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A panel a program: seconds per sample at each batch size, powers of two filled."""
    programs = list(dict.fromkeys(data["program"]))
    sizes = sorted(set(data["batch_size"]))
    # Batch sizes stand side by side: on a scale of their own 31, 32 and 33 were one
    places = {size: place + 0.8 * (size > MIDWAY) for place, size in enumerate(sizes)}
    margins = draw.Margins(left=0.62, right=0.12, top=0.56)
    figure, axes = draw.panels(len(programs), narrow=narrow, height=2.9, margins=margins)
    for panel, program in zip(axes, programs, strict=True):
        rows = data[data["program"] == program]
        colour = draw.PROGRAM_COLOURS.get(program, draw.OTHER_PROGRAM_COLOUR)
        draw.head(panel, program, "filled: power of two")
        low, high = draw.finite_range(rows["seconds_per_sample"], rows["low"], rows["high"])
        draw.log_axis(panel, "y", low, high, draw.brief_duration)
        panel.set_xlim(-0.5, max(places.values()) + 0.5)
        # Three digits side by side: "100" and "127" must not read as one number
        panel.set_xticks(list(places.values()), [str(size) for size in sizes], fontsize=7)
        panel.set_xlabel("batch size", loc="left")
        for row in records(rows):
            x, ends = places[row.batch_size], np.clip([row.low, row.high], low, high)
            fill = colour if row.power else draw.PAPER
            panel.plot([x] * 2, ends, color=colour, linewidth=1.4)
            panel.plot(x, row.seconds_per_sample, "o", color=colour, mfc=fill, ms=6, mew=1.4)
    draw.seeds_note(figure, data["n_rounds"], "round")
    return figure


MIDWAY = 48  # between the batch sizes around 32 and those around 128

FIGURES = {
    "thumb_scaling": FigureSpec(
        scaling_data,
        scaling_figure,
        scaling_title,
        "Time to the target at a learning rate scaled from a base's, over the time at the batch "
        "size's own tuned rate: median and 95% interval over seeds. Shaded: within the margin. The "
        "vertical line is the base, where the ratio is 1 by definition.",
    ),
    "thumb_generalization": FigureSpec(
        generalization_data,
        generalization_figure,
        generalization_title,
        "Score on the held-out test split against the batch size, each at its own best rate: left "
        "when the target training loss is reached, right at the evaluation at which the median "
        "over the tuning seeds is best. Intervals are over seeds, for this one split.",
    ),
    "thumb_powers": FigureSpec(
        powers_data,
        powers_figure,
        powers_title,
        "Seconds per sample of an update at powers of two (filled) and beside them, in each "
        "program: median over rounds of timing and its interval. Each program has a scale of its "
        "own.",
    ),
}
