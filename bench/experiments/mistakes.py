"""What goes wrong where a batch is averaged: each mistake as an update beside the right one.

Plain NumPy in float64, many runs side by side: the kernels average correctly, and only so. A batch
of n samples with gradients g_i gives the update w <- w - eta sum_i c_i g_i. The right one has
c_i = 1/n (equation B5 of `kernels.reference`); all mistakes but one have other weights c_i. The one
is claim C5's: it averages the errors y_hat - y first, and back-propagates their mean through the
mean activations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

import kernels
from bench.analysis import layers
from bench.analysis.outcomes import DIVERGED_FACTOR
from bench.arrays import DAMAGE, read_npz
from bench.experiments.crew import Coded, Crew, Job, blas
from bench.experiments.plan import updates_per_epoch
from bench.experiments.progress import Reporter
from bench.experiments.run import finished
from bench.experiments.store import Store
from bench.problems import Problem
from kernels import Network
from kernels.reference import HIDDEN

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Gradient = Callable[[Network, Floats, Floats, Floats], Floats]
"""From network, parameters (runs, n_params), X (runs or 1, n, d), targets (runs or 1, n, n_outputs)
to what the update multiplies by the learning rate: (runs, n_params)."""

SHARE = 5 / 8  # of a batch, that the first of two micro-batches takes
FORMAT = 1  # raise it when what a file holds changes


def weighted(weights: Callable[[int], Floats]) -> Gradient:
    """Return the gradient that weighs the samples of a batch of n by `weights(n)`, (n,)."""

    def gradient(network: Network, params: Floats, X: Floats, targets: Floats) -> Floats:
        _, slope = HIDDEN[network.activation]
        zs, inputs = layers.forward(network, params, X)
        delta = layers.output_deltas(network, zs[-1], targets) * weights(X.shape[1])[:, None]
        matrices = [W for W, _ in network.unpack(params)]
        pieces: list[Floats] = []
        for layer in range(network.n_layers - 1, -1, -1):
            dW = np.swapaxes(delta, -1, -2) @ inputs[layer]  # B3, summed with the weights
            pieces = [dW.reshape(len(params), -1), delta.sum(axis=1), *pieces]  # B4
            if layer:
                delta = (delta @ matrices[layer]) * slope(zs[layer - 1])  # B2
        return np.concatenate(pieces, axis=1)

    return gradient


def micro_batches(*sizes: int) -> Floats:
    """Weights (n,) of samples where the averages of micro-batches are averaged: 1 / (k size)."""
    parts = [size for size in sizes if size]
    return np.repeat([1.0 / (len(parts) * size) for size in parts], parts)


def averaged_error(network: Network, params: Floats, X: Floats, targets: Floats) -> Floats:
    """Back-propagate the mean error through mean activations: claim C5's mistake.

    Everything that the backward pass uses is replaced by its mean over the batch: y_hat - y (and
    y_hat, where half squared error multiplies by y_hat (1 - y_hat)), the inputs a of each layer,
    and z, at which the slope is taken. A product of means is not the mean of the products.
    """
    _, slope = HIDDEN[network.activation]
    zs, inputs = layers.forward(network, params, X)
    y_hat = outputs(network, zs[-1])
    delta = (y_hat - targets).mean(axis=1)
    if network.output == "sigmoid" and network.loss == "half_mse":
        mean = y_hat.mean(axis=1)
        delta = delta * mean * (1.0 - mean)
    matrices = [W for W, _ in network.unpack(params)]
    pieces: list[Floats] = []
    for layer in range(network.n_layers - 1, -1, -1):
        a = np.broadcast_to(inputs[layer].mean(axis=1), (len(params), inputs[layer].shape[-1]))
        dW = delta[:, :, None] * a[:, None, :]
        pieces = [dW.reshape(len(params), -1), delta, *pieces]
        if layer:
            back = (delta[:, None, :] @ matrices[layer])[:, 0]
            delta = back * slope(zs[layer - 1].mean(axis=1))
    return np.concatenate(pieces, axis=1)


def outputs(network: Network, logits: Floats) -> Floats:
    """F3: y_hat from the logits, (..., n_outputs)."""
    if network.output == "softmax":
        return np.asarray(special.softmax(logits, axis=-1))
    return np.asarray(special.expit(logits)) if network.output == "sigmoid" else logits


RIGHT, SUM, ERROR, MEANS, LEFTOVER = (
    "none",
    "sum for mean",
    "averaged error",
    "mean of means",
    "mean of means, one left over",
)
GRADIENTS: dict[str, Gradient] = {
    RIGHT: weighted(lambda n: np.full(n, 1.0 / n)),
    SUM: weighted(np.ones),
    ERROR: averaged_error,
    MEANS: weighted(lambda n: micro_batches(first := int(np.ceil(SHARE * n)), n - first)),
    LEFTOVER: weighted(lambda n: micro_batches(n - 1, 1)),
}
"""What each mistake makes of a batch; at batch size 1 all are the same."""
BLIND_TO_ORDER = (RIGHT, SUM, ERROR)
"""Those that do not ask in which order a batch's samples come."""


@dataclass(frozen=True)
class Task:
    """Runs of one mistake and batch size: every seed at every rate.

    Parameters
    ----------
    mistake
        A key of `GRADIENTS`.
    batch_size
        Samples per update.
    seeds
        Of initial parameters and orders, as in every study.
    learning_rates
        Ascending.
    epochs
        Budget: passes over the training samples.
    checkpoints
        Examples seen at which to evaluate, ascending, from 0 to the end.
    """

    mistake: str
    batch_size: int
    seeds: tuple[int, ...]
    learning_rates: tuple[float, ...]
    epochs: int
    checkpoints: tuple[int, ...]

    def work(self, problem: Problem) -> float:
        """Rough amount of work, in multiplications of a forward pass, for order and progress."""
        n, n_params = problem.n_train, problem.network.n_params
        updates = self.epochs * updates_per_epoch(n, self.batch_size)
        samples = self.epochs * n + len(self.checkpoints) * n / 3
        runs = len(self.seeds) * len(self.learning_rates)
        # Each update costs as much as 20,000 parameters, and twice its runs' parameters
        return float(runs * n_params * (samples + 2 * updates) + 20_000 * updates)

    def key(self, problem: Problem) -> str:
        """Return the sha256, in hex, of all that determines the result, this file included."""
        content = (
            FORMAT,
            problem.content_hash(),
            *(repr(value) for value in asdict(self).values()),
            np.__version__,
            kernels.INSTRUCTION_SET,
            blas(),
            *(Path(str(module)).read_bytes() for module in (__file__, layers.__file__)),
        )
        return hashlib.sha256(repr(content).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Trained:
    """What the runs of a task did: C evaluations of (seeds, rates) runs.

    Parameters
    ----------
    examples, updates
        int64 (C,): seen and done at each evaluation, from 0.
    loss, score
        float64 (seeds, rates, C) on the whole training split, NaN after a run has diverged; score
        is accuracy or rmse.
    diverged
        bool (seeds, rates): non-finite, or above ten times its start, at some evaluation.
    dead_start, dead_end
        bool (seeds, rates): a hidden layer without an active unit on any training sample, before
        the first and after the last update; a diverged run is not called dead.
    """

    examples: NDArray[np.int64]
    updates: NDArray[np.int64]
    loss: Floats
    score: Floats
    diverged: Bools
    dead_start: Bools
    dead_end: Bools


@np.errstate(over="ignore", invalid="ignore")  # divergence is an answer
def train(problem: Problem, task: Task) -> Trained:
    """Train a task's runs side by side.

    Seed s starts from `kernels.init_params(network, s)` and visits `kernels.sample_order(s, n,
    epochs)`; batches are consecutive cuts, the last one of an epoch may be shorter.
    """
    n, size = problem.n_train, task.batch_size
    per_epoch = updates_per_epoch(n, size)
    # Evaluations come at the first update at or past each checkpoint
    points = np.array(task.checkpoints)
    updates = np.unique(points // n * per_epoch + -(-(points % n) // size))
    runs = _Runs(problem, task, updates)
    for update in range(1, task.epochs * per_epoch + 1):
        epoch, k = divmod(update - 1, per_epoch)
        runs.update(epoch, slice(k * size, (k + 1) * size))
        runs.evaluate(update)
        if not len(runs.at):
            break
    return runs.trained()


class _Runs:
    """The runs of a task while they are trained; diverged ones are left out."""

    def __init__(self, problem: Problem, task: Task, updates: NDArray[np.int64]) -> None:
        seeds, rates = task.seeds, task.learning_rates
        self.problem, self.task, self.updates = problem, task, updates
        network, n = problem.network, problem.n_train
        self.X = problem.X_train.astype(np.float64)
        self.targets = layers.target_rows(network, problem.y_train)
        self.gradient = GRADIENTS[task.mistake]
        orders = [kernels.sample_order(seed, n, task.epochs).astype(np.int32) for seed in seeds]
        self.orders = np.stack(orders)
        self.whole = task.batch_size >= n and task.mistake in BLIND_TO_ORDER
        starts = [kernels.init_params(network, seed, problem.scheme) for seed in seeds]
        self.params = np.repeat(np.stack(starts), len(rates), axis=0)
        self.rates = np.tile(np.array(rates), len(seeds))[:, None]
        self.at = np.arange(len(self.params))  # places of the runs that are still trained
        self.dead_start = self._dead()
        self.loss, self.score = np.full((2, len(self.params), len(updates)), np.nan)
        self.evaluate(0)

    def update(self, epoch: int, cut: slice) -> None:
        """Make one update of every run that has not diverged."""
        if self.whole:
            X, targets = self.X[None], self.targets[None]
        else:
            rows = self.orders[self.at // len(self.task.learning_rates), epoch, cut]
            X, targets = self.X[rows], self.targets[rows]
        # U1 with the mistake's gradient
        self.params -= self.rates * self.gradient(self.problem.network, self.params, X, targets)

    def evaluate(self, update: int) -> None:
        """Note loss and score after this update, if it is time; leave out runs that diverged."""
        point = int(np.searchsorted(self.updates, update))
        if self.updates[point] != update:
            return
        loss, self.score[self.at, point] = losses_and_scores(self.problem, self.params)
        self.loss[self.at, point] = loss
        limit = DIVERGED_FACTOR * np.maximum(self.loss[self.at, 0], self.problem.constant_loss())
        keep = loss <= limit  # a NaN is not
        if not keep.all():
            self.at, self.params, self.rates = self.at[keep], self.params[keep], self.rates[keep]

    def _dead(self) -> Bools:
        """Whether a hidden layer has no active unit on any training sample: (runs,)."""
        active = kernels.active_units(self.problem.network, self.params, self.X)
        return np.asarray((active == 0).any(axis=-1))

    def trained(self) -> Trained:
        """Return what the runs did."""
        shape = len(self.task.seeds), len(self.task.learning_rates)
        dead, diverged = np.zeros(len(self.loss), bool), np.ones(len(self.loss), bool)
        diverged[self.at] = False
        if len(self.at):
            dead[self.at] = self._dead()
        n, size = self.problem.n_train, self.task.batch_size
        epochs, k = np.divmod(self.updates, updates_per_epoch(n, size))
        return Trained(
            examples=epochs * n + k * size,
            updates=self.updates,
            loss=self.loss.reshape(*shape, -1),
            score=self.score.reshape(*shape, -1),
            diverged=diverged.reshape(shape),
            dead_start=self.dead_start.reshape(shape),
            dead_end=dead.reshape(shape),
        )


def losses_and_scores(problem: Problem, params: Floats) -> tuple[Floats, Floats]:
    """Loss and accuracy (or rmse) of each run on the training split: (runs,) each."""
    network, y = problem.network, problem.y_train
    targets = layers.target_rows(network, y)
    z = layers.forward(network, params, problem.X_train)[0][-1]
    if network.loss == "ce":
        loss = (special.logsumexp(z, axis=-1) - (z * targets).sum(axis=-1)).mean(axis=-1)  # L2
        return loss, np.asarray((z.argmax(axis=-1) == y).mean(axis=-1))
    if network.loss == "bce":
        loss = (np.logaddexp(0.0, z) - targets * z).sum(axis=-1).mean(axis=-1)  # L1
        return loss, np.asarray(((z > 0) == (targets > 0.5)).mean(axis=(-2, -1)))
    squares = ((outputs(network, z) - targets) ** 2).sum(axis=-1).mean(axis=-1)
    return 0.5 * squares, np.sqrt(squares / network.n_outputs)  # L3


def run_tasks(
    problem: Problem,
    tasks: Iterable[Task],
    store: Store,
    crew: Crew,
    progress: Reporter,
    name: str,
) -> list[Trained]:
    """Return what the runs of these tasks did; what the store lacks is trained, largest first.

    Parameters, errors and interruption are as of `bench.experiments.run_blocks`.
    """
    tasks = list(tasks)
    found = {task: trained for task in tasks if (trained := read(problem, task, store))}
    missing = [task for task in tasks if task not in found]
    if not missing:
        return [found[task] for task in tasks]
    missing.sort(key=lambda task: task.work(problem), reverse=True)
    job = Job(problem, missing, (), train_coded, nothing_to_compile)
    crew.prepare(job, progress)
    for task, data in finished(job, store, crew, progress, name):
        found[task] = decode(data, task.key(problem))
    return [found[task] for task in tasks]


def train_coded(problem: Problem, task: Task) -> Coded:
    """Train a task; return its key and its file's content. Called in the workers."""
    key = task.key(problem)
    return key, encode(key, train(problem, task))


def nothing_to_compile(*_: object) -> None:
    """Compile nothing: tasks are done by NumPy."""


def encode(key: str, trained: Trained) -> bytes:
    """Return a task's file: an npz of plain arrays, its key among them."""
    buffer = BytesIO()
    arrays = {field.name: getattr(trained, field.name) for field in fields(trained)}
    np.savez(buffer, allow_pickle=False, key=np.array(key), **arrays)
    return buffer.getvalue()


def read(problem: Problem, task: Task, store: Store) -> Trained | None:
    """Return a task's stored result; None where there is none, and, told, where it is damaged."""
    key = task.key(problem)
    path = store.path(key)
    if not path.exists():
        return None
    try:
        return decode(store.fetch(key), key)
    except DAMAGE as error:
        store.warnings.append(f"{path} cannot be read ({error}); its runs are trained again")
        return None


def decode(data: bytes, key: str) -> Trained:
    """Return the result in a task's file.

    Raises
    ------
    DAMAGE
        Where the file is damaged, or not this task's.
    """
    arrays = read_npz(BytesIO(data))
    if str(arrays["key"]) != key:
        raise ValueError("the file holds another task")
    return Trained(**{field.name: arrays[field.name] for field in fields(Trained)})
