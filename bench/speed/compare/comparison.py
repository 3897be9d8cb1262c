"""Two sides compared: what was asked, under which conditions it was measured, what came out."""

from __future__ import annotations

import fnmatch
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import InputError
from bench.options import seconds_of
from bench.speed.compare.judge import TOLERANCE, Row
from bench.speed.compare.measure import BASE, Measured
from bench.speed.compare.quality import Gate
from bench.speed.compare.sides import WORKING_TREE, Side
from bench.speed.process import measuring_core

BUDGET = "120s"
LEAST_BUDGET = 5.0  # seconds


@dataclass(frozen=True)
class Plan:
    """What to compare.

    Parameters
    ----------
    base, head
        Revisions, "." for the working tree.
    budget
        Seconds that timing takes, with the starts of its processes, or text such as "2min";
        compiling and the quality gate come on top.
    only
        Names of benchmarks, with * and ?, or a part of them; "" for all.
    tolerance
        The slowdown that does not matter, as a share.
    accept_different
        Whether results that differ by more than rounding are no regression as long as both sides
        learn as well.

    Raises
    ------
    InputError
        For a value that makes no sense; the message names the option.
    """

    base: str
    head: str = WORKING_TREE
    budget: float | str = BUDGET
    only: str = ""
    tolerance: float = TOLERANCE
    accept_different: bool = False

    def __post_init__(self) -> None:
        if not LEAST_BUDGET <= self.seconds < math.inf:
            raise InputError(f"--budget: take {LEAST_BUDGET:.0f}s or more, got {self.budget}")
        if not 0.0 <= self.tolerance < 1.0:
            raise InputError(
                f"--tolerance: a share of 0 or more and below 1, such as 0.01, got {self.tolerance}"
            )

    @property
    def seconds(self) -> float:
        """The budget in seconds."""
        try:
            return float(seconds_of(str(self.budget)))
        except ValueError:
            raise InputError(f"--budget: a time such as 15s or 2min, got {self.budget!r}") from None

    def benchmarks(self, known: Sequence[str]) -> list[str]:
        """Names of those to time, in their order.

        Raises
        ------
        InputError
            Where none is meant.
        """
        pattern = self.only.casefold()
        found = [
            name
            for name in known
            if pattern in name.casefold() or fnmatch.fnmatchcase(name.casefold(), pattern)
        ]
        if not found:
            raise InputError(f"--only {self.only}: no benchmark is named so: {', '.join(known)}")
        return found


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Parameters
    ----------
    plan, base, head
        What was compared.
    measured
        Times and verdicts on speed.
    gate
        Whether both sides compute and learn the same.
    conditions
        Facts on the machine while it was measured.
    """

    plan: Plan
    base: Side
    head: Side
    measured: Measured
    gate: Gate
    conditions: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the folder of results: "1a2b3c4d5..working-tree"."""
        return f"{self.base.label}..{self.head.label}"

    @property
    def rows(self) -> list[Row]:
        """Verdicts on speed, in the order of the benchmarks."""
        return list(self.measured.rows.values())

    @property
    def regressions(self) -> list[str]:
        """What is worse in HEAD, in words; nothing where the exit code is 0."""
        slower = [
            f"{row.benchmark} is slower: {row.effect.value:.3f} "
            f"[{row.effect.low:.3f}, {row.effect.high:.3f}] times"
            for row in self.rows
            if row.verdict == "slower"
        ]
        lost = [
            f"{benchmark} is only in {BASE}: {why}"
            for benchmark, (having, why) in self.measured.lacking.items()
            if having == BASE
        ]
        learning = [f"{row.name}: {row.verdict}" for row in self.gate.regressions]
        return [*slower, *lost, *learning]


def conditions() -> dict[str, str]:
    """What the machine does at this moment, as far as it tells: load, and the core's frequency."""
    told = {}
    if hasattr(os, "getloadavg"):
        told["load"] = f"{os.getloadavg()[0]:.1f} processes"
    if frequency := _megahertz(measuring_core()):
        told["frequency"] = f"{frequency:.0f} MHz"
    return told


def _megahertz(core: int) -> float:
    """The frequency of a core, 0 where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.findall(r"^cpu MHz\s*:\s*([0-9.]+)", text, re.MULTILINE)
    return float(found[core]) if core < len(found) else 0.0


def facts(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """The conditions of a comparison from those before and after it, and how it was pinned."""
    pinned = hasattr(os, "sched_setaffinity")
    told = {
        name: value if value == after.get(name) else f"{value} and {after.get(name)}"
        for name, value in before.items()
    }
    return {"core": f"{measuring_core()}" if pinned else "any, not pinned"} | told
