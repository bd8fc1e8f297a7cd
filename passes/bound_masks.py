"""No tensor holds values far outside what its consumers can tell apart: such values are clipped where they arise.

An additive mask of -3.4e38 or -10000 means minus infinity. In floats it would drown what it is compared with, as
max(a, b) = b + relu(a - b) shows; in integers it would set the scale, since after `expand_maximum` nothing proves any more
that it is not needed. So this runs after calibration and before that, on what maxima read.
"""

from functools import reduce

import numpy as np
from tvm import ir, relax

from nmc.quant.formats import TensorRange
from passes.matrix_form.moves import MOVES
from passes.matrix_form.unary import UNARY, unary
from passes.ranges import FAR, FLOAT32_HIGHEST, Ranges, cut, needed_ranges, range_of
from passes.rewrite import Emitter, bindings_of, callee_name, rebuild

COSTLY = 2.0**3
"""A range this many times what its consumers need costs three bits of precision, which a clip is worth."""


def bound_masks(module: ir.IRModule, ranges: Ranges) -> tuple[ir.IRModule, dict[str, TensorRange]]:
    """The module with far values clipped, and the ranges that result."""
    needed, compared = needed_ranges(module, ranges), _compared(module)
    bounded = dict(ranges)

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        name = binding.var.name
        if not isinstance(value, relax.Call) or name not in ranges:
            return value
        callee = callee_name(module, value)
        span = _within_operands(callee, value, ranges[name], bounded)
        bounded[name] = span
        kept = cut(span, needed[name]) if name in needed else span
        # what a move reads was clipped where it arose, unless that has other consumers that can tell more apart
        worthwhile = FAR if callee in MOVES else COSTLY
        if name not in compared or span.magnitude <= worthwhile * max(kept.magnitude, 1.0):
            return value
        source = emitter.emit(value)
        bounded[source.name], bounded[name] = span, kept
        return unary(emitter, source, "clip", lo=kept.low, hi=kept.high)

    return rebuild(module, visit), bounded


def _compared(module: ir.IRModule) -> set[str]:
    """The variables that a maximum or minimum reads, directly or through moves and arithmetic."""
    found: set[str] = set()
    for binding in reversed(bindings_of(module["main"])):
        kind = callee_name(module, binding.value) if isinstance(binding.value, relax.Call) else ""
        if kind in ("relax.maximum", "relax.minimum") or (binding.var.name in found and kind != UNARY):
            found |= {variable.name for variable in relax.analysis.free_vars(binding.value)}
    return found


def _within_operands(name: str, call: relax.Call, seen: TensorRange, bounded: Ranges) -> TensorRange:
    """What calibration saw, cut by interval arithmetic over operands that may have been clipped since."""
    if name in MOVES:
        sources = call.args[0].fields if isinstance(call.args[0], relax.Tuple) else [call.args[0]]
        if any(isinstance(source, relax.Var) and source.name not in bounded for source in sources):
            return seen
        moved = reduce(TensorRange.union, (range_of(source, bounded) for source in sources))
        return seen if name == "relax.nn.pad" else cut(seen, moved)
    if name not in ("relax.add", "relax.subtract", "relax.maximum", "relax.minimum"):
        return seen
    if any(isinstance(argument, relax.Var) and argument.name not in bounded for argument in call.args):
        return seen
    a, b = (range_of(argument, bounded) for argument in call.args)
    low, high = {
        "relax.add": (a.low + b.low, a.high + b.high),
        "relax.subtract": (a.low - b.high, a.high - b.low),
        "relax.maximum": (max(a.low, b.low), max(a.high, b.high)),
        "relax.minimum": (min(a.low, b.low), min(a.high, b.high)),
    }[name]
    bounds = np.clip([low, high], -FLOAT32_HIGHEST, FLOAT32_HIGHEST)
    return cut(seen, TensorRange(float(bounds[0]), float(bounds[1])))
