"""Update rules: steps worked by hand, identities between rules, and what a rule refuses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from kernel_examples import DIGITS_LIKE, XOR, XOR_X, XOR_Y, Array, assert_same_bits, random_case

from kernels import SGD, Adam, Momentum, Nesterov, Network, init_params, loss_and_gradient, train
from kernels.updates import RULES, look_ahead_weights

ENGINES = pytest.mark.parametrize("many", [False, True], ids=["single", "block"])

# One weight w that sees x = 0, and a bias b: half squared error against 0 is b^2 / 2, its gradient
# b itself. From b = 1 with eta = 1/2, three steps by hand:
PARABOLA = Network((1, 1), output="linear", loss="half_mse")
ADAM = Adam(beta1=0.5, beta2=0.75, epsilon=1.0)
# Adam, step 1: m = 1/2, m_hat = 1; v = 1/4, v_hat = 1; b = 1 - 1/2 1/(1 + 1) = 3/4
#       step 2: m = 1/4 + 3/8 = 5/8, m_hat = 5/6; v = 3/16 + 9/64 = 21/64, v_hat = 3/4
ADAM_2 = 3 / 4 - 5 / 12 / (1 + np.sqrt(3 / 4))
#       step 3: m = 5/16 + b/2, m_hat = m / (7/8); v = 63/256 + b^2/4, v_hat = v / (37/64)
ADAM_3 = ADAM_2 - 0.5 * (5 / 16 + ADAM_2 / 2) / (7 / 8) / (
    1 + np.sqrt((63 / 256 + ADAM_2**2 / 4) / (37 / 64))
)
BY_HAND = [
    (SGD(), [1 / 2, 1 / 4, 1 / 8]),
    # v = 1, b = 1/2; v = 1/2 + 1/2 = 1, b = 0; v = 1/2 + 0, b = -1/4
    (Momentum(beta=0.5), [1 / 2, 0, -1 / 4]),
    # v = 1, b = 1 - 1/2 (1 + 1/2) = 1/4; v = 1/2 + 1/4, b = 1/4 - 1/2 (1/4 + 3/8) = -1/16;
    # v = 3/8 - 1/16 = 5/16, b = -1/16 - 1/2 (-1/16 + 5/32) = -7/64
    (Nesterov(beta=0.5), [1 / 4, -1 / 16, -7 / 64]),
    (ADAM, [3 / 4, ADAM_2, ADAM_3]),
]


def three_steps(rule: Any, dtype: Any, many: bool) -> Array:
    """Values of b after each of three steps down the parabola."""
    start = np.array([0, 1], dtype)
    result = train(
        PARABOLA,
        start[None] if many else start,
        [[0.0]],
        [0.0],
        batch_size=1,
        learning_rate=0.5,
        epochs=3,
        rule=rule,
        checkpoints=[1, 2, 3],
        keep_params=True,
    )
    assert result.trajectory is not None
    return result.trajectory.reshape(4, 2)[1:, 1]


@ENGINES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rule", "expected"), BY_HAND)
def test_three_steps_of_each_rule_by_hand(
    rule: Any, expected: list[float], dtype: Any, many: bool
) -> None:
    """Three steps down the parabola b^2 / 2 from b = 1 land where the rule's formula says."""
    # some ten operations a step, each rounded once
    tolerance = 30 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(three_steps(rule, dtype, many), expected, rtol=0, atol=tolerance)


def steps(rule: Any, **changes: Any) -> Array:
    """Parameters of three runs after two epochs of ragged mini-batches."""
    params, X, y = random_case(DIGITS_LIKE, 21, 23)
    options: dict[str, Any] = {
        "batch_size": 4,
        "learning_rate": [0.01, 0.1, 0.2],
        "epochs": 2,
        "rule": rule,
        **changes,
    }
    return train(DIGITS_LIKE, params, X, y, **options).params


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("sgd", SGD()),
        ("momentum", Momentum(0.9)),
        ("nesterov", Nesterov(0.9)),
        ("adam", Adam(0.9, 0.999, 1e-8)),
    ],
)
def test_a_name_stands_for_the_rule_with_its_usual_parameters(name: str, rule: Any) -> None:
    """A name and its rule with beta 0.9, or 0.9, 0.999 and 1e-8, train alike, to the bit."""
    assert RULES[name] == rule
    assert_same_bits(steps(name), steps(rule))


@pytest.mark.parametrize("batch_size", [1, 4, 17, 23])
@pytest.mark.parametrize("rule", [Momentum(beta=0.0), Nesterov(beta=0.0)])
def test_a_rule_without_momentum_is_gradient_descent(rule: Any, batch_size: int) -> None:
    """With beta = 0, momentum and Nesterov end where SGD does, by look-ahead or not."""
    plain = steps("sgd", batch_size=batch_size)
    np.testing.assert_allclose(
        steps(rule, batch_size=batch_size), plain, rtol=0, atol=1e4 * np.finfo(float).eps
    )


@pytest.mark.parametrize("rule", [Momentum(0.75), Nesterov(0.75), Nesterov(0.0)])
def test_weights_of_look_ahead_are_the_rule_unrolled(rule: Any) -> None:
    """W and V after b steps, from those before and all gradients, are those of b steps in turn."""
    eta, W, V, g = 0.5, 2.0, -3.0, np.array([1.0, -2.0, 0.5, 4.0])
    power, kept, carried = look_ahead_weights(rule, len(g))
    w, v = W, V
    for b, gradient in enumerate(g, 1):
        v = rule.beta * v + gradient
        w -= eta * (v if isinstance(rule, Momentum) else gradient + rule.beta * v)
        assert W - eta * (carried[b] * V + kept[b - 1 :: -1] @ g[:b]) == pytest.approx(w, rel=1e-14)
        assert power[b] * V + power[b - 1 :: -1] @ g[:b] == pytest.approx(v, rel=1e-14)


def test_nesterov_looks_ahead() -> None:
    """Nesterov's first step is (1 + beta) times that of gradient descent."""
    params, X, y = random_case(DIGITS_LIKE, 21, 23)
    _, gradient = loss_and_gradient(DIGITS_LIKE, params, X, y)
    after = train(
        DIGITS_LIKE,
        params,
        X,
        y,
        batch_size="full",
        learning_rate=0.1,
        epochs=1,
        rule=Nesterov(0.5),
    ).params
    np.testing.assert_allclose(after, params - 0.15 * gradient, rtol=0, atol=1e-14)


@ENGINES
def test_adams_first_step_has_the_length_of_the_rate(many: bool) -> None:
    """The first step is eta g / (|g| + 1e-8): epsilon is added after the bias correction."""
    params = init_params(XOR, seed=1, scheme="uniform_fan_in")
    _, gradient = loss_and_gradient(XOR, params, XOR_X, XOR_Y)
    result = train(
        XOR,
        params[None] if many else params,
        XOR_X,
        XOR_Y,
        batch_size="full",
        learning_rate=0.01,
        epochs=1,
        rule="adam",
    )
    np.testing.assert_allclose(
        result.params.reshape(-1) - params, -0.01 * gradient / (abs(gradient) + 1e-8), rtol=1e-12
    )


@ENGINES
def test_adam_leaves_alone_what_has_no_gradient(many: bool) -> None:
    """A parameter whose gradient is always 0 never moves: 0 / (0 + epsilon) is 0, not NaN."""
    params = np.array([0.5, 0.5])  # x = 0: the weight has no gradient, the bias has one
    result = train(
        PARABOLA,
        params[None] if many else params,
        [[0.0]],
        [0.0],
        batch_size=1,
        learning_rate=0.1,
        epochs=5,
        rule="adam",
    )
    weight, bias = result.params.reshape(-1)
    assert weight == 0.5
    assert bias < 0.2


@pytest.mark.parametrize(
    "rule", [Momentum(beta=0), Nesterov(beta=0), Adam(beta1=0, beta2=0, epsilon=1)]
)
def test_whole_numbers_are_parameters_too(rule: Any) -> None:
    """A parameter given as an int trains to the bits of the same float."""
    assert_same_bits(steps(rule), steps(type(rule)(*(float(value) for value in rule))))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("rmsprop", "rule must be one of sgd, momentum, nesterov, adam"),
        ("SGD", "rule must be one of sgd, momentum, nesterov, adam"),
        (None, "rule must be one of sgd, momentum, nesterov, adam"),
        ((0.9,), "rule must be one of sgd, momentum, nesterov, adam"),
        (Momentum, "or such as Momentum(beta=0.9)"),
        (Momentum(beta=1.0), "beta"),
        (Momentum(beta=-0.1), "beta"),
        (Momentum(beta=np.nan), "beta"),
        (Momentum(beta="much"), "beta"),  # type: ignore[arg-type]
        (Nesterov(beta=2.0), "beta"),
        (Adam(beta1=1.0), "beta1"),
        (Adam(beta2=1.0), "beta2"),
        (Adam(epsilon=0.0), "epsilon"),
        (Adam(epsilon=np.inf), "epsilon"),
    ],
)
def test_rule_errors(rule: Any, message: str) -> None:
    """A rule that is none, or whose parameters cannot be, is refused in one line that names it."""
    params = init_params(XOR)
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as error:
        train(XOR, params, XOR_X, XOR_Y, batch_size=1, learning_rate=0.1, epochs=1, rule=rule)
    assert "\n" not in str(error.value)
