"""The ranges of a module's tensors: what calibration recorded, read and narrowed by the passes that need it."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import ir, relax

from nmc.pwl.functions import Piece, function_named
from nmc.quant.formats import TensorRange
from passes.dataflow import dataflow_of
from passes.matrix_form.im2col import IM2COL
from passes.matrix_form.moves import MOVES
from passes.matrix_form.unary import UNARY
from passes.rewrite import bindings_of, callee_attributes, callee_name, constant_value
from passes.wide_tensors import is_excess

Ranges = Mapping[str, TensorRange]
"""By variable name."""

FLOAT32_HIGHEST = float(np.finfo(np.float32).max)

NEGLIGIBLE_EXPONENT = -16.0
"""exp of anything smaller is below half a step of a 16-bit result, also where a row of many is summed."""

FAR = 2.0**12
"""A value this many times beyond the range that matters is a stand-in for infinity, as masks use it."""

ACTIVE_DOMAINS: Mapping[str, TensorRange] = {
    "exp": TensorRange(NEGLIGIBLE_EXPONENT, FLOAT32_HIGHEST),
    "sigmoid": TensorRange(-12.0, 12.0),
    "tanh": TensorRange(-8.0, 8.0),
    "erf": TensorRange(-4.0, 4.0),
    "cubic_kernel": TensorRange(-2.0, 2.0),
    "hard_swish": TensorRange(-3.0, FLOAT32_HIGHEST),
}
"""Outside these a smooth function is constant to within a 16-bit step, so its argument may saturate there."""


def range_of(expr: relax.Expr, ranges: Ranges) -> TensorRange:
    """The recorded range of a variable, or the finite range of a constant's values.

    Raises KeyError for a variable that calibration has not seen.
    """
    value = constant_value(expr)
    if value is None:
        return ranges[expr.name]
    if value.size == 0:
        return TensorRange(0.0, 0.0)
    finite = np.clip(np.asarray(value, np.float64), -FLOAT32_HIGHEST, FLOAT32_HIGHEST)
    return TensorRange(float(finite.min()), float(finite.max()))


def effective_ranges(module: ir.IRModule, ranges: Ranges, headroom: float = 1.0) -> dict[str, TensorRange]:
    """The ranges, each end `headroom` times as far from zero, cut down to what the consumers of each tensor can tell apart,
    with headroom too where that is no exact end.

    A tensor that only an exponential reads need not represent what underflows, nor the tensors that are added up to it:
    an attention mask of -3.4e38 then costs the scores no precision; nor does one that only a relu6 reads need what is
    above 6. What is cut off saturates.
    """
    grown = {name: _grown(span, headroom) for name, span in ranges.items()}
    needed = needed_ranges(module, grown, headroom)
    return {name: cut(span, needed.get(name, EVERYTHING)) for name, span in grown.items()}


def _grown(span: TensorRange, factor: float) -> TensorRange:
    """The range with each end so many times as far from zero, where it is not there yet."""
    if factor == 1.0:
        return span
    low, ordinary = (max(min(x, factor * x), -FLOAT32_HIGHEST) for x in (span.low, span.lowest_ordinary))
    high = min(max(span.high, factor * span.high), FLOAT32_HIGHEST)
    return TensorRange(low, high, ordinary if ordinary > low else None)


def cut(span: TensorRange, need: TensorRange) -> TensorRange:
    """The part of a range inside `need`; its nearest point when they are disjoint."""
    low = min(max(span.low, need.low), max(span.high, need.low))
    return TensorRange(low, max(min(span.high, need.high), low))


EVERYTHING = TensorRange(-FLOAT32_HIGHEST, FLOAT32_HIGHEST)


def needed_ranges(module: ir.IRModule, ranges: Ranges, headroom: float = 1.0) -> dict[str, TensorRange]:
    """For each variable, the interval outside which no consumer needs to tell values apart; ACTIVE_DOMAINS reach
    `headroom` times as far."""
    main, flow = module["main"], dataflow_of(module)
    needed: dict[str, TensorRange] = {}

    def require(expr: relax.Expr, need: TensorRange) -> None:
        if isinstance(expr, relax.Tuple):
            for item in expr.fields:
                require(item, need)
        elif isinstance(expr, relax.Var):
            needed[expr.name] = needed[expr.name].union(need) if expr.name in needed else need

    require(main.body.body, EVERYTHING)
    for binding in reversed(bindings_of(main)):
        value, own = binding.value, needed.get(binding.var.name, EVERYTHING)
        if not isinstance(value, relax.Call):
            require(value, EVERYTHING if isinstance(value, relax.TupleGetItem) else own)
            continue
        if is_excess(flow, binding):
            # that of a maximum may exceed what calibration saw as far as the larger of the two differs from the other
            require(value.args[0], EVERYTHING)
            continue
        for index, argument in enumerate(value.args):
            result = ranges.get(binding.var.name, EVERYTHING)
            if callee_name(module, value) == UNARY:
                require(argument, _active_domain(callee_attributes(module, value), headroom))
            else:
                require(argument, _need_of_argument(module, value, index, own, result, ranges))
    return needed


def _need_of_argument(
    module: ir.IRModule, call: relax.Call, index: int, own: TensorRange, result: TensorRange, ranges: Ranges
) -> TensorRange:
    name = callee_name(module, call)
    if name in MOVES or name == IM2COL:
        return own
    if name == "relax.maximum":
        # what is below every result is never the larger of the two, but in a row that is masked whole
        return TensorRange(max(own.low, result.lowest_ordinary), own.high)
    if name in ("relax.add", "relax.subtract") and own != EVERYTHING:
        other = call.args[1 - index]
        if not isinstance(other, relax.Var) or other.name in ranges:
            return _need_of_term(name, index, own, _ordinary(range_of(other, ranges)))
    if name == "relax.multiply" and own != EVERYTHING:
        factor = constant_value(call.args[1 - index])
        # a product with a mask's minus infinity says nothing of its other factor, which must stay exact around zero
        if factor is not None and factor.size == 1 and 1.0 / FAR < abs(float(factor.reshape(()))) < FAR:
            return _divided(own, float(factor.reshape(())))
    return EVERYTHING


def _active_domain(attributes: Mapping[str, Any], headroom: float) -> TensorRange:
    function = str(attributes["function"])
    pieces, low, high = _continuous_pieces(function, attributes["parameters"]), -math.inf, math.inf
    if len(pieces) > 1:
        low = pieces[1][0] if pieces[0][1] == 0.0 else low
        high = pieces[-1][0] if pieces[-1][1] == 0.0 else high
        return _finite(low, high)
    return _grown(ACTIVE_DOMAINS.get(function, EVERYTHING), headroom)


def _continuous_pieces(function: str, parameters: Mapping[str, Any]) -> tuple[Piece, ...]:
    """The pieces of a function that is piecewise linear without a step, else none."""
    named = function_named(function, {str(name): float(value) for name, value in parameters.items()})
    return () if named.jumps or named.whole else named.pieces


def _ordinary(span: TensorRange) -> TensorRange:
    """A range without stand-ins for minus infinity: beside one of those no other term of a sum matters."""
    return TensorRange(span.lowest_ordinary, span.high)


def _need_of_term(name: str, index: int, own: TensorRange, other: TensorRange) -> TensorRange:
    if name == "relax.add":
        return _finite(own.low - other.high, own.high - other.low)
    if index == 0:
        return _finite(own.low + other.low, own.high + other.high)
    return _finite(other.low - own.high, other.high - own.low)


def _divided(own: TensorRange, factor: float) -> TensorRange:
    bounds = sorted((own.low / factor, own.high / factor))
    return _finite(bounds[0], bounds[1])


def _finite(low: float, high: float) -> TensorRange:
    return TensorRange(max(low, -FLOAT32_HIGHEST), min(high, FLOAT32_HIGHEST))
