"""The default studies, smaller than `batchbench study` makes them."""

from __future__ import annotations

import time

import pytest

from bench.speed.conftest import RESULTS, metrics_key, studies_key
from bench.speed.metrics import EXAMPLES, RATES, SUCCESS, UPDATES, metrics_of
from bench.study import study


# A block of the notes' study is a population of 256 networks: 4 blocks are 1,024 a cell
@pytest.mark.parametrize(
    ("name", "seeds", "measures"),
    [("notes", 4, (SUCCESS,)), ("digits", 18, (SUCCESS, EXAMPLES, UPDATES, RATES))],
)
def test_study(
    name: str,
    seeds: int,
    measures: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    pytestconfig: pytest.Config,
) -> None:
    """A study ends with a page and the measures of its quality; what it says is seen at once."""
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
    pytestconfig.stash[metrics_key] += metrics_of(done.record, done.summary, measures)
    assert done.report.is_file()
