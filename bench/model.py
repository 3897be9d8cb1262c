"""A trained network in a file, and what it predicts of other tables: plain arrays, no pickle."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, softmax

import kernels
from bench import arrays, csv_files
from bench.analysis.arms import OURS
from bench.analysis.evidence import Evidence
from bench.errors import InputError
from bench.experiments.files import put
from bench.plain import printable
from bench.problems import Problem
from bench.problems.table import Table
from bench.problems.table.read import path_label
from bench.problems.table.words import listed, shown
from kernels import Network

FORMAT = 1
SEED = 1  # the first that reports
MOST_TEXT = 1 << 24  # characters that describe a model: as Python's objects they take much more
MEMBERS = {"params", "model"}


@dataclass(frozen=True)
class Model:
    """A trained network and the table that it was trained on.

    Parameters
    ----------
    network
        Widths, activation, output, loss.
    params
        float32 (n_params,).
    table
        How columns become features, and outputs the target.
    about
        How it was trained, and its held-out scores: plain text and numbers.
    """

    network: Network
    params: NDArray[np.float32]
    table: Table
    about: dict[str, Any]


def train_model(evidence: Evidence) -> Model:
    """Train one network as recommended, up to where the held-out score was best.

    With the batch size and rate that are the fastest with our own engine, from seed 1.

    Raises
    ------
    InputError
        Where no batch size reached the target, or the problem is no table.
    """
    problem, choices = evidence.problem, evidence.choices
    if problem.table is None:
        raise InputError("save_model needs a table: the data that we know are not yours")
    if choices.empty:
        raise InputError("save_model: no batch size reached the target, there is nothing to save")
    ours = next((r for r in evidence.recommendations if r.program == OURS), None)
    mine = choices[choices.batch_size == ours.cheapest] if ours else choices
    row = mine.iloc[0]
    examples, n = int(row.best_examples), problem.n_train
    result = kernels.train(
        problem.network,
        kernels.init_params(problem.network, SEED, problem.scheme, np.float32, size=1),
        problem.X_train,
        problem.y_train,
        batch_size=int(row.batch_size),
        learning_rate=float(row.learning_rate),
        epochs=max(1, -(-examples // n)),
        rule=evidence.rule,
        seed=SEED,
        checkpoints=[examples],
        keep_params=True,
        scored=problem.scored,
    )
    assert result.trajectory is not None  # keep_params
    params = result.trajectory[0, int(np.searchsorted(result.examples, examples))]
    about = {
        "batch_size": int(row.batch_size),
        "learning_rate": float(row.learning_rate),
        "rule": evidence.rule,
        "seed": SEED,
        "examples": examples,
        "held_out": _held_out(problem, params),
    }
    return Model(problem.network, params, problem.table, about)


def _held_out(problem: Problem, params: NDArray[np.float32]) -> dict[str, float]:
    """Scores of a network on the test split; none without one."""
    if not problem.has_test:
        return {}
    found = kernels.evaluate(problem.network, params, *problem.scored_test)
    return {name: float(value) for name, value in found.items()}


def save_model(model: Model, path: Path) -> None:
    """Write a model's file: it is there as a whole, or not at all.

    Raises
    ------
    InputError
        Where it cannot be written.
    """
    about = {
        "format": FORMAT,
        "network": asdict(model.network),
        "table": model.table.to_json(),
        "about": model.about,
    }
    described = json.dumps(about)
    if model.params.nbytes > arrays.MOST_BYTES // 2:
        raise InputError(
            f"save_model: {model.params.size:,} parameters are more than a model's file may hold"
        )
    if len(described) > MOST_TEXT:
        raise InputError(
            f"save_model: the table's columns and levels take {len(described):,} characters, more "
            f"than {MOST_TEXT:,}: leave some out with --drop"
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, params=model.params, model=np.array(described))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # where it could not even be begun
            temporary.unlink()
        raise InputError(f"cannot write {path}: {error.strerror}; choose another file") from None


def load_model(path: Path) -> Model:
    """Return the model in a file.

    Raises
    ------
    InputError
        Where it is missing, damaged or no model's.
    """
    label = path_label(path)
    if not path.exists():
        raise InputError(f"{label} does not exist: `batchbench study FILE --save-model` makes one")
    if not path.is_file():
        raise InputError(f"{label} is no file: `batchbench study FILE --save-model` makes one")
    try:
        params, about = _members(path)
        fields = about["network"]
        network = Network(**{**fields, "widths": tuple(fields["widths"])})
        table = Table.from_json(about["table"])
        table.check()
        _check(network, params, table)
        return Model(network, params, table, dict(about["about"]))
    except arrays.DAMAGE as error:
        why = shown(str(error), 200) or type(error).__name__
        raise InputError(f"{label} is no model of batchbench ({why}): save it again") from None


def _members(path: Path) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return the parameters in a model's file, and what is told of them."""
    found = arrays.read_npz(path)
    if set(found) != MEMBERS:
        raise ValueError(f"it holds {listed(sorted(found))}")
    text = str(found["model"])
    if len(text) > MOST_TEXT:
        raise ValueError(f"its description has {len(text):,} characters")
    about = json.loads(text)
    if not isinstance(about, dict) or about["format"] != FORMAT:
        raise ValueError("of another version")
    return found["params"], about


def _check(network: Network, params: NDArray[Any], table: Table) -> None:
    """Refuse, with a ValueError, parts that do not belong together."""
    outputs = len(table.target.classes)
    if params.dtype != np.float32 or params.shape != (network.n_params,):
        raise ValueError(f"its parameters are {params.dtype} {params.shape}")
    if not np.isfinite(params).all():
        raise ValueError("its parameters are not finite")
    output = {0: "linear", 2: "sigmoid"}.get(outputs, "softmax")
    fits = (network.output, network.n_outputs) == (output, 1 if outputs in (0, 2) else outputs)
    if network.n_inputs != len(table.mean) or not fits:
        raise ValueError("its network does not fit its table")


def predict(model: Model, source: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Predict the target of a table.

    Parameters
    ----------
    model
        Trained.
    source
        Its columns are those of the training table; the target may be missing.

    Returns
    -------
    DataFrame
        A row per row of the table: `row` (from 1; "row number" where the target is named row),
        the target's column, in its own unit or as a class; of a classifier the probability of each
        class too, `P(class)`.

    Raises
    ------
    InputError
        Where the table cannot be read or lacks a column.
    """
    X, rows = model.table.encode(source)
    z, _ = kernels.forward(model.network, model.params, X)
    target = model.table.target
    columns = {"row" if target.name != "row" else "row number": rows}
    if not model.network.is_classifier:
        return pd.DataFrame(columns | {target.name: z[-1][:, 0] * target.scale + target.mean})
    if model.network.output == "softmax":
        shares = softmax(z[-1].astype(np.float64), axis=1)
    else:
        share = expit(z[-1].astype(np.float64)[:, 0])
        shares = np.column_stack([1.0 - share, share])
    best = shares.argmax(axis=1)
    columns |= {target.name: np.array(target.classes, dtype=object)[best]}
    return pd.DataFrame(columns | {f"P({c})": shares[:, k] for k, c in enumerate(target.classes)})


def write_predictions(model: Model, source: Path, out: Path | None) -> None:
    """Write a table's predictions as CSV, to a file or to standard output.

    Raises
    ------
    InputError
        As of `predict`, and where the file cannot be written.
    """
    found, text = predict(model, source), StringIO()
    csv_files.write(found, text, float_format="%.6g")
    if out is None:
        shown_text = text.getvalue()
        if sys.stdout.isatty():  # a program wants every byte, a terminal might obey some
            shown_text = printable(shown_text, kept="\n")
        click.echo(shown_text, nl=False)
        return
    try:
        data = text.getvalue().encode("utf-8", "backslashreplace")
        if out.is_file() or not out.exists():
            put(out, data)
        else:  # such as /dev/stdout
            out.write_bytes(data)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}; choose another --out") from None
