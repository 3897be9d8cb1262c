"""The processor's vector registers: lanes and large tiles follow from them, here alone.

(Single rows, which are the same on all processors, are in `product.py`.)
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import binding
from numba.core import config


class Registers(NamedTuple):
    """Vector registers of an instruction set, and the register tiles that fit them.

    A tile of `rows x columns` accumulators leaves room for a column of the right factor and one
    element of the left: a tile too large spills without a word and falls to a quarter of the rate.
    Rows of a tile of vectors lie side by side in a block's weights, so long tiles need fewer lines.
    """

    name: str
    vector_bytes: int
    scalar_tile: tuple[int, int]  # left factor of scalars that all lanes share
    vector_tile: tuple[int, int]  # left factor of vectors


AVX512 = Registers("avx512", 64, (8, 2), (4, 4))  # 32 registers of 64 bytes
AVX2 = Registers("avx2", 32, (4, 2), (6, 2))  # 16 of 32 bytes
SSE2 = Registers("sse2", 16, (4, 2), (6, 2))  # 16 of 16 bytes
NEON = Registers("neon", 16, (8, 2), (4, 4))  # 32 of 16 bytes


def detect() -> tuple[str, Registers]:
    """Return the processor's name and its registers, as Numba will compile for them.

    NUMBA_CPU_NAME and NUMBA_CPU_FEATURES are obeyed: a processor named without its features is
    taken to have AVX2, "generic" to have what its architecture always has.
    """
    name = config.CPU_NAME or binding.get_host_cpu_name()
    arm = binding.get_process_triple().startswith(("aarch64", "arm64"))
    if config.CPU_FEATURES is not None:
        features = config.CPU_FEATURES.split(",")
    elif config.CPU_NAME and binding.get_host_cpu_name() != config.CPU_NAME:
        features = [] if name == "generic" else ["+avx2"]
    else:
        features = binding.get_host_cpu_features().flatten().split(",")
    if arm:
        return name, NEON
    if "+avx512f" in features and "+avx512dq" in features:
        return name, AVX512
    return name, AVX2 if "+avx2" in features else SSE2


CPU, REGISTERS = detect()
INSTRUCTION_SET = REGISTERS.name
