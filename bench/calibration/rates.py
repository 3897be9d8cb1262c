"""Cases of learning rates: usable widths, thresholds by seed."""

from __future__ import annotations

from functools import cache

import numpy as np

from bench.analysis.arms import Arm, Runs
from bench.analysis.intervals import Estimate, median
from bench.analysis.stability import (
    threshold_ratio,
    thresholds,
    usable_stretch,
    usable_width,
    width_difference,
)
from bench.analysis.time_to_target import MIDDLE
from bench.calibration.case import HIT, Case, Floats, Generator, normal, rows_of
from bench.experiments.plan import coarse_rates, fine_rates
from bench.streams import stream

WIDE, NARROW = 1, 2  # batch sizes
CENTRE = 0.5  # rate where T is least
RISE = {WIDE: (0.8, 1.0), NARROW: (1.2, 2.5)}  # octaves of T an octave below and above the best
CLIFF = {WIDE: 1.5, NARROW: 0.9}  # octaves above the best from which half the seeds fail
OPTIMUM, OCTAVES, CLIFFS = 0.2, 0.15, 0.3  # standard deviations: best rate by seed, T, cliffs
RATES = np.array(sorted({*coarse_rates("sgd"), *fine_rates(CENTRE)}))


def octaves(rng: Generator, n: int, batch_size: int) -> tuple[Floats, Floats]:
    """Log2 T (n, rates), a U around each seed's own best rate, and log2 of its cliff (n, 1)."""
    best = np.log2(CENTRE) + normal(rng, (n, 1), OPTIMUM)
    off = np.log2(RATES) - best
    below, above = RISE[batch_size]
    time = np.where(off < 0.0, -below * off, above * off) + normal(rng, off.shape, OCTAVES, 0.5)
    cliff = best + CLIFF[batch_size] + normal(rng, (n, 1), CLIFFS)
    return np.where(np.log2(RATES) > cliff, np.inf, time), cliff


def two_sizes(rng: Generator, n: int) -> Runs:
    """Runs of both batch sizes at all rates; one more seed tunes, to say what the lattice is."""
    times: dict[Arm, Floats] = {}
    for b in (WIDE, NARROW):
        found = 100.0 * 2.0 ** octaves(rng, n + 1, b)[0]
        times |= {Arm(b, float(r)): found[:, i] for i, r in enumerate(RATES)}
    rows = rows_of(times, budget=np.inf)
    role = np.where(rows.seed == n, "tune", "report")
    return Runs(rows.assign(failed=np.isinf(rows[HIT]), role=role))


@cache
def true_width(batch_size: int) -> float:
    """Usable width of the medians of very many seeds."""
    times, _ = octaves(stream("truth of a usable width"), 200_001, batch_size)
    low, high = usable_stretch(np.log2(RATES), np.log2(median(2.0**times)))
    return high - low


def width(runs: Runs, rng: Generator) -> Estimate:
    """Usable width of one batch size."""
    found = usable_width(runs, WIDE, MIDDLE, rng)
    return Estimate(found["width"], found["width_low"], found["width_high"], len(runs.outcomes))


def thresholds_of_two(runs: Runs, _: Generator) -> Estimate:
    """Ratio of the thresholds by seed."""
    table = thresholds(runs).set_index("seed")
    wide, narrow = (table[table.batch_size == b][["threshold", "below"]] for b in (WIDE, NARROW))
    return threshold_ratio(wide, narrow)


CASES = {
    "usable width": Case(two_sizes, width, lambda: true_width(WIDE)),
    "difference of usable widths": Case(
        two_sizes,
        lambda runs, rng: width_difference(runs, WIDE, NARROW, MIDDLE, rng),
        lambda: true_width(WIDE) - true_width(NARROW),
    ),
    "threshold ratio": Case(
        two_sizes, thresholds_of_two, 2.0 ** (CLIFF[WIDE] - CLIFF[NARROW]), ratio=True
    ),
}
