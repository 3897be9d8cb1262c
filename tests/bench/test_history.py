"""`batchbench history`: what is read, how it is judged, and what the command writes and returns."""

from __future__ import annotations

import math
import re
import shutil
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from bench import cli
from bench.history import history
from bench.report import history as page
from bench.report.figures import draw
from bench.report.figures import history as drawings
from bench.speed import reference_workload
from bench.speed.history import FORMAT, OURS, last_timings, read, save, without_infinity
from bench.speed.metrics import EXAMPLES, RATES, SUCCESS, UPDATES, Metric, metrics_of
from bench.speed.reference_workload import relative
from bench.speed.series import (
    BETTER,
    FEW,
    NOISY,
    SAME,
    WORSE,
    Machine,
    Series,
    machines_of,
    points_frame,
)
from bench.speed.timings import Timing
from bench.study import load

ROOT = Path(__file__).resolve().parents[2]
TIMING = Timing(
    "block of 16", "digits", "8", "64-32-10 on digits", 1e-3, 1000, 50_000_000, 1e11, 2,
    reference=1e-3, relative_low=0.99, relative_high=1.01,
)  # fmt: skip
OTHER = replace(TIMING, operation="forward", seconds=5e-3, relative_low=4.9, relative_high=5.1)
METRIC = Metric("digits", "examples to the target", 5000.0, 4800.0, 5200.0, 12, "higher", "B")
LEVEL = [1.0, 1.02, 0.99, 1.01, 0.98, 1.0, 1.01, 0.99, 1.02, 1.0]
START = datetime(2026, 1, 1, tzinfo=UTC)


def a_run(
    number: int = 0, node: str = "here", dirty: bool = False, **changes: Any
) -> dict[str, Any]:
    """What is saved of a run: two timings, the first `seconds` times as long, and one metric."""
    seconds, commit = changes.get("seconds", 1.0), changes.get("commit", f"{number:040x}")
    metric = replace(METRIC, **changes.get("metric", {}))
    first = replace(TIMING, seconds=1e-3 * seconds)
    first = replace(first, relative_low=0.99 * seconds, relative_high=1.01 * seconds)
    timings = [first, replace(OTHER, seconds=5e-3 * LEVEL[number % len(LEVEL)])]
    return {
        "datetime": (START + timedelta(hours=number)).isoformat(),
        "machine_info": {"fingerprint": {"node": node, "processor": "<fast>", "blas": "openblas"}},
        "commit_info": {"id": commit, "dirty": dirty},
        "benchmarks": [
            {"extra_info": {**vars(t), "relative_seconds": t.relative_seconds}} for t in timings
        ],
        OURS: {"format": FORMAT, "quality": [without_infinity(asdict(metric))]},
    }


def stored(folder: Path, values: list[float], **last: Any) -> Path:
    """A results folder whose runs took so long; `last` changes the newest."""
    for number, seconds in enumerate(values):
        changes = last if number == len(values) - 1 else {}
        save(folder / "history", a_run(number, seconds=seconds, **changes))
    return folder


def machine(folder: Path) -> Machine:
    """The machine of the newest run."""
    return machines_of(read(folder / "history")[0])[0]


def first(folder: Path) -> Series:
    """The benchmark that is changed: "block of 16"."""
    return next(one for one in machine(folder).series if one.name.startswith("block"))


# What is read


def test_last_timings_are_those_of_the_same_machine(tmp_path: Path) -> None:
    """The newest run of the same machine counts; another machine's never does."""
    for number, (node, seconds) in enumerate([("here", 1.0), ("here", 2.0), ("elsewhere", 9.0)]):
        save(tmp_path, a_run(number, node, seconds=seconds))
    here = a_run()["machine_info"]["fingerprint"]
    before, notes = last_timings(tmp_path, here)
    assert before[TIMING.key] == pytest.approx(2.0)
    assert notes == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a whole run"),
        ('{"machine_info": ', "not a whole run"),
        ("[]", "not a whole run"),
        ("{}", "not a run of pytest-benchmark"),
        ('{"machine_info": {}, "commit_info": {}, "benchmarks": []}', "other benchmarks"),
        (
            '{"machine_info": {"fingerprint": {}}, "commit_info": {}, "benchmarks": []}',
            "older version",
        ),
        (
            '{"machine_info": 0, "commit_info": 0, "benchmarks": 0, "batchbench": {"format": 9}}',
            "another version",
        ),
    ],
)
def test_what_is_no_run_is_skipped_and_named(tmp_path: Path, text: str, why: str) -> None:
    """Foreign, half-written and older files take one line each and hide nothing."""
    path = save(tmp_path, a_run())
    bad = path.with_name("0002_bad.json")
    bad.write_text(text)
    runs, (note,) = read(tmp_path)
    assert [run.path for run in runs] == [path]
    assert note.startswith(f"skipped {bad}: ")
    assert why in note


DAMAGED: dict[str, tuple[Any, ...]] = {
    "seconds": (0.0, -1.0, math.nan, math.inf, True, "1", 10**400),
    "reference": (0, None, "x", 1e-320),
    "relative_low": ("a", math.nan, -1.0, None, 2.0),
    "relative_high": (0.5, []),
    "batch_size": (8, None),
    "samples": (0, 1.5, 10**400),
    "value": ("x", math.nan, -1, True, 9000.0, None),
    "low": (None, -1.0),
    "worse": ("sideways", 3, None),
    "n": ("x", -1, 2.5),
    "study": (3,),
}


def damaged(folder: Path, field: str, value: Any) -> tuple[Path, Path]:
    """A whole run, and one of which one field is wrong."""
    run = a_run(1)
    records = [b["extra_info"] for b in run["benchmarks"]] + run[OURS]["quality"]
    (one, *_) = (record for record in records if field in record)
    one[field] = value
    return save(folder, a_run(0)), save(folder, run)


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in DAMAGED.items() for value in values]
)
def test_a_field_of_wrong_type_or_range_is_no_run(tmp_path: Path, field: str, value: Any) -> None:
    """It would spoil or break what is made of it; the next benchmarks are compared without it."""
    whole, bad = damaged(tmp_path, field, value)
    runs, (note,) = read(tmp_path)
    assert [run.path for run in runs] == [whole]
    before, notes = last_timings(tmp_path, a_run()["machine_info"]["fingerprint"])
    assert before[TIMING.key] == pytest.approx(1.0)
    assert notes == [note]
    assert note.startswith(f"skipped {bad}: not a whole run of these benchmarks (")


def test_infinite_bounds_survive_the_file(tmp_path: Path) -> None:
    """What JSON does not know is written as null, and read as infinity."""
    path = save(tmp_path, a_run(metric={"value": math.inf, "high": math.inf}))
    assert "Infinity" not in path.read_text()
    ((run,), _) = read(tmp_path)
    assert run.metrics[0] == replace(METRIC, value=math.inf, high=math.inf)


def test_runs_are_in_the_order_of_time(tmp_path: Path) -> None:
    """Whatever their numbers are, and whatever time zone they were written in."""
    for number in (3, 1, 2):
        save(tmp_path, a_run(number))
    early = a_run(0) | {"datetime": "2026-01-01T02:00:00+02:00"}
    save(tmp_path, early)
    assert [int(run.commit, 16) for run in read(tmp_path)[0]] == [0, 1, 2, 3]


# The reference workload


def test_the_reference_workload_learns_and_is_always_the_same() -> None:
    """Two calls give the same weights, which are no longer those of the start."""
    (a, b), (c, d) = reference_workload.train(), reference_workload.train()
    assert (a == c).all()
    assert (b == d).all()
    assert np.isfinite(a).all()
    assert abs(a - reference_workload.START[0]).max() > 1e-3


def test_the_reference_workload_has_nothing_of_the_kernels() -> None:
    """No change of ours may move the yardstick."""
    source = Path(reference_workload.__file__).read_text()
    assert not re.search(r"^(import|from) kernels", source, re.MULTILINE)


def test_the_interval_of_a_ratio_holds_both_spreads() -> None:
    """Square-and-add on logarithms of order statistics; few rounds bound nothing."""
    calls = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.0, 1.2]
    alone = relative([2 * x for x in calls], [1.0] * 8)
    assert (alone.value, alone.low, alone.high) == pytest.approx((2.0, 1.8, 2.4))
    both = relative([2 * x for x in calls], calls)
    down = np.hypot(np.log(1 / 0.9), np.log(1.2))
    assert both.low == pytest.approx(2 * np.exp(-down))
    assert relative([2.0] * 5, [1.0] * 8)[1:3] == (0.0, math.inf)


# Quality


def test_metrics_are_those_of_the_summary() -> None:
    """The study of the repository: the numbers of its summary.csv, at its recommended batch."""
    done = load(ROOT / "results" / "reference" / "digits")
    wanted = (SUCCESS, EXAMPLES, UPDATES, RATES)
    found = {one.name: one for one in metrics_of(done.record, done.summary, wanted)}
    rows = done.summary[done.summary["protocol"] == "tuned"]
    rows = rows[rows["target"] == done.record["targets"][1]].set_index("batch_size")
    best = done.record["recommended"][0]["batch_size"]
    assert found["examples to the target"].value == rows.loc[best, "examples"]
    assert found["examples to the target"].at == f"batch size {best}"
    assert found["updates to the target, B = 32"].high == rows.loc[32, "updates_high"]
    stable = found["largest stable rate, B = 1"]
    assert stable.low == rows.loc[1, "largest_stable_learning_rate"]
    assert stable.high == rows.loc[1, "smallest_unstable_learning_rate"]
    assert found["success rate"].worse == stable.worse == "lower"


@pytest.mark.parametrize(
    ("metric", "found"),
    [
        ({}, SAME),
        ({"value": 5400.0, "low": 5100.0, "high": 5600.0}, SAME),  # the intervals overlap
        ({"value": 5210.0, "low": 5205.0, "high": 5300.0}, SAME),  # less than 5%
        ({"value": 6000.0, "low": 5800.0, "high": 6200.0}, WORSE),
        ({"value": math.inf, "low": 6000.0, "high": math.inf}, WORSE),
        ({"value": 4000.0, "low": 3800.0, "high": 4200.0}, BETTER),
        ({"value": 4000.0, "low": 3800.0, "high": 4200.0, "worse": "lower"}, FEW),  # another series
    ],
)
def test_quality_is_judged_by_its_intervals(
    tmp_path: Path, metric: dict[str, Any], found: str
) -> None:
    """Worse is what lies beyond the interval before with its own, by 5% and more."""
    series = machine(stored(tmp_path, [1.0, 1.0], metric=metric)).series
    assert [one.newest for one in series if one.kind == "quality"][-1] == found


def test_quality_knows_its_bad_direction(tmp_path: Path) -> None:
    """A lower success rate is worse, a higher one better."""
    for value, found in ((0.4, WORSE), (0.9, BETTER)):
        numbers = {"value": value, "low": value - 0.01, "high": value + 0.01, "worse": "lower"}
        folder = tmp_path / found
        save(
            folder / "history", a_run(0, metric=numbers | {"value": 0.6, "low": 0.59, "high": 0.61})
        )
        save(folder / "history", a_run(1, metric=numbers))
        assert machine(folder).series[-1].newest == found


def test_a_second_run_of_a_bad_commit_is_still_bad(tmp_path: Path) -> None:
    """Quality is held against the last run of another commit."""
    bad = {"value": 6000.0, "low": 5800.0, "high": 6200.0}
    for number, metric in enumerate(({}, bad, bad)):
        commit = "a" * 40 if metric else "b" * 40
        save(tmp_path / "history", a_run(number, metric=metric, commit=commit))
    assert machine(tmp_path).series[-1].newest == WORSE


# Series


def test_machines_are_never_one_series(tmp_path: Path) -> None:
    """Runs of two machines by turns: two machines with their own runs, the newest first."""
    for number in range(6):
        save(tmp_path, a_run(number, "here" if number % 2 else "there", seconds=1.0 + number % 2))
    here, there = machines_of(read(tmp_path)[0])
    assert (here.fingerprint["node"], there.fingerprint["node"]) == ("here", "there")
    assert {point.value for point in here.series[0].points} == {2.0}
    frame = points_frame([here, there])
    assert frame.groupby("machine")["run"].max().to_dict() == {1: 3, 2: 3}


def test_a_step_is_marked_at_its_run(tmp_path: Path) -> None:
    """The level doubles with run 11: one step there in that benchmark, none in the other."""
    folder = stored(tmp_path, [*LEVEL, *(2 * x for x in LEVEL)])
    (step,) = first(folder).steps
    assert step.start == 10
    frame = points_frame([machine(folder)])
    marked = frame[frame["step"].notna()]
    assert marked["run"].tolist() == [11]
    assert marked["step"].item() == pytest.approx(2, rel=0.02)
    assert marked["relative_level"].item() == pytest.approx(2, rel=0.02)


def test_steps_are_judged_over_all_series_together(tmp_path: Path) -> None:
    """A step of 12% among 3 series is one; among 100 such steps come by chance."""
    folder = stored(tmp_path, [*LEVEL, *(1.12 * x for x in LEVEL)])
    assert [step.start for step in first(folder).steps] == [10]
    *earlier, last = read(folder / "history")[0]
    more = tuple(replace(OTHER, operation=f"other {i}") for i in range(97))
    (many,) = machines_of([*earlier, replace(last, timings=last.timings + more)])
    assert len(many.series) == 100
    assert many.series[0].steps == ()


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([*LEVEL, 1.5], WORSE),
        ([*LEVEL, 0.5], BETTER),
        ([*LEVEL, 1.03], SAME),
        ([*LEVEL, *(1.5 * x for x in LEVEL)], SAME),
        ([*LEVEL[:4], 3.0], FEW),
        ([1.0, 1.5, 0.7, 1.3, 0.6, 1.4, 0.8, 1.6, 0.7, 1.2, 1.5], NOISY),
    ],
)
def test_the_newest_run_is_judged(tmp_path: Path, values: list[float], found: str) -> None:
    """Far above its level it is worse, far below better; what stays so is the new level.

    After few runs, or where they scatter by half, it is not told.
    """
    assert first(stored(tmp_path, values)).newest == found


def test_a_benchmark_that_the_newest_run_lacks_is_not_judged(tmp_path: Path) -> None:
    """Its last point was judged when it was the newest."""
    folder = stored(tmp_path, [*LEVEL, 3.0])
    run = a_run(20)
    run["benchmarks"] = run["benchmarks"][1:]
    save(folder / "history", run)
    assert first(folder).newest == "not in the newest run"


# The command


class Ran(NamedTuple):
    """What the command left behind."""

    folder: Path
    code: int
    out: str


def command(folder: Path, *options: str) -> Ran:
    """Run it, on a history with a slower newest run, a dirty one and one of another machine."""
    out = StringIO()
    with redirect_stdout(out):
        code = cli.run(["history", "--out", str(folder), *options])
    return Ran(folder, code, out.getvalue())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The command with --check, where the newest run is slower."""
    folder = stored(tmp_path_factory.mktemp("results"), [*LEVEL, 1.5], dirty=True)
    save(folder / "history", a_run(-1, "there"))
    (folder / "history" / "broken.json").write_text("{")
    return command(folder, "--check")


def test_check_finds_what_became_worse(ran: Ran) -> None:
    """The exit code is 1; table and sentence name the benchmark, the broken file is named too."""
    assert ran.code == 1
    assert "with uncommitted changes, is worse in 64-32-10 on digits: block of 16, B = 8" in ran.out
    assert re.search(r"block of 16 +1\.50 WORSE", ran.out)
    assert re.search(r"forward +1\.\d+ \(±\d", ran.out)
    assert f"skipped {ran.folder / 'history' / 'broken.json'}" in ran.out
    assert ran.out.rstrip().endswith(str(ran.folder / "history" / "report.html"))


def test_the_page_is_one_file_with_the_findings(ran: Ran) -> None:
    """It asks nothing of the network, names method, machines and findings, and is in the index."""
    text = (ran.folder / "history" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!figures/|series.csv|#)|@import|url\((?!#)""", text)
    assert "Kovács" in text
    assert '<b class="refuted">worse (this run alone)</b>' in text
    assert "&lt;fast&gt;" in text
    assert "11 runs" in text
    assert "12 runs on 2 machines, 1 of them with uncommitted changes" in text
    assert "history/report.html" in (ran.folder / "index.html").read_text(encoding="utf-8")


def test_all_points_are_in_the_table(ran: Ran) -> None:
    """series.csv has a row a point, with machine, commit and interval."""
    table = pd.read_csv(ran.folder / "history" / "series.csv")
    assert len(table) == 12 * 3
    assert table["dirty"].sum() == 3
    newest = table[(table["machine"] == 1) & (table["run"] == 11) & (table["newest"] == "worse")]
    assert newest["value"].item() == pytest.approx(1.5)
    assert newest["high"].item() == pytest.approx(1.5 * 1.01)


def test_the_runs_stay_and_the_page_is_written_anew(ran: Ran, tmp_path: Path) -> None:
    """A second call leaves the same runs; without --check the exit code is 0."""
    folder = tmp_path / "copy"
    shutil.copytree(ran.folder, folder)
    (folder / "history" / "figures" / "old.svg").write_text("")
    before = sorted((folder / "history").rglob("*.json"))
    assert command(folder).code == 0
    assert sorted((folder / "history").rglob("*.json")) == before
    assert not (folder / "history" / "figures" / "old.svg").exists()


def test_a_single_run_has_a_page(tmp_path: Path) -> None:
    """It says that there is too little to tell, and --check finds nothing."""
    done = command(stored(tmp_path, [1.0]), "--check")
    assert done.code == 0
    assert "too few runs before it" in done.out
    assert "too few" in done.out.split("block of 16")[1]
    assert not list((tmp_path / "history" / "figures").glob("newest*"))


def test_no_run_tells_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and a line that says what stores a run."""
    assert cli.run(["history", "--out", str(tmp_path)]) == cli.BAD_INPUT
    told = capsys.readouterr().err
    assert told.startswith("batchbench: no run in ")
    assert "pytest --benchmark" in told


@pytest.mark.parametrize(
    ("field", "value"),
    [("reference", 0), ("seconds", 10**400), ("relative_low", "a"), ("value", "x")],
)
def test_the_command_skips_and_names_damage(tmp_path: Path, field: str, value: Any) -> None:
    """One wrong field takes a line and a run away, nothing more."""
    _, bad = damaged(tmp_path / "history", field, value)
    done = command(tmp_path, "--check")
    assert done.code == 0
    assert f"skipped {bad}" in done.out
    assert "1 run on 1 machine" in done.out


def test_a_history_of_broken_files_names_them(tmp_path: Path) -> None:
    """Where no file is a run, the first reason is in the line."""
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "0001_x.json").write_text("{")
    assert cli.run(["history", "--out", str(tmp_path)]) == cli.BAD_INPUT


@pytest.mark.parametrize("narrow", [False, True])
def test_figures_show_what_is_known(tmp_path: Path, narrow: bool) -> None:
    """Each figure can be drawn on both widths; titles tell steps, runs and the worst."""
    folder = stored(tmp_path, [*LEVEL, *(2 * x for x in LEVEL), 5.0])
    machines = [machine(folder)]
    specs = drawings.figures(machines)
    assert list(specs) == ["newest", "speed_1", "quality"]
    titles = {name: spec.title(spec.data(machines)) for name, spec in specs.items()}
    assert "1 of 3 series worse" in titles["newest"]
    assert "64-32-10, block of 16, B = 8 is 2.5" in titles["newest"]
    assert "21 runs: block of 16, B = 8 is 2.0" in titles["speed_1"]
    assert titles["quality"] == "How well networks learn: no step in 1 series, 21 runs"
    for spec in specs.values():
        figure = spec.figure(spec.data(machines), narrow=narrow)
        assert figure.get_figwidth() == (draw.NARROW if narrow else figure.get_figwidth())


def test_noise_alone_is_no_all_clear(tmp_path: Path) -> None:
    """Where every series is too noisy or too short, the answer is not that nothing changed."""
    for number in range(12):
        run = a_run(number, seconds=1.0 + (number * 7 % 5) / 3)
        run["benchmarks"] = run["benchmarks"][:1]
        run[OURS]["quality"] = []
        save(tmp_path / "history", run)
    (told, *_) = page.sentences([machine(tmp_path)])
    assert told.endswith("cannot be judged; 1 series is too noisy to tell.")


def test_the_answer_counts_what_cannot_be_told(tmp_path: Path) -> None:
    """Nothing worse, and how many series have too few points, in the first sentence."""
    found, _ = history(stored(tmp_path, LEVEL[:4]))
    told = page.sentences(found.machines)[0]
    assert told.endswith("is no change for the worse; 2 series have too few points to tell.")
    assert found.worse == []
