"""Update rules against the batch size: their parameters, the plan, the comparison, its verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from example_evidence import Run, example_evidence, synthetic_outcomes
from test_study import SMALL, made_up_seconds

import bench
from bench import report, stages
from bench import study as module
from bench.analysis.claims.rules import half_life, momentum
from bench.analysis.evidence import Evidence
from bench.analysis.rules import compare_rules, rule_tables
from bench.analysis.time_to_target import extension_sides
from bench.errors import InputError
from bench.experiments import Block, Threads, plan, rules, run_block
from bench.experiments.progress import Silent
from bench.experiments.rules import ADAM_HALF_LIFE, rule_of
from bench.experiments.store import Store
from bench.options import Options
from bench.problems import load_problem
from bench.report.figures.rules import rules_data, rules_figure, rules_title
from bench.rounds import Rounds
from bench.stages import Training
from kernels import epoch
from kernels.updates import RULES, Adam

IRIS = load_problem("iris")
N = IRIS.n_train


# The rules by name


@pytest.mark.parametrize("batch_size", [1, 7, 32, 1437])
def test_half_life_is_the_same_in_examples(batch_size: int) -> None:
    """After as many examples the memory of squared gradients has faded as much, at any B."""
    rule = rule_of(ADAM_HALF_LIFE, batch_size)
    assert isinstance(rule, Adam)
    half_life = np.log(0.5) / np.log(rule.beta2) * batch_size
    assert half_life == pytest.approx(32 * np.log(0.5) / np.log(0.999), rel=1e-9)
    assert (rule.beta1, rule.epsilon) == (Adam().beta1, Adam().epsilon)


def test_other_names_are_the_kernels_rules() -> None:
    """A name of the kernels means the same at every batch size; an unknown one is refused."""
    assert [rule_of(name, 5) for name in RULES] == list(RULES.values())
    with pytest.raises(ValueError, match="adam_half_life, got 'adamw'"):
        rule_of("adamw", 1)


def test_keys_of_known_rules_hold_their_name_alone() -> None:
    """Results of the kernels' rules keep their keys; one whose parameters stand here names them."""
    assert [rules.content(name, 8) for name in RULES] == list(RULES)
    assert rules.content(ADAM_HALF_LIFE, 8) == (ADAM_HALF_LIFE, (0.9, 0.999**0.25, 1e-8))


def signatures() -> int:
    """Number of compiled signatures of what trains by Adam."""
    return sum(len(way.signatures) for way in (epoch.train_samples, epoch.train_summed))


def test_half_life_kept_is_adam_at_the_base_batch_size() -> None:
    """At B = 32 the two rules give the same bits, at B = 1 others; nothing is compiled again."""
    blocks = [
        [Block(rule, b, (0.01,), 0, 1, checkpoints=(N,)) for rule in ("adam", ADAM_HALF_LIFE)]
        for b in (32, 1)
    ]
    given = [run_block(IRIS, pair[0]).loss for pair in blocks]
    compiled = signatures()
    kept = [run_block(IRIS, pair[1]).loss for pair in blocks]
    assert signatures() == compiled
    assert np.array_equal(given[0], kept[0])
    assert not np.array_equal(given[1], kept[1])


# The plan


@pytest.mark.parametrize(
    ("sizes", "base", "expected"),
    [
        ((1, 2, 4, 8, 16, 32, 120), 32, (1, 8, 32, 120)),
        ((1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1437), 32, (1, 8, 32, 128, 512, 1437)),
        ((8, 120), 8, (8, 120)),
        ((4,), 4, (4,)),
    ],
)
def test_half_of_the_batch_sizes_are_compared(
    sizes: tuple[int, ...], base: int, expected: tuple[int, ...]
) -> None:
    """Both ends, the base, and every other size counted from it; not the neighbour of B = 1."""
    assert rules.compared_batch_sizes(sizes, base) == expected


def training(out: Path, **changes: Any) -> Training:
    """Return a training of iris whose targets are known, none of it done."""
    options: dict[str, Any] = {
        "problem": replace(IRIS, targets=(0.5, 0.3, 0.2)),
        "rule": "sgd",
        "seeds": tuple(range(5)),
        "batch_sizes": (32, N),
        "store": Store(out),
        "crew": Threads(2),
        "progress": Silent(),
    }
    return Training(**options | changes)


def test_coarse_rates_tune_and_fine_rates_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another rule gets coarse rates from tuning seeds, 16 fine ones from all; stages name it."""
    monkeypatch.setattr(rules, "COMPARED", ("sgd", "momentum"))
    own = training(tmp_path)
    stages.train_other_rules(own, None)
    other = own.by_rule["momentum"]
    assert own.blocks == []
    assert {block.rule for block in other.blocks} == {"momentum"}
    for size in own.batch_sizes:
        tuned, every = (other.tried(size, seeds) for seeds in ((0, 3), own.seeds))
        assert set(plan.coarse_rates("momentum")) <= tuned
        pick = other.picks().set_index("batch_size").learning_rate[size]
        assert len(every) >= 16
        assert min(every) < pick < max(every)
    assert {stage["stage"].split(":")[0] for stage in own.stages} == {"iris, momentum"}


def test_where_all_runs_fail_lower_rates_are_tried() -> None:
    """With every run failed at every rate the lattice goes on below, whatever the pick."""
    outcomes = synthetic_outcomes(IRIS, {8: (0.5, 1.0)}, range(6), lambda _: 1.0, lambda _: True)
    assert extension_sides(outcomes) == ("lower",)


def test_the_other_rules_are_a_round_before_the_last(tmp_path: Path) -> None:
    """Within a budget the comparison is a round of its own, where it is asked for."""
    without, compared = (
        [one.name for one in Rounds(training(tmp_path), None, False, wanted).all]
        for wanted in (False, True)
    )
    assert compared == [*without[:-1], "the other update rules", without[-1]]


# The comparison

PASSES = {"sgd": 8.0, "momentum": 4.0, "adam": 4.0, ADAM_HALF_LIFE: 2.0}


def planted(rule: str, seeds: range, passes: float | None = None) -> pd.DataFrame:
    """Return runs of a rule: best at rate 1, in so many passes times its seed's own factor."""
    wanted = PASSES[rule] if passes is None else passes

    def time(run: Run) -> float:
        slow = 1.0 if run.rate == 1.0 else 3.0
        return N * wanted * slow * (1.0 + 0.1 * (run.seed % 5))

    rates = dict.fromkeys((1, 32, N), (0.5, 1.0, 2.0))
    return synthetic_outcomes(IRIS, rates, seeds, time).assign(rule=rule)


def evidence_of(**passes: float) -> Evidence:
    """Return evidence with planted runs of four rules; `passes` differ at B = 1."""
    frames = [planted(rule, range(18 if rule == "sgd" else 12)) for rule in PASSES]
    outcomes = pd.concat(frames, ignore_index=True)
    for rule, factor in passes.items():
        there = (outcomes.rule == rule) & (outcomes.batch_size == 1)
        outcomes.loc[there, ["hit_0", "hit_1", "hit_2"]] *= factor
    example = example_evidence("digits", IRIS)
    table, runs = rule_tables(outcomes, N)
    return replace(example, rules=table, rule_runs=runs)


def test_ratios_are_those_of_common_seeds() -> None:
    """Half the passes are a ratio of one half, paired by the seeds that ran both rules."""
    evidence = evidence_of()
    table = evidence.rules.set_index(["rule", "batch_size"])
    for rule, passes in PASSES.items():
        row = table.loc[(rule, 32)]
        assert row.ratio == pytest.approx(passes / PASSES["sgd"])
        assert row.ratio_low == pytest.approx(row.ratio_high)
        assert row.learning_rate == 1.0
        assert row.n_seeds == (12 if rule == "sgd" else 8)
    assert compare_rules(evidence.rule_runs, "momentum", "sgd", 32, 1).ratio.n == 8


def test_plain_descent_is_once_as_fast_as_itself() -> None:
    """Its own ratio is 1, also where some of its runs do not reach the target."""
    outcomes = pd.concat([planted(rule, range(9)) for rule in ("sgd", "momentum")])
    outcomes.loc[outcomes.seed == 1, ["hit_0", "hit_1", "hit_2"]] = np.inf
    table, _ = rule_tables(outcomes.reset_index(drop=True), N)
    plain, other = (table[table.rule == rule] for rule in ("sgd", "momentum"))
    assert (plain[["ratio", "ratio_low", "ratio_high"]] == 1.0).all(axis=None)
    assert (plain.n_undetermined == 0).all()
    assert (other.n_undetermined == 1).all()


def test_one_rule_is_compared_with_nothing() -> None:
    """Without other rules, or without reporting seeds, there are no tables and no verdicts."""
    alone, _ = rule_tables(planted("sgd", range(6)), N)
    tuners = pd.concat([planted(rule, range(1)) for rule in PASSES])
    assert alone.empty
    assert rule_tables(tuners, N)[0].empty
    evidence = replace(example_evidence("digits"), rules=alone, rule_runs=alone)
    assert momentum(evidence) == half_life(evidence) == []


def test_momentum_that_helps_everywhere_refutes_only() -> None:
    """On the full batch half the passes support R5, in smaller batches they refute it."""
    verdicts = {row["batch_size"]: row["verdict"] for row in momentum(evidence_of())}
    assert verdicts == {N: "supported", 32: "refuted", 1: "refuted"}


def test_momentum_that_does_not_help_per_sample_supports_it() -> None:
    """Where momentum needs as many passes as plain descent the claim of no help is supported."""
    rows = {row["batch_size"]: row for row in momentum(evidence_of(momentum=2.0))}
    assert rows[1]["verdict"] == "supported"
    assert (rows[1]["kind"], rows[N]["kind"]) == ("within", "ratio")


def test_beta2_as_given_is_held_against_its_half_life_kept() -> None:
    """Twice the passes with beta2 as given support R6, at both ends and nowhere between."""
    rows = half_life(evidence_of())
    assert {row["batch_size"]: row["verdict"] for row in rows} == {N: "supported", 1: "supported"}
    assert rows[0]["effect"] == pytest.approx(2.0)


def test_figure_tells_the_planted_ratios() -> None:
    """The title holds both ratios at both ends; the lines are the median passes."""
    data = rules_data(evidence_of(momentum=2.0))
    assert rules_title(data) == (
        "Passes to the target over those of plain gradient descent: with momentum 0.50 on the "
        "full batch and 1.0 per sample; with Adam 0.50 on the full batch and 0.50 per sample"
    )
    passes = rules_figure(data).axes[0]
    lines = [line.get_ydata() for line in passes.lines if len(line.get_xdata()) == 3]
    expected = data.loc[data.rule == "momentum", "epochs"].to_numpy()
    assert any(np.allclose(np.asarray(line, float), expected) for line in lines)


# A study with them


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> module.Study:
    """Return a small study with other rules; one line stands for its page."""

    def plain_page(_: object, folder: Path, __: object) -> None:
        (folder / "report.html").write_text("<title>page</title>")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_seconds", made_up_seconds)
        patch.setattr(report, "write", plain_page)
        patch.setattr(rules, "COMPARED", ("sgd", "momentum", "adam", ADAM_HALF_LIFE))
        options = SMALL | {"seeds": 6, "compare_rules": True}
        return bench.study("iris", out=tmp_path_factory.mktemp("out"), **options)


def test_a_study_keeps_the_runs_of_all_rules(compared: module.Study) -> None:
    """runs.parquet has every rule's runs of the same seeds, summary.csv the study's own alone."""
    seeds = compared.runs.groupby("rule").seed.nunique().to_dict()
    assert seeds == dict.fromkeys(("sgd", "momentum", "adam", ADAM_HALF_LIFE), 6)
    assert set(compared.summary.rule) == {"sgd"}
    assert {"R5", "R6"} <= {row["claim"] for row in compared.claims}
    assert set(pd.read_csv(compared.folder / "rules.csv").rule) == set(seeds)


def test_blocks_of_other_rules_are_the_studys(compared: module.Study) -> None:
    """A prune keeps them; the command line that makes the study again asks for them."""
    assert module.prune(compared.folder.parent) == 0
    assert compared.record["command"].endswith("--compare-rules --hidden 8")


def test_populations_are_refused() -> None:
    """XOR's populations have rules of their own study."""
    settings = Options(compare_rules=True)
    with pytest.raises(InputError, match="compare_rules"):
        module.prepare("notes", settings, Silent())
