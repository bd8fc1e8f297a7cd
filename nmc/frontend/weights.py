"""Handles a model apart from its weights, so that tools that copy models copy only the graph."""

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL_ELEMENTS = 256
"""Initializers of so many elements or fewer stay in the graph: shapes, axes and scalars that checks and folding look at."""


def graph_alone(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which large initializers have no elements."""
    copy = onnx.ModelProto()
    _copy_fields(model, copy, but="graph")
    _copy_fields(model.graph, copy.graph, but="initializer")
    for tensor in model.graph.initializer:
        if not _is_large(tensor):
            copy.graph.initializer.append(tensor)
        else:
            copy.graph.initializer.append(
                TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0], raw_data=b"")
            )
    return copy


def graph_with_outside_weights(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Mapping[str, np.ndarray]]:
    """A copy of `model` whose large initializers are declared as stored elsewhere, and these as arrays by name."""
    copy, arrays = graph_alone(model), {}
    for tensor, original in zip(copy.graph.initializer, model.graph.initializer, strict=True):
        if _is_large(original):
            arrays[original.name] = numpy_helper.to_array(original)
            outside = TensorProto(name=original.name, data_type=original.data_type, dims=original.dims)
            outside.data_location = TensorProto.EXTERNAL
            outside.external_data.add(key="location", value="in memory")
            tensor.CopyFrom(outside)
    return copy, arrays


def large_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """The initializers that `graph_alone` empties."""
    return [tensor for tensor in model.graph.initializer if _is_large(tensor)]


def weight_bytes(model: onnx.ModelProto) -> int:
    """The bytes that the initializers and the constants of a model stand for: nearly all of its own, which protobuf
    cannot tell without writing them all."""
    constants = (
        attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")
    )
    return sum(_tensor_bytes(tensor) for tensor in chain(model.graph.initializer, constants))


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.data_type == TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _is_large(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type != TensorProto.STRING and math.prod(tensor.dims) > SMALL_ELEMENTS


def _copy_fields(source: Any, target: Any, but: str) -> None:
    """Copies the fields of a protobuf message, except one."""
    for field, value in source.ListFields():
        if field.name == but:
            continue
        if field.is_repeated:
            getattr(target, field.name).extend(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
