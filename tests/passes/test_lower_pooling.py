"""Pooling as trees of maxima and as depthwise products, against onnxruntime and numpy."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tvm import ir, relax

from passes.lower_pooling import lower_pooling
from passes.lower_reductions import lower_reductions
from passes.rewrite import bindings_of, callee_name
from tests.passes.oracle import float_tolerance, onnx_node
from tests.passes.support import build_module, listing, random_array, run

MAXIMUM = {1: relax.op.nn.max_pool1d, 2: relax.op.nn.max_pool2d, 3: relax.op.nn.max_pool3d}
AVERAGE = {1: relax.op.nn.avg_pool1d, 2: relax.op.nn.avg_pool2d, 3: relax.op.nn.avg_pool3d}
ADAPTIVE = {
    1: relax.op.nn.adaptive_avg_pool1d,
    2: relax.op.nn.adaptive_avg_pool2d,
    3: relax.op.nn.adaptive_avg_pool3d,
}


@dataclass(frozen=True)
class Case:
    """A pooling: the shape of the data [N, C, ...] and its attributes."""

    data: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil: bool = False


CASES = {
    "two by two": Case((2, 3, 6, 8), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
    "overlapping and padded": Case((1, 2, 9, 8), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    "long windows of stride one": Case((1, 2, 9, 8), (7, 5), (1, 1), (3, 2, 3, 2), (1, 1)),
    "uneven padding, last windows cut": Case((1, 3, 8, 7), (3, 2), (2, 3), (1, 0, 0, 1), (1, 1), ceil=True),
    "elements after the last window": Case((1, 3, 9, 8), (2, 3), (3, 3), (0, 0, 0, 0), (1, 1)),
    "one axis": Case((2, 3, 11), (4,), (3,), (2, 1), (1,)),
    "three axes": Case((1, 2, 5, 4, 6), (2, 3, 2), (1, 2, 2), (0, 1, 0, 1, 1, 0), (1, 1, 1)),
}


def lowered(operators: dict, case: Case, **attributes: bool) -> ir.IRModule:
    return lower_pooling(
        build_module(
            lambda emitter, x: operators[len(case.kernel)](
                x,
                pool_size=list(case.kernel),
                strides=list(case.strides),
                padding=list(case.pads),
                dilation=list(case.dilations),
                ceil_mode=case.ceil,
                **attributes,
            ),
            case.data,
        )
    )


def check_maximum(case: Case) -> None:
    data = random_array(*case.data, seed=1)
    expected = onnx_node(
        "MaxPool",
        data,
        kernel_shape=case.kernel,
        strides=case.strides,
        pads=case.pads,
        dilations=case.dilations,
        ceil_mode=int(case.ceil),
    )
    result = run(lowered(MAXIMUM, case), data)[0]
    np.testing.assert_array_equal(result, expected)


def check_average(case: Case, include: bool) -> None:
    data = random_array(*case.data, seed=1)
    expected = onnx_node(
        "AveragePool",
        data,
        kernel_shape=case.kernel,
        strides=case.strides,
        pads=case.pads,
        ceil_mode=int(case.ceil),
        count_include_pad=int(include),
        opset=19,
    )
    result = run(lowered(AVERAGE, case, count_include_pad=include), data)[0]
    taps = int(np.prod(case.kernel))
    # sums of `taps` elements over at least one of them, and one more product
    tolerance = float_tolerance(taps, data) + 2.0**-22 * float(np.abs(data).max()) * taps
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_max_pooling_computes_what_onnxruntime_does_exactly(name: str) -> None:
    check_maximum(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_average_pooling_without_padding_in_the_count_computes_what_onnxruntime_does(name: str) -> None:
    check_average(CASES[name], include=False)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.ceil])
def test_average_pooling_with_padding_in_the_count_computes_what_onnxruntime_does(name: str) -> None:
    check_average(CASES[name], include=True)


@st.composite
def poolings(draw: st.DrawFn) -> Case:
    kernel = draw(st.tuples(*[st.integers(1, 5)] * 2))
    strides, dilations = (draw(st.tuples(*[st.integers(1, 3)] * 2)) for _ in range(2))
    pads = tuple(draw(st.integers(0, k - 1)) for k in kernel * 2)
    extents = [
        max(d * (k - 1) + 1 - a - b, 1) + draw(st.integers(0, 5))
        for k, d, a, b in zip(kernel, dilations, pads[:2], pads[2:], strict=True)
    ]
    return Case((1, 2, *extents), kernel, strides, pads, dilations)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(poolings())
def test_any_max_pooling_computes_what_onnxruntime_does_exactly(case: Case) -> None:
    # a window that holds no element at all has no maximum and stays on the host
    assume(not any("max_pool" in line for line in listing(lowered(MAXIMUM, case))))
    check_maximum(case)


def test_a_window_of_padding_alone_leaves_the_pooling_alone() -> None:
    module = lowered(MAXIMUM, Case((1, 1, 1), (2,), (1,), (1, 2), (2,)))
    assert callee_name(module, bindings_of(module["main"])[0].value) == "relax.nn.max_pool1d"


def test_a_maximum_of_two_by_two_is_one_of_columns_and_one_of_rows() -> None:
    assert listing(lowered(MAXIMUM, CASES["two by two"])) == [
        "y#1 = strided_slice(x0, (T.int64(2)), (T.int64(0)), (T.int64(5)), (T.int64(2)))",
        "y#2 = strided_slice(x0, (T.int64(2)), (T.int64(1)), (T.int64(6)), (T.int64(2)))",
        "y#3 = maximum(y#1, y#2)",
        "y#4 = strided_slice(y#3, (T.int64(3)), (T.int64(0)), (T.int64(7)), (T.int64(2)))",
        "y#5 = strided_slice(y#3, (T.int64(3)), (T.int64(1)), (T.int64(8)), (T.int64(2)))",
        "y = maximum(y#4, y#5)",
    ]


def test_a_window_of_stride_one_needs_maxima_in_number_like_its_logarithm() -> None:
    case = Case((1, 1, 40), (13,), (1,), (6, 6), (1,))
    assert sum("maximum" in line for line in listing(lowered(MAXIMUM, case))) == 4


def test_an_average_is_a_depthwise_product_with_a_constant_column() -> None:
    assert listing(lowered(AVERAGE, CASES["two by two"])) == [
        "y#1 = gemm_accel.im2col(x0)",
        "y#2 = matmul(y#1, const[3, 4, 1])",
        "y#3 = reshape(y#2, [3, 2, 3, 4, 1])",
        "y#4 = permute_dims(y#3)",
        "y = reshape(y#4, [2, 3, 3, 4])",
    ]


@pytest.mark.parametrize("output", [(1, 1), (2, 3), (3, 4), (5, 1)])
def test_adaptive_average_pooling_averages_between_the_floors_and_ceilings(output: tuple[int, int]) -> None:
    data = random_array(2, 3, 6, 9, seed=2)
    module = lower_reductions(
        lower_pooling(build_module(lambda emitter, x: ADAPTIVE[2](x, output_size=list(output)), data.shape))
    )
    edges = [
        [(i * s // o, -(-(i + 1) * s // o)) for i in range(o)]
        for s, o in zip(data.shape[2:], output, strict=True)
    ]
    expected = np.array(
        [
            [data[:, :, a:b, c:d].astype(np.float64).mean(axis=(2, 3)) for c, d in edges[1]]
            for a, b in edges[0]
        ]
    ).transpose(2, 3, 0, 1)
    np.testing.assert_allclose(run(module, data)[0], expected, rtol=0, atol=float_tolerance(54, data) / 54)
    assert not any("pool" in line for line in listing(module))


def test_channels_last_data_are_pooled_along_their_spatial_axes() -> None:
    data = random_array(1, 6, 4, 3, seed=3)
    module = lower_pooling(
        build_module(
            lambda emitter, x: relax.op.nn.max_pool2d(x, pool_size=[2, 2], strides=[2, 2], layout="NHWC"),
            data.shape,
        )
    )
    expected = data.reshape(1, 3, 2, 2, 2, 3).max(axis=(2, 4))
    np.testing.assert_array_equal(run(module, data)[0], expected)
