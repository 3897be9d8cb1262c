"""Rows and groups of data frames whose cells are described in words, not typed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """Rows as named tuples: `row.batch_size`."""
    yield from frame.itertuples()


def groups(frame: pd.DataFrame, column: str) -> list[tuple[Any, pd.DataFrame]]:
    """(value, its rows) for each value of a column, in the order of first appearance."""
    return list(frame.groupby(column, sort=False))
