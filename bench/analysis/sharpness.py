"""Sharpness along runs, the edge of stability, and what theory says of the largest stable rate.

Sharpness is the largest eigenvalue of the Hessian of the full-train loss. A step of plain gradient
descent with learning rate eta along its eigenvector overshoots the minimum so far that the loss
rises where eta times sharpness exceeds 2 (Cohen et al. 2021, arXiv 2103.00065, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator
from threadpoolctl import threadpool_limits

import kernels
from bench.analysis.arms import Arm, Runs
from bench.analysis.hessian import Hessian, largest_eigenvalue, sharpness
from bench.analysis.noise import samples_at, states_along
from bench.analysis.outcomes import DIVERGED_FACTOR
from bench.experiments.plan import budget_epochs
from bench.experiments.rules import rule_of
from bench.problems import Problem
from kernels import SGD, Adam, Nesterov, Rule

Floats = NDArray[np.float64]

EDGE_FACTORS = (0.25, 0.5, 1.0)  # of the rate tuned for full batch
EDGE_SEEDS = 3
EDGE_STATES = 12  # beside the start
# Updates of a full-batch run beyond its budget, and the work (updates x samples x parameters) up to
# which it goes on: sharpness creeps up for thousands of updates
EDGE_UPDATES = 3000
EDGE_WORK = 4e8
TUNED_SEEDS = 3
LARGEST = 1e7  # samples x parameters: beyond it Hessians are left alone
# Of the mean-square threshold: rank^2 x samples x outputs, a multiplication of matrices
LARGEST_PRODUCT = 1e8
NEGLIGIBLE = 1e-6  # eigenvalue over the largest: a direction in which the loss is flat
INTERPOLATED = 0.01  # loss over that of the constant predictor
TOO_LARGE = "too many samples and parameters"


def stable_limit(rule: Rule, value: float) -> float:
    """Largest stable rate for a sharpness, or the largest stable sharpness for a rate.

    On a quadratic, full batch: 2 / value for plain gradient descent, (2 + 2 beta) / value for
    momentum (heavy ball) and (2 + 2 beta) / ((1 + 2 beta) value) for Nesterov's (Cohen et al.
    2021, equation 1).

    Returns
    -------
    float
        NaN for Adam: it rescales every direction, and the sharpness alone gives no limit.
    """
    if isinstance(rule, Adam):
        return np.nan
    if isinstance(rule, SGD):
        return 2.0 / value
    ahead = 1.0 + 2.0 * rule.beta if isinstance(rule, Nesterov) else 1.0
    return (2.0 + 2.0 * rule.beta) / (ahead * value)


# The products are small: threads of BLAS wait for each other longer than they compute
@threadpool_limits.wrap(limits=1, user_api="blas")  # type: ignore[untyped-decorator]
def sharpness_tables(
    problem: Problem, runs: Runs, tuned: Sequence[Arm], base: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sharpness along runs, and theory's limits of the rate where the full-batch run ends.

    Parameters
    ----------
    problem, runs
        What was studied.
    tuned
        The tuned arm of each batch size.
    base
        B_0.

    Returns
    -------
    sharpness, theory : DataFrame
        The columns of `Evidence.sharpness` and `Evidence.theory`. Both empty for a population and
        where full batch was not studied or always diverges; the first also where samples times
        parameters exceed 10 million.
    """
    full = next((arm for arm in tuned if arm.batch_size == problem.n_train), None)
    none = pd.DataFrame(), pd.DataFrame()
    if runs.population or full is None:
        return none
    sizes = [arm.batch_size for arm in tuned]
    if problem.n_train * problem.network.n_params > LARGEST:
        return pd.DataFrame(), no_theory(sizes, TOO_LARGE)
    found = runs.of(full)
    seeds = [int(s) for s in found.seed[~found.diverged]]
    if not seeds:
        return none
    rule = rule_of(runs.outcomes.rule.iloc[0], problem.n_train)
    edge = edge_runs(problem, rule, full.learning_rate, seeds[:EDGE_SEEDS])
    tables = [edge_table(problem, edge)]
    compared = [a for a in tuned if a.batch_size in (1, base, problem.n_train)]
    tables += [tuned_table(problem, runs, arm, seeds[:TUNED_SEEDS]) for arm in compared]
    frame = pd.concat(tables, ignore_index=True)
    frame["limit"] = [stable_limit(rule, rate) for rate in frame.learning_rate]
    return frame, theory_table(problem, edge, sizes)


class EdgeRuns(NamedTuple):
    """Full-batch runs at three rates from several seeds.

    Parameters
    ----------
    rule
        The update rule.
    learning_rates, seeds
        (r,): of each run.
    updates
        (c,): done at each state, from 0.
    loss
        (r, c).
    params
        (r, c, n_params).
    """

    rule: Rule
    learning_rates: Floats
    seeds: NDArray[np.int64]
    updates: NDArray[np.int64]
    loss: Floats
    params: NDArray[Any]


def edge_runs(problem: Problem, rule: Rule, rate: float, seeds: Sequence[int]) -> EdgeRuns:
    """Train on the full batch at a quarter, half and all of a rate, from each of these seeds.

    For the study's budget, and beyond it where that is cheap. One block: all visit the samples in
    the first seed's order, which on the full batch changes nothing but rounding.
    """
    n = problem.n_train
    budget = budget_epochs(problem, n)
    affordable = int(EDGE_WORK / (n * problem.network.n_params))
    updates = max(budget, min(EDGE_UPDATES, affordable))
    points = np.unique(np.geomspace(1, updates, EDGE_STATES).round().astype(np.int64))
    rates = np.tile([factor * rate for factor in EDGE_FACTORS], len(seeds))
    starts = [kernels.init_params(problem.network, s, problem.scheme, np.float32) for s in seeds]
    result = kernels.train(
        problem.network,
        np.repeat(starts, len(EDGE_FACTORS), axis=0),
        problem.X_train,
        problem.y_train,
        batch_size="full",
        learning_rate=rates,
        epochs=updates,
        rule=rule,
        seed=seeds[0],
        checkpoints=points * n,
        keep_params=True,
    )
    assert result.trajectory is not None  # keep_params
    who = np.repeat(np.array(seeds, np.int64), len(EDGE_FACTORS))
    return EdgeRuns(rule, rates, who, result.updates, result.loss, result.trajectory)


def edge_table(problem: Problem, edge: EdgeRuns) -> pd.DataFrame:
    """Rows "full batch" of `Evidence.sharpness`, without their limit."""
    n = problem.n_train
    frames = []
    for run, (rate, seed) in enumerate(zip(edge.learning_rates, edge.seeds, strict=True)):
        kept = states_before_divergence(problem, edge.loss[run])
        columns: dict[str, Any] = {
            "states": "full batch",
            "batch_size": n,
            "learning_rate": rate,
            "seed": seed,
            "examples": edge.updates[:kept] * n,
            "epochs": edge.updates[:kept].astype(float),
            "updates": edge.updates[:kept],
            "loss": edge.loss[run, :kept],
            "sharpness": sharpness_at(problem, edge.params[run, :kept]),
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def states_before_divergence(problem: Problem, loss: Floats) -> int:
    """Number of states (c,) before the first at which a run counts as diverged."""
    with np.errstate(invalid="ignore"):
        within = loss <= DIVERGED_FACTOR * max(loss[0], problem.constant_loss())
    return len(loss) if within.all() else int(within.argmin())


def sharpness_at(problem: Problem, params: NDArray[Any]) -> list[float]:
    """Sharpness at each of these states (c, n_params)."""
    X, y = problem.X_train, problem.y_train
    return [sharpness(Hessian(problem.network, row, X, y)) for row in params]


def tuned_table(problem: Problem, runs: Runs, arm: Arm, seeds: Sequence[int]) -> pd.DataFrame:
    """Rows "tuned" of `Evidence.sharpness`, without their limit: along a tuned arm's runs."""
    o = runs.outcomes
    states = states_along(problem, Runs(o[o.seed.isin(seeds)]), arm)
    if len(states.params) == 0:  # all of them diverged
        return pd.DataFrame()
    epochs = states.examples / problem.n_train
    per_epoch = -(-problem.n_train // arm.batch_size)
    within = states.examples % problem.n_train
    X, y = problem.X_train, problem.y_train
    columns: dict[str, Any] = {
        "states": "tuned",
        "batch_size": arm.batch_size,
        "learning_rate": arm.learning_rate,
        "seed": states.seed,
        "examples": states.examples,
        "epochs": epochs,
        "updates": states.examples // problem.n_train * per_epoch + -(-within // arm.batch_size),
        "loss": kernels.evaluate(problem.network, states.params, X, y)["loss"],
        "sharpness": sharpness_at(problem, states.params),
    }
    return pd.DataFrame(columns)


# Theory


def no_theory(batch_sizes: Sequence[int], reason: str) -> pd.DataFrame:
    """Rows of `Evidence.theory` that say why there is nothing in them."""
    unknown = ("loss", "gradient_share", "sharpness", "limit_full", "limit_mean_square")
    columns: dict[str, Any] = dict.fromkeys(unknown, np.nan)
    columns |= {"seed": -1, "updates": 0, "interpolating": False, "reason": reason}
    return pd.DataFrame({"batch_size": list(batch_sizes), **columns})


def theory_table(problem: Problem, edge: EdgeRuns, batch_sizes: Sequence[int]) -> pd.DataFrame:
    """The columns of `Evidence.theory`, from the end of the first seed's run at the tuned rate."""
    run = len(EDGE_FACTORS) - 1
    if states_before_divergence(problem, edge.loss[run]) < len(edge.updates):
        return no_theory(batch_sizes, "the full-batch run diverged beyond its budget")
    network, X, y = problem.network, problem.X_train, problem.y_train
    hessian = Hessian(network, edge.params[run, -1], X, y)
    value = sharpness(hessian)
    ends = samples_at(problem, edge.params[run, [0, -1]])
    first, last = (float(np.linalg.norm(samples.full_gradient())) for samples in ends)
    limits, reason = mean_square_limits(hessian, edge.rule, batch_sizes)
    loss = float(edge.loss[run, -1])
    columns: dict[str, Any] = {
        "batch_size": list(batch_sizes),
        "seed": edge.seeds[run],
        "updates": edge.updates[-1],
        "loss": loss,
        "gradient_share": last / first,
        "interpolating": loss < INTERPOLATED * problem.constant_loss(),
        "sharpness": value,
        "limit_full": stable_limit(edge.rule, value),
        "limit_mean_square": limits,
        "reason": reason,
    }
    return pd.DataFrame(columns)


def mean_square_limits(
    hessian: Hessian, rule: Rule, batch_sizes: Sequence[int]
) -> tuple[list[float], str]:
    """Mean-square thresholds at each batch size; or NaN for each, and why."""
    nothing = [np.nan] * len(batch_sizes)
    if not isinstance(rule, SGD):
        return nothing, "derived for plain gradient descent alone"
    rows = hessian.n_samples * hessian.network.n_outputs
    if min(hessian.network.n_params, rows) ** 2 * rows > LARGEST_PRODUCT:
        return nothing, "too many parameters"
    curvature = SampleCurvature(hessian.gauss_newton_factors())
    return [curvature.limit(batch_size) for batch_size in batch_sizes], ""


class SampleCurvature:
    """How the curvature of random batches differs from that of all samples.

    Mulayoff & Michaeli (2023, arXiv 2306.07850): near an interpolating
    minimum, steps on batches of B, each drawn afresh without replacement, are stable in the mean
    square if and only if eta <= 2 / lambda_max(C^+ D), C = (H kron I + I kron H) / 2,
    D = (1 - p) H kron H + p mean_i (H_i kron H_i), p = (n - B) / (B (n - 1)). There the Hessian
    H_i of a sample is its Gauss-Newton matrix F_i^T F_i; elsewhere this is the threshold of the
    network linearized at the point.

    Parameters
    ----------
    factors
        F_i, (n, n_outputs, n_params), of `Hessian.gauss_newton_factors`.
    """

    def __init__(self, factors: Floats) -> None:
        n, n_outputs, n_params = factors.shape
        self._n = n
        rows = factors.reshape(n * n_outputs, n_params)
        # In the basis of H's eigenvectors, flat ones left out: as H_i <= n H, what is left out
        # changes the threshold by n times NEGLIGIBLE at most
        _, singular, basis = np.linalg.svd(rows, full_matrices=False)
        curved = singular**2 > NEGLIGIBLE * singular[0] ** 2
        self._eigenvalues = singular[curved] ** 2 / n
        self._rows = rows @ basis[curved].T
        self._shape = (n, n_outputs, int(curved.sum()))

    def limit(self, batch_size: int) -> float:
        """Largest rate that is stable in the mean square at a batch size of 1 to n."""
        n, _, rank = self._shape
        if rank == 0:
            return np.inf
        p = (n - batch_size) / (batch_size * (n - 1)) if n > 1 else 0.0
        h = self._eigenvalues
        # C is diagonal in this basis; C^(-1/2) D C^(-1/2) is symmetric, of the same eigenvalues
        root = np.sqrt(2.0 / (h[:, None] + h[None, :]))

        def times(matrix: Floats) -> Floats:
            V = root * matrix.reshape(rank, rank)
            DV = (1.0 - p) * h[:, None] * V * h[None, :]
            if p > 0.0:
                DV += p * self._mean_of_samples(V)
            return np.asarray((root * DV).reshape(-1))

        if rank == 1:
            return 2.0 / float(times(np.ones(1))[0])
        operator = LinearOperator((rank**2, rank**2), matvec=times, dtype=np.float64)
        # D maps positive semidefinite matrices to such: a positive definite one is no bad start
        return 2.0 / largest_eigenvalue(operator, np.diag(h).reshape(-1))

    def _mean_of_samples(self, V: Floats) -> Floats:
        """Mean over samples of H_i V H_i, H_i = F_i^T F_i."""
        F = self._rows.reshape(self._shape)
        inner = (self._rows @ V).reshape(self._shape) @ np.swapaxes(F, 1, 2)  # F_i V F_i^T
        outer = (inner @ F).reshape(self._rows.shape)
        mean: Floats = self._rows.T @ outer / self._n
        return mean


def overshoot_shares(frame: pd.DataFrame) -> pd.Series:
    """Share of the states "tuned" whose sharpness exceeds its limit, by batch size."""
    tuned = frame[frame.states == "tuned"]
    return (tuned.sharpness > tuned.limit).groupby(tuned.batch_size).mean()
