"""From the runs of a study to its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bench.analysis.arms import OURS, Arm, Axis, Runs, all_axes, mean_batch, picked_arms
from bench.analysis.bands import Curves, band_table, drawn_arms
from bench.analysis.cells import cell_table
from bench.analysis.choices import HeldOutCurves, choice_table, recommended_arms
from bench.analysis.claims import all_claims
from bench.analysis.evidence import Evidence, Population, Recommendation
from bench.analysis.intervals import median_interval
from bench.analysis.noise import gradient_noise, states_along, uphill_table
from bench.analysis.noise_scale import noise_scale_tables
from bench.analysis.recommend import MARGIN, recommend
from bench.analysis.rules import rule_tables
from bench.analysis.sharpness import sharpness_tables
from bench.analysis.stability import (
    KINDS,
    add_failures,
    largest_stable_rate,
    thresholds,
    usable_width,
)
from bench.analysis.thumb import generalization_table
from bench.analysis.time_to_target import (
    BASE,
    MIDDLE,
    base_batch_size,
    pick_table,
    protocol_arms,
    summary,
)
from bench.analysis.tradeoff import tradeoff_frames, tradeoff_warnings
from bench.analysis.xor import (
    VariantRuns,
    best_arm,
    example_networks,
    own_runs,
    population_tables,
)
from bench.experiments import Block, BlockResult
from bench.problems import Problem
from bench.problems.xor import shape
from bench.streams import stream

NOISE_SEEDS = 4  # reporting seeds at whose states the gradient noise is measured
FEW_SEEDS = 6  # fewer bound no median


def analyse(
    problem: Problem,
    rule: str,
    outcomes: pd.DataFrame,
    *,
    seconds: pd.DataFrame,
    blocks: Iterable[tuple[Block, BlockResult]],
    options: Mapping[str, Any],
    powers: pd.DataFrame | None = None,
    variants: VariantRuns | None = None,
    noise: bool = True,
) -> Evidence:
    """Return the evidence of a study of one problem and one rule.

    Parameters
    ----------
    problem
        With its targets.
    rule
        Name of the update rule; runs of other rules are compared with its own, and no more.
    outcomes
        Rows of `outcomes.outcome_rows`, of all blocks.
    seconds
        As of `Evidence.seconds`.
    blocks
        Walked once, for the curves of the arms (and examples of networks): one result is held at
        a time.
    options
        Of the study, as stored.
    powers
        As of `Evidence.powers`; None where they were not measured.
    variants
        For a population: what became of it and of its variants; None: of the problem alone.
    noise
        Whether to measure gradient noise, uphill shares and sharpness, which takes a while. Of
        samples too many to be evaluated they are not.

    Raises
    ------
    ValueError
        For a problem without targets.
    """
    if problem.targets is None:
        raise ValueError("problem has no targets: choose them from a pilot first")
    wanted = outcomes.rule == rule
    reported = outcomes.batch_size[wanted & (outcomes.role == "report")]
    # Batch sizes that rounds left behind have tuning runs alone: there is nothing to report of them
    wanted &= outcomes.batch_size.isin(reported) | (len(reported) == 0)
    mine = outcomes if wanted.all() else outcomes[wanted]  # of a population, 100 MB
    runs = Runs(add_failures(mine), population=problem.population is not None)
    evidence = measured(problem, runs, seconds, noise=noise)
    base = evidence.options["base_batch_size"]
    chosen = [] if runs.population else recommended_arms(evidence.recommendations)
    tuned = picked_arms(evidence.picks)
    scores = HeldOutCurves([*chosen, *tuned])
    drawn = drawn_arms(evidence.arms, base)
    bands, population = walk(problem, runs, drawn, _noting(blocks, scores), variants)
    rules, rule_runs = rule_tables(outcomes, problem.n_train)
    evidence = replace(
        evidence,
        options={**options, **evidence.options},
        rules=rules,
        rule_runs=rule_runs,
        bands=bands,
        population=population,
        choices=choice_table(problem, runs, chosen, scores),
        generalization=generalization_table(problem, runs, tuned, scores),
        powers=pd.DataFrame() if powers is None else powers,
        **tradeoff_frames(evidence, runs, growth=noise),
    )
    told = (*evidence.warnings, *tradeoff_warnings(evidence.tradeoff, evidence.target))
    return replace(evidence, claims=all_claims(evidence), warnings=told)


def _noting(
    blocks: Iterable[tuple[Block, BlockResult]], scores: HeldOutCurves
) -> Iterator[tuple[Block, BlockResult]]:
    """Hand the blocks on, and note their held-out scores: they are read from disk but once."""
    for block, result in blocks:
        scores.add(block, result)
        yield block, result


def measured(
    problem: Problem, runs: Runs, seconds: pd.DataFrame, *, noise: bool = True
) -> Evidence:
    """Return the evidence that runs and seconds hold, without bands, population and claims."""
    assert problem.targets is not None  # checked by `analyse`
    picks = pick_table(runs.outcomes, problem.n_train)
    arms = protocol_arms(picks, problem.n_train)
    base = base_batch_size(list(picks.batch_size), problem.n_train)
    tuned = picked_arms(picks)
    axes = all_axes(problem.n_train, list(picks.batch_size), seconds)
    stability = stability_table(runs, problem)
    wanted = noise and len(problem.scored[0]) == problem.n_train
    along = noise_tables(problem, runs, tuned, base) if wanted else NoiseTables()
    sharpness, theory = (
        sharpness_tables(problem, runs, tuned, base) if wanted else (pd.DataFrame(), pd.DataFrame())
    )
    return Evidence(
        problem=problem,
        rule=runs.outcomes.rule.iloc[0],
        targets=problem.targets,
        options={"base_batch_size": base, "margin": MARGIN},
        outcomes=runs.outcomes,
        picks=picks,
        arms=arms,
        summary=summary(runs, arms, problem.targets, axes, stability[stability.kind == "failed"]),
        cells=cell_table(runs, problem.n_train, MIDDLE),
        stability=stability,
        widths=width_table(runs, picks),
        thresholds=threshold_table(runs),
        noise=along.noise,
        uphill=along.uphill,
        noise_scale=along.scale,
        noise_average=along.average,
        sharpness=sharpness,
        theory=theory,
        seconds=seconds,
        programs=program_table(runs, tuned, axes),
        bands=pd.DataFrame(),
        recommendations=recommendations(runs, tuned, axes),
        warnings=warnings_of(problem, picks, base, runs),
    )


def stability_table(runs: Runs, problem: Problem) -> pd.DataFrame:
    """Return the columns of `Evidence.stability`: brackets for each kind of failure."""
    table = pd.concat([largest_stable_rate(runs, kind) for kind in KINDS], ignore_index=True)
    batch = [mean_batch(problem.n_train, b) for b in table.batch_size]
    return table.assign(rule=runs.outcomes.rule.iloc[0], mean_batch=batch)


def width_table(runs: Runs, picks: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of `Evidence.widths`."""
    rows = [usable_width(runs, b, MIDDLE, stream("usable width", b)) for b in picks.batch_size]
    return pd.concat([picks[["rule", "batch_size", "mean_batch"]], pd.DataFrame(rows)], axis=1)


def threshold_table(runs: Runs) -> pd.DataFrame:
    """Return the columns of `Evidence.thresholds`; no rows for a population."""
    if runs.population:
        return pd.DataFrame()
    return thresholds(runs).assign(rule=runs.outcomes.rule.iloc[0])


def walk(
    problem: Problem,
    runs: Runs,
    drawn: pd.DataFrame,
    blocks: Iterable[tuple[Block, BlockResult]],
    variants: VariantRuns | None,
) -> tuple[pd.DataFrame, Population | None]:
    """Go through the blocks once: the bands of the drawn arms, and a population's tables.

    Parameters
    ----------
    problem, runs, blocks, variants
        As in `analyse`.
    drawn
        Rows of `bands.drawn_arms`.
    """
    arm = None
    if runs.population:
        variants = variants or own_runs(problem, runs.outcomes.rule.iloc[0], runs.outcomes)
        arm = best_arm(variants.counts[variants.counts.variant == shape(problem)])
    curves = Curves(picked_arms(drawn))
    networks: dict[str, Any] = {}
    for block, result in blocks:
        if block.rule == runs.outcomes.rule.iloc[0]:
            curves.add(block, result)
            if arm is not None:
                networks = example_networks(problem, arm, block, result) | networks
    bands = band_table(problem, drawn, curves)
    population = population_tables(variants, networks) if variants else None
    return bands, population


class NoiseTables(NamedTuple):
    """The fields `noise`, `uphill`, `noise_scale` and `noise_average` of the evidence."""

    noise: pd.DataFrame = pd.DataFrame()
    uphill: pd.DataFrame = pd.DataFrame()
    scale: pd.DataFrame = pd.DataFrame()
    average: pd.DataFrame = pd.DataFrame()


# The products are small: threads of BLAS wait for each other longer than they compute
@threadpool_limits.wrap(limits=1, user_api="blas")  # type: ignore[untyped-decorator]
def noise_tables(problem: Problem, runs: Runs, tuned: Sequence[Arm], base: int) -> NoiseTables:
    """Gradient noise along the base arm's runs, and uphill shares of B = 1, B_0 and full batch.

    Empty for a population, and the shares for rules other than plain gradient descent (a single
    update of theirs depends on those before) or where one of the three was not studied.
    """
    if runs.population:
        return NoiseTables()
    arms = {arm.batch_size: arm for arm in tuned}
    states = states_along(problem, runs, arms[base])
    few = states.of_seeds(np.unique(states.seed)[:NOISE_SEEDS].tolist())
    scale, average = noise_scale_tables(problem, few, stream("noise scale"))
    tables = NoiseTables(
        noise=gradient_noise(problem, few, list(arms), stream("gradient noise")),
        scale=scale,
        average=average,
    )
    compared = [arms.get(b) for b in dict.fromkeys([1, base, problem.n_train])]
    if runs.outcomes.rule.iloc[0] != "sgd" or None in compared:
        return tables
    uphill = uphill_table(problem, runs, [a for a in compared if a], states, stream("uphill"))
    return tables._replace(uphill=uphill)


def program_table(runs: Runs, tuned: Sequence[Arm], axes: Sequence[Axis]) -> pd.DataFrame:
    """Return the columns of `Evidence.programs`: seconds to the middle target, tuned."""
    rows = []
    for axis in axes:
        if axis.name != "seconds":
            continue
        for arm in tuned:
            found = runs.of(arm)
            cost = axis.per_example[arm.batch_size]
            batch = 1.0 / axes[0].per_example[arm.batch_size]
            hits = median_interval(found[f"hit_{MIDDLE}"].to_numpy(float), runs.clusters(found))
            about = {"program": axis.program, "mean_batch": batch} | arm._asdict()
            about["seconds_per_update"] = cost * batch
            about |= {"seconds": hits.value * cost, "seconds_low": hits.low * cost}
            rows.append(about | {"seconds_high": hits.high * cost})
    return pd.DataFrame(rows)


def recommendations(runs: Runs, tuned: Sequence[Arm], axes: Sequence[Axis]) -> list[Recommendation]:
    """Return one for the fewest epochs, its cheapest by our seconds, then one for each program."""
    epochs = next(axis for axis in axes if axis.name == "epochs")
    seconds = [axis for axis in axes if axis.name == "seconds"]
    ours = next((axis for axis in seconds if axis.program == OURS), epochs)
    return [
        recommend(runs, tuned, axis, cost, MIDDLE)
        for axis, cost in [(epochs, ours), *((axis, axis) for axis in seconds)]
    ]


def warnings_of(problem: Problem, picks: pd.DataFrame, base: int, runs: Runs) -> tuple[str, ...]:
    """Sentences that the reader must be told."""
    told = [
        f"Batch size {batch_size}: how the learning rate was picked: {reason}."
        for batch_size, reason in zip(picks.batch_size, picks.reason, strict=True)
        if not reason.startswith("least median")
    ]
    edges = picks.batch_size[picks.at_edge].tolist()
    if edges:
        listed = ", ".join(map(str, edges))
        told.append(f"Batch size {listed}: the pick is the outermost learning rate tried.")
    if base != BASE:
        told.append(f"The base batch size is {base}, the mini-batch studied nearest to {BASE}.")
    reporting = runs.outcomes[runs.outcomes.role == "report"]
    n_seeds = reporting.seed.nunique()
    if n_seeds < FEW_SEEDS:
        unit = "blocks of networks" if runs.population else "seeds"
        told.append(f"Only {n_seeds} reporting {unit}: intervals are very wide or missing.")
    met = int(reporting[f"hit_{MIDDLE}"].isna().sum())
    if met:
        told.append(f"{met} runs met the target before their first update: they are left out.")
    if problem.n_train < FEW_SEEDS:
        told.append(f"{problem.n_train} training samples: every batch size is close to full batch.")
    for samples, (scored, _) in (("training", problem.scored), ("held-out", problem.scored_test)):
        whole = problem.X_train if samples == "training" else problem.X_test
        if len(scored) < len(whole):
            told.append(
                f"Losses and scores on the {samples} samples are those of a random "
                f"{len(scored):,} of them, the same for all runs."
            )
    return tuple(told)
