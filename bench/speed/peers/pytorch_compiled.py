"""PyTorch, compiled: `torch.compile` of a whole update, gradient and gathering included.

Tried, on 64-32-10: compiling the model and its loss alone, with an optimizer around (at batch size
1 longer than eager, and 6 times as long as this); one kernel for any batch size, as `torch.compile`
makes it after the second (up to 1.5 times as long for 16 runs): each has its own. What was compiled
for another network is forgotten, for after 8 versions of a function it runs eagerly.
"""

from __future__ import annotations

import os
import shutil
from functools import lru_cache

from bench.speed.peers import CannotDoError, Run, Work

# In this process: starting others to compile few small kernels takes longer
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch

from bench.speed.peers.pytorch_functional import instructions, run_of, update_of
from kernels import Network

COMPILERS = ("g++", "clang++", "c++")


@lru_cache(maxsize=1)
def begin(network: Network, many: bool) -> None:  # noqa: ARG001  they are the key
    """Forget what was compiled, where the network is another than before."""
    torch.compiler.reset()


def prepare(work: Work) -> Run:
    """Train in a loop over compiled updates."""
    if not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
        raise CannotDoError(f"finds no C++ compiler ({', '.join(COMPILERS)})")
    begin(work.network, work.many)
    return run_of(work, torch.compile(update_of(work), dynamic=False))


def arithmetic() -> str:
    """Kernels that it writes in C++."""
    return f"compiled C++, {instructions()}"
