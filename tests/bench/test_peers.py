"""Programs side by side: equal work, paired ratios, a user's own file, and what is left of it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import cli
from bench import peers as command
from bench.about import command_of
from bench.errors import InputError
from bench.experiments.progress import Silent
from bench.peers import peers
from bench.report import peers as page
from bench.report.figures import peers as drawings
from bench.report.standings import best_peer, standings
from bench.speed import process, side_by_side
from bench.speed.peers import PEERS, CannotDoError, OwnPeer, Work, example_kernel, program_of
from bench.speed.seconds import AGREEMENT, FailedError, Worker, distance
from bench.speed.side_by_side import (
    ALL,
    CASES,
    ONE,
    Measured,
    Plan,
    from_reference,
    measure,
)
from bench.speed.subject import Subject
from bench.speed.worker import Trainer, answer
from kernels import Network, init_params

OTHERS = [
    name
    for name, peer in PEERS.items()
    if peer.installed and name not in ("batchbench", "scikit-learn", "PyTorch compiled")
]
SHAPES = {
    "one product each": Network((4, 9, 3), "relu", "softmax", "ce"),
    "side by side": Network((2, 2, 1)),
    "side by side, deep": Network((4, 3, 2, 2), "tanh", "sigmoid", "half_mse"),
}


def subject(network: Network = SHAPES["one product each"], runs: int = 0) -> Subject:
    """11 samples of noise, and one run or many with starts and rates of their own."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((11, network.n_inputs), dtype=np.float32)
    y = rng.integers(0, max(network.n_outputs, 2), 11)
    if network.output == "sigmoid":
        y = rng.integers(0, 2, (11, network.n_outputs))
    params = np.asarray(init_params(network, seed=1, size=runs or None), np.float32)
    rates = np.geomspace(0.01, 0.2, runs).astype(np.float32) if runs else 0.1
    return Subject(network, params, X, y, rates)


# Peers


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_many_runs_end_where_ours_do(name: str, shape: str) -> None:
    """A program trains five runs at once, with a rate each, to our parameters of every one."""
    work = subject(SHAPES[shape], runs=5).work(3, 12)
    ours = PEERS["batchbench"].prepare(work)(2, False)
    theirs = PEERS[name].prepare(work)(2, False)
    for run in range(5):
        assert distance(theirs[run], ours[run], work.params[run]) < AGREEMENT / 10


def test_what_trains_one_network_says_so() -> None:
    """scikit-learn has no training of many runs."""
    with pytest.raises(CannotDoError, match="one network at a time"):
        PEERS["scikit-learn"].prepare(subject(runs=2).work(3))


def test_a_pass_goes_through_all_samples_where_there_is_time() -> None:
    """Lengthened, a pass has as many updates as an epoch; before, at most 64."""
    network = Network((3, 2), output="softmax", loss="ce")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3), dtype=np.float32)
    trainer = Trainer(
        PEERS["batchbench"], Subject(network, init_params(network).astype("f4"), X, X[:, 0] > 0)
    )
    trainer.prepare(1)
    assert trainer._ready[1].updates == 64
    trainer.lengthen(1)
    assert 64 < trainer._ready[1].updates <= 300


def test_cases_are_what_their_words_say() -> None:
    """Widths, runs and numbers of samples stand in the words of a case; batches fit into it."""
    for case in CASES.values():
        made = case.make()
        assert "-".join(map(str, made.network.widths)) in case.what
        assert case.runs == made.n_runs
        assert case.what.startswith("one run" if case.runs == 1 else f"{case.runs:,} runs")
        assert f"{made.n:,}" in case.data or case.data == "XOR"
        assert all(size == "full" or size <= made.n for size in case.batch_sizes)


# A user's own file


def own(folder: Path, text: str, name: str = "my_kernel") -> OwnPeer:
    """A user's file."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    program = program_of(str(path))
    assert isinstance(program, OwnPeer)
    return program


RUN = "def prepare(work):\n    def run(passes, own_order):\n        {}\n    return run\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", "TypeError: it has no function prepare"),
        ("import no_such_package\n", "No module named 'no_such_package'.*line 1"),
        ("def prepare(work):\n    return 3\n", r"must return a function run\(passes.*got int"),
        (RUN.format("return 1 / 0"), "ZeroDivisionError: division by zero.*line 3"),
        (RUN.format("return work.params[:5]"), r"parameters of shape \(75,\), got shape \(5,\)"),
        (RUN.format("return None"), r"parameters of shape \(75,\), got NoneType"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, words: str) -> None:
    """A missing function, an exception and a wrong shape fail with a line that names them."""
    one = subject()
    outcome, told = answer(Trainer(own(tmp_path, text), one), "train", one.work(3))
    assert outcome == "failed"
    assert re.search(words, str(told))
    assert "\n" not in str(told)


def test_a_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    """A helper module in the same folder is found."""
    (tmp_path / "beside_my_kernel.py").write_text("TAKEN = 0.5\n", encoding="utf-8")
    text = "from beside_my_kernel import TAKEN\n" + RUN.format("return TAKEN * work.params")
    one = subject()
    outcome, params = answer(Trainer(own(tmp_path, text), one), "train", one.work(3))
    assert outcome == "done"
    assert (np.asarray(params) == 0.5 * one.params).all()


@pytest.mark.parametrize("name", ["there", "JAX", "text"])
def test_files_that_cannot_be_peers_are_refused(tmp_path: Path, name: str) -> None:
    """A missing file, a name that is taken and another ending are bad input."""
    path = tmp_path / ("text.txt" if name == "text" else f"{name}.py")
    if name != "there":
        path.touch()
    with pytest.raises(InputError, match=r"no such file|another program has|ending in \.py"):
        Plan(own=[path])


def test_the_reference_is_reached_by_ours_alone() -> None:
    """Our engine agrees with the reference in the first and in the last run; a wrong rate not."""
    work = subject(runs=3).work(4, 6)
    params = PEERS["batchbench"].prepare(work)(1, False)
    assert from_reference(params, work) < AGREEMENT / 10
    for run in (0, 2):
        spoiled = params.copy()
        spoiled[run] += 0.1 * (params - work.params)[run]
        assert from_reference(spoiled, work) == pytest.approx(0.1, rel=1e-3)
    spoiled[1] = np.nan
    assert from_reference(np.full_like(params, np.nan), work) is not None
    assert math.isnan(from_reference(np.full_like(params, np.nan), work))


def test_the_example_does_the_same_work() -> None:
    """The example that users copy ends at the reference, and says what it cannot do."""
    work = subject().work(4, 6)
    assert from_reference(example_kernel.prepare(work)(1, False), work) < AGREEMENT / 10
    for other in (subject(runs=2), subject(SHAPES["side by side"])):
        with pytest.raises(CannotDoError, match=r"one run at a time|ReLU and softmax"):
            example_kernel.prepare(other.work(2))


# What was measured, judged


def rounds_of(times: dict[str, list[float]], cores: str = ONE, size: int = 8) -> list[Any]:
    """Rounds of programs with these nanoseconds; peak 100, sgemm 50 GF/s, 1000 operations."""
    one = cores == ONE
    roofs = {"peak": 1e11 if one else math.nan, "sgemm": 5e10 if one else math.nan}
    about = {"case": "digits", "cores": cores, "batch_size": size, "flops": 1000, **roofs}
    return [
        {**about, "program": program, "round": k, "seconds": ns * 1e-9, "start_seconds": 0.5}
        for program, found in times.items()
        for k, ns in enumerate(found)
    ]


TIMES = {
    "batchbench": [20.0, 40.0, 22.0, 24.0, 26.0, 28.0, 30.0],
    "JAX": [100.0, 200.0, 110.0, 120.0, 130.0, 140.0, 150.0],
    "NumPy": [200.0] * 7,
    "mine": [10.0] * 7,
}


def test_ratios_are_taken_round_by_round() -> None:
    """A slow moment that hits two programs in one round leaves their ratio as it is: 0.2."""
    table = standings(pd.DataFrame(rounds_of(TIMES))).set_index("program")
    ours = table.loc["batchbench"]
    assert ours[["ns", "ns_low", "ns_high"]].tolist() == pytest.approx([26, 20, 40])
    assert ours[["ratio", "ratio_low", "ratio_high"]].tolist() == pytest.approx([0.2] * 3)
    assert table.loc["JAX", "ratio"] == 1
    assert table.loc["NumPy", "ratio_high"] == pytest.approx(2.0)


def test_the_best_peer_is_neither_ours_nor_the_users() -> None:
    """The least median of the other programs counts; without any there is no ratio."""
    table = standings(pd.DataFrame(rounds_of(TIMES)))
    assert set(table["best_peer"]) == {"JAX"}
    alone = standings(pd.DataFrame(rounds_of({k: TIMES[k] for k in ("batchbench", "mine")})))
    assert alone["ratio"].isna().all()
    assert best_peer(pd.DataFrame({"batchbench": [1.0], "mine": [1.0]})) == ""


def test_speed_and_shares_are_those_of_the_arithmetic() -> None:
    """1000 operations in 26 ns are 38 GF/s: 38% of a peak of 100, 77% of an sgemm of 50."""
    row = standings(pd.DataFrame(rounds_of(TIMES))).iloc[0]
    speed = 1000 / 26
    assert row["gflops"] == pytest.approx(speed)
    assert row["share_of_peak"] == pytest.approx(speed / 100)
    assert row["share_of_sgemm"] == pytest.approx(speed / 50)


def test_times_on_all_cores_stand_beside() -> None:
    """The median on all cores is a column of its own and no part of the ratio."""
    rounds = rounds_of(TIMES) + rounds_of({"JAX": [30.0, 50.0, 31.0]}, ALL)
    table = standings(pd.DataFrame(rounds)).set_index("program")
    assert table.loc["JAX", "ns_all_cores"] == pytest.approx(31)
    assert math.isnan(table.loc["NumPy", "ns_all_cores"])
    assert table.loc["batchbench", "ratio"] == pytest.approx(0.2)


def test_too_few_rounds_bound_nothing() -> None:
    """Two rounds give a ratio without an interval, in the tables too."""
    few = pd.DataFrame(rounds_of({k: TIMES[k][:2] for k in ("batchbench", "JAX")}))
    assert math.isinf(standings(few)["ratio_high"].iloc[0])
    text = page.markdown(standings(few), "roofs", {})
    assert "| **0.20** |" in text
    assert "[" not in text


def test_markdown_has_a_row_a_batch_size_and_a_column_a_program() -> None:
    """Programs that were not timed at a batch size leave their cell empty."""
    rounds = rounds_of(TIMES) + rounds_of({"batchbench": [5.0] * 7, "NumPy": [50.0] * 7}, size=64)
    text = page.markdown(standings(pd.DataFrame(rounds)), "roofs", {"Date": "2026-01-02"})
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert rows[0][:5] == ["| B", "batchbench", "JAX", "NumPy", "mine"]
    assert rows[2][:5] == ["| 8", "26", "130", "200", "10"]
    assert rows[3][:6] == ["| 64", "5.0", "", "50", "", "**0.10 [0.10, 0.10]**"]
    assert text.endswith("Roofs. 2026-01-02.\n")


def test_figures_show_each_case_with_its_limit() -> None:
    """The line of the peak is what 1000 operations take at 100 GF/s: 10 ns; titles tell ratios."""
    table = standings(pd.DataFrame(rounds_of(TIMES) + rounds_of(TIMES, size=64)))
    data = drawings.first_data(table)
    assert data["limit"].to_numpy() == pytest.approx(10)
    assert len(drawings.others_data(table)) == 0
    assert "0.20 times as long as the fastest other program at batch size 8 and" in (
        drawings.title(data)
    )
    for narrow in (False, True):
        (axes,) = drawings.first_figure(data, narrow=narrow).axes
        named = {text.get_text() for text in axes.texts}
        assert {*TIMES, "fma peak"} <= named


def test_reasons_are_told_once_with_their_places() -> None:
    """Equal reasons of a program become one sentence that names cases and batch sizes."""
    left_out = {
        ("blocks", ONE, 1, "scikit-learn"): "one at a time",
        ("blocks", ONE, 8, "scikit-learn"): "one at a time",
        ("digits", ALL, 8, "JAX"): "ended",
        ("xor", ONE, 0, "mine"): "wrong",
    }
    assert page.left_out_told(left_out) == [
        "scikit-learn: one at a time (blocks at 1 and 8)",
        "JAX: ended (digits on all cores at 8)",
        "mine: wrong (xor)",
    ]


# The command, with programs in this process


class Inside:
    """A worker's requests, answered by a trainer in this process."""

    def __init__(self, program: str, what: Subject, *, all_cores: bool = False) -> None:
        self.trainer = Trainer(program_of(program), what)
        self.all_cores = all_cores

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def ask(self, request: str, value: object = None) -> Any:
        """As `Worker.ask`, with a small sgemm."""
        value = 64 if request == "yardsticks" else value
        outcome, told = answer(self.trainer, request, value)
        if outcome != "done":
            raise (FailedError if outcome == "failed" else CannotDoError)(told)
        return told

    def prepare(self, batch_size: int) -> Any:
        """As `Worker.prepare`."""
        return self.ask("prepare", batch_size)

    def measure(self, batch_size: int) -> Any:
        """As `Worker.measure`."""
        return self.ask("measure", batch_size)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Programs run in this process, briefly, on small subjects; it may use two cores."""
    small = {
        "digits": subject,
        "xor": lambda: subject(SHAPES["side by side"], runs=CASES["xor"].runs),
    }
    for name, make in small.items():
        case = CASES[name]
        made = side_by_side.Case(case.what, case.data, make, (1, 4), case.runs)
        monkeypatch.setitem(side_by_side.CASES, name, made)
    monkeypatch.setattr(side_by_side, "Worker", Inside)
    monkeypatch.setattr(side_by_side, "settings", lambda: [ONE, ALL])
    monkeypatch.setattr("bench.speed.worker.MEASURED_SECONDS", 1e-4)
    return monkeypatch


WRONG = """
from bench.speed.peers.example_kernel import prepare as right

def prepare(work):
    run = right(work)
    return lambda passes, own_order: work.params + 1.5 * (run(passes, own_order) - work.params)
"""


def test_everything_is_written_and_told(
    inside: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables, rounds, figures and page hold each program that does equal work, others by reason."""
    own(tmp_path, Path(example_kernel.__file__).read_text("utf-8"))
    own(tmp_path, WRONG, "wrong")
    inside.chdir(tmp_path)
    arguments = ["peers", "--case", "digits", "--case", "xor", "--programs", "NumPy,scikit-learn"]
    arguments += ["--rounds", "2", "--peer", "my_kernel.py", "--peer", "wrong.py"]
    assert cli.run(arguments) == 0
    printed, told = capsys.readouterr()
    folder = tmp_path / "results" / "peers"
    table = pd.read_csv(folder / "peers.csv")
    digits = table[(table["case"] == "digits") & (table["batch_size"] == 4)]
    assert digits["program"].tolist() == ["batchbench", "NumPy", "scikit-learn", "my_kernel"]
    assert set(table.loc[table["case"] == "xor", "program"]) == {"batchbench", "NumPy"}
    assert table["ns_all_cores"].notna().all()
    reasons = [
        "wrong: batch size 1: ends at other parameters than the reference, 0.5 of the way off",
        "my_kernel: trains one run at a time (xor)",
        "scikit-learn: trains one network at a time (xor at 1 and 4)",
    ]
    html = (folder / "report.html").read_text("utf-8")
    for reason in reasons:
        assert reason in printed
        assert reason in html
    assert str(folder.relative_to(tmp_path) / "report.html") in printed
    assert "takes about" in told
    assert (folder / "peers.md").read_text("utf-8").count("| ---: |") > 1
    for name in ("first", "others"):
        for ending in ("png", "svg", "csv"):
            assert (folder / "figures" / f"{name}.{ending}").stat().st_size > 100
    assert "peers/report.html" in (tmp_path / "results" / "index.html").read_text("utf-8")


@pytest.mark.usefixtures("inside")
def test_the_page_stands_alone_and_names_its_origin(tmp_path: Path) -> None:
    """The page asks nothing of the network and says machine, date, versions and command."""
    _, path = peers(
        tmp_path, Silent(), cases=["digits"], programs=["NumPy"], rounds=1, batch_sizes=[1, "full"]
    )
    html = path.read_text("utf-8")
    assert not re.search(r'(?:src|href)="https?:|url\((?!#)|<script', html)
    for needed in ("batchbench peers --case digits", "--batch-sizes 1,full", "NumPy", "Machine"):
        assert needed in html
    assert re.search(r"20\d\d-\d\d-\d\d", html)


def test_an_interruption_leaves_what_was_measured(
    inside: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ctrl-C at the second batch size: the first one's tables are there."""
    before = Inside.prepare

    def prepare(self: Inside, batch_size: int) -> Any:
        if batch_size > 1:
            raise KeyboardInterrupt
        return before(self, batch_size)

    inside.setattr(Inside, "prepare", prepare)
    with pytest.raises(KeyboardInterrupt):
        peers(tmp_path, Silent(), cases=["digits"], programs=["NumPy"], rounds=1)
    table = pd.read_csv(tmp_path / "peers" / "peers.csv")
    assert table["batch_size"].tolist() == [1, 1]
    assert (tmp_path / "peers" / "report.html").exists()


def test_a_program_that_ends_elsewhere_is_named(inside: pytest.MonkeyPatch) -> None:
    """Half the learning rate is told with how far off it is, and is not timed."""
    numpy = PEERS["NumPy"]

    class Half:
        installed, in_studies = True, True

        def prepare(self, work: Work) -> Any:
            run = numpy.prepare(work)
            return lambda passes, own: (work.params + run(passes, own)) / 2

        def arithmetic(self) -> str:
            return ""

    inside.setitem(PEERS, "NumPy", Half())
    measured = Measured()
    plan = Plan(cases=["digits"], programs=["NumPy"], rounds=1, batch_sizes=[4])
    measure(plan, plan.subjects(), measured, Silent())
    assert measured.left_out["digits", ONE, 4, "NumPy"] == (
        "ends at other parameters: 0.5 of the way off"
    )
    assert set(measured.frame()["program"]) == {"batchbench"}


def test_an_own_file_that_fails_ends_the_command(
    inside: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line and nothing else, before anything is timed."""
    own(tmp_path, RUN.format("return missing"))
    inside.chdir(tmp_path)
    assert cli.run(["peers", "--case", "digits", "--peer", "my_kernel.py"]) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert re.fullmatch(r"batchbench: --peer my_kernel.py: failed with NameError: .*\n", told)
    assert not (tmp_path / "results" / "peers").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cases": ["digit"]}, "--case: 'digit' is none of digits, wide"),
        ({"rounds": 0}, "--rounds: measure at least 1"),
        ({"batch_sizes": [0]}, "--batch-sizes: 1 or more, or full, got 0"),
        ({"batch_sizes": [10**6]}, "--batch-sizes: all of them exceed"),
        ({"programs": ["numpy"]}, "programs: 'numpy' is none of batchbench, NumPy"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    """A line names the option and what it may be."""
    with pytest.raises(InputError, match=words):
        peers(tmp_path, Silent(), **options)


def test_the_command_is_told_as_it_was_given(tmp_path: Path) -> None:
    """Every option that differs from its default stands in the command that is told."""
    path = own(tmp_path, "", name="my kernel").path
    plan = Plan(["xor", "wide"], [1, "full"], rounds=3, programs=["NumPy"], own=[path])
    assert command_of("peers", plan, command.OPTIONS) == (
        "batchbench peers --case xor --case wide --batch-sizes 1,full --rounds 3 "
        f"--programs NumPy --peer '{path}'"
    )


# Processes


def test_processes_on_all_cores_choose_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number of threads and no core is handed down, nor what holds BLAS back."""
    started: list[tuple[list[str], dict[str, str]]] = []

    def start(line: list[str], *, env: dict[str, str], **_: Any) -> None:
        started.append((line, env))
        raise InterruptedError

    for name in (*process.SLOWED_BY, *process.ONE_THREAD):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(process.subprocess, "Popen", start)
    with pytest.raises(InterruptedError):
        Worker("batchbench", subject(), all_cores=True)
    ((line, environment),) = started
    assert line[-1] == "all"
    assert not {*process.SLOWED_BY, *process.ONE_THREAD} & environment.keys()


def test_a_process_tells_roofs_and_what_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's process names its BLAS with one thread; peak and sgemm are operations a second."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    with Worker("NumPy", subject()) as worker:
        about: Any = worker.ask("about")
        peak, sgemm = worker.ask("yardsticks", 128)  # type: ignore[misc]
    assert about["version"] == np.__version__
    assert all(told.endswith(", 1 thread") for told in about["arithmetic"].split("; ") if told)
    assert min(peak, sgemm) > 1e7
