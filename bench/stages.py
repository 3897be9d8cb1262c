"""The training of a study, stage by stage: each stage reads what the ones before it found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from bench.analysis.arms import Runs
from bench.analysis.outcomes import outcome_rows
from bench.analysis.stability import KINDS, add_failures, bracket_rates, largest_stable_rate
from bench.analysis.time_to_target import (
    base_batch_size,
    choose_targets,
    extension_sides,
    named_rates,
    pick_table,
)
from bench.analysis.xor import count_outcomes, tuning_shares
from bench.errors import InputError
from bench.experiments import plan, rules
from bench.experiments.block import Block, BlockResult
from bench.experiments.crew import Crew
from bench.experiments.progress import Reporter
from bench.experiments.run import Ran, iterate, run_blocks
from bench.experiments.store import Store
from bench.problems import Problem
from bench.problems.xor import Variant, variants

# Further blocks of 16 coarse rates, at most, on either side of the first
EXTENSIONS = 2
# Share of networks by which the outermost rate must beat all others for further ones to be tried:
# over many rates equally many learn, and which of them is best is chance
MORE_LEARN = 0.01

Rates = Mapping[int, Iterable[float]]  # by batch size


@dataclass
class Training:
    """The blocks that a study has run for one problem, and what became of their runs.

    Parameters
    ----------
    problem, rule, seeds, batch_sizes
        What is studied; `find_targets` gives a problem its targets.
    store, crew, progress
        Where results go, who trains, and who is told.
    checkpoints
        Of every block; None for the standard grid.

    Attributes
    ----------
    blocks, pilot
        The blocks so far, in order; those of the pilot.
    stages
        Name, number of blocks and of runs of each stage.
    told
        Sentences about what the study decided by itself, for the record.
    warnings
        The same for everyone who reads the report.
    ran
        What each stage trained, and how long that took.
    by_rule
        The training by other update rules, where they are compared (`train_other_rules`).
    """

    problem: Problem
    rule: str
    seeds: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    store: Store
    crew: Crew
    progress: Reporter
    checkpoints: Mapping[int, tuple[int, ...]] | None = None
    blocks: list[Block] = field(default_factory=list)
    pilot: list[Block] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    ran: list[Ran] = field(default_factory=list)
    by_rule: dict[str, Training] = field(default_factory=dict)
    _frames: list[pd.DataFrame] = field(default_factory=list)

    @property
    def reporting(self) -> tuple[int, ...]:
        """The seeds that report."""
        return plan.of_role(self.seeds, "report")

    @property
    def tuning(self) -> tuple[int, ...]:
        """The seeds that tune."""
        return plan.of_role(self.seeds, "tune")

    def tried(self, batch_size: int, seeds: Sequence[int] = ()) -> set[float]:
        """Return the rates that all of these seeds, by default any, have run at a batch size."""
        ran: dict[float, set[int]] = {}
        for block in self.blocks:
            if block.batch_size == batch_size:
                for rate in block.learning_rates:
                    ran.setdefault(rate, set()).add(block.seed)
        return {rate for rate, by in ran.items() if by.issuperset(seeds)}

    def grid(self, rates: Rates, seeds: Sequence[int]) -> list[Block]:
        """Return the blocks of these rates; a rate that all of the seeds have run counts once."""
        blocks = []
        for size, some in rates.items():
            points = None if self.checkpoints is None else self.checkpoints[size]
            new = set(some) - self.tried(size, seeds)
            blocks += plan.grid(self.problem, self.rule, size, new, seeds, points)
        known = set(self.blocks)
        return [block for block in blocks if block not in known]

    def train(self, blocks: list[Block], stage: str) -> Ran:
        """Run the blocks that are not there yet, and count them as a stage."""
        stage = f"{self.problem.name}: {stage}"
        ran = run_blocks(self.problem, blocks, self.store, self.crew, self.progress, stage)
        n_runs = sum(len(block.learning_rates) * block.n_networks for block in blocks)
        self.stages.append({"stage": stage, "blocks": len(blocks), "runs": n_runs})
        self.ran.append(ran)
        return ran

    def run(self, stage: str, rates: Rates, seeds: Sequence[int]) -> None:
        """Train at these rates from these seeds, and read what became of the runs."""
        self.run_planned(stage, self.grid(rates, seeds))

    def run_planned(self, stage: str, blocks: list[Block]) -> None:
        """Train these blocks, and read what became of the runs."""
        if blocks:
            self.train(blocks, stage)
            self._frames.append(self._read(blocks))
            self.blocks += blocks

    def missing_work(self, blocks: Iterable[Block]) -> float:
        """Return the work of the blocks that are not there yet (`Block.work`)."""
        missing = (block for block in blocks if not self.store.has(self.problem, block))
        return sum(block.work(self.problem) for block in missing)

    def seconds_for(self, work: float, blocks: Iterable[Block]) -> float:
        """Predict the seconds that work takes, from the speed so far.

        Where nothing was run yet the first few of these blocks, which are part of the work, are.
        """
        if not any(ran.work for ran in self.ran):
            missing = [block for block in blocks if not self.store.has(self.problem, block)]
            if not missing:
                return 0.0
            some, stage = missing[: self.crew.size], f"{self.problem.name}: first blocks"
            ran = run_blocks(self.problem, some, self.store, self.crew, self.progress, stage)
            self.ran.append(ran)
        speed = sum(ran.work for ran in self.ran) / sum(ran.seconds for ran in self.ran)
        return work / speed

    def outcomes(self) -> pd.DataFrame:
        """Return a row per run so far, in the order of the blocks."""
        if not self._frames:
            self._frames = [self._read(self.blocks)]
        return add_failures(pd.concat(self._frames, ignore_index=True))

    def forget(self) -> None:
        """Free the memory that outcomes take; they are read again when they are asked for."""
        self._frames = []

    def results(self) -> Iterator[tuple[Block, BlockResult]]:
        """Yield the blocks with their results, one in memory at a time."""
        return iterate(self.problem, self.blocks, self.store)

    def _read(self, blocks: list[Block]) -> pd.DataFrame:
        """Return a row per run of these blocks."""
        targets = self.problem.targets or ()
        frames = [
            outcome_rows(self.problem, block, result, targets)
            for block, result in iterate(self.problem, blocks, self.store)
        ]
        return pd.concat(frames, ignore_index=True)

    def picks(self) -> pd.DataFrame:
        """Return the rate that the tuning seeds pick at each batch size, a row each."""
        return pick_table(self.outcomes(), self.problem.n_train)

    def afresh(self) -> Training:
        """Return the same training with nothing done; `stages`, `told` and so on are shared."""
        return replace(self, blocks=[], pilot=[], by_rule={}, _frames=[])

    def of_variant(self, variant: Variant) -> Training:
        """Return the training of a variant, evaluated few times: its end counts."""
        points = {size: plan.halvings(variant.problem, size) for size in self.batch_sizes}
        return replace(
            self.afresh(), problem=variant.problem, rule=variant.rule, checkpoints=points
        )

    def of_rule(self, rule: str, batch_sizes: tuple[int, ...], seeds: tuple[int, ...]) -> Training:
        """Return a training by another rule, to the same targets; `stages` and so on are shared."""
        problem = replace(self.problem, name=f"{self.problem.name}, {rule}")
        return replace(
            self.afresh(), problem=problem, rule=rule, batch_sizes=batch_sizes, seeds=seeds
        )

    def all_rules(self) -> list[Training]:
        """Return this training, and those by other rules."""
        return [self, *self.by_rule.values()]

    def tell(self, sentence: str) -> None:
        """Tell a sentence now, and keep it for the report."""
        self.told.append(sentence)
        self.progress.say(sentence)


def find_targets(training: Training, rates: Sequence[float]) -> None:
    """Give the problem its targets: where it has none, a pilot with seeds of its own finds them.

    Raises
    ------
    InputError
        Where the pilot learns at no rate.
    """
    problem = training.problem
    if problem.targets is not None:
        return
    training.pilot = plan.pilot(problem, training.rule, rates)
    training.train(training.pilot, "pilot")
    targets = choose_targets(problem, iterate(problem, training.pilot, training.store))
    if not all(map(math.isfinite, targets)):
        raise InputError("learning_rates: at each of them the pilot diverges, give smaller ones")
    training.problem = replace(problem, targets=targets)


def coarse(training: Training) -> None:
    """Run the coarse lattice at every batch size, and widen it where it is too narrow."""
    rates = plan.coarse_rates(training.rule)
    training.run("coarse rates", dict.fromkeys(training.batch_sizes, rates), training.seeds)
    widen(training, training.batch_sizes, training.seeds)
    if training.problem.population is not None:
        widen_success(training, training.seeds)


def widen(
    training: Training, sizes: Sequence[int], seeds: Sequence[int], *, until_failure: bool = True
) -> None:
    """Run further coarse rates at these batch sizes, where those tried are too few.

    That is where the pick is the outermost one and, with `until_failure`, where none fails.
    """
    added = {(size, side): 0 for size in sizes for side in ("lower", "upper")}
    while wider := _wider_windows(training, added, until_failure):
        training.run("wider rates", wider, seeds)


def _wider_windows(
    training: Training, added: dict[tuple[int, str], int], until_failure: bool
) -> dict[int, set[float]]:
    """Return further coarse rates for the sizes and sides that need them; count them."""
    outcomes = training.outcomes()
    wider: dict[int, set[float]] = {}
    for size in dict.fromkeys(size for size, _ in added):
        mine = outcomes[outcomes.batch_size == size]
        for side in extension_sides(mine, until_failure=until_failure):
            if added[size, side] < EXTENSIONS:
                added[size, side] += 1
                wider[size] = wider.get(size, set()) | _further(training, size, side)
    return wider


def widen_success(training: Training, seeds: Sequence[int]) -> None:
    """Run further coarse rates of a population where most networks learn at the outermost one."""
    for _ in range(EXTENSIONS):
        counts = count_outcomes(training.problem.name, training.outcomes())
        wider = {}
        for size, cells in counts.groupby("batch_size"):
            shares = tuning_shares(cells).sort_index(level="learning_rate")
            for side, end, others in (
                ("lower", shares.iloc[0], shares.iloc[1:]),
                ("upper", shares.iloc[-1], shares.iloc[:-1]),
            ):
                if end > others.max() + MORE_LEARN:
                    wider[size] = _further(training, size, side)
        if not wider:
            return
        training.run("wider rates", wider, seeds)


def _further(training: Training, batch_size: int, side: str) -> set[float]:
    """Return further coarse rates on a side of those tried at a batch size; tell of them."""
    new = plan.extend(sorted(training.tried(batch_size)), side)
    training.tell(
        f"{training.problem.name}, batch size {batch_size}: the rates tried end too early, "
        f"16 {side} ones, {new[0]:.3g} to {new[-1]:.3g}, are added."
    )
    return set(new)


def fine(training: Training) -> None:
    """Run 16 rates, eighths of an octave apart, around each batch size's pick."""
    training.run("fine rates", fine_windows(training.picks()), training.seeds)


def fine_windows(picks: pd.DataFrame) -> dict[int, tuple[float, ...]]:
    """Return the fine rates around each of these picks, by batch size."""
    pairs = zip(picks.batch_size.tolist(), picks.learning_rate.tolist(), strict=True)
    return {size: plan.fine_rates(pick) for size, pick in pairs}


def named(training: Training) -> None:
    """Run the rates that protocols and claims name; reporting seeds only."""
    picks = training.picks()
    n = training.problem.n_train
    rates = {size: named_rates(picks, size, n) for size in training.batch_sizes}
    training.run("rates that are compared", rates, training.reporting)


def brackets(training: Training) -> None:
    """Run 16 rates inside each bracket of the largest stable rate; reporting seeds only."""
    runs = Runs(training.outcomes(), population=training.problem.population is not None)
    rates: dict[int, set[float]] = {size: set() for size in training.batch_sizes}
    for kind in KINDS:
        for row in largest_stable_rate(runs, kind).to_dict("records"):
            rates[row["batch_size"]].update(bracket_rates(row["stable"], row["unstable"]))
    training.run("largest stable rates", rates, training.reporting)


def search(training: Training, given: Sequence[float] | None) -> None:
    """Find targets, and train at the given rates, or at lattices that follow what is found.

    Between coarse rates the success of a population changes little: it gets no finer ones.
    """
    population = training.problem.population is not None
    rates = plan.coarse_rates(training.rule) if given is None else given
    find_targets(training, rates)
    if population:
        predict_populations(training, given)
    else:
        # Later stages: fine, named and two brackets, the last three on two thirds of the seeds
        predict(training, rates, more=3.0 if given is None else 0.0)
    if given is not None:
        training.run("rates given", dict.fromkeys(training.batch_sizes, rates), training.seeds)
        return
    coarse(training)
    if not population:
        fine(training)
    named(training)
    if not population:
        brackets(training)


def train_other_rules(training: Training, given: Sequence[float] | None) -> None:
    """Train by the other update rules as `planned_rules` says; results are `training.by_rule`.

    Coarse rates from the tuning seeds, wider where the pick is the outermost; then, from all seeds,
    16 fine rates around the pick, and again where that is the outermost. Given rates are used as
    they are.
    """
    planned = planned_rules(training)
    say_how_long(training, "Training by the other update rules", rules_work(training, given), ())
    for rule, other in planned.items():
        every = dict.fromkeys(other.batch_sizes, given or plan.coarse_rates(rule))
        if given is not None:
            other.run("rates given", every, other.seeds)
        else:
            other.run("coarse rates", every, other.tuning)
            widen(other, other.batch_sizes, other.tuning, until_failure=False)
            fine(other)
            picks = other.picks()
            other.run("beyond the edge", fine_windows(picks[picks.at_edge]), other.seeds)
        training.by_rule[rule] = other


def planned_rules(training: Training) -> dict[str, Training]:
    """Return trainings by the other rules, at fewer batch sizes, from fewer seeds; none is done."""
    base = base_batch_size(training.batch_sizes, training.problem.n_train)
    sizes = rules.compared_batch_sizes(training.batch_sizes, base)
    seeds = training.seeds[: rules.SEEDS]
    return {rule: training.of_rule(rule, sizes, seeds) for rule in rules.others(training.rule)}


def rules_work(training: Training, given: Sequence[float] | None) -> float:
    """Return the work of the other rules, about: that of their first blocks, once for each seed."""
    work = 0.0
    for rule, other in planned_rules(training).items():
        seeds = other.seeds if given else other.tuning
        rates = dict.fromkeys(other.batch_sizes, given or plan.coarse_rates(rule))
        first = other.missing_work(other.grid(rates, seeds))
        work += first if given else first * (1 + len(other.seeds) / len(seeds))
    return work


def predict(training: Training, rates: Sequence[float], more: float) -> None:
    """Say how long training will take, from the speed of blocks that have just been run.

    Parameters
    ----------
    training
        Of the study.
    rates
        Of the first stage.
    more
        Work of the later stages, as a multiple of the first one's.
    """
    blocks = training.grid(dict.fromkeys(training.batch_sizes, rates), training.seeds)
    say_how_long(training, "Training", (1 + more) * training.missing_work(blocks), blocks)


def predict_populations(training: Training, given: Sequence[float] | None) -> None:
    """Say how long a problem's population and its variants will take, if no rates are added."""
    blocks = []
    work = 0.0
    for variant in variants(training.problem, training.rule).values():
        one = training.of_variant(variant) if variant.factor else training
        rates = plan.coarse_rates(one.rule) if given is None else given
        these = one.grid(dict.fromkeys(one.batch_sizes, rates), one.seeds)
        blocks += these if one is training else []
        work += one.missing_work(these)
    say_how_long(training, "Training", work, blocks)


def say_how_long(training: Training, what: str, work: float, blocks: Iterable[Block]) -> None:
    """Say how long work will take, of which these blocks are a part."""
    seconds = training.seconds_for(work, blocks)
    if seconds:
        training.progress.say(f"{what} will take about {duration(seconds)} on {cores(training)}.")


def cores(training: Training) -> str:
    """Return how many cores train, in words."""
    return f"{training.crew.size} {'core' if training.crew.size == 1 else 'cores'}"


def duration(seconds: float) -> str:
    """Return seconds in words, to the precision of a prediction."""
    unit, name = next(
        (unit, name)
        for limit, unit, name in ((90, 1, "second"), (5400, 60, "minute"), (1e99, 3600, "hour"))
        if seconds < limit
    )
    number = max(1, round(seconds / unit))
    return f"{number} {name}{'' if number == 1 else 's'}"
