"""A study, from the question to the page: what is run, in which order, and what is written."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench import csv_files, memory, view
from bench.analysis.analyse import analyse
from bench.analysis.arms import OURS
from bench.analysis.evidence import Evidence
from bench.errors import InputError
from bench.experiments import Threads, plan
from bench.experiments.cluster import LOCAL, crew_to_be, hired
from bench.experiments.place import replacing, working
from bench.experiments.progress import Reporter, Silent, reporter
from bench.experiments.run import compile_kernels, run_block
from bench.experiments.store import Store
from bench.experiments.store import prune as prune_blocks
from bench.model import save_model, train_model
from bench.options import Options, arms
from bench.populations import Populations, train_variants
from bench.problems import PROBLEMS, Problem, load_problem, with_options
from bench.problems.table import TableOptions, describe, load_table
from bench.rounds import Clock, Rounds
from bench.speed.seconds import (
    GIVEN,
    complete,
    given_cost,
    installed,
    measure_powers,
    measure_seconds,
)
from bench.speed.warm_up import nothing_compiled, single_meanwhile
from bench.stages import (
    Training,
    cores,
    duration,
    find_targets,
    rules_work,
    search,
    train_other_rules,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.report.figures.spec import FigureSpec

# Examples after which a run on an own table ends, at the next whole epoch: a million rows are not
# looked at thirty times
EXAMPLES_BUDGET = 2**20
NEARBY = (1.25, 1.0, 0.8)  # times a given target loss: the three targets, descending
ALL = "all"  # the name of the study of all problems
MISTAKES = "mistakes"  # that of mistakes in averaging a batch

__all__ = ["Options", "Study", "load", "prune", "study"]


def study(
    problem: str | Path | pd.DataFrame | Problem,
    *,
    progress: Reporter | None = None,
    **options: Any,
) -> Study:
    """Train a problem at many batch sizes, learning rates and seeds, and report what came out.

    Results of blocks of runs are kept in OUT/.blocks: what is there is used, so that an
    interrupted study goes on where it was, and more seeds train the new ones alone.

    Parameters
    ----------
    problem
        A name in `bench.problems.PROBLEMS`, "all" (`bench.all_problems`), "mistakes"
        (`bench.mistakes`), a table (file or data frame), or a problem.
    progress
        Told how far it is; None for a bar or plain lines on standard error.
    **options
        Fields of `Options`, and of `bench.problems.table.TableOptions`.

    Returns
    -------
    The study in OUT/NAME.

    Raises
    ------
    InputError
        For an unknown name or option, or a value that makes no sense; where another process works
        on the same study, or something else lies in its folder.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM; what was trained is kept.
    """
    if isinstance(problem, str) and problem == ALL:
        from bench.all_problems import study_all  # which imports this module

        return study_all(progress=progress, **options)
    if isinstance(problem, str) and problem == MISTAKES:
        from bench.mistakes import study_mistakes  # which imports this module

        return study_mistakes(progress=progress, **options)
    settings = Options.of(options).for_subject(own_table=is_table(problem))
    clock = Clock(settings.budget_seconds)
    training = prepare(problem, settings, progress or reporter())
    with working(training.store.out, training.problem.name, training.progress.say):
        return studied(training, settings, clock)


def studied(training: Training, settings: Options, clock: Clock) -> Study:
    """Go through a study that is prepared, from timing to the page."""
    before = same_before(training, settings)
    n_rounds = settings.rounds or rounds_of(before)

    with hired(settings.scheduler, settings.n_workers, training.progress) as training.crew:
        clock.leave_out(compile_once(training))
        find_targets(training, settings.learning_rates or plan.coarse_rates(training.rule))
        seconds = timed_before(training, before, "seconds.csv")
        seconds = timed(training, settings.step_cost) if seconds is None else seconds
        clock.leave_out(seconds.attrs.get("start_seconds", {}).get(OURS, 0.0))
        powers = timed_powers(training, settings, before)
        done = train(training, settings, clock, n_rounds)
        populations = train_variants(training, settings.learning_rates)
    outcomes = [one.outcomes() for one in training.all_rules()]
    evidence = analyse(
        training.problem,
        training.rule,
        outcomes.pop() if len(outcomes) == 1 else pd.concat(outcomes, ignore_index=True),
        seconds=seconds,
        powers=powers,
        blocks=training.results(),
        options={**settings.stored(), **done},
        variants=populations.runs if populations else None,
        noise=done.get("rounds") == done.get("rounds_of"),
    )
    evidence = replace(evidence, warnings=(*training.warnings, *evidence.warnings))
    training.progress.say("Writing the report.")
    finished = publish(training, populations, evidence, settings)
    if settings.save_model is not None:
        save_model(train_model(evidence), Path(settings.save_model))
    return finished


def dry_run(problem: str | Path | pd.DataFrame | Problem, **options: Any) -> str:
    """Return what was understood of a problem, the plan, and how long it will take, as text.

    Parameters and errors are those of `study`; nothing is written.
    """
    if isinstance(problem, str) and problem == MISTAKES:
        from bench import mistakes  # which imports this module

        return mistakes.dry_run(**options)
    settings = Options.of(options).for_subject(own_table=is_table(problem))
    training = prepare(problem, settings, Silent())
    training.crew = crew_to_be(settings.scheduler, settings.n_workers, training.progress)
    subject, rates = training.problem, settings.learning_rates
    compile_kernels(subject, training.rule, training.batch_sizes, training.progress)
    probe = plan.pilot(subject, training.rule, rates or plan.coarse_rates(training.rule))[0]
    began = perf_counter()
    run_block(subject, probe)
    speed = training.crew.size * probe.work(subject) / (perf_counter() - began)
    rounds = Rounds(training, rates, settings.batch_sizes is not None)
    network = "-".join(map(str, subject.network.widths))
    budget = plan.budget_epochs(subject, training.batch_sizes[0])
    tried = "found for each batch size" if rates is None else ", ".join(f"{r:g}" for r in rates)
    lines = [
        *([describe(subject), ""] if subject.table else [subject.title, ""]),
        f"Network: {network}, {subject.network.activation}; update rule: {training.rule}",
        f"Batch sizes: {', '.join(map(str, training.batch_sizes))}",
        f"Learning rates: {tried}",
        f"Seeds: {len(training.seeds)}; passes over the data in a run: {budget} or more",
        *training.warnings,
        f"A first answer takes about {duration(rounds.first_work() / speed)} of training on "
        f"{cores(training)}, a complete study {duration(rounds.complete_work() / speed)}.",
    ]
    if settings.compare_rules:
        more = duration(rules_work(training, rates) / speed)
        lines.append(f"The other update rules take about {more} more.")
    if settings.budget_seconds is not None:
        lines.append(
            f"Budget: {duration(settings.budget_seconds)}; rounds that do not fit are left out."
        )
    return "\n".join(lines)


def compile_once(training: Training) -> float:
    """Compile what training and timing need; return the seconds that it took."""
    began = perf_counter()
    with single_meanwhile("training") if nothing_compiled() else nullcontext():
        sizes = training.batch_sizes
        compile_kernels(training.problem, training.rule, sizes, training.progress)
    return perf_counter() - began


def is_table(problem: object) -> bool:
    """Whether a table is meant: a data frame, a path, or text that is the path of a file."""
    if not isinstance(problem, str):
        return isinstance(problem, pd.DataFrame | Path)
    return problem not in PROBLEMS and (Path(problem).suffix != "" or Path(problem).exists())


def prepare(
    problem: str | Path | pd.DataFrame | Problem, settings: Options, progress: Reporter
) -> Training:
    """Return the training of a study, none of it done."""
    subject = subject_of(problem, settings)
    sizes = arms(subject, settings.batch_sizes)
    memory.check(
        subject, settings.n_seeds(subject), len(sizes), len(settings.learning_rates or ()),
        settings.n_workers if settings.scheduler in (None, LOCAL) else 1,
    )  # fmt: skip
    if settings.compare_rules and subject.population is not None:
        raise InputError("compare_rules is for problems of data, and not for populations of XOR")
    training = Training(
        problem=subject,
        rule=settings.rule,
        seeds=settings.seeds_of(subject),
        batch_sizes=sizes,
        store=Store(Path(settings.out)),
        crew=Threads(settings.n_workers),
        progress=progress,
    )
    if settings.batch_sizes is None and subject.n_train not in sizes:
        training.warnings.append(
            f"Batch sizes above {sizes[-1]:,}, full batch among them, are left out: 100 updates of "
            f"theirs are more than the {subject.examples_budget:,} examples that a run may see. "
            "--batch-sizes tries what it names."
        )
    return training


def subject_of(problem: str | Path | pd.DataFrame | Problem, settings: Options) -> Problem:
    """Return what is studied, with the options that change it.

    Raises
    ------
    InputError
        For what cannot be read or does not exist, and for a target that a guess meets.
    """
    if isinstance(problem, Problem):
        known = problem
    elif is_table(problem):
        known = load_table(problem, settings.table or TableOptions())
        known = replace(known, examples_budget=EXAMPLES_BUDGET)
    else:
        known = load_problem(str(problem))
    subject = with_options(known, settings.hidden, settings.activation)
    loss, guess = settings.target_loss, subject.constant_loss()
    if loss is None:
        return subject
    if loss * NEARBY[0] >= guess:
        raise InputError(
            f"target_loss: {loss:g} is too near to {guess:.3g}, the training loss of always "
            f"guessing the same: give less than {guess / NEARBY[0]:.3g}"
        )
    return replace(subject, targets=tuple(loss * factor for factor in NEARBY))


def timed(training: Training, step_cost: Sequence[float] | None) -> pd.DataFrame:
    """Return the seconds per update of the programs here, and of the user's own."""
    training.progress.say("Timing the programs that can train this network.")
    seconds = measure_seconds(training.problem)
    tell_left_out(training, seconds)
    if step_cost is None:
        return seconds
    given = given_cost(training.problem, *step_cost)
    both = pd.concat([seconds, given], ignore_index=True)
    both.attrs = seconds.attrs
    return both


def timed_powers(
    training: Training, settings: Options, before: Mapping[str, Any] | None
) -> pd.DataFrame:
    """Return the seconds per sample at powers of two and beside them; nothing where time is short.

    That is within a budget or a number of rounds; in a fixed plan, and of populations, nobody asks.
    """
    limited = settings.budget_seconds is not None or settings.rounds is not None
    if limited or settings.fixed or training.problem.population is not None:
        return pd.DataFrame()
    powers = timed_before(training, before, "powers.csv")
    if powers is None:
        training.progress.say("Timing the programs at powers of two and beside them.")
        powers = measure_powers(training.problem)
        tell_left_out(training, powers)
    return powers


def tell_left_out(training: Training, timings: pd.DataFrame) -> None:
    """Tell which programs were not timed, and why."""
    for program, reason in timings.attrs.get("left_out", {}).items():
        training.tell(f"{program} is left out of the timings: {reason}.")


def train(
    training: Training, settings: Options, clock: Clock, n_rounds: int | None
) -> dict[str, Any]:
    """Train all that there is to train, or as many rounds as the budget or the user allows.

    Returns
    -------
    What became of the rounds, by the names of `Evidence.options`; nothing for a complete study.
    """
    if settings.fixed or (clock.budget is None and n_rounds is None):
        search(training, settings.learning_rates)
        if settings.compare_rules:
            train_other_rules(training, settings.learning_rates)
        return {}
    rounds = Rounds(
        training, settings.learning_rates, settings.batch_sizes is not None, settings.compare_rules
    )
    done = rounds.run(clock, n_rounds)
    training.warnings += filter(None, [rounds.left_behind() if done < len(rounds.all) else ""])
    return {"rounds": done, "rounds_of": len(rounds.all)}


def same_before(training: Training, settings: Options) -> dict[str, Any] | None:
    """Return the record of the same study in its folder, if it is there: it is to be repeated.

    What is damaged, or of a version that wrote something else, counts as not there.
    """
    try:
        record = view.read_record(training.store.out / training.problem.name)
    except InputError:
        return None
    same = record["options"] == view.as_json(settings.stored())
    return record if same and record.get("inputs") == view.inputs(training.problem) else None


def rounds_of(before: Mapping[str, Any] | None) -> int | None:
    """Return how many rounds a study went through; None for a complete one, or for none."""
    rounds = (before or {}).get("rounds")
    done = rounds.get("done") if isinstance(rounds, dict) else None
    return done if isinstance(done, int) and done >= 1 else None


def timed_before(
    training: Training, before: Mapping[str, Any] | None, file: str
) -> pd.DataFrame | None:
    """Return the timings that the same study measured on this machine, of the programs here.

    The same command is to give the same answer: measured again they would differ a little.
    """
    if before is None or before.get("machine") != view.as_json(view.machine()):
        return None
    path = training.store.out / training.problem.name / file
    if before.get("versions") != view.versions() or not path.is_file():
        return None
    try:
        timings = csv_files.read(path)
    except (OSError, ValueError):  # pandas' own errors are ValueErrors
        return None
    whole = complete(timings, training.problem)
    return timings if whole and set(timings.program) - {GIVEN} == {OURS, *installed(None)} else None


def publish(
    training: Training, populations: Populations | None, evidence: Evidence, settings: Options
) -> Study:
    """Write the study's files; put them, when all are there, in place of an earlier study's."""
    from bench import report  # which imports Matplotlib

    out, name = training.store.out, training.problem.name
    with replacing(out, name) as folder:
        view.write(folder, training, populations, evidence, settings)
    report.index.write(out)
    done = load(out / name)
    done.__dict__["problem"] = training.problem  # that of a data frame is not kept in files
    return done


class Study:
    """A finished study, as its files tell it.

    Parameters
    ----------
    folder
        OUT/NAME.

    Attributes
    ----------
    record
        The content of study.json.

    Raises
    ------
    InputError
        Where the folder holds no study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = view.read_record(folder)

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}: {self.record['title']})"

    def terminal_summary(self) -> str:
        """Return the answer in a few lines of plain text."""
        return str(self.record["answer"])

    @property
    def figure_specs(self) -> Mapping[str, FigureSpec]:
        """The figures that there may be, by name."""
        from bench.report import figures  # which imports Matplotlib

        return figures.FIGURES

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row per run and evaluation."""
        return view.read_table(self.folder / "runs.parquet")

    @cached_property
    def networks(self) -> pd.DataFrame:
        """A row per network and rate of a population study, of variants at their best rates."""
        return view.read_table(self.folder / "networks.parquet")

    @cached_property
    def counts(self) -> pd.DataFrame:
        """A row per variant, batch size, rate and block: networks that learned, and why not."""
        return view.read_table(self.folder / "counts.parquet")

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row per arm and target; not reached is inf."""
        return view.read_table(self.folder / "summary.csv")

    @cached_property
    def seconds(self) -> pd.DataFrame:
        """Seconds per update of each program, a row per program and batch size."""
        return view.read_table(self.folder / "seconds.csv")

    @cached_property
    def claims(self) -> list[dict[str, Any]]:
        """The verdicts, a dict each."""
        claims: list[dict[str, Any]] = view.read_json(self.folder / "claims.json")
        return claims

    @cached_property
    def problem(self) -> Problem:
        """What was learned: data, split, network.

        Raises
        ------
        InputError
            Where the data are not those of the study any more.
        """
        name, options = self.record["study"], self.record["options"]
        source = self.record.get("source") or name
        if name not in PROBLEMS and not is_table(source):
            raise InputError(f"{self.folder}: the data of {name!r} are not kept with the study")
        given = {k: v for k, v in options.items() if v is not None}
        table = given.pop("table", {})
        known = subject_of(source, Options.of(given | table))
        return self._unchanged(known)

    def _unchanged(self, known: Problem) -> Problem:
        """Return the data with the targets of the study, if they are still the study's."""
        inputs, targets = self.record.get("inputs"), self.record.get("targets")
        same = isinstance(inputs, dict) and inputs.get("problem") == known.content_hash()
        if not same or not isinstance(targets, list):
            raise InputError(
                f"{self.folder}: the data of {known.name!r} have changed, run it again"
            )
        return replace(known, targets=tuple(targets))

    def figure(self, name: str) -> Figure:
        """Draw a figure of the report again.

        Raises
        ------
        InputError
            For a name that is no figure of this study; the message lists them.
        """
        from bench.report.figures import draw  # which imports Matplotlib

        path = self.folder / "figures" / f"{name}.csv"
        if not path.exists() or name not in self.figure_specs:
            there = {known.stem for known in path.parent.glob("*.csv")}
            names = ", ".join(sorted(there & set(self.figure_specs)))
            raise InputError(f"unknown figure {name!r}: this study has {names}")
        data, spec = view.read_table(path), self.figure_specs[name]
        with draw.style(name):
            figure = spec.figure(data)
            draw.write_title(figure, spec.title(data))
        return figure


def load(path: str | Path) -> Study:
    """Return the study in a folder, as `study` gave it.

    Raises
    ------
    InputError
        Where the folder holds no study.
    """
    done = Study(Path(path))
    if done.record["study"] == ALL:
        from bench.all_problems import Comparison  # which imports this module

        return Comparison(done.folder)
    if done.record["study"] == MISTAKES:
        from bench.mistakes import MistakesStudy  # which imports this module

        return MistakesStudy(done.folder)
    return done


def prune(out: str | Path = "results") -> int:
    """Delete the blocks that no study in the folder uses; return the number of files deleted.

    Raises
    ------
    InputError
        Where a study is at work, and where a study.json cannot be read: its blocks would be taken
        for unused.
    """
    return prune_blocks(Path(out))


class _CallableModule(ModuleType):
    """`bench.study(...)` is this module's `study(...)`, however the module was imported."""

    def __call__(self, problem: str | Path | pd.DataFrame | Problem, **options: Any) -> Study:
        return study(problem, **options)


sys.modules[__name__].__class__ = _CallableModule
