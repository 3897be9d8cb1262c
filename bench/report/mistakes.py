"""The page of the study of mistakes: OUT/mistakes/report.html, its figures, the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.claims.batch_size import MARGIN_FAILED
from bench.analysis.mistakes import Mistakes
from bench.analysis.outcomes import DIVERGED_FACTOR
from bench.analysis.recommend import MARGIN
from bench.experiments.mistakes import ERROR, RIGHT
from bench.plain import write_text
from bench.report import figures, tables, words
from bench.report.figures.mistakes import FIGURES
from bench.report.frames import records
from bench.report.mistake_words import NAMES, sentences, share
from bench.report.page import card, environment, picture, stylesheet

SUBJECT = "Mistakes in averaging the gradients of a batch"
QUESTION = "What if a batch is summed, averaged too early, or averaged twice?"
HERO = "mistakes"


@dataclass(frozen=True)
class Remedy:
    """What a mistake looks like in a program, what belongs there, and what to know of it."""

    title: str
    wrong: str
    right: str
    remark: str


REMEDIES = (
    Remedy(
        "Sum for mean",
        "dW = delta.T @ h",
        "dW = delta.T @ h / len(batch)",
        'In PyTorch: a loss with reduction="mean", not "sum". A sum at rate eta is the mean at '
        "rate eta times the size of the batch.",
    ),
    Remedy(
        "Errors averaged first",
        "error = (y_hat - y).mean(axis=0)\ndW = np.outer(error, h.mean(axis=0))",
        "dW = (y_hat - y).T @ h / len(batch)",
        "Errors of opposite sign cancel before they have met their inputs. Averaging the losses "
        "is fine: the gradient of their mean is the mean of their gradients.",
    ),
    Remedy(
        "Mean of means",
        "(loss(part).mean() / n_parts).backward()",
        "(loss(part).sum() / len(batch)).backward()",
        "Where gradients are accumulated over parts of a batch: divide by what the whole batch "
        "holds. Parts of equal size make no difference.",
    ),
)


def write(mistakes: Mistakes, folder: Path, about: Mapping[str, str]) -> None:
    """Write figures/ and report.html.

    Parameters
    ----------
    mistakes
        What the study found out.
    folder
        Where to; it exists.
    about
        Facts for the method, in the order of the page: "Command", "Date", ...
    """
    (folder / "figures").mkdir()
    drawn = [
        figures.save(name, spec, spec.data(mistakes), folder / "figures")
        for name, spec in FIGURES.items()
    ]
    write_text(folder / "report.html", html(mistakes, drawn, about))


def terminal_summary(mistakes: Mistakes) -> str:
    """The answer in three lines."""
    return "\n".join(sentences(mistakes))


def html(mistakes: Mistakes, drawn: Sequence[figures.DrawnFigure], about: Mapping[str, str]) -> str:
    """The page's text."""
    pictures = [picture(one) for one in drawn]
    hero = next(one for one in pictures if one.name == HERO)
    answer = sentences(mistakes)
    template = environment().get_template("mistakes.html")
    return template.render(
        card=card("mistakes", SUBJECT, QUESTION, answer[0], hero, about.get("Date", "")),
        css=stylesheet(),
        answer=answer,
        hero=hero,
        remedies=REMEDIES,
        facts=facts(mistakes),
        warnings=mistakes.warnings,
        verdicts=tables.verdict_rows(mistakes),
        figures=[one for one in pictures if one is not hero],
        arms=arms_table(mistakes),
        method=[*method(mistakes).items(), *((k, [v]) for k, v in about.items() if v)],
    )


def facts(mistakes: Mistakes) -> list[tuple[str, str]]:
    """Numbers that say how sure the answer is: (value, what it is)."""
    rows, solved = mistakes.summary, mistakes.solved
    trained = sum(len(runs.outcomes) for runs in mistakes.outcomes.values())
    return [
        (words.count(rows.n_seeds.max()), "reporting seeds of every mistake at each batch size"),
        (words.count(trained), "training runs on the data"),
        (words.count(solved.n_seeds.max()), "networks that report, in each row of XOR"),
        (words.count(len(mistakes.xor_outcomes)), "training runs on XOR"),
    ]


def arms_table(mistakes: Mistakes) -> list[dict[str, str]]:
    """Every arm at the middle target, in words: a row a mistake, rate and batch size."""
    rows, n_train = mistakes.summary, mistakes.problem.n_train
    order = {name: place for place, name in enumerate(NAMES)}
    rows = rows[rows.target == mistakes.target].sort_values(
        ["mistake", "protocol", "base_batch_size", "batch_size"],
        key=lambda c: c.map(order) if c.name == "mistake" else c,
    )
    table = []
    for row in records(rows):
        passes = words.quantity(row.epochs, row.epochs_low, row.epochs_high, "passes", "the budget")
        ratio = row.ratio, row.ratio_low, row.ratio_high
        table.append(
            {
                "update": NAMES[row.mistake],
                "rate": _rate_told(row.mistake, row.protocol, row.base_batch_size, n_train),
                "batch size": words.batch_label(row.batch_size, n_train),
                "learning rate": words.number(row.learning_rate),
                "passes": passes,
                "against averaged gradients": words.times(*ratio, "many"),
                "target reached": share(row, "success"),
                "diverged": share(row, "diverged"),
            }
        )
    return table


def _rate_told(mistake: str, protocol: str, base: float, n_train: int) -> str:
    """Where an arm's rate comes from."""
    if protocol == "same":
        return f"tuned {words.with_batch(int(base), n_train)}"
    return "its own" if protocol == "tuned" or mistake == RIGHT else "of averaged gradients"


def method(mistakes: Mistakes) -> dict[str, list[str]]:
    """Definitions, seeds, rates, budget and targets."""
    problem, xor = mistakes.problem, mistakes.xor
    targets = words.join(words.number(target) for target in mistakes.targets)
    bases = words.join(words.with_batch(base, problem.n_train) for base in mistakes.bases)
    return {
        "Data": [
            f"{problem.title}, {words.count(problem.n_train)} training samples: one output, so "
            "that an error is one number y_hat - y as in the notes, and few enough samples for "
            "averaged errors to be given as wide a search of rates as averaged gradients.",
            *problem.preparation,
        ],
        "Network": [_network(mistakes), "XOR: the notes' 2-2-1 network, a seed a network."],
        "Averaged gradients": [
            "Weight minus rate times the mean of a batch's gradients. Batches are consecutive "
            "cuts of a new permutation at each pass; the last, shorter one is averaged over its "
            "own size."
        ],
        "Gradients summed": [
            f"The sum in place of the mean, at the rate tuned {bases}: the same as the mean at "
            "the rate times the size of that batch."
        ],
        NAMES[ERROR]: [
            "The mean of y_hat - y over the batch, back-propagated through the means of inputs "
            "and activations, slopes taken at the mean of z. Its rate is searched like that of "
            "averaged gradients."
        ],
        "Mean of means": [
            "The batch in two parts of 5 to 3, or of all samples but one and that one; each part "
            "averaged, and the two averages with equal weight, at the rate tuned for averaged "
            "gradients. Batches are random, so that no sample is favoured in the long run: what "
            "remains is noise, as much as that of a batch of 0.94 times the size, or of about 4."
        ],
        "Seeds": [
            "A seed fixes initial weights and orders, the same for every mistake, batch size and "
            "rate. Seeds divisible by 3 choose rates; every number here is of the others. XOR has "
            "eight times as many."
        ],
        "Learning rates": [
            "Half an octave apart, from 1/64 to 2.8 (more where the best of averaged gradients "
            "lies at the edge): of those at which at most 5% of the seeds fail, the one that "
            "reaches the target first; where none does, the least final loss. XOR: 1/8, 1/4, 1/2 "
            "and 1, by the share that learns."
        ],
        "Budget": [
            f"The larger of 30 passes and 300 updates; XOR {words.count(xor.updates_budget or 0)} "
            "updates."
        ],
        "Targets": [
            f"Training losses {targets}, set by runs of averaged gradients that serve for nothing "
            "else; verdicts use the middle one. Not reached within the budget, or diverged, counts "
            "as infinitely long."
        ],
        "Diverged": [
            f"Not finite, or a training loss above {DIVERGED_FACTOR:g} times that of the start "
            "(or of always guessing the same, if that is larger). Such a run is not trained on."
        ],
        "Precision": [
            "Averaged gradients in 32-bit numbers by the kernels, all else, and XOR, in 64-bit "
            "numbers by NumPy."
        ],
        "Verdict rules": [
            f"Supported: the whole 95% interval lies beyond the margin ({MARGIN:g} for ratios, "
            f"{100 * MARGIN_FAILED:g} points for shares) in the claimed direction. Refuted: beyond "
            "it in the other. No material difference: within the margin. Undecided: everything "
            "else, and where another target says the opposite."
        ],
    }


def _network(mistakes: Mistakes) -> str:
    """The network of the data."""
    network = mistakes.problem.network
    widths = "-".join(map(str, network.widths))
    return (
        f"Widths {widths}, {words.NAMES[network.activation]} hidden units, {network.output} "
        f"output, {words.NAMES[network.loss]}; {words.count(network.n_params)} weights."
    )
