"""Which products run together with a depthwise convolution, and in which tiles: what takes the fewest estimated cycles."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from targets.gemm_accel.codegen.beats import beats_per_element
from targets.gemm_accel.codegen.buffers import Buffer
from targets.gemm_accel.codegen.depthwise import best_tile, choose_depthwise, drain_cycles, tile_cycles
from targets.gemm_accel.codegen.depthwise_patches import Shape, patch_extents, tile_count, transfer_cycles
from targets.gemm_accel.codegen.gemm import gemm_cycles
from targets.gemm_accel.codegen.kernels import Kernel
from targets.gemm_accel.codegen.nodes import Depthwise, Gemm
from targets.gemm_accel.codegen.scratchpad import aligned
from targets.gemm_accel.codegen.separable import Separable, gemm_of, separables, stored_views
from targets.gemm_accel.codegen.steps import Needs, needs_of
from targets.gemm_accel.codegen.tiling import COMMAND_CYCLES, SCALE_BYTES, pass_cycles
from targets.gemm_accel.config import AcceleratorConfig


def separable_of(
    kernels: Sequence[Kernel], is_passed: Callable[[Buffer], bool], config: AcceleratorConfig, space: int
) -> tuple[Separable, Shape] | None:
    """What of the first kernels is faster together than one after the other in `space` bytes each; None where nothing is.

    `is_passed` says of a buffer whether one kernel alone writes it and one alone reads it.
    """
    alone: dict[Kernel, float] = {}
    best: tuple[float, Separable, Shape] | None = None
    for separable in separables(kernels, is_passed):
        chosen = _Estimate(separable, config).best()
        if chosen is None:
            continue
        for kernel in separable.kernels:
            if kernel not in alone:
                alone[kernel] = _cycles_alone(kernel, config, space)
        saved = sum(alone[kernel] for kernel in separable.kernels) - chosen[0]
        if saved > 0 and (best is None or saved > best[0]):
            best = (saved, separable, chosen[1])
    return None if best is None else best[1:]


def _cycles_alone(kernel: Kernel, config: AcceleratorConfig, space: int) -> float:
    if kernel.head is not None and isinstance(kernel.head.operation, Gemm):
        return gemm_cycles(kernel, config, space)
    return choose_depthwise(kernel, config, space)[0]


def image_patch(operation: Depthwise, tile: Shape) -> tuple[int, int]:
    """The rows and columns of the image, without padding, that a tile's patch holds at most."""
    rows, columns = patch_extents(operation, tile)
    return min(rows, operation.x.shape[2]), min(columns, operation.x.shape[3])


@dataclass(frozen=True)
class Sums:
    """The accumulators: one place for the sums of a tile, or two that are taken in turn; the product before takes turns in
    two, which have as many as are left."""

    depthwise: tuple[int, ...]
    behind: tuple[int, ...]
    before: tuple[int, int]
    before_count: int


def sums_of(separable: Separable, tile: Shape, config: AcceleratorConfig) -> Sums | None:
    """Where the sums of a tile lie; None when there are too few accumulators.

    With two places the array goes on with what comes next while a tile is drained. With one the product before has more
    sums: that is better where it makes patches in fewer parts.
    """
    patch = (0, 0) if separable.before is None else image_patch(separable.operation, tile)
    choices = [_sums(separable, tile, config, places) for places in (2, 1)]
    fitting = [sums for sums in choices if sums.before_count >= patch[1] * tile[3]]
    whole = math.prod(patch) * tile[3]
    return min(fitting, key=lambda sums: math.ceil(whole / max(sums.before_count, 1)), default=None)


def _sums(separable: Separable, tile: Shape, config: AcceleratorConfig, places: int) -> Sums:
    """With so many places for a tile; the product before has a negative number where there are too few."""
    _, rows, columns, block = tile
    own = rows * columns * block
    behind = rows * columns * gemm_of(separable.behind).b.shape[2] if separable.behind else 0
    first = places * (own + behind)
    left = (config.accumulator_entries - first) // 2
    return Sums(
        tuple(place * own for place in range(places)),
        tuple(places * own + place * behind for place in range(places)),
        (first, first + left),
        left,
    )


def image_tiles(operation: Depthwise, tile: Shape) -> int:
    """Into how many tiles, with all channels, the image falls."""
    return tile_count(operation, (*tile[:3], int(operation.weights.shape[1])))


def operand_places(operation: Depthwise, tile: Shape) -> int:
    """How many operands of the product before have places: two, so that the next is loaded meanwhile, where there is one."""
    return min(image_tiles(operation, tile), 2)


def weight_places(separable: Separable, tile: Shape, config: AcceleratorConfig) -> int:
    """For how many blocks of channels the weights of the product behind have places on chip: for all, which then stay from
    tile to tile, where these take up to half of it, or else for two that take turns."""
    assert separable.behind is not None
    weights = gemm_of(separable.behind).b
    _, channels, outputs = weights.shape
    blocks = math.ceil(channels / tile[3])
    size = blocks * aligned(tile[3] * outputs * weights.buffer.element_bytes)
    stay = image_tiles(separable.operation, tile) > 1 and 2 * size <= config.scratchpad_bytes
    return blocks if stay else min(blocks, 2)


@dataclass(frozen=True)
class _Product:
    """A product with a constant: rows, depth and columns, how often A streams, bytes of elements, what its steps keep."""

    depth: int
    columns: int
    streams: int
    a_bytes: int
    b_bytes: int
    needs: Needs

    def array_cycles(self, pixels: int, depth: int, columns: int, config: AcceleratorConfig) -> int:
        """The array's cycles for so many rows, depths and columns."""
        return math.ceil(columns / config.columns) * pass_cycles(pixels * self.streams, depth, config.rows)

    def constant_bytes(self, depth: int, columns: int) -> int:
        """The scratchpad for so much of the constant."""
        return aligned(depth * columns * self.b_bytes)


def _product(kernel: Kernel, shape: Kernel, passed: frozenset[Buffer]) -> _Product:
    gemm = gemm_of(kernel)
    _, depth, columns = gemm.b.shape
    streams = 2 if gemm.a.buffer.dtype == "int32" else 1
    sizes = gemm.a.buffer.element_bytes, gemm.b.buffer.element_bytes
    return _Product(depth, columns, streams, *sizes, needs_of(shape, passed))


class _Estimate:
    """What the tiles of a separable convolution take, for any tile."""

    def __init__(self, separable: Separable, config: AcceleratorConfig) -> None:
        self._separable, self._config = separable, config
        self._operation = operation = separable.operation
        self._channels, passed = int(operation.weights.shape[1]), separable.passed
        self._needs, width = needs_of(separable.depthwise, passed), config.dram_bytes_per_cycle
        self._before = self._behind = None
        if separable.before is not None:
            self._before = _product(separable.before, separable.before, passed)
            self._load_beats = beats_per_element(gemm_of(separable.before).a, width)
        if separable.behind is not None and separable.behind_image is not None:
            self._behind = _product(separable.behind, separable.behind_image, passed)
            moved = [*separable.behind.views(), *stored_views(separable.behind)]
            self._store_beats = sum(beats_per_element(view, width) for view in moved)

    def best(self) -> tuple[float, Shape] | None:
        """The fewest cycles, and the tile that takes them; None when no tile fits."""
        config = self._config
        return best_tile(self._operation, config, self._bytes, config.scratchpad_bytes, self._cycles)

    def _bytes(self, tile: Shape) -> int:
        """The scratchpad for all but the patch, the weights and the scales of the depthwise convolution."""
        _, rows, columns, block = tile
        total = self._needs.bytes(tile)
        if self._before is not None:
            before, pixels = self._before, math.prod(image_patch(self._operation, tile))
            total += operand_places(self._operation, tile) * aligned(pixels * before.depth * before.a_bytes)
            total += 2 * (before.constant_bytes(before.depth, block) + aligned(block * SCALE_BYTES))
            total += SCALE_BYTES + before.needs.bytes((1, pixels, block))
        if self._behind is not None:
            behind, places = self._behind, weight_places(self._separable, tile, self._config)
            total += 2 * aligned(rows * columns * block * behind.a_bytes)
            total += places * behind.constant_bytes(block, behind.columns)
            total += aligned(behind.columns * SCALE_BYTES) + behind.needs.bytes((*tile[:3], behind.columns))
        return total

    def _cycles(self, tile: Shape) -> float:
        """What takes longest in all tiles, the array, the drain unit or the DRAM, and what the first tile's load
        and the last one's drain and store add; infinite where there are too few accumulators."""
        sums = sums_of(self._separable, tile, self._config)
        if sums is None:
            return math.inf
        (_, rows, columns, block), config, channels = tile, self._config, self._channels
        tiles, blocks = image_tiles(self._operation, tile), math.ceil(channels / block)
        array = blocks * (tile_cycles(self._operation, tile, config) + COMMAND_CYCLES)
        drain = last_drain = blocks * drain_cycles(tile, config)
        first_load, last_store = transfer_cycles(self._operation, tile, config)
        load, store = blocks * first_load, blocks * last_store
        constants, resident = self._operation.weights.nbytes + channels * SCALE_BYTES, 0
        if self._before is not None:
            before, pixels = self._before, math.prod(image_patch(self._operation, tile))
            array += blocks * before.array_cycles(pixels, before.depth, block, config)
            parts = math.ceil(pixels * block / sums.before_count)
            array += blocks * (parts - 1) * (config.rows + config.columns)
            drain += blocks * math.ceil(block / config.columns) * pixels
            load = first_load = pixels * before.depth * self._load_beats
            constants += blocks * (before.constant_bytes(before.depth, block) + block * SCALE_BYTES)
        if self._behind is not None:
            behind, pixels = self._behind, rows * columns
            array += blocks * behind.array_cycles(pixels, block, behind.columns, config)
            last_drain = math.ceil(behind.columns / config.columns) * pixels
            drain += last_drain
            store = last_store = pixels * behind.columns * self._store_beats
            weights = blocks * behind.constant_bytes(block, behind.columns)
            if weight_places(self._separable, tile, config) == blocks:
                resident = weights
            else:
                constants += weights
        width = config.dram_bytes_per_cycle
        each = max(array, drain, load + store + constants / width)
        return (
            max(tiles * each, (tiles * constants + resident) / width) + first_load + last_drain + last_store
        )
