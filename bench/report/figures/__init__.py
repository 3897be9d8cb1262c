"""Figures of a study: what each shows, and the ways to draw and to save them.

A figure is a `FigureSpec` in its family's `FIGURES`: data from the evidence, a drawing of these
data alone, and a sentence built from their numbers. To add one, add one entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bench import csv_files
from bench.analysis.evidence import Evidence
from bench.errors import InputError
from bench.report.figures import (
    draw,
    learning,
    noise,
    outcomes,
    rules,
    sharpness,
    stability,
    targets,
    thumb,
    tradeoff,
    xor,
)
from bench.report.figures.spec import FigureSpec

FIGURES: dict[str, FigureSpec] = {
    **xor.FIGURES,
    **targets.FIGURES,
    **tradeoff.FIGURES,
    **learning.FIGURES,
    **stability.FIGURES,
    **sharpness.FIGURES,
    **outcomes.FIGURES,
    **noise.FIGURES,
    **thumb.FIGURES,
    **rules.FIGURES,
}
"""Every figure by name, in the order of the page."""


@dataclass(frozen=True)
class DrawnFigure:
    """A figure of a study: its words, its data, and SVGs for the page, wide and narrow."""

    name: str
    title: str
    reading: str
    data: pd.DataFrame
    wide: str
    narrow: str


def available(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Data of each figure that this evidence has something to show in."""
    data = {name: spec.data(evidence) for name, spec in FIGURES.items()}
    return {name: frame for name, frame in data.items() if len(frame)}


def figure(evidence: Evidence, name: str) -> Figure:
    """Draw one figure of a study, with its title.

    Raises
    ------
    InputError
        For a name that is not in `FIGURES`, and for a figure that these results have no data for.
    """
    if name not in FIGURES:
        raise InputError(f"unknown figure {name!r}: there are {', '.join(FIGURES)}")
    data = FIGURES[name].data(evidence)
    if data.empty:
        raise InputError(
            f"figure {name!r} has no data in this study: try {', '.join(available(evidence))}"
        )
    with draw.style(name):
        drawing = FIGURES[name].figure(data)
        draw.write_title(drawing, FIGURES[name].title(data))
    return drawing


def save_all(evidence: Evidence, folder: Path) -> list[DrawnFigure]:
    """Draw every figure that has data; write NAME.png, NAME.svg and NAME.csv into the folder.

    Returns
    -------
    list of DrawnFigure
        In the order of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = available(evidence)
    return [save(name, FIGURES[name], frame, folder) for name, frame in data.items()]


def save(name: str, spec: FigureSpec, data: pd.DataFrame, folder: Path) -> DrawnFigure:
    """Draw one figure wide and narrow, and write its files into the folder."""
    title = spec.title(data)
    with draw.style(name):
        narrow = as_svg(draw.legible(spec.figure(data, narrow=True)))
        drawing = spec.figure(data)
        wide = as_svg(drawing)
        draw.write_title(drawing, title)
        (folder / f"{name}.svg").write_text(as_svg(drawing, facecolor=draw.PAPER), encoding="utf-8")
        drawing.savefig(folder / f"{name}.png", dpi=150)
    csv_files.write(data, folder / f"{name}.csv")
    return DrawnFigure(name, title, spec.reading, data, wide, narrow)


def as_svg(drawing: Figure, facecolor: str = "none") -> str:
    """The SVG of a figure, without date and program, so that the same data give the same file."""
    text = StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    drawing.savefig(text, format="svg", facecolor=facecolor, metadata=nothing)
    # matplotlib names one family only: readers without it should get a sans-serif as well
    return text.getvalue().replace("'DejaVu Sans'", "'DejaVu Sans', system-ui, sans-serif")
