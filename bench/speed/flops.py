"""Floating-point operations of the arithmetic that no way of training can do without."""

from __future__ import annotations

from kernels import Network


def weights(network: Network) -> list[int]:
    """Number of weights (without biases) of each layer."""
    return [n_in * n_out for n_in, n_out in zip(network.widths, network.widths[1:], strict=False)]


def forward_flops(network: Network) -> int:
    """Operations of the forward pass of one sample: a multiplication and an addition a weight.

    Biases and activations are left out here and below: they are the work's overhead, not its size.
    """
    return 2 * sum(weights(network))


def step_flops(network: Network) -> int:
    """Operations of loss and gradient of one sample, and of training on it.

    No delta is needed for the input, so the first layer counts twice and the others three times.
    The update is not counted: one operation a parameter and batch, and at batch size 1 none at all,
    where the gradient is added to the weights as it is made.
    """
    first, *others = weights(network)
    return 2 * (2 * first + 3 * sum(others))
