"""Failures, the largest stable learning rate, usable width, and thresholds by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.arms import Arm, Runs
from bench.analysis.intervals import Estimate, bootstrap, median, median_interval, share_interval

Floats = NDArray[np.float64]

FAILING_SHARE = 0.05  # of seeds: above it a rate is unstable
KINDS = ("diverged", "failed")
BRACKET_RATES = 16
WIDE = 2.0  # a rate is usable where T is at most this many times the best


def add_failures(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Add `newly_stuck` and `failed` to runs.

    Newly stuck: stuck, while the same network of the same seed learned (neither stuck nor
    diverged) at some smaller rate of the same rule and batch size. Failed: diverged, newly dead or
    newly stuck.
    """
    learned = ~outcomes.stuck & ~outcomes.diverged
    same = [outcomes[name] for name in ("rule", "batch_size", "seed", "network")]
    least = outcomes.learning_rate.where(learned, np.inf).groupby(same).transform("min")
    newly_stuck = outcomes.stuck & (outcomes.learning_rate > least)
    failed = outcomes.diverged | outcomes.newly_dead | newly_stuck
    return outcomes.assign(newly_stuck=newly_stuck, failed=failed)


def largest_stable_rate(runs: Runs, kind: str) -> pd.DataFrame:
    """Bracket of the largest stable rate for each batch size, from reporting seeds.

    The first crossing, from below, of 5% of the runs diverging or failing; the share need not be
    monotone above it.

    Parameters
    ----------
    runs
        All rates tried.
    kind
        "diverged" or "failed".

    Returns
    -------
    DataFrame
        `batch_size, kind, stable, unstable, stable_share, stable_low, stable_high, unstable_share,
        unstable_low, unstable_high, n_seeds`. stable 0: the least rate tried is unstable;
        unstable inf: no rate tried is.
    """
    rows = []
    for batch_size in runs.batch_sizes:
        rates = runs.rates(batch_size)
        shares = [failing_share(runs, Arm(batch_size, rate), kind) for rate in rates]
        unknown = Estimate(np.nan, np.nan, np.nan, 0, identified=False)
        crossing = next((i for i, s in enumerate(shares) if s.value > FAILING_SHARE), len(rates))
        ends = [(0.0, unknown), *zip(rates, shares, strict=True), (np.inf, unknown)]
        (stable, below), (unstable, above) = ends[crossing : crossing + 2]
        row = {"batch_size": batch_size, "kind": kind, "stable": stable, "unstable": unstable}
        for name, share in (("stable", below), ("unstable", above)):
            row |= {f"{name}_share": share.value, f"{name}_low": share.low}
            row |= {f"{name}_high": share.high}
        rows.append(row | {"n_seeds": _n_seeds(runs, batch_size)})
    return pd.DataFrame(rows)


def _n_seeds(runs: Runs, batch_size: int) -> int:
    """Reporting seeds of a batch size."""
    outcomes = runs.outcomes
    mine = (outcomes.batch_size == batch_size) & (outcomes.role == "report")
    return int(outcomes.seed[mine].nunique())


def failing_share(runs: Runs, arm: Arm, kind: str = "failed") -> Estimate:
    """Share of an arm's reporting runs for which the column `kind` is true."""
    found = runs.of(arm)
    return share_interval(found[kind].to_numpy(), runs.clusters(found))


def bracket_rates(stable: float, unstable: float) -> tuple[float, ...]:
    """Return 16 rates inside a bracket, evenly spaced on the log scale; () for an open bracket."""
    if not (stable > 0.0 and np.isfinite(unstable)):
        return ()
    return tuple(float(r) for r in np.geomspace(stable, unstable, BRACKET_RATES + 2)[1:-1])


def lattice(runs: Runs, batch_size: int) -> list[float]:
    """Rates of the coarse and fine blocks: those that the tuning seeds ran.

    The rates that protocols and claims name, and those inside a bracket, ran on reporting seeds
    alone.
    """
    return runs.rates(batch_size, "tune")


def reporting_table(
    runs: Runs, batch_size: int, rates: Sequence[float], column: str
) -> pd.DataFrame:
    """Return a column of runs as a table: a row per reporting run, a column per rate."""
    o = runs.outcomes
    mine = o[(o.batch_size == batch_size) & (o.role == "report") & o.learning_rate.isin(rates)]
    table = mine.pivot(index=["seed", "network"], columns="learning_rate", values=column)
    return table.reindex(columns=list(rates))  # all of them, where there is no reporting seed


def hit_table(runs: Runs, batch_size: int, rates: Sequence[float], target: int) -> pd.DataFrame:
    """T in examples, a row per reporting run (seed, network) and a column per rate.

    Runs that were at the target before the first update are left out.
    """
    return reporting_table(runs, batch_size, rates, f"hit_{target}").dropna()


def usable_stretch(log2_rates: Floats, log2_times: Floats) -> tuple[float, float]:
    """Ends (log2 rate) of the stretch around the best rate where T is at most twice the best.

    Parameters
    ----------
    log2_rates
        (r,), ascending.
    log2_times
        Median T at each rate, inf where not reached. Where T crosses twice the best between two
        rates the end is interpolated; next to an infinite T it is the last finite rate.

    Returns
    -------
    tuple of float
        (NaN, NaN) where no rate reaches the target.
    """
    best = int(np.argmin(log2_times))
    if not np.isfinite(log2_times[best]):
        return np.nan, np.nan
    limit = log2_times[best] + np.log2(WIDE)
    ends = []
    for step in (-1, 1):
        at = best
        while 0 <= at + step < len(log2_rates) and log2_times[at + step] <= limit:
            at += step
        end, beyond = log2_rates[at], at + step
        if 0 <= beyond < len(log2_rates) and np.isfinite(log2_times[beyond]):
            rise = (limit - log2_times[at]) / (log2_times[beyond] - log2_times[at])
            end += rise * (log2_rates[beyond] - end)
        ends.append(float(end))
    return ends[0], ends[1]


def widths(log2_rates: Floats, times: Floats) -> Floats:
    """Usable width in octaves of samples of runs: (draws,) from times (draws, n, rates)."""
    with np.errstate(divide="ignore"):
        medians = np.log2(median(times, axis=1))
    return np.array([np.diff(usable_stretch(log2_rates, row))[0] for row in medians])


def usable_width(
    runs: Runs, batch_size: int, target: int, rng: np.random.Generator
) -> dict[str, float]:
    """Usable width of a batch size in octaves: `width, width_low, width_high, from_rate, to_rate`.

    From reporting seeds, at the rates of the coarse and fine blocks, bootstrap over seeds (not
    for a population, whose blocks are too few: 0 to inf there).
    """
    rates = lattice(runs, batch_size)
    log2_rates = np.log2(rates)
    times = hit_table(runs, batch_size, rates, target).to_numpy()
    if len(times) == 0:
        return dict.fromkeys(("width", "width_low", "width_high", "from_rate", "to_rate"), np.nan)
    with np.errstate(divide="ignore"):
        ends = usable_stretch(log2_rates, np.log2(median(times)))
    low, high = 0.0, np.inf
    if not runs.population:
        found = bootstrap(times, lambda drawn: widths(log2_rates, drawn), rng)
        low, high = max(found.low, 0.0), found.high
    return {
        "width": ends[1] - ends[0],
        "width_low": low,
        "width_high": high,
        "from_rate": 2.0 ** ends[0],
        "to_rate": 2.0 ** ends[1],
    }


def width_difference(runs: Runs, a: int, b: int, target: int, rng: np.random.Generator) -> Estimate:
    """Usable width of batch size a minus that of b, in octaves, seeds resampled together."""
    rates_a, rates_b = lattice(runs, a), lattice(runs, b)
    table_a, table_b = hit_table(runs, a, rates_a, target), hit_table(runs, b, rates_b, target)
    seeds = table_a.index.intersection(table_b.index)
    times = np.hstack([table_a.loc[seeds], table_b.loc[seeds]])
    split = len(rates_a)
    log2_a, log2_b = np.log2(rates_a), np.log2(rates_b)
    return bootstrap(
        times,
        lambda drawn: widths(log2_a, drawn[..., :split]) - widths(log2_b, drawn[..., split:]),
        rng,
    )


def deviations(times: Floats, axis: int = 0) -> Floats:
    """abs(log T - median log T); inf where T or the median is not reached."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.abs(np.log(times) - np.expand_dims(np.log(median(times, axis)), axis))
    return np.where(np.isnan(found), np.inf, found)


def log_spread(drawn: Floats) -> Floats:
    """Log of the median deviation of samples of runs: (draws, ...) from times (draws, n, ...)."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(median(deviations(drawn, axis=1), axis=1)))


def spread(times: Floats, rng: np.random.Generator | None) -> Estimate:
    """Median of abs(log T - median log T) over runs (n,), NaN left out, bootstrap over them.

    Order statistics of the deviations would ignore that their centre is estimated: on skewed
    times a nominal 95% covered 87%. Without a generator (runs that are not independent) the
    interval is open.
    """
    known = times[~np.isnan(times)]
    if rng is None or len(known) == 0:
        value = float(median(deviations(known)))
        return Estimate(value, 0.0, np.inf, len(known), identified=False)
    return _exponential(bootstrap(known, log_spread, rng, draws=1000))


def spread_ratio(times_a: Floats, times_b: Floats, rng: np.random.Generator) -> Estimate:
    """Spread of arm a over spread of arm b, (n,) each, seeds resampled together."""
    known = ~np.isnan(times_a) & ~np.isnan(times_b)
    both = np.stack([times_a[known], times_b[known]], axis=1)

    def log_ratio(drawn: Floats) -> Floats:
        found = log_spread(drawn)
        with np.errstate(invalid="ignore"):  # neither arm reaches the target in half its runs
            return np.asarray(found[:, 0] - found[:, 1])

    return _exponential(bootstrap(both, log_ratio, rng))


def _exponential(found: Estimate) -> Estimate:
    """Return the estimate of a logarithm as one of the quantity itself."""
    value, low, high = (float(np.exp(x)) for x in found[:3])
    return found._replace(value=value, low=low, high=high)


def thresholds(runs: Runs) -> pd.DataFrame:
    """Lowest rate of the lattice (coarse and fine blocks) at which each reporting seed fails.

    Parameters
    ----------
    runs
        All runs, one network a seed.

    Returns
    -------
    DataFrame
        `batch_size, seed, threshold` (inf: fails at none), `below` (next lower rate of the
        lattice, at which it does not fail; 0: none). The rate from which on the seed would fail
        lies between them.
    """
    frames = []
    for batch_size in runs.batch_sizes:
        rates = lattice(runs, batch_size)
        table = reporting_table(runs, batch_size, rates, "failed").dropna()
        failed = table.to_numpy(bool)
        ends = np.array([0.0, *rates, np.inf])
        first = np.where(failed.any(axis=1), failed.argmax(axis=1), len(rates))
        seeds = table.index.get_level_values("seed")
        found = {"seed": seeds, "threshold": ends[first + 1], "below": ends[first]}
        frames.append(pd.DataFrame(found).assign(batch_size=batch_size))
    return pd.concat(frames, ignore_index=True)


def threshold_ratio(theirs: pd.DataFrame, ours: pd.DataFrame) -> Estimate:
    """Threshold of one batch size over that of another by seed, from rows indexed by seed.

    The median ratio of the thresholds. Its interval holds what the lattice leaves open: its lower
    end is that of the least ratios that the brackets (below, threshold] allow, its upper end that
    of the largest.
    """
    seeds = theirs.index.intersection(ours.index)
    a, b = theirs.loc[seeds], ours.loc[seeds]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios, least, largest = (
            (x / y).to_numpy(float)
            for x, y in ((a.threshold, b.threshold), (a.below, b.threshold), (a.threshold, b.below))
        )
    low, high = median_interval(least), median_interval(largest)
    known = ratios[~np.isnan(ratios)]  # where neither fails at any rate there is no ratio
    identified = low.identified and len(known) > 0
    return Estimate(float(median(known)), low.low, high.high, len(ratios), identified)
