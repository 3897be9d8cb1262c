"""Loss against examples, updates and seconds: how each arm learns."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups

QUANTILES = ["q10", "q25", "q50", "q75", "q90"]


def learning_data(evidence: Evidence) -> pd.DataFrame:
    """Quantiles of the full-train loss over reporting seeds, a row per tuned arm and evaluation.

    Columns: `batch_size, learning_rate, epochs, updates, seconds` (of batchbench's one-run engine),
    `q10, q25, q50, q75, q90, n_seeds, target, epochs_to_target` (median), `budget_epochs, n_train`.
    """
    bands = evidence.bands[evidence.bands["protocol"] == "tuned"]
    summary = evidence.summary
    reached = summary[(summary["protocol"] == "tuned") & (summary["target"] == evidence.target)]
    reached = reached[["batch_size", "epochs", "budget_epochs"]]
    own = evidence.programs[evidence.programs["program"] == "batchbench"]
    own = own[["batch_size", "seconds_per_update"]]
    data = bands.merge(reached.rename(columns={"epochs": "epochs_to_target"}), on="batch_size")
    data = data.merge(own, on="batch_size", how="left")
    data["seconds"] = data["updates"] * data["seconds_per_update"]
    data["target"] = evidence.target
    data["n_train"] = evidence.problem.n_train
    columns = ["batch_size", "learning_rate", "epochs", "updates", "seconds", *QUANTILES]
    columns += ["n_seeds", "target", "epochs_to_target", "budget_epochs", "n_train"]
    return data[columns].sort_values(["batch_size", "epochs"], ignore_index=True)


def learning_title(data: pd.DataFrame) -> str:
    """Passes that the first, the fastest and the last arm take to the target."""
    arms = data.drop_duplicates("batch_size").set_index("batch_size")
    n_train = int(data["n_train"].iloc[0])
    fastest = arms["epochs_to_target"].idxmin()
    parts = []
    for batch_size in dict.fromkeys([arms.index[0], fastest, arms.index[-1]]):
        took = float(arms.loc[batch_size, "epochs_to_target"])
        budget = words.number(float(arms.loc[batch_size, "budget_epochs"]))
        passes = f"not within {budget}" if math.isinf(took) else words.number(took)
        parts.append(f"{passes} {words.with_batch(int(batch_size), n_train)}")
    return (
        f"Passes over the data to a training loss of {words.number(data['target'].iloc[0])}: "
        + (words.join(parts))
    )


def _curves(axes: Axes, data: pd.DataFrame, x: str) -> None:
    """All arms' medians with their middle half, and the target."""
    n_train, target = int(data["n_train"].iloc[0]), float(data["target"].iloc[0])
    seen = data[data[x] > 0]
    low, high = draw.finite_range(seen["q25"], seen["q75"], [target])
    draw.log_axis(axes, "y", max(low, target / 8), high, draw.plain)
    write = draw.brief_duration if x == "seconds" else draw.plain
    draw.log_axis(axes, "x", *draw.finite_range(seen[x], pad=1.1), write)
    arms = groups(seen, "batch_size")
    for index, (batch_size, arm) in enumerate(arms):
        colour = draw.batch_colour(int(batch_size), n_train)
        draw.band(axes, arm[x], arm["q25"], arm["q75"], colour)
        dash = draw.batch_dash(index, len(arms))
        axes.plot(arm[x], arm["q50"], color=colour, linestyle=dash, linewidth=1.5)
    _mark_target(axes, target)


def _mark_target(axes: Axes, target: float) -> None:
    """A dotted line at the target loss, named below its left end."""
    axes.axhline(target, color=draw.INK, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.annotate(
        f"target {words.number(target)}",
        (0, target),
        xycoords=("axes fraction", "data"),
        xytext=(2, -4),
        textcoords="offset points",
        va="top",
        fontsize=8,
    )


PANELS = {
    "epochs": ("By passes over the data", "passes (epochs)"),
    "updates": ("By updates of the weights", "updates"),
    "seconds": ("By time in batchbench", "time"),
}


def learning_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Three panels: the same curves against passes, updates and seconds."""
    batch_sizes = sorted(set(data["batch_size"]))
    above = draw.key_height(len(batch_sizes), narrow=narrow)
    margins = draw.Margins(left=0.5, top=0.56)
    figure, axes = draw.panels(3, narrow=narrow, height=3.5, margins=margins, above=above)
    draw.batch_key(figure, batch_sizes, int(data["n_train"].iloc[0]), narrow=narrow)
    for panel, (x, (title, label)) in zip(axes, PANELS.items(), strict=True):
        draw.head(panel, title, "training loss: median and middle half")
        _curves(panel, data, x)
        panel.set_xlabel(label, loc="left")
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def each_arm_title(data: pd.DataFrame) -> str:
    """Where the seeds of an arm lie furthest apart, and where least, at the budget's end."""
    last = data.groupby("batch_size").last()
    ratio = (last["q90"] / last["q10"]).sort_values()
    n_train = int(data["n_train"].iloc[0])
    least, most = (words.with_batch(int(b), n_train) for b in (ratio.index[0], ratio.index[-1]))
    worst = "diverges"
    if math.isfinite(ratio.iloc[-1]):
        worst = f"ends with {words.number(ratio.iloc[-1])} times the loss of the best tenth"
    text = f"Seeds differ most {most}, where the worst tenth {worst}"
    if most == least or not math.isfinite(ratio.iloc[0]):
        return text
    return f"{text}; least {least}, {words.number(ratio.iloc[0])} times"


def each_arm_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A small panel for each batch size: its quantile bands, the two extremes in grey behind."""
    arms = groups(data[data["epochs"] > 0], "batch_size")
    n_train, target = int(data["n_train"].iloc[0]), float(data["target"].iloc[0])
    seen = data[data["epochs"] > 0]
    figure, axes = draw.small_multiples(len(arms), narrow=narrow)
    low, high = draw.finite_range(seen["q10"], seen["q90"])
    for place, (panel, (batch_size, arm)) in enumerate(zip(axes, arms, strict=True)):
        draw.log_axis(panel, "y", max(low, target / 8), high, draw.plain)
        draw.log_axis(panel, "x", *draw.finite_range(seen["epochs"], pad=1.6), draw.plain)
        for _, other in (arms[0], arms[-1]):
            panel.plot(other["epochs"], other["q50"], color=draw.MUTED, lw=0.8, alpha=0.6)
        colour = draw.batch_colour(int(batch_size), n_train)
        draw.band(panel, arm["epochs"], arm["q10"], arm["q90"], colour, alpha=0.18)
        draw.band(panel, arm["epochs"], arm["q25"], arm["q75"], colour, alpha=0.3)
        panel.plot(arm["epochs"], arm["q50"], color=colour, linewidth=1.6)
        panel.axhline(target, color=draw.INK, linewidth=0.8, linestyle=(0, (2, 2)))
        name = words.sentence(words.batch_name(int(batch_size), n_train))
        draw.head(panel, name)
        if place == len(arms) - 1:
            panel.set_xlabel("passes (epochs)", loc="left")
    draw.seeds_note(figure, data["n_seeds"])
    return figure


FIGURES = {
    "learning": FigureSpec(
        learning_data,
        learning_figure,
        learning_title,
        "Training loss on the whole training split, at each batch size's own best learning rate, "
        "against passes, updates and time: the median over seeds with the middle half shaded.",
    ),
    "learning_each": FigureSpec(
        learning_data,
        each_arm_figure,
        each_arm_title,
        "The same training loss against passes, a panel for each batch size: median, middle half "
        "(dark) and 10 to 90% of the seeds (light). Grey: per sample and full batch. Dotted: the "
        "target.",
    ),
}
