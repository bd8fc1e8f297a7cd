"""What others put in the place of nonlinear functions, as published, in floats."""

import math
from collections.abc import Callable

import numpy as np

from nmc.pwl import Function, function_named
from nmc.quant.formats import TensorRange

Array = np.ndarray
Chosen = Callable[[Array], Array] | None

GQA_LUT = {
    "gelu": (
        (-3.015625, -2.203125, -0.890625, -0.421875, 0.03125, 0.625, 2.796875),
        (0.0, -0.03125, -0.109375, 0.046875, 0.359375, 0.75, 1.078125, 1.0),
        (0.0, -0.09375, -0.265625, -0.125, 0.0, -0.015625, -0.21875, 0.0),
    ),
    "exp": (
        (-5.25, -3.4375, -2.328125, -2.0, -1.25, -0.671875, -0.296875),
        (0.0, 0.015625, 0.0625, 0.109375, 0.203125, 0.390625, 0.625, 0.875),
        (0.0, 0.078125, 0.234375, 0.359375, 0.53125, 0.765625, 0.921875, 1.0),
    ),
}
"""Breakpoints, slopes and intercepts of GQA-LUT's tables of 8 entries (Dong et al., arXiv 2403.19591)."""

NN_LUT_RANGES = {"gelu": (-5.0, 5.0), "exp": (-16.0, 0.0), "tanh": (-5.0, 5.0), "sigmoid": (-8.0, 8.0)}
NN_LUT_ENTRIES = 16
NN_LUT_STEPS = 4000
TWO_QUAD_SHIFT = 5.0
"""c of 2quad, (x + c)², as MPCFormer sets it (Li et al., arXiv 2211.01452)."""


def of_i_bert(function: Function, span: TensorRange) -> Chosen:
    """I-BERT's polynomials for gelu and exp and its integer square root (Kim et al., arXiv 2101.01321)."""
    if function.name in ("gelu", "gelu_tanh"):
        return lambda x: 0.5 * x * (1.0 + i_erf(x / math.sqrt(2.0)))
    if function.name == "exp":
        return i_exp
    if function.name == "rsqrt":
        # Newton's method gives floor(√n) of an integer n exactly; n has 16 fractional bits here, so the root has 8
        return lambda x: (
            1.0 / np.maximum(np.floor(np.sqrt(np.maximum(x + epsilon_of(function), 0.0)) * 2**8), 1.0) * 2**8
        )
    return None


def epsilon_of(function: Function) -> float:
    """What rsqrt adds to its argument: 1 / rsqrt(0)²."""
    with np.errstate(all="ignore"):
        at_zero = float(function(np.zeros(1))[0])
    return 1.0 / at_zero**2 if math.isfinite(at_zero) else 0.0


def i_erf(x: Array) -> Array:
    """sgn(x)·[a·(min(|x|, -b) + b)² + 1]."""
    a, b = -0.2888, -1.769
    return np.sign(x) * (a * (np.minimum(np.abs(x), -b) + b) ** 2 + 1.0)


def i_exp(x: Array) -> Array:
    """2^-z · (0.3585·(p + 1.353)² + 0.344) with x = p - z·ln 2, p in (-ln 2, 0]."""
    x = np.clip(x, -60.0, 0.0)
    z = np.floor(-x / math.log(2.0))
    p = x + z * math.log(2.0)
    return (0.3585 * (p + 1.353) ** 2 + 0.344) * 2.0**-z


def of_gqa_lut(function: Function, span: TensorRange) -> Chosen:
    """GQA-LUT's tables; its others are not published as numbers and stay exact."""
    name = "gelu" if function.name == "gelu_tanh" else function.name
    if name not in GQA_LUT:
        return None
    points, slopes, intercepts = (np.array(part) for part in GQA_LUT[name])

    def table(x: Array) -> Array:
        entry = np.searchsorted(points, x, side="right")
        return slopes[entry] * x + intercepts[entry]

    return table


def of_nn_lut(function: Function, span: TensorRange) -> Chosen:
    """NN-LUT's construction (Yu et al., arXiv 2112.02191): the segments of a network with one hidden layer of N-1 relus."""
    if function.name not in NN_LUT_RANGES:
        return None
    if function.name not in _TRAINED:
        _TRAINED[function.name] = train_relu_network(function, *NN_LUT_RANGES[function.name])
    return _TRAINED[function.name]


_TRAINED: dict[str, Callable[[Array], Array]] = {}


def train_relu_network(function: Function, low: float, high: float) -> Callable[[Array], Array]:
    """The network Σ w·relu(±(x - t)) + s·x + o after Adam on the mean squared error over [low, high], from fixed seeds."""
    hidden, generator = NN_LUT_ENTRIES - 1, np.random.default_rng(0)
    x = np.linspace(low, high, 1024)[:, None]
    y = function(x)
    parameters = np.concatenate(
        [np.linspace(low, high, hidden + 2)[1:-1], 0.1 * generator.standard_normal(hidden), [0.0, 0.0]]
    )
    moment, square = np.zeros_like(parameters), np.zeros_like(parameters)
    for step in range(1, NN_LUT_STEPS + 1):
        knots, weights, (slope, offset) = parameters[:hidden], parameters[hidden:-2], parameters[-2:]
        active = x > knots
        error = (np.where(active, x - knots, 0.0) @ weights)[:, None] + slope * x + offset - y
        gradient = np.concatenate(
            [
                -(error * active * weights).mean(0),
                (error * np.where(active, x - knots, 0.0)).mean(0),
                [float((error * x).mean()), float(error.mean())],
            ]
        )
        moment, square = 0.9 * moment + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        rate = 0.02 * (1.0 - step / NN_LUT_STEPS) + 1e-4
        parameters = parameters - rate * (moment / (1 - 0.9**step)) / (
            np.sqrt(square / (1 - 0.999**step)) + 1e-9
        )
    order = np.argsort(parameters[:hidden])
    knots, weights = parameters[:hidden][order], parameters[hidden:-2][order]
    slopes = parameters[-2] + np.concatenate([[0.0], np.cumsum(weights)])
    intercepts = parameters[-1] - np.concatenate([[0.0], np.cumsum(weights * knots)])

    def table(values: Array) -> Array:
        entry = np.searchsorted(knots, values, side="right")
        # an exponential of far arguments is not the line that ends the range
        return (
            slopes[entry] * np.maximum(values, low) + intercepts[entry]
            if function.name == "exp"
            else (slopes[entry] * values + intercepts[entry])
        )

    return table


def with_relu_for_gelu(function: Function, span: TensorRange) -> Chosen:
    """GELU, SiLU and their like pruned to a relu."""
    return function_named("relu") if function.name in ("gelu", "gelu_tanh", "silu", "quick_gelu") else None


def with_two_quad(function: Function, span: TensorRange) -> Chosen:
    """Softmax as 2quad: (x + c)² over its sum, of x minus its maximum and nothing below -c, so that masks stay masks."""
    return (lambda x: np.maximum(x + TWO_QUAD_SHIFT, 0.0) ** 2) if function.name == "exp" else None


def with_relu_attention(function: Function, span: TensorRange) -> Chosen:
    """Softmax as relu(x + c) over its sum, of x minus its maximum."""
    return (lambda x: np.maximum(x + TWO_QUAD_SHIFT, 0.0)) if function.name == "exp" else None
