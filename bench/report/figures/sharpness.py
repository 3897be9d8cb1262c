"""The edge of stability: sharpness along full-batch runs, and how far tuned steps overshoot."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups

LIMITS = {"sgd": "2/η", "momentum": "(2 + 2β)/η", "nesterov": "(2 + 2β)/((1 + 2β)η)"}
"""The largest stable sharpness of each rule that has one, as a formula."""

AT_LIMIT = 1.15  # a sharpness within this factor of its limit is at it
# States in a row at the limit, and updates from the first to the last: fewer only pass by
HOVERING_STATES, HOVERING_UPDATES = 3, 10
_RATE_COLOURS = tuple(draw.PROGRAM_COLOURS[name] for name in ("NumPy", "PyTorch", "JAX"))
START = 0.5  # where the state before the first update stands on the logarithmic axis of updates


def sharpness_data(evidence: Evidence) -> pd.DataFrame:
    """Sharpness at each state with its limit.

    Columns: `states ("full batch"|"tuned"), batch_size, learning_rate, seed, updates, loss,
    sharpness, limit` (NaN: none is known for the rule), `limit_name, n_seeds, n_train`; empty where
    no sharpness was measured.
    """
    columns = ["states", "batch_size", "learning_rate", "seed", "updates", "loss"]
    columns += ["sharpness", "limit"]
    if evidence.sharpness.empty:
        return pd.DataFrame()
    data = evidence.sharpness[columns].copy()
    data = data[data["sharpness"] > 0].reset_index(drop=True)
    data["limit_name"] = LIMITS.get(evidence.rule, "")
    data["n_seeds"] = data["seed"].nunique()
    return data.assign(n_train=evidence.problem.n_train)


def _course(data: pd.DataFrame) -> pd.DataFrame:
    """Medians over seeds along the full-batch runs: `learning_rate, updates, sharpness, limit`."""
    full = data[data["states"] == "full batch"]
    medians = full.groupby(["learning_rate", "updates"])[["sharpness", "limit"]].median()
    return medians.reset_index()


def overshoot_shares(data: pd.DataFrame) -> dict[int, float]:
    """Share of the tuned runs' states whose sharpness exceeds its limit, by batch size."""
    tuned = data[(data["states"] == "tuned") & data["limit"].notna()]
    beyond = (tuned["sharpness"] > tuned["limit"]).groupby(tuned["batch_size"]).mean()
    return {int(batch_size): float(share) for batch_size, share in beyond.items()}


def _hovering(course: pd.DataFrame) -> pd.DataFrame:
    """The longest stretch of a course at its limit; empty where it only passes by."""
    ratio = course["sharpness"] / course["limit"]
    at_limit = ratio.between(1 / AT_LIMIT, AT_LIMIT)
    stretches = [rows for _, rows in course[at_limit].groupby((~at_limit).cumsum()[at_limit])]
    longest = max(stretches, key=len, default=course.iloc[:0])
    lasts = len(longest) >= HOVERING_STATES and np.ptp(longest["updates"]) >= HOVERING_UPDATES
    return longest if lasts else course.iloc[:0]


def _relation(ratio: float) -> str:
    """Where a sharpness lies, by its ratio to the limit."""
    if 1 / AT_LIMIT <= ratio <= AT_LIMIT:
        return "close to"
    return "below" if ratio < 1 else "above"


def sharpness_title(data: pd.DataFrame) -> str:
    """How the sharpness moves at one rate, where its limit is, and which runs step beyond it."""
    n_train, limit = int(data["n_train"].iloc[0]), data["limit_name"].iloc[0]
    courses = [course for _, course in groups(_course(data), "learning_rate")]
    told = max(
        courses, key=lambda course: (len(_hovering(course)), course["learning_rate"].iloc[0])
    )
    last, hovering = told.iloc[-1], _hovering(told)
    text = (
        f"At a rate of {words.number(last['learning_rate'])} on the full batch the sharpness goes "
        f"from {words.number(told['sharpness'].iloc[0])} to {words.number(last['sharpness'])}"
    )
    if not np.isfinite(last["limit"]):
        return text
    limit = f"{limit} = {words.number(last['limit'])}"
    if len(hovering):
        first, end = (words.count(hovering["updates"].iloc[place]) for place in (0, -1))
        text += f"; from update {first} to {end} it hovers at {limit}"
    else:
        text += f", {_relation(last['sharpness'] / last['limit'])} {limit}"
    return f"{text}. {_overshoot_sentence(overshoot_shares(data), n_train)}"


def _overshoot_sentence(shares: dict[int, float], n_train: int) -> str:
    """How many states of the tuned runs lie beyond their limit, without a full stop."""
    if not any(shares.values()):
        return "No state of the tuned runs exceeds its limit"
    parts = [
        f"{words.percent(share)} {words.with_batch(batch_size, n_train)}"
        for batch_size, share in shares.items()
    ]
    return f"Of the tuned runs' states {words.join(parts)} exceed their limit"


def _edge(axes: Axes, data: pd.DataFrame) -> None:
    """Sharpness of each run (thin) and its median over seeds, with the limit of each rate."""
    full = data[data["states"] == "full batch"]
    last = float(full["updates"].max())
    draw.head(axes, "On the full batch at three rates", "sharpness; dashed: the limit")
    draw.log_axis(axes, "y", *draw.finite_range(full["sharpness"], full["limit"]), draw.plain)
    draw.log_axis(axes, "x", START, last)
    ticks = draw.log_ticks(1, last)
    axes.set_xticks([START, *ticks], ["0", *map(draw.plain, ticks)])
    axes.set_xlabel("updates", loc="left")
    ends = []
    courses = groups(_course(data), "learning_rate")
    for (rate, rows), colour in zip(courses, _RATE_COLOURS, strict=False):
        for _, run in groups(full[full["learning_rate"] == rate], "seed"):
            axes.plot(run["updates"].clip(lower=START), run["sharpness"], color=colour, lw=0.6)
        axes.plot(rows["updates"].clip(lower=START), rows["sharpness"], color=colour, lw=2)
        end, name = rows.iloc[-1], f"η = {words.number(rate)}"
        ends.append(draw.EndLabel(end["updates"], end["sharpness"], name, colour))
        if np.isfinite(end["limit"]):
            axes.axhline(end["limit"], color=colour, lw=1.1, ls=(0, (4, 2)))
            name = f"{data['limit_name'].iloc[0]} = {words.number(end['limit'])}"
            ends.append(draw.EndLabel(last, end["limit"], name, colour))
    draw.end_labels(axes, ends)


def _overshoot(axes: Axes, tuned: pd.DataFrame, shares: dict[int, float]) -> None:
    """Sharpness over its limit at each state of the tuned runs, a row a batch size."""
    n_train = int(tuned["n_train"].iloc[0])
    ratio = tuned["sharpness"] / tuned["limit"]
    draw.head(axes, "Along tuned runs", "sharpness over the limit, by state")
    axes.grid(visible=False)
    axes.grid(axis="x", color=draw.GRID, linewidth=0.8)
    draw.log_axis(axes, "x", *draw.finite_range(ratio, [1.0], pad=1.4), draw.plain)
    axes.set_ylim(-0.6, len(shares) - 0.4)
    axes.axvline(1.0, color=draw.INK, lw=0.9, ls=(0, (2, 2)))
    sizes = sorted(shares, reverse=True)
    axes.set_yticks(range(len(sizes)), [words.batch_label(b, n_train) for b in sizes])
    axes.set_ylabel("batch size")
    axes.tick_params(axis="y", labelcolor=draw.INK)
    for place, batch_size in enumerate(sizes):
        mine = ratio[tuned["batch_size"] == batch_size]
        colour = draw.batch_colour(batch_size, n_train)
        axes.plot(mine, np.full(len(mine), place), "o", color=colour, ms=4.5, alpha=0.5)
        axes.annotate(
            f"{words.percent(shares[batch_size])} beyond",
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )


def sharpness_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Two panels: the edge of stability at three rates; overshoot along tuned runs by batch size.

    The second is left out where the rule has no limit.
    """
    shares = overshoot_shares(data)
    margins = draw.Margins(left=0.66, right=0.96, top=0.56)
    figure, axes = draw.panels(2 if shares else 1, narrow=narrow, height=3.4, margins=margins)
    _edge(axes[0], data)
    if shares:
        _overshoot(axes[1], data[data["states"] == "tuned"], shares)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


FIGURES = {
    "sharpness": FigureSpec(
        sharpness_data,
        sharpness_figure,
        sharpness_title,
        "Sharpness, the largest eigenvalue of the training loss's Hessian. Left: along full-batch "
        "runs at a quarter, half and all of the tuned rate η (thick: median over seeds), and the "
        "sharpness beyond which a full-batch step at that rate overshoots a quadratic (dashed). "
        "Right: the sharpness over that limit at states of tuned runs, from the first pass to the "
        "target; small batches are unstable already below it.",
    ),
}
