"""Kernels that a depthwise convolution heads: one multiply-accumulate a tap on the diagonal cells, channels
as columns.

The input's patch of a tile, halo and padding included, is loaded once; each tap reads it at a shifted
address.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.buffers import BYTES
from targets.gemm_accel.codegen.gemm import packed_scale
from targets.gemm_accel.codegen.kernels import Kernel, depthwise_shape
from targets.gemm_accel.codegen.nodes import Depthwise
from targets.gemm_accel.codegen.scratchpad import Scratchpad, Slots, aligned
from targets.gemm_accel.codegen.steps import Needs, Places, needs_of, run_steps, store_values
from targets.gemm_accel.codegen.tiles import Placed, balanced, counts_of, ranges_of
from targets.gemm_accel.codegen.tiling import COMMAND_CYCLES, SCALE_BYTES, TRANSFER_CYCLES
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.codegen.views import View, bounded, permuted

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Tiles:
    kernel: Kernel
    operation: Depthwise
    patches: View
    tile: Shape
    patch_slots: Slots
    weight_slots: Slots
    scale_slots: Slots
    places: Places
    weights: dict[int, int]
    scales: dict[int, int]


def emit_depthwise(assembly: Assembly, kernel: Kernel, scratchpad: Scratchpad) -> None:
    """The commands of a kernel whose head is a depthwise convolution."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Depthwise)
    tiles = _prepare(assembly, kernel, kernel.head.operation, scratchpad)
    batch, height, width, channels = depthwise_shape(tiles.operation)
    # channels are the outer loop: their weights stay while the image passes
    outer, inner = (channels, batch, height, width), (tiles.tile[3], *tiles.tile[:3])
    for number, (channel_range, *rest) in enumerate(ranges_of(outer, inner)):
        _emit_tile(assembly, tiles, (*rest, channel_range), number)


def _prepare(assembly: Assembly, kernel: Kernel, operation: Depthwise, scratchpad: Scratchpad) -> _Tiles:
    needs = needs_of(kernel)
    tile = _choose_tile(assembly, operation, needs, scratchpad.limit - scratchpad.base)
    patch, element = _patch_extents(operation, tile), operation.x.buffer.element_bytes
    channels, step = operation.x.shape[1], tile[3]
    weight_bytes = operation.weights.dtype.itemsize * len(operation.weights) * step
    firsts = range(0, channels, step)
    stops = {first: min(first + step, channels) for first in firsts}
    return _Tiles(
        kernel,
        operation,
        _patches(operation),
        tile,
        scratchpad.slots(math.prod(patch) * step * element, 2),
        scratchpad.slots(weight_bytes, 2),
        scratchpad.slots(step * SCALE_BYTES, 2),
        needs.reserve(scratchpad, tile),
        {first: assembly.constant(operation.weights[:, first : stops[first]]) for first in firsts},
        {first: assembly.constant(packed_scale(operation.scale, 0, first, stops[first])) for first in firsts},
    )


def _patches(operation: Depthwise) -> View:
    """The padded input as [batch, height, width, channels]."""
    view, window = operation.x, operation.window
    for axis, begin in enumerate(window.pads_begin):
        extent = begin + view.shape[2 + axis] + window.pads_end[axis]
        if begin or window.pads_end[axis]:
            padded = bounded(view, 2 + axis, -begin, extent, operation.fill)
            assert padded is not None, "a source that has windows can be padded"
            view = padded
    return permuted(view, (0, 2, 3, 1))


def _span(operation: Depthwise, axis: int, count: int) -> int:
    """How many input positions `count` neighbouring outputs see along a spatial axis."""
    window = operation.window
    return (count - 1) * window.strides[axis] + (window.kernel[axis] - 1) * window.dilations[axis] + 1


def _patch_extents(operation: Depthwise, tile: Sequence[int]) -> tuple[int, int]:
    return _span(operation, 0, tile[1]), _span(operation, 1, tile[2])


def _choose_tile(assembly: Assembly, operation: Depthwise, needs: Needs, limit: int) -> Shape:
    """The tile of least estimated cycles among those that fit; one output position always does."""
    best: tuple[float, Shape] | None = None
    for tile in _candidates(assembly, operation):
        if _bytes(operation, tile) + needs.bytes(tile) > limit:
            continue
        cycles = _estimated_cycles(assembly, operation, tile)
        if best is None or cycles < best[0]:
            best = (cycles, tile)
    assert best is not None, "no patch of a depthwise convolution fits into the scratchpad"
    return best[1]


def _candidates(assembly: Assembly, operation: Depthwise) -> Iterator[Shape]:
    _, height, width, channels = depthwise_shape(operation)
    entries = assembly.config.accumulator_entries // 2
    lanes = assembly.config.columns
    counts = {min(channels, lanes * blocks) for blocks in (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)} | {1, channels}
    for channel_count in sorted(count for count in counts if count <= entries):
        for pieces in (1, 2, 3, 4, 8, 16, width):
            columns = balanced(width, -(-width // pieces))
            most = entries // (channel_count * columns)
            for rows in {
                balanced(height, count) for count in (1, 2, 4, 8, 16, most, most // 2) if 0 < count <= most
            }:
                yield (1, rows, columns, channel_count)


def _bytes(operation: Depthwise, tile: Shape) -> int:
    element = operation.x.buffer.element_bytes
    patch = aligned(math.prod(_patch_extents(operation, tile)) * tile[3] * element)
    weights = aligned(operation.weights.dtype.itemsize * len(operation.weights) * tile[3])
    return 2 * (patch + weights + aligned(tile[3] * SCALE_BYTES))


def _estimated_cycles(assembly: Assembly, operation: Depthwise, tile: Shape) -> float:
    """The longer of array and DRAM time, plus what the first load and the last drain add."""
    shape, config = depthwise_shape(operation), assembly.config
    tiles = math.prod(math.ceil(extent / step) for extent, step in zip(shape, tile, strict=True))
    blocks = math.ceil(tile[3] / config.columns)
    positions = tile[1] * tile[2]
    passes = positions * blocks * (2 if operation.x.buffer.dtype == "int32" else 1)
    compute = len(operation.weights) * (passes + COMMAND_CYCLES)
    element, width = operation.x.buffer.element_bytes, config.dram_bytes_per_cycle
    run = math.ceil(tile[3] * element / width)
    rows, columns = _patch_extents(operation, tile)
    load = rows * columns * run + TRANSFER_CYCLES
    store = positions * run + TRANSFER_CYCLES
    return tiles * max(compute, load + store) + load + positions * blocks + store


def _emit_tile(assembly: Assembly, tiles: _Tiles, ranges: Sequence[Range], number: int) -> None:
    kernel, operation = tiles.kernel, tiles.operation
    assembly.layer = kernel.layer
    _, rows, columns, channels = counts_of(ranges)
    accumulator = (number % 2) * (assembly.config.accumulator_entries // 2)
    weights = _place_constant(assembly, tiles.weight_slots, tiles.weights, ranges[3], operation)
    scale, present = tiles.scale_slots.place(ranges[3])
    if not present:
        count = channels * SCALE_BYTES // BYTES["int64"]
        assembly.load_constant(tiles.scales[ranges[3][0]], scale, "int64", count)
    patch = _place_patch(assembly, tiles, ranges)
    _emit_taps(assembly, operation, patch, weights, (rows, columns, channels), accumulator)
    views = tiles.places.load_views(assembly, ranges)
    values = tiles.places.place_values(ranges)
    assembly.layer = kernel.layer
    assembly.drain(
        accumulator, rows * columns, channels, scale, kernel.nodes[0].dtype, _as_rows(values.get(0))
    )
    run_steps(assembly, tiles.places, ranges, values, views)
    store_values(assembly, kernel, ranges, values)


def _as_rows(placed: Placed | None) -> Placed | None:
    """The place with the positions of the image as rows."""
    return None if placed is None else Placed(placed.address, placed.dtype, placed.strides[2:])


def _place_constant(
    assembly: Assembly, slots: Slots, addresses: dict[int, int], channels: Range, operation: Depthwise
) -> Placed:
    address, present = slots.place(channels)
    dtype, count = str(operation.weights.dtype), channels[1] - channels[0]
    if not present:
        assembly.load_constant(addresses[channels[0]], address, dtype, count * len(operation.weights))
    element = BYTES[dtype]
    return Placed(address, dtype, (count * element, element))


def _place_patch(assembly: Assembly, tiles: _Tiles, ranges: Sequence[Range]) -> Placed:
    """The input positions that a tile sees, in the scratchpad."""
    operation, window = tiles.operation, tiles.operation.window
    image, rows, columns, channels = ranges
    patch = (
        image,
        _input_range(rows, window.strides[0], _span(operation, 0, rows[1] - rows[0])),
        _input_range(columns, window.strides[1], _span(operation, 1, columns[1] - columns[0])),
        channels,
    )
    element = tiles.patches.buffer.element_bytes
    _, _, width, count = counts_of(patch)
    address, present = tiles.patch_slots.place(patch)
    placed = Placed(
        address, tiles.patches.buffer.dtype, (0, width * count * element, count * element, element)
    )
    if not present:
        assembly.load(tiles.patches, patch, placed)
    return placed


def _input_range(outputs: Range, stride: int, span: int) -> Range:
    return outputs[0] * stride, outputs[0] * stride + span


def _emit_taps(
    assembly: Assembly,
    operation: Depthwise,
    patch: Placed,
    weights: Placed,
    counts: tuple[int, int, int],
    accumulator: int,
) -> None:
    window = operation.window
    row_bytes, column_bytes = patch.strides[1:3]
    pitches = (row_bytes * window.strides[0], column_bytes * window.strides[1])
    for tap in range(len(operation.weights)):
        row, column = divmod(tap, window.kernel[1])
        shift = row * window.dilations[0] * row_bytes + column * window.dilations[1] * column_bytes
        a = Placed(patch.address + shift, patch.dtype, pitches)
        b = Placed(weights.address + tap * weights.strides[0], weights.dtype, (0, 0))
        assembly.mac(a, b, counts, accumulator, accumulate=tap > 0)
