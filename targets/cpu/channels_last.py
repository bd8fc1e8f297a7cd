"""Images stay as products make them, rows of channels, where only windows and element-wise operators read them.

A product's rows are positions and its columns channels. Matrix form transposes them into channels first after every
convolution, and the windows of the next transpose them back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import ir, relax

from passes.matrix_form.composite import call_kernel
from passes.matrix_form.im2col import IM2COL, Window, window_of
from passes.matrix_form.pwl import FLOAT_PWL, float_pwl_of
from passes.rewrite import (
    Emitter,
    callee_attributes,
    callee_name,
    constant_value,
    dtype_of,
    rebuild,
    shape_of,
)
from passes.views import permute, reshape
from targets.cpu.gather_rows import gather_rows_kernel, window_places
from targets.cpu.matmul import depthwise
from targets.cpu.transpose import matrices_of


@tvm.transform.module_pass(opt_level=0, name="nmc.ChannelsLast")
def ChannelsLast(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """No float32 tensor of `main` is transposed into channels first only for tables, sums, products and windows to read."""
    return rebuild(module, _ChannelsLast(module).visit)


@dataclass
class _ChannelsLast:
    """Rewrites main. Whatever it computes of rows stands there in both orders: the one that nothing reads is dropped."""

    module: ir.IRModule
    rows: dict[relax.Var, relax.Expr] = field(default_factory=dict)
    """What of the new function is known in rows: v is rows[v], [batch, positions, channels], with the last two axes
    exchanged, in another shape."""
    windows: dict[relax.Var, relax.Call] = field(default_factory=dict)
    """The calls of im2col that became variables as they are."""

    def visit(self, emitter: Emitter, _binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        if not isinstance(value, relax.Call) or not isinstance(value.ty, relax.TensorType):
            return value
        rule = RULES.get(callee_name(self.module, value))
        if rule is None or dtype_of(value) != "float32":
            return value
        result = rule(self, emitter, value)
        return value if result is None else result

    def in_rows(self, emitter: Emitter, matrix: relax.Expr, like: relax.Expr) -> relax.Expr:
        """The tensor, of the shape of `like`, that a matrix [batch, positions, channels] holds."""
        tensor = reshape(emitter, permute(emitter, matrix, (0, 2, 1)), shape_of(like))
        self.rows[tensor] = matrix
        return tensor

    def image(self, x: relax.Expr) -> relax.Expr | None:
        """What of an image [batch, channels, *spatial] is known as rows [batch, Πspatial, channels]."""
        batch, channels, *spatial = shape_of(x)
        matrix = self.rows.get(x)
        known = matrix is not None and shape_of(matrix) == (batch, int(np.prod(spatial)), channels)
        return matrix if known else None

    def operand(
        self, emitter: Emitter, expr: relax.Expr, shape: tuple[int, ...], rows: tuple[int, ...]
    ) -> relax.Expr | None:
        """An operand of a result of `shape`, which in rows has the shape `rows`; None where it is not known in rows."""
        batch, _, channels = rows
        if expr in self.rows and shape_of(expr) == shape:
            return self.rows[expr]
        if shape[:2] == (batch, channels) and shape_of(expr) == (batch, channels, *(1 for _ in shape[2:])):
            return reshape(emitter, expr, (batch, 1, channels))
        return _constant_row(emitter, expr, shape, rows)


Rule = Callable[[_ChannelsLast, Emitter, relax.Call], relax.Expr | None]


def _permuted(state: _ChannelsLast, emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    (x,) = call.args
    shape = shape_of(x)
    matrices = matrices_of(shape, tuple(int(axis) for axis in call.attrs.axes or reversed(range(len(shape)))))
    return None if matrices is None else state.in_rows(emitter, reshape(emitter, x, matrices), call)


def _reshaped(state: _ChannelsLast, emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    matrix = state.rows.get(call.args[0])
    return None if matrix is None else state.in_rows(emitter, matrix, call)


def _table(state: _ChannelsLast, emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    matrix = state.rows.get(call.args[0])
    if matrix is None:
        return None
    return state.in_rows(emitter, emitter.emit(float_pwl_of(emitter, matrix, call.args[1:])), call)


def _elementwise(state: _ChannelsLast, emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    whole = [argument for argument in call.args if shape_of(argument) == shape_of(call)]
    shapes = {shape_of(state.rows[argument]) for argument in whole if argument in state.rows}
    if len(shapes) != 1:
        return None
    operands = [state.operand(emitter, argument, shape_of(call), *shapes) for argument in call.args]
    if any(operand is None for operand in operands):
        return None
    return state.in_rows(emitter, emitter.emit(relax.Call(call.op, operands, call.attrs)), call)


def _constant_row(
    emitter: Emitter, operand: relax.Expr, shape: tuple[int, ...], rows: tuple[int, ...]
) -> relax.Expr | None:
    """A constant operand of a result of this shape as one row of channels; None where it is no such row."""
    value = constant_value(operand)
    if value is None:
        return None
    batch, positions, channels = rows
    whole = np.broadcast_to(value, shape).reshape(batch, channels, positions)
    row = whole[:1, :, :1]
    return emitter.constant(row.reshape(1, 1, channels)) if (whole == row).all() else None


def _windows(state: _ChannelsLast, emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    (x,) = call.args
    window, fill = window_of(callee_attributes(state.module, call))
    if window.groups != 1 or fill != 0.0:
        variable = emitter.emit(call)
        state.windows[variable] = call
        return variable
    image = state.image(x)
    if _is_pointwise(window):
        if image is None:
            batch, channels, *spatial = shape_of(x)
            flat = reshape(emitter, x, (batch, channels, int(np.prod(spatial))))
            image = state.rows[x] = permute(emitter, flat, (0, 2, 1))
        return reshape(emitter, image, shape_of(call))
    return None if image is None else _gathered(emitter, image, window, call)


def _gathered(emitter: Emitter, image: relax.Expr, window: Window, call: relax.Call) -> relax.Expr:
    """The windows of an image in rows."""
    batch, positions, channels = shape_of(image)
    places = window_places(window, batch, shape_of(call.args[0])[2:])
    kernel = emitter.builder.add_func(gather_rows_kernel(), "gather_rows_float32")
    operands = [
        reshape(emitter, image, (batch * positions, channels)),
        emitter.constant(places.ravel(), "int32"),
    ]
    windows = emitter.emit(call_kernel(emitter, kernel, operands, [places.size, channels], "float32"))
    return reshape(emitter, windows, shape_of(call))


def _product_of_channels(state: _ChannelsLast, emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """A product of windows of one channel each with a column for each is a depthwise one."""
    windows, weights = state.windows.get(call.args[0]), constant_value(call.args[1])
    image = None if windows is None else state.image(windows.args[0])
    if windows is None or weights is None or image is None:
        return None
    window, fill = window_of(callee_attributes(state.module, windows))
    batch, positions, channels = shape_of(image)
    if (window.groups, shape_of(call)[-1]) != (channels, 1) or fill != 0.0:
        return None
    rows = reshape(emitter, image, (batch * positions, channels))
    places = window_places(window, batch, shape_of(windows.args[0])[2:])
    product = depthwise(emitter, rows, places, weights.reshape(channels, -1).T)
    return state.in_rows(emitter, emitter.emit(product), call)


def _is_pointwise(window: Window) -> bool:
    """Whether each window is one position, and each position a window."""
    ones = (*window.kernel, *window.strides)
    return set(ones) == {1} and not any((*window.pads_begin, *window.pads_end))


RULES: Mapping[str, Rule] = {
    "relax.permute_dims": _permuted,
    "relax.reshape": _reshaped,
    FLOAT_PWL: _table,
    "relax.add": _elementwise,
    "relax.subtract": _elementwise,
    "relax.multiply": _elementwise,
    "relax.matmul": _product_of_channels,
    IM2COL: _windows,
}
