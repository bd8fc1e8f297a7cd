"""Divided blocks: the range in at most 32 blocks, evenly wide or octaves, each divided evenly by a power of two of its own.

A block's number is found as uniform and octave addressing find a segment; it names a row of a small table, which holds
the block's first entry, how many bits of the rest are its segment, and how many segments there are. Segments are thus
narrow where a function bends, nearly as free ones are, for the price of 32 rows instead of comparators.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nmc.pwl.curve import Curve, trace
from nmc.pwl.fit import FIT_POINTS, fit_lines
from nmc.pwl.functions import FloatArray
from nmc.pwl.octave import is_signed, magnitudes, on_magnitudes
from nmc.pwl.segments import BESIDE, MAXIMUM_BLOCKS, Problem, Segments, errors_of, fitted
from nmc.pwl.uniform import MINIMUM_ENTRIES_WITH_TAILS, by_width, least_of

SEGMENTS_A_BLOCK = 4
"""Fewer entries than this a block would leave little to divide: a small table has fewer blocks."""
FEWER_BLOCKS = 0.625
"""Which part of the blocks there can be is tried as well: where a function is flat, each costs an entry."""
ORIGIN_BITS = 32
"""A table's origin is an integer of so many bits."""
MAXIMUM_BITS = 7
"""A block has at most 128 segments."""
MEASURED_BITS = 4
"""Up to this many bits the errors of a block's segments are measured; each further bit quarters them (squared ones,
twice), as it does where a segment is so short that the function is nearly a parabola on it."""
MEASURED_POINTS = 16
"""Of a segment whose error is compared with others': fewer than a fit takes."""
MARGIN_OCTAVES, MARGIN_BITS = 2, 2
"""Octaves outside the range on each side, and their division: along the line of another octave a root is soon wrong."""
LEAST_ENTRIES_WITH_MARGINS = 64
"""A smaller table has none to spare for them."""

SURE = 0.9
"""Extrapolated errors are off by less than this: what should be below a bound is made so much smaller."""

Division = tuple[int, int]
"""In how many parts a block is divided, as a power of two, and how many of them have entries."""


def block_segments(problem: Problem, curve: Curve, count: int) -> Segments:
    """At most `count` segments in evenly wide blocks of the width that gives the least error, at multiples of it or halfway
    between."""
    tails = problem.reserves(count, MINIMUM_ENTRIES_WITH_TAILS)
    blocks = min(MAXIMUM_BLOCKS, max(count // SEGMENTS_A_BLOCK, 1))

    def candidates(number: int, between: bool) -> Iterator[Segments]:
        for coarse in by_width(problem, curve, number, tails, between):
            yield _divided(problem, curve, coarse, count)

    tried: list[tuple[float, Segments]] = []
    # half a block before the smallest integer of 32 bits there is no origin
    places = (False, True) if problem.input_bits < ORIGIN_BITS else (False,)
    for way in product((blocks, max(int(FEWER_BLOCKS * blocks), 1)), places):
        segments = least_of(problem, candidates(*way))
        tried.append((errors_of(problem, segments).score(problem), segments))
        if tried[-1][0] <= problem.enough:
            break
    return min(tried, key=lambda each: each[0])[1]


def _divided(problem: Problem, curve: Curve, coarse: Segments, count: int) -> Segments:
    """Evenly wide segments as blocks, divided until there are `count`."""
    begin = coarse.origin + coarse.width * np.arange(len(coarse.left))
    slack = 1e-9 * coarse.width
    # An outer block that reaches beyond its own width is a segment in itself.
    coarse_left, coarse_right = _without_tails(problem, coarse)
    whole = (coarse_left >= begin - slack) & (coarse_right <= begin + coarse.width + slack)
    finest = MAXIMUM_BITS
    if problem.input_step is not None:
        finest = min(finest, round(np.log2(coarse.width / problem.input_step)))

    @cache
    def parts(bits: int) -> FloatArray:
        """The ends [blocks, parts+1] of all parts of every block."""
        return begin[:, None] + coarse.width * np.linspace(0.0, 1.0, (1 << bits) + 1)

    def entries(block: int, bits: int) -> int:
        reached = parts(bits)[block, :-1] < problem.hi - slack / (1 << bits)
        return max(int(reached.sum()), 1) if whole[block] else 1

    low, high = problem.seen or (problem.lo, problem.hi)
    share = np.where((begin + coarse.width > low) & (begin < high), 1.0, BESIDE)

    def measure(bits: int) -> FloatArray:
        ends = np.clip(parts(bits), problem.lo, problem.hi)
        errors = _segment_errors(problem, curve, ends[:, :-1].ravel(), ends[:, 1:].ravel())
        if problem.density is not None:
            return errors.reshape(len(begin), -1).sum(axis=1)
        return share * errors.reshape(len(begin), -1).max(axis=1)

    limits = np.where(whole, finest, 0)
    weighted = problem.density is not None
    errors = _errors(measure, min(finest, MEASURED_BITS), 16.0 if weighted else 4.0)
    divisions = divide(errors, limits, entries, count, enough=SURE * problem.enough, total=weighted)
    ends = [parts(bits)[block, :entries] for block, (bits, entries) in enumerate(divisions)]
    edges = np.concatenate(ends)[1:]
    left = np.concatenate([coarse_left[:1], edges])
    right = np.concatenate([edges, coarse_right[-1:]])
    unfitted = np.zeros(len(left))
    segments = Segments(
        "blocks", edges, left, right, unfitted, unfitted, origin=coarse.origin, width=coarse.width
    )
    return fitted(problem, curve, replace(segments, blocks=divisions))


def _without_tails(problem: Problem, coarse: Segments) -> tuple[FloatArray, FloatArray]:
    """The extents of segments whose ends may have become tails: only those outside the range stay so, since the others,
    once divided, may be nearer to the function than a tail is."""
    left, right = coarse.left.copy(), coarse.right.copy()
    if right[0] > problem.lo:
        left[0] = max(left[0], problem.lo)
    if left[-1] < problem.hi:
        right[-1] = min(right[-1], problem.hi)
    return left, right


def octave_block_segments(problem: Problem, count: int) -> Segments:
    """At most `count` segments in even parts of octaves, from the smallest to the largest magnitude of the range and beyond.

    Where relative accuracy matters, the octaves are divided alike before the worst blocks are divided further.
    """
    signed = is_signed(problem)
    budget = max(count // 2, 1) if signed else count
    unit, (smallest, largest) = problem.input_step or 1.0, magnitudes(problem)
    lowest = 0.0 if problem.lo <= 0.0 and not signed else smallest
    e_min, octaves, inside = _octaves(problem, smallest / unit, largest / unit, budget)
    most = min(MAXIMUM_BLOCKS // 2 if signed else MAXIMUM_BLOCKS, max(budget // SEGMENTS_A_BLOCK, octaves))
    bits = int(np.log2(max(most // octaves, 1)))
    block = np.arange(octaves << bits)
    begin = unit * np.ldexp(1.0 + (block & ((1 << bits) - 1)) / (1 << bits), e_min + (block >> bits))
    width = unit * np.ldexp(0.5**bits, e_min + (block >> bits))
    inside = np.repeat(inside, 1 << bits)
    limits = np.full(len(block), MAXIMUM_BITS)
    if problem.input_step is not None:
        limits = np.clip(e_min + (block >> bits) - bits, 0, MAXIMUM_BITS)

    @cache
    def parts(bits: int) -> FloatArray:
        return begin[:, None] + width[:, None] * np.linspace(0.0, 1.0, (1 << bits) + 1)

    def measure(bits: int) -> FloatArray:
        ends = parts(bits).copy()
        ends[inside.argmax(), 0] = min(ends[inside.argmax(), 0], lowest)
        signs = (1.0, -1.0) if signed else (1.0,)
        return np.maximum.reduce(
            [_errors_on(problem, np.clip(ends, lowest, largest), sign) for sign in signs]
        )

    least = np.where(inside, 0, np.clip(MARGIN_BITS - bits, 0, limits))
    if problem.relative:
        alike = max((budget - int((1 << least[~inside]).sum())) // max(int(inside.sum()), 1), 1)
        least = np.where(inside, np.minimum(int(np.log2(alike)), limits), least)
    errors = np.where(inside, _errors(measure, MEASURED_BITS), 0.0)
    divisions = divide(errors, limits, lambda _, bits: 1 << bits, budget, least, SURE * problem.enough)
    ends = [parts(bits)[number, :-1] for number, (bits, _) in enumerate(divisions)]
    edges = np.append(np.concatenate(ends), begin[-1] + width[-1])
    addressing = Segments(
        "octave-blocks", *5 * (edges,), e_min=e_min, mantissa_bits=bits, signed=signed, blocks=divisions
    )
    return on_magnitudes(problem, edges, smallest, addressing)


def _octaves(
    problem: Problem, smallest: float, largest: float, budget: int
) -> tuple[int, int, NDArray[np.bool_]]:
    """The exponent of the first octave, the number of octaves, and which of them hold the range: others lie beside it."""
    most = min(MAXIMUM_BLOCKS // 2 if is_signed(problem) else MAXIMUM_BLOCKS, budget)
    first = int(np.floor(np.log2(smallest) + 1e-12))
    last = max(int(np.ceil(np.log2(largest) - 1e-12)) - 1, first)
    first = max(first, last - most + 1)
    spare = most - (last - first + 1) if budget >= LEAST_ENTRIES_WITH_MARGINS else 0
    below = min(MARGIN_OCTAVES, spare // 2) if problem.lo > 0 or problem.hi < 0 else 0
    # A largest value that begins the next octave stays with the segment that ends there.
    above = 0 if math.frexp(largest)[0] == 0.5 else min(MARGIN_OCTAVES, spare - below)
    if problem.input_step is not None:
        below, above = min(below, first), max(min(above, problem.input_bits - 2 - last), 0)
    numbers = np.arange(first - below, last + above + 1)
    return first - below, len(numbers), (numbers >= first) & (numbers <= last)


def _errors_on(problem: Problem, ends: FloatArray, sign: float) -> FloatArray:
    """The largest error of the segments between the magnitudes `ends` [blocks, parts+1] on one half-line; [blocks]."""
    curve = trace(lambda magnitude: problem.function(sign * magnitude), float(ends.min()), float(ends.max()))
    left, right = ends[:, :-1].ravel(), ends[:, 1:].ravel()
    last = problem.last_arguments(left, right, magnitudes(problem)[1])
    lines = fit_lines(curve, left, right, problem.rule, last, MEASURED_POINTS)
    return np.asarray(lines.errors.reshape(len(ends), -1).max(axis=1))


def _segment_errors(problem: Problem, curve: Curve, left: FloatArray, right: FloatArray) -> FloatArray:
    """The largest error of each segment, or its part of the expected squared error where the density is known."""
    if problem.density is None:
        last = problem.last_arguments(left, right, problem.hi)
        return fit_lines(curve, left, right, problem.rule, last, MEASURED_POINTS).errors
    x = curve.points(left, right, FIT_POINTS)
    y = problem.function(x)
    lines = problem.rule(x, y)
    square = problem.density(x) * (y - lines.slopes[:, None] * x - lines.intercepts[:, None]) ** 2
    return np.asarray(np.trapezoid(square, x, axis=1))


def _errors(measure: Callable[[int], FloatArray], measured: int, gain: float = 4.0) -> FloatArray:
    """The errors [bits, blocks] of every block by its division, the finest by extrapolation: each bit divides them by
    `gain`."""
    errors = [measure(bits) for bits in range(measured + 1)]
    errors += [errors[-1] / gain**further for further in range(1, MAXIMUM_BITS - measured + 1)]
    return np.stack(errors)


def divide(
    errors: FloatArray,
    limits: np.ndarray,
    entries: Callable[[int, int], int],
    count: int,
    least: np.ndarray | None = None,
    enough: float = 0.0,
    total: bool = False,
) -> tuple[Division, ...]:
    """The division of each block after the worst one was halved again and again, as long as `count` entries suffice.

    `errors` [bits, blocks] tells how good a block gets, `limits` [blocks] the most bits, `entries` the price, `least`
    [blocks] where to begin. A block whose error is at most `enough` is left as it is. Where errors add up to a `total`,
    the worst block is the one with the largest error an entry.
    """
    bits = np.zeros(errors.shape[1], np.int64) if least is None else least.astype(np.int64)
    used = [entries(block, int(bits[block])) for block in range(len(bits))]
    error = errors[bits, np.arange(len(bits))]
    open_blocks = (bits < limits) & (error > enough)
    while open_blocks.any():
        need = error / np.array(used) if total else error
        worst = int(np.argmax(np.where(open_blocks, need, -1.0)))
        more = entries(worst, int(bits[worst]) + 1)
        if sum(used) - used[worst] + more > count:
            open_blocks[worst] = False
            continue
        bits[worst] += 1
        used[worst], error[worst] = more, errors[bits[worst], worst]
        open_blocks[worst] = bits[worst] < limits[worst] and error[worst] > enough
    return tuple(zip(bits.tolist(), used, strict=True))
