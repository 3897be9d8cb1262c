"""The verdicts: each claim of the notes, measured, with its interval and definition.

`CLAIMS` maps a claim to the function that measures it; a claim that does not apply to a study gives
no rows. Effects are oriented: above the null value the claim holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.analysis.claims.batch_size import inefficient, learning_rate, noisy, unstable
from bench.analysis.claims.recommendation import frequency
from bench.analysis.claims.row import Row
from bench.analysis.claims.rules import half_life, momentum
from bench.analysis.claims.thumb import default, generalization, powers_of_two, scaling
from bench.analysis.claims.xor import deeper, not_always
from bench.analysis.evidence import Evidence
from bench.analysis.intervals import holm

CLAIMS: dict[str, Callable[[Evidence], list[Row]]] = {
    "C1": noisy,
    "C2": inefficient,
    "C3": unstable,
    "C6": not_always,
    "C7": deeper,
    "C8": learning_rate,
    "C9": frequency,
    "R1": default,
    "R2": scaling,
    "R3": generalization,
    "R4": powers_of_two,
    "R5": momentum,
    "R6": half_life,
}


def all_claims(evidence: Evidence) -> list[Row]:
    """Return the rows of claims.json: Holm within each claim, contradictions noted."""
    return [row for measure in CLAIMS.values() for row in claim_rows(measure(evidence))]


def claim_rows(rows: list[Row]) -> list[Row]:
    """Return the rows of one claim with p-values after Holm, and contradictions noted."""
    adjusted = holm([np.nan if r["p_value"] is None else r["p_value"] for r in rows])
    for row, p in zip(rows, adjusted, strict=True):
        row["p_holm"] = None if np.isnan(p) else float(p)
    return note_contradictions(rows)


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
