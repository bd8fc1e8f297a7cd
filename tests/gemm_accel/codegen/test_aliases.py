"""Which copies of whole buffers disappear although many write or read what they copy."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from passes.rewrite import Emitter
from targets.gemm_accel import isa
from targets.gemm_accel.codegen import CompiledRegion
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import Body, Draw, Parameter, assert_equal_to_bodies


def _bytes_stored(parameters: list[Parameter], body: Body) -> int:
    region = assert_equal_to_bodies(parameters, body, AcceleratorConfig())
    return sum(_size(command) for command in _stores(region))


def _stores(region: CompiledRegion) -> list[isa.Store]:
    return [command for command in region.program.commands if isinstance(command, isa.Store)]


def _size(command: isa.Store) -> int:
    return int(np.prod(command.counts)) * command.type.bytes


def test_a_concatenation_that_is_an_output_and_enters_a_product_is_written_once() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        joined = emitter.emit(relax.op.concat([p[0], p[1]], 1))
        return relax.Tuple([draw.gemm(p[2], joined, "int16"), joined])

    parameters = [((1, 24, 8), "int16"), ((1, 8, 8), "int16"), ((1, 4, 32), "int16")]
    assert _bytes_stored(parameters, body) == 2 * (32 * 8 + 4 * 8)


def test_a_value_that_is_padded_by_its_own_first_row_is_written_once() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        value = draw.pwl(p[0], "int16")
        row = emitter.emit(relax.op.strided_slice(value, [0], [0], [1]))
        return draw.pwl(emitter.emit(relax.op.concat([row, value], 0)), "int16")

    # the value with its row, and the result
    assert _bytes_stored([((20, 16), "int16")], body) == 2 * (21 * 16 + 21 * 16)


def test_a_value_that_is_twice_an_output_is_copied_once() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        value = Draw(emitter, np.random.default_rng(0)).pwl(p[0], "int16")
        return relax.Tuple([value, value])

    assert _bytes_stored([((4, 16), "int16")], body) == 2 * (2 * 4 * 16)


def test_a_small_part_of_a_large_concatenation_keeps_a_place_of_its_own() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        value = draw.pwl(p[0], "int16")
        joined = emitter.emit(relax.op.concat([value, p[1]], 0))
        return relax.Tuple([draw.gemm(p[2], value, "int16"), joined])

    parameters = [((1, 8, 8), "int16"), ((3, 8, 8), "int16"), ((1, 4, 8), "int16")]
    assert _bytes_stored(parameters, body) == 2 * (8 * 8 + 4 * 8 * 8 + 4 * 8)
