"""Numbers and names in plain words: the one way they are written on pages, figures and terminals.

Two significant digits and an interval; ratios as "2.5 times as long"; what was not reached is said
as such and never becomes a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from bench.plain import one_line

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_DURATION_UNITS = (
    (7200.0, 3600.0, "h"),
    (120.0, 60.0, "min"),
    (1.0, 1.0, "s"),
    (1e-3, 1e-3, "ms"),
    (1e-6, 1e-6, "µs"),
    (0.0, 1e-9, "ns"),
)


NAMES = {
    "relu": "ReLU",
    "tanh": "tanh",
    "leaky_relu": "leaky ReLU",
    "bce": "binary cross-entropy",
    "ce": "cross-entropy",
    "half_mse": "half squared error",
    "he": "He et al.'s normal",
    "uniform_fan_in": "uniform within 1/√inputs",
    "truncated_normal": "truncated normal, sigma 0.1",
    "sgd": "plain gradient descent (SGD)",
    "momentum": "momentum",
    "nesterov": "Nesterov momentum",
    "adam": "Adam",
    "adam_half_life": "Adam, the half-life of beta2 kept",
}
"""Options of networks and training by the names that people use."""
SHORT_NAMES = NAMES | {
    "he": "He",
    "uniform_fan_in": "uniform, 1/√inputs",
    "truncated_normal": "normal, sigma 0.1",
    "sgd": "SGD",
    "nesterov": "Nesterov",
}
"""The same where there is little room."""


def number(value: float, digits: int = 2) -> str:
    """Write a finite number with `digits` significant digits: 4.87 is "4.9", 1437 is "1,400".

    Raises
    ------
    ValueError
        For NaN and infinities: the caller knows the word that belongs there.
    """
    if not math.isfinite(value):
        raise ValueError(f"only a finite number can be written as one, got {value}")
    if value == 0:
        return "0"
    # rounded first: 9.96 with two significant digits is 10, not 10.0
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded)))
    if -6 < exponent < 15:
        return f"{rounded:,.{max(0, digits - 1 - exponent)}f}".replace("-", "−")
    mantissa = f"{rounded / 10.0**exponent:.{digits - 1}f}".replace("-", "−")
    return f"{mantissa} × 10{str(exponent).translate(_SUPERSCRIPTS)}"


def count(value: float) -> str:
    """Write a whole number in full: 1437 is "1,437"."""
    return f"{int(value):,}"


def plural(value: int, noun: str, nouns: str = "") -> str:
    """Write a count with its noun: "1 seed", "32 seeds"."""
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def join(parts: Iterable[str], conjunction: str = "and") -> str:
    """Write a list as in a sentence: "8, 16 and 32"."""
    items = list(parts)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def percent(share: float) -> str:
    """Write a share: .124 is "12%"; a share near 1 keeps what it lacks: .9961 is "99.6%"."""
    if 0.99 < share < 1:
        return f"{100 - float(f'{100 * (1 - share):.0e}'):g}%"
    return f"{number(100 * share)}%"


def percent_interval(share: float, low: float, high: float) -> str:
    """Write a share and its interval: "12% [8.1%, 17%]"; NaN is "undetermined"."""
    if math.isnan(share):
        return "undetermined"
    return f"{percent(share)} [{percent(low)}, {percent(high)}]"


def _bound(value: float, scale: float = 1.0) -> str:
    """One end of an interval; an infinite one was not reached."""
    if math.isnan(value):
        return "unknown"
    return "not reached" if math.isinf(value) else number(value / scale)


def quantity(value: float, low: float, high: float, unit: str, limit: str = "") -> str:
    """Write a median and its interval: "4.9 [4.4, 5.7] passes".

    An infinite median is "not within `limit`", and NaN is "undetermined".
    """
    if math.isnan(value):
        return "undetermined"
    if math.isinf(value):
        return not_within(limit)
    return f"{number(value)} [{_bound(low)}, {_bound(high)}] {unit}"


def not_within(limit: str) -> str:
    """Words for what was not reached: "not within 30 passes"."""
    return f"not within {limit}" if limit else "not reached within the budget"


def duration_unit(seconds: float) -> tuple[float, str]:
    """Seconds in, and name of, the unit in which a duration reads well."""
    return next((scale, unit) for least, scale, unit in _DURATION_UNITS if seconds >= least)


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it: .0123 is "12 ms"; inf is "not reached"."""
    if math.isinf(seconds):
        return "not reached"
    scale, unit = duration_unit(seconds)
    return f"{number(seconds / scale)} {unit}"


def duration_interval(value: float, low: float, high: float, limit: str = "") -> str:
    """Write a duration and its interval in one unit: "12 [11, 14] ms"."""
    if math.isnan(value):
        return "undetermined"
    if math.isinf(value):
        return not_within(limit)
    scale, unit = duration_unit(value)
    return f"{number(value / scale)} [{_bound(low, scale)}, {_bound(high, scale)}] {unit}"


def times(ratio: float, low: float, high: float, adjective: str = "long") -> str:
    """Write a ratio: "2.5 [2.1, 3.0] times as long".

    An infinite ratio (only the second reached the target) is "over `low` times as long", or that
    the target is not reached where no bound is known; a zero one is "under `high` times as long".
    """
    if math.isnan(ratio):
        return "undetermined"
    if math.isinf(ratio):
        known = math.isfinite(low) and low > 0
        return f"over {number(low)} times as {adjective}" if known else "target not reached"
    if ratio == 0 and math.isfinite(high) and high > 0:
        return f"under {number(high)} times as {adjective}"
    end = "unbounded" if math.isinf(high) else _bound(high)
    return f"{number(ratio)} [{_bound(low)}, {end}] times as {adjective}"


def batch_name(batch_size: int, n_train: int) -> str:
    """Name of an arm as a heading: "per sample", "batches of 32", "full batch"."""
    if batch_size == 1:
        return "per sample"
    return "full batch" if batch_size >= n_train else f"batches of {count(batch_size)}"


def with_batch(batch_size: int, n_train: int) -> str:
    """Name of an arm inside a sentence: "per sample", "in batches of 32", "on the full batch"."""
    if batch_size == 1:
        return "per sample"
    return "on the full batch" if batch_size >= n_train else f"in batches of {count(batch_size)}"


def batch_label(batch_size: int, n_train: int) -> str:
    """Name of an arm on an axis: "1", "32", "full"."""
    return "full" if batch_size >= n_train else count(batch_size)


def batch_ends(*ends: tuple[int, int]) -> list[str]:
    """Labels of batch sizes (size, n_train) of several problems; numbers where full is not equal.

    The full batch of one problem is a mini-batch of another: "full to full" would say nothing.
    """
    labels = [batch_label(size, n_train) for size, n_train in ends]
    if len(set(labels)) < len({size for size, _ in ends}):
        return [count(size) for size, _ in ends]
    return labels


def batch_set(chosen: Sequence[int], batch_sizes: Sequence[int]) -> str:
    """Write a set of batch sizes: neighbours on the grid as a range, "8 to 64", else a list."""
    ordered = sorted(batch_sizes)
    places = [ordered.index(b) for b in sorted(chosen)]
    if len(places) > 2 and places[-1] - places[0] == len(places) - 1:
        return f"{count(ordered[places[0]])} to {count(ordered[places[-1]])}"
    return join(count(ordered[place]) for place in places)


def variant_name(label: str) -> str:
    """Write a variant's label: "2-2-1 leaky_relu" is "2-2-1 leaky ReLU"."""
    shape, _, level = label.partition(" ")
    return f"{shape} {SHORT_NAMES.get(level, level)}".rstrip()


def sentence(text: str) -> str:
    """The text with a capital first letter; the rest is left as it is."""
    return text[:1].upper() + text[1:]


def label(text: str, longest: int = 40) -> str:
    """Write a user's own name in one line: what cannot be printed is escaped, long ones are cut."""
    printed = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return printed if len(printed) <= longest else f"{printed[: longest - 3]}..."


def in_markdown(text: str) -> str:
    """Text that Markdown and HTML take as it is, in one line."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|*_`$~\[\]])", r"\\\1", plain)
