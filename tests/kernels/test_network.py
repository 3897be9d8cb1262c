"""The network's layout in the flat parameter vector, its initializations and its random streams."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from kernels.network import (
    INITIALIZATIONS,
    OUTPUT_LOSSES,
    Network,
    generator,
    init_params,
    sample_order,
)

# 30,000 weights of the first layer, 100 of the second: moments are known to about 1%
WIDE = Network(widths=(300, 100, 1))


def first_layer(scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of the wide network's first layer."""
    return WIDE.unpack(init_params(WIDE, seed=1, scheme=scheme))[0]


# Layout


def test_layout_is_weights_row_by_row_then_biases_layer_by_layer() -> None:
    """Entries 0 to 8 of the notes' network are W1 row by row, b1, W2, b2."""
    (W1, b1), (W2, b2) = Network((2, 2, 1)).unpack(np.arange(9.0))
    assert W1.tolist() == [[0, 1], [2, 3]]
    assert b1.tolist() == [4, 5]
    assert W2.tolist() == [[6, 7]]
    assert b2.tolist() == [8]


def test_unpack_keeps_leading_axes() -> None:
    """Unpacking a population unpacks each of its rows."""
    network = Network((3, 2, 4), output="softmax", loss="ce")
    population = np.arange(5.0 * network.n_params).reshape(5, -1)
    for (W, b), (W_3, b_3) in zip(
        network.unpack(population), network.unpack(population[3]), strict=True
    ):
        np.testing.assert_array_equal(W[3], W_3)
        np.testing.assert_array_equal(b[3], b_3)


def test_unpack_gives_views() -> None:
    """Writing into an unpacked weight writes into the parameter vector."""
    params = np.zeros(9)
    Network((2, 2, 1)).unpack(params)[1][0][0, 1] = 7.0
    assert params[7] == 7.0


@pytest.mark.parametrize(
    ("widths", "n_params"), [((2, 2, 1), 9), ((5, 1), 6), ((64, 32, 10), 2410), ((1, 1, 1, 1), 6)]
)
def test_number_of_parameters(widths: tuple[int, ...], n_params: int) -> None:
    """Each unit has a weight for each of its inputs and one bias."""
    assert Network(widths).n_params == n_params


def test_widths_may_be_a_list() -> None:
    """A network made from a list of widths equals, and hashes as, the one made from a tuple."""
    assert {Network([2, 2, 1]): "found"}[Network((2, 2, 1))] == "found"  # type: ignore[arg-type]


@pytest.mark.parametrize(("output", "loss"), OUTPUT_LOSSES)
def test_legal_output_and_loss_pairs(output: str, loss: str) -> None:
    """Each listed pair makes a network."""
    assert Network((2, 3), output=output, loss=loss).is_classifier == (output != "linear")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": (2,)}, "widths must be at least two whole numbers of 1 or more"),
        ({"widths": (2, 0, 1)}, "got (2, 0, 1)"),
        ({"widths": (2, 2.5, 1)}, "got (2, 2.5, 1)"),
        ({"widths": (2, 1), "activation": "gelu"}, "one of relu, tanh, leaky_relu, got 'gelu'"),
        (
            {"widths": (2, 1), "output": "linear", "loss": "bce"},
            "(sigmoid, bce), (sigmoid, half_mse), (softmax, ce), (linear, half_mse), "
            "got (linear, bce)",
        ),
        ({"widths": (2, 1), "output": "softmax", "loss": "ce"}, "use sigmoid for one unit"),
    ],
)
def test_network_errors(arguments: dict[str, object], message: str) -> None:
    """A network that cannot be is refused with its reason and what is legal."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Network(**arguments)  # type: ignore[arg-type]


# Initialization


def test_he_weights_are_normal_with_variance_2_over_fan_in() -> None:
    """He weights pass a Kolmogorov-Smirnov test against N(0, 2 / n_in)."""
    weights, _ = first_layer("he")
    assert stats.kstest(weights.ravel(), stats.norm(scale=np.sqrt(2 / 300)).cdf).pvalue > 0.01


def test_he_uses_each_layers_own_fan_in() -> None:
    """The second layer's standard deviation is sqrt(2 / 100), to 4 standard errors."""
    population = init_params(WIDE, seed=2, size=50)
    weights, _ = WIDE.unpack(population)[1]
    assert weights.std() == pytest.approx(np.sqrt(2 / 100), rel=4 / np.sqrt(2 * weights.size))


@pytest.mark.parametrize("scheme", ["he", "truncated_normal"])
def test_biases_of_normal_schemes_are_zero(scheme: str) -> None:
    """He and truncated-normal biases are exactly 0."""
    for _, b in WIDE.unpack(init_params(WIDE, seed=3, scheme=scheme)):
        assert not b.any()


def test_uniform_fan_in_weights_are_uniform() -> None:
    """Weights pass a Kolmogorov-Smirnov test against the uniform within 1 / sqrt(n_in)."""
    weights, _ = first_layer("uniform_fan_in")
    bound = 1 / np.sqrt(300)
    assert stats.kstest(weights.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01


def test_uniform_fan_in_biases_are_uniform_like_the_weights() -> None:
    """Biases pass the same test, with the bound of their layer's number of inputs."""
    population = init_params(WIDE, seed=4, scheme="uniform_fan_in", size=20)
    _, biases = WIDE.unpack(population)[0]
    bound = 1 / np.sqrt(300)
    assert stats.kstest(biases.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01


def test_truncated_normal_weights_are_cut_at_two_sigma() -> None:
    """Weights pass a Kolmogorov-Smirnov test against N(0, 0.1^2) cut at 0.2."""
    weights, _ = first_layer("truncated_normal")
    assert stats.kstest(weights.ravel(), stats.truncnorm(-2, 2, scale=0.1).cdf).pvalue > 0.01


@pytest.mark.parametrize("scheme", INITIALIZATIONS)
def test_row_0_of_a_population_is_the_single_network(scheme: str) -> None:
    """Row 0 of any population is the call without size."""
    network = Network((3, 4, 2))
    np.testing.assert_array_equal(
        init_params(network, seed=5, scheme=scheme, size=7)[0],
        init_params(network, seed=5, scheme=scheme),
    )


@pytest.mark.parametrize("scheme", INITIALIZATIONS)
def test_a_population_is_a_prefix_of_a_larger_one(scheme: str) -> None:
    """Row i of a population does not depend on its size."""
    network = Network((3, 4, 2))
    np.testing.assert_array_equal(
        init_params(network, seed=5, scheme=scheme, size=3),
        init_params(network, seed=5, scheme=scheme, size=8)[:3],
    )


def test_networks_of_a_population_differ() -> None:
    """No two networks of a population share a first weight."""
    population = init_params(Network((2, 2, 1)), seed=6, size=256)
    assert len(np.unique(population[:, 0])) == 256


@pytest.mark.parametrize("scheme", INITIALIZATIONS)
def test_float32_is_the_cast_of_float64(scheme: str) -> None:
    """A float32 network starts at the rounded float64 one."""
    single = init_params(WIDE, seed=7, scheme=scheme, dtype=np.float32)
    double = init_params(WIDE, seed=7, scheme=scheme)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_seeds_give_different_parameters() -> None:
    """Two seeds share no weight of the wide network's first layer."""
    other, _ = WIDE.unpack(init_params(WIDE, seed=2))[0]
    assert not np.any(first_layer("he")[0] == other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheme": "xavier"}, "one of he, uniform_fan_in, truncated_normal, got 'xavier'"),
        ({"dtype": np.float16}, "dtype must be float32 or float64, got float16"),
        ({"size": 0}, "size must be 1 or more networks, got 0"),
        ({"seed": -1}, "seed must be a whole number of 0 or more, got -1"),
        ({"seed": 1.5}, "seed must be a whole number of 0 or more, got 1.5"),
    ],
)
def test_init_params_errors(arguments: dict[str, object], message: str) -> None:
    """An argument that cannot be is refused by name, with what is legal."""
    with pytest.raises(ValueError, match=re.escape(message)):
        init_params(Network((2, 2, 1)), **arguments)  # type: ignore[arg-type]


# Order of samples


def test_each_epoch_is_a_permutation() -> None:
    """Each row of an order holds each sample once."""
    order = sample_order(seed=0, n=17, epochs=40)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(17), (40, 1)))


def test_fewer_epochs_are_a_prefix_of_more() -> None:
    """The first epochs do not depend on how many follow."""
    np.testing.assert_array_equal(
        sample_order(seed=3, n=50, epochs=4), sample_order(seed=3, n=50, epochs=9)[:4]
    )


def test_all_permutations_are_equally_likely() -> None:
    """The 24 orders of four samples pass a chi-square test over 24,000 epochs."""
    order = sample_order(seed=1, n=4, epochs=24_000)
    _, counts = np.unique(order, axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 0.01


def test_seeds_give_different_orders() -> None:
    """Two seeds visit 50 samples in different orders."""
    assert not np.array_equal(sample_order(0, 50, 1), sample_order(1, 50, 1))


def test_parameters_and_order_of_a_seed_are_separate_streams() -> None:
    """The two purposes of one seed draw numbers that have nothing in common."""
    parameters = generator(0, "parameters").random(1000)
    order = generator(0, "order").random(1000)
    assert abs(np.corrcoef(parameters, order)[0, 1]) < 4 / np.sqrt(1000)


def test_no_epochs_is_an_empty_order() -> None:
    """Zero epochs give an order of shape (0, n)."""
    assert sample_order(0, 5, 0).shape == (0, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 1), "n must be 1 or more samples, got 0"),
        ((0, 5, -1), "epochs must be 0 or more, got -1"),
        ((-2, 5, 1), "seed must be a whole number of 0 or more, got -2"),
    ],
)
def test_sample_order_errors(arguments: tuple[int, int, int], message: str) -> None:
    """An argument that cannot be is refused by name."""
    with pytest.raises(ValueError, match=re.escape(message)):
        sample_order(*arguments)
