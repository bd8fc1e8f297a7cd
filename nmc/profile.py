"""Where the simulated cycles of a package go, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nmc.cycle_shares import cycles_of_layers
from nmc.fused_layers import fused_layers
from nmc.manifest import Product
from nmc.package import Package
from nmc.programs import NO_COMMANDS
from nmc.text import bytes_text, console, count_text, seconds_text, table
from nmc.timing import ARRAY, DRAIN, DRAM, RegionTime, times_of

LATENCY = "latency"
"""What bounds a layer that keeps no unit busy for half of its time."""


@dataclass(frozen=True)
class LayerProfile:
    """One layer of the model. Layers overlap: which of them a cycle belongs to, `nmc.cycle_shares` says."""

    name: str
    op: str
    cycles: int
    macs: int
    utilization: float
    bound: str
    """The unit that it keeps busy longest, or latency where it keeps none busy."""
    busy_cycles: int
    """For how long it occupies the unit that it occupies longest; more than `cycles` where it overlaps others."""
    dram_bytes: int


@dataclass(frozen=True)
class Profile:
    """The whole package: all its command streams run once, one after the other."""

    cycles: int
    macs: int
    utilization: float
    """Multiply-adds over what the array could have done in these cycles."""
    dram_bytes_read: int
    dram_bytes_written: int
    arena_bytes: int
    clock_hz: float
    layers: tuple[LayerProfile, ...]

    @property
    def seconds_at_clock(self) -> float:
        """Duration of one inference at the clock of the configuration: simulated, not measured."""
        return self.cycles / self.clock_hz if self.clock_hz else 0.0

    def to_json(self) -> dict[str, Any]:
        """The profile as plain values; a layer's are those of its row in the printed table."""
        values = asdict(self) | {"seconds_at_clock": self.seconds_at_clock}
        for layer in values["layers"]:
            del layer["busy_cycles"]
        return values


def profile_package(package: Package, times: Sequence[RegionTime] | None = None) -> Profile:
    """The profile of a package; without command streams (target cpu) every figure is 0.

    `times` are those of the package's regions, where they are known already.
    """
    manifest, times = package.manifest, times_of(package) if times is None else times
    if manifest.accelerator is None:
        return Profile(0, 0, 0.0, 0, 0, 0, 0.0, ())
    config = manifest.accelerator.config
    cells = config["rows"] * config["columns"]
    operators = {layer.name: layer.operator for layer in manifest.layers}
    macs_of = _macs_of_layers(manifest.products)
    layers = tuple(_layer(work, operators, macs_of.get(work.name, 0), cells) for work in _works(times))
    cycles, macs = sum(time.cycles for time in times), sum(layer.macs for layer in layers)
    return Profile(
        cycles=cycles,
        macs=macs,
        utilization=macs / (cells * cycles) if cycles else 0.0,
        dram_bytes_read=sum(time.bytes_read for time in times),
        dram_bytes_written=sum(time.bytes_written for time in times),
        arena_bytes=max((region.arena_bytes for region in manifest.regions), default=0),
        clock_hz=config["clock_megahertz"] * 1e6,
        layers=layers,
    )


@dataclass
class _Work:
    """What one layer adds up to, while it is being added up."""

    name: str
    cycles: int = 0
    dram_bytes: int = 0
    fused: dict[str, None] = field(default_factory=dict)
    """The layers it does the work of, in order: itself, and those that run in the chains of its drains."""
    busy: dict[str, int] = field(default_factory=lambda: {ARRAY: 0, DRAIN: 0, DRAM: 0})


def _works(times: Sequence[RegionTime]) -> list[_Work]:
    """The work of each layer, in order of appearance; cycles add up to those of all regions."""
    works: dict[str, _Work] = {}
    for time in times:
        heads = fused_layers((item.command, item.layer) for item in time.commands)
        for item in time.commands:
            name = heads.get(item.layer, item.layer)
            work = works.setdefault(name, _Work(name))
            work.fused |= {item.layer: None}
            work.dram_bytes += item.dram_bytes
            work.busy[item.unit] += item.busy
        for name, cycles in cycles_of_layers(time.commands, time.cycles, heads).items():
            works[name].cycles += cycles
    return list(works.values())


def _macs_of_layers(products: Sequence[Product]) -> dict[str, int]:
    """The multiply-adds of each layer: those of the model, not the products with zeros that a mapping adds."""
    macs: dict[str, int] = {}
    for each in products:
        macs[each.layer] = macs.get(each.layer, 0) + each.groups * each.rows * each.depth * each.columns
    return macs


def _layer(work: _Work, operators: Mapping[str, str], macs: int, cells: int) -> LayerProfile:
    unit = max(work.busy, key=lambda name: work.busy[name])
    return LayerProfile(
        name=work.name,
        op=" + ".join(filter(None, (operators.get(name, "") for name in work.fused))),
        cycles=work.cycles,
        macs=macs,
        utilization=macs / (cells * work.cycles) if work.cycles else 0.0,
        bound=unit if 2 * work.busy[unit] >= work.cycles else LATENCY,
        busy_cycles=work.busy[unit],
        dram_bytes=work.dram_bytes,
    )


def print_profile(profile: Profile) -> None:
    """Prints the profile as a table on standard output."""
    if not profile.layers:
        print(NO_COMMANDS)
        return
    rows = table(("layer", "as"), ("cycles", "share", "MACs", "use", "DRAM"), ("bound by",))
    for layer in profile.layers:
        rows.add_row(
            layer.name,
            layer.op,
            f"{layer.cycles:,}",
            f"{layer.cycles / profile.cycles:.1%}" if profile.cycles else "",
            count_text(layer.macs),
            f"{layer.utilization:.1%}",
            bytes_text(layer.dram_bytes),
            layer.bound,
        )
    screen = console()
    screen.print(rows)
    screen.print(
        f"\n{profile.cycles:,} simulated cycles, {seconds_text(profile.seconds_at_clock)} at"
        f" {profile.clock_hz / 1e6:.0f} MHz; {profile.macs:,} multiply-adds, utilisation"
        f" {profile.utilization:.1%}; DRAM {bytes_text(profile.dram_bytes_read)} read,"
        f" {bytes_text(profile.dram_bytes_written)} written"
    )
