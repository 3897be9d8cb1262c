"""A study, from the question to the page: what is run, in which order, and what is written."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench import report, view
from bench.analysis.analyse import analyse
from bench.analysis.evidence import Evidence
from bench.errors import InputError
from bench.experiments.progress import Reporter, reporter
from bench.experiments.store import Store, unwritable, used_keys
from bench.experiments.store import prune as prune_blocks
from bench.options import Options, arms
from bench.problems import PROBLEMS, Problem, load_problem, with_options
from bench.report import figures
from bench.speed.seconds import measure_seconds
from bench.stages import Training, search, train_variants

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Options", "Study", "load", "prune", "study"]


def study(problem: str | Problem, *, progress: Reporter | None = None, **options: Any) -> Study:
    """Train a problem at many batch sizes, learning rates and seeds, and report what came out.

    Results of blocks of runs are kept in OUT/.blocks: what is there is used, so that an
    interrupted study goes on where it was, and more seeds train the new ones alone.

    Parameters
    ----------
    problem
        A name in `bench.problems.PROBLEMS`, or a problem.
    progress
        Told how far it is; None for a bar or plain lines on standard error.
    **options
        Fields of `Options`.

    Returns
    -------
    The study in OUT/NAME.

    Raises
    ------
    InputError
        For an unknown name or option, or a value that makes no sense.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM; what was trained is kept.
    """
    settings = Options.of(options)
    training = prepare(problem, settings, progress or reporter())

    search(training, settings.learning_rates)
    variants, counts = train_variants(training, settings.learning_rates)
    training.progress.say("Timing the programs that can train this network.")
    seconds = measure_seconds(training.problem)
    for program, reason in seconds.attrs.get("left_out", {}).items():
        training.tell(f"{program} is left out of the timings: {reason}.")
    evidence = analyse(
        training.problem,
        training.rule,
        training.outcomes(),
        seconds=seconds,
        blocks=training.results(),
        options=settings.stored(),
        variants=counts,
    )
    training.progress.say("Writing the report.")
    return publish(training, variants, evidence, settings)


def prepare(problem: str | Problem, settings: Options, progress: Reporter) -> Training:
    """Return the training of a study, none of it done."""
    known = load_problem(problem) if isinstance(problem, str) else problem
    subject = with_options(known, settings.hidden, settings.activation)
    return Training(
        problem=subject,
        rule=settings.rule,
        seeds=tuple(range(settings.seeds)),
        batch_sizes=arms(subject, settings.batch_sizes),
        store=Store(Path(settings.out)),
        workers=settings.n_workers,
        progress=progress,
    )


def publish(
    training: Training, variants: Mapping[str, Training], evidence: Evidence, settings: Options
) -> Study:
    """Write the study's files; put them, when all are there, in place of an earlier study's."""
    store, name = training.store, training.problem.name
    folder = store.new_view(name)
    try:
        view.write(folder, training, variants, evidence, settings)
        folder = store.publish(folder, name)
        report.index.write(store.out)
    except OSError as error:
        raise unwritable(store.out / name, error) from None
    return load(folder)


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
        self.record: dict[str, Any] = view.read_json(folder / "study.json")

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}: {self.record['title']})"

    def terminal_summary(self) -> str:
        """Return the answer in a few lines of plain text."""
        return str(self.record["answer"])

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row per run and evaluation."""
        return pd.read_parquet(self.folder / "runs.parquet")

    @cached_property
    def networks(self) -> pd.DataFrame:
        """A row per network and rate of a population study."""
        return pd.read_parquet(self.folder / "networks.parquet")

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row per arm and target; not reached is inf."""
        return pd.read_csv(self.folder / "summary.csv")

    @cached_property
    def seconds(self) -> pd.DataFrame:
        """Seconds per update of each program, a row per program and batch size."""
        return pd.read_csv(self.folder / "seconds.csv")

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
        if name not in PROBLEMS:
            raise InputError(f"{self.folder}: the data of {name!r} are not kept with the study")
        known = with_options(load_problem(name), options["hidden"], options["activation"])
        if known.content_hash() != self.record["inputs"]["problem"]:
            raise InputError(f"{self.folder}: the data of {name!r} have changed, run it again")
        return replace(known, targets=tuple(self.record["targets"]))

    def figure(self, name: str) -> Figure:
        """Draw a figure of the report again.

        Raises
        ------
        InputError
            For a name that is no figure of this study; the message lists them.
        """
        path = self.folder / "figures" / f"{name}.csv"
        if not path.exists():
            names = sorted(known.stem for known in path.parent.glob("*.csv"))
            raise InputError(f"unknown figure {name!r}: this study has {', '.join(names)}")
        data, spec = pd.read_csv(path), figures.FIGURES[name]
        with figures.draw.style(name):
            figure = spec.figure(data)
            figures.draw.write_title(figure, spec.title(data))
        return figure


def load(path: str | Path) -> Study:
    """Return the study in a folder, as `study` gave it.

    Raises
    ------
    InputError
        Where the folder holds no study.
    """
    return Study(Path(path))


def prune(out: str | Path = "results") -> int:
    """Delete the blocks that no study in the folder uses; return the number of files deleted.

    Raises
    ------
    InputError
        Where a study.json cannot be read: its blocks would be taken for unused.
    """
    return prune_blocks(Path(out), used_keys(Path(out)))


class _CallableModule(ModuleType):
    """`bench.study(...)` is this module's `study(...)`, however the module was imported."""

    def __call__(self, problem: str | Problem, **options: Any) -> Study:
        return study(problem, **options)


sys.modules[__name__].__class__ = _CallableModule
