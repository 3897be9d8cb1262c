"""Programs to paste: they say what was found, compile, and do on a user's table what we did."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from example_evidence import HOSTILE_COLUMN
from snippets import run_snippet

from bench.problems import Problem, load_problem, with_options
from bench.problems.table import TableOptions, load_table
from bench.report import settings, source
from bench.report.settings import PROGRAMS, Found
from kernels import init_params, train

ROWS = 150
FOUND = Found(16, 0.1, passes=20)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("sgd", {"solver": "sgd", "momentum": 0.0}),
        ("momentum", {"momentum": 0.9, "nesterovs_momentum": False}),
        ("nesterov", {"momentum": 0.9, "nesterovs_momentum": True}),
        ("adam", {"solver": "adam", "beta_2": 0.999}),
    ],
)
def test_settings_for_scikit_learn_run(rule, expected):
    """The lines for scikit-learn make the estimator that they describe."""
    scope = {}
    code = settings.scikit_learn(load_problem("digits"), rule, Found(32, 0.35355)).code
    exec(code, scope)
    params = scope["model"].get_params()
    assert params["batch_size"] == 32
    assert params["learning_rate_init"] == pytest.approx(0.354)
    assert params["hidden_layer_sizes"] == (32,)
    assert expected.items() <= params.items()


def test_settings_say_what_a_program_cannot_do():
    """For a network that scikit-learn lacks there are no lines, but the reason."""
    problem = with_options(load_problem("notes"), activation="leaky_relu")
    setting = settings.scikit_learn(problem, "sgd", Found(1, 0.1))
    assert setting.code == ""
    assert "leaky" in setting.remark


def test_settings_for_pytorch_are_python():
    """The lines for PyTorch compile, end in the logits, and name batch size and rate."""
    code = settings.pytorch(load_problem("notes"), "nesterov", Found(4, 0.5)).code
    compile(code, "settings", "exec")
    assert "nn.Linear(2, 1))" in code
    assert "lr=0.5, momentum=0.9, nesterov=True" in code
    assert "batch_size=4" in code


@pytest.mark.parametrize("text", ["plain", 'say "x"', "it's", "'\"", "a\\n", "\n\0\u202e", "ünï"])
def test_literals_are_what_they_stand_for(text):
    """A text as source evaluates to itself, on one printable line."""
    written = source.literal(text)
    assert eval(written) == text
    assert written.isprintable()


def test_long_lists_are_cut_into_lines():
    """A list of many names is the same list, in lines that fit a screen."""
    names = [f"column number {k}" for k in range(50)]
    written = source.assign("NAMES", source.listing(names))
    scope = {}
    exec(written, scope)
    assert scope["NAMES"] == names
    assert max(map(len, written.splitlines())) <= 88


def frame(rng: np.random.Generator) -> pd.DataFrame:
    """Columns of every kind, with gaps, rare levels, and labels that look like gaps."""
    mass = rng.normal(0, 1, ROWS).round(3)
    return pd.DataFrame(
        {
            HOSTILE_COLUMN: mass,
            "gaps": np.where(rng.random(ROWS) < 0.1, "NA", rng.integers(0, 9, ROWS).astype(str)),
            "island": rng.choice(["Biscoe", "Dream", "other", ""], ROWS),
            "town": rng.choice(["A", "B", *"CDEFGH"], ROWS, p=[0.5, 0.38, *[0.02] * 6]),
            "day": pd.date_range("2007-11-11", periods=ROWS).strftime("%d.%m.%Y"),
            "flag": rng.choice(["TRUE", "false", "?"], ROWS),
            "class": np.where(mass > 0.5, "NA", np.where(mass > -0.7, "None", 'q"<b>')),
            "price": (1500 + 200 * mass).round(2),
        }
    )


def small(folder: Path, target: str, change=lambda f: f, **options) -> Problem:
    """A problem of `frame`, written to table.csv and read from there."""
    table = change(frame(np.random.default_rng(1)))
    form = options.pop("form", {})
    table.to_csv(folder / "table.csv", index=False, **form)
    return load_table(folder / "table.csv", TableOptions(target=target, **options))


def binary(table: pd.DataFrame) -> pd.DataFrame:
    """Two classes that are numbers, one label missing and one class of a single row."""
    labels = np.where(table["price"] > 1500, "10", "9")
    labels[3], labels[7] = "", "11"
    return table.assign(**{"class": labels})


def european(table: pd.DataFrame) -> pd.DataFrame:
    """Prices with decimal comma and a dot between thousands."""
    swap = str.maketrans(",.", ".,")
    return table.assign(
        price=[f"{x:,.2f}".translate(swap) for x in table["price"]],
        **{HOSTILE_COLUMN: [f"{x:.3f}".translate(swap) for x in table[HOSTILE_COLUMN]]},
    )


TABLES = {
    "classes": lambda folder: small(folder, "class"),
    "two classes": lambda folder: small(folder, "class", binary),
    "regression": lambda folder: small(folder, "price", drop=["class"]),
    "regression, semicolons": lambda folder: small(
        folder, "price", european, form={"sep": ";", "encoding": "latin-1"}, encoding="latin-1"
    ),
    "most frequent": lambda folder: small(folder, "class", missing="most_frequent"),
    "rows dropped": lambda folder: small(folder, "class", missing="drop", test_size=0.3),
    "spaces after commas": lambda folder: small(
        folder,
        "class",
        lambda t: t.rename(columns={"town": " town", "class": " class"}).replace("Dream", " Dream"),
    ),
    "own gaps": lambda folder: small(
        folder, "price", lambda t: t.replace("?", "unknown"), na_values=["NA", "unknown"]
    ),
    "texts alone": lambda folder: small(folder, "class", features=["island", "town"]),
}
"""Tables as programs have to read them."""


@pytest.fixture(scope="module", params=TABLES)
def table(request, tmp_path_factory):
    """One problem of an own table, and the folder that holds it."""
    folder = tmp_path_factory.mktemp("table")
    return TABLES[request.param](folder), folder


def telling(X_train: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Features that differ between training rows: the others hold nothing."""
    return X[:, X_train.std(axis=0) > 0]


def learned(problem: Problem, loss: float) -> float:
    """By how much training lowered the loss below a guess's."""
    return problem.constant_loss() - loss


def own_loss(problem: Problem, found: Found) -> float:
    """Training loss of our own engine after as many passes."""
    network = problem.network
    result = train(
        network,
        init_params(network, 1, "he", np.float32, size=1),
        problem.X_train,
        problem.y_train,
        batch_size=found.batch_size,
        learning_rate=found.learning_rate,
        epochs=found.passes,
    )
    return float(result.loss[0, -1])


def scored(problem: Problem) -> Found:
    """What is found, with the score of the problem's kind."""
    scores = ("accuracy", "balanced accuracy") if problem.network.is_classifier else ("rmse",)
    return Found(FOUND.batch_size, FOUND.learning_rate, FOUND.passes, scores)


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_prepare_as_the_study_did_and_learn(table, program):
    """A pasted program makes the study's features, and learns at least half as much as we do."""
    problem, folder = table
    if program == "PyTorch" and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    found = scored(problem)
    done = run_snippet(PROGRAMS[program](problem, "sgd", found).code, folder)
    for split in ("X_train", "X_test"):
        theirs = telling(done["X_train"], done[split])
        ours = telling(problem.X_train, getattr(problem, split))
        np.testing.assert_allclose(theirs, ours, atol=1e-5)
    assert len(done["losses"]) == found.passes
    assert learned(problem, done["losses"][-1]) > learned(problem, own_loss(problem, found)) / 2
    assert f"held-out {found.scores[-1]}" in done["printed"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_full_batch_is_as_large_as_the_training_split(tmp_path, program):
    """The full batch is set by what it is, not by its number."""
    problem = small(tmp_path, "class")
    code = PROGRAMS[program](problem, "adam", Found(problem.n_train, 0.01)).code
    assert str(problem.n_train) not in code
    assert "len(X_train)" in code or "len(x)):" in code


@pytest.mark.parametrize("kind", ["parquet", "frame"])
def test_programs_for_other_tables_prepare_as_the_study_did(tmp_path, kind):
    """Parquet files and data frames, with typed dates and categories, are prepared alike."""
    table = frame(np.random.default_rng(2))
    table["day"] = pd.to_datetime(table["day"], format="%d.%m.%Y")
    table["flag"] = table["flag"].map({"TRUE": True, "false": False})
    table["island"] = table["island"].replace("", None).astype("category")
    table["gaps"] = pd.to_numeric(table["gaps"], errors="coerce")
    table.to_parquet(tmp_path / "table.parquet")
    given = table if kind == "frame" else tmp_path / "table.parquet"
    problem = load_table(given, TableOptions(target="class"))
    code = settings.scikit_learn(problem, "sgd", FOUND).code
    if kind == "frame":
        code = f'import pandas\n\nframe = pandas.read_parquet("table.parquet")\n{code}'
    done = run_snippet(code, tmp_path)
    np.testing.assert_allclose(done["X_train"], problem.X_train, atol=1e-5)


def test_gaps_are_named_only_where_there_are_some(tmp_path):
    """A table without gaps is read without a list of what marks them."""
    columns = ["town", "day"]
    code = settings.scikit_learn(small(tmp_path, "class", features=columns), "sgd", FOUND).code
    assert "GAPS" not in code
    assert "SimpleImputer" in code
