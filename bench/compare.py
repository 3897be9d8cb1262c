"""The command `compare`: two revisions side by side, with tables and figure in OUT/compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.about import about, command_of
from bench.errors import InputError
from bench.experiments.place import replacing, working
from bench.experiments.progress import Reporter, reporter
from bench.report import compare as report
from bench.speed.compare.benchmarks import BENCHMARKS
from bench.speed.compare.comparison import Comparison, Plan, conditions, facts
from bench.speed.compare.measure import BASE, HEAD, Measured, compile_sides, learn, measure
from bench.speed.compare.sides import Side, side
from bench.stages import duration

NAME = "compare"


def compare(
    base: str,
    head: str | None = None,
    *,
    out: Path | str = "results",
    progress: Reporter | None = None,
    finished: Callable[[Comparison], None] = lambda _: None,
    **options: Any,
) -> tuple[Comparison, Path]:
    """Compare the kernels of two revisions: speed in turns, and whether both learn as well.

    Parameters
    ----------
    base, head
        Revisions that git knows, or "." for the working tree, which is the default of `head`.
    out
        Folder of results; what an earlier comparison put into `out`/compare/BASE..HEAD is replaced.
    progress
        Told how far it is; None for a bar or plain lines on standard error.
    finished
        Given the comparison before its files are written, which a full disk may prevent.
    **options
        Fields of `Plan`; None stands for its default.

    Returns
    -------
    The comparison, and its summary in Markdown.

    Raises
    ------
    InputError
        For a value that makes no sense, an unknown revision, a folder that cannot be written to,
        and where there is nothing that both sides can do.
    SideError
        Where a side fails: there is no verdict then.
    KeyboardInterrupt
        After Ctrl-C; nothing is written.
    """
    given = {"head": head, **options}
    plan = Plan(base, **{name: value for name, value in given.items() if value is not None})
    progress, out = progress or reporter(), Path(out)
    benchmarks = plan.benchmarks(list(BENCHMARKS))
    sides = {BASE: side(plan.base), HEAD: side(plan.head)}
    name = f"{NAME}/{sides[BASE].label}..{sides[HEAD].label}"
    with working(out, name, progress.say):
        progress.say(
            f"Timing takes {duration(plan.seconds)}; before it, kernels that were not compared yet "
            "are compiled, which takes a minute or two a side."
        )
        done = _compared(plan, sides, benchmarks, progress)
        finished(done)
        return done, publish(out, done)


def _compared(
    plan: Plan, sides: Mapping[str, Side], benchmarks: Sequence[str], progress: Reporter
) -> Comparison:
    """Compile, learn, measure."""
    measured = Measured()
    compile_sides(sides, benchmarks, measured, progress)
    gate = learn(sides, progress, accept_different=plan.accept_different)
    if len(measured.lacking) == len(benchmarks):
        raise InputError(
            f"none of the benchmarks runs on both sides ({plan.base}, {plan.head}): "
            f"{next(iter(measured.lacking.values()))[1]}"
        )
    before = conditions()
    measure(sides, benchmarks, measured, progress, budget=plan.seconds, tolerance=plan.tolerance)
    told = facts(before, conditions())
    return Comparison(plan, sides[BASE], sides[HEAD], measured, gate, told)


def publish(out: Path, comparison: Comparison) -> Path:
    """Write the comparison's files, put them at OUT/compare/BASE..HEAD, and return its summary."""
    name = f"{NAME}/{comparison.name}"
    command = command_of(NAME, comparison.plan, {}, positional=("base", "head"))
    with replacing(out, name) as folder:
        report.write(comparison, folder, about(command))
    return out / name / report.SUMMARY
