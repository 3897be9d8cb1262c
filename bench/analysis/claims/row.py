"""A row of claims.json: an effect, judged by the rule; and what claims look up in the evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.analysis.arms import Arm, Axis, Runs, compare, picked_arms
from bench.analysis.evidence import Evidence
from bench.analysis.intervals import Estimate, verdict
from bench.analysis.recommend import MARGIN
from bench.analysis.time_to_target import MIDDLE

Row = dict[str, Any]


def judged(
    claim: str, measure: str, effect: Estimate, kind: str, margin: float, **about: Any
) -> Row:
    """Return a row of claims.json.

    Parameters
    ----------
    claim, measure
        Which claim, and what was measured.
    effect, kind, margin
        As of `intervals.verdict`; n of the effect counts reporting seeds.
    **about
        `statement` and `definition`, in words, and what else differs from the defaults.
    """
    return {
        "claim": claim,
        "statement": "",
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
        "definition": "",
        "kind": kind,
        "margin": margin,
        "batch_size": None,
        "variant": None,
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


def by_target(
    evidence: Evidence,
    measure: Callable[[int], Estimate],
    kind: str = "ratio",
    margin: float = MARGIN,
) -> tuple[Estimate, Row]:
    """Measure at each target: the middle one's estimate, and verdict and others' verdicts.

    Parameters
    ----------
    evidence
        For the targets.
    measure
        From a target's index to the estimate.
    kind, margin
        As of `intervals.verdict`.
    """
    found = [measure(k) for k in range(len(evidence.targets))]
    verdicts = {
        t: verdict(e.low, e.high, margin, kind=kind)
        for t, e in zip(evidence.targets, found, strict=True)
    }
    decided, others = settle(verdicts, evidence.target)
    about = {"verdict": decided, "other_targets": others, "target": evidence.target}
    return found[MIDDLE], about


def timed(
    evidence: Evidence, runs: Runs, pair: tuple[Arm, Arm], axis: Axis, kind: str = "ratio"
) -> tuple[Estimate, Row]:
    """T_A / T_B at each target: the middle one's estimate, and what else the row says.

    `kind` is as of `intervals.verdict`.
    """
    found = [compare(runs, *pair, axis, k) for k in range(len(evidence.targets))]
    effect, about = by_target(evidence, lambda k: found[k].ratio, kind)
    middle = found[MIDDLE]
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
    return {arm.batch_size: arm for arm in picked_arms(evidence.picks)}


def contrasts(evidence: Evidence) -> list[int]:
    """Batch sizes that B = 1 is compared with: B_0 and full batch; none where B = 1 is missing."""
    studied = set(evidence.picks.batch_size)
    wanted = dict.fromkeys([evidence.options["base_batch_size"], evidence.problem.n_train])
    return [b for b in wanted if b in studied and b != 1] if 1 in studied else []
