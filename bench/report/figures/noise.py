"""Noise: the gradient's variance against the batch size, its scale, the share of uphill updates."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence
from bench.analysis.recommend import MARGIN
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.figures.tradeoff import CRITICAL, between
from bench.report.frames import groups, records

_POPULATION_COLOUR = draw.PROGRAM_COLOURS["scikit-learn"]
_CRITICAL_COLOUR = draw.PROGRAM_COLOURS["PyTorch"]
_STATE_DASHES = ("solid", (0, (4, 2)), (0, (1, 1.3)))


def noise_data(evidence: Evidence) -> pd.DataFrame:
    """Medians over seeds of gradient variance and alignment at an early, a middle, a late state.

    Columns: `state, epochs, batch_size, variance` (measured), `predicted` (s2/B (1 - B/N)), `snr,
    cosine_low, cosine_median, cosine_high` (of the angle between batch and full gradient),
    `n_seeds, n_train`; empty where the study has no states, or the full batch only.
    """
    noise = evidence.noise
    if noise.empty or not (noise["predicted"] > 0).any():
        return pd.DataFrame()
    states = sorted(set(noise["state"]))
    shown = dict.fromkeys([states[0], states[len(states) // 2], states[-1]])
    values = ["epochs", "variance", "predicted", "snr"]
    values += ["cosine_low", "cosine_median", "cosine_high"]
    states_and_sizes = noise[noise["state"].isin(list(shown))].groupby(["state", "batch_size"])
    data = states_and_sizes[values].median().assign(n_seeds=states_and_sizes["seed"].nunique())
    return data.reset_index().assign(n_train=evidence.problem.n_train)


def noise_title(data: pd.DataFrame) -> str:
    """How far a measured variance typically is from the formula, and the noise at B = 1."""
    part = data[data["predicted"] > 0]
    off = float((part["variance"] / part["predicted"] - 1).abs().median())
    smallest = int(data["batch_size"].min())
    ratio = 1 / float(data.loc[data["batch_size"] == smallest, "snr"].median())
    arm = words.with_batch(smallest, int(data["n_train"].iloc[0]))
    return (
        f"{words.sentence(arm)}, the gradient's variance is {words.number(ratio)} times the full "
        f"gradient's square; measured and computed typically differ by {words.percent(off)}"
    )


def noise_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Two panels: variance with the formula's line, and the angle to the full gradient."""
    margins = draw.Margins(left=0.66, right=0.92, top=0.56)
    figure, (variance, cosine) = draw.panels(2, narrow=narrow, height=3.4, margins=margins)
    n_train, sizes = int(data["n_train"].iloc[0]), sorted(set(data["batch_size"]))
    draw.head(
        variance, "Variance of a batch's gradient", "points: measured; lines: s²/B · (1 − B/N)"
    )
    draw.head(cosine, "Alignment with the full gradient", "cosine, median; shaded: most batches")
    part = data[data["predicted"] > 0]
    draw.batch_axis(variance, sizes, n_train)
    draw.batch_axis(cosine, sizes, n_train)
    draw.log_axis(
        variance, "y", *draw.finite_range(part["variance"], part["predicted"], pad=1.5), draw.plain
    )
    cosine.set_ylim(min(0.0, float(data["cosine_low"].min())) - 0.04, 1.06)
    cosine.yaxis.set_major_locator(draw.few_ticks())
    early = data[data["state"] == data["state"].min()]
    draw.band(cosine, early["batch_size"], early["cosine_low"], early["cosine_high"], draw.INK)
    ends = []
    for dash, (_, rows) in zip(_STATE_DASHES, groups(data, "state"), strict=False):
        law = rows[rows["predicted"] > 0]
        variance.plot(law["batch_size"], law["predicted"], color=draw.INK, lw=1.1, ls=dash)
        cosine.plot(rows["batch_size"], rows["cosine_median"], color=draw.INK, lw=1.1, ls=dash)
        text = f"{words.number(rows['epochs'].iloc[0])} passes"
        last = law.iloc[-1]
        ends.append(draw.EndLabel(last["batch_size"], last["predicted"], text, draw.INK))
        for row in records(rows):
            colour = draw.batch_colour(int(row.batch_size), n_train)
            cosine.plot(row.batch_size, row.cosine_median, "o", color=colour, ms=4.5, zorder=4)
            if row.predicted > 0:
                variance.plot(row.batch_size, row.variance, "o", color=colour, ms=4.5, zorder=4)
    draw.end_labels(variance, ends)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def noise_scale_data(evidence: Evidence) -> pd.DataFrame:
    """Noise scale averaged over seeds at each state, its average, and the critical batch size.

    Columns: those of `Evidence.noise_average`; `run, run_low, run_high` (the population's,
    averaged over all states); `critical, critical_low, critical_high` of `Evidence.tradeoff` at the
    middle target (NaN: not identified) and `compared` (whether there is a trade-off); `n_train`.
    Empty where the study has no states.
    """
    if evidence.noise_average.empty:
        return pd.DataFrame()
    average = evidence.noise_average
    run = average[average["over"] == "run"].iloc[0]
    data = average[(average["over"] == "seeds") & np.isfinite(average["training_set"])]
    data = data.assign(run=run["population"], run_low=run["low"], run_high=run["high"])
    compared = not evidence.tradeoff.empty
    data[CRITICAL] = np.nan
    if compared:
        row = evidence.tradeoff[evidence.tradeoff["target"] == evidence.target].iloc[0]
        data[CRITICAL] = row[CRITICAL].to_numpy(float) if row["critical_by"] else np.nan
    return data.assign(compared=compared, n_train=evidence.problem.n_train).reset_index(drop=True)


def noise_scale_title(data: pd.DataFrame) -> str:
    """How the noise scale changes along the run, its average, and the critical batch size."""
    first, last = (float(data["training_set"].iloc[place]) for place in (0, -1))
    change = last / first
    grows = "grows" if change > MARGIN else "falls" if change < 1 / MARGIN else "goes"
    title = (
        f"The training samples' noise scale {grows} from {words.number(first)} to "
        f"{words.number(last)}"
    )
    row = next(records(data))
    if math.isfinite(row.run):
        title += f"; averaged, the population's is {words.number(row.run)} "
        title += between(row.run_low, row.run_high)
    else:
        title += "; averaged, the population's is not identified"
    if not row.compared:
        return title
    if not math.isfinite(row.critical):
        return (
            f"{title}, nor is the critical batch size"
            if math.isnan(row.run)
            else (f"{title}, the critical batch size is not identified")
        )
    return (
        f"{title}, the measured critical batch size {words.number(row.critical)} "
        f"{between(row.critical_low, row.critical_high)}"
    )


def _levels(axes: Axes, data: pd.DataFrame) -> list[draw.EndLabel]:
    """The critical batch size and the population's average as levels, with names."""
    row, right = next(records(data)), axes.get_xlim()[1]
    labels = []
    if math.isfinite(row.critical):
        low, high = max(row.critical_low, axes.get_ylim()[0]), row.critical_high
        axes.axhspan(low, min(high, axes.get_ylim()[1]), color=_CRITICAL_COLOUR, alpha=0.13, lw=0)
        axes.axhline(row.critical, color=_CRITICAL_COLOUR, lw=1.3, ls=(0, (6, 2)))
        text = f"critical batch\nsize {words.number(row.critical)}"
        labels.append(draw.EndLabel(right, row.critical, text, _CRITICAL_COLOUR))
    if math.isfinite(row.run):
        axes.axhline(row.run, color=_POPULATION_COLOUR, lw=1.0, ls=(0, (1, 1.3)))
        text = f"population,\naveraged {words.number(row.run)}"
        labels.append(draw.EndLabel(right, row.run, text, _POPULATION_COLOUR))
    return labels


def noise_scale_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Noise scale against passes: exact, and estimated with its interval; two levels beside."""
    margins = draw.Margins(left=0.6, right=1.14, top=0.56)
    figure, (axes,) = draw.panels(1, narrow=narrow, height=3.6, margins=margins, width=9.0)
    unknown = data[~data["identified"].astype(bool)]
    mark = "; △ population's not identified" if len(unknown) else ""
    draw.head(axes, "Gradient noise scale", f"in samples{mark}")
    draw.log_axis(axes, "x", *draw.finite_range(data["epochs"], pad=1.08), draw.plain)
    axes.set_xlabel("passes over the data", loc="left")
    shown = data[["training_set", "population", "low", "run", *CRITICAL]].to_numpy(float)
    low, high = draw.finite_range(shown, pad=1.3)
    # An upper end may be thousands of times the estimate: the frame leaves it room, not all it asks
    top = draw.finite_range(np.minimum(data["high"], 3.0 * high), pad=1.0)[1]
    draw.log_axis(axes, "y", low, max(high, top), draw.plain)
    draw.band(axes, data["epochs"], data["low"], data["high"], _POPULATION_COLOUR)
    labels = _levels(axes, data)
    for column, text, colour in (
        ("training_set", "training samples", draw.INK),
        ("population", "population", _POPULATION_COLOUR),
    ):
        axes.plot(data["epochs"], data[column], "-o", color=colour, lw=1.5, ms=4.5)
        known = data[np.isfinite(data[column])]
        if len(known):
            last = known.iloc[-1]
            labels.append(draw.EndLabel(last["epochs"], last[column], text, colour))
    draw.not_reached(axes, list(unknown["epochs"]), _POPULATION_COLOUR)
    draw.end_labels(axes, labels)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def uphill_data(evidence: Evidence) -> pd.DataFrame:
    """Share of single updates that raise the full-train loss, by seed.

    A row per kind of states ("same": of the base arm, all at the rate of B = 1; "own": of each
    arm, at its own rate) and batch size: quantiles over seeds of the mean over states. Columns:
    `states, batch_size, learning_rate, q10, q25, q50, q75, q90, n_seeds, n_train`; empty where the
    study has no states.
    """
    uphill = evidence.uphill
    if uphill.empty:
        return pd.DataFrame()
    keys = ["states", "batch_size", "learning_rate"]
    seeds = uphill.groupby([*keys, "seed"])["share"].mean().groupby(keys)
    data = seeds.quantile([0.1, 0.25, 0.5, 0.75, 0.9]).unstack()
    data.columns = ["q10", "q25", "q50", "q75", "q90"]
    data["n_seeds"] = seeds.size()
    return data.reset_index().assign(n_train=evidence.problem.n_train)


def uphill_title(data: pd.DataFrame) -> str:
    """Uphill shares from the same states: per sample, and the other batch sizes."""
    states = "same" if (data["states"] == "same").any() else "own"
    rows = data[data["states"] == states].sort_values("batch_size")
    n_train = int(data["n_train"].iloc[0])
    parts = [
        f"{words.percent(row.q50)} {words.with_batch(int(row.batch_size), n_train)}"
        for row in records(rows)
    ]
    where = "From the same states at the same rate" if states == "same" else "From its own states"
    return f"{where}, the share of updates that raise the training loss is {words.join(parts)}"


def uphill_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Two panels of quantile bars, a row a batch size: from the same states, from its own."""
    kinds = [kind for kind in ("same", "own") if (data["states"] == kind).any()]
    n_train = int(data["n_train"].iloc[0])
    most = data.groupby("states").size().max()
    margins = draw.Margins(left=1.08, right=0.5, top=0.56)
    figure, axes = draw.panels(
        len(kinds), narrow=narrow, height=1.15 + 0.36 * most, margins=margins
    )
    heads = {
        "same": ("Same states, same rate", "share of updates that raise the loss"),
        "own": ("Own states, own rate", "share of updates that raise the loss"),
    }
    for panel, kind in zip(axes, kinds, strict=True):
        rows = data[data["states"] == kind].sort_values("batch_size", ascending=False)
        draw.head(panel, *heads[kind])
        panel.grid(visible=False)
        panel.grid(axis="x", color=draw.GRID, linewidth=0.8)
        panel.set(xlim=(0, max(0.5, float(data["q90"].max()) * 1.08)), ylim=(-0.6, len(rows) - 0.4))
        panel.xaxis.set_major_locator(draw.few_ticks())
        panel.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
        names = [words.batch_name(int(b), n_train) for b in rows["batch_size"]]
        panel.set_yticks(np.arange(len(rows)), names)
        panel.tick_params(axis="y", labelcolor=draw.INK)
        for place, row in enumerate(records(rows)):
            colour = draw.batch_colour(int(row.batch_size), n_train)
            panel.plot([row.q10, row.q90], [place] * 2, color=colour, linewidth=1.2)
            panel.plot([row.q25, row.q75], [place] * 2, color=colour, linewidth=5)
            panel.plot(row.q50, place, "o", color=colour, mfc=draw.PAPER, ms=6, mew=1.6)
            panel.annotate(
                words.percent(row.q50),
                (row.q90, place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
    draw.seeds_note(figure, data["n_seeds"])
    return figure


FIGURES = {
    "noise": FigureSpec(
        noise_data,
        noise_figure,
        noise_title,
        "Left: variance of the gradient of a random batch against the batch size, measured and by "
        "the formula for drawing without replacement (a check of the program), early, midway and "
        "late. Right: cosine of the angle between a batch's gradient and the full one.",
    ),
    "noise_scale": FigureSpec(
        noise_scale_data,
        noise_scale_figure,
        noise_scale_title,
        "The batch size at which a gradient's noise is as large as the full gradient, along the "
        "base batch size's runs up to the target: of the training samples (exact), and estimated "
        "for the population that they come from, with its 95% interval over examples (a triangle: "
        "not identified, only bounded below). The estimate is too large once the network has "
        "fitted these samples. Averages are ratios of means over seeds and states. The critical "
        "batch size is measured by training, where the passes are twice their least.",
    ),
    "uphill": FigureSpec(
        uphill_data,
        uphill_figure,
        uphill_title,
        "Share of single updates after which the loss on the whole training split is higher than "
        "before: median over seeds, middle half (thick), 10 to 90% (thin).",
    ),
}
