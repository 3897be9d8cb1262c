"""Networks, samples and tolerances that the tests of the kernels share."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from kernels import Network, init_params
from kernels.network import ACTIVATIONS, OUTPUT_LOSSES

Array = NDArray[Any]

XOR = Network((2, 2, 1))
XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
XOR_Y = np.array([0, 1, 1, 0])
# Wide enough for look-ahead, narrow enough for the reference; none of its widths fills a vector
DIGITS_LIKE = Network((20, 7, 3), "relu", "softmax", "ce")


def random_case(
    network: Network, seed: int, n: int, dtype: DTypeLike = np.float64
) -> tuple[Array, Array, Array]:
    """Parameters with biases, samples, and labels of the kind that the network's loss takes."""
    rng = np.random.default_rng(seed)
    params = init_params(network, seed, scheme="uniform_fan_in", dtype=dtype)
    X = rng.normal(size=(n, network.n_inputs)).astype(dtype)
    return params, X, random_labels(network, rng, n)


def random_labels(network: Network, rng: np.random.Generator, n: int) -> Array:
    """Classes (n,), or targets (n, k) in {0, 1} for sigmoid and normal ones for linear outputs."""
    if network.output == "softmax":
        return rng.integers(network.n_outputs, size=n)
    if network.output == "sigmoid":
        return rng.integers(2, size=(n, network.n_outputs))
    return rng.normal(size=(n, network.n_outputs))


def assert_within(actual: Any, expected: Any, terms: float, dtype: DTypeLike) -> None:
    """Each number is within `terms` roundings of the larger of 1 and the largest expected one.

    A sum of t terms of size s is known to t eps s, however small the sum itself comes out.
    """
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    tolerance = terms * float(np.finfo(dtype).eps) * scale
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Same dtype, shape and bits, those of NaN and of the sign of zero too."""
    a, b = np.ascontiguousarray(actual), np.ascontiguousarray(expected)
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    np.testing.assert_array_equal(
        a.reshape(-1).view(np.uint8).reshape(-1, a.itemsize),
        b.reshape(-1).view(np.uint8).reshape(-1, b.itemsize),
    )


@st.composite
def networks(draw: st.DrawFn, most: int = 18) -> Network:
    """Up to three hidden layers of up to `most` units, all activations, outputs and losses."""
    output, loss = draw(st.sampled_from(OUTPUT_LOSSES))
    width = st.sampled_from([w for w in (1, 2, 3, 5, 8, 16, 17, 18) if w <= most])
    outputs = width.filter(lambda w: w > 1) if output == "softmax" else width
    widths = (draw(width), *draw(st.lists(width, max_size=3)), draw(outputs))
    return Network(widths, draw(st.sampled_from(ACTIVATIONS)), output, loss)
