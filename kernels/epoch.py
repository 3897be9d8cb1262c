"""Training as a loop over chunks of samples (`chunk.py`), in four ways: `trainer` chooses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.arrays import Data, Order, Runs, Work
from kernels.chunk import (
    add_chunk_gradient,
    fill_gram,
    gather,
    go_ahead,
    train_chunk,
    train_chunk_ahead,
    train_sample,
    weigh_gram,
)
from kernels.jit import inlined, inner, jit
from kernels.memory import as_memory, part
from kernels.schedule import Schedule
from kernels.updates import SGD, Rule, StillStep, step_of, update
from kernels.vector import lanes, load, splat, store


def trainer(rule: Rule, plan: Schedule) -> Callable[..., None]:
    """The entry point that trains by a rule as a schedule says.

    Each is compiled, and kept on disk, by itself: what is not needed is not compiled.
    """
    if not plan.whole:
        return train_summed
    if isinstance(rule, SGD):
        return train_directly
    return train_ahead if plan.span > plan.batch_size else train_samples


def train_runs(
    layout: Any, rule: Rule, data: Data, order: Order, stretch: Any, runs: Runs, work: Work
) -> None:
    """Train all groups on the examples start .. stop of the epochs in `order`, in place.

    stretch = (start, stop, steps before, schedule). start must begin a chunk and stop end a batch.
    """
    trainer(rule, stretch[3])(layout, rule, data, order, stretch, runs, work)


@inner
def _group(runs: Any, n_groups: int, g: int) -> Any:
    """Memory of one group."""
    size, n_lanes = runs.P.size // n_groups, runs.rates.size // n_groups
    n_slots = runs.slots.size // n_groups
    return Runs(
        part(runs.P, g * size, size),
        part(runs.slots, g * n_slots, n_slots),
        part(runs.rates, g * n_lanes, n_lanes),
        part(runs.poison, g * n_lanes, n_lanes),
    )


@jit
def train_directly(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, runs: Any, work: Any
) -> None:
    """`train_runs` by SGD, where a batch fits in a chunk."""
    n_groups = runs.P.shape[0]
    L, samples, visits = as_memory(layout), as_memory(data), as_memory(order)
    groups, scratch = as_memory(runs), as_memory(work)
    for g in range(n_groups):
        _directly(L, rule, samples, visits, stretch, _group(groups, n_groups, g), scratch)


@inlined
def _directly(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, group: Any, work: Any
) -> None:
    """SGD while a batch fits in a chunk: scaled deltas are added to the parameters at once."""
    start, stop, _, plan = stretch
    size, m = plan.batch_size, order.m
    eta = load(group.rates, 0)
    scale = eta * splat(group.P, -1.0 / size)
    t = start
    while t < stop:
        count = min(plan.span, m - t % m, stop - t)
        gather(data, part(order.indices, t, count), work, 0)
        if count > size:
            fill_gram(work, count, size)
        last = eta * splat(group.P, -1.0 / max(1, count % size))
        train_chunk(layout, group.P, work, (count, size, scale, last), group.poison)
        t += count


@jit
def train_ahead(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, runs: Any, work: Any
) -> None:
    """`train_runs` by a rule with a velocity, several batches to a chunk."""
    n_groups = runs.P.shape[0]
    L, samples, visits = as_memory(layout), as_memory(data), as_memory(order)
    groups, scratch = as_memory(runs), as_memory(work)
    for g in range(n_groups):
        _ahead(L, rule, samples, visits, stretch, _group(groups, n_groups, g), scratch)


@inlined
def _ahead(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, group: Any, work: Any
) -> None:
    """A rule with a velocity, several batches to a chunk."""
    start, stop, _, plan = stretch
    size, m = plan.batch_size, order.m
    V = part(group.slots, 0, group.P.size)
    step = step_of(rule, group.P, group.slots, group.rates, 0)
    t = start
    while t < stop:
        count = min(plan.span, m - t % m, stop - t)
        gather(data, part(order.indices, t, count), work, 0)
        if count > size:
            fill_gram(work, count, size)
            weigh_gram(work, count, size)
        train_chunk_ahead(layout, step, group.P, V, work, (count, size), group.poison)
        t += count


@jit
def train_samples(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, runs: Any, work: Any
) -> None:
    """`train_runs` by a rule with a memory, batch size 1."""
    n_groups = runs.P.shape[0]
    L, samples, visits = as_memory(layout), as_memory(data), as_memory(order)
    groups, scratch = as_memory(runs), as_memory(work)
    for g in range(n_groups):
        _samples(L, rule, samples, visits, stretch, _group(groups, n_groups, g), scratch)


@inlined
def _samples(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, group: Any, work: Any
) -> None:
    """Any rule with batch size 1: one pass over the first layer's weights a step.

    The step of a sample and the forward pass of the next are one. At a stretch's end there is no
    next one: some stale sample takes its place, and what follows from it is not used.
    """
    start, stop, _, _ = stretch
    P, number = group.P, _steps_before(stretch, order.m)
    gather(data, part(order.indices, start, 1), work, 0)
    go_ahead(layout, StillStep(), P, work, 1)
    for t in range(start, stop):
        slot = (t - start) % 2
        if t + 1 < stop:
            gather(data, part(order.indices, t + 1, 1), work, 1 - slot)
        number += 1
        step = step_of(rule, P, group.slots, group.rates, number)
        train_sample(layout, step, P, work, slot, group.poison)


@jit
def train_summed(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, runs: Any, work: Any
) -> None:
    """`train_runs` by any rule with any batch size."""
    n_groups = runs.P.shape[0]
    L, samples, visits = as_memory(layout), as_memory(data), as_memory(order)
    groups, scratch = as_memory(runs), as_memory(work)
    for g in range(n_groups):
        _summed(L, rule, samples, visits, stretch, _group(groups, n_groups, g), scratch)


@inlined
def _summed(
    layout: Any, rule: Any, data: Any, order: Any, stretch: Any, group: Any, work: Any
) -> None:
    """Any rule and batch size: the gradient of a batch is summed over its chunks."""
    start, stop, _, plan = stretch
    P, m, number = group.P, order.m, _steps_before(stretch, order.m)
    t = start
    while t < stop:
        batch_stop = min(t % m + plan.batch_size, m)
        scale = splat(P, 1.0 / (batch_stop - t % m))
        batch_stop += t - t % m
        for p in range(0, P.size, lanes(P)):
            store(work.G, p, splat(P, 0.0))
        while t < batch_stop:
            count = min(plan.span, batch_stop - t)
            gather(data, part(order.indices, t, count), work, 0)
            add_chunk_gradient(layout, P, work, count, scale, group.poison)
            t += count
        number += 1
        update(rule, P, work.G, group.slots, group.rates, number)


@inner
def _steps_before(stretch: Any, m: int) -> int:
    """Number of steps that a run has done when a stretch begins."""
    start, _, before, plan = stretch
    size = plan.batch_size
    steps: int = before + start // m * (-(-m // size)) + -(-(start % m) // size)
    return steps
