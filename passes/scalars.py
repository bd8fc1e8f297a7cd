"""Recognises constants that act as one number."""

import numpy as np
from tvm import relax

from passes.rewrite import constant_value, shape_of

FLOAT32_HIGHEST = float(np.finfo(np.float32).max)
"""The largest finite float32."""

FINITE_INFINITY = FLOAT32_HIGHEST / 4.0
"""Stands for infinity in constants: up to four masks can be added without overflow, and zero times it is zero."""


def scalar_of(expr: relax.Expr, partner: relax.Expr | None = None) -> float | None:
    """The number that a constant of equal elements holds, or None.

    With a `partner`, None too when broadcasting the constant against it would change the partner's shape.
    """
    value = constant_value(expr)
    if value is None or value.size == 0 or value.dtype.kind != "f":
        return None
    first = value.reshape(-1)[0]
    if not (value == first).all():
        return None
    if partner is not None and np.broadcast_shapes(value.shape, shape_of(partner)) != shape_of(partner):
        return None
    return float(first)


def scalar_factor(call: relax.Call) -> tuple[relax.Var | None, float]:
    """The variable and the scalar of a multiplication by a constant scalar, or (None, 0)."""
    for source, factor in (call.args, reversed(call.args)):
        value = constant_value(factor)
        if value is None or value.size != 1 or not isinstance(source, relax.Var):
            continue
        if value.ndim <= len(source.ty.shape):
            return source, float(value.reshape(()))
    return None, 0.0
