"""Plain arrays from npz files, whoever wrote them: nothing is unpickled, nothing made too large.

`numpy.load` makes room for as much as an array's header tells, and unpacks as much as a zip archive
holds, before it notices that something is wrong.
"""

from __future__ import annotations

import math
from pathlib import Path
from struct import error as StructError  # noqa: N812
from tokenize import TokenError
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 1 << 28  # of all arrays of a file
NPY = ".npy"
# What reading damaged or foreign bytes raises: the disk, zip, NumPy's header, its text
DAMAGE = (
    OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SyntaxError,
    ArithmeticError, MemoryError, BadZipFile, ZlibError, StructError, TokenError,
)  # fmt: skip


def read_npz(source: Path | BinaryIO, most: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file by their names.

    Parameters
    ----------
    source
        The file.
    most
        Bytes that they may have together.

    Raises
    ------
    DAMAGE
        For what is no such file, is damaged, holds objects or more bytes than `most`.
    """
    with ZipFile(source) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > most:
            raise ValueError(f"it unpacks to {total:,} bytes, more than {most:,}")
        return {name.removesuffix(NPY): _array(archive, name) for name in archive.namelist()}


def _array(archive: ZipFile, name: str) -> NDArray[Any]:
    """Return the array of a member, which is as long as its header tells."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
        content = file.read()
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects, which are not read")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{name} has {len(content):,} bytes for an array of shape {shape}")
    flat = np.frombuffer(bytearray(content), dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
