"""Evaluation, gradients and activations at given parameters, as loops over chunks of samples."""

from __future__ import annotations

from typing import Any

from kernels.activations import activate
from kernels.arrays import Data, Records, Sums
from kernels.backward import add_gradient_behind_first, add_layer_gradient, deltas
from kernels.forward import forward_hidden, forward_layer, layer_rows, left_rows
from kernels.jit import called, inlined, inner, jit, overload
from kernels.layout import CHUNK, BlockLayout
from kernels.losses import block_correct, block_loss, single_correct, single_loss
from kernels.memory import as_memory, part
from kernels.product import Scalars
from kernels.vector import lanes, splat, store


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
