"""Turn every float of a model into one type, the only one below this stage: float32, or double for what float32 cannot
hold."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

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


def unify_floats(model: onnx.ModelProto, dtype: str) -> None:
    """Put `dtype`, float32 or float64, in place of every other float type, in place: tensors, inputs, casts, subgraphs,
    functions.

    Values beyond float32's range are clipped to it, so that a mask of -1e300 stays a finite mask.
    """
    convert = _Conversion(dtype)
    convert.graph(model.graph)
    for function in model.functions:
        convert.nodes(function.node)
        for attribute in function.attribute_proto:
            convert.attribute(attribute)


def unify_floats_of_nodes(nodes: Iterable[onnx.NodeProto], dtype: str) -> None:
    """Put `dtype`, float32 or float64, in place of every other float type in the attributes of nodes, in place."""
    _Conversion(dtype).nodes(nodes)


def float_type_for(model: onnx.ModelProto, data: Mapping[str, np.ndarray]) -> str:
    """float64 where `data` gives a double input a number beyond float32, and float32 for all other models."""
    doubles = {v.name for v in model.graph.input if v.type.tensor_type.elem_type == TensorProto.DOUBLE}
    wide = any(beyond_float32(np.asarray(array)) for name, array in data.items() if name in doubles)
    return "float64" if wide else "float32"


def beyond_float32(array: np.ndarray) -> bool:
    """Whether an array holds a finite number that float32 does not."""
    if array.dtype != np.float64:
        return False
    return bool((np.isfinite(array) & (np.abs(array) > np.finfo(np.float32).max)).any())


class _Conversion:
    """Floats of any type become those of one."""

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._type = helper.np_dtype_to_tensor_dtype(self._dtype)

    def graph(self, graph: onnx.GraphProto) -> None:
        for values in (graph.input, graph.output, graph.value_info):
            for value in values:
                self._value_type(value.type)
        for tensor in graph.initializer:
            self._tensor(tensor)
        self.nodes(graph.node)

    def nodes(self, nodes: Iterable[onnx.NodeProto]) -> None:
        for node in nodes:
            for attribute in node.attribute:
                self.attribute(attribute)

    def attribute(self, attribute: onnx.AttributeProto) -> None:
        if attribute.type == onnx.AttributeProto.TENSOR:
            self._tensor(attribute.t)
        elif attribute.type == onnx.AttributeProto.TENSORS:
            for tensor in attribute.tensors:
                self._tensor(tensor)
        elif attribute.type == onnx.AttributeProto.GRAPH:
            self.graph(attribute.g)
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            for graph in attribute.graphs:
                self.graph(graph)
        elif attribute.type == onnx.AttributeProto.TYPE_PROTO:
            self._value_type(attribute.tp)
        elif attribute.name in TYPE_ATTRIBUTES and attribute.i in FLOATS:
            attribute.i = self._type

    def _value_type(self, type_proto: onnx.TypeProto) -> None:
        kind = type_proto.WhichOneof("value")
        if kind == "tensor_type" and type_proto.tensor_type.elem_type in FLOATS:
            type_proto.tensor_type.elem_type = self._type
        elif kind in ("sequence_type", "optional_type"):
            self._value_type(getattr(type_proto, kind).elem_type)

    def _tensor(self, tensor: onnx.TensorProto) -> None:
        if tensor.data_type not in FLOATS or tensor.data_type == self._type:
            return
        wide = numpy_helper.to_array(tensor).astype(np.float64)
        limit = float(np.finfo(self._dtype).max)
        clipped = np.where(np.isfinite(wide), np.clip(wide, -limit, limit), wide)
        tensor.CopyFrom(numpy_helper.from_array(clipped.astype(self._dtype), tensor.name))
