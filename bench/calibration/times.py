"""Cases of time-to-target: medians, two arms compared, spread, recommended batch sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy import optimize, stats

from bench.analysis.arms import Arm, Runs, compare
from bench.analysis.intervals import Estimate, median_interval, ordered_ratios
from bench.analysis.outcomes import first_hit
from bench.analysis.recommend import best_batch_size, ratio_table
from bench.analysis.stability import spread, spread_ratio
from bench.analysis.time_to_target import MIDDLE
from bench.calibration.case import (
    BLOCKS,
    EXAMPLES,
    NETWORKS,
    Case,
    Floats,
    Generator,
    normal,
    relative,
    rows_of,
    runs_of,
)
from bench.streams import stream
from kernels import checkpoint_grid

N_TRAIN = 120
BUDGET = 30.0 * N_TRAIN
MEDIAN = 5.0 * N_TRAIN  # planted examples to the target
SLOW = BUDGET / np.exp(0.5 * stats.norm.ppf(2 / 3))  # the same of an arm that a third do not reach
SPREAD = 0.5  # standard deviation of log T over seeds
OWN = 0.2  # the part of it that two arms do not share
LEARNING = 0.7  # share of a population's networks that ever learn
BETWEEN, WITHIN = 0.2, 0.4  # standard deviations of log T between blocks and within one
RATIO = 2.0  # planted, of two arms
CLOSE = 1.1  # a ratio at which either arm may be faster
A, B, C = Arm(1, 0.5), Arm(2, 0.5), Arm(4, 0.5)
THREE = {A: 1.0, B: 1.05, C: 1.4}  # true times of the batch sizes of a recommendation


# Medians


def seen(times: Floats, steps: bool) -> Floats:
    """T (n,) as a study sees it: from losses on its grid of evaluations, target 1/10.

    The losses fall exponentially, or in one step, which gives ties: of any two runs whose step
    lies between the same evaluations.
    """
    grid = checkpoint_grid(N_TRAIN, int(BUDGET))
    passed = grid / times[:, None]
    loss = np.where(passed < 1.0, 1.0, 0.05) if steps else 10.0**-passed
    return first_hit(grid, loss, 0.1)


def median_case(median: float, steps: bool = False) -> Case:
    """Median of single networks; T is log-normal."""
    return Case(
        lambda rng, n: seen(median * np.exp(normal(rng, (n,), SPREAD)), steps),
        lambda hits, _: median_interval(hits),
        float(seen(np.array([median]), steps)[0]),
        ratio=True,
    )


def learners(rng: Generator, blocks: int) -> Floats:
    """T (blocks, networks) of a population: T and the share that learns vary between blocks."""
    shape = (blocks, NETWORKS)
    learns = rng.random(shape) < rng.beta(20 * LEARNING, 20 * (1 - LEARNING), (blocks, 1))
    return np.where(learns, np.exp(normal(rng, shape, WITHIN, BETWEEN)), np.inf)


def population_median(times: Floats, _: Generator) -> Estimate:
    """Median over all networks, those that never learn included."""
    return median_interval(times.ravel(), np.repeat(np.arange(len(times)), NETWORKS))


# Two arms


def pair(rng: Generator, n: int, median: float = MEDIAN, planted: float = RATIO) -> Runs:
    """Two arms whose seeds have much in common, T_A / T_B as planted."""
    common = normal(rng, (n,), SPREAD)
    a, b = (median * np.exp(common + normal(rng, (n,), OWN)) for _ in range(2))
    return runs_of({A: a, B: b / planted}, BUDGET)


def population_pair(rng: Generator, blocks: int) -> Runs:
    """Two arms of the same networks: some learn in one, some in both, some never."""
    shape = (blocks, NETWORKS)
    common = normal(rng, shape, WITHIN, BETWEEN)
    talent = rng.normal(size=shape)
    times = []
    for factor in (RATIO, 1.0):
        learns = 0.8 * talent + 0.6 * rng.normal(size=shape) < stats.norm.ppf(LEARNING)
        t = factor * np.exp(common + normal(rng, shape, OWN, OWN / 2))
        times.append(np.where(learns, t, np.inf))
    return runs_of({A: times[0], B: times[1]}, budget=1e6)


def ratio(runs: Runs, _: Generator) -> Estimate:
    """T_A / T_B."""
    return compare(runs, A, B, EXAMPLES, MIDDLE).ratio


def faster(runs: Runs, _: Generator) -> Estimate:
    """P(A faster)."""
    return compare(runs, A, B, EXAMPLES, MIDDLE).p_faster


def censored_ratio() -> float:
    """The median ratio where a third of the slow arm's runs are not reached.

    Not reached counts as slower than whatever the other arm reached. Of pairs that neither arm
    reached, the ratio that a longer budget would have shown.
    """
    rng, n = stream("truth of a censored ratio"), 2_000_000
    common = normal(rng, (n,), SPREAD)
    a, b = (SLOW * np.exp(common + normal(rng, (n,), OWN)) for _ in range(2))
    b /= RATIO
    a_seen, b_seen = (np.where(t <= BUDGET, t, np.inf) for t in (a, b))
    shown = ordered_ratios(a_seen, b_seen, BUDGET, BUDGET)
    return float(np.median(np.where(np.isnan(shown), a / b, shown)))


def population_faster() -> float:
    """P(A faster) among a population's networks that learn in one arm at least."""
    rng = stream("truth of a population's comparison")
    found = [faster(population_pair(rng, 100), rng).value for _ in range(20)]
    return float(np.mean(found))


# Spread


def deviation_of(cdf: Callable[[float], float], median: float) -> float:
    """Median distance from the median of a variable with this distribution function."""
    return float(optimize.brentq(lambda d: cdf(median + d) - cdf(median - d) - 0.5, 0.0, 20.0))


def skewed(rng: Generator, n: int) -> Floats:
    """T whose logarithm is exponential: a few seeds take much longer."""
    return np.exp(rng.exponential(size=n))


def two_spreads(rng: Generator, n: int) -> tuple[Floats, Floats]:
    """Times of two arms, the first with RATIO times the spread; the seeds' ranks agree."""
    common = normal(rng, (n,), 0.8)
    a, b = (common + normal(rng, (n,), 0.6) for _ in range(2))
    return np.exp(0.1 * RATIO * a), np.exp(0.1 * b)


# The recommended batch size


def three_arms(rng: Generator, n: int) -> Runs:
    """Three batch sizes, the first two nearly equal, half as many seeds that tune."""
    frames = []
    for role, seeds in (("report", n), ("tune", n // 2)):
        common = normal(rng, (seeds,), SPREAD)
        times = {
            arm: MEDIAN * factor * np.exp(common + normal(rng, (seeds,), OWN))
            for arm, factor in THREE.items()
        }
        frames.append(rows_of(times, BUDGET, role))
    rows = pd.concat(frames, ignore_index=True)
    # No seed has both roles
    return Runs(rows.assign(seed=rows.seed + 1000 * (rows.role == "tune")))


def recommended(runs: Runs, _: Generator) -> Estimate:
    """T_C / T_best, or T_A / T_best where C is best; over the truth of what was picked as best."""
    best = best_batch_size(runs, list(THREE), EXAMPLES, MIDDLE)
    picked = next(arm for arm in THREE if arm.batch_size == best)
    other = A if picked == C else C
    table = ratio_table(runs, list(THREE), picked, EXAMPLES, MIDDLE).set_index("batch_size")
    row = table.loc[other.batch_size]
    found = Estimate(row.ratio, row.low, row.high, len(runs.of(other)))
    return relative(found, THREE[other] / THREE[picked])


normal_mad, skewed_mad = (
    deviation_of(stats.norm.cdf, 0.0),
    deviation_of(stats.expon.cdf, float(np.log(2.0))),
)
CASES = {
    "median time": median_case(MEDIAN),
    "median time, a third not reached": median_case(SLOW),
    "median time, ties": median_case(MEDIAN, steps=True),
    "median time, population": Case(
        learners,
        population_median,
        float(np.exp(np.hypot(BETWEEN, WITHIN) * stats.norm.ppf(0.5 / LEARNING))),
        BLOCKS,
        "blocks",
        ratio=True,
    ),
    "time ratio": Case(pair, ratio, RATIO, ratio=True),
    "time ratio, a third not reached": Case(
        partial(pair, median=SLOW), ratio, censored_ratio, ratio=True
    ),
    "time ratio, population": Case(population_pair, ratio, RATIO, BLOCKS, "blocks", ratio=True),
    "P(faster)": Case(
        partial(pair, planted=CLOSE),
        faster,
        float(stats.norm.cdf(-np.log(CLOSE) / (OWN * np.sqrt(2.0)))),
    ),
    "P(faster), population": Case(population_pair, faster, population_faster, BLOCKS, "blocks"),
    "spread": Case(
        lambda rng, n: np.exp(normal(rng, (n,), SPREAD)),
        spread,
        SPREAD * normal_mad,
        ratio=True,
    ),
    "spread, skewed": Case(skewed, spread, skewed_mad, ratio=True),
    "spread ratio": Case(
        two_spreads, lambda both, rng: spread_ratio(both[0], both[1], rng), RATIO, ratio=True
    ),
    "recommended: T / T of the best": Case(three_arms, recommended, 1.0, ratio=True),
}
