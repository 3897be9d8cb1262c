"""A Dask cluster on loopback: a scheduler and workers as processes, some of which are killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from test_mistakes import short_task
from test_run import contents

from bench.errors import InputError, StoppedError
from bench.experiments import Store, Threads, cluster, plan, run_blocks
from bench.experiments.cluster import Cluster, serving
from bench.experiments.crew import Job
from bench.experiments.mistakes import RIGHT, nothing_to_compile, run_tasks
from bench.experiments.progress import Silent
from bench.experiments.run import run_coded
from bench.problems import load_problem, with_options

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

IRIS = with_options(load_problem("iris"), hidden=(64,))
SIZES = (1, 8, 120)
BLOCKS = [block for size in SIZES for block in plan.grid(IRIS, "sgd", size, (0.125, 0.5), range(8))]
TOP = Path(__file__).parents[2]


class Told(Silent):
    """Keeps the sentences that it is told, and calls a function after each block."""

    def __init__(self, after_a_block: Callable[[int], None] = lambda _: None) -> None:
        self.said: list[str] = []
        self.n_done = 0
        self.after_a_block = after_a_block

    def say(self, message: str) -> None:
        """Keep the sentence."""
        self.said.append(message)

    def advance(self, work: float) -> None:  # noqa: ARG002
        """Count a block."""
        self.n_done += 1
        self.after_a_block(self.n_done)


class Service:
    """A scheduler and workers, as processes of their own.

    Parameters
    ----------
    folder
        For what they write.
    n_workers
        Number of workers at the start.
    """

    def __init__(self, folder: Path, n_workers: int) -> None:
        self.folder = folder
        found = folder / "scheduler.json"
        options = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(found)]
        self.scheduler = self.start("dask_scheduler", *options, "--no-dashboard")
        while not (found.exists() and found.read_text().endswith("}")):
            time.sleep(0.05)
        self.options = ["--scheduler-file", str(found), "--nthreads", "1", "--no-nanny"]
        self.workers = [self.worker() for _ in range(n_workers)]
        with distributed_client(found) as client:
            self.address = client.scheduler.address
            if n_workers:
                client.wait_for_workers(n_workers, timeout=60)

    def start(self, module: str, *options: str, top: Path = TOP) -> subprocess.Popen[bytes]:
        """Start one of Dask's programs with the packages that lie in a folder."""
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{module}", *options],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(top)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def worker(self, top: Path = TOP) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self.start("dask_worker", *self.options, "--no-dashboard", top=top)

    def stop(self) -> None:
        """Kill all of them."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def distributed_client(found: Path):
    """Return a client of the scheduler that a file names."""
    from distributed import Client

    return Client(scheduler_file=str(found), set_as_default=False)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files that threads of this process write."""
    out = tmp_path_factory.mktemp("threads")
    run_blocks(IRIS, BLOCKS, Store(out), Threads(2))
    return contents(out)


@pytest.fixture(scope="module")
def service(
    expected: dict[str, bytes],  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """A scheduler and three workers, for all tests but those that end it.

    Kernels are compiled, for `expected`, before workers need them.
    """
    started = Service(tmp_path_factory.mktemp("cluster"), 3)
    yield started
    started.stop()


@pytest.fixture
def crew(service: Service) -> Iterator[Cluster]:
    """The service's workers."""
    with cluster.hired(service.address, 1, Silent()) as hired:
        assert isinstance(hired, Cluster)
        yield hired


def test_a_killed_worker_and_a_late_one(
    service: Service, crew: Cluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """One of three workers is killed, another joins: the files are those of threads, to the bit."""

    def disturb(n_done: int) -> None:
        if n_done == 3:
            victim = service.workers.pop(0)
            victim.kill()
            victim.wait()
            service.workers.append(service.worker())

    told = Told(disturb)
    run_blocks(IRIS, BLOCKS, Store(tmp_path), crew, told)
    assert told.n_done == len(BLOCKS)
    assert contents(tmp_path) == expected


def test_data_go_out_once(
    crew: Cluster, tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages of a study, and other targets, share the data that lie on the cluster already."""
    sent = []
    scatter = crew._client.scatter
    monkeypatch.setattr(crew._client, "scatter", lambda *a, **k: sent.append(a) or scatter(*a, **k))
    store = Store(tmp_path)
    run_blocks(IRIS, BLOCKS[:8], store, crew)
    run_blocks(replace(IRIS, targets=(0.5, 0.4, 0.3)), BLOCKS, store, crew)
    assert len(sent) == 1
    assert contents(tmp_path) == expected


def test_small_blocks_go_out_in_groups(
    crew: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as it is known how long a block takes, a task holds a second of them, or a share."""
    sizes: list[int] = []
    group = Cluster._group

    def counted(self, desk):
        items = group(self, desk)
        sizes.append(len(items))
        return items

    monkeypatch.setattr(Cluster, "_group", counted)
    run_blocks(IRIS, BLOCKS, Store(tmp_path), crew)
    assert sum(sizes) == len(BLOCKS)
    assert sizes[0] == 1
    assert max(sizes) > 1


def test_interrupted_on_a_cluster(
    crew: Cluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """Ctrl-C lets what is out come back, and hands out no more; the rest is done next time."""
    store = Store(tmp_path)

    def interrupt(n_done: int) -> None:
        if n_done == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_blocks(IRIS, BLOCKS, store, crew, Told(interrupt))
    assert 1 <= len(contents(tmp_path)) < len(BLOCKS)
    run_blocks(IRIS, BLOCKS, store, crew)
    assert contents(tmp_path) == expected


def test_a_block_that_fails_on_a_cluster_is_named(crew: Cluster, tmp_path: Path) -> None:
    """The error names the block, and the others that were out are kept."""
    bad = replace(BLOCKS[0], seed=-1, epochs=2 * BLOCKS[0].epochs)
    with pytest.raises(RuntimeError, match=r"iris \(sgd, batch size 1, seed -1.*failed: "):
        run_blocks(IRIS, [bad, *BLOCKS], Store(tmp_path), crew)
    assert contents(tmp_path)


def test_tasks_of_mistakes_run_on_a_cluster(crew: Cluster, tmp_path: Path) -> None:
    """What NumPy trains is the same to the bit as in threads."""
    iris = load_problem("iris")
    tasks = [short_task(RIGHT, size, (0.1, 0.2)) for size in (8, 32)]
    for name, who in (("cluster", crew), ("threads", Threads(2))):
        run_tasks(iris, tasks, Store(tmp_path / name), who, Silent(), "tasks")
    assert contents(tmp_path / "cluster") == contents(tmp_path / "threads")


def test_no_worker_that_fits_is_one_line(
    crew: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all workers are of another instruction set the study ends before it begins."""
    here = cluster.identity() | {"instruction set": "neon2"}
    monkeypatch.setattr(cluster, "identity", lambda: here)
    with pytest.raises(InputError, match=r"no worker of tcp://.* instruction set \w+, here neon2"):
        run_blocks(IRIS, BLOCKS[:1], Store(tmp_path), crew)


def test_a_scheduler_that_goes_away(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """The study stops with one line; what was done is kept, and it goes on elsewhere."""
    service, store = Service(tmp_path, 1), Store(tmp_path / "out")

    def kill(n_done: int) -> None:
        if n_done == 2:
            service.scheduler.kill()

    try:
        with (
            cluster.hired(service.address, 1, Silent()) as crew,
            pytest.raises(StoppedError, match=r"tcp://.* has gone away.*the same command goes on"),
        ):
            run_blocks(IRIS, BLOCKS, store, crew, Told(kill))
    finally:
        service.stop()
    assert 2 <= len(contents(tmp_path / "out")) < len(BLOCKS)
    run_blocks(IRIS, BLOCKS, store, Threads(2))
    assert contents(tmp_path / "out") == expected


def test_workers_may_come_last_and_leave_together(
    tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """Where no worker is there, at first or with all data lost, the study says so and waits."""
    service = Service(tmp_path, 0)

    class Impatient(Told):
        def say(self, message: str) -> None:
            super().say(message)
            service.workers.append(service.worker())

    def kill_the_only_one(n_done: int) -> None:
        if n_done == 2:
            service.workers[0].kill()
            service.workers[0].wait()

    told = Impatient(kill_the_only_one)
    try:
        with cluster.hired(service.address, 1, told) as crew:
            run_blocks(IRIS, BLOCKS, Store(tmp_path / "out"), crew, told)
    finally:
        service.stop()
    assert len(told.said) == len(service.workers) == 2
    assert "waiting for one to join" in told.said[0]
    assert contents(tmp_path / "out") == expected


def test_a_cluster_on_this_machine(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`local` starts processes here, ends them, and gives the same bits."""
    with cluster.hired("local", 1, Silent()) as crew:
        run_blocks(IRIS, BLOCKS[-2:], Store(tmp_path), crew)
        address = crew.address
    assert contents(tmp_path).items() <= expected.items()
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with pytest.raises(InputError, match="no Dask scheduler"):
        Cluster(address, Silent())


def test_other_kernels_are_left_out(service: Service, tmp_path: Path) -> None:
    """A worker with another hash of its kernels is told and gets nothing to do."""
    for package in ("bench", "kernels"):
        shutil.copytree(TOP / package, tmp_path / package)
    with (tmp_path / "kernels" / "chunk.py").open("a") as file:
        file.write("# changed\n")
    stranger = service.worker(tmp_path)
    told = Told()
    try:
        with cluster.hired(service.address, 1, told) as crew:
            assert isinstance(crew, Cluster)
            while not told.said:
                shutil.rmtree(tmp_path / "out", ignore_errors=True)
                run_blocks(IRIS, BLOCKS[:4], Store(tmp_path / "out"), crew, told)
            assert len(crew._ready) == 3
    finally:
        stranger.kill()
        stranger.wait()
    assert "left out: kernels" in told.said[0]
    assert told.n_done % 4 == 0


def test_tasks_for_a_worker_that_has_gone_are_called_back(crew: Cluster) -> None:
    """What was kept for workers of which none is left is cancelled, and so put back; no other is.

    Dask itself would let it wait for them for ever.
    """
    gone, here = Future(), Future()
    job = Job(IRIS, (), (), run_coded, nothing_to_compile)
    crew.prepare(job, Silent())
    crew._pinned = {gone: {"tcp://127.0.0.1:1"}, here: {"tcp://127.0.0.1:1", *crew._ready}}
    crew._look(job, now=True)
    assert gone.cancelled()
    assert not here.cancelled()


@pytest.mark.parametrize("address", ["http://x:1", "ucx://127.0.0.1:1", "tls://127.0.0.1:9"])
def test_an_address_that_makes_no_sense_is_one_line(address: str) -> None:
    """What is no address of a Dask scheduler is refused before anything is tried."""
    with pytest.raises(InputError, match=r"scheduler.*(tcp, tls://HOST:PORT|settings)"):
        Cluster(address, Silent())


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1:9", "tcp://"])
def test_no_scheduler_is_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address at which nothing answers is named, with the way out."""
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at .*--scheduler local"):
        Cluster(address, Silent())


def test_dask_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message says how it is installed."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"\.\[cluster\]"), serving("local", 1):
        pass
