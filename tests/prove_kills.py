"""Proof that a study survives kill -9: `python -m tests.prove_kills [--kills 100] [--out DIR]`.

Studies in processes of their own are killed by SIGKILL, at moments that are uniform over the time
that an undisturbed one takes, and are started again by the same command until they end. Two of ten
times they are interrupted instead, by SIGINT or SIGTERM, once or twice. What they have written at
their end is then held against the undisturbed study's, file by file and byte by byte.

Most are given the seconds that programs take: then all that they write must be the same, page and
figures too. Where programs are timed, two undisturbed studies differ as well: `MEASURED` and the
like list what depends on seconds, and is left out.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tests.forks import Child, Forks

# Drawing takes two thirds of a short study: most draw few figures, the undisturbed one too
FEW_FIGURES = """
from bench.report import figures
for name in {*figures.FIGURES} - {"answer", "xor_answer"}:
    del figures.FIGURES[name]
"""
# In place of timing programs
GIVEN_SECONDS = """
import pandas as pd
from bench import study
from bench.speed.seconds import OURS, given_cost, installed
def given(problem):
    costs = [(OURS, 1e-6, 1e-7), *((program, 1e-4, 1e-6) for program in installed(None))]
    frames = [given_cost(problem, c0, c1).assign(program=program) for program, c0, c1 in costs]
    return pd.concat(frames, ignore_index=True)
study.measure_seconds = given
"""
QUICK = FEW_FIGURES + GIVEN_SECONDS
ENDED = re.compile(r"batchbench: interrupted; [^\n]*\n")

# Files that depend on measured seconds, in a folder where nothing was timed before
MEASURED = {"seconds.csv", "powers.csv", "fastest.csv", "ratios.csv", "report.html"}
MEASURED_FIGURES = {"answer", "fastest", "programs", "seconds"}
MEASURED_KEYS = {"answer", "recommended"}  # of study.json
SECONDS = re.compile("second")


@dataclass(frozen=True)
class Kind:
    """A kind of study.

    Parameters
    ----------
    name
        Of it.
    command
        Arguments of `batchbench`, but for --out.
    setup
        What its processes run first.
    timed
        Whether programs are timed.
    """

    name: str
    command: str
    setup: str = QUICK
    timed: bool = False

    @property
    def study(self) -> str:
        """The study's name."""
        return self.command.split()[1]

    def arguments(self, out: Path) -> list[str]:
        """The words of the command."""
        return [*self.command.split(), "--out", str(out)]


FIXED = "study iris --seeds 3 --batch-sizes 8,32,full --learning-rates 0.25,0.5"
ROUNDS = "study iris --seeds 6 --rounds 2"
KINDS = (
    Kind("fixed plan", FIXED),
    Kind("rounds", ROUNDS),
    Kind("populations", "study notes --seeds 2 --batch-sizes 2,full --learning-rates 0.5,1"),
    Kind("fixed plan, timed", f"{FIXED} --step-cost 1e-4,1e-6", FEW_FIGURES, timed=True),
    Kind("fixed plan, all figures", FIXED, GIVEN_SECONDS),
)
SHARES = (4, 3, 2, 1, 1)  # of the studies, by kind
WARM = 15.0  # seconds: a study that takes longer is measured again


@dataclass
class Tally:
    """What was done to studies, and what came of it.

    Parameters
    ----------
    kills, interruptions
        Processes that a SIGKILL, or a SIGINT or SIGTERM, ended.
    studies
        Studies that went on to their end.
    during
        Kills by what the study was at.
    faults
        A line for all that is not as it should be.
    """

    kills: int = 0
    interruptions: int = 0
    studies: int = 0
    during: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Proof:
    """Undisturbed studies, and those that are held against them.

    Parameters
    ----------
    folder
        For all that is written.
    seed
        Of the moments.
    """

    def __init__(self, folder: Path, forks: Forks, seed: int = 0) -> None:
        self.folder, self.forks = folder, forks
        self.random = random.Random(seed)
        self.tally = Tally()
        self._undisturbed: dict[str, tuple[dict[str, Any], float]] = {}

    def undisturbed(self, kind: Kind) -> tuple[dict[str, Any], float]:
        """What the study writes and how long it takes where nobody disturbs it."""
        if kind.name not in self._undisturbed:
            for _ in range(2):  # the first one may compile
                out = self._new_folder()
                began = time.monotonic()
                code, child = self.forks.run(kind.arguments(out), setup=kind.setup)
                seconds = time.monotonic() - began
                assert code == 0, child.told
                if seconds < WARM:
                    break
            self._undisturbed[kind.name] = written(out, kind), seconds
        return self._undisturbed[kind.name]

    def disturb(self, kind: Kind, kills: int) -> None:
        """Kill a study until it ends, or so many times; then let it end and look at it."""
        expected, seconds = self.undisturbed(kind)
        out = self._new_folder()
        left = kills
        while left > 0:
            numbers = self._signals()
            ended, done = self._attempt(kind, out, self.random.uniform(0.0, seconds), numbers)
            if done:
                break
            left -= ended
        else:
            code, child = self.forks.run(kind.arguments(out), setup=kind.setup)
            if code:
                self._fault(kind, f"ended with {code}: {child.told}")
        self.tally.studies += 1
        for path in differences(expected, written(out, kind)):
            self._fault(kind, f"differs: {path}")
        shutil.rmtree(out)

    def _attempt(
        self, kind: Kind, out: Path, seconds: float, numbers: Sequence[int]
    ) -> tuple[int, bool]:
        """Start, disturb: whether a SIGKILL ended it, and whether it came to its end."""
        child = self.forks.start(kind.arguments(out), setup=kind.setup)
        with later(child, seconds, numbers):
            code = child.wait()
        if pids := child.left():
            self._fault(kind, f"left processes {pids} after {numbers}")
        if code == -signal.SIGKILL:
            self.tally.kills += 1
            at = stage(child.told)
            self.tally.during[at] = self.tally.during.get(at, 0) + 1
            return 1, False
        if code == 130:
            self.tally.interruptions += 1
            lines = [line for line in child.told.splitlines() if "interrupted" in line]
            if len(lines) != 1 or "Traceback" in child.told or not ENDED.search(child.told):
                self._fault(kind, f"told of {numbers}: {child.told}")
            return 0, False
        if code:
            self._fault(kind, f"ended with {code} after {numbers}: {child.told}")
        return 0, True

    def _signals(self) -> tuple[int, ...]:
        """What to send: mostly SIGKILL."""
        if self.random.random() < 0.8:
            return (signal.SIGKILL,)
        number = self.random.choice((signal.SIGINT, signal.SIGTERM))
        return (number,) * self.random.choice((1, 2))

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder)) / "out"

    def _fault(self, kind: Kind, what: str) -> None:
        self.tally.faults.append(f"{kind.name}: {what}")


@contextmanager
def later(child: Child, seconds: float, numbers: Sequence[int]) -> Iterator[None]:
    """Send signals after so many seconds, a moment apart, unless the `with` block has ended."""
    ended = threading.Event()

    def send() -> None:
        if not ended.wait(seconds):
            for number in numbers:
                child.send(number)
                ended.wait(0.3)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def stage(told: str) -> str:
    """What a study was at, by the last line that it has told."""
    lines = told.splitlines()
    return lines[-1].split(":")[0].split(" of ")[0] if lines else "start"


def written(out: Path, kind: Kind) -> dict[str, Any]:
    """Return what a study has written, by path: all of it that no clock decides.

    Left out are `.tmp` files of killed processes and what lies beside locks, which `prune`
    deletes, and, where programs were timed, what `MEASURED` and its like name. Dates are those of
    one day, whichever it is.
    """
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or path.suffix in (".tmp", ".lock") or name.startswith(".blocks/locks/"):
            continue
        content = of_file(path, name.removeprefix(f"{kind.study}/"), kind)
        if content is not None:
            found[name] = content
    return found


def of_file(path: Path, name: str, kind: Kind) -> Any:
    """Return what of a file must be the same each time; None for nothing."""
    data = path.read_bytes()
    if path.suffix in (".npz", ".parquet", ".png"):
        return None if kind.timed and measured_figure(name) else data
    text = re.sub(r"\b20\d\d-\d\d-\d\d\b", "DATE", data.decode())
    if not kind.timed:
        return text
    if name in MEASURED or name == "index.html" or measured_figure(name):
        return None
    if name == "summary.csv":
        frame = pd.read_csv(path)
        return frame[[c for c in frame if not SECONDS.search(c)]].to_csv()
    if name == "claims.json":
        return [row for row in json.loads(text) if row.get("axis") != "seconds"]
    if name == "study.json":
        return {k: v for k, v in json.loads(text).items() if k not in MEASURED_KEYS}
    return text


def measured_figure(name: str) -> bool:
    """Whether a file is a figure that shows seconds."""
    return name.startswith("figures/") and Path(name).stem in MEASURED_FIGURES


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the files that only one of two studies has, or that differ."""
    return sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))


def prove(kills: int, folder: Path, *, seed: int = 0, kinds: Sequence[Kind] = KINDS) -> Tally:
    """Kill studies so many times in all; return what came of it."""
    order = [kind for kind, share in zip(kinds, SHARES, strict=False) for _ in range(share)]
    with Forks(folder / "told") as forks:
        proof = Proof(folder, forks, seed)
        proof.random.shuffle(order)
        turn = 0
        while proof.tally.kills < kills:
            kind = order[turn % len(order)]
            proof.disturb(kind, min(proof.random.randint(1, 5), kills - proof.tally.kills))
            turn += 1
            print(f"{kind.name}: {proof.tally.kills} kills", flush=True)
    return proof.tally


def main() -> None:
    """Prove it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a folder to work in [a temporary one]")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        tally = prove(options.kills, Path(folder), seed=options.seed)
    print(
        f"{tally.kills} kills and {tally.interruptions} interruptions of {tally.studies} studies "
        f"in {time.monotonic() - began:.0f} s; faults: {len(tally.faults)}"
    )
    for what, number in sorted(tally.during.items(), key=lambda one: -one[1]):
        print(f"  {number:3} killed after: {what}")
    print("\n".join(tally.faults))
    raise SystemExit(bool(tally.faults))


if __name__ == "__main__":
    main()
