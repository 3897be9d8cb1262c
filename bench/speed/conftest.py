"""What benchmarks share: the fixture that times, and what is stored and printed at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.speed import history
from bench.speed.cases import case as case_of
from bench.speed.metrics import Metric
from bench.speed.peak import fma_peak
from bench.speed.reference_workload import call_seconds, relative
from bench.speed.timings import Timing, Work, aim_lines, comparison_lines, speed_lines
from bench.speed.warm_up import compile_all

Timer = Callable[..., Any]
RESULTS = Path(__file__).resolve().parents[2] / "results"
PEAK_SECONDS = 0.01

timings_key = pytest.StashKey[list[Timing]]()
studies_key = pytest.StashKey[list[str]]()
metrics_key = pytest.StashKey[list[Metric]]()
comparison_key = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing timed and nothing studied."""
    config.stash[timings_key] = []
    config.stash[studies_key] = []
    config.stash[metrics_key] = []
    config.stash[comparison_key] = []


@pytest.fixture(scope="session", autouse=True)
def _compiled(pytestconfig: pytest.Config) -> None:
    """Compile, or load what was compiled, before the first timing; nothing of it is timed."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\nCompiling the kernels, or loading what was compiled ...", flush=True)
        print(f"... took {compile_all():.1f} s.", flush=True)


@pytest.fixture
def timed(benchmark: BenchmarkFixture, pytestconfig: pytest.Config) -> Timer:
    """Time a `Work` between two measurements of the fma peak and of the reference workload.

    The timer returns what the call returns.
    """

    def timer(work: Work, *, operation: str, case: str, batch_size: str) -> Any:
        start = time.perf_counter()
        work.call()  # compiles: pytest-benchmark would calibrate itself on it
        first_call = time.perf_counter() - start
        benchmark.group = case_of(case).title
        before, reference = fma_peak(PEAK_SECONDS), call_seconds()
        result = benchmark(work.call)
        reference += call_seconds()
        if benchmark.stats is not None:
            ratio = relative(benchmark.stats.stats.data, reference)
            timing = Timing(
                operation=operation,
                case=case,
                batch_size=batch_size,
                title=case_of(case).title,
                seconds=benchmark.stats["median"],
                samples=work.samples,
                flops=work.flops,
                peak=(before + fma_peak(PEAK_SECONDS)) / 2,
                first_call=first_call,
                reference=benchmark.stats["median"] / ratio.value,
                relative_low=ratio.low,
                relative_high=ratio.high,
            )
            pytestconfig.stash[timings_key].append(timing)
            benchmark.extra_info.update(
                history.without_infinity(asdict(timing)),
                gflops=timing.speed / 1e9,
                share_of_peak=timing.share,
                relative_seconds=timing.relative_seconds,
            )
        return result

    return timer


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compare the timings with the last run's, then store them beside it."""
    config = session.config
    timings = config.stash[timings_key]
    metrics: list[Metric] = config.stash[metrics_key]
    if not timings:
        return
    folder = RESULTS / history.FOLDER
    run = history.as_json(config, metrics)
    before, notes = history.last_timings(folder, run["machine_info"]["fingerprint"])
    config.stash[comparison_key] = [
        *notes,
        *comparison_lines(timings, before),
        f"stored as {history.save(folder, run)}",
    ]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print speed, comparison and the studies' answers, after pytest-benchmark's own table."""
    timings = config.stash[timings_key]
    sections = {
        "speed": [*speed_lines(timings), *aim_lines(timings)] if timings else [],
        "compared with the last run": config.stash[comparison_key],
        "studies": config.stash[studies_key],
    }
    for title, lines in sections.items():
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)
