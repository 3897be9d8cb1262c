"""Problems of scikit-learn's data on disk, as they were prepared: it takes long to import."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bench.arrays import read_npz
from bench.problems.problem import Problem
from kernels import Network
from kernels.jit import CACHE_FOLDER

ARRAYS = ("X_train", "y_train", "X_test", "y_test")
NOT_PLAIN = (*ARRAYS, "network", "table")  # a table is a user's own: never kept
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
    path = folder / f"{name}-{_sources()}.npz"
    content = b""
    with suppress(OSError):  # there is none, or none that can be read
        content = path.read_bytes()
    digest, data = content[:DIGEST], content[DIGEST:]
    if content and hashlib.sha256(data).digest() == digest:
        with suppress(
            ValueError, KeyError, TypeError, BadZipFile
        ):  # whole, but of another's making
            return _unpacked(data)
    problem = make()
    data = _packed(problem)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)
        temporary.replace(path)
    except OSError:  # a full disk: it is made again next time
        with suppress(OSError):
            temporary.unlink()
    return problem


def _packed(problem: Problem) -> bytes:
    """A problem as arrays and JSON: reading it back runs nothing, whoever wrote the file."""
    plain = {f.name: getattr(problem, f.name) for f in fields(problem) if f.name not in NOT_PLAIN}
    network = problem.network
    plain["network"] = [network.widths, network.activation, network.output, network.loss]
    about = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, about=about, **{name: getattr(problem, name) for name in ARRAYS})
    return file.getvalue()


def _unpacked(data: bytes) -> Problem:
    """The problem of `_packed`."""
    file = read_npz(io.BytesIO(data))
    arrays: dict[str, Any] = {name: file[name] for name in ARRAYS}
    plain = json.loads(file["about"].tobytes())
    widths, *kinds = plain.pop("network")
    others: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
    }
    return Problem(network=Network(tuple(widths), *kinds), **arrays, **others)


def _sources() -> str:
    """Hash of what a problem is made by: the code of this package, scikit-learn and NumPy."""
    digest = hashlib.sha256(f"{version('scikit-learn')} {version('numpy')}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]
