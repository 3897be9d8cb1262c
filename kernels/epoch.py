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

from kernels.activations import activate
from kernels.backward import (
    add_gradient_behind_first,
    add_layer_gradient,
    deltas,
    output_deltas,
    step_back,
)
from kernels.forward import forward_hidden, forward_layer, layer_rows, left_rows
from kernels.jit import called, inlined, inner, jit, overload
from kernels.layout import CHUNK, BlockLayout
from kernels.losses import block_correct, block_loss, single_correct, single_loss
from kernels.memory import as_memory, part
from kernels.product import Scalars, add_product
from kernels.updates import SGD, Rule, update
from kernels.vector import lanes, load, splat, store


class Schedule(NamedTuple):
    """How the examples of an epoch become batches and chunks."""

    batch_size: int
    span: int  # examples of a chunk: whole batches, or a part of one batch
    direct: bool  # whether deltas, scaled by -eta/B, go straight into the parameters


def schedule(
    rule: Rule,
    n_inputs: int,
    batch_size: int,
    *,
    unrolled: bool = False,
    look_ahead: bool = True,
) -> Schedule:
    """The static rule that chooses the way; it never depends on a measured time.

    SGD is linear in each sample's gradient: while a batch fits in a chunk, its deltas are added to
    the parameters at once. Look-ahead, several batches in a chunk, pays where its K/2 products a
    sample are fewer than the n_in that it saves, unless it is unwanted. All else accumulates the
    gradient of a batch. A small network (`unrolled.small_network`) goes from batch to batch.
    """
    if unrolled:
        return Schedule(batch_size, batch_size, direct=True)
    if not isinstance(rule, SGD) or batch_size > CHUNK:
        return Schedule(batch_size, CHUNK, direct=False)
    batches = CHUNK // batch_size if look_ahead and n_inputs >= CHUNK else 1
    return Schedule(batch_size, batches * batch_size, direct=True)


class Data(NamedTuple):
    """Samples as the kernels read them."""

    X: Any  # (n * n_in,)
    Y: Any  # (n * y_row,)
    n: int
    n_in: int
    y_row: int  # outputs, for one run padded to whole vectors


class Runs(NamedTuple):
    """State of groups of runs, a row a group, overwritten by training."""

    P: Any  # (n_groups, size) parameters
    slots: Any  # (n_groups, n_slots, size) memory of the rule
    rates: Any  # (n_groups, lanes) learning rates
    poison: Any  # (n_groups, lanes) 0, or NaN once a logit was not finite


class Order(NamedTuple):
    """Which samples the epochs visit."""

    indices: Any  # (epochs * m,) int64
    m: int


class Sums(NamedTuple):
    """Parameters to evaluate, and where their scores are added up."""

    P: Any  # (n_groups, size)
    totals: Any  # (n_groups, 2, lanes) float64: loss, and number of correct samples


class Records(NamedTuple):
    """Parameters of one run, and where its values at every sample go, (n, row) each."""

    P: Any
    z: Any
    a: Any
    delta: Any


@inner
def _gather(data: Any, order: Any, work: Any) -> None:
    """Copy the samples of a chunk into work.X and work.Y."""
    n_in, y_row = data.n_in, data.y_row
    for s in range(order.size):
        source, target = order[s] * n_in, s * n_in
        for i in range(n_in):
            work.X[target + i] = data.X[source + i]
        source, target = order[s] * y_row, s * y_row
        for k in range(y_row):
            work.Y[target + k] = data.Y[source + k]


@inner
def _fill_gram(work: Any, n_in: int, count: int, batch_size: int) -> None:
    """gram[t, s] = <x_t, x_s> + 1 for s in batches before t's; the 1 stands for the bias."""
    X = work.X
    for t in range(batch_size, count):
        for s in range(t // batch_size * batch_size):
            product = X[t * n_in] * X[s * n_in]
            for i in range(1, n_in):
                product += X[t * n_in + i] * X[s * n_in + i]
            work.gram[t * CHUNK + s] = product + 1


@called
def _train_chunk(layout: Any, P: Any, T: Any, work: Any, batch: Any, poison: Any) -> None:
    """Forward, deltas and gradients of a gathered chunk; T is P itself, or the gradient.

    batch = (count, batch_size, scale, last_scale, direct): `count` samples in batches of
    `batch_size`, whose deltas are multiplied by the vector `scale` (`last_scale` for a shorter last
    batch); direct where T is P.
    """
    count, batch_size, scale, last_scale, direct = batch
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
        if size == 1 and direct:
            output_deltas(layout, work, (first, 1), factor, poison)
            step_back(layout, P, work, first)
        else:
            deltas(layout, P, work, (first, size), factor, poison)
            add_gradient_behind_first(layout, T, work, (first, size))
    add_layer_gradient(layout, 0, T, inputs, work.D, (0, count))


@jit
def train_runs(
    layout: Any, rule: Any, data: Data, order: Any, stretch: Any, runs: Runs, work: Any
) -> None:
    """Train all groups on the examples start .. stop of the epochs in `order`, in place.

    order = Order(indices, m); stretch = (start, stop, steps before, schedule). start must begin a
    chunk and stop end a batch.
    """
    n_groups = runs.P.shape[0]
    _train_groups(
        as_memory(layout),
        rule,
        as_memory(data),
        as_memory(order),
        stretch,
        (n_groups, as_memory(runs)),
        as_memory(work),
    )


@inlined
def _train_groups(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, groups: Any, work: Any
) -> None:
    n_groups, runs = groups
    size, n_lanes = runs.P.size // n_groups, runs.rates.size // n_groups
    n_slots = runs.slots.size // n_groups
    for g in range(n_groups):
        group = Runs(
            part(runs.P, g * size, size),
            part(runs.slots, g * n_slots, n_slots),
            part(runs.rates, g * n_lanes, n_lanes),
            part(runs.poison, g * n_lanes, n_lanes),
        )
        if stretch[3].direct:
            _train_direct(layout, data, order, stretch, group, work)
        else:
            _train_accumulating(layout, rule, data, order, stretch, group, work)


@inlined
def _train_direct(layout: Any, data: Any, order: Any, stretch: Any, group: Any, work: Any) -> None:
    """SGD while a batch fits in a chunk: scaled deltas are added to the parameters at once."""
    start, stop, _, plan = stretch
    size, m = plan.batch_size, order.m
    eta = load(group.rates, 0)
    scale = eta * splat(group.P, -1.0 / size)
    t = start
    while t < stop:
        count = min(plan.span, m - t % m, stop - t)
        _gather(data, part(order.indices, t, count), work)
        if count > size:
            _fill_gram(work, data.n_in, count, size)
        last = eta * splat(group.P, -1.0 / max(1, count % size))
        _train_chunk(
            layout, group.P, group.P, work, (count, size, scale, last, plan.direct), group.poison
        )
        t += count


@inlined
def _train_accumulating(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, group: Any, work: Any
) -> None:
    """Any rule and batch size: the gradient of a batch is summed over its chunks, then applied."""
    start, stop, steps_before, plan = stretch
    size, m = plan.batch_size, order.m
    P, zero = group.P, splat(group.P, 0.0)
    step = steps_before + start // m * (-(-m // size)) + -(-(start % m) // size)
    t = start
    while t < stop:
        batch_stop = min(t % m + size, m)
        scale = splat(P, 1.0 / (batch_stop - t % m))
        batch_stop += t - t % m
        for p in range(0, P.size, lanes(P)):
            store(work.G, p, zero)
        while t < batch_stop:
            count = min(plan.span, batch_stop - t)
            _gather(data, part(order.indices, t, count), work)
            _train_chunk(
                layout, P, work.G, work, (count, count, scale, scale, plan.direct), group.poison
            )
            t += count
        step += 1
        update(rule, P, work.G, group.slots, group.rates, step)


def add_scores(layout: Any, work: Any, at: int, y: Any, totals: Any) -> None:
    """Add loss and correctness of the sample with logits at work.A[at] to totals (2 * lanes,)."""


@overload(add_scores)
def _add_scores(layout: Any, work: Any, at: int, y: Any, totals: Any) -> Any:
    if layout.instance_class is BlockLayout:
        return lambda layout, work, at, y, totals: _add_block_scores(layout, work, at, y, totals)
    return lambda layout, work, at, y, totals: _add_single_scores(layout, work, at, y, totals)


@inner
def _add_block_scores(layout: Any, work: Any, at: int, y: Any, totals: Any) -> None:
    A, scores, n_outputs = work.A, work.scores, layout.units[layout.units.size - 1]
    store(scores, 0, block_loss(layout.pair, A, at, n_outputs, y))
    store(scores, lanes(A), block_correct(layout.pair, A, at, n_outputs, y))
    for i in range(2 * lanes(A)):
        totals[i] += scores[i]


@inner
def _add_single_scores(layout: Any, work: Any, at: int, y: Any, totals: Any) -> None:
    A, top = work.A, layout.units.size - 1
    store(work.scores, 0, single_loss(layout.pair, A, at, layout.columns[top], y))
    totals[0] += work.scores[0]
    totals[lanes(A)] += single_correct(layout.pair, A, at, layout.units[top], y)


@called
def _forward_chunk(layout: Any, data: Any, P: Any, A: Any, start: int) -> int:
    """Forward pass of the chunk of samples that begins at `start`: how many they are."""
    count: int = min(CHUNK, data.n - start)
    inputs = Scalars(data.X, start * data.n_in, data.n_in, 1)
    forward_layer(layout, 0, P, A, inputs, (0, count))
    forward_hidden(layout, P, A, (0, count))
    return count


@inner
def _add_chunk_scores(
    layout: Any, data: Any, work: Any, start: int, count: int, totals: Any
) -> None:
    """Add the scores of a chunk whose logits are in work.A."""
    logits = layer_rows(layout, layout.units.size - 1, work.A, 0)
    for s in range(count):
        y = part(data.Y, (start + s) * data.y_row, data.y_row)
        add_scores(layout, work, logits.start + s * logits.row, y, totals)


@jit
def evaluate_runs(layout: Any, data: Data, sums: Sums, work: Any) -> None:
    """Add loss and correctness of all samples, for each group, to sums.totals."""
    n_groups = sums.P.shape[0]
    _evaluate_runs(as_memory(layout), as_memory(data), n_groups, as_memory(sums), as_memory(work))


@inlined
def _evaluate_runs(layout: Any, data: Any, n_groups: int, sums: Any, work: Any) -> None:
    size = sums.P.size // n_groups
    for g in range(n_groups):
        P = part(sums.P, g * size, size)
        totals = part(sums.totals, g * 2 * lanes(P), 2 * lanes(P))
        for start in range(0, data.n, CHUNK):
            count = _forward_chunk(layout, data, P, work.A, start)
            _add_chunk_scores(layout, data, work, start, count, totals)


@jit
def add_gradient(layout: Any, data: Data, sums: Sums, work: Any) -> None:
    """Add scores to sums.totals, and the averaged gradient of one run at sums.P to work.G."""
    _add_gradient(as_memory(layout), as_memory(data), as_memory(sums), as_memory(work))


@inlined
def _add_gradient(layout: Any, data: Any, sums: Any, work: Any) -> None:
    scale = splat(sums.P, 1.0 / data.n)
    for start in range(0, data.n, CHUNK):
        count = _forward_chunk(layout, data, sums.P, work.A, start)
        _add_chunk_scores(layout, data, work, start, count, sums.totals)
        _chunk_deltas(layout, data, sums.P, work, (start, count), scale)
        add_gradient_behind_first(layout, work.G, work, (0, count))
        inputs = Scalars(data.X, start * data.n_in, data.n_in, 1)
        add_layer_gradient(layout, 0, work.G, inputs, work.D, (0, count))


@inner
def _chunk_deltas(layout: Any, data: Any, P: Any, work: Any, chunk: Any, scale: Any) -> None:
    """Deltas of a chunk (start, count) of consecutive samples whose activations are in work.A."""
    start, count = chunk
    for i in range(count * data.y_row):
        work.Y[i] = data.Y[start * data.y_row + i]
    deltas(layout, P, work, (0, count), scale, work.scores)


@jit
def record(layout: Any, data: Data, records: Records, work: Any) -> None:
    """Write pre-activations, activations and deltas of every sample at records.P (one run)."""
    _record(as_memory(layout), as_memory(data), as_memory(records), as_memory(work))


@inlined
def _record(layout: Any, data: Any, records: Any, work: Any) -> None:
    P, z, a, delta = records
    n_layers = layout.units.size
    for start in range(0, data.n, CHUNK):
        count = min(CHUNK, data.n - start)
        below = Scalars(data.X, start * data.n_in, data.n_in, 1)
        forward_layer(layout, 0, P, work.A, below, (0, count))
        for layer in range(n_layers):
            _copy_rows(layout, layer, work.A, (start, count), z)
            if layer + 1 < n_layers:
                rows = layer_rows(layout, layer, work.A, 0)
                activate(layout.activation, work.A, rows.start, rows.start + count * rows.row)
                above = left_rows(layout, layer, work.A, 0)
                forward_layer(layout, layer + 1, P, work.A, above, (0, count))
            _copy_rows(layout, layer, work.A, (start, count), a)
        _chunk_deltas(layout, data, P, work, (start, count), splat(P, 1.0))
        for layer in range(n_layers):
            _copy_rows(layout, layer, work.D, (start, count), delta)


@inner
def _copy_rows(layout: Any, layer: int, M: Any, chunk: Any, out: Any) -> None:
    """Copy a layer's rows of a chunk (start, count) to its columns of out (n * row,)."""
    start, count = chunk
    row = M.size // CHUNK
    rows = layer_rows(layout, layer, M, 0)
    column = rows.start // CHUNK
    for s in range(count):
        for p in range(rows.row):
            out[(start + s) * row + column + p] = M[rows.start + s * rows.row + p]
