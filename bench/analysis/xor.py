"""How often XOR is learned, by network and initialization, and why not.

Runs of a block share its order of samples: intervals are clustered by block, by the ratio
estimator's design effect (`intervals.clustered_proportion`), which with few blocks is conservative.
The arm of a variant is picked on tuning blocks; shares come from reporting blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.arms import Arm, each_run_once
from bench.analysis.evidence import Population
from bench.analysis.intervals import Estimate, clustered_proportion
from bench.analysis.outcomes import CAUSES, outcome_rows
from bench.experiments import Block, BlockResult
from bench.problems import Problem
from bench.problems.xor import Variant, shape

ANY = "any"  # in place of a cause: all networks that failed
CELL = ["rule", "batch_size", "learning_rate", "seed", "role"]


@dataclass(frozen=True)
class VariantRuns:
    """What became of a problem's population, and of its variants'.

    Parameters
    ----------
    variants
        As of `bench.problems.xor.variants`, by label, the problem itself first.
    counts
        As of `count_outcomes`, of all variants.
    longer
        As of `count_longer`, of all variants; without rows where no network was given longer.
    """

    variants: Mapping[str, Variant]
    counts: pd.DataFrame
    longer: pd.DataFrame


def own_runs(problem: Problem, rule: str, outcomes: pd.DataFrame) -> VariantRuns:
    """Return the runs of a population that has no variants."""
    own = shape(problem)
    variants = {own: Variant("", "", rule, problem)}
    return VariantRuns(variants, count_outcomes(own, outcomes), pd.DataFrame())


def count_outcomes(variant: str, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Counts by block: `variant`, the columns of a cell, `n, solved` and one for each cause."""
    runs = each_run_once(outcomes)
    flags = pd.DataFrame({"n": 1, "solved": runs.success.astype(int)})
    for cause in CAUSES:
        flags[cause] = (runs.cause == cause).astype(int)
    counts = flags.groupby([runs[name] for name in CELL]).sum().reset_index()
    counts.insert(0, "variant", variant)
    return counts


def tuning_shares(counts: pd.DataFrame) -> pd.Series:
    """Share solved over the *tuning* blocks of a variant, by (batch_size, learning_rate)."""
    tuning = counts[counts.role == "tune"].groupby(["batch_size", "learning_rate"])[["solved", "n"]]
    cells = tuning.sum()
    return cells.solved / cells.n


def best_arm(counts: pd.DataFrame) -> Arm:
    """Batch size and rate of the largest share solved over the *tuning* blocks of a variant.

    Of equal shares the larger rate.
    """
    cells = tuning_shares(counts).rename("share").reset_index()
    best = cells.sort_values(["share", "learning_rate"]).iloc[-1]
    return Arm(int(best.batch_size), float(best.learning_rate))


def reporting(counts: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Counts of the reporting blocks of an arm, a row a block."""
    mine = (counts.batch_size == arm.batch_size) & (counts.learning_rate == arm.learning_rate)
    return counts[mine & (counts.role == "report")]


def share_of(blocks: pd.DataFrame, name: str) -> Estimate:
    """Share of networks counted in the column `name`, over blocks."""
    return clustered_proportion(blocks[name], blocks.n)


def failed_networks(outcomes: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Rows of the reporting networks that did not learn at an arm: `seed, network, cause`."""
    runs = each_run_once(outcomes)
    mine = (runs.batch_size == arm.batch_size) & (runs.learning_rate == arm.learning_rate)
    failed = runs[mine & (runs.role == "report") & ~runs.success]
    return failed[["seed", "network", "cause"]]


def count_longer(variant: str, failed: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """Counts by block and cause of the failed networks: `variant, seed, cause, n, solved_longer`.

    Parameters
    ----------
    variant
        Its label.
    failed
        As of `failed_networks`.
    ends
        Outcomes of the same networks, trained for longer.
    """
    both = failed.merge(ends[["seed", "network", "success"]], validate="one_to_one")
    grouped = both.groupby(["seed", "cause"]).success.agg(n="size", solved_longer="sum")
    return grouped.reset_index().assign(variant=variant)


def success_row(counts: pd.DataFrame, variant: Variant) -> dict[str, Any]:
    """Return the row of `Population.success` of one variant."""
    arm, problem = best_arm(counts), variant.problem
    blocks = reporting(counts, arm)
    solved = share_of(blocks, "solved")
    return {
        "variant": counts.variant.iloc[0],
        "factor": variant.factor,
        "level": variant.level,
        "n_params": problem.network.n_params,
        "widths": shape(problem),
        "activation": problem.network.activation,
        "scheme": problem.scheme,
        "rule": variant.rule,
        "batch_size": arm.batch_size,
        "learning_rate": arm.learning_rate,
        "n_seeds": len(blocks),
        "n_runs": solved.n,
        "success": solved.value,
        "low": solved.low,
        "high": solved.high,
    }


def cause_rows(counts: pd.DataFrame, arm: Arm) -> list[dict[str, Any]]:
    """Return the rows of `Population.causes` of one variant at an arm."""
    blocks = reporting(counts, arm)
    rows = []
    for name, label in {"solved": "solved", **CAUSES}.items():
        share = share_of(blocks, name)
        about = {"variant": counts.variant.iloc[0], "cause": name, "label": label}
        bounds = {"share": share.value, "low": share.low, "high": share.high}
        rows.append(about | bounds | {"n": int(blocks[name].sum())})
    return rows


def example_networks(
    problem: Problem, arm: Arm, block: Block, result: BlockResult
) -> dict[str, NDArray[np.floating[Any]]]:
    """Final parameters of a block's first network at an arm that is "solved" or has a cause.

    Nothing where the block holds no population or not this arm.
    """
    found: dict[str, NDArray[np.floating[Any]]] = {}
    mine = block.batch_size == arm.batch_size and arm.learning_rate in block.learning_rates
    if result.params is None or not mine:
        return found
    at = block.learning_rates.index(arm.learning_rate)
    rows = outcome_rows(problem, block, result, targets=())
    rows = rows[rows.learning_rate == arm.learning_rate]
    names = rows.cause.where(~rows.success, "solved")
    for name, network in zip(names, rows.network, strict=True):
        found.setdefault(name, result.params[network, at].copy())
    return found


def longer_rows(variant: str, counts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of `Population.longer` of one variant, from its rows of `count_longer`."""
    rows = []
    for cause, label in {ANY: "failed", **CAUSES}.items():
        mine = counts if cause == ANY else counts[counts.cause == cause]
        blocks = mine.groupby("seed")[["n", "solved_longer"]].sum()
        if len(blocks):
            share = clustered_proportion(blocks.solved_longer, blocks.n)
            about = {"variant": variant, "cause": cause, "label": label, "n": share.n}
            learned = {"solved_longer": int(blocks.solved_longer.sum())}
            bounds = {"share": share.value, "low": share.low, "high": share.high}
            rows.append(about | learned | bounds)
    return rows


def population_tables(
    runs: VariantRuns, networks: Mapping[str, NDArray[np.floating[Any]]]
) -> Population:
    """Return the tables of the XOR study.

    Parameters
    ----------
    runs
        Of the problem and its variants.
    networks
        As of `example_networks`.
    """
    success, by_batch_size, causes, longer = [], [], [], []
    for label, variant in runs.variants.items():
        mine = runs.counts[runs.counts.variant == label]
        success.append(success_row(mine, variant))
        causes += cause_rows(mine, best_arm(mine))
        by_batch_size += [success_row(cells, variant) for _, cells in mine.groupby("batch_size")]
        if len(runs.longer):
            longer += longer_rows(label, runs.longer[runs.longer.variant == label])
    return Population(
        counts=runs.counts,
        success=pd.DataFrame(success),
        by_batch_size=pd.DataFrame(by_batch_size),
        causes=pd.DataFrame(causes),
        longer=pd.DataFrame(longer),
        networks=networks,
    )
