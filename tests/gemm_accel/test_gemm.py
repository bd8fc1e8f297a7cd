"""GEMM and DRAIN against the fixed-point reference."""

from itertools import pairwise

import numpy as np
import pytest

from nmc.errors import ProgramError
from nmc.quant import fixed_point
from targets.gemm_accel import isa
from tests.gemm_accel.bench import Integers, random_integers, run_compute, type_of

A, B, BIAS, SCALE, OUT = 0, 64 * 1024, 128 * 1024, 132 * 1024, 140 * 1024
SHAPES = [(1, 1, 1), (5, 7, 3), (16, 16, 16), (33, 300, 17), (4, 1, 50), (50, 257, 13)]


def gemm_and_drain(
    a: Integers,
    b: Integers,
    bias: Integers,
    multiplier: Integers,
    shift: Integers,
    dtype: str,
    splits: int = 1,
) -> Integers:
    """The product, its depth split over several accumulating commands."""
    (m, k), n = a.shape, b.shape[1]
    bounds = np.linspace(0, k, splits + 1).astype(int)
    commands: list[isa.Command] = [
        isa.Gemm(
            A + int(low) * a.itemsize, type_of(a), k * a.itemsize, B + int(low) * n * b.itemsize, type_of(b),
            n * b.itemsize, m, int(high - low), n, 40, int(low > 0),
        )
        for low, high in pairwise(bounds)
    ]  # fmt: skip
    out = isa.element_type(dtype)
    commands.append(isa.Drain(40, (1, m, n), BIAS, SCALE, isa.Destination(OUT, out, (0, n * out.bytes))))
    scale = np.concatenate([multiplier, shift]).astype(np.int32)
    data = {A: a, B: b, BIAS: bias.astype(np.int64), SCALE: scale}
    return run_compute(commands, data, {OUT: ((m, n), dtype)})[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "types",
    [("int8", "int8"), ("int8", "int16"), ("int16", "int8"), ("int16", "int16"), ("int32", "int16")],
)
def test_gemm_and_drain_equal_the_reference(shape: tuple[int, int, int], types: tuple[str, str]) -> None:
    generator = np.random.default_rng([*shape, *types[0].encode()])
    m, k, n = shape
    a, b = random_integers(generator, (m, k), types[0]), random_integers(generator, (k, n), types[1])
    if types[0] == "int32":
        a //= 2**9  # 300 products of 2^22 · 2^15 stay below 2^47
    bias = generator.integers(-(2**45), 2**45, n)
    multiplier = generator.integers(-(2**31) + 1, 2**31, n)
    shift = generator.integers(17, 63, n)
    for dtype, bits in (("int8", 8), ("int16", 16), ("int32", 32)):
        expected = fixed_point.gemm(a, b, bias, multiplier, shift, bits)
        np.testing.assert_array_equal(gemm_and_drain(a, b, bias, multiplier, shift, dtype), expected)


@pytest.mark.parametrize(
    "types", [("int8", "int8"), ("int8", "int16"), ("int16", "int8"), ("int16", "int16")]
)
@pytest.mark.parametrize("value", ["least", "greatest", "minus one"])
def test_operands_at_the_ends_of_their_types_multiply_exactly(types: tuple[str, str], value: str) -> None:
    least, greatest = ([end(np.iinfo(each)) for each in types] for end in (lambda i: i.min, lambda i: i.max))
    right = {"least": least, "greatest": greatest, "minus one": [-1, -1]}[value][1]
    a = np.full((8, 2001), least[0], types[0])
    a[::2] = greatest[0]
    b = np.full((2001, 9), right, types[1])
    expected = (2001 * a[:, :1].astype(np.int64) * right + 2**15) >> 16
    result = gemm_and_drain(a, b, np.zeros(9, np.int64), np.full(9, 2**20), np.full(9, 36), "int32")
    np.testing.assert_array_equal(result, np.repeat(expected, 9, axis=1))


def test_accumulating_over_the_depth_equals_one_product() -> None:
    generator = np.random.default_rng(3)
    a, b = random_integers(generator, (9, 100), "int16"), random_integers(generator, (100, 11), "int16")
    scale = np.full(11, 2**30), np.full(11, 50)
    whole = gemm_and_drain(a, b, np.zeros(11), *scale, "int16")
    np.testing.assert_array_equal(gemm_and_drain(a, b, np.zeros(11), *scale, "int16", splits=3), whole)


def test_a_sum_beyond_48_bits_ends_the_run() -> None:
    a, b = np.full((1, 8), 2**31 - 1, np.int32), np.full((8, 1), 2**15 - 1, np.int16)
    with pytest.raises(ProgramError, match=r"command \d+ .*GEMM reaches a sum of .*48 bits"):
        gemm_and_drain(a, b, np.zeros(1), np.ones(1), np.full(1, 20), "int16")


def test_narrow_sums_that_reach_48_bits_end_the_run() -> None:
    depth = 2**14
    a, b = np.full((1, depth), -(2**15), np.int16), np.full((depth, 1), -(2**15), np.int16)
    commands = [
        isa.Gemm(A, isa.Type.I16, 2 * depth, B, isa.Type.I16, 2, 1, depth, 1, 0, int(i > 0)) for i in range(8)
    ]
    run_compute(commands[:7], {A: a, B: b}, {A: ((1, depth), "int16")})
    with pytest.raises(ProgramError, match=f"GEMM reaches a sum of {2**47},"):
        run_compute(commands, {A: a, B: b}, {A: ((1, depth), "int16")})


@pytest.mark.parametrize("columns", [1, 9])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_bias_that_pushes_one_sum_to_48_bits_ends_the_run(columns: int, sign: int) -> None:
    a, b = np.ones((1, 1), np.int16), np.zeros((1, columns), np.int16)
    bias, scale = np.full(columns, sign * (2**47 - 1)), (np.ones(columns), np.full(columns, 62))
    gemm_and_drain(a, b, bias, *scale, "int16")
    b[0, columns // 2] = sign
    with pytest.raises(ProgramError, match=f"DRAIN reaches a sum of {sign * 2**47},"):
        gemm_and_drain(a, b, bias, *scale, "int16")


@pytest.mark.parametrize("shift", [16, 63, -1])
def test_a_drain_refuses_a_shift_that_is_not_17_to_62(shift: int) -> None:
    a, b = np.ones((1, 1), np.int16), np.ones((1, 1), np.int16)
    with pytest.raises(ProgramError, match=f"DRAIN meets a shift of {shift} for column 0"):
        gemm_and_drain(a, b, np.zeros(1), np.ones(1), np.full(1, shift), "int16")


def test_rows_of_operands_may_lie_apart_or_repeat() -> None:
    generator = np.random.default_rng(4)
    a, b = random_integers(generator, (6, 10), "int16"), random_integers(generator, (4, 12), "int16")
    scale = np.concatenate([np.full(5, 2**30), np.full(5, 45)]).astype(np.int32)
    for pitch in (20, 0):
        commands = [
            isa.Gemm(A, isa.Type.I16, pitch, B, isa.Type.I16, 24, 6, 4, 5, 0),
            isa.Drain(0, (1, 6, 5), isa.NONE, SCALE, isa.Destination(OUT, isa.Type.I16, (0, 10))),
        ]
        (result,) = run_compute(commands, {A: a, B: b, SCALE: scale}, {OUT: ((6, 5), "int16")})
        rows = a[:, :4] if pitch else np.repeat(a[:1, :4], 6, axis=0)
        np.testing.assert_array_equal(result, fixed_point.gemm(rows, b[:, :5], None, 2**30, 45, 16))


def test_a_drain_places_rows_with_gaps_between_the_outer_ones() -> None:
    generator = np.random.default_rng(6)
    a, b = random_integers(generator, (6, 4), "int16"), random_integers(generator, (4, 5), "int16")
    scale = np.concatenate([np.full(5, 2**30), np.full(5, 45)]).astype(np.int32)
    commands = [
        isa.Gemm(A, isa.Type.I16, 8, B, isa.Type.I16, 10, 6, 4, 5, 0),
        isa.Drain(0, (2, 3, 5), isa.NONE, SCALE, isa.Destination(OUT, isa.Type.I16, (100, 16))),
    ]
    between = np.full(100, 7, np.int16)
    (result,) = run_compute(commands, {A: a, B: b, SCALE: scale, OUT: between}, {OUT: ((100,), "int16")})
    expected = between.copy()
    for row, values in enumerate(fixed_point.gemm(a, b, None, 2**30, 45, 16)):
        first = row // 3 * 50 + row % 3 * 8
        expected[first : first + 5] = values
    np.testing.assert_array_equal(result, expected)
