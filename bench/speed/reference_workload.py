"""The yardstick of the history: a fixed piece of training in plain NumPy, timed beside benchmarks.

It resembles the work (small products, elementwise operations, calls) and slows down with it where
the clock does or others use the machine, but has nothing of `kernels` in it: no change of ours
moves it, so seconds relative to it can be compared from commit to commit. Never change it: a
history would show a step in all benchmarks at once. What moves it besides (NumPy, its BLAS, Python)
is part of a machine's fingerprint.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from bench.analysis.intervals import Estimate, median_interval

WIDTHS = (64, 32, 10)
BATCH_SIZE = 32
STEPS = 40
RATE = np.float32(0.01)
CALLS = 10

Matrix = NDArray[np.float32]


def _draw(rows: int, columns: int, scale: float) -> Matrix:
    return (scale * np.random.default_rng(0).standard_normal((rows, columns))).astype(np.float32)


X = _draw(BATCH_SIZE, WIDTHS[0], 1.0)
Y = np.eye(WIDTHS[2], dtype=np.float32)[np.arange(BATCH_SIZE) % WIDTHS[2]]
START = (_draw(WIDTHS[1], WIDTHS[0], 0.1), _draw(WIDTHS[2], WIDTHS[1], 0.1))


def train() -> tuple[Matrix, Matrix]:
    """Do 40 steps of 64-32-10 (ReLU, softmax) on one batch of 32, float32; return its weights.

    The notes' equations for a whole batch: z = a W' + b, delta = (softmax - y) / B at the output,
    (delta W) * (z > 0) below it, W <- W - eta delta' a.
    """
    W1, W2 = START[0].copy(), START[1].copy()
    b1, b2 = np.zeros(WIDTHS[1], np.float32), np.zeros(WIDTHS[2], np.float32)
    for _ in range(STEPS):
        z1 = X @ W1.T + b1
        a1 = np.maximum(z1, 0)
        z2 = a1 @ W2.T + b2
        e = np.exp(z2 - z2.max(axis=1, keepdims=True))
        delta2 = (e / e.sum(axis=1, keepdims=True) - Y) / np.float32(BATCH_SIZE)
        delta1 = (delta2 @ W2) * (z1 > 0)
        W2 -= RATE * (delta2.T @ a1)
        b2 -= RATE * delta2.sum(axis=0)
        W1 -= RATE * (delta1.T @ X)
        b1 -= RATE * delta1.sum(axis=0)
    return W1, W2


def call_seconds(calls: int = CALLS) -> list[float]:
    """Seconds of each of so many calls, about 1.5 ms each, after one that is not timed."""
    train()
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        train()
        seconds.append(time.perf_counter() - start)
    return seconds


def relative(seconds: list[float], reference: list[float]) -> Estimate:
    """Median seconds of a call over the reference's median, with a 95% interval.

    Parameters
    ----------
    seconds, reference
        Of each round of what was timed, and of each call of the reference workload.

    Returns
    -------
    Estimate
        The medians' order-statistic intervals, put together on the logarithmic scale by
        square-and-add (Zou & Donner 2008, Stat Med 27:1693). Fewer than 6 rounds or calls: 0 to
        inf.
    """
    a, b = median_interval(seconds), median_interval(reference)
    value = a.value / b.value
    if not (a.identified and b.identified):
        return Estimate(value, 0.0, np.inf, a.n, identified=False)
    down = np.hypot(np.log(a.value / a.low), np.log(b.high / b.value))
    up = np.hypot(np.log(a.high / a.value), np.log(b.value / b.low))
    return Estimate(value, float(value * np.exp(-down)), float(value * np.exp(up)), a.n)
