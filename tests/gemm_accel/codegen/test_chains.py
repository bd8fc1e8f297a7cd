"""Kernels that run band by band pass their results on without the DRAM, and compute the same."""

from collections.abc import Sequence

import numpy as np
import pytest
from tvm import relax

from passes.rewrite import Emitter
from targets.gemm_accel import isa
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import Draw, assert_equal_to_bodies

SMALLER = AcceleratorConfig(scratchpad_bytes=16384, accumulator_entries=4096)
"""So little scratchpad that the rows below take several bands."""


def _standardised(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
    """Row sums of a whole row subtracted from it, then a product with a function of the sums of squares."""
    draw = Draw(emitter, np.random.default_rng(0))
    columns = int(p[0].ty.shape[2])
    ones = emitter.constant(np.ones((1, columns, 1)), "int16")
    deviation = draw.add(p[0], draw.gemm(p[0], ones, "int16"), "int16")
    square = draw.hadamard(deviation, deviation, "int16")
    return draw.hadamard(deviation, draw.pwl(draw.gemm(square, ones, "int16"), "int16"), "int16")


@pytest.mark.parametrize("config", [AcceleratorConfig(), SMALLER])
def test_a_normalisation_reads_and_writes_its_rows_once(config: AcceleratorConfig) -> None:
    rows, columns = 96, 64
    region = assert_equal_to_bodies([((1, rows, columns), "int16")], _standardised, config)
    commands = region.program.commands
    constants = region.program.constant_bytes
    read = sum(_elements(c) for c in commands if isinstance(c, isa.Load) and c.dram >= constants)
    assert read == sum(_elements(c) for c in commands if isinstance(c, isa.Store)) == rows * columns
    assert len(region.kernels) > 1


def test_rows_that_are_permuted_in_memory_are_multiplied_in_the_order_of_memory() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        turned = emitter.emit(relax.op.permute_dims(p[0], [1, 0, 2]))
        rows = emitter.emit(relax.op.reshape(turned, [1, 24, 16]))
        product = draw.gemm(rows, draw.constant((1, 16, 3), "int16"), "int16")
        return draw.pwl(emitter.emit(relax.op.reshape(product, [4, 6, 3])), "int16")

    region = assert_equal_to_bodies([((6, 4, 16), "int16")], body, AcceleratorConfig())
    loads = [c for c in region.program.commands if isinstance(c, isa.Load) and c.type is isa.Type.I16]
    assert all(max(load.counts) == _elements(load) for load in loads)


def test_a_buffer_with_a_writer_outside_is_not_passed_on_within_a_chain() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        parts = [draw.gemm(p[i], draw.constant((1, 16, 4), "int16"), "int16") for i in (0, 1)]
        return draw.pwl(emitter.emit(relax.op.concat(parts, 2)), "int16")

    assert_equal_to_bodies([((1, 8, 16), "int16")] * 2, body, AcceleratorConfig())


def _elements(command: isa.Load | isa.Store) -> int:
    return int(np.prod(command.counts))
