"""Results by content: complete or absent, damaged ones are named."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench.errors import InputError
from bench.experiments import Block, BlockResult, Store, prune
from bench.experiments.store import DAMAGE, decode, encode
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


@pytest.mark.parametrize(("problem", "block"), [(IRIS, BLOCK), (NOTES, POPULATION)])
def test_no_flipped_bit_changes_a_result(problem: Problem, block: Block) -> None:
    """A bit flipped anywhere in a file is noticed, or makes no difference to what is read."""
    result = made_up(block, problem.network.n_params, problem.has_test)
    key = block.key(problem)
    data = encode(key, result)
    whole = vars(decode(data, key, problem, block))
    for place in range(len(data) - 700, len(data)):  # the list of the arrays, which has no checksum
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        try:
            read = vars(decode(bytes(flipped), key, problem, block))
        except DAMAGE:
            continue
        for name, value in read.items():
            np.testing.assert_array_equal(value, whole[name], err_msg=f"{name}, byte {place}")


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


def study_of(out: Path, name: str, *keys: str) -> Path:
    """Write the least that a study's folder holds; return it."""
    (out / name).mkdir(parents=True)
    (out / name / "study.json").write_text(json.dumps({"study": name, "blocks": keys}))
    return out / name


def test_prune_keeps_what_studies_use(tmp_path: Path) -> None:
    """Pruning deletes blocks that no study.json names, and half-written files."""
    store = Store(tmp_path)
    _, kept = put(store, IRIS, BLOCK)
    _, unused = put(store, NOTES, POPULATION)
    half = kept.with_suffix(".npz.123-456.tmp")
    half.write_bytes(b"half")
    study_of(tmp_path, "iris", kept.stem)
    assert prune(tmp_path) == 2
    assert kept.exists()
    assert not unused.exists()
    assert not half.exists()


def test_prune_leaves_what_is_not_ours(tmp_path: Path) -> None:
    """Among the blocks, a file or folder that is not named like one of ours stays."""
    _, unused = put(Store(tmp_path), IRIS, BLOCK)
    letter, folder = unused.with_name("letter.txt"), unused.with_name("a" * 64 + ".npz")
    letter.write_text("keep me")
    folder.mkdir()
    assert prune(tmp_path) == 1
    assert letter.exists()
    assert folder.exists()


def test_prune_of_nothing_makes_nothing(tmp_path: Path) -> None:
    """A folder without stored results stays as it is."""
    assert prune(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"blocks": "abc"}', "{}"])
def test_prune_needs_readable_studies(tmp_path: Path, content: str) -> None:
    """A study.json that cannot be read stops a prune by name, before its blocks are lost."""
    _, path = put(Store(tmp_path), IRIS, BLOCK)
    study_of(tmp_path, "iris").joinpath("study.json").write_text(content)
    with pytest.raises(InputError, match=r"iris.study\.json"):
        prune(tmp_path)
    assert path.exists()
