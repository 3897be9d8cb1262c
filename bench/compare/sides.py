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
from dataclasses import dataclass
from pathlib import Path

from bench.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
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
        """A name for tables and folders: letters, digits, dots and hyphens."""
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
        commit = "" if _changed() else _short("HEAD")
        return Side(revision, commit, lay_down(ROOT / "kernels"))
    # A name that begins with a hyphen would be an option of git
    found = (
        None
        if revision.startswith("-")
        else _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    )
    if found is None:
        raise InputError(
            f"{revision!r} is no revision of the repository in {ROOT.name}/: name a commit, branch "
            "or tag that `git log` knows, or . for the working tree"
        )
    archive = _git("archive", found.decode().strip(), "kernels")
    if archive is None:
        raise InputError(f"{revision!r} has no kernels/: compare with a later commit")
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(temporary, filter="data")
        return Side(revision, _short(revision), lay_down(Path(temporary) / "kernels"))


def _git(*arguments: str) -> bytes | None:
    """Standard output of a git command in the checkout; None where it fails or git is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout


def _short(revision: str) -> str:
    return (_git("rev-parse", f"--short={SHORT}", f"{revision}^{{commit}}") or b"").decode().strip()


def _changed() -> bool:
    """Whether the working tree's kernels are others than the last commit's, or git cannot tell."""
    status = _git("status", "--porcelain", "--", "kernels")
    return status is None or bool(status)


def _cache() -> Path:
    """A writable folder for sides: in the user's cache, else a temporary one of this user's."""
    places = [Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())]
    for place in (*places, Path(tempfile.gettempdir())):
        folder = place / f"batchbench-compare-{os.getuid() if hasattr(os, 'getuid') else 0}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
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
    if not folder.is_dir():
        _forget_old(cache)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            for path in sources:
                target = Path(temporary) / "side" / "kernels" / path.relative_to(kernels)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            try:
                (Path(temporary) / "side").rename(folder)
            except OSError:  # another comparison was faster
                if not folder.is_dir():
                    raise
    os.utime(folder)
    return folder


def _forget_old(cache: Path) -> None:
    """Delete all sides but those used last."""
    folders = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
