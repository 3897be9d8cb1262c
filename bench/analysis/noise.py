"""Gradient noise and the share of single updates that go uphill, at states along runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import kernels
from bench.analysis import layers
from bench.analysis.arms import Arm, Runs
from bench.analysis.time_to_target import MIDDLE
from bench.problems import Problem

Floats = NDArray[np.float64]

STATES = 8  # a seed
DRAWS = 64  # batches at each state
COSINE_QUANTILES = (0.1, 0.5, 0.9)
CHUNK = 4  # states whose updates are evaluated at once


@dataclass(frozen=True)
class States:
    """Parameters along runs: n states.

    Parameters
    ----------
    seed, state
        int (n,): whose run, and which of its states (from 0).
    examples
        Seen by then, (n,).
    params
        (n, n_params), float64.
    """

    seed: NDArray[np.int64]
    state: NDArray[np.int64]
    examples: NDArray[np.int64]
    params: Floats

    def of_seeds(self, seeds: Sequence[int]) -> States:
        """Return the states of these seeds."""
        keep = np.isin(self.seed, seeds)
        return States(self.seed[keep], self.state[keep], self.examples[keep], self.params[keep])


def state_points(n_train: int, end: float) -> NDArray[np.int64]:
    """Examples seen at up to 8 log-spaced states from one epoch to `end`.

    Where `end` comes within the first epoch, from an eighth of it.
    """
    start = n_train if end > n_train else end / STATES
    return np.unique(np.ceil(np.geomspace(start, end, STATES)).astype(np.int64))


def states_along(problem: Problem, runs: Runs, arm: Arm) -> States:
    """States between one epoch and the hit of the middle target, or the budget's end.

    Of the reporting seeds of an arm.
    The runs are done again; diverged ones are left out.
    """
    n = problem.n_train
    found = runs.of(arm)
    found = found[~found.diverged]
    ends = np.minimum(found[f"hit_{MIDDLE}"].fillna(np.inf), found.budget_examples)
    seeds: list[int] = []
    numbers: list[int] = []
    examples, params = [], []
    for seed, end, rule in zip(found.seed, ends, found.rule, strict=True):
        points = state_points(n, end)
        result = kernels.train(
            problem.network,
            kernels.init_params(problem.network, seed, problem.scheme, np.float32, size=1),
            problem.X_train,
            problem.y_train,
            batch_size=arm.batch_size,
            learning_rate=arm.learning_rate,
            epochs=int(np.ceil(end / n)),
            rule=rule,
            seed=seed,
            checkpoints=points,
            keep_params=True,
        )
        assert result.trajectory is not None  # keep_params
        at = np.unique(np.searchsorted(result.examples, points))
        seeds += [seed] * len(at)
        numbers += range(len(at))
        examples.append(result.examples[at])
        params.append(result.trajectory[0, at])
    empty = [np.zeros((0, problem.network.n_params))]
    return States(
        np.array(seeds, np.int64),
        np.array(numbers, np.int64),
        np.concatenate([*examples, np.zeros(0, np.int64)]),
        np.concatenate(params or empty).astype(np.float64),
    )


@dataclass(frozen=True)
class Samples:
    """What each training sample gives at one state: deltas and inputs (with a 1) of each layer.

    The gradient of sample i in layer l is the outer product of delta[l][i] (n_out) and
    inputs[l][i] (n_in + 1).
    """

    network: kernels.Network
    deltas: list[Floats]
    inputs: list[Floats]

    def squared_norms(self) -> Floats:
        """|g_i|^2 = sum over layers of |delta_i|^2 (|a_i|^2 + 1), (n,): no N x P matrix."""
        layers_of = zip(self.deltas, self.inputs, strict=True)
        return np.asarray(sum((d**2).sum(axis=1) * (a**2).sum(axis=1) for d, a in layers_of))

    def batch_gradients(self, batches: NDArray[np.int64]) -> Floats:
        """Averaged gradients (draws, n_params) of batches (draws, B) of samples."""
        gradients = np.empty((len(batches), self.network.n_params))
        views = self.network.unpack(gradients)
        for (W, b), d, a in zip(views, self.deltas, self.inputs, strict=True):
            for draw, batch in enumerate(batches):
                product = d[batch].T @ a[batch] / len(batch)
                W[draw], b[draw] = product[:, :-1], product[:, -1]
        return gradients

    def full_gradient(self) -> Floats:
        """Averaged gradient over all samples, (n_params,)."""
        return np.asarray(self.batch_gradients(np.arange(len(self.deltas[0]))[None])[0])


def samples_at(problem: Problem, params: Floats) -> Iterator[Samples]:
    """What the training samples give at each of these states (n, n_params), one by one."""
    for row in params:
        deltas, inputs = layers.deltas(problem.network, row[None], problem.X_train, problem.y_train)
        ones = np.ones((problem.n_train, 1))
        yield Samples(
            problem.network,
            [d[0] for d in deltas],
            [np.hstack([a[0], ones]) for a in inputs],
        )


def draw_batches(
    rng: np.random.Generator, n: int, batch_size: int, draws: int
) -> NDArray[np.int64]:
    """Batches (draws, B) of 0..n-1, each drawn without replacement."""
    if batch_size == n:
        return np.tile(np.arange(n), (draws, 1))
    return np.argpartition(rng.random((draws, n)), batch_size, axis=1)[:, :batch_size]


def gradient_noise(
    problem: Problem,
    states: States,
    batch_sizes: Sequence[int],
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Measure the noise of batch gradients G_B at each state and batch size.

    Parameters
    ----------
    problem, states
        Where.
    batch_sizes
        B of 1 to N.
    rng
        For the batches, each drawn without replacement.
    draws
        Batches a state and batch size.

    Returns
    -------
    DataFrame
        The columns of `Evidence.noise`. `variance`: mean of |G_B - G|^2 over the draws;
        `predicted`: s2/B (1 - B/N), with s2 the trace of the sample covariance (divisor N - 1) of
        the per-sample gradients (`predicted` is exact: Cochran 1977, theorem 2.2); `snr`:
        |G|^2 / predicted; quantiles .1, .5, .9 of cos(G_B, G).
    """
    rows = [
        {
            "seed": states.seed[i],
            "state": states.state[i],
            "epochs": states.examples[i] / problem.n_train,
            "batch_size": batch_size,
            **moments,
        }
        for i, samples in enumerate(samples_at(problem, states.params))
        for batch_size, moments in batch_moments(samples, batch_sizes, rng, draws).items()
    ]
    return pd.DataFrame(rows)


def batch_moments(
    samples: Samples, batch_sizes: Sequence[int], rng: np.random.Generator, draws: int
) -> dict[int, dict[str, float]]:
    """Return what `gradient_noise` says of one state, by batch size."""
    n, found = len(samples.deltas[0]), {}
    G = samples.full_gradient()
    norm2 = float(G @ G)
    s2 = float(samples.squared_norms().sum() - n * norm2) / max(n - 1, 1)
    for batch_size in batch_sizes:
        # Full batch is one batch, however often it is drawn
        batches = draw_batches(rng, n, batch_size, draws if batch_size < n else 1)
        drawn = samples.batch_gradients(batches)
        predicted = s2 / batch_size * (1.0 - batch_size / n)
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = drawn @ G / (np.linalg.norm(drawn, axis=1) * np.sqrt(norm2))
            snr = float(np.divide(norm2, predicted))
        low, middle, high = (float(q) for q in np.quantile(cosines, COSINE_QUANTILES))
        found[batch_size] = {
            "variance": float(((drawn - G) ** 2).sum(axis=1).mean()),
            "predicted": predicted,
            "snr": snr,
            "cosine_low": low,
            "cosine_median": middle,
            "cosine_high": high,
            "gradient_norm2": norm2,
            "s2": s2,
        }
    return found


def uphill_share(
    problem: Problem,
    states: States,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Floats:
    """Share of single updates that raise the full-train loss, at each state: (n_states,).

    From each state one plain update by the averaged gradient of each of `draws` batches, each
    drawn without replacement (full batch has one). In float64: in float32 the updates of samples
    that are already fitted change the loss by less than its rounding.
    """
    network, X, y = problem.network, problem.X_train, problem.y_train
    draws = draws if batch_size < problem.n_train else 1
    shares = [np.zeros(0)]
    for start in range(0, len(states.params), CHUNK):
        params = states.params[start : start + CHUNK]
        moved = [
            row
            - learning_rate
            * samples.batch_gradients(draw_batches(rng, problem.n_train, batch_size, draws))
            for row, samples in zip(params, samples_at(problem, params), strict=True)
        ]
        before = np.asarray(kernels.evaluate(network, params, X, y)["loss"])
        after = np.asarray(kernels.evaluate(network, np.concatenate(moved), X, y)["loss"])
        shares.append((~(after.reshape(-1, draws) <= before[:, None])).mean(axis=1))
    return np.concatenate(shares)


def uphill_table(
    problem: Problem, runs: Runs, arms: Sequence[Arm], common: States, rng: np.random.Generator
) -> pd.DataFrame:
    """Uphill shares for claim C1: the columns of `Evidence.uphill`.

    Parameters
    ----------
    problem, runs
        What was studied.
    arms
        The tuned arms of B = 1 (whose rate is the common one), of B_0 and of full batch.
    common
        States along the runs of B_0.
    rng
        For the batches.
    """
    frames = []
    for arm in arms:
        own = states_along(problem, runs, arm)
        for name, states, rate in (
            ("same", common, arms[0].learning_rate),
            ("own", own, arm.learning_rate),
        ):
            columns: dict[str, Any] = {
                "states": name,
                "batch_size": arm.batch_size,
                "learning_rate": rate,
                "seed": states.seed,
                "state": states.state,
                "epochs": states.examples / problem.n_train,
                "share": uphill_share(problem, states, arm.batch_size, rate, rng),
            }
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)
