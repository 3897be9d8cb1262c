"""R5 and R6: what people say of update rules and the batch size."""

from __future__ import annotations

import numpy as np

from bench.analysis.claims.row import Row, by_target, judged
from bench.analysis.evidence import Evidence
from bench.analysis.intervals import Estimate
from bench.analysis.recommend import MARGIN
from bench.analysis.rules import compare_rules
from bench.analysis.time_to_target import MIDDLE
from bench.experiments.rules import ADAM_HALF_LIFE

STATEMENTS = {
    "R5": "Momentum helps only with large batches",
    "R6": "Adam's default beta2 is for one batch size only",
}
_TUNED = "each at its own tuned rate, at the same batch size, paired by seed: the median ratio."
DEFINITIONS = {
    "R5": (
        "Passes to the target of plain gradient descent over those of momentum 0.9, "
        f"{_TUNED} On the full batch: supported where momentum takes clearly fewer. At smaller "
        "batch sizes the claim is that it does not help: supported where the whole interval lies "
        "below the margin, refuted where it lies above (Zhang et al. 2019)."
    ),
    "R6": (
        "Passes to the target of Adam with beta2 = 0.999 over those of Adam whose beta2 keeps its "
        f"half-life in examples, 0.999^(B/32) (Marek et al. 2025), {_TUNED} At a batch size of 32 "
        "the two are one rule."
    ),
}
MEASURES = {"R5": "momentum", "R6": "default beta2"}


def momentum(evidence: Evidence) -> list[Row]:
    """R5: T_sgd / T_momentum on the full batch, and per sample and at B_0, where none is claimed.

    Zhang et al. (2019, arXiv 1907.04164): momentum helps beyond a critical batch size only.
    """
    pair = ("sgd", "momentum")
    return [_row(evidence, "R5", pair, size) for size in _sizes(evidence, *pair)]


def half_life(evidence: Evidence) -> list[Row]:
    """R6: T of Adam with beta2 as given over T with its half-life kept, per sample and full batch.

    Marek et al. (2025, arXiv 2507.07101).
    """
    pair = ("adam", ADAM_HALF_LIFE)
    ends = {1, evidence.problem.n_train}
    sizes = [size for size in _sizes(evidence, *pair) if size in ends]
    return [_row(evidence, "R6", pair, size) for size in sizes]


def _sizes(evidence: Evidence, *rules: str) -> list[int]:
    """Of B = 1, B_0 and N those at which all of these rules ran, descending: full batch leads."""
    runs = evidence.rule_runs
    if runs.empty:
        return []
    wanted = {1, evidence.options["base_batch_size"], evidence.problem.n_train}
    studied = [set(runs.batch_size[runs.rule == rule]) for rule in rules]
    return sorted(wanted.intersection(*studied), reverse=True)


def _row(evidence: Evidence, claim: str, pair: tuple[str, str], size: int) -> Row:
    """Return the row of T of one rule over T of another at a batch size."""
    smaller = claim == "R5" and size < evidence.problem.n_train
    kind = "within" if smaller else "ratio"

    def ratio(target: int) -> Estimate:
        return compare_rules(evidence.rule_runs, *pair, size, target).ratio

    effect, about = by_target(evidence, ratio, kind)
    middle = compare_rules(evidence.rule_runs, *pair, size, MIDDLE)
    about |= {
        "statement": STATEMENTS[claim],
        "definition": DEFINITIONS[claim],
        "axis": "epochs",
        "protocol": "tuned",
        "batch_size": size,
        "n_undetermined": middle.n_undetermined,
        "p_value": None if np.isnan(middle.p_value) else middle.p_value,
    }
    return judged(claim, MEASURES[claim], effect, kind, MARGIN, **about)
