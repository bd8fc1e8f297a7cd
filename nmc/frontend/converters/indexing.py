"""Gathering, scattering, sorting and choosing by index."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.registry import converts
from nmc.frontend.emitter import Emitter, dtype_of, is_float, shape_of
from nmc.frontend.values import ConversionError, Node, Value

REDUCTIONS = {"none": "update", "add": "add", "mul": "mul", "min": "min", "max": "max"}
"""What ONNX and Relax call the ways to combine a scattered value with what is there."""


@converts("Gather")
def _gather(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, indices = node.tensor(0), node.tensor(1)
    axis = int(node.attributes.get("axis", 0)) % len(shape_of(x))
    if isinstance(indices, np.ndarray) and indices.size == 1 and not isinstance(x, np.ndarray):
        shape = shape_of(x)  # one element is a slice, which every target moves without a table of indices
        index = int(indices.reshape(-1)[0]) % shape[axis]
        row = emitter.slice(x, axis, index, index + 1)
        return [emitter.reshape(row, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))]
    return [emitter.take(x, indices, axis)]


@converts("GatherElements")
def _gather_elements(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, indices = node.tensor(0), node.tensor(1)
    axis = int(node.attributes.get("axis", 0)) % len(shape_of(x))
    wrapped = from_the_front(emitter, indices, shape_of(x)[axis])
    return [emitter.call(relax.op.gather_elements, x, wrapped, axis)]


@converts("GatherND")
def _gather_nd(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, indices = node.tensor(0), node.tensor(1)
    batch = int(node.attributes.get("batch_dims", 0))
    depth = shape_of(indices)[-1]
    extents = np.asarray(shape_of(x)[batch : batch + depth], np.int64)
    if isinstance(indices, np.ndarray) and not batch:
        flat = np.ravel_multi_index(tuple(np.moveaxis(indices % extents, -1, 0)), tuple(extents))
        rest = shape_of(x)[depth:]
        rows = emitter.take(emitter.reshape(x, (int(np.prod(extents)), *rest)), flat.astype(np.int64), 0)
        return [emitter.reshape(rows, (*flat.shape, *rest))]
    wrapped = emitter.cast(from_the_front(emitter, indices, extents), "int64")
    return [emitter.call(relax.op.gather_nd, x, wrapped, batch)]


@converts("ScatterElements", "Scatter")
def _scatter_elements(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, indices, updates = node.tensor(0), node.tensor(1), node.tensor(2)
    shape = shape_of(x)
    axis = int(node.attributes.get("axis", 0)) % len(shape)
    reduction = REDUCTIONS[node.attributes.get("reduction", "none")]
    wrapped = emitter.cast(from_the_front(emitter, indices, shape[axis]), "int64")
    others = [size for i, size in enumerate(shape) if i != axis]
    if others == [size for i, size in enumerate(shape_of(indices)) if i != axis]:
        return [emitter.call(relax.op.scatter_elements, x, wrapped, updates, axis, reduction)]
    # Relax wants the other axes whole: where they are not, every update gets its full coordinates.
    grid = np.moveaxis(np.indices(shape_of(indices)), 0, -1).reshape(-1, len(shape)).astype(np.int64)
    chosen = np.broadcast_to(np.arange(len(shape)) == axis, grid.shape)
    column = emitter.reshape(wrapped, (-1, 1))
    full = emitter.call(relax.op.where, chosen, column, grid)
    return [emitter.call(relax.op.scatter_nd, x, full, emitter.reshape(updates, (-1,)), reduction)]


@converts("ScatterND")
def _scatter_nd(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, indices, updates = node.tensor(0), node.tensor(1), node.tensor(2)
    extents = np.asarray(shape_of(x)[: shape_of(indices)[-1]], np.int64)
    wrapped = emitter.cast(from_the_front(emitter, indices, extents), "int64")
    reduction = REDUCTIONS[node.attributes.get("reduction", "none")]
    return [emitter.call(relax.op.scatter_nd, x, wrapped, updates, reduction)]


def from_the_front(emitter: Emitter, indices: Value, extent: int | np.ndarray) -> Value:
    """Indices with negative ones counted from the end, as ONNX does."""
    if isinstance(indices, np.ndarray):
        return np.where(indices < 0, indices + extent, indices).astype(indices.dtype)
    kind = dtype_of(indices)
    moved = emitter.call(relax.op.add, indices, np.asarray(extent, kind))
    negative = emitter.call(relax.op.less, indices, np.asarray(0, kind))
    return emitter.call(relax.op.where, negative, moved, indices)


@converts("ArgMax", "ArgMin")
def _arg_extreme(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, operator = node.tensor(0), relax.op.argmax if node.operator == "ArgMax" else relax.op.argmin
    shape = shape_of(x)
    axis, keep = int(node.attributes.get("axis", 0)) % len(shape), bool(node.attributes.get("keepdims", 1))
    if not node.attributes.get("select_last_index", 0):
        return [emitter.call(operator, x, axis=axis, keepdims=keep)]
    backwards = emitter.take(x, np.arange(shape[axis] - 1, -1, -1), axis)
    found = emitter.call(operator, backwards, axis=axis, keepdims=keep)
    return [emitter.call(relax.op.subtract, np.asarray(shape[axis] - 1, np.int64), found)]


@converts("TopK")
def _top_k(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, count = node.tensor(0), node.constant(1)
    k = int(count.reshape(-1)[0]) if count is not None else int(node.attributes["k"])
    # TVM sorts no uint64: as int64 they have the same order once the highest bit is turned
    highest = np.asarray(1 << 63, np.uint64)
    unsigned = dtype_of(x) == "uint64"
    found = emitter.call(
        relax.op.topk,
        emitter.cast(emitter.call(relax.op.bitwise_xor, x, highest), "int64") if unsigned else x,
        k=k,
        axis=int(node.attributes.get("axis", -1)) % len(shape_of(x)),
        ret_type="both",
        largest=bool(node.attributes.get("largest", 1)),
        dtype="int64",
    )
    values, places = (emitter.emit(relax.TupleGetItem(found, index)) for index in range(2))
    if unsigned:
        values = emitter.call(relax.op.bitwise_xor, emitter.cast(values, "uint64"), highest)
    return [values, places]


@converts("OneHot")
def _one_hot(emitter: Emitter, node: Node) -> Sequence[Value]:
    indices, depth_value, values = node.tensor(0), node.constant(1), node.tensor(2)
    if depth_value is None:
        raise ConversionError("has no depth")
    depth, rank = int(depth_value.reshape(-1)[0]), len(shape_of(indices))
    axis = int(node.attributes.get("axis", -1)) % (rank + 1)
    shape = shape_of(indices)
    whole: Value = emitter.cast(indices, "int64")
    if is_float(indices):  # their whole parts as floats can be compared where floats are computed
        whole = emitter.cast(whole, "float32")
    column = emitter.reshape(whole, (*shape[:axis], 1, *shape[axis:]))
    wrapped = from_the_front(emitter, column, depth)
    places = np.arange(depth).reshape((-1,) + (1,) * (rank - axis)).astype(dtype_of(column))
    hot = emitter.call(relax.op.equal, wrapped, places)
    off, on = (emitter.reshape(emitter.slice(values, 0, i, i + 1), ()) for i in (0, 1))
    return [emitter.call(relax.op.where, hot, on, off)]


@converts("Compress")
def _compress(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, condition = node.tensor(0), node.constant(1)
    if condition is None:
        raise ConversionError("has no condition")
    axis = node.attributes.get("axis")
    if axis is None:
        x, axis = emitter.reshape(x, (-1,)), 0
    return [emitter.take(x, np.flatnonzero(condition), int(axis) % len(shape_of(x)))]


@converts("ConstantOfShape", "MelWeightMatrix")
def _from_constants(emitter: Emitter, node: Node) -> Sequence[Value]:
    """What depends on shapes and sizes alone is evaluated once they are known, and refused before."""
    for index in range(len(node.inputs)):
        node.constant(index)
    raise ConversionError("its value cannot be computed from its inputs")
