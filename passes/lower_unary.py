"""Every nonlinear operator of one float tensor is an `nmc.unary`, or arithmetic on such.

Run after the composites are recognised (`passes.recognise_activations`), before linearisation. What is not a curve
stays: floor, ceil and round, which calibrated ranges make tables of (`passes.expand_rounding`), isnan and the like.
"""

from collections.abc import Mapping

import numpy as np
import tvm
from tvm import ir, relax

from passes.definitions import arguments_of
from passes.float_rules import rewrite_float_calls
from passes.matrix_form.unary import unary
from passes.rewrite import Emitter, Rule, constant_value, shape_of
from passes.scalars import FLOAT32_HIGHEST, scalar_of

_op = relax.op

DIRECT: Mapping[str, str] = {
    **{
        f"relax.{name}": name
        for name in (
            *(
                "abs",
                "exp",
                "log",
                "sqrt",
                "sigmoid",
                "tanh",
                "erf",
                "sin",
                "cos",
                "tan",
                "asin",
                "acos",
                "atan",
            ),
            *("sinh", "cosh", "asinh", "acosh", "atanh", "sign"),
        )
    },
    **{f"relax.nn.{name}": name for name in ("relu", "relu6", "gelu", "gelu_tanh", "silu")},
}
"""Operators without parameters, and the unary function that each is."""

_SELU = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}


def _direct(function: str, **parameters: float) -> Rule:
    return lambda emitter, call: unary(emitter, call.args[0], function, **parameters)


def _clip(emitter: Emitter, call: relax.Call) -> relax.Expr:
    x, low, high = call.args
    return clipped(emitter, x, float(low.value), float(high.value))


def clipped(emitter: Emitter, x: relax.Expr, low: float, high: float) -> relax.Expr:
    """min(max(x, low), high) as one function; bounds beyond float32 do not bound."""
    if low <= -FLOAT32_HIGHEST and high >= FLOAT32_HIGHEST:
        return x
    if low == 0.0 and high >= FLOAT32_HIGHEST:
        return unary(emitter, x, "relu")
    if low == 0.0 and high == 6.0:
        return unary(emitter, x, "relu6")
    return unary(emitter, x, "clip", lo=max(low, -FLOAT32_HIGHEST), hi=min(high, FLOAT32_HIGHEST))


def _bound(is_maximum: bool) -> Rule:
    """An extremum with a scalar constant is a function of the other operand; of two tensors it stays."""

    def rule(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
        for x, other in _both_ways(tuple(call.args)):
            bound = scalar_of(other, x)
            if bound is not None:
                ends = (bound, FLOAT32_HIGHEST) if is_maximum else (-FLOAT32_HIGHEST, bound)
                return clipped(emitter, x, *ends)
        return None

    return rule


def _both_ways(pair: tuple[relax.Expr, ...] | None) -> tuple[tuple[relax.Expr, ...], ...]:
    """The operands of a commutative operator in both orders; none when there is no operator."""
    return () if pair is None else (pair, pair[::-1])


def _leaky_relu(emitter: Emitter, call: relax.Call) -> relax.Expr:
    return unary(emitter, call.args[0], "leaky_relu", alpha=float(call.attrs.alpha))


def _softplus(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """softplus(beta·x)/beta; above its threshold Relax's operator is x, off by less than exp(-threshold)."""
    beta = float(call.attrs.beta)
    if beta == 1.0:
        return unary(emitter, call.args[0], "softplus")
    scaled = emitter.emit(_op.multiply(call.args[0], emitter.constant(beta)))
    return _op.multiply(emitter.emit(unary(emitter, scaled, "softplus")), emitter.constant(1.0 / beta))


def _prelu(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """x + (alpha - 1)·min(x, 0), alpha constant with one slope a channel of `axis`, or computed."""
    x, alpha = call.args
    value = constant_value(alpha)
    if value is not None and value.size == 1:
        return unary(emitter, x, "leaky_relu", alpha=float(value.reshape(())))
    extents = [1] * len(shape_of(x))
    extents[int(call.attrs.axis)] = -1
    if value is not None:
        factor: relax.Expr = emitter.constant(value.reshape(extents) - np.float32(1.0))
    else:
        factor = _op.subtract(_op.reshape(alpha, extents), emitter.constant(1.0))
    negative = emitter.emit(clipped(emitter, x, -FLOAT32_HIGHEST, 0.0))
    return _op.add(x, _op.multiply(negative, factor))


def _rsqrt(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """1/√(x + eps) is one function of x: a small epsilon would vanish in the rounding of a sum."""
    x = call.args[0]
    for term, other in _both_ways(arguments_of(emitter, x, "relax.add")):
        epsilon = scalar_of(other, term)
        if epsilon is not None and epsilon >= 0.0:
            return unary(emitter, term, "rsqrt", eps=epsilon)
    return unary(emitter, x, "rsqrt", eps=0.0)


RULES: Mapping[str, Rule] = {
    **{operator: _direct(function) for operator, function in DIRECT.items()},
    "relax.nn.selu": _direct("selu", **_SELU),
    "relax.rsqrt": _rsqrt,
    "relax.clip": _clip,
    "relax.maximum": _bound(is_maximum=True),
    "relax.minimum": _bound(is_maximum=False),
    "relax.nn.leakyrelu": _leaky_relu,
    "relax.nn.softplus": _softplus,
    "relax.nn.prelu": _prelu,
}


@tvm.transform.module_pass(opt_level=0, name="nmc.LowerUnary")
def lower_unary(module: ir.IRModule, context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to the float operators of main."""
    return rewrite_float_calls(module, RULES)
