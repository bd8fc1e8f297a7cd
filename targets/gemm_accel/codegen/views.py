"""Views: tensors as address arithmetic over a buffer, so that moves of matrix form cost nothing.

An axis of a view is a list of factors, outermost first, like the digits of a number: the element at index i
of an axis with factors of extents (4, 8) and strides (s, t) lies at (i // 8)·s + (i % 8)·t. So any
permutation and nearly every reshape is a view, and the windows of im2col too.

A stride is a vector: its first component counts elements of the buffer, each further one moves a
coordinate. An element whose coordinates are not all within 0 <= coordinate < limit is not in the buffer: it
has the value `fill`. That is how padding is part of a view.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from targets.gemm_accel.codegen.buffers import Buffer, Place

Vector = tuple[int, ...]


@dataclass(frozen=True)
class Factor:
    """One digit of an axis: `extent` steps of `strides`."""

    extent: int
    strides: Vector

    @property
    def repeats(self) -> bool:
        """Whether stepping reaches the same element again: a broadcast."""
        return not any(self.strides)


Axis = tuple[Factor, ...]
"""Factors outermost first, none of extent 1; the empty axis has one element."""


@dataclass(frozen=True)
class View:
    """A tensor whose elements lie in `buffer`; `origin` is the position of its first element, one number a
    component."""

    buffer: Buffer
    origin: Vector
    axes: tuple[Axis, ...]
    limits: Vector = ()
    fill: int = 0

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The extent of each axis."""
        return tuple(axis_extent(axis) for axis in self.axes)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @cached_property
    def factors(self) -> Axis:
        """The factors of all axes in order."""
        return tuple(factor for axis in self.axes for factor in axis)

    @property
    def is_plain(self) -> bool:
        """Whether every element lies in the buffer."""
        return not self.limits


def axis_extent(axis: Axis) -> int:
    """The number of elements along an axis."""
    return math.prod(factor.extent for factor in axis)


def dense_view(buffer: Buffer, shape: Sequence[int]) -> View:
    """The whole buffer as a tensor of this shape in C order."""
    return View(buffer, (0,), dense_axes(shape))


def dense_axes(shape: Sequence[int]) -> tuple[Axis, ...]:
    """Axes of a tensor in C order."""
    axes: list[Axis] = []
    stride = 1
    for extent in reversed(shape):
        axes.append((Factor(extent, (stride,)),) if extent != 1 else ())
        stride *= extent
    return tuple(reversed(axes))


def merged(axis: Sequence[Factor]) -> Axis:
    """The same axis with as few factors as possible."""
    result: list[Factor] = []
    for factor in axis:
        if factor.extent == 1:
            continue
        last = result[-1] if result else None
        if last is not None and last.strides == scaled(factor.strides, factor.extent):
            result[-1] = Factor(last.extent * factor.extent, factor.strides)
        else:
            result.append(factor)
    return tuple(result)


def scaled(vector: Vector, count: int) -> Vector:
    """The vector times a number."""
    return tuple(component * count for component in vector)


def moved(vector: Vector, strides: Vector, count: int) -> Vector:
    """The position `count` strides away."""
    return tuple(component + stride * count for component, stride in zip(vector, strides, strict=True))


def permuted(view: View, order: Sequence[int]) -> View:
    """The view with its axes in another order."""
    return replace(view, axes=tuple(view.axes[axis] for axis in order))


def reshaped(view: View, shape: Sequence[int]) -> View | None:
    """The view in another shape of as many elements; None when an axis had to cut a factor unevenly."""
    remaining = list(merged(view.factors))
    axes: list[Axis] = []
    for extent in reversed(shape):
        axis: list[Factor] = []
        while extent > 1:
            factor = remaining.pop()
            if extent % factor.extent == 0:
                axis.append(factor)
                extent //= factor.extent
            elif factor.extent % extent == 0:
                axis.append(Factor(extent, factor.strides))
                remaining.append(Factor(factor.extent // extent, scaled(factor.strides, extent)))
                extent = 1
            else:
                return None
        axes.append(tuple(reversed(axis)))
    return replace(view, axes=tuple(merged(axis) for axis in reversed(axes)))


def sliced(view: View, axis: int, begin: int, extent: int, step: int = 1) -> View | None:
    """`extent` elements of an axis from `begin` on; None when they are not evenly spaced digits of the axis.

    A negative step walks backwards from `begin`.
    """
    if extent == 1:
        axis_factors: Axis = ()
        origin = position(view.origin, view.axes[axis], begin)
    else:
        found = _progression(view.axes[axis], begin, extent, step)
        if found is None:
            return None
        offset, axis_factors = found
        origin = moved(view.origin, offset, 1)
    axes = (*view.axes[:axis], axis_factors, *view.axes[axis + 1 :])
    return replace(view, origin=origin, axes=axes)


def position(origin: Vector, axis: Axis, index: int) -> Vector:
    """The position `index` elements along an axis from `origin`."""
    for factor in reversed(axis):
        index, digit = divmod(index, factor.extent)
        origin = moved(origin, factor.strides, digit)
    return origin


def _progression(axis: Axis, begin: int, extent: int, step: int) -> tuple[Vector, Axis] | None:
    """The offset and the factors of begin, begin + step, … along an axis; inner digits must stay whole."""
    axis = merged(axis)
    components = len(axis[-1].strides)
    inner = axis[-1]
    if len(axis) == 1:
        return scaled(inner.strides, begin), (Factor(extent, scaled(inner.strides, step)),)
    lowest = begin % inner.extent
    if 0 <= lowest + step * (extent - 1) < inner.extent:
        offset = position((0,) * components, axis, begin)
        return offset, (Factor(extent, scaled(inner.strides, step)),)
    if step % inner.extent == 0:
        outer = _progression(axis[:-1], begin // inner.extent, extent, step // inner.extent)
        if outer is None:
            return None
        return moved(outer[0], inner.strides, lowest), outer[1]
    if step == 1 and lowest == 0 and extent % inner.extent == 0:
        outer = _progression(axis[:-1], begin // inner.extent, extent // inner.extent, 1)
        return None if outer is None else (outer[0], merged((*outer[1], inner)))
    return None


def broadcast(view: View, shape: Sequence[int]) -> View:
    """The view repeated along axes of extent 1 and new leading axes, as numpy broadcasts."""
    still = (0,) * len(view.origin)
    axes: list[Axis] = [()] * (len(shape) - len(view.axes)) + list(view.axes)
    repeated = [
        (Factor(extent, still),) if axis_extent(axis) == 1 and extent != 1 else axis
        for axis, extent in zip(axes, shape, strict=True)
    ]
    return replace(view, axes=tuple(repeated))


def bounded(view: View, axis: int, begin: int, extent: int, fill: int) -> View | None:
    """An axis of `extent` elements that begins at `begin` of the view's axis, which may be negative; what
    lies outside the view's axis is `fill`. None when the axis has several factors or the view already has
    another fill."""
    factors = merged(view.axes[axis])
    inside = axis_extent(factors)
    if len(factors) > 1 or (view.limits and view.fill != fill):
        return None
    strides = factors[0].strides if factors else (0,) * len(view.origin)
    widened = with_coordinate(replace(view, origin=moved(view.origin, strides, begin)), begin, inside, fill)
    new_axis = merged((Factor(extent, (*strides, 1)),))
    return replace(widened, axes=(*widened.axes[:axis], new_axis, *widened.axes[axis + 1 :]))


def with_coordinate(view: View, start: int, limit: int, fill: int) -> View:
    """The view with one more coordinate, which no factor moves yet."""
    axes = tuple(tuple(Factor(f.extent, (*f.strides, 0)) for f in axis) for axis in view.axes)
    return View(view.buffer, (*view.origin, start), axes, (*view.limits, limit), fill)


def without_satisfied_limits(view: View) -> View:
    """The view without the coordinates that never leave their limits."""
    needed = [0]
    for component, limit in enumerate(view.limits, start=1):
        lowest, highest = _range(view, component)
        if lowest < 0 or highest >= limit:
            needed.append(component)
    if len(needed) == len(view.origin):
        return view
    axes = tuple(
        tuple(Factor(f.extent, tuple(f.strides[c] for c in needed)) for f in axis) for axis in view.axes
    )
    limits = tuple(view.limits[component - 1] for component in needed[1:])
    origin = tuple(view.origin[component] for component in needed)
    return View(view.buffer, origin, tuple(merged(axis) for axis in axes), limits, view.fill)


def _range(view: View, component: int) -> tuple[int, int]:
    """The lowest and the highest value of a component of the position."""
    reach = [factor.strides[component] * (factor.extent - 1) for factor in view.factors]
    start = view.origin[component]
    return start + sum(min(r, 0) for r in reach), start + sum(max(r, 0) for r in reach)


def element_range(view: View) -> tuple[int, int]:
    """The first element of the buffer that the view may read and the one after the last."""
    lowest, highest = _range(view, 0)
    return max(lowest, 0), min(highest + 1, view.buffer.size)


def common_extents(axes: Sequence[Axis]) -> tuple[int, ...] | None:
    """The coarsest digits into which axes of equal extent can all be cut; None when there are none."""
    remaining = [[factor.extent for factor in axis] for axis in axes]
    extents: list[int] = []
    while any(remaining):
        step = min(extents_left[-1] for extents_left in remaining)
        for extents_left in remaining:
            if extents_left[-1] % step:
                return None
            extents_left[-1] //= step
            if extents_left[-1] == 1:
                extents_left.pop()
        extents.append(step)
    return tuple(reversed(extents))


def cut(axis: Axis, extents: Sequence[int]) -> Axis:
    """The axis as factors of exactly these extents (from `common_extents`)."""
    result: list[Factor] = []
    remaining = list(axis)
    for extent in reversed(extents):
        factor = remaining.pop()
        result.append(Factor(extent, factor.strides))
        if factor.extent > extent:
            remaining.append(Factor(factor.extent // extent, scaled(factor.strides, extent)))
    return tuple(reversed(result))


def constant_view(value: np.ndarray, name: str) -> View:
    """A view of a constant buffer that holds an array's elements in C order."""
    flat = np.ascontiguousarray(value).reshape(-1)
    return dense_view(Buffer(name, flat.size, str(flat.dtype), Place.CONSTANT, flat), value.shape)


def numpy_value(view: View) -> np.ndarray:
    """The elements of a view of a constant, in the view's shape."""
    assert view.buffer.value is not None, "only constants have values at compile time"
    positions = [np.zeros((), np.int64) + start for start in view.origin]
    for factor in view.factors:
        digits = np.arange(factor.extent)
        positions = [
            position[..., None] + digits * stride
            for position, stride in zip(positions, factor.strides, strict=True)
        ]
    inside = np.ones(positions[0].shape, bool)
    for position, limit in zip(positions[1:], view.limits, strict=True):
        inside &= (position >= 0) & (position < limit)
    values = view.buffer.value.reshape(-1)[np.where(inside, positions[0], 0)]
    return np.where(inside, values, np.array(view.fill, values.dtype)).reshape(view.shape)
