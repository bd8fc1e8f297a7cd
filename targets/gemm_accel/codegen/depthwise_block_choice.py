"""Blocks of neighbouring outputs of a depthwise convolution, and in which tiles they take the fewest estimated cycles.

What a mapping by blocks is says `depthwise_blocks.py`, which emits its commands.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from targets.gemm_accel.codegen.depthwise_patches import Shape, span
from targets.gemm_accel.codegen.kernels import Kernel, depthwise_shape
from targets.gemm_accel.codegen.nodes import Depthwise
from targets.gemm_accel.codegen.scratchpad import aligned
from targets.gemm_accel.codegen.steps import needs_of
from targets.gemm_accel.codegen.tiles import balanced
from targets.gemm_accel.codegen.tiling import COMMAND_CYCLES, SCALE_BYTES, TRANSFER_CYCLES, pass_cycles
from targets.gemm_accel.codegen.transfers import Block, Range
from targets.gemm_accel.codegen.views import View, bounded, permuted
from targets.gemm_accel.config import AcceleratorConfig

PROMISING = 6
"""How many shapes of blocks are tried in tiles."""


@dataclass(frozen=True)
class Side:
    """Rows or columns of a block of outputs, and the inputs they see: of these `inputs` lie `step` positions apart, and the
    kernel has `taps` of them, zeros of its dilation included. A neighbouring output begins `shift` inputs later. Of a block
    that is all of the image's outputs no input in the padding is looked at: the first one that is meets tap `first` of the
    first output."""

    outputs: int
    step: int
    inputs: int
    shift: int
    taps: int
    first: int = 0
    whole: bool = False

    @property
    def places(self) -> Range | None:
        """The positions of the padded input that a block of all outputs sees; None where there are other blocks."""
        return (
            (self.first * self.step, (self.first + self.inputs - 1) * self.step + 1) if self.whole else None
        )

    def span(self, operation: Depthwise, axis: int, outputs: int) -> int:
        """How many positions of the padded input so many neighbouring outputs see, in whole blocks."""
        first, stop = self.places or (0, span(operation, axis, outputs))
        return stop - first


@dataclass(frozen=True)
class BlockMapping:
    """The shape of the blocks, a tile of so many outputs, in whole blocks, and the pixels that a row of its patch takes."""

    rows: Side
    columns: Side
    tile: Shape
    row_pixels: int

    @property
    def depth(self) -> int:
        """The inputs that a block sees."""
        return self.rows.inputs * self.columns.inputs

    @property
    def outputs(self) -> int:
        """The outputs of a block."""
        return self.rows.outputs * self.columns.outputs

    @property
    def blocks(self) -> int:
        """The blocks of a channel of a tile."""
        return self.tile[1] * self.tile[2] // self.outputs

    @property
    def line(self) -> int:
        """The elements of a line of weights."""
        return (self.rows.outputs + self.last_row) * self.columns.outputs

    @property
    def last_row(self) -> int:
        """By how many outputs the last row of inputs lies behind the first."""
        return (self.rows.inputs - 1) // self.rows.shift

    @property
    def lines(self) -> int:
        """The lines of weights of a channel."""
        return self.rows.shift * self.columns.inputs

    def blocks_of(self, rows: int, columns: int) -> int:
        """The blocks that so many rows and columns of outputs take."""
        return -(-rows // self.rows.outputs) * -(-columns // self.columns.outputs)

    def layout(
        self, counts: Sequence[int], element_bytes: int, repeats: Sequence[bool] | None
    ) -> tuple[tuple[int, ...], tuple[Block, ...]]:
        """A tile [1, rows, columns, channels] block after block, in each of which pixels are dense; all repeat, or none."""
        columns, channels = counts[2:]
        step = 0 if repeats is not None and repeats[3] else element_bytes
        if repeats is not None and repeats[1]:
            return (0, 0, 0, step), ()
        pixel = (channels if step else 1) * element_bytes
        row, block = self.columns.outputs * pixel, self.outputs * pixel
        across = self.blocks_of(1, columns)
        down = Block(1, self.rows.outputs, across * block)
        return (0, row, pixel, step), (down, Block(2, self.columns.outputs, block))


def side(operation: Depthwise, axis: int, outputs: int) -> Side:
    """So many neighbouring outputs along a spatial axis."""
    window = operation.window
    stride, dilation, kernel = window.strides[axis], window.dilations[axis], window.kernel[axis]
    step = dilation if outputs == 1 else math.gcd(stride, dilation)
    taps = (kernel - 1) * (dilation // step) + 1
    shift = stride // step if outputs > 1 else taps
    inputs = (outputs - 1) * shift + taps
    if outputs < depthwise_shape(operation)[1 + axis] or operation.fill != 0:
        return Side(outputs, step, inputs, shift, taps)
    begin, extent = window.pads_begin[axis], operation.x.shape[2 + axis]
    first, last = -(-begin // step), min(inputs - 1, (begin + extent - 1) // step)
    return Side(outputs, step, last - first + 1, shift, taps, first, True)


def choose_blocks(
    kernel: Kernel, operation: Depthwise, config: AcceleratorConfig, limit: int
) -> tuple[float, BlockMapping] | None:
    """The mapping of least estimated cycles among those that fit, with these cycles; None when none fits or a step reads
    an operand, which would have to lie in blocks too."""
    if kernel.views():
        return None
    needs = needs_of(kernel)
    best: tuple[float, BlockMapping] | None = None
    for rows, columns in promising_blocks(operation, config):
        if padded_for_blocks(operation, rows, columns) is None:
            continue
        for mapping in block_mappings(operation, rows, columns, config):
            if block_bytes(operation, mapping) + needs.bytes(mapping.tile) > limit:
                continue
            cycles = _estimated_cycles(operation, mapping, config)
            if best is None or cycles < best[0]:
                best = (cycles, mapping)
    return best


def promising_blocks(operation: Depthwise, config: AcceleratorConfig) -> list[tuple[Side, Side]]:
    """The shapes of blocks with which the whole image takes the fewest cycles of the array and loads of weights."""
    _, height, width, _ = depthwise_shape(operation)
    beats = operation.weights.size // operation.weights.shape[1] * operation.weights.itemsize
    found: list[tuple[float, int, int, tuple[Side, Side]]] = []
    for rows in range(1, min(height, config.columns) + 1):
        for columns in range(1, min(width, config.columns // rows) + 1):
            sides = side(operation, 0, rows), side(operation, 1, columns)
            blocks = math.ceil(height / rows) * math.ceil(width / columns)
            cycles = block_cycles(operation, sides[0].inputs * sides[1].inputs, blocks, config)
            found.append((cycles + columns * beats / config.dram_bytes_per_cycle / 2, rows, columns, sides))
    return [sides for *_, sides in sorted(found, key=lambda item: item[:3])[:PROMISING]]


def block_cycles(operation: Depthwise, depth: int, blocks: int, config: AcceleratorConfig) -> int:
    """The array's cycles for so many blocks of a channel, of which each sees so many inputs."""
    streamed = blocks * (2 if operation.x.buffer.dtype == "int32" else 1)
    return pass_cycles(streamed, depth, config.rows)


def block_mappings(
    operation: Depthwise, rows: Side, columns: Side, config: AcceleratorConfig
) -> Iterator[BlockMapping]:
    """Tiles of whole blocks whose sums fit into half of the accumulators."""
    _, height, width, channels = depthwise_shape(operation)
    high, wide = math.ceil(height / rows.outputs), math.ceil(width / columns.outputs)
    run = max(config.dram_bytes_per_cycle // operation.x.buffer.element_bytes, 1)
    counts = {min(channels, count) for count in (run, *(config.columns * n for n in (1, 2, 3, 4, 6, 8)))}
    entries = config.accumulator_entries // 2 // (rows.outputs * columns.outputs)
    for count in sorted(counts):
        for pieces in (1, 2, 4):
            across = balanced(wide, -(-wide // pieces))
            most = entries // (count * across)
            row_pixels = _row_pixels(operation, rows, columns, across * columns.outputs, count, config)
            if row_pixels is None:
                continue
            for down in sorted({balanced(high, n) for n in (1, 2, 4, 8, most, most // 2) if 0 < n <= most}):
                tile = (1, down * rows.outputs, across * columns.outputs, count)
                yield BlockMapping(rows, columns, tile, row_pixels)


def _row_pixels(
    operation: Depthwise, rows: Side, columns: Side, outputs: int, channels: int, config: AcceleratorConfig
) -> int | None:
    """The least pixels of a row with which the runs of a window continue in the banks; None where there are none."""
    width, banks = columns.span(operation, 1, outputs), config.rows**2
    for pixels in range(width, width + banks):
        if rows.inputs == 1 or (pixels * rows.step - columns.inputs * columns.step) * channels % banks == 0:
            return pixels
    return None


def patch_bytes(operation: Depthwise, mapping: BlockMapping) -> int:
    """Scratchpad bytes of the patch of a tile."""
    pixels = mapping.rows.span(operation, 0, mapping.tile[1]) * mapping.row_pixels
    return pixels * mapping.tile[3] * operation.x.buffer.element_bytes


def weight_bytes(operation: Depthwise, mapping: BlockMapping) -> int:
    """Scratchpad bytes of the lines of weights of a tile's channels."""
    return mapping.tile[3] * mapping.lines * mapping.line * operation.weights.itemsize


def block_bytes(operation: Depthwise, mapping: BlockMapping) -> int:
    """Scratchpad bytes of two places for the patch, the weights and the scales of a tile."""
    sizes = patch_bytes(operation, mapping), weight_bytes(operation, mapping), mapping.tile[3] * SCALE_BYTES
    return 2 * sum(map(aligned, sizes))


def _estimated_cycles(operation: Depthwise, mapping: BlockMapping, config: AcceleratorConfig) -> float:
    """The longest of array, drain and DRAM time, plus what the first load and the last store add."""
    (_, rows, columns, channels), width = mapping.tile, config.dram_bytes_per_cycle
    batch, height, across, all_channels = depthwise_shape(operation)
    run = math.ceil(channels * operation.x.buffer.element_bytes / width)
    seen = [
        min(of.span(operation, axis, mapping.tile[1 + axis]), operation.x.shape[2 + axis])
        for axis, of in enumerate((mapping.rows, mapping.columns))
    ]
    load = math.prod(seen) * run + TRANSFER_CYCLES
    store = min(rows, height) * min(columns, across) * run + TRANSFER_CYCLES
    kernel = mapping.rows.taps * mapping.columns.taps * operation.weights.itemsize
    weights = mapping.columns.outputs * math.ceil(channels * kernel / width) + channels * SCALE_BYTES / width
    gemm = block_cycles(operation, mapping.depth, mapping.blocks, config)
    drain = mapping.blocks * math.ceil(mapping.outputs / config.columns)
    tiles = batch * math.ceil(height / rows) * math.ceil(across / columns)
    tile = max(channels * gemm + COMMAND_CYCLES, channels * drain, load + store + weights / tiles)
    return tiles * math.ceil(all_channels / channels) * tile + load + store + weights


def padded_for_blocks(operation: Depthwise, rows: Side, columns: Side) -> View | None:
    """The input as [batch, height, width, channels], padded for whole blocks; None where it cannot be."""
    view, window, outputs = operation.x, operation.window, depthwise_shape(operation)[1:3]
    for axis, of in enumerate((rows, columns)):
        begin, extent = window.pads_begin[axis], view.shape[2 + axis]
        whole = -(-outputs[axis] // of.outputs) * of.outputs
        needed = begin + extent if of.whole else max(span(operation, axis, whole), begin + extent)
        if begin or needed > extent:
            padded = bounded(view, 2 + axis, -begin, needed, operation.fill)
            if padded is None:
                return None
            view = padded
    return permuted(view, (0, 2, 3, 1))
