"""PyTorch, eager: the training loop of its tutorials."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from bench.speed.peers import Params, Run, Work, flatten

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU}


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


def prepare(work: Work) -> Run:
    """Train in a loop over batches; the rows of a batch are gathered as a data loader would."""
    torch.set_num_threads(1)
    network = work.network
    criterion = LOSSES[network.output, network.loss]
    X = torch.tensor(work.X)
    y = torch.tensor(work.y if network.output == "softmax" else work.targets)
    order = torch.tensor(work.order)

    def new_model() -> nn.Sequential:
        layers = []
        for W, b in network.unpack(work.params):
            linear = nn.Linear(W.shape[1], W.shape[0])
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(W))
                linear.bias.copy_(torch.tensor(b))
            layers += [linear, ACTIVATIONS[network.activation]()]
        return nn.Sequential(*layers[:-1])

    def run(passes: int, _: bool) -> Params:
        model = new_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=work.learning_rate)
        for batch in order.repeat(passes, 1):
            optimizer.zero_grad()
            loss = criterion(model(X[batch]), y[batch])
            loss.backward()
            optimizer.step()
        linear = [layer for layer in model if isinstance(layer, nn.Linear)]
        return flatten([(x.weight.detach().numpy(), x.bias.detach().numpy()) for x in linear])

    return run
