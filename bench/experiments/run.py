"""Blocks of runs: what one does, and those that the store lacks, done by a crew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import kernels
from bench.experiments.block import DTYPE, Block, BlockResult
from bench.experiments.crew import Coded, Crew, Job
from bench.experiments.progress import Reporter, Silent, stage
from bench.experiments.rules import rule_of
from bench.experiments.store import Store, encode
from bench.problems import Problem
from kernels.engine import choose_packing
from kernels.epoch import trainer
from kernels.layout import CHUNK
from kernels.schedule import schedule
from kernels.unrolled import SmallNetwork, small_network

TOLD_SECONDS = 2.0  # compiling that takes longer is told, from then on
COMPILING = "Compiling the kernels, which takes up to a minute and is done once."

FEW = 2 * CHUNK  # samples, whose full batch is as any larger one: summed up over chunks

Code = tuple[str, SmallNetwork | Callable[..., None]]


class Ran(NamedTuple):
    """What was run, not found: blocks, their work (`Block.work`), and seconds on the clock."""

    n_blocks: int
    work: float
    seconds: float


def run_block(problem: Problem, block: Block) -> BlockResult:
    """Train the runs of a block, side by side.

    Run (i, j) starts from network i of the block's seed and takes rate j; all visit
    `kernels.sample_order(seed, n_train, epochs)`.
    """
    network, X, y = problem.network, problem.X_train, problem.y_train
    start = kernels.init_params(network, block.seed, problem.scheme, DTYPE, block.population)
    start = start if block.networks is None else start[list(block.networks)]
    n_networks, n_rates = block.n_networks, len(block.learning_rates)
    result = kernels.train(
        network,
        start if block.population is None else np.repeat(start, n_rates, axis=0),
        X,
        y,
        batch_size=block.batch_size,
        learning_rate=np.tile(np.array(block.learning_rates), n_networks),
        epochs=block.epochs,
        rule=rule_of(block.rule, block.batch_size),
        seed=block.seed,
        checkpoints=block.checkpoints,
        eval_sets={"test": problem.scored_test} if problem.has_test else None,
        scored=problem.scored,
    )
    score = "accuracy" if network.is_classifier else "rmse"
    runs = (n_networks, n_rates)
    shape = (*runs, len(result.examples))
    test = result.eval["test"] if problem.has_test else None
    unknown = np.full(shape, np.nan)
    diverged = result.diverged.reshape(runs)
    dead_start = _dead(problem, start).reshape(n_networks, 1)
    return BlockResult(
        examples=result.examples,
        updates=result.updates,
        loss=result.loss.reshape(shape),
        score=getattr(result, score).reshape(shape),
        test_loss=test.loss.reshape(shape) if test else unknown,
        test_score=getattr(test, score).reshape(shape) if test else unknown,
        diverged=diverged,
        dead_start=np.repeat(dead_start, n_rates, axis=1),
        dead_end=_dead(problem, result.params).reshape(runs) & ~diverged,
        params=None if block.population is None else result.params.reshape(*runs, -1),
    )


def _dead(problem: Problem, params: kernels.network.FloatArray) -> NDArray[np.bool_]:
    """Whether a hidden layer has no active unit on any (scored) training sample: (n_runs,)."""
    active = kernels.active_units(problem.network, np.atleast_2d(params), problem.scored[0])
    return np.asarray((active == 0).any(axis=-1))


def run_blocks(
    problem: Problem,
    blocks: Iterable[Block],
    store: Store,
    crew: Crew,
    progress: Reporter | None = None,
    name: str = "training",
) -> Ran:
    """Run the blocks that the store lacks, largest first, and write each as it is done.

    Ctrl-C and SIGTERM let the blocks in flight finish, and write them; a second one does not wait.
    The results are the same for any crew and after any interruption.

    Parameters
    ----------
    problem, blocks, store
        What to run, and where results go.
    crew
        Who trains.
    progress
        Told how far it is; None for silence.
    name
        Of the stage.

    Raises
    ------
    RuntimeError
        Where a block fails; the message names it, and what else was in work is written.
    InputError
        Where results cannot be written.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM.
    """
    missing = [block for block in dict.fromkeys(blocks) if not store.has(problem, block)]
    if not missing:
        return Ran(0, 0.0, 0.0)
    missing.sort(key=lambda block: block.work(problem), reverse=True)
    progress = progress or Silent()
    kinds = tuple({block.batch_size: block for block in missing}.values())
    job = Job(problem, missing, kinds, run_coded, compile_blocks)
    crew.prepare(job, progress)
    began = perf_counter()
    for _ in finished(job, store, crew, progress, name):
        pass
    return Ran(len(missing), sum(block.work(problem) for block in missing), perf_counter() - began)


def finished(
    job: Job, store: Store, crew: Crew, progress: Reporter, name: str
) -> Iterator[tuple[Any, bytes]]:
    """Let a crew that is prepared do a job; yield items and their files, which the store has.

    Parameters and errors are those of `run_blocks`.
    """
    total = sum(item.work(job.problem) for item in job.items)
    with (
        stage(progress, name, len(job.items), total),
        closing(crew.results(job)) as results,
    ):
        for item, (key, data) in results:
            store.write(key, data)
            progress.advance(item.work(job.problem))
            yield item, data


def run_coded(problem: Problem, block: Block) -> Coded:
    """Run a block; return its key and its file's content. Called in the workers."""
    key = block.key(problem)
    return key, encode(key, run_block(problem, block))


def compile_blocks(problem: Problem, blocks: Sequence[Block], progress: Reporter) -> float:
    """Compile what these blocks need: see `compile_kernels`."""
    rule, sizes = blocks[0].rule, {block.batch_size for block in blocks}
    return compile_kernels(problem, rule, sizes, progress)


def compile_kernels(
    problem: Problem, rule: str, batch_sizes: Iterable[int], progress: Reporter
) -> float:
    """Compile what trains blocks at these batch sizes, before workers start: seconds it took.

    By one epoch of a few samples: machine code does not depend on the problem, but for small
    networks, each of which has its own.
    """
    few = min(problem.n_train, FEW)
    missing = {_code(problem, rule, min(size, few)): min(size, few) for size in batch_sizes}
    missing = {code: size for code, size in missing.items() if code not in _compiled}
    if not missing:
        return 0.0
    part = few_samples(problem)
    began = perf_counter()
    notice = threading.Timer(TOLD_SECONDS, progress.say, [COMPILING])
    notice.start()
    try:
        for size in missing.values():
            run_block(part, Block(rule, size, (0.01,), 0, 1, problem.population))
    finally:
        notice.cancel()
    seconds = perf_counter() - began
    _compiled.update(missing)
    if seconds > TOLD_SECONDS:
        progress.say(f"Kernels were compiled in {seconds:.0f} s, and are kept for the next time.")
    return seconds


def few_samples(problem: Problem) -> Problem:
    """Return the problem with its first samples alone: all code that trains it trains them."""
    names = ("X_train", "y_train", "X_test", "y_test")
    return replace(problem, **{name: getattr(problem, name)[:FEW] for name in names})


def _code(problem: Problem, rule: str, batch_size: int) -> Code:
    """Return what tells the machine code that trains blocks at a batch size."""
    network, parameters = problem.network, rule_of(rule, batch_size)
    packing = choose_packing(network, np.dtype(DTYPE), many=True)
    small = small_network(packing, parameters)
    way = small or trainer(parameters, schedule(parameters, network.n_inputs, batch_size))
    return rule, way


_compiled: set[Code] = set()  # in this process


def iterate(
    problem: Problem, blocks: Iterable[Block], store: Store
) -> Iterator[tuple[Block, BlockResult]]:
    """Yield every block with its stored result, one in memory at a time."""
    for block in blocks:
        yield block, store.read(problem, block)
