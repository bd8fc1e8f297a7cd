"""Float moves are reshape, permute_dims, strided_slice, concat, broadcast_to, constant nn.pad and take only.

Run first on level 1 and again after the other lowering passes, which leave chains of moves. Slices are
within bounds and their strides may be negative; `take` reads rows of a rank-2 table; gathers by regular
constants are slices and broadcasts; a move that moves nothing is gone. Integer and boolean tensors keep
their moves: they stay on the host.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import tvm
from tvm import ir, relax

from passes.definitions import arguments_of, definition
from passes.float_rules import rewrite_float_calls
from passes.rewrite import Emitter, Rule, constant_value, shape_of
from passes.scalars import FINITE_INFINITY
from passes.views import broadcast, concatenate, gather, permute, repeat, reshape, slice_axis, take

_op = relax.op


def _reshape(emitter: Emitter, call: relax.Call) -> relax.Expr:
    return reshape(emitter, call.args[0], shape_of(call))


def _permute_dims(emitter: Emitter, call: relax.Call) -> relax.Expr:
    x, order = call.args[0], permutation(call)
    before = definition(emitter, x)
    if before is not None and arguments_of(emitter, x, "relax.permute_dims") is not None:
        first = permutation(before)
        return permute(emitter, before.args[0], [first[axis] for axis in order])
    return permute(emitter, x, order)


def permutation(call: relax.Call) -> list[int]:
    """The axes of a `permute_dims`, counted from the front; without any they are reversed."""
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axes
    return list(range(rank))[::-1] if axes is None else [int(axis) % rank for axis in axes]


def _broadcast_to(emitter: Emitter, call: relax.Call) -> relax.Expr:
    return broadcast(emitter, call.args[0], shape_of(call))


def _strided_slice(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """One slice with begins within bounds, over the axes that it shortens."""
    x, given = call.args[0], [[int(number) for number in part.fields] for part in call.args[1:]]
    shape = shape_of(x)
    axes, begins, ends, strides = [], [], [], []
    for axis, begin, end, stride in zip(
        *given[:3], given[3] if len(given) > 3 else [1] * len(given[0]), strict=True
    ):
        axis %= len(shape)
        extent = shape[axis]
        begin, end, stride = slice(begin, end, stride).indices(extent)
        if (begin, end, stride) != (0, extent, 1):
            axes.append(axis)
            begins.append(begin)
            # an end of -1 would count from the back
            ends.append(end if end >= 0 else -extent - 1)
            strides.append(stride)
    value = constant_value(x)
    if value is not None or len(axes) <= 1:
        for axis, begin, stride in zip(axes, begins, strides, strict=True):
            x = slice_axis(emitter, x, axis, begin, shape_of(call)[axis], stride)
        return x
    return _op.strided_slice(x, axes, begins, ends, strides)


def _concat(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    parts = [part for part in call.args[0].fields if 0 not in shape_of(part)]
    values = [constant_value(part) for part in parts]
    axis = int(call.attrs.axis or 0) % len(shape_of(call))
    if parts and all(value is not None for value in values):
        return emitter.constant(np.concatenate([value for value in values if value is not None], axis))
    return concatenate(emitter, parts, axis) if parts else None


def _split(emitter: Emitter, call: relax.Call) -> relax.Expr:
    rank = len(shape_of(call.args[0]))
    axis, start, parts = int(call.attrs.axis) % rank, 0, []
    for part in call.ty.fields:
        count = int(part.shape[axis])
        parts.append(slice_axis(emitter, call.args[0], axis, start, count))
        start += count
    return relax.Tuple(parts)


def _stack(emitter: Emitter, call: relax.Call) -> relax.Expr:
    axis = int(call.attrs.axis or 0) % len(shape_of(call))
    shape = [1 if index == axis else extent for index, extent in enumerate(shape_of(call))]
    return concatenate(emitter, [reshape(emitter, part, shape) for part in call.args[0].fields], axis)


def _tile(emitter: Emitter, call: relax.Call) -> relax.Expr:
    counts = [int(count) for count in call.attrs.repeats]
    shape = list(shape_of(call.args[0]))
    rank = max(len(counts), len(shape))
    counts, shape = [1] * (rank - len(counts)) + counts, [1] * (rank - len(shape)) + shape
    apart, tiled = [], []
    for count, extent in zip(counts, shape, strict=True):
        apart += [1, extent] if count > 1 else [extent]
        tiled += [count, extent] if count > 1 else [extent]
    return reshape(emitter, broadcast(emitter, reshape(emitter, call.args[0], apart), tiled), shape_of(call))


def _repeat(emitter: Emitter, call: relax.Call) -> relax.Expr:
    x = call.args[0]
    if call.attrs.axis is None:
        x = reshape(emitter, x, (int(np.prod(shape_of(x))),))
    return repeat(emitter, x, int(call.attrs.axis or 0) % len(shape_of(x)), int(call.attrs.repeats))


def _flip(emitter: Emitter, call: relax.Call) -> relax.Expr:
    axis = int(call.attrs.axis) % len(shape_of(call))
    extent = shape_of(call)[axis]
    return slice_axis(emitter, call.args[0], axis, extent - 1, extent, -1)


def _take(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    x, indices = call.args
    mode = str(call.attrs.mode)
    if call.attrs.axis is None:
        x = reshape(emitter, x, (int(np.prod(shape_of(x))),))
    axis = int(call.attrs.axis or 0) % len(shape_of(x))
    value = constant_value(indices)
    if value is None:
        if axis == 0 and len(shape_of(x)) == 2:
            return None
        return take(emitter, x, axis, indices, mode)
    extent = shape_of(x)[axis]
    places = np.clip(value, 0, extent - 1) if mode == "clip" else value % extent
    return reshape(emitter, gather(emitter, x, axis, places.reshape(-1)), shape_of(call))


REPEATING_PADS: Mapping[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]] = {
    "reflect": lambda places, widths: np.pad(places, widths, mode="reflect"),
    "replicate": lambda places, widths: np.pad(places, widths, mode="edge"),
    "circular": lambda places, widths: np.pad(places, widths, mode="wrap"),
}
"""The places that each padding repeats."""


def _pad(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    x, mode = call.args[0], str(call.attrs.pad_mode)
    if shape_of(x) == shape_of(call):
        return x
    widths = [int(width) for width in call.attrs.pad_width]
    if mode == "constant" and math.isinf(call.attrs.pad_value):
        return _op.nn.pad(x, widths, mode, math.copysign(FINITE_INFINITY, call.attrs.pad_value))
    if mode not in REPEATING_PADS:
        return None
    for axis, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
        if before or after:
            x = gather(emitter, x, axis, REPEATING_PADS[mode](np.arange(shape_of(x)[axis]), (before, after)))
    return x


def _pixel_shuffle(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """[…, C·r², H, W] to […, C, H·r, W·r]."""
    *batch, channels, height, width = shape_of(call.args[0])
    factor, rank = int(call.attrs.upscale_factor), len(batch)
    split = reshape(emitter, call.args[0], (*batch, channels // factor**2, factor, factor, height, width))
    woven = permute(emitter, split, (*range(rank + 1), *(rank + i for i in (3, 1, 4, 2))))
    return reshape(emitter, woven, shape_of(call))


def _masked(emitter: Emitter, call: relax.Call) -> relax.Expr:
    triangle = np.tril if call.op.name == "relax.tril" else np.triu
    mask = triangle(np.ones(shape_of(call)[-2:]), int(call.args[1]))
    return _op.multiply(call.args[0], emitter.constant(mask))


def _meshgrid(emitter: Emitter, call: relax.Call) -> relax.Expr:
    vectors = list(call.args[0].fields)
    order = [1, 0, *range(2, len(vectors))] if str(call.attrs.indexing) == "xy" and len(vectors) > 1 else None
    grids = []
    for index, vector in enumerate(vectors):
        axis = order.index(index) if order is not None else index
        shape = tuple(int(extent) for extent in call.ty.fields[index].shape)
        line = [shape[axis] if other == axis else 1 for other in range(len(shape))]
        grids.append(broadcast(emitter, reshape(emitter, vector, line), shape))
    return relax.Tuple(grids)


def _filled(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """A tensor of one constant value."""
    name = call.op.name
    if not name.startswith("relax.full"):
        return emitter.constant(np.full(shape_of(call), 1.0 if name.startswith("relax.ones") else 0.0))
    value = constant_value(call.args[1])
    return None if value is None else emitter.constant(np.full(shape_of(call), value.reshape(())))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(
        ["relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.flatten", "relax.nn.batch_flatten"],
        _reshape,
    ),
    **dict.fromkeys(["relax.full", "relax.full_like", "relax.ones", "relax.ones_like"], _filled),
    **dict.fromkeys(["relax.zeros", "relax.zeros_like"], _filled),
    "relax.permute_dims": _permute_dims,
    "relax.broadcast_to": _broadcast_to,
    "relax.strided_slice": _strided_slice,
    "relax.concat": _concat,
    "relax.split": _split,
    "relax.stack": _stack,
    "relax.tile": _tile,
    "relax.repeat": _repeat,
    "relax.flip": _flip,
    "relax.take": _take,
    "relax.nn.pad": _pad,
    "relax.nn.pixel_shuffle": _pixel_shuffle,
    "relax.tril": _masked,
    "relax.triu": _masked,
    "relax.meshgrid": _meshgrid,
}


@tvm.transform.module_pass(opt_level=0, name="nmc.NormaliseMoves")
def normalise_moves(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to the float moves of main."""
    return rewrite_float_calls(module, RULES)
