"""Small ONNX models that the command line's tests compile."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
Extents = Sequence[int | str]


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Extents],
    outputs: dict[str, Extents],
    **weights,
) -> Path:
    """Writes a float model of these nodes; `weights` are its constants."""
    graph = helper.make_graph(
        list(nodes),
        path.stem,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9), path)
    return path


def save_perceptron(path: Path, batch: int | str = 1) -> Path:
    """y = sigmoid(x·w + b), x [batch, 8], y [batch, 16]: one gemm and one table, nothing on the CPU."""
    generator = np.random.default_rng(0)
    return save(
        path,
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["t"], "dense"),
            helper.make_node("Sigmoid", ["t"], ["y"], "act"),
        ],
        {"x": [batch, 8]},
        {"y": [batch, 16]},
        w=0.3 * generator.standard_normal((8, 16), np.float32),
        b=generator.standard_normal(16, np.float32),
    )


def save_convolution(path: Path) -> Path:
    """y = relu(conv(x)), x [1, 3, 8, 8], a padded 3x3 convolution to 5 channels."""
    weights = np.random.default_rng(1).standard_normal((5, 3, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["t"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["t"], ["y"], "act"),
    ]
    return save(path, nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 5, 8, 8]}, w=weights)


def save_with_fallback(path: Path) -> Path:
    """A gemm, a sort that only the CPU can do, and another gemm on the sorted values; x [1, 8], y [1, 4]."""
    generator = np.random.default_rng(2)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["t"], "first"),
        helper.make_node("TopK", ["t", "k"], ["v", "i"], "sort"),
        helper.make_node("MatMul", ["v", "w2"], ["y"], "second"),
    ]
    weights = {
        "w1": generator.standard_normal((8, 8), np.float32),
        "w2": generator.standard_normal((4, 4), np.float32),
        "k": np.array([4], np.int64),
    }
    return save(path, nodes, {"x": [1, 8]}, {"y": [1, 4]}, **weights)


def save_samples(path: Path, samples: int = 6, **shapes: Sequence[int]) -> Path:
    """Standard normal samples of inputs of these shapes."""
    generator = np.random.default_rng(3)
    np.savez(
        path,
        **{name: generator.standard_normal((samples, *shape), np.float32) for name, shape in shapes.items()},
    )
    return path
