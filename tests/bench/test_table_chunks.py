"""A table is understood as a whole: chunks leave no trace, and other rows are encoded alike."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

import bench.problems.table as package
from bench.errors import InputError
from bench.problems import Problem
from bench.problems.table import Table, TableOptions, load_table

N = 300
SIZES = {"CHUNK_BYTES": 400, "CHUNK_ROWS": 7}  # of some rows of the tables below


def in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files and data frames read by a few rows at a time."""
    patched = set()
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        for name, size in SIZES.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, size)
                patched.add(name)
    assert patched == set(SIZES)


def texts() -> pd.DataFrame:
    """Return columns whose kind shows late: in other chunks than the first ones."""
    rng = np.random.default_rng(1)
    k = np.arange(N)
    towns = rng.choice(["Ulm", "Bonn", "Jena, Th.", "Kiel\nam Meer"], N)
    return pd.DataFrame(
        {
            "gaps first": np.where(k < 150, "", rng.normal(size=N).astype(str)),
            "gap in words": np.where(k % 50 == 49, "n/a", rng.integers(0, 99, N).astype(str)),
            "whole, then not": np.where(k < 250, rng.integers(10, 99, N).astype(str), "0.25"),
            "code in the end": np.where(k < 295, rng.integers(10, 99, N).astype(str), "007"),
            "code, then not whole": np.where(k < 5, "01", (k / 4).astype(str)),
            "text in the end": np.where(k < 295, rng.integers(0, 9, N).astype(str), "many"),
            "number, then flag": np.where(k < 150, k % 2, rng.choice(["true", "false"], N)),
            "number, then date": np.where(k < 150, "20200101", "2020-01-02"),
            "flag, then number": np.where(k < 150, rng.choice(["true", "false"], N), k % 2),
            "town": towns,
            "flag": np.where(k < 200, rng.choice(["true", "false"], N), "False"),
            "flag, then not": np.where(k < 290, rng.choice(["true", "false"], N), "maybe"),
            "date": [f"{d:02d}.{m:02d}.2020" for d, m in zip(k % 28 + 1, k % 12 + 1, strict=True)],
            "month or day": [f"{1 + j % 12:02d}/{1 + j // 12:02d}/2020" for j in k],
            "rare": np.where(k % 60 == 59, "r" + (k // 60).astype(str).astype(object), "usual"),
            "stamp": (1.7e9 + rng.normal(0, 50, N)).round(3).astype(str),
            "label": rng.choice(["no", "None", "1"], N),
        }
    )


def commas() -> pd.DataFrame:
    """Return numbers with decimal commas, and points between thousands in the last rows only."""
    rng = np.random.default_rng(2)
    cells = [f"{x:.2f}".replace(".", ",") for x in rng.normal(0, 9, N)]
    large = [*(f"{x}" for x in rng.integers(0, 999, N - 2)), "1.234,5", "1.234.567"]
    return pd.DataFrame({"x": cells, "large": large, "label": rng.choice(["a", "b"], N)})


def objects() -> pd.DataFrame:
    """Return a data frame whose columns of objects hold other things below than above."""
    rng = np.random.default_rng(3)
    whole = [int(x) for x in rng.integers(0, 5, N)]
    return pd.DataFrame(
        {
            "empty first": pd.Series([None] * 200 + ["a", "b"] * 50, dtype=object),
            "number, then text": pd.Series([*whole[:-9], *["x"] * 9], dtype=object),
            "number, then fraction": pd.Series([*whole[:-1], 2.5], dtype=object),
            "flag": pd.Series([None] * 100 + [True, False] * 100, dtype=object),
            "level": pd.Categorical(rng.choice(["u", "v"], N), ["v", "u", "unused"]),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(whole, "D"),
            "label": rng.choice(["a", "b"], N),
        }
    )


def written(data: pd.DataFrame, folder: Path, **arguments: Any) -> Path:
    """Write a table as text."""
    path = folder / "data.csv"
    data.to_csv(path, index=False, **arguments)
    return path


def table_of(problem: Problem) -> Table:
    """Return the table that a problem was made of."""
    assert problem.table is not None
    return problem.table


TABLES = {
    "text": lambda folder: written(texts(), folder),
    "text with commas": lambda folder: written(commas(), folder, sep=";"),
    "parquet": lambda folder: parquet(texts(), folder),
    "data frame": lambda _: objects(),
    "data frame of texts": lambda _: texts(),
}


def parquet(data: pd.DataFrame, folder: Path) -> Path:
    """Write a table as Parquet, in row groups that are no multiple of a chunk."""
    path = folder / "data.parquet"
    data.to_parquet(path, row_group_size=33)
    return path


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("target", ["label", None])
def test_chunks_leave_no_trace(
    name: str, target: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by a few rows at a time a table gives the same bits and the same words."""
    source = TABLES[name](tmp_path)
    other = {"data frame": "day", "text with commas": "x"}.get(name, "stamp")
    if other == "day" and target is None:
        pytest.skip("the data frame has no other target")
    options = TableOptions(target=target or other)
    once = load_table(source, options)
    in_small_chunks(monkeypatch)
    again = load_table(source, options)
    assert table_of(once).to_json() == table_of(again).to_json()
    assert once.content_hash() == again.content_hash()
    assert once.preparation == again.preparation


def test_kinds_that_show_late(tmp_path: Path) -> None:
    """What a column holds is decided by all of its cells, the last ones too."""
    table = table_of(load_table(written(texts(), tmp_path), TableOptions(target="label")))
    assert {column.name: column.kind for column in table.columns} == {
        "gaps first": "number", "gap in words": "number", "whole, then not": "number",
        "code in the end": "category", "code, then not whole": "number",
        "text in the end": "category", "number, then flag": "category",
        "number, then date": "category", "flag, then number": "category",
        "town": "category", "flag": "boolean",
        "flag, then not": "category", "date": "date", "month or day": "date",
        "rare": "category", "stamp": "number", "label": "target",
    }  # fmt: skip
    months = next(column for column in table.columns if column.name == "month or day")
    assert months.date_format == "%m/%d/%Y"  # the 25th stands behind the 12th month


@pytest.mark.parametrize("name", TABLES)
def test_training_table_is_encoded_to_the_same_bits(name: str, tmp_path: Path) -> None:
    """The rows of the table itself are encoded to what the network was trained on."""
    source = TABLES[name](tmp_path)
    problem = load_table(source, TableOptions(target="label"))
    X, rows = table_of(problem).encode(source)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(rows, np.arange(1, N + 1))
    labels = {"text with commas": commas, "data frame": objects}.get(name, texts)()["label"]
    train, test = train_test_split(np.arange(N), test_size=0.2, random_state=0, stratify=labels)
    np.testing.assert_array_equal(X[train], problem.X_train)
    np.testing.assert_array_equal(X[test], problem.X_test)


@pytest.mark.parametrize("name", TABLES)
def test_table_survives_json(name: str, tmp_path: Path) -> None:
    """Written as strict JSON and read again a table is the same, and encodes to the same bits."""
    source = TABLES[name](tmp_path)
    table = table_of(load_table(source, TableOptions(target="label")))
    text = json.dumps(table.to_json(), allow_nan=False)
    again = Table.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert (again.reading, again.options) == (table.reading, table.options)
    assert (again.columns, again.target) == (table.columns, table.target)
    for found, expected in zip(again.encode(source), table.encode(source), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_blank_lines_hide_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows behind a chunk of blank lines alone are read."""
    in_small_chunks(monkeypatch)
    path = tmp_path / "data.csv"
    rows = "".join(f"{k % 7},{'yes' if k % 3 else 'no'}\n" for k in range(50))
    path.write_text(f"x,label\n{rows}{2000 * chr(10)}{rows}")
    assert table_of(load_table(path, TableOptions(target="label"))).n_rows == 100


def test_encoding_in_small_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other rows are encoded to the same bits, however they are cut into chunks."""
    path = written(texts(), tmp_path)
    table = table_of(load_table(path, TableOptions(target="label")))
    X, _ = table.encode(path)
    in_small_chunks(monkeypatch)
    np.testing.assert_array_equal(table.encode(path)[0], X)


def test_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    """Encoding goes by the names of columns: order, further columns, the target do not matter."""
    data = texts()
    table = table_of(load_table(written(data, tmp_path), TableOptions(target="label")))
    X, _ = table.encode(tmp_path / "data.csv")
    other = data[data.columns[::-1]].drop(columns="label").assign(more=1.5)
    np.testing.assert_array_equal(table.encode(other)[0], X)


def test_large_numbers_keep_their_differences() -> None:
    """Seconds since 1970 a second apart, and half a day of dates, are as far apart as they are."""
    rng = np.random.default_rng(4)
    seconds = 1.7e9 + rng.uniform(0, 60, N).round(2)
    dates = pd.Timestamp("2024-06-01") + pd.to_timedelta(rng.integers(0, 86_400, N), "s")
    large = 1e15 + rng.integers(0, 8, N)
    data = pd.DataFrame({"s": seconds, "date": dates, "large": large})
    data["y"] = rng.normal(size=N)
    problem = load_table(data, TableOptions(target="y"))
    train, _ = train_test_split(np.arange(N), test_size=0.2, random_state=0)
    days = (dates - pd.Timestamp(0)) / pd.Timedelta(days=1)
    for name, values in {"s": seconds, "date": np.asarray(days)}.items():
        mine = values[train] - values[0]
        expected = (mine - mine.mean()) / mine.std()
        column = problem.X_train[:, problem.feature_names.index(name)]
        np.testing.assert_allclose(column, expected, rtol=1e-5, atol=1e-6)


def small() -> pd.DataFrame:
    """Return a table of a number, a category, a flag and a date, each with gaps."""
    k = np.arange(60)
    return pd.DataFrame(
        {
            "x": np.where(k % 10 == 3, np.nan, k % 7 / 2),
            "town": np.where(k % 12 == 5, None, np.array(["Ulm", "Bonn", "Jena"])[k % 3]),
            "flag": pd.array(np.where(k % 15 == 8, None, k % 2 == 0), dtype="boolean"),
            "day": (pd.Timestamp("2020-01-01") + pd.to_timedelta(k % 11, "D")).where(k % 20 != 1),
            "label": np.array(["yes", "no"])[k * 7 // 3 % 2],
        }
    )


def test_new_rows_take_the_training_split_s_fills(tmp_path: Path) -> None:
    """Gaps of other rows take the training median and own level; unseen levels are no level."""
    path = written(small(), tmp_path)
    problem = load_table(path, TableOptions(target="label"))
    table = table_of(problem)
    x = next(column for column in table.columns if column.name == "x")
    rows = pd.DataFrame(
        {
            "x": [None, x.fill],
            "town": ["Kiel", None],
            "flag": [True, False],
            "day": ["2020-01-01", "2020-01-02"],
        }
    )
    X, _ = table.encode(written(rows, tmp_path))
    features = dict(zip(problem.feature_names, (X * table.scale + table.mean).T, strict=True))
    assert features["x"] == pytest.approx([x.fill, x.fill], rel=1e-6)
    assert features["x is missing"] == pytest.approx([1, 0], abs=1e-6)
    assert features["flag"] == pytest.approx([1, 0], abs=1e-6)
    assert features["day"] == pytest.approx([18262, 18263], abs=1e-3)
    for level in ("Bonn", "Jena", "Ulm", "missing"):
        own = [0.0, 1.0 if level == "missing" else 0.0]
        assert features[f"town = {level}"] == pytest.approx(own, abs=1e-6)


def test_many_unseen_levels_hide_no_known_one() -> None:
    """However many new levels other rows have, those behind them are found."""
    table = table_of(load_table(small(), TableOptions(target="label", features=["town", "x"])))
    new = pd.DataFrame({"town": [f"town {k}" for k in range(60_000)] + ["Ulm"], "x": 1.0})
    X, _ = table.encode(new)
    known, _ = table.encode(new.iloc[-1:])
    np.testing.assert_array_equal(X[-1], known[0])
    assert (X[:-1] != X[-1]).any(axis=1).all()


def test_rows_with_gaps_are_left_out_and_numbered() -> None:
    """With missing="drop" rows with gaps are encoded to nothing; the numbers of the others stay."""
    data = small()
    table = table_of(load_table(data, TableOptions(target="label", missing="drop")))
    X, rows = table.encode(data)
    whole = data.notna().all(axis=1)
    np.testing.assert_array_equal(rows, np.flatnonzero(whole) + 1)
    assert len(X) == len(rows)


OTHER_TABLES = {
    "a missing column": (lambda data: data.drop(columns="town"), ("'town'",)),
    "texts for numbers": (
        lambda data: data.assign(x=["1"] * 40 + ["many"] * 20),
        ("'x'", "row 41"),
    ),
    "dates for numbers": (lambda data: data.assign(x=data.day), ("'x'",)),
    "numbers for dates": (lambda data: data.assign(day=1.5), ("'day'",)),
    "numbers for booleans": (lambda data: data.assign(flag=2), ("'flag'",)),
    "an infinity": (lambda data: data.assign(x=[1.0] * 59 + [np.inf]), ("'x'", "row 60")),
    "too large a number": (lambda data: data.assign(x=[1.0, 1e300] + [1.0] * 58), ("'x'", "row 2")),
    "no rows": (lambda data: data.iloc[:0], ("row",)),
}


@pytest.mark.parametrize("name", OTHER_TABLES)
def test_other_tables_that_do_not_fit_are_refused(name: str) -> None:
    """A column that lacks or holds something else is refused in one line, with its row."""
    table = table_of(load_table(small(), TableOptions(target="label")))
    change, words = OTHER_TABLES[name]
    with pytest.raises(InputError) as refused:
        table.encode(change(small()))
    for word in words:
        assert word in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_gap_is_refused_where_it_was_an_error() -> None:
    """With missing="error" other rows may have no gaps either."""
    data = small().ffill().bfill()
    table = table_of(load_table(data, TableOptions(target="label", missing="error")))
    data.loc[9, "x"] = np.nan
    with pytest.raises(InputError, match="'x', row 10"):
        table.encode(data)
