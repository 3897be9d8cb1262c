"""The backward pass of a chunk of samples: deltas layer by layer and the averaged gradient."""

from __future__ import annotations

from typing import Any

from kernels.activations import times_derivative
from kernels.forward import layer_rows, left_rows, weight_rows
from kernels.jit import inner, overload
from kernels.layout import BlockLayout
from kernels.losses import block_delta, single_delta
from kernels.memory import part
from kernels.product import Vectors, add_outer, add_product, transposed
from kernels.vector import fma, lanes, load, splat, store


def output_delta(layout: Any, A: Any, D: Any, at: int, y: Any, scale: Any) -> None:
    """B1: D[at..] = scale dL/dz of the sample whose logits begin at A[at] and targets are y."""


@overload(output_delta)
def _output_delta(layout: Any, A: Any, D: Any, at: int, y: Any, scale: Any) -> Any:
    if layout.instance_class is BlockLayout:
        return lambda layout, A, D, at, y, scale: block_delta(
            layout.pair, A, D, at, layout.units[layout.units.size - 1], y, scale
        )
    return lambda layout, A, D, at, y, scale: single_delta(
        layout.pair, A, D, at, layout.columns[layout.columns.size - 1], y, scale
    )


@inner
def deltas(layout: Any, P: Any, work: Any, span: Any, scale: Any, poison: Any) -> None:
    """B1 and B2 for the samples first .. first + count: work.D = scale * delta of every layer.

    poison[lane] turns NaN for good once a logit is not finite: 0 * z adds nothing else.
    """
    first, count = span
    A, D, step = work.A, work.D, lanes(work.A)
    top = layout.units.size - 1
    logits = layer_rows(layout, top, A, first)
    zero = splat(A, 0.0)
    sick = load(poison, 0)
    for s in range(count):
        at = logits.start + s * logits.row
        y = part(work.Y, (first + s) * work.y_row, work.y_row)
        output_delta(layout, A, D, at, y, scale)
        for p in range(at, at + logits.row, step):
            sick = fma(load(A, p), zero, sick)
    store(poison, 0, sick)
    for layer in range(top, 0, -1):
        below = layer_rows(layout, layer - 1, D, first)
        stop = below.start + count * below.row
        for p in range(below.start, stop, step):
            store(D, p, zero)
        W = Vectors(
            P, layout.delta_start[layer], layout.delta_row[layer], layout.delta_column[layer]
        )
        # B2: delta(l-1) = (W(l)^T delta(l)) * f'(z(l-1))
        above = left_rows(layout, layer, D, first)
        add_product(below, above, W, count, layout.columns[layer - 1], layout.units[layer])
        times_derivative(layout.activation, A, D, below.start, stop)


@inner
def add_layer_gradient(layout: Any, layer: int, T: Any, inputs: Any, D: Any, span: Any) -> None:
    """B3, B4: add the sum over samples of delta_i a_j and of delta_i to W and b of target T."""
    first, count = span
    delta = layer_rows(layout, layer, D, first)
    W = weight_rows(layout, layer, T)
    n_in, columns = layout.inputs[layer], layout.columns[layer]
    add_outer(W, transposed(inputs), delta, n_in, columns, count)
    for j in range(0, columns * lanes(T), lanes(T)):
        b = load(T, layout.biases[layer] + j)
        for s in range(count):
            b = b + load(D, delta.start + s * delta.row + j)
        store(T, layout.biases[layer] + j, b)


@inner
def add_gradient_behind_first(layout: Any, T: Any, work: Any, span: Any) -> None:
    """`add_layer_gradient` for all layers but the first, and for their transposed copies."""
    first, count = span
    for layer in range(1, layout.units.size):
        inputs = left_rows(layout, layer - 1, work.A, first)
        add_layer_gradient(layout, layer, T, inputs, work.D, span)
        if layout.transposed.size:
            columns = layout.columns[layer - 1]
            copy = Vectors(T, layout.transposed[layer], columns * lanes(T), lanes(T))
            delta = transposed(left_rows(layout, layer, work.D, first))
            below = layer_rows(layout, layer - 1, work.A, first)
            add_outer(copy, delta, below, layout.units[layer], columns, count)
