"""A program's bytes: read back whole, and refused when anything about them is wrong, by Python and by C++ alike."""

import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmc.errors import ProgramError
from targets.gemm_accel import isa
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.program import MAGIC, Program, Tensor, make_program
from targets.gemm_accel.runtime import create_module
from tests.gemm_accel.random_commands import COMMANDS

TENSOR = Tensor("an input", 64, isa.Type.I16, (2, 3))
READERS: dict[str, Callable[[bytes], object]] = {
    "python": Program.from_bytes,
    "cpp": lambda data: create_module("program", data, bytes(64)),
}


def program_with(commands: list[isa.Command]) -> Program:
    layers = [f"layer {i % 3}" for i in range(len(commands))]
    return make_program(commands, layers, [TENSOR], [TENSOR], 64, 128, AcceleratorConfig())


def signed(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


VALID = program_with([isa.Signal(isa.Queue.LOAD, 1), isa.LoadTable(3, 0), isa.End()]).to_bytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(COMMANDS, max_size=8))
def test_a_program_survives_its_bytes_and_cpp_reads_them_too(commands: list[isa.Command]) -> None:
    program = program_with(commands)
    assert Program.from_bytes(program.to_bytes()) == program
    assert READERS["cpp"](program.to_bytes()) is not None


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(VALID) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused(reader: str, position: int, change: int) -> None:
    damaged = bytearray(VALID)
    damaged[position] ^= change
    with pytest.raises(ProgramError):
        READERS[reader](bytes(damaged))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("length", [0, 4, len(MAGIC), len(MAGIC) + 7, 100, len(VALID) - 1])
def test_a_cut_program_is_refused(reader: str, length: int) -> None:
    with pytest.raises(ProgramError, match=r"not an accelerator program|checksum does not match"):
        READERS[reader](VALID[:length])


@pytest.mark.parametrize("reader", READERS)
def test_a_cut_program_with_a_right_checksum_is_refused_all_the_same(reader: str) -> None:
    for length in range(len(MAGIC) + 4, len(VALID) - 4):
        with pytest.raises(ProgramError, match=r"damaged|cut off|no opcode"):
            READERS[reader](signed(VALID[:length]))


@pytest.mark.parametrize("reader", READERS)
def test_bytes_after_the_end_are_refused(reader: str) -> None:
    with pytest.raises(ProgramError, match="damaged"):
        READERS[reader](signed(VALID[:-4] + b"\0"))


@pytest.mark.parametrize("reader", READERS)
def test_another_isa_version_is_refused_by_number(reader: str) -> None:
    body = bytearray(VALID[:-4])
    body[len(MAGIC)] = 99
    with pytest.raises(ProgramError, match=f"of ISA version 99, this accelerator of {isa.ISA_VERSION}"):
        READERS[reader](signed(bytes(body)))


def test_constants_of_another_size_are_refused() -> None:
    with pytest.raises(ProgramError, match="has 63 bytes of constants; its program is for 64"):
        create_module("program", VALID, bytes(63))


def test_an_impossible_shape_is_refused() -> None:
    tensor = Tensor("vast", 64, isa.Type.I16, (2**40, 2**40))
    program = make_program([isa.End()], [""], [tensor], [], 64, 128, AcceleratorConfig())
    with pytest.raises(ProgramError, match="the shape of 'vast' is impossible"):
        READERS["cpp"](program.to_bytes())
