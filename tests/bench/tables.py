"""The errors of tables against the optimum of their size, published tables and 16-bit steps: `python -m tests.bench.tables`.

No segments of any kind can have a smaller largest error than the smallest error among as many segments that cover the same
range: one of the others contains one of these whole. That bounds free breakpoints from below; with evenly wide segments, and
octaves evenly divided, there is only one choice of segments, whose best lines are the optimum.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nmc.pwl import Table, fit_table, function_named, optimal_breakpoints
from nmc.pwl.functions import Function
from nmc.quant.formats import DATA_BITS, TensorFormat, TensorRange
from nmc.quant.ranges import scale_for
from passes.fold_waves import PHASES, QUARTER
from passes.formats import HEADROOM
from passes.linearise import table_range
from tests.bench import methods
from tests.bench.results import markdown, store
from tests.pwl import test_optimum

RANGES = {"gelu": (-4.0, 4.0), "exp": (-8.0, 0.0), **test_optimum.RANGES}
SIZES = {"breakpoints": (8, 16, 32, 64), "uniform": (16, 64, 256), "octave": (64, 256)}
POINTS = 400_001
"""Of the grid that errors are measured on."""


@dataclass(frozen=True)
class Row:
    """A table, or a published substitute, of one function; the optimum is None where it isn't known."""

    function: str
    low: float
    high: float
    method: str
    segments: int | None
    max_error: float
    optimum: float | None
    steps: float
    """The largest error in steps of a 16-bit result whose range has the headroom that the compiler leaves."""


def main(_arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes build/bench/tables.json."""
    rows = list(measure())
    print(table(rows))
    store("tables", rows)


def measure() -> Iterator[Row]:
    """All rows, function by function."""
    for name, (low, high) in RANGES.items():
        function = function_named(name)
        for addressing, sizes in SIZES.items():
            if addressing == "octave" and low <= 0.0:
                continue
            for segments in sizes:
                fitted = fit_table(name, low, high, segments=segments, addressing=addressing)
                bound = optimum(function, low, high, segments, addressing)
                yield _row(function, low, high, addressing, segments, fitted, bound)
        default = default_table(name, low, high)
        yield _row(
            *(function, low, high, f"default ({default.addressing})", default.entries, default, None),
            integers_of(low, high),
        )
        span = TensorRange(low, high)
        for method, substitute, entries in PUBLISHED:
            chosen = substitute(function, span)
            if chosen is not None and name in ("gelu", "exp"):
                yield _row(function, low, high, method, entries, chosen, None)


@dataclass(frozen=True)
class Composed:
    """A table of a sine that reads its argument mirrored into half a wave, as the compiler makes it."""

    mirror: Function
    table: Table

    @property
    def addressing(self) -> str:
        """How the table finds its segments."""
        return f"{self.table.addressing}, mirrored"

    @property
    def entries(self) -> int:
        """Of the sine's table."""
        return self.table.entries

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The values of the mirrored arguments."""
        return self.table(self.mirror(x))


def default_table(name: str, low: float, high: float) -> Table | Composed:
    """The table that the compiler makes without options where calibration saw [low, high] of an argument of 16 bits."""
    if name in PHASES and max(-low, high) > QUARTER:
        into = {"low": -QUARTER, "high": QUARTER, "phase": PHASES[name], "lowest": low, "highest": high}
        return Composed(function_named("mirror", into), default_table("sin", -QUARTER, QUARTER))
    seen, form = TensorRange(low, high), argument_format(low, high)
    span = table_range(function_named(name), seen, form)
    return fit_table(name, span.low, span.high, input_step=form.scale, seen=(low, high))


def argument_format(low: float, high: float) -> TensorFormat:
    """16 bits with the headroom that the compiler leaves."""
    bound = HEADROOM * max(-low, high)
    return TensorFormat(scale_for(-bound, bound, DATA_BITS), DATA_BITS)


def integers_of(low: float, high: float) -> np.ndarray:
    """What the integers of the argument's format that [low, high] is rounded to stand for."""
    scale = argument_format(low, high).scale
    return np.arange(round(low / scale), round(high / scale) + 1) * scale


PUBLISHED = (
    ("GQA-LUT", methods.of_gqa_lut, 8),
    ("NN-LUT's construction", methods.of_nn_lut, methods.NN_LUT_ENTRIES),
    ("I-BERT's polynomial", methods.of_i_bert, None),
)


def _row(
    function: Function,
    low: float,
    high: float,
    method: str,
    segments: int | None,
    fitted: Callable[[np.ndarray], np.ndarray],
    bound: float | None,
    places: np.ndarray | None = None,
) -> Row:
    x = np.linspace(low, high, POINTS) if places is None else places
    exact = function(x)
    error = float(np.abs(fitted(x) - exact).max())
    largest = HEADROOM * float(np.abs(exact).max())
    return Row(
        function.name, low, high, method, segments, error, bound, error / scale_for(-largest, largest, 16)
    )


def optimum(function: Function, low: float, high: float, segments: int, addressing: str) -> float:
    """The least error that segments of an addressing can have, or less."""
    if addressing == "breakpoints":
        return float(best_errors(function, optimal_breakpoints(function, low, high, segments)).min())
    if addressing == "uniform":
        return float(best_errors(function, np.linspace(low, high, segments + 1)).max())
    octaves = round(np.log2(high / low))
    parts = segments // octaves
    ends = [low * 2.0**octave * (1.0 + np.arange(parts) / parts) for octave in range(octaves)]
    return float(best_errors(function, np.append(np.concatenate(ends), high)).max())


def best_errors(function: Function, ends: np.ndarray) -> np.ndarray:
    """The error of the best line of each segment between `ends` [segments+1], found by golden sections; [segments]."""
    x = np.stack([np.linspace(a, b, 400) for a, b in pairwise(ends)])
    return np.array([test_optimum.least_error(*part) for part in zip(x, function(x), strict=True)])


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    header = ("function", "range", "method", "segments", "max error", "× optimum", "16-bit steps")
    cells = [
        (
            row.function,
            f"[{row.low:g}, {row.high:g}]",
            row.method,
            "" if row.segments is None else str(row.segments),
            f"{row.max_error:.3g}",
            "" if row.optimum is None else f"{row.max_error / row.optimum:.3f}",
            f"{row.steps:.2f}",
        )
        for row in rows
    ]
    return markdown(header, cells)


if __name__ == "__main__":
    main()
