"""Whether a study fits into this machine's memory: told before it is begun, by an estimate."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from bench.errors import InputError
from bench.experiments.block import LANES
from bench.problems import Problem

UNKNOWN = 8 << 30  # bytes, where the system does not tell
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
BYTES_A_RUN = 300  # in the frames that statistics are taken of
NUMBER_BYTES = 4
COPIES = 6  # of the parameters: start, current, gradient, a rule's two memories, one in between


def available() -> int:
    """Return the bytes of memory that this process may use at most."""
    found = UNKNOWN
    with suppress(OSError, ValueError, AttributeError):  # Windows has no sysconf
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        found = min(found, int(LIMIT.read_text()))
    return found


def check(problem: Problem, n_seeds: int, n_batch_sizes: int, n_rates: int, workers: int) -> None:
    """Refuse networks or numbers of seeds that no memory here holds.

    Parameters
    ----------
    problem
        With its network.
    n_seeds, n_batch_sizes, n_rates
        Their product is the number of runs; of a population, each is one of many networks.
    workers
        Threads, each of which trains 16 runs or a population at a time.

    Raises
    ------
    InputError
        In a line that names the option, and tells what it takes and what there is.
    """
    limit, networks = available(), problem.population or 1
    runs = n_seeds * n_batch_sizes * max(LANES, n_rates) * networks
    if (asked := BYTES_A_RUN * runs) > limit:
        raise InputError(
            f"seeds: {n_seeds:,} of them make {runs:,} runs, whose results take about "
            f"{_gigabytes(asked)} of memory; there are {_gigabytes(limit)}: give fewer"
        )
    size = problem.network.n_params
    if (asked := NUMBER_BYTES * COPIES * size * LANES * networks * workers) > limit:
        raise InputError(
            f"hidden: {size:,} parameters, {LANES * networks:,} networks at a time in each of "
            f"{workers} threads, take about {_gigabytes(asked)} of memory; there are "
            f"{_gigabytes(limit)}: give smaller layers, or fewer --workers"
        )


def _gigabytes(size: int) -> str:
    """Write bytes as gigabytes, whatever their number."""
    return f"{max(1, size >> 30):,} GiB"
