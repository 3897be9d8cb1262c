"""Pieces of Python source: literals, lists, calls and imports as a tidy program has them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

WIDTH = 80
STANDARD = ("warnings",)
"""Modules of the standard library that programs import."""


def literal(value: object) -> str:
    """Write a value as source; text in double quotes unless that costs a backslash."""
    source = repr(value)
    if isinstance(value, str) and source[0] == "'" and '"' not in source and "\\'" not in source:
        return f'"{source[1:-1]}"'
    return source


def assign(name: str, value: str) -> str:
    """Write an assignment."""
    return f"{name} = {value}"


def listing(values: Iterable[object]) -> str:
    """Write a list, in as many lines as it needs."""
    return _bracketed("[", [literal(value) for value in values], "]")


def mapping(values: Mapping[str, str]) -> str:
    """Write a dictionary of source by name, in as many lines as it needs."""
    return _bracketed("{", [f"{literal(name)}: {value}" for name, value in values.items()], "}")


def _bracketed(start: str, parts: Sequence[str], end: str) -> str:
    """Write parts in one line, or packed into indented ones."""
    line = f"{start}{', '.join(parts)}{end}"
    if len(line) <= WIDTH - 16 and "\n" not in line:
        return line
    rows, row = [], ""
    for part in parts:
        if row and ("\n" in part or len(row) + len(part) > WIDTH - 8):
            rows.append(row)
            row = ""
        row += f"{' ' if row else ''}{part},"
    inner = textwrap.indent("\n".join([*rows, row]), "    ")
    return f"{start}\n{inner}\n{end}"


def call(name: str, *arguments: str) -> str:
    """Write a call: in one line where that is short, else with an argument a line."""
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= WIDTH - 16 and "\n" not in line:
        return line
    inner = "".join(f"{textwrap.indent(argument, '    ')},\n" for argument in arguments)
    return f"{name}(\n{inner})"


def program(imports: Iterable[str], blocks: Iterable[str]) -> str:
    """Write a program: its imports sorted, then blocks with an empty line between them.

    Parameters
    ----------
    imports
        Such as "pandas as pd" and "sklearn.pipeline:make_pipeline"; repetitions are dropped.
    blocks
        Source; empty ones are left out.
    """
    plain, named = set[str](), dict[str, set[str]]()
    for one in imports:
        module, _, name = one.partition(":")
        if name:
            named.setdefault(module, set()).add(name)
        else:
            plain.add(module)
    first = [f"import {module}" for module in sorted(plain) if module in STANDARD]
    others = [f"import {module}" for module in sorted(plain) if module not in STANDARD]
    others += [f"from {m} import {', '.join(sorted(names))}" for m, names in sorted(named.items())]
    return "\n\n".join(filter(None, ["\n".join(first), "\n".join(others), *blocks]))
