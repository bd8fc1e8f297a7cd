"""Products in integers: the scales of constant weights by column, and the proof that no sum overflows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from nmc.quant import fixed_point
from nmc.quant.formats import TensorFormat
from passes.matrix_form.gemm import gemm
from passes.rewrite import Emitter, shape_of

ACCUMULATOR_LIMIT = 2.0**46
"""Sums of products stay below this, and biases too, so that their sum is below 2^47."""

LEAST_WEIGHT_STEPS = 64
"""Weights with fewer steps than this to their largest value are too coarse."""


@dataclass(frozen=True)
class Quantity:
    """An integer tensor and the real values it stands for."""

    expr: relax.Expr
    format: TensorFormat


def constant_format(value: NDArray[np.floating], bits: int) -> TensorFormat:
    """The format whose largest integer stands for the largest magnitude of a constant; infinities count as finite."""
    finite = np.clip(np.asarray(value, np.float64), -3.0e38, 3.0e38)
    magnitude = float(np.abs(finite).max()) if finite.size else 0.0
    return TensorFormat(magnitude / (2 ** (bits - 1) - 1) if magnitude > 0.0 else 1.0, bits)


def weights_product(
    emitter: Emitter,
    a: Quantity,
    weights: NDArray[np.floating],
    bias: NDArray[np.floating],
    form: TensorFormat,
    bits: int,
) -> Quantity | None:
    """a [G, M, K] times constant weights [G, K, N] plus bias, broadcastable to [G, 1, N], in `form`.

    Each column of the weights has a scale of its own, coarse enough that the sum of products cannot overflow. None when
    that would leave the weights too few steps, as it does for wide activations and weights that are not a plain sum.
    """
    steps = _column_scales(weights.astype(np.float64), 2.0 ** (a.format.bits - 1), bits)
    if steps is None:
        return None
    least = np.abs(bias) / (a.format.scale * ACCUMULATOR_LIMIT)
    steps = np.maximum(steps, np.broadcast_to(least, steps.shape))
    integers = np.floor(weights / steps + 0.5).astype(np.int64)
    dtype = "int8" if bits == 8 else "int16"
    b = emitter.constant(integers, dtype)
    return _product(emitter, a, b, steps[:, 0, :], bias, form)


def _column_scales(
    weights: NDArray[np.float64], highest_input: float, bits: int
) -> NDArray[np.float64] | None:
    """The scale of each column, [G, 1, N]; weights [G, K, N]."""
    largest = np.abs(weights).max(axis=1, keepdims=True)
    largest = np.where(largest == 0.0, 1.0, largest)
    highest = float(2 ** (bits - 1) - 1)
    by_sum = np.abs(weights).sum(axis=1, keepdims=True) * highest_input / ACCUMULATOR_LIMIT
    steps = np.maximum(largest / highest, by_sum)
    uniform = ((np.abs(weights) == largest) | (weights == 0.0)).all(axis=1, keepdims=True)
    counts = np.floor(largest / steps)
    if (counts < 1.0).any() or (~uniform & (counts < LEAST_WEIGHT_STEPS)).any():
        return None
    # a column of one magnitude is exact when that magnitude is a whole number of steps
    return np.where(uniform, largest / counts, steps)


def activation_product(
    emitter: Emitter, a: Quantity, b: Quantity, bias: NDArray[np.floating], form: TensorFormat
) -> Quantity | None:
    """a [G, M, K] times b [G, K, N], both narrow activations, plus a bias broadcastable to [G, 1, N], in `form`.

    None when a sum over K could overflow.
    """
    depth = shape_of(a.expr)[-1]
    if depth * 2.0 ** (a.format.bits + b.format.bits - 2) > ACCUMULATOR_LIMIT:
        return None
    columns = shape_of(b.expr)[-1]
    return _product(emitter, a, b.expr, np.full((1, columns), b.format.scale), bias, form)


def _product(
    emitter: Emitter,
    a: Quantity,
    b: relax.Expr,
    column_scales: NDArray[np.float64],
    bias: NDArray[np.floating],
    form: TensorFormat,
) -> Quantity:
    sets = max(column_scales.shape[0], bias.shape[0])
    shape = (sets, column_scales.shape[1])
    scales = np.broadcast_to(a.format.scale * column_scales, shape)
    levels = np.floor(np.broadcast_to(bias[:, 0, :], shape) / scales + 0.5)
    levels = np.clip(levels, -ACCUMULATOR_LIMIT, ACCUMULATOR_LIMIT)
    multiplier, shift = fixed_point.multipliers_and_shifts(scales / form.scale)
    product = gemm(
        emitter,
        a.expr,
        b,
        emitter.constant(levels, "int64"),
        emitter.constant(multiplier, "int32"),
        emitter.constant(shift, "int32"),
        form.dtype,
    )
    return Quantity(emitter.emit(product), form)
