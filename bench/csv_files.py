"""CSV files in which no text of a user's is a formula to a spreadsheet, and how they are read back.

Excel, LibreOffice and Google's tables evaluate a cell that begins with =, +, - or @, whoever wrote
it. Such a text gets an apostrophe before it, which they take for "this is text"; so does one that
has such apostrophes already, so that reading back takes away what writing put there. Numbers stay
what they are, those in texts too: the class -1 is -1.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

# The wide forms count as the plain ones where Japanese and Chinese are set; a tab or a line end
# before them is skipped
_MARKS = r"(\s*[=+\-@＝＋－＠]|[\t\r\n])"
FORMULA = re.compile(rf"'*{_MARKS}")
MARKED = re.compile(rf"''*{_MARKS}")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+|inf)([eE][+-]?[0-9]+)?")


def marked(value: Any) -> Any:
    """Return a text that would be a formula with an apostrophe before it; all else as it is."""
    if not isinstance(value, str) or not FORMULA.match(value) or NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def unmarked(value: Any) -> Any:
    """Return what `marked` was given."""
    return value[1:] if isinstance(value, str) and MARKED.match(value) else value


def _returns(value: Any) -> bool:
    """Whether a text holds a carriage return."""
    return isinstance(value, str) and "\r" in value


def _is_text(frame: pd.DataFrame, number: int) -> bool:
    """Whether a column may hold texts; numbers and flags are not looked at."""
    return not pd.api.types.is_numeric_dtype(frame.iloc[:, number].dtype)


def _mapped(frame: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """Return a frame whose names and texts were changed."""
    columns = [
        frame.iloc[:, k].map(change) if _is_text(frame, k) else frame.iloc[:, k]
        for k in range(frame.shape[1])
    ]
    names = [change(name) for name in frame.columns]
    return pd.concat(columns, axis=1).set_axis(names, axis=1) if columns else frame


def write(frame: pd.DataFrame, target: Path | StringIO, **options: Any) -> None:
    """Write a frame without its index; lines end in a line feed, whatever the system.

    Parameters
    ----------
    frame, target
        What, and where to.
    **options
        Of `DataFrame.to_csv`, such as `float_format`.
    """
    safe = _mapped(frame, marked)
    # Python's writer does not see that a carriage return ends a row to other programs
    odd = any(map(_returns, safe.columns)) or any(
        safe.iloc[:, k].map(_returns).any() for k in range(safe.shape[1]) if _is_text(safe, k)
    )
    safe.to_csv(
        target,
        index=False,
        lineterminator="\n",
        encoding="utf-8",
        errors="backslashreplace",  # half of a surrogate pair has no UTF-8
        quoting=csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL,
        **options,
    )


def read(path: Path) -> pd.DataFrame:
    """Return the frame in a file of `write`."""
    return _mapped(pd.read_csv(path), unmarked)
