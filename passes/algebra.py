"""Identities that leave out or merge operators without changing a value beyond float rounding; one rule an
operator.

`passes.simplify` applies them. A rule gets a typed call and returns what replaces it, or None.
"""

from collections.abc import Callable, Mapping

import numpy as np
from tvm import relax

from passes.definitions import arguments_of, definition, operator_name
from passes.rewrite import Emitter, Rule, constant_value, dtype_of, shape_of
from passes.scalars import scalar_of

_op = relax.op
Binary = Callable[[relax.Expr, relax.Expr], relax.Expr]


def _unchanged(x: relax.Expr, call: relax.Call) -> relax.Expr | None:
    """x, if it can stand for the result as it is."""
    return x if shape_of(x) == shape_of(call) and dtype_of(x) == dtype_of(call) else None


def _add(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    for term, other in (tuple(call.args), tuple(call.args)[::-1]):
        if scalar_of(other) == 0.0 and _unchanged(term, call) is not None:
            return term
        opposite = arguments_of(emitter, other, "relax.negative")
        if opposite is not None:
            return _op.subtract(term, opposite[0])
    merged = _merged(emitter, call, "relax.add", _op.add, np.add)
    return _with_scalars(emitter, call, _op.add) if merged is None else merged


def _subtract(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    term, other = call.args
    if scalar_of(other) == 0.0 and _unchanged(term, call) is not None:
        return term
    opposite = arguments_of(emitter, other, "relax.negative")
    if opposite is not None:
        return _op.add(term, opposite[0])
    return _with_scalars(emitter, call, _op.subtract)


def _multiply(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    for factor, other in (tuple(call.args), tuple(call.args)[::-1]):
        if scalar_of(other) == 1.0 and _unchanged(factor, call) is not None:
            return factor
    merged = _merged(emitter, call, "relax.multiply", _op.multiply, np.multiply)
    return _with_scalars(emitter, call, _op.multiply) if merged is None else merged


def _divide(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    dividend, divisor = call.args
    if scalar_of(divisor) == 1.0 and _unchanged(dividend, call) is not None:
        return dividend
    return _with_scalars(emitter, call, _op.divide)


def _extremum(operator: Binary) -> Rule:
    def rule(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
        return call.args[0] if call.args[0].same_as(call.args[1]) else _with_scalars(emitter, call, operator)

    return rule


def _power(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    return _with_scalars(emitter, call, _op.power)


def _merged(
    emitter: Emitter, call: relax.Call, name: str, operator: Binary, compute: Callable[..., np.ndarray]
) -> relax.Expr | None:
    """(x ∘ c) ∘ d = x ∘ (c ∘ d) for constants c and d, when the new constant is no larger than they are."""
    if dtype_of(call) != "float32":
        return None
    for inner, outer in (tuple(call.args), tuple(call.args)[::-1]):
        second, pair = constant_value(outer), arguments_of(emitter, inner, name)
        if second is None or pair is None:
            continue
        for x, constant in (pair, pair[::-1]):
            first = constant_value(constant)
            if first is None or constant_value(x) is not None:
                continue
            value = compute(first.astype(np.float64), second.astype(np.float64)).astype(np.float32)
            if value.size <= max(first.size, second.size) and np.isfinite(value).all():
                return operator(x, emitter.constant(value))
    return None


def _with_scalars(emitter: Emitter, call: relax.Call, operator: Binary) -> relax.Expr | None:
    """The same operator with a constant of equal elements as a plain scalar, where that leaves the shape."""
    for index, (constant, other) in enumerate((tuple(call.args), tuple(call.args)[::-1])):
        number = scalar_of(constant, other)
        if number is not None and len(shape_of(constant)) > 0 and shape_of(other) == shape_of(call):
            scalar = emitter.constant(number, dtype_of(constant))
            return operator(other, scalar) if index else operator(scalar, other)
    return None


def _negative(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    twice = arguments_of(emitter, call.args[0], "relax.negative")
    return None if twice is None else twice[0]


def _astype(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """A cast to the type that a tensor has; a cast of a cast that lost nothing."""
    if _unchanged(call.args[0], call) is not None:
        return call.args[0]
    inner = arguments_of(emitter, call.args[0], "relax.astype")
    if inner is not None and np.can_cast(dtype_of(inner[0]), dtype_of(call.args[0]), "safe"):
        return _op.astype(inner[0], dtype_of(call))
    return None


def _reshape(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    x = call.args[0]
    if _unchanged(x, call) is not None:
        return x
    inner = arguments_of(emitter, x, "relax.reshape")
    return None if inner is None else _op.reshape(inner[0], list(shape_of(call)))


def _permute_dims(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    x = call.args[0]
    axes = _axes(call)
    if axes == list(range(len(axes))):
        return x
    shape = shape_of(x)
    long_axes = [axis for axis in axes if shape[axis] != 1]
    if long_axes == sorted(long_axes):
        return _op.reshape(x, list(shape_of(call)))
    inner = definition(emitter, x)
    if inner is None or operator_name(inner) != "relax.permute_dims":
        return None
    first = _axes(inner)
    return _op.permute_dims(inner.args[0], [first[axis] for axis in axes])


def _axes(call: relax.Call) -> list[int]:
    rank = len(shape_of(call.args[0]))
    given = call.attrs.axes
    return list(range(rank))[::-1] if given is None else [int(axis) % rank for axis in given]


def _same_shape(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """A broadcast, a slice with stride one or a pad that changes no extent does nothing."""
    return _unchanged(call.args[0], call)


def _strided_slice(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    strides = call.args[4].fields if len(call.args) > 4 else []
    if any(int(stride.value) != 1 for stride in strides):
        return None
    return _unchanged(call.args[0], call)


def _concat(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    parts = call.args[0].fields if isinstance(call.args[0], relax.Tuple) else []
    return parts[0] if len(parts) == 1 else None


def _where(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    condition = constant_value(call.args[0])
    if condition is None or condition.size == 0 or (condition != condition.reshape(-1)[0]).any():
        return None
    return _unchanged(call.args[1] if condition.all() else call.args[2], call)


def _dropout(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """At inference nothing is dropped: the tensor, and a mask of ones."""
    x = call.args[0]
    return relax.Tuple([x, emitter.constant(np.ones(shape_of(x)), dtype_of(x))])


RULES: Mapping[str, Rule] = {
    "relax.add": _add,
    "relax.subtract": _subtract,
    "relax.multiply": _multiply,
    "relax.divide": _divide,
    "relax.maximum": _extremum(_op.maximum),
    "relax.minimum": _extremum(_op.minimum),
    "relax.power": _power,
    "relax.negative": _negative,
    "relax.astype": _astype,
    "relax.reshape": _reshape,
    "relax.permute_dims": _permute_dims,
    "relax.broadcast_to": _same_shape,
    "relax.nn.pad": _same_shape,
    "relax.strided_slice": _strided_slice,
    "relax.concat": _concat,
    "relax.where": _where,
    "relax.nn.dropout": _dropout,
}
