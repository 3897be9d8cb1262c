"""Cases of held-out scores, of uphill shares, and of seconds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.arms import Arm, Runs
from bench.analysis.choices import HeldOutCurves, choice_table
from bench.analysis.intervals import Estimate, bootstrap
from bench.analysis.thumb import accuracy_difference, power_ratios
from bench.calibration.case import Case, Floats, Generator, apart, normal, rows_of
from bench.experiments import Block, BlockResult
from bench.problems import Problem, load_problem
from bench.speed.seconds import POWER_ROUNDS, ROUNDS, of_rounds
from bench.streams import stream

ARM = Arm(8, 0.5)
EXAMPLES = np.unique(np.geomspace(30, 3600, 30).astype(np.int64))
HELD_OUT = 360  # samples, so that scores have ties
PLATEAU, BEHIND = 0.95, 0.3  # held-out accuracy at the end, and how far below it the start is
BY_SEED, BY_EVALUATION = 0.008, 0.004  # standard deviations of the accuracy
MEDIAN, SPREAD = 600.0, 0.3  # examples to the target, standard deviation of the logarithm
BETTER = 0.004  # planted difference of two accuracies
SLOWER = 1.1  # planted ratio of two seconds
DRIFT, JITTER = 0.1, 0.05  # of timings: what programs that take turns share in a round, or not
UPHILL = (0.35, 0.2)  # mean shares of updates that go uphill


def in_samples(accuracy: Floats) -> Floats:
    """Accuracy on so many held-out samples."""
    return np.round(np.clip(accuracy, 0.0, 1.0) * HELD_OUT) / HELD_OUT


def held_out(rng: Generator, n: int) -> tuple[Floats, Floats]:
    """T (n,) and held-out accuracy (n, evaluations), which rises to a plateau and jitters."""
    times = MEDIAN * np.exp(normal(rng, (n,), SPREAD))
    accuracy = PLATEAU - BEHIND * np.exp(-2.0 * EXAMPLES / times[:, None])
    noise = normal(rng, accuracy.shape, BY_EVALUATION, BY_SEED)
    return times, in_samples(accuracy + noise)


@cache
def subject() -> Problem:
    """The problem that `choice_table` asks for its kind of score: three balanced classes."""
    return load_problem("iris")


def chosen(sample: tuple[Floats, Floats]) -> pd.Series:
    """The row of the recommended arm."""
    times, scores = sample
    curves = HeldOutCurves([ARM])
    reporting = [s for s in range(3 * len(times)) if s % 3][: len(times)]
    empty, flags = np.full((1, 1, len(EXAMPLES)), np.nan), np.zeros((1, 1), bool)
    for seed, row in zip(reporting, scores, strict=True):
        block = Block("sgd", ARM.batch_size, (ARM.learning_rate,), seed, 30)
        result = BlockResult(
            EXAMPLES, EXAMPLES, empty, empty, empty, row[None, None], flags, flags, flags
        )
        curves.add(block, result)
    rows = rows_of({ARM: times}, budget=float(EXAMPLES[-1]))
    runs = Runs(rows.assign(seed=np.array(reporting)[rows.seed]))
    return choice_table(subject(), runs, [ARM], curves).iloc[0]


def at_target(sample: tuple[Floats, Floats], _: Generator) -> Estimate:
    """Held-out accuracy when the target is reached."""
    row = chosen(sample)
    return Estimate(row.at_target, row.at_target_low, row.at_target_high, row.n_seeds)


@cache
def very_many() -> tuple[float, Floats]:
    """Median accuracy at the target, and at each evaluation, of very many seeds."""
    times, scores = held_out(stream("truth of held-out scores"), 100_001)
    at = np.searchsorted(EXAMPLES, times)
    reached = at < len(EXAMPLES)
    at_hit = scores[np.flatnonzero(reached), at[reached]]
    return float(np.median(at_hit)), np.median(scores, axis=0)


def at_best(sample: tuple[Floats, Floats], _: Generator) -> Estimate:
    """Held-out accuracy where the median over runs is best, minus what very many have there."""
    row = chosen(sample)
    found = Estimate(row.best, row.best_low, row.best_high, row.n_seeds)
    return apart(found, float(very_many()[1][row.best_examples == EXAMPLES][0]))


def two_accuracies(rng: Generator, n: int) -> tuple[Floats, Floats]:
    """Accuracies of two arms that share the seeds' effects."""
    common = normal(rng, (n,), BY_SEED)
    a, b = (PLATEAU + common + normal(rng, (n,), BY_SEED) for _ in range(2))
    return in_samples(a + BETTER), in_samples(b)


def timings(rng: Generator, rounds: int) -> list[float]:
    """Seconds of rounds; now and then one is disturbed."""
    disturbed = rng.random(rounds) < 0.2
    seconds = np.exp(normal(rng, (rounds,), JITTER) + disturbed * rng.exponential(0.5, rounds))
    return [float(s) for s in seconds]


def per_update(seconds: list[float], _: Generator) -> Estimate:
    """Seconds per update."""
    found = of_rounds(seconds)
    return Estimate(found["seconds_per_update"], found["low"], found["high"], len(seconds))


def turns(rng: Generator, rounds: int) -> pd.DataFrame:
    """Seconds per sample of batch sizes that take turns, the one between the powers slower."""
    drift = normal(rng, (rounds,), DRIFT)
    columns: list[dict[str, Any]] = []
    for size, factor in ((64, 1.0), (100, SLOWER), (128, 1.0)):
        seconds = factor * np.exp(drift + normal(rng, (rounds,), JITTER))
        about = {"program": "batchbench", "batch_size": size}
        columns += [about | {"round": i, "seconds_per_sample": s} for i, s in enumerate(seconds)]
    return pd.DataFrame(columns)


def uphill(rng: Generator, n: int) -> Floats:
    """Uphill shares of a seed at one batch size minus those at another."""
    ours, theirs = (rng.beta(5.0 * share, 5.0 * (1.0 - share), n) for share in UPHILL)
    return ours - theirs


CASES = {
    "held-out score at the target": Case(held_out, at_target, lambda: very_many()[0]),
    "held-out score, best": Case(held_out, at_best, 0.0),
    "difference of held-out scores": Case(
        two_accuracies, lambda both, _: accuracy_difference(*both).ratio, BETTER
    ),
    "difference of uphill shares": Case(
        uphill,
        lambda values, rng: bootstrap(values, lambda d: d.mean(axis=1), rng),
        UPHILL[0] - UPHILL[1],
    ),
    "seconds per update": Case(
        timings,
        per_update,
        lambda: float(np.median(timings(stream("truth of a timing"), 1_000_001))),
        (ROUNDS,),
        "rounds",
        ratio=True,
    ),
    "seconds beside a power of two": Case(
        turns,
        lambda powers, _: power_ratios(powers)["batchbench", 100, (64, 128)],
        SLOWER,
        (POWER_ROUNDS,),
        "rounds",
        ratio=True,
    ),
}
