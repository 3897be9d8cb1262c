"""A study's answer in a few sentences: on the page's first screen, and in the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bench.analysis.evidence import Evidence, Recommendation
from bench.report import choices, own_table, population_answer, words
from bench.report.choices import Choice
from bench.report.frames import records


@dataclass(frozen=True)
class Answer:
    """What a reader with a minute should know.

    Parameters
    ----------
    sentences
        Three of them, the answer first.
    details
        Short lines that belong to the second sentence: (name, text), a program or a batch size.
    rates
        (batch size, learning rate) of the recommended set, as words.
    preparation
        Of a user's own table: what was done to it, gaps first.
    choices
        Of a user's own table: what to set; in place of the second sentence and its details.
    quality
        Held-out scores, at the target and at best.
    sureness
        Seeds, runner-up, what being wrong costs, and after which round this is the answer.
    """

    sentences: tuple[str, str, str]
    details: tuple[tuple[str, str], ...]
    rates: tuple[tuple[str, str], ...]
    preparation: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    quality: tuple[str, ...] = ()
    sureness: tuple[str, ...] = ()


def answer(evidence: Evidence) -> Answer:
    """The answer of a study: which batch size, or how often XOR is learned."""
    if evidence.population:
        return _population_answer(evidence)
    told = _data_answer(evidence)
    table = evidence.problem.table
    if table is None:
        return told
    return replace(
        told,
        preparation=own_table.told(table),
        choices=choices.choices(evidence),
        quality=choices.quality(evidence),
        sureness=choices.sureness(evidence) + choices.rounds(evidence.options),
    )


def terminal_summary(evidence: Evidence) -> str:
    """The answer as lines of text for the end of `batchbench study`.

    Three of them; for a user's own table also what was done to it, what to set in each program,
    held-out scores, and how sure that is.
    """
    told = answer(evidence)
    if evidence.problem.table is not None:
        return "\n".join(_own_lines(evidence, told))
    second = told.sentences[1]
    if told.details:
        listed = "; ".join(f"{name} {text}" for name, text in told.details)
        second = f"{second.removesuffix('.')}: {listed}."
    return "\n".join((told.sentences[0], second, told.sentences[2]))


def _own_lines(evidence: Evidence, told: Answer) -> list[str]:
    """The terminal's lines of a user's own table."""
    sure, *others = told.sureness
    return [
        subject(evidence),
        " ".join(told.preparation),
        told.sentences[0],
        *(
            f"  {one.goal}: batch size {one.batch_size}, learning rate {one.learning_rate}, "
            f"{one.cost}"
            for one in told.choices
        ),
        *told.quality,
        told.sentences[2],
        f"How sure: {sure}",
        *others,
    ]


def question(evidence: Evidence) -> str:
    """What the study asks."""
    if evidence.population:
        return "How often does this network learn XOR, why does it fail, and what helps?"
    return "Should it be trained sample by sample, in mini-batches, or on the full batch?"


def subject(evidence: Evidence) -> str:
    """The problem in a line: what, rows x columns, network."""
    problem = evidence.problem
    network = "-".join(words.count(width) for width in problem.network.widths)
    of_network = f"network {network} ({words.NAMES[problem.network.activation]})"
    if problem.table is None:
        return f"{problem.title}, {of_network}"
    return f"{problem.title}, target {words.label(problem.table.target.name)}; {of_network}"


def _chosen(rec: Recommendation, n_train: int) -> str:
    """How to train, in words, with the recommended set of batch sizes."""
    sizes, chosen = sorted(rec.learning_rates), sorted(rec.batch_sizes)
    if len(chosen) == 1:
        return f"Train {words.with_batch(chosen[0], n_train)}"
    if len(chosen) == len(sizes):
        return "Train with any batch size, from per sample to full batch"
    mini = [b for b in chosen if 1 < b < n_train]
    parts = ["per sample"] if chosen[0] == 1 else []
    parts += [f"in batches of {words.batch_set(mini, sizes)}"] if mini else []
    parts += ["on the full batch"] if chosen[-1] >= n_train else []
    return f"Train {words.join(parts, 'or')}"


def _first_sentence(rec: Recommendation, n_train: int, target: float, budget: str) -> str:
    """The set of batch sizes that cannot be told apart, with its learning rates."""
    if not rec.batch_sizes:
        return (
            f"No batch size reached a training loss of {words.number(target)} within {budget} "
            "passes over the data."
        )
    rates = [rec.learning_rates[b] for b in rec.batch_sizes]
    low, high = words.number(min(rates)), words.number(max(rates))
    rate = low if low == high else f"{low} to {high}"
    if len(rec.learning_rates) == 1:
        why = "no other batch size was tried"
    elif len(rec.batch_sizes) == 1:
        why = "nothing else needs as few passes over the data"
    else:
        why = "in passes over the data these cannot be told apart"
    return f"{_chosen(rec, n_train)}, at a learning rate of {rate}: {why}."


def _data_answer(evidence: Evidence) -> Answer:
    """The answer of a study of data."""
    n_train = evidence.problem.n_train
    first, *programs = evidence.recommendations
    budgets = choices.tuned(evidence)["budget_epochs"]
    ends = [words.number(float(x)) for x in (budgets.min(), budgets.max())]
    budget = (
        ends[0] if ends[0] == ends[1] else f"{ends[0]} (small batches) to {ends[1]} (large ones)"
    )
    rates = tuple(
        (words.batch_label(b, n_train), words.number(first.learning_rates[b]))
        for b in sorted(first.batch_sizes)
    )
    reached = [rec for rec in programs if rec.cheapest is not None]
    details = tuple((rec.program, _program_line(evidence, rec)) for rec in reached)
    second = "Which is fastest depends on your program." if len(reached) > 1 else "The fastest."
    if reached and len({rec.cheapest for rec in reached}) == 1:
        fastest = words.with_batch(int(reached[0].cheapest or 1), n_train)
        second = f"The fastest is to train {fastest}."
    if not reached:
        second = "So no program's fastest batch size is known."
    return Answer(
        (
            _first_sentence(first, n_train, evidence.target, budget),
            second,
            _cost_sentence(reached, n_train, budget),
        ),
        details,
        rates,
    )


def _program_line(evidence: Evidence, rec: Recommendation) -> str:
    """The fastest batch size in a program and its time: "in batches of 64, 22 [21, 24] ms"."""
    assert rec.cheapest is not None  # left out by the caller
    arm = words.with_batch(rec.cheapest, evidence.problem.n_train)
    return f"{arm}, {choices.seconds(evidence, rec)}"


def _cost_sentence(programs: list[Recommendation], n_train: int, budget: str) -> str:
    """How much longer per sample and full batch take than the best, in each program."""
    if not programs:
        return f"More passes than {budget}, or another network, may reach it."
    parts = []
    for batch_size in (1, n_train):
        ratios = [
            (rec.program, row)
            for rec in programs
            for row in records(rec.ratios)
            if row.batch_size == batch_size
        ]
        if ratios:
            parts.append(_cost_of(batch_size, n_train, ratios))
    return (
        f"{words.sentence('; '.join(parts))}."
        if parts
        else "Per sample and full batch were not tried."
    )


def _cost_of(batch_size: int, n_train: int, ratios: list[tuple[str, object]]) -> str:
    """One arm's cost over the best in each program."""
    told = []
    for program, row in ratios:
        ratio, low, high = (float(getattr(row, name)) for name in ("ratio", "low", "high"))
        if ratio == 1 and low == high == 1:
            told.append(f"is the fastest with {program}")
        elif math.isnan(ratio):
            told.append(f"cannot be compared with {program}")
        elif math.isinf(ratio):
            told.append(f"does not reach the target with {program}")
        else:
            told.append(f"takes {words.times(ratio, low, high)} with {program}")
    missing = "does not reach the target"
    if all(text.startswith(missing) for text in told):
        told = [f"{missing} in its budget"]
    return f"{words.batch_name(batch_size, n_train)} {words.join(_without_repeats(told))}"


def _without_repeats(told: list[str]) -> list[str]:
    """The texts with "takes" and "times as long" said once where they follow each other."""
    short = [told[0]]
    for text in told[1:]:
        both = text.startswith("takes") and short[0].startswith("takes")
        short.append(text.removeprefix("takes ").replace(" times as long", "") if both else text)
    return short


def _population_answer(evidence: Evidence) -> Answer:
    """The answer of a study of populations: the first variant is the problem's own network."""
    n_train = evidence.problem.n_train
    second, details = population_answer.by_batch_size(evidence)
    rates = tuple(
        (words.batch_label(int(row.batch_size), n_train), words.number(row.learning_rate))
        for row in records(population_answer.own_by_batch_size(evidence))
    )
    third = population_answer.why_and_what_helps(evidence)
    return Answer((population_answer.how_often(evidence), second, third), details, rates)
