"""From a table to a problem: the split, the features, what is told of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems.prepare import split
from bench.problems.problem import Problem
from bench.problems.table.encode import (
    Rows,
    Split,
    features_of,
    fitted_category,
    fitted_value,
    known_rows,
    positions,
    standardization,
    standardized,
)
from bench.problems.table.options import TableOptions, is_device
from bench.problems.table.read import open_source
from bench.problems.table.schema import Column, Table, Target
from bench.problems.table.target import Labels
from bench.problems.table.understand import Read, read_table
from bench.problems.table.values import Wanted
from bench.problems.table.words import one_line, plural, quoted, shown
from kernels import Network

HIDDEN = 32
LEAST_TABLE = 10  # rows
# Folders of the program's own studies and files
RESERVED = (
    "notes", "xor", "digits", "iris", "wine", "breast_cancer", "diabetes", "all", "mistakes",
    "reference", "history", "calibration", "compare", "peers", "roofline",
)  # fmt: skip


def load_table(source: str | Path | pd.DataFrame, options: TableOptions) -> Problem:
    """Read a table and make a problem of it.

    Parameters
    ----------
    source
        A CSV file (perhaps packed by gzip), a Parquet file or a data frame.
    options
        With the target's name.

    Returns
    -------
    Problem
        With one hidden layer of 32 ReLU units, and `table`, which says what was understood.

    Raises
    ------
    InputError
        In one line, for what cannot be read or learned from; names file, column, row, way out.
    """
    name = given_name(options.name)
    read, parts = _fitted(read_table(open_source(source, options), options), options)
    features = _features(read, parts)
    target, y_train, y_test = read.labels.targets(parts.train, parts.test)
    n_used = len(parts.train) + len(parts.test)
    table = Table(
        reading=read.reading,
        options=options,
        n_rows=read.n_rows,
        n_rows_used=n_used,
        n_rows_dropped=read.n_rows - n_used,
        columns=_in_order(read, target),
        target=target,
        mean=features.mean,
        scale=features.scale,
    )
    return Problem(
        name=name or study_name(read.reading.source),
        title=title(table),
        network=network_of(len(features.names), target),
        X_train=features.train,
        y_train=y_train,
        X_test=features.test,
        y_test=y_test,
        feature_names=features.names,
        class_names=target.classes,
        preparation=preparation(table),
        table=table,
    )


def _fitted(read: Read, options: TableOptions) -> tuple[Read, Split]:
    """Split the rows, and find out on the training split what becomes of each column."""
    labels, parts = _split(read, options)
    columns = [
        _fitted_column(column, wanted, parts.train, options.missing)
        for column, wanted in zip(read.columns, read.wanted, strict=True)
    ]
    left = read.without_dropped(columns)
    if options.missing == "drop" and any(c.kind == "dropped" and c.n_missing for c in columns):
        # Rows were left out for gaps in a column that is of no use: they are used after all
        kept = {column.name for column in left.columns}
        unfitted = [c for c in read.columns if c.name in kept]
        return _fitted(replace(left, columns=tuple(unfitted)), options)
    return replace(left, columns=_named_apart(left.columns), labels=labels), parts


def _fitted_column(column: Column, wanted: Wanted, train: Rows, missing: str) -> Column:
    """Return a column with what the training split says of it."""
    if column.kind == "category":
        return fitted_category(column, wanted.values(), list(wanted.levels), train, missing)
    return fitted_value(column, wanted.values(), train, missing)


def _split(read: Read, options: TableOptions) -> tuple[Labels, Split]:
    """Choose rows and classes, and split them."""
    place, labels = read.source.label, read.labels
    used = np.flatnonzero(known_rows(read.source, read.wanted, options.missing, labels.known))
    if not len(used):
        raise InputError(
            f"{place}: every row has a gap: --missing median fills them, --drop leaves out columns"
        )
    if len(used) >= LEAST_TABLE:
        labels, used = labels.settled(used)
    n_test = int(np.ceil(options.test_size * len(used)))
    n_train = len(used) - n_test
    least = max(2, len(labels.classes))
    if min(n_test, n_train) < least or len(used) < LEAST_TABLE:
        raise InputError(
            f"{place}: {plural(len(used), 'usable row')} are too few for the target "
            f"{quoted(labels.name)} and --test-size {options.test_size:g}, which leaves "
            f"{n_train} to train and {n_test} to test: a table needs at least {LEAST_TABLE} rows, "
            f"and {least} of each"
        )
    codes = labels.codes[used] if labels.classes else None
    train, test = split(len(used), codes, options.test_size)
    parts = Split(used[train], used[test])
    return labels.checked(parts.train, parts.test), parts


def _named_apart(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns with features of which no two have the same name."""
    taken: set[str] = set()
    apart = []
    for column in columns:
        names = []
        for name in column.features:
            while name in taken:
                name += "_"
            taken.add(name)
            names.append(name)
        apart.append(replace(column, features=tuple(names)))
    return tuple(apart)


@dataclass(frozen=True)
class _Features:
    """X of both splits, with names, means and deviations of its columns."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]
    names: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


def _features(read: Read, parts: Split) -> _Features:
    """Make the features of one column after the other; values are forgotten as they are used."""
    places = positions(read.columns)
    n = sum(map(len, places.values()))
    train, test = (np.empty((len(rows), n), np.float32) for rows in (parts.train, parts.test))
    names, mean, scale = [""] * n, np.empty(n), np.empty(n)
    for column, wanted in zip(read.columns, read.wanted, strict=True):
        features = features_of(column, wanted.taken(), list(wanted.levels))
        for j, name, (offset, feature) in zip(
            places[column.name], column.features, features, strict=True
        ):
            names[j] = name
            mean[j], scale[j] = standardization(feature[parts.train], offset)
            for X, rows in ((train, parts.train), (test, parts.test)):
                X[:, j] = standardized(feature[rows], offset, mean[j], scale[j])
    return _Features(train, test, tuple(names), mean, scale)


def _in_order(read: Read, target: Target) -> tuple[Column, ...]:
    """All columns in the table's order."""
    known = {column.name: column for column in (*read.columns, *read.left_out)}
    known[target.name] = Column(target.name, "target", target.n_missing, target.told)
    return tuple(known[name] for name in read.source.names)


def network_of(n_features: int, target: Target) -> Network:
    """Return the network for a target: one hidden layer, the output that its kind asks for."""
    if target.task == "regression":
        return Network((n_features, HIDDEN, 1), "relu", "linear", "half_mse")
    if len(target.classes) == 2:
        return Network((n_features, HIDDEN, 1), "relu", "sigmoid", "bce")
    return Network((n_features, HIDDEN, len(target.classes)), "relu", "softmax", "ce")


def given_name(name: str | None) -> str | None:
    """Return the name that the user gave.

    Raises
    ------
    InputError
        For one of the program's own folders.
    """
    if name is not None and name.casefold() in RESERVED:
        raise InputError(f"name: {name} is a study or folder of batchbench's own, give another one")
    return name


def study_name(source: str) -> str:
    """Return a folder's name for a file's, other than those of the program's own studies."""
    stem = Path(source).name.split(".")[0] if source else "table"
    safe = re.sub(r"[^\w.-]+", "_", stem).strip("._-")
    # A folder's name may have 255 bytes, of which what is being written takes some
    safe = safe.encode()[:100].decode("utf-8", "ignore") or "table"
    return f"{safe}_table" if safe.casefold() in RESERVED or is_device(safe) else safe


def title(table: Table) -> str:
    """Return the file's name and the size of its table."""
    file = Path(table.reading.source).name or "A data frame"
    size = f"{plural(table.n_rows, 'row')} x {plural(len(table.columns), 'column')}"
    return f"{one_line(file)}, {size}"


def preparation(table: Table) -> tuple[str, ...]:
    """Return what was done to the table, a sentence each, gaps first."""
    gaps = [c for c in table.columns if c.n_missing and c.kind not in ("dropped", "target")]
    told = [f"{shown(c.name)}: {plural(c.n_missing, 'gap')}; {c.told}." for c in gaps]
    if table.n_rows_dropped:
        told.append(f"{table.n_rows_dropped:,} of {plural(table.n_rows, 'row')} left out.")
    others = [c for c in table.columns if c.told and c not in gaps]
    told += [f"{shown(c.name)}: {c.told}." for c in others]
    how = "drawn" if table.target.task == "regression" else "stratified by class and drawn"
    told.append(
        f"A share of {table.options.test_size:g} of the rows, {how} with random_state 0, is held "
        "out as the test split."
    )
    told.append("Each feature is standardized by the training split's mean and standard deviation.")
    return tuple(told)
