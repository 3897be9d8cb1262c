"""What public functions accept, brought to the one form that the kernels read.

Numba reads outside arrays in silence: shapes, labels and indices are checked here, before any
kernel runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.network import FloatArray, Network
from kernels.updates import RULES, Rule

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def check_params(network: Network, params: ArrayLike) -> FloatArray:
    """Params (n_params,) or (n_runs, n_params), C-ordered, float32 or float64.

    Integers become float64. NaN and infinity are allowed: such a run is diverged.
    """
    values = np.asarray(params)
    if values.dtype.kind in "iub":
        values = values.astype(np.float64)
    if values.dtype not in DTYPES:
        raise TypeError(f"params must be float32 or float64, got {values.dtype}: use .astype(...)")
    if values.ndim not in (1, 2) or values.shape[-1] != network.n_params or not values.size:
        raise ValueError(
            f"params must have shape ({network.n_params},) or (n_runs, {network.n_params}) for "
            f"widths {network.widths}, got {values.shape}: see init_params"
        )
    return np.ascontiguousarray(values)


def check_inputs(
    network: Network, X: ArrayLike, dtype: np.dtype[Any], name: str = "X"
) -> FloatArray:
    """Inputs (n, n_inputs), finite, C-ordered, of the parameters' dtype."""
    values = np.asarray(X)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got dtype {values.dtype}")
    if values.ndim != 2 or values.shape[1] != network.n_inputs:
        hint = f": use {name}.reshape(1, -1) for one sample" if values.ndim == 1 else ""
        raise ValueError(
            f"{name} must have shape (n, {network.n_inputs}) for widths {network.widths}, "
            f"got {values.shape}{hint}"
        )
    if not len(values):
        raise ValueError(f"{name} has no rows: at least one sample is needed")
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(values, dtype=dtype)
    _refuse_non_finite(cast, values, name)
    return cast


def check_targets(
    network: Network, y: ArrayLike, n: int, dtype: np.dtype[Any], name: str = "y"
) -> FloatArray:
    """Targets as a matrix (n, n_outputs): one-hot rows for the classes of a softmax output.

    y holds classes or targets (n,), or targets (n, n_outputs); any integer dtype and bool will do.
    """
    values = np.asarray(y)
    if values.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} must hold numbers, got dtype {values.dtype}: "
            "use numpy.unique(y, return_inverse=True) for named classes"
        )
    k = network.n_outputs
    if values.ndim not in (1, 2) or len(values) != n:
        raise ValueError(f"{name} must have {n} rows like its inputs, got shape {values.shape}")
    if values.ndim == 2 and values.shape[1] != k:
        hint = f": use {name}.ravel()" if values.shape[1] == 1 else ""
        raise ValueError(
            f"{name} must have shape ({n},) or ({n}, {k}) for {k} outputs, got {values.shape}{hint}"
        )
    if values.ndim == 1 and network.output == "softmax":
        return _one_hot(values, k, dtype, name)
    if values.ndim == 1 and k > 1:
        raise ValueError(f"{name} must have shape ({n}, {k}) for {k} outputs, got {values.shape}")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(values.reshape(n, k), dtype=dtype)
    _refuse_non_finite(matrix, values, name)
    if network.is_classifier and ((matrix < 0) | (matrix > 1)).any():
        raise ValueError(f"{name} must lie in 0..1 for a {network.output} output")
    if network.output == "softmax" and (np.abs(matrix.sum(axis=1) - 1) > 1e-4).any():
        raise ValueError(f"each row of {name} must sum to 1 for a softmax output")
    return matrix


def _one_hot(classes: NDArray[Any], k: int, dtype: np.dtype[Any], name: str) -> FloatArray:
    """Rows with a one at the class; `classes` (n,) whole numbers in 0..k-1."""
    _refuse_non_finite(classes, classes, name)
    wrong = (classes < 0) | (classes >= k) | (classes != np.floor(classes))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{name} must hold classes 0..{k - 1} for {k} outputs, got {classes[row]} in row {row}"
        )
    matrix = np.zeros((len(classes), k), dtype)
    matrix[np.arange(len(classes)), classes.astype(np.int64)] = 1
    return matrix


def _refuse_non_finite(cast: NDArray[Any], given: NDArray[Any], name: str) -> None:
    """Raise where an array holds NaN or infinity, or did before or after the cast."""
    if cast.dtype.kind != "f" or np.isfinite(cast).all():
        return
    row = int(np.argwhere(~np.isfinite(cast))[0, 0])
    if given.dtype.kind == "f" and not np.isfinite(given[row]).all():
        raise ValueError(f"{name} holds NaN or infinity in row {row}: drop or fill such samples")
    raise ValueError(f"{name} is too large for {cast.dtype} in row {row}: scale it, or use float64")


def check_rates(learning_rate: ArrayLike, dtype: np.dtype[Any]) -> FloatArray:
    """Learning rates, () or (n_runs,), finite and 0 or more."""
    rates = np.asarray(learning_rate)
    if rates.dtype.kind not in "fiu":
        raise TypeError(f"learning_rate must be a number or numbers, got {learning_rate!r}")
    if rates.ndim > 1 or not rates.size:
        raise ValueError(f"learning_rate must be a number or (n_runs,), got shape {rates.shape}")
    with np.errstate(over="ignore"):
        cast = np.asarray(rates, dtype=dtype)
    if not np.isfinite(rates).all() or (rates < 0).any():
        raise ValueError(f"learning_rate must be finite and 0 or more, got {learning_rate!r}")
    if not np.isfinite(cast).all():
        raise ValueError(f"learning_rate is too large for {dtype}: {rates.max():g}")
    return cast


def whole_number(name: str, value: Any, least: int) -> int:
    """A whole number of `least` or more; 3.0 will do for 3, a bool for nothing."""
    number = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not number or not value >= least or value % 1:
        raise ValueError(f"{name} must be a whole number of {least} or more, got {value!r}")
    return int(value)


def check_batch_size(batch_size: int | str, n: int, m: int) -> int:
    """Batch size of an epoch that visits m of n samples: "full" is m, whatever is above n is n."""
    if isinstance(batch_size, str) and batch_size == "full":
        return m
    try:
        return min(whole_number("batch_size", batch_size, 1), n, m)
    except ValueError:
        raise ValueError(
            f'batch_size must be a whole number of 1 or more, or "full", got {batch_size!r}'
        ) from None


def check_rule(rule: str | Rule) -> Rule:
    """The rule of a name, or a rule whose parameters are in range."""
    if isinstance(rule, str) and rule in RULES:
        return RULES[rule]
    if not isinstance(rule, Rule):
        names = ", ".join(RULES)
        raise ValueError(
            f"rule must be one of {names}, or such as Momentum(beta=0.9), got {rule!r}"
        )
    kind = type(rule).__name__
    for name, value in rule._asdict().items():
        number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
        if name == "epsilon":
            if not number or not 0 < value < np.inf:
                raise ValueError(f"{name} of {kind} must be a finite number above 0, got {value!r}")
        elif not number or not 0 <= value < 1:
            raise ValueError(f"{name} of {kind} must be a number in 0 <= {name} < 1, got {value!r}")
    return type(rule)(*map(float, rule))


def check_order(order: ArrayLike, n: int, epochs: int) -> NDArray[np.int64]:
    """Indices (epochs, m) into n samples; repetitions are allowed, negative ones are not."""
    values = np.asarray(order)
    if values.dtype.kind not in "iu":
        raise TypeError(f"order must hold whole numbers, got dtype {values.dtype}")
    if values.ndim != 2 or len(values) != epochs or values.shape[1] < 1:
        raise ValueError(
            f"order must have shape (epochs, m) = ({epochs}, m) with m of 1 or more, "
            f"got {values.shape}"
        )
    if values.size and (values.min() < 0 or values.max() >= n):
        raise ValueError(
            f"order must hold indices 0..{n - 1} of the {n} samples, "
            f"got {values.min()}..{values.max()}"
        )
    return np.ascontiguousarray(values, dtype=np.int64)
