"""The roofline: what each way of training moves, the roof above it, figures, page and command."""

from __future__ import annotations

import re
import textwrap
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from bench import cli
from bench.about import command_of
from bench.errors import InputError
from bench.experiments.progress import Silent
from bench.report import roofline as page
from bench.report.figures import DrawnFigure, draw
from bench.report.figures import roofline as drawings
from bench.speed import cases
from bench.speed import roofline as measured
from bench.speed.bandwidth import KIB, MIB, Curve, Level, working_sets
from bench.speed.flops import step_flops
from bench.speed.peers import Params
from bench.speed.roofline import OUR_WAYS, Plan, Roofline, judged, measure_size
from bench.speed.traffic import Roofs, Sweep, Way, bound, sweeps
from kernels import Network

DIGITS = Network((64, 32, 10), output="softmax", loss="ce")
FIRST, REST = 4 * 65 * 32, 4 * 33 * 10  # bytes of weights and biases
LEVELS = (
    Level("L1", 32 * KIB, 200e9, 180e9),
    Level("L2", MIB, 100e9, 90e9),
    Level("memory", float("inf"), 20e9, 15e9),
)
ROOFS = Roofs(120e9, LEVELS)
NUMPY = Way("NumPy")


def block(look_ahead: bool) -> Way:
    """Sixteen runs of our engine."""
    return Way("batchbench", 16, look_ahead)


@pytest.mark.parametrize(
    ("way", "batch_size", "whole", "further"),
    [
        # step by step: first layer read, read and written; upper ones in and out, read twice more,
        # at B = 1 once, where delta and gradient are one pass
        (block(False), 1, 3 * FIRST + 2 * REST, REST),
        (block(False), 8, (3 * FIRST + 2 * REST) / 8, 2 * REST / 8),
        # look-ahead: the first layer once in 16 samples, the upper ones as above, each batch
        (block(True), 1, (3 * FIRST + 2 * REST) / 16, 3 * REST - 2 * REST / 16),
        (block(True), 3, (3 * FIRST + 2 * REST) / 15, 4 * REST / 3 - 2 * REST / 15),
        # three chunks, three times each; the sum set to 0, and applied: four times more
        (block(True), 40, 13 * (FIRST + REST) / 40, 3 * REST / 40),
        # one run: upper weights twice, six visits
        (Way("batchbench", 1, False), 2, (3 * FIRST + 4 * REST) / 2, 2 * REST / 2),
        (Way("batchbench", 1, True), 16, (3 * FIRST + 4 * REST) / 16, 2 * REST / 16),
        (Way("batchbench", 1, True), 32, 10 * (FIRST + 2 * REST) / 32, 0),
        # others: a batch of any size at once, nothing kept beside the weights
        (NUMPY, 400, (3 * FIRST + 2 * REST) / 400, 2 * REST / 400),
    ],
)
def test_bytes_are_those_counted_by_hand(
    way: Way, batch_size: int, whole: float, further: float
) -> None:
    """Bytes per sample and run of each way of training follow from its passes over the weights."""
    moved = sweeps(way, DIGITS, batch_size)
    assert [sweep.moved for sweep in moved] == pytest.approx([whole, further])


def test_working_sets_are_those_of_all_runs() -> None:
    """All weights of all runs, with the gradient where it stands beside them; upper ones alone."""
    sizes = {
        (way, size): [sweep.working_set for sweep in sweeps(way, DIGITS, size)]
        for way in (block(True), Way("batchbench", 1, True), NUMPY)
        for size in (16, 17)
    }
    assert sizes[block(True), 16] == [16 * (FIRST + REST), 16 * REST]
    assert sizes[block(True), 17] == [32 * (FIRST + REST), 16 * REST]
    assert sizes[Way("batchbench", 1, True), 16] == [FIRST + 2 * REST, 2 * REST]
    assert sizes[NUMPY, 17] == [FIRST + REST, REST]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 8, 16, 100, 1437])
@pytest.mark.parametrize("runs", [1, 16])
def test_look_ahead_moves_less_in_small_batches_only(runs: int, batch_size: int) -> None:
    """Below half a chunk the weights come less often; from there on both ways are the same."""
    ahead, steps = (
        sweeps(Way("batchbench", runs, way), DIGITS, batch_size)[0].moved for way in (True, False)
    )
    assert ahead < steps if batch_size <= 8 else ahead == steps


def test_the_nearest_roof_is_the_lowest() -> None:
    """Few flops a byte are bound by the level that the bytes come from, many by the arithmetic."""
    flops = step_flops(DIGITS)
    steps = bound(block(False), DIGITS, 1, ROOFS)
    assert (steps.level, steps.roof) == ("L2", "L2")
    assert steps.intensity == pytest.approx(flops / (3 * FIRST + 2 * REST))
    assert steps.speed == pytest.approx(100e9 * steps.intensity)
    ahead = bound(block(True), DIGITS, 1, ROOFS)
    assert (ahead.level, ahead.roof, ahead.speed) == ("L2", "fma", 120e9)


def test_further_visits_come_from_the_level_that_holds_them() -> None:
    """What the upper layers alone move counts in L1 and not in L2, and can be the nearest roof."""
    slow = Roofs(120e9, (Level("L1", 32 * KIB, 30e9, 30e9), *LEVELS[1:]))
    moved = sweeps(block(True), DIGITS, 1)
    assert slow.bytes_from(1, moved) == pytest.approx(moved[0].moved)
    assert slow.bytes_from(0, moved) == pytest.approx(moved[0].moved + moved[1].moved)
    assert bound(block(True), DIGITS, 1, slow).roof == "L1"
    assert slow.bytes_from(2, [Sweep(2 * MIB, 7.0), Sweep(MIB, 1.0)]) == 7


def example(peers: tuple[str, ...] = ("NumPy", "JAX"), taken: float = 0.01) -> Roofline:
    """What a core would show that reaches half of each roof; NumPy's calls take 20 us more."""
    rows = []
    for case in ("digits", "wide"):
        c = cases.case(case)
        for size in Plan().sizes(c.n):
            for way in [*OUR_WAYS, *map(Way, peers)]:
                near = bound(way, c.network, size, ROOFS)
                seconds = 2 * near.flops / near.speed + (way == NUMPY) * 20e-6 / size
                row = {"case": case, "title": c.title, "n_train": c.n, "batch_size": size}
                times = {"seconds": seconds, "low": 0.9 * seconds, "high": 1.2 * seconds}
                rows.append(row | way._asdict() | times)
    sizes = np.array(working_sets([32 * KIB, MIB]))
    rates = np.array([200e9, 100e9, 20e9])[np.searchsorted([32 * KIB, MIB], sizes)]
    curve = Curve(sizes, rates, 0.9 * rates)
    left_out = {} if peers else {"JAX": "batch size 1: <ended>"}
    return Roofline(ROOFS, curve, True, judged(pd.DataFrame(rows), ROOFS), left_out, taken)


@pytest.fixture(scope="module")
def roofline() -> Roofline:
    """The example."""
    return example()


def test_shares_are_those_of_the_roof(roofline: Roofline) -> None:
    """Who takes twice the time that the roof allows reaches half of it."""
    rows = roofline.rows[roofline.rows["program"] != "NumPy"]
    assert rows["share"].to_numpy() == pytest.approx(0.5)
    assert (rows["peak_share"] <= 0.5 + 1e-12).all()
    calls = roofline.rows[roofline.rows["program"] == "NumPy"]
    assert (calls["share"] < 0.5).all()


def test_small_batches_are_held_against_the_best(roofline: Roofline) -> None:
    """Each way takes 1 times as long at its best batch size; the title tells the smallest one."""
    data = drawings.small_batches_data(roofline, "digits")
    assert data.groupby(drawings.WAY)["relative"].min().to_numpy() == pytest.approx(1)
    assert (data["relative_low"] / data["relative"]).to_numpy() == pytest.approx(0.9)
    first = data[data["batch_size"] == 1].set_index(drawings.WAY)["relative"]
    steps, ahead = (f"{first['batchbench', 1, way]:.1f}" for way in (False, True))
    title = drawings.small_batches_title(data)
    assert title.startswith("64-32-10 trained per sample: NumPy takes 1")
    assert f", batchbench step by step {steps} and with look-ahead {ahead} times as long" in title
    assert len(textwrap.wrap(title, int(draw.HERO * 10.5))) <= 3


def test_the_title_of_the_roofline_has_its_numbers(roofline: Roofline) -> None:
    """Flops per byte, speed and share of the block at the smallest batch size, in both ways."""
    title = drawings.roofline_title(drawings.roofline_data(roofline, "digits"))
    assert title == (
        "64-32-10 trained per sample: 16 runs do 0.37 flops a byte of weights step by step, 5.9 "
        "with look-ahead: 18 and 60 GF/s, 50% and 50% of their nearest roof"
    )


def test_roofs_are_drawn_where_they_are(roofline: Roofline) -> None:
    """The peak is level, each slope is its bandwidth, and every point is half as high as a roof."""
    data = drawings.roofline_data(roofline, "digits")
    axes = drawings.roofline_figure(data).axes[0]
    lines = [line.get_xydata() for line in axes.lines]
    peak, *slopes = lines[:4]
    assert peak[:, 1].tolist() == [120, 120]
    assert [slope[1, 1] / slope[1, 0] for slope in slopes] == pytest.approx([200, 100, 20])
    assert [slope[-1, 1] for slope in slopes] == pytest.approx([120] * 3)
    paths = np.concatenate(lines[4:])
    assert sorted(paths[:, 1]) == pytest.approx(sorted(data["speed"] / 1e9))


def test_each_working_set_is_counted_to_the_first_level_that_holds_it(roofline: Roofline) -> None:
    """The curve's data name the levels with their bandwidths, and so does the title."""
    data = drawings.bandwidth_data(roofline)
    assert data.groupby("level")["working_set"].max().to_dict()["L1"] == 32 * KIB
    assert (data["training"] == data["level_training"]).all()
    assert drawings.bandwidth_title(data).endswith("L1 200, L2 100 and memory 20")


@pytest.mark.parametrize(
    ("value", "text"), [(512, "512 B"), (4096, "4 KiB"), (1.5 * MIB, "1.5 MiB")]
)
def test_bytes_are_written_in_their_unit(value: float, text: str) -> None:
    """Powers of 1024."""
    assert drawings.byte_size(value) == text


@pytest.mark.parametrize("narrow", [False, True])
def test_all_figures_can_be_drawn(roofline: Roofline, narrow: bool) -> None:
    """Each figure of both cases, for the page and for a telephone."""
    specs = drawings.figures(roofline)
    assert list(specs) == [
        "small_batches_digits", "roofline_digits", "small_batches_wide", "roofline_wide",
        "bandwidth",
    ]  # fmt: skip
    for spec in specs.values():
        figure = spec.figure(spec.data(roofline), narrow=narrow)
        assert figure.get_figwidth() == (draw.NARROW if narrow else figure.get_figwidth())


class Ran(NamedTuple):
    """What the command left behind."""

    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def ran(roofline: Roofline, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The command, where measuring gives the example."""
    folder, out, err = tmp_path_factory.mktemp("results"), StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("bench.roofline.measure", lambda *_: roofline)
        assert cli.run(["roofline", "--rounds", "2", "--out", str(folder)]) == 0
    return Ran(folder, out.getvalue(), err.getvalue())


def test_the_command_tells_the_answer(ran: Ran, roofline: Roofline) -> None:
    """It says beforehand how long it takes, then prints answer, tables and the page's path."""
    assert "Measuring takes about" in ran.err
    assert page.sentences(roofline)[0] in ran.out
    assert ran.out.rstrip().endswith(str(ran.folder / "roofline" / "report.html"))
    assert "roofline/report.html" in (ran.folder / "index.html").read_text(encoding="utf-8")


def test_the_page_is_one_file_with_the_numbers(ran: Ran, roofline: Roofline) -> None:
    """The page asks nothing of the network and has the answer, the bounds and the command."""
    text = (ran.folder / "roofline" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!figures/|#)|@import|url\((?!#)""", text)
    assert page.sentences(roofline)[2] in text
    assert "50% of fma" in text
    assert "50% of L2" in text
    assert "<code>batchbench roofline --rounds 2</code>" in text


def test_what_was_measured_is_kept_with_all_digits(ran: Ran, roofline: Roofline) -> None:
    """roofline.csv has the rows, bandwidth.csv the curve."""
    rows = pd.read_csv(ran.folder / "roofline" / "roofline.csv")
    assert rows["share"].tolist() == roofline.rows["share"].tolist()
    curve = pd.read_csv(ran.folder / "roofline" / "bandwidth.csv")
    assert curve["working_set"].tolist() == roofline.curve.sizes.tolist()


def test_without_other_programs_the_answer_is_about_ours_alone() -> None:
    """Nothing is said of NumPy or JAX where neither was measured; why not, is told, escaped."""
    alone, empty = example(()), '<svg viewBox="0 0 10 10"></svg>'
    told = page.terminal_summary(alone)
    assert "NumPy" not in told
    assert "JAX is left out: batch size 1: <ended>." in told
    drawn = DrawnFigure("small_batches_digits", "title", "", pd.DataFrame(), empty, empty)
    assert "JAX is left out: batch size 1: &lt;ended&gt;." in page.html(alone, [drawn], {})


def test_a_disturbed_core_is_told() -> None:
    """Where something else had the core for a third of the time, it is said; a hundredth is not."""
    assert page.warnings(example()) == []
    (told,) = page.warnings(example(taken=0.33))
    assert told.startswith("Something else had the core for 33% of the time")


def test_the_share_that_others_take_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four seconds in which this process had the core for three, others had a quarter."""
    clocks = {"perf_counter": [10.0, 14.0], "process_time": [1.0, 4.0]}
    told = {name: iter(times).__next__ for name, times in clocks.items()}
    monkeypatch.setattr(measured, "time", SimpleNamespace(**told))
    monkeypatch.setattr(measured, "measure_curve", lambda _: None)
    assert measured.watched_curve([4096]) == (None, 0.25)


def test_full_batches_alone_can_be_told(roofline: Roofline) -> None:
    """Where nothing is looked ahead at, both ways are the same, and page and figures say so."""
    rows = roofline.rows[roofline.rows["batch_size"] == roofline.rows["n_train"]]
    full = replace(roofline, rows=rows)
    for spec in drawings.figures(full).values():
        spec.figure(spec.data(full))
    assert "on the full batch: 16 runs do 5.5 flops a byte of weights step by step, 5.5 with" in (
        drawings.roofline_title(drawings.roofline_data(full, "digits"))
    )
    assert "take 1.0 times as long" in page.sentences(full)[2]


def test_only_programs_far_below_their_roof_wait_for_something_else(roofline: Roofline) -> None:
    """NumPy's calls are told; JAX, which reaches half of its roof in the example, is not."""
    why = page.sentences(roofline)[1]
    assert "NumPy at" in why
    assert "JAX" not in why


def test_batch_sizes_beyond_the_data_are_the_full_batch() -> None:
    """Sizes are ascending and without repetition; what is above n is n."""
    assert Plan(batch_sizes=(500, 8, "full", 1)).sizes(256) == [1, 8, 256]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"rounds": 0}, "--rounds"),
        ({"case": "xor"}, "--case"),
        ({"batch_sizes": [1, 0]}, "--batch-sizes"),
        ({"batch_sizes": ["half"]}, "--batch-sizes"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], name: str) -> None:
    """A value that makes no sense is refused with the option's name."""
    with pytest.raises(InputError, match=name):
        Plan(**options)


def test_the_command_is_the_one_that_was_given() -> None:
    """Options that differ from their defaults, and no others."""
    assert command_of("roofline", Plan(), {}) == "batchbench roofline"
    given = Plan(case="wide", batch_sizes=[1, "full"], rounds=3)
    assert (
        command_of("roofline", given, {})
        == "batchbench roofline --case wide --batch-sizes 1,full --rounds 3"
    )


class Wrong:
    """A program that ends somewhere else."""

    def prepare(self, _: int) -> tuple[Params, float]:
        """Where everything starts from: it did nothing."""
        return measured.subject_of(cases.case("digits")).params, 0.0

    def measure(self, _: int) -> float:
        """Very fast."""
        return 1e-9


def test_a_program_that_does_something_else_is_left_out() -> None:
    """It has no rows, and the reason is told; our own engine ends where it must, or it raises."""
    left_out: dict[str, str] = {}
    ways = {NUMPY: Wrong()}
    assert measure_size("digits", 4, ways, 1, left_out) == []
    assert ways == {}
    assert "batch size 4: ends at other parameters" in left_out["NumPy"]
    with pytest.raises(RuntimeError, match="ends at other parameters"):
        measure_size("digits", 4, {OUR_WAYS[1]: Wrong()}, 1, {})


def test_measuring_gives_a_row_per_way_and_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way of our engine and NumPy, at each batch size, with times, roofs and shares."""
    monkeypatch.setattr(measured, "read_caches", list)
    monkeypatch.setattr(measured, "working_sets", lambda _: [4 * KIB, 8 * KIB])
    monkeypatch.setattr(measured, "OTHERS", ("NumPy",))
    found = measured.measure(Plan("digits", (1, 64), rounds=1), Silent())
    ways = found.rows.set_index([*drawings.WAY, "batch_size"]).index
    assert set(ways) == {(*way, size) for way in (*OUR_WAYS, NUMPY) for size in (1, 64)}
    assert found.left_out == {}
    assert (found.rows[["seconds", "low", "high", "share", "peak_share"]] > 0).all(axis=None)
    assert [level.name for level in found.roofs.levels] == ["memory"]


def test_bad_input_ends_the_command_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and a line that names the option, before anything is measured or written."""
    assert cli.run(["roofline", "--rounds", "0"]) == cli.BAD_INPUT
    assert capsys.readouterr().err == "batchbench: --rounds: measure at least 1, got 0\n"
