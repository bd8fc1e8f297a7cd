"""Each operation's commands compute what its body does, to the bit, for random shapes, types and views."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from nmc.errors import ProgramError
from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter
from targets.gemm_accel.codegen.nodes import Depthwise
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import SMALL, Body, Draw, Parameter, assert_equal_to_bodies

few = settings(max_examples=8, deadline=None, derandomize=True)
SEEDS = st.integers(0, 1 << 30)
NARROW = st.sampled_from(["int8", "int16"])
TYPES = st.sampled_from(["int8", "int16", "int32"])


def _draw(emitter: Emitter, seed: int) -> Draw:
    return Draw(emitter, np.random.default_rng(seed))


@few
@given(
    SEEDS, TYPES, NARROW, TYPES, st.integers(1, 3), st.integers(1, 40), st.integers(1, 70), st.integers(1, 40)
)
def test_gemm(seed: int, a_type: str, b_type: str, dtype: str, groups: int, m: int, k: int, n: int) -> None:
    parameters: list[Parameter] = [((groups, m, k), a_type)]

    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter, seed)
        return draw.gemm(p[0], draw.constant((groups, k, n), b_type), dtype)

    assert_equal_to_bodies(parameters, body)


@few
@given(SEEDS, NARROW, TYPES, st.booleans(), st.integers(1, 3), st.integers(1, 20), st.integers(1, 30))
def test_gemm_of_two_activations_through_transposed_views(
    seed: int, in_type: str, dtype: str, turned: bool, heads: int, rows: int, depth: int
) -> None:
    parameters: list[Parameter] = [((rows, heads * depth), in_type), ((rows, heads * depth), in_type)]

    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw, emit = _draw(emitter, seed), emitter.emit
        a, b = (emit(relax.op.reshape(x, [rows, heads, depth])) for x in p)
        if turned:
            product = draw.gemm(
                emit(relax.op.permute_dims(a, [1, 2, 0])), emit(relax.op.permute_dims(b, [1, 0, 2])), dtype
            )
        else:
            product = draw.gemm(
                emit(relax.op.permute_dims(a, [1, 0, 2])), emit(relax.op.permute_dims(b, [1, 2, 0])), dtype
            )
        return emit(relax.op.permute_dims(product, [1, 0, 2]))

    assert_equal_to_bodies(parameters, body)


def _convolution(seed: int, window: Window, columns: int, dtype: str, fill: int) -> Body:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter, seed)
        matrix = draw.im2col(p[0], window, fill)
        groups, _, depth = (int(extent) for extent in matrix.ty.shape)
        return draw.gemm(matrix, draw.constant((groups, depth, columns), "int16"), dtype)

    return body


@few
@given(
    SEEDS, st.integers(1, 3), NARROW, TYPES, st.sampled_from([1, 2, 4]), st.sampled_from([1, 3]), st.data()
)
def test_convolution_of_any_rank(
    seed: int, rank: int, in_type: str, dtype: str, groups: int, columns: int, data: st.DataObject
) -> None:
    spatial = [data.draw(st.integers(3, 7)) for _ in range(rank)]
    numbers = [
        tuple(data.draw(st.integers(low, high)) for _ in range(rank))
        for low, high in ((1, 3), (1, 2), (1, 1), (0, 2), (0, 2))
    ]
    parameters: list[Parameter] = [((data.draw(st.integers(1, 2)), 4, *spatial), in_type)]
    assert_equal_to_bodies(parameters, _convolution(seed, Window(*numbers, groups), columns, dtype, -2))


@few
@given(SEEDS, TYPES, TYPES, st.integers(2, 40), st.data())
def test_depthwise_convolution_on_the_diagonal_cells(
    seed: int, in_type: str, dtype: str, channels: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(1, 2))
    spatial = [data.draw(st.integers(3, 12)) for _ in range(rank)]
    numbers = [
        tuple(data.draw(st.integers(low, high)) for _ in range(rank))
        for low, high in ((1, 3), (1, 3), (1, 1), (0, 2), (0, 2))
    ]
    parameters: list[Parameter] = [((data.draw(st.integers(1, 2)), channels, *spatial), in_type)]
    config = data.draw(st.sampled_from([SMALL, AcceleratorConfig()]))
    body = _convolution(seed, Window(*numbers, channels), 1, dtype, 3)
    region = assert_equal_to_bodies(parameters, body, config)
    assert in_type == "int32" or isinstance(region.kernels[0].nodes[0].operation, Depthwise)


@few
@given(
    SEEDS,
    TYPES,
    NARROW,
    TYPES,
    st.lists(st.sampled_from([1, 2, 5, 16, 33]), max_size=4),
    st.booleans(),
    st.data(),
)
def test_elementwise_operations_broadcast(
    seed: int, a_type: str, b_type: str, dtype: str, shape: list[int], product: bool, data: st.DataObject
) -> None:
    shape = shape if math.prod(shape) < 3000 else shape[:2]
    kept = [data.draw(st.booleans()) for _ in shape]
    other = tuple(extent if keep else 1 for extent, keep in zip(shape, kept, strict=True))
    other = other[data.draw(st.integers(0, len(other))) :]
    parameters: list[Parameter] = [(tuple(shape), a_type), (other, b_type)]

    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter, seed)
        return (draw.hadamard if product else draw.add)(p[0], p[1], dtype)

    assert_equal_to_bodies(parameters, body)


@few
@given(SEEDS, TYPES, TYPES, st.lists(st.integers(1, 9), max_size=3))
def test_pwl(seed: int, in_type: str, dtype: str, shape: list[int]) -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        return _draw(emitter, seed).pwl(p[0], dtype)

    assert_equal_to_bodies([(tuple(shape), in_type)], body)


def _take(axis: int) -> Body:
    return lambda emitter, p: emitter.emit(relax.op.take(p[0], p[1], axis))


@few
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), TYPES, st.data())
def test_gather_by_a_computed_index(shape: list[int], dtype: str, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    index_shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=2)))
    index = np.random.default_rng(1).integers(0, shape[axis], index_shape).astype(np.int32)
    table = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    parameters: list[Parameter] = [(tuple(shape), dtype), (index_shape, "int32")]
    assert_equal_to_bodies(parameters, _take(axis), inputs=[table, index])


def test_an_index_outside_the_table_ends_the_run_with_an_error() -> None:
    parameters: list[Parameter] = [((4, 3), "int16"), ((2,), "int32")]
    index = np.array([0, 4], np.int32)
    with pytest.raises(ProgramError, match="index"):
        assert_equal_to_bodies(parameters, _take(0), inputs=[np.zeros((4, 3), np.int16), index])


@few
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(2, 4), st.data())
def test_concatenation(shape: list[int], count: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    parameters: list[Parameter] = []
    for _ in range(count):
        own = list(shape)
        own[axis] = data.draw(st.integers(1, 7))
        parameters.append((tuple(own), "int16"))

    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter, 0)
        return emitter.emit(relax.op.concat([p[0], *(draw.pwl(x, "int16") for x in p[1:])], axis))

    assert_equal_to_bodies(parameters, body)


def test_outputs_may_be_inputs_constants_and_repeated() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter, 4)
        sum_ = draw.add(p[0], p[0], "int16")
        return relax.Tuple(
            [p[0], sum_, sum_, draw.constant((2, 3), "int8"), emitter.emit(relax.op.permute_dims(p[0]))]
        )

    assert_equal_to_bodies([((3, 5), "int16")], body)


def test_a_row_longer_than_the_scratchpad_is_cut() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = _draw(emitter, 5)
        total = draw.gemm(p[0], draw.constant((1, 5000, 1), "int8"), "int32")
        return relax.Tuple([total, draw.hadamard(p[0], p[0], "int16")])

    assert_equal_to_bodies([((1, 2, 5000), "int16")], body)
