"""Tensors of 8 bits and fewer: casts give what the types themselves and the standard say."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from nmc.backend import CpuBackend

FLOATS = ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT4E2M1")


def cast(values: np.ndarray, name: str, **attributes: object) -> np.ndarray:
    """float32 values cast by a compiled model to the element type of this name, as float32."""
    kind = getattr(onnx.TensorProto, name)
    node = helper.make_node("Cast", ["x"], ["y"], to=kind, **attributes)
    outputs = [(helper.tensor_dtype_to_np_dtype(kind), values.shape)]
    (result,) = CpuBackend.run_node(node, [values], outputs_info=outputs)
    return np.asarray(result).astype(np.float32)


def critical_values(kind: np.dtype) -> np.ndarray:
    """All values of a type of floats, the middles of neighbours, the float32 numbers beside those, and what overflows."""
    size = 2 ** ml_dtypes.finfo(kind).bits
    every = np.arange(size, dtype=np.uint8).view(kind).astype(np.float32)
    values = np.unique(every[np.isfinite(every)])
    middles = (values[:-1] + values[1:]) / np.float32(2)
    beyond = values[-1] * np.linspace(1.0, 1.25, 41, dtype=np.float32)
    points = np.concatenate([values, middles, beyond, -beyond])
    around = [np.nextafter(points, np.float32(side)) for side in (-np.inf, np.inf)]
    return np.concatenate([points, *around, np.float32([np.inf, -np.inf, np.nan])])


@pytest.mark.parametrize("name", FLOATS)
def test_a_saturating_cast_rounds_every_critical_value_as_the_standard_does(name: str) -> None:
    kind = helper.tensor_dtype_to_np_dtype(getattr(onnx.TensorProto, name))
    values = critical_values(kind)
    expected = numpy_helper.saturate_cast(values, kind).astype(np.float32)
    np.testing.assert_array_equal(cast(values, name), expected)


@pytest.mark.parametrize("name", FLOATS[:4])
def test_a_cast_without_saturation_overflows_as_the_type_does(name: str) -> None:
    kind = helper.tensor_dtype_to_np_dtype(getattr(onnx.TensorProto, name))
    values = critical_values(kind)
    expected = values.astype(kind).astype(np.float32)
    np.testing.assert_array_equal(cast(values, name, saturate=0), expected)


@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
def test_scales_are_rounded_to_powers_of_two(mode: str) -> None:
    values = np.random.default_rng(0).lognormal(0.0, 20.0, 500).astype(np.float32)
    values = np.concatenate(
        [values, np.exp2(np.arange(-126, 128)).astype(np.float32), np.float32([0, np.nan])]
    )
    expected = numpy_helper.to_float8e8m0(values, round_mode=mode).astype(np.float32)
    np.testing.assert_array_equal(cast(values, "FLOAT8E8M0", round_mode=mode), expected)


@pytest.mark.parametrize("name", ["INT4", "UINT4", "INT2", "UINT2"])
def test_integers_of_few_bits_keep_their_lowest_bits(name: str) -> None:
    kind = helper.tensor_dtype_to_np_dtype(getattr(onnx.TensorProto, name))
    values = np.arange(-20, 20, dtype=np.float32)
    expected = values.astype(kind).astype(np.float32)
    np.testing.assert_array_equal(cast(values, name), expected)


def test_moves_keep_the_type_that_casts_like_it_ask_for() -> None:
    """The cast to float32 of what is carried by float32 is a tensor of another type."""
    model = parser.parse_model(
        """<ir_version: 12, opset_import: ["" : 24]>
        g (float[2, 3] x, float8e5m2[3, 2] low) => (float8e5m2[2, 3] y, float[2, 3] z) {
            turned = Transpose<perm = [1, 0]>(low)
            y = CastLike(x, turned)
            wide = Cast<to = 1>(turned)
            z = CastLike(x, wide)
        }"""
    )
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    y, z = CpuBackend.prepare(model).run([x, np.ones((3, 2), ml_dtypes.float8_e5m2)])
    np.testing.assert_array_equal(y, x.astype(ml_dtypes.float8_e5m2))
    np.testing.assert_array_equal(z, x)
