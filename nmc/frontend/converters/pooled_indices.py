"""Where the maxima of pooling windows lie, and putting values back there."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.registry import converts
from nmc.frontend.converters.windows import Window, window_of
from nmc.frontend.emitter import Emitter, dtype_of, shape_of
from nmc.frontend.values import ConversionError, Node, Value


def max_pool_with_indices(
    emitter: Emitter, x: Value, window: Window, over: Sequence[int], column_major: bool
) -> list[Value]:
    """The maxima of all windows, and the index of each in the flattened input (int64).

    `over` says by how much the last window of each axis hangs over the padded end. Taps outside the input read
    the first one inside instead, which changes neither the maximum nor where it is found first.
    """
    batch, channels, *sizes = shape_of(x)
    taps, places = _taps(window, over, sizes)
    kernel, outputs = taps.shape
    flat = emitter.reshape(x, (batch, channels, int(np.prod(sizes))))
    read = emitter.reshape(emitter.take(flat, taps.reshape(-1), 2), (batch, channels, kernel, outputs))
    first = emitter.call(relax.op.argmax, read, axis=2, keepdims=False)
    table = _column_major(taps, sizes) if column_major else taps
    chosen = emitter.call(relax.op.multiply, first, np.asarray(outputs, np.int64))
    chosen = emitter.call(relax.op.add, chosen, np.arange(outputs, dtype=np.int64))
    within = emitter.call(relax.op.take, table.reshape(-1), chosen, 0, mode="clip")
    planes = np.arange(batch * channels, dtype=np.int64).reshape(batch, channels, 1) * int(np.prod(sizes))
    indices = emitter.call(relax.op.add, within, planes)
    shape = (batch, channels, *places)
    maxima = emitter.call(relax.op.max, read, axis=2)
    return [emitter.reshape(maxima, shape), emitter.reshape(indices, shape)]


def _taps(window: Window, over: Sequence[int], sizes: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """What every tap of every window reads in the flattened plane, [taps, outputs], and the outputs an axis."""
    rank = len(sizes)
    flat = np.zeros((1,) * 2 * rank, np.int64)
    inside = np.ones((1,) * 2 * rank, bool)
    counts = []
    for axis, size in enumerate(sizes):
        padded = size + window.pads[axis] + window.pads[rank + axis] + over[axis]
        counts.append((padded - window.extent[axis]) // window.strides[axis] + 1)
        tap = np.arange(window.kernel[axis]) * window.dilations[axis] - window.pads[axis]
        place = tap[:, None] + np.arange(counts[-1])[None, :] * window.strides[axis]
        shape = [1] * 2 * rank
        shape[axis], shape[rank + axis] = place.shape
        flat = flat * size + place.reshape(shape)
        inside = inside & ((place >= 0) & (place < size)).reshape(shape)
    kernel = int(np.prod(window.kernel))
    flat, inside = flat.reshape(kernel, -1), inside.reshape(kernel, -1)
    if not inside.any(0).all():
        raise ConversionError("has windows that lie wholly in the padding, where there is no maximum")
    first = np.take_along_axis(flat, inside.argmax(0)[None], 0)
    return np.where(inside, flat, first), counts


def _column_major(taps: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Flat indices counted with the first spatial axis fastest (storage_order 1)."""
    return np.ravel_multi_index(np.unravel_index(taps, tuple(sizes)), tuple(sizes), order="F").astype(
        np.int64
    )


@converts("MaxUnpool")
def _max_unpool(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Zeros, with every value at its index; an explicit larger output shape adds zeros at the ends."""
    x, indices, given = node.tensor(0), node.tensor(1), node.constant(2)
    shape = shape_of(x)
    window = window_of(node, node.attributes["kernel_shape"], shape[2:])
    rank = len(window.kernel)
    pads = [window.pads[axis] + window.pads[rank + axis] for axis in range(rank)]
    sizes = [
        (size - 1) * stride - pad + kernel
        for size, stride, pad, kernel in zip(shape[2:], window.strides, pads, window.kernel, strict=True)
    ]
    natural = (*shape[:2], *sizes)
    zeros = np.zeros(int(np.prod(natural)), dtype_of(x))
    flat = emitter.cast(emitter.reshape(indices, (-1, 1)), "int64")
    filled = emitter.call(relax.op.scatter_nd, zeros, flat, emitter.reshape(x, (-1,)), "update")
    result: Value = emitter.reshape(filled, natural)
    wanted = natural if given is None else tuple(int(size) for size in given)
    if any(size < least for size, least in zip(wanted, natural, strict=True)):
        raise ConversionError(f"output_shape {wanted} is smaller than {natural}, which the window needs")
    if wanted != natural:
        ends = [pair for size, least in zip(wanted, natural, strict=True) for pair in (0, size - least)]
        result = emitter.call(relax.op.nn.pad, result, pad_width=ends)
    return [result]
