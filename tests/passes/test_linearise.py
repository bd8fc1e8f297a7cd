"""Where tables are fitted."""

import math

import pytest

from nmc.pwl.functions import function_named
from nmc.quant.formats import TensorRange
from passes.formats import HEADROOM
from passes.linearise import PROBES, ordinary_range


def test_a_table_ends_where_its_result_saturates() -> None:
    """Before the pole at pi/2; to within one of the places that are looked at."""
    span = ordinary_range(function_named("tan"), TensorRange(-0.8, 0.8), TensorRange(-1.6, 1.6))
    wanted = math.atan(HEADROOM * math.tan(0.8))
    assert span.high == pytest.approx(wanted, abs=0.8 / (PROBES - 1))
    assert span.low == -span.high


def test_a_table_whose_result_stays_ordinary_covers_all_that_its_argument_can_hold() -> None:
    span = TensorRange(-2.0, 2.0)
    assert ordinary_range(function_named("sin"), TensorRange(-1.0, 1.0), span) == span
