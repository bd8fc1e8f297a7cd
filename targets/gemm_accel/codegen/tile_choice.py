"""The tile sizes of a gemm: of all that fit on chip, those that take least time in a replica of the timing model."""

import itertools
from collections.abc import Callable
from functools import cache, lru_cache

from targets.gemm_accel.codegen.pipeline import pipelined_cycles
from targets.gemm_accel.codegen.tiles import balanced
from targets.gemm_accel.codegen.tiling import Estimate, GemmShape, GemmTile, estimate_of, operand_bytes

FINALISTS = 16
"""How many choices, the best by the sums of their work, are run step by step."""
TRAFFIC_WEIGHT = 1 / 16
"""What a cycle of the DRAM counts that the array hides: the kernels around this one need the DRAM too."""


def choose_tile(
    shape: GemmShape, accumulator_entries: int, scratchpad_bytes: int, step_bytes: Callable[[int, int], int]
) -> GemmTile:
    """The tile of least estimated cycles; `step_bytes` gives what the epilogue needs for a tile of m rows,
    n columns."""
    rooms: list[tuple[int, int, int]] = []
    for m, n in itertools.product(_sizes(shape.m, shape.array_rows), _sizes(shape.n, shape.array_columns)):
        single = m >= shape.m and n >= shape.n and shape.groups == 1
        if m * n <= accumulator_entries // (1 if single else 2):
            rooms.append((m, n, scratchpad_bytes - step_bytes(m, n)))
    return _best_tile(shape, tuple(rooms))


@lru_cache(maxsize=256)
def _best_tile(shape: GemmShape, rooms: tuple[tuple[int, int, int], ...]) -> GemmTile:
    """The tile of least estimated cycles out of those of so many rows and columns whose operands have so many bytes; a
    network's equal layers ask for it again."""
    candidates: list[tuple[float, int, GemmTile]] = []
    for m, n, room in rooms:
        for tile in _fitting_depths(shape, m, n, room):
            candidates.append((_weighted(estimate_of(shape, tile)), len(candidates), tile))
    assert candidates, "a tile of one element fits into every accelerator"
    finalists = [tile for _, _, tile in sorted(candidates)[:FINALISTS]]
    return min(finalists, key=lambda tile: _time(shape, tile))


def _weighted(estimate: Estimate) -> float:
    return max(estimate.compute, estimate.dram) + TRAFFIC_WEIGHT * min(estimate.compute, estimate.dram)


def _time(shape: GemmShape, tile: GemmTile) -> float:
    return pipelined_cycles(shape, tile) + TRAFFIC_WEIGHT * estimate_of(shape, tile).dram


def _fitting_depths(shape: GemmShape, m: int, n: int, room: int) -> list[GemmTile]:
    """The tiles of m rows and n columns in both orders, as deep as fits."""
    for k in reversed(_sizes(shape.k, shape.array_rows)):
        tile = GemmTile(m, n, k, False)
        if operand_bytes(shape, tile) <= room:
            return [tile, GemmTile(m, n, k, True)]
    return []


@cache
def _sizes(extent: int, unit: int) -> tuple[int, ...]:
    """Tile extents worth trying: the whole, equal parts of it in whole units, and less than a unit for tiny
    memories."""
    sizes = {extent, min(extent, unit), 1}
    size = unit
    while size < extent:
        for near in (size, size + size // 2):
            part = balanced(extent, min(near, extent))
            sizes |= {min(near, extent), min(extent, -(-part // unit) * unit), part}
        size *= 2
    return tuple(sorted(sizes))
