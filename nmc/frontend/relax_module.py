"""Assembles emitted bindings into a module: dead ones dropped, one dataflow block, outputs in order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from nmc.errors import UnsupportedOperatorError
from nmc.frontend.emitter import Emitter, dtype_of, shape_of
from nmc.frontend.tvm_converters import substitute
from nmc.frontend.values import Value

Returned = tuple[tuple[int, ...], str]
"""Shape and element type of one output."""


def build_module(
    emitter: Emitter, parameters: Sequence[relax.Var], results: Sequence[Value]
) -> tuple[tvm.IRModule, list[Returned]]:
    """A module whose `main` takes `parameters` and returns `results`: one tensor, or a tuple of several."""
    for index, value in enumerate(results):
        if isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
            raise UnsupportedOperatorError(
                f"output {index} of the graph holds strings; outputs must be numbers"
            )
    live = _live(emitter.bindings, results)
    # Variables that leave the dataflow block are plain ones; constants and inputs get a variable of their
    # own.
    outputs: dict[Any, relax.Var] = {}
    bindings: list[relax.VarBinding] = []
    defined = {binding.var for binding in live}
    for value in results:
        if isinstance(value, relax.Var) and value in defined and value not in outputs:
            outputs[value] = relax.Var(value.name, value.ty)
    for binding in live:
        variable = outputs.get(binding.var, binding.var)
        bindings.append(relax.VarBinding(variable, _renamed(binding.value, outputs)))
    returned = []
    for value in results:
        if isinstance(value, relax.Var) and value in outputs:
            returned.append(outputs[value])
        else:
            expression = _returnable(emitter, value)
            variable = relax.Var("output", expression.ty)
            bindings.append(relax.VarBinding(variable, expression))
            returned.append(variable)
    module = _module(emitter, parameters, bindings, returned)
    return module, [(shape_of(value), dtype_of(value)) for value in results]


def _returnable(emitter: Emitter, value: Value) -> relax.Expr:
    """An input or a constant as an output; one without elements is made at run time, since no library can hold it."""
    if isinstance(value, np.ndarray) and value.size == 0:
        return relax.BlockBuilder().normalize(relax.op.zeros(value.shape, str(value.dtype)))
    expression: relax.Expr = emitter.expression(value)
    return expression


def _renamed(expression: relax.Expr, renamed: Mapping[Any, relax.Var]) -> relax.Expr:
    if not any(variable in renamed for variable in relax.analysis.free_vars(expression)):
        return expression
    return relax.BlockBuilder().normalize(substitute(expression, renamed))


def _module(
    emitter: Emitter,
    parameters: Sequence[relax.Var],
    bindings: Sequence[relax.Binding],
    outputs: list[relax.Var],
) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    body = outputs[0] if len(outputs) == 1 else builder.normalize(relax.Tuple(outputs))
    sequence = builder.normalize(relax.SeqExpr([relax.DataflowBlock(list(bindings))], body))
    main = relax.Function(list(parameters), sequence, body.ty, is_pure=True).with_attr(
        "global_symbol", "main"
    )
    functions: dict[relax.GlobalVar, Any] = {
        variable: function for variable, function in emitter.functions.values()
    }
    module = tvm.IRModule({relax.GlobalVar("main"): main, **functions})
    relax.analysis.well_formed(module)
    return module


def _live(bindings: Sequence[relax.VarBinding], results: Sequence[Value]) -> list[relax.VarBinding]:
    """The bindings that some result needs, in order."""
    needed = {value for value in results if isinstance(value, relax.Var)}
    live = []
    for binding in reversed(bindings):
        if binding.var in needed:
            live.append(binding)
            needed.update(relax.analysis.free_vars(binding.value))
    return live[::-1]
