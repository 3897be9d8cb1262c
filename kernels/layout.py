"""Where the two engines keep parameters and activations: flat arrays of vectors.

A *block* of runs has a vector, one lane a run, for every parameter and every unit. A *single* run
has its units side by side in the lanes, padded to whole vectors; its layers behind the first keep
W a second time, transposed, because the deltas walk through it the other way.

    block:  W[i, u]  at  weights + (u * n_in + i) * lanes,      lane r = run r
    single: W[i, u]  at  weights + i * columns * lanes + u      (u = vector * lanes + lane)

A block's weights of a unit lie side by side: a product walks through its columns, and columns that
were a power of two apart would evict each other from the cache. Activations and deltas of a chunk
of samples lie in the same way, a row a sample. The kernels see only strides, so that one text
serves both engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kernels.activations import HIDDEN_CODES
from kernels.instruction_set import REGISTERS
from kernels.losses import PAIR_CODES
from kernels.network import FloatArray, Network

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
CHUNK = 16  # samples that are processed together (K in the formulas of look-ahead)

Integers = NDArray[np.int64]


class BlockLayout(NamedTuple):
    """A block of runs, lanes = runs; each array has one entry a layer, offsets are in floats."""

    inputs: Integers  # n_in
    units: Integers  # n_out
    columns: Integers  # vectors in a row of n_out units
    # W as the right factor of a forward pass, (n_in, columns)
    weights: Integers
    weight_row: Integers
    weight_column: Integers
    biases: Integers
    transposed: Integers  # start of the transposed copy; no entry where there is none
    # W as the right factor of the delta, (n_out, columns of the layer before)
    delta_start: Integers
    delta_row: Integers
    delta_column: Integers
    rows: Integers  # start of the layer's activations (and deltas) of a chunk
    activation: int
    pair: int


class SingleLayout(NamedTuple):
    """One run, lanes = units; the fields are those of `BlockLayout`."""

    inputs: Integers
    units: Integers
    columns: Integers
    weights: Integers
    weight_row: Integers
    weight_column: Integers
    biases: Integers
    transposed: Integers
    delta_start: Integers
    delta_row: Integers
    delta_column: Integers
    rows: Integers
    activation: int
    pair: int


Layout = BlockLayout | SingleLayout


class Packing(NamedTuple):
    """A layout with the way parameters get into it and out of it."""

    layout: Layout
    lanes: int
    size: int  # floats of the parameters
    activations: int  # floats of a chunk's activations
    places: Integers  # (n_params,) where each parameter stands: in vectors (block), floats (single)
    mirrors: Integers  # (n_mirrored,) where its transposed copy stands (single)
    mirrored: Integers  # (n_mirrored,) the parameters that have one
    padding: Integers  # biases of the outputs that only fill up a vector (single)


def aligned_zeros(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros that begin at a multiple of the vector's size.

    NumPy aligns large arrays to 16 bytes only, and a vector across two cache lines costs two loads.
    """
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(count + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count].view(dtype).reshape(shape)


def aligned_copy(values: FloatArray) -> FloatArray:
    """An aligned copy."""
    copy: FloatArray = aligned_zeros(values.shape, values.dtype)
    copy[...] = values
    return copy


def lane_count(dtype: np.dtype[Any]) -> int:
    """Number of lanes of a vector of a dtype."""
    return REGISTERS.vector_bytes // dtype.itemsize


def _starts(sizes: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(sizes).tolist()]


def block_packing(network: Network, dtype: np.dtype[Any]) -> Packing:
    """Layout of a block of `lane_count(dtype)` runs."""
    lanes = lane_count(dtype)
    places = np.empty(network.n_params, np.int64)
    for (n_in, n_out), (w, b) in zip(network.layer_shapes, network.offsets, strict=True):
        places[w : b + n_out] = w + np.arange(n_in * n_out + n_out)
    widths = np.array(network.widths)
    weights = np.array([w for w, _ in network.offsets]) * lanes
    rows = _starts([CHUNK * width * lanes for width in network.widths[1:]])
    none = np.empty(0, np.int64)
    layout = BlockLayout(
        inputs=widths[:-1],
        units=widths[1:],
        columns=widths[1:],
        weights=weights,
        weight_row=np.full(network.n_layers, lanes),
        weight_column=widths[:-1] * lanes,
        biases=np.array([b for _, b in network.offsets]) * lanes,
        transposed=none,
        delta_start=weights,
        delta_row=widths[:-1] * lanes,
        delta_column=np.full(network.n_layers, lanes),
        rows=np.array(rows[:-1]),
        activation=HIDDEN_CODES[network.activation],
        pair=PAIR_CODES[network.output, network.loss],
    )
    return Packing(layout, lanes, network.n_params * lanes, rows[-1], places, none, none, none)


def single_packing(network: Network, dtype: np.dtype[Any]) -> Packing:
    """Layout of one run."""
    lanes = lane_count(dtype)
    columns = [-(-width // lanes) for width in network.widths[1:]]
    padded = [count * lanes for count in columns]
    sizes: list[int] = []  # W, b and (behind the first layer) the transposed W, layer by layer
    for layer, (n_in, n_out) in enumerate(network.layer_shapes):
        copy = n_out * padded[layer - 1] if layer else 0
        sizes += [n_in * padded[layer], padded[layer], copy]
    starts = _starts(sizes)
    places, mirrors, mirrored = [], [], []
    for layer, (n_in, n_out) in enumerate(network.layer_shapes):
        w, b, copy = starts[3 * layer : 3 * layer + 3]
        unit, source = np.arange(n_out)[:, None], np.arange(n_in)[None, :]
        places += [(w + source * padded[layer] + unit).ravel(), b + np.arange(n_out)]
        if layer:
            mirrors.append((copy + unit * padded[layer - 1] + source).ravel())
            mirrored.append(network.offsets[layer][0] + np.arange(n_in * n_out))
    rows = _starts([CHUNK * width for width in padded])
    transposed = np.array(starts[2::3])
    layout = SingleLayout(
        inputs=np.array(network.widths[:-1]),
        units=np.array(network.widths[1:]),
        columns=np.array(columns),
        weights=np.array(starts[0:-1:3]),
        weight_row=np.array(padded),
        weight_column=np.full(network.n_layers, lanes),
        biases=np.array(starts[1::3]),
        transposed=transposed,
        delta_start=transposed,
        delta_row=np.array([0, *padded[:-1]]),
        delta_column=np.full(network.n_layers, lanes),
        rows=np.array(rows[:-1]),
        activation=HIDDEN_CODES[network.activation],
        pair=PAIR_CODES[network.output, network.loss],
    )
    last = int(layout.biases[-1])
    filled = padded[-1] if network.is_classifier else network.n_outputs
    padding = np.arange(last + network.n_outputs, last + filled)
    none = np.empty(0, np.int64)
    return Packing(
        layout,
        lanes,
        starts[-1],
        rows[-1],
        np.concatenate(places),
        np.concatenate([none, *mirrors]),
        np.concatenate([none, *mirrored]),
        padding,
    )


def pack(packing: Packing, params: FloatArray, padding: float | None = None) -> FloatArray:
    """Parameters (n_runs, n_params) as the kernels keep them: (n_groups, size).

    The lanes behind the last run repeat it; a single run is a group of its own. The outputs that
    fill up its last vector get the lowest number there is as their bias, or `padding`: next to any
    other logit, its exponential is exactly 0.
    """
    if isinstance(packing.layout, SingleLayout):
        packed = aligned_zeros((len(params), packing.size), params.dtype)
        packed[:, packing.places] = params
        packed[:, packing.mirrors] = params[:, packing.mirrored]
        lowest = np.finfo(params.dtype).min if padding is None else padding
        packed[:, packing.padding] = lowest
        return packed
    n_groups = -(-len(params) // packing.lanes)
    runs = np.minimum(np.arange(n_groups * packing.lanes), len(params) - 1)
    shape = (n_groups, len(packing.places), packing.lanes)
    vectors = aligned_zeros(shape, params.dtype)
    vectors[:, packing.places] = params[runs].reshape(n_groups, packing.lanes, -1).swapaxes(1, 2)
    return vectors.reshape(n_groups, packing.size)


def unpack(packing: Packing, packed: FloatArray, n_runs: int) -> FloatArray:
    """Parameters (n_runs, n_params) of what the kernels keep."""
    if isinstance(packing.layout, SingleLayout):
        return packed[:, packing.places]
    vectors = packed.reshape(len(packed), -1, packing.lanes)[:, packing.places]
    return vectors.swapaxes(1, 2).reshape(len(packed) * packing.lanes, -1)[:n_runs].copy()


def pack_lanes(packing: Packing, values: FloatArray) -> FloatArray:
    """A number for each run, (n_runs,), as vectors: (n_groups, lanes)."""
    if isinstance(packing.layout, SingleLayout):
        return aligned_copy(np.repeat(values[:, None], packing.lanes, axis=1))
    n_groups = -(-len(values) // packing.lanes)
    runs = np.minimum(np.arange(n_groups * packing.lanes), len(values) - 1)
    return aligned_copy(values[runs].reshape(n_groups, packing.lanes))


def unpack_lanes(packing: Packing, values: NDArray[Any], n_runs: int) -> NDArray[Any]:
    """Inverse of `pack_lanes`: (n_runs,) of (n_groups, lanes)."""
    if isinstance(packing.layout, SingleLayout):
        return values[:, 0]
    return values.reshape(-1)[:n_runs]
