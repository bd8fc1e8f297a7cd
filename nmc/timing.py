"""When each command of a package runs on the simulated accelerator. Timing depends on no data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nmc.package import Package
from nmc.programs import programs_of
from targets.gemm_accel import isa
from targets.gemm_accel.program import Program

ARRAY, DRAIN, DRAM = "array", "drain unit", "DRAM port"
"""The units that a command can occupy."""

TIMELESS = frozenset({isa.Signal, isa.Wait, isa.End})
"""Commands that take no time of their own."""
ELEMENTWISE = (isa.Hadamard, isa.Add, isa.Pwl)


def _unit_of(command: type[isa.Command]) -> str:
    if command.queue in (isa.Queue.LOAD, isa.Queue.STORE):
        return DRAM
    return DRAIN if command is isa.Drain else ARRAY


UNITS = {command: _unit_of(command) for command in isa.COMMANDS.values() if command not in TIMELESS}
"""The unit that a command occupies; one in the chain of a DRAIN occupies none of its own."""


class CommandTime(NamedTuple):
    """One command: cycles from `start` to `end`, of which it occupies its unit for `busy`."""

    command: isa.Command
    layer: str
    unit: str
    start: int
    end: int
    busy: int
    dram_bytes: int


@dataclass(frozen=True)
class RegionTime:
    """One run of a command stream; SIGNAL, WAIT and END take no time of their own and are left out."""

    commands: tuple[CommandTime, ...]
    cycles: int
    bytes_read: int
    bytes_written: int


def times_of(package: Package, programs: Sequence[Program] | None = None) -> list[RegionTime]:
    """The timing of each region; raises PackageError or ProgramError for a package that does not fit.

    Who has just made the package can give its programs, which need not be decoded then.
    """
    times = []
    for index, program in enumerate(programs_of(package) if programs is None else programs):
        symbol = package.manifest.regions[index].symbol
        times.append(_time(symbol, program, package.region_program(index), package.region_constants(index)))
    return times


def _time(symbol: str, program: Program, encoded: bytes, constants: bytes) -> RegionTime:
    import tvm_ffi

    from targets.gemm_accel.runtime import create_module

    each, totals = np.zeros((len(program.commands), 4), np.int64), np.zeros(6, np.int64)
    profile = create_module(symbol, encoded, constants)[f"{symbol}.profile"]
    profile(tvm_ffi.from_dlpack(each), tvm_ffi.from_dlpack(totals))
    cycles, _, _, _, bytes_read, bytes_written = totals.tolist()
    commands = tuple(
        CommandTime(command, layer, UNITS[type(command)], *numbers)
        for command, layer, numbers in zip(program.commands, program.layers, each.tolist(), strict=True)
        if type(command) not in TIMELESS
    )
    return RegionTime(commands, cycles, bytes_read, bytes_written)


def reads_stream(command: isa.Command) -> bool:
    """Whether a command takes what the command before it left, in one chain."""
    return isinstance(command, ELEMENTWISE) and command.a.address == isa.STREAM
