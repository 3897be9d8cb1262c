"""Tables are read as they were written: separators, marks in numbers, encodings, quotes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.errors import InputError
from bench.problems import Problem
from bench.problems.table import Column, Table, TableOptions, describe, load_table

N = 40
NUMBERS = [k * 7 % 11 - 2.5 for k in range(N)]
LARGE = [1000.0 * (k * 3 % 13) + 0.25 * k for k in range(N)]
LABELS = ["yes" if k % 3 else "no" for k in range(N)]


def numbers_of(problem: Problem, name: str) -> np.ndarray:
    """Return a column of numbers in its own unit, in ascending order."""
    table = table_of(problem)
    j = problem.feature_names.index(name)
    values = np.concatenate([problem.X_train[:, j], problem.X_test[:, j]])
    return np.sort(values * table.scale[j] + table.mean[j])


def table_of(problem: Problem) -> Table:
    """Return the table that a problem was made of."""
    assert problem.table is not None
    return problem.table


def column(problem: Problem, name: str) -> Column:
    """Return what became of a column."""
    return next(column for column in table_of(problem).columns if column.name == name)


def text(sep: str = ",", shown: Callable[[float], str] = str, end: str = "\n") -> str:
    """Return a table of two columns of numbers and a label."""
    rows = [("x", "large", "label")]
    rows += [(shown(x), shown(y), z) for x, y, z in zip(NUMBERS, LARGE, LABELS, strict=True)]
    return "".join(sep.join(row) + end for row in rows)


def comma(x: float) -> str:
    """Write a number with a decimal comma."""
    return str(x).replace(".", ",")


def load(folder: Path, content: str | bytes, name: str = "data.csv", **options: Any) -> Problem:
    """Write a file and load it; the target is the column "label" unless told."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_table(path, TableOptions(**{"target": "label", **options}))


FILES: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    "commas": (text(), {}),
    "semicolons": (text(";"), {}),
    "tabs": (text("\t"), {}),
    "bars": (text("|"), {}),
    "another separator, told": (text(":"), {"sep": ":"}),
    "decimal commas": (text(";", comma), {}),
    "decimal commas, told": (text("\t", comma), {"decimal": ","}),
    "decimal commas in quotes": (text(",", lambda x: f'"{comma(x)}"'), {}),
    "thousands by commas": (text(";", "{:,}".format), {}),
    "thousands by commas in quotes": (text(",", '"{:,}"'.format), {}),
    "thousands by points": (
        text(";", lambda x: f"{x:,}".translate(str.maketrans(",.", ".,"))), {},
    ),
    "byte order mark": (b"\xef\xbb\xbf" + text().encode(), {}),
    "Windows line ends": (text(end="\r\n"), {}),
    "Windows line ends behind decimal commas": (text(";", comma, end="\r\n"), {}),
    "no line end at the end": (text().rstrip("\n"), {}),
    "packed": (gzip.compress(text().encode()), {}),
    "packed, with mark, marks, ends": (
        gzip.compress(b"\xef\xbb\xbf" + text(";", comma, "\r\n").encode()), {},
    ),
    "UTF-16, told": (text().encode("utf-16"), {"encoding": "utf-16"}),
    "exponents": (text(shown="{:.17e}".format), {}),
    "signs": (text(shown="{:+}".format), {}),
    "blanks around cells": (text(shown=" {} ".format), {}),
    "quotes around cells": (text(shown='"{}"'.format), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_numbers_are_those_written(name: str, tmp_path: Path) -> None:
    """However numbers and rows are written, the same numbers and classes are read."""
    content, options = FILES[name]
    problem = load(tmp_path, content, **options)
    assert problem.feature_names == ("x", "large")
    np.testing.assert_allclose(numbers_of(problem, "x"), np.sort(NUMBERS), atol=1e-5)
    np.testing.assert_allclose(numbers_of(problem, "large"), np.sort(LARGE), atol=1e-3)
    assert problem.class_names == ("no", "yes")
    assert table_of(problem).n_rows == N


def test_reading_is_what_pandas_needs(tmp_path: Path) -> None:
    """The marks, separator and encoding that were found have pandas read the same numbers."""
    for k, (content, options) in enumerate(FILES.values()):
        reading = table_of(load(tmp_path, content, f"{k}.csv", **options)).reading
        frame = pd.read_csv(
            tmp_path / f"{k}.csv",
            compression="infer" if content[:2] != b"\x1f\x8b" else "gzip",
            skipinitialspace=True,
            **{n: getattr(reading, n) for n in ("sep", "decimal", "thousands", "encoding")},
        )
        np.testing.assert_allclose(frame[["x", "large"]], np.column_stack([NUMBERS, LARGE]))


def test_other_marks_are_told(tmp_path: Path) -> None:
    """Numbers with decimal commas or marked thousands are told so, in words and to --dry-run."""
    problem = load(tmp_path, FILES["decimal commas"][0])
    assert "decimal comma" in column(problem, "x").told
    assert "separator ';', decimal mark ','" in describe(problem)
    problem = load(tmp_path, FILES["thousands by points"][0])
    assert "thousands" in column(problem, "large").told
    assert table_of(problem).reading.thousands == "."


def test_ambiguous_thousands_are_told_with_the_way_out(tmp_path: Path) -> None:
    """1,234 is a thousand in a file of commas, 1.234 a decimal number elsewhere: or as told."""
    rows = [f"1,{k * 7 % 100:03d};{LABELS[k]}\n" for k in range(N)]
    content = "x;label\n" + "".join(rows)
    problem = load(tmp_path, content)
    assert numbers_of(problem, "x")[0] == pytest.approx(1.0, abs=1e-5)
    assert "--decimal ." in column(problem, "x").told
    problem = load(tmp_path, content, decimal=".")
    assert numbers_of(problem, "x")[0] == pytest.approx(1000.0, abs=1e-2)


def test_quoted_cells_hold_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    """A quoted cell is one cell, with the separators, quotes and line ends in it."""
    towns = ["Jena, Th.", 'the "Ulm"', "two\nlines"]
    rows = [
        f'{k},"{towns[k % 3]}",{LABELS[k]}'.replace('the "Ulm"', 'the ""Ulm""') for k in range(N)
    ]
    problem = load(tmp_path, "x,town,label\n" + "\n".join(rows), drop=["x"])
    assert table_of(problem).n_rows == N
    assert column(problem, "town").levels == tuple(sorted(towns))


def test_names_lose_blanks_around_them(tmp_path: Path) -> None:
    """Blanks around a column's name, and in front of its quotes, are none of it."""
    problem = load(tmp_path, text().replace("x,large,label", " x ,\tlarge, label "))
    assert [c.name for c in table_of(problem).columns] == ["x", "large", "label"]


def test_latin_1_is_hinted_at_and_read(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused with its row and the option that reads it."""
    content = text().replace("yes", "jäh").encode("latin-1")
    with pytest.raises(InputError, match=r"row 3: .*--encoding latin-1"):
        load(tmp_path, content)
    assert load(tmp_path, content, encoding="latin-1").class_names == ("jäh", "no")


def test_rows_are_named_as_a_user_counts(tmp_path: Path) -> None:
    """The header is row 1, a quoted line end ends no row, and blank lines count."""
    lines = text().splitlines()
    lines[1] = '0,1,"a\nb"'
    lines[2] = '0,1,"a\nb"'
    lines.insert(3, "")
    lines[10] = "inf,1,yes"
    with pytest.raises(InputError, match=r"column 'x', row 11: 'inf'"):
        load(tmp_path, "\n".join(lines))


FRAME = pd.DataFrame({"x": NUMBERS, "large": LARGE, "label": LABELS})


def test_parquet_and_frames_are_read_as_text_is(tmp_path: Path) -> None:
    """CSV, Parquet, Parquet under another name and data frames give the same bits."""
    FRAME.to_csv(tmp_path / "data.csv", index=False)
    FRAME.to_parquet(tmp_path / "data.parquet")
    (tmp_path / "data").write_bytes((tmp_path / "data.parquet").read_bytes())
    options = TableOptions(target="label")
    hashes = {
        load_table(source, options).content_hash()
        for source in (
            tmp_path / "data.csv",
            str(tmp_path / "data.parquet"),
            tmp_path / "data",
            FRAME,
        )
    }
    assert len(hashes) == 1


def typed_columns() -> dict[str, tuple[Any, str]]:
    """Return columns of types that pandas has, with the kind that each means."""
    k = np.arange(N)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(k % 9, "D")
    return {
        "float32": (np.float32(k % 5), "number"),
        "uint8": (np.uint8(k % 5), "number"),
        "Int64 with gaps": (pd.array(np.where(k % 9 == 4, None, k % 5), "Int64"), "number"),
        "bool": (k % 3 == 0, "boolean"),
        "boolean with gaps": (
            pd.array(np.where(k % 9 == 4, None, k % 2 == 0), "boolean"),
            "boolean",
        ),
        "datetime": (days, "date"),
        "datetime with a zone": (days.tz_localize("Europe/Berlin"), "date"),
        "date": (days.date, "date"),
        "text": (np.array(["a", "b", "c"])[k % 3], "category"),
        "text with gaps": (pd.Series(np.where(k % 4 == 3, None, "a"), dtype=object), "category"),
        "category": (pd.Categorical(np.array(["a", "b"])[k % 2], ["b", "a", "z"]), "category"),
        "objects": (pd.Series([1, "many"] * (N // 2), dtype=object), "category"),
        "numbers as objects": (pd.Series([1, 2.5] * (N // 2), dtype=object), "number"),
        "numbers as text": (pd.Series(["1", "2.5"] * (N // 2)), "number"),
    }


@pytest.mark.parametrize("name", typed_columns())
@pytest.mark.parametrize("form", ["frame", "parquet"])
def test_types_of_columns_mean_kinds(name: str, form: str, tmp_path: Path) -> None:
    """The type of a column of a data frame or a Parquet file tells what it holds."""
    values, kind = typed_columns()[name]
    frame = FRAME.assign(y=values)
    if form == "parquet":
        if name == "objects":
            pytest.skip("Parquet has no column of numbers and texts")
        frame.to_parquet(tmp_path / "data.parquet")
    source = frame if form == "frame" else tmp_path / "data.parquet"
    problem = load_table(source, TableOptions(target="label"))
    assert column(problem, "y").kind == kind
    assert column(problem, "y").n_missing == int(frame["y"].isna().sum())


def test_frames_may_have_any_index_and_numbers_for_names() -> None:
    """A data frame's index is no column, and names that are numbers are read as texts."""
    frame = FRAME.set_axis(["a"] * N, axis=0).set_axis([0, 1, 2], axis=1)
    problem = load_table(frame, TableOptions(target="2"))
    assert problem.feature_names == ("0", "1")
    assert problem.name == "table"
    assert problem.title == "A data frame, 40 rows x 3 columns"


def test_other_gap_marks_replace_the_usual_ones(tmp_path: Path) -> None:
    """With na_values these mark gaps, numbers too, and NA is a level like any other."""
    cells = [(-999 if k % 5 == 0 else k % 7, "NA" if k % 2 else "--") for k in range(N)]
    rows = [f"{x},{town},{label}\n" for (x, town), label in zip(cells, LABELS, strict=True)]
    problem = load(tmp_path, "x,town,label\n" + "".join(rows), na_values=["-999", "--"])
    assert column(problem, "x").n_missing == 8
    assert column(problem, "town").levels == ("NA", "missing")
    assert column(problem, "town").n_missing == N // 2
