"""Float products through one kernel for all shapes, in place of a naive loop nest for each."""

import math
from functools import cache
from typing import Any

import numpy as np
import tvm
from tvm import ir, relax, tirx
from tvm.script import tirx as T

from passes.matrix_form.composite import call_kernel
from passes.rewrite import Emitter, constant_value, dtype_of, rewrite_calls, shape_of
from passes.views import reshape

BLOCK_ROWS, BLOCK_COLUMNS = 6, 16
"""The sums that vector registers hold, with room for what they are made of."""
BAND = 16
"""Blocks of rows that a thread takes at a time, at most: they and a panel of columns stay near it for as long."""
CHUNKS = 8
"""Into how many parts the columns are divided, as far as there are panels: so few rows keep all threads busy, too."""


@tvm.transform.module_pass(opt_level=0, name="nmc.ScheduleMatmul")
def ScheduleMatmul(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Every float32 matmul in `main` whose batches are equal, or whose right operand has none, calls the kernel."""
    return rewrite_calls(module, {"relax.matmul": _use_kernel})


def _use_kernel(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    a, b = call.args
    a_shape, b_shape = shape_of(a), shape_of(b)
    if dtype_of(a) != "float32" or len(a_shape) < 2 or len(b_shape) < 2:
        return None
    rows, (depth, columns) = a_shape[-2], b_shape[-2:]
    if len(b_shape) == 2:
        groups, rows = 1, math.prod(a_shape[:-1])
    elif a_shape[:-2] == b_shape[:-2]:
        groups = math.prod(a_shape[:-2])
    else:
        return None
    operands = [reshape(emitter, a, (groups, rows, depth)), _panels(emitter, b, (groups, depth, columns))]
    kernel = emitter.builder.add_func(_matmul_kernel(), "matmul_float32")
    product = emitter.emit(call_kernel(emitter, kernel, operands, [groups, rows, columns], "float32"))
    return reshape(emitter, product, (*a_shape[:-1], columns))


def _panels(emitter: Emitter, b: relax.Expr, shape: tuple[int, int, int]) -> relax.Expr:
    """b, of [groups, depth, columns], as [groups, panels, depth, columns of one]; weights are laid out here and now."""
    groups, depth, columns = shape
    count = -(-columns // BLOCK_COLUMNS)
    value = constant_value(b)
    if value is not None:
        padded = np.zeros((groups, depth, count * BLOCK_COLUMNS), np.float32)
        padded[..., :columns] = value.reshape(shape)
        panels = padded.reshape(groups, depth, count, BLOCK_COLUMNS).transpose(0, 2, 1, 3)
        return emitter.constant(np.ascontiguousarray(panels))
    kernel = emitter.builder.add_func(_panels_kernel(), "panels_float32")
    extents = [groups, count, depth, BLOCK_COLUMNS]
    return emitter.emit(call_kernel(emitter, kernel, [reshape(emitter, b, shape)], extents, "float32"))


@cache
def _panels_kernel() -> tirx.PrimFunc:
    """b [groups, depth, columns] in panels of neighbouring columns, zeros behind the last, which a block reads in order."""

    @T.prim_func(private=True, s_tir=True)
    def panels(b_handle: T.handle, out_handle: T.handle) -> None:
        T.func_attr({"tirx.noalias": True})
        groups, depth, columns, panels = T.int64(), T.int64(), T.int64(), T.int64()
        b = T.match_buffer(b_handle, (groups, depth, columns), "float32")
        out = T.match_buffer(out_handle, (groups, panels, depth, BLOCK_COLUMNS), "float32")
        for panel in T.parallel(groups * panels):
            with T.sblock("panels"):
                v_panel = T.axis.spatial(groups * panels, panel)
                of: T.let[T.int64] = v_panel // panels
                number: T.let[T.int64] = v_panel % panels
                if (number + T.int64(1)) * T.int64(BLOCK_COLUMNS) <= columns:
                    for k in range(depth):
                        for j in T.vectorized(BLOCK_COLUMNS):
                            out[of, number, k, j] = b[of, k, number * T.int64(BLOCK_COLUMNS) + j]
                else:
                    for k in range(depth):
                        for j in range(BLOCK_COLUMNS):
                            out[of, number, k, j] = T.if_then_else(
                                number * T.int64(BLOCK_COLUMNS) + j < columns,
                                b[of, k, number * T.int64(BLOCK_COLUMNS) + j],
                                T.float32(0),
                            )

    return panels


@cache
def _matmul_kernel() -> tirx.PrimFunc:
    """a [groups, rows, depth] times b, given in panels, any extents; sums run over depth in order.

    Threads take neighbouring parts of the result, as many each. Bands and chunks are as even as blocks and panels allow,
    and of two neighbours it is the smaller operand that both read.
    """

    @T.prim_func(private=True, s_tir=True)
    def matmul(a_handle: T.handle, panels_handle: T.handle, out_handle: T.handle) -> None:
        T.func_attr({"tirx.noalias": True})
        groups, rows, depth, columns, count = T.int64(), T.int64(), T.int64(), T.int64(), T.int64()
        a = T.match_buffer(a_handle, (groups, rows, depth), "float32")
        panels = T.match_buffer(panels_handle, (groups, count, depth, BLOCK_COLUMNS), "float32")
        out = T.match_buffer(out_handle, (groups, rows, columns), "float32")
        for part in T.parallel(groups * _bands(rows) * _chunks(count)):
            with T.sblock("matmul"):
                v_part = T.axis.spatial(groups * _bands(rows) * _chunks(count), part)
                total = T.sblock_alloc_buffer((BLOCK_ROWS, BLOCK_COLUMNS), "float32", scope="local")
                # numbers in memory, since TVM's simplifier takes seconds over as many nested divisions
                band = T.sblock_alloc_buffer((3,), "int64", scope="local")
                chunk = T.sblock_alloc_buffer((3,), "int64", scope="local")
                g: T.let[T.int64] = v_part // (_bands(rows) * _chunks(count))
                band[0] = v_part % (_bands(rows) * _chunks(count))
                chunk[0] = band[0]
                if columns > rows:
                    band[0] = band[0] % _bands(rows)
                    chunk[0] = chunk[0] // _bands(rows)
                else:
                    band[0] = band[0] // _chunks(count)
                    chunk[0] = chunk[0] % _chunks(count)
                band[1] = band[0] * _blocks(rows) // _bands(rows)
                band[2] = (band[0] + T.int64(1)) * _blocks(rows) // _bands(rows)
                chunk[1] = chunk[0] * count // _chunks(count)
                chunk[2] = (chunk[0] + T.int64(1)) * count // _chunks(count)
                for panel in range(chunk[1], chunk[2]):
                    for block in range(band[1], band[2]):
                        row: T.let[T.int64] = block * T.int64(BLOCK_ROWS)
                        first: T.let[T.int64] = panel * T.int64(BLOCK_COLUMNS)
                        for i in T.unroll(BLOCK_ROWS):
                            for j in T.vectorized(BLOCK_COLUMNS):
                                total[i, j] = T.float32(0)
                        for k in range(depth):
                            for i in T.unroll(BLOCK_ROWS):
                                for j in T.vectorized(BLOCK_COLUMNS):
                                    # rows beyond the last are the last again, and written nowhere
                                    total[i, j] += (
                                        a[g, T.min(row + i, rows - T.int64(1)), k] * panels[g, panel, k, j]
                                    )
                        for i in T.unroll(BLOCK_ROWS):
                            if row + i < rows:
                                if first + T.int64(BLOCK_COLUMNS) <= columns:
                                    for j in T.vectorized(BLOCK_COLUMNS):
                                        out[g, row + i, first + j] = total[i, j]
                                else:
                                    for j in range(BLOCK_COLUMNS):
                                        if first + j < columns:
                                            out[g, row + i, first + j] = total[i, j]

    return matmul


def _blocks(rows: Any) -> Any:
    return tirx.ceildiv(rows, tirx.const(BLOCK_ROWS, "int64"))


def _bands(rows: Any) -> Any:
    return tirx.ceildiv(rows, tirx.const(BLOCK_ROWS * BAND, "int64"))


def _chunks(panels: Any) -> Any:
    return tirx.min(panels, tirx.const(CHUNKS, "int64"))
