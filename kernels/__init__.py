"""The arithmetic of training: arrays in, arrays out.

Multi-layer perceptrons trained with averaged mini-batch gradients: one network, or many runs at
once in the lanes of vectors. `reference` states the equations; everything else is fast.
"""

from kernels.functional import (
    active_units,
    evaluate,
    forward,
    loss,
    loss_and_gradient,
    per_sample_gradients,
    predict,
)
from kernels.instruction_set import INSTRUCTION_SET
from kernels.jit import KERNEL_HASH
from kernels.network import Network, init_params, sample_order
from kernels.train import Result, Scores, State, checkpoint_grid, train
from kernels.updates import SGD, Adam, Momentum, Nesterov, Rule

__all__ = [
    "INSTRUCTION_SET",
    "KERNEL_HASH",
    "SGD",
    "Adam",
    "Momentum",
    "Nesterov",
    "Network",
    "Result",
    "Rule",
    "Scores",
    "State",
    "active_units",
    "checkpoint_grid",
    "evaluate",
    "forward",
    "init_params",
    "loss",
    "loss_and_gradient",
    "per_sample_gradients",
    "predict",
    "sample_order",
    "train",
]
