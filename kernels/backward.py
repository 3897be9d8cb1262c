"""The backward pass of a chunk of samples: deltas layer by layer and the averaged gradient."""

from __future__ import annotations

from typing import Any

from kernels.activations import times_derivative
from kernels.forward import layer_rows, left_rows, weight_rows
from kernels.jit import inner, overload
from kernels.layout import BlockLayout
from kernels.losses import block_deltas, single_deltas
from kernels.product import (
    Vectors,
    add_outer,
    add_product,
    add_product_and_update,
    transposed,
)
from kernels.vector import fma, lanes, load, splat, store


def loss_deltas(layout: Any, work: Any, rows: Any, targets: Any, scale: Any) -> None:
    """B1 by the kind of layout: `block_deltas` or `single_deltas`."""


@overload(loss_deltas)
def _loss_deltas(layout: Any, work: Any, rows: Any, targets: Any, scale: Any) -> Any:
    if layout.instance_class is BlockLayout:
        return lambda layout, work, rows, targets, scale: block_deltas(
            layout.pair, work.A, work.D, rows, targets, scale
        )
    return lambda layout, work, rows, targets, scale: single_deltas(
        layout.pair, work.A, work.D, rows, targets, scale
    )


@inner
def output_deltas(layout: Any, work: Any, span: Any, scale: Any, poison: Any) -> None:
    """B1 for the samples first .. first + count: scale * delta of the last layer, to work.D.

    poison[lane] turns NaN for good once a logit is not finite: 0 * z adds nothing else.
    """
    first, count = span
    A, top = work.A, layout.units.size - 1
    logits = layer_rows(layout, top, A, first)
    rows = (logits.start, logits.row, count, layout.columns[top])
    loss_deltas(layout, work, rows, (work.Y, first * work.y_row, work.y_row), scale)
    sick = load(poison, 0)
    for p in range(logits.start, logits.start + count * logits.row, lanes(A)):
        sick = fma(load(A, p), splat(A, 0.0), sick)
    store(poison, 0, sick)


@inner
def _right_factor(layout: Any, layer: int, P: Any) -> Any:
    """W^T of a layer, (n_out, columns of the layer before), as the deltas walk through it."""
    return Vectors(
        P, layout.delta_start[layer], layout.delta_row[layer], layout.delta_column[layer]
    )


@inner
def _zero_rows(M: Any, start: int, stop: int) -> None:
    for p in range(start, stop, lanes(M)):
        store(M, p, splat(M, 0.0))


@inner
def deltas(layout: Any, P: Any, work: Any, span: Any, scale: Any, poison: Any) -> None:
    """B1 and B2 for the samples first .. first + count: work.D = scale * delta of every layer."""
    output_deltas(layout, work, span, scale, poison)
    first, count = span
    A, D = work.A, work.D
    for layer in range(layout.units.size - 1, 0, -1):
        below = layer_rows(layout, layer - 1, D, first)
        stop = below.start + count * below.row
        _zero_rows(D, below.start, stop)
        # B2: delta(l-1) = (W(l)^T delta(l)) * f'(z(l-1))
        W, above = _right_factor(layout, layer, P), left_rows(layout, layer, D, first)
        add_product(below, above, W, count, layout.columns[layer - 1], layout.units[layer])
        times_derivative(layout.activation, A, D, below.start, stop)


@inner
def step_back(layout: Any, P: Any, work: Any, sample: int) -> None:
    """B2 to B4 for one sample whose output delta is there: layers behind the first are updated.

    The same as `deltas` and `add_gradient_behind_first`, in one pass over each layer's weights.
    """
    A, D = work.A, work.D
    for layer in range(layout.units.size - 1, 0, -1):
        n_units, n_inputs = layout.units[layer], layout.inputs[layer]
        columns = layout.columns[layer - 1]
        below = layer_rows(layout, layer - 1, D, sample)
        inputs = layer_rows(layout, layer - 1, A, sample)
        _zero_rows(D, below.start, below.start + below.row)
        W, above = _right_factor(layout, layer, P), left_rows(layout, layer, D, sample)
        add_product_and_update(below, above, W, inputs, columns, n_units)
        times_derivative(layout.activation, A, D, below.start, below.start + below.row)
        delta = layer_rows(layout, layer, D, sample)
        if layout.transposed.size:  # W^T above was the copy
            left = transposed(left_rows(layout, layer - 1, A, sample))
            add_outer(
                weight_rows(layout, layer, P), left, delta, n_inputs, layout.columns[layer], 1
            )
        add_bias_gradient(layout, layer, P, delta, 1)


@inner
def add_layer_gradient(layout: Any, layer: int, T: Any, inputs: Any, D: Any, span: Any) -> None:
    """B3, B4: add the sum over samples of delta_i a_j and of delta_i to W and b of target T."""
    first, count = span
    delta = layer_rows(layout, layer, D, first)
    W = weight_rows(layout, layer, T)
    n_in, columns = layout.inputs[layer], layout.columns[layer]
    add_outer(W, transposed(inputs), delta, n_in, columns, count)
    add_bias_gradient(layout, layer, T, delta, count)


@inner
def add_bias_gradient(layout: Any, layer: int, T: Any, delta: Any, count: int) -> None:
    """B4: add the sum of `count` rows of delta to b of target T."""
    for j in range(0, layout.columns[layer] * lanes(T), lanes(T)):
        b = load(T, layout.biases[layer] + j)
        for s in range(count):
            b = b + load(delta.data, delta.start + s * delta.row + j)
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
