"""The command `compare`: two revisions side by side, with tables and figure in OUT/compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.about import about, command_of
from bench.compare.benchmarks import BENCHMARKS
from bench.compare.comparison import Comparison, Plan, conditions, facts
from bench.compare.measure import BASE, HEAD, Measured, compile_sides, learn, measure
from bench.compare.sides import side
from bench.experiments.progress import Reporter, reporter
from bench.experiments.store import Store, unwritable
from bench.report import compare as report
from bench.stages import duration

NAME = "compare"


def compare(
    base: str,
    head: str | None = None,
    *,
    out: Path | str = "results",
    progress: Reporter | None = None,
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
    **options
        Fields of `Plan`; None stands for its default.

    Returns
    -------
    The comparison, and its summary in Markdown.

    Raises
    ------
    InputError
        For a value that makes no sense, an unknown revision, and a folder that cannot be written
        to.
    SideError
        Where a side fails: there is no verdict then.
    KeyboardInterrupt
        After Ctrl-C; nothing is written.
    """
    given = {"head": head, **options}
    plan = Plan(base, **{name: value for name, value in given.items() if value is not None})
    progress, store, measured = progress or reporter(), Store(Path(out)), Measured()
    benchmarks = plan.benchmarks(list(BENCHMARKS))
    sides = {BASE: side(plan.base), HEAD: side(plan.head)}
    folder = store.new_view(NAME)
    progress.say(
        f"Timing takes {duration(plan.seconds)}; before it, kernels that were not compared yet are "
        "compiled, which takes a minute or two a side."
    )
    compile_sides(sides, benchmarks, measured, progress)
    gate = learn(sides, progress, accept_different=plan.accept_different)
    before = conditions()
    measure(sides, benchmarks, measured, progress, budget=plan.seconds, tolerance=plan.tolerance)
    done = Comparison(plan, sides[BASE], sides[HEAD], measured, gate, facts(before, conditions()))
    return done, publish(store, folder, done)


def publish(store: Store, folder: Path, comparison: Comparison) -> Path:
    """Write into the folder, put it at OUT/compare/BASE..HEAD, and return its summary."""
    try:
        (store.out / NAME).mkdir(parents=True, exist_ok=True)
        command = command_of(NAME, comparison.plan, {}, positional=("base", "head"))
        report.write(comparison, folder, about(command))
        folder = store.publish(folder, f"{NAME}/{comparison.name}")
    except OSError as error:
        raise unwritable(store.out / NAME, error) from None
    return folder / report.SUMMARY
