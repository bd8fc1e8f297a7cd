"""Products of 8-bit integers: how an activation is held in 8 bits, and how it gets there from wider integers.

Only what a product reads is narrow; sums, functions and normalisations between products keep their 16 or 32 bits. An
activation may have a zero that is not the integer 0, and a factor for each of its channels that the rows of the weights
take back (equalisation): both are free inside the product. The conversion happens before the moves that make the
product's operand, since im2col repeats elements.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tvm import ir, relax

from nmc.quant import fixed_point
from nmc.quant.formats import TensorFormat
from passes.matrix_form import elementwise
from passes.matrix_form.im2col import IM2COL, im2col, window_of
from passes.matrix_form.moves import REARRANGING
from passes.quantity import Quantity, constant_format
from passes.rewrite import Emitter, bindings_of, callee_attributes, callee_name, constant_value

NARROW_BITS = 8
INNER_BITS = 6
"""Bits below the 8-bit step of the 16-bit integers between the two steps of a conversion; 9 bits of range and these fit."""

TRANSPARENT = REARRANGING | {"relax.nn.pad", IM2COL}
"""Moves of one tensor, through which an operand is traced back to the tensor that is converted."""


@dataclass(frozen=True, eq=False)
class NarrowTensor:
    """An activation as products read it: its real values are (integer - zero) · scale / reciprocals."""

    scale: float
    zero: int = 0
    reciprocals: NDArray[np.floating] | None = None
    """Multiplied with the tensor before rounding, broadcastable to its shape; None for ones."""


@dataclass(frozen=True, eq=False)
class NarrowProduct:
    """How a product of a module in matrix form is computed with 8-bit operands."""

    left: NarrowTensor
    right: NarrowTensor | None = None
    """None for constant weights, which have a scale a column."""
    row_factors: NDArray[np.floating] | None = None
    """[groups or 1, K]: one over the left operand's reciprocals, which the weights' rows are multiplied by."""
    correction: NDArray[np.floating] | None = None
    """[groups or 1, N]: the mean error of the columns on calibration data, with the sign that corrects it."""


NarrowProducts = Mapping[str, NarrowProduct]
"""By the name of the product's variable; what is not in it has 16-bit operands."""


def source_of(definitions: Mapping[str, relax.Expr], module: ir.IRModule, operand: relax.Var) -> relax.Var:
    """The tensor that an operand is a rearrangement of; `definitions` are the values of variables by name."""
    for call in moves_to(definitions, module, operand):
        operand = call.args[0]
    return operand


def moves_to(
    definitions: Mapping[str, relax.Expr], module: ir.IRModule, operand: relax.Var
) -> Iterator[relax.Call]:
    """The moves between an operand and the tensor it is a rearrangement of, the last one first."""
    while True:
        call = definitions.get(operand.name)
        if not isinstance(call, relax.Call) or not _is_transparent(module, call):
            return
        yield call
        operand = call.args[0]


def _is_transparent(module: ir.IRModule, call: relax.Call) -> bool:
    name = callee_name(module, call)
    if name == "relax.nn.pad" and str(call.attrs.pad_mode) != "constant":
        return False
    return name in TRANSPARENT and isinstance(call.args[0], relax.Var)


class Narrower:
    """Emits the 8-bit copies of activations, each once."""

    def __init__(self, module: ir.IRModule, emitter: Emitter, quantity: Callable[[relax.Expr], Quantity]):
        self.module = module
        self.emitter = emitter
        self.quantity = quantity
        self.definitions = {b.var.name: b.value for b in bindings_of(module["main"])}
        self.converted: dict[tuple[str, int], Quantity] = {}

    def operand(self, expr: relax.Var, narrow: NarrowTensor) -> Quantity:
        """The 8-bit integers of a product's operand, `narrow.zero` standing for 0."""
        moves = list(moves_to(self.definitions, self.module, expr))
        source = moves[-1].args[0] if moves else expr
        key = (source.name, id(narrow))
        if key not in self.converted:
            self.converted[key] = self._convert(self.quantity(source), narrow)
        result = self.converted[key]
        for call in reversed(moves):
            result = Quantity(self.emitter.emit(self._moved(call, result.expr, narrow)), result.format)
        return result

    def _convert(self, x: Quantity, narrow: NarrowTensor) -> Quantity:
        form = TensorFormat(narrow.scale, NARROW_BITS)
        if narrow.reciprocals is not None:
            factors = constant_format(narrow.reciprocals, 16)
            integers = fixed_point.quantise(narrow.reciprocals, factors.scale, factors.bits)
            row = self.emitter.constant(integers, factors.dtype)
            inner = TensorFormat(narrow.scale * 2.0**-INNER_BITS, 16)
            scaling = fixed_point.multiplier_and_shift(x.format.scale * factors.scale / inner.scale)
            scaled = elementwise.hadamard(self.emitter, x.expr, row, *scaling, inner.dtype)
            x = Quantity(self.emitter.emit(scaled), inner)
        zero = self.emitter.constant(np.array(narrow.zero), "int16")
        multipliers = fixed_point.add_multipliers(x.format.scale / form.scale, 1.0 if narrow.zero else 0.0)
        total = elementwise.add(self.emitter, x.expr, zero, *multipliers, form.dtype)
        return Quantity(self.emitter.emit(total), form)

    def _moved(self, call: relax.Call, x: relax.Expr, narrow: NarrowTensor) -> relax.Expr:
        name = callee_name(self.module, call)
        if name == IM2COL:
            window, fill = window_of(callee_attributes(self.module, call))
            return im2col(self.emitter, x, window, _level(fill, narrow))
        if name == "relax.nn.pad":
            widths = [int(width) for width in call.attrs.pad_width]
            return relax.op.nn.pad(x, widths, "constant", _level(float(call.attrs.pad_value), narrow))
        return relax.Call(call.op, [x, *call.args[1:]], call.attrs, call.ty_args)


def _level(value: float, narrow: NarrowTensor) -> float:
    """The integer for a value that fills padding."""
    return float(fixed_point.saturate(round(value / narrow.scale) + narrow.zero, NARROW_BITS))


def is_product(module: ir.IRModule, value: relax.Expr) -> bool:
    """Whether a value is a product that can have 8-bit operands: no plain sum or mean, which is exact as it is."""
    if not isinstance(value, relax.Call) or callee_name(module, value) != "relax.matmul":
        return False
    left, right = value.args
    if not isinstance(left, relax.Var) or len(left.ty.shape) != 3 or len(right.ty.shape) != 3:
        return False
    weights = constant_value(right)
    return weights is None or not bool((weights == weights.reshape(-1)[:1]).all())
