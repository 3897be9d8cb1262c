"""The calibration in small: intervals cover, equal arms are not told apart, and errors are found.

All random numbers are fixed. The limits are such that with other ones a correct program would fail
with a probability below 1e-4.
"""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from bench import calibration
from bench.analysis.intervals import Estimate, median_interval, paired_share_difference
from bench.calibration import equal_arms, registry, run
from bench.calibration.case import Case
from bench.cli import run as command
from bench.errors import InputError

MANY, FEW, REPETITIONS = 250, 4, 10
LEAST_COVERED = int(stats.binom.ppf(1e-6, MANY, run.ENOUGH))  # of MANY, for 95 cases at once
# What takes a millisecond or less is simulated often, the rest only to see that it works
OFTEN = ("median time", "spread", "success share", "difference of shares", "difference of uphill")
SELDOM = ("spread ratio",)
CASES = [(name, size) for name, case in registry.CASES.items() for size in case.sizes]
inf = np.inf


def simulations(name: str) -> int:
    """How often a case is simulated here."""
    return MANY if name.startswith(OFTEN) and not name.startswith(SELDOM) else FEW


@pytest.mark.parametrize(("name", "size"), CASES)
def test_intervals_cover(name: str, size: int) -> None:
    """Every interval that is reported holds the truth as often as it should, in a short look."""
    n = simulations(name)
    bounds = run.simulate(run.Task(name, size, range(n)))
    row = run.coverage_row(name, size, np.array(bounds))
    assert row["coverage"] * n >= (LEAST_COVERED if n == MANY else 1)


def too_short(case: Case, part: float) -> Case:
    """The same case with an interval of a part of the width."""

    def interval(sample: object, rng: np.random.Generator) -> Estimate:
        found = case.interval(sample, rng)
        low, high = (found.value + part * (end - found.value) for end in (found.low, found.high))
        return found._replace(low=low, high=high)

    return Case(case.simulate, interval, case.truth, case.sizes, case.unit, case.ratio)


@pytest.mark.parametrize(
    "name", ["success share, 60%", "median time", "difference of uphill shares"]
)
def test_an_interval_that_is_too_short_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the width: called short, and the calibration has not passed."""
    monkeypatch.setitem(registry.CASES, name, too_short(registry.CASES[name], 0.5))
    found = calibration.calibrate(MANY, only=name, workers=1)
    assert found.coverage.remark.iloc[0] == "short"
    assert not found.passed


def test_a_wrong_truth_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of a share of 60%, held against 90%, are short."""
    case = registry.CASES["success share, 60%"]
    moved = Case(case.simulate, case.interval, 0.9, case.sizes)
    monkeypatch.setitem(registry.CASES, "success share, 60%", moved)
    found = calibration.calibrate(MANY, only="success share, 60%", workers=1)
    assert found.coverage.remark.iloc[0] == "short"


def test_intervals_of_clustered_runs_need_their_clusters() -> None:
    """The populations are alike enough that intervals for independent networks are short."""
    case = registry.CASES["median time, population"]
    plain = Case(
        case.simulate, lambda t, _: median_interval(t.ravel()), case.truth, case.sizes, case.unit
    )
    covered = [plain.estimate("plain", 16, i) for i in range(MANY)]
    assert np.mean([e.low <= plain.true_value <= e.high for e in covered]) < 0.8


# Differences of paired shares: all tables of n seeds, no simulation


def tables(n: int) -> np.ndarray:
    """Counts (both, a alone, b alone, neither) of n seeds: all there are."""
    counts = np.array(list(product(range(n + 1), repeat=3)))
    counts = counts[counts.sum(axis=1) <= n]
    return np.column_stack([counts, n - counts.sum(axis=1)])


def interval_of(counts: np.ndarray) -> tuple[float, float]:
    """Interval for the difference of the shares of a and b in a table."""
    a, b = (np.repeat(flags, counts) for flags in ([True, True, False, False], [1, 0, 1, 0]))
    found = paired_share_difference(a, b)
    return found.low, found.high


@pytest.mark.parametrize("n", [6, 12])
def test_paired_share_differences_cover_exactly(n: int) -> None:
    """At every pair of shares, alike or not, the exact coverage is 93% or more."""
    counts = tables(n)
    low, high = np.array([interval_of(row) for row in counts]).T
    ways = special.gammaln(n + 1) - special.gammaln(counts + 1).sum(axis=1)
    for p, q, alike in product((0.05, 0.3, 0.5, 0.9), (0.05, 0.2, 0.5, 0.7), (0.0, 0.5, 1.0)):
        both = (1.0 - alike) * p * q + alike * min(p, q)
        chances = np.array([both, p - both, q - both, max(1.0 - p - q + both, 0.0)])
        weights = np.exp(ways + special.xlogy(counts, chances).sum(axis=1))
        held = (low <= p - q + 1e-12) & (p - q - 1e-12 <= high)
        assert weights[held].sum() >= run.ENOUGH


# Equal arms


@pytest.fixture(scope="module")
def told() -> pd.DataFrame:
    """Verdicts on some pairs of equal arms, really trained."""
    return run.equal_arms_table([equal_arms.repetition(number) for number in range(REPETITIONS)])


@pytest.mark.parametrize("measure", list(equal_arms.MEASURES))
def test_equal_arms_are_seldom_told_apart(told: pd.DataFrame, measure: str) -> None:
    """Of ten pairs that chance alone tells apart at most four get a verdict, by any measure."""
    row = told.set_index("measure").loc[measure]
    assert row.repetitions == REPETITIONS
    assert row.wrong <= 4


def test_equal_arms_differ_in_their_orders_alone() -> None:
    """The same initial losses, other losses later; the same repetition is the same again."""
    one, again, other = (equal_arms.trained(arm, 0) for arm in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    np.testing.assert_array_equal(one.initial_loss, other.initial_loss)
    learned = ~(one.diverged | other.diverged)
    assert (one.final_loss != other.final_loss)[learned].mean() > 0.99


def test_arms_that_are_not_equal_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times the time in one arm: the time ratio has a verdict, the others have none."""
    trained = equal_arms.trained

    def slowed(arm: int, number: int) -> pd.DataFrame:
        rows = trained(arm, number)
        return rows.assign(hit_1=rows.hit_1 * (3.0 if arm == equal_arms.ONE else 1.0))

    monkeypatch.setattr(equal_arms, "trained", slowed)
    verdicts = equal_arms.repetition(0)
    assert verdicts.pop("time ratio") == "supported"
    assert set(verdicts.values()) <= set(run.ACQUITTED)


def test_too_many_verdicts_on_equal_arms_do_not_pass() -> None:
    """Of 200 repetitions 16 may give a verdict, by each measure; 17 are too many."""

    def found(wrong: int) -> calibration.Calibration:
        verdicts = ["supported", "refuted"] * 100
        verdicts = verdicts[:wrong] + ["undecided", "no material difference"] * 100
        rows = [dict.fromkeys(equal_arms.MEASURES, v) for v in verdicts[:200]]
        return calibration.Calibration(pd.DataFrame(), run.equal_arms_table(rows))

    assert found(16).passed
    assert not found(17).passed


# The table


def test_a_row_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five intervals around 2: two hold it, one lies below, one above it, one is not a number."""
    case = Case(lambda *_: None, lambda *_: Estimate(0, 0, 0, 0), 2.0, (4,), ratio=True)
    monkeypatch.setitem(registry.CASES, "by hand", case)
    bounds = np.array([[1, 2], [2, inf], [0.5, 1], [3, 4], [np.nan, np.nan]])
    row = run.coverage_row("by hand", 4, bounds)
    assert (row["coverage"], row["beyond_low"], row["beyond_high"]) == (0.4, 0.2, 0.2)
    assert row["median_width"] == 2.0
    assert (row["low"], row["high"]) == pytest.approx((0.0527, 0.8534), abs=1e-4)


@pytest.mark.parametrize(
    ("covered", "expected"),
    [(1830, "short"), (1845, ""), (1910, ""), (1925, "conservative")],
)
def test_remarks(covered: int, expected: str) -> None:
    """Of 2,000: significantly below 93%, above 95%, or neither."""
    interval = stats.binomtest(covered, 2000).proportion_ci(method="exact")
    assert run.remark(interval.low, interval.high) == expected


def test_results_do_not_depend_on_processes() -> None:
    """One process and two give the same table."""
    one, two = (calibration.calibrate(60, only="60%", workers=n).coverage for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)


# The command


def test_the_command_writes_its_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each size, in the terminal and in coverage.csv."""
    options = ["--simulations", "30", "--only", "Success share, 60%", "--workers", "1"]
    assert command(["calibrate", *options, "--out", str(tmp_path)]) == 0
    with (tmp_path / "calibration" / "coverage.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["size"], row["simulations"]) for row in rows] == [("32", "30"), ("6", "30")]
    assert "32 seeds" in capsys.readouterr().out


def test_the_command_ends_with_1_where_an_interval_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A regression of an interval is found by a script too."""
    name = "success share, 60%"
    monkeypatch.setitem(registry.CASES, name, too_short(registry.CASES[name], 0.3))
    options = ["--simulations", "200", "--only", name, "--workers", "1"]
    assert command(["calibrate", *options, "--out", str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": "nothing of this name"}, "only: "),
        ({"simulations": 0}, "simulations: "),
        ({"workers": 0}, "workers: "),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    """A value that makes no sense is told by the option's name."""
    with pytest.raises(InputError, match=message):
        calibration.calibrate(**options)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file in the folder's place: one line, no traceback."""
    (tmp_path / "calibration").write_text("")
    found = calibration.calibrate(1, only="success share, 60%", workers=1)
    with pytest.raises(InputError, match="cannot be written"):
        calibration.write(found, tmp_path / "calibration")
