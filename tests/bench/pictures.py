"""Pages without pictures, for tests of something else: half of a page's time is drawing."""

from __future__ import annotations

from typing import IO, Any

import pytest
from matplotlib.figure import Figure

EMPTY = '<svg viewBox="0 0 100 100"></svg>'


def leave_out(patch: pytest.MonkeyPatch) -> None:
    """Let figures be made, but neither drawn nor written: an SVG is empty, a file is not there."""

    def save(_: Figure, where: IO[str] | Any, **__: Any) -> None:
        if hasattr(where, "write"):
            where.write(EMPTY)

    patch.setattr(Figure, "savefig", save)
