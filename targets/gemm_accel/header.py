"""The commands as a C++ header: `python -m targets.gemm_accel.header` writes sim/isa_generated.h anew."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from targets.gemm_accel import isa
from targets.gemm_accel.encoding import ENUMERATIONS, GROUPS, group_type
from targets.gemm_accel.program import MACHINE_FIELDS, MAGIC

HEADER = Path(__file__).parent / "sim" / "isa_generated.h"
CPP_TYPES = {"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "i32": "int32_t", "i64": "int64_t"}


def header_text() -> str:
    """The header: constants, enumerations, a struct with its decoder for each group and command, and the variant of all."""
    groups = [_struct(name, cls) for name, cls in GROUPS.items()]
    commands = [_struct(cls.__name__, cls) for cls in isa.COMMANDS.values()]
    return "\n".join([*_preamble(), *groups, *commands, *_variant()]) + "\n"


def _preamble() -> Iterable[str]:
    yield "// Generated from targets/gemm_accel/isa.py by `python -m targets.gemm_accel.header`; do not edit."
    yield "#ifndef NMC_ISA_GENERATED_H_"
    yield "#define NMC_ISA_GENERATED_H_"
    yield ""
    yield "#include <array>"
    yield "#include <cstdint>"
    yield "#include <variant>"
    yield ""
    yield '#include "byte_reader.h"'
    yield ""
    yield "namespace nmc::isa {"
    yield ""
    yield f'constexpr char kMagic[] = "{MAGIC.decode().rstrip(chr(0))}";'
    yield f"constexpr uint32_t kVersion = {isa.ISA_VERSION};"
    yield f"constexpr uint32_t kNone = 0x{isa.NONE:08X};"
    yield f"constexpr uint32_t kStream = 0x{isa.STREAM:08X};"
    yield ""
    for name, members in (("Type", isa.Type), ("Queue", isa.Queue)):
        listed = ", ".join(f"k{member.name.title()} = {member.value}" for member in members)
        yield f"enum class {name} : uint8_t {{ {listed} }};"
        yield f"constexpr int k{name}s = {len(members)};"
    yield ""
    yield "struct Machine {"
    yield from (f"  int64_t {name} = 0;" for name in MACHINE_FIELDS)
    yield ""
    yield "  void read(ByteReader& reader) {"
    yield from (f"    {name} = reader.integer<int64_t>();" for name in MACHINE_FIELDS)
    yield "  }"
    yield "};"
    yield ""


def _struct(name: str, cls: type) -> str:
    lines = [f"struct {name} {{"]
    if issubclass(cls, isa.Command):
        lines.append(f"  static constexpr uint8_t opcode = {cls.opcode};")
        lines.append(f'  static constexpr const char* mnemonic = "{isa.mnemonic(cls)}";')
        if cls.queue is not None:
            lines.append(f"  static constexpr Queue queue = Queue::k{cls.queue.name.title()};")
    members = fields(cls)
    lines += [f"  {_member_type(each)} {each.name}{{}};" for each in members]
    lines += (
        ["", "  void read([[maybe_unused]] ByteReader& reader) {"]
        if members
        else [
            "",
            "  void read([[maybe_unused]] ByteReader& reader) {}",
        ]
    )
    if members:
        lines += [f"    {_read(each)}" for each in members]
        lines.append("  }")
    return "\n".join([*lines, "};", ""])


def _scalar_type(each: Any) -> str:
    enumeration = ENUMERATIONS.get(each.name)
    return enumeration.__name__ if enumeration else CPP_TYPES[each.metadata["kind"]]


def _member_type(each: Any) -> str:
    if each.metadata["kind"] == "group":
        return group_type(each).__name__
    count = each.metadata["count"]
    return f"std::array<{_scalar_type(each)}, {count}>" if count > 1 else _scalar_type(each)


def _read(each: Any) -> str:
    if each.metadata["kind"] == "group":
        return f"{each.name}.read(reader);"
    if each.metadata["count"] > 1:
        return f"for (auto& value : {each.name}) value = reader.integer<{_scalar_type(each)}>();"
    if each.name in ENUMERATIONS:
        return (
            f'{each.name} = reader.enumeration<{_scalar_type(each)}>(k{_scalar_type(each)}s, "{each.name}");'
        )
    return f"{each.name} = reader.integer<{_scalar_type(each)}>();"


def _variant() -> Iterable[str]:
    names = [cls.__name__ for cls in isa.COMMANDS.values()]
    yield f"using Command = std::variant<{', '.join(names)}>;"
    yield ""
    yield "inline Command read_command(ByteReader& reader) {"
    yield "  const auto read = [&reader](auto command) -> Command {"
    yield "    command.read(reader);"
    yield "    return command;"
    yield "  };"
    yield "  const size_t position = reader.position();"
    yield "  const uint8_t opcode = reader.integer<uint8_t>();"
    yield "  switch (opcode) {"
    for name in names:
        yield f"    case {name}::opcode: return read({name}{{}});"
    yield "    default: reader.fail_opcode(position, opcode);"
    yield "  }"
    yield "}"
    yield ""
    yield "}  // namespace nmc::isa"
    yield ""
    yield "#endif  // NMC_ISA_GENERATED_H_"


if __name__ == "__main__":
    HEADER.write_text(header_text(), encoding="utf-8")
