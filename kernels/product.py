"""The one primitive of both engines: a matrix product whose elements are vectors.

C[i, j] += sum_k A[i, k] B[k, j], where C and B hold a vector in each place, and A a vector
(`Vectors`) or a scalar that all lanes share (`Scalars`). A matrix is a view of flat memory: its
element (i, j) begins at data[start + i * row + j * column], so a transposed product only swaps
strides.

A register tile of C stays in registers while k runs:

              B[k, j .. j + columns)
                   | | |
    A[i ..   ]  -- # # #      rows x columns accumulators: each step of k loads
    A[  rows ]  -- # # #      rows + columns elements for rows * columns fmas

A tile of few accumulators would wait for its own results (an fma takes about 4 cycles, and 1 or 2
start in each), so it keeps several partial sums: `CHAINS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from numba import types
from numba.core import cgutils

from kernels.instruction_set import REGISTERS
from kernels.jit import inner, intrinsic, overload
from kernels.memory import element_pointer
from kernels.vector import VectorType, splat_ir, vector_pointer

CHAINS = 4


class Vectors(NamedTuple):
    """A matrix of vectors: element (i, j) begins at data[start + i * row + j * column]."""

    data: Any
    start: int
    row: int
    column: int


class Scalars(NamedTuple):
    """A matrix of scalars that all lanes share, with the same strides as `Vectors`."""

    data: Any
    start: int
    row: int
    column: int


class _Elements:
    """LLVM code that reads and writes elements of a matrix that is an argument of an intrinsic."""

    def __init__(self, context: Any, builder: Any, kind: Any, matrix: Any) -> None:
        self.context, self.builder, self.kind = context, builder, kind
        self.memory_type = kind.types[0]
        self.vector = VectorType(self.memory_type.dtype)
        self.data, self.start, self.row, self.column = (
            builder.extract_value(matrix, field) for field in range(4)
        )

    def offset(self, i: Any, j: Any) -> Any:
        """Offset of element (i, j), each an LLVM integer or a Python one."""
        at, b = self.start, self.builder
        for index, stride in ((i, self.row), (j, self.column)):
            factor = stride.type(index) if isinstance(index, int) else index
            at = b.add(at, b.mul(stride, factor))
        return at

    def pointer(self, i: Any, j: Any) -> Any:
        """Pointer to the vector of element (i, j)."""
        return vector_pointer(
            self.context, self.builder, self.memory_type, self.data, self.offset(i, j)
        )

    def load(self, i: Any, j: Any) -> Any:
        """Element (i, j) as a vector; a scalar fills all its lanes."""
        align = self.memory_type.dtype.bitwidth // 8
        if self.kind.instance_class is Vectors:
            return self.builder.load(self.pointer(i, j), align=align)
        span = (self.offset(i, j), 1)
        address = element_pointer(self.context, self.builder, self.memory_type, self.data, span)
        return splat_ir(self.builder, self.vector, self.builder.load(address))

    def store(self, i: Any, j: Any, value: Any) -> None:
        """Set element (i, j)."""
        align = self.memory_type.dtype.bitwidth // 8
        self.builder.store(value, self.pointer(i, j), align=align)


def _tile_operations(rows: int, columns: int) -> tuple[Callable[..., Any], ...]:
    """Make load, zero, add, rank-one update and store of a tile of rows x columns registers."""
    places = [(i, j) for i in range(rows) for j in range(columns)]

    def tile_type(matrix: Any) -> Any:
        return types.UniTuple(VectorType(matrix.types[0].dtype), len(places))

    @intrinsic
    def load_tile(typingctx: Any, C: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            c = _Elements(context, builder, sig.args[0], args[0])
            return context.make_tuple(builder, sig.return_type, [c.load(i, j) for i, j in places])

        return tile_type(C)(C), generate

    @intrinsic
    def zero_tile(typingctx: Any, C: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            zero = sig.return_type.dtype.constant(0.0)
            return context.make_tuple(builder, sig.return_type, [zero] * len(places))

        return tile_type(C)(C), generate

    @intrinsic
    def add_tiles(typingctx: Any, s: Any, t: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pairs = zip(*(cgutils.unpack_tuple(builder, a) for a in args), strict=True)
            sums = [builder.fadd(a, b) for a, b in pairs]
            return context.make_tuple(builder, sig.return_type, sums)

        return s(s, t), generate

    @intrinsic
    def add_rank_one(typingctx: Any, t: Any, A: Any, B: Any, k: Any) -> Any:
        """t[i, j] + A[i, k] B[k, j]."""

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            tile = cgutils.unpack_tuple(builder, args[0])
            a = _Elements(context, builder, sig.args[1], args[1])
            b = _Elements(context, builder, sig.args[2], args[2])
            right = [b.load(args[3], j) for j in range(columns)]
            out = []
            for i in range(rows):
                left = a.load(i, args[3])
                for j in range(columns):
                    accumulator = tile[i * columns + j]
                    out.append(b.vector.call(builder, "fma", left, right[j], accumulator))
            return context.make_tuple(builder, sig.return_type, out)

        return t(t, A, B, types.intp), generate

    @intrinsic
    def store_tile(typingctx: Any, C: Any, t: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            c = _Elements(context, builder, sig.args[0], args[0])
            for (i, j), value in zip(places, cgutils.unpack_tuple(builder, args[1]), strict=True):
                c.store(i, j, value)
            return context.get_dummy_value()

        return types.void(C, t), generate

    return load_tile, zero_tile, add_tiles, add_rank_one, store_tile


@cache  # one function a shape: each is compiled once
def tile(rows: int, columns: int) -> Callable[..., None]:
    """Make C += A B for a C of exactly rows x columns."""
    load_tile, _, _, add_rank_one, store_tile = _tile_operations(rows, columns)

    @inner
    def add(C: Any, A: Any, B: Any, depth: int) -> None:
        t = load_tile(C)
        for k in range(depth):
            t = add_rank_one(t, A, B, k)
        store_tile(C, t)

    return add


@cache
def chained_tile(rows: int, columns: int) -> Callable[..., None]:
    """Make C += A B for a small C, as `CHAINS` partial sums that do not wait for each other."""
    load_tile, zero_tile, add_tiles, add_rank_one, store_tile = _tile_operations(rows, columns)

    @inner
    def add(C: Any, A: Any, B: Any, depth: int) -> None:
        t = load_tile(C)
        k = 0
        if depth >= 2 * CHAINS:
            t1, t2, t3 = zero_tile(C), zero_tile(C), zero_tile(C)
            while k + CHAINS <= depth:
                t = add_rank_one(t, A, B, k)
                t1 = add_rank_one(t1, A, B, k + 1)
                t2 = add_rank_one(t2, A, B, k + 2)
                t3 = add_rank_one(t3, A, B, k + 3)
                k += CHAINS
            t = add_tiles(add_tiles(t, t1), add_tiles(t2, t3))
        while k < depth:
            t = add_rank_one(t, A, B, k)
            k += 1
        store_tile(C, t)

    return add


@intrinsic
def at(typingctx: Any, M: Any, i: Any, j: Any) -> Any:
    """The matrix that begins at element (i, j) of another."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        m = _Elements(context, builder, sig.args[0], args[0])
        return builder.insert_value(args[0], m.offset(*args[1:]), 1)

    return M(M, types.intp, types.intp), generate


@intrinsic
def place(typingctx: Any, M: Any, i: Any, j: Any) -> Any:
    """Where element (i, j) of a matrix begins in its memory."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _Elements(context, builder, sig.args[0], args[0]).offset(*args[1:])

    return types.intp(M, types.intp, types.intp), generate


@intrinsic
def element(typingctx: Any, M: Any, i: Any, j: Any) -> Any:
    """Element (i, j) of a matrix as a vector."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _Elements(context, builder, sig.args[0], args[0]).load(*args[1:])

    return VectorType(M.types[0].dtype)(M, types.intp, types.intp), generate


@intrinsic
def transposed(typingctx: Any, M: Any) -> Any:
    """The transpose of a matrix: its strides swapped."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        m = _Elements(context, builder, sig.args[0], args[0])
        turned = builder.insert_value(args[0], m.column, 2)
        return builder.insert_value(turned, m.row, 3)

    return M(M), generate


Small = Callable[[int, int], Callable[..., None]]


def _product(shape: tuple[int, int], small: Small) -> Callable[..., None]:
    """Make a product of any size from tiles: large ones, then single rows of 8, 2 and 1."""
    rows, columns = shape
    large, row_8, row_2, row_1 = tile(*shape), tile(1, 8), small(1, 2), small(1, 1)

    @inner
    def add(C: Any, A: Any, B: Any, m: int, n: int, depth: int) -> None:
        tiled_m, tiled_n = m // rows * rows, n // columns * columns
        for j in range(0, tiled_n, columns):
            for i in range(0, tiled_m, rows):
                large(at(C, i, j), at(A, i, 0), at(B, 0, j), depth)
        for i in range(m):
            j = tiled_n if i < tiled_m else 0
            while j + 8 <= n:
                row_8(at(C, i, j), at(A, i, 0), at(B, 0, j), depth)
                j += 8
            while j + 2 <= n:
                row_2(at(C, i, j), at(A, i, 0), at(B, 0, j), depth)
                j += 2
            if j < n:
                row_1(at(C, i, j), at(A, i, 0), at(B, 0, j), depth)

    return add


_wide, _pair, _column = REGISTERS.vector_tile, REGISTERS.scalar_tile, (8, 1)
_forward_vectors = _product(_wide, chained_tile)
_forward_pair = _product(_pair, chained_tile)
_forward_column = _product(_column, chained_tile)
_outer_wide = _product(_wide, tile)
_outer_pair = _product(_pair, tile)
_outer_column = _product(_column, tile)


def add_product(C: Any, A: Any, B: Any, m: int, n: int, depth: int) -> None:
    """C += A B: C (m, n) `Vectors`, A (m, depth) `Scalars` or `Vectors`, B (depth, n) `Vectors`."""


@overload(add_product)
def _choose_tiles(C: Any, A: Any, B: Any, m: int, n: int, depth: int) -> Any:
    if A.instance_class is Vectors:
        return lambda C, A, B, m, n, depth: _forward_vectors(C, A, B, m, n, depth)

    def add(C: Any, A: Any, B: Any, m: int, n: int, depth: int) -> None:
        if n == 1:
            _forward_column(C, A, B, m, n, depth)
        else:
            _forward_pair(C, A, B, m, n, depth)

    return add


def add_outer(C: Any, A: Any, B: Any, m: int, n: int, depth: int) -> None:
    """C += A B as `add_product`, for a short depth; each element is summed in the order of k.

    So the gradient of W and that of a transposed copy of W are equal to the bit.
    """


@overload(add_outer)
def _choose_outer_tiles(C: Any, A: Any, B: Any, m: int, n: int, depth: int) -> Any:
    if A.instance_class is Vectors:
        return lambda C, A, B, m, n, depth: _outer_wide(C, A, B, m, n, depth)

    def add(C: Any, A: Any, B: Any, m: int, n: int, depth: int) -> None:
        if n == 1:
            _outer_column(C, A, B, m, n, depth)
        elif n < _wide[1]:
            _outer_pair(C, A, B, m, n, depth)
        else:
            _outer_wide(C, A, B, m, n, depth)

    return add
