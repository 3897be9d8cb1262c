"""A table becomes the features that scikit-learn's own imputer, encoder and scaler make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from bench.problems import Problem
from bench.problems.table import Column, Table, TableOptions, load_table

N = 400
TARGETS = {"kind": "classification", "price": "regression"}
POOLED = "<rare>"  # stands for every rare level
# Features are rounded to 32 bits less a value of their column, then standardized
TOLERANCE = 1e-5


def random_table() -> pd.DataFrame:
    """Return columns of every kind, with gaps and without, in an order that mixes the kinds."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "town": rng.choice(["Ulm", "Bonn", "Jena", "Kiel"], N, p=[0.5, 0.3, 0.19, 0.01]),
            "since": pd.Timestamp("2019-12-31") + pd.to_timedelta(rng.integers(0, 2000, N), "D"),
            "income": np.round(np.exp(rng.normal(8, 2, N)), 2),  # a long tail
            "member": rng.random(N) < 0.3,
            "stamp": 1.7e9 + np.round(rng.normal(0, 900, N), 1),  # far from 0
            "fuel": rng.choice(["gas", "oil", None], N, p=[0.6, 0.3, 0.1]),
            "rooms": rng.integers(1, 8, N),
            "area": np.where(rng.random(N) < 0.2, np.nan, rng.normal(90, 30, N).round(1)),
            "checked": rng.choice(np.array([True, False, None], object), N),
            "sold": pd.Timestamp("2022-05-01") + pd.to_timedelta(rng.integers(0, 99, N), "D"),
            "tiny": rng.normal(0, 1e-9, N),
            "kind": rng.choice(["no", "None", "01"], N, p=[0.5, 0.3, 0.2]),
            "price": np.round(rng.normal(3e5, 1e5, N), 2),
        }
    )
    data.loc[rng.random(N) < 0.15, "sold"] = pd.NaT
    return data


def loaded(data: pd.DataFrame, form: str, folder: Path, options: TableOptions) -> Problem:
    """Load a table from a data frame, or from a file of it."""
    path = folder / f"houses.{form}"
    if form == "csv":
        data.to_csv(path, index=False)
    elif form == "parquet":
        data.to_parquet(path)
    return load_table(data if form == "frame" else path, options)


def numbers(column: Column, cells: pd.Series) -> pd.Series:
    """Return cells of a number, date or boolean column as numbers."""
    if column.kind == "date":
        return (pd.to_datetime(cells) - pd.Timestamp(0)) / pd.Timedelta(days=1)
    return cells.map({True: 1.0, False: 0.0}) if column.kind == "boolean" else cells


def by_scikit_learn(table: Table, data: pd.DataFrame) -> tuple[NDArray[np.float64], ...]:
    """Return both splits as scikit-learn prepares them, told the kinds and levels of columns."""
    features = data.copy()
    for column in table.valued:
        features[column.name] = numbers(column, data[column.name]).astype(float)
    for column in table.categories:
        texts = features[column.name].astype(object).fillna(column.fill)
        features[column.name] = texts.where(texts.isin(column.levels), POOLED).astype(object)
    valued = [column.name for column in table.valued]
    levels = [
        np.array([*c.levels, *([POOLED] if c.pooled else [])], object) for c in table.categories
    ]
    strategy = {"median": "median", "most_frequent": "most_frequent"}[table.options.missing]
    prepare = make_pipeline(
        make_column_transformer(
            (SimpleImputer(strategy=strategy, add_indicator=True), valued),
            (
                make_pipeline(
                    FunctionTransformer(),
                    OneHotEncoder(categories=levels, handle_unknown="ignore", sparse_output=False),
                ),
                [column.name for column in table.categories],
            ),
        ),
        StandardScaler(),
    )
    y = data[table.target.name]
    stratify = y if table.target.task == "classification" else None
    train, test = train_test_split(np.arange(N), test_size=0.2, random_state=0, stratify=stratify)
    return prepare.fit_transform(features.iloc[train]), prepare.transform(features.iloc[test])


@pytest.mark.parametrize("missing", ["median", "most_frequent"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", ["csv", "parquet", "frame"])
def test_features_are_those_of_scikit_learn(
    form: str, target: str, missing: str, tmp_path: Path
) -> None:
    """Imputer, indicators, encoder and scaler of scikit-learn give the same columns of X."""
    data = random_table().drop(columns=[name for name in TARGETS if name != target])
    problem = loaded(data, form, tmp_path, TableOptions(target=target, missing=missing))
    table = problem.table
    assert table is not None
    assert table.target.task == TARGETS[target]
    kinds = {column.name: column.kind for column in table.columns}
    assert kinds == {
        "town": "category", "since": "date", "income": "number", "member": "boolean",
        "stamp": "number", "fuel": "category", "rooms": "number", "area": "number",
        "checked": "boolean", "sold": "date", "tiny": "number", target: "target",
    }  # fmt: skip
    X_train, X_test = by_scikit_learn(table, data)
    np.testing.assert_allclose(problem.X_train, X_train, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(problem.X_test, X_test, rtol=TOLERANCE, atol=TOLERANCE)


def test_targets_are_those_of_scikit_learn() -> None:
    """Classes are numbered in sorted order, a regression's target is standardized, as y_train."""
    data = random_table()
    train, _ = train_test_split(np.arange(N), test_size=0.2, random_state=0, stratify=data["kind"])
    problem = load_table(data, TableOptions(target="kind"))
    classes, codes = np.unique(data["kind"], return_inverse=True)
    assert problem.class_names == tuple(classes)
    np.testing.assert_array_equal(problem.y_train, codes[train])

    train, test = train_test_split(np.arange(N), test_size=0.2, random_state=0)
    problem = load_table(data, TableOptions(target="price"))
    prices = data[["price"]].to_numpy()
    scaler = StandardScaler().fit(prices[train])
    np.testing.assert_allclose(problem.y_train, scaler.transform(prices[train])[:, 0], rtol=1e-5)
    np.testing.assert_allclose(problem.y_test, scaler.transform(prices[test])[:, 0], rtol=1e-5)
    assert problem.table is not None
    assert problem.table.target.scale == pytest.approx(scaler.scale_[0], rel=1e-12)
