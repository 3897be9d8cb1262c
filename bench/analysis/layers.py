"""Forward and backward passes of many networks side by side, in NumPy float64.

Where an analysis needs what lies inside a network (deltas, activations) for many parameter vectors
at once. Equations F1 to B2 of `kernels.reference`, with an axis of runs in front.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from kernels import Network
from kernels.reference import HIDDEN

Floats = NDArray[np.float64]


def target_rows(network: Network, y: NDArray[Any]) -> Floats:
    """Targets (n, n_outputs) from classes (n,), or from targets (n,) or (n, n_outputs)."""
    if network.is_classifier and network.n_outputs > 1 and y.ndim == 1:
        return np.asarray(np.eye(network.n_outputs)[y])
    return np.asarray(y, np.float64).reshape(len(y), network.n_outputs)


def forward(
    network: Network, params: NDArray[Any], X: NDArray[Any]
) -> tuple[list[Floats], list[Floats]]:
    """Pre-activations z and inputs a of each layer.

    Parameters
    ----------
    network
        The network.
    params
        (runs, n_params).
    X
        (n, n_inputs), the same for all runs, or (runs, n, n_inputs).

    Returns
    -------
    z, a : list of ndarray
        A layer an entry, (runs, n, width): z[l] the layer's pre-activations, a[l] what goes into
        it (a[0] is X, with one run where all have the same); z[-1] are the logits.
    """
    activate, _ = HIDDEN[network.activation]
    a = np.asarray(X, np.float64)
    a = a if a.ndim == 3 else a[None]
    zs, inputs = [], []
    for W, b in network.unpack(np.asarray(params, np.float64)):
        inputs.append(a)
        z = a @ np.swapaxes(W, -1, -2) + b[:, None, :]  # F1
        zs.append(z)
        a = activate(z)  # F2
    return zs, inputs


def output_deltas(network: Network, logits: Floats, targets: Floats) -> Floats:
    """B1: derivative of each sample's loss by its logits, (..., n, n_outputs)."""
    if network.output == "softmax":
        return np.asarray(special.softmax(logits, axis=-1) - targets)
    if network.output == "linear":
        return logits - targets
    y_hat = special.expit(logits)
    error = y_hat - targets
    return np.asarray(error if network.loss == "bce" else error * y_hat * (1.0 - y_hat))


def deltas(
    network: Network, params: NDArray[Any], X: NDArray[Any], y: NDArray[Any]
) -> tuple[list[Floats], list[Floats]]:
    """Deltas and inputs of each layer: lists of (runs, n, width), see `forward`.

    Sample i's gradient of layer l is the outer product of delta[l][i] and (a[l][i], 1).
    """
    _, slope = HIDDEN[network.activation]
    zs, inputs = forward(network, params, X)
    delta = output_deltas(network, zs[-1], target_rows(network, y))
    found = [delta]
    weights = [W for W, _ in network.unpack(np.asarray(params, np.float64))]
    for W, z in zip(weights[:0:-1], zs[-2::-1], strict=True):
        delta = (delta @ W) * slope(z)  # B2
        found.append(delta)
    return found[::-1], inputs


def pre_activations(
    network: Network, params: NDArray[Any], X: NDArray[Any]
) -> tuple[list[Floats], list[tuple[Floats, Floats]]]:
    """Pre-activations z of each layer, (n, width, runs), and its W (n_out, n_in, runs) and b.

    Runs lie behind each other in memory: for small networks in great number, of which those of
    `forward` would be millions of tiny matrices.

    Parameters
    ----------
    network
        The network.
    params
        (runs, n_params).
    X
        (n, n_inputs).
    """
    activate, _ = HIDDEN[network.activation]
    a = np.asarray(X, np.float64)[..., None]
    zs, weights = [], []
    for W, b in network.unpack(np.asfortranarray(params, np.float64)):
        W, b = np.moveaxis(W, 0, -1), np.moveaxis(b, 0, -1)
        z = np.einsum("uir,sir->sur", W, a) + b  # F1
        zs.append(z)
        weights.append((W, b))
        a = activate(z)  # F2
    return zs, weights
