"""Are the intervals as wide as they say? Simulated data with known truth, and equal arms."""

from bench.calibration.run import Calibration, calibrate, show, write

__all__ = ["Calibration", "calibrate", "show", "write"]
