"""What recommended choices give: times of runs, and held-out scores, on curves of known answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.analysis import choices
from bench.analysis.arms import Arm
from bench.analysis.choices import HeldOutCurves, Kind
from bench.experiments.block import Block, BlockResult
from bench.problems import load_problem

EXAMPLES = np.array([0, 100, 200, 300])
ACCURACY = Kind("accuracy", "", 1.0, 0.5, True)
ERROR = Kind("rmse", "kg", 2.0, 1.0, False)


def test_the_best_score_is_where_the_median_over_runs_is_best() -> None:
    """One lucky run does not make a place the best."""
    scores = np.array([[0.5, 0.8, 0.7, 0.6], [0.5, 0.8, 0.7, 0.6], [0.5, 0.6, 0.9, 0.6]])
    found = choices._scores(EXAMPLES, np.array([150.0, 150.0, 150.0]), scores, ACCURACY)
    assert found["best_examples"] == 100
    assert found["best"] == pytest.approx(0.8)
    assert found["at_target"] == pytest.approx(0.7)  # at the first evaluation behind the hit
    assert not found["still_improving"]


def test_an_error_is_best_where_it_is_least_and_told_in_its_own_unit() -> None:
    """Of a regression smaller is better; the scale is the target's deviation."""
    scores = np.tile([1.0, 0.6, 0.5, 0.4], (7, 1))
    found = choices._scores(EXAMPLES, np.full(7, 200.0), scores, ERROR)
    assert (found["best"], found["best_examples"]) == (pytest.approx(0.8), 300)
    assert found["at_target"] == pytest.approx(1.0)
    assert found["still_improving"]
    assert found["unit"] == "kg"


@pytest.mark.parametrize(("kind", "best"), [(ACCURACY, 0.6), (ERROR, 1.2)])
def test_a_diverged_run_is_worse_than_any_other(kind: Kind, best: float) -> None:
    """Its missing scores neither hide the others' best place nor count as good ones."""
    scores = np.array([[0.9, np.nan, np.nan, np.nan], *[[0.9, 0.6, 0.6, 0.6]] * 2])
    if kind is ACCURACY:
        scores[:, 0] = 0.3
    found = choices._scores(EXAMPLES, np.array([np.inf, 100.0, 100.0]), scores, kind)
    assert found["best_examples"] == 100
    assert found["best"] == pytest.approx(best)


def test_a_target_that_no_run_reaches_has_no_score() -> None:
    """Not reached is no number."""
    found = choices._scores(EXAMPLES, np.full(3, np.inf), np.full((3, 4), 0.5), ACCURACY)
    assert np.isnan(found["at_target"])


def test_nine_of_ten_runs_are_there_by_the_ninth_time() -> None:
    """An observed time; infinite where more than one of ten never get there."""
    hits = np.arange(1.0, 11.0)
    assert choices._times(hits)["examples_q90"] == 9.0
    hits[8:] = np.inf
    assert np.isinf(choices._times(hits)["examples_q90"])


def test_balanced_accuracy_counts_each_class_alike() -> None:
    """A network that always says the common class of two is right for half of the classes."""
    cancer = load_problem("breast_cancer")
    always_one = np.zeros(cancer.network.n_params, np.float32)
    always_one[-1] = 5.0  # the output's bias
    assert list(choices._balanced(cancer, always_one[None])) == [0.5]


def test_classes_are_imbalanced_from_three_to_one() -> None:
    """Iris' fifty of each are not; one class in four is."""
    iris = load_problem("iris")
    assert not choices._imbalanced(iris)
    y = np.where(np.arange(iris.n_train) % 4 == 0, 1, 0)
    assert choices._imbalanced(replace(iris, y_train=y, class_names=("a", "b")))


def test_curves_are_those_of_the_arms_by_role() -> None:
    """A rate that stands in two blocks of a seed counts once; tuning runs are kept apart."""
    shape = (1, 2, 2)
    score = np.array([[[0.1, 0.2], [0.3, 0.4]]])
    flags = np.zeros(shape[:2], bool)
    result = BlockResult(
        np.array([0, 8]), np.array([0, 1]), *[np.zeros(shape)] * 3, score, *[flags] * 3
    )
    curves = HeldOutCurves([Arm(8, 0.5)])
    for seed in (0, 1, 1, 2):
        curves.add(Block("sgd", 8, (0.25, 0.5), seed, 1), result)
    seeds, scores = curves.of(Arm(8, 0.5))
    assert seeds.tolist() == [1, 2]
    assert scores.tolist() == [[0.3, 0.4], [0.3, 0.4]]
    assert curves.of(Arm(8, 0.5), "tune")[0].tolist() == [0]
