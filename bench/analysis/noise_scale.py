"""Gradient noise scale along runs, with intervals from a bootstrap over examples.

McCandlish et al. 2018 (arXiv 1812.06162), eq. 2.9: the trace of the covariance of the samples'
gradients over the square of their mean. Of the training samples it is exact. Of the population that
they were drawn from it is an estimate, and a biased one once the network has fitted these samples:
their mean gradient vanishes, that of fresh ones does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy  # which loads scipy.stats on first use
from numpy.typing import NDArray

from bench.analysis.intervals import TAIL
from bench.analysis.noise import Samples, States, samples_at
from bench.problems import Problem

Floats = NDArray[np.float64]

DRAWS = 2000
UNITS = 512  # resampled: of more examples, groups of them
UNIT_BYTES = 50_000_000  # of the units' gradients at once
LEAST_UNITS = 30  # whatever they take
CHUNK = 64  # resamples evaluated at once, so that they stay in the processor's cache


class Moments(NamedTuple):
    """Gradients of units of examples (single ones, or groups), for what resamples ask of them.

    Moments of several states, of the same units, add up: their sum is that of gradients laid end
    to end, so it gives the noise scale as a ratio of means over the states.

    Parameters
    ----------
    gram
        Inner products of the units' summed gradients, (m, m).
    squares
        Sum of |g_i|^2 over the examples of each unit, (m,).
    sizes
        Examples of each unit, (m,).
    """

    gram: Floats
    squares: Floats
    sizes: Floats

    def plus(self, other: Moments) -> Moments:
        """Return the moments of both states."""
        return Moments(self.gram + other.gram, self.squares + other.squares, self.sizes)


class NoiseScale(NamedTuple):
    """The noise scale of one state, or of a run.

    Parameters
    ----------
    training_set
        s2 / |G|^2.
    population
        s2 / (|G|^2 - s2 / N); NaN where it is not identified: the denominator is not above 0.
    low, high
        95% interval of the population's. It holds where that is not identified too; inf: nothing
        bounds it above; NaN: no noise scale agrees with these data, for the network has fitted
        them.
    identified
        Whether the population's is.
    s2
        Trace of the sample covariance of the samples' gradients (divisor N - 1).
    gradient_norm2
        |G|^2, of the averaged gradient.
    """

    training_set: float
    population: float
    low: float
    high: float
    identified: bool
    s2: float
    gradient_norm2: float


def draw_units(n: int, n_params: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Examples 0..n-1 in random groups as alike in size as can be; each alone where n is small."""
    most = max(UNIT_BYTES // (8 * n_params), LEAST_UNITS)
    return np.array_split(rng.permutation(n), min(n, UNITS, most))


def moments_of(samples: Samples, units: Sequence[NDArray[np.int64]]) -> Moments:
    """Moments of the gradients of these samples."""
    sizes = np.array([len(unit) for unit in units])
    sums = np.empty((len(units), samples.network.n_params))
    for size in np.unique(sizes):
        alike = np.array([unit for unit in units if len(unit) == size])
        sums[sizes == size] = samples.batch_gradients(alike)
    sums *= sizes[:, None]
    norms = samples.squared_norms()
    squares = np.array([norms[unit].sum() for unit in units])
    return Moments(sums @ sums.T, squares, sizes.astype(np.float64))


def signal_to_noise(n: Floats, norm2: Floats, pairs: Floats, squares: Floats) -> Floats:
    """Population's |G|^2 over s2, the reciprocal of its noise scale; 0 or less where it drowns.

    The mean of g_i . g_j over pairs of different units estimates the population's |G|^2 without
    bias (of single examples it is |G|^2 - s2 / N).

    Parameters
    ----------
    n
        Examples.
    norm2
        |sum of the gradients|^2, less that of each unit.
    pairs
        Ordered pairs of examples of different units.
    squares
        Sum of |g_i|^2.
    """
    signal = norm2 / pairs
    return np.asarray(signal / (squares / n - signal))


def jackknife(moments: Moments, weights: Floats) -> tuple[Floats, Floats]:
    """Signal-to-noise of resamples, and its standard error by leaving out a unit at a time.

    Parameters
    ----------
    moments
        Of m units.
    weights
        How often each unit stands in each resample, (draws, m).

    Returns
    -------
    value, error
        (draws,); NaN where a resample holds too few different units.
    """
    gram, squares, sizes = moments
    own, m = np.diag(gram), len(sizes)
    projections = weights @ gram  # of each unit's gradient on the resample's
    n, square = weights @ sizes, weights @ squares
    norm2 = (projections * weights).sum(axis=1) - weights @ own
    pairs = n**2 - weights @ sizes**2
    with np.errstate(divide="ignore", invalid="ignore"):
        value = signal_to_noise(n, norm2, pairs, square)
        without = signal_to_noise(
            n[:, None] - sizes,
            norm2[:, None] - 2.0 * (projections - own),
            pairs[:, None] - 2.0 * sizes * (n[:, None] - sizes),
            square[:, None] - squares,
        )
        drawn = weights > 0
        apart = np.where(drawn, without, 0.0)
        mean = (weights * apart).sum(axis=1, keepdims=True) / m
        spread = (weights * np.where(drawn, without - mean, 0.0) ** 2).sum(axis=1)
    return value, np.sqrt((m - 1) / m * spread)


def draw_weights(m: int, rng: np.random.Generator) -> Floats:
    """How often each of m units stands in each resample of m of them, (DRAWS, m)."""
    return rng.multinomial(m, np.full(m, 1.0 / m), DRAWS).astype(np.float64)


def interval(moments: Moments, value: float, weights: Floats) -> tuple[float, float]:
    """95% interval of the population's signal-to-noise (m units) around an estimate of it.

    The studentized bootstrap (Efron & Tibshirani 1993, section 12.5) with jackknife errors, and at
    least Student's interval: their hull. Student's has as many degrees of freedom as units carry
    the noise, (sum |g|^2)^2 / sum |g|^4, less one. A resample's own truth is |G|^2 / s2 of all
    units, without the correction for bias, since its examples are drawn from these and no others.
    """
    gram, squares, sizes = moments
    m, n = len(sizes), sizes.sum()
    _, error = jackknife(moments, np.ones((1, m)))
    if not error[0] > 0:
        return -np.inf, np.inf
    norm2 = gram.sum() / n**2
    truth = norm2 / (squares.sum() / n - norm2)
    starts = range(0, len(weights), CHUNK)
    parts = [jackknife(moments, weights[start : start + CHUNK]) for start in starts]
    drawn, errors = (np.concatenate(part) for part in zip(*parts, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (drawn - truth) / errors
    unknown = ~np.isfinite(t)  # counts against both bounds
    carriers = squares.sum() ** 2 / (squares**2).sum()
    student = scipy.stats.t.ppf(1.0 - TAIL, max(carriers - 1.0, 1.0))
    least = np.quantile(np.where(unknown, -np.inf, t), TAIL, method="lower")
    most = np.quantile(np.where(unknown, np.inf, t), 1.0 - TAIL, method="higher")
    return (
        float(value - max(most, student) * error[0]),
        float(value - min(least, -student) * error[0]),
    )


def noise_scale(moments: Moments, n_states: int, weights: Floats) -> NoiseScale:
    """Noise scale of the moments of one state, or of the sum of several: a ratio of means.

    McCandlish et al. 2018, appendix A.1, average s2 and |G|^2 apart as well: a mean of ratios would
    be ruled by the states where |G|^2 is near 0.

    The interval covers the population's noise scale of a network that does not know these examples
    in 92% to 100% of simulations: of normal gradients, and of 30 to 1,400 samples drawn from iris,
    wine, breast cancer, diabetes and digits at states along runs on other samples. It is too short
    (84% to 93%, mostly for its upper end) where few examples carry the noise: on digits after 1 to
    3 passes, where 1 to 3% of them carry half of s2.

    Parameters
    ----------
    moments
        Of n_states states, summed.
    n_states
        How many.
    weights
        Of `draw_weights`.
    """
    n = float(moments.sizes.sum())
    norm2 = float(moments.gram.sum()) / n**2
    s2 = (float(moments.squares.sum()) - n * norm2) / max(n - 1.0, 1.0)
    signal = norm2 - s2 / n
    with np.errstate(divide="ignore", invalid="ignore"):
        training_set = float(np.divide(s2, norm2))
        low, high = interval(moments, float(np.divide(signal, s2)), weights)
    identified = signal > 0
    return NoiseScale(
        training_set=training_set,
        population=s2 / signal if identified else np.nan,
        low=1.0 / high if high > 0 else np.nan,
        high=np.nan if not high > 0 else 1.0 / low if low > 0 else np.inf,
        identified=identified,
        s2=s2 / n_states,
        gradient_norm2=norm2 / n_states,
    )


def noise_scale_tables(
    problem: Problem, states: States, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Noise scale at each state, and averaged.

    Parameters
    ----------
    problem, states
        Where.
    rng
        For groups of examples and their resamples, which are the same at all states.

    Returns
    -------
    states, averages
        The columns of `Evidence.noise_scale` and of `Evidence.noise_average`.
    """
    if len(states.params) == 0:
        return pd.DataFrame(), pd.DataFrame()
    units = draw_units(problem.n_train, problem.network.n_params, rng)
    weights = draw_weights(len(units), rng)
    epochs = states.examples / problem.n_train
    rows = []
    sums: dict[int, Moments] = {}
    for i, samples in enumerate(samples_at(problem, states.params)):
        moments, state = moments_of(samples, units), int(states.state[i])
        about = {"seed": states.seed[i], "state": state, "epochs": epochs[i]}
        rows.append(about | noise_scale(moments, 1, weights)._asdict())
        sums[state] = sums[state].plus(moments) if state in sums else moments
    table = pd.DataFrame(rows)
    parts = [
        *(("seeds", float(k), table[table.state == k], sums[k]) for k in sorted(sums)),
        ("run", np.nan, table, reduce(Moments.plus, sums.values())),
    ]
    averages = [
        {
            "over": over,
            "state": state,
            "epochs": part.epochs.median(),
            "n_states": len(part),
            "n_seeds": part.seed.nunique(),
            **noise_scale(moments, len(part), weights)._asdict(),
        }
        for over, state, part, moments in parts
    ]
    return table, pd.DataFrame(averages)
