"""The column to predict: classes or a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.problems.prepare import CONSTANT
from bench.problems.problem import Targets
from bench.problems.table.columns import STYLES, Floats, Profile
from bench.problems.table.options import TableOptions
from bench.problems.table.read import Source
from bench.problems.table.schema import Target
from bench.problems.table.values import GAP, LARGEST, MOST_LEVELS, Wanted
from bench.problems.table.words import listed, plural, quoted

MANY = 20  # different numbers: with more the target is a quantity
MOST_CLASSES = 1000
MEMBERS = 2  # fewest of a class: one to train and one to test
MOSTLY = 0.9  # of the known cells of a column: with more numbers the others are mistakes

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """The target of every row.

    Parameters
    ----------
    name, task, told
        As of `Target`.
    place
        Start of messages about it.
    values
        float64 (n_rows,) of a regression, NaN for gaps; else empty.
    codes
        int64 (n_rows,) indices into `classes`, -1 for gaps; of a regression empty.
    classes
        Texts.
    n_missing
        Rows without a target.
    """

    name: str
    task: str
    told: str
    place: str
    values: Floats = field(default_factory=lambda: np.empty(0))
    codes: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    classes: tuple[str, ...] = ()
    n_missing: int = 0

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n_rows,): where there is a target."""
        if self.task == "classification":
            return np.asarray(self.codes != GAP)
        return np.asarray(~np.isnan(self.values))

    def settled(self, used: Rows) -> tuple[Labels, Rows]:
        """Keep the classes with members enough in these rows, and return the rows that are left.

        Raises
        ------
        InputError
            Where fewer than two classes, or a single value, are left.
        """
        if self.task == "regression":
            self._check_varies(used)
            return self, used
        counts = np.bincount(self.codes[used], minlength=len(self.classes))
        kept = np.flatnonzero(counts >= MEMBERS)
        if len(kept) < 2:
            what = f"only the class {quoted(self.classes[kept[0]])}" if len(kept) else "no class"
            raise InputError(
                f"{self.place} has {what} with {MEMBERS} rows or more: two classes are needed, "
                "choose another --target or --task regression"
            )
        if len(kept) > MOST_CLASSES:
            raise InputError(
                f"{self.place} has {len(kept):,} classes: choose another --target, or --task "
                "regression for numbers"
            )
        rare = [c for c, n in zip(self.classes, counts, strict=True) if 0 < n < MEMBERS]
        places = np.full(len(self.classes) + 1, GAP)
        places[kept] = np.arange(len(kept))
        codes = places[self.codes]
        classes = tuple(self.classes[k] for k in kept)
        labels = replace(self, codes=codes, classes=classes)
        return labels._telling(rare, "of one row left out"), used[codes[used] != GAP]

    def _telling(self, classes: Sequence[str], what: str) -> Labels:
        """Return the labels with words about some classes, if there are any."""
        if not classes:
            return self
        count = plural(len(classes), "class", "classes")
        return replace(self, told=f"{self.told}; {count} {what} ({listed(classes)})")

    def _check_varies(self, used: Rows) -> None:
        """Refuse a target with one value, but for rounding."""
        values = self.values[used]
        if values.std() <= CONSTANT * np.abs(values).max():
            raise InputError(
                f"{self.place} has the value {values[0]:g} in every row: there is nothing to "
                "predict, choose another --target"
            )

    def checked(self, train: Rows, test: Rows) -> Labels:
        """Refuse a split that leaves nothing to learn; tell of classes that are not tested.

        Raises
        ------
        InputError
            Where the training rows lack a class, or have one value.
        """
        if self.task == "regression":
            self._check_varies(train)
            return self
        n_train, n_test = (
            np.bincount(self.codes[rows], minlength=len(self.classes)) for rows in (train, test)
        )
        if not n_train.all():
            lost = self.classes[int(n_train.argmin())]
            raise InputError(
                f"{self.place}: no row of the class {quoted(lost)} is left to train on: give a "
                "smaller --test-size"
            )
        untested = [c for c, n in zip(self.classes, n_test, strict=True) if not n]
        return self._telling(untested, "too small to be held out")

    def targets(self, train: Rows, test: Rows) -> tuple[Target, Targets, Targets]:
        """Return the target, and y of both splits: classes, or standardized float32."""
        target = Target(self.name, self.task, told=self.told, n_missing=self.n_missing)
        if self.task == "classification":
            return replace(target, classes=self.classes), self.codes[train], self.codes[test]
        mean, scale = float(self.values[train].mean()), float(self.values[train].std())
        y = [((self.values[rows] - mean) / scale).astype(np.float32) for rows in (train, test)]
        return replace(target, mean=mean, scale=scale), y[0], y[1]


def wanted_target(
    source: Source, number: int, profile: Profile, style: int, options: TableOptions
) -> list[Wanted]:
    """Return how the target is to be read: as texts, and as numbers where it may be a quantity.

    Raises
    ------
    InputError
        For a target that is of no use, or of another kind than the task that was asked for.
    """
    name = source.names[number]
    place = f"{source.label}: column {quoted(name)}"
    if profile.typed == "":
        raise InputError(
            f"{place}, the target, holds neither numbers nor texts: choose another --target"
        )
    numeric = profile.kind(style) == "number" and profile.gaps < profile.rows
    known = profile.rows - profile.gaps
    if options.task is None and profile.odd and profile.n_numbers >= MOSTLY * known > MANY:
        row, cell = profile.odd
        raise InputError(
            f"{source.cell(name, row)}: {quoted(cell)} is no number, as others of the target are: "
            "mend it, name it in --na-values if it marks a gap, or give --task classification"
        )
    n_rows = profile.rows
    texts = Wanted(number, name, "category", ("",), STYLES[style], n_rows=n_rows)
    numbers = replace(texts, kind="number", gaps=source.reading.na_values, exact=True, levels={})
    if options.task == "regression":
        return [numbers]
    return [texts, numbers] if numeric and options.task is None else [texts]


def labels_of(read: Sequence[Wanted], source: Source, options: TableOptions) -> Labels:
    """Decide what the target is, of what was read as `wanted_target` says.

    Raises
    ------
    InputError
        For a target that is all gaps, infinite, or has far too many classes.
    """
    name = read[0].name
    place = f"{source.label}: column {quoted(name)}"
    numbers = next((column.values() for column in read if column.kind == "number"), None)
    task, told = choose_task(numbers, options.task)
    if task == "classification":
        labels = _classes(read[0], place, told, source.reading.na_values)
    else:
        assert numbers is not None
        too_large = np.abs(numbers) > LARGEST
        if too_large.any():
            row = int(too_large.argmax())
            raise InputError(
                f"{source.cell(name, row)}: {numbers[row]:g} is infinite, or too large for a "
                "32-bit number: mend the target, or drop the row"
            )
        labels = Labels(name, task, told, place, values=numbers)
    if not labels.known.any():
        raise InputError(f"{place}, the target, holds gaps alone: choose another --target")
    return replace(labels, n_missing=int((~labels.known).sum()))


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


def _classes(column: Wanted, place: str, told: str, gaps: Sequence[str]) -> Labels:
    """Return the target as classes: nothing but an empty cell is a gap."""
    texts = list(column.levels)
    if len(texts) > MOST_LEVELS:
        raise InputError(
            f"{place} has more than {MOST_LEVELS:,} different labels: choose another --target, or "
            "--task regression for numbers"
        )
    order = sorted(range(len(texts)), key=_class_order(texts))
    places = np.full(len(texts) + 1, GAP)
    places[order] = np.arange(len(texts))
    classes = tuple(texts[k] for k in order)
    marks = [text for text in classes if text in gaps]
    if marks:
        told += f"; {listed(marks)} {'is a class' if len(marks) == 1 else 'are classes'}, no gap"
    codes = places[column.values()]
    return Labels(column.name, "classification", told, place, codes=codes, classes=classes)


def _class_order(texts: list[str]) -> Callable[[int], tuple[float, str]]:
    """Order of classes: that of numbers where all are different ones, else that of texts."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = []
    if len(set(numbers)) < len(texts) or not all(map(math.isfinite, numbers)):
        return lambda k: (0.0, texts[k])
    return lambda k: (numbers[k], texts[k])
