"""Arithmetic, comparison and logic, element by element."""

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np
from onnx import helper
from tvm import relax

from nmc.frontend.converters.low_precision import cast_to_low
from nmc.frontend.converters.registry import CONVERTERS, Converter, converts
from nmc.frontend.emitter import Emitter, dtype_of, is_float, shape_of
from nmc.frontend.low_precision import CARRIERS
from nmc.frontend.values import ConversionError, Node, Value

Operator = Callable[..., relax.Expr]

UNARY: dict[str, Operator] = {
    "Abs": relax.op.abs,
    "Acos": relax.op.acos,
    "Acosh": relax.op.acosh,
    "Asin": relax.op.asin,
    "Asinh": relax.op.asinh,
    "Atan": relax.op.atan,
    "Atanh": relax.op.atanh,
    "BitwiseNot": relax.op.bitwise_not,
    "Ceil": relax.op.ceil,
    "Cos": relax.op.cos,
    "Cosh": relax.op.cosh,
    "Erf": relax.op.erf,
    "Exp": relax.op.exp,
    "Floor": relax.op.floor,
    "IsNaN": relax.op.isnan,
    "Log": relax.op.log,
    "Neg": relax.op.negative,
    "Not": relax.op.logical_not,
    "Relu": relax.op.nn.relu,
    "Round": relax.op.round,
    "Sigmoid": relax.op.sigmoid,
    "Sign": relax.op.sign,
    "Sin": relax.op.sin,
    "Sinh": relax.op.sinh,
    "Sqrt": relax.op.sqrt,
    "Tan": relax.op.tan,
    "Tanh": relax.op.tanh,
}
"""Operators of one tensor with a Relax operation of the same meaning."""

BINARY: dict[str, Operator] = {
    "Add": relax.op.add,
    "And": relax.op.logical_and,
    "BitwiseAnd": relax.op.bitwise_and,
    "BitwiseOr": relax.op.bitwise_or,
    "BitwiseXor": relax.op.bitwise_xor,
    "Equal": relax.op.equal,
    "Greater": relax.op.greater,
    "GreaterOrEqual": relax.op.greater_equal,
    "Less": relax.op.less,
    "LessOrEqual": relax.op.less_equal,
    "Mul": relax.op.multiply,
    "Or": relax.op.logical_or,
    "Sub": relax.op.subtract,
    "Xor": relax.op.logical_xor,
}
"""Broadcasting operators of two tensors with a Relax operation of the same meaning."""

VARIADIC: dict[str, Operator] = {
    "Max": relax.op.maximum,
    "Mean": relax.op.add,
    "Min": relax.op.minimum,
    "Sum": relax.op.add,
}
"""Operators of any number of tensors, written as a chain of two-tensor operations."""

POWERS: dict[float, Callable[[Emitter, Value], relax.Var]] = {
    2.0: lambda emitter, x: emitter.call(relax.op.multiply, x, x),
    3.0: lambda emitter, x: emitter.call(relax.op.multiply, emitter.call(relax.op.multiply, x, x), x),
    0.5: lambda emitter, x: emitter.call(relax.op.sqrt, x),
    -0.5: lambda emitter, x: emitter.call(relax.op.divide, like(x, 1), emitter.call(relax.op.sqrt, x)),
    -1.0: lambda emitter, x: emitter.call(relax.op.divide, like(x, 1), x),
}
"""Exponents that need no logarithm."""


def like(value: Value, number: float) -> np.ndarray:
    """A scalar constant with the element type of `value`."""
    return np.asarray(number, dtype=dtype_of(value))


def _unary(operator: Operator) -> Converter:
    return lambda emitter, node: [emitter.call(operator, node.tensor(0))]


def _binary(operator: Operator) -> Converter:
    def convert(emitter: Emitter, node: Node) -> Sequence[Value]:
        return [emitter.call(operator, node.tensor(0), _old_broadcast(emitter, node))]

    return convert


def _old_broadcast(emitter: Emitter, node: Node) -> Value:
    """The second operand; operator sets before 7 align it at `axis` when `broadcast` is set."""
    second = node.tensor(1)
    if node.opset >= 7 or not node.attributes.get("broadcast", 0) or "axis" not in node.attributes:
        return second
    rank = len(shape_of(node.tensor(0)))
    shape = shape_of(second)
    return emitter.reshape(second, shape + (1,) * (rank - node.attributes["axis"] % rank - len(shape)))


CONVERTERS.update({("", name): _unary(operator) for name, operator in UNARY.items()})
CONVERTERS.update({("", name): _binary(operator) for name, operator in BINARY.items()})


@converts("Div")
def _div(emitter: Emitter, node: Node) -> Sequence[Value]:
    divisor = _old_broadcast(emitter, node)
    if isinstance(divisor, np.ndarray) and not divisor.all():
        if divisor.dtype.kind != "f":
            raise ConversionError("divides integers by zero")
        with np.errstate(divide="ignore"):  # TVM builds no division by the constant zero, which floats allow
            return [emitter.call(relax.op.multiply, node.tensor(0), 1 / divisor)]
    return [emitter.call(relax.op.divide, node.tensor(0), divisor)]


@converts(*VARIADIC)
def _variadic(emitter: Emitter, node: Node) -> Sequence[Value]:
    operator = VARIADIC[node.operator]
    operands = [node.tensor(i) for i in range(len(node.inputs))]
    total: Value = reduce(lambda left, right: emitter.call(operator, left, right), operands)
    if node.operator == "Mean" and len(operands) > 1:
        total = emitter.call(relax.op.multiply, total, like(operands[0], 1 / len(operands)))
    return [total]


@converts("Identity", "Dropout")
def _identity(emitter: Emitter, node: Node) -> Sequence[Value | None]:
    if node.operator == "Dropout":
        training = node.constant(2)
        if training is not None and bool(training.reshape(-1)[0]):
            raise ConversionError("is in training mode; export the model for inference")
    value = node.input(0)
    mask = np.ones(shape_of(value), bool) if value is not None and node.wants(1) else None
    return [value, mask]


@converts("Reciprocal")
def _reciprocal(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    return [emitter.call(relax.op.divide, like(x, 1), x)]


@converts("Pow")
def _pow(emitter: Emitter, node: Node) -> Sequence[Value]:
    base, exponent = node.tensor(0), node.tensor(1)
    if isinstance(exponent, np.ndarray) and exponent.size and is_float(base):
        number = float(exponent.flat[0])
        if bool(np.all(exponent == number)) and number in POWERS and exponent.ndim <= len(shape_of(base)):
            wider = exponent.ndim and any(size > 1 for size in exponent.shape)
            if not wider:
                return [POWERS[number](emitter, base)]
    if (
        isinstance(exponent, np.ndarray)
        and not is_float(base)
        and bool(np.all(exponent == 2))
        and exponent.size == 1
    ):
        return [emitter.call(relax.op.multiply, base, base)]
    if is_float(base):
        return [emitter.call(relax.op.power, base, emitter.cast(exponent, dtype_of(base)))]
    power = emitter.call(relax.op.power, emitter.cast(base, "float32"), emitter.cast(exponent, "float32"))
    return [emitter.cast(emitter.call(relax.op.round, power), dtype_of(base))]


@converts("Mod")
def _mod(emitter: Emitter, node: Node) -> Sequence[Value]:
    a, b = node.tensor(0), node.tensor(1)
    if isinstance(b, np.ndarray) and not is_float(b) and not b.all():
        raise ConversionError("divides integers by zero")
    if not node.attributes.get("fmod", 0):
        rest = emitter.call(relax.op.floor_mod, a, b)
        unbounded = is_float(a) and not (isinstance(b, np.ndarray) and bool(np.isfinite(b).all()))
        return [_mod_infinity(emitter, a, b, rest) if unbounded else rest]
    if not is_float(a):
        return [emitter.call(relax.op.mod, a, b)]
    # C's fmod keeps the sign of the dividend: a - b·trunc(a/b), with |a| and |b| to make trunc a floor.
    size, step = emitter.call(relax.op.abs, a), emitter.call(relax.op.abs, b)
    whole = emitter.call(relax.op.floor, emitter.call(relax.op.divide, size, step))
    rest = emitter.call(relax.op.subtract, size, emitter.call(relax.op.multiply, whole, step))
    return [emitter.call(relax.op.multiply, rest, emitter.call(relax.op.sign, a))]


def _mod_infinity(emitter: Emitter, a: Value, b: Value, rest: Value) -> Value:
    """`rest`, and where b is infinite and a is not: a, or b where their signs differ."""
    product = emitter.call(relax.op.multiply, emitter.call(relax.op.sign, a), emitter.call(relax.op.sign, b))
    limit = emitter.call(relax.op.where, emitter.call(relax.op.less, product, like(product, 0)), b, a)
    finite = emitter.call(relax.op.less, emitter.call(relax.op.abs, a), like(a, np.inf))
    infinite = emitter.call(relax.op.equal, emitter.call(relax.op.abs, b), like(b, np.inf))
    return emitter.call(relax.op.where, emitter.call(relax.op.logical_and, finite, infinite), limit, rest)


@converts("BitShift")
def _bit_shift(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Shifts by the type's width or more (or by a negative count) push every bit out, as in the standard."""
    x, count = node.tensor(0), node.tensor(1)
    left, kind = node.attributes["direction"] == "LEFT", np.dtype(dtype_of(x))
    operator, width = relax.op.left_shift if left else relax.op.right_shift, 8 * kind.itemsize
    if isinstance(count, np.ndarray) and bool(((count >= 0) & (count < width)).all()):
        return [emitter.call(operator, x, count)]
    over = emitter.call(relax.op.greater_equal, count, like(count, width))
    if kind.kind == "i":
        over = emitter.call(relax.op.logical_or, over, emitter.call(relax.op.less, count, like(count, 0)))
    safe = emitter.call(relax.op.where, over, like(count, width - 1), count)
    shifted = emitter.call(operator, x, safe)
    if not left and kind.kind == "i":
        return [shifted]  # the sign bit everywhere, which a shift by width - 1 has already made
    return [emitter.call(relax.op.where, over, like(x, 0), shifted)]


@converts("IsInf")
def _is_inf(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    positive, negative = node.attributes.get("detect_positive", 1), node.attributes.get("detect_negative", 1)
    if positive and negative:
        return [emitter.call(relax.op.isinf, x)]
    if not positive and not negative:
        return [np.zeros(shape_of(x), bool)]
    return [emitter.call(relax.op.equal, x, like(x, np.inf if positive else -np.inf))]


@converts("Where")
def _where(emitter: Emitter, node: Node) -> Sequence[Value]:
    return [emitter.call(relax.op.where, node.tensor(0), node.tensor(1), node.tensor(2))]


@converts("Clip")
def _clip(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    bounds: list[Value | None] = []
    for index, name in ((1, "min"), (2, "max")):
        bound = node.input(index)
        if bound is None and name in node.attributes:
            bound = like(x, node.attributes[name])
        bounds.append(None if isinstance(bound, np.ndarray) and _is_unbounded(bound, name) else bound)
    low, high = bounds
    if (
        isinstance(low, np.ndarray)
        and isinstance(high, np.ndarray)
        and is_float(x)
        and low.item() <= high.item()
    ):
        return [emitter.call(relax.op.clip, x, low.item(), high.item())]
    if low is not None:
        x = emitter.call(relax.op.maximum, x, low)
    if high is not None:
        x = emitter.call(relax.op.minimum, x, high)
    return [x]


def _is_unbounded(bound: np.ndarray, name: str) -> bool:
    """Whether a clip bound holds back nothing: NaN, infinite, or the end of float32's range."""
    if bound.dtype.kind != "f":
        return False
    end = float(np.finfo(np.float32).max)
    return bool(np.isnan(bound).all() or (bound <= -end if name == "min" else bound >= end).all())


@converts("Cast", "CastLike")
def _cast(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    if node.operator == "CastLike":
        target = emitter.element_type(node.tensor(1))
    else:
        target = str(helper.tensor_dtype_to_np_dtype(int(node.attributes["to"])))
    if target == emitter.element_type(x):
        return [x]
    if target in CARRIERS:
        saturate, mode = bool(node.attributes.get("saturate", 1)), node.attributes.get("round_mode", "up")
        return [cast_to_low(emitter, x, target, saturate, mode)]
    if target == "bool":
        return [emitter.call(relax.op.not_equal, x, like(x, 0))]
    if target == "object" or target.startswith("str"):
        raise ConversionError(f"casts to {target}, which nmc does not compute with")
    if (
        isinstance(x, relax.Var) and x in emitter.low_precision
    ):  # its carrier becomes a tensor of its own, of that type
        return [emitter.call(relax.op.astype, x, target)]
    return [emitter.cast(x, target)]


@converts("BitCast")
def _bit_cast(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, target = node.tensor(0), str(helper.tensor_dtype_to_np_dtype(int(node.attributes["to"])))
    source = dtype_of(x)
    # every other float has become float32, whose bits are not those that the model means
    known = all(
        name == "float32" or not np.issubdtype(np.dtype(name), np.floating) for name in (source, target)
    )
    if not known or np.dtype(source).itemsize != np.dtype(target).itemsize:
        raise ConversionError(f"reads the bits of {source} as {target}; of floats nmc has float32 alone")
    return [
        x.view(target) if isinstance(x, np.ndarray) else emitter.call(relax.op.memory.view, x, dtype=target)
    ]
