"""Studies as a whole: stages, files, repetition, interruption."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from example_evidence import example_evidence

import bench
from bench import report, stages, view
from bench import study as module
from bench.errors import InputError
from bench.experiments import Block, Threads, plan, run
from bench.experiments.crew import Coded
from bench.experiments.progress import Silent
from bench.experiments.store import Store
from bench.options import Options, arms
from bench.problems import Problem, load_problem
from bench.stages import Training
from kernels import init_params, sample_order
from kernels.reference import loss_reference, train_reference

SMALL: dict[str, Any] = {
    "seeds": 4,
    "batch_sizes": (8, "full"),
    "learning_rates": (0.125, 0.5),
    "hidden": (8,),
    "workers": 2,
    "progress": Silent(),
}
RESULTS = ("runs.parquet", "summary.csv", "claims.json")


def made_up_seconds(problem: Problem) -> pd.DataFrame:
    """Return seconds that do not differ from run to run, as timings do."""
    sizes = np.array([1.0, float(problem.n_train)])
    cost = 1e-6 * (1.0 + sizes)
    return pd.DataFrame(
        {
            "program": "batchbench",
            "batch_size": sizes.astype(int),
            "mean_batch": sizes,
            "seconds_per_update": cost,
            "low": cost / 1.1,
            "high": cost * 1.1,
            "c0": 1e-6,
            "c1": 1e-6,
        }
    )


@pytest.fixture(autouse=True)
def _no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let made-up seconds stand for timings."""
    monkeypatch.setattr(module, "measure_seconds", made_up_seconds)
    monkeypatch.setattr(module, "measure_powers", lambda _: pd.DataFrame())


@pytest.fixture
def plain_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one line stand for the page, whose figures take seconds to draw."""

    def write(evidence: object, folder: Path, about: object) -> None:  # noqa: ARG001
        (folder / "report.html").write_text("<title>page</title>")

    monkeypatch.setattr(report, "write", write)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    """Note the blocks that are trained."""
    blocks: list[Block] = []
    real = run.run_coded

    def note(problem: Problem, block: Block) -> Coded:
        blocks.append(block)
        return real(problem, block)

    monkeypatch.setattr(run, "run_coded", note)
    return blocks


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> module.Study:
    """Return a finished small study, page and figures included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_seconds", made_up_seconds)
        return bench.study("iris", out=tmp_path_factory.mktemp("out"), **SMALL)


def contents(study: module.Study) -> dict[str, bytes]:
    """Return the files of a study that hold no seconds and no date."""
    return {name: (study.folder / name).read_bytes() for name in RESULTS}


def test_runs_have_a_row_per_run_and_checkpoint(done: module.Study) -> None:
    """runs.parquet holds every seed, batch size and given rate, at every evaluation."""
    runs = done.runs
    cells = runs.groupby(["batch_size", "learning_rate", "seed"]).size()
    assert len(cells) == 2 * 2 * 4
    assert set(runs.role[runs.seed % 3 == 0]) == {"tune"}
    assert set(runs.role[runs.seed % 3 != 0]) == {"report"}
    named = "rule batch_size learning_rate seed role examples updates loss accuracy test_loss "
    assert set((named + "test_accuracy diverged dead stuck failed").split()) <= set(runs.columns)
    assert runs.updates[runs.batch_size == 120].max() == 300
    assert runs.examples[runs.batch_size == 8].max() == 30 * 120


def test_given_lists_are_used_as_they_are(done: module.Study) -> None:
    """Rates and batch sizes given are those of all runs: nothing is added."""
    assert sorted(done.runs.learning_rate.unique()) == [0.125, 0.5]
    assert sorted(done.runs.batch_size.unique()) == [8, 120]


@pytest.mark.parametrize(
    ("batch_size", "rate", "seed"), [(8, 0.125, 2), (8, 0.5, 1), (120, 0.5, 0)]
)
def test_any_reported_run_can_be_done_again(
    done: module.Study, batch_size: int, rate: float, seed: int
) -> None:
    """Ten lines of NumPy give the losses of runs in runs.parquet, to float32's rounding."""
    runs = done.runs
    mine = (runs.batch_size == batch_size) & (runs.learning_rate == rate) & (runs.seed == seed)
    rows = runs[mine].head(12)
    problem = done.problem
    again = train_reference(
        problem.network,
        init_params(problem.network, seed=seed),
        problem.X_train,
        problem.y_train,
        batch_size=batch_size,
        learning_rate=rate,
        order=sample_order(seed, problem.n_train, -(-rows.examples.max() // problem.n_train)),
    )
    losses = [
        loss_reference(problem.network, again.trajectory[update], problem.X_train, problem.y_train)
        for update in rows.updates
    ]
    np.testing.assert_allclose(rows.loss, losses, rtol=1e-4)


def test_the_footer_names_the_study(done: module.Study) -> None:
    """The footer of runs.parquet holds the id that stands in study.json."""
    footer = pq.read_schema(done.folder / "runs.parquet").metadata
    assert footer[b"study"].decode() == done.record["id"]


def test_summary_has_the_pinned_columns_first(done: module.Study) -> None:
    """summary.csv begins with the pinned columns; tuned arms have no base."""
    assert tuple(done.summary.columns[: len(view.SUMMARY_COLUMNS)]) == view.SUMMARY_COLUMNS
    tuned = done.summary[done.summary.protocol == "tuned"]
    assert tuned.base_batch_size.isna().all()
    assert set(tuned.batch_size) == {8, 120}


def test_study_json_tells_how_to_run_it_again(done: module.Study) -> None:
    """Options, hashes, versions, targets, picks, stages and block keys are stored."""
    record = done.record
    assert record["options"]["learning_rates"] == [0.125, 0.5]
    assert record["command"] == (
        "batchbench study iris --seeds 4 --batch-sizes 8,full --learning-rates 0.125,0.5 --hidden 8"
    )
    assert record["inputs"]["problem"] == done.problem.content_hash()
    assert len(record["targets"]) == 3
    assert [pick["batch_size"] for pick in record["picks"]] == [8, 120]
    assert [stage["blocks"] for stage in record["stages"]] == [16, 8]
    assert len(set(record["blocks"])) == 16 + 8
    for key in record["blocks"]:
        assert Store(done.folder.parent).path(key).exists()


def test_study_json_tells_no_name_and_no_path(done: module.Study) -> None:
    """Neither the machine's name nor a folder of it is in study.json."""
    text = (done.folder / "study.json").read_text()
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)
    assert str(done.folder.parent) not in text
    assert str(Path.home()) + "/" not in text


def test_nothing_is_written_elsewhere(done: module.Study) -> None:
    """The output folder holds the study, the blocks and the index, and nothing half-finished."""
    out = done.folder.parent
    assert sorted(path.name for path in out.iterdir()) == [".blocks", "index.html", "iris"]
    assert list((out / ".blocks").rglob("*.tmp")) == []


def test_loaded_is_what_the_study_gave(done: module.Study) -> None:
    """`load` gives the frames, claims and problem that the files hold."""
    loaded = bench.load(done.folder)
    pd.testing.assert_frame_equal(loaded.runs, done.runs)
    pd.testing.assert_frame_equal(loaded.summary, done.summary)
    assert loaded.claims == done.claims
    assert loaded.problem.network.widths == (4, 8, 3)
    assert loaded.problem.targets == tuple(done.record["targets"])
    assert loaded.report.read_text().startswith("<!")
    assert len(loaded.terminal_summary().splitlines()) == 3


def test_figures_are_drawn_from_the_files(done: module.Study) -> None:
    """Every figure of the page can be drawn again; another name is answered with the list."""
    names = [path.stem for path in (done.folder / "figures").glob("*.csv")]
    assert "time_to_target" in names
    for name in names:
        assert done.figure(name).axes
    with pytest.raises(InputError, match="time_to_target"):
        done.figure("nothing")


def test_a_folder_without_a_study_is_named(tmp_path: Path) -> None:
    """Loading what is no study says so, and names the file that is missing."""
    with pytest.raises(InputError, match=r"study\.json is missing"):
        bench.load(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(InputError, match=r"study\.json cannot be read"):
        bench.load(tmp_path)


@pytest.mark.usefixtures("plain_page")
def test_the_same_command_trains_nothing_again(
    done: module.Study, tmp_path: Path, trained: list[Block]
) -> None:
    """The same command again runs no block, and writes the same results."""
    out = shutil.copytree(done.folder.parent, tmp_path / "out")
    again = bench.study("iris", out=out, **SMALL)
    assert trained == []
    assert contents(again) == contents(done)


@pytest.mark.usefixtures("plain_page")
@pytest.mark.parametrize("workers", [1, 3])
def test_results_do_not_depend_on_workers(done: module.Study, tmp_path: Path, workers: int) -> None:
    """One and three workers write the bytes that two wrote."""
    other = bench.study("iris", out=tmp_path, **SMALL | {"workers": workers})
    assert contents(other) == contents(done)


@pytest.mark.usefixtures("plain_page")
def test_killed_and_resumed_gives_the_same_results(done: module.Study, tmp_path: Path) -> None:
    """Killed by SIGKILL among its blocks, the same command goes on and writes the same bytes."""
    script = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
import bench
from test_study import SMALL, Store
write, written = Store.write, []
def slow(self, key, data):
    write(self, key, data)
    written.append(key)
    if len(written) == 18:
        print("two of the main blocks are there", flush=True)
        time.sleep(60)
Store.write = slow
bench.study("iris", out={str(tmp_path)!r}, **SMALL)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.kill()
    process.communicate()
    assert len(list((tmp_path / ".blocks").rglob("*.npz"))) == 18
    assert not (tmp_path / "iris").exists()
    assert contents(bench.study("iris", out=tmp_path, **SMALL)) == contents(done)


@pytest.mark.usefixtures("plain_page")
def test_more_seeds_train_the_new_ones_alone(tmp_path: Path, trained: list[Block]) -> None:
    """Two more seeds need four blocks; the first seeds keep their runs."""
    first = bench.study("iris", out=tmp_path, **SMALL).runs
    trained.clear()
    more = bench.study("iris", out=tmp_path, **SMALL | {"seeds": 6})
    assert sorted({block.seed for block in trained}) == [4, 5]
    assert len(trained) == 4
    key = ["batch_size", "learning_rate", "seed", "examples"]
    kept, before = (
        runs[runs.seed < 4].astype({"block": str}).sort_values(key, ignore_index=True)
        for runs in (more.runs, first)
    )
    pd.testing.assert_frame_equal(kept, before)


@pytest.mark.usefixtures("plain_page")
def test_a_damaged_block_is_run_again_and_told(
    done: module.Study, trained: list[Block], tmp_path: Path
) -> None:
    """A block cut short is run again, the results are the same, and study.json names the file."""
    bench.study("iris", out=tmp_path, **SMALL)
    trained.clear()
    path = Store(tmp_path).path(done.record["blocks"][-1])
    path.write_bytes(path.read_bytes()[:50])
    again = bench.study("iris", out=tmp_path, **SMALL)
    assert len(trained) == 1
    assert contents(again) == contents(done)
    assert any(path.name in sentence for sentence in again.record["told"])


@pytest.mark.usefixtures("plain_page")
def test_a_failing_report_leaves_the_earlier_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that stops while it writes its files leaves the one that was there whole."""
    first = contents(bench.study("iris", out=tmp_path, **SMALL))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write", full)
    with pytest.raises(InputError, match="No space left on device"):
        bench.study("iris", out=tmp_path, **SMALL | {"seeds": 5})
    assert contents(bench.load(tmp_path / "iris")) == first


@pytest.mark.usefixtures("plain_page")
def test_prune_keeps_what_the_study_uses(tmp_path: Path, trained: list[Block]) -> None:
    """After a prune the study's blocks are there, and those of a larger one are not."""
    bench.study("iris", out=tmp_path, **SMALL | {"seeds": 6})
    bench.study("iris", out=tmp_path, **SMALL)
    trained.clear()
    assert module.prune(tmp_path) == 4
    bench.study("iris", out=tmp_path, **SMALL)
    assert trained == []


def small_training(tmp_path: Path, problem: Problem, *batch_sizes: int) -> Training:
    """Return a training of two seeds, none of it done."""
    return Training(problem, "sgd", (0, 1), batch_sizes, Store(tmp_path), Threads(1), Silent())


def test_windows_widen_until_a_rate_fails(tmp_path: Path) -> None:
    """Coarse rates go on upwards while no rate fails, at most two blocks, and it is told."""
    iris = replace(load_problem("iris"), targets=(0.5, 0.2, 0.1))
    training = small_training(tmp_path, iris, 120)
    stages.coarse(training)
    tried = sorted(training.tried(120))
    first = plan.coarse_rates("sgd")
    assert tried[:16] == list(first)
    assert len(tried) in (32, 48)
    assert tried[16:32] == list(plan.extend(first, "upper"))
    assert len(training.told) == len(tried) // 16 - 1
    assert "batch size 120" in training.told[0]
    outcomes = training.outcomes()
    tuning = outcomes[outcomes.role == "tune"]
    assert len(tried) == 48 or tuning.failed.any()


def test_lattices_are_followed_by_named_rates_and_brackets(tmp_path: Path) -> None:
    """After the coarse rates: a fine block at the pick; named rates and brackets only report."""
    training = small_training(tmp_path, load_problem("iris"), 32)
    stages.search(training, None)
    names = [stage["stage"] for stage in training.stages]
    assert names[0] == "iris: pilot"
    assert names[-1] == "iris: largest stable rates"
    assert training.problem.targets is not None
    assert list(training.problem.targets) == sorted(training.problem.targets, reverse=True)
    outcomes = training.outcomes()
    assert not outcomes.duplicated(["batch_size", "learning_rate", "seed"]).any()
    pick = training.picks().learning_rate.item()
    named = outcomes[outcomes.learning_rate.isin([pick / 4, pick / 2, pick * 2, pick * 4])]
    assert named[named.role == "report"].learning_rate.nunique() == 4
    only_reported = set(outcomes.learning_rate[outcomes.role == "report"]) - set(
        outcomes.learning_rate[outcomes.role == "tune"]
    )
    assert only_reported


def test_rates_that_all_diverge_are_refused(tmp_path: Path) -> None:
    """Where the pilot diverges at every given rate, the option is named."""
    training = small_training(tmp_path, load_problem("iris"), 8)
    with pytest.raises(InputError, match=r"learning_rates: .* smaller"):
        stages.search(training, (1e3, 1e4))


def test_the_time_it_will_take_is_told_beforehand(tmp_path: Path) -> None:
    """After the pilot, and before the first stage, the time of the whole training is told."""
    events: list[str] = []

    class Told(Silent):
        def say(self, message: str) -> None:
            events.append(message)

        def start(self, stage: str, n_blocks: int, work: float) -> None:  # noqa: ARG002
            events.append(stage)

    training = replace(small_training(tmp_path, load_problem("iris"), 32), progress=Told())
    stages.search(training, (0.125, 0.5))
    at = next(i for i, event in enumerate(events) if event.startswith("Training will take about"))
    assert events[at - 1] == "iris: pilot"
    assert events[at + 1] == "iris: rates given"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (45.4, "45 seconds"), (100, "2 minutes"), (7000, "2 hours")],
)
def test_predictions_are_round(seconds: float, words: str) -> None:
    """A predicted time is a whole number of seconds, minutes or hours."""
    assert stages.duration(seconds) == words


def few(problem: Problem) -> Problem:
    """Return the problem with 8 networks a block and 200 updates."""
    return replace(problem, population=8, updates_budget=200)


@pytest.mark.usefixtures("plain_page")
def test_populations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XOR: a row a network and rate, of variants at the best; curves of the first networks only."""
    monkeypatch.setattr(view, "TRAJECTORIES", 5)
    options = {"seeds": 3, "learning_rates": (0.25, 1.0), "batch_sizes": (2, "full")}
    factors = {"width": ("4",), "activation": ("tanh",)}
    problem = replace(few(load_problem("notes")), factors=factors)
    done = bench.study(problem, out=tmp_path, progress=Silent(), **options)
    networks = done.networks
    rows = networks.groupby("variant", sort=False).size()
    assert rows.to_dict() == {"2-2-1": 2 * 2 * 3 * 8, "2-4-1": 2 * 3 * 8, "2-2-1 tanh": 2 * 3 * 8}
    assert not networks.duplicated(
        ["variant", "batch_size", "learning_rate", "seed", "network"]
    ).any()
    assert (networks.success == (networks.cause == "")).all()
    cells = ["variant", "batch_size", "learning_rate", "seed"]
    solved = networks.groupby(cells).success.sum()
    counts = done.counts.set_index(cells)
    assert len(counts) == 3 * 2 * 2 * 3
    assert (counts.solved[solved.index] == solved).all()
    runs = done.runs
    assert set(runs.seed) == {0}
    assert set(runs.network) == set(range(5))
    assert len(done.record["blocks"]) == 3 * 2 * 3
    assert done.record["targets"] == [0.3, 0.2, 0.1]


def test_importing_bench_brings_no_heavy_package() -> None:
    """`import bench` is light; `bench.study` stays callable after its module is imported."""
    script = (
        "import sys, bench; assert 'pandas' not in sys.modules, 'pandas'; import bench.study; "
        "assert callable(bench.study); assert bench.load is bench.study.load"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "seeds must be a whole number of 2 or more"),
        ({"seeds": 2.5}, "seeds must be a whole number"),
        ({"workers": 0}, "workers must be a whole number of 1 or more"),
        ({"rule": "adamw"}, "rule must be one of sgd, momentum, nesterov, adam, got 'adamw'"),
        ({"batch_sizes": ()}, "batch_sizes must be a list of at least one value"),
        ({"batch_sizes": (0,)}, "batch_sizes must be a whole number of 1 or more"),
        ({"batch_sizes": "full"}, "batch_sizes must be a list"),
        ({"learning_rates": (0.0,)}, "learning_rates must be finite and above 0, got 0.0"),
        ({"learning_rates": (math.nan,)}, "learning_rates must be finite"),
        ({"learning_rates": 0.1}, "learning_rates must be a list"),
        ({"hidden": (0,)}, "hidden"),
        ({"activation": "swish"}, "activation must be one of"),
        ({"batchsizes": (1,)}, "unknown option 'batchsizes': did you mean batch_sizes?"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """A bad value is told in one line that begins with the option's name; nothing is written."""
    with pytest.raises(InputError, match=message.replace("?", r"\?")) as error:
        bench.study("iris", out=tmp_path, **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_batch_sizes_become_numbers() -> None:
    """The word "full" and what exceeds the samples are N; sizes are ascending, each once."""
    iris = load_problem("iris")
    assert arms(iris, Options(batch_sizes=("full", 500, 8, 1)).batch_sizes) == (1, 8, 120)
    assert arms(iris, None) == iris.batch_sizes


def test_json_keeps_infinity_and_stays_json(tmp_path: Path) -> None:
    """Not reached is read back as infinity from valid JSON, not a number as null."""
    path = tmp_path / "claims.json"
    view.write_json(path, [{"effect": np.float64("inf"), "low": -math.inf, "n": np.int64(3)}])
    assert view.read_json(path) == [{"effect": math.inf, "low": -math.inf, "n": 3}]
    view.write_json(path, {"effect": math.nan, "text": "Infinity", "pair": (1, np.bool_(True))})
    text = path.read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "effect": None,
        "text": "Infinity",
        "pair": [1, True],
    }


def test_summary_writes_inf_for_not_reached(tmp_path: Path) -> None:
    """In summary.csv a median that was not reached is inf and no number."""
    summary = example_evidence("digits").summary
    summary.loc[0, ["examples", "examples_high"]] = math.inf
    view.write_summary(tmp_path / "summary.csv", summary)
    assert "inf" in (tmp_path / "summary.csv").read_text().splitlines()[1]
    assert pd.read_csv(tmp_path / "summary.csv").examples[0] == math.inf
