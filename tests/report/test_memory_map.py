"""A byte of a memory is taken from the command that writes it to the last that reads it."""

import numpy as np

from nmc.report.memory_map import (
    COLUMNS,
    COMPUTED,
    FREE,
    LOADED,
    ROWS,
    Traffic,
    arena_map,
    scratchpad_map,
    traffic_of,
)
from nmc.timing import ARRAY, DRAIN, DRAM, CommandTime, RegionTime
from targets.gemm_accel import isa

KIB = 1024
DENSE = (1, 1, 1, 1, 512), (0, 0, 0, 0, 2)
"""A kibibyte of 16-bit elements in a row: counts and strides."""


def moved(cls: type[isa.Load] | type[isa.Store], dram: int, scratchpad: int) -> isa.Load | isa.Store:
    counts, strides = DENSE
    return cls(dram, scratchpad, isa.Type.I16, counts, strides, strides)


def region(*commands: CommandTime) -> Traffic:
    return traffic_of(RegionTime(commands, COLUMNS, 0, 0))


def test_the_scratchpad_holds_what_is_still_to_be_read() -> None:
    """A load of KiB 1 in cycles 10..20, read in cycles 100..110; its result in KiB 3, stored in cycles 300..310."""
    gemm = isa.Gemm(KIB, isa.Type.I16, KIB, 2 * KIB, isa.Type.I16, 2, 1, 512, 1, 0)
    drain = isa.Drain(0, (1, 1, 512), isa.NONE, 10 * KIB, isa.Destination(3 * KIB, isa.Type.I16, (0, 0), 2))
    picture = scratchpad_map(
        region(
            CommandTime(moved(isa.Load, 0, KIB), "a", DRAM, 10, 20, 10, KIB),
            CommandTime(gemm, "a", ARRAY, 90, 110, 20, 0),
            CommandTime(drain, "a", DRAIN, 200, 210, 10, 0),
            CommandTime(moved(isa.Store, 0, 3 * KIB), "a", DRAM, 300, 310, 10, KIB),
        ),
        ROWS * KIB,
    )
    expected = np.full((ROWS, COLUMNS), FREE)
    expected[1, 10:111] = LOADED
    expected[3, 200:311] = COMPUTED
    # KiB 2 holds weights, and KiB 10 scales, that nobody wrote: they are not known to be alive
    np.testing.assert_array_equal(picture[[1, 3]], expected[[1, 3]])
    assert (picture[4:] == FREE).all()


def test_the_arena_holds_inputs_from_the_beginning() -> None:
    constants = 4 * KIB
    picture = arena_map(
        region(
            CommandTime(moved(isa.Load, constants, 0), "a", DRAM, 50, 60, 10, KIB),
            CommandTime(moved(isa.Load, 0, 0), "a", DRAM, 60, 70, 10, KIB),
            CommandTime(moved(isa.Store, constants + 2 * KIB, 0), "a", DRAM, 100, 110, 10, KIB),
        ),
        constants,
        ROWS * KIB,
        [(constants, constants + KIB)],
    )
    assert (picture[0, :61] == LOADED).all() and (picture[0, 61:] == FREE).all()
    assert (picture[1:] == FREE).all(), "what is stored and never read takes no room that matters"
