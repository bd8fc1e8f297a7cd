"""Real-valued tables: their errors, their choice of addressing, and what lies outside their range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmc.pwl import RULES, TableError, fit_table, function_named

EXACT = sorted(name for name in RULES if function_named(name).pieces)
SMOOTH = sorted(name for name in RULES if not function_named(name).pieces)


def dense(lo: float, hi: float) -> np.ndarray:
    return np.linspace(lo, hi, 100_003)


@pytest.mark.parametrize("segments", [5, 32, 256])
@pytest.mark.parametrize("name", SMOOTH)
def test_no_value_is_farther_off_than_the_table_says(name: str, segments: int) -> None:
    table = fit_table(name, *function_named(name).usual_range, segments=segments)
    x = dense(table.lo, table.hi)
    error = np.abs(table(x) - table.function(x))
    assert table.entries <= segments
    # The maximum is measured at points h = 1/32 of a segment apart at most: a parabola's peak lies at most
    # h/2 aside, where it is lower by (2 * h/2)^2 of its height, which is twice the error.
    assert error.max() <= table.max_error * (1 + 2 / 32**2) + 1e-12
    assert error.mean() == pytest.approx(table.mean_error, rel=0.02, abs=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_piecewise_linear_functions_are_exact_everywhere(name: str) -> None:
    table = fit_table(name, -3.0, 5.0)
    assert (table.max_error, table.mean_error) == (0.0, 0.0)
    x = np.concatenate([dense(-20, 20), table.boundaries, np.nextafter(table.boundaries, -np.inf)])
    np.testing.assert_array_equal(table(x), table.function(x))


@pytest.mark.parametrize(
    ("name", "lo", "hi", "segments", "bound"),
    [
        ("gelu", -4, 4, 8, 0.0071),
        ("gelu", -4, 4, 16, 0.0021),
        ("gelu", -4, 4, 32, 0.00050),
        ("exp", -8, 0, 8, 0.0039),
        ("exp", -8, 0, 16, 0.00096),
        ("exp", -8, 0, 32, 0.00024),
    ],
)
def test_small_tables_choose_the_optimal_breakpoints(
    name: str, lo: float, hi: float, segments: int, bound: float
) -> None:
    table = fit_table(name, lo, hi, segments=segments)
    assert table.addressing == "breakpoints" and table.entries == segments
    assert table.max_error <= bound


def test_twice_the_uniform_segments_leave_a_quarter_of_the_error() -> None:
    coarse, fine = (fit_table("sin", -2, 2, segments=n, addressing="uniform").max_error for n in (64, 128))
    assert coarse == pytest.approx(4 * fine, rel=0.05)


@pytest.mark.parametrize("name", ["gelu", "softplus", "sigmoid", "silu", "mish", "elu"])
def test_a_wide_range_costs_little_because_tails_are_straight(name: str) -> None:
    near, wide = fit_table(name, -8, 8), fit_table(name, -1000, 1000)
    # 64 breakpoints instead of 256 uniform segments: sixteen times the error of equal ones at worst.
    assert wide.max_error <= 16 * near.max_error


@pytest.mark.parametrize(
    ("addressing", "segments", "step"), [("uniform", 96, None), ("breakpoints", 64, 2.0**-8)]
)
@pytest.mark.parametrize("name", ["gelu", "sigmoid", "tanh", "silu", "softplus", "hard_swish", "selu"])
def test_beyond_the_range_a_table_follows_the_tails(
    name: str, addressing: str, segments: int, step: float | None
) -> None:
    """Integers of 2^-8 reach from -128 to 128: many lie outside [-6, 6]."""
    table = fit_table(name, -6.0, 6.0, addressing=addressing, segments=segments, input_step=step)
    x = np.concatenate([np.linspace(-100, -6, 1000), np.linspace(6, 100, 1000)])
    # selu(-6) is 0.0044 above its tail, the slowest to come near of these; a tail outside halves that.
    assert np.abs(table(x) - table.function(x)).max() <= 0.01


def test_far_out_a_gate_is_exactly_zero_or_its_input() -> None:
    table = fit_table("gelu", -30.0, 30.0)
    np.testing.assert_array_equal(table([-1e3, -25.0, 25.0, 1e3]), [0.0, 0.0, 25.0, 1e3])


@pytest.mark.parametrize("name", ["reciprocal", "rsqrt", "sqrt", "log"])
def test_octaves_keep_the_error_even_over_decades(name: str) -> None:
    """k parts an octave: minimax error f'' (x/k)^2 / 16, where x^2 f'' <= 2 f (and 1 for the logarithm)."""
    table = fit_table(name, 2.0**-10, 2.0**10, addressing="octave")
    assert table.mantissa_bits == 3
    x = np.exp2(np.linspace(-10, 10, 100_001))
    wanted = table.function(x)
    size = np.ones_like(x) if name == "log" else np.abs(wanted)
    assert (np.abs(table(x) - wanted) / size).max() <= 2 / 8**2 / 16 * 1.01


def test_unused_entries_extend_octaves_beyond_the_range() -> None:
    table = fit_table("rsqrt", 1.0, 1000.0)
    for x in (0.3, 3000.0):
        assert float(table(x)) == pytest.approx(x**-0.5, rel=0.01)


def test_a_reciprocal_of_both_signs_is_odd() -> None:
    table = fit_table("reciprocal", -20.0, 50.0, relative=True)
    x = np.exp2(np.linspace(-4, 4, 999))
    assert table.signed
    np.testing.assert_allclose(table(-x), -table(x), rtol=1e-12)
    assert np.abs(table(x) * x - 1).max() < 0.01


def test_a_root_from_zero_spends_its_octaves_where_the_error_is() -> None:
    table = fit_table("sqrt", 0.0, 16.0)
    assert table.max_error < 0.001 and float(table(0.0)) < 0.001


@pytest.mark.parametrize("name", ["log", "rsqrt", "reciprocal"])
def test_zero_and_negative_arguments_give_finite_values(name: str) -> None:
    table = fit_table(name, 0.0, 100.0, input_step=1e-3)
    assert np.isfinite(table([0.0, -1.0, -1e6])).all()


def test_max_error_is_met_with_the_fewest_entries() -> None:
    table = fit_table("tanh", -4, 4, max_error=1e-3)
    assert table.max_error <= 1e-3
    assert fit_table("tanh", -4, 4, segments=table.entries - 1).max_error > 1e-3


def test_an_error_out_of_reach_gives_the_best_table() -> None:
    table = fit_table("tanh", -4, 4, max_error=1e-12, segments=16)
    assert table.entries == 16 and table.max_error == fit_table("tanh", -4, 4, segments=16).max_error


@pytest.mark.parametrize("granularity", [0.1, 0.25, 0.5, 1.0])
def test_chords_of_a_granularity_interpolate_at_its_multiples(granularity: float) -> None:
    table = fit_table("gelu", -4.0, 4.0, mode="chord", granularity=granularity)
    inside = table.boundaries[np.abs(table.boundaries) <= 4 + 1e-9]
    assert table.width == pytest.approx(granularity, rel=1e-12)
    np.testing.assert_allclose(inside / granularity, np.round(inside / granularity), atol=1e-9)
    # Just below a boundary as well as on it, since a chord holds up to both of its ends.
    for x in (inside[np.abs(inside) < 4 - 1e-9], np.nextafter(inside[1:], -np.inf)):
        np.testing.assert_allclose(table(x), table.function(x), atol=1e-12)
    # A chord's error is at most max |f''| g^2 / 8, and gelu'' is at most 2 phi(0) = 0.798.
    assert table.max_error <= 0.798 * granularity**2 / 8


def test_more_segments_than_fit_leave_the_rest_to_the_outer_two() -> None:
    table = fit_table("exp", -100.0, 0.0, mode="chord", granularity=0.1)
    assert table.entries == 256
    assert table.max_error <= 1.01 * 0.1**2 / 8


def test_a_histogram_lowers_the_expected_error_where_the_data_are() -> None:
    edges = np.linspace(-8, 8, 161)
    counts = np.exp(-0.5 * ((edges[:-1] + 0.05 - 2) / 0.3) ** 2)
    x = np.random.default_rng(5).normal(2, 0.3, 20_000)
    for addressing in ("breakpoints", "auto"):
        plain = fit_table("gelu", -8, 8, segments=32, addressing=addressing)
        weighted = fit_table("gelu", -8, 8, segments=32, addressing=addressing, histogram=(counts, edges))
        plain_error, weighted_error = (np.mean((t(x) - t.function(x)) ** 2) for t in (plain, weighted))
        assert weighted_error < 0.5 * plain_error
        # What calibration did not meet is still fitted, if less well.
        assert weighted.max_error < 0.1


@pytest.mark.parametrize("name", ["log1p", "acosh", "asin", "atanh"])
def test_a_range_beyond_the_domain_is_cut_to_it(name: str) -> None:
    table = fit_table(name, -3.0, 3.0)
    assert table.function.domain[0] <= table.lo < table.hi <= table.function.domain[1]
    assert np.isfinite(table(dense(-3, 3))).all()


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("point", [0.0, 1.0])
def test_a_range_of_one_point_gives_a_table(name: str, point: float) -> None:
    function = function_named(name)
    point = min(max(point, function.domain[0]), function.domain[1])
    for step in (None, 2.0**-10):
        table = fit_table(name, point, point, input_step=step)
        wanted = float(function(point))
        assert np.isfinite(table(point))
        if np.isfinite(wanted):
            # asin and acosh rise by a root of the widened range, which is one step.
            assert float(table(point)) == pytest.approx(wanted, abs=2.0**-4)


@given(
    st.floats(-50, 50), st.floats(0.01, 100), st.integers(1, 256), st.sampled_from(["uniform", "breakpoints"])
)
@settings(deadline=None, max_examples=50)
def test_addresses_count_the_boundaries_at_or_below(
    lo: float, width: float, segments: int, addressing: str
) -> None:
    table = fit_table("atan", lo, lo + width, segments=segments, addressing=addressing)
    x = np.concatenate([np.linspace(lo - width, lo + 2 * width, 97), table.boundaries])
    expected = (table.boundaries[None, :] <= x[:, None]).sum(axis=1)
    np.testing.assert_array_equal(table.address(x), expected)
    assert len(table.boundaries) == table.entries - 1 <= segments - 1


@pytest.mark.parametrize("segments", [1, 2, 3])
@pytest.mark.parametrize("addressing", ["uniform", "breakpoints"])
def test_the_smallest_tables_span_both_sides_of_zero(segments: int, addressing: str) -> None:
    table = fit_table("atan", -0.03, 0.02, segments=segments, addressing=addressing, input_step=2e-5)
    # atan(x) = x - x^3 / 3, and the identity is a candidate line.
    assert table.entries <= segments and table.max_error <= 0.03**3 / 3


def test_fitting_the_same_table_twice_gives_the_same_numbers() -> None:
    first, second = (fit_table("mish", -9, 7, input_step=1e-3) for _ in range(2))
    np.testing.assert_array_equal(first.slopes, second.slopes)
    np.testing.assert_array_equal(first.intercepts, second.intercepts)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("exp", 0, 1e4), {}, "not finite at .* narrow it"),
        (("log", -5, -1), {}, r"log is not defined on \[-5, -1\], only on \[0, inf\]"),
        (("gelu", 4, -4), {}, "not a finite interval"),
        (("gelu", 0, float("inf")), {}, "not a finite interval"),
        (("gelu", -4, 4), {"segments": 0}, "1 to 512 segments, not 0"),
        (("gelu", -4, 4), {"addressing": "hash"}, "no addressing 'hash'"),
        (("gelu", -4, 4), {"mode": "spline"}, "no fitting mode 'spline'"),
        (("gelu", -4, 4), {"granularity": -1.0}, "granularity is -1.0; it must be a positive number"),
        (("gelu", -4, 4), {"granularity": 1.0, "addressing": "octave"}, "leave out one of the two"),
        (("gelu", -4, 4), {"histogram": ([1.0], [0.0])}, "ascending edges"),
        (("reciprocal", -4, 4), {"addressing": "uniform"}, "has a pole in .*; use octave addressing"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(
    arguments: tuple[str, float, float], options: dict[str, object], message: str
) -> None:
    with pytest.raises(TableError, match=message) as refusal:
        fit_table(*arguments, **options)
    assert "\n" not in str(refusal.value)
