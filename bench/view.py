"""The files of a study's folder: runs, networks, tables of the evidence, claims, study.json."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import kernels
from bench import block_list, csv_files
from bench.analysis.evidence import Evidence
from bench.analysis.outcomes import CAUSES
from bench.errors import InputError
from bench.experiments.block import Block, BlockResult
from bench.options import Options
from bench.populations import Populations
from bench.problems import Problem
from bench.stages import Training

# Rows gathered before a row group is written: so many are in memory, whatever the number of runs
ROW_GROUP = 16_384
# Of a population, the trajectories of this many networks (of seed 0) are written
TRAJECTORIES = 200

SUMMARY_COLUMNS = (
    "rule", "batch_size", "protocol", "base_batch_size", "learning_rate", "n_seeds", "target",
    "success_rate", "success_low", "success_high", "updates", "updates_low", "updates_high",
    "examples", "examples_low", "examples_high", "seconds", "seconds_low", "seconds_high",
    "diverged_rate", "dead_rate", "stuck_rate", "largest_stable_learning_rate",
    "smallest_unstable_learning_rate",
)  # fmt: skip

# Frames of the evidence that are files of their own where they have rows: every row that medians,
# figures and claims about noise, stability and the trade-off are taken of, with all its digits.
# `Evidence` describes their columns.
TABLES = (
    "powers", "noise", "noise_scale", "noise_average", "uphill", "sharpness", "theory", "tradeoff",
    "fastest", "rate_growth", "rules",
)  # fmt: skip

TEXT, FLAG = pa.string(), pa.bool_()
ARM = [
    ("rule", TEXT),
    ("batch_size", pa.int64()),
    ("learning_rate", pa.float64()),
    ("seed", pa.int64()),
    ("network", pa.int64()),
    ("role", TEXT),
]
FLAGS = ("diverged", "dead", "newly_dead", "stuck", "failed")
OUTCOME = [(name, FLAG) for name in FLAGS]
NETWORKS = pa.schema(
    [
        ("variant", TEXT),
        *ARM,
        *((name, pa.float32()) for name in ("initial_loss", "final_loss", "final_score")),
        *((name, pa.float32()) for name in ("hit_0", "hit_1", "hit_2")),
        ("success", FLAG),
        ("cause", TEXT),
        *OUTCOME,
        ("block", block_list.KEY),
    ]
)

COUNTS = pa.schema(
    [
        ("variant", TEXT),
        *(field for field in ARM if field[0] != "network"),
        *((name, pa.int64()) for name in ("n", "solved", *CAUSES)),
        ("block", block_list.KEY),
    ]
)


def runs_schema(score: str) -> pa.Schema:
    """Return the columns of runs.parquet; `score` is "accuracy" or "rmse"."""
    counts = [("examples", pa.int64()), ("updates", pa.int64())]
    numbers = ("loss", score, "test_loss", f"test_{score}")
    floats = [(name, pa.float64()) for name in numbers]
    return pa.schema([*ARM, *counts, *floats, *OUTCOME, ("block", block_list.KEY)])


def write(
    folder: Path,
    training: Training,
    populations: Populations | None,
    evidence: Evidence,
    settings: Options,
) -> None:
    """Write all files of a study.

    Parameters
    ----------
    folder
        Empty.
    training, populations
        What was run, and, of a problem that is learned by populations, what besides.
    evidence
        What came out.
    settings
        The options of the study.
    """
    record = study_record(training, populations, evidence, settings)
    others = (*training.by_rule.values(), *(populations.trainings if populations else ()))
    digest = block_list.write(folder, block_list.block_rows(training, others))
    record["blocks_sha256"] = digest
    footer = {"study": record["id"]}
    score = "accuracy" if training.problem.network.is_classifier else "rmse"
    write_parquet(folder / "runs.parquet", runs_schema(score), all_run_rows(training), footer)
    if populations:
        networks = network_rows(training, populations)
        write_parquet(folder / "networks.parquet", NETWORKS, networks, footer)
        counts = count_rows(training, populations)
        write_parquet(folder / "counts.parquet", COUNTS, counts, footer)
    write_summary(folder / "summary.csv", evidence.summary)
    csv_files.write(evidence.seconds, folder / "seconds.csv")
    write_tables(folder, evidence)
    write_json(folder / "claims.json", evidence.claims)
    from bench import report  # which imports Matplotlib

    report.write(evidence, folder, facts(record))
    write_json(folder / "study.json", record)


def study_record(
    training: Training, populations: Populations | None, evidence: Evidence, settings: Options
) -> dict[str, Any]:
    """Return the content of study.json: everything needed to run the study again."""
    from bench import report

    problem = training.problem
    trainings = [*training.all_rules(), *(populations.trainings if populations else ())]
    keys = [block.key(problem) for block in training.pilot]
    keys += [block.key(t.problem) for t in trainings for block in t.blocks]
    options = settings.stored()
    identity = json.dumps([problem.name, inputs(problem), options, evidence.targets, keys])
    source = problem.table.reading.source if problem.table else ""
    return {
        "study": problem.name,
        "id": hashlib.sha256(identity.encode()).hexdigest(),
        "title": problem.title,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": settings.command(source or problem.name),
        "source": source,
        "options": options,
        "rounds": rounds(evidence),
        "problem": {
            **asdict(problem.network),
            "scheme": problem.scheme,
            "n_train": problem.n_train,
            "n_test": len(problem.X_test),
            "preparation": problem.preparation,
        },
        "inputs": inputs(problem),
        "versions": versions(),
        "machine": machine(),
        "targets": evidence.targets,
        "batch_sizes": training.batch_sizes,
        "picks": evidence.picks.to_dict("records"),
        "recommended": recommended(evidence),
        "stages": training.stages,
        "told": [*training.told, *training.store.warnings, *evidence.warnings],
        "answer": report.terminal_summary(evidence),
        "blocks": keys,
    }


def inputs(problem: Problem) -> dict[str, str]:
    """Return what runs depend on, beside the options."""
    return {
        "problem": problem.content_hash(),
        "kernels": kernels.KERNEL_HASH,
        "instruction_set": kernels.INSTRUCTION_SET,
    }


def rounds(evidence: Evidence) -> dict[str, int] | None:
    """Return how many rounds a study within a budget went through, and of how many."""
    if "rounds_of" not in evidence.options:
        return None
    return {"done": evidence.options["rounds"], "of": evidence.options["rounds_of"]}


def recommended(evidence: Evidence) -> list[dict[str, Any]]:
    """Return what is recommended: for the fewest passes (program ""), and for each program."""
    return [
        {
            "axis": one.axis,
            "program": one.program,
            "batch_size": one.chosen,
            "learning_rate": one.learning_rates[one.chosen],
            "batch_sizes": one.batch_sizes,
        }
        for one in evidence.recommendations
        if one.chosen is not None
    ]


def versions() -> dict[str, str]:
    """Return the versions of Python, of this program, and of what it computes with."""
    names = ("batchbench", "numpy", "numba", "llvmlite", "scipy", "scikit-learn", "pandas")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def machine() -> dict[str, Any]:
    """Return what seconds depend on: processor, cores, system; no name, no path."""
    return {
        "processor": kernels.instruction_set.CPU,
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
    }


def facts(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the page's Method says of how the study was made, by label."""
    about = record["machine"]
    return {
        "Command": record["command"],
        "Date": record["date"],
        "Machine": f"{about['processor']} ({record['inputs']['instruction_set']}), "
        f"{about['cores']} cores, {about['system']}",
        "Versions": ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
        "Kernels": record["inputs"]["kernels"],
        "Blocks": block_list.told(len(record["blocks"]), record["blocks_sha256"]),
        "Study": record["id"],
    }


def run_rows(
    key: str, block: Block, result: BlockResult, outcomes: pd.DataFrame, score: str
) -> pa.Table:
    """Return the rows of runs.parquet of one block: a row per run and checkpoint.

    Parameters
    ----------
    key, block, result
        The block, and what its runs did.
    outcomes
        A row per run of the block, in any order.
    score
        "accuracy" or "rmse".
    """
    kept = outcomes[outcomes.network < TRAJECTORIES].sort_values(["network", "learning_rate"])
    n_runs, n_checkpoints = len(kept), len(result.examples)

    def per_run(values: Any) -> Any:
        return np.repeat(np.asarray(values), n_checkpoints)

    def trajectories(values: Any) -> Any:
        return values.reshape(-1, n_checkpoints)[:n_runs].ravel()

    columns = {
        "rule": per_run([block.rule] * n_runs),
        "batch_size": per_run([block.batch_size] * n_runs),
        **{name: per_run(kept[name]) for name in ("learning_rate", "seed", "network", "role")},
        "examples": np.tile(result.examples, n_runs),
        "updates": np.tile(result.updates, n_runs),
        "loss": trajectories(result.loss),
        score: trajectories(result.score),
        "test_loss": trajectories(result.test_loss),
        f"test_{score}": trajectories(result.test_score),
        **{name: per_run(kept[name]) for name in FLAGS},
        "block": block_list.repeated(key, n_runs * n_checkpoints),
    }
    return pa.Table.from_pydict(columns, schema=runs_schema(score))


def all_run_rows(training: Training) -> Iterator[pa.Table]:
    """Yield the rows of runs.parquet block by block, each with what `outcomes` says of its runs."""
    outcomes = training.outcomes()
    score = "accuracy" if training.problem.network.is_classifier else "rmse"
    start = 0
    for block, result in training.results():
        if block.population is None or block.seed == 0:
            end = start + result.diverged.size
            key = block.key(training.problem)
            yield run_rows(key, block, result, outcomes.iloc[start:end], score)
        start += result.diverged.size
    for other in training.by_rule.values():
        yield from all_run_rows(other)


def network_rows(training: Training, populations: Populations) -> Iterator[pa.Table]:
    """Yield the rows of networks.parquet, a variant at a time: a row per network and rate.

    Of the problem itself at all rates; of its variants, which would be ten million rows, at the
    best rate of each batch size.
    """
    own = training.outcomes().assign(variant=next(iter(populations.runs.variants)))
    for outcomes in (own, *populations.networks):
        found = with_blocks(outcomes, outcomes.variant.iloc[0], training, populations)
        yield pa.Table.from_pandas(found[NETWORKS.names], NETWORKS, preserve_index=False)


def count_rows(training: Training, populations: Populations) -> Iterator[pa.Table]:
    """Yield the rows of counts.parquet, a variant at a time."""
    for variant, counts in populations.runs.counts.groupby("variant", sort=False):
        found = with_blocks(counts, str(variant), training, populations)
        yield pa.Table.from_pandas(found[COUNTS.names], COUNTS, preserve_index=False)


def with_blocks(
    rows: pd.DataFrame, variant: str, training: Training, populations: Populations
) -> pd.DataFrame:
    """Return rows about the networks of a variant, each with its block."""
    problem = populations.runs.variants[variant].problem
    trainings = (training, *populations.trainings)
    blocks = [
        block for one in trainings if one.problem.name == problem.name for block in one.blocks
    ]
    return block_list.with_blocks(rows, problem, blocks)


def write_parquet(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], metadata: Mapping[str, str]
) -> None:
    """Write tables as they come; the metadata stand in the footer, with the schema.

    Few large row groups, whatever the size of the tables: readers are slow on many small ones.
    """
    described = schema.with_metadata(dict(metadata))
    with pq.ParquetWriter(path, described, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(table)
            if sum(part.num_rows for part in waiting) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting).unify_dictionaries())
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting).unify_dictionaries())


def write_tables(folder: Path, evidence: Evidence) -> None:
    """Write the `TABLES` that have rows, and ratios.csv: T of each batch size over the best's."""
    tables = {name: getattr(evidence, name) for name in TABLES}
    ratios = [
        one.ratios.assign(axis=one.axis, program=one.program) for one in evidence.recommendations
    ]
    if ratios:
        tables["ratios"] = pd.concat(ratios, ignore_index=True)
    for name, table in tables.items():
        if len(table):
            csv_files.write(table, folder / f"{name}.csv")


def write_summary(path: Path, summary: pd.DataFrame) -> None:
    """Write summary.csv: pinned columns first; not reached is inf, no value is empty."""
    further = [name for name in summary.columns if name not in SUMMARY_COLUMNS]
    csv_files.write(summary[[*SUMMARY_COLUMNS, *further]], path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that every parser takes: infinity is 1e999, which they read back as such.

    Not a number is null.
    """
    text = json.dumps(_plain(value), indent=1, allow_nan=False, ensure_ascii=False)
    for mark, number in MARKS.items():
        text = text.replace(f'"{mark}"', number)
    # Half of a surrogate pair, as in names of files that are not UTF-8, becomes its JSON escape
    path.write_bytes(f"{text}\n".encode("utf-8", "backslashreplace"))


MARKS = {"\ufdd0+": "1e999", "\ufdd0-": "-1e999"}  # U+FDD0 is no character: no text holds it


def as_json(value: Any) -> Any:
    """Return the value as it comes back from a JSON file."""
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return Python's own lists, dicts and numbers, infinities marked."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "\ufdd0+" if value > 0 else "\ufdd0-"
    return value


RECORD = {"study": str, "id": str, "title": str, "options": dict, "answer": str, "blocks": list}


def read_record(folder: Path) -> dict[str, Any]:
    """Return the content of a study's study.json.

    Raises
    ------
    InputError
        Where it is missing or damaged, or lacks what every study has.
    """
    path = folder / "study.json"
    found = read_json(path)
    record: dict[str, Any] = found if isinstance(found, dict) else {}
    for name, kind in RECORD.items():
        if not isinstance(record.get(name), kind):
            raise InputError(
                f"{path} is not a study's, or of another version (no {name}): run the study again"
            )
    return record


def read_table(path: Path) -> pd.DataFrame:
    """Return a table of a study.

    Raises
    ------
    InputError
        Where its file is missing or damaged.
    """
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else csv_files.read(path)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: not every study has it, or it was lost") from None
    except (OSError, ValueError) as error:  # those of pyarrow and pandas are among them
        why = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read ({why}): run the study again") from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of a study.

    Raises
    ------
    InputError
        Where it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: is {path.parent} a study's folder?") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): run the study again") from None
