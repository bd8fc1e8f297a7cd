"""Whatever commands come, the accelerator refuses them in words or runs them within its own limits.

Run with a runtime that was built with sanitizers (`NMC_RUNTIME`), this also shows that nothing is read or written out of
bounds.
"""

from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmc.errors import ProgramError
from targets.gemm_accel import isa
from targets.gemm_accel.program import Tensor
from targets.gemm_accel.simulator import Simulator, Timing
from targets.gemm_accel.tables import HEADER
from tests.gemm_accel.bench import COMPUTE, CONFIG, LOAD, STORE, line, program_of

I16 = isa.Type.I16
CONSTANTS, ARENA = 4096, 8192
A, B = isa.Operand(0, I16, (256, 64), 2), isa.Operand(2048, I16, (256, 64), 2)
COUNTS, PLACE = (2, 4, 32), isa.Destination(8192, I16, (256, 64))
STREAMED, INTO_STREAM = isa.Operand(isa.STREAM, I16), isa.Destination(isa.STREAM, I16)
GRID = ((2, 3, 4, 5, 6), (720, 240, 60, 12, 2), (720, 240, 60, 12, 2))
TABLE = HEADER.pack(0, 0, 2, 4, 0, 0, 0, 0, 0, 0, 0) + bytes(2 * 8 + 8)
"""A uniform table of two lines, whose shifts take eight bytes with what follows them."""
SCALE = 65536
PROLOGUE = [
    line(isa.Load, 2048, SCALE, 128), isa.LoadTable(1024, 0), isa.Signal(LOAD, 4), isa.Wait(COMPUTE, 4),
]  # fmt: skip
"""What the commands need of data: a drain's multipliers and shifts, and a table."""
VALID: list[list[isa.Command]] = [
    [line(isa.Load, 0, 0, 4096)],
    [isa.Load(100, 64, I16, *GRID, isa.Bound(-1, (0, 0, 1, 0, 0), 3), isa.Bound(-1, (0, 0, 0, 1, 1), 7), 5)],
    [isa.Gather(64, 512, I16, (4, 1, 1, 2, 8), (64, 0, 0, 16, 2), (32, 0, 0, 16, 2), 0, 40)],
    [isa.LoadTable(1024, 0)],
    [isa.Store(CONSTANTS, 128, I16, *GRID)],
    [
        isa.Gemm(0, I16, 64, 2048, I16, 32, 20, 32, 16, 100),
        isa.Drain(100, (1, 20, 16), isa.NONE, SCALE, PLACE),
    ],
    [
        isa.Filter(0, I16, (512, 32), 2048, I16, 32, (3, 3), (4, 8, 16), 0),
        isa.Filter(64, I16, (512, 32), 2048, I16, 32, (1, 2), (4, 8, 16), 0, 1),
    ],
    [isa.Hadamard(A, B, 12345, 30, COUNTS, PLACE)],
    [isa.Add(A, B, 1000, -1000, 11, COUNTS, INTO_STREAM), isa.Pwl(STREAMED, 0, COUNTS, PLACE)],
    [isa.Signal(LOAD, 0), isa.Wait(COMPUTE, 0)],
    [isa.Signal(COMPUTE, 1), isa.Wait(STORE, 1)],
    [isa.Signal(STORE, 2), isa.Wait(LOAD, 2)],
    [isa.Signal(COMPUTE, 3), isa.Wait(LOAD, 3)],
]
NUMBERS = {"u8": (0, 2**8 - 1), "u16": (0, 2**16 - 1), "u32": (0, 2**32 - 1)}
INTERESTING = [
    0,
    1,
    2,
    3,
    17,
    62,
    63,
    64,
    255,
    4096,
    2**15,
    2**16,
    CONFIG.scratchpad_bytes - 1,
    isa.NONE,
    2**31,
]


@st.composite
def changed(draw: st.DrawFn, item: Any) -> Any:
    """A command with one of its numbers changed."""
    each = draw(st.sampled_from(fields(item)))
    value = getattr(item, each.name)
    if is_dataclass(value):
        return replace(item, **{each.name: draw(changed(value))})
    if isinstance(value, isa.Type | isa.Queue):
        return replace(item, **{each.name: draw(st.sampled_from(type(value)))})
    low, high = NUMBERS.get(each.metadata["kind"], (-(2**31), 2**31 - 1))
    old = value[0] if isinstance(value, tuple) else value
    new = draw(st.sampled_from(INTERESTING) | st.integers(-4, 4).map(lambda step: old + step))
    if each.metadata["kind"].startswith("i"):
        new *= draw(st.sampled_from([1, -1]))
    new = min(max(new, low), high)
    if not isinstance(value, tuple):
        return replace(item, **{each.name: new})
    place = draw(st.integers(0, len(value) - 1))
    return replace(item, **{each.name: (*value[:place], new, *value[place + 1 :])})


def simulator(commands: list[isa.Command]) -> Simulator:
    constants = bytearray(np.random.default_rng(0).bytes(CONSTANTS))
    constants[:16] = np.arange(4, dtype=np.int32).tobytes()
    constants[1024 : 1024 + len(TABLE)] = TABLE
    constants[2048 : 2048 + 128] = np.full(32, 30, np.int32).tobytes()
    outputs = [Tensor("arena", CONSTANTS, isa.Type.I8, (ARENA,))]
    return Simulator(program_of(commands, (), outputs, CONSTANTS, ARENA), bytes(constants))


def assert_within_limits(commands: list[isa.Command], timing: Timing) -> None:
    """The port and both units do one thing at a time, and each queue begins its commands in order."""
    rows = list(zip(commands, timing.starts.tolist(), timing.busy.tolist(), strict=False))
    groups = {"port": (isa.Load, isa.Gather, isa.LoadTable, isa.Store), "drain": (isa.Drain,)}
    groups["array"] = (isa.Gemm, isa.Filter, isa.Hadamard, isa.Add, isa.Pwl)
    for kinds in groups.values():
        spans = sorted(
            (start, start + busy) for item, start, busy in rows if isinstance(item, kinds) and busy
        )
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert (timing.ends >= timing.starts).all() and timing.cycles == timing.ends.max()
    assert timing.port_cycles <= timing.cycles and timing.array_cycles <= timing.cycles
    moved = timing.bytes_read + timing.bytes_written
    assert moved == timing.dram_bytes.sum() <= timing.port_cycles * CONFIG.dram_bytes_per_cycle


@pytest.mark.parametrize("group", VALID, ids=lambda group: isa.mnemonic(type(group[0])))
def test_the_commands_that_are_changed_are_valid(group: list[isa.Command]) -> None:
    simulator([*PROLOGUE, *group]).run({})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_commands_are_refused_or_run_within_limits(data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=8))
    commands = [item for group in groups for item in group]
    for place in data.draw(st.sets(st.integers(0, len(commands) - 1), max_size=2)):
        commands[place] = data.draw(changed(commands[place]))
    commands = [*PROLOGUE, *commands]
    accelerator = simulator(commands)
    try:
        timing = accelerator.profile()
        accelerator.run({})
    except ProgramError as error:
        assert "command" in str(error)
        return
    assert_within_limits(commands, timing)
