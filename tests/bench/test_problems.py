"""The catalogue of problems."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from bench.errors import InputError
from bench.problems import PROBLEMS, load_problem, with_options
from bench.problems.prepare import standardize
from bench.problems.xor import variants

NAMES = sorted(PROBLEMS)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_fit_the_network(name: str) -> None:
    """Every problem has float32 inputs of the network's width and one label or target a row."""
    problem = load_problem(name)
    kind = np.int64 if problem.network.is_classifier else np.float32
    for X, y in ((problem.X_train, problem.y_train), (problem.X_test, problem.y_test)):
        assert X.dtype == np.float32
        assert X.shape == (len(y), problem.network.n_inputs)
        assert y.dtype == kind
        assert np.isfinite(X).all()
    assert len(problem.feature_names) == problem.network.n_inputs


def test_notes_are_the_notes() -> None:
    """The notes' problem is all of XOR on 2-2-1, with nothing held out."""
    problem = load_problem("notes")
    assert problem.network.widths == (2, 2, 1)
    assert [(*x, y) for x, y in zip(problem.X_train.tolist(), problem.y_train, strict=True)] == [
        (0, 0, 0),
        (0, 1, 1),
        (1, 0, 1),
        (1, 1, 0),
    ]
    assert not problem.has_test
    assert problem.batch_sizes == (1, 2, 4)


def test_standardized_on_the_training_split_only() -> None:
    """The training split has mean 0 and deviation 1 in each column; the test split has not."""
    problem = load_problem("wine")
    np.testing.assert_allclose(problem.X_train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(problem.X_train.std(axis=0), 1, rtol=1e-5)
    assert np.abs(problem.X_test.mean(axis=0)).max() > 0.01


def test_split_is_scikit_learns() -> None:
    """The rows held out are those of scikit-learn's stratified split with random_state 0."""
    X, y = load_digits(return_X_y=True)
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
    problem = load_problem("digits")
    np.testing.assert_array_equal(problem.y_train, y_train)
    np.testing.assert_array_equal(problem.y_test, y_test)
    deviation = np.where(train.std(axis=0) == 0, 1, train.std(axis=0))
    np.testing.assert_allclose(problem.X_test, (test - train.mean(axis=0)) / deviation, rtol=1e-5)


def test_near_constant_columns_are_not_scaled() -> None:
    """A column that varies by rounding alone is centred, stays tiny, and is told by name."""
    column = np.array([0.1, 0.1 + 1e-16, 0.1])
    train = np.stack([np.array([1.0, 2.0, 3.0]), column, np.zeros(3)], axis=1)
    scaled, _, told = standardize(train, train, ("a", "b", "c"))
    assert np.abs(scaled[:, 1:]).max() < 1e-15
    assert told[-1].endswith(": b, c.")


def test_constant_loss() -> None:
    """The best constant predictor's loss is an entropy or half a variance."""
    assert load_problem("notes").constant_loss() == pytest.approx(np.log(2))
    assert load_problem("iris").constant_loss() == pytest.approx(np.log(3))
    share = load_problem("breast_cancer").y_train.mean()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert load_problem("breast_cancer").constant_loss() == pytest.approx(entropy)
    assert load_problem("diabetes").constant_loss() == pytest.approx(0.5, rel=1e-5)


def test_batch_sizes_double_up_to_half_of_the_samples() -> None:
    """Digits' arms are 1, 2, 4, ... 512 and the 1,437 training samples."""
    assert load_problem("digits").batch_sizes == (*(2**k for k in range(10)), 1437)


def test_hash_follows_the_content() -> None:
    """The content hash changes with data, network and scheme, and with nothing else."""
    found = variants(load_problem("notes"), "sgd")
    hashes = {variant.problem.content_hash() for variant in found.values()}
    assert len(hashes) == len(found)
    assert found["2-2-1"].problem.content_hash() == load_problem("xor").content_hash()


def test_hashed_data_cannot_change() -> None:
    """A problem's arrays are read-only."""
    with pytest.raises(ValueError, match="read-only"):
        load_problem("notes").X_train[0, 0] = 1


def test_options_change_the_network() -> None:
    """Hidden layers and activation can be set; none at all is legal."""
    problem = load_problem("iris")
    assert with_options(problem, (8, 4), "tanh").network.widths == (4, 8, 4, 3)
    assert with_options(problem, (8, 4), "tanh").network.activation == "tanh"
    assert with_options(problem, ()).network.widths == (4, 3)
    assert with_options(problem).network == problem.network


def test_wrong_options_are_named() -> None:
    """A width of 0 and an unknown activation name the option."""
    with pytest.raises(InputError, match="hidden"):
        with_options(load_problem("iris"), (0,))
    with pytest.raises(InputError, match="activation"):
        with_options(load_problem("iris"), activation="swish")


def test_unknown_problem_names_the_nearest() -> None:
    """A misspelt problem is answered with the nearest name."""
    with pytest.raises(InputError, match="did you mean digits"):
        load_problem("digit")
