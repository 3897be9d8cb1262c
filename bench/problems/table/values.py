"""Columns of known kinds as arrays: numbers with NaN for gaps, categories as codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems.table.columns import (
    BOOLEANS,
    Floats,
    Style,
    as_days,
    as_numbers,
    decoded,
    is_text,
    mark_gaps,
    plain,
    typed_values,
)
from bench.problems.table.read import Source, one_line

MOST_LEVELS = 50_000  # of a category; with more a column tells rows apart, not groups
GAP = -1  # code of a gap
WORDS = {"number": "a number", "boolean": "true or false", "date": "a date of the form {}"}


@dataclass
class Wanted:
    """A column to read.

    Parameters
    ----------
    number, name
        Where it stands in the source, and what it is called.
    kind
        "number", "boolean", "date" or "category".
    gaps
        Texts that mark one.
    style, date_format
        How numbers and dates are written.
    offset
        What numbers lose before they are rounded to 32 bits: near their values, so that large ones
        keep their differences.
    exact
        Whether they are not rounded at all.

    Attributes
    ----------
    levels
        Texts of a category by their codes.
    """

    number: int
    name: str
    kind: str
    gaps: Sequence[str]
    style: Style
    date_format: str | None = None
    offset: float = 0.0
    exact: bool = False
    levels: dict[str, int] = field(default_factory=dict)
    _parts: list[NDArray[np.generic]] = field(default_factory=list)

    def add(self, cells: pa.Array) -> None:
        """Take in a chunk; raise ValueError where a cell is not of the kind."""
        cells = decoded(cells)
        if self.kind == "category":
            self._parts.append(self._codes(cells))
            return
        values = self._parsed(cells)
        if values is None:
            raise ValueError(self.name)
        self._parts.append(values if self.exact else (values - self.offset).astype(np.float32))

    def _parsed(self, cells: pa.Array) -> Floats | None:
        """Return cells as numbers; None where one cannot be."""
        if not is_text(cells.type):
            return typed_values(cells)
        if self.kind == "number" and not self.style.pattern:
            numbers = as_numbers(cells, self.style)
            if numbers is not None:
                return numbers
        cells = mark_gaps(cells, self.gaps)
        if self.kind == "number":
            return as_numbers(cells, self.style)
        if self.kind == "date":
            return as_days(cells, self.date_format or "%Y-%m-%d")
        words = pc.utf8_lower(cells)
        known = pc.is_in(words, value_set=pa.array([*BOOLEANS, None], pa.string()))
        if not pc.all(known, min_count=0).as_py():
            return None
        values = pc.if_else(pc.equal(words, "true"), BOOLEANS["true"], BOOLEANS["false"])
        return plain(values)

    def _codes(self, cells: pa.Array) -> NDArray[np.int32]:
        """Return codes of a category's texts."""
        cells = mark_gaps(as_text(cells), self.gaps)
        encoded = pc.dictionary_encode(cells)
        for level in encoded.dictionary.to_pylist():
            if len(self.levels) <= MOST_LEVELS:
                self.levels.setdefault(level, len(self.levels))
        codes = np.array(
            [self.levels.get(level, GAP) for level in encoded.dictionary.to_pylist()] + [GAP],
            np.int32,
        )
        places = pc.fill_null(encoded.indices, len(codes) - 1).to_numpy(zero_copy_only=False)
        return np.asarray(codes[places])

    def values(self) -> NDArray[np.generic]:
        """Return all of the column, and forget it: numbers less the offset, or int32 codes."""
        kind = np.int32 if self.kind == "category" else np.float32
        parts, self._parts = self._parts, []
        return np.concatenate(parts) if parts else np.empty(0, kind)


def as_text(cells: pa.Array) -> pa.Array:
    """Return cells as texts: whole numbers without a point, booleans as True and False."""
    if is_text(cells.type):
        return cells
    if pa.types.is_boolean(cells.type):
        return pc.if_else(cells, "True", "False")
    if pa.types.is_floating(cells.type):
        return pa.array([_number_text(x) for x in plain(cells).tolist()], pa.string())
    return pc.cast(cells, pa.string())


def _number_text(number: float) -> str | None:
    """Return a number as text: 1.0 is "1"; NaN is a gap."""
    if np.isnan(number):
        return None
    return f"{number:.0f}" if np.isfinite(number) and number == int(number) else repr(number)


def read_columns(source: Source, wanted: Sequence[Wanted]) -> int:
    """Go through a table and fill the columns; return the number of rows.

    Raises
    ------
    InputError
        Where a cell is not of its column's kind; names file, column and row.
    """
    rows = 0
    for chunk in source.chunks([column.number for column in wanted]):
        for column, cells in zip(wanted, chunk, strict=True):
            try:
                column.add(cells)
            except (ValueError, pa.ArrowException):
                raise _unreadable(source, column, cells, rows) from None
        rows += len(chunk[0]) if chunk else 0
    return rows


def _unreadable(source: Source, column: Wanted, cells: pa.Array, before: int) -> InputError:
    """Say which cell of a chunk is not of its column's kind."""
    row, cell = before, ""
    for k in range(len(cells)):
        try:
            one = Wanted(column.number, column.name, column.kind, column.gaps, column.style)
            one.date_format = column.date_format
            one.add(cells[k : k + 1])
        except (ValueError, pa.ArrowException):
            row, cell = before + k, str(cells[k].as_py())
            break
    what = WORDS[column.kind].format(column.date_format)
    return InputError(
        one_line(
            f"{source.label}: column {column.name!r}, row {row + 2}: {cell[:40]!r} is not {what}: "
            "mend it, or name it in --na-values if it marks a gap"
        )
    )
