"""Mistakes in averaging a batch: what each costs, how its update differs, what becomes of XOR."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.analysis.mistakes import EQUAL, Mistakes
from bench.analysis.recommend import MARGIN
from bench.experiments.mistakes import ERROR, LEFTOVER, MEANS, RIGHT, SUM
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import records
from bench.report.mistake_words import NAMES, from_on, least_from_on, lines

COLOURS = {
    SUM: draw.PROGRAM_COLOURS["PyTorch"],
    ERROR: draw.PROGRAM_COLOURS["JAX"],
    EQUAL: draw.OTHER_PROGRAM_COLOUR,
    MEANS: draw.PROGRAM_COLOURS["scikit-learn"],
    LEFTOVER: draw.CAUSE_COLOURS[0],
    RIGHT: draw.INK,
}
MOST = 0.5
SHADES = (MARGIN, 2.0, 4.0, 8.0)  # ratios from which on a cell is a shade darker


def mistakes_data(mistakes: Mistakes) -> pd.DataFrame:
    """Passes of each mistake over those of averaged gradients, a row per mistake and batch size.

    Columns: `mistake, batch_size, learning_rate, ratio, ratio_low, ratio_high` (inf: most runs do
    not reach the target), `success_rate, diverged_rate, fate ("reached"|"not reached"|
    "diverged"), n_seeds, target, n_train`.
    """
    rows = lines(mistakes)
    rows = rows[(rows.mistake != RIGHT) & (rows.batch_size > 1)]
    fate = np.where(rows.diverged_rate > MOST, "diverged", "not reached")
    rows = rows.assign(fate=np.where(np.isfinite(rows.ratio), "reached", fate))
    columns = ["mistake", "batch_size", "learning_rate", "ratio", "ratio_low", "ratio_high"]
    columns += ["success_rate", "diverged_rate", "fate", "n_seeds", "target", "n_train"]
    order = {name: place for place, name in enumerate(NAMES)}
    return rows[columns].sort_values(
        ["mistake", "batch_size"], key=lambda c: c.map(order) if c.name == "mistake" else c
    )


def mistakes_title(data: pd.DataFrame) -> str:
    """From where on sums diverge, and errors averaged first miss the target."""
    n_train = int(data["n_train"].iloc[0])
    told = []
    for name, fates, verb in (
        (SUM, ("diverged",), "summed gradients diverge"),
        (ERROR, ("diverged", "not reached"), "averaged errors miss the target"),
    ):
        rows = data[data["mistake"] == name]
        start = least_from_on(rows, rows["fate"].isin(fates).tolist())
        told += [] if start is None else [f"{verb} {from_on(start, n_train)}"]
    if not told:
        return "At the batch sizes tried, summed gradients and averaged errors reach the target"
    return words.sentence("; ".join(told))


def mistakes_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A table of cells, a row a mistake, a column a batch size: how many times as many passes."""
    names = list(dict.fromkeys(data["mistake"]))
    sizes = sorted(set(data["batch_size"]))
    row = 0.56 if narrow else 0.42
    margins = draw.Margins(left=0.08 if narrow else 1.98, right=0.08, top=0.5, bottom=0.66)
    height = row * len(names) + margins.top + margins.bottom
    figure, (axes,) = draw.panels(
        1, narrow=narrow, height=height, margins=margins, width=draw.HERO + 1.2
    )
    draw.head(axes, "Passes to the target", "times as many as with gradients averaged")
    axes.grid(visible=False)
    axes.spines[["bottom"]].set_visible(False)
    axes.set(xlim=(0, len(sizes)), ylim=(len(names), 0))
    axes.set_xticks(np.arange(len(sizes)) + 0.5, _size_labels(data, sizes))
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("batch size", loc="left")
    centers = np.arange(len(names)) + 0.5
    axes.set_yticks(centers, [] if narrow else [NAMES[name] for name in names])
    axes.tick_params(axis="y", labelcolor=draw.INK)
    for place, name in enumerate(names):
        if narrow:
            axes.text(0.02, place + 0.24, NAMES[name], va="center", color=draw.INK, fontsize=8.5)
        for cell in records(data[data["mistake"] == name]):
            top = place + (0.42 if narrow else 0.05)
            _cell(axes, sizes.index(cell.batch_size), top, place + 0.95, cell)
    key = "×: most runs diverge; –: most do not reach it"
    figure.text(
        0.08 / figure.get_figwidth(), 0.06 / figure.get_figheight(), key, fontsize=8, va="bottom"
    )
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def _size_labels(data: pd.DataFrame, sizes: list[int]) -> list[str]:
    """Batch sizes as they stand on an axis."""
    return [words.batch_label(size, int(data["n_train"].iloc[0])) for size in sizes]


def _cell(axes: Axes, column: int, top: float, bottom: float, cell: pd.Series) -> None:
    """One cell: the ratio on a shade, or what befell most runs."""
    text, fill, colour = "–", draw.SHADE, draw.MUTED
    if cell.fate == "diverged":
        text, fill, colour = "×", draw.OUTCOME_COLOURS["diverged"], draw.PAPER
    elif cell.fate == "reached":
        text, colour = words.number(cell.ratio), draw.INK
        fill = draw.FIELD_COLOURS[sum(cell.ratio > shade for shade in SHADES)]
    box = Rectangle((column + 0.04, top), 0.92, bottom - top, facecolor=fill, linewidth=0)
    axes.add_patch(box)
    axes.text(
        column + 0.5, (top + bottom) / 2, text, ha="center", va="center", color=colour, fontsize=8.5
    )


def mistake_times_data(mistakes: Mistakes) -> pd.DataFrame:
    """Passes to the target, a row per mistake, protocol, base and batch size.

    Columns: `mistake, protocol, base_batch_size` (0: none), `batch_size, learning_rate, epochs,
    epochs_low, epochs_high` (inf: not reached), `fate, n_seeds, target, n_train`.
    """
    rows = mistakes.summary[mistakes.summary.target == mistakes.target]
    fate = np.where(rows.diverged_rate > MOST, "diverged", "not reached")
    rows = rows.assign(
        fate=np.where(np.isfinite(rows.epochs), "reached", fate),
        base_batch_size=rows.base_batch_size.fillna(0).astype(int),
        n_train=mistakes.problem.n_train,
    )
    columns = ["mistake", "protocol", "base_batch_size", "batch_size", "learning_rate"]
    columns += ["epochs", "epochs_low", "epochs_high", "fate", "n_seeds", "target", "n_train"]
    return rows[columns].reset_index(drop=True)


PANELS = ((SUM,), (ERROR,), (EQUAL,), (MEANS, LEFTOVER))
"""Mistakes of each panel."""
HEADS = ("Gradients summed", "Errors averaged first", "One rate for all", "Mean of means")


def mistake_times_title(data: pd.DataFrame) -> str:
    """Passes of averaged gradients, and of averaged errors at the smallest batch size above 1."""
    right = data[data["mistake"] == RIGHT]
    n_train, epochs = int(data["n_train"].iloc[0]), right["epochs"]
    told = f"Averaged gradients reach the target in {_range(epochs)} passes"
    errors = data[(data["mistake"] == ERROR) & (data["protocol"] == "tuned")]
    first = errors[errors["batch_size"] > 1].sort_values("batch_size").iloc[0]
    where = words.with_batch(int(first["batch_size"]), n_train)
    if not np.isfinite(first["epochs"]):
        return f"{told}, averaged errors not even {where}"
    return f"{told}, averaged errors {where} in {words.number(first['epochs'])}"


def _range(values: pd.Series) -> str:
    """The least and the greatest of some numbers of passes."""
    low, high = float(values.min()), float(values.max())
    end = words.number(high) if np.isfinite(high) else "more than the budget's"
    return words.number(low) if low == high else f"{words.number(low)} to {end}"


def mistake_times_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A panel a mistake: its passes against the batch size, over those of averaged gradients."""
    margins = draw.Margins(left=0.5, right=0.72, top=0.56)
    figure, axes = draw.panels(4, narrow=narrow, height=3.1, margins=margins)
    sizes, n_train = sorted(set(data["batch_size"])), int(data["n_train"].iloc[0])
    low, high = draw.finite_range(data["epochs"])
    for panel, names, head in zip(axes, PANELS, HEADS, strict=True):
        draw.head(panel, head, "passes to the target")
        draw.batch_axis(panel, sizes, n_train)
        draw.log_axis(panel, "y", low / 1.1, high * 1.7, draw.plain)
        right = data[data["mistake"] == RIGHT]
        ends = [_line(panel, right, draw.MUTED, 0, "averaged")]
        for name in names:
            for place, (text, rows) in enumerate(_variants(data[data["mistake"] == name])):
                ends.append(_line(panel, rows, COLOURS[name], place, text))
        draw.end_labels(panel, ends, size=8)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def _variants(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """A mistake's lines by what their rate is, or by what was split, with short names."""
    found = []
    for (protocol, base), part in rows.groupby(["protocol", "base_batch_size"]):
        short = {"tuned": "own rate", "shared": "its rate", "same": f"rate of {base}"}[
            str(protocol)
        ]
        name = {MEANS: "5 to 3", LEFTOVER: "one left"}.get(str(part["mistake"].iloc[0]), short)
        found.append((name, part.sort_values("batch_size")))
    return sorted(found, key=lambda pair: pair[0] == "its rate")


def _line(axes: Axes, rows: pd.DataFrame, colour: str, place: int, text: str) -> draw.EndLabel:
    """One line with its interval; at the top, batch sizes at which most runs do not get there.

    The second line of its kind (`place` 1) is dashed.
    """
    reached = rows[rows["fate"] == "reached"]
    size, dash = reached["batch_size"], (0, (3, 1.5)) if place else "solid"
    draw.band(axes, size, reached["epochs_low"], reached["epochs_high"], colour)
    axes.plot(size, reached["epochs"], color=colour, linestyle=dash, lw=1.6)
    axes.plot(size, reached["epochs"], "o", color=colour, ms=3.2)
    draw.not_reached(axes, list(rows.loc[rows["fate"] == "not reached", "batch_size"]), colour)
    diverged = rows.loc[rows["fate"] == "diverged", "batch_size"]
    height = [0.97 - 0.07 * place] * len(diverged)
    top = axes.get_xaxis_transform()
    axes.plot(diverged, height, "x", transform=top, color=colour, ms=5, mew=1.4)
    last = reached.iloc[-1] if len(reached) else rows.iloc[-1]
    end = last["epochs"] if len(reached) else axes.get_ylim()[1] * 0.8
    return draw.EndLabel(last["batch_size"], end, text, colour)


def mistaken_gradients_data(mistakes: Mistakes) -> pd.DataFrame:
    """The frame `Mistakes.directions`, without batch size 1, where nothing differs."""
    rows = mistakes.directions
    return rows[rows.batch_size > 1].assign(n_train=mistakes.problem.n_train)


def mistaken_gradients_title(data: pd.DataFrame) -> str:
    """How far the two that turn the update turn it on the largest batch."""
    last = data[data["batch_size"] == data["batch_size"].max()].set_index("mistake")
    where = words.with_batch(int(last["batch_size"].iloc[0]), int(last["n_train"].iloc[0]))
    error, left = (last.loc[name] for name in (ERROR, LEFTOVER))
    return (
        f"{words.sentence(where)}, averaged errors give an update at a cosine of "
        f"{words.number(error['cosine'])} to the right one; with one sample left over it is off by "
        f"{words.number(left['difference'])} times the right one's length"
    )


def mistaken_gradients_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Two panels against the batch size: the angle, and how long the difference is."""
    margins = draw.Margins(left=0.62, right=1.3, top=0.56)
    figure, (cosine, difference) = draw.panels(2, narrow=narrow, height=3.2, margins=margins)
    sizes, n_train = sorted(set(data["batch_size"])), int(data["n_train"].iloc[0])
    draw.head(cosine, "Direction", "cosine to the right update")
    draw.head(difference, "Error", "length of the difference; the right update has 1")
    lowest = data[["cosine", "cosine_low"]].to_numpy(float)
    cosine.set_ylim(min(0.0, float(lowest[np.isfinite(lowest)].min())) - 0.03, 1.06)
    cosine.yaxis.set_major_locator(draw.few_ticks())
    ends: dict[str, list[draw.EndLabel]] = {"cosine": [], "difference": []}
    for panel in (cosine, difference):
        draw.batch_axis(panel, sizes, n_train)
    draw.log_axis(difference, "y", *draw.finite_range(data["difference"], pad=1.4), draw.plain)
    for name, rows in data.groupby("mistake", sort=False):
        for panel, value in ((cosine, "cosine"), (difference, "difference")):
            shown = rows if value == "cosine" else rows[rows[value] > 0]  # on a log axis
            if len(shown):
                ends[value].append(_direction(panel, shown, value, str(name)))
    for panel, value in ((cosine, "cosine"), (difference, "difference")):
        draw.end_labels(panel, ends[value], size=8)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def _direction(axes: Axes, rows: pd.DataFrame, value: str, name: str) -> draw.EndLabel:
    """One mistake's line of `value` with its interval."""
    colour, size = COLOURS[name], rows["batch_size"]
    draw.band(axes, size, rows[f"{value}_low"], rows[f"{value}_high"], colour)
    axes.plot(size, rows[value], "o-", color=colour, ms=3.2, lw=1.6)
    end = rows.iloc[-1]
    return draw.EndLabel(end["batch_size"], end[value], NAMES[name].replace(", ", "\n"), colour)


def mistakes_xor_data(mistakes: Mistakes) -> pd.DataFrame:
    """The frame `Mistakes.solved`."""
    return mistakes.solved


def mistakes_xor_title(data: pd.DataFrame) -> str:
    """Shares that learn XOR on the full batch."""
    full = data[data["batch_size"] == data["batch_size"].max()].set_index("mistake")
    right, wrong = (
        words.percent_interval(*full.loc[name, ["success_rate", "success_low", "success_high"]])
        for name in (RIGHT, ERROR)
    )
    return (
        f"On the full batch, {wrong} of the networks learn XOR with averaged errors, {right} with "
        "averaged gradients"
    )


def mistakes_xor_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """A row for each update and batch size: the share of 2-2-1 networks that learn XOR."""
    margins = draw.Margins(left=1.72 if narrow else 1.9, right=0.5, top=0.4)
    height = 0.42 * len(data) + margins.top + margins.bottom
    figure, (axes,) = draw.panels(1, narrow=narrow, height=height, margins=margins, width=7.4)
    axes.grid(visible=False)
    axes.grid(axis="x", color=draw.GRID, linewidth=0.8)
    rows = data.sort_values(["batch_size", "mistake"], ascending=[False, True])
    labels = [f"{NAMES[r.mistake]}, {words.batch_label(r.batch_size, 4)}" for r in records(rows)]
    axes.set_yticks(np.arange(len(rows)), labels)
    axes.tick_params(axis="y", labelcolor=draw.INK)
    highest = float(data["success_high"].max())
    axes.set(xlim=(-0.02 * highest, min(1.0, highest * 1.15)), ylim=(-0.6, len(rows) - 0.4))
    axes.xaxis.set_major_locator(draw.few_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    draw.head(axes, "Networks that learn XOR")
    for place, row in enumerate(records(rows)):
        colour = COLOURS[row.mistake]
        axes.plot([row.success_low, row.success_high], [place] * 2, color=colour, lw=2.2)
        axes.plot(row.success_rate, place, "o", color=colour, ms=6, clip_on=False)
        text = words.percent(row.success_rate)
        axes.annotate(
            text, (row.success_high, place), xytext=(6, 0), textcoords="offset points", va="center"
        )
    draw.seeds_note(figure, data["n_seeds"], "network")
    return figure


FIGURES: dict[str, FigureSpec] = {
    "mistakes": FigureSpec(
        mistakes_data,
        mistakes_figure,
        mistakes_title,
        "Passes to the target over those of averaged gradients at the same batch size: the median "
        "ratio by seed. Sums and the one rate for all take the rate tuned per sample (else that of "
        "the batch size nearest to 32), averaged errors their own best rate, means of means the "
        "rate tuned for averaged gradients.",
    ),
    "mistake_times": FigureSpec(
        mistake_times_data,
        mistake_times_figure,
        mistake_times_title,
        "Median passes to the target with 95% interval against the batch size; in grey, averaged "
        "gradients at the best rate of each batch size. At the top: triangles where most runs do "
        "not reach the target within the budget, crosses where most diverge. Rate of 1, of 32: "
        "tuned at that batch size and kept; own rate: tuned for averaged errors; its rate: tuned "
        "for averaged gradients.",
    ),
    "mistaken_gradients": FigureSpec(
        mistaken_gradients_data,
        mistaken_gradients_figure,
        mistaken_gradients_title,
        "The update that each mistake gives against the right one, on the same batches from the "
        "same weights (after one pass with averaged gradients): means over seeds, 95% interval. "
        "One sample left over weighs as much as all others together, so that a batch of any size "
        "is about as noisy as one of 4.",
    ),
    "mistakes_xor": FigureSpec(
        mistakes_xor_data,
        mistakes_xor_figure,
        mistakes_xor_title,
        "Share of the notes' 2-2-1 networks that classify all four points of XOR right with a loss "
        "below 0.1 after 10,000 updates, by update and batch size, each at its own best rate.",
    ),
}
