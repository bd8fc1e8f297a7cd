"""A depthwise convolution as one multiply-accumulate a tap on the diagonal cells, channels as columns.

Each tap reads the patch of a tile at a shifted address.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.buffers import BYTES
from targets.gemm_accel.codegen.depthwise_patches import (
    Patches,
    Shape,
    candidates,
    constant_bytes,
    padded_input,
    patch_extents,
    tile_count,
    transfer_cycles,
)
from targets.gemm_accel.codegen.gemm import packed_scale
from targets.gemm_accel.codegen.kernels import Kernel, depthwise_shape
from targets.gemm_accel.codegen.nodes import Depthwise
from targets.gemm_accel.codegen.scratchpad import Scratchpad, Slots, aligned
from targets.gemm_accel.codegen.steps import Needs, Places, needs_of, run_steps, store_values
from targets.gemm_accel.codegen.tiles import Placed, counts_of, ranges_of
from targets.gemm_accel.codegen.tiling import COMMAND_CYCLES, SCALE_BYTES
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.config import AcceleratorConfig


@dataclass(frozen=True)
class _Tiles:
    kernel: Kernel
    operation: Depthwise
    patches: Patches
    tile: Shape
    weight_slots: Slots
    scale_slots: Slots
    places: Places
    weights: dict[int, int]
    scales: dict[int, int]


def choose_mac_tile(
    kernel: Kernel, operation: Depthwise, config: AcceleratorConfig, limit: int
) -> tuple[float, Shape]:
    """The tile of least estimated cycles among those that fit, with these cycles; one output position always
    does."""
    needs = needs_of(kernel)
    best: tuple[float, Shape] | None = None
    for tile in candidates(operation, config):
        if _bytes(operation, tile) + needs.bytes(tile) > limit:
            continue
        cycles = _estimated_cycles(operation, tile, config)
        if best is None or cycles < best[0]:
            best = (cycles, tile)
    assert best is not None, "no patch of a depthwise convolution fits into the scratchpad"
    return best


def emit_mac(
    assembly: Assembly, kernel: Kernel, operation: Depthwise, scratchpad: Scratchpad, tile: Shape
) -> None:
    """The commands of a kernel whose head is a depthwise convolution."""
    tiles = _prepare(assembly, needs_of(kernel), operation, scratchpad, tile)
    batch, height, width, channels = depthwise_shape(operation)
    # channels are the outer loop: their weights stay while the image passes
    outer, inner = (channels, batch, height, width), (tile[3], *tile[:3])
    for number, (channel_range, *rest) in enumerate(ranges_of(outer, inner)):
        _emit_tile(assembly, tiles, (*rest, channel_range), number)


def _prepare(
    assembly: Assembly, needs: Needs, operation: Depthwise, scratchpad: Scratchpad, tile: Shape
) -> _Tiles:
    patch, element = patch_extents(operation, tile), operation.x.buffer.element_bytes
    channels, step = operation.x.shape[1], tile[3]
    weight_bytes = operation.weights.dtype.itemsize * len(operation.weights) * step
    firsts = range(0, channels, step)
    stops = {first: min(first + step, channels) for first in firsts}
    return _Tiles(
        needs.kernel,
        operation,
        Patches(
            operation,
            padded_input(operation),
            scratchpad.slots(math.prod(patch) * step * element, 2),
        ),
        tile,
        scratchpad.slots(weight_bytes, 2),
        scratchpad.slots(step * SCALE_BYTES, 2),
        needs.reserve(scratchpad, tile),
        {first: assembly.constant(operation.weights[:, first : stops[first]]) for first in firsts},
        {first: assembly.constant(packed_scale(operation.scale, 0, first, stops[first])) for first in firsts},
    )


def _bytes(operation: Depthwise, tile: Shape) -> int:
    element = operation.x.buffer.element_bytes
    patch = aligned(math.prod(patch_extents(operation, tile)) * tile[3] * element)
    return 2 * patch + constant_bytes(operation, len(operation.weights), tile)


def _estimated_cycles(operation: Depthwise, tile: Shape, config: AcceleratorConfig) -> float:
    """The longer of array and DRAM time, plus what the first load and the last drain add."""
    blocks = math.ceil(tile[3] / config.columns)
    positions = tile[1] * tile[2]
    passes = positions * blocks * (2 if operation.x.buffer.dtype == "int32" else 1)
    compute = len(operation.weights) * passes + COMMAND_CYCLES
    load, store = transfer_cycles(operation, tile, config)
    return tile_count(operation, tile) * max(compute, load + store) + load + positions * blocks + store


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
    patch = tiles.patches.place(assembly, ranges)
    _emit_taps(assembly, operation, patch, weights, (rows, columns, channels), accumulator)
    views = tiles.places.load_views(assembly, ranges)
    values = tiles.places.place_values(ranges)
    assembly.layer = kernel.layer
    assembly.drain(
        accumulator, rows * columns, channels, scale, kernel.nodes[0].dtype, _as_rows(values.get(0))
    )
    run_steps(assembly, tiles.places, counts_of(ranges), values, views)
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
