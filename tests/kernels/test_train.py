"""The public functions: what goes in, what comes out, where checkpoints lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_examples import (
    DIGITS_LIKE,
    XOR,
    XOR_X,
    XOR_Y,
    Array,
    assert_same_bits,
    assert_within,
    random_case,
)

from kernels import (
    Network,
    Result,
    active_units,
    checkpoint_grid,
    evaluate,
    forward,
    init_params,
    loss,
    loss_and_gradient,
    per_sample_gradients,
    predict,
    sample_order,
    train,
)
from kernels.reference import loss_reference, train_reference
from kernels.updates import RULES

ENGINES = pytest.mark.parametrize("many", [False, True], ids=["single", "block"])
LINEAR = Network((2, 3, 2), "tanh", "linear", "half_mse")
PARAMS, X, Y = random_case(DIGITS_LIKE, 1, 45)


def call(many: bool = False, **changes: Any) -> Result:
    """Train the digits-like network for two epochs of batches of 7 (six, and a ragged one of 3)."""
    options: dict[str, Any] = {
        "params": PARAMS[None] if many else PARAMS,
        "X": X,
        "y": Y,
        "batch_size": 7,
        "learning_rate": 0.1,
        "epochs": 2,
        "seed": 6,
        **changes,
    }
    return train(DIGITS_LIKE, options.pop("params"), options.pop("X"), options.pop("y"), **options)


# Shapes and dtypes of a result


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("runs", "rates", "lead"),
    [(None, None, ()), (1, None, (1,)), (3, None, (3,)), (None, 3, (3,)), (3, 3, (3,))],
)
def test_shapes_and_dtypes(
    runs: int | None, rates: int | None, lead: tuple[int, ...], dtype: Any
) -> None:
    """Results have a leading axis where params or rates had one; scores are always float64."""
    params = init_params(DIGITS_LIKE, 0, dtype=dtype, size=runs)
    learning_rate = 0.1 if rates is None else np.full(rates, 0.1)
    result = call(
        params=params,
        learning_rate=learning_rate,
        checkpoints=[10, 50],
        eval_sets={"test": (X[:9], Y[:9])},
        keep_params=True,
    )
    n = DIGITS_LIKE.n_params
    assert result.params.shape == (*lead, n)
    assert result.params.dtype == dtype
    assert result.trajectory is not None
    assert result.trajectory.shape == (*lead, 4, n)
    assert result.trajectory.dtype == dtype
    for scores in (result, result.eval["test"]):
        assert scores.loss.shape == (*lead, 4)
        assert scores.loss.dtype == np.float64
        assert scores.accuracy is not None
        assert scores.accuracy.shape == (*lead, 4)
        assert scores.accuracy.dtype == np.float64
        assert scores.rmse is None
    assert np.shape(result.diverged) == lead
    assert result.diverged.dtype == np.bool_
    assert result.examples.dtype == np.int64
    assert result.updates.dtype == np.int64
    assert result.examples.shape == result.updates.shape == (4,)


@ENGINES
def test_a_linear_output_has_rmse_and_no_accuracy(many: bool) -> None:
    """The rmse is over samples and outputs: sqrt(2 loss / outputs)."""
    params, samples, targets = random_case(LINEAR, 2, 11)
    result = train(
        LINEAR,
        params[None] if many else params,
        samples,
        targets,
        batch_size=3,
        learning_rate=0.1,
        epochs=1,
    )
    assert result.accuracy is None
    assert result.rmse is not None
    np.testing.assert_allclose(result.rmse, np.sqrt(result.loss), rtol=1e-14)


def test_params_are_not_changed() -> None:
    """Neither training nor any other function writes into what it was given."""
    params, samples, labels = PARAMS.copy(), X.copy(), Y.copy()
    call(params=params, X=samples, y=labels, eval_sets={"same": (samples, labels)})
    call(params=params, X=samples, y=labels, learning_rate=[0.1, 0.2], rule="adam")
    loss_and_gradient(DIGITS_LIKE, params, samples, labels)
    per_sample_gradients(DIGITS_LIKE, params, samples, labels)
    active_units(DIGITS_LIKE, params, samples)
    assert_same_bits(params, PARAMS)
    assert_same_bits(samples, X)
    assert_same_bits(labels, Y)


@ENGINES
def test_results_are_not_changed_by_the_next_call(many: bool) -> None:
    """A result shares no memory with what a later call overwrites."""
    first = call(many, rule="momentum")
    kept = first.params.copy(), first.state.slots.copy(), first.loss.copy()
    call(many, params=first.params, state=first.state, rule="momentum")
    assert_same_bits(first.params, kept[0])
    assert_same_bits(first.state.slots, kept[1])
    assert_same_bits(first.loss, kept[2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_compute_in_the_dtype_of_params(dtype: Any) -> None:
    """Forward, gradients and predictions have the parameters' dtype, whatever that of X."""
    params = PARAMS.astype(dtype)
    zs, activations = forward(DIGITS_LIKE, params, X)
    value, gradient = loss_and_gradient(DIGITS_LIKE, params, X, Y)
    rows = per_sample_gradients(DIGITS_LIKE, params, X, Y)
    assert {array.dtype for array in (*zs, *activations, gradient, rows)} == {np.dtype(dtype)}
    assert type(value) is float
    assert rows.shape == (45, DIGITS_LIKE.n_params)
    assert [z.shape for z in zs] == [a.shape for a in activations] == [(45, 7), (45, 3)]


def test_integer_parameters_become_float64() -> None:
    """A solution written in whole numbers is trained in float64."""
    params = [2, 2, 2, 2, 0, -2, 2, -4, -1]
    assert forward(XOR, params, XOR_X)[0][-1].dtype == np.float64
    assert predict(XOR, params, XOR_X).tolist() == [0, 1, 1, 0]


def test_float32_rates_are_not_promoted() -> None:
    """A NumPy float64 rate, a float32 one and a Python float train float32 runs alike."""
    params = PARAMS.astype(np.float32)
    results = [
        call(params=params, learning_rate=r) for r in (0.25, np.float64(0.25), np.array(0.25))
    ]
    for result in results:
        assert_same_bits(result.params, results[0].params)
        assert result.params.dtype == np.float32


# What a result says


@ENGINES
def test_loss_is_over_all_samples_at_the_checkpoints_parameters(many: bool) -> None:
    """Each recorded loss and accuracy is that of the kept parameters over all of X."""
    result = call(many, checkpoints=[7, 40, 60], keep_params=True)
    assert result.trajectory is not None
    for k, params in enumerate(result.trajectory.reshape(5, -1)):
        scores = evaluate(DIGITS_LIKE, params, X, Y)
        assert result.loss.reshape(-1)[k] == pytest.approx(scores["loss"], rel=1e-14)
        assert np.reshape(result.accuracy, -1)[k] == scores["accuracy"]
        assert scores["loss"] == pytest.approx(loss_reference(DIGITS_LIKE, params, X, Y), rel=1e-13)


@ENGINES
def test_trajectory_is_the_references_at_the_checkpoints_updates(many: bool) -> None:
    """Kept parameters are those after `result.updates` updates of the step-by-step loop."""
    result = call(many, checkpoints=range(0, 91, 4), keep_params=True)
    expected = train_reference(
        DIGITS_LIKE, PARAMS, X, Y, batch_size=7, learning_rate=0.1, order=sample_order(6, 45, 2)
    )
    assert result.trajectory is not None
    assert_within(
        result.trajectory.reshape(-1, DIGITS_LIKE.n_params),
        expected.trajectory[result.updates],
        2000,
        np.float64,
    )
    np.testing.assert_array_equal(result.examples, expected.examples[result.updates])


def test_without_keep_params_there_is_no_trajectory() -> None:
    """Parameters at the checkpoints are kept on request only."""
    assert call().trajectory is None


@ENGINES
def test_the_trajectory_begins_at_the_start_and_ends_at_the_result(many: bool) -> None:
    """Row 0 is the initial parameters, the last one the final ones, to the bit."""
    result = call(many, keep_params=True)
    assert result.trajectory is not None
    rows = result.trajectory.reshape(-1, DIGITS_LIKE.n_params)
    assert_same_bits(rows[0], PARAMS)
    assert_same_bits(rows[-1], result.params.reshape(-1))


@ENGINES
def test_evaluation_sets_are_evaluated_like_the_samples(many: bool) -> None:
    """Each set of its own size has the scores that `evaluate` gives, and changes no training."""
    sets = {"test": (X[:10], Y[:10]), "one": (X[3:4], Y[3:4]), "same": (X, Y)}
    result = call(many, eval_sets=sets)
    assert list(result.eval) == list(sets)
    final = result.params.reshape(-1)
    for name, (samples, labels) in sets.items():
        scores = evaluate(DIGITS_LIKE, final, samples, labels)
        assert result.eval[name].loss.reshape(-1)[-1] == pytest.approx(scores["loss"], rel=1e-14)
        assert np.reshape(result.eval[name].accuracy, -1)[-1] == scores["accuracy"]
    assert_same_bits(result.eval["same"].loss, result.loss)
    assert_same_bits(call(many).params, result.params)


def test_evaluation_sets_see_a_linear_outputs_rmse() -> None:
    """A set of a regression has rmse too."""
    params, samples, targets = random_case(LINEAR, 2, 11)
    result = train(
        LINEAR,
        params,
        samples,
        targets,
        batch_size=3,
        learning_rate=0.1,
        epochs=1,
        eval_sets={"test": (samples[:2], targets[:2])},
    )
    assert result.eval["test"].rmse is not None
    np.testing.assert_allclose(
        result.eval["test"].rmse, np.sqrt(result.eval["test"].loss), rtol=1e-14
    )


def test_every_seed_starts_at_its_own_order() -> None:
    """The order of a seed is `sample_order`'s, given outright or drawn inside."""
    assert_same_bits(call(seed=6).params, call(order=sample_order(6, 45, 2)).params)
    assert not np.array_equal(call(seed=6).params, call(seed=7).params)


# Orders and batches


@ENGINES
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_size", [1, 2, 5, 20])
def test_an_order_may_repeat_and_leave_out_samples(rule: str, batch_size: int, many: bool) -> None:
    """Epochs of 11 draws from 45 samples, with repetitions, train as the reference does."""
    order = np.random.default_rng(0).integers(0, 45, size=(3, 11))
    order[0, :3] = 7
    options: dict[str, Any] = {"batch_size": batch_size, "learning_rate": 0.05, "rule": rule}
    result = call(many, epochs=3, order=order, **options)
    expected = train_reference(DIGITS_LIKE, PARAMS, X, Y, order=order, **options)
    # Adam divides by gradients as small as epsilon = 1e-8
    terms = 1e9 if rule == "adam" else 5000
    assert_within(result.params.reshape(-1), expected.params, terms, np.float64)
    assert result.updates[-1] == 3 * math.ceil(11 / batch_size)
    assert result.examples[-1] == 33


def test_an_epoch_may_be_longer_than_the_samples() -> None:
    """100 draws from 45 samples are one epoch; "full" is all of them, a number at most 45."""
    order = np.random.default_rng(0).integers(0, 45, size=(1, 100))
    assert call(epochs=1, order=order, batch_size="full").updates[-1] == 1
    assert call(epochs=1, order=order, batch_size=80).updates[-1] == 3
    assert call(epochs=1, order=order).examples[-1] == 100


@ENGINES
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_full_batch_is_the_batch_of_all_samples(rule: str, many: bool) -> None:
    """B = "full", B = n and B > n train alike, to the bit."""
    full = call(many, batch_size="full", rule=rule)
    assert full.updates[-1] == 2
    for batch_size in (45, 46, 10**9):
        assert_same_bits(call(many, batch_size=batch_size, rule=rule).params, full.params)


@ENGINES
@pytest.mark.parametrize("batch_size", [1, 5, "full"])
def test_one_sample_is_a_data_set(batch_size: int | str, many: bool) -> None:
    """With n = 1 every batch size takes one step an epoch, as the reference does."""
    result = call(many, X=X[:1], y=Y[:1], batch_size=batch_size, epochs=3)
    expected = train_reference(
        DIGITS_LIKE, PARAMS, X[:1], Y[:1], batch_size=1, learning_rate=0.1, order=[[0]] * 3
    )
    assert_within(result.params.reshape(-1), expected.params, 1000, np.float64)
    assert result.updates[-1] == 3


@ENGINES
@pytest.mark.parametrize("rule", RULES)
def test_a_rate_of_zero_changes_nothing(rule: str, many: bool) -> None:
    """With eta = 0 the parameters end where they began, to the bit."""
    result = call(many, learning_rate=0.0, rule=rule)
    np.testing.assert_array_equal(result.params.reshape(-1), PARAMS)


@ENGINES
def test_no_epochs_are_an_evaluation(many: bool) -> None:
    """With epochs = 0 the result is the start and its scores, at 0 examples and 0 updates."""
    result = call(many, epochs=0)
    assert_same_bits(result.params.reshape(-1), PARAMS)
    assert result.examples.tolist() == [0]
    assert result.updates.tolist() == [0]
    assert result.loss.reshape(-1) == pytest.approx([loss(DIGITS_LIKE, PARAMS, X, Y)])


# Checkpoints: 45 samples in batches of 7 end updates at 7, 14, .. 42, 45, 52, .. 87, 90 examples


ENDS = [0, 7, 14, 21, 28, 35, 42, 45, 52, 59, 66, 73, 80, 87, 90]


@ENGINES
def test_no_checkpoints_are_the_start_and_the_end(many: bool) -> None:
    """() evaluates at 0 examples and at the end, nowhere else."""
    result = call(many, checkpoints=())
    assert result.examples.tolist() == [0, 90]
    assert result.updates.tolist() == [0, 14]


@ENGINES
@pytest.mark.parametrize(
    ("checkpoints", "examples"),
    [
        ([1], [0, 7, 90]),
        ([7], [0, 7, 90]),
        ([8], [0, 14, 90]),
        ([43], [0, 45, 90]),
        ([45], [0, 45, 90]),
        ([46], [0, 52, 90]),
        ([88, 3, 9, 8], [0, 7, 14, 90]),
        ([0, 90, 500], [0, 90]),
        (np.array([20, 60], np.uint16), [0, 21, 66, 90]),
        (range(91), ENDS),
    ],
)
def test_checkpoints_land_at_the_first_update_at_or_past_each(
    checkpoints: Any, examples: list[int], many: bool
) -> None:
    """A point inside a batch is evaluated at the batch's end; start and end are added."""
    result = call(many, checkpoints=checkpoints)
    assert result.examples.tolist() == examples
    assert result.updates.tolist() == [ENDS.index(e) for e in examples]


@ENGINES
def test_the_default_is_the_standard_grid(many: bool) -> None:
    """None evaluates at the first update at or past each point of `checkpoint_grid`."""
    grid = checkpoint_grid(45, 90)
    expected = sorted({min(e for e in ENDS if e >= point) for point in grid})
    assert call(many).examples.tolist() == expected


def test_the_standard_grid_of_20_samples_by_hand() -> None:
    """0; 5, 5.75, 6.61, 7.60, 8.74, 10.06 rounded up; the end."""
    assert checkpoint_grid(20, 11).tolist() == [0, 5, 6, 7, 8, 9, 11]


@given(n=st.integers(1, 5000), total=st.integers(0, 200_000))
@settings(max_examples=100, deadline=None)
def test_the_standard_grid_takes_steps_of_15_percent(n: int, total: int) -> None:
    """It rises from 0 to the end; from a quarter of an epoch on no step exceeds x 1.15 (+ 1)."""
    grid = checkpoint_grid(n, total)
    assert grid.dtype == np.int64
    assert grid[0] == 0
    assert grid[-1] == total
    assert (np.diff(grid) > 0).all()
    inner = grid[1:]
    if len(inner) > 1:
        assert inner[0] == math.ceil(n / 4)
        assert (inner[1:] <= 1.15 * inner[:-1] + 1).all()


def test_the_standard_grid_does_not_depend_on_the_budget() -> None:
    """A longer budget keeps all points of a shorter one but its end."""
    short, long = checkpoint_grid(1437, 10_000), checkpoint_grid(1437, 50_000)
    assert set(short[:-1]) <= set(long)


# Any memory layout, any integer dtype


def layouts(matrix: Array) -> dict[str, Array]:
    """Return the same matrix in other layouts of memory."""
    wide = np.zeros((2 * len(matrix), 3 * matrix.shape[1]), matrix.dtype)
    wide[::2, ::3] = matrix
    frozen = matrix.copy()
    frozen.flags.writeable = False
    unaligned = np.zeros(matrix.nbytes + 1, np.uint8)[1:].view(matrix.dtype).reshape(matrix.shape)
    unaligned[...] = matrix
    return {
        "Fortran": np.asfortranarray(matrix),
        "strided": wide[::2, ::3],
        "negative strides": matrix[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": frozen,
        "unaligned": unaligned,
        "big-endian": matrix.astype(matrix.dtype.newbyteorder(">")),
    }


@ENGINES
@pytest.mark.parametrize("layout", layouts(X))
def test_inputs_of_any_memory_layout(layout: str, many: bool) -> None:
    """Layout and byte order of X change no bit of a result."""
    samples = layouts(X)[layout]
    assert_same_bits(call(many, X=samples).params, call(many).params)
    assert_same_bits(
        loss_and_gradient(DIGITS_LIKE, PARAMS, samples, Y)[1],
        loss_and_gradient(DIGITS_LIKE, PARAMS, X, Y)[1],
    )


@pytest.mark.parametrize("layout", ["Fortran", "strided", "negative strides", "read-only"])
def test_parameters_rates_and_targets_of_any_memory_layout(layout: str) -> None:
    """Layout of params, rates and one-hot targets changes no bit of a result."""
    params, targets = init_params(DIGITS_LIKE, 0, size=4), np.eye(3)[Y]
    rates = np.array([[0.01, 0.1, 0.2, 0.4]])
    expected = call(params=params, learning_rate=rates[0])
    actual = call(
        params=layouts(params)[layout],
        learning_rate=layouts(rates)[layout][0],
        y=layouts(targets)[layout],
    )
    assert_same_bits(actual.params, expected.params)


@pytest.mark.parametrize("layout", ["Fortran", "strided", "negative strides", "read-only"])
def test_an_order_of_any_memory_layout(layout: str) -> None:
    """Layout of the order changes no bit of a result."""
    order = sample_order(6, 45, 2)
    assert_same_bits(call(order=layouts(order)[layout]).params, call(order=order).params)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_, np.float16, np.float32])
def test_inputs_of_any_numeric_dtype(dtype: Any) -> None:
    """XOR's inputs mean the same in every dtype."""
    params = init_params(XOR, seed=1)
    options: dict[str, Any] = {"batch_size": 2, "learning_rate": 0.1, "epochs": 2}
    assert_same_bits(
        train(XOR, params, XOR_X.astype(dtype), XOR_Y, **options).params,
        train(XOR, params, XOR_X.astype(np.float64), XOR_Y, **options).params,
    )


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int64, np.uint64, np.float32])
def test_labels_of_any_numeric_dtype(dtype: Any) -> None:
    """Labels mean the same as booleans, unsigned bytes, integers and floats."""
    params = init_params(XOR, seed=1)
    for network, start in ((XOR, params), (DIGITS_LIKE, PARAMS)):
        samples, labels = (XOR_X, XOR_Y) if network is XOR else (X, Y % 2)
        expected = loss_and_gradient(network, start, samples, labels)
        actual = loss_and_gradient(network, start, samples, labels.astype(dtype))
        assert actual[0] == expected[0]
        assert_same_bits(actual[1], expected[1])


def test_lists_are_arrays() -> None:
    """Nested lists of numbers train like arrays."""
    actual = call(
        params=PARAMS.tolist(), X=X.tolist(), y=Y.tolist(), order=sample_order(6, 45, 2).tolist()
    )
    assert_same_bits(actual.params, call().params)


# (n,) and (n, 1), classes and one-hot rows


@ENGINES
@pytest.mark.parametrize(
    "network", [XOR, Network((2, 3, 1), "tanh", "linear", "half_mse")], ids=["sigmoid", "linear"]
)
def test_a_column_of_targets_is_a_row_of_them(network: Network, many: bool) -> None:
    """Targets (n, 1) mean the same as (n,), and are never broadcast to (n, n)."""
    params = init_params(network, 1)
    start = params[None] if many else params
    options: dict[str, Any] = {"batch_size": 3, "learning_rate": 0.1, "epochs": 2}
    column, row = (
        train(network, start, XOR_X, XOR_Y.reshape(shape), **options) for shape in ((4, 1), (4,))
    )
    assert_same_bits(column.params, row.params)
    assert_same_bits(column.loss, row.loss)


@ENGINES
def test_one_hot_rows_are_classes(many: bool) -> None:
    """A softmax output takes classes (n,) or their one-hot rows (n, k), to the bit."""
    assert_same_bits(call(many, y=np.eye(3)[Y]).params, call(many).params)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_soft_targets_have_the_references_loss(dtype: Any) -> None:
    """Rows of probabilities are targets of a softmax output too."""
    soft = np.random.default_rng(0).dirichlet([1, 1, 1], size=45)
    value, _ = loss_and_gradient(DIGITS_LIKE, PARAMS.astype(dtype), X, soft)
    assert_within(value, loss_reference(DIGITS_LIKE, PARAMS, X, soft), 200, dtype)


# Predictions and units


def test_predictions_of_each_kind_of_output() -> None:
    """One sigmoid gives (n,) in 0, 1; several give (n, k); softmax (n,) classes; linear values."""
    assert set(predict(XOR, init_params(XOR, 1), XOR_X)) <= {0, 1}
    two = Network((2, 2))
    params = [1.0, 0, 0, 1, -0.5, -0.5]
    assert predict(two, params, XOR_X).tolist() == XOR_X.tolist()
    assert predict(DIGITS_LIKE, PARAMS, X).shape == (45,)
    assert predict(LINEAR, init_params(LINEAR, 0), XOR_X).shape == (4, 2)
    line = Network((2, 1), output="linear", loss="half_mse")
    assert predict(line, [1.0, 10, 100], XOR_X).tolist() == [100, 110, 101, 111]


def test_outputs_are_probabilities() -> None:
    """a[-1] is the sigmoid or softmax of z[-1]; rows of a softmax sum to 1."""
    _, activations = forward(DIGITS_LIKE, PARAMS, X)
    np.testing.assert_allclose(activations[-1].sum(axis=1), 1, rtol=1e-14)
    zs, outputs = forward(XOR, init_params(XOR, 1), XOR_X)
    np.testing.assert_allclose(outputs[-1], 1 / (1 + np.exp(-zs[-1])), rtol=1e-14)


def test_evaluation_of_many_runs_is_that_of_each() -> None:
    """With params (n_runs, n_params) each score is an array (n_runs,)."""
    population = init_params(DIGITS_LIKE, 0, size=19)
    together = evaluate(DIGITS_LIKE, population, X, Y)
    alone = [evaluate(DIGITS_LIKE, params, X, Y) for params in population]
    np.testing.assert_allclose(together["loss"], [s["loss"] for s in alone], rtol=1e-14)
    np.testing.assert_array_equal(together["accuracy"], [s["accuracy"] for s in alone])


def test_active_units_by_hand() -> None:
    """A unit counts where z > 0 on at least one sample; z = 0 on all of them is dead."""
    network = Network((1, 4, 2, 1))
    # z1 = x, -x, 0, x - 3 on x = 1, 2: units 1 only; z2 = (h_1 - 1, -h_1)
    W1, b1 = [1.0, -1, 0, 1], [0.0, 0, 0, -3]
    W2, b2 = [[1.0, 0, 0, 0], [-1, 0, 0, 0]], [-1.0, 0]
    params = np.concatenate([W1, b1, np.ravel(W2), b2, [1, 1, 0]])
    samples = [[1.0], [2.0]]
    assert active_units(network, params, samples).tolist() == [1, 1]
    assert active_units(network, np.stack([params, -params]), samples).tolist()[0] == [1, 1]
    assert active_units(network, params, [[1.0]]).tolist() == [1, 0]


def test_units_of_other_activations_are_always_active() -> None:
    """Tanh and leaky ReLU pass a gradient everywhere; without hidden layers there is no count."""
    params = np.full(Network((1, 4, 2, 1)).n_params, -1.0)
    for activation in ("tanh", "leaky_relu"):
        network = Network((1, 4, 2, 1), activation)
        assert active_units(network, params, [[1.0]]).tolist() == [4, 2]
    assert active_units(Network((1, 1)), [[1.0, 0]], [[1.0]]).shape == (1, 0)


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e200])
@pytest.mark.parametrize(
    "network", [DIGITS_LIKE, XOR, LINEAR], ids=["softmax", "sigmoid", "linear"]
)
def test_a_diverged_network_is_looked_at_without_a_warning(network: Network, value: float) -> None:
    """Infinite and NaN parameters are answers, not warnings, in every function."""
    _, samples, labels = random_case(network, 1, 5)
    samples[0] = 0  # infinity times 0 is NaN
    params = init_params(network, 0)
    params[: network.n_inputs] = value
    forward(network, params, samples)
    predict(network, params, samples)
    evaluate(network, params, samples, labels)
    loss_and_gradient(network, params, samples, labels)
    per_sample_gradients(network, params, samples, labels)
    assert active_units(network, params, samples).shape == (network.n_layers - 1,)


@ENGINES
def test_the_scored_samples_alone_give_the_loss(many: bool) -> None:
    """Samples to score change no parameter, and their loss stands where that of X would."""
    some = X[:20], Y[:20]
    whole, part = call(many, eval_sets={"some": some}), call(many, scored=some)
    assert_same_bits(part.params, whole.params)
    assert_same_bits(part.loss, whole.eval["some"].loss)
    assert part.loss.min() != whole.loss.min()


def test_a_unit_that_is_active_on_the_last_sample_alone_counts() -> None:
    """Units are looked for over all samples, however many."""
    network = Network((1, 2, 1))
    params = np.array([1.0, -1.0, -0.5, -0.5, 1.0, 1.0, 0.0])  # active where x > .5, x < -.5
    samples = np.zeros((10_000, 1))
    samples[-1] = 1.0
    assert active_units(network, params, samples).tolist() == [1]
