"""Blocks divided by powers of two: what the division must reach, and that integers find the same segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmc.pwl import fit_table, function_named
from nmc.pwl.blocks import divide
from nmc.quant import scale_for
from tests.pwl.test_optimum import OTHER_RANGES, RANGES

HEADROOM = 2.0
"""What the compiler leaves above the calibrated range of a result."""
ALL_RANGES = {**RANGES, **OTHER_RANGES}
ALL_INT16 = np.arange(-(2**15), 2**15)


@given(
    st.lists(st.floats(0.0, 1e3), min_size=1, max_size=8),
    st.lists(st.integers(0, 7), min_size=8, max_size=8),
    st.integers(8, 256),
)
def test_no_block_but_those_at_their_limit_could_be_halved_once_more(
    coarse: list[float], limits: list[int], count: int
) -> None:
    errors = np.array(coarse) / 4.0 ** np.arange(8)[:, None]
    most = np.array(limits[: len(coarse)])
    divisions = divide(errors, most, lambda _, bits: 1 << bits, count)
    used = sum(segments for _, segments in divisions)
    assert used <= count
    for block, (bits, segments) in enumerate(divisions):
        assert segments == 1 << bits
        assert bits == most[block] or errors[bits, block] == 0.0 or used + segments > count


def test_the_worst_block_is_halved_first() -> None:
    errors = np.array([8.0, 1.0]) / 4.0 ** np.arange(8)[:, None]
    assert divide(errors, np.array([7, 7]), lambda _, bits: 1 << bits, 5) == ((2, 4), (0, 1))


@pytest.mark.parametrize("name", sorted(set(ALL_RANGES) - {"sin", "cos"}))
def test_a_default_table_adds_less_than_half_a_step_of_16_bits(name: str) -> None:
    """With the headroom that the compiler leaves above argument and result, over the integers that calibration saw."""
    low, high = ALL_RANGES[name]
    function, scale = (
        function_named(name),
        scale_for(-HEADROOM * max(-low, high), HEADROOM * max(-low, high), 16),
    )
    span = (low, high) if function.octaves else (HEADROOM * min(low, 0.0), HEADROOM * max(high, 0.0))
    table = fit_table(name, *span, input_step=scale, seen=(low, high))
    x = np.arange(round(low / scale), round(high / scale) + 1) * scale
    exact = function(x)
    largest = HEADROOM * float(np.abs(exact).max())
    assert np.abs(table(x) - exact).max() < 0.5 * scale_for(-largest, largest, 16)


@pytest.mark.parametrize("low", [0.0101, 0.0625, 0.5])
@pytest.mark.parametrize("name", ["log", "rsqrt", "reciprocal"])
def test_few_integers_at_the_begin_of_octaves_are_met_as_well(name: str, low: float) -> None:
    """A range may begin at some ten integers: a segment for each of them is then exact, however much it bends between."""
    scale = scale_for(-32.0, 32.0, 16)
    table = fit_table(name, low, 16.0, input_step=scale)
    x = np.arange(round(low / scale), round(16.0 / scale) + 1)
    exact = function_named(name)(x * scale)
    step = scale_for(-HEADROOM * np.abs(exact).max(), HEADROOM * np.abs(exact).max(), 16)
    error = np.abs(table.quantise(scale, step)(x) * step - exact)
    # half a step is the result's own rounding
    assert error.max() < 1.05 * step


def test_entries_are_saved_where_the_error_is_small_enough() -> None:
    least = fit_table("exp", -8.0, 0.0)
    table = fit_table("exp", -8.0, 0.0, enough=4.0 * least.max_error)
    assert table.max_error <= 4.0 * least.max_error
    # the error goes as the square of the number: half as many suffice, but for the powers of two
    assert table.entries <= 0.75 * least.entries


def test_beside_what_is_expected_errors_may_be_eight_times_as_large() -> None:
    table = fit_table("sin", -6.0, 6.0, segments=512, seen=(-3.0, 3.0))
    even = fit_table("sin", -6.0, 6.0, segments=512, addressing="uniform")
    assert table.seen_error < table.max_error <= 8.0 * table.seen_error
    assert table.seen_error < even.max_error


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize(
    ("name", "low", "high", "addressing"),
    [
        ("exp", -27.5, 0.0, "blocks"),
        ("tanh", -8.0, 8.0, "blocks"),
        ("gelu", -3.0, 5.0, "blocks"),
        ("sigmoid", 0.0, 6.0, "blocks"),
        ("rsqrt", 0.0137, 0.1633, "octave-blocks"),
        ("reciprocal", -20.0, 50.0, "octave-blocks"),
        ("sqrt", 0.0, 16.0, "octave-blocks"),
    ],
)
def test_integers_find_the_segments_that_their_values_have(
    name: str, low: float, high: float, addressing: str, bits: int
) -> None:
    limit = 2 ** (bits - 1)
    step = max(abs(low), abs(high)) / (limit - 1)
    table = fit_table(name, low, high, addressing=addressing, input_step=step, input_bits=bits)
    quantised = table.quantise(step, 2.0**-8, bits, 32)
    x = ALL_INT16 * (limit >> 15)
    # a signed table has the segments of x >= 0 first and then those of x < 0, both by growing magnitude
    half, found = table.entries // 2, quantised.address(x)
    ascending = np.where(found < half, half + found, table.entries - 1 - found) if table.signed else found
    clear = np.abs(x * step - table.boundaries[:, None]).min(axis=0) > 1e-9 * abs(high - low)
    np.testing.assert_array_equal(ascending[clear], table.address(x * step)[clear])


def test_blocks_are_nearly_as_good_as_free_segments() -> None:
    """Widths that are halves of one another are at most twice those of free segments with the same largest error: four
    times the error, which for free ones goes as the square of their number.
    """
    x = np.linspace(-8.0, 0.0, 100_001)
    blocks = np.abs(fit_table("exp", -8.0, 0.0, addressing="blocks", segments=256)(x) - np.exp(x)).max()
    free = np.abs(fit_table("exp", -8.0, 0.0, addressing="breakpoints", segments=64)(x) - np.exp(x)).max()
    assert free / 4.0**2 < blocks < 4.0 * free / 4.0**2


def test_relative_accuracy_keeps_octaves_divided_alike() -> None:
    """Eight parts of an octave: error of a reciprocal (1/8)² / 8 = 1/512 of its value, and less where more are given."""
    table = fit_table("reciprocal", 1.0, 2.0**15, addressing="octave-blocks", relative=True)
    x = np.exp2(np.linspace(0.0, 15.0, 50_001))
    assert (np.abs(table(x) * x - 1.0) <= 1.0 / 512.0).all()


@pytest.mark.parametrize("x", [0.3, 0.6, 1500.0, 3000.0])
def test_octaves_beside_the_range_are_not_left_to_the_last_segment(x: float) -> None:
    """A quarter of an octave: error of a root (1/4)² 3/4 / 16 of its value at most, and half of that in the middle."""
    table = fit_table("rsqrt", 1.0, 1000.0, addressing="octave-blocks")
    assert float(table(x)) == pytest.approx(x**-0.5, rel=1 / 4**2 * 3 / 4 / 16)


@pytest.mark.parametrize("bits", [16, 32])
def test_an_argument_that_rounding_took_out_of_the_range_finds_a_segment_fitted_there(bits: int) -> None:
    low, high = 1.9344229698181152, 4.481407165527344
    step = 2.0 * high / 2.0 ** (bits - 1)
    table = fit_table("reciprocal", low, high, input_step=step, input_bits=bits)
    x = np.linspace(low - 0.002, low, 200)
    assert np.abs(table(x) - 1.0 / x).max() < 4.0 * table.max_error + 0.3 * step
