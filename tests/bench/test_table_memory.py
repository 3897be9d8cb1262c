"""A large table is read chunk by chunk: beside the arrays of the problem memory stays bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from bench.speed.large_table import write_table

N_ROWS, N_COLUMNS = 250_000, 30
MIB = 2**20
# A table of N numbers takes two arrays of N 32-bit numbers, the columns and their features, and
# beside the libraries what chunks take on their way
CHUNKS = 250 * MIB
PROGRAM = """
import sys
from pathlib import Path
from bench.problems.table import TableOptions, load_table

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

import sklearn.model_selection  # what load_table imports: libraries are not counted
before = peak()
problem = load_table(sys.argv[1], TableOptions(target="label"))
assert problem.X_train.shape[1] == int(sys.argv[2])
print(peak() - before, problem.X_train.nbytes + problem.X_test.nbytes)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same table as large.csv and as large.parquet."""
    folder = tmp_path_factory.mktemp("large")
    write_table(folder / "large.csv", N_ROWS, N_COLUMNS)
    table = pyarrow.csv.read_csv(folder / "large.csv")
    pyarrow.parquet.write_table(table, folder / "large.parquet")
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's peak memory")
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_memory_is_twice_the_array(form: str, folder: Path) -> None:
    """Reading takes at most twice the float32 array and a constant, in a fresh process."""
    path = folder / f"large.{form}"
    command = [sys.executable, "-c", PROGRAM, str(path), str(N_COLUMNS)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    growth, array = map(int, finished.stdout.split())
    assert array == 4 * N_ROWS * N_COLUMNS
    assert growth <= 2 * array + CHUNKS, f"{growth / MIB:.0f} MiB for {array / MIB:.0f} MiB"
