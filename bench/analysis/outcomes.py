"""From the trajectories of a block to a row a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from bench.analysis.layers import pre_activations
from bench.experiments import Block, BlockResult, role
from bench.problems import Problem

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DIVERGED_FACTOR = 10.0  # times the larger of the initial loss and that of the constant predictor
STUCK_FACTOR = 0.99  # times the loss of the constant predictor
SOLVED_LOSS = 0.1  # of a population's network, beside all samples right
PLATEAU_TOLERANCE = 0.03  # relative distance of the final loss from a plateau's
FALLING = 0.95  # final loss over the least up to half the budget: below, a plateau is being left
STILL_FALLING = 0.99  # the same, for a run that is on no plateau
# Answers to two corners of different labels that are nearer to one another are a guess, unless all
# four answers are no further apart than twice that: then nothing was learned
GUESS = 0.05
PARALLEL = 0.999  # cosine of two units' weights and bias, above which they are one unit
# Three quarters of ln 3 - 2/3 ln 2 (one corner right, the other three cannot be told apart) and
# half of ln 2 (two corners right)
ONE_CORNER = (0.75 * (np.log(3.0) - 2.0 / 3.0 * np.log(2.0)), 0.5 * np.log(2.0))

CAUSES = {
    "diverged": "diverged",
    "dead": "a hidden layer without a unit that is active on any sample",
    "one unit": "only one hidden unit is active on any sample, and one cannot separate XOR",
    "symmetric": "the hidden units have become copies of one another",
    "plateau ln 2": "on the plateau where every answer is 1/2",
    "plateau one corner": "on a plateau where one or two corners are right, the rest a guess",
    "still falling": "the loss was still falling at the end of the budget",
    "other": "settled neither on a plateau nor at a solution",
}


def first_hit(examples: NDArray[Any], loss: NDArray[Any], target: float) -> Floats:
    """Time-to-target T in examples seen: (...,) from losses (..., C).

    The first of two consecutive evaluations at or below the target ends the search; T lies
    between the evaluation before it and it, interpolated on log loss and log examples (linear in
    examples where the left end is 0).

    Parameters
    ----------
    examples
        (C,), ascending, examples[0] = 0.
    loss
        Full-train loss at these evaluations.
    target
        Above 0.

    Returns
    -------
    ndarray
        inf: not reached, also where only the last evaluation lies at or below the target; NaN:
        undetermined, at or below the target before the first update.
    """
    loss, examples = np.asarray(loss, float), np.asarray(examples, float)
    below = loss <= target
    pairs = below[..., :-1] & below[..., 1:]
    if pairs.shape[-1] == 0:
        return np.where(below[..., 0], np.nan, np.inf)
    first = np.maximum(pairs.argmax(axis=-1), 1)
    left, right = (
        np.take_along_axis(loss, (first + k)[..., None], axis=-1)[..., 0] for k in (-1, 0)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.log(left / target) / np.log(left / right)
        start, end = examples[first - 1], examples[first]
        hit = np.where(start > 0, start * (end / start) ** fraction, fraction * end)
    hit = np.where(pairs.any(axis=-1), hit, np.inf)
    return np.where(below[..., 0], np.nan, hit)


def outcome_rows(
    problem: Problem, block: Block, result: BlockResult, targets: Sequence[float]
) -> pd.DataFrame:
    """Return a row per run of a block.

    Parameters
    ----------
    problem, block, result
        What was run, and what came out.
    targets
        Losses to reach, descending; () in a pilot.

    Returns
    -------
    DataFrame
        The columns of `Evidence.outcomes`, but for `newly_stuck` and `failed`, which need the
        other rates of the seed (`stability.add_failures`).
    """
    runs = result.diverged.shape
    diverged = diverged_runs(problem, result)
    final = result.loss[..., -1]
    stuck = ~diverged & (final > STUCK_FACTOR * problem.constant_loss())
    best = np.fmax if problem.network.is_classifier else np.fmin
    hits = {
        f"hit_{k}": np.where(diverged, np.inf, first_hit(result.examples, result.loss, target))
        for k, target in enumerate(targets)
    }
    network, _ = np.indices(runs)
    columns: dict[str, Any] = {
        "learning_rate": np.broadcast_to(block.learning_rates, runs),
        "network": network if block.networks is None else np.array(block.networks)[network],
        "initial_loss": result.loss[..., 0],
        "final_loss": final,
        "final_score": result.score[..., -1],
        "final_test_loss": result.test_loss[..., -1],
        "final_test_score": result.test_score[..., -1],
        "best_test_score": best.reduce(result.test_score, axis=-1),
        "diverged": diverged,
        "dead": result.dead_end,
        "newly_dead": result.dead_end & ~result.dead_start,
        "stuck": stuck,
        **_population_columns(problem, result, diverged),
        **hits,
    }
    frame = pd.DataFrame({name: values.reshape(-1) for name, values in columns.items()})
    return frame.assign(
        rule=block.rule,
        batch_size=block.batch_size,
        seed=block.seed,
        role=role(block.seed),
        budget_examples=float(result.examples[-1]),
        updates_per_epoch=-(-problem.n_train // block.batch_size),
    )


def diverged_runs(problem: Problem, result: BlockResult) -> Bools:
    """(n_networks, n_rates): ever non-finite, or far above where it started, at any evaluation."""
    limit = DIVERGED_FACTOR * np.maximum(result.loss[..., 0], problem.constant_loss())
    # A NaN is not within the limit either
    within = (result.loss <= limit[..., None]).all(axis=-1)
    return np.asarray(result.diverged | ~within)


def _population_columns(
    problem: Problem, result: BlockResult, diverged: Bools
) -> dict[str, NDArray[Any]]:
    """`success` and `cause` of a population's runs; False and "" elsewhere."""
    solved = np.zeros(diverged.shape, bool)
    cause = np.full(diverged.shape, "", dtype=object)
    if result.params is not None:
        final = result.loss[..., -1]
        solved = ~diverged & (result.score[..., -1] == 1.0) & (final < SOLVED_LOSS)
        failed = ~solved & ~diverged
        cause[diverged] = "diverged"
        until = np.searchsorted(result.examples, result.examples[-1] / 2) + 1
        halfway = result.loss[..., :until].min(axis=-1)
        cause[failed] = causes(problem, result.params[failed], halfway[failed], final[failed])
    return {"success": solved, "cause": cause}


def causes(
    problem: Problem, params: NDArray[np.float32], halfway: Floats, final: Floats
) -> NDArray[Any]:
    """Why each of these networks failed, a key of `CAUSES`: the first that applies.

    Parameters
    ----------
    problem
        XOR, with any network.
    params
        Final parameters (n, n_params).
    halfway, final
        Least full-train loss up to half the budget (at a large rate it goes up and down), and that
        at its end, (n,).
    """
    levels = np.array([np.log(2.0), *ONE_CORNER])
    near = np.abs(final[:, None] / levels - 1.0) < PLATEAU_TOLERANCE
    settled = final > FALLING * halfway
    zs, weights = pre_activations(problem.network, params, problem.X_train)
    dead, one_unit, symmetric = _broken_layers(problem, zs[:-1], weights[:-1])
    choices = {
        "dead": dead,
        "one unit": one_unit,
        "symmetric": symmetric,
        "plateau ln 2": near[:, 0] & settled,
        "plateau one corner": (near[:, 1:].any(axis=1) | _guessing(problem, zs[-1])) & settled,
        "still falling": final < STILL_FALLING * halfway,
    }
    return np.select(list(choices.values()), list(choices), default="other")


def _guessing(problem: Problem, logits: Floats) -> Bools:
    """Whether corners of different labels get the same answer, and another corner does not: (n,).

    The loss of such a network lies near a plateau's, but not at it where its units are leaky or
    its weights go up and down with each sample.
    """
    answers = special.expit(logits[:, 0])
    ones, zeros = answers[problem.y_train == 1], answers[problem.y_train == 0]
    nearest = np.abs(ones[:, None] - zeros[None]).min(axis=(0, 1))
    return np.asarray((nearest < GUESS) & (np.ptp(answers, axis=0) > 2 * GUESS))


def _broken_layers(
    problem: Problem, zs: list[Floats], weights: list[tuple[Floats, Floats]]
) -> tuple[Bools, Bools, Bools]:
    """Whether a layer is dead, one unit is left of the only hidden layer, units are copies."""
    network = problem.network
    dead, one_unit, symmetric = (np.zeros(zs[0].shape[-1], bool) for _ in range(3))
    for z, (W, b) in zip(zs, weights, strict=True):
        alive = np.asarray((z > 0.0).any(axis=0) | (network.activation != "relu"))
        units = alive.sum(axis=0)
        dead |= units == 0
        one_unit |= units == 1
        cosine = _cosines(np.concatenate([W, b[:, None]], axis=1))
        # tanh is odd: a unit and its negative carry the same
        cosine = np.abs(cosine) if network.activation == "tanh" else cosine
        compared = alive[:, None] & alive[None]
        symmetric |= (units > 1) & ((cosine > PARALLEL) | ~compared).all(axis=(0, 1))
    # A deeper network can still build XOR on one unit
    return dead, one_unit & (network.n_layers == 2), symmetric


def _cosines(rows: Floats) -> Floats:
    """Cosines between the rows (units, k, n) of each network: (units, units, n)."""
    unit = rows / np.maximum(np.sqrt((rows**2).sum(axis=1, keepdims=True)), 1e-30)
    return np.asarray(np.einsum("ikn,jkn->ijn", unit, unit))
