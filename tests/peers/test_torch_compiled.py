"""Compiled PyTorch does the same training as our engine, of one run and of many at once."""

from __future__ import annotations

import numpy as np
import pytest

from bench.speed.peers import PEERS, CannotDoError
from bench.speed.seconds import AGREEMENT, distance
from bench.speed.subject import Subject
from kernels import Network, init_params

NAME = "PyTorch compiled"
pytestmark = pytest.mark.skipif(not PEERS[NAME].installed, reason="PyTorch is not installed")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what it imports to compile
@pytest.mark.parametrize("runs", [0, 3])
def test_compiled_training_ends_where_ours_does(runs: int) -> None:
    """Compiled updates end at our parameters, to rounding, or the missing compiler is told."""
    rng = np.random.default_rng(3)
    network = Network((4, 5, 3), output="softmax", loss="ce")
    params = np.asarray(init_params(network, size=runs or None), np.float32)
    rates = np.geomspace(0.01, 0.2, runs).astype(np.float32) if runs else 0.1
    X, y = rng.standard_normal((11, 4), dtype=np.float32), rng.integers(0, 3, 11)
    work = Subject(network, params, X, y, rates).work(4, 6)
    try:
        theirs = PEERS[NAME].prepare(work)(2, False)
    except CannotDoError as reason:
        pytest.skip(str(reason))
    ours = PEERS["batchbench"].prepare(work)(2, False)
    assert distance(theirs, ours, params) < AGREEMENT / 10


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no C++ compiler is found, the program is left out with that reason."""
    network = Network((4, 5, 3), output="softmax", loss="ce")
    X, y = np.zeros((3, 4), np.float32), np.zeros(3, np.int64)
    work = Subject(network, init_params(network).astype(np.float32), X, y).work(1)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(CannotDoError, match=r"no C\+\+ compiler"):
        PEERS[NAME].prepare(work)
