"""Where to sample a function so that no feature is missed, however wide the range it is looked at on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmc.pwl.functions import FloatArray, TableError

EVEN_POINTS = 4097
"""Evenly spaced points of the first look at a function."""
CLUSTER_POINTS = 321
"""Points closing in geometrically on both ends and on zero from each side, where functions bend sharply."""
CLUSTER_DECADES = 9.0
"""How close to zero or an end, in decades below the width of the range, the clusters reach."""


@dataclass(frozen=True)
class Curve:
    """A function on [lo, hi] with a coordinate in which its bends are evenly spread.

    `arc` is [n], the integral of |f''|^power up to `grid`: with power 1/2, line segments of equal arc have
    equal minimax error when they are short (error = f'' * width^2 / 16), which is where optimal breakpoints
    start.
    """

    evaluate: Callable[[FloatArray], FloatArray]
    grid: FloatArray
    arc: FloatArray

    def points(self, left: FloatArray, right: FloatArray, count: int) -> FloatArray:
        """Sample points [segments, count], ascending from left to right ([segments]), both ends included.

        Half of them are even in x and half even in arc, so that a bend in a corner of a wide segment is seen.
        """
        even = np.linspace(0.0, 1.0, count - count // 2)
        bent = np.linspace(0.0, 1.0, count // 2 + 2)[1:-1]
        arc_left, arc_right = np.interp(left, self.grid, self.arc), np.interp(right, self.grid, self.arc)
        arcs = arc_left[:, None] + (arc_right - arc_left)[:, None] * bent
        width = (right - left)[:, None]
        sampled = np.concatenate([left[:, None] + width * even, np.interp(arcs, self.arc, self.grid)], axis=1)
        sampled = np.clip(sampled, left[:, None], right[:, None])
        sampled.sort(axis=1)
        return sampled

    @property
    def bend(self) -> float:
        """The whole arc: how much there is to bend around; nearly 0 for a straight line."""
        return float(self.arc[-1] - self.arc[0])

    def quantiles(self, count: int) -> FloatArray:
        """[count+1] points from lo to hi between which the arc grows by equal amounts."""
        inner = np.interp(np.linspace(self.arc[0], self.arc[-1], count + 1)[1:-1], self.arc, self.grid)
        return np.concatenate([self.grid[:1], inner, self.grid[-1:]])


def trace(
    evaluate: Callable[[FloatArray], FloatArray],
    lo: float,
    hi: float,
    density: Callable[[FloatArray], FloatArray] | None = None,
) -> Curve:
    """Look at a function on [lo, hi], lo < hi, and measure where it bends.

    With a probability density of the argument, the arc is of (density * f''^2)^(1/5): equal parts of it
    minimise the expected squared error of short segments. Raises TableError where the function is not finite.
    """
    grid = _first_look(lo, hi)
    values = evaluate(grid)
    if not np.isfinite(values).all():
        where = float(grid[~np.isfinite(values)][0])
        raise TableError(
            f"the function is not finite at {where:g}, inside the range [{lo:g}, {hi:g}]; narrow it"
        )
    width = np.diff(grid)
    bend = np.abs(np.diff(np.diff(values) / width)) * 2.0 / (grid[2:] - grid[:-2])
    # A second difference cannot be told from rounding below a few units in the last place of the values.
    noise = 16 * np.finfo(np.float64).eps * np.abs(values).max() / (width[:-1] * width[1:])
    bend = np.maximum(bend - noise, 0.0)
    rate = np.sqrt(bend) if density is None else (density(grid[1:-1]) * bend**2) ** 0.2
    rate = np.concatenate([rate[:1], 0.5 * (rate[1:] + rate[:-1]), rate[-1:]])
    arc = np.concatenate([[0.0], np.cumsum(rate * width)])
    # A floor keeps the arc strictly increasing where the function is straight.
    floor = 1e-3 * arc[-1] or 1e-9
    return Curve(evaluate, grid, arc + floor * (grid - lo) / (hi - lo))


def _first_look(lo: float, hi: float) -> NDArray[np.float64]:
    """Ascending distinct points of [lo, hi]: even, and clustered at both ends and at zero."""
    near = np.logspace(-CLUSTER_DECADES, 0.0, CLUSTER_POINTS) * (hi - lo)
    parts = [np.linspace(lo, hi, EVEN_POINTS), lo + near, hi - near]
    if lo < 0 < hi:
        parts += [near, -near]
    points = np.unique(np.clip(np.concatenate(parts), lo, hi))
    # Points that differ only in their last bits would make second differences of pure rounding.
    apart = np.diff(points) > 1e-13 * max(abs(lo), abs(hi))
    return points[np.concatenate([[True], apart])]
