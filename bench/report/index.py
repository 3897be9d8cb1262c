"""The index of all studies: results/index.html, one card a study, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

from bench.report.page import environment, stylesheet

PREFIX = "batchbench-"


@dataclass(frozen=True)
class Card:
    """What the index shows of a study.

    Parameters
    ----------
    link
        Address of its page, relative to the index.
    picture, alt
        Address of its picture ("" for none) and the picture in words.
    subject, question, answer, date
        As on its page.
    """

    link: str
    picture: str
    alt: str
    subject: str
    question: str
    answer: str
    date: str


class _CardReader(HTMLParser):
    """Reads the `batchbench-*` entries of a page's head."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an entry."""
        values = dict(attrs)
        name = values.get("name") or ""
        if tag == "meta" and name.startswith(PREFIX):
            self.found[name.removeprefix(PREFIX)] = values.get("content") or ""


def read_card(page: Path) -> Card | None:
    """The card of a page; None for a page that is no study's."""
    reader = _CardReader()
    with page.open(encoding="utf-8") as lines:
        for line in lines:
            reader.feed(line)
            if "<style" in line:  # the head's entries stand before it, the rest is long
                break
    found = reader.found
    if "subject" not in found:
        return None
    folder = quote(page.parent.name)
    picture = page.parent / "figures" / f"{found['picture']}.svg"
    return Card(
        link=f"{folder}/{page.name}",
        picture=f"{folder}/figures/{picture.name}" if picture.is_file() else "",
        alt=found["alt"],
        subject=found["subject"],
        question=found["question"],
        answer=found["answer"],
        date=found["date"],
    )


def write(results: Path | str) -> Path:
    """Write index.html of a results folder from the pages of the studies in it.

    Parameters
    ----------
    results
        Folder that holds NAME/report.html.

    Returns
    -------
    Path
        The index. Newest first: by the date that a page states, then by the file's own.
    """
    results = Path(results)
    pages = sorted(results.glob("*/report.html"), key=lambda page: -page.stat().st_mtime)
    cards = [card for card in map(read_card, pages) if card]
    cards.sort(key=lambda card: card.date, reverse=True)
    index = results / "index.html"
    text = environment().get_template("index.html").render(cards=cards, css=stylesheet())
    index.write_text(text, encoding="utf-8")
    return index
