"""Rules of thumb, and which batch size for which program, in words: labels and headlines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.analysis.evidence import Evidence, Recommendation
from bench.analysis.thumb import reach
from bench.report import words
from bench.report.frames import records

Claim = dict[str, Any]

RULES = {"linear": "Linearly", "square root": "By the square root"}
MOMENTS = {"score at equal training loss": "At equal training loss", "best score": "At its best"}


def _axis(claim: Claim) -> str:
    """The axis of a claim that has one."""
    return f"Time in {claim['program']}" if claim["program"] else "Passes over the data"


def _pair(claim: Claim, n_train: int) -> str:
    """Which batch size against which."""
    ours, theirs = claim["batch_size"], claim["against"]
    if ours == theirs:
        return f"{words.batch_name(int(ours), n_train)}, the best itself"
    named = (words.batch_name(int(size), n_train) for size in (ours, theirs))
    return " against ".join(named)


def _against_best(claim: Claim, n_train: int) -> str:
    """C9."""
    return f"{_axis(claim)}: {_pair(claim, n_train)}"


def _default(claim: Claim, n_train: int) -> str:
    """R1, whose batch size is always the same."""
    best = words.batch_name(int(claim["against"]), n_train)
    itself = claim["against"] == claim["batch_size"]
    return f"{_axis(claim)}, {'the best itself' if itself else f'against {best}'}"


def _scaled(claim: Claim, n_train: int) -> str:
    """R2."""
    base = words.count(claim["base_batch_size"])
    arm = words.with_batch(int(claim["batch_size"]), n_train)
    return f"{RULES[claim['protocol']]} from {base}, {arm}"


def _moment(claim: Claim, n_train: int) -> str:
    """R3."""
    return f"{MOMENTS[claim['measure']]}: {_pair(claim, n_train)}"


def _power(claim: Claim, _: int) -> str:
    """R4."""
    return f"A sample in {claim['program']}: {claim['batch_size']} against {claim['against']}"


LABELS: dict[str, Callable[[Claim, int], str]] = {
    "C9": _against_best,
    "R1": _default,
    "R2": _scaled,
    "R3": _moment,
    "R4": _power,
}
"""From a claim to what one of its rows measures, in words."""


def which(_: Sequence[Claim], evidence: Evidence) -> str:
    """C9: the set for the fewest passes and for each program, and the cost of being wrong."""
    sizes, n_train = sorted(evidence.picks["batch_size"]), evidence.problem.n_train
    known = [one for one in evidence.recommendations if one.batch_sizes]
    return " ".join(_recommended(one, sizes, n_train) for one in known)


def _recommended(rec: Recommendation, sizes: Sequence[int], n_train: int) -> str:
    """One recommendation in a sentence."""
    goal = f"In {rec.program}" if rec.program else "For the fewest passes"
    named = [words.batch_label(size, n_train) for size in rec.batch_sizes]
    first, last = (sizes.index(size) for size in (rec.batch_sizes[0], rec.batch_sizes[-1]))
    in_a_row = len(named) > 2 and last - first == len(named) - 1
    chosen = f"{named[0]} to {named[-1]}" if in_a_row else words.join(named, "or")
    return f"{goal}: batch size {chosen}{_cost_of_error(rec)}."


def _cost_of_error(rec: Recommendation) -> str:
    """The worst of half and double the rate, and of the next batch sizes; "" if none was tried."""
    costs = [
        float(row.ratio)
        for row in records(rec.costs)
        if (row.batch_factor == 1.0) != (row.rate_factor == 1.0) and not math.isnan(row.ratio)
    ]
    if not costs:
        return ""
    much = "long" if rec.program else "many"
    worst = "the target may not be reached"
    if math.isfinite(max(costs)):
        worst = f"up to {words.number(max(costs))} times as {much}"
    return f" (half or double the rate, or the next batch size: {worst})"


def reaches(claims: Sequence[Claim], evidence: Evidence) -> str:
    """R2: from which to which batch size each rule stays within the margin, from each base."""
    verdicts: dict[tuple[str, int], dict[int, str]] = {}
    for claim in claims:
        rule = verdicts.setdefault((claim["protocol"], int(claim["base_batch_size"])), {})
        rule[int(claim["batch_size"])] = claim["verdict"]
    ends = {(protocol, base): reach(found, base) for (protocol, base), found in verdicts.items()}
    return f"{reaches_told(ends, claims[0]['margin'], evidence.problem.n_train)}."


def reaches_told(
    ends: Mapping[tuple[str, int], tuple[int, int]], margin: float, n_train: int
) -> str:
    """How far each way to scale a rate reaches, as a sentence without its full stop.

    Parameters
    ----------
    ends
        From protocol and base to the smallest and the largest batch size within the margin.
    margin
        A factor of the tuned time.
    n_train
        Training samples.
    """
    parts = []
    for protocol, name in RULES.items():
        told = []
        for base in (base for rule, base in ends if rule == protocol):
            low, high = (words.batch_label(size, n_train) for size in ends[protocol, base])
            where = f"at batch sizes {low} to {high}" if low != high else "nowhere else"
            told.append(f"from {words.count(base)} {where}")
        parts += [f"scaled {name.lower()} {', '.join(told)}"] if told else []
    return f"Surely within {margin:g} times the tuned time: {'; '.join(parts)}"


def beside_powers(claims: Sequence[Claim], _: Evidence) -> str:
    """R4: the least and the largest ratio of each program."""
    parts = []
    for program in dict.fromkeys(str(claim["program"]) for claim in claims):
        ratios = [float(c["effect"]) for c in claims if c["program"] == program]
        low, high = words.number(min(ratios)), words.number(max(ratios))
        span = low if low == high else f"{low} to {high}"
        parts.append(f"{span} times as long in {program}")
    return f"Beside a power of two a sample takes {words.join(parts)}."


HEADLINES: dict[str, Callable[[Sequence[Claim], Evidence], str]] = {
    "C9": which,
    "R2": reaches,
    "R4": beside_powers,
}
"""From a claim to what its rows say together, where their verdicts alone do not."""
