"""Success and causes of failure of XOR populations, from planted counts."""

import numpy as np
import pandas as pd
import pytest
from example_evidence import synthetic_outcomes

from bench.analysis.arms import Arm
from bench.analysis.outcomes import CAUSES
from bench.analysis.xor import (
    VariantRuns,
    best_arm,
    cause_rows,
    count_outcomes,
    example_networks,
    population_tables,
    reporting,
    success_row,
)
from bench.experiments import Block, BlockResult, role
from bench.problems import load_problem
from bench.problems.xor import SOLUTION, Variant, variants

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
