"""Are the links what the profile says? Measured on the real testbed, before a sweep believes them."""

from harness.calibrate.calibration import Calibration, calibrate

__all__ = ["Calibration", "calibrate"]
