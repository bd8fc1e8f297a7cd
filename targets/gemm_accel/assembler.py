"""Commands as text, a line each, and back: `GEMM a=0x400 a_type=i16 … ; layer`.

Fields that have their default are left out. A group is written in parentheses, a list in brackets. What follows a
semicolon is the layer of the source model, or a comment.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any

from nmc.errors import ProgramError
from targets.gemm_accel import isa
from targets.gemm_accel.encoding import ENUMERATIONS, group_type

ADDRESSES = frozenset({"dram", "scratchpad", "address", "a", "b", "bias", "scale", "index"})
SPECIAL = {isa.NONE: "none", isa.STREAM: "stream"}
SPECIAL_WORDS = {name: address for address, name in SPECIAL.items()}
TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z_0-9]*|-?0x[0-9a-fA-F]+|-?\d+|[=()\[\],])")


def disassemble(commands: Sequence[isa.Command], layers: Sequence[str] | None = None) -> str:
    """The listing; `layers` names the source layer of each command."""
    lines = [text_of(item) for item in commands]
    if layers is not None:
        lines = [
            f"{line}  ; {_escaped(layer)}" if layer else line
            for line, layer in zip(lines, layers, strict=True)
        ]
    return "\n".join(lines) + "\n" if lines else ""


def _escaped(layer: str) -> str:
    """A layer's name on one line, its spaces at the ends and its backslashes kept."""
    text = layer.encode("unicode_escape").decode("ascii")
    inner = text.strip(" ")
    left = len(text) - len(text.lstrip(" "))
    return (
        "\\x20" * left + inner + "\\x20" * (len(text) - left - len(inner)) if inner else "\\x20" * len(text)
    )


def _unescaped(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("unicode_escape")


def text_of(item: isa.Command) -> str:
    """One command as text."""
    return " ".join([isa.mnemonic(type(item)), *_texts(item)])


def _texts(item: object) -> Iterable[str]:
    for each, value in isa.field_values(item):
        if each.default is MISSING or value != each.default:
            yield f"{each.name}={_value_text(each, value)}"


def _value_text(each: Any, value: Any) -> str:
    if each.metadata["kind"] == "group":
        return "(" + " ".join(_texts(value)) + ")"
    if isinstance(value, tuple):
        return "[" + ",".join(str(number) for number in value) + "]"
    if isinstance(value, isa.Type | isa.Queue):
        return value.name.lower()
    if each.name in ADDRESSES:
        return SPECIAL.get(value, hex(value)) if each.metadata["kind"] == "u32" else hex(value)
    return str(value)


def assemble(text: str) -> tuple[list[isa.Command], list[str]]:
    """The commands of a listing and the layer of each (empty where none is named).

    Raises ProgramError that names the line and what is wrong with it.
    """
    commands, layers = [], []
    for number, line in enumerate(text.split("\n"), 1):
        code, _, layer = line.partition(";")
        if code.strip():
            try:
                commands.append(_parse_line(code))
            except ValueError as error:
                raise ProgramError(f"line {number} of the listing: {error}") from None
            layers.append(_unescaped(layer.strip()))
    return commands, layers


def _parse_line(code: str) -> isa.Command:
    name, _, rest = code.strip().partition(" ")
    cls = isa.COMMANDS.get(name)
    if cls is None:
        raise ValueError(f"there is no command {name}; the commands are {', '.join(isa.COMMANDS)}")
    tokens = _tokens(rest)
    result = _parse_fields(cls, tokens)
    if tokens:
        raise ValueError(f"{tokens[0]!r} is not expected after {name}'s fields")
    return result


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position:].strip()[:20]!r}")
        tokens.append(match[1])
        position = match.end()
    return tokens


def _parse_fields(cls: type, tokens: list[str]) -> Any:
    known, values = {each.name: each for each in fields(cls)}, {}
    while tokens and tokens[0] != ")":
        name = tokens.pop(0)
        if name not in known or name in values:
            raise ValueError(f"{cls.__name__} has {'no field' if name not in known else 'two of'} {name!r}")
        _expect(tokens, "=")
        values[name] = _parse_value(known[name], tokens)
    missing = [name for name, each in known.items() if name not in values and each.default is MISSING]
    if missing:
        raise ValueError(f"{cls.__name__} needs {', '.join(missing)}")
    return cls(**values)


def _parse_value(each: Any, tokens: list[str]) -> Any:
    if each.metadata["kind"] == "group":
        _expect(tokens, "(")
        value = _parse_fields(group_type(each), tokens)
        _expect(tokens, ")")
        return value
    if each.metadata["count"] > 1:
        return _parse_list(each, tokens)
    word = tokens.pop(0) if tokens else ""
    enumeration = ENUMERATIONS.get(each.name)
    if enumeration is not None:
        if word.upper() not in enumeration.__members__:
            raise ValueError(
                f"{each.name} is {word!r}; it is one of {', '.join(enumeration.__members__).lower()}"
            )
        return enumeration[word.upper()]
    if each.metadata["kind"] == "u32" and each.name in ADDRESSES and word in SPECIAL_WORDS:
        return SPECIAL_WORDS[word]
    return _number(each, word)


def _number(each: Any, word: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise ValueError(f"{each.name} is {word!r}; it must be a number") from None


def _parse_list(each: Any, tokens: list[str]) -> tuple[int, ...]:
    _expect(tokens, "[")
    numbers = []
    while tokens and tokens[0] != "]":
        numbers.append(_number(each, tokens.pop(0)))
        if tokens and tokens[0] == ",":
            tokens.pop(0)
    _expect(tokens, "]")
    if len(numbers) != each.metadata["count"]:
        raise ValueError(f"{each.name} takes {each.metadata['count']} numbers, not {len(numbers)}")
    return tuple(numbers)


def _expect(tokens: list[str], token: str) -> None:
    if not tokens or tokens.pop(0) != token:
        raise ValueError(f"{token!r} is missing")
