"""The index of all studies: results/index.html, one card a study, newest first."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

from bench.experiments.files import put, unwritable
from bench.experiments.lock import briefly
from bench.experiments.place import FOLDER
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
    """The card of a page; None for a page that is no study's.

    Raises
    ------
    OSError, ValueError, KeyError
        Where it cannot be read, or is only a part of a page.
    """
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
        The index. Newest first: by the date that a page states, then by the file's own. Pages that
        cannot be read are named at its end.

    Raises
    ------
    InputError
        Where it cannot be written; an earlier one stays.
    """
    index = Path(results) / "index.html"
    try:
        with _one_at_a_time(index.parent):
            cards, damaged = read_cards(index.parent)
            template = environment().get_template("index.html")
            text = template.render(cards=cards, damaged=damaged, css=stylesheet())
            put(index, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise unwritable(index, error) from None
    return index


def read_cards(results: Path) -> tuple[list[Card], list[str]]:
    """Return the cards of a folder's studies, newest first, and what could not be read.

    A date in the future was taken from a clock that went wrong: it comes last.
    """
    tomorrow = datetime.now(UTC) + timedelta(days=1)  # somewhere it has begun
    dated: list[tuple[str, float, Card]] = []
    damaged = []
    for page in sorted(results.glob("*/report.html")):
        try:
            card, changed = read_card(page), page.stat().st_mtime
        except (OSError, ValueError, KeyError) as error:
            why = error.strerror if isinstance(error, OSError) else "damaged"
            damaged.append(f"{page.parent.name}/{page.name} ({why})")
            continue
        if card is None:
            continue
        known = card.date <= tomorrow.strftime("%Y-%m-%d") and changed <= tomorrow.timestamp()
        dated.append((card.date if known else "", changed, card))
    dated.sort(key=lambda one: one[:2], reverse=True)
    return [card for *_, card in dated], damaged


def _one_at_a_time(results: Path) -> AbstractContextManager[None]:
    """Two studies that end together are both in the index: each reads what the other published."""
    stored = results / FOLDER
    return briefly(stored / "index.lock") if stored.is_dir() else nullcontext()
