"""Regions run inside a Relax module through TVM's RunCodegen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tvm
from tvm import relax

from passes.matrix_form.im2col import Window
from passes.partition import partition
from passes.rewrite import Emitter
from targets.cpu.build import build
from tests.gemm_accel.codegen.support import Draw, Parameter, function_of, random_inputs

PARAMETERS: list[Parameter] = [((1, 3, 8, 8), "int16"), ((1, 4, 8, 8), "int16")]


def _convolution_and_residual(emitter: Emitter, parameters: Sequence[relax.Expr]) -> relax.Expr:
    draw = Draw(emitter, np.random.default_rng(3))
    matrix = draw.im2col(parameters[0], Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)))
    product = draw.gemm(matrix, draw.constant((1, 27, 4), "int16"), "int16")
    image = emitter.emit(
        relax.op.reshape(emitter.emit(relax.op.permute_dims(product, [0, 2, 1])), [1, 4, 8, 8])
    )
    active = draw.pwl(image, "int16")
    return relax.Tuple([draw.add(active, parameters[1], "int16"), active])


def test_run_codegen_replaces_regions_by_programs_of_equal_outputs(tmp_path: Path) -> None:
    module = function_of(PARAMETERS, _convolution_and_residual)
    inputs = random_inputs(PARAMETERS, np.random.default_rng(1))
    expected = build(module).run(inputs)
    offloaded = relax.transform.RunCodegen({"gemm_accel": {"config": "8x8"}})(partition(module))
    executable = relax.build(offloaded, "llvm")
    executable.export_library(str(tmp_path / "host.so"))
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(tmp_path / "host.so")), tvm.cpu())
    outputs = machine["main"](*(tvm.runtime.tensor(array) for array in inputs))
    for found, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)
