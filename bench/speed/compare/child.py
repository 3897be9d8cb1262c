"""A side at work in a process of its own: `python -m bench.speed.compare.child FOLDER`.

FOLDER holds the side's `kernels`. This file, and what it imports of `bench`, is the same for both
sides; everything else that computes is the side's own.
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path
from typing import Any, Literal

from bench.speed.process import Requests, pin

# What a call raises that the side's kernels do not know: a function, or an argument
LACKING = (AttributeError, TypeError)
CALLERS = ("benchmarks.py", "probes.py")
TOLD = 300  # letters of an exception, at most

Outcome = Literal["done", "lacking", "failed"]


class Child:
    """What a side does on request."""

    def __init__(self) -> None:
        self._calls: dict[str, Any] = {}

    def prepare(self, name: str) -> None:
        """Make a benchmark ready and call it once, which compiles it or loads what was compiled."""
        from bench.speed.compare.benchmarks import BENCHMARKS

        self._calls[name] = BENCHMARKS[name]()
        self._calls[name]()

    def turn(self, name: str, calls: int) -> float:
        """Seconds of a call, the mean of so many."""
        call, clock = self._calls[name], time.perf_counter
        start = clock()
        for _ in range(calls):
            call()
        return (clock() - start) / calls

    def quality(self, name: str) -> dict[str, Any]:
        """What a probe or a study of the quality gate finds (`probes.run`)."""
        from bench.speed.compare.probes import run

        return run(name)

    def pin(self, core: int) -> None:
        """Stay on a core."""
        pin(core)


def answer(child: Child, request: str, arguments: tuple[Any, ...]) -> tuple[Outcome, Any]:
    """("done", result), or why there is none."""
    try:
        return "done", getattr(child, request)(*arguments)
    except Exception as error:
        # Raised in the kernels themselves it is a fault of theirs
        called = Path(_place(error).filename).name in CALLERS
        return "lacking" if isinstance(error, LACKING) and called else "failed", _told(error)


def _place(error: Exception) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]


def _told(error: Exception) -> str:
    place = _place(error)
    text = " ".join(str(error).split())[:TOLD]
    return f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {text}"


def main() -> None:
    """Serve requests until standard input ends."""
    (folder,) = sys.argv[1:]
    requests = Requests()
    sys.path.insert(0, folder)
    try:
        import kernels
    except Exception as error:
        told = _told(error)
        requests.serve(lambda _: ("failed", told))
        return
    assert Path(kernels.__file__ or "").parents[1] == Path(folder), "another side's kernels"
    child = Child()
    requests.serve(lambda message: answer(child, *message))


if __name__ == "__main__":
    main()
