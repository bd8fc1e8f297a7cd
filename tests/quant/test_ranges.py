"""Scales from calibrated ranges."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nmc.errors import CalibrationError
from nmc.quant import quantise, scale_for, scale_for_histogram

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


def test_a_rare_outlier_is_clipped_at_eight_bits_and_kept_at_sixteen() -> None:
    edges = np.linspace(-100, 100, 2001)
    counts = 1e6 * np.exp(-0.5 * (edges[:-1] + 0.05) ** 2)
    counts[-1] = 1.0
    assert scale_for_histogram(counts, edges, 8) < 10 / 127
    assert scale_for_histogram(counts, edges, 16) > 0.99 * 100 / 32767


def test_an_empty_histogram_falls_back_on_its_edges() -> None:
    assert scale_for_histogram(np.zeros(4), np.linspace(-2, 1, 5), 8) == scale_for(-2, 1, 8)
