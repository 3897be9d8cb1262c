"""How all kernels are compiled: one set of flags, and a cache that notices every edit.

Numba's disk cache looks at a function's own file only: edit a function that it calls in another
file, and the old code keeps running. So the cache lies in a folder named by a hash of all files
of this package, the compiler's versions and the processor.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any, TypeVar, cast

import llvmlite
import numba
from numba import njit
from numba.core import config
from numba.extending import intrinsic as _intrinsic
from numba.extending import overload as _overload

from kernels.instruction_set import CPU, INSTRUCTION_SET

Function = TypeVar("Function", bound=Callable[..., Any])

# Never fastmath=True: it lets LLVM assume that there are no NaNs, and the checks for divergence
# rely on them. These four allow fused multiply-add and vectorized sums, and keep NaN and infinity.
FASTMATH = {"contract", "reassoc", "arcp", "nsz"}
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": FASTMATH}
OLD_CACHES_KEPT = 8


def kernel_hash(folder: Path) -> str:
    """Hash of all that decides what the kernels of a folder compute: sources and compiler."""
    digest = hashlib.sha256(f"numba {numba.__version__} llvmlite {llvmlite.__version__}".encode())
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


KERNEL_HASH = kernel_hash(Path(__file__).parent)


def cache_folder() -> Path | None:
    """Return a writable folder for compiled kernels, or None where there is no place for one."""
    key = f"{KERNEL_HASH} {CPU} {INSTRUCTION_SET} bounds={config.BOUNDSCHECK}"
    name = hashlib.sha256(key.encode()).hexdigest()[:20]
    for place in (_user_folder, _temporary_folder):
        try:
            parent = place()
            (parent / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=parent / name):
                _forget_old(parent, keep=name)
                return parent / name
        except (OSError, RuntimeError):  # not writable; no home folder
            continue
    return None


def _user_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batchbench"


def _temporary_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"batchbench-{user}"


def _forget_old(parent: Path, keep: str) -> None:
    """Delete the folders of earlier versions of the kernels, but for the newest few."""
    folders = [path for path in parent.iterdir() if path.is_dir() and path.name != keep]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in folders[OLD_CACHES_KEPT:]:
        rmtree(path, ignore_errors=True)


CACHE_FOLDER = cache_folder()


def jit(function: Function) -> Function:
    """Compile a function that Python calls, on its first call; keep the result on disk."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_FOLDER or "")
    try:
        return cast(Function, njit(cache=CACHE_FOLDER is not None, **OPTIONS)(function))
    finally:
        config.CACHE_DIR = before


INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **OPTIONS}


def called(function: Function) -> Function:
    """Compile a function that kernels call: a loop long enough to be worth a call.

    Only entry points meet the disk cache: a closure in it would never be found again.
    """
    return cast(Function, njit(**INNER)(function))


def inner(function: Function) -> Function:
    """Compile a function into the kernels that call it.

    A call hands over dozens of words, the fields of its named tuples; on small networks, and for
    single samples, calls took more than half of the time.
    """
    return cast(Function, njit(forceinline=True, **INNER)(function))


def inlined(function: Function) -> Function:
    """Compile a function as part of its callers, before LLVM sees either.

    LLVM optimizes a callee, and then once more in each caller on the way up: levels cost seconds.
    """
    return cast(Function, njit(inline="always", **OPTIONS)(function))


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Typed twin of `numba.extending.intrinsic`."""
    return cast(Callable[..., Any], _intrinsic(function))


def overload(function: Callable[..., Any]) -> Callable[[Function], Function]:
    """Typed twin of `numba.extending.overload`, with the kernels' compiler flags."""
    return cast(
        Callable[[Function], Function],
        _overload(function, jit_options=OPTIONS, inline="always", strict=False),
    )
