"""A trained network in a file: the same after loading, no pickle, and right about other tables."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

import kernels
from bench import cli
from bench.errors import InputError
from bench.model import Model, load_model, predict, save_model, write_predictions
from bench.problems import Problem, with_options
from bench.problems.table import TableOptions, load_table

N = 60
rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "length": np.round(rng.normal(180.0, 10.0, N), 1),
        "depth": np.round(rng.normal(17.0, 2.0, N), 2),
        "island": np.resize(["Biscoe", "Dream", "Torgersen"], N),
        "ringed": np.resize([True, False, False], N),
        "day": pd.date_range("2020-01-01", periods=N)[rng.permutation(N)].strftime("%Y-%m-%d"),
        "sex": np.resize(["male", "female"], N),
        "species": np.resize(["Adelie", "Chinstrap", "Gentoo", "Gentoo"], N),
        "mass": np.round(rng.normal(4000.0, 500.0, N)),
    }
)
FRAME.loc[[3, 10, 31], "length"] = np.nan
FRAME.loc[[5, 20], "island"] = None
TARGETS = ("sex", "species", "mass")  # two classes, more, and a number


def written(folder: Path, frame: pd.DataFrame, name: str = "birds.csv") -> Path:
    """Return the path of a data frame written as CSV."""
    frame.to_csv(folder / name, index=False)
    return folder / name


def problem_of(path: Path, target: str) -> Problem:
    """Return the problem of the birds with one of their columns to predict."""
    return load_table(path, TableOptions(target=target))


def model_of(problem: Problem, params: NDArray[np.float32] | None = None) -> Model:
    """Return a model with these parameters, or random ones."""
    if params is None:
        drawn = np.random.default_rng(2).normal(0.0, 0.3, problem.network.n_params)
        params = drawn.astype(np.float32)
    assert problem.table is not None
    return Model(problem.network, params, problem.table, {"batch_size": 8, "rule": "sgd"})


def split_rows(target: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the training and of the test split, as scikit-learn draws them."""
    labels = None if target == "mass" else FRAME[target]
    train, test = train_test_split(np.arange(N), test_size=0.2, random_state=0, stratify=labels)
    return train, test


@pytest.mark.parametrize("target", TARGETS)
def test_loaded_model_is_the_saved_one(target: str, tmp_path: Path) -> None:
    """Parameters come back bit by bit, all else equal, and predictions too."""
    path = written(tmp_path, FRAME)
    model = model_of(problem_of(path, target))
    save_model(model, tmp_path / "birds.npz")
    again = load_model(tmp_path / "birds.npz")
    assert again.params.dtype == np.float32
    assert again.params.tobytes() == model.params.tobytes()
    assert (again.network, again.about) == (model.network, model.about)
    assert again.table.to_json() == model.table.to_json()
    pd.testing.assert_frame_equal(predict(again, path), predict(model, path), check_exact=True)


@pytest.mark.parametrize("target", TARGETS)
def test_predictions_are_those_of_the_training_program(target: str, tmp_path: Path) -> None:
    """Held-out rows, read from the file again, are predicted as `kernels.predict` does."""
    path = written(tmp_path, FRAME)
    problem = problem_of(path, target)
    model = model_of(problem)
    _, rows = split_rows(target)
    X, numbers = model.table.encode(path)
    np.testing.assert_array_equal(numbers, np.arange(1, N + 1))
    np.testing.assert_array_equal(X[rows], problem.X_test)
    found = predict(model, path)[target].to_numpy()[rows]
    expected = kernels.predict(model.network, model.params, problem.X_test)
    if problem.network.is_classifier:
        assert len(set(expected.tolist())) > 1
        np.testing.assert_array_equal(found, np.array(problem.class_names)[expected])
    else:
        mean, scale = model.table.target.mean, model.table.target.scale
        np.testing.assert_allclose(found, expected * scale + mean, rtol=1e-6)


def linear(problem: Problem, feature: str, weights: tuple[float, ...]) -> Model:
    """Return a network without hidden layer, whose outputs are multiples of one feature."""
    plain = with_options(problem, hidden=())
    params = np.zeros(plain.network.n_params, np.float32)
    (matrix, _), *_ = plain.network.unpack(params)
    matrix[:, problem.feature_names.index(feature)] = weights
    return model_of(plain, params)


def test_classes_come_back_under_their_names(tmp_path: Path) -> None:
    """A network that tells sex by depth alone says "male", the second name, for the deep ones."""
    path = written(tmp_path, FRAME)
    problem = problem_of(path, "sex")
    assert problem.class_names == ("female", "male")
    found = predict(linear(problem, "depth", (2.0,)), path)
    mean = FRAME["depth"].iloc[split_rows("sex")[0]].mean()
    assert found.columns.tolist() == ["row", "sex", "P(female)", "P(male)"]
    assert found["sex"].tolist() == ["male" if d > mean else "female" for d in FRAME["depth"]]
    np.testing.assert_allclose(found["P(female)"] + found["P(male)"], 1.0)
    assert ((found["P(male)"] > 0.5) == (found["sex"] == "male")).all()


def test_one_of_three_classes(tmp_path: Path) -> None:
    """Shares of a softmax sum to 1, and the class with the largest one is named."""
    path = written(tmp_path, FRAME)
    problem = problem_of(path, "species")
    found = predict(linear(problem, "depth", (-3.0, 0.0, 3.0)), path)
    shares = found[["P(Adelie)", "P(Chinstrap)", "P(Gentoo)"]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    deep = FRAME["depth"] > FRAME["depth"].iloc[split_rows("species")[0]].mean()
    assert found["species"].tolist() == ["Gentoo" if d else "Adelie" for d in deep]


def test_numbers_come_back_in_their_own_unit(tmp_path: Path) -> None:
    """Where mass is 3 depth + 1000, the network that passes depth on predicts mass in its unit."""
    path = written(tmp_path, FRAME.assign(mass=3.0 * FRAME["depth"] + 1000.0))
    problem = problem_of(path, "mass")
    found = predict(linear(problem, "depth", (1.0,)), path)
    assert found.columns.tolist() == ["row", "mass"]
    np.testing.assert_allclose(found["mass"], 3.0 * FRAME["depth"] + 1000.0, rtol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_gaps_and_levels_never_seen_are_predicted(target: str, tmp_path: Path) -> None:
    """A table with gaps everywhere and unknown levels gets a finite prediction in every row."""
    model = model_of(problem_of(written(tmp_path, FRAME), target))
    other = FRAME.head(8).drop(columns=target).astype(object)
    for k, column in enumerate(other):
        other.loc[k, column] = None
    if "island" in other:
        other.loc[7, "island"] = "Iceland"
    found = predict(model, written(tmp_path, other, "other.csv"))
    assert found["row"].tolist() == list(range(1, 9))
    assert found[target].notna().all()
    assert np.isfinite(found.select_dtypes("number").to_numpy()).all()


def test_a_gap_takes_the_training_splits_median(tmp_path: Path) -> None:
    """A network that passes depth on gives a gap the value that the median has."""
    path = written(tmp_path, FRAME)
    model = linear(problem_of(path, "mass"), "depth", (1.0,))
    median = FRAME["depth"].iloc[split_rows("mass")[0]].median()
    gap, filled = (FRAME.head(1).assign(depth=depth) for depth in (np.nan, median))
    first, second = (
        predict(model, written(tmp_path, one, f"{k}.csv"))["mass"]
        for k, one in enumerate((gap, filled))
    )
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_other_columns_and_orders_do_not_matter(tmp_path: Path) -> None:
    """More columns, another order, and the target's absence leave predictions what they are."""
    path = written(tmp_path, FRAME)
    model = model_of(problem_of(path, "species"))
    expected = predict(model, path)
    changed = FRAME.drop(columns="species").assign(note="new", other=1.5)[
        ["note", *reversed(FRAME.columns.drop("species")), "other"]
    ]
    pd.testing.assert_frame_equal(predict(model, written(tmp_path, changed, "b.csv")), expected)


def test_a_data_frame_and_parquet_are_predicted_like_the_file(tmp_path: Path) -> None:
    """A model trained on a CSV file predicts the same rows from Parquet and from a data frame."""
    path = written(tmp_path, FRAME)
    model = model_of(problem_of(path, "sex"))
    FRAME.to_parquet(tmp_path / "birds.parquet")
    expected = predict(model, path)
    for source in (tmp_path / "birds.parquet", FRAME):
        pd.testing.assert_frame_equal(predict(model, source), expected)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """A table that lacks a column is refused with the file's name and the column's."""
    model = model_of(problem_of(written(tmp_path, FRAME), "sex"))
    path = written(tmp_path, FRAME.drop(columns="depth"), "narrow.csv")
    with pytest.raises(InputError) as refused:
        predict(model, path)
    assert "narrow.csv" in str(refused.value)
    assert "'depth'" in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("column", "value", "row"),
    [("length", "long", "row 5"), ("length", "inf", "row 5"), ("day", "soon", "row 5")],
)
def test_a_cell_of_another_kind_is_named(column: str, value: str, row: str, tmp_path: Path) -> None:
    """Text in a column of numbers or dates, and infinity, are refused by file, column and row."""
    model = model_of(problem_of(written(tmp_path, FRAME), "sex"))
    other = FRAME.astype(object)
    other.loc[3, column] = value
    with pytest.raises(InputError) as refused:
        predict(model, written(tmp_path, other, "odd.csv"))
    for word in ("odd.csv", f"'{column}'", row):
        assert word in str(refused.value)
    assert str(refused.value).isprintable()


def test_no_pickle_inside(tmp_path: Path) -> None:
    """The file holds two plain arrays, which NumPy loads without pickle."""
    path = tmp_path / "birds.npz"
    save_model(model_of(problem_of(written(tmp_path, FRAME), "sex")), path)
    with np.load(path, allow_pickle=False) as file:
        kinds = {name: file[name].dtype.kind for name in file.files}
        assert json.loads(str(file["model"]))["table"]["target"]["classes"] == ["female", "male"]
    assert kinds == {"params": "f", "model": "U"}
    assert b"pickle" not in path.read_bytes()


class Trap:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def npz(**arrays: Any) -> bytes:
    """Return the bytes of an npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    """Return the bytes of an npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


FOREIGN = {
    "empty": b"",
    "text": b"length,depth\n1,2\n",
    "noise": bytes(range(256)) * 8,
    "an archive's beginning": b"PK\x03\x04" + bytes(40),
    "an empty archive": npz(),
    "other arrays": npz(X=np.zeros(3)),
    "parameters alone": npz(params=np.zeros(3, np.float32)),
    "no JSON": npz(params=np.zeros(3, np.float32), model=np.array("{")),
    "a number for a model": npz(params=np.zeros(3, np.float32), model=np.array("3")),
    "a list for a model": npz(params=np.zeros(3, np.float32), model=np.array("[]")),
    "an object without fields": npz(params=np.zeros(3, np.float32), model=np.array("{}")),
    "one array": npy(np.zeros(3)),
    "a pickle": pickle.dumps({"params": [1.0]}),
}


def refused_file(path: Path) -> None:
    """Check that a file is refused in one line with its name."""
    with pytest.raises(InputError) as refused:
        load_model(path)
    assert path.name in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_refused(name: str, tmp_path: Path) -> None:
    """What is no model is refused in one line with the file's name."""
    path = tmp_path / "birds.npz"
    path.write_bytes(FOREIGN[name])
    refused_file(path)


def test_pickles_are_not_run(tmp_path: Path) -> None:
    """A file with pickled objects is refused, and what they would do is not done."""
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    path = tmp_path / "birds.npz"
    for content in (
        npz(params=trap, model=np.array("{}")),
        npz(params=np.zeros(3, np.float32), model=trap),
        npy(trap),
        pickle.dumps(trap[0]),
    ):
        path.write_bytes(content)
        refused_file(path)
    assert not (tmp_path / "sprung").exists()


def test_missing_model_and_folder_are_refused(tmp_path: Path) -> None:
    """A path without a file, and a folder, are refused."""
    refused_file(tmp_path / "nothing.npz")
    (tmp_path / "folder.npz").mkdir()
    refused_file(tmp_path / "folder.npz")


def test_damaged_files_are_refused_or_harmless(tmp_path: Path) -> None:
    """Cut anywhere, a model is refused; with any byte inverted, refused or the same model."""
    path = tmp_path / "birds.npz"
    model = model_of(problem_of(written(tmp_path, FRAME), "sex"))
    save_model(model, path)
    content = path.read_bytes()
    for end in range(0, len(content), 211):
        path.write_bytes(content[:end])
        refused_file(path)
    step = 17
    for at in [
        *range(200),
        *range(0, len(content), step),
        *range(len(content) - 200, len(content)),
    ]:
        harmed = bytearray(content)
        harmed[at] ^= 0xFF
        path.write_bytes(harmed)
        try:
            again = load_model(path)
        except InputError as error:
            message = str(error)
        else:
            assert again.params.tobytes() == model.params.tobytes()
            assert again.table.to_json() == model.table.to_json()
            continue
        assert path.name in message
        assert message.isprintable()


def altered(path: Path, **changes: Any) -> bytes:
    """Return a model's file with other parameters, or other fields of its description."""
    with np.load(path) as file:
        params, about = file["params"], json.loads(str(file["model"]))
    params = changes.pop("params", params)
    return npz(params=params, model=np.array(json.dumps(about | changes)))


def test_contradicting_files_are_refused(tmp_path: Path) -> None:
    """Parameters of another shape or type, and another network or version, are refused."""
    path = tmp_path / "birds.npz"
    model = model_of(problem_of(written(tmp_path, FRAME), "sex"))
    save_model(model, path)
    n, widths = model.network.n_params, list(model.network.widths)
    fields = {"activation": "relu", "output": "sigmoid", "loss": "bce"}
    narrow = {"widths": [widths[0] - 1, *widths[1:]], **fields}
    fewer = replace(model.network, widths=tuple(narrow["widths"])).n_params
    contents = (
        altered(path, params=np.zeros(n - 1, np.float32)),
        altered(path, params=np.zeros((1, n), np.float32)),
        altered(path, params=np.full(n, np.nan, np.float32)),
        altered(path, params=np.full(n, "a")),
        altered(path, format=99),
        altered(path, network={"widths": widths, **fields, "activation": "sine"}),
        altered(path, network={"widths": [-1], **fields}),
        altered(path, network=narrow, params=np.zeros(fewer, np.float32)),
        altered(path, table={}),
    )
    for content in contents:
        path.write_bytes(content)
        refused_file(path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full the old model stays, and nothing else is left behind."""
    path = tmp_path / "birds.npz"
    model = model_of(problem_of(written(tmp_path, FRAME), "sex"))
    save_model(model, path)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.model.os.fsync", full)
    with pytest.raises(InputError, match=r"birds\.npz: No space left on device"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["birds.csv", "birds.npz"]


def test_a_model_is_not_written_below_a_file(tmp_path: Path) -> None:
    """A path that runs through a file is refused with the path."""
    path = written(tmp_path, FRAME)
    model = model_of(problem_of(path, "sex"))
    with pytest.raises(InputError, match=r"cannot write .*birds\.npz"):
        save_model(model, path / "birds.npz")


def test_predictions_are_written_as_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file and standard output get the same lines: a header and a line per row."""
    path = written(tmp_path, FRAME)
    model = model_of(problem_of(path, "sex"))
    write_predictions(model, path, tmp_path / "out.csv")
    write_predictions(model, path, None)
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "out.csv").read_text()
    again = pd.read_csv(io.StringIO(printed))
    assert again["sex"].tolist() == predict(model, path)["sex"].tolist()
    assert len(again) == N
    with pytest.raises(InputError, match="cannot write"):
        write_predictions(model, path, tmp_path / "nowhere" / "out.csv")


def test_the_command_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`batchbench predict` prints predictions; what it lacks ends it with 2 and one line."""
    path, saved = written(tmp_path, FRAME), tmp_path / "birds.npz"
    save_model(model_of(problem_of(path, "sex")), saved)
    assert cli.run(["predict", str(saved), str(path)]) == 0
    assert capsys.readouterr().out.startswith("row,sex,P(female),P(male)\n1,")
    narrow = written(tmp_path, FRAME.drop(columns="depth"), "narrow.csv")
    for arguments, word in (
        ([str(saved), str(narrow)], "'depth'"),
        ([str(path), str(path)], "birds.csv"),
        ([str(tmp_path / "no.npz"), str(path)], "no.npz"),
    ):
        assert cli.run(["predict", *arguments]) == 2
        printed, told = capsys.readouterr()
        assert printed == ""
        assert told.count("\n") == 1
        assert word in told


def test_a_target_named_row_keeps_the_row_numbers(tmp_path: Path) -> None:
    """Where the target's own name is "row", predictions have both it and the rows' numbers."""
    frame = FRAME.rename(columns={"sex": "row"})
    path = written(tmp_path, frame)
    found = predict(model_of(problem_of(path, "row")), path)
    assert len(found.columns) == 4
