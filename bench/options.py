"""The options of a study, checked."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from bench.errors import InputError
from bench.problems import Problem
from kernels.updates import RULES

BatchSize = int | Literal["full"]

NOT_STORED = ("workers", "out")  # results do not depend on them


@dataclass(frozen=True)
class Options:
    """What a study can be told; the defaults are a whole study.

    Parameters
    ----------
    seeds
        Number of seeds (blocks of 256 networks for the notes): 0, 1, 2, ... Every third tunes,
        the others report.
    batch_sizes
        Whole numbers and "full", used as they are; None for 1, 2, 4, ... up to N/2, and N.
    learning_rates
        Used as they are at every batch size; None for lattices that widen and refine themselves.
    rule
        Update rule: "sgd", "momentum", "nesterov" or "adam".
    hidden
        Widths of the hidden layers, () for none; None for the problem's own.
    activation
        Of the hidden layers: "relu", "tanh" or "leaky_relu"; None for the problem's own.
    workers
        Threads; None for one a core. Results do not depend on it.
    out
        Output folder: the study in out/NAME, results of blocks in out/.blocks, nothing elsewhere.

    Raises
    ------
    InputError
        For a value that makes no sense; the message names the option.
    """

    seeds: int = 48
    batch_sizes: Sequence[BatchSize] | None = None
    learning_rates: Sequence[float] | None = None
    rule: str = "sgd"
    hidden: Sequence[int] | None = None
    activation: str | None = None
    workers: int | None = None
    out: str | Path = "results"

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        put("seeds", _whole("seeds", self.seeds, 2, "seed 0 tunes and seed 1 reports"))
        if self.workers is not None:
            put("workers", _whole("workers", self.workers, 1, "threads that train"))
        if self.rule not in RULES:
            raise InputError(f"rule must be one of {', '.join(RULES)}, got {self.rule!r}")
        if self.batch_sizes is not None:
            put("batch_sizes", _listed("batch_sizes", self.batch_sizes, _batch_size))
        if self.learning_rates is not None:
            put("learning_rates", _listed("learning_rates", self.learning_rates, _rate))
        if self.hidden is not None:
            put("hidden", tuple(self.hidden))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Options:
        """Return the options of these names.

        Raises
        ------
        InputError
            For a name that is no option; the message holds the nearest one.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
                raise InputError(f"unknown option {name!r}: did you mean {nearest}?")
        return cls(**options)

    @property
    def n_workers(self) -> int:
        """Threads: those asked for, else one for each core this process may use."""
        if self.workers is not None:
            return self.workers
        # what the process may use, where the system tells (not on macOS and Windows)
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1

    def stored(self) -> dict[str, Any]:
        """Return the options that determine results: all but `workers` and `out`."""
        return {k: value for k, value in asdict(self).items() if k not in NOT_STORED}

    def command(self, name: str) -> str:
        """Return the command line that makes the study of this name again."""
        words = ["batchbench", "study", name]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in NOT_STORED and value != field.default:
                words += [f"--{field.name.replace('_', '-')}", _as_word(field.name, value)]
        return " ".join(words)


def arms(problem: Problem, batch_sizes: Sequence[BatchSize] | None) -> tuple[int, ...]:
    """Return the batch sizes as numbers, ascending: "full", and what exceeds N, is N."""
    if batch_sizes is None:
        return problem.batch_sizes
    n = problem.n_train
    return tuple(sorted({n if size == "full" else min(size, n) for size in batch_sizes}))


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
    number = isinstance(rate, Real) and not isinstance(rate, bool)
    if not number or not 0 < float(rate) < math.inf:  # type: ignore[arg-type]
        raise InputError(f"learning_rates must be finite numbers above 0, got {rate!r}")
    return float(rate)  # type: ignore[arg-type]
