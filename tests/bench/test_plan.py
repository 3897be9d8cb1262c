"""Lattices of rates, roles of seeds, budgets, and the hash of a block."""

import itertools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import kernels
from bench.experiments import plan
from bench.experiments.block import LANES, Block
from bench.problems import Problem, load_problem, with_options

IRIS = load_problem("iris")
BLOCK = Block("sgd", 4, (0.5, 1.0), seed=3, epochs=30)


def test_coarse_rates() -> None:
    """The coarse block is 2 ** (k / 2), k = -12..3, and for Adam k = -24..-9."""
    assert plan.coarse_rates("sgd") == pytest.approx([2 ** (k / 2) for k in range(-12, 4)])
    assert plan.coarse_rates("adam") == pytest.approx([2 ** (k / 2) for k in range(-24, -8)])


def test_fine_rates_surround_the_pick() -> None:
    """The fine block is pick x 2 ** (j / 8), j = -7..8."""
    pick = plan.coarse_rates("sgd")[5]
    assert plan.fine_rates(pick) == pytest.approx([pick * 2 ** (j / 8) for j in range(-7, 9)])


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_a_rate_in_two_lattices_is_one_float(rule: str) -> None:
    """Coarse, extended and fine rates that are equal in exact arithmetic are the same float."""
    coarse = plan.coarse_rates(rule)
    upper = plan.extend(coarse, "upper")
    for pick in coarse:
        near = {rate for rate in (*coarse, *upper) if 0.5 * pick < rate <= 2.0001 * pick}
        assert near <= set(plan.fine_rates(pick))
        assert 2 * pick in plan.fine_rates(pick)


def test_windows_extend_without_gap_or_overlap() -> None:
    """Two extensions on each side continue the lattice of half octaves, 16 rates at a time."""
    rates = list(plan.coarse_rates("sgd"))
    for side in ("lower", "upper", "lower", "upper"):
        added = plan.extend(rates, side)
        assert len(added) == LANES
        rates = sorted({*rates, *added})
    assert len(rates) == 5 * LANES
    assert [b / a for a, b in itertools.pairwise(rates)] == pytest.approx(
        [2**0.5] * (5 * LANES - 1)
    )


def test_every_third_seed_tunes() -> None:
    """Seed s tunes where s % 3 = 0: a third of 48, whatever the number of seeds."""
    assert [plan.role(seed) for seed in range(4)] == ["tune", "report", "report", "tune"]


@pytest.mark.parametrize(
    ("batch_size", "epochs"), [(1, 30), (8, 30), (16, 38), (60, 150), (120, 300)]
)
def test_budget_is_30_epochs_or_300_updates(batch_size: int, epochs: int) -> None:
    """Iris, 120 samples: 300 updates at batch size 16 are 37.5, so 38 epochs."""
    assert plan.budget_epochs(IRIS, batch_size) == epochs


@pytest.mark.parametrize(("batch_size", "epochs"), [(1, 2500), (2, 5000), (4, 10_000)])
def test_budget_of_the_notes_is_10_000_updates(batch_size: int, epochs: int) -> None:
    """XOR's budget is 10,000 updates at every batch size."""
    assert plan.budget_epochs(load_problem("notes"), batch_size) == epochs


def test_ragged_batches_count_as_updates() -> None:
    """1,437 samples in batches of 1,024 are two updates."""
    assert plan.updates_per_epoch(1437, 1024) == 2


def test_grid_cuts_rates_into_blocks_of_16() -> None:
    """Twenty rates and two seeds are four blocks, rates ascending."""
    blocks = plan.grid(IRIS, "sgd", 1, [2.0**-k for k in range(20)], range(2))
    assert [len(block.learning_rates) for block in blocks] == [16, 4, 16, 4]
    assert [block.seed for block in blocks] == [0, 0, 1, 1]
    assert blocks[0].learning_rates[0] == 2.0**-19


def test_pilot() -> None:
    """The pilot is 8 epochs at batch size 32 from 16 seeds of its own."""
    blocks = plan.pilot(IRIS, "sgd", plan.coarse_rates("sgd"))
    assert {block.seed for block in blocks} == set(range(1_000_000, 1_000_016))
    assert {(b.batch_size, b.epochs, b.checkpoints) for b in blocks} == {(32, 8, (240, 480, 960))}


@pytest.mark.parametrize(
    "other",
    [
        replace(BLOCK, rule="adam"),
        replace(BLOCK, batch_size=8),
        replace(BLOCK, learning_rates=(0.5, 1.0000000000000002)),
        replace(BLOCK, seed=4),
        replace(BLOCK, epochs=31),
        replace(BLOCK, population=2),
        replace(BLOCK, checkpoints=()),
    ],
)
def test_key_depends_on_all_that_determines_a_block(other: Block) -> None:
    """Any change of a block's fields changes its key, an ulp of a rate included."""
    assert other.key(IRIS) != BLOCK.key(IRIS)


def test_key_depends_on_the_problem() -> None:
    """Another network, scheme or data set gives another key."""
    problems = (
        IRIS,
        with_options(IRIS, (8,)),
        with_options(IRIS, activation="tanh"),
        replace(IRIS, scheme="uniform_fan_in"),
        replace(IRIS, X_train=IRIS.X_train + 1),
    )
    assert len({BLOCK.key(problem) for problem in problems}) == len(problems)


@pytest.mark.parametrize("name", ["KERNEL_HASH", "INSTRUCTION_SET"])
def test_key_depends_on_the_kernels(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An edit of the kernels or another instruction set gives another key."""
    before = BLOCK.key(IRIS)
    monkeypatch.setattr(kernels, name, "another")
    assert BLOCK.key(IRIS) != before


def test_key_ignores_words() -> None:
    """Names and titles are no part of a block's key."""
    assert BLOCK.key(replace(IRIS, name="flowers", title="Flowers")) == BLOCK.key(IRIS)


def large(n_train: int) -> Problem:
    """Return a problem of so many samples that its runs are limited."""
    digits = load_problem("digits")
    rows = np.zeros((n_train, 64), np.float32)
    return replace(digits, X_train=rows, y_train=np.zeros(n_train, np.int64), examples_budget=2**20)


def test_a_budget_of_examples_ends_at_a_whole_epoch() -> None:
    """A run on 800,000 samples has two epochs, one on 10,000 its thirty or 105."""
    assert plan.budget_epochs(large(800_000), 32) == 2
    assert plan.budget_epochs(large(10_000), 32) == 30
    assert plan.budget_epochs(large(10_000), 10_000) == 105


def test_batch_sizes_that_the_budget_cannot_serve_are_no_arms() -> None:
    """100 updates must fit: 8,192 of 800,000 samples is the largest, full batch is none."""
    assert large(800_000).batch_sizes[-1] == 8192
    assert large(10_000).batch_sizes[-1] == 10_000


def test_a_pilot_of_many_samples_is_a_quarter_of_the_budget() -> None:
    """Targets of large data are met within an epoch, and so are looked for there."""
    assert plan.pilot_points(large(800_000)) == (2**16, 2**17, 2**18)
    assert plan.pilot_points(large(1000)) == (2000, 4000, 8000)


def test_evaluations_begin_at_a_32nd_of_the_pilot() -> None:
    """Steps of at most 1.15 from there; the standard grid where the pilot has its 8 epochs."""
    points = plan.evaluation_points(large(800_000), 2)
    assert points is not None
    assert points[0] == 2**13
    assert max(b / a for a, b in pairwise([*points, 1_600_000])) < 1.16
    assert plan.evaluation_points(large(10_000), 30) is None


def test_many_samples_are_scored_on_a_fixed_part_of_them() -> None:
    """25,000 of more than 50,000 give the training loss; fewer all do."""
    assert len(large(50_001).scored[0]) == 25_000
    assert len(large(50_000).scored[0]) == 50_000
