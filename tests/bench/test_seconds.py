"""Seconds per update of programs, that they do the same work, flops, and the fma peak."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.errors import InputError
from bench.problems import Problem, load_problem, with_options
from bench.speed import process, seconds
from bench.speed.flops import forward_flops, step_flops
from bench.speed.peak import CHAINS, fma_peak, multiply_add, vector_lanes
from bench.speed.peers import PEERS, CannotDoError, Params, Peer, Work, start_of
from bench.speed.seconds import AGREEMENT, Measurement, distance, linear_cost, measure_seconds
from bench.speed.subject import Subject
from bench.speed.worker import Trainer, answer
from kernels import Network

SLOW = "PyTorch compiled"  # tests/peers tries it on less
OTHERS = [
    name for name, peer in PEERS.items() if peer.installed and name not in ("batchbench", SLOW)
]
PAIRS = [("sigmoid", "bce"), ("sigmoid", "half_mse"), ("softmax", "ce"), ("linear", "half_mse")]


def small_work(network: Network, updates: int = 20, batch_size: int = 3) -> Work:
    """Training of a network on 11 samples of noise, with a ragged order of its own."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((11, network.n_inputs), dtype=np.float32)
    if network.output == "softmax":
        y = rng.integers(0, network.n_outputs, 11)
    elif network.output == "sigmoid":
        y = rng.integers(0, 2, (11, network.n_outputs))
    else:
        y = rng.standard_normal((11, network.n_outputs), dtype=np.float32)
    params = rng.standard_normal(network.n_params, dtype=np.float32) / 2
    order = rng.integers(0, 11, (updates, batch_size))
    return Work(network, params, X, y, order, learning_rate=0.1)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu"])
@pytest.mark.parametrize("pair", PAIRS)
def test_programs_do_the_same(name: str, activation: str, pair: tuple[str, str]) -> None:
    """A program ends at our parameters, to rounding, or says that it has no such training."""
    outputs = 1 if pair == ("sigmoid", "bce") else 3
    work = small_work(Network((4, 5, 3, outputs), activation, *pair))
    if name == "scikit-learn" and (activation == "leaky_relu" or pair == PAIRS[1]):
        with pytest.raises(CannotDoError, match="has no"):
            PEERS[name].prepare(work)
        return
    ours = PEERS["batchbench"].prepare(work)(2, False)
    run = PEERS[name].prepare(work)
    assert distance(run(2, False), ours, work.params) < AGREEMENT / 10
    assert distance(run(1, False), ours, work.params) > 100 * AGREEMENT


@pytest.mark.parametrize("name", OTHERS)
def test_programs_without_hidden_layer_do_the_same(name: str) -> None:
    """Logistic regression ends at our parameters too."""
    work = small_work(Network((4, 1)))
    ours = PEERS["batchbench"].prepare(work)(2, False)
    assert distance(PEERS[name].prepare(work)(2, False), ours, work.params) < AGREEMENT / 10


def test_own_order_shuffles_where_a_program_does() -> None:
    """scikit-learn visits the rows in an order of its own when it is timed, not when compared."""
    work = small_work(Network((4, 5, 3), output="softmax", loss="ce"))
    run = PEERS["scikit-learn"].prepare(work)
    assert (run(1, False) == run(1, False)).all()
    assert (run(1, True) != run(1, False)).any()


def test_all_programs_get_the_same_work() -> None:
    """The work at a batch size is seed 0's start and its order, cut into whole batches."""
    problem = load_problem("iris")
    work = Subject.of(problem).work(32)
    assert work.order.shape == (64, 32)
    assert set(np.unique(work.order)) == set(range(problem.n_train))
    assert (np.sort(work.order.ravel()[: problem.n_train]) == np.arange(problem.n_train)).all()
    assert (work.params == start_of(problem)).all()


def test_cost_of_an_update_is_fitted() -> None:
    """Seconds on a line c0 + c1 B give c0 and c1; neither is ever negative."""
    sizes = np.array([1, 4, 16, 64])
    assert linear_cost(sizes, 3e-6 + 2e-8 * sizes) == pytest.approx((3e-6, 2e-8))
    assert linear_cost(sizes, 1e-8 * sizes**1.2)[0] == 0.0


# Programs that are made up, in place of processes


class FakeWorker:
    """Ends at given parameters; takes seconds that grow round by round."""

    def __init__(self, params: Callable[[int], Params]) -> None:
        self.params, self.rounds = params, 0

    def prepare(self, batch_size: int) -> tuple[Params, float]:
        """The parameters, after a start of half a second."""
        return self.params(batch_size), 0.5

    def measure(self, _: int) -> float:
        """One second more than the round before."""
        self.rounds += 1
        return float(self.rounds)


def trained(problem: Problem, apart: float = 0.0, beyond: int = 10**9) -> Callable[[int], Params]:
    """Parameters 1 away from the start, a share `apart` off it above a batch size."""

    def params(batch_size: int) -> Params:
        start = start_of(problem)
        step = np.full_like(start, len(start) ** -0.5)
        return start + step * (1 + apart * (batch_size > beyond))

    return params


def measured(problem: Problem, **params: Callable[[int], Params]) -> Any:
    """The frame of made-up programs beside ours."""
    workers: Any = {"batchbench": FakeWorker(trained(problem))}
    workers |= {name: FakeWorker(function) for name, function in params.items()}
    return Measurement(problem, workers).run()


def test_rows_are_medians_with_their_range() -> None:
    """6 rounds of 1 .. 6 seconds: 3.5, from 1 to 6; starts are summed over batch sizes."""
    problem = load_problem("notes")
    frame = measured(problem)
    assert frame["batch_size"].tolist() == [1, 4]
    first = frame.iloc[0]
    assert (first["seconds_per_update"], first["low"], first["high"]) == (3.5, 1.0, 6.0)
    assert frame.attrs["start_seconds"] == {"batchbench": 1.0}


def test_a_program_that_ends_elsewhere_is_left_out() -> None:
    """1% off at the second batch size: no row of it stays, and the reason is told."""
    problem = load_problem("notes")
    frame = measured(problem, PyTorch=trained(problem, 0.01, beyond=1), JAX=trained(problem))
    assert set(frame["program"]) == {"batchbench", "JAX"}
    assert frame.attrs["left_out"].keys() == {"PyTorch"}
    assert "batch size 4" in frame.attrs["left_out"]["PyTorch"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_program_that_diverges_is_left_out(value: float) -> None:
    """NaN is not close to anything."""
    problem = load_problem("notes")
    frame = measured(problem, JAX=lambda _: np.full_like(start_of(problem), value))
    assert frame.attrs["left_out"].keys() == {"JAX"}


def test_our_own_failure_is_an_error() -> None:
    """Our engine is never left out quietly."""

    def fail(_: int) -> Params:
        raise CannotDoError("out of order")

    workers: Any = {"batchbench": FakeWorker(fail)}
    with pytest.raises(RuntimeError, match="own engine, batch size 1: out of order"):
        Measurement(load_problem("notes"), workers).run()


@pytest.mark.parametrize(
    ("names", "words"), [(["pytorch"], "none of batchbench"), (["Absent"], "not installed")]
)
def test_unknown_programs_are_refused(
    names: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is no program, or is not installed, is bad input; nothing is started."""
    monkeypatch.setitem(PEERS, "Absent", Peer("bench.speed.peers.absent", "no_such_package"))
    with pytest.raises(InputError, match=words):
        measure_seconds(load_problem("notes"), names)
    assert "Absent" not in seconds.installed(None)


# Processes


def test_processes_are_rid_of_what_slows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker inherits one thread, and no setting that holds BLAS back."""
    environments = []

    def start(command: list[str], *, env: dict[str, str], **_: Any) -> None:
        assert command[:3] == [sys.executable, "-m", "bench.speed.worker"]
        environments.append(env)
        raise InterruptedError

    for name in process.SLOWED_BY:
        monkeypatch.setenv(name, "Haswell")
    monkeypatch.setattr(process.subprocess, "Popen", start)
    with pytest.raises(InterruptedError):
        seconds.Worker("batchbench", load_problem("notes"))
    assert not set(process.SLOWED_BY) & environments[0].keys()
    assert environments[0]["OMP_NUM_THREADS"] == "1"


def test_a_process_that_dies_is_told() -> None:
    """The end of a program is a reason, with its exit code, and does not hang."""
    with (
        seconds.Worker("no such program", load_problem("notes")) as worker,
        pytest.raises(CannotDoError, match="ended with exit code 1"),
    ):
        worker.prepare(1)


def test_seconds_of_our_engine_and_of_scikit_learn() -> None:
    """Both train XOR; an update takes time, within its interval; scikit-learn's takes longer."""
    frame = measure_seconds(load_problem("notes"), ["scikit-learn"])
    assert frame.attrs["left_out"] == {}
    assert frame["program"].tolist() == ["batchbench"] * 2 + ["scikit-learn"] * 2
    assert (frame["low"] > 0).all()
    assert (frame["low"] <= frame["seconds_per_update"]).all()
    assert (frame["seconds_per_update"] <= frame["high"]).all()
    ours, theirs = frame.groupby("program")["seconds_per_update"].median()
    assert theirs > ours


def test_a_worker_prepares_then_measures() -> None:
    """Preparing gives parameters and what the start took; measuring gives seconds per update."""
    trainer = Trainer(PEERS["scikit-learn"], with_options(load_problem("iris"), activation="tanh"))
    params, start = trainer.prepare(8)
    assert params.shape == (trainer.subject.network.n_params,)
    assert start > 0
    assert trainer.measure(8) > 0


# Flops and peak


def test_flops_of_digits_by_hand() -> None:
    """64-32-10: 2 (64*32 + 32*10) forward; 4 * 64*32 + 6 * 32*10 in all."""
    network = Network((64, 32, 10), output="softmax", loss="ce")
    assert forward_flops(network) == 4736
    assert step_flops(network) == 10_112


def test_flops_of_a_network_without_hidden_layer() -> None:
    """No delta goes to the input: forward and gradient, 4 operations a weight."""
    assert step_flops(Network((3, 1))) == 12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_peaks_loop_does_what_is_counted(dtype: type) -> None:
    """12 chains of n steps a <- a x + y end where the geometric series says, in every lane."""
    values = np.arange(64, dtype=dtype)
    lanes, steps, x = vector_lanes(values), 30, 0.9
    starts = np.add.outer(np.arange(CHAINS), np.arange(lanes))
    y = CHAINS + np.arange(lanes)
    chains = starts * x**steps + y * (1 - x**steps) / (1 - x)
    multiply_add(values, steps)
    tolerance = 4 * steps * np.finfo(dtype).eps
    np.testing.assert_allclose(values[:lanes], chains.sum(axis=0), rtol=tolerance)
    assert (values[lanes:] == np.arange(lanes, 64)).all()


def test_a_peak_is_measured() -> None:
    """The peak is a positive number of operations per second."""
    assert fma_peak(0.002) > 1e8


def test_failures_of_a_library_are_told_in_words() -> None:
    """An exception in a program becomes an answer that names it; the process goes on."""
    trainer = Trainer(PEERS["scikit-learn"], load_problem("iris"))
    outcome, reason = answer(trainer, "prepare", -1)
    assert outcome == "failed"
    assert "failed with" in str(reason)
    assert answer(trainer, "prepare", 8)[0] == "done"
