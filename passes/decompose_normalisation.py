"""No normalisation operator is left: means are products with a column of 1/K, the deviation is one rsqrt.

Run before `passes.lower_arithmetic` and `passes.lower_unary` (it emits `relax.rsqrt` of a sum with epsilon,
which becomes one function). Statistics are taken over the last axis of [..., K], where a row is contiguous;
other axes are brought there by moves. A scale of ones and a bias of zeros leave no trace. Layer, group and
instance normalisation always apply their scale and bias, as TVM computes them, whatever their attributes
`scale` and `center` say.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tvm
from tvm import ir, relax

from passes.float_rules import rewrite_float_calls
from passes.rewrite import Emitter, Rule, constant_value, shape_of
from passes.scalars import scalar_of

_op = relax.op


def _layer_norm(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """((x - mean) / √(variance + epsilon)) · gamma + beta over trailing or any other axes."""
    x, gamma, beta = call.args
    axes = _axes(call, len(shape_of(x)))
    rows, order = _rows(emitter, x, axes)
    normal = _standardised(emitter, rows, float(call.attrs.epsilon))
    result = _unrowed(emitter, normal, shape_of(x), order)
    extents = [extent if axis in axes else 1 for axis, extent in enumerate(shape_of(x))]
    return _affine(emitter, result, gamma, beta, extents)


def _rms_norm(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """x / √(mean of x² + epsilon) · gamma."""
    x, gamma = call.args
    axes = _axes(call, len(shape_of(x)))
    rows, order = _rows(emitter, x, axes)
    normal = _over_root_mean_square(emitter, rows, float(call.attrs.epsilon))
    extents = [extent if axis in axes else 1 for axis, extent in enumerate(shape_of(x))]
    return _affine(emitter, _unrowed(emitter, normal, shape_of(x), order), gamma, None, extents)


def _group_norm(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """Layer normalisation of each group of channels with its space, then scale and shift by channel."""
    x, gamma, beta = call.args
    shape, groups = shape_of(x), int(call.attrs.num_groups)
    rank = len(shape)
    channel = int(call.attrs.channel_axis) % rank
    space = sorted(int(axis) % rank for axis in call.attrs.axes)
    others = [axis for axis in range(rank) if axis != channel and axis not in space]
    order = [*others, channel, *space]
    moved = _permuted(emitter, x, order)
    outer = int(np.prod([shape[axis] for axis in others], dtype=np.int64))
    rows = emitter.emit(
        _op.reshape(moved, [outer, groups, int(np.prod(shape, dtype=np.int64)) // (outer * groups)])
    )
    normal = _standardised(emitter, rows, float(call.attrs.epsilon))
    result = _unrowed(emitter, normal, shape, order)
    return _affine(emitter, result, gamma, beta, _channel_extents(shape, channel))


def _instance_norm(emitter: Emitter, call: relax.Call) -> relax.Expr:
    """Layer normalisation of each channel's space, then scale and shift by channel."""
    x, gamma, beta = call.args
    axes = _axes(call, len(shape_of(x)))
    rows, order = _rows(emitter, x, axes)
    normal = _standardised(emitter, rows, float(call.attrs.epsilon))
    result = _unrowed(emitter, normal, shape_of(x), order)
    channel = int(call.attrs.channel_axis) % len(shape_of(x))
    return _affine(emitter, result, gamma, beta, _channel_extents(shape_of(x), channel))


def _batch_norm(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    """x·factor + offset with the statistics as constants; statistics that are computed are left alone."""
    x, *statistics = call.args
    values = [constant_value(statistic) for statistic in statistics]
    if any(value is None for value in values) or bool(getattr(call.attrs, "training", False)):
        return None
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
    extents = _channel_extents(shape_of(x), int(call.attrs.axis) % len(shape_of(x)))
    factor = (gamma if call.attrs.scale else np.ones_like(gamma)) / np.sqrt(
        variance + float(call.attrs.epsilon)
    )
    offset = (beta if call.attrs.center else np.zeros_like(beta)) - mean * factor
    scaled = emitter.emit(_op.multiply(x, emitter.constant(factor.reshape(extents))))
    result = emitter.emit(_op.add(scaled, emitter.constant(offset.reshape(extents))))
    return relax.Tuple([result, statistics[2], statistics[3]])


def _axes(call: relax.Call, rank: int) -> list[int]:
    return sorted(int(axis) % rank for axis in call.attrs.axes)


def _channel_extents(shape: Sequence[int], channel: int) -> list[int]:
    return [extent if axis == channel else 1 for axis, extent in enumerate(shape)]


def _permuted(emitter: Emitter, x: relax.Expr, order: Sequence[int]) -> relax.Expr:
    return x if list(order) == list(range(len(order))) else emitter.emit(_op.permute_dims(x, list(order)))


def _rows(emitter: Emitter, x: relax.Expr, axes: Sequence[int]) -> tuple[relax.Expr, list[int]]:
    """The tensor as [..., K] with the elements of `axes` in the last one, and the permutation before that."""
    shape = shape_of(x)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    order = [*kept, *axes]
    moved = _permuted(emitter, x, order)
    if len(axes) == 1:
        return moved, order
    width = int(np.prod([shape[axis] for axis in axes], dtype=np.int64))
    return emitter.emit(_op.reshape(moved, [*(shape[axis] for axis in kept), width])), order


def _unrowed(emitter: Emitter, rows: relax.Expr, shape: Sequence[int], order: Sequence[int]) -> relax.Expr:
    """The inverse of `_rows` for a result of the same elements."""
    moved_shape = [shape[axis] for axis in order]
    if list(shape_of(rows)) != moved_shape:
        rows = emitter.emit(_op.reshape(rows, moved_shape))
    return _permuted(emitter, rows, [int(axis) for axis in np.argsort(order)])


def mean_last(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    """The mean along the last axis, which stays with extent 1: a product with a column of 1/K."""
    width = shape_of(x)[-1]
    return emitter.emit(_op.matmul(x, emitter.constant(np.full((width, 1), 1.0 / width))))


def _standardised(emitter: Emitter, rows: relax.Expr, epsilon: float) -> relax.Expr:
    deviation = emitter.emit(_op.subtract(rows, mean_last(emitter, rows)))
    return _over_root_mean_square(emitter, deviation, epsilon)


def _over_root_mean_square(emitter: Emitter, rows: relax.Expr, epsilon: float) -> relax.Expr:
    square = mean_last(emitter, emitter.emit(_op.multiply(rows, rows)))
    inverse = emitter.emit(_op.rsqrt(emitter.emit(_op.add(square, emitter.constant(epsilon)))))
    return emitter.emit(_op.multiply(rows, inverse))


def _affine(
    emitter: Emitter, x: relax.Expr, scale: relax.Expr, shift: relax.Expr | None, extents: Sequence[int]
) -> relax.Expr:
    """x·scale + shift, both reshaped to `extents`, without what changes nothing."""
    if scalar_of(scale) != 1.0:
        x = emitter.emit(_op.multiply(x, _reshaped(emitter, scale, extents)))
    if shift is not None and scalar_of(shift) != 0.0:
        x = emitter.emit(_op.add(x, _reshaped(emitter, shift, extents)))
    return x


def _reshaped(emitter: Emitter, x: relax.Expr, extents: Sequence[int]) -> relax.Expr:
    """The parameter, without leading axes of extent 1 so that it stays a row where it is one."""
    inner = list(extents)
    while len(inner) > 1 and inner[0] == 1:
        inner.pop(0)
    value = constant_value(x)
    if value is not None:
        return emitter.constant(value.reshape(inner))
    return x if list(shape_of(x)) == inner else emitter.emit(_op.reshape(x, inner))


RULES: Mapping[str, Rule] = {
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.rms_norm": _rms_norm,
    "relax.nn.group_norm": _group_norm,
    "relax.nn.instance_norm": _instance_norm,
    "relax.nn.batch_norm": _batch_norm,
}


@tvm.transform.module_pass(opt_level=0, name="nmc.DecomposeNormalisation")
def decompose_normalisation(module: ir.IRModule, context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to the operators of main."""
    return rewrite_float_calls(module, RULES)
