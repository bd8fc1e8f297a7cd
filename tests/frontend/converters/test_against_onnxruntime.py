"""Each family of converters gives onnxruntime's values, in the corners where importers go wrong silently."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Check = Callable[..., Any]
rng = np.random.default_rng(20240607)


def floats(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    "attributes",
    [
        {"ceil_mode": 1},
        {"ceil_mode": 1, "pads": [1, 1, 1, 1], "count_include_pad": 1},
        {"pads": [0, 1, 1, 0], "count_include_pad": 0},
        {"auto_pad": "SAME_LOWER"},
        {"dilations": [2, 1], "pads": [1, 0, 1, 0]},
    ],
)
@pytest.mark.parametrize("operator", ["AveragePool", "MaxPool"])
def test_pooling(agrees_with_onnxruntime: Check, operator: str, attributes: dict[str, Any]) -> None:
    if operator == "MaxPool":
        attributes = {key: value for key, value in attributes.items() if key != "count_include_pad"}
    agrees_with_onnxruntime(
        operator, [floats(1, 2, 8, 7)], opset=19, kernel_shape=[3, 2], strides=[2, 2], **attributes
    )


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((1, 4, 9), (6, 2, 3), {"group": 2, "strides": [2], "pads": [1, 0]}),
        ((1, 4, 9, 8), (4, 1, 3, 3), {"group": 4, "strides": [2, 3], "auto_pad": "SAME_UPPER"}),
        ((1, 2, 4, 5, 6), (3, 2, 2, 3, 1), {"pads": [0, 1, 0, 1, 1, 0]}),
    ],
)
def test_convolution(
    agrees_with_onnxruntime: Check, shape: Any, weight: Any, attributes: dict[str, Any]
) -> None:
    agrees_with_onnxruntime(
        "Conv", [floats(*shape)], {1: floats(*weight), 2: floats(weight[0])}, **attributes
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
        {"strides": [3, 2], "output_shape": [13, 11]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"dilations": [2, 2], "strides": [2, 1]},
    ],
)
@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolution(
    agrees_with_onnxruntime: Check, group: int, attributes: dict[str, Any]
) -> None:
    constants = {1: floats(4, 3, 3, 2), 2: floats(3 * group)}
    agrees_with_onnxruntime("ConvTranspose", [floats(1, 4, 5, 6)], constants, group=group, **attributes)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_before_operator_set_13_flattens(agrees_with_onnxruntime: Check, axis: int) -> None:
    agrees_with_onnxruntime("Softmax", [floats(2, 3, 4)], opset=11, axis=axis)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_gemm_scales_products_and_bias(agrees_with_onnxruntime: Check, alpha: float) -> None:
    constants = {1: floats(5, 3), 2: floats(1, 5)}
    agrees_with_onnxruntime("Gemm", [floats(3, 4)], constants, alpha=alpha, beta=0.25, transA=1, transB=1)


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize(
    "operator", ["ReduceSum", "ReduceMax", "ReduceMean", "ReduceL2", "ReduceLogSumExp", "ReduceProd"]
)
def test_reductions_over_all_axes_and_negative_ones(
    agrees_with_onnxruntime: Check, operator: str, keep: int
) -> None:
    agrees_with_onnxruntime(operator, [floats(2, 3, 4)], keepdims=keep)
    agrees_with_onnxruntime(operator, [floats(2, 3, 4)], {1: ints(-1, 0)}, keepdims=keep)


def test_layer_normalisation_returns_its_statistics(agrees_with_onnxruntime: Check) -> None:
    constants = {1: floats(3, 4), 2: floats(3, 4)}
    agrees_with_onnxruntime("LayerNormalization", [floats(2, 3, 4)], constants, outputs=3, opset=17, axis=1)


@pytest.mark.parametrize("training", [0, 1])
def test_batch_normalisation_in_both_modes(agrees_with_onnxruntime: Check, training: int) -> None:
    constants = {1: floats(3), 2: floats(3), 3: floats(3), 4: np.abs(floats(3))}
    outputs = 3 if training else 1
    x = [floats(2, 3, 4, 5)]
    agrees_with_onnxruntime(
        "BatchNormalization", x, constants, outputs=outputs, opset=15, training_mode=training
    )


@pytest.mark.parametrize(
    ("operator", "groups"), [("InstanceNormalization", {}), ("GroupNormalization", {"num_groups": 2})]
)
def test_normalisation_by_groups(
    agrees_with_onnxruntime: Check, operator: str, groups: dict[str, int]
) -> None:
    agrees_with_onnxruntime(operator, [floats(2, 4, 3, 5)], {1: floats(4), 2: floats(4)}, opset=21, **groups)


def test_local_response_normalisation(agrees_with_onnxruntime: Check) -> None:
    agrees_with_onnxruntime("LRN", [floats(2, 7, 3, 3)], size=3, alpha=0.5, beta=0.6, bias=2.0)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_padding_modes(agrees_with_onnxruntime: Check, mode: str) -> None:
    agrees_with_onnxruntime("Pad", [floats(2, 4, 5)], {1: ints(0, 2, 1, 0, 3, 2)}, opset=19, mode=mode)


def test_negative_padding_crops(agrees_with_onnxruntime: Check) -> None:
    constants = {1: ints(-1, 2, 0, -1), 2: np.float32(1.5)}
    agrees_with_onnxruntime("Pad", [floats(4, 5)], constants)


def test_slices_backwards_and_out_of_bounds(agrees_with_onnxruntime: Check) -> None:
    constants = {1: ints(-1, 1), 2: ints(-1000, 1000), 3: ints(1, 0), 4: ints(-2, 2)}
    agrees_with_onnxruntime("Slice", [floats(6, 7)], constants)


@pytest.mark.parametrize("given", ["constant", "input"])
def test_gather_counts_negative_indices_from_the_end(agrees_with_onnxruntime: Check, given: str) -> None:
    indices = ints([0, -1], [2, -3])
    if given == "constant":
        agrees_with_onnxruntime("Gather", [floats(3, 4)], {1: indices}, axis=1)
    else:
        agrees_with_onnxruntime("Gather", [floats(3, 4), indices], axis=1)


@pytest.mark.parametrize(
    "bounds", [{}, {1: np.float32(-0.5)}, {2: np.float32(0.5)}, {1: np.float32(0), 2: np.float32(6)}]
)
def test_clip_with_missing_bounds(agrees_with_onnxruntime: Check, bounds: dict[int, Any]) -> None:
    agrees_with_onnxruntime("Clip", [floats(3, 4) * 5], bounds)


@pytest.mark.parametrize(
    "operator",
    [
        "Elu",
        "Selu",
        "Celu",
        "Softplus",
        "Mish",
        "HardSigmoid",
        "HardSwish",
        "Softsign",
        "ThresholdedRelu",
        "Shrink",
        "LeakyRelu",
    ],
)
def test_activations_where_exponentials_would_overflow(agrees_with_onnxruntime: Check, operator: str) -> None:
    agrees_with_onnxruntime(operator, [np.linspace(-120, 120, 97, dtype=np.float32)], opset=18)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(agrees_with_onnxruntime: Check, approximate: str) -> None:
    agrees_with_onnxruntime("Gelu", [floats(5, 6) * 3], opset=20, approximate=approximate)


@pytest.mark.parametrize("slope", [(1,), (3, 1, 1), (2, 3, 4, 5)])
def test_prelu_with_slopes_of_any_shape(agrees_with_onnxruntime: Check, slope: tuple[int, ...]) -> None:
    agrees_with_onnxruntime("PRelu", [floats(2, 3, 4, 5)], {1: floats(*slope)})


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -1.0, 1.7])
def test_powers(agrees_with_onnxruntime: Check, exponent: float) -> None:
    agrees_with_onnxruntime("Pow", [np.abs(floats(3, 4)) + 0.1], {1: np.float32(exponent)})


def test_remainders_follow_the_divisor_or_the_dividend(agrees_with_onnxruntime: Check) -> None:
    a, b = ints(-7, 7, -7, 7), ints(3, -3, -3, 3)
    agrees_with_onnxruntime("Mod", [a, b])
    agrees_with_onnxruntime("Mod", [a, b], fmod=1)
    agrees_with_onnxruntime("Mod", [floats(20) * 7, np.abs(floats(20)) + 1], fmod=1)


def test_integer_division_truncates(agrees_with_onnxruntime: Check) -> None:
    agrees_with_onnxruntime("Div", [ints(-7, 7, -7, 7), ints(2, -2, -2, 2)])


@pytest.mark.parametrize(
    "equation", ["bij,bjk->bik", "ij,jk", "bhwc,hkc->bhwk", "ii->i", "...ij->...ji", "ij->", "bi,bi->b"]
)
def test_einsum(agrees_with_onnxruntime: Check, equation: str) -> None:
    shapes = {"b": 2, "i": 3, "j": 4, "k": 5, "h": 6, "w": 3, "c": 4, ".": 2}
    terms = equation.split("->")[0].replace("...", ".").split(",")
    operands = [floats(*(shapes[letter] for letter in term)) for term in terms]
    agrees_with_onnxruntime("Einsum", operands, equation=equation)


@pytest.mark.parametrize("transform", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize(agrees_with_onnxruntime: Check, mode: str, transform: str) -> None:
    for sizes in (ints(1, 2, 7, 9), ints(1, 2, 3, 2)):
        x, constants = [floats(1, 2, 4, 5)], {3: sizes}
        agrees_with_onnxruntime("Resize", x, constants, mode=mode, coordinate_transformation_mode=transform)
    scales = {2: np.array([1, 1, 0.6, 0.6], np.float32)}
    agrees_with_onnxruntime("Resize", x, scales, mode=mode, coordinate_transformation_mode=transform)


def test_upsample_by_whole_numbers(agrees_with_onnxruntime: Check) -> None:
    scales = np.array([1, 1, 2, 3], np.float32)
    agrees_with_onnxruntime("Upsample", [floats(1, 2, 3, 4)], {1: scales}, opset=9, mode="nearest")


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("operator", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent_layers(agrees_with_onnxruntime: Check, operator: str, gates: int, direction: str) -> None:
    ways, hidden, size, batch, time = 2 if direction == "bidirectional" else 1, 5, 3, 2, 4
    constants = {
        1: floats(ways, gates * hidden, size),
        2: floats(ways, gates * hidden, hidden),
        3: floats(ways, 2 * gates * hidden),
        4: np.array([4, 2], np.int32),
        5: floats(ways, batch, hidden),
    }
    extra = {"linear_before_reset": 1} if operator == "GRU" else {}
    outputs = 3 if operator == "LSTM" else 2
    x = [floats(time, batch, size)]
    agrees_with_onnxruntime(
        operator, x, constants, outputs=outputs, hidden_size=hidden, direction=direction, **extra
    )


def test_gru_resets_before_the_product(agrees_with_onnxruntime: Check) -> None:
    constants = {1: floats(1, 15, 3), 2: floats(1, 15, 5), 3: floats(1, 30)}
    agrees_with_onnxruntime("GRU", [floats(4, 2, 3)], constants, outputs=2, hidden_size=5)


@pytest.mark.parametrize(("reverse", "exclusive"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_cumulative_sums(agrees_with_onnxruntime: Check, dtype: type, reverse: int, exclusive: int) -> None:
    x = [(floats(3, 4, 5) * 8).astype(dtype)]
    agrees_with_onnxruntime("CumSum", x, {1: np.int64(1)}, reverse=reverse, exclusive=exclusive)


def test_scatter_into_part_of_the_other_axes(agrees_with_onnxruntime: Check) -> None:
    constants = {1: ints([0, 2], [1, -1]), 2: floats(2, 2)}
    agrees_with_onnxruntime("ScatterElements", [floats(4, 3)], constants, axis=1)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(agrees_with_onnxruntime: Check, mode: str) -> None:
    agrees_with_onnxruntime("DepthToSpace", [floats(1, 8, 2, 3)], blocksize=2, mode=mode)


def test_fourier_transform_of_a_real_signal(agrees_with_onnxruntime: Check) -> None:
    agrees_with_onnxruntime("DFT", [floats(2, 16, 1)], opset=17, axis=1, onesided=1)


def test_quantise_and_dequantise_by_channel(agrees_with_onnxruntime: Check) -> None:
    scale, zero = np.array([0.1, 0.2, 0.3], np.float32), np.array([1, 0, -2], np.int8)
    agrees_with_onnxruntime("QuantizeLinear", [floats(2, 3, 4) * 20], {1: scale, 2: zero}, axis=1)
    integers = rng.integers(-128, 127, (2, 3, 4)).astype(np.int8)
    agrees_with_onnxruntime("DequantizeLinear", [integers], {1: scale, 2: zero}, axis=1)


@pytest.mark.parametrize(
    "divisor", [np.zeros((), np.float32), np.array([0, -0.0, 2], np.float32)], ids=["one", "some"]
)
def test_division_by_the_constant_zero(agrees_with_onnxruntime: Check, divisor: np.ndarray) -> None:
    agrees_with_onnxruntime("Div", [np.array([-1, 3, 0.5], np.float32)], {1: divisor})
