"""The column to predict: classes or a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems.problem import Targets
from bench.problems.table.columns import STYLES, Floats, Profile
from bench.problems.table.options import TableOptions
from bench.problems.table.read import Source, one_line
from bench.problems.table.schema import Target
from bench.problems.table.values import GAP, Wanted, read_columns

MANY = 20  # different numbers: with more the target is a quantity
MOST_CLASSES = 1000
MEMBERS = 2  # fewest of a class: one to train and one to test


@dataclass
class Labels:
    """The target of every row.

    Parameters
    ----------
    name, task, told
        As of `Target`.
    values
        float64 (n_rows,) of a regression, NaN for gaps; else empty.
    codes
        int64 (n_rows,) indices into `classes`, -1 for gaps; of a regression empty.
    classes
        Texts.

    Attributes
    ----------
    n_missing
        Rows without a target.
    """

    name: str
    task: str
    told: str
    values: Floats = field(default_factory=lambda: np.empty(0))
    codes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    classes: tuple[str, ...] = ()
    n_missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.n_missing = int((~self.known).sum())

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n_rows,): where there is a target."""
        if self.task == "classification":
            return np.asarray(self.codes != GAP)
        return np.asarray(~np.isnan(self.values))

    def settle(self, used: NDArray[np.int64], label: str) -> NDArray[np.int64]:
        """Keep the classes with members enough in these rows; return the rows that are left.

        Raises
        ------
        InputError
            Where fewer than two classes, or a single value, are left.
        """
        if self.task == "regression":
            if np.ptp(self.values[used]) == 0.0:
                raise InputError(
                    one_line(
                        f"{label}: column {self.name!r} has the value {self.values[used[0]]:g} in "
                        "every row: there is nothing to predict, choose another --target"
                    )
                )
            return used
        counts = np.bincount(self.codes[used], minlength=len(self.classes))
        kept = np.flatnonzero(counts >= MEMBERS)
        if len(kept) < 2:
            what = f"only the class {self.classes[kept[0]]!r}" if len(kept) else "no class"
            raise InputError(
                one_line(
                    f"{label}: column {self.name!r} has {what} with {MEMBERS} rows or more: two "
                    "classes are needed, choose another --target or --task regression"
                )
            )
        if len(kept) > MOST_CLASSES:
            raise InputError(
                one_line(
                    f"{label}: column {self.name!r} has {len(kept):,} classes: choose another "
                    "--target, or --task regression for numbers"
                )
            )
        rare = [c for c, n in zip(self.classes, counts, strict=True) if 0 < n < MEMBERS]
        if rare:
            listed = ", ".join(rare[:5]) + (", ..." if len(rare) > 5 else "")
            self.told += f"; {len(rare)} classes of one row are left out: {listed}"
        places = np.full(len(self.classes) + 1, GAP)
        places[kept] = np.arange(len(kept))
        self.codes = places[self.codes]
        self.classes = tuple(self.classes[k] for k in kept)
        return np.asarray(used[self.codes[used] != GAP])

    def targets(
        self, train: NDArray[np.int64], test: NDArray[np.int64]
    ) -> tuple[Target, Targets, Targets]:
        """Return the target, and y of both splits: classes, or standardized float32."""
        target = Target(self.name, self.task, told=self.told, n_missing=self.n_missing)
        if self.task == "classification":
            return replace(target, classes=self.classes), self.codes[train], self.codes[test]
        mean, scale = float(self.values[train].mean()), float(self.values[train].std())
        y = [((self.values[rows] - mean) / scale).astype(np.float32) for rows in (train, test)]
        return replace(target, mean=mean, scale=scale), y[0], y[1]


def read_target(
    source: Source, number: int, profile: Profile, style: int, options: TableOptions
) -> Labels:
    """Read the target, and decide what it is.

    Raises
    ------
    InputError
        For a target that is all gaps, infinite, or not of the task that was asked for.
    """
    name, label = source.names[number], source.label
    if profile.gaps == profile.rows:
        raise InputError(
            one_line(f"{label}: column {name!r}, the target, holds gaps alone: choose another")
        )
    if profile.typed == "":
        raise InputError(
            one_line(f"{label}: column {name!r}, the target, holds neither numbers nor texts")
        )
    numeric = profile.kind(style) == "number"
    if numeric and profile.infinite is not None:
        raise InputError(
            one_line(
                f"{label}: column {name!r}, row {profile.infinite + 2}: an infinite target: mend "
                "or remove the row"
            )
        )
    values = _numbers(source, number, style) if numeric or options.task == "regression" else None
    task, told = choose_task(values, options.task)
    if task == "regression":
        assert values is not None
        return Labels(name, task, told, values=values)
    return _classes(source, number, name, told)


def _numbers(source: Source, number: int, style: int) -> Floats:
    """Read the target as numbers, not rounded."""
    name, gaps = source.names[number], source.reading.na_values
    column = Wanted(number, name, "number", gaps, STYLES[style], exact=True)
    read_columns(source, [column])
    return np.asarray(column.values(), np.float64)


def choose_task(values: Floats | None, asked: str | None) -> tuple[str, str]:
    """Return the task, and how it was decided.

    Parameters
    ----------
    values
        The target as numbers; None where it holds other things.
    asked
        By the user; None to decide: more than 20 different numbers are a quantity.
    """
    if asked is not None:
        return asked, f"{asked}, as asked for"
    if values is None:
        return "classification", "classification: the target holds texts"
    n_values = len(np.unique(values[~np.isnan(values)]))
    if n_values > MANY:
        return "regression", f"regression: the target has {n_values:,} different numbers"
    return "classification", (
        f"classification: the target has {n_values} different numbers (--task regression if they "
        "are quantities)"
    )


def _classes(source: Source, number: int, name: str, told: str) -> Labels:
    """Read the target as texts: nothing but an empty cell is a gap."""
    column = Wanted(number, name, "category", ("",), STYLES[0])
    read_columns(source, [column])
    codes = column.values().astype(np.int64)
    texts = list(column.levels)
    order = sorted(range(len(texts)), key=_class_order(texts))
    places = np.full(len(texts) + 1, GAP)
    places[order] = np.arange(len(texts))
    return Labels(
        name, "classification", told, codes=places[codes], classes=tuple(texts[k] for k in order)
    )


def _class_order(texts: list[str]) -> Callable[[int], tuple[float, str]]:
    """Order of classes: that of numbers where all are, else that of texts."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return lambda k: (0.0, texts[k])
    return lambda k: (numbers[k], texts[k])
