"""Failures, brackets, usable width, spread and thresholds, by hand and with planted values."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_evidence import synthetic_outcomes
from scipy import stats

from bench.analysis.arms import Arm, Runs
from bench.analysis.bands import Curves
from bench.analysis.cells import cell_table
from bench.analysis.stability import (
    add_failures,
    bracket_rates,
    deviations,
    largest_stable_rate,
    spread,
    spread_ratio,
    threshold_ratio,
    thresholds,
    usable_stretch,
    usable_width,
    width_difference,
)
from bench.experiments import Block, BlockResult
from bench.problems import load_problem

inf = np.inf
DIGITS = replace(load_problem("digits"), targets=(0.4, 0.2, 0.1))
COARSE = [2.0 ** (k / 2) for k in range(-6, 3)]
MAD = stats.norm.ppf(0.75)  # of a standard normal


def runs_of(time, fails=lambda _: False, sizes=(8,), rates=COARSE, seeds=range(48)):
    """Runs with known times and failures."""
    return Runs(synthetic_outcomes(DIGITS, dict.fromkeys(sizes, rates), seeds, time, fails))


# Failures


def ladder(**flags):
    """One seed at four ascending rates, with the given flags set by rate."""
    none = [False] * 4
    columns = {name: flags.get(name, none) for name in ("stuck", "diverged", "newly_dead")}
    frame = pd.DataFrame(columns).assign(rule="sgd", batch_size=8, seed=1, network=0)
    return add_failures(frame.assign(learning_rate=[0.1, 0.2, 0.4, 0.8]))


def test_stuck_at_small_rates_is_not_new():
    """Too slow to leave the start is no failure of a larger rate."""
    assert not ladder(stuck=[True, True, False, False]).newly_stuck.any()


def test_stuck_above_a_rate_that_learned_is_new():
    """The same seed learned at a smaller rate: newly stuck, and failed."""
    found = ladder(stuck=[True, False, True, True])
    assert found.newly_stuck.tolist() == [False, False, True, True]
    assert found.failed.tolist() == [False, False, True, True]


def test_diverging_is_not_learning():
    """A seed that diverged at the only smaller rate that is not stuck did not learn there."""
    found = ladder(stuck=[True, False, True, True], diverged=[False, True, False, False])
    assert not found.newly_stuck.any()


def test_newly_dead_and_diverged_runs_fail():
    """Each kind of failure counts by itself."""
    found = ladder(newly_dead=[False, True, False, False], diverged=[False, False, False, True])
    assert found.failed.tolist() == [False, True, False, True]


def test_another_seed_is_no_witness():
    """That another seed learned at a smaller rate does not make a stuck seed newly stuck."""
    first, second = ladder(), ladder(stuck=[True] * 4)
    found = add_failures(pd.concat([first, second.assign(seed=2)], ignore_index=True))
    assert not found.newly_stuck.any()


# Largest stable rate


def bracket(fails, **changes):
    """Bracket of the largest stable rate for one batch size."""
    table = largest_stable_rate(runs_of(lambda _: 9.0, fails, **changes), "failed")
    assert len(table) == 1
    return table.iloc[0]


def test_bracket_around_the_first_crossing():
    """Failures from rate 1 on: stable at 2^-1/2, unstable at 1, with the shares' intervals."""
    found = bracket(lambda run: run.rate >= 1.0)
    assert (found.stable, found.unstable) == pytest.approx((2**-0.5, 1.0))
    assert (found.stable_share, found.unstable_share) == (0.0, 1.0)
    assert found.stable_high == pytest.approx(1 - 0.025 ** (1 / 32))
    assert found.unstable_low == pytest.approx(0.025 ** (1 / 32))


def test_the_first_crossing_counts_where_the_share_is_not_monotone():
    """A calm rate above the first failing one does not move the bracket."""
    assert bracket(lambda run: run.rate in (COARSE[4], COARSE[8])).unstable == COARSE[4]


def test_one_of_thirty_two_seeds_is_within_five_percent():
    """1/32 is stable, 2/32 is not; only reporting seeds count."""
    assert bracket(lambda run: run.seed in (1, 3, 6, 9)).unstable == inf
    assert bracket(lambda run: run.seed in (1, 2)).unstable == COARSE[0]


def test_open_brackets():
    """No rate fails: stable is the largest tried; every rate fails: stable is 0."""
    calm, wild = bracket(lambda _: False), bracket(lambda _: True)
    assert (calm.stable, calm.unstable) == (COARSE[-1], inf)
    assert (wild.stable, wild.unstable) == (0.0, COARSE[0])


def test_kinds_of_failure_have_brackets_of_their_own():
    """Dead units fail earlier than divergence."""
    rows = synthetic_outcomes(DIGITS, {8: COARSE}, range(12), lambda _: 9.0)
    rows = rows.assign(newly_dead=rows.learning_rate >= 0.5, diverged=rows.learning_rate >= 1.0)
    runs = Runs(add_failures(rows))
    assert largest_stable_rate(runs, "failed").unstable[0] == pytest.approx(0.5)
    assert largest_stable_rate(runs, "diverged").unstable[0] == pytest.approx(1.0)


def test_bracket_rates_divide_the_bracket_evenly():
    """Sixteen rates strictly inside, equal ratios from end to end."""
    rates = np.array([1.0, *bracket_rates(1.0, 2.0), 2.0])
    assert len(rates) == 18
    np.testing.assert_allclose(rates[1:] / rates[:-1], 2 ** (1 / 17))


@pytest.mark.parametrize(("stable", "unstable"), [(0.0, 1.0), (1.0, inf)])
def test_open_brackets_have_no_rates_inside(stable, unstable):
    """There is nothing to refine."""
    assert bracket_rates(stable, unstable) == ()


# Usable width


def test_stretch_by_hand():
    """T = 2, 1, 4 at octaves 0, 1, 2: twice the best at 0, and half way between 1 and 2."""
    assert usable_stretch(np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.0, 2.0])) == (0.0, 1.5)


def test_stretch_ends_at_the_last_finite_rate():
    """Next to rates that do not reach the target nothing is interpolated."""
    assert usable_stretch(np.arange(4.0), np.array([inf, 0.0, 0.5, inf])) == (1.0, 2.0)


def test_stretch_is_connected():
    """A usable rate beyond an unusable one does not count."""
    assert usable_stretch(np.arange(4.0), np.array([0.0, 2.0, 0.5, 0.0])) == (0.0, 0.5)


def test_stretch_of_an_arm_that_never_reaches_the_target():
    """No finite time, no stretch."""
    assert np.isnan(usable_stretch(np.arange(2.0), np.array([inf, inf]))).all()


def u_shaped(width):
    """Time that doubles `width` / 2 octaves to each side of rate 1/2, with 5% noise by seed."""

    def time(run):
        octaves = abs(np.log2(run.rate / 0.5))
        return 1000.0 * 2.0 ** (2 * octaves / width[run.batch_size]) * 1.05 ** (run.seed % 5 - 2)

    return time


def test_planted_width_is_found():
    """Two octaves planted, two octaves measured, inside a narrow interval."""
    found = usable_width(runs_of(u_shaped({8: 2.0})), 8, 1, np.random.default_rng(0))
    assert found["width"] == pytest.approx(2.0, abs=0.01)
    assert found["width_low"] <= found["width"] <= found["width_high"]
    assert found["width_high"] - found["width_low"] < 0.2


def test_planted_difference_of_widths_is_found():
    """Three octaves against one."""
    runs = runs_of(u_shaped({8: 3.0, 64: 1.0}), sizes=(8, 64))
    found = width_difference(runs, 8, 64, 1, np.random.default_rng(0))
    assert found.value == pytest.approx(2.0, abs=0.02)
    assert found.low > 1.5


def test_width_without_reporting_seeds_is_unknown():
    """One tuning seed: no number."""
    found = usable_width(runs_of(u_shaped({8: 2.0}), seeds=[0]), 8, 1, np.random.default_rng(0))
    assert np.isnan(found["width"])


# Spread


def test_deviations_by_hand():
    """Of 1, e, e^3 around e: 1, 0, 2."""
    np.testing.assert_allclose(deviations(np.exp([0.0, 1.0, 3.0])), [1.0, 0.0, 2.0], atol=1e-15)


def test_deviations_with_censoring():
    """Not reached is infinitely far from a finite median, and from an infinite one."""
    assert deviations(np.array([1.0, 1.0, inf])).tolist() == [0.0, 0.0, inf]
    assert deviations(np.array([1.0, inf, inf])).tolist() == [inf, inf, inf]


@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_spread_covers(shape):
    """The interval of the median deviation covers at 16 seeds, skewed times included."""
    rng = np.random.default_rng(0)
    # Median deviation of the exponential around ln 2: x with exp(-ln 2) (e^x - e^-x) = 1/2
    truth = {"normal": MAD, "exponential": np.arcsinh(0.5)}[shape]
    draw = {"normal": rng.normal, "exponential": rng.exponential}[shape]
    found = [spread(np.exp(draw(size=16)), rng) for _ in range(400)]
    assert np.mean([e.low <= truth <= e.high for e in found]) >= 0.93


def test_spread_ratio_covers():
    """Twice the spread, seeds in common: covered at 16 seeds."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(150):
        a, b = 0.2 * rng.normal(size=16), 0.1 * rng.normal(size=16)
        found.append(spread_ratio(np.exp(a), np.exp(b), rng))
    assert np.mean([e.low <= 2.0 <= e.high for e in found]) >= 0.93


def test_spread_of_runs_that_mostly_miss_is_infinite():
    """Where half the runs do not reach the target the spread has no finite value."""
    found = spread(np.array([1.0, 2.0, inf, inf, inf, inf, inf, inf]), np.random.default_rng(0))
    assert found.value == inf


def test_spread_ratio_of_two_failing_arms_is_open():
    """Infinite over infinite says nothing."""
    failing = np.full(12, inf)
    found = spread_ratio(failing, failing, np.random.default_rng(0))
    assert (found.low, found.high) == (0.0, inf)


# Thresholds


def test_thresholds_by_seed():
    """Each seed's lowest failing rate and the one below it."""
    onset = {1: 0.5, 2: 2.0, 4: inf, 5: 0.0}
    runs = runs_of(lambda _: 9.0, lambda run: run.rate >= onset.get(run.seed, inf), seeds=range(6))
    found = thresholds(runs).set_index("seed")
    assert found.threshold.to_dict() == {1: 0.5, 2: 2.0, 4: inf, 5: COARSE[0]}
    assert found.below.tolist() == pytest.approx([2**-1.5, 2**0.5, 2.0, 0.0])


def test_thresholds_do_not_look_at_rates_that_reporting_seeds_ran_alone():
    """Rates inside a bracket differ by arm: they are not of the lattice."""
    rows = synthetic_outcomes(DIGITS, {8: COARSE}, range(6), lambda _: 9.0, lambda r: r.rate >= 1)
    extra = synthetic_outcomes(DIGITS, {8: [0.9]}, [1, 2, 4, 5], lambda _: 9.0, lambda _: True)
    found = thresholds(Runs(pd.concat([rows, extra], ignore_index=True)))
    assert set(found.threshold) == {1.0}


def bracketed(onset, step):
    """Thresholds of seeds whose true onset is rounded up to a lattice of this step."""
    up = step ** np.ceil(np.log(onset) / np.log(step))
    return pd.DataFrame({"threshold": up, "below": up / step})


def test_threshold_ratio_knows_its_lattice():
    """Equal thresholds on a lattice of sqrt 2 leave a ratio within a step on either side."""
    table = bracketed(np.full(32, 3.0), 2**0.5)
    found = threshold_ratio(table, table)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 2**-0.5, 2**0.5))


def test_threshold_ratio_covers():
    """The ratio of onsets is covered although thresholds are rounded up to the lattice."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        common = rng.normal(size=16)
        onsets = [np.exp(0.3 * common + 0.1 * rng.normal(size=16) + m) for m in (0.4, 0.0)]
        found = threshold_ratio(*(bracketed(o, 2**0.5) for o in onsets))
        hits += found.low <= np.exp(0.4) <= found.high
    assert hits / 300 >= 0.93


def test_threshold_ratio_where_one_arm_never_fails():
    """Stable up to 8 against failing at 1: at least eightfold."""
    never = pd.DataFrame({"threshold": np.full(12, inf), "below": np.full(12, 8.0)})
    early = pd.DataFrame({"threshold": np.full(12, 1.0), "below": np.full(12, 0.7)})
    found = threshold_ratio(never, early)
    assert (found.value, found.low, found.high) == (inf, 8.0, inf)


def test_threshold_ratio_where_no_arm_fails_is_open():
    """Two arms that never fail up to 8: anything is possible."""
    never = pd.DataFrame({"threshold": np.full(12, inf), "below": np.full(12, 8.0)})
    found = threshold_ratio(never, never)
    assert np.isnan(found.value)
    assert (found.low, found.high) == (0.0, inf)


# Maps and bands


def cell(**columns):
    """The only cell of twelve seeds, with these columns set for its reporting runs."""
    rows = synthetic_outcomes(DIGITS, {8: [0.5]}, range(12), lambda _: inf)
    rows.loc[rows.role == "report", list(columns)] = pd.DataFrame(columns).to_numpy()
    return cell_table(Runs(rows), DIGITS.n_train, 1).iloc[0]


def test_a_cell_is_named_by_what_befell_most_runs():
    """Five of eight reporting runs are stuck, three neither reach the target nor are anything."""
    found = cell(stuck=[True] * 5 + [False] * 3)
    assert (found.outcome, found.stuck) == ("stuck", 5 / 8)


def test_a_run_that_reaches_the_target_is_solved_whatever_else():
    """Dead at the end after a hit is solved; diverged never is."""
    found = cell(hit_1=[9.0] * 8, dead=[True] * 8)
    assert (found.outcome, found.solved, found.dead) == ("solved", 1.0, 1.0)


def test_a_cell_without_an_event_is_slow():
    """Neither reached nor failed."""
    assert cell().outcome == "slow"


def curves_of(*losses):
    """Curves of one arm from the losses of seeds 1, 2, 4, ... at three evaluations."""
    curves = Curves([Arm(8, 0.5)])
    for seed, loss in zip((1, 2, 4, 5), losses, strict=False):
        array = np.array(loss, float)[None, None]
        grid, flags = np.array([0, 10, 20]), np.zeros((1, 1), bool)
        none = np.full(array.shape, np.nan)
        result = BlockResult(grid, grid, array, none, none, none, flags, flags, flags)
        curves.add(Block("sgd", 8, (0.5,), seed, 1), result)
        # The same run in another block of rates counts once
        curves.add(Block("sgd", 8, (0.5,), seed, 1), result)
    return curves.bands(DIGITS, Arm(8, 0.5))


def test_bands_are_quantiles_over_seeds():
    """Of three seeds the median is the middle one, at each evaluation."""
    found = curves_of([3, 2, 1], [3, 9, 3], [3, 4, 2])
    assert found.q50.tolist() == [3.0, 4.0, 2.0]
    assert (found.n_seeds == 3).all()


def test_a_loss_that_is_no_number_is_above_the_band():
    """A diverged seed raises the upper quantile to infinity."""
    assert curves_of([1, 2, np.nan], [1, 2, 3], [1, 2, 3]).q90.tolist() == [1.0, 2.0, inf]


def test_tuning_seeds_have_no_part_in_bands():
    """Bands are of reporting seeds."""
    curves = Curves([Arm(8, 0.5)])
    shape = np.ones((1, 1, 2))
    flags = np.zeros((1, 1), bool)
    result = BlockResult(np.arange(2), np.arange(2), *[shape] * 4, flags, flags, flags)
    curves.add(Block("sgd", 8, (0.5,), 3, 1), result)
    assert len(curves.bands(DIGITS, Arm(8, 0.5))) == 0
