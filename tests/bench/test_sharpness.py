"""Limits of the learning rate against closed forms and real training; the figure's words."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from example_evidence import example_evidence, synthetic_outcomes

import kernels
from bench.analysis.arms import Arm, Runs
from bench.analysis.hessian import Hessian, sharpness
from bench.analysis.noise import draw_batches
from bench.analysis.outcomes import DIVERGED_FACTOR
from bench.analysis.sharpness import (
    EDGE_FACTORS,
    SampleCurvature,
    edge_runs,
    edge_table,
    mean_square_limits,
    sharpness_tables,
    stable_limit,
    states_before_divergence,
    theory_table,
)
from bench.problems import load_problem
from bench.report.figures import FIGURES, stability
from bench.report.figures import sharpness as figure
from kernels import SGD, Adam, Momentum, Nesterov, Network, init_params

XOR = replace(load_problem("notes"), population=None)
LINEAR = Network((6, 1), output="linear", loss="half_mse")


def least_squares(n=30, seed=2):
    """Samples of unequal length that a linear unit fits exactly: X, y."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)) * np.exp(0.7 * rng.normal(size=(n, 1)))
    return X, X @ rng.normal(size=6) + 0.5


def losses(rule, rates, batch_size, order, X, y):
    """Losses (rates, evaluations) of runs on least squares from the origin."""
    return kernels.train(
        LINEAR,
        np.zeros(LINEAR.n_params),
        X,
        y,
        batch_size=batch_size,
        learning_rate=rates,
        epochs=len(order),
        rule=rule,
        order=order,
        checkpoints=np.arange(0, order.size, 5 * batch_size),
    ).loss


@pytest.mark.parametrize("rule", [SGD(), Momentum(0.9), Momentum(0.5), Nesterov(0.9)], ids=str)
def test_full_batch_diverges_from_the_closed_forms_limit_on(rule):
    """On least squares the loss falls 1% below 2 / lambda_max (momentum's), and rises 1% above."""
    X, y = least_squares()
    hessian = Hessian(LINEAR, np.zeros(LINEAR.n_params), X, y)
    limit = stable_limit(rule, float(np.linalg.eigvalsh(hessian.matrix())[-1]))
    order = np.tile(np.arange(len(X)), (2000, 1))
    found = losses(rule, limit * np.array([0.25, 0.99, 1.01]), len(X), order, X, y)
    assert (found[:, -1] < found[:, 0]).tolist() == [True, True, False]


def test_no_limit_is_claimed_for_adam():
    """The sharpness alone says nothing of a rule that rescales every direction."""
    assert np.isnan(stable_limit(Adam(), 3.0))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_drawn_afresh_diverge_at_the_mean_square_threshold(batch_size):
    """More than 5% of the seeds diverge from a rate on that is .9 to 1.15 times the threshold."""
    X, y = least_squares()
    n, updates = len(X), 2000
    hessian = Hessian(LINEAR, np.zeros(LINEAR.n_params), X, y)
    limit = SampleCurvature(hessian.gauss_newton_factors()).limit(batch_size)
    rates = limit * 2.0 ** (np.arange(-8, 8) / 16)
    diverged = []
    for seed in range(40):
        batches = draw_batches(np.random.default_rng(seed), n, batch_size, updates)
        found = losses("sgd", rates, batch_size, batches.reshape(10, -1), X, y)
        diverged.append(~(found <= DIVERGED_FACTOR * found[:, :1]).all(axis=1))
    shares = np.mean(diverged, axis=0)
    assert 0.9 <= rates[(shares > 0.05).argmax()] / limit <= 1.15
    assert limit < 0.5 * 2.0 / sharpness(hessian)  # far from where the full batch is unstable


def interpolating():
    """A small network at parameters that fit every sample: its Hessian and those of the samples."""
    network = Network((2, 2, 1), "tanh", "linear", "half_mse")
    rng = np.random.default_rng(4)
    X, params = rng.normal(size=(5, 2)), 1.5 * init_params(network, 3)
    y = kernels.forward(network, params, X)[1][-1]
    each = [Hessian(network, params, X[i : i + 1], y[i : i + 1]).matrix() for i in range(5)]
    return Hessian(network, params, X, y), np.array(each)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 5])
def test_mean_square_threshold_against_all_batches(batch_size):
    """At the threshold the second moment of a step over all batches keeps its size.

    One step multiplies it by the mean over batches of (I - eta H_B) kron (I - eta H_B), with the
    batch's own Hessian H_B; on H's range its spectral radius is 1 at the threshold.
    """
    hessian, each = interpolating()
    limit = SampleCurvature(hessian.gauss_newton_factors()).limit(batch_size)
    h, U = np.linalg.eigh(each.mean(axis=0))
    curved = U[:, h > 1e-9 * h[-1]]
    batches = [
        curved.T @ each[list(c)].mean(axis=0) @ curved for c in combinations(range(5), batch_size)
    ]
    radii = []
    for rate in (0.98 * limit, 1.02 * limit):
        steps = [np.eye(curved.shape[1]) - rate * H for H in batches]
        moment = np.mean([np.kron(step, step) for step in steps], axis=0)
        radii.append(np.abs(np.linalg.eigvals(moment)).max())
    assert radii[0] < 1.0 < radii[1]


def test_threshold_grows_with_the_batch_up_to_the_full_one():
    """Smaller batches are never stabler, and on the full batch it is 2 / sharpness."""
    hessian, _ = interpolating()
    limits, reason = mean_square_limits(hessian, SGD(), [1, 2, 3, 4, 5])
    assert limits == sorted(limits)
    assert limits[-1] == pytest.approx(2.0 / sharpness(hessian), rel=2e-3)
    assert reason == ""


def test_threshold_of_one_direction_by_hand():
    """Samples x = 1 and 3 of a line through 0: B = 1 is stable up to 2 mean x^2 / mean x^4."""
    factors = np.array([1.0, 3.0]).reshape(2, 1, 1)
    assert SampleCurvature(factors).limit(1) == pytest.approx(2.0 * 5.0 / 41.0)
    assert SampleCurvature(factors).limit(2) == pytest.approx(2.0 / 5.0)


def test_threshold_of_flat_ground_is_infinite():
    """Without curvature every rate is stable."""
    assert SampleCurvature(np.zeros((3, 1, 4))).limit(1) == np.inf


def test_why_there_is_no_threshold():
    """Other rules and large networks have none, and say why."""
    hessian, _ = interpolating()
    limits, reason = mean_square_limits(hessian, Momentum(), [1, 5])
    assert np.isnan(limits).all()
    assert "plain gradient descent" in reason
    large = Network((200, 10), output="softmax", loss="ce")
    X, y = np.zeros((200, 200)), np.zeros(200, int)
    _, reason = mean_square_limits(Hessian(large, np.zeros(large.n_params), X, y), SGD(), [1])
    assert reason == "too many parameters"


# Tables of a study


def regression(n=20):
    """A tiny regression with a hidden layer of tanh units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2)).astype(np.float32)
    y = np.sin(2 * X[:, 0]).astype(np.float32)
    network = Network((2, 8, 1), "tanh", "linear", "half_mse")
    return replace(XOR, network=network, X_train=X, y_train=y, targets=(0.2, 0.1, 0.05))


def tables_of(problem, rate=0.2, sizes=(1, 4, 20), rule="sgd", fails=lambda _: False):
    """Both tables of a study at one rate, seeds 0 to 8."""
    rates = {batch_size: [rate] for batch_size in sizes}
    rows = synthetic_outcomes(problem, rates, range(9), lambda _: 10.0 * problem.n_train, fails)
    runs = Runs(rows.assign(rule=rule))
    return sharpness_tables(problem, runs, [Arm(b, rate) for b in sizes], 4)


@pytest.fixture(scope="module")
def tables():
    """The tables of the tiny regression."""
    return tables_of(regression())


def test_sharpness_at_a_state_is_that_of_the_run(tables):
    """The row at the last update is the Hessian's at the end of that run, done again."""
    problem, (frame, _) = regression(), tables
    run = frame[(frame.states == "full batch") & (frame.seed == 2) & (frame.learning_rate == 0.1)]
    last = run.iloc[-1]
    start = init_params(problem.network, 2, problem.scheme, np.float32)
    result = kernels.train(
        problem.network,
        start,
        problem.X_train,
        problem.y_train,
        batch_size="full",
        learning_rate=0.1,
        epochs=int(last.updates),
        checkpoints=(),
    )
    hessian = Hessian(problem.network, result.params, problem.X_train, problem.y_train)
    expected = np.linalg.eigvalsh(hessian.matrix())[-1]
    assert last.sharpness == pytest.approx(expected, rel=2e-3)
    assert last.loss == pytest.approx(result.loss[-1], rel=1e-3)
    assert last.limit == pytest.approx(2.0 / 0.1)


def test_full_batch_runs_at_three_rates_from_three_reporting_seeds(tables):
    """A quarter, half and all of the tuned rate, from the start on."""
    full = tables[0][tables[0].states == "full batch"]
    assert sorted(full.learning_rate.unique()) == pytest.approx([0.2 * f for f in EDGE_FACTORS])
    assert sorted(full.seed.unique()) == [1, 2, 4]
    assert (full.groupby(["seed", "learning_rate"]).updates.min() == 0).all()


def test_gradient_descent_hovers_at_the_edge_of_stability():
    """Sharpness rises to 2 / eta and stays there to within 5% (Cohen et al. 2021, figure 1)."""
    problem, rate = regression(), 0.5
    along = edge_table(problem, edge_runs(problem, SGD(), rate, [2]))
    found = along[along.learning_rate == rate].sharpness.to_numpy()
    assert found[0] < 0.8 * 2.0 / rate
    np.testing.assert_allclose(found[-4:], 2.0 / rate, rtol=0.05)


def test_tuned_states_are_counted_in_updates(tables):
    """A state's updates are its examples over the batch size, the short last batch being one."""
    tuned = tables[0][tables[0].states == "tuned"]
    assert set(tuned.batch_size) == {1, 4, 20}
    np.testing.assert_array_equal(tuned.updates, np.ceil(tuned.examples / tuned.batch_size))


def test_theory_has_a_row_for_each_batch_size(tables):
    """Limits where the first seed's run at the tuned rate ended, 2 / sharpness on full batch."""
    frame, theory = tables
    run = frame[(frame.states == "full batch") & (frame.learning_rate == 0.2) & (frame.seed == 1)]
    np.testing.assert_allclose(theory.sharpness, run.sharpness.iloc[-1])
    assert theory.batch_size.tolist() == [1, 4, 20]
    assert theory.limit_mean_square.is_monotonic_increasing
    np.testing.assert_allclose(theory.limit_full, 2.0 / theory.sharpness)
    assert (theory.reason == "").all()


def test_momentum_has_its_own_limit():
    """(2 + 2 beta) / eta for heavy ball, and no mean-square threshold."""
    frame, theory = tables_of(regression(), rate=0.02, rule="momentum")
    np.testing.assert_allclose(frame.limit, 3.8 / frame.learning_rate)
    assert theory.limit_mean_square.isna().all()
    np.testing.assert_allclose(theory.limit_full, 3.8 / theory.sharpness)


def test_states_after_a_divergence_are_left_out():
    """At a hopeless rate only what came before is told, and theory says why it has nothing."""
    problem = regression()
    edge = edge_runs(problem, SGD(), 20.0, [1])
    full = edge_table(problem, edge)
    assert full[full.learning_rate == 20.0].updates.max() < 100
    theory = theory_table(problem, edge, [1, 20])
    assert theory.limit_full.isna().all()
    assert "diverged" in theory.reason.iloc[0]


def test_arms_that_always_diverge_have_no_states():
    """Where no run of a tuned arm survives there is no state of it; none at all without N."""
    problem = regression()
    frame, _ = tables_of(problem, fails=lambda run: run.batch_size == 1)
    assert set(frame[frame.states == "tuned"].batch_size) == {4, 20}
    assert all(table.empty for table in tables_of(problem, fails=lambda run: run.batch_size == 20))


def test_a_nan_loss_ends_the_states():
    """The first state that is not within ten times the start ends them, NaN or large."""
    problem = regression()
    assert states_before_divergence(problem, np.array([1.0, 9.0, np.nan, 1.0])) == 2
    assert states_before_divergence(problem, np.array([1.0, 11.0, 1.0])) == 1
    assert states_before_divergence(problem, np.array([1.0, 9.0])) == 2


def test_nothing_without_full_batch_nor_of_populations():
    """No full-batch arm, or several networks a seed: both tables are empty."""
    problem = regression()
    assert all(table.empty for table in tables_of(problem, sizes=(1, 4)))
    rows = synthetic_outcomes(problem, {20: [0.1]}, range(4), lambda _: 40.0)
    runs = Runs(rows, population=True)
    assert all(table.empty for table in sharpness_tables(problem, runs, [Arm(20, 0.1)], 20))


def test_large_problems_are_left_alone():
    """Too many samples times parameters: no sharpness, and theory says why."""
    problem = regression(n=60_000)
    frame, theory = tables_of(replace(problem, network=Network((2, 50, 1))), sizes=(1, 60_000))
    assert frame.empty
    assert theory.reason.eq("too many samples and parameters").all()
    assert theory.limit_full.isna().all()


# Figures


def course(values, limit, rate=0.1):
    """Rows of the figure's data along one full-batch run."""
    n = len(values)
    columns = {"learning_rate": rate, "seed": 1, "updates": 2 ** np.arange(n), "loss": 0.1}
    columns |= {"states": "full batch", "batch_size": 100, "sharpness": values, "limit": limit}
    return pd.DataFrame(columns).assign(limit_name="2/η", n_seeds=1, n_train=100)


def test_title_tells_where_the_sharpness_hovers():
    """Three states in a row within 15% of the limit are told with the updates they span."""
    title = figure.sharpness_title(course([4.0, 8.0, 19.0, 21.0, 20.0, 2.0], 20.0))
    assert title == (
        "At a rate of 0.10 on the full batch the sharpness goes from 4.0 to 2.0; from update 4 to "
        "16 it hovers at 2/η = 20. No state of the tuned runs exceeds its limit"
    )


def test_passing_by_is_not_hovering():
    """A sharpness that crosses its limit within fewer than three states only ends somewhere."""
    title = figure.sharpness_title(course([40.0, 20.0, 5.0, 20.0, 4.0], 20.0))
    assert "hovers" not in title
    assert "to 4.0, below 2/η = 20" in title


def test_overshoot_is_counted_by_batch_size():
    """Share of the tuned runs' states above their own limit; full-batch runs do not count."""
    tuned = course([6.0, 5.0, 1.0, 9.0], 4.0).assign(states="tuned", batch_size=[1, 1, 100, 100])
    data = pd.concat([course([50.0], 20.0), tuned])
    assert figure.overshoot_shares(data) == {1: 1.0, 100: 0.5}
    assert "states 100% per sample and 50% on the full batch exceed" in figure.sharpness_title(data)


def test_adam_has_a_course_and_no_limit():
    """Without a limit the title tells the course alone, and one panel is drawn."""
    evidence = example_evidence("digits")
    frame = evidence.sharpness.assign(limit=np.nan)
    data = figure.sharpness_data(replace(evidence, sharpness=frame, rule="adam"))
    assert "η" not in FIGURES["sharpness"].title(data)
    assert len(FIGURES["sharpness"].figure(data).axes) == 1


def test_theory_stands_beside_the_measured_rates():
    """The mean-square limit of each batch size; else 2 / sharpness, on the full batch alone."""
    evidence = example_evidence("digits")
    data = stability.stability_data(evidence)
    expected = evidence.theory.set_index("batch_size").limit_mean_square
    np.testing.assert_allclose(data.limit, expected.loc[data.batch_size])
    unknown = evidence.theory.assign(limit_mean_square=np.nan)
    data = stability.stability_data(replace(evidence, theory=unknown))
    assert data[data.limit.notna()].batch_size.unique().tolist() == [evidence.problem.n_train]
    none = stability.stability_data(replace(evidence, theory=pd.DataFrame()))
    assert none.limit.isna().all()
