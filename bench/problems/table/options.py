"""How an own table is read: options, checked."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real

from bench.errors import InputError

MISSING = ("median", "most_frequent", "drop", "error")
DEVICES = ("CON", "PRN", "AUX", "NUL")
TASKS = ("classification", "regression")


@dataclass(frozen=True)
class TableOptions:
    """What can be told of an own table.

    Parameters
    ----------
    target
        Column to predict; needed.
    features
        Columns to learn from; None for all others.
    drop
        Columns to leave out.
    missing
        What gaps take: "median" (numbers: the training split's median and an indicator column;
        categories: a level of their own), "most_frequent" (in place of the median and of the own
        level), "drop" (rows with gaps are left out) or "error".
    task
        "classification" or "regression"; None to decide by the target.
    test_size
        Share of the rows that is held out, between 0 and 1.
    na_values
        What marks a gap in a feature, in place of `read.GAPS`; an empty cell always does.
    encoding, sep, decimal
        Of a text file; None to find out (UTF-8; a separator of `,` `;` tab `|`; `.` or `,`).
    name
        Of the study; None for the file's name.

    Raises
    ------
    InputError
        For a value that makes no sense; the message names the option.
    """

    target: str | None = None
    features: Sequence[str] | None = None
    drop: Sequence[str] = ()
    missing: str = "median"
    task: str | None = None
    test_size: float = 0.2
    na_values: Sequence[str] | None = None
    encoding: str | None = None
    sep: str | None = None
    decimal: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        for name in ("features", "drop", "na_values"):
            if getattr(self, name) is not None or name == "drop":
                put(name, _texts(name, getattr(self, name)))
        _check(self.missing in MISSING, "missing", f"one of {', '.join(MISSING)}", self.missing)
        _check(self.task in (None, *TASKS), "task", " or ".join(TASKS), self.task)
        size = self.test_size
        share = isinstance(size, Real) and not isinstance(size, bool) and 0 < float(size) < 1
        _check(share, "test_size", "a share between 0 and 1, such as 0.2", size)
        put("sep", "\t" if self.sep in ("\\t", "tab") else self.sep)
        for name, allowed in _CHARACTERS.items():
            value = getattr(self, name)
            _check(value is None or allowed(value), name, _WORDS[name], value)
        if self.sep is not None and self.sep == self.decimal:
            raise InputError(f"sep and decimal are both {self.sep!r}: they must differ")
        _check(self.encoding is None or _known(self.encoding), "encoding", _ENC, self.encoding)
        safe = self.name is None or (isinstance(self.name, str) and _safe(self.name))
        _check(safe, "name", _NAME, self.name)


_NAME = "a folder's name that any system takes: no / or \\, no dot in front, no control character"
_ENC = "an encoding that Python knows, such as utf-8 or latin-1"
_WORDS = {"sep": "one character, such as ; or tab", "decimal": "a point or a comma"}
_CHARACTERS: dict[str, Callable[[str], bool]] = {
    "sep": lambda sep: (
        isinstance(sep, str) and len(sep) == 1 and sep in string.punctuation + "\t " and sep != '"'
    ),
    "decimal": lambda decimal: decimal in (".", ","),
}


def _check(good: bool, name: str, wanted: str, value: object) -> None:
    """Refuse a value unless it is good."""
    if not good:
        raise InputError(f"{name} must be {wanted}, got {value!r}")


def _texts(name: str, values: object) -> tuple[str, ...]:
    """Return names of columns, or values, as a tuple."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{name} must be a list of texts, got {values!r}")
    return tuple(str(value) for value in values)


def _known(encoding: str) -> bool:
    """Whether Python has the codec, and it is one of text."""
    try:
        "1".encode(encoding)
    except (LookupError, TypeError, ValueError):
        return False
    return bool(encoding)


def _safe(name: str) -> bool:
    """Whether a name is that of a folder in the folder of results."""
    bad = set("/\\") & set(name) or not name.isprintable() or is_device(name)
    return bool(name.strip(" .")) and not bad and name[0] != "." and len(name.encode()) < 200


def is_device(name: str) -> bool:
    """Whether Windows takes a name, whatever its ending, for a device's."""
    stem = name.split(".")[0].strip().upper()
    return stem in DEVICES or (stem[:3] in ("COM", "LPT") and stem[3:].isdigit())
