"""The part of a range that 8-bit integers stand for."""

import numpy as np
import pytest

from nmc.quant.clipping import METHODS, affine_integers, affine_scale, clipped_range
from nmc.quant.formats import TensorRange


def with_outlier() -> np.ndarray:
    """A hundred thousand normal values and one of 100."""
    return np.append(np.random.default_rng(3).standard_normal(100_000), 100.0)


def test_min_max_keeps_the_whole_range_and_zero() -> None:
    assert clipped_range(np.array([2.0, 5.0]), TensorRange(2.0, 5.0), "min-max", 8) == TensorRange(0.0, 5.0)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_a_single_outlier_is_cut_off(method: str) -> None:
    kept = clipped_range(with_outlier(), TensorRange(-5.0, 100.0), method, 8)
    assert kept.high <= 26.0


def test_the_least_squared_error_clips_an_outlier_only_when_rounding_costs_more() -> None:
    # clipping one of n values at t costs (100 - t)² / n; the steps of the whole range cost (105/255)² / 12 = 0.014 each
    few, many = with_outlier(), np.append(np.tile(with_outlier()[:-1], 20), 100.0)
    assert clipped_range(few[-1001:], TensorRange(-5.0, 100.0), "mse", 8).high > 90.0
    assert clipped_range(many, TensorRange(-5.0, 100.0), "mse", 8).high < 60.0


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_zeros_has_a_range(method: str) -> None:
    kept = clipped_range(np.zeros(8), TensorRange(0.0, 0.0), method, 8)
    assert affine_scale(kept, 8)[0] > 0.0


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-0.17, 24.5), (-3.0, 0.0), (-1.0, 1.0)])
def test_an_affine_scale_holds_the_range_to_half_a_step_and_zero_exactly(low: float, high: float) -> None:
    scale, zero = affine_scale(TensorRange(low, high), 8)
    assert -128 <= zero <= 127
    values = np.append(np.linspace(low, high, 1000), 0.0)
    real = affine_integers(values, scale, zero, 8) * scale
    # the ends lie half a step off when the zero is rounded, and rounding adds another half
    np.testing.assert_allclose(real, values, atol=1.001 * scale)
    assert real[-1] == 0.0
