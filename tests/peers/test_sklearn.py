"""The same training by scikit-learn's MLP: same initial weights, same order, same rule."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from kernels import Adam, Momentum, Nesterov, Network, init_params, predict, train

Array = NDArray[Any]
EPOCHS = 4
RATE = 0.05

NETWORKS = {
    "softmax": Network((64, 12, 10), "relu", "softmax", "ce"),
    "sigmoid": Network((64, 12, 1), "tanh", "sigmoid", "bce"),
    "linear": Network((64, 8, 5, 1), "relu", "linear", "half_mse"),
    "no hidden layer": Network((64, 10), "relu", "softmax", "ce"),
}
# Our rule beside scikit-learn's options; its alpha is the weight of a penalty that we do not have
RULES: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": ("sgd", {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False}),
    "momentum": (
        Momentum(0.8),
        {"solver": "sgd", "momentum": 0.8, "nesterovs_momentum": False},
    ),
    "nesterov": (Nesterov(0.8), {"solver": "sgd", "momentum": 0.8, "nesterovs_momentum": True}),
}


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    """100 standardized digits, and their classes: 14 batches of 7 and a ragged one of 2."""
    data = load_digits()
    return StandardScaler().fit_transform(data.data)[:100], data.target[:100]


def labels_of(network: Network, classes: Array) -> Array:
    """Labels of the kind that the network's output takes."""
    if network.output == "softmax":
        return classes
    return classes % 2 if network.output == "sigmoid" else classes / 10.0


def layers(model: Any) -> Iterator[tuple[Array, Array]]:
    """W (n_in, n_out) and b of each layer, as scikit-learn keeps them."""
    return zip(model.coefs_, model.intercepts_, strict=True)


def fit(network: Network, params: Array, X: Array, y: Array, epochs: int, **options: Any) -> Array:
    """Parameters after `epochs` passes of scikit-learn's MLP over X as it stands.

    A first `fit` makes the arrays; our weights are written into them; with warm_start the second
    one begins there, with a rule that remembers nothing.
    """
    kind = MLPRegressor if network.output == "linear" else MLPClassifier
    model = kind(
        hidden_layer_sizes=network.widths[1:-1],
        activation=network.activation,
        alpha=0.0,
        learning_rate_init=RATE,
        shuffle=False,
        warm_start=True,
        max_iter=1,
        tol=0.0,
        n_iter_no_change=epochs + 1,
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # that it stops after few passes
        model.fit(X, y)
        for (coefs, intercepts), (W, b) in zip(layers(model), network.unpack(params), strict=True):
            coefs[...] = W.T
            intercepts[...] = b
        model.set_params(max_iter=epochs)
        model.fit(X, y)
    return np.concatenate([part for W, b in layers(model) for part in (W.T.ravel(), b)])


def assert_agree(ours: Array, theirs: Array, start: Array, updates: int) -> None:
    """Equal to the rounding of some hundred sums of 64 terms, while weights moved by far more."""
    tolerance = updates * 64 * float(np.finfo(np.float64).eps) * abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    assert abs(theirs - start).max() > 1e9 * tolerance


@pytest.mark.parametrize("batch_size", [1, 7, 32, 100])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_agrees_with_scikit_learn(
    name: str, rule: str, batch_size: int, digits: tuple[Array, Array]
) -> None:
    """Four epochs in the same order end at scikit-learn's weights, ragged last batches too."""
    network = NETWORKS[name]
    X, y = digits[0], labels_of(network, digits[1])
    params = init_params(network, seed=1)
    # a few hundred steps of momentum on single samples would multiply roundings
    epochs = 1 if batch_size == 1 else EPOCHS
    ours, options = RULES[rule]
    theirs = fit(network, params, X, y, epochs, batch_size=batch_size, **options)
    for start in (params, params[None]):
        result = train(
            network,
            start,
            X,
            y,
            batch_size=batch_size,
            learning_rate=RATE,
            epochs=epochs,
            order=[range(100)] * epochs,
            rule=ours,
        )
        assert_agree(result.params.reshape(-1), theirs, params, int(result.updates[-1]))


@pytest.mark.parametrize("name", NETWORKS)
def test_adam_agrees_with_scikit_learn(name: str, digits: tuple[Array, Array]) -> None:
    """Ten steps of Adam agree once its epsilon is put where scikit-learn has it.

    scikit-learn adds epsilon before the bias correction: eta c m / (sqrt(v) + e), which is ours
    with epsilon = e / sqrt(1 - beta2^t). It is large here, so that its place matters.
    """
    network = NETWORKS[name]
    X, y = digits[0], labels_of(network, digits[1])
    params = init_params(network, seed=1)
    betas, e, steps = (0.8, 0.95), 0.01, 10
    theirs = fit(
        network,
        params,
        X,
        y,
        steps,
        batch_size=100,
        solver="adam",
        beta_1=betas[0],
        beta_2=betas[1],
        epsilon=e,
    )
    ours, state = params, None
    for t in range(1, steps + 1):
        rule = Adam(*betas, e / np.sqrt(1 - betas[1] ** t))
        result = train(
            network,
            ours,
            X,
            y,
            batch_size="full",
            learning_rate=RATE,
            epochs=1,
            rule=rule,
            state=state and state._replace(rule=rule),
            checkpoints=(),
        )
        ours, state = result.params, result.state
    assert_agree(ours, theirs, params, 10 * steps)


def test_predictions_agree_with_scikit_learn(digits: tuple[Array, Array]) -> None:
    """The trained classifier names the same classes as scikit-learn's own forward pass."""
    network = NETWORKS["softmax"]
    X, y = digits
    model = MLPClassifier(hidden_layer_sizes=(12,), max_iter=30, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    params = np.concatenate([part for W, b in layers(model) for part in (W.T.ravel(), b)])
    np.testing.assert_array_equal(predict(network, params, X), model.predict(X))
