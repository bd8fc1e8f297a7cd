"""Where precision is lost, layer by layer."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nmc.compiler import compile_model
from nmc.layers import measure_layers
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
    assert layers[0].step == "linearisation"
    assert layers[1].step == "quantisation"
    assert layers[1].linearised.max_abs == 0.0
