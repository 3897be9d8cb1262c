"""From a table to a problem: which columns, what they hold, the split, the features."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bench.errors import InputError
from bench.problems.prepare import split
from bench.problems.problem import Problem
from bench.problems.table.columns import STYLES, Marks, Profile, choose_style, profiles
from bench.problems.table.encode import (
    Array,
    Rows,
    Split,
    dropped,
    features_of,
    fitted_category,
    fitted_value,
    known_rows,
    positions,
    standardization,
    standardized,
    wanted_columns,
)
from bench.problems.table.options import TableOptions
from bench.problems.table.read import Source, open_source
from bench.problems.table.schema import VALUED, Column, Reading, Table, Target
from bench.problems.table.target import MOSTLY, Labels, labels_of, wanted_target
from bench.problems.table.values import MOST_LEVELS, Wanted, read_columns
from bench.problems.table.words import listed, one_line, plural, quoted, shown
from kernels import Network

HIDDEN = 32
LEAST_TABLE = 10  # rows
# Folders of the program's own studies and files
RESERVED = (
    "notes", "digits", "iris", "wine", "breast_cancer", "diabetes", "all", "reference", "history",
)  # fmt: skip
IDENTIFYING = 0.5  # of the known cells of a text column: more levels than this tell rows apart
FEW_LEVELS = 20  # and so few levels are categories anyway


@dataclass
class Read:
    """A table that was read: its columns in the order of features, and the target."""

    source: Source
    reading: Reading
    columns: list[Column]
    wanted: list[Wanted]
    labels: Labels
    n_rows: int


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
    opened = open_source(source, options)
    _check_names(opened, options)
    read, left_out = _read(opened, options)
    parts = _split(read, options)
    fitted = []
    for column, wanted in zip(read.columns, read.wanted, strict=True):
        fitted.append(_fitted(column, wanted, parts.train, options.missing))
    left_out += [column for column in fitted if column.kind == "dropped"]
    pairs = [(c, w) for c, w in zip(fitted, read.wanted, strict=True) if c.kind != "dropped"]
    read.columns, read.wanted = _named_apart(c for c, _ in pairs), [w for _, w in pairs]
    _check_features(read, left_out)
    return _problem(read, left_out, parts, options)


def _check_names(source: Source, options: TableOptions) -> None:
    """Refuse names of columns that are not there, or make no sense together."""
    if options.target is None:
        raise InputError(
            f"{source.label}: --target names the column to predict, one of {listed(source.names)}"
        )
    target = str(options.target)
    if len(source.names) == 1:
        found = f" was found with the separator {source.reading.sep!r}: --sep gives another, and"
        raise InputError(
            f"{source.label}: only one column{found if source.reading.format == 'csv' else ':'} "
            "a table needs a target and a feature"
        )
    source.index(target, "--target")
    for option, names in (("--drop", options.drop), ("--features", options.features or ())):
        for name in names:
            source.index(name, option)
            if name == target:
                raise InputError(
                    f"{source.label}: {option} names the target {quoted(name)}: leave it out there"
                )


def _read(source: Source, options: TableOptions) -> tuple[Read, list[Column]]:
    """Decide what the columns hold, and read them; also the columns that are left out."""
    chosen, left_out = _chosen(source, options)
    target = source.index(str(options.target), "--target")
    *found, labels_found = profiles(source, [*chosen, target])
    if not labels_found.rows:
        raise InputError(f"{source.label}: no rows below the names of the columns: add some")
    marks = choose_style([*found, labels_found], options.decimal, source.reading.sep)
    style = STYLES[marks.style]
    reading = replace(source.reading, decimal=style.decimal, thousands=style.thousands)
    columns = [
        _understood(source, number, profile, marks)
        for number, profile in zip(chosen, found, strict=True)
    ]
    left_out += [c for c in columns if c.kind == "dropped"]
    kept = [c for kind in (*VALUED, "category") for c in columns if c.kind == kind]
    wanted = wanted_columns(kept, source, reading, labels_found.rows)
    targets = wanted_target(source, target, labels_found, marks.style, options)
    read_columns(source, [*wanted, *targets])
    labels = labels_of(targets, source, options)
    kept = [replace(c, offset=w.offset or 0.0) for c, w in zip(kept, wanted, strict=True)]
    read = Read(source, reading, kept, wanted, labels, labels_found.rows)
    left_out += _drop_useless(read, options)
    _check_features(read, left_out)
    return read, left_out


def _chosen(source: Source, options: TableOptions) -> tuple[list[int], list[Column]]:
    """Numbers of the columns to learn from, and the columns that the user left out."""
    others = [name for name in source.names if name != str(options.target)]
    left_out = dict.fromkeys(options.drop, "left out by --drop")
    if options.features is not None:
        wanted = set(options.features)
        rest = [name for name in others if name not in wanted]
        left_out = dict.fromkeys(rest, "not among --features") | left_out
    chosen = [source.index(name, "a feature") for name in others if name not in left_out]
    return chosen, [Column(n, "dropped", told=left_out[n]) for n in others if n in left_out]


def _understood(source: Source, number: int, profile: Profile, marks: Marks) -> Column:
    """Return a column's kind, or why it is of no use."""
    kind = profile.kind(marks.style)
    column = Column(source.names[number], kind, profile.gaps)
    if kind == "":
        raise InputError(
            f"{source.label}: column {quoted(column.name)} holds neither numbers, dates nor "
            "texts: leave it out with --drop"
        )
    if profile.gaps == profile.rows:
        return dropped(column, "all gaps")
    if kind == "boolean":
        return replace(column, told="0 and 1", levels=("False", "True"))
    if kind == "date":
        return _understood_date(column, profile)
    if kind == "number":
        plain = profile.typed is not None or 0 in profile.styles
        return replace(column, told="" if plain and marks.style == 0 else marks.told())
    return replace(column, told=_mistakes(source, profile))


def _understood_date(column: Column, profile: Profile) -> Column:
    """Return a column of dates, with what became of them."""
    told = "became days since 1970"
    if profile.typed is not None:
        return replace(column, told=told)
    form = profile.formats[0]
    shape = {f.translate(_DAY_AND_MONTH) for f in profile.formats}
    if len(profile.formats) > len(shape):
        told += f", read with the day first ({form}; if that is wrong, write YYYY-MM-DD)"
    elif form != "ISO8601":
        told += f", read as {form}"
    return replace(column, told=told, date_format=form)


_DAY_AND_MONTH = str.maketrans("dm", "xx")


def _mistakes(source: Source, profile: Profile) -> str:
    """Say which cell keeps a column of texts from being one of numbers, if few cells do."""
    known = profile.rows - profile.gaps
    if profile.typed is not None or profile.codes or profile.n_numbers < MOSTLY * known:
        return ""
    if profile.odd is None:
        return "texts, for its numbers are written in another way than those of other columns"
    row, cell = profile.odd
    return f"texts, for {quoted(cell)} in row {source.row(row)} is no number"


def _drop_useless(read: Read, options: TableOptions) -> list[Column]:
    """Take out the columns from which nothing can be learned, and return them."""
    reasons = [
        _useless(column, wanted, options)
        for column, wanted in zip(read.columns, read.wanted, strict=True)
    ]
    out = [
        dropped(column, "; ".join(filter(None, [why, column.told * (column.kind == "category")])))
        for column, why in zip(read.columns, reasons, strict=True)
        if why
    ]
    kept = [k for k, why in enumerate(reasons) if not why]
    read.columns = [read.columns[k] for k in kept]
    read.wanted = [read.wanted[k] for k in kept]
    return out


def _useless(column: Column, wanted: Wanted, options: TableOptions) -> str:
    """Why nothing can be learned from a column, or nothing."""
    values = wanted.values()
    known = len(values) - column.n_missing
    gaps_tell = column.n_missing and options.missing == "median"
    if column.kind == "category":
        n_levels = len(wanted.levels)
        if n_levels > max(FEW_LEVELS, min(IDENTIFYING * known, MOST_LEVELS)):
            count = f"more than {MOST_LEVELS:,}" if n_levels > MOST_LEVELS else f"{n_levels:,}"
            return f"{count} different texts in {known:,} rows, like an identifier"
        return "the same value in every row" if n_levels == 1 and not gaps_tell else ""
    if np.nanmin(values) == np.nanmax(values):
        return "" if gaps_tell else "the same value in every row"
    counts = column.kind == "number" and options.features is None and _counts_rows(values)
    return "counts the rows, like an identifier (--features keeps it)" if counts else ""


def _counts_rows(values: Array) -> bool:
    """Whether a column holds n successive whole numbers, in any order."""
    steps = values - values.min()
    if steps.max() != len(values) - 1 or (steps != np.floor(steps)).any():
        return False
    return bool((np.bincount(steps.astype(np.int64)) == 1).all())


def _check_features(read: Read, left_out: Sequence[Column]) -> None:
    """Refuse a table without a column to learn from."""
    if read.columns:
        return
    why = "; ".join(f"{shown(c.name, 30)}: {shown(c.told)}" for c in left_out[:4])
    raise InputError(
        f"{read.source.label}: no feature is left to learn from ({why}): see --features and --drop"
    )


def _split(read: Read, options: TableOptions) -> Split:
    """Choose rows and classes, and split them."""
    place = read.source.label
    keep = known_rows(read.source, read.wanted, options.missing, read.labels.known)
    used = np.flatnonzero(keep)
    if not len(used):
        raise InputError(
            f"{place}: every row has a gap: --missing median fills them, --drop leaves out columns"
        )
    if len(used) >= LEAST_TABLE:
        used = read.labels.settle(used)
    n_test = int(np.ceil(options.test_size * len(used)))
    n_train = len(used) - n_test
    least = max(2, len(read.labels.classes))
    if min(n_test, n_train) < least or len(used) < LEAST_TABLE:
        raise InputError(
            f"{place}: {plural(len(used), 'usable row')} are too few for the target "
            f"{quoted(read.labels.name)} and --test-size {options.test_size:g}, which leaves "
            f"{n_train} to train and {n_test} to test: a table needs at least {LEAST_TABLE} rows, "
            f"and {least} of each"
        )
    codes = read.labels.codes[used] if read.labels.classes else None
    train, test = split(len(used), codes, options.test_size)
    parts = Split(used[train], used[test])
    read.labels.check_split(parts.train, parts.test)
    return parts


def _fitted(column: Column, wanted: Wanted, train: Rows, missing: str) -> Column:
    """Return a column with what the training split says of it."""
    if column.kind == "category":
        return fitted_category(column, wanted.values(), list(wanted.levels), train, missing)
    return fitted_value(column, wanted.values(), train, missing)


def _named_apart(columns: Iterable[Column]) -> list[Column]:
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
    return apart


def _problem(
    read: Read, left_out: Sequence[Column], parts: Split, options: TableOptions
) -> Problem:
    """Assemble the arrays feature by feature."""
    places = positions(read.columns)
    n_features = sum(map(len, places.values()))
    X_train, X_test = (
        np.empty((len(rows), n_features), np.float32) for rows in (parts.train, parts.test)
    )
    names = [""] * n_features
    mean, scale = np.empty(n_features), np.empty(n_features)
    read.wanted.reverse()
    for column in read.columns:
        wanted = read.wanted.pop()  # its values are not kept beside their features
        features = features_of(column, wanted.values(), list(wanted.levels))
        for j, name, (offset, feature) in zip(
            places[column.name], column.features, features, strict=True
        ):
            mean[j], scale[j] = standardization(feature[parts.train], offset)
            X_train[:, j] = standardized(feature[parts.train], offset, mean[j], scale[j])
            X_test[:, j] = standardized(feature[parts.test], offset, mean[j], scale[j])
            names[j] = name
    target, y_train, y_test = read.labels.targets(parts.train, parts.test)
    n_used = len(parts.train) + len(parts.test)
    table = Table(
        reading=read.reading,
        options=options,
        n_rows=read.n_rows,
        n_rows_used=n_used,
        n_rows_dropped=read.n_rows - n_used,
        columns=_in_order(read.source.names, [*read.columns, *left_out], target),
        target=target,
        mean=mean,
        scale=scale,
    )
    return Problem(
        name=options.name or study_name(read.reading.source),
        title=title(table),
        network=network_of(n_features, target),
        X_train=X_train,
        y_train=y_train,
        X_test=X_test,
        y_test=y_test,
        feature_names=tuple(names),
        class_names=target.classes,
        preparation=preparation(table),
        table=table,
    )


def _in_order(
    names: Sequence[str], columns: Sequence[Column], target: Target
) -> tuple[Column, ...]:
    """All columns in the table's order."""
    known = {column.name: column for column in columns}
    known[target.name] = Column(target.name, "target", target.n_missing, target.told)
    return tuple(known[name] for name in names)


def network_of(n_features: int, target: Target) -> Network:
    """Return the network for a target: one hidden layer, the output that its kind asks for."""
    if target.task == "regression":
        return Network((n_features, HIDDEN, 1), "relu", "linear", "half_mse")
    if len(target.classes) == 2:
        return Network((n_features, HIDDEN, 1), "relu", "sigmoid", "bce")
    return Network((n_features, HIDDEN, len(target.classes)), "relu", "softmax", "ce")


def study_name(source: str) -> str:
    """Return a folder's name for a file's, other than those of the program's own studies."""
    stem = Path(source).name.split(".")[0] if source else "table"
    safe = re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:100] or "table"
    return f"{safe}_table" if safe in RESERVED else safe


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
