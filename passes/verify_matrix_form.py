"""Proves that an accelerator function holds operations of matrix form and nothing else. Changes nothing.

Runs on the partitioned module after every compile.
"""

from tvm import ir, relax

from nmc.errors import UnsupportedOperatorError
from passes.matrix_form.composite import ACCELERATOR_PREFIX
from passes.matrix_form.moves import MOVES
from passes.partition import CODEGEN
from passes.rewrite import bindings_of, dtype_of, layer_of

OPERATIONS = frozenset(ACCELERATOR_PREFIX + name for name in ("gemm", "hadamard", "add", "pwl", "im2col"))
INTEGERS = frozenset({"int8", "int16", "int32"})


def verify_matrix_form(module: ir.IRModule) -> ir.IRModule:
    """The module itself, when its accelerator functions hold matrix form only.

    Raises UnsupportedOperatorError that lists every other binding. (A plain function: an error raised inside a TVM pass
    would lose its type.)
    """
    problems = [
        problem for function in accelerator_functions(module).values() for problem in violations(function)
    ]
    if problems:
        raise UnsupportedOperatorError("not in matrix form: " + "; ".join(problems))
    return module


def accelerator_functions(module: ir.IRModule) -> dict[str, relax.Function]:
    """The functions marked for the accelerator's code generator, by symbol."""
    return {
        str(function.attrs["global_symbol"]): function
        for function in module.functions.values()
        if isinstance(function, relax.Function) and (function.attrs or {}).get("Codegen") == CODEGEN
    }


def violations(function: relax.Function) -> list[str]:
    """What an accelerator function holds besides matrix form, one phrase a binding."""
    composites: dict[str, str] = {}
    problems = []
    for binding in bindings_of(function):
        if isinstance(binding.value, relax.Function):
            composites[binding.var.name] = str((binding.value.attrs or {}).get("Composite", ""))
        elif isinstance(binding.value, relax.Call):
            problems.extend(_violations_of_call(binding, composites))
    return problems


def _violations_of_call(binding: relax.VarBinding, composites: dict[str, str]) -> list[str]:
    callee = binding.value.op
    name = str(callee.name) if isinstance(callee, ir.Op) else composites.get(getattr(callee, "name", ""), "")
    layer = layer_of(binding.var)
    if name not in OPERATIONS and name not in MOVES:
        return [f"layer '{layer}' holds {name or callee}"]
    if dtype_of(binding.var) not in INTEGERS:
        return [f"layer '{layer}': {name} has {dtype_of(binding.var)} elements"]
    return []
