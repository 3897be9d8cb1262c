"""The pages in a real browser: drawn, legible, usable by keyboard, on a telephone, dark, on paper.

What is wrong is found by audit.js in the page itself, where the browser has laid it out.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from example_evidence import HOSTILE_COLUMN, example_evidence, own_table
from matplotlib.figure import Figure
from playwright.sync_api import Browser, Page, sync_playwright
from test_history import LEVEL, command, stored
from test_roofline import example as roofline_example

from bench import cli, report
from bench.problems.table import TableOptions, load_table
from bench.report.page import stylesheet

ROOT = Path(__file__).resolve().parents[2]
AUDIT = (Path(__file__).parent / "audit.js").read_text(encoding="utf-8")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
]
DESK, TELEPHONE = {"width": 1440, "height": 900}, {"width": 375, "height": 812}
PAPER = {"width": 688, "height": 1000}  # A4 between margins of 14 mm, at 96 dots an inch
# Pages made here, and published ones, which take minutes to make
FRESH, PUBLISHED = ("table", "notes", "roofline", "history"), ("all", "mistakes", "peers")
PAGES = (*FRESH, *PUBLISHED, "index")
HOSTILE_FILE = '=1+1 <img src=x onerror=alert(1)> "q" & {{ 7 * 7 }}.csv'
EMPTY_SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="400"/>'
LONG = "measured " + "very" * 40  # a column's name


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser, which knows nothing and goes nowhere, for all tests."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"no browser here: looked for {', '.join(CHROMIUM)}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the pages; pictures beside them are empty, which saves much time."""
    folder, data = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("data")
    own_table(data)
    text = (data / "penguins.csv").read_text(encoding="utf-8").replace("bill length", LONG, 1)
    (data / HOSTILE_FILE).write_text(text, encoding="utf-8")
    table = load_table(data / HOSTILE_FILE, TableOptions(target="species"))
    save = Figure.savefig

    def for_pages(figure: Figure, where: Any, **options: Any) -> None:
        if options.get("facecolor") == "none":
            save(figure, where, **options)
        elif options.get("format") == "svg":
            where.write(EMPTY_SVG)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", for_pages)
        patch.setattr("bench.roofline.measure", lambda *_: roofline_example())
        report.write(example_evidence(problem=table), folder / "table", {"Date": "2026-01-01"})
        report.write(example_evidence("notes"), folder / "notes", {})
        assert cli.run(["roofline", "--rounds", "2", "--out", str(folder)]) == 0
        assert command(stored(folder, [*LEVEL, 1.5])).code == 0
    style = f"<style>{stylesheet()}</style>"
    for name in PUBLISHED:
        shutil.copytree(ROOT / "results" / "reference" / name, folder / name)
        page = folder / name / "report.html"
        text = re.sub(
            "<style>.*?</style>", lambda _: style, page.read_text("utf-8"), count=1, flags=re.S
        )
        page.write_text(text, encoding="utf-8")
    report.index.write(folder)
    return folder


@dataclass
class Opened:
    """A page in the browser, and what it has said and asked for."""

    page: Page
    path: Path
    said: list[str]
    asked: list[str]

    def audit(self, check: str, screen: dict[str, int] = DESK, *given: Any, **media: str) -> Any:
        """Lay the page out on a screen, and return what `audit` in audit.js finds."""
        self.page.set_viewport_size(screen)  # type: ignore[arg-type]
        shown: Any = {"media": "screen", "color_scheme": "light"} | media
        self.page.emulate_media(**shown)
        return self.page.evaluate(f"given => audit.{check}(...given)", list(given))


def opened(browser: Browser, path: Path, *, script: bool = True) -> Opened:
    """Open a page, without a network."""
    context = browser.new_context(offline=True, java_script_enabled=script)
    one = Opened(context.new_page(), path, [], [])
    one.page.on("console", lambda message: one.said.append(f"{message.type}: {message.text}"))
    one.page.on("pageerror", lambda error: one.said.append(str(error)))
    one.page.on("request", lambda request: one.asked.append(request.url))

    def refuse(dialog: Any) -> None:
        one.said.append(dialog.message)
        dialog.dismiss()

    one.page.on("dialog", refuse)
    one.page.goto(path.as_uri())
    one.page.evaluate(AUDIT)
    return one


@pytest.fixture(scope="module", params=PAGES)
def shown(request: pytest.FixtureRequest, browser: Browser, results: Path) -> Iterator[Opened]:
    """Each of the pages."""
    name = request.param
    one = opened(browser, results / ("index.html" if name == "index" else f"{name}/report.html"))
    yield one
    one.page.context.close()


@pytest.fixture
def table(browser: Browser, results: Path) -> Iterator[Opened]:
    """The page of an own table with hostile names, freshly opened."""
    one = opened(browser, results / "table" / "report.html")
    yield one
    one.page.context.close()


def test_it_says_nothing_and_asks_for_nothing(shown: Opened, results: Path) -> None:
    """No message, no error, no dialog; no request but for the page and pictures beside it."""
    assert shown.said == []
    assert shown.asked[0] == shown.path.as_uri()
    for url in shown.asked[1:]:
        assert re.fullmatch(rf"{re.escape(results.as_uri())}/\w+/figures/\w+\.svg", url)
    assert shown.path.name == "index.html" or len(shown.asked) == 1


@pytest.mark.parametrize("screen", [DESK, TELEPHONE], ids=["1440", "375"])
def test_figures_are_drawn_and_the_page_fits(shown: Opened, screen: dict[str, int]) -> None:
    """Figures have a size and text within them, nothing overlaps, only tables scroll sideways."""
    for check in ("drawn", "sideways", "overlapping", "cut"):
        assert shown.audit(check, screen) == [], check


def test_text_is_legible_on_a_telephone(shown: Opened) -> None:
    """No text, of figures too, is smaller than 12 pixels."""
    assert shown.audit("small", TELEPHONE, 11.9) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(shown: Opened, scheme: str) -> None:
    """Contrast of every text with what is behind it is at least 4.5, of large text 3."""
    assert shown.audit("faint", DESK, color_scheme=scheme) == []


def test_dark_mode_is_dark(shown: Opened) -> None:
    """The page follows what the reader prefers."""
    lightness = [shown.audit("paper", DESK, color_scheme=one) for one in ("light", "dark")]
    assert lightness[0] > 0.9
    assert lightness[1] < 0.02


def test_the_answer_is_on_the_first_screen(shown: Opened) -> None:
    """The first sentence and the picture beside it, or the first study, are seen at once."""
    assert shown.audit("answer") <= DESK["height"]


def test_paper_has_everything(shown: Opened) -> None:
    """Printed, what was folded is there, nothing is cut, covered or left out of the sheet."""
    for check in ("folded", "cut", "sideways", "overlapping", "drawn"):
        assert shown.audit(check, PAPER, media="print") == [], check


def test_structure_can_be_heard(shown: Opened) -> None:
    """Headings are in order, pictures and controls have names, links in the page lead somewhere."""
    for check in ("headings", "nameless", "dangling"):
        assert shown.audit(check) == [], check


def test_links_lead_to_files(shown: Opened) -> None:
    """Every file that a page links is there; other pages and pictures left out here are not."""
    for link in shown.audit("links"):
        if not link.startswith(("https://", "../")) and not link.endswith(".png"):
            assert (shown.path.parent / link).is_file(), link


def test_tab_reaches_everything_in_order(table: Opened) -> None:
    """Tab goes through all that can be used, in the order of the page, each seen, and leaves."""
    expected, reached = table.audit("focusable"), []
    for _ in range(len(expected) + 1):
        table.page.keyboard.press("Tab")
        reached.append(table.page.evaluate("audit.focused()"))
    assert [place for place, _ in reached[:-1]] == expected
    assert all(ring for _, ring in reached[:-1])
    assert reached[-1][0] in (-1, expected[0])  # out of the page, or round to its beginning


@pytest.mark.parametrize("key", ["Enter", " "])
def test_keys_unfold(table: Opened, key: str) -> None:
    """Enter and the space bar unfold a definition, and fold it again."""
    summary = table.page.locator(".claim summary").first
    inside = table.page.locator(".claim details ul").first
    for unfolded in (True, False):
        summary.press(key)
        assert inside.is_visible() is unfolded


def test_a_term_opens_by_keyboard_and_closes(table: Opened) -> None:
    """Focus opens the meaning of a term, on the telephone within the screen; Escape closes it."""
    term = table.page.locator(".term").first
    meaning = term.locator(".meaning")
    assert not meaning.is_visible()
    for screen in (DESK, TELEPHONE):
        table.page.set_viewport_size(screen)  # type: ignore[arg-type]
        term.focus()
        box = meaning.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= screen["width"]
        table.page.keyboard.press("Escape")
        assert not meaning.is_visible()


def test_the_copy_button_copies_or_selects(table: Opened) -> None:
    """It says so; what was copied is the code. Where nothing may be copied the code is selected."""
    button, code = table.page.locator("button.copy").first, table.page.locator("pre code").first
    button.press("Enter")
    button.filter(has_text=re.compile("Copied|Selected")).wait_for(timeout=2000)
    table.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    button.press("Enter")
    button.filter(has_text="Selected").wait_for(timeout=2000)
    selected = table.page.evaluate("getSelection().toString()")
    assert selected.split() == str(code.text_content()).split()


def test_it_works_without_script(browser: Browser, table: Opened) -> None:
    """The same words stand there, what is folded opens, and no button promises to copy."""
    plain = opened(browser, table.path, script=False)
    words = [one.page.locator("main").inner_text() for one in (table, plain)]
    assert words[0].replace("Copy", "").split() == words[1].split()
    assert plain.page.locator("button.copy:visible").count() == 0
    plain.page.locator(".claim summary").first.click()
    assert plain.page.locator(".claim details ul").first.is_visible()
    plain.page.context.close()


def test_hostile_names_are_words(table: Opened) -> None:
    """Markup, templates and long names of the user's file stand there as words."""
    text = " ".join(str(table.page.locator("body").text_content()).split())
    for name in (HOSTILE_FILE, HOSTILE_COLUMN.replace("\n", "\\n"), LONG):
        assert name in text
    assert table.page.locator("img, main b b, header script").count() == 0


BROKEN = """<body style="background: #fff"><h1>One</h1><h3>Three</h3>
<a href="#nowhere">lost</a><img src="x">
<div style="width: 3000px">wide</div><p style="font-size: 9px; color: #999">small and faint</p>
<p style="position: absolute; top: 300px">one upon</p>
<p style="position: absolute; top: 300px">another</p>
<p style="width: 50px; overflow: hidden; white-space: nowrap">cut off before its end</p>
<figure><svg viewBox="0 0 9 9" width="9" height="9"><text x="20">out</text></svg></figure>
<details><summary>more</summary><p style="display: none">never to be seen</p></details>"""


@pytest.mark.parametrize(
    "check",
    [
        *("drawn", "sideways", "overlapping", "cut", "faint", "folded"),
        *("headings", "nameless", "dangling", "small"),
    ],
)
def test_each_check_sees_a_fault(browser: Browser, tmp_path: Path, check: str) -> None:
    """Every check finds what is wrong with a page that is wrong in every way."""
    (tmp_path / "broken.html").write_text(BROKEN, encoding="utf-8")
    broken = opened(browser, tmp_path / "broken.html")
    assert broken.audit(check, DESK, 11.9) != []
    broken.page.context.close()
