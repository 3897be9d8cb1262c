"""From checked arguments to the kernels' arrays: which engine, its layout, its scratch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.arrays import Data, Work
from kernels.layout import (
    CHUNK,
    Packing,
    SingleLayout,
    aligned_copy,
    aligned_zeros,
    block_packing,
    single_packing,
)
from kernels.network import FloatArray, Network
from kernels.steps import TILE_VECTORS


def choose_packing(network: Network, dtype: np.dtype[Any], *, many: bool) -> Packing:
    """The engine for a call: a block where there is an axis of runs, else one run.

    An axis of length 1 is a block too, so that the bits of a run never depend on its company.
    """
    return (block_packing if many else single_packing)(network, dtype)


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written: Numba compiles a kernel once more for a mix of both kinds."""
    view = values.view()
    view.flags.writeable = False
    return view


def make_data(packing: Packing, X: FloatArray, targets: FloatArray) -> Data:
    """Samples X (n, n_in) and targets (n, n_outputs) as the kernels read them."""
    if isinstance(packing.layout, SingleLayout):
        filled = packing.layout.columns[-1] * packing.lanes
        targets = np.pad(targets, ((0, 0), (0, filled - targets.shape[1])))
    samples, answers = read_only(X.reshape(-1)), read_only(aligned_copy(targets).reshape(-1))
    return Data(samples, answers, len(X), X.shape[1], targets.shape[1])


def make_work(
    packing: Packing, data: Data, *, gradient: bool = False, weights: FloatArray | None = None
) -> Work:
    """Scratch of one thread; the gradient has room only where it is accumulated.

    `weights` are those of `updates.look_ahead_weights`, where the rule needs them.
    """
    dtype = data.X.dtype
    x_row = -(-data.n_in // packing.lanes) * packing.lanes
    return Work(
        X=aligned_zeros(CHUNK * x_row, dtype),
        x_row=x_row,
        Y=aligned_zeros(CHUNK * data.y_row, dtype),
        y_row=data.y_row,
        A=aligned_zeros(packing.activations, dtype),
        D=aligned_zeros(packing.activations, dtype),
        gram=aligned_zeros(CHUNK * CHUNK, dtype),
        G=aligned_zeros(packing.size if gradient else 0, dtype),
        tile=aligned_zeros(TILE_VECTORS * packing.lanes, dtype),
        weights=np.zeros(0, dtype) if weights is None else weights.astype(dtype).reshape(-1),
        scores=aligned_zeros(2 * packing.lanes, dtype),
    )


def finite_lanes(packing: Packing, packed: FloatArray, poison: FloatArray) -> NDArray[np.bool_]:
    """Whether all parameters and all logits so far of each lane are finite: (n_groups, lanes)."""
    if isinstance(packing.layout, SingleLayout):
        finite = np.isfinite(np.hstack([packed, poison])).all(axis=1, keepdims=True)
        return np.repeat(finite, packing.lanes, axis=1)
    vectors = packed.reshape(len(packed), -1, packing.lanes)
    return np.asarray(np.isfinite(vectors).all(axis=1) & np.isfinite(poison))


def all_lost(packing: Packing, packed: FloatArray) -> bool:
    """Whether every lane has a NaN among its parameters."""
    if isinstance(packing.layout, SingleLayout):
        return bool(np.isnan(packed).any(axis=1).all())
    return bool(np.isnan(packed.reshape(len(packed), -1, packing.lanes)).any(axis=1).all())


def scores_of(
    network: Network, totals: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(loss, accuracy or rmse) from sums over n samples, totals (..., 2, lanes).

    The root mean squared error is over samples and outputs: sqrt(2 loss / outputs).
    """
    loss = totals[..., 0, :] / n
    loss[np.isnan(loss)] = np.nan  # one NaN for all: its bits depend on how it came about
    if network.is_classifier:
        return loss, totals[..., 1, :] / n
    return loss, np.sqrt(2.0 * loss / network.n_outputs)
