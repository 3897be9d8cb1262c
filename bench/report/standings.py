"""Programs side by side: time per sample, ratio to the best peer, speed and shares, from rounds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.analysis.intervals import median_interval
from bench.report.frames import groups
from bench.speed.peers import OURS, PEERS
from bench.speed.side_by_side import ALL, ONE

COLUMNS = (
    "case", "batch_size", "program", "ns", "ns_low", "ns_high", "best_peer", "ratio", "ratio_low",
    "ratio_high", "gflops", "share_of_peak", "share_of_sgemm", "ns_all_cores", "start_seconds",
    "rounds",
)  # fmt: skip


def standings(rounds: pd.DataFrame) -> pd.DataFrame:
    """Judge what was measured.

    Parameters
    ----------
    rounds
        As of `bench.speed.side_by_side.Measured`.

    Returns
    -------
    DataFrame
        A row per case, batch size and program, with `COLUMNS`: `ns` per sample and run on one core
        (median over rounds, its 95% interval by order statistics), `best_peer` (the program other
        than ours and the user's of the least median), `ratio` to it (median over rounds of the
        ratio of two times of the same round, its interval), `gflops` (10^9 operations of the
        arithmetic per second), shares of the fma peak and of sgemm (medians of ratios within a
        round), `ns_all_cores` (median; NaN where it was not timed), `start_seconds`. NaN where
        there is nothing to compare with.
    """
    rows = []
    one, every = (rounds[rounds["cores"] == cores] for cores in (ONE, ALL))
    medians = 1e9 * every.groupby(["case", "batch_size", "program"])["seconds"].median()
    for case, of_case in groups(one, "case"):
        for size, cell in groups(of_case, "batch_size"):
            times = cell.pivot(index="round", columns="program", values="seconds")
            best = best_peer(times)
            for program, mine in groups(cell, "program"):
                ratio = median_interval(times[program] / times[best] if best else [])
                found = (best, *ratio[:3], *_speed(mine))
                all_cores = medians.get((case, size, program), np.nan)
                start = mine["start_seconds"].iloc[0]
                time = median_interval(1e9 * mine["seconds"])[:3]
                rows.append((case, size, program, *time, *found, all_cores, start, len(mine)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _speed(mine: pd.DataFrame) -> tuple[float, float, float]:
    """10^9 operations per second, and the shares of fma peak and sgemm: medians over rounds."""
    speed = mine["flops"] / mine["seconds"]
    gflops, peak, sgemm = (np.median(speed / roof) for roof in (1e9, mine["peak"], mine["sgemm"]))
    return float(gflops), float(peak), float(sgemm)


def best_peer(times: pd.DataFrame) -> str:
    """The program of the least median of `times` (a column each), not ours or the user's; or ""."""
    peers = [name for name in times if name in PEERS and name != OURS]
    return str(times[peers].median().idxmin()) if peers else ""
