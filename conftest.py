"""The two ways of pytest: `pytest` runs the tests, `pytest --benchmark` the benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent
# What pytest-benchmark does unless its own options say otherwise: many short timings, of which each
# is calibrated and repeated for a tenth of a second, and 6 times at least: from so many on the
# least and the greatest enclose the median with 95%. Set here and not in pyproject.toml, which
# pytest overlooks where a file outside the checkout is named (`--benchmark-json /tmp/old.json`).
PLUGIN_DEFAULTS = {
    "--benchmark-max-time": "0.1",
    "--benchmark-min-rounds": 6,
    "--benchmark-sort": "name",
    "--benchmark-columns": ["median", "iqr", "min", "rounds", "iterations"],
}


# From so many tests on, those of the kernels are among them, and other tests run long before
MANY_TESTS = 1000
# What runs longest is begun first where processes share the tests, so that none is left alone with
# it at the end. The tests of the kernels stay together in one process, as each would compile what
# the others need too; those with bounds checks need kernels of their own.
CHECKED, KERNELS = "tests/kernels/test_boundscheck.py", "tests/kernels/"
LONGEST = (KERNELS, CHECKED, "tests/test_readme.py")
compiler_key = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--benchmark`."""
    group = parser.getgroup("batchbench")
    group.addoption(
        "--benchmark",
        action="store_true",
        help="run the benchmarks and the studies `digits` and `notes` instead of the tests: time "
        "the kernels, write results/, compare with the last run on this machine "
        "(--benchmark-only: the same without the studies)",
    )


def wants_benchmarks(config: pytest.Config) -> bool:
    """Whether this run is for the benchmarks; pytest-benchmark's `--benchmark-only` says so too."""
    return bool(config.getoption("benchmark") or config.getoption("benchmark_only", default=False))


def pytest_configure(config: pytest.Config) -> None:
    """Look for benchmarks where they are, whatever the folder; keep timings beside the results.

    Tests interrupt themselves: also where pytest was started deaf to it, by `nohup` or `&`.
    """
    if not wants_benchmarks(config) and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.pluginmanager.hasplugin("benchmark"):
        return
    history = ROOT / "results" / "history"
    given = " ".join([*config.invocation_params.args, os.environ.get("PYTEST_ADDOPTS", "")])
    for option, value in {**PLUGIN_DEFAULTS, "--benchmark-storage": f"file://{history}"}.items():
        if option not in given:
            setattr(config.option, option[2:].replace("-", "_"), value)
    if not wants_benchmarks(config):
        return
    config.addinivalue_line("filterwarnings", "default")  # errors in tests alone
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(ROOT / "bench" / "speed")]


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Collect either benchmarks or tests, also where a file is named on the command line."""
    collectors = yield
    wanted = wants_benchmarks(parent.config)
    if not file_path.match("bench_*.py"):
        return [] if wanted else collectors
    return [pytest.Module.from_parent(parent, path=file_path)] if wanted else []


def part_of(nodeid: str) -> str:
    """What stays together where processes share the tests: a file, or those of the kernels."""
    file = nodeid.split("::")[0]
    return KERNELS if file.startswith(KERNELS) and file != CHECKED else file


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what runs longest, in the processes of pytest-xdist alone."""
    if hasattr(config, "workerinput"):
        rank = {part: k for k, part in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(part_of(item.nodeid), len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out parts in their order (`--dist loadfile`)."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Parts(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return part_of(nodeid)

    config.option.loadscopereorder = False
    return Parts(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add what tells machines apart; take out what differs from run to run on one machine."""
    from bench.speed.machine import describe

    describe(machine_info)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Beside a run of all tests, compile on another core what the last of them need."""
    config = session.config
    if wants_benchmarks(config) or config.option.collectonly or len(session.items) < MANY_TESTS:
        return
    if hasattr(config, "workerinput"):
        return  # of pytest-xdist, which leaves no core idle
    config.stash[compiler_key] = subprocess.Popen(
        [sys.executable, "-m", "tests.compile_ahead"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the tests
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    """End with the tests."""
    compiler = config.stash.get(compiler_key, None)
    if compiler is not None and compiler.poll() is None:
        compiler.kill()
        compiler.wait()
