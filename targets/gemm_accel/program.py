"""A program: commands, what they read and write for the user, and the accelerator they are for; as bytes and back."""

import struct
import zlib
from collections.abc import Container, Sequence
from dataclasses import dataclass

from nmc.errors import ProgramError
from targets.gemm_accel import isa
from targets.gemm_accel.assembler import disassemble
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.encoding import decode, encode

MAGIC = b"NMCPROG\0"
MACHINE_FIELDS = (
    "rows", "columns", "scratchpad_bytes", "accumulator_entries", "table_slots", "table_entries",
    "dram_bytes_per_cycle", "dram_latency_cycles", "outstanding_transfers", "semaphores", "data_bits",
    "delay_lines", "delay_entries",
)  # fmt: skip
"""What the simulator must know of the accelerator, as i64 in this order."""


@dataclass(frozen=True)
class Tensor:
    """An input or output: its bytes in the arena, dense, in row-major order."""

    name: str
    dram: int
    type: isa.Type
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """DRAM is the constants (from byte 0, read-only) and then the arena. `layers` names the source layer of each command."""

    commands: tuple[isa.Command, ...]
    layers: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    constant_bytes: int
    arena_bytes: int
    machine: tuple[int, ...]
    config_hash: bytes

    def to_bytes(self) -> bytes:
        """Magic, ISA version, config hash, machine, tensors, layers, commands, and the CRC-32 of all that."""
        names = sorted(set(self.layers))
        position = {name: index for index, name in enumerate(names)}
        code = encode(self.commands)
        parts = [
            MAGIC,
            struct.pack("<I32s", isa.ISA_VERSION, self.config_hash),
            struct.pack(f"<{len(MACHINE_FIELDS)}q", *self.machine),
            struct.pack("<qq", self.constant_bytes, self.arena_bytes),
            _tensors_bytes(self.inputs),
            _tensors_bytes(self.outputs),
            struct.pack("<I", len(names)),
            *(_text_bytes(name) for name in names),
            struct.pack("<II", len(self.commands), len(code)),
            code,
            struct.pack(f"<{len(self.layers)}I", *(position[layer] for layer in self.layers)),
        ]
        body = b"".join(parts)
        return body + struct.pack("<I", zlib.crc32(body))

    @staticmethod
    def from_bytes(data: bytes) -> "Program":
        """The program of bytes; raises ProgramError for any damage, another ISA version or trailing bytes."""
        if len(data) < len(MAGIC) + 8 or not data.startswith(MAGIC):
            raise ProgramError("this is not an accelerator program; compile the model again")
        if zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
            raise ProgramError("the program is damaged: its checksum does not match; compile the model again")
        reader = _Reader(data[:-4], len(MAGIC))
        (version,), config_hash = reader.unpack("<I"), reader.take(32)
        if version != isa.ISA_VERSION:
            raise ProgramError(
                f"the program is of ISA version {version}, this accelerator of {isa.ISA_VERSION}"
            )
        machine = reader.unpack(f"<{len(MACHINE_FIELDS)}q")
        constant_bytes, arena_bytes = reader.unpack("<qq")
        inputs, outputs = reader.tensors(), reader.tensors()
        names = [reader.text() for _ in range(reader.unpack("<I")[0])]
        count, size = reader.unpack("<II")
        commands = decode(reader.take(size))
        indices = reader.unpack(f"<{count}I")
        if (
            constant_bytes < 0
            or arena_bytes < 0
            or any(extent < 0 for t in (*inputs, *outputs) for extent in t.shape)
        ):
            raise ProgramError("the program is damaged: it has a negative size; compile the model again")
        if (
            len(commands) != count
            or reader.position != len(reader.data)
            or any(i >= len(names) for i in indices)
        ):
            raise ProgramError(
                "the program is damaged: its parts do not fit together; compile the model again"
            )
        layers = tuple(names[index] for index in indices)
        return Program(
            tuple(commands), layers, inputs, outputs, constant_bytes, arena_bytes, tuple(machine), config_hash
        )

    def listing(self, layers: Container[str] | None = None) -> str:
        """The commands as text with their layers; only those of some layers where they are given."""
        chosen = [i for i, name in enumerate(self.layers) if layers is None or name in layers]
        return disassemble([self.commands[i] for i in chosen], [self.layers[i] for i in chosen])


def machine_of(config: AcceleratorConfig) -> tuple[int, ...]:
    """The numbers of an accelerator that its programs carry."""
    return tuple(int(getattr(config, name)) for name in MACHINE_FIELDS)


def make_program(
    commands: Sequence[isa.Command],
    layers: Sequence[str],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constant_bytes: int,
    arena_bytes: int,
    config: AcceleratorConfig,
) -> Program:
    """A program for an accelerator; one layer name a command."""
    if len(commands) != len(layers):
        raise ValueError(f"{len(commands)} commands but {len(layers)} layer names")
    return Program(
        tuple(commands), tuple(layers), tuple(inputs), tuple(outputs), constant_bytes, arena_bytes,
        machine_of(config), config.hash,
    )  # fmt: skip


def _text_bytes(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def _tensors_bytes(tensors: Sequence[Tensor]) -> bytes:
    parts = [struct.pack("<I", len(tensors))]
    for tensor in tensors:
        parts += [_text_bytes(tensor.name), struct.pack("<qBI", tensor.dram, tensor.type, len(tensor.shape))]
        parts.append(struct.pack(f"<{len(tensor.shape)}q", *tensor.shape))
    return b"".join(parts)


@dataclass
class _Reader:
    """Takes parts off the front of bytes."""

    data: bytes
    position: int

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.position:
            raise ProgramError("the program is damaged: it ends too early; compile the model again")
        self.position += size
        return self.data[self.position - size : self.position]

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self) -> str:
        return self.take(self.unpack("<I")[0]).decode(errors="replace")

    def tensors(self) -> tuple[Tensor, ...]:
        tensors = []
        for _ in range(self.unpack("<I")[0]):
            name = self.text()
            dram, kind, rank = self.unpack("<qBI")
            if kind > max(isa.Type):
                raise ProgramError(
                    "the program is damaged: it has a tensor of no known type; compile the model again"
                )
            tensors.append(Tensor(name, dram, isa.Type(kind), tuple(self.unpack(f"<{rank}q"))))
        return tuple(tensors)
