"""Arms that differ by nothing but chance, and the verdicts that their comparisons give.

Real training of a small network on iris: both arms have the same batch size, learning rates and
initial parameters, and orders of samples of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import kernels
from bench.analysis.arms import Arm, Runs, compare
from bench.analysis.claims.batch_size import MARGIN_FAILED, MARGIN_WIDTH
from bench.analysis.intervals import Estimate, paired_share_difference, verdict
from bench.analysis.outcomes import outcome_rows
from bench.analysis.recommend import MARGIN
from bench.analysis.stability import (
    add_failures,
    spread_ratio,
    threshold_ratio,
    thresholds,
    width_difference,
)
from bench.analysis.time_to_target import MIDDLE
from bench.calibration.case import EXAMPLES, HIT, Generator
from bench.experiments import Block, BlockResult
from bench.problems import Problem, load_problem, with_options
from bench.streams import stream

SEEDS = 32  # that report; one more tunes, to say which rates are the lattice
BATCH_SIZE, EPOCHS = 4, 20
RATES = tuple(2.0 ** (k / 2) for k in range(-8, 8))
CALM, WILD = RATES[7], RATES[11]  # the fastest rate, and one at which about half the runs fail
TARGETS = (0.2, 0.1, 0.08)
ONE, OTHER = 1, 2  # what the frames call the arms in place of a batch size

Measure = Callable[[Runs, Generator], Estimate]


@cache
def subject() -> Problem:
    """Iris, with 8 hidden units."""
    return with_options(load_problem("iris"), (8,), None)


def trained(arm: int, number: int) -> pd.DataFrame:
    """Outcomes of an arm's runs in a repetition: every seed at every rate."""
    problem, seeds = subject(), range(SEEDS + 1)
    X, y, network = problem.X_train, problem.y_train, problem.network
    results, dead = [], []
    for seed in seeds:
        start = kernels.init_params(
            network, number * len(seeds) + seed, problem.scheme, np.float32, size=1
        )
        rng = stream("order of equal arms", number, seed, arm)
        order = rng.permuted(np.tile(np.arange(len(X)), (EPOCHS, 1)), axis=1)
        result = kernels.train(
            network,
            start,
            X,
            y,
            batch_size=BATCH_SIZE,
            learning_rate=RATES,
            epochs=EPOCHS,
            order=order,
        )
        results.append(result)
        dead.append([_dead(problem, start).repeat(len(RATES)), _dead(problem, result.params)])
    return _rows(arm, results, np.array(dead))


def _dead(problem: Problem, params: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether no hidden unit is active on any sample, (runs,)."""
    active = kernels.active_units(problem.network, params, problem.X_train)
    return np.asarray((active == 0).any(axis=-1))


def _rows(arm: int, results: list[kernels.Result], dead: NDArray[np.bool_]) -> pd.DataFrame:
    """Rows of outcomes, a seed's results each; dead (seeds, 2, rates): at the start, at the end."""
    loss, accuracy = (
        np.stack([getattr(result, name) for result in results]) for name in ("loss", "accuracy")
    )
    diverged = np.stack([result.diverged for result in results])
    unknown = np.full(loss.shape, np.nan)
    block = Block("sgd", arm, RATES, 1, EPOCHS, population=len(results))
    found = BlockResult(
        results[0].examples,
        results[0].updates,
        loss,
        accuracy,
        unknown,
        unknown,
        diverged,
        dead[:, 0],
        dead[:, 1] & ~diverged,
    )
    rows = outcome_rows(subject(), block, found, TARGETS)
    seed = rows.network
    return rows.assign(seed=seed, network=0, role=np.where(seed == SEEDS, "tune", "report"))


def time_ratio(runs: Runs, _: Generator) -> Estimate:
    """T / T at the fastest rate."""
    return compare(runs, Arm(ONE, CALM), Arm(OTHER, CALM), EXAMPLES, MIDDLE).ratio


def spreads(runs: Runs, rng: Generator) -> Estimate:
    """Spread / spread of T."""
    one, other = runs.pairs(Arm(ONE, CALM), Arm(OTHER, CALM))
    return spread_ratio(one[HIT].to_numpy(float), other[HIT].to_numpy(float), rng)


def failures(runs: Runs, _: Generator) -> Estimate:
    """Difference of the shares of failed runs at a large rate."""
    one, other = runs.pairs(Arm(ONE, WILD), Arm(OTHER, WILD))
    return paired_share_difference(one.failed.to_numpy(bool), other.failed.to_numpy(bool))


def threshold(runs: Runs, _: Generator) -> Estimate:
    """Ratio of the rates from which on seeds fail."""
    table = thresholds(runs).set_index("seed")
    one, other = (table[table.batch_size == arm][["threshold", "below"]] for arm in (ONE, OTHER))
    return threshold_ratio(one, other)


def width(runs: Runs, rng: Generator) -> Estimate:
    """Difference of usable widths."""
    return width_difference(runs, ONE, OTHER, MIDDLE, rng)


class Rule(NamedTuple):
    """How a measure is judged, as of `intervals.verdict`."""

    measure: Measure
    kind: str
    margin: float


MEASURES: dict[str, Rule] = {
    "time ratio": Rule(time_ratio, "ratio", MARGIN),
    "spread ratio": Rule(spreads, "ratio", MARGIN),
    "failed runs at the same rate": Rule(failures, "difference", MARGIN_FAILED),
    "threshold ratio": Rule(threshold, "ratio", MARGIN),
    "difference of usable widths": Rule(width, "difference", MARGIN_WIDTH),
}


def repetition(number: int) -> dict[str, str]:
    """Train two equal arms; return the verdict of each measure."""
    rows = pd.concat([trained(arm, number) for arm in (ONE, OTHER)], ignore_index=True)
    runs = Runs(add_failures(rows))
    verdicts = {}
    for name, rule in MEASURES.items():
        found = rule.measure(runs, stream(f"equal arms: {name}", number))
        verdicts[name] = verdict(found.low, found.high, rule.margin, kind=rule.kind)
    return verdicts
