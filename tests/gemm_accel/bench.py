"""Runs a few compute commands on data that is put into the scratchpad, and takes results out of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from targets.gemm_accel import isa
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.program import Program, Tensor, make_program
from targets.gemm_accel.simulator import Simulator

Integers = NDArray[Any]
LOAD, COMPUTE, STORE = isa.Queue.LOAD, isa.Queue.COMPUTE, isa.Queue.STORE
CONFIG = AcceleratorConfig()
LOADED, COMPUTED = 0, 1


def type_of(array: Integers) -> isa.Type:
    return isa.element_type(array.dtype.name)


def random_integers(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: str, extremes: float = 0.2
) -> Integers:
    """Uniform over the whole type, with a share of its two extreme values."""
    info = np.iinfo(dtype)
    values = generator.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    ends = generator.choice(np.array([info.min, info.max], dtype), shape)
    return np.where(generator.random(shape) < extremes, ends, values).astype(dtype)


def line(command: type, dram: int, scratchpad: int, size: int) -> Any:
    """A LOAD or STORE of `size` bytes, dense on both sides."""
    return command(dram, scratchpad, isa.Type.I8, (1, 1, 1, 1, size), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1))


def program_of(
    commands: Sequence[isa.Command],
    inputs: Sequence[Tensor] = (),
    outputs: Sequence[Tensor] = (),
    constant_bytes: int = 0,
    arena_bytes: int = 0,
    config: AcceleratorConfig = CONFIG,
) -> Program:
    """A program of these commands and END."""
    listed = [*commands, isa.End()]
    return make_program(listed, [""] * len(listed), inputs, outputs, constant_bytes, arena_bytes, config)


def run_compute(
    commands: Sequence[isa.Command],
    scratchpad: Mapping[int, Integers],
    results: Mapping[int, tuple[tuple[int, ...], str]],
    tables: Sequence[bytes] = (),
    config: AcceleratorConfig = CONFIG,
) -> list[Integers]:
    """Loads arrays to scratchpad addresses and tables to slots 0, 1, …; runs the commands; returns results, each a
    (shape, dtype) by its scratchpad address."""
    constants, program = b"", []
    for address, array in scratchpad.items():
        data = np.asarray(array, order="C").tobytes()
        program.append(line(isa.Load, len(constants), address, len(data)))
        constants += data + bytes(-len(data) % 64)
    for slot, table in enumerate(tables):
        program.append(isa.LoadTable(len(constants), slot))
        constants += table + bytes(-len(table) % 64)
    program += [isa.Signal(LOAD, LOADED), isa.Wait(COMPUTE, LOADED), *commands]
    program += [isa.Signal(COMPUTE, COMPUTED), isa.Wait(STORE, COMPUTED)]
    dram, outputs = len(constants), []
    for address, (shape, dtype) in results.items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        program.append(line(isa.Store, dram, address, size))
        outputs.append(Tensor(f"at {address}", dram, isa.element_type(dtype), shape))
        dram += size + -size % 64
    built = program_of(program, (), outputs, len(constants), dram - len(constants), config)
    return list(Simulator(built, constants).run({}).values())
