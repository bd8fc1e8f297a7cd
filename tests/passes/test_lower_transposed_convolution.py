"""Transposed convolutions as phases of ordinary ones, against onnxruntime."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import ir, relax

from passes.lower_transposed_convolution import lower_transposed_convolution
from tests.passes.oracle import float_tolerance, onnx_node
from tests.passes.support import build_module, constant, listing, random_array, run

TRANSPOSED = {
    1: relax.op.nn.conv1d_transpose,
    2: relax.op.nn.conv2d_transpose,
    3: relax.op.nn.conv3d_transpose,
}


@dataclass(frozen=True)
class Case:
    """Shapes of the data [N, C, ...] and of the kernel [C, O/groups, ...], and the attributes."""

    data: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    extra: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int = 1


CASES = {
    "kernel equal to stride": Case((1, 3, 4, 5), (3, 2, 2, 2), (2, 2), (0, 0, 0, 0), (0, 0), (1, 1)),
    "kernel twice the stride": Case((2, 2, 4, 3), (2, 3, 4, 4), (2, 2), (1, 1, 1, 1), (0, 0), (1, 1)),
    "phases of unequal windows": Case((1, 2, 4, 4), (2, 3, 3, 3), (2, 2), (1, 1, 1, 1), (1, 1), (1, 1)),
    "grouped and dilated": Case((1, 4, 5, 4), (4, 2, 3, 2), (2, 3), (1, 0, 2, 1), (1, 0), (2, 2), groups=2),
    "kernel smaller than stride": Case((1, 2, 3, 3), (2, 2, 1, 2), (3, 3), (0, 0, 0, 0), (1, 0), (1, 1)),
    "padding beyond the kernel": Case((1, 2, 5, 5), (2, 2, 3, 3), (1, 2), (3, 1, 2, 3), (0, 0), (1, 1)),
    "one axis": Case((2, 3, 6), (3, 2, 5), (3,), (1, 2), (2,), (1,)),
    "three axes": Case((1, 2, 3, 2, 3), (2, 2, 2, 3, 2), (2, 1, 2), (0, 1, 0, 0, 1, 1), (0, 0, 1), (1, 1, 1)),
}


def lowered(case: Case, weight: np.ndarray) -> ir.IRModule:
    return lower_transposed_convolution(
        build_module(
            lambda emitter, x: TRANSPOSED[len(case.strides)](
                x,
                constant(weight),
                strides=list(case.strides),
                padding=list(case.pads),
                output_padding=list(case.extra),
                dilation=list(case.dilations),
                groups=case.groups,
            ),
            case.data,
        )
    )


def check(case: Case) -> None:
    data, weight = random_array(*case.data, seed=1), random_array(*case.kernel, seed=2)
    expected = onnx_node(
        "ConvTranspose",
        data,
        weight,
        strides=case.strides,
        pads=case.pads,
        output_padding=case.extra,
        dilations=case.dilations,
        group=case.groups,
    )
    depth = case.kernel[0] // case.groups * int(np.prod(case.kernel[2:]))
    tolerance = float_tolerance(depth, data, weight)
    np.testing.assert_allclose(run(lowered(case, weight), data)[0], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_a_transposed_convolution_computes_what_onnxruntime_does(name: str) -> None:
    check(CASES[name])


@st.composite
def transposed_convolutions(draw: st.DrawFn) -> Case:
    kernel, strides, dilations = (draw(st.tuples(*[st.integers(1, 4)] * 2)) for _ in range(3))
    extra = tuple(draw(st.integers(0, stride - 1)) for stride in strides)
    groups, inputs, outputs = (draw(st.integers(1, 2)) for _ in range(3))
    extents, begins, ends = [], [], []
    for k, s, d, e in zip(kernel, strides, dilations, extra, strict=True):
        extents.append(draw(st.integers(1, 5)))
        full = (extents[-1] - 1) * s + (k - 1) * d + 1 + e
        begins.append(draw(st.integers(0, min(3, full - 1))))
        ends.append(draw(st.integers(0, min(3, full - 1 - begins[-1]))))
    return Case(
        (draw(st.integers(1, 2)), groups * inputs, *extents),
        (groups * inputs, outputs, *kernel),
        strides,
        (*begins, *ends),
        extra,
        dilations,
        groups,
    )


@settings(max_examples=12, deadline=None, derandomize=True)
@given(transposed_convolutions())
def test_any_transposed_convolution_computes_what_onnxruntime_does(case: Case) -> None:
    check(case)


def test_a_kernel_that_the_stride_divides_is_one_product() -> None:
    case = CASES["kernel twice the stride"]
    assert [line.split(" = ")[1] for line in listing(lowered(case, random_array(*case.kernel)))] == [
        "gemm_accel.im2col(x0)",
        "matmul(y#1, const[1, 8, 12])",
        "reshape(y#2, [2, 5, 4, 2, 2, 3])",
        "permute_dims(y#6)",
        "reshape(y#7, [2, 3, 10, 8])",
        "strided_slice(y#8, (T.int64(2)), (T.int64(1)), (T.int64(9)), (T.int64(1)))",
        "strided_slice(y#9, (T.int64(3)), (T.int64(1)), (T.int64(7)), (T.int64(1)))",
    ]


def test_no_product_has_a_zero_that_the_kernel_has_not() -> None:
    case = CASES["phases of unequal windows"]
    text = "\n".join(listing(lowered(case, random_array(*case.kernel))))
    assert [f"const[1, {2 * taps}, 3]" in text for taps in (4, 2, 1)] == [True] * 3
    assert text.count("matmul") == 4
