"""How busy the three units are over time, and what they do in the layer that wastes most."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nmc.fused_layers import with_fused
from nmc.profile import LayerProfile
from nmc.report.style import COLOURS, FAINT, GRID, INK, new_figure, thousands
from nmc.timing import ARRAY, DRAIN, DRAM, CommandTime, RegionTime

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = (ARRAY, DRAIN, DRAM)
BINS = 360
MOST_COMMANDS = 240
"""Of a close-up; a layer of more is shown from its middle."""


def occupancy(times: Sequence[RegionTime]) -> "Figure":
    """The share of each of BINS equal spans of time that each unit is occupied; streams follow each other."""
    figure, rows = new_figure(4.2, len(UNITS))
    cycles = sum(time.cycles for time in times) or 1
    edges = np.linspace(0, cycles, BINS + 1)
    for axes, unit in zip(rows, UNITS, strict=True):
        share = np.diff(busy_until(times, unit, edges)) / np.diff(edges)
        axes.fill_between(edges[:-1], share, step="post", color=COLOURS[unit], linewidth=0)
        axes.set(ylim=(0, 1), xlim=(0, cycles), yticks=[0, 0.5, 1], yticklabels=["0", "50 %", "100 %"])
        axes.set_title(f"{unit}: {share.mean():.1%}", loc="left", fontsize=10, color=INK)
        axes.grid(axis="y", color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
    thousands(rows[-1].xaxis)
    rows[-1].set_xlabel("simulated cycle", color=INK)
    return figure


def busy_until(times: Sequence[RegionTime], unit: str, edges: np.ndarray) -> np.ndarray:
    """For how many cycles the unit was occupied before each of these cycles, counted over all streams."""
    starts, durations, offset = [], [], 0
    for time in times:
        for item in time.commands:
            if item.unit == unit and item.busy:
                starts.append(offset + item.start)
                durations.append(item.busy)
        offset += time.cycles
    if not starts:
        return np.zeros(len(edges))
    order = np.argsort(starts, kind="stable")
    begin, length = np.array(starts)[order], np.array(durations)[order]
    done = np.cumsum(length)
    corners = np.stack([begin, begin + length], axis=1).reshape(-1)
    return np.interp(edges, corners, np.stack([done - length, done], axis=1).reshape(-1))


def wasted(layer: LayerProfile, cells: int) -> float:
    """The cycles beyond those of the layer's multiply-adds on all cells."""
    return layer.cycles - layer.macs / cells


def close_up(times: Sequence[RegionTime], layer: str) -> "Figure":
    """The commands of a layer, and of what runs as part of it, on their units, and those of others meanwhile in grey."""
    time = max(times, key=lambda each: sum(item.layer == layer for item in each.commands))
    layers = with_fused(((item.command, item.layer) for item in time.commands), layer)
    own = [item for item in time.commands if item.layer in layers and item.busy]
    middle = max(0, (len(own) - MOST_COMMANDS) // 2)
    own = own[middle : middle + MOST_COMMANDS]
    begin, end = min(item.start for item in own), max(item.start + item.busy for item in own)
    figure, (axes,) = new_figure(2.3)
    for row, unit in enumerate(reversed(UNITS)):
        for mine, colour in ((False, "#cbd2d9"), (True, COLOURS[unit])):
            bars = [
                (item.start, item.busy)
                for item in time.commands
                if _shown(item, unit, begin, end) and (item.layer in layers) is mine
            ]
            axes.broken_barh(bars, (row + 0.12, 0.76), facecolor=colour, edgecolor="white", linewidth=0.3)
    axes.set_yticks([0.5, 1.5, 2.5], list(reversed(UNITS)))
    axes.set_xlim(begin, end)
    axes.set_ylim(0, 3)
    thousands(axes.xaxis)
    axes.set_xlabel("simulated cycle; grey: commands of other layers", color=FAINT)
    return figure


def _shown(item: CommandTime, unit: str, begin: int, end: int) -> bool:
    return bool(item.unit == unit and item.busy and item.start < end and item.start + item.busy > begin)
