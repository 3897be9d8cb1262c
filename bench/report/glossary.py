"""The terms of the page, in a line each, opened where they stand."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from bench.analysis.outcomes import CAUSES
from bench.report import words

GLOSSARY: dict[str, str] = {
    "passes over the data": "One pass, or epoch, shows each training sample to the network once.",
    "updates of the weights": "One update changes all weights once, after one batch of samples.",
    "per sample": "The weights change after each single sample: batch size 1.",
    "full batch": "The weights change once a pass, by the gradient averaged over all samples.",
    "learning rate": "How far the weights move at each update: weight minus rate times gradient.",
    "cannot be told apart": (
        "The 95% interval of the ratio of their times to the fastest one's is not wholly above "
        "the margin of 1.25."
    ),
    "target": (
        "The training loss to reach, set beforehand by runs of their own that are used for "
        "nothing else."
    ),
    "seeds": (
        "A seed fixes the initial weights and the order of the samples; the same seeds are used "
        "at every batch size and learning rate."
    ),
    "95% interval": (
        "Over many repetitions of the whole study with other seeds, 95 of 100 such intervals hold "
        "the true value."
    ),
    "training loss": "How wrong the network is on the whole training split: what training lowers.",
    "reporting seeds": (
        "Two thirds of the seeds; they had no part in choosing rates or batch sizes, so their "
        "numbers are not flattered by the choice."
    ),
    "starts": "Networks with initial weights of their own, trained to the end of the budget.",
    "margin": "Differences within it do not matter in practice; fixed before looking.",
}
GLOSSARY |= {name: words.sentence(f"{label}.") for name, label in CAUSES.items() if name != "other"}
"""Explanation of each term, by the words as they stand in sentences."""


def gloss(text: str) -> Markup:
    """Escape a sentence and let its glossary terms open in place, each at its first appearance.

    Terms open on hovering, on keyboard focus and on touch, without script.
    """
    escaped = str(escape(text))
    terms = sorted(GLOSSARY, key=len, reverse=True)
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, terms)) + r")\b", re.IGNORECASE)
    seen: set[str] = set()

    def opened(match: re.Match[str]) -> str:
        term = match.group().lower()
        if term in seen:
            return match.group()
        seen.add(term)
        return (
            f'<span class="term" tabindex="0">{match.group()}'
            f'<span class="meaning" role="note">{escape(GLOSSARY[term])}</span></span>'
        )

    return Markup(pattern.sub(opened, escaped))
