"""What a study costs: its arithmetic is counted from its blocks, its time by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.experiments import Block, Store, Threads, run_blocks
from bench.experiments.progress import Reporter
from bench.problems import load_problem
from bench.speed import study_cost

IRIS = load_problem("iris")  # 4-32-3, 120 rows to train on and 30 to test on
BLOCK = Block("sgd", 8, (0.1, 0.2, 0.3), 0, 2, checkpoints=(120,))


def small_study(name: str, *, progress: Reporter, out: Path, workers: int, seeds: Any) -> None:
    """Stand for a study: a sentence, and one block."""
    assert (name, seeds) == ("iris", None)
    progress.say("Thinking.")
    run_blocks(IRIS, [BLOCK], Store(out), Threads(workers), progress)


def test_the_arithmetic_of_all_runs_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 runs of 2 epochs of 120 samples, evaluated at 0, 120 and 240 of them on all 150."""
    monkeypatch.setattr(study_cost, "study", small_study)
    cost = study_cost.study_cost("iris", workers=1, seeds=None)
    step, forward = 2 * (2 * 4 * 32 + 3 * 32 * 3), 2 * (4 * 32 + 32 * 3)
    assert cost.flops == 3 * (240 * step + 3 * 150 * forward)
    assert cost.data == 150 * (4 * 4 + 8)


def test_stages_and_what_lies_between_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prints time, share, memory, and a line for each thing done."""
    monkeypatch.setattr(study_cost, "study", small_study)
    done = CliRunner().invoke(study_cost.main, ["iris"])
    assert done.exit_code == 0, done.output
    first, second, third, _, *stages = done.output.splitlines()
    assert first.startswith("iris, 1 worker: ")
    assert "times as long" in second
    assert third.startswith("memory: ")
    named = {line.rsplit(" MiB  ", 1)[1] for line in stages}
    assert named >= {"starting", "Thinking", "training"}


def test_the_clock_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds of all that was done add up to those that went by."""
    now = iter(range(100))
    monkeypatch.setattr(study_cost, "perf_counter", lambda: float(next(now)))
    watch = study_cost.Stopwatch()
    watch.say("One.")
    watch.start("stage", 1, 1.0)
    watch.finish()
    watch.start("stage", 1, 1.0)
    watch.finish()
    assert sum(spent.clock for spent in watch.spent.values()) == 5.0
    assert watch.spent["training"].clock == 2.0
