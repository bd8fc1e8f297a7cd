"""The taps of a depthwise convolution in pieces, of which each is what one FILTER takes.

A FILTER multiplies neighbouring values of the image that it streams. Taps that a stride skips see other images, of every
stride-th row and column: they fall into phases, each with an image of its own. Zeros stand for what a dilation leaves out
of a row of taps; the rows of a dilated kernel are pieces of their own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from passes.matrix_form.im2col import Window
from targets.gemm_accel.codegen.tiles import balanced
from targets.gemm_accel.config import AcceleratorConfig

ZERO = -1
"""The tap of no weight."""


@dataclass(frozen=True)
class Piece:
    """Taps of one FILTER, row by row: those of the kernel by number, or ZERO. For the first output the first looks at
    `origin`, row and column of the padded input; `first` is its place among the taps of all pieces."""

    origin: tuple[int, int]
    kernel: tuple[int, int]
    taps: tuple[int, ...]
    first: int

    def streamed(self, rows: int, columns: int) -> int:
        """The places of the image that stream for so many rows and columns of outputs."""
        return (rows + self.kernel[0] - 1) * (columns + self.kernel[1] - 1)


@lru_cache(maxsize=1024)
def pieces_of(window: Window, columns: int, config: AcceleratorConfig) -> tuple[Piece, ...]:
    """The pieces with which an array computes `columns` neighbouring outputs of each row. Rows of taps are cut so that the
    fewest places of the image stream: shorter ones leave cells for more rows."""
    taps = window.kernel[1]
    longest = {balanced(taps, -(-taps // cuts)) for cuts in range(1, taps + 1)}
    choices = [
        _pieces(window, columns, config, min(most, config.rows)) for most in sorted(longest, reverse=True)
    ]
    return min(choices, key=lambda pieces: sum(piece.streamed(columns, columns) for piece in pieces))


def _pieces(window: Window, columns: int, config: AcceleratorConfig, longest: int) -> tuple[Piece, ...]:
    """The pieces whose rows have at most `longest` taps, zeros not counted, and that fit into a column of cells."""
    pieces: list[Piece] = []
    held_back = columns - 1 <= config.delay_entries
    for x, positions in _runs(window, 1, config.rows, longest):
        most = min(config.rows // len(positions), config.delay_lines + 1) if held_back else 1
        for y, rows in _runs(window, 0, most, most):
            taps = tuple(
                ZERO if ZERO in (row, column) else row * window.kernel[1] + column
                for row in rows
                for column in positions
            )
            first = sum(len(piece.taps) for piece in pieces)
            pieces.append(Piece((y, x), (len(rows), len(positions)), taps, first))
    return tuple(pieces)


def _runs(window: Window, axis: int, cells: int, most: int) -> Iterator[tuple[int, list[int]]]:
    """Runs of at most `most` taps in so many cells along an axis that see neighbours of one phase: the input where each
    begins, and its taps, with ZERO where there is none; along rows there are no such gaps."""
    stride, dilation = window.strides[axis], window.dilations[axis]
    phases: dict[int, dict[int, int]] = {}
    for tap in range(window.kernel[axis]):
        position, phase = divmod(tap * dilation, stride)
        phases.setdefault(phase, {})[position] = tap
    for phase, taps in phases.items():
        for first, count in _stretches(sorted(taps), cells, most, with_gaps=axis == 1):
            run = [taps.get(position, ZERO) for position in range(first, first + count)]
            yield first * stride + phase, run


def _stretches(positions: list[int], cells: int, most: int, with_gaps: bool) -> Iterator[tuple[int, int]]:
    """The positions in as few and as equal stretches of neighbours as possible, as (first, count); with gaps between
    positions where allowed, but at neither end."""
    gap = positions[1] - positions[0] if len(positions) > 1 else 1
    together = len(positions) if gap == 1 else (cells - 1) // gap + 1 if with_gaps else 1
    together = max(balanced(len(positions), min(together, most)), 1)
    for first in range(0, len(positions), together):
        part = positions[first : first + together]
        yield part[0], part[-1] - part[0] + 1


def piece_weights(weights: np.ndarray, pieces: tuple[Piece, ...]) -> np.ndarray:
    """The weights [taps, channels] of a kernel as those [taps of all pieces, channels]."""
    with_zero = np.concatenate([weights, np.zeros_like(weights[:1])])
    return with_zero[[tap for piece in pieces for tap in piece.taps]]


def filter_cycles(
    pieces: tuple[Piece, ...], rows: int, columns: int, channels: int, streams: int, config: AcceleratorConfig
) -> int:
    """The array's cycles for so many outputs of each channel, of an image that streams in `streams` parts."""
    each = sum(max(streams * piece.streamed(rows, columns), len(piece.taps)) for piece in pieces)
    return math.ceil(channels / config.columns) * each
