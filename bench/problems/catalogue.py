"""The problems that come with the program: the notes' XOR and scikit-learn's own data sets."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bench.errors import InputError
from bench.problems.keep import kept
from bench.problems.prepare import split, standardize
from bench.problems.problem import Problem
from bench.problems.xor import notes, xor
from kernels import Network

SPLIT_TOLD = "A fifth of the rows, {how} with random_state 0, is held out as the test split."


def _classes(name: str, words: str, hidden: int) -> Problem:
    """Return one of scikit-learn's classification data sets, split and standardized."""
    data = _load(name)
    y = np.asarray(data.target, np.int64)
    train, test = split(len(y), y)
    names = tuple(str(column) for column in data.feature_names)
    X_train, X_test, told = standardize(data.data[train], data.data[test], names)
    classes = tuple(str(label) for label in data.target_names)
    n_inputs = X_train.shape[1]
    network = (
        Network((n_inputs, hidden, 1), "relu", "sigmoid", "bce")
        if len(classes) == 2
        else Network((n_inputs, hidden, len(classes)), "relu", "softmax", "ce")
    )
    return Problem(
        name=name,
        title=f"{words} (scikit-learn), {len(y)} x {n_inputs}",
        network=network,
        X_train=X_train,
        y_train=y[train],
        X_test=X_test,
        y_test=y[test],
        feature_names=names,
        class_names=classes,
        preparation=(SPLIT_TOLD.format(how="stratified by class and drawn"), *told),
    )


def _diabetes() -> Problem:
    """Return scikit-learn's diabetes data, in their own units before standardization."""
    data = _load("diabetes", scaled=False)
    y = np.asarray(data.target, np.float64)[:, None]
    train, test = split(len(y), None)
    names = tuple(str(column) for column in data.feature_names)
    X_train, X_test, told = standardize(data.data[train], data.data[test], names)
    y_train, y_test, _ = standardize(y[train], y[test], ("target",))
    return Problem(
        name="diabetes",
        title=f"Diabetes progression (scikit-learn), {len(y)} x {X_train.shape[1]}",
        network=Network((X_train.shape[1], 32, 1), "relu", "linear", "half_mse"),
        X_train=X_train,
        y_train=y_train[:, 0],
        X_test=X_test,
        y_test=y_test[:, 0],
        feature_names=names,
        class_names=(),
        preparation=(
            SPLIT_TOLD.format(how="drawn"),
            *told,
            "The target is standardized in the same way.",
        ),
    )


def _load(name: str, **options: Any) -> Any:
    """Return one of scikit-learn's bundled data sets."""
    from sklearn import datasets  # takes a second to import

    return getattr(datasets, f"load_{name}")(**options)


OF_SCIKIT_LEARN: dict[str, Callable[[], Problem]] = {
    "digits": partial(_classes, "digits", "Handwritten digits", 32),
    "iris": partial(_classes, "iris", "Iris flowers", 32),
    "wine": partial(_classes, "wine", "Wine cultivars", 32),
    "breast_cancer": partial(_classes, "breast_cancer", "Breast cancer biopsies", 32),
    "diabetes": _diabetes,
}
PROBLEMS: dict[str, Callable[[], Problem]] = {
    "notes": notes,
    "xor": xor,
    **{name: partial(kept, name, make) for name, make in OF_SCIKIT_LEARN.items()},
}


def load_problem(name: str) -> Problem:
    """Return the problem of that name.

    Raises
    ------
    InputError
        For a name that is not in `PROBLEMS`; the message holds the nearest one.
    """
    if name not in PROBLEMS:
        nearest = difflib.get_close_matches(name, PROBLEMS, n=1, cutoff=0)[0]
        raise InputError(
            f"unknown problem {name!r}: did you mean {nearest}? There are {', '.join(PROBLEMS)}"
        )
    return PROBLEMS[name]()
