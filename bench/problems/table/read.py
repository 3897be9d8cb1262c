"""Tables from files and data frames, chunk by chunk: names of columns, and their cells as they are.

A chunk is a list of pyarrow arrays, one a column. Cells of a text file are texts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from bench.errors import InputError
from bench.problems.table.options import TableOptions
from bench.problems.table.schema import Reading
from bench.problems.table.text_file import GZIP, MOST_COLUMNS, TextFile
from bench.problems.table.words import listed, one_line, quoted, shown

GAPS = (
    "", "NA", "N/A", "n/a", "n.a.", "#N/A", "<NA>", "NaN", "nan", "NULL", "Null", "null", "None",
    "none", "NONE", "?", "-", "--", ".", "#DIV/0!", "#VALUE!", "#REF!",
)  # fmt: skip
CHUNK_ROWS = 1 << 16  # of a Parquet file or a data frame
PARQUET = b"PAR1"
# A Parquet file's columns may come to so many times its size, or to so many bytes
MOST_TIMES, FEW_BYTES, NUMBER_BYTES = 100, 1 << 28, 4
FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet: save the table as CSV",
    b"BZh91AY": "packed by bzip2: unpack it, or use gzip",
    b"\xfd7zXZ": "packed by xz: unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it, or use gzip",
    b"%PDF-": "a PDF file: save the table as CSV",
}
PANDAS_INDEX = re.compile(r"__index_level_\d+__")  # row names that pandas adds to a Parquet file
# What pandas says of columns of objects that pyarrow turns into arrays of one type
OF_ONE_TYPE = ("string", "boolean", "date", "datetime", "integer", "floating", "decimal", "empty")

Chunk = list[pa.Array]


@dataclass(frozen=True)
class Source:
    """A table that can be gone through as often as needed.

    Parameters
    ----------
    reading
        How it is read.
    label
        What errors call it.
    names
        Of its columns.
    chunks
        Goes through the columns of these numbers.
    row
        What a user calls a row that is numbered from 0: in a text file the header is row 1, and
        blank lines count; elsewhere rows are counted from 1.
    """

    reading: Reading
    label: str
    names: tuple[str, ...]
    chunks: Callable[[Sequence[int]], Iterator[Chunk]]
    row: Callable[[int], int]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Numbers of the columns by their names."""
        return {name: number for number, name in enumerate(self.names)}

    def index(self, name: str, option: str) -> int:
        """Return the number of a column.

        Raises
        ------
        InputError
            Where there is none of that name; the message holds the nearest.
        """
        if name in self._numbers:
            return self._numbers[name]
        small = {own.lower(): own for own in self.names}
        nearest = [small[k] for k in difflib.get_close_matches(name.lower(), small, n=1, cutoff=0)]
        raise InputError(
            f"{self.label}: there is no column {quoted(name)} for {option}: did you mean "
            f"{quoted(nearest[0])}? The columns are {listed(self.names)}"
        )

    def cell(self, name: str, row: int) -> str:
        """Return the start of a message about the cell of a column in a row, from 0."""
        return f"{self.label}: column {quoted(name)}, row {self.row(row)}"


def open_source(source: str | Path | pd.DataFrame, options: TableOptions) -> Source:
    """Open a table.

    Parameters
    ----------
    source
        A text file (perhaps packed by gzip), a Parquet file or a data frame.
    options
        Encoding, separator, decimal mark and marks of gaps, as far as they are told.

    Raises
    ------
    InputError
        For what cannot be read, and for names of columns that are empty or stand twice.
    """
    if isinstance(source, pd.DataFrame):
        return _frame_source(source, options)
    path = Path(source)
    try:
        start = _start(path)
    except InputError:
        raise
    except (OSError, ValueError) as error:  # rights, impossible names, disks
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path_label(path)} cannot be read ({one_line(why)}): check path and rights"
        ) from None
    if path.suffix in (".parquet", ".pq") or start.startswith(PARQUET):
        return _parquet_source(path, str(source), options)
    return _text_source(path, str(source), options, packed=start.startswith(GZIP))


def path_label(path: Path) -> str:
    """Return what errors call a file."""
    text = one_line(str(path))
    return text if len(text) <= 250 else f"...{text[-240:]}"


def _start(path: Path) -> bytes:
    """Return the first bytes of a file that is there and holds something of a table."""
    label = path_label(path)
    if path.is_dir():
        raise InputError(f"{label} is a folder: give a file in it")
    if not path.exists():
        folder = path.parent if path.parent.is_dir() else Path()
        if path.is_symlink():
            raise InputError(f"{label} is a link to what does not exist: mend it")
        nearest = difflib.get_close_matches(path.name, [p.name for p in folder.iterdir()], n=1)
        hint = f"did you mean {shown(str(folder / nearest[0]), 200)}?" if nearest else "check it"
        raise InputError(f"{label} does not exist: {hint}")
    if not path.is_file():
        raise InputError(f"{label} is a device or a pipe, which cannot be read twice: save a file")
    with path.open("rb") as file:
        start = file.read(10)
    if not start:
        raise InputError(f"{label} is empty: a table needs a line of column names, then rows")
    if path.suffix == ".gz" and not start.startswith(GZIP):
        raise InputError(f"{label} is named .gz and is not packed by gzip: rename it")
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise InputError(f"{label} is {what}")
    return start


def check_names(label: str, names: Sequence[str], where: str = "") -> tuple[str, ...]:
    """Return names of columns without blanks around them; none may be empty or stand twice.

    Parameters
    ----------
    label, where
        What errors call the table, and where its names stand.
    names
        As they stand there.
    """
    if not names:
        raise InputError(f"{label} has no column: a table needs a target and a feature")
    stripped = tuple(name.strip() for name in names)
    first: dict[str, int] = {}
    for number, name in enumerate(stripped, start=1):
        if not name:
            raise InputError(f"{label}: column {number} has no name{where}: give it one")
        if name in first:
            raise InputError(
                f"{label}: column {quoted(name)} stands twice{where} (columns {first[name]} and "
                f"{number}): rename one"
            )
        first[name] = number
    return stripped


def gap_marks(options: TableOptions) -> tuple[str, ...]:
    """Return what marks a gap in a feature: an empty cell always does."""
    return GAPS if options.na_values is None else ("", *options.na_values)


def _text_source(path: Path, given: str, options: TableOptions, *, packed: bool) -> Source:
    """Open a text file."""
    label = path_label(path)
    text = TextFile(path, label, options.encoding or "utf-8", packed)
    sep = options.sep or text.separator()
    if sep == options.decimal:
        raise InputError(
            f"{label}: the separator found is {sep!r}, and so is decimal: give another --sep"
        )
    names = check_names(label, text.header(sep), " in row 1")
    reading = Reading(
        source=given,
        format="csv",
        sep=sep,
        decimal=options.decimal or ".",
        encoding="utf-8-sig" if text.has_bom else text.encoding,
        na_values=gap_marks(options),
    )
    return Source(reading, label, names, text.chunks, text.row)


def _parquet_source(path: Path, given: str, options: TableOptions) -> Source:
    """Open a Parquet file."""
    label = path_label(path)
    try:
        str(path).encode()
    except UnicodeEncodeError:  # pyarrow passes names on as UTF-8
        raise InputError(f"{label} has a name that is not UTF-8: rename it") from None
    try:
        file = pa.parquet.ParquetFile(path)
        schema, n_rows, size = file.schema_arrow, file.metadata.num_rows, path.stat().st_size
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{label} is no Parquet file ({_reason(error)}): write it again") from None
    every = [name for name in schema.names if not PANDAS_INDEX.fullmatch(name)]
    if len(every) > MOST_COLUMNS:
        raise InputError(
            f"{label} has {len(every):,} columns, more than {MOST_COLUMNS:,}: leave some out"
        )
    _check_unpacked(label, NUMBER_BYTES * n_rows * len(every), size)
    texts = [field.name for field in schema if _is_text(field.type)]

    def chunks(columns: Sequence[int]) -> Iterator[Chunk]:
        wanted = [every[number] for number in columns]
        unpacked = 0
        try:
            # Texts are read as each of them once: what they come to is known before they are made
            reader = pa.parquet.ParquetFile(path, read_dictionary=texts)
            for batch in reader.iter_batches(CHUNK_ROWS, columns=wanted):
                cells = [batch.column(name) for name in wanted]
                unpacked += sum(map(_text_bytes, cells))
                _check_unpacked(label, unpacked, size)
                yield cells
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{label} is damaged ({_reason(error)}): write it again") from None
        pa.default_memory_pool().release_unused()

    reading = Reading(given, "parquet", na_values=gap_marks(options))
    return Source(reading, label, check_names(label, every), chunks, lambda k: k + 1)


def _text_bytes(cells: pa.Array) -> int:
    """Return the bytes of texts that are read as each of them once; 0 for other cells."""
    if not pa.types.is_dictionary(cells.type) or not _is_text(cells.type.value_type):
        return 0
    lengths = pc.cast(pc.binary_length(cells.dictionary), pa.int64())
    return int(pc.sum(pc.take(lengths, cells.indices)).as_py() or 0)


def _check_unpacked(label: str, unpacked: int, size: int) -> None:
    """Refuse a file that is small and unpacks to what no memory holds."""
    if unpacked > max(FEW_BYTES, MOST_TIMES * size):
        raise InputError(
            f"{label} unpacks to more than {MOST_TIMES} times its size, as no table does: write "
            "it again with fewer rows, or as CSV"
        )


def _is_text(kind: pa.DataType) -> bool:
    """Whether cells of a type are texts, of any length."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _reason(error: BaseException) -> str:
    """Return what a library says of a file, in one line."""
    return shown(str(error), 200)


def _frame_source(frame: pd.DataFrame, options: TableOptions) -> Source:
    """Go through a data frame."""
    label = "the data frame"
    names = check_names(label, [str(name) for name in frame.columns])
    texts = [_needs_text(frame.iloc[:, k]) for k in range(len(names))]

    def chunks(columns: Sequence[int]) -> Iterator[Chunk]:
        for start in range(0, len(frame), CHUNK_ROWS):
            part = frame.iloc[start : start + CHUNK_ROWS]
            yield [_as_arrow(names[k], part.iloc[:, k], texts[k]) for k in columns]

    reading = Reading("", "frame", na_values=gap_marks(options))
    return Source(reading, label, names, chunks, lambda k: k + 1)


def _needs_text(values: Any) -> bool:
    """Whether a column of a data frame holds texts and numbers side by side."""
    mixed = values.dtype == object
    return mixed and pd.api.types.infer_dtype(values, skipna=True) not in OF_ONE_TYPE


def _as_arrow(name: str, values: Any, needs_text: bool) -> pa.Array:
    """Return a column of a data frame; texts and numbers side by side become texts."""
    try:
        if needs_text:
            plain = values.map(lambda cell: isinstance(cell, str | int | float))
            if not (plain | values.isna()).all():
                raise TypeError("it holds something other than texts and numbers")
            values = values.map(str, na_action="ignore")
        return pa.Array.from_pandas(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"the data frame: column {quoted(name)} cannot be read ({_reason(error)}): convert or "
            "drop it"
        ) from None
