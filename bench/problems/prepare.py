"""From a table of numbers to a split, standardized problem."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]

TEST_SHARE = 0.2
SPLIT_SEED = 0
# A column whose standard deviation is below this share of its largest value holds rounding only
CONSTANT = 1e-12


def split(
    n: int, classes: NDArray[np.int64] | None, test_size: float = TEST_SHARE
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row numbers of the training and of the test split.

    Parameters
    ----------
    n
        Number of rows.
    classes
        (n,) labels to stratify by; None for a regression.
    test_size
        Share of the rows that is held out.
    """
    from sklearn.model_selection import train_test_split  # takes a second to import

    train, test = train_test_split(
        np.arange(n), test_size=test_size, random_state=SPLIT_SEED, stratify=classes
    )
    return train, test


def standardize(
    train: Table, test: Table, names: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[str, ...]]:
    """Standardize both splits by the training split's means and deviations.

    Parameters
    ----------
    train, test
        (n_train, d) and (n_test, d).
    names
        Of the d columns.

    Returns
    -------
    train, test
        float32, the same shapes. Near-constant columns are centred and divided by 1.
    preparation
        What was done, a sentence each.
    """
    mean = train.mean(axis=0)
    deviation = train.std(axis=0)
    constant = deviation <= CONSTANT * np.abs(train).max(axis=0)
    scale = np.where(constant, 1.0, deviation)
    told = ["Each column is standardized by the training split's mean and standard deviation."]
    if constant.any():
        listed = ", ".join(name for name, flat in zip(names, constant, strict=True) if flat)
        told.append(f"Near-constant columns are centred only, not scaled: {listed}.")
    scaled = [((part - mean) / scale).astype(np.float32) for part in (train, test)]
    return scaled[0], scaled[1], tuple(told)
