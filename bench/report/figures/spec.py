"""What a figure is: its data, how they are drawn, and its sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence


class Draw(Protocol):
    """Draws a figure from its data alone."""

    def __call__(self, data: pd.DataFrame, narrow: bool = False) -> Figure:
        """Draw for a page's column, or for a telephone (`narrow`)."""


@dataclass(frozen=True)
class FigureSpec:
    """One figure.

    Parameters
    ----------
    data
        Everything drawn, as a frame; empty where the evidence has nothing to show.
    figure
        Draws the data.
    title
        A sentence built from the data's numbers: what is seen.
    reading
        What is drawn and how to read it, in a sentence or two: caption and alternative text.
    """

    data: Callable[[Evidence], pd.DataFrame]
    figure: Draw
    title: Callable[[pd.DataFrame], str]
    reading: str
