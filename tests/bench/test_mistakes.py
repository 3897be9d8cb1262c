"""The study of mistakes in averaging a batch: identities, training, statistics, files."""

from __future__ import annotations

import json
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import kernels
from bench import mistakes as study_module
from bench.analysis.arms import Arm
from bench.analysis.intervals import proportion_interval
from bench.analysis.mistakes import directions, mistake_arms, onset
from bench.cli import run
from bench.errors import InputError
from bench.experiments import Threads
from bench.experiments import mistakes as training
from bench.experiments.mistakes import (
    ERROR,
    GRADIENTS,
    LEFTOVER,
    MEANS,
    RIGHT,
    SUM,
    Task,
    Trained,
    micro_batches,
    run_tasks,
)
from bench.experiments.progress import Silent
from bench.experiments.store import Store
from bench.mistakes import MistakesStudy, Trainings, prepare
from bench.options import Options
from bench.problems import Problem, load_problem
from bench.report.figures.mistakes import mistakes_title
from bench.study import dry_run, load, study
from bench.walk import XOR_X, XOR_Y, averaged_error_gradient
from kernels import Network
from kernels.reference import averaged_gradient_reference
from tests.recompute import untraced

Floats = NDArray[np.float64]

NETWORKS = [
    Network((3, 4, 5, 2), "relu", "softmax", "ce"),
    Network((3, 4, 1), "tanh", "sigmoid", "bce"),
    Network((3, 4, 1), "leaky_relu", "sigmoid", "half_mse"),
    Network((3, 4, 2), "relu", "linear", "half_mse"),
]


def batch(network: Network, n: int) -> tuple[Floats, Floats, Floats]:
    """Parameters of two runs, and a batch of its own for each."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2, n, network.n_inputs))
    k = network.n_outputs
    if network.output == "softmax":
        targets = np.eye(k)[rng.integers(0, k, (2, n))]
    else:
        targets = rng.integers(0, 2, (2, n, k)).astype(float)
    return kernels.init_params(network, 0, size=2), X, targets


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_right_update_is_the_averaged_gradient(network: Network) -> None:
    """Without a mistake the update is the mean of the samples' gradients (B5)."""
    params, X, targets = batch(network, 7)
    found = GRADIENTS[RIGHT](network, params, X, targets)
    for i in (0, 1):
        expected = averaged_gradient_reference(network, params[i], X[i], targets[i])
        np.testing.assert_allclose(found[i], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_sum_is_the_mean_times_the_size_of_the_batch(network: Network) -> None:
    """Summed gradients of 7 samples are 7 times the averaged one."""
    given = batch(network, 7)
    summed, right = (GRADIENTS[name](network, *given) for name in (SUM, RIGHT))
    np.testing.assert_allclose(summed, 7 * right, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mistake", [SUM, ERROR, MEANS, LEFTOVER])
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_one_sample_leaves_nothing_to_average(network: Network, mistake: str) -> None:
    """At batch size 1 every mistake gives the right update."""
    given = batch(network, 1)
    wrong, right = (GRADIENTS[name](network, *given) for name in (mistake, RIGHT))
    np.testing.assert_allclose(wrong, right, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", ["bce", "half_mse"])
def test_averaged_error_is_that_of_the_walk(loss: str) -> None:
    """On XOR the averaged error's update is what `batchbench walk` shows."""
    network = Network((2, 2, 1), loss=loss)
    for seed in range(5):
        params = kernels.init_params(network, seed)
        y = np.array(XOR_Y, float)
        found = GRADIENTS[ERROR](network, params[None], XOR_X[None], y.reshape(1, 4, 1))
        expected = averaged_error_gradient(network, params, XOR_X, y)
        np.testing.assert_allclose(found[0], expected, rtol=1e-12, atol=1e-16)


def test_averaged_error_is_exactly_zero_where_every_answer_is_one_half() -> None:
    """On XOR with y_hat = 1/2 everywhere averaged errors learn nothing, averaged gradients do."""
    network = Network((2, 2, 1))
    params = np.array([[1.0, 1.0, 1.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0]])
    given = params, XOR_X[None], np.array(XOR_Y, float).reshape(1, 4, 1)
    assert (GRADIENTS[ERROR](network, *given) == 0).all()
    assert np.abs(GRADIENTS[RIGHT](network, *given)).max() == pytest.approx(0.125)


def test_means_of_equal_parts_are_the_mean() -> None:
    """Micro-batches of one size weigh every sample alike, those of 5 and 3 do not."""
    np.testing.assert_allclose(micro_batches(3, 3), np.full(6, 1 / 6))
    np.testing.assert_allclose(micro_batches(5, 3), [1 / 10] * 5 + [1 / 6] * 3)


def test_one_left_over_makes_a_batch_worth_four() -> None:
    """With one sample left over the weights' effective number, 1 / sum of squares, is near 4."""
    weights = micro_batches(454, 1)
    assert weights.sum() == pytest.approx(1.0)
    assert 1 / (weights**2).sum() == pytest.approx(4 * 454 / 455)


@pytest.fixture(scope="module")
def iris() -> Problem:
    """A small problem: 120 samples."""
    return load_problem("iris")


def short_task(mistake: str, size: int, rates: tuple[float, ...], n: int = 120) -> Task:
    """Two seeds for three passes."""
    points = tuple(kernels.checkpoint_grid(n, 3 * n).tolist())
    return Task(mistake, size, (4, 7), rates, 3, points)


def kernel_runs(problem: Problem, task: Task, factor: float = 1.0) -> tuple[Floats, Floats]:
    """The same runs by the kernels in float64: losses and accuracies (seeds, rates, C)."""
    results = [
        kernels.train(
            problem.network,
            kernels.init_params(problem.network, seed),
            problem.X_train,
            problem.y_train,
            batch_size=task.batch_size,
            learning_rate=factor * np.array(task.learning_rates),
            epochs=task.epochs,
            seed=seed,
        )
        for seed in task.seeds
    ]
    return np.stack([r.loss for r in results]), np.stack([r.accuracy for r in results])


@pytest.mark.parametrize(
    ("name", "size"), [("iris", 1), ("iris", 16), ("iris", 120), ("notes", 3), ("notes", 4)]
)
def test_right_update_trains_as_the_kernels_do(name: str, size: int) -> None:
    """The same seeds, orders, batches and evaluations as in every study give the same runs."""
    problem = load_problem(name)
    task = short_task(RIGHT, size, (0.05, 0.2), problem.n_train)
    found = training.train(problem, task)
    loss, accuracy = kernel_runs(problem, task)
    np.testing.assert_allclose(found.loss, loss, rtol=1e-9)
    np.testing.assert_allclose(found.score, accuracy, rtol=1e-12)


def test_sum_trains_as_the_mean_at_the_rate_times_the_batch(iris: Problem) -> None:
    """(sum, eta) and (mean, 8 eta) are the same training where 8 divides the samples."""
    task = short_task(SUM, 8, (0.01, 0.02))
    found = training.train(iris, task)
    np.testing.assert_allclose(found.loss, kernel_runs(iris, task, factor=8.0)[0], rtol=1e-9)


def test_diverged_runs_leave_the_others_alone(iris: Problem) -> None:
    """A run beside one that diverges has the losses that it has alone, and is not diverged."""
    both = training.train(iris, short_task(SUM, 16, (0.005, 50.0)))
    alone = training.train(iris, short_task(SUM, 16, (0.005,)))
    np.testing.assert_allclose(both.loss[:, 0], alone.loss[:, 0], rtol=1e-12)
    assert both.diverged.tolist() == [[False, True], [False, True]]
    assert np.isnan(both.loss[:, 1, -1]).all()


def test_all_diverged_runs_keep_their_budget(iris: Problem) -> None:
    """Evaluations go on to the end of the budget, as NaN, where no run is left to train."""
    task = short_task(SUM, 16, (50.0,))
    found = training.train(iris, task)
    assert found.diverged.all()
    assert found.examples[-1] == 360
    assert found.loss.shape == (2, 1, len(found.examples))


def test_tasks_are_trained_once(
    iris: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored task is read, not trained again, and is the same."""
    task, store = short_task(ERROR, 16, (0.1, 0.2)), Store(tmp_path)
    first = run_tasks(iris, [task], store, Threads(2), Silent(), "first")[0]
    monkeypatch.setattr(training, "train", None)
    again = run_tasks(iris, [task], store, Threads(2), Silent(), "again")[0]
    np.testing.assert_array_equal(first.loss, again.loss)


def test_damaged_result_is_told_and_trained_again(iris: Problem, tmp_path: Path) -> None:
    """A file cut short costs its training alone, and the study tells of it."""
    task, store = short_task(ERROR, 16, (0.1,)), Store(tmp_path)
    first = run_tasks(iris, [task], store, Threads(1), Silent(), "first")[0]
    path = store.path(task.key(iris))
    path.write_bytes(path.read_bytes()[:100])
    again = run_tasks(iris, [task], store, Threads(1), Silent(), "again")[0]
    np.testing.assert_array_equal(first.loss, again.loss)
    assert [path.name in warning for warning in store.warnings] == [True]


def test_interrupt_ends_training(
    iris: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while tasks are trained is an interruption, and not an error of the workers."""
    begun: list[Task] = []

    def interrupted(problem: Problem, task: Task) -> Trained:
        begun.append(task)
        if len(begun) == 1:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.3)
        return trained(problem, task)

    trained = training.train
    monkeypatch.setattr(training, "train", interrupted)
    tasks = [short_task(RIGHT, size, (0.1,)) for size in (1, 2, 4, 8, 16, 32)]
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_tasks(iris, tasks, store, Threads(1), Silent(), "interrupted")
    assert len(begun) == len(list(store.root.rglob("*.npz"))) < len(tasks)


def test_onset_is_where_all_larger_batches_diverge_too() -> None:
    """A lone bad batch size among good ones is no onset; bounds move it both ways."""
    shares = [proportion_interval(k, 32) for k in (0, 20, 3, 14, 27, 32)]
    assert onset([1, 2, 4, 8, 16, 32], shares) == (16.0, 8.0, 16.0)
    assert onset([1, 2], [proportion_interval(0, 32)] * 2) == (np.inf, np.inf, np.inf)


def test_arms_at_batch_size_1_are_the_right_update() -> None:
    """At batch size 1 nothing is trained for a mistake: the right update's runs stand for it."""
    arms = mistake_arms({1: 0.1, 8: 0.5}, {8: 0.25}, (1, 8))
    assert set(arms.trained[arms.batch_size == 1]) == {RIGHT}
    tuned = arms[(arms.mistake == ERROR) & (arms.protocol == "tuned")]
    assert tuned.learning_rate.tolist() == [0.1, 0.25]


def test_directions_of_identities(iris: Problem) -> None:
    """The sum points where the mean does and is 8 times as long; averaged errors point elsewhere.

    And all but the sum are shorter than that.
    """
    rows = directions(iris, Arm(32, 0.1), (1, 2, 4), (8,)).set_index("mistake")
    assert rows.cosine[SUM] == pytest.approx(1.0)
    assert rows.length[SUM] == pytest.approx(8.0)
    assert rows.difference[SUM] == pytest.approx(7.0)
    assert rows.cosine[ERROR] < 0.9
    assert 0 < rows.difference[MEANS] < rows.difference[LEFTOVER] < 7.0


@pytest.mark.parametrize(
    ("options", "named"),
    [({"rule": "adam"}, "rule"), ({"target": "y"}, "target"), ({"batch_sizes": [1]}, "averaged")],
)
def test_options_without_meaning_are_refused(options: dict[str, object], named: str) -> None:
    """An option that the study does not take is named."""
    with pytest.raises(InputError, match=named):
        study("mistakes", progress=Silent(), **options)


def test_refusal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The command refuses with exit code 2 and one line."""
    assert run(["study", "mistakes", "--hidden", "8"]) == 2
    assert re.fullmatch(r"batchbench: hidden is no option of [^\n]*\n", capsys.readouterr().err)


def test_dry_run_tells_the_plan() -> None:
    """What will be trained and for how long is told, nothing is written."""
    text = dry_run("mistakes", seeds=6, batch_sizes=[1, 64], workers=2)
    assert "Breast cancer" in text
    assert "batch sizes: 1, 64; seeds: 6" in text
    assert "networks: 48" in text
    assert "of training on 2 cores" in text


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> MistakesStudy:
    """A study of few seeds and batch sizes, its XOR cut short."""
    out = tmp_path_factory.mktemp("mistakes")

    def short(settings: Options, progress: Silent) -> Trainings:
        full = prepare(settings, progress)
        return replace(full, xor=replace(full.xor, updates_budget=300))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "prepare", short)
        made = study("mistakes", seeds=6, batch_sizes=[1, 32, "full"], out=out, progress=Silent())
    assert isinstance(made, MistakesStudy)
    return made


def test_study_writes_its_files(done: MistakesStudy) -> None:
    """Page, figures, runs, summary, claims and record are there; the page is whole by itself."""
    names = {path.name for path in done.folder.iterdir()}
    assert names == {
        *("report.html", "figures", "study.json", "runs.parquet", "summary.csv", "claims.json"),
        "blocks.csv",
    }
    figures = {path.name for path in (done.folder / "figures").iterdir()}
    assert figures == {f"{n}.{kind}" for n in done.figure_specs for kind in ("png", "svg", "csv")}
    page = done.report.read_text(encoding="utf-8")
    assert not re.findall(r'src="|url\((?!#)|<link', page)
    assert len(done.terminal_summary().splitlines()) == 3
    assert 'href="mistakes/report.html"' in (done.folder.parent / "index.html").read_text("utf-8")


def test_loaded_study_gives_runs_figures_and_problem(done: MistakesStudy) -> None:
    """`bench.load` reads what was written."""
    again = load(done.folder)
    assert isinstance(again, MistakesStudy)
    assert again.figure("mistakes").axes
    assert again.problem.targets == tuple(done.record["targets"])
    wanted = "mistake batch_size learning_rate seed role examples updates loss accuracy diverged"
    assert set(wanted.split()) <= set(again.runs.columns)
    assert set(again.runs.mistake) == set(GRADIENTS)


def test_every_mistake_is_the_right_update_at_batch_size_1(done: MistakesStudy) -> None:
    """In the summary the arms of batch size 1 at one rate have the same times and shares."""
    rows = done.summary[(done.summary.problem == "breast_cancer") & (done.summary.batch_size == 1)]
    for _, same in rows.groupby(["target", "learning_rate"]):
        assert len(same) > 1
        assert same[["success_rate", "examples", "diverged_rate"]].drop_duplicates().shape[0] == 1


def test_shares_of_diverged_runs_are_those_of_the_runs(done: MistakesStudy) -> None:
    """The verdict on sums is the difference of shares that runs.parquet holds."""
    row = next(
        claim
        for claim in done.claims
        if claim["measure"] == "sum diverges"
        and claim["base_batch_size"] == 1
        and claim["batch_size"] == 455
    )
    arms = pd.DataFrame(done.record["arms"])
    rate = arms[(arms.mistake == SUM) & (arms.base_batch_size == 1)].learning_rate.iloc[0]
    runs = done.runs[(done.runs.batch_size == 455) & (done.runs.role == "report")]
    runs = runs[(runs.problem == "breast_cancer") & np.isclose(runs.learning_rate, rate)]
    shares = runs.groupby("mistake").diverged.mean()
    assert row["effect"] == pytest.approx(shares[SUM] - shares[RIGHT])
    assert shares[SUM] == 1.0
    assert set(runs.seed) == {1, 2, 4, 5}


def test_runs_are_traced_to_files(done: MistakesStudy) -> None:
    """By hash from study.json to blocks and tasks, whose files have the losses of every run."""
    assert untraced(done.folder) == []
    assert set(done.runs.block) < set(done.record["blocks"])


def test_claims_have_the_keys_of_all_studies(done: MistakesStudy) -> None:
    """C4 and C5 are judged at 32 and on the full batch, C5 on XOR too."""
    pinned = (
        "claim statement measure axis program protocol base_batch_size target verdict effect low "
        "high n_seeds definition"
    )
    assert all(set(pinned.split()) <= set(claim) for claim in done.claims)
    found = {(c["claim"], c["measure"], c["batch_size"]) for c in done.claims}
    assert {("C4", "sum diverges", 32), ("C4", LEFTOVER, 455)} <= found
    assert {("C5", "averaged error fails", 455), ("C5", "XOR", 2), ("C5", "XOR", 4)} <= found


def test_few_seeds_are_told(done: MistakesStudy) -> None:
    """With four reporting seeds no median has an interval, and the reader is told."""
    told = json.loads((done.folder / "study.json").read_text("utf-8"))["told"]
    assert any("4 reporting seeds" in sentence for sentence in told)
    assert "4 reporting seeds" in done.report.read_text("utf-8")


def test_title_says_from_where_on_sums_diverge() -> None:
    """The picture's title is built from its cells."""
    cells = [
        *((SUM, size, fate) for size, fate in ((2, "reached"), (4, "diverged"), (9, "diverged"))),
        *((ERROR, size, "reached") for size in (2, 4)),
        (ERROR, 9, "not reached"),
    ]
    data = pd.DataFrame(cells, columns=["mistake", "batch_size", "fate"]).assign(n_train=9)
    assert mistakes_title(data) == (
        "Summed gradients diverge from batches of 4 on; averaged errors miss the target on the "
        "full batch"
    )
