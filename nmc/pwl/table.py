"""Tables of line segments in real numbers: how one is fitted, and what it evaluates to."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from nmc.pwl.blocks import block_segments, octave_block_segments
from nmc.pwl.breakpoints import breakpoint_segments, density_of, exact_segments
from nmc.pwl.curve import trace
from nmc.pwl.fit import LineRule, chord_lines, minimax_lines, weighted_lines
from nmc.pwl.functions import FloatArray, Function, TableError, function_named
from nmc.pwl.octave import is_signed, octave_segments, spans_octaves
from nmc.pwl.quantised_table import SLOPE_LIMIT, QuantisedTable, quantise_table
from nmc.pwl.segments import (
    DEFAULT_ENTRIES,
    MAXIMUM_ENTRIES,
    Errors,
    Problem,
    Segments,
    errors_of,
    fitted_range,
)
from nmc.pwl.uniform import uniform_segments

ADDRESSINGS = ("auto", "uniform", "octave", "breakpoints", "blocks", "octave-blocks")
MODES = ("minimax", "chord")
OCTAVES_BEFORE_OCTAVE_ADDRESSING = 3.0
"""An argument that spans more than eight-fold is addressed by octaves when its function prefers them."""

Histogram = tuple[ArrayLike, ArrayLike]
"""(counts [n], ascending edges [n+1]) of the values that the input took in calibration."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Table(Segments):
    """A function's line segments: value = slopes[i] * x + intercepts[i] with i = address(x), in float64.

    `lo` and `hi` are the fitted range, over which `max_error` and `mean_error` are measured; `seen_error` is the largest
    one where arguments are expected.
    """

    function: Function
    mode: str
    lo: float
    hi: float
    max_error: float
    mean_error: float
    seen_error: float
    input_step: float | None = None
    input_bits: int = 16

    @property
    def entries(self) -> int:
        """The number of segments."""
        return len(self.slopes)

    def address(self, x: ArrayLike) -> np.ndarray:
        """The entry for each x; int64, of x's shape."""
        return np.searchsorted(self.boundaries, np.asarray(x, np.float64), side="right")

    def __call__(self, x: ArrayLike) -> FloatArray:
        """The table's values, float64 of x's shape."""
        x = np.asarray(x, np.float64)
        index = self.address(x)
        return self.slopes[index] * x + self.intercepts[index]

    def least_output_scale(self, input_scale: float) -> float:
        """The smallest output scale for which every slope over the fitted range can be stored.

        A slope of more than 32767 output steps an input step is cut off: wide outputs of narrow inputs need a
        scale of at least this.
        """
        inside = (self.right > self.lo) & (self.left < self.hi) & (self.right - self.left > input_scale)
        return float(np.abs(self.slopes[inside]).max(initial=0.0)) * input_scale / SLOPE_LIMIT

    def quantise(
        self, input_scale: float, output_scale: float, input_bits: int = 16, output_bits: int = 16
    ) -> QuantisedTable:
        """The integer table for inputs and outputs of these scales, with the same segments.

        Slopes that are too steep to store are cut off (`QuantisedTable.clipped_slopes`); see
        `least_output_scale`. Raises TableError when uniform or octave segments were not fitted for this input
        scale.
        """
        return quantise_table(self, input_scale, output_scale, input_bits, output_bits)


def fit_table(
    function: str | Function,
    lo: float,
    hi: float,
    *,
    params: Mapping[str, float] | None = None,
    segments: int = DEFAULT_ENTRIES,
    addressing: str = "auto",
    mode: str = "minimax",
    granularity: float | None = None,
    max_error: float | None = None,
    input_step: float | None = None,
    input_bits: int = 16,
    histogram: Histogram | None = None,
    relative: bool = False,
    enough: float = 0.0,
    seen: tuple[float, float] | None = None,
) -> Table:
    """The best table of at most `segments` entries for a function on [lo, hi].

    A piecewise linear function gets its exact segments. Otherwise `addressing` "auto" takes octaves when the
    function prefers them and the range spans more than eight-fold, and of those, or else of the others, the
    addressing with the smallest maximum error (expected squared error with a histogram). `relative` keeps octaves
    from being traded: the result's relative error matters as well as the largest one.

    `granularity` asks for uniform segments of that width, as in the paper's experiments. `max_error` asks for the
    fewest entries that meet it; when none does, the best table within `segments` is returned, and its `max_error`
    tells. With `enough`, entries are saved, or memory, where the error stays below that. `seen` is where arguments are
    expected: beside it an error may be eight times as large. `input_step` is the input's
    scale: boundaries then fall on its integers, so that the quantised table has the same segments. Raises
    TableError.
    """
    _check_options(segments, addressing, mode, granularity, input_step, histogram)
    resolved = function_named(function, params) if isinstance(function, str) else function
    lo, hi = fitted_range(resolved, lo, hi, input_step, input_bits)
    density = None
    if histogram is not None:
        counts, edges = histogram
        density = density_of(np.asarray(counts, np.float64), np.asarray(edges, np.float64))
    problem = Problem(
        *(resolved, lo, hi, _line_rule(mode, density), mode, input_step, input_bits, density),
        relative=relative,
        enough=enough,
        seen=seen,
    )
    if resolved.pieces and addressing in ("auto", "breakpoints"):
        return _table(problem, exact_segments(resolved), Errors(0.0, 0.0, 0.0, 0.0, 0.0))
    strategies = _strategies(problem, addressing, granularity)
    if max_error is None:
        return _best(problem, strategies, segments)
    return _smallest(problem, strategies, segments, max_error)


_Strategy = Callable[[int], Segments]


def _strategies(problem: Problem, addressing: str, granularity: float | None) -> list[_Strategy]:
    """What to try: each takes the number of entries allowed and returns segments."""
    span = f"[{problem.lo:g}, {problem.hi:g}]"
    both_signs = problem.lo < 0 < problem.hi and 0.0 in problem.function.excluded
    prefers = (
        problem.function.octaves
        and granularity is None
        and spans_octaves(problem, OCTAVES_BEFORE_OCTAVE_ADDRESSING)
    )
    divisible = problem.mode == "minimax"
    strategies: list[_Strategy] = []
    if addressing.startswith("octave") or (addressing == "auto" and prefers):
        if problem.hi <= 0 and not is_signed(problem):
            raise TableError(f"{problem.function}: octave addressing needs positive inputs, not {span}")
        if addressing != "octave-blocks":
            strategies.append(lambda count: octave_segments(problem, count))
        if addressing == "octave-blocks" or (addressing == "auto" and divisible and problem.density is None):
            strategies.append(lambda count: octave_block_segments(problem, count))
        return strategies
    if both_signs:
        raise TableError(f"{problem.function} has a pole in {span}; use octave addressing")
    curve = trace(problem.function, problem.lo, problem.hi)
    if addressing in ("auto", "uniform"):
        strategies.append(lambda count: uniform_segments(problem, curve, count, granularity))
    if addressing == "breakpoints" or (addressing == "auto" and granularity is None):
        strategies.append(lambda count: breakpoint_segments(problem, curve, count))
    if addressing == "blocks" or (addressing == "auto" and granularity is None and divisible):
        strategies.append(lambda count: block_segments(problem, curve, count))
    return strategies


def _best(problem: Problem, strategies: list[_Strategy], count: int) -> Table:
    """The table with the least error of those that the strategies make of `count` entries; of several whose error is
    small enough, the one that takes the least memory.
    """
    candidates = [(made, errors_of(problem, made)) for made in (strategy(count) for strategy in strategies)]
    met = [candidate for candidate in candidates if candidate[1].counted <= problem.enough]
    if met:
        chosen, errors = min(met, key=lambda candidate: candidate[0].stored_bytes)
    else:
        chosen, errors = min(candidates, key=lambda candidate: candidate[1].score(problem))
    return _table(problem, chosen, errors)


def _smallest(problem: Problem, strategies: list[_Strategy], count: int, max_error: float) -> Table:
    """The table with the fewest entries that meets the error, by bisection; else the best of `count`."""
    met = _best(problem, strategies, count)
    too_few, enough = 0, count
    while met.max_error <= max_error and enough - too_few > 1:
        middle = (too_few + enough) // 2
        tried = _best(problem, strategies, middle)
        if tried.max_error <= max_error:
            met, enough = tried, middle
        else:
            too_few = middle
    return met


def _line_rule(mode: str, density: Callable[[FloatArray], FloatArray] | None) -> LineRule:
    if mode == "chord":
        return chord_lines
    return minimax_lines if density is None else weighted_lines(density)


def _table(problem: Problem, segments: Segments, errors: Errors) -> Table:
    parts = {part.name: getattr(segments, part.name) for part in fields(segments)}
    for part in parts.values():
        if isinstance(part, np.ndarray):
            part.setflags(write=False)
    return Table(
        **parts,
        function=problem.function,
        mode=problem.mode,
        lo=problem.lo,
        hi=problem.hi,
        max_error=errors.maximum,
        mean_error=errors.mean,
        seen_error=errors.seen,
        input_step=problem.input_step,
        input_bits=problem.input_bits,
    )


def _check_options(
    segments: int,
    addressing: str,
    mode: str,
    granularity: float | None,
    input_step: float | None,
    histogram: Histogram | None,
) -> None:
    if not 1 <= segments <= MAXIMUM_ENTRIES:
        raise TableError(f"a table has 1 to {MAXIMUM_ENTRIES} segments, not {segments}")
    if addressing not in ADDRESSINGS:
        raise TableError(f"there is no addressing {addressing!r}; choose from {', '.join(ADDRESSINGS)}")
    if mode not in MODES:
        raise TableError(f"there is no fitting mode {mode!r}; choose from {', '.join(MODES)}")
    for name, value in (("granularity", granularity), ("input step", input_step)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise TableError(f"the {name} is {value}; it must be a positive number")
    if granularity is not None and addressing not in ("auto", "uniform"):
        raise TableError(
            f"a granularity makes uniform segments, not {addressing} ones; leave out one of the two"
        )
    if histogram is not None:
        counts, edges = (np.asarray(part, np.float64) for part in histogram)
        if len(edges) != len(counts) + 1 or (np.diff(edges) <= 0).any() or not counts.sum() > 0:
            raise TableError(
                "a histogram is (counts [n], ascending edges [n+1]) with at least one count above 0"
            )
