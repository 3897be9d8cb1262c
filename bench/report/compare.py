"""What `batchbench compare` tells: the tables of the terminal and of a pull request, the files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bench import csv_files
from bench.plain import write_text
from bench.report import words
from bench.report.figures import compare as drawing
from bench.speed.compare import quality
from bench.speed.compare.comparison import Comparison
from bench.speed.compare.judge import LEVEL, POWER, SAME, Row
from bench.speed.compare.measure import BASE, HEAD

HEADER = ("benchmark", BASE, HEAD, "ratio", "95% interval", "visible", "verdict")
QUALITY_HEADER = ("computing and learning", "effect", "95% interval", "numbers", "verdict")
CANNOT = "cannot tell"
SUMMARY = "summary.md"


def duration(seconds: float) -> str:
    """Three digits: what is compared differs by percents."""
    scale, unit = words.duration_unit(seconds)
    return f"{words.number(seconds / scale, 3)} {unit}"


def speed_cells(row: Row) -> tuple[str, ...]:
    """A benchmark's cells under HEADER."""
    low, high = row.effect.low, row.effect.high
    known = low > 0 and math.isfinite(high)
    return (
        row.benchmark,
        duration(row.base),
        duration(row.head),
        f"{row.effect.value:.3f}",
        f"[{low:.3f}, {high:.3f}]" if known else "unknown",
        f"{row.visible:.3f}" if math.isfinite(row.visible) else "none",
        row.words,
    )


def lacking_cells(comparison: Comparison) -> list[tuple[str, ...]]:
    """Cells of the benchmarks that a side lacks."""
    nothing = ("",) * (len(HEADER) - 2)
    return [
        (name, *nothing, f"only in {having}" if having else "in neither")
        for name, (having, _) in comparison.measured.lacking.items()
    ]


def table(comparison: Comparison) -> list[tuple[str, ...]]:
    """The rows on speed, HEADER first."""
    return [HEADER, *map(speed_cells, comparison.rows), *lacking_cells(comparison)]


def quality_cells(row: quality.Row) -> tuple[str, ...]:
    """Cells of a probe, or of a measure of learning, under QUALITY_HEADER."""
    unit = " roundings" if row.kind == "probe" else ""
    known = not (math.isnan(row.low) or math.isnan(row.high))
    return (
        row.name,
        "" if math.isnan(row.effect) else f"{row.effect:.3g}{unit}",
        f"[{row.low:.3g}, {row.high:.3g}]" if known else "",
        words.count(row.n),
        f"{row.verdict} ({row.note})" if row.note else row.verdict,
    )


def quality_table(gate: quality.Gate) -> list[tuple[str, ...]]:
    """The rows on quality, QUALITY_HEADER first; rows without news are counted."""
    return [QUALITY_HEADER, *map(quality_cells, gate.table())]


def answer(comparison: Comparison) -> str:
    """The first sentence: whether something got worse."""
    worse = comparison.regressions
    if worse:
        return f"Regression: {'; '.join(worse)}."
    counts = {
        "the speed of {} cannot be told": [r for r in comparison.rows if r.verdict == CANNOT],
        "{} could not be timed on both sides": comparison.measured.lacking,
        "{} of learning cannot be told": [r for r in comparison.gate.rows if r.verdict == CANNOT],
    }
    nouns = ("benchmark", "benchmark", "measure")
    told = [
        text.format(words.plural(len(some), noun))
        for (text, some), noun in zip(counts.items(), nouns, strict=True)
        if some
    ]
    return f"No regression was seen{'; ' if told else ''}{', '.join(told)}."


def notes(comparison: Comparison) -> list[str]:
    """How to read the table, in sentences."""
    plan, measured = comparison.plan, comparison.measured
    told = [
        "ratio: HEAD's time over BASE's within interleaved blocks (their medians over all blocks, "
        "BASE and HEAD, may divide otherwise), above 1 is slower; of each pair of fresh processes "
        f"the median, of these ({measured.pairs} were planned) the mean but for a sixth on each "
        "side.",
        f"All intervals together hold with {1 - LEVEL:.0%}, at all looks at the data (each of "
        f"{words.plural(len(comparison.rows), 'benchmark')} has its part of the {LEVEL:.0%}).",
        f"slower, faster: the whole interval lies beyond {plan.tolerance:.1%}. same: it allows the "
        f"difference that is named, {max(SAME, plan.tolerance):.0%} at most. visible: the smallest "
        f"slowdown that would have been called slower with {POWER:.0%}.",
        "computing and learning: the intervals of measures hold with 95% each; the verdicts count "
        "them all (Holm). Learning is judged at the learning rate that is best for BASE.",
        f"Before and after timing: {', '.join(map(' '.join, comparison.conditions.items()))}.",
    ]
    if comparison.base.content == comparison.head.content:
        told.append("Both sides hold the same kernels: what differs is noise.")
    told += [
        f"{name}: {'only in ' + having if having else 'in neither'}: {why}."
        for name, (having, why) in measured.lacking.items()
    ]
    return told


def terminal_summary(comparison: Comparison) -> str:
    """The table on speed, that on quality, and the answer."""
    return "\n".join(
        [
            f"{BASE} {comparison.base.label}, {HEAD} {comparison.head.label}",
            "",
            *aligned(table(comparison)),
            "",
            *notes(comparison),
            "",
            *aligned(quality_table(comparison.gate)),
            "",
            answer(comparison),
        ]
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table in a terminal: names and words to the left, numbers to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if k in (0, last) else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown(comparison: Comparison, about: Mapping[str, str]) -> str:
    """The comparison as Markdown, ready for a pull request."""
    verdict = "regression" if comparison.regressions else "no regression"
    parts = [
        f"## batchbench: {verdict}",
        f"{BASE} `{comparison.base.label}`, {HEAD} `{comparison.head.label}`. "
        + words.in_markdown(answer(comparison)),
        markdown_table(table(comparison)),
        markdown_table(quality_table(comparison.gate)),
        "<details><summary>How this was measured, and how to read it</summary>",
        "\n".join(f"- {words.in_markdown(text)}" for text in notes(comparison)),
        "\n".join(f"- {name}: {words.in_markdown(text)}" for name, text in about.items()),
        "</details>",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, the first row its head; numbers to the right."""
    head, *body = rows
    last = len(head) - 1
    rule = ["---" if k in (0, last) else "---:" for k in range(len(head))]
    return "\n".join(
        f"| {' | '.join(map(words.in_markdown, row))} |" for row in (head, rule, *body)
    )


def write(comparison: Comparison, folder: Path, about: Mapping[str, str]) -> None:
    """Write speed.csv, blocks.csv, quality.csv, ratios.png, ratios.svg and summary.md."""
    speed = [
        {
            "benchmark": row.benchmark,
            "base_seconds": row.base,
            "head_seconds": row.head,
            "ratio": row.effect.value,
            "low": row.effect.low,
            "high": row.effect.high,
            "low_alone": row.alone.low,
            "high_alone": row.alone.high,
            "visible": row.visible,
            "verdict": row.verdict,
            "pairs": row.pairs,
            "blocks": row.blocks,
        }
        for row in comparison.rows
    ]
    csv_files.write(pd.DataFrame(speed), folder / "speed.csv")
    csv_files.write(comparison.measured.frame(), folder / "blocks.csv")
    quality_rows = [vars(row) for row in comparison.gate.rows]
    csv_files.write(pd.DataFrame(quality_rows), folder / "quality.csv")
    drawing.save(comparison, folder)
    write_text(folder / SUMMARY, markdown(comparison, about))
