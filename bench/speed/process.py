"""Processes of their own that answer requests: what both ends of the pipe share.

Requests and answers are pickled, so both ends are ours. This file imports nothing of the project: a
process decides itself which kernels it takes.
"""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# What a process of its own must not inherit: settings that hold BLAS back, and several threads
SLOWED_BY = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class EndedError(Exception):
    """The process ended before it answered."""


class Process:
    """A Python module in a process of its own; it ends with the `with` block that it stands in.

    Parameters
    ----------
    arguments
        The module's name, and what it is called with.
    all_cores
        Whether it may use several threads.
    environment
        Variables that are set besides this process's own.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        all_cores: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        inherited = (*SLOWED_BY, *ONE_THREAD) if all_cores else SLOWED_BY
        variables = {k: v for k, v in os.environ.items() if k not in inherited}
        variables |= {} if all_cores else dict.fromkeys(ONE_THREAD, "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=variables | dict(environment or {}),
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is ours to handle
        )

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.communicate()

    def kill(self) -> None:
        """End the process: whoever waits for its answer gets EndedError."""
        self.process.kill()

    def send(self, message: object) -> None:
        """Hand over a message.

        Raises
        ------
        EndedError
            Where the process has ended.
        """
        assert self.process.stdin is not None
        try:
            pickle.dump(message, self.process.stdin)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self) -> Any:
        """Wait for the answer to the oldest message without one.

        Raises
        ------
        EndedError
            Where the process ends without it, or in the middle of it.
        """
        assert self.process.stdout is not None
        try:
            return pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):
            raise self._ended() from None

    def _ended(self) -> EndedError:
        return EndedError(f"ended with exit code {self.process.wait()}")


def measuring_core() -> int:
    """Number of the core that is measured on: the last that this process may use."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def pin(core: int) -> None:
    """Stay on a core from now on, where the system lets a process choose."""
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):  # a container may forbid it
            os.sched_setaffinity(0, {core})


def end_with_parent() -> None:
    """End this process soon after the one that started it, also where that one was killed.

    Nothing happens here until the other end of standard input is closed: timings do not notice.
    """
    if not hasattr(select, "poll"):
        return
    parent = os.getppid()

    def watch() -> None:
        hung_up = select.poll()
        hung_up.register(0, 0)  # that it is closed is told unasked
        hung_up.poll()
        while os.getppid() == parent:  # it waits for the last answer, or is about to end
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Requests:
    """The other end: messages come on standard input, answers go to standard output.

    Answers keep the standard output to themselves: what a library prints goes to the error stream.
    """

    def __init__(self) -> None:
        end_with_parent()
        self._answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def read(self) -> Any:
        """Wait for the next message; EOFError where none will come."""
        return pickle.load(sys.stdin.buffer)

    def serve(self, answer: Callable[[Any], object]) -> None:
        """Answer each message until there are no more."""
        while True:
            try:
                message = self.read()
            except EOFError:
                return
            pickle.dump(answer(message), self._answers)
            self._answers.flush()
