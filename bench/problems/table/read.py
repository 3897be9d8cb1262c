"""Tables from files and data frames, chunk by chunk: names of columns, and their cells as they are.

A chunk is a list of pyarrow arrays, one a column. Cells of a text file are texts.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from bench.errors import InputError
from bench.problems.table.options import TableOptions
from bench.problems.table.schema import Reading

GAPS = (
    "", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "Null", "null", "None", "none",
    "?", "-", ".",
)  # fmt: skip
SEPARATORS = (",", ";", "\t", "|")
CHUNK_BYTES = 1 << 22  # of a text file; a row must fit
CHUNK_ROWS = 1 << 16
SAMPLE_BYTES = 1 << 18  # of which the separator is found out
GZIP, PARQUET, UTF8_BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"
WIDE_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)

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
    """

    reading: Reading
    label: str
    names: tuple[str, ...]
    chunks: Callable[[Sequence[int]], Iterator[Chunk]]

    def index(self, name: str, option: str) -> int:
        """Return the number of a column.

        Raises
        ------
        InputError
            Where there is none of that name; the message holds the nearest.
        """
        if name in self.names:
            return self.names.index(name)
        nearest = difflib.get_close_matches(name, self.names, n=1, cutoff=0)
        listed = ", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else "")
        raise InputError(
            one_line(
                f"{self.label}: there is no column {name!r} for {option}: did you mean "
                f"{nearest[0]!r}? The columns are {listed}"
            )
        )


def one_line(text: str) -> str:
    """Return a message in one line, whatever names of columns hold."""
    return " ".join(text.split())


def open_source(source: str | Path | pd.DataFrame, options: TableOptions) -> Source:
    """Open a table.

    Raises
    ------
    InputError
        For what cannot be read, and for names of columns that are empty or stand twice.
    """
    if isinstance(source, pd.DataFrame):
        return _frame_source(source, options)
    path = Path(source)
    start = _start(path)
    if path.suffix in (".parquet", ".pq") or start.startswith(PARQUET):
        return _parquet_source(path, str(source), options)
    return _csv_source(path, str(source), options, packed=start.startswith(GZIP))


def _start(path: Path) -> bytes:
    """Return the first bytes of a file that is there and holds something."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file in it")
    if not path.exists():
        folder = path.parent if path.parent.is_dir() else Path()
        nearest = difflib.get_close_matches(path.name, [p.name for p in folder.iterdir()], n=1)
        hint = f"did you mean {folder / nearest[0]}?" if nearest else "check the path"
        raise InputError(f"{path} does not exist: {hint}")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its rights") from None
    if not start:
        raise InputError(f"{path} is empty: a table has a line of column names, then rows")
    if path.suffix == ".gz" and not start.startswith(GZIP):
        raise InputError(f"{path} is named .gz and is not compressed by gzip: rename it")
    return start


def check_names(label: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns without blanks around them; none may be empty or stand twice."""
    stripped = tuple(name.strip() for name in names)
    for number, name in enumerate(stripped, start=1):
        if not name:
            raise InputError(f"{label}: column {number} has no name in row 1: give it one")
        if name in stripped[: number - 1]:
            first = stripped.index(name) + 1
            raise InputError(
                one_line(
                    f"{label}: column {name!r} stands twice in row 1 (columns {first} and "
                    f"{number}): rename one"
                )
            )
    return stripped


def _csv_source(path: Path, given: str, options: TableOptions, *, packed: bool) -> Source:
    """Open a text file."""
    text = _Text(path, options.encoding or "utf-8", packed)
    sep = options.sep or text.separator()
    header, n_lines = text.header(sep)
    names = check_names(str(path), header)
    if len(names) == 1:
        raise InputError(
            f"{path}: only one column was found with the separator {sep!r}: "
            "--sep gives another, and a table needs a target and a feature"
        )
    reading = Reading(
        source=given,
        format="csv",
        sep=sep,
        decimal=options.decimal or ".",
        encoding="utf-8-sig" if text.has_bom else text.encoding,
        na_values=_gaps(options),
    )
    return Source(
        reading, str(path), names, lambda columns: text.chunks(sep, len(names), n_lines, columns)
    )


def _gaps(options: TableOptions) -> tuple[str, ...]:
    """What marks a gap in a feature."""
    return GAPS if options.na_values is None else ("", *options.na_values)


class _Text:
    """A text file, plain or packed by gzip, as UTF-8."""

    def __init__(self, path: Path, encoding: str, packed: bool) -> None:
        self.path, self.encoding, self.packed = path, encoding, packed
        self.sample = self._sample()
        self.has_bom = encoding.lower() in ("utf-8", "utf8") and self.sample.startswith(UTF8_BOM)
        wide = next((name for bom, name in WIDE_BOMS.items() if self.sample.startswith(bom)), None)
        if wide and encoding == "utf-8":
            raise InputError(f"{path} is not UTF-8: try --encoding {wide}")

    def _sample(self) -> bytes:
        with self._bytes() as stream:
            sample: bytes = self.guarded(lambda: stream.read(SAMPLE_BYTES))
            return sample

    def _bytes(self) -> BinaryIO:
        """Open the file's bytes."""
        return gzip.open(self.path) if self.packed else self.path.open("rb")  # type: ignore[return-value]

    def guarded(self, read: Callable[[], Any]) -> Any:
        """Read, and say in one line what is wrong with a damaged file."""
        try:
            return read()
        except DAMAGED as error:
            raise InputError(
                f"{self.path} is damaged ({one_line(str(error))}): copy or pack it again"
            ) from None

    def open(self) -> io.TextIOWrapper:
        """Open the file as text; line ends stay what they are."""
        encoding = "utf-8-sig" if self.has_bom else self.encoding
        return io.TextIOWrapper(self._bytes(), encoding=encoding, newline="")

    def separator(self) -> str:
        """Find out the separator: the one that cuts header and rows alike, into most columns."""
        encoding = "utf-8-sig" if self.has_bom else self.encoding
        text = self.sample.decode(encoding, "replace").replace("\0", " ")
        lines = text.splitlines(keepends=True)
        lines = lines[:-1] if len(lines) > 1 and len(self.sample) == SAMPLE_BYTES else lines
        return max(SEPARATORS, key=lambda sep: _fitness(lines, sep))

    def header(self, sep: str) -> tuple[list[str], int]:
        """Return the first row, and the number of lines that it and blank ones before it take."""
        with self.open() as file:
            rows = csv.reader(file, delimiter=sep, strict=True)
            try:
                names = self.guarded(lambda: next((row for row in rows if row), None))
            except (UnicodeError, csv.Error) as error:
                raise self._explained(sep, 0, error) from None
        if not names:
            raise InputError(f"{self.path} holds blank lines only: the first row names the columns")
        if any("\0" in name for name in names):
            raise InputError(f"{self.path}, row 1: a NUL byte; is it a text file?")
        return names, rows.line_num

    def chunks(
        self, sep: str, n_columns: int, n_lines: int, columns: Sequence[int]
    ) -> Iterator[Chunk]:
        """Go through the rows below the header; all cells are texts."""
        ids = [str(number) for number in range(n_columns)]
        wanted = [ids[number] for number in columns]
        with io.BufferedReader(_Recoded(self.open(), n_lines), CHUNK_BYTES) as stream:
            try:
                reader = self.guarded(lambda: self._reader(stream, sep, ids, wanted))
                while reader is not None:
                    batch = self.guarded(lambda: next(reader, None))
                    if batch is None:
                        return
                    yield batch.columns
            except (UnicodeError, pa.ArrowException, csv.Error) as error:
                raise self._explained(sep, n_columns, error) from None

    def _reader(
        self, stream: BinaryIO, sep: str, ids: list[str], wanted: list[str]
    ) -> Iterator[pa.RecordBatch] | None:
        """Return pyarrow's reader; None where there are no rows."""
        if not stream.peek(1):  # type: ignore[attr-defined]
            return None
        return pa.csv.open_csv(  # type: ignore[no-any-return]
            stream,
            read_options=pa.csv.ReadOptions(column_names=ids, block_size=CHUNK_BYTES),
            parse_options=pa.csv.ParseOptions(delimiter=sep, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(ids, pa.string()),
                include_columns=wanted,
                null_values=[],
                strings_can_be_null=False,
            ),
        )

    def _explained(self, sep: str, n_columns: int, error: Exception) -> InputError:
        """Find the row that cannot be read, and say what is wrong with it."""
        row = 0
        try:
            with self.open() as file:
                for cells in csv.reader(file, delimiter=sep, strict=True):
                    row += bool(cells)
                    if cells and n_columns and len(cells) != n_columns:
                        return InputError(
                            f"{self.path}, row {row}: {len(cells)} cells where the header has "
                            f"{n_columns} columns: put cells that hold {sep!r} in quotes, or mend "
                            "the row"
                        )
        except UnicodeError:
            row = self._undecodable()
            return InputError(
                f"{self.path}, row {row}: not in the encoding {self.encoding}: "
                "try --encoding latin-1"
            )
        except csv.Error as bad:
            return InputError(
                f"{self.path}, row {row + 1}: {one_line(str(bad))}: a quote that is not closed, or "
                'not doubled inside quotes ("")?'
            )
        return InputError(f"{self.path} cannot be read: {one_line(str(error))}; mend the file")

    def _undecodable(self) -> int:
        """Return the number of the first line that is not in the encoding."""
        with self._bytes() as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    line.decode(self.encoding)
                except UnicodeError:
                    return number
        return 1


def _fitness(lines: Sequence[str], sep: str) -> tuple[float, int]:
    """How well a separator fits: the share of rows as long as the first, then the columns."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=sep) if row]
    except csv.Error:
        return 0.0, 0
    if not rows or len(rows[0]) < 2:
        return 0.0, 0
    alike = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
    return round(alike, 1), len(rows[0])


class _Recoded(io.RawIOBase):
    """The text below the first lines as bytes of UTF-8; refuses NUL bytes, which no table holds."""

    def __init__(self, text: io.TextIOWrapper, skipped: int) -> None:
        self.text, self.rest = text, b""
        for _ in range(skipped):
            text.readline()
        self.line = skipped

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.rest:
            self.rest = self.text.read(len(buffer)).encode()
            if b"\0" in self.rest:
                row = self.line + 1 + self.rest[: self.rest.index(b"\0")].count(b"\n")
                raise InputError(f"{self.text.name}, row {row}: a NUL byte; is it a text file?")
            self.line += self.rest.count(b"\n")
        part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self.text.close()
        super().close()


def _parquet_source(path: Path, given: str, options: TableOptions) -> Source:
    """Open a Parquet file."""
    try:
        names = pa.parquet.ParquetFile(path).schema_arrow.names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path} is no Parquet file ({one_line(str(error))}): write it again"
        ) from None
    reading = Reading(given, "parquet", na_values=_gaps(options))
    names = check_names(str(path), names)
    if len(names) == 1:
        raise InputError(f"{path}: only one column: a table needs a target and a feature")

    def chunks(columns: Sequence[int]) -> Iterator[Chunk]:
        try:
            file = pa.parquet.ParquetFile(path)
            every = file.schema_arrow.names
            wanted = [every[number] for number in columns]
            for batch in file.iter_batches(CHUNK_ROWS, columns=wanted):
                yield [batch.column(name) for name in wanted]
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{path} is damaged ({one_line(str(error))}): write it again"
            ) from None

    return Source(reading, str(path), names, chunks)


def _frame_source(frame: pd.DataFrame, options: TableOptions) -> Source:
    """Go through a data frame."""
    label = "the data frame"
    names = check_names(label, [str(name) for name in frame.columns])
    if len(names) == 1:
        raise InputError(f"{label}: only one column: a table needs a target and a feature")

    def chunks(columns: Sequence[int]) -> Iterator[Chunk]:
        for start in range(0, len(frame), CHUNK_ROWS):
            part = frame.iloc[start : start + CHUNK_ROWS]
            yield [_as_arrow(names[k], part.iloc[:, k]) for k in columns]

    return Source(Reading("", "frame", na_values=_gaps(options)), label, names, chunks)


def _as_arrow(name: str, values: Any) -> pa.Array:
    """A column of a data frame; texts and numbers side by side are texts."""
    try:
        if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) not in (
            "string", "boolean", "date", "datetime", "integer", "floating", "decimal", "empty",
        ):  # fmt: skip
            mixed = values.map(lambda cell: isinstance(cell, str | int | float) or pd.isna(cell))
            if not mixed.all():
                raise TypeError("it holds something other than texts and numbers")
            values = values.map(str, na_action="ignore")
        return pa.Array.from_pandas(values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            one_line(f"the data frame: column {name!r} cannot be read: {error}; convert or drop it")
        ) from None
