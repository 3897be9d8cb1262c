"""The quality gate: what is the same, what only rounding changes, what is an error, what learns."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.speed.compare import probes, quality
from bench.speed.compare.child import Child, answer
from bench.speed.compare.measure import HEAD, SideProcess
from bench.speed.compare.quality import Gate, Outcome, Row, compare_studies, judge
from bench.speed.compare.sides import ROOT, Side
from bench.speed.process import Process

QUICK = (
    "initial parameters, float64",
    "orders and grids",
    "shapes",
    "refusals",
)  # nothing is compiled
TRAINED = "one run, SGD, float32"
Study = dict[str, NDArray[Any]]


def ask(names: Sequence[str]) -> dict[str, Outcome]:
    """What the kernels of this process answer, as a child would hand it over."""
    return {name: answer(Child(), "quality", (name,)) for name in names}


def row_of(gate: Gate, name: str) -> Row:
    """The row of a name."""
    (row,) = (row for row in gate.rows if row.name == name)
    return row


# Probes


def test_a_side_is_identical_to_itself() -> None:
    """The same kernels, asked twice, agree to the bit, studies too, and pass."""
    names = (*QUICK, TRAINED, "one run, diverging", "SGD, B=8")
    gate = judge(ask(names), ask(names))
    assert {row.verdict for row in gate.rows} == {"identical"}
    assert gate.passed
    assert [row.name for row in gate.table()] == ["probes: 6", "whole studies: 1"]


def test_other_roundings_are_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training step by step in place of look-ahead rounds otherwise, and is equal to rounding."""
    base = ask([TRAINED])
    monkeypatch.setattr(probes.kernels, "train", partial(probes.kernels.train, look_ahead=False))
    row = row_of(judge(base, ask([TRAINED])), TRAINED)
    assert row.verdict == "equal to rounding"
    assert row.effect > 0


def changed(change: Any) -> Row:
    """The row of a probe whose trained parameters are changed on HEAD's side."""
    base, head = ask([TRAINED]), ask([TRAINED])
    arrays = head[TRAINED][1]["arrays"]
    arrays["B=1 params"] = change(arrays["B=1 params"])
    return row_of(judge(base, head), TRAINED)


def test_a_unit_in_the_last_place_per_update_is_rounding() -> None:
    """46 updates that each move every parameter by one unit in its last place are rounding."""
    moved = changed(lambda params: params + 46 * np.spacing(params))
    assert moved.verdict == "equal to rounding"
    assert 1 <= moved.effect <= 46


@pytest.mark.parametrize(
    "change",
    [
        lambda params: params * np.float32(1.01),
        lambda params: np.where(np.arange(params.size) == 7, np.nan, params).astype(params.dtype),
        lambda params: params.astype(np.float64),
        lambda params: params[:-1],
    ],
    ids=["1%", "a NaN", "another dtype", "another shape"],
)
def test_what_no_rounding_explains_is_different(change: Any) -> None:
    """Parameters off by 1%, a NaN, another dtype or shape are different."""
    assert changed(change).verdict == "different"


@contextmanager
def checkout() -> Iterator[Process]:
    """The checkout's kernels, compiled as they are for other tests, in a process of their own."""
    process = Process(["bench.speed.compare.child", str(ROOT)])
    try:
        yield process
    finally:
        process.__exit__()


def planted(folder: Path, file: str, old: str, new: str) -> Side:
    """A copy of the kernels with an error."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "kernels", folder / "kernels", ignore=ignore)
    text = (folder / "kernels" / file).read_text()
    assert text.count(old) == 1
    (folder / "kernels" / file).write_text(text.replace(old, new))
    return Side("planted", "planted", folder)


@pytest.mark.parametrize(
    ("names", "file", "old", "new"),
    [
        (
            QUICK[:2],
            "network.py",
            "np.sqrt(2.0 / n_in) * ndtri",
            "np.sqrt(1.0 / n_in) * ndtri",
        ),
        (
            ("2-2-1 unrolled, float32",),
            "unrolled.py",
            "scale = _times(eta, -1.0 / count)",
            "scale = _times(eta, -1.0 / size)",
        ),
    ],
    ids=["initial parameters", "a ragged batch"],
)
def test_a_planted_error_is_a_regression(
    names: tuple[str, ...],
    file: str,
    old: str,
    new: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kernels with an error, in a process of their own, do not pass; the rest is the same."""
    monkeypatch.setattr(quality, "names", lambda: names)
    told: list[str] = []
    head = planted(tmp_path, file, old, new)
    with checkout() as one, SideProcess(HEAD, head) as other:
        gate = quality.gate(one, other, accept_different=False, tell=told.append)
    assert told == list(names)
    assert row_of(gate, names[0]).verdict == "different"
    assert [row.name for row in gate.regressions] == [names[0]]
    assert not gate.passed


def test_a_side_that_lacks_a_rule_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What BASE has not is only in HEAD and passes; what HEAD has lost does not, unless meant."""
    names = ("orders and grids", "Adam, B=1, float64")
    whole: dict[str, Outcome] = {**ask(names[:1]), names[1]: ("done", {"kind": "probe"})}
    monkeypatch.delattr(probes.kernels, "Adam")
    lacking = ask(names)
    assert lacking[names[1]][0] == "lacking"
    gained = judge(lacking, whole)
    assert row_of(gained, names[1]).verdict == "only in HEAD"
    assert "Adam" in row_of(gained, names[1]).note
    assert gained.passed
    lost = judge(whole, lacking)
    assert row_of(lost, names[1]).verdict == "only in BASE"
    assert not lost.passed
    assert not judge(whole, lacking, accept_different=True).passed
    assert row_of(judge(lacking, lacking), names[1]).verdict == "in neither"


def test_a_crash_is_a_failure_and_no_verdict() -> None:
    """A side that breaks down neither passes nor is a regression, also where changes are meant."""
    whole = ask(QUICK[:1])
    gate = judge(whole, {QUICK[0]: ("failed", "IndexError")}, accept_different=True)
    assert [row.note for row in gate.failed] == ["HEAD: IndexError"]
    assert not gate.regressions
    assert not gate.passed


def test_kernels_that_cannot_be_imported_are_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong in them is told, with its line."""
    monkeypatch.setattr(quality, "names", lambda: QUICK[:1])
    head = planted(tmp_path, "network.py", "LEAKY_SLOPE = 0.01", "LEAKY_SLOPE = ")
    with checkout() as one, SideProcess(HEAD, head) as other:
        gate = quality.gate(one, other, accept_different=False, tell=lambda _: None)
    assert "HEAD: SyntaxError" in gate.failed[0].note


# Studies


SEEDS, BUDGET = 36, 2000.0


def simulated(
    rng: np.random.Generator | None, tau: NDArray[Any], ratio: float, stable: float = 1.0
) -> Study:
    """Losses that fall as exp(-updates / tau), tau by seed x ratio x noise of 10%.

    Rates are 0.25 to 8 in steps of a factor 2; the best is 1, at twice `stable` all diverge.
    """
    updates = np.unique(np.geomspace(1, BUDGET, 60).astype(int)).astype(float)
    updates = np.concatenate([[0.0], updates])
    rates = 2.0 ** np.arange(-2, 4)
    pace = tau * ratio * (1.0 if rng is None else np.exp(0.1 * rng.standard_normal(len(tau))))
    slow = np.abs(np.log2(rates)) + 1.0
    loss = 2.0 * np.exp(-updates / (pace[:, None, None] * slow[:, None]))
    diverged = np.broadcast_to(rates > 2.0 * stable, (len(tau), len(rates)))
    loss = np.where(diverged[..., None] & (updates > 0), np.inf, loss)
    return {
        "loss": loss,
        "diverged": diverged.copy(),
        "updates": updates,
        "rates": rates,
        "constant": np.array(1.4),
        "bits": np.zeros(8, np.uint8),
    }


def verdicts(base: Study, head: Study) -> dict[str, str]:
    """Verdicts of a study by measure."""
    return {
        row.name.removeprefix("s: "): row.verdict for row in compare_studies({"s": (base, head)})
    }


def drawn(rng: np.random.Generator) -> NDArray[Any]:
    """Paces that differ by 20% from seed to seed."""
    return np.asarray(300.0 * np.exp(0.2 * rng.standard_normal(SEEDS)))


@pytest.mark.parametrize(("ratio", "verdict"), [(1.3, "worse"), (1 / 1.3, "better")])
def test_a_third_more_or_fewer_updates_are_found(ratio: float, verdict: str) -> None:
    """1.3 times as many updates are worse, 1.3 times fewer are better, in 20 of 20 simulations."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        tau = drawn(rng)
        found = verdicts(simulated(None, tau, 1.0), simulated(rng, tau, ratio))
        assert found["updates to target"] == verdict


def test_equal_learning_is_seldom_worse() -> None:
    """Where both sides learn alike but for noise, at most 5% of tables hold any "worse"."""
    false, n = 0, 200
    for seed in range(n):
        rng = np.random.default_rng(seed)
        tau = drawn(rng)
        false += "worse" in verdicts(simulated(rng, tau, 1.0), simulated(rng, tau, 1.0)).values()
    assert false <= 0.05 * n


def test_learning_that_differs_by_rounding_is_no_material_difference() -> None:
    """Trajectories a thousandth apart are no material difference in what they reach."""
    tau = drawn(np.random.default_rng(0))
    found = verdicts(simulated(None, tau, 1.0), simulated(None, tau, 1.001))
    assert found["updates to target"] == "no material difference"
    assert found["stable rate"] == found["diverged"] == "identical"


def test_the_interval_holds_the_ratio() -> None:
    """The effect is HEAD's updates over BASE's, by seed: 1.3 lies in its interval."""
    rng = np.random.default_rng(1)
    tau = drawn(rng)
    rows = compare_studies({"s": (simulated(None, tau, 1.0), simulated(rng, tau, 1.3))})
    assert rows[0].low < 1.3 < rows[0].high
    assert rows[0].n == 24  # seeds that report: two of three


def test_half_the_stable_rate_is_worse() -> None:
    """Rates that BASE bears and HEAD does not are worse, and the other way round better."""
    tau = drawn(np.random.default_rng(0))
    base, head = simulated(None, tau, 1.0), simulated(None, tau, 1.0, stable=0.5)
    assert verdicts(base, head)["stable rate"] == "worse"
    assert verdicts(head, base)["stable rate"] == "better"


def test_runs_that_all_diverge_are_worse_in_every_measure() -> None:
    """Where no rate works any more, each measure says so."""
    tau = drawn(np.random.default_rng(0))
    base, head = simulated(None, tau, 1.0), simulated(None, tau, 1.0, stable=0.01)
    assert set(verdicts(base, head).values()) == {"worse"}


def test_learning_alone_judges_changes_that_are_meant() -> None:
    """With accepted differences a different probe passes, worse learning does not."""
    tau = drawn(np.random.default_rng(0))
    probe = {"kind": "probe", "dtype": "float64", "terms": 1.0, "own": False}
    one, two = ({**probe, "arrays": {"w": np.array([value])}} for value in (1.0, 2.0))
    good, bad = ({"kind": "study", "arrays": simulated(None, tau, ratio)} for ratio in (1.0, 1.3))
    base: dict[str, Outcome] = {"p": ("done", one), "s": ("done", good)}
    meant: dict[str, Outcome] = {"p": ("done", two), "s": ("done", good)}
    worse: dict[str, Outcome] = {"p": ("done", two), "s": ("done", bad)}
    assert not judge(base, meant).passed
    assert judge(base, meant, accept_different=True).passed
    assert not judge(base, worse, accept_different=True).passed
