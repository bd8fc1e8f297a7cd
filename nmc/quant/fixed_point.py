"""The arithmetic of the quantised level, written once: what all else must match to the bit.

Tensors hold symmetric signed integers of 8 or 16 bits ("narrow") or 32 bits ("wide"); a tensor's real values
are its integers times its scale. All functions take integer arrays of any signed dtype, compute in int64 and
return int64 arrays whose values are already saturated to the named width. A right shift is arithmetic: it
rounds down.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nmc.errors import NmcError

IntArray = NDArray[np.int64]

ACCUMULATOR_BITS = 48
"""Width of a hardware accumulator; no sum of products may reach 2^47 in magnitude."""

MULTIPLIER_BITS = 31
"""Magnitude bits of a requantisation multiplier."""

ADD_MULTIPLIER_BITS = 30
"""Magnitude bits of an addition's multipliers: one less, because two products are summed in 64 bits."""

MINIMUM_REQUANTISE_SHIFT = 17
"""Below this the split evaluation of `requantise` (16 low bits apart) would no longer be exact."""

MAXIMUM_SHIFT = 62
"""The largest shift whose rounding constant and operands still sum within 64 bits."""


class QuantisationError(NmcError):
    """A number that fixed-point arithmetic cannot hold: an undefined ratio, a sum beyond the accumulator."""


def saturate(values: ArrayLike, bits: int) -> IntArray:
    """Clip integers to the signed range of `bits` bits, -2^(bits-1) .. 2^(bits-1)-1."""
    limit = 1 << (bits - 1)
    return np.clip(np.asarray(values, np.int64), -limit, limit - 1)


def requantise(accumulator: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> IntArray:
    """floor((accumulator * multiplier + 2^(shift-1)) / 2^shift), exactly: nearest, ties upward, unsaturated.

    |accumulator| < 2^47, |multiplier| < 2^31, 17 <= shift <= 62; the three broadcast. The product needs up to
    78 bits, so its low 16 are dropped first: they are below the rounding constant's last bit and cannot
    carry.
    """
    accumulator, multiplier, shift = (
        np.asarray(value, np.int64) for value in (accumulator, multiplier, shift)
    )
    high, low = accumulator >> 16, accumulator & 0xFFFF
    product = high * multiplier + ((low * multiplier) >> 16)
    return (product + (np.int64(1) << (shift - 17))) >> (shift - 16)


def multiplier_and_shift(ratio: float) -> tuple[int, int]:
    """The (multiplier, shift) of `requantise` nearest to a ratio of scales: ratio ~ multiplier / 2^shift.

    The multiplier is normalised, 2^30 <= |m| < 2^31, so the relative error is at most 2^-31. A ratio of 2^14
    or more is capped at the largest that fits; below 2^-32 the multiplier loses bits until it is 0.
    """
    (multiplier,), shift = _common_shift((ratio,), MULTIPLIER_BITS, MINIMUM_REQUANTISE_SHIFT)
    return multiplier, shift


def multipliers_and_shifts(ratios: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`multiplier_and_shift` of each element: one pair a channel, as int32 arrays of that shape."""
    ratios = np.asarray(ratios, np.float64)
    pairs = [multiplier_and_shift(ratio) for ratio in ratios.ravel().tolist()]
    both = np.array(pairs, np.int32).reshape(-1, 2)
    return both[:, 0].reshape(ratios.shape), both[:, 1].reshape(ratios.shape)


def add_multipliers(ratio_a: float, ratio_b: float) -> tuple[int, int, int]:
    """The (multiplier_a, multiplier_b, shift) of `add`: ratio ~ multiplier / 2^shift with one shift for both.

    The larger ratio is normalised, 2^29 <= |m| < 2^30, and 1 <= shift <= 62; ratios that are too large are
    capped (at the same shift, so each keeps as much of its value as fits). A ratio may be negative or 0.
    """
    (multiplier_a, multiplier_b), shift = _common_shift((ratio_a, ratio_b), ADD_MULTIPLIER_BITS, 1)
    return multiplier_a, multiplier_b, shift


def gemm(
    a: ArrayLike, b: ArrayLike, bias: ArrayLike | None, multiplier: ArrayLike, shift: ArrayLike, bits: int
) -> IntArray:
    """Matrix product with bias, requantised per column.

    a is [..., m, k], b is [..., k, n] or [k, n]; bias, multiplier and shift are [n] (or scalars).
    Raises QuantisationError when a sum does not fit the 48-bit accumulator.
    """
    accumulator = _exact_matmul(np.asarray(a, np.int64), np.asarray(b, np.int64))
    if bias is not None:
        accumulator = accumulator + np.asarray(bias, np.int64)
    _check_accumulator(accumulator)
    return saturate(requantise(accumulator, multiplier, shift), bits)


def hadamard(a: ArrayLike, b: ArrayLike, multiplier: int, shift: int, bits: int) -> IntArray:
    """Elementwise product, requantised; a and b broadcast and at most one of them is wide."""
    accumulator = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    _check_accumulator(accumulator)
    return saturate(requantise(accumulator, multiplier, shift), bits)


def add(a: ArrayLike, b: ArrayLike, multiplier_a: int, multiplier_b: int, shift: int, bits: int) -> IntArray:
    """Weighted elementwise sum: (a * multiplier_a + b * multiplier_b + 2^(shift-1)) >> shift, saturated.

    A negative multiplier_b subtracts; b = 0 makes it the requantising copy of one tensor. Operands may be
    wide.
    """
    total = np.asarray(a, np.int64) * multiplier_a + np.asarray(b, np.int64) * multiplier_b
    return saturate((total + (1 << (shift - 1))) >> shift, bits)


def pwl(
    x: ArrayLike, index: ArrayLike, slopes: ArrayLike, intercepts: ArrayLike, shifts: ArrayLike, bits: int
) -> IntArray:
    """A table of segments: (slope * x + intercept + half) >> shift with the entry of `index`, saturated.

    `index` has x's shape and comes from one of the address functions below. Slopes are 16 bits, intercepts
    48, shifts 0..47; half is 2^(shift-1), or 0 when shift is 0.
    """
    x, index = np.asarray(x, np.int64), np.asarray(index)
    slope, intercept, shift = (np.asarray(part, np.int64)[index] for part in (slopes, intercepts, shifts))
    half = (np.int64(1) << shift) >> 1
    return saturate((slope * x + intercept + half) >> shift, bits)


def uniform_address(x: ArrayLike, origin: int, shift: int, entries: int) -> IntArray:
    """Segments of 2^shift integers from `origin` on; the first and the last extend outward."""
    return np.clip((np.asarray(x, np.int64) - origin) >> shift, 0, entries - 1)


def octave_address(x: ArrayLike, e_min: int, mantissa_bits: int, entries: int, signed: bool) -> IntArray:
    """Segments by the position of the leading one and the `mantissa_bits` bits after it, like a float's.

    Octaves start at 2^e_min; smaller magnitudes share segment 0. A signed table holds `entries`/2 segments
    for x >= 0 and then as many for x < 0, addressed by |x|; an unsigned one sends x <= 0 to segment 0.
    """
    x = np.asarray(x, np.int64)
    half = entries // 2 if signed else entries
    magnitude = np.abs(x) if signed else np.maximum(x, 0)
    # frexp of an integer below 2^53 is exact: magnitude = f * 2^e with 1/2 <= f < 1.
    leading = np.frexp(np.maximum(magnitude, 1).astype(np.float64))[1].astype(np.int64) - 1
    mantissa = ((magnitude << mantissa_bits) >> leading) - (1 << mantissa_bits)
    segment = np.clip(((leading - e_min) << mantissa_bits) + mantissa, 0, half - 1)
    segment = np.where(magnitude == 0, 0, segment)
    return np.where(x < 0, half + segment, segment) if signed else segment


def breakpoint_address(x: ArrayLike, breakpoints: ArrayLike) -> IntArray:
    """The number of breakpoints that are <= x; breakpoints are sorted integers."""
    return np.searchsorted(np.asarray(breakpoints, np.int64), np.asarray(x, np.int64), side="right").astype(
        np.int64
    )


def block_address(x: ArrayLike, origin: int, shift: int, blocks: ArrayLike) -> IntArray:
    """Segments of blocks of 2^shift integers from `origin` on; the first and the last segment extend outward.

    `blocks` [n, 3] holds each block's first segment, the binary logarithm of a segment's integers, and how many
    segments the block has: the last one of them goes on to its end.
    """
    x, directory = np.asarray(x, np.int64), np.asarray(blocks, np.int64)
    block = np.clip((x - origin) >> shift, 0, len(directory) - 1)
    return _segment_of_block(x - origin - (block << shift), np.asarray(1 << shift), directory[block])


def octave_block_address(
    x: ArrayLike, e_min: int, mantissa_bits: int, blocks: ArrayLike, signed: bool
) -> IntArray:
    """The same with the segments of octave addressing for blocks."""
    x, directory = np.asarray(x, np.int64), np.asarray(blocks, np.int64)
    half = len(directory) // 2 if signed else len(directory)
    block = octave_address(x, e_min, mantissa_bits, len(directory), signed)
    magnitude, position = np.abs(x) if signed else np.maximum(x, 0), block % half
    octave = e_min + (position >> mantissa_bits)
    mantissa = (1 << mantissa_bits) + (position & ((1 << mantissa_bits) - 1))
    width = np.maximum((np.int64(1) << octave) >> mantissa_bits, 1)
    return _segment_of_block(magnitude - ((mantissa << octave) >> mantissa_bits), width, directory[block])


def _segment_of_block(place: IntArray, width: IntArray, block: IntArray) -> IntArray:
    """The segment at a place in a block of `width` integers, whose row of the directory is block [..., 3]."""
    first, shift, segments = block[..., 0], block[..., 1], block[..., 2]
    return first + np.minimum(np.clip(place, 0, width - 1) >> shift, segments - 1)


def quantise(x: ArrayLike, scale: float, bits: int) -> IntArray:
    """Real values to integers: floor(x / scale + 1/2) in float64, saturated; NaN becomes 0."""
    limit = float(1 << (bits - 1))
    scaled = np.floor(np.asarray(x, np.float64) / np.float64(scale) + 0.5)
    return np.clip(np.nan_to_num(scaled, nan=0.0, posinf=limit, neginf=-limit), -limit, limit - 1).astype(
        np.int64
    )


def dequantise(q: ArrayLike, scale: float) -> NDArray[np.float32]:
    """Integers to real values: float32(float64(q) * float64(scale))."""
    return (np.asarray(q, np.float64) * np.float64(scale)).astype(np.float32)


def _common_shift(
    ratios: tuple[float, ...], magnitude_bits: int, minimum_shift: int
) -> tuple[list[int], int]:
    """Integers m, |m| < 2^magnitude_bits, and one shift s, so that m / 2^s is nearest to each ratio."""
    if any(math.isnan(ratio) for ratio in ratios):
        raise QuantisationError(
            "a ratio of scales is not a number; check the model's constants for infinities and NaN"
        )
    largest = (1 << magnitude_bits) - 1
    greatest = max(abs(ratio) for ratio in ratios)
    exponent = (
        math.frexp(greatest)[1] if 0 < greatest < math.inf else (-MAXIMUM_SHIFT if greatest == 0 else 1024)
    )
    shift = magnitude_bits - exponent
    # A mantissa of almost one rounds up to 2^magnitude_bits, one bit too many: its shift is one less.
    if exponent < 1024 and round(math.ldexp(greatest, shift)) > largest:
        shift -= 1
    shift = min(max(shift, minimum_shift), MAXIMUM_SHIFT)
    return [_rounded(ratio, shift, largest) for ratio in ratios], shift


def _rounded(ratio: float, shift: int, largest: int) -> int:
    """The integer nearest to ratio * 2^shift, capped to +-largest."""
    capped = (
        max(-largest, min(largest, ratio * 2.0**shift))
        if math.isfinite(ratio)
        else math.copysign(largest, ratio)
    )
    return round(capped)


def _exact_matmul(a: IntArray, b: IntArray) -> IntArray:
    """Integer matrix product; through float64, whose matmul is fast, when no partial sum can reach 2^53."""
    bound = float(np.abs(a).max(initial=0)) * float(np.abs(b).max(initial=0)) * a.shape[-1]
    if bound < 2.0**53:
        return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64)
    return np.matmul(a, b)


def _check_accumulator(accumulator: IntArray) -> None:
    limit = 1 << (ACCUMULATOR_BITS - 1)
    if accumulator.size and max(int(accumulator.max()), -int(accumulator.min())) >= limit:
        raise QuantisationError(
            f"a sum of products reaches {int(np.abs(accumulator).max())}, beyond the {ACCUMULATOR_BITS}-bit "
            "accumulator; use narrower data or split the reduction"
        )
