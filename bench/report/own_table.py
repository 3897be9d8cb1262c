"""What was done to a user's own table, gaps first: in a few sentences, and column by column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.report import words

if TYPE_CHECKING:
    from bench.problems.table import Column, Table

FILLS = {"median": "the median", "most_frequent": "the most frequent value"}
"""What gaps of numbers are filled with, by the option `missing`."""
MANY = 3  # names that a sentence lists; the rest is counted, and stands in the list of columns


def told(table: Table) -> tuple[str, ...]:
    """What was done to the columns, a sentence a kind of treatment; gaps come first."""
    sentences = [_gaps(table)]
    for start, chosen in _TREATMENTS.items():
        names = [column.name for column in table.columns if chosen(column)]
        if names:
            sentences.append(f"{start}: {_names(names)}.")
    if table.options.missing in FILLS and _others(table):
        rows = words.plural(_others(table), "row is", "rows are")
        sentences.append(f"{rows} left out, the only one of a class.")
    return tuple(sentences)


def column_rows(table: Table) -> tuple[tuple[str, str, str, str], ...]:
    """(name, kind, gaps, what was done) of each column, in the file's order."""
    return tuple(
        (
            words.label(column.name),
            column.kind,
            words.count(column.n_missing) if column.n_missing else "",
            words.sentence(column.told),
        )
        for column in table.columns
    )


_TREATMENTS: dict[str, Callable[[Column], bool]] = {
    "Left out": lambda column: column.kind == "dropped",
    "Dates became numbers": lambda column: column.kind == "date",
    "One-hot encoded": lambda column: column.kind == "category",
    "Rare levels share one feature": lambda column: bool(column.pooled),
}
"""Sentences about columns: how each starts, and of which columns it tells."""


def _gaps(table: Table) -> str:
    """Which gaps there were, and what was done about them."""
    features = [c for c in table.columns if c.kind not in ("target", "dropped") and c.n_missing]
    parts = []
    if table.options.missing in FILLS:
        values = [c.name for c in features if c.kind != "category"]
        levels = [c.name for c in features if c.kind == "category"]
        if values:
            fill = FILLS[table.options.missing]
            parts.append(f"{_columns(values)} filled with {fill} ({_names(values)})")
        if levels and table.options.missing == "most_frequent":
            parts.append(f"{_columns(levels)} filled with the commonest level ({_names(levels)})")
        elif levels:
            parts.append(f"a level of their own in {_columns(levels)} ({_names(levels)})")
    if table.target.n_missing:
        parts.append(f"{words.plural(table.target.n_missing, 'row')} without a target left out")
    if table.options.missing not in FILLS and _others(table):
        parts.append(f"{words.plural(_others(table), 'row')} with gaps left out")
    return f"Gaps: {', '.join(parts) or 'none'}."


def _others(table: Table) -> int:
    """Rows left out that have a target."""
    return table.n_rows_dropped - table.target.n_missing


def _columns(names: Sequence[str]) -> str:
    """How many columns."""
    return words.plural(len(names), "column")


def _names(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = [words.label(name) for name in names[:MANY]]
    if len(names) > MANY:
        return f"{', '.join(shown)} and {len(names) - MANY} more"
    return words.join(shown)
