"""A depthwise convolution as gemms with shifted weights: neighbouring outputs of a row are the columns.

For one channel, B[k, n] is the weight with which input pixel k counts for output n: it depends on k - n alone.
So B is no matrix in memory but one row of weights between zeros, read with a row pitch of minus one element.
A reads every stride-th pixel of the patch in place: its rows are rows of the image, its columns pixels. The
taps of a kernel fall into as many phases as the stride, each a gemm that adds to the same sums. The rows of
the kernel are added by a gemm each, or by a single one whose K runs on through the rows of the patch.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from targets.gemm_accel.codegen.assembly import Assembly, Matrix
from targets.gemm_accel.codegen.buffers import BYTES
from targets.gemm_accel.codegen.depthwise_patches import (
    LAG,
    Patches,
    Pending,
    Produce,
    Shape,
    candidates,
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
from targets.gemm_accel.codegen.tiles import Placed, balanced, counts_of, ranges_of
from targets.gemm_accel.codegen.tiling import COMMAND_CYCLES, SCALE_BYTES, pass_cycles
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.config import AcceleratorConfig


@dataclass(frozen=True)
class Mapping:
    """A tile of the output, how many neighbouring outputs a gemm computes, and whether its K runs through all
    rows of the kernel."""

    tile: Shape
    outputs: int
    through_rows: bool


@dataclass(frozen=True, eq=False)
class _Phase:
    """The taps at columns `first`, first + stride, …: weights [channels, rows, columns], last tap first."""

    first: int
    weights: np.ndarray
    pitch: int
    """Elements from one row of weights to the next where they lie between zeros."""

    @property
    def columns(self) -> int:
        """The taps of a row, of which some may be zero."""
        return int(self.weights.shape[2])

    def bytes(self, channels: int) -> int:
        """Scratchpad bytes of the weights of that many channels, with the zeros around them."""
        return (channels * self.weights.shape[1] + 1) * self.pitch * self.weights.dtype.itemsize


@dataclass(frozen=True)
class Tiles:
    """What all tiles of a kernel share. `sums` are the accumulators that they take in turn."""

    kernel: Kernel
    operation: Depthwise
    mapping: Mapping
    patches: Patches
    phases: tuple[_Phase, ...]
    weight_slots: tuple[Slots, ...]
    scale_slots: Slots
    places: Places
    sums: tuple[int, int]


def choose_toeplitz(
    kernel: Kernel, operation: Depthwise, config: AcceleratorConfig, limit: int
) -> tuple[float, Mapping] | None:
    """The mapping of least estimated cycles among those that fit, with these cycles; None when none fits."""
    needs = needs_of(kernel)

    def cycles_of(tile: Shape, channel_cycles: float) -> float:
        return _estimated_cycles(operation, tile, channel_cycles, config)

    return best_mapping(operation, config, needs.bytes, limit, cycles_of)


def best_mapping(
    operation: Depthwise,
    config: AcceleratorConfig,
    other_bytes: Callable[[Shape], int],
    limit: int,
    cycles_of: Callable[[Shape, float], float],
) -> tuple[float, Mapping] | None:
    """The mapping of fewest cycles among those that fit beside `other_bytes` into `limit` bytes; None when none fits.

    `cycles_of` takes a tile and the array's cycles for one of its channels; they are infinite where a tile cannot be.
    """
    best: tuple[float, Mapping] | None = None
    for tile in candidates(operation, config):
        if 2 * _patch_bytes(operation, Mapping(tile, tile[2], False)) > limit:
            continue
        channel_cycles, mapping = _best_outputs(operation, tile[1], tile[2], config)
        cycles = cycles_of(tile, channel_cycles)
        if cycles >= (math.inf if best is None else best[0]):
            continue
        mapping = replace(mapping, tile=tile)
        if _bytes(operation, mapping) + other_bytes(tile) <= limit:
            best = (cycles, mapping)
    return best


@lru_cache(maxsize=1024)
def _best_outputs(
    operation: Depthwise, rows: int, width: int, config: AcceleratorConfig
) -> tuple[float, Mapping]:
    """The array's cycles for a channel of a tile of so many rows and columns, and the mapping with which it takes so few."""
    tile = (1, rows, width, 1)
    sizes = {balanced(width, pieces) for pieces in range(1, min(width, 4 * config.columns) + 1)}
    mappings = [Mapping(tile, size, through) for size in sorted(sizes) for through in (False, True)]
    return min(((_channel_cycles(operation, m, config), m) for m in mappings), key=lambda item: item[0])


def _channel_cycles(operation: Depthwise, mapping: Mapping, config: AcceleratorConfig) -> float:
    streamed = mapping.tile[1] * (2 if operation.x.buffer.dtype == "int32" else 1)
    cycles = 0
    for first, stop in _blocks(mapping):
        for columns in _phase_columns(operation).values():
            gemms = 1 if mapping.through_rows else _kernel_rows(operation, False)
            depth = _depth(operation, mapping, stop - first, columns)
            passes = pass_cycles(streamed, depth, config.rows)
            cycles += gemms * math.ceil((stop - first) / config.columns) * passes
    return cycles


def _estimated_cycles(
    operation: Depthwise, tile: Shape, channel_cycles: float, config: AcceleratorConfig
) -> float:
    """The longer of array and DRAM time, plus what the first load and the last drain add."""
    load, store = transfer_cycles(operation, tile, config)
    compute = tile[3] * channel_cycles + COMMAND_CYCLES
    drain = tile[3] * tile[1] * math.ceil(tile[2] / config.columns)
    return tile_count(operation, tile) * max(compute, drain, load + store) + load + store


def _bytes(operation: Depthwise, mapping: Mapping) -> int:
    channels, element = mapping.tile[3], operation.weights.dtype.itemsize
    lines = channels * _kernel_rows(operation, mapping.through_rows) + 1
    pitches = [_pitch(operation, mapping, columns) for columns in _phase_columns(operation).values()]
    weights = sum(aligned(lines * pitch * element) for pitch in pitches)
    return 2 * (_patch_bytes(operation, mapping) + weights + aligned(channels * SCALE_BYTES))


def _patch_bytes(operation: Depthwise, mapping: Mapping) -> int:
    rows, _ = patch_extents(operation, mapping.tile)
    pixels = rows * _row_pixels(operation, mapping)
    return aligned(pixels * mapping.tile[3] * operation.x.buffer.element_bytes)


def _row_pixels(operation: Depthwise, mapping: Mapping) -> int:
    """The pixels that a row of a patch takes: a whole number of strides."""
    stride = operation.window.strides[1]
    return -(-patch_extents(operation, mapping.tile)[1] // stride) * stride


def _depth(operation: Depthwise, mapping: Mapping, outputs: int, columns: int) -> int:
    """The K of a gemm that computes so many neighbouring outputs, with so many columns of weights."""
    depth = outputs + columns - 1
    if mapping.through_rows:
        depth += (_kernel_rows(operation, True) - 1) * _pitch(operation, mapping, columns)
    return depth


def _kernel_rows(operation: Depthwise, through_rows: bool) -> int:
    """The rows of weights; with those between the rows of a dilated kernel where K runs through them."""
    window = operation.window
    return (window.kernel[0] - 1) * window.dilations[0] + 1 if through_rows else window.kernel[0]


@lru_cache(maxsize=64)
def _phase_columns(operation: Depthwise) -> dict[int, int]:
    """For the first tap of each phase, how many columns its weights have."""
    window, stride = operation.window, operation.window.strides[1]
    columns: dict[int, int] = {}
    for tap in range(window.kernel[1]):
        column, first = divmod(tap * window.dilations[1], stride)
        columns[first] = column + 1
    return columns


def _pitch(operation: Depthwise, mapping: Mapping, columns: int) -> int:
    """Elements from one row of a phase's weights to the next: zeros for all shifts, or a row of the patch."""
    if mapping.through_rows:
        return _row_pixels(operation, mapping) // operation.window.strides[1]
    return mapping.outputs + columns - 1


def _phases(operation: Depthwise, mapping: Mapping) -> tuple[_Phase, ...]:
    window, stride = operation.window, operation.window.strides[1]
    row_step = window.dilations[0] if mapping.through_rows else 1
    rows, channels = _kernel_rows(operation, mapping.through_rows), operation.weights.shape[1]
    taps = operation.weights.reshape(*window.kernel, channels)
    phases = []
    for first, columns in _phase_columns(operation).items():
        weights = np.zeros((channels, rows, columns), taps.dtype)
        for tap in range(window.kernel[1]):
            column, phase = divmod(tap * window.dilations[1], stride)
            if phase == first:
                weights[:, ::row_step, column] = taps[:, tap].T
        pitch = _pitch(operation, mapping, columns)
        phases.append(_Phase(first, np.ascontiguousarray(weights[:, ::-1, ::-1]), pitch))
    return tuple(phases)


def _blocks(mapping: Mapping) -> list[Range]:
    width, step = mapping.tile[2], mapping.outputs
    return [(first, min(first + step, width)) for first in range(0, width, step)]


def emit_toeplitz(
    assembly: Assembly, kernel: Kernel, operation: Depthwise, scratchpad: Scratchpad, mapping: Mapping
) -> None:
    """The commands of a kernel whose head is a depthwise convolution."""
    halves = (0, assembly.config.accumulator_entries // 2)
    tiles = prepare_tiles(needs_of(kernel), operation, scratchpad, mapping, halves)
    batch, height, width, channels = depthwise_shape(operation)
    pending: Pending = deque()
    # channels are the outer loop: their weights stay while the image passes
    outer, inner = (channels, batch, height, width), (mapping.tile[3], *mapping.tile[:3])
    for number, (channel_range, *rest) in enumerate(ranges_of(outer, inner)):
        # the tile before the last has the places that this one takes
        while pending and pending[0][0] < number - 1:
            pending.popleft()[1]()
        emit_tile(assembly, tiles, (*rest, channel_range), number, pending)
    for _, emit in pending:
        emit()


def prepare_tiles(
    needs: Needs,
    operation: Depthwise,
    scratchpad: Scratchpad,
    mapping: Mapping,
    sums: tuple[int, int],
    produce: Produce | None = None,
) -> Tiles:
    """Takes the space that the tiles of a mapping need; `produce` makes the patches where they are not loaded."""
    channels, phases = mapping.tile[3], _phases(operation, mapping)
    slots = scratchpad.slots(_patch_bytes(operation, mapping), 2)
    return Tiles(
        needs.kernel,
        operation,
        mapping,
        Patches(operation, padded_input(operation), slots, _row_pixels(operation, mapping), produce),
        phases,
        tuple(scratchpad.slots(phase.bytes(channels), 2) for phase in phases),
        scratchpad.slots(channels * SCALE_BYTES, 2),
        needs.reserve(scratchpad, mapping.tile),
        sums,
    )


def emit_tile(
    assembly: Assembly,
    tiles: Tiles,
    ranges: Sequence[Range],
    number: int,
    pending: Pending,
    resident: dict[int, Placed] | None = None,
) -> None:
    """Tile `number` of the output. Its drains go to `pending`, of which some of earlier ones are emitted; the values of
    `resident` have a place already, where they stay."""
    kernel = tiles.kernel
    assembly.layer = kernel.layer
    _, rows, columns, channels = counts_of(ranges)
    weights = _place_weights(assembly, tiles, ranges[3])
    scale = _place_scale(assembly, tiles, ranges[3])
    patch = tiles.patches.place(assembly, ranges)
    views = tiles.places.load_views(assembly, ranges)
    values = {**tiles.places.place_values(ranges), **(resident or {})}
    base = tiles.sums[number % 2]
    mapping = replace(tiles.mapping, tile=(1, rows, columns, channels))
    for channel in range(channels):
        for block in _blocks(mapping):
            sums = base + (channel * columns + block[0]) * rows
            assembly.layer = kernel.layer
            _emit_products(assembly, tiles, patch, weights, channel, rows, block, sums)

            def drain(channel: int = channel, block: Range = block, sums: int = sums) -> None:
                _drain(assembly, tiles, sums, rows, block, channel, scale, values, views)

            pending.append((number, drain))
            while len(pending) > LAG:
                pending.popleft()[1]()
    if resident is None:
        pending.append((number, lambda: store_values(assembly, kernel, ranges, values)))


def _place_weights(assembly: Assembly, tiles: Tiles, channels: Range) -> list[int]:
    """The weights of each phase between zeros."""
    addresses = []
    for phase, slots in zip(tiles.phases, tiles.weight_slots, strict=True):
        address, present = slots.place(channels)
        addresses.append(address)
        if not present:
            part = phase.weights[channels[0] : channels[1]]
            dram, rows = assembly.constant(part), part.shape[0] * part.shape[1]
            # what shifts a row by all outputs
            before = tiles.mapping.outputs - 1
            assembly.load_between_zeros(
                dram, address, str(part.dtype), (rows, phase.columns), before, phase.pitch
            )
    return addresses


def _place_scale(assembly: Assembly, tiles: Tiles, channels: Range) -> int:
    """Bias, multiplier and shift of one channel after the other."""
    address, present = tiles.scale_slots.place(channels)
    if not present:
        parts = [packed_scale(tiles.operation.scale, 0, c, c + 1) for c in range(*channels)]
        packed = np.concatenate(parts)
        assembly.load_constant(assembly.constant(packed), address, "int64", packed.size // BYTES["int64"])
    return address


def _emit_products(
    assembly: Assembly,
    tiles: Tiles,
    patch: Placed,
    weights: Sequence[int],
    channel: int,
    rows: int,
    block: Range,
    sums: int,
) -> None:
    """Everything that is summed for `rows` × `block` outputs of a channel."""
    mapping, window = tiles.mapping, tiles.operation.window
    _, row_bytes, pixel_bytes, element = patch.strides
    pitch, step = row_bytes * window.strides[0], pixel_bytes * window.strides[1]
    kernel_rows, outputs, first = tiles.phases[0].weights.shape[1], block[1] - block[0], True
    for phase, address in zip(tiles.phases, weights, strict=True):
        dtype, weight = str(phase.weights.dtype), phase.weights.itemsize
        pixel = patch.address + channel * element + (block[0] * window.strides[1] + phase.first) * pixel_bytes
        for row in range(1 if mapping.through_rows else kernel_rows):
            through = (kernel_rows - 1) * phase.pitch if mapping.through_rows else 0
            a = Matrix(pixel + row * window.dilations[0] * row_bytes, patch.dtype, pitch, step)
            line = channel * kernel_rows + (0 if mapping.through_rows else kernel_rows - 1 - row)
            # the weight of the first pixel for the first output is the last that B reads
            last = line * phase.pitch + through + mapping.outputs + phase.columns - 2
            b = Matrix(address + last * weight, dtype, -weight)
            depth = _depth(tiles.operation, mapping, outputs, phase.columns)
            assembly.gemm(a, b, rows, depth, outputs, sums, accumulate=not first)
            first = False


def _drain(
    assembly: Assembly,
    tiles: Tiles,
    sums: int,
    rows: int,
    block: Range,
    channel: int,
    scale: int,
    values: dict[int, Placed],
    views: Sequence[Placed],
) -> None:
    """Drains a block of sums of a channel through the steps that follow."""
    kernel, outputs = tiles.kernel, block[1] - block[0]
    parts = {value: _part(placed, block[0], channel) for value, placed in values.items()}
    assembly.layer = kernel.layer
    address = scale + channel * SCALE_BYTES
    assembly.drain(sums, rows, outputs, address, kernel.nodes[0].dtype, parts.get(0), shared=True)
    view_parts = [_part(placed, block[0], channel) for placed in views]
    run_steps(assembly, tiles.places, (rows, outputs), parts, view_parts)


def _part(placed: Placed, first: int, channel: int) -> Placed:
    """The pixels from column `first` on of one channel of a tile."""
    _, row, pixel, element = placed.strides
    return Placed(placed.address + first * pixel + channel * element, placed.dtype, (row, pixel))
