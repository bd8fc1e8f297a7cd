"""LOAD, GATHER and STORE against a walk over every element, as isa.py words it."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmc.errors import ProgramError
from targets.gemm_accel import isa
from targets.gemm_accel.program import Tensor
from targets.gemm_accel.simulator import Simulator
from tests.gemm_accel.bench import COMPUTE, LOAD, STORE, line, program_of

SCRATCHPAD, SIZE = 4096, 8192
BACKGROUND = np.random.default_rng(0).integers(-128, 128, SIZE, dtype=np.int8)
"""What the scratchpad holds before, so that a byte too many is seen."""


def coordinate(bound: isa.Bound, index: tuple[int, ...]) -> int:
    return bound.start + sum(step * i for step, i in zip(bound.steps, index, strict=True))


def offset(strides: tuple[int, ...], index: tuple[int, ...]) -> int:
    return sum(stride * i for stride, i in zip(strides, index, strict=True))


def loaded(command: isa.Load, dram: bytes) -> bytes:
    """The scratchpad after a load, element by element."""
    scratchpad, size = bytearray(BACKGROUND.tobytes()), command.type.bytes
    for index in product(*(range(count) for count in command.counts)):
        inside = all(
            bound.limit == 0 or 0 <= coordinate(bound, index) < bound.limit
            for bound in (command.y, command.x)
        )
        at = command.dram + offset(command.dram_strides, index)
        fill = command.fill.to_bytes(8, "little", signed=True)[:size]
        value = dram[at : at + size] if inside else fill
        to = command.scratchpad - SCRATCHPAD + offset(command.scratchpad_strides, index)
        scratchpad[to : to + size] = value
    return bytes(scratchpad)


def run_loads(commands: list[isa.Command], dram: bytes) -> bytes:
    """The scratchpad after commands of the load queue; the constants are `dram`, then the background."""
    constants = dram + BACKGROUND.tobytes()
    listed = [
        line(isa.Load, len(dram), SCRATCHPAD, SIZE), *commands, isa.Signal(LOAD, 0), isa.Wait(STORE, 0),
        line(isa.Store, len(constants), SCRATCHPAD, SIZE),
    ]  # fmt: skip
    outputs = [Tensor("scratchpad", len(constants), isa.Type.I8, (SIZE,))]
    program = program_of(listed, (), outputs, len(constants), SIZE)
    return Simulator(program, constants).run({})["scratchpad"].tobytes()


@st.composite
def loads(draw: st.DrawFn) -> isa.Load:
    """Loads of any geometry that fits the DRAM and the scratchpad of these tests."""
    kind = draw(st.sampled_from([isa.Type.I8, isa.Type.I16, isa.Type.I32, isa.Type.I64]))
    counts = tuple(draw(st.lists(st.integers(1, 3), min_size=5, max_size=5)))
    dense = [int(np.prod(counts[d + 1 :])) * kind.bytes for d in range(5)]
    strides = []
    for memory in range(2):
        one_of = [
            st.sampled_from([dense[d], 2 * dense[d], kind.bytes] + [0, -dense[d]] * (1 - memory))
            for d in range(5)
        ]
        strides.append(tuple(draw(each) for each in one_of))
    bounds = [
        isa.Bound(
            draw(st.integers(-3, 3)),
            tuple(draw(st.integers(-2, 2)) for _ in range(5)),
            draw(st.integers(0, 6)),
        )
        for _ in range(2)
    ]
    reach = [min(0, stride * (count - 1)) for stride, count in zip(strides[0], counts, strict=True)]
    fill = draw(st.integers(-(2**31), 2**31 - 1))
    return isa.Load(-sum(reach), SCRATCHPAD, kind, counts, strides[0], strides[1], *bounds, fill)


@settings(max_examples=150, deadline=None)
@given(loads())
def test_load_moves_what_lies_in_bounds_and_fills_the_rest(command: isa.Load) -> None:
    dram = np.random.default_rng(1).bytes(SIZE)
    assert run_loads([command], dram) == loaded(command, dram)


def test_im2col_of_a_padded_image_is_one_load() -> None:
    image = np.arange(1, 1 + 5 * 6, dtype=np.int16).reshape(5, 6)
    # dimensions: output row, output column, kernel row, kernel column; padding 1, stride 2 down and 1 across
    command = isa.Load(
        -12 - 2, SCRATCHPAD, isa.Type.I16, (1, 3, 6, 3, 3), (0, 24, 2, 12, 2), (0, 108, 18, 6, 2),
        isa.Bound(-1, (0, 2, 0, 1, 0), 5), isa.Bound(-1, (0, 0, 1, 0, 1), 6), -7,
    )  # fmt: skip
    matrix = np.frombuffer(run_loads([command], image.tobytes() + bytes(4)), np.int16)[: 3 * 6 * 9].reshape(
        3, 6, 3, 3
    )
    padded = np.pad(image, 1, constant_values=-7)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))[::2]
    np.testing.assert_array_equal(matrix, windows)


def test_nothing_outside_the_bounds_is_read_even_where_dram_ends() -> None:
    command = isa.Load(
        -1000, SCRATCHPAD, isa.Type.I8, (1, 1, 1, 1, 3000), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1),
        isa.Bound(-1000, (0, 0, 0, 0, 1), 64), fill=5,
    )  # fmt: skip
    dram = bytes(range(64))
    assert run_loads([command], dram)[:3000] == bytes([5]) * 1000 + dram + bytes([5]) * 1936


@settings(max_examples=60, deadline=None)
@given(loads())
def test_store_moves_every_element(shape: isa.Load) -> None:
    # with the same strides on both sides, what lands on one place is one value
    command = isa.Store(
        2 * SIZE, SCRATCHPAD, shape.type, shape.counts, shape.scratchpad_strides, shape.scratchpad_strides
    )
    listed = [
        line(isa.Load, SIZE, SCRATCHPAD, SIZE), isa.Signal(LOAD, 0), isa.Wait(STORE, 0), command,
    ]  # fmt: skip
    constants = bytes(SIZE) + BACKGROUND.tobytes()
    program = program_of(listed, (), [Tensor("arena", 2 * SIZE, isa.Type.I8, (SIZE,))], 2 * SIZE, SIZE)
    expected = bytearray(SIZE)
    for index in product(*(range(count) for count in command.counts)):
        at = offset(command.dram_strides, index)
        expected[at : at + command.type.bytes] = BACKGROUND.tobytes()[at : at + command.type.bytes]
    assert Simulator(program, constants).run({})["arena"].tobytes() == bytes(expected)


def gather(indices: list[int], rows: int) -> tuple[isa.Gather, bytes]:
    """A gather of rows of 2×3 numbers from a table that lies behind its indices."""
    index = np.array(indices, np.int32).tobytes()
    index += bytes(-len(index) % 64)
    table = np.arange(rows * 6, dtype=np.int16)
    command = isa.Gather(
        len(index),
        SCRATCHPAD,
        isa.Type.I16,
        (len(indices), 1, 1, 2, 3),
        (12, 0, 0, 6, 2),
        (12, 0, 0, 6, 2),
        0,
        rows,
    )
    return command, index + table.tobytes()


def test_gather_takes_rows_by_index() -> None:
    indices = [4, 0, -5, -1, 2]
    command, dram = gather(indices, 5)
    result = np.frombuffer(run_loads([command], dram), np.int16)[:30].reshape(5, 6)
    np.testing.assert_array_equal(result, np.arange(30).reshape(5, 6)[indices])


@pytest.mark.parametrize("index", [-6, 5, 2**31 - 1, -(2**31)])
def test_gather_refuses_an_index_outside_its_table(index: int) -> None:
    command, dram = gather([0, index], 5)
    with pytest.raises(ProgramError, match=f"GATHER meets index {index} in a table of 5 rows"):
        run_loads([command], dram)


def test_the_compute_queue_sees_what_a_load_brought() -> None:
    listed = [line(isa.Load, 0, 0, 4), isa.Signal(LOAD, 0), isa.Wait(COMPUTE, 0)]
    one = isa.Operand(0, isa.Type.I8, (0, 0), 1)
    listed.append(isa.Add(one, one, 1, 1, 1, (1, 1, 4), isa.Destination(64, isa.Type.I8)))
    listed += [isa.Signal(COMPUTE, 0 + 1), isa.Wait(STORE, 1), line(isa.Store, 64, 64, 4)]
    program = program_of(listed, (), [Tensor("y", 64, isa.Type.I8, (4,))], 64, 64)
    result = Simulator(program, bytes([1, 2, 255, 128]) + bytes(60)).run({})["y"]
    np.testing.assert_array_equal(result, [1, 2, -1, -128])
