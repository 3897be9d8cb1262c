"""blocks.csv: which files the results of a study come from, and what these files hold.

A row of runs.parquet names its block; the block's row here has the sha256 of its file, and the
seed and learning rates that its runs had, in the order in which the file holds them. study.json
and the page name the sha256 of blocks.csv itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from bench import csv_files
from bench.experiments.block import Block
from bench.experiments.mistakes import RIGHT, Task
from bench.experiments.store import Store
from bench.problems import Problem
from bench.stages import Training

NAME = "blocks.csv"
KEY = pa.dictionary(pa.int32(), pa.string())  # a key of 64 characters, once for a block's rows
RUN = ["batch_size", "seed", "learning_rate"]  # what tells a training's runs of one start apart


def block_rows(training: Training, others: Iterable[Training] = ()) -> pd.DataFrame:
    """Return a row per block of a study.

    Parameters
    ----------
    training
        Of the study's problem, the pilot included.
    others
        By other update rules, and of variants.

    Returns
    -------
    DataFrame
        `block`: the key, which names the file `.blocks/KEY[:2]/KEY.npz`; `sha256` of the file, in
        hex; `variant`: what differs from the study's own problem, "" where nothing does; `rule`,
        `batch_size`, `seed`, `epochs`; `networks`: the number of them; `learning_rates`, ascending,
        between spaces.
    """
    own, pairs = training.problem, [(training.problem, block) for block in training.pilot]
    pairs += [(one.problem, block) for one in (training, *others) for block in one.blocks]
    rows = [
        {
            **named(block.key(problem), training.store),
            "variant": problem.name.removeprefix(own.name).removeprefix(", "),
            "rule": block.rule,
            "batch_size": block.batch_size,
            "seed": block.seed,
            "epochs": block.epochs,
            "networks": block.n_networks,
            "learning_rates": spaced(block.learning_rates),
        }
        for problem, block in pairs
    ]
    return pd.DataFrame(rows)


def task_rows(right: Training, done: Iterable[tuple[Problem, Task]]) -> pd.DataFrame:
    """Return a row per block and task of the study of mistakes.

    Returns
    -------
    DataFrame
        As of `block_rows`, with `problem`, `mistake` and `seeds` in place of `variant`, `rule`,
        `seed` and `networks`.
    """
    ran: list[tuple[Problem, Block | Task, str, tuple[int, ...]]] = [
        (right.problem, block, RIGHT, (block.seed,)) for block in (*right.pilot, *right.blocks)
    ]
    ran += [(problem, task, task.mistake, task.seeds) for problem, task in done]
    rows = [
        {
            **named(one.key(problem), right.store),
            "problem": problem.name,
            "mistake": mistake,
            "batch_size": one.batch_size,
            "seeds": spaced(seeds),
            "epochs": one.epochs,
            "learning_rates": spaced(one.learning_rates),
        }
        for problem, one, mistake, seeds in ran
    ]
    return pd.DataFrame(rows)


def named(key: str, store: Store) -> dict[str, str]:
    """Return a block's key, and the sha256 of its file as this process read or wrote it."""
    return {"block": key, "sha256": store.digests[key]}


def spaced(numbers: Iterable[float]) -> str:
    """Return numbers between spaces, each with all its digits."""
    return " ".join(map(repr, numbers))


def write(folder: Path, rows: pd.DataFrame) -> str:
    """Write blocks.csv; return its own sha256, in hex."""
    csv_files.write(rows, folder / NAME)
    return hashlib.sha256((folder / NAME).read_bytes()).hexdigest()


def told(n_blocks: int, digest: str) -> str:
    """Return what the page's Method says of the blocks."""
    return f"{n_blocks:,}, named with the sha256 of each in {NAME}, whose own sha256 is {digest}"


def repeated(key: str, times: int) -> pa.Array:
    """Return a block's key so many times, as a column of the type `KEY`."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), [key])


def with_blocks(runs: pd.DataFrame, problem: Problem, blocks: Sequence[Block]) -> pd.DataFrame:
    """Return rows of a training's runs, or of its cells and seeds, with the column `block`.

    A run that stood in two blocks, in which it did the same to the bit, is the first one's.
    """
    keys = [block.key(problem) for block in blocks]
    where: list[dict[str, Any]] = [
        {"batch_size": block.batch_size, "seed": block.seed, "learning_rate": rate, "at": at}
        for at, block in enumerate(blocks)
        for rate in block.learning_rates
        if block.networks is None
    ]
    at = runs[RUN].merge(pd.DataFrame(where).drop_duplicates(RUN), on=RUN, how="left")["at"]
    return runs.assign(block=pd.Categorical.from_codes(at, keys))
