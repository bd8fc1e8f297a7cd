"""Floor, ceil and round of floats are tables of stairs, one where the range has few whole numbers, else one a digit.

Run after calibration, which tells the range, and before `passes.formats`. A staircase of many steps is taken apart as a
number is into digits: what is a multiple of 32^k below x, then the rest. x, the multiples and the rests are exact in
integers, as their scales are powers of two (`passes.exact_operands`), so the result is floor, ceil or round of the
integer that stands for x, ties included.
"""

import math

from tvm import ir, relax

from nmc.pwl.segments import MAXIMUM_BREAKPOINT_ENTRIES
from nmc.quant.formats import TensorRange
from passes.formats import HEADROOM
from passes.matrix_form.unary import unary
from passes.ranges import Ranges, range_of
from passes.rewrite import Emitter, callee_name, rebuild

DIGIT = 32
"""The step of a staircase in steps of the next finer one, which has that many levels and the first of the next."""

MOST_DIGITS = 3
"""Whole numbers of more than 16 bits: 32^3 times the levels of the coarsest staircase."""

ROUNDINGS = ("floor", "ceil", "round")


def expand_rounding(module: ir.IRModule, ranges: Ranges) -> tuple[ir.IRModule, dict[str, TensorRange]]:
    """The module without roundings of floats, but for such as reach beyond all staircases, and the ranges with those of
    the new tensors."""
    extended = dict(ranges)

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        name = callee_name(module, value) if isinstance(value, relax.Call) else ""
        if name.removeprefix("relax.") not in ROUNDINGS or binding.var.name not in ranges:
            return value
        expanded = _expanded(emitter, value.args[0], name.removeprefix("relax."), extended)
        return value if expanded is None else expanded

    return rebuild(module, visit), extended


def _expanded(
    emitter: Emitter, x: relax.Expr, rounding: str, ranges: dict[str, TensorRange]
) -> relax.Expr | None:
    seen = range_of(x, ranges)
    reach = HEADROOM * max(seen.magnitude, 0.5)
    span = TensorRange(-1.0 if seen.low >= 0.0 else -reach, 1.0 if seen.high <= 0.0 else reach)
    digits = next(
        (k for k in range(MOST_DIGITS + 1) if _levels(span, DIGIT**k) <= MAXIMUM_BREAKPOINT_ENTRIES), None
    )
    if digits is None:
        return None
    multiples: relax.Expr | None = None
    for k in range(digits, 0, -1):
        part = emitter.emit(_stairs(emitter, x, "floor", span, DIGIT**k))
        ranges[part.name] = TensorRange(_multiple(seen.low, DIGIT**k), _multiple(seen.high, DIGIT**k))
        x = emitter.emit(relax.op.subtract(x, part))
        seen = span = TensorRange(0.0, float(DIGIT**k))
        ranges[x.name] = span
        multiples = part if multiples is None else _added(emitter, multiples, part, ranges)
    last = _stairs(emitter, x, rounding, span, 1)
    if multiples is None:
        return last
    digit = emitter.emit(last)
    ranges[digit.name] = span
    return relax.op.add(multiples, digit)


def _added(emitter: Emitter, a: relax.Expr, b: relax.Expr, ranges: dict[str, TensorRange]) -> relax.Expr:
    total = emitter.emit(relax.op.add(a, b))
    ranges[total.name] = TensorRange(ranges[a.name].low, ranges[a.name].high + ranges[b.name].high)
    return total


def _multiple(x: float, step: int) -> float:
    return float(math.floor(x / step) * step)


def _levels(span: TensorRange, step: int) -> int:
    return math.ceil(span.high / step) - math.floor(span.low / step) + 1


def _stairs(emitter: Emitter, x: relax.Expr, rounding: str, span: TensorRange, step: int) -> relax.Call:
    lowest, highest = math.floor(span.low / step) * step, math.ceil(span.high / step) * step
    return unary(emitter, x, rounding, step=step, lowest=lowest, highest=highest)
