"""The page that compares problems: OUT/all/report.html, its figures, and the terminal's answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench import csv_files
from bench.analysis.across import (
    BASE,
    FULL,
    SAMPLE,
    Claim,
    Key,
    Line,
    Results,
    Role,
    by_claim,
    lines,
    within_margin,
)
from bench.analysis.intervals import VERDICTS
from bench.analysis.literature import Finding, findings
from bench.analysis.recommend import MARGIN
from bench.plain import write_text
from bench.report import figures, tables, words
from bench.report.figures import across
from bench.report.page import card, environment, picture, stylesheet

QUESTION = "Sample by sample, in mini-batches, or on the full batch: is it the same everywhere?"
HERO = "passes"
AGREEMENT = {
    "supported": "agrees",
    "refuted": "differs",
    "no material difference": "no material difference",
    "undecided": "undecided",
}
"""What a finding says of what a paper reports."""


@dataclass(frozen=True)
class Cell:
    """A verdict on one problem: its word and shape, the effect, and the page where it stands."""

    word: str
    css: str
    effect: str
    note: str
    link: str


@dataclass(frozen=True)
class ClaimBlock:
    """A claim in the matrix: the verdict over all its measures, and each measure, by problem.

    A cell is None where the problem has no such verdict.
    """

    claim: str
    statement: str
    overall: tuple[Cell | None, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


@dataclass(frozen=True)
class PaperRow:
    """What a paper reports, what it is held against, and what is found, in words and by problem."""

    paper: str
    link: str
    reported: str
    held_against: str
    found: str
    cells: tuple[Cell | None, ...]


def write(
    results: Sequence[Results], failed: Mapping[str, str], folder: Path, about: Mapping[str, str]
) -> None:
    """Write figures/, verdicts.csv and report.html of a comparison.

    Parameters
    ----------
    results
        Of the problems, at least one; the page links to ../NAME/report.html of each.
    failed
        Why the other problems have no results, by name.
    folder
        Where to; it exists.
    about
        Facts for the method, in the order of the page: "Command", "Date", ...
    """
    drawn = draw_all(results, folder / "figures")
    csv_files.write(verdict_table(results), folder / "verdicts.csv")
    text = html(results, failed, drawn, about)
    write_text(folder / "report.html", text)


def draw_all(results: Sequence[Results], folder: Path) -> list[figures.DrawnFigure]:
    """Draw every figure that has data, and write its files."""
    folder.mkdir()
    data = {name: spec.data(results) for name, spec in across.FIGURES.items()}
    return [
        figures.save(name, across.FIGURES[name], frame, folder)
        for name, frame in data.items()
        if len(frame)
    ]


def html(
    results: Sequence[Results],
    failed: Mapping[str, str],
    drawn: Sequence[figures.DrawnFigure],
    about: Mapping[str, str],
) -> str:
    """The page's text."""
    pictures = [picture(one) for one in drawn]
    hero = next((one for one in pictures if one.name == HERO), None)
    told = answer(results)
    names = [one.name for one in results]
    about_it = f"{words.plural(len(results), 'problem')} compared: {words.join(names)}"
    template = environment().get_template("comparison.html")
    return template.render(
        card=card("all", about_it, QUESTION, told[0], hero, about.get("Date", "")),
        css=stylesheet(),
        answer=told,
        hero=hero,
        problems=[(one.name, one.title, f"../{one.name}/report.html") for one in results],
        failed=failed,
        matrix=matrix(results),
        papers=paper_rows(results),
        shapes=[(word, tables.VERDICT_CLASSES[word]) for word in VERDICTS],
        figures=[one for one in pictures if one is not hero],
        method=[*_method().items(), *about.items()],
    )


def answer(results: Sequence[Results]) -> tuple[str, str, str]:
    """Three sentences: per sample against the best, what is recommended, where claims hold."""
    return _per_sample(results), _recommended(results), _claims_told(results)


def _of(count: int, total: int) -> str:
    """Write "2 of 5 problems"."""
    return f"{words.count(count)} of {words.plural(total, 'problem')}"


def _named(names: Sequence[str]) -> str:
    """Names in brackets, with a blank before; "" for none."""
    return f" ({words.join(names)})" if names else ""


def programs_of(results: Iterable[Results]) -> list[str]:
    """Programs that were timed on some problem, in the order in which they come."""
    return list(dict.fromkeys(program for one in results for program in one.programs))


def _per_sample(results: Sequence[Results]) -> str:
    """On how many problems per sample is within the margin of the best: passes, and seconds."""
    tried = [one for one in results if 1 in one.ratios().index]
    if not tried:
        return "Updating after each sample was compared on none of the problems."
    found = {one.name: within_margin(one.ratios(), 1) for one in tried}
    within, beyond = (
        [n for n, is_in in found.items() if is_in is wanted] for wanted in (True, False)
    )
    first = (
        f"Updating after each sample needs at most {MARGIN:g} times the fewest passes on "
        f"{_of(len(within), len(tried))}{_named(within)}"
    )
    if beyond:
        first += f" and surely more on {words.count(len(beyond))}{_named(beyond)}"
    timed = []
    for program in programs_of(tried):
        known = [within_margin(one.ratios(program), 1) for one in tried if program in one.programs]
        timed.append(f"{words.count(sum(map(bool, known)))} of {len(known)} in {program}")
    return f"{first}; it is as near to the least time on {words.join(timed)}."


def _recommended(results: Sequence[Results]) -> str:
    """The range of the recommended batch sizes, for the fewest passes and for each program."""
    parts = []
    for program in ["", *programs_of(results)]:
        chosen = [
            (int(row["batch_size"]), one)
            for one in results
            for row in one.recommended
            if row["program"] == program
        ]
        if not chosen:
            continue
        ends = min(chosen, key=lambda pair: pair[0]), max(chosen, key=lambda pair: pair[0])
        labels = words.batch_ends(*((size, one.n_train) for size, one in ends))
        texts = [f"{label} ({one.name})" for label, (_, one) in zip(labels, ends, strict=True)]
        what = f"in {program}" if program else "for the fewest passes"
        alike = ends[0][0] == ends[1][0]
        parts.append(
            f"{words.batch_label(chosen[0][0], chosen[0][1].n_train)} {what}"
            if alike
            else f"{' to '.join(texts)} {what}"
        )
    if not parts:
        return "No batch size could be recommended on any of the problems."
    return f"The recommended batch size: {'; '.join(parts)}."


def overall(results: Results) -> dict[str, str]:
    """The verdict over all measures of each claim, on one problem."""
    return {name: tables.overall_verdict(rows) for name, rows in by_claim(results).items()}


def _claims_told(results: Sequence[Results]) -> str:
    """Which claims and rules of thumb hold on all problems, on some, on none."""
    found = [overall(one) for one in results]
    names = sorted({name for by in found for name in by})
    holds = {n: [by[n] == "supported" for by in found if n in by] for n in names}
    among = {
        "on every problem": [n for n in names if all(holds[n])],
        "on some problems": [n for n in names if any(holds[n]) and not all(holds[n])],
        "on none": [n for n in names if not any(holds[n])],
    }
    parts = [f"{where} {words.join(some) or 'none of them'}" for where, some in among.items()]
    total = words.plural(len(names), "claim and rule of thumb", "claims and rules of thumb")
    return f"Of {total}, these hold by all of their measures: {'; '.join(parts)}."


def matrix(results: Sequence[Results]) -> list[ClaimBlock]:
    """Every claim with its verdicts by problem, in the order of the claims."""
    verdicts = {one.name: overall(one) for one in results}
    by: dict[str, list[Line]] = {}
    for line in lines(results):
        by.setdefault(line.key.claim, []).append(line)
    blocks = []
    for claim, mine in by.items():
        cells = [_overall_cell(one, claim, verdicts[one.name].get(claim)) for one in results]
        first = next(row for line in mine for row in line.cells.values() if row is not None)
        labels = line_labels(mine, results)
        rows = [
            (label, tuple(_cell(one, line, line.cells[one.name]) for one in results))
            for label, line in zip(labels, mine, strict=True)
        ]
        statement = tables.CLAIMS.get(claim, str(first["statement"]))
        blocks.append(ClaimBlock(claim, statement, tuple(cells), tuple(rows)))
    return blocks


def _link(results: Results, claim: str) -> str:
    """Where a claim stands on its problem's page."""
    return f"../{results.name}/report.html#{claim}"


def _overall_cell(results: Results, claim: str, word: str | None) -> Cell | None:
    """The cell of a claim as a whole."""
    if word is None:
        return None
    return Cell(word, tables.VERDICT_CLASSES.get(word, "mixed"), "", "", _link(results, claim))


def _cell(results: Results, line: Line, row: Claim | None) -> Cell | None:
    """The cell of one measure."""
    if row is None:
        return None
    effect, unit = effect_text(row)
    notes, against = [unit], row["against"]
    if line.key.against is None and isinstance(against, int | float):
        itself = against == row["batch_size"]
        label = words.batch_label(int(against), results.n_train)
        notes.append("the best itself" if itself else f"against {label}")
    word, link = str(row["verdict"]), _link(results, row["claim"])
    note = ", ".join(filter(None, notes))
    return Cell(word, tables.VERDICT_CLASSES[word], effect, note, link)


def effect_text(row: Claim) -> tuple[str, str]:
    """An effect with its interval, and its unit, as short as a cell needs them."""
    text = tables.effect_words(row).split(" times as ")[0].replace("unbounded", "∞")
    unit = next((unit for unit in ("points", "octaves") if text.endswith(unit)), "")
    return text.removesuffix(unit).strip(), unit


def line_labels(mine: Sequence[Line], results: Sequence[Results]) -> list[str]:
    """What each line of one claim measures: as much as it takes to tell the lines apart."""
    varied = {
        "measure": len({line.key.measure for line in mine}) > 1,
        "axis": len({(line.key.axis, line.key.program) for line in mine}) > 1,
        "batch": len({line.key.batch for line in mine}) > 1,
    }
    bases = {one.base for one in results}
    base = f"batches of {words.count(bases.pop())}" if len(bases) == 1 else "the base batch"
    return [_label(line.key, base, varied) for line in mine]


def _label(key: Key, base: str, varied: Mapping[str, bool]) -> str:
    """What a line measures: the measure, the axis, the batch sizes, the base of the rate."""
    parts = []
    if varied["measure"] or not varied["axis"]:
        parts.append(tables.MEASURES.get(key.measure, words.sentence(key.measure)))
    if varied["axis"] and key.axis:
        parts.append(f"time in {key.program}" if key.program else tables.AXES[key.axis])
    elif key.program:
        parts.append(key.program)
    if key.batch is not None and (varied["batch"] or key.against is None):
        parts.append(_arm(key.batch, base))
    if key.against is not None:
        parts.append(f"against {_arm(key.against, base)}")
    if key.base is not None:
        where = "both at" if key.protocol == "same" else "from"
        arm = _arm(key.base, base)
        parts.append(f"{where} the rate tuned {arm if arm == SAMPLE else f'for {arm}'}")
    return words.sentence(", ".join(parts))


def _arm(role: Role, base: str) -> str:
    """A role of batch sizes as a name."""
    if role == BASE:
        return base
    return str(role) if role in (SAMPLE, FULL) else f"batches of {role}"


def paper_rows(results: Sequence[Results]) -> list[PaperRow]:
    """What papers report, and what is found here."""
    return [
        PaperRow(
            paper=statement.paper,
            link=f"https://arxiv.org/abs/{statement.arxiv}" if statement.arxiv else "",
            reported=statement.reported,
            held_against=words.sentence(statement.held_against),
            found=found_words(found),
            cells=tuple(_finding_cell(one, found[one.name]) for one in results),
        )
        for statement, found in findings(results)
    ]


def found_words(found: Mapping[str, Finding | None]) -> str:
    """On how many problems a statement is found to hold, and on which it is not."""
    known = {name: one for name, one in found.items() if one is not None}
    if not known:
        return "Not measured."
    by: dict[str, list[str]] = {}
    for name, one in known.items():
        by.setdefault(AGREEMENT[one.verdict], []).append(name)
    left = [name for name in found if name not in known]
    rest = [f"not measured on {words.join(left)}"] if left else []
    if len(by) == 1 and len(known) > 1:
        parts = [f"{next(iter(by))} on all {words.plural(len(known), 'problem')}"]
    else:
        parts = [f"agrees on {_of(len(by.pop('agrees', [])), len(known))}"]
        parts += [f"{word} on {words.join(by[word])}" for word in AGREEMENT.values() if word in by]
    return f"{words.sentence('; '.join(parts + rest))}."


def _finding_cell(results: Results, found: Finding | None) -> Cell | None:
    """The cell of a statement on one problem."""
    if found is None:
        return None
    word = AGREEMENT[found.verdict]
    css = tables.VERDICT_CLASSES[found.verdict]
    return Cell(word, css, *finding_text(found), f"../{results.name}/report.html")


def finding_text(found: Finding) -> tuple[str, str]:
    """The number behind a finding with its interval, where it has one, and its unit."""
    unit = {"share": "of the verdicts", "points": "points", "batch": "batch size"}
    return _number_text(found).replace("unbounded", "∞"), unit.get(found.unit, "")


def _number_text(found: Finding) -> str:
    """The number behind a finding with its interval."""
    value, low, high = found.effect, found.low, found.high
    if math.isnan(value):
        return "unknown"
    if found.unit == "times":
        return words.times(value, low, high).split(" times as ")[0]
    if found.unit == "share":
        return words.percent(value)
    if found.unit == "batch" and math.isnan(low):  # one that was studied
        return words.count(value)
    scale = 0.01 if found.unit == "points" else 1.0
    infinite = {-math.inf: "−∞", math.inf: "∞"}
    ends = [infinite.get(end) or words.number(end / scale) for end in (low, high)]
    return f"{words.number(value / scale)} [{', '.join(ends)}]"


def verdict_table(results: Sequence[Results]) -> pd.DataFrame:
    """The matrix as a frame: a row a measure; verdict, effect, low and high of each problem."""
    rows: list[dict[str, Any]] = []
    by: dict[str, list[Line]] = {}
    for line in lines(results):
        by.setdefault(line.key.claim, []).append(line)
    for claim, mine in by.items():
        for label, line in zip(line_labels(mine, results), mine, strict=True):
            row: dict[str, Any] = {"claim": claim, "label": label} | line.key._asdict()
            for name, cell in line.cells.items():
                row[name] = None if cell is None else cell["verdict"]
                for column in ("effect", "low", "high"):
                    row[f"{name}_{column}"] = None if cell is None else cell[column]
            rows.append(row)
    return pd.DataFrame(rows)


def _method() -> dict[str, str]:
    """What the page rests on, by label."""
    return {
        "Studies": "Each problem has a study of its own, whose page says how it was made; this "
        "page only reads their files.",
        "Lines": "A line holds verdicts that mean the same on each problem: the same measure, on "
        "the same axis, per sample, at the base batch size or on the full batch of that problem. "
        "Other batch sizes stand on the problems' pages.",
        "Verdicts": f"Supported: the whole 95% interval lies beyond the margin ({MARGIN:g} for "
        "ratios) in the claimed direction. Refuted: beyond it in the other. No material "
        "difference: within the margin. Undecided: everything else.",
        "Papers": "What a paper reports, in our words, is held against what a study measures "
        "anyway, by the same rules. Networks and data are small and of one kind: agreement does "
        "not prove the statement, and disagreement does not refute it beyond them.",
        "Not a sample": "The problems were chosen for being at hand. Counts over them are counts, "
        "and no estimate of how often something holds elsewhere.",
    }
