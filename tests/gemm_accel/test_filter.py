"""FILTER against numpy."""

from dataclasses import replace

import numpy as np
import pytest

from nmc.errors import ProgramError
from nmc.quant import fixed_point
from targets.gemm_accel import isa
from tests.gemm_accel.bench import Integers, random_integers, run_compute, type_of

A, B, SCALE, OUT = 0, 64 * 1024, 100 * 1024, 128 * 1024
MULTIPLIER, SHIFT = 2**30, 47


def filtered(image: Integers, taps: Integers) -> Integers:
    """Each channel of an image [rows, columns, channels] under its own taps [rows, columns, channels], in 64 bits."""
    high, wide, _ = taps.shape
    rows, columns = image.shape[0] - high + 1, image.shape[1] - wide + 1
    sums = np.zeros((rows, columns, image.shape[2]), np.int64)
    for i in range(high):
        for j in range(wide):
            sums += image[i : i + rows, j : j + columns].astype(np.int64) * taps[i, j]
    return sums


def filter_of(image: Integers, taps: Integers, b: int = B, accumulate: int = 0) -> isa.Filter:
    """The command that filters dense arrays at A and b."""
    _, columns, channels = image.shape
    high, wide, _ = taps.shape
    pitches = (columns * channels * image.itemsize, channels * image.itemsize)
    counts = (image.shape[0] - high + 1, columns - wide + 1, channels)
    return isa.Filter(
        A, type_of(image), pitches, b, type_of(taps), channels * taps.itemsize, (high, wide), counts, 9, accumulate
    )  # fmt: skip


def results(
    commands: list[isa.Filter], counts: tuple[int, int, int], data: dict[int, Integers], dtype: str
) -> Integers:
    """The sums of commands, requantised by MULTIPLIER and SHIFT."""
    rows, columns, channels = counts
    kind = isa.element_type(dtype)
    scale = np.concatenate([np.full(channels, MULTIPLIER), np.full(channels, SHIFT)]).astype(np.int32)
    place = isa.Destination(OUT, kind, (0, channels * kind.bytes))
    drain = isa.Drain(9, (1, rows * columns, channels), isa.NONE, SCALE, place)
    return run_compute([*commands, drain], {**data, SCALE: scale}, {OUT: (counts, dtype)})[0]


def requantised(sums: Integers, bits: int) -> Integers:
    return fixed_point.saturate(fixed_point.requantise(sums, MULTIPLIER, SHIFT), bits)


@pytest.mark.parametrize(
    "types",
    [
        ("int16", "int16"), ("int8", "int16"), ("int16", "int8"), ("int8", "int8"), ("int32", "int16"),
        ("int32", "int8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("counts", "kernel"),
    [
        ((1, 1, 1), (1, 1)),
        ((4, 9, 16), (3, 3)),
        ((5, 33, 20), (3, 5)),
        ((3, 7, 33), (3, 3)),
        ((2, 6, 8), (2, 8)),
        ((1, 100, 4), (1, 16)),
        ((2, 500, 3), (1, 5)),
    ],
    ids=str,
)
def test_each_channel_is_filtered_by_its_own_taps(
    types: tuple[str, str], counts: tuple[int, int, int], kernel: tuple[int, int]
) -> None:
    generator = np.random.default_rng([*counts, *kernel, *types[0].encode()])
    extents = (counts[0] + kernel[0] - 1, counts[1] + kernel[1] - 1, counts[2])
    image, taps = (
        random_integers(generator, extents, types[0]),
        random_integers(generator, (*kernel, counts[2]), types[1]),
    )
    if types[0] == "int32":
        image //= 2**6  # 16 products of 2^25 · 2^15 stay below 2^47
    result = results([filter_of(image, taps)], counts, {A: image, B: taps}, "int32")
    np.testing.assert_array_equal(result, requantised(filtered(image, taps), 32))


@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_filters_add_up(dtype: str) -> None:
    generator = np.random.default_rng(3)
    image = random_integers(generator, (6, 8, 20), "int16").astype(dtype)
    first, second = (random_integers(generator, (2, 3, 20), "int16") for _ in range(2))
    commands = [filter_of(image, first), filter_of(image, second, B + 512, accumulate=1)]
    result = results(commands, (5, 6, 20), {A: image, B: first, B + 512: second}, "int16")
    np.testing.assert_array_equal(result, requantised(filtered(image, first) + filtered(image, second), 16))


def test_rows_and_columns_may_lie_any_way_apart() -> None:
    """Every second row and third column, the rows from the last to the first."""
    generator = np.random.default_rng(4)
    image, taps = (
        random_integers(generator, (9, 20, 4), "int16"),
        random_integers(generator, (2, 2, 4), "int16"),
    )
    seen = image[::-2, ::3]
    command = isa.Filter(
        A + 8 * image.strides[0], isa.Type.I16, (-2 * image.strides[0], 3 * image.strides[1]), B, isa.Type.I16, 8,
        (2, 2), (4, 6, 4), 9,
    )  # fmt: skip
    result = results([command], (4, 6, 4), {A: image, B: taps}, "int32")
    np.testing.assert_array_equal(result, requantised(filtered(seen, taps), 32))


def test_a_sum_of_48_bits_ends_the_run() -> None:
    """A product of the least numbers of 32 and 16 bits is 2^46: two of them are one too many, of either type of image."""
    least, narrow = np.full((1, 1, 1), -(2**31), np.int32), np.full((1, 1, 1), -(2**15), np.int16)
    almost = least + 1
    data = {A: least, A + 64: almost, A + 128: narrow, B: narrow}

    def at(address: int, image: Integers, accumulate: int) -> isa.Filter:
        return replace(filter_of(image, narrow, accumulate=accumulate), a=address)

    fits = [at(A, least, 0), at(A + 64, almost, 1)]
    results(fits, (1, 1, 1), data, "int16")
    for beyond, reached in (
        ([*fits[:1], at(A, least, 1)], 2**47),
        ([*fits, at(A + 128, narrow, 1)], 2**47 - 2**15 + 2**30),
    ):
        with pytest.raises(ProgramError, match=f"FILTER reaches a sum of {reached}, beyond the 48 bits"):
            results(beyond, (1, 1, 1), data, "int16")
