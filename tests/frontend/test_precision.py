"""Other float types become float32."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nmc.frontend import import_model


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_inputs_weights_and_casts_become_float32(
    dtype: type, build_model: Callable[..., onnx.ModelProto], run: Any
) -> None:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Cast", ["p"], ["q"], to=TensorProto.INT32),
        helper.make_node("Cast", ["q"], ["y"], to=element),
    ]
    x, w = np.arange(6).reshape(2, 3).astype(dtype), np.eye(3).astype(dtype) * 2
    imported = import_model(build_model(nodes, {"x": x}, ["y"], {"w": w}))
    assert {spec.dtype for spec in (*imported.inputs, *imported.outputs)} == {"float32"}
    (got,) = run(imported, {"x": x.astype(np.float32)})
    np.testing.assert_array_equal(got, np.trunc(x @ w).astype(np.float32))


def test_a_double_mask_beyond_float32_stays_finite(
    build_model: Callable[..., onnx.ModelProto], run: Any
) -> None:
    x = np.zeros(2)
    model = build_model(
        [helper.make_node("Add", ["x", "m"], ["y"])], {"x": x}, ["y"], {"m": np.array([-1e300, 1.0])}
    )
    (got,) = run(import_model(model), {"x": x.astype(np.float32)})
    np.testing.assert_array_equal(got, np.array([np.finfo(np.float32).min, 1], np.float32))
