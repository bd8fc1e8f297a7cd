"""The share of time that a unit is occupied."""

import numpy as np
import pytest

from nmc.report.occupancy import busy_until
from nmc.timing import ARRAY, DRAM, CommandTime, RegionTime
from targets.gemm_accel import isa

END = isa.End()


def test_streams_follow_each_other() -> None:
    first = RegionTime(
        (CommandTime(END, "a", ARRAY, 10, 30, 20, 0), CommandTime(END, "a", DRAM, 0, 40, 40, 0)), 50, 0, 0
    )
    second = RegionTime((CommandTime(END, "b", ARRAY, 0, 10, 10, 0),), 50, 0, 0)
    edges = np.array([0, 10, 20, 30, 50, 55, 100])
    assert busy_until([first, second], ARRAY, edges).tolist() == pytest.approx([0, 0, 10, 20, 20, 25, 30])
    assert busy_until([second], DRAM, edges).tolist() == [0] * 7
