"""The page of `nmc profile --html`: where the cycles of a package go, in pictures."""

import math
from collections.abc import Sequence
from pathlib import Path

from nmc.package import Package
from nmc.profile import LayerProfile, Profile
from nmc.programs import NO_COMMANDS
from nmc.report.bars import MOST_LAYERS, cycles_by_kind, cycles_by_layer
from nmc.report.libraries import require_libraries
from nmc.report.memory_map import arena_map, draw, occupied, scratchpad_map, traffic_of
from nmc.report.occupancy import close_up, occupancy, wasted
from nmc.report.page import Grid, Section, render, write_page
from nmc.report.roofline import roofline
from nmc.report.style import svg
from nmc.text import bytes_text, count_text, seconds_text
from nmc.timing import RegionTime
from targets.gemm_accel.program import Program

WORST = 2
"""How many layers have a close-up."""


def write_profile_page(
    path: Path, package: Package, profile: Profile, programs: Sequence[Program], times: Sequence[RegionTime]
) -> None:
    """Writes the page of a package, given its regions' programs and times; for one without commands it says so.

    Raises NmcError without matplotlib and jinja2.
    """
    require_libraries()
    write_page(path, profile_page(package, profile, programs, times))


def profile_page(
    package: Package, profile: Profile, programs: Sequence[Program], times: Sequence[RegionTime]
) -> str:
    """The page as text."""
    accelerator, name = package.manifest.accelerator, package.manifest.model
    if accelerator is None or not profile.layers:
        return render(f"Profile of {name}", f"{NO_COMMANDS.capitalize()}.", [], [])
    config = accelerator.config
    cells = int(config["rows"]) * int(config["columns"])
    subtitle = (
        f"{config['rows']}×{config['columns']} multipliers of {config['data_bits']} bits, "
        f"{bytes_text(config['scratchpad_bytes'])} of scratchpad, {config['dram_bytes_per_cycle']} DRAM bytes a cycle, "
        f"{config['clock_megahertz']:g} MHz"
    )
    sections = [
        Section(
            "Occupancy over time",
            "The share of time that each unit is occupied. Where none is near 100 %, one waits for another.",
            svg(occupancy(times)),
        ),
        Section(
            "Roofline",
            "Each layer that multiplies, over the cycles that it takes or keeps a unit busy; areas are cycles. Below the "
            "line a layer leaves both the array and the DRAM port idle at times.",
            svg(roofline(profile.layers, cells, int(config["dram_bytes_per_cycle"]))),
        ),
        Section(
            "Cycles by layer",
            f"The {min(MOST_LAYERS, len(profile.layers))} layers that take longest. Layers overlap: a cycle belongs to "
            "the layer that the array works for, else to that of the drain unit, else to that of the DRAM port.",
            svg(cycles_by_layer(profile.layers, cells)),
        ),
        Section(
            "Cycles by command",
            "How long the commands of each kind occupy their unit.",
            svg(cycles_by_kind(times)),
        ),
        *_close_ups(profile, times, cells),
        *_maps(package, programs, times),
        Section("All layers", "In the order in which they run.", table=_layers(profile)),
    ]
    return render(f"Profile of {name}", subtitle, _figures(package, profile, cells), sections)


def _figures(package: Package, profile: Profile, cells: int) -> list[tuple[str, str]]:
    assert package.manifest.accelerator is not None
    energy = package.manifest.accelerator.config["energy"]
    moved = profile.dram_bytes_read + profile.dram_bytes_written
    products, memory = profile.macs * energy["multiply_add"] * 1e-6, moved * energy["dram_byte"] * 1e-6
    return [
        (f"{profile.cycles:,}", "simulated cycles"),
        (seconds_text(profile.seconds_at_clock), "at this clock"),
        (f"{profile.utilization:.1%}", "utilisation of the array"),
        (
            f"{profile.cycles * cells / profile.macs:.2f} ×" if profile.macs else "–",
            "the multiply-adds' own cycles",
        ),
        (bytes_text(moved), "of DRAM traffic"),
        (bytes_text(profile.arena_bytes), "DRAM arena"),
        (f"{products + memory:,.4g} µJ", f"estimate: {memory / (products + memory or 1):.0%} of it DRAM"),
    ]


def _close_ups(profile: Profile, times: Sequence[RegionTime], cells: int) -> list[Section]:
    """The layers that lose most against the array."""
    worst = sorted(profile.layers, key=lambda layer: -wasted(layer, cells))[:WORST]
    shown = [
        layer for layer in worst if any(item.layer == layer.name for time in times for item in time.commands)
    ]
    return [
        Section(
            f"Close-up: {layer.name}",
            f"{layer.op or 'A layer'} bound by {layer.bound}: {layer.cycles:,} cycles, of which its multiply-adds need "
            f"{layer.macs / cells:,.0f}.",
            svg(close_up(times, layer.name)),
        )
        for layer in shown
    ]


def _maps(package: Package, programs: Sequence[Program], times: Sequence[RegionTime]) -> list[Section]:
    """The maps of the memories for the longest command stream."""
    index = max(range(len(times)), key=lambda place: times[place].cycles)
    time, program, region = times[index], programs[index], package.manifest.regions[index]
    assert package.manifest.accelerator is not None
    size = int(package.manifest.accelerator.config["scratchpad_bytes"])
    traffic = traffic_of(time)
    scratchpad = scratchpad_map(traffic, size)
    sections = [
        Section(
            "Scratchpad",
            f"What is still to be read, by address over time: {occupied(scratchpad):.0%} of the memory on average.",
            svg(draw(scratchpad, time.cycles, size, ("loaded", "computed"))),
        )
    ]
    if region.arena_bytes:
        sizes = [(tensor.dram, tensor.type.bytes * math.prod(tensor.shape)) for tensor in program.inputs]
        arena = arena_map(
            traffic, program.constant_bytes, region.arena_bytes, [(at, at + count) for at, count in sizes]
        )
        text = (
            f"What is still to be read, by address over time. It needs {bytes_text(region.arena_bytes)}; the largest set of "
            f"tensors alive at once has {bytes_text(region.arena_lower_bound)}, and no plan can need less."
        )
        picture = svg(draw(arena, time.cycles, region.arena_bytes, ("inputs", "computed")))
        sections.append(Section("DRAM arena", text, picture))
    return sections


def _layers(profile: Profile) -> Grid:
    def row(layer: LayerProfile) -> list[str]:
        share = layer.cycles / profile.cycles if profile.cycles else 0.0
        numbers = [f"{layer.cycles:,}", f"{share:.1%}", count_text(layer.macs), f"{layer.utilization:.1%}"]
        return [layer.name, layer.op, layer.bound, *numbers, bytes_text(layer.dram_bytes)]

    headings = ("layer", "operator", "bound by", "cycles", "share", "MACs", "use of the array", "DRAM")
    return Grid(headings, [row(layer) for layer in profile.layers], texts=3)
