"""A gemm in tiles: what its tiles take on chip, and how long they occupy the array and the DRAM."""

import math
from dataclasses import dataclass

from targets.gemm_accel.codegen.scratchpad import aligned

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
    dram_latency_cycles: int

    @property
    def streams(self) -> int:
        """How often A streams."""
        return 2 if self.wide else 1


@dataclass(frozen=True)
class GemmTile:
    """Extents of a tile. `rows_outside`: the tiles of rows are the outer loop, those of columns the inner
    one."""

    m: int
    n: int
    k: int
    rows_outside: bool


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


@dataclass(frozen=True)
class Estimate:
    """What the array and the DRAM's port are occupied by all tiles, in cycles."""

    compute: float
    dram: float


def estimate_of(shape: GemmShape, tile: GemmTile) -> Estimate:
    """The cycles of a gemm on each unit, as if neither ever waited for the other."""
    m_tiles, n_tiles = math.ceil(shape.m / tile.m), math.ceil(shape.n / tile.n)
    k_tiles = math.ceil(shape.k / tile.k)
    columns = _units(shape.n, tile.n, shape.array_columns)
    compute = columns * _passes(shape, tile) + COMMAND_CYCLES * m_tiles * n_tiles * k_tiles
    compute *= shape.groups
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
    return Estimate(compute, dram)


def _units(extent: int, step: int, unit: int) -> int:
    """Into how many units of the array the tiles of an axis fall, the last one's part included."""
    whole, rest = divmod(extent, step)
    return whole * math.ceil(step / unit) + math.ceil(rest / unit)


def _passes(shape: GemmShape, tile: GemmTile) -> int:
    """The cycles of all tiles of rows and of the inner dimension, for one block of columns."""
    return sum(
        count * depths * pass_cycles(rows * shape.streams, depth, shape.array_rows)
        for rows, count in _steps(shape.m, tile.m)
        for depth, depths in _steps(shape.k, tile.k)
    )


def _steps(extent: int, step: int) -> list[tuple[int, int]]:
    """The extents of the tiles of an axis, each with their count."""
    whole, rest = divmod(extent, step)
    return [(step, whole), *([(rest, 1)] if rest else [])]


def pass_cycles(streamed: int, depth: int, array_rows: int) -> int:
    """The cycles of the array for one block of columns: a pass for each block of rows of B streams all rows of A, and takes
    no less than these weights take to fill behind the pass before."""
    whole, rest = divmod(depth, array_rows)
    return whole * max(streamed, array_rows) + (max(streamed, rest) if rest else 0)
