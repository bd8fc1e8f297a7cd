"""Builds a Relax module with LLVM and runs it on numpy arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import ir, relax

from targets.cpu.channels_last import ChannelsLast
from targets.cpu.matmul import ScheduleMatmul
from targets.cpu.parallel import ParallelLoops
from targets.cpu.processor import host_target
from targets.cpu.threads import use_all_processors
from targets.cpu.transpose import ScheduleTransposes

use_all_processors()


@dataclass(frozen=True)
class CpuModule:
    """A compiled module; `machine` holds the loaded code."""

    machine: relax.VirtualMachine

    def run(self, inputs: Sequence[np.ndarray], function: str = "main") -> list[np.ndarray]:
        """Calls `function` with arrays of exactly the shapes and types of its parameters; returns its outputs."""
        arguments = [tvm.runtime.tensor(np.asarray(array, order="C")) for array in inputs]
        result = self.machine[function](*arguments)
        outputs = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
        return [output.numpy() for output in outputs]


def build(module: ir.IRModule, target: tvm.target.Target | None = None) -> CpuModule:
    """Compiles a module of level 1, 2 or 3 for `target`, by default this machine's processor."""
    return CpuModule(relax.VirtualMachine(machine_code(module, target or host_target()), tvm.cpu()))


def machine_code(module: ir.IRModule, target: tvm.target.Target) -> relax.VMExecutable:
    """A module of level 1, 2 or 3 as code for `target`, which checks what `main` is given and nothing between kernels.

    The checks of each kernel's arguments are nine tenths of a small model's code, and would prove again what the module's
    types do.
    """
    with target, tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        schedule = [
            ChannelsLast,
            ScheduleMatmul,
            ScheduleTransposes,
            relax.transform.LegalizeOps(),
            ParallelLoops,
        ]
        return relax.build(tvm.transform.Sequential(schedule)(module), target)
