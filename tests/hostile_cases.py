"""The cases of `tests/hostile.py`, as hypothesis draws them: files, and commands about them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Make = Callable[[Path], None]


@dataclass(frozen=True)
class File:
    """A file of a case: its name, and what makes it, given its path."""

    name: str
    make: Make = field(repr=False)


@dataclass(frozen=True)
class Case:
    """A command line with the files that it is about.

    Parameters
    ----------
    arguments
        Of `batchbench`.
    files
        Made beforehand in the folder where it is called.
    must_refuse
        Whether it makes no sense at all, so that a result would be a fault.
    """

    arguments: tuple[str, ...]
    files: tuple[File, ...] = ()
    must_refuse: bool = False


# ---------------------------------------------------------------- names and cells

NAMES = (
    "x", "a b", "é", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</title><b>",
    "{{7*7}}", "{% for x in y %}", "$x^2$", "$\\frac{", '=HYPERLINK("http://x.invalid","y")',
    "=1+1", "+cmd|' /C calc'!A0", "-1+1", "@SUM(A1)", "\t=1", "a\tb", "two\nlines", "\r=1",
    "\x1b[31mred", "\x1b]0;title\x07", "\u202eevil", "\u2028", "\x00nul", "'", '"', '"""', "a,b",
    "a;b", "a|b", "`rm`", "$(rm)", "&amp;", "& <", "row", "../up", "/abs", "CON", "NaN", "None",
    "x" * 300, "👩‍🔬", "ﬁ", "a\\nb", "%s %d", "{0}", "__class__", "label", "P(yes)", "_x", "|x|",
)  # fmt: skip
CELLS = (
    "1", "2", "-2.5", "0", "1e5", "1e308", "-1e308", "1e400", "-1e400", "5e-324", "1e-400", "inf",
    "-inf", "nan", "NA", "", " ", "0x1f", "1_000", "1,5", "1.000,5", "1,000.5", "9" * 30, "-0",
    "01", "True", "no", "2020-02-29", "2020-02-30", "31/12/1999", "0001-01-01", "12:30",
    "9999-12-31T23:59:59Z", "١٢", "½", "-", "+", ".", "e", "1e", "=1+1", "@x", "<b>", "{{x}}",
    "\x1b[2J", "'", "''", "a\nb", "x" * 2000, "\u202e", "😀", "2147483648", "18446744073709551616",
)  # fmt: skip
LABELS = ("yes", "no", "maybe", "=1+1", "-1", "<b>", "", "NA", "1", "0", "{{x}}", "$x$", "\x1b[1m")
STEMS = (
    "data", "=cmd", "-1+1", "@SUM", "<img src=x onerror=alert(1)>", "a\nb", "\x1b[2Jx", "{{7*7}}",
    "$x^2$", "..", "...", "--help", "\udcff\udcfe", "\u202egnp", "con", "a b", "x" * 200, "é",
    "history", ".blocks", "'; rm", "%s", "all", "NUL", "a\tb", "-",
)  # fmt: skip
ENDINGS = (".csv", ".csv", ".csv", ".txt", ".parquet", ".gz", ".npz", "", ".CSV", ".csv.gz")
ENCODINGS = (
    "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "utf-7", "cp037",
)  # fmt: skip
LINE_ENDS = ("\n", "\r\n", "\r", "\n\r", "\n\n")
JUNK = (
    b"\0", b"\xff", b"\xfe\xff", b'"', b'""', b"'", b"\n", b"\r", b",", b";", b"\t",
    b"\xed\xa0\x80",
    b"\x1a", b"\x1b[2J", b"\xef\xbb\xbf", b"PAR1", b"\x1f\x8b", b'"\n"', b",,,,,,,,", b"\0" * 100,
)  # fmt: skip


def text_of(rows: Sequence[Sequence[str]], sep: str, end: str, quoting: int) -> str:
    """Return rows as text; cells with separators, quotes or line ends stand in quotes."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=sep, lineterminator=end, quoting=quoting, escapechar="\\")
    with suppress(csv.Error):
        writer.writerows(rows)
    return file.getvalue()


# What may be odd about a table; a table has a few of them, so that many are read
ODDITIES = (
    "names", "twice", "rows", "cells", "cells", "target", "classes", "encoding", "ends", "sep",
    "quoting", "ragged", "damage", "packed",
)  # fmt: skip


@st.composite
def oddities(draw: st.DrawFn) -> frozenset[str]:
    """Draw what is odd about a table."""
    return draw(st.frozensets(st.sampled_from(ODDITIES), max_size=4))


@st.composite
def rows_of_table(draw: st.DrawFn, odd: frozenset[str]) -> list[list[str]]:
    """Draw the rows of a table, names first; the last column is the target."""
    chance = random.Random(draw(st.integers(0, 2**32 - 1)))
    n_columns = draw(st.sampled_from((1, 2, 8) if "rows" in odd else (3, 4, 6)))
    n_rows = draw(st.sampled_from((0, 1, 2, 9, 11) if "rows" in odd else (20, 40, 60, 200)))
    names = NAMES if "names" in odd else [f"c{k}" for k in range(99)]
    header = [chance.choice(names) for _ in range(n_columns - 1)]
    header = header if "twice" in odd else list(dict.fromkeys(header))
    header.append(chance.choice(NAMES) if "target" in odd else "label")
    columns = [_cells(draw, chance, n_rows, "cells" in odd) for _ in header[:-1]]
    if draw(st.integers(0, 2)):
        classes = chance.sample(LABELS if "classes" in odd else ("yes", "no", "maybe"), 2)
        target = [classes[k % 2] for k in range(n_rows)]
    else:
        target = [f"{chance.gauss(0, 10):.3g}" for _ in range(n_rows)]
    if n_rows and "classes" in odd:
        target[chance.randrange(n_rows)] = "a class of one row"
        target = target[:1] * n_rows if draw(st.booleans()) else target
    return [header, *(list(row) for row in zip(*columns, target, strict=True))]


def _cells(draw: st.DrawFn, chance: random.Random, n: int, odd: bool) -> list[str]:
    """Draw the cells of a column."""
    kind = draw(st.sampled_from(("one cell", "few", "same", "any"))) if odd else "plain"
    if kind in ("plain", "one cell"):
        cells = [f"{chance.gauss(0, 10):.3g}" for _ in range(n)]
        if n and kind == "one cell":
            cells[chance.randrange(n)] = chance.choice(CELLS)
        return cells
    palette = chance.sample(CELLS, {"few": 3, "same": 1, "any": 12}[kind])
    return [chance.choice(palette) for _ in range(n)]


def damaged(content: bytes, kind: str, place: float, junk: bytes) -> bytes:
    """Return content with something done to it at a place between 0 (start) and 1 (end)."""
    at = int(place * len(content))
    return {
        "put in": content[:at] + junk + content[at:],
        "cut off": content[:at],
        "cut out": content[:at] + content[at + 20 :],
        "twice": content + content,
        "from the middle": content[at:],
        "appended": content + junk,
        "before": junk + content,
    }[kind]


DAMAGES = ("put in", "cut off", "cut out", "appended", "before", "twice", "from the middle")
QUOTING = (csv.QUOTE_ALL, csv.QUOTE_NONE, csv.QUOTE_NONNUMERIC)


@st.composite
def table_bytes(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """Draw a text file of a table, perhaps damaged or packed, and the options to read it with."""
    odd = draw(oddities())
    rows = draw(rows_of_table(odd))
    options = [f"--target={rows[0][-1]}"]
    if "ragged" in odd:
        row = rows[draw(st.integers(0, len(rows) - 1))]
        row[:] = row[:-1] if draw(st.booleans()) else [*row, "more"]
    sep = draw(st.sampled_from((";", "\t", "|", " ", ":"))) if "sep" in odd else ","
    quoting = draw(st.sampled_from(QUOTING)) if "quoting" in odd else csv.QUOTE_MINIMAL
    end = draw(st.sampled_from(LINE_ENDS)) if "ends" in odd else "\n"
    text = text_of(rows, sep, end, quoting)
    if "ends" in odd:
        text = text.replace("\n", "\r\n", draw(st.integers(0, 9)))
    encoding = draw(st.sampled_from(ENCODINGS)) if "encoding" in odd else "utf-8"
    content = text.encode(encoding, "replace")
    if draw(st.booleans()):
        options += [f"--encoding={encoding}", f"--sep={sep}"]
    harm = draw(st.sampled_from(DAMAGES)), draw(st.floats(0, 1)), draw(st.sampled_from(JUNK))
    packed = draw(st.sampled_from(("once", "damaged", "twice"))) if "packed" in odd else "no"
    if "damage" in odd and packed != "damaged":
        content = damaged(content, *harm)
    content = content if packed == "no" else gzip.compress(content, mtime=0)
    content = gzip.compress(content, mtime=0) if packed == "twice" else content
    return damaged(content, *harm) if packed == "damaged" else content, options


# ---------------------------------------------------------------- files that are made when needed


def write(path: Path, content: bytes) -> None:
    """Write bytes."""
    path.write_bytes(content)


def long_field(path: Path, size: int, quoted: bool, where: str) -> None:
    """Write a table with one field of so many bytes, in the header or in a row."""
    quote = b'"' if quoted else b""
    field_ = quote + b"x" * size + quote
    rows = [b"%d,%d,%s\n" % (k, k * 7 % 5, b"yes" if k % 3 else b"no") for k in range(40)]
    head = b"x," + field_ + b",label\n" if where == "header" else b"x,y,label\n"
    if where == "cell":
        rows[20] = b"1," + field_ + b",no\n"
    if where == "label":
        rows[20] = b"1,2," + field_ + b"\n"
    path.write_bytes(head + b"".join(rows) + (field_ if where == "end" else b""))


def one_line(path: Path, size: int, filler: bytes) -> None:
    """Write a file of one line without an end."""
    path.write_bytes(filler * (size // len(filler)))


def wide_table(path: Path, n_columns: int, n_rows: int, cell: str) -> None:
    """Write a table of many columns."""
    chance = random.Random(n_columns)
    names = ",".join(f"c{k}" for k in range(n_columns - 1))
    with path.open("w") as file:
        file.write(names + ",label\n")
        for k in range(n_rows):
            cells = (
                cell if cell != "number" else f"{chance.random():.3f}" for _ in range(n_columns - 1)
            )
            file.write(",".join(cells) + (",yes\n" if k % 2 else ",no\n"))


def bomb(path: Path, line: bytes, gigabytes: int) -> None:
    """Write a small gzip file that unpacks to gigabytes of one line, over and over."""
    part = line * ((1 << 24) // len(line))
    packed = gzip.compress(part, 9)
    with path.open("wb") as file:
        file.write(gzip.compress(b"x,label\n"))
        for _ in range(gigabytes * 64):
            file.write(packed)


def fifo(path: Path) -> None:
    """Make a named pipe that nobody writes to."""
    os.mkfifo(path)


def folder(path: Path) -> None:
    """Make a folder in place of a file."""
    path.mkdir()


def loop(path: Path) -> None:
    """Make a link to itself."""
    path.symlink_to(path.name)


def link_to(path: Path, target: str) -> None:
    """Make a link to something else."""
    path.symlink_to(target)


def unreadable(path: Path) -> None:
    """Write a table that may not be read (root may all the same)."""
    path.write_bytes(b"x,label\n1,yes\n2,no\n")
    path.chmod(0)


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    """Return a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def parquet_bomb(path: Path, n_rows: int, text: int) -> None:
    """Write a small Parquet file of very many rows, or of a long text in each of its rows."""
    part = pa.table(
        {
            "x": pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(1 << 20, np.int8)), pa.array(["x" * max(1, text)])
            ),
            "label": pa.DictionaryArray.from_arrays(
                pa.array((np.arange(1 << 20) % 2).astype(np.int8)), pa.array(["yes", "no"])
            ),
        }
    )
    with pq.ParquetWriter(path, part.schema, compression="zstd") as writer:
        for _ in range(max(1, n_rows >> 20)):
            writer.write_table(part.slice(0, min(n_rows, 1 << 20)))


def odd_parquet(path: Path, kind: str) -> None:
    """Write a Parquet file with a column of an odd type, and a label."""
    n = 40
    columns: dict[str, Callable[[], pa.Array]] = {
        "lists": lambda: pa.array([[k] for k in range(n)]),
        "structs": lambda: pa.array([{"a": k} for k in range(n)]),
        "maps": lambda: pa.array([[("a", 1)]] * n, pa.map_(pa.string(), pa.int64())),
        "bytes": lambda: pa.array([b"\xff\x00"] * n),
        "nulls": lambda: pa.nulls(n),
        "decimals": lambda: pa.array([10**30] * n, pa.decimal128(38, 0)),
        "wide decimals": lambda: pa.array([10**60 + k for k in range(n)], pa.decimal256(76, 0)),
        "durations": lambda: pa.array(range(n), pa.duration("ns")),
        "times": lambda: pa.array(range(n), pa.time64("ns")),
        "stamps": lambda: pa.array([2**62] * n, pa.timestamp("s")),
        "old dates": lambda: pa.array([-(2**31)] * n, pa.date32()),
        "halves": lambda: pa.array(np.arange(n, dtype=np.float16)),
        "unsigned": lambda: pa.array([2**64 - 1 - k for k in range(n)], pa.uint64()),
        "infinities": lambda: pa.array([float("inf")] * n),
        "not UTF-8": lambda: pa.Array.from_buffers(
            pa.string(),
            n,
            [
                None,
                pa.py_buffer(np.arange(n + 1, dtype=np.int32).tobytes()),
                pa.py_buffer(b"\xff" * n),
            ],
        ),
        "many levels": lambda: pa.array([f"{k}" for k in range(n)]).dictionary_encode(),
        "no rows": lambda: pa.array([], pa.int64()),
    }
    column = columns[kind]()
    labels = pa.array((["yes", "no"] * n)[: len(column)], pa.string())
    numbers = pa.array(np.random.default_rng(0).normal(size=len(column)))
    path.write_bytes(parquet_bytes(pa.table({"x": column, "y": numbers, "label": labels})))


PARQUET_KINDS = (
    "lists", "structs", "maps", "bytes", "nulls", "decimals", "wide decimals", "durations", "times",
    "stamps", "old dates", "halves", "unsigned", "infinities", "not UTF-8", "many levels",
    "no rows",
)  # fmt: skip


@st.composite
def parquet_makers(draw: st.DrawFn) -> Make:
    """Draw a damaged or odd Parquet file."""
    if draw(st.booleans()):
        return partial(odd_parquet, kind=draw(st.sampled_from(PARQUET_KINDS)))
    rows = draw(rows_of_table(draw(oddities())))
    frame = pd.DataFrame(rows[1:], columns=[f"{k}{name}" for k, name in enumerate(rows[0])])
    good = parquet_bytes(pa.Table.from_pandas(frame.rename(columns={frame.columns[-1]: "label"})))
    if draw(st.booleans()):
        return partial(write, content=good)
    harm = draw(st.sampled_from(DAMAGES)), draw(st.floats(0, 1)), draw(st.sampled_from(JUNK))
    return partial(write, content=damaged(good, *harm))


PLACES: tuple[Make, ...] = (
    folder,
    fifo,
    loop,
    unreadable,
    partial(link_to, target="/dev/zero"),
    partial(link_to, target="/dev/null"),
    partial(link_to, target="nowhere"),
    partial(link_to, target="/proc/self/mem"),
    partial(write, content=b""),
)
LARGE: tuple[Make, ...] = (
    *(
        partial(long_field, size=100 << 20, quoted=quoted, where=where)
        for quoted in (False, True)
        for where in ("header", "cell", "label", "end")
    ),
    partial(one_line, size=100 << 20, filler=b"\0"),
    partial(one_line, size=100 << 20, filler=b"x"),
    partial(one_line, size=100 << 20, filler=b","),
    partial(one_line, size=100 << 20, filler=b'"'),
    partial(one_line, size=100 << 20, filler=b"\n"),
    partial(one_line, size=100 << 20, filler=b"1,"),
    partial(wide_table, n_columns=10_000, n_rows=12, cell="number"),
    partial(wide_table, n_columns=10_000, n_rows=40, cell="number"),
    partial(wide_table, n_columns=10_000, n_rows=40, cell="1"),
    partial(wide_table, n_columns=10_000, n_rows=40, cell="text"),
    partial(wide_table, n_columns=200_000, n_rows=12, cell="1"),
    partial(bomb, line=b"1,yes\n2,no\n", gigabytes=4),
    partial(bomb, line=b"\0" * 1024, gigabytes=4),
    partial(bomb, line=b"x" * 1024, gigabytes=4),
    partial(bomb, line=b"\n" * 1024, gigabytes=4),
    partial(parquet_bomb, n_rows=1 << 29, text=1),
    partial(parquet_bomb, n_rows=1 << 16, text=1 << 20),
    partial(parquet_bomb, n_rows=1 << 12, text=64 << 20),
)

# ---------------------------------------------------------------- options of a study

HUGE = ("1000000000", "999999999999999999999", "9" * 5000, "1e400")
ODD_NUMBERS = (
    "-1",
    "0",
    "nan",
    "inf",
    "-inf",
    "",
    " ",
    "١٢",
    "½",
    "1_0",
    "0x10",
    "1e3",
    "1.5",
    "+3",
)
FLOATS = ("1e300", "1e-300", "5e-324", "-0.0", "1e400", "0.5")
# By option: values that make sense, then values that are odd or absurd. Networks are of few shapes:
# each is compiled once.
STUDY_OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "--seeds": (("2", "3", "48"), (*HUGE, *ODD_NUMBERS)),
    "--batch-sizes": (
        ("1,full", "8", "full"),
        ("0", "-1", "1,", ",", "full,full", "1000000000", "Full", "8,8", "1e3", "9" * 5000, "1;2",
         "½", ",".join(map(str, range(1, 3000))), "nan"),
    ),
    "--learning-rates": (
        ("0.1", "0.1,0.5", "1e-3"),
        (*ODD_NUMBERS, *FLOATS, "0.1,,0.2", "0.1,0.1", ",".join(f"0.{k}" for k in range(1, 3000))),
    ),
    "--rule": (("sgd", "adam"), ("", "SGD", "lion", "{{7*7}}", "\x1b[1m")),
    "--hidden": (
        ("32", "32,8"),
        ("1000000000", "0", "-5", "", "none,3", "None", "9" * 5000, "1e9", "32,,8", "½",
         ",".join(["8"] * 20_000), "1000000,1000000", "4000000000,4000000000"),
    ),
    "--activation": (("relu", "tanh"), ("", "RELU", "gelu", "<b>")),
    "--target-loss": (("0.1",), (*ODD_NUMBERS, *FLOATS)),
    "--budget": (
        ("60s", "2min", "1h"),
        ("0", "-1", "1e99h", "nan", "inf", "9" * 400 + "h", "", "1.2.3s", ".", "60 sec", "٣s"),
    ),
    "--rounds": (("1", "2"), (*HUGE, *ODD_NUMBERS)),
    "--step-cost": (
        ("1e-4,1e-7",),
        ("0,0", "1", "1,2,3", "-1,1", "nan,nan", "inf,0", "", "1e300,1e300"),
    ),
    "--save-model": (("out/model.npz",), ("/dev/null/x.npz", "", ".", "a\0b", "x" * 300)),
    "--name": (
        ("study", "my study"),
        ("../x", "/abs/x", "..", ".", "", " ", "a/b", "a\\b", "a\0b", "x" * 300, ".hidden", "CON",
         "nul.txt", "a\nb", "\x1b[1m", "<b>", "=1+1", "{{7*7}}", "$x$", "\udcff", "-x", "a..",
         "x "),
    ),
    "--decimal": ((".",), (",", ";", "", "..", "x", "\0")),
    "--sep": ((",", ";"), ("", ",,", "\\t", '"', "\n", "x", "é", "\0", "1")),
    "--encoding": (
        ("utf-8", "latin-1"),
        ("utf-16", "rot13", "", "hex", "idna", "punycode", "utf-7", "unicode_escape", "x" * 999,
         "undefined", "zlib", "mbcs", "utf-8\0", "raw_unicode_escape", "../x", "cp037"),
    ),
    "--na-values": (("-999",), ("", ",", "1", "yes,no", "\x1b[1m", "x" * 9999)),
    "--test-size": (("0.3",), (*ODD_NUMBERS, *FLOATS, "1", "0.999999999")),
    "--task": (("classification", "regression"), ("", "guess", "Classification")),
    "--missing": (("median", "drop"), ("", "mean", "error")),
    "--drop": (("x",), ("", ",", "label", "nope", "../x", "x" * 9999)),
    "--features": (("x",), ("", ",", "label", "nope", "x,x")),
    "--workers": (("1", "2"), ("0", "-1", "1.5", "½", "1000000000", "9" * 5000)),
    "--out": (
        ("out", "out/deep/er"),
        ("in.csv", "in.csv/x", "/dev/null", "/proc/x", "", "a\0b", "x" * 300, "out/\x1b[1m"),
    ),
}  # fmt: skip
FLAGS = ("--compare-rules",)
GOOD = b"x,y,label\n" + b"".join(
    b"%d.5,%d,%s\n" % (k * 37 % 101, k % 7, b"yes" if k % 3 else b"no") for k in range(60)
)


@st.composite
def given_options(draw: st.DrawFn, odd: bool) -> list[str]:
    """Draw options of a study with their values; `odd` ones may make no sense."""
    chosen = draw(st.lists(st.sampled_from(sorted(STUDY_OPTIONS)), max_size=5, unique=True))
    arguments: list[str] = []
    for option in chosen:
        good, bad = STUDY_OPTIONS[option]
        values = bad if odd and draw(st.integers(0, 2)) else good
        arguments += [f"{option}={draw(st.sampled_from(values))}"]
    if not draw(st.integers(0, 9)):
        arguments += [draw(st.sampled_from(FLAGS))]
    return arguments


def file_name(draw: st.DrawFn, endings: Sequence[str] = ENDINGS) -> str:
    """Draw the name of a file, an ordinary one in half of the cases."""
    if draw(st.booleans()):
        return "in.csv"
    name = draw(st.sampled_from(STEMS)) + draw(st.sampled_from(endings))
    return "in.csv" if name in (".", "..") else name


def dry(file: str, *arguments: str) -> tuple[str, ...]:
    """Return the arguments of a study that is planned and not run."""
    workers = () if any(a.startswith("--workers") for a in arguments) else ("--workers=1",)
    return ("study", "--dry-run", *workers, *arguments, "--", file)


FIXED = ("--name", "--out", "--save-model", "--sep", "--encoding", "--drop", "--features")


@st.composite
def table_cases(draw: st.DrawFn) -> Case:
    """Draw a malformed text file, its study planned as its author would."""
    content, reading = draw(table_bytes())
    name = file_name(draw)
    options = draw(given_options(odd=False)) if not draw(st.integers(0, 3)) else []
    options = [one for one in options if not one.startswith(FIXED)]
    return Case(dry(name, *reading, *options), (File(name, partial(write, content=content)),))


@st.composite
def odd_file_cases(draw: st.DrawFn) -> Case:
    """Draw a damaged or odd Parquet file, or what is no file at all."""
    make = draw(st.one_of(parquet_makers(), st.sampled_from(PLACES)))
    name = file_name(draw, (".parquet", ".pq", ".csv", ""))
    files = () if draw(st.integers(0, 19)) == 19 else (File(name, make),)
    return Case(dry(name, "--target=label"), files)


@st.composite
def large_cases(draw: st.DrawFn) -> Case:
    """Draw a file of 100 MB in one field, of 10,000 columns, or that unpacks to gigabytes."""
    make = draw(st.sampled_from(LARGE))
    bombs = (bomb, parquet_bomb)
    refused = isinstance(make, partial) and make.func in bombs
    return Case(dry("in.csv", "--target=label"), (File("in.csv", make),), must_refuse=refused)


@st.composite
def option_cases(draw: st.DrawFn) -> Case:
    """Draw a sound table with options that may make no sense."""
    options = draw(given_options(odd=True))
    subject = draw(st.sampled_from(("in.csv",) * 8 + ("iris", "notes", "nope", "xor", "all")))
    if subject == "in.csv":
        options.append(f"--target={draw(st.sampled_from(('label', 'label', 'y', 'nope', '')))}")
    if subject in ("xor", "all"):  # which take longer to plan: with one value that is refused
        options = ["--seeds=-1"]
    return Case(dry(subject, *options), (File("in.csv", partial(write, content=GOOD)),))


# ---------------------------------------------------------------- models


def model_bytes() -> bytes:
    """Return a sound model's file, made without training."""
    from bench.model import Model, save_model
    from bench.problems.table import TableOptions, load_table
    from kernels import init_params

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "in.csv"
        path.write_bytes(GOOD)
        problem = load_table(path, TableOptions(target="label"))
        assert problem.table is not None
        params = init_params(problem.network, 1, dtype=np.float32)
        save_model(Model(problem.network, params, problem.table, {}), Path(place) / "m.npz")
        return (Path(place) / "m.npz").read_bytes()


ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**9, 10**30, 1.5, float("nan"), float("inf"), "", "x", "\x1b[1m", [], [1],
    ["x"], {}, {"a": 1}, [[1]], [None], "9" * 5000, "=1+1", ["\x1b[1m", "<b>"],
)  # fmt: skip


def places_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Go through the places of all values in lists and dicts."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places_of(item, (*path, key))


def changed_model(path: Path, place: float, value: Any, how: str) -> None:
    """Write a model whose description has another value somewhere, or lacks it."""
    with np.load(io.BytesIO(model_bytes())) as file:
        params, about = file["params"], json.loads(str(file["model"]))
    places = list(places_of(about))
    *before, last = places[min(int(place * len(places)), len(places) - 1)]
    inner = about
    for key in before:
        inner = inner[key]
    if how == "replaced":
        inner[last] = value
    elif how == "left out":
        del inner[last]
    elif isinstance(inner, list):
        inner.append(value)
    else:
        inner["further"] = value
    np.savez(path.with_suffix(".npz"), params=params, model=np.array(json.dumps(about)))
    if path.suffix != ".npz":
        path.with_suffix(".npz").replace(path)


def other_arrays(path: Path, kind: str) -> None:
    """Write a model whose arrays are not what they should be."""
    with np.load(io.BytesIO(model_bytes())) as file:
        params, about = file["params"], file["model"]
    extra: dict[str, Any] = {}
    save = np.savez
    if kind == "objects":
        params = np.array([{"a": 1}], dtype=object)
    elif kind == "object description":
        about = np.array([{"a": 1}], dtype=object)
    elif kind == "shape":
        params = params.reshape(1, -1)
    elif kind == "type":
        params = params.astype(np.float64)
    elif kind == "nan":
        params = params * np.float32("nan")
    elif kind == "extra":
        extra = {"more": np.zeros(3)}
    elif kind == "packed":
        save = np.savez_compressed
    elif kind == "empty":
        params = params[:0]
    elif kind == "nested":
        about = np.array("[" * 100_000)
    elif kind == "bytes":
        about = np.frombuffer(str(about).encode(), np.uint8)
    with path.open("wb") as stream:
        save(stream, params=params, model=about, **extra)


def npz_bomb(path: Path, member: str, declared: bool) -> None:
    """Write a small npz that unpacks to 8 GiB, or whose array says that it is as large."""
    header = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (1 << 31,)}
    np.lib.format.write_array_header_1_0(header, about)
    with np.load(io.BytesIO(model_bytes())) as file:
        other = io.BytesIO()
        np.save(other, file["model" if member == "params" else "params"])
    kind = zipfile.ZIP_STORED if declared else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("params.npy" if member == "model" else "model.npy", other.getvalue())
        with archive.open(f"{member}.npy", "w", force_zip64=True) as stream:
            stream.write(header.getvalue())
            for _ in range(1 if declared else 256):
                stream.write(bytes(100 if declared else 1 << 20))


MODEL_KINDS = (
    "objects", "object description", "shape", "type", "nan", "extra", "packed", "empty", "nested",
    "bytes",
)  # fmt: skip


@st.composite
def model_makers(draw: st.DrawFn) -> Make:
    """Draw a damaged or odd model."""
    kind = draw(
        st.sampled_from(("changed", "changed", "changed", "damaged", "arrays", "bomb", "place"))
    )
    if kind == "changed":
        how = draw(st.sampled_from(("replaced", "replaced", "replaced", "left out", "added")))
        value = draw(st.sampled_from(ODD_VALUES))
        return partial(changed_model, place=draw(st.floats(0, 1)), value=value, how=how)
    if kind == "damaged":
        harm = draw(st.sampled_from(DAMAGES)), draw(st.floats(0, 1)), draw(st.sampled_from(JUNK))
        return lambda path: write(path, damaged(model_bytes(), *harm))
    if kind == "arrays":
        return partial(other_arrays, kind=draw(st.sampled_from(MODEL_KINDS)))
    if kind == "bomb":
        member = draw(st.sampled_from(("params", "model")))
        return partial(npz_bomb, member=member, declared=draw(st.booleans()))
    return draw(st.sampled_from(PLACES))


@st.composite
def predict_cases(draw: st.DrawFn) -> Case:
    """Draw a model or a table that is damaged or odd, and a prediction with them."""
    sound = draw(st.integers(0, 3)) == 0
    model = (lambda path: write(path, model_bytes())) if sound else draw(model_makers())
    content = draw(table_bytes())[0] if sound or not draw(st.integers(0, 3)) else GOOD
    name = file_name(draw, (".npz", ""))
    name = "m.npz" if name == "in.csv" else name
    out = draw(
        st.sampled_from(((), (), ("--out=out/p.csv",), ("--out=in.csv/x",), ("--out=/dev/null/x",)))
    )
    files = (File(name, model), File("in.csv", partial(write, content=content)))
    return Case(("predict", *out, "--", name, "in.csv"), files)


# ---------------------------------------------------------------- other commands

BAD_NUMBERS = ("-1", "0", "nan", "", "½", "x", "1.5", "9" * 5000)
REFUSED_COMMANDS: tuple[tuple[str, ...], ...] = (
    *(("walk", f"--params={v}") for v in ("", "1", "1,1,1,1,1,1,1,1", "nan," * 9)),
    *(("walk", f"--params={','.join([v] * 9)}") for v in ("inf", "1e400", "x", "", "½x")),
    *(("walk", f"--x={v}") for v in ("", "1", "1,2,3", "nan,1", "inf,1", "x,y")),
    *(("walk", f"--y={v}") for v in ("", "2", "nan", "x", "1e400")),
    *(("walk", f"--learning-rate={v}") for v in ("nan", "inf", "x", "", "1e400")),
    *(("walk", f"--seed={v}") for v in ("-1", "x", "1.5", "", "9" * 5000)),
    *(("walk", f"--loss={v}") for v in ("", "ce", "<b>")),
    *(("walk", f"--format={v}") for v in ("", "html", "\x1b[1m")),
    *(("calibrate", f"--simulations={v}") for v in (*BAD_NUMBERS, "1000000000000")),
    *(("calibrate", f"--workers={v}") for v in (*BAD_NUMBERS,)),
    *(("calibrate", f"--only={v}") for v in ("nope", "\x1b[1m", "x" * 9999)),
    *(("peers", f"--rounds={v}") for v in (*BAD_NUMBERS, "1000000000000")),
    *(("peers", f"--batch-sizes={v}") for v in ("", "0", "-1", "x", "1000000000", ",", "9" * 5000)),
    *(("peers", f"--case={v}") for v in ("", "nope", "\x1b[1m")),
    *(("peers", f"--programs={v}") for v in ("", "nope", "<b>", "../x")),
    *(("peers", f"--peer={v}") for v in ("", "nope.py", "/dev/null", "in.csv", "a\0b.py", ".")),
    *(("roofline", f"--rounds={v}") for v in (*BAD_NUMBERS, "1000000000000")),
    *(("roofline", f"--case={v}") for v in ("", "nope", "\x1b[1m")),
    *(("roofline", f"--batch-sizes={v}") for v in ("", "0", "-1", "x", ",", "9" * 5000)),
    *(
        ("compare", "--", v)
        for v in ("", "nope", "-x", "../x", "\x1b[1m", "a\0b", "x" * 9999, "HEAD:", "@{", "<b>")
    ),
    *(
        ("compare", f"--budget={v}", "HEAD")
        for v in ("0", "-1", "nan", "1e99h", "", "x", "9" * 400 + "h")
    ),
    *(("compare", f"--tolerance={v}", "HEAD") for v in ("-1", "nan", "inf", "x", "", "1")),
    *(("compare", f"--only={v}", "HEAD") for v in ("nope", "\x1b[1m", "x" * 9999)),
    *(
        ("history", f"--out={v}")
        for v in ("nope", "in.csv", "/dev/null", "a\0b", "\x1b[1m", "x" * 300)
    ),
    *(("prune", f"--out={v}") for v in ("a\0b",)),
    *(("study", v) for v in ("", "nope", "\x1b[1m", "<b>", "../x", "a\0b", "digits/", "x" * 9999)),
    ("study",), ("predict",), ("predict", "a"), ("nope",), ("--nope",), ("study", "--nope", "x"),
    ("study", "iris", "extra"), ("study", "\x1b[1m", "\x1b[1m"), ("predict", "in.csv", "in.csv"),
    ("study", "iris", "--target=x"), ("study", "iris", "--save-model=x.npz"),
    ("study", "mistakes", "--hidden=1000000000"), ("study", "mistakes", "--seeds=1000000000"),
    ("study", "iris", "--hidden=1000000000"), ("study", "iris", "--seeds=1000000000"),
    ("study", "xor", "--seeds=1000000000"), ("study", "notes", "--seeds=1000000000"),
    ("study", "all", "--seeds=1000000000"), ("study", "all", "--hidden=1000000000"),
)  # fmt: skip


def command_cases() -> st.SearchStrategy[Case]:
    """Draw a command with an argument that must be refused at once."""
    table = File("in.csv", partial(write, content=GOOD))
    return st.sampled_from(REFUSED_COMMANDS).map(
        lambda arguments: Case(arguments, (table,), must_refuse=True)
    )


# ---------------------------------------------------------------- whole studies

FEATURES = [name for name in NAMES if name.strip() and "\0" not in name and name != "label"]
CLASSES = [name for name in (*NAMES, *LABELS) if name.strip() and "\0" not in name]


@st.composite
def study_cases(draw: st.DrawFn) -> Case:
    """Draw a small table with hostile names of columns and classes, and its whole study."""
    chance = random.Random(draw(st.integers(0, 2**32 - 1)))
    target = draw(st.sampled_from(FEATURES)).strip()
    picked = {name.strip(): None for name in chance.sample(FEATURES, 3)}
    features = [name for name in picked if name != target]
    classes = sorted({name.strip() for name in chance.sample(CLASSES, 3)})
    levels = [name.strip() for name in chance.sample(CLASSES, 2)]
    rows = [[*features, target]]
    for k in range(36):
        cells = [f"{chance.gauss(0, 1):.3f}" for _ in features[1:]]
        rows.append([levels[k % 2], *cells, classes[k % len(classes)]])
    if draw(st.booleans()):  # a quantity in place of classes
        for k, row in enumerate(rows[1:]):
            row[-1] = f"{chance.gauss(0, 1) + k:.3f}"
    name = file_name(draw, (".csv",))
    content = text_of(rows, ",", "\n", csv.QUOTE_MINIMAL).encode()
    plan = ["--seeds=3", "--batch-sizes=8,full", "--learning-rates=0.1,0.4", "--workers=1"]
    study_name = draw(st.sampled_from(("", "", "", "<b>", "=1+1", "{{7*7}}", "$x$", "a b", "[b]")))
    plan += [f"--name={study_name}"] if study_name else []
    plan += ["--out=out", "--save-model=out/model.npz"]
    arguments = ("study", *plan, f"--target={target}", "--", name)
    return Case(arguments, (File(name, partial(write, content=content)),))


# Share of the cases, 0 for the rest of them, and how they are drawn
STRATEGIES: dict[str, tuple[float, Callable[[], st.SearchStrategy[Case]]]] = {
    "file": (0.1, odd_file_cases),
    "large": (0.03, large_cases),
    "options": (0.2, option_cases),
    "predict": (0.1, predict_cases),
    "command": (0.1, command_cases),
    "study": (0.03, study_cases),
    "table": (0.0, table_cases),
}


def cases_of(kind: str, n: int, start: int) -> list[Case]:
    """Draw the first cases of a kind, always the same for a seed."""
    found: list[Case] = []

    @seed(start)
    @settings(
        max_examples=n,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(STRATEGIES[kind][1]())
    def collect(case: Case) -> None:
        if len(found) < n:
            found.append(case)

    collect()
    return found


def drawn(n: int, start: int) -> dict[str, Case]:
    """Return cases of all kinds by their names, KIND:NUMBER; tables make up the number."""
    found: dict[str, Case] = {}
    for kind, (share, _) in STRATEGIES.items():
        wanted = max(1, round(share * n)) if share else max(1, n - len(found))
        cases = enumerate(cases_of(kind, wanted, start))
        found |= {f"{kind}:{number}": case for number, case in cases}
    return found
