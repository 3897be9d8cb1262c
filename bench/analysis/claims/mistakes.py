"""C4 and C5: the averaged gradient against the mistakes that are made in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.claims import claim_rows
from bench.analysis.claims.batch_size import MARGIN_FAILED
from bench.analysis.claims.row import Row, judged, settle
from bench.analysis.intervals import Estimate, paired_share_difference
from bench.analysis.mistakes import EQUAL, Mistakes, runs_of, time_ratio
from bench.analysis.recommend import MARGIN
from bench.analysis.time_to_target import MIDDLE
from bench.experiments.mistakes import ERROR, LEFTOVER, MEANS, RIGHT, SUM

STATEMENTS = {
    "sum diverges": "Summed in place of averaged, gradients make training diverge",
    "sum takes longer": "Summed in place of averaged, gradients take longer to the target",
    "mean of means": "An average of the averages of unequal parts takes longer to the target",
    "averaged error takes longer": "Averaging the errors first takes longer to the target",
    "averaged error fails": "Averaging the errors first keeps the target from being reached",
    "XOR": "Averaging the errors first keeps XOR from being learned",
}
TIMES, SHARES = ("ratio", MARGIN), ("difference", MARGIN_FAILED)
RULES = {
    "sum diverges": SHARES,
    "sum takes longer": TIMES,
    "mean of means": TIMES,
    "averaged error takes longer": TIMES,
    "averaged error fails": SHARES,
    "XOR": SHARES,
}
RATIO = "Time to the target training loss over that of the averaged gradient at {rate}, paired by "
RATIO += "seed: the median ratio. "
DEFINITIONS = {
    "sum diverges": (
        "Share of runs that diverge where the gradients of a batch are summed, minus that where "
        "they are averaged, both at the rate that is best for averaged gradients at the base batch "
        "size."
    ),
    "sum takes longer": (
        RATIO.format(rate="its own tuned rate")
        + "The sum takes the rate that is best for averaged gradients at the base batch size."
    ),
    "mean of means": (
        RATIO.format(rate="the same rate")
        + "The batch is split into two micro-batches (5 to 3, or all but one sample and that one), "
        "each is averaged, and the two averages are averaged with equal weight."
    ),
    "averaged error takes longer": (
        RATIO.format(rate="its own tuned rate")
        + "The errors y_hat - y of a batch are averaged first, and their mean is back-propagated "
        "through the mean activations; at the rate tuned for averaged gradients, and at one tuned "
        "for averaged errors."
    ),
    "averaged error fails": (
        "Share of runs that reach the target with averaged gradients, minus the share with "
        "averaged errors."
    ),
    "XOR": (
        "Share of 2-2-1 networks that classify all four points right with a loss below 0.1 after "
        "10,000 updates with averaged gradients, minus the share with averaged errors, each at its "
        "own best rate (picked on other seeds)."
    ),
}


def averaged(mistakes: Mistakes) -> list[Row]:
    """C4: sums and means of means against the averaged gradient."""
    rows = []
    for size in contrasts(mistakes):
        for base in mistakes.bases:
            about = {"base_batch_size": base, "protocol": "same"}
            summed = arm(mistakes, SUM, size, base_batch_size=base)
            equal = arm(mistakes, EQUAL, size, base_batch_size=base)
            effect = share_difference(mistakes, summed, equal, "diverged")
            rows.append(_judged("C4", "sum diverges", effect, size, about))
            effect, told = timed(mistakes, summed)
            rows.append(_judged("C4", "sum takes longer", effect, size, about | told))
        for name in (MEANS, LEFTOVER):
            effect, told = timed(mistakes, arm(mistakes, name, size))
            about = told | {"protocol": "shared", "measure": name}
            rows.append(_judged("C4", "mean of means", effect, size, about))
    return rows


def error_first(mistakes: Mistakes) -> list[Row]:
    """C5: averaged errors against averaged gradients, on the data and on XOR."""
    rows = []
    for size in contrasts(mistakes):
        for protocol in ("shared", "tuned"):
            ours = arm(mistakes, ERROR, size, protocol=protocol)
            for key, measure in (
                ("averaged error takes longer", timed),
                ("averaged error fails", reached),
            ):
                effect, told = measure(mistakes, ours)
                rows.append(_judged("C5", key, effect, size, told | {"protocol": protocol}))
    for size in sorted(set(mistakes.solved.batch_size)):
        effect = _solved_difference(mistakes, size)
        rows.append(_judged("C5", "XOR", effect, size, {"protocol": "tuned"}))
    return rows


CLAIMS: dict[str, Callable[[Mistakes], list[Row]]] = {"C4": averaged, "C5": error_first}


def mistake_claims(mistakes: Mistakes) -> list[Row]:
    """Return the rows of claims.json of the study of mistakes."""
    return [row for measure in CLAIMS.values() for row in claim_rows(measure(mistakes))]


def _judged(claim: str, key: str, effect: Estimate, size: int, about: Row) -> Row:
    """Return a row about a batch size; `key` is that of the measure's words and rule."""
    words = {"statement": STATEMENTS[key], "definition": DEFINITIONS[key], "batch_size": size}
    return judged(claim, key, effect, *RULES[key]) | words | about


def contrasts(mistakes: Mistakes) -> list[int]:
    """Batch sizes that verdicts are given at: B_0 and full batch, as far as they were studied."""
    wanted = dict.fromkeys([mistakes.bases[-1], mistakes.problem.n_train])
    return [size for size in wanted if size in mistakes.batch_sizes and size > 1]


def arm(mistakes: Mistakes, name: str, size: int, **about: Any) -> Any:
    """Return the one row of `Mistakes.arms` of this mistake, batch size and protocol."""
    arms = mistakes.arms[(mistakes.arms.mistake == name) & (mistakes.arms.batch_size == size)]
    for column, value in about.items():
        arms = arms[arms[column] == value]
    return next(arms.itertuples(index=False))


def timed(mistakes: Mistakes, ours: Any) -> tuple[Estimate, Row]:
    """T over T of the right update: the middle target's estimate, and what else the row says."""
    right = runs_of(mistakes.outcomes, arm(mistakes, RIGHT, ours.batch_size))
    found = runs_of(mistakes.outcomes, ours)
    ratios = [time_ratio(found, right, k) for k in range(len(mistakes.targets))]
    about = _settled(mistakes, [r.ratio for r in ratios], *TIMES)
    middle = ratios[MIDDLE]
    about |= {"axis": "epochs", "n_undetermined": middle.n_undetermined}
    about |= {"p_value": None if np.isnan(middle.p_value) else middle.p_value}
    return middle.ratio, about


def reached(mistakes: Mistakes, ours: Any) -> tuple[Estimate, Row]:
    """Share of right runs that reach the target minus that of ours, and what the row says."""
    right = runs_of(mistakes.outcomes, arm(mistakes, RIGHT, ours.batch_size))
    found = runs_of(mistakes.outcomes, ours)
    effects = []
    for k in range(len(mistakes.targets)):
        hits = (_by_seed(runs, f"hit_{k}") for runs in (right, found))
        effects.append(paired_share_difference(*(np.isfinite(h) for h in hits)))
    return effects[MIDDLE], _settled(mistakes, effects, *SHARES)


def share_difference(mistakes: Mistakes, ours: Any, theirs: Any, flag: str) -> Estimate:
    """Share of our runs with a flag minus theirs, paired by seed."""
    flags = (_by_seed(runs_of(mistakes.outcomes, one), flag) for one in (ours, theirs))
    return paired_share_difference(*flags)


def _settled(mistakes: Mistakes, effects: list[Estimate], kind: str, margin: float) -> Row:
    """The verdict at the middle target, undecided where another says the opposite."""
    verdicts = {
        target: judged("", "", effect, kind, margin)["verdict"]
        for target, effect in zip(mistakes.targets, effects, strict=True)
    }
    decided, others = settle(verdicts, mistakes.target)
    return {"verdict": decided, "other_targets": others, "target": mistakes.target}


def _by_seed(runs: pd.DataFrame, column: str) -> Any:
    """Values of a column in the order of the seeds."""
    return runs.sort_values("seed")[column].to_numpy()


def _solved_difference(mistakes: Mistakes, size: int) -> Estimate:
    """Share of XOR networks that learn with averaged gradients minus that with averaged errors."""
    rates = mistakes.solved.set_index(["mistake", "batch_size"]).learning_rate
    rows = mistakes.xor_outcomes
    shares = []
    for name in (RIGHT, ERROR):
        at = (rows.mistake == name) & (rows.batch_size == size) & (rows.role == "report")
        shares.append(_by_seed(rows[at & (rows.learning_rate == rates[name, size])], "solved"))
    return paired_share_difference(*shares)
