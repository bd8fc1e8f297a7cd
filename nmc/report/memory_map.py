"""What the bytes of a memory hold over time: from the command that writes them to the last that reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nmc.report.style import COLOURS, INK, legend_above, new_figure, thousands
from nmc.timing import DRAM as PORT
from nmc.timing import CommandTime, RegionTime
from targets.gemm_accel import isa
from targets.gemm_accel.footprints import DRAM, SCRATCHPAD, Footprint, footprints

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, COLUMNS = 256, 640
"""The picture's resolution: equal spans of addresses and of time."""

FREE, LOADED, COMPUTED = 0, 1, 2
Map = np.ndarray
"""uint8 [ROWS, COLUMNS] of FREE, LOADED and COMPUTED."""


@dataclass(frozen=True)
class Traffic:
    """What the commands of one stream touch, in the stream's order."""

    cycles: int
    touches: tuple[tuple[CommandTime, Footprint], ...]


def traffic_of(time: RegionTime) -> Traffic:
    """What both maps are drawn from: a stream can have so many commands that asking each twice takes seconds."""
    return Traffic(
        time.cycles, tuple((item, each) for item in time.commands for each in footprints(item.command))
    )


def scratchpad_map(traffic: Traffic, size: int) -> Map:
    """Who wrote what the scratchpad holds: a load, or the array and the drain unit."""
    return _map(traffic, SCRATCHPAD, 0, size, [])


def arena_map(traffic: Traffic, begin: int, size: int, inputs: Sequence[tuple[int, int]]) -> Map:
    """What lives in the arena of `size` bytes from byte `begin` of DRAM; `inputs` are ranges that the user writes before."""
    return _map(traffic, DRAM, begin, size, inputs)


def occupied(picture: Map) -> float:
    """The share of the memory, over all the time, that holds what is still to be read."""
    return float((picture != FREE).mean())


def draw(picture: Map, cycles: int, size: int, labels: tuple[str, str]) -> "Figure":
    """Addresses over time; `labels` name what LOADED and COMPUTED stand for."""
    from matplotlib.colors import ListedColormap, to_rgba

    figure, (axes,) = new_figure(3.6)
    colours = [to_rgba("#f1f3f5"), to_rgba(COLOURS[PORT]), to_rgba(COLOURS["array"])]
    axes.imshow(
        picture, ListedColormap(colours), vmin=0, vmax=2, aspect="auto", origin="lower", interpolation="nearest",
        extent=(0, cycles, 0, size / 1024),
    )  # fmt: skip
    thousands(axes.xaxis)
    axes.set_xlabel("simulated cycle", color=INK)
    axes.set_ylabel("KiB", color=INK)
    for colour, label in zip(colours[1:], labels, strict=True):
        axes.bar(0, 0, color=colour, label=label)
    axes.set_xlim(0, cycles)
    axes.set_ylim(0, size / 1024)
    legend_above(axes, 2)
    return figure


def _map(traffic: Traffic, memory: str, begin: int, size: int, inputs: Sequence[tuple[int, int]]) -> Map:
    picture = np.full((ROWS, COLUMNS), FREE, np.uint8)
    holds, since = np.full(ROWS, FREE, np.uint8), np.zeros(ROWS, np.int64)
    for first, last in inputs:
        holds[_rows(first, last, begin, size)] = LOADED
    for moment, writes, rows, kind in _events(traffic, memory, begin, size):
        column = min(COLUMNS - 1, moment * COLUMNS // max(traffic.cycles, 1))
        if writes:
            holds[rows], since[rows] = kind, column
        else:
            for row in range(rows.start, rows.stop):
                picture[row, since[row] : column + 1] = holds[row]
                since[row] = column
    return picture


def _events(traffic: Traffic, memory: str, begin: int, size: int) -> list[tuple[int, bool, slice, int]]:
    """Reads at the end of their command and writes at its start, in order of time."""
    events = []
    for item, each in traffic.touches:
        if each.memory == memory and each.end > begin and each.begin < begin + size:
            moment = item.start if each.writes else item.end
            events.append((moment, each.writes, _rows(each.begin, each.end, begin, size), _kind(item)))
    return sorted(events, key=lambda event: event[0])


def _kind(item: CommandTime) -> int:
    return LOADED if isa.queue_of(item.command) is isa.Queue.LOAD else COMPUTED


def _rows(first: int, last: int, begin: int, size: int) -> slice:
    start = max(first - begin, 0) * ROWS // size
    return slice(start, max(start + 1, -(-min(last - begin, size) * ROWS // size)))
