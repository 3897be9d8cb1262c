"""What mistakes in averaging a batch cost: times and shares beside the right update, directions.

Everything is paired by seed with the right update of the same batch size at its own tuned rate.
Picks look at tuning seeds alone, every number comes from reporting seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import kernels
from bench.analysis import layers
from bench.analysis.arms import Arm, Runs
from bench.analysis.intervals import (
    Estimate,
    PairedComparison,
    bootstrap,
    median_interval,
    paired_ratio,
    share_interval,
    verdict,
)
from bench.analysis.outcomes import SOLVED_LOSS, outcome_rows
from bench.analysis.recommend import MARGIN
from bench.analysis.stability import add_failures
from bench.analysis.time_to_target import base_batch_size
from bench.experiments import Block, BlockResult, role
from bench.experiments.mistakes import ERROR, GRADIENTS, LEFTOVER, MEANS, RIGHT, SUM, Task, Trained
from bench.problems import Problem
from bench.streams import stream

Floats = NDArray[np.float64]

EQUAL = "equal rate"
ARM_COLUMNS = [
    *("mistake", "protocol", "base_batch_size", "batch_size", "learning_rate"),
    "trained",
]
STATE_EPOCHS = 1  # passes of the right update before directions are looked at
DRAWN = 16  # batches drawn there, for each batch size
MOST = 0.5  # share of runs that diverge, from which on a batch size counts as too large


@dataclass(frozen=True)
class Mistakes:
    """The evidence of the study of mistakes.

    `x, x_low, x_high` are an estimate and its 95% interval over reporting seeds; inf: not reached;
    NaN: undetermined. Mistakes are keys of `bench.experiments.mistakes.GRADIENTS`, and "equal
    rate".

    Parameters
    ----------
    problem, xor
        What was learned: data with a network, and the notes' network on XOR.
    targets, bases
        Training losses, descending; batch sizes whose tuned rate the others take (B_0, and 1 where
        it was studied).
    outcomes
        Runs by the mistake that they were trained with.
    arms
        A row per arm: `mistake, protocol ("tuned": own rate; "shared": the rate tuned for the right
        update of that batch size; "same": that of the right update of `base_batch_size`),
        base_batch_size, batch_size, learning_rate, trained` (whose runs: at batch size 1 all are
        the right update's).
    summary
        A row per arm and target, see `summary`.
    onsets
        A row per base: from which batch size on the sum diverges, see `onset`.
    directions
        A row per mistake and batch size, see `directions`.
    solved
        A row per mistake and batch size on XOR: `mistake, batch_size, learning_rate, n_seeds,
        success_rate, success_low, success_high, final_loss`.
    xor_outcomes
        A row per run on XOR, `mistake` and `solved` among its columns.
    claims
        As of `Evidence.claims`.
    warnings
        Sentences that the reader must be told.
    """

    problem: Problem
    xor: Problem
    targets: tuple[float, ...]
    bases: tuple[int, ...]
    outcomes: Mapping[str, Runs]
    arms: pd.DataFrame
    summary: pd.DataFrame
    onsets: pd.DataFrame
    directions: pd.DataFrame
    solved: pd.DataFrame
    xor_outcomes: pd.DataFrame
    claims: list[dict[str, Any]] = field(default_factory=list)
    warnings: tuple[str, ...] = ()

    @property
    def target(self) -> float:
        """The middle target, which gives the verdicts."""
        return self.targets[len(self.targets) // 2]

    @property
    def batch_sizes(self) -> list[int]:
        """Batch sizes studied, ascending."""
        return sorted(set(self.arms.batch_size))


def task_outcomes(
    problem: Problem, task: Task, trained: Trained, targets: Sequence[float] = ()
) -> pd.DataFrame:
    """Return a row per run of a task, with the columns of `outcomes.outcome_rows` and `mistake`."""
    networks = len(task.seeds)
    block = Block("sgd", task.batch_size, task.learning_rates, 0, task.epochs, networks)
    unknown = np.full(trained.loss.shape, np.nan)
    result = BlockResult(
        **{name: getattr(trained, name) for name in ("examples", "updates", "loss", "score")},
        test_loss=unknown,
        test_score=unknown,
        diverged=trained.diverged,
        dead_start=trained.dead_start,
        dead_end=trained.dead_end,
    )
    rows = outcome_rows(problem, block, result, targets)
    seeds = np.array(task.seeds)[rows.network]
    roles = [role(int(seed)) for seed in seeds]
    return rows.assign(mistake=task.mistake, seed=seeds, role=roles, network=0)


def by_mistake(outcomes: pd.DataFrame) -> dict[str, Runs]:
    """Return the runs of each mistake, with their failures."""
    return {str(name): Runs(add_failures(rows)) for name, rows in outcomes.groupby("mistake")}


def solved_rows(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Add `solved` to runs on XOR: all four right and a loss below .1 at the end."""
    right = (outcomes.final_score == 1.0) & (outcomes.final_loss < SOLVED_LOSS)
    return outcomes.assign(solved=right & ~outcomes.diverged)


def bases(batch_sizes: Sequence[int], n_train: int) -> tuple[int, ...]:
    """Batch sizes whose rate is kept for all: 1 where it is studied, and B_0."""
    found = [1] if 1 in batch_sizes else []
    return tuple(dict.fromkeys([*found, base_batch_size(batch_sizes, n_train)]))


def mistake_arms(
    right: Mapping[int, float], error: Mapping[int, float], kept: Sequence[int]
) -> pd.DataFrame:
    """Return the arms: the columns of `Mistakes.arms`.

    Parameters
    ----------
    right, error
        The rate picked for the right update and for averaged errors, by batch size; for the latter
        those above 1.
    kept
        Batch sizes whose rate the others take.
    """
    rows: list[tuple[Any, ...]] = []
    for size, rate in right.items():
        rows.append((RIGHT, "tuned", np.nan, size, rate, RIGHT))
        rows.append((ERROR, "tuned", np.nan, size, error.get(size, rate), ERROR))
        rows += [(name, "shared", np.nan, size, rate, name) for name in (ERROR, MEANS, LEFTOVER)]
        for base in kept:
            rows.append((EQUAL, "same", float(base), size, right[base], RIGHT))
            rows.append((SUM, "same", float(base), size, right[base], SUM))
    arms = pd.DataFrame(rows, columns=ARM_COLUMNS)
    arms.loc[arms.batch_size == 1, "trained"] = RIGHT
    return arms


def runs_of(found: Mapping[str, Runs], arm: Any) -> pd.DataFrame:
    """Return the reporting runs of a row of `Mistakes.arms`, by seed."""
    return found[arm.trained].of(Arm(arm.batch_size, arm.learning_rate))


def time_ratio(ours: pd.DataFrame, theirs: pd.DataFrame, target: int) -> PairedComparison:
    """T / T of two arms of one batch size, paired by seed (runs as of `runs_of`)."""
    hit = f"hit_{target}"
    pairs = ours.merge(theirs, on="seed", suffixes=("", "_right"))
    return paired_ratio(
        pairs[hit],
        pairs[f"{hit}_right"],
        float(pairs.budget_examples.max()),
        float(pairs.budget_examples_right.max()),
    )


def summary(
    mistakes: Mapping[str, Runs], arms: pd.DataFrame, problem: Problem, targets: Any
) -> Any:
    """Return a row per arm and target.

    Columns: `problem` and those of `arms`; `n_seeds, target, success_rate, updates, epochs,
    examples` (medians of T), `diverged_rate, ratio` (of T to the right update's, tuned), each with
    `_low` and `_high`; `dead_rate, stuck_rate, final_loss` (median; inf: most diverged),
    `n_undetermined` (pairs that cannot be ordered), `verdict` (of the ratio: "supported" means that
    this arm takes longer).
    """
    right = {a.batch_size: runs_of(mistakes, a) for a in arms[arms.mistake == RIGHT].itertuples()}
    rows = []
    for k, target in enumerate(targets):
        for arm in arms.itertuples(index=False):
            found = runs_of(mistakes, arm)
            about = {name: getattr(arm, name) for name in ARM_COLUMNS[:-1]}
            ratio = time_ratio(found, right[arm.batch_size], k)
            rows.append(
                {"problem": problem.name, **about, "n_seeds": len(found), "target": target}
                | _shares_and_times(found, k, problem.n_train)
                | _columns("ratio", ratio.ratio)
                | {"n_undetermined": ratio.n_undetermined}
                | {"verdict": verdict(ratio.ratio.low, ratio.ratio.high, MARGIN)}
            )
    return pd.DataFrame(rows)


def _shares_and_times(found: pd.DataFrame, target: int, n_train: int) -> dict[str, float]:
    """What `summary` says of an arm's runs alone."""
    hits = found[f"hit_{target}"].to_numpy(float)
    known = hits[~np.isnan(hits)]
    examples = median_interval(hits)
    per_pass = float(found.updates_per_epoch.iloc[0])
    final = found.final_loss.to_numpy(float)
    row = _columns("success", share_interval(np.isfinite(known)), value="success_rate")
    for name, unit in (("updates", per_pass / n_train), ("epochs", 1 / n_train), ("examples", 1.0)):
        value, low, high = (bound * unit for bound in examples[:3])
        row |= _columns(name, Estimate(value, low, high, examples.n))
    row |= _columns("diverged", share_interval(found.diverged), value="diverged_rate")
    row |= {f"{name}_rate": float(found[name].mean()) for name in ("dead", "stuck")}
    return row | {"final_loss": float(median_interval(np.where(np.isnan(final), np.inf, final))[0])}


def _columns(name: str, found: Estimate, value: str = "") -> dict[str, float]:
    """Columns of an estimate."""
    return {value or name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def onset(sizes: Sequence[int], shares: Sequence[Estimate]) -> tuple[float, float, float]:
    """From which batch size on most runs diverge, with the range that intervals leave.

    The least batch size from which on, at it and at all larger ones, the share lies above one half:
    by its value, and (range) by its upper and by its lower bound. inf: none.

    Parameters
    ----------
    sizes
        Ascending.
    shares
        Of runs that diverge at each.
    """

    def first(bounds: Sequence[float]) -> float:
        start = len(sizes)
        while start and bounds[start - 1] > MOST:
            start -= 1
        return float(sizes[start]) if start < len(sizes) else np.inf

    values, lows, highs = zip(*((s.value, s.low, s.high) for s in shares), strict=True)
    return first(values), first(highs), first(lows)


def onsets(summed: pd.DataFrame) -> pd.DataFrame:
    """From which batch size on the sum diverges: `base_batch_size, onset, onset_low, onset_high`.

    Below the base's batch size its rate is too large for any update.

    Parameters
    ----------
    summed
        The rows of `summary` of the sum at one target.
    """
    rows = []
    larger = summed[summed.batch_size >= summed.base_batch_size].sort_values("batch_size")
    for base, arms in larger.groupby("base_batch_size"):
        names = ["diverged_rate", "diverged_low", "diverged_high", "n_seeds"]
        shares = [Estimate(*row) for row in arms[names].itertuples(index=False)]
        found = onset(arms.batch_size.tolist(), shares)
        rows.append((base, *found))
    return pd.DataFrame(rows, columns=["base_batch_size", "onset", "onset_low", "onset_high"])


def directions(
    problem: Problem, base: Arm, seeds: Sequence[int], sizes: Sequence[int]
) -> pd.DataFrame:
    """How the mistaken updates differ from the right one, on the same batches from the same states.

    States: each seed's network after one pass of the right update at `base`. 16 batches of each
    size are drawn there without replacement.

    Returns
    -------
    DataFrame
        A row per mistake and batch size: `mistake, batch_size, n_seeds`, and with `_low` and
        `_high` (bootstrap over seeds) the means over seeds of `cosine` (of the angle between all
        batches' mistaken gradients, as one long vector, and all right ones), `length` (root mean
        square over batches, mistaken over right) and `difference` (the same of mistaken minus
        right, over right).
    """
    X = problem.X_train.astype(np.float64)
    targets = layers.target_rows(problem.network, problem.y_train)
    states = {seed: _state(problem, base, seed) for seed in seeds}
    names = [name for name in GRADIENTS if name != RIGHT]
    rows = []
    for size in sizes:
        found: dict[str, list[Floats]] = {name: [] for name in names}
        for seed, params in states.items():
            rng = stream("mistaken gradients", seed, size)
            batches = np.stack([rng.permutation(len(X))[:size] for _ in range(DRAWN)])
            same = np.repeat(params[None], DRAWN, axis=0)
            right = GRADIENTS[RIGHT](problem.network, same, X[batches], targets[batches])
            for name in names:
                mistaken = GRADIENTS[name](problem.network, same, X[batches], targets[batches])
                found[name].append(_compared(mistaken, right))
        for name, values in found.items():
            about = {"mistake": name, "batch_size": size, "n_seeds": len(seeds)}
            rows.append(about | _means(np.array(values), stream("directions", size)))
    return pd.DataFrame(rows)


def _state(problem: Problem, base: Arm, seed: int) -> Floats:
    """A seed's parameters after a pass of the right update, (n_params,)."""
    result = kernels.train(
        problem.network,
        kernels.init_params(problem.network, seed, problem.scheme),
        problem.X_train,
        problem.y_train,
        batch_size=base.batch_size,
        learning_rate=base.learning_rate,
        epochs=STATE_EPOCHS,
        seed=seed,
        checkpoints=(),
    )
    return np.asarray(result.params, np.float64)


def _compared(mistaken: Floats, right: Floats) -> Floats:
    """Cosine, length and difference over batches (n, n_params): (3,).

    Over all batches as one: few of them may hold the sample that a mistake gives too much weight.
    """
    norm = np.linalg.norm
    # A gradient of exactly 0 points nowhere, and is then at a right angle to everything
    both = max(norm(mistaken) * norm(right), np.finfo(float).tiny)
    cosine = (mistaken * right).sum() / both
    return np.array([cosine, norm(mistaken) / norm(right), norm(mistaken - right) / norm(right)])


def _means(values: Floats, rng: np.random.Generator) -> dict[str, float]:
    """Means over seeds (n, 3) with their intervals, by column."""
    row: dict[str, float] = {}
    for name, column in zip(("cosine", "length", "difference"), values.T, strict=True):
        row |= _columns(name, bootstrap(column, lambda drawn: drawn.mean(axis=1), rng))
    return row


def xor_pick(outcomes: pd.DataFrame) -> float:
    """The rate at which most tuning runs of one mistake and batch size learn XOR; ties: larger."""
    shares = outcomes[outcomes.role == "tune"].groupby("learning_rate").solved.mean()
    return float(shares.index[shares == shares.max()].max())


def xor_solved(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Share of reporting networks that learn XOR: the columns of `Mistakes.solved`."""
    rows = []
    for (mistake, size), runs in outcomes.groupby(["mistake", "batch_size"], sort=False):
        rate = xor_pick(runs)
        found = runs[(runs.role == "report") & (runs.learning_rate == rate)]
        about = {"mistake": mistake, "batch_size": size, "learning_rate": rate}
        row = about | {"n_seeds": len(found)}
        row |= _columns("success", share_interval(found.solved), value="success_rate")
        rows.append(row | {"final_loss": float(found.final_loss.median())})
    return pd.DataFrame(rows)
