"""Random nodes of common operators: arithmetic, products, convolutions, pooling, reductions and moves."""

from collections.abc import Callable, Mapping, Sequence

from tests.random_growth import Growth, Proposal

UNARY: Mapping[str, Mapping[str, object]] = {
    "Abs": {},
    "Relu": {},
    "Neg": {},
    "Sigmoid": {},
    "Tanh": {},
    "Erf": {},
    "Sin": {},
    "Cos": {},
    "Softplus": {},
    "Softsign": {},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "HardSwish": {},
    "LeakyRelu": {"alpha": 0.2},
    "Elu": {"alpha": 0.7},
    "Selu": {},
    "Celu": {"alpha": 1.5},
    "ThresholdedRelu": {"alpha": 0.5},
    "Identity": {},
    "Flatten": {},
}


def _unary(growth: Growth) -> Proposal:
    operator = str(growth.pick(*UNARY))
    name = growth.value()
    return None if name is None else (operator, [name], UNARY[operator])


def _binary(growth: Growth) -> Proposal:
    a = growth.value()
    if a is None:
        return None
    shape = growth.values[a].shape
    kept = [extent if growth.chance() else 1 for extent in shape]
    dropped = int(growth.generator.integers(len(shape) + 1))
    same = [name for name, value in growth.values.items() if value.shape == shape]
    b = growth.pick(*same) if growth.chance() else growth.weights(*kept[dropped:])
    operands = [a, str(b)] if growth.chance() else [str(b), a]
    old = growth.opset < 8  # where only arithmetic broadcasts
    operators = ("Add", "Sub", "Mul") if old else ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")
    return str(growth.pick(*operators)), operands, {}


def _matmul(growth: Growth) -> Proposal:
    a = growth.value(least_rank=1)
    if a is None:
        return None
    depth, columns = growth.values[a].shape[-1], int(growth.pick(1, 3, 5))
    return "MatMul", [a, growth.weights(depth, columns)], {}


def _product_of_values(growth: Growth) -> Proposal:
    a = growth.value(least_rank=2, most_rank=3)
    if a is None:
        return None
    order = list(range(growth.values[a].ndim))
    order[-2:] = order[-2:][::-1]
    return "MatMul", [a, growth.nest("Transpose", [a], perm=order)], {}


def _gemm(growth: Growth) -> Proposal:
    a = growth.value(least_rank=2, most_rank=2)
    if a is None:
        return None
    transposed = growth.chance()
    depth = growth.values[a].shape[1]
    weights = growth.weights(4, depth) if transposed else growth.weights(depth, 4)
    return "Gemm", [a, weights, growth.weights(4)], {"transB": int(transposed), "alpha": 0.5}


def _convolution(growth: Growth) -> Proposal:
    x = growth.value(least_rank=3, most_rank=4)
    if x is None:
        return None
    channels, *spatial = growth.values[x].shape[1:]
    groups = int(growth.pick(1, channels))
    kernel = [int(growth.pick(1, min(2, n), min(3, n))) for n in spatial]
    pads = [int(growth.pick(0, 1)) if k > 1 else 0 for k in kernel] * 2
    transposed = growth.chance()
    operator = "ConvTranspose" if transposed else "Conv"
    shape = (channels, 2) if transposed else (2 * groups, channels // groups)
    strides = [int(growth.pick(1, 2)) for _ in kernel]
    attributes = {"group": groups, "kernel_shape": kernel, "pads": pads, "strides": strides}
    return operator, [x, growth.weights(*shape, *kernel)], attributes


def _pooling(growth: Growth) -> Proposal:
    x = growth.value(least_rank=3, most_rank=4)
    if x is None:
        return None
    operator = str(growth.pick("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"))
    if operator.startswith("Global"):
        # of one spatial axis, the evaluator reduces the channels instead
        return (operator, [x], {}) if growth.values[x].ndim == 4 else None
    kernel = [min(2, extent) for extent in growth.values[x].shape[2:]]
    return operator, [x], {"kernel_shape": kernel, "strides": [int(growth.pick(1, 2)) for _ in kernel]}


def _reduction(growth: Growth) -> Proposal:
    x = growth.value(least_rank=1)
    if x is None:
        return None
    operators = [
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceL1",
        "ReduceSumSquare",
        "ReduceLogSumExp",
    ]
    operator, axis = str(growth.pick(*operators)), growth.axis(x)
    keep = {"keepdims": int(growth.chance())}
    if growth.opset >= 18 or (operator == "ReduceSum" and growth.opset >= 13):
        return operator, [x, growth.integers(axis)], keep
    return operator, [x], {"axes": [axis], **keep}


def _normalisation(growth: Growth) -> Proposal:
    x = growth.value(least_rank=2)
    if x is None:
        return None
    operator = str(growth.pick("Softmax", "LogSoftmax", "LayerNormalization"))
    if operator != "LayerNormalization":
        # before operator set 13 all axes from `axis` on were one, which the evaluator does not know
        return operator, [x], {"axis": growth.axis(x) if growth.opset >= 13 else growth.values[x].ndim - 1}
    columns = growth.values[x].shape[-1]
    # a row of one value is zero whatever it holds, times a reciprocal of zero variance
    usable = growth.opset >= 17 and columns > 2
    return (operator, [x, growth.weights(columns), growth.weights(columns)], {"axis": -1}) if usable else None


def _movement(growth: Growth) -> Proposal:
    x = growth.value(least_rank=1)
    if x is None:
        return None
    shape, axis = growth.values[x].shape, growth.axis(x)
    order = [int(i) for i in growth.generator.permutation(len(shape))]
    proposals: dict[str, Proposal] = {
        "Transpose": ("Transpose", [x], {"perm": order}),
        "Reshape": ("Reshape", [x, growth.integers(-1, shape[-1])], {}),
        "Unsqueeze": _listed(growth, 13, "Unsqueeze", x, axes=[axis]) if len(shape) < 4 else None,
        "Concat": ("Concat", [x, x], {"axis": axis}),
        "Slice": _listed(growth, 10, "Slice", x, starts=[0], ends=[max(1, shape[axis] - 1)], axes=[axis]),
        "Gather": ("Gather", [x, growth.integers(0, -1, 0)], {"axis": axis}),
        "Tile": (
            "Tile",
            [x, growth.integers(*(2 if i == axis % len(shape) else 1 for i in range(len(shape))))],
            {},
        ),
        "Pad": _listed(growth, 11, "Pad", x, pads=[1] * len(shape) + [0] * len(shape)),
        "Expand": ("Expand", [x, growth.integers(2, *shape)], {}) if len(shape) < 4 else None,
        "CumSum": ("CumSum", [x, growth.integers(axis)], {}),
    }
    return proposals[str(growth.pick(*proposals))]


def _listed(growth: Growth, since: int, operator: str, x: str, **lists: list[int]) -> Proposal:
    """A node whose lists of integers are inputs since an operator set, and attributes before it."""
    if growth.opset >= since:
        return operator, [x, *(growth.integers(*numbers) for numbers in lists.values())], {}
    return operator, [x], lists


BASIC: Sequence[Callable[[Growth], Proposal]] = (
    _unary,
    _unary,
    _binary,
    _binary,
    _matmul,
    _product_of_values,
    _gemm,
    _convolution,
    _pooling,
    _reduction,
    _normalisation,
    _movement,
    _movement,
)
"""Proposals of the operators that most models consist of; those that stand twice come twice as often."""
