"""Update rules: a rule is one named tuple of parameters and one step function in `STEPS`.

A step changes the parameters P in place, given the averaged gradient G and the rule's own memory
`slots` (n_slots * size,); `rates` holds the learning rate of each lane, `step` counts from 1. The
formulas are those of `reference.py` (U1 to U4), on whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kernels.jit import inner, overload
from kernels.memory import part
from kernels.vector import fma, lanes, load, splat, square_root, store


class SGD(NamedTuple):
    """w -= eta g (Robbins & Monro 1951)."""

    @property
    def n_slots(self) -> int:
        """Vectors of memory that the rule keeps beside the parameters."""
        return 0


class Momentum(NamedTuple):
    """v = beta v + g, w -= eta v (Polyak 1964, as in PyTorch: no dampening)."""

    beta: float = 0.9

    @property
    def n_slots(self) -> int:
        """Vectors of memory that the rule keeps beside the parameters."""
        return 1


class Nesterov(NamedTuple):
    """v = beta v + g, w -= eta (g + beta v) (Nesterov 1983; Sutskever et al. 2013)."""

    beta: float = 0.9

    @property
    def n_slots(self) -> int:
        """Vectors of memory that the rule keeps beside the parameters."""
        return 1


class Adam(NamedTuple):
    """Adam (Kingma & Ba 2015, algorithm 1): epsilon is added after the bias correction."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def n_slots(self) -> int:
        """Vectors of memory that the rule keeps beside the parameters."""
        return 2


Rule = SGD | Momentum | Nesterov | Adam
RULES: dict[str, Rule] = {
    "sgd": SGD(),
    "momentum": Momentum(),
    "nesterov": Nesterov(),
    "adam": Adam(),
}


@inner
def _sgd_step(rule: Any, P: Any, G: Any, slots: Any, rates: Any, step: int) -> None:
    eta = load(rates, 0)
    for p in range(0, P.size, lanes(P)):
        store(P, p, load(P, p) - eta * load(G, p))


@inner
def _momentum_step(rule: Any, P: Any, G: Any, slots: Any, rates: Any, step: int) -> None:
    eta, beta, velocity = load(rates, 0), splat(P, rule.beta), part(slots, 0, P.size)
    for p in range(0, P.size, lanes(P)):
        v = fma(beta, load(velocity, p), load(G, p))
        store(velocity, p, v)
        store(P, p, load(P, p) - eta * v)


@inner
def _nesterov_step(rule: Any, P: Any, G: Any, slots: Any, rates: Any, step: int) -> None:
    eta, beta, velocity = load(rates, 0), splat(P, rule.beta), part(slots, 0, P.size)
    for p in range(0, P.size, lanes(P)):
        g = load(G, p)
        v = fma(beta, load(velocity, p), g)
        store(velocity, p, v)
        store(P, p, load(P, p) - eta * fma(beta, v, g))


@inner
def _adam_step(rule: Any, P: Any, G: Any, slots: Any, rates: Any, step: int) -> None:
    first, second = part(slots, 0, P.size), part(slots, P.size, P.size)
    beta1, beta2 = splat(P, rule.beta1), splat(P, rule.beta2)
    rest1, rest2 = splat(P, 1.0 - rule.beta1), splat(P, 1.0 - rule.beta2)
    # bias corrections, in float64 before the cast
    eta = load(rates, 0) / splat(P, 1.0 - rule.beta1**step)
    spread = splat(P, (1.0 - rule.beta2**step) ** -0.5)
    epsilon = splat(P, rule.epsilon)
    for p in range(0, P.size, lanes(P)):
        g = load(G, p)
        m = fma(beta1, load(first, p), rest1 * g)
        v = fma(beta2, load(second, p), rest2 * (g * g))
        store(first, p, m)
        store(second, p, v)
        store(P, p, load(P, p) - eta * m / fma(square_root(v), spread, epsilon))


STEPS: dict[type, Callable[..., None]] = {
    SGD: _sgd_step,
    Momentum: _momentum_step,
    Nesterov: _nesterov_step,
    Adam: _adam_step,
}


def update(rule: Any, P: Any, G: Any, slots: Any, rates: Any, step: int) -> None:
    """One step of a rule on flat parameters P (size,), in place; `slots` are overwritten."""


@overload(update)
def _update(rule: Any, P: Any, G: Any, slots: Any, rates: Any, step: int) -> Any:
    rule_step = STEPS[rule.instance_class]
    return lambda rule, P, G, slots, rates, step: rule_step(rule, P, G, slots, rates, step)
