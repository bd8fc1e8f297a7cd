"""Commands as bytes: an opcode byte, then the fields in order, little-endian, without padding."""

import struct
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from nmc.errors import ProgramError
from targets.gemm_accel import isa

FORMATS = {"u8": "B", "u16": "H", "u32": "I", "i32": "i", "i64": "q"}
BY_OPCODE = {cls.opcode: cls for cls in isa.COMMANDS.values()}
GROUPS = {"Bound": isa.Bound, "Operand": isa.Operand, "Destination": isa.Destination}

ENUMERATIONS: dict[str, type[isa.Type] | type[isa.Queue]] = {
    "type": isa.Type, "a_type": isa.Type, "b_type": isa.Type, "on": isa.Queue,
}  # fmt: skip
"""The fields whose numbers have names."""


def encode(commands: Iterable[isa.Command]) -> bytes:
    """The bytes of commands; raises ProgramError for a value that its field cannot hold."""
    return b"".join(_encode_one(item) for item in commands)


def decode(code: bytes) -> list[isa.Command]:
    """The commands of bytes; raises ProgramError for an unknown opcode, a cut command or an impossible value."""
    commands, position = [], 0
    while position < len(code):
        cls = BY_OPCODE.get(code[position])
        if cls is None:
            raise ProgramError(f"byte {position} of the program is {code[position]}, which is no opcode")
        layout = LAYOUTS[cls]
        if position + 1 + layout.size > len(code):
            raise ProgramError(f"the program is cut off inside the command at byte {position}")
        numbers = list(layout.unpack_from(code, position + 1))
        try:
            commands.append(_build(cls, numbers))
        except ValueError as error:
            raise ProgramError(f"the command at byte {position} is damaged: {error}") from None
        position += 1 + layout.size
    return commands


def _format_of(cls: Any) -> str:
    return "".join(
        _format_of(group_type(each)) if each.metadata["kind"] == "group"
        else FORMATS[each.metadata["kind"]] * each.metadata["count"]
        for each in fields(cls)
    )  # fmt: skip


def group_type(each: Any) -> type:
    """The class of a field that is a group."""
    return each.type if isinstance(each.type, type) else GROUPS[each.type]


LAYOUTS = {cls: struct.Struct("<" + _format_of(cls)) for cls in isa.COMMANDS.values()}
"""The fields of each command, its groups flattened."""


def _encode_one(item: isa.Command) -> bytes:
    numbers = list(_flat(item))
    try:
        return bytes([item.opcode]) + LAYOUTS[type(item)].pack(*numbers)
    except struct.error as error:
        raise ProgramError(f"{isa.mnemonic(type(item))} has a field out of range: {error}") from None


def _flat(item: object) -> Iterable[int]:
    for each, value in isa.field_values(item):
        if each.metadata["kind"] == "group":
            yield from _flat(value)
        elif each.metadata["count"] > 1:
            if len(value) != each.metadata["count"]:
                raise ProgramError(f"{each.name} takes {each.metadata['count']} numbers, not {len(value)}")
            yield from value
        else:
            yield int(value)


def _build(cls: type, numbers: list[int]) -> Any:
    """Takes the numbers of a class's fields from the front of the list."""
    values: dict[str, Any] = {}
    for each in fields(cls):
        if each.metadata["kind"] == "group":
            values[each.name] = _build(group_type(each), numbers)
        elif each.metadata["count"] > 1:
            values[each.name] = tuple(numbers[: each.metadata["count"]])
            del numbers[: each.metadata["count"]]
        else:
            number = numbers.pop(0)
            enumeration = ENUMERATIONS.get(each.name)
            values[each.name] = enumeration(number) if enumeration else number
    return cls(**values)
