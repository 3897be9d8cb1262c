"""Update rules: a rule is one named tuple of its parameters, and one step on a vector.

A step, made by `step_of`, holds what a rule needs to change any of the parameters P: constants of
this step (`rates` holds the learning rate of each lane, `number` counts from 1) and the rule's own
memory, which lies as P does. `take` then changes the vector that begins at P[at], whose averaged
gradient is left * right, and says what it was and is. The formulas are those of `reference.py` (U1
to U4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


# --------------------------------------------------------------------------------------------------
# A step of a rule, on one vector of parameters at a time: its constants, and where its memory is


class DirectStep(NamedTuple):
    """SGD where the gradient comes scaled by -eta already."""

    unused: int = 0  # Numba knows no empty tuple of a name


class StillStep(NamedTuple):
    """No step."""

    unused: int = 0


class SGDStep(NamedTuple):
    """The constant of `SGD`."""

    eta: Any


class MomentumStep(NamedTuple):
    """Constants and memory of `Momentum`."""

    eta: Any
    beta: Any
    velocity: Any


class NesterovStep(NamedTuple):
    """Constants and memory of `Nesterov`."""

    eta: Any
    beta: Any
    velocity: Any


class AdamStep(NamedTuple):
    """Constants and memory of `Adam`, bias corrections (of one step) in eta and spread."""

    eta: Any
    beta1: Any
    rest1: Any
    beta2: Any
    rest2: Any
    spread: Any
    epsilon: Any
    first: Any
    second: Any


@inner
def _sgd(rule: Any, P: Any, slots: Any, rates: Any, number: int) -> Any:
    return SGDStep(load(rates, 0))


@inner
def _momentum(rule: Any, P: Any, slots: Any, rates: Any, number: int) -> Any:
    return MomentumStep(load(rates, 0), splat(P, rule.beta), part(slots, 0, P.size))


@inner
def _nesterov(rule: Any, P: Any, slots: Any, rates: Any, number: int) -> Any:
    return NesterovStep(load(rates, 0), splat(P, rule.beta), part(slots, 0, P.size))


@inner
def _adam(rule: Any, P: Any, slots: Any, rates: Any, number: int) -> Any:
    # bias corrections in float64 before the cast
    return AdamStep(
        eta=load(rates, 0) / splat(P, 1.0 - rule.beta1**number),
        beta1=splat(P, rule.beta1),
        rest1=splat(P, 1.0 - rule.beta1),
        beta2=splat(P, rule.beta2),
        rest2=splat(P, 1.0 - rule.beta2),
        spread=splat(P, (1.0 - rule.beta2**number) ** -0.5),
        epsilon=splat(P, rule.epsilon),
        first=part(slots, 0, P.size),
        second=part(slots, P.size, P.size),
    )


STEPS: dict[type, Callable[..., Any]] = {
    SGD: _sgd,
    Momentum: _momentum,
    Nesterov: _nesterov,
    Adam: _adam,
}


def step_of(rule: Any, P: Any, slots: Any, rates: Any, number: int) -> Any:
    """Step `number` (from 1) of a rule on flat parameters P (size,), whose memory is `slots`."""


@overload(step_of)
def _step_of(rule: Any, P: Any, slots: Any, rates: Any, number: int) -> Any:
    make = STEPS[rule.instance_class]
    return lambda rule, P, slots, rates, number: make(rule, P, slots, rates, number)


@inner
def _take_none(step: Any, P: Any, at: int, left: Any, right: Any) -> Any:
    return load(P, at), load(P, at)


@inner
def _take_direct(step: Any, P: Any, at: int, left: Any, right: Any) -> Any:
    w = load(P, at)
    new = fma(left, right, w)
    store(P, at, new)
    return w, new


@inner
def _take_sgd(step: Any, P: Any, at: int, left: Any, right: Any) -> Any:
    w = load(P, at)
    new = w - step.eta * (left * right)
    store(P, at, new)
    return w, new


@inner
def _take_momentum(step: Any, P: Any, at: int, left: Any, right: Any) -> Any:
    w, v = load(P, at), fma(step.beta, load(step.velocity, at), left * right)
    new = w - step.eta * v
    store(step.velocity, at, v)
    store(P, at, new)
    return w, new


@inner
def _take_nesterov(step: Any, P: Any, at: int, left: Any, right: Any) -> Any:
    w, g = load(P, at), left * right
    v = fma(step.beta, load(step.velocity, at), g)
    new = w - step.eta * fma(step.beta, v, g)
    store(step.velocity, at, v)
    store(P, at, new)
    return w, new


@inner
def _take_adam(step: Any, P: Any, at: int, left: Any, right: Any) -> Any:
    w, g = load(P, at), left * right
    m = fma(step.beta1, load(step.first, at), step.rest1 * g)
    v = fma(step.beta2, load(step.second, at), step.rest2 * (g * g))
    new = w - step.eta * m / fma(square_root(v), step.spread, step.epsilon)
    store(step.first, at, m)
    store(step.second, at, v)
    store(P, at, new)
    return w, new


TAKE: dict[type, Callable[..., Any]] = {
    StillStep: _take_none,
    DirectStep: _take_direct,
    SGDStep: _take_sgd,
    MomentumStep: _take_momentum,
    NesterovStep: _take_nesterov,
    AdamStep: _take_adam,
}


def take(step: Any, P: Any, at: int, left: Any, right: Any) -> Any:
    """Take a step with the vector P[at], whose gradient is left * right: (before, after)."""


@overload(take)
def _take(step: Any, P: Any, at: int, left: Any, right: Any) -> Any:
    take_one = TAKE[step.instance_class]
    return lambda step, P, at, left, right: take_one(step, P, at, left, right)


@inner
def update(rule: Any, P: Any, G: Any, slots: Any, rates: Any, number: int) -> None:
    """Take step `number` of a rule with all parameters P (size,), whose gradient is G."""
    step, one = step_of(rule, P, slots, rates, number), splat(P, 1.0)
    for p in range(0, P.size, lanes(P)):
        take(step, P, p, load(G, p), one)


# --------------------------------------------------------------------------------------------------
# Look-ahead with a memory


def look_ahead_weights(rule: Rule, n_batches: int) -> NDArray[np.float64]:
    """How parameters after b batches follow from those before, for rules linear in the gradient.

    With W and V at the start, and gradients g_1 .. g_b,

        W_b = W - eta (carried[b] V + sum over q of kept[b - q] g_q)
        V_b = power[b] V + sum over q of power[b - q] g_q

    Unrolled from the rules: momentum keeps 1 + beta + .. + beta**(b - q) of a gradient, Nesterov
    one term more.

    Parameters
    ----------
    rule
        `Momentum` or `Nesterov`; of any other, all weights are 0.
    n_batches
        The largest b.

    Returns
    -------
    (3, n_batches + 1)
        Rows power, kept, carried; columns 0 to n_batches.
    """
    if not isinstance(rule, Momentum | Nesterov):
        return np.zeros((3, n_batches + 1))
    power = rule.beta ** np.arange(n_batches + 1.0)
    sums = np.cumsum(power)
    if isinstance(rule, Momentum):
        return np.stack([power, sums, sums - 1])
    return np.stack([power, 1 + rule.beta * sums, rule.beta * (sums - 1)])
