"""How long the tiles of a gemm take: loads, array, drain unit and stores step by step, as the timing model runs them.

A small replica of `sim/timing.h` for one kernel in steady state: it knows in what order tiles come and which are still
in their places, so it sees where the array waits for the DRAM, which sums over the whole kernel hide.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from targets.gemm_accel.codegen.tiling import GemmShape, GemmTile, pass_cycles, places_of

MOST_STEPS = 384
"""As many steps are run; those of larger products take as long on average."""
LOOKAHEAD = 2
"""Steps whose tiles are asked for before the results of the first of them are stored: as many as two places allow."""


@dataclass(frozen=True)
class _Step:
    """One GEMM command, and whether its sums begin and whether they are drained after it."""

    a: tuple[int, int, int]
    b: tuple[int, int, int]
    m: int
    n: int
    k: int
    begins: bool
    drains: bool


@dataclass
class _Places:
    """The places of an operand's tiles: which tile each holds, when it is there and until when it is read."""

    count: int
    dram_latency_cycles: int
    ready: dict[tuple[int, int, int], float] = field(default_factory=dict)
    read_until: dict[tuple[int, int, int], float] = field(default_factory=dict)

    def load(self, key: tuple[int, int, int], beats: float, port: float) -> float:
        """Loads a tile where it is not there; returns when the port is free again."""
        if key in self.ready:
            self.ready[key] = self.ready.pop(key)
            return port
        if len(self.ready) == self.count:
            oldest = next(iter(self.ready))
            del self.ready[oldest]
            port = max(port, self.read_until.pop(oldest, 0.0))
        port += beats
        self.ready[key] = port + self.dram_latency_cycles
        return port


@functools.cache
def pipelined_cycles(shape: GemmShape, tile: GemmTile) -> float:
    """The cycles of a gemm with tiles of this size, from its first load to its last store."""
    total = math.prod(map(math.ceil, (shape.m / tile.m, shape.n / tile.n, shape.k / tile.k))) * shape.groups
    steps = list(itertools.islice(_steps(shape, tile), MOST_STEPS))
    return _run(shape, tile, steps) * total / len(steps)


def _steps(shape: GemmShape, tile: GemmTile) -> Iterator[_Step]:
    rows, columns, depths = range(0, shape.m, tile.m), range(0, shape.n, tile.n), range(0, shape.k, tile.k)
    for group in range(shape.groups):
        outer = itertools.product(rows, columns) if tile.rows_outside else itertools.product(columns, rows)
        for first, second in outer:
            row, column = (first, second) if tile.rows_outside else (second, first)
            m, n = min(tile.m, shape.m - row), min(tile.n, shape.n - column)
            for depth in depths:
                k = min(tile.k, shape.k - depth)
                last = depth + tile.k >= shape.k
                yield _Step((group, row, depth), (group, depth, column), m, n, k, depth == 0, last)


def _run(shape: GemmShape, tile: GemmTile, steps: list[_Step]) -> float:
    a, b = (_Places(count, shape.dram_latency_cycles) for count in places_of(shape, tile))
    latency = shape.array_rows + shape.array_columns - 1
    # the first tile of B is there before the kernel begins where it is constant, as most are
    port, array, drain = -steps[0].k * steps[0].n * shape.b_beats, 0.0, 0.0
    drained, stored = [0.0, 0.0], [0.0, 0.0]
    asked = tiles = 0
    for number, step in enumerate(steps):
        for ahead in steps[asked : number + LOOKAHEAD]:
            port = b.load(ahead.b, ahead.k * ahead.n * shape.b_beats, port)
            port = a.load(ahead.a, ahead.m * ahead.k * shape.a_beats, max(port, 0.0))
        asked = number + LOOKAHEAD
        if number and steps[number - 1].drains:
            port = max(port, drain + latency) + steps[number - 1].m * steps[number - 1].n * shape.output_beats
            stored[tiles % 2] = port + shape.dram_latency_cycles
            tiles += 1
        start = max(array, a.ready[step.a], b.ready[step.b], drained[tiles % 2] if step.begins else 0.0)
        array = start + _gemm_cycles(shape, step)
        a.read_until[step.a] = b.read_until[step.b] = array
        if step.drains:
            drain = max(array + latency, drain, stored[tiles % 2]) + step.m * step.n / shape.array_columns
            drained[tiles % 2] = drain
    last = max(port, drain + latency) + steps[-1].m * steps[-1].n * shape.output_beats
    return last + shape.dram_latency_cycles


def _gemm_cycles(shape: GemmShape, step: _Step) -> int:
    passes = pass_cycles(step.m * shape.streams, step.k, shape.array_rows)
    return math.ceil(step.n / shape.array_columns) * passes
