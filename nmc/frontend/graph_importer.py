"""Evaluates an ONNX graph as far as it is constant and writes the rest as Relax.

The importer is a partial evaluator: every name is a numpy constant, a Relax variable or a list of those.
Shapes are static, so shape arithmetic disappears, branches and loops on constants are unrolled, and function
bodies are imported node by node under the name of the node that calls them.
"""

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from tvm import relax

from nmc.errors import UnsupportedOperatorError
from nmc.frontend import control_flow, function_bodies, tvm_converters
from nmc.frontend.converters import find_converter
from nmc.frontend.emitter import Emitter
from nmc.frontend.fold import NOT_DETERMINISTIC, evaluate
from nmc.frontend.load import one_line
from nmc.frontend.values import ConstantNeededError, ConversionError, Node, Value, attributes_of

Scope = MutableMapping[str, Any]
Opsets = Mapping[str, int]


DATA_DEPENDENT = frozenset(("NonZero", "NonMaxSuppression", "Unique"))
"""Operators whose result has as many elements as the data says."""


class Failed:
    """Stands for a value that could not be computed, so that one bad node is reported once."""


class GraphImporter:
    """Imports one model; `problems` collects every node that has no translation."""

    def __init__(self, model: onnx.ModelProto, float_type: str) -> None:
        self.emitter = Emitter(float_type)
        self.problems: list[str] = []
        self.inputs_to_bind: list[str] = []
        self.functions = {(function.domain, function.name): function for function in model.functions}
        self.opsets = opset_versions(model.opset_import)
        self.graph = model.graph

    def run(self, parameters: Mapping[str, relax.Var]) -> list[Value]:
        """Import the whole graph with the given variables as its inputs; returns its outputs in order.

        Raises UnsupportedOperatorError that names every node without a translation.
        """
        outputs = self.import_graph(self.graph, dict(parameters), self.opsets, layer=None)
        if self.problems:
            raise UnsupportedOperatorError("; ".join(dict.fromkeys(self.problems)), self.inputs_to_bind)
        return outputs

    def import_graph(
        self, graph: onnx.GraphProto, scope: Mapping[str, Any], opsets: Opsets, layer: str | None
    ) -> list[Any]:
        """Import a graph whose outer names and inputs are in `scope`; returns its outputs."""
        local: Scope = ChainMap({}, dict(scope))
        for tensor in graph.initializer:
            if tensor.name not in scope:
                local[tensor.name] = numpy_helper.to_array(tensor)
        self.import_nodes(graph.node, local, opsets, layer)
        return [local[value.name] for value in graph.output]

    def import_nodes(
        self, nodes: Iterable[onnx.NodeProto], scope: Scope, opsets: Opsets, layer: str | None
    ) -> None:
        """Import nodes in order, writing their outputs into `scope`."""
        for proto in nodes:
            self.emitter.layer = layer or proto.name or proto.op_type
            inputs = tuple(scope[name] if name else None for name in proto.input)
            if any(isinstance(value, Failed) for value in inputs):
                results: Sequence[Any] = [Failed()] * len(proto.output)
            else:
                domain = "" if proto.domain == "ai.onnx" else proto.domain
                node = Node(proto, self.emitter.layer, opsets.get(domain, 1), inputs, attributes_of(proto))
                results = self._import_or_report(node, scope, opsets)
                self._keep_element_types(node, results)
            for name, result in zip(proto.output, results, strict=False):
                if name:
                    scope[name] = result

    def _keep_element_types(self, node: Node, results: Sequence[Any]) -> None:
        """Outputs that have an input's type by the operator's definition keep its low-precision type."""
        low = self.emitter.low_precision
        given = [low.get(value) if isinstance(value, relax.Var) else None for value in node.inputs]
        if not any(given) or not onnx.defs.has(node.operator, node.opset, node.domain):
            return
        schema = onnx.defs.get_schema(node.operator, node.opset, node.domain)
        types = {formal.type_str: kind for formal, kind in zip(schema.inputs, given, strict=False) if kind}
        for formal, result in zip(schema.outputs, results, strict=False):
            if formal.type_str in types and isinstance(result, relax.Var):
                low[result] = types[formal.type_str]

    def _import_or_report(self, node: Node, scope: Scope, opsets: Opsets) -> Sequence[Any]:
        emitted, reported = len(self.emitter.bindings), len(self.problems)
        try:
            results = list(self._translate(node, scope, opsets))
        except ConstantNeededError as error:
            reason = self._advice(error)
        except ConversionError as error:
            reason = one_line(error)
        except Exception as error:  # TVM and numpy raise a different class for every cause
            reason = f"cannot be imported: {one_line(error)}"
        else:
            empty = node.operator == "Optional" and not node.inputs  # its value is that there is none
            wanted = [i for i in range(node.outputs) if node.wants(i) and not empty]
            if len(results) >= node.outputs and all(results[i] is not None for i in wanted):
                return results
            reason = f"its output {len(results)} is not supported"
        del self.emitter.bindings[emitted:]
        if len(self.problems) == reported:  # otherwise a node inside this one's body is to blame, and named
            self.problems.append(f"{node.operator} '{node.layer}': {reason}")
        return [Failed()] * len(node.proto.output)

    def _advice(self, error: ConstantNeededError) -> str:
        """What to say of a value that has to be a constant: which inputs of the model it comes from."""
        names = self.emitter.parameters_of(error.value)
        self.inputs_to_bind += names
        options = ", ".join(f"--bind {name}=FILE.npy" for name in names)
        return one_line(error) + (f"; give it as a constant: {options}" if names else "")

    def _translate(self, node: Node, scope: Scope, opsets: Opsets) -> Sequence[Any]:
        """The first that applies of: fold, control flow, our converter, function body, TVM's converter."""
        if node.operator in NOT_DETERMINISTIC and not node.domain:
            raise ConversionError(
                "draws random numbers; a compiled model must give the same result each time"
            )
        handler = control_flow.HANDLERS.get((node.domain, node.operator))
        if handler is not None:
            return handler(self, node, scope, opsets)
        converter = find_converter(node.domain, node.operator)
        constant = all(value is None or _is_constant(value) for value in node.inputs)
        if constant and not node.domain:
            try:
                return evaluate(node, _opset_protos(opsets))
            except ConversionError:
                if converter is None and function_bodies.find(node, self.functions) is None:
                    raise
        if converter is not None:
            return converter(self.emitter, node)
        body = function_bodies.find(node, self.functions)
        if body is not None:
            return self._import_function(node, body, opsets)
        if (node.domain, node.operator) in tvm_converters.OPERATORS:
            return tvm_converters.convert(self.emitter, node)
        if node.operator in DATA_DEPENDENT and not node.domain:
            raise ConversionError(
                "the shape of its result depends on the data, which a static compiler cannot run"
            )
        domain = f" of domain '{node.domain}'" if node.domain else ""
        raise ConversionError(f"operator {node.operator}{domain} is not supported")

    def _import_function(self, node: Node, body: onnx.FunctionProto, outer: Opsets) -> list[Any]:
        scope: Scope = {name: node.input(index) for index, name in enumerate(body.input)}
        nodes = function_bodies.with_attributes(body, node.proto, self.emitter.float_type)
        layer, reported = self.emitter.layer, len(self.problems)
        opsets = {**outer, **opset_versions(body.opset_import)}
        self.import_nodes(nodes, _Optional(scope), opsets, layer)
        self.emitter.layer = layer
        inner = self.problems[reported:]
        if inner:
            del self.problems[reported:]
            raise ConversionError("inside its function body: " + "; ".join(dict.fromkeys(inner)))
        return [scope.get(name) for name in body.output]


class _Optional(ChainMap):
    """A function's names, where an input that the caller left out reads as absent."""

    def __missing__(self, key: str) -> None:
        return None


def opset_versions(entries: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Version by domain, with the standard's own domain written as the empty string."""
    return {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in entries}


def _opset_protos(opsets: Opsets) -> list[onnx.OperatorSetIdProto]:
    return [helper.make_opsetid(domain, version) for domain, version in opsets.items()]


def _is_constant(value: Value) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, list) and all(map(_is_constant, value)))


Handler = Callable[[GraphImporter, Node, Scope, Opsets], Sequence[Any]]
