"""What a table becomes: gaps filled, levels counted, useless columns left out, all of it told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from bench.errors import InputError
from bench.problems import Problem
from bench.problems.table import Column, Table, TableOptions, describe, load_table

N = 60
K = np.arange(N)
LABELS = np.array(["no", "yes"])[K * 7 // 3 % 2]
TRAIN, TEST = train_test_split(K, test_size=0.2, random_state=0, stratify=LABELS)
X = K * 11 % 7 + 0.5  # a column of numbers without anything special


def load(data: dict[str, Any] | pd.DataFrame, **options: Any) -> Problem:
    """Load a table with the column "label" for its target, unless told."""
    frame = pd.DataFrame(data)
    if "label" not in frame:
        frame["label"] = LABELS
    return load_table(frame, TableOptions(**{"target": "label", **options}))


def table_of(problem: Problem) -> Table:
    """Return the table that a problem was made of."""
    assert problem.table is not None
    return problem.table


def column(problem: Problem, name: str) -> Column:
    """Return what became of a column."""
    return next(column for column in table_of(problem).columns if column.name == name)


def feature(problem: Problem, name: str) -> np.ndarray:
    """Return a feature in its own unit, its rows in the table's order."""
    j = problem.feature_names.index(name)
    table, values = table_of(problem), np.empty(N)
    values[TRAIN] = problem.X_train[:, j]
    values[TEST] = problem.X_test[:, j]
    return values * table.scale[j] + table.mean[j]


def with_gaps(values: Any, gaps: Any, gap: Any = None) -> pd.Series:
    """Return values with gaps in some rows."""
    series = pd.Series(values, dtype=object)
    series[gaps] = gap
    return series


# Gaps


def test_numeric_gaps_take_the_training_median() -> None:
    """Gaps of numbers take the median of the training rows alone, and an indicator follows."""
    gaps = np.isin(K, [*TRAIN[:7], *TEST[:3]])
    values = np.where(np.isin(K, TEST), 1000.0, X)  # test rows would move the median
    problem = load({"x": np.where(gaps, np.nan, values), "z": X})
    median = np.median(X[TRAIN[7:]])
    found = column(problem, "x")
    assert (found.kind, found.n_missing, found.indicator) == ("number", 10, True)
    assert found.fill == pytest.approx(median)
    assert found.features == ("x", "x is missing")
    assert problem.feature_names == ("x", "z", "x is missing")
    np.testing.assert_allclose(feature(problem, "x")[gaps], median, atol=1e-4)
    np.testing.assert_allclose(feature(problem, "x")[~gaps], values[~gaps], atol=1e-3)
    np.testing.assert_allclose(feature(problem, "x is missing"), gaps, atol=1e-6)
    assert f"median {median:g}" in found.told
    assert "indicator" in found.told


def test_gaps_of_test_rows_alone_have_no_indicator() -> None:
    """Where training rows have no gaps an indicator would be constant: there is none."""
    problem = load({"x": np.where(np.isin(K, TEST[:3]), np.nan, X), "z": X})
    assert problem.feature_names == ("x", "z")
    np.testing.assert_allclose(feature(problem, "x")[TEST[:3]], np.median(X[TRAIN]), atol=1e-5)
    assert "indicator" not in column(problem, "x").told


def test_gaps_may_take_the_most_frequent() -> None:
    """With most_frequent gaps take the value, and the level, that most training rows have."""
    gaps = K % 6 == 1
    x = np.where(K % 4 == 0, 9.0, X)
    towns = np.where(K % 3 == 0, "Ulm", np.where(K % 3 == 1, "Bonn", "Jena"))
    problem = load(
        {"x": np.where(gaps, np.nan, x), "town": with_gaps(towns, gaps)}, missing="most_frequent"
    )
    known = pd.Series(towns[TRAIN][~gaps[TRAIN]]).value_counts()
    assert column(problem, "x").fill == 9.0
    assert column(problem, "town").fill in known.index[known == known.max()]
    assert column(problem, "town").levels == ("Bonn", "Jena", "Ulm")
    own = feature(problem, f"town = {column(problem, 'town').fill}")
    np.testing.assert_allclose(own[gaps], 1.0, atol=1e-6)


def test_rows_with_gaps_may_be_dropped() -> None:
    """With drop rows with a gap in any feature are left out, and nothing is told to be filled."""
    problem = load(
        {
            "x": np.where(K % 10 == 3, np.nan, X),
            "town": with_gaps(np.where(K % 2, "a", "b"), K % 12 == 5),
        },
        missing="drop",
    )
    n_whole = int(((K % 10 != 3) & (K % 12 != 5)).sum())
    table = table_of(problem)
    assert (table.n_rows, table.n_rows_used, table.n_rows_dropped) == (N, n_whole, N - n_whole)
    assert problem.n_train + len(problem.X_test) == n_whole
    assert problem.feature_names == ("x", "town = a", "town = b")
    assert not any("filled" in c.told or "level of their own" in c.told for c in table.columns)


def test_gaps_of_columns_of_no_use_drop_no_rows() -> None:
    """A column that is left out, be it for its training rows only, takes no rows with it."""
    flag = np.where(np.isin(K, TEST[:1]), 1.0, 0.0)
    problem = load(
        {"x": X, "one": np.where(K % 10 == 3, np.nan, 7.0), "flag": with_gaps(flag, K % 7 == 2)},
        missing="drop",
    )
    assert problem.feature_names == ("x",)
    assert table_of(problem).n_rows_dropped == 0


def test_a_gap_may_be_an_error() -> None:
    """With error the first gap is refused, with its column and row."""
    with pytest.raises(InputError, match=r"column 'x', row 14: .*--missing"):
        load({"x": np.where(K == 13, np.nan, X)}, missing="error")
    assert load({"x": X}, missing="error").feature_names == ("x",)


def test_rows_without_a_target_are_left_out() -> None:
    """A gap in the target leaves its row out, whatever becomes of the features' gaps."""
    problem = load({"x": X, "label": with_gaps(LABELS, K % 9 == 4)})
    assert table_of(problem).n_rows_dropped == table_of(problem).target.n_missing == 7
    assert problem.class_names == ("no", "yes")


def test_columns_of_gaps_are_dropped() -> None:
    """A column of gaps alone, or with gaps in all training rows, is left out and told."""
    problem = load({"x": X, "none": None, "few": np.where(np.isin(K, TEST), X, np.nan)})
    assert problem.feature_names == ("x",)
    assert column(problem, "none").told == "dropped: all gaps"
    assert column(problem, "few").told == "dropped: all gaps in the training rows"


@pytest.mark.parametrize("mark", ["", "NA", "N/A", "nan", "NaN", "null", "NULL", "None", "?", "-"])
def test_usual_gap_marks_are_gaps_of_features(mark: str, tmp_path: Path) -> None:
    """Cells that usually mean a gap are gaps of numbers, dates, booleans and categories."""
    path = tmp_path / "data.csv"
    cells = {
        "x": X,
        "day": [f"2020-01-{k % 9 + 1:02d}" for k in K],
        "flag": np.where(K % 2, "true", "false"),
        "town": np.where(K % 3, "Ulm", "Bonn"),
    }
    frame = pd.DataFrame({name: with_gaps(v, K % 8 == 1, mark) for name, v in cells.items()})
    frame.assign(label=LABELS).to_csv(path, index=False)
    table = table_of(load_table(path, TableOptions(target="label")))
    kinds = {c.name: (c.kind, c.n_missing) for c in table.columns[:-1]}
    assert kinds == {
        "x": ("number", 8), "day": ("date", 8), "flag": ("boolean", 8), "town": ("category", 8),
    }  # fmt: skip


# Categories


def test_gaps_of_categories_are_a_level() -> None:
    """Gaps of a category take a level of their own, under a name that no level has."""
    towns = np.where(K % 2, "Ulm", "Bonn")
    problem = load({"town": with_gaps(towns, K % 5 == 2)})
    assert problem.feature_names == ("town = Bonn", "town = Ulm", "town = missing")
    np.testing.assert_allclose(feature(problem, "town = missing"), K % 5 == 2, atol=1e-6)
    np.testing.assert_allclose(
        feature(problem, "town = Ulm"), (towns == "Ulm") & (K % 5 != 2), atol=1e-6
    )
    assert "one-hot encoded, 3 levels" in column(problem, "town").told
    problem = load({"town": with_gaps(np.where(K % 2, "missing", "Bonn"), K % 5 == 2)})
    assert column(problem, "town").fill == "missing_"


def test_rare_levels_share_a_feature() -> None:
    """Levels of fewer than 5 training rows are pooled, told, under a name that no level has."""
    towns = np.where(K % 2, "Ulm", "other").astype(object)
    rare = np.isin(K, [*TRAIN[:4], *TRAIN[10:12]])
    towns[TRAIN[:4]], towns[TRAIN[10:12]] = "Jena", "Kiel"
    problem = load({"town": towns})
    found = column(problem, "town")
    assert (found.levels, found.pooled) == (("Ulm", "other"), ("Jena", "Kiel"))
    assert len(set(problem.feature_names)) == 3
    np.testing.assert_allclose(feature(problem, problem.feature_names[2]), rare, atol=1e-6)
    assert "2 rare levels pooled" in found.told


def test_levels_of_test_rows_alone_are_no_features() -> None:
    """A level that no training row has gets no feature, and makes no pool."""
    towns = np.where(K % 2, "Ulm", "Bonn").astype(object)
    towns[TEST[:2]] = "Kiel"
    problem = load({"town": towns})
    assert problem.feature_names == ("town = Bonn", "town = Ulm")
    for name in problem.feature_names:
        np.testing.assert_allclose(feature(problem, name)[TEST[:2]], 0.0, atol=1e-6)


def test_many_levels_are_pooled() -> None:
    """A category of many levels keeps the 30 most frequent ones of its training rows."""
    n = 4000
    k = np.arange(n)
    towns = [f"t{j % 40 if j % 3 else j % 10}" for j in k]
    frame = pd.DataFrame({"town": towns, "label": np.where(k % 7 < 3, "a", "b")})
    problem = load_table(frame, TableOptions(target="label"))
    found = column(problem, "town")
    assert (len(found.levels), len(found.pooled)) == (30, 10)
    assert {f"t{j}" for j in range(10)} <= set(found.levels)


# Columns of no use


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("name", [f"person {k}" for k in range(N)], "60 different texts in 60 rows"),
        ("code", [f"{k:04d}" for k in range(N)], "60 different texts"),
        ("row", K, "counts the rows"),
        ("row from 1", K + 1.0, "counts the rows"),
        ("row, shuffled", K * 7 % N, "counts the rows"),
        ("constant", 2.5, "the same value in every row"),
        ("constant text", "Ulm", "the same value in every row"),
        ("constant flag", True, "the same value in every row"),
        ("constant date", pd.Timestamp("2020-01-01"), "the same value in every row"),
        ("rare only", [f"r{k % 20}" for k in range(N)], "20 levels, all rare"),
    ],
)
def test_columns_of_no_use_are_dropped(name: str, values: Any, why: str) -> None:
    """Identifiers, counters and constants are left out, with the reason."""
    problem = load({"x": X, name: values})
    assert problem.feature_names == ("x",)
    found = column(problem, name)
    assert found.kind == "dropped"
    assert found.told.startswith("dropped: ")
    assert why in found.told
    assert any(why in sentence for sentence in problem.preparation)


def test_a_constant_with_gaps_tells_by_its_gaps() -> None:
    """A column of one value and gaps is used: where its gaps are may tell something."""
    text = with_gaps(["a"] * N, K % 4 == 2)
    problem = load({"x": np.where(K % 4 == 1, np.nan, 2.0), "t": text})
    assert problem.feature_names == ("x", "x is missing", "t = a", "t = missing")


def test_near_constant_columns_are_not_blown_up() -> None:
    """Rounding in a column of equal values does not become a feature of size 1."""
    problem = load({"x": X, "y": np.where(K % 2, 0.1 + 0.2, 0.3)})
    y = [problem.X_train[:, j] for j, n in enumerate(problem.feature_names) if n == "y"]
    assert all(np.abs(values).max() < 1e-6 for values in y)


def test_users_choose_columns() -> None:
    """Columns left out by --drop, or not among --features, are no features and told so."""
    data = {"x": X, "y": X**2, "z": X**3}
    problem = load(data, drop=["y"])
    assert problem.feature_names == ("x", "z")
    assert column(problem, "y").told == "left out by --drop"
    problem = load(data, features=["z", "x"])
    assert problem.feature_names == ("x", "z")
    assert column(problem, "y").told == "not among --features"
    assert load(data, features=["x", "y"], drop=["y"]).feature_names == ("x",)


# Numbers, booleans, dates


def test_leading_zeros_stay_texts() -> None:
    """Whole numbers of which some begin with 0 are codes: 01 is not 1."""
    problem = load({"zip": [f"0{k % 4}" if k % 4 else "10" for k in K]})
    assert column(problem, "zip").kind == "category"
    assert column(problem, "zip").levels == ("01", "02", "03", "10")
    assert column(load({"x": [f"0.{k % 4}" for k in K]}), "x").kind == "number"


@pytest.mark.parametrize("words", [("true", "false"), ("True", "False"), ("TRUE", "FALSE")])
def test_texts_of_booleans_are_0_and_1(words: tuple[str, str]) -> None:
    """A column of true and false, in any case, becomes 1 and 0."""
    problem = load({"flag": np.where(K % 3 == 0, *words)})
    assert column(problem, "flag").kind == "boolean"
    np.testing.assert_allclose(feature(problem, "flag"), K % 3 == 0, atol=1e-6)


DAYS = pd.Timestamp("2019-12-20") + pd.to_timedelta(K * 3 % 50, "D")
DATES: dict[str, tuple[Any, str | None]] = {
    "ISO": (DAYS.strftime("%Y-%m-%d"), "%Y-%m-%d"),
    "ISO with time": (DAYS.strftime("%Y-%m-%dT%H:%M:%S"), "ISO8601"),
    "ISO with time and fractions": (DAYS.strftime("%Y-%m-%d %H:%M:%S.%f"), "ISO8601"),
    "ISO with zone": (DAYS.strftime("%Y-%m-%dT%H:%M:%SZ"), "ISO8601"),
    "points": (DAYS.strftime("%d.%m.%Y"), "%d.%m.%Y"),
    "day first": (DAYS.strftime("%d/%m/%Y"), "%d/%m/%Y"),
    "month first": (DAYS.strftime("%m/%d/%Y"), "%m/%d/%Y"),
    "datetimes": (DAYS, None),
}


@pytest.mark.parametrize("name", DATES)
def test_dates_become_days_since_1970(name: str) -> None:
    """Dates, as texts or of their own type, become the number of days since 1970."""
    cells, form = DATES[name]
    problem = load({"day": cells})
    found = column(problem, "day")
    assert (found.kind, found.date_format) == ("date", form)
    assert "days since 1970" in found.told
    days = np.asarray((DAYS - pd.Timestamp(0)) / pd.Timedelta(days=1))
    np.testing.assert_allclose(feature(problem, "day"), days, atol=1e-3)


def test_hours_are_parts_of_days() -> None:
    """Times of day count: noon is half a day."""
    stamps = pd.Timestamp("2020-01-01") + pd.to_timedelta(K * 7 % 48, "h")
    problem = load({"at": stamps.strftime("%Y-%m-%d %H:%M")})
    np.testing.assert_allclose(feature(problem, "at"), 18262 + K * 7 % 48 / 24, atol=1e-5)


def test_days_come_before_months_and_it_is_told() -> None:
    """Where both readings fit all cells the day comes first, and that is told."""
    problem = load({"day": [f"{k % 9 + 1:02d}/{k % 3 + 1:02d}/2020" for k in K]})
    assert column(problem, "day").date_format == "%d/%m/%Y"
    assert "day first" in column(problem, "day").told


def test_a_text_among_numbers_is_named() -> None:
    """A column of numbers with one text is one of texts, and the cell that makes it so is told."""
    cells = [str(k % 3) for k in K]
    cells[41] = "1o"
    told = column(load({"x": X, "y": cells}), "y").told
    assert "'1o' in row 42 is no number" in told


# Targets


@pytest.mark.parametrize(
    "labels",
    [("None", "no"), ("NA", "nan"), ("01", "1"), ("False", "True"), ("-", "?"), ("null", "x")],
)
@pytest.mark.parametrize("form", ["frame", "csv"])
def test_labels_stay_what_they_are(labels: tuple[str, str], form: str, tmp_path: Path) -> None:
    """Labels that look like gaps, numbers or booleans are classes, written as they were."""
    frame = pd.DataFrame({"x": X, "label": np.array(labels)[K % 2]})
    frame.to_csv(tmp_path / "data.csv", index=False)
    source = frame if form == "frame" else tmp_path / "data.csv"
    problem = load_table(source, TableOptions(target="label"))
    assert problem.class_names == tuple(sorted(labels))
    assert table_of(problem).n_rows_dropped == 0


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "c"], ("a", "b", "c")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["1", "1.0", "2"], ("1", "1.0", "2")),
        ([2, 10, 1], ("1", "2", "10")),
        ([2.0, 10.0, 0.5], ("0.5", "2", "10")),
        ([True, False, True], ("False", "True")),
    ],
)
def test_classes_are_in_order(labels: list[Any], classes: tuple[str, ...]) -> None:
    """Classes are in the order of numbers where all are different ones, else of texts."""
    problem = load({"x": X, "label": np.array(labels, object)[K % 3]})
    assert problem.class_names == classes
    shown = [label if isinstance(label, str | bool) else f"{label:g}" for label in labels]
    codes = np.array([classes.index(str(label)) for label in shown])[K % 3]
    train, test = train_test_split(K, test_size=0.2, random_state=0, stratify=codes)
    np.testing.assert_array_equal(problem.y_train, codes[train])
    np.testing.assert_array_equal(problem.y_test, codes[test])


def test_many_different_numbers_are_a_quantity() -> None:
    """A target of more than 20 different numbers is a regression, of 20 it is classes; told."""
    problem = load({"x": X, "y": K % 21}, target="y", drop=["label"])
    target = table_of(problem).target
    assert (target.task, problem.network.output, problem.class_names) == (
        "regression",
        "linear",
        (),
    )
    assert "21 different numbers" in target.told
    problem = load({"x": X, "y": K % 20}, target="y", drop=["label"], test_size=0.4)
    target = table_of(problem).target
    assert (target.task, len(problem.class_names)) == ("classification", 20)
    assert "--task regression" in target.told


def test_the_task_may_be_told() -> None:
    """--task makes few numbers a quantity, and many numbers classes."""
    data = {"x": X, "few": K % 3, "many": K % 25}
    problem = load(data, target="few", task="regression", drop=["label"])
    assert table_of(problem).target.task == "regression"
    problem = load(data, target="many", task="classification", drop=["label"], test_size=0.5)
    assert len(problem.class_names) == 25
    assert "as asked for" in table_of(problem).target.told


def test_networks_fit_the_target() -> None:
    """Two classes have one sigmoid output, more have a softmax, a quantity a linear output."""
    two = load({"x": X}).network
    assert (two.widths, two.output, two.loss) == ((1, 32, 1), "sigmoid", "bce")
    three = load({"x": X, "label": K % 3}).network
    assert (three.widths, three.output, three.loss) == ((1, 32, 3), "softmax", "ce")
    quantity = load({"x": X, "label": np.sqrt(K)}).network
    assert (quantity.widths, quantity.output, quantity.loss) == ((1, 32, 1), "linear", "half_mse")


def test_classes_of_one_row_are_left_out() -> None:
    """A class of a single row cannot be split: its row is left out, and that is told."""
    labels = LABELS.astype(object)
    labels[5], labels[6] = "odd", "rare"
    problem = load({"x": X, "label": labels})
    table = table_of(problem)
    assert problem.class_names == ("no", "yes")
    assert (table.n_rows_used, table.n_rows_dropped) == (N - 2, 2)
    assert "2 classes of one row left out (odd, rare)" in table.target.told


def test_regression_targets_are_standardized_by_the_training_split() -> None:
    """Targets have mean 0 and deviation 1 over the training rows; their unit comes back."""
    price = 1e6 + 2e5 * np.sin(K)
    problem = load({"x": X, "price": price}, target="price", drop=["label"])
    train, test = train_test_split(K, test_size=0.2, random_state=0)
    target = table_of(problem).target
    assert target.mean == pytest.approx(price[train].mean())
    assert target.scale == pytest.approx(price[train].std())
    np.testing.assert_allclose(problem.y_test * target.scale + target.mean, price[test], rtol=1e-6)
    assert problem.y_train.dtype == np.float32


def test_gap_marks_are_gaps_of_quantities(tmp_path: Path) -> None:
    """NA in a target that is a regression is a row without a target."""
    y = with_gaps(np.round(np.sqrt(K), 3), K % 10 == 2, "NA")
    pd.DataFrame({"x": X, "y": y}).to_csv(tmp_path / "data.csv", index=False)
    problem = load_table(tmp_path / "data.csv", TableOptions(target="y", task="regression"))
    assert table_of(problem).target.n_missing == 6


@pytest.mark.parametrize("size", [0.1, 0.25, 0.5])
def test_test_size_is_the_share_held_out(size: float) -> None:
    """The held-out rows are the share asked for, rounded up, with each class alike."""
    problem = load({"x": X}, test_size=size)
    assert len(problem.X_test) == np.ceil(size * N)
    share = (LABELS == "yes").mean()
    assert problem.y_test.mean() == pytest.approx(share, abs=1 / len(problem.X_test))


# Words


def test_gaps_are_told_first() -> None:
    """The preparation leads with the columns that have gaps."""
    problem = load({"town": np.where(K % 2, "a", "b"), "x": np.where(K % 9 == 1, np.nan, X)})
    assert problem.preparation[0].startswith("x: 7 gaps; gaps filled with the median")
    assert problem.preparation[-1].startswith("Each feature is standardized")


def test_describe_tells_all_columns_and_the_split(tmp_path: Path) -> None:
    """--dry-run shows the file, rows, target, classes, and each column's kind, gaps and fate."""
    path = tmp_path / "houses.csv"
    pd.DataFrame(
        {"id": [f"h{k}" for k in K], "x": np.where(K % 9 == 1, np.nan, X), "label": LABELS}
    ).to_csv(path, index=False)
    lines = describe(load_table(path, TableOptions(target="label"))).splitlines()
    assert lines[0] == "houses.csv, 60 rows x 3 columns"
    assert "Classes: no, yes" in lines
    assert "Rows: 60; 48 to train, 12 held out" in lines
    shown = {line.split()[0]: line for line in lines[lines.index("Columns:") + 1 :]}
    assert "identifier" in shown["id"]
    assert "7 gaps" in shown["x"]
    assert "median" in shown["x"]
    assert shown["label"].split() == ["label", "target"]


def test_describe_shortens_wide_tables() -> None:
    """Of many columns the first 40 are shown, and the rest counted."""
    text = describe(load({f"x{k}": X + k for k in range(50)}))
    assert "  x39 " in text
    assert "  x40 " not in text
    assert text.endswith("and 11 more")


@pytest.mark.parametrize(
    ("file", "name"),
    [("penguins.csv", "penguins"), ("my data.v2.csv", "my_data"), ("digits.csv", "digits_table"),
     ("_.csv", "table")],
)  # fmt: skip
def test_studies_are_named_after_files(file: str, name: str, tmp_path: Path) -> None:
    """A study is named after its file, as a folder's name that no study of ours has."""
    pd.DataFrame({"x": X, "label": LABELS}).to_csv(tmp_path / file, index=False)
    assert load_table(tmp_path / file, TableOptions(target="label")).name == name
    assert load_table(tmp_path / file, TableOptions(target="label", name="mine")).name == "mine"
