"""A depthwise convolution as gemms whose columns are a block of neighbouring outputs, some rows of some columns each.

The window of a block, all inputs that its outputs see, is a row of A: it lies in the patch in runs, one a row of the
image, of which a gemm takes all at once. So fewer passes of the array serve an output than where each row of the
kernel has one of its own. Input (y, x) of the window counts for output (r, c) of the block by the weight at
(y - stride·r, x - stride·c), or not at all. For each x these weights lie in a line, by y - stride·r and then by c: a row
of B is a part of the line, and the next y of the same phase begins one output row before it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from targets.gemm_accel import isa
from targets.gemm_accel.codegen.assembly import Assembly, Matrix
from targets.gemm_accel.codegen.buffers import BYTES
from targets.gemm_accel.codegen.depthwise_block_choice import (
    BlockMapping,
    padded_for_blocks,
    patch_bytes,
    weight_bytes,
)
from targets.gemm_accel.codegen.depthwise_patches import LAG, Patches, Pending, Produce
from targets.gemm_accel.codegen.gemm import packed_scale
from targets.gemm_accel.codegen.kernels import Kernel, depthwise_shape
from targets.gemm_accel.codegen.nodes import Depthwise
from targets.gemm_accel.codegen.scratchpad import Scratchpad, Slots, aligned
from targets.gemm_accel.codegen.steps import Needs, Places, needs_of, run_steps, store_values
from targets.gemm_accel.codegen.tiles import Placed, counts_of, ranges_of
from targets.gemm_accel.codegen.tiling import SCALE_BYTES
from targets.gemm_accel.codegen.transfers import Range

MOST_AHEAD = 6
"""Tiles whose patches, weights and scales have places, where there is room for more than two: while a product behind
computes, loads run that far ahead."""


@dataclass(frozen=True)
class BlockTiles:
    """What all tiles of a kernel share. `sums` are the accumulators that they take in turn."""

    kernel: Kernel
    operation: Depthwise
    mapping: BlockMapping
    taps: np.ndarray
    patches: Patches
    weights: Slots
    scales: Slots
    places: Places
    sums: tuple[int, int]


def emit_blocks(
    assembly: Assembly, kernel: Kernel, operation: Depthwise, scratchpad: Scratchpad, mapping: BlockMapping
) -> None:
    """The commands of a kernel whose head is a depthwise convolution."""
    halves = (0, assembly.config.accumulator_entries // 2)
    tiles = prepare_block_tiles(needs_of(kernel), operation, scratchpad, mapping, halves)
    batch, height, width, channels = depthwise_shape(operation)
    pending: Pending = deque()
    # channels are the outer loop: their weights stay while the image passes
    outer, inner = (channels, batch, height, width), (mapping.tile[3], *mapping.tile[:3])
    for number, (channel_range, *rest) in enumerate(ranges_of(outer, inner)):
        # the tile before the last has the places that this one takes
        while pending and pending[0][0] < number - 1:
            pending.popleft()[1]()
        emit_block_tile(assembly, tiles, (*rest, channel_range), number, pending)
    for _, emit in pending:
        emit()


def prepare_block_tiles(
    needs: Needs,
    operation: Depthwise,
    scratchpad: Scratchpad,
    mapping: BlockMapping,
    sums: tuple[int, int],
    produce: Produce | None = None,
) -> BlockTiles:
    """Takes the space that the tiles of a mapping need; `produce` makes the patches where they are not loaded."""
    image = padded_for_blocks(operation, mapping.rows, mapping.columns)
    assert image is not None, "blocks were chosen that need padding where none can be"
    places = needs.reserve(scratchpad, mapping.tile)
    sizes = patch_bytes(operation, mapping), weight_bytes(operation, mapping), mapping.tile[3] * SCALE_BYTES
    ahead = 2 if produce is not None else min(scratchpad.room_for(sum(map(aligned, sizes))), MOST_AHEAD)
    patches, weights, scales = (scratchpad.slots(size, ahead) for size in sizes)
    block = mapping.rows.outputs, mapping.columns.outputs
    seen = mapping.rows.places, mapping.columns.places
    return BlockTiles(
        needs.kernel,
        operation,
        mapping,
        _taps(operation, mapping),
        Patches(operation, image, patches, mapping.row_pixels, produce, block, seen, mapping.tile[3]),
        weights,
        scales,
        places,
        sums,
    )


def _taps(operation: Depthwise, mapping: BlockMapping) -> np.ndarray:
    """The weights as [channels, rows, columns], with the zeros of a dilation between them."""
    weights = operation.weights.reshape(*operation.window.kernel, -1).transpose(2, 0, 1)
    row_step, column_step = (
        each // of.step
        for each, of in zip(operation.window.dilations, (mapping.rows, mapping.columns), strict=True)
    )
    taps = np.zeros((len(weights), mapping.rows.taps, mapping.columns.taps), weights.dtype)
    taps[:, ::row_step, ::column_step] = weights
    return taps


def emit_block_tile(
    assembly: Assembly,
    tiles: BlockTiles,
    ranges: Sequence[Range],
    number: int,
    pending: Pending,
    resident: dict[int, Placed] | None = None,
) -> None:
    """Tile `number` of the output. Its drains go to `pending`, of which some of earlier ones are emitted; the values of
    `resident` have a place already, where they stay."""
    kernel, mapping = tiles.kernel, tiles.mapping
    assembly.layer = kernel.layer
    _, rows, columns, channels = counts_of(ranges)
    down, across = mapping.blocks_of(rows, 1), mapping.blocks_of(1, columns)
    weights = _place_weights(assembly, tiles, ranges[3])
    scale = _place_scale(assembly, tiles, ranges[3])
    patch = tiles.patches.place(assembly, ranges)
    values = {**tiles.places.place_values(ranges, layout=mapping.layout), **(resident or {})}
    for channel in range(channels):
        sums = tiles.sums[number % 2] + channel * down * across * mapping.outputs
        assembly.layer = kernel.layer
        _multiply(assembly, tiles, patch, weights, channel, (down, across), sums)
        drain = partial(_drain, assembly, tiles, sums, down * across, channel, scale, values)
        pending.append((number, drain))
        while len(pending) > LAG:
            pending.popleft()[1]()
    if resident is None:
        pending.append((number, partial(store_values, assembly, kernel, ranges, values)))


def _place_weights(assembly: Assembly, tiles: BlockTiles, channels: Range) -> int:
    """The lines of weights of some channels: of each, [phase of the row, column of the window] lines of
    [output rows, output columns]."""
    mapping, (taps_high, taps_wide) = tiles.mapping, tiles.taps.shape[1:]
    address, present = tiles.weights.place(channels)
    if present:
        return address
    part = np.ascontiguousarray(tiles.taps[channels[0] : channels[1]])
    kind, rows, columns = isa.element_type(str(part.dtype)), mapping.rows, mapping.columns
    first_tap = rows.first - rows.shift * (rows.outputs - 1)
    # the column of the output, the channel, how many output rows behind, the phase of the row, and the column of the window
    counts = (columns.outputs, len(part), rows.outputs + mapping.last_row, rows.shift, columns.inputs)
    far = (-columns.shift, taps_high * taps_wide, rows.shift * taps_wide, taps_wide, 1)
    near = (1, mapping.lines * mapping.line, -columns.outputs, columns.inputs * mapping.line, mapping.line)
    last = (counts[2] - 1) * columns.outputs
    assembly.load_lines(
        isa.Load(
            assembly.constant(part) + (first_tap * taps_wide + columns.first) * kind.bytes,
            address + last * kind.bytes,
            kind,
            counts,
            tuple(stride * kind.bytes for stride in far),
            tuple(stride * kind.bytes for stride in near),
            isa.Bound(first_tap, (0, 0, rows.shift, 1, 0), taps_high),
            isa.Bound(columns.first, (-columns.shift, 0, 0, 0, 1), taps_wide),
        ),
        address,
        len(part) * mapping.lines * mapping.line * kind.bytes,
    )
    return address


def _place_scale(assembly: Assembly, tiles: BlockTiles, channels: Range) -> int:
    """Bias, multiplier and shift of one channel after the other."""
    address, present = tiles.scales.place(channels)
    if not present:
        packed = np.concatenate([packed_scale(tiles.operation.scale, 0, c, c + 1) for c in range(*channels)])
        assembly.load_constant(assembly.constant(packed), address, "int64", packed.size // BYTES["int64"])
    return address


def _multiply(
    assembly: Assembly,
    tiles: BlockTiles,
    patch: Placed,
    weights: int,
    channel: int,
    blocks: tuple[int, int],
    sums: int,
) -> None:
    """The sums of all outputs of a channel of a tile, block by block."""
    mapping, strides = tiles.mapping, tiles.operation.window.strides
    rows, columns, (_, row, pixel, element) = mapping.rows, mapping.columns, patch.strides
    a = Matrix(
        patch.address + channel * element,
        patch.dtype,
        columns.outputs * strides[1] * pixel,
        columns.step * pixel,
        blocks[1],
        rows.outputs * strides[0] * row,
        0 if rows.inputs == 1 else columns.inputs,
        rows.step * row,
    )
    size = tiles.taps.itemsize
    first = channel * mapping.lines * mapping.line + mapping.last_row * columns.outputs
    group = rows.shift * columns.inputs
    b = Matrix(
        weights + first * size,
        str(tiles.taps.dtype),
        mapping.line * size,
        rows=group,
        group_pitch=-columns.outputs * size,
    )
    assembly.gemm(a, b, blocks[0] * blocks[1], mapping.depth, mapping.outputs, sums, accumulate=False)


def _drain(
    assembly: Assembly,
    tiles: BlockTiles,
    sums: int,
    blocks: int,
    channel: int,
    scale: int,
    values: dict[int, Placed],
) -> None:
    """Drains the sums of a channel through the steps that follow."""
    kernel, outputs = tiles.kernel, tiles.mapping.outputs
    parts = {
        value: Placed(
            each.address + channel * each.strides[3],
            each.dtype,
            (outputs * each.strides[2], each.strides[2]),
        )
        for value, each in values.items()
    }
    assembly.layer = kernel.layer
    address, dtype = scale + channel * SCALE_BYTES, kernel.nodes[0].dtype
    assembly.drain(sums, blocks, outputs, address, dtype, parts.get(0), shared=True)
    run_steps(assembly, tiles.places, (blocks, outputs), parts, ())
