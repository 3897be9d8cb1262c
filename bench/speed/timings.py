"""Timings as tables for a terminal: speed beside the fma peak, and beside the last run.

Everything here is pure: records in, lines of plain ASCII out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

COLUMNS = ("1", "8", "32", "128", "full")
LABEL, CELL = 13, 17
# What a block of 16 runs is to reach on digits, as a share of the fma peak, at these batch sizes
AIM, AIMED = 0.4, ("1", "8", "32", "128")


class Work(NamedTuple):
    """A call to time, and its size."""

    call: Callable[[], Any]
    samples: int  # trained or passed, times runs
    flops: int


@dataclass(frozen=True)
class Timing:
    """One timing, as it is kept in the `extra_info` of pytest-benchmark's JSON.

    Parameters
    ----------
    operation, case, batch_size
        What was timed: the place in the tables.
    title
        The case in words.
    seconds
        Median of a call.
    samples, flops
        Size of a call.
    peak
        Floating-point operations per second of fused multiply-adds, measured around the timing.
    first_call
        Seconds of the first call, which compiles what was not compiled before; not in `seconds`.
    reference
        Seconds of the reference workload, measured around the timing.
    relative_low, relative_high
        95% interval of `relative_seconds`, from the rounds of both; 0 and infinity where there were
        too few.
    """

    operation: str
    case: str
    batch_size: str
    title: str
    seconds: float
    samples: int
    flops: int
    peak: float
    first_call: float
    reference: float = math.nan
    relative_low: float = 0.0
    relative_high: float = math.inf

    @property
    def speed(self) -> float:
        """Floating-point operations per second."""
        return self.flops / self.seconds

    @property
    def share(self) -> float:
        """Share of the fma peak."""
        return self.speed / self.peak

    @property
    def relative_seconds(self) -> float:
        """Seconds of a call over those of the reference workload: what the history compares."""
        return self.seconds / self.reference

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same timing in another run."""
        return self.case, self.operation, self.batch_size


def table(timings: Sequence[Timing], cell: Callable[[Timing], str]) -> list[str]:
    """Lines of a table: a row per case and operation, a column per batch size."""
    lines = []
    for title in dict.fromkeys(t.title for t in timings):
        lines.append(title)
        rows = [t for t in timings if t.title == title]
        for operation in dict.fromkeys(t.operation for t in rows):
            cells = {t.batch_size: cell(t) for t in rows if t.operation == operation}
            columns = "".join(cells.get(size, "").rjust(CELL) for size in COLUMNS)
            lines.append(f"  {operation:<{LABEL}}{columns}".rstrip())
    header = "".join(f"B = {size}".rjust(CELL) for size in COLUMNS)
    return [" " * (LABEL + 2) + header, *lines]


def short(value: float) -> str:
    """Two or three digits: "4.6", "61", "887", "8.1k", "132k", "1.3M"."""
    power = 0
    while value >= 999.5:
        value, power = value / 1000, power + 1
    return f"{value:.{int(value < 9.95)}f}{('', 'k', 'M', 'G')[power]}"


def speed_cell(timing: Timing) -> str:
    """Nanoseconds per sample, GF/s, share of the peak."""
    per_sample = short(timing.seconds * 1e9 / timing.samples)
    return f"{per_sample:>5} {short(timing.speed / 1e9):>4} {timing.share:4.0%}"


def speed_lines(timings: Sequence[Timing]) -> list[str]:
    """Lines that tell how fast everything was, and how fast it could be."""
    peaks = sorted(t.peak / 1e9 for t in timings)
    compiling = sum(t.first_call - t.seconds for t in timings)
    return [
        f"fma peak of this core, float32, measured around each timing: "
        f"{peaks[0]:.0f} to {peaks[-1]:.0f} GF/s",
        f"first calls, which load or compile kernels, took {max(compiling, 0):.1f} s: not timed",
        "each cell: ns per sample (and run), GF/s, share of the peak",
        *table(timings, speed_cell),
    ]


def aim_lines(timings: Iterable[Timing]) -> list[str]:
    """Whether a block of 16 runs on digits does at least 40% of the fma peak at each B."""
    found = {t.batch_size: t for t in timings if (t.case, t.operation) == ("digits", "block of 16")}
    if not found:
        return []
    lines = [f"a block of 16 runs on digits is to do {AIM:.0%} of the fma peak:"]
    for size in AIMED:
        if size in found:
            t = found[size]
            word = "reached" if t.share >= AIM else "FALLS SHORT"
            lines.append(
                f"  B = {size:<4} {t.speed / 1e9:5.1f} of {t.peak / 1e9:5.1f} GF/s"
                f" = {t.share:4.0%}  {word}"
            )
    return lines


def comparison_lines(
    timings: Sequence[Timing], before: Mapping[tuple[str, str, str], float]
) -> list[str]:
    """Lines that compare with earlier runs; `before` holds `relative_seconds` by `key`."""
    known = [t for t in timings if t.key in before]
    if not known:
        return ["no earlier run on this machine to compare with"]
    return [
        "time per call as a ratio to the last run on this machine, both relative to the reference",
        "workload timed beside them; above 1 is slower. Single runs differ by 10% and more on a",
        "machine that does other things too: a hint where to look; `batchbench history` judges",
        *table(known, lambda t: f"{t.relative_seconds / before[t.key]:.2f}"),
    ]
