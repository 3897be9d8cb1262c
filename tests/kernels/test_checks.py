"""Every refusal of the public functions: one line that names the argument and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_examples import DIGITS_LIKE, XOR, XOR_X, XOR_Y, random_case

from kernels import (
    Momentum,
    Network,
    active_units,
    evaluate,
    forward,
    init_params,
    loss,
    loss_and_gradient,
    per_sample_gradients,
    predict,
    train,
)

NAN, INF = np.nan, np.inf
PARAMS, X, Y = random_case(DIGITS_LIKE, 1, 6)
TWO_SIGMOIDS = Network((2, 2))
TWO_LINEAR = Network((2, 2), output="linear", loss="half_mse")
FEW_PARAMS = init_params(TWO_SIGMOIDS, 0)


def refuses(message: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Assert that a call is refused in one line that holds the message."""
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)


def call(**changes: Any) -> Any:
    """Train the digits-like network for one epoch."""
    options: dict[str, Any] = {
        "network": DIGITS_LIKE,
        "params": PARAMS,
        "X": X,
        "y": Y,
        "batch_size": 2,
        "learning_rate": 0.1,
        "epochs": 1,
        **changes,
    }
    positional = [options.pop(name) for name in ("network", "params", "X", "y")]
    return train(*positional, **options)


def with_value(array: Any, row: int, value: float) -> Any:
    """A float copy of an array with one value put into a row."""
    copy = np.array(array, dtype=np.float64)
    copy[row] = value
    return copy


# Parameters

BAD_PARAMS = [
    (np.zeros(5), "params must have shape (171,) or (n_runs, 171) for widths (20, 7, 3), got (5,)"),
    (np.zeros((2, 170)), "got (2, 170): see init_params"),
    (np.zeros((0, 171)), "got (0, 171)"),
    (np.zeros((1, 1, 171)), "got (1, 1, 171)"),
    (0.5, "got ()"),
    (np.zeros(171, np.float16), "params must be float32 or float64, got float16: use .astype(...)"),
    (np.zeros(171, complex), "params must be float32 or float64, got complex128"),
    (["a"] * 171, "params must be float32 or float64, got <U1"),
    (None, "params must be float32 or float64, got object"),
]
FUNCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "train": lambda p, X, y: call(params=p, X=X, y=y),
    "forward": lambda p, X, _: forward(DIGITS_LIKE, p, X),
    "predict": lambda p, X, _: predict(DIGITS_LIKE, p, X),
    "active_units": lambda p, X, _: active_units(DIGITS_LIKE, p, X),
    "loss": lambda p, X, y: loss(DIGITS_LIKE, p, X, y),
    "evaluate": lambda p, X, y: evaluate(DIGITS_LIKE, p, X, y),
    "loss_and_gradient": lambda p, X, y: loss_and_gradient(DIGITS_LIKE, p, X, y),
    "per_sample_gradients": lambda p, X, y: per_sample_gradients(DIGITS_LIKE, p, X, y),
}
of_each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@of_each_function
@pytest.mark.parametrize(("params", "message"), BAD_PARAMS)
def test_params_errors(params: Any, message: str, function: Callable[..., Any]) -> None:
    """Parameters of another shape or dtype are refused by every function."""
    refuses(message, function, params, X, Y)


@pytest.mark.parametrize(
    "name", ["forward", "predict", "loss", "loss_and_gradient", "per_sample_gradients"]
)
def test_functions_of_one_run_refuse_many(name: str) -> None:
    """Parameters of several runs are refused where one result is due."""
    many = np.zeros((2, DIGITS_LIKE.n_params))
    refuses("params must have shape (171,), got (2, 171)", FUNCTIONS[name], many, X, Y)


# Inputs

BAD_X = [
    (X[0], "X must have shape (n, 20) for widths (20, 7, 3), got (20,): use X.reshape(1, -1)"),
    (X[:, :19], "X must have shape (n, 20) for widths (20, 7, 3), got (6, 19)"),
    (X[None], "got (1, 6, 20)"),
    (X[:0], "X has no rows: at least one sample is needed"),
    (with_value(X, 4, NAN), "X holds NaN or infinity in row 4: drop or fill such samples"),
    (with_value(X, 2, -INF), "X holds NaN or infinity in row 2"),
    (X.astype(str), "X must hold numbers, got dtype <U"),
    (X.astype(object), "X must hold numbers, got dtype object"),
    (X.astype(complex), "X must hold numbers, got dtype complex128"),
    (None, "X must hold numbers, got dtype object"),
]


@of_each_function
@pytest.mark.parametrize(("samples", "message"), BAD_X)
def test_input_errors(samples: Any, message: str, function: Callable[..., Any]) -> None:
    """Samples of another shape, none, or ones that are not finite are refused everywhere."""
    refuses(message, function, PARAMS, samples, Y)


def test_inputs_too_large_for_float32_are_refused() -> None:
    """A finite float64 that becomes infinite in the parameters' float32 is told as such."""
    refuses(
        "X is too large for float32 in row 3: scale it, or use float64",
        call,
        params=PARAMS.astype(np.float32),
        X=with_value(X, 3, 1e39),
    )


# Labels and targets

BAD_CLASSES = [
    (Y[:5], "y must have 6 rows like its inputs, got shape (5,)"),
    (3, "y must have 6 rows like its inputs, got shape ()"),
    (np.zeros((6, 3, 1)), "y must have 6 rows like its inputs, got shape (6, 3, 1)"),
    ([0, 1, 3, 0, 5, 1], "y must hold classes 0..2 for 3 outputs, got 3 in row 2"),
    (with_value(Y, 2, -1), "y must hold classes 0..2 for 3 outputs, got -1.0 in row 2"),
    (with_value(Y, 5, 0.5), "y must hold classes 0..2 for 3 outputs, got 0.5 in row 5"),
    (with_value(Y, 1, NAN), "y holds NaN or infinity in row 1: drop or fill such samples"),
    (
        Y[:, None],
        "y must have shape (6,) or (6, 3) for 3 outputs, got (6, 1): use y.ravel()",
    ),
    (np.eye(4)[Y], "y must have shape (6,) or (6, 3) for 3 outputs, got (6, 4)"),
    (np.full((6, 3), 0.5), "each row of y must sum to 1 for a softmax output"),
    (np.tile([2.0, -1, 0], (6, 1)), "y must lie in 0..1 for a softmax output"),
    (with_value(np.eye(3)[Y], 3, NAN), "y holds NaN or infinity in row 3"),
    (np.array(["cat", "dog"] * 3), "use numpy.unique(y, return_inverse=True) for named classes"),
    ([None] * 6, "y must hold numbers, got dtype object"),
]


@pytest.mark.parametrize(
    "name", ["train", "loss", "evaluate", "loss_and_gradient", "per_sample_gradients"]
)
@pytest.mark.parametrize(("labels", "message"), BAD_CLASSES)
def test_class_errors(labels: Any, message: str, name: str) -> None:
    """Labels that are no classes of the network are refused by every function that takes them."""
    refuses(message, FUNCTIONS[name], PARAMS, X, labels)


@pytest.mark.parametrize(
    ("network", "labels", "message"),
    [
        (XOR, [0, 1, 2, 0], "y must lie in 0..1 for a sigmoid output"),
        (XOR, [-1, 1, 1, -1], "y must lie in 0..1 for a sigmoid output"),
        (XOR, np.zeros((4, 4)), "y must have shape (4,) or (4, 1) for 1 outputs, got (4, 4)"),
        (TWO_SIGMOIDS, [0, 1, 1, 0], "y must have shape (4, 2) for 2 outputs, got (4,)"),
        (TWO_LINEAR, [0.0, 1, 1, 0], "y must have shape (4, 2) for 2 outputs, got (4,)"),
        (TWO_LINEAR, np.zeros((4, 1)), "got (4, 1): use y.ravel()"),
        (TWO_LINEAR, np.full((4, 2), INF), "y holds NaN or infinity in row 0"),
    ],
)
def test_target_errors(network: Network, labels: Any, message: str) -> None:
    """Targets of another shape or outside an output's range are refused."""
    params = init_params(network, 0)
    refuses(message, loss_and_gradient, network, params, XOR_X, labels)
    refuses(message, call, network=network, params=params, X=XOR_X, y=labels)


def test_targets_too_large_for_float32_are_refused() -> None:
    """A target that becomes infinite in float32 is told as such."""
    refuses(
        "y is too large for float32 in row 1",
        call,
        network=TWO_LINEAR,
        params=FEW_PARAMS.astype(np.float32),
        X=XOR_X,
        y=with_value(np.zeros((4, 2)), 1, 1e39),
    )


# Rates, batches, epochs, threads, seeds

NO_WHOLE_NUMBERS = [-1, 1.5, NAN, INF, None, "3", True, [1], np.array([1, 2])]


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (-0.1, "learning_rate must be finite and 0 or more"),
        (NAN, "learning_rate must be finite and 0 or more"),
        (INF, "learning_rate must be finite and 0 or more"),
        ([0.1, -1], "learning_rate must be finite and 0 or more"),
        (None, "learning_rate"),
        ("fast", "learning_rate"),
        (1j, "learning_rate"),
        ([], "learning_rate must be a number or (n_runs,), got shape (0,)"),
        ([[0.1]], "learning_rate must be a number or (n_runs,), got shape (1, 1)"),
    ],
)
def test_learning_rate_errors(rate: Any, message: str) -> None:
    """A rate that is no finite number of 0 or more is refused."""
    refuses(message, call, learning_rate=rate)


def test_rates_too_large_for_float32_are_refused() -> None:
    """A finite rate that becomes infinite in the parameters' float32 is refused by name."""
    refuses("learning_rate", call, params=PARAMS.astype(np.float32), learning_rate=1e39)


def test_runs_of_params_and_rates_must_match() -> None:
    """Two rows of params and three rates make no runs."""
    refuses(
        "params hold 2 runs and learning_rate holds 3",
        call,
        params=np.stack([PARAMS, PARAMS]),
        learning_rate=[0.1, 0.2, 0.3],
    )


@pytest.mark.parametrize("batch_size", [0, *NO_WHOLE_NUMBERS, "half", "FULL"])
def test_batch_size_errors(batch_size: Any) -> None:
    """A batch size is a whole number of 1 or more, or "full"."""
    refuses("batch_size must be", call, batch_size=batch_size)


@pytest.mark.parametrize("epochs", NO_WHOLE_NUMBERS)
def test_epochs_errors(epochs: Any) -> None:
    """The number of epochs is a whole number of 0 or more."""
    refuses("epochs must be a whole number of 0 or more", call, epochs=epochs)


@pytest.mark.parametrize("threads", [0, *NO_WHOLE_NUMBERS])
def test_threads_errors(threads: Any) -> None:
    """The number of threads is a whole number of 1 or more."""
    refuses("threads must be", call, threads=threads)


@pytest.mark.parametrize("seed", [-1, 1.5, NAN, INF, None, "3", [1]])
def test_seed_errors(seed: Any) -> None:
    """A seed is a whole number of 0 or more."""
    refuses("seed must be a whole number of 0 or more", call, seed=seed)


# Order, checkpoints, evaluation sets, state


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([[0, 6]], "order must hold indices 0..5 of the 6 samples, got 0..6"),
        ([[0, -1]], "order must hold indices 0..5 of the 6 samples, got -1..0"),
        ([0, 1], "order must have shape (epochs, m) = (1, m) with m of 1 or more, got (2,)"),
        ([[0], [1]], "order must have shape (epochs, m) = (1, m) with m of 1 or more, got (2, 1)"),
        (np.zeros((1, 0), int), "with m of 1 or more, got (1, 0)"),
        ([[0.0, 1.0]], "order must hold whole numbers, got dtype float64"),
        ([[True, False]], "order must hold whole numbers, got dtype bool"),
        ("random", "order must hold whole numbers, got dtype <U6"),
        (np.array([[2**63]], np.uint64), "order must hold indices 0..5"),
    ],
)
def test_order_errors(order: Any, message: str) -> None:
    """An order of another shape, or with an index out of range, is refused."""
    refuses(message, call, order=order)


@pytest.mark.parametrize("checkpoints", [[-1], [1.5], [NAN], 5, [[1]], "all", [None], [True]])
def test_checkpoints_errors(checkpoints: Any) -> None:
    """Checkpoints are whole numbers of examples in one row."""
    refuses("checkpoints must be whole numbers of examples", call, checkpoints=checkpoints)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"test": X}, "eval_sets['test'] must be a pair (X, y)"),
        ({"test": 3}, "eval_sets['test'] must be a pair (X, y)"),
        ({"test": (X, Y, Y)}, "eval_sets['test'] must be a pair (X, y)"),
        ({"test": (X[:, :3], Y)}, "eval_sets['test'] X must have shape (n, 20)"),
        ({"test": (X[:0], Y[:0])}, "eval_sets['test'] X has no rows"),
        ({"test": (X, Y[:3])}, "eval_sets['test'] y must have 6 rows like its inputs"),
        ({"test": (X, Y + 3)}, "eval_sets['test'] y must hold classes 0..2"),
        ([("test", (X, Y))], "eval_sets must be"),
        ((X, Y), "eval_sets must be"),
        ({"": (X, Y)}, "eval_sets"),
    ],
)
def test_eval_sets_errors(sets: Any, message: str) -> None:
    """An evaluation set is checked as X and y are, and named."""
    refuses(message, call, eval_sets=sets)


def test_a_state_of_another_rule_is_refused() -> None:
    """A rule goes on from its own memory only, not from one of the same shape either."""
    state = call(rule="momentum").state
    refuses("state is that of Momentum(beta=0.9), and cannot go on with SGD()", call, state=state)
    for rule in ("nesterov", "adam", Momentum(0.5)):
        refuses("state is that of Momentum(beta=0.9)", call, state=state, rule=rule)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": [0.1, 0.2]},
        {"params": PARAMS.astype(np.float32)},
        {"network": XOR, "params": init_params(XOR, 0), "X": XOR_X, "y": XOR_Y},
    ],
    ids=["more runs", "another dtype", "another network"],
)
def test_a_state_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    """A state of one float64 run is no state of more runs, another dtype or another network."""
    state = call(rule="momentum").state
    refuses("state does not fit", call, state=state, rule="momentum", **changes)


@pytest.mark.parametrize("state", [5, "last", {}])
def test_what_is_no_state_is_refused(state: Any) -> None:
    """Another object than a result's state is refused by name."""
    refuses("state must be", call, state=state)


def test_a_result_is_no_state() -> None:
    """Whoever gives the result in place of its state is told so."""
    refuses("state must be", call, state=call())
