"""Compiled kernels on disk: every edit is noticed, import compiles nothing, any folder will do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernel_examples import DIGITS_LIKE, XOR, XOR_X, XOR_Y, random_case
from numba.core.registry import CPUDispatcher

import kernels
from kernels import (
    Momentum,
    evaluate,
    forward,
    init_params,
    loss_and_gradient,
    sample_order,
    train,
)
from kernels.epoch import train_ahead, train_directly, train_samples, train_summed
from kernels.evaluation import add_gradient, evaluate_runs, record
from kernels.jit import cache_folder, kernel_hash
from kernels.unrolled import train_small_runs

PACKAGE = Path(kernels.__file__).parent
# A kernel small enough to compile in a second, whose callees lie in two other files
ENTRY = """
import numpy as np
from kernels.activations import LEAKY_RELU, activate
from kernels.jit import CACHE_FOLDER, jit
from kernels.memory import as_memory

@jit
def leaky(x):
    memory = as_memory(x)
    activate(LEAKY_RELU, memory, 0, memory.size)

x = np.full(16, -1.0)
leaky(x)
hits = sum(leaky.stats.cache_hits.values()) if CACHE_FOLDER else 0
print(x[0], hits, CACHE_FOLDER)
"""


def run(script: Path, folder: Path, **environment: str) -> list[str]:
    """Run a script on the kernels in a folder, with its own cache: the words that it prints."""
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the kernels and the script `entry.py`."""
    shutil.copytree(PACKAGE, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "entry.py").write_text(ENTRY)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file once; the file's size and time may stay the same."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


# Edits


def test_an_edit_in_another_file_is_noticed(copy: Path) -> None:
    """A kernel runs the new code after an edit of what it calls, with the same cache."""
    script = copy / "entry.py"
    assert run(script, copy)[:2] == ["-0.01", "0"]
    assert run(script, copy)[:2] == ["-0.01", "1"]  # unchanged, it is found on disk
    # A constant, then a callee, each in a file of its own
    edit(copy / "kernels" / "network.py", "LEAKY_SLOPE = 0.01", "LEAKY_SLOPE = 0.05")
    assert run(script, copy)[:2] == ["-0.05", "0"]
    slope = "splat(z, 0.0), splat(z, {}) * z, z)"
    edit(copy / "kernels" / "activations.py", slope.format("LEAKY_SLOPE"), slope.format("0.07"))
    assert run(script, copy)[:2] == ["-0.07", "0"]


def test_the_hash_covers_every_file_and_its_name(copy: Path) -> None:
    """Changing, renaming or adding a source changes the hash; copying them does not."""
    before = kernel_hash(copy / "kernels")
    assert before == kernels.KERNEL_HASH
    hashes = {before}
    with (copy / "kernels" / "losses.py").open("a") as source:
        source.write("# changed\n")
    hashes.add(kernel_hash(copy / "kernels"))
    (copy / "kernels" / "product.py").rename(copy / "kernels" / "products.py")
    hashes.add(kernel_hash(copy / "kernels"))
    (copy / "kernels" / "more.py").touch()
    hashes.add(kernel_hash(copy / "kernels"))
    assert len(hashes) == 4


# Import and signatures

COUNT_SIGNATURES = """
import sys
import kernels
from numba.core.dispatcher import Dispatcher

dispatchers = {
    id(value): value
    for name, module in list(sys.modules.items())
    if name.startswith("kernels")
    for value in vars(module).values()
    if isinstance(value, Dispatcher)
}
print(len(dispatchers), sum(len(d.signatures) for d in dispatchers.values()))
"""


def test_import_compiles_nothing(tmp_path: Path) -> None:
    """After `import kernels` in a fresh process no kernel has a signature."""
    script = tmp_path / "count.py"
    script.write_text(COUNT_SIGNATURES)
    kernels_found, signatures = run(script, tmp_path, PYTHONPATH=str(PACKAGE.parent))
    assert int(kernels_found) > 10
    assert int(signatures) == 0


def signatures() -> dict[str, int]:
    """Number of compiled signatures of each entry point."""
    entries: list[CPUDispatcher] = [
        train_directly,
        train_ahead,
        train_samples,
        train_summed,
        train_small_runs,
        evaluate_runs,
        add_gradient,
        record,
    ]
    return {entry.py_func.__name__: len(entry.signatures) for entry in entries}


@pytest.mark.parametrize("many", [False, True], ids=["single", "block"])
def test_a_second_call_compiles_nothing(many: bool) -> None:
    """Other shapes, batch sizes, layouts, dtypes of X and y, and threads add no signature."""
    start: Any = init_params(DIGITS_LIKE, 0, size=2 if many else None)
    _, X, y = random_case(DIGITS_LIKE, 1, 9)

    def call(samples: Any = X, labels: Any = y, **changes: Any) -> None:
        options: dict[str, Any] = {"batch_size": 2, "learning_rate": 0.1, "epochs": 1, **changes}
        train(DIGITS_LIKE, start, samples, labels, rule=Momentum(0.9), **options)
        params = start[0] if many else start
        evaluate(DIGITS_LIKE, start, samples, labels)
        loss_and_gradient(DIGITS_LIKE, params, samples, labels)
        forward(DIGITS_LIKE, params, samples)

    call()
    call(batch_size="full")  # its own entry point
    before = signatures()
    frozen, order, targets = X.copy(), sample_order(0, 9, 1), np.eye(3)[y]
    for array in (frozen, order, targets):
        array.flags.writeable = False
    call(np.asfortranarray(X), threads=2)
    call(X.astype(np.float32), y.astype(np.uint8), batch_size="full", checkpoints=())
    call(X.astype(np.int64), y.tolist(), eval_sets={"test": (frozen, targets)}, keep_params=True)
    call(frozen, targets, order=order)
    assert signatures() == before


def test_a_small_network_is_compiled_once() -> None:
    """Blocks of any size, batch sizes, orders and threads share the code of a small network."""

    def call(n_runs: int, **changes: Any) -> None:
        params = init_params(XOR, 0, dtype=np.float32, size=n_runs)
        options: dict[str, Any] = {"batch_size": 1, "learning_rate": 0.1, "epochs": 1, **changes}
        train(XOR, params, XOR_X, XOR_Y, **options)

    call(1)
    before = signatures()
    call(40, batch_size=2, threads=2, checkpoints=(1, 3))
    call(17, batch_size="full", order=[[3, 0, 1]], eval_sets={"test": (XOR_X, XOR_Y)})
    assert signatures() == before


# Folders


def test_without_a_users_cache_another_folder_serves(copy: Path) -> None:
    """Where the user's cache cannot be made, the cache lies in the temporary folder."""
    blocked = copy / "no-folder"
    blocked.touch()
    temporary = copy / "temporary"
    temporary.mkdir()
    environment = {"XDG_CACHE_HOME": str(blocked), "TMPDIR": str(temporary)}
    value, _, folder = run(copy / "entry.py", copy, **environment)
    assert value == "-0.01"
    assert temporary in Path(folder).parents
    assert run(copy / "entry.py", copy, **environment)[1] == "1"


def test_without_any_folder_the_kernels_work(copy: Path) -> None:
    """Where no folder can be written, kernels compile in memory."""
    blocked = copy / "no-folder"
    blocked.touch()
    script = copy / "homeless.py"
    script.write_text(f"import tempfile\ntempfile.tempdir = {str(blocked)!r}\n{ENTRY}")
    assert run(script, copy, XDG_CACHE_HOME=str(blocked)) == ["-0.01", "0", "None"]


def test_no_home_folder_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user without a home folder has the cache in the temporary folder."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = cache_folder()
    assert folder is not None
    assert tmp_path in folder.parents


def test_no_temporary_folder_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system without any usable temporary folder has no cache, and says nothing."""

    def full() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    blocked = tmp_path / "no-folder"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(tempfile, "gettempdir", full)
    assert cache_folder() is None


def test_old_caches_are_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the folders of earlier kernels the newest eight stay."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for age in range(12):
        folder = tmp_path / "batchbench" / f"old-{age:02d}"
        folder.mkdir(parents=True)
        os.utime(folder, (1e9 - age, 1e9 - age))
    current = cache_folder()
    assert current is not None
    left = sorted(path.name for path in (tmp_path / "batchbench").iterdir())
    assert left == sorted([current.name, *(f"old-{age:02d}" for age in range(8))])
