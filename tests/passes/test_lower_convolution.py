"""Convolutions as windows times matrices, against onnxruntime."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import ir, relax

from passes.lower_convolution import lower_convolution
from passes.matrix_form.im2col import IM2COL
from passes.rewrite import bindings_of, callee_name
from tests.passes.oracle import float_tolerance, onnx_node
from tests.passes.support import build_module, constant, listing, random_array, run

CONVOLUTIONS = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}


@dataclass(frozen=True)
class Case:
    """A convolution: shapes of data [N, C, ...] and kernel [O, C/groups, ...], and its attributes."""

    data: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int = 1
    name: str = field(default="", compare=False)


CASES = [
    Case((1, 3, 8, 9), (4, 3, 3, 3), (2, 2), (1, 1), (0, 1, 1, 0), name="strided, padded on two sides"),
    Case((2, 6, 7, 7), (4, 3, 3, 2), (1, 2), (2, 1), (2, 1, 0, 1), groups=2, name="grouped and dilated"),
    Case((1, 5, 6, 6), (5, 1, 3, 3), (1, 1), (1, 1), (1, 1, 1, 1), groups=5, name="depthwise"),
    Case(
        (1, 4, 6, 6), (8, 1, 3, 3), (2, 2), (1, 1), (1, 1, 1, 1), groups=4, name="depthwise with multiplier"
    ),
    Case((2, 4, 5, 5), (6, 4, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0), name="pointwise"),
    Case((2, 3, 10), (4, 3, 4), (3,), (2,), (3, 1), name="one axis"),
    Case(
        (1, 2, 5, 4, 6),
        (4, 1, 2, 3, 2),
        (1, 2, 2),
        (1, 1, 2),
        (1, 0, 1, 0, 1, 1),
        groups=2,
        name="three axes",
    ),
]


def lowered(case: Case, weight: np.ndarray) -> ir.IRModule:
    rank = len(case.strides)
    return lower_convolution(
        build_module(
            lambda emitter, x: CONVOLUTIONS[rank](
                x,
                constant(weight),
                strides=list(case.strides),
                padding=list(case.pads),
                dilation=list(case.dilations),
                groups=case.groups,
            ),
            case.data,
        )
    )


def check(case: Case) -> None:
    data, weight = random_array(*case.data, seed=1), random_array(*case.kernel, seed=2)
    expected = onnx_node(
        "Conv",
        data,
        weight,
        strides=case.strides,
        dilations=case.dilations,
        pads=case.pads,
        group=case.groups,
    )
    tolerance = float_tolerance(int(np.prod(case.kernel[1:])), data, weight)
    np.testing.assert_allclose(run(lowered(case, weight), data)[0], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_convolution_computes_what_onnxruntime_does(case: Case) -> None:
    check(case)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    kernel, strides, dilations = (draw(st.tuples(*[st.integers(1, 3)] * 2)) for _ in range(3))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    groups, inputs, outputs = (draw(st.integers(1, 3)) for _ in range(3))
    extents = [d * (k - 1) + 1 + draw(st.integers(0, 4)) for k, d in zip(kernel, dilations, strict=True)]
    return Case(
        (draw(st.integers(1, 2)), groups * inputs, *extents),
        (groups * outputs, inputs, *kernel),
        strides,
        dilations,
        pads,
        groups,
    )


@settings(max_examples=10, deadline=None, derandomize=True)
@given(convolutions())
def test_any_convolution_computes_what_onnxruntime_does(case: Case) -> None:
    check(case)


def test_rows_are_positions_and_columns_are_the_channels_of_a_group() -> None:
    case = CASES[1]
    assert listing(lowered(case, random_array(*case.kernel))) == [
        "y#1 = gemm_accel.im2col(x0)",
        "y#2 = matmul(y#1, const[2, 18, 2])",
        "y#3 = reshape(y#2, [2, 2, 5, 4, 2])",
        "y#4 = permute_dims(y#3)",
        "y = reshape(y#4, [2, 4, 5, 4])",
    ]


def test_a_computed_kernel_becomes_the_right_operand_by_moves() -> None:
    data, weight = random_array(1, 2, 5, 5, seed=3), random_array(4, 2, 3, 3, seed=4)
    module = lower_convolution(
        build_module(lambda emitter, x, w: relax.op.nn.conv2d(x, w), data.shape, weight.shape)
    )
    tolerance = float_tolerance(18, data, weight)
    np.testing.assert_allclose(
        run(module, data, weight)[0], onnx_node("Conv", data, weight), rtol=0, atol=tolerance
    )


def test_channels_last_data_are_brought_into_order_and_back() -> None:
    data, weight = random_array(1, 6, 5, 2, seed=5), random_array(3, 3, 2, 4, seed=6)
    module = lower_convolution(
        build_module(
            lambda emitter, x: relax.op.nn.conv2d(
                x, constant(weight), padding=[1, 1, 0, 0], data_layout="NHWC", kernel_layout="HWIO"
            ),
            data.shape,
        )
    )
    expected = onnx_node("Conv", data.transpose(0, 3, 1, 2), weight.transpose(3, 2, 0, 1), pads=[1, 1, 0, 0])
    tolerance = float_tolerance(18, data, weight)
    np.testing.assert_allclose(run(module, data)[0], expected.transpose(0, 2, 3, 1), rtol=0, atol=tolerance)


def test_a_convolution_of_integers_stays() -> None:
    module = lower_convolution(
        build_module(
            lambda emitter, x: relax.op.nn.conv2d(
                x, constant(np.ones((2, 2, 1, 1)), "int32"), out_dtype="int32"
            ),
            ((1, 2, 3, 3), "int32"),
        )
    )
    assert [callee_name(module, b.value) for b in bindings_of(module["main"])[:1]] == ["relax.nn.conv2d"]
    assert IM2COL not in listing(module)[0]
