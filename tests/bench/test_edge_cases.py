"""Studies at the edges: runs or arms that fail, ties, few seeds, targets met at once, N = 4."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_evidence import synthetic_outcomes

from bench.analysis.analyse import analyse
from bench.analysis.outcomes import outcome_rows
from bench.analysis.time_to_target import named_rates, pick_table
from bench.experiments import Block, BlockResult, role
from bench.experiments.run import run_block
from bench.problems import load_problem
from kernels import Network

inf = np.inf
N = 64
SIZES = (1, 8, 32, 64)
RATES = [2.0 ** (k / 2) for k in range(-6, 5)]
NO_SECONDS = pd.DataFrame({"program": []})


def problem_of(n):
    """Random samples of two classes, and a network of three hidden units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2)).astype(np.float32)
    return replace(
        load_problem("notes"),
        name="small",
        network=Network((2, 3, 1)),
        X_train=X,
        y_train=(np.arange(n) % 2).astype(np.int64),
        population=None,
        targets=(0.65, 0.6, 0.55),
        updates_budget=None,
    )


def study_of(time, fails=lambda _: False, seeds=range(30)):
    """Evidence of planted runs, named rates on reporting seeds included."""
    problem = problem_of(N)
    rows = synthetic_outcomes(problem, dict.fromkeys(SIZES, RATES), seeds, time, fails)
    picks = pick_table(rows, N)
    named = {b: named_rates(picks, b, N) for b in SIZES}
    report = [s for s in seeds if role(s) == "report"]
    extra = synthetic_outcomes(problem, named, report, time, fails) if report else rows[:0]
    return evidence_of(problem, pd.concat([rows, extra], ignore_index=True))


def evidence_of(problem, rows):
    """What a study makes of these runs, without curves, seconds and gradient noise."""
    return analyse(problem, "sgd", rows, seconds=NO_SECONDS, blocks=(), options={}, noise=False)


def u_shaped(run, epochs=4.0, noise=0.1):
    """T in examples: least at rate 1, twice as long an octave off, some noise by run."""
    rng = np.random.default_rng((run.batch_size, run.seed, int(1e6 * run.rate)))
    return epochs * N * 2.0 ** abs(np.log2(run.rate)) * np.exp(noise * rng.normal())


def verdicts(evidence, *claims, but=()):
    """Verdicts of these claims (all, where none is named), each once.

    Left out: measures named in `but`, and a batch size that is held against itself.
    """
    return {
        row["verdict"]
        for row in evidence.claims
        if (not claims or row["claim"] in claims)
        and row["measure"] not in but
        and not row["note"].startswith("It is the best itself")
    }


def tuned(evidence, batch_size):
    """The summary's row of a tuned arm at the middle target."""
    table = evidence.summary
    mine = (table.protocol == "tuned") & (table.target == evidence.target)
    return table[mine & (table.batch_size == batch_size)].iloc[0]


def test_arms_that_mostly_miss_the_target():
    """Six of ten runs miss it: an infinite median, bounded below, its success beside it."""

    def time(run):
        misses = np.random.default_rng((run.batch_size, run.seed)).random() < 0.6
        return inf if misses else u_shaped(run)

    found = study_of(time)
    arm = tuned(found, 1)
    assert (arm.epochs, arm.epochs_high) == (inf, inf)
    assert 0.0 < arm.epochs_low < inf
    assert 0.0 < arm.success_low < arm.success_rate < arm.success_high < 1.0
    assert arm.ert_examples > 4.0 * N / arm.success_rate
    assert verdicts(found, "C2", "C8", "R1", "R2") == {"undecided"}


def test_pairs_of_which_both_miss_are_counted():
    """The verdict on two arms that mostly miss says how many pairs are undetermined."""
    found = study_of(lambda run: inf if run.seed % 3 == 1 else u_shaped(run))
    rows = [row for row in found.claims if row["claim"] == "C2"]
    assert {row["n_undetermined"] for row in rows} == {10}
    assert all((row["low"], row["high"]) == (0.0, inf) for row in rows)


@pytest.fixture(scope="module")
def one_arm_fails():
    """B = 1 diverges in every run at every rate, the others never."""
    return study_of(u_shaped, fails=lambda run: run.batch_size == 1)


def test_an_arm_that_always_fails_is_slower(one_arm_fails):
    """Not reached, within a budget that the others need a part of: infinitely slower, not NaN."""
    rows = [row for row in one_arm_fails.claims if row["claim"] == "C2"]
    assert {(row["verdict"], row["effect"]) for row in rows} == {("supported", inf)}


def test_an_arm_that_always_fails_has_no_stable_rate(one_arm_fails):
    """Its bracket begins at 0, it has no usable width, and how its rate was picked is told."""
    bracket = one_arm_fails.stability.set_index(["batch_size", "kind"]).loc[(1, "failed")]
    assert (bracket.stable, bracket.unstable) == (0.0, RATES[0] * 0.25)
    width = one_arm_fails.widths.set_index("batch_size").loc[1]
    assert (np.isnan(width.width), width.width_low, width.width_high) == (True, 0.0, inf)
    assert any("100% or more of the tuning seeds fail" in told for told in one_arm_fails.warnings)


def test_an_arm_that_always_fails_is_not_recommended(one_arm_fails):
    """It is in no set, and the trade-off is fitted to the others."""
    assert all(1 not in advice.batch_sizes for advice in one_arm_fails.recommendations)
    assert set(one_arm_fails.tradeoff.left_out) == {"1"}


def test_where_every_run_fails_nothing_is_decided():
    """No verdict, no recommendation, no critical batch size: all said, nothing divided."""
    found = study_of(u_shaped, fails=lambda _: True)
    assert verdicts(found) == {"undecided"}
    assert all(advice.best is None for advice in found.recommendations)
    assert set(found.tradeoff.reading) == {"not identified"}
    assert set(found.summary.success_rate) == {0.0}


def test_runs_that_all_tie():
    """Equal times of all seeds and batch sizes: equality is found, and no spread is divided."""
    found = study_of(lambda run: 4.0 * N * 2.0 ** abs(np.log2(run.rate)))
    times = next(r for r in found.claims if r["claim"] == "C2" and r["axis"] == "epochs")
    assert (times["verdict"], times["effect"]) == ("no material difference", 1.0)
    assert times["p_value"] == 1.0
    spreads = [row for row in found.claims if row["measure"] == "spread"]
    assert {row["verdict"] for row in spreads} == {"undecided"}
    assert found.recommendations[0].batch_sizes == SIZES


@pytest.mark.parametrize(("seeds", "reporting"), [(1, 0), (2, 1), (8, 5)])
def test_few_seeds_decide_nothing_on_time(seeds, reporting):
    """Up to five reporting seeds bound no median and no resample: undecided, and told."""
    found = study_of(u_shaped, seeds=range(seeds))
    assert verdicts(found, but=["failed runs at the same rate"]) == {"undecided"}
    assert tuned(found, 1).n_seeds == reporting
    assert any(f"Only {reporting} reporting seeds" in told for told in found.warnings)


def test_a_target_met_before_the_first_update_is_told():
    """Such runs are left out of every number, and counted in a warning."""
    found = study_of(lambda _: np.nan)
    assert verdicts(found, "C2", "C3", "C8") == {"undecided"}
    assert tuned(found, 1).n_undetermined == 20
    assert any("met the target before their first update" in told for told in found.warnings)


def test_a_target_met_at_the_first_evaluation():
    """Within the first update's examples: a time above 0, and verdicts as ever."""
    problem = replace(problem_of(N), targets=(0.6, 0.5, 0.4))
    examples = np.array([0, 16, 32, 48])
    loss = np.array([0.8, 0.3, 0.2, 0.1])[None, None]
    block = Block("sgd", 16, (0.5,), 1, 1)
    flags, none = np.zeros((1, 1), bool), np.full(loss.shape, np.nan)
    result = BlockResult(examples, examples // 16, loss, none, none, none, flags, flags, flags)
    hits = outcome_rows(problem, block, result, problem.targets)[["hit_0", "hit_1", "hit_2"]]
    assert (hits.to_numpy() > 0.0).all()
    assert (hits.to_numpy() < 16.0).all()


@pytest.mark.parametrize("direction", [-1.0, 1.0])
def test_picks_at_the_edge_are_told(direction):
    """Ever faster towards the largest or least rate: that is the pick, and a warning says so."""
    found = study_of(lambda run: 4.0 * N * run.rate**direction)
    assert found.picks.at_edge.all()
    assert any("the pick is the outermost learning rate tried" in told for told in found.warnings)


@pytest.fixture(scope="module")
def four_samples():
    """A study of four training samples, really trained: XOR with one network a seed."""
    problem = replace(load_problem("notes"), population=None, updates_budget=None)
    blocks = [Block("sgd", size, tuple(RATES), seed, 30) for size in (1, 2, 4) for seed in range(9)]
    results = [run_block(problem, block) for block in blocks]
    rows = [
        outcome_rows(problem, block, result, problem.targets)
        for block, result in zip(blocks, results, strict=True)
    ]
    return analyse(
        problem,
        "sgd",
        pd.concat(rows, ignore_index=True),
        seconds=NO_SECONDS,
        blocks=list(zip(blocks, results, strict=True)),
        options={},
    )


def test_four_samples_are_told(four_samples):
    """Every batch size is close to full batch: a warning says so, and which base there is."""
    told = " ".join(four_samples.warnings)
    assert "4 training samples: every batch size is close to full batch." in told
    assert "The base batch size is 2" in told


def test_four_samples_have_no_critical_batch_size(four_samples):
    """Three batch sizes of four samples identify no trade-off, and full batch has no noise."""
    assert set(four_samples.tradeoff.reading) == {"not identified"}
    full = four_samples.noise[four_samples.noise.batch_size == 4]
    assert np.allclose(full.predicted, 0.0)
    assert np.allclose(full.variance, 0.0)
