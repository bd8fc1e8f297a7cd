"""The fixed-point reference against Python's unbounded integers and exact fractions."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nmc.quant import fixed_point

ACCUMULATORS = st.integers(-(2**47) + 1, 2**47 - 1)
MULTIPLIERS = st.integers(-(2**31) + 1, 2**31 - 1)
REQUANTISE_SHIFTS = st.integers(17, 62)
NARROW = st.integers(-(2**15), 2**15 - 1)
WIDE = st.integers(-(2**31), 2**31 - 1)
BITS = st.sampled_from([8, 16, 32])
RATIOS = st.floats(-1e30, 1e30, allow_nan=False)


def clip(value: int, bits: int) -> int:
    limit: int = 2 ** (bits - 1)
    return max(-limit, min(limit - 1, value))


def shifted(value: int, shift: int) -> int:
    """value / 2^shift to nearest, ties upward, in unbounded integers."""
    return (value + (1 << shift >> 1)) >> shift


@given(WIDE | ACCUMULATORS, BITS)
def test_saturate_clips_to_the_signed_range(value: int, bits: int) -> None:
    assert int(fixed_point.saturate(value, bits)) == clip(value, bits)


@given(ACCUMULATORS, MULTIPLIERS, REQUANTISE_SHIFTS)
@example(2**47 - 1, 2**31 - 1, 62)
@example(2**47 - 1, 2**31 - 1, 17)
@example(-(2**47) + 1, 2**31 - 1, 17)
@example(-(2**47) + 1, -(2**31) + 1, 62)
@example(-1, 1, 17)
@example(2**16, 1, 17)  # exactly one half: rounds up
@example(-(2**16), 1, 17)  # exactly minus one half: rounds up to 0
def test_requantise_is_exact_on_every_operand(accumulator: int, multiplier: int, shift: int) -> None:
    assert int(fixed_point.requantise(accumulator, multiplier, shift)) == shifted(
        accumulator * multiplier, shift
    )


@given(RATIOS)
@example(1.0)
@example(math.nextafter(1.0, 0.0))  # its mantissa rounds up to 2^31
@example(2.0**14)
@example(math.nextafter(2.0**14, 0.0))
@example(2.0**-32)
@example(2.0**-80)
@example(0.0)
@example(math.inf)
@example(-math.inf)
def test_the_multiplier_is_the_nearest_that_its_shift_allows(ratio: float) -> None:
    multiplier, shift = fixed_point.multiplier_and_shift(ratio)
    assert abs(multiplier) < 2**31 and 17 <= shift <= 62
    if abs(ratio) >= 2**14:
        assert (multiplier, shift) == (int(math.copysign(2**31 - 1, ratio)), 17)
        return
    error = abs(Fraction(ratio) * 2**shift - multiplier)
    # The one value between the largest multiplier and 2^14 is capped, at less than one unit away.
    assert error <= Fraction(1, 2) or (abs(multiplier) == 2**31 - 1 and error < 1)
    if shift < 62:
        assert abs(multiplier) >= 2**30


def test_a_ratio_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(fixed_point.QuantisationError, match="not a number"):
        fixed_point.multiplier_and_shift(math.nan)


def test_many_ratios_give_the_same_pairs_as_one_at_a_time() -> None:
    ratios = np.array([[0.5, -3e-5], [1e9, 0.0]])
    multipliers, shifts = fixed_point.multipliers_and_shifts(ratios)
    assert multipliers.dtype == shifts.dtype == np.int32
    pairs = zip(multipliers.ravel().tolist(), shifts.ravel().tolist(), strict=True)
    assert list(pairs) == [fixed_point.multiplier_and_shift(ratio) for ratio in ratios.ravel().tolist()]


@given(RATIOS, RATIOS)
@example(1.0, -1.0)
@example(1.0, 0.0)
@example(0.0, 0.0)
@example(1e20, 1.0)
@example(math.nextafter(0.5, 0.0), 0.5)
def test_an_additions_multipliers_share_the_largest_shift_that_fits(ratio_a: float, ratio_b: float) -> None:
    multiplier_a, multiplier_b, shift = fixed_point.add_multipliers(ratio_a, ratio_b)
    assert 1 <= shift <= 62
    for ratio, multiplier in ((ratio_a, multiplier_a), (ratio_b, multiplier_b)):
        assert abs(multiplier) < 2**30
        scaled = Fraction(ratio) * 2**shift
        if abs(scaled) < 2**30 - 1:
            assert abs(scaled - multiplier) <= Fraction(1, 2)
        else:
            assert multiplier == int(math.copysign(2**30 - 1, ratio))
    if shift < 62 and shift > 1:
        assert max(abs(multiplier_a), abs(multiplier_b)) >= 2**29


@given(WIDE, WIDE, RATIOS, RATIOS, BITS)
@example(2**31 - 1, 2**31 - 1, 1.0, 1.0, 32)
@example(-(2**31), -(2**31), 1e30, 1e30, 32)
@example(-(2**31), -(2**31), 2.0**-40, 2.0**-40, 32)
def test_add_is_exact_with_every_pair_of_multipliers(
    a: int, b: int, ratio_a: float, ratio_b: float, bits: int
) -> None:
    multiplier_a, multiplier_b, shift = fixed_point.add_multipliers(ratio_a, ratio_b)
    expected = clip(shifted(a * multiplier_a + b * multiplier_b, shift), bits)
    assert int(fixed_point.add(a, b, multiplier_a, multiplier_b, shift, bits)) == expected


@given(WIDE, st.integers(-(2**15), 2**15 - 1), MULTIPLIERS, REQUANTISE_SHIFTS, BITS)
@example(-(2**31), -(2**15), 2**31 - 1, 17, 32)
def test_hadamard_is_exact_on_wide_times_narrow(
    a: int, b: int, multiplier: int, shift: int, bits: int
) -> None:
    expected = clip(shifted(a * b * multiplier, shift), bits)
    assert int(fixed_point.hadamard(a, b, multiplier, shift, bits)) == expected


@pytest.mark.parametrize("high", [2**7, 2**15, 2**31])
def test_gemm_is_exact_for_narrow_and_wide_operands(high: int) -> None:
    generator = np.random.default_rng(1)
    a = generator.integers(-high, high, (2, 3, 5))
    b = generator.integers(-(2**13), 2**13, (5, 4))
    bias = generator.integers(-(2**40), 2**40, 4)
    multipliers, shifts = fixed_point.multipliers_and_shifts(2.0 ** -generator.integers(1, 40, 4) / 3)
    got = fixed_point.gemm(a, b, bias, multipliers, shifts, 16)
    for batch, row, column in np.ndindex(2, 3, 4):
        total = sum(int(a[batch, row, k]) * int(b[k, column]) for k in range(5)) + int(bias[column])
        expected = clip(shifted(total * int(multipliers[column]), int(shifts[column])), 16)
        assert int(got[batch, row, column]) == expected


def test_gemm_multiplies_batches_by_batches() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.integers(-128, 128, (3, 4, 5)), generator.integers(-128, 128, (3, 5, 6))
    one_to_one = fixed_point.multiplier_and_shift(1.0)
    np.testing.assert_array_equal(
        fixed_point.gemm(a, b, None, *one_to_one, 32), np.einsum("bij,bjk->bik", a, b)
    )


def test_gemm_refuses_a_sum_beyond_the_accumulator() -> None:
    a, b = np.full((1, 3), 2**31 - 1), np.full((3, 1), 2**15 - 1)
    with pytest.raises(fixed_point.QuantisationError, match="48-bit accumulator"):
        fixed_point.gemm(a, b, None, 2**30, 62, 16)


@given(WIDE, st.integers(-(2**15), 2**15 - 1), st.integers(-(2**47) + 1, 2**47 - 1), st.integers(0, 47), BITS)
@example(2**31 - 1, 2**15 - 1, 2**47 - 1, 47, 32)
@example(-(2**31), 2**15 - 1, -(2**47) + 1, 0, 32)
def test_pwl_is_exact_with_every_entry(x: int, slope: int, intercept: int, shift: int, bits: int) -> None:
    expected = clip(shifted(slope * x + intercept, shift), bits)
    assert int(fixed_point.pwl(x, 0, [slope], [intercept], [shift], bits)) == expected


@given(WIDE, WIDE, st.integers(0, 31), st.integers(1, 256))
def test_uniform_addresses_count_whole_segments_from_the_origin(
    x: int, origin: int, shift: int, n: int
) -> None:
    expected = max(0, min(n - 1, math.floor(Fraction(x - origin, 2**shift))))
    assert int(fixed_point.uniform_address(x, origin, shift, n)) == expected


@given(WIDE, st.integers(0, 30), st.integers(0, 7), st.integers(1, 128), st.booleans())
@example(0, 0, 3, 8, True)
@example(-(2**31), 0, 3, 128, True)
@example(2**31 - 1, 24, 4, 128, False)
@example(1, 0, 7, 128, False)
def test_octave_addresses_count_boundaries_below_the_magnitude(
    x: int, e_min: int, mantissa_bits: int, half: int, signed: bool
) -> None:
    boundaries = [
        Fraction(2) ** (e_min + j // 2**mantissa_bits)
        * (1 + Fraction(j % 2**mantissa_bits, 2**mantissa_bits))
        for j in range(1, half)
    ]
    magnitude = abs(x) if signed else max(x, 0)
    segment = sum(boundary <= magnitude for boundary in boundaries)
    entries, expected = (2 * half, segment + half * (x < 0)) if signed else (half, segment)
    assert int(fixed_point.octave_address(x, e_min, mantissa_bits, entries, signed)) == expected


def directory_of(starts: list[Fraction], divisions: list[int]) -> tuple[list[Fraction], np.ndarray]:
    """Where the segments of blocks begin whose ends are `starts` and which are halved `divisions` times as far as whole
    numbers go, and the blocks' directory: the last block has all of its segments but one, if it has several.
    """
    boundaries, rows = [], []
    for (begin, end), halved in zip(pairwise(starts), divisions, strict=True):
        width = math.floor(math.log2(max(end - begin, 1)))
        halved = min(halved, width)
        segments = 2**halved - (len(rows) == len(divisions) - 1 and halved > 0)
        rows.append([len(boundaries), width - halved, segments])
        boundaries += [begin + (end - begin) * Fraction(j, 2**halved) for j in range(segments)]
    return boundaries, np.array(rows)


DIVISIONS = st.lists(st.integers(0, 7), min_size=1, max_size=32)


@given(WIDE, WIDE, st.integers(0, 27), DIVISIONS)
def test_block_addresses_count_the_boundaries_at_or_below(
    x: int, origin: int, shift: int, divisions: list[int]
) -> None:
    starts = [Fraction(origin + (block << shift)) for block in range(len(divisions) + 1)]
    boundaries, directory = directory_of(starts, divisions)
    expected = sum(boundary <= x for boundary in boundaries[1:])
    assert int(fixed_point.block_address(x, origin, shift, directory)) == expected


@given(WIDE, st.integers(0, 20), st.integers(0, 3), DIVISIONS, st.booleans())
@example(-(2**31), 0, 0, [0] * 31 + [7], True)
@example(0, 0, 3, [3] * 4, False)
def test_octave_block_addresses_count_the_boundaries_at_or_below_the_magnitude(
    x: int, e_min: int, mantissa_bits: int, divisions: list[int], signed: bool
) -> None:
    parts = 2**mantissa_bits
    starts = [
        Fraction(2) ** (e_min + block // parts) * (1 + Fraction(block % parts, parts))
        for block in range(len(divisions) + 1)
    ]
    boundaries, directory = directory_of(starts, divisions)
    half = int(directory[-1, 0] + directory[-1, 2])
    if signed:
        directory = np.concatenate([directory, directory + np.array([half, 0, 0])])
    magnitude = abs(x) if signed else max(x, 0)
    expected = sum(boundary <= magnitude for boundary in boundaries[1:]) + half * (signed and x < 0)
    address = fixed_point.octave_block_address(x, e_min, mantissa_bits, directory, signed)
    assert int(address) == expected


@given(WIDE, st.lists(WIDE, max_size=63).map(sorted))
def test_breakpoint_addresses_count_breakpoints_at_or_below(x: int, breakpoints: list[int]) -> None:
    assert int(fixed_point.breakpoint_address(x, breakpoints)) == sum(point <= x for point in breakpoints)


@given(st.floats(width=32), st.floats(2.0**-60, 2.0**20, width=32), BITS)
@example(math.nan, 1.0, 16)
@example(math.inf, 1.0, 16)
@example(-math.inf, 1.0, 32)
@example(0.5, 1.0, 16)
@example(-0.5, 1.0, 16)
def test_quantise_rounds_to_nearest_and_saturates(x: float, scale: float, bits: int) -> None:
    got = int(fixed_point.quantise(np.float32(x), scale, bits))
    if math.isnan(x):
        assert got == 0
    elif math.isinf(x):
        assert got == clip(int(math.copysign(2**62, x)), bits)
    else:
        assert got == clip(math.floor(x / scale + 0.5), bits)


@given(WIDE, st.floats(2.0**-40, 2.0**10, width=32))
def test_dequantise_rounds_the_exact_product_once(q: int, scale: float) -> None:
    got = fixed_point.dequantise(q, scale)
    assert got.dtype == np.float32
    # 32 bits times a 24-bit significand needs 56: float64 may round once before float32 does.
    assert abs(Fraction(float(got)) - q * Fraction(scale)) <= abs(q * Fraction(scale)) * Fraction(
        2**-24 + 2**-52
    )


@given(NARROW, st.floats(2.0**-20, 2.0**10, width=32))
def test_quantise_inverts_dequantise_on_narrow_data(q: int, scale: float) -> None:
    assert int(fixed_point.quantise(fixed_point.dequantise(q, scale), scale, 16)) == q
