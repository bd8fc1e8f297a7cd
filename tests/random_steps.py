"""Random comparisons, roundings, choices of the largest and integers: whatever jumps, away from where it jumps.

What float32 rounds differently must not fall on the other side of a step, so a proposal fits only where each argument is
clear of all thresholds. How far 16 bits are from them is the error bound's matter.
"""

from collections.abc import Callable, Sequence

import numpy as np
from onnx import TensorProto

from tests.random_growth import Growth, Proposal, UnfitError

CLEARANCE = 1e-3
"""How near to a threshold an argument may be, as a part of its largest value or of 1."""


def _require_clear(distances: np.ndarray, size: np.ndarray) -> None:
    if np.abs(distances).min() < CLEARANCE * max(1.0, float(np.abs(size).max())):
        raise UnfitError


def _mask(growth: Growth, x: str) -> str:
    """A comparison of a value with a number, or two of them combined."""
    operator = str(growth.pick("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"))
    threshold = growth.pick(-0.4, 0.1, 0.7)
    _require_clear(growth.of(x) - threshold, growth.of(x))
    mask = growth.nest(operator, [x, growth.number(threshold)])
    if growth.chance():
        return mask
    if growth.chance():
        return growth.nest("Not", [mask])
    _require_clear(growth.of(x), growth.of(x))
    return growth.nest(
        str(growth.pick("And", "Or", "Xor")), [mask, growth.nest("Less", [x, growth.number(0)])]
    )


def _comparison(growth: Growth) -> Proposal:
    x = growth.some()
    mask = _mask(growth, x)
    if growth.chance():
        return "Where", [mask, x, growth.number(growth.pick(-1, 0, 2))], {}
    growth.single_precision = True
    return "Mul", [x, growth.nest("Cast", [mask], to=TensorProto.FLOAT)], {}


def _rounding(growth: Growth) -> Proposal:
    operator = str(growth.pick("Floor", "Ceil", "Round", "Sign"))
    x = growth.nest("Mul", [growth.some(), growth.number(3)])
    value = growth.of(x)
    jumps = {"Round": np.floor(value) + 0.5, "Sign": np.zeros(())}.get(operator, np.round(value))
    _require_clear(value - jumps, value)
    return operator, [x], {}


def _remainder(growth: Growth) -> Proposal:
    x, divisor = growth.some(), 0.7
    _require_clear(growth.of(x) - np.round(growth.of(x) / divisor) * divisor, growth.of(x))
    return "Mod", [x, growth.number(divisor)], {"fmod": 1}


def _truncation(growth: Growth) -> Proposal:
    x = growth.nest("Mul", [growth.some(), growth.number(3)])
    _require_clear(growth.of(x) - np.round(growth.of(x)), growth.of(x))
    growth.single_precision = True
    whole = growth.nest("Cast", [x], to=int(growth.pick(TensorProto.INT32, TensorProto.INT64)))
    return "Cast", [whole], {"to": TensorProto.FLOAT}


def _replaced(growth: Growth) -> Proposal:
    """What is infinite or no number is replaced, of which there is none."""
    x = growth.some()
    return "Where", [growth.nest(str(growth.pick("IsNaN", "IsInf")), [x]), growth.number(0), x], {}


def _quantised(growth: Growth) -> Proposal:
    """A value on the grid of 8 bits."""
    x = growth.some()
    value, kind = growth.of(x), growth.pick(np.int8, np.uint8)
    scale = np.float32(max(0.01, float(np.abs(value).max()) / 100))
    steps = value / scale
    _require_clear(steps - np.floor(steps) - 0.5, np.ones(()))
    growth.single_precision = True
    grid = [growth.number(scale), growth.constant(kind(0 if kind == np.int8 else 128))]
    return "DequantizeLinear", [growth.nest("QuantizeLinear", [x, *grid]), *grid], {}


def _dynamically_quantised(growth: Growth) -> Proposal:
    x = growth.some()
    value = growth.of(x)
    low, high = min(0.0, float(value.min())), max(0.0, float(value.max()))
    scale = (high - low) / 255
    if scale < 1e-3:
        raise UnfitError
    growth.single_precision = True
    _require_clear(value / scale - np.floor(value / scale) - 0.5, np.ones(()))
    _require_clear(np.array(low / scale - np.floor(low / scale) - 0.5), np.ones(()))
    return "DequantizeLinear", growth.nest_all("DynamicQuantizeLinear", [x], 3), {}


def _integer_product(growth: Growth) -> Proposal:
    """A product of a quantised value with integer weights."""
    x = growth.some(least_rank=2, most_rank=3)
    value = growth.of(x)
    scale = np.float32(max(0.01, float(np.abs(value).max()) / 12))
    _require_clear(value / scale - np.floor(value / scale) - 0.5, np.ones(()))
    grid = [growth.number(scale), growth.constant(np.int8(0))]
    weights = growth.constant(growth.generator.integers(-2, 3, (value.shape[-1], 3)).astype(np.int8))
    product = growth.nest("MatMulInteger", [growth.nest("QuantizeLinear", [x, *grid]), weights])
    growth.single_precision = True
    whole = growth.nest("Cast", [product], to=TensorProto.FLOAT)
    return "Mul", [whole, growth.number(scale)], {}


def _place(growth: Growth) -> Proposal:
    """Where the largest is, where one is much larger than the others."""
    x = growth.some(least_rank=1)
    axis = growth.axis(x)
    ordered = np.sort(growth.of(x), axis)
    _require_clear(np.append(np.diff(ordered, axis=axis), 1.0), ordered)
    operator = str(growth.pick("ArgMax", "ArgMin", "Hardmax", "TopK"))
    if operator == "Hardmax":
        return operator, [x], {"axis": axis if growth.opset >= 13 else ordered.ndim - 1}
    if operator == "TopK":
        return operator, [x, growth.integers(1 + ordered.shape[axis] // 2)], {"axis": axis}
    growth.single_precision = True
    return "Cast", [growth.nest(operator, [x], axis=axis)], {"to": TensorProto.FLOAT}


STEPS: Sequence[Callable[[Growth], Proposal]] = (
    _comparison,
    _comparison,
    _rounding,
    _remainder,
    _truncation,
    _replaced,
    _quantised,
    _dynamically_quantised,
    _integer_product,
    _place,
)
"""Proposals of whatever jumps."""
