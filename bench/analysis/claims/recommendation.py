"""C9: after each sample, each mini-batch or the full batch: what is recommended, and its costs."""

from __future__ import annotations

import numpy as np

from bench.analysis.arms import all_axes
from bench.analysis.claims.row import Row, judged, runs_of, tuned_arms
from bench.analysis.claims.thumb import against_best
from bench.analysis.evidence import Evidence, Recommendation
from bench.analysis.recommend import MARGIN

DEFINITION = (
    "Time to the target training loss at this batch size over that at the best one, each at its "
    "own tuned rate, paired by seed: the median ratio. The best is picked on the tuning seeds, for "
    "passes over the data and for the seconds of each program. Supported where the whole interval "
    "lies below the margin, refuted above it."
)
WHEN = {"epochs": "passes over the data", "seconds": "time with {program}"}
FACTORS = {0.5: "half", 2.0: "double"}


def frequency(evidence: Evidence) -> list[Row]:
    """C9: T of B = 1, of B_0 and of full batch over T of the best, by passes and by program."""
    arms, n_train = tuned_arms(evidence), evidence.problem.n_train
    if evidence.population is not None:
        return []
    wanted = dict.fromkeys([1, int(evidence.options["base_batch_size"]), n_train])
    advice = {(one.axis, one.program): one for one in evidence.recommendations}
    runs, rows = runs_of(evidence), []
    for axis in all_axes(n_train, list(arms), evidence.seconds)[1:]:
        for batch_size in (b for b in wanted if b in arms):
            found = against_best(evidence, runs, batch_size, axis)
            if found is None:
                continue
            effect, about = found
            told = (about.get("note", ""), costs_told(advice.get((axis.name, axis.program))))
            about["note"] = " ".join(filter(None, told))
            about["statement"] = _statement(batch_size, n_train, WHEN[axis.name], axis.program)
            about["definition"] = DEFINITION
            rows.append(judged("C9", "time against the best", effect, "within", MARGIN, **about))
    return rows


def _statement(batch_size: int, n_train: int, when: str, program: str) -> str:
    """What is claimed of a batch size on an axis."""
    what = {1: "each sample", n_train: "all samples"}.get(batch_size, f"each {batch_size} samples")
    return f"Updating after {what} costs no more than the best batch size, in " + when.format(
        program=program
    )


def costs_told(advice: Recommendation | None) -> str:
    """The set, the runner-up, and the costs of half and double the rate or the batch size."""
    if advice is None or advice.best is None:
        return ""
    parts = [f"Cannot be told apart from the best: {_listed(advice.batch_sizes)}"]
    if advice.runner_up is not None:
        parts.append(f"runner-up {advice.runner_up}")
    rows: list[Row] = advice.costs.to_dict("records")
    cells = {(row["batch_factor"], row["rate_factor"]): row for row in rows}
    for factor, name in FACTORS.items():
        if (1.0, factor) in cells:
            parts.append(f"{name} the rate {_cost(cells[1.0, factor])}")
    for factor in FACTORS:
        if (factor, 1.0) in cells:
            cell = cells[factor, 1.0]
            parts.append(f"batch size {cell['batch_size']} {_cost(cell)}")
    return "; ".join(parts) + "."


def _listed(batch_sizes: tuple[int, ...]) -> str:
    """A set of batch sizes."""
    kind = "batch size" if len(batch_sizes) == 1 else "batch sizes"
    return f"{kind} {', '.join(map(str, batch_sizes))}"


def _cost(cell: Row) -> str:
    """A cost with its interval."""
    ratios = [float(cell[name]) for name in ("ratio", "low", "high")]
    if np.isnan(ratios[0]):
        return "(undetermined)"
    value, low, high = ("not reached" if np.isinf(x) else f"{x:.2g}" for x in ratios)
    return f"{value} [{low}, {high}] times"
