"""Commands as bytes: an opcode byte, then the fields in order, little-endian, without padding."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import fields
from enum import IntEnum
from itertools import islice
from operator import attrgetter
from typing import Any

from nmc.errors import ProgramError
from targets.gemm_accel import isa

FORMATS = {"u8": "B", "u16": "H", "u32": "I", "i32": "i", "i64": "q"}
BY_OPCODE = {cls.opcode: cls for cls in isa.COMMANDS.values()}
GROUPS = {"Bound": isa.Bound, "Operand": isa.Operand, "Destination": isa.Destination}

ENUMERATIONS: dict[str, type[IntEnum]] = {
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
        numbers = iter(layout.unpack_from(code, position + 1))
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


def _parts_of(cls: Any) -> list[tuple[str, type | None, int, type[IntEnum] | None]]:
    return [
        (
            each.name,
            group_type(each) if each.metadata["kind"] == "group" else None,
            each.metadata["count"],
            ENUMERATIONS.get(each.name),
        )
        for each in fields(cls)
    ]


PARTS = {cls: _parts_of(cls) for cls in (*isa.COMMANDS.values(), *GROUPS.values())}
"""The fields of each class: name, class of a group, how many numbers, what names the number. Looked up once."""


def _leaves_of(cls: Any, prefix: str = "") -> list[tuple[str, int]]:
    """The fields of a class and of its groups in the order of encoding: the path to each, and how many numbers it has."""
    leaves: list[tuple[str, int]] = []
    for name, group, count, _ in PARTS[cls]:
        leaves += [(prefix + name, count)] if group is None else _leaves_of(group, f"{prefix}{name}.")
    return leaves


LEAVES = {cls: _leaves_of(cls) for cls in isa.COMMANDS.values()}
"""What is encoded of each command, its groups flattened."""
READERS = {
    cls: attrgetter(*(path for path, _ in leaves)) for cls, leaves in LEAVES.items() if len(leaves) > 1
}
"""What takes the values of those out of a command: all at once, since programs have 100,000 commands and more."""


def _encode_one(item: isa.Command) -> bytes:
    cls = type(item)
    leaves = LEAVES[cls]
    values = READERS[cls](item) if cls in READERS else [getattr(item, path) for path, _ in leaves]
    numbers: list[int] = []
    for value, (path, count) in zip(values, leaves, strict=True):
        if count == 1:
            numbers.append(value)
            continue
        if len(value) != count:
            raise ProgramError(f"{path} takes {count} numbers, not {len(value)}")
        numbers += value
    try:
        return bytes([cls.opcode]) + LAYOUTS[cls].pack(*numbers)
    except struct.error as error:
        raise ProgramError(f"{isa.mnemonic(cls)} has a field out of range: {error}") from None


def _build(cls: type, numbers: Iterator[int]) -> Any:
    """Takes the numbers of a class's fields from an iterator."""
    values: list[Any] = []
    for _, group, count, enumeration in PARTS[cls]:
        if group is not None:
            values.append(_build(group, numbers))
        elif count > 1:
            values.append(tuple(islice(numbers, count)))
        else:
            number = next(numbers)
            values.append(enumeration(number) if enumeration else number)
    return cls(*values)
