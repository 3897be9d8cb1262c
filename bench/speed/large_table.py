"""A large made table, as a CSV file: what reading, memory and the first answer are measured on.

`python -m bench.speed.large_table FILE [--rows 1000000] [--columns 30] [--seed 0]`
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray
from scipy.special import expit

from bench.errors import InputError

CHUNK_ROWS = 50_000  # written at once: what memory holds
LEAST_COLUMNS = 4  # that the label depends on
LATENT = 2  # variables behind every third column, in turn: these are correlated
DECIMALS = (2, 0, 3, 1, 4)  # of the columns, in turn
SCALES = (10.0, 400.0, 0.25, 30.0, 0.01)  # of the columns, in turn
OFFSETS = (50.0, 1200.0, 0.0, -5.0, 1.0)


def chunk(rows: int, columns: int, seed: int, number: int) -> pa.Table:
    """Return some rows of the table.

    Parameters
    ----------
    rows
        At most `CHUNK_ROWS`: the first ones of the chunk.
    columns
        Number columns, `LEAST_COLUMNS` or more.
    seed, number
        Of the table, and of the chunk in it.

    Returns
    -------
    Table
        Float64 columns `x01`, `x02`, ... of several scales, rounded, some correlated; a text column
        `label`, "yes" or "no", of which four of them tell the odds, not linearly.
    """
    rng = np.random.default_rng([seed, number])
    z = rng.standard_normal((CHUNK_ROWS, columns))
    latent = rng.standard_normal((CHUNK_ROWS, LATENT))
    for column in range(0, columns, 3):
        z[:, column] = 0.6 * z[:, column] + 0.8 * latent[:, column // 3 % LATENT]
    odds = 2.0 * z[:, 0] * z[:, 1] + 2.5 * np.sin(2.0 * z[:, 2]) - 1.5 * np.abs(z[:, 3]) + 1.0
    label = np.where(rng.random(CHUNK_ROWS) < expit(odds), "yes", "no")
    named = {f"x{k + 1:02d}": _digits(z[:rows, k], k) for k in range(columns)}
    return pa.table({**named, "label": label[:rows]})


def _digits(z: NDArray[np.float64], column: int) -> NDArray[np.float64]:
    """Give standard normal numbers the scale of a column, and its few decimals."""
    kind = column % len(SCALES)
    return np.round(OFFSETS[kind] + SCALES[kind] * z, DECIMALS[kind])


def write_table(path: Path, rows: int = 1_000_000, columns: int = 30, seed: int = 0) -> None:
    """Write the table, chunk by chunk: fewer rows of the same seed are the beginning of more.

    Parameters
    ----------
    path
        Of the CSV file; it is there as a whole or not at all.
    rows, columns
        Without the header; without the label.
    seed
        Of the random numbers.

    Raises
    ------
    InputError
        For too few rows or columns, or where the file cannot be written.
    """
    if rows < 1 or columns < LEAST_COLUMNS or seed < 0:
        raise InputError(
            f"rows must be 1 or more, columns {LEAST_COLUMNS} or more, seed 0 or more, "
            f"got {rows}, {columns} and {seed}"
        )
    temporary = path.with_name(f".{path.name}.tmp")
    starts = range(0, rows, CHUNK_ROWS)
    try:
        with pa.csv.CSVWriter(temporary, chunk(0, columns, seed, 0).schema) as file:
            for number, start in enumerate(starts):
                file.write_table(chunk(min(CHUNK_ROWS, rows - start), columns, seed, number))
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error}; choose another file") from None


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--columns", default=30, show_default=True, help="Beside the label.")
@click.option("--seed", default=0, show_default=True)
def main(path: Path, rows: int, columns: int, seed: int) -> None:
    """Write a made table of numbers with a label, yes or no, to FILE (CSV)."""
    try:
        write_table(path, rows, columns, seed)
    except InputError as error:
        raise click.UsageError(str(error)) from None


if __name__ == "__main__":
    main()
