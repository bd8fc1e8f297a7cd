"""The order in which an element-wise operation walks its elements: that of its largest operand in memory."""

from collections.abc import Sequence

from targets.gemm_accel.codegen.views import (
    Axis,
    Factor,
    View,
    axis_extent,
    broadcast,
    common_extents,
    cut,
    dense_axes,
    merged,
)


def in_common_order(
    operands: Sequence[View], shape: Sequence[int]
) -> tuple[list[View], tuple[Axis, ...]] | None:
    """The operands, broadcast to `shape`, as flat views in one order, and the axes of the result in a dense
    buffer of that order. None when their factors cut each other unevenly."""
    views = [broadcast(operand, shape) for operand in operands]
    digits = []
    for axis in range(len(shape)):
        extents = common_extents([view.axes[axis] for view in views])
        if extents is None:
            return None
        digits.append(extents)
    cuts = [[cut(view.axes[axis], digits[axis]) for axis in range(len(shape))] for view in views]
    loops = [(axis, position) for axis, extents in enumerate(digits) for position in range(len(extents))]
    order = _memory_order(views, cuts, loops)
    flat = [
        View(view.buffer, view.origin, (merged([parts[a][p] for a, p in order]),), view.limits, view.fill)
        for view, parts in zip(views, cuts, strict=True)
    ]
    return flat, _dense_result(digits, order)


def _memory_order(
    views: Sequence[View], cuts: Sequence[Sequence[Axis]], loops: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The loops sorted by the strides of an operand that has no repeats; the logical order when there is
    none.

    Of several the last counts: it is likelier to have been computed just before.
    """
    whole = [
        parts
        for view, parts in zip(views, cuts, strict=True)
        if view.is_plain and view.buffer.value is None and not any(f.repeats for f in view.factors)
    ]
    if not whole:
        return list(loops)
    parts = whole[-1]
    return sorted(loops, key=lambda loop: abs(parts[loop[0]][loop[1]].strides[0]), reverse=True)


def _dense_result(digits: Sequence[tuple[int, ...]], order: Sequence[tuple[int, int]]) -> tuple[Axis, ...]:
    flat = dense_axes([digits[axis][position] for axis, position in order])
    strides = {loop: axis for loop, axis in zip(order, flat, strict=True)}
    axes: list[Axis] = []
    for axis, extents in enumerate(digits):
        factors: list[Factor] = [f for position in range(len(extents)) for f in strides[(axis, position)]]
        axes.append(merged(factors))
    assert [axis_extent(axis) for axis in axes] == [int(_product(extents)) for extents in digits]
    return tuple(axes)


def _product(extents: Sequence[int]) -> int:
    result = 1
    for extent in extents:
        result *= extent
    return result
