"""Programs that train the same network: each a short file behind one small interface.

A peer is a module with `prepare(work) -> run`, where `run(passes, own_order)` trains from the
initial parameters and returns the parameters at the end. A program that shuffles the samples itself
does so with `own_order`, as for its users; others do not care. To add a peer: its file, and its
line in PEERS.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from bench.problems import Problem
from kernels import Network, init_params

Params = NDArray[np.float32]
Run = Callable[[int, bool], Params]


class CannotDoError(Exception):
    """A program cannot do this work, or not the same work: the message tells why."""


@dataclass(frozen=True)
class Work:
    """What every program is asked to do: plain SGD on float32, update by update.

    Parameters
    ----------
    network
        What is trained.
    params
        float32, (n_params,): where every program starts.
    X, y
        float32, (n, n_inputs); classes or targets as in a problem.
    order
        Indices into X, (updates, batch size): the batches of one pass, repeated in every pass.
    learning_rate
        The same for all updates.
    """

    network: Network
    params: Params
    X: NDArray[np.float32]
    y: NDArray[np.int64] | NDArray[np.float32]
    order: NDArray[np.int64]
    learning_rate: float

    @property
    def batch_size(self) -> int:
        """Samples per update."""
        return int(self.order.shape[1])

    @property
    def targets(self) -> NDArray[np.float32]:
        """Targets of a sigmoid or linear output, (n, n_outputs)."""
        return self.y.astype(np.float32).reshape(len(self.y), -1)


class Peer(NamedTuple):
    """Where a program's file is, and the package that it needs."""

    module: str
    needs: str

    @property
    def installed(self) -> bool:
        """Whether the package is there; it is not imported to know."""
        return importlib.util.find_spec(self.needs) is not None

    def prepare(self, work: Work) -> Run:
        """Make ready to train; raise CannotDoError where the program has no such training."""
        return cast(Run, importlib.import_module(self.module).prepare(work))


PEERS = {
    "batchbench": Peer("bench.speed.peers.batchbench", "numba"),
    "scikit-learn": Peer("bench.speed.peers.scikit_learn", "sklearn"),
    "PyTorch": Peer("bench.speed.peers.pytorch", "torch"),
    "JAX": Peer("bench.speed.peers.jax_scan", "jax"),
}


def start_of(problem: Problem) -> Params:
    """Return the parameters that every program starts from: seed 0's."""
    params = init_params(problem.network, seed=0, scheme=problem.scheme, dtype=np.float32)
    return np.asarray(params, dtype=np.float32)


def flatten(layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Params:
    """Lay out (W (n_out, n_in), b (n_out,)) of each layer as the flat vector that kernels use."""
    return np.concatenate([part.ravel() for layer in layers for part in layer], dtype=np.float32)
