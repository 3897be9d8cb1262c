"""How often XOR is learned, by network and initialization, and why not.

Runs of a block share its order of samples: intervals are clustered by block, by the ratio
estimator's design effect (`intervals.clustered_proportion`), which with few blocks is conservative.
The arm of a variant is picked on tuning blocks; shares come from reporting blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
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

CELL = ["rule", "batch_size", "learning_rate", "seed", "role"]


def count_outcomes(variant: str, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Counts by block: `variant`, the columns of a cell, `n, solved` and one for each cause."""
    runs = each_run_once(outcomes)
    flags = pd.DataFrame({"n": 1, "solved": runs.success.astype(int)})
    for cause in CAUSES:
        flags[cause] = (runs.cause == cause).astype(int)
    counts = flags.groupby([runs[name] for name in CELL]).sum().reset_index()
    counts.insert(0, "variant", variant)
    return counts


def best_arm(counts: pd.DataFrame) -> Arm:
    """Batch size and rate of the largest share solved over the *tuning* blocks of a variant.

    Of equal shares the larger rate.
    """
    tuning = counts[counts.role == "tune"].groupby(["batch_size", "learning_rate"])[["solved", "n"]]
    cells = tuning.sum().reset_index()
    cells["share"] = cells.solved / cells.n
    best = cells.sort_values(["share", "learning_rate"]).iloc[-1]
    return Arm(int(best.batch_size), float(best.learning_rate))


def reporting(counts: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Counts of the reporting blocks of an arm, a row a block."""
    mine = (counts.batch_size == arm.batch_size) & (counts.learning_rate == arm.learning_rate)
    return counts[mine & (counts.role == "report")]


def share_of(blocks: pd.DataFrame, name: str) -> Estimate:
    """Share of networks counted in the column `name`, over blocks."""
    return clustered_proportion(blocks[name], blocks.n)


def success_row(counts: pd.DataFrame, problem: Problem) -> dict[str, Any]:
    """Return the row of `Population.success` of one variant."""
    arm, network = best_arm(counts), problem.network
    blocks = reporting(counts, arm)
    solved = share_of(blocks, "solved")
    return {
        "variant": counts.variant.iloc[0],
        "n_params": network.n_params,
        "widths": "-".join(map(str, network.widths)),
        "activation": network.activation,
        "scheme": problem.scheme,
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


def population_tables(
    problems: Mapping[str, Problem],
    counts: pd.DataFrame,
    networks: Mapping[str, NDArray[np.floating[Any]]],
) -> Population:
    """Return the tables of the XOR study.

    Parameters
    ----------
    problems
        Each variant's problem, by its label.
    counts
        Of all variants, as of `count_outcomes`.
    networks
        As of `example_networks`.
    """
    success, by_batch_size, causes = [], [], []
    for variant, problem in problems.items():
        mine = counts[counts.variant == variant]
        success.append(success_row(mine, problem))
        causes += cause_rows(mine, best_arm(mine))
        by_batch_size += [success_row(cells, problem) for _, cells in mine.groupby("batch_size")]
    return Population(
        counts=counts,
        success=pd.DataFrame(success),
        by_batch_size=pd.DataFrame(by_batch_size),
        causes=pd.DataFrame(causes),
        networks=networks,
    )
