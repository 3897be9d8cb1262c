"""Timings of what `kernels` offers, called as a user calls it: float32, SGD, one core.

Each operation makes its arguments ready and gives a call without arguments: only that is timed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.speed.cases import CASES, LANES, Case, batch_size_names, case
from bench.speed.conftest import Timer
from bench.speed.flops import forward_flops, step_flops
from bench.speed.timings import Work
from kernels import forward, loss_and_gradient, train
from kernels.network import FloatArray

RATE = 0.01


def forward_work(c: Case, batch_size: int) -> Work:
    """Pre-activations and activations of all layers, of one batch."""
    params, X = c.params, c.X[:batch_size]
    flops = batch_size * forward_flops(c.network)
    return Work(lambda: forward(c.network, params, X)[0][-1], batch_size, flops)


def gradient_work(c: Case, batch_size: int) -> Work:
    """Loss and averaged gradient of one batch."""
    params, X, y = c.params, c.X[:batch_size], c.y[:batch_size]
    flops = batch_size * step_flops(c.network)
    return Work(lambda: loss_and_gradient(c.network, params, X, y)[1], batch_size, flops)


def update_work(c: Case, batch_size: int) -> Work:
    """One update by one call of `train`, with the batch's loss before and after it."""
    batch = replace(c, X=c.X[:batch_size], y=c.y[:batch_size], epochs=1)
    return training_work(batch, batch_size, np.arange(batch_size)[None])


def epochs_work(c: Case, batch_size: int) -> Work:
    """Several epochs of one run by one call of `train`, with the loss before and after them."""
    return training_work(c, batch_size, c.order)


def block_work(c: Case, batch_size: int) -> Work:
    """Several epochs of 16 runs at once, with a learning rate of their own each."""
    return training_work(c, batch_size, c.order, runs=LANES)


def training_work(c: Case, batch_size: int, order: NDArray[np.int64], runs: int = 1) -> Work:
    """Train by one call of `train`, which evaluates all samples before and after."""
    params = c.params
    rates = RATE if runs == 1 else np.geomspace(RATE / 10, RATE, runs)

    def call() -> FloatArray:
        return train(
            c.network,
            params,
            c.X,
            c.y,
            batch_size=batch_size,
            learning_rate=rates,
            epochs=c.epochs,
            order=order,
            checkpoints=(),
        ).params

    trained, evaluated = c.epochs * c.n, 2 * c.n
    flops = trained * step_flops(c.network) + evaluated * forward_flops(c.network)
    return Work(call, runs * trained, runs * flops)


OPERATIONS = {
    "forward": forward_work,
    "gradient": gradient_work,
    "update": update_work,
    "epochs": epochs_work,
    "block of 16": block_work,
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("name", "batch_size"), [(name, size) for name in CASES for size in batch_size_names(name)]
)
def test_kernels(operation: str, name: str, batch_size: str, timed: Timer) -> None:
    """Every operation gives finite numbers, and takes its time."""
    c = case(name)
    work = OPERATIONS[operation](c, c.batch_size(batch_size))
    result = timed(work, operation=operation, case=name, batch_size=batch_size)
    assert np.isfinite(result).all()
