"""The matrix product against NumPy, exactly: whole numbers leave nothing to rounding."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from kernels.jit import jit
from kernels.layout import lane_count
from kernels.memory import as_memory
from kernels.product import Scalars, Vectors, add_outer, add_product

LANES = lane_count(np.dtype(np.float32))
GUARD = -77.0  # stands in all places that a product must leave as they are
# Whole tiles, a rest of each size, and nothing at all
ROWS = (0, 1, 2, 3, 4, 7, 8, 9, 16, 19)
COLUMNS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 17)
DEPTHS = (0, 1, 2, 3, 7, 8, 9, 16, 21)


@jit
def _vectors_product(c: Any, a: Any, b: Any, strides: Any, sizes: Any) -> None:
    C, A, B = strides
    m, n, depth = sizes
    left = Vectors(as_memory(a), A[0], A[1], A[2])
    right = Vectors(as_memory(b), B[0], B[1], B[2])
    add_product(Vectors(as_memory(c), C[0], C[1], C[2]), left, right, m, n, depth)


@jit
def _scalars_product(c: Any, a: Any, b: Any, strides: Any, sizes: Any) -> None:
    C, A, B = strides
    m, n, depth = sizes
    left = Scalars(as_memory(a), A[0], A[1], A[2])
    right = Vectors(as_memory(b), B[0], B[1], B[2])
    add_product(Vectors(as_memory(c), C[0], C[1], C[2]), left, right, m, n, depth)


@jit
def _vectors_outer(c: Any, a: Any, b: Any, strides: Any, sizes: Any) -> None:
    C, A, B = strides
    m, n, depth = sizes
    left = Vectors(as_memory(a), A[0], A[1], A[2])
    right = Vectors(as_memory(b), B[0], B[1], B[2])
    add_outer(Vectors(as_memory(c), C[0], C[1], C[2]), left, right, m, n, depth)


@jit
def _scalars_outer(c: Any, a: Any, b: Any, strides: Any, sizes: Any) -> None:
    C, A, B = strides
    m, n, depth = sizes
    left = Scalars(as_memory(a), A[0], A[1], A[2])
    right = Vectors(as_memory(b), B[0], B[1], B[2])
    add_outer(Vectors(as_memory(c), C[0], C[1], C[2]), left, right, m, n, depth)


# Each product, with the number of floats in an element of its left factor
PRODUCTS: dict[str, tuple[Callable[..., None], int]] = {
    "add_product of vectors": (_vectors_product, LANES),
    "add_product of scalars": (_scalars_product, 1),
    "add_outer of vectors": (_vectors_outer, LANES),
    "add_outer of scalars": (_scalars_outer, 1),
}


def laid_out(values: Any, start: int, gap: int, transposed: bool) -> tuple[Any, Any]:
    """A matrix (m, n, lanes) in flat memory between guards, and its (start, row, column)."""
    stored = values.swapaxes(0, 1) if transposed else values
    m, n, lanes = stored.shape
    stride = n * lanes + gap
    flat = np.full(start + m * stride + 5, GUARD, np.float32)
    rows = flat[start : start + m * stride].reshape(m, stride)
    rows[:, : n * lanes] = stored.reshape(m, n * lanes)
    return flat, (start, lanes, stride) if transposed else (start, stride, lanes)


def check(name: str, sizes: tuple[int, int, int], transposed: bool = False) -> None:
    """Compare C += A B with NumPy, and what lies around C with what lay there before."""
    multiply, width = PRODUCTS[name]
    m, n, depth = sizes
    rng = np.random.default_rng(sum(sizes))
    C, A, B = (
        rng.integers(-9, 10, size=(*shape, lanes)).astype(np.float32)
        for shape, lanes in (((m, n), LANES), ((m, depth), width), ((depth, n), LANES))
    )
    (c, C_strides), (a, A_strides), (b, B_strides) = (
        laid_out(C, 3, 7, transposed=False),
        laid_out(A, 5, 2, transposed),
        laid_out(B, 1, 4, transposed),
    )
    expected, _ = laid_out(C + np.einsum("mkl,knl->mnl", A, B), 3, 7, transposed=False)
    multiply(c, a, b, (C_strides, A_strides, B_strides), sizes)
    np.testing.assert_array_equal(c, expected, err_msg=f"{name} {sizes}")


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_every_size(name: str) -> None:
    """C += A B for any number of rows, columns and terms, and nothing beside C is written."""
    for sizes in product(ROWS, COLUMNS, DEPTHS):
        check(name, sizes)


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_transposed_matrices(name: str) -> None:
    """A transposed factor is the same matrix with its strides swapped."""
    for sizes in product((1, 8, 11), (1, 2, 9), (3, 16)):
        check(name, sizes, transposed=True)


@pytest.mark.parametrize("name", PRODUCTS)
def test_lanes_of_a_product_do_not_mix(name: str) -> None:
    """A NaN in one lane of the right factor reaches that lane of the product only."""
    multiply, width = PRODUCTS[name]
    m, n, depth = 9, 5, 13
    a = np.ones(m * depth * width, np.float32)
    b = np.ones((depth, n, LANES), np.float32)
    b[3, :, 1] = np.nan
    c = np.zeros(m * n * LANES, np.float32)
    strides = (
        (0, n * LANES, LANES),
        (0, depth * width, width),
        (0, n * LANES, LANES),
    )
    multiply(c, a, b.reshape(-1), strides, (m, n, depth))
    by_lane = c.reshape(m * n, LANES)
    assert np.isnan(by_lane[:, 1]).all()
    assert (np.delete(by_lane, 1, axis=1) == depth).all()
