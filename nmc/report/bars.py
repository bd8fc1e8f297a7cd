"""Where the cycles go: by layer, and by kind of command."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nmc.profile import LayerProfile
from nmc.report.style import COLOURS, GRID, INK, legend_above, new_figure, thousands
from nmc.timing import ARRAY, DRAIN, DRAM, RegionTime
from targets.gemm_accel import isa

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LAYERS = 30


def cycles_by_layer(layers: Sequence[LayerProfile], cells: int) -> "Figure":
    """The layers with the most cycles, coloured by what bounds them; a mark shows the limit of the array."""
    shown = sorted(layers, key=lambda layer: -layer.cycles)[:MOST_LAYERS][::-1]
    figure, (axes,) = new_figure(0.9 + 0.21 * len(shown))
    names = [layer.name for layer in shown]
    places = range(len(shown))
    axes.barh(
        places, [layer.cycles for layer in shown], 0.72, color=[COLOURS[layer.bound] for layer in shown]
    )
    limits = [layer.macs / cells for layer in shown]
    axes.plot(limits, places, "|", color=INK, markersize=9, markeredgewidth=1.8)
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    thousands(axes.xaxis)
    axes.set_xlabel("cycles", color=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for bound in dict.fromkeys(layer.bound for layer in reversed(shown)):
        axes.barh(0, 0, color=COLOURS[bound], label=f"bound by {bound}")
    axes.plot([], [], "|", color=INK, markersize=9, markeredgewidth=1.8, label="of its multiply-adds alone")
    legend_above(axes, 4)
    return figure


def cycles_by_kind(times: Sequence[RegionTime]) -> "Figure":
    """How long the commands of each kind occupy their unit."""
    busy: Counter[tuple[str, str]] = Counter()
    for time in times:
        for item in time.commands:
            if item.busy:
                busy[item.unit, isa.mnemonic(type(item.command))] += item.busy
    order = {unit: place for place, unit in enumerate((ARRAY, DRAIN, DRAM))}
    bars = sorted(busy.items(), key=lambda bar: (order[bar[0][0]], -bar[1]))[::-1]
    figure, (axes,) = new_figure(0.9 + 0.27 * len(bars))
    axes.barh(
        range(len(bars)), [count for _, count in bars], 0.7, color=[COLOURS[unit] for (unit, _), _ in bars]
    )
    total = sum(time.cycles for time in times) or 1
    for place, (_, count) in enumerate(bars):
        axes.annotate(
            f"{count / total:.1%}", (count, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK
        )  # fmt: skip
    axes.set_yticks(range(len(bars)), [kind for (_, kind), _ in bars], fontsize=9)
    axes.set_xlim(0, max((count for _, count in bars), default=1) * 1.08)
    thousands(axes.xaxis)
    axes.set_xlabel("cycles that the unit is occupied, and their share of all cycles", color=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for unit in order:
        axes.barh(0, 0, color=COLOURS[unit], label=unit)
    legend_above(axes, 3)
    return figure
