"""The page of the history: OUT/history/report.html, its figures, its table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import csv_files
from bench.plain import write_text
from bench.report import figures, words
from bench.report.figures import history as drawings
from bench.report.page import card, environment, picture, stylesheet
from bench.speed.series import (
    ABSENT,
    AT,
    BETTER,
    FEW,
    NOISY,
    QUALITY,
    SAME,
    SPEED,
    WORSE,
    Machine,
    Point,
    Series,
    points_frame,
)

NAME = "history"
SUBJECT = "History: speed and quality over commits"
QUESTION = "Did it become slower, or does it learn worse?"
TOLD = 6  # series that the terminal and a sentence name
CSS = {WORSE: "refuted", BETTER: "supported"}
CELLS = (
    "Each cell: newest over the level before, and what is found. (±9%): no change, and one of less "
    "than 9% would not be seen in this noise"
)
VERSIONS = {"numpy": "NumPy", "python": "Python"}
SHORT = {WORSE: "WORSE", NOISY: "too noisy", FEW: "too few"}
LABEL, OPERATION, CELL = 40, 15, 17
METHOD = {  # definitions, and how changes are found
    "Seconds": [
        "Median seconds of a call over the median seconds of a reference workload, 40 steps "
        "of 64-32-10 in plain NumPy, timed just before and just after each benchmark in the "
        "same process: where the clock or other programs slow both, the ratio stays.",
        "Intervals: 95%, of medians by order statistics, of the ratio by square-and-add on "
        "the logarithmic scale (Zou and Donner 2008). They hold what varies within a run; "
        "runs differ by more, and changes are judged by what runs differ by.",
    ],
    "Quality": [
        "Measures of the studies that run beside the benchmarks, with their intervals over "
        "seeds. The same code gives the same numbers, so a change is judged by the intervals:"
        " worse where the newest lies beyond the interval of the last run of another commit, "
        "with its own interval, and by 5% at least. What becomes worse by less with each of many "
        "commits is therefore never found worse: the figure over time shows it."
    ],
    "Machines": [
        "Told apart by name, system, processor, cores, instruction set, version and "
        "architecture of the BLAS, NumPy and Python: these move the reference workload."
    ],
    "Steps": [
        "Seeded binary segmentation on logarithms (Kovács, Bühlmann, Li and Munk 2023, "
        "Biometrika 110:249), outliers pulled to their neighbours first (Hampel 1974). A step"
        " must stand out beside a straight line and a cubic in its interval, so that a slow "
        "drift is none; it has 3 runs on each side, and is at least 1% (of quality 5%).",
        "All series of a machine are judged together (Bonferroni). Simulated, 60 together, of 30 "
        "runs each, whose levels never change: a step is found in none of 6,000 series of normal "
        "noise, none of 6,000 of heavy-tailed noise (t, 3 degrees of freedom), and none and 1 of "
        "6,000 whose neighbours correlate by 0.3 and 0.5. By these rates a page of 60 series has a"
        " false step in at most 3 of 100 cases (upper 95% bound where none was found), with 0.5 in"
        " 1 of 100 (at most 5). None is found in 2,000 slopes and 2,000 cosines.",
        "The price is power. After 20 runs a step of 12 standard deviations is found at its exact "
        "place in 97% of 200 series 3 runs after it, one of 10 in 83% after 3 and 99% after 5, one"
        " of 7 in 70% after 5 and 90% after 7, one of 5 in 72% after 10.",
    ],
    "The newest run": [
        "A change where it alone lies outside the prediction interval of the level before it,"
        " 5% over all series together (Bonferroni), with the tails of Student's t with 4 "
        "degrees of freedom; or where it makes a step visible that no run before showed. Fewer than"
        " 8 runs since the last step are too few to tell; where a run twice as slow would not"
        " be seen, it is too noisy. Once a step is found, runs are judged by the new level.",
        "Simulated: without a change none of 3,000 newest runs is found worse in normal "
        "noise, 2 of 3,000 in heavy-tailed noise (t, 3 degrees of freedom), which is 4% of "
        "runs of 60 benchmarks. A single run that is slower by 12 standard deviations is "
        "found in three of four cases, by 16 in nearly all; what is less needs three runs and"
        " more.",
    ],
}


def write(machines: Sequence[Machine], notes: Sequence[str], folder: Path, command: str) -> None:
    """Write figures/, series.csv and report.html.

    Parameters
    ----------
    machines
        With their series, the newest run's first.
    notes
        Lines about files that were skipped.
    folder
        Where to; it exists.
    command
        What makes this page again.
    """
    (folder / "figures").mkdir()
    drawn = [
        figures.save(name, spec, spec.data(machines), folder / "figures")
        for name, spec in drawings.figures(machines).items()
    ]
    csv_files.write(points_frame(machines), folder / "series.csv")
    write_text(folder / "report.html", html(machines, notes, drawn, command))


def html(
    machines: Sequence[Machine],
    notes: Sequence[str],
    drawn: Sequence[figures.DrawnFigure],
    command: str,
) -> str:
    """The page's text."""
    pictures = [picture(one) for one in drawn]
    hero = next((one for one in pictures if one.name == "newest"), None)
    others = [one for one in pictures if one is not hero]
    answer = sentences(machines)
    date = f"{machines[0].newest.time:%Y-%m-%d}"
    return (
        environment()
        .get_template("history.html")
        .render(
            card=card(NAME, SUBJECT, QUESTION, answer[0], hero, date),
            css=stylesheet(),
            answer=answer,
            hero=hero,
            tables=list(newest_tables(machines[0])),
            notes=notes,
            machines=[
                {"name": machine_name(one), "figures": _of(others, number), "runs": run_rows(one)}
                for number, one in enumerate(machines, 1)
            ],
            method=[*METHOD.items(), ("Command", [command]), ("Date", [date])],
        )
    )


def _of(pictures: Sequence[Any], machine: int) -> list[Any]:
    """The figures of one machine."""
    own = f"_machine_{machine}"
    return [
        one
        for one in pictures
        if one.name.endswith(own) or (machine == 1 and "_machine_" not in one.name)
    ]


def sentences(machines: Sequence[Machine]) -> list[str]:
    """The answer: the newest run, the steps before it, the runs and machines."""
    first = machines[0]
    return [f"{text}." for text in (_newest_told(first), _steps_told(first), _runs_told(machines))]


def _newest_told(machine: Machine) -> str:
    """What the newest run is, in a sentence."""
    run = f"The newest run, {commit_name(machine.newest.commit, machine.newest.dirty)},"
    worse = [one for one in machine.series if one.newest == WORSE]
    better = [one for one in machine.series if one.newest == BETTER]
    few, noisy = (sum(one.newest == word for one in machine.series) for word in (FEW, NOISY))
    if worse:
        return f"{run} is worse in {_listed(worse)}"
    if few == len(machine.series):
        return f"{run} has too few runs before it on its machine to tell whether anything changed"
    told = f"{run} is no change for the worse"
    if few + noisy == len(machine.series):
        told = f"{run} cannot be judged"
    if better:
        told += f", and better in {_listed(better)}"
    if few:
        told += f"; {words.plural(few, 'series has', 'series have')} too few points to tell"
    noise = f"; {words.plural(noisy, 'series is', 'series are')} too noisy to tell"
    return told + noise if noisy else told


def _listed(series: Sequence[Series]) -> str:
    """Series with their changes, the largest first."""
    ordered = sorted(series, key=lambda one: -abs(math.log(one.change)) if one.change > 0 else 0)
    told = [f"{one.title} ({change_words(one)})" for one in ordered[:TOLD]]
    more = len(ordered) - len(told)
    return words.join([*told, *([f"{more} more"] if more else [])])


def change_words(series: Series) -> str:
    """The newest over the level before: "× 1.12"; "" where there is none."""
    if math.isnan(series.change):
        return ""
    if math.isinf(series.change):
        return "not reached any more"
    return f"×\N{NO-BREAK SPACE}{words.number(series.change, 3)}"


def _steps_told(machine: Machine) -> str:
    """How many series have a step, and the latest."""
    stepped = [one for one in machine.series if one.steps]
    n = words.plural(len(machine.series), "series", "series")
    if not stepped:
        return f"Over all its runs none of {n} shows a step"
    latest = max(stepped, key=lambda one: one.points[one.steps[-1].start].run)
    step = latest.steps[-1]
    point = latest.points[step.start]
    return (
        f"Over all its runs {len(stepped)} of {n} show a step, the latest {latest.title}, which is "
        f"{words.number(math.exp(step.size), 3)} times as large from "
        f"{commit_name(point.commit, point.dirty)} on"
    )


def _runs_told(machines: Sequence[Machine]) -> str:
    """How many runs there are, and of how many machines."""
    runs = [run for machine in machines for run in machine.runs]
    dirty = sum(run.dirty for run in runs)
    told = f"{words.plural(len(runs), 'run')} on {words.plural(len(machines), 'machine')}"
    if dirty:
        told += f", {dirty} of them with uncommitted changes"
    return f"{told}; what was measured on different machines is never held against each other"


def commit_name(commit: str, dirty: bool) -> str:
    """A commit in seven letters, and whether more was changed."""
    return f"{commit[:7]}{' with uncommitted changes' if dirty else ''}"


def newest_tables(machine: Machine) -> Iterator[dict[str, Any]]:
    """Tables of the newest run: of each case by operation and batch size, and of quality."""
    speed = [one for one in machine.series if one.kind == SPEED]
    for group in dict.fromkeys(one.group for one in speed):
        own = [one for one in speed if one.group == group]
        header = ["benchmark", "reference workloads a call", "over the level before", "finding"]
        yield {"title": group, "header": header, "rows": [_cells(one) for one in own]}
    quality = [one for one in machine.series if one.kind == QUALITY]
    if quality:
        header = ["measure", "newest", "over the run before", "finding"]
        rows = [_cells(one, one.title) for one in quality]
        yield {"title": "How well networks learn", "header": header, "rows": rows}


def _cells(series: Series, name: str = "") -> list[tuple[str, str]]:
    """A series' row: (text, CSS class) a cell."""
    now = series.points[-1]
    cells = [name or series.name, value_words(now), change_words(series), finding(series)]
    return [(text, CSS.get(series.newest, "") if text == cells[3] else "") for text in cells]


def value_words(point: Point) -> str:
    """A value with its interval."""
    if math.isinf(point.value):
        return "not reached"
    ends = [
        words.number(x, 3) if math.isfinite(x) and x > 0 else "unknown"
        for x in (point.low, point.high)
    ]
    told = f"{words.number(point.value, 3)} [{', '.join(ends)}]"
    return f"{told} at {point.at}" if point.at else told


def finding(series: Series) -> str:
    """What the newest point is, and what that rests on."""
    n = series.rests_on
    if series.newest == FEW:
        return f"{FEW} ({n} before)"
    if series.kind == QUALITY or series.newest not in (SAME, WORSE, BETTER):
        return series.newest
    if series.newest == SAME:
        return f"{SAME} beyond ±{words.percent(series.limit - 1)}, from {n} before"
    return f"{series.newest} ({'this run alone' if n == 1 else f'the last {n} runs'})"


def run_rows(machine: Machine) -> list[dict[str, str]]:
    """A row a run, newest first."""
    return [
        {
            "run": str(number),
            "time (UTC)": f"{run.time:%Y-%m-%d %H:%M}",
            "commit": commit_name(run.commit, run.dirty),
            "benchmarks": str(len(run.timings)),
            "measures of quality": str(len(run.metrics)),
        }
        for number, run in reversed(list(enumerate(machine.runs, 1)))
    ]


def machine_name(machine: Machine) -> str:
    """A machine by all that it is told by."""
    told: Mapping[str, str] = machine.fingerprint
    first = [told.get("node", ""), told.get("processor", ""), told.get("instruction_set", "")]
    cores = f"{told['cores']} cores" if "cores" in told else ""
    software = [told.get("system", ""), told.get("blas", "")]
    versions = [f"{name} {told[key]}" for key, name in VERSIONS.items() if key in told]
    runs = words.plural(len(machine.runs), "run")
    return f"{', '.join(filter(None, [*first, cores, *software, *versions]))}: {runs}."


def terminal_summary(machines: Sequence[Machine], notes: Sequence[str]) -> str:
    """The answer, and per case what is found of each operation at each batch size."""
    lines = [*notes, *sentences(machines), "", CELLS]
    series = machines[0].series
    for group in dict.fromkeys(one.group for one in series if one.kind == SPEED):
        lines += ["", *case_lines([one for one in series if one.group == group])]
    quality = [one for one in series if one.kind == QUALITY]
    if quality:
        lines += ["", "How well networks learn: newest over the run before"]
        lines += [f"  {one.title:<{LABEL}}{cell(one)}" for one in quality]
    return "\n".join(lines)


def case_lines(series: Sequence[Series]) -> list[str]:
    """Lines of a case's table: a row an operation, a column a batch size."""
    rows: dict[str, dict[str, str]] = {}
    for one in series:
        operation, _, size = one.name.partition(AT)
        rows.setdefault(operation, {})[size] = cell(one)
    sizes = list(dict.fromkeys(size for row in rows.values() for size in row))
    heads = "".join(f"B = {size}".rjust(CELL) for size in sizes)
    lines = [series[0].group, f"{'':<{OPERATION}}{heads}"]
    for operation, row in rows.items():
        cells = "".join(row.get(size, "").rjust(CELL) for size in sizes)
        lines.append(f"  {operation:<{OPERATION - 2}}{cells}".rstrip())
    return lines


def cell(series: Series) -> str:
    """The change and the finding in few words: "1.02 (±9.0%)", "1.30 WORSE", "too few"."""
    if series.newest in (FEW, ABSENT):
        return SHORT.get(series.newest, "absent")
    if not math.isfinite(series.change):
        return f"not reached {series.newest}"
    seen = SHORT.get(series.newest, series.newest)
    if series.newest == SAME:
        seen = f"(±{words.percent(series.limit - 1)})" if series.kind == SPEED else "same"
    return f"{words.number(series.change, 3)} {seen}"
