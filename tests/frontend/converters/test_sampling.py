"""Sampling between elements, maxima with their indices, and determinants, against onnxruntime or numpy."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from nmc.errors import UnsupportedOperatorError
from nmc.frontend import ImportedModel, import_model

Check = Callable[..., Any]
rng = np.random.default_rng(20240907)


def floats(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def test_deformable_convolution_samples_by_group_and_outside_the_image(
    build_model: Callable[..., onnx.ModelProto],
    run: Callable[[ImportedModel, Mapping[str, np.ndarray]], list[np.ndarray]],
    assert_close: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], None],
) -> None:
    feeds = {
        "x": floats(2, 4, 5, 6),
        "w": floats(6, 2, 2, 3),
        "offset": floats(2, 2 * 2 * 6, 5, 3) * 2,
        "bias": floats(6),
        "mask": floats(2, 2 * 6, 5, 3),
    }
    node = helper.make_node(
        "DeformConv", list(feeds), ["y"], group=2, offset_group=2, pads=[1, 1, 0, 1], strides=[1, 2]
    )
    model = build_model([node], feeds, ["y"], opset=19)
    wanted = ReferenceEvaluator(model).run(None, feeds)
    assert_close(wanted, run(import_model(model), feeds))


@pytest.mark.parametrize("attributes", [{}, {"mode": "max", "sampling_ratio": 2}])
def test_regions_known_while_compiling_overlap_the_edge_and_lie_in_two_images(
    agrees_with_onnxruntime: Check, attributes: dict[str, Any]
) -> None:
    regions = np.array([[0, 0, 7, 5], [2.2, 1.1, 4, 9], [5, 5, 5.5, 5.2]], np.float32)
    constants = {1: regions, 2: np.array([0, 1, 1], np.int64)}
    sizes = {"output_height": 2, "output_width": 3, "spatial_scale": 0.9}
    agrees_with_onnxruntime("RoiAlign", [floats(2, 3, 6, 8)], constants, **sizes, **attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 0, 1]},
        {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1, "storage_order": 1},
        {"kernel_shape": [2, 2], "dilations": [2, 1], "auto_pad": "NOTSET"},
    ],
)
def test_pooling_tells_where_the_maxima_are(
    agrees_with_onnxruntime: Check, attributes: dict[str, Any]
) -> None:
    agrees_with_onnxruntime("MaxPool", [floats(2, 3, 5, 6)], outputs=2, **attributes)


def test_values_return_to_their_indices_in_a_larger_output(
    build_model: Callable[..., onnx.ModelProto],
    run: Callable[[ImportedModel, Mapping[str, np.ndarray]], list[np.ndarray]],
) -> None:
    feeds = {"x": floats(1, 1, 2, 2)}
    fixed = {"places": np.array([[[[5, 7], [13, 15]]]], np.int64), "shape": np.array([1, 1, 5, 5], np.int64)}
    node = helper.make_node("MaxUnpool", ["x", *fixed], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    model = build_model([node], feeds, ["y"], fixed)
    wanted = np.zeros((1, 1, 5, 5), np.float32)
    wanted[0, 0, 1:4:2, 1:4:2] = feeds["x"][0, 0]
    np.testing.assert_array_equal(run(import_model(model), feeds)[0], wanted)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_determinant_needs_no_division(agrees_with_onnxruntime: Check, size: int) -> None:
    agrees_with_onnxruntime("Det", [floats(2, 3, size, size)])


def test_large_determinant_is_refused_by_its_size(build_model: Callable[..., onnx.ModelProto]) -> None:
    model = build_model([helper.make_node("Det", ["x"], ["y"], name="volume")], {"x": floats(40, 40)}, ["y"])
    with pytest.raises(UnsupportedOperatorError, match="Det 'volume': has 40 rows; up to 12"):
        import_model(model)


def test_remainder_by_infinity_has_the_sign_of_the_divisor(
    build_model: Callable[..., onnx.ModelProto],
    run: Callable[[ImportedModel, Mapping[str, np.ndarray]], list[np.ndarray]],
) -> None:
    feeds = {
        "a": np.array([3, -3, 3, -3, 5], np.float32),
        "b": np.array([np.inf, np.inf, -np.inf, -np.inf, -3], np.float32),
    }
    model = build_model([helper.make_node("Mod", ["a", "b"], ["y"])], feeds, ["y"], opset=26)
    np.testing.assert_array_equal(run(import_model(model), feeds)[0], np.mod(feeds["a"], feeds["b"]))


def test_filters_of_a_spectrum_need_their_sizes(build_model: Callable[..., onnx.ModelProto]) -> None:
    names = ["bins", "length", "rate", "lowest", "highest"]
    feeds = {name: np.array(8, np.int64) for name in names[:3]} | {
        name: np.array(1, np.float32) for name in names[3:]
    }
    model = build_model([helper.make_node("MelWeightMatrix", names, ["y"], name="mel")], feeds, ["y"])
    with pytest.raises(UnsupportedOperatorError, match=r"--bind bins=FILE\.npy"):
        import_model(model)
