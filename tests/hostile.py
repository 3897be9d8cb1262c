"""Hostile input: a thousand malformed files and absurd options; each gives a result or one line.

`python -m tests.hostile [--cases 1000] [--seed 0]` draws the cases of `tests/hostile_cases.py` and
runs each in a forked process of its own, which is watched. A case ends with exit code 0, or with 2
and one line on standard error; it prints no control character, writes nothing outside its `--out`,
takes no more than 10 s and 1 GiB. What does is told with the command that shows it again, and its
files are kept. The same seed and number of cases draw the same ones; `--only KIND:NUMBER`
runs one.

A machine that others use too is slower than it is: a case hangs where it has used 10 s of
processor time, or where a minute went by.

A whole study is run with made-up timings of programs in place of measured ones, which take longer
than 10 s to start: names and cells of a table never reach them.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from tests.hostile_cases import GOOD, Case, drawn, model_bytes

SECONDS = 10.0  # of processor time, and of a quiet machine's clock
PATIENCE = 60.0  # of the clock, where the processor is not used: for what waits for ever
MEMORY = 1 << 30  # bytes resident
POLL = 0.01  # seconds between two looks at a case
OK, REFUSED = 0, 2  # exit codes
OUT = "out"  # where cases may write
KILLED = "killed"


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Parameters
    ----------
    code
        Exit code; minus a signal's number.
    out, told
        Standard output and standard error.
    wall, cpu, memory
        Seconds of the clock and of processors, and the largest number of bytes resident.
    faults
        Sentences; none where all is well.
    """

    code: int
    out: str
    told: str
    wall: float
    cpu: float
    memory: int
    faults: tuple[str, ...]


def made_up_seconds(problem: object) -> pd.DataFrame:
    """Return seconds per update as `measure_seconds` does, of nothing that was measured."""
    sizes = np.array([1.0, float(problem.n_train)])  # type: ignore[attr-defined]
    cost = 1e-6 * (1.0 + sizes)
    return pd.DataFrame(
        {"program": "batchbench", "batch_size": sizes.astype(int), "mean_batch": sizes}
        | {
            "seconds_per_update": cost,
            "low": cost / 1.1,
            "high": cost * 1.1,
            "c0": 1e-6,
            "c1": 1e-6,
        }
    )


def prepare() -> None:
    """Import and compile what cases need, so that forked processes have it."""
    from bench import cli, study

    study.measure_seconds = made_up_seconds  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "in.csv"
        path.write_bytes(GOOD)
        out, sink = ["--out", f"{place}/out", "--workers=1"], open(os.devnull, "w")  # noqa: SIM115
        streams = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = sink
        try:
            for target in ("label", "y"):
                for shape in (
                    ["--hidden=32"],
                    ["--hidden=32,8", "--activation=tanh", "--rule=adam"],
                ):
                    cli.run(["study", str(path), f"--target={target}", *shape, "--dry-run", *out])
            plan = ["--seeds=3", "--batch-sizes=8,full", "--learning-rates=0.1,0.4"]
            cli.run(["study", str(path), "--target=y", *plan, *out])
        finally:
            sys.stdout, sys.stderr = streams
            sink.close()
    model_bytes()


def run_case(case: Case, folder: Path) -> Outcome:
    """Make a case's files in an empty folder, run it there, and look at what it did."""
    work = folder / "work"
    work.mkdir()
    for file in case.files:
        with suppress(OSError, ValueError):  # a name that no file can have
            file.make(work / file.name)
    (work / OUT).mkdir()
    before = listing(work)
    began = time.monotonic()
    child = os.fork()
    if not child:
        _child(case, folder, work)
    code, usage, killed = _watched(child, began)
    wall, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    out, told = (
        (folder / name).read_text(encoding="utf-8", errors="surrogateescape")
        for name in ("stdout", "stderr")
    )
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    faults = [*killed, *faults_of(case, code, out, told)]
    if cpu > SECONDS:
        faults.append(f"{cpu:.1f} s of processor time")
    if memory > MEMORY:
        faults.append(f"{memory >> 20:,} MiB resident")
    if changed := listing(work) ^ before:
        faults.append(f"wrote or changed {sorted(changed)[:4]} outside {OUT}")
    faults += page_faults(work / OUT)
    return Outcome(code, out, told, wall, cpu, memory, tuple(faults))


def _child(case: Case, folder: Path, work: Path) -> None:
    """Call the command with its streams in files; never return."""
    code = 70
    try:
        os.setsid()
        os.chdir(work)
        for number, name, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, folder / "stdout", os.O_WRONLY | os.O_CREAT),
            (2, folder / "stderr", os.O_WRONLY | os.O_CREAT),
        ):
            os.dup2(os.open(name, flags, 0o600), number)
        from bench import cli

        sys.argv = ["batchbench", *case.arguments]
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        if code == OK and case.arguments[0] == "study" and "--dry-run" not in case.arguments:
            read_back(case)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:
        with suppress(BaseException):
            os.write(
                2, f"Traceback: {type(error).__name__}: {error}"[:2000].encode("utf-8", "replace")
            )
    finally:
        os._exit(code)


def read_back(case: Case) -> None:
    """Read a study's files, draw its figures from them, and predict with its model."""
    import bench
    from bench.model import load_model, predict

    done = bench.load(next(Path(OUT).glob("*/study.json")).parent)
    assert len(done.runs)
    assert len(done.summary)
    assert len(done.seconds)
    assert len(done.claims)
    for path in (done.folder / "figures").glob("*.csv"):
        done.figure(path.stem)
    assert len(predict(load_model(Path(OUT) / "model.npz"), case.arguments[-1]))


def _watched(child: int, began: float) -> tuple[int, resource.struct_rusage, list[str]]:
    """Wait for a process; kill it where it takes far too long or far too much memory."""
    killed: list[str] = []
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage, killed
        wall, cpu, resident = time.monotonic() - began, *_used(child)
        if not killed and (wall > PATIENCE or cpu > 2 * SECONDS or resident > 2 * MEMORY):
            killed.append(
                f"{KILLED} after {wall:.0f} s, {cpu:.0f} s of processor time, at "
                f"{resident >> 20:,} MiB"
            )
            os.killpg(child, signal.SIGKILL)
        time.sleep(POLL)


def _used(process: int) -> tuple[float, int]:
    """Processor seconds and resident bytes of a process; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def listing(folder: Path) -> set[tuple[str, int, int]]:
    """Return names, sizes and times of change of all that is in a folder and beside it, but OUT."""
    found = set()
    for root in (folder, folder.parent):
        for path in root.rglob("*") if root == folder else root.iterdir():
            inside = path.relative_to(root).parts
            if root == folder and inside[0] != OUT:
                state = path.lstat()
                size = -1 if path.is_dir() else state.st_size
                found.add((str(path), size, 0 if path.is_dir() else state.st_mtime_ns))
            elif root != folder and inside[0] not in ("work", "stdout", "stderr"):
                found.add((str(path), 0, 0))
    return found


def faults_of(case: Case, code: int, out: str, told: str) -> Iterator[str]:
    """Say what is wrong with an exit code and what was printed."""
    if code not in (OK, REFUSED):
        yield f"exit code {code}: {told[-300:]!r}"
    elif "Traceback" in told or "Warning" in told:
        yield f"a traceback or a warning: {told[-300:]!r}"
    elif code == OK and case.must_refuse:
        yield "was not refused"
    elif code == REFUSED:
        last = told.removesuffix("\n").split("\n")[-1]
        progress = case.arguments[0] == "study" and "--dry-run" not in case.arguments
        if not last.startswith("batchbench: ") or (told != f"{last}\n" and not progress):
            yield f"refused in other words than one line: {told[:300]!r}"
        elif len(last) > 1000:
            yield f"refused in {len(last):,} characters"
        if out:
            yield f"refused, and printed {out[:100]!r}"
    # To a file or a pipe `predict` writes the bytes of names and classes as they are
    for name, text in (
        ("output", "" if case.arguments[0] == "predict" else out),
        ("error stream", told),
    ):
        if odd := sorted({c for c in text if _moves_the_cursor(c)}):
            yield f"control characters in its {name}: {odd[:5]}"


def _moves_the_cursor(character: str) -> bool:
    """Whether a terminal may take a character for a command, or for another direction."""
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cf", "Cs")


class Page(HTMLParser):
    """What a page asks a browser to do."""

    HARMLESS = re.compile(
        r"#|([\w%.-]+/)?(figures/\w+\.(svg|png|csv)|report\.html|\w+\.csv)$|data:"
    )

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Count scripts; note what a browser would fetch or run."""
        self.scripts += tag == "script"
        for name, value in attributes:
            if name.startswith("on"):
                self.faults.append(f"the page has {name}={value!r}")
            address = name in ("src", "href", "action", "data", "poster", "xlink:href")
            if address and not self.HARMLESS.match(value or "#"):
                self.faults.append(f"the page points to {value!r}")


def page_faults(out: Path) -> Iterator[str]:
    """Say what a browser or a spreadsheet might be made to do by the files of a study."""
    for path in sorted(out.rglob("*.html")):
        page, text = Page(), path.read_text(encoding="utf-8")
        page.feed(text)
        yield from page.faults
        if page.scripts > 1:
            yield f"the page has {page.scripts} scripts"
    for path in sorted(out.rglob("*.svg")):
        text = path.read_text(encoding="utf-8")
        if re.search(r"<(script|image|foreignObject)|\son\w+=|javascript:", text):
            yield f"{path.name} holds more than a drawing"
    for path in sorted(out.rglob("*.csv")):
        yield from csv_faults(path)


FORMULA = re.compile(r"[=+@\t\r\n＝＋－＠-]")
NUMBER = re.compile(r"[+-]?([0-9.]+(e[+-]?[0-9]+)?|inf)$", re.IGNORECASE)


def csv_faults(path: Path) -> Iterator[str]:
    """Say which cell of a CSV file a spreadsheet would take for a formula."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            for cell in row:
                if FORMULA.match(cell) and not NUMBER.match(cell):
                    yield f"{path.name} has a cell {cell[:40]!r}"
                    return


def run_all(cases: dict[str, Case], keep: Path) -> dict[str, Outcome]:
    """Run cases one after the other; keep the files of those with faults."""
    prepare()
    found: dict[str, Outcome] = {}
    for name, case in cases.items():
        folder = Path(tempfile.mkdtemp(prefix="hostile-"))
        try:
            found[name] = run_case(case, folder)
            if found[name].faults:
                _tell(name, case, found[name])
                shutil.rmtree(keep / name.replace(":", "-"), ignore_errors=True)
                shutil.copytree(
                    folder, keep / name.replace(":", "-"), symlinks=True, ignore=_no_pipes
                )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return found


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    """Names that cannot be copied."""
    return [name for name in names if not (Path(folder) / name).is_file()
            and not (Path(folder) / name).is_dir()]  # fmt: skip


def _tell(name: str, case: Case, outcome: Outcome) -> None:
    """Print what is wrong with a case."""
    command = ascii(shlex.join(["batchbench", *(one[:200] for one in case.arguments)]))[:600]
    made = ", ".join(f"{f.name[:60]!a} by {ascii(f.make)[:200]}" for f in case.files)
    print(f"{name}: {'; '.join(outcome.faults)}\n    {command}\n    {made}", flush=True)


def summary(found: dict[str, Outcome]) -> Iterable[str]:
    """Say how many cases of each kind gave what, and what they took at most."""
    by_kind: dict[str, list[Outcome]] = {}
    for name, outcome in found.items():
        by_kind.setdefault(name.partition(":")[0], []).append(outcome)
    yield f"{'kind':10} cases results refused faults  clock s  processor s  MiB"
    for kind, some in (*by_kind.items(), ("all", [*found.values()])):
        codes = Counter(one.code for one in some)
        yield (
            f"{kind:10} {len(some):5} {codes[OK]:7} {codes[REFUSED]:7} "
            f"{sum(bool(one.faults) for one in some):6} {max(one.wall for one in some):8.1f} "
            f"{max(one.cpu for one in some):12.1f} {max(one.memory for one in some) >> 20:5,}"
        )


def main() -> int:
    """Run the cases; return 1 where one has a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="KIND[:NUMBER],...")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "hostile")
    asked = parser.parse_args()
    began = time.monotonic()
    cases = drawn(asked.cases, asked.seed)
    if asked.only:
        wanted = asked.only.split(",")
        cases = {n: c for n, c in cases.items() if n in wanted or n.partition(":")[0] in wanted}
    found = run_all(cases, asked.keep)
    print(*summary(found), sep="\n")
    print(f"{len(found):,} cases, seed {asked.seed}, in {time.monotonic() - began:.0f} s")
    if any(one.faults for one in found.values()):
        print(f"Files of the cases with faults are in {asked.keep}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
