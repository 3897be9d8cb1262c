"""Text files, plain or packed by gzip: rows of separated cells, read strictly."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.csv

from bench.errors import InputError
from bench.problems.table.words import plural, shown

SEPARATORS = (",", ";", "\t", "|")
CHUNK_BYTES = 1 << 20  # read at once, of a thousand columns; a row must fit
LONGEST_ROW = 1 << 22  # characters of the header, or of a row that is looked at for its fault
MOST_COLUMNS, MOST_BLANK = 20_000, 100_000  # lines that are blank before the header
SAMPLE_BYTES = 1 << 18  # of which the separator is found out
# Packed bytes may unpack to so many times as many, or to so many: numbers and texts are packed to a
# tenth, and what is packed to a thousandth is made to do harm
MOST_UNPACKED, FEW_UNPACKED = 100, 1 << 26
GZIP, UTF8_BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
# Those of UTF-32 come first: they begin as that of UTF-16
WIDE_BOMS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)
NUL = "a NUL byte, which no text holds: save it as plain text, or try --encoding utf-16"


class TextFile:
    """A text file of separated cells.

    Parameters
    ----------
    path, label
        The file, and what errors call it.
    encoding
        Of its text.
    packed
        Whether it is packed by gzip.

    Raises
    ------
    InputError
        Where it is damaged, or begins as another encoding does.
    """

    def __init__(self, path: Path, label: str, encoding: str, packed: bool) -> None:
        self.path, self.label, self.encoding, self.packed = path, label, encoding, packed
        self.sep, self.n_columns, self.n_lines = ",", 0, 0  # until the header is read
        self.checked = False  # whether its quotes are known to be sound
        with self._bytes() as stream:
            self.sample = self._guarded(lambda: stream.read(SAMPLE_BYTES))
        utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
        self.has_bom = utf8 and self.sample.startswith(UTF8_BOM)
        if not self.sample[3 * self.has_bom :]:
            raise InputError(f"{label} is empty: a table needs a line of column names, then rows")
        wide = [name for bom, name in WIDE_BOMS.items() if self.sample.startswith(bom)]
        if wide and utf8:
            raise InputError(f"{label} is not UTF-8: try --encoding {wide[0]}")

    def _bytes(self) -> gzip.GzipFile | io.BufferedReader:
        """Open the file's bytes."""
        return _Unpacked(self.path, self.label) if self.packed else self.path.open("rb")

    def _guarded(self, read: Callable[[], Any]) -> Any:
        """Read, and say in one line what is wrong with a damaged file."""
        try:
            return read()
        except DAMAGED as error:
            raise self._damaged(error) from None
        except OSError as error:
            raise InputError(
                f"{self.label} cannot be read ({error.strerror}): check its disk and rights"
            ) from None

    def _damaged(self, error: Exception) -> InputError:
        """Return the error for packed bytes that are not what they were."""
        why = shown(str(error), 200)
        return InputError(f"{self.label} is damaged ({why}): copy or pack it again")

    def _text(self) -> io.TextIOWrapper:
        """Open the file as text; line ends stay what they are."""
        encoding = "utf-8-sig" if self.has_bom else self.encoding
        return io.TextIOWrapper(self._bytes(), encoding=encoding, newline="")

    def separator(self) -> str:
        """Find out the separator: the one that cuts header and rows alike, into most columns."""
        encoding = "utf-8-sig" if self.has_bom else self.encoding
        text = self.sample.decode(encoding, "replace").replace("\0", " ")
        lines = io.StringIO(text, newline="").readlines()
        lines = lines[:-1] if len(lines) > 1 and len(self.sample) == SAMPLE_BYTES else lines
        # Commas may be those of numbers or texts: at a tie another separator is meant
        return max(SEPARATORS, key=lambda sep: (*_fitness(lines, sep), sep != ","))

    def header(self, sep: str) -> list[str]:
        """Return the names in the first row that is not blank.

        Raises
        ------
        InputError
            Where there is none, or it cannot be read.
        """
        self.sep = sep
        with self._text() as file:
            reader = _reader(file, sep)
            try:
                first = filter(None, islice(reader, MOST_BLANK))
                names: list[str] = self._guarded(lambda: next(first, []))
            except (UnicodeError, csv.Error) as error:
                raise self._explained(error) from None
        if not names:
            raise InputError(
                f"{self.label} holds blank lines only: a table needs a line of column names"
            )
        if any("\0" in name for name in names):
            raise InputError(f"{self.label}, row 1: {NUL}")
        if len(names) > MOST_COLUMNS:
            raise InputError(
                f"{self.label} has {len(names):,} columns, more than {MOST_COLUMNS:,}: leave some "
                "out, or give another --sep"
            )
        self.n_columns, self.n_lines = len(names), reader.line_num
        return names

    def chunks(self, columns: Sequence[int]) -> Iterator[list[pa.Array]]:
        """Go through the rows below the header; all cells are texts.

        Raises
        ------
        InputError
            For the first row that cannot be read.
        """
        text = _Recoded(self._text(), self.n_lines, self.label)
        with io.BufferedReader(text, self._chunk_bytes) as stream:
            try:
                batches = self._guarded(lambda: self._batches(stream, columns))
                while (batch := self._guarded(lambda: next(batches, None))) is not None:
                    yield batch.columns  # of no rows where a chunk holds blank lines alone
            except (UnicodeError, pa.ArrowException) as error:
                raise self._explained(error) from None
        # pyarrow takes an open quote for closed at the end of the file, and text behind a quote
        # for a part of the cell
        if text.has_quotes and not self.checked and (fault := self._fault()):
            raise fault
        self.checked = True
        pa.default_memory_pool().release_unused()

    @property
    def _chunk_bytes(self) -> int:
        """Bytes that are read at once: more for many columns, each of which costs its time."""
        return CHUNK_BYTES * max(1, self.n_columns // 1000)

    def _batches(self, stream: io.BufferedReader[Any], columns: Sequence[int]) -> Iterator[Any]:
        """Return pyarrow's record batches, of which there are none where there are no rows."""
        if not stream.peek(1):
            return iter(())
        names = [str(number) for number in range(self.n_columns)]
        batches: Iterator[Any] = pa.csv.open_csv(
            stream,
            read_options=pa.csv.ReadOptions(column_names=names, block_size=self._chunk_bytes),
            parse_options=pa.csv.ParseOptions(delimiter=self.sep, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[names[number] for number in columns],
                null_values=[],
                strings_can_be_null=False,
            ),
        )
        return batches

    def row(self, number: int) -> int:
        """Return which row of the file, from 1 and with blank lines, a row of cells is, from 0."""
        with self._text() as file:
            rows = (k for k, cells in enumerate(_reader(file, self.sep), start=1) if cells)
            return next(k for place, k in enumerate(rows) if place == number + 1)

    def _explained(self, error: Exception) -> InputError:
        """Find the row that cannot be read, and say what is wrong with it."""
        return self._fault() or InputError(
            f"{self.label} cannot be read ({shown(str(error), 200)}): mend the file, of which no "
            f"row may be longer than {self._chunk_bytes:,} bytes"
        )

    def _fault(self) -> InputError | None:
        """Return what is wrong with the first row that is not sound."""
        row = 0
        try:
            with self._text() as file:
                for cells in _reader(file, self.sep):
                    row += 1
                    if cells and self.n_columns and len(cells) != self.n_columns:
                        return self._ragged(row, len(cells))
        except DAMAGED as error:
            return self._damaged(error)
        except UnicodeError:
            return InputError(
                f"{self.label}, row {self._undecodable()}: not in the encoding {self.encoding}: "
                "try --encoding latin-1"
            )
        except csv.Error as error:
            return InputError(
                f"{self.label}, row {row + 1}: {shown(str(error), 200)}: mend a quote that is not "
                'closed, or not doubled ("") inside quotes'
            )
        return None

    def _ragged(self, row: int, n_cells: int) -> InputError:
        """Say that a row has another number of cells than the header."""
        return InputError(
            f"{self.label}, row {row}: {plural(n_cells, 'cell')} where the header has "
            f"{plural(self.n_columns, 'column')}: put cells that hold {self.sep!r} in quotes, mend "
            "the row, or give another --sep"
        )

    def _undecodable(self) -> int:
        """Return the number of the first line that is not in the encoding."""
        decoder, line = codecs.getincrementaldecoder(self.encoding)(), 1
        with self._bytes() as stream:
            try:
                while data := stream.read(CHUNK_BYTES):
                    line += _line_ends(decoder.decode(data))
                decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                sound = bytes(error.object[: error.start])
                return line + _line_ends(sound.decode(self.encoding, "ignore"))
            except UnicodeError:  # no mark at the start of UTF-16
                return 1
        return line


def _line_ends(text: str) -> int:
    """Return how many lines end in a text."""
    return text.count("\n") or text.count("\r")


def _reader(file: io.TextIOWrapper, sep: str) -> Any:
    """Return Python's strict reader, which takes rows of up to `LONGEST_ROW` characters."""
    csv.field_size_limit(LONGEST_ROW)
    return csv.reader(_lines(file), delimiter=sep, strict=True)


def _lines(file: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a file, of which none may need the memory of a whole file."""
    while line := file.readline(LONGEST_ROW):
        if len(line) == LONGEST_ROW:
            raise csv.Error(f"longer than {LONGEST_ROW:,} characters")
        yield line


class _Unpacked(gzip.GzipFile):
    """The bytes of a packed file; refuses one that is small and unpacks without an end."""

    def __init__(self, path: Path, label: str) -> None:
        super().__init__(path)
        self.label = label

    def read(self, size: int | None = -1) -> bytes:
        return self._counted(super().read(size))

    def read1(self, size: int = -1) -> bytes:
        return self._counted(super().read1(size))

    def _counted(self, data: bytes) -> bytes:
        unpacked, packed = self.tell(), cast(BinaryIO, self.fileobj).tell()
        if unpacked > max(FEW_UNPACKED, MOST_UNPACKED * packed):
            raise InputError(
                f"{self.label} unpacks to more than {MOST_UNPACKED} times its size, as no table "
                "does: unpack it yourself if it is one"
            )
        return data


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

    def __init__(self, text: io.TextIOWrapper, skipped: int, label: str) -> None:
        self.text, self.label, self.rest = text, label, b""
        self.has_quotes = False
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
                raise InputError(f"{self.label}, row {row}: {NUL}")
            self.has_quotes = self.has_quotes or b'"' in self.rest
            self.line += self.rest.count(b"\n")
        part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self.text.close()
        super().close()
