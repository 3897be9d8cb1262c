"""Update rules against the batch size: passes to the target, and the best learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence
from bench.analysis.rules import REFERENCE
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec

_STYLES: dict[str, tuple[str, str, Any, str]] = {
    "sgd": ("plain", draw.INK, "solid", "o"),
    "momentum": ("momentum", draw.PROGRAM_COLOURS["scikit-learn"], (0, (6, 2)), "s"),
    "nesterov": ("Nesterov", draw.PROGRAM_COLOURS["JAX"], (0, (2, 1.5)), "D"),
    "adam": ("Adam", draw.PROGRAM_COLOURS["PyTorch"], (0, (6, 2, 1.5, 2)), "^"),
    "adam_half_life": ("Adam, β₂ by batch", draw.OTHER_PROGRAM_COLOUR, (0, (1, 1.3)), "v"),
}
"""Label, colour, dashes and marker of each rule."""


def rules_data(evidence: Evidence) -> pd.DataFrame:
    """Median passes to the target and best rate, a row per update rule and batch size.

    Columns: `rule, batch_size, learning_rate, epochs, epochs_low, epochs_high` (inf: not reached),
    `ratio, ratio_low, ratio_high` (over plain gradient descent), `budget_epochs, n_seeds, target,
    n_train`; empty where no rules were compared, or none of them reached the target.
    """
    rules = evidence.rules
    if rules.empty or not np.isfinite(rules["examples"]).any():
        return pd.DataFrame()
    n_train = evidence.problem.n_train
    passes = {
        name.replace("examples", "epochs"): rules[name] / n_train
        for name in ("examples", "examples_low", "examples_high")
    }
    keys = ["rule", "batch_size"]
    budgets = evidence.rule_runs.groupby(keys)["budget_examples"].max().div(n_train)
    data = rules[[*keys, "learning_rate"]].assign(**passes)
    data = data.join(rules[["ratio", "ratio_low", "ratio_high", "n_seeds"]])
    data = data.join(budgets.rename("budget_epochs"), on=keys)
    return data.assign(target=evidence.target, n_train=n_train)


def rules_title(data: pd.DataFrame) -> str:
    """Passes with momentum and Adam over those of plain gradient descent, at both ends."""
    n_train = int(data["n_train"].iloc[0])
    compared = data[data["rule"] != REFERENCE]
    ends = sorted({compared["batch_size"].min(), compared["batch_size"].max()}, reverse=True)
    parts = []
    for rule in ("momentum", "adam"):
        found = data[data["rule"] == rule].set_index("batch_size")["ratio"]
        told = [
            f"{_ratio(found[size])} {words.with_batch(int(size), n_train)}"
            for size in ends
            if size in found.index
        ]
        parts += [f"with {words.NAMES[rule]} {words.join(told)}"] if told else []
    what = "Passes to the target over those of plain gradient descent"
    return f"{what}: {'; '.join(parts)}"


def _ratio(value: float) -> str:
    """A ratio of passes as the title says it."""
    if np.isnan(value):
        return "undetermined"
    return words.number(value) if np.isfinite(value) else "not reached"


def _line(axes: Axes, rows: pd.DataFrame, values: str) -> draw.EndLabel:
    """One rule's line, with its interval where it has one; its label is left to the caller."""
    label, colour, dash, marker = _STYLES[str(rows["rule"].iloc[0])]
    reached = rows[np.isfinite(rows[values])]
    if f"{values}_low" in rows:
        bounds = reached[f"{values}_low"], reached[f"{values}_high"]
        draw.band(axes, reached["batch_size"], *bounds, colour, alpha=0.1)
        missed = rows.loc[np.isinf(rows[values]), "batch_size"]
        draw.not_reached(axes, list(missed), colour)
    axes.plot(reached["batch_size"], reached[values], color=colour, linestyle=dash, lw=1.6)
    axes.plot(reached["batch_size"], reached[values], marker, color=colour, ms=4.5)
    last = reached.iloc[-1] if len(reached) else rows.iloc[-1]
    height = last[values] if len(reached) else axes.get_ylim()[1]
    return draw.EndLabel(last["batch_size"], height, label, colour)


def rules_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Two panels against the batch size: passes to the target, and the best rate, by rule."""
    margins = draw.Margins(left=0.6, right=1.3, top=0.56)
    figure, (passes, rates) = draw.panels(2, narrow=narrow, height=3.6, margins=margins)
    sizes, n_train = sorted(set(data["batch_size"])), int(data["n_train"].iloc[0])
    unit = "median and 95% interval, each at its best rate"
    if np.isinf(data["epochs"]).any():
        most = words.number(data.loc[np.isinf(data["epochs"]), "budget_epochs"].max())
        unit = f"median, 95% interval; △ {words.not_within(most + ' passes')}"
    draw.head(passes, "Passes to the target", unit)
    draw.head(rates, "Best learning rate", "picked on the tuning seeds")
    for panel, values in ((passes, "epochs"), (rates, "learning_rate")):
        draw.batch_axis(panel, sizes, n_train)
        bounds = [data[name] for name in data if str(name).startswith(values)]
        low, high = draw.finite_range(*bounds)
        draw.log_axis(panel, "y", low, high * 1.2, draw.plain)
        in_order = [data[data["rule"] == rule] for rule in _STYLES]
        ends = [_line(panel, rows, values) for rows in in_order if len(rows)]
        draw.end_labels(panel, ends)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


FIGURES = {
    "rules": FigureSpec(
        rules_data,
        rules_figure,
        rules_title,
        "Left: median passes to the target and 95% interval over seeds against the batch size, a "
        "line an update rule, each at its own best rate. Right: that rate. Adam, β₂ by batch: "
        "beta2 = 0.999^(B/32), so that it forgets half after as many samples at every batch size.",
    ),
}
