"""Spreads the loop nests that no kernel of ours replaces over the processors."""

import math
from collections.abc import Sequence

import tvm
from tvm import ir, s_tir, tirx

LEAST_WORK = 1 << 15
"""Elements of a result below which waking another processor costs more than it brings."""
PARTS = 16
"""Iterations to share out, at least, so that no processor waits long for another."""


@tvm.transform.module_pass(opt_level=0, name="nmc.ParallelLoops")
def ParallelLoops(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """The outer loops of every large nest that computes each element of one result alone run in parallel."""
    functions = {
        variable: _parallel(function) if isinstance(function, tirx.PrimFunc) else function
        for variable, function in module.functions.items()
    }
    return ir.IRModule(functions, attrs=module.attrs)


def _parallel(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """The function with its outer loops fused and run in parallel, or as it is where it has no such nest."""
    # what TVM writes by hand, such as a scatter, is one opaque block with a name of its own
    if getattr(function.body.block, "name_hint", "") != "root":
        return function
    schedule = s_tir.Schedule(function)
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    if len(blocks) != 1 or any(
        axis.iter_type != tirx.IterVar.DataPar for axis in schedule.get(blocks[0]).iter_vars
    ):
        return function
    loops = schedule.get_loops(blocks[0])
    counts = _serial_extents([schedule.get(loop) for loop in loops])
    if counts is None or math.prod(counts) < LEAST_WORK:
        return function
    outer = next(n for n in range(1, len(counts) + 1) if math.prod(counts[:n]) >= PARTS)
    schedule.parallel(schedule.fuse(*loops[:outer]))
    return schedule.mod["main"].with_attrs(function.attrs)


def _serial_extents(loops: Sequence[tirx.For]) -> list[int] | None:
    """How often each loop runs, or None where that is unknown or a loop is scheduled already."""
    if any(loop.kind != tirx.ForKind.SERIAL or not isinstance(loop.extent, tirx.IntImm) for loop in loops):
        return None
    return [int(loop.extent) for loop in loops]
