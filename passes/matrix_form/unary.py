"""Nonlinear functions of one tensor, exact, before they become tables.

Lowering turns every nonlinear operator into calls of these; the linearisation pass replaces each call by a table fitted
on the range that the data takes. The names are those of `nmc.pwl.functions`, which defines the same functions in numpy.
"""

import math
from collections.abc import Callable, Mapping

from tvm import relax

from passes.matrix_form.composite import call_composite
from passes.rewrite import Emitter

UNARY = "nmc.unary"
"""The Composite attribute of a call of an exact unary function."""

_op = relax.op
Parameters = Mapping[str, float]
Meaning = Callable[[relax.Expr, Parameters], relax.Expr]


def _constant(value: float) -> relax.Expr:
    return relax.const(value, "float32")


def _scaled(x: relax.Expr, factor: float) -> relax.Expr:
    return _op.multiply(x, _constant(factor))


def _shifted(x: relax.Expr, offset: float) -> relax.Expr:
    return _op.add(x, _constant(offset))


def _clipped(x: relax.Expr, low: float, high: float) -> relax.Expr:
    return _op.minimum(_op.maximum(x, _constant(low)), _constant(high))


def _positive(x: relax.Expr) -> relax.Expr:
    return _op.maximum(x, _constant(0.0))


def _negative(x: relax.Expr) -> relax.Expr:
    return _op.minimum(x, _constant(0.0))


def _softplus(x: relax.Expr) -> relax.Expr:
    # max(x, 0) + log(1 + exp(-|x|)) does not overflow
    return _op.add(_positive(x), _op.log(_shifted(_op.exp(_op.negative(_op.abs(x))), 1.0)))


def _elu(x: relax.Expr, alpha: float, scale: float = 1.0) -> relax.Expr:
    below = _scaled(_shifted(_op.exp(_scaled(_negative(x), 1.0 / scale)), -1.0), alpha)
    return _op.add(_positive(x), below)


def _selu(x: relax.Expr, alpha: float, gamma: float) -> relax.Expr:
    return _scaled(_elu(x, alpha), gamma)


def _hard_sigmoid(x: relax.Expr, alpha: float, beta: float) -> relax.Expr:
    return _clipped(_shifted(_scaled(x, alpha), beta), 0.0, 1.0)


def _gelu_tanh(x: relax.Expr) -> relax.Expr:
    cubic = _op.add(x, _scaled(_op.multiply(x, _op.multiply(x, x)), 0.044715))
    return _op.multiply(_scaled(x, 0.5), _shifted(_op.tanh(_scaled(cubic, math.sqrt(2.0 / math.pi))), 1.0))


def _gelu(x: relax.Expr) -> relax.Expr:
    return _op.multiply(_scaled(x, 0.5), _shifted(_op.erf(_scaled(x, math.sqrt(0.5))), 1.0))


def _shrink(x: relax.Expr, lambd: float, bias: float) -> relax.Expr:
    below = _where(_op.less(x, _constant(-lambd)), _shifted(x, bias), _constant(0.0))
    return _where(_op.greater(x, _constant(lambd)), _shifted(x, -bias), below)


def _where(condition: relax.Expr, x: relax.Expr, y: relax.Expr) -> relax.Expr:
    return _op.where(condition, x, y)


def _truth(compare: Callable[[relax.Expr, relax.Expr], relax.Expr]) -> Meaning:
    """1 where the argument compares so with the parameter `threshold`, else 0."""
    return lambda x, p: _op.astype(compare(x, _constant(p["threshold"])), "float32")


def _stairs(rounding: Callable[[relax.Expr], relax.Expr]) -> Meaning:
    """Rounded to multiples of the parameter `step`, a power of two, and cut to [lowest, highest]."""
    return lambda x, p: _clipped(
        _scaled(rounding(_scaled(x, 1.0 / p["step"])), p["step"]), p["lowest"], p["highest"]
    )


def _mirror(x: relax.Expr, low: float, high: float, phase: float) -> relax.Expr:
    """x + phase mirrored at both ends of [low, high] until it lies inside: the distance from low by twice the width."""
    distance, period = _shifted(x, phase - low), 2.0 * (high - low)
    rest = _op.subtract(distance, _scaled(_op.round(_scaled(distance, 1.0 / period)), period))
    return _shifted(_op.abs(rest), low)


def _keys_kernel(x: relax.Expr, a: float) -> relax.Expr:
    """Keys' cubic kernel: one cubic of min(|x|, 1) and one of |x| between 1 and 2, each zero or constant elsewhere."""
    size = _op.abs(x)
    near, far = _op.minimum(size, _constant(1.0)), _clipped(size, 1.0, 2.0)
    inner = _op.multiply(_shifted(_scaled(near, a + 2.0), -(a + 3.0)), _op.multiply(near, near))
    outer = _shifted(_op.multiply(_shifted(_op.multiply(_shifted(far, -5.0), far), 8.0), far), -4.0)
    return _shifted(_op.add(inner, _scaled(outer, a)), 1.0)


FUNCTIONS: Mapping[str, Meaning] = {
    "relu": lambda x, p: _positive(x),
    "leaky_relu": lambda x, p: _op.add(_positive(x), _scaled(_negative(x), p["alpha"])),
    "relu6": lambda x, p: _clipped(x, 0.0, 6.0),
    "hard_tanh": lambda x, p: _clipped(x, -1.0, 1.0),
    "clip": lambda x, p: _clipped(x, p["lo"], p["hi"]),
    "sign": lambda x, p: _op.sign(x),
    "greater": _truth(_op.greater),
    "greater_equal": _truth(_op.greater_equal),
    "less": _truth(_op.less),
    "less_equal": _truth(_op.less_equal),
    "equal": _truth(_op.equal),
    "not_equal": _truth(_op.not_equal),
    "floor": _stairs(_op.floor),
    "ceil": _stairs(_op.ceil),
    "round": _stairs(_op.round),
    "mirror": lambda x, p: _mirror(x, p["low"], p["high"], p["phase"]),
    "hat": lambda x, p: _positive(_shifted(_op.negative(_op.abs(x)), 1.0)),
    "cubic_kernel": lambda x, p: _keys_kernel(x, p["a"]),
    "abs": lambda x, p: _op.abs(x),
    "hard_sigmoid": lambda x, p: _hard_sigmoid(x, p["alpha"], p["beta"]),
    "hard_swish": lambda x, p: _op.multiply(x, _hard_sigmoid(x, 1.0 / 6.0, 0.5)),
    "thresholded_relu": lambda x, p: _where(_op.greater(x, _constant(p["alpha"])), x, _constant(0.0)),
    "shrink": lambda x, p: _shrink(x, p["lambd"], p["bias"]),
    "sigmoid": lambda x, p: _op.sigmoid(x),
    "log_sigmoid": lambda x, p: _op.negative(_softplus(_op.negative(x))),
    "tanh": lambda x, p: _op.tanh(x),
    "erf": lambda x, p: _op.erf(x),
    "gelu": lambda x, p: _gelu(x),
    "gelu_tanh": lambda x, p: _gelu_tanh(x),
    "silu": lambda x, p: _op.multiply(x, _op.sigmoid(x)),
    "swish": lambda x, p: _op.multiply(x, _op.sigmoid(_scaled(x, p["alpha"]))),
    "quick_gelu": lambda x, p: _op.multiply(x, _op.sigmoid(_scaled(x, 1.702))),
    "softplus": lambda x, p: _softplus(x),
    "mish": lambda x, p: _op.multiply(x, _op.tanh(_softplus(x))),
    "elu": lambda x, p: _elu(x, p["alpha"]),
    "celu": lambda x, p: _elu(x, p["alpha"], p["alpha"]),
    "selu": lambda x, p: _selu(x, p["alpha"], p["gamma"]),
    "softsign": lambda x, p: _op.divide(x, _shifted(_op.abs(x), 1.0)),
    "exp": lambda x, p: _op.exp(x),
    "log": lambda x, p: _op.log(x),
    "expm1": lambda x, p: _shifted(_op.exp(x), -1.0),
    "log1p": lambda x, p: _op.log(_shifted(x, 1.0)),
    "sqrt": lambda x, p: _op.sqrt(x),
    "rsqrt": lambda x, p: _op.rsqrt(_shifted(x, p["eps"])),
    "reciprocal": lambda x, p: _op.divide(_constant(1.0), x),
    "pow": lambda x, p: _op.power(x, _constant(p["exponent"])),
    "sin": lambda x, p: _op.sin(x),
    "cos": lambda x, p: _op.cos(x),
    "tan": lambda x, p: _op.tan(x),
    "asin": lambda x, p: _op.asin(x),
    "acos": lambda x, p: _op.acos(x),
    "atan": lambda x, p: _op.atan(x),
    "sinh": lambda x, p: _op.sinh(x),
    "cosh": lambda x, p: _op.cosh(x),
    "asinh": lambda x, p: _op.asinh(x),
    "acosh": lambda x, p: _op.acosh(x),
    "atanh": lambda x, p: _op.atanh(x),
}
"""Each function's meaning in Relax operators."""


def unary(emitter: Emitter, x: relax.Expr, function: str, **parameters: float) -> relax.Call:
    """A call that applies one of FUNCTIONS to every element of `x`, float32; same shape.

    Raises KeyError for a function or a parameter that is not defined.
    """
    meaning = FUNCTIONS[function]
    attributes = {
        "function": function,
        "parameters": {name: float(value) for name, value in parameters.items()},
    }
    return call_composite(emitter, UNARY, [x], lambda inner, p: meaning(p[0], parameters), attributes)
