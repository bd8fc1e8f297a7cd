"""Kernels that a gemm heads: the product in tiles, drained through the steps that follow it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from targets.gemm_accel.codegen.assembly import Assembly, Matrix
from targets.gemm_accel.codegen.bands import WHOLE, Band
from targets.gemm_accel.codegen.beats import beats_per_element
from targets.gemm_accel.codegen.buffers import BYTES, Buffer
from targets.gemm_accel.codegen.kernels import Kernel
from targets.gemm_accel.codegen.nodes import ColumnScale, Gemm
from targets.gemm_accel.codegen.pipeline import pipelined_cycles
from targets.gemm_accel.codegen.scratchpad import Scratchpad, Slots, aligned
from targets.gemm_accel.codegen.steps import Needs, Places, needs_of, run_steps, store_values
from targets.gemm_accel.codegen.tile_choice import choose_tile
from targets.gemm_accel.codegen.tiles import Placed, counts_of
from targets.gemm_accel.codegen.tiling import (
    SCALE_BYTES,
    GemmShape,
    GemmTile,
    places_of,
)
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.codegen.views import View, numpy_value
from targets.gemm_accel.config import AcceleratorConfig


@dataclass(frozen=True)
class _Tiles:
    """A kernel's gemm with everything that its tiles need."""

    kernel: Kernel
    gemm: Gemm
    shape: GemmShape
    tile: GemmTile
    a: Slots
    b: Slots
    scale: Slots
    places: Places
    packed_b: dict[tuple[int, int, int], int]
    packed_scale: dict[tuple[int, int], int]
    halves: int
    band: Band = WHOLE


def emit_gemm(assembly: Assembly, kernel: Kernel, scratchpad: Scratchpad) -> None:
    """The commands of a kernel whose head is a gemm."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Gemm)
    gemm, needs = kernel.head.operation, needs_of(kernel)
    shape, tile = _choose(kernel, assembly.config, scratchpad.limit - scratchpad.base)
    tiles = _prepare(assembly, needs, gemm, scratchpad, shape, tile)
    rows, columns = _ranges(shape.m, tile.m), _ranges(shape.n, tile.n)
    number = 0
    for group in range(shape.groups):
        if tile.rows_outside:
            order = [(r, c) for r in rows for c in columns]
        else:
            order = [(r, c) for c in columns for r in rows]
        for row_range, column_range in order:
            _emit_tile(assembly, tiles, group, row_range, column_range, number)
            number += 1


def gemm_cycles(kernel: Kernel, config: AcceleratorConfig, space: int) -> float:
    """Estimated cycles of a kernel whose head is a gemm, in `space` bytes of the scratchpad."""
    return pipelined_cycles(*_choose(kernel, config, space))


@lru_cache(maxsize=16)
def _choose(kernel: Kernel, config: AcceleratorConfig, space: int) -> tuple[GemmShape, GemmTile]:
    assert kernel.head is not None and isinstance(kernel.head.operation, Gemm)
    needs, shape = needs_of(kernel), _shape(config, kernel, kernel.head.operation)
    entries = config.accumulator_entries
    return shape, choose_tile(shape, entries, space, lambda m, n: needs.bytes((1, m, n)))


def gemm_bands(
    assembly: Assembly, kernel: Kernel, scratchpad: Scratchpad, rows: int, resident: frozenset[Buffer]
) -> Callable[[Band], None]:
    """What emits one band of `rows` rows of a kernel whose head is a gemm with a constant, as one tile."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Gemm)
    gemm = kernel.head.operation
    shape = _shape(assembly.config, kernel, gemm)
    tile = GemmTile(rows, shape.n, shape.k, True)
    tiles = _prepare(assembly, needs_of(kernel, resident), gemm, scratchpad, shape, tile)

    def emit(band: Band) -> None:
        ranges = band.span(shape.m), (0, shape.n)
        _emit_tile(assembly, replace(tiles, band=band), 0, *ranges, band.number)

    return emit


def banded_bytes(kernel: Kernel, count: int, resident: frozenset[Buffer]) -> tuple[int, int]:
    """Scratchpad bytes of a kernel's constant operand, and of the other tiles of its gemm in `count` bands."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Gemm)
    a, b = kernel.head.operation.a, kernel.head.operation.b
    a_bytes = 0 if a.buffer in resident else aligned(a.size // count * a.buffer.element_bytes)
    return aligned(b.size * b.buffer.element_bytes), 2 * (a_bytes + aligned(b.shape[2] * SCALE_BYTES))


def _ranges(extent: int, step: int) -> list[Range]:
    return [(start, min(start + step, extent)) for start in range(0, extent, step)]


def _shape(config: AcceleratorConfig, kernel: Kernel, gemm: Gemm) -> GemmShape:
    groups, m, k = gemm.a.shape
    n = gemm.b.shape[2]
    width = config.dram_bytes_per_cycle
    b_is_constant = gemm.b.buffer.value is not None
    moved = [view for views in kernel.stores.values() for view in views]
    moved += [view for view in kernel.views() if not _repeats(view)]
    return GemmShape(
        groups,
        m,
        n,
        k,
        gemm.a.buffer.element_bytes,
        gemm.b.buffer.element_bytes,
        beats_per_element(gemm.a, width),
        gemm.b.buffer.element_bytes / width if b_is_constant else beats_per_element(gemm.b, width),
        sum(beats_per_element(view, width) for view in moved),
        config.rows,
        config.columns,
        gemm.a.buffer.dtype == "int32",
        config.dram_latency_cycles,
    )


def _repeats(view: View) -> bool:
    """Whether tiles of the view can stay while the gemm goes on, as those of a row or a column do."""
    return any(all(factor.repeats for factor in axis) for axis in view.axes if axis)


def _prepare(
    assembly: Assembly, needs: Needs, gemm: Gemm, scratchpad: Scratchpad, shape: GemmShape, tile: GemmTile
) -> _Tiles:
    a_places, b_places = places_of(shape, tile)
    if gemm.a.buffer in needs.resident:
        a_places = 0
    single = tile.m >= shape.m and tile.n >= shape.n and shape.groups == 1
    return _Tiles(
        needs.kernel,
        gemm,
        shape,
        tile,
        scratchpad.slots(tile.m * tile.k * shape.a_bytes, a_places),
        scratchpad.slots(tile.k * tile.n * shape.b_bytes, b_places),
        scratchpad.slots(tile.n * SCALE_BYTES, 2),
        needs.reserve(scratchpad, (1, tile.m, tile.n)),
        {} if gemm.b.buffer.value is None else _packed_b(assembly, gemm, tile),
        _packed_scales(assembly, gemm.scale, shape.n, tile.n),
        1 if single else 2,
    )


def _packed_b(assembly: Assembly, gemm: Gemm, tile: GemmTile) -> dict[tuple[int, int, int], int]:
    """Each tile of a constant B laid out densely in the constant region, by (group, first row, first
    column)."""
    value = numpy_value(gemm.b)
    groups, k, n = value.shape
    return {
        (group, row, column): assembly.constant(value[group, row : row + tile.k, column : column + tile.n])
        for group in range(groups)
        for column in range(0, n, tile.n)
        for row in range(0, k, tile.k)
    }


def _packed_scales(
    assembly: Assembly, scale: ColumnScale, columns: int, step: int
) -> dict[tuple[int, int], int]:
    """Bias, multipliers and shifts of each tile of columns in the constant region, by (set, first column)."""
    return {
        (number, first): assembly.constant(packed_scale(scale, number, first, min(first + step, columns)))
        for number in range(len(scale.bias))
        for first in range(0, columns, step)
    }


def packed_scale(scale: ColumnScale, number: int, first: int, stop: int) -> np.ndarray:
    """The bytes of a tile of columns: int64 biases, int32 multipliers, int32 shifts."""
    parts = (
        scale.bias[number, first:stop].astype("<i8"),
        scale.multiplier[number, first:stop].astype("<i4"),
        scale.shift[number, first:stop].astype("<i4"),
    )
    return np.frombuffer(b"".join(part.tobytes() for part in parts), np.uint8)


def load_scale(assembly: Assembly, scale: ColumnScale, columns: Range, address: int) -> None:
    """Brings the scales of some columns, all of one set, to the scratchpad."""
    packed = packed_scale(scale, 0, *columns)
    assembly.load_constant(assembly.constant(packed), address, "int64", packed.size // BYTES["int64"])


def _emit_tile(
    assembly: Assembly, tiles: _Tiles, group: int, rows: Range, columns: Range, number: int
) -> None:
    kernel, shape = tiles.kernel, tiles.shape
    assembly.layer = kernel.layer
    m, n = rows[1] - rows[0], columns[1] - columns[0]
    accumulator = (number % tiles.halves) * (assembly.config.accumulator_entries // tiles.halves)
    # constants first: they need not wait for the kernel before to store its results
    scale = _place_scale(assembly, tiles, group, columns)
    for depth in _ranges(shape.k, tiles.tile.k):
        b = _place_b(assembly, tiles, group, depth, columns)
        a = _place_a(assembly, tiles, group, rows, depth)
        assembly.gemm(a, b, m, depth[1] - depth[0], n, accumulator, accumulate=depth[0] > 0)
    ranges = ((group, group + 1), rows, columns)
    views = tiles.places.load_views(assembly, ranges, tiles.band)
    values = tiles.places.place_values(ranges, tiles.band)
    assembly.layer = kernel.layer
    assembly.drain(accumulator, (1, m, n), scale, kernel.nodes[0].dtype, values.get(0))
    run_steps(assembly, tiles.places, counts_of(ranges), values, views)
    store_values(assembly, kernel, ranges, values, tiles.band)


def _place_a(assembly: Assembly, tiles: _Tiles, group: int, rows: Range, depth: Range) -> Matrix:
    view = tiles.gemm.a
    element = view.buffer.element_bytes
    count = depth[1] - depth[0]
    ranges = ((group, group + 1), rows, depth)
    if view.buffer in tiles.band.places:
        placed = tiles.band.place(view, ranges)
        return Matrix(placed.address, placed.dtype, placed.strides[1])
    address, present = tiles.a.place(ranges)
    place = Placed(address, view.buffer.dtype, (0, count * element, element))
    if not present:
        assembly.load(view, ranges, place)
    return Matrix(address, view.buffer.dtype, count * element)


def _place_b(assembly: Assembly, tiles: _Tiles, group: int, depth: Range, columns: Range) -> Matrix:
    view = tiles.gemm.b
    element = view.buffer.element_bytes
    count = columns[1] - columns[0]
    ranges = ((group, group + 1), depth, columns)
    address, present = tiles.b.place(ranges)
    if not present:
        packed = tiles.packed_b.get((group, depth[0], columns[0]))
        if packed is None:
            assembly.load(view, ranges, Placed(address, view.buffer.dtype, (0, count * element, element)))
        else:
            assembly.load_constant(packed, address, view.buffer.dtype, (depth[1] - depth[0]) * count)
    return Matrix(address, view.buffer.dtype, count * element)


def _place_scale(assembly: Assembly, tiles: _Tiles, group: int, columns: Range) -> int:
    sets = len(tiles.gemm.scale.bias)
    key = (group if sets > 1 else 0, columns[0])
    address, present = tiles.scale.place(key)
    if not present:
        count = (columns[1] - columns[0]) * SCALE_BYTES // BYTES["int64"]
        assembly.load_constant(tiles.packed_scale[key], address, "int64", count)
    return address
