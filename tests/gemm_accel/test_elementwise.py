"""HADAMARD, ADD, PWL and their chains against the fixed-point reference."""

from collections.abc import Callable

import numpy as np
import pytest

from nmc.errors import ProgramError
from nmc.pwl.quantised_table import QuantisedTable
from nmc.quant import fixed_point
from targets.gemm_accel import isa
from targets.gemm_accel.tables import table_bytes
from tests.gemm_accel.bench import Integers, random_integers, run_compute, type_of

A, B, SCALE, OUT = 0, 64 * 1024, 100 * 1024, 128 * 1024
COUNTS = (3, 5, 700)
DTYPES = ["int8", "int16", "int32"]
BITS = {"int8": 8, "int16": 16, "int32": 32}


def dense(address: int, array: Integers) -> isa.Operand:
    """An operand of up to three dimensions; those of extent 1 repeat."""
    outer, rows, columns = (1, 1, *array.shape)[-3:] if array.ndim < 3 else array.shape
    size = array.itemsize
    pitches = (rows * columns * size if outer > 1 else 0, columns * size if rows > 1 else 0)
    return isa.Operand(address, type_of(array), pitches, size if columns > 1 else 0)


def place(dtype: str, counts: tuple[int, int, int] = COUNTS) -> isa.Destination:
    size = np.dtype(dtype).itemsize
    return isa.Destination(OUT, isa.element_type(dtype), (counts[1] * counts[2] * size, counts[2] * size))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "types", [("int8", "int8"), ("int16", "int16"), ("int32", "int16"), ("int8", "int32")]
)
def test_hadamard_equals_the_reference(types: tuple[str, str], dtype: str) -> None:
    generator = np.random.default_rng([*types[0].encode(), *dtype.encode()])
    a, b = (random_integers(generator, COUNTS if t != "int32" else (1, 5, 700), t) for t in types)
    for multiplier, shift in ((2**31 - 1, 40), (-(2**30), 17), (12345, 62)):
        command = isa.Hadamard(dense(A, a), dense(B, b), multiplier, shift, COUNTS, place(dtype))
        (result,) = run_compute([command], {A: a, B: b}, {OUT: (COUNTS, dtype)})
        np.testing.assert_array_equal(result, fixed_point.hadamard(a, b, multiplier, shift, BITS[dtype]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shapes", [(COUNTS, COUNTS), (COUNTS, (1, 1, 700)), (COUNTS, (1, 5, 1)), ((3, 1, 1), COUNTS)]
)
def test_add_equals_the_reference_and_broadcasts(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: str
) -> None:
    generator = np.random.default_rng(5)
    a, b = random_integers(generator, shapes[0], "int16"), random_integers(generator, shapes[1], "int16")
    for multipliers in ((2**30 - 1, 2**30 - 1, 31), (3, -7, 1), (2**29, -(2**29), 62)):
        command = isa.Add(dense(A, a), dense(B, b), *multipliers, COUNTS, place(dtype))
        (result,) = run_compute([command], {A: a, B: b}, {OUT: (COUNTS, dtype)})
        np.testing.assert_array_equal(result, fixed_point.add(a, b, *multipliers, BITS[dtype]))


def test_add_of_wide_extremes_does_not_overflow() -> None:
    a = np.array([[2**31 - 1, -(2**31), 2**31 - 1, -(2**31)]], np.int32)
    b = np.array([[2**31 - 1, -(2**31), -(2**31), 2**31 - 1]], np.int32)
    multipliers = (2**30 - 1, 2**30 - 1, 62)
    command = isa.Add(dense(A, a), dense(B, b), *multipliers, (1, 1, 4), place("int32", (1, 1, 4)))
    (result,) = run_compute([command], {A: a, B: b}, {OUT: ((1, 4), "int32")})
    np.testing.assert_array_equal(result, fixed_point.add(a, b, *multipliers, 32))


def test_an_operand_may_walk_backwards_through_columns() -> None:
    a = np.arange(30, dtype=np.int16).reshape(3, 10)
    operand = isa.Operand(A + 18, isa.Type.I16, (0, 20), -2)
    command = isa.Add(
        operand, isa.Operand(A, isa.Type.I16, (0, 20), 2), 2, 0, 1, (1, 3, 10), place("int16", (1, 3, 10))
    )
    (result,) = run_compute([command], {A: a}, {OUT: ((3, 10), "int16")})
    np.testing.assert_array_equal(result, a[:, ::-1])


def table(addressing: str, entries: int, **values: object) -> QuantisedTable:
    """A table of random segments, extremes included."""
    generator = np.random.default_rng(entries)
    fields: dict[str, object] = {
        "origin": 0, "shift": 0, "e_min": 0, "mantissa_bits": 0, "signed": False,
        "breakpoints": np.zeros(0, np.int32),
    }  # fmt: skip
    intercepts = generator.integers(-(2**46), 2**46, entries)
    intercepts[0], intercepts[-1] = -(2**46), 2**46
    return QuantisedTable(
        addressing,
        **(fields | values),
        slopes=random_integers(generator, (entries,), "int16"),
        intercepts=intercepts,
        shifts=generator.integers(0, 48, entries).astype(np.uint8),
        output_bits=16,
    )


BLOCKS = np.array([[0, 6, 4], [4, 8, 1], [5, 5, 7]], np.int32)
"""First segment, shift and segments of three blocks."""

TABLES: dict[str, Callable[[], QuantisedTable]] = {
    "uniform": lambda: table("uniform", 64, origin=-30000, shift=10),
    "uniform of 256": lambda: table("uniform", 256, origin=-32768, shift=8),
    "uniform of one": lambda: table("uniform", 1),
    "octave": lambda: table("octave", 40, e_min=3, mantissa_bits=2),
    "octave from below one": lambda: table("octave", 16, e_min=-2, mantissa_bits=1),
    "octave of both signs": lambda: table("octave", 128, e_min=1, mantissa_bits=4, signed=True),
    "breakpoints": lambda: table("breakpoints", 6, breakpoints=np.array([-9000, -3, 0, 0, 4000], np.int32)),
    "an odd number of breakpoints": lambda: table("breakpoints", 3, breakpoints=np.array([-5, 5], np.int32)),
    "three breakpoints": lambda: table("breakpoints", 4, breakpoints=np.array([-7000, 11, 11000], np.int32)),
    "one segment": lambda: table("breakpoints", 1),
    "blocks": lambda: table("blocks", 12, origin=-20000, shift=13, blocks=BLOCKS),
    "octaves in blocks": lambda: table("octave-blocks", 12, e_min=8, mantissa_bits=1, blocks=BLOCKS),
    "octaves of both signs in blocks": lambda: table(
        "octave-blocks",
        24,
        e_min=9,
        blocks=np.concatenate([BLOCKS, BLOCKS + np.array([12, 0, 0])]),
        signed=True,
    ),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_pwl_equals_the_table_on_every_narrow_input_and_wide_extremes(name: str, dtype: str) -> None:
    segments = TABLES[name]()
    inputs = np.arange(-(2**15), 2**15).astype(dtype)
    if dtype == "int32":
        inputs[:4096] = random_integers(np.random.default_rng(1), (4096,), dtype)
        inputs = inputs[:12288]
    count = inputs.size // 4
    command = isa.Pwl(dense(A, inputs[:count]), 0, (1, 1, count), place("int16", (1, 1, count)))
    for part in np.split(inputs, 4):
        (result,) = run_compute([command], {A: part}, {OUT: ((count,), "int16")}, [table_bytes(segments)])
        np.testing.assert_array_equal(result, segments(part))


def test_a_chain_saturates_after_each_step() -> None:
    generator = np.random.default_rng(8)
    rows, columns = 9, 33
    a, b = random_integers(generator, (rows, 12), "int16"), random_integers(generator, (12, columns), "int16")
    residual = random_integers(generator, (rows, columns), "int16")
    gate = random_integers(generator, (columns,), "int8")
    scale = np.concatenate([np.full(columns, 2**30), np.full(columns, 44)]).astype(np.int32)
    segments = TABLES["octave of both signs"]()
    counts, stream = (1, rows, columns), isa.Destination(isa.STREAM, isa.Type.I16)
    source = isa.Operand(isa.STREAM, isa.Type.I16)
    commands = [
        isa.Gemm(A, isa.Type.I16, 24, B, isa.Type.I16, 2 * columns, rows, 12, columns, 0),
        isa.Drain(0, (1, rows, columns), isa.NONE, SCALE, stream),
        isa.Pwl(source, 0, counts, stream),
        isa.Add(source, dense(A + 4096, residual), 2**20, -(2**20), 20, counts, isa.Destination(isa.STREAM, isa.Type.I8)),
        isa.Hadamard(isa.Operand(isa.STREAM, isa.Type.I8), dense(A + 8192, gate), 2**28, 30, counts, place("int16", counts)),
    ]  # fmt: skip
    data = {A: a, B: b, A + 4096: residual, A + 8192: gate, SCALE: scale}
    (result,) = run_compute(commands, data, {OUT: ((rows, columns), "int16")}, [table_bytes(segments)])
    drained = fixed_point.gemm(a, b, None, 2**30, 44, 16)
    added = fixed_point.add(segments(drained), residual, 2**20, -(2**20), 20, 8)
    np.testing.assert_array_equal(result, fixed_point.hadamard(added, gate, 2**28, 30, 16))


def test_an_element_wise_command_may_write_in_the_place_of_its_operand() -> None:
    a = np.arange(-1000, 1000, dtype=np.int16).reshape(1, 2000)
    command = isa.Add(dense(A, a), dense(A, a), 1, 1, 1, (1, 1, 2000), isa.Destination(A, isa.Type.I16))
    (result,) = run_compute([command], {A: a}, {A: ((1, 2000), "int16")})
    np.testing.assert_array_equal(result, a)


def test_pwl_refuses_a_slot_that_was_never_filled() -> None:
    a = np.zeros(4, np.int16)
    with pytest.raises(ProgramError, match="table slot 3, which no LOAD_TABLE has filled"):
        run_compute(
            [isa.Pwl(dense(A, a), 3, (1, 1, 4), place("int16", (1, 1, 4)))], {A: a}, {OUT: ((4,), "int16")}
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shifts": np.full(4, 48, np.uint8)}, "shift 48"),
        ({"intercepts": np.full(4, -(2**47))}, "intercept -140737488355328"),
        ({"breakpoints": np.array([3, 1, 2], np.int32)}, "not sorted"),
        ({"addressing": "uniform", "shift": 41}, "addressing is damaged"),
        ({"addressing": "blocks"}, "0 divided blocks, which must be 1 to 32"),
        ({"addressing": "blocks", "blocks": np.array([[1, 0, 4]])}, "segments 1 to 4 of 4"),
        ({"addressing": "octave-blocks", "blocks": np.array([[0, 0, 4]]), "e_min": 60}, "begin at 2\\^60"),
    ],
)
def test_a_table_with_impossible_numbers_is_refused(change: dict[str, object], message: str) -> None:
    segments = table("breakpoints", 4, breakpoints=np.array([1, 2, 3], np.int32))
    for name, value in change.items():
        object.__setattr__(segments, name, value)
    a = np.zeros(4, np.int16)
    command = isa.Pwl(dense(A, a), 0, (1, 1, 4), place("int16", (1, 1, 4)))
    with pytest.raises(ProgramError, match=message):
        run_compute([command], {A: a}, {OUT: ((4,), "int16")}, [table_bytes(segments)])
