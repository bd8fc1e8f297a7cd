"""What Relax operators compute, in numpy: for passes that evaluate a part of a function at compile time."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tvm import ir, relax

from nmc.pwl.functions import erf

Array = np.ndarray

ERF_ODD = (
    -1.60960333262415e-02,
    -2.95459980854025e-03,
    -7.34990630326855e-04,
    -5.69250639462346e-05,
    -2.10102402082508e-06,
    2.77068142495902e-08,
    -2.72614225801306e-10,
)
ERF_EVEN = (
    -1.42647390514189e-02,
    -7.37332916720468e-03,
    -1.68282697438203e-03,
    -2.13374055278905e-04,
    -1.45660718464996e-05,
)
"""erf(x) = x·odd(x²)/even(x²), lowest power first: the float32 approximation of Eigen (MathFunctionsImpl.h)."""

ERF_SATURATES = 3.832506856900711
"""From here on erf is one in float32."""


def _erf(x: Array | float) -> Array:
    """The error function to the last bits; of float32 arrays to a few units in the last place, and much faster."""
    array = np.asarray(x)
    if array.dtype != np.float32:
        return erf(array.astype(np.float64))
    clipped = np.clip(array, np.float32(-ERF_SATURATES), np.float32(ERF_SATURATES))
    square = clipped * clipped
    return clipped * _polynomial(square, ERF_ODD) / _polynomial(square, ERF_EVEN)


def _polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total *= x
        total += np.float32(coefficient)
    return total


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    **{
        f"relax.{name}": getattr(np, numpy_name)
        for name, numpy_name in {
            **{name: name for name in ("add", "subtract", "multiply", "power", "maximum", "minimum")},
            **{
                name: name
                for name in ("abs", "exp", "log", "sqrt", "negative", "square", "sign", "floor", "ceil")
            },
            **{
                name: name
                for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "isnan", "isinf", "isfinite")
            },
            **{
                name: name
                for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
            },
            **{
                name: name
                for name in ("logical_and", "logical_or", "logical_xor", "logical_not", "trunc", "where")
            },
            **{f"a{name}": f"arc{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
            "round": "rint",
        }.items()
    },
    "relax.erf": _erf,
    "relax.rsqrt": lambda x: 1.0 / np.sqrt(x),
    "relax.sigmoid": _sigmoid,
    "relax.nn.relu": lambda x: np.maximum(x, 0),
    "relax.nn.relu6": lambda x: np.clip(x, 0, 6),
    "relax.nn.gelu": lambda x: 0.5 * x * (1.0 + _erf(x * math.sqrt(0.5))),
    "relax.nn.gelu_tanh": _gelu_tanh,
    "relax.nn.silu": lambda x: x * _sigmoid(x),
}
"""Operators that work element by element, broadcast, and have no attributes."""


def evaluate_elementwise(call: relax.Call, arguments: Sequence[Array | float]) -> Array | None:
    """The values of an element-wise operator on these arrays; None for any other."""
    name = call.op.name if isinstance(call.op, ir.Op) else ""
    with np.errstate(all="ignore"):
        if name in ELEMENTWISE:
            return np.asarray(ELEMENTWISE[name](*arguments))
        if name == "relax.divide":
            return _divide(*(np.asarray(argument) for argument in arguments))
        if name == "relax.clip":
            return np.clip(arguments[0], *(bound.value for bound in call.args[1:]))
        if name == "relax.astype":
            return np.asarray(arguments[0]).astype(str(call.attrs.dtype))
        if name == "relax.nn.leakyrelu":
            return np.where(
                np.asarray(arguments[0]) > 0, arguments[0], call.attrs.alpha * np.asarray(arguments[0])
            )
        if name == "relax.nn.softplus":
            beta = float(call.attrs.beta)
            return np.logaddexp(0.0, beta * np.asarray(arguments[0])) / beta
    return None


def _divide(a: Array, b: Array) -> Array | None:
    """Division of floats; integers are left to the host, whose rounding is its own."""
    return np.divide(a, b) if a.dtype.kind == "f" and b.dtype.kind == "f" else None
