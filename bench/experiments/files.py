"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from bench.errors import InputError


def put(path: Path, data: bytes) -> None:
    """Write a file under a name of its own, flush it, and give it its name.

    Raises
    ------
    OSError
        Where the disk is full or the folder cannot be written; what was there before stays.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def unwritable(path: Path, error: OSError) -> InputError:
    """Return the one line that a full or read-only disk deserves."""
    why = error.strerror or str(error) or type(error).__name__
    return InputError(f"cannot write {path}: {why}; free or choose another folder with --out")
