"""The study of studies: every problem that comes with the program, and a page that compares them.

Each problem is a study of its own in OUT/NAME; the comparison in OUT/all only reads their files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench import csv_files, report, view
from bench.analysis.across import Results
from bench.analysis.time_to_target import base_batch_size
from bench.errors import InputError, StoppedError
from bench.experiments.cluster import crew_to_be, serving
from bench.experiments.place import replacing, working
from bench.experiments.progress import Reporter, reporter
from bench.options import Options
from bench.problems import Problem
from bench.report import comparison
from bench.report.figures import across
from bench.study import Study, load, prepare
from bench.study import study as run_study

NAME = "all"
PROBLEMS = ("iris", "wine", "breast_cancer", "digits", "diabetes")
# What the comparison reads of them
TABLES = ("ratios", "rules", "tradeoff", "noise_average", "rate_growth", "sharpness")
OF_ONE_PROBLEM = ("target_loss",)


class Comparison(Study):
    """The comparison of finished studies, as its files tell it.

    `summary` and `claims` hold those of all problems, told apart by `problem`.

    Parameters
    ----------
    folder
        OUT/all.

    Raises
    ------
    InputError
        Where the folder holds no study.
    """

    figure_specs = across.FIGURES

    @cached_property
    def studies(self) -> dict[str, Study]:
        """The studies that are compared, by name.

        Raises
        ------
        InputError
            Where one of them is not there any more.
        """
        return {name: load(self.folder.parent / name) for name in self.record["problems"]}

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """A row per measure: the verdict, the effect and its interval on each problem."""
        return csv_files.read(self.folder / "verdicts.csv")

    @property
    def runs(self) -> pd.DataFrame:
        """There are none but those of the problems.

        Raises
        ------
        InputError
            Always: it names what to ask.
        """
        raise self._of_one_problem("runs")

    @property
    def networks(self) -> pd.DataFrame:
        """As `runs`."""
        raise self._of_one_problem("networks")

    @property
    def seconds(self) -> pd.DataFrame:
        """As `runs`."""
        raise self._of_one_problem("seconds")

    @property
    def problem(self) -> Problem:
        """As `runs`."""
        raise self._of_one_problem("problem")

    def _of_one_problem(self, what: str) -> InputError:
        """Return what to ask in place of the whole."""
        first = next(iter(self.record["problems"]))
        return InputError(f"{what} belongs to a problem: studies[{first!r}].{what}")


def study_all(
    *,
    progress: Reporter | None = None,
    finished: Callable[[Study], None] = lambda _: None,
    problems: Sequence[str] = PROBLEMS,
    **options: Any,
) -> Comparison:
    """Study one problem after the other, with all update rules, and compare them.

    A problem that fails is told, and does not lose the others.

    Parameters
    ----------
    progress
        Told how far it is; None for a bar or plain lines on standard error.
    finished
        Called with each study as it is done.
    problems
        Their names.
    **options
        Fields of `Options`, for every problem.

    Returns
    -------
    The comparison in OUT/all.

    Raises
    ------
    InputError
        For an option that makes no sense, or that belongs to one problem; nothing is written.
    RuntimeError
        Where every problem fails; the message is that of the first.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM; what was trained is kept.
    """
    progress = progress or reporter()
    settings = check(options, problems, progress)
    with working(Path(settings.out), NAME, progress.say):
        return studied(problems, settings, options, progress, finished)


def studied(
    problems: Sequence[str],
    settings: Options,
    options: dict[str, Any],
    progress: Reporter,
    finished: Callable[[Study], None],
) -> Comparison:
    """Study one problem after the other, and compare those that did not fail."""
    done: dict[str, Study] = {}
    failed: dict[str, str] = {}
    first: InputError | None = None
    with serving(settings.scheduler, settings.n_workers) as scheduler:
        options |= {"compare_rules": True, "scheduler": scheduler}
        for place, name in enumerate(problems, start=1):
            progress.say(f"Problem {place} of {len(problems)}: {name}.")
            try:
                done[name] = run_study(name, progress=progress, **options)
            except StoppedError:
                raise
            except Exception as error:
                first = first or (error if isinstance(error, InputError) else None)
                failed[name] = " ".join(f"{error}".split()) or type(error).__name__
                progress.say(f"{name} has failed, the others go on: {failed[name]}")
                continue
            finished(done[name])
    if not done:
        raise first or RuntimeError(next(iter(failed.values()), "no problem was named"))
    progress.say("Comparing the problems.")
    return compare(list(done.values()), failed, settings)


def check(options: Mapping[str, Any], problems: Sequence[str], progress: Reporter) -> Options:
    """Return the options, or refuse them before anything is trained.

    Raises
    ------
    InputError
        For options that make no sense, on any of the problems.
    """
    settings = Options.of(options).for_subject(own_table=False)
    for name in OF_ONE_PROBLEM:
        if getattr(settings, name) is not None:
            raise InputError(f"{name} is for one problem, and not for all: study one by its name")
    for name in problems:
        prepare(name, settings, progress)
    crew_to_be(settings.scheduler, settings.n_workers, progress)
    return settings


def results_of(study: Study) -> Results:
    """Return what a comparison reads of a study's files."""
    record = study.record
    n_train = int(record["problem"]["n_train"])
    paths = {name: study.folder / f"{name}.csv" for name in TABLES}
    return Results(
        name=record["study"],
        title=record["title"],
        n_train=n_train,
        base=base_batch_size(record["batch_sizes"], n_train),
        rule=record["options"]["rule"],
        recommended=record["recommended"],
        claims=study.claims,
        summary=study.summary,
        tables={name: csv_files.read(path) for name, path in paths.items() if path.exists()},
    )


def compare(studies: Sequence[Study], failed: Mapping[str, str], settings: Options) -> Comparison:
    """Write the files of the comparison; put them in place of an earlier one when all are there.

    Parameters
    ----------
    studies
        At least one.
    failed
        Why other problems have no study, by name.
    settings
        The options of the studies.
    """
    results = [results_of(study) for study in studies]
    out = Path(settings.out)
    record = comparison_record(studies, results, failed, settings)
    with replacing(out, NAME) as folder:
        write(folder, results, failed, record)
    report.index.write(out)
    return Comparison(out / NAME)


def write(
    folder: Path, results: Sequence[Results], failed: Mapping[str, str], record: Mapping[str, Any]
) -> None:
    """Write summary.csv, claims.json, the page with its figures, and study.json."""
    named = [one.summary.assign(problem=one.name) for one in results]
    summary = pd.concat(named, ignore_index=True)
    summary.insert(0, "problem", summary.pop("problem"))
    csv_files.write(summary, folder / "summary.csv")
    view.write_json(
        folder / "claims.json",
        [{"problem": one.name} | row for one in results for row in one.claims],
    )
    comparison.write(results, failed, folder, facts(record))
    view.write_json(folder / "study.json", record)


def comparison_record(
    studies: Sequence[Study],
    results: Sequence[Results],
    failed: Mapping[str, str],
    settings: Options,
) -> dict[str, Any]:
    """Return the content of study.json of the comparison."""
    ids = {study.record["study"]: study.record["id"] for study in studies}
    return {
        "study": NAME,
        "id": hashlib.sha256(json.dumps(ids).encode()).hexdigest(),
        "title": f"{len(studies)} problems compared",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": settings.command(NAME),
        "options": settings.stored(),
        "versions": view.versions(),
        "machine": view.machine(),
        "problems": ids,
        "failed": dict(failed),
        "answer": "\n".join(comparison.answer(results)),
        "blocks": [],  # they are the problems'
    }


def facts(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the page's Method says of how the comparison was made, by label."""
    return {
        "Command": record["command"],
        "Date": record["date"],
        "Versions": ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
        "Studies' ids": ", ".join(f"{name} {key[:12]}" for name, key in record["problems"].items()),
    }
