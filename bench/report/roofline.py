"""The page of the roofline: OUT/roofline/report.html, its figures, its tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench import csv_files
from bench.plain import write_text
from bench.report import figures, words
from bench.report.figures import roofline as drawings
from bench.report.frames import groups, records
from bench.report.page import card, environment, picture, stylesheet
from bench.speed.peers import OURS
from bench.speed.roofline import LANES, NAME, Roofline
from bench.speed.timings import short
from bench.speed.traffic import FMA

SUBJECT = "Roofline: training under the limits of one core"
QUESTION = "Why do small batches cost more per sample, and must they?"
ROOFS = {FMA: "the arithmetic"}
FAR_BELOW = 0.5  # of the nearest roof
DISTURBED = 0.05  # of the time
LABEL, CELL = 24, 9


def write(roofline: Roofline, folder: Path, about: Mapping[str, str]) -> None:
    """Write figures/, roofline.csv, bandwidth.csv and report.html.

    Parameters
    ----------
    roofline
        What was measured.
    folder
        Where to; it exists.
    about
        Facts for the method, in the order of the page: "Command", "Date", ...
    """
    (folder / "figures").mkdir()
    specs = drawings.figures(roofline)
    drawn = [
        figures.save(name, spec, spec.data(roofline), folder / "figures")
        for name, spec in specs.items()
    ]
    csv_files.write(roofline.rows, folder / "roofline.csv")
    csv_files.write(drawings.bandwidth_data(roofline), folder / "bandwidth.csv")
    write_text(folder / "report.html", html(roofline, drawn, about))


def html(roofline: Roofline, drawn: Sequence[figures.DrawnFigure], about: Mapping[str, str]) -> str:
    """The page's text."""
    hero, *others = [picture(one) for one in drawn]
    answer = sentences(roofline)
    return (
        environment()
        .get_template("roofline.html")
        .render(
            card=card(NAME, SUBJECT, QUESTION, answer[0], hero, about.get("Date", "")),
            css=stylesheet(),
            answer=answer,
            hero=hero,
            figures=others,
            facts=facts(roofline),
            explained=explained(roofline),
            warnings=warnings(roofline),
            bounds=bounds(roofline),
            numbers_rows=numbers_table(roofline),
            method=[*method(roofline).items(), *((k, [v]) for k, v in about.items() if v)],
        )
    )


def _cell(roofline: Roofline, program: str, runs: int, look_ahead: bool) -> Any:
    """The row of a way of training at the smallest batch size of the first case."""
    rows = roofline.rows
    rows = rows[rows["case"] == rows["case"].iloc[0]]
    rows = rows[rows["batch_size"] == rows["batch_size"].min()].set_index(drawings.WAY)
    return rows.loc[(program, runs, look_ahead)]


def programs(roofline: Roofline) -> list[str]:
    """Names of the other programs that were measured."""
    return [name for name in dict.fromkeys(roofline.rows["program"]) if name != OURS]


def sentences(roofline: Roofline) -> list[str]:
    """The answer in three sentences: what is seen, why, and what look-ahead changes."""
    case = roofline.rows["case"].iloc[0]
    seen = drawings.small_batches_title(drawings.small_batches_data(roofline, case))
    step, ahead = (_cell(roofline, OURS, LANES, way) for way in (False, True))
    below = [
        f"{name} at {words.percent(share)}"
        for name in programs(roofline)
        if (share := _cell(roofline, name, 1, False)["share"]) < FAR_BELOW
    ]
    why = (
        f"{words.sentence(where(step))}, weights that are gone through for every update give only "
        f"{words.number(step['intensity'])} flops for each byte that moves"
    )
    if below:
        why += (
            f", and {words.join(below)} of what even that allows wait for neither memory nor "
            "arithmetic"
        )
    relative = drawings.small_batches_data(roofline, case).set_index(["batch_size", *drawings.WAY])
    times = relative.loc[(step["batch_size"], OURS, LANES, True), "relative"]
    changes = (
        f"With look-ahead the same training does {words.number(ahead['intensity'])} flops a byte: "
        f"{where(step)}, {LANES} runs at once take {words.number(times)} times as long for a "
        f"sample as at their best batch size, and reach {words.percent(ahead['peak_share'])} of "
        f"the fma peak ({words.percent(step['peak_share'])} step by step)"
    )
    return [f"{text}." for text in (seen, why, changes)]


def warnings(roofline: Roofline) -> list[str]:
    """What the reader must know beforehand: who is missing, and whether the core was disturbed."""
    told = [f"{name} is left out: {why}." for name, why in roofline.left_out.items()]
    if roofline.taken > DISTURBED:
        told.append(
            f"Something else had the core for {words.percent(roofline.taken)} of the time: what is "
            "timed here is slower than it is. Measure again on a quiet machine."
        )
    return told


def where(row: Any) -> str:
    """A row's batch size in a sentence."""
    return words.with_batch(int(row["batch_size"]), int(row["n_train"]))


def facts(roofline: Roofline) -> list[tuple[str, str]]:
    """The roofs: (value, what it is)."""
    peak, levels = roofline.roofs.peak, roofline.roofs.levels
    found = [(f"{words.number(peak / 1e9, 3)} GF/s", "fused multiply-adds out of registers")]
    for level in levels:
        size = "" if level.capacity == float("inf") else f" of {drawings.byte_size(level.capacity)}"
        needed = words.number(peak / level.training)
        told = f"{level.name}{size}: the arithmetic is the limit from {needed} flops a byte on"
        found.append((f"{words.number(level.training / 1e9)} GB/s", told))
    return found


def explained(roofline: Roofline) -> list[str]:
    """What a roofline is and what look-ahead changes, in plain words, with this core's numbers."""
    peak = roofline.roofs.peak
    step, ahead = (_cell(roofline, OURS, LANES, way) for way in (False, True))
    level = next(one for one in roofline.roofs.levels if one.name == step["level"])
    allowed = min(peak, step["intensity"] * level.training)
    return [
        "A core can multiply and add so many numbers a second, here "
        f"{words.number(peak / 1e9, 3)} billion operations (GF/s), and fetch so many bytes a "
        "second from each level of its memory. A kernel that does few operations with each byte "
        "waits for bytes, one that does many waits for the arithmetic: its speed is at most the "
        "smaller of flops per byte times bytes per second and the peak. Drawn against flops per "
        "byte, these limits look like a roof.",
        "Per sample, the update of one sample must be in the weights before the next sample "
        "comes, so a program goes through all weights three times a sample: it reads them for the "
        "prediction, and reads and writes them for the update. That is "
        f"{words.number(step['intensity'])} flops a byte {where(step)}; from {level.name}, "
        f"where the weights of {LANES} runs live, it allows {words.number(allowed / 1e9)} GF/s and "
        "no more, however well it is written. A batch of B goes through the weights once for B "
        "samples: this is why hardware prefers batches.",
        "Look-ahead takes that reason away where it can. The next inputs are known before the "
        "weights are, so 16 samples go through the old weights of the first layer together, and "
        "what the updates between them change is added from the inner products of the inputs: "
        f"the same numbers, to rounding. {words.sentence(where(ahead))} that is "
        f"{words.number(ahead['intensity'])} flops a byte. Only the layers behind the first still "
        "change with each update; they are small enough to be near.",
        "What is far below every roof waits for neither memory nor arithmetic: for calls of "
        "functions, for memory to be allocated, for one operation to end before the next begins.",
    ]


def bounds(roofline: Roofline) -> list[dict[str, Any]]:
    """Per case: which roof is nearest and the share of it, a row a way, a column a batch size."""
    tables = []
    for _, rows in groups(roofline.rows, "case"):
        n_train = int(rows["n_train"].iloc[0])
        sizes = sorted(set(rows["batch_size"]))
        lines = []
        for way, own in rows.groupby(drawings.WAY, sort=False):
            cells = {row.batch_size: row for row in records(own)}
            lines.append((name(*way), [_bound_words(cells.get(size)) for size in sizes]))
        labels = [words.batch_label(size, n_train) for size in sizes]
        tables.append({"title": rows["title"].iloc[0], "sizes": labels, "rows": lines})
    return tables


def _bound_words(row: Any) -> tuple[str, str]:
    """Time of a sample, and the share of the nearest roof; nothing where it was left out."""
    if row is None:
        return "", ""
    return words.duration(row.seconds), f"{words.percent(row.share)} of {row.roof}"


def name(program: str, runs: int, look_ahead: bool) -> str:
    """A way of training in words."""
    return drawings.look(program, runs, look_ahead).name


def numbers_table(roofline: Roofline) -> list[dict[str, str]]:
    """Everything that was measured, in words: a row per case, way and batch size."""
    return [
        {
            "network": row.title,
            "trained by": name(row.program, row.runs, row.look_ahead),
            "batch size": words.batch_label(row.batch_size, row.n_train),
            "time of a sample": words.duration_interval(row.seconds, row.low, row.high),
            "GF/s": words.number(row.speed / 1e9),
            "of the fma peak": words.percent(row.peak_share),
            "weights live in": row.level,
            "flops a byte from there": words.number(row.intensity),
            "nearest roof": f"{ROOFS.get(row.roof, row.roof)}, "
            f"{words.number(row.roof_speed / 1e9)} GF/s",
            "of that roof": words.percent(row.share),
        }
        for row in records(roofline.rows)
    ]


def method(roofline: Roofline) -> dict[str, list[str]]:
    """Definitions, and how it was measured."""
    caches = "as the system tells" if roofline.caches_told else "found where the bandwidth falls"
    return {
        "Flops": [
            "A multiplication and an addition for each weight in the forward pass, as many for "
            "the gradient, and behind the first layer as many for the deltas; the same for every "
            "way. What look-ahead computes on top is not counted as work done."
        ],
        "Bytes": [
            "Those of weights and biases, read or written; samples, activations and deltas of a "
            "batch are left out.",
            "Step by step: once for the forward pass, once for the deltas (not in the first "
            "layer, and at batch size 1 in the same pass as the gradient), and twice, read and "
            "written, for the gradient, which plain gradient descent adds to the weights at once "
            "while a batch has at most 16 samples. Larger batches are "
            "gone through in chunks of 16, the gradient is summed beside the weights, and once a "
            "batch set to 0 and applied: four times more.",
            "With look-ahead: the same, but the first layer once for as many batches as have 16 "
            "samples in all.",
            "One run keeps the layers behind the first twice, the second time transposed, and "
            "updates both.",
            "Other programs: the least that any can do, all samples of a batch at once and the "
            "gradient put into the weights as it is made. What theirs move on top, such as a "
            "gradient that is written and read again, counts against them.",
        ],
        "Levels": [
            "Bytes come from the first level that holds everything that is gone through before "
            "they are needed again: all weights, and the gradient where it stands beside them; for "
            "further visits of the layers behind the first within one step, these layers alone.",
            f"Sizes of the caches {caches}.",
        ],
        "Nearest roof": [
            "The lowest of the fma peak and, for each level, flops per byte from it or from behind "
            "it times its bandwidth. A share above 100% would mean that the model counts too much."
        ],
        "fma peak": [
            "12 independent chains of fused multiply-adds on vectors out of registers, float32: "
            "the median of measurements before, between and after the batch sizes."
        ],
        "Bandwidth": [
            "8 independent vectors at a time over working sets from 4 KiB to four times the last "
            "cache, read once and then read and written, bytes of both counted; the best of the "
            "sweeps before, between and after the networks. A level's is the median over the "
            "working sets that are twice the level before it and half of it, or between."
        ],
        "Seconds": [
            "Of a long training less those of a short one, so that checks, evaluations and "
            "compilation cancel; median, least and greatest of the rounds, all ways in turns on "
            "the same core. Other programs are in processes of their own. Everything is timed only "
            "after it has trained to the same parameters, to rounding."
        ],
    }


def terminal_summary(roofline: Roofline) -> str:
    """The answer, the roofs, and per case the time of a sample and the share of the nearest."""
    roofs = [f"{level.name} {short(level.training)}B/s" for level in roofline.roofs.levels]
    lines = [
        *sentences(roofline),
        "",
        f"fma peak {short(roofline.roofs.peak)}F/s, {', '.join(roofs)}",
    ]
    for _, rows in groups(roofline.rows, "case"):
        lines += ["", *case_lines(rows)]
    lines += warnings(roofline)
    return "\n".join(lines)


def case_lines(rows: pd.DataFrame) -> list[str]:
    """Lines of one case's two tables, of its rows of `roofline.csv`."""
    return [
        str(rows["title"].iloc[0]),
        *_table(rows, "ns per sample and run", lambda row: short(row.seconds * 1e9)),
        *_table(rows, "share of nearest roof", lambda row: f"{100 * row.share:.0f}% {row.roof}"),
    ]


def _table(rows: pd.DataFrame, head: str, cell: Callable[[Any], str]) -> list[str]:
    """Lines of a table: a row a way, a column a batch size."""
    n_train, sizes = int(rows["n_train"].iloc[0]), sorted(set(rows["batch_size"]))
    columns = "".join(words.batch_label(size, n_train).rjust(CELL) for size in sizes)
    lines = [f"{head:<{LABEL}}{columns}"]
    for way, own in rows.groupby(drawings.WAY, sort=False):
        cells = {row.batch_size: cell(row) for row in records(own)}
        texts = "".join(cells.get(size, "").rjust(CELL) for size in sizes)
        lines.append(f"  {name(*way):<{LABEL - 2}}{texts}")
    return lines
