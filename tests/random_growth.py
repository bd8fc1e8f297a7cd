"""A random model while it is built: what its values are, and what is drawn for its next node."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

LARGEST = 200.0
"""Values beyond this are not ordinary: 16 bits for them leave too little for what is added to them."""
MOST_ELEMENTS = 400


class UnfitError(Exception):
    """What was drawn is no node of the operator set, or its value is not ordinary."""


@dataclass
class Growth:
    """A model that is being built: the nodes so far, and the value of every name."""

    generator: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    """Floats that later nodes may take."""
    inner: dict[str, np.ndarray] = field(default_factory=dict)
    """Values of any type that only the next node of a proposal takes."""
    pending: list[onnx.NodeProto] = field(default_factory=list)
    """The nodes of `inner` since the last proposal that was kept."""
    single_precision: bool = False
    """Whether some node names the type float32, so that the model cannot be one of float16."""

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

    def some(self, least_rank: int = 0, most_rank: int = 4) -> str:
        """The name of a value of such a rank; raises UnfitError where there is none."""
        name = self.value(least_rank, most_rank)
        if name is None:
            raise UnfitError
        return name

    def of(self, name: str) -> np.ndarray:
        """The value of any name."""
        for known in (self.values, self.inner, self.inputs, self.constants):
            if name in known:
                return known[name]
        raise KeyError(name)

    def constant(self, array: np.ndarray) -> str:
        """The name of a new constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def weights(self, *shape: int) -> str:
        """The name of new random weights, of a size that keeps products ordinary."""
        deep = float(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return self.constant((self.generator.standard_normal(shape) / np.sqrt(deep)).astype(np.float32))

    def number(self, value: float) -> str:
        """The name of a constant of float32 without axes."""
        return self.constant(np.array(value, np.float32))

    def integers(self, *numbers: int) -> str:
        """The name of a constant of int64."""
        return self.constant(np.array(numbers, np.int64))

    def given(self, array: np.ndarray) -> str:
        """The name of a new input of the model that is no float."""
        name = f"i{len(self.inputs)}"
        self.inputs[name] = array
        return name

    def axis(self, name: str) -> int:
        """An axis of a value, perhaps counted from the end, which the standard allows since operator set 11."""
        rank = self.of(name).ndim
        return int(self.generator.integers(-rank if self.opset >= 11 else 0, rank))

    def add(self, node: onnx.NodeProto, value: np.ndarray) -> None:
        """Adds a node with the value of its first output."""
        self.nodes += [*self.pending, node]
        self.pending.clear()
        self.values[node.output[0]] = value

    def nest(self, operator: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> str:
        """Adds a node whose first output only the next node of the same proposal takes; returns that output's name."""
        return self.nest_all(operator, inputs, outputs, **attributes)[0]

    def nest_all(self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """As `nest`, and returns the names of all outputs; raises UnfitError where the evaluator has no finite values."""
        names = [f"h{len(self.inner) + index}" for index in range(outputs)]
        node = helper.make_node(operator, inputs, names, **attributes)
        for name, value in zip(names, self.evaluated(node), strict=True):
            if isinstance(value, np.ndarray) and not _is_ordinary(value):
                raise UnfitError
            self.inner[name] = value
        self.pending.append(node)
        return names

    def evaluated(self, node: onnx.NodeProto) -> list[np.ndarray]:
        """The outputs of a node by the reference evaluator; raises UnfitError where it, or the checker, refuses."""
        given = {name: self.of(name) for name in names_read(node)}
        typed = {name: value for name, value in given.items() if isinstance(value, np.ndarray | np.generic)}
        model = model_of([node], typed, dict.fromkeys(node.output, ()), self.opset, {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                onnx.checker.check_model(model) if len(typed) == len(given) else None
                return list(ReferenceEvaluator(model).run(None, given))
            except Exception as error:  # the evaluator raises what it likes for attributes that do not fit
                raise UnfitError from error


Proposal = tuple[str, Sequence[str], Mapping[str, object]] | None
"""Operator, inputs and attributes of a node; None where no value fits."""


def keep(growth: Growth, node: onnx.NodeProto) -> None:
    """Adds a node, and what is nested in it, when its value is one of floats of ordinary size."""
    value = growth.evaluated(node)[0]
    if (
        not (isinstance(value, np.ndarray) and value.dtype == np.float32 and _is_ordinary(value))
        or value.ndim > 4
    ):
        raise UnfitError
    growth.add(node, value)


def _is_ordinary(value: np.ndarray) -> bool:
    if not 0 < value.size <= MOST_ELEMENTS:
        return False
    return value.dtype.kind != "f" or bool(np.isfinite(value).all() and np.abs(value).max() <= LARGEST)


def names_read(node: onnx.NodeProto) -> list[str]:
    """What a node and the graphs in it read from outside, each name once."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            own = {value.name for value in (*attribute.g.input, *attribute.g.initializer)}
            own |= {name for inside in attribute.g.node for name in inside.output}
            names += [name for inside in attribute.g.node for name in names_read(inside) if name not in own]
    return list(dict.fromkeys(names))


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, Sequence[int] | None],
    opset: int,
    constants: Mapping[str, np.ndarray],
    result_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model of nodes whose outputs have such shapes and one type."""
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    graph = helper.make_graph(
        nodes,
        "random",
        given,
        [helper.make_tensor_value_info(name, result_type, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
