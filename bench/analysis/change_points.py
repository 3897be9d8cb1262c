"""Steps in a series of noisy measurements, which a drift is not, and whether its newest is one.

Seeded binary segmentation (Kovács, Bühlmann, Li & Munk 2023, Biometrika 110:249): one step is
looked for in each of a fixed set of nested intervals, the clearest is taken, the intervals that
hold it are dropped, and so on (the greedy selection of wild binary segmentation, Fryzlewicz 2014,
Annals of Statistics 42:2243). Additions make it fit for timings:

- single outliers are pulled to their neighbours first (Hampel's identifier, 1974, JASA 69:383, with
  medians of the points before and after apart, so that the edge of a step stays where it is);
- noise whose neighbours are alike counts as fewer points;
- within its interval a step must explain more than a cubic does, and stand out beside a straight
  line and beside a cubic (partial F tests): what these follow is a drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy  # which loads scipy.stats, a third of a second, on first use
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ALPHA = 0.05  # by Bonferroni over all places in all intervals
BESIDE_DRIFT = 0.001  # p of a step beside a line and beside a cubic
DRIFTS = (1, 3)  # degrees
LEAST_SIDE = 3  # points on each side of a step
LEAST_INTERVAL = 8  # points; a cubic, a step and three more
DECAY = math.sqrt(0.5)  # length of intervals from layer to layer
WINDOW = 3  # neighbours on each side that tell an outlier
OUTLYING = 3.0  # sigma from them
NEAR = 3  # points by which the place of a step moves as points are added
TINY = 1e-24  # of the sum of squares: what rounding leaves
RECENT, ENOUGH = 24, 8  # points of a level that the newest is held against: at most, at least
TAILS = 4  # degrees of freedom of the prediction: heavier tails than normal noise
MAD = 1.4826  # sigma over the median absolute deviation of normal noise


class Step(NamedTuple):
    """A step: the first point after it, by how much values rise there, and its p-value."""

    start: int
    size: float
    p_value: float


class Newest(NamedTuple):
    """What the newest point of a series is.

    Parameters
    ----------
    found
        "higher", "lower", "no change" or "too few points".
    change
        From the level before: of the newest, or of the level that begins with a step.
    limit
        How far from that level the newest may lie.
    points
        What it rests on: points since the step, 1 for the newest alone, else those of the level.
    """

    found: str
    change: float
    limit: float
    points: int


class _Candidate(NamedTuple):
    """A possible step at `place` in the interval from start to stop."""

    log_p: float
    place: int
    start: int
    stop: int


def sigma(values: Floats) -> float:
    """Spread of the noise from differences of neighbours, which steps and drifts hardly touch."""
    return float(MAD * np.median(np.abs(np.diff(values))) / math.sqrt(2)) if len(values) > 1 else 0


def without_outliers(values: ArrayLike) -> Floats:
    """Pull points that lie beyond their neighbours on both sides to 3 sigma from the nearer ones.

    Parameters
    ----------
    values
        (n,), finite.
    """
    values = np.asarray(values, float)
    reach, pulled = OUTLYING * sigma(values), values.copy()
    for i in range(len(values)):
        sides = values[max(0, i - WINDOW) : i], values[i + 1 : i + 1 + WINDOW]
        middles = [float(np.median(side)) for side in sides if len(side)]
        if middles:
            pulled[i] = np.clip(values[i], min(middles) - reach, max(middles) + reach)
    return pulled


def seeded_intervals(n: int) -> list[tuple[int, int]]:
    """Intervals (start, stop) of 8 points and more (Kovács et al. 2023, definition 1)."""
    found, length, layer = set(), float(n), 0
    while length >= LEAST_INTERVAL:
        number = 2 * math.ceil(DECAY**-layer) - 1
        shift = (n - length) / max(number - 1, 1)
        for i in range(number):
            start = math.floor(i * shift)
            found.add((start, min(n, math.ceil(i * shift + length))))
        layer += 1
        length = n * DECAY**layer
    return sorted(found)


@cache
def _bases(m: int, degree: int) -> tuple[Floats, Floats]:
    """Polynomials up to a degree on m points, and steps at each place beside them.

    Returns
    -------
    (m, degree + 1) and (m, m - 5), orthonormal columns and columns of length 1.
    """
    polynomials = np.linalg.qr(np.vander(np.linspace(-1, 1, m), degree + 1))[0]
    places = np.arange(LEAST_SIDE, m - LEAST_SIDE + 1)
    steps = (np.arange(m)[:, None] >= places).astype(float)
    steps -= polynomials @ (polynomials.T @ steps)
    return polynomials, steps / np.linalg.norm(steps, axis=0)


def _fits(values: Floats, degree: int) -> tuple[Floats, Floats]:
    """F (m - 5,) of a step at each place beside a polynomial, and the squares that are left."""
    m = len(values)
    polynomials, steps = _bases(m, degree)
    values = values - values.mean()  # for the digits
    rest = values - polynomials @ (polynomials.T @ values)
    gain = (rest @ steps) ** 2
    left = np.maximum(rest @ rest - gain, TINY * (values @ values))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(left > 0, gain * (m - degree - 2) / left, 0.0), left


def _log_p(f: float, m: int, degree: int) -> float:
    """Log of the p-value of an F of `_fits`."""
    return float(scipy.stats.f.logsf(f, 1, m - degree - 2))


def _independence(rest: Floats) -> float:
    """Variance of a mean of independent noise over that of this one, as a chain of first order.

    (1 - r) / (1 + r) for what the correlation r of neighbours has beyond its own standard error.
    """
    square = float(rest @ rest)
    r = float(rest[1:] @ rest[:-1]) / square if square > 0 else 0.0
    r = max(0.0, r - 1 / math.sqrt(len(rest)))
    return (1 - r) / (1 + r)


def _candidate(values: Floats, alpha: float, beside: float) -> tuple[float, int] | None:
    """Log p and place of the clearest step of an interval; None where it is unclear or a drift."""
    m, (f, left) = len(values), _fits(values, 0)
    best = int(np.argmax(f))
    place = LEAST_SIDE + best
    sides = values[:place], values[place:]
    rest = np.concatenate([side - side.mean() for side in sides])
    log_p = _log_p(f[best] * _independence(rest), m, 0)
    if log_p > math.log(alpha):
        return None
    polynomials = _bases(m, max(DRIFTS))[0]
    drift = values - polynomials @ (polynomials.T @ values)
    if left[best] > drift @ drift:
        return None
    drifts = (_log_p(_fits(values, degree)[0][best], m, degree) for degree in DRIFTS)
    return (log_p, place) if max(drifts) <= math.log(beside) else None


def _candidates(values: Floats, together: int) -> list[_Candidate]:
    """The clearest step of each interval, where it is clear enough and no drift."""
    intervals = seeded_intervals(len(values))
    tests = sum(stop - start - 2 * LEAST_SIDE + 1 for start, stop in intervals)
    found = []
    for start, stop in intervals:
        inside = values[start:stop]
        one = _candidate(inside, ALPHA / tests / together, BESIDE_DRIFT / together)
        if one is not None:
            found.append(_Candidate(one[0], start + one[1], start, stop))
    return found


def change_points(values: ArrayLike, least: float = 0.0, together: int = 1) -> list[Step]:
    """Find the steps of a series, in the order of time.

    Parameters
    ----------
    values
        (n,), finite, evenly weighted; logarithms, where ratios matter. Fewer than 8: no steps.
    least
        Smaller steps than this are left out.
    together
        Number of series among which none shall show a false step: by Bonferroni.
    """
    values = np.asarray(values, float)
    left, taken = _candidates(without_outliers(values), together), {0: 0.0, len(values): 0.0}
    while left:
        best = min(left, key=lambda one: (one.log_p, one.start - one.stop))
        taken[best.place] = best.log_p
        left = [one for one in left if not one.start < best.place < one.stop]
    while True:
        steps = _steps(values, taken)
        small = [step for step in steps if abs(step.size) < least]
        if not small:
            return steps
        del taken[min(small, key=lambda step: abs(step.size)).start]


def _steps(values: Floats, taken: dict[int, float]) -> list[Step]:
    """Return the steps at these places, with the differences of medians across them."""
    ends = sorted(taken)
    levels = [float(np.median(values[a:b])) for a, b in pairwise(ends)] if len(values) else []
    return [
        Step(place, after - before, math.exp(taken[place]))
        for place, (before, after) in zip(ends[1:-1], pairwise(levels), strict=True)
    ]


def segments(n: int, steps: Sequence[Step]) -> list[tuple[int, int]]:
    """Stretches (start, stop) of n points between the steps."""
    return list(pairwise([0, *(step.start for step in steps), n]))


def judge_newest(
    values: ArrayLike, newest_low: float, newest_high: float, *, tests: int, least: float = 0.0
) -> Newest:
    """Tell whether the newest of a series is a change, by Bonferroni over the series.

    Either it alone lies, with its own interval, outside the prediction interval of the level before
    it: the points since the last step, the latest 24 at most. Or it makes a step visible that no
    point before it showed. Once a step is found what follows is judged by the new level.

    Parameters
    ----------
    values
        (n,), finite, the newest last; logarithms, where ratios matter.
    newest_low, newest_high
        Interval of the newest; infinite where it is not known.
    tests
        Number of series that are judged together.
    least
        Smaller changes are none.
    """
    values = np.asarray(values, float)
    known = change_points(values[:-1], least, tests)
    level = values[known[-1].start if known else 0 : -1][-RECENT:]
    n, middle = len(level), float(np.median(level)) if len(level) else math.nan
    rise = float(values[-1]) - middle
    step = _revealed(values, least, tests)
    if step is not None:
        return Newest(_direction(step.size), step.size, least, len(values) - step.start)
    if n < ENOUGH:
        return Newest("too few points", rise, math.inf, n)
    limit = max(_reach(level, tests), least)
    low, high = (x if math.isfinite(x) else values[-1] for x in (newest_low, newest_high))
    if low > middle + limit or high < middle - limit:
        return Newest(_direction(rise), rise, limit, 1)
    return Newest("no change", rise, limit, n)


def _direction(rise: float) -> str:
    return "higher" if rise > 0 else "lower"


def _reach(level: Floats, tests: int) -> float:
    """Half the prediction interval around the median of a level: t s sqrt(1 + 1 / n).

    s from the median absolute deviation, t Student's with at most 4 degrees of freedom: timings
    have heavy tails.
    """
    n, middle = len(level), np.median(level)
    spread = max(MAD * float(np.median(np.abs(level - middle))), sigma(level))
    t = scipy.stats.t.ppf(1 - ALPHA / (2 * tests), min(n - 1, TAILS))
    return float(t) * spread * math.sqrt(1 + 1 / n)


def _revealed(values: Floats, least: float, together: int) -> Step | None:
    """The last step, where no earlier point showed it.

    All points since the step are asked, not the one before alone: a step near the limit is seen by
    one run, lost by the next and seen again, and its place moves a little as points are added.
    """
    steps = change_points(values, least, together)
    if not steps:
        return None
    earlier = (values[:stop] for stop in range(len(values) - 1, steps[-1].start, -1))
    shown = any(_shows(change_points(one, least, together), steps) for one in earlier)
    return None if shown else steps[-1]


def _shows(known: Sequence[Step], steps: Sequence[Step]) -> bool:
    """Whether the last of the steps is known: same sign, close by, and none of them is closer."""
    last = steps[-1]
    alike = [one for one in steps if one.size * last.size > 0]
    return any(
        one.size * last.size > 0
        and abs(one.start - last.start) <= NEAR
        and min(alike, key=lambda other: abs(other.start - one.start)) is last
        for one in known
    )
