"""Rounding becomes stairs: one table for a few whole numbers, one a digit for many."""

import numpy as np
import pytest
from tvm import relax

from nmc.quant.formats import TensorRange
from passes.expand_rounding import expand_rounding
from passes.formats import plan_formats
from tests.passes.support import build_module, listing, run


def expanded(rounding: str, low: float, high: float):
    """A rounding of six numbers before and after, and the ranges of what it became."""
    module = build_module(lambda emitter, x: getattr(relax.op, rounding)(x), (6,))
    ranges = {"x0": TensorRange(low, high), "y": TensorRange(np.floor(low), np.ceil(high))}
    return module, *expand_rounding(module, ranges)


def test_few_whole_numbers_are_one_table_with_headroom() -> None:
    _, module, _ = expanded("floor", -2.5, 7.25)
    assert listing(module) == ["y = unary[floor highest=15 lowest=-15 step=1](x0)"]


def test_what_is_never_negative_has_no_table_below_minus_one() -> None:
    _, module, _ = expanded("ceil", 0.0, 20.0)
    assert listing(module) == ["y = unary[ceil highest=40 lowest=-1 step=1](x0)"]


def test_many_whole_numbers_are_multiples_and_a_rest() -> None:
    _, module, ranges = expanded("round", -100.0, 300.5)
    assert listing(module) == [
        "y#1 = unary[floor highest=608 lowest=-608 step=32](x0)",
        "y#2 = subtract(x0, y#1)",
        "y#3 = unary[round highest=32 lowest=0 step=1](y#2)",
        "y = add(y#1, y#3)",
    ]
    assert (ranges["y#1"].low, ranges["y#1"].high) == (-128.0, 288.0)


@pytest.mark.parametrize("rounding", ["floor", "ceil", "round"])
@pytest.mark.parametrize("reach", [5.0, 300.0, 30000.0])
def test_stairs_round_as_the_operator_does(rounding: str, reach: float) -> None:
    before, after, _ = expanded(rounding, -reach, reach)
    random = np.random.default_rng(0).uniform(-reach, reach, 3)
    x = np.array([-2.5, -1.5, reach / 2 - 0.5, *random], "float32")
    np.testing.assert_array_equal(run(after, x)[0], run(before, x)[0])


def test_a_range_beyond_all_stairs_stays_on_the_host() -> None:
    before, after, _ = expanded("floor", -1e9, 1e9)
    assert listing(after) == listing(before)


def test_what_is_rounded_has_a_power_of_two_as_scale() -> None:
    _, module, ranges = expanded("floor", -100.0, 300.5)
    formats = plan_formats(module, ranges)
    for name in ("x0", "y#1", "y#2", "y#3"):
        assert np.log2(formats[name].scale) % 1 == 0
    assert formats["y#2"].scale == formats["x0"].scale
