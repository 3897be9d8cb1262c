"""The training of populations: variants of their problem, and failed networks for longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bench.analysis.arms import Arm, each_run_once
from bench.analysis.xor import (
    VariantRuns,
    best_arm,
    count_longer,
    count_outcomes,
    failed_networks,
)
from bench.experiments import plan
from bench.problems.xor import variants
from bench.stages import Training, widen_success


@dataclass(frozen=True)
class Populations:
    """What a study trained besides its own problem at its budget, and what became of it.

    Parameters
    ----------
    trainings
        Those of the variants, and of networks that were given longer.
    runs
        For the analysis.
    networks
        For each variant, the problem itself left out: a row per network at the best rate of each
        batch size, the columns of `Evidence.outcomes` and `variant`.
    """

    trainings: tuple[Training, ...]
    runs: VariantRuns
    networks: tuple[pd.DataFrame, ...]


def train_variants(training: Training, given: Sequence[float] | None) -> Populations | None:
    """Train a problem's variants, and all networks that failed for longer, if the problem says so.

    Outcomes of one variant at a time are in memory.

    Parameters
    ----------
    training
        Of the problem itself, done.
    given
        Learning rates to use as they are; None for lattices.

    Returns
    -------
    None where the problem is not learned by populations.
    """
    if training.problem.population is None:
        return None
    found = variants(training.problem, training.rule)
    trainings, counts, longer, networks = [], [], [], []
    for label, variant in found.items():
        one = training
        if variant.factor:
            one = training.of_variant(variant)
            trainings.append(one)
            _train(one, given)
        outcomes = one.outcomes()
        counted = count_outcomes(label, outcomes)
        counts.append(counted)
        if training.problem.longer > 1:
            again, solved = train_longer(one, label, outcomes, best_arm(counted))
            trainings.append(again)
            longer.append(solved)
        if variant.factor:
            networks.append(_at_best(outcomes, counted).assign(variant=label))
        one.forget()
        del outcomes
    runs = VariantRuns(
        found,
        pd.concat(counts, ignore_index=True),
        pd.concat(longer, ignore_index=True) if longer else pd.DataFrame(),
    )
    return Populations(tuple(trainings), runs, tuple(networks))


def _train(variant: Training, given: Sequence[float] | None) -> None:
    """Train a variant at the given rates, or at coarse ones, wider where the best is outermost.

    Where the rates must be wider is found on the tuning seeds alone; the others run the first 16
    rates, and from there to the best.
    """
    rates = plan.coarse_rates(variant.rule) if given is None else given
    every = dict.fromkeys(variant.batch_sizes, rates)
    if given is not None:
        variant.run("rates given", every, variant.seeds)
        return
    variant.run("coarse rates", every, variant.tuning)
    widen_success(variant, variant.tuning)
    counts = count_outcomes("", variant.outcomes())
    for size, cells in counts.groupby("batch_size"):
        best = best_arm(cells).learning_rate
        low, high = min(best, *rates), max(best, *rates)
        every[size] = [rate for rate in variant.tried(size) if low <= rate <= high]
    variant.run("the same, seeds that report", every, variant.reporting)


def _at_best(outcomes: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """Return a row per network at the best rate of each batch size."""
    arms = [best_arm(cells) for _, cells in counts.groupby("batch_size")]
    runs = each_run_once(outcomes)
    found = [
        runs[(runs.batch_size == arm.batch_size) & (runs.learning_rate == arm.learning_rate)]
        for arm in arms
    ]
    return pd.concat(found, ignore_index=True)


def train_longer(
    training: Training, label: str, outcomes: pd.DataFrame, arm: Arm
) -> tuple[Training, pd.DataFrame]:
    """Train the reporting networks that failed at an arm `Problem.longer` times as long.

    From the same start, in the same order of samples: the first part is what they did before.

    Returns
    -------
    The training, and what became of the networks, as of `bench.analysis.xor.count_longer`.
    """
    problem, again = training.problem, training.afresh()
    times = problem.longer
    failed = failed_networks(outcomes, arm)
    blocks = []
    for seed, networks in failed.groupby("seed").network:
        points = plan.halvings(problem, arm.batch_size, times)
        budget = plan.grid(
            problem, training.rule, arm.batch_size, [arm.learning_rate], [seed], points
        )
        blocks += [
            replace(block, epochs=times * block.epochs, networks=tuple(networks.sort_values()))
            for block in budget
        ]
    again.run_planned(f"failed networks, {times} times as long", blocks)
    ends = again.outcomes() if blocks else failed.assign(success=True)
    again.forget()
    return again, count_longer(label, failed, ends)
