"""Constant factors and offsets that vary by column sit at their matrix product: in its weights and one bias.

Run after `passes.normalise_matmul` and before calibration. An unfused batch normalisation, or a
convolution's bias, comes after the moves that make an image of a product's rows; here it moves up through
them, so that the product can add it while its sums leave the array. Only through values that nothing else
reads. Exact but for float rounding.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import ir, relax

from passes.definitions import definition
from passes.rewrite import (
    Emitter,
    bindings_of,
    constant_value,
    dtype_of,
    layer_of,
    rebuild,
    shape_of,
)

_op = relax.op


@dataclass(frozen=True)
class Affine:
    """x ↦ x·factor + offset by element; both have the rank of x, with extents of one where constant."""

    factor: np.ndarray
    offset: np.ndarray

    def after(self, first: "Affine") -> "Affine":
        """This map of the other one's result."""
        return Affine(first.factor * self.factor, first.offset * self.factor + self.offset)

    def moved(self, shape: tuple[int, ...], move: Callable[[np.ndarray], np.ndarray]) -> "Affine":
        """The map over the elements of a tensor of `shape` rearranged by `move`."""
        return Affine(*(_shrunk(move(np.broadcast_to(part, shape))) for part in (self.factor, self.offset)))


@tvm.transform.module_pass(opt_level=0, name="nmc.FoldAffine")
def fold_affine(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Move the constant factors and offsets of main up to the products they belong to."""
    uses = _uses(module)

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        found = _affine_of(value)
        if found is None:
            return value
        layer = emitter.layer
        pushed = _pushed(emitter, uses, *found)
        emitter.layer = layer
        return value if pushed is None else pushed

    return rebuild(module, visit)


def _uses(module: ir.IRModule) -> Counter[str]:
    """How often each variable of main is read; a variable that renames another counts as that one."""
    renamed: dict[str, str] = {}
    uses: Counter[str] = Counter()

    def count(expr: relax.Expr) -> None:
        if isinstance(expr, relax.Var):
            uses[renamed.get(expr.name, expr.name)] += 1
        for part in getattr(expr, "args", None) or getattr(expr, "fields", None) or ():
            count(part)
        if isinstance(expr, relax.TupleGetItem):
            count(expr.tuple_value)

    for binding in bindings_of(module["main"]):
        if isinstance(binding.value, relax.Var):
            renamed[binding.var.name] = renamed.get(binding.value.name, binding.value.name)
        else:
            count(binding.value)
    count(module["main"].body.body)
    return uses


def _affine_of(value: relax.Expr) -> tuple[relax.Expr, Affine] | None:
    """What a call multiplies by or adds to a constant, and the map; None if the result has another shape."""
    name = value.op.name if isinstance(value, relax.Call) and isinstance(value.op, ir.Op) else ""
    if name not in ("relax.add", "relax.subtract", "relax.multiply") or dtype_of(value.args[0]) != "float32":
        return None
    for index, x in enumerate(value.args):
        constant = constant_value(value.args[1 - index])
        if constant is None or constant_value(x) is not None or not np.isfinite(constant).all():
            continue
        if np.broadcast_shapes(shape_of(x), constant.shape) != shape_of(x):
            continue
        number = constant.astype(np.float64).reshape(
            (1,) * (len(shape_of(x)) - constant.ndim) + constant.shape
        )
        one, zero = np.ones((1,) * number.ndim), np.zeros((1,) * number.ndim)
        if name == "relax.multiply":
            return x, Affine(number, zero)
        if name == "relax.subtract":
            return x, Affine(one, -number) if index == 0 else Affine(-one, number)
        return x, Affine(one, number)
    return None


def _pushed(emitter: Emitter, uses: Mapping[str, int], x: relax.Expr, affine: Affine) -> relax.Expr | None:
    """What replaces affine(x), with the map applied at the products that x comes from; None if it cannot be.

    Sets the emitter's layer to that of the variable it rewrites.
    """
    call = definition(emitter, x)
    if call is None or not isinstance(call.op, ir.Op) or uses.get(x.name, 1) != 1:
        return None
    rule = RULES.get(call.op.name)
    if rule is not None:
        return rule(emitter, uses, x, call, affine)
    inner = _affine_of(call)
    return None if inner is None else _pushed(emitter, uses, inner[0], affine.after(inner[1]))


Push = Callable[[Emitter, Mapping[str, int], relax.Var, relax.Call, Affine], relax.Expr | None]


def _into_product(
    emitter: Emitter, uses: Mapping[str, int], x: relax.Var, call: relax.Call, affine: Affine
) -> relax.Expr | None:
    a, b = call.args
    weights = constant_value(b)
    plain = (affine.factor == 1.0).all()
    columns = affine.factor.ndim == 3 and affine.factor.shape[1] == affine.offset.shape[1] == 1
    if not columns or (weights is None and not plain):
        return None
    emitter.layer = layer_of(x)
    product = call if plain else _op.matmul(a, emitter.constant(weights * affine.factor))
    if not affine.offset.any():
        return product
    return _op.add(emitter.emit(product), emitter.constant(affine.offset))


def _through(
    emitter: Emitter, uses: Mapping[str, int], call: relax.Call, affine: Affine
) -> relax.Expr | None:
    source = _pushed(emitter, uses, call.args[0], affine)
    return None if source is None else relax.Call(call.op, [emitter.emit(source), *call.args[1:]], call.attrs)


def _through_reshape(
    emitter: Emitter, uses: Mapping[str, int], x: relax.Var, call: relax.Call, affine: Affine
) -> relax.Expr | None:
    before = shape_of(call.args[0])
    return _through(emitter, uses, call, affine.moved(shape_of(x), lambda part: part.reshape(before)))


def _through_permute(
    emitter: Emitter, uses: Mapping[str, int], x: relax.Var, call: relax.Call, affine: Affine
) -> relax.Expr | None:
    axes = call.attrs.axes
    order = [int(axis) for axis in axes] if axes is not None else list(range(len(shape_of(x))))[::-1]
    inverse = np.argsort(order)
    return _through(
        emitter, uses, call, Affine(affine.factor.transpose(inverse), affine.offset.transpose(inverse))
    )


def _through_slice(
    emitter: Emitter, uses: Mapping[str, int], x: relax.Var, call: relax.Call, affine: Affine
) -> relax.Expr | None:
    """The whole tensor is mapped: the same in the slice, if the map does not vary along the sliced axes."""
    rank = len(shape_of(x))
    axes = [int(axis) % rank for axis in call.args[1].fields]
    varies = any(part.shape[axis] != 1 for axis in axes for part in (affine.factor, affine.offset))
    return None if varies else _through(emitter, uses, call, affine)


def _through_concat(
    emitter: Emitter, uses: Mapping[str, int], x: relax.Var, call: relax.Call, affine: Affine
) -> relax.Expr | None:
    """Each part is mapped by its share of the map."""
    axis = int(call.attrs.axis or 0) % len(shape_of(x))
    parts, start = [], 0
    for part in call.args[0].fields:
        extent = shape_of(part)[axis]
        share = Affine(*(_share(numbers, axis, start, extent) for numbers in (affine.factor, affine.offset)))
        start += extent
        value = constant_value(part)
        if value is not None:
            mapped = np.broadcast_to(value * share.factor + share.offset, value.shape)
            parts.append(emitter.constant(mapped))
            continue
        pushed = _pushed(emitter, uses, part, share)
        if pushed is None:
            return None
        parts.append(emitter.emit(pushed))
    return relax.Call(call.op, [relax.Tuple(parts)], call.attrs)


def _into_table(
    emitter: Emitter, uses: Mapping[str, int], x: relax.Var, call: relax.Call, affine: Affine
) -> relax.Expr | None:
    """Rows of a constant table are mapped in the table, when all rows are mapped alike."""
    table = constant_value(call.args[0])
    alike = all(part.size == part.shape[-1] for part in (affine.factor, affine.offset))
    if table is None or table.ndim != 2 or int(call.attrs.axis or 0) != 0 or not alike:
        return None
    mapped = table * affine.factor.reshape(-1) + affine.offset.reshape(-1)
    emitter.layer = layer_of(x)
    return relax.Call(call.op, [emitter.constant(mapped), *call.args[1:]], call.attrs)


def _share(numbers: np.ndarray, axis: int, start: int, extent: int) -> np.ndarray:
    if numbers.shape[axis] == 1:
        return numbers
    return _shrunk(np.take(numbers, np.arange(start, start + extent), axis))


def _shrunk(numbers: np.ndarray) -> np.ndarray:
    """The array with an extent of one along each axis it does not vary along."""
    for axis in range(numbers.ndim):
        first = numbers.take([0], axis)
        if numbers.shape[axis] > 1 and (numbers == first).all():
            numbers = first
    return numbers


RULES: Mapping[str, Push] = {
    "relax.matmul": _into_product,
    "relax.take": _into_table,
    "relax.reshape": _through_reshape,
    "relax.permute_dims": _through_permute,
    "relax.strided_slice": _through_slice,
    "relax.concat": _through_concat,
}
"""How a map moves up through the call that computes its argument."""
