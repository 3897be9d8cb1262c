"""The README's commands and examples do what it says; its links lead somewhere."""

from __future__ import annotations

import doctest
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pictures
import pytest
from real_tables import PENGUINS
from test_history import LEVEL, stored

import bench.study
from bench import cli, report
from bench.problems import Problem
from bench.report import words
from bench.report.roofline import case_lines
from bench.speed.compare import quality
from bench.speed.seconds import measured_batch_sizes

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")
}

# What would take minutes, or run these tests inside themselves, is run smaller: nothing else is.
SMALLER = {
    "make bench": "make --dry-run bench",
    "make test": "make --dry-run test",
    "make format": "make --dry-run format",
    "make lint": "make --dry-run lint",
    "pytest --benchmark-only -k digits": "pytest --benchmark-only -k digits --collect-only",
    "batchbench study digits": (
        "batchbench study digits --seeds 3 --batch-sizes 64,full --learning-rates 0.1"
    ),
    "batchbench study iris --rule momentum --seeds 96": (
        "batchbench study iris --rule momentum --seeds 3 --batch-sizes 8,full --learning-rates 0.1"
    ),
    "batchbench study wine --batch-sizes 1,16,full --hidden 64,32 --activation tanh": (
        "batchbench study wine --batch-sizes 16,full --hidden 64,32 --activation tanh --seeds 3 "
        "--learning-rates 0.1"
    ),
    "batchbench study notes": (
        "batchbench study notes --seeds 2 --batch-sizes full --learning-rates 0.1"
    ),
    "batchbench study xor": "batchbench study xor --dry-run",
    "batchbench study digits --scheduler local": (
        "batchbench study digits --seeds 3 --batch-sizes 64,full --learning-rates 0.1 "
        "--scheduler local"
    ),
    "batchbench study mistakes": "batchbench study mistakes --seeds 2 --batch-sizes 1,32",
    "batchbench study all": "batchbench study all --dry-run",  # test_all.py runs it
    "batchbench peers": "batchbench peers --case xor --batch-sizes 4 --programs NumPy --rounds 1",
    "batchbench calibrate": "batchbench calibrate --simulations 20 --only shares",
    "batchbench compare HEAD": "batchbench compare HEAD --budget 5s --only 2-2-1",
}


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language in a text."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The commands of both texts, without the folder of the virtual environment."""
    lines = [line for text in TEXTS.values() for b in blocks(text, "sh") for line in b.splitlines()]
    plain = [line.split("  #")[0].strip().removeprefix(".venv/bin/") for line in lines]
    return list(dict.fromkeys(plain))


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to work in, without what has tests elsewhere.

    No timing of other programs, the quality gate with one of its probes, and a history of runs that
    are there already.
    """

    def seconds(problem: Problem) -> pd.DataFrame:
        sizes = measured_batch_sizes(problem)
        frame = pd.DataFrame({"program": "batchbench", "batch_size": sizes, "mean_batch": sizes})
        frame = frame.assign(seconds_per_update=1e-5, low=9e-6, high=2e-5, c0=1e-5, c1=0.0)
        frame.attrs = {"left_out": {}, "start_seconds": {}}
        return frame

    monkeypatch.setattr(bench.study, "measure_seconds", seconds)
    monkeypatch.setattr(quality, "names", lambda: ("orders and grids",))
    stored(tmp_path / "results", LEVEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


OWN = "penguins"  # what the commands of the walk-through of an own table have in common
KNOWN = [c for c in commands() if OWN not in c]


@pytest.mark.parametrize("command", [c for c in KNOWN if c.startswith("batchbench ")])
def test_commands_of_batchbench_work(
    command: str, untimed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every `batchbench` command of the README ends well, and a study with its page."""
    arguments = shlex.split(SMALLER.get(command, command))[1:]
    if "--scheduler" in arguments:  # the same study once more: its pictures are drawn already
        pictures.leave_out(monkeypatch)
    assert cli.run(arguments) == 0
    if arguments[0] == "study" and not {"--help", "--dry-run"} & set(arguments):
        assert (untimed / "results" / arguments[1] / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("command", [c for c in KNOWN if not c.startswith("batchbench ")])
def test_other_commands_work(command: str) -> None:
    """Every other command, make's and pytest's, ends well."""
    program, *arguments = shlex.split(SMALLER.get(command, command))
    installed = Path(sys.executable).parent / program
    program = str(installed) if installed.exists() else program
    # Not in the ways of this very run, such as those of a process of pytest-xdist
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [program, *arguments], cwd=ROOT, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_walk_through_of_an_own_table_works(
    untimed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands on the penguins work one after the other, and the dry run prints what it says.

    With fewer rounds, and one page for the two studies, which then are the same; the table is
    copied as the first command does.
    """
    page = untimed / "results" / "penguins-raw" / "report.html"
    copy, *others = [c for c in commands() if OWN in c]
    assert copy.startswith("cp .venv/lib/")
    assert copy.split()[1].endswith(PENGUINS.file)
    shutil.copy(PENGUINS.path, untimed)
    for command in others:
        smaller = command.replace("--budget 5min", "--rounds 1")
        smaller = f"{command} --rounds 1" if command.endswith("Species") else smaller
        assert cli.run(shlex.split(smaller)[1:]) == 0
        printed = capsys.readouterr().out
        if "--dry-run" in command:
            shown = blocks(README, "text")[0].rstrip().splitlines()
            assert printed.splitlines()[: len(shown)] == shown
        if command.endswith("Species"):
            assert page.stat().st_size > 10_000
            monkeypatch.setattr(report, "write", lambda *_: None)
    assert printed.startswith("row,Species,P(")


def test_the_answer_on_the_own_table_is_that_of_the_reference() -> None:
    """The README shows the lines that the reference study of the penguins ended with."""
    record = json.loads((REFERENCE / "penguins-raw" / "study.json").read_text("utf-8"))
    assert blocks(README, "text")[1].strip() == record["answer"].strip()


def test_examples_print_what_the_readme_shows(untimed: Path) -> None:
    """The printed values of the README's Python are those that Python prints."""
    examples = "\n".join(blocks(README, "pycon"))
    test = doctest.DocTestParser().get_doctest(examples, {}, "README.md", "README.md", 0)
    assert len(test.examples) > 10
    results = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert results.failed == 0
    assert (untimed / "results" / "iris" / "report.html").exists()


REFERENCE = ROOT / "results" / "reference"
FULL = -1  # stands for the full batch, a number of its own in each problem
# The verdicts on all data sets that the README shows: what is said, and which rows of claims.json
# it is: measure, axis, program, and the batch size that it is about or against
MATRIX = {
    "C1 per-sample updates are noisy: share that go uphill": (
        "uphill share, same states",
        "",
        "",
        32,
    ),
    "C2 per sample needs more passes": ("time-to-target", "epochs", "", None),
    "C2 per sample takes more time with batchbench": (
        "time-to-target",
        "seconds",
        "batchbench",
        None,
    ),
    "C2 ... with scikit-learn": ("time-to-target", "seconds", "scikit-learn", None),
    "C2 ... with PyTorch": ("time-to-target", "seconds", "PyTorch", None),
    "C3 per sample is less stable: octaves of usable rates": ("usable width", "", "", 32),
    "C3 ... the rate at which a run begins to fail": ("threshold", "", "", 32),
    "C3 ... that rate for each example of a batch": ("threshold / B", "", "", 32),
    "C8 too large a rate overshoots (4 times the best)": ("overshoot", "epochs", "", 32),
    "C8 too small a rate is slow (a quarter of the best)": ("slow", "epochs", "", 32),
    "C9 per sample costs no more than the best, in passes": (
        "time against the best",
        "epochs",
        "",
        1,
    ),
    "C9 full batch costs no more than the best, in passes": (
        "time against the best",
        "epochs",
        "",
        FULL,
    ),
    "R1 32 is a safe default, in passes": ("time at 32", "epochs", "", 32),
    "R1 ... with scikit-learn": ("time at 32", "seconds", "scikit-learn", 32),
    "R2 scale the rate linearly: from 1 to 8": ("linear scaling", "epochs", "", 8),
    "R2 ... from 32 to full batch": ("linear scaling", "epochs", "", FULL),
    "R3 per sample generalizes better than full batch": (
        "score at equal training loss",
        "",
        "",
        FULL,
    ),
    "R5 momentum helps with the full batch": ("momentum", "epochs", "", FULL),
}
SIGNS = {
    "supported": "**yes**",
    "refuted": "**no**",
    "no material difference": "same",
    "undecided": "?",
}
# Verdicts of the other reference studies: study and measure
OTHERS = [
    ("xor", "success"),
    ("xor", "solves"),
    ("xor", "helps"),
    ("xor", "depth against width"),
    ("mistakes", "sum diverges"),
    ("mistakes", "mean of means"),
    ("mistakes", "averaged error fails"),
    ("mistakes", "XOR"),
]


def written(value: float | None, *, difference: bool) -> str:
    """A number as the README writes it; what was not reached or is not known has no number."""
    if value is None or math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "not reached"
    return f"{value:+.2f}" if difference else words.number(value)


def effect(claim: dict[str, Any]) -> str:
    """An effect with its interval."""
    value, low, high = (
        written(claim[name], difference=claim["kind"] == "difference")
        for name in ("effect", "low", "high")
    )
    return value if value == low == high else f"{value} [{low}, {high}]"


def claims_of(study: str) -> list[dict[str, Any]]:
    """The verdicts of a reference study."""
    claims: list[dict[str, Any]] = json.loads(
        (REFERENCE / study / "claims.json").read_text("utf-8")
    )
    return claims


def matrix_cell(claims: list[dict[str, Any]], row: tuple[str, str, str, int | None]) -> str:
    """What one row says of a problem; empty where it was not measured."""
    measure, axis, program, size = row
    largest = max(claim["batch_size"] or 0 for claim in claims)
    size = largest if size == FULL else size
    for claim in claims:
        about = (claim["batch_size"], claim["against"])
        of_row = (claim["measure"], claim["axis"], claim["program"]) == (measure, axis, program)
        if of_row and (size is None or size in about):
            return f"{SIGNS[claim['verdict']]} {effect(claim)}"
    return ""


def matrix_rows() -> list[str]:
    """The README's table of all problems, from the reference study `all`."""
    claims = claims_of("all")
    problems = list(dict.fromkeys(claim["problem"] for claim in claims))
    by_problem = [[c for c in claims if c["problem"] == problem] for problem in problems]
    rows = [["", *problems], ["---"] * (1 + len(problems))]
    rows += [[said, *(matrix_cell(c, row) for c in by_problem)] for said, row in MATRIX.items()]
    return [f"| {' | '.join(cells)} |" for cells in rows]


def other_rows() -> list[str]:
    """The README's table of the studies of XOR and of the mistakes."""
    rows = [["", "the claim", "measured", "verdict", "effect [95% interval]"], ["---"] * 5]
    for study, measure in OTHERS:
        mine = (claim for claim in claims_of(study) if claim["measure"] == measure)
        rows += [other_row(study, claim) for claim in mine]
    return [f"| {' | '.join(cells)} |" for cells in rows]


def other_row(study: str, claim: dict[str, Any]) -> list[str]:
    """A row of it."""
    how = [f"{study}: {claim['measure']}"]
    if study == "xor" and claim["against"]:
        how.append(f"against {claim['against']}")
    if study == "mistakes":
        how.append(f"batch size {claim['batch_size']}")
        base = claim["base_batch_size"]
        how.append(f"at the rate tuned for {base}" if base else f"{claim['protocol']} rate")
    return [claim["claim"], claim["statement"], ", ".join(how), claim["verdict"], effect(claim)]


@pytest.mark.parametrize(("name", "rows"), [("matrix", matrix_rows), ("others", other_rows)])
def test_verdicts_are_those_of_the_reference(name: str, rows: Callable[[], list[str]]) -> None:
    """The README's tables of verdicts hold what the reference studies say, row by row."""
    pattern = rf"<!-- {name} -->\n(.*?)<!-- /{name} -->"
    (table,) = re.findall(pattern, README, flags=re.DOTALL)
    assert table.splitlines() == rows()


def test_times_of_programs_are_those_of_the_reference() -> None:
    """The README's tables of programs side by side are those of the reference run, as written."""
    (tables,) = re.findall("<!-- peers -->\n(.*?)<!-- /peers -->", README, flags=re.DOTALL)
    assert tables == (REFERENCE / "peers" / "peers.md").read_text("utf-8")


def test_the_comparison_of_revisions_is_that_of_the_reference() -> None:
    """The README's tables of two revisions are those that the command wrote for a pull request."""
    (tables,) = re.findall("<!-- compare -->\n(.*?)<!-- /compare -->", README, flags=re.DOTALL)
    (summary,) = (REFERENCE / "compare").glob("*/summary.md")
    assert tables.strip() in summary.read_text("utf-8")
    assert tables.count("\n\n") == 1


def test_the_roofline_is_that_of_the_reference() -> None:
    """The README's tables of digits under the roofs are those of the reference run."""
    rows = pd.read_csv(REFERENCE / "roofline" / "roofline.csv")
    expected = case_lines(rows[rows["case"] == "digits"])
    assert "\n".join(expected) + "\n" in blocks(README, "text")


def test_the_main_finding_is_that_of_the_reference() -> None:
    """The README's first screen says what the comparison of all problems ends with."""
    answer = json.loads((REFERENCE / "all" / "study.json").read_text("utf-8"))["answer"]
    first_screen = README.split("## ")[0]
    assert [told for told in answer.split("\n")[:2] if told not in first_screen] == []


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    """Every file that a text links to is there."""
    links = re.findall(r"\]\((?!https?://)([^)#]+)", TEXTS[name])
    missing = [link for link in links if not (ROOT / link).exists()]
    assert links
    assert missing == []


def test_map_is_the_house() -> None:
    """Every file and folder on the README's map is there."""
    (text,) = re.findall(r"## Where things are\n\n(.*?)\n\n", README, flags=re.DOTALL)
    folder = ROOT
    for line in text.splitlines():
        names = re.split(r" {2,}", line.strip())[0].split(", ")
        if line.startswith("      "):
            assert [name for name in names if not (folder / name).exists()] == []
        else:
            folder = ROOT / names[0]
            assert folder.is_dir()


def test_smaller_commands_stand_in_the_texts() -> None:
    """A command that is run smaller is one that the texts hold."""
    assert set(SMALLER) <= set(commands())
