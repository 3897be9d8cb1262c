"""The command in processes of its own, forked from one that has imported all of it.

What a process costs is then what it does: a hundred of them can be killed in minutes. A child is
a real process, in a session of its own; only the interpreter's start is shared. `python -m
tests.forks` is the process that they are forked from.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = "BATCHBENCH_TEST_MARK"  # in the environment of a child, and of those that it starts
MODULES = (
    "bench.cli", "bench.study", "bench.report", "bench.all_problems", "bench.mistakes",
    "bench.peers", "bench.roofline", "bench.compare", "bench.history", "bench.calibration",
)  # fmt: skip


@dataclass
class Child:
    """A command at work.

    Parameters
    ----------
    pid
        Of its process.
    mark
        Found in the environment of all processes that it starts.
    folder
        Holds its `stdout` and `stderr`.
    forks
        What it was forked from.
    """

    pid: int
    mark: str
    folder: Path
    forks: Forks

    def send(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end; return its exit code, or minus the number of the signal."""
        return int(self.forks.ask({"wait": self.pid}))

    def until(self, text: str, seconds: float = 60.0) -> None:
        """Wait until it has printed this."""
        end = time.monotonic() + seconds
        while text not in self.told and text not in self.printed:
            ended = not Path(f"/proc/{self.pid}/cwd").exists() or time.monotonic() > end
            assert not ended, f"{text!r} is not in {self.told!r}"
            time.sleep(0.01)

    @property
    def told(self) -> str:
        """What it has written to standard error."""
        return (self.folder / "stderr").read_text()

    @property
    def printed(self) -> str:
        """What it has written to standard output."""
        return (self.folder / "stdout").read_text()

    def left(self) -> list[int]:
        """Return the processes that it has started and that do not end."""
        return left(self.mark)


class Forks:
    """Starts children; it ends with the `with` block that it stands in.

    Parameters
    ----------
    folder
        For what children print.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def start(
        self,
        command: Sequence[object],
        *,
        setup: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start `batchbench` with these arguments.

        Parameters
        ----------
        command
            Arguments of the command.
        setup
            Python that the child runs before.
        environment
            Variables that are set besides.
        """
        mark = uuid.uuid4().hex
        folder = self.folder / mark
        folder.mkdir(parents=True)
        for name in ("stdout", "stderr"):
            (folder / name).touch()
        variables = {MARK: mark, **(environment or {})}
        pid = self.ask(
            {
                "command": [str(word) for word in command],
                "setup": setup,
                "folder": str(folder),
                "environment": variables,
            }
        )
        return Child(int(pid), mark, folder, self)

    def run(self, command: Sequence[object], **options: object) -> tuple[int, Child]:
        """Start a command and wait for its end."""
        child = self.start(command, **options)  # type: ignore[arg-type]
        return child.wait(), child

    def ask(self, request: dict[str, object]) -> object:
        """Return the answer to a request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def left(mark: str, seconds: float = 60.0) -> list[int]:
    """Return the processes with the mark that do not end within so many seconds."""
    end = time.monotonic() + seconds
    while (pids := marked(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return pids


def marked(mark: str) -> list[int]:
    """Return the processes that live and have the mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found


def child(request: dict[str, object]) -> None:
    """Be a child: never returns."""
    code = 70
    try:
        os.setsid()
        folder = Path(str(request["folder"]))
        for number, name in enumerate((os.devnull, folder / "stdout", folder / "stderr")):
            file = os.open(name, os.O_RDWR | os.O_APPEND)
            os.dup2(file, number)
            os.close(file)
        os.environ.update(request["environment"])  # type: ignore[call-overload]
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, encoding="utf-8", closefd=False)
            for number, mode in enumerate("rww")
        )
        sys.argv = ["batchbench", *request["command"]]  # type: ignore[misc]
        exec(str(request["setup"]), {})
        from bench.__main__ import main

        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


def serve() -> None:
    """Fork a child for each request, or wait for one."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in MODULES:
        __import__(module)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        elif not (answer := os.fork()):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            child(request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
