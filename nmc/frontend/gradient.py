"""Gradient nodes become the nodes that compute them: what each operator in between passes back, in reverse order.

A Gradient names a tensor y and the tensors xs and zs that y is taken to be a function of; its inputs are the values of
these. What it returns is the gradient of the sum of y's elements with respect to each of xs (ONNX operator Gradient of
ai.onnx.preview.training). The rules of the operators are in `gradient_rules`.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, shape_inference

from nmc.errors import ModelError, UnsupportedOperatorError
from nmc.frontend.gradient_rules import RULES
from nmc.frontend.gradient_tape import Tape
from nmc.frontend.graph_importer import opset_versions
from nmc.frontend.values import attributes_of
from nmc.frontend.weights import graph_with_outside_weights

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
    attributes = attributes_of(gradient)
    xs, y = attributes["xs"], attributes["y"]
    named = dict(zip([*xs, *attributes.get("zs", [])], gradient.input, strict=False))
    forward = _between(before, y, set(named))
    tape = _tape(model, gradient.name, before)
    if any(name != value for name, value in named.items()):
        forward, y = tape.evaluated_again(forward, y, named)
    if y not in tape.values:
        raise ModelError(
            f"Gradient '{gradient.name}': there is no tensor '{y}' of known shape to differentiate"
        )
    tape.active = _depending(forward, {named[x] for x in xs})
    tape.add(y, tape.constant(np.ones(tape.shape(y))))
    _pass_back(tape, gradient.name, forward)
    for x, output in zip(xs, gradient.output, strict=False):
        if output:
            found = tape.gradient(named[x]) or tape.constant(np.zeros(tape.shape(named[x])))
            tape.nodes.append(helper.make_node("Identity", [found], [output], gradient.name))
    return tape.nodes, tape.constants


def _pass_back(tape: Tape, name: str, forward: Sequence[onnx.NodeProto]) -> None:
    """Writes what each node passes back, from the last to the first."""
    active = [node for node in forward if node.output[0] in tape.active]
    missing = [node for node in active if node.op_type not in RULES or node.domain]
    if missing:
        raise UnsupportedOperatorError(
            "; ".join(
                f"{node.op_type} '{node.name}': no rule to differentiate it by, which Gradient '{name}' asks for"
                for node in missing
            )
        )
    for node in reversed(active):
        gradient = tape.gradient(node.output[0])
        if gradient is None:
            continue
        for operand, share in zip(node.input, RULES[node.op_type](tape, node, gradient), strict=False):
            if share is not None and operand in tape.active:
                tape.add(operand, share)


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


def _tape(model: onnx.ModelProto, name: str, before: Sequence[onnx.NodeProto]) -> Tape:
    """An empty tape that knows the types and the constants of all tensors in front of a node."""
    part, _ = graph_with_outside_weights(model)
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(before)
    graph = shape_inference.infer_shapes(part, data_prop=True).graph
    types = {v.name: v.type.tensor_type for v in (*graph.input, *graph.value_info)}
    for tensor in graph.initializer:
        types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims).tensor_type
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in before:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            known[node.output[0]] = node.attribute[0].t
    return Tape(name, types, known, opset_versions(model.opset_import).get("", 1))
