"""From the values that calibration saw to a tensor's scale. Scales are symmetric: zero is the integer 0."""

import math

import numpy as np

from nmc.errors import CalibrationError


def scale_for(lo: float, hi: float, bits: int) -> float:
    """The smallest scale, exact in float32, with which `bits`-bit integers hold every value of [lo, hi].

    The largest magnitude maps to 2^(bits-1)-1, so that lo and -lo are both representable. A range that is
    only zero gets the scale of [-1, 1]. Raises CalibrationError when the range is not finite or is empty.
    """
    if not (math.isfinite(lo) and math.isfinite(hi)) or lo > hi:
        raise CalibrationError(
            f"the range [{lo}, {hi}] is not a finite interval; check the data for NaN or infinity"
        )
    scale = (max(abs(lo), abs(hi)) or 1.0) / ((1 << (bits - 1)) - 1)
    if scale > float(np.finfo(np.float32).max):
        raise CalibrationError(f"the range [{lo:g}, {hi:g}] is beyond float32; check the model for overflow")
    return _float32_at_least(scale)


def _float32_at_least(value: float) -> float:
    """The smallest float32 that is not below `value` and not subnormal, as a Python float."""
    rounded = np.float32(max(value, float(np.finfo(np.float32).tiny)))
    if float(rounded) < value:
        rounded = np.nextafter(rounded, np.float32(np.inf))
    return float(rounded)
