"""The one screen after a compile: what runs where, the tables, the memory needed, the simulated speed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nmc.manifest import Fallback, Manifest, Offload
from nmc.package import Package
from nmc.profile import Profile
from nmc.text import bytes_text, console, seconds_text

WORST_TABLES = 3
LISTED_FALLBACKS = 8


def summary_json(package: Package, profile: Profile) -> dict[str, Any]:
    """The summary as plain values."""
    manifest = package.manifest
    return {
        "model": manifest.model,
        "target": manifest.target,
        "inputs": [asdict(tensor) for tensor in manifest.inputs],
        "outputs": [asdict(tensor) for tensor in manifest.outputs],
        "offload": asdict(manifest.offload),
        "fallback_ops": [asdict(item) for item in manifest.fallback],
        "tables": [asdict(table) for table in manifest.tables],
        "program_bytes": len(package.program),
        "constants_bytes": len(package.constants),
        "arena_bytes": profile.arena_bytes,
        "cycles": profile.cycles,
        "utilization": profile.utilization,
        "seconds_at_clock": profile.seconds_at_clock,
    }


def print_summary(path: Path, package: Package, profile: Profile) -> None:
    """Prints the summary of a package that was written to `path`, on standard output."""
    manifest = package.manifest
    output = console()
    size = path.stat().st_size
    output.print(
        f"{manifest.model}: compiled for {manifest.target}, {manifest.options['bits']} bits,"
        f" to {path} ({bytes_text(size)})"
    )
    if manifest.accelerator is None:
        output.print(
            "Everything runs on the CPU through LLVM: the reference that the accelerator is compared with."
        )
        return
    if not manifest.regions:
        output.print("\n".join(_offload_lines(manifest)))
        return
    for line in (
        *_offload_lines(manifest),
        *_table_lines(manifest),
        *_memory_lines(package, profile),
        *_speed_lines(profile),
    ):
        output.print(line)


def describe_outputs(outputs: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Shape, element type and, for numbers, the extremes of each output."""
    return {
        name: {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "min": array.min().item() if array.size else None,
            "max": array.max().item() if array.size else None,
        }
        for name, array in outputs.items()
    }


def _offload_lines(manifest: Manifest) -> list[str]:
    offload = manifest.offload
    if not offload.operators_total:
        return ["  accelerator   nothing to compute: the outputs are inputs, perhaps scaled, or constants"]
    first, *others = fallback_texts(manifest.fallback) or ["nothing"]
    return [
        f"  accelerator   {offload.operators_accelerated} of {offload.operators_total} operations, {_products(offload)}",
        f"  CPU           {first}",
        *(f"  {'':<13} {text}" for text in others),
    ]


def fallback_texts(fallback: Sequence[Fallback]) -> list[str]:
    """A line for each operator that runs on the CPU, up to LISTED_FALLBACKS: heavy ones first, which make a model slow."""
    ordered = sorted(fallback, key=lambda item: not item.heavy)
    lines = [
        f"{item.operator} '{item.layer}'{' (heavy)' if item.heavy else ''}: {item.reason}"
        for item in ordered[:LISTED_FALLBACKS]
    ]
    left = len(ordered) - len(lines)
    return [*lines, f"and {left} more; --json lists them all"] if left else lines


def _products(offload: Offload) -> str:
    if not offload.macs_total:
        return "no multiply-adds"
    return f"{offload.macs_accelerated / offload.macs_total:.1%} of {offload.macs_total:,} multiply-adds"


def _table_lines(manifest: Manifest) -> list[str]:
    if not manifest.tables:
        return ["  tables        none"]
    inexact = [table for table in manifest.tables if table.max_error > 0.0]
    if not inexact:
        return [f"  tables        {len(manifest.tables)}, all exact"]
    worst = sorted(inexact, key=lambda table: -table.error_steps)[:WORST_TABLES]
    lines = [
        f"  tables        {len(manifest.tables)}; the largest errors on calibration's range, in steps of a 16-bit result:"
    ]
    for table in worst:
        low, high = table.fitted_range
        lines.append(
            f"  {'':<13} {table.function} '{table.layer}': {table.error_steps:.2f} steps ({table.seen_error:.2g})"
            f" over [{low:.3g}, {high:.3g}], {table.segments} segments, {table.addressing}"
            + (f", {table.outside_share:.2%} of calibration outside" if table.outside_share else "")
        )
    return lines


def _memory_lines(package: Package, profile: Profile) -> list[str]:
    manifest = package.manifest
    assert manifest.accelerator is not None
    lower = max((region.arena_lower_bound for region in manifest.regions), default=0)
    scratchpad = manifest.accelerator.config.get("scratchpad_bytes", 0)
    return [
        f"  DRAM          constants {bytes_text(len(package.constants))},"
        f" arena {bytes_text(profile.arena_bytes)} (no plan needs less than {bytes_text(lower)}),"
        f" commands {bytes_text(len(package.program))}",
        f"  scratchpad    {bytes_text(scratchpad)}",
    ]


def _speed_lines(profile: Profile) -> list[str]:
    rate = 1.0 / profile.seconds_at_clock
    return [
        f"  simulated     {profile.cycles:,} cycles, utilisation {profile.utilization:.1%};"
        f" at {profile.clock_hz / 1e6:.0f} MHz {seconds_text(profile.seconds_at_clock)},"
        f" {f'{rate:,.0f}' if rate >= 100.0 else f'{rate:.3g}'} inferences/s"
    ]
