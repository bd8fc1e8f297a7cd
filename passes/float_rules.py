"""Applies rules to the float operators of a function, and lets each result keep the operator's name."""

from collections.abc import Mapping

from tvm import ir, relax

from passes.rewrite import Emitter, Rule, rewrite_calls


def rewrite_float_calls(module: ir.IRModule, rules: Mapping[str, Rule]) -> ir.IRModule:
    """Applies `rules` to the calls in main of which the first argument and result are float32 and not empty.

    A rule may return a variable that it emitted last: that takes the name of the call which it replaces.
    """
    return rewrite_calls(module, {name: _named(_of_floats(rule)) for name, rule in rules.items()})


def _of_floats(rule: Rule) -> Rule:
    def guarded(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
        return rule(emitter, call) if _is_float(call) and _is_float(call.args[0]) else None

    return guarded


def _is_float(expr: relax.Expr) -> bool:
    """Whether a tensor, or the first of a tuple, is float32 and has elements; what is no tensor passes."""
    if isinstance(expr, relax.Tuple):
        return _is_float(expr.fields[0])
    kind = expr.ty.fields[0] if isinstance(expr.ty, ir.TupleType) else expr.ty
    if not isinstance(kind, relax.TensorType):
        return True
    return str(kind.dtype) == "float32" and 0 not in [int(extent) for extent in kind.shape]


def _named(rule: Rule) -> Rule:
    def unbound(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
        count = len(emitter.bindings)
        result = rule(emitter, call)
        if len(emitter.bindings) > count and emitter.bindings[-1].var.same_as(result):
            return emitter.bindings.pop().value
        return result

    return unbound
