"""The notes' XOR: how often networks learn it, why they fail, and what they have learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence
from bench.analysis.outcomes import CAUSES
from bench.analysis.xor import ANY, share_of
from bench.problems.xor import levels_of
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups, records
from kernels import forward

CAUSE_COLOURS = {
    "solved": draw.OUTCOME_COLOURS["solved"],
    "diverged": draw.OUTCOME_COLOURS["diverged"],
    "dead": draw.OUTCOME_COLOURS["dead"],
    "one unit": draw.CAUSE_COLOURS[0],
    "symmetric": draw.CAUSE_COLOURS[1],
    "plateau ln 2": draw.CAUSE_COLOURS[2],
    "plateau one corner": draw.CAUSE_COLOURS[3],
    "still falling": draw.OUTCOME_COLOURS["slow"],
}
OTHER_CAUSE_COLOUR = draw.OUTCOME_COLOURS["stuck"]
GRID_POINTS = 49


def xor_success_data(evidence: Evidence) -> pd.DataFrame:
    """Shares of the networks of each variant that were solved, or failed from each cause.

    A row per variant and cause (`solved` first), at the variant's best batch size and rate, picked
    on the tuning blocks: `variant, n_params, batch_size, learning_rate, cause, label, share, low,
    high, n_runs, n_train`; empty where the study trains no populations.
    """
    if evidence.population is None:
        return pd.DataFrame()
    success = evidence.population.success
    causes = evidence.population.causes[["variant", "cause", "label", "share", "low", "high"]]
    arms = success[["variant", "n_params", "batch_size", "learning_rate", "n_runs"]]
    order = {variant: place for place, variant in enumerate(success["variant"])}
    data = arms.merge(causes, on="variant").assign(n_train=evidence.problem.n_train)
    return data.sort_values("variant", key=lambda v: v.map(order), kind="stable", ignore_index=True)


def _percent_range(row: pd.Series) -> str:
    return words.percent_interval(float(row["share"]), float(row["low"]), float(row["high"]))


def xor_success_title(data: pd.DataFrame) -> str:
    """Success of the first variant, the notes' own, and of the best."""
    solved = data[data["cause"] == "solved"].reset_index(drop=True)
    first, best = solved.iloc[0], solved.loc[solved["share"].idxmax()]
    text = f"{_percent_range(first)} of the {first['variant']} networks learn XOR"
    if best["variant"] == first["variant"]:
        return f"{text}, more than of any other variant"
    return f"{text}; best is {words.variant_name(best['variant'])}: {_percent_range(best)}"


def xor_success_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A bar a variant, filled from the left with the solved share, then the causes of failure."""
    named = data.assign(bar=[_variant_name(v, narrow) for v in data["variant"]])
    left = 1.3 if narrow else 2.0
    return _share_bars(named, draw.WIDE, left, narrow=narrow)


def _share_bars(data: pd.DataFrame, width: float, left: float, *, narrow: bool) -> Figure:
    """Stacked bars of shares: `bar, cause, share, low, high, n_runs`, in the order of the rows."""
    bars = list(dict.fromkeys(data["bar"]))
    shares = data.pivot(index="bar", columns="cause", values="share").reindex(bars).fillna(0.0)
    causes = [c for c in CAUSE_COLOURS if c in shares and shares[c].sum() > 0]
    causes += [c for c in shares if c not in CAUSE_COLOURS and shares[c].sum() > 0]
    colours = {cause: CAUSE_COLOURS.get(cause, OTHER_CAUSE_COLOUR) for cause in causes}
    columns = 2 if narrow else 3 if width == draw.HERO else 4
    above = 0.14 + 0.2 * -(-len(causes) // columns)
    margins = draw.Margins(left=left, right=0.32, top=0.1, bottom=0.5)
    height = (0.36 if len(bars) > 4 else 0.7) * len(bars) + margins.top + margins.bottom
    figure, (axes,) = draw.panels(
        1, narrow=narrow, height=height, margins=margins, above=above, width=width
    )
    axes.grid(visible=False)
    axes.set(xlim=(0, 1), ylim=(len(bars) - 0.4, -0.6))
    start = np.zeros(len(bars))
    for cause in causes:
        axes.barh(
            np.arange(len(bars)), shares[cause], left=start, height=0.72, color=colours[cause],
            edgecolor=draw.PAPER, linewidth=0.6, hatch="////" if cause == "diverged" else None,
        )  # fmt: skip
        start += shares[cause].to_numpy()
    _mark_solved(axes, data[data["cause"] == "solved"].set_index("bar").reindex(bars))
    axes.set_yticks(np.arange(len(bars)), bars)
    axes.tick_params(axis="y", labelcolor=draw.INK)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    axes.set_xlabel("share of networks", loc="left")
    draw.colour_key(figure, list(colours.items()), columns=columns)
    draw.seeds_note(figure, data["n_runs"], "network")
    return figure


def _mark_solved(axes: Axes, solved: pd.DataFrame) -> None:
    """Write each bar's solved share into it, or behind its interval, and draw the interval."""
    width = draw.panel_points(axes)[0]
    for place, row in enumerate(records(solved)):
        # light below dark: it is seen on bars of either colour
        for colour, linewidth in ((draw.PAPER, 4.2), (draw.INK, 1.4)):
            axes.plot([row.low, row.high], [place] * 2, color=colour, linewidth=linewidth)
        inside = row.low * width > 36
        axes.annotate(
            words.percent(row.share),
            (row.low if inside else row.high, place),
            xytext=(-5 if inside else 6, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            color=draw.PAPER if inside else draw.INK,
            fontweight="bold",
            bbox=None if inside else {"facecolor": draw.PAPER, "edgecolor": "none", "pad": 1.5},
        )


def xor_answer_data(evidence: Evidence) -> pd.DataFrame:
    """What became of the problem's own networks at each batch size, each at its own best rate.

    A row per batch size and cause (`solved` first): `batch_size, learning_rate, cause, share,
    low, high` (95% interval of the solved share, else NaN), `n_runs, n_train`; empty where the
    study trains no populations.
    """
    if evidence.population is None:
        return pd.DataFrame()
    counts, best = evidence.population.counts, evidence.population.by_batch_size
    own = evidence.population.success["variant"].iloc[0]
    rows = []
    for arm in records(best[best["variant"] == own].sort_values("batch_size")):
        cell = counts[
            (counts["variant"] == own)
            & (counts["role"] == "report")
            & (counts["batch_size"] == arm.batch_size)
            & np.isclose(counts["learning_rate"], arm.learning_rate, rtol=1e-6)
        ]
        at = [arm.batch_size, arm.learning_rate]
        rows.append([*at, "solved", arm.success, arm.low, arm.high, arm.n_runs])
        for cause in CAUSES:
            share = cell[cause].sum() / cell["n"].sum()
            rows.append([*at, cause, share, np.nan, np.nan, arm.n_runs])
    names = ["batch_size", "learning_rate", "cause", "share", "low", "high", "n_runs"]
    return pd.DataFrame(rows, columns=names).assign(n_train=evidence.problem.n_train)


def xor_answer_title(data: pd.DataFrame) -> str:
    """The solved share at each batch size."""
    n_train = int(data["n_train"].iloc[0])
    parts = [
        f"{words.percent(row.share)} {words.with_batch(int(row.batch_size), n_train)}"
        for row in records(data[data["cause"] == "solved"])
    ]
    return f"This network learns XOR from {words.join(parts)} of its starts"


def xor_answer_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """The picture of the first screen: a bar a batch size, solved and the causes of failure."""
    n_train = int(data["n_train"].iloc[0])
    names = [words.sentence(words.batch_name(int(b), n_train)) for b in data["batch_size"]]
    return _share_bars(data.assign(bar=names), draw.HERO, 1.1, narrow=narrow)


def _variant_name(variant: str, narrow: bool) -> str:
    """A variant's name, on two lines where there is little room."""
    name = words.variant_name(variant)
    return name.replace(" ", "\n", 1) if narrow and len(name) > 14 else name


def xor_batch_data(evidence: Evidence) -> pd.DataFrame:
    """Share of networks that learn XOR, by variant and batch size, each at its own best rate.

    Columns: `variant, batch_size, learning_rate, success, low, high, n_runs, n_train`.
    """
    if evidence.population is None:
        return pd.DataFrame()
    columns = ["variant", "batch_size", "learning_rate", "success", "low", "high", "n_runs"]
    return evidence.population.by_batch_size[columns].assign(n_train=evidence.problem.n_train)


def xor_batch_title(data: pd.DataFrame) -> str:
    """Success of the first variant, the notes' own, at each batch size."""
    n_train = int(data["n_train"].iloc[0])
    rows = data[data["variant"] == data["variant"].iloc[0]].sort_values("batch_size")
    parts = [
        f"{words.percent(row.success)} {words.with_batch(int(row.batch_size), n_train)}"
        for row in records(rows)
    ]
    return f"Starts from which {rows['variant'].iloc[0]} learns XOR: {words.join(parts)}"


def xor_batch_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A row a variant, a point and interval a batch size, in the batch sizes' colours."""
    variants = list(dict.fromkeys(data["variant"]))
    sizes = sorted(set(data["batch_size"]))
    n_train = int(data["n_train"].iloc[0])
    above = draw.key_height(len(sizes), narrow=narrow)
    margins = draw.Margins(
        left=1.5 if narrow else 2.2, right=0.3, top=0.12, bottom=0.64 if narrow else 0.5
    )
    height = 0.42 * len(variants) + margins.top + margins.bottom
    figure, (axes,) = draw.panels(1, narrow=narrow, height=height, margins=margins, above=above)
    draw.batch_key(figure, sizes, n_train, narrow=narrow)
    low = max(0.0, float(data["low"].min()) - 0.05)
    axes.set(xlim=(low, 1.01), ylim=(len(variants) - 0.4, -0.6))
    axes.grid(visible=False)
    axes.grid(axis="x", color=draw.GRID, linewidth=0.8)
    for row in records(data):
        shift = 0.22 * (sizes.index(row.batch_size) - (len(sizes) - 1) / 2)
        y = variants.index(row.variant) + shift
        colour = draw.batch_colour(int(row.batch_size), n_train)
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2)
        axes.plot(row.success, y, "o", color=colour, ms=5)
    axes.set_yticks(np.arange(len(variants)), [_variant_name(v, narrow) for v in variants])
    axes.tick_params(axis="y", labelcolor=draw.INK)
    axes.xaxis.set_major_locator(draw.few_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    axes.set_xlabel("share of networks", loc="left")
    draw.seeds_note(figure, data["n_runs"], "network")
    return figure


def boundaries_data(evidence: Evidence) -> pd.DataFrame:
    """What a solved network and one of each cause of failure answer on a grid around the corners.

    A row per network and point: `cause, x1, x2, y_hat, y` (the label at the four samples, else
    NaN); the networks of `evidence.population.networks`, solved first; empty where there are none.
    """
    if evidence.population is None or not evidence.population.networks:
        return pd.DataFrame()
    corners = evidence.problem.X_train.astype(np.float64)
    reach = 0.35 * float(corners.max() - corners.min())
    axis = np.linspace(corners.min() - reach, corners.max() + reach, GRID_POINTS)
    x1, x2 = (grid.ravel() for grid in np.meshgrid(axis, axis))
    points = np.concatenate([np.column_stack([x1, x2]), corners])
    labels = np.concatenate([np.full(len(x1), np.nan), evidence.problem.y_train])
    parts = []
    for cause, params in evidence.population.networks.items():
        _, activations = forward(evidence.problem.network, params.astype(np.float64), points)
        y_hat = np.asarray(activations[-1]).ravel()
        part = {"cause": cause, "x1": points[:, 0], "x2": points[:, 1], "y_hat": y_hat, "y": labels}
        parts.append(pd.DataFrame(part))
    data = pd.concat(parts, ignore_index=True)
    return data.sort_values("cause", key=lambda c: c != "solved", kind="stable", ignore_index=True)


def samples_right(data: pd.DataFrame) -> dict[str, int]:
    """How many of the four samples each network gets right."""
    samples = data[~data["y"].isna()]
    right = (samples["y_hat"] > 0.5) == (samples["y"] > 0.5)
    return {str(cause): int(part.sum()) for cause, part in right.groupby(samples["cause"])}


def boundaries_title(data: pd.DataFrame) -> str:
    """How many samples the networks that are shown get right."""
    counts = samples_right(data)
    solved = counts.pop("solved", None)
    failed = words.join((str(n) for n in sorted(set(counts.values()))), "or")
    parts = [f"the solved one gets {solved} of the 4 samples right"] if solved else []
    parts += [f"failed ones {'' if solved else 'get '}{failed}"] if failed else []
    return f"Single networks and what they have learned: {', '.join(parts)}"


def _field(axes: Axes, field: pd.DataFrame) -> None:
    """One network's answers as shades, its boundary as a line, the four samples as points."""
    samples = field[~field["y"].isna()]
    grid = field[field["y"].isna()].pivot(index="x2", columns="x1", values="y_hat")
    x1, x2, y_hat = grid.columns.to_numpy(float), grid.index.to_numpy(float), grid.to_numpy()
    levels = [-0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.01]
    axes.contourf(x1, x2, y_hat, levels=levels, colors=draw.FIELD_COLOURS)
    if y_hat.min() < 0.5 < y_hat.max():
        axes.contour(x1, x2, y_hat, levels=[0.5], colors=[draw.INK], linewidths=1.8)
    for label, marker, fill in ((0, "s", draw.PAPER), (1, "o", draw.INK)):
        part = samples[samples["y"] == label]
        axes.plot(part["x1"], part["x2"], marker, color=draw.INK, mfc=fill, ms=9, mew=1.5, zorder=5)
    axes.set(xlim=(x1[0], x1[-1]), ylim=(x2[0], x2[-1]))
    axes.set(xticks=sorted(set(samples["x1"])), yticks=sorted(set(samples["x2"])))
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("x1", loc="left")
    axes.set_ylabel("x2", rotation=0, labelpad=2)


def boundaries_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A square panel a network: solved first, then the causes of failure."""
    fields = groups(data, "cause")
    counts = samples_right(data)
    figure, axes = draw.squares(len(fields), narrow=narrow)
    for panel, (cause, field) in zip(axes, fields, strict=True):
        draw.head(panel, words.sentence(str(cause)), f"{counts[str(cause)]} of 4 right")
        _field(panel, field)
    return figure


FACTOR_NAMES = {
    "width": "Units in the hidden layer",
    "depth": "A further hidden layer",
    "activation": "Activation",
    "initialization": "Initialization",
    "inputs": "Inputs",
    "rule": "Update rule",
}


def _level_name(factor: str, level: str) -> str:
    """A level of a factor in words."""
    if factor == "width":
        return words.plural(int(level), "unit")
    if factor == "depth":
        return "none" if level == "none" else f"of {words.plural(int(level), 'unit')}"
    return words.SHORT_NAMES.get(level, level)


def xor_factors_data(evidence: Evidence) -> pd.DataFrame:
    """Share of networks that learn XOR at each level of each factor, the others as they were.

    A row per factor and level, the problem's own level among them (`own`), at the variant's best
    batch size and rate: `factor, level, variant, own, n_params, batch_size, learning_rate,
    success, low, high, n_runs, n_train`; empty where the study trains no populations.
    """
    if evidence.population is None:
        return pd.DataFrame()
    success = evidence.population.success
    own = success.iloc[0]
    own_levels = levels_of(evidence.problem, evidence.rule)
    parts = []
    for factor in dict.fromkeys(success["factor"][1:]):
        varied = success[success["factor"] == factor]
        first = own.to_frame().T.assign(level=own_levels[factor])
        both = pd.concat([first, varied], ignore_index=True).assign(factor=factor)
        if factor in ("width", "depth"):
            both = both.sort_values("level", key=lambda v: v.replace("none", "0").astype(int))
        parts.append(both.assign(own=both["variant"] == own["variant"]))
    if not parts:
        return pd.DataFrame()
    columns = [
        *("factor", "level", "variant", "own", "n_params", "batch_size", "learning_rate"),
        *("success", "low", "high", "n_runs"),
    ]
    data = pd.concat(parts, ignore_index=True)[columns].infer_objects()
    return data.assign(n_train=evidence.problem.n_train)


def xor_factors_title(data: pd.DataFrame) -> str:
    """Success of the problem's own network, and what changes it most."""
    own = data[data["own"]].iloc[0]
    others = data[~data["own"]]
    best, worst = (others.loc[others["success"].agg(find)] for find in ("idxmax", "idxmin"))
    told = [
        f"{words.percent(row['success'])} with {_change(row['factor'], row['level'])}"
        for row in ((best, worst) if worst["success"] < own["success"] else (best,))
    ]
    return (
        f"{words.percent(own['success'])} of the {own['variant']} networks learn XOR; changed in "
        f"one thing, {words.join(told)}"
    )


def _change(factor: str, level: str) -> str:
    """What a variant changes, as in a sentence."""
    name = _level_name(factor, level)
    return {
        "width": f"{name} side by side",
        "depth": f"a further layer {name}",
        "activation": f"{name} units",
        "initialization": f"an initialization {name}",
        "inputs": f"inputs {name}",
    }.get(factor, name)


def xor_factors_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A dot and its interval for each level, factor by factor on a common axis; hollow: its own."""
    halves = _halves([factor for factor, _ in groups(data, "factor")], data, narrow=narrow)
    rows = max(sum((data["factor"] == f).sum() + 1.4 for f in half) for half in halves)
    margins = draw.Margins(left=1.5, right=0.5, top=0.1, bottom=0.62 if narrow else 0.5)
    height = 0.26 * rows + margins.top + margins.bottom
    figure, axes = draw.panels(len(halves), narrow=narrow, height=height, margins=margins)
    own = float(data[data["own"]]["success"].iloc[0])
    for panel, half in zip(axes, halves, strict=True):
        panel.set(xlim=(-0.02, 1.02), ylim=(rows - 0.2, -0.6))
        panel.grid(visible=False)
        panel.grid(axis="x", color=draw.GRID, linewidth=0.8)
        panel.axvline(own, color=draw.MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
        names, places, at = [], [], 0.0
        for factor in half:
            panel.annotate(
                FACTOR_NAMES[factor], (0, at), xycoords=panel.get_yaxis_transform(),
                xytext=(-72 * (margins.left - 0.08), 0), textcoords="offset points",
                fontweight="bold", va="center", annotation_clip=False,
            )  # fmt: skip
            for row in records(data[data["factor"] == factor]):
                at += 1.0
                names.append(_level_name(factor, row.level))
                places.append(at)
                _dot(panel, at, row)
            at += 1.4
        panel.set_yticks(places, names)
        panel.tick_params(axis="y", labelcolor=draw.INK)
        _share_axis(panel)
    draw.seeds_note(figure, data["n_runs"], "network")
    return figure


def _halves(factors: list[str], data: pd.DataFrame, *, narrow: bool) -> list[list[str]]:
    """The factors in two columns of about as many rows, or in one."""
    if narrow or len(factors) < 2:
        return [factors]
    rows = np.array([(data["factor"] == factor).sum() + 1.4 for factor in factors])
    cut = int(np.abs(np.cumsum(rows) - rows.sum() / 2).argmin()) + 1
    return [factors[:cut], factors[cut:]] if cut < len(factors) else [factors]


def _dot(axes: Axes, place: float, row: Any) -> None:
    """A share with its interval, and the number beside it; hollow where it is the own level."""
    axes.plot([row.low, row.high], [place] * 2, color=draw.INK, linewidth=1.6)
    axes.plot(
        row.success, place, "o", color=draw.OUTCOME_COLOURS["solved"], ms=7, mew=1.6,
        mfc=draw.PAPER if row.own else draw.OUTCOME_COLOURS["solved"], zorder=4,
    )  # fmt: skip
    axes.annotate(
        words.percent(row.success),
        (1, place),
        xycoords=axes.get_yaxis_transform(),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
    )


def _share_axis(axes: Axes, which: str = "x") -> None:
    """Write shares of networks in percent along an axis."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(draw.few_ticks())
    axis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    if which == "x":
        axes.set_xlabel("share that learns XOR", loc="left")


def xor_rates_data(evidence: Evidence) -> pd.DataFrame:
    """Share of networks that learn XOR by variant, batch size and learning rate.

    A row per cell that reporting blocks were trained at: `variant, batch_size, learning_rate,
    success, low, high, n_runs, n_train`.
    """
    if evidence.population is None:
        return pd.DataFrame()
    counts = evidence.population.counts
    cells = counts[counts["role"] == "report"].groupby(
        ["variant", "batch_size", "learning_rate"], sort=False
    )
    rows = []
    for cell, blocks in cells:
        share = share_of(blocks, "solved")
        rows.append([*cell, share.value, share.low, share.high, share.n])
    names = ["variant", "batch_size", "learning_rate", "success", "low", "high", "n_runs"]
    return pd.DataFrame(rows, columns=names).assign(n_train=evidence.problem.n_train)


NEARLY = 0.05  # below the best share: a rate up to which learning is as good as at its best


def xor_rates_title(data: pd.DataFrame) -> str:
    """Up to which learning rate the first variant, the notes' own, learns as often as at best."""
    n_train, own = int(data["n_train"].iloc[0]), data["variant"].iloc[0]
    told = []
    for batch_size, cells in groups(data[data["variant"] == own], "batch_size"):
        enough = cells["success"] >= cells["success"].max() - NEARLY
        rate = float(cells["learning_rate"][enough].max())
        told.append(f"{words.number(rate)} {words.with_batch(int(batch_size), n_train)}")
    return (
        f"{own} learns XOR as often as at its best (within {NEARLY * 100:.0f} points) up to a "
        f"learning rate of {words.join(told)}"
    )


def xor_rates_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A small panel a variant: share against the learning rate, a line a batch size."""
    variants = groups(data, "variant")
    sizes = sorted(set(data["batch_size"]))
    n_train = int(data["n_train"].iloc[0])
    above = draw.key_height(len(sizes), narrow=narrow)
    figure, axes = draw.small_multiples(len(variants), narrow=narrow, above=above)
    draw.batch_key(figure, sizes, n_train, narrow=narrow)
    limits = draw.finite_range(data["learning_rate"])
    for panel, (variant, cells) in zip(axes, variants, strict=True):
        panel.set_title(words.variant_name(str(variant)), loc="left", fontsize=8.5, pad=4)
        draw.log_axis(panel, "x", *limits, write=draw.plain)
        panel.set_ylim(0, 1.02)
        _share_axis(panel, "y")
        for batch_size, line in groups(cells, "batch_size"):
            line = line.sort_values("learning_rate")
            colour = draw.batch_colour(int(batch_size), n_train)
            dash = draw.batch_dash(sizes.index(batch_size), len(sizes))
            draw.band(panel, line["learning_rate"], line["low"], line["high"], colour)
            panel.plot(
                line["learning_rate"], line["success"], color=colour, linestyle=dash, linewidth=1.8
            )
    left_below = min(axes, key=lambda panel: (panel.get_position().y0, panel.get_position().x0))
    left_below.set_xlabel("learning rate", loc="left")
    draw.seeds_note(figure, data["n_runs"], "network")
    return figure


def xor_longer_data(evidence: Evidence) -> pd.DataFrame:
    """What became of failed networks that were trained for longer.

    A row per variant and cause ("any" for all): `variant, cause, n` (failed networks),
    `solved_longer, share, low, high` (of them that learned after all), `before, after` (share of
    all networks that learned, at the budget and in the longer time), `times, n_runs`; empty where
    none was.
    """
    if evidence.population is None or evidence.population.longer.empty:
        return pd.DataFrame()
    longer = evidence.population.longer.drop(columns="label")
    success = evidence.population.success[["variant", "success", "n_runs"]]
    data = longer.merge(success.rename(columns={"success": "before"}), on="variant", how="left")
    after = data["before"] + data["solved_longer"] / data["n_runs"]
    return data.assign(after=after, times=evidence.problem.longer)


def xor_longer_title(data: pd.DataFrame) -> str:
    """Share of the failures that learn after all: the first variant's, and the largest."""
    times, every = int(data["times"].iloc[0]), data[data["cause"] == ANY].reset_index(drop=True)
    own, best = every.iloc[0], every.loc[every["share"].idxmax()]
    text = (
        f"Trained {times} times as long, {words.percent(own['share'])} of the failed "
        f"{own['variant']} networks learn XOR after all"
    )
    if best["variant"] == own["variant"]:
        return f"{text}, more than of any other variant"
    most = words.percent(best["share"])
    return f"{text}; the most are {most} of {words.variant_name(best['variant'])}"


def xor_longer_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Left: share of failures that learn after all, by cause; right: success before and after."""
    own = data["variant"].iloc[0]
    causes = data[(data["variant"] == own) & (data["n"] > 0)]
    every = data[data["cause"] == ANY]
    margins = draw.Margins(left=1.5 if narrow else 1.9, right=0.62, top=0.62, bottom=0.62)
    rows = max(len(causes), len(every))
    height = (0.34 if narrow else 0.27) * (rows + 0.6) + margins.top + margins.bottom
    figure, (left, right) = draw.panels(2, narrow=narrow, height=height, margins=margins)
    times = int(data["times"].iloc[0])
    draw.head(left, f"Failures of {own}", "share that learns after all")
    for place, row in enumerate(records(causes)):
        left.plot([row.low, row.high], [place] * 2, color=draw.INK, linewidth=1.6)
        left.plot(row.share, place, "o", color=CAUSE_COLOURS.get(row.cause, draw.MUTED), ms=7)
        _beside(left, place, f"of {words.count(row.n)}")
    draw.head(right, "All networks", f"filled: {times} times as long")
    colour = draw.OUTCOME_COLOURS["solved"]
    for place, row in enumerate(records(every)):
        right.plot([row.before, row.after], [place] * 2, color=colour, linewidth=2)
        right.plot(row.after, place, "o", color=colour, ms=7)
        right.plot(row.before, place, "o", color=colour, mfc=draw.PAPER, ms=7, mew=1.6)
        _beside(right, place, f"+{100 * (row.after - row.before):.1f}")
    kinds = causes["cause"].replace(ANY, "all failures")
    for panel, names in ((left, kinds), (right, every["variant"])):
        panel.set(xlim=(-0.02, 1.02), ylim=(len(names) - 0.4, -0.6))
        panel.set_yticks(np.arange(len(names)), [_variant_name(name, narrow) for name in names])
        panel.tick_params(axis="y", labelcolor=draw.INK)
        panel.grid(visible=False)
        panel.grid(axis="x", color=draw.GRID, linewidth=0.8)
        _share_axis(panel)
    left.set_xlabel("share of these failures", loc="left")
    draw.seeds_note(figure, data["n_runs"], "network")
    return figure


def _beside(axes: Axes, place: float, text: str) -> None:
    """Write a few words to the right of a panel's row."""
    axes.annotate(
        text,
        (1, place),
        xycoords=axes.get_yaxis_transform(),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=draw.MUTED,
        annotation_clip=False,
    )


FIGURES = {
    "xor_answer": FigureSpec(
        xor_answer_data,
        xor_answer_figure,
        xor_answer_title,
        "Share of the networks that have learned XOR (all four right and loss below 0.1) and the "
        "causes of failure of the others, by batch size, each at its own best learning rate. "
        "Line: 95% interval of the solved share.",
    ),
    "xor_factors": FigureSpec(
        xor_factors_data,
        xor_factors_figure,
        xor_factors_title,
        "Share of networks that learn XOR, changed in one thing at a time; each at its best batch "
        "size and learning rate, picked on other blocks. Line: 95% interval, where it is longer "
        "than the point is wide; hollow and dashed: the network that nothing was changed in.",
    ),
    "xor_success": FigureSpec(
        xor_success_data,
        xor_success_figure,
        xor_success_title,
        "Share of networks that have learned XOR (all four right and loss below 0.1) by "
        "architecture, and the causes of failure of the rest, each at its best batch size and "
        "learning rate. Line: 95% interval of the solved share.",
    ),
    "xor_rates": FigureSpec(
        xor_rates_data,
        xor_rates_figure,
        xor_rates_title,
        "Share of networks that learn XOR by learning rate, a line a batch size; band: 95% "
        "interval.",
    ),
    "xor_longer": FigureSpec(
        xor_longer_data,
        xor_longer_figure,
        xor_longer_title,
        "Networks that failed at the best batch size and learning rate, trained again from the "
        "same start for longer. Left: how many of each cause of failure learn after all, with 95% "
        "intervals. Right: what that adds to the share that learns, in percentage points.",
    ),
    "xor_batch": FigureSpec(
        xor_batch_data,
        xor_batch_figure,
        xor_batch_title,
        "Share of networks that have learned XOR by architecture and batch size, each at its own "
        "best learning rate, with 95% intervals clustered by block of networks.",
    ),
    "boundaries": FigureSpec(
        boundaries_data,
        boundaries_figure,
        boundaries_title,
        "What one network answers between and around the four samples of XOR: the stronger the "
        "colour, the nearer to 1; the line is its decision boundary. Round: should be 1; square: "
        "should be 0.",
    ),
}
