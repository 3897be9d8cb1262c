"""Noise scales against closed forms, planted populations and the definition; the noise floor."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_evidence import example_evidence
from test_noise import each_gradient, one_state, tiny

import kernels
from bench.analysis import noise_scale as module
from bench.analysis.noise import States, samples_at
from bench.analysis.noise_scale import (
    Moments,
    draw_units,
    draw_weights,
    jackknife,
    moments_of,
    noise_scale,
    noise_scale_tables,
)
from bench.problems import load_problem
from bench.report.figures import draw
from bench.report.figures import noise as figures
from bench.streams import stream
from kernels import Network

LINEAR = Network((2, 3), "relu", "linear", "half_mse")


def moments(gradients, size=1):
    """Moments of gradients (n, p), in units of so many."""
    units = gradients.reshape(-1, size, gradients.shape[1])
    sums = units.sum(axis=1)
    return Moments(sums @ sums.T, (units**2).sum(axis=(1, 2)), np.full(len(units), float(size)))


def scale_of(gradients, draws=None, size=1):
    """Noise scale of gradients (n, p)."""
    found = moments(gradients, size)
    weights = draw_weights(len(found.sizes), np.random.default_rng(0)) if draws is None else draws
    return noise_scale(found, 1, weights)


def quadratic(n=50, seed=0):
    """Three outputs of a linear network on one constant input: a quadratic with constant noise."""
    rng = np.random.default_rng(seed)
    y = (rng.normal(size=(n, 3)) * [1.0, 0.5, 2.0]).astype(np.float32)
    X = np.tile(np.float32([1.0, 2.0]), (n, 1))
    return replace(tiny(), network=LINEAR, X_train=X, y_train=y)


def at_output(problem, output):
    """One state whose network gives this output (3,) on the constant input."""
    params = np.concatenate([np.zeros(6), output])[None]
    zero = np.zeros(1, np.int64)
    return States(zero, zero, np.array([problem.n_train]), params)


# Known answers


def test_noise_scale_of_a_quadratic_is_the_closed_form():
    """Samples that differ by their targets alone: tr(cov y) / |distance|^2."""
    problem = quadratic()
    y, h = problem.y_train.astype(float), 1.0 + 1.0 + 4.0  # 1 + |x|^2
    distance = np.array([0.3, -0.2, 0.5])
    states = at_output(problem, y.mean(axis=0) + distance)
    found = noise_scale_tables(problem, states, stream("test"))[0].iloc[0]
    s2, norm2 = h * y.var(axis=0, ddof=1).sum(), h * (distance @ distance)
    assert found.s2 == pytest.approx(s2, rel=1e-10)
    assert found.training_set == pytest.approx(s2 / norm2, rel=1e-10)
    assert found.population == pytest.approx(s2 / (norm2 - s2 / 50), rel=1e-10)
    assert found.identified


def test_noise_scale_is_the_definition_from_the_samples_gradients():
    """s2 / |G|^2 and s2 / (|G|^2 - s2/N) of the reference's gradients, whatever the units."""
    problem = replace(tiny(n=11), y_train=np.ones(11, np.int64))
    states = one_state(problem)
    g = each_gradient(problem, states.params[0])
    G, s2 = g.mean(axis=0), g.var(axis=0, ddof=1).sum()
    units = np.array_split(np.random.default_rng(0).permutation(11), 4)
    of_units = moments_of(next(samples_at(problem, states.params)), units)
    found = noise_scale(of_units, 1, draw_weights(4, np.random.default_rng(0)))
    assert found.training_set == pytest.approx(s2 / (G @ G), rel=1e-10)
    assert found.population == pytest.approx(s2 / (G @ G - s2 / 11), rel=1e-10)


def test_noise_scale_at_the_minimum_is_not_identified():
    """Where the mean gradient vanishes nothing is divided, and no interval pretends to hold."""
    problem = quadratic()
    states = at_output(problem, problem.y_train.astype(float).mean(axis=0) + 1e-3)
    found = noise_scale_tables(problem, states, stream("test"))[0].iloc[0]
    assert not found.identified
    assert np.isnan([found.population, found.low, found.high]).all()
    assert found.training_set > 1e5


def test_a_state_that_is_not_identified_may_be_bounded_below():
    """Noise alone: the noise scale is unknown, but not small."""
    unidentified = []
    for seed in range(20):
        found = scale_of(np.random.default_rng(seed).normal(size=(60, 40)))
        unidentified.append(not found.identified)
        if not found.identified and np.isfinite(found.low):
            assert (found.low > 10, found.high) == (True, np.inf)
    assert 5 < sum(unidentified) < 15


def test_averages_are_ratios_of_means():
    """Over seeds and over the run s2 and |G|^2 are averaged before they are divided."""
    problem = quadratic()
    mean = problem.y_train.astype(float).mean(axis=0)
    parts = [at_output(problem, mean + d) for d in (0.2, 0.4, 0.5, 1.0)]
    states = States(
        np.array([1, 1, 2, 2]),
        np.array([0, 1, 0, 1]),
        np.array([50, 100, 50, 100]),
        np.concatenate([part.params for part in parts]),
    )
    table, averages = noise_scale_tables(problem, states, stream("test"))
    run = averages[averages.over == "run"].iloc[0]
    expected = table.s2.mean() / (table.gradient_norm2.mean() - table.s2.mean() / 50)
    assert run.population == pytest.approx(expected, rel=1e-10)
    assert (run.n_states, run.n_seeds) == (4, 2)
    late = averages[averages.state == 1].iloc[0]
    part = table[table.state == 1]
    expected = part.s2.mean() / part.gradient_norm2.mean()
    assert (late.over, late.epochs, late.n_states) == ("seeds", 2.0, 2)
    assert late.training_set == pytest.approx(expected, rel=1e-10)


def test_shuffled_labels_raise_the_noise_scale():
    """Labels that say nothing: gradients agree no more, the noise scale is many times larger."""
    iris = load_problem("iris")
    shuffled = replace(iris, y_train=np.random.default_rng(0).permutation(iris.y_train))

    def along(problem):
        params = kernels.init_params(problem.network, 1, problem.scheme, np.float32, size=4)
        result = kernels.train(
            problem.network,
            params,
            problem.X_train,
            problem.y_train,
            batch_size=8,
            learning_rate=0.02,
            epochs=1,
            checkpoints=(),
        )
        seeds, zeros = np.arange(4), np.zeros(4, np.int64)
        states = States(seeds, zeros, zeros + 120, result.params.astype(float))
        return noise_scale_tables(problem, states, stream("test"))[1].iloc[-1]

    assert along(shuffled).low > 3 * along(iris).high


# The interval


def test_leaving_out_a_unit_is_done_as_if_it_had_not_been_drawn():
    """Signal-to-noise of a resample and its jackknife error, against both written out."""
    g = np.random.default_rng(0).normal(size=(12, 5)) + 0.5
    copies = np.array([0, 0, 2, 3])  # of four units of three examples

    def written_out(drawn):
        units = g.reshape(4, 3, 5)[drawn]
        sums = units.sum(axis=1)
        n, m = 3 * len(drawn), len(drawn)
        pairs = sum(sums[i] @ sums[j] for i in range(m) for j in range(m) if i != j)
        signal = pairs / (n * (n - 3))
        return signal / ((units**2).sum() / n - signal)

    without = [written_out(np.delete(copies, k)) for k in range(4)]
    value, error = jackknife(moments(g, 3), np.array([[2.0, 0.0, 1.0, 1.0]]))
    assert value[0] == pytest.approx(written_out(copies), rel=1e-10)
    assert error[0] == pytest.approx(np.sqrt(3 * np.var(without)), rel=1e-10)


@pytest.mark.parametrize(("n", "truth"), [(40, 8.0), (40, 60.0)])
def test_the_interval_covers_the_population(n, truth):
    """Normal gradients of unequal variances: at least 93% of the intervals hold the truth."""
    rng = stream("coverage of a noise scale", n, int(truth))
    deviation = 1.0 / np.sqrt(1.0 + np.arange(30))
    mean = deviation / np.sqrt(truth)
    draws = draw_weights(n, rng)
    held = []
    for _ in range(200):
        found = scale_of(mean + deviation * rng.normal(size=(n, 30)), draws)
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) >= 0.93


def test_groups_of_examples_give_nearly_the_same_interval():
    """Resampling 100 groups of five in place of 500 examples: within a few percent."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=(500, 30)) + 0.1
    alone, grouped = scale_of(g), scale_of(g, size=5)
    assert grouped[:2] == pytest.approx(alone[:2], rel=1e-10)
    np.testing.assert_allclose([grouped.low, grouped.high], [alone.low, alone.high], rtol=0.1)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_examples_bound_nothing_falsely(n):
    """One to four examples: no error, and an interval that is as wide as it has to be."""
    problem = tiny(n=n)
    states = one_state(problem)
    found = noise_scale_tables(problem, states, stream("test"))[0].iloc[0]
    assert np.isnan(found.high) or found.high == np.inf


def test_many_examples_are_resampled_in_groups():
    """Each example is in one group, groups differ by one at most, and their gradients fit."""
    units = draw_units(1437, 2410, np.random.default_rng(0))
    assert sorted(np.concatenate(units)) == list(range(1437))
    assert {len(unit) for unit in units} == {2, 3}
    assert len(units) == module.UNITS
    large = draw_units(5000, 101_770, np.random.default_rng(0))
    assert len(large) * 101_770 * 8 <= module.UNIT_BYTES


def test_no_states_give_no_rows():
    """Every run diverged: nothing to measure."""
    problem = tiny()
    table, averages = noise_scale_tables(problem, one_state(problem).of_seeds([5]), stream("test"))
    assert table.empty
    assert averages.empty


# The noise floor


def floor_of(A, y, batch_size, rate):
    """Sum over i of rate v_i / (2 B (2 - rate h_i)): excess loss of plain SGD on least squares.

    h_i are the curvatures, v_i the variance of the samples' gradients along them, at the minimum;
    for batches of independent draws.
    """
    h, Q = np.linalg.eigh(A.T @ A / len(A))
    errors = A @ np.linalg.lstsq(A, y)[0] - y
    v = sum((((errors[:, [k]] * A) @ Q) ** 2).mean(axis=0) for k in range(y.shape[1]))
    curved = h > 1e-9
    return float((rate * v / (2 * batch_size * (2 - rate * h)))[curved].sum())


def excess_losses(X, y, batch_size, rate, independent, gap, n=1500):
    """Full-train losses above the least, every `gap` updates after the first hundred times."""
    A = np.hstack([X, np.ones((len(X), 1))])
    fitted = np.linalg.lstsq(A, y)[0]
    least = 0.5 * ((A @ fitted - y) ** 2).sum(axis=1).mean()
    every = gap * batch_size
    epochs = -(-every * (n + 100) // len(X))
    order = None
    if independent:
        order = stream("independent draws").integers(0, len(X), (epochs, len(X)))
    result = kernels.train(
        Network((X.shape[1], y.shape[1]), "relu", "linear", "half_mse"),
        np.concatenate([fitted[:-1].T.ravel(), fitted[-1]]),
        X,
        y,
        batch_size=batch_size,
        learning_rate=rate,
        epochs=epochs,
        order=order,
        checkpoints=np.arange(100, n + 100) * every,
    )
    return result.loss[1:-1] - least


def flat_squares(n=16):
    """One constant input, three outputs: every curvature is 6, so the noise is constant."""
    y = stream("floor").normal(size=(n, 3)) * [1.0, 0.5, 2.0]
    return np.tile([[1.0, 2.0]], (n, 1)), y


def steep_squares(n=32):
    """Three inputs of different size, one output: four curvatures."""
    rng = stream("steep")
    X = rng.normal(size=(n, 3)) * [1.0, 0.8, 0.6]
    return X, (X @ [1.0, -1.0, 2.0] + rng.normal(size=n))[:, None]


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(
    ("squares", "rate", "gap"),
    [(flat_squares, 0.15, 2), (flat_squares, 0.01, 20), (steep_squares, 0.01, 200)],
    ids=["flat, large rate", "flat, small rate", "four curvatures"],
)
def test_the_noise_floor_of_independent_draws_is_the_closed_form(squares, rate, gap, batch_size):
    """Mean excess loss of plain SGD on least squares: within four standard errors, and 3%."""
    X, y = squares()
    excess = excess_losses(X, y, batch_size, rate, True, gap)
    expected = floor_of(np.hstack([X, np.ones((len(X), 1))]), y, batch_size, rate)
    error = excess.reshape(30, -1).mean(axis=1).std(ddof=1) / np.sqrt(30)
    assert error < 0.05 * expected
    assert excess.mean() == pytest.approx(expected, abs=4 * error + 0.03 * expected)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_permutations_lie_far_below_the_floor(batch_size):
    """At the ends of epochs, at a small rate: less than a tenth of what independent draws leave."""
    X, y = flat_squares()
    gap = len(X) // batch_size
    excess = excess_losses(X, y, batch_size, 0.002, False, gap)
    expected = floor_of(np.hstack([X, np.ones((len(X), 1))]), y, batch_size, 0.002)
    assert excess.mean() < 0.1 * expected


# The figure


def test_the_figure_tells_states_that_identify_no_noise_scale():
    """The last state of the example is a hollow mark at the top, never a value."""
    data = figures.noise_scale_data(example_evidence("digits"))
    last = data.iloc[-1]
    assert np.isnan(last.population)
    assert not last.identified
    with draw.style():
        axes = figures.noise_scale_figure(data).axes[0]
    marks = [line for line in axes.lines if line.get_marker() == "^"]
    assert [list(line.get_xdata()) for line in marks] == [[last.epochs]]
    assert "not identified" in axes.texts[0].get_text()


def test_the_title_names_change_average_and_critical_batch_size():
    """From the first to the last state, the population's average, and the measured B_crit."""
    data = figures.noise_scale_data(example_evidence("digits"))
    assert figures.noise_scale_title(data) == (
        "The training samples' noise scale grows from 20 to 1,800; averaged, the population's is "
        "81 [64, 100], the measured critical batch size 18 [16, 20]"
    )
    unknown = data.assign(run=np.nan, critical=np.nan, training_set=[20.0] * 7 + [8.0])
    assert figures.noise_scale_title(unknown) == (
        "The training samples' noise scale falls from 20 to 8.0; averaged, the population's is "
        "not identified, nor is the critical batch size"
    )


def test_the_figure_goes_without_what_was_not_measured():
    """Without a trade-off there is no critical batch size; without states no figure."""
    evidence = example_evidence("digits")
    alone = figures.noise_scale_data(replace(evidence, tradeoff=pd.DataFrame()))
    assert "critical" not in figures.noise_scale_title(alone)
    assert figures.noise_scale_data(replace(evidence, noise_average=pd.DataFrame())).empty
