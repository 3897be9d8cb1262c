"""What a calibration case is, and the simulated runs that cases are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.arms import Arm, Axis, Runs
from bench.analysis.intervals import Estimate
from bench.analysis.time_to_target import MIDDLE
from bench.streams import stream

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Generator = np.random.Generator

SEEDS = (32, 6)  # reporting seeds of a whole study, and of an own table after few rounds
BLOCKS = (16, 40)  # reporting blocks of a study of populations, and of 10,000 networks
NETWORKS = 256  # a block
HIT = f"hit_{MIDDLE}"
EXAMPLES = Axis("epochs", "", {1: 1.0, 2: 1.0, 4: 1.0})


@dataclass(frozen=True)
class Case:
    """An interval that studies report, and simulated data whose truth is known.

    Parameters
    ----------
    simulate
        From a generator and a size (so many seeds, or blocks) to the data of one study.
    interval
        From these data, and the generator for a bootstrap, to the estimate: what the studies call.
    truth
        What the interval is to hold, or how to compute it.
    sizes
        The studies' own.
    unit
        Of the sizes.
    ratio
        Whether the width of an interval is a factor (high / low) and no difference.
    """

    simulate: Callable[[Generator, int], Any]
    interval: Callable[[Any, Generator], Estimate]
    truth: float | Callable[[], float]
    sizes: tuple[int, ...] = SEEDS
    unit: str = "seeds"
    ratio: bool = False

    @cached_property
    def true_value(self) -> float:
        """The truth."""
        return self.truth() if callable(self.truth) else self.truth

    def estimate(self, name: str, size: int, number: int) -> Estimate:
        """Return the estimate of one simulation: the same whatever else was simulated."""
        rng = stream(f"calibration of {name}", size, number)
        return self.interval(self.simulate(rng, size), rng)


def runs_of(times: Mapping[Arm, Floats], budget: float) -> Runs:
    """Return reporting runs of arms with these times: see `rows_of`."""
    return Runs(rows_of(times, budget), population=next(iter(times.values())).ndim == 2)


def rows_of(times: Mapping[Arm, Floats], budget: float, role: str = "report") -> pd.DataFrame:
    """Return rows of outcomes of arms, with what comparisons look at.

    Parameters
    ----------
    times
        T in examples of each arm, (seeds,), or (blocks, networks) of populations.
    budget
        Examples that each run was given: beyond it T is inf.
    role
        Of the seeds.
    """
    hits = np.stack(list(times.values()))
    hits = hits[..., None] if hits.ndim == 2 else hits
    arm, seed, network = np.indices(hits.shape).reshape(3, -1)
    sizes, rates = (np.array(values) for values in zip(*times, strict=True))
    columns: dict[str, Any] = {
        "rule": "sgd",
        "batch_size": sizes[arm],
        "learning_rate": rates[arm],
        "seed": seed,
        "network": network,
        "role": role,
        "budget_examples": budget,
        HIT: np.where(hits <= budget, hits, np.inf).ravel(),
    }
    return pd.DataFrame(columns)


def normal(rng: Generator, shape: tuple[int, ...], within: float, between: float = 0.0) -> Floats:
    """Normal values; the rows of (blocks, networks) have an effect of their own in common.

    Parameters
    ----------
    rng
        Source.
    shape
        (seeds,), or (blocks, networks).
    within, between
        Standard deviations of single values, and of what the values of a row share.
    """
    own = within * rng.normal(size=shape)
    return own + between * rng.normal(size=shape[0]).reshape(-1, *[1] * (len(shape) - 1))


def relative(found: Estimate, truth: float) -> Estimate:
    """The estimate over the truth, where the truth differs from one simulation to another."""
    return found._replace(value=found.value / truth, low=found.low / truth, high=found.high / truth)


def apart(found: Estimate, truth: float) -> Estimate:
    """The estimate minus the truth, where the truth differs from one simulation to another."""
    return found._replace(value=found.value - truth, low=found.low - truth, high=found.high - truth)
