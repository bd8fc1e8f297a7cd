"""Kernels that a depthwise convolution heads: channels are the columns of the array, which filter a patch in FILTERs."""

import math
from collections.abc import Callable, Iterator, Sequence
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
from targets.gemm_accel.codegen.filter_pieces import FilterPlan, Lattice, piece_weights, plan_of
from targets.gemm_accel.codegen.gemm import load_scale
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
    """What all tiles of a kernel share: `weights` of all pieces of the plan as [taps, channels], and `sums`, the
    accumulators that the tiles take in turn."""

    kernel: Kernel
    operation: Depthwise
    plan: FilterPlan
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
        if filter_bytes(operation, tile) + other_bytes(tile) > space:
            continue
        cycles = cycles_of(tile)
        if cycles < (math.inf if best is None else best[0]):
            best = (cycles, tile)
    return best


def filter_bytes(operation: Depthwise, tile: Shape) -> int:
    """Scratchpad bytes of two places for the patch, the weights and the scales of a tile."""
    return 2 * sum(map(aligned, _sizes(operation, tile)))


def _sizes(operation: Depthwise, tile: Shape) -> tuple[int, int, int]:
    """Bytes of a patch, and of the weights and the scales of its channels."""
    taps, _ = operation.weights.shape
    patch = math.prod(patch_extents(operation, tile)) * operation.x.buffer.element_bytes
    return patch * tile[3], taps * operation.weights.dtype.itemsize * tile[3], SCALE_BYTES * tile[3]


def tile_cycles(operation: Depthwise, tile: Shape, config: AcceleratorConfig) -> int:
    """The array's cycles for a tile."""
    _, rows, columns, channels = tile
    streams = 2 if operation.x.buffer.dtype == "int32" else 1
    plan = plan_of(operation.window, rows, columns, config)
    return math.ceil(channels / config.columns) * plan.cycles(rows, columns, streams)


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
    plan = plan_of(operation.window, tile[1], tile[2], config)
    patch, weights, scales = _sizes(operation, tile)
    return FilterTiles(
        needs.kernel,
        operation,
        plan,
        piece_weights(operation.weights, plan.pieces),
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
    channels = ranges[3][1] - ranges[3][0]
    for lattice, sums in _lattices(tiles, ranges, number):
        _emit_pieces(assembly, tiles, patch, weights, lattice, channels, sums)


def _lattices(tiles: FilterTiles, ranges: Sequence[Range], number: int) -> Iterator[tuple[Lattice, int]]:
    """The lattices of a tile, each with the first of its sums."""
    _, rows, columns, channels = counts_of(ranges)
    sums = tiles.sums[number % len(tiles.sums)]
    for lattice in tiles.plan.lattices(rows, columns):
        yield lattice, sums
        sums += math.prod(lattice.counts) * channels


def _emit_pieces(
    assembly: Assembly,
    tiles: FilterTiles,
    patch: Placed,
    weights: Placed,
    lattice: Lattice,
    channels: int,
    sums: int,
) -> None:
    """The sums of a lattice."""
    _, row, pixel, _ = patch.strides
    strides, (down, across) = tiles.operation.window.strides, tiles.plan.steps
    pitches = row * strides[0] * down, pixel * strides[1] * across
    for number, piece in enumerate(tiles.plan.pieces):
        y, x = (
            output * stride + tap
            for output, stride, tap in zip(lattice.origin, strides, piece.origin, strict=True)
        )
        a = Placed(patch.address + y * row + x * pixel, patch.dtype, pitches)
        b = Placed(weights.address + piece.first * weights.strides[0], weights.dtype, weights.strides)
        assembly.filter(a, b, piece.kernel, (*lattice.counts, channels), sums, accumulate=number > 0)


def emit_drain(
    assembly: Assembly,
    tiles: FilterTiles,
    ranges: Sequence[Range],
    number: int,
    resident: dict[int, Placed] | None = None,
) -> None:
    """Drains the sums of tile `number` through the steps that follow, and stores what they leave; the values of `resident`
    have a place already, where they stay."""
    kernel, channels = tiles.kernel, ranges[3][1] - ranges[3][0]
    scale, dtype = _place_scale(assembly, tiles, ranges[3]), kernel.nodes[0].dtype
    views = tiles.places.load_views(assembly, ranges)
    values = {**tiles.places.place_values(ranges), **(resident or {})}
    for lattice, sums in _lattices(tiles, ranges, number):
        own = {value: _on_lattice(tiles.plan, placed, lattice) for value, placed in values.items()}
        own_views = [_on_lattice(tiles.plan, placed, lattice) for placed in views]
        assembly.layer = kernel.layer
        assembly.drain(sums, (*lattice.counts, channels), scale, dtype, own.get(0))
        run_steps(assembly, tiles.places, (1, *lattice.counts, channels), own, own_views)
    if resident is None:
        store_values(assembly, kernel, ranges, values)


def _on_lattice(plan: FilterPlan, placed: Placed, lattice: Lattice) -> Placed:
    """Of a tile [image, rows, columns, channels] what belongs to a lattice."""
    (image, row, pixel, element), (y, x), (down, across) = placed.strides, lattice.origin, plan.steps
    strides = image, row * down, pixel * across, element
    return Placed(placed.address + y * row + x * pixel, placed.dtype, strides)


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
        load_scale(assembly, tiles.operation.scale, channels, address)
    return address
