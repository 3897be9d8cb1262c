"""The README's commands and examples do what it says; its links lead somewhere."""

from __future__ import annotations

import doctest
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from real_tables import PENGUINS

import bench.study
from bench import cli
from bench.problems import Problem
from bench.report import words
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
    """A folder to work in, and no timing of other programs (its own tests are elsewhere)."""

    def seconds(problem: Problem) -> pd.DataFrame:
        sizes = measured_batch_sizes(problem)
        frame = pd.DataFrame({"program": "batchbench", "batch_size": sizes, "mean_batch": sizes})
        frame = frame.assign(seconds_per_update=1e-5, low=9e-6, high=2e-5, c0=1e-5, c1=0.0)
        frame.attrs = {"left_out": {}, "start_seconds": {}}
        return frame

    monkeypatch.setattr(bench.study, "measure_seconds", seconds)
    monkeypatch.chdir(tmp_path)
    return tmp_path


OWN = "penguins"  # what the commands of the walk-through of an own table have in common
KNOWN = [c for c in commands() if OWN not in c]


@pytest.mark.parametrize("command", [c for c in KNOWN if c.startswith("batchbench ")])
def test_commands_of_batchbench_work(command: str, untimed: Path) -> None:
    """Every `batchbench` command of the README ends well, and a study with its page."""
    arguments = shlex.split(SMALLER.get(command, command))[1:]
    assert cli.run(arguments) == 0
    if arguments[0] == "study" and "--help" not in arguments:
        assert (untimed / "results" / arguments[1] / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("command", [c for c in KNOWN if not c.startswith("batchbench ")])
def test_other_commands_work(command: str) -> None:
    """Every other command, make's and pytest's, ends well."""
    program, *arguments = shlex.split(SMALLER.get(command, command))
    installed = Path(sys.executable).parent / program
    program = str(installed) if installed.exists() else program
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_walk_through_of_an_own_table_works(
    untimed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands on the penguins work one after the other, and the dry run prints what it says.

    With fewer rounds; the table is copied as the first command does.
    """
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
    assert printed.startswith("row,Species,P(")
    assert (untimed / "results" / "penguins-raw" / "report.html").exists()


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
# The verdicts that the README shows: study, measure, and the batch size that it is about or against
SHOWN = [
    ("digits", "uphill share, same states", 32),
    ("digits", "time-to-target", None),
    ("digits", "usable width", 32),
    ("digits", "threshold", 32),
    ("digits", "threshold / B", 32),
    ("digits", "overshoot", 32),
    ("digits", "slow", 32),
    ("notes", "success", None),
    ("notes", "solves", None),
    ("notes", "helps", None),
    ("notes", "depth against width", None),
]


def written(value: float | None, *, difference: bool) -> str:
    """A number as the README writes it; what was not reached or is not known has no number."""
    if value is None or math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "not reached"
    return f"{value:+.2f}" if difference else words.number(value)


def verdict_row(study: str, claim: dict[str, Any]) -> str:
    """A row of the README's table of verdicts."""
    parts = [claim["measure"], claim["axis"], claim["program"]]
    against = claim["against"] if study == "notes" else None
    how = " ".join(part for part in parts if part) + (f" ({against})" if against else "")
    value, low, high = (
        written(claim[name], difference=claim["kind"] == "difference")
        for name in ("effect", "low", "high")
    )
    interval = value if value == low == high else f"{value} [{low}, {high}]"
    cells = [claim["claim"], claim["statement"], f"{study}: {how}", claim["verdict"], interval]
    return f"| {' | '.join(cells)} |"


def verdict_rows() -> list[str]:
    """The rows of the README's table of verdicts, from the reference studies."""
    rows = []
    for study, measure, batch_size in SHOWN:
        for claim in json.loads((REFERENCE / study / "claims.json").read_text("utf-8")):
            about = claim["against"] or claim["batch_size"]
            if claim["measure"] == measure and batch_size in (None, about):
                rows.append(verdict_row(study, claim))
    return rows


def test_verdicts_are_those_of_the_reference() -> None:
    """The README's table of verdicts holds what the reference studies say, row by row."""
    (table,) = re.findall(r"<!-- verdicts -->\n(.*?)<!-- /verdicts -->", README, flags=re.DOTALL)
    assert table.splitlines()[2:] == verdict_rows()


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
