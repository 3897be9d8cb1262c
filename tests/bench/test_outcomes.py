"""From trajectories to a row a run: times-to-target, failures, causes."""

from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest

from bench.analysis.outcomes import CAUSES, ONE_CORNER, causes, first_hit, outcome_rows
from bench.experiments import Block, BlockResult
from bench.problems import load_problem
from bench.problems.xor import variants
from kernels import Network, init_params

inf, nan = np.inf, np.nan
XOR = load_problem("notes")
VARIANTS = variants(XOR, "sgd")
SINGLE = replace(XOR, population=None)  # the same data, one network a seed
LN2 = float(np.log(2.0))
SOLUTION = np.array([1, 1, 1, 1, 0, -1, 1, -2, -0.5], np.float32)


def block_of(loss, **changes):
    """A block and its result from losses (n_networks, n_rates, C)."""
    loss = np.asarray(loss, float)
    runs = loss.shape[:2]
    steps = np.arange(loss.shape[2])
    result = {
        "examples": 4 * steps,
        "updates": steps,
        "loss": loss,
        "score": np.where(loss < 0.2, 1.0, 0.5),
        "test_loss": np.full(loss.shape, nan),
        "test_score": np.full(loss.shape, nan),
        "diverged": np.zeros(runs, bool),
        "dead_start": np.zeros(runs, bool),
        "dead_end": np.zeros(runs, bool),
    } | changes
    rates = tuple(0.5 * 2.0**k for k in range(runs[1]))
    block = Block("sgd", 4, rates, seed=4, epochs=int(steps[-1]), population=None)
    return block, BlockResult(**result)


def rows_of(loss, targets=(0.3,), problem=SINGLE, **changes):
    """Outcome rows of losses."""
    return outcome_rows(problem, *block_of(loss, **changes), targets)


# first_hit


def test_hit_between_two_evaluations_is_log_log():
    """From .8 at 100 to .2 at 400, the target .4 lies half way on both log axes: at 200."""
    found = first_hit(np.array([0, 100, 400, 500]), np.array([1.0, 0.8, 0.2, 0.2]), 0.4)
    assert found == pytest.approx(200.0)


def test_hit_after_the_first_evaluation_is_linear_in_examples():
    """From 1 at 0 to .25 at 80, the target .5 is half way on log loss: at 40."""
    assert first_hit(np.array([0, 80, 90]), np.array([1.0, 0.25, 0.2]), 0.5) == pytest.approx(40.0)


def test_one_lucky_loss_is_no_hit():
    """A single evaluation below the target does not count; the first of two does."""
    loss = np.array([1.0, 0.4, 0.6, 0.4, 0.4])
    found = first_hit(np.array([0, 1, 2, 4, 8]), loss, 0.5)
    assert 2.0 < found < 4.0


def test_a_hit_at_the_last_evaluation_is_unconfirmed():
    """Below the target at the end only: not reached."""
    assert first_hit(np.array([0, 1, 2]), np.array([1.0, 0.9, 0.1]), 0.5) == inf


def test_a_run_that_starts_below_the_target_is_undetermined():
    """At or below the target before the first update: NaN, not 0."""
    assert np.isnan(first_hit(np.array([0, 1, 2]), np.array([0.5, 0.4, 0.1]), 0.5))


def test_a_loss_equal_to_the_target_reaches_it():
    """At the target counts, exactly at the evaluation."""
    assert first_hit(np.array([0, 2, 4, 8]), np.array([2.0, 1.0, 0.5, 0.5]), 0.5) == 4.0


def test_a_loss_of_zero_is_reached_at_once():
    """Falling to exactly 0 has an infinite slope on log axes: the left end."""
    assert first_hit(np.array([0, 2, 4, 8]), np.array([2.0, 1.0, 0.0, 0.0]), 0.5) == 2.0


def test_nan_losses_are_no_hit():
    """A loss that is not a number is not below any target."""
    assert first_hit(np.array([0, 1, 2, 3]), np.array([1.0, nan, nan, nan]), 0.5) == inf


def test_one_evaluation_confirms_nothing():
    """With the starting point alone nothing is reached."""
    assert first_hit(np.array([0]), np.array([1.0]), 0.5) == inf


def test_first_hit_treats_each_run_alone():
    """Runs side by side give what each gives by itself."""
    rng = np.random.default_rng(0)
    examples = np.array([0, 1, 2, 4, 8, 16])
    loss = rng.uniform(0.1, 1.0, (3, 4, 6))
    loss[..., 0] = 1.0
    each = [[first_hit(examples, run, 0.5) for run in row] for row in loss]
    np.testing.assert_allclose(first_hit(examples, loss, 0.5), each, rtol=1e-14)


# A row a run


def test_rows_follow_networks_and_rates():
    """Each row has the rate and the final loss of its own run."""
    loss = np.ones((2, 3, 4))
    loss[..., -1] = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    rows = rows_of(loss)
    assert rows.network.tolist() == [0, 0, 0, 1, 1, 1]
    assert rows.learning_rate.tolist() == [0.5, 1.0, 2.0] * 2
    assert rows.final_loss.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_rows_carry_seed_role_and_budget():
    """Seed 4 reports; the budget is what the runs saw; an epoch of XOR at B = 4 is one update."""
    row = rows_of(np.ones((1, 1, 4))).iloc[0]
    assert (row.seed, row.role, row.budget_examples, row.updates_per_epoch) == (4, "report", 12, 1)


@pytest.mark.parametrize(
    ("peak", "expected"), [(9.9, False), (10.1, True), (nan, True), (inf, True)]
)
def test_diverged_is_ten_times_the_larger_of_start_and_constant(peak, expected):
    """More than ten times the initial loss (here 1, above ln 2) at any evaluation, or no number."""
    assert rows_of([[[1.0, peak, 0.1, 0.1]]]).diverged[0] == expected


def test_a_small_initial_loss_does_not_make_a_run_diverge():
    """The constant predictor's loss counts where the run starts below it."""
    assert not rows_of([[[0.1, 6.0, 0.1, 0.1]]]).diverged[0]


def test_the_kernels_flag_makes_a_run_diverge():
    """A run that was once non-finite stays diverged, whatever its losses."""
    assert rows_of([[[1.0, 0.1, 0.1]]], diverged=np.array([[True]])).diverged[0]


def test_a_diverged_run_reaches_nothing():
    """Diverged after a hit: the time is infinite."""
    assert rows_of([[[1.0, 0.1, 0.1, 99.0]]]).hit_0[0] == inf


@pytest.mark.parametrize(("final", "expected"), [(0.99 * LN2 + 1e-9, True), (0.98 * LN2, False)])
def test_stuck_is_the_constant_predictors_loss(final, expected):
    """Finished above .99 x ln 2, the loss of the best constant on XOR."""
    assert rows_of([[[1.0, 0.8, final]]]).stuck[0] == expected


def test_a_diverged_run_is_not_stuck():
    """Diverged runs are counted once."""
    assert not rows_of([[[1.0, 99.0, 99.0]]]).stuck[0]


def test_newly_dead_is_dead_at_the_end_alone():
    """A network that was dead at the start did not die."""
    start, end = np.array([[True, False, False]]), np.array([[True, True, False]])
    rows = rows_of(np.ones((1, 3, 3)), dead_start=start, dead_end=end)
    assert rows.dead.tolist() == [True, True, False]
    assert rows.newly_dead.tolist() == [False, True, False]


def test_best_test_accuracy_ignores_missing_evaluations():
    """The best is taken over the evaluations that are numbers."""
    rows = rows_of(np.ones((1, 1, 3)), test_score=np.array([[[0.5, 0.9, nan]]]))
    assert rows.best_test_score[0] == 0.9


def test_best_test_rmse_is_the_least():
    """For a regression the best score is the smallest."""
    problem = replace(SINGLE, network=Network((2, 2, 1), "relu", "linear", "half_mse"))
    rows = rows_of(np.ones((1, 1, 3)), (), problem, test_score=np.array([[[2.0, 0.5, 1.0]]]))
    assert rows.best_test_score[0] == 0.5


def test_a_pilot_has_no_targets():
    """Without targets there are no hits."""
    assert not any(name.startswith("hit") for name in rows_of(np.ones((1, 1, 3)), ()))


# Populations


def population_rows(params, loss):
    """Outcome rows of a population at one rate, from final parameters and losses (n, C)."""
    params = np.asarray(params, np.float32)[:, None, :]
    loss = np.asarray(loss, float)[:, None, :]
    return outcome_rows(XOR, *block_of(loss, params=params), (0.3, 0.2, 0.1))


def test_success_needs_all_right_and_a_small_loss():
    """All four right at a loss of .15 is not yet learned."""
    rows = population_rows([SOLUTION] * 2, [[0.7, 0.2, 0.05], [0.7, 0.2, 0.15]])
    assert rows.success.tolist() == [True, False]


def test_a_solved_network_has_no_cause():
    """Causes are for failures."""
    assert population_rows([SOLUTION], [[0.7, 0.2, 0.05]]).cause[0] == ""


def test_a_diverged_network_is_called_so():
    """Divergence comes before all other causes."""
    assert population_rows([SOLUTION], [[0.7, 99.0, 0.05]]).cause[0] == "diverged"


def cause_of(params, halfway=0.5, final=0.5, problem=XOR):
    """Cause of one failed network."""
    row = np.asarray(params, np.float32)[None]
    return causes(problem, row, np.array([halfway]), np.array([final]))[0]


def test_dead_layer():
    """No unit is active on any corner."""
    assert cause_of([-1, -1, -1, -1, -1, -1, 1, 1, 0]) == "dead"


def test_one_unit_left():
    """One of two units is active nowhere."""
    assert cause_of([1, 1, -1, -1, 0, -1, 1, 1, 0]) == "one unit"


def test_symmetric_units():
    """Two units whose weights and bias are multiples of one another."""
    assert cause_of([1, -1, 2, -2, 0.5, 1.0, 1, 1, 0]) == "symmetric"


def test_opposite_relu_units_are_not_symmetric():
    """A unit and its negative are active on different corners."""
    assert cause_of([1, -1, -1, 1, 0, 0, 1, 1, 0]) == "other"


def test_opposite_tanh_units_are_symmetric():
    """Tanh is odd: a unit and its negative carry the same."""
    problem = VARIANTS["2-2-1 tanh"].problem
    assert cause_of([1, -1, -1, 1, 0.1, -0.1, 1, 1, 0], problem=problem) == "symmetric"


def test_units_that_are_never_positive_are_alive_under_tanh():
    """Tanh units cannot die."""
    problem = VARIANTS["2-2-1 tanh"].problem
    assert cause_of([-1, -2, -2, -1, -1, -1, 1, 1, 0], problem=problem) == "other"


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (LN2, "plateau ln 2"),
        (0.4774, "plateau one corner"),
        (0.3466, "plateau one corner"),
        (0.6, "other"),
    ],
)
def test_plateaus(level, expected):
    """A loss that rests at ln 2, or where one or two corners are right."""
    assert cause_of(SOLUTION, level * 1.001, level) == expected


@pytest.mark.parametrize(
    ("halfway", "expected"), [(0.363, "plateau one corner"), (0.7, "still falling")]
)
def test_corners_that_get_one_answer_are_a_plateau(halfway, expected):
    """Leaky units, logits -5.3, 5.3, -.05, .05: two corners are a guess, at no plateau's loss."""
    problem = variants(load_problem("xor"), "sgd")["2-2-1 leaky_relu"].problem
    params = [-1.91, -1.55, -2.48, 2.12, 1.8, 0.0, -2.93, 2.82, 0.01]
    assert cause_of(params, halfway, 0.3625, problem=problem) == expected


def test_a_loss_that_goes_up_and_down_is_not_falling():
    """Half way the loss is up, at the end down: no lower than it was before, so on its plateau."""
    rows = population_rows([SOLUTION], [[0.7, 0.476, 0.53, 0.477]])
    assert rows.cause[0] == "plateau one corner"


def test_plateau_losses_are_those_of_the_best_guesses():
    """One corner right: the entropy of 1/3 for the other three; two right: ln 2 for two."""
    entropy = -(np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3)
    assert pytest.approx((0.75 * entropy, 0.5 * LN2)) == ONE_CORNER


def test_a_loss_that_falls_through_a_plateau_is_still_falling():
    """Close to a plateau's loss, but a tenth lower than at half the budget."""
    assert cause_of(SOLUTION, 0.54, 0.48) == "still falling"


def test_deeper_networks_may_use_one_unit():
    """Behind a first layer a single unit can separate XOR, so that is no cause there."""
    problem = VARIANTS["2-2-2-1"].problem
    params = init_params(problem.network, 0)
    weights = problem.network.unpack(params)
    weights[0][0][...], weights[0][1][...] = [[1, 1], [1, 1]], [0, -1]
    weights[1][0][...], weights[1][1][...] = [[1, -2], [-1, -1]], [0, -1]
    assert cause_of(params, problem=problem) == "other"


def test_every_cause_has_words():
    """What `causes` can say has a line for people."""
    found = {"dead", "one unit", "symmetric", "plateau ln 2", "plateau one corner"}
    assert found | {"still falling", "other", "diverged"} == set(CAUSES)


def test_a_large_population_is_quick():
    """A block of 256 networks at 16 rates takes less time than 200 evaluations of its losses."""
    rng = np.random.default_rng(0)
    loss = rng.uniform(0.0, 1.0, (256, 16, 75))
    params = rng.normal(size=(256, 16, XOR.network.n_params)).astype(np.float32)
    block, result = block_of(loss, params=params)
    began = perf_counter()
    for _ in range(20):
        np.log(loss).mean(axis=-1)
    unit = (perf_counter() - began) / 20
    began = perf_counter()
    outcome_rows(XOR, block, result, (0.3, 0.2, 0.1))
    assert perf_counter() - began < 200 * unit
