"""Kernels that a depthwise convolution heads: channels are the columns of the array, which filter a patch in FILTERs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.buffers import BYTES
from targets.gemm_accel.codegen.depthwise_patches import (
    Patches,
    Produce,
    Shape,
    candidates,
    padded_input,
    patch_extents,
    tile_count,
    transfer_cycles,
)
from targets.gemm_accel.codegen.filter_pieces import Piece, filter_cycles, piece_weights, pieces_of
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
class FilterTiles:
    """What all tiles of a kernel share: `weights` of all pieces as [taps, channels], and `sums`, the accumulators that the
    tiles take in turn."""

    kernel: Kernel
    operation: Depthwise
    pieces: tuple[Piece, ...]
    weights: np.ndarray
    patches: Patches
    weight_slots: Slots
    scale_slots: Slots
    places: Places
    sums: tuple[int, ...]


@lru_cache(maxsize=16)
def choose_depthwise(kernel: Kernel, config: AcceleratorConfig, space: int) -> tuple[float, Shape]:
    """The estimated cycles in `space` bytes of the scratchpad, and the tile that takes so few; one output position always
    fits. Remembered, as a kernel is looked at with each of its neighbours."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Depthwise)
    operation, needs = kernel.head.operation, needs_of(kernel)
    best = best_tile(
        operation, config, needs.bytes, space, lambda tile: _estimated_cycles(operation, tile, config)
    )
    assert best is not None, "no patch of a depthwise convolution fits into the scratchpad"
    return best


def best_tile(
    operation: Depthwise,
    config: AcceleratorConfig,
    other_bytes: Callable[[Shape], int],
    space: int,
    cycles_of: Callable[[Shape], float],
) -> tuple[float, Shape] | None:
    """The fewest cycles, and the tile that takes them, of those that fit beside `other_bytes` into `space` bytes; None when
    none fits. The cycles are infinite where a tile cannot be."""
    best: tuple[float, Shape] | None = None
    for tile in candidates(operation, config):
        if filter_bytes(operation, tile, config) + other_bytes(tile) > space:
            continue
        cycles = cycles_of(tile)
        if cycles < (math.inf if best is None else best[0]):
            best = (cycles, tile)
    return best


def filter_bytes(operation: Depthwise, tile: Shape, config: AcceleratorConfig) -> int:
    """Scratchpad bytes of two places for the patch, the weights and the scales of a tile."""
    return 2 * sum(aligned(size) for size in _sizes(operation, tile, config))


def _sizes(operation: Depthwise, tile: Shape, config: AcceleratorConfig) -> tuple[int, int, int]:
    """Bytes of a patch, and of the weights and the scales of its channels."""
    taps = sum(len(piece.taps) for piece in pieces_of(operation.window, tile[2], config))
    patch = math.prod(patch_extents(operation, tile)) * operation.x.buffer.element_bytes
    return patch * tile[3], taps * operation.weights.dtype.itemsize * tile[3], SCALE_BYTES * tile[3]


def tile_cycles(operation: Depthwise, tile: Shape, config: AcceleratorConfig) -> int:
    """The array's cycles for a tile."""
    pieces = pieces_of(operation.window, tile[2], config)
    streams = 2 if operation.x.buffer.dtype == "int32" else 1
    return filter_cycles(pieces, tile[1], tile[2], tile[3], streams, config)


def drain_cycles(tile: Shape, config: AcceleratorConfig) -> int:
    """The drain unit's cycles for a tile."""
    return tile[1] * tile[2] * math.ceil(tile[3] / config.columns)


def _estimated_cycles(operation: Depthwise, tile: Shape, config: AcceleratorConfig) -> float:
    """The longest of array, drain and DRAM time, plus what the first load and the last drain and store add."""
    compute = tile_cycles(operation, tile, config) + COMMAND_CYCLES
    load, store = transfer_cycles(operation, tile, config)
    drain = drain_cycles(tile, config)
    return tile_count(operation, tile) * max(compute, drain, load + store) + load + drain + store


def emit_depthwise(assembly: Assembly, kernel: Kernel, scratchpad: Scratchpad) -> None:
    """The commands of a kernel whose head is a depthwise convolution."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Depthwise)
    operation, config = kernel.head.operation, assembly.config
    _, tile = choose_depthwise(kernel, config, scratchpad.limit - scratchpad.base)
    halves = (0, config.accumulator_entries // 2)
    tiles = prepare_tiles(config, needs_of(kernel), operation, scratchpad, tile, halves)
    batch, height, width, channels = depthwise_shape(operation)
    # channels are the outer loop: their weights stay while the image passes
    outer, inner = (channels, batch, height, width), (tile[3], *tile[:3])
    for number, (channel_range, *rest) in enumerate(ranges_of(outer, inner)):
        emit_filters(assembly, tiles, (*rest, channel_range), number)
        emit_drain(assembly, tiles, (*rest, channel_range), number)


def prepare_tiles(
    config: AcceleratorConfig,
    needs: Needs,
    operation: Depthwise,
    scratchpad: Scratchpad,
    tile: Shape,
    sums: tuple[int, ...],
    produce: Produce | None = None,
) -> FilterTiles:
    """Takes the space that the tiles need; `produce` makes the patches where they are not loaded."""
    pieces = pieces_of(operation.window, tile[2], config)
    patch, weights, scales = _sizes(operation, tile, config)
    return FilterTiles(
        needs.kernel,
        operation,
        pieces,
        piece_weights(operation.weights, pieces),
        Patches(operation, padded_input(operation), scratchpad.slots(patch, 2), produce),
        scratchpad.slots(weights, 2),
        scratchpad.slots(scales, 2),
        needs.reserve(scratchpad, tile),
        sums,
    )


def emit_filters(assembly: Assembly, tiles: FilterTiles, ranges: Sequence[Range], number: int) -> None:
    """The sums of tile `number` of the output."""
    assembly.layer = tiles.kernel.layer
    weights = _place_weights(assembly, tiles, ranges[3])
    _place_scale(assembly, tiles, ranges[3])
    patch = tiles.patches.place(assembly, ranges)
    assembly.layer = tiles.kernel.layer
    _, row_bytes, pixel_bytes, _ = patch.strides
    _, rows, columns, channels = counts_of(ranges)
    strides = tiles.operation.window.strides
    for number_of_piece, piece in enumerate(tiles.pieces):
        address = patch.address + piece.origin[0] * row_bytes + piece.origin[1] * pixel_bytes
        a = Placed(address, patch.dtype, (row_bytes * strides[0], pixel_bytes * strides[1]))
        b = Placed(weights.address + piece.first * weights.strides[0], weights.dtype, weights.strides)
        sums = tiles.sums[number % len(tiles.sums)]
        assembly.filter(a, b, piece.kernel, (rows, columns, channels), sums, accumulate=number_of_piece > 0)


def emit_drain(
    assembly: Assembly,
    tiles: FilterTiles,
    ranges: Sequence[Range],
    number: int,
    resident: dict[int, Placed] | None = None,
) -> None:
    """Drains the sums of tile `number` through the steps that follow, and stores what they leave; the values of `resident`
    have a place already, where they stay."""
    kernel, (_, rows, columns, channels) = tiles.kernel, counts_of(ranges)
    scale = _place_scale(assembly, tiles, ranges[3])
    views = tiles.places.load_views(assembly, ranges)
    values = {**tiles.places.place_values(ranges), **(resident or {})}
    assembly.layer = kernel.layer
    sums, dtype = tiles.sums[number % len(tiles.sums)], kernel.nodes[0].dtype
    assembly.drain(sums, (rows, columns, channels), scale, dtype, values.get(0))
    run_steps(assembly, tiles.places, counts_of(ranges), values, views)
    if resident is None:
        store_values(assembly, kernel, ranges, values)


def _place_weights(assembly: Assembly, tiles: FilterTiles, channels: Range) -> Placed:
    """The weights of all pieces for some channels, tap by tap."""
    address, present = tiles.weight_slots.place(channels)
    part = tiles.weights[:, channels[0] : channels[1]]
    dtype = str(part.dtype)
    if not present:
        constant = assembly.constant(np.ascontiguousarray(part))
        assembly.load_constant(constant, address, dtype, part.size)
    return Placed(address, dtype, (part.shape[1] * BYTES[dtype], BYTES[dtype]))


def _place_scale(assembly: Assembly, tiles: FilterTiles, channels: Range) -> int:
    address, present = tiles.scale_slots.place(channels)
    if not present:
        packed = packed_scale(tiles.operation.scale, 0, *channels)
        assembly.load_constant(assembly.constant(packed), address, "int64", packed.size // BYTES["int64"])
    return address
