"""Tables of the page: verdicts with their intervals, the cost of being wrong, all arms in numbers.

Every function turns evidence into rows of words and percentages; the template only loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.analysis.evidence import Evidence, Recommendation
from bench.analysis.mistakes import Mistakes
from bench.report import mistake_words, thumb, words
from bench.report.frames import records

VERDICT_CLASSES = {
    "supported": "supported",
    "refuted": "refuted",
    "no material difference": "same",
    "undecided": "undecided",
}
AXES = {
    "epochs": "passes over the data",
    "updates": "updates of the weights",
    "examples": "samples seen",
    "seconds": "time",
}


CLAIMS = {
    "C1": "Updating after each sample is noisy",
    "C2": "Updating after each sample is inefficient",
    "C3": "Updating after each sample hurts the stability of convergence",
    "C4": "The solution is batch or mini-batch gradient descent with the averaged gradient",
    "C5": "Averaging the errors first is a mistake and gives another update",
    "C6": "The 2-2-1 network does not always learn XOR, although it could",
    "C7": "An extra hidden layer solves that",
    "C8": "A learning rate that is too large overshoots, one that is too small learns slowly",
    "C9": "The update can come after each sample, each mini-batch or the full batch",
    "R2": "Scale the learning rate with the batch size",
}
"""The notes' claims, and rules of thumb whose rows have statements of their own."""
MEASURES = {
    "uphill share, same states": "Updates that raise the loss, from the same weights",
    "uphill share, own states": "Updates that raise the loss, each in its own training",
    "usable width": "Range of usable learning rates",
    "failed runs at the same rate": "Failed runs",
    "spread": "Spread of the time over seeds",
    "threshold": "Rate at which a seed begins to fail",
    "threshold / B": "The same rate divided by the batch size",
    "overshoot": "Four times the best rate",
    "slow": "A quarter of the best rate",
    "momentum": "Passes of plain gradient descent over those of momentum",
    "default beta2": "Passes with beta2 as given over those with its half-life kept",
    "success": "Networks that learn XOR, at best",
    "solves": "Solves it: networks that learn XOR",
    "helps": "Makes it easier: networks that learn XOR",
    "depth against width": "Beats more width: networks that learn XOR",
}
"""Measures in plain words."""
SHORT_MEASURES = {
    "uphill share, same states": "from the same weights",
    "uphill share, own states": "each in its own training",
    "usable width": "range of usable rates",
    "failed runs at the same rate": "failed runs",
    "spread": "spread over seeds",
    "threshold": "the rate that begins to fail",
    "threshold / B": "that rate per example",
    "overshoot": "too large a rate",
    "slow": "too small a rate",
    "solves": "solves it",
    "helps": "makes it easier",
    "depth against width": "beats more width",
    "score at equal training loss": "at equal training loss",
    "best score": "at its best",
}
"""The same in a few words, for headlines."""
LABELS = thumb.LABELS | mistake_words.LABELS
HEADLINES: dict[str, Callable[[Sequence[dict[str, Any]], Any], str]] = {
    **thumb.HEADLINES,
    **mistake_words.HEADLINES,
}
"""Claims whose measures, and whose sum, are said in their own words."""
LEADING = {"C7": "solves"}
"""The measure whose verdict is the claim's own, where the others answer further questions."""
ONE_QUESTION = ("C1", "C2", "C3")
"""Claims whose measures answer one question, and so can contradict each other."""
MANY = 12
"""Of a claim with more measures, those at three batch sizes are shown and the rest unfolds."""


@dataclass(frozen=True)
class Scale:
    """A common axis of interval plots; places on it are percentages of its width.

    Parameters
    ----------
    kind
        "ratio" and "within" (logarithmic), "octaves", "points" and "score" (differences), "error"
        (a ratio near 1), "share".
    low, high
        Its ends.
    ticks
        (place, text) of its numbers.
    """

    kind: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """Where a value lies, in percent of the width; values beyond an end lie at it."""
        if self.kind in ("ratio", "within"):
            if value <= 0:
                return 0.0
            position = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            position = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(position, 0.0), 1.0), 2)


@dataclass(frozen=True)
class Plot:
    """An interval on its scale, in percent of the width; None where there is nothing to draw."""

    low: float
    high: float
    value: float | None
    below: bool
    above: bool
    null: float
    margin_low: float
    margin_high: float


@dataclass(frozen=True)
class Measure:
    """One verdict: what was measured, the word, the effect in words, its plot, how it was done."""

    label: str
    verdict: str
    css: str
    effect: str
    plot: Plot
    details: tuple[str, ...]


@dataclass(frozen=True)
class MeasureGroup:
    """Measures on one scale."""

    scale: Scale
    axis_title: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class ClaimRow:
    """A claim: its statement, a headline over all its measures, and the measures by scale.

    `more` holds the measures that unfold, `n_more` their number.
    """

    claim: str
    statement: str
    headline: str
    verdict: str
    css: str
    groups: tuple[MeasureGroup, ...]
    more: tuple[MeasureGroup, ...]
    n_more: int
    definitions: tuple[str, ...]

    @property
    def is_rule_of_thumb(self) -> bool:
        """Whether it is one of R1, R2, ..., not a claim of the notes."""
        return self.claim.startswith("R")


def scale_kind(claim: dict[str, Any]) -> str:
    """Which scale a claim's effect is drawn on."""
    if claim["claim"] == "R3":
        return "score" if claim["kind"] == "difference" else "error"
    if claim["kind"] == "difference":
        return "octaves" if claim["measure"] == "usable width" else "points"
    return "share" if claim["kind"] == "share below" else str(claim["kind"])


def scales(claims: Iterable[dict[str, Any]]) -> dict[str, Scale]:
    """The common scale of each kind that occurs, wide enough for all its finite numbers."""
    values: dict[str, list[float]] = {}
    for claim in claims:
        ends = [claim["effect"], claim["low"], claim["high"]]
        finite = [float(v) for v in ends if v is not None and math.isfinite(v)]
        values.setdefault(scale_kind(claim), []).extend(finite)
    makers: dict[str, Callable[[Sequence[float]], Scale]] = {
        "ratio": _ratio_scale,
        "within": partial(_ratio_scale, kind="within"),
        "octaves": _octave_scale,
        "score": _score_scale,
        "error": _error_scale,
        "share": _share_scale,
    }
    return {kind: makers.get(kind, _point_scale)(numbers) for kind, numbers in values.items()}


def _ratio_scale(values: Sequence[float], kind: str = "ratio") -> Scale:
    """Powers of 2 from the least to the greatest ratio, at most from 1/32 to 256."""
    logs = [math.log2(v) for v in values if v > 0]
    low = max(-5, min(-1, math.floor(min(logs, default=0) - 0.2)))
    high = min(8, max(2, math.ceil(max(logs, default=0) + 0.2)))
    every = 1 if high - low <= 6 else 2
    shown = [k for k in range(low, high + 1) if k % every == 0]
    scale = Scale(kind, 2.0**low, 2.0**high, ())
    ticks = [(scale.place(2.0**k), f"{2**k}" if k >= 0 else f"1/{2**-k}") for k in shown]
    return Scale(kind, scale.low, scale.high, tuple(ticks))


def _linear_scale(kind: str, low: float, high: float, step: float, unit: float, end: str) -> Scale:
    """A linear scale with a tick every `step`, written in `unit`s with `end` behind."""
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    scale = Scale(kind, low, high, ())
    ticks = []
    for k in range(round((high - low) / step) + 1):
        value = low + k * step
        text = f"{value / unit:+.0f}{end}" if abs(value) > step / 2 else "0"
        ticks.append((scale.place(value), text.replace("-", "−")))
    return Scale(kind, low, high, tuple(ticks))


def _point_scale(values: Sequence[float]) -> Scale:
    """Percentage points, zero within."""
    low, high = min([-0.1, *values]), max([0.1, *values])
    step = next(s for s in (0.1, 0.25, 0.5, 1.0) if (high - low) / s <= 5 or s == 1.0)
    return _linear_scale("points", low, high, step, 0.01, "")


def _score_scale(values: Sequence[float]) -> Scale:
    """Percentage points of a held-out score, a few of them on either side of zero."""
    low, high = min([-0.03, *values]), max([0.03, *values])
    steps = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
    step = next(s for s in steps if (high - low) / s <= 6 or s == 0.5)
    return _linear_scale("score", low, high, step, 0.01, "")


def _error_scale(values: Sequence[float]) -> Scale:
    """Ratios of held-out errors: a linear scale around 1."""
    low, high = max(0.0, min([0.9, *values])), min(4.0, max([1.1, *values]))
    step = next(s for s in (0.05, 0.1, 0.25, 0.5, 1.0) if (high - low) / s <= 6 or s == 1.0)
    ends = math.floor(low / step) * step, math.ceil(high / step) * step
    scale = Scale("error", *ends, ())
    values = [ends[0] + k * step for k in range(round((ends[1] - ends[0]) / step) + 1)]
    return Scale("error", *ends, tuple((scale.place(v), f"{v:g}") for v in values))


def _octave_scale(values: Sequence[float]) -> Scale:
    """Octaves, zero within."""
    low, high = min([-1.0, *values]), max([1.0, *values])
    step = next(s for s in (1.0, 2.0, 4.0, 8.0) if (high - low) / s <= 6 or s == 8.0)
    return _linear_scale("octaves", low, high, step, 1.0, "")


def _share_scale(_: Sequence[float]) -> Scale:
    """Shares from nothing to all."""
    places = (0.0, 25.0, 50.0, 75.0, 100.0)
    return Scale("share", 0.0, 1.0, tuple((place, f"{place:.0f}%") for place in places))


AXIS_TITLES = {
    "ratio": "ratio; above 1 the claim holds",
    "within": "ratio; within the shaded band the claim holds",
    "score": "held-out score, difference in percentage points; above 0 the claim holds",
    "error": "ratio of held-out errors; above 1 the claim holds",
    "points": "difference in percentage points; above 0 the claim holds",
    "octaves": "difference in octaves (doublings); above 0 the claim holds",
    "share": "share of networks",
}


def plot(claim: dict[str, Any], scale: Scale) -> Plot:
    """The interval plot of one verdict: the margin around the null value is to be shaded."""
    low, high, value = (_number(claim[name]) for name in ("low", "high", "effect"))
    margin = float(claim["margin"])
    null, margin_low, margin_high = {
        "ratio": (1.0, 1 / margin if margin else 1.0, margin or 1.0),
        "error": (1.0, 1 / margin if margin else 1.0, margin or 1.0),
        "within": (1.0, scale.low, margin),  # whatever is below the margin supports the claim
        "share": (margin, margin, margin),  # nothing to shade: a share is held against the margin
    }.get(scale.kind, (0.0, -margin, margin))
    return Plot(
        low=scale.place(scale.low if math.isnan(low) else low),
        high=scale.place(scale.high if math.isnan(high) else high),
        value=scale.place(value) if scale.low <= value <= scale.high else None,
        below=math.isnan(low) or low < scale.low,
        above=math.isnan(high) or high > scale.high,
        null=scale.place(null),
        margin_low=scale.place(margin_low),
        margin_high=scale.place(margin_high),
    )


def _number(value: object) -> float:
    """A number, NaN for none."""
    return math.nan if value is None else float(value)  # type: ignore[arg-type]


def effect_words(claim: dict[str, Any]) -> str:
    """An effect and its interval in words, in the unit of its kind."""
    value, low, high = (_number(claim[name]) for name in ("effect", "low", "high"))
    kind = scale_kind(claim)
    if math.isnan(value):
        return "undetermined"
    if kind == "error":
        return _error_words(value, low, high)
    if kind in ("ratio", "within"):
        return words.times(value, low, high, _adjective(claim))
    if kind == "share":
        return words.percent_interval(value, low, high)
    unit, name = (1.0, "octaves") if kind == "octaves" else (0.01, "points")
    sign = "+" if value > 0 else ""
    return f"{sign}{words.quantity(value / unit, low / unit, high / unit, name)}"


def _error_words(value: float, low: float, high: float) -> str:
    """A ratio of errors and its interval, with three digits: the margin is 5%."""
    ends = (words.number(x, 3) if math.isfinite(x) else "unbounded" for x in (value, low, high))
    return "{} [{}, {}] times as large".format(*ends)


def _adjective(claim: dict[str, Any]) -> str:
    """How a ratio of such things is said: times as many passes, as long a time."""
    return {"updates": "many", "epochs": "many", "seconds": "long"}.get(claim["axis"], "large")


def measure_label(claim: dict[str, Any], n_train: int) -> str:
    """What one verdict measures, in words: measure, axis or program, which arms, which rates."""
    if claim["claim"] in LABELS:
        return LABELS[claim["claim"]](claim, n_train)
    name = MEASURES.get(claim["measure"], words.sentence(str(claim["measure"])))
    if claim["program"]:
        name = f"Time in {claim['program']}"
    elif claim["claim"] == "C2":
        name = words.sentence(AXES.get(claim["axis"], claim["axis"]))
    parts = [name, *([words.variant_name(claim["variant"])] if claim["variant"] else [])]
    against, base = claim["against"], claim["base_batch_size"]
    if isinstance(against, str):
        parts.append(f"against {against}")
    elif against is not None:
        parts.append(f"against {words.batch_name(int(against), n_train)}")
    elif claim["batch_size"] is not None:
        parts.append(words.with_batch(int(claim["batch_size"]), n_train))
    if claim["protocol"] == "same" and base is not None:
        parts.append(f"both at the rate tuned {words.with_batch(int(base), n_train)}")
    return ", ".join(parts)


def _details(claim: dict[str, Any]) -> tuple[str, ...]:
    """What unfolds under a verdict: p-values, other targets, undetermined pairs."""
    details = []
    p_value = _number(claim.get("p_value"))
    if not math.isnan(p_value):
        text = f"p = {_p(p_value)}"
        holm = _number(claim.get("p_holm"))
        if not math.isnan(holm):
            text += f", {_p(holm)} after Holm's correction"
        details.append(f"{text} (shown, not used: the verdict is the interval's).")
    others = claim.get("other_targets") or {}
    if others:
        told = [f"{verdict} at {words.number(float(t))}" for t, verdict in others.items()]
        details.append(f"At the other targets: {words.join(told)}.")
    if claim.get("note") and claim["claim"] not in (*ONE_QUESTION, "R2", "R3"):
        details.append(str(claim["note"]))
    undetermined = int(claim.get("n_undetermined") or 0)
    if undetermined:
        details.append(f"{words.plural(undetermined, 'pair')} of seeds could not be ordered.")
    return tuple(details)


def _p(value: float) -> str:
    """A p-value; tiny ones as a bound."""
    return "under 0.0001" if value < 1e-4 else words.number(value)


def verdict_rows(evidence: Evidence | Mistakes) -> list[ClaimRow]:
    """One row a claim, in the order of their numbers, with all its measures."""
    common = scales(evidence.claims)
    names = dict.fromkeys(claim["claim"] for claim in evidence.claims)
    return [
        _claim_row([c for c in evidence.claims if c["claim"] == name], common, evidence)
        for name in names
    ]


def _claim_row(
    claims: list[dict[str, Any]], common: dict[str, Scale], evidence: Evidence | Mistakes
) -> ClaimRow:
    """One claim's row."""
    n_train = evidence.problem.n_train
    shown, more = claims, list[dict[str, Any]]()
    if len(claims) > MANY:
        sizes = sorted({claim["batch_size"] for claim in claims})
        first = {sizes[0], sizes[len(sizes) // 2], sizes[-1]}
        shown = [claim for claim in claims if claim["batch_size"] in first]
        more = [claim for claim in claims if claim["batch_size"] not in first]
    overall = overall_verdict(claims)
    summed_up = HEADLINES.get(claims[0]["claim"])
    said = summed_up(claims, evidence) if summed_up else headline(claims, n_train)
    if claims[0]["claim"] == "R3":
        said = f"{said} {claims[0]['note']}".strip()
    return ClaimRow(
        claim=claims[0]["claim"],
        statement=CLAIMS.get(claims[0]["claim"], claims[0]["statement"]),
        headline=said,
        verdict=overall,
        css=VERDICT_CLASSES.get(overall, "mixed"),
        groups=_groups(shown, common, n_train),
        more=_groups(more, common, n_train),
        n_more=len(more),
        definitions=tuple(dict.fromkeys(c["definition"] for c in claims)),
    )


def overall_verdict(claims: Sequence[dict[str, Any]]) -> str:
    """One word for all measures of a claim: their common verdict, or that they have none."""
    leading = LEADING.get(claims[0]["claim"])
    verdicts = {str(c["verdict"]) for c in claims if leading in (None, c["measure"])}
    if len(verdicts) == 1:
        return verdicts.pop()
    if verdicts == {"undecided", "no material difference"}:
        return "undecided"
    opposed = {"supported", "refuted"} <= verdicts and claims[0]["claim"] in ONE_QUESTION
    return "contradictory" if opposed else "it depends"


def _groups(
    claims: list[dict[str, Any]], common: dict[str, Scale], n_train: int
) -> tuple[MeasureGroup, ...]:
    """Measures by scale, in the order in which the scales come."""
    groups = []
    for kind in dict.fromkeys(scale_kind(claim) for claim in claims):
        measures = tuple(
            Measure(
                label=measure_label(claim, n_train),
                verdict=claim["verdict"],
                css=VERDICT_CLASSES[claim["verdict"]],
                effect=effect_words(claim),
                plot=plot(claim, common[kind]),
                details=_details(claim),
            )
            for claim in claims
            if scale_kind(claim) == kind
        )
        groups.append(MeasureGroup(common[kind], AXIS_TITLES[kind], measures))
    return tuple(groups)


def headline(claims: Sequence[dict[str, Any]], n_train: int) -> str:
    """What a claim's measures say together; a contradiction comes first."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for claim in claims:
        names = found.setdefault(str(claim["verdict"]), {})
        names.setdefault(_short_name(claim), []).append(claim)
    if len(found) == 1:
        verdict, total = next(iter(found)), len(claims)
        by = {1: "", 2: " by both measures"}.get(total, f" by all {total} measures")
        return f"{words.sentence(verdict)}{by}."
    parts = []
    for verdict in VERDICT_CLASSES:
        names = found.get(verdict, {})
        others = [name for other, some in found.items() if other != verdict for name in some]
        told = [_told(name, names[name], name in others, n_train) for name in names]
        if told:
            parts.append(f"{words.sentence(verdict)}: {words.join(told)}.")
    contradictory = overall_verdict(claims) == "contradictory"
    start = "The measures contradict each other. " if contradictory else ""
    return start + " ".join(parts)


def _told(name: str, claims: list[dict[str, Any]], ambiguous: bool, n_train: int) -> str:
    """A measure's name; with the arm where another arm's verdict differs."""
    if not ambiguous:
        return name
    if len(claims) > 2 and claims[0]["variant"] is None:
        return f"{name} at {len(claims)} batch sizes"
    return f"{name} ({words.join(dict.fromkeys(_arm(claim, n_train) for claim in claims))})"


def _arm(claim: dict[str, Any], n_train: int) -> str:
    """What sets one measure of a claim apart from others of its name."""
    if claim["protocol"] == "same" and claim["base_batch_size"] is not None:
        return f"at the rate tuned {words.with_batch(int(claim['base_batch_size']), n_train)}"
    if claim["variant"] is not None:
        against = f" against {claim['against']}" if claim["against"] else ""
        return f"{words.variant_name(claim['variant'])}{against}"
    if isinstance(claim["against"], int | float):
        return f"against {words.batch_name(int(claim['against']), n_train)}"
    return words.with_batch(int(claim["batch_size"]), n_train)


def _short_name(claim: dict[str, Any]) -> str:
    """A measure in a few words."""
    if claim["program"]:
        return f"time in {claim['program']}"
    if claim["claim"] in ("C2", "R1"):
        return AXES.get(claim["axis"], str(claim["axis"]))
    return SHORT_MEASURES.get(claim["measure"], str(claim["measure"]))


@dataclass(frozen=True)
class CostTable:
    """The 3 x 3 table around a recommendation: half, same, double rate by half, same, double batch.

    `rows` holds (row name, cells); a cell is (effect, interval, where, shade 0 to 4), or None where
    nothing was tried.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str, str, int] | None, ...]], ...]


HERE = "this choice"
FACTOR_WORDS = {0.5: "half", 1.0: "this", 2.0: "double"}


def cost_tables(evidence: Evidence) -> list[CostTable]:
    """A table for the passes and one for each program."""
    n_train = evidence.problem.n_train
    return [_cost_table(rec, n_train) for rec in evidence.recommendations if len(rec.costs)]


def _cost_table(rec: Recommendation, n_train: int) -> CostTable:
    """One recommendation's table."""
    title = f"Time in {rec.program}" if rec.program else "Passes over the data"
    cells = {(row.batch_factor, row.rate_factor): row for row in records(rec.costs)}
    sizes = {factor: int(row.batch_size) for (factor, _), row in cells.items()}
    rows = []
    for batch_factor, name in FACTOR_WORDS.items():
        line = []
        for rate_factor in FACTOR_WORDS:
            row = cells.get((batch_factor, rate_factor))
            line.append(None if row is None else _cost_cell(row, n_train))
        size = sizes.get(batch_factor, batch_factor * sizes[1.0])
        exact = size == batch_factor * sizes[1.0]
        label = f"{name} batch" if exact else f"batch {words.batch_label(int(size), n_train)}"
        rows.append((label, tuple(line)))
    columns = tuple(f"{name} rate" for name in FACTOR_WORDS.values())
    return CostTable(title, columns, tuple(rows))


def _cost_cell(row: Any, n_train: int) -> tuple[str, str, str, int]:
    """Effect, interval, arm, and how dark: five steps from no cost to four times and more."""
    arm = (
        f"{words.batch_label(int(row.batch_size), n_train)}, rate {words.number(row.learning_rate)}"
    )
    ratio, low, high = float(row.ratio), float(row.low), float(row.high)
    if row.batch_factor == 1 and row.rate_factor == 1:
        return HERE, "", arm, 0
    if math.isnan(ratio):
        return "undetermined", "", arm, 0
    if math.isinf(ratio):
        return "not reached", "", arm, 4
    shade = min(4, max(0, round(2 * math.log2(ratio)))) if ratio > 0 else 0
    bounds = [words.number(v) if math.isfinite(v) else "not reached" for v in (low, high)]
    return f"{words.number(ratio)} times", f"[{bounds[0]}, {bounds[1]}]", arm, shade


def arms_table(evidence: Evidence) -> list[dict[str, str]]:
    """Every tuned arm at the middle target, in words: a row a batch size."""
    summary = evidence.summary
    rows = summary[(summary["protocol"] == "tuned") & (summary["target"] == evidence.target)]
    table = []
    for row in records(rows.sort_values("batch_size")):
        budget = f"{words.number(row.budget_epochs)} passes"
        per_pass = math.ceil(evidence.problem.n_train / row.batch_size)
        limit = f"{words.count(row.budget_epochs * per_pass)} updates"
        table.append(
            {
                "batch size": words.batch_label(int(row.batch_size), evidence.problem.n_train),
                "learning rate": words.number(row.learning_rate),
                "passes": words.quantity(
                    row.epochs, row.epochs_low, row.epochs_high, "passes", budget
                ),
                "updates": words.quantity(
                    row.updates, row.updates_low, row.updates_high, "updates", limit
                ),
                "time in batchbench": words.duration_interval(
                    row.seconds, row.seconds_low, row.seconds_high, budget
                ),
                "target reached": words.percent_interval(
                    row.success_rate, row.success_low, row.success_high
                ),
                "failed": words.percent(row.failed_rate),
            }
        )
    return table
