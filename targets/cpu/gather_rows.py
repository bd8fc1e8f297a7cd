"""Rows of a matrix at constant places: windows of an image whose channels lie together, copied or summed; any extents."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from passes.matrix_form.im2col import Window

BAND = 64
"""Rows that a thread takes at a time."""


def window_places(window: Window, batch: int, spatial: Sequence[int]) -> np.ndarray:
    """For each output position and each tap of a window the row of [batch·Πspatial] that it reads, -1 in the padding.

    int32 [batch·Πoutputs, Πkernel].
    """
    rank = len(spatial)
    places, inside = np.zeros((1,) * (2 * rank), np.int64), np.ones((1,) * (2 * rank), bool)
    for axis, (extent, outputs) in enumerate(zip(spatial, window.output_extents(spatial), strict=True)):
        starts = np.arange(outputs) * window.strides[axis] - window.pads_begin[axis]
        taps = np.arange(window.kernel[axis]) * window.dilations[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = len(starts), len(taps)
        along = (starts[:, None] + taps).reshape(shape)
        places = places * extent + along
        inside = inside & (along >= 0) & (along < extent)
    images = np.arange(batch)[:, None, None] * int(np.prod(spatial))
    taps_of_all = int(np.prod(window.kernel))
    each = images + places.reshape(1, -1, taps_of_all)
    return np.where(inside.reshape(1, -1, taps_of_all), each, -1).reshape(-1, taps_of_all).astype(np.int32)


@cache
def gather_rows_kernel() -> tirx.PrimFunc:
    """out[n, :] = x[place[n], :], or zeros where the place is negative: x [positions, channels], out [count, channels]."""

    @T.prim_func(private=True, s_tir=True)
    def gather_rows(x_handle: T.handle, place_handle: T.handle, out_handle: T.handle) -> None:
        T.func_attr({"tirx.noalias": True})
        positions, channels, count = T.int64(), T.int64(), T.int64()
        x = T.match_buffer(x_handle, (positions, channels), "float32")
        place = T.match_buffer(place_handle, (count,), "int32")
        out = T.match_buffer(out_handle, (count, channels), "float32")
        for band in T.parallel(_bands(count)):
            with T.sblock("gather_rows"):
                v_band = T.axis.spatial(_bands(count), band)
                for part in range(T.min(T.int64(BAND), count - v_band * T.int64(BAND))):
                    n: T.let[T.int64] = v_band * T.int64(BAND) + part
                    if place[n] >= 0:
                        for c in range(channels):
                            out[n, c] = x[place[n], c]
                    else:
                        for c in range(channels):
                            out[n, c] = T.float32(0)

    return gather_rows


def _bands(count: Any) -> Any:
    return tirx.ceildiv(count, tirx.const(BAND, "int64"))
