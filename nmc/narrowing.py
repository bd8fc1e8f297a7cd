"""Chooses how products are computed with 8-bit operands, from what calibration saw of them.

For each activation that products with constant weights read: a range, a zero and a factor for each channel. The factors
(equalisation, as between the layers of Nagel et al., arXiv 1906.04721, and before linear layers in SmoothQuant, arXiv
2211.10438) are a power of each channel's range; of a few powers the one with the least error of the products is taken. Then
each column's mean error is corrected in the bias (arXiv 1906.04721, section 4.2). Products of two activations have symmetric
operands, because what a zero contributes is known beforehand for weights alone. What the model itself holds on a grid of 8
bits keeps that grid.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tvm import ir, relax

from nmc.operand_statistics import Operand, OperandStatistics
from nmc.quant import fixed_point
from nmc.quant.clipping import affine_integers, affine_scale, clipped_range
from nmc.quant.formats import TensorRange
from passes.matrix_form.grid import GRID, Grid, grid_of
from passes.matrix_form.im2col import IM2COL, window_of
from passes.narrow_products import (
    NARROW_BITS,
    NarrowProduct,
    NarrowTensor,
    is_product,
    moves_to,
    source_of,
)
from passes.quantise_gemm import column_scales, nearest_steps
from passes.quantity import constant_format
from passes.rewrite import bindings_of, callee_attributes, callee_name, constant_value, shape_of
from targets.cpu.numpy_calls import numpy_call, windows

Floats = NDArray[np.floating]

LEAST_NARROW = -(2 ** (NARROW_BITS - 1))

POWERS = (0.0, 0.25, 0.5, 0.75)
"""What the ranges of channels are raised to for their factors; 0 leaves the channels as they are."""
LARGEST_RECIPROCAL = 16.0
"""Channels that calibration hardly saw active may be so on other data: none is enlarged by more."""
WORTH = 0.8
"""Factors cost a multiplication of every element: they must leave less than this part of the error."""
SEARCH_ROWS = 192
"""Rows of the calibration data that powers are compared on."""


@dataclass(frozen=True)
class Layer:
    """A product with constant weights [G, K, N], and what is known of its activation."""

    name: str
    weights: Floats
    operand: Operand
    channels: NDArray[np.integer] | None
    """[G, K]: the channel of the source that each column holds, -1 for padding; None if columns mix channels."""


def narrow_products(module: ir.IRModule, seen: OperandStatistics, method: str) -> dict[str, NarrowProduct]:
    """How each product of `main` is computed in 8 bits, by the name of its variable.

    The module is in matrix form; `method` is one of `nmc.quant.clipping.METHODS`. Products whose operands calibration did
    not see are left out.
    """
    definitions = {b.var.name: b.value for b in bindings_of(module["main"])}
    layers: dict[str, list[Layer]] = defaultdict(list)
    sources: dict[str, tuple[relax.Var, int]] = {}
    plans: dict[str, NarrowProduct] = {}
    for binding in bindings_of(module["main"]):
        if not is_product(module, binding.value):
            continue
        left, right = binding.value.args
        operands = [seen.operands.get(a.name) for a in (left, right) if isinstance(a, relax.Var)]
        weights = constant_value(right)
        if any(operand is None for operand in operands):
            continue
        if weights is None:
            grids = [_grid_of_operand(definitions, module, operand) for operand in (left, right)]
            if all(grid is None or grid.low >= LEAST_NARROW for grid in grids):
                first, second = (
                    _symmetric(operand, method) if grid is None else NarrowTensor(grid.scale)
                    for operand, grid in zip(operands, grids, strict=True)
                    if operand is not None
                )
                plans[binding.var.name] = NarrowProduct(first, second)
        elif operands[0] is not None:
            source = source_of(definitions, module, left)
            grid = _grid_of_operand(definitions, module, left)
            if grid is not None:
                plans[binding.var.name] = NarrowProduct(NarrowTensor(grid.scale, LEAST_NARROW - grid.low))
                continue
            axis, channels = _channels(module, list(moves_to(definitions, module, left)), source)
            sources[source.name] = source, axis
            layers[source.name].append(Layer(binding.var.name, weights, operands[0], channels))
    for name, group in layers.items():
        plans |= _narrow_layers(group, *sources[name], method)
    return plans


def _grid_of_operand(
    definitions: Mapping[str, relax.Expr], module: ir.IRModule, operand: relax.Var
) -> Grid | None:
    """The model's own grid that an operand is on, if it has as few points as 8 bits can tell apart."""
    call = definitions.get(source_of(definitions, module, operand).name)
    if not isinstance(call, relax.Call) or callee_name(module, call) != GRID:
        return None
    grid = grid_of(callee_attributes(module, call))
    return grid if grid.high - grid.low < 2**NARROW_BITS else None


def _symmetric(operand: Operand, method: str) -> NarrowTensor:
    bound = max(abs(float(operand.low.min())), abs(float(operand.high.max())))
    kept = clipped_range(operand.rows, TensorRange(-bound, bound), method, NARROW_BITS)
    return NarrowTensor(kept.magnitude / (2 ** (NARROW_BITS - 1) - 1) or 1.0)


def _channels(
    module: ir.IRModule, moves: Sequence[relax.Call], source: relax.Var
) -> tuple[int, NDArray[np.integer] | None]:
    """The axis of the source whose index is the same in all rows of the operand, and that index by column."""
    shape = shape_of(source)
    for axis in sorted(range(len(shape)), key=lambda axis: (axis != 1, -axis)):
        if shape[axis] == 1:
            continue
        index = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        places = _moved(module, moves, np.broadcast_to(index, shape))
        channels = places.max(axis=1)
        if ((places == channels[:, None]) | (places < 0)).all():
            return axis, channels
    return 0, None


def _moved(module: ir.IRModule, moves: Sequence[relax.Call], places: np.ndarray) -> np.ndarray:
    """Indices after the moves, the last of which comes first; -1 for padding."""
    for call in reversed(moves):
        name = callee_name(module, call)
        if name == IM2COL:
            places = windows(places, window_of(callee_attributes(module, call))[0], -1)
        elif name == "relax.nn.pad":
            widths = np.array([int(width) for width in call.attrs.pad_width]).reshape(-1, 2)
            places = np.pad(places, widths, constant_values=-1)
        else:
            compute = numpy_call(module, call, name)
            assert compute is not None
            places = np.asarray(compute(places, *call.args[1:]))
    return places


def _narrow_layers(
    group: Sequence[Layer], source: relax.Var, axis: int, method: str
) -> dict[str, NarrowProduct]:
    """All products with weights that read one tensor share its conversion."""
    power = _best_power(group, shape_of(source)[axis], method)
    reciprocals = _reciprocals(_channel_ranges(group, shape_of(source)[axis]), power) if power else None
    tensor = _conversion(group, reciprocals, method)
    if reciprocals is not None:
        shape = [-1 if a == axis else 1 for a in range(len(shape_of(source)))]
        tensor = replace(tensor, reciprocals=reciprocals.reshape(shape))
    return {
        layer.name: NarrowProduct(
            tensor, None, _row_factors(layer, reciprocals), _correction(layer, tensor, reciprocals)
        )
        for layer in group
    }


def _best_power(group: Sequence[Layer], channels: int, method: str) -> float:
    """The power with the least error where ranges come from every other sample and errors from the samples between."""
    if channels == 1 or any(layer.channels is None or len(layer.operand.halves) < 2 for layer in group):
        return 0.0
    errors = dict.fromkeys(POWERS, 0.0)
    for chosen, tried in ((0, 1), (1, 0)):
        first = [replace(layer, operand=Operand([layer.operand.halves[chosen]])) for layer in group]
        second = [replace(layer, operand=Operand([layer.operand.halves[tried]])) for layer in group]
        for power in POWERS:
            reciprocals = _reciprocals(_channel_ranges(first, channels), power) if power else None
            errors[power] += _error(second, _conversion(first, reciprocals, method), reciprocals)
    best = min(POWERS, key=lambda power: errors[power])
    return best if errors[best] < WORTH * errors[0.0] else 0.0


def _channel_ranges(group: Iterable[Layer], count: int) -> Floats:
    """The largest magnitude of each channel; every layer's columns have one channel each."""
    ranges = np.zeros(count)
    for layer in group:
        assert layer.channels is not None
        magnitudes = np.maximum(np.abs(layer.operand.low), np.abs(layer.operand.high))
        known = layer.channels >= 0
        np.maximum.at(ranges, layer.channels[known], magnitudes[known])
    return ranges


def _reciprocals(ranges: Floats, power: float) -> Floats:
    """What each channel is multiplied by: at least 1, and exact as the 16-bit constant that it becomes."""
    relative = np.maximum(ranges / (ranges.max() or 1.0), 1e-9)
    wanted = np.minimum(relative**-power, LARGEST_RECIPROCAL)
    form = constant_format(wanted, 16)
    return np.asarray(fixed_point.quantise(wanted, form.scale, form.bits) * form.scale)


def _by_column(layer: Layer, reciprocals: Floats | None) -> Floats:
    """The reciprocals of an operand's columns, [G, 1, K]."""
    if reciprocals is None or layer.channels is None:
        return np.ones((1, 1, 1))
    return np.where(layer.channels < 0, 1.0, reciprocals[layer.channels])[:, None, :]


def _row_factors(layer: Layer, reciprocals: Floats | None) -> Floats | None:
    return None if reciprocals is None else 1.0 / _by_column(layer, reciprocals)[:, 0, :]


def _conversion(group: Iterable[Layer], reciprocals: Floats | None, method: str) -> NarrowTensor:
    """The scale and zero of a tensor that is multiplied by these reciprocals; they are not part of the result."""
    values, span = [], TensorRange(0.0, 0.0)
    for layer in group:
        factors = _by_column(layer, reciprocals)
        low, high = layer.operand.low * factors[:, 0, :], layer.operand.high * factors[:, 0, :]
        span = span.union(TensorRange(float(low.min()), float(high.max())))
        values.append((layer.operand.rows * factors).reshape(-1))
    kept = clipped_range(np.concatenate(values), span, method, NARROW_BITS)
    return NarrowTensor(*affine_scale(kept, NARROW_BITS))


def _error(group: Iterable[Layer], tensor: NarrowTensor, reciprocals: Floats | None) -> float:
    """The relative squared errors of the products, summed."""
    error = 0.0
    for layer in group:
        rows = layer.operand.rows
        rows = rows[:, :: max(1, rows.shape[1] // SEARCH_ROWS)]
        exact, narrow = _products(layer, rows, tensor, reciprocals)
        error += float(((exact - narrow) ** 2).sum() / ((exact**2).sum() or 1.0))
    return error


def _products(
    layer: Layer, rows: Floats, tensor: NarrowTensor, reciprocals: Floats | None
) -> tuple[Floats, Floats]:
    """Rows times the weights, in floats and in 8 bits; [G, rows, N] each, float32."""
    factors = _by_column(layer, reciprocals)
    integers = affine_integers(rows * factors, tensor.scale, tensor.zero, NARROW_BITS)
    weights = np.asarray(layer.weights / factors.transpose(0, 2, 1), np.float64)
    steps = column_scales(weights, NARROW_BITS, NARROW_BITS)
    rounded = weights if steps is None else nearest_steps(weights, steps) * steps
    narrow = integers.astype(np.float32) @ (rounded * tensor.scale).astype(np.float32)
    return np.matmul(rows, layer.weights), narrow


def _correction(layer: Layer, tensor: NarrowTensor, reciprocals: Floats | None) -> Floats:
    """The mean error of each column, [G, N]."""
    exact, narrow = _products(layer, layer.operand.rows, tensor, reciprocals)
    return np.asarray((exact - narrow).mean(axis=1, dtype=np.float64))
