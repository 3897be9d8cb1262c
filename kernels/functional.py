"""A network's outputs, losses and gradients at given parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax

from kernels import checks
from kernels.arrays import Data, Records, Sums
from kernels.engine import choose_packing, make_data, make_work, scores_of
from kernels.evaluation import add_gradient, evaluate_runs, record
from kernels.layout import CHUNK, Packing, pack, unpack, unpack_lanes
from kernels.network import FloatArray, Network

ROWS = 4096  # samples whose hidden units are looked at together: bounds the memory

# F2 of the output layer, on logits (n, n_outputs)
OUTPUTS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "sigmoid": expit,
    "softmax": lambda z: softmax(z, axis=-1),
    "linear": lambda z: z.copy(),
}


def _one_run(network: Network, params: ArrayLike) -> FloatArray:
    """Parameters of one run, checked."""
    values = checks.check_params(network, params)
    if values.ndim != 1:
        raise ValueError(f"params must have shape ({network.n_params},), got {values.shape}")
    return values


def _prepare(
    network: Network, params: FloatArray, X: ArrayLike, y: ArrayLike | None
) -> tuple[Packing, Data]:
    """The layout and the checked samples of a call; without y, targets are zeros."""
    samples = checks.check_inputs(network, X, params.dtype)
    if y is None:
        targets = np.zeros((len(samples), network.n_outputs), params.dtype)
    else:
        targets = checks.check_targets(network, y, len(samples), params.dtype)
    packing = choose_packing(network, params.dtype, many=params.ndim == 2)
    return packing, make_data(packing, samples, targets)


def _record(
    network: Network, params: FloatArray, X: ArrayLike, y: ArrayLike | None
) -> list[list[FloatArray]]:
    """[z, a, delta], each a list of (n, width) arrays, a layer an entry; a[-1] still holds z."""
    packing, data = _prepare(network, params, X, y)
    out = np.empty((3, data.n, packing.activations // CHUNK), params.dtype)
    P = pack(packing, params[None])[0]
    records = Records(P, out[0], out[1], out[2])
    record(packing.layout, data, records, make_work(packing, data, gradient=False))
    columns = packing.layout.rows // CHUNK
    return [
        [
            np.ascontiguousarray(kind[:, start : start + width])
            for start, width in zip(columns, network.widths[1:], strict=True)
        ]
        for kind in out
    ]


def forward(
    network: Network, params: ArrayLike, X: ArrayLike
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Pre-activations z and activations a of every layer, (n, width) each; a[-1] is the output.

    Parameters
    ----------
    network, params, X
        The network, its parameters (n_params,), samples (n, n_inputs).

    Raises
    ------
    ValueError, TypeError
        For shapes that do not match, no rows, NaN or infinite inputs.
    """
    z, a, _ = _record(network, _one_run(network, params), X, None)
    with np.errstate(all="ignore"):  # a diverged network's logits may be infinite
        a[-1] = np.asarray(OUTPUTS[network.output](z[-1]))
    return z, a


def evaluate(
    network: Network, params: ArrayLike, X: ArrayLike, y: ArrayLike
) -> dict[str, float | NDArray[np.float64]]:
    """Loss (mean over samples) and accuracy, or rmse for a linear output.

    Parameters
    ----------
    network, params, X, y
        As in `train`; with params (n_runs, n_params) each score is an array (n_runs,).

    Returns
    -------
    dict
        "loss", and "accuracy" (share of samples whose outputs name the class; with several
        sigmoid outputs all must be right) or "rmse" (over samples and outputs).
    """
    values = checks.check_params(network, params)
    packing, data = _prepare(network, values, X, y)
    packed = pack(packing, np.atleast_2d(values))
    totals = np.zeros((len(packed), 2, packing.lanes))
    work = make_work(packing, data, gradient=False)
    evaluate_runs(packing.layout, data, Sums(packed, totals), work)
    scores = scores_of(network, totals, data.n)
    names = ("loss", "accuracy" if network.is_classifier else "rmse")
    if values.ndim == 1:
        return {name: float(s[0, 0]) for name, s in zip(names, scores, strict=True)}
    return {
        name: unpack_lanes(packing, s, len(values)).copy()
        for name, s in zip(names, scores, strict=True)
    }


def loss(network: Network, params: ArrayLike, X: ArrayLike, y: ArrayLike) -> float:
    """Mean loss over the samples (the loss of a sample sums over outputs)."""
    return float(evaluate(network, _one_run(network, params), X, y)["loss"])


def loss_and_gradient(
    network: Network, params: ArrayLike, X: ArrayLike, y: ArrayLike
) -> tuple[float, FloatArray]:
    """Mean loss over the samples, and its gradient (n_params,): the averaged gradient (B5)."""
    values = _one_run(network, params)
    packing, data = _prepare(network, values, X, y)
    work = make_work(packing, data, gradient=True)
    totals = np.zeros((1, 2, packing.lanes))
    add_gradient(packing.layout, data, Sums(pack(packing, values[None]), totals), work)
    return float(totals[0, 0, 0] / data.n), unpack(packing, work.G[None], 1)[0]


def per_sample_gradients(
    network: Network, params: ArrayLike, X: ArrayLike, y: ArrayLike
) -> FloatArray:
    """Gradient of each sample's own loss, (n, n_params): its mean is the averaged gradient.

    B3, B4: dL/dW_ij = delta_i a_j and dL/db_i = delta_i, sample by sample.
    """
    values = _one_run(network, params)
    _, a, delta = _record(network, values, X, y)
    inputs = [checks.check_inputs(network, X, values.dtype), *a[:-1]]
    gradients = np.empty((len(inputs[0]), network.n_params), values.dtype)
    for (weights, biases), d, below in zip(network.unpack(gradients), delta, inputs, strict=True):
        with np.errstate(all="ignore"):
            np.multiply(d[:, :, None], below[:, None, :], out=weights)
        biases[...] = d
    return gradients


def predict(network: Network, params: ArrayLike, X: ArrayLike) -> NDArray[Any]:
    """Classes (n,), or values of a linear output.

    A softmax output gives the first largest class; one sigmoid output gives 1 where its logit is
    above 0, several give 0 or 1 each, (n, n_outputs); a linear output gives values (n,) or
    (n, n_outputs).
    """
    z, _ = forward(network, params, X)
    logits = z[-1]
    if network.output == "softmax":
        return np.asarray(logits.argmax(axis=1))
    values = (logits > 0).astype(np.int64) if network.output == "sigmoid" else logits
    return values[:, 0] if network.n_outputs == 1 else values


def active_units(network: Network, params: ArrayLike, X: ArrayLike) -> NDArray[np.int64]:
    """Hidden units that are active (z > 0) on at least one sample: (n_runs, n_hidden_layers).

    tanh and leaky ReLU pass a gradient everywhere: all their units count as active. Without the
    leading axis for params (n_params,).
    """
    values = checks.check_params(network, params)
    samples = checks.check_inputs(network, X, values.dtype)
    active = [np.zeros((*values.shape[:-1], width), np.bool_) for width in network.widths[1:-1]]
    with np.errstate(all="ignore"):  # a diverged run's NaN and infinity are no units' activity
        for start in range(0, len(samples), ROWS):
            a = samples[start : start + ROWS].T  # samples last: the first layer is one product
            for seen, (weights, biases) in zip(active, network.unpack(values)[:-1], strict=True):
                z = weights @ a if a.ndim > 2 else np.tensordot(weights, a, 1)
                z += biases[..., None]
                a = np.maximum(z, 0)
                seen |= (z > 0).any(axis=-1)
    counts = [seen.sum(axis=-1) for seen in active]
    if network.activation != "relu":
        counts = [np.full_like(c, w) for c, w in zip(counts, network.widths[1:-1], strict=True)]
    return np.stack(counts, axis=-1) if counts else np.zeros((*values.shape[:-1], 0), np.int64)
