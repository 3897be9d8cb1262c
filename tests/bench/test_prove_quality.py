"""The proof that the quality gate catches errors, in short; `tests.prove_quality` is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mutants import Mutant
from tests.prove_quality import IN_KERNELS, INVISIBLE, key_of, prove, read, tell


def named(name: str) -> Mutant:
    """The mutant of a name."""
    (mutant,) = (mutant for mutant in IN_KERNELS if mutant.name == name)
    return mutant


CACHE, SHOWN = named(next(iter(INVISIBLE))), named("bias gradient missing")
# Caught by the first probe, before anything is compiled
VARIANCE = Mutant(
    "He's variance halved",
    "kernels/network.py",
    "np.sqrt(2.0 / n_in) * ndtri",
    "np.sqrt(1.0 / n_in) * ndtri",
    (),
)


def found(path: Path, mutant: Mutant, verdict: str) -> None:
    """Add a finding by hand."""
    one = {"key": key_of(mutant), "mutant": mutant.name, "verdict": verdict}
    with path.open("a") as lines:
        lines.write(json.dumps({**one, "detail": "by hand", "seconds": 1.0}) + "\n")


def test_a_planted_error_is_caught_once_and_for_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error is caught; going on repeats nothing, and passes over a line that was cut off."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "proofs" / "quality.jsonl"
    prove([VARIANCE], path, workers=1)
    before = path.read_text()
    assert "different: initial parameters, float32" in before
    path.write_text('{"key": "cut o')
    prove([VARIANCE], path, workers=1)
    prove([VARIANCE], path, workers=1)
    assert path.read_text().count("\n") == before.count("\n") + 1
    capsys.readouterr()
    assert tell([VARIANCE, CACHE], path) == 0
    assert capsys.readouterr().out.endswith(
        "1 of 1 caught that run and show; 0 cannot show, 0 do not run; 1 not tried yet\n"
    )


def test_an_error_that_survives_is_told_unless_nothing_could_show_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 for one that survives, 0 for one that no call can show, which is listed."""
    path = tmp_path / "quality.jsonl"
    found(path, CACHE, "survived")
    assert tell([CACHE], path) == 0
    assert INVISIBLE[CACHE.name] in capsys.readouterr().out
    found(path, SHOWN, "survived")
    assert tell([CACHE, SHOWN], path) == 1


def test_findings_belong_to_a_mutant_and_to_what_judged_it() -> None:
    """Each mutant has a key of its own; those that cannot show are among the planted ones."""
    keys = {key_of(mutant) for mutant in IN_KERNELS}
    assert len(keys) == len(IN_KERNELS)
    assert set(INVISIBLE) <= {mutant.name for mutant in IN_KERNELS}
    assert read(Path("nowhere")) == {}
