"""Revisions side by side: verdicts on simulated times, sides that crash or lack something."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.compare import judge as judging
from bench.compare.judge import LEVEL, LOOKS, Effect, effects, judge, looks, middle, verdict_of

PAIRS, BLOCKS = 8, 20


def simulated(
    rng: np.random.Generator, ratio: float = 1.0, pairs: int = PAIRS, blocks: int = BLOCKS
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Seconds of both sides on a machine that jumps: processes differ by 1%, blocks by 8%."""
    base, head = [], []
    for _ in range(pairs):
        speed = np.exp(0.3 * (rng.random(blocks) < 0.3))
        noise = rng.standard_t(3, (2, blocks)) * 0.05
        own = rng.normal(0, 0.01)
        base.append(1e-3 * speed * np.exp(noise[0]))
        head.append(1e-3 * speed * np.exp(noise[1]) * ratio * math.exp(own))
    return base, head


def judged(rng: np.random.Generator, ratio: float = 1.0, pairs: int = PAIRS) -> judging.Row:
    """The verdict on one of two benchmarks, at a last look."""
    base, head = simulated(rng, ratio, pairs)
    return judge("x", base, head, tolerance=0.01, level=LEVEL, family=2)


def test_intervals_hold_the_true_ratio() -> None:
    """Of 200 simulated comparisons with 8 pairs of processes, 95% intervals miss few."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(200):
        base, head = simulated(rng, 1.03)
        logs = [np.log(h / b) for b, h in zip(base, head, strict=True)]
        (effect,) = effects(logs, [LEVEL])
        missed += not effect.low <= 1.03 <= effect.high
    assert missed <= 17  # P(more | 5%) = .99


def test_equal_sides_raise_no_alarm() -> None:
    """Of 100 comparisons of a side with itself none says slower or faster."""
    rng = np.random.default_rng(2)
    verdicts = [judged(rng).verdict for _ in range(100)]
    assert not {"slower", "faster"} & set(verdicts)


def test_a_slowdown_of_10_percent_is_seen_and_2_percent_is_not_made_up() -> None:
    """A tenth is found nearly always; what lies near the tolerance is left open."""
    rng = np.random.default_rng(3)
    assert sum(judged(rng, 1.10).verdict == "slower" for _ in range(40)) >= 38
    assert sum(judged(rng, 1.01).verdict == "slower" for _ in range(40)) <= 2


def test_the_smallest_visible_slowdown_is_seen_as_often_as_said() -> None:
    """At the slowdown that a table calls visible, about 80% of comparisons say slower."""
    rng = np.random.default_rng(4)
    visible = float(np.median([judged(rng).visible for _ in range(30)]))
    found = sum(judged(rng, visible).verdict == "slower" for _ in range(60))
    assert 38 <= found <= 58


def test_looks_spend_what_one_may_spend() -> None:
    """All looks together err 5% at most; the first spends little; few pairs are not looked at."""
    planned = looks(12)
    assert list(planned) == [6, 9, 12]
    assert sum(planned.values()) == pytest.approx(LEVEL)
    assert planned[6] < planned[9] < planned[12]
    assert list(looks(5)) == [3, 4, 5]
    assert list(looks(3)) == [3]
    assert len(LOOKS) == 3


def test_a_pair_with_many_blocks_weighs_no_more() -> None:
    """The middle is that of processes: 90 blocks of one are as one of another."""
    assert middle([np.array([0.0]), np.full(90, 1.0), np.array([2.0])]) == 1.0
    assert middle([np.array([0.0, 1.0]), np.array([2.0, 3.0])]) == 1.5


def test_one_process_of_its_own_speed_moves_little() -> None:
    """One pair in twelve that is off by 20% makes no verdict; it would move a mean by 1.5%."""
    rng = np.random.default_rng(5)
    base, head = simulated(rng, pairs=12)
    head[0] = head[0] * 1.2
    row = judge("x", base, head, tolerance=0.01, level=LEVEL, family=2)
    assert row.verdict in ("same", "cannot tell")
    assert row.effect.value == pytest.approx(1.0, abs=0.01)


def test_few_processes_tell_nothing() -> None:
    """Two pairs give a ratio without an interval: no verdict, however far apart they are."""
    base, head = simulated(np.random.default_rng(6), 2.0, pairs=2)
    row = judge("x", base, head, tolerance=0.01, level=LEVEL, family=1)
    assert row.verdict == "cannot tell"
    assert (row.effect.low, row.effect.high, row.visible) == (0.0, math.inf, math.inf)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.011, 1.2, "slower"),
        (1.009, 1.2, "cannot tell"),
        (0.9, 0.98, "faster"),
        (0.9, 0.995, "cannot tell"),
        (0.995, 1.009, "same"),
        (1.002, 1.008, "same"),
        (0.98, 1.02, "same"),
        (0.96, 1.02, "cannot tell"),
        (1.002, 1.02, "cannot tell"),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, verdict: str) -> None:
    """Beyond the tolerance of 1%: slower or faster; inside, or around 1 within 3%: the same."""
    assert verdict_of(Effect(math.sqrt(low * high), low, high, 0.01), 0.01) == verdict


def test_a_larger_family_is_more_careful() -> None:
    """The interval that holds with all others is wider than the one that holds alone."""
    base, head = simulated(np.random.default_rng(7))
    few, many = (
        judge("x", base, head, tolerance=0.01, level=LEVEL, family=family) for family in (1, 12)
    )
    assert many.effect.low < few.effect.low < few.effect.value
    assert (many.alone, many.effect.value) == (few.alone, few.effect.value)
