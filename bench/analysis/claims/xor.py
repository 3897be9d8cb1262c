"""C6 and C7: how often XOR is learned, and whether depth helps."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.analysis.claims.row import Row, judged
from bench.analysis.evidence import Evidence
from bench.analysis.intervals import Estimate, difference_interval
from bench.analysis.xor import best_arm, reporting, share_of

SURE = 0.99  # share of networks that learn, above which XOR counts as solved
SHALLOW, DEEP = "2-2-1", "2-2-2-1"
STATEMENTS = {
    "success": "The 2-2-1 network does not always learn XOR",
    "solves": "An extra hidden layer solves XOR",
    "helps": "An extra hidden layer makes XOR easier to learn",
    "depth against width": "An extra hidden layer helps more than as many parameters in width",
}
DEFINITIONS = {
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


def _judged(claim: str, measure: str, effect: Estimate, *rule: Any, **about: Any) -> Row:
    """Return a row of one of the measures above."""
    about |= {"statement": STATEMENTS[measure], "definition": DEFINITIONS[measure]}
    return judged(claim, measure, effect, *rule, **about)


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
    return [_judged("C6", "success", effect, "share below", SURE, **about)]


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
    found = [_judged("C7", "solves", deep, "share", SURE, **about)]
    wide = rows[(rows.widths.str.count("-") == 2) & (rows.activation == "relu")]
    wide = wide[(wide.index == wide.widths) & (wide.index != SHALLOW)]
    distance = (wide.n_params - rows.n_params[DEEP]).abs()
    for measure, others in (
        ("helps", [SHALLOW]),
        ("depth against width", list(wide.index[distance == distance.min()])),
    ):
        for other in others:
            effect = difference_interval(deep, _success(evidence, other))
            found.append(
                _judged(
                    "C7",
                    measure,
                    effect,
                    "difference",
                    0.0,
                    **about,
                    against=other,
                )
            )
    return found


def _success(evidence: Evidence, variant: str) -> Estimate:
    """Share of a variant's networks that learn, at its best arm; n counts blocks."""
    assert evidence.population is not None
    counts = evidence.population.counts
    mine = counts[counts.variant == variant]
    blocks = reporting(mine, best_arm(mine))
    return share_of(blocks, "solved")._replace(n=len(blocks))
