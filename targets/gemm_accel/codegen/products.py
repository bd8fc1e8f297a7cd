"""How the operands of a product lie in memory, and what that makes of the product.

Rows may be computed in the order of memory, a product may be turned into that of the transposes, and one whose groups
each have a window and a kernel of their own is a depthwise convolution.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from passes.matrix_form.im2col import Window
from targets.gemm_accel.codegen.nodes import ColumnScale, Depthwise
from targets.gemm_accel.codegen.views import Axis, Factor, View, dense_axes, merged, numpy_value, reshaped


@dataclass(frozen=True)
class Windowed:
    """An im2col of a source [batch, channels, *spatial]; `fill` is the integer outside of it."""

    source: View
    window: Window
    fill: int


def depthwise_of(a: Windowed, b: View, scale: ColumnScale, patch_bytes: int) -> Depthwise | None:
    """The product as a depthwise convolution, if each channel has a window of its own and one constant kernel.

    None too where what a window spans is larger than `patch_bytes`.
    """
    if b.buffer.value is None or b.shape[2] != 1 or b.shape[0] == 1:
        return None
    x, window, fill = a.source, a.window, a.fill
    spans = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilations, strict=True)]
    too_large = math.prod(spans) * x.buffer.element_bytes > patch_bytes
    if window.groups != x.shape[1] or len(window.kernel) > 2 or too_large:
        return None
    if len(window.kernel) == 1:
        rows = reshaped(x, (*x.shape[:2], 1, x.shape[2]))
        assert rows is not None
        x, window = rows, _two_dimensional(window)
    channels = b.shape[0]
    weights = np.ascontiguousarray(numpy_value(b)[:, :, 0].T)
    parts = (np.broadcast_to(p[:, 0], (channels,)) for p in (scale.bias, scale.multiplier, scale.shift))
    return Depthwise(x, window, fill, weights, ColumnScale(*(p.reshape(1, channels) for p in parts)))


def rows_in_memory_order(a: View, pitch: int) -> tuple[View, Axis]:
    """A [groups, M, K] with its rows in the order in which they lie in memory, and the axis of M, as it was, of
    a result that has a row each `pitch` elements in that order."""
    rows = merged(a.axes[1])
    order = list(range(len(rows)))
    if a.is_plain and not any(factor.repeats for factor in rows):
        order.sort(key=lambda index: -abs(rows[index].strides[0]))
    dense = dense_axes([rows[index].extent for index in order])
    strides = {index: axis[0].strides[0] * pitch for index, axis in zip(order, dense, strict=True)}
    turned = replace(a, axes=(a.axes[0], merged([rows[index] for index in order]), a.axes[2]))
    return turned, merged([Factor(factor.extent, (strides[i],)) for i, factor in enumerate(rows)])


def reads_columns(a: View, b: View) -> bool:
    """Whether the rows of A are scattered in memory while its columns are not, and B would not suffer from
    the turn."""
    if a.buffer.value is not None or b.shape[2] > 1:
        return False
    along_k, along_m = merged(a.axes[2]), merged(a.axes[1])
    return bool(along_m) and along_m[-1].strides[0] == 1 and bool(along_k) and along_k[-1].strides[0] != 1


def _two_dimensional(window: Window) -> Window:
    """A window over one axis as a window over two, the first of extent 1."""
    return Window(
        (1, *window.kernel),
        (1, *window.strides),
        (1, *window.dilations),
        (0, *window.pads_begin),
        (0, *window.pads_end),
        window.groups,
    )
