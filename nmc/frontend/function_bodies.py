"""Finds the ONNX function that defines an operator: the model's own, or the standard's."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from nmc.frontend.emitter import dtype_of, shape_of
from nmc.frontend.precision import unify_floats_of_nodes
from nmc.frontend.values import Node, Value

Functions = Mapping[tuple[str, str], onnx.FunctionProto]


def find(node: Node, functions: Functions) -> onnx.FunctionProto | None:
    """The function body of a node's operator, or None where it has none."""
    for domain in (node.proto.domain, node.domain):
        if (domain, node.operator) in functions:
            return functions[domain, node.operator]
    try:
        schema: Any = onnx.defs.get_schema(node.operator, node.opset, node.domain)
    except onnx.defs.SchemaError:
        return None
    if schema.has_function:
        version = _usable(schema.function_opset_versions, node.opset)
        return _parse(schema.get_function_with_opset_version(version))
    if schema.has_context_dependent_function:
        version = _usable(schema.context_dependent_function_opset_versions, node.opset)
        types = [_type_of(value) for value in node.inputs]
        text = node.proto.SerializeToString()
        return _parse(schema.get_context_dependent_function_with_opset_version(version, text, types))
    return None


def with_attributes(
    body: onnx.FunctionProto, caller: onnx.NodeProto, float_type: str
) -> list[onnx.NodeProto]:
    """The nodes of a body, each reference to an attribute replaced by the caller's value or the default.

    `float_type` stands in place of the other float types: some bodies of the standard compute in double.
    """
    values = {attribute.name: attribute for attribute in body.attribute_proto}
    if body.domain in ("", "ai.onnx"):
        values |= _schema_defaults(caller, body)
    values |= {attribute.name: attribute for attribute in caller.attribute}
    nodes = [copy.deepcopy(node) for node in body.node]
    for node in nodes:
        _substitute(node, values)
    unify_floats_of_nodes(nodes, float_type)
    return nodes


def _substitute(node: onnx.NodeProto, values: Mapping[str, onnx.AttributeProto]) -> None:
    attributes = []
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name not in values:
                continue  # an optional attribute that the caller left out stays left out
            name = attribute.name
            attribute = copy.deepcopy(values[attribute.ref_attr_name])
            attribute.name = name
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            for inner in graph.node:
                _substitute(inner, values)
        attributes.append(attribute)
    del node.attribute[:]
    node.attribute.extend(attributes)


def _schema_defaults(caller: onnx.NodeProto, body: onnx.FunctionProto) -> dict[str, onnx.AttributeProto]:
    versions = [entry.version for entry in body.opset_import if entry.domain in ("", "ai.onnx")]
    try:
        schema = onnx.defs.get_schema(caller.op_type, max(versions, default=1), "")
    except onnx.defs.SchemaError:
        return {}
    return {
        name: attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED
    }


def _usable(versions: list[int], opset: int) -> int:
    """The newest version that is not newer than the model's operator set, else the oldest there is."""
    return max((version for version in versions if version <= opset), default=min(versions))


def _parse(body: onnx.FunctionProto | bytes) -> onnx.FunctionProto:
    if isinstance(body, onnx.FunctionProto):
        return body
    function = onnx.FunctionProto()
    function.ParseFromString(body)
    return function


def _type_of(value: Value | None) -> bytes:
    if value is None:
        return onnx.TypeProto().SerializeToString()
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype_of(value)))
    return helper.make_tensor_type_proto(element, shape_of(value)).SerializeToString()
