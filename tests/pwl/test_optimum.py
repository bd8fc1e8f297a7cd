"""Tables are near the optimum of their addressing, found here by other means than those they are fitted with."""

from itertools import pairwise

import numpy as np
import pytest

from nmc.pwl import fit_table, function_named, optimal_breakpoints

SLACK = 1.05

RANGES = {
    "sigmoid": (-8.0, 8.0),
    "tanh": (-4.0, 4.0),
    "erf": (-3.0, 3.0),
    "silu": (-8.0, 8.0),
    "softplus": (-8.0, 8.0),
    "log": (0.0625, 16.0),
    "sqrt": (0.0625, 16.0),
    "rsqrt": (0.0625, 16.0),
    "reciprocal": (0.0625, 16.0),
    "sin": (-3.0, 3.0),
    "cos": (-3.0, 3.0),
}
OTHER_RANGES = {"gelu": (-4.0, 4.0), "exp": (-8.0, 0.0)}
GRID_POINTS = 600
GOLDEN = 0.5 * (5.0**0.5 - 1.0)


def least_error(x: np.ndarray, y: np.ndarray) -> float:
    """The error of the best line: half the least vertical width over all slopes, which golden sections find."""
    if len(x) < 3:
        return 0.0
    chords = np.diff(y) / np.diff(x)
    low, high = float(chords.min()), float(chords.max())
    for _ in range(24):
        first, second = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if np.ptp(y - first * x) < np.ptp(y - second * x):
            high = second
        else:
            low = first
    return 0.5 * float(np.ptp(y - low * x))


def segments_needed(x: np.ndarray, y: np.ndarray, error: float, most: int) -> int:
    """How many segments reach an error when each goes as far as it can; stops above `most`."""
    begin, count = 0, 0
    while begin < len(x) - 1 and count <= most:
        near, far = begin + 1, len(x)
        while far - near > 1:
            middle = (near + far) // 2
            if least_error(x[begin : middle + 1], y[begin : middle + 1]) <= error:
                near = middle
            else:
                far = middle
        begin, count = near, count + 1
    return count


def error_of(name: str, segments: int, addressing: str) -> float:
    """The largest deviation of a table on a fine grid."""
    x = np.linspace(*RANGES[name], 40_001)
    table = fit_table(name, *RANGES[name], segments=segments, addressing=addressing)
    return float(np.abs(table(x) - function_named(name)(x)).max())


@pytest.mark.parametrize("name", RANGES)
def test_free_segments_are_as_few_as_their_error_allows(name: str) -> None:
    """With 1.05 times less error, greedy segments on a grid (which sees less error than there is) need more than 12."""
    low, high = RANGES[name]
    x = np.geomspace(low, high, GRID_POINTS) if low > 0 else np.linspace(low, high, GRID_POINTS)
    # between grid points a segment may reach up to one spacing farther at each end
    grid_slack = 1.0 + 2 * 2 * 12 / GRID_POINTS
    error = error_of(name, 12, "breakpoints") / SLACK / grid_slack
    assert segments_needed(x, function_named(name)(x), error, 12) > 12


def worst_of_equal_parts(name: str, ends: np.ndarray) -> float:
    """The largest error of the best line of each segment."""
    function = function_named(name)
    parts = (np.linspace(a, b, 65) for a, b in pairwise(ends))
    return max(least_error(x, function(x)) for x in parts)


@pytest.mark.parametrize("segments", [16, 64, 96])
@pytest.mark.parametrize("name", RANGES)
def test_uniform_segments_have_the_error_of_equal_parts_at_most(name: str, segments: int) -> None:
    bound = worst_of_equal_parts(name, np.linspace(*RANGES[name], segments + 1))
    assert error_of(name, segments, "uniform") <= SLACK * bound


@pytest.mark.parametrize("segments", [32, 128])
@pytest.mark.parametrize("name", [name for name, (low, _) in RANGES.items() if low > 0])
def test_octaves_have_the_error_of_equal_parts_of_octaves_at_most(name: str, segments: int) -> None:
    parts = segments // 8
    octaves = [2.0**exponent * (1.0 + np.arange(parts) / parts) for exponent in range(-4, 4)]
    bound = worst_of_equal_parts(name, np.append(np.concatenate(octaves), 16.0))
    assert error_of(name, segments, "octave") <= SLACK * bound


@pytest.mark.parametrize("segments", [8, 16, 32, 64])
@pytest.mark.parametrize("name", ["gelu", "exp", *RANGES])
def test_no_choice_of_as_many_segments_is_better_by_a_hundredth(name: str, segments: int) -> None:
    """Of any other choice, one segment contains one of these whole, and is no better than the best line of that.

    The best line is that of a grid, which sees an error less than a thousandth below the true one (65 points a segment:
    (1 / 64)² of a parabola's, and half of that in a half).
    """
    low, high = OTHER_RANGES.get(name) or RANGES[name]
    function = function_named(name)
    table = fit_table(name, low, high, segments=segments, addressing="breakpoints")
    assert table.entries <= segments
    x = np.linspace(low, high, 100_001)
    ends = optimal_breakpoints(function, low, high, segments)
    parts = (np.linspace(a, b, 65) for a, b in pairwise(ends))
    bound = min(least_error(part, function(part)) for part in parts)
    assert np.abs(table(x) - function(x)).max() <= 1.01 * bound
