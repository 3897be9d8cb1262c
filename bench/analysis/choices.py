"""What the recommended choices give: the time that a run takes, and its held-out scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import kernels
from bench.analysis.arms import Arm, Runs
from bench.analysis.evidence import Recommendation
from bench.analysis.intervals import Estimate, median, median_interval
from bench.analysis.time_to_target import MIDDLE
from bench.experiments import Block, BlockResult, role
from bench.problems import Problem

Floats = NDArray[np.float64]

MOST = 0.9  # share of runs that are there within `examples_q90`
IMPROVING = 0.9  # share of the budget behind which a best score may not be the last word
IMBALANCE = 3.0  # most frequent class over rarest, from which accuracy alone misleads
DOMINANT = 0.75  # share of the most frequent class, with the same effect
BALANCED_SEEDS = 8  # reporting seeds that are trained again for balanced accuracy


class Kind(NamedTuple):
    """A held-out score: its name, its unit, what the unit is worth, and the score of a guess."""

    score: str
    unit: str
    scale: float
    baseline: float
    larger_is_better: bool


def recommended_arms(recommendations: Sequence[Recommendation]) -> list[Arm]:
    """Arms that the recommendations choose or name as cheapest, each once, in their order."""
    named = [(r, size) for r in recommendations for size in (r.chosen, r.cheapest)]
    arms = [Arm(size, r.learning_rates[size]) for r, size in named if size is not None]
    return list(dict.fromkeys(arms))


class HeldOutCurves:
    """Held-out scores of some arms, collected block by block.

    Parameters
    ----------
    arms
        Whose runs to keep, of tuning and of reporting seeds; a rate that stands in two blocks of
        a seed counts once.
    """

    def __init__(self, arms: Iterable[Arm]) -> None:
        self._scores: dict[tuple[Arm, str], dict[int, Floats]] = {
            (arm, kind): {} for arm in arms for kind in ("tune", "report")
        }
        self.examples: dict[int, NDArray[np.int64]] = {}

    def add(self, block: Block, result: BlockResult) -> None:
        """Keep what a block has of the arms."""
        if block.population is not None:
            return
        for i, rate in enumerate(block.learning_rates):
            curves = self._scores.get((Arm(block.batch_size, rate), role(block.seed)))
            if curves is not None and block.seed not in curves:
                self.examples[block.batch_size] = result.examples
                curves[block.seed] = result.test_score[0, i].copy()  # a view would hold all runs

    def of(self, arm: Arm, kind: str = "report") -> tuple[NDArray[np.int64], Floats]:
        """Seeds (n,) of a role, ascending, and their scores (n, C)."""
        curves = self._scores[arm, kind]
        seeds = np.array(sorted(curves), np.int64)
        return seeds, np.array([curves[seed] for seed in seeds.tolist()])


def best_evaluation(scores: Floats, *, larger_is_better: bool) -> int:
    """Index of the evaluation at which the median score over runs (n, C) is best.

    The first of ties. A diverged run (NaN) does worse than any other.
    """
    known = np.where(np.isnan(scores), 0.0 if larger_is_better else np.inf, scores)
    medians = median(known)
    return int((medians if larger_is_better else -medians).argmax())


def choice_table(
    problem: Problem, runs: Runs, arms: Sequence[Arm], curves: HeldOutCurves
) -> pd.DataFrame:
    """Return the columns of `Evidence.choices`: a row per arm and kind of score."""
    rows = []
    for arm in arms:
        seeds, scores = curves.of(arm)
        if not len(seeds):
            continue
        found = runs.of(arm).set_index("seed").loc[seeds]
        hits = found[f"hit_{MIDDLE}"].to_numpy(float)
        about = arm._asdict() | _times(hits) | {"n_seeds": len(seeds)}
        examples = curves.examples[arm.batch_size]
        kind = _kind(problem)
        rows.append(about | _scores(examples, hits, scores, kind))
        if _imbalanced(problem):
            some = slice(BALANCED_SEEDS)
            balanced = _balanced_curves(problem, runs, arm, seeds[some], examples)
            rows.append(about | _scores(examples, hits[some], balanced, _balanced_kind(problem)))
    return pd.DataFrame(rows)


def _times(hits: Floats) -> dict[str, float]:
    """Examples to the target: the median, its interval, and what 9 of 10 runs need."""
    found = median_interval(hits)
    known = hits[~np.isnan(hits)]
    most = float(np.quantile(known, MOST, method="inverted_cdf")) if len(known) else np.nan
    return {
        "examples": found.value,
        "examples_low": found.low,
        "examples_high": found.high,
        "examples_q90": most,
    }


def _scores(
    examples: NDArray[np.int64], hits: Floats, scores: Floats, kind: Kind
) -> dict[str, Any]:
    """Held-out scores at the target, and where the median over runs is best.

    Parameters
    ----------
    examples
        (C,) seen at each evaluation.
    hits
        (n,) T of each run.
    scores
        (n, C).
    kind
        Of the scores.
    """
    at = np.searchsorted(examples, np.where(np.isfinite(hits), hits, -1.0))
    reached = np.where(np.isfinite(hits), scores[np.arange(len(hits)), at], np.nan)
    # A diverged run does worse than any other
    known = np.where(np.isnan(scores), 0.0 if kind.larger_is_better else np.inf, scores)
    best = best_evaluation(scores, larger_is_better=kind.larger_is_better)
    at_target = median_interval(reached[~np.isnan(reached)]) if np.isfinite(hits).any() else UNKNOWN
    return {
        "score": kind.score,
        "unit": kind.unit,
        "baseline": kind.baseline,
        **_scaled("at_target", at_target, kind.scale),
        **_scaled("best", median_interval(known[:, best]), kind.scale),
        "best_examples": int(examples[best]),
        "still_improving": bool(examples[best] >= IMPROVING * examples[-1]),
    }


UNKNOWN = Estimate(np.nan, np.nan, np.nan, 0, identified=False)


def _scaled(name: str, found: Estimate, scale: float) -> dict[str, float]:
    """Columns of an estimate in the user's unit."""
    return {
        name: found.value * scale,
        f"{name}_low": found.low * scale,
        f"{name}_high": found.high * scale,
    }


def _kind(problem: Problem) -> Kind:
    """The score that trajectories hold, in the unit of the user's column."""
    _, y = problem.scored_test
    if problem.network.is_classifier:
        most = np.bincount(problem.y_train.astype(np.int64).ravel()).argmax()
        return Kind("accuracy", "", 1.0, float((y == most).mean()) if len(y) else np.nan, True)
    target = problem.table.target if problem.table else None
    scale, unit = (target.scale, target.name) if target else (1.0, "standard deviations")
    error = y - problem.y_train.mean(axis=0)
    baseline = float(np.sqrt(np.mean(error**2))) if len(y) else np.nan
    return Kind("rmse", unit, scale, baseline * scale, False)


def _balanced_kind(problem: Problem) -> Kind:
    """Balanced accuracy: a guess has one class right and all others wrong."""
    return Kind("balanced accuracy", "", 1.0, 1.0 / len(problem.class_names), True)


def _imbalanced(problem: Problem) -> bool:
    """Whether a classifier's accuracy says little about its rare classes."""
    if not (problem.network.is_classifier and problem.class_names and problem.has_test):
        return False
    counts = np.bincount(problem.y_train.astype(np.int64).ravel())
    return bool(counts.max() >= IMBALANCE * counts.min() or counts.max() > DOMINANT * counts.sum())


def _balanced_curves(
    problem: Problem, runs: Runs, arm: Arm, seeds: NDArray[np.int64], examples: NDArray[np.int64]
) -> Floats:
    """Balanced accuracy on the test split at each evaluation, (n, C): the runs are done again."""
    rule = str(runs.of(arm).rule.iloc[0])
    epochs = -(-int(examples[-1]) // problem.n_train)
    X, y = problem.scored_test
    rows = []
    for seed in seeds.tolist():
        result = kernels.train(
            problem.network,
            kernels.init_params(problem.network, seed, problem.scheme, np.float32, size=1),
            problem.X_train,
            problem.y_train,
            batch_size=arm.batch_size,
            learning_rate=arm.learning_rate,
            epochs=epochs,
            rule=rule,
            seed=seed,
            checkpoints=examples,
            keep_params=True,
            scored=(X[:1], y[:1]),
        )
        assert result.trajectory is not None  # keep_params
        rows.append(list(_balanced(problem, result.trajectory[0])))
    return np.array(rows)


def _balanced(problem: Problem, trajectory: Floats | NDArray[np.float32]) -> Iterator[float]:
    """Mean over classes of the share that is predicted right, at each of these parameters."""
    X, y = problem.scored_test
    members = [y == k for k in range(len(problem.class_names))]
    for params in trajectory:
        if not np.isfinite(params).all():
            yield np.nan
            continue
        right = kernels.predict(problem.network, params, X) == y
        yield float(np.mean([right[mine].mean() for mine in members if mine.any()]))
