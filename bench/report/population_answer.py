"""The answer of a study of populations: how often XOR is learned, why not, and what helps."""

from __future__ import annotations

import pandas as pd

from bench.analysis.evidence import Evidence, Population
from bench.analysis.xor import ANY
from bench.report import words
from bench.report.frames import records

PLAINLY = {
    "diverged": "the weights have grown without bound",
    "dead": "no hidden unit responds to any input any more",
    "one unit": "only one hidden unit responds to any input, and one cannot separate XOR",
    "symmetric": "the hidden units all do the same",
    "plateau ln 2": "every answer is stuck at one half",
    "plateau one corner": "only one or two corners are right and the others a guess",
    "still falling": "the loss is still falling",
    "other": "the loss has settled elsewhere",
}
"""Causes of failure as one would tell them to a student."""
HELPS = {
    "supported": "helps",
    "refuted": "makes it worse",
    "undecided": "makes no clear difference",
}
"""What an extra layer does, by the verdict of C7's "helps"."""


def how_often(evidence: Evidence) -> str:
    """How often the problem's own network learns, at best and trained in other ways."""
    success = _population(evidence).success
    own = success.iloc[0]
    share = words.percent_interval(own["success"], own["low"], own["high"])
    text = (
        f"The {own['variant']} network learns XOR from {share} of {words.count(own['n_runs'])} "
        "starts, at its best batch size and learning rate"
    )
    kinds = {"initialization": "initializations", "rule": "update rules"}
    others = success[success["factor"].isin(kinds)]
    if others.empty:
        return f"{text}."
    told = words.join(name for factor, name in kinds.items() if factor in set(others["factor"]))
    return f"{text}; with other {told} {_range(others['success'])}."


def by_batch_size(evidence: Evidence) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The sentence about batch sizes, and a line for each: name, share and rate."""
    rows, n_train = own_by_batch_size(evidence), evidence.problem.n_train
    details = tuple(
        (
            words.sentence(words.batch_name(int(row.batch_size), n_train)),
            f"{words.percent_interval(row.success, row.low, row.high)} at a learning rate of "
            f"{words.number(row.learning_rate)}",
        )
        for row in records(rows)
    )
    each = f"At each batch size's own best rate that is {_range(rows['success'])} of the starts."
    return each, details


def own_by_batch_size(evidence: Evidence) -> pd.DataFrame:
    """Rows of `Population.by_batch_size` of the problem's own network, ascending."""
    population = _population(evidence)
    rows = population.by_batch_size
    own = population.success["variant"].iloc[0]
    return rows[rows["variant"] == own].sort_values("batch_size")


def why_and_what_helps(evidence: Evidence) -> str:
    """Why the others fail, what more training does for them, and what helps instead."""
    population = _population(evidence)
    parts = [_why(population), _longer(evidence), _control(population), _depth_and_width(evidence)]
    return " ".join(part for part in parts if part)


def _population(evidence: Evidence) -> Population:
    assert evidence.population is not None
    return evidence.population


def _range(shares: pd.Series) -> str:
    """The least and the greatest of some shares."""
    low, high = words.percent(float(shares.min())), words.percent(float(shares.max()))
    return low if low == high else f"{low} to {high}"


def _why(population: Population) -> str:
    """The two most frequent causes of failure of the problem's own network."""
    causes = population.causes
    own = population.success["variant"].iloc[0]
    failed = causes[(causes["variant"] == own) & (causes["cause"] != "solved")]
    failed = failed[failed["share"] > 0].nlargest(2, "share")
    told = [f"{PLAINLY[row.cause]} ({words.percent(row.share)} of all)" for row in records(failed)]
    return f"In most of the others {words.join(told, 'or')}." if told else ""


def _longer(evidence: Evidence) -> str:
    """How many failures learn when they are trained for longer."""
    longer = _population(evidence).longer
    if longer.empty:
        return ""
    own = longer[longer["cause"] == ANY].iloc[0]  # the problem's own network comes first
    solved, failed = words.count(own["solved_longer"]), words.count(own["n"])
    return (
        f"Trained {evidence.problem.longer} times as long, {solved} of the {failed} that failed "
        "learn after all."
    )


def _control(population: Population) -> str:
    """How often units that cannot die learn."""
    rows = population.success[population.success["factor"] == "activation"]
    told = [f"{words.NAMES[row.level]} {words.percent(row.success)}" for row in records(rows)]
    return f"With units that cannot die: {words.join(told)}." if told else ""


def _depth_and_width(evidence: Evidence) -> str:
    """What extra layers do, how often wider networks learn, and which of both is missing."""
    success = _population(evidence).success
    deep = success[success["factor"] == "depth"].set_index("variant")
    helps = {c["variant"]: c["verdict"] for c in evidence.claims if c["measure"] == "helps"}
    told = []
    for verdict, effect in HELPS.items():
        rows = deep[[helps.get(variant) == verdict for variant in deep.index]]
        if len(rows):
            layers = words.join((f"of {level}" for level in rows["level"]), "or")
            shares = words.join(words.percent(share) for share in rows["success"])
            told.append(f"an extra layer {layers} units {effect} ({shares})")
    wide = success[success["factor"] == "width"]
    if len(wide):
        best = wide.loc[wide["success"].idxmax()]
        share = words.percent(float(best["success"]))
        told.append(f"{best['level']} units side by side learn from {share}")
    return words.sentence(f"{'; '.join(told)}{_missing(evidence)}.") if told else ""


def _missing(evidence: Evidence) -> str:
    """Which of depth and width is missing, where all comparisons agree."""
    verdicts = {c["verdict"] for c in evidence.claims if c["measure"] == "depth against width"}
    if verdicts == {"refuted"}:
        return ": width is missing, not depth"
    return ": depth is missing, not width" if verdicts == {"supported"} else ""
