"""The kernel of all float products, and the one that lays out its right operand; any extents."""

from functools import cache
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from targets.cpu.table_lines import LANES, through_table

BLOCK_ROWS, BLOCK_COLUMNS = 6, LANES
"""The sums that vector registers hold, with room for what they are made of."""
BAND = 12
"""Blocks of rows that a thread takes at a time, at most: they and a panel of columns stay near it for as long."""
CHUNKS = 8
"""Into how many parts the columns are divided, as far as there are panels: so few rows keep all threads busy, too."""


@cache
def panels_kernel() -> tirx.PrimFunc:
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
def matmul_kernel() -> tirx.PrimFunc:
    """table(a·b + bias + residual): a [groups, rows, depth] times b, given in panels; sums run over depth in order.

    bias: [P, panels, BLOCK_COLUMNS] with P = 1 (shared by the groups) or P = groups. residual: of the result's shape, or
    a single zero for none. The table is one of float_pwl with few segments; a single segment of slope 1 for none.

    Threads take neighbouring parts of the result, as many each. Bands and chunks are as even as blocks and panels allow,
    and of two neighbours it is the smaller operand that both read.
    """

    @T.prim_func(private=True, s_tir=True)
    def matmul(
        a_handle: T.handle,
        panels_handle: T.handle,
        bias_handle: T.handle,
        residual_handle: T.handle,
        boundary_handle: T.handle,
        slope_handle: T.handle,
        intercept_handle: T.handle,
        out_handle: T.handle,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        groups, rows, depth, columns, count = T.int64(), T.int64(), T.int64(), T.int64(), T.int64()
        sets, boundaries, segments = T.int64(), T.int64(), T.int64()
        residual_groups, residual_rows, residual_columns = T.int64(), T.int64(), T.int64()
        a = T.match_buffer(a_handle, (groups, rows, depth), "float32")
        panels = T.match_buffer(panels_handle, (groups, count, depth, BLOCK_COLUMNS), "float32")
        bias = T.match_buffer(bias_handle, (sets, count, BLOCK_COLUMNS), "float32")
        residual = T.match_buffer(
            residual_handle, (residual_groups, residual_rows, residual_columns), "float32"
        )
        boundary = T.match_buffer(boundary_handle, (boundaries,), "float32")
        slope = T.match_buffer(slope_handle, (segments,), "float32")
        intercept = T.match_buffer(intercept_handle, (segments,), "float32")
        out = T.match_buffer(out_handle, (groups, rows, columns), "float32")
        for part in T.parallel(groups * _bands(rows) * _chunks(count)):
            with T.sblock("matmul"):
                v_part = T.axis.spatial(groups * _bands(rows) * _chunks(count), part)
                total = T.sblock_alloc_buffer((BLOCK_ROWS, BLOCK_COLUMNS), "float32", scope="local")
                own_slope = T.sblock_alloc_buffer((BLOCK_COLUMNS,), "float32", scope="local")
                own_intercept = T.sblock_alloc_buffer((BLOCK_COLUMNS,), "float32", scope="local")
                width = T.sblock_alloc_buffer((1,), "int32", scope="local")
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
                        width[0] = T.cast(T.min(columns - first, T.int64(BLOCK_COLUMNS)), "int32")
                        for i in T.unroll(BLOCK_ROWS):
                            for j in T.vectorized(BLOCK_COLUMNS):
                                total[i, j] = bias[
                                    T.if_then_else(sets == T.int64(1), T.int64(0), g), panel, j
                                ]
                        for k in range(depth):
                            for i in T.unroll(BLOCK_ROWS):
                                for j in T.vectorized(BLOCK_COLUMNS):
                                    # rows beyond the last are the last again, and written nowhere
                                    total[i, j] += (
                                        a[g, T.min(row + i, rows - T.int64(1)), k] * panels[g, panel, k, j]
                                    )
                        if residual_groups * residual_rows * residual_columns == groups * rows * columns:
                            _add_residual(total, residual, g, row, first, rows, width)
                        for i in T.unroll(BLOCK_ROWS):
                            through_table(
                                total, i, own_slope, own_intercept, boundary, slope, intercept, segments
                            )
                        _store(total, out, g, row, first, rows, width)

    return matmul


@T.inline
def _add_residual(total: Any, residual: Any, g: Any, row: Any, first: Any, rows: Any, width: Any) -> None:
    for i in T.unroll(BLOCK_ROWS):
        if row + i < rows:
            if width[0] == BLOCK_COLUMNS:
                for j in T.vectorized(BLOCK_COLUMNS):
                    total[i, j] += residual[g, row + i, first + j]
            else:
                for j in range(width[0]):
                    total[i, j] += residual[g, row + i, first + j]


@T.inline
def _store(total: Any, out: Any, g: Any, row: Any, first: Any, rows: Any, width: Any) -> None:
    for i in T.unroll(BLOCK_ROWS):
        if row + i < rows:
            if width[0] == BLOCK_COLUMNS:
                for j in T.vectorized(BLOCK_COLUMNS):
                    out[g, row + i, first + j] = total[i, j]
            else:
                for j in range(width[0]):
                    out[g, row + i, first + j] = total[i, j]


def _blocks(rows: Any) -> Any:
    return tirx.ceildiv(rows, tirx.const(BLOCK_ROWS, "int64"))


def _bands(rows: Any) -> Any:
    return tirx.ceildiv(rows, tirx.const(BLOCK_ROWS * BAND, "int64"))


def _chunks(panels: Any) -> Any:
    return tirx.min(panels, tirx.const(CHUNKS, "int64"))
