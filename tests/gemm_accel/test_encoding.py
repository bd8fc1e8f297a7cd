"""Bytes, text and commands are three forms of one thing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmc.errors import ProgramError
from targets.gemm_accel import isa
from targets.gemm_accel.assembler import assemble, disassemble
from targets.gemm_accel.encoding import LAYOUTS, decode, encode
from targets.gemm_accel.header import HEADER, header_text
from tests.gemm_accel.random_commands import COMMANDS, any_of

LAYERS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@pytest.mark.parametrize("name", isa.COMMANDS)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_command_survives_bytes_and_text(name: str, data: st.DataObject) -> None:
    command = data.draw(any_of(isa.COMMANDS[name]))
    assert decode(encode([command])) == [command]
    assert assemble(disassemble([command])) == ([command], [""])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(COMMANDS, LAYERS), max_size=6))
def test_a_listing_with_layers_assembles_to_the_same_bytes(lines: list[tuple[isa.Command, str]]) -> None:
    commands, layers = [command for command, _ in lines], [layer.strip() for _, layer in lines]
    again, again_layers = assemble(disassemble(commands, layers))
    assert encode(again) == encode(commands)
    assert again_layers == layers


@pytest.mark.parametrize("name", isa.COMMANDS)
def test_a_command_cut_anywhere_is_refused(name: str) -> None:
    cls = isa.COMMANDS[name]
    size = LAYOUTS[cls].size
    for length in range(size):
        with pytest.raises(ProgramError, match="cut off inside the command at byte 0"):
            decode(bytes([cls.opcode]) + bytes(length))


@pytest.mark.parametrize("opcode", [0, 14, 255])
def test_a_byte_that_is_no_opcode_is_refused(opcode: int) -> None:
    with pytest.raises(ProgramError, match=f"byte 1 of the program is {opcode}, which is no opcode"):
        decode(encode([isa.End()]) + bytes([opcode]))


def test_an_impossible_enumeration_is_refused() -> None:
    code = bytearray(encode([isa.Signal(isa.Queue.LOAD, 3)]))
    code[1] = 3
    with pytest.raises(ProgramError, match="command at byte 0 is damaged"):
        decode(bytes(code))


def test_a_value_that_its_field_cannot_hold_is_refused() -> None:
    with pytest.raises(ProgramError, match="SIGNAL has a field out of range"):
        encode([isa.Signal(isa.Queue.LOAD, 2**16)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("JUMP a=1", "line 1 of the listing: there is no command JUMP"),
        ("END\nWAIT on=load", "line 2 of the listing: Wait needs semaphore"),
        ("WAIT on=load semaphore=1 semaphore=1", "Wait has two of 'semaphore'"),
        ("WAIT on=load semaphore=1 colour=2", "Wait has no field 'colour'"),
        ("WAIT on=later semaphore=1", "on is 'later'"),
        ("WAIT on=load semaphore=one", "one"),
        ("WAIT on=load semaphore=1 )", "not expected after WAIT's fields"),
        ("WAIT on=load semaphore ?", "cannot read '\\?'"),
    ],
)
def test_text_that_is_no_command_is_refused_by_line(text: str, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        assemble(text)


def test_the_cpp_header_is_what_the_python_definition_generates() -> None:
    regenerated = "run `python -m targets.gemm_accel.header` and review the difference"
    assert HEADER.read_text(encoding="utf-8") == header_text(), regenerated
