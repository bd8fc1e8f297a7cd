"""FILTER against numpy, and against the column of cells that ISA.md describes, register by register."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest

from nmc.errors import ProgramError
from nmc.quant import fixed_point
from targets.gemm_accel import isa
from targets.gemm_accel.simulator import Simulator
from tests.gemm_accel.bench import CONFIG, Integers, program_of, random_integers, run_compute, type_of

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
    "types", [("int16", "int16"), ("int8", "int16"), ("int16", "int8"), ("int32", "int16")]
)
@pytest.mark.parametrize(
    ("counts", "kernel"),
    [
        ((1, 1, 1), (1, 1)),
        ((4, 9, 16), (3, 3)),
        ((5, 33, 20), (3, 5)),
        ((3, 7, 33), (3, 3)),
        ((2, 6, 8), (2, 8)),
        ((1, 100, 4), (1, 16)),
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


def test_a_sum_beyond_48_bits_ends_the_run() -> None:
    """Each 32-bit product takes the sum 2^46 farther; a 16-bit one then pushes it over the limit."""
    wide, narrow = np.full((1, 1, 1), -(2**31), np.int32), np.full((1, 1, 1), -(2**15), np.int16)
    below = np.full((1, 1, 1), -(2**31) + 2**15, np.int32)
    data = {A: narrow, A + 64: below, A + 128: wide, B: narrow}

    def at(address: int, image: Integers, accumulate: int) -> isa.Filter:
        return replace(filter_of(image, narrow, accumulate=accumulate), a=address)

    fits = [at(A + 128, wide, 0), at(A + 64, below, 1)]
    results(fits, (1, 1, 1), data, "int16")
    for beyond in (at(A + 128, wide, 1), at(A, narrow, 1)):
        with pytest.raises(
            ProgramError, match=f"FILTER reaches a sum of {2**47}.*48 bits|FILTER reaches a sum"
        ):
            results([*fits, beyond], (1, 1, 1), data, "int16")


class Column:
    """A column of cells that filters one channel, as ISA.md describes it: values pass two registers a cell, sums one, and
    between rows of taps a delay line holds back one value less than there are columns of sums."""

    def __init__(self, taps: Integers, columns: int) -> None:
        high, wide = taps.shape
        self._taps = taps[::-1, ::-1].ravel().tolist()  # the first cell has the last tap
        self._sums = [0] * len(self._taps)
        lengths = [2 + (columns - 1) * (i % wide == wide - 1) for i in range(high * wide)]
        self._values = [deque([0] * length) for length in lengths]

    def clock(self, value: int) -> int:
        """One cycle: a value enters the first cell, a sum leaves the last."""
        left, sum_above = self._sums[-1], 0
        for cell, tap in enumerate(self._taps):
            self._sums[cell], sum_above = sum_above + tap * value, self._sums[cell]
            self._values[cell].append(value)
            value = self._values[cell].popleft()
        return left


@pytest.mark.parametrize(
    ("counts", "kernel"),
    [((4, 5, 1), (3, 3)), ((3, 1, 1), (3, 2)), ((1, 9, 1), (1, 5)), ((6, 7, 1), (3, 5))],
    ids=str,
)
def test_a_column_of_cells_gives_those_sums_in_the_cycles_that_the_model_counts(
    counts: tuple[int, int, int], kernel: tuple[int, int]
) -> None:
    generator = np.random.default_rng(5)
    rows, columns, _ = counts
    extents = (rows + kernel[0] - 1, columns + kernel[1] - 1, 1)
    image, taps = (
        random_integers(generator, extents, "int16"),
        random_integers(generator, (*kernel, 1), "int16"),
    )
    column, cells = Column(taps[:, :, 0], columns), kernel[0] * kernel[1]
    stream = [*image[:, :, 0].ravel().tolist(), *[0] * cells]
    left = np.array([column.clock(value) for value in stream])[cells:].reshape(extents[:2])
    sums = left[kernel[0] - 1 :, kernel[1] - 1 :]
    np.testing.assert_array_equal(sums, filtered(image, taps)[:, :, 0])
    timing = Simulator(program_of([filter_of(image, taps)]), b"").profile()
    assert timing.array_cycles == image.size
    # the weights fill before, and a sum that enters the array with the last value passes all its rows and columns
    assert timing.cycles == cells + len(stream) - cells + CONFIG.rows + CONFIG.columns - 1
