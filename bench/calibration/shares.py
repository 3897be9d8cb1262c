"""Cases of shares: successes, failures, their differences, brackets of the largest stable rate."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import stats

from bench.analysis.arms import Arm, Runs
from bench.analysis.intervals import (
    Estimate,
    clustered_proportion,
    difference_interval,
    paired_share_difference,
    share_interval,
)
from bench.analysis.stability import largest_stable_rate
from bench.calibration.case import (
    BLOCKS,
    NETWORKS,
    Bools,
    Case,
    Floats,
    Generator,
    apart,
    normal,
    rows_of,
)

# Correlation of the outcomes of a block; XOR populations showed 0 to .009
ALIKE = 0.01
RATES = 2.0 ** np.arange(-4.0, 4.0, 0.5)
THRESHOLD_SPREAD = 0.4  # standard deviation of the log of a seed's own threshold


def flags(rng: Generator, n: int, share: float) -> Bools:
    """Outcomes of seeds."""
    return rng.random(n) < share


def counts(rng: Generator, blocks: int, share: float) -> Floats:
    """Successes of each block, beta-binomial."""
    weight = 1.0 / ALIKE - 1.0
    of_block = rng.beta(share * weight, (1.0 - share) * weight, blocks)
    return rng.binomial(NETWORKS, of_block).astype(np.float64)


def clustered(k: Floats, _: Generator) -> Estimate:
    """Share over blocks."""
    return clustered_proportion(k, np.full(len(k), NETWORKS))


def paired_flags(rng: Generator, n: int, p: float, q: float, common: float) -> tuple[Bools, Bools]:
    """Outcomes of two arms; a seed is as lucky in both with probability `common`."""
    u, v = rng.random((2, n))
    return u < p, np.where(rng.random(n) < common, u, v) < q


def populations(rng: Generator, blocks: int, p: float, q: float) -> tuple[Floats, Floats]:
    """Successes of two networks, block by block, in independent blocks."""
    return counts(rng, blocks, p), counts(rng, blocks, q)


def difference_of_populations(both: tuple[Floats, Floats], rng: Generator) -> Estimate:
    """Difference of two networks' shares."""
    a, b = (clustered(k, rng) for k in both)
    return difference_interval(a, b)


def failing(rng: Generator, n: int) -> tuple[Runs, Floats]:
    """Runs at all rates, failing from each seed's threshold on; the true share at each rate."""
    threshold = normal(rng, (n,), THRESHOLD_SPREAD)
    rows = rows_of({Arm(1, r): np.ones(n) for r in RATES}, budget=np.inf)
    rows["failed"] = np.log(rows.learning_rate) > threshold[rows.seed]
    return Runs(rows), stats.norm.cdf(np.log(RATES) / THRESHOLD_SPREAD)


def bracket_share(sample: tuple[Runs, Floats], _: Generator, end: str) -> Estimate:
    """Share at an end of the bracket, minus the true share at the rate that was found."""
    runs, truth = sample
    row = largest_stable_rate(runs, "failed").iloc[0]
    found = Estimate(row[f"{end}_share"], row[f"{end}_low"], row[f"{end}_high"], int(row.n_seeds))
    return apart(found, float(truth[row[end] == RATES][0]))


CASES = {
    **{
        f"success share, {p:.0%}": Case(
            partial(flags, share=p), lambda found, _: share_interval(found), p
        )
        for p in (0.6, 0.97)
    },
    **{
        f"success share, population, {p:.0%}": Case(
            partial(counts, share=p), clustered, p, BLOCKS, "blocks"
        )
        for p in (0.6, 0.97, 0.99)
    },
    **{
        f"difference of shares, {p:.0%} and {q:.0%}{told}": Case(
            partial(paired_flags, p=p, q=q, common=common),
            lambda both, _: paired_share_difference(*both),
            p - q,
        )
        for p, q in ((0.05, 0.05), (0.5, 0.3), (0.9, 0.1))
        for common, told in ((0.0, ""), (0.8, ", alike"))
    },
    "difference of shares, populations": Case(
        partial(populations, p=0.5, q=0.3), difference_of_populations, 0.2, BLOCKS, "blocks"
    ),
    **{
        f"failing share, {end} end of the bracket": Case(
            failing, partial(bracket_share, end=end), 0.0
        )
        for end in ("stable", "unstable")
    },
}
