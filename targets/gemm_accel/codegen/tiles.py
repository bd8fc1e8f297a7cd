"""Tiles of a kernel's axes: ranges, the places of operands in the scratchpad, and the shape that commands
give them."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.codegen.views import View

COMMAND_DIMENSIONS = 3


@dataclass(frozen=True)
class Placed:
    """A tile in the scratchpad: `strides` are bytes from neighbour to neighbour along each axis, 0 in
    repeats."""

    address: int
    dtype: str
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """Up to three dimensions of a command and, for each operand, its address and strides in bytes."""

    counts: tuple[int, ...]
    addresses: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


def ranges_of(extents: Sequence[int], tile: Sequence[int]) -> Iterator[tuple[Range, ...]]:
    """The tiles of a space in order, the last axis fastest; those at the end of an axis may be smaller."""
    steps = [
        [(start, min(start + step, extent)) for start in range(0, extent, step)]
        for extent, step in zip(extents, tile, strict=True)
    ]
    yield from itertools.product(*steps)


def balanced(extent: int, largest: int) -> int:
    """The tile size, at most `largest`, that cuts an extent into as few and as equal tiles as possible."""
    pieces = -(-extent // max(largest, 1))
    return -(-extent // pieces)


def counts_of(ranges: Sequence[Range]) -> tuple[int, ...]:
    """The extents of a tile."""
    return tuple(stop - start for start, stop in ranges)


def repeated_axes(view: View) -> tuple[bool, ...]:
    """For each axis whether the view is the same all along it, so that a tile needs to hold it once."""
    return tuple(all(factor.repeats for factor in axis) for axis in view.axes)


def dense_strides(
    counts: Sequence[int], element_bytes: int, repeats: Sequence[bool] | None = None
) -> tuple[int, ...]:
    """Byte strides of a tile stored densely, 0 along the axes that it repeats."""
    strides: list[int] = []
    stride = element_bytes
    for axis in reversed(range(len(counts))):
        if repeats is not None and repeats[axis]:
            strides.append(0)
        else:
            strides.append(stride)
            stride *= counts[axis]
    return tuple(reversed(strides))


def stored_elements(counts: Sequence[int], repeats: Sequence[bool]) -> int:
    """The elements that a tile takes in the scratchpad."""
    return math.prod(count for count, repeat in zip(counts, repeats, strict=True) if not repeat)


def grids(counts: Sequence[int], operands: Sequence[Placed]) -> Iterator[Grid]:
    """The tile as grids of three dimensions, axes joined where all operands allow it."""
    kept = [axis for axis, count in enumerate(counts) if count > 1]
    dimensions: list[tuple[int, list[int]]] = []
    for axis in kept:
        strides = [operand.strides[axis] for operand in operands]
        count = counts[axis]
        if dimensions and dimensions[-1][1] == [stride * count for stride in strides]:
            dimensions[-1] = (dimensions[-1][0] * count, strides)
        else:
            dimensions.append((count, strides))
    outer, inner = dimensions[:-COMMAND_DIMENSIONS], dimensions[-COMMAND_DIMENSIONS:]
    padding = [(1, [0] * len(operands))] * (COMMAND_DIMENSIONS - len(inner))
    inner = [*padding, *inner]
    if len(kept) == 0:
        inner[-1] = (1, [_element_stride(operand) for operand in operands])
    for index in itertools.product(*(range(count) for count, _ in outer)):
        addresses = tuple(
            operand.address + sum(i * strides[number] for i, (_, strides) in zip(index, outer, strict=True))
            for number, operand in enumerate(operands)
        )
        columns = tuple(tuple(strides[number] for _, strides in inner) for number in range(len(operands)))
        yield Grid(tuple(count for count, _ in inner), addresses, columns)


def _element_stride(operand: Placed) -> int:
    return 0 if not operand.strides else operand.strides[-1]
