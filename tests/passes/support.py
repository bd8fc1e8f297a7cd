"""Builds small Relax modules for the tests of the passes, runs them, and prints them in a line a binding."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import ir, relax

from passes.matrix_form.grid import GRID, grid_of
from passes.rewrite import (
    Emitter,
    bindings_of,
    callee_attributes,
    callee_name,
    constant_value,
    straight_line_body,
)

Shape = tuple[int, ...]


def constant(value: np.ndarray | float, dtype: str = "float32") -> ir.GenericConst:
    """A Relax constant."""
    return relax.const(np.asarray(value, dtype), dtype)


def build_module(
    body: Callable[..., relax.Expr | tuple[relax.Expr, ...]], *inputs: Shape | tuple[Shape, str]
) -> ir.IRModule:
    """A module whose main is `body` applied to inputs x0, x1 … of these shapes (float32 unless a type is given).

    `body` gets the emitter and one variable an input; every call it returns or nests becomes a binding of a layer
    `y`. A tuple of results becomes main's tuple.
    """
    typed = [item if item and isinstance(item[-1], str) else (item, "float32") for item in inputs]
    parameters = [
        relax.Var(f"x{index}", relax.TensorType(list(shape), dtype))
        for index, (shape, dtype) in enumerate(typed)
    ]
    emitter = Emitter(relax.BlockBuilder(), layer="y")
    result = body(emitter, *parameters)
    if isinstance(result, tuple):
        returned: relax.Expr = relax.Tuple([emitter.emit(item) for item in result])
    else:
        returned = emitter.emit(result)
    block = straight_line_body(emitter.builder, emitter.bindings, returned)
    function = relax.Function(parameters, block, ret_ty=block.ty, is_pure=True)
    module = emitter.builder.get()
    module["main"] = function.with_attr("global_symbol", "main")
    relax.analysis.well_formed(module)
    return module


def run(module: ir.IRModule, *arrays: np.ndarray) -> list[np.ndarray]:
    """The outputs of main, compiled by LLVM, on these inputs."""
    executable = relax.build(module, target="llvm")
    machine = relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*[tvm.runtime.tensor(np.asarray(array)) for array in arrays])
    outputs = [result] if hasattr(result, "numpy") else list(result)
    return [output.numpy() for output in outputs]


def random_array(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Normally distributed float32 values of a fixed seed."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def _unary_text(attributes: Mapping[str, Any]) -> str:
    parameters = sorted(attributes["parameters"].items())
    return " ".join([str(attributes["function"]), *(f"{name}={value:.6g}" for name, value in parameters)])


def listing(module: ir.IRModule) -> list[str]:
    """Main's bindings as `name = operator(arguments)`; constants appear as a scalar or as `const[shape]`."""
    names: dict[relax.Var, str] = {}

    def text(expr: relax.Expr) -> str:
        value = constant_value(expr)
        if value is not None:
            return f"{value.item():g}" if value.size == 1 else f"const{list(value.shape)}"
        if isinstance(expr, relax.Tuple):
            return "(" + ", ".join(text(item) for item in expr.fields) + ")"
        if isinstance(expr, relax.Var):
            return names.get(expr, str(expr.name))
        if isinstance(expr, relax.ShapeExpr):
            return str([int(extent) for extent in expr.values])
        return str(expr)

    lines = []
    for binding in bindings_of(module["main"]):
        value = binding.value
        if isinstance(value, relax.Call):
            attributes = callee_attributes(module, value)
            operator = callee_name(module, value).removeprefix("relax.")
            if "function" in attributes:
                operator = f"unary[{_unary_text(attributes)}]"
            elif operator == GRID:
                grid = grid_of(attributes)
                operator = f"grid[{grid.scale:g} from {grid.low} to {grid.high}]"
            lines.append(f"{binding.var.name} = {operator}({', '.join(text(a) for a in value.args)})")
        elif isinstance(value, relax.Var):
            names[binding.var] = text(value)
        else:
            lines.append(f"{binding.var.name} = {text(value)}")
    return lines
