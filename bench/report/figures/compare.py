"""Two revisions: ratio of times with its interval, a benchmark a row."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import figures
from bench.report.figures import draw
from bench.report.frames import records
from bench.speed.compare.comparison import Comparison

COLOURS = {
    "slower": draw.OUTCOME_COLOURS["diverged"],
    "faster": draw.PROGRAM_COLOURS["scikit-learn"],
    "same": draw.INK,
    "cannot tell": draw.MUTED,
}
MARKERS = {"slower": ">", "faster": "<", "same": "o", "cannot tell": "d"}
ROW = 0.27  # inches
WIDE_RANGE = 4.0  # from which on an axis of ratios is logarithmic


def ratios_data(comparison: Comparison) -> pd.DataFrame:
    """What is drawn: `benchmark, ratio, low, high, verdict, words, pairs, tolerance`."""
    return pd.DataFrame(
        [
            {
                "benchmark": row.benchmark,
                "ratio": row.effect.value,
                "low": row.effect.low,
                "high": row.effect.high,
                "verdict": row.verdict,
                "words": row.words,
                "pairs": row.pairs,
                "tolerance": comparison.plan.tolerance,
            }
            for row in comparison.rows
        ]
    )


def title(data: pd.DataFrame) -> str:
    """How many benchmarks are slower, faster, the same, and how many cannot be told."""
    counts = [(verdict, int((data["verdict"] == verdict).sum())) for verdict in COLOURS]
    told = [f"{n} {verdict}" for verdict, n in counts if n]
    return f"{len(data)} benchmarks: {', '.join(told)}"


def ratios_figure(data: pd.DataFrame) -> Figure:
    """A row a benchmark, with its verdict; the shaded stretch is what the tolerance allows."""
    margins = draw.Margins(left=2.0, right=1.6, top=0.1, bottom=0.75)
    height = ROW * len(data) + margins.top + margins.bottom
    figure, (axes,) = draw.panels(1, narrow=False, height=height, margins=margins)
    low, high = _axis(axes, data)
    tolerance = float(data["tolerance"].iloc[0])
    axes.axvspan(1.0 / (1.0 + tolerance), 1.0 + tolerance, color=draw.SHADE, lw=0)
    axes.axvline(1.0, color=draw.MUTED, linewidth=0.9)
    for place, row in enumerate(records(data)):
        colour = COLOURS[row.verdict]
        axes.plot([max(row.low, low), min(row.high, high)], [place, place], color=colour, lw=2)
        axes.plot([row.ratio], [place], MARKERS[row.verdict], color=colour, ms=5.5)
        axes.annotate(
            row.words,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            verticalalignment="center",
            color=colour,
        )
    axes.set_ylim(len(data) - 0.4, -0.6)
    axes.set_yticks(range(len(data)), list(data["benchmark"]))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("HEAD's time over BASE's; right of 1 is slower", loc="left")
    draw.seeds_note(figure, data["pairs"], "pair of processes", "pairs of processes")
    return figure


def _axis(axes: Axes, data: pd.DataFrame) -> tuple[float, float]:
    """Lay out the axis of ratios, logarithmic where they differ much; return its ends."""
    finite = data[(data["low"] > 0) & (data["high"] < math.inf)]
    margin = 1.0 + float(data["tolerance"].iloc[0])
    low, high = draw.finite_range(
        finite["low"], finite["high"], data["ratio"], 1.0 / margin, margin, pad=1.005
    )
    if high / low > WIDE_RANGE:
        draw.log_axis(axes, "x", low, high, draw.plain)
    else:
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(draw.few_ticks())
    return low, high


def save(comparison: Comparison, folder: Path) -> None:
    """Write ratios.png and ratios.svg; nothing where no benchmark was timed."""
    data = ratios_data(comparison)
    if data.empty:
        return
    with draw.style("ratios"):
        drawing = ratios_figure(data)
        draw.write_title(drawing, title(data))
        (folder / "ratios.svg").write_text(
            figures.as_svg(drawing, facecolor=draw.PAPER), encoding="utf-8"
        )
        drawing.savefig(folder / "ratios.png", dpi=150)
