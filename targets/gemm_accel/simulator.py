"""Runs a program on the simulated accelerator, on numpy arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm_ffi
from numpy.typing import NDArray

from nmc.errors import ProgramError
from targets.gemm_accel.program import Program, Tensor
from targets.gemm_accel.runtime import create_module

SYMBOL = "program"
Integers = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Timing:
    """When each command runs: simulated cycles, from the model that sim/timing.h states.

    starts, ends, busy and dram_bytes are int64 arrays with an element a command: the cycle in which it occupies its unit
    (array, drain unit or DRAM port) or, of a WAIT, begins to hold its queue; the cycle in which it is complete; how many
    cycles it occupies its unit (0 in the chain of another command); the DRAM bytes it moves. `cycles` is when all is
    complete; array_cycles, drain_cycles and port_cycles are how long each unit was occupied.
    """

    cycles: int
    array_cycles: int
    drain_cycles: int
    port_cycles: int
    bytes_read: int
    bytes_written: int
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    busy: NDArray[np.int64]
    dram_bytes: NDArray[np.int64]


class Simulator:
    """The accelerator with a program and its constants in DRAM. Raises ProgramError when they do not fit each other."""

    def __init__(self, program: Program, constants: bytes) -> None:
        self._program = program
        self._module = create_module(SYMBOL, program.to_bytes(), constants)

    def validate(self) -> None:
        """Proves that the program is one that the accelerator executes; raises ProgramError, naming the command, if not."""
        self._module[f"{SYMBOL}.validate"]()

    def profile(self) -> Timing:
        """The timing of one run, which depends on no data; raises ProgramError for a program that is not valid."""
        commands = np.zeros((len(self._program.commands), 4), np.int64)
        totals = np.zeros(6, np.int64)
        self._module[f"{SYMBOL}.profile"](tvm_ffi.from_dlpack(commands), tvm_ffi.from_dlpack(totals))
        cycles, array, drain, port, read, written = totals.tolist()
        starts, ends, busy, dram_bytes = np.ascontiguousarray(commands.T)
        return Timing(cycles, array, drain, port, read, written, starts, ends, busy, dram_bytes)

    def run(self, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """Runs the program once on an array for each input, of exactly its shape and type; returns an array an output.

        Raises ProgramError when an input is missing or does not fit, and when the accelerator refuses the program.
        """
        missing = sorted({tensor.name for tensor in self._program.inputs} ^ set(inputs))
        if missing:
            raise ProgramError(
                f"the program has inputs {_names(self._program.inputs)}; '{missing[0]}' does not match"
            )
        # DLPack takes only writable arrays, though nothing writes to these.
        given = [np.require(inputs[tensor.name], requirements=["C", "W"]) for tensor in self._program.inputs]
        results = [np.zeros(tensor.shape, dtype_of(tensor)) for tensor in self._program.outputs]
        self._module[SYMBOL](*(tvm_ffi.from_dlpack(array) for array in [*given, *results]))
        return {tensor.name: result for tensor, result in zip(self._program.outputs, results, strict=True)}


def dtype_of(tensor: Tensor) -> np.dtype[Any]:
    """The numpy type of an input's or output's elements."""
    return np.dtype(f"int{8 * tensor.type.bytes}")


def _names(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"'{tensor.name}'" for tensor in tensors) or "none"
