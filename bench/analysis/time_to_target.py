"""Targets, the rate picked for each batch size, the arms of the three protocols, time-to-target.

Picks look at tuning seeds alone; everything in `summary` comes from reporting seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.arms import OURS, Arm, Axis, Runs, each_run_once, mean_batch
from bench.analysis.intervals import (
    Estimate,
    clopper_pearson,
    median,
    median_interval,
    share_interval,
)
from bench.analysis.outcomes import first_hit, outcome_rows
from bench.analysis.stability import FAILING_SHARE, add_failures, spread
from bench.experiments import Block, BlockResult
from bench.experiments.plan import lattice_index, lattice_rate, pilot_points
from bench.problems import Problem
from bench.streams import stream

__all__ = [
    "ARM_COLUMNS",
    "Pick",
    "base_batch_size",
    "choose_targets",
    "extension_sides",
    "first_hit",
    "named_rates",
    "pick_rate",
    "pick_table",
    "protocol_arms",
    "summary",
]

Floats = NDArray[np.float64]

OWN = ("", OURS)  # programs of the axes that summary.csv has
MIDDLE = 1  # index of the target that picks and verdicts use
BASE = 32  # B_0 of the protocols
RATE_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of a batch size's own pick, that claims name
NEIGHBOUR_FACTORS = (0.5, 1.0, 2.0)  # of the picks of half and twice the batch size
SAME_RATE = 1e-12  # relative difference of rates that are the same but for rounding
ARM_COLUMNS = ["rule", "batch_size", "protocol", "base_batch_size", "learning_rate"]


class Pick(NamedTuple):
    """The rate of a rule and batch size, and why.

    Parameters
    ----------
    learning_rate
        The pick.
    reason
        What decided, in words.
    at_edge
        Whether it is the least or the largest rate tried.
    median_examples, failed_share
        Of the tuning seeds, at the pick.
    n_seeds
        Tuning seeds.
    """

    learning_rate: float
    reason: str
    at_edge: bool
    median_examples: float
    failed_share: float
    n_seeds: int


def choose_targets(
    problem: Problem, pilot: Iterable[tuple[Block, BlockResult]]
) -> tuple[float, ...]:
    """Three targets, descending: what the pilot's best rate reaches at its three evaluations.

    After 2, 4 and 8 epochs (`plan.pilot_points`). The least over rates of the median full-train
    loss over the pilot's seeds; rates at which a seed fails by the last are left out (where every
    rate has failures: all but those with the least share of them).
    """
    rows, losses = [], []
    points = pilot_points(problem)
    for block, result in pilot:
        at = np.searchsorted(result.examples, points)
        losses.append(result.loss[0][:, at])
        rows.append(outcome_rows(problem, block, result, targets=()))
    runs = add_failures(pd.concat(rows, ignore_index=True))
    runs[list(points)] = np.concatenate(losses)
    by_rate = runs.groupby("learning_rate")
    failing = by_rate.failed.mean()
    calm = failing.index[failing == failing.min()]
    medians = [_finite_median(by_rate.get_group(rate)[list(points)]) for rate in calm]
    return tuple(sorted(np.min(medians, axis=0).tolist(), reverse=True))


def _finite_median(values: pd.DataFrame | pd.Series) -> Floats:
    """Median down the rows, NaN (of a diverged run) as infinite."""
    filled = values.to_numpy(float)
    return median(np.where(np.isnan(filled), np.inf, filled))


def _rate_table(outcomes: pd.DataFrame, target: int) -> pd.DataFrame:
    """A row per rate of these runs: failing share, typical T, success, final loss."""
    rows = []
    for rate, runs in outcomes.groupby("learning_rate"):
        hits = runs[f"hit_{target}"].to_numpy(float)
        rows.append(
            {
                "learning_rate": rate,
                "failed": runs.failed.mean(),
                "hits": hits[~np.isnan(hits)],
                "final_loss": float(_finite_median(runs.final_loss)),
            }
        )
    table = pd.DataFrame(rows)
    population = _is_population(outcomes)
    table["success"] = [success_share(hits) for hits in table.hits]
    table["examples"] = typical_times(table.hits, population=population)
    return table


def success_share(hits: Floats) -> float:
    """Share of runs that reach the target; 0 where all meet it before the first update.

    Such a target says nothing of a rate or a batch size.
    """
    return float(np.isfinite(hits).mean()) if len(hits) else 0.0


def typical_times(arms: Iterable[Floats], *, population: bool) -> list[float]:
    """Return a time for each arm by which arms are told apart, from its runs' times without NaN.

    The median. Of populations, where fewer than half of the networks may learn at all: the time
    by which half as many networks have learned as ever do in the best of these arms.
    """
    arms = [np.sort(hits) for hits in arms]
    if not population:
        return [float(median(hits)) if len(hits) else np.inf for hits in arms]
    half = max(success_share(hits) for hits in arms) / 2
    return [
        float(np.append(hits, np.inf)[max(int(np.ceil(half * len(hits))), 1) - 1]) for hits in arms
    ]


def _is_population(outcomes: pd.DataFrame) -> bool:
    """Whether a seed has more than one network."""
    return bool(outcomes.network.max() > 0)


def pick_rate(outcomes: pd.DataFrame, target: int = MIDDLE) -> Pick:
    """Pick the rate of one rule and batch size from its tuning runs.

    Among the rates at which at most 5% of the runs fail (else: those with the least failing
    share), the least median T; ties by success, then by final loss, then the larger rate. Where
    no rate reaches the target that is the least final loss. Rates that some of the tuning seeds
    did not run are no candidates: a median of few is the more easily a lucky one.

    A population's networks fail at any rate, by their start: there it is the fastest among the
    rates whose success cannot be told apart from the largest.

    Parameters
    ----------
    outcomes
        Runs of one rule and batch size, with `failed`; reporting seeds are ignored.
    target
        Index of the target.
    """
    tuning = each_run_once(outcomes[outcomes.role == "tune"])
    n_seeds = tuning.groupby("learning_rate").seed.transform("nunique")
    table = _rate_table(tuning[n_seeds == n_seeds.max()], target)
    allowed, among = _allowed_rates(table, population=_is_population(tuning))
    order = ["examples", "success", "final_loss", "learning_rate"]
    best = allowed.sort_values(order, ascending=[True, False, True, False]).iloc[0]
    rate = float(best.learning_rate)
    return Pick(
        learning_rate=rate,
        reason=f"{_reason(best)}, {among}",
        at_edge=rate in (tuning.learning_rate.min(), tuning.learning_rate.max()),
        median_examples=float(best.examples),
        failed_share=float(best.failed),
        n_seeds=tuning.seed.nunique(),
    )


def _allowed_rates(table: pd.DataFrame, *, population: bool) -> tuple[pd.DataFrame, str]:
    """Rates among which the pick is made, and which these are in words."""
    if population:
        n = table.hits.map(len)
        low, _ = clopper_pearson(table.success * n, n)
        best = int(table.success.to_numpy().argmax())
        among = "among rates at which as many networks learn as at the best"
        return table[table.success >= low[best]], among
    limit = max(FAILING_SHARE, table.failed.min())
    among = "among rates at which at most 5% of the tuning seeds fail"
    if limit > FAILING_SHARE:
        among = f"at every rate tried, {limit:.0%} or more of the tuning seeds fail"
    return table[table.failed <= limit], among


def _reason(best: pd.Series) -> str:
    """What decided among the allowed rates, in words."""
    if best.success == 0.0:
        return "no tuning seed reaches the target: least final loss"
    if np.isinf(best.examples):
        return "most tuning seeds miss the target: largest success"
    return "least median time to the target"


def extension_sides(
    outcomes: pd.DataFrame, target: int = MIDDLE, *, until_failure: bool = True
) -> tuple[str, ...]:
    """Sides ("lower", "upper") on which the coarse rates of a rule and batch size are too few.

    Where the pick is the outermost rate, and, with `until_failure`, above where at no rate more
    than 5% of the tuning runs fail. Where all runs fail at every rate: below, whatever the pick.
    """
    tuning = outcomes[outcomes.role == "tune"]
    pick = pick_rate(tuning, target).learning_rate
    failed = tuning.groupby("learning_rate").failed.mean()
    if (failed == 1.0).all():
        return ("lower",)
    calm = (failed <= FAILING_SHARE).all()
    lower = pick == tuning.learning_rate.min()
    upper = pick == tuning.learning_rate.max() or (calm and until_failure)
    return tuple(side for side, needed in (("lower", lower), ("upper", upper)) if needed)


def pick_table(outcomes: pd.DataFrame, n_train: int, target: int = MIDDLE) -> pd.DataFrame:
    """Picks of one rule, a row per batch size: the columns of `Evidence.picks`."""
    rows: list[dict[str, Any]] = []
    for batch_size in sorted(outcomes.batch_size.unique().tolist()):
        runs = outcomes[outcomes.batch_size == batch_size]
        about = {"rule": runs.rule.iloc[0], "batch_size": batch_size}
        about["mean_batch"] = mean_batch(n_train, batch_size)
        rows.append(about | pick_rate(runs, target)._asdict())
    return pd.DataFrame(rows)


def base_batch_size(batch_sizes: Sequence[int], n_train: int) -> int:
    """B_0: 32, else the mini-batch nearest to it on the log scale, else full batch."""
    mini = [b for b in batch_sizes if 1 < b < n_train]
    if not mini:
        return max(batch_sizes)
    return min(mini, key=lambda b: (abs(np.log(b / BASE)), -b))


def protocol_arms(picks: pd.DataFrame, n_train: int) -> pd.DataFrame:
    """Arms of the protocols: tuned, and same, linear and square root with bases B_0 and 1.

    Parameters
    ----------
    picks
        Of one rule, as of `pick_table`.
    n_train
        Training samples.

    Returns
    -------
    DataFrame
        The columns of `Evidence.arms`. The base 1 is left out where B = 1 was not studied.
    """
    rate = dict(zip(picks.batch_size, picks.learning_rate, strict=True))
    bases = [base_batch_size(list(rate), n_train)]
    bases += [1] if 1 in rate and bases != [1] else []
    rule = picks.rule.iloc[0]
    rows: list[tuple[Any, ...]] = [(rule, b, "tuned", np.nan, eta) for b, eta in rate.items()]
    for base in bases:
        rows += [(rule, b, "same", float(base), rate[base]) for b in rate]
        rows += [(rule, b, "linear", float(base), rate[base] * b / base) for b in rate]
        rows += [
            (rule, b, "square root", float(base), on_lattice(rate[base] * float(np.sqrt(b / base))))
            for b in rate
        ]
    return pd.DataFrame(rows, columns=ARM_COLUMNS)


def on_lattice(rate: float) -> float:
    """Return the lattice's rate where this one differs from it by rounding: so it runs once."""
    nearest = lattice_rate(lattice_index(rate))
    return nearest if np.isclose(rate, nearest, rtol=SAME_RATE, atol=0.0) else rate


def named_rates(picks: pd.DataFrame, batch_size: int, n_train: int) -> tuple[float, ...]:
    """Rates of the third block of a batch size, ascending: those that arms and claims name.

    Its arms of all protocols (7 rates), its pick x 1/4, 1/2, 2, 4, and the picks of half and twice
    the batch size x 1/2, 1, 2 (the cost of a wrong batch size): at most 16 beside its pick, which
    its seeds have run.
    """
    arms = protocol_arms(picks, n_train)
    rate = dict(zip(picks.batch_size, picks.learning_rate, strict=True))
    named = set(arms.learning_rate[arms.batch_size == batch_size])
    named |= {rate[batch_size] * factor for factor in RATE_FACTORS}
    for other in neighbours(batch_size, list(rate)):
        named |= {rate[other] * factor for factor in NEIGHBOUR_FACTORS}
    return tuple(sorted(float(r) for r in named))


def neighbours(batch_size: int, batch_sizes: Sequence[int]) -> list[int]:
    """Next smaller and next larger batch size of those studied."""
    ordered = sorted(batch_sizes)
    at = ordered.index(batch_size)
    return [ordered[i] for i in (at - 1, at + 1) if 0 <= i < len(ordered)]


def expected_running_time(hits: Floats, budgets: Floats) -> float:
    """ERT: examples of all runs over the number that reached the target (Auger & Hansen 2005).

    hits (n,) with inf where not reached, NaN left out; budgets (n,). No success: inf.
    """
    known = ~np.isnan(hits)
    reached = np.isfinite(hits)
    spent = np.where(reached, hits, budgets)[known].sum()
    return float(spent / reached.sum()) if reached.any() else np.inf


def summary(
    runs: Runs,
    arms: pd.DataFrame,
    targets: Sequence[float],
    axes: Sequence[Axis],
    brackets: pd.DataFrame,
) -> pd.DataFrame:
    """Return the rows of summary.csv: one per arm and target, the columns of `Evidence.summary`.

    Parameters
    ----------
    runs
        All runs of the rule.
    arms
        As of `protocol_arms`.
    targets
        Descending.
    axes
        As of `arms.all_axes`; of the seconds our own program's are taken (NaN without them).
    brackets
        As of `stability.largest_stable_rate`, kind "failed".
    """
    bracket = brackets.set_index("batch_size")[["stable", "unstable"]]
    bracket.columns = pd.Index(["largest_stable_learning_rate", "smallest_unstable_learning_rate"])
    rows = []
    for k, target in enumerate(targets):
        for about in arms.to_dict("records"):
            arm = Arm(about["batch_size"], about["learning_rate"])
            rows.append(about | {"target": target} | arm_statistics(runs, arm, axes, k))
    return pd.DataFrame(rows).join(bracket, on="batch_size")


def arm_statistics(runs: Runs, arm: Arm, axes: Sequence[Axis], target: int) -> dict[str, Any]:
    """Return what `summary` says of one arm and target, from its reporting seeds."""
    found = runs.of(arm)
    hits = found[f"hit_{target}"].to_numpy(float)
    clusters, known = runs.clusters(found), ~np.isnan(hits)
    success = share_interval(
        np.isfinite(hits[known]), None if clusters is None else clusters[known]
    )
    rng = None if runs.population else stream("spread of an arm", arm.batch_size, target)
    units = {axis.name: axis.per_example[arm.batch_size] for axis in axes if axis.program in OWN}
    budgets = found.budget_examples.to_numpy(float)
    row: dict[str, Any] = {
        "n_seeds": found.seed.nunique(),
        "n_runs": len(found),
        "n_undetermined": int((~known).sum()),
        "mean_batch": 1.0 / units["updates"],
        "budget_epochs": budgets.max(initial=0.0) * units["epochs"],
        **_columns("success", success, value="success_rate"),
        "ert_examples": expected_running_time(hits, budgets),
        **_columns("spread", spread(hits, rng)),
    }
    examples = median_interval(hits, clusters)
    for name in ("examples", "updates", "epochs", "seconds"):
        row |= _columns(name, examples, 1.0 if name == "examples" else units.get(name, np.nan))
    for name in ("diverged", "dead", "newly_dead", "stuck", "failed"):
        row[f"{name}_rate"] = found[name].mean()
    row["final_loss"] = float(_finite_median(found.final_loss))
    for name in ("final_score", "final_test_score", "best_test_score"):
        row[name] = found[name].median()
    return row


def _columns(name: str, found: Estimate, unit: float = 1.0, value: str = "") -> dict[str, float]:
    """Columns of an estimate, in units of `unit`."""
    return {
        value or name: found.value * unit,
        f"{name}_low": found.low * unit,
        f"{name}_high": found.high * unit,
    }
