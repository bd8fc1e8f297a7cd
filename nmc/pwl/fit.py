"""Lines for given segments, and segments for a given number of lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nmc.pwl.curve import Curve, trace
from nmc.pwl.functions import FloatArray

FIT_POINTS = 48
"""Points a segment is fitted on; the error between them is below one in a thousand of the segment's error."""
EXCHANGES = 24
"""Bound on the exchange's rounds; it is done in two or three for a segment without an inflection."""
NEWTON_ROUNDS = 12
"""Bound on the rounds that equalise the errors of free segments; four or five are usual."""


@dataclass(frozen=True)
class Lines:
    """One line a segment: float64 arrays [segments]. `errors` are the largest deviations seen."""

    slopes: FloatArray
    intercepts: FloatArray
    errors: FloatArray


LineRule = Callable[[FloatArray, FloatArray], Lines]
"""Sample points and values, both [segments, points] with x ascending, to the lines of a mode."""


def minimax_lines(x: FloatArray, y: FloatArray) -> Lines:
    """The line with the least maximum deviation on the points of each row.

    A line is best when its error reaches the same magnitude at three points with alternating signs
    (Chebyshev). Found by exchanging one of three reference points a round (Remez), for all segments at once.
    """
    center, half = 0.5 * (x[:, :1] + x[:, -1:]), 0.5 * (x[:, -1:] - x[:, :1])
    half = np.where(half > 0, half, 1.0)
    t, rows = (x - center) / half, np.arange(len(x))
    chord = y[:, :1] + (t - t[:, :1]) * 0.5 * (y[:, -1:] - y[:, :1])
    middle = np.clip(np.argmax(np.abs(y - chord), axis=1), 1, x.shape[1] - 2)
    reference = np.stack([np.zeros_like(middle), middle, np.full_like(middle, x.shape[1] - 1)])
    for _ in range(EXCHANGES):
        slope, intercept, level = _through(t[rows, reference], y[rows, reference])
        residual = y - slope[:, None] * t - intercept[:, None]
        worst = np.argmax(np.abs(residual), axis=1)
        value = residual[rows, worst]
        rounding = 4 * np.finfo(np.float64).eps * np.abs(y).max(axis=1)
        better = np.abs(value) > np.abs(level) * (1 + 1e-9) + rounding
        if not better.any():
            break
        same = (value >= 0) == (level >= 0)
        reference = np.where(better, _exchanged(reference, worst, same), reference)
    return _centred(slope / half[:, 0], x, y)


def chord_lines(x: FloatArray, y: FloatArray) -> Lines:
    """The line through both ends of each row: continuous from segment to segment."""
    width = x[:, -1] - x[:, 0]
    slopes = np.where(width > 0, (y[:, -1] - y[:, 0]) / np.where(width > 0, width, 1.0), 0.0)
    intercepts = y[:, 0] - slopes * x[:, 0]
    return Lines(slopes, intercepts, np.abs(y - slopes[:, None] * x - intercepts[:, None]).max(axis=1))


def weighted_lines(density: Callable[[FloatArray], FloatArray]) -> LineRule:
    """The rule that minimises the squared error expected under a probability density of the argument."""

    def lines(x: FloatArray, y: FloatArray) -> Lines:
        gaps = np.diff(x, axis=1, prepend=x[:, :1], append=x[:, -1:])
        trapezoids = 0.5 * (gaps[:, 1:] + gaps[:, :-1])
        weight = density(x) * trapezoids + 1e-300
        weight = weight / weight.sum(axis=1, keepdims=True)
        mean_x = (weight * x).sum(axis=1, keepdims=True)
        mean_y = (weight * y).sum(axis=1, keepdims=True)
        variance = (weight * (x - mean_x) ** 2).sum(axis=1)
        covariance = (weight * (x - mean_x) * (y - mean_y)).sum(axis=1)
        slopes = np.where(variance > 0, covariance / np.where(variance > 0, variance, 1.0), 0.0)
        intercepts = mean_y[:, 0] - slopes * mean_x[:, 0]
        return Lines(slopes, intercepts, np.abs(y - slopes[:, None] * x - intercepts[:, None]).max(axis=1))

    return lines


def fit_lines(
    curve: Curve,
    left: FloatArray,
    right: FloatArray,
    rule: LineRule = minimax_lines,
    last: FloatArray | None = None,
    points: int = FIT_POINTS,
) -> Lines:
    """A line for each segment [left, right] ([segments] each) of a curve, fitted on so many of its points.

    `last` is the last argument of each where that is before its right end. A line for one argument alone goes through its
    value, as steep as one for the whole segment.
    """
    alone = np.zeros(len(left), bool) if last is None else last <= left
    end = right if last is None else np.where(alone, right, last)
    x = curve.points(left, end, points)
    lines = rule(x, curve.evaluate(x))
    if not alone.any():
        return lines
    through = curve.evaluate(left) - lines.slopes * left
    return Lines(lines.slopes, np.where(alone, through, lines.intercepts), np.where(alone, 0.0, lines.errors))


def optimal_breakpoints(
    function: Callable[[FloatArray], FloatArray], lo: float, hi: float, n: int, kinks: Sequence[float] = ()
) -> FloatArray:
    """The ends [n+1] of the n segments of [lo, hi] whose minimax lines have the least maximum error.

    Between two kinks (corners of the function, which always become ends) all segments have the same error at
    the optimum. The parts between kinks share the n segments by how much they bend; at least one each.
    """
    corners = [lo, *sorted(kink for kink in kinks if lo < kink < hi), hi]
    if n < len(corners) - 1:
        corners = [lo, hi]
    curves = [trace(function, *ends) for ends in pairwise(corners)]
    shares = _shares([curve.bend for curve in curves], n)
    parts = [_equalised(curve, share) for curve, share in zip(curves, shares, strict=True)]
    return np.concatenate([[lo], *(part[1:] for part in parts)])


def _shares(bends: list[float], n: int) -> list[int]:
    """n segments shared so that the largest bend / segments is least: the error goes as its square."""
    shares = [1] * len(bends)
    for _ in range(n - len(bends)):
        neediest = max(range(len(bends)), key=lambda part: bends[part] / shares[part])
        shares[neediest] += 1
    return shares


def _equalised(curve: Curve, n: int) -> FloatArray:
    """The ends [n+1] of n segments of equal minimax error.

    The search starts from segments of equal arc, which is right for short segments, and equalises the square
    roots of their errors (nearly linear in the widths) by Newton's method on the breakpoints and the common
    error.
    """
    ends = best = curve.quantiles(n)
    errors = least = fit_lines(curve, ends[:-1], ends[1:]).errors
    for _ in range(NEWTON_ROUNDS):
        if n == 1 or errors.max() <= errors.min() * 1.002:
            break
        step = _newton_step(curve, ends, errors)
        if step is None:
            break
        for damping in (1.0, 0.5, 0.25, 0.1, 0.03):
            tried = ends + damping * step
            if (np.diff(tried) > 0.05 * np.diff(ends)).all():
                tried_errors = fit_lines(curve, tried[:-1], tried[1:]).errors
                if _unevenness(tried_errors) < _unevenness(errors):
                    ends, errors = tried, tried_errors
                    break
        else:
            break
        if errors.max() < least.max():
            best, least = ends, errors
    return best


def _unevenness(errors: FloatArray) -> float:
    """How far the roots of the errors are from equal: in it the progress of every segment counts."""
    return float(np.std(np.sqrt(errors)))


def _newton_step(curve: Curve, knots: FloatArray, errors: FloatArray) -> FloatArray | None:
    """The change [n+1] of the knots (none of the ends) that makes all errors equal to first order.

    None where it cannot be found: LAPACK's iteration for singular values does not always converge, though the system has
    a solution, and then it may be singular.
    """
    n, width = len(errors), np.diff(knots)
    nudge = 1e-3 * width
    left = np.concatenate([knots[:-1] + nudge, knots[:-1]])
    right = np.concatenate([knots[1:], knots[1:] - nudge])
    base = np.sqrt(errors)
    moved = np.sqrt(np.maximum(fit_lines(curve, left, right).errors, 0.0))
    by_left, by_right = (moved[:n] - base) / nudge, (base - moved[n:]) / nudge
    # Unknowns: the steps of knots 1..n-1, then the common root of the error. Row i: segment i reaches it.
    system = np.zeros((n, n))
    rows = np.arange(n)
    system[rows[1:], rows[:-1]] = by_left[1:]
    system[rows[:-1], rows[:-1]] += by_right[:-1]
    system[:, -1] = -1.0
    for solve in (_least_squares, np.linalg.solve):
        try:
            step = solve(system, -base)[:-1]
        except np.linalg.LinAlgError:
            continue
        return np.pad(step.astype(np.float64), 1)
    return None


def _least_squares(system: FloatArray, wanted: FloatArray) -> FloatArray:
    solution: FloatArray = np.linalg.lstsq(system, wanted, rcond=1e-12)[0].astype(np.float64)
    return solution


def _through(t: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Slope, intercept and level of lines with residuals +level, -level, +level at points [3, segments]."""
    slope = (y[2] - y[0]) / np.where(t[2] > t[0], t[2] - t[0], 1.0)
    level = 0.5 * ((y[0] - y[1]) - slope * (t[0] - t[1]))
    return slope, y[0] - slope * t[0] - level, level


def _exchanged(reference: np.ndarray, worst: np.ndarray, same: np.ndarray) -> np.ndarray:
    """The references [3, segments] after taking in the worst point, so that the signs still alternate.

    `same` tells that the worst residual has the sign of the outer references' residuals.
    """
    first, middle, last = reference
    outside_left = np.stack([worst, np.where(same, middle, first), np.where(same, last, middle)])
    outside_right = np.stack([np.where(same, first, middle), np.where(same, middle, last), worst])
    in_left = np.stack([np.where(same, worst, first), np.where(same, middle, worst), last])
    in_right = np.stack([first, np.where(same, middle, worst), np.where(same, worst, last)])
    inside = np.where(worst < middle, in_left, in_right)
    return np.where(worst < first, outside_left, np.where(worst > last, outside_right, inside))


def _centred(slopes: FloatArray, x: FloatArray, y: FloatArray) -> Lines:
    """The lines with these slopes whose largest deviations above and below are equal."""
    offset = y - slopes[:, None] * x
    highest, lowest = offset.max(axis=1), offset.min(axis=1)
    return Lines(slopes, 0.5 * (highest + lowest), 0.5 * (highest - lowest))
