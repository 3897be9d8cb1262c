"""Columns become features: gaps are filled, levels counted, everything standardized."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems.prepare import CONSTANT
from bench.problems.table.columns import STYLES
from bench.problems.table.read import Source, one_line, open_source
from bench.problems.table.schema import Column, Reading, Table
from bench.problems.table.values import GAP, Wanted, read_columns

GAP_LEVEL = "missing"  # the level of a category's gaps
OTHER = "other"  # the feature of rare levels
LEAST_ROWS, LEAST_SHARE = 5, 0.005  # of the training rows: levels with fewer are rare
MOST_FEATURES = 30  # levels with a feature of their own, the most frequent

Rows = NDArray[np.int64]
Array = NDArray[np.generic]


@dataclass(frozen=True)
class Split:
    """Row numbers, in the table, of the training and of the test split."""

    train: Rows
    test: Rows


def fitted_value(column: Column, values: Array, train: Rows, missing: str) -> Column:
    """Return a number, date or boolean with what its gaps take, found on the training split.

    Parameters
    ----------
    column
        Whose `told` is to be completed.
    values
        float32 (n_rows,), less the column's offset; NaN for gaps.
    train
        Row numbers.
    missing
        Option of that name.
    """
    mine = values[train].astype(np.float64)
    known = mine[~np.isnan(mine)]
    gaps = len(known) < len(mine)
    fill = 0.0
    if len(known):
        if missing == "most_frequent":
            found, counts = np.unique(known, return_counts=True)
            fill = float(found[counts.argmax()])
        else:
            fill = float(np.median(known))
    fill += column.offset
    told = [column.told] if column.told else []
    if column.n_missing:
        how = "most frequent value" if missing == "most_frequent" else "median"
        shown = f"day {fill:.0f} since 1970" if column.kind == "date" else f"{fill:.6g}"
        told.append(f"gaps filled with the {how} {shown}")
    if gaps:
        told.append("an indicator column added")
    name = column.name
    features = (name, f"{name} is missing") if gaps else (name,)
    return replace(column, told=", ".join(told), fill=fill, indicator=gaps, features=features)


def fitted_category(
    column: Column, codes: Array, levels: Sequence[str], train: Rows, missing: str
) -> Column:
    """Return a category with its levels, found on the training split.

    Parameters
    ----------
    column
        To be completed.
    codes, levels
        int32 (n_rows,), -1 for gaps, and the texts of the codes.
    train, missing
        As of `fitted_value`.
    """
    counts = np.bincount(codes[train].astype(np.int64) + 1, minlength=len(levels) + 1)
    found = dict(zip(levels, counts[1:].tolist(), strict=True))
    fill = GAP_LEVEL
    while fill in found:
        fill += "_"
    if missing == "most_frequent":
        fill = min(found, key=lambda level: (-found[level], level))
    if column.n_missing:
        found[fill] = found.get(fill, 0) + int(counts[0])
    limit = max(LEAST_ROWS, LEAST_SHARE * len(train))
    frequent = sorted(found, key=lambda level: (-found[level], level))
    kept = [level for level in frequent if found[level] >= limit][:MOST_FEATURES]
    pooled = sorted(set(found) - set(kept))
    told = f"one-hot encoded, {len(kept)} levels"
    if pooled:
        told += f", {len(pooled)} rare ones pooled"
    if column.n_missing:
        filled = "the most frequent level" if missing == "most_frequent" else "a level of their own"
        told += f", gaps take {filled}"
    names = [*sorted(kept), *([OTHER] if pooled else [])]
    return replace(
        column,
        told=told,
        fill=fill,
        levels=tuple(sorted(kept)),
        pooled=tuple(pooled),
        features=tuple(f"{column.name} = {name}" for name in names),
    )


def filled(column: Column, values: Array) -> NDArray[np.float32]:
    """Return the values of a column, less its offset, with gaps filled."""
    assert isinstance(column.fill, float)
    fill = np.float32(column.fill - column.offset)
    return np.where(np.isnan(values), fill, values).astype(np.float32)


def level_features(
    column: Column, codes: Array, levels: Sequence[str]
) -> Iterator[NDArray[np.float32]]:
    """Yield a column of 0 and 1 for each level of a category, and one for the pooled ones.

    A level that is none of them counts as pooled where there are such, else has no 1 at all.
    """
    places = {level: k for k, level in enumerate(column.levels)}
    other = len(column.levels)
    place = np.array([places.get(level, other) for level in levels] + [0])
    place[GAP] = places.get(str(column.fill), other)  # the last, where codes of gaps point
    mine = place[codes.astype(np.int64)]
    for k in range(len(column.features)):
        yield (mine == k).astype(np.float32)


def standardization(feature: NDArray[np.float32], train: Rows) -> tuple[float, float]:
    """Return mean and deviation over the training split; 1 in place of a deviation of nearly 0."""
    mine = feature[train].astype(np.float64)
    mean, deviation = float(mine.mean()), float(mine.std())
    flat = deviation <= CONSTANT * float(np.abs(mine).max())
    return mean, 1.0 if flat else deviation


def wanted_columns(columns: Sequence[Column], source: Source, reading: Reading) -> list[Wanted]:
    """Return what is to be read of a source for these columns, in their order.

    Raises
    ------
    InputError
        Where the source lacks a column.
    """
    style = next(
        s for s in STYLES if (s.decimal, s.thousands) == (reading.decimal, reading.thousands)
    )
    return [
        Wanted(
            number=source.index(column.name, "a feature"),
            name=column.name,
            kind=column.kind,
            gaps=reading.na_values,
            style=style,
            date_format=column.date_format,
            offset=column.offset,
        )
        for column in columns
    ]


def encode(table: Table, source: str | Path | pd.DataFrame) -> tuple[NDArray[np.float32], Rows]:
    """Return the features of other rows and their numbers: see `Table.encode`."""
    own = table.reading
    options = replace(table.options, na_values=own.na_values)
    if own.format == "csv":
        options = replace(options, sep=own.sep, decimal=own.decimal)
    opened = open_source(source, options)
    columns = [*table.valued, *table.categories]
    wanted = wanted_columns(columns, opened, own)
    n_rows = read_columns(opened, wanted)
    if not n_rows:
        raise InputError(f"{opened.label}: no rows below the names of the columns")
    arrays = [column.values() for column in wanted]
    keep = kept_rows(table, opened, columns, arrays)
    X = np.empty((int(keep.sum()), len(table.mean)), np.float32)
    features = ordered_features(columns, arrays, [list(w.levels) for w in wanted])
    for j, (offset, feature) in enumerate(features):
        X[:, j] = (feature[keep] - (table.mean[j] - offset)) / table.scale[j]
    if not np.isfinite(X).all():
        raise InputError(f"{opened.label}: infinite numbers: mend or remove them")
    return X, np.flatnonzero(keep) + 1


def kept_rows(
    table: Table, source: Source, columns: Sequence[Column], arrays: Sequence[Array]
) -> NDArray[np.bool_]:
    """Return which rows are encoded: all, but for rows with gaps where the options say so."""
    keep = np.ones(len(arrays[0]), bool)
    if table.options.missing not in ("drop", "error"):
        return keep
    for column, values in zip(columns, arrays, strict=True):
        gaps = is_gap(values)
        if gaps.any() and table.options.missing == "error":
            raise gap_error(source, column.name, int(gaps.argmax()))
        keep &= ~gaps
    return keep


def is_gap(values: Array) -> NDArray[np.bool_]:
    """Return where a column has gaps."""
    return values == GAP if values.dtype == np.int32 else np.isnan(values)


def gap_error(source: Source, name: str, row: int) -> InputError:
    """Refuse a gap in a row (0-based)."""
    return InputError(
        one_line(
            f"{source.label}: column {name!r}, row {row + 2}: a gap, and --missing is error: "
            "fill it, or choose --missing median"
        )
    )


def ordered_features(
    columns: Sequence[Column],
    arrays: Sequence[Array],
    levels: Sequence[Sequence[str]],
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Yield the features in the order of X, each with the offset that its values lack.

    Parameters
    ----------
    columns
        Number, date and boolean columns first, in that order, then categories.
    arrays, levels
        What was read of each.
    """
    pairs = list(zip(columns, arrays, strict=True))
    for column, values in pairs:
        if column.kind != "category":
            yield column.offset, filled(column, values)
    for column, values in pairs:
        if column.kind != "category" and column.indicator:
            yield 0.0, np.isnan(values).astype(np.float32)
    for (column, codes), texts in zip(pairs, levels, strict=True):
        if column.kind == "category":
            for feature in level_features(column, codes, texts):
                yield 0.0, feature
