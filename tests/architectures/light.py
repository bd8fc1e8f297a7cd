"""The ONNX project's `light` image networks, whose weights are left out of the files, with seeded ones."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.architectures.writer import Architecture

DIRECTORY = Path(onnx.__file__).parent / "backend/test/data/light"
IMAGE = (1, 3, 224, 224)
LIGHT = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)


def light(name: str, samples: int = 2) -> Architecture:
    """One of LIGHT, for images of 224 × 224; all samples calibrate and the last tests."""
    graph = onnx.load(DIRECTORY / f"light_{name}.onnx").graph
    generator = np.random.default_rng(list(name.encode()))
    shapes = _shapes(graph)
    constants = [item for item in graph.initializer if item.data_type != TensorProto.FLOAT]
    for parameter, shape in shapes.items():
        array = _seeded(generator, _uses(graph, parameter), shape)
        constants.append(numpy_helper.from_array(array.astype(np.float32), parameter))
    (image,) = [item for item in graph.input if _extents(item) == IMAGE]
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    made = helper.make_graph(nodes, name, [image], list(graph.output), constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    data = {image.name: generator.standard_normal((samples, *IMAGE)).astype(np.float32)}
    return Architecture(model, data, {image.name: data[image.name][-1:]})


def _extents(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """The shapes of all parameters by name: those stored, and those that the file fills with one value."""
    stored = {item.name: item for item in graph.initializer}
    shapes = {name: tuple(item.dims) for name, item in stored.items() if item.data_type == TensorProto.FLOAT}
    filled = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    return shapes | {
        node.output[0]: tuple(int(extent) for extent in numpy_helper.to_array(stored[node.input[0]]))
        for node in filled
    }


def _uses(graph: onnx.GraphProto, parameter: str) -> Sequence[tuple[str, int]]:
    """The operators that read a parameter, each with the index of the input; through reshapes to their readers."""
    uses: list[tuple[str, int]] = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == parameter and node.op_type in ("Unsqueeze", "Reshape"):
                uses += _uses(graph, node.output[0])
            elif name == parameter:
                uses.append((node.op_type, index))
    return uses


def _seeded(
    generator: np.random.Generator, uses: Sequence[tuple[str, int]], shape: tuple[int, ...]
) -> np.ndarray:
    """Weights that keep the variance of what a ReLU passes on, factors and variances around 1, the rest around 0."""
    if ("Conv", 1) in uses or ("Gemm", 1) in uses:
        return generator.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
    if ("BatchNormalization", 4) in uses:
        return generator.uniform(0.5, 1.5, shape)
    factor = ("BatchNormalization", 1) in uses or any(operator == "Mul" for operator, _ in uses)
    return generator.normal(1 if factor else 0, 0.1, shape)
