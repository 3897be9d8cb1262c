"""JAX: the whole training as one compiled program, a scan over the batches of a pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.speed.peers import Params, Run, Work, flatten

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "leaky_relu": jax.nn.leaky_relu,
}


def cross_entropy(z: Any, y: Any) -> Any:
    """-log softmax of the class y; z (n, classes), y (n,)."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))


def binary_cross_entropy(z: Any, y: Any) -> Any:
    """Sum over outputs, mean over samples, from logits."""
    return jnp.mean(jnp.sum(jax.nn.softplus(z) - y * z, axis=1))


def half_squared_error(output: Any, y: Any) -> Any:
    """1/2 sum over outputs, mean over samples."""
    return 0.5 * jnp.mean(jnp.sum((output - y) ** 2, axis=1))


LOSSES: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("softmax", "ce"): cross_entropy,
    ("sigmoid", "bce"): binary_cross_entropy,
    ("sigmoid", "half_mse"): lambda z, y: half_squared_error(jax.nn.sigmoid(z), y),
    ("linear", "half_mse"): half_squared_error,
}


def prepare(work: Work) -> Run:
    """Compile once for all numbers of passes: they are a loop around the scan."""
    network, rate = work.network, work.learning_rate
    activation = ACTIVATIONS[network.activation]
    criterion = LOSSES[network.output, network.loss]
    X, order = jnp.asarray(work.X), jnp.asarray(work.order)
    y = jnp.asarray(work.y if network.output == "softmax" else work.targets)
    first = [(jnp.asarray(W.T), jnp.asarray(b)) for W, b in network.unpack(work.params)]

    def loss(params: Any, x: Any, targets: Any) -> Any:
        *hidden, (W, b) = params
        for V, c in hidden:
            x = activation(x @ V + c)
        return criterion(x @ W + b, targets)

    def update(params: Any, batch: Any) -> tuple[Any, None]:
        gradient = jax.grad(loss)(params, X[batch], y[batch])
        return jax.tree.map(lambda w, g: w - rate * g, params, gradient), None

    def training(params: Any, passes: Any) -> Any:
        one_pass = lambda _, params: jax.lax.scan(update, params, order)[0]  # noqa: E731
        return jax.lax.fori_loop(0, passes, one_pass, params)

    compiled = jax.jit(training)

    def run(passes: int, _: bool) -> Params:
        params = jax.block_until_ready(compiled(first, passes))
        return flatten([(np.asarray(W).T, np.asarray(b)) for W, b in params])

    return run
