"""What the columns of a table hold, and which of them are of no use: decided on all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.errors import InputError
from bench.problems.table.columns import STYLES, Marks, Profile, choose_style, profiles
from bench.problems.table.encode import Array, dropped, wanted_columns
from bench.problems.table.options import TableOptions
from bench.problems.table.read import Source
from bench.problems.table.schema import VALUED, Column, Reading
from bench.problems.table.target import MOSTLY, Labels, labels_of, wanted_target
from bench.problems.table.values import MOST_LEVELS, Wanted, read_columns
from bench.problems.table.words import listed, quoted, shown

IDENTIFYING = 0.5  # of the known cells of a text column: more levels than this tell rows apart
FEW_LEVELS = 20  # and so few levels are categories anyway


@dataclass(frozen=True)
class Read:
    """A table that was read.

    Parameters
    ----------
    source, reading
        Where it came from, and how it is read again.
    columns, wanted
        Columns to learn from in the order of features, and the values of each.
    left_out
        Columns that are not learned from; each tells why.
    labels
        The target.
    n_rows
        Of the table.
    """

    source: Source
    reading: Reading
    columns: tuple[Column, ...]
    wanted: tuple[Wanted, ...]
    left_out: tuple[Column, ...]
    labels: Labels
    n_rows: int

    def without_dropped(self, columns: Sequence[Column]) -> Read:
        """Return the table with these columns in place of its own; dropped ones are left out.

        Raises
        ------
        InputError
            Where no column is left to learn from.
        """
        kept = [k for k, column in enumerate(columns) if column.kind != "dropped"]
        out = (*self.left_out, *(column for column in columns if column.kind == "dropped"))
        if not kept:
            why = "; ".join(f"{shown(c.name, 30)}: {shown(c.told)}" for c in out[:4])
            raise InputError(
                f"{self.source.label}: no feature is left to learn from ({why}): see --features "
                "and --drop"
            )
        return replace(
            self,
            columns=tuple(columns[k] for k in kept),
            wanted=tuple(self.wanted[k] for k in kept),
            left_out=out,
        )


def read_table(source: Source, options: TableOptions) -> Read:
    """Decide what the columns hold, and read them.

    The file is gone through twice: to know what all cells of a column have in common, and to read
    them as that.

    Raises
    ------
    InputError
        For unknown columns, cells that cannot be read, a target that is of no use, and a table
        without rows or without a column to learn from.
    """
    _check_names(source, options)
    chosen, left_out = _chosen(source, options)
    target = source.index(str(options.target), "--target")
    *found, labels_found = profiles(source, [*chosen, target])
    n_rows = labels_found.rows
    if not n_rows:
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
    wanted = wanted_columns(kept, source, reading, n_rows)
    targets = wanted_target(source, target, labels_found, marks.style, options)
    read_columns(source, [*wanted, *targets])
    labels = labels_of(targets, source, options)
    read = Read(source, reading, tuple(kept), tuple(wanted), tuple(left_out), labels, n_rows)
    return read.without_dropped(
        [_useful(column, w, options) for column, w in zip(kept, wanted, strict=True)]
    )


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


def _useful(column: Column, wanted: Wanted, options: TableOptions) -> Column:
    """Return a column with the offset of its values; dropped where nothing can be learned of it."""
    useless = _useless(column, wanted, options)
    if not useless:
        return replace(column, offset=wanted.offset or 0.0)
    also = column.told if column.kind == "category" else ""
    return dropped(column, "; ".join(filter(None, [useless, also])))


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
