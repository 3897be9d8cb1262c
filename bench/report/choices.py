"""What to set, what it brings on held-out rows, and how sure that is, in a line each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.arms import OURS
from bench.analysis.evidence import Evidence, Recommendation
from bench.report import words
from bench.report.frames import records

BUDGETS = {300.0: "5min", 1800.0: "30min", 7200.0: "2h", 28800.0: "8h"}
"""Budgets in seconds, and how the option --budget writes them."""


@dataclass(frozen=True)
class Choice:
    """What to set for one goal, in words.

    Parameters
    ----------
    goal
        "fewest examples", or the program in which this is the fastest.
    batch_size, learning_rate
        What to set.
    cost
        What it takes to reach the target, with its interval.
    """

    goal: str
    batch_size: str
    learning_rate: str
    cost: str


def choices(evidence: Evidence) -> tuple[Choice, ...]:
    """What to set for the fewest examples, and for the fewest seconds in each program.

    The user's own programs come before batchbench, in the order in which they were timed.
    """
    first, *programs = evidence.recommendations
    programs.sort(key=lambda rec: rec.program == OURS)
    arms = [("fewest examples", first, first.best)]
    arms += [(rec.program, rec, rec.cheapest) for rec in programs]
    return tuple(
        Choice(
            goal,
            _batch_size(batch_size, evidence.problem.n_train),
            words.number(rec.learning_rates[batch_size]),
            seconds(evidence, rec) if rec.program else examples(evidence, batch_size),
        )
        for goal, rec, batch_size in arms
        if batch_size is not None
    )


def examples(evidence: Evidence, batch_size: int) -> str:
    """Examples and passes that a batch size takes to the target, at its best rate."""
    row = tuned(evidence).set_index("batch_size").loc[batch_size]
    limit = f"{words.number(row['budget_epochs'])} passes"
    told = words.quantity(
        row["examples"], row["examples_low"], row["examples_high"], "examples", limit
    )
    if not np.isfinite(row["epochs"]):
        return told
    return f"{told}, {words.number(row['epochs'])} passes"


def seconds(evidence: Evidence, rec: Recommendation) -> str:
    """Seconds that a program takes to the target, at the batch size recommended for it."""
    rows = evidence.programs[evidence.programs["program"] == rec.program]
    row = rows[rows["batch_size"] == rec.cheapest].iloc[0]
    return words.duration_interval(row["seconds"], row["seconds_low"], row["seconds_high"])


def tuned(evidence: Evidence) -> pd.DataFrame:
    """The summary's rows of tuned arms at the middle target."""
    summary = evidence.summary
    return summary[(summary["protocol"] == "tuned") & (summary["target"] == evidence.target)]


def _batch_size(batch_size: int, n_train: int) -> str:
    """A batch size as the number to set: "1 (per sample)", "32", "275 (full batch)"."""
    ends = {1: " (per sample)", n_train: " (full batch)"}
    return words.count(batch_size) + ends.get(batch_size, "")


def arm_rows(evidence: Evidence, batch_size: int, learning_rate: float) -> pd.DataFrame:
    """The rows of `evidence.choices` of one arm: one a score; none for what was not chosen."""
    frame = evidence.choices
    if frame.empty:
        return frame
    same = np.isclose(frame["learning_rate"], learning_rate, rtol=1e-9)
    return frame[(frame["batch_size"] == batch_size) & same]


def passes(evidence: Evidence, batch_size: int, learning_rate: float) -> int:
    """Passes within which 9 of 10 runs reach the target.

    Where fewer reach it: the upper end of the median's interval; where that is open, the budget
    of a run at this batch size.
    """
    n_train = evidence.problem.n_train
    rows = arm_rows(evidence, batch_size, learning_rate)
    known = [] if rows.empty else [rows["examples_q90"].iloc[0], rows["examples_high"].iloc[0]]
    budget = tuned(evidence).set_index("batch_size")["budget_epochs"].loc[batch_size]
    examples = next((float(x) for x in known if np.isfinite(x)), n_train * float(budget))
    return max(1, math.ceil(examples / n_train))


def uncertain(evidence: Evidence, batch_size: int, learning_rate: float) -> bool:
    """Whether fewer than 9 of 10 runs of an arm reached the target within the budget."""
    rows = arm_rows(evidence, batch_size, learning_rate)
    return bool(np.isinf(rows["examples_q90"]).any()) if len(rows) else False


def quality(evidence: Evidence) -> tuple[str, ...]:
    """The held-out scores of the choice for the fewest examples: at the target, and at best."""
    first = evidence.recommendations[0]
    if first.chosen is None:
        return ()
    rows = arm_rows(evidence, first.chosen, first.learning_rates[first.chosen])
    return tuple(
        text
        for row in records(rows)
        if np.isfinite(row.at_target) and np.isfinite(row.best)
        for text in (_at_target(evidence, row), _at_best(evidence, row))
    )


def _score(row: Any, name: str) -> str:
    """A score with its interval, in the words of its kind; few seeds bound no median."""
    value, low, high = (float(getattr(row, f"{name}{end}")) for end in ("", "_low", "_high"))
    if row.score != "rmse":
        return words.percent_interval(value, max(low, 0.0), min(high, 1.0))
    # three digits: errors differ little from each other
    if not math.isfinite(high):
        return f"{words.number(value, 3)} (of runs too few for an interval)"
    return f"{words.number(value, 3)} [{words.number(max(low, 0.0), 3)}, {words.number(high, 3)}]"


def _at_target(evidence: Evidence, row: Any) -> str:
    """The held-out score when the target is reached, against the baseline's."""
    arm = words.sentence(words.with_batch(int(row.batch_size), evidence.problem.n_train))
    start = f"{arm}, when the training loss reaches {words.number(evidence.target)}"
    value = _score(row, "at_target")
    if row.score == "rmse":
        return (
            f"{start}, the root-mean-square error of {words.label(row.unit)} on held-out rows is "
            f"{value}, in its own unit; always guessing the mean: {words.number(row.baseline, 3)}."
        )
    guess = words.percent(row.baseline)
    if row.score == "accuracy":
        return (
            f"{start}, {value} of the held-out rows are classified right; always guessing the "
            f"commonest class: {guess}."
        )
    return f"{words.sentence(row.score)}, the mean over the classes: {value}; guessing: {guess}."


def _at_best(evidence: Evidence, row: Any) -> str:
    """The best held-out score, where it was, and what that says about training longer."""
    n_passes = row.best_examples / evidence.problem.n_train
    where = f"{words.number(n_passes)} passes ({words.number(row.best_examples)} examples)"
    best = "least held-out error" if row.score == "rmse" else f"best held-out {row.score}"
    start = f"The {best} seen is {_score(row, 'best')}, after {where}"
    if row.still_improving:
        return f"{start}, where the budget ends: it was still improving."
    return f"{start}: training longer than that only fits noise."


def sureness(evidence: Evidence) -> tuple[str, ...]:
    """Seeds, what cannot be told apart, the runner-up, and what being wrong costs."""
    first, n_train = evidence.recommendations[0], evidence.problem.n_train
    seeds = words.plural(int(tuned(evidence)["n_seeds"].max()), "reporting seed")
    if first.chosen is None:
        return (f"{seeds}.",)
    parts = [seeds]
    if first.runner_up is not None and first.best is not None:
        row = next(r for r in records(first.ratios) if r.batch_size == first.runner_up)
        ratio = words.times(row.ratio, row.low, row.high, "many")
        best = words.with_batch(first.best, n_train)
        runner_up = words.with_batch(first.runner_up, n_train)
        parts.append(f"training {runner_up}, the runner-up, needs {ratio} examples as {best}")
    if len(first.batch_sizes) > 1:
        listed = words.join(words.batch_label(b, n_train) for b in sorted(first.batch_sizes))
        parts.append(f"batch sizes {listed} are not distinguishable")
    return (words.sentence(f"{'; '.join(parts)}."), *_wrong(first))


def _wrong(rec: Recommendation) -> tuple[str, ...]:
    """What half and double the learning rate, and the batch size, cost in examples."""
    cells = {(row.batch_factor, row.rate_factor): row for row in records(rec.costs)}
    told = []
    for factor, name in ((0.5, "half"), (2.0, "double")):
        if (1.0, factor) in cells:
            told.append(f"{name} the learning rate: {_ratio(cells[1.0, factor].ratio)}")
    for factor in (0.5, 2.0):
        if (factor, 1.0) in cells:
            row = cells[factor, 1.0]
            told.append(f"batch size {words.count(row.batch_size)}: {_ratio(row.ratio)}")
    return (f"Times as many examples at {', '.join(told)}.",) if told else ()


def _ratio(ratio: float) -> str:
    """A ratio in a word or two."""
    if math.isnan(ratio):
        return "(undetermined)"
    return "(target not reached)" if math.isinf(ratio) else words.number(ratio)


def rounds(options: Mapping[str, Any]) -> tuple[str, ...]:
    """After which round this is the answer, and how to go on; nothing for a fixed plan."""
    done, planned, budget = (options.get(name) for name in ("rounds", "rounds_of", "budget"))
    if done is None or planned is None:
        return ()
    if done >= planned:
        return (f"Answer after all {planned} rounds.",)
    given = f" ({_seconds(budget)})" if budget else ""
    more = next((text for seconds, text in BUDGETS.items() if seconds > (budget or 0)), None)
    way = f"--budget {more}" if budget and more else f"--rounds {planned}"
    return (f"Answer after round {done} of {planned}{given}; {way} goes on from here.",)


def _seconds(seconds: float) -> str:
    """A budget as people say it: "60 s", "5 min"."""
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"
