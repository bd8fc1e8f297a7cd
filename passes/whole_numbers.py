"""Which float tensors hold whole numbers only, as their definitions tell."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from passes.definitions import definition, operator_name
from passes.rewrite import Emitter, constant_value, dtype_of

ROUNDINGS = frozenset({"relax.round", "relax.floor", "relax.ceil", "relax.sign"})

PRESERVING = frozenset(
    {
        *(
            "relax.add",
            "relax.subtract",
            "relax.multiply",
            "relax.maximum",
            "relax.minimum",
            "relax.negative",
        ),
        *("relax.nn.relu", "relax.abs", "relax.reshape", "relax.permute_dims", "relax.broadcast_to"),
    }
)
"""Operators whose result is whole where all their tensors are."""


def is_whole(emitter: Emitter, expr: relax.Expr) -> bool:
    """Whether each element is surely a whole number."""
    value = constant_value(expr)
    if value is not None:
        return bool((np.round(value) == value).all())
    if not dtype_of(expr).startswith("float"):
        return True
    call = definition(emitter, expr)
    name = "" if call is None else operator_name(call)
    if call is None or name in ROUNDINGS:
        return call is not None
    if name == "relax.astype":
        return is_whole(emitter, call.args[0])
    bounds = bounds_of(call)
    if bounds is not None:
        return all(bound == round(bound) for bound in bounds) and is_whole(emitter, call.args[0])
    return name in PRESERVING and all(is_whole(emitter, tensor) for tensor in _tensors(call))


def is_within(emitter: Emitter, expr: relax.Expr, integers: str) -> bool:
    """Whether a clip, perhaps rounded afterwards, has left nothing that a type of integers does not hold."""
    call, limits = definition(emitter, expr), np.iinfo(integers)
    if call is not None and operator_name(call) in ROUNDINGS:
        return is_within(emitter, call.args[0], integers)
    bounds = None if call is None else bounds_of(call)
    return bounds is not None and limits.min <= bounds[0] and bounds[1] <= limits.max


def bounds_of(call: relax.Call) -> tuple[float, float] | None:
    """The bounds of a clip; None of any other call."""
    if operator_name(call) != "relax.clip":
        return None
    low, high = (float(bound.value) for bound in call.args[1:3])
    return low, high


def _tensors(call: relax.Call) -> Sequence[relax.Expr]:
    return [argument for argument in call.args if isinstance(argument.ty, relax.TensorType)]
