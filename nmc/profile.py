"""Where the simulated cycles of a package go, layer by layer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nmc.package import Package

COMPUTE, MEMORY, LATENCY = "compute", "memory", "latency"


@dataclass(frozen=True)
class LayerProfile:
    """One layer of the model. Layers overlap: a layer's cycles are those by which it moves the end."""

    name: str
    op: str
    cycles: int
    macs: int
    utilization: float
    bound: str
    """What it waits for most: the array, the DRAM port, or neither (latency)."""
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
        """The profile as plain values."""
        return asdict(self) | {"seconds_at_clock": self.seconds_at_clock}


def profile_package(package: Package) -> Profile:
    """The profile of a package; without command streams (target cpu) every figure is 0."""
    return Profile(0, 0, 0.0, 0, 0, 0, 0.0, ())


def print_profile(profile: Profile) -> None:
    """Prints the profile as a table on standard output."""
    from rich.console import Console
    from rich.table import Table

    columns: Sequence[tuple[str, str]] = (
        ("layer", "left"),
        ("as", "left"),
        ("cycles", "right"),
        ("share", "right"),
        ("multiply-adds", "right"),
        ("utilisation", "right"),
        ("bound by", "left"),
        ("DRAM bytes", "right"),
    )
    table = Table(title="simulated cycles by layer", title_justify="left")
    for heading, side in columns:
        table.add_column(heading, justify="left" if side == "left" else "right", overflow="fold")
    for layer in profile.layers:
        share = layer.cycles / profile.cycles if profile.cycles else 0.0
        table.add_row(
            layer.name,
            layer.op,
            f"{layer.cycles:,}",
            f"{share:.1%}",
            f"{layer.macs:,}",
            f"{layer.utilization:.1%}",
            layer.bound,
            f"{layer.dram_bytes:,}",
        )
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(
        f"{profile.cycles:,} simulated cycles = {profile.seconds_at_clock * 1e3:.3g} ms at"
        f" {profile.clock_hz / 1e6:.0f} MHz; {profile.macs:,} multiply-adds,"
        f" utilisation {profile.utilization:.1%};"
        f" DRAM {profile.dram_bytes_read:,} bytes read, {profile.dram_bytes_written:,} written"
    )
