"""The options of a study, checked."""

from __future__ import annotations

import difflib
import math
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from bench.errors import InputError
from bench.problems import Problem
from bench.problems.table import TableOptions
from kernels.updates import RULES

BatchSize = int | Literal["full"]

NOT_STORED = ("workers", "scheduler", "out", "save_model")  # results do not depend on them
PATHS = {"out": "folder", "save_model": "file"}
UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}
SEEDS = 48
MOST_WORKERS = 1024  # more threads are a slip of the keyboard
TABLE_BUDGET = 60.0  # seconds that the study of an own table may take, unless told otherwise


@dataclass(frozen=True)
class Options:
    """What a study can be told; the defaults are a whole study.

    Parameters
    ----------
    seeds
        Number of seeds (blocks of 256 networks for the notes): 0, 1, 2, ... Every third tunes,
        the others report. None for 48 (xor: 60).
    batch_sizes
        Whole numbers and "full", used as they are; None for 1, 2, 4, ... up to N/2, and N.
    learning_rates
        Used as they are at every batch size; None for lattices that widen and refine themselves.
    rule
        Update rule: "sgd", "momentum", "nesterov" or "adam".
    compare_rules
        Whether to train by the other update rules too, at half of the batch sizes and from fewer
        seeds, and to compare them.
    hidden
        Widths of the hidden layers, () for none; None for the problem's own.
    activation
        Of the hidden layers: "relu", "tanh" or "leaky_relu"; None for the problem's own.
    target_loss
        Training loss to reach, in place of those that a pilot finds; the verdicts use it, and
        beside it 1.25 times and 0.8 times as much.
    budget
        Seconds that the study may take, or text such as "5min": it then goes through rounds, and
        stops after the last one that fits. None for no limit (an own table: 60 s).
    rounds
        Number of rounds in place of a budget.
    step_cost
        (c0, c1): an update of the user's own program takes c0 + c1 B seconds.
    save_model
        File (.npz) for a network trained with what is recommended; own tables only.
    table
        How an own table is read; its fields are given as options of the study.
    workers
        Threads, or processes of a "local" cluster; None for one a core. Results do not depend on
        it.
    scheduler
        Address of a Dask scheduler, whose workers train in place of threads here; "local" for one
        of `workers` processes on this machine. Results do not depend on it.
    out
        Output folder: the study in out/NAME, results of blocks in out/.blocks, nothing elsewhere.

    Raises
    ------
    InputError
        For a value that makes no sense; the message names the option.
    """

    seeds: int | None = None
    batch_sizes: Sequence[BatchSize] | None = None
    learning_rates: Sequence[float] | None = None
    rule: str = "sgd"
    compare_rules: bool = False
    hidden: Sequence[int] | None = None
    activation: str | None = None
    target_loss: float | None = None
    budget: float | str | None = None
    rounds: int | None = None
    step_cost: Sequence[float] | None = None
    save_model: str | Path | None = None
    table: TableOptions | None = None
    workers: int | None = None
    scheduler: str | None = None
    out: str | Path = "results"

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        if self.seeds is not None:
            put("seeds", _whole("seeds", self.seeds, 2, "seed 0 tunes and seed 1 reports"))
        if self.workers is not None:
            put("workers", _whole("workers", self.workers, 1, "threads that train"))
            if self.workers > MOST_WORKERS:
                raise InputError(f"workers must be {MOST_WORKERS:,} or fewer, got {self.workers:,}")
        if not isinstance(self.compare_rules, bool):
            raise InputError(f"compare_rules must be True or False, got {self.compare_rules!r}")
        if self.scheduler is not None and not str(self.scheduler).strip():
            raise InputError("scheduler must be an address such as tcp://10.0.0.1:8786, or local")
        if self.rule not in RULES:
            raise InputError(f"rule must be one of {', '.join(RULES)}, got {self.rule!r}")
        if self.batch_sizes is not None:
            put("batch_sizes", _listed("batch_sizes", self.batch_sizes, _batch_size))
        if self.learning_rates is not None:
            put("learning_rates", _listed("learning_rates", self.learning_rates, _rate))
        if self.hidden is not None:
            put("hidden", tuple(self.hidden))
        if self.target_loss is not None:
            put("target_loss", _positive("target_loss", self.target_loss))
        for name in ("out", "save_model"):
            _check_path(name, getattr(self, name))
        if self.budget is not None:
            put("budget", _seconds(self.budget))
        if self.rounds is not None:
            put("rounds", _whole("rounds", self.rounds, 1, "of training"))
        if self.step_cost is not None:
            put("step_cost", _step_cost(self.step_cost))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Options:
        """Return the options of these names.

        Raises
        ------
        InputError
            For a name that is no option; the message holds the nearest one.
        """
        own = {field.name for field in fields(cls)} - {"table"}
        of_table = {field.name for field in fields(TableOptions)}
        for name in options:
            if name not in own | of_table:
                nearest = difflib.get_close_matches(name, sorted(own | of_table), n=1, cutoff=0)[0]
                raise InputError(f"unknown option {name!r}: did you mean {nearest}?")
        reading = {name: value for name, value in options.items() if name in of_table}
        rest = {name: value for name, value in options.items() if name in own}
        return cls(**rest, table=TableOptions(**reading) if reading else None)

    def for_subject(self, *, own_table: bool) -> Options:
        """Return the options with what an own table needs: a budget, unless the end is given.

        Raises
        ------
        InputError
            For options of a table where there is none.
        """
        if own_table:
            limited = self.fixed or self.budget is not None or self.rounds is not None
            return self if limited else replace(self, budget=TABLE_BUDGET)
        given = [name for name in ("table", "save_model") if getattr(self, name) is not None]
        if given:
            field = (
                next(
                    (
                        f.name
                        for f in fields(TableOptions)
                        if getattr(self.table, f.name) != f.default
                    ),
                    given[0],
                )
                if self.table
                else given[0]
            )
            raise InputError(f"{field} is an option of own tables: give the path of a file")
        return self

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds, None for no limit."""
        return None if self.budget is None else float(self.budget)

    @property
    def fixed(self) -> bool:
        """Whether seeds, batch sizes and rates are all given: then there is nothing to find."""
        given = self.batch_sizes is not None and self.learning_rates is not None
        return given and self.seeds is not None

    def n_seeds(self, problem: Problem) -> int:
        """Number of seeds of a study of a problem that may have a usual number of its own."""
        usual = SEEDS if problem.seeds is None else problem.seeds
        return usual if self.seeds is None else self.seeds

    def seeds_of(self, problem: Problem) -> tuple[int, ...]:
        """Return the seeds of a study of a problem: 0, 1, 2, ..."""
        return tuple(range(self.n_seeds(problem)))

    @property
    def n_workers(self) -> int:
        """Threads: those asked for, else one for each core this process may use."""
        if self.workers is not None:
            return self.workers
        # what the process may use, where the system tells (not on macOS and Windows)
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1

    def stored(self) -> dict[str, Any]:
        """Return the options that determine results: all but `NOT_STORED`."""
        return {k: value for k, value in asdict(self).items() if k not in NOT_STORED}

    def command(self, name: str) -> str:
        """Return the command line that makes the study of this name again."""
        words = ["batchbench", "study", name]
        for options in (self.table, self):
            for field in fields(options) if options else ():
                value = getattr(options, field.name)
                if field.name not in (*NOT_STORED, "table") and value != field.default:
                    words.append(f"--{field.name.replace('_', '-')}")
                    words += [] if value is True else [_as_word(field.name, value)]
        return shlex.join(words)


def arms(problem: Problem, batch_sizes: Sequence[BatchSize] | None) -> tuple[int, ...]:
    """Return the batch sizes as numbers, ascending: "full", and what exceeds N, is N."""
    if batch_sizes is None:
        return problem.batch_sizes
    n = problem.n_train
    return tuple(sorted({n if size == "full" else min(size, n) for size in batch_sizes}))


def seconds_of(text: str) -> float:
    """Return the seconds in "90", "60s", "5min" or "2h".

    Raises
    ------
    ValueError
        For anything else.
    """
    found = re.fullmatch(r"([0-9.]+) ?(|s|min|h)", text.strip())
    if not found:
        raise ValueError(f"no time: {text!r}")
    return float(found[1]) * UNITS[found[2]]


def _as_word(name: str, value: Any) -> str:
    """Return an option's value as it stands on the command line."""
    if not isinstance(value, tuple):
        return str(value)
    return ",".join(map(str, value)) or ("none" if name == "hidden" else "")


def _whole(name: str, value: object, least: int, why: str) -> int:
    """Return a whole number of at least `least`, or refuse the value."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or int(value) < least:  # type: ignore[call-overload]
        raise InputError(f"{name} must be a whole number of {least} or more ({why}), got {value!r}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _check_path(name: str, path: object) -> None:
    """Refuse what is no path of a file or folder: an empty text, one with a NUL, another type."""
    if path is None:
        return
    text = str(path) if isinstance(path, str | Path) else ""
    if not text or "\0" in text or (name == "save_model" and not Path(text).name):
        raise InputError(f"{name} must be the path of a {PATHS[name]}, got {path!r}")


def _listed(name: str, values: object, convert: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return the converted values; refuse an empty list, and what is no list."""
    if isinstance(values, str) or not isinstance(values, Iterable) or not (listed := [*values]):
        raise InputError(f"{name} must be a list of at least one value, got {values!r}")
    return tuple(convert(value) for value in listed)


def _batch_size(size: object) -> BatchSize:
    """Return "full" or a whole number of samples."""
    return "full" if size == "full" else _whole("batch_sizes", size, 1, 'samples, or "full"')


def _rate(rate: object) -> float:
    """Return a positive, finite number."""
    return _positive("learning_rates", rate)


def _positive(name: str, value: object) -> float:
    """Return a finite number above 0, or refuse the value."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < float(value) < math.inf:  # type: ignore[arg-type]
        raise InputError(f"{name} must be finite and above 0, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def _seconds(budget: object) -> float:
    """Return a budget in seconds."""
    try:
        return _positive("budget", seconds_of(budget) if isinstance(budget, str) else budget)
    except ValueError:
        raise InputError(f"budget must be a time such as 60s, 5min or 2h, got {budget!r}") from None


def _step_cost(cost: Sequence[float]) -> tuple[float, float]:
    """Return (c0, c1), seconds of an update and of each of its samples: neither below 0."""
    values = [*cost] if not isinstance(cost, str) else []
    numbers = [v for v in values if isinstance(v, Real) and 0 <= float(v) < math.inf]
    if len(values) != 2 or len(numbers) != 2 or not any(numbers):
        raise InputError(
            "step_cost must be two numbers c0,c1 of 0 or more, the seconds of an update and of "
            f"each of its samples, such as 2e-4,1e-7; got {cost!r}"
        )
    return float(values[0]), float(values[1])
