"""What was understood of a table, and done to it: enough to do it again to other rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.problems.table.options import TableOptions

if TYPE_CHECKING:
    from typing import Self

VALUED = ("number", "date", "boolean")  # kinds that become one number, in the order of features
Record = TypeVar("Record")
UNUSED = ("dropped", "target")
# Decimal mark, and mark between thousands, of the ways in which numbers are written
NUMBER_MARKS = ((".", None), (",", None), (".", ","), (",", "."))


@dataclass(frozen=True)
class Reading:
    """How a table was read.

    Parameters
    ----------
    source
        The path as given; "" for a data frame.
    format
        "csv", "parquet" or "frame".
    sep, decimal, encoding
        Of a CSV file.
    thousands
        Mark between groups of three digits, None where there is none.
    na_values
        Texts that mark a gap in a feature.
    """

    source: str
    format: str
    sep: str = ","
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"
    na_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Parameters
    ----------
    name
        As it stands in the header.
    kind
        "number", "date", "boolean", "category", "dropped" or "target".
    n_missing
        Gaps, over all rows.
    told
        What was done with it, in words.
    fill
        What gaps take: a number (dates in days since 1970, booleans as 0 and 1), or a level.
    indicator
        Whether a feature tells where its gaps were: where the training split has any.
    levels
        Levels with a feature each, in their order; of a boolean its two texts, false first.
    pooled
        Rare levels that share the feature "other", together with levels never seen.
    features
        Names of the columns of X that it became.
    date_format
        Of a date in a text file, as of `strptime`.
    offset
        A number amid its values, which is subtracted before they are rounded to 32 bits.
    """

    name: str
    kind: str
    n_missing: int = 0
    told: str = ""
    fill: float | str | None = None
    indicator: bool = False
    levels: tuple[str, ...] = ()
    pooled: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    date_format: str | None = None
    offset: float = 0.0


@dataclass(frozen=True)
class Target:
    """The column to predict.

    Parameters
    ----------
    name
        Of the column.
    task
        "classification" or "regression".
    classes
        Labels as they stand in the table, in the order of the network's outputs.
    mean, scale
        Of a regression, over the training split, in the column's own unit; else 0 and 1.
    n_missing
        Rows without a target, which are left out.
    told
        How the task was decided.
    """

    name: str
    task: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    n_missing: int = 0
    told: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it was understood.

    Columns of X: the values of number columns, then of dates, then of booleans, each in the file's
    order; then the indicators of their gaps in the same order; then the levels of each category.

    Parameters
    ----------
    reading, options
        How it was read.
    n_rows, n_rows_used, n_rows_dropped
        Rows of the table, those that are learned from or held out, and those left out.
    columns, target
        What became of each column.
    mean, scale
        float64 (n_features,): X = (features - mean) / scale, over the training split.
    """

    reading: Reading
    options: TableOptions
    n_rows: int
    n_rows_used: int
    n_rows_dropped: int
    columns: tuple[Column, ...]
    target: Target
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def valued(self) -> list[Column]:
        """Columns that became one number each, in the order of their features."""
        return [column for kind in VALUED for column in self.columns if column.kind == kind]

    @property
    def categories(self) -> list[Column]:
        """Columns that became a feature for each level, in their order."""
        return [column for column in self.columns if column.kind == "category"]

    def to_json(self) -> dict[str, Any]:
        """Return plain lists, dicts, texts and numbers."""
        plain = {name: getattr(self, name) for name in ("n_rows", "n_rows_used", "n_rows_dropped")}
        return plain | {
            "reading": asdict(self.reading),
            "options": asdict(self.options),
            "columns": [asdict(column) for column in self.columns],
            "target": asdict(self.target),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """Return the table that `to_json` described.

        Raises
        ------
        ValueError, TypeError, KeyError
            For a field that is missing, unknown, or of another type.
        """
        counts = {name: plain[name] for name in ("n_rows", "n_rows_used", "n_rows_dropped")}
        numbers = {name: tuple(plain[name]) for name in ("mean", "scale")}
        for name, value in (counts | numbers).items():
            _check_type(name, value, int if name in counts else tuple[float, ...])
        return cls(
            reading=_record(Reading, plain["reading"]),
            options=_record(TableOptions, plain["options"]),
            columns=tuple(_record(Column, column) for column in plain["columns"]),
            target=_record(Target, plain["target"]),
            mean=np.array(numbers["mean"], np.float64),
            scale=np.array(numbers["scale"], np.float64),
            **counts,
        )

    def check(self) -> None:
        """Refuse, with a ValueError, fields that contradict each other, as in a changed file."""
        names = [column.name for column in self.columns]
        sound = all(map(_is_sound, self.columns)) and len(set(names)) == len(names)
        n_features = sum(len(column.features) for column in self.columns)
        if not sound or {len(self.mean), len(self.scale)} != {n_features} or not n_features:
            raise ValueError("its columns contradict its features")
        if not (self.scale > 0).all():
            raise ValueError("its deviations are not above 0")
        marks = self.reading.decimal, self.reading.thousands
        if marks not in NUMBER_MARKS:
            raise ValueError(f"numbers are not marked by {marks}")
        classes = self.target.classes
        if (self.target.task == "classification") != bool(classes) or len(classes) == 1:
            raise ValueError("its classes do not fit its task")

    def encode(
        self, source: str | Path | pd.DataFrame
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the features of another table with the same columns.

        Parameters
        ----------
        source
            A file or a data frame; the target and further columns may be there or not.

        Returns
        -------
        X
            float32 (n, n_features), standardized as the training split.
        rows
            int64 (n,): number of each row in the source, from 1; rows with gaps are left out where
            the options say so.

        Raises
        ------
        InputError
            For a column that is missing or holds something else; names file, column and row.
        """
        from bench.problems.table.encode import encode  # which needs this module

        return encode(self, source)


def _is_sound(column: Column) -> bool:
    """Whether a column's fields belong together."""
    if column.kind == "category":
        n_features = len(column.levels) + bool(column.pooled)
        return isinstance(column.fill, str) and len(column.features) == n_features
    if column.kind in VALUED:
        value = isinstance(column.fill, float)
        return value and len(column.features) == 1 + column.indicator
    return column.kind in UNUSED and not column.features


def _record(kind: type[Record], plain: dict[str, Any]) -> Record:
    """Return a record of the fields in JSON, whose lists are tuples here.

    Raises
    ------
    TypeError
        For a field that is unknown or of another type.
    """
    fields = {k: tuple(value) if isinstance(value, list) else value for k, value in plain.items()}
    hints = get_type_hints(kind)
    for name, value in fields.items():
        if name in hints:  # else the record refuses it
            _check_type(name, value, hints[name])
    return kind(**fields)


def _check_type(name: str, value: object, kind: Any) -> None:
    if not _fits(value, kind):
        raise TypeError(f"{name} is of another type")


def _fits(value: object, kind: Any) -> bool:
    """Whether a value from JSON is of a type as a dataclass names it; numbers are finite."""
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) in (tuple, Sequence):
        return isinstance(value, tuple) and all(_fits(one, get_args(kind)[0]) for one in value)
    if kind is float:
        return isinstance(value, float) and math.isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
