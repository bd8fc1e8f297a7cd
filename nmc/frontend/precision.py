"""Turn every float16, bfloat16 and double of a model into float32, the one float type below this stage."""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

TYPE_ATTRIBUTES = (
    "to",
    "dtype",
    "output_dtype",
    "stash_type",
    "softmax_precision",
    "precision",
    "output_datatype",
)
"""Integer attributes of standard operators that hold an element type."""


def make_float32(model: onnx.ModelProto) -> None:
    """Put float32 in place of every other float type, in place: tensors, inputs, casts, subgraphs, functions.

    Values beyond float32's range are clipped to it, so that a mask of -1e300 stays a finite mask.
    """
    _convert_graph(model.graph)
    for function in model.functions:
        nodes_to_float32(function.node)
        for attribute in function.attribute_proto:
            _convert_attribute(attribute)


def _convert_graph(graph: onnx.GraphProto) -> None:
    for values in (graph.input, graph.output, graph.value_info):
        for value in values:
            _convert_type(value.type)
    for tensor in graph.initializer:
        _convert_tensor(tensor)
    nodes_to_float32(graph.node)


def nodes_to_float32(nodes: Iterable[onnx.NodeProto]) -> None:
    """Put float32 in place of every other float type in the attributes of nodes, in place."""
    for node in nodes:
        for attribute in node.attribute:
            _convert_attribute(attribute)


def _convert_attribute(attribute: onnx.AttributeProto) -> None:
    if attribute.type == onnx.AttributeProto.TENSOR:
        _convert_tensor(attribute.t)
    elif attribute.type == onnx.AttributeProto.TENSORS:
        for tensor in attribute.tensors:
            _convert_tensor(tensor)
    elif attribute.type == onnx.AttributeProto.GRAPH:
        _convert_graph(attribute.g)
    elif attribute.type == onnx.AttributeProto.GRAPHS:
        for graph in attribute.graphs:
            _convert_graph(graph)
    elif attribute.type == onnx.AttributeProto.TYPE_PROTO:
        _convert_type(attribute.tp)
    elif attribute.name in TYPE_ATTRIBUTES and attribute.i in OTHER_FLOATS:
        attribute.i = TensorProto.FLOAT


def _convert_type(type_proto: onnx.TypeProto) -> None:
    kind = type_proto.WhichOneof("value")
    if kind == "tensor_type" and type_proto.tensor_type.elem_type in OTHER_FLOATS:
        type_proto.tensor_type.elem_type = TensorProto.FLOAT
    elif kind in ("sequence_type", "optional_type"):
        _convert_type(getattr(type_proto, kind).elem_type)


def _convert_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type not in OTHER_FLOATS:
        return
    wide = numpy_helper.to_array(tensor).astype(np.float64)
    limit = float(np.finfo(np.float32).max)
    clipped = np.where(np.isfinite(wide), np.clip(wide, -limit, limit), wide)
    tensor.CopyFrom(numpy_helper.from_array(clipped.astype(np.float32), tensor.name))
