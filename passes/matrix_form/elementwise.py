"""hadamard and add: two tensors, element by element, with numpy broadcasting, requantised by one scale."""

from collections.abc import Callable, Sequence

import numpy as np
from tvm import ir, relax, te

from passes.matrix_form.composite import call_composite, call_kernel
from passes.matrix_form.fixed_point import int64, requantise, round_shift, saturate
from passes.rewrite import Emitter, dtype_of, shape_of

HADAMARD = "gemm_accel.hadamard"
ADD = "gemm_accel.add"


def hadamard(
    emitter: Emitter, a: relax.Expr, b: relax.Expr, multiplier: int, shift: int, dtype: str
) -> relax.Call:
    """saturate(requantise(a ∘ b, multiplier, shift)) in `dtype`; at most one operand is int32, the others narrower."""
    scale = emitter.constant(np.array([multiplier, shift]), "int64")

    def element(a: ir.Expr, b: ir.Expr, scale: te.Tensor) -> ir.Expr:
        return saturate(requantise(int64(a) * int64(b), scale[0], scale[1]), dtype)

    return _elementwise(emitter, HADAMARD, [a, b, scale], element, dtype)


def add(
    emitter: Emitter,
    a: relax.Expr,
    b: relax.Expr,
    multiplier_a: int,
    multiplier_b: int,
    shift: int,
    dtype: str,
) -> relax.Call:
    """saturate(floor((a·multiplier_a + b·multiplier_b + 2^(shift-1)) / 2^shift)) in `dtype`; a subtraction has
    a negative multiplier_b. Each multiplier is below 2^30 in magnitude."""
    scale = emitter.constant(np.array([multiplier_a, multiplier_b, shift]), "int64")

    def element(a: ir.Expr, b: ir.Expr, scale: te.Tensor) -> ir.Expr:
        return saturate(round_shift(int64(a) * scale[0] + int64(b) * scale[1], scale[2]), dtype)

    return _elementwise(emitter, ADD, [a, b, scale], element, dtype)


def _elementwise(
    emitter: Emitter,
    composite: str,
    arguments: Sequence[relax.Expr],
    element: Callable[[ir.Expr, ir.Expr, te.Tensor], ir.Expr],
    dtype: str,
) -> relax.Call:
    operands = [te.placeholder(shape_of(argument), dtype_of(argument)) for argument in arguments]
    shape = np.broadcast_shapes(shape_of(arguments[0]), shape_of(arguments[1]))
    name = composite.rpartition(".")[2]

    def body(inner: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
        a, b, scale = operands
        result = te.compute(shape, lambda *index: element(_at(a, index), _at(b, index), scale), name=name)
        function = te.create_prim_func([*operands, result]).without_attr("global_symbol")
        return call_kernel(inner, inner.builder.add_func(function, name), parameters, shape, dtype)

    return call_composite(emitter, composite, arguments, body)


def _at(tensor: te.Tensor, index: Sequence[ir.Expr]) -> ir.Expr:
    """The element of a tensor that broadcasts to a shape of the index's rank."""
    own = index[len(index) - len(tensor.shape) :]
    return tensor(*(0 if int(extent) == 1 else i for i, extent in zip(own, tensor.shape, strict=True)))
