"""Vectors of the processor's width as a Numba type, with exp, log, log1p and tanh on them.

A vector holds `REGISTERS.vector_bytes` bytes of one dtype: 16 float32 or 8 float64 with AVX-512.
`+ - * /` work on vectors; `fma(a, b, c)` is a b + c rounded once.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

from kernels.instruction_set import REGISTERS
from kernels.jit import inner, intrinsic, overload
from kernels.memory import MemoryType, element_pointer

IR_FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


class VectorType(types.Type):  # type: ignore[misc]
    """Numba's type of a vector of float32 or float64."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.lanes = REGISTERS.vector_bytes * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {self.lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        """LLVM's type of the vector."""
        return ir.VectorType(IR_FLOATS[self.dtype], self.lanes)

    @property
    def llvm_integers(self) -> ir.VectorType:
        """LLVM's type of as many integers of the same width."""
        return ir.VectorType(ir.IntType(self.dtype.bitwidth), self.lanes)

    def constant(self, value: float) -> ir.Constant:
        """All lanes equal to a number."""
        return ir.Constant(self.llvm, [value] * self.lanes)

    def integers(self, value: int) -> ir.Constant:
        """All lanes equal to a whole number."""
        return ir.Constant(self.llvm_integers, [value] * self.lanes)

    def call(self, builder: ir.IRBuilder, name: str, *arguments: ir.Value) -> ir.Value:
        """Call LLVM's intrinsic of a name on vectors of this type."""
        kind = ir.FunctionType(self.llvm, [self.llvm] * len(arguments))
        suffix = f"v{self.lanes}f{self.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{suffix}")
        return builder.call(function, arguments)


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """How Numba keeps a vector: as LLVM's vector, in a register."""

    def __init__(self, manager: Any, vector: VectorType) -> None:
        super().__init__(manager, vector, vector.llvm)


def vector_pointer(
    context: Any, builder: ir.IRBuilder, kind: MemoryType, memory: Any, offset: ir.Value
) -> ir.Value:
    """Pointer to the vector that begins at element `offset` of memory."""
    vector = VectorType(kind.dtype)
    address = element_pointer(context, builder, kind, memory, (offset, vector.lanes))
    return builder.bitcast(address, vector.llvm.as_pointer())


def splat_ir(builder: ir.IRBuilder, vector: VectorType, scalar: ir.Value) -> ir.Value:
    """All lanes equal to an LLVM scalar."""
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    lane_0 = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(lane_0, undefined, mask)


@intrinsic
def lanes(typingctx: Any, memory: Any) -> Any:
    """Number of lanes of the vectors of a memory's dtype (known when compiling)."""
    count = VectorType(memory.dtype).lanes

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.get_constant(types.intp, count)

    return types.intp(memory), generate


@intrinsic
def load(typingctx: Any, memory: Any, offset: Any) -> Any:
    """The vector memory[offset : offset + lanes]."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        align = sig.args[0].dtype.bitwidth // 8
        return builder.load(vector_pointer(context, builder, sig.args[0], *args), align=align)

    return VectorType(memory.dtype)(memory, types.intp), generate


@intrinsic
def store(typingctx: Any, memory: Any, offset: Any, value: Any) -> Any:
    """memory[offset : offset + lanes] = value."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        align = sig.args[0].dtype.bitwidth // 8
        builder.store(
            args[2], vector_pointer(context, builder, sig.args[0], *args[:2]), align=align
        )
        return context.get_dummy_value()

    return types.void(memory, types.intp, VectorType(memory.dtype)), generate


@intrinsic
def splat(typingctx: Any, like: Any, value: Any) -> Any:
    """All lanes equal to a number, cast to the dtype of a memory or vector."""
    vector = VectorType(like.dtype)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        scalar = context.cast(builder, args[1], sig.args[1], vector.dtype)
        return splat_ir(builder, vector, scalar)

    return vector(like, value), generate


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """The sum a b + c, rounded once."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return sig.return_type.call(builder, "fma", *args)

    return a(a, a, a), generate


def _operator(function: Callable[..., Any], instruction: str) -> None:
    """Teach Numba a binary operator on vectors."""

    @infer_global(function)
    class _Template(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], VectorType) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(function, VectorType, VectorType)  # type: ignore[untyped-decorator]
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=("contract",))


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_function, _instruction)


def _select(comparison: str) -> Callable[..., Any]:
    """Make the choice between two vectors, lane by lane, by an ordered comparison."""

    @intrinsic
    def where(typingctx: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.select(builder.fcmp_ordered(comparison, *args[:2]), *args[2:])

        return a(a, a, a, a), generate

    return where


# yes where a < b (a <= b), else no; a comparison with NaN is false, so "no" is the NaN's side
where_less = _select("<")
where_less_equal = _select("<=")


def _over_lanes(combine: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Make a reduction whose result stands in all lanes: log2(lanes) rotations, each combined."""

    @intrinsic
    def reduce(typingctx: Any, a: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vector, value = sig.return_type, args[0]
            integers = ir.VectorType(ir.IntType(32), vector.lanes)
            distance = vector.lanes // 2
            while distance:
                places = [(lane + distance) % vector.lanes for lane in range(vector.lanes)]
                turned = builder.shuffle_vector(value, value, ir.Constant(integers, places))
                value = combine(builder, value, turned)
                distance //= 2
            return value

        return a(a), generate

    return reduce


lane_sum = _over_lanes(lambda builder, a, b: builder.fadd(a, b))
# a NaN may be passed over
lane_max = _over_lanes(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), b, a))


@intrinsic
def first_lane(typingctx: Any, a: Any) -> Any:
    """Lane 0 as a number."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(args[0], ir.Constant(ir.IntType(32), 0))

    return a.dtype(a), generate


@intrinsic
def square_root(typingctx: Any, a: Any) -> Any:
    """Square root of each lane."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return sig.return_type.call(builder, "sqrt", *args)

    return a(a), generate


@intrinsic
def absolute(typingctx: Any, a: Any) -> Any:
    """Absolute value of each lane."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return sig.return_type.call(builder, "fabs", *args)

    return a(a), generate


@intrinsic
def copy_sign(typingctx: Any, a: Any, b: Any) -> Any:
    """Size of a, sign of b."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return sig.return_type.call(builder, "copysign", *args)

    return a(a, a), generate


@intrinsic
def round_to_integer(typingctx: Any, a: Any) -> Any:
    """The nearest whole number, as a float."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return sig.return_type.call(builder, "rint", *args)

    return a(a), generate


@intrinsic
def power_of_two(typingctx: Any, a: Any) -> Any:
    """2**a of whole numbers a in the range of normal exponents, without meaning elsewhere.

    The sum of 1.5 2**bits, the bias and a ends in the biased exponent's bits.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = sig.return_type
        bits, bias = (23, 127) if vector.dtype == types.float32 else (52, 1023)
        total = builder.fadd(args[0], vector.constant(1.5 * 2.0**bits + bias))
        integers = builder.bitcast(total, vector.llvm_integers)
        return builder.bitcast(builder.shl(integers, vector.integers(bits)), vector.llvm)

    return a(a), generate


@intrinsic
def split_exponent(typingctx: Any, a: Any) -> Any:
    """(m, e) with a = m 2**e and 1 <= m < 2, of normal positive a."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = sig.args[0]
        shift, bias = (23, 127) if vector.dtype == types.float32 else (52, 1023)
        bits = builder.bitcast(args[0], vector.llvm_integers)
        exponent = builder.sub(builder.lshr(bits, vector.integers(shift)), vector.integers(bias))
        fraction = builder.and_(bits, vector.integers((1 << shift) - 1))
        mantissa = builder.or_(fraction, vector.integers(bias << shift))
        parts = [builder.bitcast(mantissa, vector.llvm), builder.sitofp(exponent, vector.llvm)]
        return context.make_tuple(builder, sig.return_type, parts)

    return types.UniTuple(a, 2)(a), generate


# --------------------------------------------------------------------------------------------------
# exp, log1p, tanh: a range reduction and a Taylor polynomial, whose length follows from the dtype

LN2_HIGH = {types.float32: 0.693359375, types.float64: 0.693147180369123816490}
LN2_LOW = {types.float32: -2.12194440054690581e-4, types.float64: 1.90821492927058770002e-10}
EXP_TERMS = {types.float32: 7, types.float64: 13}
TANH_TERMS = {types.float32: 10, types.float64: 19}
ATANH_TERMS = {types.float32: 8, types.float64: 17}
# Beyond these exp is 0 or infinity in the dtype
EXP_RANGE = {types.float32: (-104.5, 89.5), types.float64: (-746.0, 710.5)}
# Logarithm of the smallest normal number
LEAST_NORMAL = {types.float32: -87.33654, types.float64: -708.396418532264}


def expm1_parts(x: Any) -> Any:
    """(p, n) with exp(x) = 2**n (1 + p): x = n ln 2 + r, p = exp(r) - 1, |r| <= ln(2) / 2."""


@overload(expm1_parts)
def _expm1_parts(x: Any) -> Any:
    ln2_high, ln2_low = LN2_HIGH[x.dtype], LN2_LOW[x.dtype]
    coefficients = tuple(1.0 / math.factorial(k) for k in range(EXP_TERMS[x.dtype], 1, -1))

    def parts(x: Any) -> Any:
        n = round_to_integer(x * splat(x, 1.4426950408889634))
        r = fma(n, splat(x, -ln2_low), fma(n, splat(x, -ln2_high), x))
        p = splat(x, coefficients[0])
        for c in coefficients[1:]:
            p = fma(p, r, splat(x, c))
        return fma(p * r, r, r), n

    return parts


def exp(x: Any) -> Any:
    """Exponential of each lane: 0 and infinity at the ends, NaN stays NaN."""


@overload(exp)
def _exp(x: Any) -> Any:
    low, high = EXP_RANGE[x.dtype]

    def exponential(x: Any) -> Any:
        x = where_less(x, splat(x, low), splat(x, low), x)
        x = where_less(splat(x, high), x, splat(x, high), x)
        p, n = expm1_parts(x)
        half = round_to_integer(n * splat(x, 0.5))
        # two factors: 2**n alone leaves the normal range before exp(x) does
        return fma(p, power_of_two(half), power_of_two(half)) * power_of_two(n - half)

    return exponential


def exp_nonpositive(x: Any) -> Any:
    """Exponential of lanes that are 0 or less; 0 where it would be below the normal numbers."""


@overload(exp_nonpositive)
def _exp_nonpositive(x: Any) -> Any:
    least = LEAST_NORMAL[x.dtype]

    def exponential(x: Any) -> Any:
        p, n = expm1_parts(x)
        power = power_of_two(n)
        return where_less(x, splat(x, least), splat(x, 0.0), fma(p, power, power))

    return exponential


def tanh_series(n: int) -> list[float]:
    """Coefficients of x, x**3, ... x**(2 n - 1) in tanh x, of which tanh' = 1 - tanh**2 is true."""
    found = [1.0]
    for k in range(1, n):
        square = sum(found[i] * found[k - 1 - i] for i in range(k))
        found.append(-square / (2 * k + 1))
    return found


@inner
def tanh(x: Any) -> Any:
    """Hyperbolic tangent of each lane.

    Its series up to 0.55; further out 1 - 2 e / (1 + e), e = exp(-2 |x|), whose quotient is less
    than a half.
    """
    size, one = absolute(x), splat(x, 1.0)
    size = where_less(splat(x, 22.0), size, splat(x, 22.0), size)
    p, n = expm1_parts(size * splat(x, -2.0))
    power = power_of_two(n)
    e = fma(p, power, power)
    far = one - (e + e) / (e + one)
    return copy_sign(where_less(splat(x, 0.55), size, far, near_tanh(x)), x)


def near_tanh(x: Any) -> Any:
    """The series of tanh, for |x| < 0.55."""


@overload(near_tanh)
def _near_tanh(x: Any) -> Any:
    coefficients = tuple(tanh_series(TANH_TERMS[x.dtype])[:0:-1])

    def series(x: Any) -> Any:
        square = x * x
        q = splat(x, coefficients[0])
        for c in coefficients[1:]:
            q = fma(q, square, splat(x, c))
        return fma(q * square, x, x)

    return series


def log1p(u: Any) -> Any:
    """log(1 + u) of lanes -0.3 <= u <= 1: 2 atanh(u / (2 + u)), as exact near 0 as at 1."""


@overload(log1p)
def _log1p(u: Any) -> Any:
    coefficients = tuple(2.0 / (2 * k + 1) for k in range(ATANH_TERMS[u.dtype], 0, -1))

    def series(u: Any) -> Any:
        s = u / (u + splat(u, 2.0))
        square = s * s
        p = splat(u, coefficients[0])
        for c in coefficients[1:]:
            p = fma(p, square, splat(u, c))
        return fma(p * square, s, s + s)

    return series


def ln2_parts(x: Any) -> Any:
    """Parts of ln 2 as a sum, the first with room for an exact product with an exponent."""


@overload(ln2_parts)
def _ln2_parts(x: Any) -> Any:
    high, low = LN2_HIGH[x.dtype], LN2_LOW[x.dtype]
    return lambda x: (splat(x, high), splat(x, low))


@inner
def log(x: Any) -> Any:
    """Natural logarithm of normal positive lanes; NaN where a lane is NaN or infinite."""
    mantissa, exponent = split_exponent(x)
    large = splat(x, 1.4142135623730951)
    exponent = where_less(large, mantissa, exponent + splat(x, 1.0), exponent)
    mantissa = where_less(large, mantissa, mantissa * splat(x, 0.5), mantissa)
    high, low = ln2_parts(x)
    small = fma(exponent, low, log1p(mantissa - splat(x, 1.0)))
    return fma(exponent, high, small) + x * splat(x, 0.0)
