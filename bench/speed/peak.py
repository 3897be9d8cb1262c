"""The yardstick of every speed: fused multiply-adds that this core does out of its registers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kernels.jit import jit
from kernels.memory import as_memory
from kernels.vector import fma, lanes, load, splat, store

CHAINS = 12  # a core starts up to 2 a cycle and each takes 4 or 5: 8 to 10 in flight keep it busy
CALL_SECONDS = 1e-3


@jit
def multiply_add(array: Any, steps: int) -> None:
    """Do 12 chains of `steps` fused multiply-adds on vectors out of `array`, (64,); sum into it.

    a <- a 0.9 + y: no chain waits for another, none overflows, none touches memory.
    """
    values = as_memory(array)
    x, y = splat(values, 0.9), load(values, 12)
    a, b, c, d = load(values, 0), load(values, 1), load(values, 2), load(values, 3)
    e, f, g, h = load(values, 4), load(values, 5), load(values, 6), load(values, 7)
    i, j, k, m = load(values, 8), load(values, 9), load(values, 10), load(values, 11)
    for _ in range(steps):
        a, b, c, d = fma(a, x, y), fma(b, x, y), fma(c, x, y), fma(d, x, y)
        e, f, g, h = fma(e, x, y), fma(f, x, y), fma(g, x, y), fma(h, x, y)
        i, j, k, m = fma(i, x, y), fma(j, x, y), fma(k, x, y), fma(m, x, y)
    store(values, 0, a + b + c + d + e + f + g + h + i + j + k + m)


@jit
def vector_lanes(values: Any) -> Any:
    """Number of elements of `values` that one vector holds."""
    return lanes(values)


def _call_seconds(values: NDArray[Any], steps: int) -> float:
    values[:] = np.arange(len(values))
    start = time.perf_counter()
    multiply_add(values, steps)
    return time.perf_counter() - start


def fma_peak(seconds: float = 0.05, dtype: DTypeLike = np.float32) -> float:
    """Floating-point operations per second of fused multiply-adds on vectors, on this core.

    Measured as the median over calls of about a millisecond. It moves with the clock and with what
    else the machine does, so compare a speed with the peak that was measured beside it.

    Parameters
    ----------
    seconds
        How long to measure; compilation (once) comes on top.
    dtype
        float32 or float64.

    Returns
    -------
    float
        Operations per second; a fused multiply-add counts as two.
    """
    values = np.empty(64, dtype=dtype)
    steps = 1000
    _call_seconds(values, steps)  # compiles, or loads what was compiled
    while (elapsed := _call_seconds(values, steps)) < CALL_SECONDS / 2:
        steps *= 2
    rounds = max(3, round(seconds / elapsed))
    median = np.median([_call_seconds(values, steps) for _ in range(rounds)])
    return float(2 * CHAINS * vector_lanes(values) * steps / median)
