"""Steps in noisy series: found where they are, none in noise and none in a drift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.analysis import change_points as module
from bench.analysis.change_points import (
    Step,
    change_points,
    judge_newest,
    seeded_intervals,
    segments,
    without_outliers,
)

N = 30
TIME = np.linspace(0.0, 1.0, N)
Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator], Floats]


def chain(rng: np.random.Generator, correlation: float) -> Floats:
    """Noise of which each point holds a share of the one before it."""
    noise = rng.standard_normal(N + 20)
    for i in range(1, len(noise)):
        noise[i] += correlation * noise[i - 1]
    return noise[20:]


NOISES: dict[str, Noise] = {
    "normal": lambda rng: rng.standard_normal(N),
    "heavy tails": lambda rng: rng.standard_t(3, N),
    "outliers": lambda rng: rng.standard_cauchy(N),
    "neighbours alike": lambda rng: chain(rng, 0.3),
}
DRIFTS: dict[str, Noise] = {
    "slope": lambda rng: 5 * TIME + rng.standard_normal(N),
    "steep slope": lambda rng: 50 * TIME + rng.standard_normal(N),
    "cosine": lambda rng: 6 * np.cos(2 * np.pi * (TIME + rng.random())) + rng.standard_normal(N),
    "large cosine": lambda rng: 60 * np.cos(np.pi * TIME) + rng.standard_normal(N),
}


@pytest.mark.parametrize("kind", [*NOISES, *DRIFTS])
def test_noise_and_drifts_have_no_steps(kind: str) -> None:
    """Of 60 series each at most 3 show a step, 1 in 20."""
    rng = np.random.default_rng(0)
    draw = (NOISES | DRIFTS)[kind]
    assert sum(bool(change_points(draw(rng))) for _ in range(60)) <= 3


@pytest.mark.parametrize(("noise", "off"), [("normal", 0), ("heavy tails", 1)])
@pytest.mark.parametrize("places", [(10,), (20,), (10, 20), (27,)])
def test_steps_are_found_where_they_are(places: tuple[int, ...], noise: str, off: int) -> None:
    """Steps of 20 sigma, up and down, and no other; with heavy tails one point off at most."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        values = NOISES[noise](rng)
        for number, place in enumerate(places):
            values[place:] += 20 * (-1) ** number
        steps = change_points(values)
        assert [step.start for step in steps] == pytest.approx(list(places), abs=off)
        for number, step in enumerate(steps):
            assert step.size == pytest.approx(20 * (-1) ** number, abs=2)


def test_a_step_of_five_sigma_is_found_after_ten_points() -> None:
    """After 20 points of a level, in 18 of 20 series and more."""
    rng = np.random.default_rng(2)
    steps = [change_points(rng.standard_normal(N) + 5 * (np.arange(N) >= 20)) for _ in range(20)]
    assert sum(len(one) == 1 and abs(one[0].start - 20) <= 1 for one in steps) >= 18


def test_a_step_on_a_slope_is_found() -> None:
    """What rises by 30 sigma at once, on a slope of 5, is a step."""
    values = np.random.default_rng(3).standard_normal(N) + 5 * TIME + 30 * (np.arange(N) >= 15)
    assert [step.start for step in change_points(values)] == [15]


def test_values_without_noise_have_their_steps() -> None:
    """Numbers that only the code changes are equal but for the step."""
    assert change_points(np.full(N, 0.7)) == []
    (step,) = change_points(np.repeat([0.3, 0.4], 8))
    assert step.start == 8
    assert step.size == pytest.approx(0.1)


def test_small_steps_can_be_left_out() -> None:
    """A step below `least` is none, however clear."""
    values = np.repeat([0.0, 1.0, 1.1], 10)
    assert [step.start for step in change_points(values)] == [10, 20]
    assert [step.start for step in change_points(values, least=0.5)] == [10]


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_few_points_have_no_steps(n: int) -> None:
    """Fewer than 8 points tell nothing."""
    assert change_points(np.arange(n) * 100.0) == []


def test_the_sign_does_not_matter() -> None:
    """The steps of the negative series are the same, turned round."""
    values = np.random.default_rng(4).standard_normal(N) + 9 * (np.arange(N) >= 12)
    up, down = change_points(values), change_points(-values)
    assert [(step.start, step.size) for step in up] == [(step.start, -step.size) for step in down]


def test_outliers_are_pulled_and_steps_are_not() -> None:
    """One far point comes back to its neighbours; the edge of a step stays."""
    values = np.array([0.0, 1, 0, 1, 0, 90, 1, 0, 50, 51, 50, 51, 50])
    pulled = without_outliers(values)
    assert pulled[5] < 5
    assert np.delete(pulled, 5).tolist() == np.delete(values, 5).tolist()


def test_intervals_cover_the_series_at_all_scales() -> None:
    """The whole series is one, the shortest have 8 points, and each place lies well inside some."""
    intervals = seeded_intervals(50)
    assert (0, 50) in intervals
    lengths = {stop - start for start, stop in intervals}
    assert min(lengths) in (8, 9, 10)
    for place in range(3, 48):
        assert any(start + 3 <= place <= stop - 3 for start, stop in intervals)


def test_segments_lie_between_the_steps() -> None:
    """They cover all points once."""
    steps = change_points(np.repeat([0.0, 1.0, 0.0], 10))
    assert segments(30, steps) == [(0, 10), (10, 20), (20, 30)]


def newest(values: Floats, half: float = 0.3, tests: int = 50) -> str:
    """What the last value is found to be, among so many series."""
    return judge_newest(values, values[-1] - half, values[-1] + half, tests=tests).found


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "slope"])
def test_the_newest_of_noise_is_no_change(kind: str) -> None:
    """Of 100 series, judged as 50 together, at most 1 ends with a change."""
    rng = np.random.default_rng(5)
    draw = (NOISES | DRIFTS)[kind]
    assert sum(newest(draw(rng)) != "no change" for _ in range(100)) <= 1


@pytest.mark.parametrize(
    ("rise", "found"), [(30.0, "higher"), (-30.0, "lower"), (2.0, "no change")]
)
def test_a_large_change_is_told_at_once(rise: float, found: str) -> None:
    """The newest alone, 30 sigma from its level, is a change; 2 sigma are not."""
    values = np.random.default_rng(6).standard_normal(N)
    values[-1] = rise
    assert newest(values) == found


def test_a_wide_interval_of_its_own_is_no_change() -> None:
    """A newest point whose own interval reaches down to the level tells nothing."""
    values = np.random.default_rng(6).standard_normal(N)
    values[-1] = 30.0
    assert newest(values, half=29.0) == "no change"


def test_a_smaller_step_is_told_once_and_then_is_the_level() -> None:
    """A step of 8 sigma is told by the run that makes it visible, and no more after that."""
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.standard_normal(20), 8 + rng.standard_normal(14)])
    found = [newest(values[:stop]) for stop in range(20, len(values) + 1)]
    assert found.count("higher") == 1
    assert set(found[found.index("higher") + 6 :]) == {"no change"}


def test_a_step_that_is_lost_between_is_told_once() -> None:
    """Steps of 5 sigma: one run sees one of these, the next loses it, a later one sees it again."""
    for noise in np.random.default_rng(9).standard_normal((24, 34))[18:]:
        values = noise + 5 * (np.arange(34) >= 20)
        found = [newest(values[:stop], tests=60) for stop in range(21, 35)]
        assert found.count("higher") <= 1


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        ({29: [(20, 1)]}, [(20, 1)], "no change"),
        ({29: [(17, 1)]}, [(20, 1)], "no change"),  # its place moved
        ({29: [(16, 1)]}, [(20, 1)], "higher"),  # too far to be the same
        ({29: [(21, 1)]}, [(20, -1)], "lower"),  # another direction
        ({28: [(21, 1)]}, [(20, 1)], "no change"),  # lost in between
        ({29: [(20, 1)]}, [(20, 1), (23, 1)], "higher"),  # the second of a stair
        ({}, [(20, 1)], "higher"),
    ],
)
def test_a_step_is_new_where_no_point_before_showed_it(
    monkeypatch: pytest.MonkeyPatch,
    before: dict[int, list[tuple[int, float]]],
    now: list[tuple[int, float]],
    found: str,
) -> None:
    """The same direction, 3 points off at most, and no other step closer: the same step."""
    shown = before | {30: now}

    def planted(values: Floats, *_: float) -> list[Step]:
        return [Step(place, size, 1e-9) for place, size in shown.get(len(values), [])]

    monkeypatch.setattr(module, "change_points", planted)
    assert newest(np.zeros(30)) == found


def test_many_series_have_no_false_step_together() -> None:
    """Neighbours that correlate by 0.5: with 60 series judged together none of 60 shows a step."""
    rng = np.random.default_rng(11)
    assert not any(change_points(chain(rng, 0.5), together=60) for _ in range(60))


def test_too_few_points_before_it_are_told() -> None:
    """Seven points are no level, eight are."""
    values = np.random.default_rng(8).standard_normal(9)
    assert newest(values[:1]) == newest(values[:8]) == "too few points"
    assert newest(values) == "no change"
