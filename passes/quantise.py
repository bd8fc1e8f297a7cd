"""Everything the accelerator computes is integer: level 2 becomes level 3.

`main` keeps its float and integer parameters and results; what is left of float arithmetic are the operators that run on
the host, each between a dequantisation and a quantisation. Needs the formats of `passes.formats` and the tables of
`passes.linearise`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from tvm import ir, relax

from nmc.quant.fixed_point import QuantisationError
from nmc.quant.formats import DATA_BITS, TensorFormat
from passes.fusible_biases import fusible_biases
from passes.linearise import FittedTable
from passes.matrix_form.grid import GRID
from passes.matrix_form.im2col import IM2COL
from passes.matrix_form.moves import MOVES
from passes.matrix_form.pwl import FLOAT_PWL
from passes.narrow_products import NARROW_BITS, NarrowProduct, NarrowProducts
from passes.quantise_arithmetic import addition, grid, multiply, pwl
from passes.quantise_gemm import activation_product, weights_product
from passes.quantise_moves import move, windows
from passes.quantiser_state import Handler, QuantiserState
from passes.quantity import Quantity
from passes.rewrite import Emitter, bindings_of, callee_name, constant_value, finish, layer_of, shape_of


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
    state = QuantiserState(module, emitter, formats, tables, fusible_biases(module), products)
    for parameter in main.params:
        state.values[parameter.name] = parameter
    for binding in bindings_of(main):
        emitter.reserve(binding.var.name)
    for binding in bindings_of(main):
        emitter.layer = layer_of(binding.var)
        _visit(state, binding)
    result = state.host_value(main.body.body)
    tensors = {
        name: QuantisedTensor(quantity.expr.name, quantity.format.scale)
        for name, quantity in state.integers.items()
        # a product that a bias was added to has no integers of its own
        if isinstance(quantity.expr, relax.Var) and name not in state.biases
    }
    return finish(emitter, module.get_global_var("main"), main, list(main.params), result), tensors


def _visit(state: QuantiserState, binding: relax.VarBinding) -> None:
    value, name = binding.value, binding.var.name
    if isinstance(value, relax.Var) and value.name in state.integers:
        state.integers[name] = state.integers[value.name]
        return
    if isinstance(value, relax.Call) and name in state.formats and name not in state.integers:
        handler = HANDLERS.get(callee_name(state.module, value))
        try:
            quantity = handler(state, binding, value) if handler is not None else None
        except QuantisationError as error:
            raise QuantisationError(f"layer '{layer_of(binding.var)}': {error}") from error
        if quantity is not None:
            state.integers[name] = quantity
            return
    if name not in state.integers:
        state.values[name] = state.emitter.emit(state.host_value(value))


def _matmul(state: QuantiserState, binding: relax.VarBinding, call: relax.Call) -> Quantity | None:
    if len(shape_of(call.args[0])) != 3 or len(shape_of(call.args[1])) != 3:
        return None
    added = state.biases.get(binding.var.name)
    target, bias = (binding.var.name, np.zeros((1, 1, 1))) if added is None else (added.sum, added.value)
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
    a, weights = state.quantity(call.args[0]), constant_value(call.args[1])
    if weights is None:
        b = state.narrowed(state.quantity(call.args[1]))
        return activation_product(state.emitter, state.narrowed(a), b, bias, form)
    product = weights_product(state.emitter, a, weights, bias, form, DATA_BITS)
    if product is None:
        product = weights_product(state.emitter, state.narrowed(a), weights, bias, form, DATA_BITS)
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


HANDLERS: Mapping[str, Handler] = {
    "relax.matmul": _matmul,
    "relax.add": addition(1.0),
    "relax.subtract": addition(-1.0),
    "relax.multiply": multiply,
    FLOAT_PWL: pwl,
    GRID: grid,
    IM2COL: windows,
    **{name: move for name in MOVES},
}
"""How each operation of float matrix form becomes an integer one; whatever else there is runs on the host."""
