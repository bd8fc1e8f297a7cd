"""Everything the accelerator computes is integer: level 2 becomes level 3.

`main` keeps its float and integer parameters and results; what is left of float arithmetic are the operators that run on
the host, each between a dequantisation and a quantisation. Needs the formats of `passes.formats` and the tables of
`passes.linearise`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from tvm import ir, relax

from nmc.quant import fixed_point
from nmc.quant.formats import TensorFormat
from passes.formats import WIDE_BITS, scalar_factor
from passes.linearise import FittedTable
from passes.matrix_form import elementwise, host
from passes.matrix_form.grid import GRID
from passes.matrix_form.im2col import IM2COL, im2col, window_of
from passes.matrix_form.moves import MOVES
from passes.matrix_form.pwl import FLOAT_PWL, pwl
from passes.narrow_products import NARROW_BITS, Narrower, NarrowProduct, NarrowProducts
from passes.quantise_gemm import LARGEST_RATIO, Quantity, activation_product, constant_format, weights_product
from passes.rewrite import (
    Emitter,
    bindings_of,
    callee_attributes,
    callee_name,
    constant_value,
    dtype_of,
    finish,
    layer_of,
    shape_of,
    substitute,
)

CONSTANT_BITS = 16

COARSE_ROUNDING = 4.0
"""Steps of a product that the rounding of a constant factor may move it by."""


@dataclass
class QuantiserState:
    """What has been emitted for the variables of the old function: integers, host values, or both."""

    module: ir.IRModule
    emitter: Emitter
    formats: Mapping[str, TensorFormat]
    tables: Mapping[str, FittedTable]
    biases: Mapping[str, relax.VarBinding]
    products: NarrowProducts
    narrower: Narrower = field(init=False)
    integers: dict[str, Quantity] = field(default_factory=dict)
    values: dict[str, relax.Expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.narrower = Narrower(self.module, self.emitter, lambda source: _quantity(self, source))


@dataclass(frozen=True)
class QuantisedTensor:
    """The integers that stand for a float tensor: the name of their variable, and their scale."""

    variable: str
    scale: float


def quantise(
    module: ir.IRModule,
    formats: Mapping[str, TensorFormat],
    tables: Mapping[str, FittedTable],
    products: NarrowProducts = MappingProxyType({}),
) -> tuple[ir.IRModule, dict[str, QuantisedTensor]]:
    """The module with every operation of matrix form in integers, and what became of each float tensor, by name.

    `products` are those that have 8-bit operands.
    """
    main = module["main"]
    emitter = Emitter(relax.BlockBuilder(module))
    state = QuantiserState(module, emitter, formats, tables, _fusible_biases(module), products)
    for parameter in main.params:
        state.values[parameter.name] = parameter
    for binding in bindings_of(main):
        emitter.reserve(binding.var.name)
    for binding in bindings_of(main):
        emitter.layer = layer_of(binding.var)
        _visit(state, binding)
    result = _host_value(state, main.body.body)
    tensors = {
        name: QuantisedTensor(quantity.expr.name, quantity.format.scale)
        for name, quantity in state.integers.items()
        # a product that a bias was added to has no integers of its own
        if isinstance(quantity.expr, relax.Var) and name not in state.biases
    }
    return finish(emitter, module.get_global_var("main"), main, list(main.params), result), tensors


Handler = Callable[[QuantiserState, relax.VarBinding, relax.Call], Quantity | None]


def _visit(state: QuantiserState, binding: relax.VarBinding) -> None:
    value, name = binding.value, binding.var.name
    if isinstance(value, relax.Var) and value.name in state.integers:
        state.integers[name] = state.integers[value.name]
        return
    if isinstance(value, relax.Call) and name in state.formats and name not in state.integers:
        handler = HANDLERS.get(callee_name(state.module, value))
        quantity = handler(state, binding, value) if handler is not None else None
        if quantity is not None:
            state.integers[name] = quantity
            return
    if name not in state.integers:
        state.values[name] = state.emitter.emit(_host_value(state, value))


def _host_value(state: QuantiserState, expr: relax.Expr) -> relax.Expr:
    """An expression over host values: what it reads from the accelerator is dequantised."""
    if isinstance(expr, relax.Var):
        if expr.name not in state.values:
            quantity = state.integers[expr.name]
            state.values[expr.name] = state.emitter.emit(
                host.dequantise(state.emitter, quantity.expr, quantity.format.scale)
            )
        return state.values[expr.name]
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([_host_value(state, item) for item in expr.fields])
    if isinstance(expr, relax.TupleGetItem):
        return relax.TupleGetItem(_host_value(state, expr.tuple_value), expr.index)
    if isinstance(expr, relax.Call):
        return relax.Call(expr.op, [_host_value(state, a) for a in expr.args], expr.attrs, expr.ty_args)
    return substitute(expr, {})


def _quantity(state: QuantiserState, expr: relax.Expr) -> Quantity:
    """The integers of a float tensor: computed, quantised from a host value, or a constant's."""
    value = constant_value(expr)
    if value is not None:
        return _constant(state, value)
    if expr.name not in state.integers:
        form = state.formats[expr.name]
        source = state.values[expr.name]
        state.integers[expr.name] = Quantity(
            state.emitter.emit(host.quantise(state.emitter, source, form.scale, form.dtype)), form
        )
    return state.integers[expr.name]


def _constant(state: QuantiserState, value: np.ndarray, bits: int = CONSTANT_BITS) -> Quantity:
    form = constant_format(value, bits)
    integers = fixed_point.quantise(value, form.scale, form.bits)
    return Quantity(state.emitter.constant(integers, form.dtype), form)


def _converted(state: QuantiserState, quantity: Quantity, form: TensorFormat) -> Quantity:
    """The same values in another format, by an addition of zero where the formats differ."""
    if quantity.format == form:
        return quantity
    return _rescaled(state, quantity, 1.0, form)


def _in_format(state: QuantiserState, expr: relax.Expr, form: TensorFormat) -> Quantity:
    """What a tensor is in a format; a constant is rounded once, to that format."""
    value = constant_value(expr)
    if value is None:
        return _converted(state, _quantity(state, expr), form)
    integers = fixed_point.quantise(value, form.scale, form.bits)
    return Quantity(state.emitter.constant(integers, form.dtype), form)


def _narrowed(state: QuantiserState, quantity: Quantity) -> Quantity:
    """The same values in at most 16 bits."""
    if quantity.format.bits <= CONSTANT_BITS:
        return quantity
    scale = quantity.format.scale * 2.0 ** (quantity.format.bits - CONSTANT_BITS)
    return _converted(state, quantity, TensorFormat(scale, CONSTANT_BITS))


def _rescaled(state: QuantiserState, quantity: Quantity, factor: float, form: TensorFormat) -> Quantity:
    """factor times the values, in another format: an addition of zero, which takes no part in the choice of the shift."""
    multipliers = fixed_point.add_multipliers(factor * quantity.format.scale / form.scale, 0.0)
    zero = state.emitter.constant(np.zeros(()), "int16")
    return Quantity(
        state.emitter.emit(elementwise.add(state.emitter, quantity.expr, zero, *multipliers, form.dtype)),
        form,
    )


def _sum(state: QuantiserState, a: Quantity, b: Quantity, sign: float, form: TensorFormat) -> Quantity:
    multipliers = fixed_point.add_multipliers(_ratio(a, form), sign * _ratio(b, form))
    return Quantity(
        state.emitter.emit(elementwise.add(state.emitter, a.expr, b.expr, *multipliers, form.dtype)), form
    )


def _ratio(quantity: Quantity, form: TensorFormat) -> float:
    """How many steps of `form` a step of the quantity is; none for zeros, whose scale means nothing."""
    value = constant_value(quantity.expr)
    return 0.0 if value is not None and not value.any() else quantity.format.scale / form.scale


def _fusible_biases(module: ir.IRModule) -> dict[str, relax.VarBinding]:
    """For each matmul read once, by an addition of a constant that varies by column at most: that addition."""
    bindings = bindings_of(module["main"])
    matmuls = {b.var.name: b for b in bindings if _is_call(module, b, "relax.matmul")}
    uses: dict[str, list[relax.VarBinding]] = {name: [] for name in matmuls}
    for binding in bindings:
        for argument in _variables(binding.value):
            if argument.name in uses:
                uses[argument.name].append(binding)
    return {
        name: consumers[0]
        for name, consumers in uses.items()
        if len(consumers) == 1 and _adds_columns(module, consumers[0], matmuls[name].var)
    }


def _is_call(module: ir.IRModule, binding: relax.VarBinding, name: str) -> bool:
    return isinstance(binding.value, relax.Call) and callee_name(module, binding.value) == name


def _variables(value: relax.Expr) -> Sequence[relax.Var]:
    if isinstance(value, relax.Var):
        return [value]
    items = value.fields if isinstance(value, relax.Tuple) else getattr(value, "args", [])
    return [variable for item in items for variable in _variables(item)]


def _adds_columns(module: ir.IRModule, binding: relax.VarBinding, product: relax.Var) -> bool:
    if not _is_call(module, binding, "relax.add"):
        return False
    constant = next((v for a in binding.value.args if (v := constant_value(a)) is not None), None)
    groups, _, columns = shape_of(product)
    if constant is None or shape_of(binding.var) != shape_of(product):
        return False
    shape = (1,) * (3 - constant.ndim) + constant.shape
    return shape[1] == 1 and shape[0] in (1, groups) and shape[2] in (1, columns)


def _matmul(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity | None:
    if len(shape_of(call.args[0])) != 3 or len(shape_of(call.args[1])) != 3:
        return None
    target, bias = binding.var.name, np.zeros((1, 1, 1))
    if target in state.biases:
        addition = state.biases[target]
        constant = next(v for a in addition.value.args if (v := constant_value(a)) is not None)
        target, bias = addition.var.name, constant.reshape((1,) * (3 - constant.ndim) + constant.shape)
    form, narrow = state.formats[target], state.products.get(binding.var.name)
    product = _narrow_product(state, call, narrow, bias, form) if narrow is not None else None
    if product is None:
        product = _wide_product(state, call, bias, form)
    if target != binding.var.name and product is not None:
        state.integers[target] = product
    return product


def _wide_product(
    state: QuantiserState, call: relax.Call, bias: np.ndarray, form: TensorFormat
) -> Quantity | None:
    a, weights = _quantity(state, call.args[0]), constant_value(call.args[1])
    if weights is None:
        b = _narrowed(state, _quantity(state, call.args[1]))
        return activation_product(state.emitter, _narrowed(state, a), b, bias, form)
    product = weights_product(state.emitter, a, weights, bias, form, CONSTANT_BITS)
    if product is None:
        product = weights_product(state.emitter, _narrowed(state, a), weights, bias, form, CONSTANT_BITS)
    return product


def _narrow_product(
    state: QuantiserState, call: relax.Call, narrow: NarrowProduct, bias: np.ndarray, form: TensorFormat
) -> Quantity | None:
    a, weights = state.narrower.operand(call.args[0], narrow.left), constant_value(call.args[1])
    if narrow.correction is not None:
        bias = bias + narrow.correction[:, None, :]
    if weights is None or narrow.right is not None:
        assert weights is None and narrow.right is not None, "a plan is made for the product it is used for"
        b = state.narrower.operand(call.args[1], narrow.right)
        return activation_product(state.emitter, a, b, bias, form)
    if narrow.row_factors is not None:
        weights = weights * narrow.row_factors[:, :, None]
    return weights_product(state.emitter, a, weights, bias, form, NARROW_BITS, narrow.left.zero)


def _addition(sign: float) -> Handler:
    def handler(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
        form = state.formats[binding.var.name]
        a, b = (_summand(state, call.args[i], call.args[1 - i], form) for i in (0, 1))
        return _sum(state, a, b, sign, form)

    return handler


def _summand(state: QuantiserState, expr: relax.Expr, other: relax.Expr, form: TensorFormat) -> Quantity:
    """An operand of an addition. A constant is cut to what the sum can tell apart, so that a mask of -3e38 leaves bits."""
    value = constant_value(expr)
    if value is None or constant_value(other) is not None:
        return _quantity(state, expr)
    reach = sum(part.scale * 2.0 ** (part.bits - 1) for part in (form, _quantity(state, other).format))
    return _constant(state, np.clip(value, -reach, reach))


def _multiply(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
    form = state.formats[binding.var.name]
    source, factor = scalar_factor(call)
    if source is not None:
        quantity = _quantity(state, source)
        if (
            factor > 0.0
            and quantity.format.scale * factor == form.scale
            and quantity.format.bits == form.bits
        ):
            return Quantity(quantity.expr, form)
        return _rescaled(state, quantity, factor, form)
    a, b = _factors(state, call, form)
    if a.format.bits > CONSTANT_BITS and b.format.bits > CONSTANT_BITS:
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
        return (_narrowed(state, a),) * 2
    if np.prod(shape_of(b.expr)) < np.prod(shape_of(a.expr)):
        return a, _narrowed(state, b)
    return _narrowed(state, a), b


def _factors(state: QuantiserState, call: relax.Call, form: TensorFormat) -> list[Quantity]:
    """The operands of a product; a constant is wide where its rounding to 16 bits would move the product by several steps.

    So it is with a factor a channel that is large where the channel's values are small, as a batch normalisation has.
    """
    factors = [_quantity(state, argument) for argument in call.args]
    for index, other in ((0, 1), (1, 0)):
        value, partner = constant_value(call.args[index]), factors[other].format
        rounding = 0.5 * factors[index].format.scale * partner.scale * 2.0 ** (partner.bits - 1)
        if value is not None and partner.bits <= CONSTANT_BITS and rounding > COARSE_ROUNDING * form.scale:
            factors[index] = _constant(state, value, WIDE_BITS)
    return factors


def _pwl(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
    x, form = _quantity(state, call.args[0]), state.formats[binding.var.name]
    table = state.tables[binding.var.name].table
    if table.addressing != "breakpoints":
        # the segments lie on the grid of the format that was planned
        x = _converted(state, x, state.formats[call.args[0].name])
    # a slope is 16 bits wide: a steeper one needs coarser steps of the result
    form = TensorFormat(max(form.scale, table.least_output_scale(x.format.scale)), form.bits)
    integers = table.quantise(x.format.scale, form.scale, x.format.bits, form.bits)
    return Quantity(state.emitter.emit(pwl(state.emitter, x.expr, integers, form.dtype)), form)


def _grid(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
    return _converted(state, _quantity(state, call.args[0]), state.formats[binding.var.name])


def _im2col(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity:
    x = _quantity(state, call.args[0])
    window, fill = window_of(callee_attributes(state.module, call))
    level = float(fixed_point.quantise(np.float32(fill), x.format.scale, x.format.bits))
    return Quantity(state.emitter.emit(im2col(state.emitter, x.expr, window, level)), x.format)


def _move(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity | None:
    form, attributes = state.formats[binding.var.name], call.attrs
    name = callee_name(state.module, call)
    if name == "relax.concat":
        parts = [_in_format(state, part, form).expr for part in call.args[0].fields]
        return Quantity(state.emitter.emit(relax.Call(call.op, [relax.Tuple(parts)], attributes)), form)
    x = _quantity(state, call.args[0])
    if name == "relax.nn.pad":
        return _pad(state, x, call)
    if name == "relax.take":
        return _take(state, x, call)
    if name == "relax.split":
        return None
    rest = [_host_value(state, argument) for argument in call.args[1:]]
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
    indices = _host_value(state, call.args[1])
    if dtype_of(indices) != "int32":
        indices = state.emitter.emit(relax.op.astype(indices, "int32"))
    return Quantity(
        state.emitter.emit(relax.Call(call.op, [x.expr, indices], call.attrs, call.ty_args)), x.format
    )


HANDLERS: Mapping[str, Handler] = {
    "relax.matmul": _matmul,
    "relax.add": _addition(1.0),
    "relax.subtract": _addition(-1.0),
    "relax.multiply": _multiply,
    FLOAT_PWL: _pwl,
    GRID: _grid,
    IM2COL: _im2col,
    **{name: _move for name in MOVES},
}
"""How each operation of float matrix form becomes an integer one; whatever else there is runs on the host."""
