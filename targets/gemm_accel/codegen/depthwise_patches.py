"""Tiles of a depthwise convolution's output and the patches of its input they see.

A tile is [image, rows, columns, channels] of the output. Its patch, halo and padding included, is loaded once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.kernels import depthwise_shape
from targets.gemm_accel.codegen.nodes import Depthwise
from targets.gemm_accel.codegen.scratchpad import Slots
from targets.gemm_accel.codegen.tiles import Placed, balanced, counts_of, dense_strides
from targets.gemm_accel.codegen.tiling import TRANSFER_CYCLES
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.codegen.views import View, bounded, permuted
from targets.gemm_accel.config import AcceleratorConfig

Shape = tuple[int, int, int, int]
Produce = Callable[[Sequence[Range], Placed], None]
"""Puts a patch, ranges of the padded input, into its place in the scratchpad."""


@dataclass(frozen=True)
class Patches:
    """The padded input of a depthwise convolution as [batch, height, width, channels], and the slots of its patches. A patch
    is loaded, or made by `produce` where that is given."""

    operation: Depthwise
    view: View
    slots: Slots
    produce: Produce | None = None

    def ranges(self, ranges: Sequence[Range]) -> tuple[Range, ...]:
        """The part of the padded input that a tile's patch is."""
        image, rows, columns, channels = ranges
        return image, self._inputs(0, rows), self._inputs(1, columns), channels

    def _inputs(self, axis: int, outputs: Range) -> Range:
        """The rows or columns of the padded input that some outputs see."""
        first = outputs[0] * self.operation.window.strides[axis]
        return first, first + span(self.operation, axis, outputs[1] - outputs[0])

    def place(self, assembly: Assembly, ranges: Sequence[Range]) -> Placed:
        """The patch of a tile in the scratchpad, brought there unless it is there."""
        patch = self.ranges(ranges)
        address, present = self.slots.place(patch)
        strides = dense_strides(counts_of(patch), self.view.buffer.element_bytes)
        placed = Placed(address, self.view.buffer.dtype, strides)
        if not present and self.produce is not None:
            self.produce(patch, placed)
        elif not present:
            assembly.load(self.view, patch, placed)
        return placed


def padded_input(operation: Depthwise) -> View:
    """The padded input as [batch, height, width, channels]."""
    view, window = operation.x, operation.window
    for axis, begin in enumerate(window.pads_begin):
        extent = begin + view.shape[2 + axis] + window.pads_end[axis]
        if begin or window.pads_end[axis]:
            padded = bounded(view, 2 + axis, -begin, extent, operation.fill)
            assert padded is not None, "a source that has windows can be padded"
            view = padded
    return permuted(view, (0, 2, 3, 1))


@lru_cache(maxsize=4096)
def span(operation: Depthwise, axis: int, count: int) -> int:
    """How many input positions `count` neighbouring outputs see along a spatial axis."""
    window = operation.window
    return (count - 1) * window.strides[axis] + (window.kernel[axis] - 1) * window.dilations[axis] + 1


def patch_extents(operation: Depthwise, tile: Sequence[int]) -> tuple[int, int]:
    """The rows and columns of a tile's patch."""
    return span(operation, 0, tile[1]), span(operation, 1, tile[2])


def candidates(operation: Depthwise, config: AcceleratorConfig) -> Iterator[Shape]:
    """Tiles worth trying whose sums fit into half of the accumulators."""
    _, height, width, channels = depthwise_shape(operation)
    entries = config.accumulator_entries // 2
    run = max(config.dram_bytes_per_cycle // operation.x.buffer.element_bytes, 1)
    blocks = {run, *(config.columns * count for count in (1, 2, 3, 4, 6, 8, 12, 16, 32, 64))}
    counts = {min(channels, count) for count in blocks} | {1, channels}
    widths = {balanced(width, -(-width // pieces)) for pieces in (1, 2, 3, 4, 8, 16, width)}
    widths.add(balanced(width, config.delay_entries + 1))
    for channel_count in sorted(count for count in counts if count <= entries):
        for columns in sorted(widths):
            most = entries // (channel_count * columns)
            for rows in {
                balanced(height, count) for count in (1, 2, 4, 8, 16, most, most // 2) if 0 < count <= most
            }:
                yield (1, rows, columns, channel_count)


def tile_count(operation: Depthwise, tile: Shape) -> int:
    """The number of tiles of the whole output."""
    shape = depthwise_shape(operation)
    return math.prod(math.ceil(extent / step) for extent, step in zip(shape, tile, strict=True))


def transfer_cycles(operation: Depthwise, tile: Shape, config: AcceleratorConfig) -> tuple[float, float]:
    """DRAM cycles that load a tile's patch and that store its result."""
    run = math.ceil(tile[3] * operation.x.buffer.element_bytes / config.dram_bytes_per_cycle)
    rows, columns = patch_extents(operation, tile)
    return rows * columns * run + TRANSFER_CYCLES, tile[1] * tile[2] * run + TRANSFER_CYCLES
