"""The backward pass of a chunk of samples: deltas layer by layer, and what becomes of gradients.

Either they are added up (`add_...`), or the parameters take a rule's step at once (`step_...`).
"""

from __future__ import annotations

from typing import Any

from kernels.activations import times_derivative
from kernels.forward import layer_rows, left_rows, weight_rows
from kernels.jit import inlined, inner, overload
from kernels.layout import BlockLayout
from kernels.losses import block_deltas, single_deltas
from kernels.product import Vectors, add_outer, add_product, transposed
from kernels.steps import step_back_through, step_with_outer, step_with_product
from kernels.updates import take
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


@inlined
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


@inlined
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


@inlined
def add_layer_gradient(layout: Any, layer: int, T: Any, inputs: Any, D: Any, span: Any) -> None:
    """B3, B4: add the sum over samples of delta_i a_j and of delta_i to W and b of target T."""
    first, count = span
    delta = layer_rows(layout, layer, D, first)
    W = weight_rows(layout, layer, T)
    n_in, columns = layout.inputs[layer], layout.columns[layer]
    add_outer(W, transposed(inputs), delta, n_in, columns, count)
    add_bias_gradient(layout, layer, T, delta, count)


@inlined
def add_bias_gradient(layout: Any, layer: int, T: Any, delta: Any, count: int) -> None:
    """B4: add the sum of `count` rows of delta to b of target T."""
    for j in range(0, layout.columns[layer] * lanes(T), lanes(T)):
        b = load(T, layout.biases[layer] + j)
        for s in range(count):
            b = b + load(delta.data, delta.start + s * delta.row + j)
        store(T, layout.biases[layer] + j, b)


@inlined
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


@inlined
def step_with_bias(layout: Any, layer: int, step: Any, P: Any, delta: Any, count: int) -> None:
    """B4: b of a layer takes a step with the sum of `count` rows of delta."""
    one = splat(P, 1.0)
    for j in range(0, layout.columns[layer] * lanes(P), lanes(P)):
        g = load(delta.data, delta.start + j)
        for s in range(1, count):
            g = g + load(delta.data, delta.start + s * delta.row + j)
        take(step, P, layout.biases[layer] + j, g, one)


@inlined
def step_back(layout: Any, step: Any, P: Any, work: Any, sample: int) -> None:
    """B2 to B4 for one sample whose output delta is there, its own batch.

    Deltas go down, and every layer behind the first takes its step, in one pass over its weights.
    """
    A, D = work.A, work.D
    for layer in range(layout.units.size - 1, 0, -1):
        delta = layer_rows(layout, layer, D, sample)
        below = layer_rows(layout, layer - 1, D, sample)
        inputs = layer_rows(layout, layer - 1, A, sample)
        shape = (layout.columns[layer - 1], layout.units[layer])
        W = _right_factor(layout, layer, P)
        step_back_through(step, W, left_rows(layout, layer, D, sample), inputs, below, shape)
        times_derivative(layout.activation, A, D, below.start, below.start + below.row)
        if layout.transposed.size:  # what was walked through was the copy
            left = transposed(left_rows(layout, layer - 1, A, sample))
            shape = (layout.columns[layer], layout.inputs[layer])
            step_with_outer(step, weight_rows(layout, layer, P), left, delta, shape)
        step_with_bias(layout, layer, step, P, delta, 1)


@inlined
def step_with_layer(
    layout: Any, layer: int, step: Any, P: Any, inputs: Any, work: Any, span: Any
) -> None:
    """B3, B4: W and b of a layer take a step with the gradient of a batch in work.D."""
    first, count = span
    delta = layer_rows(layout, layer, work.D, first)
    shape = (layout.inputs[layer], layout.columns[layer], count)
    W = weight_rows(layout, layer, P)
    step_with_product(step, W, transposed(inputs), delta, shape, work.tile)
    step_with_bias(layout, layer, step, P, delta, count)


@inlined
def step_behind_first(layout: Any, step: Any, P: Any, work: Any, span: Any) -> None:
    """`step_with_layer` for all layers but the first, and for their transposed copies."""
    first, count = span
    for layer in range(1, layout.units.size):
        inputs = left_rows(layout, layer - 1, work.A, first)
        step_with_layer(layout, layer, step, P, inputs, work, span)
        if layout.transposed.size:
            delta = transposed(left_rows(layout, layer, work.D, first))
            below = layer_rows(layout, layer - 1, work.A, first)
            shape = (layout.units[layer], layout.columns[layer - 1], count)
            W = _right_factor(layout, layer, P)
            step_with_product(step, W, delta, below, shape, work.tile)
