"""What became of the runs at each batch size and rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.arms import Arm, Runs
from bench.analysis.intervals import median, median_interval, share_interval

OUTCOMES = ("solved", "slow", "stuck", "dead", "diverged")
SHARES = ("solved", "diverged", "dead", "stuck", "failed")


def cell_table(runs: Runs, n_train: int, target: int) -> pd.DataFrame:
    """Return the columns of `Evidence.cells`: a row per batch size and rate, reporting seeds."""
    rows = [
        {"rule": runs.outcomes.rule.iloc[0], "batch_size": batch_size, "learning_rate": rate}
        | _cell(runs, Arm(batch_size, rate), n_train, target)
        for batch_size in runs.batch_sizes
        for rate in runs.rates(batch_size)
    ]
    return pd.DataFrame(rows)


def _cell(runs: Runs, arm: Arm, n_train: int, target: int) -> dict[str, Any]:
    """Return what a cell's reporting runs did."""
    found = runs.of(arm)
    hits = found[f"hit_{target}"].to_numpy(float)
    clusters = runs.clusters(found)
    examples = median_interval(hits, clusters)
    row: dict[str, Any] = {
        "n_seeds": found.seed.nunique(),
        "n_runs": len(found),
        "examples": examples.value,
        "examples_low": examples.low,
        "examples_high": examples.high,
        "epochs": examples.value / n_train,
        "final_loss": float(median(found.final_loss.fillna(np.inf))),
        "outcome": commonest_outcome(found, hits),
    }
    for name in SHARES:
        flags = np.isfinite(hits) if name == "solved" else found[name].to_numpy()
        share = share_interval(flags, clusters)
        row |= {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
    return row


def commonest_outcome(found: pd.DataFrame, hits: np.ndarray[Any, Any]) -> str:
    """What befell the largest share of these runs; of equal shares the kindest.

    A run that reached the target is solved even where it is called stuck or dead.
    """
    befell = np.select(
        [found.diverged, np.isfinite(hits), found.dead, found.stuck],
        ["diverged", "solved", "dead", "stuck"],
        default="slow",
    )
    return max(OUTCOMES, key=lambda name: int((befell == name).sum()))
