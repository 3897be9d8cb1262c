"""Flops and bytes of each way of training, and the roof that bounds it: a model, no measurement.

Bytes are those of the weights (and biases), without the padding to whole vectors. Samples,
activations and deltas of a batch are left out: they are few beside the weights, and near. The
product goes over a layer's weights once for all samples of a chunk (of a batch, in other programs):

    pass over a layer         reads  writes
    forward                     1      0
    delta                       1      0     not in the first layer; at B = 1, where the gradient
                                             goes into the weights, the same pass as that
    gradient into the weights   1      1     SGD, while a batch fits in a chunk
    gradient into a sum         1      1     else; beside it, once a batch, the sum is set to 0 (one
                                             write) and applied (two reads, one write)

so a batch of B samples, step by step, moves the first layer's weights three times. With look-ahead
a chunk of several batches does, K = 16 samples at most: the others see their change through the
chunk's Gram matrix. The layers behind the first change with each batch, in either way; one run
keeps their weights twice, the second time transposed, and its gradient goes into both.

Where these bytes come from: what is gone over again only after all weights were comes from the
level that holds all of them. The layers behind the first are visited several times in between; what
their further visits move comes from the level that holds these layers alone.

Other programs are counted with the least that any can do: a batch at a time, with the gradient put
into the weights as it is made, as a compiler may fuse it at B = 1. What a program moves on top (a
gradient that is written and read again) counts against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.speed.bandwidth import Level, level_of
from bench.speed.flops import step_flops
from bench.speed.peers import OURS
from kernels import Network
from kernels.schedule import Schedule, schedule
from kernels.updates import SGD

FLOAT_BYTES = 4
FMA = "fma"


class Way(NamedTuple):
    """A way of training: whose program, how many runs at once, and with look-ahead or not."""

    program: str
    runs: int = 1
    look_ahead: bool = False


class Sweep(NamedTuple):
    """Bytes that are gone over again and again.

    Parameters
    ----------
    working_set
        Bytes from one visit of a weight to the next: what must fit in a level to come from it.
    moved
        Bytes read and written, per sample and run.
    """

    working_set: int
    moved: float


def sweeps(way: Way, network: Network, batch_size: int) -> list[Sweep]:
    """What a way of training moves: over all weights, and on top over those behind the first layer.

    See the module's docstring for the model.

    Parameters
    ----------
    way
        How it is trained; SGD in float32.
    network, batch_size
        What is trained.
    """
    first, *others = (FLOAT_BYTES * (n_in + 1) * n_out for n_in, n_out in network.layer_shapes)
    rest = sum(others)
    kept = 2 * rest if way == Way(OURS, 1, way.look_ahead) else rest
    whole, upper, held = _counted(way, network, batch_size, (first, rest, kept))
    return [Sweep(way.runs * held, whole), Sweep(way.runs * kept, upper)]


def _counted(
    way: Way, network: Network, batch_size: int, layers: tuple[int, int, int]
) -> tuple[float, float, int]:
    """Bytes per sample of all weights, of further visits of the upper layers; working set.

    layers = (bytes of the first layer, of the others, of the others with their copies).
    """
    first, rest, kept = layers
    plan = Schedule(batch_size, batch_size, whole=True)
    if way.program == OURS:
        plan = schedule(SGD(), network.n_inputs, batch_size, look_ahead=way.look_ahead)
    if plan.whole:
        delta = rest if batch_size > 1 else 0
        once = 2 * kept / plan.span  # in and out once a span, whatever visits are between
        upper = (rest + delta + 2 * kept) / batch_size - once
        return 3 * first / plan.span + once, upper, first + kept
    chunks = -(-batch_size // plan.span)
    whole = (3 * chunks + 4) * (first + kept) / batch_size
    return whole, (2 * rest - kept) * chunks / batch_size, 2 * (first + kept)


@dataclass(frozen=True)
class Roofs:
    """What a core can do at most.

    Parameters
    ----------
    peak
        Floating-point operations per second.
    levels
        Of the memory, nearest first, with their bandwidths.
    """

    peak: float
    levels: tuple[Level, ...]

    def bytes_from(self, place: int, moved: Sequence[Sweep]) -> float:
        """Bytes per sample that come from the level of this place or from behind it."""
        far = (self.levels.index(level_of(s.working_set, self.levels)) for s in moved)
        return sum(s.moved for s, level in zip(moved, far, strict=True) if level >= place)


@dataclass(frozen=True)
class Bound:
    """Where a way of training stands below the roofs.

    Parameters
    ----------
    flops
        Per sample and run.
    level
        Name of the level that all weights live in.
    intensity
        Flops per byte from that level.
    roof
        The nearest: the name of a level, or "fma".
    speed
        What this roof allows, in flops per second.
    """

    flops: int
    level: str
    intensity: float
    roof: str
    speed: float


def bound(way: Way, network: Network, batch_size: int, roofs: Roofs) -> Bound:
    """Return the roof that is nearest: of the arithmetic, or of a level that bytes come from."""
    moved, flops = sweeps(way, network, batch_size), step_flops(network)
    home = roofs.levels.index(level_of(moved[0].working_set, roofs.levels))
    allowed = {FMA: roofs.peak}
    for place, level in enumerate(roofs.levels[: home + 1]):
        allowed[level.name] = flops / roofs.bytes_from(place, moved) * level.training
    roof = min(allowed, key=lambda name: allowed[name])
    intensity = flops / roofs.bytes_from(home, moved)
    return Bound(flops, roofs.levels[home].name, intensity, roof, allowed[roof])
