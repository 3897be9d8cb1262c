"""A network's shape, where each of its weights lies, and how it is initialized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.special import ndtr, ndtri

FloatArray = NDArray[Any]  # of float32 or float64

ACTIVATIONS = ("relu", "tanh", "leaky_relu")
LEAKY_SLOPE = 0.01
OUTPUT_LOSSES = (
    ("sigmoid", "bce"),
    ("sigmoid", "half_mse"),
    ("softmax", "ce"),
    ("linear", "half_mse"),
)


@dataclass(frozen=True)
class Network:
    """A multi-layer perceptron: widths, hidden activation, output and loss.

    Parameters
    ----------
    widths
        Number of inputs, units of each hidden layer, number of outputs: (2, 2, 1) is the notes'
        network. Two entries mean no hidden layer.
    activation
        Of the hidden layers: "relu", "tanh" or "leaky_relu" (slope 0.01).
    output, loss
        One of (sigmoid, bce), (sigmoid, half_mse), (softmax, ce), (linear, half_mse).

    Raises
    ------
    ValueError
        For fewer than two widths, a width below 1, or a name or pair that is not listed.
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    output: str = "sigmoid"
    loss: str = "bce"

    def __post_init__(self) -> None:
        widths = tuple(self.widths)
        if len(widths) < 2 or any(int(w) != w or w < 1 for w in widths):
            raise ValueError(
                f"widths must be at least two whole numbers of 1 or more (inputs, hidden units, "
                f"outputs), got {self.widths!r}"
            )
        object.__setattr__(self, "widths", tuple(int(w) for w in widths))
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}"
            )
        if (self.output, self.loss) not in OUTPUT_LOSSES:
            legal = ", ".join(f"({o}, {c})" for o, c in OUTPUT_LOSSES)
            raise ValueError(
                f"output and loss must be one of {legal}, got ({self.output}, {self.loss})"
            )
        if self.output == "softmax" and self.widths[-1] < 2:
            raise ValueError("a softmax output needs 2 or more units: use sigmoid for one unit")

    @property
    def n_layers(self) -> int:
        """Number of layers with weights."""
        return len(self.widths) - 1

    @property
    def n_inputs(self) -> int:
        """Width of the input."""
        return self.widths[0]

    @property
    def n_outputs(self) -> int:
        """Width of the output layer."""
        return self.widths[-1]

    @property
    def n_params(self) -> int:
        """Number of parameters: weights and biases of all layers."""
        return sum((n_in + 1) * n_out for n_in, n_out in self.layer_shapes)

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """(n_in, n_out) of each layer."""
        return tuple(zip(self.widths[:-1], self.widths[1:], strict=True))

    @property
    def offsets(self) -> tuple[tuple[int, int], ...]:
        """(start of W, start of b) of each layer in the flat parameter vector."""
        starts, at = [], 0
        for n_in, n_out in self.layer_shapes:
            starts.append((at, at + n_in * n_out))
            at += (n_in + 1) * n_out
        return tuple(starts)

    @property
    def is_classifier(self) -> bool:
        """Whether the scores are loss and accuracy (else loss and rmse)."""
        return self.output != "linear"

    def unpack(self, params: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        """Views of W (..., n_out, n_in) and b (..., n_out) of each layer in params (..., n_params).

        The layout of the flat vector: layer by layer, W row by row, then b.
        """
        lead = params.shape[:-1]
        return [
            (
                params[..., w : w + n_in * n_out].reshape(*lead, n_out, n_in),
                params[..., b : b + n_out],
            )
            for (n_in, n_out), (w, b) in zip(self.layer_shapes, self.offsets, strict=True)
        ]


# A scheme turns uniforms and fan-in into weights and biases: u (..., n_out, n_in + 1), one more
# column than inputs, for the bias.
Scheme = Callable[[NDArray[np.float64], int], NDArray[np.float64]]


def _he(u: NDArray[np.float64], n_in: int) -> NDArray[np.float64]:
    """Normal weights of variance 2 / n_in, zero biases (He et al. 2015, equation 10)."""
    values = np.zeros_like(u)
    values[..., :-1] = np.sqrt(2.0 / n_in) * ndtri(u[..., :-1])
    return values


def _uniform_fan_in(u: NDArray[np.float64], n_in: int) -> NDArray[np.float64]:
    """Weights and biases uniform within 1 / sqrt(n_in) of 0 (PyTorch's default)."""
    return np.asarray((2.0 * u - 1.0) / np.sqrt(n_in))


def _truncated_normal(u: NDArray[np.float64], n_in: int) -> NDArray[np.float64]:
    """Normal weights of standard deviation 0.1 cut at 2 deviations, zero biases."""
    below = ndtr(-2.0)
    values = np.zeros_like(u)
    values[..., :-1] = 0.1 * ndtri(below + u[..., :-1] * (1.0 - 2.0 * below))
    return values


INITIALIZATIONS: dict[str, Scheme] = {
    "he": _he,
    "uniform_fan_in": _uniform_fan_in,
    "truncated_normal": _truncated_normal,
}


def init_params(
    network: Network,
    seed: int = 0,
    scheme: str = "he",
    dtype: DTypeLike = np.float64,
    size: int | None = None,
) -> FloatArray:
    """Draw initial parameters: (n_params,), or (size, n_params) for a population.

    Drawn in float64, then cast: float32 and float64 networks of a seed start at the same point.
    Row 0 of a population is the network drawn without `size`, and row i does not depend on `size`.

    Parameters
    ----------
    network
        The shape to fill.
    seed
        0 or more; the same seed gives the same parameters.
    scheme
        "he": normal, variance 2 / n_in, biases 0. "uniform_fan_in": weights and biases uniform
        within 1 / sqrt(n_in). "truncated_normal": sigma 0.1 cut at 2 sigma, biases 0.
    dtype
        float32 or float64.
    size
        Number of networks, or None for one without a leading axis.

    Raises
    ------
    ValueError
        For an unknown scheme, a dtype other than float32 and float64, a negative seed or size < 1.
    """
    if scheme not in INITIALIZATIONS:
        raise ValueError(f"scheme must be one of {', '.join(INITIALIZATIONS)}, got {scheme!r}")
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype).name}")
    if size is not None and size < 1:
        raise ValueError(f"size must be 1 or more networks, got {size}")
    rows = 1 if size is None else size
    # random() can be exactly 0, where the normal quantile is infinite
    u = np.maximum(generator(seed, "parameters").random((rows, network.n_params)), 2.0**-54)
    params = np.empty((rows, network.n_params))
    for (n_in, n_out), (w, b) in zip(network.layer_shapes, network.offsets, strict=True):
        layer = u[:, w : b + n_out].reshape(rows, n_out, n_in + 1)
        values = INITIALIZATIONS[scheme](layer, n_in)
        params[:, w:b] = values[..., :-1].reshape(rows, -1)
        params[:, b : b + n_out] = values[..., -1]
    params = params.astype(dtype, copy=False)
    return params[0] if size is None else params


# Streams of random numbers are keyed by what they are for, never by the order in which work is done
PURPOSES = {"parameters": 1, "order": 2}


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Return the random generator of a seed and a purpose."""
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or seed < 0:
        raise ValueError(f"seed must be a whole number of 0 or more, got {seed!r}")
    return np.random.default_rng(np.random.SeedSequence((PURPOSES[purpose], int(seed))))


def sample_order(seed: int, n: int, epochs: int) -> NDArray[np.int64]:
    """Return the permutations of 0..n-1 that `train(seed=seed)` visits: (epochs, n), int64.

    Each row is the rank order of n uniforms; all rows are one draw, so that fewer epochs give a
    prefix of more.

    Raises
    ------
    ValueError
        For n below 1, negative epochs, or a negative seed.
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more samples, got {n}")
    if epochs < 0:
        raise ValueError(f"epochs must be 0 or more, got {epochs}")
    return generator(seed, "order").random((epochs, n)).argsort(axis=1, kind="stable")
