"""Lines and breakpoints are the best there are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nmc.pwl import function_named, optimal_breakpoints
from nmc.pwl.curve import trace
from nmc.pwl.fit import chord_lines, fit_lines, minimax_lines, weighted_lines

VALUES = arrays.arrays(np.float64, 12, elements=st.floats(-100, 100, width=32))
POINTS = np.sort(np.random.default_rng(3).uniform(-5, 5, 12))


@given(VALUES, st.floats(-30, 30), st.floats(-200, 200))
def test_no_other_line_is_nearer_than_the_minimax_line(y: np.ndarray, slope: float, intercept: float) -> None:
    best = minimax_lines(POINTS[None], y[None])
    other = np.abs(y - slope * POINTS - intercept).max()
    assert best.errors[0] <= other + 1e-9


@given(VALUES)
def test_the_minimax_error_alternates_at_three_points(y: np.ndarray) -> None:
    """Chebyshev's condition, which is sufficient: no line can be nearer to these three points."""
    best = minimax_lines(POINTS[None], y[None])
    residual = y - best.slopes[0] * POINTS - best.intercepts[0]
    reached = np.abs(residual) >= best.errors[0] * (1 - 1e-6)
    signs = np.sign(residual[reached])
    assert best.errors[0] < 1e-9 or np.count_nonzero(np.diff(signs)) >= 2


def test_a_chord_meets_the_function_at_both_ends() -> None:
    curve = trace(np.exp, -1.0, 2.0)
    left, right = np.array([-1.0, 0.5]), np.array([0.5, 2.0])
    lines = fit_lines(curve, left, right, chord_lines)
    for ends in (left, right):
        np.testing.assert_allclose(lines.slopes * ends + lines.intercepts, np.exp(ends), rtol=1e-14)


def test_a_weighted_line_is_the_line_of_least_expected_square() -> None:
    """Against the normal equations on a dense grid, with a density that rises tenfold."""

    def density(x: np.ndarray) -> np.ndarray:
        return 1 + 9 * x

    curve = trace(np.exp, 0.0, 1.0)
    line = fit_lines(curve, np.array([0.0]), np.array([1.0]), weighted_lines(density))
    x = np.linspace(0, 1, 20001)
    slope, intercept = np.polyfit(x, np.exp(x), 1, w=np.sqrt(density(x)))
    # The rule integrates with 48 uneven points by the trapezoid rule: second order in 1/24.
    assert line.slopes[0] == pytest.approx(slope, abs=2 / 24**2)
    assert line.intercepts[0] == pytest.approx(intercept, abs=2 / 24**2)


@pytest.mark.parametrize(
    ("name", "lo", "hi", "n", "bound"),
    [
        ("gelu", -4, 4, 8, 0.0071),
        ("gelu", -4, 4, 16, 0.0021),
        ("gelu", -4, 4, 32, 0.00050),
        ("exp", -8, 0, 8, 0.0039),
        ("exp", -8, 0, 16, 0.00096),
        ("exp", -8, 0, 32, 0.00024),
    ],
)
def test_free_breakpoints_reach_the_known_optima(
    name: str, lo: float, hi: float, n: int, bound: float
) -> None:
    function = function_named(name)
    ends = optimal_breakpoints(function, lo, hi, n)
    assert len(ends) == n + 1 and (np.diff(ends) > 0).all() and ends[0] == lo and ends[-1] == hi
    worst = 0.0
    for left, right in pairwise(ends.tolist()):
        x = np.linspace(left, right, 2001)
        line = minimax_lines(x[None], function(x)[None])
        worst = max(worst, float(line.errors[0]))
    assert worst <= bound


@pytest.mark.parametrize("name", ["gelu", "sigmoid", "sin", "softplus", "tanh", "exp", "mish"])
@pytest.mark.parametrize("n", [5, 24, 64])
def test_free_segments_have_equal_errors(name: str, n: int) -> None:
    """Equal errors are the optimum: to lower the largest, its segment must shrink and another must grow."""
    function = function_named(name)
    ends = optimal_breakpoints(function, -3.0, 5.0, n)
    errors = fit_lines(trace(function, -3.0, 5.0), ends[:-1], ends[1:]).errors
    assert errors.max() <= 1.01 * errors.min()


def test_exponential_segments_have_the_asymptotic_error() -> None:
    """n segments leave (integral of sqrt f'')^2 / (16 n^2), up to terms that vanish as n grows."""
    ends = optimal_breakpoints(np.exp, -8.0, 0.0, 64)
    errors = fit_lines(trace(np.exp, -8.0, 0.0), ends[:-1], ends[1:]).errors
    assert errors.max() == pytest.approx((2 * (1 - np.exp(-4.0))) ** 2 / (16 * 64**2), rel=0.01)


def test_kinks_become_breakpoints() -> None:
    function = function_named("hard_swish")
    ends = optimal_breakpoints(function, -8.0, 8.0, 16, function.kinks)
    assert {-3.0, 3.0} <= set(ends.tolist())
    # Fourteen segments of 6/14 on x^2/6: f'' / 16 * width^2; the outer two are exact.
    errors = fit_lines(trace(function, -8.0, 8.0), ends[:-1], ends[1:]).errors
    assert errors.max() == pytest.approx((1 / 3) / 16 * (6 / 14) ** 2, rel=0.02)


def test_points_find_a_bend_in_the_corner_of_a_wide_segment() -> None:
    curve = trace(function_named("softplus"), -1e4, 1e4)
    points = curve.points(np.array([-1e4]), np.array([0.0]), 48)[0]
    assert np.count_nonzero(points > -10) >= 16


def test_breakpoints_are_found_where_singular_values_are_not() -> None:
    """LAPACK does not find those of this system; a table with even errors is 64 segments of at most this one."""
    ends = 1.0591795444488525
    knots = optimal_breakpoints(np.tanh, -ends, ends, 63)
    errors = fit_lines(trace(np.tanh, -ends, ends), knots[:-1], knots[1:]).errors
    assert errors.max() <= 1.01 * errors.min()


def test_a_system_that_no_solver_solves_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise np.linalg.LinAlgError

    monkeypatch.setattr(np.linalg, "lstsq", fail)
    monkeypatch.setattr(np.linalg, "solve", fail)
    knots = optimal_breakpoints(np.tanh, -1.0, 1.0, 16)
    assert len(knots) == 17
    assert (np.diff(knots) > 0).all()
