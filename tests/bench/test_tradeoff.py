"""The trade-off of updates and examples on simulated times whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from example_evidence import example_evidence, synthetic_outcomes

from bench import csv_files
from bench.analysis.arms import Arm, Runs, mean_batch
from bench.analysis.intervals import Estimate, median
from bench.analysis.rate_growth import growth, rate_growth_table, redrawn_picks
from bench.analysis.time_to_target import pick_rate, pick_table
from bench.analysis.tradeoff import (
    TradeOff,
    doubling,
    fastest_batch,
    fit_hyperbola,
    ratio_of,
    trade_off,
    trade_off_of,
    tradeoff_frames,
    tradeoff_row,
    tradeoff_warnings,
)
from bench.problems import load_problem
from bench.report import figures
from bench.report.figures import draw, tradeoff

inf, nan = np.inf, np.nan
SIMULATIONS = 200
SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1437]
BATCHES = np.array([mean_batch(1437, b) for b in SIZES])


class Planted(NamedTuple):
    """S^p = S_min^p + (E_min / B)^p; p = 1 is the hyperbola, more has a sharper knee."""

    s_min: float = 40.0
    e_min: float = 4800.0
    sharpness: float = 1.0

    @property
    def examples(self):
        """True medians of T by arm."""
        p = self.sharpness
        return BATCHES * (self.s_min**p + (self.e_min / BATCHES) ** p) ** (1 / p)


HYPERBOLA = Planted()


def simulated(rng, n_seeds, planted=HYPERBOLA):
    """Times (n_seeds, arms): noise skewed to the right, of median 0, alike in neighbouring arms."""
    apart = np.abs(np.subtract.outer(range(len(BATCHES)), range(len(BATCHES))))
    shape = {"size": n_seeds, "method": "cholesky"}
    z = rng.multivariate_normal(np.zeros(len(BATCHES)), 0.6**apart, **shape)
    return planted.examples * np.exp(0.2 * (np.exp(0.6 * z) - 1) / 0.6)


def analysed(rng, n_seeds, planted=HYPERBOLA, draws=300):
    """A study: the reference from half as many seeds of its own; its index and the result."""
    reference = int(median(simulated(rng, n_seeds // 2, planted)).argmin())
    times = simulated(rng, n_seeds, planted)
    return reference, trade_off(times, BATCHES, 1437, rng, reference=reference, draws=draws)


@pytest.fixture(scope="module")
def studies():
    """Simulated studies of 32 reporting seeds on a hyperbola."""
    rng = np.random.default_rng(0)
    return [analysed(rng, 32) for _ in range(SIMULATIONS)]


@pytest.fixture(scope="module")
def digits():
    """Evidence of a study of data."""
    return example_evidence("digits")


@pytest.fixture
def times():
    """Times of 32 seeds on a hyperbola."""
    return simulated(np.random.default_rng(3), 32)


def result(times, reference=0, batches=BATCHES):
    """The trade-off of these times."""
    rng = np.random.default_rng(0)
    return trade_off(times, batches[: times.shape[1]], 1437, rng, reference=reference)


def covered(estimates, truths):
    """Share of intervals that hold their truth."""
    pairs = zip(estimates, np.broadcast_to(truths, len(estimates)), strict=True)
    return np.mean([e.low <= truth <= e.high for e, truth in pairs])


# The fit


def test_fit_is_exact_without_noise():
    """Updates on a hyperbola give back its two constants, whatever their scale."""
    updates = np.array([[1.0], [1e-3]]) * (40 + 4800 / BATCHES)
    s_min, e_min = fit_hyperbola(updates, BATCHES)
    np.testing.assert_allclose(s_min, [40, 0.04], rtol=1e-10)
    np.testing.assert_allclose(e_min, [4800, 4.8], rtol=1e-10)


def test_fit_weighs_relative_errors():
    """The fit is the least-squares solution of (S - S_min - E_min / B) / S."""
    updates = Planted(sharpness=2).examples / BATCHES
    columns = np.column_stack([1 / updates, 1 / (BATCHES * updates)])
    expected = np.linalg.lstsq(columns, np.ones(len(BATCHES)), rcond=None)[0]
    np.testing.assert_allclose(fit_hyperbola(updates, BATCHES), expected, rtol=1e-9)


@pytest.mark.parametrize(("name", "truth"), [("s_min", 40), ("e_min", 4800), ("b_crit", 120)])
def test_planted_constants_are_recovered_and_covered(studies, name, truth):
    """The fit's medians lie within 1% of what was planted, its intervals hold it in 93% or more."""
    found = [getattr(study, name) for _, study in studies]
    assert np.median([e.value for e in found]) == pytest.approx(truth, rel=0.01)
    assert covered(found, truth) >= 0.93


def test_model_free_value_is_covered(studies):
    """The interval of the doubling holds the true medians' own, in 93% or more."""
    truths = [doubling(HYPERBOLA.examples, BATCHES, reference) for reference, _ in studies]
    assert covered([study.model_free for _, study in studies], truths) >= 0.93


def test_fastest_batch_is_covered(studies):
    """So do the intervals of the fastest batch size in closed form and of its seconds."""
    found = [fastest_batch(study, 20.0, 1.0, 1437) for _, study in studies]
    assert covered([best for best, _, _ in found], np.sqrt(120 * 20)) >= 0.93
    seconds = (np.sqrt(40 * 20) + np.sqrt(4800 * 1)) ** 2
    assert covered([time for _, time, _ in found], seconds) >= 0.93


def test_lack_of_fit_holds_its_size(studies):
    """True hyperbolas are rejected at 5% in at most 5% of the studies."""
    assert np.mean([study.p_lack_of_fit < 0.05 for _, study in studies]) <= 0.05
    assert {study.reading for _, study in studies} == {"hyperbolic"}


def test_sharper_knee_is_no_hyperbola():
    """A knee sharper than the hyperbola's is found in 9 of 10 studies, and the doubling leads."""
    rng = np.random.default_rng(1)
    found = [analysed(rng, 32, Planted(sharpness=2))[1] for _ in range(40)]
    sharp = [study for study in found if study.reading == "not hyperbolic"]
    assert len(sharp) >= 36
    assert sharp[0].critical == (sharp[0].model_free, "doubled examples")


def test_rounding_is_no_lack_of_fit():
    """Seeds that are all exactly on the hyperbola do not speak against it."""
    found = result(np.ones((32, 1)) * HYPERBOLA.examples)
    assert found.p_lack_of_fit == 1.0
    assert found.critical[0] == found.b_crit


# Not identified


def test_no_least_updates_no_critical_batch_size():
    """Updates in proportion to 1 / B have no S_min: the value is not told, its lower bound is."""
    rng = np.random.default_rng(2)
    for _, found in (analysed(rng, 32, Planted(s_min=1e-9)) for _ in range(20)):
        assert found.reading == "not identified"
        assert np.isnan(found.b_crit.value)
        assert 1437 < found.b_crit.low <= found.b_crit.high == inf
        assert found.critical[1] == ""
        assert "never double" in found.model_free_reason


def test_updates_that_rise_with_the_batch():
    """More updates for larger batches give no critical batch size, and say why."""
    found = result(np.ones((32, 1)) * BATCHES**2)
    assert found.reading == "not identified"
    assert "do not fall" in found.reason
    assert "no hyperbola fits" in found.reason


def test_never_divided_by_nothing():
    """Without S_min the ratio is infinite, without E_min 0, of a missed median unknown."""
    found = ratio_of(np.array([2.0, 0.0, -1.0, 2.0, np.nan]), np.array([6.0, 6.0, 6.0, -1.0, 1.0]))
    np.testing.assert_array_equal(found, [3, inf, inf, 0, np.nan])


def test_range_that_ends_before_the_knee(times):
    """Where the arms reached end long before the knee, S_min cannot be told from 0."""
    found = result(np.where(BATCHES > 16, inf, times))
    assert found.reason == "S_min cannot be told from 0"
    assert "not reached" in found.model_free_reason


@pytest.mark.parametrize("n_seeds", [0, 1, 5])
def test_too_few_seeds(times, n_seeds):
    """Five seeds bound no median: no critical batch size either way, and the reason is told."""
    found = result(times[:n_seeds])
    assert found.reading == "not identified"
    assert "too few reporting seeds" in found.reason
    assert not found.model_free.identified
    assert np.isnan(found.p_lack_of_fit)


@pytest.mark.parametrize("n_arms", [1, 2])
def test_too_few_batch_sizes(times, n_arms):
    """Two batch sizes lie on a hyperbola of their own."""
    found = result(times[:, :n_arms])
    assert found.reason.startswith(f"too few batch sizes reach the target ({n_arms})")
    assert not found.b_crit.identified


def test_nothing_reached():
    """Where nothing is reached nothing is told, and nothing is divided."""
    found = result(np.full((32, 11), inf), reference=None)
    assert found.model_free_reason == "no batch size reaches the target"
    assert not found.s_min.identified
    assert not found.b_crit.identified
    assert not found.used.any()
    assert np.isnan(fastest_batch(found, 1.0, 1.0, 1437)[0].value)


# Censored arms


def test_arm_that_is_not_reached_is_left_out_and_told(times):
    """The fit of the arms that are reached does not know of the others; the row names them."""
    found = result(np.where(BATCHES > 256, inf, times))
    alone = result(times[:, :9])
    assert found.b_crit.value == alone.b_crit.value
    assert tradeoff_row(found, SIZES, 1437)["left_out"] == "512, 1437"


def test_reader_is_told_what_the_fit_leaves_out(digits):
    """A warning names the batch sizes that are not in the fit, where there is a fit."""
    frame = digits.tradeoff.assign(left_out="512, 1437")
    assert tradeoff_warnings(digits.tradeoff, digits.target) == ()
    assert tradeoff_warnings(frame, digits.target)[0].startswith("Batch size 512, 1437: left out")
    assert tradeoff_warnings(frame.assign(n_arms=2), digits.target) == ()


def test_arm_whose_median_has_no_upper_bound_is_left_out(times):
    """Fourteen of 32 seeds not reached: the median is, but nothing bounds it above."""
    times[:14, -1] = inf
    assert np.isfinite(median(times)[-1])
    assert result(times).used.tolist() == [True] * 10 + [False]


def test_resamples_that_miss_a_median_count_against_both_bounds(times):
    """They are unknown, and widen the interval beyond that of the others alone."""
    times[np.argsort(times[:, -1])[-9:], -1] = inf
    found = result(times)
    missed = np.isnan(found.drawn[0])
    assert 0 < missed.sum() < 0.025 * len(missed)
    others = ratio_of(*found.drawn[:, ~missed])
    low, high = np.quantile(others, [0.025, 0.975])
    assert found.b_crit.low < low < found.b_crit.value < high < found.b_crit.high


# Model-free


def test_doubling_is_interpolated_on_logarithms():
    """Twice 10 lies half way from 10 to 40 on the log scale, at the batch half way there."""
    batches = np.array([1.0, 10.0, 1000.0])
    assert doubling(np.array([10.0, 10.0, 40.0]), batches, 0) == pytest.approx(100)


def test_doubling_is_above_the_reference():
    """Arms below the reference may need any number of examples."""
    batches = np.array([1.0, 10.0, 100.0])
    assert doubling(np.array([90.0, 10.0, 20.0]), batches, 1) == pytest.approx(100)


def test_doubling_that_is_not_seen():
    """Never doubled is infinite; doubled before an arm that is not reached, unknown."""
    rows = np.array([[10.0, 12.0, 19.0], [10.0, 12.0, inf], [inf, 12.0, 30.0]])
    np.testing.assert_array_equal(doubling(rows, np.array([1.0, 2.0, 4.0]), 0), [inf, nan, nan])


def study(time, seeds=range(48), fails=lambda _: False, rates=(0.25, 0.5, 1.0, 2.0)):
    """Runs of the digits' batch sizes with known times, and their picks."""
    problem = replace(load_problem("digits"), targets=(0.4, 0.2, 0.1))
    every = dict.fromkeys((1, 32, 256, 1437), rates)
    runs = Runs(synthetic_outcomes(problem, every, seeds, time, fails))
    return runs, pick_table(runs.outcomes, problem.n_train)


def test_reference_is_picked_on_tuning_seeds():
    """The arm that tuning seeds find cheapest stays the reference, whatever reporting seeds say."""
    cost = {1: 10.0, 32: 10.0, 256: 15.0, 1437: 100.0}

    def time(run):
        lucky = {1: 0.5} if run.seed % 3 else {32: 0.5}
        return 1437 * cost[run.batch_size] * lucky.get(run.batch_size, 1.0)

    runs, picks = study(time)
    tuned = [Arm(b, e) for b, e in zip(picks.batch_size, picks.learning_rate, strict=True)]
    found = trade_off_of(runs, tuned, 1437, 1)
    batches = picks.mean_batch.to_numpy(float)
    expected = doubling(np.array([5.0, 10.0, 15.0, 100.0]), batches, 1)
    assert found.model_free.value == pytest.approx(float(expected))


# The fastest batch size


def fitted(s_min, e_min, reading="hyperbolic"):
    """A trade-off without sampling error."""
    exact = [Estimate(x, x, x, 32) for x in (s_min, e_min, e_min / s_min, e_min / s_min)]
    drawn = np.array([[s_min] * 9, [e_min] * 9])
    return TradeOff(*exact, 0.5, reading, "", "", np.ones(11, bool), drawn)


@pytest.mark.parametrize("ratio", [0.3, 20.0, 4000.0])
def test_closed_form_is_the_least_time(ratio):
    """No batch size is faster than B*, and the seconds are those at B*."""
    batches = np.geomspace(1, 1437, 20_001)
    seconds = (40 + 4800 / batches) * (ratio + batches)
    best, time, clipped = fastest_batch(fitted(40.0, 4800.0), ratio, 1.0, 1437)
    assert best.value == pytest.approx(batches[seconds.argmin()], rel=1e-3)
    assert time.value == pytest.approx(seconds.min(), rel=1e-6)
    assert time.value == pytest.approx((np.sqrt(40 * ratio) + np.sqrt(4800)) ** 2)
    assert clipped == ""


@pytest.mark.parametrize(
    ("c0", "c1", "best", "clipped"),
    [(1e-4, 1.0, 1.0, "below 1"), (0.0, 1.0, 1.0, "below 1"), (1.0, 0.0, 1437.0, "above N")],
)
def test_fastest_batch_beyond_the_ends(c0, c1, best, clipped):
    """B* below 1 or above N is kept at the end, with the seconds there, and told."""
    found, time, told = fastest_batch(fitted(40.0, 4800.0), c0, c1, 1437)
    assert (found.value, told) == (best, clipped)
    assert time.value == pytest.approx((40 + 4800 / best) * (c0 + c1 * best))


def test_no_closed_form_of_what_is_not_identified():
    """Without a critical batch size there is no closed form."""
    found, time, _ = fastest_batch(fitted(40.0, 4800.0, "not identified"), 1.0, 1.0, 1437)
    assert np.isnan([found.value, time.value]).all()
    assert not found.identified
    assert not time.identified


# Growth of the best rate


def u_shaped(run):
    """Least time at a rate of sqrt(B) / 16, noise that seeds share."""
    octaves = np.log2(run.rate * 16) - np.log2(run.batch_size) / 2
    return 5000 * np.exp(octaves**2 / 8) * (1 + 0.01 * (run.seed % 7))


RATES = tuple(2.0 ** (np.arange(-24, 13) / 4))


def test_redrawn_picks_are_picks():
    """All tuning seeds once pick what `pick_rate` picks, among rates that do not fail."""
    rng = np.random.default_rng(0)
    runs, _ = study(lambda _: float(rng.lognormal()), fails=lambda run: run.rate == 2.0)
    one = runs.outcomes[(runs.outcomes.batch_size == 32) & (runs.outcomes.role == "tune")]
    table = one.pivot(index="seed", columns="learning_rate")
    hits, failed = table["hit_1"].to_numpy(float), table["failed"].to_numpy(bool)
    rates = table["hit_1"].columns.to_numpy(float)
    found = redrawn_picks(hits, failed, rates, np.arange(len(hits))[None])
    assert found.tolist() == [pick_rate(one).learning_rate]


def test_resample_that_reaches_nothing_picks_nothing():
    """A pick without a time is unknown."""
    hits = np.array([[inf, inf], [3.0, 2.0]])
    found = redrawn_picks(hits, np.isinf(hits), np.array([0.1, 0.2]), np.array([[0, 0], [1, 1]]))
    np.testing.assert_array_equal(found, [nan, 0.2])


def test_growth_is_the_exponent():
    """Rates that grow as the square root up to the critical batch size, and beyond, say so."""
    runs, picks = study(u_shaped, rates=RATES)
    table = rate_growth_table(runs, picks, 100.0, "hyperbola").set_index("part")
    assert table.n_arms.to_dict() == {"all": 4, "below": 2, "above": 2}
    assert (table.slope_low <= table.slope).all()
    assert (table.slope <= table.slope_high).all()
    np.testing.assert_allclose(table.slope, 0.5, atol=0.05)


def test_one_batch_size_does_not_grow():
    """A single batch size has no slope."""
    found = growth(np.array([0.1]), np.full((9, 1), 0.1), np.array([4.0]), 16)
    assert np.isnan(found.value)
    assert not found.identified


def test_picks_at_the_edge_are_left_out_and_told():
    """The outermost rate tried is not the optimum, so it says nothing of how that grows."""
    runs, picks = study(u_shaped, rates=tuple(r for r in RATES if r <= 1))
    table = rate_growth_table(runs, picks, np.nan, "").set_index("part")
    assert table.left_out["all"] == "256, 1437"
    assert table.n_arms.to_dict() == {"all": 2, "below": 0, "above": 0}


def test_growth_of_few_rates_is_not_told():
    """Two rates that were given hold no optimum."""
    runs, picks = study(u_shaped, rates=(0.1, 0.2))
    assert rate_growth_table(runs, picks, np.nan, "").empty


# Evidence and figures


def test_frames_have_the_columns_that_the_report_is_tested_with(digits):
    """A real analysis gives the columns of the example evidence, a row per target and program."""
    frames = tradeoff_frames(digits, Runs(digits.outcomes))
    for name, frame in frames.items():
        assert list(frame.columns) == list(getattr(digits, name).columns), name
    assert list(frames["tradeoff"].target) == list(digits.targets)
    assert list(frames["fastest"].program) == ["batchbench", "scikit-learn"]


def test_worst_deviation_of_the_linear_cost(digits):
    """How well c0 + c1 B fits is told by the measured batch size where it fits worst."""
    seconds = digits.seconds.copy()
    seconds.loc[3, "seconds_per_update"] /= 1.5
    frames = tradeoff_frames(replace(digits, seconds=seconds), Runs(digits.outcomes), growth=False)
    row = frames["fastest"].iloc[0]
    assert row.worst_batch_size == seconds.batch_size[3]
    assert row.worst_deviation == pytest.approx(0.5)
    assert "rate_growth" not in frames


def test_populations_have_no_trade_off():
    """Networks of a population are not compared by a single time."""
    notes = example_evidence("notes")
    assert tradeoff_frames(notes, Runs(notes.outcomes, population=True)) == {}
    assert not set(tradeoff.FIGURES) & set(figures.available(notes))


def test_title_says_what_does_not_fit(digits):
    """The title names the p-value of a lack of fit, and the value that leads then."""
    row = digits.tradeoff.iloc[0].to_dict() | {"target": digits.target}
    titles = [
        tradeoff.tradeoff_title(tradeoff.tradeoff_data(replace(digits, tradeoff=frame)))
        for frame in (digits.tradeoff, pd.DataFrame([row]))
    ]
    assert titles[0].endswith("consistent with a hyperbola: the passes double at batches of 18 "
                              "[16, 20]")  # fmt: skip
    assert titles[1].endswith(
        "hyperbola (p = 0.00050): the passes double at batches of 35 [31, 39]"
    )


def test_unidentified_critical_batch_size_is_no_number(digits):
    """Without a critical batch size the title gives the reason, and the figure marks none."""
    unknown = dict.fromkeys(["b_crit", "model_free", "critical"], nan)
    frame = digits.tradeoff.assign(
        **unknown, reading="not identified", critical_by="", model_free_reason="they never double"
    )
    data = tradeoff.tradeoff_data(replace(digits, tradeoff=frame))
    assert tradeoff.tradeoff_title(data).endswith("and they never double")
    with draw.style():
        left, right = tradeoff.tradeoff_figure(data).axes
    assert not any("doubled" in text.get_text() for text in left.texts)
    assert sum("not identified" in text.get_text() for text in right.texts) == 6


def test_curve_of_the_fastest_arm(digits):
    """Each step of the curve is the arm of the least S(B) (c0 / c1 + B)."""
    data = tradeoff.fastest_data(digits)
    curve = data[data.kind == "curve"]
    arms = digits.summary[(digits.summary.protocol == "tuned")]
    arms = arms[(arms.target == digits.target) & np.isfinite(arms.updates)]
    for row in curve.iloc[::60].itertuples():
        cost = arms.updates * (row.ratio + arms.mean_batch)
        assert row.measured == arms.batch_size[cost.idxmin()]
        assert row.low <= arms.mean_batch[cost.idxmin()] <= row.high


def test_programs_stand_at_their_costs(digits):
    """A program's place is c0 / c1, its point what the recommendation found."""
    data = tradeoff.fastest_data(digits)
    programs = data[data.kind == "program"].set_index("program")
    expected = digits.fastest.set_index("program")
    np.testing.assert_allclose(programs.ratio, expected.c0 / expected.c1)
    assert programs.measured.to_dict() == expected.measured.to_dict()


def test_title_of_the_best_rate(digits):
    """The title gives both exponents with their intervals, and where one gives way to the other."""
    data = tradeoff.best_rate_data(digits)
    assert tradeoff.best_rate_title(data) == (
        "The best learning rate grows as B^0.93 [0.70, 1.10] up to batches of 18, then as B^0.02 "
        "[−0.10, 0.21] from there on"
    )


def test_arm_that_is_not_in_the_fit_is_hollow(digits):
    """Of the arms that are reached, those left out of the fit are drawn hollow."""
    data = tradeoff.tradeoff_data(replace(digits, tradeoff=digits.tradeoff.assign(left_out="4, 8")))
    assert sorted(set(data.batch_size[~data.in_fit])) == [4, 8]
    with draw.style():
        left, _ = tradeoff.tradeoff_figure(data).axes
    hollow = [p for p in left.lines if p.get_marker() == "o" and p.get_mfc() == draw.PAPER]
    assert len(hollow) == 2


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", list(tradeoff.FIGURES))
def test_figures_are_drawn_from_their_csv(digits, tmp_path, name, known):
    """What stands in the CSV is all that is drawn, also where nothing is identified."""
    unknown = dict.fromkeys(["b_crit", "model_free", "critical"], nan)
    unknown |= {"reading": "not identified", "critical_by": "", "model_free_reason": "never"}
    if not known:
        frames = {"tradeoff": digits.tradeoff.assign(**unknown)}
        frames["rate_growth"] = digits.rate_growth.assign(critical=nan, critical_by="")
        digits = replace(digits, **frames)
    spec = tradeoff.FIGURES[name]
    data = spec.data(digits)
    csv_files.write(data, tmp_path / "data.csv")
    again = pd.read_csv(tmp_path / "data.csv")
    with draw.style(name):
        drawn = [figures.as_svg(spec.figure(one)) for one in (data, again)]
    assert drawn[0] == drawn[1]
    assert spec.title(again) == spec.title(data)
