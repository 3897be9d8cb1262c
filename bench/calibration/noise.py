"""Cases of the gradient noise scale: the samples of one data set, drawn from a population."""

from __future__ import annotations

from functools import partial

import numpy as np

from bench.analysis.intervals import Estimate
from bench.analysis.noise_scale import Moments, draw_weights, noise_scale
from bench.calibration.case import Case, Floats, Generator

SAMPLES = (360, 120)
SCALE = 60.0  # the population's noise scale
DEVIATIONS = 1.0 / np.sqrt(1.0 + np.arange(30))  # of the gradients, along each of 30 directions
LENGTHS = 0.7  # standard deviation of the log of a sample's own noise
FEW = 1.0  # the same where three samples in a hundred carry half of it


def gradients(rng: Generator, n: int, lengths: float = 0.0) -> Floats:
    """Gradients of n samples, as much of the mean along each direction as of the noise.

    With `lengths` some samples are noisier than others, by log-normal factors of mean square 1.
    """
    factors = np.exp(lengths * rng.normal(size=(n, 1)) - lengths**2)
    noise = factors * rng.normal(size=(n, len(DEVIATIONS)))
    return np.asarray(DEVIATIONS * (1.0 / np.sqrt(SCALE) + noise))


def scale(sample: Floats, rng: Generator) -> Estimate:
    """Noise scale with its interval over samples."""
    n = len(sample)
    moments = Moments(sample @ sample.T, (sample**2).sum(axis=1), np.ones(n))
    found = noise_scale(moments, 1, draw_weights(n, rng))
    return Estimate(found.population, found.low, found.high, n, found.identified)


CASES = {
    "noise scale": Case(gradients, scale, SCALE, SAMPLES, "samples", ratio=True),
    **{
        f"noise scale, {told}": Case(
            partial(gradients, lengths=lengths), scale, SCALE, SAMPLES[1:], "samples", ratio=True
        )
        for told, lengths in (("samples unequally noisy", LENGTHS), ("few carry it", FEW))
    },
}
