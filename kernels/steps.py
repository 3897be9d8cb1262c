"""A rule's steps with the weights of one layer, taken while a product walks through them.

Where a sample is a batch of its own, the loads and stores of a layer's weights (and of the rule's
memory beside them) cost more than the arithmetic. So the product that needs the weights and the
step that changes them are one pass:

    back   (layers behind the first)    delta(l-1) += W^T delta(l),  then W takes its step
    ahead  (the first layer)            W takes its step, then z += W x for the *next* sample
"""

from __future__ import annotations

from typing import Any

from kernels.jit import called, inner
from kernels.product import Vectors, add_outer, at, element, place
from kernels.updates import take
from kernels.vector import fma, lanes, load, splat, store

TILE = (16, 4)  # weights whose gradients are summed up, then taken
TILE_VECTORS = TILE[0] * TILE[1]


@inner
def step_back_through(step: Any, W: Any, A: Any, R: Any, C: Any, shape: Any) -> None:
    """C[0, j] = sum_k A[0, k] W[k, j], and W[k, j] then takes a step with gradient A[0, k] R[0, j].

    A: delta of a layer, W: its weights transposed, R: its inputs; shape = (j, k). Four columns at a
    time: their sums do not wait for each other, and they lie side by side.
    """
    n, depth = shape
    P, zero = W.data, splat(C.data, 0.0)
    for j in range(0, n - 3, 4):
        r0, r1 = element(R, 0, j), element(R, 0, j + 1)
        r2, r3 = element(R, 0, j + 2), element(R, 0, j + 3)
        c0, c1, c2, c3 = zero, zero, zero, zero
        for k in range(depth):
            left = element(A, 0, k)
            c0 = fma(left, take(step, P, place(W, k, j), left, r0)[0], c0)
            c1 = fma(left, take(step, P, place(W, k, j + 1), left, r1)[0], c1)
            c2 = fma(left, take(step, P, place(W, k, j + 2), left, r2)[0], c2)
            c3 = fma(left, take(step, P, place(W, k, j + 3), left, r3)[0], c3)
        store(C.data, place(C, 0, j), c0)
        store(C.data, place(C, 0, j + 1), c1)
        store(C.data, place(C, 0, j + 2), c2)
        store(C.data, place(C, 0, j + 3), c3)
    for j in range(n // 4 * 4, n):
        r0, c0 = element(R, 0, j), zero
        for k in range(depth):
            left = element(A, 0, k)
            c0 = fma(left, take(step, P, place(W, k, j), left, r0)[0], c0)
        store(C.data, place(C, 0, j), c0)


@inner
def step_ahead_through(step: Any, W: Any, X: Any, R: Any, C: Any, shape: Any) -> None:
    """W[k, j] takes a step with gradient X[0, k] R[0, j], then C[0, j] += sum_k X[1, k] W[k, j].

    X: inputs of a sample and, a row further, of the next; R: delta of the first layer, C: the next
    sample's pre-activations, which hold the bias; shape = (j, k).
    """
    n, depth = shape
    for j in range(n):
        right = element(R, 0, j)
        even, odd = element(C, 0, j), splat(C.data, 0.0)
        for k in range(0, depth - 1, 2):
            after = take(step, W.data, place(W, k, j), element(X, 0, k), right)[1]
            even = fma(element(X, 1, k), after, even)
            after = take(step, W.data, place(W, k + 1, j), element(X, 0, k + 1), right)[1]
            odd = fma(element(X, 1, k + 1), after, odd)
        if depth % 2:
            k = depth - 1
            after = take(step, W.data, place(W, k, j), element(X, 0, k), right)[1]
            even = fma(element(X, 1, k), after, even)
        store(C.data, place(C, 0, j), even + odd)


@inner
def step_with_outer(step: Any, W: Any, A: Any, R: Any, shape: Any) -> None:
    """W[k, j] takes a step with gradient A[k, 0] R[0, j]; shape = (j, k)."""
    n, depth = shape
    for j in range(n):
        right = element(R, 0, j)
        for k in range(depth):
            take(step, W.data, place(W, k, j), element(A, k, 0), right)


@called
def step_with_product(step: Any, W: Any, A: Any, B: Any, shape: Any, tile: Any) -> None:
    """W takes a step with gradient A B; shape = (rows of A, columns of B, depth).

    A tile of the gradient at a time, (`TILE_VECTORS` * lanes,), so that it never leaves the
    first-level cache.
    """
    m, n, depth = shape
    rows, columns = TILE
    width = lanes(tile)
    G = Vectors(tile, 0, width, rows * width)
    one, zero = splat(tile, 1.0), splat(tile, 0.0)
    for j in range(0, n, columns):
        for i in range(0, m, rows):
            last_i, last_j = min(rows, m - i), min(columns, n - j)
            for p in range(0, tile.size, width):
                store(tile, p, zero)
            add_outer(G, at(A, i, 0), at(B, 0, j), last_i, last_j, depth)
            for c in range(last_j):
                for r in range(last_i):
                    take(step, W.data, place(W, i + r, j + c), load(tile, place(G, r, c)), one)
