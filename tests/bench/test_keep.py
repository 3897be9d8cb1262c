"""Problems of scikit-learn's data are kept on disk, and what takes long to import waits."""

from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.problems import Problem, load_problem
from bench.problems.catalogue import OF_SCIKIT_LEARN
from bench.problems.keep import kept
from kernels.jit import CACHE_FOLDER


@pytest.fixture
def counted() -> tuple[list[str], Callable[[], Problem]]:
    """A list that grows with each call of the function beside it, which makes iris."""
    calls: list[str] = []

    def make() -> Problem:
        calls.append("made")
        return OF_SCIKIT_LEARN["iris"]()

    return calls, make


def test_a_kept_problem_is_the_one_that_was_made(
    tmp_path: Path, counted: tuple[list[str], Callable[[], Problem]]
) -> None:
    """The second call makes nothing, and gives the same names, arrays and dtypes."""
    calls, make = counted
    first, second = kept("iris", make, tmp_path), kept("iris", make, tmp_path)
    assert calls == ["made"]
    assert first is not second
    assert pickle.dumps(first) == pickle.dumps(second)
    np.testing.assert_array_equal(second.X_train, first.X_train, strict=True)


def test_a_kept_problem_runs_nothing_when_it_is_read(
    tmp_path: Path, counted: tuple[list[str], Callable[[], Problem]]
) -> None:
    """A file of another's making, its digest right, is not believed where it holds objects."""
    calls, make = counted
    kept("iris", make, tmp_path)
    (path,) = tmp_path.iterdir()
    file = io.BytesIO()
    np.savez(file, about=np.array([print], dtype=object), X_train=np.zeros(1))
    data = file.getvalue()
    path.write_bytes(hashlib.sha256(data).digest() + data)
    kept("iris", make, tmp_path)
    assert calls == ["made", "made"]


@pytest.mark.parametrize("damage", [b"", b"short", bytes(100)])
def test_a_damaged_file_is_made_again(
    tmp_path: Path, counted: tuple[list[str], Callable[[], Problem]], damage: bytes
) -> None:
    """A file that is cut or overwritten is not believed."""
    calls, make = counted
    expected = kept("iris", make, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert kept("iris", make, tmp_path).content_hash() == expected.content_hash()
    assert len(calls) == 2
    kept("iris", make, tmp_path)
    assert len(calls) == 2


def test_without_a_folder_nothing_is_kept(
    tmp_path: Path, counted: tuple[list[str], Callable[[], Problem]]
) -> None:
    """Where nothing can be written, the problem is made each time."""
    calls, make = counted
    for _ in range(2):
        kept("iris", make, None)
        kept("iris", make, tmp_path / "missing")
    assert len(calls) == 4


@pytest.mark.skipif(CACHE_FOLDER is None, reason="nothing can be kept here")
def test_a_study_starts_without_what_only_its_report_needs() -> None:
    """Before training, Matplotlib, scikit-learn and much of SciPy are not imported."""
    load_problem("iris")
    code = """
import sys
from bench.study import Options, Silent, prepare
prepare("iris", Options(), Silent())
slow = "matplotlib", "sklearn", "scipy.stats", "scipy.optimize"
print([name for name in slow if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
