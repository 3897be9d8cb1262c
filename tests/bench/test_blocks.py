"""The table of both engines by rules, dtypes and depths."""

from __future__ import annotations

import numpy as np
import pytest

from bench.speed import blocks
from bench.speed.blocks import ROWS, Row, call_of, measured, relative


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.case} {row.name}")
def test_all_rows_train_as_many_samples(row: Row) -> None:
    """One run trains as many epochs more as a block has runs, so that calls take as long."""
    c, _ = call_of(row, "full")
    assert c.epochs * row.runs == call_of(Row("16 runs", row.case), "full")[0].epochs * 16
    assert c.X.dtype == row.dtype


def test_plain_descent_is_the_unit_of_the_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row timed in rounds has a time at each batch size, and SGD's ratio to itself is 1."""
    monkeypatch.setattr(blocks, "ROWS", (Row("16 runs", "digits"),))
    timings = list(measured(rounds=1))
    assert [t.batch_size for t in timings] == ["1", "8", "32", "128", "full"]
    assert all(np.isfinite(t.share) and t.share > 0 for t in timings)
    assert relative(timings)[-1].split() == ["16", "runs"] + ["1.00"] * 5
