"""What rules of thumb are judged by: held-out scores by batch size, seconds at powers of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.arms import Arm, Runs
from bench.analysis.choices import HeldOutCurves, best_evaluation
from bench.analysis.intervals import Estimate, PairedComparison, paired_ratio
from bench.problems import Problem

Floats = NDArray[np.float64]

# Batch size that is no power of two, and those that it is held against
NEIGHBOURS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (31, (32,)),
    (33, (32,)),
    (100, (64, 128)),
    (127, (128,)),
)


def generalization_table(
    problem: Problem, runs: Runs, tuned: Sequence[Arm], curves: HeldOutCurves
) -> pd.DataFrame:
    """Return the columns of `Evidence.generalization`: a row per tuned arm and reporting seed.

    Parameters
    ----------
    problem
        For its kind of score and its targets.
    runs
        Where hits are looked up.
    tuned
        The arms.
    curves
        Their held-out scores, of tuning and of reporting seeds.
    """
    if not problem.has_test or runs.population or problem.targets is None:
        return pd.DataFrame()
    frames = []
    for arm in tuned:
        (seeds, scores), (_, tuning) = curves.of(arm), curves.of(arm, "tune")
        if len(seeds) == 0 or len(tuning) == 0:
            continue
        examples = curves.examples[arm.batch_size]
        hits = runs.of(arm).set_index("seed").loc[seeds]
        best = best_evaluation(tuning, larger_is_better=problem.network.is_classifier)
        columns: dict[str, Any] = {
            f"at_{k}": score_at(examples, scores, hits[f"hit_{k}"].to_numpy(float))
            for k in range(len(problem.targets))
        }
        columns |= {"best": scores[:, best], "best_examples": int(examples[best])}
        frames.append(pd.DataFrame({**arm._asdict(), "seed": seeds, **columns}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def score_at(examples: NDArray[np.int64], scores: Floats, hits: Floats) -> Floats:
    """Scores (n,) when runs reach a target, between the evaluations before and after it.

    Parameters
    ----------
    examples
        (C,) seen at each evaluation, ascending.
    scores
        (n, C).
    hits
        (n,) time-to-target in examples; where it is not finite the score is NaN.
    """
    found = [np.interp(hit, examples, row) for hit, row in zip(hits, scores, strict=True)]
    return np.where(np.isfinite(hits), np.array(found), np.nan)


def accuracy_difference(ours: Floats, theirs: Floats) -> PairedComparison:
    """Accuracy of one arm minus that of another by seed (n,): the median, by order statistics.

    NaN: undetermined, which counts against both bounds. The comparison's `ratio` holds the
    difference.
    """
    found = paired_ratio(np.exp(ours), np.exp(theirs), np.inf, np.inf)
    with np.errstate(divide="ignore"):
        value, low, high = (float(np.clip(np.log(x), -1.0, 1.0)) for x in found.ratio[:3])
    return found._replace(ratio=found.ratio._replace(value=value, low=low, high=high))


def power_ratios(powers: pd.DataFrame) -> dict[tuple[str, int, tuple[int, ...]], Estimate]:
    """Seconds per sample beside a power of two over those at it, paired by round.

    Parameters
    ----------
    powers
        As of `Evidence.powers`.

    Returns
    -------
    dict
        From program, batch size, and the powers of two that it is held against, to the median
        ratio with its order-statistic interval over rounds; 100 is held against the log-log
        interpolation between 64 and 128. Batch sizes that were not measured are left out.
    """
    found: dict[tuple[str, int, tuple[int, ...]], Estimate] = {}
    for program in dict.fromkeys(powers.program) if len(powers) else ():
        mine = powers[powers.program == program]
        times = mine.pivot(index="round", columns="batch_size", values="seconds_per_sample")
        for size, others in NEIGHBOURS:
            if {size, *others} <= set(times.columns):
                between = _interpolated(times[list(others)], size)
                ratio = paired_ratio(times[size], between, np.inf, np.inf).ratio
                found[program, size, others] = ratio
    return found


def _interpolated(times: pd.DataFrame, size: int) -> Floats:
    """Times (rounds,) at a batch size, log-log between those of the columns, which are two or one.

    A time of 0, which was too short to be measured, gives 0.
    """
    sizes, values = times.columns.to_numpy(float), times.to_numpy(float)
    if len(sizes) == 1:
        return np.asarray(values[:, 0])
    share = np.log(size / sizes[0]) / np.log(sizes[1] / sizes[0])
    return np.asarray(values[:, 0] ** (1.0 - share) * values[:, 1] ** share)


def reach(verdicts: Mapping[int, str], base: int) -> tuple[int, int]:
    """Smallest and largest batch size up to which all from the base on are supported.

    Parameters
    ----------
    verdicts
        By batch size, the base left out.
    base
        Where the rule starts: it holds there by definition.
    """
    ends = []
    for direction in (-1, 1):
        end = base
        for size in sorted(verdicts, key=lambda b: direction * b):
            if direction * size > direction * base:
                if verdicts[size] != "supported":
                    break
                end = size
        ends.append(end)
    return ends[0], ends[1]
