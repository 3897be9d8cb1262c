"""The quality gate: HEAD's kernels compute what BASE's do, or networks learn as well by them.

Probes (`probes.py`) are held against each other number by number: *identical* to the bit, *equal
to rounding*, or *different*. Studies that are not identical are compared by what they are for, seed
by seed. What is computed otherwise is a regression unless it was meant; then learning alone judges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy  # which loads scipy.stats, a third of a second, on first use
from numpy.typing import NDArray

from bench.analysis.intervals import (
    Estimate,
    holm,
    median,
    paired_ratio,
    paired_share_difference,
    verdict,
)
from bench.analysis.outcomes import DIVERGED_FACTOR, STUCK_FACTOR, first_hit
from bench.experiments import role
from bench.speed.process import EndedError, Process

Outcome = tuple[Literal["done", "lacking", "failed", "ended"], Any]
Outcomes = Mapping[str, Outcome]
Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Verdict = Literal[
    "identical",
    "equal to rounding",
    "different",
    "better",
    "no material difference",
    "cannot tell",
    "worse",
    "only in HEAD",
    "only in BASE",
    "in neither",
    "failed",
]

MARGIN = 1.05  # of ratios: below that, nothing that matters
SHARE_MARGIN = 0.05  # of differences of shares
LEVEL = 0.05  # of all measures of all studies together
CONFIDENCE = 8.0  # beyond it, a number in 40 million million is told different by mistake
# Rows that a table counts: names of what, and their kinds
COUNTED = {"probes": ("probe",), "whole studies": ("study",), "measures": ("ratio", "difference")}
QUIET: tuple[Verdict, ...] = ("identical", "equal to rounding", "in neither")


@dataclass(frozen=True)
class Row:
    """What is found of a probe, or of a measure of a study.

    Parameters
    ----------
    name
        Of the probe, or study and measure.
    kind
        What the effect is. "probe": the largest distance, in roundings; "study": none, all runs
        are alike; of a measure, "ratio": HEAD / BASE; "difference": HEAD's share less BASE's.
    verdict
        See `Verdict`.
    effect, low, high
        With its 95% interval; NaN where there is none.
    n
        Numbers of a probe, seeds of a study.
    note
        Why, in a few words.
    """

    name: str
    kind: Literal["probe", "study", "ratio", "difference"]
    verdict: Verdict
    effect: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    note: str = ""


@dataclass(frozen=True)
class Gate:
    """All rows, and what follows from them.

    Parameters
    ----------
    rows
        Probes, then measures of studies.
    accept_different
        Whether what is computed may differ: then learning alone judges.
    """

    rows: tuple[Row, ...]
    accept_different: bool = False

    @property
    def failed(self) -> tuple[Row, ...]:
        """Where HEAD's kernels raised an error, or a side's process ended: no verdict."""
        return tuple(row for row in self.rows if row.verdict == "failed")

    @property
    def regressions(self) -> tuple[Row, ...]:
        """Rows that are changes for the worse."""
        wrong = {"worse", "only in BASE", *(() if self.accept_different else ("different",))}
        return tuple(row for row in self.rows if row.verdict in wrong)

    @property
    def passed(self) -> bool:
        """Neither a regression nor a failure."""
        return not self.regressions and not self.failed

    def table(self) -> list[Row]:
        """Rows for a table: those without news are counted, by verdict, in one row each."""
        counted = []
        for what, kinds in COUNTED.items():
            for word in QUIET:
                same = [r for r in self.rows if r.verdict == word and r.kind in kinds]
                if same and what == "probes":
                    farthest = max(same, key=lambda row: row.effect)
                    counted.append(replace(farthest, name=f"{what}: {len(same)}"))
                elif same:
                    counted.append(Row(f"{what}: {len(same)}", same[0].kind, word, n=same[0].n))
        return counted + [row for row in self.rows if row.verdict not in QUIET]


# Asking both sides


def names() -> tuple[str, ...]:
    """Names of all probes and studies, in the order in which they are asked for."""
    from bench.speed.compare.probes import PROBES, STUDIES

    return (*PROBES, *STUDIES)


def ask(base: Process, head: Process, name: str) -> tuple[Outcome, Outcome]:
    """What both sides' processes (`child.py`) find; both compute at once."""
    for process in (base, head):
        with suppress(EndedError):  # which receiving says too
            process.send(("quality", (name,)))
    return _receive(base), _receive(head)


def _receive(process: Process) -> Outcome:
    try:
        outcome: Outcome = process.receive()
    except EndedError as error:
        return "ended", str(error)
    return outcome


def gate(
    base: Process,
    head: Process,
    *,
    accept_different: bool,
    tell: Callable[[str], None],
) -> Gate:
    """Ask both sides for everything, and judge; `tell` is called with each name beforehand."""
    of_base, of_head = {}, {}
    for name in names():
        tell(name)
        of_base[name], of_head[name] = ask(base, head, name)
    return judge(of_base, of_head, accept_different=accept_different)


# Judging


def judge(base: Outcomes, head: Outcomes, *, accept_different: bool = False) -> Gate:
    """Compare what both sides found, by name.

    Parameters
    ----------
    base, head
        By name ("done", what `probes.run` gave), or why it gave nothing: ("lacking", reason) for
        what the side's kernels do not know, ("failed", reason) for an error (one of BASE's is told
        as something that only HEAD can), ("ended", reason) for a process that ended.
    accept_different
        Whether probes may differ.
    """
    rows, studies = [], {}
    for name in base:
        missing = _missing(name, base[name], head[name])
        if missing is not None:
            rows.append(missing)
        elif base[name][1]["kind"] == "probe":
            rows.append(compare_probe(name, base[name][1], head[name][1]))
        else:
            studies[name] = (base[name][1]["arrays"], head[name][1]["arrays"])
    return Gate((*rows, *compare_studies(studies)), accept_different)


def _missing(name: str, base: Outcome, head: Outcome) -> Row | None:
    """The row of what one side, or none, has; None where both have it."""
    row = Row(name, "probe", "failed")
    if base[0] == "ended":
        return replace(row, note=f"BASE: {base[1]}")
    if head[0] in ("failed", "ended"):
        return replace(row, note=f"HEAD: {head[1]}")
    if base[0] != "done" and head[0] != "done":
        return replace(row, verdict="in neither", note=head[1])
    if base[0] != "done":
        return replace(row, verdict="only in HEAD", note=f"BASE: {base[1]}")
    if head[0] != "done":
        return replace(row, verdict="only in BASE", note=f"HEAD: {head[1]}")
    return None


# Probes


def compare_probe(name: str, base: Mapping[str, Any], head: Mapping[str, Any]) -> Row:
    """Hold a probe's results against each other, number by number.

    A rounding moves a number by half a unit in its last place at most, and n of them seldom move a
    sum further than sqrt(n) times that: not more than c sqrt(n) times, but with a probability of
    2 exp(-c**2 / 2) (Higham & Mary 2019, SIAM Journal on Scientific Computing 41:A2815). That holds
    for sums; training is more, so probes are short, and what other roundings do was tried. A result
    that `terms` roundings enter on each side is equal to rounding within 8 sqrt(terms) units: of
    its own last place, or of the largest number of its array where sums may cancel. NaN and
    infinity must stand where they stood.
    """
    a, b = base["arrays"], head["arrays"]
    n = sum(values.size for values in a.values())
    row = Row(name, "probe", "identical", 0.0, n=n)
    if changed := sorted(set(a) ^ set(b)):
        return replace(row, verdict="different", effect=np.inf, note=f"{changed[0]}: on one side")
    if all(same_bits(a[key], b[key]) for key in a):
        return row
    distances = {
        key: roundings(a[key], b[key], np.dtype(base["dtype"]), own=base["own"]) for key in a
    }
    where = max(distances, key=lambda key: distances[key])
    farthest = distances[where]
    allowed = CONFIDENCE * float(np.sqrt(base["terms"]))
    word: Verdict = "equal to rounding" if farthest <= allowed else "different"
    note = f"{where}: {farthest:.3g} roundings, {allowed:.0f} allowed"
    if np.isinf(farthest):
        note = f"{where}: of another kind"
    return replace(row, verdict=word, effect=farthest, note=note)


def same_bits(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays agree in dtype, shape and every bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def roundings(a: NDArray[Any], b: NDArray[Any], dtype: np.dtype[Any], *, own: bool) -> float:
    """Largest distance of two arrays in units in the last place of `dtype`.

    inf where they differ in what no rounding changes: dtype, shape, whole numbers and flags, or
    what is not finite.
    """
    if same_bits(a, b):
        return 0.0
    if a.dtype != b.dtype or a.shape != b.shape or a.dtype.kind != "f":
        return np.inf
    finite = np.isfinite(a)
    if (
        not np.array_equal(a[~finite], b[~finite], equal_nan=True)
        or not np.isfinite(b[finite]).all()
    ):
        return np.inf
    before, after = a[finite].astype(np.float64), b[finite].astype(np.float64)
    scale = np.abs(before) if own else np.max(np.abs(before), initial=0.0)
    units = np.spacing(np.asarray(scale).astype(dtype)).astype(np.float64)
    return float(np.max(np.abs(after - before) / units, initial=0.0))


# Studies


@dataclass(frozen=True)
class _Measure:
    """A measure of a study, HEAD against BASE by seed, before the family is looked at."""

    row: Row
    upwards: bool  # whether more is worse
    p_value: float


def compare_studies(studies: Mapping[str, tuple[Arrays, Arrays]]) -> list[Row]:
    """Rows of all measures of studies, each a pair (BASE's arrays, HEAD's).

    A measure is *worse* where its whole 95% interval lies beyond the margin and Holm's adjusted
    p-value, over all measures of all studies, is below 5%: so the chance of any false "worse" in
    the whole table is at most 5%.
    """
    rows, measures = [], []
    for name, (base, head) in studies.items():
        if all(same_bits(base[key], head[key]) for key in base):
            seeds, rates = base["diverged"].shape
            note = f"{seeds * rates} runs to the bit"
            rows.append(Row(name, "study", "identical", n=seeds, note=note))
        else:
            measures += _measures(name, Learned.of(base, base), Learned.of(head, base))
    adjusted = holm([measure.p_value for measure in measures])
    judged = [_judge(measure, p) for measure, p in zip(measures, adjusted, strict=True)]
    return rows + judged


@dataclass(frozen=True)
class Learned:
    """What the reporting seeds of a side reach, (n_seeds,) each.

    Parameters
    ----------
    updates
        To the target, at BASE's best rate: inf where it is not reached.
    budget
        Updates of a run.
    stable
        The largest rate up to which, from BASE's best on, all rates learn; 0 where not even that.
    final
        Loss at the end at BASE's best rate; inf for a diverged run.
    reached, diverged
        Whether the target was reached, and whether the run diverged, at that rate.
    """

    updates: Floats
    budget: float
    stable: Floats
    final: Floats
    reached: Bools
    diverged: Bools

    @classmethod
    def of(cls, side: Arrays, base: Arrays) -> Learned:
        """Read a side's arrays (`probes.study`) at the rate and the target that BASE sets."""
        reports = _reporting(base)
        best, target = standard(base)
        diverged = _diverged(side)
        hits = first_hit(side["updates"], side["loss"][:, best], target)
        updates = np.where(diverged[:, best], np.inf, hits)[reports]
        final = np.where(diverged, np.inf, side["loss"][..., -1])
        works = final[:, best:] < STUCK_FACTOR * float(side["constant"])
        count = np.minimum.accumulate(works, axis=1).sum(axis=1)
        stable = np.where(count > 0, side["rates"][best + np.maximum(count, 1) - 1], 0.0)
        return cls(
            updates=updates,
            budget=float(side["updates"][-1]),
            stable=stable[reports],
            final=final[reports, best],
            reached=np.isfinite(updates),
            diverged=diverged[reports, best],
        )


def standard(base: Arrays) -> tuple[int, float]:
    """(which rate is BASE's best, the target): of the lowest median loss halfway, and this loss.

    Medians are over tuning seeds: no reporting seed has a say in what it is judged by.
    """
    half = int(np.searchsorted(base["updates"], base["updates"][-1] / 2))
    losses = np.where(_diverged(base), np.inf, base["loss"][..., half])
    typical = median(losses[~_reporting(base)])
    best = int(np.argmin(typical))
    return best, float(typical[best])


def _reporting(side: Arrays) -> Bools:
    """Which seeds report; the others tune."""
    return np.array([role(seed) == "report" for seed in range(len(side["loss"]))])


def _diverged(side: Arrays) -> Bools:
    """(n_seeds, n_rates): ever non-finite, or far above where it started, at any evaluation."""
    limit = DIVERGED_FACTOR * np.maximum(side["loss"][..., 0], float(side["constant"]))
    within = (side["loss"] <= limit[..., None]).all(axis=-1)  # a NaN is not
    return np.asarray(side["diverged"] | ~within)


def _measures(name: str, base: Learned, head: Learned) -> list[_Measure]:
    """All measures of a study."""
    budgets, endless = (base.budget, head.budget), (np.inf, np.inf)
    return [
        _ratio(f"{name}: updates to target", (base.updates, head.updates), budgets, upwards=True),
        _ratio(f"{name}: final loss", (base.final, head.final), endless, upwards=True),
        _ratio(f"{name}: stable rate", (base.stable, head.stable), endless, upwards=False),
        _difference(f"{name}: target reached", base.reached, head.reached, upwards=False),
        _difference(f"{name}: diverged", base.diverged, head.diverged, upwards=True),
    ]


def _ratio(
    name: str, sides: tuple[Floats, Floats], budgets: tuple[float, float], *, upwards: bool
) -> _Measure:
    (base, head), (of_base, of_head) = sides, budgets
    compared = paired_ratio(head, base, of_head, of_base)
    row = _row(name, "ratio", compared.ratio, same=same_bits(base, head))
    return _Measure(row, upwards, compared.p_value)


def _difference(name: str, base: Bools, head: Bools, *, upwards: bool) -> _Measure:
    """Shares compared by seed; p of the exact sign test on seeds that differ (McNemar 1947)."""
    only_head, only_base = int((head & ~base).sum()), int((base & ~head).sum())
    discordant = only_head + only_base
    p = scipy.stats.binomtest(only_head, discordant).pvalue if discordant else 1.0
    estimate = paired_share_difference(head, base)
    row = _row(name, "difference", estimate, same=not discordant)
    return _Measure(row, upwards, float(p))


def _row(name: str, kind: Literal["ratio", "difference"], estimate: Estimate, *, same: bool) -> Row:
    value, low, high, n, _ = estimate
    return Row(name, kind, "identical" if same else "cannot tell", value, low, high, n)


def _judge(measure: _Measure, p: float) -> Row:
    """The row of a measure with its verdict; p is adjusted."""
    row = measure.row
    if row.verdict == "identical":
        return row
    margin = MARGIN if row.kind == "ratio" else SHARE_MARGIN
    found = verdict(row.low, row.high, margin, kind=row.kind)
    note = f"p = {p:.2g} of all measures together"
    if found == "no material difference":
        return replace(row, verdict="no material difference", note=note)
    if found == "undecided" or not p < LEVEL:
        return replace(row, note=note)
    worse = (found == "supported") == measure.upwards
    return replace(row, verdict="worse" if worse else "better", note=note)
