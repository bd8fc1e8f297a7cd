"""Integer tables: the same segments, the least rounding, and fields that the hardware can hold."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmc.pwl import RULES, QuantisedTable, Table, TableError, fit_table, function_named
from nmc.pwl.quantised_table import arguments
from nmc.quant import (
    block_address,
    breakpoint_address,
    octave_address,
    octave_block_address,
    scale_for,
    uniform_address,
)

ALL_INT16 = np.arange(-(2**15), 2**15)
ONE_RULE = ["relu", "gelu", "exp", "sigmoid", "hard_swish", "sin", "log1p", "acosh"]


def output_scale(table: Table, bits: int) -> float:
    x = np.linspace(table.lo, table.hi, 4001)
    values = table.function(x)
    values = values[np.isfinite(values)]
    return scale_for(float(values.min()), float(values.max()), bits)


def both(
    name: str, lo: float, hi: float, input_bits: int = 16, output_bits: int = 16, **options: object
) -> tuple[Table, QuantisedTable]:
    step = scale_for(lo, hi, input_bits)
    table = fit_table(name, lo, hi, input_step=step, input_bits=input_bits, **options)
    return table, table.quantise(step, output_scale(table, output_bits), input_bits, output_bits)


def segment_of(table: QuantisedTable, x: np.ndarray) -> np.ndarray:
    """The entry that x addresses, counted upward in x from the segment of the lowest integer."""
    index = table.address(x)
    half = table.entries // 2
    return np.where(index < half, index + half, table.entries - 1 - index) if table.signed else index


@pytest.mark.parametrize("name", ["relu", "abs", "identity", "leaky_relu", "relu6", "hard_tanh", "clip"])
def test_exact_functions_with_equal_scales_are_exact_on_every_input(name: str) -> None:
    """Scale 2^-12: the corners 1 and 6 are integers, and alpha = 1/4 needs two bits."""
    params = {"alpha": 0.25} if name == "leaky_relu" else {"lo": -1.0, "hi": 2.5} if name == "clip" else {}
    scale = 2.0**-12
    table = fit_table(name, -8, 7, params=params).quantise(scale, scale)
    wanted = np.floor(table.function(ALL_INT16 * scale) / scale + 0.5)
    np.testing.assert_array_equal(table(ALL_INT16), np.clip(wanted, -(2**15), 2**15 - 1))


@pytest.mark.parametrize("scale", [1.0, 3e-5, 0.123])
def test_relu_of_equal_scales_is_the_maximum_with_zero(scale: float) -> None:
    table = fit_table("relu", -8, 7).quantise(scale, scale)
    np.testing.assert_array_equal(table(ALL_INT16), np.maximum(ALL_INT16, 0))
    assert table.max_error == 0.0


def test_a_wide_relu_is_centred_on_the_range_that_it_was_fitted_for() -> None:
    """A slope of at least 2^14 is off by 2^-15 of itself; half of that on either side of the centre, and half a step."""
    step, out, high = 9.1 / 2**31, 4.3 / 2**31, 4.0
    table = fit_table("relu", -1.0, high).quantise(step, out, input_bits=32, output_bits=32)
    x = np.linspace(0, high / step, 1001).astype(np.int64)
    assert np.abs(table(x) * out - x * step).max() <= high * 2.0**-16 + out / 2


def test_a_relu_is_centred_on_what_its_result_can_hold() -> None:
    """A slope of at least 2^14 is off by 2^-15 of itself, 1 step of 2^15: half of that on either side, and half a step."""
    step, out = 2.241e-4, 5.582e-5
    table = fit_table("relu", -7.3, 7.3).quantise(step, out)
    wanted = np.clip(np.maximum(ALL_INT16 * step, 0.0), 0.0, 32767 * out)
    assert np.abs(table(ALL_INT16) * out - wanted).max() <= 1.0001 * out


@pytest.mark.parametrize("name", ["hard_sigmoid", "relu6", "shrink", "thresholded_relu", "sign", "hard_tanh"])
def test_exact_functions_err_by_rounding_alone(name: str) -> None:
    step, out = 7.3 / 32767, 6.1 / 32767
    table = fit_table(name, -7.3, 7.3).quantise(step, out)
    real = arguments(table.function, ALL_INT16, step)
    error = np.abs(table(ALL_INT16) * out - np.clip(table.function(real), -6.1, 6.1))
    # Half an output step, and the slope's half unit of 2^-shift over half of the widest piece (32768 inputs).
    assert error.max() <= out * (0.5 + 2.0 ** -(int(table.shifts.min()) + 1) * 2**15)


@pytest.mark.parametrize("threshold", [0.0, 0.1, -2.34, 1.0])
@pytest.mark.parametrize("name", ["greater", "greater_equal", "less", "less_equal", "equal", "not_equal"])
def test_a_comparison_of_integers_is_that_with_the_threshold_rounded_as_arguments_are(
    name: str, threshold: float
) -> None:
    step = 7.3 / 32767
    table = fit_table(name, -7.3, 7.3, params={"threshold": threshold}).quantise(step, 2.0**-13)
    wanted = getattr(np, name)(ALL_INT16, np.floor(threshold / step + 0.5))
    np.testing.assert_array_equal(table(ALL_INT16), wanted * 2**13)


@pytest.mark.parametrize("segments", [16, 256])
@pytest.mark.parametrize("name", sorted(RULES))
def test_both_levels_use_the_same_segments(name: str, segments: int) -> None:
    table, quantised = both(name, *function_named(name).usual_range, segments=segments)
    real = table.address(arguments(table.function, ALL_INT16, quantised.input_scale))
    np.testing.assert_array_equal(segment_of(quantised, ALL_INT16), real - real[0])


def test_both_levels_use_the_same_segments_for_a_signed_reciprocal() -> None:
    table, quantised = both("reciprocal", -3.0, 10.0)
    assert quantised.signed
    real = table.address(ALL_INT16 * quantised.input_scale)
    lowest = int(segment_of(quantised, ALL_INT16[:1])[0])
    np.testing.assert_array_equal(segment_of(quantised, ALL_INT16), real - real[0] + lowest)


@pytest.mark.parametrize("input_bits", [8, 16])
@pytest.mark.parametrize("name", sorted(RULES))
def test_rounding_adds_half_a_step_and_the_slopes_share(name: str, input_bits: int) -> None:
    """A slope is off by 2^-(shift+1) an input step at most, and the centred intercept halves its reach."""
    table, quantised = both(name, *function_named(name).usual_range, input_bits=input_bits)
    x = np.arange(-(2 ** (input_bits - 1)), 2 ** (input_bits - 1))
    x = x[(x * quantised.input_scale >= table.lo) & (x * quantised.input_scale <= table.hi)]
    wanted = table.function(arguments(table.function, x, quantised.input_scale))
    error = np.abs(quantised(x) * quantised.output_scale - wanted)
    index = quantised.address(x)
    reach = np.bincount(index, minlength=quantised.entries)[index] / 2 + 1
    slope_share = reach * 2.0 ** -(quantised.shifts[index].astype(float) + 1)
    bound = table.max_error + quantised.output_scale * (0.5 + slope_share)
    assert (error <= bound * (1 + 1e-9)).all()
    assert quantised.max_error == pytest.approx(error.max(), rel=1e-12)
    assert quantised.mean_error == pytest.approx(error.mean(), rel=1e-9)


@pytest.mark.parametrize("name", ["tanh", "gelu", "exp", "sqrt", "softplus"])
def test_eight_bit_tables_are_right_to_half_a_step_on_every_input(name: str) -> None:
    """256 entries, one an input: only the output is rounded."""
    _, quantised = both(name, *function_named(name).usual_range, input_bits=8, output_bits=8)
    assert quantised.max_error <= quantised.output_scale * 0.5001


@pytest.mark.parametrize(("name", "out"), [("rsqrt", -20), ("sqrt", -20), ("log", -20), ("reciprocal", -14)])
def test_octaves_of_wide_inputs_keep_relative_accuracy(name: str, out: int) -> None:
    """31 octaves of 8 segments: minimax error f'' (x/8)^2 / 16 <= f / 512 (1 / 1024 for the logarithm).

    The output's scale 2^out lets the slope at the smallest input measured, 2^-10, be stored.
    """
    step, scale = 2.0**-20, 2.0**out
    table = fit_table(name, 0.0, 2.0**11, addressing="octave", input_step=step, input_bits=32)
    quantised = table.quantise(step, scale, 32, 32)
    x = np.unique(np.exp2(np.random.default_rng(11).uniform(10, 31, 20_000)).astype(np.int64))
    wanted = table.function(x * step)
    error = np.abs(quantised(x) * scale - wanted)
    size = np.full_like(wanted, 0.5) if name == "log" else np.abs(wanted)
    # Rounding: half an output step, and a slope of 15 bits over half a segment: 2^-15 / 16 of x f' <= 2 size.
    assert table.addressing == "octave"
    assert (error <= size / 512 * 1.01 + scale / 2 + 2 * size * 2.0**-19).all()


@pytest.mark.parametrize("name", ONE_RULE)
def test_wide_outputs_add_next_to_nothing(name: str) -> None:
    lo, hi = function_named(name).usual_range
    step = scale_for(lo, hi, 16)
    table = fit_table(name, lo, hi, input_step=step)
    scale = max(output_scale(table, 32), table.least_output_scale(step))
    quantised = table.quantise(step, scale, 16, 32)
    assert quantised.clipped_slopes == 0
    # Slopes round by 2^-16 of the steepest, 32767 output steps, over half a segment of at most 2^16 inputs.
    assert quantised.max_error <= table.max_error + scale * (0.5 + 2**15 * 0.5)


def test_intercepts_are_centred_on_the_fitted_part_of_a_segment() -> None:
    """A segment of width 2 of which the range holds a thirtieth."""
    step = 2.0**-16
    table = fit_table("log_sigmoid", -0.465, -0.407, mode="chord", granularity=2.0, input_step=step)
    quantised = table.quantise(step, 2.0**-15)
    # Half a step of output, and a slope of 15 bits over half of 3801 inputs.
    assert quantised.max_error <= table.max_error + quantised.output_scale * (0.5 + 2.0**-15 * 1901)


def test_slopes_too_steep_to_store_are_counted() -> None:
    step = scale_for(-8.0, 0.0, 16)
    table = fit_table("exp", -8.0, 0.0, input_step=step)
    assert table.quantise(step, table.least_output_scale(step), 16, 32).clipped_slopes == 0
    assert table.quantise(step, table.least_output_scale(step) / 1.01, 16, 32).clipped_slopes > 0


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("name", sorted(RULES))
def test_fields_fit_the_table_memory(name: str, bits: int) -> None:
    _, table = both(name, *function_named(name).usual_range, input_bits=bits, output_bits=bits)
    assert (table.slopes.dtype, table.intercepts.dtype, table.shifts.dtype) == (np.int16, np.int64, np.uint8)
    assert table.breakpoints.dtype == np.int32
    assert table.entries <= (64 if table.addressing == "breakpoints" else 256)
    assert len(table.breakpoints) == (table.entries - 1 if table.addressing == "breakpoints" else 0)
    assert -(2**31) <= table.origin < 2**31 and 0 <= table.shift < 32
    assert len(table.blocks) <= 32 and table.blocks.dtype == np.int32
    if len(table.blocks):
        first, shift, segments = table.blocks.T
        np.testing.assert_array_equal(first, np.cumsum(segments) - segments)
        assert segments.sum() == table.entries and (shift >= 0).all() and (segments >= 1).all()
    assert 0 <= table.e_min < 32 and 0 <= table.mantissa_bits <= 7
    half = (1 << table.shifts.astype(np.int64)) >> 1
    # A slope times a wide input is below 2^46, and so is the rest: the sum fits 48 bits with its sign.
    assert (np.abs(table.intercepts) + half < 2**46).all() and int(table.shifts.max()) <= 47


@cache
def wide_table(name: str) -> QuantisedTable:
    return both(name, *function_named(name).usual_range, input_bits=32)[1]


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from(["gelu", "rsqrt", "exp", "relu6"]))
@settings(deadline=None)
def test_addresses_are_those_of_the_fixed_point_reference(x: int, name: str) -> None:
    table = wide_table(name)
    expected = {
        "uniform": lambda: uniform_address(x, table.origin, table.shift, table.entries),
        "octave": lambda: octave_address(x, table.e_min, table.mantissa_bits, table.entries, table.signed),
        "breakpoints": lambda: breakpoint_address(x, table.breakpoints),
        "blocks": lambda: block_address(x, table.origin, table.shift, table.blocks),
        "octave-blocks": lambda: octave_block_address(
            x, table.e_min, table.mantissa_bits, table.blocks, table.signed
        ),
    }[table.addressing]()
    assert int(table.address(x)) == int(expected)


def test_outputs_saturate() -> None:
    table = fit_table("square", -4, 4, input_step=2.0**-12).quantise(2.0**-12, 2.0**-12)
    assert int(table(ALL_INT16).max()) == 2**15 - 1


def test_pieces_that_no_input_reaches_are_left_out() -> None:
    assert fit_table("relu6", 0, 3).quantise(3 / 32767, 3 / 32767).entries == 2


def test_far_out_a_quantised_gate_is_exactly_zero_or_its_input() -> None:
    table = fit_table("gelu", -30, 30, input_step=30 / 32767).quantise(30 / 32767, 30 / 32767)
    outer = ALL_INT16[np.abs(ALL_INT16) > 8000]
    np.testing.assert_array_equal(table(outer), np.maximum(outer, 0))


def test_uniform_segments_refuse_another_scale() -> None:
    table = fit_table("gelu", -4, 4, addressing="uniform", input_step=1e-3)
    with pytest.raises(
        TableError, match=r"not fitted for 16-bit inputs of scale 0\.002; give fit_table input_step=0\.002"
    ):
        table.quantise(2e-3, 1e-3)


def test_free_breakpoints_take_any_scale() -> None:
    table = fit_table("gelu", -4, 4, addressing="breakpoints", segments=32)
    quantised = table.quantise(4 / 32767, 4 / 32767)
    # A boundary moves by less than an input step, and the lines differ there by less than twice the error.
    assert quantised.max_error <= table.max_error * 1.01 + 4 / 32767
