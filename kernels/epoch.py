"""Training, evaluation and gradients as loops over chunks of samples.

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
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels.activations import activate
from kernels.backward import add_gradient_behind_first, add_layer_gradient, deltas
from kernels.forward import forward_hidden, forward_layer, layer_rows, left_rows
from kernels.jit import jit, overload
from kernels.layout import CHUNK, BlockLayout
from kernels.losses import block_correct, block_loss, single_correct, single_loss
from kernels.product import Scalars, add_product
from kernels.updates import SGD, Rule, update
from kernels.vector import lanes, load, splat, store


class Schedule(NamedTuple):
    """How the examples of an epoch become batches and chunks."""

    batch_size: int
    span: int  # examples of a chunk: whole batches, or a part of one batch
    direct: bool  # whether deltas, scaled by -eta/B, go straight into the parameters


def schedule(rule: Rule, n_inputs: int, batch_size: int) -> Schedule:
    """The static rule that chooses the way; it never depends on a measured time.

    SGD is linear in each sample's gradient: while a batch fits in a chunk, its deltas are added to
    the parameters at once. Look-ahead, several batches in a chunk, pays where its K/2 products a
    sample are fewer than the n_in that it saves. All else accumulates the gradient of a batch.
    """
    if not isinstance(rule, SGD) or batch_size > CHUNK:
        return Schedule(batch_size, CHUNK, direct=False)
    batches = CHUNK // batch_size if n_inputs >= CHUNK else 1
    return Schedule(batch_size, batches * batch_size, direct=True)


class Data(NamedTuple):
    """Samples as the kernels read them."""

    X: Any  # (n * n_in,) flat
    Y: Any  # (n, outputs), padded to whole vectors for one run
    n_in: int


class Runs(NamedTuple):
    """State of groups of runs, a row a group, overwritten by training."""

    P: Any  # (n_groups, size) parameters
    slots: Any  # (n_groups, n_slots, size) memory of the rule
    rates: Any  # (n_groups, lanes) learning rates
    poison: Any  # (n_groups, lanes) 0, or NaN once a logit was not finite


@jit
def _gather(data: Data, order: Any, work: Any) -> None:
    """Copy the samples of a chunk into work.X and work.Y."""
    n_in = data.n_in
    for s in range(order.size):
        source = order[s] * n_in
        for i in range(n_in):
            work.X[s * n_in + i] = data.X[source + i]
        for k in range(data.Y.shape[1]):
            work.Y[s, k] = data.Y[order[s], k]


@jit
def _fill_gram(work: Any, n_in: int, count: int, batch_size: int) -> None:
    """gram[t, s] = <x_t, x_s> + 1 for s in batches before t's; the 1 stands for the bias."""
    X = work.X
    for t in range(batch_size, count):
        for s in range(t // batch_size * batch_size):
            product = X.dtype.type(1)
            for i in range(n_in):
                product += X[t * n_in + i] * X[s * n_in + i]
            work.gram[t * CHUNK + s] = product


@jit
def _train_chunk(layout: Any, P: Any, T: Any, work: Any, batch: Any, poison: Any) -> None:
    """Forward, deltas and gradients of a gathered chunk; T is P itself, or the gradient.

    batch = (count, batch_size, scale): `count` samples in batches of `batch_size`, whose deltas
    are multiplied by the vector `scale` (by its value for a full batch and for a shorter last one).
    """
    count, batch_size, scale, last_scale = batch
    inputs = Scalars(work.X, 0, layout.inputs[0], 1)
    forward_layer(layout, 0, P, work.A, inputs, (0, count))
    for first in range(0, count, batch_size):
        size = min(batch_size, count - first)
        if first:
            z = layer_rows(layout, 0, work.A, first)
            earlier = layer_rows(layout, 0, work.D, 0)
            gram = Scalars(work.gram, first * CHUNK, CHUNK, 1)
            add_product(z, gram, earlier, size, layout.columns[0], first)
        forward_hidden(layout, P, work.A, (first, size))
        factor = scale if size == batch_size else last_scale
        deltas(layout, P, work, (first, size), factor, poison)
        add_gradient_behind_first(layout, T, work, (first, size))
    add_layer_gradient(layout, 0, T, inputs, work.D, (0, count))


@jit
def train_runs(
    layout: Any, rule: Any, data: Data, order: Any, stretch: Any, runs: Runs, work: Any
) -> None:
    """Train all groups on the examples start .. stop of the epochs in `order` (epochs, m), in place.

    stretch = (start, stop, steps before the first epoch, schedule); start must begin a chunk and
    stop end a batch.
    """
    start, stop, steps_before, plan = stretch
    size = plan.batch_size
    m = order.shape[1]
    steps_per_epoch = -(-m // size)
    for g in range(runs.P.shape[0]):
        P, rates = runs.P[g], runs.rates[g]
        t = start
        while t < stop:
            epoch, within = t // m, t % m
            if plan.direct:
                count = min(plan.span, m - within, stop - t)
                _gather(data, order[epoch, within : within + count], work)
                if count > size:
                    _fill_gram(work, data.n_in, count, size)
                eta = load(rates, 0)
                scale = eta * splat(P, -1.0 / size)
                last = eta * splat(P, -1.0 / max(1, count % size))
                _train_chunk(layout, P, P, work, (count, size, scale, last), runs.poison[g])
            else:
                batch = within // size
                batch_stop = min((batch + 1) * size, m)
                count = min(plan.span, batch_stop - within)
                _gather(data, order[epoch, within : within + count], work)
                if within == batch * size:
                    work.G[:] = 0
                scale = splat(P, 1.0 / (batch_stop - batch * size))
                _train_chunk(layout, P, work.G, work, (count, count, scale, scale), runs.poison[g])
                if within + count == batch_stop:
                    step = steps_before + epoch * steps_per_epoch + batch + 1
                    update(rule, P, work.G, runs.slots[g], rates, step)
            t += count


def add_scores(layout: Any, work: Any, at: int, y: Any, totals: Any) -> None:
    """Add loss and correctness of the sample with logits at work.A[at] to totals (2, lanes)."""


@overload(add_scores)
def _add_scores(layout: Any, work: Any, at: int, y: Any, totals: Any) -> Any:
    if layout.instance_class is BlockLayout:
        return lambda layout, work, at, y, totals: _add_block_scores(layout, work, at, y, totals)
    return lambda layout, work, at, y, totals: _add_single_scores(layout, work, at, y, totals)


@jit
def _add_block_scores(layout: Any, work: Any, at: int, y: Any, totals: Any) -> None:
    A, scores, n_outputs = work.A, work.scores, layout.units[-1]
    store(scores, 0, block_loss(layout.pair, A, at, n_outputs, y))
    store(scores, lanes(A), block_correct(layout.pair, A, at, n_outputs, y))
    for lane in range(lanes(A)):
        totals[0, lane] += scores[lane]
        totals[1, lane] += scores[lanes(A) + lane]


@jit
def _add_single_scores(layout: Any, work: Any, at: int, y: Any, totals: Any) -> None:
    store(work.scores, 0, single_loss(layout.pair, work.A, at, layout.columns[-1], y))
    totals[0, 0] += work.scores[0]
    totals[1, 0] += single_correct(layout.pair, work.A, at, layout.units[-1], y)


@jit
def evaluate_runs(layout: Any, data: Data, P: Any, work: Any, totals: Any) -> None:
    """Add loss and correctness of all samples to totals (n_groups, 2, lanes) float64."""
    n = data.Y.shape[0]
    top = layout.units.size - 1
    for g in range(P.shape[0]):
        for start in range(0, n, CHUNK):
            count = min(CHUNK, n - start)
            inputs = Scalars(data.X, start * data.n_in, data.n_in, 1)
            forward_layer(layout, 0, P[g], work.A, inputs, (0, count))
            forward_hidden(layout, P[g], work.A, (0, count))
            logits = layer_rows(layout, top, work.A, 0)
            for s in range(count):
                at = logits.start + s * logits.row
                add_scores(layout, work, at, data.Y[start + s], totals[g])


@jit
def add_gradient(layout: Any, data: Data, P: Any, work: Any, totals: Any) -> None:
    """Add loss and correctness to totals (2, lanes), the averaged gradient at P (size,) to work.G."""
    n = data.Y.shape[0]
    top = layout.units.size - 1
    scale = splat(P, 1.0 / n)
    poison = np.zeros(lanes(P), P.dtype)
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        inputs = Scalars(data.X, start * data.n_in, data.n_in, 1)
        forward_layer(layout, 0, P, work.A, inputs, (0, count))
        forward_hidden(layout, P, work.A, (0, count))
        logits = layer_rows(layout, top, work.A, 0)
        for s in range(count):
            work.Y[s, :] = data.Y[start + s]
            add_scores(layout, work, logits.start + s * logits.row, work.Y[s], totals)
        deltas(layout, P, work, (0, count), scale, poison)
        add_gradient_behind_first(layout, work.G, work, (0, count))
        add_layer_gradient(layout, 0, work.G, inputs, work.D, (0, count))


@jit
def record(layout: Any, data: Data, P: Any, work: Any, out: Any) -> None:
    """Write pre-activations, activations and deltas of every sample to out (3, n, row)."""
    n = data.Y.shape[0]
    one = splat(P, 1.0)
    poison = np.zeros(lanes(P), P.dtype)
    n_layers = layout.units.size
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        inputs = Scalars(data.X, start * data.n_in, data.n_in, 1)
        forward_layer(layout, 0, P, work.A, inputs, (0, count))
        for layer in range(n_layers):
            rows = layer_rows(layout, layer, work.A, 0)
            _copy_rows(rows, layout.rows[layer], count, out[0, start:])
            if layer + 1 < n_layers:
                activate(layout.activation, work.A, rows.start, rows.start + count * rows.row)
                below = left_rows(layout, layer, work.A, 0)
                forward_layer(layout, layer + 1, P, work.A, below, (0, count))
            _copy_rows(rows, layout.rows[layer], count, out[1, start:])
        for s in range(count):
            work.Y[s, :] = data.Y[start + s]
        deltas(layout, P, work, (0, count), one, poison)
        for layer in range(n_layers):
            rows = layer_rows(layout, layer, work.D, 0)
            _copy_rows(rows, layout.rows[layer], count, out[2, start:])


@jit
def _copy_rows(rows: Any, layer_start: int, count: int, out: Any) -> None:
    """Copy a layer's rows of a chunk to its columns of out (>= count, row)."""
    column = layer_start // CHUNK
    for s in range(count):
        for p in range(rows.row):
            out[s, column + p] = rows.data[rows.start + s * rows.row + p]
