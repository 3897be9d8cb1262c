"""Update rules compared: each at its own best rate, against the batch size, paired by seed."""

from __future__ import annotations

import pandas as pd

from bench.analysis.arms import Arm, Runs
from bench.analysis.intervals import PairedComparison, median_interval, paired_ratio
from bench.analysis.stability import add_failures, largest_stable_rate
from bench.analysis.time_to_target import MIDDLE, pick_table

REFERENCE = "sgd"  # the rule that the others are held against
RUN_COLUMNS = ["rule", "batch_size", "learning_rate", "seed", "budget_examples"]


def rule_tables(outcomes: pd.DataFrame, n_train: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the columns of `Evidence.rules` and of `Evidence.rule_runs`.

    Parameters
    ----------
    outcomes
        Rows of `outcomes.outcome_rows`, of all rules; one network a seed.
    n_train
        Training samples.

    Returns
    -------
    Two empty frames where there is one rule only, or no reporting seed.
    """
    reporting = outcomes[outcomes.role == "report"]
    if outcomes.rule.nunique() < 2 or reporting.empty:
        return pd.DataFrame(), pd.DataFrame()
    tables, runs_at_picks = [], []
    for _, mine in outcomes.groupby("rule", sort=False):
        runs = Runs(add_failures(mine))
        picks = pick_table(runs.outcomes, n_train)
        brackets = largest_stable_rate(runs, "failed")
        tables.append(picks.merge(brackets[["batch_size", "stable", "unstable"]], on="batch_size"))
        arms = map(Arm, picks.batch_size, picks.learning_rate)
        runs_at_picks += [runs.of(arm) for arm in arms]
    runs_of_rules = pd.concat(runs_at_picks, ignore_index=True)
    hits = [name for name in runs_of_rules.columns if name.startswith("hit_")]
    runs_of_rules = runs_of_rules[[*RUN_COLUMNS, *hits]]
    table = pd.concat(tables, ignore_index=True)
    about = ["rule", "batch_size", "mean_batch", "learning_rate", "at_edge", "stable", "unstable"]
    rows = [
        _row(runs_of_rules, rule, b) for rule, b in zip(table.rule, table.batch_size, strict=True)
    ]
    return pd.concat([table[about], pd.DataFrame(rows)], axis=1), runs_of_rules


def _row(runs: pd.DataFrame, rule: str, batch_size: int) -> dict[str, float]:
    """Return T of a rule at a batch size, and its ratio to that of plain gradient descent."""
    mine = runs[(runs.rule == rule) & (runs.batch_size == batch_size)]
    found = median_interval(mine[f"hit_{MIDDLE}"].to_numpy(float))
    row = {"examples": found.value, "examples_low": found.low, "examples_high": found.high}
    ratio, n_undetermined = (1.0, 1.0, 1.0), 0
    if rule != REFERENCE:
        compared = compare_rules(runs, rule, REFERENCE, batch_size, MIDDLE)
        ratio, n_undetermined = compared.ratio[:3], compared.n_undetermined
    row |= dict(zip(("ratio", "ratio_low", "ratio_high"), ratio, strict=True))
    return row | {"n_undetermined": n_undetermined, "n_seeds": mine.seed.nunique()}


def compare_rules(
    runs: pd.DataFrame, a: str, b: str, batch_size: int, target: int
) -> PairedComparison:
    """Return T of rule a over T of rule b at a batch size, by the seeds that ran both.

    Parameters
    ----------
    runs
        As of `Evidence.rule_runs`.
    a, b
        Names of rules; one that did not run at this batch size leaves nothing determined.
    batch_size
        At which both are compared.
    target
        Index of the target.
    """
    here = runs[runs.batch_size == batch_size].set_index("seed")
    ours, theirs = here[here.rule == a], here[here.rule == b]
    seeds = ours.index.intersection(theirs.index)
    hit = f"hit_{target}"
    return paired_ratio(
        ours.loc[seeds, hit].to_numpy(float),
        theirs.loc[seeds, hit].to_numpy(float),
        float(ours.budget_examples.to_numpy(float).max(initial=0.0)),
        float(theirs.budget_examples.to_numpy(float).max(initial=0.0)),
    )
