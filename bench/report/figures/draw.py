"""What all figures share: colours, panels, axes, labels, and the way they are saved.

Only matplotlib's object-oriented interface is used, so that figures can be drawn in any thread and
leave no state behind. Colours are named once here; on the page each becomes a CSS variable
(`theme.py`), so that figures follow dark mode.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from bench.report.words import batch_label, duration_unit, number, plural

INK = "#1b2430"
MUTED = "#5d6774"
GRID = "#e4e7eb"
PAPER = "#ffffff"
SHADE = "#eef1f4"

# Programs and outcomes are categories, batch sizes an ordered scale: the scale runs from indigo
# over magenta to orange, the categories keep clear of it.
PROGRAM_COLOURS = {
    "batchbench": INK,
    "scikit-learn": "#0b7a75",
    "PyTorch": "#a8441a",
    "JAX": "#2f6fb0",
    "NumPy": "#8563a6",
    "PyTorch compiled": "#cc4052",
}
OTHER_PROGRAM_COLOUR = "#6b7a1f"
PROGRAM_DASHES: dict[str, Any] = {
    "batchbench": "solid",
    "scikit-learn": (0, (6, 2)),
    "PyTorch": (0, (2, 1.5)),
    "JAX": (0, (6, 2, 1.5, 2)),
    "NumPy": (0, (3, 1.5)),
    "PyTorch compiled": (0, (1, 1)),
}
PROGRAM_MARKERS = {
    "batchbench": "o",
    "scikit-learn": "s",
    "PyTorch": "D",
    "JAX": "^",
    "NumPy": "P",
    "PyTorch compiled": "X",
}
OUTCOME_COLOURS = {
    "solved": "#217f74",
    "slow": "#bfe3dc",
    "stuck": "#b9bec6",
    "dead": "#3d4450",
    "diverged": "#cc4052",
}

CAUSE_COLOURS = ("#8563a6", "#c9a227", "#6f8fb3", "#b5838d")
"""Colours of causes of failure beside those of outcomes."""
FIELD_COLOURS = ("#f6f7f9", "#e2edf0", "#c9e0e4", "#a5ced3", "#7cb7bd", "#549fa6")
"""Shades of a network's answer between 0 and 1."""

SCALE_STEPS = 24
"""Steps of the scale of batch sizes: each is a colour of its own on the page, light and dark."""

WIDE = 10.9
"""Width in inches of a figure that fills the page's column."""
HERO = 5.7
"""Width in inches of the picture beside the answer."""
NARROW = 3.6
"""Width in inches of a figure on a telephone."""

TITLE = 0.72
"""Inches kept free at the top of every figure for its title; the page, which sets titles as text of
its own, cuts them off."""

LEAST = 9.0
"""Points of the smallest text on a telephone: 12 pixels."""

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": LEAST,
    "text.color": INK,
    "text.parse_math": False,  # a column called "cost_$" is no formula
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}


@contextmanager
def style(salt: str = "figure") -> Iterator[None]:
    """Settings of matplotlib while a figure is drawn or saved; `salt` sets its SVG's ids apart."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        yield


def scale_colours(*, dark: bool = False) -> list[str]:
    """Colours of the scale of batch sizes, per sample first, as hexadecimal strings.

    Evenly spaced pieces of `plasma` (perceptually uniform, safe for the colour-blind): the ends
    that would vanish in the paper are left out, on light paper the yellow, on dark the indigo.
    """
    low, high = (0.36, 0.98) if dark else (0.02, 0.80)
    shades = mpl.colormaps["plasma"](np.linspace(low, high, SCALE_STEPS + 1))
    return [mpl.colors.to_hex(shade) for shade in shades]


_SCALE = scale_colours()


def batch_colour(batch_size: int, n_train: int) -> str:
    """Colour of a batch size: log B on the scale between 1 and n_train."""
    place = math.log(max(batch_size, 1)) / math.log(n_train) if n_train > 1 else 1.0
    return _SCALE[round(min(place, 1.0) * SCALE_STEPS)]


_DASHES = ((0, (4, 1.4)), (0, (1, 1.2)), (0, (5, 1.4, 1, 1.4)), "solid")


def batch_dash(index: int, n_arms: int) -> Any:
    """Line style of the arm at `index`: solid per sample and full batch, dashes between."""
    return "solid" if index in (0, n_arms - 1) else _DASHES[(index - 1) % len(_DASHES)]


@dataclass(frozen=True)
class Margins:
    """Inches around a panel."""

    left: float = 0.52
    right: float = 0.16
    top: float = 0.34
    bottom: float = 0.46


def panels(
    n_panels: int,
    *,
    narrow: bool,
    height: float = 2.7,
    margins: Margins | None = None,
    width: float = WIDE,
    above: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """A figure of panels: side by side, or one below the other on a telephone (`narrow`).

    Parameters
    ----------
    n_panels
        How many.
    narrow
        Whether the figure is NARROW inches wide, else `width`.
    height, width
        Of a row of panels, and of the figure, in inches, margins included.
    margins
        Around each panel.
    above
        Inches left free above the panels, for a key.
    """
    space = margins or Margins()
    columns, rows = (1, n_panels) if narrow else (n_panels, 1)
    total_width = NARROW if narrow else width
    total_height = height * rows + above + TITLE
    figure = Figure(figsize=(total_width, total_height))
    cell = total_width / columns
    axes = []
    for place in range(n_panels):
        row, column = divmod(place, columns)
        left = column * cell + space.left
        bottom = total_height - TITLE - above - (row + 1) * height + space.bottom
        box = (
            left / total_width,
            bottom / total_height,
            (cell - space.left - space.right) / total_width,
            (height - space.top - space.bottom) / total_height,
        )
        axes.append(_bare_axes(figure, box))
    return figure, axes


def _bare_axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Axes without a frame, with light horizontal lines."""
    axes = figure.add_axes(box)
    axes.patch.set_visible(False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, pad=4)
    axes.tick_params(axis="x", length=3, width=0.7)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def panel_points(axes: Axes) -> tuple[float, float]:
    """Width and height of a panel in points."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_position()
    return box.width * figure.get_figwidth() * 72, box.height * figure.get_figheight() * 72


def head(axes: Axes, title: str, unit: str = "") -> None:
    """Write a panel's title above it, at its left, and what its vertical axis measures."""
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", pad=20 if unit else 8)
    if unit:
        axes.annotate(
            unit,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 8),
            textcoords="offset points",
            color=MUTED,
        )


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between low and high for a logarithmic axis: about three to six of them."""
    decades = math.log10(high / low)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps: tuple[float, ...]
    if decades > 2.4:
        stride = math.ceil(decades / 5)
        ticks = [10.0**k for k in exponents if k % stride == 0]
    else:
        steps = (1, 3) if decades > 1.4 else (1, 2, 5) if decades > 0.5 else (1, 1.5, 2, 3, 4, 5, 7)
        ticks = [step * 10.0**k for k in exponents for step in steps]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


def log_axis(
    axes: Axes, which: str, low: float, high: float, write: Callable[[float], str] = number
) -> None:
    """Make the axis `which` ("x" or "y") logarithmic from low to high, with numbers in words."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def plain(value: float) -> str:
    """A tick's number: as few digits as it needs."""
    return f"{value:,.15g}" if value >= 1e-4 else number(value, 1)


def finite_range(*arrays: ArrayLike, pad: float = 1.15) -> tuple[float, float]:
    """Least and greatest positive finite value, widened by the factor `pad`, for a log axis."""
    values = np.concatenate([np.ravel(np.asarray(array, dtype=float)) for array in arrays])
    values = values[np.isfinite(values) & (values > 0)]
    return (float(values.min()) / pad, float(values.max()) * pad) if values.size else (0.1, 10.0)


def batch_axis(axes: Axes, batch_sizes: Sequence[int], n_train: int, *, ends: bool = False) -> None:
    """A logarithmic axis of batch sizes; `ends` names per sample and full batch below it."""
    first, last = min(batch_sizes), max(batch_sizes)
    pad = (last / first) ** 0.04 if last > first else 1.5
    axes.set(xscale="log", xlim=(first / pad, last * pad))
    length = panel_points(axes)[0]
    room = length / max(math.log2(last / first), 1)  # points between neighbours
    stride = next(k for k in (1, 2, 3, 4, 6, 12) if k * room >= 24 or k == 12)
    inner = [b for i, b in enumerate(sorted(batch_sizes)) if i % stride == 0 and b < last]
    ticks = [b for b in inner if math.log2(last / b) * room >= 22] + [last]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "full" if round(value) >= n_train else f"{value:,.0f}")
    )
    axes.xaxis.set_minor_locator(FixedLocator([b for b in batch_sizes if b not in ticks]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", length=2, width=0.5)
    axes.set_xlabel("batch size", labelpad=14 if ends else None, loc="center" if ends else "left")
    if ends:
        for batch_size, text in ((first, "per sample"), (last, f"all {n_train:,}")):
            axes.annotate(
                text,
                (batch_size, 0),
                xycoords=axes.get_xaxis_transform(),
                xytext=(0, -18),
                textcoords="offset points",
                ha="center",
                va="top",
                color=INK,
            )


def spread(wanted: ArrayLike, gap: float, low: float, high: float) -> NDArray[np.float64]:
    """Places as near to the wanted ones as a least gap between neighbours allows, within low, high.

    Neighbours that would overlap are moved apart around their common mean (pool adjacent
    violators). Where there is no room for all gaps, the places are even.
    """
    wanted_array = np.asarray(wanted, dtype=float)
    order = np.argsort(wanted_array, kind="stable")
    gap = min(gap, (high - low) / max(len(wanted_array) - 1, 1))
    blocks: list[list[float]] = []  # mean of (wanted - rank * gap), number of labels
    for rank, value in enumerate(wanted_array[order]):
        blocks.append([value - rank * gap, 1.0])
        while len(blocks) > 1 and blocks[-1][0] < blocks[-2][0]:
            mean, size = blocks.pop()
            total = blocks[-1][1] + size
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * size) / total, total]
    means = np.repeat([mean for mean, _ in blocks], [int(size) for _, size in blocks])
    means = np.clip(means, low, high - gap * (len(wanted_array) - 1))
    places = np.empty(len(wanted_array))
    places[order] = means + gap * np.arange(len(wanted_array))
    return places


@dataclass(frozen=True)
class EndLabel:
    """A line's name at its end: where, what, in which colour."""

    x: float
    y: float
    text: str
    colour: str


def end_labels(axes: Axes, labels: Sequence[EndLabel], *, size: float = 8.5) -> None:
    """Name lines at their right ends, moved apart where they would overlap.

    Call it when scales and limits of the axes are set. Where lines end inside the panel the label
    stands there; a thin lead connects it when it had to move.
    """
    if not labels:
        return
    height = panel_points(axes)[1]
    to_axes = axes.transScale + axes.transLimits
    ends = to_axes.transform([(label.x, label.y) for label in labels])
    lines = max(label.text.count("\n") + 1 for label in labels)
    places = spread(ends[:, 1] * height, size * 1.22 * lines, size * 0.4, height - size * 0.2)
    for label, end, place in zip(labels, ends, places, strict=True):
        moved = abs(place - end[1] * height) > 3
        axes.annotate(
            label.text,
            end,
            xycoords="axes fraction",
            xytext=(9 if moved else 5, place - end[1] * height),
            textcoords="offset points",
            color=label.colour,
            fontsize=size,
            va="center",
            arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.5, "shrinkA": 1}
            if moved
            else None,
            annotation_clip=False,
        )


def band(
    axes: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str, alpha: float = 0.16
) -> None:
    """Shade an interval along x; one without an upper end runs to the frame."""
    limits = axes.get_ylim()
    lower = np.maximum(np.asarray(low, dtype=float), limits[0])
    upper = np.minimum(np.asarray(high, dtype=float), limits[1])
    axes.fill_between(np.asarray(x), lower, upper, color=colour, alpha=alpha, linewidth=0)


def not_reached(axes: Axes, x: Sequence[float], colour: str) -> None:
    """Mark arms that did not reach the target: hollow triangles at the top, never a value."""
    axes.plot(
        x,
        [0.975] * len(x),
        "^",
        transform=axes.get_xaxis_transform(),
        color=colour,
        mfc=PAPER,
        ms=5.5,
        zorder=5,
    )


def brief_duration(seconds: float) -> str:
    """A tick of a time axis: "10 ms"."""
    scale, unit = duration_unit(seconds)
    return f"{plain(seconds / scale)} {unit}"


def seeds_note(figure: Figure, n_seeds: ArrayLike, what: str = "seed", several: str = "") -> None:
    """Write the number of seeds (or of what else the figure counts) at its lower right."""
    counts = np.unique(np.asarray(n_seeds))
    low, high = int(counts[0]), int(counts[-1])
    text = plural(high, what, several)
    if low < high:
        text = f"{low:,} to {text}"
    figure.text(
        1 - 0.08 / figure.get_figwidth(),
        0.06 / figure.get_figheight(),
        text,
        ha="right",
        va="bottom",
        fontsize=8,
        color=MUTED,
    )


_KEY_COLUMNS = {False: 15, True: 5}


def key_height(n_arms: int, *, narrow: bool) -> float:
    """Inches that `batch_key` needs above the panels."""
    return 0.06 + 0.2 * math.ceil(n_arms / _KEY_COLUMNS[narrow])


def batch_key(figure: Figure, batch_sizes: Sequence[int], n_train: int, *, narrow: bool) -> None:
    """Name the colour and the dashes of each batch size, per sample first, above the panels."""
    width, height = figure.get_size_inches()
    arms = sorted(batch_sizes)
    columns = _KEY_COLUMNS[narrow]
    step = 0.66
    left = 0.06
    if not narrow:
        figure.text(
            left / width, 1 - (TITLE + 0.14) / height, "Batch size", color=MUTED, va="center"
        )
        left = 0.86
    for index, batch_size in enumerate(arms):
        row, column = divmod(index, columns)
        x, y = left + column * step, height - TITLE - 0.14 - 0.2 * row
        colour = batch_colour(batch_size, n_train)
        line = Line2D(
            [x / width, (x + 0.24) / width],
            [y / height] * 2,
            transform=figure.transFigure,
            color=colour,
            linestyle=batch_dash(index, len(arms)),
            linewidth=2,
        )
        figure.add_artist(line)
        text = batch_label(batch_size, n_train)
        figure.text((x + 0.29) / width, y / height, text, color=INK, va="center", fontsize=8.5)


def small_multiples(
    n_panels: int, *, narrow: bool, height: float = 1.75, above: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """A grid of small panels with common axes: numbers only at its left and lower edges.

    `above`: inches left free above the panels, for a key.
    """
    columns = 2 if narrow else min(n_panels, 6 if n_panels > 8 else 4)
    rows = math.ceil(n_panels / columns)
    width = NARROW if narrow else WIDE
    left, bottom = 0.46, 0.44
    cell = (width - left) / columns
    total = rows * height + bottom + above + TITLE
    figure = Figure(figsize=(width, total))
    axes = []
    for place in range(n_panels):
        row, column = divmod(place, columns)
        box = (
            (left + column * cell) / width,
            (bottom + (rows - 1 - row) * height + 0.1) / total,
            (cell - 0.14) / width,
            (height - 0.42) / total,
        )
        panel = _bare_axes(figure, box)
        panel.tick_params(labelleft=column == 0, labelbottom=place + columns >= n_panels)
        axes.append(panel)
    return figure, axes


def few_ticks() -> MaxNLocator:
    """Ticks of a linear axis: five or so, at round numbers."""
    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])


def squares(n_panels: int, *, narrow: bool) -> tuple[Figure, list[Axes]]:
    """Square panels in rows of four, or of two on a telephone."""
    columns = 2 if narrow else min(n_panels, 4)
    rows = math.ceil(n_panels / columns)
    left, bottom, top, gap = 0.36, 0.46, 0.54, 0.2
    width = NARROW if narrow else WIDE * columns / 4
    side = (width - columns * (left + gap)) / columns
    height = rows * (side + bottom + top) + TITLE
    figure = Figure(figsize=(width, height))
    axes = []
    for place in range(n_panels):
        row, column = divmod(place, columns)
        x = column * (side + left + gap) + left
        y = height - TITLE - row * (side + bottom + top) - top - side
        axes.append(_bare_axes(figure, (x / width, y / height, side / width, side / height)))
    return figure, axes


def colour_key(figure: Figure, entries: Sequence[tuple[str, str]], *, columns: int) -> None:
    """Name colours (text, colour) above the panels, in a grid of so many columns."""
    width, height = figure.get_size_inches()
    step = (width - 0.16) / columns
    for index, (text, colour) in enumerate(entries):
        row, column = divmod(index, columns)
        x, y = 0.08 + column * step, height - TITLE - 0.15 - 0.2 * row
        box = Rectangle(
            (x / width, (y - 0.055) / height),
            0.13 / width,
            0.11 / height,
            transform=figure.transFigure,
            facecolor=colour,
            edgecolor=PAPER,
            hatch="////" if colour == OUTCOME_COLOURS["diverged"] else None,
            linewidth=0,
        )
        figure.add_artist(box)
        figure.text((x + 0.19) / width, y / height, text, va="center")


def legible(figure: Figure) -> Figure:
    """Return a figure for a telephone, which shows it as large as it is: no text below 9 points."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_fontsize(max(text.get_fontsize(), LEAST))
    return figure


def write_title(figure: Figure, title: str) -> None:
    """Write the title into the space that is kept for it, in as many lines as it needs."""
    width, height = figure.get_size_inches()
    figure.text(
        0.08 / width,
        1 - (TITLE - 0.08) / height,
        textwrap.fill(title, int(width * 10.5)),
        fontsize=11,
        fontweight="bold",
        va="bottom",
        linespacing=1.2,
    )
