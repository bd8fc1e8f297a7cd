"""Octave addressing: equal parts of every power of two, found like a float's exponent and mantissa.

Segments widen with the argument, which keeps the relative error of a reciprocal, a root or a logarithm even
over decades. A signed table covers both half-lines, each addressed by the magnitude.
"""

import math
from dataclasses import replace

import numpy as np

from nmc.pwl.curve import trace
from nmc.pwl.fit import fit_lines
from nmc.pwl.functions import FloatArray
from nmc.pwl.segments import Problem, Segments, errors_of

MAXIMUM_MANTISSA_BITS = 7
SMALLEST_OF_TWO_SIDES = 2.0**-16
"""Smallest magnitude, as a fraction of the largest, when a range without an input step has a pole inside."""
SMALLEST_ABOVE_ZERO = 2.0**-28
"""The same, to begin the search with, when the range begins at 0 and the function is finite there."""


def is_signed(problem: Problem) -> bool:
    """Whether the range has a negative part on which the function is defined away from zero."""
    return problem.lo < 0 and problem.function.domain[0] == -math.inf


def spans_octaves(problem: Problem, octaves: float) -> bool:
    """Whether the largest magnitude of the range is more than 2^octaves times the smallest."""
    smallest, largest = magnitudes(problem)
    return is_signed(problem) or largest > smallest * 2.0**octaves


def octave_segments(problem: Problem, count: int) -> Segments:
    """At most `count` segments from the smallest to the largest magnitude of the range.

    When the range begins at 0 and the function is finite there, the first segment reaches down to 0, and
    where the octaves begin is chosen for the least error.
    """
    smallest, largest = magnitudes(problem)
    if problem.lo > 0 or is_signed(problem):
        return _from_octave(problem, count, smallest, largest)
    best = _from_octave(problem, count, smallest, largest)
    best_error = errors_of(problem, best).score(problem)
    while smallest < largest / 4:
        smallest *= 2
        tried = _from_octave(problem, count, smallest, largest)
        error = errors_of(problem, tried).score(problem)
        if error < best_error:
            best, best_error = tried, error
        elif tried.mantissa_bits > best.mantissa_bits:
            break
    return best


def _from_octave(problem: Problem, count: int, smallest: float, largest: float) -> Segments:
    """Segments for magnitudes from `smallest` to `largest`, or from 0 when the range holds it."""
    signed = is_signed(problem)
    unit = problem.input_step or 1.0
    budget = max(count // 2, 1) if signed else count
    e_min, bits, half = _layout(smallest / unit, largest / unit, budget)
    e_min, half = _with_margin(problem, e_min, bits, half, budget)
    j = np.arange(half + 1)
    edges = unit * np.ldexp(1.0 + (j & ((1 << bits) - 1)) / (1 << bits), e_min + (j >> bits))
    unfitted = Segments("octave", *5 * (edges,), e_min=e_min, mantissa_bits=bits, signed=signed)
    return on_magnitudes(problem, edges, smallest, unfitted)


def on_magnitudes(problem: Problem, edges: FloatArray, smallest: float, addressing: Segments) -> Segments:
    """Segments between `edges`, magnitudes in ascending order, for one half-line or both, with the addressing of the last
    argument; the first segment begins at `smallest` where the range does not hold 0.
    """
    from_zero = problem.lo <= 0 and not addressing.signed
    left, right = edges[:-1].copy(), edges[1:]
    left[0] = max(problem.lo, 0.0) if from_zero else min(edges[0], smallest)
    segments = replace(
        addressing, boundaries=edges[1:-1], left=left, right=right, slopes=left, intercepts=left
    )
    positive = _with_lines(problem, segments, +1.0)
    if not segments.signed:
        return positive
    negative = _with_lines(problem, segments, -1.0)
    # A magnitude on a boundary belongs to the wider segment, which for negative x lies below the boundary.
    below = np.nextafter(-edges[1:-1], np.inf)[::-1]
    return replace(
        positive,
        boundaries=np.concatenate([below, [0.0], edges[1:-1]]),
        left=np.concatenate([-right[::-1], left]),
        right=np.concatenate([-left[::-1], right]),
        slopes=np.concatenate([-negative.slopes[::-1], positive.slopes]),
        intercepts=np.concatenate([negative.intercepts[::-1], positive.intercepts]),
    )


def _with_margin(problem: Problem, e_min: int, bits: int, half: int, budget: int) -> tuple[int, int]:
    """First octave and segments after giving unused entries to octaves outside the range, half on each side.

    A reciprocal or a root run off its range along a line is soon wrong by far, and soon negative.
    """
    spare = (budget - half) >> bits
    below = (spare + 1) // 2 if problem.lo > 0 or problem.hi < 0 else 0
    if problem.input_step is not None:
        below = min(below, e_min)
        highest = (problem.input_bits - 1 - e_min) << bits
        return e_min - below, half + (below << bits) + max(min((spare - below) << bits, highest - half), 0)
    return e_min - below, half + (spare << bits)


def magnitudes(problem: Problem) -> tuple[float, float]:
    """The smallest magnitude above zero and the largest one that the range holds."""
    lo, hi = problem.lo, problem.hi
    largest = max(abs(lo), abs(hi)) if is_signed(problem) else hi
    if lo > 0:
        return lo, largest
    if hi < 0 and is_signed(problem):
        return -hi, largest
    fraction = SMALLEST_OF_TWO_SIDES if is_signed(problem) else SMALLEST_ABOVE_ZERO
    return problem.input_step or largest * fraction, largest


def _layout(smallest: float, largest: float, budget: int) -> tuple[int, int, int]:
    """First octave, mantissa bits and segments: the most mantissa bits whose segments fit the budget.

    When even whole octaves are too many, the lowest ones are left to the first segment.
    """
    e_min = math.frexp(smallest)[1] - 1
    mantissa, exponent = math.frexp(largest)
    # A largest value that is a power of two ends the octave below it.
    e_top = max(exponent - 2 if mantissa == 0.5 else exponent - 1, e_min)
    in_top = max(math.ldexp(largest, -e_top) - 1.0, 0.0)
    for bits in range(MAXIMUM_MANTISSA_BITS, -1, -1):
        half = ((e_top - e_min) << bits) + max(math.ceil(in_top * (1 << bits)), 1)
        if half <= budget:
            return e_min, bits, half
    return e_top - budget + 1, 0, budget


def _with_lines(problem: Problem, segments: Segments, sign: float) -> Segments:
    """Lines for the magnitudes of one half-line, as functions of the magnitude."""

    def mirrored(magnitude: FloatArray) -> FloatArray:
        return problem.function(sign * magnitude)

    # Each octave is looked at closely, but the whole curve once: a log-log view would see no bend at all.
    curve = trace(mirrored, float(segments.left[0]), float(segments.right[-1]))
    left, right = _in_range(problem, segments.left, segments.right)
    last = problem.last_arguments(left, right, magnitudes(problem)[1])
    lines = fit_lines(curve, left, right, problem.rule, last)
    return replace(segments, slopes=lines.slopes, intercepts=lines.intercepts)


def _in_range(problem: Problem, left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The parts of segments of magnitudes that lie in the range; segments beside it stay whole."""
    smallest, largest = magnitudes(problem)
    lowest = 0.0 if problem.lo <= 0.0 and not is_signed(problem) else smallest
    inside = (right > lowest) & (left < largest)
    return np.where(inside, np.maximum(left, lowest), left), np.where(
        inside, np.minimum(right, largest), right
    )
