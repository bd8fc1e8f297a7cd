"""A table of segments as it lies in DRAM, for LOAD_TABLE."""

import struct

import numpy as np

from nmc.pwl.quantised_table import QuantisedTable

ADDRESSING = {"uniform": 0, "octave": 1, "breakpoints": 2, "blocks": 3, "octave-blocks": 4}
HEADER_FIELDS = (
    "addressing u8, signed u8, entries u16, shift u8, mantissa_bits u8, blocks u16, "
    "origin i64, e_min i32, zero u32 × 3"
)
HEADER = struct.Struct("<BBHBBHqiIII")
"""Of HEADER_FIELDS, in this order."""
INTERCEPT_BITS = 48
"""Of an entry's 64: the others are the slope's."""
BLOCK = np.dtype([("first", "<u2"), ("segments", "u1"), ("shift", "u1")])


def table_bytes(table: QuantisedTable) -> bytes:
    """A 32-byte header, the breakpoints (i32, `entries` - 1 of them, only where they address) or the blocks (4 bytes each:
    first u16, segments u8, shift u8), the lines (8 bytes an entry: intercept in 48 bits, above it the slope in 16), and
    the shifts (u8 an entry). Each of these but the last begins at a multiple of eight bytes, as does what follows.
    """
    count = len(table.slopes)
    header = HEADER.pack(
        ADDRESSING[table.addressing],
        int(table.signed),
        count,
        table.shift,
        table.mantissa_bits,
        len(table.blocks),
        table.origin,
        table.e_min,
        0,
        0,
        0,
    )
    points = np.asarray(table.breakpoints if table.addressing == "breakpoints" else (), "<i4")
    blocks = np.zeros(len(table.blocks), BLOCK)
    blocks["first"], blocks["shift"], blocks["segments"] = table.blocks.T
    intercepts, slopes = table.intercepts.astype("<i8"), table.slopes.astype("<i8")
    lines = (intercepts & ((1 << INTERCEPT_BITS) - 1)) | (slopes << INTERCEPT_BITS)
    parts = (points.tobytes() + blocks.tobytes(), lines.tobytes(), table.shifts.astype("u1").tobytes())
    return header + b"".join(part + bytes(-len(part) % 8) for part in parts)
