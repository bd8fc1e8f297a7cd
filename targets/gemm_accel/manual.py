"""The programmer's manual, from the commands' one definition: `python -m targets.gemm_accel.manual` writes ISA.md."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from targets.gemm_accel import isa
from targets.gemm_accel.config import NUMBERS, AcceleratorConfig, EnergyPerOperation
from targets.gemm_accel.encoding import GROUPS, LAYOUTS, group_type
from targets.gemm_accel.program import MACHINE_FIELDS, MAGIC
from targets.gemm_accel.tables import ADDRESSING, HEADER_FIELDS, table_bytes

MANUAL = Path(__file__).parent / "ISA.md"
TIMING = Path(__file__).parent / "sim" / "timing.h"

_TABLE = " ".join((inspect.getdoc(table_bytes) or "").split())
_TYPES = ", ".join(f"{kind.name.lower()} {kind.value}" for kind in isa.Type)
_QUEUES = ", ".join(f"{queue.name.lower()} {queue.value}" for queue in isa.Queue)
_MACHINE = ", ".join(MACHINE_FIELDS)
_ADDRESSINGS = ", ".join(f"{name} {number}" for name, number in ADDRESSING.items())

_ENERGY = ", ".join(f"{each.name} ({each.default})" for each in fields(EnergyPerOperation))
_NUMBERS = "\n".join(
    f"| {key} | {getattr(AcceleratorConfig(), key)} | {number.low} | {number.high} | {number.meaning} |"
    for key, number in NUMBERS.items()
)

INTRODUCTION = f"""# The accelerator's instruction set, version {isa.ISA_VERSION}

Generated from `isa.py`, `config.py` and `sim/timing.h` by `python -m targets.gemm_accel.manual`; do not edit.

The accelerator has one compute unit, an array of `rows` × `columns` multipliers. Data are signed integers of 8 or 16 bits,
or wide ones of 32; sums have 48 bits and never wrap: the compiler proves that they fit, and the simulator stops a program
whose sums do not.

## The array's description

A preset or a TOML file (`--config`) says what the array is. A key that it leaves out is as in `default`; `[energy]` may have
picojoules an operation: {_ENERGY}.

| key | default | from | to | meaning |
|---|---|---|---|---|
{_NUMBERS}

## Memories

| memory | addressed by | holds |
|---|---|---|
| DRAM | byte | the constants from byte 0 on, read-only, and then the arena with inputs, outputs and all between |
| scratchpad | byte | tiles of operands and results, scales and biases |
| accumulators | entry | sums of products, 48 bits |
| table memory | slot | tables of line segments, up to `table_entries` each |

## Arithmetic

`saturate` limits a value to the range of its type. Shifts are arithmetic.

    requantise(a, m, s) = floor((a · m + 2^(s-1)) / 2^s)      round to nearest, ties upward; |a| < 2^47, 17 ≤ s ≤ 62

An operand whose type is wider than the array's `data_bits` passes through it in parts: a type has ⌈bits / data_bits⌉ passes.

A table's segment is found by shift and clip (uniform), by the position of the leading one and the bits after it (octave),
or by comparison with up to 63 breakpoints. The first two may also find one of up to 32 blocks instead (blocks,
octave-blocks), whose row in a directory of the slot says where its segments begin, how many bits of the place in the block
tell them apart, and how many there are: 32 rows of 24 bits a slot, where comparators have 63 numbers of 32 bits. The
reference of all arithmetic is `nmc/quant/fixed_point.py`.

## Queues

Three queues run beside each other, each in the order of the program: *load*, *compute* and *store*. SIGNAL and WAIT order
them. A program is a list in which every WAIT comes after its SIGNAL, so that executing the list in order is always right;
before the first run the simulator proves that no other order the queues allow gives another result.

An element-wise command with the address `stream` as its first operand continues the chain of the command before it: a DRAIN
followed by PWL, ADD or HADAMARD in the stream is an epilogue that costs no pass of its own. The commands of a chain stand
next to each other; what they wait for is waited for before the first of them. Every value in the stream is saturated to the
type of the destination, as if it had been stored.

## Bytes

A command is its opcode and then its fields in order, little-endian, without padding. A group's fields stand in its place.
Types are {_TYPES}; queues {_QUEUES}; the address STREAM is {isa.STREAM:#x}, NONE {isa.NONE:#x}.

A program is, one after the other:

- `{MAGIC.decode().rstrip(chr(0))}` and a zero byte, the version of the instruction set (u32), and the SHA-256 of the
  accelerator's description (32 bytes); the simulator refuses another version
- of the accelerator, each i64: {_MACHINE}
- the bytes of constants and of the arena (i64 each)
- the inputs, then the outputs: their number (u32), and of each its name, DRAM byte (i64), type (u8), rank (u32) and extents
  (i64 each)
- the names of layers: their number (u32), and each
- the number of commands and of their bytes (u32 each), the commands, and for each its layer (u32, the place of a name)
- the CRC-32 of all that (u32)

A name is its number of bytes (u32) and these, in UTF-8.

## Tables in DRAM

{_TABLE}

The header's fields, in order: {HEADER_FIELDS}. The addressings: {_ADDRESSINGS}.
"""


def manual_text() -> str:
    """The whole manual."""
    groups = (_section(name, cls) for name, cls in GROUPS.items())
    commands = (_section(f"{isa.mnemonic(cls)} ({cls.opcode})", cls) for cls in isa.COMMANDS.values())
    parts = [
        INTRODUCTION,
        "## Groups of fields\n",
        *groups,
        "## Commands\n",
        *commands,
        "## Timing\n",
        _timing(),
    ]
    return "\n".join(parts) + "\n"


def _section(title: str, cls: type) -> str:
    lines = [f"### {title}", "", " ".join((inspect.getdoc(cls) or "").split()), ""]
    if cls in LAYOUTS:
        queue = getattr(cls, "queue", None)
        where = f"the {queue.name.lower()} queue" if queue is not None else "the queue it names"
        where = "no queue" if cls is isa.End else where
        lines += [
            f"Runs in {where}; {1 + LAYOUTS[cls].size} {'byte' if LAYOUTS[cls].size == 0 else 'bytes'}. Cost: {cls.cost}.",
            "",
        ]
    rows = list(_rows(cls))
    if rows:
        lines += ["| field | encoding | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _rows(cls: type) -> Iterable[str]:
    for each in fields(cls):
        kind, count = each.metadata["kind"], each.metadata["count"]
        encoding = (
            group_type(each).__name__ if kind == "group" else kind + (f" × {count}" if count > 1 else "")
        )
        yield f"| {each.name} | {encoding} | {each.metadata['meaning']} |"


def _timing() -> str:
    """The assumptions that the timing model states in the comment at the head of its header."""
    comment = re.match(r"(//.*\n)+", TIMING.read_text(encoding="utf-8"))
    assert comment is not None, "timing.h begins with the model's assumptions"
    return "\n".join(line.removeprefix("//").removeprefix(" ") for line in comment[0].splitlines())


def main() -> None:
    """Writes ISA.md."""
    MANUAL.write_text(manual_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
