"""Sums, means, variances and cumulative sums are products with constants; extrema and products are trees, cumulative
products are doubled.

Run after the passes that introduce sums and means (normalisation, softmax) and before
`passes.normalise_matmul`. Reduced elements become the rows' elements of [1, rows, K], which a constant
column [1, K, 1] sums: moves cost nothing, and the constant's one value tells quantisation that the product
is a plain sum. Float only; argmax and the like stay.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tvm
from tvm import ir, relax

from passes.float_rules import rewrite_float_calls
from passes.matrix_along import matrix_along
from passes.matrix_form.unary import unary
from passes.rewrite import Emitter, Rule, shape_of
from passes.views import concatenate, permute, reshape, slice_axis

_op = relax.op
Combine = Callable[[relax.Expr, relax.Expr], relax.Expr]


def reduced_axes(call: relax.Call) -> list[int]:
    """The axes that a reduction is over, counted from the front and sorted; all where none is named."""
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axis
    return list(range(rank)) if axes is None else sorted({int(axis) % rank for axis in axes})


def _weighted(emitter: Emitter, x: relax.Expr, axes: Sequence[int], weight: float) -> relax.Expr:
    """The sum over `axes` times a number, with the reduced axes kept as extents of one."""
    shape = shape_of(x)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    depth = _size(shape, axes)
    if depth == 1 and weight == 1.0:  # a product would round what must stay equal to x
        return x
    rows = reshape(emitter, permute(emitter, x, [*kept, *axes]), (1, _size(shape, kept), depth))
    column = emitter.constant(np.full((1, depth, 1), weight))
    total = emitter.emit(_op.matmul(rows, column))
    return reshape(emitter, total, [1 if axis in axes else extent for axis, extent in enumerate(shape)])


def _size(shape: Sequence[int], axes: Sequence[int]) -> int:
    return int(np.prod([shape[axis] for axis in axes]))


def _sum(emitter: Emitter, x: relax.Expr, axes: Sequence[int]) -> relax.Expr:
    return _weighted(emitter, x, axes, 1.0)


def _mean(emitter: Emitter, x: relax.Expr, axes: Sequence[int]) -> relax.Expr:
    return _weighted(emitter, x, axes, 1.0 / _size(shape_of(x), axes))


def _variance(emitter: Emitter, x: relax.Expr, axes: Sequence[int]) -> relax.Expr:
    centred = emitter.emit(_op.subtract(x, _mean(emitter, x, axes)))
    return _mean(emitter, emitter.emit(_op.multiply(centred, centred)), axes)


def _deviation(emitter: Emitter, x: relax.Expr, axes: Sequence[int]) -> relax.Expr:
    return emitter.emit(unary(emitter, _variance(emitter, x, axes), "sqrt"))


def _tree(
    combine: Combine, repeats_allowed: bool
) -> Callable[[Emitter, relax.Expr, Sequence[int]], relax.Expr]:
    def reduce(emitter: Emitter, x: relax.Expr, axes: Sequence[int]) -> relax.Expr:
        shape = shape_of(x)
        for axis in sorted(axes, key=lambda axis: -shape[axis]):
            x = _halved(emitter, x, axis, combine, repeats_allowed)
        return x

    return reduce


def _halved(
    emitter: Emitter, x: relax.Expr, axis: int, combine: Combine, repeats_allowed: bool
) -> relax.Expr:
    """Combines the halves of an axis until one element is left.

    Of an odd number the halves overlap in the middle element where combining it twice changes nothing; else
    the last element waits until the end.
    """
    waiting = []
    while (extent := shape_of(x)[axis]) > 1:
        half = extent // 2
        if extent % 2 and repeats_allowed:
            half += 1
        elif extent % 2:
            waiting.append(slice_axis(emitter, x, axis, extent - 1, 1))
        first = slice_axis(emitter, x, axis, 0, half)
        second = slice_axis(emitter, x, axis, extent - half if repeats_allowed else half, half)
        x = emitter.emit(combine(first, second))
    for element in waiting:
        x = emitter.emit(combine(x, element))
    return x


REDUCTIONS: Mapping[str, Callable[[Emitter, relax.Expr, Sequence[int]], relax.Expr]] = {
    "relax.sum": _sum,
    "relax.mean": _mean,
    "relax.variance": _variance,
    "relax.std": _deviation,
    "relax.max": _tree(_op.maximum, repeats_allowed=True),
    "relax.min": _tree(_op.minimum, repeats_allowed=True),
    "relax.prod": _tree(_op.multiply, repeats_allowed=False),
}
"""What each reduction becomes, with the reduced axes kept."""


def _rule(reduce: Callable[[Emitter, relax.Expr, Sequence[int]], relax.Expr]) -> Rule:
    def rule(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
        x = call.args[0]
        axes = reduced_axes(call)
        return reshape(emitter, reduce(emitter, x, axes) if axes else x, shape_of(call))

    return rule


def _cumulative_sum(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """Along an axis, times the triangular matrix of ones that selects what is before (and at) each place."""
    x = call.args[0]
    if call.attrs.axis is None:
        x = reshape(emitter, x, (int(np.prod(shape_of(x))),))
    axis = int(call.attrs.axis or 0) % len(shape_of(x))
    extent = shape_of(x)[axis]
    return matrix_along(emitter, x, np.tri(extent, k=-1 if call.attrs.exclusive else 0), axis)


def _cumulative_product(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """Along an axis by doubling: each round multiplies an element by what the one `reach` before it has become."""
    x = call.args[0]
    if call.attrs.axis is None:
        x = reshape(emitter, x, (int(np.prod(shape_of(x))),))
    shape, axis = shape_of(x), int(call.attrs.axis or 0) % len(shape_of(x))
    extent, reach = shape[axis], 1
    if call.attrs.exclusive:
        ones = emitter.constant(np.ones([1 if i == axis else n for i, n in enumerate(shape)]))
        rest = [slice_axis(emitter, x, axis, 0, extent - 1)] if extent > 1 else []
        x = concatenate(emitter, [ones, *rest], axis)
    while reach < extent:
        done = slice_axis(emitter, x, axis, 0, reach)
        later, earlier = (slice_axis(emitter, x, axis, begin, extent - reach) for begin in (reach, 0))
        x = concatenate(emitter, [done, emitter.emit(_op.multiply(later, earlier))], axis)
        reach *= 2
    return x


RULES: Mapping[str, Rule] = {
    **{name: _rule(reduce) for name, reduce in REDUCTIONS.items()},
    "relax.cumsum": _cumulative_sum,
    "relax.cumprod": _cumulative_product,
}


@tvm.transform.module_pass(opt_level=0, name="nmc.LowerReductions")
def lower_reductions(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to main."""
    return rewrite_float_calls(module, RULES)
