"""Division, powers, negation, squares and selections of floats are sums, products and unary functions.

Run after the composites are recognised and before `passes.lower_unary`. What stays: a selection or a division
of integers, floor division, comparisons (`passes.lower_comparisons`).
"""

from collections.abc import Callable, Mapping

import numpy as np
import tvm
from tvm import ir, relax

from passes.definitions import arguments_of
from passes.matrix_form.unary import unary
from passes.rewrite import Emitter, Rule, constant_value, dtype_of, rewrite_calls, shape_of
from passes.scalars import FINITE_INFINITY, scalar_of
from passes.whole_numbers import is_whole, is_within

_op = relax.op

LEAST_BASE = 2.0**-16
"""Of powers with a computed exponent: octaves of the logarithm's table below it would take segments from the others."""

MASKING = 1.0e9
"""A constant at or beyond this magnitude masks: activations vanish in half its float32 step (32)."""


def _divide(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    dividend, divisor = call.args
    value = constant_value(divisor)
    if value is not None:
        if not value.all() or not np.isfinite(value).all():
            return None
        return _op.multiply(dividend, emitter.constant(1.0 / value.astype(np.float64)))
    inverse = reciprocal(emitter, divisor)
    if scalar_of(dividend, divisor) == 1.0:
        return inverse
    return _op.multiply(dividend, emitter.emit(inverse))


def reciprocal(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    """1/x, where x = √v becomes v^(-1/2) and x = exp(v) becomes exp(-v)."""
    root = arguments_of(emitter, x, "relax.sqrt")
    if root is not None:
        return _op.rsqrt(root[0])
    exponent = arguments_of(emitter, x, "relax.exp")
    if exponent is not None:
        return _op.exp(emitter.emit(_op.multiply(exponent[0], emitter.constant(-1.0))))
    return unary(emitter, x, "reciprocal")


def _power(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    base, power = call.args
    exponent = scalar_of(power, base)
    if exponent is not None:
        return _constant_power(emitter, base, exponent)
    number = scalar_of(base, power)
    if number is not None and number > 0.0:
        return _op.exp(emitter.emit(_op.multiply(power, emitter.constant(np.log(number)))))
    return _computed_power(emitter, base, power)


def _computed_power(emitter: Emitter, base: relax.Expr, power: relax.Expr) -> relax.Expr | None:
    """|base|^power as exp(power · log|base|), times 0 for a base of 0 and -1 for a negative base and an odd power.

    A base that is constant or computed from a positive function needs no such factor. A base nearer to 0 than LEAST_BASE
    counts as that; a negative one to a power that is not whole is no number, and has any value here.
    """
    value = constant_value(base)
    if value is not None:
        if not (value > 0.0).all():
            return None
        return _op.exp(emitter.emit(_op.multiply(power, emitter.constant(np.log(value.astype(np.float64))))))
    positive = arguments_of(emitter, base, "relax.exp", "relax.sigmoid") is not None
    size = base if positive else emitter.emit(_op.maximum(_op.abs(base), emitter.constant(LEAST_BASE)))
    result = emitter.emit(_op.exp(_op.multiply(power, _op.log(size))))
    if positive:
        return result
    zero, (odd, above) = emitter.constant(0.0), _parity_and_sign(emitter, power)
    turned = _op.multiply(_number(_op.less(base, zero)), _op.multiply(odd, emitter.constant(2.0)))
    vanished = _op.multiply(_number(_op.equal(base, zero)), above)
    factor = _op.subtract(_op.subtract(emitter.constant(1.0), turned), vanished)
    return _op.multiply(result, factor)


def _parity_and_sign(emitter: Emitter, power: relax.Expr) -> tuple[relax.Expr, relax.Expr]:
    """power mod 2, and 1 where the power is above 0."""
    value = constant_value(power)
    if value is not None:
        return emitter.constant(np.mod(value, 2.0)), emitter.constant((value > 0.0).astype(np.float32))
    half = emitter.emit(_op.floor(_op.multiply(power, emitter.constant(0.5))))
    odd = emitter.emit(_op.subtract(power, _op.multiply(half, emitter.constant(2.0))))
    return odd, emitter.emit(_number(_op.greater(power, emitter.constant(0.0))))


def _number(condition: relax.Expr) -> relax.Expr:
    return _op.astype(condition, "float32")


def _floor_mod(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """a - b·floor(a / b), which has the sign of b."""
    a, b = call.args
    divided = _divide(emitter, emitter.builder.normalize(_op.divide(a, b)))
    ratio = _op.divide(a, b) if divided is None else divided
    whole = emitter.emit(_op.floor(emitter.emit(ratio)))
    return _op.subtract(a, emitter.emit(_op.multiply(whole, b)))


def _whole_part(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """A cast to integers and back is floor(max(x, 0)) - floor(max(-x, 0)), and nothing where x is whole already.

    To narrow integers it could also wrap, unless x is clipped to what they hold.
    """
    inner, integers = arguments_of(emitter, call.args[0], "relax.astype"), dtype_of(call.args[0])
    if inner is None or dtype_of(inner[0]) != "float32" or not integers.startswith(("int", "uint")):
        return None
    if integers not in ("int32", "int64") and not is_within(emitter, inner[0], integers):
        return None
    if is_whole(emitter, inner[0]):
        return inner[0]
    opposite = emitter.emit(_op.multiply(inner[0], emitter.constant(-1.0)))
    above, below = (emitter.emit(_op.floor(emitter.emit(_op.nn.relu(side)))) for side in (inner[0], opposite))
    return _op.subtract(above, below)


def _constant_power(emitter: Emitter, x: relax.Expr, exponent: float) -> relax.Expr:
    if exponent == 1.0:
        return x
    if exponent == 2.0:
        return _op.multiply(x, x)
    if exponent in (3.0, 4.0):
        square = emitter.emit(_op.multiply(x, x))
        return _op.multiply(square, x if exponent == 3.0 else square)
    if exponent == 0.5:
        return _op.sqrt(x)
    if exponent == -0.5:
        return _op.rsqrt(x)
    if exponent == -1.0:
        return reciprocal(emitter, x)
    return unary(emitter, x, "pow", exponent=exponent)


def _negative(emitter: Emitter, call: relax.Call) -> relax.Expr:
    return _op.multiply(call.args[0], emitter.constant(-1.0))


def _square(emitter: Emitter, call: relax.Call) -> relax.Expr:
    return _op.multiply(call.args[0], call.args[0])


_ORDER = {
    "relax.greater": _op.maximum,
    "relax.greater_equal": _op.maximum,
    "relax.less": _op.minimum,
    "relax.less_equal": _op.minimum,
}
_OPPOSITE = {_op.maximum: _op.minimum, _op.minimum: _op.maximum}


def _where(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    condition, chosen, otherwise = call.args
    extremum = _extremum(emitter, condition, chosen, otherwise)
    if extremum is not None:
        return extremum
    if _never_holds(emitter, condition) and shape_of(otherwise) == shape_of(call):
        return otherwise
    selected = _selected(emitter, condition, _finite(emitter, chosen), _finite(emitter, otherwise))
    if shape_of(emitter.builder.normalize(selected)) == shape_of(call):
        return selected
    return _op.broadcast_to(emitter.emit(selected), list(shape_of(call)))


def _never_holds(emitter: Emitter, condition: relax.Expr) -> bool:
    """Whether a condition asks if something computed is NaN or infinite: masks are finite here, and integers are."""
    if arguments_of(emitter, condition, "relax.isnan", "relax.isinf") is not None:
        return True
    compared = arguments_of(emitter, condition, "relax.equal")
    numbers = [] if compared is None else [scalar_of(side) for side in compared]
    return any(number is not None and np.isinf(number) for number in numbers)


def _extremum(
    emitter: Emitter, condition: relax.Expr, chosen: relax.Expr, otherwise: relax.Expr
) -> relax.Expr | None:
    """where(a > b, a, b) is the maximum of a and b, and so on."""
    for operator, extremum in _ORDER.items():
        sides = arguments_of(emitter, condition, operator)
        if sides is None:
            continue
        if _same(sides[0], chosen) and _same(sides[1], otherwise):
            return extremum(*sides)
        if _same(sides[1], chosen) and _same(sides[0], otherwise):
            return _OPPOSITE[extremum](*sides)
    return None


def _same(a: relax.Expr, b: relax.Expr) -> bool:
    number = scalar_of(a)
    return a.same_as(b) or (number is not None and number == scalar_of(b) and shape_of(a) == shape_of(b))


def _finite(emitter: Emitter, expr: relax.Expr) -> relax.Expr:
    """A constant with finite numbers for its infinities; anything else as it is."""
    value = constant_value(expr)
    if value is None or not np.isinf(value).any():
        return expr
    finite = np.nan_to_num(value, nan=np.nan, posinf=FINITE_INFINITY, neginf=-FINITE_INFINITY)
    return emitter.constant(finite)


def _with_finite_masks(operator: Callable[..., relax.Expr]) -> Rule:
    """A mask of minus infinity as a finite one: nothing computed may be infinite, or zero times it is NaN."""

    def rule(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
        finite = [_finite(emitter, argument) for argument in call.args]
        changed = any(not new.same_as(old) for new, old in zip(finite, call.args, strict=True))
        return operator(*finite) if changed else None

    return rule


def _selected(
    emitter: Emitter, condition: relax.Expr, chosen: relax.Expr, otherwise: relax.Expr
) -> relax.Expr:
    """condition·chosen + (1 - condition)·otherwise, with the terms left out that change nothing.

    A masking scalar swallows what is added to it, so the other side needs no factor.
    """
    high, low = scalar_of(chosen), scalar_of(otherwise)
    if low == 0.0:
        return _gated(emitter, condition, chosen, negate=False)
    if high == 0.0:
        return _gated(emitter, condition, otherwise, negate=True)
    if low is not None and abs(low) >= MASKING:
        return _op.add(chosen, emitter.emit(_gated(emitter, condition, otherwise, negate=True)))
    if high is not None and abs(high) >= MASKING:
        return _op.add(otherwise, emitter.emit(_gated(emitter, condition, chosen, negate=False)))
    first = emitter.emit(_gated(emitter, condition, chosen, negate=False))
    return _op.add(first, emitter.emit(_gated(emitter, condition, otherwise, negate=True)))


def _gated(emitter: Emitter, condition: relax.Expr, value: relax.Expr, negate: bool) -> relax.Expr:
    """The value where the condition (or its negation) holds, zero elsewhere."""
    known, number = constant_value(condition), constant_value(value)
    if known is not None:
        gate: np.ndarray = (known.astype(bool) != negate).astype(np.float32)
        return (
            emitter.constant(gate * number)
            if number is not None
            else _op.multiply(value, emitter.constant(gate))
        )
    held = emitter.emit(_op.logical_not(condition)) if negate else condition
    factor = emitter.emit(_op.astype(held, "float32"))
    return (
        factor
        if scalar_of(value) == 1.0 and number is not None and number.ndim == 0
        else _op.multiply(factor, value)
    )


RULES: Mapping[str, Rule] = {
    "relax.divide": _divide,
    "relax.power": _power,
    "relax.floor_mod": _floor_mod,
    "relax.astype": _whole_part,
    "relax.negative": _negative,
    "relax.square": _square,
    "relax.where": _where,
    "relax.add": _with_finite_masks(_op.add),
    "relax.subtract": _with_finite_masks(_op.subtract),
    "relax.multiply": _with_finite_masks(_op.multiply),
}


def _of_floats(rule: Rule) -> Rule:
    return lambda emitter, call: rule(emitter, call) if dtype_of(call) == "float32" else None


@tvm.transform.module_pass(opt_level=0, name="nmc.LowerArithmetic")
def lower_arithmetic(module: ir.IRModule, context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to the float operators of main."""
    return rewrite_calls(module, {operator: _of_floats(rule) for operator, rule in RULES.items()})
