"""The page of a user's own table: what was done to it, what to set, and how good that is."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from example_evidence import HOSTILE_COLUMN, example_evidence, own_table
from test_page import Page

from bench import report
from bench.report import choices, words
from bench.report import own_table as told_table
from bench.report.answer import answer, subject
from bench.report.glossary import gloss

ROWS, TRAINING = 400, 320


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """Evidence about three classes, one of them rare."""
    return example_evidence(problem=own_table(tmp_path_factory.mktemp("birds")))


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    """Evidence about a quantity; its best score lies at the end."""
    return example_evidence(problem=own_table(tmp_path_factory.mktemp("prices"), "price"))


@pytest.fixture(scope="module")
def page(birds, tmp_path_factory):
    """The page of the classes."""
    path = report.write(birds, tmp_path_factory.mktemp("results") / "penguins", {})
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def price_page(prices):
    """The page of the quantity, without figures."""
    return Page(report.page.html(prices, [], {}))


def test_first_line_is_the_users_file(birds, page):
    """File, rows, columns, target and network stand in the first line."""
    network = "-".join(map(str, birds.problem.network.widths))
    line = f"penguins.csv, 400 rows x 9 columns, target species; network {network} (ReLU)"
    assert subject(birds) == line
    assert line in page.words


def test_what_was_done_to_the_table_comes_before_the_answer(birds, page):
    """Gaps are told first, then other changes, then the answer, then what was measured."""
    done, first = answer(birds).preparation, answer(birds).sentences[0]
    assert done[0].startswith("Gaps: 2 columns filled with the median (bill length and tagged)")
    assert "a level of their own in 1 column (island)" in done[0]
    assert "Left out: notes." in done
    assert "Dates became numbers: egg seen." in done
    places = [page.words.index(text) for text in (done[0], first[:20], "On held-out rows")]
    assert places == sorted(places)


def test_every_column_unfolds(birds, page):
    """The list of columns holds each of them with its kind, its gaps and what was done."""
    rows = told_table.column_rows(birds.problem.table)
    kinds = "number number category category date boolean dropped number target"
    assert [row[1] for row in rows] == kinds.split()
    for name, kind, gaps, done in rows:
        assert name in page.words
        assert kind in page.words
        assert gaps in page.words
        assert done in page.words


def test_a_table_without_gaps_says_so(tmp_path):
    """Where nothing is missing the first word on the data is that."""
    problem = own_table(tmp_path, features=["egg seen", "town"])
    assert told_table.told(problem.table)[0] == "Gaps: none."


def test_rows_left_out_are_counted(tmp_path):
    """Rows that gaps cost are counted."""
    table = own_table(tmp_path, missing="drop").table
    gone = ROWS - table.n_rows_used
    assert told_table.told(table)[0] == f"Gaps: {gone} rows with gaps left out."


def test_a_row_without_fellows_is_no_gap(birds):
    """A row that is the only one of its class is told apart from rows with gaps."""
    table = replace(birds.problem.table, n_rows_dropped=1)
    told = told_table.told(table)
    assert "left out" not in told[0]
    assert told[-1] == "1 row is left out, the only one of a class."


def test_what_to_set_is_a_row_a_program(birds, page):
    """Batch size, rate and cost for the fewest examples, and for each program, ours last."""
    told = answer(birds).choices
    assert [one.goal for one in told] == ["fewest examples", "scikit-learn", "batchbench"]
    assert told[0].batch_size == "16"
    assert re.fullmatch(r"\d+ \[\d+, \d+\] examples, 2.1 passes", told[0].cost)
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\] ms", told[1].cost)
    for one in told:
        cells = f"<td>{one.batch_size}</td><td>{one.learning_rate}</td><td>{one.cost}</td>"
        assert f'<th scope="row">{one.goal}</th>{cells}' in page.text


def test_a_program_of_the_user_is_a_row(birds):
    """A program known by its cost alone stands among the others."""
    own = birds.programs[birds.programs.program == "scikit-learn"].assign(program="your program")
    rec = replace(birds.recommendations[1], program="your program")
    evidence = replace(birds, programs=own, recommendations=[birds.recommendations[0], rec])
    assert [one.goal for one in choices.choices(evidence)] == ["fewest examples", "your program"]


def test_held_out_scores_stand_against_a_guess(birds, page):
    """Accuracy and balanced accuracy, at the target and at best, beside what guessing gives."""
    told = " ".join(answer(birds).quality)
    assert "93% [92%, 94%] of the held-out rows are classified right" in told
    assert "always guessing the commonest class: 61%." in told
    assert "Balanced accuracy, the mean over the classes: 71% [70%, 72%]; guessing: 33%." in told
    assert "best held-out accuracy seen is 95% [94%, 96%], after 12 passes (3,800 examples)" in told
    assert told.count("training longer than that only fits noise") == 2
    assert all(str(gloss(text)) in page.text for text in answer(birds).quality)


def test_errors_of_a_quantity_are_in_its_unit(prices, price_page):
    """A regression's errors carry the column's name; a score that still improved is told so."""
    told = " ".join(answer(prices).quality)
    assert "root-mean-square error of price on held-out rows is 310 [307, 313]" in told
    assert "always guessing the mean: 620." in told
    assert "it was still improving" in told
    assert "fits noise" not in told
    assert "error of price" in price_page.words


def test_passes_hold_for_nine_of_ten_runs(birds):
    """Programs train as long as 9 of 10 runs need; where fewer arrive, to the interval's end."""
    rec = birds.recommendations[0]
    arm = rec.cheapest, rec.learning_rates[rec.cheapest]
    known = birds.choices.iloc[0]
    assert choices.passes(birds, *arm) == int(np.ceil(known.examples_q90 / TRAINING))
    few = replace(birds, choices=birds.choices.assign(examples_q90=np.inf))
    assert choices.passes(few, *arm) == int(np.ceil(known.examples_high / TRAINING))
    none = replace(birds, choices=few.choices.assign(examples_high=np.inf))
    longer = none.summary.budget_epochs.mask(none.summary.batch_size == TRAINING, 300.0)
    none = replace(none, summary=none.summary.assign(budget_epochs=longer))
    assert choices.passes(none, *arm) == 30


def test_a_choice_that_fails_too_often_is_told(birds):
    """Beside a program stands that fewer than 9 of 10 runs got there, where it is so."""
    few = replace(birds, choices=birds.choices.assign(examples_q90=np.inf))
    for evidence, told in ((birds, False), (few, True)):
        remarks = [setting.remark for setting in report.page.setting_lines(evidence)]
        assert ["Fewer than 9 of 10" in remark for remark in remarks] == [told, told]


def test_how_sure_is_told(birds):
    """Seeds, runner-up, what cannot be told apart, and the cost of half and double."""
    told = " ".join(answer(birds).sureness)
    assert told.startswith("12 reporting seeds; training in batches of 4, the runner-up, needs 2.2")
    assert "batch sizes 4, 8 and 16 are not distinguishable" in told
    assert "half the learning rate: 1.5, double the learning rate: 1.5" in told


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rounds": 2, "rounds_of": 6, "budget": 60.0}, "2 of 6 (60 s); --budget 5min goes on"),
        ({"rounds": 3, "rounds_of": 6, "budget": 300.0}, "3 of 6 (5 min); --budget 30min goes on"),
        ({"rounds": 2, "rounds_of": 6, "budget": None}, "round 2 of 6; --rounds 6 goes on"),
        ({"rounds": 6, "rounds_of": 6, "budget": 60.0}, "Answer after all 6 rounds."),
    ],
)
def test_rounds_say_how_to_go_on(options, expected):
    """An answer within a budget names its round, and the option that goes on from there."""
    assert expected in " ".join(choices.rounds(options))


def test_a_fixed_plan_has_no_rounds():
    """Nothing is said of rounds where there were none."""
    assert choices.rounds({"seeds": 18}) == ()


def test_terminal_says_the_same(birds, page):
    """The terminal's lines are the page's sentences and rows, one a line, without control codes."""
    lines = report.terminal_summary(birds).splitlines()
    told = answer(birds)
    assert lines[0] == subject(birds)
    assert lines[1] == " ".join(told.preparation)
    assert lines[2] == told.sentences[0]
    assert lines[3].startswith("  fewest examples: batch size 16, learning rate 0.12, ")
    assert lines[-1] == told.sureness[-1]
    assert {*told.quality, told.sentences[2]} <= set(lines)
    assert all(line.isprintable() for line in lines)
    assert all(str(gloss(line)) in page.text for line in told.sureness)


def test_hostile_names_are_words(page, price_page):
    """Columns and labels with markup, quotes and templates are shown, and do nothing."""
    for one in (page, price_page):
        assert len(one.all("script")) == 1
        assert words.label(HOSTILE_COLUMN) in one.words
        assert repr(HOSTILE_COLUMN) in one.words  # in the programs


def test_page_asks_nothing_of_the_network(page):
    """Every address is a place on the page or one of the study's own figures."""
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster"):
            address = attributes.get(name, "#")
            assert re.fullmatch(r"#[\w-]+|#|figures/\w+\.(svg|png|csv)", address), (tag, address)


def test_whole_programs_stand_on_the_page(birds, page):
    """Both programs are there as they are, with the batch size, the rate and the passes."""
    rec = birds.recommendations[0]
    passes = choices.passes(birds, rec.cheapest, rec.learning_rates[rec.cheapest])
    scikit_learn, torch = report.page.setting_lines(birds)
    assert scikit_learn.code in page.words
    assert torch.code in page.words
    assert f"max_iter={passes}," in scikit_learn.code
    assert f"range(1, {passes + 1})" in torch.code
    assert "balanced_accuracy_score" in scikit_learn.code
    for one in (scikit_learn, torch):
        compile(one.code, one.program, "exec")


def test_nothing_reached_gives_words_and_no_setting(birds):
    """Where no batch size reaches the target there is neither a choice nor a program."""
    lost = [
        replace(rec, best=None, batch_sizes=(), smallest=None, cheapest=None, runner_up=None,
                ratios=rec.ratios.iloc[:0], costs=rec.costs.iloc[:0])
        for rec in birds.recommendations
    ]  # fmt: skip
    evidence = replace(birds, recommendations=lost, choices=birds.choices.iloc[:0])
    told = answer(evidence)
    assert (told.choices, told.quality) == ((), ())
    assert not report.page.setting_lines(evidence)
    assert "No batch size reached" in report.terminal_summary(evidence)
    assert not re.findall(r"\b(?:nan|inf|None)\b", report.terminal_summary(evidence))


def test_few_seeds_leave_intervals_open(prices):
    """A median that few seeds do not bound has an open interval, and no raw infinity."""
    ends = {"at_target_low": -np.inf, "at_target_high": np.inf, "best_low": 0.0}
    evidence = replace(prices, choices=prices.choices.assign(best_high=np.inf, **ends))
    told = " ".join(answer(evidence).quality)
    assert "310 (of runs too few for an interval)" in told
    assert "inf" not in told


def test_method_tells_how_far_a_run_goes(birds):
    """Rounds, the limit of examples, and the part of a large table that gives the losses."""
    problem = replace(birds.problem, examples_budget=2**20)
    told = dict(report.page.method(replace(birds, problem=problem), {}))
    assert "at most 1,048,576 examples" in told["Budget"][0]
    assert told["Learning rates"][0].startswith("First every other batch size")
    assert not any("random part" in text for text in told["Data"])
    many = np.zeros((50_001, problem.network.n_inputs), np.float32)
    large = replace(problem, X_train=many, y_train=np.zeros(50_001, np.int64))
    told = dict(report.page.method(replace(birds, problem=large), {}))
    assert "25,000 training samples" in told["Data"][1]
