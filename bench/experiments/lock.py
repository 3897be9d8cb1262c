"""One process at a time works on a study, or clears away: locks that end with their process."""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import InputError
from bench.experiments.files import put, unwritable

LOCKS = "locks"
GATE = "gate.lock"  # held while a lock is taken, and as long as stored results are pruned
GATE_SECONDS = 10.0
# What a file system without locks answers, some network file systems among them
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextmanager
def held(root: Path, name: str, tell: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock of a name while the `with` block runs.

    It is the system's: a process that is killed loses it. Beside it lies who holds it.

    Parameters
    ----------
    root
        The folder of stored results; locks lie in `locks` below it.
    name
        Of the study, or of what else fills a folder of its own.
    tell
        Told where the file system knows no locks: then nothing is held.

    Raises
    ------
    InputError
        Where another process, or another thread of this one, holds it; where stored results are
        pruned at the moment; where the folder cannot be written.
    """
    path = root / LOCKS / f"{name}.lock"
    who = path.with_suffix(".json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _gate(root):
            lock = _taken(path, 0.0)
        put(who, json.dumps(_myself()).encode())
    except Timeout:
        raise InputError(
            f"{name}: {_told(who)} works on it in {root.parent}; wait for it, or give another --out"
        ) from None
    except OSError as error:
        raise unwritable(path, error) from None
    if lock is None:
        tell(f"{root} knows no locks: see to it yourself that one process works on {name}.")
    try:
        yield
    finally:
        with suppress(OSError):
            who.unlink()
        if lock is not None:
            lock.release()


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Let no process take a lock while the `with` block runs.

    Raises
    ------
    InputError
        Where one is held, with its name; where the folder cannot be written.
    """
    try:
        with _gate(root):
            for path in sorted((root / LOCKS).rglob("*.lock")):
                _refuse_held(path, path.relative_to(root / LOCKS).with_suffix(""))
            yield
    except OSError as error:
        raise unwritable(root, error) from None


def _refuse_held(path: Path, name: Path) -> None:
    """Raise InputError where a lock is held."""
    try:
        lock = _taken(path, 0.0)
    except Timeout:
        who = _told(path.with_suffix(".json"))
        raise InputError(f"{who} works on {name}: prune when it has ended") from None
    if lock is not None:
        lock.release()


@contextmanager
def briefly(path: Path) -> Iterator[None]:
    """Hold a lock of what takes a moment; go on without where it cannot be had."""
    lock = None
    with suppress(OSError):  # Timeout among them
        lock = _taken(path, GATE_SECONDS)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


@contextmanager
def _gate(root: Path) -> Iterator[None]:
    """Take locks one after the other: nobody is refused by another one's look at a lock."""
    try:
        lock = _taken(root / GATE, GATE_SECONDS)
    except Timeout:
        raise InputError(f"{root} is being pruned: try again when that has ended") from None
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _taken(path: Path, seconds: float) -> FileLock | None:
    """Return the lock, taken; None where the file system knows none.

    Raises
    ------
    Timeout
        Where it is held for longer than `seconds`.
    """
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=seconds)
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return lock


def _myself() -> dict[str, object]:
    """Who this process is."""
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"pid": os.getpid(), "host": platform.node(), "since": since}


def _told(who: Path) -> str:
    """Say who holds a lock, as far as its file tells."""
    try:
        told = json.loads(who.read_bytes())
        return f"process {told['pid']} on {told['host']}, since {told['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
