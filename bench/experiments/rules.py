"""Update rules by name, and the smaller plan by which a study compares others with its own.

Adam's beta2 sets how long it remembers squared gradients: half as long at twice as many updates.
Per sample and full batch thus make different optimizers of one beta2. `ADAM_HALF_LIFE` keeps the
half-life the same in examples seen: beta2(B) = beta2(B_0)^(B / B_0), with beta2(32) = 0.999 (Marek
et al. 2025, arXiv 2507.07101).
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.updates import RULES, Adam, Rule

ADAM_HALF_LIFE = "adam_half_life"
BASE = 32  # B_0, at which beta2 is the usual one
COMPARED = ("sgd", "momentum", "nesterov", "adam", ADAM_HALF_LIFE)

# Beside its samples an update reads and writes the gradient and the rule's memory of every
# parameter: so many forward multiplications for each (measured on iris and digits at batch size 1)
UPDATE_COST = {"momentum": 6.0, "nesterov": 6.0, "adam": 9.0, ADAM_HALF_LIFE: 9.0}

SEEDS = 24  # of a study's, that the rules beside its own are trained from


def rule_of(name: str, batch_size: int) -> Rule:
    """Return the rule of that name, with the parameters that it has at a batch size.

    Raises
    ------
    ValueError
        For a name that is neither in `kernels.updates.RULES` nor `ADAM_HALF_LIFE`.
    """
    if name == ADAM_HALF_LIFE:
        usual = Adam()
        return usual._replace(beta2=usual.beta2 ** (batch_size / BASE))
    if name not in RULES:
        raise ValueError(f"rule must be one of {', '.join(COMPARED)}, got {name!r}")
    return RULES[name]


def content(name: str, batch_size: int) -> object:
    """Return what a block's key says of its rule.

    The name alone where the parameters are constants of the kernels, whose hash is in the key.
    """
    return name if name in RULES else (name, tuple(rule_of(name, batch_size)))


def others(rule: str) -> tuple[str, ...]:
    """Return the rules that a study with this rule compares it with."""
    return tuple(name for name in COMPARED if name != rule)


def compared_batch_sizes(batch_sizes: Sequence[int], base: int) -> tuple[int, ...]:
    """Return the batch sizes at which rules are compared, ascending: half of them.

    Both ends, the base B_0, and every other one counted from it. The neighbour of B = 1 is left
    out: at these two an update of a rule with a memory costs up to ten times as much as one of SGD.
    """
    ordered = sorted(batch_sizes)
    at = ordered.index(base)
    every_other = {size for place, size in enumerate(ordered) if (place - at) % 2 == 0}
    kept = {ordered[0], base, ordered[-1]} | (every_other - set(ordered[:2]))
    return tuple(sorted(kept))
