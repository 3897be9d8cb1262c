"""C6 and C7: how often XOR is learned, and whether depth helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.claims.row import Row, judged
from bench.analysis.evidence import Evidence, Population
from bench.analysis.intervals import Estimate, difference_interval
from bench.analysis.xor import best_arm, tuning_shares
from bench.problems.xor import SOLUTION
from kernels import Network

SURE = 0.99  # share of networks that learn, above which XOR counts as solved
SHALLOW = "2-2-1"
# In what C6's networks may differ from the problem's own: inputs and rule stay
CHOICES = ("", "initialization", "width")
LEARNS = "all four points right and a loss below 0.1 at the end of the budget"


def not_always(evidence: Evidence) -> list[Row]:
    """C6: success of the notes' network at its best batch size, rate and initialization."""
    population = evidence.population
    if population is None:
        return []
    rows = population.success
    same = (rows.widths == SHALLOW) & (rows.activation == "relu") & rows.factor.isin(CHOICES)
    if not same.any():
        return []
    best = best_variant(population, rows[same])
    about = {
        "statement": f"The {SHALLOW} network does not always learn XOR",
        "variant": best.variant,
        "batch_size": int(best.batch_size),
        "definition": (
            f"Share of {SHALLOW} networks that learn XOR ({LEARNS}) at the best batch size, rate "
            f"and initialization, picked on other blocks: supported where the whole interval lies "
            f"below 99%. It could: {solution_words()}"
        ),
        "note": (
            f"Of 100 starts {of_100(best.success)} lead to XOR, at the best: {best.variant}, batch "
            f"size {best.batch_size}, learning rate {best.learning_rate:.3g}. "
            f"{_why(population, best.variant)}"
        ),
    }
    return [judged("C6", "success", _estimate(best), "share below", SURE, **about)]


def deeper(evidence: Evidence) -> list[Row]:
    """C7: success of the networks with an extra hidden layer, alone and against others."""
    population = evidence.population
    if population is None:
        return []
    rows = population.success
    own = rows.iloc[0]
    found = []
    for _, deep in rows[rows.factor == "depth"].iterrows():
        layer = f"An extra hidden layer of {deep.level}"
        about = {"variant": deep.variant, "batch_size": int(deep.batch_size)}
        found += [
            _solves(deep, layer) | about,
            _against(
                "helps",
                deep,
                own,
                f"{layer} makes XOR easier to learn",
                f"Share of {deep.variant} networks that learn XOR minus share of {own.variant} "
                "networks, each at its best batch size and rate.",
            )
            | about,
        ]
        wide = rows[rows.factor == "width"]
        distance = (wide.n_params - deep.n_params).abs()
        found += [
            _against(
                "depth against width",
                deep,
                other,
                f"{layer} helps more than as many parameters in width",
                f"Share of {deep.variant} networks that learn XOR minus that of the networks with "
                "one hidden layer and the nearest number of parameters.",
            )
            | about
            for _, other in wide[distance == distance.min()].iterrows()
        ]
    return found


def _solves(deep: pd.Series, layer: str) -> Row:
    """Whether nearly all networks with an extra layer learn."""
    return judged(
        "C7",
        "solves",
        _estimate(deep),
        "share",
        SURE,
        statement=f"{layer} solves XOR",
        definition=(
            f"Share of {deep.variant} networks that learn XOR ({LEARNS}) at the best batch size "
            "and rate: supported where the whole interval lies above 99%."
        ),
        note=f"Of 100 starts of {deep.variant} {of_100(deep.success)} lead to XOR.",
    )


def _against(measure: str, deep: pd.Series, other: pd.Series, statement: str, how: str) -> Row:
    """A network with an extra layer compared with another."""
    return judged(
        "C7",
        measure,
        difference_interval(_estimate(deep), _estimate(other)),
        "difference",
        0.0,
        statement=statement,
        definition=how,
        against=other.variant,
        note=(
            f"Of 100 starts {of_100(deep.success)} lead to XOR with the extra layer "
            f"({deep.variant}, {deep.n_params} weights), {of_100(other.success)} with "
            f"{other.variant} ({other.n_params} weights)."
        ),
    )


def best_variant(population: Population, rows: pd.DataFrame) -> pd.Series:
    """Return the row of `Population.success` whose variant learns best on the tuning blocks."""
    counts = population.counts
    shares = []
    for variant in rows.variant:
        mine = counts[counts.variant == variant]
        shares.append(tuning_shares(mine)[best_arm(mine)])
    return rows.iloc[int(np.argmax(shares))]


def of_100(share: float) -> str:
    """Return a share as a number of 100; near all of them one that tells what is missing."""
    return f"{100 * share:.0f}" if share <= 0.99 else f"{100 * share:.4g}"


def solution_words() -> str:
    """Return the exact solution of the notes' network, and its logits, in words."""
    (W1, b1), (W2, b2) = Network((2, 2, 1)).unpack(np.array(SOLUTION))

    def vector(values: Any) -> str:
        return f"({', '.join(f'{value:g}' for value in values)})"

    return (
        f"W1 = ({vector(W1[0])}, {vector(W1[1])}), b1 = {vector(b1)}, W2 = {vector(W2[0])}, "
        f"b2 = {b2[0]:g} answer all four points right, with logits -0.5, 0.5, 0.5, -0.5, and any "
        "multiple of W2 and b2 does so with a smaller loss."
    )


def _why(population: Population, variant: str) -> str:
    """Return the two commonest causes of failure of a variant, in words."""
    causes = population.causes
    mine = causes[(causes.variant == variant) & (causes.cause != "solved") & (causes.n > 0)]
    worst = mine.nlargest(2, "share")
    told = [f"{row.label} ({of_100(row.share)} of 100)" for row in worst.itertuples()]
    return f"Most of the others: {'; '.join(told)}." if told else ""


def _estimate(row: pd.Series) -> Estimate:
    """Return the share that learns of a row of `Population.success`; n counts blocks."""
    return Estimate(row.success, row.low, row.high, int(row.n_seeds))
