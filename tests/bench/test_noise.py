"""Gradient moments against enumeration and the reference, uphill shares against brute force."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from example_evidence import synthetic_outcomes

import kernels
from bench.analysis import layers
from bench.analysis.arms import Arm, Runs
from bench.analysis.noise import (
    States,
    draw_batches,
    gradient_noise,
    samples_at,
    state_points,
    states_along,
    uphill_share,
    uphill_table,
)
from bench.problems import load_problem
from kernels import Network, init_params
from kernels.reference import averaged_gradient_reference, gradient_reference, loss_reference

XOR = replace(load_problem("notes"), population=None)
NETWORKS = [
    Network((2, 3, 1)),
    Network((2, 3, 2, 1), "tanh", "sigmoid", "half_mse"),
    Network((2, 4, 3), "leaky_relu", "softmax", "ce"),
    Network((2, 1), "relu", "linear", "half_mse"),
]


def tiny(network=NETWORKS[0], n=7, seed=0):
    """A problem of n random samples."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, max(network.n_outputs, 2), n)
    if not network.is_classifier:
        y = rng.normal(size=n).astype(np.float32)
    X = rng.normal(size=(n, 2)).astype(np.float32)
    return replace(XOR, network=network, X_train=X, y_train=y, targets=(0.6, 0.5, 0.4))


def one_state(problem, seed=1):
    """A single state."""
    params = init_params(problem.network, seed, "uniform_fan_in")[None]
    zero = np.zeros(1, np.int64)
    return States(zero, zero, zero, params)


def each_gradient(problem, params):
    """Gradients of the samples by the reference, (n, n_params)."""
    samples = zip(problem.X_train, problem.y_train, strict=True)
    return np.array([gradient_reference(problem.network, params, x, y) for x, y in samples])


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.widths} {n.output} {n.loss}")
def test_sample_gradients_are_those_of_the_reference(network):
    """Batches of one sample give each sample's own gradient."""
    problem = tiny(network)
    params = one_state(problem).params
    samples = next(samples_at(problem, params))
    expected = each_gradient(problem, params[0])
    found = samples.batch_gradients(np.arange(problem.n_train)[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(samples.squared_norms(), (expected**2).sum(axis=1), rtol=1e-12)


def test_batch_gradient_is_the_average():
    """A batch's gradient is divided by its own size."""
    problem = tiny()
    params = one_state(problem).params
    batch = np.array([4, 1, 6])
    found = next(samples_at(problem, params)).batch_gradients(batch[None])[0]
    X, y = problem.X_train[batch], problem.y_train[batch]
    expected = averaged_gradient_reference(problem.network, params[0], X, y)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_networks_side_by_side_are_independent():
    """Deltas of a network do not depend on the others in the array."""
    problem = tiny()
    params = init_params(problem.network, 0, size=3)
    together, _ = layers.deltas(problem.network, params, problem.X_train, problem.y_train)
    alone, _ = layers.deltas(problem.network, params[1:2], problem.X_train, problem.y_train)
    for many, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(many[1], one[0], rtol=1e-13, atol=1e-16)


def test_targets_of_several_outputs():
    """Classes become rows of zeros and a one; a regression's targets a column."""
    softmax, linear = NETWORKS[2], NETWORKS[3]
    assert layers.target_rows(softmax, np.array([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert layers.target_rows(linear, np.array([2.5, 0.0])).tolist() == [[2.5], [0.0]]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 6, 7])
def test_variance_formula_against_all_batches(batch_size):
    """s2/B (1 - B/N) is the mean squared distance over all batches without replacement."""
    problem = tiny()
    states = one_state(problem)
    gradients = each_gradient(problem, states.params[0])
    every = [gradients[list(c)].mean(axis=0) for c in combinations(range(7), batch_size)]
    expected = ((np.array(every) - gradients.mean(axis=0)) ** 2).sum(axis=1).mean()
    row = gradient_noise(problem, states, [batch_size], np.random.default_rng(0)).iloc[0]
    assert row.predicted == pytest.approx(expected, rel=1e-10, abs=1e-15)


def test_measured_variance_agrees_with_the_formula():
    """Thousands of drawn batches come within a few percent of the formula."""
    problem = tiny()
    found = gradient_noise(problem, one_state(problem), [2, 5], np.random.default_rng(0), 4000)
    np.testing.assert_allclose(found.variance, found.predicted, rtol=0.1)


def test_signal_to_noise_is_the_ratio():
    """|G|^2 over the variance; infinite at full batch, whose cosine is 1."""
    problem = tiny()
    found = gradient_noise(problem, one_state(problem), [3, 7], np.random.default_rng(0))
    assert found.snr[0] == pytest.approx(found.gradient_norm2[0] / found.predicted[0])
    assert (found.snr[1], found.variance[1]) == (np.inf, 0.0)
    assert found.cosine_median[1] == pytest.approx(1.0)


@pytest.mark.parametrize("batch_size", [1, 5, 9, 10])
def test_batches_are_drawn_without_replacement(batch_size):
    """No sample stands twice in a batch, and all samples come up."""
    drawn = draw_batches(np.random.default_rng(0), 10, batch_size, 200)
    assert drawn.shape == (200, batch_size)
    assert all(len(set(row)) == batch_size for row in drawn.tolist())
    assert set(drawn.ravel()) == set(range(10))


# Uphill


def test_uphill_share_against_brute_force():
    """With all samples drawn often, the share at B = 1 is that over all single-sample updates."""
    problem, rate = tiny(n=5), 0.5
    states = one_state(problem)
    row, network = states.params[0], problem.network
    before = loss_reference(network, row, problem.X_train, problem.y_train)
    raised = [
        loss_reference(network, row - rate * g, problem.X_train, problem.y_train) > before
        for g in each_gradient(problem, row)
    ]
    assert 0 < sum(raised) < 5
    found = uphill_share(problem, states, 1, rate, np.random.default_rng(0), draws=4000)
    assert found[0] == pytest.approx(np.mean(raised), abs=0.03)


def test_small_full_batch_steps_go_downhill():
    """Gradient descent with a small rate never raises the loss it descends."""
    problem = tiny()
    states = States(*np.zeros((3, 20), np.int64), init_params(problem.network, 0, size=20))
    assert not uphill_share(problem, states, 7, 1e-3, np.random.default_rng(0)).any()


def test_uphill_share_of_no_states_is_empty():
    """No state, no share."""
    problem = tiny()
    none = one_state(problem).of_seeds([5])
    assert uphill_share(problem, none, 1, 0.1, np.random.default_rng(0)).shape == (0,)


# States


def test_state_points_are_log_spaced_from_one_epoch_to_the_end():
    """Eight points, the first after one epoch, the last at the hit, equal ratios."""
    points = state_points(1000, 10_000.0)
    assert (points[0], points[-1], len(points)) == (1000, 10_000, 8)
    np.testing.assert_allclose(np.diff(np.log(points)), np.log(10) / 7, rtol=0.01)


def test_state_points_of_a_hit_within_the_first_epoch():
    """A target reached before one epoch: from an eighth of the time to it."""
    assert state_points(1000, 80.0)[[0, -1]].tolist() == [10, 80]


def tiny_runs(hit):
    """Reporting runs of a tiny problem at three batch sizes, with times-to-target `hit`."""
    problem = tiny(n=6)
    rows = synthetic_outcomes(problem, {1: [0.1], 2: [0.1], 6: [0.1]}, range(4), lambda _: hit)
    return problem, Runs(rows)


def test_states_are_those_of_the_run():
    """The state after e examples is where training for that long ends."""
    problem, runs = tiny_runs(hit=24.0)
    states = states_along(problem, runs, Arm(2, 0.1))
    assert set(states.seed) == {1, 2}
    last = states.examples[states.seed == 2][-1]
    start = init_params(problem.network, 2, problem.scheme, np.float32)
    result = kernels.train(
        problem.network,
        start[None],
        problem.X_train,
        problem.y_train,
        batch_size=2,
        learning_rate=0.1,
        epochs=4,
        seed=2,
        checkpoints=(),
    )
    assert last == 24
    np.testing.assert_array_equal(states.params[states.seed == 2][-1], result.params[0])


def test_states_of_a_run_that_never_hits_end_with_its_budget():
    """Not reached: up to the budget's end."""
    problem, runs = tiny_runs(hit=np.inf)
    assert states_along(problem, runs, Arm(6, 0.1)).examples.max() == 30 * 6


def test_uphill_table_has_common_and_own_states():
    """Each of three arms from the common states at the rate of B = 1, and from its own."""
    problem, runs = tiny_runs(hit=24.0)
    arms = [Arm(b, 0.1) for b in (1, 2, 6)]
    common = states_along(problem, runs, arms[1])
    table = uphill_table(problem, runs, arms, common, np.random.default_rng(0))
    assert set(zip(table.states, table.batch_size, strict=True)) == {
        (states, b) for states in ("same", "own") for b in (1, 2, 6)
    }
    assert table.share.between(0, 1).all()
