"""Training on the samples of one chunk, which were copied to `Work`.

Look-ahead. A step of SGD seems to need the weights that the step before has just written. But the
inputs of the next samples are known. With D_s = -eta/B delta_s, a chunk that starts with W_0 has

    W_t x_t + b_t = (W_0 x_t + b_0) + sum over earlier batches' samples s of (<x_s, x_t> + 1) D_s

so the first layer of a chunk of several batches is one product with W_0, corrected before each
batch by the Gram matrix of the chunk's inputs (shared by all runs), and one rank-K update:

    samples of a chunk          0 1 | 2 3 | 4 5 | 6 7        (B = 2)
    z = W_0 x + b_0             one product for all
    correction of batch 4 5     Gram[4 5, 0..3] D[0..3]      then forward, delta, upper layers
    W_0 += x D                  one product for all

It is exact, only rounding differs; it costs K/2 products a sample in place of n_in. Upper layers
change with each batch.

A rule with a velocity V looks ahead in the same way, with a second product for V_0 x, and weights
for what is left of each batch's gradient (`updates.look_ahead_weights`).
"""

from __future__ import annotations

from typing import Any

from kernels.backward import (
    add_gradient_behind_first,
    add_layer_gradient,
    deltas,
    output_deltas,
    step_back,
    step_behind_first,
    step_with_bias,
)
from kernels.forward import (
    forward_hidden,
    forward_layer,
    layer_rows,
    start_from_bias,
    weight_rows,
)
from kernels.jit import called, inlined, inner
from kernels.layout import CHUNK
from kernels.memory import part
from kernels.product import Scalars, add_product
from kernels.steps import step_ahead_through
from kernels.updates import DirectStep
from kernels.vector import first_lane, fma, lane_sum, lanes, load, splat, store


@inner
def gather(data: Any, order: Any, work: Any, first: int) -> None:
    """Copy samples into work.X and work.Y, from place `first` of the chunk on."""
    n_in, y_row = data.n_in, data.y_row
    for s in range(order.size):
        source, target = order[s] * n_in, (first + s) * work.x_row
        for i in range(n_in):
            work.X[target + i] = data.X[source + i]
        source, target = order[s] * y_row, (first + s) * y_row
        for k in range(y_row):
            work.Y[target + k] = data.Y[source + k]


@inner
def fill_gram(work: Any, count: int, batch_size: int) -> None:
    """gram[t, s] = <x_t, x_s> + 1 for s in batches before t's; the 1 stands for the bias."""
    X, row = work.X, work.x_row
    for t in range(batch_size, count):
        for s in range(t // batch_size * batch_size):
            product = splat(X, 0.0)
            for i in range(0, row, lanes(X)):
                product = fma(load(X, t * row + i), load(X, s * row + i), product)
            work.gram[t * CHUNK + s] = first_lane(lane_sum(product)) + 1


@inner
def weigh_gram(work: Any, count: int, batch_size: int) -> None:
    """gram[t, s] *= what is left in W of the gradient of s's batch, when t's begins."""
    _, kept, _ = _weights(work)
    for t in range(batch_size, count):
        for s in range(t // batch_size * batch_size):
            work.gram[t * CHUNK + s] *= kept[t // batch_size - 1 - s // batch_size]


@inlined
def train_chunk(layout: Any, P: Any, work: Any, batch: Any, poison: Any) -> None:
    """SGD on a gathered chunk: deltas scaled by -eta/B are added to the parameters.

    batch = (count, batch_size, scale, last_scale): `count` samples in batches of `batch_size`,
    whose deltas are multiplied by the vector `scale`, or `last_scale` in a shorter last batch.
    """
    count, batch_size, scale, last_scale = batch
    inputs = Scalars(work.X, 0, work.x_row, 1)
    forward_layer(layout, 0, P, work.A, inputs, (0, count))
    for first in range(0, count, batch_size):
        size = min(batch_size, count - first)
        if first:
            _correct(layout, work, work.A, first, size)
        forward_hidden(layout, P, work.A, (first, size))
        factor = scale if size == batch_size else last_scale
        if size == 1:
            output_deltas(layout, work, (first, 1), factor, poison)
            step_back(layout, DirectStep(), P, work, first)
        else:
            deltas(layout, P, work, (first, size), factor, poison)
            add_gradient_behind_first(layout, P, work, (first, size))
    add_layer_gradient(layout, 0, P, inputs, work.D, (0, count))


@inner
def _correct(layout: Any, work: Any, Z: Any, first: int, size: int) -> None:
    """Add to rows of the first layer in Z what the samples before them in the chunk change."""
    z, earlier = layer_rows(layout, 0, Z, first), layer_rows(layout, 0, work.D, 0)
    gram = Scalars(work.gram, first * CHUNK, CHUNK, 1)
    add_product(z, gram, earlier, size, layout.columns[0], first)


@inlined
def add_chunk_gradient(layout: Any, P: Any, work: Any, count: int, scale: Any, poison: Any) -> None:
    """Add the gradient of a gathered part of a batch, times `scale`, to work.G."""
    inputs = Scalars(work.X, 0, work.x_row, 1)
    forward_layer(layout, 0, P, work.A, inputs, (0, count))
    forward_hidden(layout, P, work.A, (0, count))
    deltas(layout, P, work, (0, count), scale, poison)
    add_gradient_behind_first(layout, work.G, work, (0, count))
    add_layer_gradient(layout, 0, work.G, inputs, work.D, (0, count))


@inlined
def train_chunk_ahead(
    layout: Any, step: Any, P: Any, V: Any, work: Any, batch: Any, poison: Any
) -> None:
    """A rule with a velocity V on a gathered chunk of several batches: batch = (count, batch_size).

    Until its own batch comes, a sample's row of deltas in the first layer holds V x.
    """
    count, batch_size = batch
    inputs = Scalars(work.X, 0, work.x_row, 1)
    _, _, carried = _weights(work)
    forward_layer(layout, 0, P, work.A, inputs, (0, count))
    forward_layer(layout, 0, V, work.D, inputs, (0, count))
    number = 0
    for first in range(0, count, batch_size):
        size = min(batch_size, count - first)
        if first:
            # z - eta (carried V x + sum of kept <x_s, x> delta_s), with `kept` in the Gram matrix
            velocity = layer_rows(layout, 0, work.D, first)
            z, stop = layer_rows(layout, 0, work.A, first), velocity.start + size * velocity.row
            _scale(work.D, velocity.start, stop, splat(P, carried[number]))
            _correct(layout, work, work.D, first, size)
            for p in range(0, size * z.row, lanes(P)):
                change = step.eta * load(work.D, velocity.start + p)
                store(work.A, z.start + p, load(work.A, z.start + p) - change)
        forward_hidden(layout, P, work.A, (first, size))
        if size == 1:
            output_deltas(layout, work, (first, 1), splat(P, 1.0), poison)
            step_back(layout, step, P, work, first)
        else:
            deltas(layout, P, work, (first, size), splat(P, 1.0 / size), poison)
            step_behind_first(layout, step, P, work, (first, size))
        number += 1
    _step_first_layer_ahead(layout, step, P, V, work, (count, batch_size, number))


@inner
def _weights(work: Any) -> Any:
    """Rows power, kept and carried of `updates.look_ahead_weights`."""
    size = CHUNK + 1
    W = work.weights
    return part(W, 0, size), part(W, size, size), part(W, 2 * size, size)


@inner
def _scale(M: Any, start: int, stop: int, factor: Any) -> None:
    for p in range(start, stop, lanes(M)):
        store(M, p, factor * load(M, p))


@inner
def _step_first_layer_ahead(layout: Any, step: Any, P: Any, V: Any, work: Any, chunk: Any) -> None:
    """W and V of the first layer after all batches of a chunk = (count, batch_size, batches).

    Deltas, weighted by what a batch has left of itself in W, take the place of activations.
    """
    count, batch_size, number = chunk
    power, kept, carried = _weights(work)
    rows, delta = layer_rows(layout, 0, work.A, 0), layer_rows(layout, 0, work.D, 0)
    minus_eta = splat(P, 0.0) - step.eta
    for s in range(count):
        age = number - 1 - s // batch_size
        in_W, in_V = minus_eta * splat(P, kept[age]), splat(P, power[age])
        for p in range(s * delta.row, (s + 1) * delta.row, lanes(P)):
            value = load(work.D, delta.start + p)
            store(work.A, rows.start + p, in_W * value)
            store(work.D, delta.start + p, in_V * value)
    factor = minus_eta * splat(P, carried[number])
    stop = layout.biases[0] + layout.columns[0] * lanes(P)
    for p in range(layout.weights[0], stop, lanes(P)):
        v = load(V, p)
        store(P, p, fma(factor, v, load(P, p)))
        store(V, p, splat(P, power[number]) * v)
    inputs = Scalars(work.X, 0, work.x_row, 1)
    add_layer_gradient(layout, 0, P, inputs, work.A, (0, count))
    add_layer_gradient(layout, 0, V, inputs, work.D, (0, count))


@inlined
def train_sample(layout: Any, step: Any, P: Any, work: Any, slot: int, poison: Any) -> None:
    """Train by any rule on the sample in place `slot` of the chunk, 0 or 1.

    Its pre-activations are there; those of the sample in the other place are left behind.
    """
    forward_hidden(layout, P, work.A, (slot, 1))
    output_deltas(layout, work, (slot, 1), splat(P, 1.0), poison)
    step_back(layout, step, P, work, slot)
    step_with_bias(layout, 0, step, P, layer_rows(layout, 0, work.D, slot), 1)
    go_ahead(layout, step, P, work, slot)


@called
def go_ahead(layout: Any, step: Any, P: Any, work: Any, slot: int) -> None:
    """W of the first layer takes its step for one sample; pre-activations of the other follow."""
    n_in, other = layout.inputs[0], 1 - slot
    start_from_bias(layout, 0, P, work.A, (other, 1))
    X = Scalars(work.X, slot * work.x_row, (other - slot) * work.x_row, 1)
    delta, z = layer_rows(layout, 0, work.D, slot), layer_rows(layout, 0, work.A, other)
    W = weight_rows(layout, 0, P)
    step_ahead_through(step, W, X, delta, z, (layout.columns[0], n_in))
