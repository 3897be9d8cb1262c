"""A population of XOR networks, drawn, trained per sample and diagnosed on one core.

`python -m bench.speed.population [--networks 1000000] [--updates 1000] [--rate 0.5]`
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import click
import pandas as pd

from bench.analysis.outcomes import outcome_rows
from bench.experiments import Block, run_block
from bench.experiments.progress import Silent
from bench.experiments.run import compile_kernels
from bench.problems import load_problem
from bench.speed.flops import step_flops
from bench.speed.peak import fma_peak

RULE = "sgd"
# Networks of a block: so many that what a block costs beside its networks is little, and that few
# are in memory
BLOCK = 62_500


@dataclass(frozen=True)
class Timed:
    """What became of a population, and the seconds that it took.

    Parameters
    ----------
    counts
        Networks by cause, as of `bench.analysis.outcomes.CAUSES`; "solved" for those that learned.
    trained, diagnosed
        Seconds to draw and train, and to diagnose.
    updates
        Of all networks.
    share
        Of the processor's fma peak, by the arithmetic of the updates alone.
    """

    counts: pd.Series
    trained: float
    diagnosed: float
    updates: int
    share: float


def population_seconds(networks: int, updates: int, rate: float) -> Timed:
    """Draw, train and diagnose networks of the notes' problem, 2-2-1, in blocks with own seeds.

    Parameters
    ----------
    networks
        Number of networks, 1 or more.
    updates
        Of one sample each; whole epochs of 4.
    rate
        Learning rate of all.
    """
    problem = load_problem("notes")
    compile_kernels(problem, RULE, [1], Silent())
    epochs = updates // problem.n_train
    half = (epochs * problem.n_train // 2,)
    trained = diagnosed = 0.0
    counts: list[pd.Series] = []
    peak = fma_peak()
    for seed, first in enumerate(range(0, networks, BLOCK)):
        size = min(BLOCK, networks - first)
        block = Block(RULE, 1, (rate,), seed, epochs, size, checkpoints=half)
        began = perf_counter()
        result = run_block(problem, block)
        middle = perf_counter()
        rows = outcome_rows(problem, block, result, targets=())
        diagnosed += perf_counter() - middle
        trained += middle - began
        counts.append(rows.cause.where(~rows.success, "solved").value_counts())
    peak = (peak + fma_peak()) / 2
    done = networks * epochs * problem.n_train
    share = done * step_flops(problem.network) / (trained + diagnosed) / peak
    return Timed(pd.concat(counts).groupby(level=0).sum(), trained, diagnosed, done, share)


@click.command()
@click.option("--networks", default=1_000_000, show_default=True, type=click.IntRange(min=1))
@click.option("--updates", default=1000, show_default=True, type=click.IntRange(min=4))
@click.option("--rate", default=0.5, show_default=True, type=click.FloatRange(min=0))
def main(networks: int, updates: int, rate: float) -> None:
    """Time a population of XOR networks, and say what became of it."""
    timed = population_seconds(networks, updates, rate)
    seconds = timed.trained + timed.diagnosed
    click.echo(
        f"{networks:,} networks, {timed.updates:,} updates of one sample: {seconds:.2f} s\n"
        f"  drawn and trained in {timed.trained:.2f} s, diagnosed in {timed.diagnosed:.2f} s\n"
        f"  {seconds / timed.updates * 1e9:.2f} ns an update; "
        f"{timed.share:.0%} of the core's fma peak"
    )
    for name, count in timed.counts.sort_values(ascending=False).items():
        click.echo(f"  {count:>9,}  {name}")


if __name__ == "__main__":
    main()
