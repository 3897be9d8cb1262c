"""What the kernels are handed: named tuples of flat arrays."""

from __future__ import annotations

from typing import Any, NamedTuple


class Data(NamedTuple):
    """Samples as the kernels read them."""

    X: Any  # (n * n_in,)
    Y: Any  # (n * y_row,)
    n: int
    n_in: int
    y_row: int  # outputs, for one run padded to whole vectors


class Runs(NamedTuple):
    """State of groups of runs, a row a group, overwritten by training."""

    P: Any  # (n_groups, size) parameters
    slots: Any  # (n_groups, n_slots, size) memory of the rule
    rates: Any  # (n_groups, lanes) learning rates
    poison: Any  # (n_groups, lanes) 0, or NaN once a logit was not finite


class Order(NamedTuple):
    """Which samples the epochs visit."""

    indices: Any  # (epochs * m,) int64
    m: int


class Sums(NamedTuple):
    """Parameters to evaluate, and where their scores are added up."""

    P: Any  # (n_groups, size)
    totals: Any  # (n_groups, 2, lanes) float64: loss, and number of correct samples


class Records(NamedTuple):
    """Parameters of one run, and where its values at every sample go, (n, row) each."""

    P: Any
    z: Any
    a: Any
    delta: Any


class Work(NamedTuple):
    """Scratch of one thread, overwritten by every chunk of at most K samples."""

    X: Any  # (K * x_row,) inputs of the chunk
    x_row: int  # n_in filled up with zeros to whole vectors
    Y: Any  # (K * y_row,) targets of the chunk
    y_row: int  # outputs, for one run padded to whole vectors
    A: Any  # activations of every layer
    D: Any  # scaled deltas of every layer
    gram: Any  # (K * K,) inner products of the chunk's inputs, plus 1 for the bias
    G: Any  # (size,) the averaged gradient, where it is accumulated
    tile: Any  # (TILE_VECTORS * lanes,) a tile of it, where it is not
    weights: Any  # (3 * (K + 1),) of batches, for look-ahead (`updates.look_ahead_weights`)
    scores: Any  # (2 * lanes,) loss and correctness of one sample
