"""No softmax or log-softmax is left: maximum, exponential, a sum as a product with ones, and reciprocal.

Run before the reductions (it emits `relax.max`) and before `passes.lower_unary`. With m the maximum along the
axis, softmax = exp(x - m) · 1/Σ exp(x - m) and log-softmax = (x - m) - log Σ exp(x - m). A softmax that a
model spells out without subtracting the maximum gets it subtracted: no table could hold the range of its
exponentials. A logarithm of a sum of exponentials likewise: m + log Σ exp(x - m).
"""

from collections.abc import Mapping

import numpy as np
import tvm
from tvm import ir, relax

from passes.definitions import arguments_of, definition, operator_name
from passes.float_rules import rewrite_float_calls
from passes.matrix_form.unary import unary
from passes.rewrite import Emitter, Rule, shape_of
from passes.views import reshape

_op = relax.op


def _softmax(emitter: Emitter, call: relax.Call) -> relax.Expr:
    x, order = _axis_last(emitter, call.args[0], int(call.attrs.axis))
    power = emitter.emit(unary(emitter, _below_maximum(emitter, x), "exp"))
    inverse = emitter.emit(unary(emitter, _sum_last(emitter, power), "reciprocal"))
    return _restored(emitter, _op.multiply(power, inverse), order)


def _log_softmax(emitter: Emitter, call: relax.Call) -> relax.Expr:
    x, order = _axis_last(emitter, call.args[0], int(call.attrs.axis))
    shifted = _below_maximum(emitter, x)
    total = _sum_last(emitter, emitter.emit(unary(emitter, shifted, "exp")))
    logarithm = emitter.emit(unary(emitter, total, "log"))
    return _restored(emitter, _op.subtract(shifted, logarithm), order)


def _axis_last(emitter: Emitter, x: relax.Expr, axis: int) -> tuple[relax.Expr, list[int] | None]:
    """The tensor with `axis` exchanged with the last, and that permutation, which is its own inverse."""
    rank = len(shape_of(x))
    axis %= rank
    if axis == rank - 1:
        return x, None
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return emitter.emit(_op.permute_dims(x, order)), order


def _restored(emitter: Emitter, result: relax.Expr, order: list[int] | None) -> relax.Expr:
    return result if order is None else _op.permute_dims(emitter.emit(result), order)


def _below_maximum(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    largest = emitter.emit(_op.max(x, axis=[-1], keepdims=True))
    return emitter.emit(_op.subtract(x, largest))


def _sum_last(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    """The sum along the last axis, which stays with extent 1."""
    ones = emitter.constant(np.ones((shape_of(x)[-1], 1)))
    return emitter.emit(_op.matmul(x, ones))


def _divide(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """exp(x) / Σ exp(x) is softmax(x), unless x is the difference to something already."""
    power, total = call.args
    summed = definition(emitter, total)
    exponent = arguments_of(emitter, power, "relax.exp")
    if (
        exponent is None
        or summed is None
        or not isinstance(summed.op, ir.Op)
        or summed.op.name != "relax.sum"
    ):
        return None
    if not summed.args[0].same_as(power) or summed.attrs.axis is None or len(summed.attrs.axis) != 1:
        return None
    if not summed.attrs.keepdims or arguments_of(emitter, exponent[0], "relax.subtract") is not None:
        return None
    axis = int(summed.attrs.axis[0])
    return _softmax(emitter, _op.nn.softmax(exponent[0], axis=axis))


def _logarithm(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """log Σ exp(x), over any axes, unless x is the difference to something already."""
    summed = definition(emitter, call.args[0])
    if summed is None or operator_name(summed) != "relax.sum":
        return None
    exponent = arguments_of(emitter, summed.args[0], "relax.exp")
    if exponent is None or arguments_of(emitter, exponent[0], "relax.subtract") is not None:
        return None
    axes, x = summed.attrs.axis, exponent[0]
    largest = emitter.emit(_op.max(x, axis=axes, keepdims=True))
    powers = emitter.emit(_op.exp(emitter.emit(_op.subtract(x, largest))))
    total = emitter.emit(_op.sum(powers, axis=axes, keepdims=bool(summed.attrs.keepdims)))
    logarithm = emitter.emit(unary(emitter, total, "log"))
    return _op.add(reshape(emitter, largest, shape_of(call)), logarithm)


RULES: Mapping[str, Rule] = {
    "relax.nn.softmax": _softmax,
    "relax.nn.log_softmax": _log_softmax,
    "relax.divide": _divide,
    "relax.log": _logarithm,
}


@tvm.transform.module_pass(opt_level=0, name="nmc.DecomposeSoftmax")
def decompose_softmax(module: ir.IRModule, context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to the operators of main."""
    return rewrite_float_calls(module, RULES)
