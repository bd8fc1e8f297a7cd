"""Give a model one tensor input for each element of its sequences and optionals, which a static compiler knows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from nmc.frontend.shapes import real_inputs


def element_name(name: str, index: int) -> str:
    """What the element `index` of the sequence `name` is called among a compiled model's inputs and outputs."""
    return f"{name}[{index}]"


def elements(value: onnx.ValueInfoProto, given: Any) -> dict[str, np.ndarray]:
    """The tensors that an input's value consists of, by name: one for a tensor, none for an empty optional."""
    if value.type.WhichOneof("value") == "tensor_type":
        return {} if given is None else {value.name: np.asarray(given)}
    items = given if isinstance(given, list) else [] if given is None else [given]
    return {element_name(value.name, index): np.asarray(item) for index, item in enumerate(items)}


def flatten_inputs(model: onnx.ModelProto, given: Mapping[str, Any]) -> onnx.ModelProto:
    """A copy that takes each element of the sequences and optionals in `given` as an input of its own.

    `given` maps an input's name to an array, to a list of arrays (a sequence) or to None (an optional without an
    element). The copy is the model as it is where all inputs are tensors.
    """
    flat = onnx.ModelProto()
    flat.CopyFrom(model)
    inputs = real_inputs(flat.graph)
    if all(value.type.WhichOneof("value") == "tensor_type" for value in inputs):
        return flat
    nodes: list[onnx.NodeProto] = []
    kept: list[onnx.ValueInfoProto] = []
    for value in inputs:
        if value.type.WhichOneof("value") == "tensor_type":
            kept.append(value)
            continue
        for name, array in elements(value, given.get(value.name)).items():
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            kept.append(helper.make_tensor_value_info(name, kind, array.shape))
        nodes += _assembled(value.name, value.type, given.get(value.name))
    nodes += flat.graph.node
    del flat.graph.node[:], flat.graph.input[:]
    flat.graph.node.extend(nodes)
    flat.graph.input.extend(kept)
    return flat


def _assembled(name: str, kind: onnx.TypeProto, given: Any) -> list[onnx.NodeProto]:
    """The nodes that make the value `name` of its elements."""
    if kind.HasField("optional_type"):
        inner = kind.optional_type.elem_type
        if given is None:
            return [helper.make_node("Optional", [], [name], type=inner)]
        if inner.HasField("tensor_type"):
            return [helper.make_node("Optional", [element_name(name, 0)], [name])]
        held = f"{name}[]"
        return [*_assembled(held, inner, given), helper.make_node("Optional", [held], [name])]
    if not given:
        element = kind.sequence_type.elem_type.tensor_type.elem_type
        return [helper.make_node("SequenceEmpty", [], [name], dtype=element)]
    # The elements carry the name of the model's input, which an optional's sequence has with brackets behind it.
    outer = name.removesuffix("[]")
    return [
        helper.make_node("SequenceConstruct", [element_name(outer, i) for i in range(len(given))], [name])
    ]
