"""What became of the runs: the outcome map over batch size and learning rate, and test scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.rates import coarse_rates
from bench.report.figures.spec import FigureSpec
from bench.report.frames import records

OUTCOMES = ("solved", "slow", "stuck", "dead", "diverged")


def outcome_map_data(evidence: Evidence) -> pd.DataFrame:
    """Shares of the reporting runs that were solved, slow, stuck, dead or diverged.

    A row per batch size and rate of the coarse lattice 2**(k/2) (or of the rates given); the five
    shares exclude each other and add up to 1: a diverged run is nothing else, a dead one is not
    counted as stuck, and slow is finite and learning, but not at the middle target in the budget.
    Rates far beyond those at which every run diverges, or every run is slow, are left out.
    Columns: `batch_size, learning_rate, solved, slow, stuck, dead, diverged, n_runs, n_train`.
    """
    runs = evidence.outcomes[evidence.outcomes["role"] == "report"]
    rates = coarse_rates(runs["learning_rate"].to_numpy(float))
    runs = runs.assign(learning_rate=rates)[~np.isnan(rates)]
    runs = runs.drop_duplicates(["batch_size", "learning_rate", "seed", "network"])
    hit = runs[f"hit_{len(evidence.targets) // 2}"]
    conditions = [runs["diverged"], runs["dead"], runs["stuck"], np.isfinite(hit)]
    outcome = np.select(
        [c.to_numpy(bool) for c in conditions], ["diverged", "dead", "stuck", "solved"], "slow"
    )
    table = pd.crosstab([runs["batch_size"], runs["learning_rate"]], outcome)
    table = table.reindex(columns=list(OUTCOMES), fill_value=0)
    n_runs = table.sum(axis=1)
    data = table.div(n_runs, axis=0).assign(n_runs=n_runs, n_train=evidence.problem.n_train)
    data.columns.name = None
    return _telling(data.reset_index()).reset_index(drop=True)


def _telling(data: pd.DataFrame) -> pd.DataFrame:
    """The rows of rates up to one lattice step beyond those at which all runs share one outcome."""
    whole = data[["slow", "diverged"]].max(axis=1) == 1
    rates = np.array(sorted(set(data["learning_rate"])))
    telling = data.loc[~whole, "learning_rate"]
    low, high = (telling.min(), telling.max()) if len(telling) else (rates[0], rates[-1])
    inside = np.flatnonzero((rates >= low) & (rates <= high))
    kept = rates[max(inside[0] - 1, 0) : inside[-1] + 3]
    return data[data["learning_rate"].isin(kept)]


def outcome_map_title(data: pd.DataFrame) -> str:
    """The largest rate at which at least half of the runs are solved, first and last arm."""
    n_train = int(data["n_train"].iloc[0])
    solved = data[data["solved"] >= 0.5].groupby("batch_size")["learning_rate"].max()
    if solved.empty:
        best = data.loc[data["solved"].idxmax()]
        if best["solved"] == 0:
            return "No run reached the target within its budget"
        return (
            f"At best {words.percent(best['solved'])} of the runs are solved, "
            f"{words.with_batch(int(best['batch_size']), n_train)} at a learning rate of "
            f"{words.number(best['learning_rate'])}"
        )
    ends = dict.fromkeys([solved.index[0], solved.index[-1]])
    parts = [f"{words.number(solved[b])} {words.with_batch(int(b), n_train)}" for b in ends]
    return f"At least half of the runs are solved up to a learning rate of {words.join(parts)}"


def _bars(data: pd.DataFrame, rates: list[float], sizes: list[int], outcome: str) -> Path:
    """One path with a rectangle for each cell's share of an outcome, side by side in the cell."""
    vertices, codes = [], []
    place = list(OUTCOMES).index(outcome)
    before = data[list(OUTCOMES[:place])].sum(axis=1)
    for row, start in zip(records(data), before, strict=True):
        share = float(getattr(row, outcome))
        if share <= 0:
            continue
        x = sizes.index(row.batch_size) + 0.04 + 0.92 * start
        y = rates.index(row.learning_rate) + 0.05
        right, top = x + 0.92 * share, y + 0.9
        vertices += [(x, y), (right, y), (right, top), (x, top), (x, y)]
        codes += [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY]
    return Path(vertices, codes) if vertices else Path(np.empty((0, 2)))


def outcome_map_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A cell for each batch size and rate, filled from the left with the shares of the outcomes."""
    rates, sizes = sorted(set(data["learning_rate"])), sorted(set(data["batch_size"]))
    n_train = int(data["n_train"].iloc[0])
    margins = draw.Margins(left=0.6, top=0.5 if not narrow else 0.72, right=0.1)
    height = max(2.2, 0.2 * len(rates) + margins.top + margins.bottom)
    figure, (axes,) = draw.panels(1, narrow=narrow, height=height, margins=margins)
    axes.grid(visible=False)
    axes.set(xlim=(0, len(sizes)), ylim=(0, len(rates)))
    for outcome in OUTCOMES:
        path = _bars(data, rates, sizes, outcome)
        colour = draw.OUTCOME_COLOURS[outcome]
        # hatched, so that diverged and solved differ in grey print as well
        hatch = "////" if outcome == "diverged" else None
        edge = draw.PAPER if hatch else "none"
        patch = PathPatch(path, facecolor=colour, edgecolor=edge, hatch=hatch, linewidth=0)
        axes.add_patch(patch)
    every = 1 if len(sizes) <= 6 or not narrow else 2
    shown = [i for i in range(len(sizes)) if i % every == 0 or i == len(sizes) - 1]
    shown = [i for i in shown if i == len(sizes) - 1 or len(sizes) - 1 - i >= every]
    axes.set_xticks([i + 0.5 for i in shown])
    axes.set_xticklabels([words.batch_label(sizes[i], n_train) for i in shown])
    labelled = range(len(rates) % 2, len(rates), 2) if len(rates) > 9 else range(len(rates))
    axes.set_yticks([i + 0.5 for i in labelled])
    axes.set_yticklabels([words.number(rates[i]) for i in labelled])
    axes.set_xlabel("batch size", loc="left")
    axes.annotate(
        "learning rate",
        (0, 1),
        xycoords="axes fraction",
        xytext=(-34, 4),
        textcoords="offset points",
        color=draw.MUTED,
    )
    key = [(o, draw.OUTCOME_COLOURS[o]) for o in OUTCOMES if data[o].sum() > 0]
    draw.colour_key(figure, key, columns=4 if narrow else 9)
    draw.seeds_note(figure, data["n_runs"], "run a cell", "runs a cell")
    return figure


def score_data(evidence: Evidence) -> pd.DataFrame:
    """Quantiles over reporting seeds of the test score at the end, a row per tuned batch size.

    Columns: `batch_size, learning_rate, q10, q25, q50, q75, q90, n_seeds, score ("accuracy" or
    "rmse"), n_train`; empty where nothing is held out.
    """
    if not evidence.problem.has_test:
        return pd.DataFrame()
    runs = evidence.outcomes[evidence.outcomes["role"] == "report"]
    rows = []
    for arm in records(evidence.picks):
        near = np.isclose(runs["learning_rate"], arm.learning_rate, rtol=1e-6)
        scores = runs.loc[near & (runs["batch_size"] == arm.batch_size), "final_test_score"]
        scores = scores[~scores.isna()]
        if len(scores):
            quantiles = np.quantile(scores, [0.1, 0.25, 0.5, 0.75, 0.9])
            rows.append([arm.batch_size, arm.learning_rate, *quantiles, len(scores)])
    names = ["batch_size", "learning_rate", "q10", "q25", "q50", "q75", "q90", "n_seeds"]
    score = "accuracy" if evidence.problem.network.is_classifier else "rmse"
    return pd.DataFrame(rows, columns=names).assign(score=score, n_train=evidence.problem.n_train)


def _score(value: float, score: str) -> str:
    """A score in words: an accuracy with three digits as a percentage, an rmse with two."""
    if score == "accuracy":
        return "100%" if value == 1 else f"{100 * value:.1f}%"
    return words.number(value)


def score_title(data: pd.DataFrame) -> str:
    """The best, the first and the last arm's median test score."""
    n_train, score = int(data["n_train"].iloc[0]), str(data["score"].iloc[0])
    medians = data.set_index("batch_size")["q50"]
    low, high = _score(medians.min(), score), _score(medians.max(), score)
    name = "test accuracy" if score == "accuracy" else "test error (RMSE)"
    first, last = medians.index[0], medians.index[-1]
    if low == high:
        return f"The median {name} is {low} at every batch size"
    return (
        f"The median {name} lies between {low} and {high} at every batch size: "
        f"{_score(medians[first], score)} {words.with_batch(int(first), n_train)}, "
        f"{_score(medians[last], score)} {words.with_batch(int(last), n_train)}"
    )


def score_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Median, middle half and 10 to 90% of the test score against the batch size."""
    margins = draw.Margins(left=0.6, top=0.56)
    figure, (axes,) = draw.panels(1, narrow=narrow, height=3.2, margins=margins, width=8.0)
    score, n_train = str(data["score"].iloc[0]), int(data["n_train"].iloc[0])
    title = "Test accuracy" if score == "accuracy" else "Test error (RMSE)"
    draw.head(axes, title, "at the end of training")
    draw.batch_axis(axes, sorted(data["batch_size"]), n_train)
    pad = max(0.1 * float(data["q90"].max() - data["q10"].min()), 0.002)
    axes.set_ylim(float(data["q10"].min()) - pad, float(data["q90"].max()) + pad)
    axes.yaxis.set_major_locator(draw.few_ticks())
    axes.yaxis.set_major_formatter(lambda value, _: _score(value, score))
    for row in records(data):
        colour = draw.batch_colour(int(row.batch_size), n_train)
        axes.plot([row.batch_size] * 2, [row.q10, row.q90], color=colour, linewidth=1.2)
        axes.plot([row.batch_size] * 2, [row.q25, row.q75], color=colour, linewidth=5)
        axes.plot(row.batch_size, row.q50, "o", color=colour, mfc=draw.PAPER, ms=6, mew=1.6)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


FIGURES = {
    "outcome_map": FigureSpec(
        outcome_map_data,
        outcome_map_figure,
        outcome_map_title,
        "Each cell is a batch size and a learning rate, filled from the left with the shares of "
        "its runs: solved (target reached), slow (learning, but not there in the budget), stuck "
        "(no better than guessing), dead (a layer without an active unit), diverged. Blank: not "
        "tried.",
    ),
    "test_score": FigureSpec(
        score_data,
        score_figure,
        score_title,
        "Score on the held-out test split at the end of training against the batch size, each at "
        "its own best rate: median over seeds, middle half (thick), 10 to 90% (thin).",
    ),
}
