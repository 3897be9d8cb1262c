"""Synthetic evidence with the shapes and columns of a real study, for tests of what reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.analysis import outcomes
from bench.analysis.evidence import Evidence, Population, Recommendation
from bench.analysis.rules import rule_tables
from bench.analysis.stability import add_failures
from bench.problems import Problem, load_problem
from bench.problems.table import TableOptions, load_table
from bench.problems.xor import variants
from kernels import init_params

CAUSES = ("dead", "one unit", "symmetric", "plateau ln 2", "plateau one corner", "still falling")
WORDS = {"solved": "solved", **outcomes.CAUSES}


def _interval(name: str, values: Any, width: float = 1.12) -> dict[str, Any]:
    values = np.asarray(values, float)
    return {name: values, f"{name}_low": values / width, f"{name}_high": values * width}


def example_evidence(kind: str = "digits", problem: Problem | None = None) -> Evidence:
    """Return evidence as of a study of "digits" (18 seeds), "notes" or "xor" (512 networks a cell).

    With a problem, such as one of `own_table`, it is evidence about that one.
    """
    problem = problem or load_problem(kind)
    rng = np.random.default_rng(0)
    n = problem.n_train
    sizes = np.array(problem.batch_sizes)
    mean_batch = n / np.ceil(n / sizes)
    rates = 2.0 ** (np.arange(-12, 4) / 2)
    targets = problem.targets or (0.42, 0.21, 0.08)
    best = np.minimum(0.02 * sizes**0.7, 0.5)
    best = rates[np.abs(np.log(best[:, None] / rates)).argmin(axis=1)]
    epochs_at = np.maximum(1.4, 0.08 * mean_batch) * 1.5
    outcomes = _outcomes(problem, sizes, rates, best, epochs_at, rng)
    picks = pd.DataFrame(
        {
            "rule": "sgd",
            "batch_size": sizes,
            "mean_batch": mean_batch,
            "learning_rate": best,
            "reason": "least median time to the target",
            "at_edge": False,
            "median_examples": epochs_at * n,
            "failed_share": 0.0,
            "n_seeds": 6,
        }
    )
    arms = _arms(sizes, best)
    seconds = _seconds(sizes, mean_batch)
    summary = _summary(arms, targets, n, dict(zip(sizes, epochs_at, strict=True)), seconds)
    cells = _cells(sizes, rates, best, epochs_at, n)
    tuned = summary[(summary.protocol == "tuned") & (summary.target == targets[1])]
    programs = pd.concat(
        [
            pd.DataFrame(
                {
                    "program": name,
                    "batch_size": tuned.batch_size.to_numpy(),
                    "mean_batch": tuned.mean_batch.to_numpy(),
                    "learning_rate": tuned.learning_rate.to_numpy(),
                    "seconds_per_update": group.seconds_per_update.to_numpy(),
                    **_interval(
                        "seconds", group.seconds_per_update.to_numpy() * tuned.updates.to_numpy()
                    ),
                }
            )
            for name, group in seconds.groupby("program", sort=False)
        ],
        ignore_index=True,
    )
    population = _population(problem, rng) if problem.population else None
    return Evidence(
        problem=problem,
        rule="sgd",
        targets=targets,
        options={"seeds": 18, "base_batch_size": 32 if n > 32 else 2, "margin": 1.25}
        | ({"rounds": 2, "rounds_of": 6, "budget": 60.0} if problem.table else {}),
        outcomes=outcomes,
        picks=picks,
        arms=arms,
        summary=summary,
        cells=cells,
        stability=_stability(sizes, mean_batch, best),
        widths=pd.DataFrame(
            {
                "rule": "sgd",
                "batch_size": sizes,
                "mean_batch": mean_batch,
                **_interval("width", np.linspace(2.1, 3.4, len(sizes))),
                "from_rate": best / 4,
                "to_rate": best * 2,
            }
        ),
        thresholds=pd.DataFrame(
            [
                ("sgd", b, s, 8 * e, 2.0**1.5)
                for b, e in zip(sizes, best, strict=True)
                for s in (1, 2, 4, 5)
            ],
            columns=["rule", "batch_size", "seed", "threshold", "below"],
        ),
        noise=_noise(n, sizes, rng) if population is None else pd.DataFrame(),
        uphill=_uphill(n, rng) if population is None else pd.DataFrame(),
        sharpness=_sharpness(n, sizes, best) if population is None else pd.DataFrame(),
        theory=_theory(n, sizes) if population is None else pd.DataFrame(),
        seconds=seconds,
        programs=programs,
        bands=_bands(n, sizes, best, epochs_at),
        claims=_claims(kind, targets[1]),
        recommendations=_recommendations(sizes, best, programs),
        choices=_choices(problem, sizes, best, epochs_at) if population is None else pd.DataFrame(),
        powers=_powers(n, rng) if population is None else pd.DataFrame(),
        generalization=_generalization(problem, sizes, best, rng),
        population=population,
        **({} if population else _noise_scale(n)),
        **({} if population else _tradeoff(problem, targets, seconds)),
        **({} if population else _rules(outcomes, problem.n_train)),
        warnings=("At B = 1437 the pick is the largest rate tried.",) if kind == "digits" else (),
    )


class Run(NamedTuple):
    """Which run is asked about."""

    batch_size: int
    rate: float
    seed: int
    network: int


TARGET_FACTORS = (0.6, 1.0, 1.7)  # time to each of the three targets over the middle one's


def synthetic_outcomes(
    problem: Problem,
    rates: Mapping[int, Sequence[float]],
    seeds: Iterable[int],
    time: Callable[[Run], float],
    fails: Callable[[Run], bool] = lambda _: False,
    networks: int = 1,
) -> pd.DataFrame:
    """Return rows of outcomes with known times: `time(run)`.

    Parameters
    ----------
    problem
        For N.
    rates
        Learning rates of each batch size.
    seeds
        All of them run every rate.
    time
        Time to the middle target in examples, inf where it is not reached.
    fails
        Whether a run diverges.
    networks
        A seed.
    """
    rows = []
    for b, seed, network in product(rates, seeds, range(networks)):
        for rate in rates[b]:
            run = Run(b, rate, seed, network)
            diverged = fails(run)
            t = np.inf if diverged else time(run)
            rows.append(
                {
                    "rule": "sgd",
                    "batch_size": int(b),
                    "learning_rate": float(rate),
                    "seed": seed,
                    "network": network,
                    "role": "report" if seed % 3 else "tune",
                    "budget_examples": 30.0 * problem.n_train,
                    "updates_per_epoch": -(-problem.n_train // b),
                    "initial_loss": 2.6,
                    "final_loss": 90.0 if diverged else 0.02,
                    "final_score": 0.1 if diverged else 1.0,
                    "final_test_loss": 0.1,
                    "final_test_score": 0.97,
                    "best_test_score": 0.975,
                    "diverged": diverged,
                    "dead": False,
                    "newly_dead": False,
                    "stuck": False,
                    "cause": "diverged" if diverged else "",
                    "success": not diverged,
                    **{f"hit_{k}": t * factor for k, factor in enumerate(TARGET_FACTORS)},
                }
            )
    return add_failures(pd.DataFrame(rows))


def _outcomes(problem, sizes, rates, best, epochs_at, rng):  # type: ignore[no-untyped-def]
    optimum = dict(zip(sizes.tolist(), best, strict=True))
    epochs = dict(zip(sizes.tolist(), epochs_at, strict=True))

    def time(run: Run) -> float:
        slow = max(optimum[run.batch_size] / run.rate, 1)
        noise = np.exp(0.1 * rng.normal())
        return float(problem.n_train * epochs[run.batch_size] * slow * noise)

    return synthetic_outcomes(
        problem,
        dict.fromkeys(sizes.tolist(), rates),
        range(18 if problem.population is None else 4),
        time,
        lambda run: bool(run.rate / optimum[run.batch_size] > 6),
        networks=8 if problem.population else 1,
    )


def _arms(sizes: Any, best: Any) -> pd.DataFrame:
    rows = [("sgd", b, "tuned", np.nan, e) for b, e in zip(sizes, best, strict=True)]
    for base in (32 if 32 in sizes else 2, 1):
        e0 = best[list(sizes).index(base)]
        rows += [("sgd", b, "same", float(base), e0) for b in sizes]
        rows += [("sgd", b, "linear", float(base), e0 * b / base) for b in sizes]
        rows += [("sgd", b, "square root", float(base), e0 * (b / base) ** 0.5) for b in sizes]
    return pd.DataFrame(
        rows, columns=["rule", "batch_size", "protocol", "base_batch_size", "learning_rate"]
    )


def _seconds(sizes: Any, mean_batch: Any) -> pd.DataFrame:
    costs = {"batchbench": (1e-7, 1.5e-7), "scikit-learn": (1.2e-4, 1.3e-6)}
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "program": program,
                    "batch_size": sizes,
                    "mean_batch": mean_batch,
                    "seconds_per_update": c0 + c1 * mean_batch,
                    "low": 0.97 * (c0 + c1 * mean_batch),
                    "high": 1.04 * (c0 + c1 * mean_batch),
                    "c0": c0,
                    "c1": c1,
                }
            )
            for program, (c0, c1) in costs.items()
        ],
        ignore_index=True,
    )


def _summary(arms, targets, n, epochs_at, seconds):  # type: ignore[no-untyped-def]
    frames = []
    ours = seconds[seconds.program == "batchbench"].set_index("batch_size").seconds_per_update
    for k, target in enumerate(targets):
        rows = arms.copy()
        b = rows.batch_size
        mean_batch = n / np.ceil(n / b)
        tuned = arms[arms.protocol == "tuned"].set_index("batch_size").learning_rate
        ratio = (rows.learning_rate / b.map(tuned)).to_numpy()
        epochs = b.map(epochs_at).to_numpy() * (0.6, 1, 1.7)[k] * np.maximum(1 / ratio, 1)
        epochs = np.where((ratio > 6) | (epochs > 60), np.inf, epochs)
        reached = np.isfinite(epochs)
        rows["n_seeds"] = rows["n_runs"] = 12
        rows["target"] = target
        rows["mean_batch"] = mean_batch
        rows["success_rate"] = reached.astype(float)
        rows["success_low"] = np.where(reached, 0.74, 0.0)
        rows["success_high"] = np.where(reached, 1.0, 0.26)
        rows["n_undetermined"] = 0
        for name, values in (
            ("epochs", epochs),
            ("examples", epochs * n),
            ("updates", epochs * n / mean_batch),
            ("seconds", epochs * n / mean_batch * b.map(ours)),
            ("spread", np.where(reached, 0.09, np.inf)),
        ):
            rows = rows.assign(**_interval(name, values))
        rows["ert_examples"] = epochs * n
        rows["diverged_rate"] = rows["failed_rate"] = (ratio > 6).astype(float)
        rows["dead_rate"] = rows["stuck_rate"] = rows["newly_dead_rate"] = 0.0
        rows["largest_stable_learning_rate"] = b.map(tuned) * 5.6
        rows["smallest_unstable_learning_rate"] = b.map(tuned) * 5.9
        rows["final_loss"] = np.where(reached, 0.02, 90.0)
        rows["final_score"] = np.where(reached, 1.0, 0.1)
        rows["final_test_score"] = np.where(reached, 0.97, 0.1)
        rows["best_test_score"] = np.where(reached, 0.975, 0.1)
        rows["budget_epochs"] = 30.0
        frames.append(rows)
    return pd.concat(frames, ignore_index=True)


def _cells(sizes, rates, best, epochs_at, n):  # type: ignore[no-untyped-def]
    rows = []
    for b, e, epochs in zip(sizes, best, epochs_at, strict=True):
        for rate in rates:
            ratio = rate / e
            diverged, slow = ratio > 6, ratio < 1 / 16
            t = np.inf if diverged or slow else epochs * n * max(1 / ratio, 1)
            outcome = "diverged" if diverged else "slow" if slow else "solved"
            row = {
                "rule": "sgd",
                "batch_size": b,
                "learning_rate": rate,
                "n_seeds": 12,
                "n_runs": 12,
                **{k: float(v) for k, v in _interval("examples", t).items()},
                "epochs": t / n,
                "final_loss": 90.0 if diverged else 0.5 if slow else 0.02,
                "outcome": outcome,
            }
            for name in ("solved", "diverged", "dead", "stuck", "failed"):
                hit = name == outcome or (name == "failed" and diverged)
                row |= {name: float(hit), f"{name}_low": 0.74 * hit, f"{name}_high": 1.0}
                row[f"{name}_high"] = 1.0 if hit else 0.26
            rows.append(row)
    return pd.DataFrame(rows)


def _stability(sizes: Any, mean_batch: Any, best: Any) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "rule": "sgd",
                "batch_size": sizes,
                "mean_batch": mean_batch,
                "kind": kind,
                "stable": factor * best,
                "unstable": factor * 1.05 * best,
                "stable_share": 0.0,
                "stable_low": 0.0,
                "stable_high": 0.26,
                "unstable_share": 0.25,
                "unstable_low": 0.05,
                "unstable_high": 0.57,
                "n_seeds": 12,
            }
        )
        for kind, factor in (("diverged", 5.6), ("failed", 5.0))
    ]
    frames[0].loc[len(sizes) - 1, "unstable"] = np.inf
    return pd.concat(frames, ignore_index=True)


def _noise(n: int, sizes: Any, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for seed, state, b in product((1, 2, 4, 5), range(8), sizes):
        s2, g2 = 40.0 / (1 + state), 1.0 / (1 + state)
        predicted = s2 / b * (1 - b / n)
        snr = g2 / predicted if predicted else np.inf
        cosine = np.sqrt(snr / (1 + snr)) if predicted else 1.0
        rows.append(
            {
                "seed": seed,
                "state": state,
                "epochs": 1.2**state,
                "batch_size": b,
                "variance": predicted * np.exp(0.05 * rng.normal()),
                "predicted": predicted,
                "snr": snr,
                "cosine_low": cosine * 0.6,
                "cosine_median": cosine,
                "cosine_high": min(1.0, cosine * 1.2),
                "gradient_norm2": g2,
                "s2": s2,
            }
        )
    return pd.DataFrame(rows)


def _noise_scale(n: int) -> dict[str, pd.DataFrame]:
    """Noise scales that grow by 1.9 from state to state, up to states that identify none."""

    def scale(g2: float) -> dict[str, Any]:
        s2, signal = 40.0, g2 - 40.0 / n
        known = signal > 0
        return {
            "training_set": s2 / g2,
            "population": s2 / signal if known else np.nan,
            "low": s2 / (g2 * 1.2),
            "high": s2 / (signal - 0.2 * g2) if signal > 0.2 * g2 else np.inf,
            "identified": known,
            "s2": s2,
            "gradient_norm2": g2,
        }

    norms = 2.0 / 1.9 ** np.arange(8)
    states = [
        {"seed": seed, "state": k, "epochs": 1.2**k, **scale(g2)}
        for seed in (1, 2, 4, 5)
        for k, g2 in enumerate(norms)
    ]
    averages = [
        {"over": "seeds", "state": k, "epochs": 1.2**k, "n_states": 4, "n_seeds": 4, **scale(g2)}
        for k, g2 in enumerate(norms)
    ]
    run = {"over": "run", "state": np.nan, "epochs": 1.2**3.5, "n_states": 32, "n_seeds": 4}
    averages.append(run | scale(norms.mean()))
    return {"noise_scale": pd.DataFrame(states), "noise_average": pd.DataFrame(averages)}


def _uphill(n: int, rng: np.random.Generator) -> pd.DataFrame:
    arms = (("same", 1, 0.38), ("same", 32, 0.1), ("own", 1, 0.4), ("own", 32, 0.3), ("own", n, 0))
    return pd.DataFrame(
        [
            (states, b, 0.02, seed, state, 1.2**state, share * rng.uniform(0.8, 1.2))
            for (states, b, share) in arms
            for seed in (1, 2, 4, 5)
            for state in range(8)
        ],
        columns=["states", "batch_size", "learning_rate", "seed", "state", "epochs", "share"],
    )


def _sharpness(n: int, sizes: Any, best: Any) -> pd.DataFrame:
    """Full-batch runs that rise to the limit of their rate; tuned runs at 30% to 150% of theirs."""
    frames = []
    columns = ["states", "batch_size", "learning_rate", "seed", "updates", "sharpness", "limit"]
    updates = np.array([0, 1, 3, 10, 30, 100, 300])
    for factor, seed in product((0.25, 0.5, 1.0), (1, 2, 4)):
        rate = factor * best[-1]
        value = np.minimum((2.8 + 0.1 * seed) * 1.8 ** np.arange(7), 2.0 / rate)
        cells = ("full batch", n, rate, seed, updates, value, 2.0 / rate)
        frames.append(pd.DataFrame(dict(zip(columns, cells, strict=True))))
    for place, seed, share in product((0, len(sizes) // 2, -1), (1, 2, 4), (0.3, 0.6, 1.5)):
        limit = 2.0 / best[place]
        row = ("tuned", sizes[place], best[place], seed, 30, share * limit, limit)
        frames.append(pd.DataFrame([row], columns=columns))
    frame = pd.concat(frames, ignore_index=True)
    epochs = frame.updates / np.ceil(n / frame.batch_size)
    return frame.assign(epochs=epochs, examples=epochs * n, loss=0.1)


def _theory(n: int, sizes: Any) -> pd.DataFrame:
    """Limits that grow with the batch size up to that of the full batch."""
    return pd.DataFrame(
        {
            "batch_size": sizes,
            "seed": 1,
            "updates": 300,
            "loss": 0.004,
            "gradient_share": 0.01,
            "interpolating": True,
            "sharpness": 0.8,
            "limit_full": 2.5,
            "limit_mean_square": 2.5 / (1.0 + (n - sizes) / (sizes * n) * 40),
            "reason": "",
        }
    )


def _bands(n, sizes, best, epochs_at):  # type: ignore[no-untyped-def]
    frames = []
    for protocol, base in (("tuned", np.nan), ("same", 32.0 if n > 32 else 2.0)):
        for b, e, t in zip(sizes, best, epochs_at, strict=True):
            epochs = np.concatenate([[0.0], np.geomspace(0.25, 30, 35)])
            median = 2.6 / (1 + 12 * epochs / t)
            frames.append(
                pd.DataFrame(
                    {
                        "protocol": protocol,
                        "base_batch_size": base,
                        "batch_size": b,
                        "learning_rate": e,
                        "examples": epochs * n,
                        "updates": epochs * np.ceil(n / b),
                        "epochs": epochs,
                        "q10": median * 0.8,
                        "q25": median * 0.9,
                        "q50": median,
                        "q75": median * 1.1,
                        "q90": median * 1.25,
                        "n_seeds": 12,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def _claims(kind: str, target: float) -> list[dict[str, Any]]:
    def row(claim: str, statement: str, measure: str, verdict: str, effect: float, **more: Any):  # type: ignore[no-untyped-def]
        return {
            "claim": claim,
            "statement": statement,
            "measure": measure,
            "axis": "",
            "program": "",
            "protocol": "tuned",
            "base_batch_size": None,
            "target": target,
            "verdict": verdict,
            "effect": effect,
            "low": effect * 0.9,
            "high": effect * 1.1,
            "n_seeds": 12,
            "definition": "What was measured, in plain words.",
            "kind": "ratio",
            "margin": 1.25,
            "batch_size": 1,
            "variant": None,
            "against": 32,
            "n_undetermined": 0,
            "p_value": 0.001,
            "p_holm": 0.004,
            "other_targets": {0.42: verdict, 0.08: verdict},
            "note": "",
        } | more

    c8 = [
        row("C8", "A learning rate that is too large overshoots", "overshoot", "supported", np.inf)
        | {"low": 3.0, "high": np.inf, "against": None, "axis": "epochs"},
        row("C8", "A learning rate that is too small learns slowly", "slow", "supported", 3.9)
        | {"against": None, "axis": "epochs"},
    ]
    if kind in ("notes", "xor"):
        deep = {"kind": "difference", "margin": 0.0, "target": None, "variant": "2-2-2-1"}
        return [
            row("C6", "The 2-2-1 network does not always learn XOR", "success", "supported", 0.62)
            | {"kind": "share below", "margin": 0.99, "target": None, "against": None}
            | {"variant": "2-2-1"},
            row("C7", "An extra hidden layer of 2 solves XOR", "solves", "refuted", 0.71)
            | deep
            | {"kind": "share", "margin": 0.99, "against": None},
            row("C7", "An extra hidden layer of 2 makes it easier", "helps", "supported", 0.09)
            | deep
            | {"against": "2-2-1"},
            row("C7", "Depth helps more than width", "depth against width", "refuted", -0.15)
            | deep
            | {"against": "2-4-1", "low": -0.165, "high": -0.135},
            *c8,
        ]
    noisy = "Updating after each sample is noisy"
    waste = "Updating after each sample needs more updates of the weights"
    unstable = "Updating after each sample hurts the stability of convergence"
    note = "The measures contradict each other."
    return [
        row("C1", noisy, "uphill share, same states", "supported", 0.28)
        | {"kind": "difference", "margin": 0.05},
        row("C1", noisy, "uphill share, own states", "undecided", 0.06)
        | {"kind": "difference", "margin": 0.05},
        row("C2", waste, "time-to-target", "supported", 7.6, axis="updates"),
        row("C2", waste, "time-to-target", "no material difference", 1.02, axis="epochs"),
        row("C2", waste, "time-to-target", "undecided", 1.2, axis="seconds", program="batchbench"),
        row("C2", waste, "time-to-target", "supported", 21.0, axis="seconds")
        | {"program": "scikit-learn"},
        row("C3", unstable, "usable width", "supported", 1.2, note=note)
        | {"kind": "difference", "margin": 0.5},
        row("C3", unstable, "failed runs at the same rate", "supported", 0.9, note=note)
        | {"kind": "difference", "margin": 0.1, "protocol": "same", "base_batch_size": 32},
        row("C3", unstable, "spread", "undecided", 1.1, note=note),
        row("C3", unstable, "threshold", "supported", 8.0, note=note),
        row("C3", unstable, "threshold / B", "refuted", 0.25, note=note),
        *c8,
        *_rules_of_thumb(row),
    ]


def _rules_of_thumb(row: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of C9 and of R1 to R4."""
    within: dict[str, Any] = {"kind": "within", "axis": "epochs"}
    ours = within | {"axis": "seconds", "program": "scikit-learn"}
    reach = "Linear scaling from 32: within 1.25 times tuned from batch size 8 to 64."
    linear = within | {"protocol": "linear", "base_batch_size": 32, "note": reach}
    small = {"kind": "difference", "margin": 0.01}
    beside = {"axis": "seconds", "target": None, "batch_size": 31}
    after, best = "Updating after each sample costs no more", "time against the best"
    default, scale = "A batch size of 32 is a safe default", "Scale the learning rate linearly"
    general, powers = "Smaller batches generalize better", "Powers of two are faster"
    return [
        row("C9", after, best, "supported", 1.02, against=8, **within),
        row("C9", after, best, "refuted", 21.0, **ours),
        row("R1", default, "time at 32", "undecided", 1.2, batch_size=32, against=8, **within),
        row("R1", default, "time at 32", "supported", 1.0, batch_size=32, **ours),
        row("R2", scale, "linear scaling", "supported", 1.1, batch_size=64, **linear),
        row("R2", scale, "linear scaling", "refuted", np.inf, batch_size=512, **linear)
        | {"low": 3.0, "high": np.inf},
        row("R3", general, "score at equal training loss", "supported", 0.02, **small),
        row("R3", general, "best score", "undecided", 0.01, **small),
        row("R4", powers, "seconds per sample", "supported", 1.6, program="scikit-learn", **beside),
        row("R4", powers, "seconds per sample", "no material difference", 1.01, **beside)
        | {"program": "batchbench", "batch_size": 100, "against": "64 and 128"},
    ]


def _recommendations(sizes, best, programs):  # type: ignore[no-untyped-def]
    rates = {int(b): float(e) for b, e in zip(sizes, best, strict=True)}
    middle = len(sizes) // 2
    chosen = tuple(int(b) for b in sizes[max(middle - 2, 0) : middle + 1])
    b = chosen[-1]
    ratios = pd.DataFrame(
        {
            "batch_size": sizes,
            "learning_rate": best,
            "ratio": 1 + 0.6 * np.abs(np.log2(sizes / b)),
            "low": 1 + 0.5 * np.abs(np.log2(sizes / b)),
            "high": 1 + 0.7 * np.abs(np.log2(sizes / b)),
            "n_undetermined": 0,
            "in_set": [int(s) in chosen for s in sizes],
        }
    )
    costs = pd.DataFrame(
        [
            (bf, rf, int(b * bf), rates[b] * rf, ratio, ratio * 0.9, ratio * 1.1)
            for bf, rf in product((0.5, 1.0, 2.0), repeat=2)
            for ratio in [1 + abs(np.log2(bf)) * 0.3 + abs(np.log2(rf)) * 0.5]
        ],
        columns=[
            "batch_factor", "rate_factor", "batch_size", "learning_rate", "ratio", "low", "high",
        ],
    )  # fmt: skip
    names = [("epochs", ""), *(("seconds", p) for p in programs.program.unique())]
    return [
        Recommendation(
            axis=axis,
            program=program,
            best=b,
            batch_sizes=chosen,
            learning_rates=rates,
            smallest=chosen[0],
            cheapest=b,
            runner_up=chosen[0],
            ratios=ratios,
            costs=costs,
            sentence=f"Batches of {chosen[0]} to {b} cannot be told apart.",
        )
        for axis, program in names
    ]


def _choices(problem: Problem, sizes: Any, best: Any, epochs_at: Any) -> pd.DataFrame:
    place = len(sizes) // 2
    scores = {"rmse": (310.0, 620.0, 295.0)} if not problem.network.is_classifier else {
        "accuracy": (0.93, 0.61, 0.95), "balanced accuracy": (0.71, 1 / 3, 0.78),
    }  # fmt: skip
    if not problem.table:
        scores = dict([*scores.items()][:1])
    n = problem.n_train
    return pd.DataFrame(
        [
            {
                "batch_size": int(sizes[place]),
                "learning_rate": float(best[place]),
                "n_seeds": 12,
                **{k: float(v) for k, v in _interval("examples", epochs_at[place] * n).items()},
                "examples_q90": 1.3 * epochs_at[place] * n,
                "score": score,
                "unit": problem.table.target.name if problem.table and score == "rmse" else "",
                "baseline": baseline,
                **{k: float(v) for k, v in _interval("at_target", at_target, 1.01).items()},
                **{k: float(v) for k, v in _interval("best", at_best, 1.01).items()},
                "best_examples": 12.0 * n,
                "still_improving": score == "rmse",
            }
            for score, (at_target, baseline, at_best) in scores.items()
        ]
    )


def _powers(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Seconds per sample, 1.6 times as long beside powers of two in one program, in nine rounds."""
    rows = [
        (program, b, number, cost * beside * np.exp(0.03 * rng.normal()))
        for program, cost, other in (("batchbench", 2e-7, 1.0), ("scikit-learn", 5e-6, 1.6))
        for b in (31, 32, 33, 64, 100, 127, 128)
        if b <= n / 2
        for number in range(9)
        for beside in [1.0 if b in (32, 64, 128) else other]
    ]
    return pd.DataFrame(rows, columns=["program", "batch_size", "round", "seconds_per_sample"])


def _generalization(problem: Problem, sizes: Any, best: Any, rng: Any) -> pd.DataFrame:
    """Accuracies that fall by a point with each factor 4 of the batch size, or rising errors."""
    if not problem.has_test:
        return pd.DataFrame()
    rows = []
    for place, (b, e) in enumerate(zip(sizes, best, strict=True)):
        for seed in (s for s in range(18) if s % 3):
            worse = 0.005 * place + 0.004 * rng.normal()
            score = 0.96 - worse if problem.network.is_classifier else 0.5 + worse
            late = 0.01 if problem.network.is_classifier else -0.01
            rows.append((b, e, seed, score - late, score, score + late / 2, score + late, 12000))
    columns = ["batch_size", "learning_rate", "seed", "at_0", "at_1", "at_2", "best"]
    return pd.DataFrame(rows, columns=[*columns, "best_examples"])


def _rules(outcomes, n):  # type: ignore[no-untyped-def]
    """Momentum and both Adams at every other batch size: faster the larger the batch."""
    sizes = sorted(set(outcomes.batch_size))
    outcomes = outcomes[outcomes.learning_rate.isin(np.unique(outcomes.learning_rate)[::4])]
    frames = [outcomes]
    for name, most in (("momentum", 0.4), ("nesterov", 0.35), ("adam", 0.3)):
        mine = outcomes[outcomes.batch_size.isin([*sizes[:-1:2], sizes[-1]])].assign(rule=name)
        factor = most ** (np.log(mine.batch_size) / np.log(n))
        hits = {hit: mine[hit] * factor for hit in ("hit_0", "hit_1", "hit_2")}
        frames.append(mine.assign(**hits, learning_rate=mine.learning_rate / 8))
    frames.append(frames[-1].assign(rule="adam_half_life"))
    table, runs = rule_tables(pd.concat(frames, ignore_index=True), n)
    return {"rules": table, "rule_runs": runs}


def _tradeoff(problem, targets, seconds):  # type: ignore[no-untyped-def]
    """One target of each reading; what starting an update costs as in `seconds`."""
    n = problem.n_train
    readings = ("not hyperbolic", "hyperbolic", "not identified")
    rows = []
    for target, reading, factor in zip(targets, readings, TARGET_FACTORS, strict=True):
        known = reading != "not identified"
        leads = 17.5 if reading == "hyperbolic" else 35.0
        rows.append(
            {
                "target": target,
                **_interval("s_min", 0.12 * n * factor),
                **_interval("e_min", 2.1 * n * factor),
                "b_crit": 17.5 if known else np.nan,
                "b_crit_low": 14.0,
                "b_crit_high": 21.0 if known else np.inf,
                "identified": known,
                "p_lack_of_fit": {"not hyperbolic": 0.0005}.get(reading, 0.4),
                "reading": reading,
                "reason": "" if reading == "hyperbolic" else "why not",
                **_interval("model_free", 35.0),
                "model_free_reason": "",
                **_interval("critical", leads),
                "critical_by": "hyperbola" if leads == 17.5 else "doubled examples",
                "note": "",
                "n_arms": len(problem.batch_sizes),
                "left_out": "",
                "n_seeds": 12,
            }
        )
    costs = seconds.drop_duplicates("program")[["program", "c0", "c1"]].reset_index(drop=True)
    closed = np.sqrt(17.5 * costs.c0 / costs.c1)
    fastest = costs.assign(
        worst_deviation=0.06,
        worst_batch_size=1,
        reading="hyperbolic",
        **_interval("closed_form", closed),
        clipped="",
        **_interval(
            "closed_form_seconds", (0.12 * n + 2.1 * n / closed) * (costs.c0 + costs.c1 * closed)
        ),
        measured=float(problem.batch_sizes[1]),
        measured_low=1.0,
        measured_high=float(problem.batch_sizes[2]),
        **_interval("measured_seconds", 0.01),
        n_seeds=12,
    )
    growth = pd.DataFrame(
        [
            ("all", 6, 0.52, 0.47, 0.55, 1, n),
            ("below", 4, 0.93, 0.7, 1.1, 1, 16),
            ("above", 2, 0.02, -0.1, 0.21, 32, n),
        ],
        columns=[
            "part", "n_arms", "slope", "slope_low", "slope_high", "from_batch_size",
            "to_batch_size",
        ],
    )  # fmt: skip
    growth = growth.assign(critical=17.5, critical_by="hyperbola", left_out="", n_seeds=6)
    return {"tradeoff": pd.DataFrame(rows), "fastest": fastest, "rate_growth": growth}


LABELS = ("None", 'Ad"elie', "<b>Gentoo</b>")  # of the classes of `own_table`
HOSTILE_COLUMN = "mass\n'\"\\ {{ 7 * 7 }} </script><b>g"
"""Name of a column of `own_table` that tries to break programs and pages."""


def own_table(folder: Path, target: str = "species", **options: Any) -> Problem:
    """Return a problem made of a CSV file with gaps, texts, dates and booleans.

    Parameters
    ----------
    folder
        Where penguins.csv is written to.
    target
        "species": three classes, one of them rare; "price": a quantity around 5,000.
    options
        Further ones of `TableOptions`.
    """
    rng = np.random.default_rng(0)
    n = 400
    species = rng.choice(3, n, p=[0.6, 0.32, 0.08])
    mass = rng.normal(3700 + 500 * species, 300)
    columns = {
        "bill length": np.where(rng.random(n) < 0.05, "NA", (mass / 90).round(1).astype(str)),
        HOSTILE_COLUMN: mass.round(1),
        "island": rng.choice(["Biscoe", "Dream", "Torgersen", ""], n, p=[0.5, 0.3, 0.15, 0.05]),
        "town": rng.choice(["A", "B", *"CDEFGH"], n, p=[0.5, 0.44, *[0.01] * 6]),
        "egg seen": pd.date_range("2007-11-11", periods=n).strftime("%d.%m.%Y"),
        "tagged": rng.choice(["TRUE", "false", "?"], n, p=[0.5, 0.45, 0.05]),
        "notes": [f"bird {k} of {n}" for k in range(n)],
        "price": (5000 + mass * rng.normal(1, 0.1, n)).round(2),
        "species": np.array(LABELS)[species],
    }
    path = folder / "penguins.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return load_table(path, TableOptions(target=target, **options))


def _population(problem: Problem, rng: np.random.Generator) -> Population:
    counts, success, by_batch, causes, longer = [], [], [], [], []
    for i, (variant, made) in enumerate(variants(problem, "sgd").items()):
        p = (0.62, 0.70, 0.80, 0.92, 0.99, 0.5, 0.4)[i % 7]
        parts = rng.dirichlet(np.ones(len(CAUSES))) * (1 - p)
        for b, rate, seed in product((1, 2, 4), (0.25, 0.5, 1.0), range(4)):
            split = rng.multinomial(256, [p, *parts, 0.0])
            counts.append(
                {
                    "variant": variant,
                    "rule": "sgd",
                    "batch_size": b,
                    "learning_rate": rate,
                    "seed": seed,
                    "role": "report" if seed % 3 else "tune",
                    "n": 256,
                    "solved": split[0],
                    **dict(zip((*CAUSES, "diverged"), split[1:], strict=True)),
                    "other": 0,
                }
            )
        row = {
            "variant": variant,
            "factor": made.factor,
            "level": made.level,
            "n_params": made.problem.network.n_params,
            "widths": "-".join(map(str, made.problem.network.widths)),
            "activation": made.problem.network.activation,
            "scheme": made.problem.scheme,
            "rule": made.rule,
            "batch_size": 4,
            "learning_rate": 0.5,
            "n_seeds": 2,
            "n_runs": 512,
            "success": p,
            "low": p - 0.04,
            "high": min(1.0, p + 0.04),
        }
        success.append(row)
        by_batch += [row | {"batch_size": b, "success": p * (1 - 0.02 * b)} for b in (1, 2, 4)]
        for cause, share in zip(("solved", *CAUSES), (p, *parts), strict=True):
            causes.append(
                {
                    "variant": variant,
                    "cause": cause,
                    "label": WORDS[cause],
                    "share": share,
                    "low": share * 0.9,
                    "high": share * 1.1,
                    "n": int(512 * share),
                }
            )
        for cause, share in zip(("any", *CAUSES), (1 - p, *parts), strict=True):
            failed, learned = int(512 * share), 0.0 if cause == "dead" else 0.25
            about = {"variant": variant, "cause": cause, "label": WORDS.get(cause, "failed")}
            bounds = {"share": learned, "low": learned * 0.8, "high": learned * 1.2 + 0.01}
            longer.append(about | {"n": failed, "solved_longer": int(learned * failed)} | bounds)
    exact = np.array([1, 1, 1, 1, 0, -1, 1, -2, -0.5]) * 8.0
    return Population(
        counts=pd.DataFrame(counts),
        success=pd.DataFrame(success),
        by_batch_size=pd.DataFrame(by_batch),
        causes=pd.DataFrame(causes),
        longer=pd.DataFrame(longer if problem.longer > 1 else []),
        networks={"solved": exact, "plateau one corner": init_params(problem.network, 3)},
    )
