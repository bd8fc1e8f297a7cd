"""A table of segments as it lies in DRAM, for LOAD_TABLE."""

import struct

import numpy as np

from nmc.pwl.quantised_table import QuantisedTable

ADDRESSING = {"uniform": 0, "octave": 1, "breakpoints": 2}
HEADER = struct.Struct("<BBHBBHqiIII")
"""addressing u8, signed u8, entries u16, shift u8, mantissa_bits u8, zero u16, origin i64, e_min i32, zero u32 ×3."""
ENTRY = np.dtype([("intercept", "<i8"), ("slope", "<i4"), ("shift", "<i4")])


def table_bytes(table: QuantisedTable) -> bytes:
    """A 32-byte header, the breakpoints (i32, `entries` - 1 of them and a zero, only where they address) and the entries
    (16 bytes each: intercept i64, slope i32, shift i32)."""
    count = len(table.slopes)
    header = HEADER.pack(
        ADDRESSING[table.addressing],
        int(table.signed),
        count,
        table.shift,
        table.mantissa_bits,
        0,
        table.origin,
        table.e_min,
        0,
        0,
        0,
    )
    points = np.zeros(0, "<i4")
    if table.addressing == "breakpoints":
        points = np.append(np.asarray(table.breakpoints, "<i4"), np.zeros(1, "<i4"))
        # entries begin at a multiple of eight bytes
        points = np.append(points, np.zeros(len(points) % 2, "<i4"))
    entries = np.zeros(count, ENTRY)
    entries["intercept"], entries["slope"], entries["shift"] = table.intercepts, table.slopes, table.shifts
    return header + points.astype("<i4").tobytes() + entries.tobytes()
