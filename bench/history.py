"""The command `history`: what runs of `pytest --benchmark` left in OUT/history, as a page."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from bench import report
from bench.errors import InputError
from bench.experiments import lock
from bench.experiments.place import FOLDER as BLOCKS
from bench.experiments.place import beside
from bench.report import history as page
from bench.speed.history import FOLDER, Run, read
from bench.speed.series import WORSE, Machine, Series, machines_of


@dataclass(frozen=True)
class History:
    """All runs of a folder.

    Parameters
    ----------
    machines
        With their series, the newest run's first.
    notes
        A line for each file that was skipped.
    """

    machines: list[Machine]
    notes: list[str]

    @property
    def newest(self) -> Run:
        """The newest run."""
        return self.machines[0].newest

    @property
    def worse(self) -> list[Series]:
        """Series whose newest point is a change for the worse."""
        return [one for one in self.machines[0].series if one.newest == WORSE]


def history(out: Path | str = "results") -> tuple[History, Path]:
    """Read the runs in OUT/history and write report.html, figures/ and series.csv beside them.

    Parameters
    ----------
    out
        Folder of results.

    Returns
    -------
    What the runs tell, and the page.

    Raises
    ------
    InputError
        Where there is no run, and for a folder that cannot be written to.
    """
    out = Path(out)
    runs, notes = read(out / FOLDER)
    if not runs:
        skipped = f" ({notes[0]})" if notes else ""
        raise InputError(
            f"no run in {out / FOLDER}{skipped}: pytest --benchmark, in the checkout, stores one"
        )
    found = History(machines_of(runs), notes)
    with lock.held(out / BLOCKS, FOLDER), beside(out, FOLDER) as folder:
        page.write(found.machines, notes, folder, f"batchbench history --out {out}")
        into_place(folder, out / FOLDER)
    report.index.write(out)
    return found, out / FOLDER / "report.html"


def into_place(folder: Path, target: Path) -> None:
    """Move what was written beside the runs, in place of an earlier page's files."""
    shutil.rmtree(target / "figures", ignore_errors=True)
    for path in folder.iterdir():
        path.replace(target / path.name)
