"""Everything that a study found out, as the claims read it and the report shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.problems import Problem


@dataclass(frozen=True)
class Recommendation:
    """Which batch size to use for one program, or for the fewest passes over the data.

    Parameters
    ----------
    axis, program
        "seconds" and the program's name, or "epochs" and "".
    best
        Batch size of the least median time-to-target of the *tuning* seeds.
    batch_sizes
        The set that cannot be told apart from the best, ascending: all but those whose whole
        interval of T_B / T_best lies above the margin (reporting seeds). Empty where no batch
        size reached the target.
    learning_rates
        The pick of every batch size, in the set or not.
    smallest, cheapest
        Of the set: the smallest batch size, and the cheapest in seconds (of the program; on the
        axis epochs of batchbench), by the tuning seeds.
    runner_up
        Second least median of the tuning seeds; None with one batch size.
    ratios
        A row per batch size: `batch_size, learning_rate, ratio, low, high, n_undetermined, in_set`
        (T_B / T_best paired by seed; inf: not reached; 0 to inf: nothing is known).
    costs
        The 3 x 3 table around `cheapest`: `batch_factor, rate_factor` (.5, 1, 2), `batch_size,
        learning_rate` (the nearest that were tried), `ratio, low, high` (T there over T at
        `cheapest`).
    sentence
        The answer in words, without numbers that the frames do not hold.
    """

    axis: str
    program: str
    best: int | None
    batch_sizes: tuple[int, ...]
    learning_rates: Mapping[int, float]
    smallest: int | None
    cheapest: int | None
    runner_up: int | None
    ratios: pd.DataFrame
    costs: pd.DataFrame
    sentence: str

    @property
    def chosen(self) -> int | None:
        """What to set: the best for the fewest examples, the cheapest of a program's set."""
        return self.cheapest if self.program else self.best


@dataclass(frozen=True)
class Population:
    """What the populations of the XOR study add.

    Parameters
    ----------
    counts
        A row per variant, rule, batch size, rate and block: `variant, rule, batch_size,
        learning_rate, seed, role, n, solved` and a column of counts for each cause of failure
        (the keys of `bench.analysis.outcomes.CAUSES`).
    success
        A row per variant at its best (batch size, rate), picked on the tuning blocks: `variant,
        factor, level` (what is changed, and to what; "" for the problem itself, which is the first
        row), `n_params, widths ("2-2-1"), activation, scheme, rule, batch_size, learning_rate,
        n_seeds` (reporting blocks), `n_runs, success, low, high`.
    by_batch_size
        The same with a row per variant and batch size, each at its own best rate.
    causes
        A row per variant and cause at the arm of `success`: `variant, cause, label, share, low,
        high, n` (share of all networks; cause "solved" included; n networks).
    longer
        The reporting networks that failed at the arm of `success`, trained `Problem.longer` times
        as long from the same start: a row per variant and cause ("any" for all together, which is
        a variant's first), `variant, cause, label, n, solved_longer` (networks), `share, low,
        high` (solved_longer / n). Empty where none was.
    networks
        Final parameters (n_params,) of one network of the main problem for "solved" and for each
        cause that occurred, at the main problem's arm of `success`.
    """

    counts: pd.DataFrame
    success: pd.DataFrame
    by_batch_size: pd.DataFrame
    causes: pd.DataFrame
    longer: pd.DataFrame
    networks: Mapping[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Evidence:
    """The evidence of one study: one problem, one update rule.

    Where a frame has `x, x_low, x_high`, these are an estimate and its 95% interval over the
    *reporting* seeds. `inf` = not reached within the budget; NaN = undetermined or no data.
    `n_seeds` counts reporting seeds (blocks of a population), `n_runs` runs. T = time-to-target,
    at the middle target where no target is named. Batch sizes are numbers, N for full batch.

    Parameters
    ----------
    problem, rule, targets, options
        What was studied; targets descend, the middle one (`target`) gives the verdicts. Options of
        the study as stored in study.json, with `base_batch_size` (B_0) and `margin` added.
    outcomes
        A row per run: `rule, batch_size, learning_rate, seed, network, role ("tune"|"report"),
        budget_examples, updates_per_epoch, initial_loss, final_loss, final_score, final_test_loss,
        final_test_score, best_test_score, diverged, dead, newly_dead, stuck, newly_stuck, failed,
        cause, success, hit_0, hit_1, hit_2` (T in examples at each target).
    picks
        A row per batch size, from tuning seeds alone: `rule, batch_size, mean_batch,
        learning_rate, reason, at_edge, median_examples, failed_share, n_seeds`.
    arms
        A row per arm: `rule, batch_size, protocol ("same"|"linear"|"square root"|"tuned"),
        base_batch_size (NaN for tuned), learning_rate`.
    summary
        A row per arm and target, the columns of summary.csv: `rule, batch_size, protocol,
        base_batch_size, learning_rate, n_seeds, target, success_rate, success_low, success_high,
        updates, updates_low, updates_high, examples, examples_low, examples_high, seconds,
        seconds_low, seconds_high, diverged_rate, dead_rate, stuck_rate,
        largest_stable_learning_rate, smallest_unstable_learning_rate`, and further `mean_batch,
        n_runs, n_undetermined, epochs, epochs_low, epochs_high, ert_examples, failed_rate,
        newly_dead_rate, spread, spread_low, spread_high` (median abs(log T - median)),
        `final_loss, final_score, final_test_score, best_test_score` (medians),
        `budget_epochs`.
    cells
        A row per batch size and rate, the outcome map and the U of T against the rate: `rule,
        batch_size, learning_rate, n_seeds, n_runs, examples, examples_low, examples_high, epochs,
        final_loss`, shares with `_low` and `_high` of `solved` (reached the middle target),
        `diverged, dead, stuck, failed`, and `outcome`: what befell the largest share of
        the runs, "solved" | "slow" | "stuck" | "dead" | "diverged".
    stability
        A row per batch size and kind ("diverged"|"failed"), the bracket of the largest stable
        rate: `rule, batch_size, mean_batch, kind, stable, unstable, stable_share, stable_low,
        stable_high, unstable_share, unstable_low, unstable_high, n_seeds` (stable 0: the least
        rate tried fails; unstable inf: no rate tried fails).
    widths
        A row per batch size: `rule, batch_size, mean_batch, width, width_low, width_high`
        (octaves), `from_rate, to_rate`.
    thresholds
        A row per batch size and reporting seed: `rule, batch_size, seed, threshold` (lowest rate
        of the coarse and fine blocks at which the seed fails, inf: none), `below` (the next lower
        one, 0: none). Empty for populations.
    noise
        A row per state and batch size, at states of the base arm's runs: `seed, state, epochs,
        batch_size, variance` (measured), `predicted` (s2/B (1 - B/N)), `snr, cosine_low,
        cosine_median, cosine_high, gradient_norm2, s2`. Empty for populations.
    noise_scale
        A row per state of `noise`, the gradient noise scale (McCandlish et al. 2018): `seed, state,
        epochs, training_set` (s2 / |G|^2), `population` (s2 / (|G|^2 - s2 / N); NaN where it is not
        `identified`: the denominator is not above 0) with its interval over examples, for these
        runs, `low, high` (which holds where it is not identified too; inf: nothing bounds it above;
        NaN: the network has fitted these samples, and no noise scale agrees), `s2, gradient_norm2`.
    noise_average
        The same averaged (ratios of means: s2 and |G|^2 are averaged apart), a row per state
        `over` "seeds", and one over the "run": all states, which are log-spaced up to the middle
        target (`state` NaN): `over, state, epochs` (median), `n_states, n_seeds` and the columns
        of `noise_scale` from `training_set` on.
    uphill
        A row per state: `states ("same"|"own"), batch_size, learning_rate, seed, state, epochs,
        share` (of single updates that raise the full-train loss). Empty for populations.
    sharpness
        A row per state, a few reporting seeds: `states ("full batch": three rates, from the start
        to the budget's end or further; "tuned": B = 1, B_0 and N, from one epoch to the hit),
        batch_size, learning_rate, seed, examples, epochs, updates, loss, sharpness` (largest
        eigenvalue of the Hessian of the full-train loss), `limit` (the largest that is stable on
        the full batch at this rate; NaN for Adam). States after a divergence are left out. Empty
        for populations, without full batch, and where samples times parameters exceed 10 million.
    theory
        A row per batch size, at the end of one full-batch run at the tuned rate: `batch_size, seed,
        updates, loss, gradient_share` (of the gradient's norm at the start), `interpolating` (loss
        below 1% of the constant predictor's), `sharpness, limit_full` (largest stable rate there,
        full batch), `limit_mean_square` (for batches drawn afresh), `reason` (why a limit is NaN,
        or "").
    seconds
        A row per program and measured batch size: `program, batch_size, mean_batch,
        seconds_per_update, low, high, c0, c1`.
    programs
        A row per program and batch size, tuned, middle target: `program, batch_size, mean_batch,
        learning_rate, seconds_per_update, seconds, seconds_low, seconds_high`.
    bands
        Quantiles of the full-train loss over reporting seeds, tuned arms and "same" at the base
        B_0: `protocol, base_batch_size, batch_size, learning_rate, examples, updates, epochs, q10,
        q25, q50, q75, q90, n_seeds`.
    claims
        A dict per verdict, the pinned keys `claim, statement, measure, axis, program, protocol,
        base_batch_size, target, verdict, effect, low, high, n_seeds, definition` and further
        `kind` ("ratio": null value 1; "difference": null value 0; "share" and "share below":
        against `margin` itself; "within": a ratio claimed not to exceed it), `margin, batch_size,
        variant` (of a population, or None), `against` (a batch size, a variant, or None),
        `n_undetermined, p_value, p_holm, other_targets` ({target: verdict}), `note` (a sentence
        such as a contradiction between measures, or ""). Effects are oriented: above the null value
        (below it for "share below" and "within") means that the claim holds.
    recommendations
        For the fewest epochs first, then a program each.
    rules
        A row per update rule and batch size, tuned: `rule, batch_size, mean_batch, learning_rate,
        at_edge, stable, unstable` (bracket of the largest stable rate, kind "failed", among the
        rates that reporting seeds ran), `examples, examples_low, examples_high, ratio, ratio_low,
        ratio_high` (T over that of plain gradient descent at the same batch size, paired by seed),
        `n_undetermined, n_seeds`. Empty where no rule was compared with the study's own.
    rule_runs
        The reporting runs behind it, a row each: `rule, batch_size, learning_rate, seed,
        budget_examples, hit_0, hit_1, hit_2`.
    powers
        A row per program, batch size and round, seconds per sample at powers of two and beside
        them: `program, batch_size, round, seconds_per_sample`. Empty within a budget.
    generalization
        A row per tuned arm and reporting seed: `batch_size, learning_rate, seed`, the held-out
        score (accuracy or rmse) `at_0, at_1, at_2` when each target is reached (NaN: not reached)
        and `best`, at the evaluation, after `best_examples`, where the median of the *tuning*
        seeds is best (NaN: diverged). Empty where nothing is held out, and for populations.
    choices
        A row per arm that a recommendation chooses or names as cheapest, and kind of held-out
        score (both accuracy and balanced accuracy where classes are imbalanced): `batch_size,
        learning_rate, n_seeds, examples, examples_low, examples_high` (median T), `examples_q90`
        (9 of 10 reporting runs are there by then), `score ("accuracy"|"balanced accuracy"|
        "rmse"), unit` (of an rmse: the column's name), `baseline` (always guessing the commonest
        class, or the mean), `at_target` and `best` with `_low` and `_high` (held-out, when the
        target is reached, and where the median over runs is best), `best_examples,
        still_improving` (the best lies at the end of the budget). Empty for populations.
    tradeoff
        A row per target, tuned arms, updates S = S_min + E_min / B: `target, s_min, e_min, b_crit`
        (E_min / S_min), `model_free` (batch from which on the median of the examples is twice that
        of the arm that needs the fewest, picked on tuning seeds) and `critical` (the one of the two
        that leads), each with `_low` and `_high`; `identified` (b_crit; where not, it is NaN and
        `b_crit_low` still holds; the same of model_free), `p_lack_of_fit, reading ("hyperbolic"|
        "not hyperbolic"|"not identified"), reason, model_free_reason, critical_by ("hyperbola"|
        "doubled examples"|""), note, n_arms, left_out` (batch sizes not in the fit, for their
        median is not reached or has no upper bound), `n_seeds`. Empty for populations.
    fastest
        A row per program, middle target: `program, c0, c1, worst_deviation` (largest relative
        difference of c0 + c1 B from the seconds measured, at `worst_batch_size`), `reading` (of
        the trade-off), `closed_form` (sqrt(E_min c0 / (S_min c1)), kept within 1 and N: `clipped`
        is "below 1", "above N" or ""), `closed_form_seconds`, `measured` (best of the
        recommendation, picked on tuning seeds; `measured_low, measured_high`: the ends of the set
        that cannot be told apart from it), `measured_seconds`, with `_low` and `_high`, `n_seeds`.
        Empty for populations.
    rate_growth
        Slopes of log picked rate against log batch: a row for the batch sizes `part` "all",
        "below" and "above" the critical one (of the middle target): `part, n_arms, slope,
        slope_low, slope_high` (NaN with fewer than two batch sizes), `from_batch_size,
        to_batch_size, critical, critical_by, left_out` (picks at the edge of the rates tried),
        `n_seeds` (tuning seeds, which the intervals resample). Empty for populations and within
        budgets.
    population
        None unless the problem trains populations.
    warnings
        Sentences that the reader must be told: picks at an edge, bases that had to be replaced,
        undetermined runs, too few seeds.
    """

    problem: Problem
    rule: str
    targets: tuple[float, ...]
    options: Mapping[str, Any]
    outcomes: pd.DataFrame
    picks: pd.DataFrame
    arms: pd.DataFrame
    summary: pd.DataFrame
    cells: pd.DataFrame
    stability: pd.DataFrame
    widths: pd.DataFrame
    thresholds: pd.DataFrame
    noise: pd.DataFrame
    uphill: pd.DataFrame
    seconds: pd.DataFrame
    programs: pd.DataFrame
    bands: pd.DataFrame
    claims: list[dict[str, Any]] = field(default_factory=list)
    recommendations: list[Recommendation] = field(default_factory=list)
    rules: pd.DataFrame = field(default_factory=pd.DataFrame)
    rule_runs: pd.DataFrame = field(default_factory=pd.DataFrame)
    sharpness: pd.DataFrame = field(default_factory=pd.DataFrame)
    theory: pd.DataFrame = field(default_factory=pd.DataFrame)
    choices: pd.DataFrame = field(default_factory=pd.DataFrame)
    noise_scale: pd.DataFrame = field(default_factory=pd.DataFrame)
    noise_average: pd.DataFrame = field(default_factory=pd.DataFrame)
    tradeoff: pd.DataFrame = field(default_factory=pd.DataFrame)
    fastest: pd.DataFrame = field(default_factory=pd.DataFrame)
    rate_growth: pd.DataFrame = field(default_factory=pd.DataFrame)
    powers: pd.DataFrame = field(default_factory=pd.DataFrame)
    generalization: pd.DataFrame = field(default_factory=pd.DataFrame)
    population: Population | None = None
    warnings: tuple[str, ...] = ()

    @property
    def target(self) -> float:
        """The middle target, which gives the verdicts."""
        return self.targets[len(self.targets) // 2]
