"""`pytest` and `pytest --benchmark`, and what the latter stores and prints."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.speed.metrics import Metric
from bench.speed.timings import Timing, aim_lines, comparison_lines, short, speed_lines
from kernels import INSTRUCTION_SET

ROOT = Path(__file__).resolve().parents[2]
METRIC = Metric("tiny", "success rate", 0.5, 0.25, math.inf, 8, "lower", "batch size 8")
TINY_BENCHMARK = """
from bench.speed.conftest import metrics_key
from bench.speed.metrics import Metric
from bench.speed.timings import Work

def test_tiny(timed):
    work = Work(lambda: sum(range(100)), samples=1, flops=100)
    assert timed(work, operation="block of 16", case="digits", batch_size="8") == 4950

def test_untimed(pytestconfig):
    metric = Metric("tiny", "success rate", 0.5, 0.25, float("inf"), 8, "lower", "batch size 8")
    pytestconfig.stash[metrics_key].append(metric)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with one test, and one timing in place of its benchmarks.

    Without the kernels: a copy of them would be compiled once more.
    """
    copy = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("bench_*.py", "__pycache__")
    shutil.copytree(ROOT / "bench", copy / "bench", ignore=ignored)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    (copy / "bench" / "speed" / "bench_tiny.py").write_text(TINY_BENCHMARK)
    (copy / "tests").mkdir()
    (copy / "tests" / "test_tiny.py").write_text("def test_tiny(): pass\n")
    return copy


def run_pytest(folder: Path, *options: str) -> str:
    """Run pytest in a folder; return what it printed, after a check that nothing failed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    # None of the options and marks of this very run, such as those of a process of pytest-xdist
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(ROOT)  # where the kernels are
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stored_runs(checkout: Path) -> list[Path]:
    """The files of the history, oldest first."""
    return sorted(checkout.glob("results/history/*/*.json"))


@pytest.fixture(scope="module")
def first_run(checkout: Path) -> str:
    """What a first `pytest --benchmark` prints."""
    return run_pytest(checkout, "--benchmark")


def test_bare_pytest_runs_the_tests_alone(checkout: Path) -> None:
    """Without the option no benchmark is run, and nothing is stored."""
    before = stored_runs(checkout)
    assert re.search(r"tests/test_tiny.py .*\n\n=+ 1 passed", run_pytest(checkout))
    assert stored_runs(checkout) == before


def test_option_runs_the_benchmarks_alone(first_run: str) -> None:
    """With the option no test is run."""
    assert "2 passed" in first_run
    assert "test_tiny.py ." not in first_run


@pytest.mark.parametrize("folder", ["tests", "bench", "bench/speed/peers"])
def test_option_finds_the_benchmarks_from_any_folder(checkout: Path, folder: str) -> None:
    """Wherever in the checkout pytest is called, the same benchmarks are found."""
    assert "2 tests collected" in run_pytest(checkout / folder, "--benchmark", "--collect-only")


def test_option_stands_in_the_help(checkout: Path) -> None:
    """`pytest --help` explains --benchmark."""
    assert re.search(r"--benchmark +run the benchmarks", run_pytest(checkout, "--help"))


def test_named_files_are_run_in_their_own_way_only(checkout: Path) -> None:
    """A benchmark that is named runs with the option; the tests that are named do not."""
    named = ("bench/speed/bench_tiny.py", "tests")
    output = run_pytest(checkout, "--benchmark", "--collect-only", *named)
    assert "2 tests collected" in output


def test_a_run_is_stored_with_commit_and_machine(checkout: Path, first_run: str) -> None:
    """The history tells which commit and which machine a timing belongs to."""
    path = stored_runs(checkout)[0]
    run = json.loads(path.read_text())
    assert f"stored as {path}" in first_run
    assert run["machine_info"]["fingerprint"]["instruction_set"] == INSTRUCTION_SET
    assert {"id", "dirty"} <= run["commit_info"].keys()
    (timed,) = (one["extra_info"] for one in run["benchmarks"])
    assert timed["reference"] > 0
    assert timed["relative_low"] <= timed["relative_seconds"] <= timed["relative_high"]
    assert run["batchbench"]["quality"] == [
        {**vars(METRIC), "high": None}  # JSON knows no infinity
    ]


def test_the_tools_of_pytest_benchmark_read_what_is_stored(checkout: Path, first_run: str) -> None:
    """Their command line lists the timings of the file, quality and all."""
    assert first_run
    command = [sys.executable, "-m", "pytest_benchmark", "--storage", "results/history"]
    command += ["compare", "0001", "--columns", "median"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    assert "test_tiny" in done.stdout


def test_benchmark_only_and_compare(checkout: Path, first_run: str) -> None:
    """--benchmark-only leaves out what is not timed; the run before is what it compares with."""
    assert "no earlier run" in first_run
    output = run_pytest(checkout / "tests", "--benchmark-only", "--benchmark-compare")
    assert "1 passed, 1 skipped" in output
    assert re.search(r"test_tiny \(0001_", output)  # in the plugin's table
    assert re.search(r"block of 16 +\d+\.\d\d\n", output)  # in ours


def test_json_into_a_file_outside_that_exists(checkout: Path, tmp_path: Path) -> None:
    """Pytest takes such a file for a place of tests; everything is found all the same."""
    path = tmp_path / "old.json"
    path.write_text("{}")
    options = ("-k", "tiny and not untimed", "--benchmark-max-time", "0.01")
    output = run_pytest(checkout, "--benchmark", *options, "--benchmark-json", str(path))
    assert "1 passed, 1 deselected" in output
    (stored,) = json.loads(path.read_text())["benchmarks"]
    assert stored["options"]["max_time"] == 0.01
    assert stored["options"]["min_rounds"] == 6


# The tables, on timings that are made up

TIMING = Timing(
    "block of 16", "digits", "8", "64-32-10 on digits", 1e-3, 1000, 50_000_000, 1e11, 2, 1e-3
)


def test_speed_is_flops_per_second_and_a_share_of_the_peak() -> None:
    """50 million operations in a millisecond are 50 GF/s, half of a peak of 100 GF/s."""
    line = next(line for line in speed_lines([TIMING]) if "block of 16" in line)
    assert line.split() == ["block", "of", "16", "1.0k", "50", "50%"]


def test_a_share_below_the_aim_is_flagged() -> None:
    """40% of the peak is reached, 39% falls short."""
    timings = [replace(TIMING, flops=40_000_000), replace(TIMING, batch_size="1", flops=39_000_000)]
    words = {line.split()[2]: line.split("%")[-1].strip() for line in aim_lines(timings)[1:]}
    assert words == {"1": "FALLS SHORT", "8": "reached"}


def test_comparison_is_relative_to_the_reference_workload() -> None:
    """Twice the seconds where the reference takes twice as long is a slower clock: 1.00."""
    before = {TIMING.key: TIMING.relative_seconds}
    slower_clock = replace(TIMING, seconds=2e-3, reference=2e-3)
    assert comparison_lines([slower_clock], before)[-1].split()[-1] == "1.00"
    assert comparison_lines([replace(TIMING, seconds=3e-3)], before)[-1].split()[-1] == "3.00"


def test_nothing_to_compare_with_is_told() -> None:
    """Without an earlier run there is one sentence and no table."""
    assert comparison_lines([TIMING], {}) == ["no earlier run on this machine to compare with"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.04, "0.0"), (9.94, "9.9"), (9.96, "10"), (999.6, "1.0k"), (131_999, "132k"), (2e6, "2.0M")],
)
def test_short_numbers(value: float, text: str) -> None:
    """Numbers of the tables take at most four characters."""
    assert short(value) == text
