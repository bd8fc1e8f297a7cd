"""Rare operators that TVM's own ONNX importer translates well: run it on the one node and take over what it
writes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tvm
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from nmc.frontend.emitter import Emitter
from nmc.frontend.values import ConversionError, Node, Value

OPERATORS = frozenset(
    {
        ("", "GridSample"),
        ("", "MaxRoiPool"),
        ("com.microsoft", "Attention"),
        ("com.microsoft", "EmbedLayerNormalization"),
    }
)
"""(domain, operator) of the nodes that are given to TVM."""


def convert(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Import one node in a function of its own and splice that function's bindings into the emitter."""
    builder = relax.BlockBuilder()
    arguments = onnx_frontend.onnx_input()
    parameters, given = [], []
    for index, value in enumerate(node.inputs):
        if isinstance(value, relax.Var):
            parameters.append(relax.Var(f"input_{index}", value.ty))
            given.append(value)
            arguments.append(parameters[-1])
        else:
            arguments.append(None if value is None else emitter.expression(value))
    attributes = onnx_frontend.ONNXGraphImporter({}, {})._parse_attr(node.proto.attribute)
    attributes["tvm_custom"] = {"name": node.layer, "num_outputs": len(node.proto.output)}
    converter = onnx_frontend._get_convert_map()[node.operator].get_converter(node.opset)
    with builder.function("main", parameters):
        with builder.dataflow():
            result = builder.normalize(converter(builder, arguments, attributes, [{}, {}]))
            output = builder.emit_output(result)
        builder.emit_func_output(output)
    return _splice(emitter, builder.get(), dict(zip(parameters, given, strict=True)))


def _splice(emitter: Emitter, module: tvm.IRModule, known: dict[Any, Any]) -> list[Value]:
    for variable, function in module.functions.items():
        if variable.name_hint != "main":
            name = f"{variable.name_hint}_{len(emitter.functions)}"
            emitter.functions[name] = (relax.GlobalVar(name), function)
            known[variable] = emitter.functions[name][0]
    body = module["main"].body
    for block in body.blocks:
        for binding in block.bindings:
            if not isinstance(binding, relax.VarBinding):
                raise ConversionError(
                    "the shape of its result depends on the data, which a static compiler cannot run"
                )
            known[binding.var] = emitter.emit(substitute(binding.value, known))
    result = substitute(body.body, known)
    if isinstance(result.ty, relax.TupleType):
        fields = len(result.ty.fields)
        return [emitter.emit(relax.TupleGetItem(result, index)) for index in range(fields)]
    return [result]


def substitute(expression: relax.Expr, known: Mapping[Any, Any]) -> relax.Expr:
    """The expression of one binding with variables and functions replaced by what `known` says."""
    if expression in known:
        return known[expression]
    if isinstance(expression, relax.Call):
        operands = [substitute(operand, known) for operand in expression.args]
        return relax.Call(expression.op, operands, expression.attrs, expression.ty_args)
    if isinstance(expression, relax.Tuple):
        return relax.Tuple([substitute(field, known) for field in expression.fields])
    if isinstance(expression, relax.TupleGetItem):
        return relax.TupleGetItem(substitute(expression.tuple_value, known), expression.index)
    return expression
