"""Which tensors a step function tells apart to the last bit: their scales have to be powers of two.

Those of a mirror's argument and result, too: slopes of 1 are then exact in the ratio of the scales, and one that 16 bits
do not hold would be off by a part of the whole argument. Plain analysis of a module in matrix form with exact functions;
nothing is rewritten.
"""

from tvm import ir, relax

from nmc.pwl.functions import Function, function_named
from passes.matrix_form.moves import MOVES
from passes.matrix_form.unary import UNARY
from passes.rewrite import bindings_of, callee_attributes, callee_name


def unary_of(module: ir.IRModule, value: relax.Expr) -> Function | None:
    """The function that a binding's value applies, or None."""
    if not isinstance(value, relax.Call) or callee_name(module, value) != UNARY:
        return None
    attributes = callee_attributes(module, value)
    return function_named(str(attributes["function"]), dict(attributes["parameters"].items()))


def is_step(module: ir.IRModule, value: relax.Expr) -> bool:
    """Whether a binding's value applies a function that jumps."""
    applied = unary_of(module, value)
    return applied is not None and (applied.whole or bool(applied.jumps))


def is_mirror(module: ir.IRModule, value: relax.Expr) -> bool:
    """Whether a binding's value mirrors its argument."""
    applied = unary_of(module, value)
    return applied is not None and applied.name == "mirror"


def exact_operands(module: ir.IRModule) -> set[str]:
    """The names of the variables whose values a step function or a mirror reads: as they are, moved, as the larger of two,
    or as the difference of two; also of those that a mirror makes."""
    definitions = {binding.var.name: binding.value for binding in bindings_of(module["main"])}
    found = {name for name, value in definitions.items() if is_mirror(module, value)}
    waiting = [v.args[0] for v in definitions.values() if is_step(module, v) or is_mirror(module, v)]
    while waiting:
        expr = waiting.pop()
        if not isinstance(expr, relax.Var) or expr.name in found:
            continue
        found.add(expr.name)
        value = definitions.get(expr.name)
        if not isinstance(value, relax.Call):
            continue
        name = callee_name(module, value)
        if name in ("relax.add", "relax.subtract"):
            waiting += list(value.args)
        elif name in MOVES or (name == UNARY and callee_attributes(module, value)["function"] == "relu"):
            source = value.args[0]
            waiting += list(source.fields) if isinstance(source, relax.Tuple) else [source]
    return found
