"""Products in integers: the scales of constant weights by column, and the proof that no sum overflows."""

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from nmc.quant import fixed_point
from nmc.quant.formats import TensorFormat
from passes.matrix_form.gemm import gemm
from passes.quantity import Quantity
from passes.rewrite import Emitter, shape_of

ACCUMULATOR_LIMIT = 2.0**46
"""Sums of products stay below this, and biases too, so that their sum is below 2^47."""

LARGEST_RATIO = 2.0**13
"""Steps of the result for one of the sum of products: a multiplier is capped from twice as many on, and more say nothing."""

LEAST_WEIGHT_STEPS = 64
"""Weights with fewer steps than this to their largest value are too coarse."""


SAMPLE_ROWS = 64
"""Of weights that are on no grid this many rows show it."""

GRID_TOLERANCE = 1.0e-4
"""How far from a whole number, in steps, float32 rounding may have moved a weight of up to 255 steps."""


def weights_product(
    emitter: Emitter,
    a: Quantity,
    weights: NDArray[np.floating],
    bias: NDArray[np.floating],
    form: TensorFormat,
    bits: int,
    zero: int = 0,
) -> Quantity | None:
    """a [G, M, K] times constant weights [G, K, N] plus bias, broadcastable to [G, 1, N], in `form`.

    `zero` is the integer of `a` that stands for 0. Each column of the weights has a scale of its own, coarse enough that
    the sum of products cannot overflow. None when that would leave the weights too few steps, as it does for wide
    activations and weights that are not a plain sum.
    """
    steps = column_scales(weights.astype(np.float64), a.format.bits, bits)
    if steps is None:
        return None
    least = np.abs(bias) / (a.format.scale * ACCUMULATOR_LIMIT)
    steps = np.maximum(steps, np.broadcast_to(least, steps.shape))
    integers = nearest_steps(weights, steps)
    dtype = "int8" if bits == 8 else "int16"
    b = emitter.constant(integers, dtype)
    return _product(emitter, a, b, steps[:, 0, :], bias, form, -zero * integers.sum(axis=1))


def grid_steps(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The step of each column of weights [G, K, N] whose values all are whole multiples of one, few enough for 8 bits.

    [G, 1, N], 0 where there is none. Models that were quantised before carry such weights: in these steps they are exact.
    """
    few = np.abs(weights[:, :SAMPLE_ROWS])
    if not _steps_between(few).any():
        return np.zeros((weights.shape[0], 1, weights.shape[2]))
    return _steps_between(np.abs(weights))


def _steps_between(magnitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest step of which all magnitudes [G, K, N] of a column are multiples, none by more than a byte's 255, or 0."""
    largest = magnitudes.max(axis=1, keepdims=True)
    ordered = np.sort(magnitudes, axis=1)
    gaps = np.diff(ordered, axis=1, prepend=0.0)
    gaps = np.where(gaps > largest / 512.0, gaps, np.inf).min(axis=1, keepdims=True)
    result = np.zeros_like(largest)
    for part in (4, 3, 2, 1):
        counts = np.rint(largest * part / gaps)
        steps = np.divide(
            largest, counts, out=np.zeros_like(largest), where=(counts >= 1.0) & (counts <= 255.0)
        )
        multiples = np.divide(magnitudes, steps, out=np.full_like(magnitudes, 0.5), where=steps > 0.0)
        fits = (np.abs(multiples - np.rint(multiples)) < GRID_TOLERANCE).all(axis=1, keepdims=True)
        result = np.where(fits, steps, result)
    return result


def nearest_steps(weights: NDArray[np.floating], steps: NDArray[np.float64]) -> NDArray[np.int64]:
    """The integers that stand for weights [G, K, N] in steps [G, 1, N]."""
    return np.floor(weights / steps + 0.5).astype(np.int64)


def column_scales(weights: NDArray[np.float64], input_bits: int, bits: int) -> NDArray[np.float64] | None:
    """The scale of each column of weights [G, K, N], as [G, 1, N]; None when `bits` are too few for them."""
    highest_input = 2.0 ** (input_bits - 1)
    largest = np.abs(weights).max(axis=1, keepdims=True)
    largest = np.where(largest == 0.0, 1.0, largest)
    highest = float(2 ** (bits - 1) - 1)
    by_sum = np.abs(weights).sum(axis=1, keepdims=True) * highest_input / ACCUMULATOR_LIMIT
    steps = np.maximum(largest / highest, by_sum)
    uniform = ((np.abs(weights) == largest) | (weights == 0.0)).all(axis=1, keepdims=True)
    counts = np.floor(largest / steps)
    if (counts < 1.0).any() or (~uniform & (counts < LEAST_WEIGHT_STEPS)).any():
        return None
    own = grid_steps(weights)
    steps = np.where((own >= by_sum) & (largest <= own * (highest + GRID_TOLERANCE)), own, steps)
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
    b_scales: NDArray[np.float64],
    bias: NDArray[np.floating],
    form: TensorFormat,
    offsets: NDArray[np.int64] | None = None,
) -> Quantity:
    """a·b plus the bias, and integers [G, N] added to the sums, in `form` or a coarser one that the sums can reach."""
    sets = max(b_scales.shape[0], bias.shape[0])
    shape = (sets, b_scales.shape[1])
    scales = np.broadcast_to(a.format.scale * b_scales, shape)
    form = TensorFormat(max(form.scale, float(scales.max()) / LARGEST_RATIO), form.bits)
    levels = np.floor(np.broadcast_to(bias[:, 0, :], shape) / scales + 0.5)
    if offsets is not None:
        levels = levels + offsets
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
