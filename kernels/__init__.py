"""The arithmetic of training: arrays in, arrays out."""

from kernels.network import Network, init_params, sample_order

__all__ = ["Network", "init_params", "sample_order"]
