"""Rules of thumb, and which batch size for which program: planted answers are found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from example_evidence import Run, example_evidence, synthetic_outcomes

from bench import study as module
from bench.analysis.arms import Arm, Runs
from bench.analysis.choices import HeldOutCurves
from bench.analysis.claims.recommendation import frequency
from bench.analysis.claims.row import Row
from bench.analysis.claims.thumb import default, generalization, powers_of_two, scaling
from bench.analysis.evidence import Evidence
from bench.analysis.thumb import (
    accuracy_difference,
    generalization_table,
    power_ratios,
    reach,
    score_at,
)
from bench.analysis.time_to_target import named_rates, pick_table, protocol_arms
from bench.experiments import Block, BlockResult
from bench.experiments.progress import Silent
from bench.options import Options
from bench.problems import load_problem
from bench.report import tables
from bench.report.figures import thumb as figures
from bench.speed.seconds import POWER_ROUNDS, Measurement, power_batch_sizes
from bench.stages import Training

DIGITS = replace(load_problem("digits"), targets=(0.4, 0.2, 0.1))
N = DIGITS.n_train
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, N)
RATES = [2.0 ** (k / 2) for k in range(-12, 5)]
KNEE = 16  # up to here the best rate is proportional to the batch size, then it stays
SEEDS = range(18)
SECONDS = pd.DataFrame(
    {
        "program": ["ours", "ours", "theirs", "theirs"],
        "batch_size": [1, N, 1, N],
        "mean_batch": [1.0, N, 1.0, N],
        "seconds_per_update": [1e-6, 1e-6 * N, 1e-3, 1e-3 + 1e-9 * N],
        "c0": [0.0, 0.0, 1e-3, 1e-3],
        "c1": [1e-6, 1e-6, 1e-9, 1e-9],
    }
)


def planted_time(run: Run) -> float:
    """Four passes up to the knee, then in proportion; the time doubles per octave off the best."""
    best = min(run.batch_size, KNEE) / 16.0
    passes = 4.0 * max(run.batch_size / KNEE, 1.0)
    noise = 1.0 + 0.02 * np.sin(run.seed + run.batch_size)
    return float(N * passes * 2.0 ** abs(np.log2(run.rate / best)) * noise)


def planted_evidence(example: Evidence, rates: list[float] | None = None) -> Evidence:
    """Evidence of planted runs; with rates, a fixed plan of these alone."""
    rows = synthetic_outcomes(DIGITS, dict.fromkeys(SIZES, rates or RATES), SEEDS, planted_time)
    picks = pick_table(rows, N)
    if rates is None:
        named = {b: named_rates(picks, b, N) for b in SIZES}
        reporting = [seed for seed in SEEDS if seed % 3]
        extra = synthetic_outcomes(DIGITS, named, reporting, planted_time)
        rows = pd.concat([rows, extra], ignore_index=True)
    arms = protocol_arms(picks, N)
    known = replace(example, problem=DIGITS, targets=DIGITS.targets, outcomes=rows, picks=picks)
    return replace(known, arms=arms, seconds=SECONDS, recommendations=[])


@pytest.fixture(scope="module")
def example() -> Evidence:
    """The example that figures and pages are tested with."""
    return example_evidence("digits")


@pytest.fixture(scope="module")
def planted(example: Evidence) -> Evidence:
    """The planted study."""
    return planted_evidence(example)


@pytest.fixture(scope="module")
def scaled(planted: Evidence) -> list[Row]:
    """Its rows of R2."""
    return scaling(planted)


def only(rows: list[Row], **about: Any) -> Row:
    """The one row with these keys."""
    found = [row for row in rows if all(row[key] == value for key, value in about.items())]
    assert len(found) == 1
    return found[0]


# R1 and C9


def test_a_safe_default_costs_what_was_planted(planted: Evidence) -> None:
    """32 needs twice the passes of 16; where an update costs the same at any size it is slow."""
    rows = default(planted)
    passes = only(rows, axis="epochs")
    assert (passes["verdict"], passes["effect"]) == ("refuted", pytest.approx(2.0, rel=0.1))
    assert only(rows, program="ours")["effect"] == pytest.approx(2.0, rel=0.1)
    assert only(rows, program="theirs")["verdict"] == "supported"


def test_the_best_itself_costs_nothing(planted: Evidence) -> None:
    """Compared with itself a batch size is 1 times as slow, without doubt."""
    rows = frequency(planted)
    for row in rows:
        if row["batch_size"] == row["against"]:
            assert (row["effect"], row["low"], row["high"]) == (1.0, 1.0, 1.0)
            assert row["verdict"] == "supported"


def test_every_frequency_is_held_against_the_best_of_each_axis(planted: Evidence) -> None:
    """Per sample, mini-batch and full batch, by passes and in two programs: nine rows."""
    rows = frequency(planted)
    assert len(rows) == 9
    assert only(rows, axis="epochs", batch_size=1)["verdict"] == "supported"
    assert only(rows, axis="epochs", batch_size=N)["effect"] == pytest.approx(N / KNEE, rel=0.1)
    slow = only(rows, program="theirs", batch_size=1)
    assert slow["verdict"] == "refuted"
    assert "each sample" in slow["statement"]


def test_without_a_mini_batch_there_is_no_default(planted: Evidence) -> None:
    """A study of the ends alone says nothing of 32."""
    ends = planted.picks[planted.picks.batch_size.isin([1, N])]
    assert default(replace(planted, picks=ends, options={"base_batch_size": N})) == []


def test_another_default_is_told(planted: Evidence) -> None:
    """Where 32 was not studied the row says which batch size it is about."""
    picks = planted.picks[planted.picks.batch_size != 32]
    rows = default(replace(planted, picks=picks, options={"base_batch_size": 64}))
    assert all("this is 64, the nearest" in row["note"] for row in rows)


def test_a_target_that_no_batch_size_reaches_has_no_best(planted: Evidence) -> None:
    """There is nothing to compare with: no row."""
    lost = planted.outcomes.assign(hit_0=np.inf, hit_1=np.inf, hit_2=np.inf)
    assert default(replace(planted, outcomes=lost)) == []


# R2


@pytest.mark.parametrize(
    ("measure", "base", "batch_size", "effect"),
    [
        ("linear scaling", 1, 16, 1.0),
        ("linear scaling", 1, 64, 4.0),
        ("linear scaling", 32, 64, 2.0),
        ("linear scaling", 32, 16, 2.0),
        ("square-root scaling", 1, 16, 4.0),
        ("square-root scaling", 1, 64, 2.0),
        ("square-root scaling", 32, 128, 2.0),
        ("square-root scaling", 32, 8, 1.0),
    ],
)
def test_scaled_rates_cost_what_was_planted(
    scaled: list[Row], measure: str, base: int, batch_size: int, effect: float
) -> None:
    """A factor 2 for each octave between the scaled and the best rate."""
    about = {"measure": measure, "base_batch_size": base, "batch_size": batch_size}
    row = only(scaled, **about)
    assert row["effect"] == pytest.approx(effect, rel=0.01)
    assert row["verdict"] == ("supported" if effect == 1.0 else "refuted")


def test_a_rule_tells_how_far_it_reaches(scaled: list[Row]) -> None:
    """Linearly from 1 up to the knee; from 32, behind the knee, nowhere else."""
    notes = {(row["measure"], row["base_batch_size"]): row["note"] for row in scaled}
    assert "from batch size 1 to 16; exceeds it at 32, 64" in notes["linear scaling", 1]
    assert "at its base alone; exceeds it at 1, 2, 4" in notes["linear scaling", 32]


def test_rates_that_were_not_run_have_no_row(example: Evidence) -> None:
    """A fixed plan of two rates holds few of the scaled ones: those have rows, and no others."""
    rates = [0.25, 0.5]
    fixed = planted_evidence(example, rates)
    arms = fixed.arms[fixed.arms.protocol.isin(["linear", "square root"])]
    arms = arms[arms.learning_rate.isin(rates) & (arms.batch_size != arms.base_batch_size)]
    keys = ["protocol", "base_batch_size", "batch_size"]
    found = [tuple(row[key] for key in keys) for row in scaling(fixed)]
    assert sorted(found) == sorted(arms[keys].itertuples(index=False, name=None))
    assert 0 < len(found) < 8


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({1: "refuted", 16: "supported", 64: "supported", 128: "undecided"}, (16, 64)),
        ({1: "supported", 16: "undecided", 64: "refuted", 128: "supported"}, (32, 32)),
        ({}, (32, 32)),
    ],
)
def test_reach_ends_at_the_first_gap(verdicts: dict[int, str], expected: tuple[int, int]) -> None:
    """What is supported beyond a batch size that is not does not count."""
    assert reach(verdicts, 32) == expected


# R3


def test_difference_of_accuracies_by_hand() -> None:
    """Seven seeds: the median of their differences, between the least and the greatest."""
    ours = np.array([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96])
    theirs = ours - np.array([0.07, 0.01, 0.03, 0.02, 0.05, 0.04, 0.06])
    found = accuracy_difference(ours, theirs).ratio
    assert found[:4] == pytest.approx((0.04, 0.01, 0.07, 7))


def test_undetermined_scores_count_against_both_bounds() -> None:
    """A run that did not reach the target leaves the difference open on either side."""
    ours, theirs = np.full(7, 0.9), np.full(7, 0.8)
    ours[3] = np.nan
    found = accuracy_difference(ours, theirs)
    assert found.n_undetermined == 1
    assert found.ratio[:3] == pytest.approx((0.1, -1.0, 1.0))


def test_scores_are_interpolated_at_the_hit() -> None:
    """Half way between two evaluations lies half of their difference; not reached is no score."""
    scores = np.array([[0.1, 0.5, 0.9], [0.2, 0.4, 0.6]])
    found = score_at(np.array([0, 100, 200]), scores, np.array([150.0, np.inf]))
    assert found[0] == pytest.approx(0.7)
    assert np.isnan(found[1])


def test_the_best_moment_is_picked_on_the_tuning_seeds(planted: Evidence) -> None:
    """They are best at the second evaluation; that the reporting seeds are not changes nothing."""
    arm = Arm(8, 0.5)
    curves = HeldOutCurves([arm])
    for seed in range(9):
        score = [0.1, 0.7, 0.6] if seed % 3 == 0 else [0.1, 0.5, 0.9]
        blank, flags = np.zeros((1, 1, 3)), np.zeros((1, 1), bool)
        numbers = np.array([0, N, 2 * N])
        result = BlockResult(
            numbers, numbers, blank, blank, blank, np.array([[score]]), flags, flags, flags
        )
        curves.add(Block("sgd", 8, (0.5,), seed, 2), result)
    rows = synthetic_outcomes(planted.problem, {8: [0.5]}, range(9), lambda _: 1.5 * N)
    table = generalization_table(planted.problem, Runs(rows), [arm], curves)
    assert table.seed.tolist() == [1, 2, 4, 5, 7, 8]
    assert set(table.best_examples) == {N}
    assert set(table.best) == {0.5}
    assert table.at_1.to_numpy() == pytest.approx(0.7)


def test_better_scores_of_small_batches_are_found(example: Evidence) -> None:
    """The example's accuracy falls by half a point a step: 2.5 points to 32, 5 to full batch."""
    rows = generalization(example)
    row = only(rows, measure="best score", against=N)
    assert row["verdict"] == "supported"
    assert row["effect"] == pytest.approx(0.05, abs=0.005)
    at_loss = only(rows, measure="score at equal training loss", against=32)
    assert at_loss["effect"] == pytest.approx(0.025, abs=0.005)
    assert len(at_loss["other_targets"]) == 2


def test_equal_scores_are_no_material_difference(example: Evidence) -> None:
    """Shuffling the batch sizes of each seed takes the effect away."""
    table = example.generalization
    rng = np.random.default_rng(3)
    shuffled = table.groupby("seed").best.transform(rng.permutation)
    found = generalization(replace(example, generalization=table.assign(best=shuffled)))
    assert only(found, measure="best score", against=N)["verdict"] != "supported"


def test_errors_are_compared_as_ratios(example: Evidence) -> None:
    """Of a regression: the larger batch's error over the smaller one's; a diverged run is worst."""
    table = example.generalization.assign(best=lambda f: 0.5 + 0.05 * (f.batch_size == N))
    table.loc[(table.batch_size == N) & (table.seed == 1), "best"] = np.nan
    diabetes = replace(load_problem("diabetes"), targets=DIGITS.targets)
    network = replace(example.problem, network=diabetes.network)
    row = only(
        generalization(replace(example, problem=network, generalization=table)),
        measure="best score",
        against=N,
    )
    assert (row["kind"], row["margin"]) == ("ratio", 1.05)
    assert (row["effect"], row["verdict"]) == (pytest.approx(1.1), "supported")


def test_what_one_sample_is_worth_is_told(example: Evidence) -> None:
    """Of 30 held-out samples each is worth 3.3 points, which is more than the margin."""
    few = replace(example.problem, X_test=DIGITS.X_test[:30], y_test=DIGITS.y_test[:30])
    assert "worth 3.3 points" in generalization(replace(example, problem=few))[0]["note"]
    assert generalization(example)[0]["note"] == ""


# R4


def timings(cost: dict[int, float], rounds: int = 9) -> pd.DataFrame:
    """Seconds per sample of one program, the same in every round."""
    rows = [("ours", size, number, t) for size, t in cost.items() for number in range(rounds)]
    return pd.DataFrame(rows, columns=["program", "batch_size", "round", "seconds_per_sample"])


def test_powers_are_compared_by_round() -> None:
    """31 takes twice as long as 32; 100 lies on the line between 64 and 128; 127 is faster."""
    law = {b: b**-0.5 for b in (32, 64, 100, 128)}
    found = power_ratios(timings({31: 2 * 32**-0.5, 33: 32**-0.5, 127: 0.5 * 128**-0.5, **law}))
    values = {size: estimate.value for (_, size, _), estimate in found.items()}
    assert values == pytest.approx({31: 2.0, 33: 1.0, 100: 1.0, 127: 0.5})


def test_slow_moments_do_not_hide_in_a_median() -> None:
    """Whatever hits both batch sizes of a round cancels; the interval is that of the ratios."""
    powers = timings({31: 1.2, 32: 1.0, 33: 1.0})
    powers.seconds_per_sample *= 1.0 + powers["round"]
    row = power_ratios(powers)["ours", 31, (32,)]
    assert row[:4] == pytest.approx((1.2, 1.2, 1.2, 9))


def test_a_time_too_short_to_measure_decides_nothing(example: Evidence) -> None:
    """0 over 0 is undetermined, and counts against both bounds."""
    powers = timings({31: 0.0, 32: 0.0, 33: 0.0})
    rows = powers_of_two(replace(example, powers=powers))
    assert {row["verdict"] for row in rows} == {"undecided"}


def test_rows_of_powers_say_against_what(example: Evidence) -> None:
    """A row for each program and comparison: 1.6 times in one program, nothing in the other."""
    rows = powers_of_two(example)
    assert len(rows) == 8
    assert only(rows, program="scikit-learn", batch_size=100)["against"] == "64 and 128"
    assert {row["verdict"] for row in rows if row["program"] == "scikit-learn"} == {"supported"}
    ours = {row["verdict"] for row in rows if row["program"] == "batchbench"}
    assert ours == {"no material difference"}


class FakeWorker:
    """Ends at the same parameters as any other; notes in which order it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def prepare(self, _: int) -> tuple[np.ndarray, float]:
        """Parameters one away from the start."""
        return np.ones(DIGITS.network.n_params, np.float32), 0.0

    def measure(self, batch_size: int) -> float:
        """A millisecond a sample."""
        self.asked.append(batch_size)
        return 1e-3 * batch_size


def test_batch_sizes_take_turns_in_every_round() -> None:
    """Each round measures all of them, and begins with another one."""
    worker: Any = FakeWorker()
    frame = Measurement(DIGITS, {"batchbench": worker}).run_powers()
    sizes = power_batch_sizes(DIGITS)
    rounds = np.reshape(worker.asked, (POWER_ROUNDS, len(sizes)))
    assert all(sorted(one) == sizes for one in rounds)
    assert len(set(rounds[: len(sizes), 0])) == len(sizes)
    assert frame.seconds_per_sample.to_numpy() == pytest.approx(1e-3)
    assert frame.groupby("batch_size").size().to_dict() == dict.fromkeys(sizes, POWER_ROUNDS)


@pytest.mark.parametrize(("n", "expected"), [(65, []), (66, [31, 32, 33]), (256, 7), (255, 3)])
def test_powers_are_mini_batches(n: int, expected: list[int] | int) -> None:
    """Only groups that lie within half of the training samples are measured."""
    few = replace(DIGITS, X_train=DIGITS.X_train[:n], y_train=DIGITS.y_train[:n])
    found = power_batch_sizes(few)
    assert found == expected if isinstance(expected, list) else len(found) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"budget": 60},
        {"rounds": 2},
        {"seeds": 4, "batch_sizes": (8,), "learning_rates": (0.1,)},
    ],
)
def test_studies_that_are_short_of_time_do_not_measure_powers(
    options: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a budget, in rounds and in a fixed plan nothing is timed."""
    monkeypatch.setattr(module, "measure_powers", pytest.fail)
    settings = Options.of(options | {"out": tmp_path})
    training = module.prepare("iris", settings, Silent())
    assert module.timed_powers(training, settings, None).empty


def test_timings_of_the_same_study_are_kept(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same machine and versions powers.csv is read, not measured again."""
    settings = Options.of({"out": tmp_path})
    training: Training = module.prepare("iris", settings, Silent())
    kept = timings({31: 1.0, 32: 1.0, 33: 1.0}).assign(program="batchbench")
    (tmp_path / "iris").mkdir()
    kept.to_csv(tmp_path / "iris" / "powers.csv", index=False)
    before = {"machine": module.view.as_json(module.view.machine())}
    before |= {"versions": module.view.versions()}
    monkeypatch.setattr(module, "installed", lambda _: [])
    monkeypatch.setattr(module, "measure_powers", pytest.fail)
    pd.testing.assert_frame_equal(module.timed_powers(training, settings, before), kept)


# Populations, and the page


def test_populations_have_no_rules_of_thumb() -> None:
    """XOR's question is whether it is learned at all."""
    notes = example_evidence("notes")
    assert not [*default(notes), *scaling(notes), *frequency(notes)]
    assert not [*generalization(notes), *powers_of_two(notes)]


def test_what_is_within_the_margin_is_shaded() -> None:
    """The claim holds from the left end up to the margin; the point 2 lies to its right."""
    claim = {"effect": 2.0, "low": 1.0, "high": 4.0, "margin": 1.25, "kind": "within"}
    plot = tables.plot(claim | {"claim": "R1"}, tables.Scale("within", 0.5, 8.0, ()))
    assert (plot.value, plot.null, plot.margin_low) == (50, 25, 0)
    assert plot.null < plot.margin_high < 50


def test_rows_of_the_page_sum_up(planted: Evidence, scaled: list[Row], example: Evidence) -> None:
    """Each rule says in its headline what its rows found together."""
    rows = replace(planted, claims=[*scaled, *powers_of_two(example)])
    found = {row.claim: row for row in tables.verdict_rows(rows)}
    assert found["R2"].headline.startswith(
        "Surely within 1.25 times the tuned time: scaled linearly from 1 at batch sizes 1 to 16, "
        "from 32 nowhere else; scaled by the square root from 1 nowhere else, from 32 "
    )
    assert "1.6 times as long in scikit-learn" in found["R4"].headline
    assert all(row.is_rule_of_thumb for row in found.values())


def test_which_names_the_set_and_the_cost_of_being_wrong(example: Evidence) -> None:
    """C9's headline: for passes and each program, the set, and the worst of its neighbours."""
    rows = {row.claim: row for row in tables.verdict_rows(example)}
    assert rows["C9"].headline.startswith(
        "For the fewest passes: batch size 8 to 32 (half or double the rate, or the next batch "
        "size: up to 1.5 times as many). In batchbench:"
    )
    assert not rows["C9"].is_rule_of_thumb


def test_the_scaling_figure_says_where_its_claim_ends(planted: Evidence, scaled: list[Row]) -> None:
    """The title's ends are those of the verdicts; the base has a ratio of 1."""
    data = figures.scaling_data(replace(planted, claims=scaled))
    title = figures.scaling_title(data)
    assert "scaled linearly from 1 at batch sizes 1 to 16, from 32 nowhere else" in title
    itself = data[data.batch_size == data.base_batch_size]
    assert (itself[["ratio", "low", "high"]] == 1.0).all(axis=None)


def test_the_score_figure_shows_medians_of_seeds(example: Evidence) -> None:
    """A row per moment and batch size, with the number of held-out samples."""
    data = figures.generalization_data(example)
    assert len(data) == 2 * len(DIGITS.batch_sizes)
    mine = data[(data.moment == "best") & (data.batch_size == N)].iloc[0]
    runs = example.generalization[example.generalization.batch_size == N]
    assert mine.value == pytest.approx(runs.best.median(), abs=1e-4)
    assert set(data.n_test) == {len(DIGITS.X_test)}
