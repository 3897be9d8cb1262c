"""With NUMBA_BOUNDSCHECK=1 every access of the kernels is checked: none lies outside its memory.

LLVM does not optimize here: it takes two thirds of the time to compile checked kernels, and may
only leave out accesses, never add one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Shapes at the edges: widths of 1, of whole vectors and just above; ragged batches and chunks
SOUND = """
import numpy as np
from kernels import (
    Network, evaluate, forward, init_params, loss_and_gradient, per_sample_gradients, train,
)

PAIRS = [("sigmoid", "bce"), ("sigmoid", "half_mse"), ("softmax", "ce"), ("linear", "half_mse")]
WIDTHS = [(1, 2), (2, 2, 2), (17, 3, 17, 2), (16, 33, 18)]
rng = np.random.default_rng(0)
calls = 0
for widths in WIDTHS:
    for output, cost in PAIRS:
        network = Network(widths, "relu", output, cost)
        for n in (1, 16, 35):
            X = rng.normal(size=(n, widths[0]))
            y = rng.integers(2, size=(n, widths[-1]))
            if output == "softmax":
                y = rng.integers(widths[-1], size=n)
            for runs in (None, 1, 17):
                params = init_params(network, 0, dtype=np.float32, size=runs)
                for batch_size in (1, 3, 16, 17, "full"):
                    for rule in ("sgd", "momentum"):  # all four ways of training
                        train(
                            network, params, X, y, batch_size=batch_size, learning_rate=0.1,
                            epochs=2, rule=rule, checkpoints=(0, n // 2, n), keep_params=True,
                        )
                        calls += 1
                evaluate(network, params, X, y)
            params = init_params(network, 0, dtype=np.float32)
            forward(network, params, X)
            loss_and_gradient(network, params, X, y)
            per_sample_gradients(network, params, X, y)
print(calls)
"""

PLANTED = """
import numpy as np
from kernels.jit import jit
from kernels.memory import as_memory, part
from kernels.product import Scalars, Vectors, add_product
from kernels.vector import lanes, load, store

@jit
def get(x, i):
    return as_memory(x)[i]

@jit
def put(x, i):
    as_memory(x)[i] = 1.0

@jit
def get_vector(x, i):
    memory = as_memory(x)
    store(memory, 0, load(memory, i))

@jit
def put_vector(x, i):
    memory = as_memory(x)
    store(memory, i, load(memory, 0))

@jit
def get_in_part(x, i):
    return part(as_memory(x), 10, 20)[i]

@jit
def take_part(x, start, size):
    return part(as_memory(x), start, size).size

@jit
def multiply(x, m):
    memory = as_memory(x)
    L = lanes(memory)
    C = Vectors(memory, 0, L, L)
    add_product(C, Scalars(memory, 0, 0, 0), C, m, 1, 1)

def refuses(function, *arguments):
    try:
        function(*arguments)
    except IndexError:
        return True
    return False

x = np.zeros(64, np.float32)
L = 64 // 4  # lanes of the widest vector
cases = {
    "read": (get, x, 64),
    "read before the start": (get, x, -1),
    "write": (put, x, 64),
    "read of a vector": (get_vector, x, 61),
    "read of a vector before the start": (get_vector, x, -1),
    "write of a vector": (put_vector, x, 61),
    "read beyond a part": (get_in_part, x, 20),
    "part beyond its whole": (take_part, x, 60, 5),
    "part before its whole": (take_part, x, -1, 5),
    "product": (multiply, x, 20),
}
sound = [(get, x, 63), (put, x, 63), (get_vector, x, 48), (put_vector, x, 48),
         (get_in_part, x, 19), (take_part, x, 60, 4), (take_part, x, 64, 0), (multiply, x, 4)]
print([name for name, call in cases.items() if not refuses(*call)])
print([call[0].__name__ for call in sound if refuses(*call)])
"""

WRONG_INDEX = """
import numpy as np
from kernels import Network, init_params
from kernels.engine import choose_packing, make_data, make_work, read_only
from kernels.arrays import Order, Runs
from kernels.epoch import train_runs
from kernels.schedule import schedule
from kernels.layout import pack, pack_lanes
from kernels.unrolled import small_network, train_small_runs
from kernels.updates import SGD

network = Network((2, 2, 1))
dtype = np.dtype(np.float32)
packing = choose_packing(network, dtype, many=True)
data = make_data(packing, np.zeros((4, 2), dtype), np.zeros((4, 1), dtype))
runs = Runs(
    pack(packing, init_params(network, 0, dtype=dtype, size=1)),
    np.zeros((1, 0, packing.size), dtype),
    pack_lanes(packing, np.ones(1, dtype)),
    pack_lanes(packing, np.zeros(1, dtype)),
)
work = make_work(packing, data, gradient=False)
plan = schedule(SGD(), 2, 1)
small = small_network(packing, SGD())
ways = [
    lambda order: train_runs(packing.layout, SGD(), data, order, (0, 4, 0, plan), runs, work),
    lambda order: train_small_runs(small, data, order, (0, 4, 1), runs),
]
for way in ways:
    for indices in ([0, 1, 2, 3], [0, 1, 2, 4]):
        order = Order(read_only(np.array(indices)), 4)
        try:
            way(order)
            print("trained")
        except IndexError:
            print("IndexError")
"""


CHECKED = {
    "NUMBA_BOUNDSCHECK": "1",
    "NUMBA_OPT": "0",
    "NUMBA_LOOP_VECTORIZE": "0",
    "NUMBA_SLP_VECTORIZE": "0",
}
# Addresses that LLVM would have left out keep these kernels from the disk: said, not fatal
NOT_KEPT = "ignore:Cannot cache compiled function"


def run(script: str, cache: Path) -> str:
    """Run a script in a process whose kernels check every access: what it prints.

    Its cache is its own: others are not to find kernels that are not optimized.
    """
    own = {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", NOT_KEPT, "-c", script],
        cwd=ROOT,
        env={**os.environ, **CHECKED, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Train soundly, then with a wrong index by the same kernels: the words that are printed."""
    return run(SOUND + WRONG_INDEX, tmp_path_factory.mktemp("trained")).split()


def test_no_access_lies_outside_its_memory(trained: list[str]) -> None:
    """Networks, batches and blocks of many shapes train without an IndexError."""
    assert int(trained[0]) == 4 * 4 * 3 * 3 * 5 * 2


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Run the script of planted accesses once: the lines that it prints."""
    folder = tmp_path_factory.mktemp("planted")
    script = folder / "planted.py"
    script.write_text(PLANTED)
    execute = f"exec(compile(open({str(script)!r}).read(), {str(script)!r}, 'exec'))"
    return run(execute, folder).splitlines()


def test_planted_accesses_outside_are_refused(planted: list[str]) -> None:
    """A read, write, part or product that reaches outside raises IndexError."""
    assert planted[0] == "[]"


def test_accesses_at_the_ends_are_allowed(planted: list[str]) -> None:
    """The last element, vector and part of a memory are inside."""
    assert planted[1] == "[]"


def test_a_wrong_index_in_the_order_is_refused(trained: list[str]) -> None:
    """Training in loops or unrolled on an index beyond the samples raises IndexError."""
    assert trained[1:] == ["trained", "IndexError"] * 2
