"""Verdicts on speed: pure functions of the times that were measured.

Interleaved blocks of two sides, from several pairs of processes, give a ratio with an interval; the
place of the interval gives the verdict. Nothing here measures, and nothing is random.
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
TOLERANCE = 0.01  # the slowdown that does not matter, as a share, unless told otherwise
SAME = 0.03  # what "same within X" may still mean: the aim is to see 5%
POWER = 0.8  # of the smallest slowdown that would have been seen
FARTHEST = 50.0  # of an interval's end from the middle, as a logarithm: nothing is known there
TRIMMED = 6  # of the pairs of processes one in so many on each side
LEAST_PAIRS = 3  # of processes, below which there is no telling
# Looks at the data, as shares of the planned pairs of processes
LOOKS = (0.5, 0.75, 1.0)


class Effect(NamedTuple):
    """A ratio of times, HEAD's over BASE's, with its interval.

    `error` is the standard error of log(value), with so many degrees of freedom.
    """

    value: float
    low: float
    high: float
    error: float
    freedom: int


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
        The same with a plain 95% interval of all its data, as if there were no other benchmarks and
        no other looks at the data.
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
        low = self.effect.low
        return max(self.effect.high - 1.0, 1.0 / low - 1.0 if low > 0 else math.inf)

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


def effect_of(medians: Floats, level: float) -> Effect:
    """Ratio of times with an interval that misses the truth with a probability of `level`.

    A trimmed mean over pairs of processes, with Student's t (Tukey & McLaughlin 1963, Sankhya A
    25:331; Yuen 1974, Biometrika 61:165). Processes are what varies at the top (where their memory
    lies, for one), blocks within them are no further evidence on how much it does (Kalibera & Jones
    2013, Rigorous benchmarking in reasonable time); and one process in ten may be off by 15% for as
    long as it lives. In simulated tables of 12 benchmarks any interval misses in 4 to 6%, for
    normal, heavy-tailed and contaminated noise. Resampling processes and blocks within was tried:
    with 3 to 12 processes, at the small levels that many benchmarks and several looks leave, it
    missed in 9 to 15%.

    Parameters
    ----------
    medians
        Of each pair of processes, the median over blocks of log(HEAD's seconds / BASE's). A sixth
        of them is trimmed on each side.
    level
        Probability.
    """
    n = len(medians)
    if n < LEAST_PAIRS:
        return Effect(math.exp(float(medians.mean())), 0.0, math.inf, math.inf, 0)
    cut = n // TRIMMED
    kept = np.sort(medians)[cut : n - cut]
    winsorized = np.clip(medians, kept[0], kept[-1])
    value, freedom = float(kept.mean()), len(kept) - 1
    error = float(winsorized.std(ddof=1)) * math.sqrt((n - 1) / (freedom * len(kept)))
    reach = min(float(scipy.stats.t.ppf(1.0 - level / 2, freedom)) * error, FARTHEST)
    low, high = math.exp(value - reach), math.exp(value + reach)
    return Effect(math.exp(value), low, high, error, freedom)


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

    The ratio is taken within blocks: where the machine's speed jumps, the median of each side jumps
    with it, and the ratio of the two medians spread 2 to 3 times as much from process to process.

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
    medians = np.array([np.median(np.log(h / b)) for b, h in zip(base, head, strict=True)])
    together = effect_of(medians, level / family)
    return Row(
        benchmark=benchmark,
        base=float(np.median(np.concatenate(base))),
        head=float(np.median(np.concatenate(head))),
        effect=together,
        alone=effect_of(medians, LEVEL),
        visible=visible(together, tolerance),
        verdict=verdict_of(together, tolerance),
        pairs=len(medians),
        blocks=sum(map(len, base)),
    )


def visible(effect: Effect, tolerance: float) -> float:
    """The smallest slowdown, as a ratio, that is called slower with 80% where noise is as here.

    From Student's t that is not central, and the median of what the standard error is short of.
    """
    if not math.isfinite(effect.error):
        return math.inf
    if effect.error == 0:
        return 1.0 + tolerance
    critical = math.log(effect.value / effect.low) / effect.error
    shift = float(scipy.special.nctdtrinc(effect.freedom, 1.0 - POWER, critical))
    short = math.sqrt(effect.freedom / scipy.stats.chi2.median(effect.freedom))
    return (1.0 + tolerance) * math.exp(min(shift * short * effect.error, FARTHEST))


def settled(row: Row, tolerance: float) -> bool:
    """Whether more data would change nothing: faster, slower, or the same within the tolerance."""
    return row.verdict in ("faster", "slower") or row.bound <= tolerance
