"""The largest stable learning rate against the batch size, and the rate per example beside it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec

KINDS = {
    "failed": ("any failure", draw.INK, "solid", "o"),
    "diverged": ("divergence", draw.OUTCOME_COLOURS["diverged"], (0, (4, 2)), "s"),
}


def stability_data(evidence: Evidence) -> pd.DataFrame:
    """Brackets of the largest stable rate, theory's limits, and both divided by the batch size.

    A row per batch size and kind of failure: `batch_size, kind ("diverged"|"failed"), stable,
    unstable` (0: the least rate tried fails; inf: none tried fails), `stable_share, unstable_share,
    limit` (theory's; NaN: none), `limit_loss` (the training loss where it holds),
    `stable_per_example, unstable_per_example, limit_per_example, n_seeds, n_train`; empty where
    every rate tried fails.
    """
    columns = ["batch_size", "kind", "stable", "unstable", "stable_share", "unstable_share"]
    data = evidence.stability[[*columns, "n_seeds"]].copy()
    if not (data["stable"] > 0).any():
        return pd.DataFrame()
    data["limit"] = data["batch_size"].map(_limits(evidence))
    data["limit_loss"] = np.nan if evidence.theory.empty else evidence.theory["loss"].iloc[0]
    for name in ("stable", "unstable", "limit"):
        data[f"{name}_per_example"] = data[name] / data["batch_size"]
    data["n_train"] = evidence.problem.n_train
    return data.sort_values(["kind", "batch_size"], ignore_index=True)


def _limits(evidence: Evidence) -> dict[int, float]:
    """Theory's limit of the rate at each batch size: in the mean square, else on the full batch."""
    theory, n_train = evidence.theory, evidence.problem.n_train
    if theory.empty:
        return {}
    full = theory["limit_full"].where(theory["batch_size"] == n_train)
    return dict(zip(theory["batch_size"], theory["limit_mean_square"].fillna(full), strict=True))


def stability_title(data: pd.DataFrame) -> str:
    """Both headlines at once: the largest stable rate, and the same per example."""
    failed = data[data["kind"] == "failed"]
    # where some seeds fail at every rate (a dead XOR network), only divergence has a bracket
    kind, what = "failed", "largest stable learning rate"
    if not (failed["stable"] > 0).any():
        kind, what = "diverged", "largest learning rate without divergence"
    rows = data[data["kind"] == kind].sort_values("batch_size")
    n_train = int(rows["n_train"].iloc[0])
    rates, each = (
        [_bracket(row[f"stable{end}"], row[f"unstable{end}"]) for _, row in rows.iterrows()]
        for end in ("", "_per_example")
    )
    first, last = (words.batch_name(int(rows["batch_size"].iloc[i]), n_train) for i in (0, -1))
    if first == last:
        return f"The {what} is {rates[0]}, {each[0]} per example"
    return (
        f"From {first} to {last}, the {what} goes from {rates[0]} to "
        f"{rates[-1]}, the rate per example from {each[0]} to {each[-1]}"
    )


def _bracket(stable: float, unstable: float) -> str:
    """The stable end of a bracket, or what is known where one end is missing."""
    if stable == 0:
        return f"below {words.number(unstable)}"
    return words.number(stable) if math.isfinite(unstable) else f"over {words.number(stable)}"


def _brackets(axes: Axes, data: pd.DataFrame, suffix: str) -> None:
    """A bar from the last stable to the first unstable rate for each batch size, joined by kind."""
    stable, unstable = data[f"stable{suffix}"], data[f"unstable{suffix}"]
    some = data["stable"] > 0
    limits = draw.finite_range(stable[some], unstable[some], data[f"limit{suffix}"], pad=1.5)
    draw.log_axis(axes, "y", *limits, draw.plain)
    ends = []
    for kind, (name, colour, dash, marker) in KINDS.items():
        rows = data[data["kind"] == kind].sort_values("batch_size")
        low, high = rows[f"stable{suffix}"], rows[f"unstable{suffix}"]
        known = rows[(low > 0) & np.isfinite(high)]
        axes.vlines(
            known["batch_size"],
            known[f"stable{suffix}"],
            known[f"unstable{suffix}"],
            color=colour,
            linewidth=2.4,
        )
        some = rows[low > 0]
        axes.plot(
            some["batch_size"], some[f"stable{suffix}"], color=colour, linestyle=dash, linewidth=1.2
        )
        axes.plot(known["batch_size"], known[f"stable{suffix}"], marker, color=colour, ms=4.5)
        _open_ends(axes, rows[low > 0], suffix, colour)
        if len(some):
            last = some.iloc[-1]
            ends.append(draw.EndLabel(last["batch_size"], last[f"stable{suffix}"], name, colour))
    draw.end_labels(axes, ends + _theory(axes, data, suffix))


def _theory(axes: Axes, data: pd.DataFrame, suffix: str) -> list[draw.EndLabel]:
    """Hollow diamonds at theory's limits, joined, and their name at the last one."""
    rows = data[data["kind"] == "failed"].dropna(subset="limit").sort_values("batch_size")
    if rows.empty:
        return []
    axes.plot(
        rows["batch_size"],
        rows[f"limit{suffix}"],
        "D",
        color=draw.MUTED,
        mfc=draw.PAPER,
        ms=4.5,
        lw=1.0,
        ls=(0, (1, 1.5)),
    )
    last = rows.iloc[-1]
    name = f"theory at\nloss {words.number(last['limit_loss'], 1)}"
    return [draw.EndLabel(last["batch_size"], last[f"limit{suffix}"], name, draw.MUTED)]


def _open_ends(axes: Axes, rows: pd.DataFrame, suffix: str, colour: str) -> None:
    """Hollow triangles where no rate that was tried fails: the largest stable one lies above."""
    rows = rows[np.isinf(rows[f"unstable{suffix}"])]
    axes.plot(
        rows["batch_size"],
        rows[f"stable{suffix}"],
        "^",
        color=colour,
        mfc=draw.PAPER,
        ms=6,
        mew=1.2,
    )


def stability_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Two panels against the batch size: the largest stable rate, and the same per example."""
    margins = draw.Margins(left=0.66, right=0.9, top=0.56)
    figure, axes = draw.panels(2, narrow=narrow, height=3.4, margins=margins)
    open_end = np.isinf(data["unstable"]).any()
    unit = "last stable to first unstable" + ("; △ lies above" if open_end else "")
    heads = (("Largest stable learning rate", ""), ("The same per example", "_per_example"))
    for panel, (title, suffix) in zip(axes, heads, strict=True):
        draw.head(panel, title, unit)
        draw.batch_axis(panel, sorted(set(data["batch_size"])), int(data["n_train"].iloc[0]))
        _brackets(panel, data, suffix)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


FIGURES = {
    "stability": FigureSpec(
        stability_data,
        stability_figure,
        stability_title,
        "The learning rate at which 5% of the seeds begin to fail, as a bracket from the last "
        "stable to the first unstable rate tried, against the batch size; right: divided by the "
        "batch size. Once for any failure (diverged, dead or stuck), once for divergence alone. "
        "Diamonds, where computed: theory for small steps around the point where a tuned "
        "full-batch run ended, 2 / sharpness on the full batch and the threshold in the mean "
        "square for batches drawn afresh (Mulayoff & Michaeli 2023). It is exact near a minimum "
        "that fits every sample (a loss near 0), and says nothing of the way there.",
    ),
}
