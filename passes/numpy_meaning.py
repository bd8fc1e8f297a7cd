"""What Relax operators compute, in numpy: for passes that evaluate a part of a function at compile time."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tvm import ir, relax

Array = np.ndarray

_erf = np.vectorize(math.erf, otypes=[np.float64])


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
    "relax.erf": lambda x: _erf(x),
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
