"""Random numbers of data and analysis, keyed by what they are for."""

from __future__ import annotations

import zlib

import numpy as np


def stream(purpose: str, *keys: int) -> np.random.Generator:
    """Return the generator for a purpose: the same whatever else was computed before."""
    words = (zlib.crc32(purpose.encode()), *keys)
    return np.random.default_rng(np.random.SeedSequence(words))
