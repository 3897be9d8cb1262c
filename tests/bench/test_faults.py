"""Whatever happens to a command, it ends in one line, and what was there stays whole."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forks import MARK, ROOT, Child, Forks, left, marked
from tests.prove_kills import KINDS, QUICK, Proof

STUDY = ["study", "iris", "--seeds", "3", "--batch-sizes", "32,full", "--learning-rates", "0.5"]
INTERRUPTED = "batchbench: interrupted; a study goes on from here by the same command\n"
# What a command does at the moment is replaced by something long, in one of its modules
BUSY = """
import sys, time
import bench.{0} as module
def busy(*_, **__):
    print("busy", flush=True)
    try:
        time.sleep(60)
    finally:
        print("tidying", flush=True)
        while {2}:  # and a library swallows whatever comes
            try:
                time.sleep(60)
            except BaseException:
                pass
module.{1} = busy
"""
WRITES_AT_MOST = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\n"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks at Linux's processes")


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Return what starts commands."""
    with Forks(tmp_path_factory.mktemp("told")) as forks:
        yield forks


@pytest.fixture(scope="module")
def earlier(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished study, which later ones take timings from."""
    out = tmp_path_factory.mktemp("earlier")
    code, child = forks.run([*STUDY, "--out", out], setup=QUICK)
    assert code == 0, child.told
    return out


@pytest.fixture
def out(earlier: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder."""
    return Path(shutil.copytree(earlier, tmp_path / "out"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder, by path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def blocks(out: Path) -> dict[str, bytes]:
    """Return the files of blocks, by name."""
    return {path.name: path.read_bytes() for path in out.rglob("*.npz")}


def refused(code: int, child: Child) -> str:
    """Check that a command ended as where its input is bad; return its line."""
    lines = [line for line in child.told.splitlines() if line.startswith("batchbench: ")]
    assert (code, len(lines)) == (2, 1), child.told
    assert "Traceback" not in child.told
    assert child.told.endswith(lines[0] + "\n")
    return lines[0]


def test_five_kills_change_nothing(forks: Forks, tmp_path: Path) -> None:
    """A fixed plan and rounds, killed five times, write what undisturbed ones write, to the bit."""
    proof = Proof(tmp_path, forks, seed=1)
    for kind, kills in zip(KINDS, (3, 2), strict=False):
        while kills > 0:
            before = proof.tally.kills
            proof.disturb(kind, kills)
            kills -= proof.tally.kills - before
    assert proof.tally.faults == []
    assert proof.tally.kills == 5


@pytest.mark.parametrize(
    ("command", "busy"),
    [
        (STUDY, "study.compile_once"),
        (STUDY, "study.analyse"),
        (STUDY, "view.write"),
        (["roofline"], "roofline.measure"),
        (["peers"], "peers.measure"),
        (["compare", "."], "compare._compared"),
        (["calibrate"], "calibration.calibrate"),
        (["history"], "history.read"),
    ],
)
def test_sigterm_and_ctrl_c_end_any_command(
    forks: Forks, tmp_path: Path, command: list[str], busy: str
) -> None:
    """One line, exit code 130, after the command has tidied up; a second one does not wait."""
    for number, again in ((signal.SIGTERM, False), (signal.SIGINT, True)):
        child = forks.start(
            [*command, "--out", tmp_path],
            setup=QUICK + BUSY.format(*busy.rsplit(".", 1), again),
        )
        child.until("busy")
        child.send(number)
        child.until("tidying")
        if again:
            child.send(number)
        assert child.wait() == 130
        assert child.told.endswith(INTERRUPTED)
        assert child.told.count("batchbench: ") == 1
        assert "Traceback" not in child.told
        if not again:
            assert list((tmp_path / ".blocks").rglob("views/*/*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_programs_that_are_timed_end_with_the_command(
    forks: Forks, tmp_path: Path, number: int
) -> None:
    """Interrupted or killed while processes of its own train, it leaves none of them."""
    child = forks.start([*STUDY, "--out", tmp_path])
    child.until("Timing the programs")
    while len(marked(child.mark)) < 2:
        time.sleep(0.01)
    child.send(number)
    assert child.wait() == (130 if number == signal.SIGTERM else -number)
    assert child.left() == []
    assert "Traceback" not in child.told


PARENT = """
import subprocess, sys, time
child = [sys.executable, "-c", "from bench.speed.process import end_with_parent as end\\nend()\\n"
         "print(1, flush=True)\\nwhile True: pass"]
process = subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
process.stdout.readline()
print("busy", flush=True)
time.sleep(60)
"""


def test_a_busy_process_ends_with_its_parent() -> None:
    """In the middle of work that has no end, a process that is timed notices a SIGKILL of ours."""
    environment = os.environ | {MARK: (mark := uuid.uuid4().hex)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT, env=environment
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"busy\n"
        assert len(marked(mark)) == 2
        parent.kill()
    assert left(mark) == []


def test_simulations_end_with_the_command(forks: Forks, tmp_path: Path) -> None:
    """Killed while it simulates in processes of its own, `calibrate` leaves none of them."""
    child = forks.start(["calibrate", "--workers", 2, "--out", tmp_path])
    while len(marked(child.mark)) < 3:
        time.sleep(0.01)
    child.send(signal.SIGKILL)
    child.wait()
    assert child.left() == []


def test_sigterm_at_the_start(tmp_path: Path) -> None:
    """From the moment that the interpreter has started, before anything is imported, it is tidy."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "study", "iris", "--out", str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        status = Path(f"/proc/{process.pid}/status")
        while not int(status.read_text().split("SigCgt:")[1].split()[0], 16) >> 14 & 1:
            time.sleep(0.001)
        process.terminate()
        assert process.communicate()[1] == INTERRUPTED
    assert process.returncode == 130


@pytest.mark.parametrize("limit", [1000, 5000, 30_000])
def test_a_full_disk_is_one_line(forks: Forks, out: Path, limit: int) -> None:
    """Wherever the disk is full: exit code 2, the earlier study whole, and blocks that were done.

    At a block, runs.parquet, a table, a figure or the page, as files may not be larger than that.
    """
    before, kept = contents(out / "iris"), blocks(out)
    index = (out / "index.html").read_bytes()
    command = [*STUDY, "--seeds", 4, "--out", out]
    code, child = forks.run(command, setup=QUICK + WRITES_AT_MOST.format(limit))
    assert "File too large" in refused(code, child)
    assert contents(out / "iris") == before
    assert (out / "index.html").read_bytes() == index
    assert kept.items() <= blocks(out).items()
    assert list(out.rglob("*.tmp")) == list(out.rglob("views/*/*")) == []
    if limit > 4000:
        assert len(blocks(out)) == len(kept) + 2


def test_a_full_disk_while_the_index_is_written(forks: Forks, out: Path) -> None:
    """The study is in its place, the index is the earlier one, and the line names it."""
    index = out / "index.html"
    index.write_text("the earlier one")
    full = "import bench.report.index as index\ndef put(*_): raise OSError(28, 'No space left')\n"
    command = [*STUDY, "--seeds", 4, "--out", out]
    code, child = forks.run(command, setup=f"{QUICK}{full}index.put = put\n")
    assert "index.html: No space left" in refused(code, child)
    assert index.read_text() == "the earlier one"
    assert b'"seeds": 4' in (out / "iris" / "study.json").read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 100 kB, which needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk(forks: Forks, small_disk: Path) -> None:
    """Full for real: one line, and whole blocks; read-only: one line, and nothing has changed."""
    command = [*STUDY, "--seeds", 30, "--out", small_disk]
    code, child = forks.run(command, setup=QUICK)
    assert "No space left on device" in refused(code, child)
    kept = blocks(small_disk)
    assert kept
    assert all(data[-22:-18] == b"PK\5\6" for data in kept.values())
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, child = forks.run(command, setup=QUICK)
    assert "Read-only file system" in refused(code, child)
    assert blocks(small_disk) == kept


@pytest.mark.parametrize(
    "command", [STUDY, ["roofline"], ["peers"], ["compare", "."], ["study", "mistakes"]]
)
def test_a_folder_that_cannot_be_made(forks: Forks, tmp_path: Path, command: list[str]) -> None:
    """A file in place of the output folder is told before anything is trained or timed."""
    (tmp_path / "file").write_text("mine")
    assert "file" in refused(*forks.run([*command, "--out", tmp_path / "file" / "out"]))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        (STUDY, "iris"),
        (["roofline"], "roofline"),
        (["peers"], "peers"),
        (["study", "all"], "all"),
        (["study", "mistakes"], "mistakes"),
    ],
)
def test_what_is_the_users_is_never_replaced(
    forks: Forks, tmp_path: Path, command: list[str], folder: str
) -> None:
    """A folder of that name which the program did not write is refused before anything is done."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "thesis.tex").write_text("years of work")
    told = refused(*forks.run([*command, "--out", tmp_path]))
    assert f"{folder} is there and nothing that batchbench wrote" in told
    assert contents(tmp_path) == {f"{folder}/thesis.tex": b"years of work"}


def test_a_table_may_not_take_a_reserved_name(forks: Forks, tmp_path: Path) -> None:
    """`--name all` would take the place of another study."""
    table = tmp_path / "t.csv"
    table.write_text("a,b\n" + "".join(f"{i * i % 7}.5,{i % 2}\n" for i in range(20)))
    for name in ("all", "History", "iris", "compare"):
        command = ["study", table, "--target", "b", "--name", name, "--out", tmp_path / "out"]
        assert f"name: {name} is" in refused(*forks.run(command))
    assert not (tmp_path / "out").exists()


DAMAGE = {
    "study.json": ["", "{", "[]", '{"study": "iris", "options": 3}', '{"rounds": {"done": "x"}}'],
    "seconds.csv": ["", "program,batch_size\nbatchbench,1\n", "\0\1", "program\n\xff"],
}


@pytest.mark.parametrize(("file", "text"), [(f, t) for f, texts in DAMAGE.items() for t in texts])
def test_what_cannot_be_understood_counts_as_not_there(
    earlier: Path, tmp_path: Path, file: str, text: str
) -> None:
    """A study.json or seconds.csv that is cut, foreign or older is neither fatal nor believed."""
    from bench import study as module
    from bench.experiments.progress import Silent
    from bench.options import Options

    given = {"seeds": 3, "batch_sizes": [32, "full"], "learning_rates": [0.5]}
    shutil.copytree(earlier / "iris", tmp_path / "iris")
    settings = Options.of({**given, "out": tmp_path})
    training = module.prepare("iris", settings, Silent())
    before = module.same_before(training, settings)
    assert module.timed_before(training, before, "seconds.csv") is not None
    (tmp_path / "iris" / file).write_bytes(text.encode("latin-1"))
    before = module.same_before(training, settings)
    assert module.rounds_of(before) is None
    assert module.timed_before(training, before, "seconds.csv") is None
    (tmp_path / "iris" / file).unlink()
    (tmp_path / "iris" / file).mkdir()
    before = module.same_before(training, settings)
    assert module.timed_before(training, before, "seconds.csv") is None


def test_a_study_that_lost_files_is_told(out: Path) -> None:
    """`bench.load` and what it gives name the file that is missing or damaged, in one line."""
    import bench
    from bench.errors import InputError

    study = bench.load(out / "iris")
    (out / "iris" / "runs.parquet").unlink()
    (out / "iris" / "summary.csv").write_bytes(b"")
    (out / "iris" / "claims.json").write_text("{")
    for name, file in (("runs", "runs.parquet"), ("summary", "summary.csv"), ("claims", "claims")):
        with pytest.raises(InputError, match=file):
            getattr(study, name)
    (out / "iris" / "study.json").write_text('{"study": "iris"}')
    with pytest.raises(InputError, match=r"study\.json is not a study's, or of another version"):
        bench.load(out / "iris")


def test_two_at_once(forks: Forks, out: Path) -> None:
    """The second command on a study says who works; `prune` says so too; another study goes on."""
    first = forks.start(
        [*STUDY, "--out", out], setup=QUICK + BUSY.format("study", "analyse", False)
    )
    first.until("busy")
    told = refused(*forks.run([*STUDY, "--out", out]))
    assert f"iris: process {first.pid} on " in told
    assert f"process {first.pid} on " in refused(*forks.run(["prune", "--out", out]))
    first.send(signal.SIGKILL)
    first.wait()
    code, child = forks.run(["prune", "--out", out])
    assert code == 0, child.told


JUMPS = """
import time, datetime, itertools
from bench import view
jumps = itertools.cycle([-4e8, 9e8, -9e8, 3e9])
real = time.time
time.time = lambda: real() + next(jumps)
class Jumping(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(time.time(), tz)
view.datetime = Jumping
"""


def test_a_clock_that_jumps_changes_nothing(forks: Forks, earlier: Path, tmp_path: Path) -> None:
    """With a clock that goes back and forth by years, all but the date is the same."""
    code, child = forks.run([*STUDY, "--out", tmp_path], setup=QUICK + JUMPS)
    assert code == 0, child.told
    assert blocks(tmp_path) == blocks(earlier)
    found, expected = contents(tmp_path / "iris"), contents(earlier / "iris")
    dated = {"study.json", "report.html"}
    assert {name for name in expected if found[name] != expected[name]} <= dated


CLOSED = {
    "nothing at all": "<&- >&- 2>&-",
    "a reader that is gone": "2>&1 | head -c 1",
}


@pytest.mark.parametrize("streams", CLOSED.values(), ids=CLOSED.keys())
def test_no_terminal(streams: str) -> None:
    """Closed streams, an unknown terminal and the C locale are no failure."""
    environment = {k: v for k, v in os.environ.items() if k not in ("TERM", "LANG", "PYTHONUTF8")}
    environment |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", MARK: "x"}
    command = f"set -o pipefail; {sys.executable} -m bench study iris --dry-run {streams}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
