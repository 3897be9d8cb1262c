"""Runs looked up by arm, axes of time, and two arms compared on an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.intervals import PairedComparison, paired_ratio

Floats = NDArray[np.float64]

OURS = "batchbench"  # the program whose seconds stand in summary.csv
RUN = ["rule", "batch_size", "learning_rate", "seed", "network"]


class Arm(NamedTuple):
    """A batch size at a rate."""

    batch_size: int
    learning_rate: float


def mean_batch(n_train: int, batch_size: int) -> float:
    """N / ceil(N / B): examples per update over an epoch with a shorter last batch."""
    return n_train / -(-n_train // batch_size)


def picked_arms(picks: pd.DataFrame) -> list[Arm]:
    """Return the tuned arm of each batch size, from rows of `Evidence.picks`."""
    return [Arm(b, e) for b, e in zip(picks.batch_size, picks.learning_rate, strict=True)]


def each_run_once(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Sort runs by arm, seed and network; a rate that stood in two blocks counts once."""
    return outcomes.drop_duplicates(RUN).sort_values(RUN, ignore_index=True)


class Runs:
    """The runs of one rule, by arm.

    Parameters
    ----------
    outcomes
        As of `Evidence.outcomes`, one rule.
    population
        Whether runs of a seed share its order of samples: then seeds are clusters.
    """

    def __init__(self, outcomes: pd.DataFrame, *, population: bool = False) -> None:
        self.outcomes = each_run_once(outcomes)
        self.population = population
        by_arm = self.outcomes.groupby(["batch_size", "learning_rate", "role"])
        self._groups: dict[tuple[Any, ...], pd.DataFrame] = dict(iter(by_arm))
        self._none = self.outcomes.iloc[:0]

    def of(self, arm: Arm, role: str = "report") -> pd.DataFrame:
        """Return the runs of an arm, by seed and network; no rows where it was not run."""
        return self._groups.get((arm.batch_size, arm.learning_rate, role), self._none)

    def rates(self, batch_size: int, role: str = "report") -> list[float]:
        """Rates that runs of this role and batch size have, ascending."""
        return sorted(r for b, r, kind in self._groups if b == batch_size and kind == role)

    @property
    def batch_sizes(self) -> list[int]:
        """Batch sizes of the runs, ascending."""
        return sorted({b for b, _, _ in self._groups})

    def clusters(self, runs: pd.DataFrame) -> NDArray[Any] | None:
        """Return the clusters of these runs: blocks of a population, None for single networks."""
        return runs.seed.to_numpy() if self.population else None

    def pairs(self, a: Arm, b: Arm, role: str = "report") -> tuple[pd.DataFrame, pd.DataFrame]:
        """Runs of two arms that have seed and network in common, in the same order."""
        runs_a, runs_b = self.of(a, role), self.of(b, role)
        key_a, key_b = (r.seed.to_numpy() * 2**32 + r.network.to_numpy() for r in (runs_a, runs_b))
        _, at_a, at_b = np.intersect1d(key_a, key_b, assume_unique=True, return_indices=True)
        return runs_a.iloc[at_a], runs_b.iloc[at_b]


@dataclass(frozen=True)
class Axis:
    """A unit of time: what one example costs at each batch size.

    Parameters
    ----------
    name
        "updates", "epochs" or "seconds".
    program
        Whose seconds; "" for the other two.
    per_example
        Units per example, by batch size.
    """

    name: str
    program: str
    per_example: Mapping[int, float]


def seconds_per_update(seconds: pd.DataFrame, program: str, batch: float) -> float:
    """Seconds of one update at a (mean) batch size.

    Interpolated log-log between the measured batch sizes; outside them c0 + c1 B as fitted.
    """
    rows = seconds[seconds.program == program].sort_values("mean_batch")
    sizes, values = rows.mean_batch.to_numpy(float), rows.seconds_per_update.to_numpy(float)
    if not sizes[0] <= batch <= sizes[-1]:
        return float(rows.c0.iloc[0] + rows.c1.iloc[0] * batch)
    return float(np.exp(np.interp(np.log(batch), np.log(sizes), np.log(values))))


def all_axes(n_train: int, batch_sizes: Sequence[int], seconds: pd.DataFrame) -> list[Axis]:
    """Updates, epochs, and the seconds of each program."""
    batch = {b: mean_batch(n_train, b) for b in batch_sizes}
    axes = [
        Axis("updates", "", {b: 1.0 / m for b, m in batch.items()}),
        Axis("epochs", "", dict.fromkeys(batch, 1.0 / n_train)),
    ]
    for program in dict.fromkeys(seconds.program) if len(seconds) else ():
        cost = {b: seconds_per_update(seconds, program, m) / m for b, m in batch.items()}
        axes.append(Axis("seconds", program, cost))
    return axes


def compare(runs: Runs, a: Arm, b: Arm, axis: Axis, target: int) -> PairedComparison:
    """T_A / T_B on an axis, paired by seed, over reporting seeds.

    Of a population, over the networks that reach the target in one of the arms at least: to one
    that never learns the arms make no difference.

    Parameters
    ----------
    runs
        Where the arms are looked up.
    a, b
        The arms.
    axis
        The unit of time.
    target
        Index of the target.
    """
    runs_a, runs_b = runs.pairs(a, b)
    hit = f"hit_{target}"
    if runs.population:
        learned = np.isfinite(runs_a[hit].to_numpy()) | np.isfinite(runs_b[hit].to_numpy())
        runs_a, runs_b = runs_a[learned], runs_b[learned]
    cost_a, cost_b = axis.per_example[a.batch_size], axis.per_example[b.batch_size]
    return paired_ratio(
        runs_a[hit].to_numpy() * cost_a,
        runs_b[hit].to_numpy() * cost_b,
        float(runs_a.budget_examples.max()) * cost_a,
        float(runs_b.budget_examples.max()) * cost_b,
        runs.clusters(runs_a),
    )
