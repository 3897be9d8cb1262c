"""What a whole study costs: its time beside the least that its arithmetic needs, and its memory.

`python -m bench.speed.study_cost NAME [--workers 1] [--seeds 48]`, NAME a data set of scikit-learn.
Everything is made anew, in a temporary folder; kernels that are compiled already stay so.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import click
import numpy as np

from bench.experiments.place import FOLDER
from bench.experiments.progress import Silent
from bench.problems import Problem, load_problem
from bench.problems.catalogue import OF_SCIKIT_LEARN
from bench.speed.flops import forward_flops, step_flops
from bench.speed.peak import fma_peak
from bench.study import study

MIB = 2**20


class Spent(NamedTuple):
    """What something took: seconds on the clock and of all threads, the most memory by its end."""

    clock: float = 0.0
    processor: float = 0.0
    memory: int = 0


class Stopwatch(Silent):
    """A reporter that notes what each stage took, and what lay between the stages.

    Attributes
    ----------
    spent
        By what was done: "training", or the last sentence that was told.
    """

    def __init__(self) -> None:
        self.spent: dict[str, Spent] = {}
        self._doing, self._since = "starting", (perf_counter(), process_time())

    def say(self, message: str) -> None:
        """Begin what the sentence tells."""
        self._begin(message.rstrip("."))

    def start(self, stage: str, n_blocks: int, work: float) -> None:  # noqa: ARG002
        """Begin training."""
        self._begin("training")

    def finish(self) -> None:
        """Begin what comes after a stage."""
        self._begin("choosing what to train")

    def _begin(self, doing: str) -> None:
        now, before = (perf_counter(), process_time()), self.spent.get(self._doing, Spent())
        clock, processor = (t - since for t, since in zip(now, self._since, strict=True))
        self.spent[self._doing] = Spent(
            before.clock + clock, before.processor + processor, most_memory()
        )
        self._doing, self._since = doing, now


@dataclass(frozen=True)
class Cost:
    """What a study cost.

    Parameters
    ----------
    flops
        Of training and evaluation.
    peak
        Operations per second of one core out of its registers, measured before and after.
    data
        Bytes of the data.
    whole, parts
        What the study took, and what it was spent on, as of `Stopwatch`. The programs that are
        timed beside this one run in processes of their own, which count for the clock alone.
    """

    flops: float
    peak: float
    data: int
    whole: Spent
    parts: dict[str, Spent]


def study_cost(name: str, workers: int, seeds: int | None) -> Cost:
    """Study a data set in an empty folder.

    Parameters
    ----------
    name
        A data set of scikit-learn.
    workers
        Threads that train.
    seeds
        Number of seeds; None for those of a whole study.
    """
    problem, watch = load_problem(name), Stopwatch()
    peak = fma_peak()
    with tempfile.TemporaryDirectory(prefix="study-cost-") as folder:
        began, processor = perf_counter(), process_time()
        study(name, progress=watch, out=Path(folder), workers=workers, seeds=seeds)
        wall, processor = perf_counter() - began, process_time() - processor
        watch.finish()
        flops = sum(block_flops(problem, path) for path in Path(folder, FOLDER).glob("??/*.npz"))
    peak = (peak + fma_peak()) / 2
    arrays = problem.X_train, problem.y_train, problem.X_test, problem.y_test
    data = sum(array.nbytes for array in arrays)
    return Cost(flops, peak, data, Spent(wall, processor, most_memory()), watch.spent)


def block_flops(problem: Problem, path: Path) -> float:
    """Operations of training and evaluating the runs of a block's file, as of `flops`."""
    with np.load(path) as file:
        runs, examples = file["loss"].size / len(file["examples"]), file["examples"]
    scored = len(problem.scored[0]) + len(problem.scored_test[0])
    evaluated = len(examples) * scored * forward_flops(problem.network)
    return float(runs * (examples[-1] * step_flops(problem.network) + evaluated))


def most_memory() -> int:
    """Most bytes that this process ever had in memory, as the kernel tells it in /proc."""
    (kilobytes,) = re.findall(r"VmHWM:\s*([0-9]+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


@click.command()
@click.argument("name", type=click.Choice(sorted(OF_SCIKIT_LEARN)))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--seeds", type=click.IntRange(min=3), help="[48]")
def main(name: str, workers: int, seeds: int | None) -> None:
    """Print what the study of a data set costs."""
    cost = study_cost(name, workers, seeds)
    least, whole = cost.flops / cost.peak, cost.whole
    cores = f"{workers} {'worker' if workers == 1 else 'workers'}"
    click.echo(
        f"{name}, {cores}: {whole.clock:.1f} s on the clock, {whole.processor:.1f} s of processor\n"
        f"{cost.flops / 1e9:,.0f} Gflop of training and evaluation, at {cost.peak / 1e9:.0f} "
        f"Gflop/s of fma peak {least:.1f} s on one core: the study takes "
        f"{whole.clock / least:.2f} times as long\n"
        f"memory: {whole.memory / MIB:.0f} MiB at most, the data {cost.data / MIB:.1f} MiB\n"
        "  on the clock, of processor, most memory by its end"
    )
    for doing, spent in sorted(cost.parts.items(), key=lambda item: -item[1].clock):
        memory = spent.memory / MIB
        click.echo(f"  {spent.clock:7.1f} s {spent.processor:7.1f} s {memory:5.0f} MiB  {doing}")


if __name__ == "__main__":
    main()
