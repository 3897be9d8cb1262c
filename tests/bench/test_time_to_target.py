"""Targets, picks, protocols and the summary, on runs with known times."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_evidence import synthetic_outcomes

from bench.analysis.arms import (
    Arm,
    Runs,
    all_axes,
    compare,
    each_run_once,
    mean_batch,
    seconds_per_update,
)
from bench.analysis.stability import add_failures, largest_stable_rate
from bench.analysis.time_to_target import (
    base_batch_size,
    choose_targets,
    expected_running_time,
    extension_sides,
    named_rates,
    pick_rate,
    pick_table,
    protocol_arms,
    summary,
)
from bench.experiments import Block, BlockResult
from bench.experiments.block import LANES
from bench.experiments.plan import lattice_rate
from bench.problems import load_problem

inf = np.inf
DIGITS = replace(load_problem("digits"), targets=(0.4, 0.2, 0.1))
N = DIGITS.n_train
RATES = [0.25, 0.5, 1.0, 2.0]
SECONDS = pd.DataFrame(
    {
        "program": "batchbench",
        "batch_size": [1, 100],
        "mean_batch": [1.0, 100.0],
        "seconds_per_update": [1e-6, 1e-4],
        "c0": 2e-6,
        "c1": 3e-6,
    }
)


def one_arm(time, fails=lambda _: False, seeds=range(12), rates=RATES, **changes):
    """Runs of one batch size (8) whose time depends on rate and seed."""
    rows = synthetic_outcomes(
        DIGITS, {8: rates}, seeds, lambda run: time(run.rate, run.seed), fails
    )
    return rows.assign(**changes)


# Picks


def test_pick_is_the_least_median_time():
    """The rate of least median time is picked."""
    assert pick_rate(one_arm(lambda rate, _: 100 * abs(rate - 1.0) + 50)).learning_rate == 1.0


def test_pick_looks_at_tuning_seeds_alone():
    """Reporting seeds that are fastest elsewhere change nothing."""
    pick = pick_rate(one_arm(lambda rate, seed: rate if seed % 3 == 0 else 10 - rate))
    assert (pick.learning_rate, pick.n_seeds) == (0.25, 4)


def test_pick_avoids_rates_at_which_seeds_fail():
    """The fastest rate is passed over when more than 5% of the tuning seeds fail at it."""
    pick = pick_rate(one_arm(lambda r, _: 9 - r, lambda run: run.rate == 2.0 and run.seed == 3))
    assert (pick.learning_rate, pick.failed_share) == (1.0, 0.0)


def test_five_percent_failures_are_allowed():
    """One of twenty tuning seeds may fail."""
    pick = pick_rate(
        one_arm(
            lambda r, _: 9 - r, lambda run: run.rate == 2.0 and run.seed == 3, seeds=range(0, 60, 3)
        )
    )
    assert (pick.learning_rate, pick.failed_share) == (2.0, 0.05)


def test_where_all_rates_fail_the_least_failing_is_picked():
    """No rate with at most 5% failing: the least failing share, and the reason says so."""
    shares = {0.25: 6, 0.5: 9, 1.0: 3, 2.0: 9}
    pick = pick_rate(one_arm(lambda r, _: 9 - r, lambda run: run.seed <= shares[run.rate]))
    assert pick.learning_rate == 1.0
    assert "at every rate tried, 50% or more" in pick.reason


def test_ties_in_time_go_to_success():
    """Medians that are all infinite are told apart by the share of seeds that reach the target."""
    reached = {0.25: 3, 0.5: 1, 1.0: 5, 2.0: 1}
    pick = pick_rate(
        one_arm(lambda r, s: 5.0 if s < 3 * reached[r] else inf, seeds=range(0, 36, 3))
    )
    assert pick.learning_rate == 1.0
    assert pick.reason.startswith("most tuning seeds miss")


def test_ties_in_success_go_to_final_loss():
    """No rate reaches the target: the least final loss, and the reason says so."""
    rows = one_arm(lambda *_: inf)
    pick = pick_rate(rows.assign(final_loss=(rows.learning_rate - 0.5).abs()))
    assert pick.learning_rate == 0.5
    assert pick.reason.startswith("no tuning seed reaches the target: least final loss")


def test_ties_in_everything_go_to_the_larger_rate():
    """Equal times, success and final loss: the larger rate."""
    assert pick_rate(one_arm(lambda *_: 7.0)).learning_rate == 2.0


def test_a_nan_final_loss_is_the_worst():
    """A run that ended without a number does not win the tie by final loss."""
    rows = one_arm(lambda *_: inf)
    losses = rows.learning_rate.map({0.25: 0.9, 0.5: 0.8, 1.0: np.nan, 2.0: np.nan})
    assert pick_rate(rows.assign(final_loss=losses)).learning_rate == 0.5


def test_pick_where_the_target_is_met_at_the_start():
    """All times undetermined: the least final loss decides, without a warning."""
    rows = one_arm(lambda *_: np.nan)
    assert pick_rate(rows.assign(final_loss=rows.learning_rate)).learning_rate == 0.25


@pytest.mark.parametrize(("best", "edge"), [(0.25, True), (1.0, False), (2.0, True)])
def test_a_pick_at_the_edge_is_told(best, edge):
    """The least and the largest rate tried are edges."""
    assert pick_rate(one_arm(lambda r, _: 1 + abs(r - best))).at_edge == edge


def test_one_seed_makes_a_pick():
    """A single tuning seed decides."""
    assert pick_rate(one_arm(lambda r, _: r, seeds=[0])).learning_rate == 0.25


@pytest.mark.parametrize(
    ("best", "failing", "expected"),
    [
        (1.0, 2.0, ()),
        (1.0, None, ("upper",)),
        (2.0, None, ("upper",)),
        (0.25, 2.0, ("lower",)),
        (0.25, None, ("lower", "upper")),
    ],
)
def test_sides_on_which_rates_are_missing(best, failing, expected):
    """More rates below an outermost pick, above one, and above where no rate fails."""
    rows = one_arm(lambda r, _: 1 + abs(r - best), lambda run: run.rate == failing)
    assert extension_sides(rows) == expected


def test_a_rate_in_two_blocks_counts_once():
    """Rows of the same run are dropped before anything is counted."""
    rows = one_arm(lambda r, s: r + s)
    twice = pd.concat([rows, rows], ignore_index=True)
    pd.testing.assert_frame_equal(each_run_once(twice), each_run_once(rows))
    assert pick_rate(twice) == pick_rate(rows)


# Targets


def pilot(losses, diverged=()):
    """Blocks of a pilot: losses (rates, 3) after 2, 4 and 8 epochs, one row a rate, two seeds."""
    for seed, factor in ((1_000_000, 0.9), (1_000_001, 1.0 / 0.9)):
        loss = np.hstack([np.full((len(losses), 1), 2.0), factor * np.array(losses)])[None]
        runs = loss.shape[:2]
        flags = np.isin(np.arange(len(losses)), diverged)[None] & (seed == 1_000_000)
        none = np.full(loss.shape, np.nan)
        result = BlockResult(
            np.array([0, 2, 4, 8]) * N,
            np.array([0, 2, 4, 8]),
            loss,
            none,
            none,
            none,
            flags,
            np.zeros(runs, bool),
            np.zeros(runs, bool),
        )
        rates = tuple(0.1 * 2.0**k for k in range(len(losses)))
        yield Block("sgd", 32, rates, seed, 8), result


def test_targets_are_the_least_medians_of_the_pilot():
    """After 2, 4 and 8 epochs the best rate may be another one."""
    found = choose_targets(DIGITS, pilot([[0.5, 0.4, 0.01], [0.6, 0.3, 0.02]]))
    assert found == pytest.approx((0.5, 0.3, 0.01))


def test_targets_leave_out_rates_with_failures():
    """A rate at which one seed diverges sets no target."""
    found = choose_targets(DIGITS, pilot([[0.5, 0.4, 0.1], [0.2, 0.1, 0.01]], diverged=(1,)))
    assert found == pytest.approx((0.5, 0.4, 0.1))


def test_targets_where_every_rate_has_failures():
    """All rates fail alike: they set the targets all the same."""
    found = choose_targets(DIGITS, pilot([[0.5, 0.4, 0.1], [0.2, 0.1, 0.05]], diverged=(0, 1)))
    assert found == pytest.approx((0.2, 0.1, 0.05))


# Protocols


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1, 8, 32, 1437], 32),
        ([1, 8, 64, 1437], 64),
        ([1, 16, 64, 1437], 64),
        ([1, 1437], 1437),
        ([1], 1),
    ],
)
def test_base_batch_size(sizes, expected):
    """32, else the nearest mini-batch on the log scale (the larger of two), else full batch."""
    assert base_batch_size(sizes, 1437) == expected


def picks_of(rates):
    """A table of picks."""
    sizes = list(rates)
    return pd.DataFrame({"rule": "sgd", "batch_size": sizes, "learning_rate": rates.values()})


def arm_rate(arms, batch_size, protocol, base):
    """Rate of one arm."""
    of_base = arms.base_batch_size.isna() if base is None else arms.base_batch_size == base
    mine = arms[(arms.batch_size == batch_size) & (arms.protocol == protocol) & of_base]
    assert len(mine) == 1
    return mine.learning_rate.iloc[0]


@pytest.mark.parametrize(
    ("protocol", "base", "expected"),
    [
        ("tuned", None, 0.3),
        ("same", 32, 0.8),
        ("same", 1, 0.01),
        ("linear", 32, 1.6),
        ("linear", 1, 0.64),
        ("square root", 32, 0.8 * 2.0**0.5),
        ("square root", 1, 0.08),
    ],
)
def test_protocols(protocol, base, expected):
    """At B = 64: its own rate; the base's rate; that x 64 / base, and x the root of 64 / base."""
    arms = protocol_arms(picks_of({1: 0.01, 32: 0.8, 64: 0.3, N: 2.0}), N)
    assert arm_rate(arms, 64, protocol, base) == pytest.approx(expected)


def test_without_per_sample_runs_there_is_one_base():
    """A study of given batch sizes without 1 has the base B_0 alone."""
    arms = protocol_arms(picks_of({32: 0.8, 64: 0.3}), N)
    assert set(arms.base_batch_size.dropna()) == {32.0}


def test_named_rates_fit_in_one_block():
    """Protocols, claims and neighbours name at most 16 rates beside the pick, which was run."""
    picks = picks_of({1: 0.01, 2: 0.017, 32: 0.8, 64: 0.3, N: 2.0})
    for b, pick in zip(picks.batch_size, picks.learning_rate, strict=True):
        rates = named_rates(picks, b, N)
        assert len(set(rates) - {pick}) <= LANES
        assert list(rates) == sorted(set(rates))


def test_square_root_rates_on_the_lattice_run_once():
    """Half an octave above a rate of the lattice lies a rate of the lattice, to the last bit."""
    for eighths in range(-48, 16):
        arms = protocol_arms(picks_of({16: 0.1, 32: lattice_rate(eighths), 64: 0.3}), N)
        assert arm_rate(arms, 64, "square root", 32) == lattice_rate(eighths + 4)
        assert arm_rate(arms, 16, "square root", 32) == lattice_rate(eighths - 4)


def test_named_rates_hold_what_protocols_and_claims_look_up():
    """Every arm of the batch size, and its pick x 1/4 and x 4, exactly."""
    picks = picks_of({1: 0.01, 32: 0.8, 64: 0.3})
    arms = protocol_arms(picks, N)
    wanted = {*arms.learning_rate[arms.batch_size == 64], 0.3 * 4.0, 0.3 * 0.25}
    assert wanted <= set(named_rates(picks, 64, N))


# Axes


def test_mean_batch_of_a_ragged_epoch():
    """1024 of 1437 are two batches an epoch."""
    assert mean_batch(1437, 1024) == 1437 / 2


def test_seconds_are_interpolated_on_log_axes():
    """Half way between 1 and 100 on the log axis lies 10."""
    assert seconds_per_update(SECONDS, "batchbench", 10.0) == pytest.approx(1e-5)


def test_seconds_beyond_the_measured_follow_the_fitted_cost():
    """Outside the measured batch sizes: c0 + c1 B."""
    assert seconds_per_update(SECONDS, "batchbench", 1000.0) == pytest.approx(2e-6 + 3e-3)


def two_arms(time, seeds=range(12), rate=1.0):
    """Runs of B = 1 and B = 32 at one rate."""
    return synthetic_outcomes(DIGITS, {1: [rate], 32: [rate]}, seeds, time)


def test_comparison_on_each_axis():
    """The same examples: equal epochs, 32 times the updates, and the program's own seconds."""
    runs = Runs(two_arms(lambda _: 3.0 * N))
    axes = all_axes(N, [1, 32], SECONDS)
    found = [compare(runs, Arm(1, 1.0), Arm(32, 1.0), axis, 1).ratio.value for axis in axes]
    cost = seconds_per_update(SECONDS, "batchbench", mean_batch(N, 32))
    assert found == pytest.approx([mean_batch(N, 32), 1.0, 1e-6 * mean_batch(N, 32) / cost])


def test_comparison_pairs_by_seed():
    """Seeds that differ a thousandfold cancel where both arms share them."""
    runs = Runs(
        two_arms(lambda run: (2.0 if run.batch_size == 1 else 1.0) * 10.0 ** (run.seed % 4))
    )
    found = compare(runs, Arm(1, 1.0), Arm(32, 1.0), all_axes(N, [1, 32], SECONDS)[1], 1)
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == (2.0, 2.0, 2.0)


def test_comparison_uses_reporting_seeds_alone():
    """Tuning seeds with another ratio change nothing."""
    runs = Runs(two_arms(lambda run: 9.0 if run.seed % 3 == 0 and run.batch_size == 1 else 3.0))
    found = compare(runs, Arm(1, 1.0), Arm(32, 1.0), all_axes(N, [1, 32], SECONDS)[1], 1)
    assert (found.ratio.value, found.ratio.n) == (1.0, 8)


# Summary


def summarize(rows):
    """Summary of two arms at their only rate, middle target, tuned, by batch size."""
    runs = Runs(rows)
    arms = protocol_arms(pick_table(rows, N), N)
    axes = all_axes(N, [1, 32], SECONDS)
    table = summary(runs, arms, DIGITS.targets, axes, largest_stable_rate(runs, "failed"))
    middle = table[(table.target == 0.2) & (table.protocol == "tuned")]
    return middle.set_index("batch_size")


def test_summary_converts_examples_to_all_axes():
    """Ten epochs: so many examples, updates and seconds, for interval ends too."""
    row = summarize(two_arms(lambda run: 10.0 * N * (1 + run.seed / 100))).loc[32]
    batch = mean_batch(N, 32)
    for end in ("", "_low", "_high"):
        assert row[f"examples{end}"] == pytest.approx(row[f"epochs{end}"] * N)
        assert row[f"updates{end}"] == pytest.approx(row[f"examples{end}"] / batch)
    cost = seconds_per_update(SECONDS, "batchbench", batch)
    assert row.seconds == pytest.approx(row.updates * cost)
    # Seeds 1, 2, 4, 5, 7, 8, 10, 11: the middle two are 5 and 7
    assert row.epochs == pytest.approx(10 * np.sqrt(1.05 * 1.07))


def test_summary_reports_reporting_seeds():
    """Twelve seeds: eight report."""
    row = summarize(two_arms(lambda _: 5.0 * N)).loc[1]
    assert (row.n_seeds, row.n_runs) == (8, 8)


def test_not_reached_is_infinite_and_counted():
    """Six of eight reporting seeds miss the target: median inf, success 1/4 with its interval."""
    row = summarize(two_arms(lambda run: 3.0 * N if run.seed < 3 else inf)).loc[1]
    assert row.epochs == inf
    assert row.success_rate == 0.25
    assert row.success_low < 0.25 < row.success_high


def test_undetermined_runs_are_left_out_and_told():
    """A run that starts at the target is neither a success nor a failure."""
    row = summarize(two_arms(lambda run: np.nan if run.seed < 3 else 3.0 * N)).loc[1]
    assert (row.n_undetermined, row.success_rate) == (2, 1.0)


def test_summary_of_one_seed_has_no_reporting_numbers():
    """A study of one seed tunes with it and has nothing to report."""
    row = summarize(two_arms(lambda _: 3.0 * N, seeds=[0])).loc[1]
    assert row.n_seeds == 0
    assert np.isnan(row.epochs)
    assert (row.success_low, row.success_high) == (0.0, 1.0)


def test_expected_running_time_by_hand():
    """Two successes after 10 and 20, one failure that spent 60: 90 / 2."""
    assert expected_running_time(np.array([10.0, 20.0, inf]), np.full(3, 60.0)) == 45.0


def test_expected_running_time_without_success():
    """Nothing reached: infinite."""
    assert expected_running_time(np.array([inf]), np.array([60.0])) == inf


def test_failures_in_the_summary():
    """Rates of failure are shares of the reporting runs."""
    rows = two_arms(lambda _: 3.0 * N)
    rows = add_failures(rows.assign(diverged=rows.seed == 1))
    assert summarize(rows).loc[32].diverged_rate == 1 / 8
