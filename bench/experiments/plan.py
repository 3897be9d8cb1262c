"""The grid of a study, as blocks: lattices of rates, budgets, roles of seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.experiments.block import LANES, Block
from bench.experiments.rules import ADAM_HALF_LIFE
from bench.problems import Problem
from kernels.train import GRID_STEP

# Every rate is 2 ** (k / 8): coarse rates are every fourth of them
COARSE_STEP = 4
# First exponent, in eighths: 2 ** -6; Adam's steps do not shrink with the gradient: 2 ** -12
COARSE_START = {"adam": -96, ADAM_HALF_LIFE: -96}
COARSE_START_OTHERS = -48

MIN_EPOCHS = 30
MIN_UPDATES = 300

PILOT_BATCH_SIZE = 32
PILOT_EPOCHS = (2, 4, 8)
GRID_SHARE = 32  # of the pilot's length, that the first evaluation comes after
PILOT_SHARE = 0.25  # of a problem's budget of examples, that the pilot lasts at most
PILOT_SEEDS = tuple(range(1_000_000, 1_000_016))


def lattice_rate(eighths: int) -> float:
    """Return 2 ** (eighths / 8), so that rates a power of two apart are so exactly."""
    octaves, rest = divmod(eighths, 8)
    return math.ldexp(2.0 ** (rest / 8), octaves)


def lattice_index(rate: float) -> int:
    """Return the exponent, in eighths, of the lattice's rate nearest to this one."""
    return round(8 * math.log2(rate))


def coarse_rates(rule: str) -> tuple[float, ...]:
    """Return the 16 coarse rates 2 ** (k / 2): k = -12..3, for Adam -24..-9."""
    start = COARSE_START.get(rule, COARSE_START_OTHERS)
    return tuple(lattice_rate(start + COARSE_STEP * k) for k in range(LANES))


def extend(rates: Sequence[float], side: str) -> tuple[float, ...]:
    """Return the next 16 coarse rates on the "lower" or the "upper" side of these."""
    if side == "lower":
        start = lattice_index(min(rates)) - LANES * COARSE_STEP
    else:
        start = lattice_index(max(rates)) + COARSE_STEP
    return tuple(lattice_rate(start + COARSE_STEP * k) for k in range(LANES))


def fine_rates(pick: float) -> tuple[float, ...]:
    """Return the 16 rates pick x 2 ** (j / 8), j = -7..8, around a rate of the lattice."""
    center = lattice_index(pick)
    return tuple(lattice_rate(center + j) for j in range(-7, 9))


def role(seed: int) -> str:
    """Return "tune" for every third seed, from 0 on, else "report": more seeds change no role."""
    return "tune" if seed % 3 == 0 else "report"


def of_role(seeds: Iterable[int], kind: str) -> tuple[int, ...]:
    """Return the seeds that tune, or report, in their order."""
    return tuple(seed for seed in seeds if role(seed) == kind)


def updates_per_epoch(n_train: int, batch_size: int) -> int:
    """Return ceil(N / B): the last, shorter batch is an update too."""
    return -(-n_train // batch_size)


def budget_epochs(problem: Problem, batch_size: int) -> int:
    """Return a run's budget: the problem's updates, else max(30 epochs, 300 updates), in epochs.

    At most the problem's budget of examples, rounded up to a whole epoch.
    """
    per_epoch = updates_per_epoch(problem.n_train, batch_size)
    if problem.updates_budget is not None:
        return -(-problem.updates_budget // per_epoch)
    epochs = max(MIN_EPOCHS, -(-MIN_UPDATES // per_epoch))
    if problem.examples_budget is not None:
        epochs = min(epochs, -(-problem.examples_budget // problem.n_train))
    return epochs


def grid(
    problem: Problem,
    rule: str,
    batch_size: int,
    rates: Iterable[float],
    seeds: Iterable[int],
    checkpoints: tuple[int, ...] | None = None,
) -> list[Block]:
    """Return the blocks that run these rates from these seeds, for the full budget.

    Rates are sorted, and cut into blocks of 16; `checkpoints` are as of `Block`, None for
    `evaluation_points`.
    """
    ascending = sorted(rates)
    parts = [tuple(ascending[i : i + LANES]) for i in range(0, len(ascending), LANES)]
    epochs = budget_epochs(problem, batch_size)
    checkpoints = evaluation_points(problem, epochs) if checkpoints is None else checkpoints
    return [
        Block(rule, batch_size, part, seed, epochs, problem.population, checkpoints)
        for seed in seeds
        for part in parts
    ]


def pilot(problem: Problem, rule: str, rates: Iterable[float]) -> list[Block]:
    """Return the pilot's blocks: batch size 32, its own 16 seeds, evaluated at `pilot_points`.

    Fewer than 32 training samples are one batch.
    """
    size = min(PILOT_BATCH_SIZE, problem.n_train)
    points = pilot_points(problem)
    blocks = grid(problem, rule, size, rates, PILOT_SEEDS, points)
    return [replace(block, epochs=-(-points[-1] // problem.n_train)) for block in blocks]


def pilot_points(problem: Problem) -> tuple[int, int, int]:
    """Return the examples after which the pilot is looked at: 2, 4 and 8 epochs.

    Of data so large that 8 epochs are more than a quarter of the problem's budget of examples:
    that quarter, its half and its fourth part.
    """
    last = PILOT_EPOCHS[-1] * problem.n_train
    if problem.examples_budget is not None:
        last = min(last, round(PILOT_SHARE * problem.examples_budget))
    return last // 4, last // 2, last


def evaluation_points(problem: Problem, epochs: int) -> tuple[int, ...] | None:
    """Return the examples at which runs are evaluated; None for the standard grid.

    The standard grid begins at a quarter of an epoch, a 32nd part of the pilot. Where the pilot
    is shorter than 8 epochs, so that targets are met within one, the grid begins as early.
    """
    start = pilot_points(problem)[-1] / GRID_SHARE
    if start >= problem.n_train / 4:
        return None
    total = epochs * problem.n_train
    steps = math.floor(math.log(total / start, GRID_STEP))
    points = [start * GRID_STEP**k for k in range(steps + 1)]
    return tuple(sorted({math.ceil(point) for point in points}))


def halvings(problem: Problem, batch_size: int, times: int = 1) -> tuple[int, ...]:
    """Return the examples at which to evaluate where ends alone count.

    Those of so many times the budget, halved 1 to 8 times.
    """
    total = times * problem.n_train * budget_epochs(problem, batch_size)
    return tuple(sorted({total >> k for k in range(1, 9)} - {0}))
