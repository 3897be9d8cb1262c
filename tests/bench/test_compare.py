"""Revisions side by side: verdicts on simulated times, sides that crash or lack something."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bench import cli
from bench import compare as command
from bench.errors import InputError
from bench.experiments.progress import Silent
from bench.report import compare as report
from bench.speed.compare import child as side_process
from bench.speed.compare import judge as judging
from bench.speed.compare import measure as measuring
from bench.speed.compare import quality, sides
from bench.speed.compare.comparison import Plan
from bench.speed.compare.judge import LEVEL, LOOKS, Effect, effect_of, judge, looks, verdict_of
from bench.speed.compare.measure import (
    BASE,
    HEAD,
    FailedError,
    LackingError,
    Measured,
    SideError,
    SideProcess,
    compile_sides,
    measure,
)
from bench.speed.compare.sides import Side, lay_down, side

PAIRS, BLOCKS = 8, 20


def simulated(
    rng: np.random.Generator, ratio: float = 1.0, pairs: int = PAIRS, blocks: int = BLOCKS
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Seconds of both sides on a machine that jumps: processes differ by 1%, blocks by 8%."""
    base, head = [], []
    for _ in range(pairs):
        speed = np.exp(0.3 * (rng.random(blocks) < 0.3))
        noise = rng.standard_t(3, (2, blocks)) * 0.05
        own = rng.normal(0, 0.01)
        base.append(1e-3 * speed * np.exp(noise[0]))
        head.append(1e-3 * speed * np.exp(noise[1]) * ratio * math.exp(own))
    return base, head


def judged(rng: np.random.Generator, ratio: float = 1.0, pairs: int = PAIRS) -> judging.Row:
    """The verdict on one of two benchmarks, at a last look."""
    base, head = simulated(rng, ratio, pairs)
    return judge("x", base, head, tolerance=0.01, level=LEVEL, family=2)


@pytest.mark.parametrize("blocks", [1, 20])
@pytest.mark.parametrize("pairs", [4, 12])
def test_a_table_misses_as_seldom_as_it_says(pairs: int, blocks: int) -> None:
    """Of 12 joint intervals any misses in 5% of tables, whether processes or blocks vary."""
    rng = np.random.default_rng(1)
    tables, missed = 400, 0
    between = 0.01 if blocks > 1 else 0.03
    within = 0.06 if blocks > 1 else 0.0
    for _ in range(tables):
        true = rng.normal(0, between, (12, pairs, 1))
        medians = np.median(true + within * rng.standard_t(3, (12, pairs, blocks)), axis=2)
        found = [effect_of(0.03 + one, LEVEL / 12) for one in medians]
        missed += not all(one.low <= math.exp(0.03) <= one.high for one in found)
    assert missed <= 31  # of more the probability is 1%


def test_equal_sides_raise_no_alarm() -> None:
    """Of 400 comparisons of a side with itself none says slower or faster."""
    rng = np.random.default_rng(2)
    verdicts = [judged(rng).verdict for _ in range(400)]
    assert not {"slower", "faster"} & set(verdicts)


def test_a_slowdown_of_10_percent_is_seen_and_1_percent_is_not_made_up() -> None:
    """A tenth is found nearly always; what lies at the tolerance is left open."""
    rng = np.random.default_rng(3)
    assert sum(judged(rng, 1.15).verdict == "slower" for _ in range(100)) >= 95
    assert sum(judged(rng, 1.01).verdict == "slower" for _ in range(100)) <= 5


@pytest.mark.parametrize("pairs", [5, 12])
def test_the_smallest_visible_slowdown_is_seen_as_often_as_said(pairs: int) -> None:
    """At the slowdown that tables call visible, 80% of comparisons say slower."""
    rng = np.random.default_rng(4)
    visible = float(np.median([judged(rng, 1.0, pairs).visible for _ in range(400)]))
    found = np.mean([judged(rng, visible, pairs).verdict == "slower" for _ in range(600)])
    assert 0.73 <= found <= 0.87


def test_looks_spend_what_one_may_spend() -> None:
    """All looks together err 5% at most; the first spends little; few pairs are not looked at."""
    planned = looks(12)
    assert list(planned) == [6, 9, 12]
    assert sum(planned.values()) == pytest.approx(LEVEL)
    assert planned[6] < planned[9] < planned[12]
    assert list(looks(5)) == [3, 4, 5]
    assert list(looks(3)) == [3]
    assert len(LOOKS) == 3


def test_a_pair_with_many_blocks_weighs_no_more() -> None:
    """Processes are what is counted: 90 blocks of one are as one of another."""
    base = [np.ones(1), np.ones(90), np.ones(1)]
    head = [np.full(len(one), math.exp(k)) for k, one in enumerate(base)]
    row = judge("x", base, head, tolerance=0.01, level=LEVEL, family=1)
    assert row.effect.value == pytest.approx(math.e)
    assert (row.pairs, row.blocks) == (3, 92)


def test_one_process_of_its_own_speed_makes_no_verdict() -> None:
    """One pair in twelve that is off by 20% changes hardly anything: it is trimmed."""
    rng = np.random.default_rng(5)
    base, head = simulated(rng, pairs=12)
    head[0] = head[0] * 1.2
    row = judge("x", base, head, tolerance=0.01, level=LEVEL, family=2)
    assert row.verdict in ("same", "cannot tell")
    plain = judge(
        "x",
        base,
        simulated(np.random.default_rng(5), pairs=12)[1],
        tolerance=0.01,
        level=LEVEL,
        family=2,
    )
    assert row.effect.value == pytest.approx(plain.effect.value, abs=0.01)
    assert row.effect.high / row.effect.low < 1.5 * plain.effect.high / plain.effect.low


def test_few_processes_tell_nothing() -> None:
    """Two pairs give a ratio without an interval: no verdict, however far apart they are."""
    base, head = simulated(np.random.default_rng(6), 2.0, pairs=2)
    row = judge("x", base, head, tolerance=0.01, level=LEVEL, family=1)
    assert row.verdict == "cannot tell"
    assert (row.effect.low, row.effect.high, row.visible) == (0.0, math.inf, math.inf)
    assert row.bound == math.inf


def test_wild_processes_give_no_numbers_out_of_range() -> None:
    """Three pairs that differ a thousandfold: an interval, however wide, and no error."""
    effect = effect_of(np.log([1e-3, 1.0, 1e3]), 1e-6)
    assert 0 < effect.low < 1 < effect.high < math.inf


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.011, 1.2, "slower"),
        (1.009, 1.2, "cannot tell"),
        (0.9, 0.98, "faster"),
        (0.9, 0.995, "cannot tell"),
        (0.995, 1.009, "same"),
        (1.002, 1.008, "same"),
        (0.98, 1.02, "same"),
        (0.96, 1.02, "cannot tell"),
        (1.002, 1.02, "cannot tell"),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, verdict: str) -> None:
    """Beyond the tolerance of 1%: slower or faster; inside, or around 1 within 3%: the same."""
    assert verdict_of(Effect(math.sqrt(low * high), low, high, 0.01, 5), 0.01) == verdict


def test_a_larger_family_is_more_careful() -> None:
    """The interval that holds with all others is wider than the one that holds alone."""
    base, head = simulated(np.random.default_rng(7))
    few, many = (
        judge("x", base, head, tolerance=0.01, level=LEVEL, family=family) for family in (1, 12)
    )
    assert many.effect.low < few.effect.low < few.effect.value
    assert (many.alone, many.effect.value) == (few.alone, few.effect.value)


# What is asked


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": "soon"}, "--budget: a time such as 15s or 2min, got 'soon'"),
        ({"budget": "1s"}, "--budget: take 5s or more, got 1s"),
        ({"tolerance": -0.1}, "--tolerance: a share of 0 or more and below 1"),
        ({"tolerance": math.nan}, "--tolerance: a share of 0 or more and below 1"),
    ],
)
def test_options_that_make_no_sense_are_named(given: dict[str, Any], message: str) -> None:
    """One line names the option and the way out."""
    with pytest.raises(InputError, match=re.escape(message)):
        Plan("HEAD", **given)


def test_benchmarks_are_chosen_by_pattern_or_part() -> None:
    """`*` and `?` stand for letters; a part of a name is enough; what fits nothing is told."""
    known = ["64-32-10 run B=1", "64-32-10 run B=32", "2-2-1 block B=1"]
    assert Plan("HEAD", only="*b=1").benchmarks(known) == [known[0], known[2]]
    assert Plan("HEAD", only="2-2-1").benchmarks(known) == [known[2]]
    assert Plan("HEAD").benchmarks(known) == known
    with pytest.raises(InputError, match=r"--only adam: no benchmark is named so: 64-32-10 run"):
        Plan("HEAD", only="adam").benchmarks(known)


@pytest.mark.parametrize("revision", ["no-such-branch", "--output=x", "HEAD:kernels", ""])
def test_an_unknown_revision_is_named(revision: str) -> None:
    """What git does not know, and what would be an option of git, is no revision."""
    with pytest.raises(InputError, match=f"{revision!r} is no revision of the repository"):
        side(revision)


# Sides


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache for sides."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def folder_of_kernels(folder: Path, **files: str) -> Path:
    """Kernels with these texts."""
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.mark.usefixtures("cache")
def test_the_same_kernels_are_laid_down_once(tmp_path: Path) -> None:
    """Content decides, not the folder: an edit gives another side, a copy the same one."""
    one = lay_down(folder_of_kernels(tmp_path / "one", __init__="a = 1\n"))
    assert lay_down(folder_of_kernels(tmp_path / "copy", __init__="a = 1\n")) == one
    assert lay_down(folder_of_kernels(tmp_path / "edit", __init__="a = 2\n")) != one
    assert (one / "kernels" / "__init__.py").read_text() == "a = 1\n"


def test_old_sides_are_forgotten(cache: Path, tmp_path: Path) -> None:
    """Of many sides the cache keeps those used last."""
    (tmp_path / "many").mkdir()
    folders = []
    for k in range(sides.KEPT + 3):
        kernels = folder_of_kernels(tmp_path / "many" / str(k), __init__=f"a = {k}\n")
        folders.append(lay_down(kernels))
        os.utime(folders[-1], (k, k))
    kept = [folder for folder in folders if folder.is_dir()]
    assert len(list(cache.glob("batchbench-compare-*/*"))) <= sides.KEPT + 1
    assert folders[-1] in kept
    assert folders[0] not in kept


# Measuring, with processes that compute nothing


class FakeProcess:
    """Answers as a side's process does; HEAD takes 1.2 times as long."""

    crashes: ClassVar[str] = ""
    lacks: ClassVar[dict[str, str]] = {}
    refuses: ClassVar[dict[str, str]] = {}
    slower: ClassVar[float] = 1.2

    def __init__(self, name: str, _: Side) -> None:
        self.name = name
        self._rng = np.random.default_rng()

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def kill(self) -> None:
        """Nothing runs."""

    def ask(self, request: str, *arguments: Any) -> Any:
        """Prepare, pin, or a turn's seconds with some noise."""
        if self.crashes == f"{self.name} {request}":
            raise SideError(f"{self.name} (x), {request} {arguments[0]}: ended with exit code -11")
        if self.lacks.get(self.name) == arguments[0]:
            raise LackingError("AttributeError in x.py, line 1: no such rule")
        if self.refuses.get(self.name) == arguments[0]:
            raise FailedError(f"{self.name} (x), prepare: ValueError in train.py, line 1: no")
        slower = self.slower if self.name == HEAD else 1.0
        return 1e-3 * slower * self._rng.lognormal(0, 0.01) if request == "turn" else None


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, cache: Path) -> dict[str, Side]:
    """Two sides whose processes are fakes; quality is not asked for."""
    monkeypatch.setattr(measuring, "SideProcess", FakeProcess)
    monkeypatch.setattr(measuring.quality, "names", tuple)
    return {BASE: Side("a", "a" * 9, cache / "a"), HEAD: Side("b", "b" * 9, cache / "b")}


def measured_by(sides: dict[str, Side], *names: str) -> Measured:
    """Measure for a moment: every benchmark gets its least number of blocks."""
    found = Measured()
    compile_sides(sides, names, found, Silent())
    measure(sides, names, found, Silent(), budget=0.0, tolerance=0.01)
    return found


def test_a_slower_side_is_called_slower_and_leaves_the_race(fakes: dict[str, Side]) -> None:
    """A ratio of 1.2 is settled at the first look that can tell; all blocks are kept."""
    found = measured_by(fakes, "x")
    row = found.rows["x"]
    assert row.verdict == "slower"
    assert row.effect.value == pytest.approx(1.2, rel=0.02)
    assert row.pairs < found.pairs == 5
    assert len(found.frame()) == row.blocks == row.pairs * measuring.LEAST_BLOCKS


def test_equal_sides_are_looked_at_to_the_end(
    fakes: dict[str, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a difference no look stops, unless the sides are the same within the tolerance."""
    monkeypatch.setattr(FakeProcess, "slower", 1.0)
    row = measured_by(fakes, "x").rows["x"]
    assert row.verdict in ("same", "cannot tell")
    assert row.pairs == 5 or row.bound <= 0.01


@pytest.mark.parametrize("moment", ["BASE prepare", "HEAD turn", "HEAD pin"])
def test_a_crash_is_an_error_and_no_verdict(
    fakes: dict[str, Side], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whenever a side ends, the comparison says which and where."""
    monkeypatch.setattr(FakeProcess, "crashes", moment)
    with pytest.raises(SideError, match=f"^{moment[:4]} .* ended with exit code -11"):
        measured_by(fakes, "x")


def test_what_a_side_lacks_is_told_and_the_rest_compares(
    fakes: dict[str, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A benchmark that BASE cannot do is only in HEAD; the other one gets its verdict."""
    monkeypatch.setattr(FakeProcess, "lacks", {BASE: "new"})
    found = measured_by(fakes, "new", "x")
    assert list(found.rows) == ["x"]
    assert found.lacking == {"new": (HEAD, "AttributeError in x.py, line 1: no such rule")}


def test_what_base_refuses_is_only_in_head_and_what_head_refuses_is_an_error(
    fakes: dict[str, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception of BASE is something that HEAD has learned; one of HEAD is a fault."""
    monkeypatch.setattr(FakeProcess, "refuses", {BASE: "new"})
    assert measured_by(fakes, "new", "x").lacking["new"][0] == HEAD
    monkeypatch.setattr(FakeProcess, "refuses", {HEAD: "new"})
    with pytest.raises(SideError, match="ValueError in train"):
        measured_by(fakes, "new", "x")


def test_an_error_inside_the_kernels_is_no_lack() -> None:
    """AttributeError where the kernels are called: lacking. In the kernels themselves: failed."""
    child: Any = type("Child", (), {"quality": staticmethod(lambda: int.no_such)})()
    here = Path(__file__).name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(side_process, "CALLERS", (here,))
        assert side_process.answer(child, "quality", ())[0] == "lacking"
    assert side_process.answer(child, "quality", ())[0] == "failed"


def test_kernels_that_cannot_be_imported_are_an_error_with_its_place(
    tmp_path: Path, cache: Path
) -> None:
    """The side, the error and its line are told, by a real process."""
    assert cache.is_dir()
    folder = lay_down(folder_of_kernels(tmp_path / "broken", __init__="\nimport no_such_module\n"))
    with (
        SideProcess(HEAD, Side("x", "123456789", folder)) as process,
        pytest.raises(SideError, match=r"HEAD \(123456789\), pin 0: ModuleNotFoundError .* line 2"),
    ):
        process.ask("pin", 0)


# The quality gate


def test_a_process_of_either_side_that_ends_is_no_verdict() -> None:
    """Neither BASE nor HEAD may die in the gate; an error of BASE is something only HEAD can."""
    done = ("done", {"kind": "probe", "arrays": {}, "dtype": "float64", "terms": 1.0, "own": False})
    for base, head, verdict in (
        (("ended", "exit code -11"), done, "failed"),
        (done, ("ended", "exit code -11"), "failed"),
        (done, ("failed", "ValueError"), "failed"),
        (("failed", "ValueError"), done, "only in HEAD"),
    ):
        gate = quality.judge({"x": base}, {"x": head})
        assert [row.verdict for row in gate.rows] == [verdict]
        assert gate.passed == (verdict == "only in HEAD")


def test_what_head_cannot_train_any_more_is_no_accepted_difference() -> None:
    """`--accept-different` is about numbers, not about what is gone."""
    done = ("done", {"kind": "study", "arrays": {}})
    gate = quality.judge({"x": done}, {"x": ("lacking", "gone")}, accept_different=True)
    assert not gate.passed


# The command


def run_command(monkeypatch: pytest.MonkeyPatch, fakes: dict[str, Side], out: Path) -> int:
    """Run the command on fake sides, every benchmark for its least time."""
    monkeypatch.setattr(command, "side", {"a": fakes[BASE], "b": fakes[HEAD]}.__getitem__)
    real = measure

    def shortly(*arguments: Any, budget: float, tolerance: float) -> None:
        assert budget == 7.0
        real(*arguments, budget=0.0, tolerance=tolerance)

    monkeypatch.setattr(command, "measure", shortly)
    options = ["--budget", "7s", "--only", "*B=1", "--out", str(out)]
    return cli.run(["compare", "a", "b", *options])


def test_a_regression_ends_with_exit_code_1_and_its_files(
    fakes: dict[str, Side],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Table in the terminal; CSV, figure and Markdown in a folder named by both sides."""
    assert run_command(monkeypatch, fakes, tmp_path) == 1
    told = capsys.readouterr().out
    assert re.search(r"64-32-10 run B=1 .* slower\n", told)
    assert "Regression: 64-32-10 run B=1 is slower" in told
    folder = tmp_path / "compare" / "aaaaaaaaa..bbbbbbbbb"
    assert {path.name for path in folder.iterdir()} == {
        "blocks.csv", "quality.csv", "ratios.png", "ratios.svg", "speed.csv", "summary.md",
    }  # fmt: skip
    speed = pd.read_csv(folder / "speed.csv")
    assert (speed["low"] <= speed["low_alone"]).all()
    assert set(speed["verdict"]) == {"slower"}
    markdown = (folder / "summary.md").read_text()
    assert markdown.startswith("## batchbench: regression\n")
    assert "| 64-32-10 run B=1 |" in markdown
    assert "batchbench compare a b --budget 7s" in markdown


def test_no_regression_ends_with_exit_code_0(
    fakes: dict[str, Side],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Faster is no regression; a benchmark that only HEAD has is a row of its own."""
    monkeypatch.setattr(FakeProcess, "slower", 0.8)
    monkeypatch.setattr(FakeProcess, "lacks", {BASE: "2-2-1 block B=1"})
    assert run_command(monkeypatch, fakes, tmp_path) == 0
    told = capsys.readouterr().out
    assert re.search(r"2-2-1 block B=1 +only in HEAD\n", told)
    assert "No regression was seen; 1 benchmark could not be timed on both sides." in told


def test_what_head_has_lost_is_a_regression(
    fakes: dict[str, Side],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A benchmark that only BASE can do ends with exit code 1."""
    monkeypatch.setattr(FakeProcess, "slower", 1.0)
    monkeypatch.setattr(FakeProcess, "lacks", {HEAD: "2-2-1 block B=1"})
    assert run_command(monkeypatch, fakes, tmp_path) == 1


def test_a_crash_ends_with_exit_code_3_and_no_files(
    fakes: dict[str, Side],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither 0 nor 1: there is no verdict."""
    monkeypatch.setattr(FakeProcess, "crashes", "HEAD turn")
    assert run_command(monkeypatch, fakes, tmp_path) == 3
    assert "SideError: HEAD" in capsys.readouterr().err
    assert not (tmp_path / "compare").exists()


def test_nothing_to_compare_is_bad_input(
    fakes: dict[str, Side],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where a side can do none of the benchmarks nothing is called "no regression"."""
    monkeypatch.setattr(FakeProcess, "lacks", dict.fromkeys((BASE, HEAD), "2-2-1 block B=1"))
    monkeypatch.setattr(command, "BENCHMARKS", ["2-2-1 block B=1"])
    assert run_command(monkeypatch, fakes, tmp_path) == 2
    assert "none of the benchmarks runs on both sides" in capsys.readouterr().err


def test_the_verdict_is_told_before_a_full_disk_may_swallow_it(
    fakes: dict[str, Side],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Minutes of measuring are not lost with the files: the table is printed first."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command.report, "write", full)
    assert run_command(monkeypatch, fakes, tmp_path) == 2
    told = capsys.readouterr()
    assert "is slower" in told.out
    assert "No space left on device" in told.err


def test_markdown_takes_any_text_as_it_is() -> None:
    """Texts of a side's errors make no table cell, emphasis, link or tag."""
    text = report.markdown_table([("a", "b"), ("__init__() | `x` \\", "<b>[y](z)*")])
    assert text.splitlines()[-1] == (r"| \_\_init\_\_() \| \`x\` \\ | &lt;b>\[y\](z)\* |")


def test_bad_input_ends_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names what is wrong."""
    assert cli.run(["compare", "no-such-branch"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("batchbench: 'no-such-branch' is no revision")
    assert err.count("\n") == 1


def test_the_kernels_of_a_commit_are_timed_in_processes_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For real, and for a moment: XOR's kernels of the working tree on both sides are equal."""
    monkeypatch.setattr(measuring.quality, "names", lambda: ("orders and grids",))
    command = ["compare", ".", ".", "--budget", "5s", "--only", "2-2-1*", "--out", str(tmp_path)]
    assert cli.run(command) == 0
    told = capsys.readouterr().out
    assert "2-2-1 block B=1" in told
    assert "identical" in told
    blocks = pd.read_csv(next(tmp_path.glob("compare/*/blocks.csv")))
    assert blocks["pair"].nunique() == 5
    assert (blocks[["base", "head"]] > 0).all(axis=None)
