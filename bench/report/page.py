"""The page of a study: report.html, one file that opens anywhere, and its figures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.analysis.evidence import Evidence, Recommendation
from bench.plain import write_text
from bench.report import choices, figures, own_table, settings, tables, theme, words
from bench.report.answer import answer, question, subject
from bench.report.frames import records
from bench.report.glossary import GLOSSARY, gloss

HERE = Path(__file__).resolve().parent
HERO = ("answer", "xor_answer")
"""Figures of the first screen: of data, and of populations."""


@dataclass(frozen=True)
class Picture:
    """A figure on the page."""

    name: str
    title: str
    reading: str
    wide: Markup
    narrow: Markup


def environment() -> Environment:
    """The templates' environment: everything that is not marked as safe is escaped."""
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["gloss"] = gloss
    return made


def stylesheet() -> Markup:
    """The page's CSS with the figures' colours filled in."""
    light, dark = theme.css_variables()
    text = (HERE / "page.css").read_text(encoding="utf-8")
    return Markup(text.replace("{{ light }}", light).replace("{{ dark }}", dark))


def write(evidence: Evidence, folder: Path | str, about: Mapping[str, str] | None = None) -> Path:
    """Write figures/ and report.html of a study.

    Parameters
    ----------
    evidence
        What the study found out.
    folder
        Where to; made if it does not exist.
    about
        Facts for the method that the evidence does not hold, in the order of the page: "Command",
        "Date", "Machine", "Versions", ...

    Returns
    -------
    Path
        The page.
    """
    folder = Path(folder)
    drawn = figures.save_all(evidence, folder / "figures")
    page = folder / "report.html"
    write_text(page, html(evidence, drawn, about or {}))
    return page


def html(evidence: Evidence, drawn: list[figures.DrawnFigure], about: Mapping[str, str]) -> str:
    """The page's text."""
    told, table = answer(evidence), evidence.problem.table
    pictures = [picture(one) for one in drawn]
    hero = next((one for one in pictures if one.name in HERO), None)
    asked = question(evidence)
    lines = setting_lines(evidence)
    judged = tables.verdict_rows(evidence)
    verdicts = [row for row in judged if not row.is_rule_of_thumb]
    thumbs = [row for row in judged if row.is_rule_of_thumb]
    sections = [
        ("set-this", "Set this") if lines else None,
        ("how-sure", "How sure"),
        ("verdicts", "Verdicts") if verdicts else None,
        ("thumb", "Rules of thumb") if thumbs else None,
        ("figures", "Figures"),
        ("method", "Method"),
        ("glossary", "Glossary"),
    ]
    return (
        environment()
        .get_template("page.html")
        .render(
            subject=subject(evidence),
            question=asked,
            answer=told,
            columns=own_table.column_rows(table) if table else (),
            population=evidence.population is not None,
            card=card(
                evidence.problem.name,
                subject(evidence),
                asked,
                told.sentences[0],
                hero,
                about.get("Date", ""),
            ),
            css=stylesheet(),
            hero=hero,
            sections=[section for section in sections if section],
            settings=lines,
            facts=facts(evidence),
            costs=tables.cost_tables(evidence) if evidence.population is None else [],
            here=tables.HERE,
            warnings=evidence.warnings,
            verdicts=verdicts,
            thumbs=thumbs,
            figures=[one for one in pictures if one is not hero],
            arms=tables.arms_table(evidence),
            method=method(evidence, about),
            glossary=GLOSSARY,
        )
    )


def picture(drawn: figures.DrawnFigure) -> Picture:
    """A drawn figure as elements of the page; its title and reading are its alternative text."""
    alt = f"{drawn.title}. {drawn.reading}"
    wide, narrow = (
        Markup(theme.inline_svg(svg, f"{drawn.name}-{size}", alt))
        for svg, size in ((drawn.wide, "w"), (drawn.narrow, "n"))
    )
    return Picture(drawn.name, drawn.title, drawn.reading, wide, narrow)


def card(
    name: str, subject: str, question: str, answer: str, hero: Picture | None, date: str
) -> dict[str, str]:
    """What the index of all studies reads from a page."""
    return {
        "name": name,
        "subject": subject,
        "question": question,
        "answer": answer,
        "date": date,
        "picture": hero.name if hero else "",
        "alt": hero.title if hero else "",
    }


def setting_lines(evidence: Evidence) -> list[settings.Setting]:
    """Source for each program that can be set: its own fastest batch size."""
    lines = []
    for program, write_source in settings.PROGRAMS.items():
        chosen, why = _choice(evidence, program)
        if chosen is not None:
            setting = write_source(evidence.problem, evidence.rule, chosen)
            remark = f"{why} {setting.remark}".strip() if setting.code else setting.remark
            lines.append(settings.Setting(program, setting.code, remark))
    return lines


def _choice(evidence: Evidence, program: str) -> tuple[settings.Found | None, str]:
    """What a program is to be set to, and why."""
    if evidence.population is not None:
        best = evidence.population.success.iloc[0]
        found = settings.Found(int(best["batch_size"]), float(best["learning_rate"]))
        return found, "The batch size and rate at which this network learns XOR most often."
    timed: dict[str, Recommendation] = {rec.program: rec for rec in evidence.recommendations}
    rec = timed.get(program) or evidence.recommendations[0]
    if rec.chosen is None:
        return None, ""
    why = f"The fastest of those that cannot be told apart in {program}."
    if program not in timed:
        why = f"{program} was not timed here: this is the choice by passes over the data."
    arm = rec.chosen, rec.learning_rates[rec.chosen]
    if choices.uncertain(evidence, *arm):
        why += " Fewer than 9 of 10 runs reached the target with it: yours may not."
    scores = tuple(choices.arm_rows(evidence, *arm).get("score", ()))
    return settings.Found(*arm, choices.passes(evidence, *arm), scores), why


def facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Numbers that say how sure the answer is: (value, what it is)."""
    if evidence.population is not None:
        return _population_facts(evidence)
    n_train = evidence.problem.n_train
    summary = evidence.summary
    tuned = summary[(summary["protocol"] == "tuned") & (summary["target"] == evidence.target)]
    found = [
        (words.count(int(tuned["n_seeds"].max())), "reporting seeds at each batch size"),
        (words.count(len(evidence.outcomes)), "training runs in all"),
    ]
    found += [_runner_up(rec, n_train) for rec in evidence.recommendations if rec.runner_up]
    return found


def _runner_up(rec: Recommendation, n_train: int) -> tuple[str, str]:
    """The second best batch size by passes, or in a program, and how far it is behind."""
    assert rec.runner_up is not None  # asked by `facts`
    assert rec.best is not None
    row = next(r for r in records(rec.ratios) if r.batch_size == rec.runner_up)
    text = words.times(row.ratio, row.low, row.high, "long" if rec.program else "many")
    goal = f"in {rec.program}" if rec.program else "by passes over the data"
    best = words.with_batch(rec.best, n_train)
    name = words.sentence(words.batch_name(rec.runner_up, n_train))
    return name, f"runner-up {goal}: {text} as {best}"


def _population_facts(evidence: Evidence) -> list[tuple[str, str]]:
    """The same for populations."""
    assert evidence.population is not None
    own = evidence.population.success.iloc[0]
    rows = evidence.population.by_batch_size
    # the best was picked on other blocks, and need not be the largest here
    others = rows[(rows["variant"] == own["variant"]) & (rows["batch_size"] != own["batch_size"])]
    found = [
        (words.count(own["n_runs"]), "starts that report, at each batch size and rate"),
        (words.count(own["n_seeds"]), "blocks that share an order of samples; intervals by block"),
        (words.count(evidence.population.counts["n"].sum()), "networks trained in all"),
    ]
    if len(others):
        second = others.loc[others["success"].idxmax()]
        name = words.batch_name(int(second["batch_size"]), evidence.problem.n_train)
        share = words.percent_interval(second["success"], second["low"], second["high"])
        found.append((words.sentence(name), f"runner-up batch size: {share} learn XOR"))
    return found


def method(evidence: Evidence, about: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Definitions, protocol, seeds, budget and targets, and how to make this page again."""
    told = {
        "Data": _data_told(evidence),
        "Network": [_network_told(evidence)],
        "Batches": [
            "Consecutive cuts of a new permutation of the samples at each pass; the gradients of "
            "a batch are averaged, of the shorter last one over its own size."
        ],
        "Seeds": _seeds_told(evidence),
        "Learning rates": [_rates_told(evidence)],
        "Protocols": [_protocols_told(evidence)],
        "Budget": [_budget_told(evidence)],
        "Targets": [
            f"Training losses {words.join(words.number(t) for t in evidence.targets)}; verdicts "
            "use the middle one. Reached: the first of two consecutive evaluations at or below "
            "it, interpolated. Not reached within the budget, or diverged, counts as infinitely "
            "long; no number stands in for it."
        ],
        "Seconds": [
            "Updates times the seconds that one update takes at that batch size, measured in each "
            "program on this machine, compilation and evaluation apart."
        ],
        "Intervals": [
            "95%: of medians by order statistics, of shares exact (Clopper and Pearson), of the "
            "rest by bootstrap over seeds. Two batch sizes are compared seed by seed."
        ],
        "Verdict rules": [
            f"Supported: the whole interval lies beyond the margin ({evidence.options['margin']:g} "
            "for ratios) in the claimed direction. Refuted: beyond it in the other. No material "
            "difference: within the margin. Undecided: everything else, and where another target "
            "says the opposite."
        ],
    }
    if len(evidence.rules):
        told["Other update rules"] = [_rules_told(evidence)]
    return [*told.items(), *((name, [text]) for name, text in about.items() if text)]


def _data_told(evidence: Evidence) -> list[str]:
    """How many samples, and what was done to them."""
    problem = evidence.problem
    split = f"{words.count(problem.n_train)} training samples"
    if problem.has_test:
        split += f", {words.count(len(problem.X_test))} held out as the test split"
    told = [f"{split}. One fixed split: intervals are conditional on it."]
    parts = len(problem.scored[0]), len(problem.scored_test[0])
    if parts != (problem.n_train, len(problem.X_test)):
        told.append(
            f"Losses and scores are those of a random part, the same for all runs: "
            f"{words.count(parts[0])} training samples, {words.count(parts[1])} held out."
        )
    return [*told, *problem.preparation]


def _network_told(evidence: Evidence) -> str:
    """The network, its loss, the update rule and the initialization."""
    network = evidence.problem.network
    return (
        f"Widths {'-'.join(map(str, network.widths))}, {words.NAMES[network.activation]} hidden "
        f"units, {network.output} output, {words.NAMES[network.loss]}; "
        f"{words.count(network.n_params)} weights in 32-bit numbers; initialization: "
        f"{words.NAMES[evidence.problem.scheme]}; update rule: {words.NAMES[evidence.rule]}."
    )


def _seeds_told(evidence: Evidence) -> list[str]:
    """What seeds fix, and which of them choose and report."""
    told = [
        "A seed fixes initial weights and orders, the same for every batch size and learning rate. "
        "Seeds divisible by 3 tune: whatever is picked is picked on them. The others report: every "
        "number on this page is theirs."
    ]
    if evidence.problem.population is not None:
        told.append(
            f"Each seed trains a block of {words.count(evidence.problem.population)} networks "
            "with initial weights of their own and one common order of the samples."
        )
    return told


def _rates_told(evidence: Evidence) -> str:
    """Which learning rates were tried, and how one is picked."""
    tried = (
        "16 rates in steps of half an octave at each batch size, more where the best lies at the "
        "edge, then 16 in steps of an eighth of an octave around it."
    )
    population = evidence.problem.population is not None
    if population:
        tried = (
            "16 rates in steps of half an octave at each batch size, more where most networks "
            "learn at the outermost one."
        )
    if evidence.options.get("learning_rates"):
        tried = "Those given, at every batch size, and no others."
    elif evidence.options.get("rounds") is not None:
        tried = (
            "First every other batch size, at rates in steps of half an octave, on few seeds; then "
            "in steps of an eighth of an octave around the best, with more batch sizes and seeds "
            "in each round, where the answer was still open. What was found decides what a round "
            "trains; time decides only after which round it ends."
        )
    if population:
        return (
            f"{tried} The best batch size and rate of a network are those at which most of the "
            "tuning blocks' networks learn; shares are those of the reporting blocks there."
        )
    return (
        f"{tried} The pick: of the rates at which at most 5% of the seeds fail, the one that "
        "reaches the target first."
    )


def _rules_told(evidence: Evidence) -> str:
    """How the other update rules were trained."""
    seeds = words.plural(int(evidence.rules["n_seeds"].min()), "reporting seed")
    return (
        f"At half of the batch sizes, with {seeds}: rates in steps of half an octave on the "
        "tuning seeds, then 16 in steps of an eighth of an octave around "
        "the best. Momentum 0.9; Adam with beta1 = 0.9 and beta2 = 0.999, and with beta2 = "
        "0.999^(B/32), which keeps its half-life in examples the same at every batch size B."
    )


def _protocols_told(evidence: Evidence) -> str:
    """The protocols and their bases."""
    base = words.batch_name(int(evidence.options["base_batch_size"]), evidence.problem.n_train)
    return (
        f"Tuned: each batch size at its own pick. Same: all at the pick of {base} (and of batch "
        "size 1). Linear: that pick in proportion to the batch size; square root: to its root."
    )


def _budget_told(evidence: Evidence) -> str:
    """How long each run lasts."""
    updates = evidence.problem.updates_budget
    if updates is not None:
        told = f"{words.count(updates)} updates at every batch size."
        longer = evidence.problem.longer
        if longer > 1:
            told += f" Networks that failed were given {longer} times as many, from their start."
        return told
    told = "The larger of 30 passes and 300 updates, so that large batches get their chance"
    limit = evidence.problem.examples_budget
    if limit is not None:
        told += f"; at most {words.count(limit)} examples, and the rest of the last pass"
    return f"{told}."
