"""scikit-learn's MLPClassifier and MLPRegressor: the batches of all passes by one partial_fit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench.speed.peers import CannotDoError, Params, Run, Work, flatten

ESTIMATORS = {
    ("softmax", "ce"): MLPClassifier,
    ("sigmoid", "bce"): MLPClassifier,
    ("linear", "half_mse"): MLPRegressor,
}


def estimator(work: Work) -> MLPClassifier | MLPRegressor:
    """Return an estimator of the network's shape that does plain SGD, with its layers made."""
    network = work.network
    if work.many:
        raise CannotDoError("trains one network at a time")
    if (network.output, network.loss) not in ESTIMATORS:
        raise CannotDoError(f"has no {network.output} output with {network.loss}")
    if network.activation == "leaky_relu":
        raise CannotDoError("has no leaky ReLU")
    if network.output == "sigmoid" and network.n_outputs > 1:
        raise CannotDoError("has several sigmoid outputs for several labels a sample only")
    classifier = ESTIMATORS[network.output, network.loss] is MLPClassifier
    model = ESTIMATORS[network.output, network.loss](
        hidden_layer_sizes=network.widths[1:-1],
        activation=network.activation,
        solver="sgd",
        alpha=0.0,
        batch_size=work.batch_size,
        learning_rate_init=work.learning_rate,
        momentum=0.0,
        nesterovs_momentum=False,
    )
    classes = {"classes": np.arange(max(network.n_outputs, 2))} if classifier else {}
    rows = slice(work.batch_size)
    model.partial_fit(work.X[rows], targets(work)[rows], **classes)
    return model


def targets(work: Work) -> NDArray[Any]:
    """Return y as scikit-learn wants it: a column of targets is a vector."""
    return work.y.ravel() if work.network.n_outputs == 1 else work.y


def prepare(work: Work) -> Run:
    """Train with one call of partial_fit, which checks its input and sums up losses.

    It visits the rows as they stand, or, with `own_order`, shuffled as it does by default, which
    costs it a copy of each batch's rows.
    """
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    model = estimator(work)
    layers = work.network.unpack(work.params)

    def run(passes: int, own_order: bool) -> Params:
        rows = np.tile(work.order.ravel(), passes)
        X, y = work.X[rows], targets(work)[rows]
        model.coefs_ = [W.T.copy() for W, _ in layers]
        model.intercepts_ = [b.copy() for _, b in layers]
        model.shuffle = own_order
        model.partial_fit(X, y)
        trained = zip(model.coefs_, model.intercepts_, strict=True)
        return flatten([(W.T, b) for W, b in trained])

    return run
