"""What a study recommends, ready to paste into each program that can be set to it.

For data that we know these are the lines that matter; for a user's own table a whole program. To
add a program, add one entry to PROGRAMS.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.problems import Problem
from bench.report import table_source
from bench.report.source import assign, call, program
from kernels import Network
from kernels.updates import RULES, Adam, Momentum, Nesterov, Rule

if TYPE_CHECKING:
    from bench.problems.table import Table


@dataclass(frozen=True)
class Setting:
    """Source to copy into a program, or why it has none.

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


@dataclass(frozen=True)
class Found:
    """What a study found for one program.

    Parameters
    ----------
    batch_size, learning_rate
        What to set; a batch size of N is the full batch.
    passes
        Over the training data, within which 9 of 10 runs reach the target.
    scores
        Names of the held-out scores to print, of `SCORES`.
    """

    batch_size: int
    learning_rate: float
    passes: int = 30
    scores: tuple[str, ...] = ("accuracy",)


SCORES = {
    "accuracy": "accuracy_score",
    "balanced accuracy": "balanced_accuracy_score",
    "rmse": "root_mean_squared_error",
}
"""scikit-learn's function of each held-out score."""
HE = (
    "The times predicted here are for the initial weights of He et al.; scikit-learn starts from "
    "those of Glorot and Bengio, so it may take somewhat more or fewer passes."
)


def scikit_learn(problem: Problem, rule: str, found: Found) -> Setting:
    """Source for MLPClassifier or MLPRegressor.

    Parameters
    ----------
    problem
        What is trained; with a table, the source is a whole program.
    rule
        Name of the update rule.
    found
        What is recommended for scikit-learn.
    """
    network = problem.network
    lacks = _not_in_scikit_learn(network)
    if lacks:
        return Setting("scikit-learn", "", lacks)
    if problem.table is not None:
        code = _scikit_learn_program(problem, problem.table, rule, found)
        return Setting("scikit-learn", code, HE)
    estimator, imported = _estimator(network, rule, found, [f"batch_size={found.batch_size}"])
    code = program([imported], [assign("model", estimator)])
    return Setting("scikit-learn", code, "alpha is weight decay, which the study leaves out.")


def _not_in_scikit_learn(network: Network) -> str:
    """Why scikit-learn cannot train this network, or nothing."""
    if network.activation == "leaky_relu":
        return "scikit-learn has no leaky ReLU."
    if network.output == "sigmoid" and network.loss == "half_mse":
        return "scikit-learn has no squared error on a sigmoid."
    return ""


def _estimator(network: Network, rule: str, found: Found, more: Sequence[str]) -> tuple[str, str]:
    """Source of an estimator that trains as the study did, and of its import.

    Parameters
    ----------
    network, rule, found
        As of `scikit_learn`.
    more
        Further arguments.
    """
    name = "MLPClassifier" if network.is_classifier else "MLPRegressor"
    arguments = [
        f"hidden_layer_sizes={network.widths[1:-1]!r}",
        f'activation="{network.activation}"',
        *_scikit_learn_rule(RULES[rule]),
        f"learning_rate_init={found.learning_rate:.3g}",
        *more,
        "alpha=0.0",
    ]
    return call(name, *arguments), f"sklearn.neural_network:{name}"


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


def _scikit_learn_program(problem: Problem, table: Table, rule: str, found: Found) -> str:
    """Source of a whole program: read, split, train as long as it takes, score."""
    start = table_source.read_and_split(table)
    more = [
        f"batch_size={_batch_size(problem, found, 'X_train')}",
        f"max_iter={found.passes}",
        f"n_iter_no_change={found.passes}",
        "random_state=0",
    ]
    estimator, imported = _estimator(problem.network, rule, found, more)
    model = call("make_pipeline", "prepare", estimator)
    imports = [*start.imports, imported, "warnings", "sklearn.exceptions:ConvergenceWarning"]
    if not problem.network.is_classifier:
        imports.append("sklearn.compose:TransformedTargetRegressor")
        model = call("TransformedTargetRegressor", model, "transformer=StandardScaler()")
    fit = "\n".join([
        "# it is to end after max_iter passes, converged or not",
        'warnings.filterwarnings("ignore", category=ConvergenceWarning)',
        "model.fit(X_train, y_train)",
        "predicted = model.predict(X_test)",
        *(f'print(f"held-out {name}: {{{_score(name)}:.4g}}")' for name in found.scores),
    ])  # fmt: skip
    return program([*imports, *_score_imports(found)], [*start.blocks, assign("model", model), fit])


def _batch_size(problem: Problem, found: Found, data: str) -> str:
    """Source of a batch size; the full batch is as large as the data of this name."""
    return f"len({data})" if found.batch_size >= problem.n_train else str(found.batch_size)


def _score(name: str) -> str:
    """Source of a held-out score."""
    return f"{SCORES[name]}(y_test, predicted)"


def _score_imports(found: Found) -> list[str]:
    """Imports of the held-out scores."""
    return [f"sklearn.metrics:{SCORES[name]}" for name in found.scores]


_ACTIVATIONS = {"relu": "nn.ReLU()", "tanh": "nn.Tanh()", "leaky_relu": "nn.LeakyReLU(0.01)"}
_LOSSES = {
    ("softmax", "ce"): "nn.CrossEntropyLoss()",
    ("sigmoid", "bce"): "nn.BCEWithLogitsLoss()",
    ("linear", "half_mse"): "lambda output, y: 0.5 * nn.functional.mse_loss(output, y)",
    ("sigmoid", "half_mse"): (
        "lambda output, y: 0.5 * nn.functional.mse_loss(output.sigmoid(), y)"
    ),
}


def pytorch(problem: Problem, rule: str, found: Found) -> Setting:
    """Source for a PyTorch model, loss, optimizer and batches; parameters as `scikit_learn`."""
    network = problem.network
    if problem.table is not None:
        code = _pytorch_program(problem, problem.table, rule, found)
        remark = "The initial weights are those of He et al., as in the study."
        return Setting("PyTorch", code, remark)
    loader = call(
        "torch.utils.data.DataLoader", f"train, batch_size={found.batch_size}, shuffle=True"
    )
    lines = [*_model(network, rule, found, str(network.n_inputs)), assign("loader", loader)]
    code = program(_TORCH, ["\n".join(lines)])
    return Setting(
        "PyTorch", code, "train is your training data set of (x, y), prepared as under Method."
    )


_TORCH = ("torch", "torch:nn")


def _model(network: Network, rule: str, found: Found, n_inputs: str) -> list[str]:
    """Source of the model, the loss and the optimizer."""
    layers = []
    for n_in, n_out in zip([n_inputs, *network.widths[1:-1]], network.widths[1:], strict=True):
        layers += [f"nn.Linear({n_in}, {n_out})", _ACTIVATIONS[network.activation]]
    return [
        assign("model", call("nn.Sequential", *layers[:-1])),
        assign("loss", _LOSSES[network.output, network.loss]),
        assign("optimizer", _optimizer(RULES[rule], found.learning_rate)),
    ]


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


_LABELS = "sklearn.preprocessing:LabelEncoder"
_TARGETS = {
    "softmax": (
        _LABELS,
        "labels = LabelEncoder().fit(y_train)\nt = torch.tensor(labels.transform(y_train))",
        "labels.inverse_transform(model(x_test).argmax(dim=1))",
    ),
    "sigmoid": (
        _LABELS,
        "labels = LabelEncoder().fit(y_train)\n"
        "t = torch.tensor(labels.transform(y_train), dtype=torch.float32)[:, None]",
        "labels.inverse_transform((model(x_test)[:, 0] > 0).int())",
    ),
    "linear": (
        "sklearn.preprocessing:StandardScaler",
        "scaler = StandardScaler().fit(y_train.to_frame())\n"
        "t = torch.tensor(scaler.transform(y_train.to_frame()), dtype=torch.float32)",
        "scaler.inverse_transform(model(x_test))[:, 0]",
    ),
}
"""For each output: an import, how the target becomes a tensor, and how outputs become values."""


def _pytorch_program(problem: Problem, table: Table, rule: str, found: Found) -> str:
    """Source of a whole program: read, split, train in a loop that tells loss and score."""
    start = table_source.read_and_split(table)
    imported, encoding, decoding = _TARGETS[problem.network.output]
    tensors = [
        "torch.manual_seed(0)",
        "x = torch.tensor(prepare.fit_transform(X_train), dtype=torch.float32)",
        "x_test = torch.tensor(prepare.transform(X_test), dtype=torch.float32)",
        encoding,
    ]
    told = call(
        "print",
        'f"pass {number}: training loss {train_loss:.4g}"',
        *(f'f"held-out {name} {{{_score(name)}:.4g}}"' for name in found.scores),
        'sep=", "',
    )
    loop = f"""\
for number in range(1, {found.passes + 1}):
    for batch in torch.randperm(len(x)).split({_batch_size(problem, found, "x")}):
        optimizer.zero_grad()
        loss(model(x[batch]), t[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        train_loss = loss(model(x), t).item()
        predicted = {decoding}
{textwrap.indent(told, "    ")}"""
    model, *others = _model(problem.network, rule, found, "x.shape[1]")
    network = "\n".join([model, _HE, *others])
    imports = [*start.imports, *_TORCH, imported, *_score_imports(found)]
    return program(imports, [*start.blocks, "\n".join(tensors), network, loop])


_HE = """\
for layer in model:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)"""
"""Source of the initialization of He et al."""

PROGRAMS: dict[str, Callable[[Problem, str, Found], Setting]] = {
    "scikit-learn": scikit_learn,
    "PyTorch": pytorch,
}
"""Programs that can be set: source for a problem, an update rule and what was found."""
