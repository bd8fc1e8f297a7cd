"""What onnxruntime computes for one ONNX node: the reference that does not share code with TVM or nmc."""

from typing import Any

import numpy as np
import onnxruntime
from onnx import helper


def onnx_node(operator: str, *inputs: np.ndarray, opset: int = 18, **attributes: Any) -> np.ndarray:
    """The first output of one node of the standard domain on these inputs."""
    names = [f"input_{index}" for index in range(len(inputs))]
    node = helper.make_node(operator, names, ["output"], **attributes)
    graph = helper.make_graph(
        [node],
        operator,
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, inputs, strict=True)
        ],
        [helper.make_empty_tensor_value_info("output")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def float_tolerance(depth: int, *factors: np.ndarray) -> float:
    """How far two float32 sums of `depth` products of these arrays' elements may lie apart.

    Each is within depth·2⁻²⁴ of the exact sum, relative to the sum of the products' magnitudes.
    """
    largest = float(np.prod([np.abs(factor).max() for factor in factors]))
    return 2.0 * depth * 2.0**-24 * depth * largest
