"""Verdicts on speed: pure functions of the times that were measured.

Interleaved blocks of two sides, from several pairs of processes, give a ratio with an interval; the
place of the interval gives the verdict. Nothing here measures, and nothing is random but a
bootstrap with a seed of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import scipy  # which loads scipy.stats on first use
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Verdict = Literal["faster", "slower", "same", "cannot tell"]

LEVEL = 0.05  # probability that any interval of a table misses its truth, at most
DRAWS, AT_ONCE = 2000, 100  # resamples, and how many of them are in memory
TOLERANCE = 0.01  # the slowdown that does not matter, as a share, unless told otherwise
SAME = 0.03  # what "same within X" may still mean: the aim is to see 5%
POWER = 0.8  # of the smallest slowdown that would have been seen
LEAST_PAIRS = 3  # of processes, below which there is no telling
# Looks at the data, as shares of the planned pairs of processes
LOOKS = (0.5, 0.75, 1.0)


class Effect(NamedTuple):
    """A ratio of times, HEAD's over BASE's, with its interval.

    `error` is the standard error of log(value), without the widening for few processes.
    """

    value: float
    low: float
    high: float
    error: float


@dataclass(frozen=True)
class Row:
    """What is said of a benchmark.

    Parameters
    ----------
    benchmark
        Its name.
    base, head
        Median seconds of a call on each side; NaN where it was not timed.
    effect
        Ratio of times with the interval that the verdict was read from: all intervals of a table
        hold together with 95%.
    alone
        The same with an interval that holds alone with 95%, as if the other benchmarks, and other
        looks at the data, did not exist.
    visible
        The smallest slowdown, as a ratio, that would have been called slower with 80%.
    verdict
        "faster", "slower", "same" or "cannot tell".
    pairs, blocks
        Numbers of pairs of processes and of interleaved blocks.
    """

    benchmark: str
    base: float
    head: float
    effect: Effect
    alone: Effect
    visible: float
    verdict: Verdict
    pairs: int
    blocks: int

    @property
    def bound(self) -> float:
        """The largest difference that the interval allows, as a share."""
        return max(self.effect.high - 1.0, 1.0 / self.effect.low - 1.0)

    @property
    def words(self) -> str:
        """The verdict in words: "same within 1.2%"."""
        return f"same within {self.bound:.1%}" if self.verdict == "same" else self.verdict


def looks(pairs: int) -> dict[int, float]:
    """When to look at the data, and what each look may err, planned before anything is measured.

    Parameters
    ----------
    pairs
        Planned pairs of processes.

    Returns
    -------
    dict
        After so many pairs: the probability that an interval of this look misses its truth. They
        add up to 5%, so that all looks together err no more, however they hang together. The
        total spent at a share t of the data is 2 - 2 Phi(1.96 / sqrt(t)): early looks stop for
        what is plain and cost the last one little (Lan & DeMets 1983, Biometrika 70:659, with the
        boundary of O'Brien & Fleming 1979).
    """
    planned: dict[int, float] = {}
    before = 0.0
    z = scipy.stats.norm.ppf(1.0 - LEVEL / 2)
    for share in LOOKS:
        after = math.ceil(share * pairs)
        if after < LEAST_PAIRS or (after == pairs and share < 1.0):
            continue
        spent = 2.0 * scipy.stats.norm.sf(z / math.sqrt(after / pairs))
        planned[after] = planned.get(after, 0.0) + spent - before
        before = spent
    return planned


def middle(pairs: Sequence[Floats]) -> float:
    """Median of all pairs' values, each pair with the same weight however many it has.

    Of the ratios within blocks: where the machine's speed jumps, each side's median jumps with it,
    and their ratio spread 2 to 3 times as much from process to process (1.1% against 2.8%).
    """
    values = np.concatenate(pairs)
    weights = np.concatenate([np.full(len(one), 1.0 / len(one)) for one in pairs])
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    # The average of the two values around one half, as of a plain median
    low, high = np.searchsorted(reached, [0.5 - 1e-12, 0.5 + 1e-12]).clip(max=len(values) - 1)
    return float(values[order[low]] + values[order[high]]) / 2.0


def resampled(pairs: Sequence[Floats], rng: np.random.Generator) -> Floats:
    """Medians in resamples of pairs and, within each, of blocks: (DRAWS,).

    Hierarchical, as processes differ among themselves (where their memory lies) by more than blocks
    of a process do: Kalibera & Jones 2013 (Rigorous benchmarking in reasonable time, section 7).
    """
    number = len(pairs)
    size = max(1, round(number / sum(1.0 / len(one) for one in pairs)))
    lengths = np.array([len(one) for one in pairs])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    values = np.concatenate(pairs)
    drawn = []
    for _ in range(DRAWS // AT_ONCE):
        chosen = rng.integers(0, number, (AT_ONCE, number, 1))
        within = (rng.random((AT_ONCE, number, size)) * lengths[chosen]).astype(np.int64)
        drawn.append(np.median(values[starts[chosen] + within], axis=(1, 2)))
    return np.concatenate(drawn)


def effects(pairs: Sequence[Floats], levels: Sequence[float], seed: int = 0) -> list[Effect]:
    """Ratio of times with an interval for each level (probability of missing the truth).

    The bootstrap's 95% interval, widened from its middle by sqrt(n / (n - 1)), the bias of a
    variance of n pairs, and by Student's t of the level over the normal's 1.96: few processes know
    little about how much processes differ (Hesterberg 2015, The American Statistician 69:371).

    Parameters
    ----------
    pairs
        Of each pair of processes, log(HEAD's seconds / BASE's) of its blocks, (n_blocks,).
    levels
        Of the intervals.
    seed
        Of the resampling.
    """
    number, value = len(pairs), middle(pairs)
    if number < LEAST_PAIRS:
        return [Effect(math.exp(value), 0.0, math.inf, math.inf) for _ in levels]
    low, high = np.quantile(resampled(pairs, np.random.default_rng(seed)), [0.025, 0.975])
    z = scipy.stats.norm.ppf(0.975)
    found = []
    for level in levels:
        t = scipy.stats.t.ppf(1.0 - level / 2, number - 1)
        wider = math.sqrt(number / (number - 1)) * t / z
        below, above = wider * max(value - low, 0.0), wider * max(high - value, 0.0)
        found.append(
            Effect(
                math.exp(value),
                math.exp(value - below),
                math.exp(value + above),
                error=(high - low) / (2 * z),
            )
        )
    return found


def verdict_of(effect: Effect, tolerance: float) -> Verdict:
    """Judge by the whole interval: beyond the tolerance, inside it, or neither.

    "same" also where the interval holds 1 and allows a difference of 3% at most: the table says how
    large a difference it allows.
    """
    if effect.low > 1.0 + tolerance:
        return "slower"
    if effect.high < 1.0 / (1.0 + tolerance):
        return "faster"
    bound = max(effect.high, 1.0 / effect.low) if effect.low > 0 else math.inf
    holds_one = effect.low <= 1.0 <= effect.high
    if bound <= 1.0 + tolerance or (holds_one and bound <= 1.0 + SAME):
        return "same"
    return "cannot tell"


def judge(
    benchmark: str,
    base: Sequence[Floats],
    head: Sequence[Floats],
    *,
    tolerance: float,
    level: float,
    family: int,
) -> Row:
    """Judge one benchmark.

    Parameters
    ----------
    benchmark
        Its name.
    base, head
        Of each pair of processes, seconds of a call in its blocks, (n_blocks,) on each side.
    tolerance
        The slowdown that does not matter, as a share.
    level
        Probability of missing the truth that this look at the data may spend, for all benchmarks
        together.
    family
        Number of benchmarks that are judged together: each gets the same part of the level
        (Bonferroni), so that all intervals of the table hold together.
    """
    pairs = [np.log(h / b) for b, h in zip(base, head, strict=True)]
    together, alone = effects(pairs, (level / family, LEVEL))
    near = together.error * scipy.stats.norm.ppf(POWER)
    reach = math.log(together.value / together.low) if together.low > 0 else math.inf
    return Row(
        benchmark=benchmark,
        base=float(np.median(np.concatenate(base))),
        head=float(np.median(np.concatenate(head))),
        effect=together,
        alone=alone,
        visible=(1.0 + tolerance) * math.exp(reach + near),
        verdict=verdict_of(together, tolerance),
        pairs=len(pairs),
        blocks=sum(map(len, pairs)),
    )


def settled(row: Row, tolerance: float) -> bool:
    """Whether more data would change nothing: faster, slower, or the same within the tolerance."""
    return row.verdict in ("faster", "slower") or row.bound <= tolerance
