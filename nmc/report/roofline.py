"""Each layer against what the array and the DRAM port allow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nmc.profile import LayerProfile
from nmc.report.style import COLOURS, FAINT, GRID, INK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 8
"""The layers with the most cycles have their names written."""


def roofline(layers: Sequence[LayerProfile], cells: int, bytes_per_cycle: int) -> "Figure":
    """Multiply-adds a cycle over multiply-adds a DRAM byte, both logarithmic; areas are cycles."""
    figure, (axes,) = new_figure(4.6)
    shown = [layer for layer in layers if layer.macs and layer.cycles]
    intensity = np.array([layer.macs / max(layer.dram_bytes, 1) for layer in shown])
    achieved = np.array([layer.macs / layer.cycles for layer in shown])
    ridge = cells / bytes_per_cycle
    low = min([ridge / 64, *(intensity / 2)])
    high = max([ridge * 16, *(np.minimum(intensity, ridge * 256) * 2)])
    roof = np.geomspace(low, high, 200)
    axes.plot(roof, np.minimum(roof * bytes_per_cycle, cells), color=INK, linewidth=1.6)
    axes.text(
        high, cells * 1.08, f"{cells} multiply-adds a cycle", ha="right", va="bottom", fontsize=9, color=INK
    )
    axes.text(
        low * 1.1, low * bytes_per_cycle * 1.6, f"{bytes_per_cycle} bytes a cycle", fontsize=9, color=INK
    )
    total = sum(layer.cycles for layer in layers) or 1
    for bound in dict.fromkeys(layer.bound for layer in shown):
        chosen = np.array([layer.bound == bound for layer in shown])
        areas = [2500.0 * layer.cycles / total + 12.0 for layer in shown if layer.bound == bound]
        axes.scatter([], [], 40.0, color=COLOURS[bound], alpha=0.65, label=f"bound by {bound}")
        axes.scatter(
            np.minimum(intensity[chosen], high / 2), achieved[chosen], areas, color=COLOURS[bound], alpha=0.65,
            edgecolor="white", linewidth=0.6,
        )  # fmt: skip
    for layer, place in _named(shown, high / 2):
        axes.annotate(layer.name, place, (6, 6), textcoords="offset points", fontsize=7.5, color=FAINT)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(None, cells * 1.6))
    axes.set_xlabel("multiply-adds for each byte of DRAM traffic", color=INK)
    axes.set_ylabel("multiply-adds a cycle", color=INK)
    axes.grid(which="major", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _named(layers: Sequence[LayerProfile], most: float) -> list[tuple[LayerProfile, tuple[float, float]]]:
    """Of the layers with the most cycles those whose names do not overlap, and their places."""
    chosen: list[tuple[LayerProfile, tuple[float, float]]] = []
    for layer in sorted(layers, key=lambda each: -each.cycles):
        x, y = min(layer.macs / max(layer.dram_bytes, 1), most), layer.macs / layer.cycles
        apart = (abs(np.log10(x / a)) > 0.6 or abs(np.log10(y / b)) > 0.12 for _, (a, b) in chosen)
        if len(chosen) < NAMED and all(apart):
            chosen.append((layer, (x, y)))
    return chosen
