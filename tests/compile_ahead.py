"""Compile what the tests of `kernels` need, on another core, while other tests run.

Numba compiles in one thread of a process; what this process compiles, it leaves on disk, where the
tests find it (`kernels/jit.py`). `conftest.py` starts it beside a run of all tests in one process:
on a cold cache compiling is a third of their time. It changes nothing else, and may be stopped at
any time.
"""

from __future__ import annotations

import numpy as np

from kernels import (
    SGD,
    Adam,
    Momentum,
    Nesterov,
    Network,
    evaluate,
    forward,
    init_params,
    loss_and_gradient,
    train,
)

RULES = (SGD(), Momentum(), Nesterov(), Adam())


def compile_all(dtype: type, rules: tuple[SGD | Momentum | Nesterov | Adam, ...]) -> None:
    """Compile both engines for a dtype: all ways of training by these rules, and evaluation."""
    for n_inputs in (18, 3):  # with look-ahead and without
        network = Network((n_inputs, 20, 3), output="softmax", loss="ce")
        X, y = np.zeros((20, n_inputs)), np.zeros(20, np.int64)
        for size in (None, 2):
            params = init_params(network, 0, dtype=dtype, size=size)
            for rule in rules:
                for batch_size in (1, "full"):
                    train(
                        network,
                        params,
                        X,
                        y,
                        batch_size=batch_size,
                        learning_rate=0.1,
                        epochs=1,
                        rule=rule,
                    )
            evaluate(network, params, X, y)
        params = init_params(network, 0, dtype=dtype)
        loss_and_gradient(network, params, X, y)
        forward(network, params, X)


def main() -> None:
    """Compile in the order in which tests need it least soon, so that none is compiled twice."""
    compile_all(np.float64, RULES)
    compile_all(np.float32, RULES)


if __name__ == "__main__":
    main()
