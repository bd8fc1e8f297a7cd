"""Accuracy against the granularity of chord tables, as in NeuralMatrix, beside the default fit with as many segments:
`python -m tests.bench.granularity [MODEL…] [--exact FUNCTION]…`.

Tables of both kinds stand in the same matrix form, in floats, over the same calibrated ranges, so that only the fit differs.
Piecewise linear functions are exact in both wherever their corners are multiples of the granularity, as those of relu and
relu6 are of all granularities here.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

import models
from nmc.pwl import Function, Table, fit_table
from nmc.pwl.segments import DEFAULT_ENTRIES
from nmc.quant.formats import DATA_BITS, TensorFormat, TensorRange
from nmc.quant.ranges import scale_for
from passes.formats import HEADROOM
from passes.linearise import fitted_range
from tests.bench.emulation import Array, cosines, emulate, some
from tests.bench.results import markdown, parser_of, store

GRANULARITIES = (0.1, 0.25, 0.5, 0.75, 1.0)
SAMPLES = {"magika": 200}
"""Test samples used where the whole set would take too long."""


@dataclass(frozen=True)
class Row:
    """One model at one granularity: its metric and its agreement with the exact functions, for chords and for our fit."""

    model: str
    granularity: float | None
    """None for the exact functions."""
    segments: float
    """On average over the tables."""
    chord_metric: float
    chord_cosine: float
    fitted_metric: float
    fitted_cosine: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes build/bench/granularity.json."""
    parser = parser_of(__doc__, "model", models.NAMES)
    parser.add_argument(
        "--exact", action="append", default=[], help="a function that no table replaces; writes no JSON"
    )
    chosen = parser.parse_args(arguments)
    rows = [row for name in chosen.model or models.NAMES for row in measure(name, chosen.exact)]
    print(table(rows))
    if not chosen.exact:
        store("granularity", rows, chosen.model)


def measure(name: str, kept: Collection[str] = ()) -> list[Row]:
    """The rows of one model, the one with exact functions first; the functions named in `kept` are exact in all."""
    emulation = emulate(models.get(name))
    model, count = emulation.model, SAMPLES.get(name)
    data = {key: some(array, count) for key, array in model.test().items()}
    labels = some(model.labels(), count)
    exact, _ = emulation.outputs(data, lambda function, span: None)
    (expected,) = exact.values()

    def tried(fit: Callable[[Function, TensorRange], Table]) -> tuple[float, float]:
        def replacement(function: Function, seen: TensorRange) -> Callable[[Array], Array] | None:
            return None if function.name in kept else saturating(fit, function, seen)

        outputs, _ = emulation.outputs(data, replacement)
        (actual,) = outputs.values()
        return model.metric(outputs, labels), float(cosines(expected, actual).mean())

    metric = model.metric(exact, labels)
    rows = [Row(name, None, 0.0, metric, 1.0, metric, 1.0)]
    for granularity in GRANULARITIES:
        sizes: list[int] = []

        def chord(function: Function, span: TensorRange, width: float = granularity) -> Table:
            return chords(function, span, width)

        def fitted(
            function: Function, span: TensorRange, width: float = granularity, sizes: list[int] = sizes
        ) -> Table:
            sizes.append(chords(function, span, width).entries)
            return fit_table(function, span.low, span.high, segments=sizes[-1])

        chord_figures, fitted_figures = tried(chord), tried(fitted)
        rows.append(Row(name, granularity, float(np.mean(sizes or [0])), *chord_figures, *fitted_figures))
    return rows


def saturating(
    fit: Callable[[Function, TensorRange], Table], function: Function, seen: TensorRange
) -> Callable[[Array], Array]:
    """A table over the range that the compiler fits it on, of arguments that saturate at its ends as integers do."""
    bound = HEADROOM * max(seen.magnitude, 1e-30)
    span = fitted_range(seen, TensorFormat(scale_for(-bound, bound, DATA_BITS), DATA_BITS), function.octaves)
    table = fit(function, span)
    return table if span == seen else lambda x: table(np.clip(x, span.low, span.high))


def chords(function: Function, span: TensorRange, granularity: float) -> Table:
    """Chords of this width over the range, the outer two going on where the table memory does not suffice."""
    return fit_table(
        function,
        span.low,
        span.high,
        segments=DEFAULT_ENTRIES,
        addressing="uniform",
        mode="chord",
        granularity=granularity,
    )


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    header = ("model", "granularity", "segments", "chords", "cosine", "our fit", "cosine")
    cells = [
        (
            row.model,
            "exact" if row.granularity is None else f"{row.granularity:g}",
            f"{row.segments:.0f}" if row.granularity is not None else "",
            f"{row.chord_metric:.1%}",
            f"{row.chord_cosine:.5f}",
            f"{row.fitted_metric:.1%}",
            f"{row.fitted_cosine:.5f}",
        )
        for row in rows
    ]
    return markdown(header, cells)


if __name__ == "__main__":
    main()
