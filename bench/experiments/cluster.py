"""A Dask cluster as the crew of a study: groups of blocks go out, their files come back.

A problem's data go to each worker once. Workers are asked first who they are: only the same program
on the same instruction set computes the same bits. Who joins late is asked and used; what a killed
worker had is done again by others.
"""

from __future__ import annotations

import hashlib
import logging
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

import kernels
from bench.errors import InputError, StoppedError
from bench.experiments.crew import (
    AHEAD,
    POLL_SECONDS,
    Coded,
    Crew,
    Desk,
    Failure,
    Job,
    Threads,
    asked_to_stop,
    attempt,
    blas,
)
from bench.experiments.progress import Reporter, Silent
from bench.experiments.run import few_samples
from bench.problems import Problem

LOCAL = "local"  # in place of an address: a cluster of processes on this machine
TASK_SECONDS = 1.0  # that a task lasts at least: handing one out takes milliseconds
LOOK_SECONDS = 1.0  # between looks at who is there
CONNECT_SECONDS = 10.0
SCHEMES = ("tcp", "tls")
CLOSE_SECONDS = 10.0


class Done(NamedTuple):
    """What became of a group of items, and how long it took; or why nothing was done."""

    outcomes: list[Coded | Failure]
    seconds: float
    unfit: str


@contextmanager
def hired(scheduler: str | None, size: int, progress: Reporter) -> Iterator[Crew]:
    """Let a crew work: threads of this process, or a cluster.

    Parameters
    ----------
    scheduler
        Address of a Dask scheduler, `LOCAL` for one on this machine, None for threads.
    size
        Number of threads, or of the local cluster's processes.
    progress
        Told who works, who is left out and why.

    Raises
    ------
    InputError
        Where Dask is not installed, or no scheduler answers.
    """
    with serving(scheduler, size) as address:
        if address is None:
            yield Threads(size)
            return
        cluster = Cluster(address, progress)
        try:
            yield cluster
        finally:
            cluster.close()


def crew_to_be(scheduler: str | None, size: int, progress: Reporter) -> Crew:
    """Return the crew that `hired` with the same arguments would let work, which does nothing.

    Raises
    ------
    InputError
        As of `hired`.
    """
    if scheduler == LOCAL:
        _distributed()
    if scheduler is None or scheduler == LOCAL:
        return Threads(size)
    cluster = Cluster(scheduler, progress)
    cluster.close()
    return cluster


@contextmanager
def serving(scheduler: str | None, size: int) -> Iterator[str | None]:
    """Give the address of a scheduler: of a cluster started here where `LOCAL` is asked for.

    Raises
    ------
    InputError
        Where Dask is not installed.
    """
    if scheduler != LOCAL:
        yield scheduler
        return
    distributed = _distributed()
    with asked_to_stop() as stop, _deaf_to_interrupts():
        local = distributed.LocalCluster(
            n_workers=size,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    _quiet()
    try:
        if stop.is_set():
            raise KeyboardInterrupt
        yield local.scheduler_address
    finally:
        with suppress(TimeoutError):
            local.close(timeout=CLOSE_SECONDS)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let no process that is started here hear Ctrl-C, which reaches all of a terminal's.

    The study alone answers it, and ends them. It is held back in this thread and in those that it
    starts, and with them in their processes; here it comes as soon as this is over.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Cluster(Crew):
    """The workers of a Dask scheduler.

    Parameters
    ----------
    address
        The scheduler's, such as tcp://10.0.0.1:8786.
    progress
        Told who works, who is left out and why.

    Raises
    ------
    InputError
        Where Dask is not installed, or no scheduler answers.
    """

    def __init__(self, address: str, progress: Reporter) -> None:
        self.address, self._progress = address, progress
        self._client = _connect(address)
        self._pool: Any = None
        self._threads: dict[str, int] = self._client.nthreads()  # of each worker that is there
        self._ready: set[str] = set()
        self._unfit: dict[str, str] = {}  # workers that are left out, and why
        self._asked: dict[Future[str], str] = {}
        self._pinned: dict[Future[Any], set[str]] = {}  # to workers, where others must not do it
        self._data: dict[str, Any] = {}  # problems that lie on the cluster, by content
        self._looked = 0.0
        self._waiting = False  # for a worker, and told so
        self._speed = 0.0  # work a second of one thread; 0: not known yet
        self._left = 0.0  # work that waits

    @property
    def size(self) -> int:
        """Number of threads of the workers that are ready, where none is yet of all; at least 1."""
        counted = self._ready or set(self._threads)
        return sum(n for address, n in self._threads.items() if address in counted) or 1

    def close(self) -> None:
        """Leave the cluster; its workers stay."""
        with suppress(OSError, RuntimeError, TimeoutError):
            self._client.close(timeout=CLOSE_SECONDS)

    def prepare(self, job: Job, progress: Reporter) -> None:  # noqa: ARG002
        """Wait for workers, and let each compile what the job needs.

        Raises
        ------
        InputError
            Where there are workers, and none computes the same bits.
        StoppedError
            Where the scheduler has gone away.
        """
        self._ready.clear()
        self._pool = self._client.get_executor(pure=False)
        self._speed = 0.0  # other work may be counted in other units
        self._look(job, now=True)
        while not self._ready:
            if not self._asked:
                if self._unfit:
                    raise self._nobody()
                self._tell_of_waiting()
                sleep(POLL_SECONDS)
            wait(self._asked, POLL_SECONDS, FIRST_COMPLETED)
            self._look(job)
        self._left = sum(item.work(job.problem) for item in job.items)

    def results(self, job: Job) -> Generator[tuple[Any, Coded]]:
        """Yield items with their results as they are done; after an error nothing stays out."""
        try:
            yield from super().results(job)
        finally:
            with suppress(OSError, RuntimeError, TimeoutError, CancelledError):
                self._pool.shutdown(wait=False)

    def hand_out(self, desk: Desk) -> None:
        """Keep each thread busy, and some groups of items ready."""
        self._look(desk.job)
        if not self._ready:
            self._tell_of_waiting()
            return
        most = self.size + max(AHEAD, self.size // 4)
        while desk.waiting and len(desk.running) < most:
            data = self._shared(desk.job)
            if data is None:
                return
            items = self._group(desk)
            others = set(self._threads) - self._ready
            future = self._pool.submit(
                do_group,
                identity(),
                desk.job.do,
                desk.job.compile_for,
                data,
                items,
                workers=sorted(self._ready) if others else None,
            )
            desk.running[future] = items
            if others:
                self._pinned[future] = set(self._ready)

    def take_back(self, desk: Desk) -> None:
        """Leave what is out, which lasts a second, or as long as a block, and can be done."""
        self._look(desk.job)

    def outcomes(self, desk: Desk, future: Future[Any], items: list[Any]) -> list[Coded | Failure]:
        """Return what became of a group; put back what was lost, or done by the wrong worker."""
        self._pinned.pop(future, None)
        try:
            done: Done = future.result()
        except CancelledError:  # with the scheduler, the workers, or the only one with the data
            self._check_alive()
            self._data = {key: at for key, at in self._data.items() if at.status == "finished"}
            self._put_back(desk, items)
            return []
        except Exception as error:
            what = str(error)
            if type(error).__name__ == "KilledWorker":
                what = "workers were killed at it again and again: is memory short?"
                if len(items) > 1:
                    what = f"or one of {len(items) - 1} done with it: {what}"
            return [Failure(what, "".join(traceback.format_exception(error)))]
        work = sum(item.work(desk.job.problem) for item in items[: len(done.outcomes)])
        if done.unfit:
            self._look(desk.job, now=True)
            self._put_back(desk, items)
        elif work and done.seconds:
            self._speed = work / done.seconds
        return done.outcomes

    def _group(self, desk: Desk) -> list[Any]:
        """Take items off those that wait: a second of work, or a fair share of the rest if less."""
        wanted = min(TASK_SECONDS * self._speed, self._left / self.size)
        items: list[Any] = []
        work = 0.0
        while desk.waiting and (not items or work < wanted):
            items.append(desk.waiting.popleft())
            work += items[-1].work(desk.job.problem)
        self._left -= work
        return items

    def _put_back(self, desk: Desk, items: list[Any]) -> None:
        """Let items wait again."""
        desk.waiting.extendleft(reversed(items))
        self._left += sum(item.work(desk.job.problem) for item in items)

    def _shared(self, job: Job) -> Any:
        """Return where the problem lies on the cluster: workers fetch it once each.

        None where the worker that it was sent to has just left.
        """
        key = job.problem.content_hash()
        if key not in self._data:
            bare = replace(job.problem, table=None)
            self._look(job, now=True)
            if not self._ready:
                return None
            try:
                place = self._client.scatter(bare, hash=False, workers=sorted(self._ready)[:1])
            except (OSError, KeyError, TimeoutError, CancelledError):
                self._check_alive()
                return None
            self._data[key] = place
        return self._data[key]

    def _look(self, job: Job, *, now: bool = False) -> None:
        """See who is there, now and then; ask newcomers to get ready, and hear who is."""
        if now or perf_counter() - self._looked >= LOOK_SECONDS:
            self._looked = perf_counter()
            with self._lost_is_told():
                self._threads = dict(self._client.nthreads())
            there = set(self._threads)
            self._ready &= there
            self._unfit = {address: why for address, why in self._unfit.items() if address in there}
            for future in [f for f, address in self._asked.items() if address not in there]:
                del self._asked[future]
                future.cancel()
            for address in there - self._ready - set(self._unfit) - set(self._asked.values()):
                self._ask(address, job)
            # Nobody would do these any more: `outcomes` puts them back
            for future in [f for f, allowed in self._pinned.items() if not allowed & self._ready]:
                future.cancel()
        for future in [f for f in self._asked if f.done()]:
            self._hear(self._asked.pop(future), future)

    def _tell_of_waiting(self) -> None:
        """Tell, once, that there is nobody to work."""
        if not self._waiting:
            self._progress.say(f"No worker at {self.address}: waiting for one to join.")
        self._waiting = True

    def _ask(self, address: str, job: Job) -> None:
        """Ask a worker who it is, and to compile what the job needs."""
        few = replace(few_samples(job.problem), table=None)
        future = self._pool.submit(
            get_ready, identity(), job.compile_for, few, job.kinds, workers=[address]
        )
        self._asked[future] = address

    def _hear(self, address: str, future: Future[str]) -> None:
        """Take a worker in, or leave it out and tell why."""
        try:
            why = future.result()
        except CancelledError:
            self._check_alive()
            return
        except Exception as error:  # it cannot even import what it is asked to do
            if "task graph" in str(error):  # which the scheduler unpacks
                raise InputError(
                    f"scheduler: that at {self.address} does not know this program: start it in "
                    "the same environment as the workers"
                ) from None
            why = " ".join(f"{type(error).__name__}: {error}".split())
        if not why:
            self._ready.add(address)
            self._waiting = False
            return
        self._unfit[address] = why
        self._progress.say(f"Worker {address} is left out: {why}.")

    def _nobody(self) -> InputError:
        """Return the error where every worker is left out."""
        address, why = next(iter(self._unfit.items()))
        n = len(self._unfit)
        return InputError(
            f"scheduler: no worker of {self.address} can do this, of {n} there: {address}: {why}; "
            "start workers with this program and its versions, on processors of this kind"
        )

    def _check_alive(self) -> None:
        """Raise the error that tells of a scheduler that has gone away, if it has."""
        if self._client.status != "running":
            raise self._gone()

    @contextmanager
    def _lost_is_told(self) -> Iterator[None]:
        """Turn what a lost connection raises into the one line about it."""
        try:
            yield
        except (OSError, RuntimeError, TimeoutError, CancelledError):
            raise self._gone() from None

    def _gone(self) -> StoppedError:
        return StoppedError(
            f"the scheduler at {self.address} has gone away; what was done is kept, and the same "
            "command goes on from there"
        )


def do_group(
    wanted: dict[str, str],
    do: Callable[[Problem, Any], Coded],
    compile_for: Callable[[Problem, Sequence[Any], Reporter], object],
    problem: Problem,
    items: Sequence[Any],
) -> Done:
    """Do a group of items, in a worker; nothing where this is not who was wanted."""
    why = get_ready(wanted, compile_for, problem, items)
    if why:
        return Done([], 0.0, why)
    began = perf_counter()
    outcomes = attempt(Job(problem, items, (), do, compile_for), items)
    return Done(outcomes, perf_counter() - began, "")


def get_ready(
    wanted: dict[str, str],
    compile_for: Callable[[Problem, Sequence[Any], Reporter], object],
    problem: Problem,
    kinds: Sequence[Any],
) -> str:
    """Compile what a worker needs, one thread at a time; or say why its bits would be others."""
    why = unlike(wanted, identity())
    if not why:
        with _one_at_a_time, suppress(Exception):  # an item that fails is named by `attempt`
            _single_threaded_blas()
            compile_for(problem, kinds, Silent())
    return why


_one_at_a_time = threading.Lock()


@cache
def _single_threaded_blas() -> None:
    """Limit BLAS to one thread for as long as this worker lives: bits depend on their number."""
    threadpool_limits(1)


@cache
def identity() -> dict[str, str]:
    """Return what the bits of a result depend on: program, kernels, instruction set, versions."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return {
        "kernels": kernels.KERNEL_HASH[:12],
        "instruction set": kernels.INSTRUCTION_SET,
        "program": digest.hexdigest()[:12],
        **{name: version(name) for name in ("numpy", "scipy", "numba", "llvmlite")},
        "BLAS": blas(),
    }


def unlike(wanted: dict[str, str], found: dict[str, str]) -> str:
    """Say in what a worker differs from what is wanted; "" where in nothing."""
    return ", ".join(
        f"{name} {found[name]}, here {value}"
        for name, value in wanted.items()
        if found[name] != value
    )


def _connect(address: str) -> Any:
    """Return a client of the scheduler at an address."""
    distributed = _distributed()
    scheme = address.partition("://")[0] if "://" in address else "tcp"
    if scheme not in SCHEMES:
        raise InputError(
            f"scheduler must be one of {', '.join(SCHEMES)}://HOST:PORT, got {address!r}"
        )
    if scheme == "tls" and not distributed.Security().get_connection_args("client")["ssl_context"]:
        raise InputError("scheduler: tls:// needs Dask's settings distributed.comm.tls")
    try:
        with warnings.catch_warnings():  # of versions that differ: `identity` tells which matter
            warnings.simplefilter("ignore")
            client = distributed.Client(
                address, timeout=CONNECT_SECONDS, set_as_default=False, name="batchbench"
            )
    except Exception as error:  # of many kinds, where an address makes no sense
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"scheduler: no Dask scheduler answers at {address!r} ({why}); "
            "start one by `dask scheduler`, or give --scheduler local"
        ) from None
    _quiet()
    return client


def _distributed() -> Any:
    """Return the package `distributed`."""
    try:
        import distributed
    except ImportError:
        raise InputError(
            "scheduler needs dask.distributed: .venv/bin/pip install --editable '.[cluster]'"
        ) from None
    _quiet()
    return distributed


def _quiet() -> None:
    """Keep Dask's logs off the terminal: what matters is told in sentences."""
    for name in [*logging.root.manager.loggerDict]:
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
