"""Numbers of a study can be recomputed from its files, and traced to blocks by hash."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_study import made_up_seconds

import bench
from bench import report
from bench import study as module
from bench.experiments.progress import Silent

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from recompute import Files, differences, median, sha256, time_to_target, untraced

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
    assert untraced(done.folder) == []
    keys = set(pd.read_csv(done.folder / "blocks.csv").block)
    assert set(done.networks.block) == set(done.counts.block) == keys


def test_a_number_of_the_summary_is_traced_to_files(folder: Path) -> None:
    """Seed by seed, blocks.csv leads from a median time to the files that it is computed of."""
    row = (
        pd.read_csv(folder / "summary.csv").query("protocol == 'tuned' and batch_size == 8").iloc[1]
    )
    blocks = pd.read_csv(folder / "blocks.csv")
    times = []
    for block in blocks[(blocks.batch_size == 8) & (blocks.seed % 3 != 0)].itertuples():
        rates = [float(rate) for rate in block.learning_rates.split()]
        if row.learning_rate in rates:
            path = folder.parent / ".blocks" / block.block[:2] / f"{block.block}.npz"
            assert sha256(path) == block.sha256
            file = np.load(path)
            loss = file["loss"][0, rates.index(row.learning_rate)]
            times.append(time_to_target(file["examples"], loss, row.target))
    assert len(times) == row.n_seeds
    assert median(times) == pytest.approx(row.examples, rel=1e-12)


def test_every_run_is_traced_to_its_file(folder: Path) -> None:
    """study.json leads to blocks.csv by hash, it to the files, and they have every run's losses."""
    assert untraced(folder) == []


@pytest.mark.parametrize("what", ["block", "list", "loss"])
def test_what_was_changed_is_told(folder: Path, tmp_path: Path, what: str) -> None:
    """A changed byte of a block's file or of blocks.csv is told, and so is a changed loss."""
    shutil.copytree(folder.parent, tmp_path, dirs_exist_ok=True)
    copy = tmp_path / folder.name
    key = json.loads((copy / "study.json").read_text())["blocks"][-1]
    path = tmp_path / ".blocks" / key[:2] / f"{key}.npz" if what == "block" else copy / "blocks.csv"
    if what == "loss":
        runs = pd.read_parquet(copy / "runs.parquet")
        at = runs.index[runs.block == key][-1]
        runs.assign(loss=runs.loss.where(runs.index != at, 2.0)).to_parquet(copy / "runs.parquet")
    else:
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)
    assert len(untraced(copy)) == 1
