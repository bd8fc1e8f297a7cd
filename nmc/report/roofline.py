"""Each layer against what the array and the DRAM port allow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nmc.profile import LayerProfile
from nmc.report.style import COLOURS, GRID, INK, legend_above, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 10
"""At most so many layers, those with the most cycles, have their names written."""


@dataclass(frozen=True)
class Point:
    """A layer in the picture."""

    layer: LayerProfile
    intensity: float
    """Multiply-adds for each byte of DRAM traffic."""
    rate: float
    """Multiply-adds a cycle."""
    area: float
    """Square points: its share of all cycles."""

    @property
    def radius(self) -> float:
        """Of its circle, in points: matplotlib takes the square of the diameter for an area."""
        return math.sqrt(self.area) / 2


def points_of(layers: Sequence[LayerProfile]) -> list[Point]:
    """The layers that multiply. None lies above the roof: while a layer keeps a unit busy it cannot be faster than
    that unit, even if others run at the same time and most of these cycles are theirs."""
    total = sum(layer.cycles for layer in layers) or 1
    return [
        Point(
            layer,
            layer.macs / max(layer.dram_bytes, 1),
            layer.macs / max(layer.cycles, layer.busy_cycles),
            2500.0 * layer.cycles / total + 12.0,
        )
        for layer in layers
        if layer.macs and layer.cycles
    ]


def roofline(layers: Sequence[LayerProfile], cells: int, bytes_per_cycle: int) -> "Figure":
    """Multiply-adds a cycle over multiply-adds a DRAM byte, both logarithmic; areas are cycles."""
    figure, (axes,) = new_figure(4.8)
    points, ridge = points_of(layers), cells / bytes_per_cycle
    low = min([ridge / 64, *(point.intensity / 2 for point in points)])
    # a layer whose operands stay in the scratchpad has next to no traffic: it stands at the right edge
    most = max([ridge * 8, *(min(point.intensity, ridge * 256) for point in points)])
    _roof(axes, low, 2 * most, cells, bytes_per_cycle)
    for bound in dict.fromkeys(point.layer.bound for point in points):
        chosen = [point for point in points if point.layer.bound == bound]
        axes.scatter([], [], 40.0, color=COLOURS[bound], alpha=0.65, label=f"bound by {bound}")
        axes.scatter(
            [min(point.intensity, most) for point in chosen], [point.rate for point in chosen],
            [point.area for point in chosen], color=COLOURS[bound], alpha=0.65, edgecolor="white", linewidth=0.6,
        )  # fmt: skip
    for point in _named(points, most):
        axes.annotate(
            point.layer.name, (min(point.intensity, most), point.rate), (point.radius + 3, 0),
            textcoords="offset points", va="center", fontsize=8, color=INK, zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(low, 2 * most), ylim=(None, cells * 1.8))
    axes.set_xlabel("multiply-adds for each byte of DRAM traffic", color=INK)
    axes.set_ylabel("multiply-adds a cycle", color=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _place: f"{value:g}")
    axes.grid(which="major", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    legend_above(axes, 3)
    return figure


def _roof(axes: "Axes", low: float, high: float, cells: int, bytes_per_cycle: int) -> None:
    """What the DRAM port allows up to the ridge and the array beyond it, named above the line: no layer can be there."""
    places = np.array([low, cells / bytes_per_cycle, high])
    axes.plot(places, np.minimum(places * bytes_per_cycle, cells), color=INK, linewidth=1.6)
    axes.annotate(
        f"array: {cells} multiply-adds a cycle", (high, cells), (-4, 4), textcoords="offset points",
        ha="right", fontsize=9, color=INK,
    )  # fmt: skip
    middle = math.sqrt(low * cells / bytes_per_cycle)
    axes.annotate(
        f"DRAM port: {bytes_per_cycle} bytes a cycle", (middle, middle * bytes_per_cycle), (-6, 4),
        textcoords="offset points", ha="right", fontsize=9, color=INK,
    )  # fmt: skip


def _named(points: Sequence[Point], most: float) -> list[Point]:
    """Of the layers with the most cycles those whose names do not overlap."""
    chosen: list[Point] = []
    for point in sorted(points, key=lambda each: -each.layer.cycles):
        x = math.log10(min(point.intensity, most))
        apart = (
            abs(x - math.log10(min(other.intensity, most))) > 0.6
            or abs(math.log10(point.rate / other.rate)) > 0.12
            for other in chosen
        )
        if len(chosen) < NAMED and all(apart):
            chosen.append(point)
    return chosen
