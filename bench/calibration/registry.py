"""All intervals that are calibrated, by name: a new one is an entry in the dict of a file here."""

from __future__ import annotations

from bench.calibration import noise, rates, scores, shares, times, tradeoff
from bench.calibration.case import Case

CASES: dict[str, Case] = {
    **times.CASES,
    **shares.CASES,
    **rates.CASES,
    **scores.CASES,
    **tradeoff.CASES,
    **noise.CASES,
}
