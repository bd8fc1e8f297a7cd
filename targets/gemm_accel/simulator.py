"""Runs a program on the simulated accelerator, on numpy arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm_ffi
from numpy.typing import NDArray

from nmc.errors import ProgramError
from targets.gemm_accel.program import Program, Tensor
from targets.gemm_accel.runtime import create_module

SYMBOL = "program"
Integers = NDArray[Any]


class Simulator:
    """The accelerator with a program and its constants in DRAM. Raises ProgramError when they do not fit each other."""

    def __init__(self, program: Program, constants: bytes) -> None:
        self._program = program
        self._module = create_module(SYMBOL, program.to_bytes(), constants)

    def validate(self) -> None:
        """Proves that the program is one that the accelerator executes; raises ProgramError, naming the command, if not."""
        self._module[f"{SYMBOL}.validate"]()

    def run(self, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """Runs the program once on an array for each input, of exactly its shape and type; returns an array an output.

        Raises ProgramError when an input is missing or does not fit, and when the accelerator refuses the program.
        """
        missing = sorted({tensor.name for tensor in self._program.inputs} ^ set(inputs))
        if missing:
            raise ProgramError(f"the program has inputs {_names(self._program.inputs)}; '{missing[0]}' does not match")
        # DLPack takes only writable arrays, though nothing writes to these.
        given = [np.require(inputs[tensor.name], requirements="CW") for tensor in self._program.inputs]
        results = [np.zeros(tensor.shape, dtype_of(tensor)) for tensor in self._program.outputs]
        self._module[SYMBOL](*(tvm_ffi.from_dlpack(array) for array in [*given, *results]))
        return {tensor.name: result for tensor, result in zip(self._program.outputs, results, strict=True)}


def dtype_of(tensor: Tensor) -> np.dtype[Any]:
    """The numpy type of an input's or output's elements."""
    return np.dtype(f"int{8 * tensor.type.bytes}")


def _names(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"'{tensor.name}'" for tensor in tensors) or "none"
