"""Rounds of a study within a budget: a fixed sequence, of which time only decides the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import rounds as module
from bench.experiments import Threads, plan
from bench.experiments.progress import Silent
from bench.experiments.store import Store
from bench.problems import Problem, load_problem
from bench.rounds import BEHIND, Clock, Rounds
from bench.stages import Training, find_targets
from kernels import Network


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the blocks of all tests: what one has trained, the others find."""
    return tmp_path_factory.mktemp("out")


def training(out: Path, **changes: Any) -> Training:
    """Return the training of iris on small networks, with its targets found."""
    iris = load_problem("iris")
    problem = Problem(**{**vars_of(iris), "network": Network((4, 8, 3), "relu", "softmax", "ce")})
    options: dict[str, Any] = {
        "problem": problem,
        "rule": "sgd",
        "seeds": tuple(range(9)),
        "batch_sizes": problem.batch_sizes,
        "store": Store(out),
        "crew": Threads(2),
        "progress": Silent(),
        **changes,
    }
    made = Training(**options)
    find_targets(made, plan.coarse_rates("sgd"))
    return made


def vars_of(problem: Problem) -> dict[str, Any]:
    """Return the fields of a problem."""
    return {name: getattr(problem, name) for name in problem.__dataclass_fields__}


def test_the_first_look_is_that_of_tuning_seeds_at_every_other_batch_size(out: Path) -> None:
    """Coarse rates pick and report nothing: reporting seeds start with the finer rates."""
    mine = training(out)
    Rounds(mine, None, given_sizes=False).run(Clock(None), 1)
    coarse = [b for b in mine.blocks if b.learning_rates == plan.coarse_rates("sgd")]
    assert {b.seed for b in coarse} == {0, 3, 6}
    assert {b.batch_size for b in coarse} == {1, 4, 16, 120}
    assert {b.seed for b in mine.blocks} == set(range(9))


def test_one_round_is_the_beginning_of_two(out: Path) -> None:
    """A study with more rounds does what one with fewer does, and then more."""
    one, two = (training(out) for _ in range(2))
    Rounds(one, None, given_sizes=False).run(Clock(None), 1)
    Rounds(two, None, given_sizes=False).run(Clock(None), 2)
    assert two.blocks[: len(one.blocks)] == one.blocks
    assert len(two.blocks) > len(one.blocks)


def test_an_endless_budget_goes_through_all_rounds(out: Path) -> None:
    """Without a limit the last round leaves nothing of a complete study undone."""
    mine = training(out)
    found = Rounds(mine, None, given_sizes=False)
    assert found.run(Clock(None), None) == len(found.all) == 7
    tried = {(b.batch_size, b.seed) for b in mine.blocks}
    assert tried == {(b, s) for b in mine.batch_sizes for s in mine.seeds}


def test_a_budget_that_is_spent_ends_after_the_first_round(out: Path) -> None:
    """The first answer always comes; a second round that does not fit is not begun."""
    mine = training(out)
    assert Rounds(mine, None, given_sizes=False).run(Clock(1e-3), None) == 1


def test_time_left_out_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling, once on a machine, takes nothing from the budget."""
    now = iter([0.0, 50.0, 50.0])
    monkeypatch.setattr(module, "perf_counter", lambda: next(now))
    clock = Clock(60.0, _began=module.perf_counter())
    assert not clock.allows(10.0)
    clock.leave_out(45.0)
    assert clock.allows(10.0)


def test_given_batch_sizes_and_rates_are_not_extended(out: Path) -> None:
    """What the user gives is tried as it is: no batch size and no rate beside it."""
    mine = training(out, batch_sizes=(8, 32))
    Rounds(mine, (0.1, 0.2), given_sizes=True).run(Clock(None), None)
    assert {b.batch_size for b in mine.blocks} == {8, 32}
    assert {b.learning_rates for b in mine.blocks} == {(0.1, 0.2)}
    assert {b.seed for b in mine.blocks} == set(range(9))


def with_times(times: dict[int, float]) -> Rounds:
    """Return rounds whose tuning seeds found these times to the target."""

    class Known(Rounds):
        def __init__(self) -> None:
            self._behind = []

        def _times(self) -> pd.Series:
            return pd.Series(times)

    return Known()


def test_a_batch_size_stays_while_some_cost_of_an_update_favours_it() -> None:
    """Small ones stay for few examples, large ones for few updates; what loses both ways goes."""
    times = {1: 1000.0, 16: 1000.0, 64: 1.4 * 1000.0, 256: 3000.0, 1024: 9000.0, 8000: 80_000.0}
    kept = with_times(times).in_the_running()
    assert kept == [1, 16, 64, 256, 1024]
    # 8000: ten updates, as 1024 has nine, at nine times the examples
    assert 80_000 / 8000 > 9000 / 1024
    assert BEHIND == 1.5


def test_where_no_batch_size_reaches_the_target_all_stay() -> None:
    """Nothing is known against any of them."""
    assert with_times({1: np.inf, 8: np.inf}).in_the_running() == [1, 8]


def test_a_batch_size_that_misses_the_target_falls_behind_those_that_reach_it() -> None:
    """Not reached is infinitely far behind, and the reader is told."""
    found = with_times({1: 100.0, 8: np.inf})
    assert found.in_the_running() == [1]
    assert "batch size 8" in found.left_behind()


def test_the_work_of_the_last_round_is_foreseen(out: Path) -> None:
    """What it takes is told to a factor of 2 before it begins."""
    mine = training(out)
    found = Rounds(mine, None, given_sizes=False)
    found.run(Clock(None), 1)
    foreseen, before = found.complete_work(), len(mine.blocks)
    found.complete()
    work = sum(block.work(mine.problem) for block in mine.blocks[before:])
    assert work / 2 < foreseen < 2 * work
