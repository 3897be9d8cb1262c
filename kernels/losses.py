"""Loss and output delta of each output/loss pair, from logits z and targets y.

    (sigmoid, bce)       L = max(z, 0) - y z + log(1 + exp(-|z|))     dL/dz = p - y
    (sigmoid, half_mse)  L = (p - y)**2 / 2                           dL/dz = (p - y) p (1 - p)
    (linear, half_mse)   L = (z - y)**2 / 2                           dL/dz = z - y
    (softmax, ce)        L = log sum_k exp(z_k) - sum_k y_k z_k       dL/dz = p - y

No exp of a positive number and no log of a number below 1 is ever taken. Losses sum over outputs.
A block has an output a vector. One run has its outputs side by side in vectors, filled up with
logits of the dtype's lowest number (0 for linear outputs) and targets 0: their loss and delta
are 0.
"""

from __future__ import annotations

from typing import Any

from kernels.jit import inner
from kernels.memory import part
from kernels.vector import (
    copy_sign,
    exp,
    exp_nonpositive,
    lane_max,
    lane_sum,
    lanes,
    load,
    log,
    log1p,
    splat,
    store,
    where_less,
    where_less_equal,
)

SIGMOID_BCE, SIGMOID_HALF_MSE, LINEAR_HALF_MSE, SOFTMAX_CE = 0, 1, 2, 3
PAIR_CODES = {
    ("sigmoid", "bce"): SIGMOID_BCE,
    ("sigmoid", "half_mse"): SIGMOID_HALF_MSE,
    ("linear", "half_mse"): LINEAR_HALF_MSE,
    ("softmax", "ce"): SOFTMAX_CE,
}


@inner
def sigmoid_tail(z: Any) -> Any:
    """(t, e), e = exp(-|z|): t = e / (1 + e) is p = 1 / (1 + exp(-z)) where z < 0, else 1 - p."""
    e = exp_nonpositive(copy_sign(z, splat(z, -1.0)))
    return e / (splat(z, 1.0) + e), e


@inner
def sigmoid_error(z: Any, y: Any, tail: Any) -> Any:
    """Error p - y, exact near y = 0 and 1: t - y where z < 0, else (1 - y) - t."""
    zero = splat(z, 0.0)
    end = where_less(z, zero, zero - y, splat(z, 1.0) - y)
    return end + where_less(z, zero, tail, zero - tail)


@inner
def elementwise_delta(pair: int, z: Any, y: Any) -> Any:
    """dL/dz of the pairs without softmax."""
    if pair == LINEAR_HALF_MSE:
        return z - y
    tail, _ = sigmoid_tail(z)
    error = sigmoid_error(z, y, tail)
    if pair == SIGMOID_HALF_MSE:
        return error * (tail * (splat(z, 1.0) - tail))
    return error


@inner
def elementwise_loss(pair: int, z: Any, y: Any) -> Any:
    """L of the pairs without softmax."""
    if pair == LINEAR_HALF_MSE:
        error = z - y
        return splat(z, 0.5) * (error * error)
    tail, e = sigmoid_tail(z)
    if pair == SIGMOID_HALF_MSE:
        error = sigmoid_error(z, y, tail)
        return splat(z, 0.5) * (error * error)
    zero = splat(z, 0.0)
    return where_less(z, zero, zero, z) - y * z + log1p(e)


@inner
def first_largest(y: Any) -> int:
    """Index of the first largest element of memory."""
    label = 0
    for k in range(1, y.size):
        if y[k] > y[label]:
            label = k
    return label


# -------------------------------------------------------------------- a block: an output a vector


@inner
def block_deltas(pair: int, A: Any, D: Any, rows: Any, targets: Any, scale: Any) -> None:
    """B1: D = scale dL/dz of `count` samples in all runs, whose logits are rows of A.

    rows = (start, stride, count, n_outputs); targets = (Y, start, stride), shared by all runs.
    """
    start, stride, count, n_outputs = rows
    Y, y_at, y_stride = targets
    step = lanes(A)
    for s in range(count):
        at, answers = start + s * stride, y_at + s * y_stride
        if pair == SOFTMAX_CE:
            _block_softmax_delta(A, D, at, part(Y, answers, n_outputs), scale)
        else:
            for k in range(n_outputs):
                p = at + k * step
                delta = elementwise_delta(pair, load(A, p), splat(A, Y[answers + k]))
                store(D, p, scale * delta)


@inner
def _block_softmax_delta(A: Any, D: Any, at: int, y: Any, scale: Any) -> None:
    step = lanes(A)
    largest = _block_maximum(A, at, y.size)
    total = splat(A, 0.0)
    for p in range(at, at + y.size * step, step):
        e = exp(load(A, p) - largest)
        total = total + e
        store(D, p, e)
    factor = scale / total
    for k in range(y.size):
        p = at + k * step
        store(D, p, load(D, p) * factor - splat(A, y[k]) * scale)


@inner
def _block_maximum(A: Any, at: int, n_outputs: int) -> Any:
    """Largest output of each run."""
    largest = load(A, at)
    for k in range(1, n_outputs):
        z = load(A, at + k * lanes(A))
        largest = where_less(largest, z, z, largest)
    return largest


@inner
def block_loss(pair: int, A: Any, at: int, n_outputs: int, y: Any) -> Any:
    """L of one sample in all runs, a vector."""
    step = lanes(A)
    value = splat(A, 0.0)
    if pair != SOFTMAX_CE:
        for k in range(n_outputs):
            value = value + elementwise_loss(pair, load(A, at + k * step), splat(A, y[k]))
        return value
    largest = _block_maximum(A, at, n_outputs)
    total = splat(A, 0.0)
    for k in range(n_outputs):
        z = load(A, at + k * step) - largest
        total = total + exp(z)
        # else z may be -infinity, where logits lie further apart than the dtype goes
        if y[k] > 0.0:
            value = value - splat(A, y[k]) * z
    return value + log(total)


@inner
def block_correct(pair: int, A: Any, at: int, n_outputs: int, y: Any) -> Any:
    """1 in each run whose outputs name the sample's class, else 0 (also where one is NaN).

    Softmax: the first largest output; sigmoid: every output on its target's side of 1/2.
    """
    step = lanes(A)
    zero = splat(A, 0.0)
    right = splat(A, 1.0)
    if pair == SOFTMAX_CE:
        label = first_largest(y)
        top = load(A, at + label * step)
        for k in range(n_outputs):
            z = load(A, at + k * step)
            if k < label:
                right = where_less(z, top, right, zero)
            else:
                right = where_less_equal(z, top, right, zero)
    else:
        for k in range(n_outputs):
            z = load(A, at + k * step)
            if y[k] > 0.5:
                right = where_less(zero, z, right, zero)
            else:
                right = where_less_equal(z, zero, right, zero)
    return right


# ------------------------------------------------------- one run: outputs side by side in lanes


@inner
def single_deltas(pair: int, A: Any, D: Any, rows: Any, targets: Any, scale: Any) -> None:
    """B1: D = scale dL/dz of `count` samples, whose logits are rows of A.

    rows = (start, stride, count, columns); targets = (Y, start, stride), padded with zeros. Softmax
    goes step by step through all samples, because each step waits for the one before.
    """
    at, stride, count, columns = rows
    Y, y_at, y_stride = targets
    step = lanes(A)
    if pair == SOFTMAX_CE:
        _exponentials(A, D, rows)
    for s in range(count):
        row, answers = at + s * stride, y_at + s * y_stride
        if pair == SOFTMAX_CE:
            total = splat(A, 0.0)
            for j in range(0, columns * step, step):
                total = total + load(D, row + j)
            factor = scale / lane_sum(total)
            for j in range(0, columns * step, step):
                store(D, row + j, load(D, row + j) * factor - load(Y, answers + j) * scale)
        else:
            for j in range(0, columns * step, step):
                delta = elementwise_delta(pair, load(A, row + j), load(Y, answers + j))
                store(D, row + j, scale * delta)


@inner
def _exponentials(A: Any, D: Any, rows: Any) -> None:
    """D = exp(z - largest z of the sample), for rows of logits z in A as of `single_deltas`."""
    at, stride, count, columns = rows
    step = lanes(A)
    for s in range(count):
        row = at + s * stride
        largest = _single_maximum(A, row, columns)
        for j in range(0, columns * step, step):
            store(D, row + j, load(A, row + j) - largest)
    for s in range(count):
        row = at + s * stride
        for j in range(0, columns * step, step):
            store(D, row + j, exp(load(D, row + j)))


@inner
def _single_maximum(A: Any, at: int, columns: int) -> Any:
    """Largest output, in all lanes."""
    step = lanes(A)
    largest = load(A, at)
    for j in range(step, columns * step, step):
        z = load(A, at + j)
        largest = where_less(largest, z, z, largest)
    return lane_max(largest)


@inner
def single_loss(pair: int, A: Any, at: int, columns: int, y: Any) -> Any:
    """L of one sample, in all lanes; the outputs that fill up a vector add exactly 0."""
    step = lanes(A)
    value = splat(A, 0.0)
    if pair != SOFTMAX_CE:
        for j in range(0, columns * step, step):
            value = value + elementwise_loss(pair, load(A, at + j), load(y, j))
        return lane_sum(value)
    largest = _single_maximum(A, at, columns)
    total = splat(A, 0.0)
    for j in range(0, columns * step, step):
        z = load(A, at + j) - largest
        total = total + exp(z)
        target = load(y, j)
        value = value - where_less(splat(A, 0.0), target, target * z, splat(A, 0.0))
    return lane_sum(value) + log(lane_sum(total))


@inner
def single_correct(pair: int, A: Any, at: int, n_outputs: int, y: Any) -> float:
    """1 if the outputs name the sample's class, else 0, by the rule of `block_correct`."""
    if pair == SOFTMAX_CE:
        label = first_largest(y)
        top = A[at + label]
        for k in range(n_outputs):
            if not (A[at + k] < top if k < label else A[at + k] <= top):
                return 0.0
        return 1.0
    for k in range(n_outputs):
        if not (A[at + k] > 0.0 if y[k] > 0.5 else A[at + k] <= 0.0):
            return 0.0
    return 1.0
