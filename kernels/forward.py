"""The forward pass of a chunk of samples: pre-activations and activations, in both engines."""

from __future__ import annotations

from typing import Any

from kernels.activations import activate
from kernels.jit import inlined, inner, overload
from kernels.layout import BlockLayout
from kernels.product import Scalars, Vectors, add_product
from kernels.vector import lanes, load, store


def hidden_rows(layout: Any, M: Any, start: int, stride: int) -> Any:
    """Rows of activations or deltas as a left factor: vectors in a block, scalars in one run."""


@overload(hidden_rows)
def _hidden_rows(layout: Any, M: Any, start: int, stride: int) -> Any:
    if layout.instance_class is BlockLayout:
        return lambda layout, M, start, stride: Vectors(M, start, stride, lanes(M))
    return lambda layout, M, start, stride: Scalars(M, start, stride, 1)


@inner
def layer_rows(layout: Any, layer: int, M: Any, first: int) -> Any:
    """Rows of a layer's activations or deltas from sample `first` on, as vectors."""
    stride = layout.columns[layer] * lanes(M)
    return Vectors(M, layout.rows[layer] + first * stride, stride, lanes(M))


@inner
def left_rows(layout: Any, layer: int, M: Any, first: int) -> Any:
    """`layer_rows` as the left factor of a product."""
    stride = layout.columns[layer] * lanes(M)
    return hidden_rows(layout, M, layout.rows[layer] + first * stride, stride)


@inner
def weight_rows(layout: Any, layer: int, P: Any) -> Any:
    """W of a layer as (n_in, columns) vectors."""
    return Vectors(P, layout.weights[layer], layout.weight_row[layer], layout.weight_column[layer])


@inlined
def start_from_bias(layout: Any, layer: int, P: Any, A: Any, span: Any) -> None:
    """The first term of z = b + W a, for the samples first .. first + count of a chunk."""
    first, count = span
    out = layer_rows(layout, layer, A, first)
    for j in range(0, layout.columns[layer] * lanes(P), lanes(P)):
        bias = load(P, layout.biases[layer] + j)
        for s in range(count):
            store(A, out.start + s * out.row + j, bias)


@inlined
def forward_layer(layout: Any, layer: int, P: Any, A: Any, inputs: Any, span: Any) -> None:
    """F1: z = W a + b for the samples first .. first + count of a chunk, where inputs hold a."""
    first, count = span
    out = layer_rows(layout, layer, A, first)
    start_from_bias(layout, layer, P, A, span)
    add_product(
        out,
        inputs,
        weight_rows(layout, layer, P),
        count,
        layout.columns[layer],
        layout.inputs[layer],
    )


@inlined
def forward_hidden(layout: Any, P: Any, A: Any, span: Any) -> None:
    """F2 and F1 in turn, from the first layer's pre-activations to the logits."""
    first, count = span
    for layer in range(1, layout.units.size):
        below = layer_rows(layout, layer - 1, A, first)
        activate(layout.activation, A, below.start, below.start + count * below.row)
        forward_layer(layout, layer, P, A, left_rows(layout, layer - 1, A, first), span)
