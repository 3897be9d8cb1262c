"""Programs that train the same network: each a short file behind one small interface.

A peer is a module with `prepare(work) -> run`, where `run(passes, own_order)` trains from the
initial parameters and returns the parameters at the end. A program that shuffles the samples itself
does so with `own_order`, as for its users; others do not care. Where it has no such training,
`prepare` raises CannotDoError. A module may also have `arithmetic() -> str`: what computes its
products, where that is no BLAS that threadpoolctl knows.

To add a peer: its file, and its line in PEERS. `batchbench peers --peer my_kernel.py` times a file
without one; `example_kernel.py` is one to begin with.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from bench.problems import Problem
from kernels import Network, init_params

OURS = "batchbench"
Params = NDArray[np.float32]
Rates = float | NDArray[np.float32]
Targets = NDArray[np.int64] | NDArray[np.float32]
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
        float32, (n_params,): where every program starts; (n_runs, n_params) for many runs at once.
    X, y
        float32, (n, n_inputs); classes or targets as in a problem.
    order
        Indices into X, (updates, batch size): the batches of one pass, repeated in every pass; all
        runs share it.
    learning_rate
        The same for all updates; float32 (n_runs,) for many runs, one each.
    """

    network: Network
    params: Params
    X: NDArray[np.float32]
    y: Targets
    order: NDArray[np.int64]
    learning_rate: Rates

    @property
    def batch_size(self) -> int:
        """Samples per update."""
        return int(self.order.shape[1])

    @property
    def many(self) -> bool:
        """Whether many runs are trained at once."""
        return self.params.ndim == 2

    @property
    def targets(self) -> NDArray[np.float32]:
        """Targets of a sigmoid or linear output, (n, n_outputs)."""
        return self.y.astype(np.float32).reshape(len(self.y), -1)

    def rates(self, ndim: int) -> Rates:
        """Return the learning rate to be multiplied by an array of that many axes, runs first."""
        if not self.many:
            return self.learning_rate
        return np.reshape(self.learning_rate, (-1,) + (1,) * (ndim - 1))


class Program(Protocol):
    """What can be timed."""

    def prepare(self, work: Work) -> Run:
        """Make ready to train; raise CannotDoError where the program has no such training."""


class Peer(NamedTuple):
    """A program: where its file is, and the package that it needs.

    Parameters
    ----------
    module, needs
        To be imported.
    distribution
        That has the package, where that is of another name.
    in_studies
        Whether studies time it too.
    """

    module: str
    needs: str
    distribution: str = ""
    in_studies: bool = True

    @property
    def installed(self) -> bool:
        """Whether the package is there; it is not imported to know."""
        return importlib.util.find_spec(self.needs) is not None

    def prepare(self, work: Work) -> Run:
        """Make ready to train; raise CannotDoError where the program has no such training."""
        return cast(Run, importlib.import_module(self.module).prepare(work))

    def arithmetic(self) -> str | None:
        """Return what computes its products; None where it is a BLAS to be found out."""
        tell = getattr(importlib.import_module(self.module), "arithmetic", None)
        return None if tell is None else str(tell())


PEERS = {
    OURS: Peer("bench.speed.peers.batchbench", "numba", "batchbench"),
    "NumPy": Peer("bench.speed.peers.numpy_products", "numpy", in_studies=False),
    "scikit-learn": Peer("bench.speed.peers.scikit_learn", "sklearn", "scikit-learn"),
    "PyTorch": Peer("bench.speed.peers.pytorch", "torch"),
    "PyTorch compiled": Peer("bench.speed.peers.pytorch_compiled", "torch", in_studies=False),
    "JAX": Peer("bench.speed.peers.jax_scan", "jax"),
}


@dataclass(frozen=True)
class OwnPeer:
    """A user's file as a program: `prepare(work) -> run`, as the peers here have it."""

    path: Path

    @cached_property
    def module(self) -> ModuleType:
        """The file, run as a module; files beside it can be imported, as if it were started."""
        sys.path.insert(0, str(self.path.parent))
        spec = importlib.util.spec_from_file_location(self.path.stem, self.path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{self.path.name} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    def prepare(self, work: Work) -> Run:
        """Make ready to train."""
        if not callable(getattr(self.module, "prepare", None)):
            raise TypeError("it has no function prepare(work)")
        run = self.module.prepare(work)
        if not callable(run):
            raise TypeError(
                f"prepare(work) must return a function run(passes, own_order), "
                f"got {type(run).__name__}"
            )
        return cast(Run, run)


def program_of(name: str) -> Program:
    """Return the program of a name in PEERS, or of a path that ends in .py."""
    return OwnPeer(Path(name)) if name.endswith(".py") else PEERS[name]


def start_of(problem: Problem) -> Params:
    """Return the parameters that every program starts from: seed 0's."""
    params = init_params(problem.network, seed=0, scheme=problem.scheme, dtype=np.float32)
    return np.asarray(params, dtype=np.float32)


def flatten(layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Params:
    """Lay out W (n_out, n_in) and b (n_out,) of each layer as the flat vector that kernels use.

    Of many runs, n_runs comes first in all of them, and in what is returned.
    """
    runs = layers[0][1].shape[:-1]
    parts = [part.reshape(*runs, -1) for layer in layers for part in layer]
    return np.concatenate(parts, axis=-1, dtype=np.float32)
