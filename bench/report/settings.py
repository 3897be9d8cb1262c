"""The lines of a program that set what a study recommends."""

from __future__ import annotations

from dataclasses import dataclass

from kernels import Network
from kernels.updates import RULES, Adam, Momentum, Nesterov, Rule


@dataclass(frozen=True)
class Setting:
    """Lines to copy into a program, or why it has none.

    Parameters
    ----------
    program
        "scikit-learn" or "PyTorch".
    code
        Lines of Python; empty where the program cannot train this network.
    remark
        A sentence to read beside the lines.
    """

    program: str
    code: str
    remark: str


def scikit_learn(network: Network, rule: str, batch_size: int, learning_rate: float) -> Setting:
    """Lines for MLPClassifier or MLPRegressor.

    Parameters
    ----------
    network
        What is trained.
    rule
        Name of the update rule.
    batch_size, learning_rate
        What is recommended for scikit-learn.
    """
    lacks = _not_in_scikit_learn(network)
    if lacks:
        return Setting("scikit-learn", "", lacks)
    estimator = "MLPClassifier" if network.is_classifier else "MLPRegressor"
    arguments = [
        f"hidden_layer_sizes={network.widths[1:-1]!r}",
        f'activation="{network.activation}"',
        *_scikit_learn_rule(RULES[rule]),
        f"learning_rate_init={learning_rate:.3g}",
        f"batch_size={batch_size}",
        "alpha=0.0",
    ]
    lines = ",\n".join(f"    {argument}" for argument in arguments)
    code = f"from sklearn.neural_network import {estimator}\n\nmodel = {estimator}(\n{lines},\n)"
    return Setting("scikit-learn", code, "alpha is weight decay, which the study leaves out.")


def _not_in_scikit_learn(network: Network) -> str:
    """Why scikit-learn cannot train this network, or nothing."""
    if network.activation == "leaky_relu":
        return "scikit-learn has no leaky ReLU."
    if network.output == "sigmoid" and network.loss == "half_mse":
        return "scikit-learn has no squared error on a sigmoid."
    return ""


def _scikit_learn_rule(rule: Rule) -> list[str]:
    """Arguments of scikit-learn's estimators for an update rule."""
    if isinstance(rule, Adam):
        return [
            'solver="adam"', f"beta_1={rule.beta1}", f"beta_2={rule.beta2}",
            f"epsilon={rule.epsilon}",
        ]  # fmt: skip
    momentum = rule.beta if isinstance(rule, Momentum | Nesterov) else 0.0
    return [
        'solver="sgd"',
        f"momentum={momentum}",
        f"nesterovs_momentum={isinstance(rule, Nesterov)}",
    ]


_ACTIVATIONS = {"relu": "nn.ReLU()", "tanh": "nn.Tanh()", "leaky_relu": "nn.LeakyReLU(0.01)"}
_LOSSES = {
    ("softmax", "ce"): "nn.CrossEntropyLoss()",
    ("sigmoid", "bce"): "nn.BCEWithLogitsLoss()",
    ("linear", "half_mse"): "lambda output, y: 0.5 * nn.functional.mse_loss(output, y)",
    ("sigmoid", "half_mse"): (
        "lambda output, y: 0.5 * nn.functional.mse_loss(output.sigmoid(), y)"
    ),
}


def pytorch(network: Network, rule: str, batch_size: int, learning_rate: float) -> Setting:
    """Lines for a PyTorch model, loss, optimizer and data loader; parameters as `scikit_learn`."""
    layers = []
    for n_in, n_out in network.layer_shapes:
        layers += [f"nn.Linear({n_in}, {n_out})", _ACTIVATIONS[network.activation]]
    lines = [
        "import torch",
        "from torch import nn",
        "",
        "model = nn.Sequential(",
        *[f"    {layer}," for layer in layers[:-1]],
        ")",
        f"loss = {_LOSSES[network.output, network.loss]}",
        f"optimizer = {_optimizer(RULES[rule], learning_rate)}",
        "loader = torch.utils.data.DataLoader(",
        f"    train, batch_size={batch_size}, shuffle=True",
        ")",
    ]
    remark = "train is your training data set of (x, y), prepared as under Method."
    return Setting("PyTorch", "\n".join(lines), remark)


def _optimizer(rule: Rule, learning_rate: float) -> str:
    """PyTorch's optimizer of an update rule."""
    rate = f"lr={learning_rate:.3g}"
    if isinstance(rule, Adam):
        betas = f"betas=({rule.beta1}, {rule.beta2}), eps={rule.epsilon}"
        return f"torch.optim.Adam(model.parameters(), {rate}, {betas})"
    if isinstance(rule, Momentum | Nesterov):
        rate += f", momentum={rule.beta}"
    if isinstance(rule, Nesterov):
        rate += ", nesterov=True"
    return f"torch.optim.SGD(model.parameters(), {rate})"
