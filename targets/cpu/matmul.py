"""Float products, and what follows them element by element, through kernels for all shapes."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import tvm
from tvm import ir, relax

from passes.matrix_form.composite import call_composite, call_kernel
from passes.matrix_form.pwl import FLOAT_PWL
from passes.rewrite import (
    Emitter,
    bindings_of,
    callee_name,
    constant_value,
    dtype_of,
    rebuild,
    shape_of,
    variables_of,
)
from passes.views import reshape
from targets.cpu.depthwise_kernel import depthwise_kernel
from targets.cpu.matmul_kernel import BLOCK_COLUMNS, matmul_kernel, panels_kernel
from targets.cpu.table_lines import FEW

MATMUL, DEPTHWISE = "nmc.matmul", "nmc.depthwise"
KERNELS = {MATMUL: matmul_kernel, DEPTHWISE: depthwise_kernel}


@tvm.transform.module_pass(opt_level=0, name="nmc.ScheduleMatmul")
def ScheduleMatmul(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Every float32 matmul in `main` whose batches are equal, or whose right operand has none, calls the kernel.

    A depthwise product calls its own. So do the sum with a constant row, the sum with a tensor and the table of few
    segments that read nothing but it.
    """
    return rebuild(module, _Products(module).visit)


def depthwise(emitter: Emitter, x: relax.Expr, places: np.ndarray, weights: np.ndarray) -> relax.Call:
    """Σ x[place, c]·weights[tap, c] over the taps of each row of places, negative ones left out, as [1, rows, channels].

    x: float32 [positions, channels]; places: integers [rows, taps]; weights: [taps, channels].
    """
    (rows, taps), channels = places.shape, weights.shape[1]
    panels = _panels(emitter, emitter.constant(weights), (1, taps, channels))

    def body(inner: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
        return Product((1, rows, channels), DEPTHWISE, tuple(parameters)).call(inner)

    return call_composite(emitter, DEPTHWISE, [x, emitter.constant(places, "int32"), panels], body)


@dataclass(frozen=True)
class Product:
    """table(a·b + bias + residual), [groups, rows, columns]: `operands` are those of a·b to the kernel of that name."""

    shape: tuple[int, int, int]
    kernel: str
    operands: tuple[relax.Expr, ...]
    bias: np.ndarray | None = None
    """[groups or 1, columns]."""
    residual: relax.Expr | None = None
    table: tuple[relax.Expr, ...] | None = None
    """Boundaries, slopes and intercepts."""

    def call(self, emitter: Emitter) -> relax.Call:
        """The kernel's call, in which what is absent has no effect."""
        zero, one = emitter.constant(np.zeros(1)), emitter.constant(np.ones(1))
        columns = self.shape[2]
        bias = np.zeros((1, columns)) if self.bias is None else self.bias
        padding = -columns % BLOCK_COLUMNS
        padded = np.pad(bias, [(0, 0), (0, padding)]).reshape(len(bias), -1, BLOCK_COLUMNS)
        residual = emitter.constant(np.zeros((1, 1, 1))) if self.residual is None else self.residual
        table = (zero, one, zero) if self.table is None else self.table
        kernel = emitter.builder.add_func(KERNELS[self.kernel](), self.kernel.replace(".", "_"))
        operands = [*self.operands, emitter.constant(padded), residual, *table]
        return call_kernel(emitter, kernel, operands, self.shape, "float32")


@dataclass
class _Products:
    """Rewrites main; `products` knows the products of the new function by the variables that hold them, in any shape."""

    module: ir.IRModule
    products: dict[relax.Var, Product] = field(default_factory=dict)
    uses: Counter[relax.Var] = field(default_factory=Counter)
    """How often each variable of the old function is read."""

    def __post_init__(self) -> None:
        main = self.module["main"]
        values = [*(binding.value for binding in bindings_of(main)), main.body.body]
        self.uses = Counter(variable for value in values for variable in variables_of(value))

    def visit(self, emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        if not isinstance(value, relax.Call):
            return value
        name = callee_name(self.module, value)
        product = _product(emitter, value, name)
        for index, argument in enumerate(binding.value.args):
            before = self.products.get(value.args[index]) if self.uses[argument] == 1 else None
            if product is None and before is not None:
                product = _extended(emitter, before, name, value, index)
        if product is None:
            return value
        result = reshape(emitter, emitter.emit(product.call(emitter)), shape_of(value))
        self.products[result] = product
        return result


def _product(emitter: Emitter, call: relax.Call, name: str) -> Product | None:
    if name == DEPTHWISE:
        _, rows, columns = shape_of(call)
        return Product((1, rows, columns), DEPTHWISE, tuple(call.args))
    return _matmul(emitter, call) if name == "relax.matmul" else None


def _matmul(emitter: Emitter, call: relax.Call) -> Product | None:
    a, b = call.args
    a_shape, b_shape = shape_of(a), shape_of(b)
    if dtype_of(a) != "float32" or len(a_shape) < 2 or len(b_shape) < 2:
        return None
    rows, (depth, columns) = a_shape[-2], b_shape[-2:]
    if len(b_shape) == 2:
        groups, rows = 1, math.prod(a_shape[:-1])
    elif a_shape[:-2] == b_shape[:-2]:
        groups = math.prod(a_shape[:-2])
    else:
        return None
    panels = _panels(emitter, b, (groups, depth, columns))
    operands = (reshape(emitter, a, (groups, rows, depth)), panels)
    return Product((groups, rows, columns), MATMUL, operands)


def _extended(emitter: Emitter, product: Product, name: str, call: relax.Call, index: int) -> Product | None:
    """The product with a call that reads it as its argument `index`; None where the kernel does not know that."""
    if product.table is not None:
        return None
    if name == "relax.reshape":
        return product
    if name == FLOAT_PWL:
        table = tuple(call.args[1:])
        return replace(product, table=table) if shape_of(table[1])[0] <= FEW else None
    if name == "relax.add" and shape_of(call) == shape_of(call.args[index]):
        return _with_term(emitter, product, call.args[1 - index], shape_of(call))
    return None


def _with_term(emitter: Emitter, product: Product, term: relax.Expr, shape: Sequence[int]) -> Product | None:
    """The product plus a term that is broadcast to `shape`, in which the product stands."""
    value = constant_value(term)
    if value is not None:
        whole = np.broadcast_to(value, shape).reshape(product.shape)
        shared = (whole == whole[:1]).all()
        bias = whole[: 1 if shared else None, 0]
        if product.bias is None and (whole == bias[:, None]).all():
            return replace(product, bias=bias)
    if product.residual is None and shape_of(term) == tuple(shape):
        return replace(product, residual=reshape(emitter, term, product.shape))
    return None


def _panels(emitter: Emitter, b: relax.Expr, shape: tuple[int, int, int]) -> relax.Expr:
    """b, of [groups, depth, columns], as [groups, panels, depth, columns of one]; weights are laid out here and now."""
    groups, depth, columns = shape
    count = -(-columns // BLOCK_COLUMNS)
    value = constant_value(b)
    if value is not None:
        padded = np.zeros((groups, depth, count * BLOCK_COLUMNS), np.float32)
        padded[..., :columns] = value.reshape(shape)
        panels = padded.reshape(groups, depth, count, BLOCK_COLUMNS).transpose(0, 2, 1, 3)
        return emitter.constant(np.ascontiguousarray(panels))
    kernel = emitter.builder.add_func(panels_kernel(), "panels_float32")
    extents = [groups, count, depth, BLOCK_COLUMNS]
    return emitter.emit(call_kernel(emitter, kernel, [reshape(emitter, b, shape)], extents, "float32"))
