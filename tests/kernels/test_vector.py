"""Vectors: exp, log, log1p and tanh to 2 ulp, the ends of their ranges, and selections."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from kernel_examples import assert_same_bits

from kernels.jit import jit
from kernels.memory import as_memory, part
from kernels.vector import (
    exp,
    exp_nonpositive,
    fma,
    lane_max,
    lane_sum,
    lanes,
    load,
    log,
    log1p,
    power_of_two,
    split_exponent,
    store,
    tanh,
    tanh_series,
    where_less,
    where_less_equal,
)

DTYPES = (np.float32, np.float64)
EXP, LOG, LOG1P, TANH, EXP_NONPOSITIVE = range(5)
LANES = 16  # a multiple of every vector's lanes
INF, NAN = np.inf, np.nan


@jit
def _functions(x: Any, out: Any) -> None:
    """Rows of out (5 * n,): exp, log, log1p, tanh and exp_nonpositive of x (n,)."""
    source, rows = as_memory(x), as_memory(out)
    n = source.size
    for p in range(0, n, lanes(source)):
        v = load(source, p)
        store(part(rows, 0, n), p, exp(v))
        store(part(rows, n, n), p, log(v))
        store(part(rows, 2 * n, n), p, log1p(v))
        store(part(rows, 3 * n, n), p, tanh(v))
        store(part(rows, 4 * n, n), p, exp_nonpositive(v))


@jit
def _others(x: Any, out: Any) -> None:
    """Rows of out (8 * n,) for x (3 * n,) = a, b, c, n numbers that fill vectors each."""
    source, rows = as_memory(x), as_memory(out)
    n = source.size // 3
    for p in range(0, n, lanes(source)):
        a, b, c = load(source, p), load(source, n + p), load(source, 2 * n + p)
        mantissa, exponent = split_exponent(a)
        store(rows, p, fma(a, b, c))
        store(rows, n + p, where_less(a, b, c, a))
        store(rows, 2 * n + p, where_less_equal(a, b, c, a))
        store(rows, 3 * n + p, mantissa)
        store(rows, 4 * n + p, exponent)
        store(rows, 5 * n + p, power_of_two(exponent))
        store(rows, 6 * n + p, lane_sum(a))
        store(rows, 7 * n + p, lane_max(a))


def apply(function: int, x: Any, dtype: Any) -> Any:
    """Return a function of each number of x, (n,), computed in vectors."""
    values = np.asarray(x, dtype=dtype).reshape(-1)
    padded = np.ones(-(-len(values) // LANES) * LANES, dtype)
    padded[: len(values)] = values
    out = np.zeros(5 * len(padded), dtype)
    _functions(padded, out)
    return out.reshape(5, -1)[function, : len(values)]


def others(a: Any, b: Any, c: Any, dtype: Any) -> Any:
    """Return the rows of `_others` for numbers, each in all lanes of one vector or more."""
    x = np.repeat(np.array([a, b, c], dtype), LANES)
    out = np.zeros(8 * LANES, dtype)
    _others(x, out)
    return out.reshape(8, LANES)[:, 0]


# Near the exact value: float32 against NumPy's float64, float64 against decimals


def _exact_tanh(x: Decimal) -> Decimal:
    if abs(x) < Decimal("1e-20"):
        return x
    if abs(x) > 1000:
        return Decimal(1).copy_sign(x)
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


EXACT: dict[int, Callable[[Decimal], Decimal]] = {
    EXP: lambda x: x.exp(),
    LOG: lambda x: x.ln(),
    LOG1P: lambda x: x if abs(x) < Decimal("1e-30") else (1 + x).ln(),
    TANH: _exact_tanh,
    EXP_NONPOSITIVE: lambda x: x.exp(),
}
NUMPY: dict[int, Callable[[Any], Any]] = {
    EXP: np.exp,
    LOG: np.log,
    LOG1P: np.log1p,
    TANH: np.tanh,
    EXP_NONPOSITIVE: np.exp,
}


MOST_UNITS = 2.0  # of the last place


def arguments(function: int, dtype: Any, n: int) -> Any:
    """Random numbers over the whole range of a function, dense where it is hard."""
    rng = np.random.default_rng(function)
    info = np.finfo(dtype)
    tiny, largest = float(info.smallest_normal), float(info.max)
    small = np.exp(rng.uniform(np.log(tiny), 0, n)) * rng.choice([-1, 1], n)
    if function == EXP:
        # below log(tiny) results are subnormal; above the last argument they are infinite
        ends = np.log(float(info.smallest_subnormal)) + 1e-3, np.log(largest) - 1e-3
        values = [rng.uniform(*ends, n), rng.normal(size=n), small]
    elif function == EXP_NONPOSITIVE:
        values = [rng.uniform(np.log(tiny) * (1 - 1e-7), 0, n), -abs(small), [-0.0, 0]]
    elif function == LOG:
        powers = 2.0 ** rng.uniform(info.minexp, info.maxexp - 1e-9, n)
        values = [powers, rng.uniform(0.5, 2, n), 1 + small * 1e-2]
    elif function == LOG1P:
        values = [rng.uniform(0, 1, n), abs(small), [float(info.smallest_subnormal), 0, 1]]
    else:
        values = [rng.uniform(-25, 25, n), rng.normal(size=n), small, [largest, -largest]]
    return np.concatenate(values).astype(dtype)


def test_the_series_of_tanh_is_the_known_one() -> None:
    """Coefficients 1, -1/3, 2/15, -17/315 (Abramowitz & Stegun 4.5.64)."""
    assert tanh_series(4) == pytest.approx([1, -1 / 3, 2 / 15, -17 / 315], rel=1e-15)


@pytest.mark.parametrize("function", EXACT)
def test_float32_functions_are_within_2_ulp(function: int) -> None:
    """Over the whole range, subnormal results included, float32 is within 2 units."""
    x = arguments(function, np.float32, 200_000)
    exact = NUMPY[function](x.astype(np.float64))
    unit = np.spacing(abs(exact).astype(np.float32)).astype(np.float64)
    assert np.max(abs(apply(function, x, np.float32) - exact) / unit) <= MOST_UNITS


@pytest.mark.parametrize("function", EXACT)
def test_float64_functions_are_within_2_ulp(function: int) -> None:
    """Over the whole range, subnormal results included, float64 is within 2 units."""
    x = arguments(function, np.float64, 1500)
    actual = apply(function, x, np.float64)
    most = Decimal(MOST_UNITS)
    with localcontext() as context:
        context.prec = 60
        for argument, value in zip(x, actual, strict=True):
            exact = EXACT[function](Decimal(float(argument)))
            unit = Decimal(float(np.spacing(abs(float(exact)))))
            assert abs(Decimal(float(value)) - exact) <= most * unit, argument


# The ends


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_at_the_ends(dtype: Any) -> None:
    """Far below exp is 0, far above infinite; it is 1 at 0 and NaN of NaN."""
    x = [-INF, -1e30, -800, 0, -0.0, 800, 1e30, INF, NAN]
    np.testing.assert_array_equal(apply(EXP, x, dtype), [0, 0, 0, 1, 1, INF, INF, INF, NAN])


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_of_the_largest_argument_is_finite(dtype: Any) -> None:
    """Just below log(largest) exp is still finite, and just above it is infinite."""
    last = dtype(np.log(np.finfo(dtype).max))
    below = np.nextafter(last, dtype(0))
    above = last + dtype(4) * np.spacing(last)
    assert np.isfinite(apply(EXP, [below], dtype)).all()
    assert np.isposinf(apply(EXP, [above], dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_reaches_subnormal_results(dtype: Any) -> None:
    """Halfway between the smallest normal and the smallest subnormal, exp is subnormal, not 0."""
    info = np.finfo(dtype)
    middle = (np.log(float(info.smallest_normal)) + np.log(float(info.smallest_subnormal))) / 2
    (value,) = apply(EXP, [middle], dtype)
    assert info.smallest_subnormal < value < info.smallest_normal


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_of_what_is_not_positive_has_no_subnormal_results(dtype: Any) -> None:
    """Just above the logarithm of the smallest normal number it is normal, just below it is 0."""
    least = dtype(np.log(float(np.finfo(dtype).smallest_normal)))
    x = [least * dtype(1 - 1e-6), least * dtype(1 + 1e-6), -1e30, -INF, NAN]
    first, *others = apply(EXP_NONPOSITIVE, x, dtype)
    assert first >= np.finfo(dtype).smallest_normal
    np.testing.assert_array_equal(others, [0, 0, 0, NAN])


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_at_the_ends(dtype: Any) -> None:
    """Tanh is 1 far out on either side, keeps the sign of zero, and is NaN of NaN."""
    x = np.array([-INF, -1e30, -50, -0.0, 0, 50, 1e30, INF], dtype)
    assert_same_bits(apply(TANH, x, dtype), np.array([-1, -1, -1, -0.0, 0, 1, 1, 1], dtype))
    assert np.isnan(apply(TANH, [NAN], dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd_and_never_beyond_1(dtype: Any) -> None:
    """tanh(-x) = -tanh(x) to the bit, and no rounding lifts it above 1."""
    x = arguments(TANH, dtype, 10_000)
    positive = apply(TANH, abs(x), dtype)
    assert_same_bits(apply(TANH, -abs(x), dtype), -positive)
    assert positive.max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_at_the_ends(dtype: Any) -> None:
    """log1p keeps 0 and NaN as they are."""
    np.testing.assert_array_equal(apply(LOG1P, [0, NAN], dtype), [0, NAN])


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_of_one_and_of_what_is_no_number(dtype: Any) -> None:
    """log(1) is 0 exactly; NaN and infinity, which no sound sum holds, give NaN."""
    np.testing.assert_array_equal(apply(LOG, [1, NAN, INF], dtype), [0, NAN, NAN])


# Fused multiply-add, selections and reductions


@pytest.mark.parametrize("dtype", DTYPES)
def test_fma_is_rounded_once(dtype: Any) -> None:
    """(1 + eps)(1 - eps) - 1 is -eps^2, which a product rounded first would lose."""
    eps = float(np.finfo(dtype).eps)
    assert others(1 + eps, 1 - eps, -1, dtype)[0] == -(eps**2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("a", "b", "less", "less_equal"),
    [(1, 2, True, True), (2, 2, False, True), (3, 2, False, False), (INF, NAN, False, False)],
)
def test_selections_compare_as_ordered(
    a: float, b: float, less: bool, less_equal: bool, dtype: Any
) -> None:
    """A selection gives "yes" where the comparison holds; with NaN it never does."""
    rows = others(a, b, 7, dtype)
    assert rows[1] == (7 if less else a)
    assert rows[2] == (7 if less_equal else a)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_is_on_the_no_side_of_a_selection(dtype: Any) -> None:
    """Where a is NaN, "no" is given: ReLU written with "no" = z lets NaN pass."""
    assert np.isnan(others(NAN, 0, 7, dtype)[1:3]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [1.0, 1.5, 2.0**-126, 3e38, 0.1])
def test_split_exponent_takes_a_number_apart(value: float, dtype: Any) -> None:
    """The mantissa lies in 1 <= m < 2, and m 2^e is the number, exactly."""
    _, _, _, mantissa, exponent, power, _, _ = others(value, 0, 0, dtype)
    assert 1 <= mantissa < 2
    assert power == 2.0**exponent
    assert mantissa * power == dtype(value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions_go_over_all_lanes(dtype: Any) -> None:
    """The sum of 1, 2, .. L over L lanes is L (L + 1) / 2, and the largest is L."""
    n = lanes_of(dtype)
    out = np.zeros(8 * n, dtype)
    _others(np.tile(np.arange(1, n + 1), 3).astype(dtype), out)
    rows = out.reshape(8, n)
    assert (rows[6, :n] == n * (n + 1) / 2).all()
    assert (rows[7, :n] == n).all()


def lanes_of(dtype: Any) -> int:
    """Return the number of lanes of a dtype."""
    return int(_count_lanes(np.zeros(1, dtype)))


@jit
def _count_lanes(x: Any) -> Any:
    return lanes(as_memory(x))
