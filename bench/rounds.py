"""A study within a budget: a fixed sequence of rounds; time only decides after which one it stops.

What a round trains follows from what those before it found, never from a clock: the same number of
rounds gives the same study on any machine. A coarse look comes first, then what is still open:
the batch sizes near the best, their learning rates, more seeds, and last whatever a complete study
has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.analysis import noise_scale
from bench.analysis.analyse import NOISE_SEEDS
from bench.analysis.noise import DRAWS, STATES
from bench.analysis.time_to_target import named_rates, neighbours
from bench.experiments import plan
from bench.experiments.block import Block
from bench.stages import (
    Training,
    brackets,
    coarse,
    fine,
    named,
    rules_work,
    say_how_long,
    train_other_rules,
    widen,
)

TUNERS = 3  # tuning seeds of the first look
FIRST_SEEDS, MORE_SEEDS = 9, 24
# What an update costs beside its samples, in samples: 0 where examples count, some for compiled
# programs, hundreds for frameworks, thousands for accelerators. A batch size stays in the running
# while it is near the best for one of these.
OVERHEADS = (0, 4, 16, 64, 256, 1024, 4096)
BEHIND = 1.5  # times the best: farther behind, on three tuning seeds, is out of the running
RECENTRE = 4  # eighths of an octave that a pick may lie off the centre of its finer rates
AFTERWARDS = 10.0  # seconds kept for the analysis and the report
UPHILL_TABLES = 6  # of single updates: three batch sizes, at common and at own states
LATER_STAGES = 3.0  # work of a complete study behind its coarse rates, as a multiple of theirs


@dataclass
class Clock:
    """How much of a budget is left.

    Parameters
    ----------
    budget
        Seconds; None for no limit.
    """

    budget: float | None
    _began: float = field(default_factory=perf_counter)
    _paused: float = 0.0

    def leave_out(self, seconds: float) -> None:
        """Do not count these seconds: what happens once on a machine, such as compiling."""
        self._paused += seconds

    def allows(self, seconds: float) -> bool:
        """Whether so many seconds, and the report, still fit."""
        spent = perf_counter() - self._began - self._paused
        return self.budget is None or spent + seconds + AFTERWARDS <= self.budget


class Round(NamedTuple):
    """A round: its name, what it does, blocks that are part of it, and how much work it is."""

    name: str
    run: Callable[[], None]
    blocks: Callable[[], list[Block]]
    work: Callable[[], float]


class Rounds:
    """The rounds of one study.

    Parameters
    ----------
    training
        With its targets; its seeds and batch sizes are those of the complete study.
    rates
        Learning rates that were given; None to find them.
    given_sizes
        Whether the batch sizes were given: then all of them are tried, and no others.
    compare_rules
        Whether the other update rules are a round.
    """

    def __init__(
        self,
        training: Training,
        rates: Sequence[float] | None,
        given_sizes: bool,
        compare_rules: bool = False,
    ) -> None:
        self.training, self.given, self.compare_rules = training, rates, compare_rules
        self.sizes = list(training.batch_sizes)
        self.first_sizes = self.sizes if given_sizes else [*self.sizes[:-1:2], self.sizes[-1]]
        self._centres: dict[int, int] = {}
        self._behind: list[int] = []

    @property
    def _tuners(self) -> tuple[int, ...]:
        """The seeds of the first look: those that tune, for it reports nothing."""
        return self.training.tuning[:TUNERS]

    @property
    def all(self) -> list[Round]:
        """The sequence."""
        seeds = self.training.seeds
        return [
            Round("a first answer", self.first_answer, self._first_blocks, self.first_work),
            self._round("the batch sizes between", self._between),
            self._round("the rates that are compared", self._compared),
            self._round("more seeds", lambda: self._more(seeds[:MORE_SEEDS])),
            self._round("all seeds", lambda: self._more(seeds)),
            Round("all batch sizes", self.complete, self._whole_grid, self.complete_work),
            *([self._other_rules()] if self.compare_rules else []),
            Round("the gradient's noise, along with the report", _nothing, list, self._noise_work),
        ]

    def run(self, clock: Clock, n_rounds: int | None) -> int:
        """Go through the rounds; return how many were done.

        The first always is: without it there is no answer.

        Parameters
        ----------
        clock
            Decides after which round to stop,
        n_rounds
            unless their number is given.
        """
        first = self.all[0]
        say_how_long(self.training, "Training for a first answer", first.work(), first.blocks())
        for number, step in enumerate(self.all, start=1):
            if n_rounds is not None and number > n_rounds:
                return number - 1
            if n_rounds is None and number > 1 and not self._fits(clock, step):
                return number - 1
            self.training.progress.say(f"Round {number} of {len(self.all)}: {step.name}.")
            step.run()
        return len(self.all)

    def _fits(self, clock: Clock, step: Round) -> bool:
        """Whether a round fits into what is left of the budget, by the speed of those before it."""
        if clock.budget is None:
            return True
        return clock.allows(self.training.seconds_for(step.work(), step.blocks()))

    def first_answer(self) -> None:
        """Look coarsely with tuning seeds, then more finely where it matters with more of them."""
        training = self.training
        training.run_planned("first look", self._first_blocks())
        if self.given is not None:
            return
        widen(training, self.first_sizes, self._tuners, until_failure=False)
        ends = {self.first_sizes[0], self.first_sizes[-1]}
        kept = sorted(ends | set(self.in_the_running()))
        training.run("finer rates", self._windows(kept), training.seeds[:FIRST_SEEDS])

    def in_the_running(self) -> list[int]:
        """Batch sizes near the best at some cost of an update, by the tuning seeds.

        An arm of which nothing is known is in the running where no arm reaches the target.
        """
        times = self._times()
        kept = {b for k in OVERHEADS for b in times.index[_costs(times, k) <= BEHIND]}
        kept = kept or set(times.index)
        self._behind = sorted(int(b) for b in set(times.index) - kept)
        return sorted(int(b) for b in kept)

    def left_behind(self) -> str:
        """A sentence on the batch sizes that were not pursued; "" where all were."""
        self.in_the_running()
        if not self._behind:
            return ""
        listed = ", ".join(f"{size:,}" for size in self._behind)
        return (
            f"Not pursued after the first look: batch size {listed}. At their best learning rates "
            f"they were more than {BEHIND} times behind others, whatever an update costs."
        )

    def _times(self) -> pd.Series:
        """Median examples to the target of each batch size at its pick, of tuning seeds."""
        picks = self.training.picks()
        return picks.set_index("batch_size").median_examples

    def _studied(self) -> list[int]:
        """Batch sizes that reporting seeds have run."""
        return sorted({b.batch_size for b in self.training.blocks if plan.role(b.seed) == "report"})

    def _windows(self, sizes: Iterable[int]) -> dict[int, tuple[float, ...]]:
        """Finer rates of batch sizes: around the pick, moved where it lies near their edge."""
        if self.given is not None:
            return dict.fromkeys(sizes, tuple(self.given))
        picks = self.training.picks().set_index("batch_size").learning_rate
        for size in sizes:
            pick = plan.lattice_index(picks[size])
            if abs(self._centres.get(size, math.inf) - pick) > RECENTRE:
                self._centres[size] = pick
        return {size: plan.fine_rates(plan.lattice_rate(self._centres[size])) for size in sizes}

    def _between(self) -> list[Block]:
        """Batch sizes next to the best ones, at rates between those of their neighbours."""
        times = self._times()
        best = {int(_costs(times, k).idxmin()) for k in OVERHEADS if np.isfinite(times).any()}
        new = {b for size in best for b in neighbours(size, self.sizes)} - set(times.index)
        new = set() if self.given is not None or self.first_sizes == self.sizes else new
        picks = self.training.picks()
        known = np.log2(picks.batch_size), np.log2(picks.learning_rate)
        for size in new:
            self._centres[size] = round(8 * float(np.interp(np.log2(size), *known)))
        rates = {b: plan.fine_rates(plan.lattice_rate(self._centres[b])) for b in sorted(new)}
        moved = self._windows(b for b in self.in_the_running() if b in self._studied())
        return self.training.grid(moved | rates, self.training.seeds[:FIRST_SEEDS])

    def _compared(self) -> list[Block]:
        """Rates that protocols, claims and the costs of a wrong choice name."""
        return self._named(self._studied(), self.training.seeds[:FIRST_SEEDS])

    def _more(self, seeds: Sequence[int]) -> list[Block]:
        """More seeds for what is in the running."""
        sizes = [b for b in self.in_the_running() if b in self._studied()]
        blocks = self.training.grid(self._windows(sizes), seeds)
        return blocks + self._named(sizes, seeds)

    def _named(self, sizes: Sequence[int], seeds: Sequence[int]) -> list[Block]:
        """The named rates of batch sizes, for the reporting ones of these seeds."""
        if self.given is not None:
            return []
        picks = self.training.picks()
        picks = picks[picks.batch_size.isin(self._studied())]
        n_train = self.training.problem.n_train
        rates = {size: named_rates(picks, size, n_train) for size in sizes}
        return self.training.grid(rates, plan.of_role(seeds, "report"))

    def complete(self) -> None:
        """Run what a study without a budget runs."""
        if self.given is not None:
            rates = dict.fromkeys(self.sizes, self.given)
            self.training.run("rates given", rates, self.training.seeds)
            return
        for stage in (coarse, fine, named, brackets):
            stage(self.training)

    def _other_rules(self) -> Round:
        """The round that trains by the other update rules."""
        return Round(
            "the other update rules",
            lambda: train_other_rules(self.training, self.given),
            list,
            lambda: rules_work(self.training, self.given),
        )

    def _round(self, name: str, blocks: Callable[[], list[Block]]) -> Round:
        """A round whose blocks are known before it begins."""
        return Round(
            name,
            lambda: self.training.run_planned(name, blocks()),
            blocks,
            lambda: self.training.missing_work(blocks()),
        )

    def _first_blocks(self) -> list[Block]:
        """The blocks of the first look, or of the given rates."""
        if self.given is not None:
            rates = dict.fromkeys(self.first_sizes, self.given)
            return self.training.grid(rates, self.training.seeds[:FIRST_SEEDS])
        lattice = plan.coarse_rates(self.training.rule)
        return self.training.grid(dict.fromkeys(self.first_sizes, lattice), self._tuners)

    def first_work(self) -> float:
        """Work of the first round: the finer rates are as many for each of their seeds."""
        work = self.training.missing_work(self._first_blocks())
        finer = 0.0 if self.given is not None else FIRST_SEEDS / TUNERS
        return (1.0 + finer) * work

    def _noise_work(self) -> float:
        """Work of the analysis of noise, in units of `Block.work`: multiplications / 3.

        Evaluations of all samples for the uphill shares; of the noise scale the inner products of
        gradients, and their resamples.
        """
        n_train, n_params = self.training.problem.n_train, self.training.problem.network.n_params
        states = STATES * len(self.training.reporting)
        evaluations = UPHILL_TABLES * states * DRAWS
        scales = STATES * (NOISE_SEEDS + 1)
        products = min(n_train, noise_scale.UNITS) ** 2 * (noise_scale.DRAWS + n_params)
        return (evaluations * n_train * n_params + scales * products) / 3

    def _whole_grid(self) -> list[Block]:
        """All batch sizes at the given or coarse rates, from all seeds."""
        rates = plan.coarse_rates(self.training.rule) if self.given is None else self.given
        return self.training.grid(dict.fromkeys(self.sizes, rates), self.training.seeds)

    def complete_work(self) -> float:
        """Work of the last round, about: what a complete study needs in all, less what was done."""
        training, whole = self.training, self._whole_grid()
        first = training.missing_work(whole)
        if self.given is not None:
            return first
        rates, seeds = plan.coarse_rates(training.rule), training.seeds
        grids = (plan.grid(training.problem, training.rule, b, rates, seeds) for b in self.sizes)
        coarse_work = sum(block.work(training.problem) for grid in grids for block in grid)
        done = sum(block.work(training.problem) for block in training.blocks)
        return max(first, (1.0 + LATER_STAGES) * coarse_work - done)


def _nothing() -> None:
    """Train nothing: the noise is measured by the analysis, which is told the number of rounds."""


def _costs(times: pd.Series, overhead: float) -> pd.Series:
    """Cost of each batch size over the least, where an update costs as much as so many samples."""
    size = times.index.to_numpy(float)
    costs = times * (1.0 + overhead / size)
    return costs / costs.min() if np.isfinite(costs).any() else costs
