"""Parts of commands: grids, bounds and operands of the command set, and the memory that each touches."""

from collections.abc import Sequence

from targets.gemm_accel import isa
from targets.gemm_accel.codegen.synchronise import Access
from targets.gemm_accel.codegen.tiles import Grid
from targets.gemm_accel.codegen.transfers import Dimension, Transfer
from targets.gemm_accel.codegen.views import View, element_range

Counts = tuple[int, int, int]


Five = tuple[int, ...]


def grid_of(dimensions: Sequence[Dimension], element_bytes: int, kept: int = 0) -> tuple[Five, Five, Five]:
    """Counts and byte strides on both sides of five dimensions; the first `kept` stay in front of the
    padding."""
    missing = isa.DIMENSIONS - len(dimensions)
    padded = [*dimensions[:kept], *[None] * missing, *dimensions[kept:]]
    counts = tuple(1 if d is None else d.count for d in padded)
    dram = tuple(0 if d is None else d.strides[0] * element_bytes for d in padded)
    scratchpad = tuple(0 if d is None else d.scratchpad_stride for d in padded)
    return counts, dram, scratchpad


def bounds(transfer: Transfer) -> tuple[isa.Bound, isa.Bound]:
    """The two bounded coordinates of a load."""
    missing = isa.DIMENSIONS - len(transfer.dimensions)
    bounds = [
        isa.Bound(
            transfer.origin[c], (0,) * missing + tuple(d.strides[c] for d in transfer.dimensions), limit
        )
        for c, limit in enumerate(transfer.limits, start=1)
    ]
    bounds += [isa.UNBOUNDED] * (2 - len(bounds))
    return bounds[0], bounds[1]


def at_most_four(transfer: Transfer) -> list[Transfer]:
    """The transfer with a dimension left for the index of a gather."""
    if len(transfer.dimensions) < isa.DIMENSIONS:
        return [transfer]
    first, *rest = transfer.dimensions
    return [
        Transfer(
            tuple(o + i * s for o, s in zip(transfer.origin, first.strides, strict=True)),
            transfer.scratchpad + i * first.scratchpad_stride,
            tuple(rest),
            (),
        )
        for i in range(first.count)
    ]


def dram_access(base: int, view: View, writes: bool) -> Access:
    """The DRAM that a whole view may touch, its buffer beginning at `base`."""
    first, stop = element_range(view)
    element = view.buffer.element_bytes
    return Access("dram", base + first * element, base + stop * element, writes)


def transfer_access(transfer: Transfer, base: int, element_bytes: int, whole: Access) -> Access:
    """The DRAM that a transfer may touch, within what its view touches."""
    reach = [d.strides[0] * (d.count - 1) for d in transfer.dimensions]
    first = base + (transfer.origin[0] + sum(min(r, 0) for r in reach)) * element_bytes
    stop = base + (transfer.origin[0] + sum(max(r, 0) for r in reach) + 1) * element_bytes
    return Access("dram", max(first, whole.start), min(stop, whole.stop), whole.writes)


def tile_access(
    dimensions: Sequence[Dimension], scratchpad: int, kind: isa.Type, writes: bool = True
) -> Access:
    """The scratchpad that a transfer writes, or reads, from address `scratchpad` on."""
    reach = [d.scratchpad_stride * (d.count - 1) for d in dimensions]
    start = scratchpad + sum(min(r, 0) for r in reach)
    return Access("scratchpad", start, scratchpad + sum(max(r, 0) for r in reach) + kind.bytes, writes)


def operand(grid: Grid, index: int | None, dtype: str) -> isa.Operand:
    """Operand `index` of a grid, or the stream when it is None."""
    kind = isa.element_type(dtype)
    if index is None:
        return isa.Operand(isa.STREAM, kind)
    outer, row, step = grid.strides[index]
    if grid.counts[2] == 1:
        step = kind.bytes
    return isa.Operand(grid.addresses[index], kind, (outer, row), step)


def destination_of(grid: Grid, index: int | None, dtype: str) -> isa.Destination:
    """The destination at operand `index` of a grid, or the stream when it is None."""
    kind = isa.element_type(dtype)
    if index is None:
        return isa.Destination(isa.STREAM, kind)
    outer, row, step = grid.strides[index]
    step = 0 if grid.counts[2] == 1 else dense_or(step, kind)
    return isa.Destination(grid.addresses[index], kind, (outer, row), step)


def dense_or(step: int, kind: isa.Type) -> int:
    """The step of a destination's columns as commands have it: 0 where they are dense."""
    return 0 if step == kind.bytes else step


def operand_access(operand: isa.Operand, counts: Sequence[int]) -> Access:
    """The scratchpad that an operand may read."""
    strides = (*operand.pitches, operand.step)
    reach = [stride * (count - 1) for stride, count in zip(strides, counts, strict=True)]
    start = operand.address + sum(min(r, 0) for r in reach)
    stop = operand.address + sum(max(r, 0) for r in reach) + operand.type.bytes
    return Access("scratchpad", start, stop, False)
