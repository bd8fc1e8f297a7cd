"""Where precision is lost, layer by layer."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nmc.compiler import compile_model
from nmc.layers import OPERANDS, RANGE, SATURATION, STEP_SIZE, TABLE, measure_layers
from nmc.options import Options

SHAPE = [1, 4, 16]


def model_of(nodes: list[onnx.NodeProto], **weights: np.ndarray) -> onnx.ModelProto:
    """A model from x to y, both of SHAPE."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "layers", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_coarse_table_is_named_as_the_step_that_lost_most() -> None:
    generator = np.random.default_rng(0)
    w = generator.standard_normal((16, 16)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
        helper.make_node("Sigmoid", ["a"], ["y"], name="gate"),
    ]
    samples = generator.standard_normal((3, *SHAPE)).astype(np.float32)
    options = Options(calibration={"x": samples}, pwl_segments=4)
    compilation = compile_model(model_of(nodes, w=w), options)
    layers = measure_layers(compilation, [{"x": sample} for sample in samples])
    assert [layer.layer for layer in layers] == ["gate", "product"]
    assert (layers[0].step, layers[0].cause) == ("linearisation", TABLE)
    assert layers[1].step == "quantisation"
    assert layers[1].linearised.max_abs == 0.0


def cause_of_product(w: np.ndarray, seen: np.ndarray, data: np.ndarray) -> str:
    """Why x·w differs on `data` after calibration on `seen`. The model goes on, because what it returns is wide."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
        helper.make_node("MatMul", ["a", "w"], ["y"], name="next"),
    ]
    compilation = compile_model(model_of(nodes, w=w.astype(np.float32)), Options(calibration={"x": seen}))
    layers = measure_layers(compilation, [{"x": sample} for sample in data])
    (cause,) = (layer.cause for layer in layers if layer.layer == "product")
    return cause


def test_a_step_is_too_large_for_all_values_or_made_so_by_a_few() -> None:
    """Sums of sixteen positive numbers have sixteen times their step, and four times their noise."""
    generator = np.random.default_rng(1)
    positive = generator.uniform(0.0, 1.0, (3, *SHAPE)).astype(np.float32)
    sums = 1.0 + 0.01 * generator.standard_normal((16, 16))
    assert cause_of_product(sums, positive, positive) == STEP_SIZE
    samples = generator.standard_normal((3, *SHAPE)).astype(np.float32)
    weights = generator.standard_normal((16, 16)) * np.r_[1000.0, np.ones(15)]
    assert cause_of_product(weights, samples, samples) == RANGE


def test_values_beyond_what_calibration_saw_saturate() -> None:
    """Rows that sum to almost nothing are seen, rows of ones come: the inputs stay in their range, the sums do not."""
    generator = np.random.default_rng(1)
    w = 1.0 + 0.01 * generator.standard_normal((16, 16))
    seen = generator.uniform(-1.0, 1.0, (3, *SHAPE)).astype(np.float32)
    seen -= seen.mean(axis=-1, keepdims=True)
    assert cause_of_product(w, seen, np.full((3, *SHAPE), 0.9, np.float32)) == SATURATION


def test_a_product_that_a_bias_is_added_to_is_not_compared_before_it() -> None:
    """Its integers are those of the sum."""
    generator = np.random.default_rng(1)
    w, bias = generator.standard_normal((16, 16)), np.full(16, 5.0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
        helper.make_node("Add", ["a", "bias"], ["b"], name="sum"),
        helper.make_node("Relu", ["b"], ["y"], name="act"),
    ]
    samples = generator.standard_normal((3, *SHAPE)).astype(np.float32)
    model = model_of(nodes, w=w.astype(np.float32), bias=bias.astype(np.float32))
    layers = measure_layers(
        compile_model(model, Options(calibration={"x": samples})), [{"x": s} for s in samples]
    )
    assert all(layer.snr_db > 60.0 for layer in layers)


def test_a_layer_without_a_table_lost_what_earlier_layers_did() -> None:
    generator = np.random.default_rng(0)
    w = generator.standard_normal((16, 16)).astype(np.float32)
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["a"], name="gate"),
        helper.make_node("MatMul", ["a", "w"], ["y"], name="product"),
    ]
    samples = generator.standard_normal((3, *SHAPE)).astype(np.float32)
    compilation = compile_model(model_of(nodes, w=w), Options(calibration={"x": samples}, pwl_segments=4))
    layers = measure_layers(compilation, [{"x": sample} for sample in samples])
    assert {layer.layer: (layer.place, layer.cause) for layer in layers} == {
        "gate": (0, TABLE),
        "product": (1, OPERANDS),
    }


def test_the_noise_of_a_layer_alone_is_that_of_its_rounding_and_a_move_has_none() -> None:
    """A product of sums far from zero rounds to steps of 2^-15 of twice the largest value: noise is a twelfth of a step²."""
    generator = np.random.default_rng(2)
    samples = generator.uniform(0.5, 1.0, (3, *SHAPE)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1], name="turned"),
        helper.make_node("MatMul", ["b", "v"], ["y"], name="next"),
    ]
    weights = {"w": np.eye(16, dtype=np.float32), "v": np.ones((4, 16), np.float32)}
    model = model_of(nodes, **weights)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 16
    compilation = compile_model(model, Options(calibration={"x": samples}))
    layers = {each.layer: each for each in measure_layers(compilation, [{"x": sample} for sample in samples])}
    product = compilation.tensors["product"].scale
    expected = 10 * np.log10((samples**2).mean() / (product**2 / 12))
    np.testing.assert_allclose(layers["product"].own_db, expected, atol=0.01)
    assert layers["turned"].own_db is None
