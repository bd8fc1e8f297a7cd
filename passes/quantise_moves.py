"""How windows and moves become those of integers: handlers of `passes.quantise`."""

import numpy as np
from tvm import relax

from nmc.quant import fixed_point
from passes.matrix_form.im2col import im2col, window_of
from passes.quantiser_state import QuantiserState
from passes.quantity import Quantity
from passes.rewrite import callee_attributes, callee_name, dtype_of


def windows(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
    """im2col of integers, filled with the integer of the fill value."""
    x = state.quantity(call.args[0])
    window, fill = window_of(callee_attributes(state.module, call))
    level = float(fixed_point.quantise(np.float32(fill), x.format.scale, x.format.bits))
    return Quantity(state.emitter.emit(im2col(state.emitter, x.expr, window, level)), x.format)


def move(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity | None:
    """The same move of integers; None for what has no single result or no constant fill."""
    form, attributes = state.formats[binding.var.name], call.attrs
    name = callee_name(state.module, call)
    if name == "relax.concat":
        parts = [state.in_format(part, form).expr for part in call.args[0].fields]
        return Quantity(state.emitter.emit(relax.Call(call.op, [relax.Tuple(parts)], attributes)), form)
    x = state.quantity(call.args[0])
    if name == "relax.nn.pad":
        return _pad(state, state.in_format(call.args[0], form), call)
    if name == "relax.take":
        return _take(state, x, call)
    if name == "relax.split":
        return None
    rest = [state.host_value(argument) for argument in call.args[1:]]
    return Quantity(
        state.emitter.emit(relax.Call(call.op, [x.expr, *rest], attributes, call.ty_args)), x.format
    )


def _pad(state: QuantiserState, x: Quantity, call: relax.Call) -> Quantity | None:
    if str(call.attrs.pad_mode) != "constant":
        return None
    value = float(call.attrs.pad_value)
    level = float(fixed_point.quantise(np.float32(value), x.format.scale, x.format.bits))
    widths = [int(width) for width in call.attrs.pad_width]
    return Quantity(state.emitter.emit(relax.op.nn.pad(x.expr, widths, "constant", level)), x.format)


def _take(state: QuantiserState, x: Quantity, call: relax.Call) -> Quantity:
    """A gather; the accelerator reads 32-bit indices."""
    indices = state.host_value(call.args[1])
    if dtype_of(indices) != "int32":
        indices = state.emitter.emit(relax.op.astype(indices, "int32"))
    return Quantity(
        state.emitter.emit(relax.Call(call.op, [x.expr, indices], call.attrs, call.ty_args)), x.format
    )
