"""What a figure is: its data, how they are drawn, and its sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure


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
        From the evidence (of several problems: from their results) to everything drawn, as a
        frame; empty where there is nothing to show.
    figure
        Draws the data.
    title
        A sentence built from the data's numbers: what is seen.
    reading
        What is drawn and how to read it, in a sentence or two: caption and alternative text.
    """

    data: Callable[[Any], pd.DataFrame]
    figure: Draw
    title: Callable[[pd.DataFrame], str]
    reading: str
