"""Compile both engines before anything is timed, side by side: each takes many seconds.

Numba compiles in one thread at a time, so the single run's kernels are compiled by a process of
their own, which leaves them on disk: `python -m bench.speed.warm_up`, with `training` for those
alone that a study times.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.speed.cases import LANES
from bench.speed.process import end_with_parent
from kernels import Network, forward, init_params, loss_and_gradient, train
from kernels.jit import CACHE_FOLDER
from kernels.layout import CHUNK

ROOT = Path(__file__).resolve().parents[2]
# A network too large to be unrolled, and samples for batches in a chunk and for a larger one
NETWORK = Network((4, 32, 3), output="softmax", loss="ce")
PARAMS = init_params(NETWORK, 0, dtype=np.float32)
X, y = np.zeros((2 * CHUNK, 4), np.float32), np.zeros(2 * CHUNK, np.int64)
BATCH_SIZES = (1, 2 * CHUNK)


def compile_block() -> None:
    """Compile what trains and evaluates a block of runs."""
    _train(np.full(LANES, 0.1))


def compile_training() -> None:
    """Compile what trains and evaluates one run."""
    _train(0.1)


def compile_single() -> None:
    """Compile what the public functions need for one run."""
    compile_training()
    loss_and_gradient(NETWORK, PARAMS, X, y)
    forward(NETWORK, PARAMS, X)


def _train(rates: float | np.ndarray) -> None:
    for size in BATCH_SIZES:
        train(NETWORK, PARAMS, X, y, batch_size=size, learning_rate=rates, epochs=1)


def compile_all() -> float:
    """Compile all that benchmarks and studies need; return the seconds that it took."""
    start = time.perf_counter()
    with single_meanwhile():
        compile_block()
    return time.perf_counter() - start


@contextmanager
def single_meanwhile(*what: str) -> Iterator[None]:
    """Compile what one run needs in another process while this one does something else.

    Parameters
    ----------
    *what
        "training" for training alone; nothing for all public functions.
    """
    command = [sys.executable, "-m", "bench.speed.warm_up", *what]
    # Its own session: Ctrl-C is ours to handle
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True
    ) as other:
        try:
            yield
        except BaseException:
            other.kill()
            raise
        other.wait()
    if other.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {other.returncode}")


def nothing_compiled() -> bool:
    """Whether no kernel is kept on disk yet, but could be."""
    return CACHE_FOLDER is not None and not any(CACHE_FOLDER.rglob("*.nbi"))


if __name__ == "__main__":
    end_with_parent()
    {"": compile_single, "training": compile_training}["".join(sys.argv[1:])]()
