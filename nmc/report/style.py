"""How the pictures of all reports look."""

import io
from typing import TYPE_CHECKING

from nmc.timing import ARRAY, DRAIN, DRAM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH = 10.6
"""Inches: the width of the page."""

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = {ARRAY: "#2f6db3", DRAIN: "#e08a1e", DRAM: "#2f9268", "latency": "#9aa5b1"}
"""Of what occupies time: the same in every picture."""


def new_figure(height: float, rows: int = 1) -> tuple["Figure", list["Axes"]]:
    """An empty figure as wide as the page with axes below each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, 1, squeeze=False, sharex=True)[:, 0]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set_color(FAINT)
        each.tick_params(colors=INK, labelsize=9)
    return figure, list(axes)


def thousands(axis: "Axis") -> None:
    """Writes the numbers along an axis as 1,500 k or 3 M."""
    from matplotlib.ticker import FuncFormatter

    def text(value: float, _position: object = None) -> str:
        if value >= 1e6:
            return f"{value / 1e6:g} M"
        return f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"

    axis.set_major_formatter(FuncFormatter(text))


def legend_above(axes: "Axes", columns: int) -> None:
    """The legend at the upper right outside the axes, where it can cover nothing."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, ncols=columns, loc="lower right", bbox_to_anchor=(1.0, 1.0))


def svg(figure: "Figure") -> str:
    """The figure as an SVG element, the same for the same figure."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nmc", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
