"""From a real table to the programs on its page: they reach the loss that the study predicts."""

from __future__ import annotations

import html
import importlib.util
import re
from pathlib import Path

import numpy as np
import pictures
import pytest
from real_tables import REAL_TABLES
from snippets import run_snippet

import bench
from bench import report
from bench.study import Study


def programs(study: Study) -> dict[str, str]:
    """The programs on a study's page, by what they train with."""
    page = study.report.read_text(encoding="utf-8")
    found = re.findall(
        r'<div class="setting">.*?<h3>(.*?)</h3>.*?<code>(.*?)</code>', page, flags=re.DOTALL
    )
    return {html.unescape(name): html.unescape(code) for name, code in found}


@pytest.fixture(scope="module", params=["penguins", "travel"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The first answer on a real table; its page without what other tests look at, pictures."""
    table = REAL_TABLES[request.param]
    with pytest.MonkeyPatch.context() as patch:
        pictures.leave_out(patch)
        return bench.study(
            table.path, **table.options, rounds=1, out=tmp_path_factory.mktemp(request.param)
        )


@pytest.mark.parametrize("program", ["scikit-learn", "PyTorch"])
def test_a_pasted_program_reaches_the_target_as_predicted(
    study: Study, program: str, tmp_path: Path
) -> None:
    """Within the passes that the page sets, as most runs of the study did, on the same features."""
    if program == "PyTorch" and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    done = run_snippet(programs(study)[program], tmp_path)
    np.testing.assert_allclose(
        np.sort(done["X_train"], axis=None), np.sort(study.problem.X_train, axis=None), atol=1e-5
    )
    assert len(done["losses"]) > 0
    assert min(done["losses"]) <= study.record["targets"][1]


def test_the_same_command_trains_nothing_and_gives_the_same_answer(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study is repeated to the bit; the seconds of programs are kept, not measured again.

    The page, whose figures take seconds to draw, is not drawn again.
    """
    monkeypatch.setattr(report, "write", lambda *_: None)
    source = study.record["source"]
    options = {k: v for k, v in study.record["options"]["table"].items() if v is not None}
    again = bench.study(source, **options, rounds=1, out=study.folder.parent)
    assert again.record["blocks"] == study.record["blocks"]
    assert again.record["answer"] == study.record["answer"]
    assert again.summary.equals(study.summary)
    assert again.seconds.equals(study.seconds)


def test_the_problem_of_an_own_table_is_read_again(study: Study) -> None:
    """`load` gives the arrays that were trained on, from the file."""
    again = bench.load(study.folder)
    assert again.problem.content_hash() == study.record["inputs"]["problem"]
    assert again.problem.table is not None
