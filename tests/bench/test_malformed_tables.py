"""Malformed tables: each is refused in one line that says where, and what to do; nothing else."""

from __future__ import annotations

import gzip
import io
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench import cli
from bench.errors import InputError
from bench.problems import Problem
from bench.problems.table import TableOptions, load_table

LONGEST = 600  # characters of a message: more does not help, whatever stands in the file
N_ROWS = 40
HEADER = "x,y,label"
# A message ends with one of these: an option, or something to do
WAY_OUT = re.compile(
    r"--\w|did you mean|must be|must differ|needs?\b|a table has|the first row names|not closed|"
    r"\b(give|rename|mend|check|drop|put|copy|write|convert|unpack|save|leave|choose|use|try|add)\b"
)


def table(
    rows: dict[int, str] | None = None, header: str = HEADER, n: int = N_ROWS, end: str = "\n"
) -> bytes:
    """Return a table of numbers x and y and labels yes and no, with some of its rows replaced.

    The header is row 1; a row beyond the last one is appended.
    """
    lines = {1: header}
    for k in range(n):
        lines[k + 2] = f"{k % 7},{k * 37 % 11 / 4},{'yes' if k % 3 else 'no'}"
    lines |= rows or {}
    return "".join(line + end for line in lines.values()).encode()


def columns(**values: Any) -> bytes:
    """Return a table of these columns; a text stands for itself in every row."""
    cells = {
        name: [column] * N_ROWS if isinstance(column, str) else list(column)
        for name, column in values.items()
    }
    rows = [cells.keys(), *zip(*cells.values(), strict=True)]
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def parquet(data: pa.Table) -> bytes:
    """Return a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(data, sink)
    return sink.getvalue()


def frame(**changes: Any) -> pd.DataFrame:
    """Return the good table as a data frame, with some columns replaced or added."""
    return pd.read_csv(io.BytesIO(table())).assign(**changes)


def arrow(**changes: Any) -> bytes:
    """Return the good table as a Parquet file, with some columns replaced or added."""
    good = pa.table({name: pa.array(column) for name, column in frame().items()})
    return parquet(pa.table({**{n: good[n] for n in good.column_names}, **changes}))


@dataclass(frozen=True)
class Case:
    """A file, words that the message must hold beside the file's name, and how it is read."""

    content: bytes
    words: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    file: str = "data.csv"


LABELS = ["yes", "no"] * (N_ROWS // 2)
SMALL = [k % 7 for k in range(N_ROWS)]
GAPPY = ["" if k % 2 else k % 7 for k in range(N_ROWS)]
NUMBERS = [k * 0.5 for k in range(N_ROWS)]
GOOD, GOOD_PARQUET = table(), arrow()
PACKED = gzip.compress(GOOD)
UMLAUTS = table({5: "1,2,jäh"}).decode()
NONSENSE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
REGRESSION = {"target": "y", "task": "regression"}


def with_number(text: str, row: int = 9) -> bytes:
    """Return the good table with another number in column y."""
    return table({row: f"1,{text},yes"})


NAMES = {
    "a name stands twice": Case(table(header="x,x,label"), ("'x'", "row 1", "twice")),
    "a name stands twice but for blanks": Case(table(header="x, x,label"), ("'x'", "row 1")),
    "the target's name stands twice": Case(table(header="x,label,label"), ("'label'", "row 1")),
    "no name": Case(table(header="x,,label"), ("column 2", "row 1", "name")),
    "no name at the start": Case(table(header=",y,label"), ("column 1", "row 1", "name")),
    "a blank name": Case(table(header="x,   ,label"), ("column 2", "row 1", "name")),
    "a quoted blank name": Case(table(header='x," ",label'), ("column 2", "row 1", "name")),
    "a name of a no-break space": Case(table(header="x,\xa0,label"), ("column 2", "row 1")),
    "no names at all": Case(table(header=",,"), ("column 1", "row 1", "name")),
    "a separator behind the last name": Case(table(header=HEADER + ","), ("column 4", "row 1")),
    "a name of two lines stands twice": Case(table(header='"x\ny","x\ny",label'), ("row 1",)),
    "a name that moves the cursor": Case(
        table(header="\x1b[2J,\x1b[2J,label"), ("row 1", "columns 1 and 2")
    ),
    "a very long name stands twice": Case(
        table(header=f"{'x' * 50_000},{'x' * 50_000},label"), ("row 1",)
    ),
    "one column": Case(b"label\nyes\nno\n" * 20, ("column", "--sep")),
    "a title above the header": Case(b"My table\n" + GOOD, ("one column",)),
    "comments above the header": Case(b"# made today\n# by me\n" + GOOD, ("one column",)),
}

FILES = {
    "empty": Case(b"", ("empty",)),
    "header only": Case(HEADER.encode(), ("rows",)),
    "header and a line end": Case(HEADER.encode() + b"\r\n", ("rows",)),
    "header and blank lines": Case(HEADER.encode() + b"\n\n\n\n", ("rows",)),
    "byte order mark only": Case(b"\xef\xbb\xbf", ()),
    "byte order mark and blank lines": Case(b"\xef\xbb\xbf\n\n", ()),
    "blank lines": Case(b"\n\r\n\n", ("blank",)),
    "blanks": Case(b"   \n  \n", ()),
    "half of a packed file": Case(PACKED[: len(PACKED) // 2], ("damaged",), file="data.csv.gz"),
    "a packed file's first bytes": Case(PACKED[:5], ("damaged",), file="data.csv.gz"),
    "a packed file with wrong bytes": Case(
        PACKED[:20] + bytes(12) + PACKED[32:], ("damaged",), file="data.csv.gz"
    ),
    "a packed file with a wrong checksum": Case(
        PACKED[:-8] + bytes(8), ("damaged",), file="data.csv.gz"
    ),
    "a packed file without its end": Case(PACKED[:-4], ("damaged",), file="data.csv.gz"),
    "junk behind a packed file": Case(PACKED + b"junk", ("damaged",), file="data.csv.gz"),
    "nothing, packed": Case(gzip.compress(b""), (), file="data.csv.gz"),
    "packed twice": Case(gzip.compress(PACKED), (), file="data.csv.gz"),
    "half of a packed file named csv": Case(PACKED[:60], ("damaged",)),
    "CSV named gz": Case(GOOD, ("gz",), file="data.csv.gz"),
    "an archive named csv": Case(b"PK\x03\x04" + NONSENSE, ()),
    "a bzip2 file": Case(b"BZh91AY&SY" + NONSENSE, (), file="data.csv.bz2"),
    "a picture": Case(NONSENSE, ()),
    "JSON": Case(b'[{"x": 1, "label": "a"}]\n' * 30, (), file="data.json"),
    "a page": Case(b"<!DOCTYPE html>\n<html><body>Log in, please</body></html>\n", ()),
}

PARQUET = {
    "empty Parquet": Case(b"", ("empty",), file="data.parquet"),
    "CSV named parquet": Case(GOOD, ("Parquet",), file="data.parquet"),
    "Parquet's first four bytes": Case(b"PAR1", ("Parquet",)),
    "half of a Parquet file": Case(GOOD_PARQUET[:300], ("Parquet",), file="data.parquet"),
    "Parquet with a damaged end": Case(
        GOOD_PARQUET[:-200] + bytes(100) + GOOD_PARQUET[-100:], (), file="data.parquet"
    ),
    "Parquet with damaged pages": Case(
        GOOD_PARQUET[:4] + b"\xff" * 150 + GOOD_PARQUET[154:], (), file="data.parquet"
    ),
    "Parquet with lists": Case(arrow(y=pa.array([[1, 2]] * N_ROWS)), ("'y'",), file="data.parquet"),
    "Parquet with structs": Case(
        arrow(y=pa.array([{"a": 1}] * N_ROWS)), ("'y'",), file="data.parquet"
    ),
    "Parquet with a list for a target": Case(
        arrow(label=pa.array([[1], [2]] * (N_ROWS // 2))), ("'label'",), file="data.parquet"
    ),
    "Parquet with bytes": Case(
        arrow(y=pa.array([b"\xff\x00"] * N_ROWS)), ("'y'",), file="data.parquet"
    ),
    "Parquet without rows": Case(
        parquet(pa.table({"x": pa.array([], pa.int64()), "label": pa.array([], pa.string())})),
        ("rows",),
        file="data.parquet",
    ),
    "Parquet without columns": Case(parquet(pa.table({})), ("column",), file="data.parquet"),
    "Parquet with a name that stands twice": Case(
        parquet(
            pa.table([pa.array(SMALL), pa.array(SMALL), pa.array(LABELS)], ["x", "x", "label"])
        ),
        ("'x'", "twice"),
        file="data.parquet",
    ),
    "Parquet with an empty name": Case(arrow(**{"": pa.array(SMALL)}), ("column 4",), file="d.pq"),
    "Parquet with an infinity": Case(
        arrow(y=pa.array([*NUMBERS[:-1], np.inf])), ("'y'", f"row {N_ROWS}"), file="data.parquet"
    ),
    "Parquet of nulls": Case(
        parquet(pa.table({"x": pa.nulls(N_ROWS), "label": pa.array(LABELS)})),
        ("feature",),
        file="data.parquet",
    ),
    "Parquet with a target of nulls": Case(
        arrow(label=pa.nulls(N_ROWS)), ("'label'",), file="data.parquet"
    ),
}

ENCODINGS = {
    "UTF-16": Case(GOOD.decode().encode("utf-16"), ("--encoding", "utf-16")),
    "UTF-16, big end first": Case(b"\xfe\xff" + GOOD.decode().encode("utf-16-be"), ("--encoding",)),
    "UTF-16 without a mark": Case(GOOD.decode().encode("utf-16-le"), ("row 1",)),
    "UTF-32": Case(GOOD.decode().encode("utf-32"), ()),
    "Latin-1": Case(UMLAUTS.encode("latin-1"), ("row 5", "--encoding", "latin-1")),
    "Latin-1 in the header": Case(
        table(header="größe,y,label").decode().encode("latin-1"), ("row 1", "--encoding")
    ),
    "Latin-1 in the last row": Case(
        table({N_ROWS + 1: "1,2,jäh"}).decode().encode("latin-1"), (f"row {N_ROWS + 1}",)
    ),
    "Latin-1 behind blank lines": Case(
        table({3: "\n", 6: "1,2,jäh"}).decode().encode("latin-1"), ("--encoding", "latin-1")
    ),
    "Latin-1, packed": Case(
        gzip.compress(UMLAUTS.encode("latin-1")), ("row 5", "--encoding"), file="data.csv.gz"
    ),
    "half a character at the end": Case(GOOD + b"1,2,\xc3", ("row 42", "--encoding")),
    "half of a surrogate pair": Case(GOOD + b"1,2,\xed\xa0\x80\n", ("row 42", "--encoding")),
    "UTF-8 read as ASCII": Case(UMLAUTS.encode(), ("row 5", "ascii"), {"encoding": "ascii"}),
    "UTF-8 read as UTF-16": Case(GOOD, ("utf-16",), {"encoding": "utf-16"}),
    "UTF-8 read as UTF-32": Case(GOOD, ("utf-32",), {"encoding": "utf-32"}),
    "NUL in a cell": Case(with_number("1\0"), ("row 9", "NUL")),
    "NUL in the header": Case(table(header="x,y\0,label"), ("row 1", "NUL")),
    "NUL behind the last row": Case(GOOD + b"\0\0\0\0", ("NUL",)),
    "NUL only": Case(bytes(500), ("NUL",)),
    "NUL in quotes": Case(table({4: '1,"2\0",yes'}), ("row 4", "NUL")),
}

RAGGED = {
    "short first row": Case(table({2: "1,2"}), ("row 2", "2 cells", "3 columns")),
    "short row": Case(table({20: "1,2"}), ("row 20", "2 cells", "3 columns")),
    "short last row": Case(table({41: "1,2"}), ("row 41", "2 cells")),
    "short last row without a line end": Case(GOOD + b"1,2", ("row 42", "2 cells")),
    "a single cell": Case(table({20: "1"}), ("row 20",)),
    "long first row": Case(table({2: "1,2,yes,4"}), ("row 2", "4 cells", "3 columns")),
    "long row": Case(table({20: "1,2,yes,4,5"}), ("row 20", "5 cells")),
    "long last row": Case(table({41: "1,2,yes,"}), ("row 41", "4 cells")),
    "all rows longer than the header": Case(
        table(dict.fromkeys(range(2, 42), "1,2,yes,4")), ("row 2", "4 cells", "3 columns")
    ),
    "a separator behind each row": Case(
        GOOD.replace(b"\n", b",\n").replace(b"label,", b"label"), ("row 2", "4 cells")
    ),
    "all rows shorter than the header": Case(table(header="x,y,label,z"), ("row 2", "3 cells")),
    "a row of another length behind quoted line ends": Case(
        table({3: '"1",2,"ye\ns"', 5: "1,2"}), ("row 5", "2 cells")
    ),
    "a row of another length behind blank lines": Case(
        table({3: "\n\n", 4: "1,2"}), ("row 6", "2 cells")
    ),
    "a long row with Windows line ends": Case(table({7: "1,2,3,4"}, end="\r\n"), ("row 7",)),
    "a long row with old Macintosh line ends": Case(table({7: "1,2,3,4"}, end="\r"), ("row 7",)),
    "a long row, packed": Case(
        gzip.compress(table({7: "1,2,3,4"})), ("row 7",), file="data.csv.gz"
    ),
    "a total below the table": Case(GOOD + b"\nTotal: 40\n", ("row 43",)),
    "an unquoted decimal comma": Case(table({30: "1,2,5,yes"}), ("row 30", "4 cells")),
    "semicolons": Case(table({8: "1;2"}).replace(b",", b";"), ("row 8", "';'")),
    "tabs": Case(table({8: "1,2,3,4"}).replace(b",", b"\t"), ("row 8",)),
    "a quote that is not closed": Case(table({12: '1,2,"yes'}), ("row 12", "quote")),
    "a quote in the first row that is not closed": Case(table({2: '"1,2,yes'}), ("row 2", "quote")),
    "a quote in the last row that is not closed": Case(GOOD + b'1,2,"yes\n', ("row 42", "quote")),
    "a quote in the header that is not closed": Case(
        table(header='x,"y,label'), ("row 1", "quote")
    ),
    "a quote before a long rest that is not closed": Case(
        table({3: '1,2,"yes'}, n=30_000), ("row 3", "quote")
    ),
    "text behind a closing quote": Case(table({6: '1,"2"3,yes'}), ("row 6", "quote")),
    "a long row far below": Case(table({29_999: "1,2,3,4"}, n=30_000), ("row 29999", "4 cells")),
    "the wrong separator": Case(GOOD, ("--sep", "';'"), {"sep": ";"}),
    "the other separator": Case(GOOD.replace(b",", b";"), ("--sep", "','"), {"sep": ","}),
}

NUMBERS_OUT = {
    "inf": Case(with_number("inf"), ("'y'", "row 9", "inf")),
    "Infinity": Case(with_number("Infinity"), ("'y'", "row 9")),
    "-Infinity": Case(with_number("-Infinity"), ("'y'", "row 9")),
    "+inf in the last row": Case(with_number("+inf", 41), ("'y'", "row 41")),
    "1e999": Case(with_number("1e999"), ("'y'", "row 9")),
    "-1e999": Case(with_number("-1e999"), ("'y'", "row 9")),
    "too large for float32": Case(with_number("1e39"), ("'y'", "row 9")),
    "whose square is infinite": Case(with_number("-1e300"), ("'y'", "row 9")),
    "an infinity behind blank lines": Case(table({3: "\n", 9: "1,inf,yes"}), ("'y'", "row 10")),
    "an infinity behind quoted line ends": Case(
        table({3: '1,2,"ye\ns"', 4: '1,2,"ye\ns"', 9: "1,inf,yes"}), ("'y'", "row 9")
    ),
    "an infinity with a decimal comma": Case(
        table({9: "1,-inf,yes"}).replace(b",", b";").replace(b".", b","), ("'y'", "row 9")
    ),
    "an infinity far below": Case(table({29_999: "1,inf,yes"}, n=30_000), ("'y'", "row 29999")),
}

TARGETS = {
    "unknown": Case(GOOD, ("'lable'", "did you mean", "'label'", "target"), {"target": "lable"}),
    "of another case": Case(GOOD, ("'Label'", "'label'"), {"target": "Label"}),
    "unknown, of two lines": Case(GOOD, ("'label'",), {"target": "la\nbel"}),
    "unknown among many columns": Case(
        columns(**{f"column {k}": SMALL for k in range(3000)}),
        ("'column 77'",),
        {"target": "column 7_7"},
    ),
    "unknown, near a name that moves the cursor": Case(
        table(header="x,y,\x1b[2Jlabel"), ("label",), {"target": "label"}
    ),
    "not given": Case(GOOD, ("--target", "x", "y", "label"), {"target": None}),
    "empty": Case(GOOD, ("target",), {"target": ""}),
    "one class": Case(columns(x=SMALL, label="yes"), ("'label'", "'yes'", "two classes")),
    "one class beside gaps": Case(
        columns(x=SMALL, label=["yes", ""] * 20), ("'label'", "two classes")
    ),
    "one class, of numbers": Case(
        columns(x=SMALL, label="1"), ("'label'", "1"), {"task": "classification"}
    ),
    "constant": Case(columns(x=SMALL, label="2.5"), ("'label'", "2.5"), {"task": "regression"}),
    "constant but for rounding": Case(
        columns(x=SMALL, label=[0.1, 0.1 + 2e-17, 0.30000000000000004 - 0.2] * 13 + [0.1]),
        ("'label'",),
        {"task": "regression"},
    ),
    "constant, task not given": Case(columns(x=SMALL, label="2.5"), ("'label'",)),
    "missing": Case(columns(x=SMALL, label=""), ("'label'",)),
    "missing, regression": Case(columns(x=SMALL, label=""), ("'label'",), {"task": "regression"}),
    "missing but for one": Case(columns(x=SMALL, label=["yes"] + [""] * 39), ("'label'",)),
    "infinite": Case(with_number("inf"), ("'y'", "row 9"), REGRESSION),
    "infinite, task not given": Case(
        columns(x=SMALL, label=[*NUMBERS[:-1], "-inf"]), ("'label'", "row 41")
    ),
    "too large": Case(with_number("1e999"), ("'y'", "row 9"), REGRESSION),
    "too large for float32": Case(with_number("1e39"), ("'y'", "row 9"), REGRESSION),
    "text, regression": Case(GOOD, ("'label'", "row 2", "'no'"), {"task": "regression"}),
    "one text among numbers, regression": Case(
        with_number("n/k"), ("'y'", "row 9", "'n/k'"), REGRESSION
    ),
    "a class in every row": Case(
        columns(x=SMALL, label=[f"id{k}" for k in range(40)]), ("'label'",)
    ),
    "more classes than are held out": Case(
        columns(x=SMALL, label=[f"c{k // 2}" for k in range(40)]), ("'label'", "--test-size")
    ),
    "a second class with one member": Case(
        columns(x=SMALL, label=["no"] + ["yes"] * 39), ("'label'", "'yes'", "two classes")
    ),
    "one row": Case(table(n=1), ("row",)),
    "two rows": Case(table(n=2), ("row",)),
    "three rows": Case(table(n=3), ("row",)),
    "one row, regression": Case(table(n=1), ("row",), REGRESSION),
    "two rows, regression": Case(table(n=2), ("row",), REGRESSION),
    "nearly all is held out": Case(GOOD, ("--test-size",), {"test_size": 0.99}),
    "nearly nothing is held out": Case(GOOD, ("--test-size",), {"test_size": 1e-6}),
}

FEATURES = {
    "unknown": Case(GOOD, ("'X'", "'x'", "features"), {"features": ["X", "y"]}),
    "unknown drop": Case(GOOD, ("'z'", "drop"), {"drop": ["z"]}),
    "all dropped": Case(GOOD, ("feature",), {"drop": ["x", "y"]}),
    "asked for and dropped": Case(GOOD, ("feature",), {"features": ["x"], "drop": ["x"]}),
    "constant": Case(columns(x="1", y="a", label=LABELS), ("feature",)),
    "identifiers": Case(
        columns(x=[f"person {k}" for k in range(40)], label=LABELS), ("features", "identifier")
    ),
    "missing": Case(columns(x="", y="NA", label=LABELS), ("feature",)),
    "missing by --na-values": Case(
        columns(x=["0", "1"] * 20, label=LABELS), ("feature",), {"na_values": ["0", "1"]}
    ),
    "a gap that is an error": Case(
        with_number(""), ("'y'", "row 9", "--missing"), {"missing": "error"}
    ),
    "a named gap that is an error": Case(
        with_number("NA"), ("'y'", "row 9", "--missing"), {"missing": "error"}
    ),
    "the last gap that is an error": Case(
        columns(x=[*SMALL[:-1], ""], y=LABELS, label=LABELS), ("'x'", "row 41"),
        {"missing": "error"},
    ),
    "a gap in every row": Case(
        columns(x=GAPPY, y=["", *GAPPY[:-1]], label=LABELS), ("--missing",),
        {"missing": "drop"},
    ),
    "gaps in all but one class": Case(
        columns(x=GAPPY, y=SMALL, label=LABELS), ("'label'",), {"missing": "drop"}
    ),
    "gaps that leave two rows": Case(
        columns(x=["1", "2"] + [""] * 38, label=LABELS), ("row",), {"missing": "drop"}
    ),
}  # fmt: skip

GROUPS = {
    "names": NAMES,
    "file": FILES,
    "Parquet": PARQUET,
    "encoding": ENCODINGS,
    "rows": RAGGED,
    "number": NUMBERS_OUT,
    "target": TARGETS,
    "features": FEATURES,
}
CASES = {
    f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()
}

# Options that make no sense for any table, and what the message must hold
OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "task": ({"task": "classify"}, "classification"),
    "task of another case": ({"task": "Regression"}, "regression"),
    "missing": ({"missing": "mean"}, "most_frequent"),
    "missing as None": ({"missing": None}, "median"),
    "test size of 0": ({"test_size": 0}, "test_size"),
    "test size of 1": ({"test_size": 1}, "test_size"),
    "test size of 1.5": ({"test_size": 1.5}, "test_size"),
    "test size below 0": ({"test_size": -0.2}, "test_size"),
    "test size of nan": ({"test_size": float("nan")}, "test_size"),
    "test size of inf": ({"test_size": float("inf")}, "test_size"),
    "test size as text": ({"test_size": "0.2"}, "test_size"),
    "test size of True": ({"test_size": True}, "test_size"),
    "test size of None": ({"test_size": None}, "test_size"),
    "separator of two characters": ({"sep": ",,"}, "sep"),
    "separator of a regular expression": ({"sep": r"\s+"}, "sep"),
    "separator of none": ({"sep": ""}, "sep"),
    "separator that is a quote": ({"sep": '"'}, "sep"),
    "separator that ends lines": ({"sep": "\n"}, "sep"),
    "separator beyond ASCII": ({"sep": "§"}, "sep"),
    "separator that is a number": ({"sep": 5}, "sep"),
    "separator that is a digit": ({"sep": "5"}, "sep"),
    "separator that is NUL": ({"sep": "\0"}, "sep"),
    "decimal of another character": ({"decimal": ";"}, "decimal"),
    "decimal of two characters": ({"decimal": ",,"}, "decimal"),
    "decimal of none": ({"decimal": ""}, "decimal"),
    "decimal that is the separator": ({"decimal": ",", "sep": ","}, "decimal"),
    "decimal that is the separator found out": ({"decimal": ","}, "decimal"),
    "unknown encoding": ({"encoding": "utf-9"}, "utf-9"),
    "encoding that is none of text": ({"encoding": "base64"}, "base64"),
    "encoding of texts to texts": ({"encoding": "rot13"}, "rot13"),
    "encoding that always fails": ({"encoding": "undefined"}, "undefined"),
    "encoding that is a number": ({"encoding": 8}, "encoding"),
    "encoding with NUL": ({"encoding": "utf-8\0"}, "encoding"),
    "empty encoding": ({"encoding": ""}, "encoding"),
    "gaps as one text": ({"na_values": "NA"}, "na_values"),
    "gaps as a number": ({"na_values": 9}, "na_values"),
    "features as one text": ({"features": "x"}, "features"),
    "no features": ({"features": []}, "features"),
    "features as a number": ({"features": 1}, "features"),
    "drop as one text": ({"drop": "x"}, "drop"),
    "drop as None": ({"drop": None}, "drop"),
    "drop of the target": ({"drop": ["x", "label"]}, "'label'"),
    "features with the target": ({"features": ["x", "label"]}, "'label'"),
    "target as a list": ({"target": ["label"]}, "target"),
    "target as a number": ({"target": 2}, "target"),
    "name with a slash": ({"name": "../there"}, "name"),
    "name of dots": ({"name": ".."}, "name"),
    "empty name": ({"name": ""}, "name"),
}

FRAMES: dict[str, tuple[pd.DataFrame, tuple[str, ...]]] = {
    "a name stands twice": (frame().set_axis(["x", "x", "label"], axis=1), ("'x'", "twice")),
    "a name as number and as text": (frame().set_axis([1, "1", "label"], axis=1), ("'1'",)),
    "an empty name": (frame().set_axis(["", "y", "label"], axis=1), ("column 1",)),
    "no rows": (frame().iloc[:0], ("row",)),
    "no columns": (pd.DataFrame(), ("column",)),
    "no rows and columns of no type": (pd.DataFrame(columns=["x", "label"]), ("row",)),
    "the target alone": (frame()[["label"]], ("column",)),
    "lists": (frame(y=[[1, 2]] * N_ROWS), ("'y'",)),
    "lists beside numbers": (frame(y=[1, [2]] * (N_ROWS // 2)), ("'y'",)),
    "dicts": (frame(y=[{"a": 1}] * N_ROWS), ("'y'",)),
    "sets": (frame(y=[{1}] * N_ROWS), ("'y'",)),
    "arrays": (frame(y=[np.zeros(2)] * N_ROWS), ("'y'",)),
    "objects": (frame(y=[object()] * N_ROWS), ("'y'",)),
    "complex numbers": (frame(y=np.arange(N_ROWS) * 1j), ("'y'",)),
    "bytes": (frame(y=[b"a", b"b"] * (N_ROWS // 2)), ("'y'",)),
    "lists for a target": (frame(label=[[1], [2]] * (N_ROWS // 2)), ("'label'",)),
    "an infinity": (frame(y=[*NUMBERS[:-1], np.inf]), ("'y'", f"row {N_ROWS}")),
    "an infinity among objects": (
        frame(y=pd.Series([*NUMBERS[:-1], -np.inf], dtype=object)), ("'y'", f"row {N_ROWS}"),
    ),
    "a number too large for a float": (
        frame(y=pd.Series([*SMALL[:-1], 10**400], dtype=object)), ("'y'",),
    ),
    "half a surrogate pair": (
        frame(y=pd.Series(["a", "b\ud800"] * (N_ROWS // 2), dtype=object)), ("'y'",),
    ),
    "one class": (frame(label="yes"), ("'label'", "two classes")),
    "gaps for a target": (frame(label=None), ("'label'",)),
    "a categorical target with one class used": (
        frame(label=pd.Categorical(["a"] * N_ROWS, ["a", "b"])), ("'label'", "two classes"),
    ),
}  # fmt: skip


def refusal(source: Any, **options: Any) -> str:
    """Return the message with which a table is refused: one line, printable, not too long."""
    with pytest.raises(InputError) as refused:
        load_table(source, TableOptions(**{"target": "label", **options}))
    message = str(refused.value)
    assert message
    assert message.isprintable(), "more than one line, or characters that move the cursor"
    assert len(message) <= LONGEST
    assert WAY_OUT.search(message), f"no way out: {message}"
    return message


@pytest.mark.parametrize("name", CASES)
def test_file_is_refused(name: str, tmp_path: Path) -> None:
    """A malformed file is refused with a message that names the file, the place, the way out."""
    case = CASES[name]
    path = tmp_path / case.file
    path.write_bytes(case.content)
    message = refusal(path, **case.options)
    assert case.file in message
    for word in case.words:
        assert re.search(rf"(?<!\w){re.escape(word)}(?!\d)", message), f"{word!r} in: {message}"


@pytest.mark.parametrize("name", OPTIONS)
def test_option_is_refused(name: str, tmp_path: Path) -> None:
    """An option that makes no sense is refused with its name, or with what would make sense."""
    options, word = OPTIONS[name]
    path = tmp_path / "data.csv"
    path.write_bytes(GOOD)
    assert word in refusal(path, **options)


@pytest.mark.parametrize("name", FRAMES)
def test_frame_is_refused(name: str) -> None:
    """A malformed data frame is refused with its column, and its row counted from 1."""
    source, words = FRAMES[name]
    message = refusal(source)
    assert "data frame" in message
    for word in words:
        assert word in message


def test_enough_kinds_of_malformed_input() -> None:
    """The tests hold at least a hundred malformed files, beside options and data frames."""
    assert len(CASES) >= 100
    assert len({(case.content, str(case.options), case.file) for case in CASES.values()}) == len(
        CASES
    )


def test_the_unharmed_table_is_read(tmp_path: Path) -> None:
    """What the malformed files are made of is a table: they are refused for what was done to it."""
    for name, content in {
        "data.csv": GOOD,
        "data.csv.gz": PACKED,
        "data.parquet": GOOD_PARQUET,
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        check(load_table(path, TableOptions(target="label")))
    check(load_table(frame(), TableOptions(target="label")))


@pytest.mark.parametrize(
    ("name", "content"),
    {
        "packed, but not named so": PACKED,
        "packed in two parts": gzip.compress(GOOD[:100]) + gzip.compress(GOOD[100:]),
        "byte order mark": b"\xef\xbb\xbf" + GOOD,
        "Windows line ends": table(end="\r\n"),
        "old Macintosh line ends": table(end="\r"),
        "mixed line ends": GOOD.replace(b"\n", b"\r\n", 20),
        "no line end behind the last row": GOOD[:-1],
        "blank lines between rows and around": b"\n\n" + table({3: "\n1,2,yes\n", 42: "\n\n"}),
        "quotes around all": re.sub(rb"([^,\n]+)", rb'"\1"', GOOD),
        "quoted separators, quotes and line ends": table(
            dict.fromkeys((4, 5), '1,2,"y,""e""\ns"')
        ),
        "a quote within an unquoted cell": table(dict.fromkeys((4, 5), '1,2,5" disk')),
        "blanks around names": table(header=" x ,\ty , label "),
        "a row of gaps": table({7: ",,"}),
    }.items(),
)  # fmt: skip
def test_unusual_but_sound(name: str, content: bytes, tmp_path: Path) -> None:
    """What looks odd and is a table all the same is read, with every row."""
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    problem = load_table(path, TableOptions(target="label"))
    check(problem)
    assert problem.table is not None
    assert problem.table.n_rows in (N_ROWS, N_ROWS + 1), name


def test_a_number_can_mark_a_gap(tmp_path: Path) -> None:
    """`na_values` marks gaps in columns of numbers too: -999 is none of their values."""
    path = tmp_path / "data.csv"
    path.write_bytes(table(dict.fromkeys((5, 9, 20), "-999,2,yes")))
    problem = load_table(path, TableOptions(target="label", na_values=["-999"]))
    assert problem.table is not None
    assert next(c for c in problem.table.columns if c.name == "x").n_missing == 3


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    """A path that does not exist is answered with the file that it may have meant."""
    (tmp_path / "penguins.csv").write_bytes(GOOD)
    message = refusal(tmp_path / "pengiuns.csv")
    assert "pengiuns.csv" in message
    assert "penguins.csv" in message


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    """Folders, dead links, files taken for folders and impossible names are refused by name."""
    (tmp_path / "data.csv").write_bytes(GOOD)
    (tmp_path / "dead.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "folder.parquet").mkdir()
    for path in (
        tmp_path,
        tmp_path / "folder.parquet",
        tmp_path / "dead.csv",
        tmp_path / "loop.csv",
        tmp_path / "data.csv" / "more.csv",
    ):
        assert path.name in refusal(path)
        assert path.name in refusal(str(path))
    refusal("a\0b.csv")
    refusal("line\nbreak.csv")
    refusal("")
    refusal(tmp_path / ("x" * 5000 + ".csv"))


@contextmanager
def seconds_at_most(seconds: float) -> Iterator[None]:
    """Fail where something hangs."""

    def fail(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipe_is_refused(tmp_path: Path) -> None:
    """A pipe, which cannot be read twice, is refused at once and not waited for."""
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    with seconds_at_most(5):
        assert "pipe.csv" in refusal(path)


@pytest.mark.skipif(not Path("/dev/zero").is_char_device(), reason="there is no /dev/zero here")
def test_device_is_refused() -> None:
    """A device without an end is refused, not read."""
    with seconds_at_most(5):
        assert "/dev/zero" in refusal("/dev/zero")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="there is no such file here")
def test_file_that_fails_when_read_is_refused() -> None:
    """A file that can be opened and not read is refused with its name."""
    assert "/proc/self/mem" in refusal("/proc/self/mem")


def test_names_stay_on_one_line(tmp_path: Path) -> None:
    """A file's name with a line break does not break the message."""
    path = tmp_path / "my\ndata.csv"
    path.write_bytes(table({5: "1"}))
    refusal(path)


COMMANDS = {
    "ragged row": (table({20: "1,2"}), "--target label", "row 20"),
    "unknown target": (GOOD, "--target lable", "'label'"),
    "no target": (GOOD, "", "--target"),
    "empty": (b"", "--target label", "empty"),
    "infinity": (with_number("inf"), "--target label", "row 9"),
    "one class": (columns(x=SMALL, label="yes"), "--target label", "two classes"),
    "Latin-1": (UMLAUTS.encode("latin-1"), "--target label", "--encoding"),
    "wrong task": (GOOD, "--target label --task guess", "classification"),
    "wrong test size": (GOOD, "--target label --test-size 1.5", "test_size"),
    "test size that is no number": (GOOD, "--target label --test-size x", "--test-size"),
    "wrong separator": (GOOD, "--target label --sep ,,", "sep"),
    "unknown feature": (GOOD, "--target label --features x,w", "'w'"),
    "gap": (with_number("?"), "--target label --missing error", "row 9"),
    "dry run": (table({20: "1,2"}), "--target label --dry-run", "row 20"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_ends_with_2_and_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints the one line, ends with 2, and writes nothing anywhere."""
    content, line, word = COMMANDS[name]
    (tmp_path / "data.csv").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert cli.run(["study", "data.csv", *line.split()]) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.startswith("batchbench: ")
    assert told.count("\n") == 1
    assert word in told
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def check(problem: Problem) -> None:
    """Refuse a problem that cannot be trained on."""
    kind = np.int64 if problem.network.is_classifier else np.float32
    n_features = len(problem.feature_names)
    assert n_features
    assert len(set(problem.feature_names)) == n_features
    for X, y in ((problem.X_train, problem.y_train), (problem.X_test, problem.y_test)):
        assert len(X)
        assert X.shape == (len(y), n_features)
        assert (X.dtype, y.dtype) == (np.float32, kind)
        assert np.isfinite(X).all()
        assert np.isfinite(y).all()
    if problem.network.is_classifier:
        present = np.unique(problem.y_train)
        np.testing.assert_array_equal(present, np.arange(len(problem.class_names)))
        assert len(problem.class_names) >= 2
    else:
        assert problem.y_train.std() > 0


def read_or_refuse(source: Any, **options: Any) -> None:
    """Read a table or refuse it in one line; whatever else happens is an error of ours."""
    try:
        problem = load_table(source, TableOptions(**{"target": "label", **options}))
    except InputError as error:
        message = str(error)
    else:
        check(problem)
        return
    assert message.isprintable()
    assert len(message) <= LONGEST


GENERATED = settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Pieces of which hostile files are made: what parsers, type guessing and arithmetic trip over
PIECES = (
    "x", "label", "1", "-2.5", "1e5", "1e308", "-1e308", "5e-324", "inf", "nan", "NA", "", " ", "'",
    '"', '""', ",", ";", "\t", "|", "\n", "\r", "\r\n", "\0", "1,5", "1.000,5", "1,000.5", "True",
    "no", "01", "2020-02-30", "2020-02-29", "31/12/1999", "0001-01-01", "9999-12-31T23:59:59Z",
    "é", "\U0001f600", "\ufeff", "\x1b[2J", "=1+1", "$x$", "{{x}}", "<b>", "9" * 30, "0x1f",
    "1_000", "١٢", "½", "-", "--", "+", "e", "1e", ".", "-.5", "5.", "2147483648", "1e-400",
)  # fmt: skip
CELLS = [piece for piece in PIECES if not set(piece) & set(',"\n\r\0\t;|')]


@GENERATED
@given(
    content=st.binary(max_size=300),
    start=st.sampled_from([b"", b"x,label\n", b"PAR1", b"\x1f\x8b"]),
)
@example(content=b"\n1,yes\n2,no\n", start=b"x,label\n")
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, start: bytes) -> None:
    """Whatever a file holds, it becomes a sound problem or one line."""
    path = tmp_path / "data"
    path.write_bytes(start + content)
    read_or_refuse(path)


@GENERATED
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=60), options=st.fixed_dictionaries(
    {}, optional={"sep": st.sampled_from(",;\t|"), "decimal": st.sampled_from(".,")},
))  # fmt: skip
def test_any_pieces_are_read_or_refused(
    tmp_path: Path, pieces: list[str], options: dict[str, str]
) -> None:
    """Separators, quotes and line ends in any order become a sound problem or one line."""
    path = tmp_path / "data.csv"
    text = "x,y,label\n" + "".join(pieces)
    path.write_bytes(text.encode())
    if options.get("sep", ";") != options.get("decimal", "."):
        read_or_refuse(path, **options)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Draw a table of texts of which many cells are hostile and the target has few classes."""
    n = draw(st.integers(1, 40))
    made = {}
    for name in draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)):
        few = draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4))
        made[name] = draw(st.lists(st.sampled_from(few), min_size=n, max_size=n))
    few = draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=3))
    made["label"] = [few[k % len(few)] for k in range(n)]
    return pd.DataFrame(made)


@GENERATED
@given(
    data=tables(),
    missing=st.sampled_from(["median", "most_frequent", "drop", "error"]),
    task=st.sampled_from([None, "classification", "regression"]),
    test_size=st.sampled_from([0.2, 0.5, 0.01, 0.95]),
)
def test_any_table_is_read_or_refused(
    tmp_path: Path, data: pd.DataFrame, missing: str, task: str | None, test_size: float
) -> None:
    """Odd numbers, dates, gaps and classes, however handled, become a sound problem or one line."""
    path = tmp_path / "data.csv"
    data.to_csv(path, index=False)
    read_or_refuse(path, missing=missing, task=task, test_size=test_size)
    read_or_refuse(data, missing=missing, task=task, test_size=test_size)


@GENERATED
@given(
    values=st.lists(st.floats(width=64), min_size=1, max_size=30),
    target=st.sampled_from(["label", "y"]),
    task=st.sampled_from([None, "classification", "regression"]),
)
def test_any_numbers_are_read_or_refused(
    values: list[float], target: str, task: str | None
) -> None:
    """Numbers of any size, in features or in the target, become finite float32 or one line."""
    n = max(len(values), 10)
    labels = [f"c{k % 2}" for k in range(n)]
    numbers = (values * n)[:n]
    data = pd.DataFrame({"x": numbers, "y": numbers[::-1], "label": labels})
    read_or_refuse(data, target=target, task=task)


ODD_COLUMNS: dict[str, Any] = {
    "dates": pd.date_range("2020-01-01", periods=N_ROWS),
    "dates with a zone": pd.date_range("2020-01-01", periods=N_ROWS, tz="Europe/Berlin"),
    "no dates": [pd.NaT] * N_ROWS,
    "spans": [timedelta(days=k) for k in range(N_ROWS)],
    "periods": pd.period_range("2020-01", periods=N_ROWS, freq="M"),
    "intervals": pd.interval_range(0, N_ROWS),
    "categories": pd.Categorical(LABELS, ["yes", "no", "never"]),
    "categories of numbers": pd.Categorical(SMALL),
    "booleans with gaps": pd.array([True, None] * (N_ROWS // 2), dtype="boolean"),
    "whole numbers with gaps": pd.array([1, None] * (N_ROWS // 2), dtype="Int64"),
    "sparse numbers": pd.arrays.SparseArray(SMALL),
    "large whole numbers": [2**63 + k for k in range(N_ROWS)],
    "huge whole numbers": [10**25 + k for k in range(N_ROWS)],
    "float16": np.arange(N_ROWS, dtype=np.float16),
    "int8": np.arange(N_ROWS, dtype=np.int8),
    "numbers beside texts": [1, "a", None, 2.5] * (N_ROWS // 4),
    "True beside texts": [True, "a", None, 2.5] * (N_ROWS // 4),
    "times": [pd.Timestamp("2020-01-01 12:00").time()] * N_ROWS,
    "None": [None] * N_ROWS,
    "texts of Arrow": pd.array(LABELS, dtype="string[pyarrow]"),
    "bytes": [b"a"] * N_ROWS,
}


@pytest.mark.parametrize("target", ["label", "y"])
@pytest.mark.parametrize("name", ODD_COLUMNS)
def test_any_type_of_a_frame_is_read_or_refused(name: str, target: str) -> None:
    """Columns of every type that pandas has, feature or target, become numbers or one line."""
    read_or_refuse(frame(y=ODD_COLUMNS[name]), target=target)


def test_columns_named_by_numbers_are_read() -> None:
    """A data frame made from an array, with columns 0, 1, 2, is a table like any other."""
    check(load_table(frame().set_axis([0, 1, 2], axis=1), TableOptions(target="2")))
