"""Moves for lowering rules: nothing is emitted where nothing moves, and constants move at compile time.

Each function takes and returns a tensor expression that is a variable or a constant, float32 or integer.
"""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from passes.definitions import arguments_of
from passes.rewrite import Emitter, constant_value, shape_of

_op = relax.op

MOST_RUNS = 8
"""A gather by a constant is a concatenation of slices up to this many; more are one `take`."""


def reshape(emitter: Emitter, x: relax.Expr, shape: Sequence[int]) -> relax.Expr:
    """The elements of x in row-major order under another shape; every extent is given."""
    if tuple(shape) == shape_of(x):
        return x
    value = constant_value(x)
    if value is not None:
        return _constant(value.reshape(tuple(shape)))
    source = arguments_of(emitter, x, "relax.reshape")
    if source is not None:
        return reshape(emitter, source[0], shape)
    return emitter.emit(_op.reshape(x, list(shape)))


def permute(emitter: Emitter, x: relax.Expr, axes: Sequence[int]) -> relax.Expr:
    """Axis i of the result is axis `axes[i]` of x; where only extents of one move it is a reshape."""
    shape = shape_of(x)
    long_axes = [axis for axis in axes if shape[axis] != 1]
    if long_axes == sorted(long_axes):
        return reshape(emitter, x, [shape[axis] for axis in axes])
    value = constant_value(x)
    if value is not None:
        return _constant(value.transpose(tuple(axes)))
    return emitter.emit(_op.permute_dims(x, list(axes)))


def broadcast(emitter: Emitter, x: relax.Expr, shape: Sequence[int]) -> relax.Expr:
    """x repeated along axes of extent one, and along new leading axes, to `shape`."""
    if tuple(shape) == shape_of(x):
        return x
    rank = len(shape)
    padded = (1,) * (rank - len(shape_of(x))) + shape_of(x)
    return emitter.emit(_op.broadcast_to(reshape(emitter, x, padded), list(shape)))


def slice_axis(
    emitter: Emitter, x: relax.Expr, axis: int, begin: int, count: int, stride: int = 1
) -> relax.Expr:
    """The `count` elements begin, begin + stride, … along one axis; the stride may be negative."""
    extent = shape_of(x)[axis]
    if count == extent and begin == 0 and stride == 1:
        return x
    value = constant_value(x)
    if value is not None:
        return _constant(np.take(value, begin + stride * np.arange(count), axis))
    end = begin + (count - 1) * stride + (1 if stride > 0 else -1)
    # an end of -1 would count from the back
    end = end if end >= 0 else -extent - 1
    return emitter.emit(_op.strided_slice(x, [axis], [begin], [end], [stride]))


def concatenate(emitter: Emitter, parts: Sequence[relax.Expr], axis: int) -> relax.Expr:
    """The parts one after the other along an existing axis."""
    return parts[0] if len(parts) == 1 else emitter.emit(_op.concat(list(parts), axis))


def repeat(emitter: Emitter, x: relax.Expr, axis: int, count: int) -> relax.Expr:
    """Every element along an axis `count` times in place, as numpy's repeat."""
    if count == 1:
        return x
    shape = shape_of(x)
    before, after = shape[: axis + 1], shape[axis + 1 :]
    column = reshape(emitter, x, (*before, 1, *after))
    repeated = broadcast(emitter, column, (*before, count, *after))
    return reshape(emitter, repeated, (*shape[:axis], shape[axis] * count, *after))


def gather(emitter: Emitter, x: relax.Expr, axis: int, indices: Sequence[int] | np.ndarray) -> relax.Expr:
    """The elements of x at constant places in [0, extent) along an axis: views where they are regular."""
    places = np.asarray(indices, np.int64)
    value = constant_value(x)
    if value is not None:
        return _constant(np.take(value, places, axis))
    count = _repetition(places)
    runs = _runs(places[::count])
    if len(runs) <= MOST_RUNS:
        parts = [_run(emitter, x, axis, begin, length, stride) for begin, length, stride in runs]
        return repeat(emitter, concatenate(emitter, parts, axis), axis, count)
    return take(emitter, x, axis, relax.const(places.astype(np.int32)))


def take(emitter: Emitter, x: relax.Expr, axis: int, indices: relax.Expr, mode: str = "fast") -> relax.Expr:
    """The elements of x at computed or constant places along one axis, as rows of a table.

    The shape of `indices` (integers, of any rank) replaces the axis. `mode` says what places outside [0,
    extent) mean, as for Relax's take.
    """
    shape, places = shape_of(x), shape_of(indices)
    order = [axis, *(other for other in range(len(shape)) if other != axis)]
    rest = [shape[other] for other in order[1:]]
    table = reshape(emitter, permute(emitter, x, order), (shape[axis], int(np.prod(rest))))
    rows = emitter.emit(_op.take(table, indices, axis=0, mode=mode))
    result = reshape(emitter, rows, (*places, *rest))
    inner = len(places)
    front = list(range(inner, inner + axis))
    return permute(emitter, result, [*front, *range(inner), *range(inner + axis, inner + len(rest))])


def _constant(value: np.ndarray) -> relax.Expr:
    return relax.const(np.ascontiguousarray(value), str(value.dtype))


def _run(emitter: Emitter, x: relax.Expr, axis: int, begin: int, length: int, stride: int) -> relax.Expr:
    if stride == 0:
        shape = shape_of(x)
        one = slice_axis(emitter, x, axis, begin, 1)
        return broadcast(emitter, one, (*shape[:axis], length, *shape[axis + 1 :]))
    return slice_axis(emitter, x, axis, begin, length, stride)


def _repetition(places: np.ndarray) -> int:
    """The largest count such that the places are others, each `count` times in a row."""
    if places.size < 2:
        return 1
    changes = np.flatnonzero(np.diff(places)) + 1
    return int(np.gcd.reduce(np.append(changes, places.size))) if changes.size else 1


def _runs(places: np.ndarray) -> list[tuple[int, int, int]]:
    """The places cut greedily into arithmetic progressions: (first, length, step)."""
    runs, start = [], 0
    while start < places.size:
        end, step = start + 1, 1
        if end < places.size:
            step = int(places[end] - places[start])
            while end < places.size and places[end] - places[end - 1] == step:
                end += 1
        runs.append((int(places[start]), end - start, step))
        start = end
    return runs
