"""The kernel of products that take each channel alone, of images whose channels lie together; any extents."""

from functools import cache
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from targets.cpu.table_lines import LANES, through_table

BAND = 16
"""Rows that a thread takes at a time."""


@cache
def depthwise_kernel() -> tirx.PrimFunc:
    """table(sums + bias + residual), where sums[row, c] = Σ x[place[row, tap], c]·b[tap, c] over taps of places from 0 on.

    x: [positions, channels]; place: int32 [rows, taps]; b: [1, taps, channels], given in panels. What follows the sums is
    given as to the kernel of matrices, and the result is [1, rows, channels].
    """

    @T.prim_func(private=True, s_tir=True)
    def depthwise(
        x_handle: T.handle,
        place_handle: T.handle,
        panels_handle: T.handle,
        bias_handle: T.handle,
        residual_handle: T.handle,
        boundary_handle: T.handle,
        slope_handle: T.handle,
        intercept_handle: T.handle,
        out_handle: T.handle,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        positions, channels, rows, taps, count = T.int64(), T.int64(), T.int64(), T.int64(), T.int64()
        boundaries, segments, residual_rows, residual_channels = T.int64(), T.int64(), T.int64(), T.int64()
        x = T.match_buffer(x_handle, (positions, channels), "float32")
        place = T.match_buffer(place_handle, (rows, taps), "int32")
        panels = T.match_buffer(panels_handle, (1, count, taps, LANES), "float32")
        bias = T.match_buffer(bias_handle, (1, count, LANES), "float32")
        residual = T.match_buffer(residual_handle, (1, residual_rows, residual_channels), "float32")
        boundary = T.match_buffer(boundary_handle, (boundaries,), "float32")
        slope = T.match_buffer(slope_handle, (segments,), "float32")
        intercept = T.match_buffer(intercept_handle, (segments,), "float32")
        out = T.match_buffer(out_handle, (1, rows, channels), "float32")
        for band in T.parallel(_bands(rows)):
            with T.sblock("depthwise"):
                v_band = T.axis.spatial(_bands(rows), band)
                total = T.sblock_alloc_buffer((1, LANES), "float32", scope="local")
                own_slope = T.sblock_alloc_buffer((LANES,), "float32", scope="local")
                own_intercept = T.sblock_alloc_buffer((LANES,), "float32", scope="local")
                width = T.sblock_alloc_buffer((1,), "int32", scope="local")
                for part in range(T.min(T.int64(BAND), rows - v_band * T.int64(BAND))):
                    for panel in range(count):
                        row: T.let[T.int64] = v_band * T.int64(BAND) + part
                        first: T.let[T.int64] = panel * T.int64(LANES)
                        width[0] = T.cast(T.min(channels - first, T.int64(LANES)), "int32")
                        for j in T.vectorized(LANES):
                            total[0, j] = bias[0, panel, j]
                        for tap in range(taps):
                            if place[row, tap] >= 0:
                                if width[0] == LANES:
                                    for j in T.vectorized(LANES):
                                        total[0, j] += (
                                            x[place[row, tap], first + j] * panels[0, panel, tap, j]
                                        )
                                else:
                                    for j in range(width[0]):
                                        total[0, j] += (
                                            x[place[row, tap], first + j] * panels[0, panel, tap, j]
                                        )
                        if residual_rows * residual_channels == rows * channels:
                            for j in range(width[0]):
                                total[0, j] += residual[0, row, first + j]
                        through_table(
                            total, 0, own_slope, own_intercept, boundary, slope, intercept, segments
                        )
                        if width[0] == LANES:
                            for j in T.vectorized(LANES):
                                out[0, row, first + j] = total[0, j]
                        else:
                            for j in range(width[0]):
                                out[0, row, first + j] = total[0, j]

    return depthwise


def _bands(rows: Any) -> Any:
    return tirx.ceildiv(rows, tirx.const(BAND, "int64"))
