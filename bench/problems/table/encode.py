"""Columns become features: gaps are filled, levels counted, everything standardized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems.prepare import CONSTANT
from bench.problems.table.columns import STYLES
from bench.problems.table.read import Source, open_source
from bench.problems.table.schema import Column, Reading, Table
from bench.problems.table.values import GAP, Wanted, read_columns
from bench.problems.table.words import plural, shown

GAP_LEVEL = "missing"  # the level of a category's gaps
OTHER = "other"  # the feature of rare levels
LEAST_ROWS, LEAST_SHARE = 5, 0.005  # of the training rows: levels with fewer are rare
MOST_FEATURES = 30  # levels with a feature of their own, the most frequent

Rows = NDArray[np.int64]
Array = NDArray[Any]


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
    if not len(known):
        return dropped(column, "all gaps in the training rows")
    gaps = len(known) < len(mine)
    if not gaps and known.min() == known.max():
        return dropped(column, "the same value in every training row")
    if missing == "most_frequent":
        found, counts = np.unique(known, return_counts=True)
        fill = float(found[counts.argmax()]) + column.offset
    else:
        fill = float(np.median(known)) + column.offset
    told = [column.told] if column.told else []
    if column.n_missing and missing in ("median", "most_frequent"):
        how = "most frequent value" if missing == "most_frequent" else "median"
        told.append(f"gaps filled with the {how} {_shown_value(fill, column.kind)}")
    if gaps:
        told.append("indicator column added")
    if column.n_missing and missing == "drop":
        told.append("rows with gaps left out")
    features = (column.name, f"{column.name} is missing") if gaps else (column.name,)
    return replace(column, told=", ".join(told), fill=fill, indicator=gaps, features=features)


def _shown_value(value: float, kind: str) -> str:
    """Return a value as people write it."""
    if kind == "date":
        return str((pd.Timestamp(0) + pd.Timedelta(days=value)).date())
    return f"{value:.6g}"


def dropped(column: Column, why: str) -> Column:
    """Return a column that is left out, with the reason."""
    return Column(column.name, "dropped", column.n_missing, f"dropped: {why}")


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
    found = {level: n for level, n in zip(levels, counts[1:].tolist(), strict=True) if n}
    if not found:
        return dropped(column, "all gaps in the training rows")
    fill = _gap_level(found, levels, missing)
    if counts[0]:
        found[fill] = found.get(fill, 0) + int(counts[0])
    if len(found) == 1:
        return dropped(column, "the same value in every training row")
    limit = max(LEAST_ROWS, LEAST_SHARE * len(train))
    frequent = sorted(found, key=lambda level: (-found[level], level))
    kept = sorted([level for level in frequent if found[level] >= limit][:MOST_FEATURES])
    pooled = tuple(sorted(set(found) - set(kept)))
    names = [*kept, *([OTHER] if pooled else [])]
    if len(names) == 1:
        return dropped(column, f"{plural(len(pooled), 'level')}, all rare")
    fitted = replace(
        column,
        fill=fill,
        levels=tuple(kept),
        pooled=pooled,
        features=tuple(f"{column.name} = {name}" for name in names),
    )
    return replace(fitted, told=_told_of_category(fitted, missing))


def _gap_level(found: Mapping[str, int], levels: Sequence[str], missing: str) -> str:
    """Return the level that gaps take: the most frequent one, or a name that no level has."""
    if missing == "most_frequent":
        return min(found, key=lambda level: (-found[level], level))
    fill = GAP_LEVEL
    while fill in levels:
        fill += "_"
    return fill


def _told_of_category(column: Column, missing: str) -> str:
    """Say what became of a category, after what was known of it before."""
    told = [column.told] if column.told else []
    told.append(f"one-hot encoded, {plural(len(column.levels), 'level')}")
    if column.pooled:
        told.append(f"{plural(len(column.pooled), 'rare level')} pooled as one more")
    if column.n_missing and missing == "drop":
        told.append("rows with gaps left out")
    elif column.n_missing and missing == "most_frequent":
        told.append(f"gaps take the most frequent, {shown(str(column.fill))}")
    elif column.n_missing:
        rare = ", which is rare" if column.fill in column.pooled else ""
        told.append(f"gaps take a level of their own ({column.fill}){rare}")
    return ", ".join(told)


def positions(columns: Sequence[Column]) -> dict[str, list[int]]:
    """Return where the features of each column stand in X.

    Parameters
    ----------
    columns
        Number, date and boolean columns first, in that order, then categories.
    """
    valued = [column.name for column in columns if column.kind != "category"]
    places = {name: [j] for j, name in enumerate(valued)}
    n_features = len(places)
    for column in columns:
        for _ in column.features[len(places.get(column.name, [])) :]:
            places.setdefault(column.name, []).append(n_features)
            n_features += 1
    return places


def features_of(
    column: Column, values: Array, levels: Sequence[str]
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Yield the features of a column in the order of their names, with the offset they lack.

    Parameters
    ----------
    column
        As it was fitted.
    values
        What was read: numbers less the column's offset, NaN for gaps; codes of a category.
    levels
        Texts of the codes.
    """
    if column.kind == "category":
        yield from ((0.0, feature) for feature in _level_features(column, values, levels))
        return
    assert isinstance(column.fill, float)
    gaps = np.isnan(values)
    yield column.offset, np.where(gaps, np.float32(column.fill - column.offset), values)
    if column.indicator:
        yield 0.0, gaps.astype(np.float32)


def _level_features(
    column: Column, codes: Array, levels: Sequence[str]
) -> Iterator[NDArray[np.float32]]:
    """Yield a column of 0 and 1 for each level of a category, and one for the pooled ones.

    A level that is none of them counts as pooled where there are such, else has no 1 at all.
    """
    places = {level: k for k, level in enumerate(column.levels)}
    other = len(column.levels)
    # The last is where the code of gaps points
    place = np.array([places.get(level, other) for level in (*levels, str(column.fill))])
    mine = place[codes]
    for k in range(len(column.features)):
        yield (mine == k).astype(np.float32)


def standardization(feature: NDArray[np.float32], offset: float) -> tuple[float, float]:
    """Return mean and deviation of training rows; 1 in place of a deviation of nearly 0."""
    mine = feature.astype(np.float64)
    mean, deviation = float(mine.mean()) + offset, float(mine.std())
    flat = deviation <= CONSTANT * float(np.abs(mine + offset).max())
    return mean, 1.0 if flat else deviation


def standardized(
    feature: NDArray[np.float32], offset: float, mean: float, scale: float
) -> NDArray[np.float64]:
    """Return (feature + offset - mean) / scale."""
    return (feature.astype(np.float64) - (mean - offset)) / scale


def wanted_columns(
    columns: Sequence[Column], source: Source, reading: Reading, n_rows: int = 0
) -> list[Wanted]:
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
            offset=column.offset if column.features else None,
            n_rows=n_rows,
            known=column.levels if column.kind == "category" and column.features else None,
        )
        for column in columns
    ]


def encode(table: Table, source: str | Path | pd.DataFrame) -> tuple[NDArray[np.float32], Rows]:
    """Return the features of other rows and their numbers: see `Table.encode`."""
    own = table.reading
    options = replace(table.options, na_values=own.na_values)
    opened = open_source(source, options)
    columns = [*table.valued, *table.categories]
    wanted = wanted_columns(columns, opened, own)
    if not read_columns(opened, wanted):
        raise InputError(f"{opened.label}: no rows below the names of the columns: add some")
    every = np.ones(len(wanted[0].values()), bool)
    keep = np.flatnonzero(known_rows(opened, wanted, table.options.missing, every))
    X = np.empty((len(keep), len(table.mean)), np.float32)
    places = positions(columns)
    for column, read in zip(columns, wanted, strict=True):
        features = features_of(column, read.values()[keep], list(read.levels))
        for j, (offset, feature) in zip(places[column.name], features, strict=True):
            X[:, j] = standardized(feature, offset, table.mean[j], table.scale[j])
    return X, keep + 1


def known_rows(
    source: Source, wanted: Sequence[Wanted], missing: str, rows: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which of these rows are used: all, but for rows with gaps where `missing` says so.

    Raises
    ------
    InputError
        For a gap where `missing` is "error".
    """
    if missing not in ("drop", "error"):
        return rows
    for column in wanted:
        values = column.values()
        gaps = rows & (values == GAP if column.kind == "category" else np.isnan(values))
        if gaps.any() and missing == "error":
            raise InputError(
                f"{source.cell(column.name, int(gaps.argmax()))}: a gap, and --missing is error: "
                "fill it, or choose --missing median"
            )
        rows = rows & ~gaps
    return rows
