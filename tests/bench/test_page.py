"""The page: what it says, in which order, and that it needs nothing but itself."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from example_evidence import example_evidence

from bench import report
from bench.errors import InputError
from bench.report import tables
from bench.report.answer import answer
from bench.report.glossary import gloss
from bench.report.index import read_card

HOSTILE = '</title><script>alert(1)</script>{{ 7 * 7 }} $x_1$ "quoted", 3 x 2'
ABOUT = {"Command": "batchbench study digits", "Date": "2026-11-25", "Machine": "<b>fast</b>"}


class Page(HTMLParser):
    """A page taken apart: its elements in order, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self._within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._within.append(tag)

    def handle_endtag(self, tag):
        """Leave an element."""
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data):
        """Note words that people see."""
        if not {"style", "script"} & set(self._within):
            self.words += data

    def all(self, tag):
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def digits():
    """Evidence of a study of data whose title tries to break the page."""
    evidence = example_evidence("digits")
    return replace(evidence, problem=replace(evidence.problem, title=HOSTILE))


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """A results folder with the page of that study."""
    results = tmp_path_factory.mktemp("results")
    report.write(digits, results / "digits", ABOUT)
    return results


@pytest.fixture(scope="module")
def page(folder):
    """The page of data."""
    return Page((folder / "digits" / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def notes_page(folder):
    """The page of populations."""
    path = report.write(example_evidence("notes"), folder / "notes", {})
    return Page(path.read_text(encoding="utf-8"))


def test_page_asks_nothing_of_the_network(page, notes_page):
    """One file: every address is a place on the page or a file of the study's own figures."""
    for one in (page, notes_page):
        for tag, attributes in one.elements:
            for name in ("src", "href", "action", "data", "poster"):
                address = attributes.get(name, "#")
                assert re.fullmatch(r"#[\w-]+|#|figures/\w+\.(svg|png|csv)", address), (
                    tag,
                    address,
                )
        assert not one.all("link")
        assert not one.all("img")
        assert not re.search(r"@import|url\((?!#)|//[a-z]+\.", one.text)
        assert len(one.text.encode()) < 5_000_000


def test_every_reference_on_the_page_is_met_once(page, notes_page):
    """Ids are unique, and what refers to one finds it: figures do not share clips and marks."""
    for one in (page, notes_page):
        ids = [attributes["id"] for _, attributes in one.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        asked = set(re.findall(r'(?:href="|url\()#([\w-]+)', one.text))
        assert asked <= set(ids)


def test_hostile_names_are_words(page):
    """A title with markup, a template and a formula is shown as it is and does nothing."""
    assert HOSTILE in page.words
    assert len(page.all("script")) == 1
    assert "alert(1)" not in "".join(re.findall(r"<script>.*?</script>", page.text, re.DOTALL))
    assert "<b>fast</b>" in page.words


def test_every_figure_has_its_words(page, notes_page):
    """Every figure is an image with alternative text that holds its title's numbers."""
    for one in (page, notes_page):
        pictures = [a for a in one.all("svg") if "viewbox" in a and "aria-hidden" not in a]
        assert len(pictures) >= 2 * 8
        assert all(a["role"] == "img" and re.search(r"\d", a["aria-label"]) for a in pictures)


def test_order_of_the_page(page):
    """Question, answer, what to set, how sure, verdicts, rules of thumb, figures, method."""
    headings = ["sample by sample, in mini-batches", "Set this", "How sure", "Verdicts"]
    headings += ["Rules of thumb", "Figures", "Method", "Glossary"]
    places = [page.words.index(text) for text in headings]
    assert places == sorted(places)
    assert [a["id"] for a in page.all("section")] == [
        *("set-this", "how-sure", "verdicts", "thumb", "figures", "method", "glossary")
    ]


def test_page_and_terminal_say_the_same(digits, page):
    """The terminal's three lines are sentences and numbers of the page."""
    lines = report.terminal_summary(digits).splitlines()
    told = answer(digits)
    assert lines[0] == told.sentences[0]
    assert lines[2] == told.sentences[2]
    assert all(str(gloss(sentence)) in page.text for sentence in told.sentences)
    for name, text in told.details:
        assert name in page.words
        assert text in page.words
        assert f"{name} {text}" in lines[1]


def test_answer_names_the_set_and_the_fastest(digits):
    """The answer holds the set of batch sizes, each program's fastest, and what the ends cost."""
    told = answer(digits)
    assert told.sentences[0].startswith("Train in batches of 8 to 32, at a learning rate of 0.088")
    assert told.details[1] == ("scikit-learn", "in batches of 32, 28 [25, 31] ms")
    assert "Per sample takes 4.0 [3.5, 4.5] times as long" in told.sentences[2]


def test_nothing_reached_gives_words_and_no_number(digits):
    """Where no batch size reaches the target the answer says so, without a set or a setting."""
    lost = [
        replace(rec, best=None, batch_sizes=(), smallest=None, cheapest=None, runner_up=None,
                ratios=rec.ratios.iloc[:0], costs=rec.costs.iloc[:0])
        for rec in digits.recommendations
    ]  # fmt: skip
    summary = digits.summary.assign(**{
        f"{axis}{end}": np.inf
        for axis in ("epochs", "updates", "seconds") for end in ("", "_low", "_high")
    })  # fmt: skip
    evidence = replace(digits, recommendations=lost, summary=summary)
    told = report.terminal_summary(evidence)
    assert told.startswith("No batch size reached a training loss of 0.21 within 30 passes")
    assert tables.arms_table(evidence)[0]["passes"] == "not within 30 passes"
    assert tables.arms_table(evidence)[0]["updates"] == "not within 43,110 updates"
    assert "inf" not in str(tables.arms_table(evidence))
    assert not report.page.setting_lines(evidence)


def test_contradicting_measures_are_the_headline(digits):
    """Where one measure supports and another refutes, the row says so first, with no verdict."""
    rows = {row.claim: row for row in tables.verdict_rows(digits)}
    assert rows["C3"].verdict == "contradictory"
    assert rows["C3"].headline.startswith(
        "The measures contradict each other. Supported: range of usable rates"
    )
    assert "Refuted: that rate per example." in rows["C3"].headline
    assert rows["C8"].verdict == "supported"


def test_a_claim_with_a_leading_measure_has_its_verdict():
    """Whether a hidden layer solves XOR is what that claim says, whatever else it does."""
    rows = {row.claim: row for row in tables.verdict_rows(example_evidence("notes"))}
    assert rows["C7"].verdict == "refuted"
    assert "contradict" not in rows["C7"].headline


def test_no_verdict_without_its_interval(page, digits):
    """Beside each verdict stands an effect with its interval, or the bound that is known."""
    for row in tables.verdict_rows(digits):
        for group in row.groups:
            for measure in group.measures:
                assert re.search(r"\[.*, .*\]|over|under|not reached", measure.effect)
                assert measure.effect in page.words


def test_interval_plot_by_hand():
    """A ratio of 2 lies halfway between 1/2 and 8; what lies beyond an end becomes an arrow."""
    scale = tables.Scale("ratio", 0.5, 8.0, ())
    claim = {"effect": 2.0, "low": 1.0, "high": np.inf, "margin": 1.25, "kind": "ratio"}
    plot = tables.plot(claim, scale)
    assert (plot.value, plot.low, plot.high, plot.null) == (50, 25, 100, 25)
    assert plot.above
    assert not plot.below
    np.testing.assert_allclose(plot.margin_high - 25, 25 - plot.margin_low)


def test_not_reached_has_no_point_on_the_plot():
    """An infinite effect is an arrow to the end, never a point."""
    claim = {"effect": np.inf, "low": 3.0, "high": np.inf, "margin": 1.25, "kind": "ratio"}
    assert tables.plot(claim, tables.Scale("ratio", 0.5, 8.0, ())).value is None


def test_glossary_opens_in_place_and_escapes():
    """A term opens where it first stands; all else is escaped."""
    marked = gloss("per sample <b> and per sample")
    assert marked.count('class="term"') == 1
    assert "&lt;b&gt;" in marked


def test_page_of_populations(notes_page):
    """The XOR page answers how often, at which batch size, why not, and shows what was learned."""
    words = re.sub(r"\s+", " ", notes_page.words)
    assert "How often does this network learn XOR" in words
    assert "62% [58%, 66%] of 512" in words
    assert "the solved one gets 4 of the 4 samples right" in words
    assert "Batches of 2" in words


@pytest.mark.usefixtures("notes_page")
def test_index_has_a_card_a_study_newest_first(folder):
    """The index links every study, newest first, with its answer and picture, escaped."""
    os.utime(folder / "notes" / "report.html", (1, 1))
    (folder / "other").mkdir()
    (folder / "other" / "report.html").write_text("<html>not a study</html>")
    index = Page(report.index.write(folder).read_text(encoding="utf-8"))
    assert [a["href"] for a in index.all("a")] == ["digits/report.html", "notes/report.html"]
    pictures = index.all("img")
    assert [p["src"] for p in pictures] == [
        "digits/figures/answer.svg", "notes/figures/xor_answer.svg",
    ]  # fmt: skip
    assert all((folder / p["src"]).is_file() and p["alt"] for p in pictures)
    assert HOSTILE in index.words
    assert not index.all("script")


def test_index_reads_what_the_page_says(folder, digits):
    """A card is read from the page's head alone."""
    card = read_card(folder / "digits" / "report.html")
    assert card.answer == answer(digits).sentences[0]
    assert card.date == "2026-11-25"


def test_no_raw_value_reaches_a_reader(page, notes_page, digits):
    """No nan, inf or None stands in the words of a page, whatever was not measured."""
    bare = replace(digits, claims=[], warnings=(), recommendations=digits.recommendations[:1])
    sparse = Page(report.page.html(bare, [], {}))
    for one in (page, notes_page, sparse):
        assert not re.findall(r"\b(?:nan|NaN|inf|None)\b", one.words)


def test_index_names_what_it_cannot_read(folder):
    """A page that is a folder, cut, or of other bytes is named, and the others are there."""
    (folder / "a" / "report.html").mkdir(parents=True)
    for name, content in (
        ("b", b"\xff\xfe"),
        ("c", b'<meta name="batchbench-subject" content="x">'),
    ):
        (folder / name).mkdir()
        (folder / name / "report.html").write_bytes(content)
    (folder / "d").symlink_to(folder / "d")
    index = Page(report.index.write(folder).read_text(encoding="utf-8"))
    assert "a/report.html (Is a directory), b/report.html (damaged), c/report.html" in index.words
    assert [a["href"] for a in index.all("a")] == ["digits/report.html", "notes/report.html"]


def test_a_date_in_the_future_is_none(folder):
    """Studies of a clock that was years ahead come after those whose date can be true."""
    page = folder / "notes" / "report.html"
    page.write_text(re.sub(r"20\d\d-\d\d-\d\d", "2999-01-01", page.read_text(encoding="utf-8")))
    index = Page(report.index.write(folder).read_text(encoding="utf-8"))
    assert [a["href"] for a in index.all("a")] == ["digits/report.html", "notes/report.html"]
    os.utime(folder / "digits" / "report.html", (4e10, 4e10))
    os.utime(page, (1e9, 1e9))
    index = Page(report.index.write(folder).read_text(encoding="utf-8"))
    assert [a["href"] for a in index.all("a")] == ["digits/report.html", "notes/report.html"]


def test_an_index_that_cannot_be_written_leaves_the_old_one(folder, monkeypatch):
    """A full disk is one line, and the index that was there stays to the byte."""
    before = report.index.write(folder).read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"index\.html: No space left"):
        report.index.write(folder)
    assert (folder / "index.html").read_bytes() == before
    assert list(folder.glob("*.tmp")) == []
