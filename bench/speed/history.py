"""Timings over time: one small file a run, in pytest-benchmark's own JSON format."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.utils import get_machine_id, safe_dumps

from bench.speed.timings import Timing


def as_json(config: pytest.Config) -> dict[str, Any]:
    """Return the run as pytest-benchmark would save it: machine, commit, statistics of timings."""
    session: Any = config.pluginmanager.get_plugin("pytest-benchmark")
    commit = config.hook.pytest_benchmark_generate_commit_info(config=config)
    run: dict[str, Any] = config.hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=session.benchmarks,
        include_data=False,
        machine_info=session.get_machine_info(),
        commit_info=commit,
    )
    return run


def save(folder: Path, run: dict[str, Any]) -> Path:
    """Write a run under the next number; the file is complete as soon as it has its name.

    The folder in between and the form of the name are those in which pytest-benchmark looks for
    runs: `--benchmark-compare` and its command line find them.
    """
    folder = folder / get_machine_id()
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name[:4]) for path in folder.glob("[0-9][0-9][0-9][0-9]_*.json")]
    when = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    dirty = "_uncommitted-changes" if run["commit_info"]["dirty"] else ""
    name = f"{max(numbers, default=0) + 1:04}_{run['commit_info']['id']}_{when}{dirty}.json"
    temporary = folder / f"{name}.{os.getpid()}.tmp"
    with temporary.open("w", encoding="ascii") as file:
        file.write(safe_dumps(run, ensure_ascii=True))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / name)
    return folder / name


def last_timings(
    folder: Path, fingerprint: dict[str, str]
) -> tuple[dict[tuple[str, str, str], float], list[str]]:
    """Find, for each timing, the newest earlier one of the same machine.

    Returns
    -------
    before
        `Timing.relative_seconds` by `Timing.key`.
    notes
        A line for each file that is no such run: it is skipped and named.
    """
    before: dict[tuple[str, str, str], float] = {}
    notes: list[str] = []
    for path in sorted(folder.glob("*/[0-9][0-9][0-9][0-9]_*.json"), key=lambda path: path.name):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            if run["machine_info"].get("fingerprint") != fingerprint:
                continue
            timings = [_timing(b["extra_info"]) for b in run["benchmarks"] if b["extra_info"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f"skipped {path}: not a run of these benchmarks ({type(error).__name__})")
            continue
        before |= {timing.key: timing.relative_seconds for timing in timings}
    return before, notes


def _timing(extra_info: dict[str, Any]) -> Timing:
    """Return the timing that was stored with a benchmark."""
    return Timing(**{name: extra_info[name] for name in Timing.__dataclass_fields__})
