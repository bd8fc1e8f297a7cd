"""The activation functions that exporters spell out, and how to tell one from samples of its values.

A candidate proposes parameters from a few values of an unknown function; it is the function if it then agrees
everywhere that it is compared. So no spelling has to be foreseen: operand order, scaling, division for
multiplication, tanh for sigmoid.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nmc.pwl.functions import function_named

FLOAT32_HIGHEST = float(np.finfo(np.float32).max)

FloatArray = np.ndarray
Evaluate = Callable[[FloatArray], FloatArray]
"""Evaluates the unknown function at float64 arguments."""
Parameters = Mapping[str, float]

SMOOTH_TOLERANCE = 1.0e-4
"""Relative to 1 + |x|: a spelling's constants may be rounded to half precision (√½ is off by 1e-4), while the
closest two functions, gelu and gelu_tanh, differ by 4.7e-4."""

EXACT_TOLERANCE = 1.0e-6
"""Relative to 1 + |x|, for functions of line segments: float32 rounding of the constants."""

ZERO_TOLERANCE = 1.0e-14
"""Relative to 1 + |x|: where a candidate vanishes the unknown function must, too, or an epsilon before a
logarithm or a division would be lost. 64 roundings of float64."""

SMALLEST_ALPHA = 100.0 * SMOOTH_TOLERANCE
"""An exponential unit with less is, within the tolerance, no curve but two lines."""

GAIN_POINT = 8.0
"""Where the gain is read: each scalable function is far from zero here."""

GRID = np.concatenate(
    [sign * np.array([*np.linspace(0.0, 12.0, 97)[1:], 20.0, 60.0, 300.0]) for sign in (-1.0, 1.0)]
)


@dataclass(frozen=True)
class Candidate:
    """A function of nmc.pwl.functions; `propose` maps the unknown function and the constants it is made of to
    parameters worth trying. A `scalable` one is also recognised times a number, its gain."""

    function: str
    propose: Callable[["Unknown"], Sequence[Parameters]]
    tolerance: float = SMOOTH_TOLERANCE
    scalable: bool = False


@dataclass(frozen=True)
class Unknown:
    """The function to be recognised, and the numbers it is made of: where it may change its course."""

    evaluate: Evaluate
    constants: Sequence[float]

    def at(self, x: float) -> float:
        """Its value at one argument."""
        return float(self.evaluate(np.array([x]))[0])

    @property
    def far(self) -> float:
        """An argument beyond every corner; exp of 600 is still a float64."""
        return 4.0 * max(150.0, *map(abs, self.constants))


def _plain(unknown: Unknown) -> list[Parameters]:
    return [{}]


def _leaky(unknown: Unknown) -> list[Parameters]:
    return [{"alpha": -unknown.at(-1.0)}]


def _clip(unknown: Unknown) -> list[Parameters]:
    far = unknown.far
    low, high = unknown.at(-far), unknown.at(far)
    return [{"lo": -FLOAT32_HIGHEST if low <= -far else low, "hi": FLOAT32_HIGHEST if high >= far else high}]


def _hard_sigmoid(unknown: Unknown) -> list[Parameters]:
    at_zero, step = unknown.at(0.0), 2.0**-10
    return [{"alpha": (unknown.at(step) - at_zero) / step, "beta": at_zero}]


def _thresholded(unknown: Unknown) -> list[Parameters]:
    return [{"alpha": constant} for constant in unknown.constants]


def _shrink(unknown: Unknown) -> list[Parameters]:
    bias = -(unknown.at(1024.0) - 1024.0)
    return [{"lambd": constant, "bias": bias} for constant in unknown.constants if constant >= 0.0]


def _swish(unknown: Unknown) -> list[Parameters]:
    gate = unknown.at(1.0)
    return [{"alpha": math.log(gate / (1.0 - gate))}] if 0.0 < gate < 1.0 else []


def _elu(unknown: Unknown) -> list[Parameters]:
    alpha = -unknown.at(-unknown.far)
    return [{"alpha": alpha}] if alpha > SMALLEST_ALPHA else []


def _selu(unknown: Unknown) -> list[Parameters]:
    gamma = unknown.at(1.0)
    alpha = -unknown.at(-unknown.far) / gamma if gamma > 0.0 else 0.0
    return [{"alpha": alpha, "gamma": gamma}] if alpha > SMALLEST_ALPHA else []


CANDIDATES: Sequence[Candidate] = (
    Candidate("relu", _plain, EXACT_TOLERANCE, scalable=True),
    Candidate("relu6", _plain, EXACT_TOLERANCE),
    Candidate("abs", _plain, EXACT_TOLERANCE, scalable=True),
    Candidate("leaky_relu", _leaky, EXACT_TOLERANCE),
    Candidate("clip", _clip, EXACT_TOLERANCE),
    Candidate("hard_sigmoid", _hard_sigmoid, EXACT_TOLERANCE),
    Candidate("hard_swish", _plain, EXACT_TOLERANCE, scalable=True),
    Candidate("thresholded_relu", _thresholded, EXACT_TOLERANCE),
    Candidate("shrink", _shrink, EXACT_TOLERANCE),
    Candidate("sigmoid", _plain),
    Candidate("log_sigmoid", _plain),
    Candidate("tanh", _plain),
    Candidate("gelu", _plain, scalable=True),
    Candidate("gelu_tanh", _plain, scalable=True),
    Candidate("silu", _plain, scalable=True),
    Candidate("quick_gelu", _plain, scalable=True),
    Candidate("swish", _swish),
    Candidate("mish", _plain, scalable=True),
    Candidate("softplus", _plain, scalable=True),
    Candidate("softsign", _plain),
    Candidate("elu", _elu),
    Candidate("celu", _elu),
    Candidate("selu", _selu),
)
"""Tried in order: the plainest first, exact before smooth."""


@dataclass(frozen=True)
class Known:
    """A function of nmc.pwl.functions with its parameters, times a gain."""

    function: str
    parameters: Parameters
    gain: float = 1.0

    def __call__(self, x: FloatArray) -> FloatArray:
        """Its values at float64 arguments."""
        return self.gain * function_named(self.function, self.parameters)(x)


def recognise(evaluate: Evaluate, constants: Sequence[float]) -> Known | None:
    """The known function that agrees with an unknown one, or None.

    `constants` are the numbers that the unknown function is made of.
    """
    unknown = Unknown(evaluate, [*constants, 0.0])
    corners = [constant * factor for constant in constants for factor in (0.75, 1.0, 1.25, -1.0, 3.0)]
    points = np.unique([*GRID, 0.0, *corners])
    values = evaluate(points)
    usable = np.isfinite(values) | (
        np.abs(points) > 80.0
    )  # exp overflows float32 near 88: what follows is not meant
    if not usable.all() or _is_line(points, values):
        return None
    points, values = points[np.isfinite(values)], values[np.isfinite(values)]
    for candidate in CANDIDATES:
        for parameters in candidate.propose(unknown):
            rounded = {name: _rounded(value, constants) for name, value in parameters.items()}
            if not all(map(math.isfinite, rounded.values())):
                continue
            known = Known(candidate.function, rounded)
            if candidate.scalable:
                known = replace(known, gain=_gain(unknown, known, candidate.tolerance))
            if _agrees(known, candidate.tolerance, points, values):
                return known
    return None


def _gain(unknown: Unknown, known: Known, tolerance: float) -> float:
    gain = unknown.at(GAIN_POINT) / float(known(np.array([GAIN_POINT]))[0])
    return 1.0 if abs(gain - 1.0) <= tolerance or not math.isfinite(gain) else gain


def _rounded(value: float, constants: Sequence[float]) -> float:
    """The constant that a fitted parameter means, if it is one; otherwise the value in six digits."""
    for constant in constants:
        if math.isclose(value, abs(constant), rel_tol=1e-6):
            return abs(constant)
        if math.isclose(value, constant, rel_tol=1e-6):
            return constant
    return float(f"{value:.7g}")


def _is_line(points: FloatArray, values: FloatArray) -> bool:
    """Whether the function is a straight line within rounding: that is arithmetic, not an activation."""
    finite = np.isfinite(values)
    x, y = points[finite], values[finite]
    line = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0])
    return bool((np.abs(y - line) <= 1.0e-9 * (1.0 + np.abs(line))).all())


def _agrees(known: Known, tolerance: float, points: FloatArray, values: FloatArray) -> bool:
    try:
        expected = known(points)
    except ZeroDivisionError:
        return False
    size = abs(known.gain) * (1.0 + np.abs(points))
    close = np.abs(values - expected) <= tolerance * size
    vanishes = np.abs(expected) < 1.0e-15
    return bool((close & (~vanishes | (np.abs(values) <= ZERO_TOLERANCE * size))).all())
