"""When, where and with what a command measured, in the words of its page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import kernels
from bench import view


def about(command: str, programs: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the command, the day, the machine, and versions, of other programs too."""
    machine = view.machine()
    told = {
        "Command": command,
        "Date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "Machine": f"{machine['processor']} ({kernels.INSTRUCTION_SET}), {machine['cores']} cores, "
        f"{machine['system']}",
    }
    if programs:
        told["Programs"] = _listed(programs)
    return told | {"Versions": _listed(view.versions())}


def command_of(
    name: str, plan: Any, repeated: Mapping[str, str], positional: Sequence[str] = ()
) -> str:
    """Return the command that measures the same again.

    Parameters
    ----------
    name
        Of the command.
    plan
        A dataclass whose fields are named as the options, but for `repeated`.
    repeated
        Options that are written once for each value, by field.
    positional
        Fields that stand without an option's name, first.
    """
    told = [f"batchbench {name}", *(shlex.quote(str(getattr(plan, one))) for one in positional)]
    for field in fields(plan):
        value = getattr(plan, field.name)
        if field.name in positional or value == field.default:
            continue
        if field.name in repeated:
            told += [f"{repeated[field.name]} {shlex.quote(str(one))}" for one in value]
        else:
            several = isinstance(value, Sequence) and not isinstance(value, str)
            text = ",".join(map(str, value)) if several else str(value)
            option = f"--{field.name.replace('_', '-')}"
            told.append(option if value is True else f"{option} {shlex.quote(text)}")
    return " ".join(told)


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
