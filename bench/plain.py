"""Texts of users in a terminal: nothing in them moves the cursor or turns the line around."""

from __future__ import annotations

from pathlib import Path


def one_line(text: str) -> str:
    """Return a text in one line, characters that cannot be printed as their codes."""
    return printable(" ".join(text.split()))


def printable(text: str, kept: str = "") -> str:
    """Return a text whose characters that cannot be printed, but for those kept, are codes."""
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; half of a surrogate pair, as in a file's name that is no text, as its code."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def shortened(text: str, longest: int) -> str:
    """Return a text without its middle where it is too long: both its ends say something."""
    half = (longest - 5) // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"
