"""Blocks on several threads: the same bits for any number of workers and any interruption."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from bench.errors import InputError
from bench.experiments import Block, Store, Threads, iterate, plan, run, run_block, run_blocks
from bench.experiments.crew import AHEAD
from bench.experiments.progress import Bar, Lines, Silent, reporter
from bench.problems import load_problem
from kernels import init_params, sample_order
from kernels.reference import loss_reference, train_reference

IRIS, NOTES = load_problem("iris"), load_problem("notes")
BLOCKS = [
    block
    for batch_size in (8, 32, 120)
    for block in plan.grid(IRIS, "sgd", batch_size, (0.125, 0.5), (0, 1))
]
REAL = run.run_coded


def contents(out: Path) -> dict[str, bytes]:
    """Return the bytes of all block files below a folder, by name."""
    return {path.name: path.read_bytes() for path in (out / ".blocks").rglob("*.npz")}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of the blocks, run by one worker without interruption."""
    out = tmp_path_factory.mktemp("one-worker")
    run_blocks(IRIS, BLOCKS, Store(out), crew=Threads(1))
    return contents(out)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    """Count the blocks that are trained."""
    trained = []

    def count(problem, block):
        trained.append(block)
        return REAL(problem, block)

    monkeypatch.setattr(run, "run_coded", count)
    return trained


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bits(
    tmp_path: Path, expected: dict[str, bytes], workers: int
) -> None:
    """Two or three workers, and blocks in another order, write the files that one wrote."""
    run_blocks(IRIS, BLOCKS[::-1], Store(tmp_path), crew=Threads(workers))
    assert contents(tmp_path) == expected


def test_nothing_is_run_twice(
    tmp_path: Path, expected: dict[str, bytes], counted: list[Block]
) -> None:
    """The same blocks again are found, not trained; more seeds train the new ones alone."""
    assert run_blocks(IRIS, BLOCKS, Store(tmp_path), crew=Threads(1)).n_blocks == len(BLOCKS)
    assert run_blocks(IRIS, BLOCKS, Store(tmp_path), crew=Threads(1)).n_blocks == 0
    assert len(counted) == len(BLOCKS)
    more = plan.grid(IRIS, "sgd", 8, (0.125, 0.5), (0, 1, 2))
    run_blocks(IRIS, more, Store(tmp_path), crew=Threads(1))
    assert [block.seed for block in counted[len(BLOCKS) :]] == [2]
    assert expected.items() <= contents(tmp_path).items()


def test_a_block_listed_twice_is_run_once(tmp_path: Path, counted: list[Block]) -> None:
    """Equal blocks are one piece of work."""
    run_blocks(IRIS, BLOCKS[:1] * 3, Store(tmp_path), crew=Threads(2))
    assert len(counted) == 1


def test_damaged_blocks_are_run_again(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """A cut file is named, run again, and then holds the bits it had."""
    run_blocks(IRIS, BLOCKS, Store(tmp_path), crew=Threads(1))
    path = Store(tmp_path).path(BLOCKS[0].key(IRIS))
    path.write_bytes(path.read_bytes()[:100])
    store = Store(tmp_path)
    assert run_blocks(IRIS, BLOCKS, store, crew=Threads(1)).n_blocks == 1
    assert path.name in store.warnings[0]
    assert contents(tmp_path) == expected


def test_killed_and_resumed_is_as_if_nothing_happened(
    tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """Killed by SIGKILL while it writes, then resumed: the files of an undisturbed run."""
    script = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from dataclasses import replace
from pathlib import Path
from test_run import BLOCKS, IRIS, Store, Threads, run_blocks
write = Store.write
def slow(self, key, data):
    write(self, key, data)
    print(key, flush=True)
    time.sleep(60)
Store.write = slow
run_blocks(IRIS, BLOCKS, Store(Path({str(tmp_path)!r})), crew=Threads(2))
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline().strip()
    process.kill()
    process.communicate()
    assert list(contents(tmp_path)) == [f"{first}.npz"]
    assert run_blocks(IRIS, BLOCKS, Store(tmp_path), crew=Threads(2)).n_blocks == len(BLOCKS) - 1
    assert contents(tmp_path) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_keeps_what_is_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Ctrl-C and SIGTERM let running blocks finish and be written, and start no other."""
    started = []

    def interrupting(problem, block):
        started.append(block)
        if len(started) == 1:
            signal.pthread_kill(threading.main_thread().ident, number)
            time.sleep(0.3)
        return REAL(problem, block)

    monkeypatch.setattr(run, "run_coded", interrupting)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run_blocks(IRIS, BLOCKS, Store(tmp_path), crew=Threads(1))
    assert len(started) < len(BLOCKS)
    assert len(contents(tmp_path)) == len(started)
    assert signal.getsignal(number) is before


def test_a_failing_block_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a worker names problem, rule, batch size, seed and rates."""

    def failing(*_):
        raise MemoryError("no memory left")

    monkeypatch.setattr(run, "run_coded", failing)
    with pytest.raises(RuntimeError, match=r"iris \(sgd, batch size 8, seed 0, .*no memory left"):
        run_blocks(IRIS, BLOCKS[:1], Store(tmp_path), crew=Threads(2))


def test_a_failing_block_loses_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks in work beside the one that fails are finished and written; no other is begun."""
    begun, fails = [], threading.Event()

    def failing(problem, block):
        begun.append(block)
        if len(begun) == 1:
            fails.wait(10)
            raise MemoryError("no memory left")
        fails.set()
        time.sleep(0.3)
        return REAL(problem, block)

    monkeypatch.setattr(run, "run_coded", failing)
    with pytest.raises(RuntimeError, match=r"\(sgd, batch size .*no memory left"):
        run_blocks(IRIS, BLOCKS, Store(tmp_path), crew=Threads(2))
    assert len(contents(tmp_path)) == len(begun) - 1 < len(BLOCKS) - 1


def test_a_second_interrupt_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After two of Ctrl-C the main thread is free while a block still runs."""
    goes_on = threading.Event()

    def endless(problem, block):
        for _ in range(2):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.1)
        assert goes_on.wait(30)
        return REAL(problem, block)

    monkeypatch.setattr(run, "run_coded", endless)
    with pytest.raises(KeyboardInterrupt):
        run_blocks(IRIS, BLOCKS[:1], Store(tmp_path), crew=Threads(1))
    assert not goes_on.is_set()
    goes_on.set()


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where results cannot be written, the run ends with the one line of the store."""

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        run_blocks(IRIS, BLOCKS, Store(tmp_path), crew=Threads(2))


def test_few_results_wait_to_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than workers + AHEAD blocks are trained ahead of what is written."""
    trained, ahead = [], []

    class Slow(Store):
        def write(self, key, data):
            time.sleep(0.05)
            super().write(key, data)
            ahead.append(len(trained) - len(ahead))

    def instant(*work):
        trained.append(work)
        return f"{len(trained):064}", b""

    monkeypatch.setattr(run, "run_coded", instant)
    run_blocks(IRIS, BLOCKS, Slow(tmp_path), crew=Threads(1))
    assert max(ahead) <= 1 + AHEAD


def test_a_run_can_be_done_again_in_a_few_lines_of_numpy() -> None:
    """The reference, from the seed's parameters and order, gives the losses of a stored run."""
    block = Block("sgd", 32, (0.125, 0.5), seed=4, epochs=3)
    result = run_block(IRIS, block)
    again = train_reference(
        IRIS.network,
        init_params(IRIS.network, seed=4),
        IRIS.X_train,
        IRIS.y_train,
        batch_size=32,
        learning_rate=0.5,
        order=sample_order(4, IRIS.n_train, 3),
    )
    losses = [
        loss_reference(IRIS.network, again.trajectory[update], IRIS.X_train, IRIS.y_train)
        for update in result.updates
    ]
    np.testing.assert_allclose(result.loss[0, 1], losses, rtol=1e-4)


def test_network_i_of_a_population_is_row_i_of_its_seed() -> None:
    """Run (i, j) of a population starts from network i and takes rate j, as one run alone does."""
    block = Block("sgd", 2, (0.25, 1.0), seed=5, epochs=40, population=3)
    result = run_block(NOTES, block)
    assert result.loss.shape[:2] == (3, 2)
    alone = run_block(NOTES, Block("sgd", 2, (0.25, 1.0), seed=5, epochs=40, population=1))
    np.testing.assert_array_equal(result.loss[:1], alone.loss)
    assert not np.array_equal(result.params[0], result.params[1])


def test_some_networks_of_a_population_go_on_for_longer() -> None:
    """Networks 1 and 4 alone, eight times as long, begin as they do among all, to the bit."""
    block = Block("sgd", 4, (0.25,), seed=5, epochs=40, population=6, checkpoints=(80,))
    longer = replace(block, epochs=8 * 40, networks=(1, 4), checkpoints=(80, 160))
    among, alone = run_block(NOTES, block), run_block(NOTES, longer)
    np.testing.assert_array_equal(alone.examples, [0, 80, 160, 8 * 160])
    np.testing.assert_array_equal(alone.loss[..., :3], among.loss[[1, 4]])
    assert longer.key(NOTES) != replace(longer, networks=(1, 3)).key(NOTES)


def test_test_split_is_evaluated_where_there_is_one() -> None:
    """Problems without a test split have NaN there; the others have numbers."""
    with_test = run_block(IRIS, BLOCKS[0])
    assert np.isfinite(with_test.test_loss).all()
    assert with_test.test_score.shape == with_test.score.shape
    assert np.isnan(run_block(NOTES, Block("sgd", 2, (0.5,), 0, 2, population=2)).test_loss).all()


def test_dead_networks_are_seen() -> None:
    """A network that no sample activates is dead at the start, and remains so."""
    block = Block("sgd", 4, (0.25,), seed=0, epochs=5, population=64)
    result = run_block(NOTES, block)
    start = init_params(NOTES.network, seed=0, size=64)
    W, b = NOTES.network.unpack(start)[0]
    z = NOTES.X_train @ np.swapaxes(W, 1, 2) + b[:, None]
    dead = ~(z > 0).any(axis=(1, 2))
    assert dead.any()
    np.testing.assert_array_equal(result.dead_start[:, 0], dead)
    assert result.dead_end[dead].all()


def test_results_come_in_the_order_of_the_blocks(tmp_path: Path) -> None:
    """`iterate` gives every block its own result."""
    store = Store(tmp_path)
    run_blocks(IRIS, BLOCKS, store, crew=Threads(2))
    for block, result in iterate(IRIS, BLOCKS, store):
        np.testing.assert_array_equal(result.loss, run_block(IRIS, block).loss)


def test_a_log_gets_few_plain_lines(tmp_path: Path) -> None:
    """Without a terminal, a stage is one line, and signs that its encoding lacks do no harm."""
    with (tmp_path / "log").open("w", encoding="ascii") as log:
        progress = reporter(log)
        assert isinstance(progress, Lines)
        run_blocks(IRIS, BLOCKS, Store(tmp_path), Threads(1), progress, "coarse rates")
        progress.say("ηταβ")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0].startswith(f"coarse rates: {len(BLOCKS)} blocks in ")
    assert lines[1:] == ["????"]


def test_a_log_tells_what_an_interrupted_stage_has_done(tmp_path: Path) -> None:
    """A stage that ends early is told as "1 of 3 blocks", not as done."""
    with (tmp_path / "log").open("w") as log:
        progress = Lines(log)
        progress.start("coarse rates", 3, 9.0)
        progress.advance(3.0)
        progress.finish()
    assert (tmp_path / "log").read_text().startswith("coarse rates: 1 of 3 blocks in ")


def test_a_terminal_gets_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a stage is a bar with its name, and sentences stay above it."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    class Terminal(StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    progress = reporter(terminal)
    assert isinstance(progress, Bar)
    run_blocks(IRIS, BLOCKS, Store(tmp_path), Threads(1), progress, "coarse rates")
    progress.say("Writing [the report].")
    assert f"coarse rates ({len(BLOCKS)} blocks)" in terminal.getvalue()
    assert terminal.getvalue().endswith("Writing [the report].\n")


def test_nothing_to_do_is_silent(tmp_path: Path) -> None:
    """A stage whose blocks are all there tells nothing."""

    class Loud(Silent):
        def start(self, *_):
            raise AssertionError

    run_blocks(IRIS, [], Store(tmp_path), Threads(1), Loud())


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        """Keep the sentence."""
        self.said.append(message)


def test_compiling_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where compiling takes long that is said before it ends, and then how long it took."""
    told, before = Told(), []

    def slow(*_: object) -> None:
        while not told.said:
            time.sleep(0.01)
        before.extend(told.said)

    monkeypatch.setattr(run, "run_block", slow)
    monkeypatch.setattr(run, "_compiled", set())
    monkeypatch.setattr(run, "TOLD_SECONDS", 0.01)
    run.compile_kernels(IRIS, "sgd", [8], told)
    assert before == [run.COMPILING]
    assert [sentence[:21] for sentence in told.said[1:]] == ["Kernels were compiled"]


def test_each_way_of_training_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches in a chunk, larger ones, and each of XOR's networks have code of their own."""
    compiled = []
    monkeypatch.setattr(run, "run_block", lambda problem, block: compiled.append((problem, block)))
    monkeypatch.setattr(run, "_compiled", set())
    wider = replace(NOTES, network=replace(NOTES.network, widths=(2, 3, 1)))
    for problem in (IRIS, NOTES, IRIS, wider, NOTES, wider):
        run.compile_kernels(problem, "sgd", (1, 2, 8, 64, problem.n_train), Silent())
    widths = [problem.network.widths for problem, _ in compiled]
    assert widths == [IRIS.network.widths] * 2 + [(2, 2, 1), (2, 3, 1)]
    in_a_chunk, larger = (block.batch_size for _, block in compiled[:2])
    assert in_a_chunk <= 16 < larger
