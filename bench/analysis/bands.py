"""Quantile bands of the training loss over reporting seeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.arms import Arm
from bench.experiments import Block, BlockResult, role
from bench.problems import Problem

Floats = NDArray[np.float64]

QUANTILES = {"q10": 0.1, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9}


class Curves:
    """Loss curves of some arms, collected block by block: memory grows with these arms alone.

    Parameters
    ----------
    arms
        Whose reporting runs to keep; a rate that stands in two blocks of a seed counts once.
    """

    def __init__(self, arms: Iterable[Arm]) -> None:
        self._loss: dict[Arm, dict[int, Floats]] = {arm: {} for arm in arms}
        self._grid: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def add(self, block: Block, result: BlockResult) -> None:
        """Keep what a block has of the arms."""
        if role(block.seed) != "report":
            return
        for i, rate in enumerate(block.learning_rates):
            curves = self._loss.get(Arm(block.batch_size, rate))
            if curves is not None:
                self._grid[block.batch_size] = (result.examples, result.updates)
                curves.setdefault(block.seed, result.loss[:, i])

    def bands(self, problem: Problem, arm: Arm) -> pd.DataFrame:
        """Quantiles over an arm's runs at each evaluation; no rows for an arm without runs.

        A loss that is not finite is above every other. Each quantile is an observed loss.
        """
        curves = self._loss[arm]
        if not curves:
            return pd.DataFrame()
        loss = np.concatenate(list(curves.values()))
        values = np.quantile(
            np.where(np.isnan(loss), np.inf, loss),
            list(QUANTILES.values()),
            axis=0,
            method="inverted_cdf",
        )
        examples, updates = self._grid[arm.batch_size]
        bands = pd.DataFrame(dict(zip(QUANTILES, values, strict=True)))
        return bands.assign(
            **arm._asdict(),
            examples=examples,
            updates=updates,
            epochs=examples / problem.n_train,
            n_seeds=len(curves),
        )


def drawn_arms(arms: pd.DataFrame, base: int) -> pd.DataFrame:
    """Rows of `Evidence.arms` that figures draw over time: tuned, and "same" with base B_0."""
    same = (arms.protocol == "same") & (arms.base_batch_size == base)
    return arms[(arms.protocol == "tuned") | same]


def band_table(problem: Problem, drawn: pd.DataFrame, curves: Curves) -> pd.DataFrame:
    """Bands of the drawn arms: the columns of `Evidence.bands`."""
    frames = []
    for row in drawn.to_dict("records"):
        bands = curves.bands(problem, Arm(row["batch_size"], row["learning_rate"]))
        frames.append(
            bands.assign(protocol=row["protocol"], base_batch_size=row["base_batch_size"])
        )
    return pd.concat(frames, ignore_index=True)
