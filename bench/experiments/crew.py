"""Who does the work of a study: threads of this process, or the workers of a cluster.

Items of work are handed out a few ahead, largest first; their results come back as they are done,
to the main thread, which alone writes.
"""

from __future__ import annotations

import signal
import threading
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from time import sleep
from types import FrameType
from typing import Any, NamedTuple, Protocol

from threadpoolctl import threadpool_info, threadpool_limits

from bench.experiments.progress import Reporter
from bench.problems import Problem

# Items handed out beyond one a thread: none idles while the main thread writes, and results that
# wait for it stay few
AHEAD = 2
POLL_SECONDS = 0.2

Coded = tuple[str, bytes]  # an item's key, and the content of its file


class Item(Protocol):
    """A piece of work: a block of runs, or a mistake's task."""

    def work(self, problem: Problem) -> float:
        """Return how much it is, to order and to predict by."""

    def key(self, problem: Problem) -> str:
        """Return the hash of all that determines its result."""


@dataclass(frozen=True)
class Job:
    """Items of work on one problem, and what is done with each.

    Parameters
    ----------
    problem
        What all of them share.
    items
        In the order in which they are begun.
    kinds
        Some of them: what is compiled for these serves all.
    do
        Does one: a function of a module, as clusters send it by name.
    compile_for
        Compiles what a process needs for such items, before its threads begin; tells of it.
    """

    problem: Problem
    items: Sequence[Any]
    kinds: Sequence[Any]
    do: Callable[[Problem, Any], Coded]
    compile_for: Callable[[Problem, Sequence[Any], Reporter], object]


class Failure(NamedTuple):
    """An item's exception, in words: not every exception can travel."""

    what: str
    where: str


def attempt(job: Job, items: Sequence[Any]) -> list[Coded | Failure]:
    """Do the items in turn, up to the first that fails. Called in the workers."""
    done: list[Coded | Failure] = []
    for item in items:
        try:
            done.append(job.do(job.problem, item))
        except Exception as error:
            what = str(error) or type(error).__name__
            return [*done, Failure(what, traceback.format_exc())]
    return done


@dataclass
class Desk:
    """What of a job waits, and what is in work.

    Parameters
    ----------
    job
        The job.
    waiting
        Items that nobody has.
    running
        Those that are handed out, by what their outcomes will come from.
    """

    job: Job
    waiting: deque[Any]
    running: dict[Future[Any], list[Any]]


class Crew(ABC):
    """Threads that do a job, wherever they are."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of threads."""

    @abstractmethod
    def prepare(self, job: Job, progress: Reporter) -> None:
        """Do what comes once, before a job's results: compile, or send the data."""

    @abstractmethod
    def hand_out(self, desk: Desk) -> None:
        """Move what is to begin now from `waiting` to `running`."""

    @abstractmethod
    def take_back(self, desk: Desk) -> None:
        """Take out of `running` what has not begun."""

    def outcomes(
        self,
        desk: Desk,  # noqa: ARG002
        future: Future[Any],
        items: list[Any],  # noqa: ARG002
    ) -> list[Coded | Failure]:
        """Return what became of items, in their order; a crew puts back those it has lost."""
        found: list[Coded | Failure] = future.result()
        return found

    def results(self, job: Job) -> Generator[tuple[Any, Coded]]:
        """Yield items with their results as they are done.

        Ctrl-C and SIGTERM let what is in work finish; a second one does not wait.

        Raises
        ------
        RuntimeError
            Where an item fails, after the results of all others in work; the message names it.
        KeyboardInterrupt
            After Ctrl-C or SIGTERM.
        """
        desk = Desk(job, deque(job.items), {})
        failure: RuntimeError | None = None
        with asked_to_stop() as stop:
            while True:
                ending = stop.is_set() or failure is not None
                if ending:
                    self.take_back(desk)
                else:
                    self.hand_out(desk)
                if not desk.running and (ending or not desk.waiting):
                    break
                if not desk.running:  # a cluster may have lost all of its workers
                    sleep(POLL_SECONDS)
                done, _ = wait(desk.running, POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    items = desk.running.pop(future)
                    for item, outcome in zip(
                        items, self.outcomes(desk, future, items), strict=False
                    ):
                        if isinstance(outcome, Failure):
                            failure = failure or _failed(job.problem, item, outcome)
                        else:
                            yield item, outcome
            if failure is not None:
                raise failure
            if stop.is_set():
                raise KeyboardInterrupt


class Threads(Crew):
    """Threads of this process: data are shared, kernels release the interpreter's lock.

    Parameters
    ----------
    size
        Their number, 1 or more.
    """

    _pool: ThreadPoolExecutor

    def __init__(self, size: int) -> None:
        self._size = size

    @property
    def size(self) -> int:
        """Number of threads."""
        return self._size

    def prepare(self, job: Job, progress: Reporter) -> None:
        """Compile what the threads are to run."""
        job.compile_for(job.problem, job.kinds, progress)

    def hand_out(self, desk: Desk) -> None:
        """Keep each thread busy, and a few items ready."""
        while desk.waiting and len(desk.running) < self._size + AHEAD:
            item = desk.waiting.popleft()
            desk.running[self._pool.submit(attempt, desk.job, [item])] = [item]

    def take_back(self, desk: Desk) -> None:
        """Take back what no thread has begun."""
        desk.running = {f: items for f, items in desk.running.items() if not f.cancel()}

    def results(self, job: Job) -> Generator[tuple[Any, Coded]]:
        """Yield items with their results as they are done."""
        with threadpool_limits(1):
            self._pool = ThreadPoolExecutor(self._size, thread_name_prefix="block")
            try:
                yield from super().results(job)
            finally:
                # Not waited for after a second Ctrl-C: threads write nothing
                self._pool.shutdown(wait=False, cancel_futures=True)


def _failed(problem: Problem, item: Any, outcome: Failure) -> RuntimeError:
    """Return the error that names an item."""
    error = RuntimeError(f"{problem.name} ({item}) failed: {outcome.what}")
    error.add_note(outcome.where)
    return error


@cache
def blas() -> str:
    """Return the BLAS that NumPy multiplies with, and for which processor: bits depend on it."""
    found = [one for one in threadpool_info() if one["user_api"] == "blas"]
    own = [one for one in found if "numpy" in one["filepath"]] or found
    names = ("internal_api", "version", "architecture")
    return "; ".join(sorted({" ".join(str(one.get(name)) for name in names) for one in own}))


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into an event; a second one interrupts at once.

    Python delivers signals to its main thread only: elsewhere the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    heard = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN  # as nohup and `&` may have set it
    ]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
