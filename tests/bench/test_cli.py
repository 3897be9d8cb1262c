"""The command `batchbench`: what it accepts, what it says, and how it ends."""

from __future__ import annotations

import codecs
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bench.study
import bench.walk
from bench import cli
from bench.errors import InputError


def run_process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


class FakeStudy:
    """What a study gives back, without the study."""

    report = Path("results/iris/report.html")

    def terminal_summary(self) -> str:
        """Three words."""
        return "The answer: 8."


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The names and options of the studies that the command asks for."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def study(name: str, **options: Any) -> FakeStudy:
        calls.append((name, options))
        return FakeStudy()

    monkeypatch.setattr(bench.study, "study", study)
    return calls


def test_options_become_arguments(asked: list[tuple[str, dict[str, Any]]]) -> None:
    """Every option of `study` reaches the call under its name, as a value and not as text."""
    line = "study iris --seeds 6 --batch-sizes 1,8,full --learning-rates .1,1e-2 --rule adam "
    line += "--hidden 16,8 --activation tanh --workers 2 --out there"
    assert cli.run(line.split()) == 0
    expected = {
        "seeds": 6,
        "batch_sizes": [1, 8, "full"],
        "learning_rates": [0.1, 0.01],
        "rule": "adam",
        "hidden": [16, 8],
        "activation": "tanh",
        "workers": 2,
        "out": Path("there"),
    }
    assert asked == [("iris", expected)]


def test_options_left_out_stay_the_studys_own(asked: list[tuple[str, dict[str, Any]]]) -> None:
    """Only what is given is passed on: defaults stand in one place, and `none` is a list."""
    assert cli.run(["study", "iris"]) == 0
    assert cli.run(["study", "iris", "--hidden", "none"]) == 0
    assert asked == [("iris", {}), ("iris", {"hidden": []})]


def test_study_ends_with_answer_and_page(
    asked: list[tuple[str, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line is the path of the page, the answer stands above it."""
    cli.run(["study", "iris"])
    assert capsys.readouterr().out == "The answer: 8.\nresults/iris/report.html\n"
    assert len(asked) == 1


def test_walk_prints_what_the_function_renders(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints `render(walk(...))`, in the format asked for."""
    line = "walk --params 1,1,1,1,0,-1,1,-2,-.5 --x 0,1 --y 1 --learning-rate .1 --loss half_mse"
    assert cli.run([*line.split(), "--format", "json"]) == 0
    params = [1, 1, 1, 1, 0, -1, 1, -2, -0.5]
    done = bench.walk.walk(params, [0, 1], 1, learning_rate=0.1, loss="half_mse")
    assert capsys.readouterr().out == bench.walk.render(done, "json")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("walk --sed 3", "--sed"),
        ("walk --seed a", "'a'"),
        ("walk --x 1,b", "'b'"),
        ("walk --format pdf", "markdown"),
        ("walk more", "more"),
        ("wlk", "wlk"),
        ("study", "NAME"),
        ("study digit --out DIR", "digits"),
        ("study data.csv --out DIR", "does not exist"),
        ("study digits --target x --out DIR", "target is an option of own tables"),
        ("study iris --budget soon --out DIR", "60s, 5min or 2h"),
        ("study iris --rounds 0 --out DIR", "rounds"),
        ("study iris --step-cost 1 --out DIR", "step_cost"),
        ("study iris --target-loss 2 --out DIR", "target_loss"),
        ("study iris --save-model m.npz --out DIR", "save_model is an option of own tables"),
        ("predict no.npz data.csv", "no.npz does not exist"),
        ("study iris --seeds 1 --out DIR", "seeds"),
        ("study iris --seeds two", "'two'"),
        ("study iris --batch-sizes 1;8", "--batch-sizes 1,8,32,full"),
        ("study iris --batch-sizes 0 --out DIR", "batch_sizes"),
        ("study iris --learning-rates fast", "--learning-rates"),
        ("study iris --learning-rates -1 --out DIR", "learning_rates"),
        ("study iris --hidden x", "--hidden"),
        ("study iris --hidden 0 --out DIR", "hidden"),
        ("study iris --rule sdg --out DIR", "sgd"),
        ("study iris --activation sine --out DIR", "tanh"),
    ],
)
def test_bad_input_is_one_line(
    line: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad input ends with 2 and one line on standard error that names it; nothing is written."""
    out = tmp_path / "out"
    assert cli.run(line.replace("DIR", str(out)).split()) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.startswith("batchbench: ")
    assert told.count("\n") == 1
    assert words in told
    assert not out.exists()


def test_other_failures_are_told_with_a_way_to_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure ends with 3 and one line; BATCHBENCH_DEBUG=1 adds the traceback."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of two\nlines")

    monkeypatch.setattr(bench.walk, "walk", fail)
    assert cli.run(["walk"]) == 3
    told = capsys.readouterr().err
    assert "ZeroDivisionError: of two lines" in told
    assert "BATCHBENCH_DEBUG=1" in told
    assert told.count("\n") == 1
    monkeypatch.setenv("BATCHBENCH_DEBUG", "1")
    assert cli.run(["walk"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_anywhere_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where compiled kernels or whatever else cannot be written: exit code 2, and the ways out."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.walk, "walk", full)
    assert cli.run(["walk"]) == 2
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert "XDG_CACHE_HOME" in told
    assert told.count("\n") == 1


def test_interruption_has_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.walk, "walk", interrupt)
    assert cli.run(["walk"]) == 130


def test_a_message_of_several_lines_becomes_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a user's file puts into a message, it stays one line."""

    def refuse(*_: object, **__: object) -> None:
        raise InputError("a name\nwith a line break")

    monkeypatch.setattr(bench.walk, "walk", refuse)
    assert cli.run(["walk"]) == 2
    assert capsys.readouterr().err == "batchbench: a name with a line break\n"


def test_help_is_quick() -> None:
    """Nothing that takes long to import is imported before a command needs it."""
    code = "import sys, bench.cli; print([m for m in ('numpy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, and with --help, the commands are listed and the exit code is 0."""
    for arguments in ([], ["--help"]):
        assert cli.run(arguments) == 0
        assert {"study", "walk", "prune"} <= set(capsys.readouterr().out.split())


def test_streams_of_ascii_do_not_fail() -> None:
    """A message that holds other characters reaches a stream that knows ASCII alone."""
    done = run_process("walk", "--loss", "ß", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2
    assert "got '?'" in done.stderr


def test_ascii_keeps_the_meaning() -> None:
    """Signs of arithmetic become their ASCII neighbours, not question marks."""
    codecs.register_error("plainly", cli.plainly)
    assert "3 × 10 µs − 1…".encode("ascii", "plainly") == b"3 x 10 us - 1..."


def test_a_closed_pipe_is_no_failure() -> None:
    """`batchbench walk | head` ends without a word when head has seen enough."""
    command = [sys.executable, "-m", "bench", "walk", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
