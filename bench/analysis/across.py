"""Several problems side by side: their verdicts in lines that mean the same on each of them.

Batch sizes differ between problems, so a verdict about batch size 1,437 of one stands beside that
about 120 of another where both are their full batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.analysis.intervals import Estimate
from bench.analysis.recommend import MARGIN
from bench.analysis.time_to_target import MIDDLE

Claim = dict[str, Any]
Role = str | int | None

TEXTS = ("claim", "measure", "axis", "program", "protocol")
SAMPLE, BASE, FULL = "per sample", "base", "full batch"
BETWEEN = 4  # batch sizes that are no end and no base: with more of them they are left out


@dataclass(frozen=True)
class Results:
    """What the study of one problem left in its files.

    Parameters
    ----------
    name, title, n_train
        Of the problem, and its number of training samples.
    base
        Its base batch size, B_0.
    rule
        Update rule of the study.
    recommended
        As in study.json.
    claims, summary
        Of claims.json and summary.csv.
    tables
        Its other tables by name, those that it has: "ratios", "rules", "tradeoff" and so on, with
        the columns of `Evidence`.
    """

    name: str
    title: str
    n_train: int
    base: int
    rule: str
    recommended: list[dict[str, Any]]
    claims: list[Claim]
    summary: pd.DataFrame
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame:
        """Return one of the tables; no rows where the study does not have it."""
        return self.tables.get(name, pd.DataFrame())

    def ratios(self, program: str = "") -> pd.DataFrame:
        """Return T of each batch size over the best's, by passes or by the seconds of a program.

        Indexed by batch size: `ratio, low, high`; no rows where nothing reached the target.
        """
        rows = self.table("ratios")
        if rows.empty:
            return rows
        mine = rows[rows.program.fillna("") == program]
        return mine.set_index("batch_size")[["ratio", "low", "high"]]

    def critical(self) -> Estimate | None:
        """Return the critical batch size to the middle target; None where it is not identified."""
        rows = self.table("tradeoff")
        if rows.empty:
            return None
        middle = rows.sort_values("target", ascending=False).iloc[MIDDLE]
        value, low, high = (float(middle[f"critical{end}"]) for end in ("", "_low", "_high"))
        found = Estimate(value, low, high, int(middle["n_seeds"]))
        return None if np.isnan(found.value) else found

    def noise_scale(self) -> Estimate | None:
        """Return the gradient noise scale over the run, of the population; None as above."""
        rows = self.table("noise_average")
        if rows.empty:
            return None
        run = rows[rows.over == "run"].iloc[0]
        found = Estimate(
            float(run.population), float(run.low), float(run.high), int(run["n_seeds"])
        )
        return None if np.isnan(found.value) else found

    @property
    def programs(self) -> tuple[str, ...]:
        """Programs whose seconds were compared."""
        rows = self.table("ratios")
        names = () if rows.empty else dict.fromkeys(rows.program.fillna(""))
        return tuple(name for name in names if name)

    def role(self, size: object) -> Role:
        """Return what a batch size is on this problem; others, and variants, are themselves."""
        if not isinstance(size, int | float) or np.isnan(size):
            return size if isinstance(size, str) else None
        roles = {self.base: BASE, 1: SAMPLE, self.n_train: FULL}
        return roles.get(int(size), int(size))


class Key(NamedTuple):
    """What a line of the matrix is about; roles are None where they do not tell lines apart."""

    claim: str
    measure: str
    axis: str
    program: str
    protocol: str
    base: Role
    batch: Role = None
    against: Role = None


@dataclass(frozen=True)
class Line:
    """One verdict on every problem, by the problem's name; None where it was not measured."""

    key: Key
    cells: Mapping[str, Claim | None]


def lines(results: Sequence[Results]) -> list[Line]:
    """Return the verdicts of these problems, line by line, in the order of the claims."""
    groups: dict[Key, dict[str, list[tuple[Claim, Role, Role]]]] = {}
    for one in results:
        for row in one.claims:
            text = {name: str(row[name]) for name in TEXTS}
            key = Key(**text, base=one.role(row["base_batch_size"]))
            arms = one.role(row["batch_size"]), one.role(row["against"])
            groups.setdefault(key, {}).setdefault(one.name, []).append((row, *arms))
    names = [one.name for one in results]
    found = [line for key, rows in groups.items() for line in _lines_of(key, rows, names)]
    order = list(dict.fromkeys(line.key.claim for line in found))
    return sorted(found, key=lambda line: order.index(line.key.claim))


def _lines_of(
    key: Key, rows: Mapping[str, list[tuple[Claim, Role, Role]]], names: Iterable[str]
) -> list[Line]:
    """Lines of verdicts that differ in their batch sizes alone: by as few roles as it takes."""
    depth = next((k for k in (0, 1) if _tell_apart(rows, k)), 2)
    between = {role for found in rows.values() for _, *roles in found for role in roles[:depth]}
    many = sum(isinstance(role, int) for role in between) > BETWEEN
    cells: dict[Key, dict[str, Claim]] = {}
    for name, found in rows.items():
        for row, *roles in found:
            shown = roles[:depth]
            if not (many and any(isinstance(role, int) for role in shown)):
                batch, against = [*shown, None, None][:2]
                full = key._replace(batch=batch, against=against)
                cells.setdefault(full, {}).setdefault(name, row)
    return [Line(full, {name: by.get(name) for name in names}) for full, by in cells.items()]


def _tell_apart(rows: Mapping[str, list[tuple[Claim, Role, Role]]], depth: int) -> bool:
    """Whether the first roles of its batch sizes tell the rows of each problem apart."""
    roles = [[tuple(some[:depth]) for _, *some in found] for found in rows.values()]
    return all(len(set(found)) == len(found) for found in roles)


def by_claim(results: Results) -> dict[str, list[Claim]]:
    """Return the rows of each claim of one problem."""
    found: dict[str, list[Claim]] = {}
    for row in results.claims:
        found.setdefault(str(row["claim"]), []).append(row)
    return found


def within_margin(ratios: pd.DataFrame, batch_size: int) -> bool | None:
    """Whether a batch size takes no more than the margin times the best's time.

    True where its whole interval says so, False where the whole interval says the opposite; None
    where it was not tried, or the interval holds the margin.
    """
    if batch_size not in ratios.index:
        return None
    row = ratios.loc[batch_size]
    return True if row.high <= MARGIN else False if row.low > MARGIN else None
