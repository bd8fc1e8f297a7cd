"""Normalisations."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.elementwise import like
from nmc.frontend.converters.linear import matrix_along
from nmc.frontend.converters.registry import converts
from nmc.frontend.emitter import Emitter, shape_of
from nmc.frontend.values import ConversionError, Node, Value


@converts("BatchNormalization")
def _batch_norm(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    scale, bias, mean, variance = (_per_channel(emitter, node.tensor(i), x) for i in (1, 2, 3, 4))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    if node.attributes.get("training_mode", 0) or (node.opset < 14 and node.outputs > 1):
        return _batch_norm_training(emitter, node, x, epsilon)
    constants = [
        value.astype(np.float64) for value in (scale, bias, mean, variance) if isinstance(value, np.ndarray)
    ]
    if len(constants) == 4:
        factor = constants[0] / np.sqrt(constants[3] + epsilon)
        offset = constants[1] - constants[2] * factor
        product = emitter.call(relax.op.multiply, x, factor.astype(np.float32))
        return [emitter.call(relax.op.add, product, offset.astype(np.float32))]
    return [_normalised(emitter, x, scale, bias, mean, variance, epsilon)]


def _batch_norm_training(emitter: Emitter, node: Node, x: Value, epsilon: float) -> Sequence[Value]:
    """Statistics of the batch itself, and the running statistics moved towards them (operator set 14 on)."""
    if node.opset < 14:
        raise ConversionError("is in training mode; export the model for inference")
    momentum = float(node.attributes.get("momentum", 0.9))
    axes = [axis for axis in range(len(shape_of(x))) if axis != 1]
    mean = emitter.call(relax.op.mean, x, axis=axes, keepdims=True)
    centred = emitter.call(relax.op.subtract, x, mean)
    square = emitter.call(relax.op.multiply, centred, centred)
    variance = emitter.call(relax.op.mean, square, axis=axes, keepdims=True)
    scale, bias = (_per_channel(emitter, node.tensor(i), x) for i in (1, 2))
    result = _normalised(emitter, x, scale, bias, mean, variance, epsilon)
    moved = []
    for running, batch in ((node.tensor(3), mean), (node.tensor(4), variance)):
        kept = emitter.call(relax.op.multiply, running, like(x, momentum))
        flat = emitter.reshape(batch, shape_of(running))
        new = emitter.call(relax.op.multiply, flat, like(x, 1 - momentum))
        moved.append(emitter.call(relax.op.add, kept, new))
    return [result, *moved]


def _normalised(
    emitter: Emitter, x: Value, scale: Value, bias: Value, mean: Value, variance: Value, epsilon: float
) -> relax.Var:
    deviation = emitter.call(relax.op.sqrt, emitter.call(relax.op.add, variance, like(x, epsilon)))
    centred = emitter.call(relax.op.subtract, x, mean)
    factor = emitter.call(relax.op.divide, scale, deviation)
    return emitter.call(relax.op.add, emitter.call(relax.op.multiply, centred, factor), bias)


def _per_channel(emitter: Emitter, value: Value, x: Value) -> Value:
    """One number a channel, shaped to broadcast against x [N, C, ...]."""
    return emitter.reshape(value, (-1,) + (1,) * (len(shape_of(x)) - 2))


@converts("LayerNormalization")
def _layer_norm(emitter: Emitter, node: Node) -> Sequence[Value | None]:
    x, scale, bias = node.tensor(0), node.tensor(1), node.input(2)
    shape = shape_of(x)
    axis = int(node.attributes.get("axis", -1)) % len(shape)
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    result = layer_norm(emitter, x, axis, epsilon, scale, bias)
    if not node.wants(1) and not node.wants(2):
        return [result]
    axes = list(range(axis, len(shape)))
    mean = emitter.call(relax.op.mean, x, axis=axes, keepdims=True)
    centred = emitter.call(relax.op.subtract, x, mean)
    square = emitter.call(relax.op.multiply, centred, centred)
    variance = emitter.call(relax.op.mean, square, axis=axes, keepdims=True)
    deviation = emitter.call(relax.op.sqrt, emitter.call(relax.op.add, variance, like(x, epsilon)))
    return [result, mean, emitter.call(relax.op.divide, like(x, 1), deviation)]


def layer_norm(
    emitter: Emitter, x: Value, axis: int, epsilon: float, scale: Value | None, bias: Value | None
) -> relax.Var:
    """Normalise over the axes from `axis` on; scale and bias must broadcast to those axes."""
    trailing = shape_of(x)[axis:]
    inside = all(value is None or len(shape_of(value)) <= len(trailing) for value in (scale, bias))
    gamma = (
        np.ones(trailing, np.float32) if scale is None or not inside else emitter.broadcast(scale, trailing)
    )
    beta = np.zeros(trailing, np.float32) if bias is None or not inside else emitter.broadcast(bias, trailing)
    axes = list(range(axis, len(shape_of(x))))
    result = emitter.call(relax.op.nn.layer_norm, x, gamma, beta, axes=axes, epsilon=epsilon)
    if inside:
        return result
    result = result if scale is None else emitter.call(relax.op.multiply, result, scale)
    return result if bias is None else emitter.call(relax.op.add, result, bias)


@converts("SkipLayerNormalization", domain="com.microsoft")
def _skip_layer_norm(emitter: Emitter, node: Node) -> Sequence[Value | None]:
    total: Value = emitter.call(relax.op.add, node.tensor(0), node.tensor(1))
    if node.input(4) is not None:
        total = emitter.call(relax.op.add, total, node.input(4))
    axis, epsilon = len(shape_of(total)) - 1, float(node.attributes.get("epsilon", 1e-12))
    if node.wants(1) or node.wants(2):
        raise ConversionError("its mean and deviation outputs are not supported")
    return [layer_norm(emitter, total, axis, epsilon, node.tensor(2), node.input(3)), None, None, total]


@converts("RMSNormalization", "SimplifiedLayerNormalization")
def _rms_norm(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, scale = node.tensor(0), node.tensor(1)
    shape = shape_of(x)
    axis = int(node.attributes.get("axis", -1)) % len(shape)
    if len(shape_of(scale)) > len(shape) - axis:
        raise ConversionError("its scale reaches beyond the normalised axes")
    gamma = emitter.broadcast(scale, shape[axis:])
    # TVM cannot normalise over all axes: give it one more in front.
    wide = emitter.reshape(x, (1, *shape)) if axis == 0 else x
    axes = list(range(axis + (axis == 0), len(shape_of(wide))))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return [
        emitter.reshape(emitter.call(relax.op.nn.rms_norm, wide, gamma, axes=axes, epsilon=epsilon), shape)
    ]


@converts("InstanceNormalization", "GroupNormalization")
def _group_norm(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Layer normalisation over [group of channels and space], then scale and bias by channel."""
    x, scale, bias = node.tensor(0), node.tensor(1), node.tensor(2)
    shape = shape_of(x)
    groups = int(node.attributes.get("num_groups", shape[1]))
    if shape[1] % groups:
        raise ConversionError(f"{shape[1]} channels cannot be split into {groups} groups")
    flat = emitter.reshape(x, (shape[0], groups, int(np.prod(shape[1:])) // groups))
    normal = layer_norm(emitter, flat, 2, float(node.attributes.get("epsilon", 1e-5)), None, None)
    result = emitter.reshape(normal, shape)
    by_channel = []
    for value in (scale, bias):
        if shape_of(value)[0] != shape[1]:  # before operator set 21: one number a group
            column = emitter.reshape(value, (groups, 1))
            value = emitter.reshape(emitter.broadcast(column, (groups, shape[1] // groups)), (shape[1],))
        by_channel.append(_per_channel(emitter, value, x))
    product = emitter.call(relax.op.multiply, result, by_channel[0])
    return [emitter.call(relax.op.add, product, by_channel[1])]


@converts("LRN")
def _local_response_norm(emitter: Emitter, node: Node) -> Sequence[Value]:
    """x / (bias + alpha/size·sum of squares over neighbouring channels)^beta, the sum as a banded matrix."""
    x, size = node.tensor(0), int(node.attributes["size"])
    shape = shape_of(x)
    channel = np.arange(shape[1])
    distance = channel[None, :] - channel[:, None]
    near = (distance >= -((size - 1) // 2)) & (distance <= size // 2)
    band = near.astype(np.float32) * np.float32(node.attributes.get("alpha", 1e-4) / size)
    flat = emitter.reshape(x, (shape[0], shape[1], int(np.prod(shape[2:]))))
    total = matrix_along(emitter, emitter.call(relax.op.multiply, flat, flat), band, 1)
    base = emitter.call(relax.op.add, total, like(x, node.attributes.get("bias", 1.0)))
    divisor = emitter.call(relax.op.power, base, like(x, node.attributes.get("beta", 0.75)))
    return [emitter.reshape(emitter.call(relax.op.divide, flat, divisor), shape)]


@converts("LpNormalization")
def _lp_norm(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, power = node.tensor(0), int(node.attributes.get("p", 2))
    axis = int(node.attributes.get("axis", -1)) % len(shape_of(x))
    if power not in (1, 2):
        raise ConversionError(f"p is {power}; ONNX defines 1 and 2")
    terms = emitter.call(relax.op.abs, x) if power == 1 else emitter.call(relax.op.multiply, x, x)
    total = emitter.call(relax.op.sum, terms, axis=[axis], keepdims=True)
    # The standard gives zero, not a division by zero, where the whole axis is zero: the sum, which integers hold exactly
    # there, is then replaced, before a root that a table gives roughly.
    safe = emitter.call(relax.op.where, emitter.call(relax.op.equal, total, like(x, 0)), like(x, 1), total)
    return [emitter.call(relax.op.divide, x, safe if power == 1 else emitter.call(relax.op.sqrt, safe))]
