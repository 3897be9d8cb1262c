"""Hessians against finite differences, hand-worked cases and explicit matrices."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator

import kernels
from bench.analysis.hessian import Hessian, largest_eigenvalue, sharpness
from kernels import Network, init_params
from kernels.network import ACTIVATIONS, OUTPUT_LOSSES

HIDDEN = ((), (4,), (4, 3))
NETWORKS = [
    Network((3, *hidden, 2), activation, output, loss)
    for output, loss in OUTPUT_LOSSES
    for activation in ACTIVATIONS
    for hidden in HIDDEN
]
by_name = pytest.mark.parametrize(
    "network", NETWORKS, ids=lambda n: " ".join(map(str, vars(n).values()))
)


def data_of(network, n=6, seed=0):
    """Random samples with targets that suit the network."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, network.n_inputs))
    if network.output == "softmax":
        return X, rng.integers(0, network.n_outputs, n)
    if network.output == "sigmoid":
        return X, rng.integers(0, 2, (n, network.n_outputs)).astype(float)
    return X, rng.normal(size=(n, network.n_outputs))


def point(network, seed=1):
    """Parameters away from the kinks of ReLU and from symmetry."""
    return 1.5 * init_params(network, seed, "uniform_fan_in")


@by_name
def test_products_against_finite_differences(network):
    """H v is the gradient's derivative along v, for every activation, output and depth."""
    X, y = data_of(network)
    w, step = point(network), 1e-6
    vectors = np.random.default_rng(2).normal(size=(3, network.n_params))
    ahead, behind = (
        [kernels.loss_and_gradient(network, w + sign * step * v, X, y)[1] for v in vectors]
        for sign in (1.0, -1.0)
    )
    expected = (np.array(ahead) - np.array(behind)) / (2.0 * step)
    found = Hessian(network, w, X, y).times(vectors)
    np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(expected).max())


@by_name
def test_hessian_is_symmetric(network):
    """The matrix that the products make up is its own transpose."""
    matrix = Hessian(network, point(network), *data_of(network)).matrix()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14 * np.abs(matrix).max())


def test_hessian_of_a_batch_is_the_mean_of_its_samples():
    """Averaged over samples, not summed."""
    network = NETWORKS[4]
    X, y = data_of(network)
    w = point(network)
    each = [Hessian(network, w, X[i : i + 1], y[i : i + 1]).matrix() for i in range(len(X))]
    whole = Hessian(network, w, X, y).matrix()
    np.testing.assert_allclose(whole, np.mean(each, axis=0), atol=1e-15)


def test_one_vector_or_many():
    """A product of one vector is the same row as among others, and has its shape."""
    network = NETWORKS[7]
    hessian = Hessian(network, point(network), *data_of(network))
    vectors = np.random.default_rng(2).normal(size=(3, network.n_params))
    one = hessian.times(vectors[1])
    assert one.shape == (network.n_params,)
    np.testing.assert_allclose(one, hessian.times(vectors)[1], rtol=1e-12)


def test_logistic_unit_by_hand():
    """One input x = 2 at z = 0: H is y_hat (1 - y_hat) (x, 1)(x, 1)^T = (1/4) (4, 2; 2, 1)."""
    hessian = Hessian(Network((1, 1)), np.zeros(2), np.array([[2.0]]), np.array([1]))
    np.testing.assert_allclose(hessian.matrix(), [[1.0, 0.5], [0.5, 0.25]], rtol=1e-15)


@by_name
def test_sharpness_is_the_largest_eigenvalue(network):
    """Lanczos agrees with all eigenvalues of the explicit matrix to its tolerance."""
    hessian = Hessian(network, point(network), *data_of(network))
    expected = np.linalg.eigvalsh(hessian.matrix())[-1]
    assert sharpness(hessian) == pytest.approx(expected, rel=1e-3)


def test_sharpness_is_the_largest_and_not_the_most_negative():
    """A saddle's downward curvature is no sharpness, however strong."""
    operator = LinearOperator((30, 30), matvec=lambda v: np.linspace(-50.0, 3.0, 30) * v)
    assert largest_eigenvalue(operator, np.ones(30)) == pytest.approx(3.0, rel=1e-3)


def test_sharpness_of_flat_ground_is_zero():
    """Saturated outputs have no curvature left, and that is an answer."""
    network = Network((1, 1), loss="half_mse")
    hessian = Hessian(network, np.array([0.0, 800.0]), np.array([[1.0]]), np.array([0]))
    assert sharpness(hessian) == 0.0


@pytest.mark.parametrize("network", [n for n in NETWORKS if len(n.widths) == 2], ids=str)
def test_gauss_newton_is_the_hessian_where_logits_are_linear(network):
    """Without a hidden layer nothing is left out, but the bend of a sigmoid under squared error."""
    hessian = Hessian(network, point(network), *data_of(network))
    factors = hessian.gauss_newton_factors()
    mean = np.einsum("nkp,nkq->pq", factors, factors) / len(factors)
    same = np.allclose(mean, hessian.matrix(), atol=1e-14)
    assert same == ((network.output, network.loss) != ("sigmoid", "half_mse"))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("output", "loss"), [("linear", "half_mse"), ("sigmoid", "half_mse")])
def test_gauss_newton_is_the_hessian_of_what_is_interpolated(activation, output, loss):
    """Where every sample is fitted exactly, each sample's factor gives its whole Hessian."""
    network = Network((3, 4, 3, 2), activation, output, loss)
    X, _ = data_of(network)
    w = point(network)
    y = kernels.forward(network, w, X)[1][-1]
    factors = Hessian(network, w, X, y).gauss_newton_factors()
    for i, factor in enumerate(factors):
        alone = Hessian(network, w, X[i : i + 1], y[i : i + 1]).matrix()
        np.testing.assert_allclose(factor.T @ factor, alone, atol=1e-14)
