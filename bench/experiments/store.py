"""Results of blocks, by content: a file is complete or absent, and what is there is used."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from bench.arrays import DAMAGE, MOST_BYTES, read_npz
from bench.errors import InputError
from bench.experiments import lock
from bench.experiments.block import Block, BlockResult
from bench.experiments.files import put, unwritable
from bench.experiments.place import FOLDER, clear_all
from bench.problems import Problem

# Files of blocks, and what killed processes left of them
OURS = re.compile(r"[0-9a-f]{64}(\.npz|\.(npz\.)?[0-9-]+\.tmp)$")

TEST = {"test_loss", "test_score"}  # in a block's file where there is something to test on


def encode(key: str, result: BlockResult) -> bytes:
    """Return a block's file: an npz of plain arrays, its key among them.

    A population's trajectories, millions of numbers, are rounded to float32, and its file is
    compressed: to half, in a fortieth of the time that training takes.
    """
    trajectory = np.float64 if result.params is None else np.float32
    arrays: dict[str, Any] = {
        "key": np.array(key),
        "examples": result.examples,
        "updates": result.updates,
        "flags": np.stack([result.diverged, result.dead_start, result.dead_end]),
        "loss": result.loss.astype(trajectory),
        "score": result.score.astype(trajectory),
    }
    if not np.isnan(result.test_loss).all():
        arrays["test_loss"] = result.test_loss.astype(trajectory)
        arrays["test_score"] = result.test_score.astype(trajectory)
    if result.params is not None:
        arrays["params"] = result.params
    buffer = BytesIO()
    with np.errstate(over="ignore"):
        save = np.savez if result.params is None else np.savez_compressed
        save(buffer, **arrays)
    return buffer.getvalue()


def decode(data: bytes, key: str, problem: Problem, block: Block) -> BlockResult:
    """Return the result in a block's file.

    Raises
    ------
    DAMAGE
        Where the file is damaged, or not this block's.
    """
    params_bytes = 4 * problem.network.n_params * block.n_networks * len(block.learning_rates)
    arrays = read_npz(BytesIO(data), MOST_BYTES + (params_bytes if block.population else 0))
    if str(arrays["key"]) != key:
        raise ValueError("the file holds another block")
    _check_names(arrays, problem, block)
    shape = (block.n_networks, len(block.learning_rates), len(arrays["examples"]))
    trajectories = {
        name: arrays[name].astype(np.float64).reshape(shape)
        if name in arrays
        else np.full(shape, np.nan)
        for name in ("loss", "score", "test_loss", "test_score")
    }
    diverged, dead_start, dead_end = arrays["flags"].reshape(3, *shape[:2])
    params = (
        arrays["params"].reshape(*shape[:2], problem.network.n_params) if block.population else None
    )
    return BlockResult(
        examples=arrays["examples"],
        updates=arrays["updates"],
        diverged=diverged,
        dead_start=dead_start,
        dead_end=dead_end,
        params=params,
        **trajectories,
    )


def _check_names(arrays: Mapping[str, Any], problem: Problem, block: Block) -> None:
    """Raise ValueError where arrays are missing: the zip's list of its files has no checksum."""
    needed = {"key", "examples", "updates", "flags", "loss", "score"}
    needed |= {"params"} if block.population else set()
    tested = problem.has_test and np.isfinite(arrays["loss"]).any()
    of_test = TEST & set(arrays)
    if set(arrays) - TEST != needed or of_test != (TEST if of_test or tested else set()):
        raise ValueError("an array is missing, or one too many")


class Store:
    """The folder of blocks' results that the studies of one output folder share.

    Parameters
    ----------
    out
        Output folder; blocks lie in `.blocks` below it, KEY[:2]/KEY.npz.

    Attributes
    ----------
    warnings
        A sentence for every unreadable file that was met.
    digests
        The sha256, in hex, of each file as it was last read or written, by the block's key.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.root = out / FOLDER
        self.warnings: list[str] = []
        self.digests: dict[str, str] = {}
        self._sound: set[str] = set()

    def path(self, key: str) -> Path:
        """Where the block of that key lies."""
        return self.root / key[:2] / f"{key}.npz"

    def has(self, problem: Problem, block: Block) -> bool:
        """Whether the block's result is there, and whole: what is damaged is named and redone."""
        key = block.key(problem)
        path = self.path(key)
        if key in self._sound:
            return True
        if not path.exists():
            return False
        try:
            self.read(problem, block)
        except InputError as error:
            self.warnings.append(f"{error}; the block is run again")
            return False
        self._sound.add(key)
        return True

    def read(self, problem: Problem, block: Block) -> BlockResult:
        """Return the block's result.

        Raises
        ------
        InputError
            Where its file is missing or damaged.
        """
        key = block.key(problem)
        path = self.path(key)
        try:
            return decode(self.fetch(key), key, problem, block)
        except DAMAGE as error:
            why = str(error) or type(error).__name__
            raise InputError(f"{path} cannot be read ({why})") from None

    def fetch(self, key: str) -> bytes:
        """Return the content of a block's file, of which the digest is noted."""
        data = self.path(key).read_bytes()
        self.digests[key] = hashlib.sha256(data).hexdigest()
        return data

    def write(self, key: str, data: bytes) -> None:
        """Put a block's file into its place: it is there as a whole, or not at all.

        Raises
        ------
        InputError
            Where the disk is full or the folder cannot be written.
        """
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, data)
        except OSError as error:
            raise unwritable(path, error) from None
        self._sound.add(key)
        self.digests[key] = hashlib.sha256(data).hexdigest()


def used_keys(out: Path) -> set[str]:
    """Return the keys of all blocks that the studies in a folder name in their study.json.

    Raises
    ------
    InputError
        Where one of these files cannot be read: its blocks would be taken for unused.
    """
    keys: set[str] = set()
    for path in sorted(out.glob("*/study.json")):
        try:
            blocks = json.loads(path.read_text(encoding="utf-8"))["blocks"]
            if not isinstance(blocks, list):
                raise TypeError("blocks")
            keys.update(blocks)
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(
                f"{path} does not tell which blocks it uses: move it away, or run its study again"
            ) from None
    return keys


def prune(out: Path) -> int:
    """Delete the blocks below `out` that no study uses, and what killed runs left behind.

    What is not named like a block's file is left where it is.

    Returns
    -------
    The number of files deleted.

    Raises
    ------
    InputError
        Where a study in `out` is at work, or does not tell which blocks it uses, and where files
        cannot be deleted.
    """
    root = out / FOLDER
    if not root.is_dir():
        return 0
    with lock.alone(root):
        clear_all(out)
        keep = used_keys(out)
        files = [path for path in root.glob("??/*") if path.is_file() and OURS.match(path.name)]
        unused = [path for path in files if path.suffix != ".npz" or path.stem not in keep]
        for path in unused:
            path.unlink()
        shutil.rmtree(root / lock.LOCKS, ignore_errors=True)
    return len(unused)
