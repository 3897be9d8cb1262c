"""The workflow of GitHub Actions runs commands that exist, and posts what `compare` writes."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from bench import cli
from bench.report.compare import SUMMARY

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = (ROOT / ".github" / "workflows" / "checks.yml").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ +(?:- )?run: (.+)$", WORKFLOW, flags=re.MULTILINE)


def test_the_workflow_runs_what_the_makefile_knows() -> None:
    """Every make command is one that make can plan."""
    commands = [command for command in COMMANDS if command.startswith("make ")]
    assert {"make lint", "make test", "make bench"} <= set(commands)
    for command in commands:
        program, *arguments = shlex.split(command)
        planned = [program, "--dry-run", *arguments]
        subprocess.run(planned, cwd=ROOT, check=True, capture_output=True)


def test_the_workflow_compares_with_options_that_exist() -> None:
    """The command line of `compare` is taken as it stands there."""
    (command,) = [one for one in COMMANDS if "batchbench" in one]
    _, name, *arguments = shlex.split(command)
    context = cli.cli.commands[name].make_context(name, arguments)
    assert context.params["head"] == "."


def test_the_workflow_posts_the_summary_that_is_written() -> None:
    """What goes to the job's summary is the Markdown of `compare`, after a regression too."""
    (command,) = [one for one in COMMANDS if "GITHUB_STEP_SUMMARY" in one]
    assert f"results/compare/*/{SUMMARY}" in command
    assert re.search(rf"if: .*!cancelled\(\).*\n +run: {re.escape(command)}", WORKFLOW)


@pytest.mark.parametrize("place", re.findall(r"\$\{\{ ([^}]+) \}\}", WORKFLOW))
def test_no_text_of_a_pull_request_reaches_a_shell(place: str) -> None:
    """What outsiders write (names of branches, titles) stands in no command line."""
    assert not any(place in command for command in COMMANDS)
