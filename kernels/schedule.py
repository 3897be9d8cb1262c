"""Which examples make a batch, which batches a chunk: the static rule that chooses the way."""

from __future__ import annotations

from typing import NamedTuple

from kernels.layout import CHUNK
from kernels.updates import SGD, Adam, Momentum, Nesterov, Rule


class Schedule(NamedTuple):
    """How the examples of an epoch become batches and chunks."""

    batch_size: int
    span: int  # examples of a chunk: whole batches, or a part of one batch
    whole: bool  # whether chunks hold whole batches: none is ever cut


def schedule(
    rule: Rule,
    n_inputs: int,
    batch_size: int,
    *,
    unrolled: bool = False,
    look_ahead: bool = True,
) -> Schedule:
    """The static rule that chooses the way; it never depends on a measured time.

    A batch that fits in a chunk is trained there; the gradient of a larger one is summed up over
    several. A chunk holds several batches, for look-ahead, where it is exact, wanted, and pays: the
    rule is linear in the gradient, its K/2 products a sample are fewer than the n_in that it saves,
    and, for a rule with a velocity, which doubles the products of a chunk, batches are small. A
    small network (`unrolled.small_network`) goes from batch to batch.
    """
    if unrolled:
        return Schedule(batch_size, batch_size, whole=True)
    if look_ahead and n_inputs >= CHUNK and batch_size <= LARGEST_AHEAD[type(rule)]:
        return Schedule(batch_size, CHUNK // batch_size * batch_size, whole=True)
    if batch_size == 1 or (isinstance(rule, SGD) and batch_size <= CHUNK):
        return Schedule(batch_size, batch_size, whole=True)
    return Schedule(batch_size, CHUNK, whole=False)


LARGEST_AHEAD = {SGD: CHUNK, Momentum: 4, Nesterov: 4, Adam: 0}
"""The largest batch size at which a rule looks ahead; 0 where it is not linear in the gradient."""
