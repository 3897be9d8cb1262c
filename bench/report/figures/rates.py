"""The coarse lattice of learning rates, which figures show where finer rates would only clutter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def coarse_rates(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rates with those between the powers of the square root of 2 as NaN; lists stay whole."""
    half_octaves = np.round(2 * np.log2(rates))
    lattice = 2.0 ** (half_octaves / 2)
    coarse = np.where(np.isclose(rates, lattice, rtol=1e-6), lattice, np.nan)
    return coarse if len(np.unique(coarse[~np.isnan(coarse)])) > 3 else rates
