"""Looks from a variable back to the call that computed it, in the function that is being built."""

from tvm import ir, relax

from passes.rewrite import Emitter


def operator_name(call: relax.Expr) -> str:
    """The name of the operator that a call applies, as in `relax.add`; empty for anything else."""
    return str(call.op.name) if isinstance(call, relax.Call) and isinstance(call.op, ir.Op) else ""


def definition(emitter: Emitter, expr: relax.Expr) -> relax.Call | None:
    """The call that a variable is bound to; None for parameters, constants and anything else."""
    if isinstance(expr, relax.Var):
        for binding in reversed(emitter.bindings):
            if binding.var.same_as(expr):
                return binding.value if isinstance(binding.value, relax.Call) else None
    return None


def arguments_of(emitter: Emitter, expr: relax.Expr, *operators: str) -> tuple[relax.Expr, ...] | None:
    """The arguments of the call that `expr` is bound to when its operator is one of these, or None."""
    call = definition(emitter, expr)
    if call is not None and operator_name(call) in operators:
        return tuple(call.args)
    return None
