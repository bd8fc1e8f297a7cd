"""What the quantiser knows while it walks over a function: the integers and the host values of its variables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from tvm import ir, relax

from nmc.quant import fixed_point
from nmc.quant.formats import DATA_BITS, TensorFormat
from passes.fusible_biases import Bias
from passes.linearise import FittedTable
from passes.matrix_form import elementwise, host
from passes.narrow_products import Narrower, NarrowProducts
from passes.quantity import Quantity, constant_format
from passes.rewrite import Emitter, constant_value, substitute


@dataclass
class QuantiserState:
    """What has been emitted for the variables of the old function: integers, host values, or both."""

    module: ir.IRModule
    emitter: Emitter
    formats: Mapping[str, TensorFormat]
    tables: Mapping[str, FittedTable]
    biases: Mapping[str, Bias]
    products: NarrowProducts
    narrower: Narrower = field(init=False)
    integers: dict[str, Quantity] = field(default_factory=dict)
    values: dict[str, relax.Expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.narrower = Narrower(self.module, self.emitter, self.quantity)

    def quantity(self, expr: relax.Expr) -> Quantity:
        """The integers of a float tensor: computed, quantised from a host value, or a constant's."""
        value = constant_value(expr)
        if value is not None:
            return self.constant(value)
        if expr.name not in self.integers:
            form = self.formats[expr.name]
            source = self.values[expr.name]
            self.integers[expr.name] = Quantity(
                self.emitter.emit(host.quantise(self.emitter, source, form.scale, form.dtype)), form
            )
        return self.integers[expr.name]

    def constant(self, value: np.ndarray, bits: int = DATA_BITS) -> Quantity:
        """A constant in the finest format of so many bits that holds it."""
        form = constant_format(value, bits)
        integers = fixed_point.quantise(value, form.scale, form.bits)
        return Quantity(self.emitter.constant(integers, form.dtype), form)

    def in_format(self, expr: relax.Expr, form: TensorFormat) -> Quantity:
        """What a tensor is in a format; a constant is rounded once, to that format."""
        value = constant_value(expr)
        if value is None:
            return self.converted(self.quantity(expr), form)
        integers = fixed_point.quantise(value, form.scale, form.bits)
        return Quantity(self.emitter.constant(integers, form.dtype), form)

    def converted(self, quantity: Quantity, form: TensorFormat) -> Quantity:
        """The same values in another format, by an addition of zero where the formats differ."""
        if quantity.format == form:
            return quantity
        return self.rescaled(quantity, 1.0, form)

    def narrowed(self, quantity: Quantity) -> Quantity:
        """The same values in at most 16 bits."""
        if quantity.format.bits <= DATA_BITS:
            return quantity
        scale = quantity.format.scale * 2.0 ** (quantity.format.bits - DATA_BITS)
        return self.converted(quantity, TensorFormat(scale, DATA_BITS))

    def rescaled(self, quantity: Quantity, factor: float, form: TensorFormat) -> Quantity:
        """factor times the values, in another format: an addition of zero, which leaves the choice of the shift to them."""
        multipliers = fixed_point.add_multipliers(factor * quantity.format.scale / form.scale, 0.0)
        zero = self.emitter.constant(np.zeros(()), "int16")
        return Quantity(
            self.emitter.emit(elementwise.add(self.emitter, quantity.expr, zero, *multipliers, form.dtype)),
            form,
        )

    def host_value(self, expr: relax.Expr) -> relax.Expr:
        """An expression over host values: what it reads from the accelerator is dequantised."""
        if isinstance(expr, relax.Var):
            if expr.name not in self.values:
                quantity = self.integers[expr.name]
                self.values[expr.name] = self.emitter.emit(
                    host.dequantise(self.emitter, quantity.expr, quantity.format.scale)
                )
            return self.values[expr.name]
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.host_value(item) for item in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self.host_value(expr.tuple_value), expr.index)
        if isinstance(expr, relax.Call):
            return relax.Call(expr.op, [self.host_value(a) for a in expr.args], expr.attrs, expr.ty_args)
        return substitute(expr, {})


Handler = Callable[[QuantiserState, relax.VarBinding, relax.Call], Quantity | None]
"""Emits what a binding becomes and returns its integers, or None when it has to stay on the host."""
