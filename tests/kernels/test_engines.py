"""Both engines against the reference, against each other, and against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from kernel_examples import (
    DIGITS_LIKE,
    XOR,
    Array,
    assert_same_bits,
    assert_within,
    networks,
    random_case,
    random_labels,
)

from kernels import (
    SGD,
    Adam,
    Momentum,
    Nesterov,
    Network,
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
from kernels.arrays import Order, Runs
from kernels.engine import choose_packing, make_data, make_work, read_only
from kernels.epoch import train_runs
from kernels.layout import CHUNK, pack, pack_lanes
from kernels.network import ACTIVATIONS, OUTPUT_LOSSES
from kernels.reference import (
    averaged_gradient_reference,
    forward_reference,
    gradient_reference,
    loss_reference,
    train_reference,
)
from kernels.schedule import schedule
from kernels.unrolled import small_network
from kernels.updates import look_ahead_weights

# An epsilon above the rounding of gradients: Adam divides by it where a gradient is 0
RULES = [SGD(), Momentum(0.5), Nesterov(0.5), Adam(0.9, 0.99, 1e-3)]
ENGINES = pytest.mark.parametrize("many", [False, True], ids=["single", "block"])
few = settings(max_examples=40, deadline=None)


def terms_of(network: Network) -> int:
    """Roundings on the way from the inputs to a gradient: each width forward and back, times 4."""
    return 4 * (sum(network.widths) + 8)


def keeps_off_kinks(network: Network, params: Array, X: Array, distance: float) -> bool:
    """Whether no hidden pre-activation is so near 0 that rounding could switch its slope."""
    return network.activation == "tanh" or all(
        abs(z).min() > distance for x in X for z in forward_reference(network, params, x)[0][:-1]
    )


# Forward, loss and gradient


@few
@given(
    network=networks(),
    seed=st.integers(0, 2**16),
    n=st.sampled_from([1, 2, 15, 16, 17, 33]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@example(network=Network((1, 1)), seed=0, n=1, dtype=np.float32)
@example(network=Network((1, 3, 17, 1)), seed=0, n=5, dtype=np.float64)
@example(network=Network((17, 1, 3), "tanh", "softmax", "ce"), seed=0, n=17, dtype=np.float32)
def test_functions_agree_with_the_reference(
    network: Network, seed: int, n: int, dtype: Any
) -> None:
    """Forward, loss, averaged and per-sample gradients are the reference's, to rounding."""
    params, X, y = random_case(network, seed, n, dtype)
    terms = terms_of(network)
    assume(keeps_off_kinks(network, params, X, terms * float(np.finfo(dtype).eps)))
    zs, activations = forward(network, params, X)
    for i, x in enumerate(X):
        z_reference, a_reference = forward_reference(network, params, x)
        for layer in range(network.n_layers):
            assert_within(zs[layer][i], z_reference[layer], terms, dtype)
            assert_within(activations[layer][i], a_reference[layer], terms, dtype)
    value, gradient = loss_and_gradient(network, params, X, y)
    assert_within(value, loss_reference(network, params, X, y), terms, dtype)
    assert_within(
        gradient, averaged_gradient_reference(network, params, X, y), terms + 4 * n, dtype
    )
    assert_within(
        per_sample_gradients(network, params, X, y),
        [gradient_reference(network, params, x_i, y_i) for x_i, y_i in zip(X, y, strict=True)],
        terms,
        dtype,
    )


@few
@given(network=networks(most=5), seed=st.integers(0, 2**16), n=st.sampled_from([1, 3, 20]))
def test_gradient_is_the_slope_of_the_loss(network: Network, seed: int, n: int) -> None:
    """Each entry of the averaged gradient agrees with a central difference of the loss."""
    params, X, y = random_case(network, seed, n)
    assume(keeps_off_kinks(network, params, X, 1e-3))
    h = 1e-5
    differences = [
        (loss(network, params + step, X, y) - loss(network, params - step, X, y)) / (2 * h)
        for step in h * np.eye(network.n_params)
    ]
    _, gradient = loss_and_gradient(network, params, X, y)
    # truncation: h^2 times a third derivative of some 100 at most; rounding: eps / h
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("output", "cost"), OUTPUT_LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_averaged_gradient_is_the_mean_of_the_samples(
    activation: str, output: str, cost: str, dtype: Any
) -> None:
    """The averaged gradient of 37 samples is the mean of their own gradients, undivided each."""
    network = Network((4, 6, 3), activation, output, cost)
    params, X, y = random_case(network, 1, 37, dtype)
    _, gradient = loss_and_gradient(network, params, X, y)
    rows = per_sample_gradients(network, params, X, y).astype(np.float64)
    assert_within(gradient, rows.mean(axis=0), terms_of(network) + 37, dtype)


def test_a_row_of_per_sample_gradients_is_the_gradient_of_that_sample_alone() -> None:
    """Row i is what a call with sample i alone gives: no 1/n is left in it."""
    params, X, y = random_case(DIGITS_LIKE, 3, 5)
    rows = per_sample_gradients(DIGITS_LIKE, params, X, y)
    for i in range(5):
        _, alone = loss_and_gradient(DIGITS_LIKE, params, X[i : i + 1], y[i : i + 1])
        assert_within(rows[i], alone, terms_of(DIGITS_LIKE), np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slope_of_relu_at_zero_is_zero(dtype: Any) -> None:
    """Where z = 0 exactly no gradient passes, as in the notes."""
    params = np.array([1, -1, 0, 0, 1, 1, 0], dtype)  # z = (x, -x), 2 hidden units
    network = Network((1, 2, 1), loss="half_mse", output="linear")
    _, gradient = loss_and_gradient(network, params, [[0.0]], [1.0])
    np.testing.assert_array_equal(gradient, [0, 0, 0, 0, 0, 0, -1])


def test_leaky_slope_is_one_hundredth_at_and_below_zero() -> None:
    """A leaky unit passes 1/100 of the gradient where z <= 0, all of it above."""
    network = Network((1, 3, 1), "leaky_relu", output="linear", loss="half_mse")
    params = np.array([1.0, -1, 0, 0, 0, 0, 1, 1, 1, 0])
    _, gradient = loss_and_gradient(network, params, [[2.0]], [0.0])
    # z2 = 2 - 0.02 + 0 = delta2; delta1 = delta2 * (1, .01, .01); dW1 = 2 delta1
    np.testing.assert_allclose(gradient[:3], 2 * 1.98 * np.array([1, 0.01, 0.01]), rtol=1e-14)


# Huge logits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("n_outputs", [2, 19])
@pytest.mark.parametrize(("output", "cost"), OUTPUT_LOSSES)
def test_logits_of_10000_give_the_right_loss_and_gradient(
    output: str, cost: str, n_outputs: int, target: int, dtype: Any
) -> None:
    """At logits of 1e4, -1e4, 0, .. loss and gradient are finite and the reference's."""
    network = Network((1, n_outputs), output=output, loss=cost)
    params = np.zeros(network.n_params, dtype)
    params[:2] = 1e4, -1e4
    y = np.array([target]) if output == "softmax" else np.full((1, n_outputs), target)
    value, gradient = loss_and_gradient(network, params, [[1.0]], y)
    expected = averaged_gradient_reference(network, params, [[1.0]], y)
    np.testing.assert_allclose(
        value, loss_reference(network, params, [[1.0]], y), rtol=8 * np.finfo(dtype).eps
    )
    assert_within(gradient, expected, 8, dtype)
    assert np.isfinite(gradient).all()


@ENGINES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("output", "cost"), OUTPUT_LOSSES)
def test_a_step_from_logits_of_10000(output: str, cost: str, many: bool, dtype: Any) -> None:
    """One update at logits of 1e4 lands where the reference says."""
    network = Network((1, 2), output=output, loss=cost)
    params = np.array([1e4, -1e4, 0, 0], dtype)
    y = np.array([1]) if output == "softmax" else np.array([[0, 1]])
    options: dict[str, Any] = {"batch_size": 1, "learning_rate": 0.25}
    result = train(
        network, params[None] if many else params, [[1.0]], y, epochs=1, order=[[0]], **options
    )
    expected = train_reference(network, params, [[1.0]], y, order=[[0]], **options)
    assert_within(result.params.reshape(-1), expected.params, 4, dtype)
    np.testing.assert_allclose(
        result.loss.reshape(-1)[0],
        loss_reference(network, params, [[1.0]], y),
        rtol=8 * np.finfo(dtype).eps,
    )


@ENGINES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", [29, 30, 31, 35, 38])
def test_softmax_of_hugely_negative_logits(exponent: int, dtype: Any, many: bool) -> None:
    """Two equal logits of -1e35 are a fair coin: what fills up a vector takes no part."""
    network = Network((1, 2), output="softmax", loss="ce")
    low = -(10.0**exponent)
    params = np.array([0, 0, low, low], dtype)
    start = params[None] if many else params
    scores = evaluate(network, start, [[1.0], [1.0]], [0, 1])
    assert np.reshape(scores["loss"], -1) == pytest.approx([np.log(2)], rel=1e-6)
    assert np.reshape(scores["accuracy"], -1) == [0.5]
    after = trained(network, many, params, [[1.0]], [0], batch_size=1, learning_rate=1.0, epochs=1)
    np.testing.assert_array_equal(after[:2], [0.5, -0.5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_confident_right_answer_has_a_loss_above_zero(dtype: Any) -> None:
    """At z = 40, where p rounds to 1, the loss is still exp(-40): no log of a probability."""
    params = np.array([40.0, 0], dtype)
    assert loss(Network((1, 1)), params, [[1.0]], [1]) == pytest.approx(
        np.exp(-40), rel=8 * float(np.finfo(dtype).eps)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_does_not_depend_on_a_constant_added_to_all_logits(dtype: Any) -> None:
    """Biases of 1000 on every output change neither loss nor gradient."""
    network = Network((1, 3), output="softmax", loss="ce")
    params = np.array([1, 2, -3, 0, 0, 0], dtype)
    value, gradient = loss_and_gradient(network, params, [[0.5]], [2])
    lifted, same = loss_and_gradient(network, params + dtype(1000) * (params == 0), [[0.5]], [2])
    # the logits themselves are rounded to eps * 1000
    assert_within(lifted, value, 2000, dtype)
    assert_within(same, gradient, 2000, dtype)


# Long sums


def test_float32_loss_over_100000_samples() -> None:
    """The float32 loss of 100,000 samples is that of float64 to 1e-6 of itself."""
    network = Network((3, 4, 1))
    params, X, y = random_case(network, 5, 100_000, np.float32)
    in_float64 = loss(network, params.astype(np.float64), X.astype(np.float64), y)
    assert loss(network, params, X, y) == pytest.approx(in_float64, rel=1e-6)
    assert evaluate(network, params[None], X, y)["loss"] == pytest.approx(in_float64, rel=1e-6)


def test_float32_gradient_over_100000_samples() -> None:
    """The float32 gradient of 100,000 equal samples is that of one sample."""
    network = Network((3, 4, 1))
    params, X, y = random_case(network, 6, 1, np.float32)
    _, one = loss_and_gradient(network, params, X, y)
    _, many = loss_and_gradient(network, params, X.repeat(100_000, 0), y.repeat(100_000, 0))
    # Equal terms round the same way at every step: the worst case of a sum in chunks of 16
    np.testing.assert_allclose(many, one, rtol=1e-4, atol=1e-4 * abs(one).max())


# Training


def trained(network: Network, many: bool, params: Array, *data: Array, **options: Any) -> Array:
    """Final parameters (n_params,) of one run, or of one run that fills a block."""
    result = train(network, params[None] if many else params, *data, **options)
    return result.params.reshape(-1)


def in_loops(network: Network) -> bool:
    """Whether both engines train a network in loops: each of the others has code of its own."""
    packing = choose_packing(network, np.dtype(np.float64), many=True)
    return small_network(packing, SGD()) is None


@few
@given(
    network=networks().filter(in_loops),
    seed=st.integers(0, 2**16),
    n=st.sampled_from([1, 2, 7, 16, 19]),
    batch_size=st.sampled_from([1, 2, 3, 5, 8, 16, 17, 40, "full"]),
    rule=st.sampled_from(RULES),
)
@example(network=Network((1, 33)), seed=0, n=1, batch_size=1, rule=SGD())
@example(network=Network((1, 17, 3, 1)), seed=0, n=7, batch_size=40, rule=RULES[3])
@example(
    network=Network((17, 1, 2), "tanh", "softmax", "ce"), seed=0, n=19, batch_size=2, rule=SGD()
)
def test_training_agrees_with_the_reference(
    network: Network, seed: int, n: int, batch_size: int | str, rule: Any
) -> None:
    """Two epochs of any network, batch size and rule end where the reference ends: both engines."""
    params, X, y = random_case(network, seed, n)
    order = sample_order(seed, n, 2)
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "learning_rate": 0.1,
        "order": order,
        "rule": rule,
    }
    expected = train_reference(network, params, X, y, **options)
    updates = len(expected.examples) - 1
    terms = 10 * updates * terms_of(network)
    if isinstance(rule, Adam):
        terms *= 1 / rule.epsilon  # the slope of g / (|g| + epsilon) at 0
    eps = float(np.finfo(np.float64).eps)
    assume(all(keeps_off_kinks(network, w, X, terms * eps) for w in expected.trajectory))
    for many in (False, True):
        actual = trained(network, many, params, X, y, epochs=2, **options)
        assert_within(actual, expected.params, terms, np.float64)


@ENGINES
@pytest.mark.parametrize("n", [16, 23])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 7, 8, 9, 15, 16])
@pytest.mark.parametrize(
    ("inputs", "look_ahead", "rule"),
    [
        (16, True, SGD()),
        (20, True, SGD()),
        (16, False, SGD()),
        (18, True, Momentum(0.9)),
        (18, False, Momentum(0.9)),
        (18, True, Nesterov(0.5)),
    ],
)
def test_look_ahead_is_the_step_by_step_loop(
    inputs: int, look_ahead: bool, rule: Any, batch_size: int, n: int, many: bool
) -> None:
    """On 16 or more inputs, several batches a chunk or one, the steps are the reference's."""
    network = Network((inputs, 5, 3), "tanh", "softmax", "ce")
    params, X, y = random_case(network, 7, n)
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "learning_rate": 0.5,
        "order": sample_order(1, n, 2),
        "rule": rule,
    }
    expected = train_reference(network, params, X, y, **options)
    actual = trained(network, many, params, X, y, epochs=2, look_ahead=look_ahead, **options)
    terms = (len(expected.examples) - 1) * terms_of(network)
    assert_within(actual, expected.params, terms, np.float64)
    # and these steps have moved the weights by far more than the tolerance
    assert abs(expected.params - params).max() > 0.1


@pytest.mark.parametrize(
    ("inputs", "batch_size", "rule", "span"),
    [
        (16, 1, SGD(), 16),
        (16, 3, SGD(), 15),
        (16, 9, SGD(), 9),
        (15, 1, SGD(), 1),
        (16, 4, Momentum(), 16),
        (16, 3, Nesterov(), 15),
        (15, 1, Momentum(), 1),
        (64, 1, Adam(), 1),
    ],
)
def test_look_ahead_takes_as_many_whole_batches_as_fit(
    inputs: int, batch_size: int, rule: Any, span: int
) -> None:
    """A chunk holds several batches where there are 16 inputs and it is wanted, else one."""
    assert schedule(rule, inputs, batch_size) == (batch_size, span, True)
    alone = schedule(rule, inputs, batch_size, look_ahead=False)
    assert alone.span == batch_size or not alone.whole


@pytest.mark.parametrize(("rule", "batch_size"), [(SGD(), 17), (Momentum(), 5), (Adam(), 2)])
def test_look_ahead_is_for_rules_linear_in_the_gradient_and_small_batches(
    rule: Any, batch_size: int
) -> None:
    """Adam, a batch larger than a chunk, and one that is worth no second product, are summed up."""
    assert not schedule(rule, 64, batch_size).whole


def test_a_hidden_layer_is_trained_with_the_weights_before_the_update() -> None:
    """Deltas go back through the weights that the forward pass used, not the updated ones."""
    network = Network((1, 1, 1), "leaky_relu", "linear", "half_mse")
    # w1 = w2 = 1, no bias, x = 1, y = 0: z = 1, delta2 = 1, delta1 = w2 delta2 = 1; eta = 1/2
    params = np.array([1.0, 0, 1, 0])
    for many in (False, True):
        after = trained(
            network, many, params, [[1.0]], [0.0], batch_size=1, learning_rate=0.5, epochs=1
        )
        np.testing.assert_array_equal(after, [0.5, -0.5, 0.5, -0.5])


@ENGINES
def test_the_ragged_last_batch_is_averaged_over_its_own_size(many: bool) -> None:
    """Of 7 samples in batches of 4 the last three are divided by 3."""
    params, X, y = random_case(DIGITS_LIKE, 2, 7)
    options: dict[str, Any] = {"learning_rate": 0.5, "order": [range(7)], "epochs": 1}
    middle = train(
        DIGITS_LIKE,
        params,
        X[:4],
        y[:4],
        batch_size=4,
        learning_rate=0.5,
        order=[range(4)],
        epochs=1,
    ).params
    _, gradient = loss_and_gradient(DIGITS_LIKE, middle, X[4:], y[4:])
    after = trained(DIGITS_LIKE, many, params, X, y, batch_size=4, **options)
    assert_within(after, middle - 0.5 * gradient, 4 * terms_of(DIGITS_LIKE), np.float64)


@ENGINES
@pytest.mark.parametrize("batch_size", [4, 8, 24])
def test_a_sum_of_gradients_is_the_mean_at_b_times_the_rate(batch_size: int, many: bool) -> None:
    """(sum, eta) and (mean, eta B) are the same step."""
    params, X, y = random_case(DIGITS_LIKE, 4, batch_size)
    total = per_sample_gradients(DIGITS_LIKE, params, X, y).sum(axis=0)
    after = trained(
        DIGITS_LIKE,
        many,
        params,
        X,
        y,
        batch_size="full",
        learning_rate=0.01 * batch_size,
        epochs=1,
    )
    terms = terms_of(DIGITS_LIKE) + batch_size
    assert_within(after, params - 0.01 * total, terms, np.float64)


@ENGINES
def test_averaging_the_errors_first_is_not_what_training_does(many: bool) -> None:
    """On XOR with y_hat = 1/2 everywhere the mean error is 0, yet W2 moves by -eta (0, 1/16)."""
    params = np.array([1.0, 1, -1, -1, 0, 1.5, 0, 0, 0])
    X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    after = trained(XOR, many, params, X, y, batch_size=4, learning_rate=1.0, epochs=1)
    np.testing.assert_allclose(after[6:8], [0, -1 / 16], rtol=1e-15, atol=1e-16)


# Engines against each other


@pytest.mark.parametrize("batch_size", [1, 5, 16, 40])
@pytest.mark.parametrize(("output", "cost"), OUTPUT_LOSSES)
def test_the_engines_agree(output: str, cost: str, batch_size: int) -> None:
    """19 runs in two blocks end where 19 single runs do, each with its own rate and start."""
    network = Network((18, 9, 17), "tanh", output, cost)
    params = init_params(network, 3, "uniform_fan_in", size=19)
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(40, 18)), random_labels(network, rng, 40)
    rates = np.geomspace(1e-3, 0.05, 19)  # no larger: chaos would multiply roundings
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "epochs": 2,
        "seed": 5,
        "checkpoints": (),
    }
    block = train(network, params, X, y, learning_rate=rates, **options)
    terms = (80 / batch_size) * terms_of(network)
    for run in range(19):
        single = train(network, params[run], X, y, learning_rate=rates[run], **options)
        assert_within(block.params[run], single.params, terms, np.float64)
        assert_within(block.loss[run], single.loss, terms, np.float64)


@pytest.mark.parametrize(("output", "cost"), OUTPUT_LOSSES)
def test_the_engines_count_the_same_correct_answers(output: str, cost: str) -> None:
    """Accuracy (or rmse) of a block of runs is that of each run alone, and of `predict`."""
    network = Network((3, 4, 5), "relu", output, cost)
    params = init_params(network, 3, "uniform_fan_in", size=3)
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(50, 3)), random_labels(network, rng, 50)
    name = "accuracy" if network.is_classifier else "rmse"
    block = evaluate(network, params, X, y)[name]
    for run in range(3):
        predicted = predict(network, params[run], X)
        if output == "linear":
            expected = np.sqrt(np.mean((predicted - y) ** 2))
        else:
            expected = np.mean((predicted.reshape(50, -1) == y.reshape(50, -1)).all(axis=1))
        assert block[run] == pytest.approx(expected, rel=1e-14)
        assert evaluate(network, params[run], X, y)[name] == pytest.approx(expected, rel=1e-14)


def test_equal_logits_name_the_first_class() -> None:
    """Where all logits are equal, class 0 is predicted and counted, in both engines."""
    network = Network((1, 3), output="softmax", loss="ce")
    params, X, y = np.zeros(6), np.zeros((3, 1)), np.arange(3)
    assert predict(network, params, X).tolist() == [0, 0, 0]
    assert evaluate(network, params, X, y)["accuracy"] == pytest.approx(1 / 3)
    assert evaluate(network, params[None], X, y)["accuracy"] == pytest.approx([1 / 3])


def test_a_nan_logit_is_no_correct_answer() -> None:
    """NaN parameters score an accuracy of 0, whatever the labels, in both engines."""
    for network in (XOR, Network((2, 3), output="softmax", loss="ce")):
        params = np.full(network.n_params, np.nan)
        for labels in ([0, 0, 0, 0], [1, 1, 1, 1]):
            for shape in (params, params[None]):
                scores = evaluate(network, shape, np.ones((4, 2)), labels)
                assert np.all(scores["accuracy"] == 0)
                assert np.isnan(scores["loss"]).all()


# The transposed copy of W in the single engine


@pytest.mark.parametrize("batch_size", [1, 3, 16, 21])
@pytest.mark.parametrize("rule", RULES)
def test_the_transposed_copy_stays_a_copy(rule: Any, batch_size: int) -> None:
    """After training, W and its transposed copy are equal to the bit in the single engine."""
    network = Network((18, 17, 5, 3), "tanh", "softmax", "ce")
    params, X, y = random_case(network, 9, 21)
    packing = choose_packing(network, np.dtype(np.float64), many=False)
    data = make_data(packing, X, np.eye(3)[y])
    slots = np.zeros((1, rule.n_slots, packing.size))
    runs = Runs(
        pack(packing, params[None]),
        slots,
        pack_lanes(packing, np.array([0.5])),
        pack_lanes(packing, np.zeros(1)),
    )
    start = runs.P.copy()
    order = Order(read_only(np.arange(21)), 21)
    plan = schedule(rule, 18, batch_size)
    work = make_work(packing, data, gradient=True, weights=look_ahead_weights(rule, CHUNK))
    train_runs(packing.layout, rule, data, order, (0, 21, 0, plan), runs, work)
    assert_same_bits(runs.P[0, packing.places[packing.mirrored]], runs.P[0, packing.mirrors])
    assert abs(runs.P - start).max() > 0.01
