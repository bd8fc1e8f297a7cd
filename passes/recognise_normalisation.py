"""A spelled-out normalisation has the one form that keeps its precision in integers.

Run after `passes.simplify`, before sums, roots and quotients are lowered. Four spellings are turned round:

- a variance mean(x²) - mean(x)², the difference of two large numbers, becomes the mean of (x - mean(x))²;
- x·w + (b - mean·w), again a difference of large numbers, becomes (x - mean)·w + b;
- x / (norm where it is not zero, else 1) becomes x / max(norm, 1e-12), which needs no comparison;
- d·(r·gamma), with r a root's inverse for each row and gamma constant, becomes (d·r)·gamma: d·r is of order
  one, whatever the model's input, and gamma can move into the weights of what follows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm
from tvm import ir, relax

from passes.definitions import arguments_of, definition, operator_name
from passes.float_rules import rewrite_float_calls
from passes.rewrite import Emitter, Rule, constant_value, shape_of
from passes.scalars import scalar_of

_op = relax.op

SMALLEST_NORM = 1.0e-12
"""Stands for a norm of zero in a divisor: zero divided by it is zero."""


@dataclass(frozen=True)
class Mean:
    """A mean over axes: of what, over which axes (counted from the front), and the shape of the result."""

    source: relax.Expr
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def kept_shape(self) -> list[int]:
        """The result's shape with the reduced axes as extents of one."""
        return [1 if axis in self.axes else extent for axis, extent in enumerate(shape_of(self.source))]


def mean_of(emitter: Emitter, expr: relax.Expr) -> Mean | None:
    """What `expr` is the mean of: relax.mean, or a sum times 1/count, in any shape; None if it is no mean."""
    call = definition(emitter, expr)
    if call is None:
        return None
    name = operator_name(call)
    if name == "relax.mean":
        return Mean(call.args[0], _axes(call), shape_of(expr))
    if name == "relax.reshape":
        inner = mean_of(emitter, call.args[0])
        return None if inner is None else Mean(inner.source, inner.axes, shape_of(expr))
    if name == "relax.multiply":
        return _scaled_sum(emitter, expr, *call.args) or _scaled_sum(emitter, expr, *reversed(call.args))
    if name == "relax.divide":
        number = scalar_of(call.args[1])
        return (
            None if not number else _scaled_sum(emitter, expr, call.args[0], emitter.constant(1.0 / number))
        )
    return None


def _scaled_sum(emitter: Emitter, expr: relax.Expr, total: relax.Expr, factor: relax.Expr) -> Mean | None:
    weight, summed = scalar_of(factor), definition(emitter, total)
    if weight is None or summed is None or operator_name(summed) != "relax.sum":
        return None
    axes = _axes(summed)
    count = math.prod(shape_of(summed.args[0])[axis] for axis in axes)
    is_mean = math.isclose(weight * count, 1.0, rel_tol=1e-6) and shape_of(expr) == shape_of(total)
    return Mean(summed.args[0], axes, shape_of(expr)) if is_mean else None


def _axes(call: relax.Call) -> tuple[int, ...]:
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axis
    return tuple(range(rank)) if axes is None else tuple(sorted(int(axis) % rank for axis in axes))


def _variance(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """mean(x·x) - mean(x)·mean(x) = mean((x - mean(x))²)."""
    of_squares, product = (
        mean_of(emitter, call.args[0]),
        arguments_of(emitter, call.args[1], "relax.multiply"),
    )
    if of_squares is None or product is None or not product[0].same_as(product[1]):
        return None
    mean, factors = mean_of(emitter, product[0]), arguments_of(emitter, of_squares.source, "relax.multiply")
    if mean is None or factors is None or not all(factor.same_as(mean.source) for factor in factors):
        return None
    if (mean.axes, mean.shape) != (of_squares.axes, of_squares.shape):
        return None
    kept = product[0]
    if list(mean.shape) != mean.kept_shape():
        kept = emitter.emit(_op.reshape(kept, mean.kept_shape()))
    deviation = emitter.emit(_op.subtract(mean.source, kept))
    square = emitter.emit(_op.multiply(deviation, deviation))
    result = emitter.emit(_op.mean(square, axis=list(mean.axes), keepdims=True))
    return result if shape_of(result) == mean.shape else _op.reshape(result, list(mean.shape))


def _affine(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """x·w + (b - m·w) = (x - m)·w + b, for any order of the factors."""
    for product, rest in _orders(call.args):
        scaled, difference = (
            arguments_of(emitter, product, "relax.multiply"),
            arguments_of(emitter, rest, "relax.subtract"),
        )
        shifted = None if difference is None else arguments_of(emitter, difference[1], "relax.multiply")
        if scaled is None or difference is None or shifted is None:
            continue
        for x, weight in _orders(scaled):
            for mean, same in _orders(shifted):
                if weight.same_as(same) and mean_of(emitter, mean) is not None:
                    deviation = emitter.emit(_op.subtract(x, mean))
                    return _op.add(emitter.emit(_op.multiply(deviation, weight)), difference[0])
    return None


def _product(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    for deviation, weight in _orders(call.args):
        result = _gamma_last(emitter, deviation, weight)
        if result is not None:
            return result
    return None


def _gamma_last(emitter: Emitter, deviation: relax.Expr, weight: relax.Expr) -> relax.Expr | None:
    """d·(r·gamma) = (d·r)·gamma, when r is the inverse of a root and gamma a constant that varies."""
    factors = arguments_of(emitter, weight, "relax.multiply")
    for inverse, gamma in () if factors is None else _orders(factors):
        if (
            constant_value(gamma) is not None
            and scalar_of(gamma) is None
            and _is_inverse_root(emitter, inverse)
        ):
            return _op.multiply(emitter.emit(_op.multiply(deviation, inverse)), gamma)
    return None


def _guarded_norm(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """x over its norm, a number where that is zero, without the comparison: where the norm is zero, x is."""
    x, divisor = call.args
    chosen = arguments_of(emitter, divisor, "relax.where")
    compared = None if chosen is None else arguments_of(emitter, chosen[0], "relax.equal")
    if chosen is None or compared is None or scalar_of(compared[1]) != 0.0:
        return None
    norm = chosen[2]
    if not compared[0].same_as(norm) or scalar_of(chosen[1]) in (None, 0.0) or not _is_norm(emitter, norm, x):
        return None
    return _op.divide(x, emitter.emit(_op.maximum(norm, emitter.constant(SMALLEST_NORM))))


def _is_norm(emitter: Emitter, norm: relax.Expr, x: relax.Expr) -> bool:
    """Whether a tensor is a sum of |x| or of x·x, or a root of one."""
    for wrapper in ("relax.sqrt", "relax.sum"):
        inner = arguments_of(emitter, norm, wrapper)
        norm = norm if inner is None else inner[0]
    size = arguments_of(emitter, norm, "relax.abs", "relax.multiply")
    return size is not None and all(factor.same_as(x) for factor in size)


def _is_inverse_root(emitter: Emitter, expr: relax.Expr) -> bool:
    call = definition(emitter, expr)
    if call is None:
        return False
    name = operator_name(call)
    if name == "relax.reshape":
        return _is_inverse_root(emitter, call.args[0])
    if name == "relax.divide":
        return arguments_of(emitter, call.args[1], "relax.sqrt") is not None
    return name == "relax.rsqrt" or (name == "relax.power" and scalar_of(call.args[1]) == -0.5)


def _orders(pair: Sequence[relax.Expr]) -> tuple[tuple[relax.Expr, relax.Expr], ...]:
    """The operands of a commutative operator in both orders."""
    first, second = pair
    return ((first, second), (second, first))


DIFFERENCES: Mapping[str, Rule] = {
    "relax.subtract": _variance,
    "relax.add": _affine,
    "relax.divide": _guarded_norm,
}
PRODUCTS: Mapping[str, Rule] = {"relax.multiply": _product}
"""Applied after the others, which look for the products as they were written."""


@tvm.transform.module_pass(opt_level=0, name="nmc.RecogniseNormalisation")
def recognise_normalisation(module: ir.IRModule, context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply DIFFERENCES, then PRODUCTS, to the float operators of main."""
    for rules in (DIFFERENCES, PRODUCTS):
        module = rewrite_float_calls(module, rules)
    return module
