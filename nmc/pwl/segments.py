"""What is to be fitted, and what a fit consists of: the vocabulary that the addressing strategies share."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nmc.pwl.curve import Curve
from nmc.pwl.fit import LineRule, fit_lines
from nmc.pwl.functions import FloatArray, Function, TableError

MAXIMUM_ENTRIES = 512
"""Entries of a slot of the largest table memory that an accelerator may have."""
DEFAULT_ENTRIES = 256
"""Entries of a slot of the default accelerator."""
MAXIMUM_BREAKPOINT_ENTRIES = 64
"""Segments that the comparator tree can tell apart."""
BESIDE = 0.125
"""How much an error counts where only arguments beyond calibration's lie: eight times as large a one is as good there."""
MAXIMUM_BLOCKS = 32
"""Blocks, each divided by a power of two of its own, that the address unit holds the divisions of."""

NEAR = 1e-9
"""By how much of itself a product with a step may be off, at most."""

_ENDS = 2.0 ** -np.arange(2.0, 22.0)
SAMPLE_FRACTIONS = np.unique(np.concatenate([np.linspace(0.0, 1.0, 33), _ENDS, 1.0 - _ENDS]))
"""Where a segment's error is measured, as fractions of its width: even, and dense towards both ends, since a
wide outer segment bends only near its inner end."""


@dataclass(frozen=True)
class Problem:
    """A function on [lo, hi] and how to fit it.

    `input_step` is the input's scale, when boundaries must fall on its integers of `input_bits` bits.
    `density` is the probability density of the argument, when expected squared error counts instead of
    maximum error. `relative` tells that the result's relative accuracy matters, too: its format keeps decades.
    Where the error is below `enough`, further entries are not worth their place. `seen` is the part of the range where
    arguments are expected: beside it only `BESIDE` of an error counts.
    """

    function: Function
    lo: float
    hi: float
    rule: LineRule
    mode: str = "minimax"
    input_step: float | None = None
    input_bits: int = 16
    density: Callable[[FloatArray], FloatArray] | None = None
    relative: bool = False
    enough: float = 0.0
    seen: tuple[float, float] | None = None

    def last_arguments(self, left: FloatArray, right: FloatArray, end: float) -> FloatArray:
        """The last argument of each segment [left, right): where arguments are integers, the last of them. A segment that
        ends where all do, at `end`, holds that, too; one that holds no integer has its left end."""
        if self.input_step is None:
            return right
        # products with the step were rounded: what is that near to an integer is one
        integers = np.where(np.isinf(right), 0.0, right) / self.input_step
        before = np.ceil(integers - NEAR * np.maximum(np.abs(integers), 1.0)) - 1.0
        last = np.maximum(before * self.input_step, left)
        return np.where(np.isinf(right) | (np.abs(right - end) < 0.5 * self.input_step), right, last)

    def reserves(self, count: int, least: int) -> tuple[bool, bool]:
        """Whether a table of `count` entries keeps one for inputs below lo, and one for inputs above hi.

        It does from `least` entries on, where the function goes on along a known line.
        """
        below, above = (tail is not None and count >= least for tail in self.function.tails)
        if self.input_step is not None:
            limit = 1 << (self.input_bits - 1)
            below = below and round(self.lo / self.input_step) > -limit
            above = above and round(self.hi / self.input_step) < limit - 1
        return below, above


@dataclass(frozen=True, eq=False)
class Segments:
    """Lines in ascending order of x, the extents they hold on, and what addresses them.

    `left` and `right` [entries] may be infinite, and outside the fitted range. `boundaries` [entries-1] lie
    between consecutive entries, each belonging to the entry above it. Uniform addressing has `origin` and
    `width`; octaves have `e_min`, `mantissa_bits` and `signed`. Where blocks are divided, `width` is that of a block,
    and `blocks` holds of each (of each magnitude's, if signed) in how many parts it is divided, as a power of two, and
    how many of them have entries: the last one goes on to the end.
    """

    addressing: str
    boundaries: FloatArray
    left: FloatArray
    right: FloatArray
    slopes: FloatArray
    intercepts: FloatArray
    origin: float = 0.0
    width: float = 0.0
    e_min: int = 0
    mantissa_bits: int = 0
    signed: bool = False
    blocks: tuple[tuple[int, int], ...] = ()

    @property
    def stored_bytes(self) -> int:
        """What a table of these takes in DRAM, less the same header for all: 9 an entry, 4 a breakpoint or a block."""
        compared = len(self.left) if self.addressing == "breakpoints" else 0
        return 9 * len(self.left) + 4 * (compared + len(self.blocks) * (1 + self.signed))


@dataclass(frozen=True)
class Errors:
    """Deviation from the function over the fitted range: maximum, mean, and root of the expected square; also the maximum
    where arguments are expected, and what counts of the maximum, `BESIDE` of it elsewhere.
    """

    maximum: float
    mean: float
    expected: float
    seen: float
    counted: float

    def score(self, problem: Problem) -> float:
        """What the fit minimises: the expected error when a density is known, else what counts of the maximum."""
        return self.counted if problem.density is None else self.expected


def fitted_range(
    function: Function, lo: float, hi: float, step: float | None, bits: int
) -> tuple[float, float]:
    """[lo, hi] cut to the function's domain, moved off excluded points, put on the integer grid if any.

    An empty interval becomes the smallest one that can be fitted. Raises TableError when there is nothing to
    fit.
    """
    if not (math.isfinite(lo) and math.isfinite(hi)) or lo > hi:
        raise TableError(
            f"{function}: the range [{lo:g}, {hi:g}] is not a finite interval; give its ends in order"
        )
    first, last = function.domain
    if hi < first or lo > last:
        raise TableError(f"{function} is not defined on [{lo:g}, {hi:g}], only on [{first:g}, {last:g}]")
    lo, hi = max(lo, first), min(hi, last)
    limit = (1 << (bits - 1)) if step is not None else 0
    unit = step if step is not None else ((hi - lo) or max(abs(lo), 1.0)) * 2.0**-15
    if step is not None:
        low, high = max(_steps(lo, step, math.floor), -limit), min(_steps(hi, step, math.ceil), limit - 1)
        lo = (low if low * step >= first else low + 1) * step
        hi = (high if high * step <= last else high - 1) * step
    near = 0.5 * unit if step is not None else 0.0
    for point in function.excluded:
        # Off a pole towards the inside of the range, or of the domain where the pole is its end.
        if abs(lo - point) <= near:
            lo = point - unit if point == last else point + unit
        if abs(hi - point) <= near:
            hi = point + unit if point == first else point - unit
    if hi <= lo:
        highest = min(last, (limit - 1) * unit) if limit else last
        upward = lo + unit <= highest and lo + unit not in function.excluded
        lo, hi = (lo, lo + unit) if upward else (lo - unit, lo)
    return (lo, hi) if step is None else (round(lo / step) * step, round(hi / step) * step)


def fitted(problem: Problem, curve: Curve, segments: Segments) -> Segments:
    """The same segments with the lines of the problem's rule, and tails where the function has them.

    An end segment becomes the tail itself where that is no worse than the worst segment: it is then right
    beyond the range, and without a bias far out. One outside the range takes the tail's slope in any case,
    centred.
    """
    left, right = segments.left, segments.right
    beside = _beside(problem, left, right)
    first, end = (np.where(beside, each, np.clip(each, problem.lo, problem.hi)) for each in (left, right))
    lines = fit_lines(curve, first, end, problem.rule, problem.last_arguments(first, end, problem.hi))
    # A line holds where it was fitted, and not to the end of a segment that the range ends within.
    left = np.where(np.isfinite(left) & (right >= problem.lo), np.maximum(left, problem.lo), left)
    right = np.where(np.isfinite(right) & (left <= problem.hi), np.minimum(right, problem.hi), right)
    segments = replace(segments, left=left, right=right, slopes=lines.slopes, intercepts=lines.intercepts)
    if len(left) < 2:
        return segments
    worst = float(lines.errors[~beside].max())
    for side in (0, 1):
        segments = _with_tail(problem, segments, worst, side)
    return segments


def _beside(problem: Problem, left: FloatArray, right: FloatArray) -> np.ndarray:
    """Which segments lie outside the range, where the function is smooth all the same; bool, of left's shape.

    They are fitted to it, since an argument off by its rounding may fall just outside the range.
    """
    function = problem.function
    bounded = np.isfinite(left) & np.isfinite(right)
    outside = bounded & ((right <= problem.lo) | (left >= problem.hi))
    places = np.where(outside[:, None], np.stack([left, 0.5 * (left + right), right], axis=1), problem.lo)
    defined = (places >= function.domain[0]) & (places <= function.domain[1])
    defined &= np.isfinite(function(np.where(defined, places, problem.lo)))
    for point in function.excluded:
        defined &= (places[:, :1] > point) | (places[:, -1:] < point)
    return outside & defined.all(axis=1)


def errors_of(problem: Problem, segments: Segments) -> Errors:
    """The error of the segments on [problem.lo, problem.hi], each line measured on its own extent."""
    left = np.clip(segments.left, problem.lo, problem.hi)
    right = np.clip(segments.right, problem.lo, problem.hi)
    # A segment that begins at hi holds that one value of the range.
    reached = (right > left) | (segments.left == problem.hi)
    left, right = _arguments(problem, segments, left[reached], right[reached])
    left, width = left[:, None], (right - left)[:, None]
    x = left + width * SAMPLE_FRACTIONS
    line = segments.slopes[reached, None] * x + segments.intercepts[reached, None]
    error = np.abs(line - problem.function(x))
    spacing = np.gradient(SAMPLE_FRACTIONS) * width
    spacing[:, [0, -1]] *= 0.5
    weight = spacing if problem.density is None else spacing * problem.density(x)
    weight = weight / weight.sum()
    maximum = float(error.max())
    # Relative to the maximum, because the square of a large error may overflow.
    square = float((weight * (error / (maximum or 1.0)) ** 2).sum())
    low, high = problem.seen or (problem.lo, problem.hi)
    ordinary = (low <= x) & (x <= high)
    seen = float(error[ordinary].max(initial=0.0))
    counted = max(seen, BESIDE * maximum)
    return Errors(maximum, float((weight * error).sum()), maximum * math.sqrt(square), seen, counted)


def _arguments(
    problem: Problem, segments: Segments, left: FloatArray, right: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The first and the last argument of segments of the range: those of magnitudes hold the end nearer to zero."""
    last = problem.last_arguments(left, right, problem.hi)
    if not segments.signed:
        return left, last
    first = -problem.last_arguments(-right, -left, -problem.lo)
    return np.where(right <= 0, first, left), np.where(right <= 0, right, last)


def tail_deviations(function: Function, x: FloatArray) -> tuple[FloatArray | None, FloatArray | None]:
    """How far each tail is from the function, at most, between its end of x (ascending) and each x."""
    below, above = function.tails
    return (
        None if below is None else np.maximum.accumulate(np.abs(function(x) - below[0] * x - below[1])),
        None
        if above is None
        else np.maximum.accumulate(np.abs(function(x) - above[0] * x - above[1])[::-1])[::-1],
    )


def _steps(value: float, step: float, rounding: Callable[[float], int]) -> int:
    """value / step rounded outward, unless it is a whole number up to the division's own rounding."""
    nearest = round(value / step)
    return nearest if abs(value / step - nearest) <= NEAR * max(1, abs(nearest)) else rounding(value / step)


def _with_tail(problem: Problem, segments: Segments, worst: float, side: int) -> Segments:
    """The tail of one side in its end segment, if it is near enough or the segment is outside the range."""
    tail, entry = problem.function.tails[side], -side
    outside = bool(np.isinf(segments.left[0] if side == 0 else segments.right[-1]))
    if tail is None or (problem.mode == "chord" and not outside):
        return segments
    inner = float(segments.right[0] if side == 0 else segments.left[-1])
    reach = np.concatenate([[0.0], np.logspace(-6.0, 3.0, 160)]) * (problem.hi - problem.lo)
    x = inner - reach if side == 0 else inner + reach
    deviation = np.append(problem.function(x) - tail[0] * x - tail[1], 0.0)
    if np.abs(deviation).max() <= worst:
        offset = 0.0
    elif outside:
        offset = 0.5 * float(deviation.max() + deviation.min())
    else:
        return segments
    slopes, intercepts = segments.slopes.copy(), segments.intercepts.copy()
    slopes[entry], intercepts[entry] = tail[0], tail[1] + offset
    left, right = segments.left.copy(), segments.right.copy()
    if side == 0:
        left[0] = -math.inf
    else:
        right[-1] = math.inf
    return replace(segments, slopes=slopes, intercepts=intercepts, left=left, right=right)
