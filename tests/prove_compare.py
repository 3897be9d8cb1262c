"""Show how often `batchbench compare` cries wolf, and which slowdowns it finds.

    python -m tests.prove_compare alarms   a revision with itself, 100 times, with and without load
    python -m tests.prove_compare power    slowdowns of 2%, 5% and 10% planted in a kernel
    python -m tests.prove_compare tell     what was found so far

Each comparison is a file in results/proofs/, with all its blocks: an interrupted proof goes on from
there, and what is told is judged anew from the blocks, look by look. Alarms take about half an
hour, power an hour and a quarter.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.intervals import proportion_interval
from bench.experiments.progress import Silent
from bench.speed.compare.benchmarks import BENCHMARKS
from bench.speed.compare.judge import LEVEL, TOLERANCE, Row, effect_of, judge, looks, settled
from bench.speed.compare.measure import BASE, HEAD, Measured, compile_sides, measure
from bench.speed.compare.sides import Side, lay_down

ROOT = Path(__file__).resolve().parents[1]
SLOWED = "64-32-10 run B=1"
COMPARED = (SLOWED, "64-32-10 block B=32")  # with itself
# Extra work for each chunk of samples in one run's SGD: a chain of fused multiply-adds, whose
# result is stored where no one reads it. Steps for a slowdown of about so many percent.
FILE, PLACE = (
    "epoch.py",
    "        train_chunk(layout, group.P, work, (count, size, scale, last), group.poison)\n",
)
EXTRA = """        wasted = load(work.scores, 0)
        for _ in range({steps}):
            wasted = fma(wasted, eta, scale)
        store(work.scores, 0, wasted)
"""
IMPORTED = "from kernels.vector import lanes, load, splat, store"
STEPS = {2: 95, 4: 230, 5: 265, 8: 480, 10: 580}
RELABELLED = 20  # times each comparison of a revision with itself
RECOMBINED = 200  # comparisons out of the recorded pairs of each slowdown


def planted(steps: int) -> Side:
    """The kernels of the working tree with extra work."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "kernels"
        shutil.copytree(ROOT / "kernels", folder, ignore=shutil.ignore_patterns("__pycache__"))
        text = (folder / FILE).read_text()
        if text.count(PLACE) != 1 or text.count(IMPORTED) != 1:
            raise RuntimeError(f"{FILE} is not as this proof expects it")
        text = text.replace(PLACE, PLACE + EXTRA.format(steps=steps))
        text = text.replace(IMPORTED, IMPORTED.replace("import ", "import fma, "))
        (folder / FILE).write_text(text)
        return Side("planted", "", lay_down(folder))


def plain() -> Side:
    """The kernels of the working tree."""
    return Side(".", "", lay_down(ROOT / "kernels"))


def _spin(core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    while True:
        sum(range(10_000))


@contextmanager
def loaded(core: int | None) -> Iterator[None]:
    """Keep a core busy meanwhile; None for none."""
    if core is None:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=_spin, args=(core,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def compare(sides: dict[str, Side], names: Sequence[str], budget: float) -> Measured:
    """One comparison as the command makes it, without its quality gate."""
    measured = Measured()
    compile_sides(sides, names, measured, Silent())
    measure(sides, names, measured, Silent(), budget=budget, tolerance=TOLERANCE)
    return measured


def record(path: Path, measured: Measured, **about: Any) -> None:
    """Write a comparison; the file is whole as soon as it has its name."""
    blocks = [list(vars(one).values()) for one in measured.times]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({**about, "planned": measured.pairs, "blocks": blocks}))
    temporary.replace(path)


def alarms(out: Path, comparisons: int, budget: float, names: Sequence[str] = COMPARED) -> None:
    """Compare the working tree with itself; every second time something loads a core, any one."""
    side = plain()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for number in range(comparisons):
        path = out / "alarms" / f"{number:04}.json"
        if path.exists():
            continue
        core = cores[number // 2 % len(cores)] if number % 2 else None
        start = time.perf_counter()
        with loaded(core):
            measured = compare({BASE: side, HEAD: side}, names, budget)
        seconds = time.perf_counter() - start
        record(path, measured, loaded=core, seconds=seconds)
        print(number, core, [row.words for row in measured.rows.values()], flush=True)


def power(out: Path, comparisons: int, budget: float, slowdowns: Sequence[int]) -> None:
    """Compare the working tree with itself slowed down, all benchmarks, all slowdowns in turns."""
    for number in range(comparisons):
        for percent in slowdowns:
            path = out / f"power-{percent}" / f"{number:04}.json"
            if path.exists():
                continue
            sides = {BASE: plain(), HEAD: planted(STEPS[percent])}
            start = time.perf_counter()
            measured = compare(sides, list(BENCHMARKS), budget)
            record(path, measured, seconds=time.perf_counter() - start)
            row = measured.rows[SLOWED]
            print(percent, number, f"{row.effect.value:.3f}", row.words, row.pairs, flush=True)


def read(folder: Path) -> list[dict[str, Any]]:
    """The comparisons of a folder."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def pairs_of(one: dict[str, Any], benchmark: str) -> list[tuple[Any, Any]]:
    """Seconds of (BASE, HEAD) of a benchmark, arrays, for each pair of processes."""
    found: dict[int, list[tuple[float, float]]] = {}
    for pair, _, name, base, head in one["blocks"]:
        if name == benchmark:
            found.setdefault(pair, []).append((base, head))
    return [tuple(np.array(blocks).T) for blocks in found.values()]


def judged(pairs: Sequence[tuple[Any, Any]], level: float, family: int) -> Row:
    """The verdict on pairs of processes."""
    base, head = ([pair[k] for pair in pairs] for k in (0, 1))
    return judge("", base, head, tolerance=TOLERANCE, level=level, family=family)


def looked_at(pairs: Sequence[tuple[Any, Any]], planned: int, family: int) -> Row:
    """The verdict after the planned looks, up to the one that settles it."""
    for after, level in looks(planned).items():
        if after <= len(pairs):
            row = judged(pairs[:after], level, family)
            if settled(row, TOLERANCE):
                break
    return row


def verdicts(one: dict[str, Any], swap: np.random.Generator | None = None) -> dict[str, str]:
    """The verdicts of a comparison by benchmark; with `swap`, sides of whole pairs by lot."""
    names = list(dict.fromkeys(name for _, _, name, *_ in one["blocks"]))
    found = {}
    for name in names:
        pairs = pairs_of(one, name)
        if swap is not None:
            pairs = [pair[::-1] if swap.random() < 0.5 else pair for pair in pairs]
        found[name] = looked_at(pairs, one["planned"], len(names)).verdict
    return found


def share(k: int, n: int) -> str:
    """A share with its 95% interval (Clopper & Pearson)."""
    found = proportion_interval(k, n)
    return f"{k} of {n} = {found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"


def counted(found: Iterable[str]) -> str:
    """How often each verdict was given: "60 same, 140 cannot tell"."""
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(found).most_common())


def tell_alarms(out: Path) -> None:
    """False alarms: slower (an alarm), or faster, where both sides are the same."""
    found, rng = read(out / "alarms"), np.random.default_rng(0)
    for title, some in (
        ("all", found),
        ("nothing else was run on purpose", [one for one in found if one["loaded"] is None]),
        ("a process loaded a core", [one for one in found if one["loaded"] is not None]),
    ):
        told = [verdicts(one) for one in some]
        for verdict in ("slower", "faster"):
            print(
                f"{title}: {verdict}: {share(sum(verdict in t.values() for t in told), len(some))}"
            )
        print(f"    of single benchmarks: {counted(v for t in told for v in t.values())}")
    again = [verdicts(one, rng) for one in found for _ in range(RELABELLED)]
    count = sum("slower" in t.values() for t in again)
    print(
        f"sides of whole pairs swapped by lot: slower in {count} of {len(again)} (not independent)"
    )


def tell_power(out: Path, percent: int) -> None:
    """How large a planted slowdown is, how often it was found, and what else was called slower."""
    found, rng = read(out / f"power-{percent}"), np.random.default_rng(0)
    if not found:
        return
    pool = [pair for one in found for pair in pairs_of(one, SLOWED)]
    true = effect_of(np.array([np.median(np.log(head / base)) for base, head in pool]), LEVEL)
    print(f"{percent}%: planted {true.value:.3f} [{true.low:.3f}, {true.high:.3f}]")
    told = [verdicts(one) for one in found]
    print(f"    found: {share(sum(t[SLOWED] == 'slower' for t in told), len(found))}")
    planned, family = found[0]["planned"], len(told[0])
    if len(pool) >= 2 * planned:
        draws = [rng.choice(len(pool), planned, replace=False) for _ in range(RECOMBINED)]
        rows = [looked_at([pool[k] for k in draw], planned, family) for draw in draws]
        count = sum(row.verdict == "slower" for row in rows)
        print(f"    of {planned} of its {len(pool)} pairs by lot: {count} of {RECOMBINED}")
    others = [v for t in told for name, v in t.items() if name != SLOWED]
    print(f"    other benchmarks: slower: {share(others.count('slower'), len(others))}")
    print(f"        {counted(others)}")


def main() -> None:
    """Run a proof, or tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("alarms", "power", "tell"))
    parser.add_argument("--comparisons", type=int, help="[100 alarms, 12 of each slowdown]")
    parser.add_argument("--budget", type=float, help="seconds of each [15, 120]")
    parser.add_argument("--slowdowns", type=int, nargs="+", default=[2, 5, 10], choices=STEPS)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "proofs")
    given = parser.parse_args()
    if given.what == "alarms":
        alarms(given.out, given.comparisons or 100, given.budget or 15.0)
    elif given.what == "power":
        power(given.out, given.comparisons or 12, given.budget or 120.0, given.slowdowns)
    if (given.out / "alarms").is_dir():
        tell_alarms(given.out)
    for percent in STEPS:
        tell_power(given.out, percent)


if __name__ == "__main__":
    main()
