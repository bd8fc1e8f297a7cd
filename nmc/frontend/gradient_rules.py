"""What each operator passes back: from the gradient of its result to those of its inputs.

A rule takes the tape that it writes to, the node, and the name of the gradient of the node's result; it returns a name for
each input, or None for one that has no gradient, such as a shape.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from nmc.frontend.gradient_tape import Tape
from nmc.frontend.values import attributes_of

ONE_AXIS = 13
"""Since this operator set Softmax is along one axis, not along all from that on."""

Rule = Callable[[Tape, onnx.NodeProto, str], Sequence[str | None]]


def _pair(derivatives: Callable[[Tape, onnx.NodeProto, str], tuple[str, str | None]]) -> Rule:
    """The rule of an operator of two inputs that repeat to each other's shape; given is the rule for equal shapes."""

    def rule(tape: Tape, node: onnx.NodeProto, passed: str) -> Sequence[str | None]:
        shape = tape.shape(node.output[0])
        found = zip(derivatives(tape, node, passed), node.input, strict=True)
        return [gradient and tape.summed_to(gradient, shape, tape.shape(name)) for gradient, name in found]

    return rule


def _elementwise(derivative: Callable[[Tape, onnx.NodeProto], str]) -> Rule:
    """The rule of a function of one tensor, given its derivative at each element."""
    return lambda tape, node, passed: [
        tape.emit("Mul", passed, derivative(tape, node)),
        *[None] * (len(node.input) - 1),
    ]


def _quotient(tape: Tape, node: onnx.NodeProto, passed: str) -> tuple[str, str]:
    share = tape.emit("Div", passed, node.input[1])
    return share, tape.emit("Neg", tape.emit("Mul", share, node.output[0]))


def _power(tape: Tape, node: onnx.NodeProto, passed: str) -> tuple[str, str | None]:
    base = node.input[0]
    exponent = tape.emit("Cast", node.input[1], to=tape.values[base].elem_type)
    less = tape.emit("Sub", exponent, tape.constant(1.0))
    slope = tape.emit("Mul", exponent, tape.emit("Pow", base, less))
    to_base = tape.emit("Mul", passed, slope)
    if node.input[1] not in tape.active:  # the logarithm of a negative base is no number
        return to_base, None
    return to_base, tape.emit("Mul", passed, tape.emit("Mul", node.output[0], tape.emit("Log", base)))


def _transposed(tape: Tape, name: str, rank: int) -> str:
    return tape.emit("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])


def _matmul(tape: Tape, node: onnx.NodeProto, passed: str) -> Sequence[str | None]:
    a, b = (tape.shape(name) for name in node.input)
    full_a, full_b = ((1, *a) if len(a) == 1 else a), ((*b, 1) if len(b) == 1 else b)
    batch = np.broadcast_shapes(full_a[:-2], full_b[:-2])
    full = (*batch, full_a[-2], full_b[-1])
    grown = tape.reshape(passed, full)
    left, right = tape.reshape(node.input[0], full_a), tape.reshape(node.input[1], full_b)
    to_a = tape.emit("MatMul", grown, _transposed(tape, right, len(full_b)))
    to_b = tape.emit("MatMul", _transposed(tape, left, len(full_a)), grown)
    return [
        tape.reshape(tape.summed_to(to_a, (*batch, *full_a[-2:]), full_a), a),
        tape.reshape(tape.summed_to(to_b, (*batch, *full_b[-2:]), full_b), b),
    ]


def _gemm(tape: Tape, node: onnx.NodeProto, passed: str) -> Sequence[str | None]:
    a, b, *_ = node.input
    across_a, across_b = (attributes_of(node).get(name, 0) for name in ("transA", "transB"))
    scaled = tape.emit("Mul", passed, tape.constant(attributes_of(node).get("alpha", 1.0)))
    to_a = tape.emit("Gemm", *((b, scaled) if across_a else (scaled, b)), **_turned(across_a, across_b, 0))
    to_b = tape.emit("Gemm", *((scaled, a) if across_b else (a, scaled)), **_turned(across_a, across_b, 1))
    to_c = [
        tape.summed_to(
            tape.emit("Mul", passed, tape.constant(attributes_of(node).get("beta", 1.0))),
            tape.shape(node.output[0]),
            tape.shape(c),
        )
        for c in node.input[2:]
        if c
    ]
    return [to_a, to_b, *to_c]


def _turned(across_a: int, across_b: int, side: int) -> dict[str, int]:
    """How the operands of the gradients of A·B and its transposes are turned."""
    if side == 0:
        return {"transA": across_b, "transB": 1} if across_a else {"transA": 0, "transB": 1 - across_b}
    return {"transA": 1, "transB": across_a} if across_b else {"transA": 1 - across_a, "transB": 0}


def _transpose(tape: Tape, node: onnx.NodeProto, passed: str) -> Sequence[str | None]:
    rank = len(tape.shape(node.input[0]))
    order = attributes_of(node).get("perm", list(range(rank))[::-1])
    return [tape.emit("Transpose", passed, perm=[int(axis) for axis in np.argsort(order)])]


def _reshaped(tape: Tape, node: onnx.NodeProto, passed: str) -> Sequence[str | None]:
    return [tape.reshape(passed, tape.shape(node.input[0])), *[None] * (len(node.input) - 1)]


def _sum(tape: Tape, node: onnx.NodeProto, passed: str) -> Sequence[str | None]:
    """Every element that was summed gets the gradient of its sum: zeros of the operand's shape repeat it."""
    shape, kept = tape.shape(node.input[0]), _kept_shape(tape, node)
    spread = tape.emit("Add", tape.reshape(passed, kept), tape.constant(np.zeros(shape)))
    return [spread, *[None] * (len(node.input) - 1)]


def _mean(tape: Tape, node: onnx.NodeProto, passed: str) -> Sequence[str | None]:
    count = math.prod(tape.shape(node.input[0])) / max(math.prod(tape.shape(node.output[0])), 1)
    return _sum(tape, node, tape.emit("Mul", passed, tape.constant(1.0 / count)))


def _kept_shape(tape: Tape, node: onnx.NodeProto) -> tuple[int, ...]:
    """The shape of a reduction's result with the axes that it summed, of size 1."""
    shape, result = tape.shape(node.input[0]), tape.shape(node.output[0])
    if len(result) == len(shape):
        return result
    axes = _axes(tape, node)
    return tuple(1 if axes is None or i - len(shape) in axes or i in axes else n for i, n in enumerate(shape))


def _axes(tape: Tape, node: onnx.NodeProto) -> list[int] | None:
    axes = attributes_of(node).get("axes", None)
    if axes is None and len(node.input) > 1 and node.input[1]:
        return [int(axis) for axis in tape.known(node.input[1])]
    return axes


def _softmax(tape: Tape, node: onnx.NodeProto, passed: str) -> Sequence[str | None]:
    result = node.output[0]
    rank = len(tape.shape(result))
    axis = attributes_of(node).get("axis", -1 if tape.opset >= ONE_AXIS else 1)
    axes = [axis] if tape.opset >= ONE_AXIS else list(range(axis % rank, rank))
    weighted = tape.emit("Mul", passed, result)
    return [tape.emit("Sub", weighted, tape.emit("Mul", result, tape.sum(weighted, axes)))]


def _concat(tape: Tape, node: onnx.NodeProto, passed: str) -> Sequence[str | None]:
    axis, begin, parts = attributes_of(node).get("axis", 0), 0, []
    for name in node.input:
        end = begin + tape.shape(name)[axis]
        bounds = [tape.constant([number], np.int64) for number in (begin, end, axis)]
        parts.append(tape.emit("Slice", passed, *bounds))
        begin = end
    return parts


def _one_less_square(tape: Tape, name: str) -> str:
    return tape.emit("Sub", tape.constant(1.0), tape.emit("Mul", name, name))


def _step(tape: Tape, name: str, below: float) -> str:
    """1 where a tensor is above 0, and `below` elsewhere."""
    zero, one, other = (tape.constant(number) for number in (0.0, 1.0, below))
    return tape.emit("Where", tape.emit("Greater", name, zero), one, other)


def _bell(tape: Tape, x: str) -> str:
    """The derivative of erf."""
    exponent = tape.emit("Neg", tape.emit("Mul", x, x))
    return tape.emit("Mul", tape.emit("Exp", exponent), tape.constant(2.0 / math.sqrt(math.pi)))


def _sigmoid_slope(tape: Tape, result: str) -> str:
    return tape.emit("Mul", result, tape.emit("Sub", tape.constant(1.0), result))


RULES: Mapping[str, Rule] = {
    "Identity": lambda tape, node, passed: [passed],
    "Add": _pair(lambda tape, node, passed: (passed, passed)),
    "Sub": _pair(lambda tape, node, passed: (passed, tape.emit("Neg", passed))),
    "Mul": _pair(
        lambda tape, node, passed: (
            tape.emit("Mul", passed, node.input[1]),
            tape.emit("Mul", passed, node.input[0]),
        )
    ),
    "Div": _pair(_quotient),
    "Pow": _pair(_power),
    "Neg": lambda tape, node, passed: [tape.emit("Neg", passed)],
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Transpose": _transpose,
    "Reshape": _reshaped,
    "Flatten": _reshaped,
    "Squeeze": _reshaped,
    "Unsqueeze": _reshaped,
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "Softmax": _softmax,
    "Concat": _concat,
    "Relu": _elementwise(lambda tape, node: _step(tape, node.input[0], 0.0)),
    "LeakyRelu": _elementwise(
        lambda tape, node: _step(tape, node.input[0], attributes_of(node).get("alpha", 0.01))
    ),
    "Abs": _elementwise(lambda tape, node: tape.emit("Sign", node.input[0])),
    "Sigmoid": _elementwise(lambda tape, node: _sigmoid_slope(tape, node.output[0])),
    "Tanh": _elementwise(lambda tape, node: _one_less_square(tape, node.output[0])),
    "Softplus": _elementwise(lambda tape, node: tape.emit("Sigmoid", node.input[0])),
    "Erf": _elementwise(lambda tape, node: _bell(tape, node.input[0])),
    "Exp": _elementwise(lambda tape, node: node.output[0]),
    "Log": lambda tape, node, passed: [tape.emit("Div", passed, node.input[0])],
    "Sqrt": lambda tape, node, passed: [
        tape.emit("Div", passed, tape.emit("Add", node.output[0], node.output[0]))
    ],
    "Sin": _elementwise(lambda tape, node: tape.emit("Cos", node.input[0])),
    "Cos": _elementwise(lambda tape, node: tape.emit("Neg", tape.emit("Sin", node.input[0]))),
}
"""By the operator's name."""
