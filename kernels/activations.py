"""Hidden activations and their derivatives, side by side, in place on rows of vectors.

Both are written with the activation's *value*: a > 0 exactly where z > 0, and tanh'(z) = 1 - a**2,
so that pre-activations need not be kept. NaN passes through all of them.
"""

from __future__ import annotations

from typing import Any

from kernels.jit import inner
from kernels.network import LEAKY_SLOPE
from kernels.vector import lanes, load, splat, store, tanh, where_less_equal

RELU, TANH, LEAKY_RELU = 0, 1, 2
HIDDEN_CODES = {"relu": RELU, "tanh": TANH, "leaky_relu": LEAKY_RELU}


@inner
def activate(code: int, A: Any, start: int, stop: int) -> None:
    """F2: a = f(z) on A[start:stop], in place."""
    zero = splat(A, 0.0)
    if code == RELU:
        for p in range(start, stop, lanes(A)):
            z = load(A, p)
            store(A, p, where_less_equal(z, zero, zero, z))
    elif code == TANH:
        for p in range(start, stop, lanes(A)):
            store(A, p, tanh(load(A, p)))
    else:
        slope = splat(A, LEAKY_SLOPE)
        for p in range(start, stop, lanes(A)):
            z = load(A, p)
            store(A, p, where_less_equal(z, zero, slope * z, z))


@inner
def times_derivative(code: int, A: Any, D: Any, start: int, stop: int) -> None:
    """B2: delta *= f'(z) on D[start:stop], in place; 0 is the derivative of ReLU at 0."""
    zero = splat(A, 0.0)
    if code == RELU:
        for p in range(start, stop, lanes(A)):
            store(D, p, where_less_equal(load(A, p), zero, zero, load(D, p)))
    elif code == TANH:
        one = splat(A, 1.0)
        for p in range(start, stop, lanes(A)):
            a = load(A, p)
            store(D, p, load(D, p) * ((one - a) * (one + a)))
    else:
        slope = splat(A, LEAKY_SLOPE)
        for p in range(start, stop, lanes(A)):
            delta = load(D, p)
            store(D, p, where_less_equal(load(A, p), zero, slope * delta, delta))
