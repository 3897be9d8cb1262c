"""Cases of the trade-off of updates and examples, and of how the best rate grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench.analysis.intervals import Estimate, median
from bench.analysis.rate_growth import growth, redrawn_picks
from bench.analysis.tradeoff import TradeOff, doubling, fastest_batch, trade_off
from bench.calibration.case import Case, Floats, Generator, normal, relative

S_MIN, E_MIN = 40.0, 4000.0  # updates and examples: a critical batch size of 100
N_TRAIN = 1437
BATCHES = N_TRAIN / np.ceil(N_TRAIN / np.append(2.0 ** np.arange(10), N_TRAIN))
COMMON, OWN = 0.15, 0.1  # standard deviations of log T: what a seed's arms share, or not
C0, C1 = 1e-4, 1e-5  # seconds of an update, and of each of its samples
EXPONENT = 0.5  # the best rate grows as the batch size to this power
SIZES = np.array([1.0, 4.0, 16.0, 64.0, 256.0])
TUNERS = (16, 3)  # seeds that tune where 32 and 6 report
DRAWS = 500  # resamples of picks: the studies' 2,000 narrow nothing


class Curve(NamedTuple):
    """T (seeds, batch sizes) of one study, and the arm that its tuning seeds find best."""

    times: Floats
    reference: int


def curve(rng: Generator, n: int) -> Curve:
    """Times on a hyperbola; half as many seeds that tune."""
    tuning, reporting = (
        (S_MIN * BATCHES + E_MIN) * np.exp(normal(rng, (seeds, len(BATCHES)), OWN, COMMON))
        for seeds in (n // 2, n)
    )
    return Curve(reporting, int(median(tuning).argmin()))


def fitted(sample: Curve, rng: Generator) -> TradeOff:
    """What a study makes of it."""
    return trade_off(sample.times, BATCHES, N_TRAIN, rng, reference=sample.reference)


def model_free(sample: Curve, rng: Generator) -> Estimate:
    """Model-free critical batch size, over the true one of the arm that was found best."""
    truth = doubling(S_MIN * BATCHES + E_MIN, BATCHES, sample.reference)
    return relative(fitted(sample, rng).model_free, float(truth))


def fastest(sample: Curve, rng: Generator) -> tuple[Estimate, Estimate]:
    """Fastest batch size in closed form, and the seconds there."""
    return fastest_batch(fitted(sample, rng), C0, C1, N_TRAIN)[:2]


class Tuned(NamedTuple):
    """T (tuning seeds, rates) at each of the sizes, and which rates they are."""

    times: list[Floats]
    rates: list[Floats]


def tuning(rng: Generator, n: int) -> Tuned:
    """A U of T against the rate for each size; half the seeds fail an octave above its bottom."""
    common = normal(rng, (n, 1), COMMON)
    times, rates = [], []
    for size in SIZES:
        best = EXPONENT * np.log2(size)
        octaves = np.round(8 * best) / 8 + np.arange(-7, 9) / 8
        off = octaves - best
        cliff = 1.0 + normal(rng, (n, 1), 0.2)
        t = np.exp(common + off**2 + normal(rng, (n, len(off)), OWN))
        times.append(np.where(off > cliff, np.inf, t))
        rates.append(2.0**octaves)
    return Tuned(times, rates)


def slope(sample: Tuned, rng: Generator) -> Estimate:
    """Exponent of the best rate."""
    n = len(sample.times[0])
    seeds = np.vstack([np.arange(n), rng.integers(0, n, (DRAWS, n))])
    picks = [
        redrawn_picks(times, np.isinf(times), rates, seeds)
        for times, rates in zip(*sample, strict=True)
    ]
    drawn = np.stack(picks, axis=1)
    return growth(drawn[0], drawn[1:], SIZES, n)


def of_fit(name: str) -> Callable[[Curve, Generator], Estimate]:
    """An estimate of the fit."""
    return lambda sample, rng: getattr(fitted(sample, rng), name)


CASES = {
    "least updates, S_min": Case(curve, of_fit("s_min"), S_MIN),
    "least examples, E_min": Case(curve, of_fit("e_min"), E_MIN),
    "critical batch size, fitted": Case(curve, of_fit("b_crit"), E_MIN / S_MIN, ratio=True),
    "critical batch size, model-free": Case(curve, model_free, 1.0, ratio=True),
    "fastest batch size, closed form": Case(
        curve,
        lambda sample, rng: fastest(sample, rng)[0],
        float(np.sqrt(E_MIN * C0 / (S_MIN * C1))),
        ratio=True,
    ),
    "seconds at the fastest batch size": Case(
        curve,
        lambda sample, rng: fastest(sample, rng)[1],
        float((np.sqrt(S_MIN * C0) + np.sqrt(E_MIN * C1)) ** 2),
        ratio=True,
    ),
    "growth of the best rate": Case(tuning, slope, EXPONENT, TUNERS, "tuning seeds"),
}
