"""Mistakes in averaging a batch, in words: names, the three sentences of the answer, labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.intervals import VERDICTS
from bench.analysis.mistakes import EQUAL, Mistakes
from bench.experiments.mistakes import ERROR, LEFTOVER, MEANS, RIGHT, SUM
from bench.report import words
from bench.report.frames import records

Claim = dict[str, Any]

NAMES = {
    RIGHT: "Gradients averaged",
    SUM: "Gradients summed",
    ERROR: "Errors averaged first",
    EQUAL: "One rate for all batch sizes",
    MEANS: "Mean of means, 5 to 3",
    LEFTOVER: "Mean of means, one left over",
}
"""What was done, in the order of the page: the right update first."""
MEASURES = {
    "sum diverges": "Diverged runs with sums",
    "sum takes longer": "Passes with sums",
    MEANS: "Passes, parts of 5 to 3",
    LEFTOVER: "Passes, one sample left over",
    "averaged error takes longer": "Passes with averaged errors",
    "averaged error fails": "Targets missed with averaged errors",
    "XOR": "XOR not learned with averaged errors",
}
"""What verdicts measure."""
RATES = {"shared": "at the averaged gradients' rate", "tuned": "at their own best rate"}


def label(claim: Claim, n_train: int) -> str:
    """What one verdict of C4 or C5 measures: measure, batch size, rate."""
    parts = [MEASURES[claim["measure"]]]
    size = int(claim["batch_size"])
    xor = claim["measure"] == "XOR"
    parts.append(words.with_batch(size, 4 if xor else n_train))
    if claim["base_batch_size"] is not None:
        base = words.with_batch(int(claim["base_batch_size"]), n_train)
        parts.append(f"at the rate tuned {base}")
    elif claim["measure"].startswith("averaged error"):
        parts.append(RATES[claim["protocol"]])
    return ", ".join(parts)


def headline(claims: Sequence[Claim], _: Mistakes) -> str:
    """What the verdicts of C4 or C5 are, by what was done."""
    found: dict[str, list[str]] = {}
    for claim in claims:
        kinds = found.setdefault(_kind(str(claim["measure"])), [])
        kinds.append(str(claim["verdict"]))
    return f"{words.sentence('; '.join(_told(kind, found[kind]) for kind in found))}."


def _kind(measure: str) -> str:
    """What was done, of a measure."""
    if measure in (MEANS, LEFTOVER):
        return NAMES[measure].lower()
    return "sums" if measure.startswith("sum") else "XOR" if measure == "XOR" else "averaged errors"


def _told(kind: str, verdicts: Sequence[str]) -> str:
    """Verdicts of one kind, with counts where they differ."""
    if len(set(verdicts)) == 1:
        return f"{kind}: {verdicts[0]}"
    counts = {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts}
    told = (f"{verdict} {count} of {len(verdicts)} times" for verdict, count in counts.items())
    return f"{kind}: {words.join(told)}"


LABELS: dict[str, Callable[[Claim, int], str]] = {"C4": label, "C5": label}
HEADLINES: dict[str, Callable[[Sequence[Claim], Mistakes], str]] = {"C4": headline, "C5": headline}


def lines(mistakes: Mistakes) -> pd.DataFrame:
    """The rows of `Mistakes.summary` that stand for each mistake, at the middle target.

    The sum and the one rate at the first base, averaged errors at their own best rate.
    """
    rows = mistakes.summary[mistakes.summary.target == mistakes.target]
    based = rows.base_batch_size.isna() | (rows.base_batch_size == mistakes.bases[0])
    own = (rows.mistake != ERROR) | (rows.protocol == "tuned")
    return rows[based & own].assign(n_train=mistakes.problem.n_train)


def from_on(size: int, n_train: int) -> str:
    """A batch size and all larger ones."""
    return "on the full batch" if size >= n_train else f"from batches of {words.count(size)} on"


def least_from_on(rows: pd.DataFrame, holds: Sequence[bool]) -> int | None:
    """The least batch size from which on, at it and all larger ones, something holds."""
    ordered = rows.assign(holds=holds).sort_values("batch_size", ascending=False)
    kept = ordered[ordered.holds.cumprod().astype(bool)]
    return None if kept.empty else int(kept.batch_size.min())


def share(row: Any, name: str) -> str:
    """A share with its interval, of a row of `Mistakes.summary` or `.solved`."""
    values = getattr(row, f"{name}_rate"), getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
    return words.percent_interval(*values)


def rate_sentence(mistakes: Mistakes) -> str:
    """What sum and mean do at the rate of the base, kept for all batch sizes."""
    rows, n_train = lines(mistakes), mistakes.problem.n_train
    base = words.with_batch(mistakes.bases[0], n_train)
    summed, averaged = (
        rows[rows.mistake == name].sort_values("batch_size") for name in (SUM, EQUAL)
    )
    start = float(mistakes.onsets.onset.iloc[0])
    return (
        f"At the rate tuned {base}, summed gradients {_diverge(summed, start)}; averaged ones "
        f"{_slow(averaged)}."
    )


def _diverge(summed: pd.DataFrame, start: float) -> str:
    """From which batch size on the sum diverges."""
    last = next(records(summed.tail(1)))
    if np.isinf(start):
        where = words.with_batch(last.batch_size, last.n_train)
        return f"do not make most runs diverge ({share(last, 'diverged')} {where})"
    first = next(records(summed[summed.batch_size == start]))
    return f"diverge {from_on(int(start), last.n_train)} ({share(first, 'diverged')} of the runs)"


def _slow(averaged: pd.DataFrame) -> str:
    """From which batch size on one rate for all keeps most runs from the target."""
    missed = least_from_on(averaged, np.isinf(averaged.ratio).tolist())
    last = next(records(averaged.tail(1)))
    if missed is None:
        where = words.with_batch(last.batch_size, last.n_train)
        return f"take {words.times(*interval(last), 'many passes')} {where} as at the best rate"
    first = next(records(averaged[averaged.batch_size == missed]))
    where = from_on(missed, last.n_train)
    return f"are too slow {where} ({share(first, 'success')} reach the target)"


def interval(row: Any) -> tuple[float, float, float]:
    """The ratio of a row of `Mistakes.summary` and its interval."""
    return float(row.ratio), float(row.ratio_low), float(row.ratio_high)


def error_sentence(mistakes: Mistakes) -> str:
    """Where averaged errors keep runs from the target, and from XOR."""
    rows, n_train = lines(mistakes), mistakes.problem.n_train
    errors = rows[(rows.mistake == ERROR) & (rows.batch_size > 1)].sort_values("batch_size")
    never = least_from_on(errors, (errors.success_rate == 0).tolist())
    size = int(errors.batch_size.max()) if never is None else never
    row = next(records(errors[errors.batch_size == size]))
    where = words.with_batch(size, n_train) if never is None else from_on(size, n_train)
    solved = mistakes.solved[mistakes.solved.batch_size == mistakes.solved.batch_size.max()]
    right, wrong = (next(records(solved[solved.mistake == name])) for name in (RIGHT, ERROR))
    return (
        f"With errors averaged first, {share(row, 'success')} of the runs reach the target "
        f"{where} at the best of all rates, and {share(wrong, 'success')} of the networks learn "
        f"XOR; with averaged gradients {share(right, 'success')} do."
    )


def means_sentence(mistakes: Mistakes) -> str:
    """What means of means cost on the largest batch."""
    rows, n_train = lines(mistakes), mistakes.problem.n_train
    size = int(rows.batch_size.max())
    last = rows[rows.batch_size == size]
    even, odd = (next(records(last[last.mistake == name])) for name in (MEANS, LEFTOVER))
    return (
        f"Averaging the averages of two unequal parts of a batch {_cost(even)} "
        f"{words.with_batch(size, n_train)} where the parts are 5 to 3, and at the same rate "
        f"{_cost(odd)} where one sample is left over."
    )


def _cost(row: Any) -> str:
    """Passes over those of averaged gradients, or how many runs get there where most do not."""
    if not np.isfinite(row.ratio):
        return f"lets {share(row, 'success')} of the runs reach the target"
    same = "makes no material difference" if row.verdict == "no material difference" else "takes"
    ratio = words.times(*interval(row), "many passes")
    return f"{same} ({ratio})" if same != "takes" else f"takes {ratio}"


def sentences(mistakes: Mistakes) -> tuple[str, str, str]:
    """The answer: a sentence a mistake."""
    return rate_sentence(mistakes), error_sentence(mistakes), means_sentence(mistakes)
