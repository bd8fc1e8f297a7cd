"""Constant folding with the ONNX project's reference implementation."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from nmc.frontend.values import ConversionError, Node

NOT_DETERMINISTIC = frozenset(
    ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
)
"""Operators whose result differs from run to run, which no constant can stand for."""


def evaluate(
    node: Node, opsets: Sequence[onnx.OperatorSetIdProto]
) -> list[np.ndarray | list[np.ndarray] | None]:
    """The outputs of a node all of whose inputs are constants; unnamed outputs are None."""
    if node.operator == "Constant":
        return [_constant(node)]
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    proto.input[:] = [f"x{i}" if value is not None else "" for i, value in enumerate(node.inputs)]
    proto.output[:] = [f"y{i}" if name else "" for i, name in enumerate(node.proto.output)]
    names = [name for name in proto.output if name]
    graph = helper.make_graph(
        [proto],
        "constant",
        [onnx.ValueInfoProto(name=name) for name in proto.input if name],
        [onnx.ValueInfoProto(name=name) for name in names],
    )
    model = helper.make_model(graph, opset_imports=list(opsets))
    feeds = {f"x{i}": value for i, value in enumerate(node.inputs) if value is not None}
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # the reference implementation raises a different class for every cause
        raise ConversionError(
            f"its constant value cannot be computed: {type(error).__name__}: {error}"
        ) from error
    by_name = dict(zip(names, (_plain(result) for result in results), strict=True))
    return [by_name.get(name) for name in proto.output]


def _constant(node: Node) -> np.ndarray:
    for name, value in node.attributes.items():
        if name == "value":
            return np.asarray(value)
        if name in ("value_float", "value_floats"):
            return np.asarray(value, dtype=np.float32)
        if name in ("value_int", "value_ints"):
            return np.asarray(value, dtype=np.int64)
        if name == "sparse_value":
            return _dense(value)
    raise ConversionError("holds a value that is not a number")


def _dense(sparse: onnx.SparseTensorProto) -> np.ndarray:
    values = numpy_helper.to_array(sparse.values)
    indices = numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
    if indices.ndim == 1:
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense


def _plain(result: object) -> np.ndarray | list[np.ndarray]:
    return result if isinstance(result, list) else np.asarray(result)
