"""How the command ends when it is told to, and what it stands on: signals, standard streams."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

INTERRUPTED = 130  # the exit code
MESSAGE = "batchbench: interrupted; a study goes on from here by the same command"
CLEARED = "\r\x1b[K\x1b[?25h"  # a terminal's line, which may show a progress bar, and its cursor

_asked = False


def asked() -> bool:
    """Whether Ctrl-C or SIGTERM has come."""
    return _asked


def end_on_signals() -> None:
    """Let the first Ctrl-C or SIGTERM raise KeyboardInterrupt, and another end at once.

    While blocks are trained, `bench.experiments.crew` has handlers of its own. What is left when
    it ends at once is cleared away by the next call: processes that are timed end with this one.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and `&` may have set it
            signal.signal(number, _on_signal)
    sys.unraisablehook = _on_unraisable


def _on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    global _asked
    if _asked:
        end()
    _asked = True
    raise KeyboardInterrupt


def _on_unraisable(error: UnraisableHookArgs, /) -> None:
    """End where KeyboardInterrupt came where nobody can catch it, such as in a destructor."""
    if isinstance(error.exc_value, KeyboardInterrupt):
        end()
    sys.__unraisablehook__(error)


def end() -> NoReturn:
    """Say so in one line, and end; no thread is waited for."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError, ValueError, RuntimeError):  # closed, or in use where the signal came
        sys.stdout.flush()
    with suppress(OSError):
        terminal = CLEARED if os.isatty(2) else ""
        os.write(2, f"{terminal}{MESSAGE}\n".encode())
    os._exit(INTERRUPTED)


def open_closed_streams() -> None:
    """Open what is closed of standard input, output and error on the null device.

    Otherwise the next file that is opened takes the number, and what libraries print goes there.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def close_streams(code: int) -> int:
    """Write what waits in the output streams; return the exit code, another where that fails.

    A reader that has seen enough is no failure.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            pass
        except OSError as error:
            code = code or 3
            if stream is sys.stdout:
                print(f"batchbench: cannot write output: {error.strerror}", file=sys.stderr)
        else:
            continue
        # What could not be written must not be tried again when the interpreter ends
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    return code
