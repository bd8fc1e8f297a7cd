"""The unary functions that tables approximate, one rule a function, evaluated in float64.

A rule says how a function is computed, where it is defined and what the fit may use: the exact line segments
of a function that is piecewise linear already, the lines that a smooth function approaches far from zero, and
whether its argument usually spans decades. To add a function, add a rule to `RULES`.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nmc.errors import NmcError

FloatArray = NDArray[np.float64]
Line = tuple[float, float]
"""(slope, intercept) of slope * x + intercept."""
Piece = tuple[float, float, float]
"""(start, slope, intercept): a line that holds from `start` on, up to the next piece's start."""


class TableError(NmcError):
    """A table that cannot be built: an unknown function, a wrong parameter, a range without values."""


@dataclass(frozen=True)
class Function:
    """A unary function with its parameters bound.

    `evaluate` takes and returns float64 arrays. `domain` is where it is defined; an end in `excluded` does
    not belong to it (0 may be excluded inside the domain, as for the reciprocal). `pieces` are given when the
    function is piecewise linear; `kinks` are the corners of one that is not. `tails` are the lines approached
    towards -infinity and +infinity, or None. `octaves` tells that relative accuracy over decades of the
    argument matters. `jumps` are thresholds: an argument equal to one stays equal to it when both are rounded.
    `whole` tells that pieces are flat and all values whole numbers. `usual_range` is what to show when none is given.
    """

    name: str
    evaluate: Callable[[FloatArray], FloatArray]
    parameters: Mapping[str, float] = field(default_factory=dict)
    domain: tuple[float, float] = (-math.inf, math.inf)
    excluded: tuple[float, ...] = ()
    pieces: tuple[Piece, ...] = ()
    kinks: tuple[float, ...] = ()
    tails: tuple[Line | None, Line | None] = (None, None)
    octaves: bool = False
    jumps: tuple[float, ...] = ()
    whole: bool = False
    usual_range: tuple[float, float] = (-8.0, 8.0)

    def __call__(self, x: ArrayLike) -> FloatArray:
        """The function's values; infinite or NaN outside its domain, without a warning."""
        with np.errstate(all="ignore"):
            return np.asarray(self.evaluate(np.asarray(x, np.float64)), np.float64)

    @property
    def bound(self) -> float:
        """The largest magnitude of its values: known of pieces with flat ends, else infinite."""
        if not self.pieces or self.pieces[0][1] != 0.0 or self.pieces[-1][1] != 0.0:
            return math.inf
        corners = [
            slope * start + intercept for (_, slope, intercept), (start, _, _) in pairwise(self.pieces)
        ]
        return max(abs(value) for value in (*corners, *(float(self(start)) for start, _, _ in self.pieces)))

    def __str__(self) -> str:
        """The name, with the parameters that are not the usual ones: leaky_relu(alpha=0.1)."""
        usual = _defaults(self.name) if self.name in RULES else {}
        unusual = {key: value for key, value in self.parameters.items() if value != usual.get(key)}
        inside = ", ".join(f"{key}={value:g}" for key, value in unusual.items())
        return f"{self.name}({inside})" if inside else self.name


def function_named(name: str, params: Mapping[str, float] | None = None) -> Function:
    """The function of this name with these parameters (defaults fill the rest).

    Raises TableError, naming what exists, when the name or a parameter is unknown.
    """
    if name not in RULES:
        raise TableError(f"there is no function {name!r}; the known ones are {', '.join(sorted(RULES))}")
    defaults = _defaults(name)
    given = {key: float(value) for key, value in (params or {}).items()}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        takes = f"takes {', '.join(defaults)}" if defaults else "takes no parameters"
        raise TableError(f"{name} has no parameter {unknown[0]!r}; it {takes}")
    bound = {**defaults, **given}
    if any(math.isnan(value) for value in bound.values()):
        raise TableError(f"{name}: a parameter is not a number: {bound}")
    return replace(RULES[name](**given), name=name, parameters=bound)


def _defaults(name: str) -> dict[str, float]:
    return {key: each.default for key, each in inspect.signature(RULES[name]).parameters.items()}


def evaluate_pieces(pieces: tuple[Piece, ...], x: FloatArray) -> FloatArray:
    """The piecewise linear function that `pieces` describe."""
    starts, slopes, intercepts = (np.array(column) for column in zip(*pieces, strict=True))
    index = np.searchsorted(starts[1:], x, side="right")
    # An infinite x on a flat piece is 0 * inf: only the intercept counts there.
    return np.where(slopes[index] == 0, 0.0, slopes[index] * x) + intercepts[index]


def erf(x: FloatArray) -> FloatArray:
    """The error function to the last bits, from the C library one element at a time."""
    return np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


_INFINITY = math.inf
_ZERO: Line = (0.0, 0.0)
_ONE: Line = (0.0, 1.0)
_SAME: Line = (1.0, 0.0)
_GATE: tuple[Line, Line] = (_ZERO, _SAME)
"""The tails of every x * gate(x) whose gate goes from 0 to 1."""
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
"""The defaults of ONNX's Selu, as written in its specification."""


_smooth = partial(Function, "")
"""A rule's function, which `function_named` will name."""


_UNBOUNDED = float(np.finfo(np.float32).max)
"""A bound that is no bound: exporters write the largest float32 for infinity."""


def _exact(*pieces: Piece, jumps: tuple[float, ...] = (), whole: bool = False) -> Function:
    return Function("", lambda x: evaluate_pieces(pieces, x), pieces=pieces, jumps=jumps, whole=whole)


def _clamped(slope: float, intercept: float, lo: float, hi: float) -> Function:
    """min(max(slope * x + intercept, lo), hi) for any slope and any bounds, infinite ones too."""
    lo, hi = (bound if abs(bound) < _UNBOUNDED else math.copysign(_INFINITY, bound) for bound in (lo, hi))
    if lo >= hi or slope == 0:
        return _exact((-_INFINITY, 0.0, min(max(intercept, lo), hi)))
    ends = [((lo - intercept) / slope, lo), ((hi - intercept) / slope, hi)]
    (first, before), (second, after) = ends if slope > 0 else ends[::-1]
    pieces = [(-_INFINITY, 0.0, before), (first, slope, intercept), (second, 0.0, after)]
    start = 1 if first == -_INFINITY else 0
    return _exact(*(pieces[start:2] if second == _INFINITY else pieces[start:]))


def next_above(threshold: float) -> float:
    """The first float32 above a threshold that belongs to the piece on its left."""
    return float(np.nextafter(np.float32(threshold), np.float32(_INFINITY)))


def _comparison(below: bool, equal: bool, above: bool) -> Callable[..., Function]:
    """The rule of a comparison with a threshold: 1 where it holds, 0 elsewhere."""

    def rule(threshold: float = 0.0) -> Function:
        pieces = (
            (-_INFINITY, 0.0, float(below)),
            (threshold, 0.0, float(equal)),
            (next_above(threshold), 0.0, float(above)),
        )
        distinct = [piece for i, piece in enumerate(pieces) if i == 0 or piece[2] != pieces[i - 1][2]]
        return _exact(*distinct, jumps=(threshold,), whole=True)

    return rule


def _stairs(edge: Callable[[int], tuple[float, bool]]) -> Callable[..., Function]:
    """The rule of a rounding to multiples of `step`, cut to [lowest, highest]. edge(n) is where, in steps, arguments
    begin that are rounded to n, and whether the edge itself is."""

    def rule(step: float = 1.0, lowest: float = -16.0, highest: float = 16.0) -> Function:
        levels = range(round(lowest / step), round(highest / step) + 1)
        edges = [(place * step, inclusive) for place, inclusive in map(edge, levels[1:])]
        starts = [place if inclusive else next_above(place) for place, inclusive in edges]
        pieces = [(start, 0.0, n * step) for start, n in zip((-_INFINITY, *starts), levels, strict=True)]
        return _exact(*pieces, whole=True)

    return rule


def _mirror(
    low: float = 0.0, high: float = 1.0, phase: float = 0.0, lowest: float = -8.0, highest: float = 8.0
) -> Function:
    """x + phase mirrored at both ends of [low, high] until it lies inside, for x in [lowest, highest]; flat beyond."""
    width = high - low
    first, last = (math.floor((x + phase - low) / width) for x in (lowest, highest))
    pieces = [(-_INFINITY, 0.0, low if first % 2 == 0 else high)]
    for number in range(first, last + 1):
        start = low + number * width - phase
        rising = number % 2 == 0
        pieces.append((start, 1.0, low - start) if rising else (start, -1.0, high + start))
    pieces.append((low + (last + 1) * width - phase, 0.0, high if last % 2 == 0 else low))
    return _exact(*pieces)


def _sigmoid(x: FloatArray) -> FloatArray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _softplus(x: FloatArray) -> FloatArray:
    return np.logaddexp(0.0, x)


def _exponential_unit(x: FloatArray, alpha: float, gamma: float = 1.0, width: float = 1.0) -> FloatArray:
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / width))


def _keys_kernel(x: FloatArray, a: float) -> FloatArray:
    """The weight of an element at distance x in cubic interpolation (Keys 1981, equation 4, with coefficient a)."""
    near, far = np.minimum(np.abs(x), 1.0), np.clip(np.abs(x), 1.0, 2.0)
    inner = ((a + 2) * near - (a + 3)) * near**2 + 1
    return inner + (((far - 5) * far + 8) * far - 4) * a


def _power(exponent: float) -> Function:
    whole, negative = exponent == round(exponent), exponent < 0
    return _smooth(
        lambda x: np.power(x, exponent),
        domain=(-_INFINITY if whole else 0.0, _INFINITY),
        excluded=(0.0,) if negative else (),
        octaves=negative or not whole,
        usual_range=(0.0625, 16.0) if negative or not whole else (-4.0, 4.0),
    )


RULES: dict[str, Callable[..., Function]] = {
    # Piecewise linear: exact segments.
    "identity": lambda: _exact((-_INFINITY, 1.0, 0.0)),
    "relu": lambda: _exact((-_INFINITY, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "leaky_relu": lambda alpha=0.01: _exact((-_INFINITY, alpha, 0.0), (0.0, 1.0, 0.0)),
    "relu6": lambda: _clamped(1.0, 0.0, 0.0, 6.0),
    "clip": lambda lo=-_INFINITY, hi=_INFINITY: _clamped(1.0, 0.0, lo, hi),
    "abs": lambda: _exact((-_INFINITY, -1.0, 0.0), (0.0, 1.0, 0.0)),
    "hard_sigmoid": lambda alpha=0.2, beta=0.5: _clamped(alpha, beta, 0.0, 1.0),
    "hard_tanh": lambda: _clamped(1.0, 0.0, -1.0, 1.0),
    "thresholded_relu": lambda alpha=1.0: _exact(
        (-_INFINITY, 0.0, 0.0), (next_above(alpha), 1.0, 0.0), jumps=(alpha,)
    ),
    "shrink": lambda lambd=0.5, bias=0.0: _exact(
        (-_INFINITY, 1.0, bias), (-lambd, 0.0, 0.0), (next_above(lambd), 1.0, -bias), jumps=(-lambd, lambd)
    ),
    # Steps: what jumps is exact, too, where its argument is.
    "sign": lambda: _exact(
        (-_INFINITY, 0.0, -1.0), (0.0, 0.0, 0.0), (next_above(0.0), 0.0, 1.0), jumps=(0.0,), whole=True
    ),
    "greater": _comparison(below=False, equal=False, above=True),
    "greater_equal": _comparison(below=False, equal=True, above=True),
    "less": _comparison(below=True, equal=False, above=False),
    "less_equal": _comparison(below=True, equal=True, above=False),
    "equal": _comparison(below=False, equal=True, above=False),
    "not_equal": _comparison(below=True, equal=False, above=True),
    "floor": _stairs(lambda n: (n, True)),
    "ceil": _stairs(lambda n: (n - 1.0, False)),
    "round": _stairs(lambda n: (n - 0.5, n % 2 == 0)),
    "mirror": _mirror,
    "hat": lambda: _exact((-_INFINITY, 0.0, 0.0), (-1.0, 1.0, 1.0), (0.0, -1.0, 1.0), (1.0, 0.0, 0.0)),
    "cubic_kernel": lambda a=-0.75: _smooth(
        lambda x: _keys_kernel(x, a),
        tails=(_ZERO, _ZERO),
        kinks=(-2.0, -1.0, 0.0, 1.0, 2.0),
        usual_range=(-2.0, 2.0),
    ),
    # Gates and activations.
    "hard_swish": lambda: _smooth(
        lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0), tails=_GATE, kinks=(-3.0, 3.0)
    ),
    "sigmoid": lambda: _smooth(_sigmoid, tails=(_ZERO, _ONE)),
    "log_sigmoid": lambda: _smooth(lambda x: -_softplus(-x), tails=(_SAME, _ZERO)),
    "tanh": lambda: _smooth(np.tanh, tails=((0.0, -1.0), _ONE), usual_range=(-4.0, 4.0)),
    "erf": lambda: _smooth(erf, tails=((0.0, -1.0), _ONE), usual_range=(-4.0, 4.0)),
    "gelu": lambda: _smooth(lambda x: 0.5 * x * (1.0 + erf(x / math.sqrt(2.0))), tails=_GATE),
    "gelu_tanh": lambda: _smooth(
        lambda x: 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))), tails=_GATE
    ),
    "quick_gelu": lambda: _smooth(lambda x: x * _sigmoid(1.702 * x), tails=_GATE),
    "silu": lambda: _smooth(lambda x: x * _sigmoid(x), tails=_GATE),
    "swish": lambda alpha=1.0: _smooth(
        lambda x: x * _sigmoid(alpha * x),
        tails=_GATE if alpha > 0 else (_SAME, _ZERO) if alpha < 0 else (None, None),
    ),
    "mish": lambda: _smooth(lambda x: x * np.tanh(_softplus(x)), tails=_GATE),
    "softplus": lambda: _smooth(_softplus, tails=_GATE),
    "softsign": lambda: _smooth(lambda x: x / (1.0 + np.abs(x)), tails=((0.0, -1.0), _ONE)),
    "elu": lambda alpha=1.0: _smooth(
        lambda x: _exponential_unit(x, alpha), tails=((0.0, -alpha), _SAME), kinks=(0.0,)
    ),
    "celu": lambda alpha=1.0: _smooth(
        lambda x: _exponential_unit(x, alpha, width=alpha), tails=((0.0, -alpha), _SAME), kinks=(0.0,)
    ),
    "selu": lambda alpha=_SELU_ALPHA, gamma=_SELU_GAMMA: _smooth(
        lambda x: _exponential_unit(x, alpha, gamma),
        tails=((0.0, -alpha * gamma), (gamma, 0.0)),
        kinks=(0.0,),
    ),
    # Exponentials, logarithms, powers.
    "exp": lambda: _smooth(np.exp, tails=(_ZERO, None), usual_range=(-8.0, 0.0)),
    "expm1": lambda: _smooth(np.expm1, tails=((0.0, -1.0), None), usual_range=(-8.0, 1.0)),
    "log": lambda: _smooth(
        np.log, domain=(0.0, _INFINITY), excluded=(0.0,), octaves=True, usual_range=(0.0625, 16.0)
    ),
    "log1p": lambda: _smooth(
        np.log1p, domain=(-1.0, _INFINITY), excluded=(-1.0,), usual_range=(-0.9375, 8.0)
    ),
    "square": lambda: _smooth(np.square, usual_range=(-4.0, 4.0)),
    "sqrt": lambda: _smooth(np.sqrt, domain=(0.0, _INFINITY), octaves=True, usual_range=(0.0, 16.0)),
    "rsqrt": lambda eps=0.0: _smooth(
        lambda x: 1.0 / np.sqrt(x + eps),
        domain=(-eps, _INFINITY),
        excluded=(-eps,),
        octaves=True,
        usual_range=(0.0625, 16.0),
    ),
    "reciprocal": lambda: _smooth(np.reciprocal, excluded=(0.0,), octaves=True, usual_range=(0.0625, 16.0)),
    "pow": lambda exponent=2.0: _power(exponent),
    # Trigonometry.
    "sin": lambda: _smooth(np.sin, usual_range=(-math.pi, math.pi)),
    "cos": lambda: _smooth(np.cos, usual_range=(-math.pi, math.pi)),
    "tan": lambda: _smooth(np.tan, usual_range=(-1.25, 1.25)),
    "asin": lambda: _smooth(np.arcsin, domain=(-1.0, 1.0), usual_range=(-1.0, 1.0)),
    "acos": lambda: _smooth(np.arccos, domain=(-1.0, 1.0), usual_range=(-1.0, 1.0)),
    "atan": lambda: _smooth(np.arctan, tails=((0.0, -math.pi / 2), (0.0, math.pi / 2))),
    "sinh": lambda: _smooth(np.sinh, usual_range=(-4.0, 4.0)),
    "cosh": lambda: _smooth(np.cosh, usual_range=(-4.0, 4.0)),
    "asinh": lambda: _smooth(np.arcsinh),
    "acosh": lambda: _smooth(np.arccosh, domain=(1.0, _INFINITY), usual_range=(1.0, 16.0)),
    "atanh": lambda: _smooth(
        np.arctanh, domain=(-1.0, 1.0), excluded=(-1.0, 1.0), usual_range=(-0.9375, 0.9375)
    ),
}
"""Function name -> rule; the rule's arguments are the function's parameters with their defaults."""
