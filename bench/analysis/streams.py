"""Random numbers of the analysis, keyed by what they are for."""

from __future__ import annotations

import zlib

import numpy as np

from bench.problems import Problem


def stream(problem: Problem, purpose: str, *keys: int) -> np.random.Generator:
    """Return the generator for a purpose in a study: the same whatever else was computed before."""
    words = (zlib.crc32(problem.name.encode()), zlib.crc32(purpose.encode()), *keys)
    return np.random.default_rng(np.random.SeedSequence(words))
