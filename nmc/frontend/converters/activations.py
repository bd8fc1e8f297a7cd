"""Activation functions: a Relax operation where one exists, otherwise a formula that cannot overflow."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.elementwise import like
from nmc.frontend.converters.linear import matrix_along
from nmc.frontend.converters.registry import converts
from nmc.frontend.emitter import Emitter, shape_of
from nmc.frontend.values import Node, Value

SELU_ALPHA = 1.67326319217681884765625
SELU_GAMMA = 1.05070102214813232421875


@converts("LeakyRelu")
def _leaky_relu(emitter: Emitter, node: Node) -> Sequence[Value]:
    return [
        emitter.call(relax.op.nn.leakyrelu, node.tensor(0), alpha=float(node.attributes.get("alpha", 0.01)))
    ]


@converts("PRelu")
def _prelu(emitter: Emitter, node: Node) -> Sequence[Value]:
    """max(x, 0) + slope·min(x, 0), for a slope of any broadcastable shape."""
    x, slope = node.tensor(0), node.tensor(1)
    rank, slope_shape = len(shape_of(x)), shape_of(slope)
    if node.opset < 7 and len(slope_shape) == 1 and rank > 2:
        slope = emitter.reshape(slope, slope_shape + (1,) * (rank - 2))  # one slope a channel, axis 1
    falling = emitter.call(relax.op.multiply, emitter.call(relax.op.minimum, x, like(x, 0)), slope)
    return [emitter.call(relax.op.add, emitter.call(relax.op.nn.relu, x), falling)]


@converts("Elu", "Selu", "Celu")
def _exponential_units(emitter: Emitter, node: Node) -> Sequence[Value]:
    """gamma·(max(x, 0) + alpha·(exp(min(x, 0)/width) - 1)); the minimum keeps the exponential from
    overflowing.
    """
    x = node.tensor(0)
    alpha = float(node.attributes.get("alpha", SELU_ALPHA if node.operator == "Selu" else 1.0))
    falling = emitter.call(relax.op.minimum, x, like(x, 0))
    if node.operator == "Celu" and alpha != 1.0:
        falling = emitter.call(relax.op.multiply, falling, like(x, 1 / alpha))
    falling = emitter.call(relax.op.subtract, emitter.call(relax.op.exp, falling), like(x, 1))
    if alpha != 1.0:
        falling = emitter.call(relax.op.multiply, falling, like(x, alpha))
    result = emitter.call(relax.op.add, emitter.call(relax.op.nn.relu, x), falling)
    if node.operator == "Selu":
        result = emitter.call(relax.op.multiply, result, like(x, node.attributes.get("gamma", SELU_GAMMA)))
    return [result]


@converts("HardSigmoid")
def _hard_sigmoid(emitter: Emitter, node: Node) -> Sequence[Value]:
    slope, offset = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return [hard_sigmoid(emitter, node.tensor(0), slope, offset)]


def hard_sigmoid(emitter: Emitter, x: Value, slope: float, offset: float) -> relax.Var:
    """clip(slope·x + offset, 0, 1)."""
    line = emitter.call(relax.op.multiply, x, like(x, slope))
    return emitter.call(relax.op.clip, emitter.call(relax.op.add, line, like(x, offset)), 0.0, 1.0)


@converts("HardSwish")
def _hard_swish(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    return [emitter.call(relax.op.multiply, x, hard_sigmoid(emitter, x, 1 / 6, 0.5))]


@converts("Softplus")
def _softplus(emitter: Emitter, node: Node) -> Sequence[Value]:
    return [softplus(emitter, node.tensor(0))]


def softplus(emitter: Emitter, x: Value) -> relax.Var:
    """log(1 + exp(x)), which equals x within float32's rounding above 20."""
    return emitter.call(relax.op.nn.softplus, x, beta=1.0, threshold=20.0)


@converts("Mish")
def _mish(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    return [emitter.call(relax.op.multiply, x, emitter.call(relax.op.tanh, softplus(emitter, x)))]


@converts("Swish")
def _swish(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, alpha = node.tensor(0), float(node.attributes.get("alpha", 1.0))
    if alpha == 1.0:
        return [emitter.call(relax.op.nn.silu, x)]
    scaled = emitter.call(relax.op.multiply, x, like(x, alpha))
    return [emitter.call(relax.op.multiply, x, emitter.call(relax.op.sigmoid, scaled))]


@converts("Gelu")
def _gelu(emitter: Emitter, node: Node) -> Sequence[Value]:
    tanh = node.attributes.get("approximate", "none") == "tanh"
    return [emitter.call(relax.op.nn.gelu_tanh if tanh else relax.op.nn.gelu, node.tensor(0))]


@converts("Gelu", "BiasGelu", "FastGelu", "QuickGelu", domain="com.microsoft")
def _contributed_gelu(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, bias = node.tensor(0), node.input(1)
    if bias is not None:
        x = emitter.call(relax.op.add, x, bias)
    if node.operator == "QuickGelu":
        scaled = emitter.call(relax.op.multiply, x, like(x, node.attributes.get("alpha", 1.702)))
        return [emitter.call(relax.op.multiply, x, emitter.call(relax.op.sigmoid, scaled))]
    return [emitter.call(relax.op.nn.gelu_tanh if node.operator == "FastGelu" else relax.op.nn.gelu, x)]


@converts("Softsign")
def _softsign(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    size = emitter.call(relax.op.add, emitter.call(relax.op.abs, x), like(x, 1))
    return [emitter.call(relax.op.divide, x, size)]


@converts("ThresholdedRelu")
def _thresholded_relu(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    above = emitter.call(relax.op.greater, x, like(x, node.attributes.get("alpha", 1.0)))
    return [emitter.call(relax.op.where, above, x, like(x, 0))]


@converts("Shrink")
def _shrink(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    edge, bias = float(node.attributes.get("lambd", 0.5)), float(node.attributes.get("bias", 0.0))
    above = emitter.call(relax.op.greater, x, like(x, edge))
    below = emitter.call(relax.op.less, x, like(x, -edge))
    lowered = emitter.call(relax.op.subtract, x, like(x, bias)) if bias else x
    raised = emitter.call(relax.op.add, x, like(x, bias)) if bias else x
    inner = emitter.call(relax.op.where, below, raised, like(x, 0))
    return [emitter.call(relax.op.where, above, lowered, inner)]


@converts("Softmax", "LogSoftmax", "Hardmax")
def _softmax(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Before operator set 13 all axes from `axis` on are one: the input is flattened to two dimensions."""
    x = node.tensor(0)
    shape, rank = shape_of(x), len(shape_of(x))
    if node.opset >= 13:
        return [_along(emitter, node.operator, x, int(node.attributes.get("axis", -1)) % max(rank, 1))]
    axis = int(node.attributes.get("axis", 1)) % max(rank, 1)
    if axis == rank - 1:
        return [_along(emitter, node.operator, x, axis)]
    flat = emitter.reshape(x, (int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))))
    return [emitter.reshape(_along(emitter, node.operator, flat, 1), shape)]


def _first_largest(emitter: Emitter, x: Value, axis: int) -> Value:
    """1 at the first of the largest elements along an axis: equal to the maximum, and none before it is."""
    size = shape_of(x)[axis]
    largest = emitter.call(relax.op.max, x, axis=[axis], keepdims=True)
    equal = emitter.cast(emitter.call(relax.op.equal, x, largest), "float32")
    before = matrix_along(emitter, equal, np.tril(np.ones((size, size), np.float32), -1), axis)
    first = emitter.cast(emitter.call(relax.op.less, before, np.float32(0.5)), "float32")
    return emitter.call(relax.op.multiply, equal, first)


def _along(emitter: Emitter, operator: str, x: Value, axis: int) -> Value:
    if operator == "Softmax":
        return emitter.call(relax.op.nn.softmax, x, axis=axis)
    if operator == "LogSoftmax":
        return emitter.call(relax.op.nn.log_softmax, x, axis=axis)
    return _first_largest(emitter, x, axis)
