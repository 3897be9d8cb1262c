"""What columns hold: numbers, booleans, dates or categories, decided on whole columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems.table.read import Source, one_line

Floats = NDArray[np.float64]

LEADING_ZERO = r"^[+-]?0[0-9]"  # 01234 is a code, not a number
BOOLEANS = {"false": 0.0, "true": 1.0}
DATE_FORMATS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d",
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y",
)  # fmt: skip
DAY = 86_400.0


class Style(NamedTuple):
    """How numbers are written: decimal mark, mark between thousands, and what that looks like."""

    decimal: str
    thousands: str | None
    pattern: str  # of all numbers that are written so


_EXPONENT = r"([eE][+-]?[0-9]+)?$"
# The order decides where several read all that a file holds: see `choose_style`
STYLES = (
    Style(".", None, ""),
    Style(",", None, r"^[+-]?([0-9]+(,[0-9]*)?|,[0-9]+)" + _EXPONENT),
    Style(".", ",", r"^[+-]?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]*)?" + _EXPONENT),
    Style(",", ".", r"^[+-]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]*)?" + _EXPONENT),
)


def as_numbers(cells: pa.Array, style: Style) -> Floats | None:
    """Return texts as numbers, gaps (nulls) as NaN; None where one is no number in this style."""
    if style.pattern:
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
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def decoded(cells: pa.Array) -> pa.Array:
    """Return categories of a data frame or of Parquet as their texts."""
    cells = cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells
    return pc.cast(cells, pa.string()) if pa.types.is_large_string(cells.type) else cells


def typed_kind(kind: pa.DataType) -> str | None:
    """Kind of column that a type of cells means; None for texts, "" for what cannot be learned."""
    if is_text(kind):
        return None
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_temporal(kind) and not pa.types.is_time(kind) and not pa.types.is_duration(kind):
        return "date"
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "number" if numeric or pa.types.is_null(kind) else ""


def typed_values(cells: pa.Array) -> Floats:
    """Return cells that are numbers, booleans or dates (days since 1970), gaps as NaN."""
    if pa.types.is_temporal(cells.type):
        seconds = pc.cast(pc.cast(cells, pa.timestamp("s"), safe=False), pa.int64())
        return plain(seconds) / DAY
    if pa.types.is_boolean(cells.type):
        return plain(pc.cast(cells, pa.int8()))
    return plain(pc.cast(cells, pa.float64(), safe=False))


def as_days(cells: pa.Array, date_format: str) -> Floats | None:
    """Return texts as days since 1970, gaps as NaN; None where one is no such date."""
    stamps = pc.strptime(cells, format=date_format, unit="s", error_is_null=True)
    if stamps.null_count > cells.null_count:
        return None
    return plain(pc.cast(stamps, pa.int64())) / DAY


@dataclass
class Profile:
    """What is known of a column after going through it once.

    Attributes
    ----------
    typed
        Kind that the type of its cells means; None for texts.
    rows, gaps
        Counted.
    styles, formats
        Ways in which all of its texts can be read as numbers, as dates.
    boolean, codes
        Whether all texts are true or false; whether some numbers begin with a needless 0.
    least, greatest, counting
        Of numbers: their range, and whether each is the one before it plus 1.
    infinite
        Row (0-based) of the first infinity, None where there is none.
    """

    typed: str | None = None
    rows: int = 0
    gaps: int = 0
    styles: set[int] = field(default_factory=lambda: set(range(len(STYLES))))
    formats: list[str] = field(default_factory=lambda: list(DATE_FORMATS))
    boolean: bool = True
    codes: bool = False
    least: float = np.inf
    greatest: float = -np.inf
    counting: bool = True
    infinite: int | None = None
    _last: float = np.nan
    _known: bool = False

    def add(self, cells: pa.Array, gaps: Sequence[str]) -> None:
        """Take in a chunk of the column."""
        cells = decoded(cells)
        kind = typed_kind(cells.type)
        if not self._known:
            self.typed, self._known = kind, True
        elif kind == "number" and self.typed != "number":  # a chunk of gaps alone
            cells = pc.cast(cells, pa.string())
        if self.typed is not None:
            self._take(typed_values(cells) if self.typed else np.full(len(cells), np.nan))
            return
        numbers = None
        if 0 in self.styles and not self._tells_styles_apart(cells):
            numbers = as_numbers(cells, STYLES[0])
        if numbers is None:
            cells = mark_gaps(cells, gaps)
            numbers = self._read(cells)
        if numbers is None:
            self.gaps, self.rows = self.gaps + cells.null_count, self.rows + len(cells)
            return
        whole = numbers[np.isfinite(numbers)]
        if not self.codes and (whole == np.floor(whole)).all():
            self.codes = bool(pc.any(pc.match_substring_regex(cells, LEADING_ZERO)).as_py())
        self._take(numbers)

    def _tells_styles_apart(self, cells: pa.Array) -> bool:
        """Whether a dot shows which of the ways with another decimal mark are out of question."""
        others = self.styles & {k for k, style in enumerate(STYLES) if style.decimal != "."}
        return bool(others) and bool(pc.any(pc.match_substring(cells, ".")).as_py())

    def _read(self, cells: pa.Array) -> Floats | None:
        """Strike out the ways in which these texts cannot be read; return them as numbers."""
        found = {k: as_numbers(cells, STYLES[k]) for k in sorted(self.styles)}
        known = {k: numbers for k, numbers in found.items() if numbers is not None}
        self.styles &= set(known)
        if known:
            return known[min(known)]
        self.formats = [f for f in self.formats if as_days(cells, f) is not None]
        if self.boolean:
            words = pc.is_in(pc.utf8_lower(cells), value_set=pa.array([*BOOLEANS, None]))
            self.boolean = bool(pc.all(words, min_count=0).as_py())
        return None

    def _take(self, numbers: Floats) -> None:
        """Take in numbers, NaN for gaps."""
        missing = np.isnan(numbers)
        infinite = np.isinf(numbers)
        if self.infinite is None and infinite.any():
            self.infinite = self.rows + int(infinite.argmax())
        if not missing.all():
            self.least = min(self.least, float(np.nanmin(numbers)))
            self.greatest = max(self.greatest, float(np.nanmax(numbers)))
        if self.counting:
            steps = np.diff(np.concatenate([[self._last], numbers]) if self.rows else numbers)
            self.counting = bool((steps == 1.0).all())
            self._last = float(numbers[-1]) if len(numbers) else self._last
        self.gaps += int(missing.sum())
        self.rows += len(numbers)

    def kind(self, style: int) -> str:
        """Return what the column holds, where numbers are written in a style."""
        if self.typed is not None:
            return self.typed
        if self.gaps == self.rows:
            return "number"
        if style in self.styles:
            return "category" if self.codes else "number"
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
            except pa.ArrowException as error:
                raise InputError(
                    one_line(f"{source.label}: column {source.names[number]!r}: {error}; drop it")
                ) from None
    return found


def choose_style(
    found: Sequence[Profile], decimal: str | None, sep: str
) -> tuple[int, Callable[[str], str]]:
    """Return how the file writes numbers, and what to say of a name that was read so.

    The style in which most columns are numbers; of several, plain numbers before decimal commas
    before marked thousands, but thousands before decimal commas where commas separate columns.
    """
    order = [0, 2, 1, 3] if sep == "," else [0, 1, 2, 3]
    order = [k for k in order if decimal in (None, STYLES[k].decimal)]
    texts = [p for p in found if p.typed is None and p.gaps < p.rows]
    counts = {k: sum(k in p.styles for p in texts) for k in order}
    best = max(order, key=lambda k: (counts[k], -order.index(k)))
    rivals = [k for k in order if counts[k] == counts[best] > counts[0] and k != best]

    def told(name: str) -> str:
        style = STYLES[best]
        if not style.pattern:
            return ""
        mark = f"thousands marked by {style.thousands!r}" if style.thousands else "decimal comma"
        other = f"; if that is wrong: --decimal {STYLES[rivals[0]].decimal}" if rivals else ""
        return f"{name} read with {mark}{other}"

    return best, told
