"""Sines and cosines of large arguments become sines of mirrored ones."""

import math

import numpy as np
import pytest
from tvm import relax

from nmc.quant.formats import TensorRange
from passes.fold_waves import QUARTER, fold_waves
from passes.formats import plan_formats
from passes.lower_unary import lower_unary
from tests.passes.support import build_module, listing, run


def folded(wave: str, low: float, high: float):
    """A sine or cosine of six numbers before and after, and the ranges of what it became."""
    module = build_module(lambda emitter, x: getattr(relax.op, wave)(x), (6,))
    module = lower_unary(module)
    ranges = {"x0": TensorRange(low, high), "y": TensorRange(-1.0, 1.0)}
    return module, *fold_waves(module, ranges)


def test_a_sine_within_a_quarter_wave_stays() -> None:
    before, after, _ = folded("cos", -1.5, 1.0)
    assert listing(after) == listing(before)


def test_a_sine_beyond_a_quarter_wave_reads_its_mirrored_argument() -> None:
    _, module, ranges = folded("sin", 0.0, 3.0)
    assert listing(module) == [
        "y#1 = unary[mirror high=1.5708 highest=6 low=-1.5708 lowest=0 phase=0](x0)",
        "y = unary[sin](y#1)",
    ]
    assert (ranges["y#1"].low, ranges["y#1"].high) == (-QUARTER, QUARTER)


def test_a_cosine_is_a_sine_a_quarter_wave_on() -> None:
    _, module, _ = folded("cos", -3.0, 3.0)
    assert listing(module) == [
        "y#1 = unary[mirror high=1.5708 highest=6 low=-1.5708 lowest=-6 phase=1.5708](x0)",
        "y = unary[sin](y#1)",
    ]


def test_many_waves_are_mirrored_in_two_steps() -> None:
    _, module, ranges = folded("sin", -500.0, 500.0)
    assert [line.split("[")[1].split()[0] for line in listing(module)] == ["mirror", "mirror", "sin](y#2)"]
    assert ranges["y#1"].high - ranges["y#1"].low == pytest.approx(60 * math.pi)


def test_waves_beyond_all_mirrors_stay() -> None:
    before, after, _ = folded("sin", -1e5, 1e5)
    assert listing(after) == listing(before)


def test_a_tangent_with_a_pole_in_its_range_is_a_quotient_with_a_positive_divisor() -> None:
    """The tangent of 1.5 is 14.1: 1/cos² is at most 1 + 14.1²."""
    module = lower_unary(build_module(lambda emitter, x: relax.op.tan(x), (6,)))
    before, largest = module, math.tan(1.5)
    after, ranges = fold_waves(before, {"x0": TensorRange(-4.0, 1.5), "y": TensorRange(-1.0, largest)})
    x = np.float32([-4.0, -3.0, -1.0, 0.0, 1.0, 1.5])
    # sine and cosine are off by parts of 1 in 2^23, which a divisor of 1/200 makes 200 times as large
    np.testing.assert_allclose(run(after, x)[0], np.tan(x), atol=4 * 200 * 2.0**-23)
    inverse = next(line for line in listing(after) if "reciprocal" in line).split(" = ")[0]
    assert ranges[inverse].low == 1.0
    assert ranges[inverse].high == pytest.approx(1.0 + largest**2)


def test_a_tangent_between_poles_stays() -> None:
    module = lower_unary(build_module(lambda emitter, x: relax.op.tan(x), (6,)))
    after, _ = fold_waves(module, {"x0": TensorRange(-1.5, 1.5), "y": TensorRange(-14.1, 14.1)})
    assert listing(after) == listing(module)


@pytest.mark.parametrize("wave", ["sin", "cos"])
@pytest.mark.parametrize("reach", [2.0, 12.0, 500.0])
def test_mirrored_arguments_have_the_same_sine(wave: str, reach: float) -> None:
    before, after, _ = folded(wave, -reach, reach)
    x = np.append(np.random.default_rng(0).uniform(-2 * reach, 2 * reach, 5), QUARTER).astype("float32")
    # each of at most four sums is rounded to a part in 2^24 of the argument
    np.testing.assert_allclose(run(after, x)[0], run(before, x)[0], atol=4 * 2 * reach * 2.0**-24 + 1e-6)


def test_what_is_mirrored_is_wide_and_mirrors_lose_no_part_of_it() -> None:
    _, module, ranges = folded("sin", -500.0, 500.0)
    formats = plan_formats(module, ranges)
    assert [formats[name].bits for name in ("x0", "y#1", "y#2")] == [32, 32, 16]
    for name in ("x0", "y#1", "y#2"):
        assert np.log2(formats[name].scale) % 1 == 0


def test_what_nothing_can_exceed_has_no_headroom() -> None:
    _, module, ranges = folded("sin", -3.0, 3.0)
    form = plan_formats(module, ranges)["y#1"]
    assert QUARTER <= form.scale * form.highest < 2.0 * QUARTER
