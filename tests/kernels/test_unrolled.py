"""Small networks, whose step is one stretch of code, against the reference and the loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_examples import XOR, XOR_X, XOR_Y, assert_same_bits, assert_within, random_case

from kernels import Network, init_params, sample_order, train
from kernels.engine import choose_packing
from kernels.layout import lane_count
from kernels.reference import train_reference
from kernels.unrolled import GROUPS, MOST_PARAMS, small_network
from kernels.updates import SGD, Momentum

# One layer, one output and several, two hidden layers, all activations, all pairs but softmax
SMALL = [
    XOR,
    Network((3, 2), "relu", "linear", "half_mse"),
    Network((2, 3, 2, 1), "tanh", "sigmoid", "half_mse"),
    Network((1, 4, 3), "leaky_relu", "sigmoid", "bce"),
]
NAMES = [f"{'-'.join(map(str, n.widths))} {n.activation}" for n in SMALL]


def small(network: Network, rule: Any = None) -> Any:
    """The unrolled network of a block, None where it is trained in loops."""
    packing = choose_packing(network, np.dtype(np.float32), many=True)
    return small_network(packing, rule or SGD())


@pytest.mark.parametrize("batch_size", [1, 3, 20, "full"])
@pytest.mark.parametrize("network", SMALL, ids=NAMES)
def test_an_unrolled_network_ends_where_the_reference_does(
    network: Network, batch_size: int | str
) -> None:
    """Two epochs of 23 samples end where the reference ends, with a ragged last batch."""
    assert small(network)
    params, X, y = random_case(network, 3, 23)
    options: dict[str, Any] = {"batch_size": batch_size, "order": sample_order(1, 23, 2)}
    expected = train_reference(network, params, X, y, learning_rate=0.1, **options)
    for look_ahead in (True, False):  # an unrolled network has none
        actual = train(
            network, params, X, y, learning_rate=[0.1], epochs=2, look_ahead=look_ahead, **options
        )
        assert_within(actual.params[0], expected.params, 2000, np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("groups", range(1, GROUPS + 2))
def test_any_number_of_groups_has_the_same_bits(groups: int, dtype: Any) -> None:
    """A run's bits are the same alone, beside other groups, and in a last one that fills up."""
    n_runs = groups * lane_count(np.dtype(dtype)) - 1
    params = init_params(XOR, 0, dtype=dtype, size=n_runs)
    rates = np.linspace(0.1, 1.0, n_runs)
    options: dict[str, Any] = {"batch_size": 1, "epochs": 50}
    together = train(XOR, params, XOR_X, XOR_Y, learning_rate=rates, **options)
    for run in (0, n_runs - 1):
        alone = train(XOR, params[run], XOR_X, XOR_Y, learning_rate=rates[run : run + 1], **options)
        assert_same_bits(together.params[run], alone.params[0])
        assert_same_bits(together.loss[run], alone.loss[0])


def test_checkpoints_inside_a_run_change_no_bit() -> None:
    """Training that is interrupted at every update ends at the same bits."""
    params = init_params(XOR, 0, dtype=np.float32, size=20)
    options: dict[str, Any] = {"batch_size": 2, "learning_rate": 0.5, "epochs": 6}
    ends = [
        train(XOR, params, XOR_X, XOR_Y, checkpoints=points, **options).params
        for points in ((), range(24))
    ]
    assert_same_bits(*ends)


def test_an_infinite_logit_is_seen_and_stays() -> None:
    """A logit beyond float32 is told, though no parameter and no loss ever is infinite."""
    network = Network((1, 1))
    # the first sample's logit is infinite and its error 0; the second one takes the weight back
    options: dict[str, Any] = {"batch_size": 1, "epochs": 1, "order": [[0, 1]]}
    result = train(
        network,
        np.array([[0, 0], [3e38, 0]], np.float32),
        [[10.0], [1.0]],
        [1, 0],
        learning_rate=[0.1, 2.9e38],
        scored=([[0.0]], [0]),
        **options,
    )
    assert np.isfinite(result.params).all()
    assert np.isfinite(result.loss).all()
    assert result.diverged.tolist() == [False, True]


def test_the_static_rule_looks_at_network_and_rule_alone() -> None:
    """Plain SGD, few parameters, outputs that do not depend on each other, and several runs."""
    assert small(Network((2, 15, 1))) is not None
    assert Network((2, 15, 1)).n_params <= MOST_PARAMS < Network((2, 16, 1)).n_params
    assert small(Network((2, 16, 1))) is None
    assert small(Network((2, 3, 2), "relu", "softmax", "ce")) is None
    assert small(XOR, Momentum()) is None
    one_run = choose_packing(XOR, np.dtype(np.float32), many=False)
    assert small_network(one_run, SGD()) is None
