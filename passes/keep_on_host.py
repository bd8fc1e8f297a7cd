"""What has results that no integer stands for, and whatever reads these, are calls that no later pass looks into.

Each becomes a call of a function of its own, with the operation as its body: so it stays in floats down to level 3, where
it runs on the host, between what the accelerator computes before and beside it.
"""

from collections.abc import Collection, Sequence

from tvm import ir, relax

from passes.matrix_form.composite import call_composite
from passes.rewrite import Emitter, callee_attributes, callee_name, rebuild, substitute, variables_of

HOST = "host.operation"
"""The Composite attribute of such a call; the attribute `operator` names the operation."""


def operator_of(module: ir.IRModule, call: relax.Call) -> str:
    """The name of what a call computes: where it is kept on the host, of the operation that is kept."""
    name = callee_name(module, call)
    return str(callee_attributes(module, call)["operator"]) if name == HOST else name


def keep_on_host(module: ir.IRModule, names: Collection[str]) -> ir.IRModule:
    """Level 1 with the named bindings of `main`, and all that read them, as calls of HOST."""
    kept = set(names)

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        if any(variable.name in kept for variable in variables_of(binding.value)):
            kept.add(binding.var.name)
        if binding.var.name not in kept or not isinstance(value, relax.Call):
            return value
        operands = list(dict.fromkeys(variables_of(value)))

        def body(_inner: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
            return substitute(value, dict(zip(operands, parameters, strict=True)))

        return call_composite(emitter, HOST, operands, body, {"operator": callee_name(module, value)})

    return rebuild(module, visit)
