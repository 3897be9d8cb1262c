"""The default studies, smaller than `batchbench study` makes them."""

from __future__ import annotations

import time

import pytest

from bench.speed.conftest import RESULTS, studies_key
from bench.study import study


# A block of the notes' study is a population of 256 networks: 4 blocks are 1,024 a cell
@pytest.mark.parametrize(("name", "seeds"), [("notes", 4), ("digits", 18)])
def test_study(
    name: str, seeds: int, capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config
) -> None:
    """A study ends with a page; what it says while it runs is seen at once."""
    start = time.perf_counter()
    with capsys.disabled():
        print(f"\nThe study {name} with {seeds} seeds:")
        done = study(name, seeds=seeds, out=RESULTS)
    seconds = time.perf_counter() - start
    pytestconfig.stash[studies_key] += [
        f"{name}, {seeds} seeds, {seconds:.0f} s:",
        *done.terminal_summary().splitlines(),
        str(done.report),
        "",
    ]
    assert done.report.is_file()
