"""Sines and cosines read arguments within half a wave, where their tables are short: others are mirrored into it first.

Run after calibration, which tells the range, and before `passes.formats`. A sine is symmetric about its crests: mirrored
there, again and again, every argument comes to lie between -π/2 and π/2, where the sine is the same. That is exactly
piecewise linear, so nothing is lost but the rounding of the result; where the range has more half waves than a table has
segments, a first table mirrors by as many half waves as a second one can take. A cosine is a sine a quarter wave on. A
tangent with a pole within the range is their quotient.
"""

import math

from tvm import ir, relax

from nmc.pwl.segments import MAXIMUM_BREAKPOINT_ENTRIES
from nmc.quant.formats import TensorRange
from passes.formats import HEADROOM
from passes.matrix_form.unary import UNARY, unary
from passes.ranges import Ranges, range_of
from passes.rewrite import Emitter, callee_attributes, callee_name, rebuild

QUARTER = math.pi / 2
PHASES = {"sin": 0.0, "cos": QUARTER}
"""How far the sine of which the function is a part is ahead of its argument."""
MOST_WIDTHS = MAXIMUM_BREAKPOINT_ENTRIES - 4
"""Of a mirror's table: two flat ends, and two widths that the range ends within."""


def fold_waves(module: ir.IRModule, ranges: Ranges) -> tuple[ir.IRModule, dict[str, TensorRange]]:
    """The module whose sines and cosines of arguments beyond a quarter wave read mirrored ones, but for such as reach
    beyond what two tables mirror, and the ranges with those of the new tensors."""
    extended = dict(ranges)

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        if not isinstance(value, relax.Call) or callee_name(module, value) != UNARY:
            return value
        function = str(callee_attributes(module, value)["function"])
        phase = PHASES.get(function)
        if function == "tan" and binding.var.name in ranges:
            quotient = _quotient(emitter, value.args[0], ranges[binding.var.name], extended)
            return value if quotient is None else quotient
        if phase is None or binding.var.name not in ranges:
            return value
        folded = _folded(emitter, value.args[0], phase, extended)
        return value if folded is None else unary(emitter, folded, "sin")

    return rebuild(module, visit), extended


def _quotient(
    emitter: Emitter, x: relax.Expr, tangent: TensorRange, ranges: dict[str, TensorRange]
) -> relax.Expr | None:
    """sin x·cos x / cos² x where the argument's range holds a pole of the tangent, beside which no table of it is any good.

    The square, unlike the cosine, is positive, and no smaller than the largest tangent says.
    """
    seen = range_of(x, ranges)
    if math.floor(seen.low / math.pi + 0.5) == math.floor(seen.high / math.pi + 0.5):
        return None
    places = [_folded(emitter, x, PHASES[wave], ranges) for wave in ("sin", "cos")]
    if None in places:
        return None
    sine, cosine = (emitter.emit(unary(emitter, place, "sin")) for place in places)
    ranges[sine.name] = ranges[cosine.name] = TensorRange(-1.0, 1.0)
    product, square = (emitter.emit(relax.op.multiply(wave, cosine)) for wave in (sine, cosine))
    inverse = emitter.emit(unary(emitter, square, "reciprocal"))
    largest = 1.0 + tangent.magnitude**2  # 1/cos² = 1 + tan²
    ranges[product.name] = TensorRange(-0.5, 0.5)
    ranges[square.name], ranges[inverse.name] = TensorRange(1.0 / largest, 1.0), TensorRange(1.0, largest)
    return relax.op.multiply(product, inverse)


def _folded(
    emitter: Emitter, x: relax.Expr, phase: float, ranges: dict[str, TensorRange]
) -> relax.Expr | None:
    """The argument mirrored into [-π/2, π/2]; None where it is there, but for its phase, or too far away."""
    seen = range_of(x, ranges)
    if seen.magnitude <= QUARTER:
        return None
    span = TensorRange(HEADROOM * min(seen.low, 0.0), HEADROOM * max(seen.high, 0.0))
    widths = (span.high - span.low) / math.pi
    if widths > MOST_WIDTHS**2:
        return None
    if widths > MOST_WIDTHS:
        low = QUARTER - MOST_WIDTHS * math.pi
        x = _mirrored(emitter, x, TensorRange(low, QUARTER), phase, span, ranges)
        phase, span = 0.0, ranges[x.name]
    return _mirrored(emitter, x, TensorRange(-QUARTER, QUARTER), phase, span, ranges)


def _mirrored(
    emitter: Emitter,
    x: relax.Expr,
    into: TensorRange,
    phase: float,
    span: TensorRange,
    ranges: dict[str, TensorRange],
) -> relax.Expr:
    """x + phase, x within a span, mirrored at both ends of an interval until it lies inside."""
    mirrored = emitter.emit(
        unary(
            *(emitter, x, "mirror"),
            low=into.low,
            high=into.high,
            phase=phase,
            lowest=span.low,
            highest=span.high,
        )
    )
    ranges[mirrored.name] = into
    return mirrored
