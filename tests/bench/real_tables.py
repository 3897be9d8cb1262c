"""Real tables that come inside installed packages: nobody made them for this program."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RealTable:
    """A table in an installed package, and what is asked of it.

    Parameters
    ----------
    package, file
        Where it lies: an importable package, and the path within it.
    n_rows, n_columns
        Without the header.
    options
        As a user gives them: fields of `bench.problems.table.TableOptions`.
    """

    package: str
    file: str
    n_rows: int
    n_columns: int
    options: dict[str, Any]

    @property
    def path(self) -> Path:
        """Where the file is; the package is found, not imported.

        Raises
        ------
        ModuleNotFoundError
            Where the package is not installed.
        """
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"{self.package} is not installed: pip install '.[test]'")
        return Path(spec.origin).parent / self.file


# 344 birds: gaps, texts, dates, booleans as Yes and No, an identifier, remarks; three classes
PENGUINS = RealTable("palmerpenguins", "data/penguins-raw.csv", 344, 17, {"target": "Species"})
# 20,190 person-years of the RAND health insurance experiment: visits to a doctor, mostly few
DOCTOR_VISITS = RealTable(
    "statsmodels", "datasets/randhie/randhie.csv", 20_190, 10, {"target": "mdvis"}
)
# 210 travellers x 4 ways to travel, separated by semicolons: which one was taken; imbalanced
TRAVEL = RealTable(
    "statsmodels",
    "datasets/modechoice/modechoice.csv",
    840,
    9,
    {"target": "choice", "drop": ["individual"]},
)

REAL_TABLES = {"penguins": PENGUINS, "doctor_visits": DOCTOR_VISITS, "travel": TRAVEL}
