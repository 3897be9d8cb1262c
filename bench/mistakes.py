"""The study of mistakes in averaging a batch: what is trained, in which order, what is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

import kernels
from bench import view
from bench.analysis.arms import Arm, Runs
from bench.analysis.claims.mistakes import mistake_claims
from bench.analysis.mistakes import (
    Mistakes,
    bases,
    by_mistake,
    directions,
    mistake_arms,
    onsets,
    solved_rows,
    summary,
    task_outcomes,
    xor_pick,
    xor_solved,
)
from bench.analysis.outcomes import diverged_runs
from bench.analysis.stability import add_failures
from bench.analysis.time_to_target import MIDDLE, pick_table
from bench.errors import InputError
from bench.experiments import plan
from bench.experiments.mistakes import (
    ERROR,
    LEFTOVER,
    MEANS,
    RIGHT,
    SUM,
    Task,
    Trained,
    run_tasks,
)
from bench.experiments.mistakes import train as train_task
from bench.experiments.progress import Reporter
from bench.experiments.run import compile_kernels
from bench.experiments.store import Store
from bench.options import Options, arms
from bench.problems import Problem, load_problem
from bench.stages import Training, duration, find_targets, widen

NAME = "mistakes"
# One sigmoid output, as in the notes: an error is one number y_hat - y. And 455 samples, so that
# averaged errors, which NumPy must train, can be given a search of rates as wide as the right update
SUBJECT = "breast_cancer"
XOR_BATCH_SIZES = (2, 4)  # at 1 nothing is averaged
XOR_RATES = (0.125, 0.25, 0.5, 1.0)
XOR_SEEDS = 8  # times as many as of the data: 2-2-1 networks learn XOR seldom
RUNS = 64  # of a task, at most: their parameters stay in the processor's cache
OPTIONS = ("seeds", "batch_sizes", "workers", "out")

Done = list[tuple[Task, Trained]]


@dataclass
class Trainings:
    """What the study trains: the right update by the kernels, mistakes and XOR by NumPy.

    Parameters
    ----------
    right
        The right update of the data; its store, workers and progress serve all.
    xor
        The notes' problem, with a network a seed.
    xor_seeds
        Its seeds.
    done, xor_done
        Tasks with their results, of the data and of XOR.
    """

    right: Training
    xor: Problem
    xor_seeds: tuple[int, ...]
    done: Done = field(default_factory=list)
    xor_done: Done = field(default_factory=list)

    @property
    def problem(self) -> Problem:
        """The data, with targets as soon as they are found."""
        return self.right.problem

    def run(self, stage: str, tasks: list[Task]) -> None:
        """Train what the store lacks of tasks on the data."""
        self._run(self.problem, stage, tasks, self.done)

    def run_xor(self, stage: str, tasks: list[Task]) -> None:
        """Train what the store lacks of tasks on XOR."""
        self._run(self.xor, stage, tasks, self.xor_done)

    def _run(self, problem: Problem, stage: str, tasks: list[Task], done: Done) -> None:
        right, name = self.right, f"{NAME}: {stage}"
        trained = run_tasks(problem, tasks, right.store, right.workers, right.progress, name)
        done += zip(tasks, trained, strict=True)
        n_runs = sum(len(task.seeds) * len(task.learning_rates) for task in tasks)
        right.stages.append({"stage": name, "blocks": len(tasks), "runs": n_runs})

    def outcomes(self) -> pd.DataFrame:
        """Return a row per run on the data, the right update's among them."""
        targets = self.problem.targets or ()
        rows = [self.right.outcomes().assign(mistake=RIGHT)]
        rows += [task_outcomes(self.problem, *one, targets) for one in self.done]
        return pd.concat(rows, ignore_index=True)

    def xor_outcomes(self) -> pd.DataFrame:
        """Return a row per run on XOR, `solved` among its columns."""
        rows = [task_outcomes(self.xor, *one) for one in self.xor_done]
        return solved_rows(pd.concat(rows, ignore_index=True))


def checked(options: Mapping[str, Any]) -> Options:
    """Return the options of this study.

    Raises
    ------
    InputError
        For an option that it does not take, and for what `Options` refuses.
    """
    settings = Options.of(options)
    others = [name for name, value in options.items() if value is not None and name not in OPTIONS]
    if others:
        raise InputError(
            f"{others[0]} is no option of the study {NAME}, which takes {', '.join(OPTIONS)}"
        )
    return settings


def prepare(settings: Options, progress: Reporter) -> Trainings:
    """Return the trainings of the study, none of it done."""
    subject = load_problem(SUBJECT)
    right = Training(
        problem=subject,
        rule="sgd",
        seeds=settings.all_seeds,
        batch_sizes=arms(subject, settings.batch_sizes),
        store=Store(Path(settings.out)),
        workers=settings.n_workers,
        progress=progress,
    )
    xor = replace(load_problem("notes"), population=None)
    return Trainings(right, xor, tuple(range(XOR_SEEDS * len(right.seeds))))


def train(trainings: Trainings) -> None:
    """Train everything: a search of rates on the tuning seeds, then the reporting ones."""
    right = trainings.right
    compile_kernels(right.problem, right.rule, right.progress)
    rates = plan.coarse_rates(right.rule)
    find_targets(right, rates)
    tuning = of_role(right.seeds, "tune")
    right.run("coarse rates", dict.fromkeys(right.batch_sizes, rates), tuning)
    widen(right, right.batch_sizes, tuning)
    averaged = [size for size in right.batch_sizes if size > 1]
    trainings.run(
        "rates for averaged errors",
        [one for size in averaged for one in tasks(trainings.problem, ERROR, size, tuning, rates)],
    )
    report_right(trainings)
    report_mistakes(trainings)
    train_xor(trainings)


def of_role(seeds: Sequence[int], role: str) -> tuple[int, ...]:
    """Return the seeds that tune, or report."""
    return tuple(seed for seed in seeds if plan.role(seed) == role)


def tasks(
    problem: Problem, mistake: str, size: int, seeds: Sequence[int], rates: Iterable[float]
) -> list[Task]:
    """Return the tasks that train every seed at every rate for the full budget."""
    rates = tuple(sorted(set(rates)))
    epochs = plan.budget_epochs(problem, size)
    total = epochs * problem.n_train
    points = kernels.checkpoint_grid(problem.n_train, total).tolist()
    if problem.updates_budget is not None:  # XOR, where the end counts
        points = [0, *plan.halvings(problem, size), total]
    each = max(1, RUNS // len(rates))
    return [
        Task(mistake, size, tuple(seeds[i : i + each]), rates, epochs, tuple(points))
        for i in range(0, len(seeds), each)
    ]


def picked(outcomes: pd.DataFrame, n_train: int) -> dict[int, float]:
    """Return the rate that the tuning seeds pick at each batch size."""
    if outcomes.empty:
        return {}
    table = pick_table(add_failures(outcomes), n_train, MIDDLE)
    return dict(zip(table.batch_size.tolist(), table.learning_rate.tolist(), strict=True))


def study_arms(trainings: Trainings) -> pd.DataFrame:
    """Return the arms of the study, at the rates picked by the tuning seeds."""
    rows, n = trainings.outcomes(), trainings.problem.n_train
    right, error = (picked(rows[rows.mistake == name], n) for name in (RIGHT, ERROR))
    return mistake_arms(right, error, bases(trainings.right.batch_sizes, n))


def report_right(trainings: Trainings) -> None:
    """Train the right update's reporting seeds, at each batch size's rate and at those kept."""
    planned = study_arms(trainings)
    rates = planned[planned.trained == RIGHT].groupby("batch_size").learning_rate.agg(set)
    trainings.right.run("right update", rates.to_dict(), trainings.right.reporting)


def report_mistakes(trainings: Trainings) -> None:
    """Train the mistakes' reporting seeds."""
    planned = study_arms(trainings)
    planned = planned[planned.trained != RIGHT]
    rates = planned.groupby(["trained", "batch_size"]).learning_rate.agg(set)
    seeds = trainings.right.reporting
    trainings.run(
        "mistakes",
        [
            one
            for (mistake, size), some in rates.items()
            for one in tasks(trainings.problem, mistake, size, seeds, some)
        ],
    )


def train_xor(trainings: Trainings) -> None:
    """Train XOR with averaged gradients and with averaged errors, each at its own best rate."""
    problem, seeds = trainings.xor, trainings.xor_seeds
    pairs = [(mistake, size) for mistake in (RIGHT, ERROR) for size in XOR_BATCH_SIZES]
    tuning, reporting = (of_role(seeds, role) for role in ("tune", "report"))
    search = [one for pair in pairs for one in tasks(problem, *pair, tuning, XOR_RATES)]
    trainings.run_xor("rates for XOR", search)
    best = trainings.xor_outcomes().groupby(["mistake", "batch_size"])[
        ["role", "learning_rate", "solved"]
    ]
    rates = {pair: xor_pick(best.get_group(pair)) for pair in pairs}
    trainings.run_xor(
        "XOR", [one for pair in pairs for one in tasks(problem, *pair, reporting, [rates[pair]])]
    )


def analyse(trainings: Trainings) -> Mistakes:
    """Return the evidence of what was trained."""
    problem, sizes = trainings.problem, trainings.right.batch_sizes
    planned, targets = study_arms(trainings), problem.targets or ()
    runs = by_mistake(trainings.outcomes())
    rows = summary(runs, planned, problem, targets)
    middle = rows[rows.target == targets[MIDDLE]]
    kept = bases(sizes, problem.n_train)
    right = planned[(planned.mistake == RIGHT) & (planned.batch_size == kept[-1])]
    base = Arm(kept[-1], float(right.learning_rate.iloc[0]))
    xor_rows = trainings.xor_outcomes()
    found = Mistakes(
        problem=problem,
        xor=trainings.xor,
        targets=targets,
        bases=kept,
        outcomes=runs,
        arms=planned,
        summary=rows,
        onsets=onsets(middle[middle.mistake == SUM]),
        directions=directions(problem, base, trainings.right.reporting, sizes),
        solved=xor_solved(xor_rows),
        xor_outcomes=xor_rows,
    )
    return replace(found, claims=mistake_claims(found))
