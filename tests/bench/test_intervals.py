"""Intervals cover as they say, comparisons keep what is not known, verdicts follow the rule."""

import numpy as np
import pytest
from scipy import stats

from bench.analysis.intervals import (
    Estimate,
    bootstrap,
    clopper_pearson,
    clustered_proportion,
    difference_interval,
    effective_size,
    holm,
    median,
    median_interval,
    median_ranks,
    ordered_ratios,
    paired_ratio,
    paired_share_difference,
    proportion_interval,
    share_interval,
    signed_rank,
    verdict,
)

SIMULATIONS = 1000
COVERAGE = 0.93
inf = np.inf


def covered(found: list[Estimate], truth: float) -> float:
    """Share of the intervals that hold the truth."""
    return float(np.mean([e.low <= truth <= e.high for e in found]))


def mean_of_rows(drawn):
    """Estimator of the mean."""
    return drawn.mean(axis=1)


# Medians


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0, 1.0, 2.0], 2.0), ([1.0, 4.0], 2.0), ([1.0, 2.0, inf], 2.0), ([1.0, inf], inf)],
)
def test_median_by_hand(values, expected):
    """An even number of values has the geometric mean of the middle two, infinite if one is."""
    assert median(values) == pytest.approx(expected)


def test_median_of_zero_and_infinity_is_infinite():
    """Half the pairs 0 and half infinite is not 0 x inf."""
    assert median([0.0, inf]) == inf


def test_median_of_nothing_is_nan():
    """No value has no median."""
    assert np.isnan(median([]))


@pytest.mark.parametrize("n", [6, 16, 32, 47])
def test_median_ranks_are_the_tightest_that_cover(n):
    """The binomial tail outside the ranks is at most .025, and one rank further in it is more."""
    low, high = median_ranks(n)
    assert high == n + 1 - low
    assert stats.binom.cdf(low - 1, n, 0.5) <= 0.025 < stats.binom.cdf(low, n, 0.5)


def test_five_values_bound_no_median():
    """Five values leave the median open on both sides, and say so."""
    found = median_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.value, found.low, found.high, found.identified) == (3.0, 0.0, inf, False)


def test_median_interval_of_six_values_is_their_range():
    """With six values the range is the 95% interval."""
    found = median_interval([6.0, 1.0, 2.0, 5.0, 3.0, inf])
    assert (found.low, found.high, found.identified) == (1.0, inf, True)


def test_median_interval_leaves_nan_out():
    """Undetermined values are not counted."""
    assert median_interval([1.0, np.nan, 4.0]).n == 2


@pytest.mark.parametrize("n", [16, 32])
def test_median_interval_covers_with_censoring(n):
    """Order statistics of heavy-tailed times, a third of them not reached, cover the median."""
    rng = np.random.default_rng(n)
    times = rng.lognormal(sigma=1.5, size=(SIMULATIONS, n))
    times[times > np.exp(0.65)] = inf
    assert covered([median_interval(row) for row in times], 1.0) >= COVERAGE


def clustered_times(rng, blocks):
    """Times whose block effect is as large as the spread within a block; true median 1."""
    clusters = np.repeat(np.arange(blocks), 20)
    return clusters, np.exp(rng.normal(size=blocks)[clusters] + rng.normal(size=20 * blocks))


@pytest.mark.parametrize("blocks", [2, 8, 26])
def test_clustered_median_interval_covers(blocks):
    """Medians of correlated blocks are covered, for which treating runs as independent fails."""
    rng = np.random.default_rng(blocks)
    found = [median_interval(t, c) for c, t in (clustered_times(rng, blocks) for _ in range(500))]
    assert covered(found, 1.0) >= COVERAGE


def test_median_interval_without_clusters_fails_on_clustered_times():
    """The clustered simulation is hard enough to catch an interval that ignores the blocks."""
    rng = np.random.default_rng(8)
    found = [median_interval(clustered_times(rng, 8)[1]) for _ in range(300)]
    assert covered(found, 1.0) < 0.8


# Shares


def test_clopper_pearson_at_the_ends():
    """No success of n bounds the share by 1 - .025^(1/n) (rule of three), and mirrored."""
    low, high = clopper_pearson([0, 32], [32, 32])
    assert low == pytest.approx([0.0, 0.025 ** (1 / 32)])
    assert high == pytest.approx([1 - 0.025 ** (1 / 32), 1.0])


def test_clopper_pearson_agrees_with_scipy():
    """The bounds are scipy's exact ones."""
    expected = stats.binomtest(7, 20).proportion_ci(method="exact")
    assert clopper_pearson(7, 20) == pytest.approx((expected.low, expected.high))


def test_share_of_no_runs_is_unknown():
    """No run: no value, the whole range, not identified."""
    found = proportion_interval(0, 0)
    assert np.isnan(found.value)
    assert (found.low, found.high, found.identified) == (0.0, 1.0, False)


@pytest.mark.parametrize("n", [16, 32])
@pytest.mark.parametrize("p", [0.02, 0.3, 0.95])
def test_proportion_interval_covers(n, p):
    """Clopper-Pearson covers shares near 0 and 1 too."""
    k = np.random.default_rng(n).binomial(n, p, SIMULATIONS)
    assert covered([proportion_interval(int(x), n) for x in k], p) >= COVERAGE


@pytest.mark.parametrize(("blocks", "spread"), [(2, 20.0), (3, 20.0), (13, 20.0), (26, 1e9)])
def test_clustered_proportion_covers(blocks, spread):
    """Shares of correlated blocks are covered, from 2 blocks on, and of independent networks."""
    rng = np.random.default_rng(blocks)
    p = rng.beta(0.7 * spread, 0.3 * spread, (SIMULATIONS, blocks))
    k = rng.binomial(256, p)
    found = [clustered_proportion(row, np.full(blocks, 256)) for row in k]
    assert covered(found, 0.7) >= COVERAGE


def test_effective_size_of_alike_runs_is_about_the_number_of_blocks():
    """Where all runs of a block do the same, 40 blocks of 100 are worth no more than 40 runs."""
    shares = np.tile([0.0, 1.0], 20)
    assert effective_size(shares, np.full(40, 100.0)) <= 40


def test_one_block_says_nothing():
    """The share of one block has no interval between blocks."""
    found = clustered_proportion([200], [256])
    assert (found.low, found.high, found.identified) == (0.0, 1.0, False)


# Bootstrap


@pytest.mark.parametrize("n", [12, 16, 32])
def test_bootstrap_of_a_mean_covers(n):
    """The expanded percentile interval of a mean of skewed values covers."""
    rng = np.random.default_rng(n)
    values = rng.beta(2.0, 6.0, (SIMULATIONS, n))
    found = [bootstrap(row, mean_of_rows, rng, draws=400) for row in values]
    assert covered(found, 0.25) >= COVERAGE


def test_bootstrap_is_reproducible():
    """The same generator state gives the same interval."""
    values = np.random.default_rng(1).normal(size=20)
    first, second = (bootstrap(values, mean_of_rows, np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_bootstrap_resamples_whole_rows():
    """What belongs to one seed stays together: a difference of equal columns is always 0."""
    column = np.random.default_rng(2).normal(size=16)
    found = bootstrap(
        np.stack([column, column], axis=1),
        lambda drawn: (drawn[..., 0] - drawn[..., 1]).mean(axis=1),
        np.random.default_rng(3),
    )
    assert (found.low, found.high) == (0.0, 0.0)


def test_bootstrap_of_one_seed_has_no_interval():
    """One seed gives a value and an open interval."""
    found = bootstrap(np.array([2.0]), mean_of_rows, np.random.default_rng(0))
    assert found == Estimate(2.0, -inf, inf, 1, identified=False)


def test_bootstrap_of_five_seeds_has_no_interval():
    """Of five rows resamples bound nothing, of six they do."""
    values = np.random.default_rng(0).normal(size=6)
    five, six = (bootstrap(values[:n], mean_of_rows, np.random.default_rng(0)) for n in (5, 6))
    assert (five.low, five.high, five.identified) == (-inf, inf, False)
    assert (np.isfinite([six.low, six.high]).all(), six.identified) == (True, True)


@pytest.mark.parametrize(("n", "symmetric"), [(19, True), (20, False)])
def test_bootstrap_of_few_seeds_is_reflected(n, symmetric):
    """Below 20 rows a skewed statistic's interval reaches as far down as up, from 20 on not."""
    values = np.random.default_rng(1).exponential(size=n) ** 2
    found = bootstrap(values, mean_of_rows, np.random.default_rng(2))
    below, above = found.value - found.low, found.high - found.value
    assert (below == pytest.approx(above)) == symmetric


def test_bootstrap_of_an_infinite_value_is_not_reflected():
    """An estimate of infinity has no mirror image: the resamples' least value bounds it."""
    values = np.array([1.0, 2.0, 3.0, inf, inf, inf, inf])
    found = bootstrap(values, lambda drawn: median(drawn, axis=1), np.random.default_rng(0))
    assert (found.value, found.low, found.high) == (inf, 1.0, inf)


def test_undefined_draws_open_the_interval():
    """An estimator that is undefined in many draws leaves both bounds open."""
    values = np.array([1.0, np.nan, 2.0, 3.0, 4.0, 5.0])
    found = bootstrap(values, mean_of_rows, np.random.default_rng(0))
    assert (found.low, found.high) == (-inf, inf)


# Two arms


def test_ordered_ratios_by_hand():
    """One side not reached is ordered only within the other arm's budget; both are not."""
    t_a = np.array([2.0, inf, inf, 4.0, inf])
    t_b = np.array([1.0, 9.0, 11.0, inf, inf])
    found = ordered_ratios(t_a, t_b, budget_a=10.0, budget_b=5.0)
    np.testing.assert_array_equal(found, [2.0, inf, np.nan, 0.0, np.nan])


def test_pairs_equal_but_for_rounding_are_ties():
    """Times that differ in the last bit are equal."""
    assert ordered_ratios(np.array([0.1 + 0.2]), np.array([0.3]), 1.0, 1.0)[0] == 1.0


def test_undetermined_pairs_count_against_both_bounds():
    """Ten of thirty pairs unknown widen the interval on both sides, and are counted."""
    t_a = np.concatenate([np.linspace(1.9, 2.1, 20), np.full(10, inf)])
    t_b = np.concatenate([np.ones(20), np.full(10, inf)])
    found = paired_ratio(t_a, t_b, 5.0, 5.0)
    assert found.n_undetermined == 10
    assert found.ratio.low == 0.0
    assert found.ratio.high == inf


def test_all_failed_arms_are_undecided():
    """Two arms that never reach the target have no ratio and an open interval."""
    found = paired_ratio(np.full(32, inf), np.full(32, inf), 1.0, 1.0)
    assert np.isnan(found.ratio.value)
    assert verdict(found.ratio.low, found.ratio.high, 1.25) == "undecided"
    assert found.p_value == 1.0


def test_one_arm_that_never_reaches_it_is_slower():
    """Thirty-two finite times within the failing arm's budget make the verdict."""
    found = paired_ratio(np.full(32, inf), np.full(32, 3.0), 10.0, 10.0)
    assert (found.ratio.value, found.ratio.low) == (inf, inf)
    assert found.p_faster.high < 0.2


def test_no_pairs_are_undecided():
    """Without a common seed nothing is known."""
    found = paired_ratio([], [], np.nan, np.nan)
    assert (found.ratio.low, found.ratio.high, found.ratio.identified) == (0.0, inf, False)


def test_ties_count_against_the_probability_of_being_faster():
    """Equal arms: half in the value, everything in the interval."""
    found = paired_ratio(np.ones(8), np.ones(8), 2.0, 2.0).p_faster
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_signed_rank_by_hand():
    """Six pairs all in one direction: p = 2 / 2^6, exact."""
    assert signed_rank(np.array([2.0, 3.0, 4.0, 5.0, 6.0, 7.0])) == pytest.approx(2 / 64)


def test_signed_rank_takes_infinite_ratios():
    """An infinite ratio has the largest rank, as any larger one would."""
    ratios = np.array([0.5, 2.5, 3.0, 4.0, 5.0, 9.0])
    assert signed_rank(np.append(ratios[:-1], inf)) == signed_rank(ratios)


def test_signed_rank_of_ties_is_one():
    """Equal arms give p = 1 without a warning."""
    assert signed_rank(np.ones(10)) == 1.0


def test_undetermined_pairs_weaken_the_signed_rank():
    """Pratt's zeros: more undetermined pairs, a larger p."""
    ratios = np.array([0.9, 0.8, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert signed_rank(np.append(ratios, np.full(6, np.nan))) > signed_rank(ratios)


@pytest.mark.parametrize("n", [16, 32])
def test_paired_ratio_covers(n):
    """The median of paired ratios is covered, whatever the seeds have in common."""
    rng = np.random.default_rng(n)
    found = []
    for _ in range(SIMULATIONS):
        common = rng.normal(size=n)
        t_a, t_b = (np.exp(common + 0.3 * rng.normal(size=n)) for _ in range(2))
        found.append(paired_ratio(2.0 * t_a, t_b, inf, inf).ratio)
    assert covered(found, 2.0) >= COVERAGE


def test_equal_arms_seldom_get_a_verdict():
    """A/A: at most 16 of 200 pairs of equal arms are supported or refuted."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        t_a, t_b = np.exp(0.6 * rng.normal(size=(2, 16)))
        ratio = paired_ratio(t_a, t_b, 5.0, 5.0).ratio
        wrong += verdict(ratio.low, ratio.high, 1.25) in ("supported", "refuted")
    assert wrong <= 16


def test_a_planted_ratio_is_supported():
    """An arm twice as slow, 20% noise, 32 seeds: supported; the other way round: refuted."""
    rng = np.random.default_rng(1)
    t_a, t_b = 2.0 * np.exp(0.2 * rng.normal(size=32)), np.exp(0.2 * rng.normal(size=32))
    slow, fast = paired_ratio(t_a, t_b, 9, 9).ratio, paired_ratio(t_b, t_a, 9, 9).ratio
    assert verdict(slow.low, slow.high, 1.25) == "supported"
    assert verdict(fast.low, fast.high, 1.25) == "refuted"


def test_a_planted_equality_is_no_material_difference():
    """Arms that differ by 2% with 5% noise lie inside the margin."""
    rng = np.random.default_rng(1)
    t_a, t_b = 1.02 * np.exp(0.05 * rng.normal(size=32)), np.exp(0.05 * rng.normal(size=32))
    ratio = paired_ratio(t_a, t_b, 9, 9).ratio
    assert verdict(ratio.low, ratio.high, 1.25) == "no material difference"


@pytest.mark.parametrize(("p", "q"), [(0.05, 0.05), (0.9, 0.1), (0.5, 0.3)])
@pytest.mark.parametrize("common", [0.0, 0.8])
def test_paired_share_difference_covers(p, q, common):
    """Differences of shares are covered, with and without correlation between the arms."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(SIMULATIONS):
        u, v = rng.random((2, 32))
        v = np.where(rng.random(32) < common, u, v)
        found.append(paired_share_difference(u < p, v < q))
    assert covered(found, p - q) >= COVERAGE


def test_paired_share_difference_by_hand():
    """Eight of 32 seeds fail in a alone, none in b alone: the seeds that agree do not matter."""
    a = np.arange(32) < 12
    b = np.arange(32) < 4
    low, high = clopper_pearson([8, 0], [32, 32])
    found = paired_share_difference(a, b)
    assert found.value == 0.25
    assert found.low == pytest.approx(0.25 - np.hypot(0.25 - low[0], high[1]))
    assert found.high == pytest.approx(high[0])


def test_paired_share_difference_where_all_differ():
    """All seeds fail in one arm alone: the difference is that of one share, without a warning."""
    found = paired_share_difference(np.ones(32, bool), np.zeros(32, bool))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1.0 - np.sqrt(2.0) * (1.0 - 0.025 ** (1 / 32)))


def test_difference_of_unknown_shares_is_open():
    """A share that is not identified leaves the difference open."""
    unknown = share_interval(np.array([], bool))
    found = difference_interval(unknown, proportion_interval(3, 9))
    assert (found.low, found.high, found.identified) == (-1.0, 1.0, False)


def test_holm_by_hand():
    """(.01, .04, .03) become (.03, .06, .06); a missing p-value is not counted."""
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04, 0.03]), [0.03, np.nan, 0.06, 0.06])


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.26, 9.0, "supported"),
        (1.25, 9.0, "undecided"),
        (0.1, 0.79, "refuted"),
        (0.81, 1.24, "no material difference"),
        (0.81, 1.26, "undecided"),
        (0.0, inf, "undecided"),
        (np.nan, np.nan, "undecided"),
    ],
)
def test_verdict_on_ratios(low, high, expected):
    """The whole interval decides, against the margin and its inverse."""
    assert verdict(low, high, 1.25) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.06, 0.2, "supported"),
        (-0.2, -0.06, "refuted"),
        (-0.04, 0.04, "no material difference"),
        (-0.06, 0.04, "undecided"),
    ],
)
def test_verdict_on_differences(low, high, expected):
    """The whole interval decides, against plus and minus the margin."""
    assert verdict(low, high, 0.05, kind="difference") == expected


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("share", 0.995, 1.0, "supported"),
        ("share", 0.5, 0.98, "refuted"),
        ("share", 0.98, 1.0, "undecided"),
        ("share below", 0.5, 0.98, "supported"),
        ("share below", 0.995, 1.0, "refuted"),
        ("share below", 0.98, 1.0, "undecided"),
    ],
)
def test_verdict_on_shares(kind, low, high, expected):
    """A share is held against the margin itself, from above or from below."""
    assert verdict(low, high, 0.99, kind=kind) == expected
