"""A depthwise convolution as gemms whose columns are a block of neighbouring outputs, some rows of some columns each.

The window of a block, all inputs that its outputs see, is a row of A: it lies in the patch in runs, one a row of the
image, of which a gemm takes all at once. So fewer passes of the array serve an output than where each row of the
kernel has one of its own. Input (y, x) of the window counts for output (r, c) of the block by the weight at
(y - stride·r, x - stride·c), or not at all. For each x these weights lie in a line, by y - stride·r and then by c: a row
of B is a part of the line, and the next y of the same phase begins one output row before it.
"""

from collections import deque
from collections.abc import Callable, Sequence
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
from targets.gemm_accel.codegen.depthwise_patches import span
from targets.gemm_accel.codegen.gemm import packed_scale
from targets.gemm_accel.codegen.kernels import Kernel, depthwise_shape
from targets.gemm_accel.codegen.nodes import Depthwise
from targets.gemm_accel.codegen.scratchpad import Scratchpad, Slots
from targets.gemm_accel.codegen.steps import Needs, Places, needs_of, run_steps, store_values
from targets.gemm_accel.codegen.tiles import Placed, counts_of, ranges_of
from targets.gemm_accel.codegen.tiling import SCALE_BYTES
from targets.gemm_accel.codegen.transfers import Block, Range
from targets.gemm_accel.codegen.views import View

LAG = 2
"""How many channels' sums wait to be drained: the array must not wait for a drain that waits for its sums."""
Pending = deque[tuple[int, Callable[[], None]]]
"""What is still to be emitted, each with the number of its tile."""


@dataclass(frozen=True)
class _Tiles:
    kernel: Kernel
    operation: Depthwise
    mapping: BlockMapping
    taps: np.ndarray
    image: View
    patches: Slots
    weights: Slots
    scales: Slots
    places: Places


def emit_blocks(
    assembly: Assembly, kernel: Kernel, operation: Depthwise, scratchpad: Scratchpad, mapping: BlockMapping
) -> None:
    """The commands of a kernel whose head is a depthwise convolution."""
    tiles = _prepare(assembly, needs_of(kernel), operation, scratchpad, mapping)
    batch, height, width, channels = depthwise_shape(operation)
    pending: Pending = deque()
    # channels are the outer loop: their weights stay while the image passes
    outer, inner = (channels, batch, height, width), (mapping.tile[3], *mapping.tile[:3])
    for number, (channel_range, *rest) in enumerate(ranges_of(outer, inner)):
        # the tile before the last has the places that this one takes
        while pending and pending[0][0] < number - 1:
            pending.popleft()[1]()
        _emit_tile(assembly, tiles, (*rest, channel_range), number, pending)
    for _, emit in pending:
        emit()


def _prepare(
    assembly: Assembly, needs: Needs, operation: Depthwise, scratchpad: Scratchpad, mapping: BlockMapping
) -> _Tiles:
    image = padded_for_blocks(operation, mapping.rows, mapping.columns)
    assert image is not None, "blocks were chosen that need padding where none can be"
    weights = operation.weights.reshape(*operation.window.kernel, -1).transpose(2, 0, 1)
    row_step, column_step = (
        each // of.step
        for each, of in zip(operation.window.dilations, (mapping.rows, mapping.columns), strict=True)
    )
    taps = np.zeros((len(weights), mapping.rows.taps, mapping.columns.taps), weights.dtype)
    taps[:, ::row_step, ::column_step] = weights
    return _Tiles(
        needs.kernel,
        operation,
        mapping,
        taps,
        image,
        scratchpad.slots(patch_bytes(operation, mapping), 2),
        scratchpad.slots(weight_bytes(operation, mapping), 2),
        scratchpad.slots(mapping.tile[3] * SCALE_BYTES, 2),
        needs.reserve(scratchpad, mapping.tile),
    )


def _emit_tile(
    assembly: Assembly, tiles: _Tiles, ranges: Sequence[Range], number: int, pending: Pending
) -> None:
    kernel, mapping = tiles.kernel, tiles.mapping
    assembly.layer = kernel.layer
    _, rows, columns, channels = counts_of(ranges)
    down, across = -(-rows // mapping.rows.outputs), -(-columns // mapping.columns.outputs)
    weights = _place_weights(assembly, tiles, ranges[3])
    scale = _place_scale(assembly, tiles, ranges[3])
    patch = _place_patch(assembly, tiles, ranges, (down, across))
    values = _place_values(tiles, ranges, across)
    sums = (number % 2) * (assembly.config.accumulator_entries // 2)
    for channel in range(channels):
        first = sums + channel * down * across * mapping.outputs
        assembly.layer = kernel.layer
        _multiply(assembly, tiles, patch, weights, channel, (down, across), first)
        drain = partial(_drain, assembly, tiles, first, down * across, channel, scale, values)
        pending.append((number, drain))
        while len(pending) > LAG:
            pending.popleft()[1]()
    pending.append((number, partial(store_values, assembly, kernel, ranges, values)))


def _place_weights(assembly: Assembly, tiles: _Tiles, channels: Range) -> int:
    """The lines of weights of some channels: of each, [phase of the row, column of the window] lines of
    [output rows, output columns]."""
    mapping, (taps_high, taps_wide) = tiles.mapping, tiles.taps.shape[1:]
    address, present = tiles.weights.place(channels)
    if present:
        return address
    part = np.ascontiguousarray(tiles.taps[channels[0] : channels[1]])
    kind, rows, columns = isa.element_type(str(part.dtype)), mapping.rows, mapping.columns
    first_tap = -rows.shift * (rows.outputs - 1)
    # the column of the output, the channel, how many output rows behind, the phase of the row, and the column of the window
    counts = (columns.outputs, len(part), rows.outputs + mapping.last_row, rows.shift, columns.inputs)
    far = (-columns.shift, taps_high * taps_wide, rows.shift * taps_wide, taps_wide, 1)
    near = (1, mapping.lines * mapping.line, -columns.outputs, columns.inputs * mapping.line, mapping.line)
    last = (counts[2] - 1) * columns.outputs
    assembly.load_lines(
        isa.Load(
            assembly.constant(part) + first_tap * taps_wide * kind.bytes,
            address + last * kind.bytes,
            kind,
            counts,
            tuple(stride * kind.bytes for stride in far),
            tuple(stride * kind.bytes for stride in near),
            isa.Bound(first_tap, (0, 0, rows.shift, 1, 0), taps_high),
            isa.Bound(0, (-columns.shift, 0, 0, 0, 1), taps_wide),
        ),
        address,
        len(part) * mapping.lines * mapping.line * kind.bytes,
    )
    return address


def _place_scale(assembly: Assembly, tiles: _Tiles, channels: Range) -> int:
    """Bias, multiplier and shift of one channel after the other."""
    address, present = tiles.scales.place(channels)
    if not present:
        packed = np.concatenate([packed_scale(tiles.operation.scale, 0, c, c + 1) for c in range(*channels)])
        assembly.load_constant(assembly.constant(packed), address, "int64", packed.size // BYTES["int64"])
    return address


def _place_patch(
    assembly: Assembly, tiles: _Tiles, ranges: Sequence[Range], blocks: tuple[int, int]
) -> Placed:
    """What a tile of so many rows and columns of blocks sees, loaded unless it is there."""
    mapping, view, window = tiles.mapping, tiles.image, tiles.operation.window
    patch: list[Range] = [ranges[0]]
    for axis, (count, of) in enumerate(zip(blocks, (mapping.rows, mapping.columns), strict=True)):
        first = ranges[1 + axis][0] * window.strides[axis]
        patch.append((first, first + span(tiles.operation, axis, count * of.outputs)))
    patch.append(ranges[3])
    address, present = tiles.patches.place(tuple(patch))
    element = view.buffer.element_bytes
    pixel = mapping.tile[3] * element
    placed = Placed(address, view.buffer.dtype, (0, mapping.row_pixels * pixel, pixel, element))
    if not present:
        assembly.load(view, patch, placed)
    return placed


def _place_values(tiles: _Tiles, ranges: Sequence[Range], across: int) -> dict[int, Placed]:
    """Where the values of a tile go that are kept: one block after the other."""
    mapping, channels, placed = tiles.mapping, ranges[3][1] - ranges[3][0], {}
    for value, slots in tiles.places.values.items():
        dtype = tiles.kernel.nodes[value].dtype
        address, _ = slots.place(tuple(ranges))
        pixel = channels * BYTES[dtype]
        row, block = mapping.columns.outputs * pixel, mapping.outputs * pixel
        placed[value] = Placed(
            address,
            dtype,
            (0, row, pixel, BYTES[dtype]),
            (
                Block(1, mapping.rows.outputs, across * block),
                Block(2, mapping.columns.outputs, block),
            ),
        )
    return placed


def _multiply(
    assembly: Assembly,
    tiles: _Tiles,
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
    tiles: _Tiles,
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
