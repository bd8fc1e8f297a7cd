"""The taps of a depthwise convolution in pieces, of which each is what one FILTER takes.

A FILTER multiplies neighbouring values of the image that it streams. Taps that a stride skips see other images, of every
stride-th row and column: they fall into phases, each with an image of its own. The taps of a dilated kernel are neighbours
in an image of every dilation-th row and column: it gives every so many outputs, which fall into lattices.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np

from passes.matrix_form.im2col import Window
from targets.gemm_accel.codegen.tiles import balanced
from targets.gemm_accel.codegen.tiling import COMMAND_CYCLES
from targets.gemm_accel.config import AcceleratorConfig

Pair = tuple[int, int]
"""Of rows and columns."""


@dataclass(frozen=True)
class Piece:
    """Taps of one FILTER by their numbers, row by row. For the first output the first looks at `origin`, row and column of
    the padded input; `first` is its place among the taps of all pieces."""

    origin: Pair
    kernel: Pair
    taps: tuple[int, ...]
    first: int

    def streamed(self, rows: int, columns: int) -> int:
        """The places of the image that stream for so many rows and columns of outputs."""
        return (rows + self.kernel[0] - 1) * (columns + self.kernel[1] - 1)


@dataclass(frozen=True)
class Lattice:
    """The outputs of a tile from `origin` on in steps, so many rows and columns of them."""

    origin: Pair
    counts: Pair


@dataclass(frozen=True)
class FilterPlan:
    """Outputs that lie `steps` rows and columns apart are filtered together, by the same pieces for all lattices of them."""

    steps: Pair
    pieces: tuple[Piece, ...]

    def lattices(self, rows: int, columns: int) -> Iterator[Lattice]:
        """Those of a tile of so many rows and columns."""
        for y, x in product(range(self.steps[0]), range(self.steps[1])):
            counts = len(range(y, rows, self.steps[0])), len(range(x, columns, self.steps[1]))
            if all(counts):
                yield Lattice((y, x), counts)

    def cycles(self, rows: int, columns: int, streams: int) -> int:
        """The array's cycles for each block of channels of a tile, of an image that streams in `streams` parts."""
        return sum(
            max(streams * piece.streamed(*lattice.counts), len(piece.taps))
            for lattice in self.lattices(rows, columns)
            for piece in self.pieces
        )


@lru_cache(maxsize=1024)
def plan_of(window: Window, rows: int, columns: int, config: AcceleratorConfig) -> FilterPlan:
    """The plan for tiles of so many rows and columns that takes the fewest cycles, those for issuing commands included."""
    steps = [
        {1, dilation // math.gcd(stride, dilation)}
        for stride, dilation in zip(window.strides, window.dilations, strict=True)
    ]
    plans = [
        FilterPlan((down, across), pieces)
        for down, across in product(*map(sorted, steps))
        for pieces in _choices(window, (down, across), -(-columns // across), config)
    ]

    def cycles(plan: FilterPlan) -> int:
        commands = len(list(plan.lattices(rows, columns))) * (len(plan.pieces) + 1)
        return plan.cycles(rows, columns, 1) + COMMAND_CYCLES * commands

    return min(plans, key=cycles)


def _choices(
    window: Window, steps: Pair, columns: int, config: AcceleratorConfig
) -> Iterator[tuple[Piece, ...]]:
    """The pieces for outputs in steps, `columns` of a row, with rows of taps cut in all ways: shorter ones leave cells for
    more rows."""
    strides = window.strides[0] * steps[0], window.strides[1] * steps[1]
    seen, taps = replace(window, strides=strides), window.kernel[1]
    longest = {min(balanced(taps, -(-taps // cuts)), config.rows) for cuts in range(1, taps + 1)}
    yield from (_pieces(seen, columns, config, most) for most in sorted(longest, reverse=True))


def _pieces(window: Window, columns: int, config: AcceleratorConfig, longest: int) -> tuple[Piece, ...]:
    """The pieces whose rows have at most `longest` taps."""
    pieces: list[Piece] = []
    held_back = columns - 1 <= config.delay_entries
    for x, across in _runs(window, 1, longest):
        most = min(config.rows // len(across), config.delay_lines + 1) if held_back else 1
        for y, down in _runs(window, 0, most):
            taps = tuple(row * window.kernel[1] + column for row in down for column in across)
            first = sum(len(piece.taps) for piece in pieces)
            pieces.append(Piece((y, x), (len(down), len(across)), taps, first))
    return tuple(pieces)


def _runs(window: Window, axis: int, most: int) -> Iterator[tuple[int, list[int]]]:
    """Runs of at most `most` taps along an axis that see neighbours of one phase, in as few and as equal runs as possible:
    the input where each begins, and its taps."""
    stride, dilation = window.strides[axis], window.dilations[axis]
    phases: dict[int, dict[int, int]] = {}
    for tap in range(window.kernel[axis]):
        position, phase = divmod(tap * dilation, stride)
        phases.setdefault(phase, {})[position] = tap
    for phase, taps in phases.items():
        positions = sorted(taps)
        are_neighbours = positions[-1] - positions[0] == len(positions) - 1
        together = balanced(len(positions), most) if are_neighbours else 1
        for place in range(0, len(positions), together):
            run = positions[place : place + together]
            yield run[0] * stride + phase, [taps[position] for position in run]


def piece_weights(weights: np.ndarray, pieces: tuple[Piece, ...]) -> np.ndarray:
    """The weights [taps, channels] of a kernel as those [taps of all pieces, channels]."""
    return weights[[tap for piece in pieces for tap in piece.taps]]
