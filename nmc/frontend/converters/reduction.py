"""Reductions over axes."""

from collections.abc import Callable, Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.elementwise import like
from nmc.frontend.converters.registry import CONVERTERS, Converter
from nmc.frontend.emitter import Emitter, dtype_of, is_float, shape_of
from nmc.frontend.values import Node, Value

Reduce = Callable[[Emitter, Value, list[int], bool], Value]


def _plain(operator: Callable[..., relax.Expr]) -> Reduce:
    def reduce(emitter: Emitter, x: Value, axes: list[int], keep: bool) -> Value:
        return emitter.call(operator, x, axis=axes, keepdims=keep)

    return reduce


def _extreme(operator: Callable[..., relax.Expr]) -> Reduce:
    def reduce(emitter: Emitter, x: Value, axes: list[int], keep: bool) -> Value:
        if dtype_of(x) != "bool":
            result = emitter.call(operator, x, axis=axes, keepdims=keep)
            if operator is not relax.op.max or not emitter.may_be_infinite(x):
                return result
            # TVM's maximum begins at the lowest finite number, but that of a wholly masked row is -inf.
            open_places = emitter.cast(emitter.call(relax.op.greater, x, like(x, -np.inf)), "float32")
            any_open = emitter.call(operator, open_places, axis=axes, keepdims=keep)
            masked = emitter.call(relax.op.equal, any_open, np.float32(0))
            return emitter.call(relax.op.where, masked, like(x, -np.inf), result)
        number = emitter.call(operator, emitter.cast(x, "int8"), axis=axes, keepdims=keep)
        return emitter.call(relax.op.not_equal, number, np.asarray(0, np.int8))

    return reduce


def _mean(emitter: Emitter, x: Value, axes: list[int], keep: bool) -> Value:
    if is_float(x):
        return emitter.call(relax.op.mean, x, axis=axes, keepdims=keep)
    count = int(np.prod([shape_of(x)[axis] for axis in axes]))
    return emitter.call(relax.op.divide, _sum(emitter, x, axes, keep), like(x, count))


_sum = _plain(relax.op.sum)


def _l1(emitter: Emitter, x: Value, axes: list[int], keep: bool) -> Value:
    return _sum(emitter, emitter.call(relax.op.abs, x), axes, keep)


def _sum_square(emitter: Emitter, x: Value, axes: list[int], keep: bool) -> Value:
    return _sum(emitter, emitter.call(relax.op.multiply, x, x), axes, keep)


def _l2(emitter: Emitter, x: Value, axes: list[int], keep: bool) -> Value:
    total = emitter.cast(_sum_square(emitter, x, axes, keep), "float32")
    return emitter.cast(emitter.call(relax.op.sqrt, total), dtype_of(x))


def _log_sum(emitter: Emitter, x: Value, axes: list[int], keep: bool) -> Value:
    return emitter.call(relax.op.log, _sum(emitter, x, axes, keep))


def _log_sum_exp(emitter: Emitter, x: Value, axes: list[int], keep: bool) -> Value:
    """log sum exp(x - max) + max, which cannot overflow."""
    largest = emitter.call(relax.op.max, x, axis=axes, keepdims=True)
    shifted = emitter.call(relax.op.exp, emitter.call(relax.op.subtract, x, largest))
    logarithm = emitter.call(relax.op.log, _sum(emitter, shifted, axes, True))
    total = emitter.call(relax.op.add, logarithm, largest)
    kept = [1 if axis in axes else size for axis, size in enumerate(shape_of(x))]
    return emitter.reshape(
        total, kept if keep else [size for axis, size in enumerate(kept) if axis not in axes]
    )


REDUCTIONS: dict[str, Reduce] = {
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _extreme(relax.op.max),
    "ReduceMean": _mean,
    "ReduceMin": _extreme(relax.op.min),
    "ReduceProd": _plain(relax.op.prod),
    "ReduceSum": _sum,
    "ReduceSumSquare": _sum_square,
}
"""How each ONNX reduction is written."""


def _converter(reduce: Reduce) -> Converter:
    def convert(emitter: Emitter, node: Node) -> Sequence[Value]:
        x, axes = node.tensor(0), node.integers(1, "axes")
        rank = len(shape_of(x))
        if not axes:
            if node.attributes.get("noop_with_empty_axes", 0):
                axes = []
                if node.operator in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
                    return [x]
            else:
                axes = list(range(rank))
        wanted = sorted(axis % rank for axis in axes)
        if not wanted:  # a scalar, or no axes: every element is reduced by itself
            alone = emitter.reshape(x, (*shape_of(x), 1))
            return [reduce(emitter, alone, [rank], False)]
        return [reduce(emitter, x, wanted, bool(node.attributes.get("keepdims", 1)))]

    return convert


CONVERTERS.update({("", name): _converter(reduce) for name, reduce in REDUCTIONS.items()})
