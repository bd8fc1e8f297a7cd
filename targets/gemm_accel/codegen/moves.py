"""The moves of matrix form as arithmetic on views. A rule returns None where the result is no view of its
source."""

from collections.abc import Callable

from tvm import relax

from passes.rewrite import shape_of
from targets.gemm_accel.codegen.views import View, bounded, broadcast, permuted, reshaped, sliced

MoveRule = Callable[[relax.Call, View], View | None]


def _reshape(call: relax.Call, view: View) -> View | None:
    return reshaped(view, shape_of(call))


def _permute_dims(call: relax.Call, view: View) -> View | None:
    rank = len(view.axes)
    axes = call.attrs.axes
    return permuted(view, [int(axis) % rank for axis in axes] if axes is not None else range(rank)[::-1])


def _strided_slice(call: relax.Call, view: View) -> View | None:
    lists = [[int(item.value) for item in argument.fields] for argument in call.args[1:]]
    axes, begins = lists[0], lists[1]
    steps = lists[3] if len(lists) > 3 and lists[3] else [1] * len(axes)
    result: View | None = view
    for axis, begin, step in zip(axes, begins, steps, strict=True):
        axis %= len(view.axes)
        extent = view.shape[axis]
        begin = begin + extent if begin < 0 else begin
        begin = min(max(begin, 0), extent - 1 if step < 0 else extent)
        wanted = shape_of(call)[axis]
        if result is not None and wanted:
            result = sliced(result, axis, begin, wanted, step)
    return result


def _broadcast_to(call: relax.Call, view: View) -> View | None:
    return broadcast(view, shape_of(call))


def _pad(call: relax.Call, view: View) -> View | None:
    widths = [int(width) for width in call.attrs.pad_width]
    if str(call.attrs.pad_mode) != "constant":
        return None
    fill = int(call.attrs.pad_value)
    result: View | None = view
    for axis, extent in enumerate(shape_of(call)):
        before, after = widths[2 * axis : 2 * axis + 2]
        if result is not None and (before or after):
            result = bounded(result, axis, -before, extent, fill)
    return result


RULES: dict[str, MoveRule] = {
    "relax.reshape": _reshape,
    "relax.flatten": _reshape,
    "relax.expand_dims": _reshape,
    "relax.squeeze": _reshape,
    "relax.permute_dims": _permute_dims,
    "relax.strided_slice": _strided_slice,
    "relax.broadcast_to": _broadcast_to,
    "relax.nn.pad": _pad,
}
"""The moves of one tensor. What they refuse is tried again on a dense copy of the source."""


def split_parts(call: relax.Call, view: View) -> list[View | None]:
    """The parts of relax.split in order, each None where it is no view."""
    axis = int(call.attrs.axis) % len(view.axes)
    begin = 0
    parts: list[View | None] = []
    for field in call.ty.fields:
        extent = int(field.shape[axis])
        parts.append(sliced(view, axis, begin, extent))
        begin += extent
    return parts
