"""Studies of batch sizes and learning rates.

`bench.study("digits")` runs a study, `bench.load("results/digits")` reads one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.study import load, study

__all__ = ["load", "study"]


def __getattr__(name: str) -> Any:
    """Import `study` and `load` when they are asked for: they bring pandas and matplotlib."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("bench.study"), name)
