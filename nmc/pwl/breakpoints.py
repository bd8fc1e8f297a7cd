"""Free breakpoints: segments wherever the error is least, told apart by a tree of comparators."""

from collections.abc import Callable

import numpy as np

from nmc.pwl.curve import Curve, trace
from nmc.pwl.fit import optimal_breakpoints
from nmc.pwl.functions import FloatArray, Function
from nmc.pwl.segments import MAXIMUM_BREAKPOINT_ENTRIES, Problem, Segments, fitted


def breakpoint_segments(problem: Problem, curve: Curve, count: int) -> Segments:
    """At most `count` (and at most 64) segments with equal errors, or spread by the density if given."""
    count = min(count, MAXIMUM_BREAKPOINT_ENTRIES)
    below, above = problem.reserves(count)
    inside = count - below - above
    if problem.density is None:
        knots = optimal_breakpoints(problem.function, problem.lo, problem.hi, inside, problem.function.kinks)
    else:
        knots = trace(problem.function, problem.lo, problem.hi, problem.density).quantiles(inside)
    edges = knots[1:-1]
    step = problem.input_step
    if step is not None:
        first, last = round(problem.lo / step), round(problem.hi / step)
        integers = np.unique(np.clip(np.round(edges / step), first + 1, max(last - 1, first + 1)))
        edges = integers * step
        after = (last + 1) * step
    else:
        after = float(np.nextafter(problem.hi, np.inf))
    edges = np.concatenate([[problem.lo] if below else [], edges, [after] if above else []])
    left = np.concatenate([[-np.inf if below else problem.lo], edges])
    right = np.concatenate([edges, [np.inf if above else problem.hi]])
    unfitted = np.zeros(len(left))
    return fitted(problem, curve, Segments("breakpoints", edges, left, right, unfitted, unfitted))


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
