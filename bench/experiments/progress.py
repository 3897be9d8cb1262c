"""How a long computation tells how far it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.plain import printable


class Reporter(Protocol):
    """What a study tells while it runs."""

    def say(self, message: str) -> None:
        """Tell one sentence."""

    def start(self, stage: str, n_blocks: int, work: float) -> None:
        """Begin a stage of so many blocks and so much work."""

    def advance(self, work: float) -> None:
        """Tell that this much work of the stage is done."""

    def finish(self) -> None:
        """End the stage."""


class Silent:
    """Tells nothing."""

    def say(self, message: str) -> None:
        """Tell nothing."""

    def start(self, stage: str, n_blocks: int, work: float) -> None:
        """Tell nothing."""

    def advance(self, work: float) -> None:
        """Tell nothing."""

    def finish(self) -> None:
        """Tell nothing."""


class Lines:
    """Few plain lines, for a log: one a sentence, one a finished stage."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._stage = ""
        self._blocks = self._done = 0
        self._began = 0.0

    def say(self, message: str) -> None:
        """Print the sentence, in the stream's encoding; what nobody can read is no failure."""
        encoding = self.stream.encoding or "ascii"
        with suppress(OSError):
            plain = printable(message, kept="\n").encode(encoding, "replace").decode(encoding)
            print(plain, file=self.stream, flush=True)

    def start(self, stage: str, n_blocks: int, work: float) -> None:  # noqa: ARG002
        """Remember the stage."""
        self._stage, self._blocks, self._done = stage, n_blocks, 0
        self._began = perf_counter()

    def advance(self, work: float) -> None:  # noqa: ARG002
        """Count a block, and print nothing: a log is not watched."""
        self._done += 1

    def finish(self) -> None:
        """Print the stage, how many of its blocks are done, and how long it took."""
        done = "" if self._done == self._blocks else f"{self._done:,} of "
        noun = "block" if self._blocks == 1 else "blocks"
        self.say(
            f"{self._stage}: {done}{self._blocks:,} {noun} in {perf_counter() - self._began:.1f} s"
        )


class Bar:
    """A progress bar with the time left, for a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self.console = Console(file=stream)
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def say(self, message: str) -> None:
        """Print the sentence above the bar."""
        self.console.print(printable(message, kept="\n"), markup=False, highlight=False)

    def start(self, stage: str, n_blocks: int, work: float) -> None:
        """Show an empty bar."""
        columns = (
            TextColumn("{task.description}", markup=False),  # a study may be named [/b]
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self.console, transient=True)
        self._task = self._bar.add_task(f"{stage} ({n_blocks:,} blocks)", total=work)
        self._bar.start()

    def advance(self, work: float) -> None:
        """Fill the bar a little more."""
        if self._bar is not None:
            self._bar.advance(self._task, work)

    def finish(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def reporter(stream: TextIO | None = None) -> Reporter:
    """Return a progress bar where the stream (standard error) is a terminal, else plain lines."""
    stream = sys.stderr if stream is None else stream
    return Bar(stream) if stream.isatty() else Lines(stream)


@contextmanager
def stage(progress: Reporter, name: str, n_blocks: int, work: float) -> Iterator[None]:
    """Start a stage, and finish it whatever happens."""
    progress.start(name, n_blocks, work)
    try:
        yield
    finally:
        progress.finish()
