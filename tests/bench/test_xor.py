"""Success and causes of failure of XOR populations, from planted counts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_evidence import example_evidence, synthetic_outcomes

from bench.analysis.arms import Arm
from bench.analysis.claims.xor import solution_words
from bench.analysis.outcomes import CAUSES
from bench.analysis.xor import (
    VariantRuns,
    best_arm,
    cause_rows,
    count_longer,
    count_outcomes,
    example_networks,
    longer_rows,
    population_tables,
    reporting,
    success_row,
)
from bench.experiments import Block, BlockResult, Threads, plan, role
from bench.experiments.progress import Silent
from bench.experiments.store import Store
from bench.populations import train_variants
from bench.problems import load_problem
from bench.problems.xor import FACTORS, SOLUTION, Variant, levels_of, variants
from bench.report.answer import terminal_summary
from bench.report.figures import xor as figures
from bench.stages import Training, widen_success
from kernels import evaluate, forward, train

XOR = load_problem("notes")
OWN = Variant("", "", "sgd", XOR)


def counts_of(solved, variant="2-2-1", n=256, **causes):
    """Counts by block: `solved` maps (batch size, rate) to the number solved in each block."""
    rows = []
    for (batch_size, rate), numbers in solved.items():
        for seed, k in enumerate(numbers):
            row = {"variant": variant, "rule": "sgd", "batch_size": batch_size}
            row |= {"learning_rate": rate, "seed": seed, "role": role(seed), "n": n, "solved": k}
            rows.append(row | dict.fromkeys(CAUSES, 0) | causes)
    return pd.DataFrame(rows)


def test_counts_by_block():
    """Two blocks of three networks at two rates: solved and causes add up by block."""
    rows = synthetic_outcomes(
        XOR,
        {4: [0.5, 1.0]},
        [1, 2],
        lambda _: 9.0,
        lambda run: run.rate == 1.0 and run.network < run.seed,
        networks=3,
    )
    found = count_outcomes("2-2-1", rows).set_index(["seed", "learning_rate"])
    assert (found.n == 3).all()
    assert found.solved.to_dict() == {(1, 0.5): 3, (1, 1.0): 2, (2, 0.5): 3, (2, 1.0): 1}
    assert found.diverged.to_dict() == {(1, 0.5): 0, (1, 1.0): 1, (2, 0.5): 0, (2, 1.0): 2}


def test_a_network_in_two_blocks_of_rates_counts_once():
    """The same run from two blocks is one network."""
    rows = synthetic_outcomes(XOR, {4: [0.5]}, [1], lambda _: 9.0, networks=3)
    twice = pd.concat([rows, rows], ignore_index=True)
    assert count_outcomes("2-2-1", twice).n.tolist() == [3]


def test_the_best_arm_is_picked_on_tuning_blocks():
    """Blocks 0 and 3 prefer one rate, the reporting blocks another: the tuning blocks decide."""
    counts = counts_of({(1, 0.5): [200, 10, 10, 200], (4, 1.0): [100, 250, 250, 100]})
    assert best_arm(counts) == Arm(1, 0.5)


def test_equal_shares_go_to_the_larger_rate():
    """Ties by rate."""
    assert best_arm(counts_of({(1, 0.5): [200] * 4, (1, 1.0): [200] * 4})) == Arm(1, 1.0)


def test_success_is_reported_on_the_other_blocks():
    """The share at the picked arm, over blocks 1, 2, 4, 5."""
    counts = counts_of({(1, 0.5): [250, 100, 120, 250, 110, 110]})
    row = success_row(counts, OWN)
    assert row["success"] == 440 / 1024
    assert (row["n_seeds"], row["n_runs"]) == (4, 1024)
    assert row["low"] < row["success"] < row["high"]
    assert (row["widths"], row["n_params"], row["scheme"]) == ("2-2-1", 9, "he")


def test_blocks_that_differ_widen_the_interval():
    """The same share with blocks far apart is less certain."""
    alike = success_row(counts_of({(1, 0.5): [128] * 12}), OWN)
    apart = success_row(counts_of({(1, 0.5): [28, 228] * 6}), OWN)
    assert apart["high"] - apart["low"] > 3 * (alike["high"] - alike["low"])


def test_causes_add_up():
    """Shares of solved networks and of all causes sum to 1."""
    counts = counts_of({(1, 0.5): [100] * 6}, dead=56, symmetric=40, **{"plateau ln 2": 60})
    rows = pd.DataFrame(cause_rows(counts, Arm(1, 0.5)))
    assert rows.share.sum() == pytest.approx(1.0)
    assert rows.set_index("cause").n["dead"] == 4 * 56
    assert rows.label.notna().all()


def test_reporting_blocks_of_an_arm():
    """Only the arm's own rows of blocks 1 and 2."""
    counts = counts_of({(1, 0.5): [1, 2, 3], (4, 0.5): [4, 5, 6]})
    assert reporting(counts, Arm(4, 0.5)).solved.tolist() == [5, 6]


def population_block(params, loss, rates=(0.5, 1.0)):
    """A block of two networks at two rates with given final parameters (2, 2, n_params)."""
    shape = (2, 2, 3)
    curves = np.broadcast_to(np.asarray(loss, float), shape)
    none, flags = np.full(shape, np.nan), np.zeros((2, 2), bool)
    score = np.where(curves < 0.2, 1.0, 0.5)
    grid = np.array([0, 20, 40])
    result = BlockResult(grid, grid // 4, curves, score, none, none, flags, flags, flags, params)
    return Block("sgd", 4, rates, 1, 10, 2), result


def test_example_networks_are_of_the_arm():
    """The first solved network at the asked rate, none from other rates or batch sizes."""
    params = np.zeros((2, 2, 9), np.float32)
    params[1, 1] = SOLUTION
    loss = np.full((2, 2, 3), 0.7)
    loss[1, 1] = [0.7, 0.1, 0.01]
    block = population_block(params, loss)
    found = example_networks(XOR, Arm(4, 1.0), *block)
    np.testing.assert_array_equal(found["solved"], SOLUTION)
    assert "solved" not in example_networks(XOR, Arm(4, 0.5), *block)
    assert example_networks(XOR, Arm(2, 1.0), *block) == {}
    assert example_networks(XOR, Arm(4, 0.25), *block) == {}


def test_tables_of_all_variants():
    """A row per variant in `success`, one per variant and batch size beside it."""
    known = {v: variants(XOR, "sgd")[v] for v in ("2-2-1", "2-4-1")}
    arms = {(1, 0.5): [100] * 4, (4, 0.5): [90] * 4}
    counts = pd.concat([counts_of(arms, v) for v in known], ignore_index=True)
    found = population_tables(VariantRuns(known, counts, pd.DataFrame()), {})
    assert found.success.variant.tolist() == ["2-2-1", "2-4-1"]
    assert found.by_batch_size.batch_size.tolist() == [1, 4, 1, 4]
    assert found.success.n_params.tolist() == [9, 17]
    assert set(found.causes.cause) == {"solved", *CAUSES}


# The problem and its variants


def test_a_variant_changes_one_factor():
    """Each variant of the whole study has the own level of every factor but one, and its rule."""
    problem = load_problem("xor")
    own = levels_of(problem, "sgd")
    found = variants(problem, "sgd")
    assert next(iter(found)) == "2-2-1"
    assert len(found) == 1 + sum(len(set(FACTORS[f]) - {own[f]}) for f in FACTORS)
    for variant in found.values():
        levels = levels_of(variant.problem, variant.rule)
        changed = {variant.factor: variant.level} if variant.factor else {}
        assert levels == own | changed


def test_variants_follow_the_options():
    """With tanh units as the problem's own ReLU is a variant, and all shapes have tanh."""
    problem = load_problem("xor")
    tanh = replace(problem, network=replace(problem.network, activation="tanh"))
    found = variants(tanh, "adam")
    assert found["2-2-1 relu"].factor == "activation"
    assert found["2-3-1"].problem.network.activation == "tanh"
    assert (found["2-3-1"].rule, found["2-2-1 sgd"].rule) == ("adam", "sgd")


def test_other_inputs_are_the_same_corners():
    """{-1, 1}: -1 in place of 0, the labels as they were."""
    coded = variants(load_problem("xor"), "sgd")["2-2-1 inputs {-1, 1}"].problem
    np.testing.assert_array_equal(coded.X_train, 2 * XOR.X_train - 1)
    np.testing.assert_array_equal(coded.y_train, XOR.y_train)


def test_the_solution_shown_is_one():
    """The weights that C6 shows have the logits it tells; scaled ones are learned XOR."""
    exact = np.array(SOLUTION)
    z, _ = forward(XOR.network, exact, XOR.X_train.astype(float))
    np.testing.assert_array_equal(z[-1].ravel(), [-0.5, 0.5, 0.5, -0.5])
    assert "b1 = (0, -1), W2 = (1, -2), b2 = -0.5" in solution_words()
    scaled = np.where(np.arange(9) < 6, exact, 10 * exact)
    scores = evaluate(XOR.network, scaled, XOR.X_train, XOR.y_train)
    assert scores["accuracy"] == 1.0
    assert scores["loss"] < 0.1


def test_training_stays_at_the_solution():
    """From the exact solution gradient descent goes on to a loss below 0.1: XOR is learned."""
    end = train(
        XOR.network, np.array(SOLUTION), XOR.X_train, XOR.y_train,
        batch_size="full", learning_rate=0.5, epochs=1000, checkpoints=(),
    )  # fmt: skip
    assert end.accuracy[-1] == 1.0
    assert end.loss[-1] < 0.1


# Training of variants


def small_training(folder, **changes):
    """A training of the XOR study with 16 networks a block and 100 updates, none of it done."""
    small = {"population": 16, "updates_budget": 100}
    problem = replace(load_problem("xor"), **small | changes)
    return Training(problem, "sgd", tuple(range(6)), (4,), Store(folder), Threads(2), Silent())


def test_failed_networks_are_trained_for_longer(tmp_path):
    """All networks that failed at a variant's best arm, and they alone, have ten times the time."""
    training = small_training(tmp_path, factors={"width": ("4",), "rule": ("momentum",)})
    training.run("rates given", {4: (0.5, 1.0)}, training.seeds)
    found = train_variants(training, (0.5, 1.0))
    success = population_tables(found.runs, {}).success.set_index("variant")
    longer = found.runs.longer.groupby("variant")[["n", "solved_longer"]].sum()
    failed = (success.n_runs * (1 - success.success)).round()
    assert longer.n.to_dict() == failed[failed > 0].to_dict()
    assert 0 < longer.solved_longer["2-2-1"] < longer.n["2-2-1"]
    again = [b for t in found.trainings for b in t.blocks if b.networks is not None]
    assert {block.epochs for block in again} == {1000}
    assert sum(block.n_networks for block in again) == longer.n.sum()
    assert success.rule["2-2-1 momentum"] == "momentum"


def test_rates_are_widened_where_most_learn_at_the_outermost(tmp_path):
    """With few updates only large rates learn: further ones are tried above, none below."""
    training = small_training(tmp_path, population=64, updates_budget=400)
    training.run("coarse rates", {4: plan.coarse_rates("sgd")[:8]}, training.tuning)
    widen_success(training, training.tuning)
    tried = training.tried(4)
    assert min(tried) == plan.coarse_rates("sgd")[0]
    assert max(tried) >= 8 * plan.coarse_rates("sgd")[7]


def test_failures_that_learn_are_counted_by_cause():
    """Two blocks: of three networks still falling two learn, of one that is dead none."""
    failed = pd.DataFrame({"seed": [1, 1, 2, 2], "network": [3, 5, 0, 3]})
    failed["cause"] = ["still falling", "dead", "still falling", "still falling"]
    ends = failed.assign(success=[True, False, False, True])[::-1].drop(columns="cause")
    rows = pd.DataFrame(longer_rows("2-2-1", count_longer("2-2-1", failed, ends)))
    rows = rows.set_index("cause")
    assert rows.n.to_dict() == {"any": 4, "dead": 1, "still falling": 3}
    assert rows.solved_longer.to_dict() == {"any": 2, "dead": 0, "still falling": 2}
    assert rows.low["any"] < 0.5 < rows.high["any"]


# What the report says of them


@pytest.fixture(scope="module")
def whole():
    """Synthetic evidence of the whole study."""
    return example_evidence("xor")


def test_every_factor_is_shown_beside_the_own_level(whole):
    """Each factor holds the network that nothing was changed in, and all levels in their order."""
    data = figures.xor_factors_data(whole)
    assert (data.groupby("factor").own.sum() == 1).all()
    assert data.level[data.factor == "width"].tolist() == ["2", "3", "4", "6", "8", "10"]
    assert data.level[data.factor == "depth"].tolist() == ["none", "2", "4"]
    assert (data.success[data.own] == whole.population.success.success[0]).all()


def test_rates_are_those_of_reporting_blocks(whole):
    """Shares by batch size and rate count the reporting blocks of the cell."""
    data = figures.xor_rates_data(whole).set_index(["variant", "batch_size", "learning_rate"])
    cell = whole.population.counts.query(
        "variant == '2-4-1' and batch_size == 2 and learning_rate == 0.5 and role == 'report'"
    )
    assert data.success["2-4-1", 2, 0.5] == cell.solved.sum() / cell.n.sum()


def test_longer_training_adds_those_that_learn_after_all(whole):
    """The share after ten times the training is the one before, and what was learned since."""
    data = figures.xor_longer_data(whole)
    row = data[(data.variant == "2-3-1") & (data.cause == "any")].iloc[0]
    assert row.after == pytest.approx(row.before + row.solved_longer / 512)
    assert "Trained 10 times as long" in figures.xor_longer_title(data)
    assert figures.xor_longer_data(example_evidence("notes")).empty


def test_the_answer_tells_a_student_what_is_missing(whole):
    """How often, why not, what longer training does, and what depth and width do, in words."""
    claims = [
        row | ({"verdict": "refuted"} if row["measure"] in ("helps", "depth against width") else {})
        for row in whole.claims
    ]
    told = terminal_summary(replace(whole, claims=claims))
    assert "The 2-2-1 network learns XOR from 62% [58%, 66%] of 512 starts" in told
    assert "Trained 10 times as long, 48 of the 194 that failed learn after all." in told
    assert "An extra layer of 2 units makes it worse (40%)" in told
    assert "8 units side by side learn from 99%: width is missing, not depth." in told
