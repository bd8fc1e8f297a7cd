"""A few lines over onnx.helper with which this folder writes its ONNX models."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET = 17
_IR_VERSION = 8


class GraphBuilder:
    """Collects the nodes and constants of one float32 model; the only mutable state while one is written."""

    def __init__(self, name: str) -> None:
        """Start an empty graph called `name`."""
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant tensor, float32 unless `dtype` says otherwise, and return its name."""
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))
        return name

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, which bears the node's name, and return that name."""
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def linear(self, name: str, tensor: str, weight: npt.ArrayLike, bias: npt.ArrayLike) -> str:
        """Add tensor @ weight + bias on the last axis; weight is [inputs, outputs], bias [outputs]."""
        product = self.node("MatMul", f"{name}.matmul", tensor, self.constant(f"{name}.weight", weight))
        return self.node("Add", name, product, self.constant(f"{name}.bias", bias))

    def finish(
        self, inputs: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]]
    ) -> onnx.ModelProto:
        """Return the checked model, given the shapes of its float32 inputs and outputs by name."""
        graph = helper.make_graph(self._nodes, self._name, _values(inputs), _values(outputs), self._constants)
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="nmc.models"
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _values(shapes: Mapping[str, tuple[int, ...]]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def save_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model so that `path` never holds half of one, even when two builds run at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, model.SerializeToString(deterministic=True))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name in the same directory and move it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
