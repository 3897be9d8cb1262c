"""Large tables: read in bounded memory, and scored on a part that stays the same."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from bench.errors import InputError
from bench.problems.table import TableOptions, load_table
from bench.speed.large_table import CHUNK_ROWS, write_table

OPTIONS = TableOptions(target="label")
MIB = 2**20
SPARE = 500 * MIB  # beside twice the array: the interpreter, libraries, buffers

# Prints the bytes of the array, and the largest memory that the process ever had: as the kernel
# tells it in /proc, for getrusage begins with the memory of the process that started this one
MEASURE = """
import re, sys
from pathlib import Path
from bench.problems.table import TableOptions, load_table
made = load_table(sys.argv[1], TableOptions(target="label"))
(kilobytes,) = re.findall("VmHWM: *\\t* *([0-9]+) kB", Path("/proc/self/status").read_text())
print(made.X_train.nbytes + made.X_test.nbytes, int(kilobytes) * 1024)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of 70,000 rows and 8 number columns."""
    made = tmp_path_factory.mktemp("large")
    write_table(made / "rows.csv", rows=70_000, columns=8)
    return made


def test_every_row_arrives_as_it_was_written(folder: Path) -> None:
    """The splits of a table of several chunks hold its rows, standardized, with their labels."""
    problem = load_table(folder / "rows.csv", OPTIONS)
    frame = pd.read_csv(folder / "rows.csv")
    assert (problem.n_train, len(problem.X_test)) == (56_000, 14_000)
    assert problem.feature_names == tuple(frame.columns[:-1])
    assert problem.class_names == ("no", "yes")
    table = problem.table
    assert table is not None
    seen = np.concatenate([problem.X_train, problem.X_test]) * table.scale + table.mean
    labels = np.concatenate([problem.y_train, problem.y_test])
    got = np.column_stack([np.round(seen, 4), labels])
    want = np.column_stack([frame.iloc[:, :-1], frame["label"] == "yes"])
    order = [np.lexsort(rows.T) for rows in (got, want)]
    np.testing.assert_allclose(got[order[0]], want[order[1]], atol=2e-3)


def test_training_is_scored_on_a_fixed_part(folder: Path) -> None:
    """At least 20,000 rows of the training split, the same at each reading, give its loss."""
    first, second = (load_table(folder / "rows.csv", OPTIONS) for _ in range(2))
    X, y = first.scored
    assert 20_000 <= len(X) < first.n_train
    assert len(first.scored_test[0]) == len(first.X_test)
    for mine, other in zip(first.scored, second.scored, strict=True):
        np.testing.assert_array_equal(mine, other)
    rows = set(map(tuple, np.column_stack([first.X_train, first.y_train]).tolist()))
    assert rows.issuperset(map(tuple, np.column_stack([X, y]).tolist()))


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[int, int]]:
    """Bytes of the array, and of memory at its peak, by the number of rows that are read."""
    if sys.platform != "linux":
        pytest.skip("memory is counted in other units elsewhere")
    path, found = tmp_path_factory.mktemp("peaks") / "rows.csv", {}
    for rows in (50_000, 200_000):
        write_table(path, rows=rows, columns=30)
        command = [sys.executable, "-c", MEASURE, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        array, peak = map(int, done.stdout.split())
        found[rows] = array, peak
    return found


def test_reading_needs_bounded_memory(peaks: dict[int, tuple[int, int]]) -> None:
    """The peak memory of reading 200,000 x 30 is below twice the float32 array and 500 MiB."""
    array, peak = peaks[200_000]
    assert array == 200_000 * 30 * 4
    assert peak < 2 * array + SPARE


def test_memory_grows_by_twice_the_array(peaks: dict[int, tuple[int, int]]) -> None:
    """From 50,000 to 200,000 rows the peak grows by twice what the array does, within 40 MiB."""
    (small, low), (large, high) = peaks[50_000], peaks[200_000]
    assert high - low <= 2 * (large - small) + 40 * MIB


def test_made_tables_are_the_same_everywhere(tmp_path: Path) -> None:
    """A seed gives the same bytes again, another gives others, fewer rows the beginning of more."""
    digests = []
    for name, rows, seed in (("a", 1000, 0), ("b", 1000, 0), ("c", 1000, 1)):
        write_table(tmp_path / name, rows=rows, columns=5, seed=seed)
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]
    write_table(tmp_path / "d", rows=CHUNK_ROWS + 10, columns=5)
    longer = (tmp_path / "d").read_bytes()
    assert longer.startswith((tmp_path / "a").read_bytes())
    assert longer.count(b"\n") == CHUNK_ROWS + 11


def test_made_label_is_learnable_but_not_by_a_line(folder: Path) -> None:
    """A tree tells the label better than any linear model can."""
    frame = pd.read_csv(folder / "rows.csv")
    X, y = frame.iloc[:, :-1], frame["label"]
    X = (X - X.mean()) / X.std()
    tree = DecisionTreeClassifier(max_depth=8, random_state=0).fit(X[:20_000], y[:20_000])
    line = LogisticRegression().fit(X[:20_000], y[:20_000])
    assert tree.score(X[20_000:], y[20_000:]) > 0.73
    assert line.score(X[20_000:], y[20_000:]) < 0.70


def test_some_columns_are_correlated(folder: Path) -> None:
    """Of the first eight columns x01 and x07 are correlated by 0.64, the others not at all."""
    frame = pd.read_csv(folder / "rows.csv")
    found = frame.iloc[:, :-1].corr().abs().stack()
    pairs = {(a, b) for (a, b), r in found.items() if a < b and r > 0.02}
    assert pairs == {("x01", "x07")}
    assert found["x01", "x07"] == pytest.approx(0.64, abs=0.02)


def test_impossible_sizes_are_refused(tmp_path: Path) -> None:
    """A table needs rows, and the four columns that its label depends on."""
    for rows, columns in ((0, 30), (10, 3)):
        with pytest.raises(InputError, match="columns 4 or more"):
            write_table(tmp_path / "rows.csv", rows=rows, columns=columns)
    with pytest.raises(InputError, match="cannot write"):
        write_table(tmp_path / "nowhere" / "rows.csv", rows=10)
    assert not list(tmp_path.iterdir())
