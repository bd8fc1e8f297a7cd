"""Convolution and transposed convolution in one to three spatial dimensions."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.registry import converts
from nmc.frontend.converters.windows import Window, window_of
from nmc.frontend.emitter import Emitter, shape_of
from nmc.frontend.values import ConversionError, Node, Value

CONVOLUTIONS = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}
TRANSPOSED = {
    1: relax.op.nn.conv1d_transpose,
    2: relax.op.nn.conv2d_transpose,
    3: relax.op.nn.conv3d_transpose,
}
SPATIAL_AXES = {1: "W", 2: "HW", 3: "DHW"}


@converts("Conv")
def _conv(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, weight = node.tensor(0), node.tensor(1)
    sizes = shape_of(x)[2:]
    _check_rank(len(sizes))
    window = window_of(node, shape_of(weight)[2:], sizes)
    result = convolve(emitter, x, weight, window, int(node.attributes.get("group", 1)))
    return [add_channel_bias(emitter, result, node.input(2))]


def convolve(emitter: Emitter, x: Value, weight: Value, window: Window, groups: int) -> relax.Var:
    """Cross-correlation of x [N, C, ...] with weight [O, C/groups, ...]."""
    axes = SPATIAL_AXES[len(window.kernel)]
    return emitter.call(
        CONVOLUTIONS[len(axes)],
        x,
        weight,
        strides=list(window.strides),
        padding=list(window.pads),
        dilation=list(window.dilations),
        groups=groups,
        data_layout="NC" + axes,
        kernel_layout="OI" + axes,
    )


def add_channel_bias(emitter: Emitter, x: Value, bias: Value | None) -> Value:
    """x [N, C, ...] plus one number a channel."""
    if bias is None or (isinstance(bias, np.ndarray) and not bias.any()):
        return x
    return emitter.call(relax.op.add, x, emitter.reshape(bias, (1, -1) + (1,) * (len(shape_of(x)) - 2)))


def _check_rank(spatial: int) -> None:
    if spatial not in CONVOLUTIONS:
        raise ConversionError(f"has {spatial} spatial dimensions; 1 to 3 are supported")


@converts("ConvTranspose")
def _conv_transpose(emitter: Emitter, node: Node) -> Sequence[Value]:
    """As one transposed convolution where Relax has it, else as a convolution over the zero-stuffed input."""
    x, weight = node.tensor(0), node.tensor(1)
    sizes, kernel = shape_of(x)[2:], shape_of(weight)[2:]
    _check_rank(len(sizes))
    groups = int(node.attributes.get("group", 1))
    window, extra = _transposed_window(node, kernel, sizes)
    axes = SPATIAL_AXES[len(sizes)]
    plain = set(window.dilations) == {1} and all(e < s for e, s in zip(extra, window.strides, strict=True))
    if plain and groups == 1 and all(pad >= 0 for pad in window.pads):
        result: Value = emitter.call(
            TRANSPOSED[len(sizes)],
            x,
            weight,
            strides=list(window.strides),
            padding=list(window.pads),
            output_padding=list(extra),
            dilation=[1] * len(sizes),
            groups=1,
            data_layout="NC" + axes,
            kernel_layout="IO" + axes,
        )
    else:
        result = _by_zero_stuffing(emitter, x, weight, window, extra, groups)
    return [add_channel_bias(emitter, result, node.input(2))]


def _transposed_window(
    node: Node, kernel: Sequence[int], sizes: Sequence[int]
) -> tuple[Window, tuple[int, ...]]:
    """The window and the output padding, with `output_shape` and `auto_pad` resolved (ONNX ConvTranspose)."""
    rank = len(sizes)
    explicit = window_of(node, kernel, sizes)
    extra = tuple(node.attributes.get("output_padding") or [0] * rank)
    mode = node.attributes.get("auto_pad", "NOTSET")
    wanted = node.attributes.get("output_shape")
    if not wanted and mode not in ("SAME_UPPER", "SAME_LOWER"):
        return explicit, extra
    wanted = (
        list(wanted)[-rank:]
        if wanted
        else [s * stride for s, stride in zip(sizes, explicit.strides, strict=True)]
    )
    begins, ends = [], []
    for axis in range(rank):
        full = explicit.strides[axis] * (sizes[axis] - 1) + extra[axis] + explicit.extent[axis]
        total = full - int(wanted[axis])
        small, large = total // 2, total - total // 2
        upper = mode == "SAME_UPPER"
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return Window(explicit.kernel, explicit.strides, explicit.dilations, (*begins, *ends)), extra


def _by_zero_stuffing(
    emitter: Emitter, x: Value, weight: Value, window: Window, extra: Sequence[int], groups: int
) -> Value:
    """Zeros between the elements, then an ordinary convolution with the kernel turned around."""
    rank = len(window.kernel)
    for axis, stride in enumerate(window.strides):
        x = _stuff(emitter, x, axis + 2, stride)
    before = [window.extent[i] - 1 - window.pads[i] for i in range(rank)]
    after = [window.extent[i] - 1 - window.pads[rank + i] + extra[i] for i in range(rank)]
    x = pad_or_crop(emitter, x, [0, 0, *before], [0, 0, *after])
    inputs, outputs = shape_of(weight)[:2]
    kernel: Value = emitter.reshape(weight, (groups, inputs // groups, outputs, *window.kernel))
    kernel = emitter.transpose(kernel, [0, 2, 1, *range(3, 3 + rank)])
    kernel = emitter.reshape(kernel, (groups * outputs, inputs // groups, *window.kernel))
    for axis, size in enumerate(window.kernel):
        kernel = emitter.take(kernel, np.arange(size - 1, -1, -1), axis + 2)
    ones = Window(window.kernel, (1,) * rank, window.dilations, (0,) * 2 * rank)
    return convolve(emitter, x, kernel, ones, groups)


@converts("Col2Im")
def _col2im(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Overlapping blocks added up: a transposed convolution with one kernel of a single 1 for each place."""
    x, image, block = node.tensor(0), node.constant(1), node.constant(2)
    if image is None or block is None:
        raise ConversionError("has no image or block shape")
    kernel, rank = tuple(int(size) for size in block), len(block)
    _check_rank(rank)
    window = window_of(node, kernel, [int(size) for size in image])
    places = int(np.prod(kernel))
    batch, channels = shape_of(x)[0], shape_of(x)[1] // places
    spread = [
        (int(image[i]) + window.pads[i] + window.pads[rank + i] - window.extent[i]) // window.strides[i] + 1
        for i in range(rank)
    ]
    grid = emitter.reshape(x, (batch, channels * places, *spread))
    ones = np.tile(np.eye(places, dtype=np.float32).reshape(places, 1, *kernel), (channels, 1, *(1,) * rank))
    # What the strides leave over at the end of the image stays zero.
    left = [
        int(image[i])
        + window.pads[i]
        + window.pads[rank + i]
        - window.extent[i]
        - (spread[i] - 1) * window.strides[i]
        for i in range(rank)
    ]
    return [_by_zero_stuffing(emitter, grid, ones, window, left, channels)]


def _stuff(emitter: Emitter, x: Value, axis: int, stride: int) -> Value:
    """Put stride - 1 zeros between neighbours along one axis."""
    if stride == 1:
        return x
    shape = shape_of(x)
    column = emitter.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    after = [0] * (len(shape) + 1)
    after[axis + 1] = stride - 1
    padded = pad_or_crop(emitter, column, [0] * len(after), after)
    row = emitter.reshape(padded, (*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))
    return emitter.slice(row, axis, 0, (shape[axis] - 1) * stride + 1)


def pad_or_crop(
    emitter: Emitter, x: Value, before: Sequence[int], after: Sequence[int], fill: float = 0.0
) -> Value:
    """Add `fill` around x, or remove elements where a count is negative."""
    for axis, (begin, end) in enumerate(zip(before, after, strict=True)):
        if begin < 0 or end < 0:
            x = emitter.slice(x, axis, max(-begin, 0), shape_of(x)[axis] - max(-end, 0))
    widths = [max(count, 0) for pair in zip(before, after, strict=True) for count in pair]
    if not any(widths):
        return x
    if isinstance(x, np.ndarray):
        return np.pad(x, np.reshape(widths, (-1, 2)), constant_values=fill)
    return emitter.call(relax.op.nn.pad, x, widths, pad_mode="constant", pad_value=fill)
