"""What was understood of a table, and done to it: enough to do it again to other rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.problems.table.options import TableOptions

if TYPE_CHECKING:
    from typing import Self

VALUED = ("number", "date", "boolean")  # kinds that become one number, in the order of features


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
        """Return the table that `to_json` described."""
        counts = {name: plain[name] for name in ("n_rows", "n_rows_used", "n_rows_dropped")}
        return cls(
            reading=Reading(**_tuples(plain["reading"])),
            options=TableOptions(**_tuples(plain["options"])),
            columns=tuple(Column(**_tuples(column)) for column in plain["columns"]),
            target=Target(**_tuples(plain["target"])),
            mean=np.array(plain["mean"], np.float64),
            scale=np.array(plain["scale"], np.float64),
            **counts,
        )

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


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn JSON's lists back into tuples."""
    return {k: tuple(value) if isinstance(value, list) else value for k, value in fields.items()}
