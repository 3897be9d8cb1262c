"""Bytes per second that this core moves from each level of its memory: the slopes of a roofline.

Two sweeps over ever larger working sets: one that only reads, and one with the traffic of a step of
training, which reads the weights in the forward pass and reads and writes them for the gradient.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.speed.peak import vector_lanes
from kernels.jit import jit
from kernels.layout import aligned_zeros
from kernels.memory import as_memory
from kernels.vector import lanes, load, splat, store

KIB, MIB = 1024, 1024**2
SMALLEST, LARGEST = 4 * KIB, 512 * MIB
BEYOND = 4  # the sweep ends at so many times the last cache, or at LARGEST
UNKNOWN = 256 * MIB  # or here, where nobody tells how large the caches are
PER_OCTAVE = 2  # working sets
AT_ONCE = 8  # vectors of a step: so many sums or stores wait for none of the others
STEP_PASSES = 3  # over the weights in a step of training: read, read again and written
SWEEP_SECONDS = 2e-3
# Where levels are found from the curve: the fall that ends one, and what is flat again behind it
FALL, FLAT = 1.15, 1.08
CACHES = Path("/sys/devices/system/cpu")
MEMORY = "memory"


@jit
def read(array: Any, passes: int) -> None:
    """Read `array`, whole steps of 8 vectors, `passes` times; keep eight sums in registers."""
    values = as_memory(array)
    step, zero = lanes(values), splat(values, 0.0)
    a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
    for _ in range(passes):
        for p in range(0, values.size, 8 * step):
            a, b = a + load(values, p), b + load(values, p + step)
            c, d = c + load(values, p + 2 * step), d + load(values, p + 3 * step)
            e, f = e + load(values, p + 4 * step), f + load(values, p + 5 * step)
            g, h = g + load(values, p + 6 * step), h + load(values, p + 7 * step)
    store(values, 0, a + b + c + d + e + f + g + h)


@jit
def train_like(array: Any, passes: int) -> None:
    """Do what a step of training does to weights: read them all, then read and write them all."""
    values = as_memory(array)
    step, change = lanes(values), load(values, 0)
    for _ in range(passes):
        read(array, 1)
        for p in range(0, values.size, 4 * step):
            a, b = load(values, p) + change, load(values, p + step) + change
            c, d = load(values, p + 2 * step) + change, load(values, p + 3 * step) + change
            store(values, p, a)
            store(values, p + step, b)
            store(values, p + 2 * step, c)
            store(values, p + 3 * step, d)


class Curve(NamedTuple):
    """Bytes per second against the size of the working set.

    Parameters
    ----------
    sizes
        Bytes of the working set, (n,), ascending.
    training
        Bytes per second, (n,), at two bytes read for one written.
    reading
        Bytes per second, (n,), where nothing is written.
    """

    sizes: NDArray[np.int64]
    training: NDArray[np.float64]
    reading: NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """A level of the memory.

    Parameters
    ----------
    name
        "L1", "L2", ..., "memory".
    capacity
        In bytes; infinite for memory.
    training, reading
        Bytes per second, as of `Curve`.
    """

    name: str
    capacity: float
    training: float
    reading: float


def cache_sizes(core: int = 0, root: Path = CACHES) -> list[int]:
    """Bytes of each level's data cache as the system tells, ascending; [] where it does not.

    From `root`/cpuN/cache of Linux. (`os.sysconf` tells the last level of all cores of a processor
    together, of which a virtual machine may see a tenth.)
    """
    found: dict[int, int] = {}
    for index in (root / f"cpu{core}" / "cache").glob("index*"):
        if not (index / "size").exists():  # Linux leaves out what it does not know
            continue
        level, kind, size = (
            (index / name).read_text().strip() for name in ("level", "type", "size")
        )
        if kind != "Instruction":
            found[int(level)] = _bytes(size)
    return [found[level] for level in sorted(found)]


def _bytes(text: str) -> int:
    """Bytes of "32K" or "1M"."""
    units = {"K": KIB, "M": MIB, "G": KIB * MIB}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def working_sets(caches: Sequence[int]) -> list[int]:
    """Bytes of the working sets to sweep over, two an octave, from 4 KiB on."""
    largest = min(BEYOND * caches[-1], LARGEST) if caches else UNKNOWN
    steps = int(PER_OCTAVE * math.log2(largest / SMALLEST))
    return [round(SMALLEST * 2 ** (k / PER_OCTAVE)) for k in range(steps + 1)]


def measure_curve(sizes: Sequence[int]) -> Curve:
    """Measure the bytes per second of each working set once.

    Parameters
    ----------
    sizes
        Bytes, about: a working set is a whole number of steps of 8 vectors.
    """
    step = AT_ONCE * vector_lanes(np.empty(1, np.float32))
    counts = [max(1, size // (4 * step)) * step for size in sizes]
    values = aligned_zeros(max(counts), np.float32)
    values.fill(0.0)  # zeros that were never written are all one page
    kernels = (train_like, read)
    training, reading = np.array(
        [[_seconds(kernel, values[:n]) for n in counts] for kernel in kernels]
    )
    true_sizes = 4 * np.array(counts)
    return Curve(true_sizes, STEP_PASSES * true_sizes / training, true_sizes / reading)


def best_curve(curves: Sequence[Curve]) -> Curve:
    """The most that was seen at each working set: what else the machine does only slows it down."""
    training, reading = (np.max([curve[k] for curve in curves], axis=0) for k in (1, 2))
    return Curve(curves[0].sizes, training, reading)


def _seconds(kernel: Callable[[NDArray[Any], int], None], values: NDArray[np.float32]) -> float:
    """Seconds of one pass over the values, of as many passes as take long enough to be timed."""
    kernel(values, 1)  # compiles, and brings the values near
    passes = 1
    while True:
        start = time.perf_counter()
        kernel(values, passes)
        seconds = time.perf_counter() - start
        if seconds >= SWEEP_SECONDS:
            return seconds / passes
        passes = max(2 * passes, int(passes * 1.2 * SWEEP_SECONDS / max(seconds, 1e-6)))


def levels(curve: Curve, caches: Sequence[int]) -> list[Level]:
    """Levels with their bandwidths: medians over the working sets that lie well inside of each.

    A working set is well inside where it is at least twice the level above and at most half of
    the level itself; of memory, at least twice the last cache.

    Parameters
    ----------
    curve
        What was measured.
    caches
        Bytes of each level's cache; [] finds them from the curve (`capacities`).
    """
    caches = caches or capacities(curve)
    found = []
    for place, (above, own) in enumerate(pairwise([0, *caches, math.inf])):
        inside = (curve.sizes >= 2 * above) & (curve.sizes <= own / 2)
        if inside.any():
            name = MEMORY if math.isinf(own) else f"L{place + 1}"
            rates = (float(np.median(rate[inside])) for rate in (curve.training, curve.reading))
            found.append(Level(name, own, *rates))
    return found


def capacities(curve: Curve) -> list[int]:
    """Bytes of each cache, as the curve tells: the largest working set before each fall.

    A level goes on for as long as the next two working sets are not both slower than its median by
    the factor FALL; the slope behind its end is skipped. [] where nothing falls.
    """
    rates, found = curve.training, []
    start, place = 0, 1
    while place + 1 < len(rates):
        if rates[place : place + 2].max() < np.median(rates[start:place]) / FALL:
            found.append(int(curve.sizes[place - 1]))
            while rates[place + 1 : place + 3].min(initial=np.inf) < rates[place] / FLAT:
                place += 1
            start = place
        place += 1
    return found


def level_of(size: float, found: Sequence[Level]) -> Level:
    """The level that a working set of so many bytes lives in: the first that holds it, or the last.

    (A cache so large that the sweep never leaves it is the last that was found.)
    """
    return next((level for level in found if size <= level.capacity), found[-1])


def read_caches() -> list[int]:
    """`cache_sizes` of the core that this process may use last, where everything is measured."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}
    return cache_sizes(max(cores))
