"""Operators of quantised models: their integers become floats around the float operation, scales are kept."""

from collections.abc import Sequence

import numpy as np
from onnx import helper
from tvm import relax

from nmc.frontend.converters.convolution import add_channel_bias, convolve
from nmc.frontend.converters.linear import matmul, without_zero_point
from nmc.frontend.converters.low_precision import cast_to_low
from nmc.frontend.converters.registry import converts
from nmc.frontend.converters.windows import window_of
from nmc.frontend.emitter import Emitter, dtype_of, shape_of
from nmc.frontend.low_precision import CARRIERS, carried, carrier_of, integer_range
from nmc.frontend.values import ConversionError, Node, Value

RANGES = {
    kind: (int(np.iinfo(kind).min), int(np.iinfo(kind).max)) for kind in ("int8", "uint8", "int16", "uint16")
} | {kind: integer_range(kind) for kind, carrier in CARRIERS.items() if carrier != "float32"}
"""The integer types that quantised tensors have."""


@converts("QuantizeLinear")
def _quantize_linear(emitter: Emitter, node: Node) -> Sequence[Value]:
    zero, kind = node.input(2), node.attributes.get("output_dtype", 0)
    target = "uint8" if zero is None else emitter.element_type(zero)
    if kind:
        target = str(helper.tensor_dtype_to_np_dtype(kind))
    x, axis = node.tensor(0), int(node.attributes.get("axis", 1))
    scale, zero = (_by_element(emitter, node, value, x, axis) for value in (node.tensor(1), zero))
    saturate = bool(node.attributes.get("saturate", 1))
    return [quantize(emitter, x, node.tensor(1) if scale is None else scale, zero, axis, target, saturate)]


@converts("DequantizeLinear")
def _dequantize_linear(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, axis = node.tensor(0), int(node.attributes.get("axis", 1))
    scale, zero = (_by_element(emitter, node, node.input(i), x, axis) for i in (1, 2))
    return [dequantize(emitter, x, node.tensor(1) if scale is None else scale, zero, axis)]


def _by_element(emitter: Emitter, node: Node, value: Value | None, x: Value, axis: int) -> Value | None:
    """Scales or zero points given by blocks of elements, repeated to one an element."""
    size = int(node.attributes.get("block_size", 0))
    if not size or value is None:
        return value
    return emitter.take(value, np.arange(shape_of(x)[axis]) // size, axis)


def quantize(
    emitter: Emitter,
    x: Value,
    scale: Value,
    zero: Value | None,
    axis: int,
    target: str,
    saturate: bool = True,
) -> Value:
    """saturate(round(x / scale) + zero), rounding halves to even; for low-precision floats x / scale cast to them."""
    ratio = emitter.call(relax.op.divide, x, _along(emitter, scale, x, axis))
    if CARRIERS.get(target) == "float32":
        return cast_to_low(emitter, ratio, target, saturate)
    if target not in RANGES:
        raise ConversionError(
            f"quantises to {target}; {', '.join(RANGES)} and floats of 8 bits are supported"
        )
    low, high = RANGES[target]
    steps: Value = emitter.call(relax.op.round, ratio)
    if zero is not None and not (isinstance(zero, np.ndarray) and not zero.any()):
        steps = emitter.call(relax.op.add, steps, emitter.cast(_along(emitter, zero, x, axis), "float32"))
    result = emitter.cast(emitter.call(relax.op.clip, steps, float(low), float(high)), carrier_of(target))
    if target in CARRIERS:
        emitter.low_precision[result] = target
    return result


def dequantize(emitter: Emitter, x: Value, scale: Value, zero: Value | None, axis: int) -> Value:
    """(x - zero)·scale."""
    x, zero = (carried(value) if isinstance(value, np.ndarray) else value for value in (x, zero))
    if (
        isinstance(x, np.ndarray)
        and isinstance(scale, np.ndarray)
        and (zero is None or isinstance(zero, np.ndarray))
    ):
        # whole numbers, and floats of few bits: their differences are exact in float64
        offset = np.zeros(()) if zero is None else zero.astype(np.float64)
        steps = x.astype(np.float64) - _along(emitter, offset, x, axis)
        return steps.astype(np.float32) * np.asarray(_along(emitter, scale, x, axis), np.float32)
    wide = emitter.cast(x, "float32")
    if zero is not None and not (isinstance(zero, np.ndarray) and not zero.any()):
        wide = emitter.call(relax.op.subtract, wide, emitter.cast(_along(emitter, zero, x, axis), "float32"))
    return emitter.call(relax.op.multiply, wide, _along(emitter, scale, x, axis))


def _along(emitter: Emitter, value: Value, x: Value, axis: int) -> Value:
    """A scale or zero point shaped to broadcast against x."""
    count, rank = int(np.prod(shape_of(value))), len(shape_of(x))
    if count == 1:
        return emitter.reshape(value, ())
    if len(shape_of(value)) == rank:
        return value
    axis = axis % rank if rank > 1 else 0
    return emitter.reshape(value, (1,) * axis + (-1,) + (1,) * (rank - axis - 1))


@converts("QLinearMatMul")
def _qlinear_matmul(emitter: Emitter, node: Node) -> Sequence[Value]:
    a = _dequantized(emitter, node, 0, rows=True)
    b = _dequantized(emitter, node, 3, rows=False)
    product = matmul(emitter, a, b)
    return [quantize(emitter, product, node.tensor(6), node.input(7), -1, dtype_of(node.tensor(7)))]


def _dequantized(emitter: Emitter, node: Node, first: int, rows: bool) -> Value:
    x = node.tensor(first)
    axis = len(shape_of(x)) - (2 if rows else 1)
    return dequantize(emitter, x, node.tensor(first + 1), node.input(first + 2), max(axis, 0))


@converts("QLinearConv")
def _qlinear_conv(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = dequantize(emitter, node.tensor(0), node.tensor(1), node.input(2), 1)
    scale = node.tensor(4)
    weight = dequantize(emitter, node.tensor(3), scale, node.input(5), 0)
    window = window_of(node, shape_of(weight)[2:], shape_of(x)[2:])
    result: Value = convolve(emitter, x, weight, window, int(node.attributes.get("group", 1)))
    bias, x_scale = node.constant(8), node.constant(1)
    if bias is not None:
        factor = x_scale * np.asarray(node.constant(4))
        result = add_channel_bias(emitter, result, (bias * factor).astype(np.float32))
    return [quantize(emitter, result, node.tensor(6), node.input(7), 1, dtype_of(node.tensor(7)))]


@converts("ConvInteger")
def _conv_integer(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Exact in float32 while |sum| < 2^24, which products of bytes reach only beyond 258 terms: kept in
    int32.
    """
    x = without_zero_point(emitter, node.tensor(0), node.input(2), last=True)
    zero = node.input(3)
    if zero is not None and len(shape_of(zero)) == 1:
        zero = emitter.reshape(zero, (-1,) + (1,) * (len(shape_of(node.tensor(1))) - 1))
    weight = without_zero_point(emitter, node.tensor(1), zero, last=True)
    window = window_of(node, shape_of(weight)[2:], shape_of(x)[2:])
    return [convolve(emitter, x, weight, window, int(node.attributes.get("group", 1)))]
