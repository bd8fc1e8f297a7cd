"""Operators that move elements without computing: reshape, transpose, slice, concatenate, pad, repeat."""

from collections.abc import Sequence

import numpy as np
from onnx import helper
from tvm import relax

from nmc.frontend.converters.convolution import pad_or_crop
from nmc.frontend.converters.registry import converts
from nmc.frontend.emitter import Emitter, dtype_of, is_float, shape_of
from nmc.frontend.values import ConversionError, Node, Value


@converts("Shape", "Size")
def _shape(emitter: Emitter, node: Node) -> Sequence[Value]:
    shape = shape_of(node.tensor(0))
    if node.operator == "Size":
        return [np.asarray(int(np.prod(shape)), np.int64)]
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
    return [np.asarray(shape, np.int64)[start:end]]


@converts("Reshape")
def _reshape(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, target = node.tensor(0), node.integers(1, "shape")
    if target is None:
        raise ConversionError("has no target shape")
    if not node.attributes.get("allowzero", 0):
        target = [shape_of(x)[axis] if size == 0 else size for axis, size in enumerate(target)]
    return [emitter.reshape(x, target)]


@converts("Flatten")
def _flatten(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, axis = node.tensor(0), int(node.attributes.get("axis", 1))
    shape = shape_of(x)
    axis = axis + len(shape) if axis < 0 else axis
    return [emitter.reshape(x, (int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))))]


@converts("Squeeze")
def _squeeze(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, axes = node.tensor(0), node.integers(1, "axes")
    shape = shape_of(x)
    if axes is None:
        gone = {axis for axis, size in enumerate(shape) if size == 1}
    else:
        gone = {axis % len(shape) for axis in axes}
    wide = [axis for axis in gone if shape[axis] != 1]
    if wide:
        raise ConversionError(f"axis {wide[0]} has size {shape[wide[0]]}, not 1")
    return [emitter.reshape(x, [size for axis, size in enumerate(shape) if axis not in gone])]


@converts("Unsqueeze")
def _unsqueeze(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, axes = node.tensor(0), node.integers(1, "axes")
    shape = list(shape_of(x))
    if axes is None:
        raise ConversionError("has no axes")
    rank = len(shape) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        shape.insert(axis, 1)
    return [emitter.reshape(x, shape)]


@converts("Transpose")
def _transpose(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    return [emitter.transpose(x, node.attributes.get("perm") or list(range(len(shape_of(x))))[::-1])]


@converts("Concat")
def _concat(emitter: Emitter, node: Node) -> Sequence[Value]:
    values = [node.tensor(i) for i in range(len(node.inputs))]
    return [emitter.concat(values, int(node.attributes.get("axis", 1)) % len(shape_of(values[0])))]


@converts("Split")
def _split(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, sizes = node.tensor(0), node.integers(1, "split")
    axis = int(node.attributes.get("axis", 0)) % len(shape_of(x))
    if not sizes:
        count, extent = node.attributes.get("num_outputs", len(node.proto.output)), shape_of(x)[axis]
        chunk = -(-extent // count)
        sizes = [min(chunk, extent - start) for start in range(0, extent, chunk)]
    ends = [int(end) for end in np.cumsum(sizes)]
    return [emitter.slice(x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


@converts("Slice")
def _slice(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    shape = shape_of(x)
    starts, ends = node.integers(1, "starts"), node.integers(2, "ends")
    if starts is None or ends is None:
        raise ConversionError("has no starts or no ends")
    axes = node.integers(3, "axes") or list(range(len(starts)))
    steps = node.integers(4, "steps") or [1] * len(starts)
    forward: list[tuple[int, int, int, int]] = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(shape)
        if step == 0:
            raise ConversionError("has a step of zero")
        chosen = range(*slice(start, end, step).indices(shape[axis]))
        if step < 0 and len(chosen) > 0:
            x = emitter.take(x, np.asarray(list(chosen), np.int64), axis)
        elif chosen != range(shape[axis]):
            forward.append((axis, chosen.start, max(chosen.stop, chosen.start), step))
    if not forward:
        return [x]
    order, begins, stops, strides = (list(column) for column in zip(*sorted(forward), strict=True))
    return [emitter.call(relax.op.strided_slice, x, order, begins, stops, strides)]


@converts("Expand")
def _expand(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, target = node.tensor(0), node.constant(1)
    if target is None:
        raise ConversionError("has no target shape")
    return [emitter.broadcast(x, np.broadcast_shapes(shape_of(x), tuple(int(size) for size in target)))]


@converts("Tile")
def _tile(emitter: Emitter, node: Node) -> Sequence[Value]:
    """[a, b] repeated (r, s) times is [1, a, 1, b] broadcast to [r, a, s, b]."""
    x, repeats = node.tensor(0), node.constant(1)
    if repeats is None:
        raise ConversionError("has no repeats")
    if node.opset < 6:
        raise ConversionError("before operator set 6 is not supported")
    counts, shape = [int(count) for count in repeats], shape_of(x)
    narrow, wide = [], []
    for count, size in zip(counts, shape, strict=True):
        narrow += [1, size] if count > 1 else [size]
        wide += [count, size] if count > 1 else [size]
    spread = emitter.broadcast(emitter.reshape(x, narrow), wide)
    return [emitter.reshape(spread, [count * size for count, size in zip(counts, shape, strict=True)])]


@converts("Pad")
def _pad(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, widths = node.tensor(0), node.integers(1, "pads") or node.attributes.get("paddings")
    if widths is None:
        raise ConversionError("has no pads")
    rank = len(shape_of(x))
    axes = [axis % rank for axis in node.integers(3, "axes") or range(rank)]
    before, after = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        before[axis], after[axis] = int(widths[position]), int(widths[len(axes) + position])
    mode = node.attributes.get("mode", "constant")
    if mode == "constant":
        fill = node.constant(2)
        number = (
            float(fill.reshape(-1)[0])
            if fill is not None and fill.size
            else node.attributes.get("value", 0.0)
        )
        return [_pad_with(emitter, x, before, after, number)]
    for axis in range(rank):
        if before[axis] or after[axis]:
            x = emitter.take(x, _padding_indices(mode, shape_of(x)[axis], before[axis], after[axis]), axis)
    return [x]


def _pad_with(emitter: Emitter, x: Value, before: list[int], after: list[int], number: float) -> Value:
    if is_float(x) or number == 0:
        return pad_or_crop(emitter, x, before, after, float(number))
    widened = pad_or_crop(
        emitter, x, before, after, 0.0
    )  # Relax pads integers with a float: write the rest by mask
    inside = pad_or_crop(emitter, np.ones(shape_of(x), bool), before, after, 0.0)
    return emitter.call(relax.op.where, inside, widened, np.asarray(number, dtype_of(x)))


def _padding_indices(mode: str, size: int, before: int, after: int) -> np.ndarray:
    """Which element of the input stands at each place of the padded axis."""
    places = np.arange(-before, size + after)
    if mode == "edge":
        return np.clip(places, 0, size - 1)
    if mode == "wrap":
        return places % size
    if mode == "reflect":
        if size == 1:
            return np.zeros_like(places)
        around = places % (2 * (size - 1))
        return np.minimum(around, 2 * (size - 1) - around)
    raise ConversionError(f"mode '{mode}' is not supported")


@converts("DepthToSpace", "SpaceToDepth")
def _depth_and_space(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, block = node.tensor(0), int(node.attributes["blocksize"])
    batch, channels, height, width = shape_of(x)
    if node.operator == "SpaceToDepth":
        split = emitter.reshape(x, (batch, channels, height // block, block, width // block, block))
        order = [0, 3, 5, 1, 2, 4] if node.attributes.get("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
        moved = emitter.transpose(split, order)
        return [emitter.reshape(moved, (batch, channels * block * block, height // block, width // block))]
    depth = channels // (block * block)
    if node.attributes.get("mode", "DCR") == "DCR":
        split = emitter.reshape(x, (batch, block, block, depth, height, width))
        moved = emitter.transpose(split, [0, 3, 4, 1, 5, 2])
    else:
        split = emitter.reshape(x, (batch, depth, block, block, height, width))
        moved = emitter.transpose(split, [0, 1, 4, 2, 5, 3])
    return [emitter.reshape(moved, (batch, depth, height * block, width * block))]


@converts("Trilu")
def _trilu(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, offset = node.tensor(0), node.constant(1)
    k = int(offset.reshape(-1)[0]) if offset is not None else 0
    ones = np.ones(shape_of(x)[-2:], bool)
    kept = np.triu(ones, k) if node.attributes.get("upper", 1) else np.tril(ones, k)
    return [emitter.call(relax.op.where, kept, x, np.asarray(0, dtype_of(x)))]


@converts("EyeLike")
def _eye_like(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    dtype = node.attributes.get("dtype")
    element = helper.tensor_dtype_to_np_dtype(dtype) if dtype else np.dtype(dtype_of(x))
    rows, columns = shape_of(x)
    return [np.eye(rows, columns, int(node.attributes.get("k", 0)), dtype=element)]


@converts("ReverseSequence")
def _reverse_sequence(emitter: Emitter, node: Node) -> Sequence[Value]:
    """For lengths known at compile time: each sequence is a gather by constant indices."""
    x, lengths = node.tensor(0), node.constant(1)
    if lengths is None:
        raise ConversionError("has no sequence lengths")
    time, batch = int(node.attributes.get("time_axis", 0)), int(node.attributes.get("batch_axis", 1))
    rows = []
    for index, length in enumerate(lengths):
        order = np.arange(shape_of(x)[time])
        order[: int(length)] = order[: int(length)][::-1]
        row = emitter.slice(x, batch, index, index + 1)
        rows.append(emitter.take(row, order, time))
    return [emitter.concat(rows, batch)]


@converts("CenterCropPad")
def _center_crop_pad(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, target = node.tensor(0), node.constant(1)
    if target is None:
        raise ConversionError("has no target shape")
    shape = shape_of(x)
    before, after = [0] * len(shape), [0] * len(shape)
    for axis, size in zip(node.attributes.get("axes") or range(len(shape)), target, strict=True):
        axis %= len(shape)
        missing = int(size) - shape[axis]
        # Crops begin at floor(excess / 2), pads at floor(missing / 2).
        before[axis] = missing // 2 if missing >= 0 else -(-missing // 2)
        after[axis] = missing - before[axis]
    return [_pad_with(emitter, x, before, after, 0.0)]
