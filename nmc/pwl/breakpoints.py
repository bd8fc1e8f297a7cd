"""Free breakpoints: segments wherever the error is least, told apart by a tree of comparators."""

from collections.abc import Callable

import numpy as np

from nmc.pwl.curve import Curve, trace
from nmc.pwl.fit import optimal_breakpoints
from nmc.pwl.functions import FloatArray, Function
from nmc.pwl.segments import MAXIMUM_BREAKPOINT_ENTRIES, Problem, Segments, errors_of, fitted, tail_deviations

TAIL_SHARE = 0.9
"""A tail takes over below this share of the error, and so still does when the segments get better."""
TAIL_PRICE = 1.005
"""How much larger the error may get when tails come in: they are exact far out, where segments only happen to be good."""
TAIL_ROUNDS = 4
"""Bound on the rounds in which tails grow; the gain of each is a fraction of the one before."""


def breakpoint_segments(problem: Problem, curve: Curve, count: int) -> Segments:
    """At most `count` (and at most 64) segments with equal errors, or spread by the density if given.

    Where the function comes as close to one of its tails as the segments come to the function, the tail takes
    over and the segments are spread over the rest of the range, which makes them better and the tail longer.
    """
    count = min(count, MAXIMUM_BREAKPOINT_ENTRIES)
    best = _between(problem, curve, count, problem.lo, problem.hi)
    if problem.density is not None or problem.mode != "minimax" or count < 3:
        return best
    error = errors_of(problem, best).maximum
    for allowed in (TAIL_PRICE, *[1.0] * (TAIL_ROUNDS - 1)):
        lo, hi = _tail_ends(problem, curve, error)
        if (lo, hi) == (problem.lo, problem.hi) or lo >= hi:
            break
        tried = _between(problem, curve, count, lo, hi)
        tried_error = errors_of(problem, tried).maximum
        if tried_error >= allowed * error:
            break
        best, error = tried, tried_error
    return best


def _between(problem: Problem, curve: Curve, count: int, lo: float, hi: float) -> Segments:
    """Segments over [lo, hi], and tails for what the range has outside of it or entries are kept for."""
    # Two of 64 segments cost 1.066 of the error: they are kept only where an argument has integers outside the range.
    # Elsewhere its format saturates where the range ends.
    least = MAXIMUM_BREAKPOINT_ENTRIES if problem.input_step is not None else count + 1
    kept_below, kept_above = problem.reserves(count, least)
    below, above = lo > problem.lo or kept_below, hi < problem.hi or kept_above
    inside = count - below - above
    if problem.density is None:
        knots = optimal_breakpoints(problem.function, lo, hi, inside, problem.function.kinks)
    else:
        knots = trace(problem.function, lo, hi, problem.density).quantiles(inside)
    # A right end that belongs to the range stays out of the tail, whose line is not fitted there.
    end = hi if hi < problem.hi else float(np.nextafter(hi, np.inf))
    edges = np.concatenate([[lo] if below else [], knots[1:-1], [end] if above else []])
    step = problem.input_step
    if step is not None:
        beyond = 1 if above and hi == problem.hi else 0
        first, last = round(problem.lo / step), round(problem.hi / step)
        inner = np.clip(np.round(knots[1:-1] / step), first + 1, max(last - 1, first + 1))
        ends = [round(lo / step)] * below + [round(hi / step) + beyond] * above
        edges = np.unique(np.concatenate([inner, ends])) * step
    left = np.concatenate([[-np.inf if below else problem.lo], edges])
    right = np.concatenate([edges, [np.inf if above else problem.hi]])
    unfitted = np.zeros(len(left))
    return fitted(problem, curve, Segments("breakpoints", edges, left, right, unfitted, unfitted))


def _tail_ends(problem: Problem, curve: Curve, error: float) -> tuple[float, float]:
    """How far into the range, from each side, a tail stays nearer to the function than `error`."""
    below, above = tail_deviations(problem.function, curve.grid)
    lo, hi = problem.lo, problem.hi
    if below is not None and below[0] <= TAIL_SHARE * error:
        lo = float(curve.grid[np.flatnonzero(below <= TAIL_SHARE * error)[-1]])
    if above is not None and above[-1] <= TAIL_SHARE * error:
        hi = float(curve.grid[np.flatnonzero(above <= TAIL_SHARE * error)[0]])
    return lo, hi


def exact_segments(function: Function) -> Segments:
    """The pieces of a function that is piecewise linear: its own corners, its own lines, no error."""
    starts, slopes, intercepts = (np.array(column) for column in zip(*function.pieces, strict=True))
    return Segments(
        "breakpoints", starts[1:], starts, np.concatenate([starts[1:], [np.inf]]), slopes, intercepts
    )


def density_of(
    counts: FloatArray, edges: FloatArray, floor: float = 0.01
) -> Callable[[FloatArray], FloatArray]:
    """The density of a histogram ([n] counts, [n+1] edges), never below a hundredth of the even one.

    The floor keeps values that calibration did not meet from being fitted arbitrarily badly.
    """
    width = np.diff(edges)
    even = 1.0 / float(edges[-1] - edges[0])
    heights = (1.0 - floor) * counts / (counts.sum() * width) + floor * even

    def density(x: FloatArray) -> FloatArray:
        index = np.searchsorted(edges, x, side="right") - 1
        inside = (index >= 0) & (index < len(heights))
        return np.where(inside, heights[np.clip(index, 0, len(heights) - 1)], floor * even)

    return density
