"""Training: check the arguments, allocate, choose the engine, call the kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels import checks
from kernels.arrays import Data, Order, Runs, Sums
from kernels.engine import (
    all_lost,
    choose_packing,
    finite_lanes,
    make_data,
    make_work,
    read_only,
    scores_of,
)
from kernels.epoch import train_runs
from kernels.evaluation import evaluate_runs
from kernels.layout import CHUNK, Packing, aligned_copy, pack, pack_lanes, unpack, unpack_lanes
from kernels.network import FloatArray, Network, sample_order
from kernels.schedule import Schedule, schedule
from kernels.unrolled import SmallNetwork, small_network, train_small_runs
from kernels.updates import Rule, look_ahead_weights

GRID_STEP = 1.15  # of the standard grid; coarser grids ruin the intervals of times-to-target


class State(NamedTuple):
    """What a rule remembers at the end of training, to go on from."""

    rule: Rule
    slots: FloatArray  # (n_runs, n_slots, n_params)
    epochs: int
    examples: int
    updates: int
    diverged: NDArray[np.bool_]  # (n_runs,)


@dataclass(frozen=True)
class Scores:
    """Loss and accuracy (or rmse) at each checkpoint: (n_runs, n_checkpoints), float64."""

    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64] | None = None
    rmse: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Result(Scores):
    """What `train` gives; without the leading n_runs where neither params nor rates had it.

    Attributes
    ----------
    params
        Parameters at the end, (n_runs, n_params), in the dtype of the initial ones; all NaN for a
        run that has a NaN among them.
    state
        To go on from: `train(..., params=result.params, state=result.state)`.
    examples, updates
        Examples and updates seen at each checkpoint, (n_checkpoints,), int64.
    loss, accuracy, rmse
        Over all of X, or the samples to be scored, at each checkpoint; accuracy is None for a
        linear output, rmse for others.
    eval
        The same for each of the evaluation sets.
    diverged
        Whether a logit, parameter or loss was ever not finite, (n_runs,).
    trajectory
        With keep_params: parameters at each checkpoint, (n_runs, n_checkpoints, n_params).
    """

    params: FloatArray = field(kw_only=True)
    state: State = field(kw_only=True)
    examples: NDArray[np.int64] = field(kw_only=True)
    updates: NDArray[np.int64] = field(kw_only=True)
    eval: dict[str, Scores] = field(kw_only=True)
    diverged: NDArray[np.bool_] = field(kw_only=True)
    trajectory: FloatArray | None = field(kw_only=True)


def checkpoint_grid(n: int, total: int) -> NDArray[np.int64]:
    """The standard grid of evaluations for n samples and `total` examples, int64, ascending.

    0, a quarter of an epoch, from there steps of at most x 1.15, and the end.
    """
    points = [0.0]
    point = n / 4
    while point < total:
        points.append(point)
        point *= GRID_STEP
    return np.unique(np.ceil([*points, total]).astype(np.int64))


class Position(NamedTuple):
    """Where a call begins: 0, or where an earlier one ended."""

    epochs: int = 0
    examples: int = 0
    updates: int = 0


@dataclass(frozen=True)
class _Task:
    """All that the groups of one call share."""

    network: Network
    packing: Packing
    rule: Rule
    plan: Schedule
    small: SmallNetwork | None  # where a step is one stretch of code
    data: Data
    scored: Mapping[str, Data]  # what is evaluated at each checkpoint; "" = what gives the loss
    order: Order
    epochs: int
    points: NDArray[np.int64]  # examples of this call at which to evaluate, ends of updates
    before: Position
    keep_params: bool


class _Trace(NamedTuple):
    """What is seen of some groups at each checkpoint."""

    totals: dict[str, NDArray[np.float64]]  # (n_checkpoints, n_groups, 2, lanes), by set
    finite: NDArray[np.bool_]  # (n_groups, lanes) all that was seen
    params: list[FloatArray]  # packed, at each checkpoint; empty unless wanted


def train(
    network: Network,
    params: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    *,
    batch_size: int | str,
    learning_rate: ArrayLike,
    epochs: int,
    rule: str | Rule = "sgd",
    seed: int = 0,
    order: ArrayLike | None = None,
    checkpoints: Sequence[int] | NDArray[np.int64] | None = None,
    eval_sets: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    state: State | None = None,
    threads: int = 1,
    keep_params: bool = False,
    scored: tuple[ArrayLike, ArrayLike] | None = None,
    look_ahead: bool = True,
) -> Result:
    """Train one network or many runs at once with averaged mini-batch gradients.

    Parameters
    ----------
    network
        Widths, activation, output and loss.
    params
        Initial parameters, (n_params,) or (n_runs, n_params), float32 or float64: the dtype of
        the whole computation. They are not changed.
    X, y
        Samples (n, n_inputs); classes or targets (n,), or targets (n, n_outputs).
    batch_size
        1 or more, or "full"; a batch larger than an epoch is the whole epoch. The last, shorter
        batch is averaged over its own size.
    learning_rate
        A number or (n_runs,), finite, 0 or more; it broadcasts against params.
    epochs
        Number of epochs, 0 or more.
    rule
        "sgd", "momentum", "nesterov", "adam", or a rule with parameters: `Momentum(beta=0.5)`.
    seed
        Of the order of samples, `sample_order(seed, n, epochs)`; all runs share it.
    order
        Indices (epochs, m) into X to visit in place of the seed's.
    checkpoints
        Examples seen at which to evaluate, at the first update at or past each; the start and the
        end are added. () means these two only, None the standard grid (`checkpoint_grid`).
    eval_sets
        Further samples to evaluate: {"test": (X_test, y_test)}.
    state
        Of an earlier result, to go on from: its epochs, examples and updates count on.
    threads
        Number of threads over the groups of lanes; it does not change a bit of the result.
    keep_params
        Whether to keep the parameters at each checkpoint.
    scored
        Samples (X, y) that give loss and accuracy (or rmse) in place of all that are trained on:
        a part of a large data set.
    look_ahead
        False trains step by step, for comparison, what is faster in chunks of several batches
        (`chunk.py`): by SGD up to batch size 16, momentum and Nesterov up to 4, on 16 inputs or
        more (`schedule.py`). The result is the same to rounding.

    Returns
    -------
    Result
        Parameters, scores at the checkpoints, and which runs diverged.

    Raises
    ------
    ValueError, TypeError
        In one line, for shapes that do not match, values that are not finite, labels, rates,
        batch sizes or orders out of range, and unknown rules.
    """
    start_params = checks.check_params(network, params)
    dtype = start_params.dtype
    samples = checks.check_inputs(network, X, dtype)
    targets = checks.check_targets(network, y, len(samples), dtype)
    rates = checks.check_rates(learning_rate, dtype)
    epochs = checks.whole_number("epochs", epochs, 0)
    threads = checks.whole_number("threads", threads, 1)
    rule = checks.check_rule(rule)
    before = _check_state(state, rule)
    if order is None:
        visits = sample_order(seed, len(samples), before.epochs + epochs)[before.epochs :]
    else:
        visits = checks.check_order(order, len(samples), epochs)
    many = start_params.ndim == 2 or rates.ndim == 1
    n_runs = _count_runs(start_params, rates)
    packing = choose_packing(network, dtype, many=many)
    size = checks.check_batch_size(batch_size, len(samples), visits.shape[1])
    data = make_data(packing, samples, targets)
    small = small_network(packing, rule)
    task = _Task(
        network=network,
        packing=packing,
        rule=rule,
        plan=schedule(
            rule,
            network.n_inputs,
            size,
            unrolled=small is not None,
            look_ahead=look_ahead,
        ),
        small=small,
        data=data,
        scored=_scored_sets(network, packing, eval_sets, scored, data),
        order=Order(read_only(visits.reshape(-1)), visits.shape[1]),
        epochs=epochs,
        points=_update_ends(checkpoints, len(samples), visits.shape, size, before.examples),
        before=before,
        keep_params=keep_params,
    )
    runs = Runs(
        P=pack(packing, np.broadcast_to(start_params, (n_runs, network.n_params))),
        slots=_pack_slots(packing, rule, state, n_runs, dtype),
        rates=pack_lanes(packing, np.broadcast_to(rates, (n_runs,))),
        poison=_pack_poison(packing, state, n_runs, dtype),
    )
    trace = _run_threads(task, runs, threads)
    return _result(task, runs, trace, n_runs, many=many)


def _count_runs(params: FloatArray, rates: FloatArray) -> int:
    """Number of runs of params (n_params,) or (n_runs, n_params) and rates () or (n_runs,)."""
    runs, lanes = params.shape[:-1], rates.shape
    try:
        shape = np.broadcast_shapes(runs, lanes)
    except ValueError:
        raise ValueError(
            f"params hold {runs[0]} runs and learning_rate holds {lanes[0]}: "
            "give one of them for all, or as many of both"
        ) from None
    return shape[0] if shape else 1


def _check_state(state: State | None, rule: Rule) -> Position:
    """Where a state ended; it must be that of the same rule."""
    if state is None:
        return Position()
    if not isinstance(state, State):
        raise TypeError(f"state must be the .state of a result, got {type(state).__name__}")
    if (type(state.rule), state.rule) != (type(rule), rule):  # tuples of equal numbers are equal
        raise ValueError(f"state is that of {state.rule}, and cannot go on with {rule}")
    return Position(state.epochs, state.examples, state.updates)


def _scored_sets(
    network: Network,
    packing: Packing,
    eval_sets: Mapping[str, tuple[ArrayLike, ArrayLike]] | None,
    scored: tuple[ArrayLike, ArrayLike] | None,
    data: Data,
) -> dict[str, Data]:
    """What is evaluated, checked as X and y are: "" gives the loss, by default all of X."""
    if not isinstance(eval_sets or {}, Mapping):
        raise TypeError('eval_sets must be a dict such as {"test": (X_test, y_test)}')
    checked = {"": data if scored is None else _pair(network, packing, scored, "scored", data)}
    for name, pair in (eval_sets or {}).items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"names in eval_sets must be non-empty strings, got {name!r}")
        checked[name] = _pair(network, packing, pair, f"eval_sets[{name!r}]", data)
    return checked


def _pair(network: Network, packing: Packing, pair: object, name: str, data: Data) -> Data:
    """A pair (X, y) to evaluate, checked."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{name} must be a pair (X, y)")
    dtype = data.X.dtype
    samples = checks.check_inputs(network, pair[0], dtype, f"{name} X")
    targets = checks.check_targets(network, pair[1], len(samples), dtype, f"{name} y")
    return make_data(packing, samples, targets)


def _update_ends(
    checkpoints: Sequence[int] | NDArray[np.int64] | None,
    n: int,
    shape: tuple[int, ...],
    size: int,
    before: int,
) -> NDArray[np.int64]:
    """Examples of this call at the first update at or past each checkpoint; start and end too."""
    epochs, m = shape
    total = epochs * m
    wanted = checkpoint_grid(n, before + total) if checkpoints is None else np.asarray(checkpoints)
    if wanted.size and (wanted.ndim != 1 or wanted.dtype.kind not in "iu" or wanted.min() < 0):
        raise ValueError("checkpoints must be whole numbers of examples, 0 or more, in one row")
    points = wanted.astype(np.int64) - before
    points = np.concatenate([[0], points[(points > 0) & (points < total)], [total]])
    epoch, within = points // m, points % m
    return np.unique(epoch * m + np.minimum(-(-within // size) * size, m))


def _pack_slots(
    packing: Packing, rule: Rule, state: State | None, n_runs: int, dtype: np.dtype[Any]
) -> FloatArray:
    """The rule's memory (n_groups, n_slots, size): zeros, or that of a state."""
    n_params = len(packing.places)
    slots = np.zeros((n_runs, rule.n_slots, n_params), dtype) if state is None else state.slots
    if slots.ndim == 2:
        slots = slots[None]
    if slots.shape != (n_runs, rule.n_slots, n_params) or slots.dtype != dtype:
        raise ValueError(
            f"state does not fit: it holds {slots.shape} {slots.dtype}, this call needs "
            f"{(n_runs, rule.n_slots, n_params)} {dtype}: use the same network, runs and rule"
        )
    packed = [pack(packing, slots[:, k], padding=0.0) for k in range(rule.n_slots)]
    if not packed:
        n_groups = len(pack_lanes(packing, np.zeros(n_runs, dtype)))
        return np.zeros((n_groups, 0, packing.size), dtype)
    return aligned_copy(np.stack(packed, axis=1))


def _pack_poison(
    packing: Packing, state: State | None, n_runs: int, dtype: np.dtype[Any]
) -> FloatArray:
    """0 for each run, NaN where a state says that it has diverged."""
    poison = np.zeros(n_runs, dtype)
    if state is not None:
        poison[np.atleast_1d(state.diverged)] = np.nan
    return pack_lanes(packing, poison)


def _run_threads(task: _Task, runs: Runs, threads: int) -> _Trace:
    """Train all groups, shared out to threads; a group's bits do not depend on which."""
    n_groups = len(runs.P)
    cuts = np.linspace(0, n_groups, min(threads, n_groups) + 1).astype(int)
    parts = [Runs(*(part[a:b] for part in runs)) for a, b in pairwise(cuts)]
    if len(parts) == 1:
        return _train_groups(task, parts[0])
    with ThreadPoolExecutor(len(parts)) as pool:
        traces = list(pool.map(lambda part: _train_groups(task, part), parts))
    return _Trace(
        {
            name: np.concatenate([t.totals[name] for t in traces], axis=1)
            for name in traces[0].totals
        },
        np.concatenate([t.finite for t in traces]),
        [np.concatenate(parts) for parts in zip(*(t.params for t in traces), strict=True)],
    )


def _train_groups(task: _Task, runs: Runs) -> _Trace:
    """Train some groups in place and evaluate them at each checkpoint.

    A NaN among a run's parameters reaches every output and never leaves: where all runs have one,
    the losses to come are known.
    """
    shape = (len(task.points), len(runs.P), 2, task.packing.lanes)
    trace = _Trace(
        {name: np.zeros(shape) for name in task.scored}, np.ones(runs.rates.shape, np.bool_), []
    )
    weights = look_ahead_weights(task.rule, CHUNK)
    work = make_work(task.packing, task.data, gradient=not task.plan.whole, weights=weights)
    at = 0
    for index, point in enumerate(task.points):
        at, seen = _advance(task, runs, work, at, int(point))
        for name, data in task.scored.items():
            evaluate_runs(task.packing.layout, data, Sums(seen.P, trace.totals[name][index]), work)
        trace.finite[...] &= finite_lanes(task.packing, seen.P, seen.poison)
        if task.keep_params:
            trace.params.append(seen.P.copy())
        if not task.keep_params and all_lost(task.packing, seen.P):
            for totals in trace.totals.values():
                totals[index + 1 :, :, 0] = np.nan
            runs.P[...] = seen.P
            break
    return trace


def _advance(task: _Task, runs: Runs, work: Any, at: int, point: int) -> tuple[int, Runs]:
    """Train from example `at` up to `point`: (where training stands, runs as they are at `point`).

    A chunk of several batches is never cut: where a checkpoint lies inside one, training stops
    before it, and a copy goes on to the checkpoint. So checkpoints do not change a bit of a run.
    """
    m = task.order.m
    chunk = task.plan.span if task.plan.whole else 1
    epoch, within = divmod(point, m)
    boundary = epoch * m + within // chunk * chunk
    if boundary > at:
        _train_stretch(task, runs, work, (at, boundary))
        at = boundary
    if point == at:
        return at, runs
    copy = runs._replace(
        P=aligned_copy(runs.P), slots=aligned_copy(runs.slots), poison=aligned_copy(runs.poison)
    )
    _train_stretch(task, copy, work, (at, point))
    return at, copy


def _train_stretch(task: _Task, runs: Runs, work: Any, stretch: tuple[int, int]) -> None:
    """Train on the examples start .. stop of a call, in place."""
    if task.small is not None:
        part = (*stretch, task.plan.batch_size)
        train_small_runs(task.small, task.data, task.order, part, runs)
    else:
        planned = (*stretch, task.before.updates, task.plan)
        train_runs(task.packing.layout, task.rule, task.data, task.order, planned, runs, work)


def _result(task: _Task, runs: Runs, trace: _Trace, n_runs: int, *, many: bool) -> Result:
    """The kernels' arrays as a `Result`."""
    packing, lead = task.packing, (slice(None) if many else 0)

    def by_run(values: NDArray[Any]) -> NDArray[Any]:
        rows = [unpack_lanes(packing, row, n_runs) for row in values]
        return np.stack(rows, axis=1)

    scores = {}
    for name, data in task.scored.items():
        loss, other = scores_of(task.network, trace.totals[name], data.n)
        kind = "accuracy" if task.network.is_classifier else "rmse"
        scores[name] = {"loss": by_run(loss)[lead], kind: by_run(other)[lead]}
    epochs, m = task.epochs, task.order.m
    per_epoch = -(-m // task.plan.batch_size)
    updates = task.points // m * per_epoch + -(-(task.points % m) // task.plan.batch_size)
    healthy = unpack_lanes(packing, trace.finite, n_runs)
    diverged = ~(healthy & np.isfinite(np.atleast_2d(scores[""]["loss"])).all(axis=1))
    params = unpack(packing, runs.P, n_runs)
    slots = np.zeros((n_runs, task.rule.n_slots, task.network.n_params), params.dtype)
    for k in range(task.rule.n_slots):
        slots[:, k] = unpack(packing, runs.slots[:, k], n_runs)
    # How far a NaN has spread depends on when training stopped, and so on the other runs
    lost = np.isnan(params).any(axis=1)
    params[lost], slots[lost] = np.nan, np.nan
    trajectory = [unpack(packing, packed, n_runs) for packed in trace.params]
    return Result(
        **scores[""],
        params=params[lead],
        state=State(
            rule=task.rule,
            slots=slots[lead],
            epochs=task.before.epochs + epochs,
            examples=task.before.examples + epochs * m,
            updates=task.before.updates + epochs * per_epoch,
            diverged=diverged[lead],
        ),
        examples=task.before.examples + task.points,
        updates=task.before.updates + updates,
        eval={name: Scores(**values) for name, values in scores.items() if name},
        diverged=diverged[lead],
        trajectory=np.stack(trajectory, axis=1)[lead] if trajectory else None,
    )
