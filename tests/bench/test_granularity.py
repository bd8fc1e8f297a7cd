"""Chord tables are those of NeuralMatrix: segments of one width between points of it, arguments capped at the range."""

import numpy as np
import pytest

from nmc.pwl import function_named
from nmc.quant.formats import TensorRange
from tests.bench.granularity import chords, saturating


@pytest.mark.parametrize("granularity", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_chords_meet_the_function_at_every_multiple_of_the_granularity(granularity: float) -> None:
    gelu = function_named("gelu")
    table = chords(gelu, TensorRange(-3.0, 3.0), granularity)
    points = np.arange(round(-3.0 / granularity), round(3.0 / granularity) + 1) * granularity
    inside = table.boundaries[(table.boundaries > -2.99) & (table.boundaries < 2.99)]
    np.testing.assert_allclose(inside, points[1:-1], atol=1e-6)
    # boundaries are multiples to 2^-20 of a granularity, and the slope of gelu is below 1.13
    np.testing.assert_allclose(table(points), gelu(points), atol=2e-6)
    middles = points[:-1] + 0.5 * granularity
    between = 0.5 * (gelu(points[:-1]) + gelu(points[1:]))
    np.testing.assert_allclose(table(middles), between, atol=2e-6)


def test_an_argument_beyond_the_format_gives_the_value_at_its_end() -> None:
    """A calibrated range of [-1, 1] has a format of twice that: arguments beyond ±2 are ±2."""
    capped = saturating(lambda f, span: chords(f, span, 0.5), function_named("exp"), TensorRange(-1.0, 1.0))
    # exact at multiples of the granularity, and a 16-bit step short of 2 at the positive end
    np.testing.assert_allclose(capped(np.array([-9.0, -2.0])), np.exp([-2.0, -2.0]), rtol=1e-5)
    np.testing.assert_allclose(capped(np.array([2.0, 9.0])), np.exp([2.0, 2.0]), rtol=2 * 2.0 / 32767)
