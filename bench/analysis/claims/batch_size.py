"""C1, C2, C3 and C8: what batch size and learning rate do to training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.arms import Arm, Runs, all_axes
from bench.analysis.claims.row import Row, by_target, contrasts, judged, runs_of, timed, tuned_arms
from bench.analysis.evidence import Evidence
from bench.analysis.intervals import Estimate, bootstrap, paired_share_difference
from bench.analysis.recommend import MARGIN, best_batch_size
from bench.analysis.stability import spread_ratio, threshold_ratio, width_difference
from bench.analysis.time_to_target import MIDDLE
from bench.streams import stream

MARGIN_UPHILL = 0.05
MARGIN_WIDTH = 0.5  # octaves
MARGIN_FAILED = 0.1

NOISY = "Updating after each sample is noisy"
UNSTABLE = "Updating after each sample hurts the stability of convergence"
STATEMENTS = {
    "updates": "Updating after each sample needs more updates of the weights",
    "epochs": "Updating after each sample needs more passes over the data",
    "seconds": "Updating after each sample takes more time with {program}",
    "overshoot": "A learning rate that is too large overshoots",
    "slow": "A learning rate that is too small learns slowly",
}
DEFINITIONS = {
    "uphill share, same states": (
        "Of single updates, the share that raises the loss over all training samples, after each "
        "sample minus at the other batch size. Both start from the same weights (8 states along "
        "each run of the base batch size, between one pass and the target) and take the rate tuned "
        "for updates after each sample; 64 batches a state, drawn without replacement."
    ),
    "uphill share, own states": (
        "The same share, but each batch size starts from 8 states of its own tuned runs and takes "
        "its own tuned rate."
    ),
    "time-to-target": (
        "Time to the target training loss when updating after each sample, over that of the best "
        "larger batch size, each at its own tuned rate, paired by seed: the median ratio. The best "
        "is picked on the tuning seeds. Seconds take the measured seconds per update as exact."
    ),
    "usable width": (
        "Range of learning rates, in octaves (doublings), around the best one at which the median "
        "time-to-target is at most twice the best: that of the other batch size minus that of "
        "updates after each sample."
    ),
    "failed runs at the same rate": (
        "Share of runs that fail (diverge, lose a whole hidden layer, or get stuck where a smaller "
        "rate does not) when updating after each sample, minus that at the other batch size, both "
        "at the rate tuned for the base batch size."
    ),
    "spread": (
        "How much the time-to-target varies over seeds (median distance of its logarithm from the "
        "median), updating after each sample over the other batch size, each at its tuned rate."
    ),
    "threshold": (
        "Lowest learning rate tried at which a seed fails, at the other batch size over that of "
        "updates after each sample, paired by seed: the median ratio. The interval includes the "
        "step from the rate tried below it."
    ),
    "threshold / B": (
        "The same threshold divided by the batch size: the largest step that one example may cause."
    ),
    "overshoot": (
        "Time-to-target at four times the best rate over that at the best rate, paired by seed: "
        "the median ratio."
    ),
    "slow": (
        "Time-to-target at a quarter of the best rate over that at the best rate, paired by seed: "
        "the median ratio."
    ),
}


def _judged(claim: str, measure: str, effect: Estimate, *rule: Any, **about: Any) -> Row:
    """Return a row of one of the measures above."""
    return judged(claim, measure, effect, *rule, definition=DEFINITIONS[measure], **about)


def noisy(evidence: Evidence) -> list[Row]:
    """C1: uphill share of B = 1 minus that of B_0 and of full batch, bootstrap over seeds."""
    if len(evidence.uphill) == 0:
        return []
    shares = evidence.uphill.groupby(["states", "batch_size", "seed"]).share.mean()
    rows = []
    for states in ("same", "own"):
        for other in contrasts(evidence):
            pairs = pd.concat([shares[states].get(b) for b in (1, other)], axis=1).dropna()
            differences = pairs.to_numpy() @ np.array([1.0, -1.0])
            measure = f"uphill share, {states} states"
            effect = bootstrap(differences, lambda d: d.mean(axis=1), stream(measure, other))
            about = {"batch_size": 1, "against": other, "statement": NOISY}
            about |= {"protocol": "tuned", "target": evidence.target}
            rows.append(_judged("C1", measure, effect, "difference", MARGIN_UPHILL, **about))
    return rows


def inefficient(evidence: Evidence) -> list[Row]:
    """C2: T(B = 1) / T(best B > 1), each tuned, on every axis and for every program."""
    runs, arms = runs_of(evidence), tuned_arms(evidence)
    if evidence.population is not None or 1 not in arms or len(arms) < 2:
        return []
    rows = []
    for axis in all_axes(evidence.problem.n_train, list(arms), evidence.seconds):
        best = best_batch_size(runs, list(arms.values()), axis, MIDDLE, at_least=2)
        # Where no larger batch size reaches the target there is no best: any shows that
        other = max(arms) if best is None else best
        effect, about = timed(evidence, runs, (arms[1], arms[other]), axis)
        about["statement"] = STATEMENTS[axis.name].format(program=axis.program)
        about |= {"batch_size": 1, "against": other}
        rows.append(_judged("C2", "time-to-target", effect, "ratio", MARGIN, **about))
    return rows


def unstable(evidence: Evidence) -> list[Row]:
    """C3: width, failures at the same rate, spread and thresholds of B = 1 against B_0 and N."""
    if evidence.population is not None:
        return []
    runs = runs_of(evidence)
    rows = []
    for other in contrasts(evidence):
        rows += [
            _width(evidence, runs, other),
            *_failures(evidence, runs, other),
            _spread(evidence, runs, other),
            *_thresholds(evidence, other),
        ]
    return rows


def _width(evidence: Evidence, runs: Runs, other: int) -> Row:
    """Usable width of the other batch size minus that of B = 1."""
    rng = stream("usable width", other)
    effect = width_difference(runs, other, 1, MIDDLE, rng)
    about = _against(other) | {"protocol": "tuned", "target": evidence.target}
    return _judged("C3", "usable width", effect, "difference", MARGIN_WIDTH, **about)


def _failures(evidence: Evidence, runs: Runs, other: int) -> list[Row]:
    """Share of failed runs of B = 1 minus that of the other batch size, at each base's rate."""
    rows = []
    same = evidence.arms[evidence.arms.protocol == "same"]
    for base, arms in same.groupby("base_batch_size"):
        rate = float(arms.learning_rate.iloc[0])
        ours, theirs = runs.pairs(Arm(1, rate), Arm(other, rate))
        if len(ours) == 0:
            continue  # a fixed plan of rates need not hold this one
        effect = paired_share_difference(ours.failed.to_numpy(), theirs.failed.to_numpy())
        about = _against(other) | {"protocol": "same", "base_batch_size": int(float(str(base)))}
        measure = "failed runs at the same rate"
        rows.append(_judged("C3", measure, effect, "difference", MARGIN_FAILED, **about))
    return rows


def _spread(evidence: Evidence, runs: Runs, other: int) -> Row:
    """Spread of T of B = 1 over that of the other batch size, tuned."""
    arms = tuned_arms(evidence)
    ours, theirs = runs.pairs(arms[1], arms[other])

    def measure(k: int) -> Estimate:
        hit, rng = f"hit_{k}", stream("spread", other, k)
        return spread_ratio(ours[hit].to_numpy(float), theirs[hit].to_numpy(float), rng)

    effect, about = by_target(evidence, measure)
    about |= _against(other) | {"protocol": "tuned"}
    return _judged("C3", "spread", effect, "ratio", MARGIN, **about)


def _thresholds(evidence: Evidence, other: int) -> list[Row]:
    """Thresholds of the other batch size over those of B = 1, as they are and divided by B."""
    table = evidence.thresholds
    theirs, ours = (
        table[table.batch_size == b].set_index("seed")[["threshold", "below"]] for b in (other, 1)
    )
    rows = []
    for measure, size in (("threshold", 1), ("threshold / B", other)):
        effect = threshold_ratio(theirs / size, ours)
        rows.append(_judged("C3", measure, effect, "ratio", MARGIN, **_against(other)))
    return rows


def _against(other: int) -> Row:
    """Return what all rows of C3 have in common."""
    return {"batch_size": 1, "against": other, "statement": UNSTABLE}


def learning_rate(evidence: Evidence) -> list[Row]:
    """C8: T at four times and at a quarter of the tuned rate over T at it, for each batch size.

    Not of a population, whose networks fail at any rate: there the pick is not the fastest rate.
    """
    if evidence.population is not None:
        return []
    runs = runs_of(evidence)
    axis = all_axes(evidence.problem.n_train, runs.batch_sizes, evidence.seconds)[1]
    rows = []
    for batch_size, arm in tuned_arms(evidence).items():
        for measure, factor in (("overshoot", 4.0), ("slow", 0.25)):
            other = arm._replace(learning_rate=arm.learning_rate * factor)
            if len(runs.of(other)) == 0:
                continue  # a fixed plan of rates need not hold this one
            effect, about = timed(evidence, runs, (other, arm), axis)
            about |= {"batch_size": batch_size, "statement": STATEMENTS[measure]}
            rows.append(_judged("C8", measure, effect, "ratio", MARGIN, **about))
    return rows
