"""From a table to a problem: which columns, what they hold, the split, the features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems.prepare import split
from bench.problems.problem import Problem
from bench.problems.table.columns import STYLES, Profile, choose_style, profiles
from bench.problems.table.encode import (
    Array,
    Split,
    fitted_category,
    fitted_value,
    gap_error,
    is_gap,
    ordered_features,
    standardization,
    wanted_columns,
)
from bench.problems.table.options import TableOptions
from bench.problems.table.read import Source, one_line, open_source
from bench.problems.table.schema import VALUED, Column, Reading, Table, Target
from bench.problems.table.target import Labels, read_target
from bench.problems.table.values import MOST_LEVELS, Wanted, read_columns
from kernels import Network

HIDDEN = 32
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
    arrays: list[Array]
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
    if options.target is None:
        listed = ", ".join(opened.names[:12])
        raise InputError(
            one_line(f"{opened.label}: --target names the column to predict, one of {listed}")
        )
    read, left_out = _read(opened, options)
    used = _used_rows(read, options)
    parts = _split(read, used, options)
    columns = [
        _fitted(column, wanted, values, parts.train, options.missing)
        for column, wanted, values in zip(read.columns, read.wanted, read.arrays, strict=True)
    ]
    return _problem(read, left_out, columns, parts, options)


def _read(source: Source, options: TableOptions) -> tuple[Read, list[Column]]:
    """Decide what the columns hold, and read them; also the columns that are left out."""
    chosen, left_out = _chosen(source, options)
    target = source.index(str(options.target), "--target")
    found = dict(zip(chosen, profiles(source, chosen), strict=True))
    labels_profile = profiles(source, [target])[0]
    n_rows = labels_profile.rows
    if not n_rows:
        raise InputError(f"{source.label}: no rows below the names of the columns")
    everything = [*found.values(), labels_profile]
    style, told = choose_style(everything, options.decimal, source.reading.sep)
    reading = replace(
        source.reading, decimal=STYLES[style].decimal, thousands=STYLES[style].thousands
    )
    columns = [_understood(source, k, p, style, told) for k, p in found.items()]
    left_out += [c for c in columns if c.kind == "dropped"]
    kept = [c for kind in (*VALUED, "category") for c in columns if c.kind == kind]
    kept = [replace(c, offset=_offset(found[source.names.index(c.name)])) for c in kept]
    wanted = wanted_columns(kept, source, reading)
    labels = read_target(source, target, labels_profile, style, options)
    if kept:
        read_columns(source, wanted)
    arrays = [column.values() for column in wanted]
    read = Read(source, reading, kept, wanted, arrays, labels, n_rows)
    left_out += _drop_identifiers(read)
    if not read.columns:
        why = "; ".join(f"{c.name}: {c.told}" for c in left_out[:5]) or "there is no other column"
        raise InputError(
            one_line(f"{source.label}: no column is left to learn from ({why}): see --features")
        )
    return read, left_out


def _chosen(source: Source, options: TableOptions) -> tuple[list[int], list[Column]]:
    """Numbers of the columns to learn from, and the columns that the user left out."""
    target = str(options.target)
    source.index(target, "--target")
    for name in options.drop:
        source.index(name, "--drop")
        if name == target:
            raise InputError(one_line(f"--drop leaves out the target {name!r}: name another"))
    for name in options.features or ():
        source.index(name, "--features")
        if name == target:
            raise InputError(one_line(f"--features holds the target {name!r}: leave it out"))
    others = [name for name in source.names if name != target]
    dropped = dict.fromkeys(options.drop, "left out by --drop")
    if options.features is not None:
        rest = set(others) - set(options.features)
        dropped = dict.fromkeys(rest, "not among --features") | dropped
    chosen = [source.names.index(name) for name in others if name not in dropped]
    return chosen, [Column(n, "dropped", told=dropped[n]) for n in others if n in dropped]


def _understood(source: Source, number: int, profile: Profile, style: int, told: object) -> Column:
    """Return a column's kind, or why it is of no use."""
    name, kind = source.names[number], profile.kind(style)
    if kind == "":
        raise InputError(
            one_line(
                f"{source.label}: column {name!r} holds neither numbers, dates nor texts: "
                "leave it out with --drop"
            )
        )
    if profile.infinite is not None and kind in ("number", "date"):
        raise InputError(
            one_line(
                f"{source.label}: column {name!r}, row {profile.infinite + 2}: an infinite number: "
                "mend it, or name it in --na-values"
            )
        )
    largest = max(abs(profile.least), abs(profile.greatest))
    if kind == "number" and profile.gaps < profile.rows and largest > np.finfo(np.float32).max / 4:
        raise InputError(
            one_line(
                f"{source.label}: column {name!r} holds {largest:.3g}, too large for 32-bit "
                "numbers: rescale it, or leave it out with --drop"
            )
        )
    about = {"name": name, "n_missing": profile.gaps}
    useless = _useless(profile, kind)
    if useless:
        return Column(kind="dropped", told=useless, **about)  # type: ignore[arg-type]
    text = profile.typed is None
    if kind == "date":
        form = profile.formats[0] if text else None
        said = (
            f"became the number of days since 1970 ({form})" if form else "became days since 1970"
        )
        if text and {"%d/%m/%Y", "%m/%d/%Y"} <= set(profile.formats):
            said += ", the day first"
        return Column(kind=kind, told=said, date_format=form, **about)  # type: ignore[arg-type]
    if kind == "number":
        plain = not text or 0 in profile.styles
        said = "" if plain else str(told(name)).removeprefix(f"{name} ")  # type: ignore[operator]
        return Column(kind=kind, told=said, **about)  # type: ignore[arg-type]
    if kind == "boolean":
        return Column(kind=kind, told="0 and 1", levels=("False", "True"), **about)  # type: ignore[arg-type]
    return Column(kind=kind, **about)  # type: ignore[arg-type]


def _useless(profile: Profile, kind: str) -> str:
    """Why nothing can be learned from a column, or nothing."""
    if profile.gaps == profile.rows:
        return "dropped: all gaps"
    if kind not in ("number", "date"):
        return ""
    if profile.least == profile.greatest and not profile.gaps:
        return "dropped: the same value in every row"
    if kind == "number" and profile.counting and profile.rows > 2:
        return "dropped: counts the rows"
    return ""


def _offset(profile: Profile) -> float:
    """Return a number amid the column's values, so that differences survive rounding."""
    middle = profile.least / 2 + profile.greatest / 2
    return float(np.float64(middle)) if np.isfinite(middle) else 0.0


def _drop_identifiers(read: Read) -> list[Column]:
    """Take out categories with one level, or with levels that tell rows apart; return them."""
    dropped = []
    for k in reversed(range(len(read.columns))):
        column, n_levels = read.columns[k], len(read.wanted[k].levels)
        if column.kind != "category":
            continue
        known = read.n_rows - column.n_missing
        why = ""
        if n_levels > max(FEW_LEVELS, IDENTIFYING * known) or n_levels > MOST_LEVELS:
            why = f"dropped: {n_levels:,} different texts in {known:,} rows, like an identifier"
        elif n_levels == 1 and not column.n_missing:
            why = "dropped: the same value in every row"
        if why:
            dropped.append(replace(column, kind="dropped", told=why))
            for part in (read.columns, read.wanted, read.arrays):
                del part[k]
    return dropped[::-1]


def _used_rows(read: Read, options: TableOptions) -> NDArray[np.int64]:
    """Row numbers with a target, of enough members, and without gaps where these are not filled."""
    used = read.labels.known.copy()
    for column, values in zip(read.columns, read.arrays, strict=True):
        if options.missing in ("drop", "error"):
            gaps = is_gap(values) & read.labels.known
            if options.missing == "error" and gaps.any():
                raise gap_error(read.source, column.name, int(gaps.argmax()))
            used &= ~gaps
    return np.flatnonzero(used)


def _split(read: Read, used: NDArray[np.int64], options: TableOptions) -> Split:
    """Choose the classes and the split."""
    label, name = read.source.label, options.target
    if not len(used):
        raise InputError(
            one_line(f"{label}: every row has a gap: --missing median fills them, --drop helps too")
        )
    rows = read.labels.settle(used, label)
    codes = read.labels.codes[rows] if read.labels.classes else None
    n_test = int(np.ceil(options.test_size * len(rows)))
    n_train = len(rows) - n_test
    least = max(2, len(read.labels.classes))
    if min(n_test, n_train) < least or len(rows) < LEAST:
        raise InputError(
            one_line(
                f"{label}: {len(rows)} usable rows are too few for column {name!r} and --test-size "
                f"{options.test_size:g}: {n_train} to train and {n_test} to test; at least {LEAST} "
                f"rows and {least} of each are needed"
            )
        )
    train, test = split(len(rows), codes, options.test_size)
    if codes is None and np.ptp(read.labels.values[rows[train]]) == 0.0:
        raise InputError(
            one_line(
                f"{label}: column {name!r} has one value in all training rows: nothing to learn"
            )
        )
    return Split(rows[train], rows[test])


LEAST = 10  # rows


def _fitted(
    column: Column, wanted: Wanted, values: Array, train: NDArray[np.int64], missing: str
) -> Column:
    """Return a column with what the training split says of it."""
    if column.kind == "category":
        return fitted_category(column, values, list(wanted.levels), train, missing)
    return fitted_value(column, values, train, missing)


def _problem(
    read: Read,
    left_out: Sequence[Column],
    columns: Sequence[Column],
    parts: Split,
    options: TableOptions,
) -> Problem:
    """Assemble the arrays feature by feature."""
    levels = [list(wanted.levels) for wanted in read.wanted]
    names = feature_names(columns)
    X_train, X_test = (
        np.empty((len(rows), len(names)), np.float32) for rows in (parts.train, parts.test)
    )
    mean, scale = np.empty(len(names)), np.empty(len(names))
    for j, (offset, feature) in enumerate(ordered_features(columns, read.arrays, levels)):
        centre, scale[j] = standardization(feature, parts.train)
        mean[j] = centre + offset
        centre = mean[j] - offset  # as `encode` will have it, to the bit
        X_train[:, j] = (feature[parts.train] - centre) / scale[j]
        X_test[:, j] = (feature[parts.test] - centre) / scale[j]
    target, y_train, y_test = read.labels.targets(parts.train, parts.test)
    table = Table(
        reading=read.reading,
        options=options,
        n_rows=read.n_rows,
        n_rows_used=len(parts.train) + len(parts.test),
        n_rows_dropped=read.n_rows - len(parts.train) - len(parts.test),
        columns=_in_order(read.source.names, [*columns, *left_out], target),
        target=target,
        mean=mean,
        scale=scale,
    )
    stem = Path(read.reading.source).name.split(".")[0] if read.reading.source else "table"
    file = Path(read.reading.source).name or "A data frame"
    return Problem(
        name=options.name or study_name(stem),
        title=one_line(f"{file}, {read.n_rows:,} rows x {len(read.source.names)} columns"),
        network=network_of(len(names), target),
        X_train=X_train,
        y_train=y_train,
        X_test=X_test,
        y_test=y_test,
        feature_names=names,
        class_names=target.classes,
        preparation=preparation(table),
        table=table,
    )


def feature_names(columns: Sequence[Column]) -> tuple[str, ...]:
    """Names of the columns of X, in their order."""
    valued = [c for c in columns if c.kind != "category"]
    names = [c.features[0] for c in valued] + [c.features[1] for c in valued if c.indicator]
    return (*names, *(name for c in columns if c.kind == "category" for name in c.features))


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


def study_name(stem: str) -> str:
    """Return a folder's name for a file's, other than those of the program's own studies."""
    safe = re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:100] or "table"
    return f"{safe}_table" if safe in RESERVED else safe


def preparation(table: Table) -> tuple[str, ...]:
    """Return what was done to the table, a sentence each, gaps first."""
    gaps = [c for c in table.columns if c.n_missing and c.kind not in ("dropped", "target")]
    told = [f"{c.name}: {c.n_missing:,} gaps; {c.told}." for c in gaps]
    if table.n_rows_dropped:
        told.append(f"{table.n_rows_dropped:,} of {table.n_rows:,} rows are left out.")
    others = [c for c in table.columns if c.told and c not in gaps]
    told += [f"{c.name}: {c.told}." for c in others]
    share = f"{table.options.test_size:g}"
    how = "drawn" if table.target.task == "regression" else "stratified by class and drawn"
    told.append(f"A share of {share} of the rows, {how} with random_state 0, is held out.")
    told.append("Each feature is standardized by the training split's mean and deviation.")
    return tuple(told)
