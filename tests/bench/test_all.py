"""The study of all problems: its files, its page, and what it makes of their verdicts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from test_study import made_up_seconds

import bench
from bench import all_problems, cli, report
from bench import study as module
from bench.all_problems import Comparison, results_of, study_all
from bench.analysis import literature
from bench.analysis.across import BASE, FULL, SAMPLE, Results, lines
from bench.analysis.claims.row import judged
from bench.analysis.intervals import Estimate
from bench.analysis.literature import Finding
from bench.errors import InputError
from bench.experiments import rules
from bench.experiments.progress import Silent
from bench.report import comparison, tables
from bench.report.figures import across, draw

NAMES = ("iris", "wine")
SMALL: dict[str, Any] = {
    "seeds": 4,
    "batch_sizes": (1, 8, "full"),
    "learning_rates": (0.0625, 0.25),
    "hidden": (8,),
    "workers": 2,
}


class Told(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        """Remember the sentence."""
        self.messages.append(message)


def plain_page(_: object, folder: Path, __: object) -> None:
    """Let one line stand for a problem's page."""
    (folder / "report.html").write_text("<title>page</title>")


@pytest.fixture(scope="module")
def told() -> Told:
    """What the study of two problems said."""
    return Told()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, told: Told) -> Comparison:
    """Return two small studies, compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_seconds", made_up_seconds)
        patch.setattr(report, "write", plain_page)
        patch.setattr(rules, "COMPARED", ("sgd", "momentum"))
        out = tmp_path_factory.mktemp("out")
        return study_all(progress=told, problems=NAMES, out=out, **SMALL)


@pytest.fixture(scope="module")
def compared(done: Comparison) -> list[Results]:
    """Return what the comparison read."""
    return [results_of(study) for study in done.studies.values()]


# Its files


def test_every_problem_is_a_study_of_its_own(done: Comparison, told: Told) -> None:
    """OUT holds the studies and the comparison; progress says which of how many."""
    out = done.folder.parent
    assert sorted(p.name for p in out.iterdir()) == [".blocks", "all", "index.html", *NAMES]
    assert [m for m in told.messages if m.startswith("Problem")] == [
        "Problem 1 of 2: iris.",
        "Problem 2 of 2: wine.",
    ]
    for name, study in done.studies.items():
        assert study.record["study"] == name
        assert study.record["options"]["compare_rules"] is True


def test_claims_and_summaries_are_those_of_the_problems(done: Comparison) -> None:
    """Taken apart by problem, claims.json and summary.csv are the studies' own."""
    for name, study in done.studies.items():
        mine = [row for row in done.claims if row["problem"] == name]
        assert [{k: v for k, v in row.items() if k != "problem"} for row in mine] == study.claims
        rows = done.summary[done.summary.problem == name].drop(columns="problem")
        pd.testing.assert_frame_equal(rows.reset_index(drop=True), study.summary)


def test_verdicts_csv_holds_the_verdicts(done: Comparison) -> None:
    """Each cell of verdicts.csv is a row of that problem's claims: verdict, effect, interval."""
    known = {
        (row["problem"], row["claim"], row["measure"], row["verdict"], row["effect"])
        for row in done.claims
    }
    cells = [
        (name, row.claim, row.measure, getattr(row, name), getattr(row, f"{name}_effect"))
        for row in done.verdicts.itertuples()
        for name in NAMES
        if isinstance(getattr(row, name), str)
    ]
    assert len(cells) > 20
    for cell in cells:
        assert cell in known or math.isnan(cell[-1])


def test_loaded_is_what_the_study_gave(done: Comparison) -> None:
    """`load` gives the comparison; what belongs to a problem is asked of its study."""
    loaded = bench.load(done.folder)
    assert isinstance(loaded, Comparison)
    assert loaded.terminal_summary() == done.terminal_summary()
    assert len(loaded.terminal_summary().splitlines()) == 3
    assert loaded.figure("passes").axes
    with pytest.raises(InputError, match=r"studies\['iris'\].runs"):
        _ = loaded.runs
    with pytest.raises(InputError, match="passes"):
        loaded.figure("noise")


def test_the_page_links_to_the_problems_and_asks_nothing_of_the_network(done: Comparison) -> None:
    """Cells lead to the claim on the problem's page; nothing is loaded from elsewhere."""
    page = done.report.read_text(encoding="utf-8")
    for name in NAMES:
        assert f'href="../{name}/report.html#C2"' in page
    assert 'tbody id="C2"' in page
    assert "<script" not in page
    assert not re.search(r' src="|url\((?!#)|<link', page)
    assert done.terminal_summary().split("\n")[1][:30] in page


def test_the_index_has_a_card(done: Comparison) -> None:
    """The index shows the comparison with its first sentence and its picture."""
    index = (done.folder.parent / "index.html").read_text(encoding="utf-8")
    assert "2 problems compared: iris and wine" in index
    assert 'src="all/figures/passes.svg"' in index


def test_prune_keeps_the_blocks_of_all(done: Comparison) -> None:
    """The comparison has no blocks of its own, and takes none from the problems."""
    assert module.prune(done.folder.parent) == 0


# Failures


def test_a_failing_problem_loses_no_other(
    done: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one study fails it is told, on the page too, and the others are compared."""

    def run_study(name: str, **_: Any) -> module.Study:
        if name == "wine":
            raise RuntimeError("no\ncork")
        return done.studies[name]

    monkeypatch.setattr(all_problems, "run_study", run_study)
    seen: list[module.Study] = []
    progress = Told()
    found = study_all(
        progress=progress, finished=seen.append, problems=NAMES, out=tmp_path, **SMALL
    )
    assert seen == [done.studies["iris"]]
    assert found.record["failed"] == {"wine": "no cork"}
    assert "wine: no cork" in found.report.read_text(encoding="utf-8")
    assert any("wine has failed" in message for message in progress.messages)


def test_where_every_problem_fails_there_is_nothing_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All failures end with the first one's message; an interruption is no failure."""
    errors: list[BaseException] = [RuntimeError("first"), RuntimeError("second")]

    def run_study(*_: Any, **__: Any) -> module.Study:
        raise errors.pop(0)

    monkeypatch.setattr(all_problems, "run_study", run_study)
    with pytest.raises(RuntimeError, match="first"):
        study_all(progress=Silent(), problems=NAMES, out=tmp_path, **SMALL)
    errors[:] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        study_all(progress=Silent(), problems=NAMES, out=tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [".blocks"]  # which holds its lock


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_loss": 0.1}, "target_loss is for one problem"),
        ({"target": "x"}, "target is an option of own tables"),
        ({"save_model": "m.npz"}, "save_model is an option of own tables"),
        ({"seeds": 1}, "seeds must be"),
        ({"hidden": (0,)}, "hidden"),
    ],
)
def test_bad_options_are_refused_before_anything(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """What belongs to one table or problem, and what makes no sense, is bad input; no file."""
    with pytest.raises(InputError, match=message):
        bench.study("all", out=tmp_path, progress=Silent(), **options)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_each_study_then_the_comparison(
    done: Comparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each problem's answer comes when it is there, the three sentences and the path at the end."""
    given: dict[str, Any] = {}

    def fake(finished: Callable[[module.Study], None], **options: Any) -> Comparison:
        given.update(options)
        finished(done.studies["iris"])
        return done

    monkeypatch.setattr(all_problems, "study_all", fake)
    assert cli.run(["study", "all", "--seeds", "6"]) == 0
    printed = capsys.readouterr().out
    iris = done.studies["iris"]
    assert given == {"seeds": 6}
    assert printed == (
        f"{iris.terminal_summary()}\n{iris.report}\n{done.terminal_summary()}\n{done.report}\n"
    )


def test_a_problem_without_results_is_a_failure_in_the_end(
    done: Comparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The comparison of the others is printed, then the exit code is 3 and names the problem."""
    lacking = Comparison(done.folder)
    lacking.record = done.record | {"failed": {"digits": "no"}}
    monkeypatch.setattr(all_problems, "study_all", lambda **_: lacking)
    assert cli.run(["study", "all"]) == 3
    printed, told = capsys.readouterr()
    assert printed.endswith(f"{done.report}\n")
    assert "no results of digits" in told


# Verdicts side by side


def row(claim: str, verdict: str = "supported", **about: Any) -> dict[str, Any]:
    """Return a row of claims.json."""
    measure = about.pop("measure", "time")
    kind = about.pop("kind", "ratio")
    made = judged(claim, measure, Estimate(2.0, 1.5, 3.0, 9), kind, 1.25, **about)
    return made | {"verdict": verdict}


def results(name: str, n_train: int, *claims: dict[str, Any], **frames: Any) -> Results:
    """Return the results of a problem with these claims; `frames` are its tables."""
    summary = frames.pop("summary", pd.DataFrame({"n_seeds": [9]}))
    recommended = frames.pop("recommended", [])
    return Results(name, name, n_train, 32, "sgd", recommended, list(claims), summary, frames)


def ratios(program: str = "", **by: tuple[float, float, float]) -> pd.DataFrame:
    """Return rows of ratios.csv: b1=(ratio, low, high) is that of batch size 1."""
    rows = [(int(name[1:]), *values) for name, values in by.items()]
    frame = pd.DataFrame(rows, columns=["batch_size", "ratio", "low", "high"])
    return frame.assign(program=program, axis="seconds" if program else "epochs")


def test_full_batches_of_different_sizes_share_a_line() -> None:
    """What is said against 100 samples of one problem and 900 of another is one line."""
    found = lines(
        [
            results("a", 100, *(row("C3", batch_size=1, against=b) for b in (32, 100))),
            results("b", 900, *(row("C3", batch_size=1, against=b) for b in (32, 900))),
        ]
    )
    assert [(line.key.batch, line.key.against) for line in found] == [
        (SAMPLE, BASE),
        (SAMPLE, FULL),
    ]
    for line in found:
        assert all(line.cells.values())
    against = [found[1].cells[name] for name in ("a", "b")]
    assert [cell["against"] for cell in against if cell] == [100, 900]


def test_the_best_of_each_problem_shares_a_line() -> None:
    """Where a problem has one row for a measure its batch sizes do not split the line."""
    found = lines(
        [
            results("a", 100, row("C2", batch_size=1, against=8)),
            results("b", 900, row("C2", batch_size=1, against=900)),
        ]
    )
    assert len(found) == 1
    assert found[0].key.against is None


def test_batch_sizes_between_are_left_out_where_they_are_many() -> None:
    """Of verdicts at every batch size the ends and the base stay, few odd sizes do too."""
    sizes = (1, 2, 4, 8, 16, 32, 64, 128, 900)
    many = lines([results("b", 900, *(row("C8", batch_size=b) for b in sizes))])
    assert [line.key.batch for line in many] == [SAMPLE, BASE, FULL]
    few = lines([results("b", 900, *(row("R4", batch_size=b, against=32) for b in (31, 33)))])
    assert [line.key.batch for line in few] == [31, 33]


def test_a_problem_without_a_verdict_has_an_empty_cell() -> None:
    """What was not measured on a problem is None there."""
    found = lines([results("a", 100, row("C2")), results("b", 900)])
    assert found[0].cells["b"] is None
    block = comparison.matrix([results("a", 100, row("C2")), results("b", 900)])[0]
    assert block.overall[1] is None
    assert block.rows[0][1][1] is None


def test_labels_tell_the_lines_of_a_claim_apart(compared: list[Results]) -> None:
    """No two lines of a claim have the same words."""
    for block in comparison.matrix(compared):
        labels = [label for label, _ in block.rows]
        assert len(set(labels)) == len(labels), block.claim


def test_cells_have_the_verdicts_shape_and_the_effect() -> None:
    """A refuted ratio has its class, effect, interval, the other arm, and the claim's place."""
    block = comparison.matrix([results("a", 100, row("C2", "refuted", against=8, batch_size=1))])[0]
    cell = block.rows[0][1][0]
    assert cell == comparison.Cell(
        "refuted", "refuted", "2.0 [1.5, 3.0]", "against 8", "../a/report.html#C2"
    )
    assert block.overall[0] is not None
    assert block.overall[0].word == "refuted"


def test_a_cell_is_as_short_as_can_be() -> None:
    """Units stand below the number, an open interval ends in infinity, nothing is rounded away."""
    points = row("C3", kind="difference") | {"effect": 0.12, "low": -0.031, "high": 0.2}
    assert comparison.effect_text(points) == ("+12 [−3.1, 20]", "points")
    assert comparison.effect_text(row("C2") | {"high": math.inf}) == ("2.0 [1.5, ∞]", "")
    batch = Finding("supported", 14.2, 5.5, math.inf, "batch")
    assert comparison.finding_text(batch) == ("14 [5.5, ∞]", "batch size")
    share = Finding("undecided", 0.64, math.nan, math.nan, "share")
    assert comparison.finding_text(share) == ("64%", "of the verdicts")


# The three sentences


def test_the_answer_counts_the_problems() -> None:
    """Within the margin, surely beyond it, and neither, by passes and by program."""
    near, far, open_ = (1.0, 0.9, 1.2), (3.0, 2.0, 4.0), (1.3, 1.0, 2.0)
    made = []
    for name, passes, seconds in (("a", near, far), ("b", far, far), ("c", open_, near)):
        table = pd.concat([ratios(b1=passes), ratios("ours", b1=seconds)])
        chosen = [{"program": "", "batch_size": len(made) + 1}]
        chosen.append({"program": "ours", "batch_size": 100})
        made.append(results(name, 100, row("C2"), row("R1"), ratios=table, recommended=chosen))
    made[0].claims[1]["verdict"] = "refuted"
    assert comparison.answer(made) == (
        "Updating after each sample needs at most 1.25 times the fewest passes on 1 of 3 problems "
        "(a) and surely more on 1 (b); it is as near to the least time on 1 of 3 in ours.",
        "The recommended batch size: 1 (a) to 3 (c) for the fewest passes; full in ours.",
        "Of 2 claims and rules of thumb, these hold by all of their measures: on every problem C2; "
        "on some problems R1; on none none of them.",
    )


def test_full_batches_of_different_problems_are_told_apart() -> None:
    """From one problem's full batch to a larger one's, the range is one of numbers."""
    table = ratios("ours", b1=(1.0, 0.9, 1.2))
    made = [
        results(name, n, ratios=table, recommended=[{"program": "ours", "batch_size": n}])
        for name, n in (("a", 100), ("b", 900))
    ]
    assert "100 (a) to 900 (b) in ours" in comparison.answer(made)[1]


def test_nothing_reached_is_told() -> None:
    """Problems on which nothing reached the target have no ratios, and the sentences say so."""
    first, second, _ = comparison.answer([results("a", 100, row("C2"))])
    assert "on none of the problems" in first
    assert "No batch size could be recommended" in second


# What papers report


def summary(**passes: tuple[float, float, float]) -> pd.DataFrame:
    """Return tuned rows of summary.csv at three targets, of which only the middle one counts."""
    rows = [
        (int(name[1:]), target, *(factor * value for value in values))
        for name, values in passes.items()
        for target, factor in ((0.4, 9.0), (0.3, 1.0), (0.2, 9.0))
    ]
    columns = ["batch_size", "target", "epochs", "epochs_low", "epochs_high"]
    return pd.DataFrame(rows, columns=columns).assign(protocol="tuned", n_seeds=9)


GROWTH = pd.DataFrame(
    {"part": ["below", "above"], "slope": [1.0, 0.1], "slope_low": [0.9, 0.0]}
).assign(slope_high=[1.1, 0.2])
TRADEOFF = pd.DataFrame(
    {
        "target": [0.2, 0.3, 0.4],
        "reading": ["not identified", "hyperbolic", "not identified"],
        "critical": [np.nan, 40.0, np.nan],
        "critical_low": 30.0,
        "critical_high": 50.0,
        "n_seeds": 9,
    }
)
NOISE = {
    "noise_average": pd.DataFrame(
        {"over": ["seeds", "run"], "population": [7.0, 100.0], "low": [1.0, 90.0]}
    ).assign(high=110.0, n_seeds=4)
}
SHARPNESS = pd.DataFrame(
    {
        "states": "full batch",
        "learning_rate": [0.1] * 4 + [0.5] * 8,
        "seed": [1] * 8 + [2] * 4,
        "updates": [1, 2, 3, 4] * 3,
        "sharpness": [9.0] * 4 + [1.0, 3.9, 4.1, 4.0] * 2,
        "limit": [20.0] * 4 + [4.0] * 8,
    }
)
RULES = pd.DataFrame(
    {
        "rule": ["adam_half_life"] * 3 + ["adam"],
        "batch_size": [1, 32, 100, 1],
        "examples": [100.0, 100.0, 300.0, 900.0],
    }
).assign(examples_low=lambda t: 0.95 * t.examples, examples_high=lambda t: 1.05 * t.examples)


@pytest.mark.parametrize(
    ("find", "given", "verdict", "effect"),
    [
        ("full_batch_passes", {"summary": summary(b1=(2, 2, 2), b100=(8, 7, 9))}, "supported", 4),
        ("full_batch_passes", {"summary": summary(b1=(8, 7, 9), b100=(2, 2, 2))}, "refuted", 0.25),
        ("full_batch_passes", {"summary": summary(b1=(2, 1, 3), b100=(3, 2, 4))}, "undecided", 1.5),
        ("hyperbola", {"tradeoff": TRADEOFF}, "supported", 40),
        ("linear_then_flat", {"rate_growth": GROWTH}, "supported", 1),
        (
            "linear_then_flat",
            {"rate_growth": GROWTH.assign(slope_low=0.3, slope_high=0.5)},
            "refuted",
            1,
        ),
        ("edge_of_stability", {"sharpness": SHARPNESS}, "supported", 1),
        ("edge_of_stability", {"sharpness": SHARPNESS.assign(limit=20.0)}, "refuted", 0.2),
        ("adam_per_sample", {"rules": RULES}, "supported", 1),
        ("noise_predicts", NOISE | {"tradeoff": TRADEOFF}, "supported", 2.5),
        ("noise_misleads", NOISE | {"tradeoff": TRADEOFF}, "undecided", 2.5),
        (
            "diminishing_returns",
            {"ratios": ratios(b1=(1, 1, 1), b8=(1.1, 1, 1.2), b100=(3, 2, 4))},
            "supported",
            8,
        ),
        (
            "diminishing_returns",
            {"ratios": ratios(b1=(1, 1, 1), b100=(1.1, 1, 1.2))},
            "refuted",
            100,
        ),
    ],
)
def test_findings_from_tables(
    find: str, given: dict[str, Any], verdict: str, effect: float
) -> None:
    """Planted numbers give the finding that they should, from the middle target."""
    found = getattr(literature, find)(results("a", 100, **given))
    assert (found.verdict, found.effect) == (verdict, pytest.approx(effect))


THRESHOLD = {"measure": "threshold / B", "against": 100}


@pytest.mark.parametrize(
    ("find", "rows", "expected"),
    [
        ("u_shape", [row("C8"), row("C8")], "supported"),
        ("u_shape", [row("C8"), row("C8", "undecided")], "undecided"),
        ("u_shape", [row("C8"), row("C8", "no material difference")], "refuted"),
        ("rate_grows", [row("C3", measure="threshold", against=100)], "supported"),
        ("rate_per_example", [row("C3", "refuted", **THRESHOLD)], "supported"),
        ("rate_per_example", [row("C3", **THRESHOLD)], "refuted"),
        ("rate_per_example", [row("C3", **THRESHOLD | {"against": 32})], None),
        ("momentum", [row("R5"), row("R5", "refuted", batch_size=1)], "refuted"),
        (
            "linear_scaling",
            [
                row("R2", b, measure="linear scaling", batch_size=100, base_batch_size=size)
                for b, size in (("refuted", 1), ("supported", 32))
            ],
            "supported",
        ),
        ("default_beta2", [row("R6", batch_size=b) for b in (100, 1)], "supported"),
        ("default_beta2", [row("R6", batch_size=100)], None),
        (
            "small_batch_scores",
            [row("R3", measure="best score", batch_size=1, against=b) for b in (32, 100)],
            "supported",
        ),
    ],
)
def test_findings_from_verdicts(
    find: str, rows: list[dict[str, Any]], expected: str | None
) -> None:
    """Findings follow the verdicts of the rows that they are about, and of no others."""
    found = getattr(literature, find)(results("a", 100, *rows))
    assert (found and found.verdict) == expected


def test_what_was_not_measured_has_no_finding() -> None:
    """A study without claims, tables and summary says nothing of any paper."""
    empty = results("a", 100, summary=summary(b32=(1, 1, 1)))
    for statement, found in literature.findings([empty]):
        assert found == {"a": None}, statement.reported
    assert {row.found for row in comparison.paper_rows([empty])} == {"Not measured."}


def test_the_words_of_a_finding_are_built_from_counts() -> None:
    """Agreement is counted over the problems measured; the others are named."""
    agrees, differs, same = (
        Finding(verdict, 1.0, 0.9, 1.1)
        for verdict in ("supported", "refuted", "no material difference")
    )
    found = {"a": agrees, "b": differs, "c": None, "d": agrees, "e": same}
    assert comparison.found_words(found) == (
        "Agrees on 2 of 4 problems; differs on b; no material difference on e; not measured on c."
    )
    assert comparison.found_words({"a": differs, "b": differs}) == "Differs on all 2 problems."


# Figures


def test_no_label_of_a_comparison_is_cut(compared: list[Results]) -> None:
    """All that is drawn lies within the figures, wide and narrow."""
    both = [
        *compared,
        results("c", 900, tradeoff=TRADEOFF, ratios=ratios(b1=(1, 1, 1)), **NOISE),
    ]
    drawn = 0
    for name, spec in across.FIGURES.items():
        data = spec.data(both)
        for narrow in (False, True):
            with draw.style(name):
                figure = spec.figure(data, narrow=narrow)
                box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
            width, height = figure.get_size_inches()
            assert min(box.x0, box.y0) > -0.02, name
            assert box.x1 < width + 0.02, name
            assert box.y1 < height + 0.02, name
            drawn += 1
    assert drawn == 6


def test_the_title_of_the_passes_tells_their_range() -> None:
    """Per sample and full batch: the least and the greatest ratio over the problems."""
    tables_ = {"a": (100, 2.0), "b": (900, 6.0)}
    made = [
        results(name, n, ratios=ratios(b1=(1.5 * r, 1, 9), **{f"b{n}": (r, 1, 9)}))
        for name, (n, r) in tables_.items()
    ]
    data = across.FIGURES["passes"].data(made)
    assert across.FIGURES["passes"].title(data) == (
        "Passes over the fewest, on 2 problems: per sample 3.0 to 9.0 and full batch 2.0 to 6.0 "
        "times as many"
    )


def test_every_verdict_has_a_word_for_papers() -> None:
    """What can be found of a claim can be said of a paper's statement."""
    assert set(comparison.AGREEMENT) == set(tables.VERDICT_CLASSES)
