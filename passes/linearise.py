"""Every nonlinear function is a table of line segments: no `nmc.unary` is left in `main`, only `nmc.pwl`.

Run on matrix form with exact functions, once calibration has given the ranges and `passes.formats` the formats: a table
is fitted on the values that its argument's format can hold, and its segments lie on that format's integer grid, so that
the float table and the integer one have the same segments.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tvm import ir, relax

from nmc.pwl.functions import Function, function_named
from nmc.pwl.table import Table
from nmc.quant.formats import DATA_BITS, TensorFormat, TensorRange
from passes.formats import HEADROOM
from passes.matrix_form.pwl import float_pwl
from passes.matrix_form.unary import UNARY
from passes.ranges import Ranges
from passes.rewrite import Emitter, callee_attributes, callee_name, layer_of, rebuild

MARGIN = 2.0**-6
"""The part of its range by which the argument of a growing function may be below 0, though calibration saw nothing there."""

PROBES = 129
"""At how many places a function is compared with a limit."""


@dataclass(frozen=True)
class Request:
    """What a table is wanted for: a function with parameters over a range."""

    function: str
    parameters: tuple[tuple[str, float], ...]
    span: TensorRange
    seen: tuple[float, float]
    """Where calibration saw arguments, stand-ins for minus infinity apart."""
    argument: str
    form: TensorFormat
    """Of the argument."""
    result: TensorFormat

    @property
    def step(self) -> float:
        """The step of the result if it has 16 bits, and of 16 bits for its range if it has more."""
        return self.result.scale * 2.0 ** max(self.result.bits - DATA_BITS, 0)


Fit = Callable[[Request], Table]


@dataclass(frozen=True)
class FittedTable:
    """A table, the layer it belongs to, the name of its argument, and what calibration saw of that."""

    layer: str
    argument: str
    table: Table
    seen: TensorRange
    step: float
    """Of the result: see `Request.step`."""
    outside: float = 0.0
    """The share of the argument's values on calibration data that lie outside the fitted range."""


def linearise(
    module: ir.IRModule, ranges: Ranges, formats: Mapping[str, TensorFormat], fit: Fit
) -> tuple[ir.IRModule, dict[str, FittedTable]]:
    """The module with tables, and the table of each pwl by the name of its result's variable."""
    tables: dict[str, FittedTable] = {}

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        if not isinstance(value, relax.Call) or callee_name(module, value) != UNARY:
            return value
        attributes = callee_attributes(module, value)
        parameters = {str(name): float(number) for name, number in attributes["parameters"].items()}
        function, argument = str(attributes["function"]), value.args[0].name
        span = table_range(function_named(function, parameters), ranges[argument], formats[argument])
        seen, result = ranges[argument], formats[binding.var.name]
        ordinary = (seen.lowest_ordinary, seen.high)
        sorted_parameters = tuple(sorted(parameters.items()))
        request = Request(function, sorted_parameters, span, ordinary, argument, formats[argument], result)
        table = fit(request)
        tables[binding.var.name] = FittedTable(layer_of(binding.var), argument, table, seen, request.step)
        return float_pwl(emitter, value.args[0], table)

    return rebuild(module, visit), tables


def table_range(function: Function, seen: TensorRange, form: TensorFormat) -> TensorRange:
    """What a table is fitted on, given what calibration saw of its argument, and the argument's format."""
    span = fitted_range(seen, form, function.octaves)
    if function.tails[0] is not None and function.tails[1] is None:
        return growing_range(seen, span)
    if function.tails == (None, None) and not (function.octaves or function.pieces):
        return ordinary_range(function, seen, span)
    return span


def fitted_range(seen: TensorRange, form: TensorFormat, octaves: bool) -> TensorRange:
    """All that the format can hold, on the sides of zero where calibration saw values; not far beyond these.

    Where a table's segments go by octaves, it is fitted on what calibration saw: every octave more would halve the
    segments of the others, and those left over cover octaves beyond the range by themselves. Where calibration saw nothing
    but zeros, as of differences between equal scores, it says nothing of the range.
    """
    if octaves and seen.low > 0.0:
        return seen
    if seen.magnitude == 0.0:
        return TensorRange(-form.scale * form.highest, form.scale * form.highest)
    bound = min(form.scale * form.highest, HEADROOM * max(seen.magnitude, form.scale))
    return TensorRange(0.0 if seen.low >= 0.0 else -bound, 0.0 if seen.high <= 0.0 else bound)


def growing_range(seen: TensorRange, span: TensorRange) -> TensorRange:
    """The part of a span that matters to exp or expm1, which level off to the left and grow to the right.

    Where the result is HEADROOM times what calibration saw, it saturates: segments beyond, where it is larger by powers,
    would cost all others their accuracy. Just below 0 the argument may be rounded to where nothing is level yet.
    """
    low = span.low if seen.low < 0.0 else -span.magnitude * MARGIN
    return TensorRange(low, min(span.high, seen.high + math.log(HEADROOM)) if seen.high > 0.0 else span.high)


def ordinary_range(function: Function, seen: TensorRange, span: TensorRange) -> TensorRange:
    """The part of a span, around what calibration saw, where the result is at most HEADROOM times what calibration saw.

    Beyond, it saturates, and a pole such as that of tan would cost all other segments their accuracy.
    """
    limit = HEADROOM * np.abs(function(np.linspace(seen.low, seen.high, PROBES))).max()
    if not limit > 0.0:
        return span
    ends = []
    for inner, outer in ((seen.low, span.low), (seen.high, span.high)):
        places = np.linspace(inner, outer, PROBES)
        beyond = ~(np.abs(function(places)) <= limit)
        ends.append(float(places[beyond.argmax()]) if beyond.any() else outer)
    return TensorRange(*ends)
