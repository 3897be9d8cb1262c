"""Hidden activations and their derivatives, side by side, of vectors and in place on rows of them.

Both are written with the activation's *value*: a > 0 exactly where z > 0, and tanh'(z) = 1 - a**2,
so that pre-activations need not be kept. NaN passes through all of them.
"""

from __future__ import annotations

from typing import Any

from kernels.jit import inner
from kernels.network import LEAKY_SLOPE
from kernels.vector import lanes, load, splat, store, tanh, where_less, where_less_equal

RELU, TANH, LEAKY_RELU = 0, 1, 2
HIDDEN_CODES = {"relu": RELU, "tanh": TANH, "leaky_relu": LEAKY_RELU}


@inner
def relu(z: Any) -> Any:
    """max(z, 0) of each lane."""
    return where_less(z, splat(z, 0.0), splat(z, 0.0), z)


@inner
def times_relu_derivative(a: Any, delta: Any) -> Any:
    """The delta where a > 0, else 0: also at z = 0."""
    return where_less_equal(a, splat(a, 0.0), splat(a, 0.0), delta)


@inner
def times_tanh_derivative(a: Any, delta: Any) -> Any:
    """The delta times 1 - a**2."""
    one = splat(a, 1.0)
    return delta * ((one - a) * (one + a))


@inner
def leaky_relu(z: Any) -> Any:
    """The value z where z > 0, else `LEAKY_SLOPE` z."""
    return where_less_equal(z, splat(z, 0.0), splat(z, LEAKY_SLOPE) * z, z)


@inner
def times_leaky_relu_derivative(a: Any, delta: Any) -> Any:
    """The delta where a > 0, else `LEAKY_SLOPE` delta."""
    return where_less_equal(a, splat(a, 0.0), splat(a, LEAKY_SLOPE) * delta, delta)


VALUES = {
    RELU: (relu, times_relu_derivative),
    TANH: (tanh, times_tanh_derivative),
    LEAKY_RELU: (leaky_relu, times_leaky_relu_derivative),
}
"""Activation and product with its derivative, of one vector, by code."""


@inner
def activate(code: int, A: Any, start: int, stop: int) -> None:
    """F2: a = f(z) on A[start:stop], in place."""
    if code == RELU:
        for p in range(start, stop, lanes(A)):
            store(A, p, relu(load(A, p)))
    elif code == TANH:
        for p in range(start, stop, lanes(A)):
            store(A, p, tanh(load(A, p)))
    else:
        for p in range(start, stop, lanes(A)):
            store(A, p, leaky_relu(load(A, p)))


@inner
def times_derivative(code: int, A: Any, D: Any, start: int, stop: int) -> None:
    """B2: delta *= f'(z) on D[start:stop], in place; 0 is the derivative of ReLU at 0."""
    if code == RELU:
        for p in range(start, stop, lanes(A)):
            store(D, p, times_relu_derivative(load(A, p), load(D, p)))
    elif code == TANH:
        for p in range(start, stop, lanes(A)):
            store(D, p, times_tanh_derivative(load(A, p), load(D, p)))
    else:
        for p in range(start, stop, lanes(A)):
            store(D, p, times_leaky_relu_derivative(load(A, p), load(D, p)))
