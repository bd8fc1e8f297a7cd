"""Tables for people: a row of figures, and a picture of the function, its segments and the error."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmc.pwl.functions import TableError
from nmc.pwl.quantised_table import QuantisedTable
from nmc.pwl.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVEN_POINTS = 4001
"""Evenly spaced points a curve is drawn through: several for each pixel."""
SEGMENT_POINTS = 24
"""Further points in each segment: narrow ones show their whole error on a logarithmic axis, too."""
_INK, _FUNCTION, _SEGMENTS, _ERROR, _BOUND = "#1f2933", "#9fb3c8", "#0b69a3", "#c0392b", "#829ab1"


def row(table: Table | QuantisedTable) -> dict[str, Any]:
    """The figures of a table for a report; errors are absolute, in real units, over the fitted range."""
    figures: dict[str, Any] = {
        "function": str(table.function),
        "addressing": table.addressing,
        "segments": table.entries,
        "range": [table.lo, table.hi],
        "max_error": table.max_error,
        "mean_error": table.mean_error,
    }
    if isinstance(table, QuantisedTable):
        figures |= {
            "bits": [table.input_bits, table.output_bits],
            "table_max_error": table.table_max_error,
            "clipped_slopes": table.clipped_slopes,
        }
    return figures


def rows(tables: list[Table | QuantisedTable]) -> list[dict[str, Any]]:
    """`row` of each table, those with the largest error first."""
    return sorted((row(table) for table in tables), key=lambda figures: -figures["max_error"])


def plot(table: Table, file: Path) -> bytes:
    """The content of a picture file: the function with its segments above, and the error of each segment below.

    The file's suffix chooses the format (.png, .svg, .pdf). Raises TableError when matplotlib is not
    installed or the suffix is none that it can write.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise TableError(
            "plotting a table needs matplotlib; install it with: pip install matplotlib"
        ) from None
    figure = Figure(figsize=(9.0, 6.4), dpi=160, layout="constrained", facecolor="white")
    formats = FigureCanvasAgg(figure).get_supported_filetypes()
    kind = file.suffix.lstrip(".").lower()
    if kind not in formats:
        raise TableError(f"cannot draw into {file}: its suffix must be one of {', '.join(sorted(formats))}")
    draw(table, figure)
    picture = BytesIO()
    figure.savefig(picture, format=kind)
    return picture.getvalue()


def draw(table: Table, figure: "Figure") -> None:
    """Draw a table into an empty matplotlib figure."""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    x = np.unique(np.concatenate([np.linspace(table.lo, table.hi, EVEN_POINTS), _in_each_segment(table)]))
    wanted = table.function(x)
    _draw_function(above, table, x, wanted)
    _draw_error(below, table, x, table(x) - wanted)
    if table.addressing == "octave" and table.lo > 0 and table.hi > 16 * table.lo:
        below.set_xscale("log", base=2)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK)
        axes.margins(x=0.0)


def _draw_function(axes: "Axes", table: Table, x: np.ndarray, wanted: np.ndarray) -> None:
    axes.plot(x, wanted, color=_FUNCTION, linewidth=7, solid_capstyle="round", label=str(table.function))
    axes.plot(x, table(x), color=_SEGMENTS, linewidth=1.3, label=f"{table.entries} segments")
    knots = _inside(table)
    axes.plot(knots, table(knots), ".", color=_SEGMENTS, markersize=5 if len(knots) < 80 else 2.5)
    axes.set_title(
        f"{table.function} on [{table.lo:g}, {table.hi:g}]: {table.entries} segments ({table.addressing})",
        loc="left",
        color=_INK,
        fontsize=12,
        fontweight="bold",
    )
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.legend(frameon=False, loc="best")


def _draw_error(axes: "Axes", table: Table, x: np.ndarray, error: np.ndarray) -> None:
    for knot in _inside(table) if table.entries <= 80 else ():
        axes.axvline(float(knot), color="#e4e7eb", linewidth=0.7)
    axes.fill_between(x, error, color=_ERROR, alpha=0.18, linewidth=0)
    axes.plot(x, error, color=_ERROR, linewidth=0.9)
    for bound in (-table.max_error, table.max_error):
        axes.axhline(bound, color=_BOUND, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_title(
        f"error: at most {table.max_error:.3g}, on average {table.mean_error:.3g}",
        loc="left",
        color=_INK,
        fontsize=10,
    )
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.set_xlabel("x", color=_INK)


def _in_each_segment(table: Table) -> np.ndarray:
    ends = np.concatenate([[table.lo], _inside(table), [table.hi]])
    return (ends[:-1, None] + np.diff(ends)[:, None] * np.linspace(0.0, 1.0, SEGMENT_POINTS)).ravel()


def _inside(table: Table) -> np.ndarray:
    """The boundaries that lie in the fitted range."""
    return table.boundaries[(table.boundaries > table.lo) & (table.boundaries < table.hi)]
