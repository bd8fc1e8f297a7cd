"""Gradient nodes become the nodes that compute them: what each operator in between passes back, in reverse order.

A Gradient names a tensor y and the tensors xs and zs that y is taken to be a function of; its inputs are the values of
these. What it returns is the gradient of the sum of y's elements with respect to each of xs (ONNX operator Gradient of
ai.onnx.preview.training). The rules of the operators are in `gradient_rules`.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from nmc.errors import ModelError, UnsupportedOperatorError
from nmc.frontend.gradient_rules import RULES
from nmc.frontend.gradient_tape import Tape

DOMAIN = "ai.onnx.preview.training"


def expand_gradients(model: onnx.ModelProto) -> None:
    """Replaces the Gradient nodes of a model's graph, in place; those of an earlier one may lie between another's tensors.

    Shapes are pinned. Raises UnsupportedOperatorError that names each node without a rule, and ModelError for a Gradient
    of tensors that are not there.
    """
    while True:
        nodes = list(model.graph.node)
        place = next((i for i, node in enumerate(nodes) if _is_gradient(node)), None)
        if place is None:
            return
        expanded, constants = _expanded(model, nodes[place], nodes[:place])
        model.graph.initializer.extend(constants)
        del model.graph.node[:]
        model.graph.node.extend([*nodes[:place], *expanded, *nodes[place + 1 :]])


def _is_gradient(node: onnx.NodeProto) -> bool:
    return node.op_type == "Gradient" and node.domain == DOMAIN


def _expanded(
    model: onnx.ModelProto, gradient: onnx.NodeProto, before: Sequence[onnx.NodeProto]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes that compute what a Gradient returns, and their constants."""
    attributes = {a.name: helper.get_attribute_value(a) for a in gradient.attribute}
    xs, zs = ([name.decode() for name in attributes.get(key, [])] for key in ("xs", "zs"))
    y, named = attributes["y"].decode(), dict(zip([*xs, *zs], gradient.input, strict=False))
    forward = _between(before, y, set(named))
    tape = Tape(gradient.name, _typed(model, before), _known(model, before), _opset(model))
    if any(name != value for name, value in named.items()):
        forward, y = tape.evaluated_again(forward, y, named)
    if y not in tape.values:
        raise ModelError(
            f"Gradient '{gradient.name}': there is no tensor '{y}' of known shape to differentiate"
        )
    tape.add(y, tape.constant(np.ones(tape.shape(y))))
    active = tape.active = _depending(forward, {named[x] for x in xs})
    missing = [n for n in forward if n.output[0] in active and (n.op_type not in RULES or n.domain)]
    if missing:
        raise UnsupportedOperatorError(
            "; ".join(
                f"{node.op_type} '{node.name}': no rule to differentiate it by, which Gradient '{gradient.name}' asks for"
                for node in missing
            )
        )
    for node in reversed(forward):
        gradient_of_result = tape.gradient(node.output[0])
        if node.output[0] not in active or gradient_of_result is None:
            continue
        shares = RULES[node.op_type](tape, node, gradient_of_result)
        for operand, share in zip(node.input, shares, strict=False):
            if share is not None and operand in active:
                tape.add(operand, share)
    for x, output in zip(xs, gradient.output, strict=False):
        if output:
            found = tape.gradient(named[x]) or tape.constant(np.zeros(tape.shape(named[x])))
            tape.nodes.append(helper.make_node("Identity", [found], [output], gradient.name))
    return tape.nodes, tape.constants


def _between(nodes: Sequence[onnx.NodeProto], y: str, ends: set[str]) -> list[onnx.NodeProto]:
    """The nodes that compute y, in order, without what computes a tensor of `ends`."""
    wanted, found = {y}, []
    for node in reversed(nodes):
        if (wanted & set(node.output)) - ends:
            found.append(node)
            wanted |= set(node.input) - ends
    return found[::-1]


def _depending(nodes: Sequence[onnx.NodeProto], sources: set[str]) -> set[str]:
    """The tensors that are one of `sources` or computed from one."""
    active = set(sources)
    for node in nodes:
        if active & set(node.input):
            active |= set(node.output)
    return active


def _typed(model: onnx.ModelProto, before: Sequence[onnx.NodeProto]) -> dict[str, onnx.TypeProto.Tensor]:
    """The types of all tensors in front of a node."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(before)
    graph = shape_inference.infer_shapes(part, data_prop=True).graph
    types = {v.name: v.type.tensor_type for v in (*graph.input, *graph.value_info)}
    for tensor in graph.initializer:
        shape = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        types[tensor.name] = shape.tensor_type
    return types


def _known(model: onnx.ModelProto, before: Sequence[onnx.NodeProto]) -> dict[str, np.ndarray]:
    """The constants in front of a node."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in before:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}


def _opset(model: onnx.ModelProto) -> int:
    return next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), 1)
