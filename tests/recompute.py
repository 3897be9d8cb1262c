"""Recompute a study's summary.csv and claims.json from its runs, by a short program of its own.

Then hold the runs against the files of blocks that they come from, by hash and number by number.

    python tests/recompute.py results/digits

Nothing of `bench.analysis` is used: the definitions are written down here a second time, in the
plainest way, from runs.parquet (networks.parquet for populations), the tables of gradient noise,
seconds.csv and study.json. Only `bench.streams.stream` is shared: a bootstrap has to draw the same
numbers.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bench.streams import stream

FLAGS = ["diverged", "dead", "newly_dead", "stuck", "failed"]
Triple = tuple[float, float, float]  # value, low, high


def median(values: Any) -> float:
    """Median; of an even number the geometric mean of the middle two, inf if one of them is."""
    x = np.sort(np.asarray(values, float))
    if len(x) == 0:
        return np.nan
    a, b = x[(len(x) - 1) // 2], x[len(x) // 2]
    return b if len(x) % 2 or np.isinf(b) else np.sqrt(a * b)


def order_interval(values: Any) -> tuple[float, float]:
    """Order statistics that enclose the median with 95%; 0 and inf where there are too few."""
    x = np.sort(np.asarray(values, float))
    k = int(stats.binom.ppf(0.025, len(x), 0.5))
    return (x[k - 1], x[len(x) - k]) if k > 0 else (0.0, np.inf)


def with_interval(values: Any) -> Triple:
    """Median and its interval; undetermined values (NaN) left out."""
    x = np.asarray(values, float)
    x = x[~np.isnan(x)]
    return median(x), *order_interval(x)


def share(k: int, n: int) -> Triple:
    """Share with the bounds of Clopper and Pearson."""
    low = stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return k / n, low, high


def bootstrap(rows: Any, estimate: Callable[[Any], float], rng: Any, draws: int = 2000) -> Triple:
    """Percentile interval, its tails widened as Student's t is; NaN counts against both bounds.

    Of fewer than 20 rows: the hull of it and of its reflection about the estimate; of fewer than 6:
    nothing.
    """
    rows = np.asarray(rows, float)
    n, value = len(rows), estimate(rows)
    if n < 6:
        return value, -np.inf, np.inf
    drawn = np.array([estimate(rows[i]) for i in rng.integers(0, n, (draws, n))])
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    low = np.quantile(np.where(np.isnan(drawn), -np.inf, drawn), tail, method="lower")
    high = np.quantile(np.where(np.isnan(drawn), np.inf, drawn), 1 - tail, method="higher")
    if n < 20 and np.isfinite(value):
        low, high = min(low, 2 * value - high), max(high, 2 * value - low)
    return value, low, high


def time_to_target(examples: Any, loss: Any, target: float) -> float:
    """First of two consecutive losses at or below the target, interpolated on log axes."""
    below = loss <= target
    if below[0]:
        return np.nan
    hits = np.flatnonzero(below[:-1] & below[1:])
    if len(hits) == 0:
        return np.inf
    i = hits[0]
    with np.errstate(divide="ignore"):  # a loss of 0 is reached at once: the logarithm is infinite
        part = np.log(loss[i - 1] / target) / np.log(loss[i - 1] / loss[i])
    start, end = examples[i - 1], examples[i]
    return start * (end / start) ** part if start > 0 else part * end


class Files:
    """What a study's folder holds, and times looked up by batch size, rate and role."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = json.loads((folder / "study.json").read_text())
        self.claims = json.loads((folder / "claims.json").read_text())
        self.summary = pd.read_csv(folder / "summary.csv")
        self.seconds = pd.read_csv(folder / "seconds.csv")
        self.n = self.record["problem"]["n_train"]
        self.targets = self.record["targets"]
        self.rule = self.record["options"]["rule"]
        self._by_rule = {self.rule: self}

    def by(self, rule: str) -> Files:
        """The same files, of which the runs by another update rule are looked at."""
        if rule not in self._by_rule:
            self._by_rule[rule] = Files(self.folder)
            self._by_rule[rule].rule = rule
        return self._by_rule[rule]

    def trajectories(self, rule: str) -> pd.DataFrame:
        """Runs by an update rule, a row an evaluation."""
        return pd.read_parquet(self.folder / "runs.parquet", filters=[("rule", "==", rule)])

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run: T at the three targets, and the last evaluation."""
        table = self.trajectories(self.rule)
        keys = ["batch_size", "learning_rate", "seed"]
        table = table.drop_duplicates([*keys, "examples"]).sort_values([*keys, "examples"])
        score = "accuracy" if "accuracy" in table else "rmse"
        best = np.fmax if score == "accuracy" else np.fmin
        rows = []
        for key, run in table.groupby(keys, sort=True):
            examples, loss = run.examples.to_numpy(float), run.loss.to_numpy(float)
            last = run.iloc[-1]
            row = dict(zip(keys, key, strict=True)) | last[["role", *FLAGS]].to_dict()
            for k, target in enumerate(self.targets):
                reached = np.inf if last.diverged else time_to_target(examples, loss, target)
                row[f"t{k}"] = reached
            row |= {"budget": examples[-1], "final_loss": loss[-1], "final_score": last[score]}
            row["final_test_score"] = last[f"test_{score}"]
            row["best_test_score"] = best.reduce(run[f"test_{score}"].to_numpy())
            rows.append(row)
        return pd.DataFrame(rows)

    def of(self, batch_size: int, rate: float, role: str = "report") -> pd.DataFrame:
        """Runs of an arm, by seed."""
        r = self.runs
        # A rate next to the lattice but for rounding was run on it
        same = np.isclose(r.learning_rate, rate, rtol=1e-12, atol=0.0)
        mine = (r.batch_size == batch_size) & same & (r.role == role)
        return r[mine].set_index("seed")

    @cached_property
    def batch_sizes(self) -> list[int]:
        """Those that reporting seeds ran."""
        return sorted(self.runs.batch_size[self.runs.role == "report"].unique().tolist())

    @cached_property
    def rates(self) -> dict[int, float]:
        """The pick of each batch size, from its tuning seeds."""
        picks = {}
        for size in self.batch_sizes:
            tuning = self.runs[(self.runs.batch_size == size) & (self.runs.role == "tune")]
            by_rate = dict(iter(tuning.groupby("learning_rate")))
            most = max(len(rows) for rows in by_rate.values())
            by_rate = {rate: rows for rate, rows in by_rate.items() if len(rows) == most}
            limit = max(0.05, min(rows.failed.mean() for rows in by_rate.values()))

            def rank(item: tuple[float, pd.DataFrame]) -> tuple[float, ...]:
                rate, rows = item
                hits = rows.t1.dropna()
                reached = float(np.isfinite(hits).mean()) if len(hits) else 0.0
                typical = median(hits) if len(hits) else np.inf
                return typical, -reached, median(rows.final_loss.fillna(np.inf)), -rate

            allowed = [(r, rows) for r, rows in by_rate.items() if rows.failed.mean() <= limit]
            picks[size] = min(allowed, key=rank)[0]
        return picks

    @cached_property
    def base(self) -> int:
        """B_0: the mini-batch nearest to 32 on the log scale, the larger of two; else the last."""
        mini = [b for b in self.batch_sizes if 1 < b < self.n]
        return min(mini, key=lambda b: (abs(np.log(b / 32)), -b)) if mini else self.batch_sizes[-1]

    def mean_batch(self, batch_size: int) -> float:
        """Examples per update over a pass."""
        return self.n / np.ceil(self.n / batch_size)

    @cached_property
    def held_out(self) -> dict[tuple[int, float], Any]:
        """Held-out scores by batch size and tuned rate: a row a seed, a column an evaluation."""
        table = self.trajectories(self.rule)
        score = next(
            name for name in table if str(name).startswith("test_a") or name == "test_rmse"
        )
        keys = ["seed", "role", "examples"]
        tables = {}
        for size, rate in self.rates.items():
            mine = table[(table.batch_size == size) & (table.learning_rate == rate)]
            rows = mine.drop_duplicates(keys).set_index(keys)[score].unstack()
            tables[size, rate] = rows
        return tables

    def per_example(self, axis: str, program: str, batch_size: int) -> float:
        """Units of an axis that an example costs."""
        batch = self.mean_batch(batch_size)
        if axis != "seconds":
            return {"examples": 1.0, "updates": 1 / batch, "epochs": 1 / self.n}[axis]
        rows = self.seconds[self.seconds.program == program].sort_values("mean_batch")
        sizes, values = rows.mean_batch.to_numpy(), rows.seconds_per_update.to_numpy()
        if not sizes[0] <= batch <= sizes[-1]:
            return float(rows.c0.iloc[0] + rows.c1.iloc[0] * batch) / batch
        return float(np.exp(np.interp(np.log(batch), np.log(sizes), np.log(values)))) / batch

    def best(self, axis: str, program: str, sizes: list[int]) -> int:
        """Batch size of the least median time over tuning seeds; else the largest."""

        def time(b: int) -> float:
            hits = self.of(b, self.rates[b], "tune").t1.dropna()
            cost = self.per_example(axis, program, b)
            return (median(hits) if len(hits) else np.inf) * cost

        best = min(sizes, key=lambda b: (time(b), b))
        return best if np.isfinite(time(best)) else max(sizes)

    def ratio(
        self,
        a: tuple[int, float],
        b: tuple[int, float],
        axis: str,
        program: str,
        k: int = 1,
        files_b: Files | None = None,
    ) -> tuple[Triple, int]:
        """T_A / T_B by seed: median ratio, undetermined pairs counted against it; their number."""
        both = self.of(*a).join((files_b or self).of(*b), suffixes=("", "_b"), how="inner")
        cost_a, cost_b = (self.per_example(axis, program, arm[0]) for arm in (a, b))
        ratios = []
        for row in both.to_dict("records"):
            x, y = row[f"t{k}"] * cost_a, row[f"t{k}_b"] * cost_b
            open_a = np.isinf(x) and not y <= row["budget"] * cost_a
            open_b = np.isinf(y) and not x <= row["budget_b"] * cost_b
            ratios.append(np.nan if open_a or open_b else x / y)
        return counted_against(ratios), int(np.isnan(ratios).sum())


def spread(times: Any) -> float:
    """Median distance of log T from its median."""
    with np.errstate(invalid="ignore", divide="ignore"):
        away = np.abs(np.log(times) - np.log(median(times)))
    return median(np.where(np.isnan(away), np.inf, away))


def summary_rows(files: Files) -> Iterator[dict[str, Any]]:
    """The rows of summary.csv, computed again."""
    for row in files.summary.to_dict("records"):
        size, base = row["batch_size"], row["base_batch_size"]
        rate = files.rates[size]
        if row["protocol"] != "tuned":
            tuned = files.rates[int(base)]
            rate = {
                "same": tuned,
                "linear": tuned * size / base,
                "square root": tuned * np.sqrt(size / base),
            }[row["protocol"]]
        about = {key: row[key] for key in ("rule", "batch_size", "protocol", "base_batch_size")}
        about |= {"target": row["target"], "learning_rate": rate} | stable(files, size)
        yield about | arm_columns(files, files.of(size, rate), size, row["target"])


def stable(files: Files, size: int) -> dict[str, float]:
    """The rates about the first crossing of 5% failed reporting runs."""
    r = files.runs[(files.runs.batch_size == size) & (files.runs.role == "report")]
    failing = r.groupby("learning_rate").failed.mean()
    rates = [0.0, *failing.index, np.inf]
    at = next((i for i, p in enumerate(failing) if p > 0.05), len(failing))
    return {
        "largest_stable_learning_rate": rates[at],
        "smallest_unstable_learning_rate": rates[at + 1],
    }


def arm_columns(files: Files, arm: pd.DataFrame, size: int, target: float) -> dict[str, Any]:
    """What summary.csv says of an arm's reporting runs."""
    k = files.targets.index(target)
    hits, batch = arm[f"t{k}"].to_numpy(float), files.mean_batch(size)
    known = hits[~np.isnan(hits)]
    reached = int(np.isfinite(known).sum())
    budget = arm.budget.max()
    spent = np.where(np.isfinite(known), known, budget).sum()
    found: dict[str, Any] = {
        "n_seeds": len(arm),
        "n_runs": len(arm),
        "n_undetermined": len(hits) - len(known),
        "mean_batch": batch,
        "budget_epochs": budget / files.n,
        "ert_examples": spent / reached if reached else np.inf,
        "final_loss": median(arm.final_loss.fillna(np.inf)),
    }
    for name in ("final_score", "final_test_score", "best_test_score"):
        found[name] = arm[name].median()
    for name in ("diverged", "dead", "newly_dead", "stuck", "failed"):
        found[f"{name}_rate"] = arm[name].mean()
    rng = stream("spread of an arm", size, k)
    with np.errstate(divide="ignore"):
        logs = bootstrap(known, lambda times: float(np.log(spread(times))), rng, draws=1000)
    intervals = {"success": share(reached, len(known)), "spread": tuple(np.exp(logs))}
    for axis in ("examples", "updates", "epochs", "seconds"):
        cost = files.per_example(axis, "batchbench", size)
        intervals[axis] = tuple(value * cost for value in with_interval(hits))
    for name, triple in intervals.items():
        for end, value in zip(("", "_low", "_high"), triple, strict=True):
            found[name + end] = value
    return found | {"success_rate": found.pop("success")}


def again(files: Files, claim: dict[str, Any]) -> Triple | None:
    """A claim's effect and interval, computed again; None for what has no definition here."""
    define = DEFINITIONS.get((claim["claim"], claim["measure"]))
    return None if define is None else define(files, claim)


def noisy(files: Files, claim: dict[str, Any]) -> Triple:
    """C1: mean over seeds of the difference of uphill shares."""
    table = pd.read_csv(files.folder / "uphill.csv")
    table = table[table.states == claim["measure"].removeprefix("uphill share, ").split()[0]]
    shares = table.groupby(["batch_size", "seed"]).share.mean()
    ours, theirs = shares[1].align(shares[claim["against"]], join="inner")
    rng = stream(claim["measure"], claim["against"])
    return bootstrap(ours - theirs, np.mean, rng)


def compared(files: Files, claim: dict[str, Any]) -> Triple:
    """C2, and whatever else compares two tuned arms: T of one batch size over that of another."""
    ours, theirs = claim["batch_size"], claim["against"]
    arms = (ours, files.rates[ours]), (theirs, files.rates[theirs])
    return files.ratio(*arms, claim["axis"], claim["program"])[0]


def at_another_rate(factor: float) -> Callable[[Files, dict[str, Any]], Triple]:
    """C8: T at a multiple of the best rate over T at it."""

    def ratio(files: Files, claim: dict[str, Any]) -> Triple:
        size = claim["batch_size"]
        arms = (size, files.rates[size] * factor), (size, files.rates[size])
        return files.ratio(*arms, "epochs", "")[0]

    return ratio


def against_best(files: Files, claim: dict[str, Any]) -> Triple:
    """C9, R1: T of a tuned arm over that of the best, which is 1 where it is the best itself."""
    itself = claim["batch_size"] == claim["against"]
    return (1.0, 1.0, 1.0) if itself else compared(files, claim)


def scaled(files: Files, claim: dict[str, Any]) -> Triple:
    """R2: T at the base's rate, scaled, over T at the tuned rate."""
    size, base = claim["batch_size"], claim["base_batch_size"]
    factor = size / base if claim["protocol"] == "linear" else np.sqrt(size / base)
    arms = (size, files.rates[base] * factor), (size, files.rates[size])
    return files.ratio(*arms, "epochs", "")[0]


def by_rules(files: Files, claim: dict[str, Any]) -> Triple:
    """R5, R6: T by one update rule over T by another at a batch size, each at its tuned rate."""
    names = {"R5": ("sgd", "momentum"), "R6": ("adam", "adam_half_life")}[claim["claim"]]
    ours, theirs = (files.by(name) for name in names)
    size = claim["batch_size"]
    arms = (size, ours.rates[size]), (size, theirs.rates[size])
    return ours.ratio(*arms, "epochs", "", files_b=theirs)[0]


def held_out(files: Files, claim: dict[str, Any]) -> Triple:
    """R3: the held-out score of two tuned arms by seed, at the target or where tuning is best."""
    accuracy = claim["kind"] == "difference"
    scores = []
    for size in (claim["batch_size"], claim["against"]):
        rows = files.held_out[size, files.rates[size]]
        tuning, reporting = (rows.xs(role, level="role") for role in ("tune", "report"))
        if claim["measure"] == "best score":
            worst = 0.0 if accuracy else np.inf
            typical = tuning.fillna(worst).agg(median)
            scores.append(
                reporting[typical.idxmax() if accuracy else typical.idxmin()].fillna(worst)
            )
            continue
        times = files.of(size, files.rates[size]).t1
        at = {s: np.interp(times[s], run.index, run) for s, run in reporting.iterrows()}
        scores.append(pd.Series(at).where(np.isfinite(times)))
    ours, theirs = scores[0].align(scores[1], join="inner")
    if not accuracy:
        return counted_against(theirs / ours)
    found = counted_against(np.exp(ours - theirs))
    with np.errstate(divide="ignore"):
        value, low, high = np.clip(np.log(found), -1.0, 1.0)
    return float(value), float(low), float(high)


def beside_power(files: Files, claim: dict[str, Any]) -> Triple:
    """R4: seconds per sample over those at a power of two, or between two of them, by round."""
    table = pd.read_csv(files.folder / "powers.csv")
    table = table[table.program == claim["program"]]
    times = table.pivot(index="round", columns="batch_size", values="seconds_per_sample")
    size, powers = claim["batch_size"], [int(b) for b in str(claim["against"]).split(" and ")]
    between = times[powers[0]]
    if len(powers) == 2:
        share = np.log(size / powers[0]) / np.log(powers[1] / powers[0])
        between = between ** (1 - share) * times[powers[1]] ** share
    return counted_against(times[size] / between)


def counted_against(ratios: Any) -> Triple:
    """Median of ratios by pair with its interval; undetermined ones count against both bounds."""
    ratios = np.array(ratios, float)
    ratios[np.abs(ratios - 1.0) < 1e-12] = 1.0
    unknown = np.isnan(ratios)
    low = order_interval(np.where(unknown, 0.0, ratios))[0]
    high = order_interval(np.where(unknown, np.inf, ratios))[1]
    return median(ratios[~unknown]), low, high


def lattice(files: Files, size: int) -> pd.DataFrame:
    """Reporting runs of a batch size at the rates that tuning seeds ran."""
    r = files.runs[files.runs.batch_size == size]
    tried = r.learning_rate[r.role == "tune"].unique()
    return r[(r.role == "report") & r.learning_rate.isin(tried)]


def width(log2_rates: Any, times: Any) -> float:
    """Octaves around the best rate in which the median T is at most twice the best."""
    with np.errstate(divide="ignore"):
        y = np.log2([median(column) for column in times.T])
    best = int(np.argmin(y))
    if np.isinf(y[best]):
        return np.nan
    ends, limit = [], y[best] + 1
    for step in (-1, 1):
        i = best
        while 0 <= i + step < len(y) and y[i + step] <= limit:
            i += step
        end, j = log2_rates[i], i + step
        if 0 <= j < len(y) and np.isfinite(y[j]):
            end += (limit - y[i]) / (y[j] - y[i]) * (log2_rates[j] - end)
        ends.append(end)
    return float(ends[1] - ends[0])


def usable_width(files: Files, claim: dict[str, Any]) -> Triple:
    """C3: usable width of the other batch size minus that of B = 1."""
    sizes = claim["against"], 1
    tables = [
        lattice(files, b).pivot(index="seed", columns="learning_rate", values="t1").dropna()
        for b in sizes
    ]
    both = pd.concat(tables, axis=1, join="inner").to_numpy()
    k = tables[0].shape[1]
    x = [np.log2(table.columns.to_numpy(float)) for table in tables]

    def difference(times: Any) -> float:
        return width(x[0], times[:, :k]) - width(x[1], times[:, k:])

    return bootstrap(both, difference, stream("usable width", claim["against"]))


def failed_runs(files: Files, claim: dict[str, Any]) -> Triple:
    """C3: seeds of which one fails alone, minus those of which the other does: square-and-add."""
    rate = files.rates[int(claim["base_batch_size"])]
    both = files.of(1, rate).join(
        files.of(claim["against"], rate), suffixes=("", "_b"), how="inner"
    )
    a, b = both.failed.to_numpy(bool), both.failed_b.to_numpy(bool)
    (p, p_low, p_high), (q, q_low, q_high) = (share(int(x.sum()), len(x)) for x in (a & ~b, b & ~a))
    rest = (1 - p) * (1 - q)
    r = -np.sqrt(p * q / rest) if rest > 0 else 0.0
    down = (p - p_low) ** 2 - 2 * r * (p - p_low) * (q_high - q) + (q_high - q) ** 2
    up = (p_high - p) ** 2 - 2 * r * (p_high - p) * (q - q_low) + (q - q_low) ** 2
    return p - q, max(p - q - np.sqrt(down), -1.0), min(p - q + np.sqrt(up), 1.0)


def spread_ratio(files: Files, claim: dict[str, Any]) -> Triple:
    """C3: spread of T of B = 1 over that of the other batch size."""
    other = claim["against"]
    arms = files.of(1, files.rates[1]), files.of(other, files.rates[other])
    both = arms[0].join(arms[1], suffixes=("", "_b"), how="inner")[["t1", "t1_b"]].dropna()

    def ratio(times: Any) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.log(spread(times[:, 0])) - np.log(spread(times[:, 1])))

    value, low, high = np.exp(bootstrap(both, ratio, stream("spread", other, 1)))
    return float(value), float(low), float(high)


def threshold(files: Files, claim: dict[str, Any]) -> Triple:
    """C3: lowest rate at which a seed fails, other batch size over B = 1."""
    ends = []
    for size in (claim["against"], 1):
        table = lattice(files, size).pivot(index="seed", columns="learning_rate", values="failed")
        table = table.dropna().astype(bool)
        rates = np.array([0.0, *table.columns, np.inf])
        first = np.where(table.any(axis=1), table.to_numpy().argmax(axis=1), table.shape[1])
        found = {"at": rates[first + 1], "below": rates[first]}
        ends.append(pd.DataFrame(found, index=table.index))
    unit = claim["against"] if claim["measure"] == "threshold / B" else 1
    both = (ends[0] / unit).join(ends[1], suffixes=("", "_1"), how="inner")
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = both["at"] / both.at_1
        low = with_interval(both.below / both.at_1)[1]
        high = with_interval(both["at"] / both.below_1)[2]
    return median(ratios.dropna()), low, high


def learned(files: Files, variant: str) -> Triple:
    """Share of a variant's networks that learn XOR at the arm that its tuning blocks pick.

    Networks of a block share its order of samples: the interval is Clopper and Pearson's at the
    effective size (Korn and Graubard 1998).
    """
    counts = pd.read_parquet(files.folder / "counts.parquet")
    counts = counts[counts.variant == variant]
    arms = counts.groupby(["batch_size", "learning_rate"])
    shares = counts[counts.role == "tune"].groupby(["batch_size", "learning_rate"])
    best = max((s.solved.sum() / s.n.sum(), arm[1], arm) for arm, s in shares)[2]
    blocks = arms.get_group(best)
    blocks = blocks[blocks.role == "report"]
    k, n, m = blocks.solved.to_numpy(float), blocks.n.to_numpy(float), len(blocks)
    total = n.sum()
    p = k.sum() / total
    between = m / (m - 1) * ((k - n * p) ** 2).sum() / total**2
    effect = between / (p * (1 - p) / total) if 0 < p < 1 else 1.0
    few = (stats.t.ppf(0.975, total - 1) / stats.t.ppf(0.975, m - 1)) ** 2
    size = min(total, total / max(effect, 1e-12) * few)
    low = stats.beta.ppf(0.025, p * size, size - p * size + 1) if p > 0 else 0.0
    high = stats.beta.ppf(0.975, p * size + 1, size - p * size) if p < 1 else 1.0
    return p, float(low), float(high)


def population(files: Files, claim: dict[str, Any]) -> Triple:
    """C6 and C7: a share, or the difference of two (Newcombe's method 10)."""
    p, p_low, p_high = learned(files, claim["variant"])
    if claim["against"] is None:
        return p, p_low, p_high
    q, q_low, q_high = learned(files, claim["against"])
    down, up = np.hypot(p - p_low, q_high - q), np.hypot(p_high - p, q - q_low)
    return p - q, max(p - q - down, -1.0), min(p - q + up, 1.0)


DEFINITIONS: dict[tuple[str, str], Callable[[Files, dict[str, Any]], Triple]] = {
    ("C1", "uphill share, same states"): noisy,
    ("C1", "uphill share, own states"): noisy,
    ("C2", "time-to-target"): compared,
    ("C3", "usable width"): usable_width,
    ("C3", "failed runs at the same rate"): failed_runs,
    ("C3", "spread"): spread_ratio,
    ("C3", "threshold"): threshold,
    ("C3", "threshold / B"): threshold,
    ("C6", "success"): population,
    ("C7", "solves"): population,
    ("C7", "helps"): population,
    ("C7", "depth against width"): population,
    ("C8", "overshoot"): at_another_rate(4.0),
    ("C8", "slow"): at_another_rate(0.25),
    ("C9", "time against the best"): against_best,
    ("R1", "time at 32"): against_best,
    ("R2", "linear scaling"): scaled,
    ("R2", "square-root scaling"): scaled,
    ("R3", "score at equal training loss"): held_out,
    ("R3", "best score"): held_out,
    ("R4", "seconds per sample"): beside_power,
    ("R5", "momentum"): by_rules,
    ("R6", "default beta2"): by_rules,
}


def differences(files: Files) -> list[str]:
    """What does not agree to the last digit shown, a line each."""
    wrong = []
    # runs.parquet holds the first 200 networks of a population: its summary cannot come from there
    networks = (files.folder / "networks.parquet").exists()
    stored_rows = [] if networks else files.summary.to_dict("records")
    for stored, row in zip(stored_rows, [] if networks else summary_rows(files), strict=True):
        arm = f"summary.csv, {stored['protocol']} {stored['batch_size']} {stored['target']:.3g}"
        wrong += [f"{arm}: {k}" for k, v in stored.items() if not same(v, row[k])]
    for claim in files.claims:
        found = again(files, claim)
        name = f"{claim['claim']} {claim['measure']} {claim['axis']} {claim['program']}"
        if found is None:
            wrong.append(f"{name}: no definition here")
            continue
        stored = [claim[key] for key in ("effect", "low", "high")]
        if not all(map(same, stored, found)):
            wrong.append(f"{name} against {claim['against']}: {stored} here {found}")
    return wrong


def same(stored: Any, found: Any) -> bool:
    """Whether two values agree to nine digits; no value is NaN in tables, None in JSON."""
    if isinstance(stored, str) or isinstance(found, str):
        return bool(stored == found)
    stored = np.nan if stored is None else float(stored)
    return bool(np.isclose(stored, found, rtol=1e-9, atol=1e-12, equal_nan=True))


def untraced(folder: Path) -> list[str]:
    """What of study.json, blocks.csv, the blocks' files and the runs does not agree, a line each.

    From study.json to blocks.csv and from there to the files by sha256; from a row of runs.parquet
    to its block by the key, and its loss is the file's.
    """
    record, table = json.loads((folder / "study.json").read_text()), folder / "blocks.csv"
    wrong = []
    if sha256(table) != record["blocks_sha256"]:
        wrong.append("blocks.csv: not the one that study.json names")
    blocks = pd.read_csv(table, index_col="block")
    if list(blocks.index) != record["blocks"]:
        wrong.append("blocks.csv: other blocks than study.json names")
    runs = pd.read_parquet(folder / "runs.parquet", columns=["block", "loss"])
    losses = {str(key): rows.to_numpy() for key, rows in runs.groupby("block").loss}
    wrong += [
        f"runs.parquet: block {key} is not in blocks.csv" for key in {*losses} - {*blocks.index}
    ]
    for key, digest in blocks.sha256.items():
        path = folder.parent / ".blocks" / str(key)[:2] / f"{key}.npz"
        if not path.exists() or sha256(path) != digest:
            wrong.append(f"{path.name}: {'not that of blocks.csv' if path.exists() else 'missing'}")
        elif key in losses:
            # (networks or seeds, rates, evaluations); of a population the first networks are shown
            stored = np.load(path)["loss"].ravel()[: len(losses[key])]
            if not np.array_equal(stored, losses[key], equal_nan=True):
                wrong.append(f"runs.parquet: losses of block {key}")
    return wrong


def sha256(path: Path) -> str:
    """Of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(folder: str) -> int:
    """Print what differs; return 1 where something does."""
    files = Files(Path(folder))
    wrong, told = differences(files), f"{len(files.summary)} rows and {len(files.claims)} claims"
    if (files.folder / "blocks.csv").exists():
        wrong += untraced(files.folder)
        told += f", runs and {len(files.record['blocks'])} blocks"
    print("\n".join(wrong) or f"{told} agree")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
