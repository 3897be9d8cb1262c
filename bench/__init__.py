"""Studies of batch sizes and learning rates."""
