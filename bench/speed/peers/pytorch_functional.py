"""PyTorch's functional form: the loss of a list of weights, its gradient, an update in place.

`torch.func` differentiates it, `vmap` over stacked weights makes many runs of it, `torch.compile`
one kernel after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.func import grad, vmap
from torch.nn import functional

from bench.speed.peers import Params, Run, Work, flatten

Layers = list[tuple[torch.Tensor, torch.Tensor]]
Update = Callable[[Layers, torch.Tensor, torch.Tensor, torch.Tensor], None]

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "leaky_relu": functional.leaky_relu,
}


def binary_cross_entropy(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Sum over outputs, mean over samples, from logits; z and y (n, n_outputs)."""
    return functional.binary_cross_entropy_with_logits(z, y) * z.shape[1]


def half_squared_error(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """1/2 sum over outputs, mean over samples; output and y (n, n_outputs)."""
    return 0.5 * (output - y).square().sum(dim=1).mean()


LOSSES: dict[tuple[str, str], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    ("softmax", "ce"): functional.cross_entropy,
    ("sigmoid", "bce"): binary_cross_entropy,
    ("sigmoid", "half_mse"): lambda z, y: half_squared_error(torch.sigmoid(z), y),
    ("linear", "half_mse"): half_squared_error,
}


def update_of(work: Work) -> Update:
    """Return an update of one run, or of many, in place."""
    activation = ACTIVATIONS[work.network.activation]
    criterion = LOSSES[work.network.output, work.network.loss]

    def loss(layers: Layers, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        *hidden, (W, b) = layers
        for V, c in hidden:
            x = activation(functional.linear(x, V, c))
        return criterion(functional.linear(x, W, b), y)

    gradient: Any = grad(loss)
    if work.many:
        gradient = vmap(gradient, in_dims=(0, None, None))
    W_rate, b_rate = (torch.as_tensor(work.rates(ndim)) for ndim in (3, 2))

    def update(layers: Layers, X: torch.Tensor, y: torch.Tensor, batch: torch.Tensor) -> None:
        gradients = gradient(layers, X[batch], y[batch])
        for (W, b), (dW, db) in zip(layers, gradients, strict=True):
            W.sub_(W_rate * dW)
            b.sub_(b_rate * db)

    return update


def data_of(work: Work) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """X, y and the order of the samples as tensors."""
    y = work.y if work.network.output == "softmax" else work.targets
    return torch.tensor(work.X), torch.tensor(y), torch.tensor(work.order)


def run_of(work: Work, update: Update) -> Run:
    """Return a run that does the update batch by batch."""
    X, y, order = data_of(work)

    def run(passes: int, _: bool) -> Params:
        layers = [(torch.tensor(W), torch.tensor(b)) for W, b in work.network.unpack(work.params)]
        with torch.no_grad():
            for batch in order.repeat(passes, 1):
                update(layers, X, y, batch)
        return flatten([(W.numpy(), b.numpy()) for W, b in layers])

    return run


def instructions() -> str:
    """The vector instructions that PyTorch chose, and its threads."""
    threads = torch.get_num_threads()
    return f"{torch.backends.cpu.get_cpu_capability()}, {threads} thread{'s' * (threads != 1)}"
