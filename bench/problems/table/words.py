"""Names and texts of users in messages: one printable line, not too long."""

from __future__ import annotations

from collections.abc import Sequence

from bench.plain import one_line

__all__ = ["listed", "one_line", "plural", "quoted", "shown"]

LONGEST = 60  # characters of a name or cell that a message shows
LISTED = 8  # names that a message lists
DOTS = "..."


def shown(name: str, longest: int = LONGEST) -> str:
    """Return a name or a cell in one line, its end left out where it is long."""
    text = one_line(name[: 2 * longest])
    return text if len(text) <= longest else f"{text[: longest - len(DOTS)]}{DOTS}"


def quoted(name: str) -> str:
    """Return a name or a cell in quotes, as `shown`."""
    return f"'{shown(name)}'"


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """Return the first names."""
    return ", ".join(shown(name, 40) for name in names[:most]) + (
        f", {DOTS}" if len(names) > most else ""
    )


def plural(count: int, word: str, words: str | None = None) -> str:
    """Return a count with its word: "1 row", "1,200 rows"."""
    return f"{count:,} {word if count == 1 else words or word + 's'}"
