"""The timed population of XOR networks is that of a study's blocks."""

from __future__ import annotations

from click.testing import CliRunner

from bench.speed import population


def test_every_network_of_a_population_is_trained_and_diagnosed() -> None:
    """The counts of solved and failed networks add up, beside the number of their updates."""
    done = CliRunner().invoke(population.main, ["--networks", "300", "--updates", "40"])
    assert done.exit_code == 0, done.output
    first, _, _, *counts = done.output.splitlines()
    assert first.startswith("300 networks, 12,000 updates of one sample: ")
    assert sum(int(line.split()[0]) for line in counts) == 300


def test_a_population_of_several_blocks_is_one_population() -> None:
    """Networks beyond a block's number are trained too, from a start of their own."""
    one = population.population_seconds(population.BLOCK, 4, 0.5)
    more = population.population_seconds(population.BLOCK + 7, 4, 0.5)
    assert more.counts.sum() == one.counts.sum() + 7
    assert more.updates == one.updates + 28
