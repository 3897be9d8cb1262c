"""A run's bits do not depend on its company, on threads, on checkpoints, or on interruptions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_examples import (
    DIGITS_LIKE,
    XOR,
    XOR_X,
    XOR_Y,
    Array,
    assert_same_bits,
    random_case,
)

from kernels import Network, Result, init_params, sample_order, train
from kernels.updates import RULES

RUNS = 37  # two whole blocks of 16 float32 lanes, and a padded one
ENGINES = pytest.mark.parametrize("many", [False, True], ids=["single", "block"])
LONE_RULES = pytest.mark.parametrize("rule", ["sgd", "adam"])


class Case(NamedTuple):
    """A network with many runs, each with its own start and rate, and data for them."""

    network: Network
    params: Array
    rates: Array
    X: Array
    y: Array
    batch_size: int

    def train(self, runs: Any = slice(None), **changes: Any) -> Result:
        """Train some of the runs, in the order given, for three epochs."""
        options: dict[str, Any] = {
            "learning_rate": self.rates[runs],
            "batch_size": self.batch_size,
            "epochs": 3,
            "seed": 4,
            "eval_sets": {"test": (self.X[:5], self.y[:5])},
            **changes,
        }
        return train(self.network, self.params[runs], self.X, self.y, **options)


def make_case(network: Network, X: Array, y: Array, batch_size: int, dtype: Any) -> Case:
    """Starts and rates of `RUNS` runs."""
    params = init_params(network, 11, "uniform_fan_in", dtype, size=RUNS)
    return Case(network, params, np.geomspace(1e-3, 1, RUNS), X, y, batch_size)


_, DIGITS_X, DIGITS_Y = random_case(DIGITS_LIKE, 3, 45)
# Two batches of 7 a chunk by look-ahead, with a ragged last one; the notes' network step by step
CASES = {
    "digits": make_case(DIGITS_LIKE, DIGITS_X, DIGITS_Y, 7, np.float32),
    "xor": make_case(XOR, XOR_X, XOR_Y, 1, np.float32),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def assert_same_runs(actual: Result, expected: Result, runs: Any = slice(None)) -> None:
    """All that a result says of a run is the same to the bit."""
    assert_same_bits(actual.params, expected.params[runs])
    assert_same_bits(actual.loss, expected.loss[runs])
    assert_same_bits(actual.accuracy, np.asarray(expected.accuracy)[runs])
    assert_same_bits(actual.eval["test"].loss, expected.eval["test"].loss[runs])
    assert_same_bits(actual.diverged, expected.diverged[runs])
    assert_same_bits(actual.state.slots, expected.state.slots[runs])


# Company


@each_case
@LONE_RULES
def test_permuted_lanes_have_the_same_bits(case: Case, rule: str) -> None:
    """Runs in another order, and so in other lanes and blocks, end with the same bits."""
    order = np.random.default_rng(1).permutation(RUNS)
    assert_same_runs(case.train(order, rule=rule), case.train(rule=rule), order)


@each_case
@LONE_RULES
@pytest.mark.parametrize("n_runs", [1, 5, 16, 17])
def test_padded_lanes_have_the_same_bits(case: Case, rule: str, n_runs: int) -> None:
    """The first runs alone, in blocks filled up otherwise, end with the same bits."""
    some = slice(n_runs)
    assert_same_runs(case.train(some, rule=rule), case.train(rule=rule), some)


@each_case
@LONE_RULES
def test_a_run_alone_has_the_same_bits(case: Case, rule: str) -> None:
    """Each run as the only one of a call, params (1, n_params), ends with the same bits."""
    together = case.train(rule=rule)
    for run in range(RUNS):
        one = slice(run, run + 1)
        assert_same_runs(case.train(one, rule=rule), together, one)


def test_equal_rates_need_not_be_given_for_each_run() -> None:
    """One rate for all runs, and one start for all rates, are broadcast to the same bits."""
    case = CASES["digits"]
    rates, starts = np.full(RUNS, 0.1), np.broadcast_to(case.params[0], case.params.shape)
    data: dict[str, Any] = {"X": case.X, "y": case.y, "batch_size": 7, "epochs": 2}
    assert_same_bits(
        train(case.network, case.params, learning_rate=0.1, **data).params,
        train(case.network, case.params, learning_rate=rates, **data).params,
    )
    assert_same_bits(
        train(case.network, case.params[0], learning_rate=case.rates, **data).params,
        train(case.network, starts, learning_rate=case.rates, **data).params,
    )


# Wild company


@each_case
@LONE_RULES
@pytest.mark.parametrize("way", ["huge rate", "NaN", "infinity"])
def test_a_wild_lane_changes_no_bit_of_another(case: Case, rule: str, way: str) -> None:
    """A lane that goes to NaN or infinity leaves the bits of all others as they were."""
    calm = case.train(rule=rule)
    params, rates = case.params.copy(), case.rates.copy()
    wild = [3, 20]
    if way == "huge rate":
        rates[wild] = 1e37
    else:
        params[wild, 1] = np.nan if way == "NaN" else np.inf
    others = np.delete(np.arange(RUNS), wild)
    disturbed = case._replace(params=params, rates=rates).train(rule=rule)
    assert disturbed.diverged[wild].any()
    assert not calm.diverged.any()
    for name in ("params", "loss", "accuracy", "diverged"):
        assert_same_bits(getattr(disturbed, name)[others], getattr(calm, name)[others])


@each_case
@LONE_RULES
@pytest.mark.parametrize(
    "changes",
    [{}, {"checkpoints": range(0, 136, 3)}, {"checkpoints": ()}, {"threads": 3}],
    ids=["grid", "many checkpoints", "no checkpoints", "threads"],
)
def test_a_lost_run_has_the_same_bits_in_any_company(
    case: Case, rule: str, changes: dict[str, Any]
) -> None:
    """A run that starts with one NaN ends alike alone, in company, and however it is evaluated."""
    params = case.params.copy()
    lost = [0, 16, 36]
    params[lost, -1] = np.nan  # the last bias: it takes some updates to reach all parameters
    disturbed = case._replace(params=params)
    together = disturbed.train(rule=rule)
    for run in lost:
        alone = disturbed.train(slice(run, run + 1), rule=rule, **changes)
        assert_same_bits(alone.params[0], together.params[run])
        assert_same_bits(alone.state.slots[0], together.state.slots[run])
        assert_same_bits(alone.loss[0, -1], together.loss[run, -1])


@ENGINES
@pytest.mark.parametrize("rule", RULES)
def test_nan_parameters_stay_and_are_told(rule: str, many: bool) -> None:
    """A run that starts from a NaN is diverged, and its loss is NaN: nothing heals it."""
    params = init_params(DIGITS_LIKE, 1)
    params[5] = np.nan
    result = train(
        DIGITS_LIKE,
        params[None] if many else params,
        DIGITS_X,
        DIGITS_Y,
        batch_size=7,
        learning_rate=0.1,
        epochs=1,
        rule=rule,
    )
    assert np.all(result.diverged)
    assert np.isnan(result.loss).all()
    assert np.isnan(result.params).any()


# A network w x + b with one huge sample. In float32: w = 1 is fine; the step on (-1, 0) lifts w so
# that w x overflows on sample 0, where p = y = 1 leaves everything as it is; the step on (1, 0)
# takes w down again. All that was ever wrong is one logit in the middle.
SCARE = Network((1, 1))
SCARE_X, SCARE_Y = np.array([[3e38], [-1], [1]], np.float32), [1, 0, 0]


def scare(many: bool, order: list[int], **changes: Any) -> Result:
    """Train from w = 1, b = 0 with eta = 1 in a given order."""
    params = np.array([[1, 0]] if many else [1, 0], np.float32)
    options: dict[str, Any] = {"params": params, "checkpoints": (), **changes}
    return train(
        SCARE,
        options.pop("params"),
        SCARE_X,
        SCARE_Y,
        batch_size=1,
        learning_rate=1.0,
        epochs=1,
        order=[order],
        **options,
    )


@ENGINES
def test_a_run_that_was_once_non_finite_stays_diverged(many: bool) -> None:
    """One infinite logit on the way marks a run for good, whatever its first and last loss."""
    result = scare(many, [1, 0, 2])
    assert np.isfinite(result.loss).all()
    assert np.isfinite(result.params).all()
    assert np.all(result.diverged)


@ENGINES
def test_a_run_without_the_infinite_logit_is_not_diverged(many: bool) -> None:
    """The same samples in an order without overflow leave the run healthy."""
    result = scare(many, [2, 0, 2])
    assert np.isfinite(result.loss).all()
    assert not np.any(result.diverged)


@ENGINES
def test_diverged_stays_through_a_state(many: bool) -> None:
    """A run that goes on from a diverged state is diverged, though it is healthy from then on."""
    first = scare(many, [1, 0, 2])
    second = scare(many, [2, 2, 2], params=first.params, state=first.state)
    alone = scare(many, [2, 2, 2], params=first.params)
    assert np.all(second.diverged)
    assert np.all(second.state.diverged)
    assert not np.any(alone.diverged)


@ENGINES
def test_an_infinite_loss_is_divergence(many: bool) -> None:
    """Where logits are finite but the squared error overflows, the run is diverged."""
    params = np.array([[1e30, 0]] if many else [1e30, 0], np.float32)
    network = Network((1, 1), output="linear", loss="half_mse")
    result = train(network, params, [[1.0]], [0.0], batch_size=1, learning_rate=0.0, epochs=1)
    assert np.isinf(result.loss).all()
    assert np.all(result.diverged)


# Threads


@each_case
@LONE_RULES
@pytest.mark.parametrize("threads", [2, 3, 50])
def test_threads_change_no_bit(case: Case, rule: str, threads: int) -> None:
    """Any number of threads gives the bits of one."""
    options: dict[str, Any] = {"rule": rule, "keep_params": True}
    alone, shared = case.train(**options), case.train(threads=threads, **options)
    assert_same_runs(shared, alone)
    assert_same_bits(shared.trajectory, alone.trajectory)


# Checkpoints


@ENGINES
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_size", [1, 3, 7, 20, "full"])
def test_checkpoints_change_no_bit(rule: str, batch_size: int | str, many: bool) -> None:
    """Evaluating after every update, on the grid, or only at the end gives the same parameters."""
    params = init_params(DIGITS_LIKE, 1)
    options: dict[str, Any] = {"batch_size": batch_size, "learning_rate": 0.1, "epochs": 2}
    results = [
        train(
            DIGITS_LIKE,
            params[None] if many else params,
            DIGITS_X,
            DIGITS_Y,
            rule=rule,
            checkpoints=checkpoints,
            **options,
        )
        for checkpoints in ((), None, range(91))
    ]
    for result in results[1:]:
        assert_same_bits(result.params, results[0].params)
        assert_same_bits(result.state.slots, results[0].state.slots)
        assert_same_bits(result.loss[..., -1], results[0].loss[..., -1])


# State


@ENGINES
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_size", [1, 7, 20])
def test_two_epochs_then_three_more_are_five(rule: str, batch_size: int, many: bool) -> None:
    """Going on from a state, with the same seed, gives the bits of one long call."""
    params = init_params(DIGITS_LIKE, 1)
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "learning_rate": 0.1,
        "seed": 8,
        "rule": rule,
        "eval_sets": {"test": (DIGITS_X[:9], DIGITS_Y[:9])},
    }
    data = (DIGITS_X, DIGITS_Y)
    start = params[None] if many else params
    whole = train(DIGITS_LIKE, start, *data, epochs=5, **options)
    first = train(DIGITS_LIKE, start, *data, epochs=2, **options)
    second = train(DIGITS_LIKE, first.params, *data, epochs=3, state=first.state, **options)
    for name in ("params", "diverged"):
        assert_same_bits(getattr(second, name), getattr(whole, name))
    for actual, expected in zip(second.state, whole.state, strict=True):
        assert_same_bits(actual, expected)
    # the second call's evaluations: the state's end, then the standard grid of the long call
    common = np.isin(whole.examples, second.examples)
    late = np.isin(second.examples, whole.examples)
    assert second.examples[0] == first.examples[-1] == 90
    assert set(whole.examples[whole.examples > 90]) == set(second.examples[1:])
    assert_same_bits(second.loss[..., late], whole.loss[..., common])
    assert_same_bits(second.updates[late], whole.updates[common])
    assert_same_bits(second.eval["test"].loss[..., late], whole.eval["test"].loss[..., common])


@ENGINES
def test_a_state_goes_on_with_an_order_of_ones_own(many: bool) -> None:
    """With `order`, each call visits its own rows; the rule's memory goes on."""
    params = init_params(DIGITS_LIKE, 1)
    order = sample_order(3, 45, 5)
    options: dict[str, Any] = {"batch_size": 7, "learning_rate": 0.1, "rule": "adam"}
    data = (DIGITS_X, DIGITS_Y)
    start = params[None] if many else params
    whole = train(DIGITS_LIKE, start, *data, epochs=5, order=order, **options)
    first = train(DIGITS_LIKE, start, *data, epochs=2, order=order[:2], **options)
    second = train(
        DIGITS_LIKE, first.params, *data, epochs=3, order=order[2:], state=first.state, **options
    )
    assert_same_bits(second.params, whole.params)


def test_a_state_carries_each_runs_memory() -> None:
    """In a block each run goes on with its own memory: five epochs to the bit for every run."""
    case = CASES["digits"]
    whole = case.train(epochs=5, rule="momentum")
    first = case.train(epochs=2, rule="momentum")
    second = case._replace(params=first.params).train(epochs=3, rule="momentum", state=first.state)
    assert_same_bits(second.params, whole.params)
    assert_same_bits(second.state.slots, whole.state.slots)


def test_the_same_call_gives_the_same_bits_again() -> None:
    """Two equal calls give equal bits: nothing is left over from the first."""
    case = CASES["digits"]
    assert_same_runs(case.train(rule="adam"), case.train(rule="adam"))
