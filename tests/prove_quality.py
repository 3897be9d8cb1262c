"""Show that the quality gate of `batchbench compare` catches the planted errors of `make mutants`.

    python -m tests.prove_quality              all that are planted in kernels/; about an hour
    python -m tests.prove_quality ReLU order   those whose names hold one of these words
    python -m tests.prove_quality --tell       what was found so far

Each error is planted in a copy of the kernels. That copy and the working tree's kernels answer the
gate's probes, one after the other, until one is a regression; only then is the next compiled. What
was found of an error is a line in results/proofs/quality.jsonl: an interrupted proof goes on from
there, and an edit of the kernels, the probes or the gate begins anew.

That no other rounding is taken for an error was looked at in the same way: AVX2's registers, no
look-ahead, no contraction, and chunks of 8 samples move nothing that is trained by more than 4
roundings, where 150 to 510 are allowed, and make no measure of a study worse.

Exit code 0: the gate caught every error that runs and that a valid call can show; 1: some survived.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.speed.compare.measure import BASE, HEAD, SideProcess
from bench.speed.compare.quality import Outcome, judge, names
from bench.speed.compare.sides import Side, side
from bench.speed.process import EndedError
from tests.mutants import MUTANTS, ROOT, Mutant, plant

IN_KERNELS = [mutant for mutant in MUTANTS if mutant.file.startswith("kernels/")]
COMPARE = ROOT / "bench" / "speed" / "compare"
JUDGES = (
    *sorted((ROOT / "kernels").glob("*.py")),
    *(COMPARE / name for name in ("probes.py", "quality.py")),
)
# No call shows these: they survive, and are planted all the same
INVISIBLE = {
    "the cache overlooks edits in other files": (
        "no number changes: each side has a folder, and so a cache, of its own"
    ),
    "parts of memory unchecked under NUMBA_BOUNDSCHECK": (
        "no number changes: a check that is compiled for tests alone, of accesses that do not occur"
    ),
}


class Asked:
    """The unplanted side's answers: asked for once, by whichever worker comes first."""

    def __init__(self, base: Side) -> None:
        self._process = SideProcess(BASE, base)
        self._answers: dict[str, Outcome] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Outcome:
        with self._lock:
            if name not in self._answers:
                self._answers[name] = answer_of(self._process, name)
            if self._answers[name][0] != "done":
                raise RuntimeError(f"where nothing is planted: {name}: {self._answers[name]}")
            return self._answers[name]

    def close(self) -> None:
        """End its process."""
        self._process.__exit__()


def answer_of(process: SideProcess, name: str) -> Outcome:
    """What a side finds."""
    try:
        process.send(("quality", (name,)))
        outcome: Outcome = process.receive()
    except EndedError as error:
        return "ended", str(error)
    return outcome


def try_mutant(mutant: Mutant, base: Asked) -> dict[str, Any]:
    """Plant an error and ask the gate: what it finds first, and in what time."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="quality-") as temporary:
        folder = Path(temporary)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "kernels", folder / "kernels", ignore=ignore)
        plant(mutant, folder)
        with SideProcess(HEAD, Side(mutant.name, "planted", folder)) as head:
            verdict, detail = first_finding(head, base)
    seconds = round(time.perf_counter() - start, 1)
    return {"mutant": mutant.name, "verdict": verdict, "detail": detail, "seconds": seconds}


def first_finding(head: SideProcess, base: Asked) -> tuple[str, str]:
    """("caught", "not running" or "survived", what was found)."""
    for name in names():
        gate = judge({name: base[name]}, {name: answer_of(head, name)})
        if gate.failed:
            return "not running", f"{name}: {gate.failed[0].note}"
        if gate.regressions:
            row = gate.regressions[0]
            return "caught", f"{row.verdict}: {row.name}: {row.note}"
    return "survived", "all probes and studies"


def key_of(mutant: Mutant) -> str:
    """Hash of all that decides what is found of an error."""
    digest = hashlib.sha256(repr(mutant[:4]).encode())
    for path in JUDGES:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Findings by key; a line that was cut off is no finding."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            one = json.loads(line)
        except ValueError:
            continue
        found[one["key"]] = one
    return found


def prove(mutants: Sequence[Mutant], path: Path, workers: int) -> None:
    """Try all mutants that have no line yet."""
    found, keys = read(path), {mutant: key_of(mutant) for mutant in mutants}
    missing = [mutant for mutant in mutants if keys[mutant] not in found]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.read_bytes().endswith(b"\n"):  # a line was cut off
        path.write_bytes(path.read_bytes() + b"\n")
    base, lock = Asked(side(".")), threading.Lock()

    def try_one(mutant: Mutant) -> None:
        one = {"key": keys[mutant], **try_mutant(mutant, base)}
        with lock, path.open("a") as lines:
            lines.write(json.dumps(one) + "\n")
        print(words(one), flush=True)

    try:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(try_one, missing))
    finally:
        base.close()


def words(one: dict[str, Any]) -> str:
    """A line of the table."""
    why = INVISIBLE.get(one["mutant"]) if one["verdict"] == "survived" else None
    verdict = "invisible" if why else one["verdict"]
    return f"{one['mutant']:56} {verdict:11} {one['seconds']:4.0f} s  {why or one['detail']}"


def tell(mutants: Sequence[Mutant], path: Path) -> int:
    """Print all findings and their count: the exit code."""
    found = read(path)
    ours = [found[key] for mutant in mutants if (key := key_of(mutant)) in found]
    for one in ours:
        print(words(one))
    verdicts = [one["verdict"] for one in ours]
    survived = [one for one in ours if one["verdict"] == "survived"]
    invisible = [one for one in survived if one["mutant"] in INVISIBLE]
    running = len(ours) - len(invisible) - verdicts.count("not running")
    print(
        f"{verdicts.count('caught')} of {running} caught that run and show; "
        f"{len(invisible)} cannot show, {verdicts.count('not running')} do not run; "
        f"{len(mutants) - len(ours)} not tried yet"
    )
    return int(len(survived) > len(invisible))


def main() -> int:
    """Run the proof, or tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="parts of names [all]")
    parser.add_argument("--tell", action="store_true", help="only what was found so far")
    parser.add_argument("--workers", type=int, default=1, help="mutants at a time [1]")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "proofs")
    given = parser.parse_args()
    mutants = [m for m in IN_KERNELS if not given.words or any(w in m.name for w in given.words)]
    path = given.out / "quality.jsonl"
    if not given.tell:
        prove(mutants, path, given.workers)
        print()
    return tell(mutants, path)


if __name__ == "__main__":
    sys.exit(main())
