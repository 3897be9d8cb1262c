"""Bandwidth of each level of memory: read from curves, and measured."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bench.speed.bandwidth import (
    KIB,
    MIB,
    Curve,
    best_curve,
    cache_sizes,
    capacities,
    level_of,
    levels,
    measure_curve,
    read,
    train_like,
    working_sets,
)

CACHES = [32 * KIB, 1 * MIB, 32 * MIB]
RATES = [220e9, 150e9, 90e9, 25e9]


def curve_of(caches: list[int], rates: list[float], noise: float = 0.0) -> Curve:
    """A curve whose truth is known: a level each between the caches, transitions half an octave."""
    sizes = np.array(working_sets(caches))
    level = np.searchsorted(caches, sizes)
    training = np.array(rates)[level]
    last = np.isin(sizes, caches)  # a set that just fills a cache already loses some of it
    training[last] = np.sqrt(training[last] * np.array(rates)[level[last] + 1])
    training *= np.exp(noise * np.random.default_rng(3).standard_normal(len(sizes)))
    return Curve(sizes, training, 0.9 * training)


@pytest.mark.parametrize("known", [True, False])
def test_levels_have_their_bandwidths(known: bool) -> None:
    """Each level's bandwidth is that of the curve inside it, with its caches told or found."""
    found = levels(curve_of(CACHES, RATES, noise=0.03), CACHES if known else [])
    assert [level.name for level in found] == ["L1", "L2", "L3", "memory"]
    assert [level.training for level in found] == pytest.approx(RATES, rel=0.04)
    assert [level.reading for level in found] == pytest.approx(0.9 * np.array(RATES), rel=0.04)
    assert found[-1].capacity == math.inf


@pytest.mark.parametrize("caches", [CACHES, [48 * KIB, 2 * MIB, 36 * MIB], [128 * KIB, 12 * MIB]])
def test_cache_sizes_are_found_from_the_curve(caches: list[int]) -> None:
    """The falls of a noisy curve are found within an octave of where they are."""
    found = capacities(curve_of(caches, RATES, noise=0.03))
    assert np.abs(np.log2(found) - np.log2(caches)).max() <= 1


def test_no_cache_is_found_in_noise() -> None:
    """A curve without falls has one level."""
    sizes = np.array(working_sets([]))
    noise = np.exp(0.03 * np.random.default_rng(0).standard_normal(len(sizes)))
    assert capacities(Curve(sizes, 1e11 * noise, 1e11 * noise)) == []


def test_a_working_set_lives_in_the_first_level_that_holds_it() -> None:
    """A set of just the size of a cache fits; one byte more is the next level's."""
    found = levels(curve_of(CACHES, RATES), CACHES)
    sizes = (1, 32 * KIB, 32 * KIB + 1, 32 * MIB, 33 * MIB)
    assert [level_of(size, found).name for size in sizes] == ["L1", "L1", "L2", "L3", "memory"]


def test_cache_sizes_are_those_of_the_system(tmp_path: Path) -> None:
    """Data and unified caches in order of their level, instruction caches left out."""
    caches = {"index0": ("1", "Data", "48K"), "index1": ("1", "Instruction", "32K")}
    caches |= {"index3": ("3", "Unified", "36M"), "index2": ("2", "Unified", "2048K")}
    for index, values in caches.items():
        folder = tmp_path / "cpu5" / "cache" / index
        folder.mkdir(parents=True)
        for name, value in zip(("level", "type", "size"), values, strict=True):
            (folder / name).write_text(f"{value}\n")
    assert cache_sizes(5, tmp_path) == [48 * KIB, 2 * MIB, 36 * MIB]
    assert cache_sizes(6, tmp_path) == []


def test_the_sweep_goes_beyond_the_last_cache() -> None:
    """From 4 KiB to four times the last cache, within memory that any machine has."""
    assert (working_sets(CACHES)[0], working_sets(CACHES)[-1]) == (4 * KIB, 128 * MIB)
    assert working_sets([32 * KIB, 1024 * MIB])[-1] == 512 * MIB
    assert working_sets([])[-1] == 256 * MIB


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sweeps_touch_every_element(dtype: type) -> None:
    """The first vector ends as the sum of all; a training sweep changes each element once."""
    values = np.zeros(512, dtype)
    lanes = 64 // values.itemsize
    values[lanes:] = np.random.default_rng(1).integers(0, 9, 512 - lanes)
    expected = values.reshape(-1, lanes).sum(axis=0)
    read(values, 1)
    assert np.array_equal(values[:lanes], expected)
    before = np.ones(512, dtype)
    train_like(before, 1)
    assert np.array_equal(before[lanes:], np.full(512 - lanes, 2))


def test_a_measured_curve_is_one_of_bytes_per_second() -> None:
    """Working sets are whole steps near those asked for; a core moves 0.1 to 10,000 GB/s."""
    curve = measure_curve([4 * KIB, 10_000])
    assert curve.sizes[0] == 4 * KIB
    assert 9_000 < curve.sizes[1] <= 10_000
    for rates in (curve.training, curve.reading):
        assert (rates > 1e8).all()
        assert (rates < 1e13).all()


def test_the_best_of_several_curves_counts() -> None:
    """A slow moment of one curve is not in the roof."""
    sizes = np.array([1, 2])
    curves = [Curve(sizes, np.array(a), np.array(b)) for a, b in (
        ([1.0, 4.0], [5.0, 6.0]), ([2.0, 3.0], [7.0, 2.0])
    )]  # fmt: skip
    best = best_curve(curves)
    assert best.training.tolist() == [2, 4]
    assert best.reading.tolist() == [7, 6]
