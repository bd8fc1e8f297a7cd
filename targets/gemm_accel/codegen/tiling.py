"""The tile sizes of a gemm: the choice with the least estimated time among those that fit on chip."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from targets.gemm_accel.codegen.scratchpad import aligned
from targets.gemm_accel.codegen.tiles import balanced

TRANSFER_CYCLES = 16
"""What a further transfer is taken to cost beside its beats, so that equal choices prefer larger tiles."""
COMMAND_CYCLES = 16
"""What a further command of the array is taken to cost beside its work, for the same reason."""


@dataclass(frozen=True)
class GemmShape:
    """A product [groups, m, k]·[groups, k, n] on an array; sizes in bytes, `*_beats` DRAM cycles an
    element."""

    groups: int
    m: int
    n: int
    k: int
    a_bytes: int
    b_bytes: int
    a_beats: float
    b_beats: float
    output_beats: float
    array_rows: int
    array_columns: int
    wide: bool


@dataclass(frozen=True)
class GemmTile:
    """Extents of a tile. `rows_outside`: the tiles of rows are the outer loop, those of columns the inner
    one."""

    m: int
    n: int
    k: int
    rows_outside: bool


def choose_tile(
    shape: GemmShape, accumulator_entries: int, scratchpad_bytes: int, step_bytes: Callable[[int, int], int]
) -> GemmTile:
    """The tile of least estimated cycles; `step_bytes` gives what the epilogue needs for a tile of m rows,
    n columns."""
    best: tuple[float, GemmTile] | None = None
    for m, n in itertools.product(_sizes(shape.m, shape.array_rows), _sizes(shape.n, shape.array_columns)):
        single = m >= shape.m and n >= shape.n and shape.groups == 1
        if m * n > accumulator_entries // (1 if single else 2):
            continue
        room = scratchpad_bytes - step_bytes(m, n)
        for tile in _fitting_depths(shape, m, n, room):
            cycles = estimated_cycles(shape, tile)
            if best is None or cycles < best[0]:
                best = (cycles, tile)
    assert best is not None, "a tile of one element fits into every accelerator"
    return best[1]


def _fitting_depths(shape: GemmShape, m: int, n: int, room: int) -> list[GemmTile]:
    """The tiles of m rows and n columns in both orders, as deep as fits."""
    for k in reversed(_sizes(shape.k, shape.array_rows)):
        tile = GemmTile(m, n, k, False)
        if operand_bytes(shape, tile) <= room:
            return [tile, GemmTile(m, n, k, True)]
    return []


def _sizes(extent: int, unit: int) -> list[int]:
    """Tile extents worth trying: the whole, equal parts of it in whole units, and less than a unit for tiny
    memories."""
    sizes = {extent, min(extent, unit), 1}
    size = unit
    while size < extent:
        for near in (size, size + size // 2):
            part = balanced(extent, min(near, extent))
            sizes |= {min(near, extent), min(extent, -(-part // unit) * unit)}
        size *= 2
    return sorted(sizes)


def places_of(shape: GemmShape, tile: GemmTile) -> tuple[int, int]:
    """How many tiles of A and of B are held at a time: two while they change, so that the next is loaded
    meanwhile."""
    a_changes = shape.groups > 1 or tile.m < shape.m or tile.k < shape.k
    b_changes = shape.groups > 1 or tile.n < shape.n or tile.k < shape.k
    return 2 if a_changes else 1, 2 if b_changes else 1


SCALE_BYTES = 16
"""Bias, multiplier and shift of a column."""


def operand_bytes(shape: GemmShape, tile: GemmTile) -> int:
    """Scratchpad bytes of the tiles of A, B and the columns' scales."""
    a_places, b_places = places_of(shape, tile)
    a = a_places * aligned(tile.m * tile.k * shape.a_bytes)
    b = b_places * aligned(tile.k * tile.n * shape.b_bytes)
    return a + b + 2 * aligned(tile.n * SCALE_BYTES)


def estimated_cycles(shape: GemmShape, tile: GemmTile) -> float:
    """The longer of array and DRAM time, plus what the first load and the last store add."""
    m_tiles, n_tiles = math.ceil(shape.m / tile.m), math.ceil(shape.n / tile.n)
    k_tiles = math.ceil(shape.k / tile.k)
    blocks = math.ceil(tile.k / shape.array_rows) * math.ceil(tile.n / shape.array_columns)
    compute = blocks * max(tile.m * (2 if shape.wide else 1), shape.array_rows)
    compute = (compute + COMMAND_CYCLES) * m_tiles * n_tiles * k_tiles * shape.groups
    a_loads, b_loads = (1, m_tiles) if tile.rows_outside else (n_tiles, 1)
    if k_tiles > 1:
        a_loads, b_loads = n_tiles, m_tiles
    elif n_tiles == 1:
        b_loads = 1
    elif m_tiles == 1:
        a_loads = 1
    transfers = a_loads * m_tiles * k_tiles + b_loads * n_tiles * k_tiles + m_tiles * n_tiles
    dram = shape.groups * (
        a_loads * shape.m * shape.k * shape.a_beats
        + b_loads * shape.k * shape.n * shape.b_beats
        + shape.m * shape.n * shape.output_beats
        + transfers * TRANSFER_CYCLES
    )
    first = tile.m * tile.k * shape.a_beats + tile.k * tile.n * shape.b_beats
    last = tile.m * tile.n * (shape.output_beats + 1.0 / shape.array_columns)
    return max(compute, dram) + first + last
