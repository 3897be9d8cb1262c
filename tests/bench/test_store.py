"""Results by content: complete or absent, damaged ones are named."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench.errors import InputError
from bench.experiments import Block, BlockResult, Store, prune, used_keys
from bench.experiments.store import encode
from bench.problems import Problem, load_problem

IRIS, NOTES = load_problem("iris"), load_problem("notes")
BLOCK = Block("sgd", 4, (0.5, 1.0), seed=3, epochs=30)
POPULATION = Block("sgd", 2, (0.5, 1.0), seed=3, epochs=30, population=3)


def made_up(block: Block, n_params: int, test: bool) -> BlockResult:
    """Return a result of the block's shape, of random numbers."""
    rng = np.random.default_rng(0)
    runs = (block.n_networks, len(block.learning_rates))
    loss, score = rng.random((2, *runs, 5))
    unknown = np.full_like(loss, np.nan)
    return BlockResult(
        examples=np.arange(5) * 30,
        updates=np.arange(5) * 8,
        loss=loss,
        score=score,
        test_loss=loss + 1 if test else unknown,
        test_score=score / 2 if test else unknown,
        diverged=rng.random(runs) < 0.5,
        dead_start=rng.random(runs) < 0.5,
        dead_end=rng.random(runs) < 0.5,
        params=None
        if block.population is None
        else rng.random((*runs, n_params)).astype(np.float32),
    )


def put(store: Store, problem: Problem, block: Block) -> tuple[BlockResult, Path]:
    """Write a made-up result; return it and its file."""
    key = block.key(problem)
    result = made_up(block, problem.network.n_params, problem.has_test)
    store.write(key, encode(key, result))
    return result, store.path(key)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A block's result comes back to the bit."""
    store = Store(tmp_path)
    result, _ = put(store, IRIS, BLOCK)
    for name, value in vars(store.read(IRIS, BLOCK)).items():
        np.testing.assert_array_equal(value, getattr(result, name), err_msg=name)


def test_populations_are_read_rounded(tmp_path: Path) -> None:
    """A population's trajectories come back rounded to float32; there is no test split."""
    store = Store(tmp_path)
    result, _ = put(store, NOTES, POPULATION)
    read = store.read(NOTES, POPULATION)
    np.testing.assert_array_equal(read.loss, result.loss.astype(np.float32).astype(np.float64))
    np.testing.assert_array_equal(read.params, result.params)
    assert np.isnan(read.test_loss).all()


def test_same_result_is_the_same_file(tmp_path: Path) -> None:
    """A result's file holds no time stamp and no other accident: the same bytes every time."""
    result = made_up(BLOCK, 1, test=True)
    assert encode("key", result) == encode("key", result)
    assert Store(tmp_path).root == tmp_path / ".blocks"


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "other block"])
def test_damaged_files_are_named_and_not_used(tmp_path: Path, damage: str) -> None:
    """A cut, flipped, empty or foreign file counts as missing, and a warning names it."""
    _, path = put(Store(tmp_path), IRIS, BLOCK)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[len(data) // 2] ^= 255
    elif damage == "empty":
        data = bytearray()
    elif damage == "text":
        data = bytearray(b"not a zip file")
    else:
        data = bytearray(encode("another key", made_up(BLOCK, 1, test=True)))
    path.write_bytes(data)
    store = Store(tmp_path)
    assert not store.has(IRIS, BLOCK)
    assert len(store.warnings) == 1
    assert str(path) in store.warnings[0]


def test_missing_is_not_damaged(tmp_path: Path) -> None:
    """A block that was never run is missing without a warning; reading it names its file."""
    store = Store(tmp_path)
    assert not store.has(IRIS, BLOCK)
    assert store.warnings == []
    with pytest.raises(InputError, match=BLOCK.key(IRIS)):
        store.read(IRIS, BLOCK)


def test_a_disk_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk raises an InputError that names the file and the way out; no file is left."""

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    store = Store(tmp_path)
    with pytest.raises(InputError, match=r"cannot write .*No space left on device.*--out"):
        put(store, IRIS, BLOCK)
    assert list(tmp_path.rglob("*.npz")) == []


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    """An output folder below a plain file raises an InputError that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        put(Store(tmp_path / "file"), IRIS, BLOCK)


def test_prune_keeps_what_studies_use(tmp_path: Path) -> None:
    """Pruning deletes blocks that no study.json names, and half-written files."""
    store = Store(tmp_path)
    _, kept = put(store, IRIS, BLOCK)
    _, unused = put(store, NOTES, POPULATION)
    half = kept.with_suffix(".123.tmp")
    half.write_bytes(b"half")
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris" / "study.json").write_text(json.dumps({"blocks": [kept.stem]}))
    assert prune(tmp_path, used_keys(tmp_path)) == 2
    assert kept.exists()
    assert not unused.exists()
    assert not half.exists()


def test_prune_needs_readable_studies(tmp_path: Path) -> None:
    """A study.json that cannot be read stops a prune by name, before its blocks are lost."""
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris" / "study.json").write_text("{")
    with pytest.raises(InputError, match=r"iris.study\.json"):
        used_keys(tmp_path)


def test_a_killed_view_leaves_no_trace(tmp_path: Path) -> None:
    """What a killed process left of a study's folder is gone when the next one begins."""
    left = tmp_path / ".blocks" / "views" / "iris.1"
    left.mkdir(parents=True)
    (left / "runs.parquet").write_text("half")
    view = Store(tmp_path).new_view("iris")
    assert list(view.parent.iterdir()) == [view]


def test_a_view_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    """Publishing replaces a study's folder as a whole, and leaves nothing else behind."""
    store = Store(tmp_path)
    for content in ("first", "second"):
        view = store.new_view("iris")
        (view / content).write_text(content)
        store.publish(view, "iris")
    assert [path.name for path in (tmp_path / "iris").iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] in (["iris", ".blocks"], [".blocks", "iris"])
    assert list((tmp_path / ".blocks").rglob("*second")) == []
