"""Is the answer within a minute right? `python tests/answers.py [DIR]` asks full studies.

For each of three real tables: the study within the default budget; then, with 48 seeds, the coarse
and fine rates of every batch size. What the first recommends is run on all reporting seeds, and
its time to the target compared, seed by seed, with that of what the 16 tuning seeds of the full
study pick ("full study"), and with that of the best batch size and rate of all ("hindsight": chosen
on the very seeds that are compared, rates at which runs fail included).
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter
from typing import Any

import pandas as pd

import bench.study
from bench.analysis.arms import Arm, Axis, Runs, all_axes, compare
from bench.analysis.intervals import median
from bench.analysis.recommend import best_batch_size
from bench.analysis.time_to_target import MIDDLE, pick_table
from bench.experiments import plan
from bench.options import Options
from bench.stages import Training, coarse, find_targets, fine

sys.path.insert(0, str(Path(__file__).parent / "bench"))
from real_tables import REAL_TABLES, RealTable


def complete(table: RealTable, out: Path, arms: list[Arm]) -> tuple[Training, Runs]:
    """Train at all batch sizes, and at these arms, from all seeds."""
    settings = Options.of({**table.options, "out": out}).for_subject(own_table=True)
    training = bench.study.prepare(table.path, settings, bench.study.reporter())
    find_targets(training, plan.coarse_rates(training.rule))
    coarse(training)
    fine(training)
    for arm in arms:
        training.run("recommended", {arm.batch_size: [arm.learning_rate]}, training.reporting)
    return training, Runs(training.outcomes())


def best(runs: Runs, axis: Axis) -> Arm:
    """The arm of the least median time to the target, over all reporting seeds."""
    times = {}
    for size in runs.batch_sizes:
        for rate in runs.rates(size):
            arm = Arm(size, rate)
            hits = runs.of(arm)[f"hit_{MIDDLE}"].to_numpy(float)
            times[arm] = float(median(hits)) * axis.per_example[size]
    return min(times, key=lambda arm: (times[arm], arm))


def picked(runs: Runs, n_train: int, axis: Axis) -> Arm:
    """What the tuning seeds pick: a rate for each batch size, and of these the best."""
    picks = pick_table(runs.outcomes, n_train)
    arms = [Arm(b, e) for b, e in zip(picks.batch_size, picks.learning_rate, strict=True)]
    size = best_batch_size(runs, arms, axis, MIDDLE)
    return next(arm for arm in arms if arm.batch_size == size)


def held_against(table: RealTable, out: Path) -> list[dict[str, Any]]:
    """A row per recommendation: its time to the target over the best one's."""
    began = perf_counter()
    study = bench.study(table.path, **table.options, out=out)
    seconds = perf_counter() - began
    named = study.record["recommended"]
    arms = [Arm(one["batch_size"], one["learning_rate"]) for one in named]
    training, runs = complete(table, out, arms)
    axes = all_axes(training.problem.n_train, runs.batch_sizes, study.seconds)
    by_name = {(axis.name, axis.program): axis for axis in axes}
    rows = []
    for one, arm in zip(named, arms, strict=True):
        axis = by_name[one["axis"], one["program"]]
        other = best(runs, axis)
        found = compare(runs, arm, other, axis, MIDDLE).ratio
        pick = picked(runs, training.problem.n_train, axis)
        against = compare(runs, arm, pick, axis, MIDDLE).ratio
        rows.append(
            {
                "table": table.path.name,
                "rounds": study.record["rounds"]["done"],
                "study (s)": round(seconds, 1),
                "fewest": one["program"] or "examples",
                "recommended": f"{arm.batch_size} at {arm.learning_rate:.3g}",
                "full study": f"{pick.batch_size} at {pick.learning_rate:.3g}",
                "ratio": f"{against.value:.2f} [{against.low:.2f}, {against.high:.2f}]",
                "hindsight": f"{other.batch_size} at {other.learning_rate:.3g}",
                "its ratio": f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]",
            }
        )
    return rows


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(mkdtemp())
    found = [row for table in REAL_TABLES.values() for row in held_against(table, folder)]
    print(pd.DataFrame(found).to_string(index=False))
