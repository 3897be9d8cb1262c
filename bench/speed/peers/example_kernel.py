"""A kernel of your own, to begin with: copy this file, change it, and time it side by side.

    cp bench/speed/peers/example_kernel.py my_kernel.py
    batchbench peers --peer my_kernel.py

`prepare(work)` makes ready what does not belong into the time, and returns
`run(passes, own_order)`, which trains from `work.params` and returns the parameters at the end: all
W (n_out, n_in) row by row, each followed by its b. `work` tells the network, X, y, the order of the
samples (a row for each update) and the learning rate (`bench.speed.peers.Work`). First the result
is held against the reference. What your kernel cannot do it says by CannotDoError.
"""

from __future__ import annotations

import numpy as np

from bench.speed.peers import CannotDoError, Params, Run, Work, flatten


def prepare(work: Work) -> Run:
    """Plain NumPy, one line for each equation."""
    network = work.network
    if work.many:
        raise CannotDoError("trains one run at a time")
    if network.activation != "relu" or network.output != "softmax":
        raise CannotDoError("knows ReLU and softmax alone")
    one_hot = np.eye(network.n_outputs, dtype=np.float32)[work.y]
    rate = np.float32(work.learning_rate)

    def run(passes: int, own_order: bool) -> Params:  # noqa: ARG001  the order is the work's
        layers = [(W.copy(), b.copy()) for W, b in network.unpack(work.params)]
        for batch in np.tile(work.order, (passes, 1)):
            activations = [work.X[batch]]
            for W, b in layers:
                activations.append(np.maximum(activations[-1] @ W.T + b, 0))
            W, b = layers[-1]
            z = activations[-2] @ W.T + b
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            delta = (p - one_hot[batch]) / np.float32(len(batch))
            for (W, b), a in zip(reversed(layers), reversed(activations[:-1]), strict=True):
                before = (delta @ W) * (a > 0)
                W -= rate * (delta.T @ a)
                b -= rate * delta.sum(axis=0)
                delta = before
        return flatten(layers)

    return run
