"""Kernels that read rows of a table by index."""

import math

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.kernels import Kernel
from targets.gemm_accel.codegen.nodes import Gather
from targets.gemm_accel.codegen.scratchpad import ALIGNMENT_BYTES, Scratchpad
from targets.gemm_accel.codegen.tiles import Placed, balanced, counts_of, dense_strides, ranges_of
from targets.gemm_accel.codegen.views import View, merged, reshaped


def emit_gather(assembly: Assembly, kernel: Kernel, scratchpad: Scratchpad) -> None:
    """Tiles of rows, or of parts of a row where one is larger than a tile: gathered, then stored."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Gather)
    operation = kernel.head.operation
    (destination,) = kernel.stores[0]
    element = destination.buffer.element_bytes
    rest = merged(tuple(factor for axis in operation.table.axes[1:] for factor in axis))
    table = View(
        operation.table.buffer, operation.table.origin, (operation.table.axes[0], *((f,) for f in rest))
    )
    shape = (operation.index.size, *table.shape[1:])
    target = reshaped(destination, shape)
    assert target is not None, "a gather's result is stored densely"
    place_bytes = (scratchpad.limit - scratchpad.base) // 2 - ALIGNMENT_BYTES
    tile = _tile(shape, place_bytes // element)
    slots = scratchpad.slots(math.prod(tile) * element, 2)
    for ranges in ranges_of(shape, tile):
        assembly.layer = kernel.layer
        address, _ = slots.place(ranges)
        placed = Placed(address, table.buffer.dtype, dense_strides(counts_of(ranges), element))
        assembly.gather(table, operation.index, ranges, placed)
        assembly.store(target, ranges, placed)


def _tile(shape: tuple[int, ...], largest: int) -> tuple[int, ...]:
    """As many elements as fit, inner axes first."""
    tile = []
    room = largest
    for extent in reversed(shape):
        step = balanced(extent, min(extent, room))
        tile.append(step)
        room = max(room // step, 1)
    return tuple(reversed(tile))
