"""Fourier transforms as products with constant matrices of sines and cosines."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.linear import matmul
from nmc.frontend.converters.registry import converts
from nmc.frontend.emitter import Emitter, shape_of
from nmc.frontend.values import ConversionError, Node, Value


@converts("DFT")
def _dft(emitter: Emitter, node: Node) -> Sequence[Value]:
    """The last axis holds real and imaginary parts (or the real part alone); `axis` is transformed."""
    x, length = node.tensor(0), node.constant(1)
    shape, rank = shape_of(x), len(shape_of(x))
    axis_input = node.constant(2) if node.opset >= 20 else None
    given = node.attributes.get("axis", 1) if node.opset < 20 else -2
    axis = int(axis_input.reshape(-1)[0] if axis_input is not None else given) % rank
    inverse, onesided = bool(node.attributes.get("inverse", 0)), bool(node.attributes.get("onesided", 0))
    default = 2 * (shape[axis] - 1) if inverse and onesided else shape[axis]
    size = default if length is None else int(length.reshape(-1)[0])
    if inverse and onesided:
        matrix = _real_inverse(size, shape[axis])
    else:
        matrix = _fourier(size, shape[axis], inverse, size // 2 + 1 if onesided else size, shape[-1])
    order = [*(i for i in range(rank - 1) if i != axis), axis, rank - 1]
    moved = emitter.transpose(x, order)
    rows = [shape[i] for i in order[:-2]]
    flat = emitter.reshape(moved, (int(np.prod(rows)), shape[axis] * shape[-1]))
    parts = 1 if inverse and onesided else 2
    result = emitter.reshape(matmul(emitter, flat, matrix), (*rows, matrix.shape[1] // parts, parts))
    back = list(range(len(rows)))
    return [emitter.transpose(result, [*back[:axis], len(rows), *back[axis:], rank - 1])]


def _fourier(size: int, given: int, inverse: bool, kept: int, parts: int) -> np.ndarray:
    """Matrix [given·parts, kept·2]: elements beyond `given` count as zero, those beyond `size` are cut."""
    angle = 2 * np.pi * np.outer(np.arange(given), np.arange(kept)) / size * (1 if inverse else -1)
    angle_cos, angle_sin = np.cos(angle), np.sin(angle)
    used = (np.arange(given) < size)[:, None] / (size if inverse else 1)
    blocks = np.zeros((given, parts, kept, 2))
    blocks[:, 0, :, 0], blocks[:, 0, :, 1] = angle_cos * used, angle_sin * used
    if parts == 2:
        blocks[:, 1, :, 0], blocks[:, 1, :, 1] = -angle_sin * used, angle_cos * used
    return blocks.reshape(given * parts, kept * 2).astype(np.float32)


def _real_inverse(size: int, given: int) -> np.ndarray:
    """Matrix [given·2, size] from one half of a symmetric spectrum to the real signal."""
    frequency = np.arange(given)
    angle = 2 * np.pi * np.outer(frequency, np.arange(size)) / size
    twice = np.where((frequency == 0) | (2 * frequency == size), 1.0, 2.0)
    weight = (twice * (frequency <= size // 2) / size)[:, None]
    blocks = np.stack([np.cos(angle) * weight, -np.sin(angle) * weight], axis=1)
    return blocks.reshape(given * 2, size).astype(np.float32)


@converts("STFT")
def _stft(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Frames by constant indices, then one product with the windowed Fourier matrix."""
    signal, step, window, length = node.tensor(0), node.constant(1), node.constant(2), node.constant(3)
    if step is None or (window is None and length is None):
        raise ConversionError("has no frame step, or neither window nor frame length")
    stride = int(step.reshape(-1)[0])
    size = int(length.reshape(-1)[0]) if length is not None else len(np.asarray(window))
    batch, samples, *parts = shape_of(signal)
    count = 1 + (samples - size) // stride
    kept = size // 2 + 1 if node.attributes.get("onesided", 1) else size
    width = parts[0] if parts else 1
    matrix = _fourier(size, size, False, kept, width)
    if window is not None:
        matrix = (matrix * np.repeat(window.astype(np.float64), width)[:, None]).astype(np.float32)
    frames = np.arange(count)[:, None] * stride + np.arange(size)[None, :]
    taken = emitter.take(emitter.reshape(signal, (batch, samples, width)), frames.astype(np.int64), 1)
    product = matmul(emitter, emitter.reshape(taken, (batch * count, size * width)), matrix)
    return [emitter.reshape(product, (batch, count, kept, 2))]


@converts("TensorScatter")
def _tensor_scatter(emitter: Emitter, node: Node) -> Sequence[Value]:
    """A key-value cache with new rows written at an index for each batch element."""
    cache, update, start = node.tensor(0), node.tensor(1), node.constant(2)
    shape, rank = shape_of(cache), len(shape_of(cache))
    axis = int(node.attributes.get("axis", -2)) % rank
    count, circular = shape_of(update)[axis], node.attributes.get("mode", "linear") == "circular"
    starts = np.zeros(shape[0], np.int64) if start is None else start
    rows = []
    for index, first in enumerate(starts):
        places = int(first) + np.arange(count)
        source = np.full(shape[axis], -1)
        source[places % shape[axis] if circular else places] = np.arange(count)
        old = emitter.slice(cache, 0, index, index + 1)
        new = emitter.take(emitter.slice(update, 0, index, index + 1), np.maximum(source, 0), axis)
        fresh = (source >= 0).reshape((-1,) + (1,) * (rank - axis - 1))
        rows.append(emitter.call(relax.op.where, fresh, new, old))
    return [emitter.concat(rows, 0)]
