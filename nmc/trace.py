"""Writes a package's timeline for chrome://tracing and Perfetto: one row a unit, one bar a command."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nmc.files import write_atomically
from nmc.package import Package
from nmc.timing import ARRAY, DRAIN, DRAM, RegionTime
from targets.gemm_accel import isa

ROWS = (DRAM, ARRAY, DRAIN)


def write_trace(path: Path, package: Package, times: Sequence[RegionTime]) -> None:
    """Writes the timeline of a package, given its regions' times, in the Trace Event Format: a cycle is shown as a
    microsecond."""
    write_atomically(path, json.dumps({"traceEvents": trace_events(package, times)}).encode())


def trace_events(package: Package, times: Sequence[RegionTime]) -> list[dict[str, Any]]:
    """The names of the rows, then an event for each command that occupies a unit, by region."""
    events: list[dict[str, Any]] = []
    for region, time in enumerate(times):
        symbol = package.manifest.regions[region].symbol
        events.append({"ph": "M", "pid": region, "name": "process_name", "args": {"name": symbol}})
        for row, unit in enumerate(ROWS):
            events.append(
                {"ph": "M", "pid": region, "tid": row, "name": "thread_name", "args": {"name": unit}}
            )
        for item in time.commands:
            if item.busy:
                event = {
                    "ph": "X",
                    "pid": region,
                    "tid": ROWS.index(item.unit),
                    "ts": item.start,
                    "dur": item.busy,
                }
                events.append(
                    event | {"name": isa.mnemonic(type(item.command)), "args": {"layer": item.layer}}
                )
    return events
