"""The verdicts: each claim of the notes, measured, with its interval and definition.

`CLAIMS` maps a claim to the function that measures it; a claim that does not apply to a study gives
no rows. Effects are oriented: above the null value the claim holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.arms import Arm, Axis, Runs, all_axes, compare
from bench.analysis.evidence import Evidence
from bench.analysis.intervals import (
    Estimate,
    bootstrap,
    difference_interval,
    holm,
    paired_share_difference,
    verdict,
)
from bench.analysis.recommend import MARGIN, best_batch_size
from bench.analysis.stability import spread_ratio, threshold_ratio, width_difference
from bench.analysis.time_to_target import MIDDLE
from bench.analysis.xor import best_arm, reporting, share_of
from bench.streams import stream

Row = dict[str, Any]

MARGIN_UPHILL = 0.05
MARGIN_WIDTH = 0.5  # octaves
MARGIN_FAILED = 0.1
SURE = 0.99  # share of networks that learn, above which XOR counts as solved

NOISY = "Updating after each sample is noisy"
UNSTABLE = "Updating after each sample hurts the stability of convergence"
STATEMENTS = {
    "updates": "Updating after each sample needs more updates of the weights",
    "epochs": "Updating after each sample needs more passes over the data",
    "seconds": "Updating after each sample takes more time with {program}",
    "overshoot": "A learning rate that is too large overshoots",
    "slow": "A learning rate that is too small learns slowly",
    "success": "The 2-2-1 network does not always learn XOR",
    "solves": "An extra hidden layer solves XOR",
    "helps": "An extra hidden layer makes XOR easier to learn",
    "depth against width": "An extra hidden layer helps more than as many parameters in width",
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
        "the median ratio. Of a population, over the networks that learn at one of the two."
    ),
    "slow": (
        "Time-to-target at a quarter of the best rate over that at the best rate, paired by seed: "
        "the median ratio. Of a population, over the networks that learn at one of the two."
    ),
    "success": (
        "Share of 2-2-1 networks that classify all four points right with a loss below 0.1 at the "
        "end of their budget, at the best batch size, rate and initialization (picked on other "
        "blocks). Supported where the whole interval lies below 99%. An exact solution exists: W1 "
        "all 1, b1 = (0, -1), W2 = (1, -2), b2 = -1/2."
    ),
    "solves": "The same share for the 2-2-2-1 network: supported where its interval is above 99%.",
    "helps": "Share of 2-2-2-1 networks that learn XOR minus share of 2-2-1 networks.",
    "depth against width": (
        "Share of 2-2-2-1 networks that learn XOR minus that of the one-layer network with the "
        "nearest number of parameters."
    ),
}
SHALLOW, DEEP = "2-2-1", "2-2-2-1"


def judged(
    claim: str, measure: str, effect: Estimate, kind: str, margin: float, **about: Any
) -> Row:
    """Return a row of claims.json; `about` holds what differs from the defaults."""
    return {
        "claim": claim,
        "statement": STATEMENTS.get(measure, ""),
        "measure": measure,
        "axis": "",
        "program": "",
        "protocol": "",
        "base_batch_size": None,
        "target": None,
        "verdict": verdict(effect.low, effect.high, margin, kind=kind),
        "effect": effect.value,
        "low": effect.low,
        "high": effect.high,
        "n_seeds": effect.n,
        "definition": DEFINITIONS[measure],
        "kind": kind,
        "margin": margin,
        "batch_size": None,
        "against": None,
        "n_undetermined": 0,
        "p_value": None,
        "p_holm": None,
        "other_targets": {},
        "note": "",
    } | about


def settle(verdicts: dict[float, str], target: float) -> tuple[str, dict[float, str]]:
    """Return the middle target's verdict, undecided where another says the opposite; the others."""
    others = {other: found for other, found in verdicts.items() if other != target}
    opposite = {"supported": "refuted", "refuted": "supported"}.get(verdicts[target])
    return "undecided" if opposite in others.values() else verdicts[target], others


def by_target(evidence: Evidence, measure: Callable[[int], Estimate]) -> tuple[Estimate, Row]:
    """Measure a ratio at each target: the middle one's estimate, and verdict and others' verdicts.

    Parameters
    ----------
    evidence
        For the targets.
    measure
        From a target's index to the estimate.
    """
    found = [measure(k) for k in range(len(evidence.targets))]
    verdicts = {
        t: verdict(e.low, e.high, MARGIN) for t, e in zip(evidence.targets, found, strict=True)
    }
    decided, others = settle(verdicts, evidence.target)
    about = {"verdict": decided, "other_targets": others, "target": evidence.target}
    return found[MIDDLE], about


def timed(
    evidence: Evidence, runs: Runs, pair: tuple[Arm, Arm], axis: Axis
) -> tuple[Estimate, Row]:
    """T_A / T_B at each target: the middle one's estimate, and what else the row says."""
    effect, about = by_target(evidence, lambda k: compare(runs, *pair, axis, k).ratio)
    middle = compare(runs, *pair, axis, MIDDLE)
    about |= {
        "axis": axis.name,
        "program": axis.program,
        "protocol": "tuned",
        "n_undetermined": middle.n_undetermined,
        "p_value": None if np.isnan(middle.p_value) else middle.p_value,
        "n_seeds": runs.pairs(*pair)[0].seed.nunique(),
    }
    return effect, about


def runs_of(evidence: Evidence) -> Runs:
    """Return the study's runs, for looking up arms."""
    return Runs(evidence.outcomes, population=evidence.problem.population is not None)


def tuned_arms(evidence: Evidence) -> dict[int, Arm]:
    """Return the tuned arm of each batch size."""
    picks = zip(evidence.picks.batch_size, evidence.picks.learning_rate, strict=True)
    return {b: Arm(b, eta) for b, eta in picks}


def contrasts(evidence: Evidence) -> list[int]:
    """Batch sizes that B = 1 is compared with: B_0 and full batch; none where B = 1 is missing."""
    studied = set(evidence.picks.batch_size)
    wanted = dict.fromkeys([evidence.options["base_batch_size"], evidence.problem.n_train])
    return [b for b in wanted if b in studied and b != 1] if 1 in studied else []


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
            rows.append(judged("C1", measure, effect, "difference", MARGIN_UPHILL, **about))
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
        rows.append(judged("C2", "time-to-target", effect, "ratio", MARGIN, **about))
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
    return judged("C3", "usable width", effect, "difference", MARGIN_WIDTH, **about)


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
        rows.append(judged("C3", measure, effect, "difference", MARGIN_FAILED, **about))
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
    return judged("C3", "spread", effect, "ratio", MARGIN, **about)


def _thresholds(evidence: Evidence, other: int) -> list[Row]:
    """Thresholds of the other batch size over those of B = 1, as they are and divided by B."""
    table = evidence.thresholds
    theirs, ours = (
        table[table.batch_size == b].set_index("seed")[["threshold", "below"]] for b in (other, 1)
    )
    rows = []
    for measure, size in (("threshold", 1), ("threshold / B", other)):
        effect = threshold_ratio(theirs / size, ours)
        rows.append(judged("C3", measure, effect, "ratio", MARGIN, **_against(other)))
    return rows


def _against(other: int) -> Row:
    """Return what all rows of C3 have in common."""
    return {"batch_size": 1, "against": other, "statement": UNSTABLE}


def not_always(evidence: Evidence) -> list[Row]:
    """C6: success of the notes' network at its best batch size, rate and initialization."""
    population = evidence.population
    if population is None:
        return []
    rows = population.success
    # The notes' network and inputs: variants that change more than the scheme name it behind
    mine = rows[(rows.widths == SHALLOW) & (rows.activation == "relu")]
    mine = mine[~mine.variant.str.contains("inputs")]
    tuning = {v: _tuning_share(population.counts, v) for v in mine.variant}
    best = rows[rows.variant == max(tuning, key=lambda v: tuning[v])].iloc[0]
    effect = Estimate(best.success, best.low, best.high, int(best.n_seeds))
    where = f"{best.variant}, batch size {best.batch_size}, learning rate {best.learning_rate:.3g}"
    about = {"batch_size": int(best.batch_size), "note": f"Best on the tuning blocks: {where}."}
    return [judged("C6", "success", effect, "share below", SURE, **about)]


def _tuning_share(counts: pd.DataFrame, variant: str) -> float:
    """Share solved over tuning blocks of a variant at its best arm."""
    mine = counts[counts.variant == variant]
    arm = best_arm(mine)
    at = (mine.batch_size == arm.batch_size) & (mine.learning_rate == arm.learning_rate)
    tuning = mine[at & (mine.role == "tune")]
    return float(tuning.solved.sum() / tuning.n.sum())


def deeper(evidence: Evidence) -> list[Row]:
    """C7: success of the network with an extra hidden layer, alone and against others."""
    population = evidence.population
    if population is None or DEEP not in set(population.success.variant):
        return []
    rows = population.success.set_index("variant")
    deep = _success(evidence, DEEP)
    about = {"batch_size": int(rows.batch_size[DEEP])}
    found = [judged("C7", "solves", deep, "share", SURE, **about)]
    wide = rows[(rows.widths.str.count("-") == 2) & (rows.activation == "relu")]
    wide = wide[(wide.index == wide.widths) & (wide.index != SHALLOW)]
    distance = (wide.n_params - rows.n_params[DEEP]).abs()
    for measure, others in (
        ("helps", [SHALLOW]),
        ("depth against width", list(wide.index[distance == distance.min()])),
    ):
        for other in others:
            effect = difference_interval(deep, _success(evidence, other))
            found.append(judged("C7", measure, effect, "difference", 0.0, **about, against=other))
    return found


def _success(evidence: Evidence, variant: str) -> Estimate:
    """Share of a variant's networks that learn, at its best arm; n counts blocks."""
    assert evidence.population is not None
    counts = evidence.population.counts
    mine = counts[counts.variant == variant]
    blocks = reporting(mine, best_arm(mine))
    return share_of(blocks, "solved")._replace(n=len(blocks))


def learning_rate(evidence: Evidence) -> list[Row]:
    """C8: T at four times and at a quarter of the tuned rate over T at it, for each batch size."""
    runs = runs_of(evidence)
    axis = all_axes(evidence.problem.n_train, runs.batch_sizes, evidence.seconds)[1]
    rows = []
    for batch_size, arm in tuned_arms(evidence).items():
        for measure, factor in (("overshoot", 4.0), ("slow", 0.25)):
            other = arm._replace(learning_rate=arm.learning_rate * factor)
            if len(runs.of(other)) == 0:
                continue  # a fixed plan of rates need not hold this one
            effect, about = timed(evidence, runs, (other, arm), axis)
            about |= {"batch_size": batch_size}
            rows.append(judged("C8", measure, effect, "ratio", MARGIN, **about))
    return rows


CLAIMS: dict[str, Callable[[Evidence], list[Row]]] = {
    "C1": noisy,
    "C2": inefficient,
    "C3": unstable,
    "C6": not_always,
    "C7": deeper,
    "C8": learning_rate,
}


def all_claims(evidence: Evidence) -> list[Row]:
    """Return the rows of claims.json: Holm within each claim, contradictions noted."""
    rows = []
    for measure in CLAIMS.values():
        found = measure(evidence)
        adjusted = holm([np.nan if r["p_value"] is None else r["p_value"] for r in found])
        for row, p in zip(found, adjusted, strict=True):
            row["p_holm"] = None if np.isnan(p) else float(p)
        rows += note_contradictions(found)
    return rows


def note_contradictions(rows: Sequence[Row]) -> list[Row]:
    """Add to the rows of one claim the sentence that its measures contradict each other.

    Only where some measure is supported and another refuted; C8 is judged per batch size, and
    C7's rows answer different questions.
    """
    yes, no = (
        list(dict.fromkeys(_label(r) for r in rows if r["verdict"] == found))
        for found in ("supported", "refuted")
    )
    if not (yes and no) or rows[0]["claim"] not in ("C1", "C2", "C3"):
        return list(rows)
    note = f"The measures contradict each other: yes by {', '.join(yes)}; no by {', '.join(no)}."
    return [row | {"note": note} for row in rows]


def _label(row: Row) -> str:
    """Name a measure within its claim."""
    if row["claim"] == "C2":
        return f"{row['axis']} ({row['program']})" if row["program"] else str(row["axis"])
    return f"{row['measure']} (against {row['against']})"
