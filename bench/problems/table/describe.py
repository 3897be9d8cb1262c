"""What was understood of a table, as plain text."""

from __future__ import annotations

from bench.problems.problem import Problem
from bench.problems.table.words import listed, one_line, plural, shown

MOST_COLUMNS = 40
NAME_WIDTH = 28


def describe(problem: Problem) -> str:
    """Return rows, columns, target, split, and a line a column.

    Parameters
    ----------
    problem
        Of a table.

    Raises
    ------
    ValueError
        For a problem without a table.
    """
    table = problem.table
    if table is None:
        raise ValueError("problem was not made of a table")
    target, reading = table.target, table.reading
    lines = [problem.title]
    if reading.format == "csv":
        marks = f"separator {reading.sep!r}, decimal mark {reading.decimal!r}"
        if reading.thousands:
            marks += f", thousands marked by {reading.thousands!r}"
        lines.append(f"Read as {reading.encoding}, {marks}")
    lines.append(f"Target: {shown(target.name)}: {one_line(target.told)}")
    if target.classes:
        lines.append(f"Classes: {listed(target.classes, 10)}")
    lines.append(
        f"Rows: {table.n_rows:,}; {problem.n_train:,} to train, {len(problem.X_test):,} held out"
        + (f", {table.n_rows_dropped:,} left out" if table.n_rows_dropped else "")
    )
    lines.append(f"Features: {problem.X_train.shape[1]:,}")
    lines.append("Columns:")
    for column in table.columns[:MOST_COLUMNS]:
        name = shown(column.name, NAME_WIDTH)
        gaps = plural(column.n_missing, "gap") if column.n_missing else ""
        told = one_line(column.told) if column.kind != "target" else ""
        lines.append(f"  {name:{NAME_WIDTH}}  {column.kind:9} {gaps:12} {told}".rstrip())
    if len(table.columns) > MOST_COLUMNS:
        lines.append(f"  and {len(table.columns) - MOST_COLUMNS:,} more")
    return "\n".join(lines)
