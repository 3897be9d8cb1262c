"""The recommended set, its cheapest, and the cost of a wrong choice, on planted times."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_evidence import synthetic_outcomes

from bench.analysis.arms import Arm, Axis, Runs
from bench.analysis.recommend import best_batch_size, recommend
from bench.problems import load_problem

DIGITS = replace(load_problem("digits"), targets=(0.4, 0.2, 0.1))
N = DIGITS.n_train
SIZES = (1, 8, 32, 128)
EPOCHS = Axis("epochs", "", dict.fromkeys(SIZES, 1.0 / N))
# A program whose updates cost the same whatever the batch size
SECONDS = Axis("seconds", "scikit-learn", {b: 1e-4 / b for b in SIZES})
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)


def runs_of(epochs, noise=0.02, seeds=range(36)):
    """Runs whose time is planted by batch size, best at rate 1, doubling per factor 2 in rate."""
    rng = np.random.default_rng(0)

    def time(run):
        planted = epochs(run) if callable(epochs) else epochs[run.batch_size]
        away = 2.0 ** abs(np.log2(run.rate))
        return planted * away * N * np.exp(noise * rng.normal())

    return Runs(synthetic_outcomes(DIGITS, dict.fromkeys(SIZES, RATES), seeds, time))


ARMS = [Arm(b, 1.0) for b in SIZES]


def recommended(epochs, axis=EPOCHS, cost=EPOCHS, **changes):
    """Recommendation of planted epochs by batch size."""
    return recommend(runs_of(epochs, **changes), ARMS, axis, cost, 1)


def test_the_set_holds_what_cannot_be_told_apart():
    """Within 10% of the best belongs to the set, twice as long does not."""
    found = recommended({1: 4.2, 8: 4.0, 32: 4.3, 128: 8.0})
    assert (found.best, found.batch_sizes, found.smallest) == (8, (1, 8, 32), 1)


def test_the_runner_up_is_the_second_fastest():
    """By the tuning seeds' medians."""
    assert recommended({1: 9.0, 8: 4.0, 32: 5.5, 128: 8.0}).runner_up == 32


def test_uncertain_batch_sizes_stay_in_the_set():
    """Three times as long, but so noisy that the interval reaches into the margin."""
    found = recommended({1: 4.0, 8: 4.4, 32: 12.0, 128: 12.0}, noise=2.0, seeds=range(18))
    assert 32 in found.batch_sizes


def test_the_cheapest_of_the_set_costs_least_seconds():
    """Equal epochs: the largest batch of the set does fewest updates."""
    found = recommended({1: 4.0, 8: 4.1, 32: 4.2, 128: 40.0}, cost=SECONDS)
    assert found.cheapest == 32


def test_each_program_has_its_own_answer():
    """Where every update costs the same, 128 is fastest although it needs twice the epochs."""
    epochs = {1: 4.0, 8: 4.1, 32: 4.2, 128: 8.0}
    found = recommended(epochs, SECONDS, SECONDS)
    assert found.batch_sizes == (128,)
    assert recommended(epochs).batch_sizes == (1, 8, 32)


def test_the_best_is_picked_on_tuning_seeds():
    """Reporting seeds that prefer another batch size do not change what is called the best."""

    def epochs(run):
        favoured = 8 if run.seed % 3 == 0 else 32
        return 4.0 if run.batch_size == favoured else 6.0

    found = recommended(epochs)
    assert found.best == 8
    ratios = found.ratios.set_index("batch_size").ratio
    assert ratios[32] == pytest.approx(4 / 6, rel=0.05)


def test_the_best_above_a_batch_size():
    """`at_least` leaves out smaller ones."""
    runs = runs_of({1: 2.0, 8: 4.0, 32: 3.0, 128: 9.0})
    assert best_batch_size(runs, ARMS, EPOCHS, 1, at_least=2) == 32


def test_costs_of_half_and_double():
    """Twice or half the rate costs a factor of 2; the neighbouring batch sizes as planted."""
    found = recommended({1: 40.0, 8: 8.0, 32: 4.0, 128: 12.0}, noise=0.001)
    costs = found.costs.set_index(["batch_factor", "rate_factor"])
    assert len(costs) == 9
    assert costs.ratio[1.0, 1.0] == 1.0
    assert costs.ratio[1.0, 0.5] == pytest.approx(2.0, rel=0.01)
    assert costs.ratio[0.5, 1.0] == pytest.approx(2.0, rel=0.01)
    assert costs.ratio[2.0, 2.0] == pytest.approx(6.0, rel=0.01)
    assert costs.batch_size[0.5, 1.0] == 8


def test_costs_at_the_smallest_batch_size_have_no_half():
    """At B = 1 there is no smaller batch: six rows."""
    found = recommended({1: 4.0, 8: 40.0, 32: 40.0, 128: 40.0})
    assert set(found.costs.batch_factor) == {1.0, 2.0}


def test_nothing_reached_recommends_nothing():
    """No batch size reaches the target: an empty set, told in words."""
    found = recommended(dict.fromkeys(SIZES, np.inf))
    assert (found.best, found.batch_sizes, found.cheapest) == (None, (), None)
    assert "No batch size reaches the target" in found.sentence


def test_a_batch_size_that_never_reaches_the_target_is_not_in_the_set():
    """Not reached within a budget that the best needs a tenth of."""
    found = recommended({1: np.inf, 8: 3.0, 32: 3.1, 128: np.inf})
    assert found.batch_sizes == (8, 32)
    assert found.ratios.set_index("batch_size").ratio[1] == np.inf


def test_one_seed_recommends_with_open_intervals():
    """With one tuning and no reporting seed the fastest is named and nothing is excluded."""
    found = recommended({1: 4.2, 8: 4.0, 32: 9.0, 128: 8.0}, seeds=[0])
    assert (found.best, found.batch_sizes) == (8, SIZES)


def test_the_sentence_names_the_set():
    """In words, with the program."""
    found = recommended({1: 4.2, 8: 4.0, 32: 4.3, 128: 8.0})
    assert found.sentence == (
        "Batch sizes 1, 8 and 32 cannot be told apart in passes over the data; 8 needed the fewest."
    )


def test_learning_rates_of_all_batch_sizes():
    """The pick of each is there, in the set or not."""
    found = recommended({1: 4.2, 8: 4.0, 32: 4.3, 128: 8.0})
    assert found.learning_rates == dict.fromkeys(SIZES, 1.0)
    assert isinstance(found.ratios, pd.DataFrame)
