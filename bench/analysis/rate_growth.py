"""How the best learning rate grows with the batch size, below and above the critical one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.arms import Runs
from bench.analysis.intervals import Estimate, median, percentile_interval
from bench.analysis.stability import FAILING_SHARE
from bench.analysis.time_to_target import MIDDLE
from bench.streams import stream

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DRAWS = 2000
LEAST_RATES = 3  # of fewer the pick says little of the optimum


def redrawn_picks(hits: Floats, failed: Bools, rates: Floats, seeds: NDArray[np.int64]) -> Floats:
    """Rate that each resample of the tuning seeds picks, (draws,); NaN where none is reached.

    As `time_to_target.pick_rate` does it: the least median T of the rates at which at most 5% of
    the seeds fail, or else of those at which the fewest do.

    Parameters
    ----------
    hits, failed
        T in examples (n, r), inf: not reached; whether the run failed.
    rates
        Learning rates (r,).
    seeds
        Rows of `hits` in each resample, (draws, n).
    """
    counts = (seeds[:, :, None] == np.arange(len(hits))).sum(axis=1)
    shares = counts @ failed / len(hits)
    allowed = shares <= np.maximum(FAILING_SHARE, shares.min(axis=1, keepdims=True))
    medians = np.where(allowed, median(hits[seeds], axis=1), np.inf)
    best = medians.argmin(axis=1)
    reached = np.isfinite(np.take_along_axis(medians, best[:, None], axis=1)[:, 0])
    return np.where(reached, rates[best], np.nan)


def growth(picks: Floats, drawn: Floats, batches: Floats, n: int) -> Estimate:
    """Exponent a of picks ~ B^a: slope of log rate against log batch, least squares.

    The interval is the bootstrap's over tuning seeds, which pick anew in each resample; it is wide
    rather than narrow, for a resample has fewer distinct seeds to pick from. Fewer than two batch
    sizes have no slope.

    Parameters
    ----------
    picks, drawn
        Rates (k,), and those of the resamples (draws, k).
    batches
        Mean batches (k,).
    n
        Tuning seeds.
    """
    if len(picks) < 2:
        return Estimate(np.nan, -np.inf, np.inf, n, identified=False)
    x = np.log(batches) - np.log(batches).mean()
    slopes = (np.log(np.vstack([picks, drawn])) * x).sum(axis=1) / (x**2).sum()
    return percentile_interval(float(slopes[0]), slopes[1:], n)


class Tuning(NamedTuple):
    """Tuning runs of a batch size: T and failures, (n seeds, r rates) frames."""

    hits: pd.DataFrame
    failed: pd.DataFrame


def tuning_of(runs: Runs, batch_size: int) -> Tuning:
    """T to the middle target and failures; rates that some seeds did not run are left out."""
    outcomes = runs.outcomes
    mine = outcomes[(outcomes.role == "tune") & (outcomes.batch_size == batch_size)]
    table = mine.pivot(index="seed", columns="learning_rate")
    complete = table["failed"].columns[table["failed"].notna().all()]
    hits = table[f"hit_{MIDDLE}"][complete].dropna()
    return Tuning(hits, table["failed"].loc[hits.index, complete])


def drawn_picks(tunings: Sequence[Tuning], rng: np.random.Generator) -> tuple[Floats, int]:
    """Picks of resamples, (draws, k), from the tuning seeds that all batch sizes have; how many."""
    seeds = sorted(set.intersection(*(set(one.hits.index) for one in tunings)))
    n = len(seeds)
    if n == 0:
        return np.full((1, len(tunings)), np.nan), 0
    at = rng.integers(0, n, (DRAWS, n))
    picks = [
        redrawn_picks(
            one.hits.loc[seeds].to_numpy(float),
            one.failed.loc[seeds].to_numpy(bool),
            one.hits.columns.to_numpy(float),
            at,
        )
        for one in tunings
    ]
    return np.stack(picks, axis=1), n


def rate_growth_table(
    runs: Runs, picks: pd.DataFrame, critical: float, critical_by: str
) -> pd.DataFrame:
    """Return the columns of `Evidence.rate_growth`.

    Parameters
    ----------
    runs, picks
        Of the rule. A pick that is the outermost rate tried does not say where the optimum lies:
        such batch sizes, and those with fewer than three rates, are left out, and told.
    critical, critical_by
        The leading critical batch size of the middle target (NaN: none), taken as exact, and how
        it was found.
    """
    tunings = {b: tuning_of(runs, b) for b in picks.batch_size[~picks.at_edge]}
    tunings = {b: one for b, one in tunings.items() if one.hits.shape[1] >= LEAST_RATES}
    if not tunings:
        return pd.DataFrame()
    drawn, n = drawn_picks(list(tunings.values()), stream("growth of the best rate"))
    inner = picks.batch_size.isin(tunings)
    sizes = picks.batch_size[inner].to_numpy()
    rates, batches = (picks[inner][c].to_numpy(float) for c in ("learning_rate", "mean_batch"))
    parts = {"all": batches > 0, "below": batches <= critical, "above": batches >= critical}
    rows: list[dict[str, Any]] = []
    for part, chosen in parts.items():
        found = growth(rates[chosen], drawn[:, chosen], batches[chosen], n)
        about = {"part": part, "n_arms": int(chosen.sum())}
        about |= dict(zip(("slope", "slope_low", "slope_high"), found[:3], strict=True))
        ends = sizes[chosen][[0, -1]] if chosen.any() else (np.nan, np.nan)
        rows.append(about | dict(zip(("from_batch_size", "to_batch_size"), ends, strict=True)))
    return pd.DataFrame(rows).assign(
        critical=critical,
        critical_by=critical_by,
        left_out=", ".join(map(str, picks.batch_size[~inner])),
        n_seeds=n,
    )
