"""No operator of `main` is constant, computed twice, or without effect.

Run first, so that other passes see plain patterns, and again after lowering, which leaves moves of moves and
shared subexpressions. Element-wise operators, functions, products and moves of constants are evaluated; the identities are
in `passes.algebra`; of equal calls the first is kept, with its name.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tvm
from tvm import ir, relax

from nmc.pwl.functions import function_named
from passes.algebra import RULES
from passes.definitions import operator_name
from passes.matrix_form.unary import UNARY
from passes.numpy_meaning import evaluate_elementwise
from passes.rewrite import (
    Emitter,
    callee_attributes,
    callee_name,
    constant_value,
    dtype_of,
    rebuild,
    shape_of,
)

LARGEST_GROWTH = 1 << 16
"""A constant is not evaluated when that yields this many elements more than it is made of."""

COMMUTATIVE = frozenset({"relax.add", "relax.multiply", "relax.maximum", "relax.minimum"})

SMALL_CONSTANT = 64
"""Constants of up to this many elements are compared by value, larger ones by identity."""

Key = tuple[object, ...]


@tvm.transform.module_pass(opt_level=0, name="nmc.Simplify")
def simplify(module: ir.IRModule, context: tvm.transform.PassContext) -> ir.IRModule:
    """Main, simplified in order: arguments before the calls that use them."""
    computed: dict[Key, relax.Expr] = {}
    bound_next: list[Key] = []

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        if bound_next:  # the call that the last visit returned now has its variable
            computed[bound_next.pop()] = emitter.bindings[-1].var
        if isinstance(value, relax.Call) and callee_name(module, value) == UNARY:
            value = _applied(emitter, value, callee_attributes(module, value))
        simple = simplified(emitter, value) if isinstance(value, relax.Call) else value
        if not isinstance(simple, relax.Call):
            return simple
        key = _key(simple)
        if key in computed:
            return computed[key]
        bound_next.append(key)
        return simple

    return rebuild(module, visit)


def simplified(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """The call evaluated, or rewritten until no rule applies."""
    typed = emitter.builder.normalize(call)
    value = _evaluated(typed)
    if value is not None:
        return emitter.constant(value, dtype_of(typed))
    rule = RULES.get(operator_name(typed))
    replacement = rule(emitter, typed) if rule is not None else None
    if replacement is None:
        return typed
    return simplified(emitter, replacement) if isinstance(replacement, relax.Call) else replacement


def _applied(emitter: Emitter, call: relax.Call, attributes: Mapping[str, Any]) -> relax.Expr:
    """A unary function of a constant evaluated; any other call of one as it is."""
    value = constant_value(call.args[0])
    if value is None:
        return call
    parameters = {str(name): float(number) for name, number in attributes["parameters"].items()}
    return emitter.constant(function_named(str(attributes["function"]), parameters)(value))


def _evaluated(call: relax.Call) -> np.ndarray | None:
    """The value of an operator on constants, floats computed in float64; None if it is to stay."""
    values = [constant_value(argument) for argument in call.args]
    constants = [value for value in values if value is not None]
    if not constants or any(isinstance(argument, relax.Var | relax.Tuple) for argument in call.args):
        return None
    if not isinstance(call.ty, relax.TensorType):
        return None
    arrays = [value.astype(np.float64) if value.dtype.kind == "f" else value for value in constants]
    if int(np.prod(shape_of(call))) > sum(array.size for array in arrays) + LARGEST_GROWTH:
        return None
    name = operator_name(call)
    if name == "relax.reshape":
        return arrays[0].reshape(shape_of(call))
    if name == "relax.matmul" and len(arrays) == 2:
        return np.matmul(*arrays)
    if name == "relax.broadcast_to":
        return np.broadcast_to(arrays[0], shape_of(call))
    if name == "relax.permute_dims":
        axes = call.attrs.axes
        return arrays[0].transpose(None if axes is None else [int(axis) for axis in axes])
    value = evaluate_elementwise(call, arrays)
    return value if value is not None and value.shape == shape_of(call) else None


def _key(call: relax.Call) -> Key:
    """Equal for calls that compute the same."""
    operands = [_operand_key(argument) for argument in call.args]
    name = operator_name(call)
    if name in COMMUTATIVE:
        operands.sort(key=hash)
    return (name or call.op, str(call.attrs), str(call.ty), *operands)


def _operand_key(argument: relax.Expr) -> object:
    if isinstance(argument, relax.Tuple):
        return tuple(_operand_key(item) for item in argument.fields)
    value = constant_value(argument)
    if value is not None:
        return (str(value.dtype), value.shape, value.tobytes()) if value.size <= SMALL_CONSTANT else argument
    return argument if isinstance(argument, relax.Var | ir.GlobalVar) else str(argument)
