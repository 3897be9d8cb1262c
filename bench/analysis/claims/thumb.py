"""R1 to R4: rules of thumb that people go by, held against the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.arms import Arm, Axis, Runs, all_axes
from bench.analysis.claims.row import Row, by_target, judged, runs_of, timed, tuned_arms
from bench.analysis.evidence import Evidence
from bench.analysis.intervals import Estimate, PairedComparison, paired_ratio
from bench.analysis.recommend import MARGIN, best_batch_size
from bench.analysis.thumb import accuracy_difference, power_ratios, reach
from bench.analysis.time_to_target import BASE, MIDDLE

MARGIN_ACCURACY = 0.01
MARGIN_RMSE = 1.05
COARSE = 2.0  # samples that the margin of accuracy is worth: with fewer, one sample's worth is told

STATEMENTS = {
    "R1": "A batch size of 32 is a safe default",
    "linear": "Scale the learning rate linearly with the batch size",
    "square root": "Scale the learning rate by the square root of the batch size",
    "R3": "Smaller batches generalize better",
    "R4": "Batch sizes that are powers of two are faster",
}
DEFINITIONS = {
    "time at 32": (
        "Time to the target training loss in batches of 32, over that of the best batch size, each "
        "at its own tuned rate, paired by seed: the median ratio. The best is picked on the tuning "
        "seeds. Supported where the whole interval lies below the margin, refuted above it."
    ),
    "linear scaling": (
        "Time to the target training loss at the rate tuned for the base, times the batch size "
        "over the base, over that at the batch size's own tuned rate, paired by seed: the median "
        "ratio. Supported where the whole interval lies below the margin, refuted above it."
    ),
    "square-root scaling": (
        "Time to the target training loss at the rate tuned for the base, times the root of the "
        "batch size over the base, over that at the batch size's own tuned rate, paired by seed: "
        "the median ratio. Supported where the whole interval lies below the margin, refuted above "
        "it."
    ),
    "score at equal training loss": (
        "Score on the held-out samples when a run reaches the target training loss, interpolated "
        "between two evaluations, of the smallest batch size against a larger one, each at its "
        "tuned rate, paired by seed: the median difference of the share classified right, margin "
        "one percentage point (of a regression the median ratio of the larger batch size's error "
        "to the smaller one's, margin 1.05). The interval is over seeds, for this one split."
    ),
    "best score": (
        "The same at the evaluation at which the batch size's median score over the tuning seeds "
        "is best: what stopping at the best moment gives. A diverged run is worse than any other."
    ),
    "seconds per sample": (
        "Seconds per sample at a batch size beside a power of two, over those at the power of two "
        "(100: over what lies between 64 and 128, interpolated on log axes): the median ratio over "
        "9 rounds of timing in which both take turns, and its interval over rounds. n counts "
        "rounds. Whole batches of plain gradient descent on one core."
    ),
}
SCALINGS = {"linear": "linear scaling", "square root": "square-root scaling"}


def _judged(claim: str, measure: str, effect: Estimate, *rule: Any, **about: Any) -> Row:
    """Return a row of one of the measures above."""
    return judged(claim, measure, effect, *rule, definition=DEFINITIONS[measure], **about)


def against_best(
    evidence: Evidence, runs: Runs, batch_size: int, axis: Axis
) -> tuple[Estimate, Row] | None:
    """T of a tuned arm over T of the best on an axis, which is 1 where it is the best itself.

    None where no batch size reaches the target by the tuning seeds: then there is no best.
    """
    arms = tuned_arms(evidence)
    best = best_batch_size(runs, list(arms.values()), axis, MIDDLE)
    if best is None:
        return None
    effect, about = timed(evidence, runs, (arms[batch_size], arms[best]), axis, "within")
    if best == batch_size and effect.n > 0:
        effect = Estimate(1.0, 1.0, 1.0, effect.n)
        about |= {"verdict": "supported", "other_targets": {}}
        about |= {"p_value": None, "note": "It is the best itself."}
    return effect, about | {"batch_size": batch_size, "against": best}


def default(evidence: Evidence) -> list[Row]:
    """R1: T(B_0) / T(best B), each tuned, by passes and by the seconds of each program.

    B_0 is 32, or the mini-batch nearest to it; where no mini-batch was studied there is no row.
    """
    base, arms = int(evidence.options["base_batch_size"]), tuned_arms(evidence)
    if evidence.population is not None or not 1 < base < evidence.problem.n_train:
        return []
    runs, rows = runs_of(evidence), []
    for axis in all_axes(evidence.problem.n_train, list(arms), evidence.seconds)[1:]:
        found = against_best(evidence, runs, base, axis)
        if found is None:
            continue
        effect, about = found
        about["statement"] = STATEMENTS["R1"]
        if base != BASE:
            told = f"Batches of {BASE} were not studied: this is {base}, the nearest."
            about["note"] = f"{told} {about.get('note', '')}".strip()
        rows.append(_judged("R1", "time at 32", effect, "within", MARGIN, **about))
    return rows


def scaling(evidence: Evidence) -> list[Row]:
    """R2: T at the rate scaled from a base over T at the tuned rate, for each batch size.

    Linearly and by the square root, with bases B_0 and 1; rates that were not run have no row.
    """
    if evidence.population is not None:
        return []
    runs, rows = runs_of(evidence), list[Row]()
    epochs = all_axes(evidence.problem.n_train, runs.batch_sizes, evidence.seconds)[1]
    scaled = evidence.arms[evidence.arms.protocol.isin(SCALINGS)]
    for _, arms in scaled.groupby(["protocol", "base_batch_size"]):
        rows += _scaled(evidence, runs, arms, epochs)
    return rows


def _scaled(evidence: Evidence, runs: Runs, arms: pd.DataFrame, epochs: Axis) -> list[Row]:
    """Rows of one rule and one base, rows of `Evidence.arms`; each tells how far it reaches."""
    protocol, base = str(arms.protocol.iloc[0]), int(arms.base_batch_size.iloc[0])
    measure, tuned, rows = SCALINGS[protocol], tuned_arms(evidence), []
    for batch_size, rate in zip(arms.batch_size, arms.learning_rate, strict=True):
        arm = Arm(batch_size, rate)
        if batch_size == base or len(runs.of(arm)) == 0:
            continue  # a fixed plan of rates need not hold this one
        effect, about = timed(evidence, runs, (arm, tuned[batch_size]), epochs, "within")
        about |= {"batch_size": batch_size, "statement": STATEMENTS[protocol]}
        about |= {"protocol": protocol, "base_batch_size": base}
        rows.append(_judged("R2", measure, effect, "within", MARGIN, **about))
    verdicts = {int(row["batch_size"]): str(row["verdict"]) for row in rows}
    note = f"{measure} from {base} {_reach_told(verdicts, base, evidence.problem.n_train)}"
    return [row | {"note": note.capitalize()} for row in rows]


def _reach_told(verdicts: dict[int, str], base: int, n_train: int) -> str:
    """How far from its base a rule stays within the margin, and where it does not, in words."""

    def named(size: int) -> str:
        return "full batch" if size >= n_train else str(size)

    low, high = reach(verdicts, base)
    where = f"from batch size {named(low)} to {named(high)}" if low < high else "at its base alone"
    parts = [f"stays within {MARGIN:g} times the tuned time {where}"]
    for verdict, what in (("refuted", "exceeds it at"), ("undecided", "undecided at")):
        sizes = [named(size) for size, found in verdicts.items() if found == verdict]
        parts += [f"{what} {', '.join(sizes)}"] if sizes else []
    return "; ".join(parts) + "."


def generalization(evidence: Evidence) -> list[Row]:
    """R3: held-out score at equal training loss, and at its best, of the smallest batch size.

    Against B_0 and full batch; above the null value the smaller batch generalizes better.
    """
    table = evidence.generalization
    if len(table) == 0:
        return []
    smallest = int(table.batch_size.min())
    wanted = dict.fromkeys([evidence.options["base_batch_size"], evidence.problem.n_train])
    others = [b for b in wanted if b != smallest and b in set(table.batch_size)]
    return [row for other in others for row in _generalizes(evidence, smallest, int(other))]


def _generalizes(evidence: Evidence, smallest: int, other: int) -> list[Row]:
    """Rows of the smallest batch size against another one: at equal training loss, and at best."""
    classifier = evidence.problem.network.is_classifier
    rule = ("difference", MARGIN_ACCURACY) if classifier else ("ratio", MARGIN_RMSE)
    columns = [f"at_{k}" for k in range(len(evidence.targets))]
    at = [_compared(evidence, column, smallest, other) for column in columns]
    best = _compared(evidence, "best", smallest, other)
    effect, told = by_target(evidence, lambda k: at[k].ratio, *rule)
    about: Row = {"statement": STATEMENTS["R3"], "protocol": "tuned"}
    about |= {"batch_size": smallest, "against": other, "note": _resolution(evidence)}
    at_loss = about | paired(at[MIDDLE]) | told
    return [
        _judged("R3", "score at equal training loss", effect, *rule, **at_loss),
        _judged("R3", "best score", best.ratio, *rule, **about, **paired(best)),
    ]


def _compared(evidence: Evidence, column: str, smallest: int, other: int) -> PairedComparison:
    """A held-out score of two batch sizes by seed: the difference, or of an rmse the ratio."""
    table = evidence.generalization
    ours, theirs = (table[table.batch_size == b] for b in (smallest, other))
    both = ours.merge(theirs, on="seed", suffixes=("", "_other"))
    scores = [both[name].to_numpy(float) for name in (column, f"{column}_other")]
    classifier = evidence.problem.network.is_classifier
    if column == "best":  # missing only where a run diverged
        worst = 0.0 if classifier else np.inf
        scores = [np.where(np.isnan(values), worst, values) for values in scores]
    if classifier:
        return accuracy_difference(*scores)
    return paired_ratio(scores[1], scores[0], np.inf, np.inf)


def paired(found: PairedComparison) -> Row:
    """Return what a row tells of its pairs of seeds."""
    p_value = None if np.isnan(found.p_value) else found.p_value
    return {"n_undetermined": found.n_undetermined, "p_value": p_value}


def _resolution(evidence: Evidence) -> str:
    """What one held-out sample is worth, where that is not small against the margin."""
    n = len(evidence.problem.scored_test[0])
    if not evidence.problem.network.is_classifier or n * MARGIN_ACCURACY > COARSE:
        return ""
    return f"One of the {n} held-out samples is worth {100 / n:.1f} points."


def powers_of_two(evidence: Evidence) -> list[Row]:
    """R4: seconds per sample beside a power of two over those at it, for each program."""
    rows = []
    for (program, batch_size, others), effect in power_ratios(evidence.powers).items():
        against = others[0] if len(others) == 1 else " and ".join(map(str, others))
        about: Row = {"statement": STATEMENTS["R4"], "axis": "seconds", "program": program}
        about |= {"batch_size": batch_size, "against": against}
        rows.append(_judged("R4", "seconds per sample", effect, "ratio", MARGIN, **about))
    return rows
