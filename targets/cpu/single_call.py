"""Builds one call of a module with LLVM, alone, so that it can be run on numpy arrays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm_ffi
from tvm import ir, relax

from passes.rewrite import Emitter, straight_line_body
from targets.cpu.build import build

Compute = Callable[..., Any]


@dataclass
class SingleCalls:
    """Calls of one module; calls of equal structure are built once."""

    module: ir.IRModule
    built_functions: dict[int, list[tuple[relax.Function, Compute]]] = field(default_factory=dict)

    def built(self, call: relax.Call) -> Compute:
        """The function from the values of a call's arguments, tuples of arrays included, to its value."""
        function = _function_of(call)
        alike = self.built_functions.setdefault(tvm_ffi.structural_hash(function), [])
        for other, compute in alike:
            if tvm_ffi.structural_equal(other, function):
                return compute
        compute = self._build(function)
        alike.append((function, compute))
        return compute

    def _build(self, function: relax.Function) -> Compute:
        functions = {name: other for name, other in self.module.functions.items() if name.name_hint != "main"}
        module = ir.IRModule({**functions, ir.GlobalVar("main"): function})
        machine = build(relax.transform.DeadCodeElimination(["main"])(module))
        returns_tuple = not isinstance(function.ret_ty, relax.TensorType)

        def compute(*arguments: Any) -> Any:
            results = machine.run(list(_arrays(arguments)))
            return tuple(results) if returns_tuple else results[0]

        return compute


def _function_of(call: relax.Call) -> relax.Function:
    """A function of the call's tensors, in the order of `_arrays`, that returns its value."""
    parameters: list[relax.Var] = []

    def parameter(expr: relax.Expr) -> relax.Expr:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([parameter(item) for item in expr.fields])
        if not isinstance(expr.ty, relax.TensorType):
            return expr
        parameters.append(relax.Var(f"x{len(parameters)}", expr.ty))
        return parameters[-1]

    emitter = Emitter(relax.BlockBuilder(), layer="value")
    alone = relax.Call(call.op, [parameter(argument) for argument in call.args], call.attrs, call.ty_args)
    result = relax.DataflowVar("value", call.ty)
    block = straight_line_body(emitter.builder, [relax.VarBinding(result, alone)], result)
    function = relax.Function(parameters, block, ret_ty=block.ty, is_pure=True)
    return function.with_attr("global_symbol", "main")


def _arrays(values: Any) -> Iterator[np.ndarray]:
    for value in values:
        if isinstance(value, np.ndarray | np.generic):
            yield np.asarray(value)
        elif isinstance(value, tuple):
            yield from _arrays(value)
