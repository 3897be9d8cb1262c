"""What a timing depends on besides the code: two timings with other values are not compared."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
import scipy.linalg  # noqa: F401  with NumPy, the BLAS that are told
from threadpoolctl import threadpool_info

from kernels import INSTRUCTION_SET

# The processor's clock at this very moment differs from run to run on one machine
FLEETING = ("hz_actual", "hz_actual_friendly")


def fingerprint(processor: str) -> dict[str, str]:
    """Return what tells machines apart: name, system, processor, cores, instruction set, BLAS.

    Python, NumPy and the version and architecture of its BLAS are in it, for they move the
    reference workload that all timings are relative to.
    """
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    blas = {
        f"{x['internal_api']} {x['version']} {x.get('architecture', '')}".strip() for x in libraries
    }
    return {
        "node": platform.node(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": processor,
        "cores": str(os.cpu_count()),
        "instruction_set": INSTRUCTION_SET,
        "blas": ", ".join(sorted(blas)),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def describe(machine_info: dict[str, Any]) -> None:
    """Put the fingerprint into pytest-benchmark's description of the machine, in place."""
    cpu = machine_info.get("cpu", {})
    for key in FLEETING:
        cpu.pop(key, None)
    machine_info["fingerprint"] = fingerprint(cpu.get("brand_raw", machine_info["processor"]))
