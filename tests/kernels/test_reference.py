"""The reference against finite differences, numbers worked by hand, and identities."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kernels.network import ACTIVATIONS, OUTPUT_LOSSES, Network, init_params, sample_order
from kernels.reference import (
    averaged_gradient_reference,
    bce,
    ce,
    deltas_reference,
    forward_reference,
    gradient_reference,
    leaky_relu,
    loss_reference,
    relu,
    relu_slope,
    sigmoid,
    target_vector,
    train_reference,
)

Vector = NDArray[np.float64]
NOTES = Network((2, 2, 1))
XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
XOR_Y = np.array([0, 1, 1, 0])
# The step worked by hand: W1 row by row, b1, W2, b2; the bias ln 3 - 2 makes the logit ln 3
HAND_PARAMS = np.array([1, 0.5, -1, 0.25, -1, 0.25, 2, -1, np.log(3) - 2])
HAND_X, HAND_Y = np.array([1, 2]), 1


class Momentum(NamedTuple):
    """A rule as an object, known by its class's name."""

    beta: float


class Nesterov(NamedTuple):
    """A rule as an object, known by its class's name."""

    beta: float


class Adam(NamedTuple):
    """A rule as an object, known by its class's name."""

    beta1: float
    beta2: float
    epsilon: float


def random_data(network: Network, seed: int, n: int) -> tuple[Vector, Vector, NDArray[Any]]:
    """Parameters with biases, samples, and labels of the kind that the network's loss takes."""
    rng = np.random.default_rng(seed)
    params = init_params(network, seed, scheme="uniform_fan_in").astype(np.float64)
    X = rng.normal(size=(n, network.n_inputs))
    if network.output == "softmax":
        return params, X, rng.integers(network.n_outputs, size=n)
    if network.output == "sigmoid":
        return params, X, rng.integers(2, size=(n, network.n_outputs))
    return params, X, rng.normal(size=(n, network.n_outputs))


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Any depth up to three hidden layers, all activations, all outputs and losses."""
    output, loss = draw(st.sampled_from(OUTPUT_LOSSES))
    inputs = draw(st.integers(1, 4))
    hidden = draw(st.lists(st.integers(1, 4), max_size=3))
    outputs = draw(st.integers(2 if output == "softmax" else 1, 3))
    activation = draw(st.sampled_from(ACTIVATIONS))
    return Network((inputs, *hidden, outputs), activation, output, loss)


# Gradients against finite differences


@given(network=networks(), seed=st.integers(0, 2**16))
@settings(max_examples=150, deadline=None)
def test_gradient_is_the_slope_of_the_loss(network: Network, seed: int) -> None:
    """Back-propagation agrees with central differences of the loss in every parameter."""
    params, X, y = random_data(network, seed, n=1)
    zs, _ = forward_reference(network, params, X[0])
    # A difference across the kink of a ReLU is no slope
    assume(all(np.abs(z).min() > 1e-3 for z in zs[:-1]))
    h = 1e-5
    differences = [
        (loss_reference(network, params + e, X, y) - loss_reference(network, params - e, X, y))
        / (2 * h)
        for e in h * np.eye(network.n_params)
    ]
    # Truncation h^2 times a third derivative of some 100 at most, rounding eps / h
    np.testing.assert_allclose(
        gradient_reference(network, params, X[0], y[0]), differences, rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize(("output", "loss"), OUTPUT_LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_of_each_combination(activation: str, output: str, loss: str) -> None:
    """The directional derivative of the batch's loss agrees for each activation and pair."""
    network = Network((3, 5, 4, 2), activation, output, loss)
    params, X, y = random_data(network, seed=11, n=6)
    direction = np.random.default_rng(12).normal(size=network.n_params)
    h = 1e-6
    slope = (
        loss_reference(network, params + h * direction, X, y)
        - loss_reference(network, params - h * direction, X, y)
    ) / (2 * h)
    gradient = averaged_gradient_reference(network, params, X, y)
    assert gradient @ direction == pytest.approx(slope, rel=1e-7, abs=1e-9)


# The notes' network, worked by hand: z1 = (1, -1/4), h = (1, 0), z2 = ln 3, y_hat = 3/4


def test_forward_by_hand() -> None:
    """The hand-worked sample has z1 = (1, -1/4), h1 = (1, 0), z2 = ln 3 and y_hat = 3/4."""
    (z1, z2), (h1, y_hat) = forward_reference(NOTES, HAND_PARAMS, HAND_X)
    np.testing.assert_allclose(z1, [1, -0.25], rtol=1e-15)
    np.testing.assert_allclose(h1, [1, 0], rtol=1e-15)
    np.testing.assert_allclose(z2, [np.log(3)], rtol=1e-15)
    np.testing.assert_allclose(y_hat, [0.75], rtol=1e-15)


@pytest.mark.parametrize(("loss", "value"), [("bce", np.log(4 / 3)), ("half_mse", 1 / 32)])
def test_loss_by_hand(loss: str, value: float) -> None:
    """At y_hat = 3/4 and y = 1 the losses are -ln(3/4) and 1/2 (1/4)^2."""
    network = Network((2, 2, 1), loss=loss)
    assert loss_reference(network, HAND_PARAMS, [HAND_X], [HAND_Y]) == pytest.approx(
        value, rel=1e-15
    )


@pytest.mark.parametrize(
    ("loss", "delta2"), [("bce", Fraction(-1, 4)), ("half_mse", Fraction(-3, 64))]
)
def test_deltas_by_hand(loss: str, delta2: Fraction) -> None:
    """delta2 is -1/4, or -1/4 3/4 1/4; delta1 is (2 delta2, 0), the second unit being off."""
    network = Network((2, 2, 1), loss=loss)
    delta_1, delta_2 = deltas_reference(network, HAND_PARAMS, HAND_X, HAND_Y)
    np.testing.assert_allclose(delta_2, [float(delta2)], rtol=1e-14)
    np.testing.assert_allclose(delta_1, [float(2 * delta2), 0], rtol=1e-14)


def test_gradient_by_hand() -> None:
    """dW1 = delta1 x^T, db1 = delta1, dW2 = delta2 h1^T, db2 = delta2."""
    np.testing.assert_allclose(
        gradient_reference(NOTES, HAND_PARAMS, HAND_X, HAND_Y),
        [-0.5, -1, 0, 0, -0.5, 0, -0.25, 0, -0.25],
        rtol=1e-14,
    )


def test_update_by_hand() -> None:
    """One step with eta = 1/2 moves each weight by minus half its gradient."""
    trained = train_reference(
        NOTES, HAND_PARAMS, [HAND_X], [HAND_Y], batch_size=1, learning_rate=0.5, order=[[0]]
    )
    np.testing.assert_allclose(
        trained.params, [1.25, 1, -1, 0.25, -0.75, 0.25, 2.125, -1, np.log(3) - 1.875], rtol=1e-15
    )


def test_loss_after_the_update_by_hand() -> None:
    """After that step z2 = ln 3 + 55/16, so the loss is ln(1 + exp(-55/16) / 3)."""
    trained = train_reference(
        NOTES, HAND_PARAMS, [HAND_X], [HAND_Y], batch_size=1, learning_rate=0.5, order=[[0]]
    )
    assert loss_reference(NOTES, trained.params, [HAND_X], [HAND_Y]) == pytest.approx(
        np.log1p(np.exp(-55 / 16) / 3), rel=1e-14
    )


def test_softmax_by_hand() -> None:
    """Logits ln 1, ln 2, ln 5 give probabilities 1/8, 2/8, 5/8, and delta = p - one-hot."""
    network = Network((1, 3), output="softmax", loss="ce")
    params = [0, 0, 0, *np.log([1, 2, 5])]
    (delta,) = deltas_reference(network, params, [1], 1)
    np.testing.assert_allclose(delta, [1 / 8, -6 / 8, 5 / 8], rtol=1e-14)
    assert loss_reference(network, params, [[1]], [1]) == pytest.approx(np.log(4), rel=1e-14)


def test_known_solution_of_xor() -> None:
    """W1 all 1, b1 = (0, -1), W2 = (1, -2), b2 = -1/2 has logits -1/2, 1/2, 1/2, -1/2."""
    params = [1, 1, 1, 1, 0, -1, 1, -2, -0.5]
    logits = [forward_reference(NOTES, params, x)[0][-1][0] for x in XOR_X]
    assert logits == [-0.5, 0.5, 0.5, -0.5]


def test_losses_sum_over_outputs_and_average_over_samples() -> None:
    """Half squared errors of (1, 2) and (3, 0) give (1/2 (1 + 4) + 1/2 (9 + 0)) / 2 = 7/2."""
    network = Network((1, 2), output="linear", loss="half_mse")
    assert loss_reference(network, np.zeros(4), [[0], [0]], [[1, 2], [3, 0]]) == 3.5


# Activations and losses at the edges


def test_slope_of_relu_at_zero_is_zero() -> None:
    """The slope of ReLU is 0 where z = 0 exactly."""
    assert relu_slope(np.array([-1.0, 0.0, -0.0, 1e-300])).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_passes_through_every_layer(activation: str) -> None:
    """A weight that is NaN makes the output NaN, whatever the activation."""
    network = Network((1, 2, 2, 1), activation)
    params = np.ones(network.n_params)
    params[0] = np.nan
    assert np.isnan(forward_reference(network, params, [1.0])[1][-1]).all()


def test_relu_of_nan_is_nan() -> None:
    """ReLU hides no NaN."""
    assert np.isnan(relu(np.array([np.nan]))).all()


def test_leaky_slope_is_one_hundredth() -> None:
    """Leaky ReLU of -3 is -0.03."""
    assert leaky_relu(np.array([-3.0, 3.0])).tolist() == [-0.03, 3.0]


@pytest.mark.parametrize(("z", "y", "value"), [(1e4, 1, 0), (1e4, 0, 1e4), (-1e4, 1, 1e4)])
def test_bce_of_huge_logits(z: float, y: float, value: float) -> None:
    """Cross-entropy at logits of 1e4 is 0 or 1e4, not infinite."""
    assert bce(np.array([z]), np.array([float(y)])) == value


def test_bce_of_a_confident_right_answer_is_not_rounded_to_zero() -> None:
    """At z = 40, where y_hat rounds to 1, the loss is still exp(-40)."""
    assert bce(np.array([40.0]), np.array([1.0])) == pytest.approx(np.exp(-40), rel=1e-12)


@pytest.mark.parametrize(("label", "value"), [(0, 0), (1, 2e4), (2, 1e4)])
def test_ce_of_huge_logits(label: int, value: float) -> None:
    """Cross-entropy at logits (1e4, -1e4, 0) is the distance to the largest."""
    assert ce(np.array([1e4, -1e4, 0.0]), np.eye(3)[label]) == value


@pytest.mark.parametrize("z", [-1e308, -1e4, -745.0, 0.0, 745.0, 1e4, 1e308])
def test_sigmoid_of_any_finite_logit_lies_within_0_and_1(z: float) -> None:
    """sigmoid(z) + sigmoid(-z) = 1 for any finite z, without a warning."""
    assert sigmoid(np.array([z]))[0] + sigmoid(np.array([-z]))[0] == 1.0


@pytest.mark.parametrize(("output", "loss"), OUTPUT_LOSSES)
def test_gradient_of_huge_logits_is_finite(output: str, loss: str) -> None:
    """Logits of 1e4 give a finite loss and gradient in each pair."""
    network = Network((1, 2), output=output, loss=loss)
    params, y = [1e4, -1e4, 0, 0], [[0, 1]]
    assert np.isfinite(loss_reference(network, params, [[1]], y))
    assert np.isfinite(gradient_reference(network, params, [1], y[0])).all()


# The average


def test_averaged_gradient_is_the_mean_of_the_samples_gradients() -> None:
    """The averaged gradient of XOR is a quarter of the sum of its four."""
    params = init_params(NOTES, seed=4)
    total = sum(gradient_reference(NOTES, params, x, y) for x, y in zip(XOR_X, XOR_Y, strict=True))
    np.testing.assert_allclose(
        averaged_gradient_reference(NOTES, params, XOR_X, XOR_Y), total / 4, rtol=1e-15
    )


@given(network=networks(), seed=st.integers(0, 2**16), n=st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_a_batch_repeated_has_the_same_gradient(network: Network, seed: int, n: int) -> None:
    """Seeing each sample three times changes no average."""
    params, X, y = random_data(network, seed, n)
    np.testing.assert_allclose(
        averaged_gradient_reference(network, params, np.tile(X, (3, 1)), np.concatenate([y, y, y])),
        averaged_gradient_reference(network, params, X, y),
        rtol=1e-13,
        atol=1e-15,
    )


def test_averaging_the_errors_first_gives_another_gradient() -> None:
    """With y_hat = 1/2 on all of XOR the errors average to 0, the gradients do not."""
    params = np.array([1.0, 1, -1, -1, 0, 1.5, 0, 0, 0])
    deltas = [
        deltas_reference(NOTES, params, x, y)[-1][0] for x, y in zip(XOR_X, XOR_Y, strict=True)
    ]
    assert np.mean(deltas) == 0.0
    # dL/dW2 = mean of delta2 h1, with h1 = (0, 3/2), (1, 1/2), (1, 1/2), (2, 0)
    # and delta2 = 1/2, -1/2, -1/2, 1/2
    np.testing.assert_allclose(
        averaged_gradient_reference(NOTES, params, XOR_X, XOR_Y)[6:8], [0, 1 / 16], rtol=1e-15
    )


# Training


def train(rule: object = "sgd", **changes: Any) -> Vector:
    """Parameters after three epochs of mini-batches of 4 on seven samples."""
    network = Network((3, 4, 2), "tanh", "softmax", "ce")
    params, X, y = random_data(network, seed=21, n=7)
    options: dict[str, Any] = {
        "batch_size": 4,
        "learning_rate": 0.3,
        "order": sample_order(2, 7, 3),
        "rule": rule,
        **changes,
    }
    return train_reference(network, params, X, y, **options).params


@pytest.mark.parametrize("rule", [Momentum(beta=0), Nesterov(beta=0)])
def test_a_rule_without_momentum_is_sgd(rule: object) -> None:
    """With beta = 0 momentum and Nesterov are gradient descent, to the bit."""
    np.testing.assert_array_equal(train(rule), train("sgd"))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("momentum", Momentum(0.9)),
        ("nesterov", Nesterov(0.9)),
        ("adam", Adam(0.9, 0.999, 1e-8)),
    ],
)
def test_a_name_stands_for_the_rule_with_its_usual_parameters(name: str, rule: object) -> None:
    """A rule's name and its object with beta 0.9, or 0.9, 0.999 and 1e-8, train alike."""
    np.testing.assert_array_equal(train(name), train(rule))


# One weight w without input: z = b, half squared error, y = 0, so the gradient is b itself.
# From b = 1 with eta = 1/2, two steps by hand for each rule.
@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        ("sgd", 1 / 2, 1 / 4),
        # v = 1, w = 1/2; v = 1/2 + 1/2 = 1, w = 0
        (Momentum(beta=0.5), 1 / 2, 0.0),
        # v = 1, w = 1 - 1/2 (1 + 1/2) = 1/4; v = 1/2 + 1/4, w = 1/4 - 1/2 (1/4 + 3/8) = -1/16
        (Nesterov(beta=0.5), 1 / 4, -1 / 16),
        # m_hat = 1, v_hat = 1, w = 1 - 1/2 1/(1 + 1) = 3/4;
        # m = 1/4 + 3/8 = 5/8, m_hat = 5/6; v = 3/16 + 9/64 = 21/64, v_hat = 21/64 / (7/16) = 3/4
        (Adam(beta1=0.5, beta2=0.75, epsilon=1.0), 3 / 4, 3 / 4 - 5 / 12 / (1 + np.sqrt(3 / 4))),
    ],
)
def test_two_steps_of_each_rule_by_hand(rule: object, first: float, second: float) -> None:
    """Two steps on the parabola b^2 / 2 from b = 1 land where the rule's formula says."""
    trained = train_reference(
        Network((1, 1), output="linear", loss="half_mse"),
        [0, 1],
        [[0]],
        [0],
        batch_size=1,
        learning_rate=0.5,
        order=[[0], [0]],
        rule=rule,
    )
    np.testing.assert_allclose(trained.trajectory[:, 1], [1, first, second], rtol=1e-15, atol=1e-16)


def test_adams_first_step_has_the_length_of_the_rate() -> None:
    """Adam's first step is eta g / (abs(g) + 1e-8): epsilon is added after bias correction."""
    params = init_params(NOTES, seed=1, scheme="uniform_fan_in")
    gradient = averaged_gradient_reference(NOTES, params, XOR_X, XOR_Y)
    trained = train_reference(
        NOTES, params, XOR_X, XOR_Y, batch_size=4, learning_rate=0.01, order=[range(4)], rule="adam"
    )
    np.testing.assert_allclose(
        trained.params - params, -0.01 * gradient / (abs(gradient) + 1e-8), rtol=1e-12
    )


def test_full_batch_is_the_batch_of_all_samples() -> None:
    """Full batch and B = n train alike, to the bit."""
    np.testing.assert_array_equal(train(batch_size="full"), train(batch_size=7))


def test_a_batch_larger_than_n_is_n() -> None:
    """B = 100 on seven samples trains as B = 7, to the bit."""
    np.testing.assert_array_equal(train(batch_size=100), train(batch_size=7))


def test_the_ragged_last_batch_is_averaged_over_its_own_size() -> None:
    """Of three samples in batches of 2 the last one's step has its whole gradient."""
    params = init_params(NOTES, seed=4)
    trained = train_reference(
        NOTES, params, XOR_X, XOR_Y, batch_size=2, learning_rate=0.1, order=[[0, 1, 2]]
    )
    before, after = trained.trajectory[1:]
    np.testing.assert_allclose(
        after, before - 0.1 * gradient_reference(NOTES, before, XOR_X[2], XOR_Y[2]), rtol=1e-15
    )


def test_examples_count_the_samples_seen() -> None:
    """Two epochs of seven samples in batches of 4 have updates after 4, 7, 11 and 14 examples."""
    network = Network((3, 1))
    params, X, y = random_data(network, seed=5, n=7)
    trained = train_reference(
        network, params, X, y, batch_size=4, learning_rate=0.1, order=sample_order(0, 7, 2)
    )
    assert trained.examples.tolist() == [0, 4, 7, 11, 14]


def test_the_trajectory_starts_at_the_initial_parameters_and_ends_at_the_last() -> None:
    """Row 0 of the trajectory is the start, its last row the result."""
    params = init_params(NOTES, seed=4)
    trained = train_reference(
        NOTES, params, XOR_X, XOR_Y, batch_size=1, learning_rate=0.1, order=[[0, 1, 2, 3]]
    )
    np.testing.assert_array_equal(trained.trajectory[[0, -1]], [params, trained.params])


def test_an_order_may_repeat_samples() -> None:
    """Sample 2 three times in a row makes the steps of a data set that holds only it."""
    params = init_params(NOTES, seed=4)
    options: dict[str, Any] = {"batch_size": 1, "learning_rate": 0.1}
    np.testing.assert_array_equal(
        train_reference(NOTES, params, XOR_X, XOR_Y, order=[[2, 2, 2]], **options).params,
        train_reference(NOTES, params, XOR_X[2:3], [1], order=[[0]] * 3, **options).params,
    )


def test_initial_parameters_are_left_as_they_are() -> None:
    """Training writes nothing into the parameters that it was given."""
    params = init_params(NOTES, seed=4)
    kept = params.copy()
    train_reference(NOTES, params, XOR_X, XOR_Y, batch_size=1, learning_rate=1, order=[range(4)])
    np.testing.assert_array_equal(params, kept)


def test_a_run_that_overflows_ends_at_nan_without_a_warning() -> None:
    """A rate of 1e200 on a parabola ends at NaN; nothing turns it back into a number."""
    trained = train_reference(
        Network((1, 1), output="linear", loss="half_mse"),
        [1, 1],
        [[1]],
        [0],
        batch_size=1,
        learning_rate=1e200,
        order=[[0]] * 5,
    )
    assert np.isnan(trained.params).all()


# Labels and errors


def test_a_class_and_its_one_hot_target_are_the_same() -> None:
    """Classes (n,) and their one-hot targets (n, k) have the same gradient."""
    network = Network((3, 4, 3), output="softmax", loss="ce")
    params, X, y = random_data(network, seed=6, n=5)
    np.testing.assert_array_equal(
        averaged_gradient_reference(network, params, X, y),
        averaged_gradient_reference(network, params, X, np.eye(3)[y]),
    )


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float32])
def test_labels_of_any_dtype_are_numbers(dtype: type) -> None:
    """XOR's labels mean the same as booleans, unsigned bytes, integers and floats."""
    params = init_params(NOTES, seed=4)
    assert loss_reference(NOTES, params, XOR_X, XOR_Y.astype(dtype)) == loss_reference(
        NOTES, params, XOR_X, XOR_Y
    )


def test_targets_of_one_output_may_be_a_column() -> None:
    """A column of targets (n, 1) means the same as (n,) and is never broadcast to (n, n)."""
    params = init_params(NOTES, seed=4)
    np.testing.assert_array_equal(
        averaged_gradient_reference(NOTES, params, XOR_X, XOR_Y.reshape(4, 1)),
        averaged_gradient_reference(NOTES, params, XOR_X, XOR_Y),
    )


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (3, "y must be a class of 0 to 2, got 3"),
        (-1, "y must be a class of 0 to 2, got -1"),
        (0.5, "y must be a class of 0 to 2, got 0.5"),
        ([1, 0], "y must hold 3 target(s) a sample, got shape (2,)"),
    ],
)
def test_target_errors(y: object, message: str) -> None:
    """A label that is no class, or a target of another length, is refused."""
    network = Network((1, 3), output="softmax", loss="ce")
    with pytest.raises(ValueError, match=re.escape(message)):
        target_vector(network, y)  # type: ignore[arg-type]


def test_several_linear_outputs_need_several_targets() -> None:
    """One number a sample is no target of two linear outputs."""
    network = Network((1, 2), output="linear", loss="half_mse")
    with pytest.raises(ValueError, match=re.escape("y must hold 2 target(s)")):
        target_vector(network, 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params": np.zeros(8)}, "params must have shape (9,), got (8,)"),
        ({"X": np.zeros((4, 3))}, "x must have shape (2,), got (3,)"),
        ({"X": np.zeros(2)}, "X must be (n, n_inputs)"),
        ({"X": np.zeros((0, 2)), "y": []}, "1 or more rows, got shapes (0, 2) and (0,)"),
        ({"y": [0, 1, 1]}, "got shapes (4, 2) and (3,)"),
        ({"batch_size": 0}, "batch_size must be 1 or more, or 'full', got 0"),
        ({"order": [[0, 4]]}, "order must be (epochs, m) indices of 0 to 3"),
        ({"order": [[0, -1]]}, "order must be (epochs, m) indices of 0 to 3"),
        ({"order": [0, 1]}, "order must be (epochs, m) indices of 0 to 3"),
        ({"rule": "rmsprop"}, "rule must be one of sgd, momentum, nesterov, adam, got 'rmsprop'"),
    ],
)
def test_train_errors(changes: dict[str, Any], message: str) -> None:
    """An argument that cannot be is refused by name, with what is legal."""
    arguments: dict[str, Any] = {
        "params": np.zeros(9),
        "X": XOR_X,
        "y": XOR_Y,
        "batch_size": 1,
        "learning_rate": 0.1,
        "order": [[0, 1, 2, 3]],
        **changes,
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        train_reference(NOTES, **arguments)
