"""Problems of scikit-learn's data on disk, as they were prepared: it takes long to import."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from bench.problems.problem import Problem
from kernels.jit import CACHE_FOLDER

DIGEST = 32  # bytes at a file's beginning: the SHA-256 of the rest


def kept(name: str, make: Callable[[], Problem], folder: Path | None = CACHE_FOLDER) -> Problem:
    """Return the problem that `make` makes, or made before by the same code and libraries.

    Parameters
    ----------
    name
        Of the problem.
    make
        Called where no whole file is there.
    folder
        Where files lie: by default beside the compiled kernels, for whose version they are. None
        for nowhere.
    """
    if folder is None:
        return make()
    path = folder / f"{name}-{_sources()}.pickle"
    content = path.read_bytes() if path.exists() else b""
    digest, data = content[:DIGEST], content[DIGEST:]
    if content and hashlib.sha256(data).digest() == digest:
        known: Problem = pickle.loads(data)
        return known
    problem = make()
    data = pickle.dumps(problem)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with suppress(OSError):  # a full disk: it is made again next time
        temporary.write_bytes(hashlib.sha256(data).digest() + data)
        temporary.replace(path)
    return problem


def _sources() -> str:
    """Hash of what a problem is made by: the code of this package, scikit-learn and NumPy."""
    digest = hashlib.sha256(f"{version('scikit-learn')} {version('numpy')}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]
