"""A truth value that arithmetic reads is a step function of floats, 0 or 1, wherever floats decide it.

Run after `passes.lower_arithmetic`, which makes a selection a product with its condition, and before
`passes.lower_unary`. Comparisons of floats, the logic that combines them and the moves in between become tables and
arithmetic; what integers or inputs decide stays on the host, as do truth values that are outputs.
"""

from collections.abc import Mapping

import tvm
from tvm import ir, relax

from passes.definitions import definition, operator_name
from passes.matrix_form.moves import REARRANGING
from passes.matrix_form.unary import unary
from passes.rewrite import Emitter, Rule, constant_value, dtype_of, rewrite_calls
from passes.scalars import scalar_of

_op = relax.op

MIRRORED: Mapping[str, str] = {
    "greater": "less",
    "greater_equal": "less_equal",
    "less": "greater",
    "less_equal": "greater_equal",
    "equal": "equal",
    "not_equal": "not_equal",
}
"""Each comparison, and the one that holds of the same operands in the other order."""

NEGATED: Mapping[str, str] = {
    "greater": "less_equal",
    "greater_equal": "less",
    "less": "greater_equal",
    "less_equal": "greater",
    "equal": "not_equal",
    "not_equal": "equal",
}
"""Each comparison, and the one that holds where it does not."""


def truth(emitter: Emitter, condition: relax.Expr, negate: bool = False) -> relax.Expr | None:
    """1.0 where a condition (or its negation) holds and 0.0 elsewhere, computed from floats; None where it cannot be."""
    value = constant_value(condition)
    if value is not None:
        return emitter.constant((value.astype(bool) != negate).astype("float32"))
    call = definition(emitter, condition)
    name = operator_name(call) if call is not None else ""
    if call is None or not name:
        return None
    if name.removeprefix("relax.") in MIRRORED:
        return _compared(emitter, name.removeprefix("relax."), call, negate)
    if name == "relax.logical_not":
        return truth(emitter, call.args[0], not negate)
    if name == "relax.logical_and":
        return _both(emitter, call, negate)
    if name == "relax.logical_or":  # not (not a and not b)
        return _both(emitter, call, not negate, of_negations=True)
    if name == "relax.logical_xor":
        return _either(emitter, call, negate)
    if name == "relax.astype" and dtype_of(call.args[0]) == "float32":
        comparison = "equal" if negate else "not_equal"
        return emitter.emit(unary(emitter, call.args[0], comparison, threshold=0.0))
    if name in REARRANGING:
        moved = truth(emitter, call.args[0], negate)
        rest = list(call.args[1:])
        return None if moved is None else emitter.emit(relax.Call(call.op, [moved, *rest], call.attrs))
    return None


def _compared(emitter: Emitter, comparison: str, call: relax.Call, negate: bool) -> relax.Expr | None:
    """A step of the difference, or of one operand where the other is a number."""
    left, right = call.args
    if dtype_of(left) != "float32":
        return None
    holds = NEGATED[comparison] if negate else comparison
    for x, other, name in ((left, right, holds), (right, left, MIRRORED[holds])):
        number = scalar_of(other, x)
        if number is not None:
            return emitter.emit(unary(emitter, x, name, threshold=number))
    difference = emitter.emit(_op.subtract(left, right))
    return emitter.emit(unary(emitter, difference, holds, threshold=0.0))


def _both(emitter: Emitter, call: relax.Call, negate: bool, of_negations: bool = False) -> relax.Expr | None:
    sides = [truth(emitter, side, of_negations) for side in call.args]
    if sides[0] is None or sides[1] is None:
        return None
    product = emitter.emit(_op.multiply(sides[0], sides[1]))
    return emitter.emit(_op.subtract(emitter.constant(1.0), product)) if negate else product


def _either(emitter: Emitter, call: relax.Call, negate: bool) -> relax.Expr | None:
    """The size of the difference, which is 1 where just one of them holds."""
    sides = [truth(emitter, call.args[0], negate), truth(emitter, call.args[1])]
    if sides[0] is None or sides[1] is None:
        return None
    return emitter.emit(_op.abs(emitter.emit(_op.subtract(sides[0], sides[1]))))


def _as_number(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    if dtype_of(call) != "float32" or dtype_of(call.args[0]) != "bool":
        return None
    return truth(emitter, call.args[0])


RULES: Mapping[str, Rule] = {"relax.astype": _as_number}


@tvm.transform.module_pass(opt_level=0, name="nmc.LowerComparisons")
def lower_comparisons(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to main."""
    return rewrite_calls(module, RULES)
