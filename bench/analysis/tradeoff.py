"""Updates S(B) against examples E(B): the hyperbola, the critical batch size, the fastest one.

S = S_min + E_min / B, the same as (S / S_min - 1)(E / E_min - 1) = 1 (McCandlish et al. 2018,
arXiv 1812.06162, eq. 2.11), at each batch size's own tuned rate; B is the mean batch N / ceil(N/B).
All numbers come from reporting seeds; resamples take whole seeds, all batch sizes together, for the
seeds share initial weights and orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.arms import Arm, Axis, Runs, mean_batch, picked_arms
from bench.analysis.evidence import Evidence, Recommendation
from bench.analysis.intervals import TIE, Estimate, median, median_ranks, percentile_interval
from bench.analysis.rate_growth import rate_growth_table
from bench.analysis.recommend import best_batch_size
from bench.analysis.time_to_target import MIDDLE
from bench.streams import stream

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DRAWS = 2000
LACK_OF_FIT = 0.01  # p below which no hyperbola fits
LEAST_ARMS = 3  # two lie on a hyperbola of their own
SMALL = 10.0  # times B_crit: with fewer samples the noise at B_crit lacks over a tenth of s2 / B
SMALL_DATA = (
    "The noise of a batch vanishes at B = N, so with so few samples the fitted S_min mixes what "
    "curvature costs with what noise costs"
)


class TradeOff(NamedTuple):
    """The trade-off curve at one target.

    Parameters
    ----------
    s_min, e_min
        Least updates (of infinite batches) and least examples (of single samples) of the fit.
    b_crit
        E_min / S_min. Where it is not identified its value is NaN, and `low` still holds: as far
        as these data can tell, it is not below.
    model_free
        Batch size from which on the median of the examples, interpolated log-log, is twice that of
        the reference arm; the same holds where it is not identified.
    p_lack_of_fit
        NaN where there are too few arms or seeds to tell.
    reading
        "hyperbolic", "not hyperbolic" (the model-free value leads) or "not identified".
    reason, model_free_reason
        What stands against it, in words; "" where nothing does.
    used
        (k,): arms of the fit; the others' medians were not reached, or have no upper bound.
    drawn
        (2, draws): S_min and E_min of each resample; NaN where one misses a median.
    """

    s_min: Estimate
    e_min: Estimate
    b_crit: Estimate
    model_free: Estimate
    p_lack_of_fit: float
    reading: str
    reason: str
    model_free_reason: str
    used: Bools
    drawn: Floats

    @property
    def critical(self) -> tuple[Estimate, str]:
        """The critical batch size that leads, and how it was found ("" where neither way does)."""
        if self.reading == "hyperbolic":
            return self.b_crit, "hyperbola"
        return self.model_free, "doubled examples" if self.model_free.identified else ""


def fit_hyperbola(updates: Floats, batches: Floats) -> tuple[Floats, Floats]:
    """S_min and E_min, (...), of updates (..., k) at batches (k,).

    Least squares of the relative errors 1 - (S_min + E_min / B) / S, which are linear in the two:
    closed form. Neither is kept above 0: where the data say otherwise the caller must know.
    """
    u, v = 1.0 / updates, 1.0 / (batches * updates)
    uu, uv, vv = (u * u).sum(axis=-1), (u * v).sum(axis=-1), (v * v).sum(axis=-1)
    u1, v1 = u.sum(axis=-1), v.sum(axis=-1)
    determinant = uu * vv - uv**2
    return (vv * u1 - uv * v1) / determinant, (uu * v1 - uv * u1) / determinant


def relative_errors(updates: Floats, batches: Floats) -> Floats:
    """Relative errors (..., k) of updates (..., k) against their own fit."""
    s_min, e_min = (found[..., None] for found in fit_hyperbola(updates, batches))
    return np.asarray(1.0 - (s_min + e_min / batches) / updates)


def lack_of_fit(updates: Floats, drawn: Floats, batches: Floats, n: int) -> float:
    """P-value of the hypothesis that the true medians lie on a hyperbola.

    The statistic is the sum of the squared relative errors of the medians (k,). Under the
    hypothesis these errors are 0 but for sampling, so they vary around 0 as those of the resamples
    (draws, k) vary around them, but for the (n - 1) / n that variances of resamples of n seeds
    lack: p is the share of resamples whose errors lie at least as far from the observed ones. No
    covariance is inverted, so it needs no more seeds than arms. It is conservative, for resampled
    medians scatter more than medians do: it rejects true hyperbolas in under 4% of simulations
    where 5% are allowed (3 arms, 6 seeds; 11 arms: under 1%), and still finds false ones more often
    than Hotelling's F does. A resample that misses a median counts against rejecting.
    """
    errors = relative_errors(updates, batches)
    known = np.isfinite(drawn).all(axis=1)
    apart = ((relative_errors(drawn[known], batches) - errors) ** 2).sum(axis=1) * n / (n - 1)
    beyond = np.count_nonzero(apart >= (errors**2).sum() - TIE**2) + np.count_nonzero(~known)
    return float((1 + beyond) / (1 + len(drawn)))


def doubling(examples: Floats, batches: Floats, reference: int) -> Floats:
    """Batch size (...) at which examples (..., k) become twice those of arm `reference`.

    The first crossing above the reference, interpolated log-log. inf: there is none; NaN: the
    reference is not reached, or the crossing lies before an arm that is not reached.
    """
    twice = 2.0 * examples[..., reference, None]
    above = (examples >= twice) & (np.arange(len(batches)) > reference)
    right = np.minimum(np.maximum(above.argmax(axis=-1), 1), len(batches) - 1)
    low, high = (np.take_along_axis(examples, at[..., None], -1) for at in (right - 1, right))
    with np.errstate(all="ignore"):  # where there is no crossing, which is put right below
        part = (np.log(twice / low) / np.log(high / low))[..., 0]
        found = batches[right - 1] * (batches[right] / batches[right - 1]) ** part
    found = np.where(np.isfinite(high[..., 0]), found, np.nan)
    found = np.where(above.any(axis=-1), found, np.inf)
    return np.asarray(np.where(np.isfinite(twice[..., 0]), found, np.nan))


def ratio_of(s_min: Floats, e_min: Floats) -> Floats:
    """E_min / S_min; 0 without E_min, inf without S_min, never divided by what is not above 0."""
    found = np.full(np.shape(s_min), np.inf)
    np.divide(np.maximum(e_min, 0.0), s_min, out=found, where=s_min > 0)
    return np.where(np.isnan(s_min), np.nan, found)


def trade_off(
    times: Floats,
    batches: Floats,
    n_train: int,
    rng: np.random.Generator,
    *,
    reference: int | None,
    draws: int = DRAWS,
) -> TradeOff:
    """Fit and judge the trade-off curve.

    Parameters
    ----------
    times
        T in examples, (n seeds, k arms); inf: not reached, NaN must have been left out.
    batches
        Mean batches (k,), ascending.
    n_train
        Training samples.
    rng
        For the resamples.
    reference
        Index of the arm that needs the fewest examples, picked on *other* seeds: the least of
        these medians would be rewarded for luck. None: no arm reaches the target.
    draws
        Number of resamples.
    """
    n = len(times)
    medians = median(times)
    drawn = medians[None] if n < 2 else median(times[rng.integers(0, n, (draws, n))], axis=1)
    used = bounded_medians(times)
    s_min, e_min = np.full((2, 1 + len(drawn)), np.nan)
    p_value = np.nan
    if used.sum() >= LEAST_ARMS:
        batch = batches[used]
        updates, resampled = medians[used] / batch, drawn[:, used] / batch
        s_min, e_min = fit_hyperbola(np.vstack([updates, resampled]), batch)
        missed = np.concatenate([[False], np.isinf(resampled).any(axis=1)])
        s_min[missed] = e_min[missed] = np.nan
        p_value = lack_of_fit(updates, resampled, batch, n) if bounds_medians(n) else np.nan
    b_crit = _estimate(ratio_of(s_min, e_min), n, least=0.0)
    least_updates, least_examples = _estimate(s_min, n), _estimate(e_min, n)
    against = _against_fit(least_updates, least_examples, int(used.sum()), n_train)
    reading, reason = _reading(against, p_value)
    model_free, model_free_reason = _model_free(medians, drawn, batches, reference, n)
    return TradeOff(
        s_min=least_updates,
        e_min=least_examples,
        b_crit=b_crit if reading != "not identified" else _unidentified(b_crit),
        model_free=model_free,
        p_lack_of_fit=p_value,
        reading=reading,
        reason=reason,
        model_free_reason=model_free_reason,
        used=used,
        drawn=np.stack([s_min[1:], e_min[1:]]),
    )


def bounds_medians(n: int) -> bool:
    """Whether so many seeds bound a median on both sides."""
    return median_ranks(n)[0] > 0


def bounded_medians(times: Floats) -> Bools:
    """Arms (k,) of times (n, k) whose median has a finite upper bound; of few seeds, whose all."""
    n = len(times)
    if n == 0:
        return np.zeros(times.shape[1], bool)
    upper = np.sort(times, axis=0)[min(median_ranks(n)[1], n) - 1]
    return np.asarray(np.isfinite(upper))


def _estimate(values: Floats, n: int, least: float = -np.inf) -> Estimate:
    """Estimate from its value and those of the resamples (1 + draws,), not below `least`.

    Functions of medians are hardly biased: of 6 simulated seeds, 97% of the intervals or more hold
    the truth as they are.
    """
    found = percentile_interval(float(values[0]), values[1:], n, reflected=False)
    known = bool(np.isfinite(found[:3]).all())
    return found._replace(low=max(found.low, least), identified=known)


def _unidentified(found: Estimate) -> Estimate:
    """Return the estimate without its value and upper bound; the lower one still holds."""
    return found._replace(value=np.nan, high=np.inf, identified=False)


def _against_fit(s_min: Estimate, e_min: Estimate, n_arms: int, n_train: int) -> str:
    """What stands against the fit's B_crit, in words; "" where nothing does."""
    if not bounds_medians(s_min.n):
        return f"too few reporting seeds to bound a median ({s_min.n})"
    if n_arms < LEAST_ARMS:
        return f"too few batch sizes reach the target ({n_arms}), two lie on a curve of their own"
    if e_min.value <= 0:
        return "the updates do not fall as the batch grows (E_min is not above 0)"
    if s_min.value <= 0:
        return "the updates fall in proportion to the batch, or faster (S_min is not above 0)"
    if e_min.value / s_min.value > n_train:
        return "the critical batch size would lie beyond all samples"
    if np.isinf(s_min.low):
        return "in too many resamples of the seeds a batch size does not reach the target"
    if s_min.low <= 0:
        return "S_min cannot be told from 0"
    return ""


def _reading(against: str, p_value: float) -> tuple[str, str]:
    """Reading and reason of the fit."""
    misfit = "" if not p_value < LACK_OF_FIT else f"no hyperbola fits (p = {p_value:.2g})"
    if against:
        return "not identified", "; ".join(filter(None, [against, misfit]))
    return ("not hyperbolic", misfit) if misfit else ("hyperbolic", "")


def _model_free(
    medians: Floats, drawn: Floats, batches: Floats, reference: int | None, n: int
) -> tuple[Estimate, str]:
    """Model-free critical batch size with its interval, and why it is not identified."""
    if reference is None:
        nothing = Estimate(np.nan, 0.0, np.inf, n, identified=False)
        return nothing, "no batch size reaches the target"
    values = doubling(np.vstack([medians, drawn]), batches, reference)
    found = _estimate(values, n, least=0.0)
    if not bounds_medians(n):
        reason = f"too few reporting seeds to bound a median ({n})"
    elif np.isinf(found.value):
        reason = "the examples never double within the batch sizes studied"
    elif np.isnan(found.value):
        reason = "the examples double before a batch size that is not reached"
    elif not found.identified:
        reason = "the examples cannot be told to double within the batch sizes studied"
    else:
        return found, ""
    return _unidentified(found)._replace(low=min(found.low, float(batches[-1]))), reason


def times_of(runs: Runs, arms: Sequence[Arm], target: int) -> Floats:
    """T (n, k) of the reporting seeds that all arms have; undetermined ones are left out."""
    hits = [runs.of(arm).set_index("seed")[f"hit_{target}"] for arm in arms]
    return np.asarray(pd.concat(hits, axis=1, join="inner").dropna(), float)


def trade_off_of(runs: Runs, tuned: Sequence[Arm], n_train: int, target: int) -> TradeOff:
    """Trade-off curve of tuned arms, ascending in batch size, at a target."""
    examples = Axis("epochs", "", {arm.batch_size: 1.0 for arm in tuned})
    best = best_batch_size(runs, tuned, examples, target)
    sizes = [arm.batch_size for arm in tuned]
    return trade_off(
        times_of(runs, tuned, target),
        np.array([mean_batch(n_train, b) for b in sizes]),
        n_train,
        stream("trade-off", target),
        reference=None if best is None else sizes.index(best),
    )


def tradeoff_row(found: TradeOff, batch_sizes: Sequence[int], n_train: int) -> dict[str, Any]:
    """Return what `Evidence.tradeoff` says of one target."""
    critical, by = found.critical
    small = not found.b_crit.value * SMALL <= n_train
    left_out = [b for b, used in zip(batch_sizes, found.used, strict=True) if not used]
    return {
        **_columns("s_min", found.s_min),
        **_columns("e_min", found.e_min),
        **_columns("b_crit", found.b_crit),
        "identified": found.b_crit.identified,
        "p_lack_of_fit": found.p_lack_of_fit,
        "reading": found.reading,
        "reason": found.reason,
        **_columns("model_free", found.model_free),
        "model_free_reason": found.model_free_reason,
        **_columns("critical", critical),
        "critical_by": by,
        "note": SMALL_DATA if small else "",
        "n_arms": int(found.used.sum()),
        "left_out": ", ".join(map(str, left_out)),
        "n_seeds": found.s_min.n,
    }


def _columns(name: str, found: Estimate) -> dict[str, float]:
    """Columns of an estimate."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def fastest_batch(
    found: TradeOff, c0: float, c1: float, n_train: int
) -> tuple[Estimate, Estimate, str]:
    """Fastest batch size in closed form where an update takes c0 + c1 B seconds, and its seconds.

    B* = sqrt(E_min c0 / (S_min c1)), where S_min + E_min / B times c0 + c1 B is least:
    (sqrt(S_min c0) + sqrt(E_min c1))^2 (cf. Perrone et al. 2019, arXiv 1911.06459). The seconds of
    an update are taken as exact.

    Returns
    -------
    best, seconds
        B* and its interval, kept within 1 and n_train; the seconds there.
    clipped
        "below 1" or "above N" where B* lies outside, else "".
    """
    fits = np.array([[found.s_min.value], [found.e_min.value]])
    s_min, e_min = np.hstack([fits, found.drawn])
    critical = ratio_of(s_min, e_min)
    with np.errstate(invalid="ignore", divide="ignore"):
        unclipped = np.sqrt(critical * np.divide(c0, c1))
    batch = np.clip(unclipped, 1.0, n_train)
    n = found.s_min.n
    best = _estimate(batch, n, least=1.0)
    best = best._replace(high=min(best.high, float(n_train)))
    seconds = _estimate((s_min + e_min / batch) * (c0 + c1 * batch), n, least=0.0)
    if found.reading == "not identified":
        unknown = _unidentified(best)._replace(high=float(n_train))
        return unknown, _unidentified(seconds), ""
    clipped = "below 1" if unclipped[0] < 1 else "above N" if unclipped[0] > n_train else ""
    return best, seconds, clipped


def fastest_table(found: TradeOff, evidence: Evidence) -> pd.DataFrame:
    """Return the columns of `Evidence.fastest` from the trade-off at the middle target."""
    rows = []
    for program, measured in evidence.seconds.groupby("program", sort=False):
        c0, c1 = float(measured.c0.iloc[0]), float(measured.c1.iloc[0])
        best, time, clipped = fastest_batch(found, c0, c1, evidence.problem.n_train)
        off = (c0 + c1 * measured.mean_batch) / measured.seconds_per_update - 1.0
        worst = off.abs().idxmax()
        advice = next(r for r in evidence.recommendations if r.program == program)
        mine = evidence.programs[evidence.programs.program == program]
        rows.append(
            {
                "program": program,
                "c0": c0,
                "c1": c1,
                "worst_deviation": float(off[worst]),
                "worst_batch_size": int(measured.batch_size[worst]),
                "reading": found.reading,
                **_columns("closed_form", best),
                "clipped": clipped,
                **_columns("closed_form_seconds", time),
                **_measured(advice, mine),
                "n_seeds": found.s_min.n,
            }
        )
    return pd.DataFrame(rows)


MEASURED = ["measured", "measured_low", "measured_high"]
MEASURED += ["measured_seconds", "measured_seconds_low", "measured_seconds_high"]


def _measured(advice: Recommendation, rows: pd.DataFrame) -> dict[str, float]:
    """Batch size measured to be the fastest, the ends of the set it belongs to, its seconds."""
    if advice.best is None:
        return dict.fromkeys(MEASURED, np.nan)
    best = rows.set_index("batch_size").loc[advice.best]
    found = [advice.best, min(advice.batch_sizes), max(advice.batch_sizes)]
    found += [best.seconds, best.seconds_low, best.seconds_high]
    return dict(zip(MEASURED, map(float, found), strict=True))


def tradeoff_warnings(tradeoff: pd.DataFrame, target: float) -> tuple[str, ...]:
    """Sentences that the reader must be told of `Evidence.tradeoff` at a target."""
    if tradeoff.empty:
        return ()
    row = tradeoff[tradeoff.target == target].iloc[0]
    if not row.left_out or row.n_arms < LEAST_ARMS:
        return ()
    return (
        f"Batch size {row.left_out}: left out of the trade-off's fit, since the median time is not "
        "reached or nothing bounds it above.",
    )


def tradeoff_frames(
    evidence: Evidence, runs: Runs, *, growth: bool = True
) -> dict[str, pd.DataFrame]:
    """Return the fields `tradeoff`, `fastest` and `rate_growth` of the evidence; {} of populations.

    Parameters
    ----------
    evidence
        With picks, seconds, programs and recommendations.
    runs
        Its runs.
    growth
        Whether to say how the best rate grows, which takes about half a second.
    """
    if runs.population:
        return {}
    picks, n_train = evidence.picks, evidence.problem.n_train
    tuned = picked_arms(picks)
    found = [trade_off_of(runs, tuned, n_train, k) for k in range(len(evidence.targets))]
    rows = [
        {"target": target} | tradeoff_row(one, picks.batch_size.tolist(), n_train)
        for target, one in zip(evidence.targets, found, strict=True)
    ]
    frames = {
        "tradeoff": pd.DataFrame(rows),
        "fastest": fastest_table(found[MIDDLE], evidence),
    }
    if growth:
        critical, by = found[MIDDLE].critical
        frames["rate_growth"] = rate_growth_table(runs, picks, critical.value, by)
    return frames
