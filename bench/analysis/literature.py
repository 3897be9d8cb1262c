"""What papers report of batch sizes and learning rates, held against the studies of problems.

Each statement is read off what a study has measured anyway, by the rules of all verdicts: the
interval decides, and what a study did not measure has no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.analysis.across import FULL, SAMPLE, Claim, Results, Role, within_margin
from bench.analysis.intervals import Estimate, verdict
from bench.analysis.recommend import MARGIN
from bench.analysis.time_to_target import MIDDLE
from bench.experiments.rules import ADAM_HALF_LIFE

ORDER = 10.0  # times: the order of magnitude
UNRELIABLE = 2.0  # times: farther off, a stand-in misleads
LAST_STATES = 3  # of a full-batch run, that say where its sharpness ends
LINEAR = 0.25  # a slope of log rate against log batch within this of 1 is linear
OPPOSITE = {"supported": "refuted", "refuted": "supported"}


class Finding(NamedTuple):
    """What one study says of a statement.

    Parameters
    ----------
    verdict
        As of claims: "supported" where the study agrees.
    effect, low, high
        The number behind it and its interval; NaN where there is none.
    unit
        Of the number: "times" (a ratio), "points" (a difference of shares), "share", "batch" (a
        batch size) or "slope".
    """

    verdict: str
    effect: float
    low: float
    high: float
    unit: str = "times"


@dataclass(frozen=True)
class Statement:
    """What a paper reports.

    Parameters
    ----------
    paper, arxiv
        Authors and year; number of the preprint, "" where there is none.
    reported
        The statement, in our words.
    held_against
        What of a study it is held against, in words.
    find
        From a study to its finding; None where it was not measured.
    """

    paper: str
    arxiv: str
    reported: str
    held_against: str
    find: Callable[[Results], Finding | None]


def rows_of(
    results: Results, claim: str, measure: str = "", batch: Role = None, against: Role = None
) -> list[Claim]:
    """Return the rows of a claim, of a measure and of batch sizes of these roles if given."""
    return [
        row
        for row in results.claims
        if row["claim"] == claim
        and measure in ("", row["measure"])
        and batch in (None, results.role(row["batch_size"]))
        and against in (None, results.role(row["against"]))
    ]


def of_row(row: Claim, found: str | None = None) -> Finding:
    """Return the finding that is the verdict of a claim's row, or another one on its effect."""
    effect, low, high = (
        np.nan if row[name] is None else float(row[name]) for name in ("effect", "low", "high")
    )
    unit = "times" if row["kind"] in ("ratio", "within") else "points"
    return Finding(found or str(row["verdict"]), effect, low, high, unit)


def _first(rows: Sequence[Claim]) -> Finding | None:
    """Return the finding of the first of these rows."""
    return of_row(rows[0]) if rows else None


def _all_of(rows: Sequence[Claim]) -> Finding | None:
    """Return one finding for rows that must all be supported: the share that is."""
    if not rows:
        return None
    verdicts = [str(row["verdict"]) for row in rows]
    share = float(np.mean([found == "supported" for found in verdicts]))
    against = {"refuted", "no material difference"} & set(verdicts)
    found = "supported" if share == 1.0 else "refuted" if against else "undecided"
    return Finding(found, share, np.nan, np.nan, "share")


def _quotient(numerator: pd.Series, denominator: pd.Series, *names: str) -> Finding:
    """Ratio of two medians; its interval from the ends of theirs, which is wider than need be."""
    value, low, high = names
    with np.errstate(invalid="ignore"):
        ratio, least, most = (
            float(np.float64(numerator[a]) / np.float64(denominator[b]))
            for a, b in ((value, value), (low, high), (high, low))
        )
    return Finding(verdict(least, most, MARGIN), ratio, least, most)


def full_batch_passes(results: Results) -> Finding | None:
    """Wilson & Martinez (2003): passes of full batch over those of B = 1."""
    rows = results.summary
    targets = sorted(rows.target.unique(), reverse=True)
    tuned = rows[(rows.protocol == "tuned") & (rows.target == targets[MIDDLE])]
    by = tuned.set_index("batch_size")
    if not {1, results.n_train} <= set(by.index):
        return None
    names = ("epochs", "epochs_low", "epochs_high")
    return _quotient(by.loc[results.n_train], by.loc[1], *names)


def u_shape(results: Results) -> Finding | None:
    """Wilson & Martinez (2001): both four times and a quarter of the best rate are slower."""
    return _all_of(rows_of(results, "C8"))


def small_batch_scores(results: Results) -> Finding | None:
    """Masters & Luschi (2018): the best held-out score is better at B = 1 than on full batch."""
    return _first(rows_of(results, "R3", "best score", SAMPLE, FULL))


def rate_per_example(results: Results) -> Finding | None:
    """Masters & Luschi (2018): the largest stable rate per example shrinks with the batch size.

    C3 is about the opposite: a threshold per example that grows.
    """
    rows = rows_of(results, "C3", "threshold / B", against=FULL)
    if not rows:
        return None
    found = str(rows[0]["verdict"])
    return of_row(rows[0], OPPOSITE.get(found, found))


def rate_grows(results: Results) -> Finding | None:
    """Mulayoff & Michaeli (2023): larger batches are stable at larger rates."""
    return _first(rows_of(results, "C3", "threshold", against=FULL))


def hyperbola(results: Results) -> Finding | None:
    """McCandlish et al. (2018): updates and examples trade off along a hyperbola."""
    rows = results.table("tradeoff")
    if rows.empty:
        return None
    middle = rows.sort_values("target", ascending=False).iloc[MIDDLE]
    found = {"hyperbolic": "supported", "not hyperbolic": "refuted"}
    critical = results.critical() or Estimate(np.nan, 0.0, np.inf, 0)
    return Finding(found.get(str(middle.reading), "undecided"), *critical[:3], "batch")


def _noise_over_critical(results: Results) -> Finding | None:
    """Noise scale over critical batch size; the interval from the ends of both."""
    noise, critical = results.noise_scale(), results.critical()
    if noise is None or critical is None:
        return None
    with np.errstate(divide="ignore"):
        low, high = np.divide([noise.low, noise.high], [critical.high, critical.low])
    return Finding("undecided", noise.value / critical.value, float(low), float(high))


def _predicts(results: Results, factor: float) -> Finding | None:
    """Whether the noise scale lies within a factor of the critical batch size."""
    found = _noise_over_critical(results)
    if found is None:
        return None
    near = found.low > 1 / factor and found.high < factor
    far = found.low > factor or found.high < 1 / factor
    return found._replace(verdict="supported" if near else "refuted" if far else "undecided")


def noise_predicts(results: Results) -> Finding | None:
    """McCandlish et al. (2018): the noise scale is of the critical batch size's order."""
    return _predicts(results, ORDER)


def noise_misleads(results: Results) -> Finding | None:
    """Merrill et al. (2025): the noise scale is no reliable proxy for the critical batch size."""
    found = _predicts(results, UNRELIABLE)
    opposite = {"supported": "refuted", "refuted": "supported", "undecided": "undecided"}
    return found and found._replace(verdict=opposite[found.verdict])


def diminishing_returns(results: Results) -> Finding | None:
    """Shallue et al. (2019): up to some batch size passes hardly rise, beyond it they do."""
    ratios = results.ratios()
    at_end = within_margin(ratios, results.n_train)
    sizes = [int(b) for b in ratios.index if within_margin(ratios, int(b))]
    if ratios.empty or results.n_train not in ratios.index:
        return None
    perfect = max(sizes, default=1)
    found = "refuted" if at_end else "undecided"
    if at_end is False and perfect > 1:
        found = "supported"
    return Finding(found, float(perfect), np.nan, np.nan, "batch")


def momentum(results: Results) -> Finding | None:
    """Zhang et al. (2019): momentum helps on the full batch, and not in smaller ones."""
    return _all_of(rows_of(results, "R5"))


def linear_then_flat(results: Results) -> Finding | None:
    """Zhang et al. (2019): the best rate grows linearly up to the critical batch, then less.

    The number is the slope below the critical batch size, where linear is 1.
    """
    rows = results.table("rate_growth")
    if rows.empty or not {"below", "above"} <= set(rows.part):
        return None
    by = rows.set_index("part")
    names = ["slope", "slope_low", "slope_high"]
    (slope, low, high), (_, _, flat) = (by.loc[p, names].astype(float) for p in ("below", "above"))
    if np.isnan(slope) or np.isnan(flat):
        return None
    linear = low >= 1 - LINEAR and high <= 1 + LINEAR
    never = high < 1 - LINEAR or low > 1 + LINEAR
    found = "supported" if linear and flat < low else "refuted" if never else "undecided"
    return Finding(found, slope, low, high, "slope")


def linear_scaling(results: Results) -> Finding | None:
    """Goyal et al. (2017): a rate scaled linearly from B_0 does as well as a tuned one."""
    rows = rows_of(results, "R2", "linear scaling", FULL)
    return _first([row for row in rows if results.role(row["base_batch_size"]) != SAMPLE])


def edge_of_stability(results: Results) -> Finding | None:
    """Cohen et al. (2021): full-batch sharpness ends at the largest stable one.

    Sharpness over that limit in the last states of the runs at the largest rate, by seed.
    """
    rows = results.table("sharpness")
    if rows.empty:
        return None
    full = rows[(rows.states == "full batch") & rows.limit.notna()]
    if full.empty:
        return None
    fastest = full[full.learning_rate == full.learning_rate.max()].sort_values("updates")
    last = fastest.groupby("seed").tail(LAST_STATES)
    ratios = (last.sharpness / last.limit).groupby(last.seed).median()
    low, high = float(ratios.min()), float(ratios.max())
    at_edge = low >= 1 / MARGIN and high <= MARGIN
    found = "supported" if at_edge else "refuted" if high < 1 / MARGIN else "undecided"
    return Finding(found, float(ratios.median()), low, high)


def adam_per_sample(results: Results) -> Finding | None:
    """Marek et al. (2025): with its half-life kept, Adam at B = 1 does as well as at larger B."""
    rows = results.table("rules")
    rows = rows[rows.rule == ADAM_HALF_LIFE] if len(rows) else rows
    by = rows.set_index("batch_size") if len(rows) else rows
    if 1 not in by.index or len(by) < 2:
        return None
    best = by.drop(index=1).examples.idxmin()
    found = _quotient(by.loc[1], by.loc[best], "examples", "examples_low", "examples_high")
    return found._replace(verdict=verdict(found.low, found.high, MARGIN, kind="within"))


def default_beta2(results: Results) -> Finding | None:
    """Marek et al. (2025): at B = 1 beta2 must be nearer to 1 than the default."""
    return _first(rows_of(results, "R6", batch=SAMPLE))


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        "Wilson and Martinez 2003",
        "",
        "Training sample by sample needs far fewer passes than training on the full batch.",
        "passes on the full batch over passes per sample, each at its best rate",
        full_batch_passes,
    ),
    Statement(
        "Wilson and Martinez 2001",
        "",
        "Time against the learning rate is a U on log axes: too large and too small are slow.",
        "share of verdicts on four times and a quarter of the best rate that say so (C8)",
        u_shape,
    ),
    Statement(
        "Masters and Luschi 2018",
        "1804.07612",
        "The best held-out scores come from small batches.",
        "best held-out score per sample against full batch (R3)",
        small_batch_scores,
    ),
    Statement(
        "Masters and Luschi 2018",
        "1804.07612",
        "The largest stable learning rate per example shrinks as batches grow.",
        "rate at which a seed begins to fail, divided by the batch size, full batch over per "
        "sample (C3)",
        rate_per_example,
    ),
    Statement(
        "Mulayoff and Michaeli 2023",
        "2306.07850",
        "Larger batches are stable at larger learning rates, up to full batch's limit.",
        "rate at which a seed begins to fail, full batch over per sample (C3)",
        rate_grows,
    ),
    Statement(
        "McCandlish et al. 2018",
        "1812.06162",
        "Updates and examples trade off along a hyperbola, with a critical batch size.",
        "fit to the tuned arms and its lack of fit; the number is the critical batch size",
        hyperbola,
    ),
    Statement(
        "McCandlish et al. 2018",
        "1812.06162",
        "The gradient noise scale predicts the critical batch size.",
        "noise scale over the run, divided by the critical batch size: within a factor of 10",
        noise_predicts,
    ),
    Statement(
        "Merrill et al. 2025",
        "2505.23971",
        "The gradient noise scale is an unreliable proxy for the critical batch size.",
        "the same ratio: off by more than a factor of 2",
        noise_misleads,
    ),
    Statement(
        "Shallue et al. 2019",
        "1811.03600",
        "Larger batches save updates in proportion up to a point, and less and less beyond it.",
        "passes over the fewest; the number is the largest batch size within the margin",
        diminishing_returns,
    ),
    Statement(
        "Zhang et al. 2019",
        "1907.04164",
        "Momentum helps with large batches only.",
        "share of verdicts on full batch and smaller ones that say so (R5)",
        momentum,
    ),
    Statement(
        "Zhang et al. 2019",
        "1907.04164",
        "The best rate grows in proportion to the batch up to the critical size, then less.",
        "slope of the log of the best rate below the critical batch size, where 1 is in proportion",
        linear_then_flat,
    ),
    Statement(
        "Goyal et al. 2017",
        "1706.02677",
        "Scaling the learning rate linearly with the batch size keeps what tuning gives.",
        "passes on the full batch at the rate scaled from the base over those at its best (R2)",
        linear_scaling,
    ),
    Statement(
        "Cohen et al. 2021",
        "2103.00065",
        "Full-batch training ends at the edge of stability: sharpness at the largest stable value.",
        "sharpness over its limit in the last states at the largest rate; median and range of "
        "seeds",
        edge_of_stability,
    ),
    Statement(
        "Marek et al. 2025",
        "2507.07101",
        "Adam trains as well on single samples where the half-life of beta2 is kept in examples.",
        "passes per sample over those at the best larger batch size, with the half-life kept",
        adam_per_sample,
    ),
    Statement(
        "Marek et al. 2025",
        "2507.07101",
        "Adam's default beta2 is too small for single samples.",
        "passes per sample with beta2 as given over those with its half-life kept (R6)",
        default_beta2,
    ),
)


def findings(results: Iterable[Results]) -> list[tuple[Statement, dict[str, Finding | None]]]:
    """Return every statement with what each problem's study says of it, by the problem's name."""
    studies = list(results)
    return [(one, {study.name: one.find(study) for study in studies}) for one in STATEMENTS]
