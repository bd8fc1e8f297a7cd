"""Uniform addressing: segments of one width, found by a subtraction and a shift; the outer two extend.

Widths are powers of two of the input's integers. When the whole range would need wide segments, narrow ones
may be better spent on the part that bends, with the two outer segments swallowing nearly straight remainders.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nmc.pwl.curve import Curve
from nmc.pwl.fit import fit_lines
from nmc.pwl.functions import FloatArray
from nmc.pwl.segments import Problem, Segments, errors_of, fitted, tail_deviations

MINIMUM_ENTRIES_WITH_TAILS = 96
"""From this size on, an entry is spent on inputs below the range and one on inputs above it.

Errors go as the square of the width: two entries of 96 raise them by (96 / 94)² = 1.043, two of 64 by 1.066.
"""
_VIRTUAL_BITS = 20
"""Without an input step, a segment of the evenly divided range is 2^20 steps of an imagined one."""
_PROBES = 130
"""Places where an outer segment may end, tried when the range is wider than the window of segments."""


@dataclass(frozen=True)
class _Grid:
    """Integers that stand for the real values offset + integer * step, and the range's ends among them.

    `below` and `above` tell whether an entry is kept for what lies outside on that side.
    """

    step: float
    offset: float
    lo: int
    hi: int
    below: bool
    above: bool

    def real(self, integers: NDArray[np.int64]) -> FloatArray:
        return np.asarray(self.offset + integers * self.step, np.float64)

    def moved(self, integers: int) -> "_Grid":
        """The same, counted from so many integers on."""
        lo, hi = self.lo - integers, self.hi - integers
        return replace(self, offset=self.offset + integers * self.step, lo=lo, hi=hi)


def uniform_segments(problem: Problem, curve: Curve, count: int, granularity: float | None) -> Segments:
    """At most `count` segments of the width that gives the least error, or of the width `granularity`.

    With an input step, the granularity is rounded to the nearest power of two of it.
    """
    tails = problem.reserves(count, MINIMUM_ENTRIES_WITH_TAILS)
    if granularity is not None:
        grid, shift = _grid(problem, count, granularity, tails)
        return _at_shift(problem, curve, grid, count, shift)
    return least_of(problem, by_width(problem, curve, count, tails))


def by_width(
    problem: Problem, curve: Curve, count: int, tails: tuple[bool, bool], between: bool = False
) -> Iterator[Segments]:
    """At most `count` segments that cover the range, and then ever narrower ones; `tails` tells where entries are kept.

    Segments begin at multiples of their width, or half a width between these.
    """
    grid, shift = _grid(problem, count, None, tails)
    # Segments begin at multiples of their width, so that one alone never covers both sides of zero.
    widest = problem.input_bits - 1 if problem.input_step is not None else shift
    while shift < widest and _blocks(problem, grid, shift)[1] > count:
        shift += 1
    for narrower in range(shift, -1, -1):
        yield _at_shift(
            problem, curve, grid.moved((1 << narrower) >> 1) if between else grid, count, narrower
        )


def least_of(problem: Problem, candidates: Iterator[Segments]) -> Segments:
    """The last candidate before the error grows again."""
    best = next(candidates)
    best_error = errors_of(problem, best).score(problem)
    for tried in candidates:
        error = errors_of(problem, tried).score(problem)
        if error >= best_error:
            break
        best, best_error = tried, error
    return best


def _grid(
    problem: Problem, count: int, granularity: float | None, tails: tuple[bool, bool]
) -> tuple[_Grid, int]:
    """The integer grid, and the shift to begin with."""
    lo, hi, step = problem.lo, problem.hi, problem.input_step
    if step is not None:
        shift = max(0, round(float(np.log2(granularity / step)))) if granularity is not None else 0
        return _Grid(step, 0.0, round(lo / step), round(hi / step), *tails), shift
    if granularity is not None:
        step = granularity * 2.0**-_VIRTUAL_BITS
        # Ends that are multiples of the granularity must stay so: 0.3 / 0.1 is not 3.
        return _Grid(step, 0.0, round(lo / step), round(hi / step), *tails), _VIRTUAL_BITS
    below, above = tails
    # One step short of a whole segment where a tail follows, so that hi itself is not in the tail.
    steps = (max(count - below - above, 1) << _VIRTUAL_BITS) - above
    return _Grid((hi - lo) / steps, lo, 0, steps, *tails), _VIRTUAL_BITS


def _blocks(problem: Problem, grid: _Grid, shift: int) -> tuple[int, int, bool, bool]:
    """First block of 2^shift integers, number of blocks to cover the range, and which ends are tails."""
    below, above = grid.below, grid.above
    first, last = grid.lo >> shift, (grid.hi - (not above)) >> shift
    if problem.input_step is not None:
        limit = 1 << (problem.input_bits - 1)
        below, above = below and first << shift > -limit, above and (last + 1) << shift < limit
    return first - below, last - first + 1 + below + above, below, above


def _at_shift(problem: Problem, curve: Curve, grid: _Grid, count: int, shift: int) -> Segments:
    """Segments of 2^shift integers: over the whole range if `count` suffice, else where they serve best."""
    first, blocks, below, above = _blocks(problem, grid, shift)
    if blocks > count:
        first, blocks = _placed(problem, curve, grid, count, shift), count
    edges = grid.real(np.arange(first + 1, first + blocks, dtype=np.int64) << shift)
    left = np.concatenate([[-np.inf if below else problem.lo], edges])
    right = np.concatenate([edges, [np.inf if above else problem.hi]])
    unfitted = np.zeros(blocks)
    origin, width = grid.offset + (first << shift) * grid.step, grid.step * (1 << shift)
    segments = Segments("uniform", edges, left, right, unfitted, unfitted, origin=origin, width=width)
    return fitted(problem, curve, segments)


def _placed(problem: Problem, curve: Curve, grid: _Grid, count: int, shift: int) -> int:
    """The first block of the window of `count` blocks whose outer two, made to reach the ends, fit best."""
    _, _, below, above = _blocks(problem, grid, shift)
    lowest = (grid.lo >> shift) + (not below)
    highest = ((grid.hi - (not above)) >> shift) + above - max(count - 2, 0)
    if count < 3:
        return (lowest + highest) // 2 - 1
    ends = np.array([problem.lo]), np.array([problem.hi])
    probes = np.unique(curve.points(*ends, _PROBES)[0])
    width = grid.step * (1 << shift)
    window = (count - 2) * width
    wanted = np.concatenate([probes, probes - window]) - grid.offset
    blocks = np.unique(np.clip(np.round(wanted / width), lowest, highest)).astype(np.int64)
    edges = grid.real(blocks << shift)
    outer = _outer_errors(problem, curve, probes, (below, above))
    # Beyond an end of the range an outer segment has nothing to fit.
    error = np.maximum(
        np.where(edges <= problem.lo, 0.0, np.interp(edges, probes, outer[0])),
        np.where(edges + window > problem.hi, 0.0, np.interp(edges + window, probes, outer[1])),
    )
    return int(blocks[np.argmin(error)]) - 1


def _outer_errors(
    problem: Problem, curve: Curve, ends: FloatArray, tails: tuple[bool, bool]
) -> tuple[FloatArray, FloatArray]:
    """The error of an outer segment from each side of the range to each of `ends` (ascending, lo to hi)."""
    lo, hi = np.full_like(ends, problem.lo), np.full_like(ends, problem.hi)
    by_line = fit_lines(curve, lo, ends).errors, fit_lines(curve, ends, hi).errors
    by_tail = tail_deviations(problem.function, ends)
    below = by_tail[0] if tails[0] and by_tail[0] is not None else by_line[0]
    above = by_tail[1] if tails[1] and by_tail[1] is not None else by_line[1]
    return below, above
