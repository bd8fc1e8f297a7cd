"""A hypothesis strategy of random valid ONNX models, with inputs and the results of the ONNX reference evaluator.

Hypothesis draws a seed and the number of nodes, so that a failing model shrinks by losing nodes; everything else follows
from the seed, evenly, where hypothesis would favour the first of each list. A model grows node by node: each takes values
that are there already, and is kept when the reference evaluator finds finite values of ordinary size, so that disagreements
are about operators and not about overflow.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSETS = (13, 17, 18, 20, 22)
LARGEST = 200.0
"""Values beyond this are not ordinary: 16 bits for them leave too little for what is added to them."""
MOST_ELEMENTS = 400

Draw = Callable[[st.SearchStrategy], Any]


@dataclass(frozen=True)
class RandomModel:
    """A model, its inputs by name, and its outputs in order as the reference evaluator computes them."""

    model: onnx.ModelProto
    inputs: Mapping[str, np.ndarray]
    expected: Sequence[np.ndarray]

    def __repr__(self) -> str:
        """The model's text, which is what a failing example has to show."""
        return onnx.printer.to_text(self.model)


@dataclass
class Growth:
    """A model that is being built: the nodes so far, and the value of every name."""

    generator: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def pick(self, *choices: Any) -> Any:
        """One of the choices."""
        return choices[self.generator.integers(len(choices))]

    def chance(self) -> bool:
        """True or false, equally often."""
        return bool(self.generator.integers(2))

    def value(self, least_rank: int = 0, most_rank: int = 4) -> str | None:
        """The name of a value of such a rank, or None where there is none."""
        names = [n for n, v in self.values.items() if least_rank <= v.ndim <= most_rank]
        return str(self.pick(*names)) if names else None

    def constant(self, array: np.ndarray) -> str:
        """The name of a new constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def weights(self, *shape: int) -> str:
        """The name of new random weights, of a size that keeps products ordinary."""
        deep = float(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return self.constant((self.generator.standard_normal(shape) / np.sqrt(deep)).astype(np.float32))

    def integers(self, *numbers: int) -> str:
        """The name of a constant of int64."""
        return self.constant(np.array(numbers, np.int64))

    def axis(self, name: str) -> int:
        """An axis of a value, perhaps counted from the end."""
        rank = self.values[name].ndim
        return int(self.generator.integers(-rank, rank))


Proposal = tuple[str, Sequence[str], Mapping[str, object]] | None
"""Operator, inputs and attributes of a node; None where no value fits."""

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
    return str(growth.pick("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")), operands, {}


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
    turned = helper.make_node("Transpose", [a], [f"v{len(growth.nodes)}"], perm=order)
    growth.nodes.append(turned)
    growth.values[turned.output[0]] = growth.values[a].transpose(order)
    return "MatMul", [a, turned.output[0]], {}


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
    if growth.opset >= 18 or operator == "ReduceSum":
        return operator, [x, growth.integers(axis)], keep
    return operator, [x], {"axes": [axis], **keep}


def _normalisation(growth: Growth) -> Proposal:
    x = growth.value(least_rank=2)
    if x is None:
        return None
    operator = str(growth.pick("Softmax", "LogSoftmax", "LayerNormalization"))
    if operator != "LayerNormalization":
        return operator, [x], {"axis": growth.axis(x)}
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
        "Unsqueeze": ("Unsqueeze", [x, growth.integers(axis)], {}) if len(shape) < 4 else None,
        "Concat": ("Concat", [x, x], {"axis": axis}),
        "Slice": ("Slice", [x, *map(growth.integers, (0, max(1, shape[axis] - 1), axis))], {}),
        "Gather": ("Gather", [x, growth.integers(0, -1, 0)], {"axis": axis}),
        "Tile": (
            "Tile",
            [x, growth.integers(*(2 if i == axis % len(shape) else 1 for i in range(len(shape))))],
            {},
        ),
        "Pad": ("Pad", [x, growth.integers(*([1] * len(shape) + [0] * len(shape)))], {}),
        "Expand": ("Expand", [x, growth.integers(2, *shape)], {}) if len(shape) < 4 else None,
        "CumSum": ("CumSum", [x, growth.integers(axis)], {}),
    }
    return proposals[str(growth.pick(*proposals))]


KINDS: Sequence[Callable[[Growth], Proposal]] = (
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


@st.composite
def random_models(draw: Draw, most_nodes: int = 10) -> RandomModel:
    """Models of up to `most_nodes` operators over one or two float inputs of ranks 1 to 4."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    growth = Growth(generator, OPSETS[generator.integers(len(OPSETS))])
    inputs: dict[str, np.ndarray] = {}
    for index in range(growth.pick(1, 2)):
        shape = generator.integers(1, 6, size=growth.pick(1, 2, 3, 3, 4, 4))
        inputs[f"x{index}"] = generator.standard_normal(shape).astype(np.float32)
    growth.values |= inputs
    for _ in range(draw(st.integers(4, most_nodes))):
        _grow(growth)
    if not growth.nodes:
        _keep(growth, helper.make_node("Relu", ["x0"], ["v0"]))
    return _finished(growth, inputs)


def _grow(growth: Growth) -> None:
    """Adds a node when what was drawn fits and its value is ordinary."""
    proposal = growth.pick(*KINDS)(growth)
    if proposal is not None:
        operator, operands, attributes = proposal
        _keep(growth, helper.make_node(operator, operands, [f"v{len(growth.nodes)}"], **attributes))


def _keep(growth: Growth, node: onnx.NodeProto) -> None:
    given = {name: growth.values.get(name, growth.constants.get(name)) for name in node.input}
    model = _model([node], given, dict.fromkeys(node.output), growth.opset, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            (value,) = ReferenceEvaluator(model).run(None, given)
        except Exception:  # the evaluator raises what it likes for attributes that do not fit
            return
    ordinary = value.dtype == np.float32 and 0 < value.size <= MOST_ELEMENTS and np.isfinite(value).all()
    if ordinary and np.abs(value).max() <= LARGEST and value.ndim <= 4:
        growth.nodes.append(node)
        growth.values[node.output[0]] = value


def _finished(growth: Growth, inputs: Mapping[str, np.ndarray]) -> RandomModel:
    """The model whose outputs are the values that no node reads."""
    read = {name for node in growth.nodes for name in node.input}
    outputs = [name for node in growth.nodes for name in node.output if name not in read]
    used = {name: value for name, value in inputs.items() if name in read}
    constants = {name: value for name, value in growth.constants.items() if name in read}
    shapes = {name: growth.values[name].shape for name in outputs}
    model = _model(growth.nodes, used, shapes, growth.opset, constants)
    onnx.checker.check_model(model)
    return RandomModel(model, used, [growth.values[name] for name in outputs])


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, Sequence[int] | None],
    opset: int,
    constants: Mapping[str, np.ndarray],
) -> onnx.ModelProto:
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    graph = helper.make_graph(
        nodes,
        "random",
        given,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
