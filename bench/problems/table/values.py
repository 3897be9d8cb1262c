"""Columns of known kinds as arrays: numbers with NaN for gaps, categories as codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
    quick_numbers,
    typed_kind,
    typed_values,
)
from bench.problems.table.read import Source
from bench.problems.table.words import quoted

MOST_LEVELS = 50_000  # of a category; with more a column tells rows apart, not groups
GAP = -1  # code of a gap
UNSEEN = ""  # in place of all levels that are not known: no level is empty
LARGEST = 1e37  # a 32-bit number may have, so that differences are finite too
TYPED_DATE = "%Y-%m-%d"  # of texts, where the table had dates of their own type
# Kinds that the type of cells may mean where a column of a kind is read
FITTING = {"number": ("number", "boolean"), "boolean": ("boolean",), "date": ("date",)}
WORDS = {"number": "no number", "boolean": "neither true nor false"}

Array = NDArray[Any]


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
        keep their differences. None for the first of them.
    exact
        Whether they are neither rounded nor refused where they are too large.
    n_rows
        Expected.
    known
        Levels of a category; others then have one code together. None to take them all in.

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
    offset: float | None = None
    exact: bool = False
    n_rows: int = 0
    known: Sequence[str] | None = None
    levels: dict[str, int] = field(default_factory=dict)
    _read: int = 0

    def __post_init__(self) -> None:
        kind = np.int32 if self.kind == "category" else np.float64 if self.exact else np.float32
        self._values: Array = np.empty(self.n_rows, kind)
        if self.known is not None:
            self.levels = {level: code for code, level in enumerate((*self.known, UNSEEN))}

    def add(self, cells: pa.Array) -> None:
        """Take in a chunk; raise ValueError, with the reason, where a cell is not of the kind."""
        cells = decoded(cells)
        end = self._read + len(cells)
        if end > len(self._values):  # of a table whose length was not known
            self._values.resize(end + end // 4, refcheck=False)
        new = self._codes(cells) if self.kind == "category" else self._numbers(cells)
        self._values[self._read : end] = new
        self._read = end

    def _numbers(self, cells: pa.Array) -> Floats:
        """Return cells as numbers less the offset."""
        values = self._parsed(cells)
        if values is None:
            raise ValueError(WORDS.get(self.kind, f"no date like {self.date_format or TYPED_DATE}"))
        if self.exact:
            return values
        if (np.abs(values) > LARGEST).any():
            raise ValueError("infinite, or too large for a 32-bit number")
        if self.offset is None:
            known = values[~np.isnan(values)]
            self.offset = float(known[0]) if len(known) else None
        return values - (self.offset or 0.0)

    def _parsed(self, cells: pa.Array) -> Floats | None:
        """Return cells as numbers; None where one cannot be."""
        if not is_text(cells.type):
            fits = pa.types.is_null(cells.type) or typed_kind(cells.type) in FITTING[self.kind]
            return typed_values(cells, self.gaps) if fits else None
        if self.kind == "number" and self.style.decimal == "." and not self.style.thousands:
            numbers = quick_numbers(cells, self.gaps)
            if numbers is not None:
                return numbers
        cells = mark_gaps(cells, self.gaps)
        if self.kind == "number":
            return as_numbers(cells, self.style)
        if self.kind == "date":
            return as_days(cells, self.date_format or TYPED_DATE)
        words = pc.utf8_lower(cells)
        known = pc.is_in(words, value_set=pa.array([*BOOLEANS, None], pa.string()))
        if not pc.all(known, min_count=0).as_py():
            return None
        return plain(pc.if_else(pc.equal(words, "true"), BOOLEANS["true"], BOOLEANS["false"]))

    def _codes(self, cells: pa.Array) -> NDArray[np.int32]:
        """Return codes of a category's texts."""
        encoded = pc.dictionary_encode(mark_gaps(as_text(cells), self.gaps))
        texts = encoded.dictionary.to_pylist()
        for level in texts if self.known is None else ():
            if len(self.levels) <= MOST_LEVELS:
                self.levels.setdefault(level, len(self.levels))
        unseen = self.levels.get(UNSEEN, GAP)
        codes = np.array([*(self.levels.get(level, unseen) for level in texts), GAP], np.int32)
        places = pc.fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False)
        return np.asarray(codes[places])

    def values(self) -> Array:
        """Return all of the column: numbers less the offset, or codes."""
        return self._values[: self._read]

    def taken(self) -> Array:
        """Return the same, and forget it."""
        values, self._values = self.values(), self._values[:0]
        return values


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
    rows, numbers = 0, sorted({column.number for column in wanted})
    for chunk in source.chunks(numbers):
        cells_of = dict(zip(numbers, chunk, strict=True))
        for column in wanted:
            cells = cells_of[column.number]
            try:
                column.add(cells)
            except (ValueError, pa.ArrowException):
                raise _unreadable(source, column, cells, rows) from None
        rows += len(chunk[0])
    return rows


def _unreadable(source: Source, column: Wanted, cells: pa.Array, before: int) -> InputError:
    """Say which cell of a chunk is not of its column's kind."""
    for k in range(len(cells)):
        one = Wanted(
            column.number, column.name, column.kind, column.gaps, column.style, column.date_format
        )
        try:
            one.add(cells[k : k + 1])
        except (ValueError, pa.ArrowException) as error:
            cell = quoted(str(cells[k].as_py()))
            place = source.cell(column.name, before + k)
            return InputError(
                f"{place}: {cell} is {error}: mend it, leave the column out with --drop, or name "
                "it in --na-values if it marks a gap"
            )
    return InputError(f"{source.label}: column {quoted(column.name)} cannot be read: drop it")
