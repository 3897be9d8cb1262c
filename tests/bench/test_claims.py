"""Planted effects get the right verdict, and a study's analysis hangs together."""

import dataclasses
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from example_evidence import example_evidence, synthetic_outcomes

from bench.analysis.analyse import analyse
from bench.analysis.claims import (
    CLAIMS,
    all_claims,
    note_contradictions,
)
from bench.analysis.claims.row import settle
from bench.analysis.intervals import VERDICTS
from bench.analysis.outcomes import CAUSES
from bench.analysis.time_to_target import named_rates, pick_table
from bench.analysis.xor import VariantRuns
from bench.experiments import Block, BlockResult, role
from bench.problems import load_problem
from bench.problems.xor import variants
from kernels import Network

N = 64
SIZES = (1, 2, 4, 8, 16, 32, 64)
RATES = [2.0 ** (k / 2) for k in range(-8, 5)]
PINNED = {
    *("claim", "statement", "measure", "axis", "program", "protocol", "base_batch_size"),
    *("target", "verdict", "effect", "low", "high", "n_seeds", "definition"),
}
XOR = load_problem("notes")


def small_problem():
    """Sixty-four random samples of two classes, and a network of three hidden units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 2)).astype(np.float32)
    return replace(
        XOR,
        name="small",
        network=Network((2, 3, 1)),
        X_train=X,
        y_train=(X[:, 0] * X[:, 1] > 0).astype(np.int64),
        population=None,
        targets=(0.4, 0.3, 0.2),
        updates_budget=None,
    )


def seconds_of(sizes=SIZES, n=N):
    """Two programs: ours costs by sample, the other by update."""
    batch = np.array([n / -(-n // b) for b in sizes])
    costs = {"batchbench": (1e-8, 1e-7), "scikit-learn": (1e-4, 1e-7)}
    frames = []
    for program, (c0, c1) in costs.items():
        cost = c0 + c1 * batch
        columns = {"program": program, "batch_size": sizes, "mean_batch": batch}
        columns |= {"seconds_per_update": cost, "low": cost, "high": cost, "c0": c0, "c1": c1}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


# What is planted: at its best rate B = 1 needs twice the epochs, and it fails from a sixteenth of
# the others' rate on
BEST = {b: 0.125 if b == 1 else 1.0 for b in SIZES}
ONSET = {b: 0.25 if b == 1 else 4.0 for b in SIZES}


def planted_time(run, epochs=None, noise=0.03):
    """Epochs double per factor 2 away from the best rate, a few percent of noise by run."""
    epochs = epochs or {b: 8.0 if b == 1 else 4.0 for b in SIZES}
    rng = np.random.default_rng((run.batch_size, run.seed, int(1e6 * run.rate)))
    away = 2.0 ** abs(np.log2(run.rate / BEST[run.batch_size]))
    return epochs[run.batch_size] * N * away * np.exp(noise * rng.normal())


def planted_failure(run):
    """Seeds fail from the planted rate on."""
    return run.rate >= ONSET[run.batch_size]


def blocks_of(rows, problem):
    """Blocks with exponential loss curves for some rows of outcomes."""
    for (batch_size, seed), mine in rows.groupby(["batch_size", "seed"]):
        rates = tuple(sorted(mine.learning_rate.unique()))
        examples = np.arange(0, 20 * N + 1, N)
        curve = 0.7 * np.exp(-examples / (4.0 * N))
        loss = np.broadcast_to(curve, (1, len(rates), len(examples))).copy()
        none, flags = np.full(loss.shape, np.nan), np.zeros(loss.shape[:2], bool)
        block = Block("sgd", int(batch_size), rates, int(seed), 20)
        updates = examples // N * -(-problem.n_train // int(batch_size))
        yield (
            block,
            BlockResult(examples, updates, loss, none, none, none, flags, flags, flags),
        )


def study_of(time=planted_time, fails=planted_failure, seeds=range(30)):
    """Evidence of planted runs at seven batch sizes, named rates on reporting seeds included."""
    problem = small_problem()
    rows = synthetic_outcomes(problem, dict.fromkeys(SIZES, RATES), seeds, time, fails)
    picks = pick_table(rows, N)
    named = {b: named_rates(picks, b, N) for b in SIZES}
    report = [s for s in seeds if role(s) == "report"]
    extra = synthetic_outcomes(problem, named, report, time, fails) if report else rows[:0]
    return analyse(
        problem,
        "sgd",
        pd.concat([rows, extra], ignore_index=True),
        seconds=seconds_of(),
        blocks=blocks_of(extra, problem),
        options={"seeds": len(seeds)},
    )


@pytest.fixture(scope="module")
def evidence():
    """The planted study."""
    return study_of()


def row_of(evidence, claim, **about):
    """The one row of a claim with these keys."""
    rows = [r for r in evidence.claims if r["claim"] == claim]
    found = [r for r in rows if all(r[key] == value for key, value in about.items())]
    assert len(found) == 1
    return found[0]


# Planted effects


def test_twice_the_epochs_is_supported(evidence):
    """C2 on epochs: B = 1 takes 8 epochs, the best larger batch 4."""
    row = row_of(evidence, "C2", axis="epochs")
    assert row["verdict"] == "supported"
    assert row["effect"] == pytest.approx(2.0, rel=0.1)
    assert row["other_targets"] == {0.4: "supported", 0.2: "supported"}


def test_updates_compare_with_the_batch_that_needs_fewest(evidence):
    """C2 on updates: against full batch, 64 x 2 times as many."""
    row = row_of(evidence, "C2", axis="updates")
    assert row["against"] == N
    assert row["effect"] == pytest.approx(128, rel=0.1)


@pytest.mark.parametrize(("program", "effect"), [("batchbench", 2.2), ("scikit-learn", 120)])
def test_seconds_are_a_programs_own(evidence, program, effect):
    """C2 on seconds: about the epochs where samples cost, about the updates where updates do."""
    row = row_of(evidence, "C2", axis="seconds", program=program)
    assert row["effect"] == pytest.approx(effect, rel=0.1)
    assert program in row["statement"]


def test_thresholds_contradict_thresholds_per_example(evidence):
    """C3: a sixteenth of the rate is less stable, and per example it is more: said in a note."""
    plain = row_of(evidence, "C3", measure="threshold", against=32)
    scaled = row_of(evidence, "C3", measure="threshold / B", against=32)
    assert (plain["verdict"], scaled["verdict"]) == ("supported", "refuted")
    full = row_of(evidence, "C3", measure="threshold / B", against=N)
    assert full["verdict"] == "refuted"
    assert full["note"].startswith("The measures contradict each other: yes by")
    assert "threshold / B (against 64)" in full["note"]


def test_failures_at_the_same_rate(evidence):
    """C3: at the rate of the base 32 all runs of B = 1 fail, at its own rate none does."""
    wild = row_of(
        evidence, "C3", measure="failed runs at the same rate", against=32, base_batch_size=32
    )
    calm = row_of(
        evidence, "C3", measure="failed runs at the same rate", against=32, base_batch_size=1
    )
    assert (wild["verdict"], wild["effect"]) == ("supported", 1.0)
    assert calm["effect"] == 0.0


def test_equal_widths_are_no_material_difference(evidence):
    """C3: the U is as wide at B = 1 (an octave to the left, half to the right) as elsewhere."""
    row = row_of(evidence, "C3", measure="usable width", against=N)
    assert row["effect"] == pytest.approx(0.0, abs=0.6)


def test_overshoot_and_slowness(evidence):
    """C8: four times the rate diverges, a quarter takes four times as long, at every batch size."""
    for b in SIZES:
        over, slow = (
            row_of(evidence, "C8", measure=m, batch_size=b) for m in ("overshoot", "slow")
        )
        assert (over["verdict"], over["effect"]) == ("supported", np.inf)
        assert slow["verdict"] == "supported"
        assert slow["effect"] == pytest.approx(4.0, rel=0.15)


def test_a_single_sample_update_goes_uphill_more_often(evidence):
    """C1: from the same states at the same rate, full batch goes uphill less than B = 1."""
    row = row_of(evidence, "C1", measure="uphill share, same states", against=N)
    assert row["effect"] > 0.05
    assert row["n_seeds"] == 20


def test_equal_arms_are_no_material_difference():
    """C2 with nothing planted: batch sizes of equal epochs, 3% noise."""
    found = study_of(lambda run: planted_time(run, dict.fromkeys(SIZES, 5.0)))
    assert row_of(found, "C2", axis="epochs")["verdict"] == "no material difference"


def test_all_failed_arms_are_undecided():
    """Nothing reaches the target: verdicts on time are undecided, nothing is recommended."""
    found = study_of(lambda _: np.inf)
    assert {r["verdict"] for r in found.claims if r["claim"] in ("C2", "C8")} == {"undecided"}
    assert all(r.best is None for r in found.recommendations)


def test_one_seed_is_analysed_without_verdicts():
    """A single seed tunes; nothing is reported and every verdict is undecided."""
    found = study_of(seeds=[0])
    assert {row["verdict"] for row in found.claims} == {"undecided"}
    assert any("0 reporting seeds" in told for told in found.warnings)


# Rules


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (("supported", "undecided"), "supported"),
        (("refuted", "supported"), "undecided"),
        (("no material difference", "undecided"), "supported"),
    ],
)
def test_a_verdict_that_flips_with_the_target_is_undecided(others, expected):
    """Supported at the middle target, unless another target says the opposite."""
    verdicts = {0.4: others[0], 0.2: "supported", 0.1: others[1]}
    assert settle(verdicts, 0.2)[0] == expected


def test_agreement_needs_no_note():
    """Without a refuted measure there is no contradiction."""
    row = {"claim": "C3", "measure": "spread", "against": 32, "verdict": "supported", "note": ""}
    assert note_contradictions([row, row | {"verdict": "undecided"}])[0]["note"] == ""


def test_rows_have_the_pinned_keys(evidence):
    """Every row has the keys of claims.json, a verdict that exists, and its definition in words."""
    for row in evidence.claims:
        assert set(row) >= PINNED
        assert row["verdict"] in VERDICTS
        assert row["definition"]
        assert row["statement"]
        assert isinstance(row["n_seeds"], int)


def test_the_claims_of_a_data_problem(evidence):
    """C1, C2, C3, C8 and C9, and the rules of thumb that were measured; XOR's are for populations.

    Nothing is held out here, no program was timed at powers of two, and no other rule was run.
    """
    measured = ["C1", "C2", "C3", "C8", "C9", "R1", "R2"]
    assert list(dict.fromkeys(r["claim"] for r in evidence.claims)) == measured


def test_holm_is_taken_within_a_claim(evidence):
    """The least p-value of C2 is multiplied by the number of its p-values."""
    p = [r["p_value"] for r in evidence.claims if r["claim"] == "C2"]
    holm = [r["p_holm"] for r in evidence.claims if r["claim"] == "C2"]
    assert min(holm) == pytest.approx(min(1.0, len(p) * min(p)))


def test_the_analysis_is_reproducible(evidence):
    """The same runs give the same claims, to the last bit."""
    pd.testing.assert_frame_equal(pd.DataFrame(all_claims(evidence)), pd.DataFrame(evidence.claims))


# The evidence as a whole


def test_bands_are_those_of_the_drawn_arms(evidence):
    """Tuned and same arms have quantiles of the reporting seeds' losses."""
    bands = evidence.bands
    assert set(bands.protocol) == {"tuned", "same"}
    assert (bands.n_seeds == 20).all()
    np.testing.assert_allclose(bands.q50, 0.7 * np.exp(-bands.epochs / 4))


def test_stable_rates_lie_below_the_planted_failures(evidence):
    """The bracket of each batch size holds the planted onset, or ends at it."""
    table = evidence.stability[evidence.stability.kind == "failed"].set_index("batch_size")
    for b in SIZES:
        assert table.stable[b] < ONSET[b] <= table.unstable[b]


def test_program_times_are_updates_times_cost(evidence):
    """Seconds of a program at a batch size: tuned updates x its seconds per update."""
    tuned = evidence.summary[evidence.summary.protocol == "tuned"]
    tuned = tuned[tuned.target == evidence.target].set_index("batch_size")
    for row in evidence.programs.itertuples():
        expected = tuned.updates[row.batch_size] * row.seconds_per_update
        assert row.seconds == pytest.approx(expected)


def test_other_rules_are_ignored():
    """Runs of another rule are left out, and only plain descent has uphill shares."""
    problem = small_problem()
    rows = synthetic_outcomes(
        problem, dict.fromkeys(SIZES, RATES), range(6), planted_time, planted_failure
    )
    both = pd.concat([rows, rows.assign(rule="momentum", hit_1=1.0)], ignore_index=True)
    found = analyse(problem, "momentum", both, seconds=seconds_of(), blocks=[], options={})
    assert set(found.outcomes.rule) == {"momentum"}
    assert len(found.uphill) == 0
    assert "C1" not in {row["claim"] for row in found.claims}


def test_a_problem_without_targets_is_refused():
    """The targets come from a pilot first."""
    problem = replace(small_problem(), targets=None)
    with pytest.raises(ValueError, match="choose them from a pilot"):
        analyse(problem, "sgd", pd.DataFrame(), seconds=pd.DataFrame(), blocks=[], options={})


# Populations


def population_counts(success):
    """Counts of twelve blocks of 256 networks per variant, with planted success."""
    rng = np.random.default_rng(0)
    rows = []
    for variant, p in success.items():
        for b in (1, 4):
            for seed in range(12):
                solved = rng.binomial(256, p * (1.0 if b == 4 else 0.9))
                row = {"variant": variant, "rule": "sgd", "batch_size": b, "learning_rate": 0.5}
                row |= {"seed": seed, "role": role(seed), "n": 256, "solved": solved}
                rows.append(row | dict.fromkeys(CAUSES, 0) | {"one unit": 256 - solved})
    return pd.DataFrame(rows)


def population_study(success):
    """Evidence of a population of the notes' network, with planted variants."""

    def time(run):
        return np.inf if run.network % 3 else 4000.0 / run.rate * 1.01**run.network

    rows = synthetic_outcomes(
        XOR, {b: [0.125, 0.5, 2.0] for b in (1, 2, 4)}, range(6), time, networks=60
    )
    rows = rows.assign(budget_examples=40_000.0)
    known = variants(load_problem("xor"), "sgd")
    trained = VariantRuns(
        {label: known[label] for label in success}, population_counts(success), pd.DataFrame()
    )
    return analyse(
        XOR,
        "sgd",
        rows,
        seconds=seconds_of((1, 2, 4), 4),
        blocks=[],
        options={},
        variants=trained,
    )


SUCCESS = {"2-2-1": 0.3, "2-2-2-1": 0.5, "2-3-1": 0.5, "2-4-1": 0.8, "2-2-1 tanh": 0.99}


@pytest.fixture(scope="module")
def population():
    """The planted population study."""
    return population_study(SUCCESS)


def test_the_notes_network_does_not_always_learn(population):
    """C6: 30% planted, far below 99%; tanh is another network."""
    row = row_of(population, "C6")
    assert row["verdict"] == "supported"
    assert row["effect"] == pytest.approx(0.3, abs=0.05)
    assert row["n_seeds"] == 8


@pytest.mark.parametrize(
    ("measure", "against", "expected"),
    [
        ("solves", None, "refuted"),
        ("helps", "2-2-1", "supported"),
        ("depth against width", "2-3-1", "undecided"),
        ("depth against width", "2-4-1", "refuted"),
    ],
)
def test_an_extra_layer(population, measure, against, expected):
    """C7: half of the deep networks learn: not solved, better than 2-2-1, worse than width 4."""
    assert row_of(population, "C7", measure=measure, against=against)["verdict"] == expected


def test_each_extra_layer_is_held_against_the_nearest_width():
    """C7: 2-2-2-1 (15 parameters) against 2-3-1 and 2-4-1 (13, 17), 2-2-4-1 (23) against 2-6-1."""
    planted = {"2-2-1": 0.3, "2-3-1": 0.5, "2-4-1": 0.6, "2-6-1": 0.9, "2-8-1": 0.95}
    found = population_study(planted | {"2-2-2-1": 0.2, "2-2-4-1": 0.5})
    rows = [r for r in found.claims if r["measure"] == "depth against width"]
    pairs = [(r["variant"], r["against"]) for r in rows]
    assert pairs == [("2-2-2-1", "2-3-1"), ("2-2-2-1", "2-4-1"), ("2-2-4-1", "2-6-1")]
    verdicts = [r["verdict"] for r in found.claims if r["measure"] == "helps"]
    assert verdicts == ["refuted", "supported"]
    assert [r["verdict"] for r in found.claims if r["measure"] == "solves"] == ["refuted"] * 2


def test_verdicts_on_xor_are_told_in_numbers_of_100(population):
    """C6 and C7 carry a sentence with the shares that they compare, as numbers of 100 starts."""
    for row in (row for row in population.claims if row["claim"] in ("C6", "C7")):
        own = population.population.success.set_index("variant")
        for variant in filter(None, (row["variant"], row["against"])):
            assert f"{100 * own.success[variant]:.0f}" in row["note"]
            assert variant in row["note"]


def test_a_network_that_always_learns():
    """C6 refuted and C7's "solves" supported where all networks learn."""
    found = population_study(dict.fromkeys(("2-2-1", "2-2-2-1"), 1.0))
    assert row_of(found, "C6")["verdict"] == "refuted"
    assert row_of(found, "C7", measure="solves")["verdict"] == "supported"


def test_a_population_has_no_claims_of_data_problems(population):
    """C1 to C3 are not measured on four samples, nor C8 where networks fail at any rate."""
    assert {row["claim"] for row in population.claims} == {"C6", "C7"}


def test_a_population_without_variants_counts_its_own_network():
    """Without variants the success of the problem's network is there."""
    rows = synthetic_outcomes(XOR, {4: [0.5]}, range(6), lambda _: 9.0, networks=3)
    found = analyse(XOR, "sgd", rows, seconds=seconds_of((4,), 4), blocks=[], options={})
    assert found.population.success.variant.tolist() == ["2-2-1"]


def test_registry_names_the_claims_measured_here():
    """C1 to C3 and C6 to C9, and six rules of thumb."""
    assert list(CLAIMS) == [
        *(f"C{k}" for k in (1, 2, 3, 6, 7, 8, 9)),
        *(f"R{k}" for k in range(1, 7)),
    ]


def test_variants_name_the_networks_that_the_claims_look_for():
    """The labels of C6 and C7 are those of the XOR study."""
    assert {"2-2-1", "2-2-2-1", "2-3-1", "2-4-1"} <= set(variants(XOR, "sgd"))


# The example that other tests read


@pytest.mark.parametrize("kind", ["digits", "notes"])
def test_the_example_has_the_shape_of_real_evidence(kind, evidence, population):
    """Every frame of the example has the columns that an analysis gives, and claims their keys."""
    example, real = example_evidence(kind), population if kind == "notes" else evidence
    for field in fields(real):
        mine, theirs = getattr(example, field.name), getattr(real, field.name)
        if isinstance(theirs, pd.DataFrame) and len(theirs):
            assert set(theirs.columns) == set(mine.columns), field.name
    assert set(example.claims[0]) == set(real.claims[0])
    first, second = example.recommendations[0], real.recommendations[0]
    assert list(first.ratios.columns) == list(second.ratios.columns)
    assert list(first.costs.columns) == list(second.costs.columns)
    if kind == "notes":
        for field in dataclasses.fields(real.population):
            theirs = getattr(real.population, field.name)
            if isinstance(theirs, pd.DataFrame):
                mine = getattr(example.population, field.name)
                assert set(theirs.columns) == set(mine.columns), field.name
