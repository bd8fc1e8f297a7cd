"""No maximum or minimum of two tensors is left: max(a, b) = b + relu(a - b), min(a, b) = b - relu(b - a).

Run after calibration: the ranges of the new tensors follow from those of a, b and the result. In integers the expansion
is exact, because the difference is kept in a wide format of the operands' scale (`passes.formats`).
"""

from tvm import ir, relax

from nmc.quant.formats import TensorRange
from passes.matrix_form.unary import unary
from passes.ranges import Ranges, range_of
from passes.rewrite import Emitter, callee_name, rebuild


def expand_maximum(module: ir.IRModule, ranges: Ranges) -> tuple[ir.IRModule, dict[str, TensorRange]]:
    """The module without maxima and minima, and the ranges with those of the new tensors."""
    extended = dict(ranges)

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        name = callee_name(module, value) if isinstance(value, relax.Call) else ""
        if name in ("relax.maximum", "relax.minimum") and binding.var.name in ranges:
            return _expanded(emitter, value, name == "relax.maximum", extended)
        return value

    return rebuild(module, visit), extended


def _expanded(
    emitter: Emitter, call: relax.Call, is_maximum: bool, ranges: dict[str, TensorRange]
) -> relax.Expr:
    a, b = call.args
    larger, smaller = (a, b) if is_maximum else (b, a)
    difference = emitter.emit(relax.op.subtract(larger, smaller))
    high, low = range_of(larger, ranges), range_of(smaller, ranges)
    ranges[difference.name] = TensorRange(high.low - low.high, high.high - low.low)
    excess = emitter.emit(unary(emitter, difference, "relu"))
    ranges[excess.name] = TensorRange(0.0, max(0.0, ranges[difference.name].high))
    return relax.op.add(b, excess) if is_maximum else relax.op.subtract(b, excess)
