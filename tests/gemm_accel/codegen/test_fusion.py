"""Which operations become one kernel, and which buffers never exist."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter
from targets.gemm_accel import isa
from targets.gemm_accel.codegen import CompiledRegion
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import Body, Draw, Parameter, assert_equal_to_bodies

IMAGE: Parameter = ((1, 4, 6, 6), "int16")


def _draw(emitter: Emitter) -> Draw:
    return Draw(emitter, np.random.default_rng(0))


def _compiled(
    parameters: list[Parameter], body: Body, config: AcceleratorConfig | None = None
) -> CompiledRegion:
    return assert_equal_to_bodies(parameters, body, config or AcceleratorConfig())


def _convolution(draw: Draw, x: relax.Expr, columns: int) -> relax.Expr:
    """As the lowering writes it: the result is [batch, columns, height, width] again."""
    matrix = draw.im2col(x, Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)))
    product = draw.gemm(matrix, draw.constant((1, int(matrix.ty.shape[2]), columns), "int16"), "int16")
    emit = draw.emitter.emit
    image = emit(relax.op.reshape(product, [1, 1, 6, 6, columns]))
    return emit(relax.op.reshape(emit(relax.op.permute_dims(image, [1, 0, 4, 2, 3])), [1, columns, 6, 6]))


def _kinds(region: CompiledRegion) -> list[list[str]]:
    """The compute commands of each chain, by name, without repeats of equal tiles."""
    chains: list[list[str]] = [[]]
    for command in region.program.commands:
        if command.queue is isa.Queue.COMPUTE:
            chains[-1].append(type(command).__name__)
            destination = getattr(command, "destination", None)
            if destination is None or destination.address != isa.STREAM:
                chains.append([])
    return [chain for chain in chains if chain]


def test_a_table_and_a_residual_run_while_the_gemm_drains() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter)
        return draw.add(p[1], draw.pwl(_convolution(draw, p[0], 4), "int16"), "int16")

    region = _compiled([IMAGE, IMAGE], body)
    assert len(region.kernels) == 1
    assert ["Drain", "Pwl", "Add"] in _kinds(region)


def test_two_convolutions_and_their_residual_are_two_kernels() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter)
        first = draw.pwl(_convolution(draw, p[0], 4), "int16")
        return draw.add(p[0], _convolution(draw, first, 4), "int16")

    assert len(_compiled([IMAGE], body).kernels) == 2


def test_a_value_that_is_used_twice_stays_in_the_scratchpad() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter)
        x = _convolution(draw, p[0], 4)
        return draw.hadamard(x, draw.pwl(x, "int16"), "int16")

    region = _compiled([IMAGE], body)
    assert len(region.kernels) == 1 and list(region.kernels[0].stores) == [2]
    assert [view.buffer.name for view in region.kernels[0].stores[2]] == ["output0"]


def test_a_chain_of_element_wise_operations_loads_and_stores_once() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter)
        return draw.pwl(draw.add(draw.pwl(p[0], "int32"), draw.constant((4, 1, 1), "int16"), "int16"), "int8")

    region = _compiled([IMAGE], body)
    assert _kinds(region) == [["Pwl", "Add", "Pwl"]]
    assert sum(isinstance(command, isa.Store) for command in region.program.commands) == 1


def test_a_value_that_is_also_an_output_is_stored_on_the_way() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter)
        x = draw.pwl(p[0], "int16")
        return relax.Tuple([x, draw.add(x, p[0], "int16")])

    region = _compiled([IMAGE], body)
    assert len(region.kernels) == 1 and sorted(region.kernels[0].stores) == [0, 1]


def test_the_parts_of_a_concatenation_are_written_to_their_places() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter)
        parts = [_convolution(draw, p[0], columns) for columns in (2, 3)]
        return draw.pwl(emitter.emit(relax.op.concat(parts, 1)), "int16")

    region = _compiled([IMAGE], body)
    assert len(region.kernels) == 3
    assert region.kernels[0].nodes[0].result is region.kernels[1].nodes[0].result


def test_no_kernel_uses_more_tables_than_there_are_slots() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw, x = _draw(emitter), p[0]
        for _ in range(5):
            x = draw.pwl(x, "int16")
        return x

    region = _compiled([IMAGE], body, AcceleratorConfig(table_slots=2))
    assert [len(kernel.steps) for kernel in region.kernels] == [2, 2, 1]


def test_a_reader_of_a_whole_value_is_not_fused_with_what_computes_it() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter)
        x = draw.pwl(p[0], "int16")
        return draw.add(x, emitter.emit(relax.op.permute_dims(x, [0, 1, 3, 2])), "int16")

    assert len(_compiled([IMAGE], body).kernels) == 2


def test_a_column_of_ones_reads_rows_instead_of_columns() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter)
        columns = emitter.emit(relax.op.permute_dims(p[0], [0, 2, 1]))
        return draw.gemm(columns, draw.constant((1, 20, 1), "int16"), "int16", uniform=True)

    region = _compiled([((1, 20, 32), "int16")], body)
    gemm = next(command for command in region.program.commands if isinstance(command, isa.Gemm))
    assert gemm.m == 1


def test_parts_of_a_concatenation_in_the_same_kernel_are_read_as_values_and_not_from_memory() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter)
        value = draw.add(p[0], p[1], "int16")
        joined = emitter.emit(relax.op.concat([value, value], axis=2))
        first, second = (
            emitter.emit(relax.op.strided_slice(joined, [2], [begin], [begin + 1], [1])) for begin in (0, 1)
        )
        return draw.add(first, second, "int16")

    shape: Parameter = ((2, 4, 1), "int16")
    assert len(_compiled([shape, shape], body).kernels) == 1
