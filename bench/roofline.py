"""The command `roofline`: measure, and put page, figures and tables into OUT/roofline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import report
from bench.about import about, command_of
from bench.experiments.place import replacing, working
from bench.experiments.progress import Reporter, reporter
from bench.report import roofline as page
from bench.speed.roofline import NAME, Plan, Roofline, measure, programs
from bench.stages import duration


def roofline(
    out: Path | str = "results", progress: Reporter | None = None, **options: Any
) -> tuple[Roofline, Path]:
    """Measure the roofs of this core and what each way of training reaches of them.

    Parameters
    ----------
    out
        Folder of results; what an earlier call put into `out`/roofline is replaced.
    progress
        Told how far it is; None for a bar or plain lines on standard error.
    **options
        Fields of `Plan`; None stands for its default.

    Returns
    -------
    What was measured, and the page.

    Raises
    ------
    InputError
        For a value that makes no sense, and for a folder that cannot be written to.
    RuntimeError
        Where our own ways of training do not end at the same parameters.
    """
    plan = Plan(**{name: value for name, value in options.items() if value is not None})
    progress, out = progress or reporter(), Path(out)
    with working(out, NAME, progress.say):
        progress.say(f"Measuring takes about {duration(plan.seconds(programs()))}, on one core.")
        measured = measure(plan, progress)
        with replacing(out, NAME) as folder:
            page.write(measured, folder, about(command_of(NAME, plan, {})))
        report.index.write(out)
    return measured, out / NAME / "report.html"
