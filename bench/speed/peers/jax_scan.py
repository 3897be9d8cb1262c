"""JAX: the whole training as one compiled program, a scan over the batches of a pass.

Many runs at once are `vmap` of it. Tried, on 64-32-10: `unroll` of 2, 4 and 8 updates (at batch
size 1 4 takes 14% less than 1, at 8 and more nothing, and compiles up to four times as long: taken
at batch size 1 alone), gathering all batches of a pass before its scan (as long, within 5%).
`donate_argnums` has nothing to give: the loop already updates its weights in place. What keeps JAX
on one core is that the process is pinned to it.
"""

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

UNROLL = 4  # updates of a turn of the scan, at batch size 1


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
    network = work.network
    activation = ACTIVATIONS[network.activation]
    criterion = LOSSES[network.output, network.loss]
    X, order = jnp.asarray(work.X), jnp.asarray(work.order)
    y = jnp.asarray(work.y if network.output == "softmax" else work.targets)
    first = [(jnp.asarray(W.mT), jnp.asarray(b)) for W, b in network.unpack(work.params)]
    unroll = UNROLL if work.batch_size == 1 else 1

    def loss(params: Any, x: Any, targets: Any) -> Any:
        *hidden, (W, b) = params
        for V, c in hidden:
            x = activation(x @ V + c)
        return criterion(x @ W + b, targets)

    def training(params: Any, rate: Any, passes: Any) -> Any:
        def update(params: Any, batch: Any) -> tuple[Any, None]:
            gradient = jax.grad(loss)(params, X[batch], y[batch])
            return jax.tree.map(lambda w, g: w - rate * g, params, gradient), None

        def one_pass(_: Any, params: Any) -> Any:
            return jax.lax.scan(update, params, order, unroll=unroll)[0]

        return jax.lax.fori_loop(0, passes, one_pass, params)

    compiled = jax.jit(jax.vmap(training, in_axes=(0, 0, None)) if work.many else training)
    rate = jnp.asarray(work.learning_rate, jnp.float32)

    def run(passes: int, _: bool) -> Params:
        params = jax.block_until_ready(compiled(first, rate, passes))
        return flatten([(np.asarray(W).mT, np.asarray(b)) for W, b in params])

    return run


def arithmetic() -> str:
    """Kernels that XLA compiles, and those that it brings along."""
    return "XLA"
