"""The folder of a study's files: one process at a time makes it, and it changes as a whole.

OUT/NAME is written in OUT/.blocks/views/NAME/new, takes its place by renaming, and what was there
before is deleted last. What is not ours is neither replaced nor deleted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import InputError
from bench.experiments import lock
from bench.experiments.files import unwritable

FOLDER = ".blocks"
VIEWS = "views"
NEW, OLD = "new", "old"
# A folder of ours holds one of these files, and near its beginning what only we write there
MARKS = {
    "study.json": b'"study":',
    "report.html": b'<meta name="batchbench-name"',
    "summary.md": b"## batchbench: ",
}
BEGINNING = 1 << 16  # bytes of a file in which its mark lies
# What a study, a comparison or a measurement writes into its folder: all else there is the user's
WRITTEN = frozenset(
    ["figures", "report.html", "study.json", "claims.json", "summary.md", "peers.md"]
    + [f"{name}.parquet" for name in ("runs", "networks", "counts")]
    + [f"ratios.{kind}" for kind in ("csv", "png", "svg")]
    + [
        f"{name}.csv"
        for name in (
            "summary", "seconds", "verdicts", "powers", "noise", "noise_scale", "noise_average",
            "uphill", "sharpness", "theory", "tradeoff", "fastest", "rate_growth", "rules",
            "peers", "rounds", "left_out", "bandwidth", "roofline", "speed", "blocks", "quality",
        )
    ]
)  # fmt: skip


@contextmanager
def working(out: Path, name: str, tell: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Work on OUT/NAME alone, from the first look at it until its files are in place.

    What killed processes left of it is cleared away.

    Parameters
    ----------
    out, name
        The folder is `out`/`name`.
    tell
        As of `lock.held`.

    Raises
    ------
    InputError
        Where another process works on it, where something else lies there, and where the folder
        cannot be written.
    """
    refuse_foreign(out / name)
    with lock.held(out / FOLDER, name, tell):
        try:
            clear(out, out / FOLDER / VIEWS / name)
        except OSError as error:
            raise unwritable(out / name, error) from None
        yield


@contextmanager
def replacing(out: Path, name: str) -> Iterator[Path]:
    """Give an empty folder, which takes the place of OUT/NAME when the `with` block has ended.

    Where it ends with an exception, OUT/NAME stays as it was. Killed at any moment, the next
    `working` finds either the earlier folder or the new one. Call it within `working`.

    Raises
    ------
    InputError
        Where something else than a folder of ours lies there, and where the disk is full or the
        folder cannot be written.
    """
    with beside(out, name) as new:
        yield new
        refuse_foreign(out / name)
        _exchange(new, out / name, new.with_name(OLD))


@contextmanager
def beside(out: Path, name: str) -> Iterator[Path]:
    """Give an empty folder on the disk of OUT/NAME, which is deleted with what is left in it.

    Raises
    ------
    InputError
        Where the disk is full or the folder cannot be written.
    """
    views = out / FOLDER / VIEWS / name
    try:
        clear(out, views)
        new = views / NEW
        new.mkdir(parents=True)
        yield new
    except OSError as error:
        raise unwritable(out / name, error) from None
    finally:
        with suppress(OSError):
            clear(out, views)
            views.rmdir()


def clear_all(out: Path) -> None:
    """Clear away what killed processes left of all studies: none may be at work."""
    views = out / FOLDER / VIEWS
    for pattern in ("*", "*/*"):  # a comparison of two revisions lies one folder deeper
        for folder in sorted(views.glob(pattern)):
            clear(out, folder)
    shutil.rmtree(views, ignore_errors=True)


def clear(out: Path, views: Path) -> None:
    """Delete what a killed process left of a study's folder, and put back what it had moved away.

    Parameters
    ----------
    out
        The folder of results.
    views
        OUT/.blocks/views/NAME.
    """
    old, target = views / OLD, out / views.relative_to(out / FOLDER / VIEWS)
    if old.exists() and not target.exists():
        old.replace(target)
    for left in (views / NEW, old):
        if left.exists():
            shutil.rmtree(left)


def refuse_foreign(folder: Path) -> None:
    """Raise InputError where something else than a folder of ours lies there.

    Raises
    ------
    InputError
        In one line, with the ways out.
    """
    if not folder.is_symlink() and not folder.exists():
        return
    if not folder.is_symlink() and folder.is_dir():
        with suppress(OSError):
            if not any(folder.iterdir()) or any(_marked(folder / name) for name in MARKS):
                return
    raise InputError(
        f"{folder} is there and nothing that batchbench wrote, so it stays: give another --out, or "
        "a table another --name"
    )


def _marked(path: Path) -> bool:
    """Whether a file is one that we wrote."""
    try:
        with path.open("rb") as file:
            return MARKS[path.name] in file.read(BEGINNING)
    except OSError:
        return False


def _exchange(new: Path, target: Path, old: Path) -> None:
    """Put a folder in place of another, which takes what the user has put there along."""
    if target.exists():
        for path in target.iterdir():
            if path.name not in WRITTEN and not (new / path.name).exists():
                _copy(path, new / path.name)
        target.replace(old)
    target.parent.mkdir(parents=True, exist_ok=True)
    new.replace(target)


def _copy(path: Path, to: Path) -> None:
    """Copy what the user has put into a folder of ours, without a second copy where possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, to, symlinks=True, copy_function=_link)
    else:
        _link(path, to)


def _link(path: str | Path, to: str | Path) -> None:
    try:
        os.link(path, to, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, to, follow_symlinks=False)
