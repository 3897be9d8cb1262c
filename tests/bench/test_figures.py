"""Figures: what they show, in numbers and words, and that nothing of it is cut off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_evidence import example_evidence
from matplotlib.backends.backend_agg import FigureCanvasAgg

from bench import csv_files
from bench.errors import InputError
from bench.report import figure, figures, theme, words
from bench.report.figures import FIGURES, draw, learning, noise, outcomes, stability, targets, xor
from bench.report.figures.rates import coarse_rates


@pytest.fixture(scope="module")
def digits():
    """Evidence of a study of data."""
    return example_evidence("digits")


@pytest.fixture(scope="module")
def notes():
    """Evidence of a study of populations."""
    return example_evidence("notes")


@pytest.fixture(scope="module")
def xor_study():
    """Evidence of a study of populations in which failed networks were given longer."""
    return example_evidence("xor")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.87, "4.9"),
        (9.96, "10"),
        (1437, "1,400"),
        (0.0124, "0.012"),
        (-0.3, "−0.30"),
        (0, "0"),
        (3.14e-7, "3.1 × 10⁻⁷"),
    ],
)
def test_two_significant_digits(value, text):
    """A number is written with two significant digits, rounded before its digits are counted."""
    assert words.number(value) == text


def test_infinity_is_no_number():
    """Infinity is never written as a number: the caller must know the word for it."""
    with pytest.raises(ValueError, match="finite"):
        words.number(np.inf)


def test_median_and_interval_in_words():
    """A median is written with its interval and unit, what was not reached with the budget."""
    assert words.quantity(4.87, 4.4, 5.72, "passes") == "4.9 [4.4, 5.7] passes"
    assert words.quantity(np.inf, 9.0, np.inf, "passes", "30 passes") == "not within 30 passes"
    assert words.quantity(20.2, 9.0, np.inf, "passes") == "20 [9.0, not reached] passes"
    assert words.duration_interval(0.0123, 0.011, 0.0141) == "12 [11, 14] ms"


def test_ratios_in_words():
    """Ratios are times as long, and what no number tells is said in words."""
    assert words.times(2.5, 2.12, 3.0) == "2.5 [2.1, 3.0] times as long"
    assert words.times(np.inf, 3.0, np.inf) == "over 3.0 times as long"
    assert words.times(np.inf, np.inf, np.inf) == "target not reached"
    assert words.times(0.0, 0.0, 0.31) == "under 0.31 times as long"
    assert words.times(np.nan, 0, np.inf) == "undetermined"


def test_shares_in_words():
    """A share near 1 keeps what it lacks."""
    assert [words.percent(p) for p in (0.124, 0.0012, 1.0, 0.9961)] == [
        "12%",
        "0.12%",
        "100%",
        "99.6%",
    ]


def test_sets_of_batch_sizes_in_words():
    """Neighbours on the grid are a range, others a list."""
    grid = [1, 2, 4, 8, 16, 32]
    assert words.batch_set([8, 2, 4], grid) == "2 to 8"
    assert words.batch_set([1, 4, 32], grid) == "1, 4 and 32"


def test_spread_moves_labels_apart_and_keeps_their_order():
    """Labels that overlap move apart around their mean, by exactly the gap; others stay."""
    np.testing.assert_allclose(draw.spread([50, 51, 90], 10, 0, 100), [45.5, 55.5, 90])
    np.testing.assert_allclose(draw.spread([99, 98], 10, 0, 100), [100, 90])


def test_scale_of_batch_sizes():
    """Per sample and full batch have the two ends of the scale, and no two steps are alike."""
    colours = draw.scale_colours()
    assert draw.batch_colour(1, 1437) == colours[0]
    assert draw.batch_colour(1437, 1437) == colours[-1]
    assert len(set(colours)) == draw.SCALE_STEPS + 1


def test_coarse_rates_leave_given_lists_whole():
    """Rates between the half octaves become NaN, but a list that is not a lattice stays."""
    lattice = 2.0 ** (np.arange(-8, 1) / 4)
    assert np.isnan(coarse_rates(lattice)).sum() == 4
    np.testing.assert_array_equal(coarse_rates(np.array([0.1, 0.3])), [0.1, 0.3])


def test_learning_seconds_are_updates_times_seconds_per_update(digits):
    """The third axis of the loss curves is updates times batchbench's seconds per update."""
    data = learning.learning_data(digits)
    own = digits.programs[digits.programs.program == "batchbench"].set_index("batch_size")
    per_update = data.batch_size.map(own.seconds_per_update)
    np.testing.assert_allclose(data.seconds, data.updates * per_update)
    assert set(data.batch_size) == set(digits.problem.batch_sizes)


def _runs(**columns):
    """Reporting runs at batch size 1 and rate 1, with `columns` of their own."""
    n = len(next(iter(columns.values())))
    flags = dict.fromkeys(("diverged", "dead", "stuck"), False)
    same = {"batch_size": 1, "learning_rate": 1.0, "role": "report", "network": 0, "hit_1": np.inf}
    return pd.DataFrame({**same, **flags, "seed": range(n), **columns})


def test_outcomes_exclude_each_other(digits):
    """A diverged run counts as nothing else, a dead one not as stuck; tuning runs do not count."""
    runs = _runs(
        diverged=[True, False, False, False, False, False],
        dead=[True, True, False, False, False, False],
        stuck=[False, True, True, False, False, False],
        hit_1=[10.0, np.inf, np.inf, np.inf, 7.0, 7.0],
    )
    runs.loc[5, "role"] = "tune"
    data = outcomes.outcome_map_data(replace(digits, outcomes=runs))
    shares = data.iloc[0][list(outcomes.OUTCOMES)]
    assert shares.to_dict() == dict.fromkeys(outcomes.OUTCOMES, 0.2)
    assert data.n_runs.iloc[0] == 5


def test_outcome_map_leaves_out_what_lies_far_beyond(digits):
    """Rates at which all runs diverge are shown for two steps only."""
    rates = 2.0 ** np.arange(8)
    parts = [_runs(diverged=[rate > 1], hit_1=[5.0]).assign(learning_rate=rate) for rate in rates]
    data = outcomes.outcome_map_data(replace(digits, outcomes=pd.concat(parts)))
    assert list(data.learning_rate) == [1, 2, 4]


def test_rate_per_example(digits):
    """The rate per example is the largest stable rate over the batch size."""
    data = stability.stability_data(digits)
    np.testing.assert_allclose(data.stable_per_example * data.batch_size, data.stable)
    title = stability.stability_title(data)
    rows = data[data.kind == "failed"].set_index("batch_size")
    assert words.number(rows.stable_per_example[1437]) in title


def test_titles_are_built_from_the_numbers(digits):
    """Other numbers give another title."""
    data = stability.stability_data(digits)
    halved = data.assign(stable=data.stable / 2, unstable=data.unstable / 2)
    assert stability.stability_title(data) != stability.stability_title(halved)
    half_open = data.assign(unstable=np.inf)
    assert "over " in stability.stability_title(half_open)


def test_uphill_is_a_mean_over_states_and_a_median_over_seeds(digits):
    """Each seed's share is its mean over states; the figure shows quantiles over seeds."""
    frame = pd.DataFrame(
        [("same", 1, 0.1, seed, state, 1.0, share)
         for seed, shares in enumerate([(0.0, 0.2), (0.4, 0.4), (0.8, 1.0)])
         for state, share in enumerate(shares)],
        columns=["states", "batch_size", "learning_rate", "seed", "state", "epochs", "share"],
    )  # fmt: skip
    data = noise.uphill_data(replace(digits, uphill=frame))
    assert data.q50.iloc[0] == pytest.approx(0.4)
    assert data.n_seeds.iloc[0] == 3


def test_answer_marks_the_recommended_point(digits):
    """Each program's cheapest batch size is marked, and the set that cannot be told apart."""
    data = targets.answer_data(digits)
    for rec in digits.recommendations[1:]:
        rows = data[data.program == rec.program]
        assert list(rows.batch_size[rows.recommended]) == [rec.cheapest]
        assert tuple(rows.batch_size[rows.in_set]) == rec.batch_sizes


def test_not_reached_is_never_drawn_as_a_value(digits):
    """No line runs through an arm that did not reach the target, and a triangle marks it."""
    programs = digits.programs.copy()
    missing = programs.batch_size.isin([8, 1437])
    programs.loc[missing, ["seconds", "seconds_high"]] = np.inf
    data = targets.answer_data(replace(digits, programs=programs))
    with draw.style():
        axes = targets.answer_figure(data).axes[0]
    places = [line.get_xdata() for line in axes.lines if line.get_marker() != "^"]
    marks = [line.get_xdata() for line in axes.lines if line.get_marker() == "^"]
    assert not any({8, 1437} & set(place) for place in places)
    assert [list(mark) for mark in marks] == [[8, 1437], [8, 1437]]  # one a program
    assert any("not within" in text.get_text() for text in axes.texts)


def test_figures_of_nothing_reached_are_left_out(digits):
    """Where no arm reached the target there is no empty panel to show its time."""
    none = dict.fromkeys(["epochs", "epochs_low", "epochs_high"], np.inf)
    none |= dict.fromkeys(["updates", "updates_low", "updates_high"], np.inf)
    seconds = dict.fromkeys(["seconds", "seconds_low", "seconds_high"], np.inf)
    lost = replace(
        digits,
        summary=digits.summary.assign(**none),
        programs=digits.programs.assign(**seconds),
        cells=digits.cells.assign(epochs=np.inf),
    )
    assert not {"answer", "time_to_target", "learning_rate"} & set(figures.available(lost))


def test_exact_network_gets_all_four_right(notes):
    """The notes' exact solution of XOR separates the four samples, at the values it must have."""
    exact = np.array([1, 1, 1, 1, 0, -1, 1, -2, -0.5])  # logits -1/2, 1/2, 1/2, -1/2
    population = replace(notes.population, networks={"solved": exact})
    data = xor.boundaries_data(replace(notes, population=population))
    samples = data[~data.y.isna()]
    logits = np.log(samples.y_hat / (1 - samples.y_hat))
    np.testing.assert_allclose(logits, samples.y - 0.5)
    assert "the solved one gets 4 of the 4 samples right" in xor.boundaries_title(data)


def test_causes_of_failure_are_shares_of_the_reporting_networks(notes):
    """Causes by batch size are counted over the reporting blocks of the arm that is shown."""
    data = xor.xor_answer_data(notes).set_index(["batch_size", "cause"])
    counts = notes.population.counts
    mine = counts[
        (counts.variant == "2-2-1") & (counts.batch_size == 2) & (counts.role == "report")
    ]
    mine = mine[mine.learning_rate == 0.5]
    assert data.share[2, "symmetric"] == pytest.approx(mine.symmetric.sum() / mine.n.sum())


def test_figures_without_data_are_left_out(digits, notes):
    """A study shows the figures that it has data for, and names them when asked for another."""
    assert "boundaries" not in figures.available(digits)
    assert "noise" not in figures.available(notes)
    with pytest.raises(InputError, match="outcome_map"):
        figure(digits, "nonsense")
    with pytest.raises(InputError, match="no data"):
        figure(digits, "boundaries")


def test_figures_can_be_drawn_from_their_csv(digits, tmp_path):
    """What stands in a figure's CSV is all that it is drawn from, bits, infinities and all."""
    for name in ("answer", "stability", "outcome_map"):
        data = FIGURES[name].data(digits)
        csv_files.write(data, tmp_path / "data.csv")
        again = pd.read_csv(tmp_path / "data.csv")
        pd.testing.assert_frame_equal(again, data, check_dtype=False, rtol=0, atol=0)


def test_no_cell_of_a_csv_starts_a_formula(tmp_path):
    """Text that a spreadsheet would evaluate is quoted; negative numbers stay numbers."""
    frame = pd.DataFrame({"name": ["=1+1", "plain"], "value": [-1.5, 2.0]})
    csv_files.write(frame, tmp_path / "data.csv")
    assert (tmp_path / "data.csv").read_text() == "name,value\n'=1+1,-1.5\nplain,2.0\n"


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("kind", ["digits", "xor_study"])
def test_no_label_is_cut(kind, narrow, request):
    """All that is drawn lies within the figure, wide and narrow, title included."""
    cut = {}
    for name, data in figures.available(request.getfixturevalue(kind)).items():
        with draw.style(name):
            drawing = FIGURES[name].figure(data, narrow=narrow)
            if not narrow:
                draw.write_title(drawing, FIGURES[name].title(data))
            box = drawing.get_tightbbox(FigureCanvasAgg(drawing).get_renderer())
        width, height = drawing.get_size_inches()
        if box.x0 < -0.02 or box.y0 < -0.02 or box.x1 > width + 0.02 or box.y1 > height + 0.02:
            cut[name] = (box.extents, width, height)
    assert cut == {}


@pytest.mark.parametrize("narrow", [False, True])
def test_no_label_is_cut_beside_four_programs(digits, narrow):
    """The panels of powers of two, one a program, hold their words where all four are timed."""
    two = FIGURES["thumb_powers"].data(digits)
    others = two.replace({"program": {"batchbench": "JAX", "scikit-learn": "PyTorch"}})
    with draw.style("powers"):
        drawing = FIGURES["thumb_powers"].figure(pd.concat([two, others]), narrow=narrow)
        box = drawing.get_tightbbox(FigureCanvasAgg(drawing).get_renderer())
    width, height = drawing.get_size_inches()
    assert box.x0 > -0.02
    assert box.x1 < width + 0.02
    assert -0.02 < box.y0 < box.y1 < height + 0.02


def test_figures_inside_a_page_keep_their_numbers_and_lose_their_colours(digits):
    """Words and ticks stay as they are; ids get the figure's name, colours become variables."""
    data = stability.stability_data(digits).assign(n_train=1437)
    drawn = figures.FIGURES["stability"].figure
    with draw.style("s"):
        svg = figures.as_svg(drawn(data))
    inline = theme.inline_svg(svg, "s-w", 'a "quoted" <name>')
    assert "0.003" in svg
    assert "0.003" in inline  # a tick, not a coordinate to round
    assert "#1b2430" not in inline
    assert "var(--ink)" in inline
    assert 'aria-label="a &quot;quoted&quot; &lt;name&gt;"' in inline
    assert "<style" not in inline
    assert set(pd.Series(inline).str.findall(r'\bid="(...)')[0]) == {"s-w"}


def test_dollars_are_no_formulas(notes):
    """A name with dollar signs is drawn as it is, not as mathematics."""
    counts = notes.population.success.assign(variant=lambda f: f.variant + " $x_1$")
    causes = notes.population.causes.assign(variant=lambda f: f.variant + " $x_1$")
    population = replace(notes.population, success=counts, causes=causes)
    data = xor.xor_success_data(replace(notes, population=population))
    with draw.style("x"):
        svg = figures.as_svg(xor.xor_success_figure(data))
    assert "2-8-1 $x_1$" in svg


def test_seeds_that_diverge_are_told_and_not_written_as_a_number() -> None:
    """Where the worst tenth of an arm's seeds has no finite loss, the title says so."""
    rows = {"batch_size": [1, 8], "n_train": 100, "q10": [0.1, 0.1], "q90": [np.inf, 0.2]}
    title = FIGURES["learning_each"].title(pd.DataFrame(rows))
    assert title == (
        "Seeds differ most per sample, where the worst tenth diverges; least in batches of 8, "
        "2.0 times"
    )
