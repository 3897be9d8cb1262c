"""What a cluster costs: time and bytes of a task, and how much faster more workers are.

`python -m bench.speed.scale [--rounds 5]` starts clusters of one and two processes on this machine,
beside threads. docs/scale.md says what follows from what it prints.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import click
import psutil

from bench.experiments import Block, Store, plan, run_blocks
from bench.experiments.cluster import LOCAL, Cluster, hired
from bench.experiments.crew import Coded, Crew, Job
from bench.experiments.progress import Silent
from bench.problems import Problem, load_problem

TASKS = 300  # that do nothing, to time what a task costs
SIZES = (1, 8, 64)  # of the grid that is trained on 1 and on 2 workers
SEEDS = range(24)
MIB = 2**20


@dataclass(frozen=True)
class Nothing:
    """An item without work: handed out alone, done at once."""

    number: int

    def work(self, problem: Problem) -> float:  # noqa: ARG002
        """Return none."""
        return 0.0


def do_nothing(problem: Problem, item: Nothing) -> Coded:  # noqa: ARG001
    """Return an empty file. Called in the workers."""
    return str(item.number), b""


def compile_nothing(*_: object) -> None:
    """Compile nothing."""


class Cost(NamedTuple):
    """What handing out costs.

    Parameters
    ----------
    alone, streamed
        Milliseconds of a task that does nothing: by itself, and among many.
    serial
        Processor milliseconds of client and scheduler together for each of many: what limits how
        many workers they can serve.
    data, task
        Bytes that cross the network: for a problem's data once a worker, for each task.
    """

    alone: float
    streamed: float
    serial: float
    data: float
    task: float


def cost(problem: Problem) -> Cost:
    """Measure what handing out costs, on one worker of this machine."""
    with hired(LOCAL, 1, Silent()) as crew:
        assert isinstance(crew, Cluster)
        before = _received()
        _time_nothing(crew, problem, 1)
        data = _received() - before
        alone = statistics.median(_time_nothing(crew, problem, 1) for _ in range(20))
        before = _received()
        busy = process_time()  # the scheduler of a local cluster is a thread of this process
        streamed = _time_nothing(crew, problem, TASKS) / TASKS
        serial = (process_time() - busy) / TASKS
        task = (_received() - before) / TASKS
    return Cost(1e3 * alone, 1e3 * streamed, 1e3 * serial, data, task)


def _time_nothing(crew: Crew, problem: Problem, n_tasks: int) -> float:
    """Seconds that so many tasks take which do nothing."""
    items = [Nothing(number) for number in range(n_tasks)]
    job = Job(problem, items, (), do_nothing, compile_nothing)
    crew.prepare(job, Silent())
    began = perf_counter()
    assert len(list(crew.results(job))) == n_tasks
    return perf_counter() - began


def _received() -> int:
    """Bytes that this machine has received from itself so far."""
    counters = psutil.net_io_counters(pernic=True)
    return sum(counters[name].bytes_recv for name in ("lo", "lo0") if name in counters)


def grid(problem: Problem) -> list[Block]:
    """Return the blocks that are trained: what a study's coarse search of some seeds trains."""
    rates = plan.coarse_rates("sgd")
    return [block for size in SIZES for block in plan.grid(problem, "sgd", size, rates, SEEDS)]


class Trained(NamedTuple):
    """Seconds on the clock and of this process's processor, and bytes that crossed the network."""

    seconds: float
    busy: float
    received: int


def trained(problem: Problem, scheduler: str | None, size: int) -> Trained:
    """Train the grid by so many threads or workers; starting and compiling are not counted."""
    with tempfile.TemporaryDirectory() as folder, hired(scheduler, size, Silent()) as crew:
        first, *others = grid(problem)
        run_blocks(problem, [first], Store(Path(folder)), crew)
        before, busy = _received(), process_time()
        ran = run_blocks(problem, others, Store(Path(folder)), crew)
        return Trained(ran.seconds, process_time() - busy, _received() - before)


Runs = dict[tuple[str | None, int], list[Trained]]  # by scheduler and size, a round each


def in_turns(problem: Problem, rounds: int) -> Runs:
    """Train the grid on threads and on workers, 1 and 2 of each, in turns."""
    runs: Runs = {(who, n): [] for n in (1, 2) for who in (None, LOCAL)}
    for _ in range(rounds):
        for side, done in runs.items():
            done.append(trained(problem, *side))
    return runs


def spread(values: list[float]) -> str:
    """Write the median of ratios, with the least and the largest."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def efficiency(runs: Runs, n: int, n_blocks: int) -> str:
    """Write what n workers reach of the speed of n threads."""
    threads, workers = runs[None, n], runs[LOCAL, n]
    ratios = [a.seconds / b.seconds for a, b in zip(threads, workers, strict=True)]
    received = statistics.median(one.received for one in workers)
    busy = statistics.median(one.busy for one in workers)
    return (
        f"{n_blocks} blocks, {n} at a time: threads "
        f"{statistics.median(one.seconds for one in threads):.1f} s, workers "
        f"{statistics.median(one.seconds for one in workers):.1f} s: efficiency {spread(ratios)}; "
        f"{received / MIB:.1f} MiB received; client and scheduler busy for "
        f"{1e3 * busy / n_blocks:.1f} ms a block"
    )


@click.command()
@click.option("--rounds", type=int, default=5, show_default=True, help="Of the grid, in turns.")
def main(rounds: int) -> None:
    """Measure a task's cost, and the grid on threads and on clusters of 1 and 2 processes."""
    problem = load_problem("digits")
    found = cost(problem)
    print(
        f"a task that does nothing: {found.alone:.1f} ms alone, {found.streamed:.1f} ms in a row, "
        f"{found.serial:.2f} ms of it processor time of client and scheduler"
    )
    print(f"bytes: data {found.data / MIB:.2f} MiB a worker, a task {found.task / 1e3:.1f} kB")
    runs = in_turns(problem, rounds)
    for n in (1, 2):
        print(efficiency(runs, n, len(grid(problem)) - 1))
    ratios = [a.seconds / b.seconds for a, b in zip(runs[LOCAL, 1], runs[LOCAL, 2], strict=True)]
    print(f"2 workers are {spread(ratios)} times as fast as 1")


if __name__ == "__main__":
    main()
