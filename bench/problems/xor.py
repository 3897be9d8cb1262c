"""The notes' problem: XOR, learned by populations of 2-2-1 networks, and its variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bench.problems.problem import Problem
from kernels import Network

# Weights of the 2-2-1 network that compute XOR: W1 all 1, b1 = (0, -1), W2 = (1, -2), b2 = -1/2.
# Logits: -1/2, 1/2, 1/2, -1/2. The larger W2 and b2 are in this proportion, the lower the loss.
SOLUTION = (1.0, 1.0, 1.0, 1.0, 0.0, -1.0, 1.0, -2.0, -0.5)

# Levels of each factor: of the quick study, and of the whole one. The problem's own level, where
# it is among them, is no variant
NOTES_FACTORS: dict[str, tuple[str, ...]] = {
    "width": ("2", "3", "4", "8"),
    "depth": ("2",),
    "initialization": ("uniform_fan_in", "truncated_normal"),
    "activation": ("tanh",),
}
FACTORS: dict[str, tuple[str, ...]] = {
    "width": ("2", "3", "4", "6", "8", "10"),
    "depth": ("2", "4"),
    "activation": ("relu", "tanh", "leaky_relu"),
    "initialization": ("he", "uniform_fan_in", "truncated_normal"),
    "inputs": ("{-1, 1}",),
    "rule": ("sgd", "momentum", "nesterov", "adam"),
}


def notes() -> Problem:
    """Return the notes' problem with a few variants: the quick study.

    Targets lie below XOR's plateaus (.693, .477, .347); every run is given 10,000 updates.
    """
    return Problem(
        name="notes",
        title="The notes' network on XOR, 4 x 2",
        network=Network((2, 2, 1), "relu", "sigmoid", "bce"),
        X_train=np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32),
        y_train=np.array([0, 1, 1, 0], np.int64),
        X_test=np.empty((0, 2), np.float32),
        y_test=np.empty(0, np.int64),
        feature_names=("x1", "x2"),
        class_names=("0", "1"),
        preparation=("The four rows of XOR as they are, inputs 0 and 1; nothing is held out.",),
        population=256,
        factors=NOTES_FACTORS,
        targets=(0.3, 0.2, 0.1),
        updates_budget=10_000,
    )


def xor() -> Problem:
    """Return the notes' problem with all variants: the whole study.

    40 of 60 blocks report: 10,240 networks a cell. Networks that fail are given 100,000 updates.
    """
    return replace(
        notes(),
        name="xor",
        title="XOR, 4 x 2, and what helps to learn it",
        factors=FACTORS,
        seeds=60,
        longer=10,
    )


@dataclass(frozen=True)
class Variant:
    """A problem changed in one factor, and the rule that trains it.

    Parameters
    ----------
    factor, level
        What is changed, a key of `FACTORS`, and to what; "" for the problem itself.
    rule
        Name of the update rule.
    problem
        The changed problem.
    """

    factor: str
    level: str
    rule: str
    problem: Problem


def shape(problem: Problem) -> str:
    """Return the network's widths as text: "2-2-1"."""
    return "-".join(map(str, problem.network.widths))


def levels_of(problem: Problem, rule: str) -> dict[str, str]:
    """Return the level of each factor that a problem and a rule have.

    The width is that of the first hidden layer, the depth the width of a further one ("none").
    """
    hidden = problem.network.widths[1:-1]
    return {
        "width": str(hidden[0]) if hidden else "none",
        "depth": str(hidden[-1]) if len(hidden) > 1 else "none",
        "activation": problem.network.activation,
        "initialization": problem.scheme,
        "inputs": "{" + ", ".join(f"{x:g}" for x in np.unique(problem.X_train)) + "}",
        "rule": rule,
    }


def variants(problem: Problem, rule: str) -> dict[str, Variant]:
    """Return the problem itself, then its variants, one for each level of its factors, by label.

    Parameters
    ----------
    problem
        XOR, learned by populations; `Problem.factors` names the levels.
    rule
        That trains the problem and all variants but those of the rule.

    Returns
    -------
    dict
        Variants of the shape are labelled by it ("2-3-1"), others by the problem's own shape and
        the level ("2-2-1 tanh").
    """
    own, levels = shape(problem), levels_of(problem, rule)
    found = {own: Variant("", "", rule, problem)}
    for factor, wanted in problem.factors.items():
        for level in wanted:
            if level == levels[factor]:
                continue
            changed = replace(CHANGES.get(factor, _same)(problem, level), factors={})
            words = f"inputs {level}" if factor == "inputs" else level
            label = f"{own} {words}" if shape(changed) == own else shape(changed)
            changed = replace(changed, name=f"{problem.name}, {label}")
            used = level if factor == "rule" else rule
            found.setdefault(label, Variant(factor, level, used, changed))
    return found


def _same(problem: Problem, level: str) -> Problem:  # noqa: ARG001
    """The problem: another rule changes nothing of it."""
    return problem


def _shaped(problem: Problem, hidden: tuple[int, ...]) -> Problem:
    """The problem with other hidden layers."""
    network = problem.network
    widths = (network.n_inputs, *hidden, network.n_outputs)
    return replace(problem, network=replace(network, widths=widths))


def _wide(problem: Problem, level: str) -> Problem:
    return _shaped(problem, (int(level),))


def _deep(problem: Problem, level: str) -> Problem:
    return _shaped(problem, (*problem.network.widths[1:-1], int(level)))


def _activated(problem: Problem, level: str) -> Problem:
    return replace(problem, network=replace(problem.network, activation=level))


def _initialized(problem: Problem, level: str) -> Problem:
    return replace(problem, scheme=level)


def _coded(problem: Problem, level: str) -> Problem:
    """The problem with its two input values replaced, the lower by the first of the level's."""
    low, high = map(float, level.strip("{}").split(","))
    lower = problem.X_train == problem.X_train.min()
    return replace(problem, X_train=np.where(lower, low, high).astype(np.float32))


CHANGES: dict[str, Callable[[Problem, str], Problem]] = {
    "width": _wide,
    "depth": _deep,
    "activation": _activated,
    "initialization": _initialized,
    "inputs": _coded,
}
