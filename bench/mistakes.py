"""The study of mistakes in averaging a batch: what is trained, in which order, what is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import kernels
from bench import block_list, csv_files, memory, report, view
from bench.analysis.arms import Arm
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
from bench.experiments import BlockResult, Threads, plan, run_block
from bench.experiments.cluster import crew_to_be, hired
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
from bench.experiments.place import replacing, working
from bench.experiments.progress import Reporter, Silent, reporter
from bench.experiments.run import compile_kernels
from bench.experiments.store import Store
from bench.options import Options, arms
from bench.problems import Problem, load_problem
from bench.report import mistakes as page
from bench.report.figures import mistakes as figures
from bench.stages import Training, cores, duration, find_targets, widen
from bench.study import Study

NAME = "mistakes"
# One sigmoid output, as in the notes: an error is one number y_hat - y. And 455 samples, so that
# averaged errors, which NumPy must train, get as wide a search of rates as averaged gradients
SUBJECT = "breast_cancer"
XOR_BATCH_SIZES = (2, 4)  # at 1 nothing is averaged
XOR_PAIRS = tuple((mistake, size) for mistake in (RIGHT, ERROR) for size in XOR_BATCH_SIZES)
XOR_RATES = (0.125, 0.25, 0.5, 1.0)
XOR_SEEDS = 8  # times as many as of the data: 2-2-1 networks learn XOR seldom
# Runs of a task, at most, and parameters of all of them: 1 MiB, near to the processor
RUNS, PARAMETERS = 256, 2**17
PROBED = 200  # updates by which the time that training takes is foreseen
FEW_SEEDS = 6  # fewer bound a median on neither side
OPTIONS = ("seeds", "batch_sizes", "workers", "scheduler", "out")

Done = list[tuple[Task, Trained]]
Pair = tuple[str, int]

TEXT, WHOLE, NUMBER = pa.string(), pa.int64(), pa.float64()
RUNS_SCHEMA = pa.schema(
    [
        ("problem", TEXT),
        ("mistake", TEXT),
        ("batch_size", WHOLE),
        ("learning_rate", NUMBER),
        ("seed", WHOLE),
        ("role", TEXT),
        ("examples", WHOLE),
        ("updates", WHOLE),
        ("loss", NUMBER),
        ("accuracy", NUMBER),
        ("diverged", pa.bool_()),
        ("block", block_list.KEY),
    ]
)


@dataclass
class Trainings:
    """What the study trains: the right update by the kernels, mistakes and XOR by NumPy.

    Parameters
    ----------
    right
        The right update of the data; its store, crew and progress serve all.
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
        trained = run_tasks(problem, tasks, right.store, right.crew, right.progress, name)
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
        For an option that it does not take, for batch sizes at which nothing is averaged, and for
        what `Options` refuses.
    """
    settings = Options.of(options)
    others = [name for name, value in options.items() if value is not None and name not in OPTIONS]
    if others:
        raise InputError(
            f"{others[0]} is no option of the study {NAME}, which takes {', '.join(OPTIONS)}"
        )
    if settings.batch_sizes is not None and set(settings.batch_sizes) == {1}:
        raise InputError("batch_sizes: at 1 nothing is averaged, give a larger one as well")
    return settings


def prepare(settings: Options, progress: Reporter) -> Trainings:
    """Return the trainings of the study, none of it done."""
    subject = load_problem(SUBJECT)
    sizes = arms(subject, settings.batch_sizes)
    n_seeds = XOR_SEEDS * settings.n_seeds(subject)
    memory.check(subject, n_seeds, len(sizes), 0, settings.n_workers)
    right = Training(
        problem=subject,
        rule="sgd",
        seeds=settings.seeds_of(subject),
        batch_sizes=sizes,
        store=Store(Path(settings.out)),
        crew=Threads(settings.n_workers),
        progress=progress,
    )
    xor = replace(load_problem("notes"), population=None)
    return Trainings(right, xor, tuple(range(XOR_SEEDS * len(right.seeds))))


def train(trainings: Trainings) -> None:
    """Train everything: a search of rates on the tuning seeds, then the reporting ones."""
    right = trainings.right
    rates = plan.coarse_rates(right.rule)
    find_targets(right, rates)
    tuning = plan.of_role(right.seeds, "tune")
    right.run("coarse rates", dict.fromkeys(right.batch_sizes, rates), tuning)
    widen(right, right.batch_sizes, tuning)
    trainings.run("rates for averaged errors", error_search(trainings))
    report_right(trainings)
    report_mistakes(trainings)
    train_xor(trainings)


def error_search(trainings: Trainings) -> list[Task]:
    """Return the tasks that search the rates for averaged errors."""
    right, rates = trainings.right, plan.coarse_rates(trainings.right.rule)
    tuning = plan.of_role(right.seeds, "tune")
    averaged = [size for size in right.batch_sizes if size > 1]
    return [one for size in averaged for one in tasks(right.problem, ERROR, size, tuning, rates)]


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
    each = max(1, min(RUNS, PARAMETERS // problem.network.n_params) // len(rates))
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


def xor_tasks(trainings: Trainings, rates: Mapping[Pair, Iterable[float]], role: str) -> list[Task]:
    """Return the tasks that train XOR's seeds of a role at these rates."""
    seeds = plan.of_role(trainings.xor_seeds, role)
    return [one for pair, some in rates.items() for one in tasks(trainings.xor, *pair, seeds, some)]


def train_xor(trainings: Trainings) -> None:
    """Train XOR with averaged gradients and with averaged errors, each at its own best rate."""
    trainings.run_xor(
        "rates for XOR", xor_tasks(trainings, dict.fromkeys(XOR_PAIRS, XOR_RATES), "tune")
    )
    runs = trainings.xor_outcomes()
    best = {
        pair: [xor_pick(runs[(runs.mistake == pair[0]) & (runs.batch_size == pair[1])])]
        for pair in XOR_PAIRS
    }
    trainings.run_xor("XOR", xor_tasks(trainings, best, "report"))


def analyse(trainings: Trainings) -> Mistakes:
    """Return the evidence of what was trained."""
    problem, sizes = trainings.problem, trainings.right.batch_sizes
    planned, targets = study_arms(trainings), problem.targets or ()
    runs = by_mistake(trainings.outcomes())
    rows = summary(runs, planned, problem, targets)
    summed = rows[(rows.mistake == SUM) & (rows.target == targets[MIDDLE])]
    kept = bases(sizes, problem.n_train)
    right = planned[(planned.mistake == RIGHT) & (planned.batch_size == kept[-1])]
    base = Arm(kept[-1], float(right.learning_rate.iloc[0]))
    with threadpool_limits(1):  # its last bits do not depend on the number of cores
        turned = directions(problem, base, trainings.right.reporting, sizes)
    xor_rows = trainings.xor_outcomes()
    found = Mistakes(
        problem=problem,
        xor=trainings.xor,
        targets=targets,
        bases=kept,
        outcomes=runs,
        arms=planned,
        summary=rows,
        onsets=onsets(summed),
        directions=turned,
        solved=xor_solved(xor_rows),
        xor_outcomes=xor_rows,
        warnings=(*trainings.right.warnings, *trainings.right.store.warnings, *told(trainings)),
    )
    return replace(found, claims=mistake_claims(found))


def told(trainings: Trainings) -> list[str]:
    """Return what the reader must know beforehand."""
    n = len(trainings.right.reporting)
    found = []
    if n < FEW_SEEDS:
        found.append(
            f"With {n} reporting seeds a median has no 95% interval: most verdicts are undecided."
        )
    rows = trainings.outcomes()
    picks = pick_table(add_failures(rows[rows.mistake == ERROR]), trainings.problem.n_train, MIDDLE)
    short = picks[picks.at_edge & np.isfinite(picks.median_examples)].batch_size.tolist()
    if short:
        found.append(
            "The best rate for averaged errors lies at the edge of those tried at batch size "
            f"{', '.join(map(str, short))}: a better one may lie beyond."
        )
    return found


def seconds_needed(trainings: Trainings) -> float:
    """Predict the seconds that all of the training takes, from the speed of small parts of it.

    What is stored already is not looked for.
    """
    right, rates = trainings.right, plan.coarse_rates(trainings.right.rule)
    block = plan.pilot(right.problem, right.rule, rates)[0]
    began = perf_counter()
    run_block(right.problem, block)
    cost = (perf_counter() - began) / block.work(right.problem)
    # The few rates of a reporting seed fill a block as 16 of a tuning seed do
    blocks = right.grid(dict.fromkeys(right.batch_sizes, rates), right.seeds)
    seconds = cost * sum(one.work(right.problem) for one in blocks)
    for problem, planned in (
        (right.problem, error_search(trainings) + foreseen(trainings)),
        (
            trainings.xor,
            xor_tasks(trainings, dict.fromkeys(XOR_PAIRS, XOR_RATES), "tune")
            + xor_tasks(trainings, dict.fromkeys(XOR_PAIRS, XOR_RATES[:1]), "report"),
        ),
    ):
        epochs = -(-PROBED // plan.updates_per_epoch(problem.n_train, planned[0].batch_size))
        few = replace(planned[0], epochs=epochs, checkpoints=(0, epochs * problem.n_train))
        began = perf_counter()
        train_task(problem, few)
        cost = (perf_counter() - began) / few.work(problem)
        seconds += cost * sum(task.work(problem) for task in planned)
    return seconds / right.crew.size


def foreseen(trainings: Trainings) -> list[Task]:
    """Return tasks as many and as long as those of the reporting seeds, before rates are known."""
    right, rates = trainings.right, plan.coarse_rates(trainings.right.rule)
    return [
        one
        for mistake, n_rates in ((SUM, 2), (ERROR, 2), (MEANS, 1), (LEFTOVER, 1))
        for size in right.batch_sizes
        if size > 1
        for one in tasks(right.problem, mistake, size, right.reporting, rates[:n_rates])
    ]


def study_mistakes(*, progress: Reporter | None = None, **options: Any) -> MistakesStudy:
    """Train the mistakes beside the right update, and report what came out.

    Parameters
    ----------
    progress
        Told how far it is; None for a bar or plain lines on standard error.
    **options
        `seeds`, `batch_sizes`, `workers`, `scheduler` and `out` of `Options`.

    Returns
    -------
    The study in OUT/mistakes.

    Raises
    ------
    InputError
        For another option, or a value that makes no sense.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM; what was trained is kept.
    """
    settings = checked(options)
    trainings = prepare(settings, progress or reporter())
    right = trainings.right
    with working(right.store.out, NAME, right.progress.say):
        return studied(trainings, settings)


def studied(trainings: Trainings, settings: Options) -> MistakesStudy:
    """Go through a study that is prepared, from training to the page."""
    right = trainings.right
    compile_kernels(right.problem, right.rule, right.batch_sizes, right.progress)
    with hired(settings.scheduler, settings.n_workers, right.progress) as right.crew:
        seconds = duration(seconds_needed(trainings))
        right.progress.say(f"Training takes about {seconds} on {cores(right)}, if none is done.")
        train(trainings)
    mistakes = analyse(trainings)
    right.progress.say("Writing the report.")
    return publish(trainings, mistakes, settings)


def dry_run(**options: Any) -> str:
    """Return the plan and how long it takes, as text; parameters and errors of `study_mistakes`."""
    settings = checked(options)
    trainings = prepare(settings, Silent())
    right, xor = trainings.right, trainings.xor
    right.crew = crew_to_be(settings.scheduler, settings.n_workers, right.progress)
    compile_kernels(right.problem, right.rule, right.batch_sizes, right.progress)
    seconds = duration(seconds_needed(trainings))
    sizes = ", ".join(map(str, right.batch_sizes))
    return "\n".join(
        [
            page.SUBJECT,
            "",
            f"Data: {right.problem.title}; batch sizes: {sizes}; seeds: {len(right.seeds)}",
            f"{xor.title}; batch sizes: {', '.join(map(str, XOR_BATCH_SIZES))}; networks: "
            f"{len(trainings.xor_seeds)}",
            f"It takes about {seconds} of training on {cores(right)}.",
        ]
    )


def publish(trainings: Trainings, mistakes: Mistakes, settings: Options) -> MistakesStudy:
    """Write the study's files; put them, when all are there, in place of an earlier study's."""
    out = trainings.right.store.out
    record = study_record(trainings, mistakes, settings)
    tasks = [(trainings.problem, task) for task, _ in trainings.done]
    tasks += [(trainings.xor, task) for task, _ in trainings.xor_done]
    with replacing(out, NAME) as folder:
        digest = block_list.write(folder, block_list.task_rows(trainings.right, tasks))
        record["blocks_sha256"] = digest
        footer = {"study": record["id"]}
        view.write_parquet(folder / "runs.parquet", RUNS_SCHEMA, run_tables(trainings), footer)
        csv_files.write(summary_table(mistakes), folder / "summary.csv")
        view.write_json(folder / "claims.json", mistakes.claims)
        page.write(mistakes, folder, view.facts(record))
        view.write_json(folder / "study.json", record)
    report.index.write(out)
    return MistakesStudy(out / NAME)


def study_record(trainings: Trainings, mistakes: Mistakes, settings: Options) -> dict[str, Any]:
    """Return the content of study.json: everything needed to run the study again."""
    right, problem = trainings.right, trainings.problem
    keys = [block.key(problem) for block in (*right.pilot, *right.blocks)]
    keys += [task.key(problem) for task, _ in trainings.done]
    keys += [task.key(trainings.xor) for task, _ in trainings.xor_done]
    inputs = view.inputs(problem)
    identity = json.dumps([NAME, inputs, settings.stored(), keys])
    return {
        "study": NAME,
        "id": hashlib.sha256(identity.encode()).hexdigest(),
        "title": page.SUBJECT,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": settings.command(NAME),
        "options": settings.stored(),
        "problem": {"name": problem.name, "n_train": problem.n_train, "xor": trainings.xor.title},
        "inputs": inputs,
        "versions": view.versions(),
        "machine": view.machine(),
        "seeds": right.seeds,
        "xor_seeds": len(trainings.xor_seeds),
        "targets": mistakes.targets,
        "batch_sizes": right.batch_sizes,
        "arms": mistakes.arms.to_dict("records"),
        "stages": right.stages,
        "told": [*right.told, *mistakes.warnings],
        "answer": page.terminal_summary(mistakes),
        "blocks": keys,
    }


def summary_table(mistakes: Mistakes) -> pd.DataFrame:
    """Return the rows of summary.csv: of the data by target, then of XOR."""
    solved = mistakes.solved.assign(problem=mistakes.xor.name, protocol="tuned")
    return pd.concat([mistakes.summary, solved], ignore_index=True)


def run_tables(trainings: Trainings) -> Iterator[pa.Table]:
    """Yield the rows of runs.parquet: a row per run and evaluation, the right update first."""
    problem = trainings.problem
    for block, result in trainings.right.results():
        seeds, points = (block.seed,), tuple(result.examples.tolist())
        task = Task(RIGHT, block.batch_size, seeds, block.learning_rates, block.epochs, points)
        key = block.key(problem)
        yield run_rows(problem, task, key, result, diverged_runs(problem, result))
    for subject, done in ((problem, trainings.done), (trainings.xor, trainings.xor_done)):
        for task, trained in done:
            yield run_rows(subject, task, task.key(subject), trained, trained.diverged)


def run_rows(
    problem: Problem,
    task: Task,
    key: str,
    result: BlockResult | Trained,
    diverged: NDArray[np.bool_],
) -> pa.Table:
    """Return the rows of a task's runs, (seeds, rates); `diverged` is what befell each.

    `key` is that of the file which holds them.
    """
    n_runs, n_points = diverged.size, len(result.examples)
    seeds = np.repeat(task.seeds, len(task.learning_rates))

    def per_run(values: Any) -> Any:
        return np.repeat(np.asarray(values), n_points)

    columns = {
        "problem": per_run([problem.name] * n_runs),
        "mistake": per_run([task.mistake] * n_runs),
        "batch_size": per_run([task.batch_size] * n_runs),
        "learning_rate": per_run(np.tile(task.learning_rates, len(task.seeds))),
        "seed": per_run(seeds),
        "role": per_run([plan.role(int(seed)) for seed in seeds]),
        "examples": np.tile(result.examples, n_runs),
        "updates": np.tile(result.updates, n_runs),
        "loss": result.loss.ravel(),
        "accuracy": result.score.ravel(),
        "diverged": per_run(diverged.ravel()),
        "block": block_list.repeated(key, n_runs * n_points),
    }
    return pa.Table.from_pydict(columns, schema=RUNS_SCHEMA)


class MistakesStudy(Study):
    """A finished study of mistakes, as its files tell it.

    Parameters
    ----------
    folder
        OUT/mistakes.

    Raises
    ------
    InputError
        Where the folder holds no study.
    """

    figure_specs = figures.FIGURES

    @cached_property
    def problem(self) -> Problem:
        """The data on which mistakes are made; XOR is `load_problem("notes")`.

        Raises
        ------
        InputError
            Where the data are not those of the study any more.
        """
        return self._unchanged(load_problem(SUBJECT))
