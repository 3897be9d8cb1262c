"""Programs side by side: OUT/peers/, its page and figures, and its tables in text and Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench import csv_files
from bench.plain import write_text
from bench.report import figures, words
from bench.report.figures import peers as drawings
from bench.report.frames import groups, records
from bench.report.page import card, environment, picture, stylesheet
from bench.report.standings import standings
from bench.speed.peers import OURS
from bench.speed.side_by_side import ALL, CASES, ONE, SGEMM_SIZE, Measured

NAME = "peers"
SUBJECT = "Programs side by side"
QUESTION = "How long does the same training take in other programs?"
HEADER = (
    "B",
    "program",
    "ns",
    "ratio to the best peer",
    "GF/s",
    "of peak",
    "of sgemm",
    "all cores",
)
WIDTHS = (6, 18, 10, 26, 8, 9, 9, 11)


def write(measured: Measured, folder: Path, about: Mapping[str, str]) -> None:
    """Write figures/, rounds.csv, peers.csv, left_out.csv, peers.md and report.html.

    Parameters
    ----------
    measured
        What was measured: one batch size or more.
    folder
        Where to; it exists.
    about
        Facts for the method, in the order of the page: "Command", "Date", ...
    """
    (folder / "figures").mkdir()
    rounds = measured.frame()
    table = standings(rounds)
    drawn = [
        figures.save(name, spec, data, folder / "figures")
        for name, spec in drawings.FIGURES.items()
        if len(data := spec.data(table))
    ]
    told = left_out_told(measured.left_out)
    csv_files.write(rounds, folder / "rounds.csv")
    csv_files.write(table, folder / "peers.csv")
    csv_files.write(pd.DataFrame({"left_out": told}, dtype=str), folder / "left_out.csv")
    text = markdown(table, roofs_told(rounds), about)
    write_text(folder / "peers.md", text)
    write_text(folder / "report.html", html(measured, drawn, about))


def html(measured: Measured, drawn: Sequence[figures.DrawnFigure], about: Mapping[str, str]) -> str:
    """The page's text."""
    rounds = measured.frame()
    table = standings(rounds)
    hero, *others = [picture(one) for one in drawn]
    answer = sentences(table, rounds)
    return (
        environment()
        .get_template("peers.html")
        .render(
            card=card(NAME, SUBJECT, QUESTION, answer[0], hero, about.get("Date", "")),
            css=stylesheet(),
            answer=answer,
            hero=hero,
            figures=others,
            tables=list(page_tables(table)),
            left_out=left_out_told(measured.left_out),
            programs=program_rows(measured, table),
            method=[*method(rounds).items(), *((k, [v]) for k, v in about.items() if v)],
        )
    )


# Words


def roofs_told(rounds: pd.DataFrame) -> str:
    """The fma peak and sgemm of the run."""
    one = rounds[rounds["cores"] == ONE]
    peak, sgemm = (words.number(one[name].median() / 1e9, 3) for name in ("peak", "sgemm"))
    return (
        f"fma peak {peak} GF/s, NumPy's sgemm ({SGEMM_SIZE} x {SGEMM_SIZE}) {sgemm} GF/s, each "
        "measured beside every round, on the same core"
    )


def sentences(table: pd.DataFrame, rounds: pd.DataFrame) -> list[str]:
    """The answer: our time over the best peer's, what small batches cost, the speed reached."""
    told = [_against_the_best(table)]
    if small := _small_batches(table[table["case"] == table["case"].iloc[0]]):
        told.append(small)
    best = table[table["program"] == OURS].sort_values("share_of_peak").iloc[-1]
    told.append(
        f"At its best batchbench does {words.number(best['gflops'])} GF/s, "
        f"{words.percent(best['share_of_peak'])} of the fma peak and "
        f"{words.percent(best['share_of_sgemm'])} of sgemm ({roofs_told(rounds)})"
    )
    return [f"{one}." for one in told]


def _against_the_best(table: pd.DataFrame) -> str:
    """The range of our ratios to the best peer, by case."""
    parts: list[str] = []
    for case, rows in groups(table[table["program"] == OURS].dropna(subset="ratio"), "case"):
        low, high = (words.number(end) for end in (rows["ratio"].min(), rows["ratio"].max()))
        span = low if low == high else f"{low} to {high}"
        what = CASES[case].what
        told = "times as long as the fastest other program " if not parts else ""
        parts.append(f"{span} {told}for {what}")
    if not parts:
        return "No other program was timed beside batchbench"
    return f"batchbench takes {words.join(parts)}"


def _small_batches(rows: pd.DataFrame) -> str:
    """What a sample costs at batch size 1 over the best batch size, by program; "" without 1."""
    if len(set(rows["batch_size"])) < 2 or rows["batch_size"].min() > 1:
        return ""
    parts = []
    for program, mine in groups(rows, "program"):
        by_size = mine.set_index("batch_size")["ns"]
        if 1 in by_size.index:
            parts.append(f"{words.number(by_size[1] / by_size.min())} times in {program}")
    return (
        f"For {CASES[rows['case'].iloc[0]].what}, a sample costs more at batch size 1 than at the "
        f"best batch size: {words.join(parts)}"
    )


def left_out_told(left_out: Mapping[tuple[str, str, int, str], str]) -> list[str]:
    """A sentence for each program and reason: why it is not compared, and where."""
    places: dict[tuple[str, str], dict[str, list[str]]] = {}
    for (case, cores, size, program), reason in left_out.items():
        where = f"{case} on all cores" if cores == ALL else case
        sizes = places.setdefault((program, reason), {}).setdefault(where, [])
        if size:
            sizes.append(words.count(size))
    told = []
    for (program, reason), by_case in places.items():
        where = "; ".join(
            f"{case} at {words.join(sizes)}" if sizes else case for case, sizes in by_case.items()
        )
        told.append(f"{program}: {reason} ({where})")
    return told


def program_rows(measured: Measured, table: pd.DataFrame) -> list[dict[str, str]]:
    """What each program is: version, what computes its products, what its starts took."""
    starts = table.groupby("program")["start_seconds"]
    rows = []
    for (cores, program), about in measured.about.items():
        known = cores == ONE and program in starts.groups
        took = words.duration(starts.sum()[program]) if known else ""
        rows.append(
            {
                "program": program,
                "cores": cores,
                "version": about["version"],
                "products by": about["arithmetic"],
                "starts took": took,
            }
        )
    return rows


def method(rounds: pd.DataFrame) -> dict[str, list[str]]:
    """How it was measured."""
    one = rounds[rounds["cores"] == ONE]
    n_rounds = int(one["round"].max()) + 1
    return {
        "Same work": [
            "Every program starts from the same weights, visits the same batches in the same "
            "order, and does plain gradient descent in 32-bit numbers. It is timed only where its "
            "weights after two passes are batchbench's, to rounding."
        ],
        "Processes": [
            "Each program has a process of its own. On one core all are pinned to the same one, "
            "with one thread; on all cores they use as many threads as they like. Variables that "
            "hold OpenBLAS back (OPENBLAS_CORETYPE, OPENBLAS_L2_SIZE) are unset."
        ],
        "Rounds": [
            f"{n_rounds} on one core, programs in turns, so that a slow moment of the machine hits "
            "all. A time is that of a long training less that of a short one: compilation, checks "
            "and a call's own costs are not in it. Passes go through all samples where a program "
            "is fast enough for it to matter."
        ],
        "Intervals": [
            "95%, of medians over rounds by order statistics; a ratio is that of two times of the "
            "same round. The best peer is the program, other than batchbench and the user's own, "
            "of the least median."
        ],
        "Speed": [
            "Operations of the arithmetic that no way of training can do without (2 for a weight "
            "and sample forward, 2 for its gradient, 2 for the delta where a layer needs one), as "
            "a share of fused multiply-adds out of registers (fma peak), and of NumPy's sgemm.",
            f"{words.sentence(roofs_told(rounds))}.",
        ],
    }


# Tables


def _ratio(row: Any) -> str:
    """A row's ratio with its interval, as far as it is bounded; the best peer's own is 1."""
    if row.program == row.best_peer:
        return "1 (the best)"
    return with_interval(row.ratio, row.ratio_low, row.ratio_high)


def with_interval(value: float, low: float, high: float) -> str:
    """A positive number and its interval; without one where too few rounds bound it."""
    if math.isnan(value):
        return ""
    if math.isinf(high):
        return words.number(value)
    return f"{words.number(value)} [{words.number(low)}, {words.number(high)}]"


def _number(value: float) -> str:
    """Up to three digits; nothing for what was not measured."""
    return "" if math.isnan(value) else words.number(value, 3 if value >= 100 else 2)


def cells(row: Any) -> tuple[str, ...]:
    """A row's cells, as of HEADER."""
    return (
        words.count(row.batch_size),
        row.program,
        _number(row.ns),
        _ratio(row),
        _number(row.gflops),
        words.percent(row.share_of_peak),
        words.percent(row.share_of_sgemm),
        _number(row.ns_all_cores),
    )


def heading(case: str) -> str:
    """A case, and what its times are."""
    one = CASES[case]
    unit = f"ns per sample{' and run' if one.runs > 1 else ''}"
    return f"{words.sentence(one.what)} on {one.data}, {unit}"


def terminal_summary(measured: Measured) -> str:
    """All tables as plain lines, then what was left out, and roofs."""
    rounds = measured.frame()
    lines: list[str] = []
    for case, rows in groups(standings(rounds), "case"):
        lines += ["", heading(case), _line(HEADER)]
        before = ""
        for row in records(rows):
            size, *others = cells(row)
            lines.append(_line(("" if size == before else size, *others)))
            before = size
    lines += ["", f"{words.sentence(roofs_told(rounds))}."]
    if told := left_out_told(measured.left_out):
        lines += ["Not compared:", *(f"  {one}" for one in told)]
    lines.append(
        "Versions, what computes the products, and what starts took, which no time contains:"
    )
    for row in program_rows(measured, standings(rounds)):
        start = row["starts took"] and f"starts {row['starts took']}"
        about = [row["version"], row["products by"], start]
        cores = "" if row["cores"] == ONE else " on all cores"
        lines.append(f"  {row['program']}{cores}: {', '.join(filter(None, about))}")
    return "\n".join(lines)


def _line(texts: Sequence[str]) -> str:
    """One line: program at the left of its column, all else at the right."""
    size, program, *others = texts
    numbers = "".join(text.rjust(n) for text, n in zip(others, WIDTHS[2:], strict=True))
    return f"{size:>{WIDTHS[0]}}  {program:<{WIDTHS[1]}}{numbers}".rstrip()


@dataclass(frozen=True)
class PageTable:
    """A case on the page: rows of cells under HEADER."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[bool, tuple[str, ...]], ...]


def page_tables(table: pd.DataFrame) -> Iterator[PageTable]:
    """The tables of the page: a flag for our rows, and the cells."""
    for case, rows in groups(table, "case"):
        found = tuple((row.program == OURS, cells(row)) for row in records(rows))
        yield PageTable(heading(case), HEADER, found)


def markdown(table: pd.DataFrame, roofs: str, about: Mapping[str, str]) -> str:
    """The tables for a README: a case each, a row a batch size, a column a program."""
    parts = []
    for case, rows in groups(table, "case"):
        programs = list(dict.fromkeys(rows["program"]))
        header = [
            "B",
            *map(words.in_markdown, programs),
            "batchbench / best peer",
            "GF/s",
            "of fma peak",
            "of sgemm",
        ]
        lines = [header, ["---:"] * len(header)]
        for size, cell in groups(rows, "batch_size"):
            ours = next(records(cell[cell["program"] == OURS]))
            times = cell.set_index("program")["ns"]
            ratio = "" if math.isnan(ours.ratio) else f"**{_ratio(ours)}**"
            numbers = (_number(times.get(program, math.nan)) for program in programs)
            lines.append([words.count(size), *numbers, ratio, *cells(ours)[4:7]])
        parts.append(
            "\n".join([f"{heading(case)}:", "", *(f"| {' | '.join(cells)} |" for cells in lines)])
        )
    told = [about[name] for name in ("Machine", "Date", "Programs") if about.get(name)]
    parts.append(f"{words.sentence(roofs)}. {words.in_markdown('; '.join(told))}.")
    return "\n\n".join(parts) + "\n"
