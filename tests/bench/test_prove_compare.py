"""The proof that comparisons can be trusted, in short; `python -m tests.prove_compare` is whole."""

from __future__ import annotations

import difflib
import math
from pathlib import Path

import numpy as np
import pytest

from bench.speed.compare.measure import Measured, Times
from tests import prove_compare
from tests.prove_compare import ROOT, SLOWED, alarms, planted, record, tell_alarms, tell_power

QUICK = "2-2-1 block B=1"


def test_a_revision_against_itself_raises_no_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice, once with a loaded core; what is done already is not done again."""
    alarms(tmp_path, comparisons=2, budget=0.1, names=[QUICK])
    files = sorted((tmp_path / "alarms").iterdir())
    assert [path.name for path in files] == ["0000.json", "0001.json"]
    before = [path.stat().st_mtime_ns for path in files]
    alarms(tmp_path, comparisons=2, budget=0.1, names=[QUICK])
    assert [path.stat().st_mtime_ns for path in files] == before
    capsys.readouterr()
    tell_alarms(tmp_path)
    told = capsys.readouterr().out
    assert "all: slower: 0 of 2 = 0.0% [0.0%, 84.2%]" in told
    assert "swapped by lot: slower in 0 of 40" in told


def test_the_planted_slowdown_is_extra_work_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One file differs, by a loop behind the chunk's step and the import that it needs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = planted(7).folder / "kernels"
    changed = []
    for path in sorted((ROOT / "kernels").glob("*.py")):
        old, new = path.read_text().splitlines(), (folder / path.name).read_text().splitlines()
        changed += [line for line in difflib.ndiff(old, new) if line[0] in "+-"]
    assert len(changed) == 2 + prove_compare.EXTRA.count("\n")
    assert "+         for _ in range(7):" in changed


def test_the_power_of_recorded_comparisons_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slowdown of 10% in 4 recorded comparisons is told with its size and how often found."""
    rng = np.random.default_rng(0)
    for number in range(4):
        measured = Measured(pairs=6)
        for pair in range(6):
            for block in range(20):
                base, noise = 1e-3 * rng.lognormal(0, 0.1), rng.normal(0.1, 0.02)
                measured.times.append(Times(pair, block, SLOWED, base, base * math.exp(noise)))
        record(tmp_path / "power-10" / f"{number:04}.json", measured, seconds=1.0)
    monkeypatch.setattr(prove_compare, "RECOMBINED", 20)
    tell_power(tmp_path, 10)
    told = capsys.readouterr().out
    assert "10%: planted 1.1" in told
    assert "found: 4 of 4 = 100.0%" in told
    assert "of 6 of its 24 pairs by lot: 20 of 20" in told
