"""What columns hold: numbers, booleans, dates or categories, decided on whole columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems.table.read import Source
from bench.problems.table.schema import NUMBER_MARKS
from bench.problems.table.words import quoted, shown

Floats = NDArray[np.float64]

CODE = r"^0[0-9]+$"  # 01234 is a code, not a number
BOOLEANS = {"false": 0.0, "true": 1.0}
# As of `pandas.to_datetime`; where several fit, the first. Days come before months
_DAYS = (
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d-%b-%Y",
    "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y",
)  # fmt: skip
DATE_FORMATS = (
    "%Y-%m-%d", "ISO8601", *_DAYS, *(f"{day} %H:%M" for day in _DAYS),
    *(f"{day} %H:%M:%S" for day in _DAYS),
)  # fmt: skip
EPOCH, DAY = pd.Timestamp(0, tz="UTC"), pd.Timedelta(days=1)
MICROSECONDS = 86_400e6  # of a day


class Style(NamedTuple):
    """How numbers are written: decimal mark, mark between thousands, and what that looks like."""

    decimal: str
    thousands: str | None
    pattern: str  # of all numbers that are written so


_WORDS = r"(?i:inf|infinity|nan)"
_EXPONENT = r"([eE][+-]?[0-9]+)?"
_SHAPES = (
    r"([0-9]+\.?[0-9]*|\.[0-9]+)",
    r"([0-9]+,?[0-9]*|,[0-9]+)",
    r"([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]*)?",
    r"([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]*)?",
)
# The order decides where several read all that a file holds: see `choose_style`
STYLES = tuple(
    Style(*marks, rf"^[+-]?({shape}{_EXPONENT}|{_WORDS})$")
    for marks, shape in zip(NUMBER_MARKS, _SHAPES, strict=True)
)
ANY_NUMBER = "|".join(style.pattern for style in STYLES)
# What all of these match: pyarrow compiles a pattern at each call, and this one in a tenth of the
# time, which ten thousand columns of texts feel
LIKE_A_NUMBER = rf"^[+-]?([0-9.,]+{_EXPONENT}|{_WORDS})$"


def are_numbers(cells: pa.Array) -> pa.Array:
    """Say of each text whether it is a number in some style; null for gaps."""
    like = pc.match_substring_regex(cells, LIKE_A_NUMBER)
    some = pc.any(like, min_count=0).as_py()
    return pc.match_substring_regex(cells, ANY_NUMBER) if some else like


def as_numbers(cells: pa.Array, style: Style) -> Floats | None:
    """Return texts as numbers, gaps (nulls) as NaN; None where one is no number in this style."""
    if style.decimal != "." or style.thousands:
        fits = pc.match_substring_regex(cells, style.pattern)
        if not pc.all(fits, min_count=0).as_py():
            return None
        if style.thousands:
            cells = pc.replace_substring(cells, style.thousands, "")
        cells = pc.replace_substring(cells, style.decimal, ".")
    try:
        return plain(pc.cast(cells, pa.float64()))
    except pa.ArrowInvalid:
        return None


def quick_numbers(cells: pa.Array, gaps: Sequence[str]) -> Floats | None:
    """Return texts as numbers where all are plain ones, and none can mark a gap."""
    plain_style = STYLES[0]
    if any(re.search(plain_style.pattern, gap) and gap.lower() != "nan" for gap in gaps):
        return None
    return as_numbers(cells, plain_style)


def plain(values: pa.Array) -> Floats:
    """Return pyarrow's numbers as NumPy's, nulls as NaN."""
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def mark_gaps(cells: pa.Array, gaps: Sequence[str]) -> pa.Array:
    """Return texts without blanks around them, gaps as nulls."""
    trimmed = pc.utf8_trim_whitespace(cells)
    is_gap = pc.is_in(trimmed, value_set=pa.array(gaps, trimmed.type))
    return pc.if_else(is_gap, pa.scalar(None, trimmed.type), trimmed)


def is_text(kind: pa.DataType) -> bool:
    """Whether cells of a type are texts."""
    return bool(pa.types.is_string(kind))


def decoded(cells: pa.Array) -> pa.Array:
    """Return cells without what only saves memory: categories and long texts as plain ones."""
    cells = cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells
    long = pa.types.is_large_string(cells.type) or pa.types.is_string_view(cells.type)
    return pc.cast(cells, pa.string()) if long else cells


def typed_kind(kind: pa.DataType) -> str | None:
    """Kind of column that a type of cells means; None for texts, "" for what cannot be learned."""
    if is_text(kind):
        return None
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "date"
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "number" if numeric else ""


def typed_values(cells: pa.Array, gaps: Sequence[str] = ()) -> Floats:
    """Return cells that are numbers, booleans or dates (days since 1970), gaps as NaN."""
    if pa.types.is_date(cells.type) or pa.types.is_timestamp(cells.type):
        stamps = pc.cast(cells, pa.timestamp("us", getattr(cells.type, "tz", None)), safe=False)
        return plain(pc.cast(stamps, pa.int64())) / MICROSECONDS
    if pa.types.is_boolean(cells.type):
        return plain(pc.cast(cells, pa.int8()))
    values = plain(pc.cast(cells, pa.float64(), safe=False))
    marks = [float(gap) for gap in gaps if re.search(STYLES[0].pattern, gap)]
    return np.where(np.isin(values, marks), np.nan, values)


def as_days(cells: pa.Array, date_format: str) -> Floats | None:
    """Return texts as days since 1970, gaps as NaN; None where one is no such date."""
    return _days(cells.to_pandas(), date_format) if _may_be_dates(cells) else None


def fitting_formats(cells: pa.Array, formats: Sequence[str]) -> list[str]:
    """Return those of some formats in which all texts are dates."""
    if not formats or not _may_be_dates(cells):
        return []
    texts = cells.to_pandas()
    return [form for form in formats if _days(texts, form) is not None]


def _may_be_dates(cells: pa.Array) -> bool:
    """Whether all texts have digits and are no numbers: pandas takes "now" and 20200131."""
    digits = pc.match_substring_regex(cells, "[0-9]")
    if not pc.all(digits, min_count=0).as_py():
        return False
    return not pc.any(are_numbers(cells), min_count=0).as_py()


def _days(texts: pd.Series, date_format: str) -> Floats | None:
    """Return texts as days since 1970, None as NaN; None where one is no such date."""
    try:
        stamps = pd.to_datetime(texts, format=date_format, utc=True)
    except (ValueError, OverflowError):
        return None
    days = np.asarray((stamps - EPOCH) / DAY, np.float64)
    return days if np.isnan(days).sum() == texts.isna().sum() else None


@dataclass
class Profile:
    """What is known of a column after going through it once, whatever the chunks.

    Attributes
    ----------
    typed
        Kind that the type of its cells means; None for texts.
    rows, gaps
        Counted.
    styles, formats, boolean
        Ways in which all of its texts can be read as numbers, as dates; whether as true or false.
    codes, fractions
        Whether some numbers begin with a needless 0; whether some are not whole.
    n_numbers, odd
        Of a column of texts: how many are numbers in some style, and the first row (from 0) and
        cell that is none.
    """

    typed: str | None = None
    rows: int = 0
    gaps: int = 0
    styles: set[int] = field(default_factory=lambda: set(range(len(STYLES))))
    formats: list[str] = field(default_factory=lambda: list(DATE_FORMATS))
    boolean: bool = True
    codes: bool = False
    fractions: bool = False
    n_numbers: int = 0
    odd: tuple[int, str] | None = None

    def add(self, cells: pa.Array, gaps: Sequence[str]) -> None:
        """Take in a chunk of the column."""
        cells = decoded(cells)
        if pa.types.is_null(cells.type):  # a chunk of gaps alone has no other type
            self.gaps += len(cells)
        elif (kind := typed_kind(cells.type)) is not None:
            self.typed = kind
            self._take(typed_values(cells, gaps) if kind else np.zeros(len(cells)))
        else:
            self._read(cells, gaps)
        self.rows += len(cells)

    def _read(self, cells: pa.Array, gaps: Sequence[str]) -> None:
        """Strike out the ways in which texts cannot be read."""
        numbers = None
        if 0 in self.styles and not self._tells_styles_apart(cells):
            numbers = quick_numbers(cells, gaps)
        if numbers is None:
            cells = mark_gaps(cells, gaps)
            numbers = self._strike_out(cells)
        if numbers is None:
            self.gaps += cells.null_count
            self._count_numbers(cells)
            return
        self._take(numbers)
        n_numbers = int((~np.isnan(numbers)).sum())
        if n_numbers:
            self.boolean, self.formats = False, []
        self.n_numbers += n_numbers
        if not self.codes and not self.fractions:
            self.codes = bool(pc.any(pc.match_substring_regex(cells, CODE)).as_py())

    def _tells_styles_apart(self, cells: pa.Array) -> bool:
        """Whether a dot shows which of the ways with another decimal mark are out of question."""
        others = self.styles & {k for k, style in enumerate(STYLES) if style.decimal != "."}
        return bool(others) and bool(pc.any(pc.match_substring(cells, ".")).as_py())

    def _strike_out(self, cells: pa.Array) -> Floats | None:
        """Keep the ways in which these texts can be read; return them as numbers if they are."""
        if cells.null_count == len(cells):
            return np.full(len(cells), np.nan)
        known = self._as_numbers(cells)
        self.styles &= set(known)
        if known and not np.isnan(known[min(known)]).all():  # nor are they true or false
            return known[min(known)]
        words = pc.is_in(pc.utf8_lower(cells), value_set=pa.array([*BOOLEANS, None], pa.string()))
        self.boolean = self.boolean and bool(pc.all(words, min_count=0).as_py())
        if known:
            return known[min(known)]
        self.formats = fitting_formats(cells, self.formats)
        return None

    def _as_numbers(self, cells: pa.Array) -> dict[int, Floats]:
        """Return texts as numbers in each of the ways that are left, and in which all are some."""
        plain = as_numbers(cells, STYLES[0]) if 0 in self.styles else None
        others = self.styles - {0}
        if plain is None and others:  # quick where a cell is no number in any way
            numbers = pc.match_substring_regex(cells, LIKE_A_NUMBER)
            others = others if pc.all(numbers, min_count=0).as_py() else set()
        found = {0: plain} | {k: as_numbers(cells, STYLES[k]) for k in others}
        return {k: numbers for k, numbers in found.items() if numbers is not None}

    def _count_numbers(self, cells: pa.Array) -> None:
        """Count the numbers among texts, and note the first that is none."""
        fits = pc.fill_null(are_numbers(cells), True)
        self.n_numbers += int(pc.sum(fits).as_py() or 0) - cells.null_count
        if self.odd is None and not pc.all(fits, min_count=0).as_py():
            place = pc.index(fits, pa.scalar(False)).as_py()
            self.odd = self.rows + place, cells[place].as_py()

    def _take(self, numbers: Floats) -> None:
        """Take in numbers, NaN for gaps."""
        missing = np.isnan(numbers)
        self.gaps += int(missing.sum())
        known = numbers[np.isfinite(numbers)]
        self.fractions = self.fractions or bool((known != np.floor(known)).any())

    def kind(self, style: int) -> str:
        """Return what the column holds, where numbers are written in a style."""
        if self.typed is not None:
            return self.typed
        if style in self.styles:
            return "category" if self.codes and not self.fractions else "number"
        if self.boolean:
            return "boolean"
        return "date" if self.formats else "category"


def profiles(source: Source, numbers: Sequence[int]) -> list[Profile]:
    """Go through columns once."""
    found = [Profile() for _ in numbers]
    for chunk in source.chunks(numbers):
        for number, profile, cells in zip(numbers, found, chunk, strict=True):
            try:
                profile.add(cells, source.reading.na_values)
            except (pa.ArrowException, ValueError, OverflowError) as error:
                raise InputError(
                    f"{source.label}: column {quoted(source.names[number])} cannot be read "
                    f"({shown(str(error), 200)}): convert or drop it"
                ) from None
    return found


class Marks(NamedTuple):
    """How a file writes numbers.

    Parameters
    ----------
    style
        Number of the style in `STYLES`.
    rival
        Of another style in which as many columns are numbers; None where there is none.
    """

    style: int
    rival: int | None

    def told(self) -> str:
        """Return what to say of a column whose numbers are not plain."""
        decimal, thousands, _ = STYLES[self.style]
        mark = f"read with thousands marked by {thousands!r}" if thousands else ""
        comma = "read with a decimal comma" if decimal == "," else ""
        told = mark if thousands and decimal == "." else comma + " and thousands" * bool(mark)
        if self.rival is None:
            return told
        return f"{told} (if that is wrong: --decimal {STYLES[self.rival].decimal})"


def choose_style(found: Sequence[Profile], decimal: str | None, sep: str) -> Marks:
    """Return how the file writes numbers.

    The style in which most columns are numbers; of several, plain numbers before decimal commas
    before marked thousands, but thousands before decimal commas where commas separate columns.
    """
    order = [0, 2, 1, 3] if sep == "," else [0, 1, 2, 3]
    order = [k for k in order if decimal in (None, STYLES[k].decimal)]
    texts = [p for p in found if p.typed is None and p.gaps < p.rows]
    counts = {k: sum(k in p.styles for p in texts) for k in order}
    best = max(order, key=lambda k: (counts[k], -order.index(k)))
    rivals = [
        k for k in order
        if counts[k] == counts[best] > counts.get(0, 0)
        and STYLES[k].decimal != STYLES[best].decimal
    ]  # fmt: skip
    return Marks(best, rivals[0] if rivals else None)
