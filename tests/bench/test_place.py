"""A study's folder: one process at a time, as a whole, and nothing of the user's is lost."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import pytest

from bench.errors import InputError
from bench.experiments import lock, place, prune
from bench.experiments.place import replacing, working

ROOT = Path(__file__).resolve().parents[2]
RECORD = '{"study": "iris", "blocks": []}'


def publish(out: Path, name: str, **files: str) -> Path:
    """Publish a study of these files besides its record."""
    with working(out, name), replacing(out, name) as folder:
        for file, text in {"study.json": RECORD, **files}.items():
            (folder / file).write_text(text)
    return out / name


def names(folder: Path) -> set[str]:
    """Return the names in a folder."""
    return {path.name for path in folder.iterdir()}


def test_a_study_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    """Publishing replaces a study's folder as a whole, and leaves nothing else behind."""
    publish(tmp_path, "iris", **{"noise.csv": "1"})
    publish(tmp_path, "iris", **{"theory.csv": "2"})
    assert names(tmp_path / "iris") == {"study.json", "theory.csv"}
    assert names(tmp_path) == {"iris", ".blocks"}
    assert list((tmp_path / ".blocks" / "views").iterdir()) == []


def test_what_the_user_put_into_a_study_stays(tmp_path: Path) -> None:
    """A file and a folder that we do not write are taken along, to the byte."""
    study = publish(tmp_path, "iris")
    (study / "model.npz").write_bytes(b"mine")
    (study / "thesis").mkdir()
    (study / "thesis" / "chapter").write_text("one")
    publish(tmp_path, "iris")
    assert (study / "model.npz").read_bytes() == b"mine"
    assert (study / "thesis" / "chapter").read_text() == "one"


@pytest.mark.parametrize("kind", ["folder", "file", "link", "loop", "other json"])
def test_what_is_not_ours_is_refused_and_stays(tmp_path: Path, kind: str) -> None:
    """A folder, file or link of the user's in place of a study's folder is told in one line."""
    theirs = tmp_path / "src"
    if kind == "folder":
        (theirs / "deep").mkdir(parents=True)
        (theirs / "deep" / "code.py").write_text("print()")
    elif kind == "file":
        theirs.write_text("text")
    elif kind == "loop":
        theirs.symlink_to(theirs)
    elif kind == "link":
        (tmp_path / "elsewhere").mkdir()
        theirs.symlink_to(tmp_path / "elsewhere")
    else:
        theirs.mkdir()
        (theirs / "study.json").write_text('{"patients": 12}')
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"src is there .*--out.*--name"), working(tmp_path, "src"):
        pytest.fail("it was let in")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_comes_meanwhile_is_refused_too(tmp_path: Path) -> None:
    """A folder that the user makes while a study runs is not replaced at its end."""

    def meanwhile() -> None:
        with working(tmp_path, "src"), replacing(tmp_path, "src"):
            (tmp_path / "src").mkdir()
            (tmp_path / "src" / "code.py").write_text("print()")

    with pytest.raises(InputError, match="src is there"):
        meanwhile()
    assert names(tmp_path / "src") == {"code.py"}


@pytest.mark.parametrize(
    "name", sorted(p.parent.name for p in ROOT.glob("results/reference/*/report.html"))
)
def test_the_published_studies_are_ours(name: str) -> None:
    """Each published folder is known as ours, and all that lies in it as written by us."""
    folder = ROOT / "results" / "reference" / name
    place.refuse_foreign(folder)
    assert names(folder) <= place.WRITTEN


def test_a_damaged_study_is_still_ours(tmp_path: Path) -> None:
    """A study.json that was cut does not make a stranger of its folder."""
    study = publish(tmp_path, "iris")
    (study / "study.json").write_text(RECORD[:15])
    publish(tmp_path, "iris")
    assert (study / "study.json").read_text() == RECORD


def test_an_exception_leaves_the_earlier_study(tmp_path: Path) -> None:
    """Where writing fails, the earlier study stays whole, and the half one is gone."""
    publish(tmp_path, "iris", **{"noise.csv": "1"})

    def failing(error: Exception) -> None:
        with working(tmp_path, "iris"), replacing(tmp_path, "iris") as folder:
            (folder / "study.json").write_text("half")
            raise error

    with pytest.raises(InputError, match="No space left"):
        failing(OSError(errno.ENOSPC, "No space left"))
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())
    assert names(tmp_path / "iris") == {"study.json", "noise.csv"}
    assert list((tmp_path / ".blocks" / "views").rglob("*")) == []


def test_a_study_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    """Killed between two renames, the earlier study is put back by whoever comes next."""
    for come in (lambda: working(tmp_path, "iris").__enter__(), lambda: prune(tmp_path)):
        study = publish(tmp_path, "iris", **{"noise.csv": "1"})
        views = tmp_path / ".blocks" / "views" / "iris"
        (views / "new").mkdir(parents=True)
        study.replace(views / "old")
        come()
        assert names(study) == {"study.json", "noise.csv"}
        assert not (views / "new").exists()


def test_names_that_begin_alike_are_apart(tmp_path: Path) -> None:
    """The study iris does not clear away what iris.2 is writing."""
    with working(tmp_path, "iris.2"), replacing(tmp_path, "iris.2") as folder:
        (folder / "study.json").write_text(RECORD)
        publish(tmp_path, "iris")
    assert names(tmp_path / "iris.2") == {"study.json"}


HOLD = """
import sys, time
from pathlib import Path
from bench.experiments.place import working
with working(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen:
    """Return another process that works on iris."""
    command = [sys.executable, "-c", HOLD, str(tmp_path), "iris"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_says_who_works(tmp_path: Path, holder: subprocess.Popen) -> None:
    """Process, host and time of who works are told; other studies and their index go on."""
    who = rf"iris: process {holder.pid} on .*, since 20.* works on it .*--out"
    with pytest.raises(InputError, match=who), working(tmp_path, "iris"):
        pytest.fail("it was let in")
    publish(tmp_path, "wine")
    with pytest.raises(InputError, match=rf"process {holder.pid} on .* works on iris: prune"):
        prune(tmp_path)


def test_a_killed_process_holds_nothing(tmp_path: Path, holder: subprocess.Popen) -> None:
    """After a SIGKILL the next process works at once."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    publish(tmp_path, "iris")
    assert prune(tmp_path) == 0


def test_a_process_does_not_wait_for_itself(tmp_path: Path) -> None:
    """The same study twice in one process, in a thread or not, is refused and not a deadlock."""

    def second() -> None:
        with pytest.raises(InputError, match=f"process {os.getpid()} "), working(tmp_path, "iris"):
            pytest.fail("it was let in")

    with working(tmp_path, "iris"), working(tmp_path, "all"):
        second()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    publish(tmp_path, "iris")


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "No locks")])
def test_a_disk_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Where the file system knows no locks, one sentence says so, and the study goes on."""

    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filelock.BaseFileLock, "acquire", acquire)
    told: list[str] = []
    with working(tmp_path, "iris", told.append), replacing(tmp_path, "iris") as folder:
        (folder / "study.json").write_text(RECORD)
    assert len(told) == 1
    assert "no locks" in told[0]


def test_nobody_begins_while_blocks_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that begins during a prune is told to come again, and not robbed of its blocks."""
    publish(tmp_path, "iris")
    monkeypatch.setattr(lock, "GATE_SECONDS", 0.0)
    with lock.alone(tmp_path / ".blocks"), pytest.raises(InputError, match="being pruned"):
        publish(tmp_path, "wine")


def test_a_damaged_note_of_who_works_is_another_process(tmp_path: Path) -> None:
    """Whatever lies beside a lock, its holder is told somehow."""
    with working(tmp_path, "iris"):
        for text in ("", "[]", json.dumps({"pid": 1})):
            (tmp_path / ".blocks" / "locks" / "iris.json").write_text(text)
            with (
                pytest.raises(InputError, match="another process works"),
                working(tmp_path, "iris"),
            ):
                pytest.fail("it was let in")
