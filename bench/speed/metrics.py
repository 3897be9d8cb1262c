"""How well networks learn, in few numbers of a study: kept beside the timings of the same run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

COMPARED = 32  # the batch size at which updates are counted in every run
STABLE = (1, COMPARED)
SUCCESS, EXAMPLES, UPDATES, RATES = "success", "examples", "updates", "stable rates"


@dataclass(frozen=True)
class Metric:
    """A measure of quality with its 95% interval.

    Parameters
    ----------
    study, name
        What was studied, and what is measured: the same in every run.
    value, low, high
        Infinite where a target was not reached within the budget, or a bound is not known.
    n
        Runs or networks that report.
    worse
        The bad direction, "higher" or "lower".
    at
        Where it was taken, in words, where a study picks that: "batch size 8".
    """

    study: str
    name: str
    value: float
    low: float
    high: float
    n: int
    worse: str
    at: str = ""


def metrics_of(
    record: Mapping[str, Any], summary: pd.DataFrame, measures: Sequence[str]
) -> list[Metric]:
    """Take the measures from a finished study.

    Parameters
    ----------
    record, summary
        Of the study: study.json and summary.csv.
    measures
        "success" (share of runs that reach the middle target) and "examples" (until then), both
        at the batch size that needs the fewest; "updates", at batch size 32; "stable rates", the
        brackets of the largest stable learning rate at batch sizes 1 and 32. What the study has
        no row for is left out.
    """
    target = record["targets"][len(record["targets"]) // 2]
    rows = summary[(summary["protocol"] == "tuned") & (summary["target"] == target)]
    rows = rows[rows["rule"] == record["options"]["rule"]].set_index("batch_size")
    best = record["recommended"][0]["batch_size"]
    found = []
    for size, name, columns, worse, at in (one for key in measures for one in _wanted(key, best)):
        if size in rows.index:
            row = rows.loc[size]
            value, low, high = (math.inf if pd.isna(x) else float(x) for x in row[list(columns)])
            n = int(row["n_runs"])
            found.append(Metric(record["study"], name, value, low, high, n, worse, at))
    return found


def _wanted(measure: str, best: int) -> list[tuple[int, str, tuple[str, str, str], str, str]]:
    """Batch size, name, columns of value and bounds, bad direction, and where, of a measure."""
    at = f"batch size {best}"
    if measure == SUCCESS:
        columns = ("success_rate", "success_low", "success_high")
        return [(best, "success rate", columns, "lower", at)]
    if measure == EXAMPLES:
        columns = ("examples", "examples_low", "examples_high")
        return [(best, "examples to the target", columns, "higher", at)]
    if measure == UPDATES:
        columns = ("updates", "updates_low", "updates_high")
        return [(COMPARED, f"updates to the target, B = {COMPARED}", columns, "higher", "")]
    stable, unstable = "largest_stable_learning_rate", "smallest_unstable_learning_rate"
    columns = (stable, stable, unstable)
    return [(size, f"largest stable rate, B = {size}", columns, "lower", "") for size in STABLE]
