"""Pooling windows, local and global."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.elementwise import like
from nmc.frontend.converters.pooled_indices import max_pool_with_indices
from nmc.frontend.converters.registry import converts
from nmc.frontend.converters.windows import Window, window_of
from nmc.frontend.emitter import Emitter, is_float, shape_of
from nmc.frontend.values import ConversionError, Node, Value

MAXIMUM = {1: relax.op.nn.max_pool1d, 2: relax.op.nn.max_pool2d, 3: relax.op.nn.max_pool3d}
AVERAGE = {1: relax.op.nn.avg_pool1d, 2: relax.op.nn.avg_pool2d, 3: relax.op.nn.avg_pool3d}
LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


@converts("MaxPool")
def _max_pool(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    window, over = _window(node, shape_of(x)[2:])
    if node.wants(1):
        return max_pool_with_indices(emitter, x, window, over, bool(node.attributes.get("storage_order", 0)))
    return [_pool(emitter, MAXIMUM, x, window, over, count_include_pad=False)]


@converts("AveragePool")
def _average_pool(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    return [_average(emitter, node, x, bool(node.attributes.get("count_include_pad", 0)))]


@converts("LpPool")
def _lp_pool(emitter: Emitter, node: Node) -> Sequence[Value]:
    """(sum |x|^p)^(1/p), the sum as the kernel's size times the average."""
    power = float(node.attributes.get("p", 2))
    x = _raise(emitter, emitter.call(relax.op.abs, node.tensor(0)), power)
    window, over = _window(node, shape_of(x)[2:])
    mean = _pool(emitter, AVERAGE, x, window, over, count_include_pad=True)
    total = emitter.call(relax.op.multiply, mean, like(x, float(np.prod(window.kernel))))
    return [_raise(emitter, total, 1 / power)]


@converts("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    axes = list(range(2, len(shape_of(x))))
    if node.operator == "GlobalAveragePool":
        return [emitter.call(relax.op.mean, x, axis=axes, keepdims=True)]
    if node.operator == "GlobalMaxPool":
        return [emitter.call(relax.op.max, x, axis=axes, keepdims=True)]
    power = float(node.attributes.get("p", 2))
    raised = _raise(emitter, emitter.call(relax.op.abs, x), power)
    return [_raise(emitter, emitter.call(relax.op.sum, raised, axis=axes, keepdims=True), 1 / power)]


def _raise(emitter: Emitter, x: Value, power: float) -> Value:
    if power == 1.0:
        return x
    if power == 2.0:
        return emitter.call(relax.op.multiply, x, x)
    if power == 0.5:
        return emitter.call(relax.op.sqrt, x)
    return emitter.call(relax.op.power, x, like(x, power))


def _average(emitter: Emitter, node: Node, x: Value, include_pad: bool) -> Value:
    sizes = shape_of(x)[2:]
    window, over = _window(node, sizes)
    plain = not any(over) and set(window.dilations) == {1}
    if plain or (not include_pad and set(window.dilations) == {1}):
        return _pool(emitter, AVERAGE, x, window, over, count_include_pad=include_pad)
    # Windows that hang over the padded edge, or skip elements, divide by what lies inside: a constant for
    # each place.
    mean = _pool(emitter, AVERAGE, x, window, over, count_include_pad=True)
    counts = _counted(window, sizes, over, include_pad)
    return emitter.call(
        relax.op.multiply, mean, (np.prod(window.kernel) / counts).astype(np.float32)[None, None]
    )


def _window(node: Node, sizes: Sequence[int]) -> tuple[Window, list[int]]:
    """The window, and by how much the last one hangs over the padded end of each axis (ceil_mode)."""
    window = window_of(node, node.attributes["kernel_shape"], sizes)
    rank = len(sizes)
    over = [0] * rank
    if node.attributes.get("ceil_mode", 0) and node.attributes.get("auto_pad", "NOTSET") in ("NOTSET", ""):
        for axis in range(rank):
            padded = sizes[axis] + window.pads[axis] + window.pads[rank + axis]
            stride, extent = window.strides[axis], window.extent[axis]
            steps = -(-(padded - extent) // stride)
            if steps * stride >= sizes[axis] + window.pads[axis]:
                steps -= 1  # a window must begin inside the input or its leading padding
            over[axis] = max(steps * stride + extent - padded, 0)
    return window, over


def _counted(window: Window, sizes: Sequence[int], over: Sequence[int], include_pad: bool) -> np.ndarray:
    """How many elements each window averages over, shape [*output sizes]."""
    rank = len(sizes)
    total = np.ones((1,) * rank)
    for axis in range(rank):
        begin, end = window.pads[axis], window.pads[rank + axis]
        inside = np.zeros(begin + sizes[axis] + end + over[axis])
        inside[0 if include_pad else begin : begin + sizes[axis] + (end if include_pad else 0)] = 1
        starts = range(0, len(inside) - window.extent[axis] + 1, window.strides[axis])
        counts = [inside[s : s + window.extent[axis] : window.dilations[axis]].sum() for s in starts]
        shape = [1] * rank
        shape[axis] = len(counts)
        total = total * np.reshape(counts, shape)
    return total


def _pool(
    emitter: Emitter, operators: dict, x: Value, window: Window, over: Sequence[int], count_include_pad: bool
) -> relax.Var:
    rank = len(window.kernel)
    if rank not in operators:
        raise ConversionError(f"has {rank} spatial dimensions; 1 to 3 are supported")
    if operators is AVERAGE and not is_float(x):
        raise ConversionError("averages integers")
    ends = [pad + extra for pad, extra in zip(window.pads[rank:], over, strict=True)]
    return emitter.call(
        operators[rank],
        x,
        pool_size=list(window.kernel),
        strides=list(window.strides),
        padding=[*window.pads[:rank], *ends],
        dilation=list(window.dilations),
        ceil_mode=False,
        count_include_pad=count_include_pad,
        layout=LAYOUTS[rank],
    )
