"""How sums, products by element, functions and roundings to a grid become integers: handlers of `passes.quantise`."""

import numpy as np
from tvm import relax

from nmc.quant import fixed_point
from nmc.quant.formats import DATA_BITS, WIDE_BITS, TensorFormat
from passes.matrix_form import elementwise
from passes.matrix_form import pwl as tables
from passes.quantise_gemm import LARGEST_RATIO
from passes.quantiser_state import Handler, QuantiserState
from passes.quantity import Quantity
from passes.rewrite import constant_value, shape_of
from passes.scalars import scalar_factor

COARSE_ROUNDING = 4.0
"""Steps of a product that the rounding of a constant factor may move it by."""


def addition(sign: float) -> Handler:
    """A sum (`sign` 1) or a difference (-1): both operands go to the result's scale as they are added."""

    def handler(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
        form = state.formats[binding.var.name]
        a, b = (_summand(state, call.args[i], call.args[1 - i], form) for i in (0, 1))
        return _sum(state, a, b, sign, form)

    return handler


def _summand(state: QuantiserState, expr: relax.Expr, other: relax.Expr, form: TensorFormat) -> Quantity:
    """An operand of an addition. A constant is cut to what the sum can tell apart, so that a mask of -3e38 leaves bits."""
    value = constant_value(expr)
    if value is None or constant_value(other) is not None:
        return state.quantity(expr)
    reach = sum(part.scale * 2.0 ** (part.bits - 1) for part in (form, state.quantity(other).format))
    return state.constant(np.clip(value, -reach, reach))


def _sum(state: QuantiserState, a: Quantity, b: Quantity, sign: float, form: TensorFormat) -> Quantity:
    multipliers = fixed_point.add_multipliers(_ratio(a, form), sign * _ratio(b, form))
    return Quantity(
        state.emitter.emit(elementwise.add(state.emitter, a.expr, b.expr, *multipliers, form.dtype)), form
    )


def _ratio(quantity: Quantity, form: TensorFormat) -> float:
    """How many steps of `form` a step of the quantity is; none for zeros, whose scale means nothing."""
    value = constant_value(quantity.expr)
    return 0.0 if value is not None and not value.any() else quantity.format.scale / form.scale


def multiply(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
    """A Hadamard product; a constant number only changes the scale where the format allows it."""
    form = state.formats[binding.var.name]
    source, factor = scalar_factor(call)
    if source is not None:
        quantity = state.quantity(source)
        if (
            factor > 0.0
            and quantity.format.scale * factor == form.scale
            and quantity.format.bits == form.bits
        ):
            return Quantity(quantity.expr, form)
        return state.rescaled(quantity, factor, form)
    a, b = _factors(state, call, form)
    if a.format.bits > DATA_BITS and b.format.bits > DATA_BITS:
        a, b = _one_narrowed(state, a, b)
    step = a.format.scale * b.format.scale
    # a product moves by many steps of the result for one of an operand: finer ones would say nothing
    form = TensorFormat(max(form.scale, step / LARGEST_RATIO), form.bits)
    multiplier, shift = fixed_point.multiplier_and_shift(step / form.scale)
    product = elementwise.hadamard(state.emitter, a.expr, b.expr, multiplier, shift, form.dtype)
    return Quantity(state.emitter.emit(product), form)


def _one_narrowed(state: QuantiserState, a: Quantity, b: Quantity) -> tuple[Quantity, Quantity]:
    """Wide factors of which the smaller tensor is narrow: where that is one number a row, it loses no row its direction."""
    if a.expr.same_as(b.expr):
        return (state.narrowed(a),) * 2
    if np.prod(shape_of(b.expr)) < np.prod(shape_of(a.expr)):
        return a, state.narrowed(b)
    return state.narrowed(a), b


def _factors(state: QuantiserState, call: relax.Call, form: TensorFormat) -> list[Quantity]:
    """The operands of a product; a constant is wide where its rounding to 16 bits would move the product by several steps.

    So it is with a factor a channel that is large where the channel's values are small, as a batch normalisation has.
    """
    factors = [state.quantity(argument) for argument in call.args]
    for index, other in ((0, 1), (1, 0)):
        value, partner = constant_value(call.args[index]), factors[other].format
        rounding = 0.5 * factors[index].format.scale * partner.scale * 2.0 ** (partner.bits - 1)
        if value is not None and partner.bits <= DATA_BITS and rounding > COARSE_ROUNDING * form.scale:
            factors[index] = state.constant(value, WIDE_BITS)
    return factors


def pwl(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
    """A table with its entries in integers."""
    x, form = state.quantity(call.args[0]), state.formats[binding.var.name]
    table = state.tables[binding.var.name].table
    if table.addressing != "breakpoints":
        # the segments lie on the grid of the format that was planned
        x = state.converted(x, state.formats[call.args[0].name])
    # a slope is 16 bits wide: a steeper one needs coarser steps of the result
    form = TensorFormat(max(form.scale, table.least_output_scale(x.format.scale)), form.bits)
    integers = table.quantise(x.format.scale, form.scale, x.format.bits, form.bits)
    return Quantity(state.emitter.emit(tables.pwl(state.emitter, x.expr, integers, form.dtype)), form)


def grid(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
    """A rounding to a grid, whose format was planned: a conversion to it."""
    return state.converted(state.quantity(call.args[0]), state.formats[binding.var.name])
