"""Both engines on three networks, blocks by all rules and in float64, as shares of the fma peak.

`python -m bench.speed.blocks --rounds 5`: medians over that many rounds; the peak is measured
before each timing. A call's own costs (about 1 ms) are small beside the epochs that it trains, and
evaluations are of one sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import click
import numpy as np

from bench.speed.cases import LANES, Case, batch_size_names, case
from bench.speed.flops import step_flops
from bench.speed.peak import fma_peak
from bench.speed.timings import Timing, speed_cell, table
from kernels import Network, train
from kernels.network import FloatArray

PEAK_SECONDS = 0.005
RATE = 1e-3


class Row(NamedTuple):
    """What is trained, and how: a row of the table."""

    name: str
    case: str
    runs: int = LANES
    rule: str = "sgd"
    dtype: type = np.float32


ROWS = (
    Row("one run", "digits", runs=1),
    Row("16 runs", "digits"),
    Row("momentum", "digits", rule="momentum"),
    Row("Nesterov", "digits", rule="nesterov"),
    Row("Adam", "digits", rule="adam"),
    Row("float64", "digits", dtype=np.float64),
    Row("one run", "deep", runs=1),
    Row("16 runs", "deep"),
    Row("one run", "wide", runs=1),
    Row("16 runs", "wide"),
)


def case_of(row: Row) -> Case:
    """Return the case of a row, "deep" among them: the digits by three hidden layers of 32."""
    c = case("digits" if row.case == "deep" else row.case)
    if row.case == "deep":
        network = Network((64, 32, 32, 32, 10), output="softmax", loss="ce")
        c = replace(c, title=f"64-32-32-32-10 on digits, N = {c.n}", network=network)
    return replace(c, X=c.X.astype(row.dtype), epochs=c.epochs * LANES // row.runs)


def call_of(row: Row, batch_size: str) -> tuple[Case, Callable[[], object]]:
    """Return what a row trains, and the call that trains it at a batch size."""
    c = case_of(row)
    rates = RATE if row.runs == 1 else np.geomspace(RATE / 10, RATE, row.runs)
    options = {"batch_size": c.batch_size(batch_size), "learning_rate": rates, "rule": row.rule}
    params: FloatArray = np.asarray(c.params, row.dtype)
    order, scored = c.order, (c.X[:1], c.y[:1])
    return c, lambda: train(
        c.network,
        params,
        c.X,
        c.y,
        epochs=c.epochs,
        order=order,
        checkpoints=(),
        scored=scored,
        **options,  # type: ignore[arg-type]
    )


def measured(rounds: int) -> Iterator[Timing]:
    """Time all rows at all batch sizes, in turns: a slow moment of the machine hits all."""
    cells = [(row, size) for row in ROWS for size in batch_size_names(case_name(row))]
    calls = [call_of(*cell) for cell in cells]
    for _, call in calls:
        call()  # compiles
    seconds = np.empty((rounds, len(cells)))
    peaks = np.empty_like(seconds)
    for number in range(rounds):
        for place, ((row, _), (_, call)) in enumerate(zip(cells, calls, strict=True)):
            peaks[number, place] = fma_peak(PEAK_SECONDS, row.dtype)
            start = time.perf_counter()
            call()
            seconds[number, place] = time.perf_counter() - start
    for place, ((row, size), (c, _)) in enumerate(zip(cells, calls, strict=True)):
        samples = c.epochs * c.n * row.runs
        yield Timing(
            operation=row.name,
            case=row.case,
            batch_size=size,
            title=c.title,
            seconds=float(np.median(seconds[:, place])),
            samples=samples,
            flops=samples * step_flops(c.network),
            peak=float(np.median(peaks[:, place])),
            first_call=0.0,
        )


def case_name(row: Row) -> str:
    """Return the case whose batch sizes a row has."""
    return "digits" if row.case == "deep" else row.case


def relative(timings: list[Timing]) -> list[str]:
    """Lines of the table of times as ratios to plain SGD's, of 16 runs of digits."""
    of_digits = [t for t in timings if t.case == "digits" and t.operation != "one run"]
    plain = {t.batch_size: t.seconds for t in of_digits if t.operation == "16 runs"}
    return table(of_digits, lambda t: f"{t.seconds / plain[t.batch_size]:.2f}")


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Rounds whose medians are shown.")
def main(rounds: int) -> None:
    """Time both engines on all rules, dtypes and depths, and print two tables."""
    click.echo("About a minute, after compiling. ns per sample and run, GF/s, share of fma peak:")
    timings = list(measured(rounds))
    click.echo("\n".join(table(timings, speed_cell)))
    click.echo("\nTime as a ratio to plain SGD in float32, 16 runs:")
    click.echo("\n".join(relative(timings)))


if __name__ == "__main__":
    main()
