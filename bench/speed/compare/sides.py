"""The two sides of a comparison: the kernels of a revision, in a folder of their own.

A side's folder holds its `kernels` and what is compiled from them, and nothing else. It lies in the
user's cache under a hash of its content: the same kernels are compiled once, however often they are
compared. (Numba finds what it compiled by path and time of the source, so sources stay there too.)
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
WORKING_TREE = "."
KEPT = 16  # sides in the user's cache
SHORT = 9  # digits of a commit


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Parameters
    ----------
    revision
        As it was given; "." for the working tree.
    commit
        Short name of the commit; "" for a working tree that differs from it, or has none.
    folder
        Holds `kernels/` and what is compiled from it.
    """

    revision: str
    commit: str
    folder: Path

    @property
    def label(self) -> str:
        """A name for tables and folders: the commit, or "working-tree"."""
        return self.commit or "working-tree"

    @property
    def content(self) -> str:
        """Hash of the kernels' sources."""
        return self.folder.name


def side(revision: str) -> Side:
    """Lay down the kernels of a revision, or of the working tree (".").

    Raises
    ------
    InputError
        Where there is no such revision, no repository, or no kernels in it.
    """
    if revision == WORKING_TREE:
        folder = lay_down(ROOT / "kernels")
        return Side(revision, _short("HEAD") if _committed("HEAD") == folder else "", folder)
    # A name that begins with a hyphen would be an option of git; a NUL ends no argument
    found = (
        None
        if revision.startswith("-") or "\0" in revision
        else _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    )
    if found is None:
        raise InputError(
            f"{revision!r} is no revision of the repository in {ROOT.name}/: name a commit, branch "
            "or tag that `git log` knows, or . for the working tree"
        )
    committed = _committed(found.decode().strip())
    if committed is None:
        raise InputError(f"{revision!r} has no kernels/: compare with a later commit")
    return Side(revision, _short(revision), committed)


def _committed(revision: str) -> Path | None:
    """The folder of a commit's kernels; None where there are none."""
    archive = _git("archive", revision, "kernels")
    if archive is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(temporary, filter="data")
        return lay_down(Path(temporary) / "kernels")


def _git(*arguments: str) -> bytes | None:
    """Standard output of a git command in the checkout; None where it fails or git is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout


def _short(revision: str) -> str:
    return (_git("rev-parse", f"--short={SHORT}", f"{revision}^{{commit}}") or b"").decode().strip()


def _cache() -> Path:
    """A writable folder for sides: in the user's cache, else a temporary one of this user's."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    places = [Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())]
    for place in (*places, Path(tempfile.gettempdir())):
        folder = place / f"batchbench-compare-{user}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                # What lies in it is run: nobody else may have made it
                if folder.stat().st_uid in (user, 0):
                    return folder
        except OSError:
            continue
    raise InputError(f"no folder to compile kernels in: make {places[0]} writable")


def lay_down(kernels: Path) -> Path:
    """Copy a folder of kernels into the cache under its content, unless it is there already.

    Returns
    -------
    Path
        The folder of the side: it holds `kernels/`.
    """
    cache = _cache()
    sources = sorted(path for path in kernels.rglob("*") if path.suffix in (".py", ".typed"))
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.relative_to(kernels).as_posix().encode() + b"\0" + path.read_bytes())
    folder = cache / digest.hexdigest()[:20]
    if not (folder / "kernels" / "__init__.py").is_file():
        _forget_old(cache)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            for path in sources:
                target = Path(temporary) / "side" / "kernels" / path.relative_to(kernels)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            try:
                (Path(temporary) / "side").rename(folder)
            except OSError:  # another comparison was faster, or a cleaner has been here
                if not (folder / "kernels" / "__init__.py").is_file():
                    raise InputError(f"{folder} is damaged: delete it") from None
    os.utime(folder)
    return folder


def _forget_old(cache: Path) -> None:
    """Delete all sides but those used last."""
    ages = {}
    for folder in cache.iterdir():
        with suppress(FileNotFoundError):  # of a comparison that has just ended
            ages[folder] = folder.stat().st_mtime
    for folder in sorted(ages, key=lambda path: -ages[path])[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
