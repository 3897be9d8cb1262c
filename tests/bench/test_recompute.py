"""summary.csv and claims.json can be recomputed from a study's files by a program of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_study import made_up_seconds

import bench
from bench import report
from bench import study as module
from bench.experiments.progress import Silent

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from recompute import Files, differences

SMALL = {"progress": Silent(), "workers": 2, "seeds": 9, "batch_sizes": (1, 8, "full")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study of iris whose rates are found, with runs that fail and claims of all kinds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_seconds", made_up_seconds)
        patch.setattr(report, "write", lambda *_: None)
        out = tmp_path_factory.mktemp("out")
        return bench.study("iris", out=out, hidden=(4,), **SMALL).folder


def test_tables_and_claims_come_out_again(folder: Path) -> None:
    """Every column of summary.csv and every effect and interval agree to nine digits."""
    files = Files(folder)
    assert {claim["claim"] for claim in files.claims} >= {"C1", "C2", "C3", "C8", "C9", "R2", "R3"}
    assert differences(files) == []


@pytest.mark.parametrize("name", ["effect", "low", "high"])
def test_a_changed_claim_is_found(folder: Path, name: str) -> None:
    """A claim that differs in the seventh digit is told."""
    files = Files(folder)
    claims = [dict(claim) for claim in files.claims if claim["claim"] == "C9"]
    claims[0][name] = (claims[0][name] or 1.0) * (1 + 1e-7)
    files.claims = claims
    files.summary = files.summary.iloc[:0]
    assert len(differences(files)) == 1


def test_populations_come_out_again(tmp_path: Path) -> None:
    """Shares of XOR networks that learn, and their differences, agree to nine digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_seconds", made_up_seconds)
        patch.setattr(report, "write", lambda *_: None)
        given = SMALL | {"seeds": 6, "batch_sizes": ("full",), "learning_rates": (0.1, 0.3)}
        done = bench.study("notes", out=tmp_path, **given)
    claims = json.loads((done.folder / "claims.json").read_text())
    assert {claim["claim"] for claim in claims} == {"C6", "C7"}
    assert differences(Files(done.folder)) == []
