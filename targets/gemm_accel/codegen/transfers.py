"""Tiles of views as the transfers of a load or store command: up to five dimensions and two bounded
coordinates.

A tile is a range of each axis. As an axis may have several factors, its range is cut into boxes, each of
which is a full grid of digits; a box is one transfer, or several where it has more dimensions than a
command.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from targets.gemm_accel.codegen.views import Axis, Factor, Vector, View, axis_extent, moved, scaled

MAXIMUM_DIMENSIONS = 5
MAXIMUM_COORDINATES = 2

Range = tuple[int, int]


@dataclass(frozen=True)
class Dimension:
    """`count` steps of `strides` in the buffer (elements, then coordinates) and of `scratchpad_stride`
    bytes."""

    count: int
    strides: Vector
    scratchpad_stride: int


@dataclass(frozen=True)
class Transfer:
    """One command: where it begins on both sides (elements and coordinates; bytes), and its dimensions
    outermost first."""

    origin: Vector
    scratchpad: int
    dimensions: tuple[Dimension, ...]
    limits: Vector

    def elements(self) -> int:
        """The number of elements moved."""
        return math.prod(dimension.count for dimension in self.dimensions)

    def runs(self) -> tuple[int, int]:
        """How many pieces that are contiguous in the buffer it moves, and the elements of each."""
        length, pieces = 1, 1
        for dimension in reversed(self.dimensions):
            if pieces == 1 and dimension.strides[0] == length:
                length *= dimension.count
            else:
                pieces *= dimension.count
        return pieces, length


def transfers(view: View, ranges: Sequence[Range], scratchpad_strides: Sequence[int]) -> list[Transfer]:
    """The commands that move the elements of `ranges` (one an axis), an axis' neighbours being
    `scratchpad_strides` bytes apart in the scratchpad and the first element lying at its beginning."""
    boxes = [
        list(_boxes(axis, start, stop, stride, len(view.origin)))
        for axis, (start, stop), stride in zip(view.axes, ranges, scratchpad_strides, strict=True)
    ]
    result: list[Transfer] = []
    for combination in itertools.product(*boxes):
        origin, scratchpad = view.origin, 0
        dimensions: list[Dimension] = []
        for box in combination:
            origin = moved(origin, box.offset, 1)
            scratchpad += box.scratchpad
            dimensions += box.dimensions
        result += _legal(Transfer(origin, scratchpad, tuple(dimensions), view.limits))
    return result


@dataclass(frozen=True)
class _Box:
    offset: Vector
    scratchpad: int
    dimensions: tuple[Dimension, ...]


def _boxes(axis: Axis, start: int, stop: int, stride: int, components: int) -> Iterator[_Box]:
    """The range start..stop of an axis as grids of digits, in order; the scratchpad begins at `start`."""
    for digits in _grids([factor.extent for factor in axis], start, stop):
        offset: Vector = (0,) * components
        flat, step = 0, stride * axis_extent(axis)
        dimensions = []
        for factor, (first, count) in zip(axis, digits, strict=True):
            step //= factor.extent
            offset = moved(offset, factor.strides, first)
            flat += first * step
            if count > 1:
                dimensions.append(Dimension(count, factor.strides, step))
        yield _Box(offset, flat - start * stride, tuple(dimensions))


def _grids(extents: Sequence[int], start: int, stop: int) -> Iterator[list[tuple[int, int]]]:
    """Digit ranges (first, count) of the numbers start..stop-1 in a mixed radix, as few grids as it takes."""
    if not extents:
        yield []
        return
    inner = math.prod(extents[1:])
    first, first_rest = divmod(start, inner)
    last, last_rest = divmod(stop, inner)
    if first == last or (first + 1 == last and not last_rest):
        end = last_rest if first == last else inner
        yield from ([(first, 1), *rest] for rest in _grids(extents[1:], first_rest, end))
        return
    if first_rest:
        yield from ([(first, 1), *rest] for rest in _grids(extents[1:], first_rest, inner))
        first += 1
    if last > first:
        yield [(first, last - first), *((0, extent) for extent in extents[1:])]
    if last_rest:
        yield from ([(last, 1), *rest] for rest in _grids(extents[1:], 0, last_rest))


def _legal(transfer: Transfer) -> list[Transfer]:
    """The transfer within the limits of a command, by unrolling dimensions where it has too many."""
    transfer = _simplified(transfer)
    if len(transfer.limits) > MAXIMUM_COORDINATES:
        unrolled = _dimension_of_coordinate(transfer)
    elif len(transfer.dimensions) > MAXIMUM_DIMENSIONS:
        counts = [dimension.count for dimension in transfer.dimensions[:-1]]
        unrolled = counts.index(min(counts))
    else:
        return [transfer]
    dimension = transfer.dimensions[unrolled]
    rest = transfer.dimensions[:unrolled] + transfer.dimensions[unrolled + 1 :]
    result: list[Transfer] = []
    for index in range(dimension.count):
        origin = moved(transfer.origin, dimension.strides, index)
        scratchpad = transfer.scratchpad + index * dimension.scratchpad_stride
        result += _legal(Transfer(origin, scratchpad, rest, transfer.limits))
    return result


def _dimension_of_coordinate(transfer: Transfer) -> int:
    """The smallest dimension that moves a coordinate."""
    moving = [
        (dimension.count, index)
        for index, dimension in enumerate(transfer.dimensions)
        if any(dimension.strides[1:])
    ]
    return min(moving)[1]


def _simplified(transfer: Transfer) -> Transfer:
    """The same elements with no coordinate that never matters, and neighbouring dimensions merged."""
    kept = [0]
    for component, limit in enumerate(transfer.limits, start=1):
        reach = [d.strides[component] * (d.count - 1) for d in transfer.dimensions]
        lowest = transfer.origin[component] + sum(min(r, 0) for r in reach)
        highest = transfer.origin[component] + sum(max(r, 0) for r in reach)
        if highest < 0 or lowest >= limit:
            kept = [0, component]
            break
        if lowest < 0 or highest >= limit:
            kept.append(component)
    origin = tuple(transfer.origin[component] for component in kept)
    limits = tuple(transfer.limits[component - 1] for component in kept[1:])
    dimensions = [
        Dimension(d.count, tuple(d.strides[component] for component in kept), d.scratchpad_stride)
        for d in transfer.dimensions
    ]
    # runs of the DRAM should be long, so its densest dimension is innermost; repeats are outermost
    dimensions.sort(key=lambda d: (d.strides[0] == 0, abs(d.strides[0])), reverse=True)
    return Transfer(origin, transfer.scratchpad, _merged(dimensions), limits)


def _merged(dimensions: Sequence[Dimension]) -> tuple[Dimension, ...]:
    result: list[Dimension] = []
    for inner in dimensions:
        outer = result[-1] if result else None
        if (
            outer is not None
            and outer.strides == scaled(inner.strides, inner.count)
            and outer.scratchpad_stride == inner.scratchpad_stride * inner.count
        ):
            result[-1] = Dimension(outer.count * inner.count, inner.strides, inner.scratchpad_stride)
        else:
            result.append(inner)
    return tuple(result)


def whole(axis: Sequence[Factor]) -> Range:
    """The range of a whole axis."""
    return 0, axis_extent(tuple(axis))
