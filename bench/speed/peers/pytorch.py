"""PyTorch, eager: the training loop of its tutorials; `vmap` of `grad` for many runs at once.

Tried, on 64-32-10 at batch size 1: `SGD` with `fused=True` (as long), with `foreach=False` (9%
less: taken); gradients by `torch.autograd.grad` and an update written out in place of an optimizer
(30% less, but nobody's training loop). For 16 runs, products of stacked weights by `baddbmm` under
autograd take a third of what `vmap` of `grad` does at batch size 1, and as long at 128; compiled,
`vmap` of `grad` is the fastest of all: see `pytorch_compiled.py`.
"""

from __future__ import annotations

import torch
from torch import nn

from bench.speed.peers import Params, Run, Work, flatten
from bench.speed.peers.pytorch_functional import (
    LOSSES,
    data_of,
    instructions,
    run_of,
    update_of,
)

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU}


def prepare(work: Work) -> Run:
    """Train in a loop over batches; the rows of a batch are gathered as a data loader would."""
    if work.many:
        return run_of(work, update_of(work))
    network = work.network
    criterion = LOSSES[network.output, network.loss]
    X, y, order = data_of(work)

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
        optimizer = torch.optim.SGD(model.parameters(), lr=work.learning_rate, foreach=False)
        for batch in order.repeat(passes, 1):
            optimizer.zero_grad()
            loss = criterion(model(X[batch]), y[batch])
            loss.backward()
            optimizer.step()
        linear = [layer for layer in model if isinstance(layer, nn.Linear)]
        return flatten([(x.weight.detach().numpy(), x.bias.detach().numpy()) for x in linear])

    return run


def arithmetic() -> str:
    """Its own kernels and oneDNN or MKL, which it brings along."""
    return f"PyTorch's own, {instructions()}"
