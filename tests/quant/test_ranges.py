"""Scales from calibrated ranges."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nmc.errors import CalibrationError
from nmc.quant import quantise, scale_for

MAGNITUDES = st.floats(-1e30, 1e30)


@given(MAGNITUDES, MAGNITUDES, st.sampled_from([8, 16, 32]))
@example(0.0, 0.0, 16)
@example(-1e-300, 1e-300, 16)
@example(-5.0, 1.0, 8)
def test_both_ends_of_the_range_fit_without_saturation(first: float, second: float, bits: int) -> None:
    lo, hi = min(first, second), max(first, second)
    scale = scale_for(lo, hi, bits)
    limit = 2 ** (bits - 1) - 1
    assert scale > 0 and float(np.float32(scale)) == scale
    assert np.abs(quantise([lo, hi], scale, bits)).max() <= limit
    assert max(abs(lo), abs(hi)) / scale <= limit


def test_the_scale_is_the_smallest_float32_that_fits() -> None:
    scale = scale_for(-3.0, 7.0, 16)
    smaller = float(np.nextafter(np.float32(scale), np.float32(0)))
    assert smaller < 7.0 / 32767 <= scale


@pytest.mark.parametrize(("lo", "hi"), [(math.nan, 1.0), (0.0, math.inf), (2.0, 1.0)])
def test_a_range_that_is_no_interval_is_refused(lo: float, hi: float) -> None:
    with pytest.raises(CalibrationError, match="not a finite interval"):
        scale_for(lo, hi, 16)


def test_a_range_beyond_float32_is_refused() -> None:
    with pytest.raises(CalibrationError, match="beyond float32"):
        scale_for(0.0, 1e77, 16)
