"""What element-wise steps load, and what they find on chip."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from passes.rewrite import Emitter
from targets.gemm_accel import isa
from targets.gemm_accel.codegen import CompiledRegion
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import SMALL, Draw, assert_equal_to_bodies


def _elements_loaded(region: CompiledRegion) -> int:
    loads = [command for command in region.program.commands if isinstance(command, isa.Load)]
    return sum(int(np.prod(command.counts)) for command in loads)


def test_an_operand_that_two_steps_read_is_loaded_once() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        return draw.add(draw.add(p[0], p[1], "int16"), p[0], "int16")

    image = ((1, 64), "int16")
    assert _elements_loaded(assert_equal_to_bodies([image, image], body, AcceleratorConfig())) == 2 * 64


def test_rows_that_overlapping_windows_share_are_loaded_once() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        rows = [
            emitter.emit(relax.op.strided_slice(p[0], [0], [first], [first + 7], [2])) for first in range(3)
        ]
        return draw.add(draw.add(rows[0], rows[1], "int16"), rows[2], "int16")

    # half of the scratchpad holds one row of each of the three operands and of the result, twice
    assert _elements_loaded(assert_equal_to_bodies([((9, 128), "int16")], body, SMALL)) == 9 * 128
