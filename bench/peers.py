"""The command `peers`: programs side by side, with page, figures and tables in OUT/peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import report
from bench.about import about, command_of
from bench.experiments.place import replacing, working
from bench.experiments.progress import Reporter, reporter
from bench.report import peers as page
from bench.report import words
from bench.speed.side_by_side import Measured, Plan, check_own, measure, settings
from bench.speed.subject import Subject
from bench.stages import duration

OPTIONS = {"cases": "--case", "own": "--peer"}  # given once for each value


def peers(
    out: Path | str = "results", progress: Reporter | None = None, **options: Any
) -> tuple[Measured, Path]:
    """Time the same training in batchbench and in all other programs that are installed.

    Parameters
    ----------
    out
        Folder of results; what an earlier call put into `out`/peers is replaced.
    progress
        Told how far it is; None for a bar or plain lines on standard error.
    **options
        Fields of `bench.speed.side_by_side.Plan`; None stands for its default.

    Returns
    -------
    What was measured, and the page.

    Raises
    ------
    InputError
        For a value that makes no sense, a user's file that fails, and a folder that cannot be
        written to.
    RuntimeError
        Where our own engine fails.
    KeyboardInterrupt
        After Ctrl-C; what was measured until then is written.
    """
    plan = Plan(**{name: value for name, value in options.items() if value is not None})
    progress, out = progress or reporter(), Path(out)
    subjects = plan.subjects()
    plan.cells(subjects)  # refused before anything is written
    with working(out, page.NAME, progress.say):
        return measured_and_written(out, plan, subjects, progress)


def measured_and_written(
    out: Path, plan: Plan, subjects: dict[str, Subject], progress: Reporter
) -> tuple[Measured, Path]:
    """Measure, and write what was measured, all of it or what there is at a Ctrl-C."""
    measured = Measured()
    check_own(plan, subjects, measured)
    n_cells = len(plan.cells(subjects))
    foreseen = sum(plan.foreseen(cores, n_cells) for cores in settings())
    progress.say(
        f"Timing {words.join(plan.all_programs())} takes about {duration(foreseen)}, on one core "
        f"{'and on all' if len(settings()) > 1 else '(no other may be used here)'}."
    )
    try:
        measure(plan, subjects, measured, progress)
    except KeyboardInterrupt:
        if measured.rounds:
            progress.say(f"What was measured is in {publish(out, plan, measured)}")
        raise
    return measured, publish(out, plan, measured)


def publish(out: Path, plan: Plan, measured: Measured) -> Path:
    """Write what was measured, put it at OUT/peers, and return the page."""
    told = measured.about.items()
    programs = {program: t["version"] for (_, program), t in told if t["version"]}
    description = about(command_of(page.NAME, plan, OPTIONS), programs)
    with replacing(out, page.NAME) as folder:
        page.write(measured, folder, description)
    report.index.write(out)
    return out / page.NAME / "report.html"
