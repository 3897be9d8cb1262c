"""Which batch size and rate to use, and what a wrong choice costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.arms import Arm, Axis, Runs, compare
from bench.analysis.evidence import Recommendation
from bench.analysis.time_to_target import neighbours, typical_times

MARGIN = 1.25
FACTORS = (0.5, 1.0, 2.0)
NEAR = 0.25  # octaves: farther off a rate is another one


def tuning_times(runs: Runs, arms: Sequence[Arm], axis: Axis, target: int) -> dict[int, float]:
    """Typical T of each tuned arm on an axis over *tuning* seeds: what "best" is picked by."""
    hits = [runs.of(arm, "tune")[f"hit_{target}"].dropna().to_numpy(float) for arm in arms]
    times = typical_times(hits, population=runs.population)
    return {
        arm.batch_size: time * axis.per_example[arm.batch_size]
        for arm, time in zip(arms, times, strict=True)
    }


def best_batch_size(
    runs: Runs, arms: Sequence[Arm], axis: Axis, target: int, at_least: int = 1
) -> int | None:
    """Batch size of least median T over tuning seeds, of those of `at_least`; of ties the smaller.

    None where no tuning median reaches the target.
    """
    times = tuning_times(runs, arms, axis, target)
    known = {b: t for b, t in times.items() if b >= at_least and np.isfinite(t)}
    return min(known, key=lambda b: (known[b], b)) if known else None


def recommend(
    runs: Runs, arms: Sequence[Arm], axis: Axis, cost: Axis, target: int
) -> Recommendation:
    """Return the recommendation on one axis.

    Parameters
    ----------
    runs
        All runs of the rule.
    arms
        The tuned arm of every batch size.
    axis
        Epochs, or the seconds of a program.
    cost
        Seconds, for the cheapest of the set.
    target
        Index of the target.
    """
    times = tuning_times(runs, arms, axis, target)
    best = best_batch_size(runs, arms, axis, target)
    by_size = {arm.batch_size: arm for arm in arms}
    rates = {arm.batch_size: arm.learning_rate for arm in arms}
    if best is None:
        empty = pd.DataFrame()
        sentence = "No batch size reaches the target within its budget."
        return Recommendation(
            axis.name, axis.program, None, (), rates, None, None, None, empty, empty, sentence
        )
    ratios = ratio_table(runs, arms, by_size[best], axis, target)
    chosen = tuple(int(b) for b in ratios.batch_size[ratios.in_set])
    costs = tuning_times(runs, [by_size[b] for b in chosen], cost, target)
    cheapest = min(costs, key=lambda b: (costs[b], b))
    others = {b: t for b, t in times.items() if b != best and np.isfinite(t)}
    return Recommendation(
        axis=axis.name,
        program=axis.program,
        best=best,
        batch_sizes=chosen,
        learning_rates=rates,
        smallest=chosen[0],
        cheapest=cheapest,
        runner_up=min(others, key=lambda b: (others[b], b)) if others else None,
        ratios=ratios,
        costs=cost_table(runs, arms, by_size[cheapest if axis.program else best], axis, target),
        sentence=sentence_of(chosen, best, axis),
    )


def ratio_table(
    runs: Runs, arms: Sequence[Arm], best: Arm, axis: Axis, target: int
) -> pd.DataFrame:
    """T_B / T_best for each tuned arm, and whether B belongs to the set.

    It does unless its whole interval lies above the margin; the best itself always does. A batch
    size whose tuning seeds say as much but whose reporting seeds are too few stays in the set.
    """
    rows = []
    for arm in sorted(arms):
        if arm == best:
            row: dict[str, Any] = {"ratio": 1.0, "low": 1.0, "high": 1.0, "n_undetermined": 0}
        else:
            found = compare(runs, arm, best, axis, target)
            row = found.ratio._asdict() | {"n_undetermined": found.n_undetermined}
            row["ratio"] = row.pop("value")
        about = {"batch_size": arm.batch_size, "learning_rate": arm.learning_rate}
        rows.append(about | row | {"in_set": bool(row["low"] <= MARGIN)})
    columns = ["batch_size", "learning_rate", "ratio", "low", "high", "n_undetermined", "in_set"]
    return pd.DataFrame(rows)[columns]


def cost_table(
    runs: Runs, arms: Sequence[Arm], center: Arm, axis: Axis, target: int
) -> pd.DataFrame:
    """T with half or twice the batch size or rate over T at the recommended arm: 3 x 3 rows.

    Half and twice the batch size are the neighbouring batch sizes studied; the rate is the nearest
    one that their reporting seeds ran. Where there is no neighbour, or no rate within a quarter of
    an octave, the rows are left out.
    """
    batch_sizes = {1.0: center.batch_size}
    for b in neighbours(center.batch_size, [arm.batch_size for arm in arms]):
        batch_sizes[0.5 if b < center.batch_size else 2.0] = b
    rows = []
    for (batch_factor, batch_size), rate_factor in product(sorted(batch_sizes.items()), FACTORS):
        wanted = np.log(center.learning_rate * rate_factor)
        tried = runs.rates(batch_size) or [center.learning_rate]
        rate = min(tried, key=lambda r: float(abs(np.log(r) - wanted)))
        if abs(np.log2(rate) - wanted / np.log(2.0)) > NEAR:
            continue
        found = compare(runs, Arm(batch_size, rate), center, axis, target).ratio
        rows.append((batch_factor, rate_factor, batch_size, rate, *found[:3]))
    columns = ["batch_factor", "rate_factor", "batch_size", "learning_rate", "ratio", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def sentence_of(chosen: Sequence[int], best: int, axis: Axis) -> str:
    """Return the answer in words."""
    what = {"epochs": "passes over the data", "updates": "updates", "seconds": "seconds"}[axis.name]
    whom = f" with {axis.program}" if axis.program else ""
    if len(chosen) == 1:
        return f"Batch size {best} needs the fewest {what}{whom}."
    listed = ", ".join(str(b) for b in chosen[:-1]) + f" and {chosen[-1]}"
    return f"Batch sizes {listed} cannot be told apart in {what}{whom}; {best} needed the fewest."
