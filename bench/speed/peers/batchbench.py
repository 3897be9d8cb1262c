"""batchbench's own engines, as a caller of `kernels.train` gets them."""

from __future__ import annotations

import os

import numpy as np

from bench.speed.peers import Params, Run, Work
from kernels import INSTRUCTION_SET, train


def prepare(work: Work) -> Run:
    """Train with one call: its checks are in its time, evaluations of a single sample too."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1

    def run(passes: int, _: bool) -> Params:
        result = train(
            work.network,
            work.params,
            work.X,
            work.y,
            batch_size=work.batch_size,
            learning_rate=work.learning_rate,
            epochs=passes,
            order=np.tile(work.order.ravel(), (passes, 1)),
            checkpoints=(),
            scored=(work.X[:1], work.y[:1]),
            threads=threads,
        )
        return np.asarray(result.params, dtype=np.float32)

    return run


def arithmetic() -> str:
    """Kernels of this project, for these instructions."""
    return f"own kernels, {INSTRUCTION_SET}"
